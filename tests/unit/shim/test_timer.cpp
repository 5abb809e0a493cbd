// SPDX-License-Identifier: MIT
// test_timer.cpp: what is queued when a timer is stopped, set anew or destroyed does not run.
//
// The order is forced: of timers that are due when asio looks, all handlers are queued at once, in
// the order of their times; so the first one's handler runs when those of the others are queued.
#include <chrono>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <thread>

#include "timer.hpp"

#include <boost/asio/steady_timer.hpp>

// Last: it makes a macro of fail().
extern "C" {
#include <cmocka.h>
}

using std::chrono::milliseconds;

namespace
{

struct owner {
        timer alarm;
        int calls = 0;
};

void call(owner &o)
{
        o.calls++;
}

// Runs io with both timers due: first at 0 ms, which does what(), and second's at 1 ms.
template <typename F> void run_with_both_due(lt::io_context &io, F what)
{
        auto const first = std::make_shared<owner>();
        first->alarm.begin(io);
        first->alarm.start(milliseconds(0), std::weak_ptr<owner>(first), [&](owner &) { what(); });
        std::this_thread::sleep_for(milliseconds(3));
        io.run();
        io.restart();
}

std::shared_ptr<owner> start_one(lt::io_context &io)
{
        auto o = std::make_shared<owner>();
        o->alarm.begin(io);
        o->alarm.start(milliseconds(1), std::weak_ptr<owner>(o), call);
        return o;
}

} // namespace

// Why there is a class of our own.
static void test_asio_tells_a_queued_handler_of_success(void **)
{
        lt::io_context io;
        auto plain = std::make_unique<boost::asio::steady_timer>(io, milliseconds(1));
        bool ran = false;
        plain->async_wait([&](boost::system::error_code const &ec) { ran = !ec; });
        run_with_both_due(io, [&] { plain.reset(); });
        assert_true(ran);
}

static void test_a_timer_calls_once(void **)
{
        lt::io_context io;
        auto const o = start_one(io);
        io.run();
        assert_int_equal(o->calls, 1);
}

static void test_a_queued_call_is_dropped_by_end(void **)
{
        lt::io_context io;
        auto const o = start_one(io);
        run_with_both_due(io, [&] {
                o->alarm.end();
                o->alarm.start(milliseconds(0), std::weak_ptr<owner>(o), call); // as a tick would
        });
        assert_false(bool(o->alarm));
        assert_int_equal(o->calls, 0);
}

static void test_a_queued_call_is_dropped_when_the_timer_begins_anew(void **)
{
        lt::io_context io;
        auto const o = start_one(io);
        run_with_both_due(io, [&] {
                o->alarm.end();
                o->alarm.begin(io);
        });
        assert_int_equal(o->calls, 0);
}

static void test_of_a_queued_and_a_new_call_the_new_one_comes(void **)
{
        lt::io_context io;
        auto const o = start_one(io);
        int later = 0;
        run_with_both_due(io, [&] {
                o->alarm.start(milliseconds(1), std::weak_ptr<owner>(o), [&](owner &) { later++; });
        });
        assert_int_equal(o->calls, 0);
        assert_int_equal(later, 1);
}

static void test_a_queued_call_is_dropped_with_its_owner(void **)
{
        lt::io_context io;
        auto o = start_one(io);
        int calls = 0;
        o->alarm.start(milliseconds(1), std::weak_ptr<owner>(o), [&](owner &) { calls++; });
        run_with_both_due(io, [&] { o.reset(); });
        assert_int_equal(calls, 0);
}

static void test_the_owner_may_go_in_the_call(void **)
{
        lt::io_context io;
        auto o = start_one(io);
        std::weak_ptr<owner> const still = o;
        bool there = false;
        o->alarm.start(milliseconds(0), std::weak_ptr<owner>(o), [&](owner &x) {
                o.reset();
                there = !still.expired();
                x.alarm.start(milliseconds(0), still, call);
        });
        io.run();
        assert_true(there);
        assert_true(still.expired());
}

static void test_what_is_thrown_ends_nothing(void **)
{
        lt::io_context io;
        auto const o = start_one(io);
        o->alarm.start(milliseconds(0), std::weak_ptr<owner>(o),
                       [](owner &) { throw std::runtime_error("no"); });
        bool called = false;
        call_later(io, milliseconds(0), [&] {
                called = true;
                throw std::runtime_error("no");
        });
        io.run();
        assert_true(called);
}

static void test_it_does_nothing_before_it_begins(void **)
{
        auto const o = std::make_shared<owner>();
        o->alarm.start(milliseconds(0), std::weak_ptr<owner>(o), call);
        o->alarm.end();
        assert_int_equal(o->calls, 0);
}

int main()
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_asio_tells_a_queued_handler_of_success),
                cmocka_unit_test(test_a_timer_calls_once),
                cmocka_unit_test(test_a_queued_call_is_dropped_by_end),
                cmocka_unit_test(test_a_queued_call_is_dropped_when_the_timer_begins_anew),
                cmocka_unit_test(test_of_a_queued_and_a_new_call_the_new_one_comes),
                cmocka_unit_test(test_a_queued_call_is_dropped_with_its_owner),
                cmocka_unit_test(test_the_owner_may_go_in_the_call),
                cmocka_unit_test(test_what_is_thrown_ends_nothing),
                cmocka_unit_test(test_it_does_nothing_before_it_begins),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
