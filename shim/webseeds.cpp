// SPDX-License-Identifier: MIT
// webseeds.cpp: web seeds (BEP 19).
//
// libtorrent 2.0.8 could do the HTTP, and its own code of that dies of a head without end, spins on
// a chunk of negative length and on bytes that nobody asked for, and asks a server that gives
// nothing ten thousand times a second. So it is told of no URL. libcurl does the HTTP in a thread
// of its own (webseed_fetch.cpp, webseed_transfer.cpp), and libtorrent is given whole pieces.
//
// What is decided, and where. All decisions are made here, on the network thread, which knows what
// is wanted (anchor.cpp), which pieces peers have begun and how libtorrent judged a piece. The
// fetching thread carries out orders: pieces in a row from one web seed, some file's ranges. What
// it is told later is no more than an earlier end. It posts each piece that is whole, and how the
// order ended. The pieces' memory goes along; no lock is held while anybody else's code runs.
//
// Which pieces. By priority, so those first that a reader waits for, and of one priority from the
// first on. One order at a time for each web seed: as many pieces that are wanted in a row as it
// gives in a second, so that a seek waits for no more and a round trip costs little. Pieces that
// nobody wants any more are cut off, with the connection if they are many. A web seed that has
// nothing to do takes the second half of what another one is slow with.
//
// Beside peers. A piece that a web seed is asked for is not wanted as far as libtorrent knows, so
// no peer is asked for it (anchor::hold_back); of those that peers have begun none is taken. So
// nothing comes twice, with one exception: where a reader waits and whoever has the piece is late,
// it is given free to all, and the first one to have it wins. That is one piece for each reader at
// a time. What a reader waits for is left to peers at first if any has given something before.
//
// Blame. A piece of v1 or of both kinds is hashed as it comes and given on only if it is right, so
// one wrong byte never spoils what peers gave, and it is known who sent it. Where a piece was put
// together from several web seeds it is asked for anew, of one. A piece of v2 alone is judged by
// libtorrent.
//
// Whole pieces are in memory while they come: 128 MiB at most in a session, and a single one always
// has room.
#include "webseeds.hpp"

#include "error.hpp"
#include "session.hpp"
#include "torrent.hpp"
#include "webseed_fetch.hpp"
#include "webseed_url.hpp"

#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <utility>

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace
{

constexpr auto tick_time = milliseconds(125);
constexpr auto idle_tick_time = milliseconds(1000);
// Nobody has wanted anything for so long: a player that pauses finds the connections still open.
constexpr auto rest_after = seconds(20);
// libtorrent drops a piece without a word in some states. It is asked for again then.
constexpr auto trial_time = seconds(30);
// Beginnings of pieces that are kept.
constexpr std::size_t partials_max = 8;
// An answer that ended early has been of use if it had so much.
constexpr std::uint64_t useful_bytes = 16 * 1024;
// Wrong pieces that a web seed of many files may give beyond the right ones.
constexpr unsigned wrong_max = 8;

} // namespace

web_seeds::web_seeds(std::vector<std::string> const &urls, bool loopback) : m_loopback(loopback)
{
        add(urls);
}

web_fetcher &web_seeds::fetcher() const
{
        return *m_torrent->session->web;
}

int web_seeds::piece_size(int piece) const
{
        return m_site->info->piece_size(lt::piece_index_t(piece));
}

void web_seeds::begin(bt_torrent &t, lt::torrent_handle const &h)
{
        m_torrent = &t;
        m_handle = h;
        m_site = std::make_shared<web_site>();
        m_site->id = t.id;
        m_site->info = h.torrent_file();
        m_site->loopback = m_loopback;
        if (!m_seeds.empty())
                build();
        m_timer.begin(*network_of(t)); // from here on the rest is looked at
}

void web_seeds::files_checked()
{
        m_ready = true;
        wake();
}

void web_seeds::end() noexcept
{
        if (m_timer)
                shielded([&] { fetcher().close(m_site->id); });
        m_timer.end();
}

void web_seeds::add(std::vector<std::string> const &urls)
{
        if (m_timer && m_seeds.empty() && !urls.empty())
                build();
        for (auto const &u : urls) {
                if (m_seeds.size() == web_seeds_max)
                        break;
                if (std::any_of(m_seeds.begin(), m_seeds.end(),
                                [&](seed const &s) { return s.url == u; }))
                        continue;
                seed s;
                s.url = u;
                s.host = host_of_url(u);
                m_seeds.push_back(std::move(s));
        }
        if (m_timer)
                wake();
}

std::vector<std::string> web_seeds::urls() const
{
        std::vector<std::string> r;
        for (auto const &s : m_seeds)
                r.push_back(s.url);
        return r;
}

// ---- what is wanted ----

void web_seeds::build()
{
        for (auto &set : m_open)
                set = piece_set::none(m_site->info->num_pieces());
        for (auto const &w : m_torrent->anchor.wanted())
                update(w.first);
}

// Puts the piece where it belongs.
void web_seeds::update(int piece)
{
        int const priority = m_torrent->anchor.priority_of(piece);
        for (auto &set : m_open)
                set.erase(piece);
        if (priority == BT_PRIORITY_TOP)
                m_awaited.emplace(piece, clock::now());
        else
                m_awaited.erase(piece);
        auto const c = m_claims.find(piece);
        if (priority > 0 && m_trials.count(piece) == 0 && !m_torrent->anchor.is_let_go(piece) &&
            (c == m_claims.end() || c->second.freed))
                m_open[std::size_t(priority)].insert(piece);
}

void web_seeds::want(std::vector<bt_want> const &list)
{
        if (!m_timer || m_seeds.empty())
                return;
        for (auto const &w : list)
                update(int(w.piece));
        reconsider();
        wake();
}

void web_seeds::passed(int piece)
{
        if (!m_timer || m_seeds.empty())
                return;
        auto const t = m_trials.find(piece);
        if (t != m_trials.end()) {
                auto &s = m_seeds[t->second.from];
                if (!t->second.verified)
                        s.right++;
                s.backoff.gave();
                m_trials.erase(t);
        }
        m_partials.erase(piece);
        update(piece);
        reconsider();
        assign();
}

void web_seeds::restored(int piece, bool unwritten)
{
        if (!m_timer || m_seeds.empty())
                return;
        auto const t = m_trials.find(piece);
        if (t != m_trials.end()) {
                auto const was = t->second;
                m_trials.erase(t);
                if (was.alone && !was.verified && !unwritten)
                        gave_wrong(m_seeds[was.from], piece);
                if (m_claims.count(piece) == 0)
                        m_torrent->anchor.give_free({piece});
        }
        update(piece);
        assign();
}

// ---- awake and at rest ----

void web_seeds::wake()
{
        if (!m_ready || !m_timer || m_seeds.empty() || !m_torrent->anchor.wants_pieces())
                return;
        m_wanted_at = clock::now();
        if (!m_awake) {
                m_counted_at = m_wanted_at;
                arm(tick_time);
                m_awake = true;
        }
        assign();
}

void web_seeds::arm(milliseconds in)
{
        m_timer.start(in, m_torrent->weak_from_this(), [](bt_torrent &t) { t.web->tick(); });
}

void web_seeds::tick()
{
        if (!m_timer || m_torrent->removed) // the handler was on its way already
                return;
        auto const now = clock::now();
        bool const wanted = m_torrent->anchor.wants_pieces();
        if (wanted)
                m_wanted_at = now;
        count(now);
        if (now - m_wanted_at >= rest_after) {
                rest();
                return;
        }
        // While there is no memory nothing is done, but the next tick comes. If even that fails
        // whoever wants something next wakes it.
        m_awake = false;
        shielded([&] { look(now); });
        arm(wanted ? tick_time : idle_tick_time);
        m_awake = true;
}

void web_seeds::look(clock::time_point now)
{
        std::vector<int> lost;
        for (auto const &t : m_trials)
                if (now - t.second.since > trial_time)
                        lost.push_back(t.first);
        // libtorrent has judged none of these: it waits for their hashes, or has thrown them away.
        for (int const p : lost) {
                m_torrent->blame.restored(p);
                restored(p, true);
        }
        watch(now);
        assign();
}

// Servers hang up on connections without requests.
void web_seeds::rest()
{
        m_awake = false;
        fetcher().close(m_site->id);
        m_partials.clear();
        for (auto &s : m_seeds)
                s.missing.clear();
        stats.connections = stats.rate = 0;
        stats.changed = true;
}

void web_seeds::count(clock::time_point now)
{
        for (auto &s : m_seeds) {
                if (!s.order)
                        continue;
                std::uint64_t const received = s.order->received;
                if (received == s.seen)
                        continue;
                stats.bytes += received - s.seen;
                s.seen = received;
                s.moved_at = now;
        }
        auto const connections = std::uint32_t(std::max(0, m_site->connections.load()));
        stats.changed = stats.changed || connections != stats.connections;
        stats.connections = connections;
        auto const took = std::chrono::duration<double>(now - m_counted_at).count();
        if (took < 1)
                return;
        stats.rate = std::uint32_t(double(stats.bytes - m_counted_bytes) / took);
        stats.changed = stats.changed || stats.bytes != m_counted_bytes || stats.rate > 0;
        m_counted_bytes = stats.bytes;
        m_counted_at = now;
}

// ---- what web seeds give ----

void web_seeds::piece_came(std::size_t k, web_piece &&p)
{
        auto &s = m_seeds[k];
        bool const verified = m_site->info->v1();
        if (verified) {
                s.right++;
                s.backoff.gave();
        }
        if (m_handle.have_piece(lt::piece_index_t(p.index)) || m_trials.count(p.index) > 0)
                return;
        m_trials[p.index] = {clock::now(), k, verified,
                             !p.mixed && !m_torrent->blame.knows_givers(p.index)};
        update(p.index);
        m_torrent->blame.given_otherwise(p.index);
        m_handle.add_piece(lt::piece_index_t(p.index), p.data.get());
}

// No order has these any more.
void web_seeds::close_claims(std::vector<int> const &pieces)
{
        std::vector<int> free;
        for (int const p : pieces) {
                auto const c = m_claims.find(p);
                if (c == m_claims.end() || --c->second.orders > 0)
                        continue;
                m_claims.erase(c);
                // What libtorrent has all of is given free when it is missing again.
                if (m_trials.count(p) == 0)
                        free.push_back(p);
        }
        m_torrent->anchor.give_free(free);
        for (int const p : free)
                update(p);
}

void web_seeds::order_ended(std::size_t k, std::shared_ptr<web_order> const &order, web_result &&r,
                            std::vector<web_piece> &&left)
{
        auto &s = m_seeds[k];
        if (s.order != order)
                return;
        auto const now = clock::now();
        count(now);
        auto const took = std::chrono::duration<double>(now - order->since).count();
        if (r.bytes >= useful_bytes && took > 0)
                s.rate = double(r.bytes) / took;
        std::vector<int> pieces;
        for (std::size_t i = 0; i < order->where().second; i++)
                pieces.push_back(s.first + int(i));
        s.order.reset();
        for (auto &p : left)
                if (m_torrent->anchor.wants(p.index) && m_trials.count(p.index) == 0 &&
                    m_partials.size() < partials_max) {
                        int const index = p.index;
                        m_partials.emplace(index, partial{std::move(p), k});
                }
        if (std::exchange(s.stalled, false) && r.what == web_result::kind::cut) {
                r.what = web_result::kind::broken;
                r.text = "timed out";
                s.patience *= 2;
        } else if (r.what == web_result::kind::done) {
                s.patience = milliseconds(1000);
        }
        judge(k, r);
        close_claims(pieces);
        assign();
}

void web_seeds::judge(std::size_t k, web_result const &r)
{
        using kind = web_result::kind;
        auto &s = m_seeds[k];
        auto const now = clock::now();
        switch (r.what) {
        case kind::done:
        case kind::cut:
                break;
        case kind::local:
                s.backoff.later(now);
                break;
        case kind::broken:
                if (r.bytes >= useful_bytes)
                        s.backoff.cut(now);
                else
                        s.backoff.failed(now);
                break;
        case kind::busy:
                if (r.retry_after >= 0)
                        s.backoff.failed(now, seconds(r.retry_after));
                else
                        s.backoff.failed(now);
                break;
        case kind::missing:
                s.missing.insert(r.file);
                if (s.right == 0)
                        s.backoff.failed(now);
                break;
        case kind::useless:
        case kind::forbidden:
                drop(s);
                break;
        case kind::wrong:
                if (!r.mixed)
                        gave_wrong(s, r.piece);
                return;
        }
        if (!r.text.empty() && !m_torrent->removed)
                tell_problem(*m_torrent, "web seed " + s.host + ": " + r.text);
}

// In a torrent of one file it has another file. Of many files it has another edition of this one.
void web_seeds::gave_wrong(seed &s, int piece)
{
        auto const &files = m_site->info->files();
        auto const [first, last] = files_of(piece);
        s.wrong++;
        s.bad.insert(piece);
        int shown = 0;
        for (auto const i : files.file_range())
                if (!files.pad_file_at(i) && ++shown > 1)
                        break;
        if (shown == 1 || s.wrong > s.right + wrong_max)
                drop(s);
        else if (first == last)
                s.missing.insert(first);
        if (s.right == 0)
                s.backoff.failed(clock::now());
        tell_problem(*m_torrent, "web seed " + s.host + ": sent wrong bytes");
}

void web_seeds::drop(seed &s)
{
        s.dropped = true;
        s.missing.clear();
        s.bad.clear();
}
