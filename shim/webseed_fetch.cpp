// SPDX-License-Identifier: MIT
// webseed_fetch.cpp: the thread that does the HTTP of all web seeds.
//
// A torrent has a libcurl multi handle of its own, so that its connections, also those that wait
// for a next request, are bounded and closed together; one epoll waits for all. Commands come from
// other threads by m_commands and an eventfd, results go by an order's functions, which only post.
#include "webseed_fetch.hpp"

#include "error.hpp"
#include "webseed_transfer.hpp"

#include <curl/curl.h>
#include <libtorrent/settings_pack.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <unordered_map>
#include <utility>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace
{

using clock_type = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int events_max = 64; // dealt with at a time

} // namespace

web_options web_options_of(lt::settings_pack const &s, int descriptors)
{
        using sp = lt::settings_pack;
        web_options o;
        o.user_agent = s.get_str(sp::user_agent);
        o.verify_tls = s.get_bool(sp::validate_https_trackers);
        o.rate_max = std::max(0, s.get_int(sp::download_rate_limit));
        auto const &interfaces = s.get_str(sp::outgoing_interfaces);
        o.interface = interfaces.substr(0, interfaces.find(','));
        o.sockets_max = std::clamp(descriptors / 8, web_fetcher::site_sockets_max, 300);
        auto const type = s.get_int(sp::proxy_type);
        if (type == sp::none || !s.get_bool(sp::proxy_peer_connections))
                return o;
        bool const by_name = s.get_bool(sp::proxy_hostnames);
        char const *const scheme = type == sp::socks4                            ? "socks4"
                                   : type == sp::socks5 || type == sp::socks5_pw ? "socks5"
                                                                                 : "http";
        o.proxy = std::string(scheme) +
                  (scheme[0] != 's' || !by_name ? ""
                   : type == sp::socks4         ? "a"
                                                : "h") +
                  "://" + s.get_str(sp::proxy_hostname) + ":" +
                  std::to_string(s.get_int(sp::proxy_port));
        if (type == sp::socks5_pw || type == sp::http_pw) {
                o.proxy_user = s.get_str(sp::proxy_username);
                o.proxy_password = s.get_str(sp::proxy_password);
        }
        return o;
}

// All of it is the fetching thread's.
class web_fetcher::loop
{
      public:
        explicit loop(web_fetcher &owner)
            : m_owner(owner), m_sockets(owner.m_options.sockets_max),
              m_epoll(::epoll_create1(EPOLL_CLOEXEC))
        {
                struct epoll_event e {
                };
                e.events = EPOLLIN;
                e.data.fd = owner.m_wake_fd;
                (void)::epoll_ctl(m_epoll, EPOLL_CTL_ADD, owner.m_wake_fd, &e);
        }

        ~loop()
        {
                while (!m_sites.empty())
                        close(m_sites.begin()->first);
                ::close(m_epoll);
        }
        loop(loop const &) = delete;
        loop &operator=(loop const &) = delete;

        void fetch(std::shared_ptr<web_site> const &of, std::shared_ptr<web_order> const &order);
        void cut(std::shared_ptr<web_order> const &order);
        void close(std::uint64_t id);
        // Waits for something to happen and deals with it.
        void turn();

      private:
        struct asked : web_asked_site {
                loop *in = nullptr;
                clock_type::time_point due = clock_type::time_point::max();
                std::map<CURL *, std::unique_ptr<web_transfer>> transfers;
        };

        static int on_socket(CURL *, curl_socket_t fd, int what, void *at, void *) noexcept;
        static int on_timer(CURLM *, long ms, void *at) noexcept;

        asked *find_or_open(std::shared_ptr<web_site> const &of);
        void add(asked &s, web_transfer &t);
        void end(asked &s, CURL *easy);
        void act(asked &s, curl_socket_t fd, int events);
        void reap(asked &s);

        web_fetcher &m_owner;
        int m_sockets; // that may still be opened
        int m_epoll;
        std::unordered_map<int, asked *> m_by_fd;
        std::map<std::uint64_t, std::unique_ptr<asked>> m_sites;
};

int web_fetcher::loop::on_socket(CURL *, curl_socket_t fd, int what, void *at, void *) noexcept
{
        auto &s = *static_cast<asked *>(at);
        return guarded(nullptr, [&] {
                auto &l = *s.in;
                if (what == CURL_POLL_REMOVE) {
                        l.m_by_fd.erase(fd);
                        (void)::epoll_ctl(l.m_epoll, EPOLL_CTL_DEL, fd, nullptr);
                        return 0;
                }
                struct epoll_event e {
                };
                e.data.fd = fd;
                e.events = (what & CURL_POLL_IN ? std::uint32_t(EPOLLIN) : 0u) |
                           (what & CURL_POLL_OUT ? std::uint32_t(EPOLLOUT) : 0u);
                bool const is_new = l.m_by_fd.emplace(fd, &s).second;
                return ::epoll_ctl(l.m_epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e);
        });
}

int web_fetcher::loop::on_timer(CURLM *, long ms, void *at) noexcept
{
        auto &s = *static_cast<asked *>(at);
        s.due = ms < 0 ? clock_type::time_point::max() : clock_type::now() + milliseconds(ms);
        return 0;
}

web_fetcher::loop::asked *web_fetcher::loop::find_or_open(std::shared_ptr<web_site> const &of)
{
        auto const i = m_sites.find(of->id);
        if (i != m_sites.end())
                return i->second.get();
        auto s = std::make_unique<asked>();
        s->site = of;
        s->in = this;
        s->sockets = &m_sockets;
        if (make_meta(of->info, bt_default_limits, &s->meta, nullptr) < 0)
                return nullptr;
        s->multi = curl_multi_init();
        if (!s->multi) {
                bt_meta_unref(s->meta);
                return nullptr;
        }
        auto const set = [&](CURLMoption option, auto value) {
                (void)curl_multi_setopt(s->multi, option, value);
        };
        set(CURLMOPT_SOCKETFUNCTION, &on_socket);
        set(CURLMOPT_SOCKETDATA, s.get());
        set(CURLMOPT_TIMERFUNCTION, &on_timer);
        set(CURLMOPT_TIMERDATA, s.get());
        set(CURLMOPT_PIPELINING, long(CURLPIPE_NOTHING));
        set(CURLMOPT_MAXCONNECTS, long(site_sockets_max));
        set(CURLMOPT_MAX_TOTAL_CONNECTIONS, long(site_sockets_max));
        return m_sites.emplace(of->id, std::move(s)).first->second.get();
}

void web_fetcher::loop::fetch(std::shared_ptr<web_site> const &of,
                              std::shared_ptr<web_order> const &order)
{
        auto *const s = order->is_cut ? nullptr : find_or_open(of);
        if (!s) {
                m_owner.m_orders--;
                web_result r;
                r.what = order->is_cut ? web_result::kind::cut : web_result::kind::local;
                r.text = "no memory for a connection";
                order->on_end(std::move(r), {});
                return;
        }
        auto t = std::make_unique<web_transfer>(*s, order, m_owner.m_options,
                                                m_owner.m_pieces_bytes);
        auto &transfer = *t;
        auto *const easy = t->easy();
        s->transfers.emplace(easy, std::move(t));
        if (transfer.prepare())
                add(*s, transfer);
        else
                end(*s, easy);
}

void web_fetcher::loop::add(asked &s, web_transfer &t)
{
        if (curl_multi_add_handle(s.multi, t.easy()) != CURLM_OK)
                end(s, t.easy());
}

// The transfer is in no multi handle any more.
void web_fetcher::loop::end(asked &s, CURL *easy)
{
        auto const i = s.transfers.find(easy);
        auto const t = std::move(i->second);
        s.transfers.erase(i);
        m_owner.m_orders--;
        std::vector<web_piece> left;
        auto r = t->result(left);
        m_owner.pay(r.bytes);
        t->order().on_end(std::move(r), std::move(left));
}

void web_fetcher::loop::cut(std::shared_ptr<web_order> const &order)
{
        auto const s = m_sites.find(order->site);
        if (s == m_sites.end())
                return;
        auto &transfers = s->second->transfers;
        auto const t = std::find_if(transfers.begin(), transfers.end(), [&](auto const &e) {
                return &e.second->order() == order.get();
        });
        if (t == transfers.end())
                return;
        auto *const easy = t->first;
        (void)curl_multi_remove_handle(s->second->multi, easy); // closes the connection
        end(*s->second, easy);
}

void web_fetcher::loop::close(std::uint64_t id)
{
        auto const i = m_sites.find(id);
        if (i == m_sites.end())
                return;
        auto &s = *i->second;
        while (!s.transfers.empty()) {
                auto *const easy = s.transfers.begin()->first;
                (void)curl_multi_remove_handle(s.multi, easy);
                end(s, easy);
        }
        (void)curl_multi_cleanup(s.multi);
        bt_meta_unref(s.meta);
        if (is_large(*s.site->info))
                give_back();
        m_sites.erase(i);
}

void web_fetcher::loop::act(asked &s, curl_socket_t fd, int events)
{
        int running = 0;
        (void)curl_multi_socket_action(s.multi, fd, events, &running);
        reap(s);
}

void web_fetcher::loop::reap(asked &s)
{
        int left = 0;
        while (auto const *const m = curl_multi_info_read(s.multi, &left)) {
                if (m->msg != CURLMSG_DONE)
                        continue;
                auto *const easy = m->easy_handle;
                auto const code = m->data.result; // m is gone with the next call
                (void)curl_multi_remove_handle(s.multi, easy);
                auto const t = s.transfers.find(easy);
                if (t == s.transfers.end())
                        continue;
                bool more = false;
                (void)guarded(nullptr, [&] {
                        more = t->second->go_on(code);
                        return 0;
                });
                if (more)
                        add(s, *t->second);
                else
                        end(s, easy);
        }
}

void web_fetcher::loop::turn()
{
        auto due = clock_type::time_point::max();
        for (auto const &s : m_sites)
                due = std::min(due, s.second->due);
        int wait_ms = -1;
        if (due != clock_type::time_point::max()) {
                auto const ms = std::chrono::ceil<milliseconds>(due - clock_type::now()).count();
                wait_ms = int(std::clamp<long>(ms, 0, 1000));
        }
        std::array<struct epoll_event, events_max> events;
        int const n = ::epoll_wait(m_epoll, events.data(), events_max, wait_ms);
        for (int i = 0; i < n; i++) {
                auto const &e = events[std::size_t(i)];
                int const fd = e.data.fd;
                if (fd == m_owner.m_wake_fd) {
                        std::uint64_t n_woken;
                        (void)!::read(fd, &n_woken, sizeof n_woken);
                        continue;
                }
                auto const at = m_by_fd.find(fd); // an earlier one may have taken it away
                if (at == m_by_fd.end())
                        continue;
                act(*at->second, fd,
                    (e.events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                            (e.events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                            (e.events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
        }
        auto const now = clock_type::now();
        for (auto const &s : m_sites) {
                if (s.second->due > now)
                        continue;
                s.second->due = clock_type::time_point::max(); // on_timer sets it anew
                act(*s.second, CURL_SOCKET_TIMEOUT, 0);
        }
}

// ---- what other threads see ----

web_fetcher::web_fetcher(web_options options) : m_options(std::move(options))
{
        static std::once_flag once; // for the whole process, and never undone
        std::call_once(once, [] { (void)curl_global_init(CURL_GLOBAL_DEFAULT); });
        m_wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

web_fetcher::~web_fetcher()
{
        stop();
        ::close(m_wake_fd);
}

void web_fetcher::stop()
{
        // Whoever comes later finds that it was started.
        std::call_once(m_started, [] {});
        {
                std::lock_guard<std::mutex> const l(m_lock);
                m_stop = true;
        }
        wake();
        if (m_thread.joinable())
                m_thread.join();
}

void web_fetcher::wake() const
{
        std::uint64_t const one = 1;
        (void)!::write(m_wake_fd, &one, sizeof one);
}

void web_fetcher::push(std::function<void(loop &)> command)
{
        {
                std::lock_guard<std::mutex> const l(m_lock);
                if (m_stop)
                        return;
                m_commands.push_back(std::move(command));
        }
        wake();
}

void web_fetcher::fetch(std::shared_ptr<web_site> site, std::shared_ptr<web_order> order)
{
        std::call_once(m_started, [this] { m_thread = std::thread([this] { run(); }); });
        m_orders++;
        push([site = std::move(site), order = std::move(order)](loop &l) { l.fetch(site, order); });
}

void web_fetcher::cut(std::shared_ptr<web_order> order)
{
        order->is_cut = true;
        push([order = std::move(order)](loop &l) { l.cut(order); });
}

void web_fetcher::close(std::uint64_t site)
{
        push([site](loop &l) { l.close(site); });
}

// Only the fetching thread calls it.
void web_fetcher::pay(std::uint64_t bytes)
{
        if (m_options.rate_max == 0)
                return;
        auto const price =
                std::chrono::duration<double>(double(bytes) / double(m_options.rate_max));
        auto const from = std::max(clock_type::now(), clock_type::time_point(m_paid_until.load()));
        m_paid_until =
                (from + std::chrono::duration_cast<clock_type::duration>(price)).time_since_epoch();
}

bool web_fetcher::has_room(std::size_t bytes) const
{
        auto const held = m_pieces_bytes.load();
        return m_orders < m_options.sockets_max / 2 &&
               clock_type::now().time_since_epoch() >= m_paid_until.load() &&
               (held == 0 || held + bytes <= pieces_bytes_max);
}

void web_fetcher::run() noexcept
{
        sigset_t all;
        sigfillset(&all);
        (void)::pthread_sigmask(SIG_BLOCK, &all, nullptr); // they are for the other threads
        std::unique_ptr<loop> l;
        (void)guarded(nullptr, [&] {
                l = std::make_unique<loop>(*this);
                return 0;
        });
        while (l) {
                std::vector<std::function<void(loop &)>> commands;
                {
                        std::lock_guard<std::mutex> const lock(m_lock);
                        if (m_stop)
                                break;
                        commands.swap(m_commands);
                }
                for (auto const &c : commands)
                        (void)guarded(nullptr, [&] {
                                c(*l);
                                return 0;
                        });
                (void)guarded(nullptr, [&] {
                        l->turn();
                        return 0;
                });
        }
}
