// SPDX-License-Identifier: MIT
// metadata.cpp: magnets, .torrent files and info dictionaries. Needs no session.
#include "internal.hpp"

#include <libtorrent/bdecode.hpp>
#include <libtorrent/hex.hpp>
#include <libtorrent/load_torrent.hpp>
#include <libtorrent/magnet_uri.hpp>
#include <libtorrent/torrent_flags.hpp>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace
{

// A magnet is a link that people paste: more of each than this is an attack, not a swarm.
constexpr std::size_t magnet_list_max = 100;
constexpr std::size_t magnet_bytes_max = 64 * 1024;
// Bencode: a file takes eight tokens (bt_default_limits.files of them fit); nesting as libtorrent
// has it.
constexpr int decode_tokens_max = 5'000'000;
constexpr int decode_depth_max = 200;

std::string safe_component(lt::string_view s)
{
        std::string r(s.begin(), s.end());
        for (char &c : r)
                if (c == '/' || c == '\0')
                        c = '_';
        return r.empty() ? std::string("_") : r;
}

lt::string_view text_of(lt::bdecode_node const &dict, char const *utf8_key, char const *key)
{
        auto s = dict.dict_find_string_value(utf8_key);
        return s.empty() ? dict.dict_find_string_value(key) : s;
}

// The paths of a v1 `files` list, pads included, as BEP 3 has them.
bool raw_paths_v1(lt::bdecode_node const &files, std::vector<std::string> &out)
{
        for (int i = 0; i < files.list_size(); i++) {
                auto const f = files.list_at(i);
                if (f.type() != lt::bdecode_node::dict_t)
                        return false;
                auto path = f.dict_find_list("path.utf-8");
                if (!path)
                        path = f.dict_find_list("path");
                std::string joined;
                for (int k = 0; path && k < path.list_size(); k++) {
                        if (path.list_at(k).type() != lt::bdecode_node::string_t)
                                return false;
                        if (!joined.empty())
                                joined += '/';
                        joined += safe_component(path.list_at(k).string_value());
                }
                out.push_back(joined.empty() ? std::string("_") : joined);
        }
        return true;
}

// The paths of a v2 `file tree` in its own order (BEP 52). libtorrent has bounded the nesting
// (decode_depth_max).
void raw_paths_v2(lt::bdecode_node const &dir, std::string const &prefix,
                  std::vector<std::string> &out)
{
        for (int i = 0; i < dir.dict_size(); i++) {
                auto const item = dir.dict_at(i);
                if (item.second.type() != lt::bdecode_node::dict_t)
                        continue;
                std::string path = prefix;
                if (!path.empty())
                        path += '/';
                path += safe_component(item.first);
                if (item.second.dict_size() == 1 && item.second.dict_at(0).first.empty())
                        out.push_back(path);
                else
                        raw_paths_v2(item.second, path, out);
        }
}

// libtorrent cleans names on its own terms (240 bytes, '_' for what it dislikes). magnetfs wants
// them as the torrent has them, so they are read from the info dictionary once more. Where the two
// lists do not match, libtorrent's names stand.
void take_raw_names(lt::torrent_info const &ti, bt_meta &m)
{
        lt::error_code ec;
        int pos = 0;
        auto const info =
                lt::bdecode(ti.info_section(), ec, &pos, decode_depth_max, decode_tokens_max);
        if (ec || info.type() != lt::bdecode_node::dict_t)
                return;
        auto const name = text_of(info, "name.utf-8", "name");
        if (!name.empty())
                m.name.assign(name.begin(), name.end());

        std::vector<std::string> raw;
        auto const tree = info.dict_find_dict("file tree");
        auto const files = info.dict_find_list("files");
        bool const with_pads = !tree;
        if (tree)
                raw_paths_v2(tree, std::string(), raw);
        else if (files) {
                if (!raw_paths_v1(files, raw))
                        return;
        } else
                raw.push_back(safe_component(name));

        std::size_t n = 0;
        for (auto const &f : m.files)
                n += (with_pads || !f.pad) ? 1 : 0;
        if (n != raw.size())
                return;
        std::size_t k = 0;
        for (auto &f : m.files)
                if (with_pads || !f.pad)
                        f.path = std::move(raw[k++]);
}

bool is_bare_hash(std::string const &s)
{
        auto const all = [&](auto pred) { return std::all_of(s.begin(), s.end(), pred); };
        auto const hex = [](unsigned char c) { return std::isxdigit(c) != 0; };
        auto const base32 = [](unsigned char c) {
                return std::isalpha(c) || (c >= '2' && c <= '7');
        };
        return ((s.size() == 40 || s.size() == 64) && all(hex)) || (s.size() == 32 && all(base32));
}

// Whether connecting to a leads back here. An IPv6 address may hold one of IPv4 (RFC 4291
// §2.5.5.2), and the unspecified one means this host (RFC 1122 §3.2.1.3).
bool is_this_host(lt::address a)
{
        if (a.is_v6() && a.to_v6().is_v4_mapped())
                a = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, a.to_v6());
        return a.is_loopback() || a.is_unspecified();
}

// libtorrent takes what is no hex digit for zeros (aux::from_hex), and so another torrent.
bool has_bad_hash(std::string const &uri)
{
        for (char const *prefix : {"urn:btih:", "urn:btmh:"}) {
                for (auto at = uri.find(prefix); at != std::string::npos;
                     at = uri.find(prefix, at)) {
                        at += 9;
                        auto const value = uri.substr(at, uri.find('&', at) - at);
                        if ((value.size() == 40 || value.size() == 68) &&
                            !std::all_of(value.begin(), value.end(),
                                         [](unsigned char c) { return std::isxdigit(c) != 0; }))
                                return true;
                }
        }
        return false;
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
        /* depth */ 128,
};

int fail(bt_error *err, int code, char const *format, ...) noexcept
{
        if (err) {
                std::va_list ap;
                va_start(ap, format);
                err->code = code;
                std::vsnprintf(err->text, sizeof err->text, format, ap);
                va_end(ap);
        }
        return code;
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

int make_meta(std::shared_ptr<lt::torrent_info const> ti, bt_limits const &limits, bt_meta **ret,
              bt_error *err)
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
        if (uint32_t(fs.num_files()) > limits.files)
                return fail(err, -E2BIG, "the torrent has %d files; at most %u are taken",
                            fs.num_files(), limits.files);

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
                std::string path = fs.file_path(i);
                // A multi-file torrent's paths begin with its name, a single file's path is its
                // name.
                if (auto const slash = path.find('/'); slash != std::string::npos) {
                        path.erase(0, slash + 1);
                        directory |= !fs.pad_file_at(i);
                }
                m->files.push_back({std::move(path), uint64_t(fs.file_offset(i)),
                                    uint64_t(fs.file_size(i)), fs.pad_file_at(i),
                                    bool(flags & lt::file_storage::flag_symlink)});
        }
        take_raw_names(*ti, *m);
        m->single = !directory;
        for (auto const &f : m->files) {
                auto const depth = uint32_t(std::count(f.path.begin(), f.path.end(), '/')) + 1;
                if (depth > limits.depth)
                        return fail(err, -E2BIG,
                                    "the torrent has a path of %u components; at most %u are taken",
                                    depth, limits.depth);
        }
        m->info = std::move(ti);
        *ret = m.release();
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

int bt_source_from_magnet(const char *text, size_t len, bool loopback_peers, struct bt_source **ret,
                          struct bt_error *err)
{
        return guarded(err, [&] {
                std::string uri(text, len);
                if (len > magnet_bytes_max)
                        return fail(err, -EINVAL, "the magnet is longer than %zu bytes",
                                    magnet_bytes_max);
                if (uri.find('\0') != std::string::npos)
                        return fail(err, -EINVAL, "the magnet has a NUL byte");
                if (is_bare_hash(uri))
                        // A v2 hash in a magnet is a multihash: 12 for SHA2-256, 20 for its 32
                        // bytes (BEP 52).
                        uri = (uri.size() == 64 ? "magnet:?xt=urn:btmh:1220"
                                                : "magnet:?xt=urn:btih:") +
                              uri;
                if (uri.size() < 8 || lt::string_view(uri).substr(0, 8) != "magnet:?")
                        return fail(err, -EINVAL, "not a magnet URI nor an info-hash");

                if (has_bad_hash(uri))
                        return fail(err, -EINVAL, "bad magnet: the info-hash is not hexadecimal");

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
                keep_first(p.url_seeds);
                if (!loopback_peers)
                        p.peers.erase(std::remove_if(p.peers.begin(), p.peers.end(),
                                                     [](lt::tcp::endpoint const &e) {
                                                             return is_this_host(e.address());
                                                     }),
                                      p.peers.end());
                keep_first(p.peers);
                p.dht_nodes.clear(); // dn of the DHT is the session's business
                // `so` makes libtorrent set file priorities; here only pieces have priorities.
                p.file_priorities.clear();
                s->hash = to_hash(p.info_hashes);
                s->magnet = lt::make_magnet_uri(p);
                *ret = s.release();
                return 0;
        });
}

int bt_source_from_torrent(const void *data, size_t len, const struct bt_limits *limits,
                           struct bt_source **ret, struct bt_error *err)
{
        return guarded(err, [&] {
                if (len > limits->metadata_bytes)
                        return fail(err, -E2BIG,
                                    "the .torrent has %zu bytes; at most %zu are taken", len,
                                    limits->metadata_bytes);
                auto s = std::make_unique<bt_source>();
                try {
                        s->params = lt::load_torrent_buffer(
                                {static_cast<char const *>(data), std::ptrdiff_t(len)},
                                to_lt(*limits));
                } catch (lt::system_error const &e) {
                        bool const big = e.code() == lt::errors::too_many_pieces_in_torrent;
                        return fail(err, big ? -E2BIG : -EINVAL, "bad .torrent: %s",
                                    e.code().message().c_str());
                }
                int const r = make_meta(s->params.ti, *limits, &s->meta, err);
                if (r < 0)
                        return r;
                s->params.file_priorities.clear();
                s->hash = s->meta->hash;
                s->magnet = lt::make_magnet_uri(s->params);
                *ret = s.release();
                return 0;
        });
}

void bt_source_free(struct bt_source *s)
{
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

struct bt_meta *bt_source_meta(const struct bt_source *s)
{
        return s->meta;
}

} // extern "C"
