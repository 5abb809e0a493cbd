// SPDX-License-Identifier: MIT
// save.cpp: what survives a torrent's end, as a source and as bytes.
//
// A magnet without metadata is kept as a magnet URI. Everything else is kept as a .torrent around
// the info dictionary as it came, which other programs can read too. What a .torrent has no place
// for is in a dictionary "magnetfs" of its own: the peers, the files that a magnet asked for
// (BEP 53), the peers that it named, and of each file the hashes that are known (BEP 52). These are
// not in "piece layers", as that has all of them or is wrong, and those of a magnet come from peers
// as they are needed.
//
// libtorrent checks each hash against the file's root when the torrent is added, so a byte that has
// changed on the disk costs no more than asking for the hashes again.
#include "save.hpp"

#include "error.hpp"
#include "merkle.hpp"
#include "session.hpp"
#include "swarm.hpp"
#include "webseeds.hpp"

#include <libtorrent/bencode.hpp>
#include <libtorrent/torrent_info.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

namespace
{

constexpr std::size_t tiers_max = 256; // libtorrent's number of a tier has a byte
constexpr std::size_t v4_bytes = 4 + 2, v6_bytes = 16 + 2;

// ---- bencode (BEP 3) ----

void put(std::string &to, std::string_view s)
{
        to += std::to_string(s.size());
        to += ':';
        to += s;
}

void put(std::string &to, std::vector<std::string> const &list)
{
        to += 'l';
        for (auto const &s : list)
                put(to, s);
        to += 'e';
}

void put_trackers(std::string &to, lt::add_torrent_params const &p)
{
        std::vector<std::vector<std::string>> tiers;
        for (std::size_t i = 0; i < p.trackers.size(); i++) {
                auto const tier = i < p.tracker_tiers.size() ? std::size_t(p.tracker_tiers[i]) : 0;
                tiers.resize(std::max(tiers.size(), std::min(tier, tiers_max - 1) + 1));
                tiers[std::min(tier, tiers_max - 1)].push_back(p.trackers[i]);
        }
        put(to, "announce-list");
        to += 'l';
        for (auto const &t : tiers)
                put(to, t);
        to += 'e';
}

// An address and a port, as in BEP 23 and BEP 7.
std::string compact(lt::tcp::endpoint const &e)
{
        std::string r;
        auto const add = [&](auto const &bytes) { r.append(bytes.begin(), bytes.end()); };
        if (e.address().is_v6())
                add(e.address().to_v6().to_bytes());
        else
                add(e.address().to_v4().to_bytes());
        r += char(e.port() >> 8);
        r += char(e.port() & 255);
        return r;
}

bool read_compact(lt::string_view s, lt::tcp::endpoint &ret)
{
        if (s.size() != v4_bytes && s.size() != v6_bytes)
                return false;
        lt::address a;
        if (s.size() == v4_bytes) {
                lt::address_v4::bytes_type b;
                std::memcpy(b.data(), s.data(), b.size());
                a = lt::address_v4(b);
        } else {
                lt::address_v6::bytes_type b;
                std::memcpy(b.data(), s.data(), b.size());
                a = lt::address_v6(b);
        }
        auto const at = [&](std::size_t i) { return unsigned(std::uint8_t(s[i])); };
        ret = {a, std::uint16_t(at(s.size() - 2) << 8 | at(s.size() - 1))};
        return ret.port() != 0;
}

// ---- hashes (BEP 52) ----

void put_hashes(std::string &to, lt::add_torrent_params const &p)
{
        auto const &fs = p.ti->files();
        put(to, "hashes");
        to += 'l';
        for (auto const f : fs.file_range()) {
                if (!has_tree(fs, f) || f >= p.merkle_trees.end_index() ||
                    f >= p.merkle_tree_mask.end_index())
                        continue;
                auto const known =
                        nodes_of(tree_shape(fs, f), p.merkle_trees[f], p.merkle_tree_mask[f]);
                if (known.hashes.empty())
                        continue;
                std::string bits((known.mask.size() + 7) / 8, '\0');
                for (std::size_t i = 0; i < known.mask.size(); i++)
                        if (known.mask[i])
                                bits[i / 8] = char(bits[i / 8] | 1 << i % 8);
                to += "d4:filei" + std::to_string(int(f)) + 'e';
                put(to, "mask");
                put(to, bits);
                put(to, "nodes");
                put(to, known.hashes);
                to += 'e';
        }
        to += 'e';
}

// One that does not fit the torrent is passed over.
void read_hashes(lt::bdecode_node const &list, lt::add_torrent_params &p)
{
        auto const &fs = p.ti->files();
        if (!list || !p.ti->v2())
                return;
        p.merkle_trees.resize(std::size_t(fs.num_files()));
        p.merkle_tree_mask.resize(std::size_t(fs.num_files()));
        p.verified_leaf_hashes.resize(std::size_t(fs.num_files()));
        for (int k = 0; k < list.list_size(); k++) {
                auto const d = list.list_at(k);
                if (d.type() != lt::bdecode_node::dict_t)
                        continue;
                auto const number = d.dict_find_int_value("file", -1);
                auto const bits = d.dict_find_string_value("mask");
                auto const hashes = d.dict_find_string_value("nodes");
                if (number < 0 || number >= fs.num_files())
                        continue;
                lt::file_index_t const f(static_cast<int>(number));
                if (!has_tree(fs, f))
                        continue;
                tree_shape const s(fs, f);
                if (bits.size() != (s.end + 7) / 8)
                        continue;
                std::vector<bool> mask(s.end);
                std::size_t known = 0;
                for (std::size_t i = 0; i < s.end; i++) {
                        mask[i] = (bits[i / 8] >> i % 8 & 1) != 0;
                        known += mask[i];
                }
                constexpr auto hash_bytes = std::size_t(lt::sha256_hash::size());
                if (known == 0 || hashes.size() != known * hash_bytes)
                        continue;
                auto &tree = p.merkle_trees[f];
                tree.clear();
                for (std::size_t i = 0; i < known; i++)
                        tree.emplace_back(hashes.data() + i * hash_bytes);
                // Where a piece is one block its hash is known to be right if it is that of a leaf.
                if (s.blocks_per_piece == 1)
                        p.verified_leaf_hashes[f].assign(
                                mask.begin() + std::ptrdiff_t(s.piece_layer),
                                mask.begin() + std::ptrdiff_t(s.piece_layer + s.pieces));
                p.merkle_tree_mask[f] = std::move(mask);
        }
}

// ---- peers ----

void put_peers(std::string &to, std::vector<lt::tcp::endpoint> const &peers)
{
        to += 'l';
        for (auto const &e : peers)
                put(to, compact(e));
        to += 'e';
}

void read_peers(lt::bdecode_node const &list, bool loopback, std::vector<lt::tcp::endpoint> &to)
{
        for (int i = 0; list && i < list.list_size(); i++)
                if (lt::tcp::endpoint e; read_compact(list.list_string_value_at(i), e))
                        to.push_back(e);
        sift_peers(to, loopback);
}

// The most useful first: those of which the shim knows that they gave something, then as libtorrent
// has them, which begins with those it was connected to. Where an address is one peer it has one
// port: of several libtorrent would take the last, and that may be somebody's word.
std::vector<lt::tcp::endpoint> in_order(std::vector<lt::tcp::endpoint> others,
                                        known_sources const &k)
{
        std::vector<lt::tcp::endpoint> r;
        auto const is_banned = [&](lt::tcp::endpoint const &e) {
                return k.banned.count({e.address(), 0}) > 0 ||
                       k.banned.count({e.address(), int(e.port())}) > 0;
        };
        auto const take = [&](lt::tcp::endpoint const &e) {
                auto const is_known = [&](lt::tcp::endpoint const &o) {
                        return o == e || (!k.several_at_address && o.address() == e.address());
                };
                if (!is_banned(e) && std::none_of(r.begin(), r.end(), is_known))
                        r.push_back(e);
        };
        for (auto const &u : k.useful) {
                if (u.second != 0) {
                        take({u.first, std::uint16_t(u.second)});
                        continue;
                }
                // It has called us, and may have said where it can be called.
                auto const same = std::find_if(others.begin(), others.end(), [&](auto const &e) {
                        return e.address() == u.first;
                });
                if (same != others.end())
                        take(*same);
        }
        // What the user named is not for us to choose from. Of a private torrent it may be
        // anybody's word, and is not dialled.
        std::vector<lt::tcp::endpoint> named;
        for (auto const &e : k.named)
                if (!k.is_private && !is_banned(e) && std::find(r.begin(), r.end(), e) == r.end())
                        named.push_back(e);
        for (auto const &e : others) {
                if (r.size() + named.size() >= peers_max)
                        break;
                take(e);
        }
        for (auto const &e : named)
                if (std::find(r.begin(), r.end(), e) == r.end())
                        r.push_back(e);
        if (r.size() > peers_max)
                r.resize(peers_max);
        return r;
}

// What stands before the metadata, which may have tens of MB; of a magnet all of it.
std::string encode_head(bt_source const &s)
{
        auto const &p = s.params;
        if (!p.ti)
                return magnet_of(p, s.selected);
        std::string r = "d";
        if (!p.trackers.empty())
                put_trackers(r, p);
        r += "4:info";
        return r;
}

// What stands behind it.
std::string encode_tail(bt_source const &s)
{
        auto const &p = s.params;
        std::string r;
        put(r, "magnetfs");
        r += 'd';
        if (p.ti->v2())
                put_hashes(r, p);
        put(r, "peers");
        put_peers(r, p.peers);
        std::string selected;
        for (bool const is_selected : s.selected)
                selected += is_selected ? '1' : '0';
        put(r, "selected");
        put(r, selected);
        if (!s.named.empty()) {
                put(r, "x.pe");
                put_peers(r, s.named);
        }
        r += 'e';
        if (!p.url_seeds.empty()) {
                put(r, "url-list");
                put(r, p.url_seeds);
        }
        r += 'e';
        return r;
}

int decode_saved(std::string_view bytes, bool loopback, bt_source **ret, bt_error *err)
{
        lt::error_code ec;
        auto const torrent = decode({bytes.data(), std::ptrdiff_t(bytes.size())}, ec);
        if (ec)
                return fail(err, -EINVAL, "bad .torrent: %s", ec.message().c_str());
        bt_source *made = nullptr;
        int const r = source_of_torrent(torrent, bt_default_limits, loopback, &made, err);
        if (r < 0)
                return r;
        std::unique_ptr<bt_source> s(made);
        auto const ours = torrent.dict_find_dict("magnetfs");
        if (ours) {
                read_hashes(ours.dict_find_list("hashes"), s->params);
                read_peers(ours.dict_find_list("peers"), loopback, s->params.peers);
                read_peers(ours.dict_find_list("x.pe"), loopback, s->named);
                for (char const c : ours.dict_find_string_value("selected"))
                        s->selected.push_back(c == '1');
                make_magnet(*s);
        }
        *ret = s.release();
        return 0;
}

} // namespace

known_sources sources_of(bt_torrent &t)
{
        return {t.peers->useful(),
                t.blame.banned(),
                t.web->urls(),
                t.selected,
                t.named,
                t.loopback,
                t.session->several_at_address,
                t.is_private};
}

std::unique_ptr<bt_source> source_of(lt::add_torrent_params &&resume, known_sources &&k)
{
        auto s = std::make_unique<bt_source>();
        auto &p = s->params;
        p.peers = in_order(std::move(resume.peers), k);
        p.ti = std::move(resume.ti);
        p.info_hashes = resume.info_hashes;
        p.name = std::move(resume.name);
        p.trackers = std::move(resume.trackers);
        p.tracker_tiers = std::move(resume.tracker_tiers);
        p.merkle_trees = std::move(resume.merkle_trees);
        p.merkle_tree_mask = std::move(resume.merkle_tree_mask);
        p.verified_leaf_hashes = std::move(resume.verified_leaf_hashes);
        p.url_seeds = std::move(k.web_seeds);
        s->selected = std::move(k.selected);
        s->named = std::move(k.named);
        s->loopback = k.loopback;
        s->hash = to_hash(p.info_hashes);
        make_magnet(*s);
        return s;
}

extern "C" {

int bt_source_parts(const struct bt_source *s, struct bt_bytes parts[BT_SOURCE_PARTS], void **owned)
{
        return guarded(nullptr, [&] {
                auto const head = encode_head(*s);
                auto const tail = s->params.ti ? encode_tail(*s) : std::string();
                auto const info =
                        s->params.ti ? s->params.ti->info_section() : lt::span<char const>();
                auto *const bytes = static_cast<char *>(std::malloc(head.size() + tail.size()));
                if (!bytes)
                        return -ENOMEM;
                std::copy(tail.begin(), tail.end(), std::copy(head.begin(), head.end(), bytes));
                parts[0] = {bytes, head.size()};
                parts[1] = {info.data(), std::size_t(info.size())};
                parts[2] = {bytes + head.size(), tail.size()};
                *owned = bytes;
                return 0;
        });
}

int bt_source_save(const struct bt_source *s, void **ret, size_t *ret_len)
{
        bt_bytes parts[BT_SOURCE_PARTS];
        void *owned = nullptr;
        int const r = bt_source_parts(s, parts, &owned);
        if (r < 0)
                return r;
        auto const len = parts[0].len + parts[1].len + parts[2].len;
        auto *const bytes = static_cast<char *>(std::malloc(len));
        auto *to = bytes;
        for (auto const &part : parts) {
                if (to && part.len > 0)
                        to = static_cast<char *>(std::memcpy(to, part.data, part.len)) + part.len;
        }
        std::free(owned);
        if (!bytes)
                return -ENOMEM;
        *ret = bytes;
        *ret_len = len;
        return 0;
}

int bt_source_load(const void *data, size_t len, bool loopback, struct bt_source **ret,
                   struct bt_error *err)
{
        return guarded(err, [&] {
                std::string_view const bytes(static_cast<char const *>(data), len);
                return !bytes.empty() && bytes[0] == 'd'
                               ? decode_saved(bytes, loopback, ret, err)
                               : source_of_magnet(bytes, loopback, ret, err);
        });
}

void bt_torrent_save(struct bt_torrent *t)
{
        (void)guarded(nullptr, [&] {
                if (!t->callbacks->saved)
                        return 0;
                boost::asio::post(*t->session->io, [t = t->shared_from_this()] {
                        int const r = guarded(nullptr, [&] {
                                t->session->begin_save(*t, sources_of(*t));
                                // Answers with an alert.
                                t->handle.save_resume_data(lt::torrent_handle::save_info_dict);
                                return 0;
                        });
                        if (r < 0)
                                tell_unsaved(*t);
                });
                return 0;
        });
}

} // extern "C"
