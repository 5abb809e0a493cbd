// SPDX-License-Identifier: MIT
// timer.cpp: the one place that has asio's timers, which take as long to compile as the rest of a
// file of the shim.
#include "timer.hpp"

#include "error.hpp"

#include <boost/asio/steady_timer.hpp>

#include <cstdint>

struct timer::state {
        boost::asio::steady_timer alarm;
        std::uint64_t turn; // of run_in()
};

static void call(std::function<void()> const &what)
{
        (void)guarded(nullptr, [&] {
                what();
                return 0;
        });
}

void timer::begin(lt::io_context &io)
{
        m_state.reset(new state{boost::asio::steady_timer(io), 0});
}

void timer::run_in(lt::time_duration in, std::function<void()> what)
{
        if (!m_state)
                return;
        auto const turn = ++m_state->turn;
        m_state->alarm.expires_after(in);
        m_state->alarm.async_wait([s = std::weak_ptr<state>(m_state), turn,
                                   what = std::move(what)](boost::system::error_code const &) {
                auto const still = s.lock();
                if (still && still->turn == turn)
                        call(what);
        });
}

void call_later(lt::io_context &io, lt::time_duration in, std::function<void()> what)
{
        auto const alarm = std::make_shared<boost::asio::steady_timer>(io, in);
        alarm->async_wait(
                [alarm, what = std::move(what)](boost::system::error_code const &) { call(what); });
}
