// SPDX-License-Identifier: MIT
// webseed_transfer.hpp: one order's HTTP: its requests one after the other, and what a web seed may
// answer. The fetching thread only.
#pragma once

#include "metadata.hpp"
#include "webseed_fetch.hpp"
#include "webseed_order.hpp"

#include <curl/curl.h>
#include <libtorrent/hasher.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// A torrent whose web seeds are asked.
struct web_asked_site {
        std::shared_ptr<web_site> site;
        bt_meta *meta = nullptr; // made with the first order
        CURLM *multi = nullptr;
        int *sockets = nullptr; // of all torrents
        // Where a URL redirected to, which is asked at once from then on; while it answers well.
        std::map<std::string, std::string> redirects;
};

class web_transfer
{
      public:
        web_transfer(web_asked_site &at, std::shared_ptr<web_order> order,
                     web_options const &options, std::atomic<std::size_t> &pieces_bytes);
        ~web_transfer();
        web_transfer(web_transfer const &) = delete;
        web_transfer &operator=(web_transfer const &) = delete;

        // Prepares easy() for the next request. False: there is none, and result() says why.
        bool prepare();
        // The request has ended. As prepare() for the one that follows.
        bool go_on(CURLcode code);
        CURL *easy() const
        {
                return m_easy;
        }
        web_order &order()
        {
                return *m_order;
        }
        // How the order has ended, and what there is of the piece that it ended in.
        web_result result(std::vector<web_piece> &left);

      private:
        // Of the answer that comes just now.
        struct head {
                long status = 0;
                bool done = false;
                bool good = false; // the body is what was asked for
                bool encoded = false;
                std::string range, length, retry_after;
        };

        static std::size_t on_header(char *data, std::size_t, std::size_t n, void *self) noexcept;
        static std::size_t on_body(char *data, std::size_t, std::size_t n, void *self) noexcept;
        static curl_socket_t on_open(void *self, curlsocktype, struct curl_sockaddr *a) noexcept;
        static int on_close(void *at, curl_socket_t fd) noexcept;
        static int on_connected(void *self, char *ip, char *, int, int) noexcept;

        void set_up(web_options const &options);
        void request(std::string const &url);
        bool take_line(std::string_view line);
        bool judge();
        bool take_body(char const *data, std::size_t n);
        bool take(char const *data, std::size_t n);
        bool begin_piece();
        bool end_piece();
        bool redirect();
        void end(web_result::kind what, std::string text);
        std::string failure(CURLcode code) const;

        web_asked_site &m_at;
        std::shared_ptr<web_order> const m_order;
        std::atomic<std::size_t> &m_pieces_bytes;
        CURL *m_easy = nullptr;
        bool const m_loopback;
        bool const m_proxied;

        std::optional<web_result> m_result; // it has ended
        std::size_t m_piece = 0;            // of the order's
        bool m_begun = false;               // the piece has memory, and m_hash has its bytes
        lt::hasher m_hash;

        // Of the request.
        std::string m_url, m_now; // the web seed's own, and the one that is asked: a redirect's
        int m_file = -1;
        std::uint64_t m_first = 0, m_want = 0, m_file_size = 0; // bytes of the file
        std::uint64_t m_got = 0;
        std::size_t m_head_bytes = 0, m_refused_bytes = 0;
        int m_redirects = 0;
        bool m_from_outside = false; // a host that is not of the local network answered
        bool m_no_socket = false;    // there were too many, or there is no descriptor
        head m_head;
};
