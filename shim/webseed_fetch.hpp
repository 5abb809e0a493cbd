// SPDX-License-Identifier: MIT
// webseed_fetch.hpp: the thread that does the HTTP of all web seeds of a session.
#pragma once

#include "webseed_order.hpp"

#include <libtorrent/settings_pack.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// How connections are made; all from libtorrent's settings, so that web seeds go the same way as
// peers.
struct web_options {
        std::string user_agent;
        std::string proxy; // a URL; "": none
        std::string proxy_user, proxy_password;
        std::string interface; // as libtorrent's outgoing_interfaces has the first; "": any
        bool verify_tls = true;
        long rate_max = 0;     // bytes per second of all together; 0: no limit
        int sockets_max = 100; // of all torrents together
};
web_options web_options_of(lt::settings_pack const &settings, int descriptors);

// Runs orders, each over one connection at a time. Its functions may be called from any thread and
// do not block but for stop(), which waits for the thread: that waits for nothing but data, so
// milliseconds. Every order ends with its on_end, unless it was given after stop().
class web_fetcher
{
      public:
        // Connections to the web seeds of one torrent, what is closing included.
        static constexpr int site_sockets_max = 30;
        // A request follows so many redirects.
        static constexpr int redirects_max = 5;
        // Of a response's head and its trailers together.
        static constexpr std::size_t head_bytes_max = 64 * 1024;
        // Pieces in the making, of all torrents together.
        static constexpr std::size_t pieces_bytes_max = 128u << 20;

        explicit web_fetcher(web_options options);
        ~web_fetcher();
        web_fetcher(web_fetcher const &) = delete;
        web_fetcher &operator=(web_fetcher const &) = delete;

        void fetch(std::shared_ptr<web_site> site, std::shared_ptr<web_order> order);
        // Ends the order as cut, and its connection.
        void cut(std::shared_ptr<web_order> order);
        // Closes all connections of the torrent. Its orders end as cut.
        void close(std::uint64_t site);

        // Ends all orders, and the thread. What is called later does nothing.
        void stop();

        // Whether there is room for another order with so many bytes in its pieces.
        bool has_room(std::size_t bytes) const;
        // Bytes per second of all web seeds together; 0: no limit. What an order brought is paid
        // for by a time without a new one, so orders are best for no more than a second's.
        long rate_max() const
        {
                return m_options.rate_max;
        }
        std::atomic<std::size_t> &pieces_bytes()
        {
                return m_pieces_bytes;
        }

      private:
        class loop; // the thread's own

        void push(std::function<void(loop &)> command);
        void wake() const;
        void pay(std::uint64_t bytes);
        void run() noexcept;

        web_options const m_options;
        std::atomic<std::size_t> m_pieces_bytes{0};
        std::atomic<int> m_orders{0}; // that were given and have not ended
        std::atomic<std::chrono::steady_clock::duration> m_paid_until{}; // no new ones before

        std::mutex m_lock;                                   // a leaf
        std::vector<std::function<void(loop &)>> m_commands; // under m_lock
        bool m_stop = false;                                 // under m_lock
        int m_wake_fd = -1;
        std::once_flag m_started;
        std::thread m_thread; // begins with the first order; under m_started
};
