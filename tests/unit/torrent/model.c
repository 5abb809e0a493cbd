#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "model.h"

void model_init(struct model *m, uint64_t size, uint32_t piece_length, unsigned *playing)
{
        *m = (struct model){.piece_length = piece_length,
                            .pieces = (uint32_t)((size + piece_length - 1) / piece_length)};
        m->playing = playing;
        m->have = calloc(m->pieces, sizeof *m->have);
        m->ever = calloc(m->pieces, sizeof *m->ever);
        m->told = calloc(m->pieces, sizeof *m->told);
        m->urgent = calloc(m->pieces, sizeof *m->urgent);
        assert_non_null(m->have);
        assert_non_null(m->ever);
        assert_non_null(m->told);
        assert_non_null(m->urgent);
}

void model_free(struct model *m)
{
        wants_clear(&m->wants);
        free(m->have);
        free(m->ever);
        free(m->told);
        free(m->urgent);
}

static void hear(struct model *m)
{
        for (size_t i = 0; i < m->wants.n_batch; i++) {
                const struct bt_want *want = &m->wants.batch[i];

                m->told[want->piece] = want->priority;
                m->urgent[want->piece] = want->urgent;
                m->ever[want->piece] |= want->priority > PRIORITY_NONE;
        }
        m->lines += m->wants.n_batch;
        m->wants.n_batch = 0;
}

static int reserve(void *arg, uint32_t piece)
{
        (void)arg;
        (void)piece;
        return 0;
}

static void release(void *arg, uint32_t piece)
{
        (void)arg;
        (void)piece;
}

/* As wishes_change. */
static void change(void *arg, uint32_t piece, uint8_t before, uint8_t after)
{
        static const struct wants_room room = {reserve, release, NULL};
        struct model *m = arg;

        m->changes++;
        if (after != PRIORITY_NONE && m->have[piece])
                return;
        assert_int_equal(wants_change(&m->wants, piece, before, after, &room), 0);
}

/* As handle.c does before and after a read. */
static void account(struct model *m, const struct reader *r, int sign)
{
        if (!r->playing)
                return;
        *m->playing += (unsigned)sign;
        m->n_playing += (unsigned)sign;
        m->rate += sign > 0 ? r->rate : -r->rate;
}

unsigned model_open(struct model *m, uint64_t offset, uint64_t size)
{
        unsigned i = 0;

        while (i < MODEL_READERS && m->reader[i].open)
                i++;
        assert_true(i < MODEL_READERS);
        m->reader[i] =
                (struct model_reader){.open = true, .layout = {offset, size, m->piece_length}};
        return i;
}

void model_close(struct model *m, unsigned reader)
{
        static const struct plan nothing = {0};
        struct model_reader *r = &m->reader[reader];

        account(m, &r->reader, -1);
        plan_diff(&r->reader.plan, &nothing, change, m);
        r->open = false;
        hear(m);
}

uint32_t model_read(struct model *m, unsigned reader, uint64_t off, uint64_t len, uint64_t now_ms)
{
        struct model_reader *r = &m->reader[reader];
        struct plan before = r->reader.plan;
        uint64_t window_max;
        uint32_t first, end;

        if (r->forgetful && r->reader.places > 0)
                r->reader.places = 1;
        window_max = reader_window_max(*m->playing + !r->reader.playing);
        r->reader.behind =
                !r->never_behind && reader_is_behind(r->reader.rate, m->rate, m->n_playing);
        account(m, &r->reader, -1);
        reader_touch(&r->reader, &r->layout, off, len, now_ms, 0, window_max);
        account(m, &r->reader, 1);
        plan_diff(&before, &r->reader.plan, change, m);
        layout_pieces(&r->layout, off, len, &first, &end);
        while (first < end && m->have[first])
                first++;
        for (uint32_t piece = first; piece < end; piece++)
                change(m, piece, PRIORITY_NONE, PRIORITY_BLOCKED);
        if (first < end && !r->reader.ahead)
                wants_urgent(&m->wants, wants_find(&m->wants, first), true);
        hear(m);
        return first < end ? first : UINT32_MAX;
}

void model_arrive(struct model *m, uint32_t piece)
{
        struct want *want = wants_find(&m->wants, piece);

        m->have[piece] = true;
        m->told[piece] = PRIORITY_NONE;
        m->urgent[piece] = false;
        if (want)
                wants_done(&m->wants, want);
}

uint64_t model_wanted(const struct model *m)
{
        uint64_t n = 0;

        for (uint32_t i = 0; i < m->pieces; i++)
                n += m->told[i] > PRIORITY_NONE ? m->piece_length : 0;
        return n;
}

void model_check(const struct model *m, const char *rule)
{
        for (uint32_t i = 0; i < m->pieces; i++) {
                uint8_t highest = PRIORITY_NONE;

                for (unsigned k = 0; k < MODEL_READERS; k++) {
                        const struct model_reader *r = &m->reader[k];
                        uint8_t wish = r->open ? plan_priority(&r->reader.plan, i) : PRIORITY_NONE;

                        if (wish > highest)
                                highest = wish;
                }
                if (m->told[i] != (m->have[i] ? PRIORITY_NONE : highest))
                        fail_msg("%s: the session believes %u of piece %u, %s, wanted at %u", rule,
                                 m->told[i], i, m->have[i] ? "which is there" : "which is missing",
                                 highest);
        }
}
