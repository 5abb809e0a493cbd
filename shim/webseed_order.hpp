// SPDX-License-Identifier: MIT
// webseed_order.hpp: what passes between the network thread, which knows what is wanted
// (webseeds.cpp), and the thread that does the HTTP (webseed_fetch.cpp).
#pragma once

#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

struct web_buffer_free {
        std::atomic<std::size_t> *sum = nullptr;
        std::size_t size = 0;
        void operator()(char *p) const
        {
                *sum -= size;
                std::free(p);
        }
};

// A piece in the making: its first `filled` bytes are there. Belongs to one thread at a time. Its
// size counts in the session's sum for as long as it has memory.
class web_piece
{
      public:
        web_piece(int piece, std::size_t bytes) : index(piece), size(bytes)
        {
        }

        // More than this is not taken by all together, unless by a single one. Twice what is asked
        // for: a piece that is whole keeps its memory until the network thread has it.
        static constexpr std::size_t sum_max = 256u << 20;

        // False: there is no memory for it.
        bool allocate(std::atomic<std::size_t> &sum)
        {
                if (data)
                        return true;
                if (auto const held = sum.load(); held > 0 && held + size > sum_max)
                        return false;
                data = decltype(data)(static_cast<char *>(std::malloc(size)),
                                      web_buffer_free{&sum, size});
                if (data)
                        sum += size;
                return data != nullptr;
        }

        int index;
        std::size_t size, filled = 0;
        std::unique_ptr<char, web_buffer_free> data;
        bool mixed = false; // several web seeds gave of it
};

// How an order ended.
struct web_result {
        enum class kind {
                done,      // it gave all that was asked for, or as much as is still wanted
                cut,       // by us
                broken,    // the connection failed, or ended early
                busy,      // it says that it can't now: 408, 429, 5xx
                missing,   // it has not got the file, or another one of that name
                useless,   // it does not do what is asked of it, and never will
                wrong,     // the piece's hash is wrong
                forbidden, // it leads where it must not
                local,     // no fault of its own: no memory, no descriptor
        };
        kind what = kind::done;
        std::string text;        // for the status
        long retry_after = -1;   // seconds that it asks for; -1: it does not say
        int file = -1;           // the one that was asked for
        int piece = -1;          // the wrong one
        bool mixed = false;      // another web seed gave a part of the wrong piece
        std::uint64_t bytes = 0; // that it gave for this order
};

// Pieces in a row that one web seed is asked for.
struct web_order {
        // Set once.
        std::uint64_t site = 0; // the torrent's number
        std::string url;
        // Called by the fetching thread: a piece is whole, and right as far as is known by then.
        std::function<void(web_piece &&)> on_piece;
        // Called by the fetching thread at the end, with what there is of the piece that the order
        // ended in.
        std::function<void(web_result &&, std::vector<web_piece> &&)> on_end;
        std::chrono::steady_clock::time_point const since = std::chrono::steady_clock::now();

        // The fetching thread's once it has the order; its length is set once.
        std::vector<web_piece> pieces;

        // Any thread.
        std::atomic<std::uint64_t> received{0};
        std::atomic<bool> is_cut{false};

        // Lowers the end, so that what lies behind is not fetched; never below the piece that comes
        // just now. The end from here on, as a number of pieces.
        std::size_t end_at(std::size_t end)
        {
                std::lock_guard<std::mutex> const l(m_lock);
                m_end = std::min(m_end, std::max(end, m_at + 1));
                return m_end;
        }
        // The piece that comes just now, and the end.
        std::pair<std::size_t, std::size_t> where() const
        {
                std::lock_guard<std::mutex> const l(m_lock);
                return {m_at, m_end};
        }
        // Goes on to the next piece. False: it is not to be fetched. The fetching thread's.
        bool next_piece()
        {
                std::lock_guard<std::mutex> const l(m_lock);
                m_at++;
                return m_at < m_end;
        }
        void set_end(std::size_t end) // before anybody else has the order
        {
                m_end = end;
        }

      private:
        mutable std::mutex m_lock; // a leaf: nothing is called with it held
        std::size_t m_at = 0, m_end = 0;
};

// What the fetching thread knows of a torrent.
struct web_site {
        // Set once.
        std::uint64_t id = 0;
        std::shared_ptr<lt::torrent_info const> info;
        bool loopback = false; // its web seeds may be on this host

        // Any thread.
        std::atomic<int> connections{0}; // sockets that are not closed
};
