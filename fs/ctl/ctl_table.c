/* SPDX-License-Identifier: MIT */
/* ctl_table.c: the tables of `list` and `files`. */
#include "ctl/ctl_table.h"

#include <errno.h>
#include <inttypes.h>

#include "ctl/ctl_json.h"
#include "ctl/ctl_print.h"
#include "ctl/ctl_rows.h"

/* ---- list ---- */

/* A line of the table of torrents, or its header. The hash is for copying: never cut; on a narrow
 * terminal the line wraps. */
static void put_list_line(FILE *out, const char *hash, size_t hash_width, const char *kept,
                          const char *size, const char *name, const struct ctl_style *style)
{
        size_t taken = hash_width + CTL_KEPT_WIDTH + CTL_SIZE_WIDTH + 3 * CTL_GAP_WIDTH;

        ctl_put_cell(out, hash, hash_width, true, style);
        fprintf(out, CTL_GAP "%s" CTL_GAP "%*s" CTL_GAP, kept, CTL_SIZE_WIDTH, size);
        ctl_text_put(out, name,
                     taken + CTL_WIDTH_MIN < style->width ? style->width - taken : CTL_WIDTH_MIN,
                     style);
}

static void list_for_people(FILE *out, const cJSON *status, struct ctl_rows *rows,
                            const struct ctl_style *style)
{
        size_t hash_width = 0;
        char size[CTL_SIZE_MAX];

        (void)status;
        if (rows->n == 0) {
                ctl_put_line(out, CTL_NO_TORRENTS, style, "");
                return;
        }
        for (size_t i = 0; i < rows->n; i++) {
                size_t w = ctl_text_width(rows->row[i].hash, style);

                hash_width = w > hash_width ? w : hash_width;
        }
        ctl_paint(out, style, CTL_BOLD);
        put_list_line(out, "HASH", hash_width, "KEPT", "SIZE", "NAME", style);
        ctl_paint(out, style, CTL_PLAIN);
        putc('\n', out);
        for (size_t i = 0; i < rows->n; i++) {
                const struct ctl_row *t = &rows->row[i];

                put_list_line(out, t->hash, hash_width, t->kept, ctl_size_cell(t, size), t->name,
                              style);
                putc('\n', out);
        }
}

static void list_for_programs(FILE *out, const struct ctl_row *r, const struct ctl_style *style)
{
        ctl_put_field(out, r->hash, style);
        fprintf(out, "\t%s\t", r->kept);
        ctl_put_length(out, r);
        putc('\t', out);
        ctl_put_field(out, r->name, style);
        putc('\n', out);
}

int ctl_table_list(FILE *out, const cJSON *status, const struct ctl_style *style)
{
        return ctl_put_torrents(out, status, style, list_for_people, list_for_programs);
}

cJSON *ctl_table_list_json(const cJSON *status)
{
        static const char *const keys[] = {"infoHash", "infoHashV2", "name", "kept", "length"};
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents"), *t;
        _cleanup_json_ cJSON *json = NULL;
        cJSON *to, *whole;

        if (!cJSON_IsArray(list))
                return NULL;
        json = cJSON_CreateObject();
        to = cJSON_AddArrayToObject(json, "torrents");
        if (!to)
                return NULL;
        cJSON_ArrayForEach (t, list) {
                cJSON *shown = cJSON_CreateObject();

                if (!cJSON_AddItemToArray(to, shown)) {
                        cJSON_Delete(shown);
                        return NULL;
                }
                for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
                        const cJSON *item = cJSON_GetObjectItemCaseSensitive(t, keys[i]);
                        cJSON *copy = item ? cJSON_Duplicate(item, true) : NULL;

                        if (item && !cJSON_AddItemToObject(shown, keys[i], copy)) {
                                cJSON_Delete(copy);
                                return NULL;
                        }
                }
        }
        whole = json;
        json = NULL;
        return whole;
}

/* ---- files ---- */

int ctl_table_files(FILE *out, const cJSON *files, const struct ctl_style *style)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(files, "files"), *f;

        if (!cJSON_IsArray(list))
                return -EBADMSG;
        if (style->terminal) {
                ctl_paint(out, style, CTL_BOLD);
                fprintf(out, "INDEX" CTL_GAP "%*s" CTL_GAP "PATH", CTL_SIZE_WIDTH, "SIZE");
                ctl_paint(out, style, CTL_PLAIN);
                putc('\n', out);
        }
        cJSON_ArrayForEach (f, list) {
                uint64_t index = ctl_json_number(f, "index"), length = ctl_json_number(f, "length");
                const char *path = ctl_json_text(f, "path");
                char size[CTL_SIZE_MAX];

                if (style->terminal) {
                        ctl_size(size, length);
                        fprintf(out, "%5" PRIu64 CTL_GAP "%*s" CTL_GAP, index, CTL_SIZE_WIDTH,
                                size);
                } else
                        fprintf(out, "%" PRIu64 "\t%" PRIu64 "\t", index, length);
                /* a path is for copying: whole, and the terminal may wrap it */
                ctl_put_field(out, path ? path : "-", style);
                putc('\n', out);
        }
        return 0;
}
