/* test_reader.c: what an open file wants: probe and play, windows, and the difference of two plans.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "torrent/reader.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define KIB  UINT64_C(1024)
#define MIB  (1024 * KIB)
#define GIB  (1024 * MIB)

/* What reader.c and DESIGN.md promise. */
#define PROBE_RUN    (128 * KIB)
#define PROBE_AHEAD  (512 * KIB)
#define PLAY_AFTER   (2 * MIB)
#define WINDOW_START (4 * MIB)
#define WINDOW_MAX   (32 * MIB)

static uint32_t rng = 123456789u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

static uint64_t below(uint64_t n)
{
        return ((uint64_t)next() << 32 | next()) % n;
}

struct layout_case {
        const char *rule;
        struct layout layout;
        uint64_t off, len;
        uint32_t first, end;
};

static const struct layout_case layout_cases[] = {
        {"the first byte", {0, 100, 10}, 0, 1, 0, 1},
        {"a whole piece", {0, 100, 10}, 0, 10, 0, 1},
        {"one byte more", {0, 100, 10}, 0, 11, 0, 2},
        {"the last byte of a piece", {0, 100, 10}, 9, 1, 0, 1},
        {"across a border", {0, 100, 10}, 9, 2, 0, 2},
        {"the file begins inside a piece", {7, 100, 10}, 0, 3, 0, 1},
        {"… and reaches the next", {7, 100, 10}, 0, 4, 0, 2},
        {"… its end", {7, 100, 10}, 99, 1, 10, 11},
        {"beyond 4 GiB", {5 * GIB, 5 * GIB, 16384}, 5 * GIB - 1, 1, 655359, 655360},
        {"a piece of 1 GiB", {3 * GIB, 3 * GIB, 1 << 30}, GIB, GIB, 4, 5},
};

static void test_layout(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(layout_cases); i++) {
                const struct layout_case *c = &layout_cases[i];
                uint32_t first, end;

                layout_pieces(&c->layout, c->off, c->len, &first, &end);
                if (first != c->first || end != c->end)
                        fail_msg("%s: [%u, %u)", c->rule, first, end);
        }
}

/* One past the last piece that is wanted at all. */
static uint32_t plan_end(const struct plan *p)
{
        uint32_t end = 0;

        for (unsigned i = 0; i < p->n; i++)
                if (p->range[i].end > end)
                        end = p->range[i].end;
        return end;
}

/* The ranges of places that are not read now lie at those. */
static bool at_another_place(const struct reader *r, const struct layout *l, uint64_t window_max,
                             const struct plan_range *range)
{
        for (unsigned i = 1; i < r->places; i++) {
                uint64_t from = l->offset + r->place[i].position;

                if (range->first >= from / l->piece_length &&
                    (uint64_t)(range->end - 1) * l->piece_length < from + window_max)
                        return true;
        }
        return false;
}

/* What holds of every plan: the read's first piece on top, then ranges that follow on each other
 * and fall in priority, to the end of the read at least, then those of other places, if the handle
 * reads at several; nothing outside the file, nothing beyond the bound. */
static void check_plan(const struct reader *r, const struct layout *l, uint64_t off, uint64_t len,
                       uint64_t window_max, const char *rule)
{
        const struct plan *p = &r->plan;
        const struct place *at = &r->place[0];
        uint32_t first, end, file_first, file_end, ahead_end;
        unsigned n = p->n;
        /* A read behind the position still leaves the window where it is. */
        uint64_t from = at->position > off + len ? at->position : off + len, limit, ahead = 0;

        layout_pieces(l, off, len, &first, &end);
        layout_pieces(l, 0, l->size, &file_first, &file_end);
        if (p->n < 1u || p->n > PLAN_RANGES_MAX || p->range[0].first != first ||
            p->range[0].end != first + 1 || p->range[0].priority != PRIORITY_BLOCKED)
                fail_msg("%s: the read is [%u, %u), the plan begins with [%u, %u) at %u", rule,
                         first, end, p->range[0].first, p->range[0].end, p->range[0].priority);
        limit = l->offset + from + window_max;
        ahead_end = p->range[0].end;
        /* A window begins and ends inside a piece. */
        for (unsigned i = 1; i < n; i++) {
                const struct plan_range *a = &p->range[i];

                if (a->first >= end || a->end <= first)
                        ahead += a->end - a->first;
                else if (a->end > end)
                        ahead += a->end - end;
        }
        if (ahead > window_max / l->piece_length + 2u * READER_PLACES)
                fail_msg("%s: %llu pieces are wanted ahead, the bound is %llu bytes", rule,
                         (unsigned long long)ahead, (unsigned long long)window_max);
        for (unsigned i = 1; i < n; i++) {
                const struct plan_range *a = &p->range[i - 1], *b = &p->range[i];

                if (b->first >= b->end || b->priority < PRIORITY_LEAST ||
                    b->priority >= PRIORITY_BLOCKED)
                        fail_msg("%s: [%u, %u) at %u", rule, b->first, b->end, b->priority);
                if (b->first == ahead_end && b->priority <= a->priority &&
                    (b->end <= end || (uint64_t)(b->end - 1) * l->piece_length < limit))
                        ahead_end = b->end;
                else if (r->returns < 2 || !at_another_place(r, l, window_max, b))
                        fail_msg("%s: [%u, %u) at %u follows on [%u, %u) at %u, the bound is %llu",
                                 rule, b->first, b->end, b->priority, a->first, a->end, a->priority,
                                 (unsigned long long)window_max);
        }
        if (ahead_end < end)
                fail_msg("%s: the read is [%u, %u), up to %u is wanted", rule, first, end,
                         ahead_end);
        if (p->range[0].first < file_first || plan_end(p) > file_end)
                fail_msg("%s: piece %u of %u is wanted", rule, plan_end(p) - 1, file_end);
        if (!at->playing && ahead_end > end && r->returns < 2) {
                /* small pieces: with the read */
                ahead = l->piece_length > PROBE_AHEAD / 4 ? PROBE_AHEAD
                        : len < PROBE_AHEAD               ? PROBE_AHEAD - len
                                                          : 0;
                if (at->run_bytes < ahead)
                        ahead = at->run_bytes;
                if (at->run_bytes <= PROBE_RUN || at->run_bytes <= len ||
                    (uint64_t)(ahead_end - 1) * l->piece_length >= l->offset + from + ahead)
                        fail_msg("%s: a probe of %llu bytes wants up to piece %u", rule,
                                 (unsigned long long)at->run_bytes, ahead_end);
        }
}

struct step {
        uint64_t off, len;
        bool playing;
};

enum { STEPS_MAX = 10 };

struct play_case {
        const char *rule;
        struct step step[STEPS_MAX];
};

static const struct play_case play_cases[] = {
        {"a first read is a probe", {{0, 128 * KIB, false}}},
        {"2 MiB less a byte are a probe", {{0, 2 * MIB - 1, false}}},
        {"2 MiB in a row play", {{0, MIB, false}, {MIB, MIB, true}}},
        {"… in one read", {{0, 2 * MIB, true}}},
        {"… from anywhere", {{GIB, MIB, false}, {GIB + MIB, MIB, true}}},
        {"ffprobe: head, tail, head",
         {{0, MIB, false}, {2 * GIB - MIB, MIB, false}, {MIB, MIB, false}}},
        {"going far forward starts anew",
         {{0, 2 * MIB, true}, {GIB, MIB, false}, {GIB + MIB, MIB, true}}},
        {"going far back starts anew",
         {{GIB, 2 * MIB, true}, {GIB - 100 * MIB, MIB, false}, {GIB - 99 * MIB, MIB, true}}},
        {"to the beginning too", {{GIB, 2 * MIB, true}, {0, 4 * KIB, false}}},
        {"a small hop forward is no jump",
         {{0, 2 * MIB, true}, {2 * MIB + 512 * KIB, 128 * KIB, true}}},
        {"reads of two threads change places",
         {{0, 2 * MIB, true}, {2 * MIB + 128 * KIB, 128 * KIB, true}, {2 * MIB, 128 * KIB, true}}},
        {"a small step back is no jump",
         {{0, 2 * MIB, true}, {2 * MIB - 64 * KIB, 64 * KIB, true}}},
        {"just past the slack is a jump", {{0, 2 * MIB, true}, {3 * MIB + 1, KIB, false}}},
        {"… backwards", {{0, 2 * MIB, true}, {2 * MIB - 512 * KIB - 1, KIB, false}}},
        {"a run that was broken counts from the break",
         {{0, MIB, false}, {GIB, MIB + KIB, false}, {0, MIB, false}, {MIB, MIB, true}}},
        {"what was skipped was not read", {{MIB, MIB, false}, {3 * MIB, MIB - 1, false}}},
        {"the very end", {{2 * GIB - 1, 1, false}}},
        {"coming back goes on as it was left",
         {{0, 2 * MIB, true}, {GIB, 64 * KIB, false}, {2 * MIB, 64 * KIB, true}}},
        {"… to there alone",
         {{0, 2 * MIB, true}, {GIB, 64 * KIB, false}, {4 * MIB, 64 * KIB, false}}},
        {"… unless much was read elsewhere",
         {{0, 2 * MIB, true}, {GIB, 33 * MIB, true}, {2 * MIB, 64 * KIB, false}}},
        {"the second return in a row: both places play on",
         {{0, 2 * MIB, true},
          {GIB, 64 * KIB, false},
          {2 * MIB, 64 * KIB, true},
          {GIB + 64 * KIB, 64 * KIB, true}}},
        {"… until it goes to a new one",
         {{0, 2 * MIB, true},
          {GIB, 64 * KIB, false},
          {2 * MIB, 64 * KIB, true},
          {GIB + 64 * KIB, 64 * KIB, true},
          {GIB / 2, 64 * KIB, false}}},
};

static void test_play(void **state)
{
        static const struct layout l = {
                .offset = 3 * MIB + 5, .size = 2 * GIB, .piece_length = 1 << 20};

        (void)state;
        for (size_t i = 0; i < N(play_cases); i++) {
                const struct play_case *c = &play_cases[i];
                struct reader r = {0};

                for (unsigned k = 0; k < STEPS_MAX && c->step[k].len > 0; k++) {
                        const struct step *s = &c->step[k];

                        reader_touch(&r, &l, s->off, s->len, 1000 + k, 0, WINDOW_MAX);
                        if (r.playing != s->playing)
                                fail_msg("%s: after step %u it %s", c->rule, k + 1,
                                         r.playing ? "plays" : "probes");
                        check_plan(&r, &l, s->off, s->len, WINDOW_MAX, c->rule);
                }
        }
}

/* Who takes 64 KiB now and then plays long before 2 MiB: after 512 KiB and a quarter of a second of
 * rests, of which one alone says nothing. What nobody rests for is a scan. */
static void test_paced_reading_plays(void **state)
{
        static const struct {
                unsigned rest_ms, plays_after; /* so many reads of 64 KiB; 0: not within 24 */
        } cases[] = {{0, 0}, {1, 0}, {8, 0}, {20, 14}, {50, 8}, {83, 8}, {5000, 8}};
        static const struct layout l = {.size = 2 * GIB, .piece_length = 4 << 20};

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                struct reader r = {0};
                uint64_t now = 1000;
                unsigned plays_after = 0;

                for (unsigned k = 0; k < 24; k++) {
                        reader_touch(&r, &l, k * 64 * KIB, 64 * KIB, now, k ? cases[i].rest_ms : 0,
                                     WINDOW_MAX);
                        now += cases[i].rest_ms;
                        if (r.playing && !plays_after)
                                plays_after = k + 1;
                }
                assert_int_equal(plays_after, cases[i].plays_after);
        }
        /* One long rest, as of a program that was stopped. */
        {
                struct reader r = {0};

                reader_touch(&r, &l, 0, MIB, 1000, 0, WINDOW_MAX);
                reader_touch(&r, &l, MIB, 64 * KIB, 99000, 98000, WINDOW_MAX);
                assert_false(r.playing);
        }
}

/* A copy over a slow link plays, but rests no longer than it takes to ask again. */
static void test_who_takes_all_it_gets_is_not_paced(void **state)
{
        static const struct layout l = {.size = 2 * GIB, .piece_length = 1 << 20};
        struct reader player = {0}, copy = {0};

        (void)state;
        assert_false(reader_is_paced(&player));
        /* 64 KiB each 80 ms, of which it rests for 70; and as fast over a link of that rate */
        for (unsigned i = 0; i < 100; i++) {
                reader_touch(&player, &l, i * 64 * KIB, 64 * KIB, 1000 + 80 * i, 70, WINDOW_MAX);
                reader_touch(&copy, &l, i * 64 * KIB, 64 * KIB, 1000 + 80 * i, i % 10 == 0,
                             WINDOW_MAX);
        }
        assert_true(player.playing && copy.playing);
        assert_true(reader_is_paced(&player));
        assert_false(reader_is_paced(&copy));
        /* rests of a millisecond add up, and still say nothing */
        copy.place[0].rested_ms = 300;
        assert_false(reader_is_paced(&copy));
}

/* What a player plays comes too slowly: it hardly ever rests, but does take no more than a film
 * has. Before one can tell, who has read more than a probe may be a player. */
static void test_who_has_to_wait_may_be_paced(void **state)
{
        static const struct layout l = {.size = 2 * GIB, .piece_length = 1 << 20};
        struct reader player = {0}, copy = {0};

        (void)state;
        assert_false(reader_may_play(&copy));
        for (unsigned i = 0; i < 72; i++) {
                reader_touch(&player, &l, i * 64 * KIB, 64 * KIB, 1000 + 350 * i, 60, WINDOW_MAX);
                reader_touch(&copy, &l, i * 64 * KIB, 64 * KIB, 1000 + 350 * i, 1, WINDOW_MAX);
                assert_int_equal(reader_may_play(&copy), i >= 7 && i < 63);
                /* up to there it lacks something if it is not all there */
                if (!copy.playing)
                        assert_int_equal(reader_needs(&copy), copy.place[0].position + copy.window);
        }
        assert_true(reader_is_paced(&player));
        assert_int_equal(reader_needs(&player), player.place[0].position + player.window / 2);
        copy.place[0].rested_ms = 300;
        assert_true(copy.playing);
        assert_false(reader_is_paced(&copy));
}

/* Two pieces behind the one that is read, whatever their size, if there is room. */
static void test_window_is_two_pieces(void **state)
{
        (void)state;
        for (uint32_t piece = 1 << 14; piece <= 32 << 20; piece *= 2) {
                const struct layout l = {.size = 20 * GIB, .piece_length = piece};
                struct reader r = {0};
                uint64_t at = PLAY_AFTER + 1, left;

                reader_touch(&r, &l, 0, at, 1000, 0, WINDOW_MAX);
                assert_true(r.playing);
                left = (uint64_t)plan_end(&r.plan) - at / piece - 1;
                assert_in_range(left, piece > 8 << 20 ? 1 : 2, WINDOW_START / (1 << 14));
        }
}

/* 2 MiB in a row: the same bytes again and again get no further. A scanner that reads a header
 * forty times must not fetch 4 MiB behind it. */
static void test_rereading_is_no_row(void **state)
{
        static const struct layout l = {.size = GIB, .piece_length = 1 << 18};
        struct reader r = {0};

        (void)state;
        for (unsigned i = 0; i < 40; i++) {
                reader_touch(&r, &l, 0, 64 * KIB, 1000 + i, 0, WINDOW_MAX);
                if (r.playing)
                        fail_msg("plays after reading the first 64 KiB %u times", i + 1);
        }
}

/* … and one that goes on a little ahead: as much as it has read, and no more than
 * 512 KiB, its read among them where pieces are small. */
static void test_probe_in_a_row_looks_ahead(void **state)
{
        static const struct layout l = {.size = GIB, .piece_length = 1 << 16};
        struct reader r = {0};

        (void)state;
        reader_touch(&r, &l, 0, 128 * KIB, 1, 0, WINDOW_MAX);
        assert_int_equal(plan_end(&r.plan), 2);
        reader_touch(&r, &l, 128 * KIB, 64 * KIB, 2, 0, WINDOW_MAX);
        assert_int_equal(plan_end(&r.plan), 6);
        reader_touch(&r, &l, 192 * KIB, 384 * KIB, 3, 0, WINDOW_MAX);
        assert_int_equal(plan_end(&r.plan), 9 + 2);
        /* in order: no two pieces of a rank but where there are more than ranks */
        reader_touch(&r, &l, 576 * KIB, 64 * KIB, 4, 0, WINDOW_MAX);
        assert_int_equal(plan_end(&r.plan), 17);
        for (uint32_t piece = 9; piece < 15; piece++)
                assert_true(plan_priority(&r.plan, piece) > plan_priority(&r.plan, piece + 2));
        assert_true(r.ahead);
        reader_touch(&r, &l, 640 * KIB, 512 * KIB, 5, 0, WINDOW_MAX);
        assert_false(r.ahead);
        assert_int_equal(plan_end(&r.plan), 18);
        /* from anywhere else: the read alone */
        reader_touch(&r, &l, 100 * MIB, MIB, 4, 0, WINDOW_MAX);
        assert_int_equal(plan_end(&r.plan), 1616);
}

/* A probe wants what it touches and no more. */
static void test_probe_wants_no_more(void **state)
{
        static const struct layout l = {.offset = 100, .size = GIB, .piece_length = 1 << 18};
        struct reader r = {0};

        (void)state;
        reader_touch(&r, &l, 0, 64 * KIB, 1, 0, WINDOW_MAX);
        assert_int_equal(r.plan.n, 1);
        assert_int_equal(plan_priority(&r.plan, 0), PRIORITY_BLOCKED);
        assert_int_equal(plan_priority(&r.plan, 1), PRIORITY_NONE);
        /* the end of the file */
        reader_touch(&r, &l, GIB - 64 * KIB, 64 * KIB, 2, 0, WINDOW_MAX);
        assert_int_equal(r.plan.n, 2);
        assert_int_equal(plan_priority(&r.plan, 0), PRIORITY_NONE);
        assert_int_equal(plan_priority(&r.plan, 4095), PRIORITY_BLOCKED);
        assert_true(plan_priority(&r.plan, 4096) > PRIORITY_NONE); /* 100 bytes of it */
        assert_int_equal(plan_priority(&r.plan, 4097), PRIORITY_NONE);
}

/* The first bytes of the first file, fewer than a window has bands. */
static void test_a_byte_or_two(void **state)
{
        static const uint32_t lengths[] = {1, 2, 1000, 100000, 1 << 14};

        (void)state;
        for (size_t i = 0; i < N(lengths); i++) {
                for (uint64_t len = 1; len < 10; len++) {
                        struct layout l = {.size = GIB, .piece_length = lengths[i]};
                        struct reader r = {0};

                        reader_touch(&r, &l, 0, len, 1, 0, WINDOW_MAX);
                        check_plan(&r, &l, 0, len, WINDOW_MAX, "the first bytes");
                        assert_int_equal(plan_end(&r.plan), (len - 1) / lengths[i] + 1);
                }
        }
}

/* Reads on at bytes_per_s for seconds; gives back how many bytes the window holds. */
static uint64_t play(struct reader *r, const struct layout *l, uint64_t *at, uint64_t *now_ms,
                     uint64_t bytes_per_s, unsigned seconds, uint64_t window_max)
{
        const uint64_t len = bytes_per_s / 20;

        for (unsigned i = 0; i < seconds * 20; i++) {
                reader_touch(r, l, *at, len, *now_ms, 0, window_max);
                check_plan(r, l, *at, len, window_max, "playing");
                *at += len;
                *now_ms += 50;
        }
        return (uint64_t)plan_end(&r->plan) * l->piece_length - l->offset - *at;
}

/* The window: 4 MiB, then ten seconds of the handle's own rate within its bound. */
static void test_window_grows(void **state)
{
        static const struct layout l = {.size = 20 * GIB, .piece_length = 1 << 14};
        struct reader r = {0};
        uint64_t at = 0, now = 5000, window;

        (void)state;
        reader_touch(&r, &l, 0, PLAY_AFTER, now, 0, WINDOW_MAX);
        at = PLAY_AFTER;
        window = (uint64_t)plan_end(&r.plan) * l.piece_length - at;
        assert_int_equal(window, WINDOW_START);

        /* 100 KiB/s: ten seconds are less than the least window */
        window = play(&r, &l, &at, &now, 100 * KIB, 20, WINDOW_MAX);
        assert_in_range(window, WINDOW_START, WINDOW_START + l.piece_length);
        /* 1 MiB/s: 10 MiB, once the mean has followed */
        window = play(&r, &l, &at, &now, MIB, 30, WINDOW_MAX);
        assert_in_range(window, 9 * MIB, 11 * MIB);
        /* 2 MiB/s: 20 MiB */
        window = play(&r, &l, &at, &now, 2 * MIB, 30, WINDOW_MAX);
        assert_in_range(window, 18 * MIB, 22 * MIB);
        /* 50 MiB/s: the bound */
        window = play(&r, &l, &at, &now, 50 * MIB, 10, WINDOW_MAX);
        assert_in_range(window, WINDOW_MAX, WINDOW_MAX + l.piece_length);
        /* others play too: a tighter bound holds at once, also below the least window */
        window = play(&r, &l, &at, &now, 50 * MIB, 1, 8 * MIB);
        assert_in_range(window, 8 * MIB, 8 * MIB + l.piece_length);
        window = play(&r, &l, &at, &now, 50 * MIB, 1, MIB);
        assert_in_range(window, MIB, MIB + l.piece_length);
        /* no room for a window: the read alone */
        reader_touch(&r, &l, at, MIB, now, 0, 0);
        assert_int_equal(plan_end(&r.plan), (l.offset + at + MIB - 1) / l.piece_length + 1);
        /* … and slow again */
        at += MIB;
        window = play(&r, &l, &at, &now, MIB, 40, WINDOW_MAX);
        assert_in_range(window, 9 * MIB, 11 * MIB);
}

/* Before a rate is known, in the first second: 4 MiB, then as much again as was read in a row, from
 * where that began. */
static void test_window_doubles_in_the_first_second(void **state)
{
        static const struct layout l = {.size = 20 * GIB, .piece_length = 1 << 14};
        struct reader r = {0};
        uint64_t at = GIB, now = 5000, window;

        (void)state;
        for (uint64_t read = MIB; read <= 64 * MIB; read += MIB) {
                uint64_t most = read < WINDOW_START ? WINDOW_START
                                : read > WINDOW_MAX ? WINDOW_MAX
                                                    : read;

                reader_touch(&r, &l, at, MIB, now, 0, WINDOW_MAX);
                at += MIB;
                now += 10;
                window = (uint64_t)plan_end(&r.plan) * l.piece_length - at;
                if (read >= PLAY_AFTER)
                        assert_int_equal(window, most);
        }
        /* Elsewhere it begins anew. */
        reader_touch(&r, &l, 10 * GIB, PLAY_AFTER, now, 0, WINDOW_MAX);
        window = (uint64_t)plan_end(&r.plan) * l.piece_length - 10 * GIB - PLAY_AFTER;
        assert_int_equal(window, WINDOW_START);
        /* The rate decides, once it is known. */
        at = 10 * GIB + PLAY_AFTER;
        window = play(&r, &l, &at, &now, 2 * MIB, 20, WINDOW_MAX);
        assert_in_range(window, 18 * MIB, 22 * MIB);
}

/* A pause of a day is no rate of zero that stays. */
static void test_pause(void **state)
{
        static const struct layout l = {.size = 20 * GIB, .piece_length = 1 << 14};
        struct reader r = {0};
        uint64_t at = 0, now = 5000, window;

        (void)state;
        (void)play(&r, &l, &at, &now, 2 * MIB, 30, WINDOW_MAX);
        now += 86400000;
        window = play(&r, &l, &at, &now, 2 * MIB, 10, WINDOW_MAX);
        assert_in_range(window, 18 * MIB, 22 * MIB);
}

/* A seek lowers the old window at once and begins as a probe. */
static void test_jump_drops_window(void **state)
{
        static const struct layout l = {.size = 2 * GIB, .piece_length = 1 << 18};
        struct reader r = {0};
        uint64_t at = 0, now = 1;
        uint32_t old_end;

        (void)state;
        (void)play(&r, &l, &at, &now, 2 * MIB, 5, WINDOW_MAX);
        old_end = plan_end(&r.plan);
        reader_touch(&r, &l, GIB, 128 * KIB, now, 0, WINDOW_MAX);
        for (uint32_t piece = 0; piece <= old_end; piece++)
                assert_int_equal(plan_priority(&r.plan, piece), PRIORITY_NONE);
        assert_int_equal(plan_end(&r.plan), 4096 + 1);
        /* back again: as new */
        reader_touch(&r, &l, 0, 128 * KIB, now, 0, WINDOW_MAX);
        assert_int_equal(plan_end(&r.plan), 1);
        assert_int_equal(plan_priority(&r.plan, 4096), PRIORITY_NONE);
}

/* How many bytes of [from, from + 64 MiB) are wanted, from being the first not read. */
static uint64_t wanted_behind(const struct plan *p, const struct layout *l, uint64_t from)
{
        uint32_t first = (uint32_t)((l->offset + from) / l->piece_length);
        uint64_t n = 0;

        for (uint32_t i = first; i < first + 64 * MIB / l->piece_length; i++)
                n += plan_priority(p, i) != PRIORITY_NONE ? l->piece_length : 0;
        return n;
}

/* Pictures at one place and sound at another, in turn: both windows stand, share the bound, and go
 * at once when the handle goes to a third place. */
static void test_two_places(void **state)
{
        static const struct layout l = {.size = 2 * GIB, .piece_length = 1 << 16};
        struct reader r = {0};
        uint64_t at[2] = {0, GIB}, now = 1000, window[2];

        (void)state;
        for (unsigned i = 0; i < 4000; i++) {
                unsigned k = i % 2;
                /* as players do, some of what they had is read again; 25 MiB/s and 0.8 MiB/s */
                uint64_t again = i > 1 ? 16 * KIB : 0, len = (k ? 8 * KIB : 256 * KIB) + again;

                reader_touch(&r, &l, at[k] - again, len, now, 0, WINDOW_MAX);
                check_plan(&r, &l, at[k] - again, len, WINDOW_MAX, "two places");
                at[k] += len - again;
                now += 5;
                if (i < 3)
                        continue;
                for (unsigned m = 0; m < 2; m++)
                        window[m] = wanted_behind(&r.plan, &l, at[m]);
                if (window[0] + window[1] > WINDOW_MAX + 2 * l.piece_length)
                        fail_msg("step %u: %llu and %llu bytes are wanted", i,
                                 (unsigned long long)window[0], (unsigned long long)window[1]);
                /* the one that is not read now does not have to start anew */
                if (at[!k] - (k ? 0 : GIB) > PROBE_RUN + again && window[!k] == 0)
                        fail_msg("step %u: the other place is not wanted", i);
        }
        assert_in_range(window[0], 16 * MIB, WINDOW_MAX);
        assert_in_range(window[1], WINDOW_START, 10 * MIB);

        reader_touch(&r, &l, 3 * GIB / 2, 64 * KIB, now, 0, WINDOW_MAX);
        assert_int_equal(wanted_behind(&r.plan, &l, at[0]), 0);
        assert_int_equal(wanted_behind(&r.plan, &l, at[1]), 0);
        assert_int_equal(r.plan.n, 1);
}

/* Little is read at two places in turn, in the middle of large pieces: what is read now is wanted,
 * and nothing at the other place. */
static void test_a_place_without_a_window_wants_nothing(void **state)
{
        static const struct layout l = {.size = 2 * GIB, .piece_length = 4 * MIB};
        uint64_t at[2] = {MIB, GIB + MIB}, now = 1000;
        struct reader r = {0};

        (void)state;
        for (unsigned i = 0; i < 16; i++) {
                reader_touch(&r, &l, at[i % 2], 4 * KIB, now += 20, 0, WINDOW_MAX);
                at[i % 2] += 4 * KIB;
        }
        assert_int_equal(r.places, 2);
        assert_int_equal(r.plan.n, 1);
        assert_int_equal(plan_priority(&r.plan, (uint32_t)(at[0] / l.piece_length)), PRIORITY_NONE);
}

/* Who gets less than its share has the nearest quarter of its read and window at the rank of what
 * others wait for, and no more; a probe has no window to raise. */
static void test_behind_raises_a_quarter(void **state)
{
        static const struct layout l = {.size = GIB, .piece_length = 1 << 16};
        struct reader r = {.behind = true};
        uint32_t from = MIB / l.piece_length, window = (MIB + WINDOW_START) / l.piece_length;

        (void)state;
        reader_touch(&r, &l, 0, MIB, 1, 0, WINDOW_MAX);
        assert_int_equal(plan_priority(&r.plan, from), PRIORITY_NONE);
        reader_touch(&r, &l, MIB, MIB, 2, 0, WINDOW_MAX);
        for (uint32_t i = 0; i < window; i++)
                if ((plan_priority(&r.plan, from + i) == PRIORITY_BLOCKED) != (i < window / 4))
                        fail_msg("piece %u of %u has %u", i, window,
                                 plan_priority(&r.plan, from + i));
        assert_int_equal(plan_end(&r.plan), from + window);
}

/* However many play, all together want no more than their bound, and none more than its own. */
static void test_share(void **state)
{
        uint64_t before = WINDOW_MAX;

        (void)state;
        assert_int_equal(reader_window_max(0), WINDOW_MAX);
        for (unsigned playing = 1; playing < 20000; playing++) {
                uint64_t share = reader_window_max(playing);

                if (share > before || share == 0 || playing * share > 256 * MIB)
                        fail_msg("%u play: %llu bytes each", playing, (unsigned long long)share);
                /* nobody gets less because of a bound that is not reached */
                if (share < WINDOW_MAX)
                        assert_in_range(playing * share, 256 * MIB - playing, 256 * MIB);
                before = share;
        }
}

/* Each band, from the read on, is twice as long as the one before and one step less urgent. */
static void test_bands(void **state)
{
        static const struct layout l = {.size = 2 * GIB, .piece_length = 1 << 14};
        /* a read of 2 MiB and a window of 4 are 384 pieces */
        static const uint32_t ends[] = {12, 24, 48, 96, 192, 384};
        struct reader r = {0};

        (void)state;
        reader_touch(&r, &l, 0, 2 * MIB, 1, 0, WINDOW_MAX);
        assert_int_equal(r.plan.n, 7);
        for (unsigned i = 0; i < N(ends); i++) {
                assert_int_equal(r.plan.range[i + 1].end, ends[i]);
                assert_int_equal(r.plan.range[i + 1].priority, 6 - i);
        }
        assert_int_equal(plan_priority(&r.plan, 384), PRIORITY_NONE);

        /* large pieces: bands that would be empty vanish, the whole window is still there */
        {
                static const struct layout large = {.size = 2 * GIB, .piece_length = 1 << 22};
                struct reader s = {0};

                reader_touch(&s, &large, 0, 2 * MIB, 1, 0, WINDOW_MAX);
                check_plan(&s, &large, 0, 2 * MIB, WINDOW_MAX, "large pieces");
                assert_int_equal(plan_end(&s.plan), 3); /* the one that is read and two */
                /* … and none has the rank of the one before it, wherever they are read */
                for (uint64_t at = 2 * MIB; at < 16 * MIB; at += 64 * KIB) {
                        reader_touch(&s, &large, at, 64 * KIB, 1 + at / 800, 50, WINDOW_MAX);
                        for (uint32_t i = s.plan.range[0].end; i + 1 < plan_end(&s.plan); i++)
                                assert_true(plan_priority(&s.plan, i) >
                                            plan_priority(&s.plan, i + 1));
                        assert_in_range(plan_end(&s.plan) - s.plan.range[0].end, 2, 4);
                }
        }
}

/* At the end of the file the window ends, also with a last piece that is short or shared. */
static void test_last_piece(void **state)
{
        static const uint32_t lengths[] = {1 << 14, 1 << 20, 1 << 24, 1000003};

        (void)state;
        for (size_t i = 0; i < N(lengths); i++) {
                for (uint64_t tail = 0; tail < 4; tail++) {
                        struct layout l = {.offset = 12345,
                                           .size = 10 * MIB + tail * 7,
                                           .piece_length = lengths[i]};
                        struct reader r = {0};
                        uint32_t first, end;

                        layout_pieces(&l, 0, l.size, &first, &end);
                        for (uint64_t off = 0; off < l.size; off += 128 * KIB) {
                                uint64_t len = l.size - off < 128 * KIB ? l.size - off : 128 * KIB;

                                reader_touch(&r, &l, off, len, off, 0, WINDOW_MAX);
                                check_plan(&r, &l, off, len, WINDOW_MAX, "to the end");
                                if (off + len > PLAY_AFTER + 10 * MIB - WINDOW_START)
                                        assert_int_equal(plan_end(&r.plan), end);
                        }
                }
        }

        /* a file smaller than a piece, one of a single byte */
        {
                static const struct layout tiny = {
                        .offset = 5 * MIB - 1, .size = 1, .piece_length = 1 << 20};
                struct reader r = {0};

                reader_touch(&r, &tiny, 0, 1, 1, 0, WINDOW_MAX);
                check_plan(&r, &tiny, 0, 1, WINDOW_MAX, "a single byte");
                assert_int_equal(plan_priority(&r.plan, 3), PRIORITY_NONE);
                assert_int_equal(plan_priority(&r.plan, 4), PRIORITY_BLOCKED);
                assert_int_equal(plan_end(&r.plan), 5);
        }
}

static void test_touch_fuzz(void **state)
{
        (void)state;
        for (unsigned round = 0; round < 3000; round++) {
                struct layout l = {.offset = round % 3 ? below(10 * GIB) : 0,
                                   .size = 1 + below(round % 2 ? 100 * GIB : 20 * MIB),
                                   .piece_length = 1u << (14 + next() % 11)};
                struct reader r = {0};
                uint64_t now = 1, at = 0;

                if (next() % 4 == 0)
                        l.piece_length = 1 + next() % (4 << 20);
                for (unsigned k = 0; k < 30; k++) {
                        uint64_t max = below(4) ? WINDOW_MAX : below(WINDOW_MAX);
                        uint64_t len;

                        if (next() % 6 == 0 || at >= l.size)
                                at = below(l.size);
                        len = 1 + below(MIB);
                        if (len > l.size - at)
                                len = l.size - at;
                        now += below(400);
                        reader_touch(&r, &l, at, len, now, below(400), max);
                        check_plan(&r, &l, at, len, max, "fuzz");
                        at += len;
                        if (next() % 8 == 0 && at > 100 * KIB)
                                at -= below(100 * KIB);
                }
        }
}

/* ---- plan_diff ---- */

enum { PIECES = 250 };

struct seen {
        const char *rule;
        const struct plan *before, *after;
        bool changed[PIECES];
        int last;
};

static void changed(void *arg, uint32_t piece, uint8_t before, uint8_t after)
{
        struct seen *s = arg;
        /* dropped ones come first */
        int rank = after == PRIORITY_NONE ? PRIORITY_BLOCKED + 1 : after;

        if (piece >= PIECES || s->changed[piece])
                fail_msg("%s: piece %u twice or out of range", s->rule, piece);
        s->changed[piece] = true;
        if (before != plan_priority(s->before, piece) || after != plan_priority(s->after, piece) ||
            before == after)
                fail_msg("%s: piece %u goes from %u to %u", s->rule, piece, before, after);
        if (rank > s->last)
                fail_msg("%s: piece %u at %u comes late", s->rule, piece, after);
        s->last = rank;
}

static void check_diff(const struct plan *before, const struct plan *after, const char *rule)
{
        struct seen s = {
                .rule = rule, .before = before, .after = after, .last = PRIORITY_BLOCKED + 1};

        plan_diff(before, after, changed, &s);
        for (uint32_t i = 0; i < PIECES; i++)
                if (s.changed[i] != (plan_priority(before, i) != plan_priority(after, i)))
                        fail_msg("%s: piece %u from %u to %u: %s", rule, i,
                                 plan_priority(before, i), plan_priority(after, i),
                                 s.changed[i] ? "told" : "not told");
}

/* Ranges in any order, with any priority, some of which overlap. */
static struct plan random_plan(void)
{
        struct plan p = {.n = next() % (PLAN_RANGES_MAX + 1)};
        uint32_t at = 0;

        for (unsigned i = 0; i < p.n; i++) {
                uint32_t first = at + next() % 10, end = first + 1 + next() % 5;

                p.range[i] = (struct plan_range){first, end, (uint8_t)(1 + next() % 7)};
                at = next() % 4 ? end : first;
        }
        for (unsigned i = 1; i < p.n; i++) {
                unsigned k = next() % (i + 1);
                struct plan_range t = p.range[i];

                p.range[i] = p.range[k];
                p.range[k] = t;
        }
        return p;
}

static void test_diff(void **state)
{
        static const struct plan empty = {.n = 0};

        (void)state;
        for (unsigned round = 0; round < 20000; round++) {
                struct plan a = random_plan(), b = random_plan();

                check_diff(&a, &b, "two plans");
                check_diff(&a, &a, "the same plan");
                check_diff(&empty, &a, "from nothing");
                check_diff(&a, &empty, "to nothing");
        }
        check_diff(&empty, &empty, "nothing");
}

/* The plans of a reader as it goes along: the table that hears of the differences alone knows what
 * the last plan says. */
static void test_diff_of_reader(void **state)
{
        static const struct layout l = {
                .offset = 77, .size = (PIECES - 1) * 256 * KIB, .piece_length = 1 << 18};

        (void)state;
        for (unsigned round = 0; round < 500; round++) {
                struct reader r = {0};
                uint64_t at = 0;

                for (unsigned k = 0; k < 40; k++) {
                        struct plan before = r.plan;
                        uint64_t len;

                        if (next() % 10 == 0 || at >= l.size)
                                at = below(l.size);
                        len = 1 + below(512 * KIB);
                        if (len > l.size - at)
                                len = l.size - at;
                        reader_touch(&r, &l, at, len, 1 + k * 100, 0, WINDOW_MAX);
                        check_diff(&before, &r.plan, "a reader");
                        at += len;
                }
        }
}

static void count(void *arg, uint32_t piece, uint8_t before, uint8_t after)
{
        (void)piece;
        (void)before;
        (void)after;
        ++*(unsigned *)arg;
}

/* The cost is the number of pieces that change: a filled file of four thousand million pieces that
 * moves by one is no loop over them. */
static void test_diff_cost(void **state)
{
        const struct plan a = {.n = 2, .range = {{0, 1, 7}, {1, UINT32_MAX, 1}}};
        const struct plan b = {.n = 3, .range = {{1, 2, 7}, {2, 3, 6}, {3, UINT32_MAX, 1}}};
        unsigned n = 0;

        (void)state;
        plan_diff(&a, &b, count, &n);
        assert_int_equal(n, 3);
}

/* On its way to the reader a piece changes its priority a few times, not once a read. */
static void test_log_bands_are_cheap(void **state)
{
        static const struct layout l = {.size = 256 * MIB, .piece_length = 1 << 14};
        struct reader r = {0};
        unsigned n = 0;

        (void)state;
        for (uint64_t at = 0; at < l.size; at += 16 * KIB) {
                struct plan before = r.plan;

                reader_touch(&r, &l, at, 16 * KIB, 1000 + at / 16384, 0, WINDOW_MAX);
                plan_diff(&before, &r.plan, count, &n);
        }
        /* wanted, six steps up, dropped */
        assert_true(n <= 8 * (l.size / l.piece_length));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_layout),
                cmocka_unit_test(test_play),
                cmocka_unit_test(test_paced_reading_plays),
                cmocka_unit_test(test_who_takes_all_it_gets_is_not_paced),
                cmocka_unit_test(test_who_has_to_wait_may_be_paced),
                cmocka_unit_test(test_window_is_two_pieces),
                cmocka_unit_test(test_rereading_is_no_row),
                cmocka_unit_test(test_probe_wants_no_more),
                cmocka_unit_test(test_a_byte_or_two),
                cmocka_unit_test(test_probe_in_a_row_looks_ahead),
                cmocka_unit_test(test_window_grows),
                cmocka_unit_test(test_window_doubles_in_the_first_second),
                cmocka_unit_test(test_pause),
                cmocka_unit_test(test_jump_drops_window),
                cmocka_unit_test(test_two_places),
                cmocka_unit_test(test_a_place_without_a_window_wants_nothing),
                cmocka_unit_test(test_behind_raises_a_quarter),
                cmocka_unit_test(test_share),
                cmocka_unit_test(test_bands),
                cmocka_unit_test(test_last_piece),
                cmocka_unit_test(test_touch_fuzz),
                cmocka_unit_test(test_diff),
                cmocka_unit_test(test_diff_of_reader),
                cmocka_unit_test(test_diff_cost),
                cmocka_unit_test(test_log_bands_are_cheap),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
