// SPDX-License-Identifier: MIT
// session.hpp: what the entry points of bt.h, the plugins and bt_dispatch share of a session.
#pragma once

#include "bt.h"
#include "parts.hpp"
#include "torrent.hpp"
#include "webseed_fetch.hpp"

#include <libtorrent/alert.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/torrent_info.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

// Something for bt_dispatch from the network thread: the metadata came, or was refused, or else the
// torrent has a complaint.
struct torrent_event {
        std::shared_ptr<bt_torrent> torrent;
        std::shared_ptr<lt::torrent_info const> info;
        std::shared_ptr<raw_paths> paths; // of info
        int refused = 0;                  // -errno
        std::string why;                  // of the refusal
        bool unsaved = false;
};

struct bt_found {
        std::shared_ptr<lt::torrent_info const> info;
        std::shared_ptr<raw_paths> paths; // of info, until its metadata was made
};

struct bt_session {
        bt_callbacks callbacks{};
        int event_fd = -1;
        std::unique_ptr<web_fetcher> web; // set once; outlives the torrents
        torrent_table torrents;
        uint64_t next_id = 1; // bt_torrent_add's callers: under add_lock
        std::mutex add_lock;

        engine_parts parts;        // set once
        bool utp_is_set = false;   // by the user: set once
        bool boost_is_set = false; // torrent_connect_boost, likewise
        int boost = 0;             // what it is: bt_torrent_add's callers, under add_lock
        // Torrents that nobody has shaken hands with yet. Any thread.
        std::atomic<int> unmet{0};
        bool utp = false; // bt_session_second_try's caller's

        anchor_disk *anchors = nullptr;  // the session's disk; network thread only
        digest_disk *digests = nullptr;  // likewise
        bool several_at_address = false; // peers may share one: set once
        lt::io_context *io = nullptr;    // the network thread's, set while the session is made

        int metadata_max = 0; // bytes that libtorrent takes: set once
        std::mutex events_lock;
        std::vector<torrent_event> events; // under events_lock

        // The dispatch thread's.
        std::vector<lt::alert *> alerts;
        int metric_peers = -1, metric_dht_nodes = -1;
        uint32_t web_connections = 0;

        std::mutex stats_lock;
        bt_session_stats stats{}; // under stats_lock
        std::unordered_map<uint64_t, bt_stats>
                told; // the dispatch thread's: torrent -> what libtorrent said last

        std::unique_ptr<lt::session> session;
        // The session as its own thread has it: that runs on while session is being ended, and is
        // no more by then. Set before the first torrent.
        lt::session_handle self;

        ~bt_session();

        // Hands e to bt_dispatch. Any thread.
        void tell(torrent_event e);
        // Of what peers bring about as often as they like only the last is told. Any thread.
        void complain(bt_torrent &t, std::string text);
        // The complaint that waits; "" from then on. Any thread.
        std::string take_complaint(bt_torrent &t);
        // libtorrent will be asked for what it knows of t; k is for when it answers. Any thread.
        void begin_save(bt_torrent &t, known_sources k);
        // It has answered.
        known_sources end_save(bt_torrent &t);
        // event_fd becomes readable. Any thread.
        void wake() const noexcept;
};
