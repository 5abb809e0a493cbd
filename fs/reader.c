/* SPDX-License-Identifier: MIT */
#include "reader.h"

/* A handle plays after this many bytes in a row; a library scan stays below on nearly every file.
 */
#define PLAY_AFTER_BYTES (2ull << 20)
/* A probe that goes on in a row for more than this wants as much again as it has read, up to the
 * second: with small pieces it would else wait a round trip for each (a player's start at 8 Mbit/s,
 * 64 KiB pieces: 0.93 s against 1.05). */
#define PROBE_RUN_BYTES   (128ull << 10)
#define PROBE_AHEAD_BYTES (512ull << 10)
/* The window while a rate is not known, and its least size afterwards. */
#define WINDOW_START_BYTES (4ull << 20)
/* How far ahead a player is served: long enough to ride out a slow peer, short enough that a seek
 * throws little away. */
#define WINDOW_SECONDS 10
/* Read-ahead of the kernel and threads of a player make reads arrive out of order by this much. */
#define SLACK_BACK_BYTES    (512ull << 10)
#define SLACK_FORWARD_BYTES (1ull << 20)
#define SAMPLE_MS           1000

void layout_pieces(const struct layout *l, uint64_t off, uint64_t len, uint32_t *first,
                   uint32_t *end)
{
        *first = (uint32_t)((l->offset + off) / l->piece_length);
        *end = (uint32_t)((l->offset + off + len - 1) / l->piece_length + 1);
}

static void measure(struct reader *r, uint64_t len, uint64_t now_ms)
{
        uint64_t took;

        r->sample_bytes += len;
        if (r->sample_ms == 0) {
                r->sample_ms = now_ms;
                r->sample_bytes = 0;
                return;
        }
        took = now_ms - r->sample_ms;
        if (took < SAMPLE_MS)
                return;
        uint64_t rate = r->sample_bytes * 1000 / took;
        r->rate = r->rate == 0 ? rate : (r->rate + rate) / 2;
        r->sample_ms = now_ms;
        r->sample_bytes = 0;
}

static void add_range(struct plan *p, uint32_t first, uint32_t end, uint8_t priority)
{
        if (first < end && p->n < PLAN_RANGES_MAX)
                p->range[p->n++] = (struct plan_range){first, end, priority};
}

/* Behind the read the priorities fall with the distance, each band twice as long as the one before:
 * a piece changes its priority at most five times on its way to the reader. */
static void plan_window(struct plan *p, const struct layout *l, uint64_t read_end, uint64_t window,
                        bool fill)
{
        uint64_t file_end = l->offset + l->size;
        uint32_t at = p->range[p->n - 1].end;
        uint32_t last = (uint32_t)((file_end - 1) / l->piece_length + 1);

        for (unsigned band = 0; band < 6 && window > 0; band++) {
                uint64_t to = l->offset + read_end + (window >> (5 - band));
                uint32_t end = to >= file_end ? last : (uint32_t)((to - 1) / l->piece_length + 1);

                if (end <= at)
                        continue;
                add_range(p, at, end, (uint8_t)(PRIORITY_BLOCKED - 1 - band));
                at = end;
        }
        if (fill)
                add_range(p, at, last, PRIORITY_LEAST);
}

void reader_touch(struct reader *r, const struct layout *l, uint64_t off, uint64_t len,
                  uint64_t now_ms, uint64_t window_max_bytes, bool fill)
{
        bool in_row =
                off + SLACK_BACK_BYTES >= r->position && off <= r->position + SLACK_FORWARD_BYTES;
        uint64_t window = 0;
        uint32_t first, end;

        if (!in_row) {
                r->playing = false;
                r->sample_ms = 0;
        }
        /* Bytes that were read before are no progress: a probe reads the head again and again. */
        if (!in_row) {
                r->run_bytes = len;
                r->position = off + len;
        } else if (off + len > r->position) {
                /* … and those that were skipped weren't read. */
                r->run_bytes += off > r->position ? len : off + len - r->position;
                r->position = off + len;
        }
        measure(r, len, now_ms);
        if (r->run_bytes >= PLAY_AFTER_BYTES)
                r->playing = true;

        if (r->playing) {
                window = r->rate * WINDOW_SECONDS;
                if (window < WINDOW_START_BYTES)
                        window = WINDOW_START_BYTES;
        } else if (r->run_bytes > PROBE_RUN_BYTES && r->run_bytes > len) {
                window = r->run_bytes < PROBE_AHEAD_BYTES ? r->run_bytes : PROBE_AHEAD_BYTES;
        }
        if (window > window_max_bytes)
                window = window_max_bytes;
        r->ahead = window > 0;
        layout_pieces(l, off, len, &first, &end);
        r->plan.n = 0;
        /* What a read waits for is wanted by the read itself; of the rest the first piece comes
         * first. */
        add_range(&r->plan, first, first + 1, PRIORITY_BLOCKED);
        add_range(&r->plan, first + 1, end, PRIORITY_BLOCKED - 1);
        plan_window(&r->plan, l, r->position > off + len ? r->position : off + len, window, fill);
}

uint8_t plan_priority(const struct plan *p, uint32_t piece)
{
        for (unsigned i = 0; i < p->n; i++)
                if (piece >= p->range[i].first && piece < p->range[i].end)
                        return p->range[i].priority;
        return PRIORITY_NONE;
}

/* The boundaries of both plans in rising order, each once. */
static unsigned boundaries(const struct plan *a, const struct plan *b,
                           uint32_t out[4 * PLAN_RANGES_MAX])
{
        const struct plan *both[2] = {a, b};
        unsigned n = 0, kept = 0;

        for (unsigned k = 0; k < 2; k++) {
                for (unsigned i = 0; i < both[k]->n; i++) {
                        out[n++] = both[k]->range[i].first;
                        out[n++] = both[k]->range[i].end;
                }
        }
        for (unsigned i = 1; i < n; i++) {
                uint32_t v = out[i];
                unsigned j = i;

                for (; j > 0 && out[j - 1] > v; j--)
                        out[j] = out[j - 1];
                out[j] = v;
        }
        for (unsigned i = 0; i < n; i++)
                if (kept == 0 || out[kept - 1] != out[i])
                        out[kept++] = out[i];
        return kept;
}

void plan_diff(const struct plan *before, const struct plan *after,
               void (*changed)(void *arg, uint32_t piece, uint8_t before, uint8_t after), void *arg)
{
        uint32_t at[4 * PLAN_RANGES_MAX];
        unsigned n = boundaries(before, after, at);

        /* Dropped ones first, then from the most urgent down. */
        for (int level = PRIORITY_BLOCKED + 1; level >= PRIORITY_LEAST; level--) {
                uint8_t want = (uint8_t)(level > PRIORITY_BLOCKED ? PRIORITY_NONE : level);

                for (unsigned i = 0; i + 1 < n; i++) {
                        uint8_t was = plan_priority(before, at[i]),
                                is = plan_priority(after, at[i]);

                        if (is != want || is == was)
                                continue;
                        for (uint32_t piece = at[i]; piece < at[i + 1]; piece++)
                                changed(arg, piece, was, is);
                }
        }
}
