/* test_traces.c: the reads of real programs (traces/, recorded by tests/traces/record.py) played to
 * the reader model: what it wants for each of them beyond what they read, and how often they come
 * to a piece that nobody had asked for. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define KIB  UINT64_C(1024)
#define MIB  (1024 * KIB)

/* ---- traces ---- */

enum what { OPEN, READ, CLOSE };

struct event {
        uint64_t ms;
        unsigned handle;
        enum what what;
        uint64_t offset, length; /* of a read; of an open: the file's number and its size */
};

struct trace {
        struct event *event;
        size_t n, room;
};

static void add_event(struct trace *t, struct event e)
{
        if (t->n == t->room) {
                t->room = t->room ? 2 * t->room : 256;
                t->event = reallocarray(t->event, t->room, sizeof *t->event);
                assert_non_null(t->event);
        }
        t->event[t->n++] = e;
}

/* Its format is in the head of each trace. */
static void parse_line(struct trace *t, const char *line)
{
        struct event e = {0};
        uint64_t count = 1, last_ms;
        int at = 0;

        if (sscanf(line, "%" SCNu64 " %u open %" SCNu64 " %" SCNu64 "%n", &e.ms, &e.handle,
                   &e.offset, &e.length, &at) == 4 &&
            at > 0) {
                e.what = OPEN;
                add_event(t, e);
                return;
        }
        if (sscanf(line, "%" SCNu64 " %u read %" SCNu64 " %" SCNu64 "%n", &e.ms, &e.handle,
                   &e.offset, &e.length, &at) == 4 &&
            at > 0) {
                e.what = READ;
                last_ms = e.ms;
                (void)sscanf(line + at, " x%" SCNu64 " %" SCNu64, &count, &last_ms);
                for (uint64_t i = 0, begin = e.ms; i < count; i++) {
                        if (i > 0)
                                e.ms = begin + (last_ms - begin) * i / (count - 1);
                        add_event(t, e);
                        e.offset += e.length;
                }
                return;
        }
        if (sscanf(line, "%" SCNu64 " %u close%n", &e.ms, &e.handle, &at) == 2 && at > 0) {
                e.what = CLOSE;
                add_event(t, e);
                return;
        }
        fail_msg("what is %s", line);
}

static struct trace load(const char *name)
{
        struct trace t = {0};
        char path[512], line[256];
        FILE *f;

        snprintf(path, sizeof path, "%s/%s.trace", TRACES, name);
        f = fopen(path, "r");
        if (!f)
                fail_msg("%s is not there", path);
        while (fgets(line, sizeof line, f))
                if (line[0] != '#')
                        parse_line(&t, line);
        fclose(f);
        assert_true(t.n > 2);
        return t;
}

/* ---- playing them ---- */

enum { FILES_MAX = 6, TRACE_HANDLES_MAX = 32 };

/* What came of it. */
struct result {
        unsigned files;
        uint64_t read;   /* bytes in pieces that were read */
        uint64_t wanted; /* bytes in pieces that were ever wanted: if all came, so much was fetched
                          */
        uint64_t most_beyond;    /* … beyond those read, of the file with the most */
        unsigned reads, unasked; /* reads; those whose first missing piece nobody had asked for */
        unsigned handles, played;
        uint64_t first_plays_ms; /* since it was opened */
        uint64_t window;         /* bytes wanted at the end of the last one that played */
        uint64_t most_at_once;   /* bytes wanted at once */
        unsigned jumps;
};

struct replay {
        const char *name;
        struct model file[FILES_MAX];
        bool *read[FILES_MAX]; /* by piece */
        struct {
                unsigned file, reader;
                uint64_t size, open_ms;
                bool played;
        } handle[TRACE_HANDLES_MAX];
        unsigned playing;
        struct result result;
};

static uint64_t wanted_now(const struct replay *p)
{
        uint64_t n = 0;

        for (unsigned i = 0; i < p->result.files; i++)
                n += HASH_COUNT(p->file[i].wants.table) * (uint64_t)p->file[i].piece_length;
        return n;
}

static void replay_open(struct replay *p, const struct event *e, uint32_t piece_length,
                        bool forgetful)
{
        /* Files of a torrent don't begin with a piece. */
        const uint64_t offset = 12345;
        unsigned number = (unsigned)e->offset - 1;
        struct model *m = &p->file[number];

        assert_true(number < FILES_MAX && e->handle < TRACE_HANDLES_MAX);
        if (number == p->result.files) {
                model_init(m, offset + e->length, piece_length, &p->playing);
                p->read[number] = calloc(m->pieces, sizeof *p->read[number]);
                assert_non_null(p->read[number]);
                p->result.files++;
        }
        p->handle[e->handle].file = number;
        p->handle[e->handle].size = e->length;
        p->handle[e->handle].open_ms = e->ms;
        p->handle[e->handle].reader = model_open(m, offset, e->length);
        m->reader[p->handle[e->handle].reader].forgetful = forgetful;
        p->result.handles++;
}

static void note_play(struct replay *p, const struct event *e)
{
        if (p->handle[e->handle].played)
                return;
        p->handle[e->handle].played = true;
        if (p->result.played++ == 0)
                p->result.first_plays_ms = e->ms - p->handle[e->handle].open_ms;
}

static void replay_read(struct replay *p, const struct event *e)
{
        struct model *m = &p->file[p->handle[e->handle].file];
        bool *read = p->read[p->handle[e->handle].file];
        struct model_reader *r = &m->reader[p->handle[e->handle].reader];
        uint64_t size = p->handle[e->handle].size, len = e->length;
        uint32_t first, end, missing;
        uint64_t now;

        if (e->offset >= size)
                return;
        if (len > size - e->offset)
                len = size - e->offset;
        layout_pieces(&r->layout, e->offset, len, &first, &end);
        missing = first;
        while (missing < end && m->have[missing])
                missing++;
        p->result.reads++;
        p->result.unasked += missing < end && m->told[missing] == PRIORITY_NONE;
        (void)model_read(m, p->handle[e->handle].reader, e->offset, len, 1000 + e->ms);
        for (uint32_t piece = first; piece < end; piece++) {
                read[piece] = true;
                if (!m->have[piece])
                        model_arrive(m, piece);
        }
        /* Going elsewhere: nothing of the old place is wanted in the same step. */
        if (r->reader.place[0].run_bytes == len && r->reader.returns == 0 && p->result.reads > 1) {
                p->result.jumps++;
                for (unsigned i = 0; i < r->reader.plan.n; i++)
                        if (r->reader.plan.range[i].first < first ||
                            r->reader.plan.range[i].end > end)
                                fail_msg("%s: %" PRIu64 " ms: a jump to piece %u, and [%u, %u) is "
                                         "wanted",
                                         p->name, e->ms, first, r->reader.plan.range[i].first,
                                         r->reader.plan.range[i].end);
        }
        if (r->reader.playing)
                note_play(p, e);
        now = wanted_now(p);
        if (now > p->result.most_at_once)
                p->result.most_at_once = now;
        if (r->reader.playing)
                p->result.window = now;
}

static void tell_file(struct replay *p, unsigned number)
{
        struct model *m = &p->file[number];
        uint64_t beyond = 0;

        for (uint32_t i = 0; i < m->pieces; i++) {
                p->result.read += p->read[number][i] ? m->piece_length : 0;
                p->result.wanted += m->ever[i] || p->read[number][i] ? m->piece_length : 0;
                beyond += m->ever[i] && !p->read[number][i] ? m->piece_length : 0;
        }
        if (beyond > p->result.most_beyond)
                p->result.most_beyond = beyond;
        free(p->read[number]);
        model_free(m);
}

static struct result replay(const char *name, uint32_t piece_length, bool forgetful)
{
        struct trace t = load(name);
        struct replay p = {.name = name};

        for (size_t i = 0; i < t.n; i++) {
                const struct event *e = &t.event[i];

                if (e->what == OPEN)
                        replay_open(&p, e, piece_length, forgetful);
                else if (e->what == READ)
                        replay_read(&p, e);
                else
                        model_close(&p.file[p.handle[e->handle].file], p.handle[e->handle].reader);
                /* Two readers never hurt each other: each piece has what the one wants that wants
                 * it most. Not for each read where the pieces are many. */
                if (piece_length >= 256 * KIB || i % 64 == 0)
                        for (unsigned k = 0; k < p.result.files; k++)
                                model_check(&p.file[k], name);
        }
        assert_int_equal(p.playing, 0);
        assert_int_equal(wanted_now(&p), 0);
        for (unsigned i = 0; i < p.result.files; i++)
                tell_file(&p, i);
        free(t.event);
        return p.result;
}

/* ---- what each program may cost ---- */

/* The film is of 4 Mbit/s and its sound: 248 MB in 480 s. */
#define FILM_RATE UINT64_C(517000)

struct cost_case {
        const char *name;
        unsigned handles, played; /* files opened; how many of them played */
        uint64_t beyond;          /* wanted and never read, of each file; and a piece or two */
        uint64_t at_once;         /* wanted at once beyond what a read waits for, in all */
        uint64_t window;          /* what is wanted ahead at the end, at least */
        unsigned unasked;         /* reads that come to a piece nobody had asked for, at most … */
};

/* unasked is for pieces of 256 KiB: one for each place a program goes to, and the first pieces
 * there until two reads followed on each other. */
static const struct cost_case cost_cases[] = {
        /* A probe costs what it touches, and in a row half a megabyte more. */
        {"ffprobe-mp4", 1, 0, 512 * KIB, 512 * KIB, 0, 3},
        {"ffprobe-mkv", 1, 0, 512 * KIB, 512 * KIB, 0, 1},
        /* Of four films that are scanned the one without an index is read for 2.4 MiB: it has a
         * player's first window for the last of them. */
        {"scan", 4, 1, 4 * MIB, 4 * MIB, 0, 11},
        /* Players over a link of 750 kB/s: ten seconds of what they took, where they are; at times
         * that is more than the link's rate, as what it brought came at once. What they leave
         * behind is one window for each place they played at. */
        {"mpv-mp4", 1, 1, 8 * MIB, 12 * MIB, 8 * FILM_RATE, 2},
        {"mpv-mkv", 1, 1, 8 * MIB, 12 * MIB, 8 * FILM_RATE, 1},
        {"mpv-start", 1, 1, 8 * MIB, 12 * MIB, 8 * FILM_RATE, 3},
        {"mpv-seek", 1, 1, 3 * 8 * MIB, 12 * MIB, 8 * FILM_RATE, 4},
        {"browser", 5, 2, 2 * 9 * MIB, 13 * MIB, 8 * FILM_RATE, 5},
        {"two-players", 2, 2, 2 * 8 * MIB, 2 * 12 * MIB, 2 * 8 * FILM_RATE, 3},
        /* Its pictures and its sound are 232 MiB apart. */
        {"mpv-split", 1, 1, 8 * MIB, 12 * MIB, 8 * FILM_RATE, 4},
        /* Who reads as fast as it gets is held at the bound. */
        {"mpv-greedy", 1, 1, 32 * MIB, 32 * MIB, 20 * MIB, 1},
        {"cp", 1, 1, 0, 32 * MIB, 0, 2},
        {"cat", 1, 1, 0, 32 * MIB, 0, 2},
};

static const uint32_t piece_lengths[] = {1 << 14, 1 << 18, 1 << 20, 1 << 22};

static double mib(uint64_t bytes)
{
        return (double)bytes / (double)MIB;
}

static void test_cost_of_programs(void **state)
{
        (void)state;
        print_message("%-12s %9s %8s %10s %10s %8s\n", "program", "pieces of", "read MiB",
                      "wanted MiB", "at once", "unasked");
        for (size_t i = 0; i < N(cost_cases); i++) {
                for (size_t k = 0; k < N(piece_lengths); k++) {
                        const struct cost_case *c = &cost_cases[i];
                        uint64_t length = piece_lengths[k];
                        struct result r = replay(c->name, piece_lengths[k], false);

                        print_message("%-12s %5u KiB %8.2f %10.2f %10.2f %4u of %u\n", c->name,
                                      (unsigned)(length / KIB), mib(r.read), mib(r.wanted),
                                      mib(r.most_at_once), r.unasked, r.reads);
                        if (r.handles != c->handles || r.played != c->played)
                                fail_msg("%s: %u of %u handles played", c->name, r.played,
                                         r.handles);
                        /* A window ends with a whole piece, at each place that was left. */
                        if (r.most_beyond > c->beyond + (1 + r.jumps) * length)
                                fail_msg("%s: %.2f MiB are wanted and never read", c->name,
                                         mib(r.most_beyond));
                        if (r.most_at_once > c->at_once + (1 + r.played) * length)
                                fail_msg("%s: %.2f MiB are wanted at once", c->name,
                                         mib(r.most_at_once));
                        if (r.window + r.played * length < c->window)
                                fail_msg("%s: %.2f MiB are wanted ahead", c->name, mib(r.window));
                        if (length >= 256 * KIB && r.unasked > c->unasked)
                                fail_msg("%s: %u reads come to a piece nobody asked for", c->name,
                                         r.unasked);
                }
        }
}

/* A handle that forgot each place it left would be a probe for ever when a film's pictures and its
 * sound lie apart: each new piece would be asked for when it is read, a round trip each. */
static void test_places_are_remembered(void **state)
{
        /* by piece length; a piece of 4 MiB is most of a window */
        static const unsigned at_least[] = {50, 15, 6, 2};

        (void)state;
        for (size_t k = 0; k < N(piece_lengths); k++) {
                struct result with = replay("mpv-split", piece_lengths[k], false);
                struct result without = replay("mpv-split", piece_lengths[k], true);

                assert_int_equal(without.played, 0);
                assert_int_equal(with.played, 1);
                if (without.unasked < at_least[k] * with.unasked)
                        fail_msg("pieces of %u KiB: %u reads come to a piece nobody asked for, "
                                 "%u without memory",
                                 piece_lengths[k] >> 10, with.unasked, without.unasked);
        }
        /* … and nobody else is the worse for it. */
        for (size_t i = 0; i < N(cost_cases); i++) {
                for (size_t k = 0; k < N(piece_lengths); k++) {
                        const char *name = cost_cases[i].name;
                        struct result with = replay(name, piece_lengths[k], false);
                        struct result without = replay(name, piece_lengths[k], true);

                        if (strcmp(name, "mpv-split") == 0)
                                continue;
                        if (with.unasked > without.unasked || with.played != without.played ||
                            with.first_plays_ms > without.first_plays_ms ||
                            with.wanted > without.wanted)
                                fail_msg("%s, pieces of %u KiB: %u unasked, plays after %" PRIu64
                                         " ms, %.2f MiB; without memory %u, %" PRIu64
                                         " ms, %.2f MiB",
                                         name, piece_lengths[k] >> 10, with.unasked,
                                         with.first_plays_ms, mib(with.wanted), without.unasked,
                                         without.first_plays_ms, mib(without.wanted));
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cost_of_programs),
                cmocka_unit_test(test_places_are_remembered),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
