/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_rows.h"

#include <errno.h>
#include <stdlib.h>

#include "ctl/ctl_json.h"

static unsigned progress_of(const cJSON *torrent)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(torrent, "progress");

        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0))
                return 0;
        return item->valuedouble < 1 ? (unsigned)(item->valuedouble * CTL_COMPLETE) : CTL_COMPLETE;
}

static const char *or_dash(const char *text)
{
        return text && *text ? text : "-";
}

static struct ctl_row row_of(const cJSON *t, size_t index)
{
        const char *error = ctl_json_text(t, "error");

        return (struct ctl_row){
                .hash = or_dash(ctl_json_text(t, "infoHash")),
                .name = or_dash(ctl_json_text(t, "name")),
                .state = or_dash(ctl_json_text(t, "state")),
                .error = error && *error ? error : NULL,
                .kept = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(t, "kept")) ? "kept" : "temp",
                .has_length = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(t, "length")),
                .length = ctl_json_number(t, "length"),
                .have = ctl_json_number(t, "haveBytes"),
                .down = ctl_json_number(t, "downloadRate"),
                .up = ctl_json_number(t, "uploadRate"),
                .peers = ctl_json_number(t, "peers"),
                .seeds = ctl_json_number(t, "seeds"),
                .readers = ctl_json_number(t, "readers"),
                .parked = ctl_json_number(t, "parkedReads"),
                .progress = progress_of(t),
                .index = index,
        };
}

int ctl_rows_new(const cJSON *status, struct ctl_rows *ret)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents"), *t;
        struct ctl_row *row;
        size_t n = 0;

        if (!cJSON_IsArray(list))
                return -EBADMSG;
        row = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *row);
        if (!row)
                return -ENOMEM;
        cJSON_ArrayForEach (t, list) {
                row[n] = row_of(t, n);
                n++;
        }
        *ret = (struct ctl_rows){row, n};
        return 0;
}

static unsigned activity(const struct ctl_row *r)
{
        return r->readers || r->parked ? 2 : r->down || r->up ? 1 : 0;
}

static int by_activity(const void *a, const void *b)
{
        const struct ctl_row *x = a, *y = b;

        if (activity(x) != activity(y))
                return activity(x) > activity(y) ? -1 : 1;
        return x->index < y->index ? -1 : x->index > y->index;
}

void ctl_rows_sort_by_activity(struct ctl_rows *rows)
{
        qsort(rows->row, rows->n, sizeof *rows->row, by_activity);
}
