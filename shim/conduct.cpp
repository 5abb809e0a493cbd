// SPDX-License-Identifier: MIT
// conduct.cpp: what one peer was asked for, what it gave, and how long more would take.
#include "conduct.hpp"

#include "inner.hpp"

#include <libtorrent/peer_info.hpp>

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

using std::chrono::milliseconds;

namespace
{

// What a peer that is mute is asked for at a time: for so long besides the way to it and back, and
// at least so many blocks.
constexpr double mute_s = 0.75;
constexpr std::int64_t mute_least = 32;
// A refusal may take so long besides the way there and back.
constexpr double refusal_s = 0.5;
// A peer may be so late besides the way there and back with the answer to a request that was taken
// back, and have given what it was asked for after that: for only its disk may keep the other.
// After so long without an answer it is asked for something else, and as often.
constexpr double passed_over_s = 1.5;
constexpr auto doubt_time = milliseconds(1000);
// What a peer was asked for besides and never answered is forgotten.
constexpr auto spare_time = milliseconds(20000);
// A peer that owes something may be silent for so long, and for twice the time of its quickest
// answer besides.
constexpr auto overdue_time = milliseconds(200);
// What a peer owes that gives nothing is taken for so late, or for as late as it is: it may never
// come.
constexpr double unknown_s = 1;
// One that gave a block in each tick, on average, falters after so long at least.
constexpr auto faltering_time = milliseconds(125);

} // namespace

void conduct::asked(lt::peer_request const &r, bool on_its_way)
{
        auto const now = lt::clock_type::now();
        std::pair<int, int> const block{int(r.piece), r.start};
        bool const besides = m_spares.count(block) > 0 || m_left.count(block) > 0;

        if (owed() == 0)
                pipe.begins(now);
        m_asked[block] = {now, r.length, on_its_way || besides};
}

void conduct::answered(lt::peer_request const &r, bool with_data)
{
        auto const now = lt::clock_type::now();
        auto const i = m_asked.find({int(r.piece), r.start});
        if (i != m_asked.end()) {
                if (with_data)
                        m_latest_given = std::max(m_latest_given, i->second.at);
                if (with_data && !i->second.on_its_way) {
                        m_quickest = std::min(m_quickest, now - i->second.at);
                        pipe.answered(now - i->second.at);
                }
                m_asked.erase(i);
        }
        if (!with_data)
                return;
        m_rejections = 0;
        m_silence = std::max(m_silence, now - last_sign());
        m_last_block = now;
        m_blocks[m_tick]++;
}

void conduct::rejected(lt::peer_request const &r, lt::time_point now)
{
        auto const i = m_asked.find({int(r.piece), r.start});
        if (i == m_asked.end() || is_cancelled(r) || m_peer.has_peer_choked() ||
            i->second.at <= m_rejected_at)
                return;
        m_rejected_at = now;
        m_rejections++;
}

bool conduct::is_idle(int piece)
{
        if (!shook_hands || owes() || refuses() || !m_peer.has_piece(lt::piece_index_t(piece)))
                return false;
        lt::peer_info info;
        m_peer.get_peer_info(info);
        return !(info.flags & lt::peer_info::remote_choked);
}

bool conduct::is_quiet(lt::time_point now) const
{
        return owed() > 0 && has_given() && now - last_sign() > patience(stall_time);
}

bool conduct::is_steady() const
{
        auto const blocks = std::accumulate(m_pace.begin(), m_pace.end(), 0U);
        return owes() && has_given() && m_paced >= m_pace.size() && blocks >= m_pace.size();
}

bool conduct::falters(lt::time_point flows, lt::time_point now) const
{
        if (!is_steady())
                return false;
        auto const longest =
                std::max(m_silence, *std::max_element(m_silences.begin(), m_silences.end()));
        auto const away = std::chrono::duration_cast<lt::time_duration>(
                std::chrono::duration<double>(pipe.away_s()));
        return now - std::max(last_sign(), flows) >
               std::max<lt::time_duration>(faltering_time, 2 * std::max(longest, away));
}

void conduct::look_whether_stopped(lt::time_point flows, lt::time_point now)
{
        if (has_stopped && owes() && last_sign() == m_stopped_at)
                return;
        has_stopped = falters(flows, now);
        m_stopped_at = last_sign();
}

lt::time_point conduct::last_sign() const
{
        return std::max({m_last_block, m_moved, pipe.began()});
}

bool conduct::stalls(int piece, lt::time_duration after, lt::time_point now) const
{
        if (!has_given())
                return false; // maybe it is just far away
        lt::time_duration const long_enough = patience(after);
        auto const first = m_asked.lower_bound({piece, 0});
        // That is not free for others before it is answered either.
        auto const taken_back = cancelled.lower_bound({piece, 0});
        bool const owes_some = (first != m_asked.end() && first->first.first == piece &&
                                now - first->second.at > long_enough) ||
                               (taken_back != cancelled.end() && taken_back->first.first == piece &&
                                now - taken_back->second > long_enough);
        return owes_some && now - std::max(m_last_block, m_moved) > long_enough;
}

void conduct::look(lt::time_point now)
{
        if (owed() == 0)
                return;
        lt::peer_info info;
        m_peer.get_peer_info(info);
        int const before = m_progress;
        m_progress =
                info.downloading_piece_index < lt::piece_index_t(0) ? 0 : info.downloading_progress;
        if (m_progress <= before)
                return;
        m_silence = std::max(m_silence, now - last_sign());
        m_moved = now;
}

lt::time_duration conduct::patience(lt::time_duration after) const
{
        double const rate = pace();
        auto const own = rate > 0 ? std::chrono::duration_cast<lt::time_duration>(
                                            std::chrono::duration<double>(1 / rate))
                                  : lt::time_duration(0);
        return after + 2 * (has_given() ? std::max(m_quickest, own) : own);
}

unsigned conduct::recent() const
{
        unsigned sum = 0;
        for (unsigned n : m_blocks)
                sum += n;
        return sum;
}

void conduct::tick(lt::time_point now)
{
        for (auto *const these : {&m_spares, &m_left})
                for (auto s = these->begin(); s != these->end();)
                        s = now - s->second.at > spare_time ? these->erase(s) : std::next(s);
        if (owes() || m_blocks[m_tick] > 0) {
                m_silences[m_paced % m_silences.size()] = std::exchange(m_silence, {});
                m_pace[m_paced++ % m_pace.size()] = m_blocks[m_tick];
        }
        m_tick = unsigned((m_tick + 1) % m_blocks.size());
        m_blocks[m_tick] = 0;
}

double conduct::pace() const
{
        unsigned sum = 0;
        unsigned const ticks = std::min<unsigned>(m_paced, unsigned(m_pace.size()));
        for (unsigned i = 0; i < ticks; i++)
                sum += m_pace[i];
        return ticks == 0 ? 0 : sum / (ticks * std::chrono::duration<double>(tick_time).count());
}

std::vector<conduct::due_block> conduct::due(int piece, lt::time_point now) const
{
        std::vector<due_block> r;
        // What was taken back is refused in about the time of the way there and back.
        for (auto c = cancelled.lower_bound({piece, 0});
             c != cancelled.end() && c->first.first == piece; ++c) {
                double const waited = std::chrono::duration<double>(now - c->second).count();
                double const s = std::max(unknown_s, waited);
                if (waited > refusal_s + pipe.away_s())
                        r.push_back({c->first.second, s, s});
        }
        auto const first = m_asked.lower_bound({piece, 0});
        if (first == m_asked.end() || first->first.first != piece)
                return r;
        // A peer answers in the order in which it was asked.
        std::vector<lt::time_point> times;
        for (auto const &a : m_asked)
                times.push_back(a.second.at);
        std::sort(times.begin(), times.end());
        // One that has said nothing for long will hardly begin now; a new one gets its time.
        double const rate = std::max(pace(), pipe.present(now));
        double const silence = std::chrono::duration<double>(now - m_last_block).count();
        auto const ahead = pipe.ahead(owed(), now);
        for (auto a = first; a != m_asked.end() && a->first.first == piece; ++a) {
                auto const before = std::upper_bound(times.begin(), times.end(), a->second.at);
                double const place = double(before - times.begin());
                double const waited = std::chrono::duration<double>(now - a->second.at).count();
                double s = rate > 0 ? std::max(place / rate, pipe.away_s() - waited)
                                    : std::max(unknown_s, waited);
                if (has_given() && rate > 0 && silence > 2 / rate)
                        s += std::min(silence, waited);
                if (has_stopped)
                        s = std::max(s, unknown_s);
                r.push_back({a->first.second, s, rate > 0 ? s : s + ahead.takes(place)});
        }
        return r;
}

std::size_t conduct::owed_of_others(std::vector<int> const &these) const
{
        return std::size_t(std::count_if(m_asked.begin(), m_asked.end(), [&](auto const &a) {
                return !std::binary_search(these.begin(), these.end(), a.first.first);
        }));
}

double conduct::busy_before(int piece, pieces const &these) const
{
        if (!is_asked(piece))
                return 0;
        auto const last = asked_last(piece);
        auto const before = std::count_if(m_asked.begin(), m_asked.end(), [&](auto const &a) {
                return a.second.at < last && these(a.first.first);
        });
        double const rate = pace();
        return before == 0 ? 0 : rate > 0 ? double(before) / rate : 1;
}

lt::time_point conduct::asked_last(int piece) const
{
        lt::time_point last;
        for (auto a = m_asked.lower_bound({piece, 0});
             a != m_asked.end() && a->first.first == piece; ++a)
                last = std::max(last, a->second.at);
        return last;
}

double conduct::would_take(int piece, lt::time_point now)
{
        double const rate = std::max(pace(), pipe.present(now));
        if (!shook_hands || !has_given() || rate <= 0 || !has_room() ||
            !m_peer.has_piece(lt::piece_index_t(piece)) || m_peer.has_peer_choked() ||
            is_overdue(now) || is_on_parole(m_peer) || refuses())
                return 0;
        return std::chrono::duration<double>(m_quickest).count() + double(owed() + 1) / rate;
}

std::int64_t conduct::room() const
{
        auto most = std::numeric_limits<std::int64_t>::max();
        if (takes > 0)
                most = std::max<std::int64_t>(1, takes - 1);
        if (mute) {
                using seconds = std::chrono::duration<double>;
                double const away = has_given() ? seconds(m_quickest).count() : 0;
                double const now =
                        recent() / (double(m_blocks.size()) * seconds(tick_time).count());
                double const needs = std::max(pace(), now) * (away + mute_s);
                most = std::min(most, std::max(mute_least, std::int64_t(needs)));
        }
        return most;
}

// BEP 3.
void conduct::say(char message, std::initializer_list<int> numbers)
{
        std::array<char, 17> m{}; // up to three
        char *p = m.data();
        auto const put = [&](std::uint32_t v) {
                for (int shift = 24; shift >= 0; shift -= 8)
                        *p++ = char(v >> shift);
        };
        put(std::uint32_t(1 + 4 * numbers.size()));
        *p++ = message;
        for (int const n : numbers)
                put(std::uint32_t(n));
        m_peer.send_buffer(m.data(), int(p - m.data()));
}

// Transmission shows all that it has at once. It begins with nothing where it has nothing yet, and
// takes whom it has seen to have all for a seed, for good: it is not told more than it has to be.
bool conduct::shows_pieces() const
{
        if (!shook_hands || told < 0)
                return false;
        auto const id = m_peer.pid();
        return id[0] != '-' || id[1] != 'T' || id[2] != 'R';
}

// libtorrent tells nobody of what he has himself (send_redundant_have), and the others before this
// is called. Who has all has nothing left to show.
void conduct::passed(int piece)
{
        if (shows_pieces() && heard != piece && m_peer.has_piece(lt::piece_index_t(piece)) &&
            !m_peer.is_seed())
                say(4, {piece});
        heard = -1;
}

void conduct::ask_spare(lt::peer_request const &r, lt::time_point now)
{
        if (owed() == 0)
                pipe.begins(now);
        m_spares[{int(r.piece), r.start}] = {now, r.length};
        say_request(r);
}

bool conduct::has_spare(lt::peer_request const &r, lt::time_point now) const
{
        return m_spares.count({int(r.piece), r.start}) > 0 && !is_overdue(now);
}

// It owes something, has given nothing since it was asked for the oldest of that, and should have.
bool conduct::is_overdue(lt::time_point now) const
{
        lt::time_point oldest = now;
        for (auto const &a : m_asked)
                oldest = std::min(oldest, a.second.at);
        for (auto const &s : m_spares)
                oldest = std::min(oldest, s.second.at);
        return now - std::max({oldest, m_last_block, m_moved}) > patience(overdue_time);
}

bool conduct::passes_over(lt::time_point now) const
{
        return std::any_of(cancelled.begin(), cancelled.end(), [&](auto const &c) {
                return is_unanswered(c.second, passed_over_s, now) && has_given_of_after(c.second);
        });
}

bool conduct::is_unanswered(lt::time_point taken_back, double s, lt::time_point now) const
{
        return std::chrono::duration<double>(now - taken_back).count() >= s + pipe.away_s();
}

std::vector<std::pair<int, int>> conduct::unanswered(lt::time_point now) const
{
        std::vector<std::pair<int, int>> r;
        for (auto const &c : cancelled)
                if (is_unanswered(c.second, refusal_s, now))
                        r.push_back(c.first);
        return r;
}

bool conduct::is_doubtful(lt::time_point now)
{
        if (now - m_doubted < doubt_time || !shook_hands || m_peer.has_peer_choked() || owes() ||
            !m_spares.empty() ||
            std::none_of(cancelled.begin(), cancelled.end(),
                         [&](auto const &c) { return now - c.second >= doubt_time; }))
                return false;
        m_doubted = now;
        return true;
}

void conduct::ask_again(lt::peer_request const &r)
{
        cancelled.erase({int(r.piece), r.start});
        asked(r, true);
        say_request(r);
}

int conduct::spares_of(int piece) const
{
        int n = 0;
        for (auto s = m_spares.lower_bound({piece, 0});
             s != m_spares.end() && s->first.first == piece; ++s)
                n++;
        return n;
}

bool conduct::spare_is_over(lt::peer_request const &r, bool with_data)
{
        for (auto *const these : {&m_spares, &m_left}) {
                auto const s = these->find({int(r.piece), r.start});
                if (s == these->end())
                        continue;
                if (with_data)
                        m_latest_given = std::max(m_latest_given, s->second.at);
                these->erase(s);
                return true;
        }
        return false;
}

// It stays noted until it is answered: it comes all the same, or is refused; of one that answers no
// CANCEL neither may happen.
void conduct::take_spares_back(int piece)
{
        if (!answers_cancels)
                return;
        for (auto s = m_spares.lower_bound({piece, 0});
             s != m_spares.end() && s->first.first == piece; s = m_spares.erase(s)) {
                say_cancel({lt::piece_index_t(piece), s->first.second, s->second.length});
                m_left[s->first] = s->second;
        }
}

void conduct::take_back(lt::peer_request const &r, lt::time_point now)
{
        // Of one on parole libtorrent would ask it again, before everything else.
        if (mute || is_on_parole(m_peer) || !is_asked(r))
                return;
        if (!answers_cancels) {
                cancel_request(m_peer, r); // and libtorrent answers it
                return;
        }
        say_cancel(r);
        answered(r, false);
        cancelled[{int(r.piece), r.start}] = now;
}

void conduct::take_back(pieces const &which, lt::time_point until, lt::time_point now)
{
        std::vector<lt::peer_request> these; // m_asked changes meanwhile
        if (mute)
                return;
        for (auto const &a : m_asked)
                if (a.second.at <= until && which(a.first.first))
                        these.push_back({lt::piece_index_t(a.first.first), a.first.second,
                                         a.second.length});
        for (auto const &r : these)
                take_back(r, now);
}
