// SPDX-License-Identifier: MIT
// test_ranks.cpp: in what order pieces are asked for by a picker that has of each priority any.
#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "ranks.hpp"

namespace
{

auto const all = [](int) { return true; };
auto const none = [](int) { return false; };
lt::download_priority_t const not_wanted = lt::dont_download;

lt::download_priority_t priority(int n)
{
        return lt::download_priority_t(std::uint8_t(n));
}

// libtorrent's picker, as far as it matters here, and who tells it.
class picker
{
      public:
        picker(int pieces, int blocks, int of_last = 0)
            : m_wishes(std::size_t(pieces), not_wanted), m_told(std::size_t(pieces)),
              m_blocks(blocks), m_of_last(of_last > 0 ? of_last : blocks)
        {
                m_ranks.begin(blocks, pieces - 1, m_of_last);
        }
        void want(int from, int to, int wish)
        {
                m_ranks.turn();
                for (int p = from; p < to; p++) {
                        m_wishes[std::size_t(p)] = priority(wish);
                        m_ranks.change(p, priority(wish));
                }
                for (int p = from; p < to; p++)
                        m_told[std::size_t(p)] = as_told(p);
        }
        int as_told(int piece) const
        {
                auto const wish = m_wishes.at(std::size_t(piece));
                bool const ranked = wish != not_wanted && wish != lt::top_priority;
                return to_number(ranked ? m_ranks.of(piece, wish) : wish);
        }
        void look(ranks::pieces const &open = all, ranks::pieces const &is_there = all)
        {
                for (auto const &c : m_ranks.look(m_left, open, is_there)) {
                        assert_true(open(int(c.first)));
                        assert_int_not_equal(told(int(c.first)), to_number(c.second));
                        m_told.at(std::size_t(int(c.first))) = to_number(c.second);
                }
        }
        int told(int piece) const
        {
                return m_told.at(std::size_t(piece));
        }
        int left(int piece) const
        {
                auto const l = m_left.find(piece);
                if (l != m_left.end())
                        return l->second;
                return piece + 1 == int(m_told.size()) ? m_of_last : m_blocks;
        }
        void leave(int piece, int blocks)
        {
                m_left[piece] = blocks;
        }
        // Asks for so many blocks at once, of any piece of the highest priority first and of what
        // is_there, and looks again where that is due. Which pieces, in their order.
        std::vector<int> ask(int blocks, ranks::pieces const &is_there)
        {
                std::vector<int> found;
                bool due = false;
                while (blocks > 0) {
                        int const piece = pick(is_there);
                        if (piece < 0)
                                break;
                        found.push_back(piece);
                        for (; left(piece) > 0 && blocks > 0; blocks--) {
                                m_left[piece] = left(piece) - 1;
                                due = m_ranks.asked(piece) || due;
                        }
                        m_begun = left(piece) > 0 ? piece : -1;
                }
                if (due)
                        look(all, is_there);
                return found;
        }
        std::vector<int> ask_for_all(int blocks, ranks::pieces const &is_there = all)
        {
                std::vector<int> found;
                for (auto some = ask(blocks, is_there); !some.empty(); some = ask(blocks, is_there))
                        for (int const piece : some)
                                if (found.empty() || found.back() != piece)
                                        found.push_back(piece);
                return found;
        }

      private:
        int pick(ranks::pieces const &is_there)
        {
                std::vector<int> best;
                int most = 1;
                if (m_begun >= 0)
                        return m_begun;
                for (int p = 0; p < int(m_told.size()); p++) {
                        if (told(p) < most || left(p) == 0 || !is_there(p))
                                continue;
                        if (told(p) > most)
                                best.clear();
                        most = told(p);
                        best.push_back(p);
                }
                return best.empty() ? -1 : best[m_random() % best.size()];
        }

        ranks m_ranks;
        std::mt19937 m_random{7};
        std::vector<lt::download_priority_t> m_wishes;
        std::vector<int> m_told;
        std::map<int, int> m_left;
        int m_blocks, m_of_last, m_begun = -1;
};

void assert_same(std::vector<int> const &found, std::vector<int> const &expected)
{
        assert_int_equal(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); i++)
                assert_int_equal(found[i], expected[i]);
}

std::vector<int> from_to(int from, int to)
{
        std::vector<int> r;
        for (int p = from; p < to; p++)
                r.push_back(p);
        return r;
}

// ---- the tests ----

void test_one_after_the_other(void **)
{
        for (int blocks : {16, 64, 256, 1024}) {
                picker p(100, blocks);
                p.want(0, 100, 2);
                p.look();
                assert_same(p.ask_for_all(7), from_to(0, 100));
        }
}

// Of pieces that are smaller those of one rank come in any order, and no others among them.
void test_small_pieces(void **)
{
        constexpr int pieces = 1000, rank = 16;
        picker p(pieces, 1);
        p.want(0, pieces, 5);
        p.look();
        auto const found = p.ask_for_all(1);
        assert_int_equal(found.size(), pieces);
        for (int i = 0; i < pieces; i++)
                assert_int_equal(found[std::size_t(i)] / rank, i / rank);
}

// More at once than is ranked: no piece comes far too early, and none of the farther part of a
// window before the nearer.
void test_much_at_once(void **)
{
        picker p(64, 64);
        p.want(0, 16, 3);
        p.want(16, 64, 2);
        p.look();
        auto const found = p.ask_for_all(500);
        assert_int_equal(found.size(), 64);
        for (int i = 0; i < 3; i++)
                assert_int_equal(found[std::size_t(i)], i);
        for (int i = 3; i < 7; i++)
                assert_in_range(found[std::size_t(i)], 3, 6);
        for (int i = 0; i < 64; i++)
                assert_int_equal(found[std::size_t(i)] < 16, i < 16);
}

void test_what_is_wished_for_more_comes_first(void **)
{
        picker p(40, 64);
        p.want(0, 20, 2);
        p.want(20, 40, 3);
        // What a reader waits for has the top priority, and no rank.
        p.want(25, 26, 7);
        // Nobody wants it any more.
        p.want(30, 31, 0);
        auto expected = from_to(20, 40);
        for (int const gone : {25, 30})
                expected.erase(std::find(expected.begin(), expected.end(), gone));
        auto const rest = from_to(0, 20);
        expected.insert(expected.end(), rest.begin(), rest.end());
        p.leave(25, 0);
        p.look();
        assert_same(p.ask_for_all(16), expected);
        p.leave(25, 64);
        p.want(25, 26, 3);
        p.look();
        assert_int_equal(p.told(25), 6);
        p.want(25, 26, 7);
        assert_int_equal(p.told(25), 7);
        p.look();
        assert_int_equal(p.told(25), 7);
}

// Two readers that are alike: what came first into their windows comes first, wherever it is.
void test_readers_take_turns(void **)
{
        picker p(100, 64);
        for (int i = 0; i < 10; i++) {
                p.want(i, i + 1, 4);
                p.want(50 + i, 51 + i, 4);
        }
        p.look();
        auto const found = p.ask_for_all(16);
        assert_int_equal(found.size(), 20);
        for (int i = 0; i < 20; i++)
                assert_int_equal(found[std::size_t(i)], i / 2 + i % 2 * 50);
}

void test_what_nobody_has_takes_no_place(void **)
{
        auto const odd = [](int piece) { return piece % 2 == 1; };
        picker p(40, 64);
        p.want(0, 40, 2);
        p.look(all, odd);
        // Should somebody come who has it, it is in order.
        for (int piece : {0, 2, 4})
                assert_in_range(p.told(piece), 3, p.told(std::max(1, piece - 1)));
        assert_int_equal(p.told(1), 6);
        assert_int_equal(p.told(3), 5);
        std::vector<int> expected;
        for (int piece = 1; piece < 40; piece += 2)
                expected.push_back(piece);
        assert_same(p.ask_for_all(16, odd), expected);
        p.look();
        assert_int_equal(p.told(0), 6);
        assert_int_equal(p.told(2), 5);
}

// Who comes is asked at once, in the right order.
void test_nobody_is_there(void **)
{
        picker p(20, 64);
        p.want(0, 20, 2);
        p.look(all, none);
        for (int piece = 0; piece < 3; piece++)
                assert_int_equal(p.told(piece), 6 - piece);
        assert_same(p.ask_for_all(16), from_to(0, 20));
}

// The peer that was asked for all of it may go.
void test_what_all_was_asked_for_of_keeps_its_rank(void **)
{
        picker p(20, 64);
        p.want(0, 20, 2);
        p.look();
        p.leave(0, 0);
        p.look();
        assert_int_equal(p.told(0), 6);
        assert_int_equal(p.told(1), 6);
        p.leave(0, 64);
        p.look();
        assert_int_equal(p.told(0), 6);
        assert_int_equal(p.told(1), 5);
}

// They are kept from peers: nothing is said of them, whatever they were told before.
void test_what_may_not_be_asked_for(void **)
{
        std::set<int> const kept{1, 3, 9};
        auto const open = [&](int piece) { return kept.count(piece) == 0; };
        picker p(20, 64);
        p.want(0, 20, 2);
        p.look();
        p.look(open); // which looks at each change
        p.want(9, 13, 4);
        p.look(open);
        assert_int_equal(p.told(10), 6);
        assert_int_equal(p.told(0), 3);
        // And what they are to be told then is what they are told.
        p.look();
        for (int piece = 0; piece < 20; piece++)
                assert_int_equal(p.told(piece), p.as_told(piece));
        assert_int_equal(p.told(9), 6);
}

// Nobody reads: what is rarest is to come first, which the picker knows.
void test_what_nobody_reads_has_no_order(void **)
{
        picker p(20, 64);
        p.want(0, 20, 1);
        p.look();
        for (int piece = 0; piece < 20; piece++)
                assert_int_equal(p.told(piece), 1);
        p.want(5, 6, 2);
        p.look();
        assert_int_equal(p.told(5), 6);
        assert_int_equal(p.told(0), 5);
        p.want(5, 6, 0);
        p.look();
        for (int piece = 6; piece < 20; piece++)
                assert_int_equal(p.told(piece), 1);
}

// The last piece may have fewer blocks than the others: it is time to look when these were asked
// for.
void test_a_short_piece(void **)
{
        picker p(40, 64, 5);
        p.want(39, 40, 5);
        p.want(0, 39, 4);
        p.look();
        std::vector<int> expected{39};
        for (int piece = 0; piece < 39; piece++)
                expected.push_back(piece);
        assert_same(p.ask_for_all(1), expected);
}

// A reader has become slower, and its window smaller.
void test_what_is_farther_now_comes_before_what_was(void **)
{
        picker p(20, 64);
        p.want(0, 10, 4);
        p.want(10, 20, 3);
        p.want(8, 10, 3);
        p.look();
        assert_same(p.ask_for_all(16), from_to(0, 20));
}

void test_close_behind(void **)
{
        ranks large, small;
        large.begin(64, 99, 64);
        small.begin(4, 99, 4); // sixteen of them have the last rank
        assert_false(large.is_close_behind(5, 5));
        assert_false(large.is_close_behind(4, 5));
        assert_true(large.is_close_behind(6, 5));
        assert_true(large.is_close_behind(8, 5));
        assert_false(large.is_close_behind(9, 5));
        assert_true(small.is_close_behind(20, 5));
        assert_false(small.is_close_behind(21, 5));
}

// Whatever went before: it is told what it is to be told, and the upper ranks are in order.
void test_any_changes(void **)
{
        constexpr int pieces = 60;
        std::mt19937 random{1};
        picker p(pieces, 32);
        for (int round = 0; round < 3000; round++) {
                int const piece = int(random() % pieces);
                p.want(piece, piece + 1, int(random() % 8));
                if (random() % 2 == 0)
                        p.leave(int(random() % pieces), int(random() % 32));
                p.look();
                int of_rank[8] = {0};
                for (int i = 0; i < pieces; i++) {
                        assert_int_equal(p.told(i), p.as_told(i));
                        of_rank[p.told(i)] += p.left(i) > 0;
                }
                for (int rank : {4, 5, 6})
                        assert_in_range(of_rank[rank], 0, 1);
                assert_in_range(of_rank[3], 0, 4);
        }
}

} // namespace

int main()
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_after_the_other),
                cmocka_unit_test(test_small_pieces),
                cmocka_unit_test(test_much_at_once),
                cmocka_unit_test(test_what_is_wished_for_more_comes_first),
                cmocka_unit_test(test_readers_take_turns),
                cmocka_unit_test(test_what_nobody_has_takes_no_place),
                cmocka_unit_test(test_nobody_is_there),
                cmocka_unit_test(test_what_all_was_asked_for_of_keeps_its_rank),
                cmocka_unit_test(test_what_may_not_be_asked_for),
                cmocka_unit_test(test_what_nobody_reads_has_no_order),
                cmocka_unit_test(test_a_short_piece),
                cmocka_unit_test(test_what_is_farther_now_comes_before_what_was),
                cmocka_unit_test(test_close_behind),
                cmocka_unit_test(test_any_changes),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
