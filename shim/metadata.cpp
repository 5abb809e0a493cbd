// SPDX-License-Identifier: MIT
// metadata.cpp: magnets, .torrent files and info dictionaries. Needs no session.
#include "metadata.hpp"

#include "error.hpp"
#include "magnet.hpp"
#include "paths.hpp"
#include "webseed_url.hpp"

#include <libtorrent/hex.hpp>
#include <libtorrent/load_torrent.hpp>
#include <libtorrent/magnet_uri.hpp>
#include <libtorrent/torrent_flags.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_set>

#include <malloc.h>

namespace
{

// A magnet is a link that people paste: more of each than this is an attack, not a swarm.
constexpr std::size_t magnet_list_max = 100;
constexpr std::size_t magnet_bytes_max = 64 * 1024;
// Bencode: a file takes eight tokens (bt_default_limits.files of them fit); nesting as libtorrent
// has it.
constexpr int decode_tokens_max = 5'000'000;
constexpr int decode_depth_max = 200;

// libtorrent cleans names on its own terms (240 bytes, '_' for what it dislikes). magnetfs wants
// them as the torrent has them, so they are read from the info dictionary once more. Where the two
// lists do not match, libtorrent's names stand.
void take_raw_names(raw_paths &&raw, bt_meta &m)
{
        if (!raw.name.empty()) {
                m.name = std::move(raw.name);
                // A C string ends there.
                std::replace(m.name.begin(), m.name.end(), '\0', '_');
        }
        std::size_t n = 0;
        for (auto const &f : m.files)
                n += (raw.with_pads || !f.pad) ? 1 : 0;
        if (n != raw.paths.size())
                return;
        std::size_t k = 0;
        for (auto &f : m.files)
                if (raw.with_pads || !f.pad)
                        f.path = std::move(raw.paths[k++]);
}

// What libtorrent would take for distinguishing the files of ti, and whether that is too much: it
// numbers files of one name one after the other, each from 1 on, which takes minutes for some ten
// thousand.
bool has_costly_duplicates(lt::torrent_info const &ti)
{
        constexpr std::uint64_t cost_max = 50'000'000; // bytes hashed: a fraction of a second
        auto const &fs = ti.files();
        std::unordered_set<std::uint32_t> seen;
        std::uint64_t n = 0, bytes = 0;
        fs.all_path_hashes(seen);
        for (auto i : fs.file_range())
                if (!seen.insert(fs.file_path_hash(i, std::string())).second) {
                        n++;
                        bytes += fs.file_path(i).size();
                }
        return n * bytes > cost_max;
}

// As load_torrent_parsed, but of the info dictionary takes ti as it is; without the piece layers of
// BEP 52, which peers have too.
lt::add_torrent_params load_around(lt::bdecode_node const &torrent,
                                   std::shared_ptr<lt::torrent_info> ti, bt_limits const &limits)
{
        std::string around = "d";
        for (int i = 0; i < torrent.dict_size(); i++) {
                auto const [key, value] = torrent.dict_at(i);
                if (key == "info" || key == "piece layers")
                        continue;
                auto const data = value.data_section();
                around += std::to_string(key.size()) + ":";
                around.append(key.begin(), key.end()).append(data.begin(), data.end());
        }
        // A whole torrent is what libtorrent takes: one of a byte, whose hash nobody looks at.
        around += "4:infod6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces20:";
        around += std::string(lt::sha1_hash::size(), 'x') + "ee";
        auto p = lt::load_torrent_buffer(around, to_lt(limits));
        p.ti = std::move(ti);
        p.info_hashes = p.ti->info_hashes();
        return p;
}

// Of a .torrent: what libtorrent needs to add it. Throws what libtorrent throws.
lt::add_torrent_params load(lt::bdecode_node const &torrent, lt::bdecode_node const &info,
                            bt_limits const &limits)
{
        lt::error_code ec;
        auto ti = std::make_shared<lt::torrent_info>(lt::info_hash_t{});
        if (!ti->parse_info_section(info, ec, int(limits.pieces)))
                throw lt::system_error(ec);
        if (has_costly_duplicates(*ti))
                return load_around(torrent, std::move(ti), limits);
        return lt::load_torrent_parsed(torrent, to_lt(limits));
}

// So much of a torrent's name as a directory can have. A magnet that is too long nobody takes back.
std::string short_name(std::string const &name)
{
        constexpr std::size_t name_max = 255;
        auto n = std::min(name.size(), name_max);
        auto const is_inside = [](char c) { return (std::uint8_t(c) & 0xc0) == 0x80; }; // of UTF-8
        while (n < name.size() && n > name_max - 4 && is_inside(name[n]))
                n--;
        return name.substr(0, n);
}

template <typename V> void keep_first(V &v)
{
        if (v.size() > magnet_list_max)
                v.resize(magnet_list_max);
}

} // namespace

const struct bt_limits bt_default_limits = {
        /* metadata_bytes */ 32 * 1024 * 1024,
        /* pieces */ 1 << 21,
        /* files */ 500'000,
        /* depth */ 1024,
        /* folders */ 1 << 16,
        /* path_bytes */ 32 * 1024 * 1024,
};

bool is_this_host(lt::address a)
{
        if (a.is_v6() && a.to_v6().is_v4_mapped())
                a = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, a.to_v6());
        return a.is_loopback() || a.is_unspecified();
}

bt_hash to_hash(lt::info_hash_t const &h) noexcept
{
        bt_hash r{};
        r.has_v1 = h.has_v1();
        r.has_v2 = h.has_v2();
        if (r.has_v1)
                std::memcpy(r.v1, h.v1.data(), sizeof r.v1);
        if (r.has_v2)
                std::memcpy(r.v2, h.v2.data(), sizeof r.v2);
        return r;
}

lt::load_torrent_limits to_lt(bt_limits const &limits)
{
        lt::load_torrent_limits r;
        r.max_buffer_size = int(limits.metadata_bytes);
        r.max_pieces = int(limits.pieces);
        r.max_decode_depth = decode_depth_max;
        r.max_decode_tokens = decode_tokens_max;
        return r;
}

bool is_large(lt::torrent_info const &info)
{
        constexpr std::ptrdiff_t large_bytes = 1 << 20;
        return info.info_section().size() >= large_bytes;
}

void give_back()
{
        malloc_trim(0);
}

int make_meta(std::shared_ptr<lt::torrent_info const> ti, raw_paths &&raw, bt_limits const &limits,
              bt_meta **ret, bt_error *err)
{
        auto const &fs = ti->files();
        if (std::size_t(ti->info_section().size()) > limits.metadata_bytes)
                return fail(err, -E2BIG, "the metadata has %zu bytes; at most %zu are taken",
                            std::size_t(ti->info_section().size()), limits.metadata_bytes);
        if (fs.num_files() < 1 || fs.num_pieces() < 1 || ti->total_size() < 1)
                return fail(err, -EINVAL, "the torrent has no bytes");
        if (uint32_t(fs.num_pieces()) > limits.pieces)
                return fail(err, -E2BIG, "the torrent has %d pieces; at most %u are taken",
                            fs.num_pieces(), limits.pieces);

        auto m = std::make_unique<bt_meta>();
        m->hash = to_hash(ti->info_hashes());
        m->name = ti->name();
        m->files.reserve(std::size_t(fs.num_files()));
        int shown = 0;
        for (auto i : fs.file_range())
                shown += fs.pad_file_at(i) ? 0 : 1;
        // A v2 torrent of one file has a pad behind it, which is libtorrent's own.
        bool directory = shown > 1;
        for (auto i : fs.file_range()) {
                auto const flags = fs.file_flags(i);
                // Of padding that the torrent lists its own path is taken below.
                std::string path = fs.pad_file_at(i) ? std::string() : fs.file_path(i);
                // A multi-file torrent's paths begin with its name, a single file's path is its
                // name.
                if (auto const slash = path.find('/'); slash != std::string::npos) {
                        path.erase(0, slash + 1);
                        directory = true;
                }
                m->files.push_back({std::move(path), uint64_t(fs.file_offset(i)),
                                    uint64_t(fs.file_size(i)), fs.pad_file_at(i),
                                    bool(flags & lt::file_storage::flag_symlink)});
        }
        take_raw_names(std::move(raw), *m);
        m->single = !directory;
        m->info = std::move(ti);
        *ret = m.release();
        return 0;
}

int make_meta(std::shared_ptr<lt::torrent_info const> ti, bt_limits const &limits, bt_meta **ret,
              bt_error *err)
{
        lt::error_code ec;
        int pos = 0;
        raw_paths raw;
        auto const info =
                lt::bdecode(ti->info_section(), ec, &pos, decode_depth_max, decode_tokens_max);
        if (ec)
                return fail(err, -EINVAL, "bad metadata: %s", ec.message().c_str());
        int const r = read_paths(info, limits, raw, err);
        return r < 0 ? r : make_meta(std::move(ti), std::move(raw), limits, ret, err);
}

lt::bdecode_node decode(lt::span<char const> bytes, lt::error_code &ec)
{
        int pos = 0;
        return lt::bdecode(bytes, ec, &pos, decode_depth_max, decode_tokens_max);
}

std::string magnet_of(lt::add_torrent_params p, std::vector<bool> const &selected)
{
        p.file_priorities.clear();
        for (bool const is_selected : selected)
                p.file_priorities.push_back(is_selected ? lt::default_priority : lt::dont_download);
        // It writes `so` only where that leaves something out: what is behind the last one.
        if (!selected.empty())
                p.file_priorities.push_back(lt::dont_download);
        return lt::make_magnet_uri(p);
}

void make_magnet(bt_source &s)
{
        lt::add_torrent_params p;
        p.info_hashes = s.params.info_hashes;
        if (s.meta)
                p.name = short_name(s.meta->name);
        else if (s.params.ti)
                p.name = short_name(s.params.ti->name());
        else
                p.name = s.params.name;
        p.trackers = s.params.trackers;
        p.tracker_tiers = s.params.tracker_tiers;
        p.url_seeds = s.params.url_seeds;
        p.peers = s.named;
        s.magnet = magnet_of(std::move(p), s.selected);
}

void sift_peers(std::vector<lt::tcp::endpoint> &peers, bool loopback)
{
        if (!loopback)
                peers.erase(std::remove_if(peers.begin(), peers.end(),
                                           [](lt::tcp::endpoint const &e) {
                                                   return is_this_host(e.address());
                                           }),
                            peers.end());
        keep_first(peers);
}

int source_of_magnet(std::string_view text, bool loopback, bt_source **ret, bt_error *err)
{
        std::string uri;
        int const r = clean_magnet({text.data(), text.size()}, uri, err);
        if (r < 0)
                return r;

        lt::error_code ec;
        auto s = std::make_unique<bt_source>();
        s->params = lt::parse_magnet_uri(uri, ec);
        if (ec)
                return fail(err, -EINVAL, "bad magnet: %s", ec.message().c_str());
        if (!s->params.info_hashes.has_v1() && !s->params.info_hashes.has_v2())
                return fail(err, -EINVAL, "bad magnet: no info-hash");

        auto &p = s->params;
        keep_first(p.trackers);
        keep_first(p.tracker_tiers);
        sift_web_seeds(p.url_seeds, loopback);
        s->loopback = loopback;
        sift_peers(p.peers, loopback);
        p.dht_nodes.clear(); // dn of the DHT is the session's business
        std::replace(p.name.begin(), p.name.end(), '\0', '_'); // a C string ends there
        s->hash = to_hash(p.info_hashes);
        for (auto const priority : p.file_priorities)
                s->selected.push_back(priority != lt::dont_download);
        // `so` makes libtorrent set file priorities; here only pieces have priorities.
        p.file_priorities.clear();
        s->named = p.peers;
        make_magnet(*s);
        *ret = s.release();
        return 0;
}

int source_of_torrent(lt::bdecode_node const &torrent, bt_limits const &limits, bool loopback,
                      bt_source **ret, bt_error *err)
{
        auto const info = torrent.type() == lt::bdecode_node::dict_t
                                  ? torrent.dict_find_dict("info")
                                  : lt::bdecode_node();
        if (!info)
                return fail(err, -EINVAL, "bad .torrent: it has no info dictionary");
        raw_paths raw;
        // Before libtorrent sees them, which some would keep busy for minutes.
        int r = read_paths(info, limits, raw, err);
        if (r < 0)
                return r;
        auto s = std::make_unique<bt_source>();
        try {
                s->params = load(torrent, info, limits);
        } catch (lt::system_error const &e) {
                if (e.code() == lt::errors::too_many_pieces_in_torrent)
                        return fail(err, -E2BIG,
                                    "the torrent has more than %u pieces; it is not taken",
                                    limits.pieces);
                return fail(err, -EINVAL, "bad .torrent: %s", e.code().message().c_str());
        }
        r = make_meta(s->params.ti, std::move(raw), limits, &s->meta, err);
        if (r < 0)
                return r;
        s->params.file_priorities.clear();
        s->params.http_seeds.clear(); // BEP 17: nobody has them
        sift_web_seeds(s->params.url_seeds, loopback);
        s->loopback = loopback;
        s->hash = s->meta->hash;
        make_magnet(*s);
        *ret = s.release();
        return 0;
}

bt_source::~bt_source()
{
        bt_meta_unref(meta);
}

extern "C" {

static void hex_of(bool has, uint8_t const *bytes, size_t n, char out[BT_HEX_MAX]) noexcept
{
        static char const digits[] = "0123456789abcdef";
        size_t k = 0;
        for (size_t i = 0; has && i < n; i++) {
                out[k++] = digits[bytes[i] >> 4];
                out[k++] = digits[bytes[i] & 15];
        }
        out[k] = '\0';
}

void bt_hash_v1_hex(const struct bt_hash *h, char out[BT_HEX_MAX])
{
        hex_of(h->has_v1, h->v1, BT_V1_BYTES, out);
}

void bt_hash_v2_hex(const struct bt_hash *h, char out[BT_HEX_MAX])
{
        hex_of(h->has_v2, h->v2, BT_V2_BYTES, out);
}

struct bt_meta *bt_meta_ref(struct bt_meta *m)
{
        m->refs.fetch_add(1, std::memory_order_relaxed);
        return m;
}

void bt_meta_unref(struct bt_meta *m)
{
        if (m && m->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
                delete m;
}

const struct bt_hash *bt_meta_hash(const struct bt_meta *m)
{
        return &m->hash;
}

const void *bt_meta_bytes(const struct bt_meta *m, size_t *ret_len)
{
        auto const bytes = m->info->info_section();
        *ret_len = size_t(bytes.size());
        return bytes.data();
}

const char *bt_meta_name(const struct bt_meta *m)
{
        return m->name.c_str();
}

bool bt_meta_single_file(const struct bt_meta *m)
{
        return m->single;
}

bool bt_meta_private(const struct bt_meta *m)
{
        return m->info->priv();
}

uint32_t bt_meta_piece_length(const struct bt_meta *m)
{
        return uint32_t(m->info->piece_length());
}

uint32_t bt_meta_pieces(const struct bt_meta *m)
{
        return uint32_t(m->info->num_pieces());
}

uint64_t bt_meta_size(const struct bt_meta *m)
{
        return uint64_t(m->info->total_size());
}

uint32_t bt_meta_files(const struct bt_meta *m)
{
        return uint32_t(m->files.size());
}

void bt_meta_file(const struct bt_meta *m, uint32_t i, struct bt_file *ret)
{
        auto const &f = m->files[i];
        *ret = {f.path.c_str(), f.offset, f.size, f.pad, f.symlink};
}

int bt_source_from_magnet(const char *text, size_t len, bool loopback, struct bt_source **ret,
                          struct bt_error *err)
{
        return guarded(err, [&] {
                if (len > magnet_bytes_max)
                        return fail(err, -EINVAL, "the magnet is longer than %zu bytes",
                                    magnet_bytes_max);
                if (std::memchr(text, '\0', len))
                        return fail(err, -EINVAL, "the magnet has a NUL byte");
                return source_of_magnet({text, len}, loopback, ret, err);
        });
}

int bt_source_from_torrent(const void *data, size_t len, const struct bt_limits *limits,
                           bool loopback, struct bt_source **ret, struct bt_error *err)
{
        return guarded(err, [&] {
                if (len > limits->metadata_bytes)
                        return fail(err, -E2BIG,
                                    "the .torrent has %zu bytes; at most %zu are taken", len,
                                    limits->metadata_bytes);
                lt::error_code ec;
                auto const torrent =
                        decode({static_cast<char const *>(data), std::ptrdiff_t(len)}, ec);
                if (ec)
                        return fail(err, -EINVAL, "bad .torrent: %s", ec.message().c_str());
                return source_of_torrent(torrent, *limits, loopback, ret, err);
        });
}

struct bt_source *bt_source_ref(struct bt_source *s)
{
        s->refs.fetch_add(1, std::memory_order_relaxed);
        return s;
}

void bt_source_free(struct bt_source *s)
{
        if (s && s->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
                delete s;
}

const struct bt_hash *bt_source_hash(const struct bt_source *s)
{
        return &s->hash;
}

const char *bt_source_name(const struct bt_source *s)
{
        return s->meta ? s->meta->name.c_str() : s->params.name.c_str();
}

const char *bt_source_magnet(const struct bt_source *s)
{
        return s->magnet.c_str();
}

int bt_source_join(const struct bt_source *s, struct bt_meta *m, struct bt_source **ret)
{
        return guarded(nullptr, [&] {
                auto j = std::make_unique<bt_source>();
                j->params = s->params;
                j->params.ti = std::const_pointer_cast<lt::torrent_info>(m->info);
                j->params.info_hashes = m->info->info_hashes();
                j->hash = m->hash;
                j->selected = s->selected;
                j->named = s->named;
                j->loopback = s->loopback;
                j->meta = bt_meta_ref(m);
                make_magnet(*j);
                *ret = j.release();
                return 0;
        });
}

bool bt_source_is_whole(const struct bt_source *s)
{
        return bool(s->params.ti);
}

struct bt_meta *bt_source_meta(const struct bt_source *s)
{
        return s->meta;
}

bool bt_source_selects(const struct bt_source *s, uint32_t file)
{
        return s->selected.empty() || (file < s->selected.size() && s->selected[file]);
}

} // extern "C"
