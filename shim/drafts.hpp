// SPDX-License-Identifier: MIT
// drafts.hpp: metadata in the making (BEP 9): which block to ask whom for, and who has lied. Pure:
// knows no libtorrent, no clock and no thread.
//
// A block of metadata has no hash of its own; only of the whole is it known whether it is right.
// Peers that say the same size write one draft together. When that turns out wrong, each of its
// writers goes on alone, with the blocks that it gave itself, and is asked for the others too. Who
// is wrong alone has lied and is never asked again. So lies cost time, but never the metadata, as
// long as one honest peer has it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

class drafts
{
      public:
        using time = std::chrono::steady_clock::time_point;
        using peer = std::uint64_t; // one connection

        static constexpr int block_bytes = 16 * 1024; // BEP 9

        enum class outcome {
                noted,
                lied,     // the peer that gave the block has
                complete, // take() it
        };

        // Metadata has at most max_bytes. is_right says whether some bytes are what is looked for.
        drafts(std::size_t max_bytes, std::function<bool(std::string const &)> is_right);

        // A peer says that its metadata has so many bytes; 0: that it has none (yet). name is what
        // it is recognised by when it comes back. Again, for one that says more than at first.
        void joined(peer p, std::string const &name, std::int64_t bytes, time now);
        void left(peer p);

        // The next block to ask the peer for; it counts as asked for. -1: there is none.
        int next(peer p, time now);
        // The first n bytes of an answer are there.
        void arriving(peer p, std::size_t n, time now);
        // The peer gives the block of that number and says that there are total bytes (0: it does
        // not say).
        outcome given(peer p, int number, char const *data, std::size_t n, std::int64_t total,
                      time now);
        // The peer says that it has not got that block.
        void refused(peer p, int number, time now);

        // The metadata, once.
        std::string take();
        // Bytes that have come and were of use. Never falls.
        std::uint64_t progress() const
        {
                return m_progress;
        }

      private:
        struct request {
                peer from;
                time at;
        };
        struct block {
                std::string data; // "": missing
                peer from = 0;
                std::string name; // of who gave it
                std::vector<request> asked;
        };
        struct draft {
                std::int64_t size;
                int count, missing;          // blocks
                std::map<int, block> blocks; // those that are there or were asked for
                std::size_t have = 0;        // bytes
                std::uint64_t grown = 0;     // when it got its last block: m_taken by then
        };
        struct source {
                std::string name;
                std::int64_t size = 0; // 0: not known
                bool alone = false, liar = false;
                std::shared_ptr<draft> at;
                std::vector<int> asked;
                time heard, not_before;
        };

        static std::shared_ptr<draft> make(std::int64_t size);
        static void put(draft &d, int number, block b);
        static void take_back(draft &d, peer p);
        static void forget_requests(draft &d, peer p);
        void attach(source &s);
        void lie(peer p, source &s);
        outcome finish(std::shared_ptr<draft> const &d, peer last);
        void keep_bounded();

        std::size_t const m_max;
        std::function<bool(std::string const &)> const m_is_right;
        std::unordered_map<peer, source> m_sources;
        std::map<std::int64_t, std::shared_ptr<draft>> m_joint; // by size
        std::unordered_set<std::string> m_liars, m_alone;       // names
        std::string m_whole;
        std::uint64_t m_taken = 0, m_progress = 0;
};
