// SPDX-License-Identifier: MIT
// swarm_calls.cpp: peers that went, or that are said to be at another port, are called.
//
// libtorrent calls a peer that went after min_reconnect_time, later with each failure, and after
// three never. A tracker that names it takes a failure off, and leaving the upload mode forgets
// when each was called last.
#include "swarm.hpp"

#include "session.hpp"
#include "torrent.hpp"

#include <libtorrent/peer_info.hpp>
#include <libtorrent/torrent_flags.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

using std::chrono::milliseconds;

namespace
{

// Peers that are gone are called again after so long, and each time so long after that.
constexpr auto call_after = milliseconds(500);
constexpr auto call_again_after = milliseconds(1000);
// A connection of theirs that takes longer is given up for a new one: a network that is back does
// not answer the first attempt's packets, which are sent again after 1, 3 and 7 s.
constexpr auto dial_time = milliseconds(2000);
// Where peers are dialled by other means, or one that is said to be elsewhere, the packets had this
// time.
constexpr auto dial_anew_time = milliseconds(1000);
// Who was banned is called so often: one that knows no encryption hangs up on the first call. The
// others stop when it is there.
constexpr unsigned pardon_calls = 3;

} // namespace

void swarm::came(conduct &c, lt::tcp::endpoint const &remote, bool outgoing)
{
        m_peers.emplace(&c, remote);
        m_in_use.insert(remote);
        if (!outgoing)
                return;
        m_calls.use(remote, m_in_use);
        m_calls.called(remote);
}

void swarm::left(conduct &c) noexcept
{
        auto const p = m_peers.find(&c);
        if (p == m_peers.end())
                return;
        is_out_of_use(p->second);
        m_peers.erase(p);
        m_hurried.erase(m_hurried.lower_bound({&c, std::numeric_limits<int>::min()}),
                        m_hurried.upper_bound({&c, std::numeric_limits<int>::max()}));
}

void swarm::is_out_of_use(lt::tcp::endpoint const &e) noexcept
{
        if (auto const one = m_in_use.find(e); one != m_in_use.end())
                m_in_use.erase(one);
}

bool swarm::is_called_at(conduct &c)
{
        return c.peer().is_outgoing() || c.listens;
}

// Once: who has said it may say anything later.
void swarm::listens(conduct &c, int port)
{
        auto const p = m_peers.find(&c);
        if (p == m_peers.end() || is_called_at(c))
                return;
        c.listens = true;
        auto at = p->second;
        at.port(std::uint16_t(port));
        m_in_use.insert(at);
        is_out_of_use(p->second);
        p->second = at;
        m_calls.use(at, m_in_use);
}

std::vector<std::pair<lt::address, int>> swarm::useful() const
{
        struct rank {
                std::int64_t given;
                std::pair<lt::address, int> at;
        };
        auto const good = m_calls.good();
        std::map<lt::address, int> ports;
        for (auto const &at : good)
                ports.emplace(at.address(), int(at.port()));
        std::vector<rank> there;
        for (auto const &p : m_peers) {
                lt::peer_info info;
                if (!p.first->shook_hands)
                        continue;
                p.first->peer().get_peer_info(info);
                auto const known = ports.find(p.second.address());
                int const port = is_called_at(*p.first) ? int(p.second.port())
                                 : known != ports.end() ? known->second
                                                        : 0;
                there.push_back({info.total_download, {p.second.address(), port}});
        }
        std::stable_sort(there.begin(), there.end(),
                         [](rank const &a, rank const &b) { return a.given > b.given; });
        std::vector<std::pair<lt::address, int>> r;
        r.reserve(there.size() + good.size());
        for (auto const &t : there)
                r.push_back(t.at);
        for (auto const &at : good)
                r.emplace_back(at.address(), int(at.port()));
        return r;
}

// A client that was started anew has another port, perhaps. To libtorrent that is the peer it has
// failed to reach, which it calls again after min_reconnect_time and more.
void swarm::told_of(lt::tcp::endpoint const &e)
{
        if (m_torrent->session->several_at_address)
                return;
        auto const there = std::find_if(m_peers.begin(), m_peers.end(), [&](auto const &p) {
                return p.first->shook_hands && p.second.address() == e.address();
        });
        bool const is_news = m_calls.hear(e, m_in_use);
        if (there == m_peers.end() || there->second == e)
                return;
        // Who is there is a fact, and what is told may be anybody's word: it can wait, and
        // libtorrent is to call where it was.
        if (is_news)
                m_calls.called(e);
        if (is_called_at(*there->first))
                m_handle.connect_peer(there->second, {}, {});
}

// Nobody is there, or nobody who has what a reader waits for: calls those who were, and those that
// are said to be elsewhere. Who is there keeps what it was asked for, and hears of no lost
// interest: libtorrent keeps its own time then.
void swarm::call_again()
{
        auto const now = steady::now();
        if (has_peers() && !nobody_has_awaited()) {
                m_alone_since = {};
                return;
        }
        if (m_alone_since == steady::time_point{})
                m_alone_since = now;
        if (now - m_called_at < call_again_after)
                return;
        bool const due = m_calls.has_good() && now - m_alone_since >= call_after;
        // Where somebody is there the network is not what keeps them.
        bool const alone = due && !has_peers();
        drop_slow_dials(alone ? dial_time : steady::duration::max(), dial_anew_time);
        bool const calls = call_known(due ? call_list::whom::due : call_list::whom::news);
        if (due || calls)
                m_called_at = now;
        if (calls && !is_interested())
                forget_calls();
}

void swarm::drop_slow_dials(steady::duration after, steady::duration after_news)
{
        auto const now = steady::now();
        std::vector<conduct *> slow;
        for (auto const &p : m_peers) {
                if (p.first->shook_hands)
                        continue;
                auto const age = now - p.first->since;
                bool const hinders = m_calls.has_news_of(p.second);
                if (age >= after ||
                    (hinders && age >= (m_calls.is_new(p.second) ? dial_time : after_news)))
                        slow.push_back(p.first);
        }
        for (auto *const c : slow)
                c->peer().disconnect(lt::errors::timed_out, lt::operation_t::connect);
}

bool swarm::is_interested() const
{
        return std::any_of(m_peers.begin(), m_peers.end(), [](auto const &p) {
                lt::peer_info info;
                if (p.first->shook_hands)
                        p.first->peer().get_peer_info(info);
                return bool(info.flags & lt::peer_info::interesting);
        });
}

// Where somebody owes something libtorrent keeps its own time: to make it forget when it called it
// has to take back what it asked for.
void swarm::dial_anew()
{
        drop_slow_dials(dial_anew_time, dial_anew_time);
        call_known(call_list::whom::all);
        if (std::none_of(m_peers.begin(), m_peers.end(),
                         [](auto const &p) { return p.first->owes(); }))
                forget_calls();
}

void swarm::call(lt::tcp::endpoint const &at)
{
        constexpr int max_failcount = 3; // libtorrent's default
        for (int i = 0; i < max_failcount; i++)
                m_handle.connect_peer(at, lt::peer_info::tracker, {});
}

bool swarm::call_known(call_list::whom w)
{
        auto const known = m_calls.next(w, m_in_use);
        for (auto const &at : known)
                call(at);
        return !known.empty();
}

void swarm::forget_calls()
{
        m_handle.set_flags(lt::torrent_flags::upload_mode);
        m_handle.unset_flags(lt::torrent_flags::upload_mode);
}

// Nobody is there who has what a reader waits for: who has lied once, or was taken for it, may be
// all there is.
void swarm::call_banned(lt::time_point now)
{
        if (m_torrent->blame.pardon(now, &m_pardoned))
                m_pardon_calls = pardon_calls;
        auto const called_at = steady::now();
        if (m_pardon_calls == 0 || called_at - m_pardon_called_at < call_again_after)
                return;
        m_pardon_called_at = called_at;
        m_pardon_calls--;
        call(m_pardoned);
        forget_calls();
}
