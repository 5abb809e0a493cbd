// SPDX-License-Identifier: MIT
// metadata.hpp: magnets, .torrent files and info dictionaries, as bt.h gives them out.
#pragma once

#include "bt.h"
#include "paths.hpp"

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/address.hpp>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/info_hash.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/span.hpp>
#include <libtorrent/torrent_info.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// More of each is not kept of a source: an attack, not a swarm.
constexpr std::size_t peers_max = 100;

struct file_view {
        std::string path;
        uint64_t offset;
        uint64_t size;
        bool pad, symlink;
};

struct bt_meta {
        std::atomic<int> refs{1};
        std::shared_ptr<lt::torrent_info const> info;
        bt_hash hash{};
        std::string name;
        bool single = false;
        std::vector<file_view> files;
};

struct bt_source {
        std::atomic<int> refs{1};
        lt::add_torrent_params params;
        bt_hash hash{};
        std::string magnet;
        std::vector<bool> selected;           // BEP 53: files by their numbers; empty: all of them
        std::vector<lt::tcp::endpoint> named; // the peers that its magnet names (x.pe)
        bt_meta *meta = nullptr;
        bool loopback = false; // its web seeds may be on this host
        ~bt_source();
};

bt_hash to_hash(lt::info_hash_t const &h) noexcept;

// Whether connecting to a leads back here. An IPv6 address may hold one of IPv4 (RFC 4291
// §2.5.5.2), and the unspecified one means this host (RFC 1122 §3.2.1.3).
bool is_this_host(lt::address a);

// Checks ti against the limits and makes the view that C sees. 0, -EINVAL or -E2BIG. With `raw` its
// paths were read already, within the limits; that takes two thirds of the time.
int make_meta(std::shared_ptr<lt::torrent_info const> ti, bt_limits const &limits, bt_meta **ret,
              bt_error *err);
int make_meta(std::shared_ptr<lt::torrent_info const> ti, raw_paths &&raw, bt_limits const &limits,
              bt_meta **ret, bt_error *err);

// Of a magnet URI and of a .torrent: what bt_source_from_magnet and bt_source_from_torrent say, but
// without their limits on the length. 0, -EINVAL or -E2BIG.
int source_of_magnet(std::string_view text, bool loopback, bt_source **ret, bt_error *err);
int source_of_torrent(lt::bdecode_node const &torrent, bt_limits const &limits, bool loopback,
                      bt_source **ret, bt_error *err);
// Bencode within the limits on nesting and tokens.
lt::bdecode_node decode(lt::span<char const> bytes, lt::error_code &ec);
// The params as a magnet URI that asks for these files (BEP 53).
std::string magnet_of(lt::add_torrent_params p, std::vector<bool> const &selected);
// Makes the magnet that users pass on of what else s says: of the peers, those that were named.
void make_magnet(bt_source &s);
// Takes out whom the source may not name: beyond the first hundred, and on this host unless
// loopback.
void sift_peers(std::vector<lt::tcp::endpoint> &peers, bool loopback);

lt::load_torrent_limits to_lt(bt_limits const &limits);

// Metadata of many files takes several times its size for as long as it is looked at, and leaves
// holes everywhere that malloc would keep: after something large they go back to the system.
bool is_large(lt::torrent_info const &info);
void give_back();
