// SPDX-License-Identifier: MIT
// swarm.cpp: all peers of a torrent, and when each of its parts looks at them.
#include "swarm.hpp"

#include "error.hpp"
#include "inner.hpp"
#include "session.hpp"
#include "torrent.hpp"
#include "unhave.hpp"

#include <boost/asio/post.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <utility>

using std::chrono::milliseconds;

namespace
{

// A peer that sends other pieces for so long first hinders one that somebody waits for.
constexpr double busy_s = 0.2;
// How often the swarm is looked at while pieces are wanted and there are no peers.
constexpr auto lonely_tick_time = milliseconds(250);
// One that answers no CANCEL is called anew when it owes nothing and libtorrent takes it to owe so
// many blocks, of 500 at most.
constexpr std::size_t unanswered_max = 250;
// Bytes that wait until a peer reads: twice what libtorrent reads of content ahead of that.
constexpr int unread_max = 1 << 20;
// So many peers that answer no CANCEL are remembered.
constexpr std::size_t mute_max = 50;

} // namespace

void swarm::begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io,
                  std::vector<lt::tcp::endpoint> const &named)
{
        m_torrent = &t;
        m_handle = h;
        m_calls.begin(t.session->several_at_address);
        for (auto const &e : named)
                m_calls.name(e, m_in_use);
        m_spares.begin(t, h);
        m_queues.begin(t, h);
        m_timer.begin(*io);
        m_io = io;
}

// Before its extended handshake a peer cannot be told, and our bitfield may be on the way: an offer
// that was never taken back had a libtorrent ask for what is not there half a million times in
// seconds, and for nothing else.
void swarm::lost(int piece)
{
        for (auto const &p : m_peers) {
                auto &c = *p.first;
                if (!c.shook_hands)
                        continue;
                if (!c.was_introduced) {
                        if (c.extends)
                                c.untold.insert(piece);
                } else if (c.shows_pieces() || !c.peer().has_piece(lt::piece_index_t(piece))) {
                        say_dont_have(c.peer(), piece);
                }
        }
}

void swarm::introduced(conduct &c)
{
        c.was_introduced = true;
        if (!c.untold.empty())
                tell_later(); // libtorrent reads how to when this was called
}

// It was not told of what came or went while it had the piece itself. Once: who is told the same by
// another magnetfs knows it already.
void swarm::lacks(conduct &c, int piece)
{
        if (!c.peer().has_piece(lt::piece_index_t(piece)))
                return;
        c.untold.insert(piece);
        if (c.was_introduced)
                tell_later();
}

void swarm::tell_later()
{
        later(&swarm::m_tells, [](bt_torrent &t) { t.peers->tell(); });
}

// One that says again and again what it has lost and reads no answer takes no memory without end.
static bool is_behind(conduct &c)
{
        lt::peer_info info;
        c.peer().get_peer_info(info);
        return info.used_send_buffer > unread_max;
}

void swarm::tell()
{
        for (auto const &p : m_peers) {
                auto &c = *p.first;
                if (!c.was_introduced || c.untold.empty() || is_behind(c))
                        continue; // it is told with the next, if it reads again
                for (int const piece : std::exchange(c.untold, {})) {
                        if (c.peer().has_piece(lt::piece_index_t(piece)) && !c.shows_pieces())
                                continue;
                        if (m_handle.have_piece(lt::piece_index_t(piece)))
                                say_have(c.peer(), piece);
                        else
                                say_dont_have(c.peer(), piece);
                }
        }
}

void swarm::shook_hands(conduct &c)
{
        c.shook_hands = true;
        c.has_front = true; // as most have; what it has it tells next, and is asked at once then
        if (m_torrent->parts.queues)
                m_queues.look_at(c, lt::clock_type::now());
}

void swarm::gave(conduct &c)
{
        auto const p = m_peers.find(&c);
        auto const now = lt::clock_type::now();
        if (now - m_gave_at > flow_time)
                m_flows_since = now;
        m_gave_at = m_last_sign = now;
        m_patience = silence_time;
        if (p == m_peers.end())
                return;
        if (m_torrent->parts.queues)
                shielded([&] {
                        c.pipe.received(now, content_of(c.peer()), c.owed() + 1);
                        m_queues.look_at(c, now);
                        if (c.asks == 0 && !m_ends_look) {
                                end_look_later();
                                m_ends_look = true;
                        }
                });
        // The port from which it has called us is nothing to call.
        if (is_called_at(c))
                m_calls.gave(p->second, m_in_use);
        if (m_torrent->parts.spares && c.owed() == 0)
                shielded([&] { look_at_idle(); });
        if (m_torrent->anchor.awaits())
                shielded([&] { hurry_later(); });
}

void swarm::asked(int piece)
{
        m_queues.asked(piece);
        if (m_torrent->anchor.asked(piece))
                shielded([&] {
                        later(&swarm::m_looks_at_ranks,
                              [](bt_torrent &t) { t.anchor.look_at_ranks(); });
                });
}

bool swarm::may_give(int piece) const
{
        return std::any_of(m_peers.begin(), m_peers.end(), [&](auto const &p) {
                return p.first->shook_hands && !p.first->peer().has_peer_choked() &&
                       p.first->peer().has_piece(lt::piece_index_t(piece));
        });
}

void swarm::refused(conduct &c)
{
        if (m_torrent->parts.queues)
                m_queues.look_at(c, lt::clock_type::now());
}

// When libtorrent has done what it is at.
void swarm::later(bool swarm::*is_due, void (*what)(bt_torrent &t))
{
        if (this->*is_due)
                return;
        boost::asio::post(*m_io, [owner = m_torrent->weak_from_this(), is_due, what] {
                shielded([&] {
                        auto const t = owner.lock();
                        if (!t)
                                return;
                        (*t->peers).*is_due = false;
                        what(*t);
                });
        });
        this->*is_due = true;
}

void swarm::look_at_idle()
{
        later(&swarm::m_looks_at_idle, [](bt_torrent &t) {
                t.peers->m_spares.look_at_sought(t.peers->m_peers, lt::clock_type::now());
        });
}

void swarm::will_ask()
{
        if (m_torrent->parts.queues)
                m_queues.look(m_peers, lt::clock_type::now());
}

// libtorrent asks a peer for more in a handler of its own, or when this one ends.
void swarm::end_look_later()
{
        if (!m_torrent->parts.queues)
                return;
        boost::asio::post(*m_io, [owner = m_torrent->weak_from_this()] {
                shielded([&] {
                        if (auto const t = owner.lock()) {
                                t->peers->m_ends_look = false;
                                t->peers->m_queues.end_look(t->peers->m_peers);
                        }
                });
        });
}

bool swarm::shares() const
{
        return m_torrent->parts.queues && m_queues.shares();
}

void swarm::ask_one(conduct &c, lt::time_point now)
{
        for (int const piece : m_torrent->anchor.awaited())
                if (m_torrent->parts.spares && m_spares.ask_one(c, piece, now))
                        return;
}

// BEP 20: the client and its version.
static std::pair<lt::address, std::string> who(lt::tcp::endpoint const &at, lt::peer_id const &id)
{
        constexpr std::size_t client = 8;
        return {at.address(), std::string(id.data(), client)};
}

void swarm::is_mute(lt::tcp::endpoint const &at, lt::peer_id const &id)
{
        if (was_mute(at, id))
                return;
        if (m_mute.size() == mute_max)
                m_mute.pop_front();
        m_mute.push_back(who(at, id));
}

bool swarm::was_mute(lt::tcp::endpoint const &at, lt::peer_id const &id) const
{
        return std::find(m_mute.begin(), m_mute.end(), who(at, id)) != m_mute.end();
}

bool swarm::has_peers() const
{
        return std::any_of(m_peers.begin(), m_peers.end(),
                           [](auto const &p) { return p.first->shook_hands; });
}

bool swarm::has_givers() const
{
        return std::any_of(m_peers.begin(), m_peers.end(), [](auto const &p) {
                return p.first->shook_hands && p.first->has_given();
        });
}

// What is taken back stays asked for until the peer has answered that: it refuses it, and others
// are asked for it then, or sends it all the same, and it is as good as it was. libtorrent's own
// way, a deadline, has all that was taken back of all peers asked of others at once: with pieces of
// 1 MiB and a reader that takes what it gets a fifth of the bytes came twice.
void swarm::make_way(int piece, bool coming)
{
        auto const now = lt::clock_type::now();
        auto const &anchor = m_torrent->anchor;
        for (auto *const c : asked_peers()) {
                if (c->has_stopped)
                        continue; // it answers nothing
                // libtorrent answers for one without BEP 6, which may send what is taken back: so
                // not what comes next in any case, after a moment in which it was silent. That
                // would be asked for behind what comes later, and taken back for, again and again.
                auto const is_other = [&](int p) {
                        return !anchor.comes_first(p) &&
                               (c->answers_cancels || !anchor.is_close_behind(p, piece));
                };
                bool const takes_part = !m_torrent->parts.queues || c->asks > 0;
                if (c->busy_before(piece, is_other) > busy_s)
                        c->take_back(is_other, c->asked_last(piece), now);
                else if (!coming && takes_part && !c->is_asked(piece) &&
                         c->peer().has_piece(lt::piece_index_t(piece)))
                        c->take_back(is_other, now, now);
        }
}

void swarm::take_back_unwanted()
{
        auto const now = lt::clock_type::now();
        auto const is_unwanted = [&](int p) { return !m_torrent->anchor.may_be_asked_for(p); };
        for (auto *const c : asked_peers())
                c->take_back(is_unwanted, now, now);
}

// A list of its own, as libtorrent may do anything with a peer while it is told something.
std::vector<conduct *> swarm::asked_peers() const
{
        std::vector<conduct *> r;
        for (auto const &p : m_peers)
                if (p.first->owes())
                        r.push_back(p.first);
        return r;
}

void swarm::wake()
{
        if (m_awake || !m_timer)
                return;
        m_alone_since = {};
        m_last_sign = lt::clock_type::now();
        m_patience = silence_time;
        arm(conduct::tick_time);
        m_awake = true;
}

void swarm::arm(lt::time_duration in)
{
        m_timer.start(in, m_torrent->weak_from_this(), [](bt_torrent &t) { t.peers->tick(); });
}

// While there is no memory nothing is done, but the next tick comes. If even that fails whoever
// wants something next wakes it.
void swarm::tick()
{
        m_awake = false;
        if (!m_torrent->anchor.wants_pieces() || m_torrent->removed) {
                m_torrent->hashes.tick({}, lt::clock_type::now());
                return;
        }
        shielded([&] { look(lt::clock_type::now()); });
        arm(m_peers.empty() ? lonely_tick_time : conduct::tick_time);
        m_awake = true;
}

void swarm::look(lt::time_point now)
{
        for (auto const &p : m_peers)
                p.first->look(now);
        hurry(now);
        if (m_torrent->parts.watch)
                drop_stalled(now);
        if (m_torrent->parts.call_again)
                drop_silent(now);
        if (m_torrent->parts.watch)
                end_deadlock(now);
        find_mute(now);
        m_torrent->anchor.put_off_begun(m_peers.size(), [&](int piece) {
                return std::any_of(m_peers.begin(), m_peers.end(), [&](auto const &p) {
                        auto &c = *p.first;
                        return c.shook_hands && !c.is_quiet(now) && !c.peer().has_peer_choked() &&
                               c.peer().has_piece(lt::piece_index_t(piece));
                });
        });
        m_torrent->anchor.look_at_ranks();
        m_torrent->anchor.make_way(false);
        if (m_torrent->parts.queues)
                shielded([&] {
                        m_queues.look(m_peers, now);
                        if (m_queues.leaves_idle(m_peers, now))
                                m_torrent->anchor.look_again();
                        end_look_later();
                });
        for (auto const &p : m_peers)
                p.first->tick(now);
        if (m_torrent->parts.spares)
                m_spares.look(m_peers, now);
        if (m_torrent->parts.call_again)
                call_again();
        if (nobody_has_awaited()) {
                call_banned(now);
                pass_on_offer();
        }
        m_torrent->hashes.tick(m_torrent->anchor.awaited(), now);
}

// BEP 6 has each request answered that was taken back; some answer none (WebTorrent, lftp). To
// libtorrent that is asked for until the connection is closed, so what of it is wanted is asked for
// once more. The rest is forgotten with the connection; until there is another it gives nothing.
void swarm::find_mute(lt::time_point now)
{
        std::vector<conduct *> doubtful, mute; // libtorrent may do anything meanwhile
        for (auto const &p : m_peers)
                if (p.first->passes_over(now) || (p.first->mute && !p.first->cancelled.empty()))
                        mute.push_back(p.first);
                else if (p.first->is_doubtful(now))
                        doubtful.push_back(p.first);
        auto const is_other = [&](int p) { return !m_torrent->anchor.comes_first(p); };
        for (auto *const c : mute) {
                // What it owes already would come before that.
                if (!c->mute && !m_torrent->anchor.awaited().empty())
                        c->take_back(is_other, now, now);
                is_mute(c->peer().remote(), c->peer().pid());
                c->is_mute();
                if (c->peer().has_peer_choked())
                        continue;
                auto const unanswered = c->unanswered(now);
                ask_again(*c, unanswered);
                if (c->owed() == 0 && c->cancelled.size() > unanswered_max)
                        hang_up_to_call(c->peer());
        }
        for (auto *const c : doubtful)
                ask_one(*c, now);
}

// What of these blocks (piece, start) is wanted; first what is wanted most.
void swarm::ask_again(conduct &c, std::vector<std::pair<int, int>> const &blocks)
{
        auto const &anchor = m_torrent->anchor;
        auto const info = m_handle.torrent_file();
        std::multimap<int, lt::peer_request, std::greater<>> wanted; // by priority
        for (auto const &b : blocks) {
                lt::piece_index_t const piece(b.first);
                if (!info || !anchor.wants(b.first) || anchor.is_held_back(b.first))
                        continue;
                int const left = info->piece_size(piece) - b.second;
                wanted.emplace(
                        anchor.priority_of(b.first),
                        lt::peer_request{piece, b.second, std::min(left, lt::default_block_size)});
        }
        // libtorrent has filled the room, perhaps, with what is not waited for.
        for (auto const &w : wanted)
                if (c.has_room() || anchor.comes_first(int(w.second.piece)))
                        c.ask_again(w.second);
}

bool swarm::nobody_has_awaited() const
{
        auto awaited = m_torrent->anchor.awaited();
        auto const of_web = [&](int piece) { return m_torrent->anchor.is_held_back(piece); };
        awaited.erase(std::remove_if(awaited.begin(), awaited.end(), of_web), awaited.end());
        auto const has_some = [&](auto const &p) {
                return p.first->shook_hands &&
                       std::any_of(awaited.begin(), awaited.end(), [&](int piece) {
                               return p.first->peer().has_piece(lt::piece_index_t(piece));
                       });
        };
        return !awaited.empty() && std::none_of(m_peers.begin(), m_peers.end(), has_some);
}

// Who shows its pieces one by one has, for a moment after each, none that is wanted. rtorrent
// chokes whom it does not interest, and looks whether to give it a place again each 30 s. The
// anchor keeps the interest of the others.
void swarm::keep_interest()
{
        if (!m_torrent->anchor.keeps_interest())
                return;
        for (auto const &p : m_peers)
                if (p.first->peer().is_interesting() && p.first->shows_pieces() &&
                    !m_torrent->anchor.wants_of(p.first->peer()))
                        forget_interest(p.first->peer());
}

// It may be what somebody waits for, which libtorrent asks for then, or is passed on.
void swarm::shows()
{
        if (m_torrent->anchor.awaits())
                later(&swarm::m_looks_at_shown, [](bt_torrent &t) {
                        if (t.peers->nobody_has_awaited())
                                t.peers->pass_on_offer();
                });
}

// BEP 16: a seed that shows its pieces one by one.
void swarm::pass_on_offer()
{
        if (!m_torrent->callbacks->offered)
                return;
        for (auto const &p : m_peers)
                if (m_torrent->anchor.is_free(p.first->told)) {
                        m_torrent->callbacks->offered(m_torrent->user,
                                                      std::uint32_t(p.first->told));
                        return;
                }
}
