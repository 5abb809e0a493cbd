/* ctl_table.c: tables of torrents and files, for people (on a terminal) and programs (on a pipe).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "ctl_table.h"

#define GAP       "  "
#define GAP_WIDTH 2

/* Columns are dropped before the names get narrower than this (if there is a name so long). */
#define NAME_MIN  18
#define WIDTH_MIN 20

#define BAR_CELLS 8

/* The session's thread gives a sign of life every second or so; from here on it is worth a line. */
#define HEARTBEAT_LATE_MS 10000

static const char RED[] = "\033[31m", GREEN[] = "\033[32m", BOLD[] = "\033[1m", PLAIN[] = "\033[m";

/* ---- text ---- */

/* One character of UTF-8 (RFC 3629), which does not depend on the locale. Returns its bytes; 1 and
 * U+FFFD for a byte that belongs to none. */
static size_t decode(const char *text, uint32_t *ret)
{
        const unsigned char *s = (const unsigned char *)text;
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        uint32_t c;
        size_t n;

        n = s[0] < 0x80   ? 1
            : s[0] < 0xc2 ? 0
            : s[0] < 0xe0 ? 2
            : s[0] < 0xf0 ? 3
            : s[0] < 0xf5 ? 4
                          : 0;
        c = n == 1 ? s[0] : n ? s[0] & (0x7fU >> n) : 0;
        for (size_t i = 1; i < n; i++) {
                if ((s[i] & 0xc0) != 0x80) /* also at the NUL */
                        n = 0;
                else
                        c = c << 6 | (s[i] & 0x3fU);
        }
        if (n == 0 || c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
                *ret = 0xfffd;
                return 1;
        }
        *ret = c;
        return n;
}

static bool is_control(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* Embeddings, overrides and isolates (UAX #9), the line and the paragraph separator: they would
 * change how the rest of the line looks. */
static bool is_layout(uint32_t c)
{
        return (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* A character as it goes out. */
struct glyph {
        const char *bytes;
        size_t len;
        size_t width;
};

static const char *next_glyph(const char *text, const struct ctl_style *style, struct glyph *ret)
{
        static const struct glyph unsafe = {"?", 1, 1};
        uint32_t c;
        size_t n = decode(text, &c);
        int width = 1;

        *ret = unsafe;
        if (is_control(c) || (c == 0xfffd && n == 1))
                return text + n;
        if (style->terminal && c >= 0x80) {
                if (!style->utf8 || is_layout(c))
                        return text + n;
                width = wcwidth((wchar_t)c);
                if (width < 0)
                        return text + n;
        }
        *ret = (struct glyph){text, n, (size_t)width};
        return text + n;
}

size_t ctl_text_width(const char *text, const struct ctl_style *style)
{
        struct glyph g;
        size_t width = 0;

        while (*text) {
                text = next_glyph(text, style, &g);
                width += g.width;
        }
        return width;
}

size_t ctl_text_put(FILE *out, const char *text, size_t columns, const struct ctl_style *style)
{
        bool cut = columns && ctl_text_width(text, style) > columns;
        struct glyph g;
        size_t width = 0;

        while (*text) {
                text = next_glyph(text, style, &g);
                if (cut && width + g.width > columns - 1)
                        break;
                fwrite(g.bytes, 1, g.len, out);
                width += g.width;
        }
        if (cut) {
                fputs(style->utf8 ? "\u2026" : "~", out);
                width++;
        }
        return width;
}

void ctl_json_put(FILE *out, const char *json, const struct ctl_style *style)
{
        bool ascii = style->terminal && !style->utf8;

        while (*json) {
                uint32_t c;
                size_t n = decode(json, &c);
                bool escape = is_control(c) || is_layout(c) || (c == 0xfffd && n == 1) ||
                              (ascii && c >= 0x80);

                if (!escape)
                        fwrite(json, 1, n, out);
                else if (c < 0x10000)
                        fprintf(out, "\\u%04" PRIx32, c);
                else /* RFC 8259 §7: a surrogate pair */
                        fprintf(out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd7c0 + (c >> 10),
                                0xdc00 + (c & 0x3ff));
                json += n;
        }
}

void ctl_size(char buf[CTL_SIZE_MAX], uint64_t bytes)
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
        unsigned u = 0;
        uint64_t whole, tenths;

        while (bytes >> (10 * u) >= 1024)
                u++;
        whole = bytes >> (10 * u);
        tenths = (bytes - (whole << (10 * u))) * 10 >> (10 * u);
        if (u == 0 || whole >= 100)
                snprintf(buf, CTL_SIZE_MAX, "%" PRIu64 " %s", whole, units[u]);
        else
                snprintf(buf, CTL_SIZE_MAX, "%" PRIu64 ".%u %s", whole, (unsigned)tenths, units[u]);
}

/* ---- rows ---- */

/* A torrent as the tables need it; the strings are the JSON's. */
struct row {
        const char *hash, *name, *state;
        const char *error; /* NULL: none */
        bool kept, has_length;
        uint64_t length, have, down, up, peers, seeds, readers, parked;
        unsigned progress; /* in 1/10000, rounded down: 10000 is complete */
        size_t index;      /* place in the JSON */
};

struct rows {
        struct row *row;
        size_t n;
};

static const char *text_of(const cJSON *object, const char *key)
{
        return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static uint64_t number_of(const cJSON *object, const char *key)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0))
                return 0;
        return item->valuedouble < 0x1p63 ? (uint64_t)item->valuedouble : UINT64_MAX;
}

static unsigned progress_of(const cJSON *torrent)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(torrent, "progress");

        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0))
                return 0;
        return item->valuedouble < 1 ? (unsigned)(item->valuedouble * 10000) : 10000;
}

static struct row row_of(const cJSON *t)
{
        const char *hash = text_of(t, "infoHash"), *name = text_of(t, "name"),
                   *state = text_of(t, "state"), *error = text_of(t, "error");

        return (struct row){
                .hash = hash ? hash : "-",
                .name = name ? name : "-",
                .state = state ? state : "-",
                .error = error && *error ? error : NULL,
                .kept = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(t, "kept")),
                .has_length = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(t, "length")),
                .length = number_of(t, "length"),
                .have = number_of(t, "haveBytes"),
                .down = number_of(t, "downloadRate"),
                .up = number_of(t, "uploadRate"),
                .peers = number_of(t, "peers"),
                .seeds = number_of(t, "seeds"),
                .readers = number_of(t, "readers"),
                .parked = number_of(t, "parkedReads"),
                .progress = progress_of(t),
        };
}

static int rows_of(const cJSON *status, struct rows *ret)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(status, "torrents"), *t;
        struct row *row;
        size_t n = 0;

        if (!cJSON_IsArray(list))
                return -EBADMSG;
        cJSON_ArrayForEach (t, list) {
                n++;
        }
        row = calloc(n ? n : 1, sizeof(*row));
        if (!row)
                return -ENOMEM;
        *ret = (struct rows){row, n};
        n = 0;
        cJSON_ArrayForEach (t, list) {
                row[n] = row_of(t);
                row[n].index = n;
                n++;
        }
        return 0;
}

static const char *kept_of(const struct row *r)
{
        return r->kept ? "kept" : "temp";
}

/* ---- tables ---- */

/* The text of a cell, short; text that may be long or hostile goes by reference. */
#define CELL_MAX 32

static void count_cell(char *buf, uint64_t n)
{
        if (n < 100000)
                snprintf(buf, CELL_MAX, "%" PRIu64, n);
        else
                snprintf(buf, CELL_MAX, ">99k");
}

static void rate_cell(char *buf, uint64_t rate)
{
        char size[CTL_SIZE_MAX];

        ctl_size(size, rate);
        if (rate)
                snprintf(buf, CELL_MAX, "%s/s", size);
        else
                snprintf(buf, CELL_MAX, "-");
}

static const char *cell_size(const struct row *r, char *buf)
{
        if (!r->has_length)
                return "-";
        ctl_size(buf, r->length);
        return buf;
}

static const char *cell_bar(const struct row *r, char *buf)
{
        size_t full = (size_t)r->progress * BAR_CELLS / 10000;

        buf[0] = '[';
        memset(buf + 1, '#', full);
        memset(buf + 1 + full, '.', BAR_CELLS - full);
        strcpy(buf + 1 + BAR_CELLS, "]");
        return buf;
}

static const char *cell_percent(const struct row *r, char *buf)
{
        if (!r->has_length)
                return "-";
        snprintf(buf, CELL_MAX, "%u%%", r->progress / 100);
        return buf;
}

static const char *cell_down(const struct row *r, char *buf)
{
        rate_cell(buf, r->down);
        return buf;
}

static const char *cell_up(const struct row *r, char *buf)
{
        rate_cell(buf, r->up);
        return buf;
}

static const char *cell_peers(const struct row *r, char *buf)
{
        count_cell(buf, r->peers);
        return buf;
}

static const char *cell_seeds(const struct row *r, char *buf)
{
        count_cell(buf, r->seeds);
        return buf;
}

static const char *cell_readers(const struct row *r, char *buf)
{
        count_cell(buf, r->readers);
        return buf;
}

static const char *cell_parked(const struct row *r, char *buf)
{
        count_cell(buf, r->parked);
        return buf;
}

static const char *cell_kept(const struct row *r, char *buf)
{
        (void)buf;
        return kept_of(r);
}

static const char *cell_state(const struct row *r, char *buf)
{
        (void)buf;
        return r->state;
}

/* Beside the name, which is first and takes what the others leave. */
static const struct column {
        const char *title;
        unsigned width;
        unsigned drop; /* where names have no room the column with the lowest goes first; 0: none
                          does */
        bool left;
        const char *(*cell)(const struct row *r, char *buf);
} columns[] = {
        {"SIZE", 8, 6, false, cell_size},   {"PROGRESS", BAR_CELLS + 2, 5, true, cell_bar},
        {"", 4, 0, false, cell_percent},    {"DOWN", 10, 9, false, cell_down},
        {"UP", 10, 4, false, cell_up},      {"PEERS", 5, 8, false, cell_peers},
        {"SEEDS", 5, 1, false, cell_seeds}, {"READ", 4, 7, false, cell_readers}, /* open files */
        {"WAIT", 4, 2, false, cell_parked}, /* reads that wait for pieces */
        {"KEPT", 4, 3, true, cell_kept},    {"STATE", 7, 10, true, cell_state},
};
#define N_COLUMNS (sizeof(columns) / sizeof(*columns))

/* What fits: a choice of columns and the width of the names. */
struct layout {
        bool shown[N_COLUMNS];
        size_t name_width;
};

static size_t longest_name(const struct rows *rows, const struct ctl_style *style)
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
                taken += columns[i].width + GAP_WIDTH;
        }
        while (taken + wanted > width && dropped < N_COLUMNS) {
                dropped++;
                for (size_t i = 0; i < N_COLUMNS; i++) {
                        if (columns[i].drop != dropped)
                                continue;
                        l->shown[i] = false;
                        taken -= columns[i].width + GAP_WIDTH;
                }
        }
        l->name_width = width - taken < longest ? width - taken : longest;
}

static void pad(FILE *out, size_t n)
{
        while (n-- > 0)
                putc(' ', out);
}

static void paint(FILE *out, const struct ctl_style *style, const char *code)
{
        if (style->colour)
                fputs(code, out);
}

static void put_cell(FILE *out, const char *text, size_t width, bool left,
                     const struct ctl_style *style)
{
        size_t w = ctl_text_width(text, style), space = w < width ? width - w : 0;

        if (!left)
                pad(out, space);
        ctl_text_put(out, text, width, style);
        if (left)
                pad(out, space);
}

/* A cell of columns[i] with the gap before it; no blanks at the end of a line. */
static void put_column(FILE *out, size_t i, const char *text, const struct ctl_style *style)
{
        bool last = i + 1 == N_COLUMNS;

        fputs(GAP, out);
        if (last)
                ctl_text_put(out, text, columns[i].width, style);
        else
                put_cell(out, text, columns[i].width, columns[i].left, style);
}

static void put_line(FILE *out, const char *text, const struct ctl_style *style, const char *code)
{
        paint(out, style, code);
        ctl_text_put(out, text, style->width, style);
        paint(out, style, PLAIN);
        putc('\n', out);
}

static void put_header(FILE *out, const struct layout *l, const struct ctl_style *style)
{
        paint(out, style, BOLD);
        put_cell(out, "NAME", l->name_width, true, style);
        for (size_t i = 0; i < N_COLUMNS; i++) {
                if (!l->shown[i])
                        continue;
                put_column(out, i, columns[i].title, style);
        }
        paint(out, style, PLAIN);
        putc('\n', out);
}

static void put_row(FILE *out, const struct row *r, const struct layout *l,
                    const struct ctl_style *style)
{
        char buf[CELL_MAX], line[1024];

        put_cell(out, r->name, l->name_width, true, style);
        for (size_t i = 0; i < N_COLUMNS; i++) {
                bool green = columns[i].cell == cell_bar && r->progress == 10000;

                if (!l->shown[i])
                        continue;
                paint(out, style, green ? GREEN : "");
                put_column(out, i, columns[i].cell(r, buf), style);
                paint(out, style, green ? PLAIN : "");
        }
        putc('\n', out);
        if (r->error) {
                snprintf(line, sizeof(line), GAP "! %s", r->error);
                put_line(out, line, style, RED);
        }
}

static void put_summary(FILE *out, const cJSON *status, const struct ctl_style *style)
{
        const cJSON *session = cJSON_GetObjectItemCaseSensitive(status, "session"),
                    *cache = cJSON_GetObjectItemCaseSensitive(status, "cache");
        char down[CTL_SIZE_MAX], up[CTL_SIZE_MAX], used[CTL_SIZE_MAX], limit[CTL_SIZE_MAX],
                line[512];
        uint64_t late = number_of(status, "heartbeatAge");

        if (late >= HEARTBEAT_LATE_MS) {
                snprintf(line, sizeof(line),
                         "! the BitTorrent session gave no sign of life for %" PRIu64 " s",
                         late / 1000);
                put_line(out, line, style, RED);
                return;
        }
        ctl_size(down, number_of(session, "downloadRate"));
        ctl_size(up, number_of(session, "uploadRate"));
        ctl_size(used, number_of(cache, "usedBytes"));
        ctl_size(limit, number_of(cache, "limitBytes"));
        snprintf(line, sizeof(line),
                 "%s/s down, %s/s up, %" PRIu64 " peers; cache %s of %s; %" PRIu64 " open, %" PRIu64
                 " waiting; %" PRIu64 " DHT nodes",
                 down, up, number_of(session, "peers"), used, limit, number_of(status, "openFiles"),
                 number_of(status, "parkedReads"), number_of(session, "dhtNodes"));
        put_line(out, line, style, "");
}

static unsigned activity(const struct row *r)
{
        return r->readers || r->parked ? 2 : r->down || r->up ? 1 : 0;
}

static int by_activity(const void *a, const void *b)
{
        const struct row *x = a, *y = b;

        if (activity(x) != activity(y))
                return activity(x) > activity(y) ? -1 : 1;
        return x->index < y->index ? -1 : x->index > y->index;
}

/* How many rows fit into so many lines; where not all do, one line less, to say so. */
static size_t rows_that_fit(const struct rows *rows, size_t lines)
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

static struct ctl_style at_least(const struct ctl_style *style)
{
        struct ctl_style s = *style;

        s.width = s.width < WIDTH_MIN ? WIDTH_MIN : s.width;
        return s;
}

static void status_for_people(FILE *out, const cJSON *status, struct rows *rows,
                              const struct ctl_style *style)
{
        size_t longest = longest_name(rows, style), shown = rows->n;
        struct layout l;

        if (style->height) {
                /* the header, the summary */
                size_t lines = style->height > 2 ? style->height - 2 : 0;

                qsort(rows->row, rows->n, sizeof(*rows->row), by_activity);
                shown = rows_that_fit(rows, lines);
        }
        layout_fit(&l, longest, style->width);

        if (rows->n == 0)
                put_line(out, "No torrents; add one with: magnetctl add MAGNET", style, "");
        else
                put_header(out, &l, style);
        for (size_t i = 0; i < shown; i++)
                put_row(out, &rows->row[i], &l, style);
        if (shown < rows->n)
                fprintf(out, "and %zu more\n", rows->n - shown);
        put_summary(out, status, style);
}

static void put_field(FILE *out, const char *text, const struct ctl_style *style)
{
        ctl_text_put(out, *text ? text : "-", 0, style);
}

static void put_length(FILE *out, const struct row *r)
{
        if (r->has_length)
                fprintf(out, "%" PRIu64, r->length);
        else
                putc('-', out);
}

static void status_for_programs(FILE *out, const struct row *r, const struct ctl_style *style)
{
        put_field(out, r->hash, style);
        putc('\t', out);
        put_field(out, r->name, style);
        putc('\t', out);
        put_field(out, r->state, style);
        fprintf(out, "\t%s\t", kept_of(r));
        put_length(out, r);
        fprintf(out,
                "\t%" PRIu64 "\t%u.%04u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
                "\t%" PRIu64 "\t%" PRIu64 "\t",
                r->have, r->progress / 10000, r->progress % 10000, r->down, r->up, r->peers,
                r->seeds, r->readers, r->parked);
        put_field(out, r->error ? r->error : "-", style);
        putc('\n', out);
}

int ctl_table_status(FILE *out, const cJSON *status, const struct ctl_style *style)
{
        struct ctl_style s = at_least(style);
        struct rows rows;
        int r;

        r = rows_of(status, &rows);
        if (r < 0)
                return r;
        if (s.terminal)
                status_for_people(out, status, &rows, &s);
        else
                for (size_t i = 0; i < rows.n; i++)
                        status_for_programs(out, &rows.row[i], &s);
        free(rows.row);
        return 0;
}

int ctl_table_list(FILE *out, const cJSON *status, const struct ctl_style *style)
{
        struct ctl_style s = at_least(style);
        struct rows rows;
        size_t hash_width = 0;
        int r;

        r = rows_of(status, &rows);
        if (r < 0)
                return r;
        for (size_t i = 0; i < rows.n; i++) {
                size_t w = ctl_text_width(rows.row[i].hash, &s);

                hash_width = w > hash_width ? w : hash_width;
        }
        for (size_t i = 0; i < rows.n; i++) {
                const struct row *t = &rows.row[i];
                size_t taken = hash_width + 4 + 8 + 3 * GAP_WIDTH;
                char size[CELL_MAX];

                if (!s.terminal) {
                        put_field(out, t->hash, &s);
                        fprintf(out, "\t%s\t", kept_of(t));
                        put_length(out, t);
                        putc('\t', out);
                        put_field(out, t->name, &s);
                        putc('\n', out);
                        continue;
                }
                /* hashes are for copying: never cut; on a narrow terminal the line wraps */
                put_cell(out, t->hash, hash_width, true, &s);
                fprintf(out, GAP "%s" GAP "%8s" GAP, kept_of(t), cell_size(t, size));
                ctl_text_put(out, t->name,
                             taken + WIDTH_MIN < s.width ? s.width - taken : WIDTH_MIN, &s);
                putc('\n', out);
        }
        free(rows.row);
        return 0;
}

int ctl_table_files(FILE *out, const cJSON *files, const struct ctl_style *style)
{
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(files, "files"), *f;

        if (!cJSON_IsArray(list))
                return -EBADMSG;
        cJSON_ArrayForEach (f, list) {
                uint64_t index = number_of(f, "index"), length = number_of(f, "length");
                const char *path = text_of(f, "path");
                char size[CTL_SIZE_MAX];

                if (style->terminal) {
                        ctl_size(size, length);
                        fprintf(out, "%5" PRIu64 GAP "%8s" GAP, index, size);
                } else
                        fprintf(out, "%" PRIu64 "\t%" PRIu64 "\t", index, length);
                /* a path is for copying: whole, and the terminal may wrap it */
                put_field(out, path ? path : "-", style);
                putc('\n', out);
        }
        return 0;
}
