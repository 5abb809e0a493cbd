/* test_sharing.c: readers that share a link. The link is a model: it brings one piece after
 * another, of those that are wanted most any one, as a swarm does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define KIB  UINT64_C(1024)
#define MIB  (1024 * KIB)

#define READ_BYTES (128 * KIB)

enum { SEVERAL = 8 };
/* A trial: seconds that don't count, and those that do. */
enum { START_S = 10, COUNTED_S = 30 };

struct watcher {
        unsigned number;
        uint64_t rate; /* bytes/s it plays; 0: reads as fast as it gets */
        uint64_t at;   /* where it reads next */
        uint64_t due_ms;
        bool waits;
        uint64_t waits_since_ms, longest_ms; /* … after the start */
        uint64_t got;                        /* after the start */
};

enum { QUEUE_MAX = 512 };

/* A peer that is asked for a second's worth of its rate ahead and sends in that order, as
 * libtorrent does it with request_queue_time. */
struct link {
        struct model *model;
        uint64_t rate, done; /* bytes of the first in the queue that have come */
        uint32_t queue[QUEUE_MAX];
        unsigned n;
        bool *asked; /* by piece */
        uint32_t rng;
};

static uint32_t next(struct link *l)
{
        l->rng ^= l->rng << 13;
        l->rng ^= l->rng >> 17;
        l->rng ^= l->rng << 5;
        return l->rng;
}

/* Any one of those that are wanted most and not asked for. */
static uint32_t pick(struct link *l)
{
        const struct model *m = l->model;
        uint8_t most = PRIORITY_NONE;
        uint32_t found = UINT32_MAX, alike = 0;

        for (uint32_t i = 0; i < m->pieces; i++) {
                if (m->told[i] == PRIORITY_NONE || m->told[i] < most || l->asked[i])
                        continue;
                if (m->told[i] > most)
                        alike = 0;
                most = m->told[i];
                if (next(l) % ++alike == 0)
                        found = i;
        }
        return found;
}

static void a_millisecond_passes(struct link *l)
{
        const uint32_t length = l->model->piece_length;

        while (l->n < QUEUE_MAX && l->n * (uint64_t)length < l->rate) {
                uint32_t piece = pick(l);

                if (piece == UINT32_MAX)
                        break;
                l->asked[piece] = true;
                l->queue[l->n++] = piece;
        }
        l->done = l->n > 0 ? l->done + l->rate / 1000 : 0;
        while (l->n > 0 && l->done >= length) {
                l->done -= length;
                model_arrive(l->model, l->queue[0]);
                memmove(&l->queue[0], &l->queue[1], --l->n * sizeof l->queue[0]);
        }
}

static bool is_there(const struct model *m, const struct watcher *w)
{
        uint32_t first, end;

        layout_pieces(&m->reader[w->number].layout, w->at, READ_BYTES, &first, &end);
        while (first < end && m->have[first])
                first++;
        return first == end;
}

static void watch(struct model *m, struct watcher *w, uint64_t now, bool counts)
{
        if (!w->waits) {
                if (now < w->due_ms)
                        return;
                w->waits = true;
                w->waits_since_ms = now;
                (void)model_read(m, w->number, w->at, READ_BYTES, now);
        }
        if (!is_there(m, w))
                return;
        if (counts) {
                w->got += READ_BYTES;
                if (now - w->waits_since_ms > w->longest_ms)
                        w->longest_ms = now - w->waits_since_ms;
        }
        w->waits = false;
        w->at += READ_BYTES;
        /* Who had to wait does not hurry afterwards: it has shown its last picture longer. */
        w->due_ms = w->rate ? now + READ_BYTES * 1000 / w->rate : now;
}

/* Lets them read, each at a place of its own. never_behind: none of them has a higher rank for
 * getting less than its share. */
static void share(struct watcher *w, unsigned n, uint64_t link_rate, uint32_t piece_length,
                  bool never_behind)
{
        const uint64_t apart = 512 * MIB;
        unsigned playing = 0;
        struct model m;
        struct link l = {.model = &m, .rate = link_rate, .rng = 2463534242u};

        model_init(&m, n * apart, piece_length, &playing);
        l.asked = calloc(m.pieces, sizeof *l.asked);
        assert_non_null(l.asked);
        for (unsigned i = 0; i < n; i++) {
                w[i].number = model_open(&m, 0, n * apart);
                w[i].at = i * apart;
                m.reader[w[i].number].never_behind = never_behind;
        }
        for (uint64_t now = 1; now < (START_S + COUNTED_S) * UINT64_C(1000); now++) {
                for (unsigned i = 0; i < n; i++)
                        watch(&m, &w[i], now, now > START_S * UINT64_C(1000));
                a_millisecond_passes(&l);
        }
        for (unsigned i = 0; i < n; i++)
                model_close(&m, w[i].number);
        assert_int_equal(playing, 0);
        model_free(&m);
        free(l.asked);
}

static unsigned kib_per_s(const struct watcher *w)
{
        return (unsigned)(w->got / COUNTED_S / KIB);
}

static const uint32_t piece_lengths[] = {1 << 16, 1 << 18, 1 << 20};

/* A film of 1 MiB/s plays on while another reader takes all it gets of a link of 4 MiB/s, and that
 * one has the rest. */
static void test_greedy_and_modest(void **state)
{
        (void)state;
        for (size_t k = 0; k < N(piece_lengths); k++) {
                struct watcher w[2] = {{.rate = MIB}, {.rate = 0}}, no[2] = {{.rate = MIB}, {0}};

                share(w, 2, 4 * MIB, piece_lengths[k], false);
                share(no, 2, 4 * MIB, piece_lengths[k], true);
                print_message("pieces of %4u KiB: the film waits %u ms at most, gets %u KiB/s, the "
                              "greedy one %u; all of one rank: %u ms, %u KiB/s, %u\n",
                              piece_lengths[k] >> 10, (unsigned)w[0].longest_ms, kib_per_s(&w[0]),
                              kib_per_s(&w[1]), (unsigned)no[0].longest_ms, kib_per_s(&no[0]),
                              kib_per_s(&no[1]));
                assert_true(w[0].longest_ms <= 200);
                assert_true(w[0].got >= COUNTED_S * MIB * 98 / 100);
                /* Large pieces have a rank each, the film's next ones a high one without this. */
                if (piece_lengths[k] < MIB) {
                        assert_true(no[0].longest_ms > 300);
                        assert_true(no[0].got < COUNTED_S * MIB * 95 / 100);
                }
                assert_true(w[1].got >= COUNTED_S * (4 - 1) * MIB * 95 / 100);
        }
}

/* All of them greedy: none has less than nine tenths of its share. */
static void test_alike(void **state)
{
        (void)state;
        for (size_t k = 0; k < N(piece_lengths); k++) {
                struct watcher w[SEVERAL] = {{0}};

                share(w, SEVERAL, 16 * MIB, piece_lengths[k], false);
                for (unsigned i = 0; i < SEVERAL; i++)
                        if (w[i].got < COUNTED_S * 16 * MIB / SEVERAL * 9 / 10)
                                fail_msg("pieces of %u KiB: reader %u of %u gets %u KiB/s of %u",
                                         piece_lengths[k] >> 10, i, SEVERAL, kib_per_s(&w[i]),
                                         (unsigned)(16 * MIB / SEVERAL / KIB));
        }
}

static void test_behind(void **state)
{
        static const struct {
                const char *rule;
                uint64_t rate, sum;
                unsigned playing;
                bool behind;
        } cases[] = {
                {"nobody else plays", MIB, MIB, 1, false},
                {"nobody plays", 0, 0, 0, false},
                {"two alike", MIB, 2 * MIB, 2, false},
                {"a little less than the other", 15 * MIB, 31 * MIB, 2, false},
                {"a third of the other", MIB, 4 * MIB, 2, true},
                {"… which is not behind itself", 3 * MIB, 4 * MIB, 2, false},
                {"one that begins among those that play", 0, 8 * MIB, 3, true},
                {"rates that are not known yet", 0, 0, 3, false},
                {"no sum is too large", UINT64_MAX / 4, UINT64_MAX - 3, 2, true},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++)
                if (reader_is_behind(cases[i].rate, cases[i].sum, cases[i].playing) !=
                    cases[i].behind)
                        fail_msg("%s", cases[i].rule);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_greedy_and_modest),
                cmocka_unit_test(test_alike),
                cmocka_unit_test(test_behind),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
