// SPDX-License-Identifier: MIT
// webseeds.hpp: the web seeds of a torrent (BEP 19): which of them is asked for what, and what
// becomes of those that fail.
#pragma once

#include "bt.h"
#include "piece_set.hpp"
#include "timer.hpp"
#include "webseed_backoff.hpp"
#include "webseed_order.hpp"

#include <libtorrent/torrent_handle.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

struct bt_torrent; // torrent.hpp
class web_fetcher; // webseed_fetch.hpp

// What web seeds add to the numbers of a torrent. Any thread.
struct web_stats {
        std::atomic<std::uint32_t> connections{0}, rate{0}; // payload bytes per second
        std::atomic<std::uint64_t> bytes{0};                // payload, ever
        std::atomic<bool> changed{false};                   // since bt_dispatch told it
};

// All web seeds of a torrent. Network thread only.
class web_seeds
{
      public:
        // The URLs as the torrent's source has them, sifted. Before libtorrent knows the torrent.
        web_seeds(std::vector<std::string> const &urls, bool loopback);

        // There is metadata. t outlives this.
        void begin(bt_torrent &t, lt::torrent_handle const &h);
        // libtorrent takes pieces from here on.
        void files_checked();
        // libtorrent lets go of the torrent: nothing of its thread is used after this.
        void end() noexcept;
        // Further ones, sifted. begin() may be still to come.
        void add(std::vector<std::string> const &urls);
        // All of them, those that are not asked any more too.
        std::vector<std::string> urls() const;
        // What is wanted has changed, and the anchor knows it.
        void want(std::vector<bt_want> const &list);
        // The piece is there; the anchor knows it.
        void passed(int piece);
        // It is missing again: what was given of it is worth nothing. unwritten: not as it was
        // wrong, but as it could not be kept.
        void restored(int piece, bool unwritten);

        web_stats stats;

      private:
        using clock = web_backoff::clock;
        struct seed {
                std::string url, host; // host:port
                web_backoff backoff;
                bool dropped = false;  // it is never asked again
                std::set<int> missing; // files that it has not got, or of another edition
                std::set<int> bad;     // pieces that it gave wrong
                unsigned right = 0, wrong = 0;
                double rate = 0; // bytes per second, when last asked; 0: not known

                // While it is asked for something.
                std::shared_ptr<web_order> order;
                int first = 0;                            // the order's first piece
                std::uint64_t seen = 0;                   // bytes that had come when last looked at
                clock::time_point moved_at;               // when bytes of it came last
                bool stalled = false;                     // it was cut because none came
                std::chrono::milliseconds patience{1000}; // how long none may come until then
        };
        // A piece that web seeds are being asked for, or have given.
        struct claim {
                int orders = 0;     // that it is in
                bool freed = false; // peers and other web seeds may be asked for it, too
        };
        // A piece that libtorrent was given and has not judged.
        struct trial {
                clock::time_point since;
                std::size_t from;
                bool verified; // its hash is right
                bool alone;    // nobody else gave anything of it
        };
        // The beginning of a piece whose order has ended.
        struct partial {
                web_piece piece;
                std::size_t from;
        };

        // webseeds.cpp
        void build();
        void update(int piece);
        void wake();
        void arm(std::chrono::milliseconds in);
        void tick();
        void look(clock::time_point now);
        void rest();
        void count(clock::time_point now);
        void close_claims(std::vector<int> const &pieces);
        void piece_came(std::size_t k, web_piece &&p);
        void order_ended(std::size_t k, std::shared_ptr<web_order> const &order, web_result &&r,
                         std::vector<web_piece> &&left);
        void judge(std::size_t k, web_result const &r);
        void gave_wrong(seed &s, int piece);
        void drop(seed &s);
        int piece_size(int piece) const;
        web_fetcher &fetcher() const;

        // webseed_plan.cpp
        void assign();
        bool assign_one(std::vector<std::size_t> const &idle, clock::time_point now);
        std::vector<std::size_t> idle_seeds(clock::time_point now) const;
        bool may_take(seed const &s, int piece, int priority, clock::time_point now) const;
        std::pair<int, int> files_of(int piece) const; // the first and the last
        bool has_files(seed const &s, int piece) const;
        int choose(seed const &s, clock::time_point now) const;
        void ask(std::size_t k, int first, int n, clock::time_point now);
        void shorten(seed &s, std::size_t end);
        void reconsider();
        bool steal(clock::time_point now);
        void watch(clock::time_point now);
        bool is_open(int piece) const;
        int open_count() const;
        void look_at_peers();

        bool const m_loopback;
        std::vector<seed> m_seeds;
        bt_torrent *m_torrent = nullptr;
        lt::torrent_handle m_handle;
        std::shared_ptr<web_site> m_site;
        timer m_timer;
        bool m_ready = false;     // libtorrent takes pieces
        bool m_awake = false;     // the timer runs
        bool m_assigning = false; // assign() is at work
        clock::time_point m_wanted_at;

        // By priority: pieces that are wanted and missing, and that no web seed has or is asked
        // for, or more than one may be.
        std::array<piece_set, BT_PRIORITY_TOP + 1> m_open;
        std::map<int, clock::time_point> m_awaited; // those that a reader waits for, since when
        std::map<int, claim> m_claims;
        std::map<int, trial> m_trials;
        std::map<int, partial> m_partials;

        // As of the last assign().
        bool m_peers_give = false;
        std::set<int> m_begun; // pieces of which peers are asked for something

        // Of the rate.
        clock::time_point m_counted_at;
        std::uint64_t m_counted_bytes = 0;
};
