// SPDX-License-Identifier: MIT
// dispatch.cpp: alerts and events become the callbacks of bt.h, in the thread of bt_dispatch.
#include "error.hpp"
#include "metadata.hpp"
#include "save.hpp"
#include "session.hpp"
#include "webseeds.hpp"

#include <libtorrent/alert_types.hpp>
#include <libtorrent/error_code.hpp>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <unistd.h>

namespace
{

// Its paths were read when it came, and are taken: once.
int make_found(std::shared_ptr<lt::torrent_info const> const &info,
               std::shared_ptr<raw_paths> const &paths, bt_meta **ret, bt_error *err)
{
        return paths ? make_meta(info, std::move(*paths), bt_default_limits, ret, err)
                     : make_meta(info, bt_default_limits, ret, err);
}

void on_event(torrent_event const &e)
{
        auto const &t = e.torrent;
        bt_error err{};
        bt_meta *meta = nullptr;
        if (e.unsaved) {
                if (!t->removed)
                        t->callbacks->saved(t->user, nullptr);
                return;
        }
        if (!e.info && e.refused == 0) {
                auto const text = t->session->take_complaint(*t);
                if (!t->removed)
                        t->callbacks->problem(t->user, text.c_str());
                return;
        }
        if (e.info && !t->removed && t->callbacks->found) {
                t->callbacks->found(t->user, new bt_found{e.info, e.paths});
                return;
        }
        int const r = guarded(&err, [&] {
                return e.info ? make_found(e.info, e.paths, &meta, &err)
                              : fail(&err, e.refused, "%s", e.why.c_str());
        });
        if (!t->removed)
                t->callbacks->metadata(t->user, r < 0 ? nullptr : meta, r < 0 ? &err : nullptr);
        bt_meta_unref(meta);
        if (e.info && is_large(*e.info))
                give_back();
}

// The metadata has the right hash, and libtorrent can make nothing of it. It has stopped the
// torrent.
void on_metadata_failed(bt_session &s, lt::metadata_failed_alert const &a)
{
        auto const t = s.torrents.find(id_of(a.handle));
        if (!t || t->removed || a.error == lt::errors::mismatching_info_hash)
                return; // another peer may have it right
        bt_error err{};
        if (a.error == lt::errors::too_many_pieces_in_torrent)
                fail(&err, -E2BIG, "the torrent has more than %u pieces; it is not taken",
                     bt_default_limits.pieces);
        else
                fail(&err, -EINVAL, "bad metadata: %s", a.error.message().c_str());
        t->callbacks->metadata(t->user, nullptr, &err);
}

// What libtorrent said last of the torrent, with what its web seeds add.
bt_stats with_web_seeds(bt_stats b, web_stats const &web)
{
        b.download_rate += web.rate;
        b.peers += web.connections;
        b.seeds += web.connections;
        b.downloaded += web.bytes;
        return b;
}

void on_state_update(bt_session &s, lt::state_update_alert const &a)
{
        for (auto const &st : a.status) {
                auto const t = s.torrents.find(id_of(st.handle));
                if (!t || t->removed)
                        continue;
                bt_stats b{};
                b.download_rate = uint32_t(std::max(0, st.download_payload_rate));
                b.upload_rate = uint32_t(std::max(0, st.upload_payload_rate));
                b.peers = uint32_t(std::max(0, st.num_peers));
                b.seeds = uint32_t(std::max(0, st.num_seeds));
                b.known_peers = uint32_t(std::max(0, st.list_peers));
                b.downloaded = uint64_t(st.total_payload_download);
                b.uploaded = uint64_t(st.total_payload_upload);
                b.redundant = t->redundant;
                s.told[t->id] = b;
                t->web->stats.changed = true;
        }
        uint32_t down = 0, up = 0, web = 0;
        for (auto i = s.told.begin(); i != s.told.end();) {
                auto const t = s.torrents.find(i->first);
                if (!t) {
                        i = s.told.erase(i);
                        continue;
                }
                auto const b = with_web_seeds(i->second, t->web->stats);
                if (t->web->stats.changed.exchange(false) && !t->removed)
                        t->callbacks->stats(t->user, &b);
                down += b.download_rate;
                up += b.upload_rate;
                web += t->web->stats.connections;
                ++i;
        }
        std::lock_guard<std::mutex> const l(s.stats_lock);
        s.stats.download_rate = down;
        s.stats.upload_rate = up;
        s.web_connections = web;
        s.stats.heartbeat++;
}

// The tracker's own words where it has refused (BEP 3, BEP 15): libtorrent says no more of those
// than that there are some.
std::string reason_of(lt::tracker_error_alert const &a)
{
        std::string own = a.failure_reason();
        bool const refused = !a.error || a.error == lt::errors::tracker_failure;
        return refused && !own.empty() ? own : a.error.message();
}

void on_problem(bt_session &s, lt::torrent_alert const &a, std::string const &text)
{
        auto const t = s.torrents.find(id_of(a.handle));
        if (t && !t->removed)
                t->callbacks->problem(t->user, text.c_str());
}

// What libtorrent knows of a torrent that is to be saved.
void on_saved(bt_session &s, lt::save_resume_data_alert &a)
{
        auto const t = s.torrents.find(id_of(a.handle));
        if (!t)
                return;
        std::unique_ptr<bt_source> source;
        (void)guarded(nullptr, [&] {
                source = source_of(std::move(a.params), s.end_save(*t));
                return 0;
        });
        if (!t->removed)
                t->callbacks->saved(t->user, source.release());
}

void on_not_saved(bt_session &s, lt::save_resume_data_failed_alert const &a)
{
        auto const t = s.torrents.find(id_of(a.handle));
        if (!t)
                return;
        (void)s.end_save(*t);
        if (!t->removed)
                t->callbacks->saved(t->user, nullptr);
}

void on_alert(bt_session &s, lt::alert *a)
{
        if (auto const *u = lt::alert_cast<lt::state_update_alert>(a))
                on_state_update(s, *u);
        else if (auto const *st = lt::alert_cast<lt::session_stats_alert>(a)) {
                auto const c = st->counters();
                auto const at = [&](int i) {
                        return i < 0 ? 0u : uint32_t(std::max<std::int64_t>(0, c[i]));
                };
                std::lock_guard<std::mutex> const l(s.stats_lock);
                s.stats.peers = at(s.metric_peers) + s.web_connections;
                s.stats.dht_nodes = at(s.metric_dht_nodes);
        } else if (auto const *up = lt::alert_cast<lt::listen_succeeded_alert>(a)) {
                if (up->socket_type == lt::socket_type_t::tcp) {
                        std::lock_guard<std::mutex> const l(s.stats_lock);
                        if (s.stats.listen_port == 0)
                                s.stats.listen_port = uint16_t(up->port);
                }
                s.callbacks.log(BT_LOG_DEBUG, a->message().c_str());
        } else if (auto const *te = lt::alert_cast<lt::tracker_error_alert>(a))
                on_problem(s, *te,
                           std::string("tracker ") + te->tracker_url() + ": " + reason_of(*te));
        else if (auto const *mf = lt::alert_cast<lt::metadata_failed_alert>(a))
                on_metadata_failed(s, *mf);
        else if (auto *const sr = lt::alert_cast<lt::save_resume_data_alert>(a))
                on_saved(s, *sr);
        else if (auto const *ns = lt::alert_cast<lt::save_resume_data_failed_alert>(a))
                on_not_saved(s, *ns);
        else if (auto const *to = lt::alert_cast<lt::torrent_error_alert>(a))
                on_problem(s, *to, to->error.message());
        else if (auto const *lf = lt::alert_cast<lt::listen_failed_alert>(a))
                s.callbacks.log(BT_LOG_INFO, lf->message().c_str());
        else if (lt::alert_cast<lt::session_stats_header_alert>(a))
                ; // names of metrics, pages of them
        else if (lt::alert_cast<lt::alerts_dropped_alert>(a))
                s.callbacks.log(BT_LOG_INFO, a->message().c_str());
        else
                s.callbacks.log(BT_LOG_DEBUG, a->message().c_str());
}

} // namespace

extern "C" {

int bt_found_meta(struct bt_found *f, struct bt_meta **ret, struct bt_error *err)
{
        return guarded(err, [&] { return make_found(f->info, f->paths, ret, err); });
}

void bt_found_free(struct bt_found *f)
{
        bool const large = is_large(*f->info);
        delete f;
        if (large)
                give_back();
}

void bt_dispatch(struct bt_session *s)
{
        (void)guarded(nullptr, [&] {
                std::uint64_t n;
                (void)!::read(s->event_fd, &n, sizeof n);
                std::vector<torrent_event> events;
                {
                        std::lock_guard<std::mutex> const l(s->events_lock);
                        events.swap(s->events);
                }
                for (auto const &e : events)
                        (void)guarded(nullptr, [&] {
                                on_event(e);
                                return 0;
                        });
                s->session->pop_alerts(&s->alerts);
                for (auto *const a : s->alerts)
                        (void)guarded(nullptr, [&] {
                                on_alert(*s, a);
                                return 0;
                        });
                return 0;
        });
}

} // extern "C"
