// SPDX-License-Identifier: MIT
// swarm_calls.cpp: peers that went, or that are said to be at another port, are called.
#include "swarm.hpp"

#include "session.hpp"
#include "torrent.hpp"

#include <libtorrent/torrent_flags.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

using std::chrono::milliseconds;

namespace
{

// Peers that are gone are called again after so long, and each time so long after that.
constexpr auto call_after = milliseconds(500);
constexpr auto call_again_after = milliseconds(1000);
// A connection of theirs that takes longer is given up for a new one: a network that is back does
// not answer the first attempt's packets, which are sent again after 1, 3 and 7 s.
constexpr auto dial_time = milliseconds(2000);
// Where peers are dialled by other means the packets had this time.
constexpr auto dial_anew_time = milliseconds(1000);
// Who was banned is called so often: one that knows no encryption hangs up on the first call. The
// others stop when it is there.
constexpr unsigned pardon_calls = 3;

} // namespace

void swarm::listens(conduct &c, int port)
{
        auto const p = m_peers.find(&c);
        if (p == m_peers.end() || c.peer().is_outgoing())
                return;
        p->second.port(std::uint16_t(port));
        m_calls.add(p->second, lt::clock_type::now(), in_use());
}

// A client that was started anew has another port, perhaps. To libtorrent that is the peer it has
// failed to reach, which it calls again after min_reconnect_time and more.
void swarm::told_of(lt::tcp::endpoint const &e)
{
        if (m_torrent->session->several_at_address || !m_calls.has_address(e) || m_calls.has(e))
                return;
        auto const is_there = [&](auto const &p) {
                return p.first->shook_hands && p.second.address() == e.address();
        };
        // Who is there is a fact, and what is told may be anybody's word.
        bool const there = std::any_of(m_peers.begin(), m_peers.end(), is_there);
        m_calls.add(e, there ? lt::clock_type::now() : lt::time_point{}, in_use());
        if (!there && m_moved.size() < calls_max)
                m_moved.push_back(e);
}

// Nobody is there: calls those who were. libtorrent calls a peer that went after
// min_reconnect_time, later with each failure, and after three never. A tracker that names it takes
// a failure off, and leaving the upload mode forgets when each was called last.
void swarm::call_again(lt::time_point now)
{
        for (auto const &p : m_peers)
                if (p.first->shook_hands) {
                        m_alone_since = {};
                        return;
                }
        if (m_alone_since == lt::time_point{})
                m_alone_since = now;
        if (now - m_alone_since < call_after || now - m_called_at < call_again_after ||
            !m_calls.has_good())
                return;
        m_called_at = now;
        drop_slow_dials(dial_time, now);
        call_known(now);
        forget_calls();
}

void swarm::drop_slow_dials(lt::time_duration after, lt::time_point now)
{
        std::vector<conduct *> slow;
        for (auto const &p : m_peers)
                if (!p.first->shook_hands && now - p.first->since >= after)
                        slow.push_back(p.first);
        for (auto *const c : slow)
                c->peer().disconnect(lt::errors::timed_out, lt::operation_t::connect);
}

// Where somebody owes something libtorrent keeps its own time: to make it
// forget when it called it has to take back what it asked for.
void swarm::dial_anew(lt::time_point now)
{
        drop_slow_dials(dial_anew_time, now);
        call_known(now);
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

void swarm::call_known(lt::time_point now)
{
        for (auto const &at : m_calls.next(now, in_use()))
                call(at);
}

// Nobody is there, and some are said to be at other ports: calls them, not where they were.
void swarm::call_moved(lt::time_point now)
{
        if (m_moved.empty() || now - m_called_at < call_again_after)
                return;
        auto const moved = std::exchange(m_moved, {});
        if (has_peers())
                return;
        m_called_at = now;
        std::vector<conduct *> dials;
        for (auto const &p : m_peers)
                if (std::any_of(moved.begin(), moved.end(), [&](lt::tcp::endpoint const &e) {
                            return e.address() == p.second.address() && e != p.second;
                    }))
                        dials.push_back(p.first);
        for (auto *const c : dials)
                c->peer().disconnect(lt::errors::timed_out, lt::operation_t::connect);
        call_known(now);
        forget_calls();
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
        if (m_pardon_calls == 0 || now - m_called_at < call_again_after)
                return;
        m_called_at = now;
        m_pardon_calls--;
        call(m_pardoned);
        forget_calls();
}
