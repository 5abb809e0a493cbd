// SPDX-License-Identifier: MIT
// torrent.hpp: a torrent as the session, its plugins and the disk share it.
#pragma once

#include "anchor.hpp"
#include "blame.hpp"
#include "bt.h"
#include "call_list.hpp"
#include "hashes.hpp"
#include "parts.hpp"
#include "paths.hpp"

#include <libtorrent/address.hpp>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/client_data.hpp>
#include <libtorrent/extensions.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

class swarm;     // swarm.hpp
class web_seeds; // webseeds.hpp

// What the shim knows of a torrent's sources when it is saved (save.hpp).
struct known_sources {
        // The most useful first. A port, or 0 for one that has called us.
        std::vector<std::pair<lt::address, int>> useful;
        std::set<std::pair<lt::address, int>> banned; // and port; 0: whatever its port
        std::vector<std::string> web_seeds;
        std::vector<bool> selected;
        std::vector<lt::tcp::endpoint> named;
        bool loopback = false;
        bool several_at_address = false;
        bool is_private = false;
};

// Peers of a torrent without metadata that are remembered for being dialled again.
constexpr std::size_t known_peers_max = 100;

// One added torrent: what libtorrent's storage, plugin and alerts know it by. released() is called
// when the last of them lets go.
struct bt_torrent : std::enable_shared_from_this<bt_torrent> {
        // Set once, before libtorrent knows it.
        bt_session *session = nullptr;
        bt_callbacks const *callbacks = nullptr;
        void *user = nullptr;
        uint64_t id = 0; // part of its save path, which is how new_torrent() finds it
        engine_parts parts;
        std::vector<bool> selected;           // BEP 53, as its source has it
        std::vector<lt::tcp::endpoint> named; // so, too: x.pe
        bool loopback = false;                // its web seeds may be on this host

        // Set by the network thread in bt_torrent_add's call, read by others after that returned.
        lt::torrent_handle handle;

        // The network thread's once libtorrent knows it.
        bool incomplete = false; // there was no memory for one of its plugins
        bool wants_metadata = false;
        bool unmet = false; // counted in the session's; network thread only once it is added
        class anchor anchor;
        class blame blame;
        class hashes hashes;
        std::unique_ptr<swarm> peers;
        std::unique_ptr<web_seeds> web;         // set once
        bool ended = false;                     // libtorrent has it no longer
        call_list known_peers{known_peers_max}; // while it has no metadata
        bool is_private = false;                // BEP 27: nobody is told of its peers
        std::weak_ptr<lt::torrent_plugin> metadata_exchange;
        std::shared_ptr<raw_paths> paths; // of the metadata that libtorrent is about to get
        bool is_large = false;            // its end gives memory back to the system (give_back)

        std::deque<known_sources> saves; // for each answer of libtorrent's; under events_lock too
        std::string complaint; // that bt_dispatch has yet to tell; under the session's events_lock

        std::atomic<std::int64_t> metadata_offered{0}; // bytes that a peer has: more than are taken
        std::atomic<uint64_t> metadata_bytes{0};       // that came and were of use; never falls

        std::atomic<uint64_t> redundant{0}; // payload bytes from peers that had come before

        // bt_torrent_add has succeeded: `user` belongs to us until released(). An add that fails
        // leaves it with the caller.
        std::atomic<bool> added{false};
        // bt_torrent_remove was called: bt_dispatch makes no callbacks any more.
        std::atomic<bool> removed{false};

        bt_torrent();
        ~bt_torrent();
};

// The torrents of a session by id. Any thread.
class torrent_table
{
      public:
        std::shared_ptr<bt_torrent> find(uint64_t id);
        void insert(std::shared_ptr<bt_torrent> t);
        void erase(uint64_t id);

      private:
        std::mutex m_lock;
        std::unordered_map<uint64_t, std::shared_ptr<bt_torrent>> m_by_id;
};

// What libtorrent's handles know a torrent's id by.
lt::client_data_t as_userdata(uint64_t id);
uint64_t id_of(lt::torrent_handle const &h);
// What its disk does.
std::string save_path_of(uint64_t id);
uint64_t id_of_save_path(std::string const &path); // 0: none of ours

// Ends every other torrent of the session that has a hash of this metadata (a hybrid that was added
// by both of its hashes): libtorrent would stop both. Network thread only.
void make_way_for(bt_torrent &t, lt::torrent_handle const &h, lt::bdecode_node const &info);
// The io_context of the network thread.
lt::io_context *network_of(bt_torrent const &t);
// Bytes of metadata that are taken at most.
std::size_t metadata_max(bt_torrent const &t);
// Become the callbacks metadata (with the error) and problem, in the thread of bt_dispatch. Any
// thread.
void tell_refused(bt_torrent &t, bt_error const &why);
void tell_problem(bt_torrent &t, std::string text);
// Becomes the callback saved, without a source. Any thread.
void tell_unsaved(bt_torrent &t) noexcept;

// Somebody has shaken hands with it, or it goes: others may dial more peers at once.
void met(bt_torrent &t) noexcept;
// Becomes a problem where somebody has the metadata, but too much of it. Any thread.
void tell_offered(bt_torrent &t);
