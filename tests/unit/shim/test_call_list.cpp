// SPDX-License-Identifier: MIT
// test_call_list.cpp: of an address that is known at several ports each is called in turn, and no
// word of others takes the place of what has given something.
#include <chrono>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "call_list.hpp"

#include <libtorrent/address.hpp>

// Last: it makes a macro of fail().
extern "C" {
#include <cmocka.h>
}

namespace
{

using endpoint = call_list::endpoint;

endpoint at(char const *address, int port)
{
        return {lt::make_address(address), std::uint16_t(port)};
}

lt::time_point when(int seconds)
{
        return lt::time_point(std::chrono::seconds(1000 + seconds));
}

void assert_called(call_list &list, int now, std::set<endpoint> const &in_use,
                   std::vector<endpoint> const &expected)
{
        assert_true(list.next(when(now), in_use) == expected);
}

void test_ports_of_an_address_in_turn(void **)
{
        call_list list(10);
        assert_true(list.add(at("10.0.0.1", 1000), when(0), {}));
        list.gave(at("10.0.0.1", 1000));
        assert_true(list.add(at("10.0.0.2", 7000), when(0), {}));
        assert_false(list.add(at("10.0.0.1", 1000), {}, {}));
        assert_true(list.add(at("10.0.0.1", 2000), {}, {}));
        assert_called(list, 1, {}, {at("10.0.0.1", 2000), at("10.0.0.2", 7000)});
        assert_called(list, 2, {}, {at("10.0.0.1", 1000), at("10.0.0.2", 7000)});
        assert_called(list, 3, {}, {at("10.0.0.1", 2000), at("10.0.0.2", 7000)});
}

void test_nobody_is_called_where_somebody_is(void **)
{
        call_list list(10);
        list.add(at("10.0.0.1", 1000), when(0), {});
        list.add(at("10.0.0.2", 7000), when(0), {});
        assert_called(list, 1, {at("10.0.0.1", 45678)}, {at("10.0.0.2", 7000)});
}

// In an outage the good port is called a thousand times, and another is told of meanwhile.
void test_many_calls_of_one_port_are_no_debt_of_another(void **)
{
        call_list list(10);
        list.add(at("10.0.0.1", 1000), when(0), {});
        list.gave(at("10.0.0.1", 1000));
        for (int i = 1; i <= 1000; i++)
                assert_called(list, i, {}, {at("10.0.0.1", 1000)});
        list.add(at("10.0.0.1", 2000), when(1001), {at("10.0.0.1", 1000)});
        assert_called(list, 1002, {}, {at("10.0.0.1", 1000)});
        assert_called(list, 1003, {}, {at("10.0.0.1", 2000)});
        assert_called(list, 1004, {}, {at("10.0.0.1", 1000)});
}

// Lies about ports push out neither what gave something, nor what is in use, nor what was first.
void test_what_others_say_displaces_nothing(void **)
{
        call_list list(10);
        auto const first = at("10.0.0.1", 9000), used = at("10.0.0.1", 9001),
                   good = at("10.0.0.1", 9002);
        list.add(first, when(0), {});
        list.add(used, when(0), {used});
        list.add(good, when(0), {used, good});
        list.gave(good);
        for (int port = 1; port <= 500; port++)
                list.add(at("10.0.0.1", port), {}, {used});
        assert_true(list.has(first));
        assert_true(list.has(used));
        assert_true(list.is_good(good));
        assert_true(list.has(at("10.0.0.1", 500)));
        assert_int_equal(list.size(), 4);
}

void test_those_that_gave_something_stay_longest(void **)
{
        call_list list(3);
        list.add(at("10.0.0.1", 1), when(0), {});
        list.gave(at("10.0.0.1", 1));
        for (int i = 2; i <= 9; i++)
                list.add(endpoint(lt::address_v4(0x0a000000u + unsigned(i)), 1), when(0), {});
        assert_int_equal(list.size(), 3);
        assert_true(list.is_good(at("10.0.0.1", 1)));
        assert_true(list.has_good());
        assert_true(list.good() == std::vector<endpoint>{at("10.0.0.1", 1)});
}

void test_several_may_share_an_address(void **)
{
        call_list list(10);
        list.begin(true);
        for (int port = 1; port <= 4; port++)
                list.add(at("127.0.0.1", port), {}, {});
        assert_false(list.has_address(at("127.0.0.1", 5)));
        assert_called(list, 1, {at("127.0.0.1", 2)},
                      {at("127.0.0.1", 1), at("127.0.0.1", 3), at("127.0.0.1", 4)});
}

} // namespace

int main()
{
        const CMUnitTest tests[] = {
                cmocka_unit_test(test_ports_of_an_address_in_turn),
                cmocka_unit_test(test_nobody_is_called_where_somebody_is),
                cmocka_unit_test(test_many_calls_of_one_port_are_no_debt_of_another),
                cmocka_unit_test(test_what_others_say_displaces_nothing),
                cmocka_unit_test(test_those_that_gave_something_stay_longest),
                cmocka_unit_test(test_several_may_share_an_address),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
