// test_pipeline.cpp: how much a peer is asked for, held against a seeder behind TCP.
#include <algorithm>
#include <chrono>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <deque>

extern "C" {
#include <cmocka.h>
}

#include "pipeline.hpp"

namespace
{

using std::chrono::milliseconds;

constexpr int block_bytes = 16 * 1024;
constexpr double step_s = 0.005;
constexpr auto step = milliseconds(5);
constexpr double all = 1e9; // more than is ever asked for

// A seeder that is so far away, and the network to it. It sends what it was asked for, through a
// window that begins with ten segments and grows by what is acknowledged.
class seeder
{
      public:
        seeder(double rtt_s, double mbits) : m_rtt_s(rtt_s), m_rate(mbits * 1e6 / 8)
        {
        }
        // Until so many blocks have come, of which length(now) are in flight at a time; gives how
        // many seconds that took, at most a minute.
        template <typename Length> double give(int blocks, pipeline &p, Length const &length)
        {
                auto const began = m_now;
                int const end = m_given + blocks;

                p.begins(m_now);
                while (m_given < end && m_now - began < std::chrono::minutes(1)) {
                        int const most = end - m_asked;
                        int const more = std::min(most, int(length(m_now)) - (m_asked - m_given));
                        for (int i = 0; i < more; i++, m_asked++)
                                m_requests.push_back(m_now);
                        run(p);
                }
                return std::chrono::duration<double>(m_now - began).count();
        }
        // TCP goes on after that as it was.
        void pause(pipeline &p, lt::time_duration time)
        {
                for (auto const end = m_now + time; m_now < end;)
                        run(p);
        }
        // TCP begins anew after that.
        void rest(pipeline &p, int seconds)
        {
                for (auto const end = m_now + std::chrono::seconds(seconds); m_now < end;) {
                        m_now += step;
                        p.received(m_now, std::int64_t(m_come), 0);
                }
                m_window = initial;
                m_acks.clear();
                m_in_flight = m_most_in_flight = 0;
        }
        std::int64_t come() const
        {
                return std::int64_t(m_come);
        }
        void slow_down(double mbits)
        {
                m_rate = mbits * 1e6 / 8;
        }
        lt::time_point now() const
        {
                return m_now;
        }

      private:
        static constexpr double initial = 14'600;
        struct burst {
                lt::time_point sent;
                double bytes;
        };
        void run(pipeline &p)
        {
                using seconds = std::chrono::duration<double>;

                m_now += step;
                while (!m_requests.empty() &&
                       seconds(m_now - m_requests.front()).count() >= m_rtt_s / 2) {
                        m_owes += block_bytes;
                        m_requests.pop_front();
                        m_times.push_back(m_now);
                }
                while (!m_acks.empty() && seconds(m_now - m_acks.front().sent).count() >= m_rtt_s) {
                        m_in_flight -= m_acks.front().bytes;
                        m_window = std::max(m_window, std::min(m_window + m_acks.front().bytes,
                                                               2 * m_most_in_flight));
                        m_acks.pop_front();
                }
                double const sends =
                        std::max(0.0, std::min({m_owes, m_rate * step_s, m_window - m_in_flight}));
                m_owes -= sends;
                m_in_flight += sends;
                m_most_in_flight = std::max(m_most_in_flight, m_in_flight);
                m_acks.push_back({m_now, sends});
                m_under_way.push_back({m_now, sends});
                while (!m_under_way.empty() &&
                       seconds(m_now - m_under_way.front().sent).count() >= m_rtt_s / 2) {
                        m_come += m_under_way.front().bytes;
                        m_under_way.pop_front();
                }
                for (; m_come + 0.5 >= double(m_given + 1) * block_bytes; m_given++) {
                        auto const asked =
                                m_times.front() -
                                std::chrono::duration_cast<lt::time_duration>(seconds(m_rtt_s / 2));
                        m_times.pop_front();
                        p.answered(m_now - asked);
                }
                p.received(m_now, std::int64_t(m_come), std::size_t(m_asked - m_given));
        }

        double m_rtt_s, m_rate;
        lt::time_point m_now = lt::time_point() + std::chrono::hours(1);
        std::deque<lt::time_point> m_requests, m_times; // under way to it; when they were there
        std::deque<burst> m_acks, m_under_way;
        double m_owes = 0, m_in_flight = 0, m_most_in_flight = 0, m_window = initial, m_come = 0;
        int m_asked = 0, m_given = 0;
};

pipeline met(double rtt_s)
{
        pipeline p;
        p.shook_hands(std::chrono::duration_cast<lt::time_duration>(
                std::chrono::duration<double>(rtt_s)));
        return p;
}

// A piece of 4 MiB, of which each peer is asked for as little as may be.
double piece_s(double rtt_s, double mbits)
{
        seeder s(rtt_s, mbits);
        auto p = met(rtt_s);
        return s.give(256, p, [&](lt::time_point now) { return p.length(0.25, now); });
}

double limit_s(double rtt_s, double mbits)
{
        seeder s(rtt_s, mbits);
        auto p = met(rtt_s);
        return s.give(256, p, [](lt::time_point) { return all; });
}

void a_seeder_grows_as_fast_as_tcp_lets_it(void **)
{
        for (double const rtt_s : {0.02, 0.05, 0.1, 0.2, 0.3, 0.6})
                for (double const mbits : {2.0, 10.0, 50.0, 200.0}) {
                        double const took = piece_s(rtt_s, mbits), least = limit_s(rtt_s, mbits);
                        if (took > 1.25 * least + 0.1)
                                fail_msg("%g s, %g Mbit/s: %g s, and %g where all is asked for at "
                                         "once",
                                         rtt_s, mbits, took, least);
                }
}

// How far away it is shows its first answer.
void one_that_called_us_is_asked_for_no_less(void **)
{
        for (double const rtt_s : {0.02, 0.3, 1.0}) {
                seeder s(rtt_s, 10);
                pipeline p;
                double const took =
                        s.give(256, p, [&](lt::time_point now) { return p.length(0.25, now); });
                if (took > 1.5 * limit_s(rtt_s, 10) + 0.1)
                        fail_msg("%g s away: %g s, and %g where all is asked for at once", rtt_s,
                                 took, limit_s(rtt_s, 10));
        }
}

void a_slow_one_is_asked_for_little(void **)
{
        seeder s(0.03, 0.3); // 2.3 blocks a second
        auto p = met(0.03);
        int most = 0;
        s.give(10, p, [&](lt::time_point now) {
                double const n = p.length(0.25, now);
                most = std::max(most, int(n));
                return n;
        });
        assert_in_range(most, 1, 2);
}

void what_nothing_is_known_of(void **)
{
        auto const now = lt::time_point() + std::chrono::hours(1);
        assert_true(met(0.03).length(0.25, now) < 3);
        assert_true(met(0.2).length(0.25, now) == 8);
        assert_true(met(5).length(0.25, now) == 8);
        assert_true(pipeline().length(0.25, now) == 4); // it has called us
        assert_true(met(0.2).rate(now) == 0);
}

void after_a_rest_it_is_known(void **)
{
        seeder s(0.2, 50);
        auto p = met(0.2);
        auto const length = [&](lt::time_point now) { return p.length(0.8, now); };
        s.give(2000, p, length);
        double const rate = p.rate(s.now());
        assert_true(rate > 300 && rate < 600); // 381 blocks
        s.rest(p, 120);
        p.begins(s.now());
        assert_true(p.rate(s.now()) >= 300);
        // And when it is asked for as little as one block: that shows nothing.
        for (int i = 0; i < 20; i++) {
                s.rest(p, 1);
                s.give(1, p, length);
        }
        s.rest(p, 1);
        p.begins(s.now());
        assert_true(p.rate(s.now()) >= 300);
}

void who_gives_less_is_found_out(void **)
{
        seeder s(0.1, 20);
        auto p = met(0.1);
        auto const length = [&](lt::time_point now) { return p.length(0.8, now); };
        s.give(1500, p, length);
        assert_true(p.rate(s.now()) > 120); // 153 blocks
        s.slow_down(2);
        s.give(15 * 12, p, length);
        assert_true(p.rate(s.now()) < 30); // 15 blocks
}

// After a rest TCP begins anew, whatever the rate.
void how_long_it_takes_is_known_before(void **)
{
        for (double const rtt_s : {0.02, 0.1, 0.25})
                for (double const mbits : {2.0, 10.0, 50.0})
                        for (int const blocks : {1, 8, 64}) {
                                seeder s(rtt_s, mbits);
                                auto p = met(rtt_s);
                                s.give(300, p, [&](lt::time_point t) { return p.length(0.8, t); });
                                s.rest(p, 2);
                                double const told = p.ahead(0, s.now()).takes(blocks);
                                double const took =
                                        s.give(blocks, p, [](lt::time_point) { return all; });
                                if (took > 1.3 * told + 0.03 || took < told / 1.3 - 0.03)
                                        fail_msg("%d blocks, %g s away, %g Mbit/s: %g s, not %g",
                                                 blocks, rtt_s, mbits, took, told);
                        }
}

// Nor does it grow by time, where little comes of it.
void a_window_grows_by_what_comes(void **)
{
        for (double const rtt_s : {0.1, 0.2})
                for (int const before : {2, 4, 16}) {
                        seeder s(rtt_s, 50);
                        auto p = met(rtt_s);
                        s.give(600, p, [](lt::time_point) { return all; });
                        s.rest(p, 2);
                        for (int i = 0; i < before; i += 2) {
                                s.give(2, p, [](lt::time_point) { return all; });
                                s.pause(p, milliseconds(100));
                        }
                        double const told = p.ahead(0, s.now()).takes(32);
                        double const took = s.give(32, p, [](lt::time_point) { return all; });
                        if (took > 1.3 * told + 0.03 || took < told / 1.3 - 0.03)
                                fail_msg("after %d blocks, %g s away: %g s, not %g", before, rtt_s,
                                         took, told);
                }
}

// By what came of a piece of 1 MiB, and not only after seconds: a seek takes less than one.
void what_bounds_a_near_one_is_known_by_one_piece(void **)
{
        for (double const rtt_s : {0.02, 0.05, 0.1})
                for (double const mbits : {2.0, 5.0, 10.0}) {
                        int const piece = int(mbits * 2);
                        seeder s(rtt_s, mbits);
                        auto p = met(rtt_s);
                        s.give(piece, p, [&](lt::time_point t) { return p.length(0.25, t); });
                        s.rest(p, 2);
                        double const told = p.ahead(0, s.now()).takes(piece);
                        double const took = s.give(piece, p, [](lt::time_point) { return all; });
                        if (took > 1.3 * told + 0.03 || took < told / 1.3 - 0.03)
                                fail_msg("%d blocks, %g s away, %g Mbit/s: %g s, not %g", piece,
                                         rtt_s, mbits, took, told);
                }
}

// Neither what TCP lets through in the beginning nor what it is asked for tells what it can give.
void who_is_let_give_little_may_give_more(void **)
{
        struct {
                double rtt_s;
                int at_a_time;
        } const lets[] = {{0.05, 4}, {0.05, 8}, {0.2, 4}, {0.2, 8}, {0.2, 1000}};
        for (auto const &let : lets) {
                seeder s(let.rtt_s, 200);
                auto p = met(let.rtt_s);
                s.give(20, p, [&](lt::time_point) { return double(let.at_a_time); });
                s.rest(p, 2);
                double const told = p.ahead(0, s.now()).takes(32);
                double const took = s.give(32, p, [](lt::time_point) { return all; });
                if (told > 1.7 * took)
                        fail_msg("%d at a time, %g s away: %g s, not %g", let.at_a_time, let.rtt_s,
                                 took, told);
        }
}

// What one more takes that owes some already: not less than the way to it and back.
void what_is_owed_comes_first(void **)
{
        seeder s(0.1, 10);
        auto p = met(0.1);
        s.give(300, p, [&](lt::time_point t) { return p.length(0.8, t); });
        auto const now = s.now(); // 76 blocks a second
        auto const one = p.ahead(1, now), many = p.ahead(40, now);
        assert_true(one.takes(2) >= 0.1 && one.takes(2) < 0.14);
        assert_true(many.takes(41) > 0.45 && many.takes(41) < 0.65);
        assert_true(one.gives(0.05) <= 1);
        assert_true(many.gives(0.05) > 3);
        assert_true(many.gives(0) == 0);
        assert_true(p.ahead(0, now).takes(1e9) == 60);
}

// TCP begins anew after a rest that is long, and not after a short one.
void a_short_rest_costs_nothing(void **)
{
        for (bool const is_long : {false, true}) {
                seeder s(0.1, 50);
                auto p = met(0.1);
                s.give(2000, p, [&](lt::time_point t) { return p.length(0.8, t); });
                auto const then = s.now() + milliseconds(is_long ? 1000 : 50);
                p.received(then, s.come(), 0);
                double const took = p.ahead(0, then).takes(32);
                assert_true(is_long ? took > 0.45 : took < 0.25);
        }
}

// The first byte takes its time where it has just been asked.
void what_it_was_just_asked_for_is_not_there_yet(void **)
{
        auto const now = lt::time_point() + std::chrono::hours(1);
        auto p = met(0.2);
        p.begins(now);
        auto const ahead = p.ahead(4, now + milliseconds(100));
        assert_true(ahead.gives(0.09) == 0);
        assert_true(ahead.gives(0.15) > 0 && ahead.gives(0.15) < 4);
        assert_true(p.ahead(0, now).gives(0.19) == 0);
}

void one_that_gives_nothing_is_found_out(void **)
{
        auto const now = lt::time_point() + std::chrono::hours(1);
        auto p = met(0.2);
        p.begins(now);
        assert_false(p.gives_nothing(2, now + milliseconds(800)));
        assert_true(p.gives_nothing(2, now + milliseconds(1000)));
        assert_false(p.gives_nothing(0, now + milliseconds(1000)));
        seeder s(0.2, 10);
        auto q = met(0.2);
        s.give(8, q, [](lt::time_point) { return all; });
        assert_false(q.gives_nothing(2, s.now() + milliseconds(1000)));
}

// What was lost comes later, and with it all that came behind it.
void a_burst_is_no_rate(void **)
{
        auto p = met(0.25);
        auto now = lt::time_point() + std::chrono::hours(1);
        double come = 0, given = 0;
        p.begins(now);
        for (int i = 0; i < 4000; i++) { // 20 s
                now += step;
                come += 6 * block_bytes * step_s; // 6 blocks a second
                if (i % 400 >= 100)               // of two seconds half a one is silence
                        given = come;
                p.received(now, std::int64_t(given), 4);
                if (i > 2000)
                        assert_true(p.rate(now) < 2 * 6);
        }
}

// One that sends what it was asked for each half second: Transmission. The answer to a handshake
// comes anywhere in that time.
class by_the_clock
{
      public:
        explicit by_the_clock(milliseconds hands)
        {
                m_pipe.shook_hands(hands);
        }
        // It is asked for so many blocks, and sends all.
        void give(int blocks)
        {
                m_pipe.begins(m_now);
                go_on(blocks);
        }
        // The same where it owed something until then.
        void go_on(int blocks)
        {
                auto const asked = m_now;
                while (m_now + look < m_next) {
                        m_now += look;
                        m_pipe.received(m_now, m_bytes, std::size_t(blocks));
                }
                m_now = m_next;
                m_next += pulse;
                for (int owed = blocks; owed > 0; owed--) {
                        m_bytes += block_bytes;
                        m_pipe.answered(m_now - asked);
                        m_pipe.received(m_now, m_bytes, std::size_t(owed));
                }
        }
        void rest(milliseconds time)
        {
                m_now += time;
        }
        int length() const
        {
                return int(m_pipe.length(0.25, m_now));
        }

      private:
        static constexpr auto look = milliseconds(125), pulse = milliseconds(500);

        pipeline m_pipe;
        lt::time_point m_now = lt::time_point() + std::chrono::hours(1), m_next = m_now + pulse;
        std::int64_t m_bytes = 0;
};

// Each time it is done before its mean is known.
void short_runs_take_nothing_away(void **)
{
        for (int const hands : {20, 40, 45, 50, 200}) {
                by_the_clock s{milliseconds(hands)};
                s.give(200);
                for (int i = 0; i < 10; i++)
                        s.go_on(200);
                for (int i = 0; i < 20; i++) {
                        s.rest(milliseconds(15));
                        s.give(64);
                }
                s.rest(milliseconds(30));
                s.give(1); // as libtorrent asks in end game
                s.rest(milliseconds(15));
                assert_true(s.length() >= 60);
        }
}

} // namespace

int main()
{
        CMUnitTest const tests[] = {
                cmocka_unit_test(a_seeder_grows_as_fast_as_tcp_lets_it),
                cmocka_unit_test(one_that_called_us_is_asked_for_no_less),
                cmocka_unit_test(a_slow_one_is_asked_for_little),
                cmocka_unit_test(what_nothing_is_known_of),
                cmocka_unit_test(after_a_rest_it_is_known),
                cmocka_unit_test(who_gives_less_is_found_out),
                cmocka_unit_test(how_long_it_takes_is_known_before),
                cmocka_unit_test(a_window_grows_by_what_comes),
                cmocka_unit_test(what_bounds_a_near_one_is_known_by_one_piece),
                cmocka_unit_test(who_is_let_give_little_may_give_more),
                cmocka_unit_test(what_is_owed_comes_first),
                cmocka_unit_test(a_short_rest_costs_nothing),
                cmocka_unit_test(what_it_was_just_asked_for_is_not_there_yet),
                cmocka_unit_test(one_that_gives_nothing_is_found_out),
                cmocka_unit_test(a_burst_is_no_rate),
                cmocka_unit_test(short_runs_take_nothing_away),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
