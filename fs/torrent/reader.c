/* SPDX-License-Identifier: MIT */
#include "torrent/reader.h"

#include <string.h>

/* A handle plays after this many bytes in a row; a library scan stays below on nearly every file.
 */
#define PLAY_AFTER_BYTES (2ull << 20)
/* So does one that has read so much in a row and rested for so long in all between its reads, a
 * rest counting no more than the last: a player takes what it shows, a scan all it gets. With
 * pieces of 4 MiB nothing was asked for behind the first second of film until the picture had
 * gone on for 1.75 s, and stood still then. */
#define PACED_BYTES   (512ull << 10)
#define PACED_REST_MS 250
#define PACED_EACH_MS 100
/* A player rests for a quarter of its time at least, unless it has to wait. One that waits most of
 * the time, as what it plays comes too slowly, is known by what it would take if it never had to:
 * most films have no more. */
#define PACED_SHARE 4
#define PACED_TAKES (3ull << 20)
/* One that has read no more than this in a row may be a player whose first seconds come slowly. */
#define YOUNG_BYTES (4ull << 20)
/* A probe that goes on in a row for more than this wants as much again as it has read, up to the
 * second: with small pieces it would else wait a round trip for each. The read counts too where
 * there are several pieces in it: the more are asked for at a time, the further out of order a
 * seeder sends them, and a player waits for the first. */
#define PROBE_RUN_BYTES    (128ull << 10)
#define PROBE_AHEAD_BYTES  (512ull << 10)
#define PROBE_AHEAD_PIECES 4
/* The window's least size. While a rate is not known, in the first second, it is as large as what
 * was read in a row: a whole file of 1 GiB at 1.10 times the rate of plain libtorrent, against 0.92
 * with this alone. */
#define WINDOW_START_BYTES (4ull << 20)
/* And so many pieces behind the one that is read, however large they are: while one is played the
 * next is on its way. */
#define WINDOW_PIECES 2
/* What one reader, and all together, may want ahead. More than 2,048 blocks (32 MiB) in pieces
 * begun and libtorrent finishes those before it looks at priorities. */
#define WINDOW_MAX_BYTES  (32ull << 20)
#define WINDOWS_MAX_BYTES (256ull << 20)
/* How far ahead a player is served: long enough to ride out a slow peer, short enough that a seek
 * throws little away. */
#define WINDOW_SECONDS 10
/* One that plays gets the next piece that it lacks, where that is needed so soon, as if it waited
 * for it. */
#define SOON_SECONDS 3
/* Of a window, each with a priority of its own. Of one priority the session asks for the next few
 * pieces in their order, and for those behind them in any; where a player or the sidecar waits for
 * them that matters, so a window as small as a probe's and its read has bands of one length. */
#define BANDS      6
#define EVEN_BYTES (1ull << 20)
/* So many bands of a window, the nearest quarter of it, are raised for a reader that gets less than
 * its share. That is two and a half seconds: what is asked for comes a second later, behind what
 * the peers were asked for before. Measured with a film of 1 MiB/s beside a cat, 4 MiB/s for both,
 * pieces of 1 MiB: 0.71 MiB/s without, 0.93-0.96 so. Fewer bands do less. With more,
 * readers that are alike are served in turn instead of at once. */
#define RAISED_BANDS 4
/* Read-ahead of the kernel and threads of a player make reads arrive out of order by this much. */
#define SLACK_BACK_BYTES    (512ull << 10)
#define SLACK_FORWARD_BYTES (1ull << 20)
#define SAMPLE_MS           1000
/* A place that was not read while so much was read at others is forgotten. */
#define PLACE_KEEP_BYTES (32ull << 20)
/* One return is a seek back, or the way to the index and back; two are a habit. */
#define RETURNS_SEVERAL 2

void layout_pieces(const struct layout *l, uint64_t off, uint64_t len, uint32_t *first,
                   uint32_t *end)
{
        *first = (uint32_t)((l->offset + off) / l->piece_length);
        *end = (uint32_t)((l->offset + off + len - 1) / l->piece_length + 1);
}

uint64_t reader_window_max(unsigned playing)
{
        uint64_t share = WINDOWS_MAX_BYTES / (playing ? playing : 1);

        return share < WINDOW_MAX_BYTES ? share : WINDOW_MAX_BYTES;
}

bool reader_is_behind(uint64_t rate, uint64_t sum, unsigned playing)
{
        /* An eighth less than the mean: else two that are alike would be raised in turn. */
        return playing > 1 && rate < sum / playing - sum / playing / 8;
}

static void measure(struct place *p, uint64_t progress, uint64_t now_ms)
{
        uint64_t took;

        p->sample_bytes += progress;
        if (p->sample_ms == 0) {
                p->sample_ms = now_ms;
                p->sample_bytes = 0;
                return;
        }
        took = now_ms - p->sample_ms;
        if (took < SAMPLE_MS)
                return;
        uint64_t rate = p->sample_bytes * 1000 / took;
        p->rate = p->rate == 0 ? rate : (p->rate + rate) / 2;
        p->sample_ms = now_ms;
        p->sample_bytes = 0;
}

static void add_range(struct plan *p, uint32_t first, uint32_t end, uint8_t priority)
{
        if (first < end && p->n < PLAN_RANGES_MAX)
                p->range[p->n++] = (struct plan_range){first, end, priority};
}

/* One behind the piece of the byte before `end` of the torrent. */
static uint32_t piece_end(const struct layout *l, uint64_t end)
{
        return (uint32_t)((end - 1) / l->piece_length + 1);
}

/* Adds the pieces from `at` up to window bytes behind the byte `from`. Their priorities fall with
 * the distance, in six bands. Of a large window each band reaches twice as far as the one before,
 * so that a piece changes its priority at most five times on its way to the reader. A window of
 * 32 MiB, where 7 is the priority of what a read waits for:
 *
 *   window, up to           1   2   4     8        16            32 MiB
 *   priority            | 6 | 5 | 4 |  3  |    2    |       1        |
 *   coarse              |   5   |    3    |            1             |
 *   raised              |        7        |    2    |       1        |
 *
 * Coarse leaves out every other band, for a reader that has several windows. Raised makes the
 * nearest four bands as urgent as what a read waits for. A band in which no piece begins has the
 * next one all the same: of two large pieces with one priority the farther came first at times. A
 * film in pieces of 4 MiB stood still for that, for up to 4 s. */
static void plan_window(struct plan *p, const struct layout *l, uint32_t at, uint64_t from,
                        uint64_t window, bool coarse, bool raised)
{
        uint64_t file_end = l->offset + l->size, begin = l->offset + from;
        uint32_t last = piece_end(l, window < file_end - begin ? begin + window : file_end);
        bool even = window <= EVEN_BYTES;

        if (window == 0)
                return;
        for (unsigned band = coarse; band < BANDS && at < last; band += 1 + coarse) {
                uint64_t len = even ? window * (band + 1) / BANDS : window >> (BANDS - 1 - band);
                uint64_t to = begin + (len > 0 ? len : 1);
                uint32_t reach = to < file_end ? piece_end(l, to) : last;
                uint32_t end = reach > at ? reach : at + 1;
                bool urgent = raised && band < RAISED_BANDS;

                if (urgent && reach <= at)
                        continue;
                add_range(p, at, end, (uint8_t)(PRIORITY_BLOCKED - (urgent ? 0 : 1 + band)));
                at = end;
        }
}

bool reader_in_row(uint64_t position, uint64_t off, uint64_t end)
{
        return end + SLACK_BACK_BYTES >= position && off <= position + SLACK_FORWARD_BYTES;
}

static bool in_row(const struct place *p, uint64_t off)
{
        return reader_in_row(p->position, off, off);
}

static uint64_t distance(const struct place *p, uint64_t off)
{
        return off > p->position ? off - p->position : p->position - off;
}

const struct place *reader_goes_on(const struct reader *r, uint64_t off)
{
        const struct place *nearest = NULL;

        for (unsigned i = 0; i < r->places; i++) {
                const struct place *p = &r->place[i];

                if (in_row(p, off) && (!nearest || distance(p, off) < distance(nearest, off)))
                        nearest = p;
        }
        return nearest;
}

static bool reads_at_several(const struct reader *r)
{
        return r->returns >= RETURNS_SEVERAL && r->places > 1;
}

/* Brings the place that a read at off goes on with to the front, or a new one. */
static void find_place(struct reader *r, uint64_t off)
{
        struct place found = {.position = off, .given = off};
        unsigned i = 0;

        /* The one left longest ago is the last. */
        while (r->places > 1 && r->read_bytes - r->place[r->places - 1].left_at > PLACE_KEEP_BYTES)
                r->places--;
        while (i < r->places && !in_row(&r->place[i], off))
                i++;
        if (i == 0 && r->places > 0)
                return;
        if (i < r->places) {
                found = r->place[i];
                r->returns++;
                /* A probe's row counts from the break: a scanner goes to the index and back. */
                if (!found.playing && !reads_at_several(r))
                        found = (struct place){.position = off, .given = off, .rate = found.rate};
        } else {
                /* It is the same player that will play there. */
                if (r->places > 0)
                        found.rate = r->place[0].rate;
                r->returns = 0;
                if (r->places < READER_PLACES)
                        r->places++;
                else
                        i--;
        }
        memmove(&r->place[1], &r->place[0], i * sizeof r->place[0]);
        r->place[0] = found;
}

static void read_on(struct reader *r, uint64_t off, uint64_t len, uint64_t now_ms,
                    uint64_t rested_ms)
{
        struct place *p = &r->place[0];
        uint64_t progress = 0;

        if (p->run_bytes > 0)
                p->rested_ms += rested_ms < PACED_EACH_MS ? rested_ms : PACED_EACH_MS;

        /* Bytes that were read before are no progress: a probe reads the head again and again, and
         * a player that comes back to a place what it had in its buffer. Those that were skipped
         * weren't read. */
        if (off + len > p->position) {
                progress = off > p->position ? len : off + len - p->position;
                p->position = off + len;
        }
        p->run_bytes += progress;
        measure(p, progress, now_ms);
        if (p->run_bytes >= PLAY_AFTER_BYTES ||
            (p->run_bytes >= PACED_BYTES && p->rested_ms >= PACED_REST_MS))
                p->playing = true;
        r->read_bytes += len;
        p->left_at = r->read_bytes;
}

/* Bytes from where the place is to the end of its piece. */
static uint64_t rest_of_piece(const struct place *p, const struct layout *l)
{
        return l->piece_length - (l->offset + p->position) % l->piece_length;
}

/* How far ahead of a place is wanted, if there is room; the last read took len of its row. */
static uint64_t window_of(const struct place *p, const struct layout *l, uint64_t len)
{
        if (p->playing) {
                uint64_t window = p->rate > 0 ? p->rate * WINDOW_SECONDS : p->run_bytes;
                uint64_t pieces = WINDOW_PIECES * (uint64_t)l->piece_length + rest_of_piece(p, l);

                if (window < WINDOW_START_BYTES)
                        window = WINDOW_START_BYTES;
                return window < pieces ? pieces : window;
        }
        if (p->run_bytes > PROBE_RUN_BYTES && p->run_bytes > len) {
                uint64_t room = PROBE_AHEAD_BYTES;

                if (l->piece_length <= PROBE_AHEAD_BYTES / PROBE_AHEAD_PIECES)
                        room -= len < room ? len : room;
                return p->run_bytes < room ? p->run_bytes : room;
        }
        return 0;
}

/* Each place has an equal share of the bytes that may be wanted; what some don't need is for those
 * that do. Which one is read now makes no difference: else all would change with each read. */
static void share_windows(const struct reader *r, const struct layout *l, unsigned places,
                          uint64_t len, uint64_t max_bytes, uint64_t window[READER_PLACES])
{
        uint64_t share = max_bytes / places, left = max_bytes;
        unsigned hungry = 0;

        for (unsigned i = 0; i < places; i++) {
                window[i] = window_of(&r->place[i], l, places > 1 ? 0 : len);
                left -= window[i] < share ? window[i] : share;
                hungry += window[i] > share;
        }
        for (unsigned i = 0; i < places; i++)
                if (window[i] > share && window[i] > share + left / hungry)
                        window[i] = share + left / hungry;
}

void reader_touch(struct reader *r, const struct layout *l, uint64_t off, uint64_t len,
                  uint64_t now_ms, uint64_t rested_ms, uint64_t window_max_bytes)
{
        uint64_t window[READER_PLACES];
        unsigned places;
        uint32_t first, end;

        find_place(r, off);
        read_on(r, off, len, now_ms, rested_ms);
        places = reads_at_several(r) ? r->places : 1;
        share_windows(r, l, places, len, window_max_bytes, window);
        layout_pieces(l, off, len, &first, &end);
        r->plan.n = 0;
        r->presses = false;
        /* What a read waits for is wanted by the read itself; the rest of it in order, as what
         * comes behind: over HTTP what is there is passed on at once. */
        add_range(&r->plan, first, first + 1, PRIORITY_BLOCKED);
        r->playing = false;
        r->rate = 0;
        for (unsigned i = 0; i < places; i++) {
                const struct place *p = &r->place[i];
                uint64_t from = i == 0 ? off : p->position;
                uint64_t to = i == 0 && window[i] == 0 ? off + len : p->position + window[i];
                uint32_t at = i == 0 ? first + 1 : (uint32_t)((l->offset + from) / l->piece_length);

                r->playing |= p->playing;
                r->rate += p->playing ? p->rate : 0;
                plan_window(&r->plan, l, at, from, to - from, places > 1, r->behind && p->playing);
        }
        r->ahead = window[0] > 0;
        r->window = window[0];
        if (r->yields)
                reader_yields(r);
}

void reader_yields(struct reader *r)
{
        r->yields = true;
        for (unsigned i = 0; i < r->plan.n; i++)
                if (r->plan.range[i].priority > PRIORITY_YIELDS)
                        r->plan.range[i].priority = PRIORITY_YIELDS;
}

void reader_gave(struct reader *r, uint64_t off, uint64_t end)
{
        /* The answer to an earlier read may come when another place is read. */
        for (unsigned i = 0; i < r->places; i++) {
                struct place *p = &r->place[i];

                if (!reader_in_row(p->position, off, end))
                        continue;
                if (end > p->given)
                        p->given = end;
                return;
        }
}

/* Bytes per second that it would take if it never waited; 0: it has not rested yet. */
static uint64_t would_take(const struct place *p)
{
        return p->rested_ms > 0 ? p->run_bytes * 1000 / p->rested_ms : 0;
}

bool reader_is_paced(const struct reader *r)
{
        const struct place *p = &r->place[0];
        uint64_t takes = would_take(p);

        return r->playing && p->rested_ms >= PACED_REST_MS &&
               (takes <= PACED_TAKES || takes / PACED_SHARE <= p->rate);
}

bool reader_may_play(const struct reader *r)
{
        const struct place *p = &r->place[0];

        return r->places > 0 && p->run_bytes >= PACED_BYTES && p->run_bytes < YOUNG_BYTES;
}

uint64_t reader_needs(const struct reader *r)
{
        return r->place[0].position + (r->playing ? r->window / 2 : r->window);
}

uint64_t reader_needs_soon(const struct reader *r)
{
        const struct place *p = &r->place[0];
        uint64_t rate = p->rate, least = would_take(p) / PACED_SHARE;

        if (reads_at_several(r)) /* which one is read now makes no difference */
                return p->position;
        /* Its first seconds may have come slowly: then no more is known than the least that it may
         * take. */
        if (p->run_bytes < YOUNG_BYTES && least > rate)
                rate = least;
        return p->position + SOON_SECONDS * rate;
}

void reader_presses(struct reader *r, uint32_t piece)
{
        unsigned before = r->plan.n;

        add_range(&r->plan, piece, piece + 1, PRIORITY_BLOCKED);
        r->presses = r->plan.n > before;
}

void reader_relents(struct reader *r)
{
        if (r->presses)
                r->plan.n--;
        r->presses = false;
}

uint8_t plan_priority(const struct plan *p, uint32_t piece)
{
        uint8_t highest = PRIORITY_NONE;

        for (unsigned i = 0; i < p->n; i++)
                if (piece >= p->range[i].first && piece < p->range[i].end &&
                    p->range[i].priority > highest)
                        highest = p->range[i].priority;
        return highest;
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
        uint8_t was[4 * PLAN_RANGES_MAX], is[4 * PLAN_RANGES_MAX];
        unsigned n = boundaries(before, after, at);

        for (unsigned i = 0; i < n; i++) {
                was[i] = plan_priority(before, at[i]);
                is[i] = plan_priority(after, at[i]);
        }

        /* Dropped ones first, then from the most urgent down. */
        for (int level = PRIORITY_BLOCKED + 1; level >= PRIORITY_LEAST; level--) {
                uint8_t want = (uint8_t)(level > PRIORITY_BLOCKED ? PRIORITY_NONE : level);

                for (unsigned i = 0; i + 1 < n; i++) {
                        if (is[i] != want || is[i] == was[i])
                                continue;
                        for (uint32_t piece = at[i]; piece < at[i + 1]; piece++)
                                changed(arg, piece, was[i], is[i]);
                }
        }
}
