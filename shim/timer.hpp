// SPDX-License-Identifier: MIT
// timer.hpp: timers of the network thread. All of the shim's are these.
//
// A handler of asio's that was queued when its timer was cancelled, set anew or destroyed runs all
// the same, and is told of success: asio looks at what it is told when the time is up, not when the
// handler runs. Here such a handler finds that it is not meant any more.
#pragma once

#include "error.hpp"

#include <libtorrent/io_context.hpp>
#include <libtorrent/time.hpp>

#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <memory>
#include <utility>

// Part of an object that a shared_ptr owns. Network thread only.
class timer
{
      public:
        // From here on it can be started; io outlives it, or end() comes before io ends.
        void begin(lt::io_context &io)
        {
                m_state.reset(new state{boost::asio::steady_timer(io), 0});
        }
        // Nothing is called any more and nothing of io is used. Before begin() and after end()
        // start() does nothing.
        void end() noexcept
        {
                m_state.reset();
        }
        explicit operator bool() const noexcept
        {
                return m_state != nullptr;
        }
        // Calls what(*owner) once, unless owner is gone by then, end() was called or it was started
        // anew. What that throws is dropped.
        template <typename Owner, typename F>
        void start(lt::time_duration in, std::weak_ptr<Owner> owner, F what)
        {
                if (!m_state)
                        return;
                auto const turn = ++m_state->turn;
                m_state->alarm.expires_after(in);
                m_state->alarm.async_wait(
                        [s = std::weak_ptr<state>(m_state), turn, owner = std::move(owner),
                         what = std::move(what)](boost::system::error_code const &) mutable {
                                auto const still = s.lock();
                                // Held until the call is over: it may be what lets go of the owner.
                                auto const o = owner.lock();
                                if (!still || still->turn != turn || !o)
                                        return;
                                (void)guarded(nullptr, [&] {
                                        what(*o);
                                        return 0;
                                });
                        });
        }

      private:
        struct state {
                boost::asio::steady_timer alarm;
                std::uint64_t turn; // of start()
        };
        std::shared_ptr<state> m_state; // the one reference that stays
};

// Calls what() once, in so much time; nobody can stop it. What that throws is dropped. Network
// thread only.
template <typename F> void call_later(lt::io_context &io, lt::time_duration in, F what)
{
        auto const alarm = std::make_shared<boost::asio::steady_timer>(io, in);
        alarm->async_wait(
                [alarm, what = std::move(what)](boost::system::error_code const &) mutable {
                        (void)guarded(nullptr, [&] {
                                what();
                                return 0;
                        });
                });
}
