/* SPDX-License-Identifier: MIT */
/* ctl_table_cache.c: the table of `cache`: what is there by torrent, and what would go first. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "ctl/ctl_json.h"
#include "ctl/ctl_print.h"
#include "ctl/ctl_table.h"

/* Columns: "part" below PINNED, "asleep" or "pending", and a day with its time. */
enum { PINNED_WIDTH = 6, STATE_WIDTH = 7, USED_WIDTH = 16 };

struct cached {
        const cJSON *json;
        uint64_t have;
        uint64_t next; /* bytes of it that would go first */
        size_t index;
};

static int by_bytes(const void *a, const void *b)
{
        const struct cached *x = a, *y = b;

        if (x->have != y->have)
                return x->have > y->have ? -1 : 1;
        return x->index < y->index ? -1 : x->index > y->index;
}

static uint64_t next_of(const cJSON *cache, const char *hash)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(cache, "next"), *v;
        uint64_t bytes = 0;

        cJSON_ArrayForEach (v, list) {
                const char *other = ctl_json_hash(v, "infoHash");

                if (hash && other && strcmp(hash, other) == 0)
                        bytes += ctl_json_number(v, "bytes");
        }
        return bytes;
}

static const char *text_or_dash(const cJSON *json, const char *key)
{
        const char *text = ctl_json_text(json, key);

        return text && *text ? text : "-";
}

/* "yes", "part" or "-". */
static const char *pinned_of(const cJSON *torrent)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(torrent, "pinned");

        return cJSON_IsTrue(item) ? "yes" : cJSON_IsString(item) ? "part" : "-";
}

/* ---- for people ---- */

static void put_line(FILE *out, const char *have, const char *next, const char *pinned,
                     const char *state, const char *used, const char *name,
                     const struct ctl_style *style)
{
        size_t taken =
                2 * CTL_SIZE_WIDTH + PINNED_WIDTH + STATE_WIDTH + USED_WIDTH + 5 * CTL_GAP_WIDTH;

        fprintf(out, "%*s" CTL_GAP "%*s" CTL_GAP, CTL_SIZE_WIDTH, have, CTL_SIZE_WIDTH, next);
        ctl_put_cell(out, pinned, PINNED_WIDTH, true, style);
        fputs(CTL_GAP, out);
        ctl_put_cell(out, state, STATE_WIDTH, true, style);
        fputs(CTL_GAP, out);
        ctl_put_cell(out, used, USED_WIDTH, true, style);
        fputs(CTL_GAP, out);
        ctl_text_put(out, name,
                     taken + CTL_WIDTH_MIN < style->width ? style->width - taken : CTL_WIDTH_MIN,
                     style);
}

/* The user's time. */
static void day_of(char buf[USED_WIDTH + 1], uint64_t seconds)
{
        time_t at = (time_t)seconds;
        struct tm tm;

        strcpy(buf, "-");
        if (seconds == 0 || seconds > INT32_MAX * 100ull || !localtime_r(&at, &tm) ||
            strftime(buf, USED_WIDTH + 1, "%Y-%m-%d %H:%M", &tm) == 0)
                strcpy(buf, "-");
}

static void put_row(FILE *out, const struct cached *c, const struct ctl_style *style)
{
        char have[CTL_SIZE_MAX], next[CTL_SIZE_MAX] = "-", used[USED_WIDTH + 1];

        ctl_size(have, c->have);
        if (c->next > 0)
                ctl_size(next, c->next);
        day_of(used, ctl_json_number(c->json, "usedAt"));
        put_line(out, have, next, pinned_of(c->json), text_or_dash(c->json, "state"), used,
                 text_or_dash(c->json, "name"), style);
        putc('\n', out);
}

/* The names of those that would go first, in order. */
static void put_next(FILE *out, const cJSON *cache, const struct ctl_style *style)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(cache, "next"), *v;
        char *line = NULL;
        size_t len = 0;
        FILE *f = cJSON_GetArraySize(list) > 0 ? open_memstream(&line, &len) : NULL;

        if (!f)
                return;
        cJSON_ArrayForEach (v, list) {
                fprintf(f, "%s%s", v == list->child ? "first to go: " : ", ",
                        text_or_dash(v, "name"));
        }
        if (fclose(f) == 0)
                ctl_put_line(out, line, style, "");
        free(line);
}

static void put_summary(FILE *out, const cJSON *cache, const struct ctl_style *style)
{
        char used[CTL_SIZE_MAX], limit[CTL_SIZE_MAX], left[CTL_SIZE_MAX], least[CTL_SIZE_MAX],
                evicted[CTL_SIZE_MAX], line[256];

        ctl_size(used, ctl_json_number(cache, "usedBytes"));
        ctl_size(limit, ctl_json_number(cache, "limitBytes"));
        ctl_size(left, ctl_json_number(cache, "freeBytes"));
        ctl_size(least, ctl_json_number(cache, "minFreeBytes"));
        ctl_size(evicted, ctl_json_number(cache, "evictedBytes"));
        snprintf(line, sizeof line, "%s of %s used; disk: %s free (min %s); %s evicted", used,
                 limit, left, least, evicted);
        ctl_put_line(out, line, style, "");
}

static void for_people(FILE *out, const cJSON *cache, const struct cached *list, size_t n,
                       const struct ctl_style *style)
{
        struct ctl_style s = *style;

        s.width = s.width < CTL_WIDTH_MIN ? CTL_WIDTH_MIN : s.width;
        if (n > 0) {
                ctl_paint(out, &s, CTL_BOLD);
                put_line(out, "HERE", "NEXT", "PINNED", "STATE", "USED", "NAME", &s);
                ctl_paint(out, &s, CTL_PLAIN);
                putc('\n', out);
        }
        for (size_t i = 0; i < n; i++)
                put_row(out, &list[i], &s);
        put_next(out, cache, &s);
        put_summary(out, cache, &s);
}

/* ---- for programs ---- */

static void put_fields(FILE *out, const struct cached *c, const struct ctl_style *style)
{
        ctl_put_field(out, text_or_dash(c->json, "infoHash"), style);
        fprintf(out, "\t%" PRIu64 "\t%" PRIu64 "\t%s\t", c->have, c->next, pinned_of(c->json));
        ctl_put_field(out, text_or_dash(c->json, "state"), style);
        fprintf(out, "\t%" PRIu64 "\t", ctl_json_number(c->json, "usedAt"));
        ctl_put_field(out, text_or_dash(c->json, "name"), style);
        putc('\n', out);
}

int ctl_table_cache(FILE *out, const cJSON *cache, const struct ctl_style *style)
{
        const cJSON *torrents = cJSON_GetObjectItemCaseSensitive(cache, "torrents"), *t;
        _cleanup_free_ struct cached *list = NULL;
        size_t n = 0;

        if (!cJSON_IsArray(torrents))
                return -EBADMSG;
        list = calloc((size_t)cJSON_GetArraySize(torrents) + 1, sizeof *list);
        if (!list)
                return -ENOMEM;
        cJSON_ArrayForEach (t, torrents) {
                list[n] = (struct cached){.json = t,
                                          .have = ctl_json_number(t, "haveBytes"),
                                          .next = next_of(cache, ctl_json_hash(t, "infoHash")),
                                          .index = n};
                n++;
        }
        qsort(list, n, sizeof *list, by_bytes);
        if (style->terminal)
                for_people(out, cache, list, n, style);
        else
                for (size_t i = 0; i < n; i++)
                        put_fields(out, &list[i], style);
        return 0;
}
