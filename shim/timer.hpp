// SPDX-License-Identifier: MIT
// timer.hpp: timers of the network thread. All of the shim's are these.
//
// A handler of asio's that was queued when its timer was cancelled, set anew or destroyed runs all
// the same, and is told of success: asio looks at what it is told when the time is up, not when the
// handler runs. Here such a handler finds that it is not meant any more.
#pragma once

#include <libtorrent/io_context.hpp>
#include <libtorrent/time.hpp>

#include <functional>
#include <memory>
#include <utility>

// Part of an object that a shared_ptr owns. Network thread only.
class timer
{
      public:
        // From here on it can be started; io outlives it, or end() comes before io ends.
        void begin(lt::io_context &io);
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
                // Held until the call is over: it may be what lets go of the owner.
                run_in(in, [owner = std::move(owner), what = std::move(what)] {
                        if (auto const o = owner.lock())
                                what(*o);
                });
        }

      private:
        struct state;
        void run_in(lt::time_duration in, std::function<void()> what);

        std::shared_ptr<state> m_state; // the one reference that stays
};

// Calls what() once, in so much time; nobody can stop it. What that throws is dropped. Network
// thread only.
void call_later(lt::io_context &io, lt::time_duration in, std::function<void()> what);
