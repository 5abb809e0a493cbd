// SPDX-License-Identifier: MIT
// pipeline.hpp: how many requests one peer is to have in flight.
#pragma once

#include <libtorrent/time.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

// What one peer gives, and how long it takes to: so much it is asked for at a time. A peer that
// starts, or starts again after a rest, gives twice as much in each round trip (TCP's slow start),
// and is asked for more than it gives yet. Bytes and blocks are of content. No thread of its own.
class pipeline
{
      public:
        // The answer to our handshake took so long; 0: not known, as it has called us.
        void shook_hands(lt::time_duration took);
        // It is asked for something and owed nothing before.
        void begins(lt::time_point now);
        lt::time_point began() const
        {
                return m_began;
        }
        // So many bytes have come from it in all, and it owes so many blocks, or did until now.
        void received(lt::time_point now, std::int64_t bytes, std::size_t owed);
        // A block came so long after it was asked for.
        void answered(lt::time_duration took);

        // Blocks a second that it is likely to give; 0: nothing is known.
        double rate(lt::time_point now) const;
        // It was asked for something, has never given anything and should have.
        bool gives_nothing(std::size_t owed, lt::time_point now) const;
        // Blocks a second that it gives at present, or is likely to if it has just begun.
        double present(lt::time_point now) const;
        // How many requests are to be in flight that it is busy for so many seconds when the next
        // one reaches it. At least 1.
        double length(double rest_s, lt::time_point now) const;
        // What is to come of it, as it looks at one moment.
        class outlook
        {
              public:
                // Blocks that come in so many seconds from then on, if it is asked for as many:
                // first the ones that it owes already.
                double gives(double in_s) const;
                // Seconds until so many blocks have come, likewise; no more than takes_max_s.
                double takes(double blocks) const;
                // Times beyond this are not told apart.
                static constexpr double takes_max_s = 60;

              private:
                friend class pipeline;
                double sent_by(double start_s) const;

                double m_rate = 0, m_trip_s = 0, m_owed = 0;
                double m_dead_s = 0;  // until the first byte
                double m_start_s = 0; // since TCP's slow start began
        };
        // It owes so many blocks.
        outlook ahead(std::size_t owed, lt::time_point now) const;
        // Seconds from a request to the first byte of the answer, or less than a block more.
        double away_s() const;

      private:
        struct sample {
                lt::time_point at;
                std::int64_t bytes;
        };
        void grow(double rate, std::size_t owed, lt::time_point now, lt::time_duration span);
        void look_for_bound(lt::time_point now);
        double gave(lt::time_point now) const;
        double likely(lt::time_point now) const;
        double span_s() const;
        double bytes_at(lt::time_point t) const;
        bool is_cold(lt::time_point now) const;
        double window() const;
        double started_s(double window) const;

        lt::time_point m_began;
        std::int64_t m_slow_bytes = 0;                // had come when TCP's slow start began
        std::size_t m_most_owed = 0;                  // at a time since then
        double m_started_s = 0;                       // so far slow start was when it began
        lt::time_point m_latest;                      // bytes came
        std::int64_t m_bytes = 0, m_bytes_before = 0; // so many have come; before it began
        lt::time_duration m_quickest = lt::time_duration::max(); // from a request to its block
        lt::time_duration m_hands{};
        std::deque<sample> m_samples; // of the last second
        double m_mean = 0;            // blocks a second in that time
        // Until it does not grow any more: the greatest rate of a span; what it was when it had
        // grown last; the spans since then, and when the present one began.
        bool m_full = false;
        double m_peak = 0, m_base = 0;
        unsigned m_without = 0;
        lt::time_point m_span_at;
        // What it gave of late, where TCP and our requests let it give much more; else 0. And what
        // it owed since it began, in blocks times seconds.
        double m_bound = 0, m_load = 0;
        // The greatest rates of the last epochs in which it was busy, the present one first.
        std::array<double, 8> m_greatest{};
        double m_busy_s = 0; // of the present epoch
};
