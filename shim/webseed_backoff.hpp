// SPDX-License-Identifier: MIT
// webseed_backoff.hpp: when a web seed that failed may be asked again. Pure: the caller knows the
// time.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

class web_backoff
{
      public:
        using clock = std::chrono::steady_clock;

        bool may_be_asked(clock::time_point now) const
        {
                return now >= m_not_before;
        }
        clock::time_point not_before() const
        {
                return m_not_before;
        }
        // It gave a piece, and the piece is right.
        void gave()
        {
                m_failures = m_cuts = 0;
        }
        // It gave nothing of use.
        void failed(clock::time_point now)
        {
                m_not_before = now + waits[std::min(m_failures, waits.size() - 1)];
                m_failures++;
        }
        // It is overloaded and says for how long (RFC 9110 §10.2.3).
        void failed(clock::time_point now, std::chrono::seconds wait)
        {
                failed(now);
                m_not_before = std::max(m_not_before, now + std::clamp(wait, shortest, longest));
        }
        // It was not to blame.
        void later(clock::time_point now)
        {
                m_not_before = now + shortest;
        }
        // It gave less than it was asked for. The first two times it goes on at once: servers and
        // proxies end connections.
        void cut(clock::time_point now)
        {
                if (++m_cuts > cuts_free)
                        failed(now);
        }

      private:
        static constexpr std::chrono::seconds shortest{1}, longest{300};
        static constexpr unsigned cuts_free = 2;
        // Four tries in the first minute, and fewer in each that follows.
        static constexpr std::array<std::chrono::seconds, 7> waits{shortest,
                                                                   std::chrono::seconds(3),
                                                                   std::chrono::seconds(6),
                                                                   std::chrono::seconds(50),
                                                                   std::chrono::seconds(120),
                                                                   std::chrono::seconds(240),
                                                                   longest};

        std::size_t m_failures = 0;
        unsigned m_cuts = 0;
        clock::time_point m_not_before{};
};
