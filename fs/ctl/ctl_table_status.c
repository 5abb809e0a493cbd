/* SPDX-License-Identifier: MIT */
/* ctl_table_status.c: the table of `status`: progress, rates, peers, readers. */
#include <inttypes.h>
#include <string.h>

#include "ctl/ctl_json.h"
#include "ctl/ctl_print.h"
#include "ctl/ctl_rows.h"
#include "ctl/ctl_table.h"

/* Columns are dropped before the names get narrower than this (if there is a name so long). */
enum { NAME_MIN = 18 };

enum { BAR_CELLS = 8 };
#define BAR_EIGHTS (BAR_CELLS * 8)

/* The session's thread gives a sign of life every second or so; from here on it is worth a line. */
enum { HEARTBEAT_LATE_MS = 10000 };

/* ---- cells ---- */

/* The text of a cell, short; text that may be long or hostile goes by reference. */
enum { CELL_MAX = 40 };

enum cell { CELL_SIZE, CELL_BAR, CELL_PERCENT, CELL_RATE, CELL_COUNT, CELL_KEPT, CELL_STATE };

/* Beside the name, which is first and takes what the others leave. */
static const struct column {
        const char *title;
        enum cell cell;
        size_t field; /* of struct ctl_row: the number of a rate or a count */
        unsigned width;
        unsigned drop; /* where names have no room the column with the lowest goes first; 0: none
                          does */
        bool left;
} columns[] = {
#define FIELD(name) offsetof(struct ctl_row, name)
        {"SIZE", CELL_SIZE, 0, CTL_SIZE_WIDTH, 6, false},
        {"PROGRESS", CELL_BAR, 0, BAR_CELLS + 2, 5, true},
        {"", CELL_PERCENT, 0, 4, 0, false},
        {"DOWN", CELL_RATE, FIELD(down), 10, 9, false},
        {"UP", CELL_RATE, FIELD(up), 10, 4, false},
        {"PEERS", CELL_COUNT, FIELD(peers), 5, 8, false},
        {"SEEDS", CELL_COUNT, FIELD(seeds), 5, 1, false},
        {"READ", CELL_COUNT, FIELD(readers), 4, 7, false}, /* open files */
        {"WAIT", CELL_COUNT, FIELD(parked), 4, 2, false},  /* reads that wait for pieces */
        {"KEPT", CELL_KEPT, 0, CTL_KEPT_WIDTH, 3, true},
        {"STATE", CELL_STATE, 0, 7, 10, true},
#undef FIELD
};
#define N_COLUMNS (sizeof columns / sizeof *columns)

/* Full only when all is there. On a terminal with UTF-8 a cell has eight steps. */
static void put_bar(char buf[CELL_MAX], unsigned progress, const struct ctl_style *style)
{
        static const char *const parts[] = {"",       "\u258f", "\u258e", "\u258d",
                                            "\u258c", "\u258b", "\u258a", "\u2589"};
        unsigned eighths = progress * BAR_EIGHTS / CTL_COMPLETE, cells = eighths / 8;
        bool part = style->utf8 && eighths % 8;
        char *end = stpcpy(buf, "[");

        for (unsigned i = 0; i < cells; i++)
                end = stpcpy(end, style->utf8 ? "\u2588" : "#");
        if (part)
                end = stpcpy(end, parts[eighths % 8]);
        for (unsigned i = cells + part; i < BAR_CELLS; i++)
                end = stpcpy(end, style->utf8 ? " " : ".");
        strcpy(end, "]");
}

static uint64_t number_in(const struct column *c, const struct ctl_row *r)
{
        uint64_t n;

        memcpy(&n, (const char *)r + c->field, sizeof n);
        return n;
}

/* What stands in the column; in buf, or the row's own. */
static const char *cell_text(const struct column *c, const struct ctl_row *r,
                             const struct ctl_style *style, char buf[CELL_MAX])
{
        switch (c->cell) {
        case CELL_SIZE:
                return ctl_size_cell(r, buf);
        case CELL_BAR:
                put_bar(buf, r->progress, style);
                return buf;
        case CELL_PERCENT:
                if (!r->has_length)
                        return "-";
                snprintf(buf, CELL_MAX, "%u%%", r->progress * 100 / CTL_COMPLETE);
                return buf;
        case CELL_RATE:
                if (number_in(c, r) == 0)
                        return "-";
                ctl_size(buf, number_in(c, r));
                strcat(buf, "/s");
                return buf;
        case CELL_COUNT:
                if (snprintf(buf, CELL_MAX, "%" PRIu64, number_in(c, r)) > (int)c->width)
                        return c->width < 5 ? ">9k" : ">99k";
                return buf;
        case CELL_KEPT:
                return r->kept;
        case CELL_STATE:
                return r->state;
        }
        return "";
}

/* ---- layout ---- */

/* What fits: a choice of columns and the width of the names. */
struct layout {
        bool shown[N_COLUMNS];
        size_t name_width;
};

static size_t longest_name(const struct ctl_rows *rows, const struct ctl_style *style)
{
        size_t longest = strlen("NAME");

        for (size_t i = 0; i < rows->n; i++) {
                size_t w = ctl_text_width(rows->row[i].name, style);

                longest = w > longest ? w : longest;
        }
        return longest;
}

static void layout_fit(struct layout *l, size_t longest, size_t width)
{
        size_t wanted = longest < NAME_MIN ? longest : NAME_MIN, taken = 0;
        unsigned dropped = 0;

        for (size_t i = 0; i < N_COLUMNS; i++) {
                l->shown[i] = true;
                taken += columns[i].width + CTL_GAP_WIDTH;
        }
        while (taken + wanted > width && dropped < N_COLUMNS) {
                dropped++;
                for (size_t i = 0; i < N_COLUMNS; i++) {
                        if (columns[i].drop != dropped)
                                continue;
                        l->shown[i] = false;
                        taken -= columns[i].width + CTL_GAP_WIDTH;
                }
        }
        l->name_width = width - taken < longest ? width - taken : longest;
}

/* A cell of columns[i] with the gap before it; no blanks at the end of a line. */
static void put_column(FILE *out, size_t i, const char *text, const struct ctl_style *style)
{
        bool last = i + 1 == N_COLUMNS;

        fputs(CTL_GAP, out);
        if (last)
                ctl_text_put(out, text, columns[i].width, style);
        else
                ctl_put_cell(out, text, columns[i].width, columns[i].left, style);
}

/* ---- status ---- */

static void put_header(FILE *out, const struct layout *l, const struct ctl_style *style)
{
        ctl_paint(out, style, CTL_BOLD);
        ctl_put_cell(out, "NAME", l->name_width, true, style);
        for (size_t i = 0; i < N_COLUMNS; i++) {
                if (!l->shown[i])
                        continue;
                put_column(out, i, columns[i].title, style);
        }
        ctl_paint(out, style, CTL_PLAIN);
        putc('\n', out);
}

static void put_row(FILE *out, const struct ctl_row *r, const struct layout *l,
                    const struct ctl_style *style)
{
        char buf[CELL_MAX], line[1024];

        ctl_put_cell(out, r->name, l->name_width, true, style);
        for (size_t i = 0; i < N_COLUMNS; i++) {
                bool green = columns[i].cell == CELL_BAR && r->progress == CTL_COMPLETE;

                if (!l->shown[i])
                        continue;
                ctl_paint(out, style, green ? CTL_GREEN : "");
                put_column(out, i, cell_text(&columns[i], r, style, buf), style);
                ctl_paint(out, style, green ? CTL_PLAIN : "");
        }
        putc('\n', out);
        if (r->error) {
                snprintf(line, sizeof line, CTL_GAP "! %s", r->error);
                ctl_put_line(out, line, style, CTL_RED);
        }
}

static const char *plural(uint64_t n)
{
        return n == 1 ? "" : "s";
}

static void put_summary(FILE *out, const cJSON *status, const struct ctl_style *style)
{
        const cJSON *session = cJSON_GetObjectItemCaseSensitive(status, "session"),
                    *cache = cJSON_GetObjectItemCaseSensitive(status, "cache");
        char down[CTL_SIZE_MAX], up[CTL_SIZE_MAX], used[CTL_SIZE_MAX], limit[CTL_SIZE_MAX],
                line[512];
        uint64_t late = ctl_json_number(status, "heartbeatAge"),
                 peers = ctl_json_number(session, "peers"),
                 nodes = ctl_json_number(session, "dhtNodes");

        if (late >= HEARTBEAT_LATE_MS) {
                snprintf(line, sizeof line,
                         "! the BitTorrent session gave no sign of life for %" PRIu64 " s",
                         late / 1000);
                ctl_put_line(out, line, style, CTL_RED);
                return;
        }
        ctl_size(down, ctl_json_number(session, "downloadRate"));
        ctl_size(up, ctl_json_number(session, "uploadRate"));
        ctl_size(used, ctl_json_number(cache, "usedBytes"));
        ctl_size(limit, ctl_json_number(cache, "limitBytes"));
        snprintf(line, sizeof line,
                 "%s/s down, %s/s up, %" PRIu64 " peer%s; cache %s of %s; %" PRIu64
                 " open, %" PRIu64 " waiting; %" PRIu64 " DHT node%s",
                 down, up, peers, plural(peers), used, limit, ctl_json_number(status, "openFiles"),
                 ctl_json_number(status, "parkedReads"), nodes, plural(nodes));
        ctl_put_line(out, line, style, "");
}

/* How many rows fit into so many lines; where not all do, one line less, to say so. */
static size_t rows_that_fit(const struct ctl_rows *rows, size_t lines)
{
        size_t used = 0, fit_less_one = 0;

        for (size_t i = 0; i < rows->n; i++) {
                used += rows->row[i].error ? 2 : 1;
                if (used > lines)
                        return fit_less_one;
                if (used + 1 <= lines)
                        fit_less_one = i + 1;
        }
        return rows->n;
}

static void status_for_people(FILE *out, const cJSON *status, struct ctl_rows *rows,
                              const struct ctl_style *style)
{
        size_t longest = longest_name(rows, style), shown = rows->n;
        struct layout l;

        if (style->height) {
                /* the header, the summary */
                size_t lines = style->height > 2 ? style->height - 2 : 0;

                ctl_rows_sort_by_activity(rows);
                shown = rows_that_fit(rows, lines);
        }
        layout_fit(&l, longest, style->width);

        if (rows->n == 0)
                ctl_put_line(out, CTL_NO_TORRENTS, style, "");
        else
                put_header(out, &l, style);
        for (size_t i = 0; i < shown; i++)
                put_row(out, &rows->row[i], &l, style);
        if (shown < rows->n)
                fprintf(out, "and %zu more\n", rows->n - shown);
        put_summary(out, status, style);
}

static void status_for_programs(FILE *out, const struct ctl_row *r, const struct ctl_style *style)
{
        ctl_put_field(out, r->hash, style);
        putc('\t', out);
        ctl_put_field(out, r->name, style);
        putc('\t', out);
        ctl_put_field(out, r->state, style);
        fprintf(out, "\t%s\t", r->kept);
        ctl_put_length(out, r);
        fprintf(out,
                "\t%" PRIu64 "\t%u.%04u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
                "\t%" PRIu64 "\t%" PRIu64 "\t",
                r->have, r->progress / CTL_COMPLETE, r->progress % CTL_COMPLETE, r->down, r->up,
                r->peers, r->seeds, r->readers, r->parked);
        ctl_put_field(out, r->error ? r->error : "-", style);
        putc('\n', out);
}

int ctl_table_status(FILE *out, const cJSON *status, const struct ctl_style *style)
{
        return ctl_put_torrents(out, status, style, status_for_people, status_for_programs);
}
