// SPDX-License-Identifier: MIT
// swarm_stalls.cpp: peers that stop.
//
// libtorrent gives a peer several seconds before it asks another for the same block, and looks at
// that once a second (one of two seeds frozen: a gap of 2.5 s, now and then of 9). A reader who
// waits is worth more than that.
#include "swarm.hpp"

#include "error.hpp"
#include "inner.hpp"
#include "torrent.hpp"

#include <libtorrent/peer_info.hpp>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

using std::chrono::milliseconds;

namespace
{

// Where no reader waits for the piece yet a peer has longer: a reader may come to need it, but its
// connection is worth something.
constexpr auto stall_time_unawaited = milliseconds(2000);
// It is hung up on only if another peer gave so many blocks in the last ticks, or is there to be
// asked. Without such a one it is all there is.
constexpr unsigned lively_blocks = 4;
// All may be silent for silence_time (swarm.hpp), and in the end for so long.
constexpr auto silence_time_max = milliseconds(60000);
// After so long without a sign of any peer each of them is looked at closely: whether a block is
// under way.
constexpr auto quiet_time = milliseconds(1000);
// After so long without a sign it is looked at whether libtorrent asks for nothing although a
// reader waits (end_deadlock). So long again passes until the next look.
constexpr auto idle_time = milliseconds(500);
// How often it is looked whether one falters that a reader waits for.
constexpr auto hurry_time = milliseconds(30);

} // namespace

// What a stalled peer was asked for becomes free when its connection is closed, and only then.
void swarm::drop_stalled(lt::time_point now)
{
        std::vector<conduct *> quiet;
        for (auto const &p : m_peers)
                if (p.first->is_quiet(now))
                        quiet.push_back(p.first);
        if (quiet.empty())
                return;
        auto const wanted = m_torrent->anchor.wanted(); // which asking again may change
        for (auto const &w : wanted) {
                bool const awaited = w.second == lt::top_priority;
                std::vector<conduct *> stalled;
                // Somebody gives something, and somebody can give this piece.
                bool gives = false, idle = false, can = false;
                for (auto *const c : quiet)
                        if (c->stalls(w.first, awaited ? conduct::stall_time : stall_time_unawaited,
                                      now))
                                stalled.push_back(c);
                if (stalled.empty())
                        continue;
                for (auto const &p : m_peers) {
                        auto *const c = p.first;
                        if (std::find(stalled.begin(), stalled.end(), c) != stalled.end())
                                continue;
                        gives = gives || c->recent() >= lively_blocks;
                        idle = idle || c->is_idle(w.first);
                        can = can ||
                              (c->has_given() && !c->refuses() && !c->peer().has_peer_choked() &&
                               c->peer().has_piece(lt::piece_index_t(w.first)));
                }
                if (!idle && !(gives && can))
                        continue;
                for (auto *const c : stalled) {
                        c->peer().disconnect(lt::errors::timed_out, lt::operation_t::bittorrent);
                        quiet.erase(std::find(quiet.begin(), quiet.end(), c));
                }
                if (awaited)
                        m_torrent->anchor.ask_again(w.first);
        }
}

// One that gave something all the time and has stopped may never go on, but it is long until that
// is known. What it owes of a piece that a reader waits for is asked of the quickest other one
// meanwhile, which is asked anew for what comes behind the next piece: once for each of its pieces.
void swarm::hurry(lt::time_point now)
{
        bool is_new = false;
        std::vector<conduct *> stopped;

        m_hurried_at = now;
        find_stopped(now);
        for (auto const &p : m_peers)
                if (p.first->has_stopped)
                        stopped.push_back(p.first);
        if (stopped.empty() || !m_torrent->parts.spares || !m_torrent->parts.watch)
                return;
        for (int const piece : m_torrent->anchor.awaited()) {
                bool const waits = std::any_of(stopped.begin(), stopped.end(), [&](conduct *c) {
                        return c->is_asked(piece) && m_hurried.count({c, piece}) == 0;
                });
                auto *const best = waits ? quickest_for(piece, now) : nullptr;
                if (!best)
                        continue;
                for (auto *const c : stopped)
                        if (c->is_asked(piece))
                                m_hurried.emplace(c, piece);
                is_new = true;
                m_torrent->anchor.becomes_urgent(piece);
                // libtorrent answers for one without BEP 6, and asks it for the same again at once.
                if (m_torrent->anchor.takes_back() && best->answers_cancels)
                        best->take_back(
                                [&](int p) {
                                        return !m_torrent->anchor.comes_first(p) && p != piece + 1;
                                },
                                now, now);
        }
        if (!is_new)
                return;
        will_ask();
        m_spares.look_at_sought(m_peers, now);
}

// Where several gave something all the time and none of them does, it is none of them that has
// stopped.
void swarm::find_stopped(lt::time_point now)
{
        auto const givers = std::count_if(m_peers.begin(), m_peers.end(),
                                          [](auto const &p) { return p.first->is_steady(); });
        bool const flows = givers < 2 || now - m_gave_at <= flow_time;

        for (auto const &p : m_peers)
                p.first->look_whether_stopped(flows ? m_flows_since : now, now);
        for (auto h = m_hurried.begin(); h != m_hurried.end();)
                h = h->first->has_stopped ? std::next(h) : m_hurried.erase(h);
}

conduct *swarm::quickest_for(int piece, lt::time_point now) const
{
        conduct *best = nullptr;

        for (auto const &p : m_peers) {
                auto *const c = p.first;
                if (!c->has_stopped && c->would_take(piece, now) > 0 &&
                    (!best || c->pipe.rate(now) > best->pipe.rate(now)))
                        best = c;
        }
        return best;
}

// When libtorrent has taken what came, and has asked for more.
void swarm::hurry_later()
{
        if (lt::clock_type::now() - m_hurried_at >= hurry_time)
                later(&swarm::m_hurries,
                      [](bt_torrent &t) { t.peers->hurry(lt::clock_type::now()); });
}

// Nobody answers any more: hangs up on those that can be called, for they are called again then.
void swarm::drop_silent(lt::time_point now)
{
        if (m_torrent->anchor.awaited().empty())
                m_last_sign = now;
        if (now - m_last_sign < quiet_time)
                return;
        std::vector<conduct *> silent;
        for (auto const &p : m_peers) {
                if (p.first->moved(now))
                        m_last_sign = now;
                if (p.first->owes() && p.first->peer().is_outgoing() && m_calls.is_good(p.second))
                        silent.push_back(p.first);
        }
        if (now - m_last_sign < m_patience || silent.empty())
                return;
        for (auto *const c : silent)
                c->peer().disconnect(lt::errors::timed_out, lt::operation_t::bittorrent);
        m_last_sign = now;
        m_patience = std::min<lt::time_duration>(2 * m_patience, silence_time_max);
}

// Peers that gave something of a wrong piece are on parole: libtorrent asks each of them only for
// pieces that nobody else has given anything of, so that the next wrong one shows who it is. A
// block that was under way when the piece failed counts as the first of the next attempt. When two
// of them gave one so, or one that has left since, and there are no other peers, the piece is never
// asked for again. It has to fail once more, filled up with zeros. Not so if all is from one that
// is there: it may be asked as soon as it does not choke us.
void swarm::end_deadlock(lt::time_point now)
{
        auto const awaited = m_torrent->anchor.awaited();
        if (awaited.empty() || now - std::max(m_last_sign, m_deadlock_at) < idle_time)
                return;
        m_deadlock_at = now;
        std::vector<lt::tcp::endpoint> there;
        for (auto const &p : m_peers) {
                lt::peer_info info;
                p.first->peer().get_peer_info(info);
                if (info.flags & (lt::peer_info::connecting | lt::peer_info::handshake))
                        continue;
                if (p.first->owes() || !(info.flags & lt::peer_info::on_parole))
                        return;
                there.push_back(info.ip);
        }
        if (there.empty())
                return;
        auto const may_be_asked = [&](lt::partial_piece_info const &p) {
                lt::tcp::endpoint giver;
                for (int i = 0; i < p.blocks_in_piece; i++) {
                        auto const &b = p.blocks[i];
                        if (b.state == lt::block_info::none)
                                continue;
                        if (giver != lt::tcp::endpoint() && giver != b.peer())
                                return false;
                        giver = b.peer();
                }
                return std::find(there.begin(), there.end(), giver) != there.end();
        };
        for (auto const &p : m_handle.get_download_queue()) {
                int const piece(p.piece_index);
                if (p.finished > 0 && p.finished < p.blocks_in_piece && p.requested == 0 &&
                    p.writing == 0 && !may_be_asked(p) &&
                    std::find(awaited.begin(), awaited.end(), piece) != awaited.end()) {
                        m_torrent->blame.given_otherwise(piece);
                        m_torrent->anchor.fill_up(piece);
                }
        }
}
