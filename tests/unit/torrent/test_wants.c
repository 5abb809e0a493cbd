/* test_wants.c: who wants what, and what the session hears of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "torrent/wants.h"

#define N(a) (sizeof(a) / sizeof *(a))

enum { PIECES = 40, HANDLES = 6 };

/* The store's side: room for so many pieces. */
struct room {
        unsigned free;
        bool taken[PIECES];
        int refusal;
        unsigned asked;
};

static int reserve(void *arg, uint32_t piece)
{
        struct room *r = arg;

        r->asked++;
        assert_false(r->taken[piece]);
        if (r->free == 0)
                return r->refusal ? r->refusal : -ENOSPC;
        r->free--;
        r->taken[piece] = true;
        return 0;
}

static void release(void *arg, uint32_t piece)
{
        struct room *r = arg;

        if (!r->taken[piece])
                return;
        r->taken[piece] = false;
        r->free++;
}

/* The session's side: what it believes after each batch. */
struct session {
        uint8_t priority[PIECES];
        bool urgent[PIECES];
};

/* Gives the batch to the session; no entry may say what it knew already. */
static size_t hear(struct session *s, struct wants *w)
{
        size_t n = w->n_batch;

        for (size_t i = 0; i < n; i++) {
                const struct bt_want *b = &w->batch[i];

                assert_in_range(b->piece, 0, PIECES - 1);
                assert_in_range(b->priority, BT_PRIORITY_NONE, BT_PRIORITY_TOP);
                if (s->priority[b->piece] == b->priority && s->urgent[b->piece] == b->urgent)
                        fail_msg("piece %u is told twice to be at %u", b->piece, b->priority);
                s->priority[b->piece] = b->priority;
                s->urgent[b->piece] = b->urgent;
        }
        w->n_batch = 0;
        return n;
}

struct fixture {
        struct wants wants;
        struct room room;
        struct wants_room calls;
        struct session session;
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);

        if (!f)
                return -1;
        f->room.free = PIECES;
        f->calls = (struct wants_room){reserve, release, &f->room};
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        wants_clear(&f->wants);
        free(f);
        return 0;
}

static int change(struct fixture *f, uint32_t piece, uint8_t before, uint8_t after)
{
        return wants_change(&f->wants, piece, before, after, &f->calls);
}

/* Closing one handle lowers only what no one else wants. */
static void test_counted(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(change(f, 3, 0, 5), 0);
        assert_int_equal(hear(&f->session, &f->wants), 1);
        assert_int_equal(f->session.priority[3], 5);

        /* a second one that wants it less changes nothing */
        assert_int_equal(change(f, 3, 0, 2), 0);
        assert_int_equal(hear(&f->session, &f->wants), 0);
        /* a third as much */
        assert_int_equal(change(f, 3, 0, 5), 0);
        assert_int_equal(hear(&f->session, &f->wants), 0);
        /* one that waits */
        assert_int_equal(change(f, 3, 0, 7), 0);
        assert_int_equal(hear(&f->session, &f->wants), 1);
        assert_int_equal(f->session.priority[3], 7);
        assert_int_equal(wants_find(&f->wants, 3)->total, 4);

        assert_int_equal(change(f, 3, 7, 0), 0);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[3], 5);
        assert_int_equal(change(f, 3, 5, 0), 0);
        assert_int_equal(hear(&f->session, &f->wants), 0);
        assert_int_equal(change(f, 3, 5, 1), 0);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[3], 2);
        assert_true(f->room.taken[3]);
        assert_int_equal(change(f, 3, 2, 0), 0);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[3], 1);
        assert_int_equal(change(f, 3, 1, 0), 0);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[3], 0);
        assert_null(wants_find(&f->wants, 3));
        assert_false(f->room.taken[3]);
        /* room is asked for once a piece, not once a wish */
        assert_int_equal(f->room.asked, 1);
}

/* No room: in the table, the session not asked; room later: the next wish gets it. */
static void test_no_room(void **state)
{
        struct fixture *f = *state;

        f->room.free = 1;
        assert_int_equal(change(f, 1, 0, 4), 0);
        assert_int_equal(change(f, 2, 0, 7), -ENOSPC);
        assert_non_null(wants_find(&f->wants, 2));
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[1], 4);
        assert_int_equal(f->session.priority[2], 0);
        /* still none */
        assert_int_equal(change(f, 2, 0, 3), -ENOSPC);
        assert_int_equal(hear(&f->session, &f->wants), 0);
        /* a deadline is no use yet, but not forgotten */
        wants_urgent(&f->wants, wants_find(&f->wants, 2), true);
        assert_int_equal(hear(&f->session, &f->wants), 0);

        /* the first is given up: its room is given to the next wish, at the highest of all */
        assert_int_equal(change(f, 1, 4, 0), 0);
        assert_int_equal(change(f, 2, 3, 2), 0);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[1], 0);
        assert_int_equal(f->session.priority[2], 7);
        assert_true(f->session.urgent[2]);

        /* what has no room gives none back when it is given up; unless it has some all the same */
        for (unsigned has = 0; has < 2; has++) {
                assert_int_equal(change(f, 5, 0, 1), -ENOSPC);
                f->room.taken[5] = has;
                assert_int_equal(change(f, 5, 1, 0), 0);
                assert_int_equal(f->room.free, has);
                assert_null(wants_find(&f->wants, 5));
                assert_int_equal(hear(&f->session, &f->wants), 0);
        }
        f->room.free = 0;

        /* room is taken away, and there again */
        wants_release(&f->wants, wants_find(&f->wants, 2), &f->calls);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[2], 0);
        assert_int_equal(f->room.free, 1);
        wants_reserve(&f->wants, wants_find(&f->wants, 2), &f->calls);
        hear(&f->session, &f->wants);
        assert_int_equal(f->session.priority[2], 7);
        assert_int_equal(f->room.free, 0);

        /* what nobody was told is told with the next change */
        assert_int_equal(change(f, 2, 2, 1), 0);
        wants_urgent(&f->wants, wants_find(&f->wants, 2), false);
        assert_int_equal(f->wants.n_batch, 1);
        wants_untold(&f->wants);
        assert_int_equal(f->wants.n_batch, 0);
        assert_int_equal(change(f, 2, 0, 1), 0);
        assert_int_equal(hear(&f->session, &f->wants), 1);
        f->session.priority[2] = 7;

        /* what the store says is what comes back */
        f->room.refusal = -ESTALE;
        assert_int_equal(change(f, 6, 0, 1), -ESTALE);
}

static void test_urgent(void **state)
{
        struct fixture *f = *state;
        struct want *want;

        assert_int_equal(change(f, 9, 0, 6), 0);
        want = wants_find(&f->wants, 9);
        hear(&f->session, &f->wants);
        wants_urgent(&f->wants, want, true);
        assert_int_equal(hear(&f->session, &f->wants), 1);
        assert_true(f->session.urgent[9]);
        assert_int_equal(f->session.priority[9], 6);
        wants_urgent(&f->wants, want, true);
        assert_int_equal(hear(&f->session, &f->wants), 0);
        /* a change of priority keeps it */
        assert_int_equal(change(f, 9, 6, 7), 0);
        hear(&f->session, &f->wants);
        assert_true(f->session.urgent[9]);
        wants_urgent(&f->wants, want, false);
        assert_int_equal(hear(&f->session, &f->wants), 1);
        assert_false(f->session.urgent[9]);
        /* the last one goes: no deadline is left behind */
        wants_urgent(&f->wants, want, true);
        hear(&f->session, &f->wants);
        assert_int_equal(change(f, 9, 7, 0), 0);
        hear(&f->session, &f->wants);
        assert_false(f->session.urgent[9]);
        assert_int_equal(f->session.priority[9], 0);
}

/* The piece is there: forgotten, its room stays taken, nothing is told; who then gives it up is
 * heard and nothing happens. */
static void test_done(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(change(f, 4, 0, 7), 0);
        assert_int_equal(change(f, 4, 0, 5), 0);
        hear(&f->session, &f->wants);
        wants_done(&f->wants, wants_find(&f->wants, 4));
        assert_null(wants_find(&f->wants, 4));
        assert_true(f->room.taken[4]);
        assert_int_equal(change(f, 4, 7, 0), 0);
        assert_int_equal(change(f, 4, 5, 0), 0);
        assert_null(wants_find(&f->wants, 4));
        assert_true(f->room.taken[4]);
        assert_int_equal(f->wants.n_batch, 0);
}

/* To give up what nobody wants is nothing. */
static void test_unknown(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(change(f, 8, 5, 0), 0);
        assert_int_equal(change(f, 8, 0, 0), 0);
        assert_null(wants_find(&f->wants, 8));
        assert_int_equal(f->wants.n_batch, 0);
        assert_int_equal(f->room.asked, 0);
        assert_int_equal(f->room.free, PIECES);
}

/* A new session torrent knows nothing: everything that has room is told again, once. */
static void test_retell(void **state)
{
        struct fixture *f = *state;

        f->room.free = 3;
        for (uint32_t i = 0; i < 4; i++)
                assert_int_equal(change(f, i, 0, (uint8_t)(i + 2)), i < 3 ? 0 : -ENOSPC);
        wants_urgent(&f->wants, wants_find(&f->wants, 2), true);
        hear(&f->session, &f->wants);
        f->session = (struct session){0};
        /* what had not been told is not told twice */
        assert_int_equal(change(f, 1, 3, 4), 0);
        wants_retell(&f->wants);
        assert_int_equal(hear(&f->session, &f->wants), 3);
        assert_int_equal(f->session.priority[0], 2);
        assert_int_equal(f->session.priority[1], 4);
        assert_int_equal(f->session.priority[2], 4);
        assert_int_equal(f->session.priority[3], 0);
        assert_true(f->session.urgent[2]);
        assert_false(f->session.urgent[1]);
}

static uint32_t rng = 362436069u;

static uint32_t next(void)
{
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        return rng;
}

/* Handles wish, change, give up, pieces come, room comes and goes; the model is a table of who
 * wants what. The session always believes the maximum of those with room, and never has more pieces
 * wanted than there is room for. */
static void test_fuzz(void **state)
{
        struct fixture *f = *state;
        uint8_t wish[HANDLES][PIECES] = {{0}};
        bool done[PIECES] = {false}, urgent[PIECES] = {false};

        f->room.free = 10;
        for (unsigned round = 0; round < 100000; round++) {
                uint32_t piece = next() % PIECES;
                unsigned handle = next() % HANDLES;
                struct want *want = wants_find(&f->wants, piece);

                switch (next() % 12) {
                case 0:
                        if (want && want->reserved && next() % 3 == 0) { /* it came */
                                wants_done(&f->wants, want);
                                done[piece] = true;
                                urgent[piece] = false;
                                /* the session knows by itself */
                                f->session.priority[piece] = 0;
                                f->session.urgent[piece] = false;
                        }
                        break;
                case 1:
                        if (want) {
                                urgent[piece] = !urgent[piece];
                                wants_urgent(&f->wants, want, urgent[piece]);
                        }
                        break;
                case 2:
                        if (next() % 50 == 0) {
                                wants_retell(&f->wants);
                                f->session = (struct session){0};
                        }
                        break;
                default: {
                        uint8_t before = wish[handle][piece], after = (uint8_t)(next() % 8);
                        bool had_room = f->room.taken[piece], any = f->room.free > 0;
                        int r;

                        if (done[piece] && after != PRIORITY_NONE)
                                break; /* the caller asks the store first */
                        if (next() % 3 == 0)
                                after = PRIORITY_NONE;
                        if (after == before)
                                break;
                        r = change(f, piece, before, after);
                        wish[handle][piece] = after;
                        if (r != (after != PRIORITY_NONE && !had_room && !any ? -ENOSPC : 0))
                                fail_msg("round %u: %d", round, r);
                }
                }
                hear(&f->session, &f->wants);
                for (uint32_t i = 0; i < PIECES; i++) {
                        uint8_t most = 0;
                        unsigned total = 0;

                        for (unsigned h = 0; h < HANDLES; h++) {
                                total += wish[h][i] != PRIORITY_NONE;
                                if (wish[h][i] > most)
                                        most = wish[h][i];
                        }
                        if (done[i]) {
                                assert_null(wants_find(&f->wants, i));
                                assert_int_equal(f->session.priority[i], 0);
                                /* nobody holds it any more: it may be evicted and come again */
                                if (total == 0 && next() % 500 == 0) {
                                        done[i] = false;
                                        release(&f->room, i);
                                }
                                continue;
                        }
                        want = wants_find(&f->wants, i);
                        if (total == 0)
                                urgent[i] = false;
                        if ((total > 0) != (want != NULL) || (want && want->total != total))
                                fail_msg("round %u: %u want piece %u", round, total, i);
                        if (!f->room.taken[i])
                                most = 0;
                        if (f->session.priority[i] != most ||
                            f->session.urgent[i] != (urgent[i] && most > 0))
                                fail_msg("round %u: the session has piece %u at %u%s, not %u",
                                         round, i, f->session.priority[i],
                                         f->session.urgent[i] ? ", urgent" : "", most);
                        if (want && want->reserved != f->room.taken[i])
                                fail_msg("round %u: the room of piece %u", round, i);
                        if (!want && f->room.taken[i])
                                fail_msg("round %u: piece %u keeps its room", round, i);
                }
        }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_counted), T(test_no_room), T(test_urgent), T(test_done),
                T(test_unknown), T(test_retell),  T(test_fuzz),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
