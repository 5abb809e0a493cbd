/* SPDX-License-Identifier: MIT */
#include "torrent/pins.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torrent/torrent.h"

static const char text_of_all[] = "all";

/* ---- pure ---- */

void pins_clear(struct pins *p)
{
        free(p->files);
        *p = (struct pins){0};
}

/* How many of the pins stand before the first that is beyond: of which the node, or the first
 * piece, is more than value. Both only rise. */
static size_t count_until(const struct pins *p, bool by_node, uint32_t value)
{
        size_t low = 0, high = p->n_files;

        while (low < high) {
                size_t mid = low + (high - low) / 2;

                if ((by_node ? p->files[mid].node : p->files[mid].first) <= value)
                        low = mid + 1;
                else
                        high = mid;
        }
        return low;
}

static bool has_node(const struct pins *p, uint32_t node)
{
        size_t n = count_until(p, true, node);

        return p->whole || (n > 0 && p->files[n - 1].node == node);
}

static bool has_piece(const struct pins *p, uint32_t piece)
{
        size_t n = count_until(p, false, piece);

        /* Files lie behind each other: none before ends later. */
        return p->whole || (n > 0 && piece < p->files[n - 1].end);
}

/* Whether node is the directory, or in it. */
static bool is_beneath(const struct tree *tree, uint32_t node, uint32_t directory)
{
        while (node != directory && node != TREE_ROOT)
                node = tree_node(tree, node)->parent;
        return node == directory;
}

static struct pin pin_of(const struct listing *l, uint32_t node, const struct tree_node *n)
{
        return (struct pin){.node = node,
                            .first = (uint32_t)(n->offset / l->piece_length),
                            .end = (uint32_t)((n->offset + n->size - 1) / l->piece_length) + 1};
}

/* They were made for PINS_MAX. */
static void shrink(struct pins *p)
{
        struct pin *less = p->n_files > 0 && !p->whole
                                   ? reallocarray(p->files, p->n_files, sizeof *less)
                                   : NULL;

        if (less) {
                p->files = less;
        } else if (p->n_files == 0 || p->whole) {
                free(p->files);
                p->files = NULL;
                p->n_files = 0;
        }
}

int pins_change(const struct pins *p, const struct listing *l, uint32_t node, bool pinned,
                struct pins *ret)
{
        struct pins made = {0};
        bool too_many = false, all = true;

        if (node == TREE_ROOT) {
                *ret = (struct pins){.whole = pinned};
                return 0;
        }
        if (node >= tree_nodes(l->tree))
                return -ENOENT;
        made.files = calloc(PINS_MAX, sizeof *made.files);
        if (!made.files)
                return -ENOMEM;
        for (uint32_t i = TREE_ROOT + 1; i < tree_nodes(l->tree); i++) {
                const struct tree_node *n = tree_node(l->tree, i);

                if (n->file == TREE_DIRECTORY || n->size == 0)
                        continue;
                if (!(is_beneath(l->tree, i, node) ? pinned : has_node(p, i)))
                        all = false;
                else if (made.n_files < PINS_MAX)
                        made.files[made.n_files++] = pin_of(l, i, n);
                else
                        too_many = true;
        }
        /* Of a torrent without bytes nothing can be. */
        made.whole = all && made.n_files > 0;
        if (too_many && !made.whole) {
                pins_clear(&made);
                return -E2BIG;
        }
        shrink(&made);
        *ret = made;
        return 0;
}

/* ---- of a torrent ---- */

bool pins_has(const struct torrent *t, uint32_t piece)
{
        return has_piece(&t->pins, piece);
}

bool pins_has_node(const struct torrent *t, uint32_t node)
{
        return has_node(&t->pins, node);
}

enum pinned pins_of(const struct torrent *t)
{
        return t->pins.whole ? PINNED_WHOLE : t->pins.n_files > 0 ? PINNED_PART : PINNED_NOT;
}

void pins_exchange(struct torrent *t, struct pins *p)
{
        struct pins before;

        pthread_mutex_lock(&t->lock);
        before = t->pins;
        t->pins = *p;
        pthread_mutex_unlock(&t->lock);
        *p = before;
}

void pins_inherit(struct torrent *t, struct torrent *from)
{
        struct pins whole = {.whole = true};

        if (!from->pins.whole)
                return;
        pins_exchange(t, &whole);
        pins_clear(&whole);
}

char *pins_save(struct torrent *t)
{
        char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);

        if (!f)
                return NULL;
        pthread_mutex_lock(&t->lock);
        if (t->pins.whole)
                fputs(text_of_all, f);
        for (size_t i = 0; i < t->pins.n_files; i++) {
                const struct pin *p = &t->pins.files[i];

                fprintf(f, "%s%u:%u-%u", i > 0 ? " " : "", p->node, p->first, p->end);
        }
        pthread_mutex_unlock(&t->lock);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

/* A number below limit, and the sign behind it. */
static bool take_number(const char **text, char behind, uint32_t limit, uint32_t *ret)
{
        unsigned long value;
        char *end;

        if (!isdigit((unsigned char)**text))
                return false;
        errno = 0;
        value = strtoul(*text, &end, 10);
        if (errno || value >= limit || (behind && *end != behind))
                return false;
        *text = end + (behind ? 1 : 0);
        *ret = (uint32_t)value;
        return true;
}

static bool take_pin(const char **text, struct pin *ret)
{
        return take_number(text, ':', TREE_NODES_MAX, &ret->node) &&
               take_number(text, '-', UINT32_MAX, &ret->first) &&
               take_number(text, '\0', UINT32_MAX, &ret->end) && ret->node != TREE_ROOT &&
               ret->first < ret->end && (**text == ' ' || !**text);
}

void pins_load(struct torrent *t, const char *text)
{
        struct pins p = {.whole = strcmp(text, text_of_all) == 0};
        struct pin pin, last = {0};

        if (!p.whole && *text)
                p.files = calloc(PINS_MAX, sizeof *p.files);
        while (p.files && p.n_files < PINS_MAX && take_pin(&text, &pin) && pin.node > last.node &&
               pin.first >= last.first && pin.end >= last.end) {
                p.files[p.n_files++] = last = pin;
                text += *text == ' ';
        }
        shrink(&p);
        pins_exchange(t, &p);
        pins_clear(&p);
}
