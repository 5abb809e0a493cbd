// SPDX-License-Identifier: MIT
// pipeline.cpp: how many requests one peer is to have in flight.
//
// libtorrent allows one request more for each block that came, until the first second that brings
// no more than the one before; from then on it is request_queue_time times a rate of the last
// seconds. A seeder that is far away cannot grow faster than it is asked, and never has more to
// send than it sent before: 4 MiB from one of 50 Mbit/s at 200 ms took 3.7 to 5.7 s, where TCP lets
// them through in 2.6. And twenty slow ones beside it held 140 of the 256 blocks after 1.7 s, three
// seconds' worth.
#include "pipeline.hpp"

#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <cmath>

using real_seconds = std::chrono::duration<double>;
using std::chrono::milliseconds;

namespace
{

constexpr double block_bytes = lt::default_block_size;
// A rate is that of so many round trips, within these bounds: TCP sends in bursts.
constexpr double span_trips = 1.25, span_min_s = 0.3, span_max_s = 1;
// What was lost on the way and comes later brings what came behind it with it, all at once: what a
// peer gives in the end is the mean of so long, or of the time since its first answer; that is
// known when it is half as long.
constexpr auto mean_time = milliseconds(1000), mean_least = milliseconds(500);
// Samples that are closer together than this are one.
constexpr auto sample_time = milliseconds(10);
// It grows until it gave less than so many times the most so far in each of so many spans, in which
// it owed what so much of a round trip brings at least. As long as it does it is taken to give so
// many times that soon.
constexpr double growth = 1.25, owes_trips = 0.5, grown = 2, grown_trips = 2;
constexpr unsigned spans_without = 3;
// A seek is over before that is known. For a plan, but not for what it is asked for at a time, it
// gives no more if it gave less than such a part of what TCP's slow start and our requests let it
// give, which was so many blocks at least, for so long and a round trip; after the last of these
// times its mean is known. One that sends in a timer (Transmission) would never be asked for what
// shows that it gives more.
constexpr double bound_part = 0.5, bound_least = 2, bound_s = 0.1, bound_max_s = 2;
// What no link gives.
constexpr double unbound_rate = 1e6;
// How long an epoch is. After a rest it is taken to give what it gave in the last eight, until it
// had the time of TCP's slow start; in the end what it gave in the last two.
constexpr double epoch_s = 3;
constexpr std::size_t recent_epochs = 2;
constexpr double start_trips = 10;
// A peer of which nothing is known is asked as if it gave so many blocks a second, 5 Mbit/s; within
// these bounds.
constexpr double unknown_rate = 40, unknown_min = 2, unknown_max = 8;
// What it gives in its first round trip: TCP's ten segments. After a rest of so long besides a
// round trip, when TCP's timer has run out, it begins with them again.
constexpr double first_window = 10 * 1460 / block_bytes;
constexpr double cold_s = 0.2;
// Rates below this are not told apart.
constexpr double rate_least = 0.1;
// One that has given nothing in so long besides two round trips may never.
constexpr double nothing_s = 0.5;
// The way to a peer that has called us.
constexpr double unknown_s = 0.1;

} // namespace

void pipeline::begins(lt::time_point now)
{
        if (is_cold(now)) {
                m_slow_bytes = m_bytes;
                m_most_owed = 0;
        }
        m_started_s = started_s(window());
        m_began = now;
        m_bytes_before = m_bytes;
        m_mean = m_load = 0;
}

void pipeline::shook_hands(lt::time_duration took)
{
        m_hands = took;
}

double pipeline::away_s() const
{
        if (m_hands > lt::time_duration(0))
                return real_seconds(std::min(m_hands, m_quickest)).count();
        return m_quickest != lt::time_duration::max() ? real_seconds(m_quickest).count()
                                                      : unknown_s;
}

double pipeline::span_s() const
{
        return std::clamp(span_trips * away_s(), span_min_s, span_max_s);
}

double pipeline::bytes_at(lt::time_point t) const
{
        auto const after =
                std::lower_bound(m_samples.begin(), m_samples.end(), t,
                                 [](sample const &s, lt::time_point at) { return s.at < at; });
        if (after == m_samples.end())
                return double(m_samples.back().bytes);
        if (after == m_samples.begin())
                return double(after->bytes);
        auto const before = std::prev(after);
        double const part = real_seconds(t - before->at) / real_seconds(after->at - before->at);
        return double(before->bytes) + part * double(after->bytes - before->bytes);
}

void pipeline::received(lt::time_point now, std::int64_t bytes, std::size_t owed)
{
        auto const span = std::chrono::duration_cast<lt::time_duration>(real_seconds(span_s()));
        auto const first =
                m_began + std::chrono::duration_cast<lt::time_duration>(real_seconds(away_s()));
        double const since =
                m_samples.empty() ? 0 : real_seconds(now - m_samples.back().at).count();

        if (bytes > m_bytes)
                m_latest = now;
        m_bytes = bytes;
        m_load += double(owed) * std::min(since, real_seconds(now - m_began).count());
        if (m_samples.size() > 1 && now - m_samples[m_samples.size() - 2].at < sample_time)
                m_samples.back() = {now, bytes};
        else
                m_samples.push_back({now, bytes});
        while (m_samples.size() > 2 &&
               now - m_samples[1].at > std::max<lt::time_duration>(span, mean_time))
                m_samples.pop_front();
        m_most_owed = std::max(m_most_owed, owed);
        if (owed == 0)
                return;
        double const rate =
                (double(bytes) - bytes_at(now - span)) / block_bytes / real_seconds(span).count();
        grow(rate, owed, now, span);
        look_for_bound(now);
        auto const from = std::min(std::max(now - mean_time, first), now - span);
        m_mean = (double(bytes) - bytes_at(from)) / block_bytes / real_seconds(now - from).count();
        // A run that is over before its mean is known takes nothing away from what is.
        if (now - first < mean_least)
                return;
        m_busy_s += std::min(since, epoch_s);
        if (m_busy_s > epoch_s) {
                m_busy_s = 0;
                std::copy_backward(m_greatest.begin(), m_greatest.end() - 1, m_greatest.end());
                m_greatest[0] = 0;
        }
        m_greatest[0] = std::max(m_greatest[0], m_mean);
}

void pipeline::grow(double rate, std::size_t owed, lt::time_point now, lt::time_duration span)
{
        if (m_full)
                return;
        m_peak = std::max(m_peak, rate);
        m_span_at = std::max(m_span_at, m_began);
        // It can't give more than it is asked for. And before it has given anything it may be far
        // away, or choke us.
        if (m_peak <= 0 || double(owed) < owes_trips * m_peak * away_s())
                m_span_at = now;
        if (now - m_span_at < span)
                return;
        m_span_at = now;
        m_without = m_peak > growth * m_base ? 0 : m_without + 1;
        m_base = std::max(m_base, m_peak);
        m_full = m_without >= spans_without;
}

void pipeline::look_for_bound(lt::time_point now)
{
        double const since = real_seconds(now - m_began).count(), busy = since - away_s();
        if (busy > bound_max_s)
                m_bound = 0; // its mean is known
        if (busy < std::max(away_s(), bound_s) || busy > bound_max_s)
                return;
        outlook o;
        o.m_rate = unbound_rate;
        o.m_trip_s = away_s();
        double const by_tcp = o.sent_by(m_started_s + since) - o.sent_by(m_started_s + o.m_trip_s);
        double const let = std::min(by_tcp, m_load / since * busy / away_s());
        double const given = double(m_bytes - m_bytes_before) / block_bytes;
        if (let >= bound_least)
                m_bound = given < bound_part * let ? given / busy : 0;
}

void pipeline::answered(lt::time_duration took)
{
        m_quickest = std::min(m_quickest, took);
}

double pipeline::gave(lt::time_point now) const
{
        bool const starts = real_seconds(now - m_began).count() < start_trips * away_s();
        return std::max(m_mean, *std::max_element(m_greatest.begin(),
                                                  starts ? m_greatest.end()
                                                         : m_greatest.begin() + recent_epochs));
}

double pipeline::rate(lt::time_point now) const
{
        return std::max(gave(now), m_full ? 0 : grown * m_peak);
}

double pipeline::likely(lt::time_point now) const
{
        if (m_full)
                return std::max(gave(now), m_bound);
        return m_bound <= 0 ? rate(now) : std::max({gave(now), m_peak, m_bound});
}

double pipeline::present(lt::time_point now) const
{
        return real_seconds(now - m_began).count() < away_s() + span_s() ? rate(now) : m_mean;
}

bool pipeline::gives_nothing(std::size_t owed, lt::time_point now) const
{
        return owed > 0 && rate(now) <= 0 &&
               real_seconds(now - m_began).count() > 2 * away_s() + nothing_s;
}

bool pipeline::is_cold(lt::time_point now) const
{
        return real_seconds(now - m_latest).count() > away_s() + cold_s;
}

// Of TCP, in blocks. In slow start it grows by what comes, however long that takes, and to twice
// what is on its way.
double pipeline::window() const
{
        double const come = double(m_bytes - m_slow_bytes) / block_bytes;
        return std::max(first_window, std::min(first_window + come, grown * double(m_most_owed)));
}

// How long slow start takes to such a window.
double pipeline::started_s(double window) const
{
        return away_s() * std::log2(std::max(1.0, window / first_window));
}

pipeline::outlook pipeline::ahead(std::size_t owed, lt::time_point now) const
{
        double const since = owed > 0 ? real_seconds(now - m_began).count() : 0;
        outlook o;

        o.m_rate = std::max(likely(now), rate_least);
        // What it has given in less than a span says little, but that it gave nothing says more and
        // more.
        if (!m_full && m_bound <= 0 &&
            *std::max_element(m_greatest.begin(), m_greatest.end()) <= 0) {
                double const busy = std::max(0.0, since - away_s());
                double const given = owed > 0 ? double(m_bytes - m_bytes_before) / block_bytes : 0;
                o.m_rate = std::max(o.m_rate, (given + 1) / (busy + 1 / unknown_rate));
        }
        o.m_trip_s = away_s();
        o.m_owed = double(owed);
        o.m_dead_s = std::max(0.0, o.m_trip_s - since);
        bool const anew = owed == 0 && is_cold(now);
        o.m_start_s = o.m_trip_s + (anew ? 0 : started_s(window())) - o.m_dead_s;
        return o;
}

// Blocks in so many seconds since slow start began, with a request under way from the first on: the
// window doubles in each round trip, until it is worth the rate.
double pipeline::outlook::sent_by(double start_s) const
{
        double sent = 0, window = first_window, at = m_trip_s;

        if (start_s <= at)
                return 0;
        for (; window < m_rate * m_trip_s && start_s >= at + m_trip_s; at += m_trip_s, window *= 2)
                sent += window;
        return sent + std::min(m_rate, window / m_trip_s) * (start_s - at);
}

double pipeline::outlook::gives(double in_s) const
{
        double const from = sent_by(m_start_s + m_dead_s);
        auto const by = [&](double s) { return s > m_dead_s ? sent_by(m_start_s + s) - from : 0; };
        // The answer to a new request comes after that.
        double const before = by(std::min(in_s, m_trip_s));

        return std::min(before, m_owed) + by(in_s) - before;
}

double pipeline::outlook::takes(double blocks) const
{
        double least = 0, most = takes_max_s;
        constexpr int halvings = 16; // to a millisecond

        for (int i = 0; i < halvings; i++) {
                double const middle = (least + most) / 2;
                (gives(middle) >= blocks ? most : least) = middle;
        }
        return most;
}

double pipeline::length(double rest_s, lt::time_point now) const
{
        double const blocks = rate(now);
        if (blocks <= 0)
                return std::clamp(unknown_rate * away_s(), unknown_min, unknown_max);
        double const rest = m_full ? rest_s : std::max(rest_s, grown_trips * away_s());
        return std::max(1.0, blocks * (away_s() + rest));
}
