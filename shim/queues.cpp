// SPDX-License-Identifier: MIT
// queues.cpp: who is asked for how much of what a reader waits for.
//
// The last block of a piece is what the reader waits for. So each peer is asked for what it gives
// until all together have given the pieces that are wanted most, which are the front here, and for
// no more: one that is far away begins later, and gets less. One that would be late even with a
// single block is not asked.
#include "queues.hpp"

#include "conduct.hpp"
#include "inner.hpp"
#include "ranks.hpp"
#include "torrent.hpp"

#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <set>

namespace
{

// What a peer is asked for at a time lasts for so long besides the way to it and back. Less while
// no reader waits: the next one may want something else, and comes behind it.
constexpr double rest_s = 0.8, rest_unawaited_s = 0.5;
// Of the front it is asked for what it gives in that time, and for what keeps it busy for so long
// besides the way to it and back. Not so where it is alone: one that sends each half second and was
// asked for one block at a time gave no more, and nothing showed that it could.
constexpr double share_rest_s = 0.25;
// One that would give its first block after so much of that time, and takes so many times as long
// as another, is asked for none: all of them are a bit late.
constexpr double in_time = 0.9, far_later = 2;
// libtorrent's default of max_out_request_queue.
constexpr double length_max = 500;
// So much of what is wanted most is looked at: where a whole torrent is wanted that is plenty.
constexpr int front_blocks = 2048;
constexpr std::size_t open_max = 64;
// Where nobody could be asked for anything, after all, it is tried again after so long.
constexpr auto retry_time = std::chrono::milliseconds(1000);

} // namespace

void queues::begin(bt_torrent &t, lt::torrent_handle const &h)
{
        m_torrent = &t;
        m_handle = h;
}

// The pieces that are wanted most, in rising order.
void queues::find_front()
{
        auto const &wanted = m_torrent->anchor.wanted();
        auto const info = m_handle.torrent_file();
        int blocks = 0, most = 0;

        m_pieces.clear();
        m_unasked_of.clear();
        for (auto const &w : wanted)
                if (!m_torrent->anchor.is_held_back(w.first))
                        most = std::max(most, to_number(w.second));
        for (auto const &w : wanted) {
                if (!info || blocks >= front_blocks)
                        break;
                if (to_number(w.second) != most || m_torrent->anchor.is_held_back(w.first))
                        continue;
                m_pieces.push_back(w.first);
                blocks += blocks_of(*info, w.first);
        }
        m_unasked = m_missing = blocks;
        m_open.clear();
        if (m_pieces.empty())
                return;
        std::set<int> asked;
        for (auto const &q : m_handle.get_download_queue()) {
                int const piece(q.piece_index), there = q.finished + q.writing;
                if (there + q.requested == q.blocks_in_piece)
                        asked.insert(piece);
                if (!std::binary_search(m_pieces.begin(), m_pieces.end(), piece))
                        continue;
                m_missing -= there;
                m_unasked -= there + q.requested;
        }
        std::set_difference(m_pieces.begin(), m_pieces.end(), asked.begin(), asked.end(),
                            std::back_inserter(m_unasked_of));
        for (auto w = wanted.begin(); w != wanted.end() && m_open.size() < open_max; ++w)
                if (asked.count(w->first) == 0 && m_torrent->anchor.is_open(w->first))
                        m_open.push_back(w->first);
}

void queues::look(spares::peers const &all, lt::time_point now)
{
        bool const takes_back = m_torrent->anchor.awaits() && m_torrent->anchor.takes_back();

        find_front();
        for (auto const &p : all) {
                auto &c = *p.first;
                c.pipe.received(now, content_of(c.peer()), c.owed());
                // Who has nothing of what is to be asked for yet is free for what comes behind it.
                c.has_front = has_any(c, m_unasked > 0 ? m_unasked_of : m_pieces);
                c.others = takes_back && !c.mute ? c.owed_of_others(m_pieces) : 0;
        }
        find_time(all, now);
        for (auto const &p : all)
                look_at(*p.first, now);
}

// How much it owes once what it owes of other pieces is taken back.
std::size_t queues::keeps(conduct const &c) const
{
        return c.owed() - std::min(c.owed(), c.others);
}

// When all together have given what was not asked for yet, behind what they owe; or all that is
// missing, where nothing is left to ask for.
void queues::find_time(spares::peers const &all, lt::time_point now)
{
        struct giver {
                pipeline::outlook ahead;
                double owed, room;
        };
        std::vector<giver> givers;
        double least = 0, most = pipeline::outlook::takes_max_s;
        constexpr int halvings = 16; // to a millisecond
        double const blocks = m_unasked > 0 ? m_unasked : m_missing;

        m_quickest = 0;
        for (auto const &p : all) {
                auto &c = *p.first;
                c.gives = c.has_front && may_give(c) && !c.refuses() && !c.is_quiet(now) &&
                          !c.pipe.gives_nothing(c.owed(), now);
                if (!c.gives)
                        continue;
                auto const owed = keeps(c);
                auto const ahead = c.pipe.ahead(owed, now);
                givers.push_back({ahead, m_unasked > 0 ? double(owed) : 0, double(c.room())});
                // Who has only a part may have nothing of what another one has.
                if (!c.peer().is_seed() || !c.has_given() || !c.has_room())
                        continue;
                double const one = ahead.takes(double(owed + 1));
                m_quickest = m_quickest > 0 ? std::min(m_quickest, one) : one;
        }
        m_givers = int(givers.size());
        for (int i = 0; i < halvings; i++) {
                double const middle = (least + most) / 2;
                double sum = 0;
                for (auto const &g : givers)
                        sum += std::max(0.0, std::min(std::floor(g.ahead.gives(middle)), g.room) -
                                                     g.owed);
                (sum >= blocks ? most : least) = middle;
        }
        m_until = now + std::chrono::duration_cast<lt::time_duration>(
                                std::chrono::duration<double>(most));
}

// Where it took longer than it looked like; and all of it where there is one to ask, which needs no
// plan: Transmission answers each half second, and was asked for one block a time, too late for it.
double queues::fair_share() const
{
        return std::ceil(m_unasked / double(std::max(1, m_givers)));
}

bool queues::may_give(conduct &c)
{
        return c.shook_hands && !c.peer().has_peer_choked() && !is_on_parole(c.peer());
}

bool queues::leaves_idle(spares::peers const &all, lt::time_point now)
{
        if (m_pieces.empty() || (!m_has_asked && now - m_idle_at < retry_time))
                return false;
        bool const idle = std::any_of(all.begin(), all.end(), [&](auto const &p) {
                auto &c = *p.first;
                return has_unsent(c.peer()) ||
                       (c.owed() == 0 && c.asks > 0 && may_give(c) && has_any(c, m_open));
        });
        if (idle) {
                m_has_asked = false;
                m_idle_at = now;
        }
        return idle;
}

bool queues::has_any(conduct &c, std::vector<int> const &pieces)
{
        if (c.peer().is_seed())
                return !pieces.empty();
        return std::any_of(pieces.begin(), pieces.end(),
                           [&](int piece) { return c.peer().has_piece(lt::piece_index_t(piece)); });
}

void queues::look_at(conduct &c, lt::time_point now)
{
        if (!c.shook_hands)
                return;
        // What is taken back counts for libtorrent until it is answered, and what comes before the
        // front is taken back where a reader waits.
        auto others = c.cancelled.size();
        double n = c.pipe.length(m_torrent->anchor.awaits() ? rest_s : rest_unawaited_s, now);
        if ((m_unasked > 0 || m_open.empty()) && m_missing > 0 && c.has_front) {
                double const left = std::chrono::duration<double>(m_until - now).count();
                auto const owed = keeps(c);
                auto const ahead = c.pipe.ahead(owed, now);
                bool const has_others = m_givers > (c.gives ? 1 : 0);
                // libtorrent would ask for a block that another one owes.
                bool const all_asked = m_unasked == 0 && m_torrent->parts.spares;
                if (owed == 0 && (all_asked || (m_quickest > 0 &&
                                                ahead.gives(std::max(in_time * left,
                                                                     far_later * m_quickest)) < 1)))
                        n = 0;
                else if (m_unasked > 0)
                        n = std::min(has_others ? c.pipe.length(share_rest_s, now) : n,
                                     std::max(1.0, left > 0 && has_others
                                                           ? ahead.gives(left)
                                                           : double(owed) + fair_share()));
                if (m_unasked > 0 && c.answers_cancels)
                        others += std::min(c.owed(), c.others);
        }
        if (c.refuses())
                n = c.refuses_now(now) ? 0 : std::min(n, 1.0);
        c.asks = int(std::lround(std::min(n, double(c.room()))));
        set_queue_length(c.peer(), int(std::min(c.asks + double(others), length_max)));
        // In end game it would be asked for one block whatever its length says.
        if (c.asks == 0 || !m_open.empty())
                end_endgame(c.peer());
}

void queues::end_look(spares::peers const &all)
{
        auto const now = lt::clock_type::now();
        for (auto const &p : all)
                if (p.first->shook_hands && p.first->asks == 0 && p.first->owed() == 0 &&
                    !p.first->refuses_now(now))
                        set_queue_length(p.first->peer(), 1 + int(p.first->cancelled.size()));
}

void queues::asked(int piece)
{
        m_has_asked = true;
        if (m_unasked > 0 && std::binary_search(m_pieces.begin(), m_pieces.end(), piece))
                m_unasked--;
}
