// test_drafts.cpp: metadata in the making (BEP 9): one honest peer is enough, whatever others do.
#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "drafts.hpp"

namespace
{

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int block = drafts::block_bytes;
constexpr std::size_t max_bytes = 8 * block;
constexpr auto good_size = 3 * block + 100;
drafts::time const start = drafts::time() + std::chrono::hours(1);

std::string good()
{
        std::mt19937 random(1);
        std::string s(good_size, '\0');
        for (auto &c : s)
                c = char(random());
        return s;
}

std::string block_of(std::string const &whole, int n)
{
        return std::size_t(n) * block < whole.size() ? whole.substr(std::size_t(n) * block, block)
                                                     : "";
}

drafts make()
{
        return drafts(max_bytes, [](std::string const &s) { return s == good(); });
}

drafts::outcome give(drafts &d, drafts::peer p, std::string const &whole, int n,
                     drafts::time now = start)
{
        auto const b = block_of(whole, n);
        return d.given(p, n, b.data(), b.size(), std::int64_t(whole.size()), now);
}

void join(drafts &d, drafts::peer p, std::size_t size)
{
        d.joined(p, "peer " + std::to_string(p), std::int64_t(size), start);
}

void each_block_is_asked_for_once_and_the_whole_is_complete(void **)
{
        auto d = make();
        std::vector<int> asked;
        join(d, 1, good_size);
        for (int got = 0; got < 4; got++) {
                for (int n; (n = d.next(1, start)) >= 0;)
                        asked.push_back(n);
                assert_int_equal(asked.size(), std::min(4, got + 3));
                assert_int_equal(d.progress(), std::min(got * block, int(good_size)));
                assert_int_equal(give(d, 1, good(), asked[std::size_t(got)]),
                                 got == 3 ? drafts::outcome::complete : drafts::outcome::noted);
        }
        assert_true(asked == std::vector<int>({0, 1, 2, 3}));
        assert_true(d.take() == good());
        assert_int_equal(d.progress(), good_size);
}

void what_was_not_asked_for_is_not_taken(void **)
{
        auto d = make();
        join(d, 1, good_size);
        give(d, 1, good(), 0);
        give(d, 2, good(), 0);
        d.arriving(1, 1000, start);
        d.refused(1, 0, start);
        d.refused(2, 0, start);
        d.left(2);
        assert_int_equal(d.progress(), 0);
        assert_int_equal(d.next(2, start), -1);
        assert_int_equal(d.next(1, start), 0);
}

void who_is_wrong_alone_is_never_asked_again(void **)
{
        auto d = make();
        std::string const wrong(good_size, 'x');
        join(d, 1, wrong.size());
        drafts::outcome last{};
        for (int n; (n = d.next(1, start)) >= 0;)
                last = give(d, 1, wrong, n);
        assert_int_equal(last, drafts::outcome::lied);
        assert_int_equal(d.next(1, start + seconds(100)), -1);
        d.left(1);
        d.joined(2, "peer 1", good_size, start); // the same one comes back
        assert_int_equal(d.next(2, start), -1);
        d.joined(3, "another", good_size, start);
        assert_int_equal(d.next(3, start), 0);
}

void an_honest_peer_keeps_what_it_gave_when_a_liar_spoils_the_whole(void **)
{
        auto d = make();
        std::string const wrong(good_size, 'x');
        join(d, 1, good_size);
        join(d, 2, good_size);
        assert_int_equal(d.next(1, start), 0);
        assert_int_equal(give(d, 1, good(), 0), drafts::outcome::noted);
        assert_int_equal(d.next(2, start), 1);
        assert_int_equal(give(d, 2, wrong, 1), drafts::outcome::noted);
        for (int n : {2, 3}) {
                assert_int_equal(d.next(1, start), n);
                assert_int_equal(give(d, 1, good(), n), drafts::outcome::noted);
        }
        // The whole was wrong: only the liar's block is missing.
        assert_int_equal(d.next(1, start), 1);
        assert_int_equal(d.next(1, start), -1);
        assert_int_equal(d.next(2, start), 0);
        assert_int_equal(give(d, 1, good(), 1), drafts::outcome::complete);
        assert_true(d.take() == good());
}

void lies_that_show_at_once(void **)
{
        struct {
                std::size_t n;
                std::int64_t total;
        } const cases[] = {{block - 1, good_size}, {block + 1, good_size}, {block, good_size + 1}};
        for (auto const &c : cases) {
                auto d = make();
                join(d, 1, good_size);
                assert_int_equal(d.next(1, start), 0);
                std::string const data(c.n, 'x');
                assert_int_equal(d.given(1, 0, data.data(), data.size(), c.total, start),
                                 drafts::outcome::lied);
                assert_int_equal(d.next(1, start + seconds(100)), -1);
        }
}

void a_wrong_size_stands_in_nobodys_way(void **)
{
        auto d = make();
        for (drafts::peer p = 100; p < 150; p++)
                join(d, p, std::size_t(p) * 100);
        join(d, 1, good_size);
        join(d, 2, max_bytes + 1);
        join(d, 3, std::size_t(-1));
        drafts::outcome last{};
        for (int n; (n = d.next(1, start)) >= 0;)
                last = give(d, 1, good(), n);
        assert_int_equal(last, drafts::outcome::complete);
}

void blocks_that_silent_peers_hold_are_asked_of_others(void **)
{
        auto d = make();
        for (drafts::peer p = 1; p <= 10; p++) {
                join(d, p, good_size);
                while (d.next(p, start) >= 0)
                        ;
        }
        join(d, 11, good_size);
        assert_int_equal(d.next(11, start), -1);
        assert_true(d.next(11, start + seconds(1)) >= 0);
        // A peer that leaves holds nothing.
        for (drafts::peer p = 1; p <= 10; p++)
                d.left(p);
        assert_true(d.next(11, start) >= 0);
        // One that has forgotten what it was asked is asked once more.
        auto silent = make();
        join(silent, 1, block);
        assert_int_equal(silent.next(1, start), 0);
        assert_int_equal(silent.next(1, start + seconds(29)), -1);
        silent.arriving(1, 1, start + seconds(29)); // slow is not silent
        assert_int_equal(silent.next(1, start + seconds(58)), -1);
        assert_int_equal(silent.next(1, start + seconds(59)), 0);
}

void a_peer_without_metadata_is_asked_once_in_a_while(void **)
{
        auto d = make();
        join(d, 1, 0);
        assert_int_equal(d.next(1, start), 0);
        assert_int_equal(d.next(1, start), -1);
        d.refused(1, 0, start);
        assert_int_equal(d.next(1, start + seconds(14)), -1);
        assert_int_equal(d.next(1, start + seconds(15)), 0);
        // By now it has some.
        assert_int_equal(give(d, 1, good(), 0, start + seconds(15)), drafts::outcome::noted);
        drafts::outcome last{};
        for (int n; (n = d.next(1, start + seconds(15))) >= 0;)
                last = give(d, 1, good(), n, start + seconds(15));
        assert_int_equal(last, drafts::outcome::complete);
}

void what_arrives_is_progress_and_the_same_again_is_none(void **)
{
        auto d = make();
        join(d, 1, good_size);
        assert_int_equal(d.next(1, start), 0);
        d.arriving(1, 500, start);
        assert_int_equal(d.progress(), 500);
        d.arriving(1, 400, start);
        assert_int_equal(d.progress(), 500);
        give(d, 1, good(), 0);
        assert_int_equal(d.progress(), block);
        give(d, 1, good(), 0);
        assert_int_equal(d.progress(), block);
}

// Peers that say sizes of their own and never give the last block fill the memory; the honest one,
// whose draft becomes the largest, is asked for no block twice.
void drafts_that_stand_still_make_room_for_one_that_grows(void **)
{
        auto d = make();
        for (drafts::peer p = 100; p < 108; p++) {
                std::string const wrong(std::size_t(2 * block) + p, 'x');
                join(d, p, wrong.size());
                for (int n : {0, 1, 2})
                        assert_int_equal(d.next(p, start), n);
                for (int n : {0, 1})
                        assert_int_equal(give(d, p, wrong, n), drafts::outcome::noted);
        }
        join(d, 1, good_size);
        int asked = 0;
        drafts::outcome last{};
        for (int n; asked < 20 && (n = d.next(1, start)) >= 0; asked++)
                last = give(d, 1, good(), n);
        assert_int_equal(last, drafts::outcome::complete);
        assert_int_equal(asked, 4);
}

void a_peer_that_gets_metadata_later_is_asked_when_it_says_so(void **)
{
        auto d = make();
        join(d, 1, 0);
        assert_int_equal(d.next(1, start), 0);
        d.refused(1, 0, start);
        assert_int_equal(d.next(1, start), -1);
        join(d, 1, good_size);
        assert_int_equal(d.next(1, start), 0);
}

// A swarm by chance: peers come, go and come back, answer late, wrongly, partly or not at all; one
// is honest and stays.
struct swarm_peer {
        enum { HONEST, LIAR, HALF, MUTE, REFUSES, EMPTY, KINDS } kind;
        std::size_t size;
        int name;
};

void one_honest_peer_among_any_others_is_enough(void **)
{
        auto const whole = good();
        for (unsigned seed = 0; seed < 500; seed++) {
                std::mt19937 random(seed);
                auto const below = [&](unsigned n) { return unsigned(random() % n); };
                auto d = make();
                auto now = start;
                std::vector<swarm_peer> peers = {{swarm_peer::HONEST, whole.size(), 0}};
                for (unsigned i = 1 + below(20); i > 0; i--) {
                        auto const kind = decltype(swarm_peer::kind)(below(swarm_peer::KINDS));
                        auto const size = kind == swarm_peer::EMPTY ? 0
                                          : below(3) == 0 && kind != swarm_peer::HONEST
                                                  ? 1 + below(max_bytes)
                                                  : whole.size();
                        peers.push_back({kind, size, int(1 + below(30))});
                }
                std::shuffle(peers.begin() + 1, peers.end(), random);
                std::swap(peers[0], peers[below(unsigned(peers.size()))]);
                drafts::peer number = 1;
                for (auto const &p : peers)
                        d.joined(number++, "peer " + std::to_string(p.name), std::int64_t(p.size),
                                 now);
                struct answer {
                        drafts::peer from;
                        int n;
                };
                std::vector<answer> way;
                bool done = false;
                std::uint64_t progress = 0;
                int steps = 0;
                for (; !done && steps < 3000; steps++, now += milliseconds(20)) {
                        for (drafts::peer p = 1; p < number; p++)
                                for (int n; (n = d.next(p, now)) >= 0;)
                                        way.push_back({p, n});
                        if (way.empty())
                                continue;
                        auto const i = below(unsigned(way.size()));
                        auto const a = way[i];
                        way.erase(way.begin() + i);
                        auto const &p = peers[std::size_t(a.from - 1)];
                        auto text = block_of(whole, a.n);
                        switch (p.kind) {
                        case swarm_peer::HALF:
                                if (below(2) == 0)
                                        break;
                                [[fallthrough]];
                        case swarm_peer::LIAR: {
                                auto const from = std::size_t(a.n) * block;
                                auto const size = p.size > from ? p.size - from : 1;
                                text.assign(std::min<std::size_t>(size, block),
                                            char('a' + below(26)));
                                break;
                        }
                        case swarm_peer::MUTE:
                                continue;
                        case swarm_peer::REFUSES:
                        case swarm_peer::EMPTY:
                                d.refused(a.from, a.n, now);
                                continue;
                        default:
                                break;
                        }
                        done = d.given(a.from, a.n, text.data(), text.size(), std::int64_t(p.size),
                                       now) == drafts::outcome::complete;
                        assert_true(d.progress() >= progress);
                        progress = d.progress();
                        // Some other one leaves and comes back.
                        auto const other = drafts::peer(1 + below(unsigned(number - 1)));
                        auto const &o = peers[std::size_t(other - 1)];
                        if (!done && below(10) == 0 && o.name != 0) {
                                d.left(other);
                                d.joined(other, "peer " + std::to_string(o.name),
                                         std::int64_t(o.size), now);
                        }
                }
                if (!done)
                        fail_msg("seed %u: no metadata after %d steps", seed, steps);
                assert_true(d.take() == whole);
        }
}

} // namespace

int main()
{
        const CMUnitTest tests[] = {
                cmocka_unit_test(each_block_is_asked_for_once_and_the_whole_is_complete),
                cmocka_unit_test(what_was_not_asked_for_is_not_taken),
                cmocka_unit_test(who_is_wrong_alone_is_never_asked_again),
                cmocka_unit_test(an_honest_peer_keeps_what_it_gave_when_a_liar_spoils_the_whole),
                cmocka_unit_test(lies_that_show_at_once),
                cmocka_unit_test(a_wrong_size_stands_in_nobodys_way),
                cmocka_unit_test(blocks_that_silent_peers_hold_are_asked_of_others),
                cmocka_unit_test(a_peer_without_metadata_is_asked_once_in_a_while),
                cmocka_unit_test(what_arrives_is_progress_and_the_same_again_is_none),
                cmocka_unit_test(drafts_that_stand_still_make_room_for_one_that_grows),
                cmocka_unit_test(a_peer_that_gets_metadata_later_is_asked_when_it_says_so),
                cmocka_unit_test(one_honest_peer_among_any_others_is_enough),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
