// SPDX-License-Identifier: MIT
// test_call_list.cpp: of an address that is known at several ports each is called in turn, and no
// word of others takes the place of what has given something.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <sstream>
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
using endpoints = call_list::endpoints;
using whom = call_list::whom;

// 10.0.0.host
endpoint at(unsigned host, int port)
{
        return {lt::address_v4(0x0a000000U + host), std::uint16_t(port)};
}

void assert_next(call_list &list, whom w, endpoints const &in_use,
                 std::vector<endpoint> const &expected)
{
        assert_true(list.next(w, in_use) == expected);
}

// As assert_next(), and libtorrent dials them.
void assert_called(call_list &list, whom w, std::vector<endpoint> const &expected)
{
        assert_next(list, w, {}, expected);
        for (auto const &e : expected)
                list.called(e);
}

// The ports at which the only address is called in so many turns, 0 where it is not.
std::vector<int> turns(call_list &list, int n)
{
        std::vector<int> r;
        for (int i = 0; i < n; i++) {
                auto const next = list.next(whom::due, {});
                for (auto const &e : next)
                        list.called(e);
                r.push_back(next.empty() ? 0 : int(next.front().port()));
        }
        return r;
}

void connect(call_list &list, endpoint const &e, endpoints &in_use)
{
        in_use.insert(e);
        list.use(e, in_use);
        list.called(e);
}

// It was connected and has given something, and is gone.
void gave(call_list &list, endpoint const &e)
{
        endpoints in_use;
        connect(list, e, in_use);
        list.gave(e, in_use);
}

// ---- whom to call ----

// Nothing is said for either: each has its turn, the latest to be told of first.
void test_ports_of_an_address_in_turn(void **)
{
        call_list list(10);
        list.add(at(1, 1000), {});
        list.add(at(1, 2000), {});
        list.add(at(2, 7000), {});
        assert_false(list.add(at(1, 1000), {}));
        assert_called(list, whom::all, {at(1, 2000), at(2, 7000)});
        assert_called(list, whom::all, {at(1, 1000), at(2, 7000)});
        assert_called(list, whom::all, {at(1, 2000), at(2, 7000)});
        assert_called(list, whom::all, {at(1, 1000), at(2, 7000)});
}

void test_nobody_is_called_where_somebody_is(void **)
{
        call_list list(10);
        list.add(at(1, 1000), {});
        list.add(at(2, 7000), {});
        for (auto const w : {whom::all, whom::due})
                assert_next(list, w, {at(1, 45678)}, {at(2, 7000)});
}

// In an outage the good port is called a thousand times, and another is told of meanwhile.
void test_many_calls_of_one_port_are_no_debt_of_another(void **)
{
        call_list list(10);
        gave(list, at(1, 1000));
        assert_true(turns(list, 1000) == std::vector<int>(1000, 1000));
        list.add(at(1, 2000), {});
        assert_true(turns(list, 4) == std::vector<int>({2000, 1000, 2000, 1000}));
}

// The other is called more and more seldom.
void test_what_has_given_something_has_every_second_turn_at_least(void **)
{
        call_list list(10);
        gave(list, at(1, 1000));
        turns(list, 1);
        list.add(at(1, 2000), {});
        int others = 0, in_a_row = 0;
        for (int const port : turns(list, 160)) {
                in_a_row = port == 1000 ? 0 : in_a_row + 1;
                others += in_a_row;
                assert_true(in_a_row <= 1);
        }
        assert_in_range(others, 10, 15);
}

void test_new_words_do_not_keep_what_has_given_something_from_being_called(void **)
{
        call_list list(10);
        gave(list, at(1, 1000));
        int good = 0;
        for (int i = 1; i <= 100; i++) {
                list.add(at(1, 2000 + i), {});
                good += turns(list, 1).front() == 1000;
        }
        assert_int_equal(good, 50);
}

// The one that was called longest ago.
void test_two_ports_that_gave_something_share_those_turns(void **)
{
        call_list list(10);
        gave(list, at(1, 1000));
        gave(list, at(1, 2000));
        assert_true(turns(list, 4) == std::vector<int>({1000, 2000, 1000, 2000}));
}

// An incoming peer says where it is called, and nobody has called it yet: the latest to give.
void test_of_two_that_were_never_called_the_latest_to_give_is_first(void **)
{
        call_list list(10);
        endpoints const in_use = {at(1, 1000), at(1, 2000)};
        list.use(at(1, 1000), in_use);
        list.use(at(1, 2000), in_use);
        list.gave(at(1, 2000), in_use);
        list.gave(at(1, 1000), in_use);
        assert_true(turns(list, 3) == std::vector<int>({1000, 2000, 1000}));
}

void test_who_never_gave_anything_is_called_more_and_more_seldom(void **)
{
        call_list list(10);
        list.add(at(1, 1000), {});
        std::vector<int> when;
        auto const ports = turns(list, 66);
        for (std::size_t i = 0; i < ports.size(); i++)
                if (ports[i] != 0)
                        when.push_back(int(i));
        assert_true(when == std::vector<int>({0, 1, 3, 7, 15, 31, 47, 63}));
        // Who calls all of them does not ask for that.
        for (int i = 0; i < 3; i++)
                assert_called(list, whom::all, {at(1, 1000)});
        for (int i = 0; i < 2; i++)
                assert_next(list, whom::all, {}, {at(1, 1000)});
        auto const later = turns(list, 16);
        assert_true(std::vector<int>(later.begin(), later.end() - 1) == std::vector<int>(15, 0));
        assert_int_equal(later.back(), 1000);
}

// Who gives something is there, whatever was told of its address before: of that nothing is news.
void test_news_are_ports_that_were_never_called(void **)
{
        call_list list(10);
        list.add(at(1, 1000), {});
        list.add(at(2, 1000), {});
        list.add(at(2, 2000), {});
        assert_next(list, whom::news, {}, {}); // libtorrent has called none of them
        list.called(at(2, 2000));
        assert_true(list.has_news_of(at(2, 2000)));
        assert_true(list.is_new(at(2, 2000)));
        assert_called(list, whom::news, {at(2, 1000)});
        assert_next(list, whom::news, {}, {});
        list.called(at(2, 2000));
        assert_false(list.is_new(at(2, 2000)));

        list.add(at(1, 2000), {});
        gave(list, at(1, 3000));
        assert_false(list.has_news_of(at(1, 3000)));
        assert_false(list.is_new(at(1, 3000)));
        assert_next(list, whom::news, {}, {});
        list.add(at(1, 4000), {});
        assert_true(list.has_news_of(at(1, 3000)));
        assert_called(list, whom::news, {at(1, 4000)});

        list.gave(at(3, 1000), {}); // it has called us
        list.add(at(3, 2000), {});
        assert_called(list, whom::news, {at(3, 2000)});
}

// libtorrent dials in its own time: until then the port is the same. What it never dials has no
// more than three turns.
void test_a_turn_ends_when_the_port_is_dialled(void **)
{
        call_list list(10);
        list.add(at(1, 1000), {});
        list.called(at(1, 1000));
        list.add(at(1, 2000), {});
        for (int i = 0; i < 3; i++)
                assert_next(list, whom::all, {}, {at(1, 2000)});
        assert_next(list, whom::all, {}, {at(1, 1000)});
        assert_called(list, whom::all, {at(1, 1000)});
        assert_next(list, whom::all, {}, {at(1, 2000)});
}

void test_several_may_share_an_address(void **)
{
        call_list list(10);
        list.begin(true);
        for (int port = 1; port <= 4; port++)
                list.add(at(1, port), {});
        assert_int_equal(list.size(), 4);
        assert_false(list.hear(at(1, 5), {}));
        assert_false(list.has(at(1, 5)));
        assert_next(list, whom::all, {at(1, 2)}, {at(1, 1), at(1, 3), at(1, 4)});
        for (int port = 1; port <= 4; port++)
                gave(list, at(1, port));
        assert_true(list.good() == std::vector<endpoint>({at(1, 4), at(1, 3), at(1, 2), at(1, 1)}));
}

// ---- what is known ----

void test_the_latest_to_give_is_first(void **)
{
        call_list list(10);
        gave(list, at(1, 1000));
        gave(list, at(2, 1000));
        gave(list, at(1, 2000));
        list.add(at(3, 1000), {});
        assert_true(list.good() == std::vector<endpoint>({at(1, 2000), at(2, 1000)}));
        list.gave(at(2, 1000), {});
        list.gave(at(1, 1000), {});
        assert_true(list.good() == std::vector<endpoint>({at(1, 1000), at(2, 1000)}));
}

// The trackers name two ports of an address that nobody has called yet; libtorrent calls the last.
void test_what_is_heard_of_an_unknown_address_is_remembered(void **)
{
        call_list list(10);
        for (int port = 1; port <= 5; port++)
                assert_false(list.hear(at(1, port), {}));
        for (int i = 0; i < 1000; i++)
                list.hear(at(1000U + unsigned(i), 1), {});
        assert_int_equal(list.size(), 0);
        endpoints in_use;
        connect(list, at(1, 5), in_use);
        assert_int_equal(list.size(), 1); // too many others came after it
        list.hear(at(2, 1), in_use);
        list.hear(at(2, 2), in_use);
        list.hear(at(2, 2), in_use);
        connect(list, at(2, 2), in_use);
        assert_int_equal(list.size(), 3);
        assert_next(list, whom::news, {}, {at(2, 1)});
        assert_true(list.hear(at(2, 3), in_use));
        assert_false(list.hear(at(2, 3), in_use));
        // It may be told of often.
        list.hear(at(3, 1), in_use);
        for (int i = 0; i < 1000; i++)
                list.hear(at(4, 1), in_use);
        connect(list, at(3, 2), in_use);
        assert_true(list.has(at(3, 1)));
}

// Lies about ports push out neither what gave something, nor what is in use or was named, nor what
// was first.
void test_what_others_say_displaces_nothing_of_its_address(void **)
{
        call_list list(10);
        auto const first = at(1, 9000), used = at(1, 9001), good = at(1, 9002), named = at(1, 9003);
        endpoints const in_use = {used};
        list.add(named, {});
        list.name(named, {});
        gave(list, good);
        list.add(first, {});
        list.use(used, in_use);
        for (int port = 1; port <= 500; port++)
                list.add(at(1, port), in_use);
        for (auto const &e : {first, used, named, at(1, 500)})
                assert_true(list.has(e));
        assert_true(list.is_good(good));
        assert_int_equal(list.size(), 5);
}

// A liar says another port in each of its connections and gives something at each.
void test_an_address_has_two_ports_that_gave_something(void **)
{
        call_list list(50);
        for (unsigned host = 1; host <= 20; host++)
                gave(list, at(host, 1));
        for (int port = 1; port <= 60; port++) {
                gave(list, at(99, port));
                list.gave(at(99, 1), {}); // as it does all the while
        }
        for (unsigned host = 1; host <= 20; host++)
                assert_true(list.is_good(at(host, 1)));
        assert_int_equal(list.size(), 22);
        assert_true(list.is_good(at(99, 60)));
        assert_true(list.is_good(at(99, 1)));
}

// That which is in use stays.
void test_of_ports_that_gave_something_those_in_use_stay(void **)
{
        call_list list(50);
        endpoints in_use;
        connect(list, at(1, 1), in_use);
        list.gave(at(1, 1), in_use);
        gave(list, at(1, 2));
        gave(list, at(1, 3)); // forgets of the first that it is in use
        connect(list, at(1, 4), in_use);
        list.gave(at(1, 4), in_use);
        list.gave(at(1, 1), in_use);
        connect(list, at(1, 5), in_use);
        list.gave(at(1, 5), in_use);
        for (int const port : {1, 4, 5})
                assert_true(list.is_good(at(1, port)));
        assert_false(list.has(at(1, 2)));
        assert_false(list.has(at(1, 3)));
}

// ---- where there is no room ----

// "host:port host:port …"
std::vector<endpoint> ends(char const *text)
{
        std::istringstream in(text);
        std::vector<endpoint> r;
        unsigned host = 0;
        int port = 0;
        for (char colon = 0; in >> host >> colon >> port;)
                r.push_back(at(host, port));
        return r;
}

enum class how { ADD, USE, NAME, GIVE };

// Four that are known, in this order, and one more. Which of the five goes; the one more itself has
// no place then.
struct full {
        char const *what, *good, *in_use, *named, *told;
        enum how how;
        char const *more, *goes;
};

void test_who_goes_when_there_is_no_room(void **)
{
        constexpr auto ADD = how::ADD, USE = how::USE, NAME = how::NAME, GIVE = how::GIVE;
        full const table[] = {
                {"a word displaces nothing", "", "", "", "1:1 2:1 2:2 3:1", ADD, "9:1", "9:1"},
                {"nor another port", "", "", "", "1:1 2:1 3:1 4:1", ADD, "4:2", "4:2"},
                {"nor what was named", "9:9", "", "1:1 2:1 3:1", "", ADD, "9:1", "9:1"},
                {"nor what gave", "1:1 2:1 3:1 9:9", "", "", "", ADD, "9:1", "9:1"},
                {"but words, of one that gave", "9:9", "", "", "1:1 2:1 3:1", ADD, "9:1", "1:1"},
                {"a name: second ports", "", "", "", "1:1 2:1 3:1 3:2", NAME, "9:1", "3:1"},
                {"then other words", "1:1", "", "2:1", "3:1 4:1", NAME, "9:1", "3:1"},
                {"and no other name", "", "", "1:1 2:1 3:1 4:1", "", NAME, "9:1", "9:1"},
                {"what is in use: words", "", "", "1:1 2:1", "3:1 4:1", USE, "9:1", "3:1"},
                {"then names", "1:1", "2:1", "3:1 4:1", "", USE, "9:1", "3:1"},
                {"and not what gave", "1:1 2:1 3:1", "4:1", "", "", USE, "9:1", "9:1"},
                {"nor what is in use", "", "1:1 2:1 3:1 4:1", "", "", USE, "9:1", "9:1"},
                {"who gives: those who did not", "1:1 2:1", "3:1", "4:1", "", GIVE, "9:1", "4:1"},
                {"then of most ports", "1:1 2:2 2:1 3:1", "", "", "", GIVE, "9:1", "2:2"},
                {"the longest ago", "1:1 2:1 3:1 4:1 1:1", "", "", "", GIVE, "9:1", "2:1"},
                {"not who is in use", "4:1", "1:1 2:1 3:1", "", "", GIVE, "9:1", "4:1"},
                {"but as the last", "", "1:1 2:1 3:1 4:1", "", "", GIVE, "9:1", "1:1"},
        };
        for (auto const &f : table) {
                call_list list(4);
                endpoints in_use;
                auto const more = ends(f.more).front(), goes = ends(f.goes).front();
                std::vector<endpoint> all{more};
                for (auto const *const part : {f.good, f.in_use, f.named, f.told})
                        for (auto const &e : ends(part))
                                all.push_back(e);
                for (auto const &e : ends(f.good))
                        gave(list, e);
                for (auto const &e : ends(f.in_use))
                        connect(list, e, in_use);
                for (auto const &e : ends(f.named))
                        list.name(e, in_use);
                for (auto const &e : ends(f.told))
                        list.add(e, in_use);
                assert_int_equal(list.size(), 4);
                if (f.how == USE)
                        in_use.insert(more);
                switch (f.how) {
                case ADD:
                        list.add(more, in_use);
                        break;
                case USE:
                        list.use(more, in_use);
                        break;
                case NAME:
                        list.name(more, in_use);
                        break;
                case GIVE:
                        list.gave(more, in_use);
                        break;
                }
                assert_int_equal(list.size(), 4);
                for (auto const &e : all)
                        if (list.has(e) == (e == goes))
                                fail_msg("%s: port %d of host %u", f.what, int(e.port()),
                                         unsigned(e.address().to_v4().to_uint() & 255));
        }
}

// A swarm of many dead addresses is dialled, and the one that lives gives something later.
void test_who_gives_is_known_however_many_are_dialled(void **)
{
        call_list list(50);
        endpoints in_use;
        for (unsigned host = 1; host <= 70; host++)
                connect(list, at(host, 1), in_use);
        list.gave(at(1, 1), in_use);
        list.gave(at(70, 1), in_use); // there was no room for it
        endpoints const there = {at(1, 1)};
        for (unsigned host = 100; host <= 200; host++)
                list.use(at(host, 1), there);
        list.gave(at(70, 1), there);
        assert_true(list.is_good(at(1, 1)));
        assert_true(list.is_good(at(70, 1)));
        assert_true(list.has_good());
        assert_int_equal(list.size(), 50);
        list.clear();
        assert_int_equal(list.size(), 0);
        assert_false(list.has_good());
}

} // namespace

int main()
{
        const CMUnitTest tests[] = {
                cmocka_unit_test(test_ports_of_an_address_in_turn),
                cmocka_unit_test(test_nobody_is_called_where_somebody_is),
                cmocka_unit_test(test_many_calls_of_one_port_are_no_debt_of_another),
                cmocka_unit_test(test_what_has_given_something_has_every_second_turn_at_least),
                cmocka_unit_test(
                        test_new_words_do_not_keep_what_has_given_something_from_being_called),
                cmocka_unit_test(test_two_ports_that_gave_something_share_those_turns),
                cmocka_unit_test(test_of_two_that_were_never_called_the_latest_to_give_is_first),
                cmocka_unit_test(test_who_never_gave_anything_is_called_more_and_more_seldom),
                cmocka_unit_test(test_news_are_ports_that_were_never_called),
                cmocka_unit_test(test_a_turn_ends_when_the_port_is_dialled),
                cmocka_unit_test(test_several_may_share_an_address),
                cmocka_unit_test(test_the_latest_to_give_is_first),
                cmocka_unit_test(test_what_is_heard_of_an_unknown_address_is_remembered),
                cmocka_unit_test(test_what_others_say_displaces_nothing_of_its_address),
                cmocka_unit_test(test_an_address_has_two_ports_that_gave_something),
                cmocka_unit_test(test_of_ports_that_gave_something_those_in_use_stay),
                cmocka_unit_test(test_who_goes_when_there_is_no_room),
                cmocka_unit_test(test_who_gives_is_known_however_many_are_dialled),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
