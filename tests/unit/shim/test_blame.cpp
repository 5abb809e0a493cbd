// SPDX-License-Identifier: MIT
// test_blame.cpp: which blocks a peer may give: those that it was asked for, once.
#include "blame.hpp" // before cmocka.h, whose fail() is a macro

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

extern "C" {
#include <cmocka.h>
}

namespace
{

constexpr int block = 16 * 1024;

lt::peer_request at(int piece, int number)
{
        return {lt::piece_index_t(piece), number * block, block};
}

void a_block_is_taken_once_and_only_when_it_was_asked_for(void **)
{
        requests r;
        r.set_fast(true);
        r.sent(at(1, 2));
        assert_false(r.answered(at(1, 1)));
        assert_false(r.answered(at(2, 2)));
        assert_true(r.answered(at(1, 2)));
        assert_false(r.answered(at(1, 2)));
}

// BEP 6: it is said of each request whether it will be answered.
void what_a_peer_rejects_it_may_not_give(void **)
{
        requests r;
        r.set_fast(true);
        r.sent(at(1, 2));
        r.rejected(at(1, 2));
        assert_false(r.answered(at(1, 2)));
}

// Without BEP 6 the answer to a request that was taken back may be on the way.
void who_can_not_reject_may_be_late(void **)
{
        requests r;
        for (int i = 0; i < 1000; i++)
                r.sent(at(i, 0));
        for (int i = 0; i < 1000; i++)
                r.rejected(at(i, 0));
        for (int i = 0; i < 1000; i++)
                assert_true(r.answered(at(i, 0)));
        assert_false(r.is_flooded());
}

void a_flood_is_seen_before_a_mebibyte_and_some_stray_blocks_are_none(void **)
{
        requests r;
        int sent = 0;
        while (!r.is_flooded() && sent < 1000)
                assert_false(r.answered(at(sent++, 0)));
        assert_in_range(sent, 32, 80);

        requests honest;
        for (int i = 0; i < 1000; i++) {
                honest.sent(at(i, 0));
                assert_true(honest.answered(at(i, 0)));
                if (i % 4 == 0)
                        assert_false(honest.answered(at(i, 1)));
                assert_false(honest.is_flooded());
        }
}

void requests_that_are_never_answered_take_bounded_memory(void **)
{
        requests r;
        for (int i = 0; i < 100'000; i++)
                r.sent(at(i, 0));
        assert_false(r.answered(at(0, 0)));
        assert_true(r.answered(at(99'999, 0)));
}

} // namespace

int main()
{
        const CMUnitTest tests[] = {
                cmocka_unit_test(a_block_is_taken_once_and_only_when_it_was_asked_for),
                cmocka_unit_test(what_a_peer_rejects_it_may_not_give),
                cmocka_unit_test(who_can_not_reject_may_be_late),
                cmocka_unit_test(a_flood_is_seen_before_a_mebibyte_and_some_stray_blocks_are_none),
                cmocka_unit_test(requests_that_are_never_answered_take_bounded_memory),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
