// SPDX-License-Identifier: MIT
// session.cpp: the libtorrent session.
#include "session.hpp"

#include "disk.hpp"
#include "error.hpp"
#include "settings.hpp"

#include <libtorrent/address.hpp>
#include <libtorrent/ip_filter.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/session_stats.hpp>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

bt_session::~bt_session()
{
        // Its thread posts to the session's.
        if (web)
                web->stop();
        session.reset();
        if (event_fd >= 0)
                ::close(event_fd);
}

void bt_session::tell(torrent_event e)
{
        {
                std::lock_guard<std::mutex> const l(events_lock);
                events.push_back(std::move(e));
        }
        wake();
}

void bt_session::complain(bt_torrent &t, std::string text)
{
        {
                std::lock_guard<std::mutex> const l(events_lock);
                bool const waits = !t.complaint.empty();
                t.complaint = std::move(text);
                if (waits)
                        return;
                events.push_back({t.shared_from_this(), nullptr, nullptr, 0, {}});
        }
        wake();
}

std::string bt_session::take_complaint(bt_torrent &t)
{
        std::lock_guard<std::mutex> const l(events_lock);
        return std::exchange(t.complaint, {});
}

void bt_session::begin_save(bt_torrent &t, known_sources k)
{
        std::lock_guard<std::mutex> const l(events_lock);
        t.saves.push_back(std::move(k));
}

known_sources bt_session::end_save(bt_torrent &t)
{
        std::lock_guard<std::mutex> const l(events_lock);
        if (t.saves.empty())
                return {};
        auto k = std::move(t.saves.front());
        t.saves.pop_front();
        return k;
}

void bt_session::wake() const noexcept
{
        std::uint64_t const one = 1;
        (void)!::write(event_fd, &one, sizeof one);
}

extern "C" {

const char *bt_version(void)
{
        return lt::version();
}

int bt_session_new(const struct bt_callbacks *callbacks, const struct bt_setting *settings,
                   size_t n_settings, const void *state, size_t state_len, struct bt_session **ret,
                   struct bt_error *err)
{
        return guarded(err, [&] {
                if (std::strncmp(lt::version(), "2.0.", 4) != 0)
                        return fail(err, -ENOTSUP,
                                    "libtorrent %s is loaded; this program needs 2.0.x",
                                    lt::version());
                auto s = std::make_unique<bt_session>();
                s->callbacks = *callbacks;
                s->event_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
                if (s->event_fd < 0)
                        return fail(err, -errno, "cannot make an eventfd: %s",
                                    std::strerror(errno));
                s->metric_peers = lt::find_metric_idx("peer.num_peers_connected");
                s->metric_dht_nodes = lt::find_metric_idx("dht.dht_nodes");

                lt::session_params params;
                if (state && state_len > 0)
                        params = lt::read_session_params(
                                {static_cast<char const *>(state), std::ptrdiff_t(state_len)},
                                lt::session_handle::save_dht_state);
                params.extensions.clear(); // bt_torrent_add names them
                params.settings = default_settings();
                int const r = apply_settings(params.settings, s->parts, settings, n_settings, err);
                if (r < 0)
                        return r;
                s->several_at_address = params.settings.get_bool(
                        lt::settings_pack::allow_multiple_connections_per_ip);
                s->metadata_max = params.settings.get_int(lt::settings_pack::max_metadata_size);
                for (size_t i = 0; i < n_settings; i++) {
                        s->utp_is_set |= std::strcmp(settings[i].name, "enable_outgoing_utp") == 0;
                        s->boost_is_set |=
                                std::strcmp(settings[i].name, "torrent_connect_boost") == 0;
                }
                s->web =
                        std::make_unique<web_fetcher>(web_options_of(params.settings, files_max()));
                auto *const raw = s.get();
                params.disk_io_constructor =
                        [raw](lt::io_context &io, lt::settings_interface const &,
                              lt::counters &) -> std::unique_ptr<lt::disk_interface> {
                        raw->io = &io;
                        return make_disk(io, raw->torrents, &raw->anchors, &raw->digests);
                };
                s->session = std::make_unique<lt::session>(std::move(params));
                s->self = *s->session;
                s->session->set_alert_notify([raw] { raw->wake(); });
                *ret = s.release();
                return 0;
        });
}

int bt_session_close(struct bt_session *s, unsigned timeout_ms)
{
        struct waiter {
                std::mutex lock;
                std::condition_variable done_cv;
                bool done = false;
        };
        return guarded(nullptr, [&] {
                auto const w = std::make_shared<waiter>();
                std::thread closer([s, w] {
                        delete s;
                        std::lock_guard<std::mutex> const l(w->lock);
                        w->done = true;
                        w->done_cv.notify_all();
                });
                bool closed = false;
                {
                        std::unique_lock<std::mutex> l(w->lock);
                        closed = w->done_cv.wait_for(l, std::chrono::milliseconds(timeout_ms),
                                                     [&] { return w->done; });
                }
                if (closed)
                        closer.join(); // nothing of it runs while the process ends
                else
                        closer.detach();
                return closed ? 0 : -ETIME;
        });
}

// What is_this_host() says, as a filter: whatever its port, an address there is a service of this
// host's, and a tracker that names it (127.0.0.1:25) has no business with that.
void bt_session_refuse_loopback(struct bt_session *s)
{
        (void)guarded(nullptr, [&] {
                lt::ip_filter f;
                auto const block = [&](char const *first, char const *last) {
                        f.add_rule(lt::make_address(first), lt::make_address(last),
                                   lt::ip_filter::blocked);
                };
                block("127.0.0.0", "127.255.255.255");
                block("0.0.0.0", "0.255.255.255");
                block("::", "::1");
                block("::ffff:127.0.0.0", "::ffff:127.255.255.255");
                block("::ffff:0.0.0.0", "::ffff:0.255.255.255");
                s->session->set_ip_filter(std::move(f));
                return 0;
        });
}

int bt_session_event_fd(const struct bt_session *s)
{
        return s->event_fd;
}

void bt_session_second_try(struct bt_session *s, bool on)
{
        (void)guarded(nullptr, [&] {
                if (s->utp_is_set || s->utp == on)
                        return 0;
                s->utp = on;
                lt::settings_pack p;
                p.set_bool(lt::settings_pack::enable_outgoing_utp, on);
                s->session->apply_settings(std::move(p));
                return 0;
        });
}

void bt_session_poll(struct bt_session *s)
{
        (void)guarded(nullptr, [&] {
                s->session->post_torrent_updates();
                s->session->post_session_stats();
                return 0;
        });
}

void bt_session_get_stats(const struct bt_session *s, struct bt_session_stats *ret)
{
        auto *const m = const_cast<bt_session *>(s); // for its lock alone
        std::lock_guard<std::mutex> const l(m->stats_lock);
        *ret = s->stats;
}

int bt_session_state_save(struct bt_session *s, void **ret, size_t *ret_len)
{
        return guarded(nullptr, [&] {
                auto const p = s->session->session_state(lt::session_handle::save_dht_state);
                auto const buf =
                        lt::write_session_params_buf(p, lt::session_handle::save_dht_state);
                void *const copy = std::malloc(buf.size());
                if (!copy)
                        return -ENOMEM;
                std::memcpy(copy, buf.data(), buf.size());
                *ret = copy;
                *ret_len = buf.size();
                return 0;
        });
}

void bt_free(void *p)
{
        std::free(p);
}

} // extern "C"
