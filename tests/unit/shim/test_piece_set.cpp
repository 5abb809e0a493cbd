// SPDX-License-Identifier: MIT
// test_piece_set.cpp: pieces as a bitmap, against a std::set, with every operation the anchor uses.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <set>

extern "C" {
#include <cmocka.h>
}

#include "piece_set.hpp"

static int next_of(std::set<int> const &s, int from)
{
        auto const i = s.lower_bound(from);
        return i == s.end() ? -1 : *i;
}

static void assert_same(piece_set const &p, std::set<int> const &s, int n)
{
        assert_int_equal(p.count(), int(s.size()));
        for (int i = 0; i < n; i++) {
                assert_int_equal(p.has(i), int(s.count(i)));
                assert_int_equal(p.next(i), next_of(s, i));
        }
        // Past the last piece there is none, however far.
        for (int i : {n, n + 1, n + 63, n + 64, n + 1000})
                assert_int_equal(p.next(i), -1);
        // A peer may tell of any number.
        for (int i : {-1, std::numeric_limits<int>::min(), n, n + 64, n + 1000, 0x7ffffff0})
                assert_false(p.has(i));
}

static void test_full(void **)
{
        for (int n : {0, 1, 63, 64, 65, 127, 128, 129, 1000}) {
                std::set<int> s;
                for (int i = 0; i < n; i++)
                        s.insert(s.end(), i);
                assert_same(piece_set(n), s, n);
        }
}

static void test_random_changes(void **)
{
        for (int n : {1, 64, 65, 300}) {
                std::mt19937 random{std::mt19937::result_type(n)};
                piece_set p(n);
                std::set<int> s;
                for (int i = 0; i < n; i++)
                        s.insert(i);
                for (int round = 0; round < 2000; round++) {
                        int const piece = int(random() % unsigned(n));
                        if (random() % 3 == 0) {
                                p.insert(piece);
                                s.insert(piece);
                        } else {
                                p.erase(piece);
                                s.erase(piece);
                        }
                        assert_int_equal(p.count(), int(s.size()));
                        int const from = int(random() % unsigned(n + 2));
                        assert_int_equal(p.next(from), next_of(s, from));
                }
                assert_same(p, s, n);
        }
}

static void test_empty(void **)
{
        piece_set const none;
        assert_int_equal(none.count(), 0);
        assert_int_equal(none.next(0), -1);
        for (int n : {1, 64, 65}) {
                auto p = piece_set::none(n);
                assert_same(p, {}, n);
                p.insert(n - 1);
                assert_same(p, {n - 1}, n);
        }
}

int main()
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_full),
                cmocka_unit_test(test_random_changes),
                cmocka_unit_test(test_empty),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
