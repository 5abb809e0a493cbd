/* SPDX-License-Identifier: MIT */
/* control_cache.c: what is written to the cache: its size, what goes, what is pinned. All lines of
 * a write are understood before the first of them is done. */
#include "control/control_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"

enum {
        /* More than that is no write of a few lines. */
        WRITTEN_BYTES_MAX = 64 << 10,
        /* Content that was brought may have gone again before it was looked at, so often. */
        LOADS_MAX = 16,
};

enum order_kind { ORDER_SIZE, ORDER_EVICT, ORDER_PIN, ORDER_UNPIN };
static const char *const commands[] = {[ORDER_SIZE] = "size",
                                       [ORDER_EVICT] = "evict",
                                       [ORDER_PIN] = "pin",
                                       [ORDER_UNPIN] = "unpin"};
#define N_COMMANDS (sizeof commands / sizeof *commands)

/* One line. */
struct order {
        enum order_kind kind;
        uint64_t bytes;          /* of size */
        struct torrent *torrent; /* of the others: a reference */
        const char *path;        /* of pin and unpin: in the text; NULL: all of the torrent */
        struct listing *listing; /* where there is a path: a reference */
        uint32_t node;
};

struct orders {
        struct order *list;
        size_t n, room;
        char *text; /* the lines, cut to words */
        char error[320];
};

static void free_orders(struct orders *o)
{
        for (size_t i = 0; i < o->n; i++) {
                torrent_unref(o->list[i].torrent);
                listing_unref(o->list[i].listing);
        }
        free(o->list);
        free(o->text);
}

/* Always err, so that a caller can `return refuse(…)`. */
static int __attribute__((format(printf, 3, 4)))
refuse(struct orders *o, int err, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(o->error, sizeof o->error, format, ap);
        va_end(ap);
        return err;
}

/* ---- what is meant ---- */

static int find_torrent(struct engine *e, struct orders *o, struct order *order, char *hash)
{
        char *p = hash;

        for (; isxdigit((unsigned char)*p); p++)
                if (*p >= 'A' && *p <= 'F')
                        *p = (char)(*p - 'A' + 'a');
        if (*p || (p - hash != 2 * BT_V1_BYTES && p - hash != 2 * BT_V2_BYTES))
                return refuse(o, -EINVAL, "'%s' is no info-hash", hash);
        order->torrent = registry_by_hash(engine_registry(e), hash);
        return order->torrent ? 0 : refuse(o, -ENOENT, "there is no torrent %s", hash);
}

static uint32_t find_node(const struct tree *tree, const char *path)
{
        uint32_t node = TREE_ROOT;

        while (*path && node != TREE_NONE) {
                size_t len = strcspn(path, "/");
                _cleanup_free_ char *name = strndup(path, len);

                if (len > 0)
                        node = name ? tree_lookup(tree, node, name) : TREE_NONE;
                path += len + (path[len] == '/');
        }
        return node;
}

static int find_file(struct orders *o, struct order *order)
{
        struct torrent *t = order->torrent;

        if (torrent_ready(t) < 0)
                return refuse(o, -ENOENT, "%s: its files are not known yet", t->hex);
        order->listing = torrent_listing(t);
        if (!order->listing)
                return WRITING_AGAIN;
        order->node = find_node(order->listing->tree, order->path);
        return order->node != TREE_NONE
                       ? 0
                       : refuse(o, -ENOENT, "%s has no file '%s'", t->hex, order->path);
}

static int parse_line(struct engine *e, struct orders *o, struct order *order, char *line)
{
        char *word = strsep(&line, " \t");
        size_t kind = 0;

        while (kind < N_COMMANDS && strcmp(word, commands[kind]) != 0)
                kind++;
        if (kind == N_COMMANDS)
                return refuse(o, -EINVAL, "there is no command '%s'", word);
        order->kind = (enum order_kind)kind;
        word = strsep(&line, " \t");
        if (!word || !*word)
                return refuse(o, -EINVAL, "%s takes %s", commands[kind],
                              kind == ORDER_SIZE ? "a size" : "an info-hash");
        if (line && (kind == ORDER_SIZE || kind == ORDER_EVICT))
                return refuse(o, -EINVAL, "%s takes nothing more than '%s'", commands[kind], word);
        if (kind != ORDER_SIZE) {
                int r = find_torrent(e, o, order, word);

                order->path = line;
                return r == 0 && line ? find_file(o, order) : r;
        }
        if (!size_parse(word, &order->bytes) || order->bytes < CACHE_BYTES_MIN)
                return refuse(o, -EINVAL, "size takes bytes, 1 MiB or more, or 20G, not '%s'",
                              word);
        return 0;
}

static struct order *next_order(struct orders *o)
{
        if (o->n == o->room) {
                size_t room = o->room ? 2 * o->room : 16;
                struct order *grown = reallocarray(o->list, room, sizeof *grown);

                if (!grown)
                        return NULL;
                o->list = grown;
                o->room = room;
        }
        o->list[o->n] = (struct order){.node = TREE_ROOT};
        return &o->list[o->n++];
}

static int parse(struct writing *w, struct orders *o)
{
        struct engine *e = w->doc->control->engine;
        char *rest, *line;
        int r = 0;

        if (w->len > WRITTEN_BYTES_MAX)
                return refuse(o, -E2BIG, "more than 64 KiB in one write");
        if (memchr(w->data, '\0', w->len))
                return refuse(o, -EINVAL, "that is no text");
        rest = o->text = calloc(1, w->len + 1);
        if (!rest)
                return refuse(o, -ENOMEM, "out of memory");
        memcpy(rest, w->data, w->len);
        while (r == 0 && (line = strsep(&rest, "\n"))) {
                struct order *order;

                if (!*line)
                        continue;
                order = next_order(o);
                r = order ? parse_line(e, o, order, line) : refuse(o, -ENOMEM, "out of memory");
        }
        return r;
}

/* ---- content that is not in memory ---- */

static void loaded(struct engine_load *l, int r)
{
        struct writing *w = (struct writing *)((char *)l - offsetof(struct writing, load));

        w->load_result = r;
        if (chores_push(engine_env(w->doc->control->engine)->chores, &w->chore))
                return;
        w->load_result = -ENODEV;
        writing_run(&w->chore);
}

/* The torrent of the last line is asleep. */
static int load(struct writing *w, struct orders *o)
{
        struct torrent *t = o->list[o->n - 1].torrent;

        if (w->n_loads++ >= LOADS_MAX + o->n)
                return refuse(o, -EIO, "%s: its files cannot be had", t->hex);
        w->load.done = loaded;
        return engine_load(w->doc->control->engine, t, &w->load)
                       ? WRITING_AGAIN
                       : refuse(o, -ENODEV, "magnetfs is ending");
}

/* ---- what is done ---- */

/* Writes the line that a read of the same descriptor gives; order NULL: about the write. */
static void answer(struct doc *d, const struct order *order, uint64_t bytes, const char *error)
{
        struct cache_answer a = {.error = error};

        if (d->mute)
                return;
        if (order) {
                a.command = commands[order->kind];
                a.torrent = order->torrent;
                a.path = order->path;
                a.has_bytes = order->kind == ORDER_SIZE || (order->kind == ORDER_EVICT && !error);
                a.bytes = order->kind == ORDER_SIZE ? order->bytes : bytes;
        }
        pthread_mutex_lock(&d->control->lock);
        document_cache_answer(d->control->engine, &a, &d->made.text);
        pthread_mutex_unlock(&d->control->lock);
}

/* From here on reads give answers. */
static void begin_answers(struct doc *d)
{
        pthread_mutex_lock(&d->control->lock);
        if (!d->answers) {
                free(d->made.text.data);
                d->made = (struct text_cursor){0};
                d->answers = true;
        }
        pthread_mutex_unlock(&d->control->lock);
}

static bool is_pin(const struct order *order)
{
        return order->kind == ORDER_PIN || order->kind == ORDER_UNPIN;
}

/* Does the lines from first on that pin or unpin, until another; *n: how many these are. */
static int do_pins(struct engine *e, struct orders *o, size_t first, size_t *n)
{
        _cleanup_free_ struct engine_pin *pins = calloc(o->n - first, sizeof *pins);
        size_t k = 0;
        int r;

        for (; first + k < o->n && is_pin(&o->list[first + k]); k++) {
                const struct order *order = &o->list[first + k];

                if (pins)
                        pins[k] = (struct engine_pin){.torrent = order->torrent,
                                                      .listing = order->listing,
                                                      .node = order->node,
                                                      .pinned = order->kind == ORDER_PIN};
        }
        *n = k;
        r = pins ? engine_pin(e, pins, k) : -ENOMEM;
        if (r == -E2BIG)
                return refuse(o, r, "more than %d single files of a torrent cannot be pinned",
                              PINS_MAX);
        if (r == -ENOENT)
                return refuse(o, r, "the torrent was removed");
        return r < 0 ? refuse(o, r, "it cannot be written to the state folder: %s", strerror(-r))
                     : 0;
}

static int do_other(struct engine *e, struct orders *o, const struct order *order, uint64_t *bytes)
{
        int r;

        if (order->kind == ORDER_EVICT) {
                r = engine_evict(e, order->torrent, bytes);
                return r < 0 ? refuse(o, r, "not all of it could be evicted: %s", strerror(-r)) : 0;
        }
        engine_set_cache_size(e, order->bytes);
        return 0;
}

/* In the order of the lines; one that fails ends it. */
static int do_all(struct doc *d, struct orders *o)
{
        struct engine *e = d->control->engine;
        int r = 0;

        for (size_t i = 0, n; r == 0 && i < o->n; i += n) {
                uint64_t bytes = 0;

                n = 1;
                r = is_pin(&o->list[i]) ? do_pins(e, o, i, &n)
                                        : do_other(e, o, &o->list[i], &bytes);
                for (size_t k = i; k < i + n; k++)
                        answer(d, &o->list[k], bytes, r < 0 ? o->error : NULL);
        }
        return r;
}

int cache_written(struct writing *w)
{
        struct doc *d = w->doc;
        struct orders o = {0};
        int r;

        begin_answers(d);
        if (engine_env(d->control->engine)->stopping)
                r = refuse(&o, -ENODEV, "magnetfs is ending");
        else if (w->load_result < 0)
                r = refuse(&o, w->load_result, "its files cannot be had: %s",
                           strerror(-w->load_result));
        else
                r = parse(w, &o);
        if (r == WRITING_AGAIN) {
                r = load(w, &o);
                /* From here on w may be the chore's. */
                if (r == WRITING_AGAIN) {
                        free_orders(&o);
                        return r;
                }
        }
        if (r < 0)
                answer(d, NULL, 0, o.error);
        else
                r = do_all(d, &o);
        free_orders(&o);
        return r;
}
