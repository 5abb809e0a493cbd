/* SPDX-License-Identifier: MIT */
/* doc.c: a document that is open: what it says, and what a read takes of it. */
#include "control/control_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "control/detail.h"

/* What one read has made of a long document, in the loop of the mount: a millisecond or two. */
enum { MADE_BYTES_MAX = 64 * 1024 };
/* What is kept of a long document, at its end so far, once it has twice as much: who reads it
 * slowly costs no more. */
enum { KEPT_BYTES = 2 * MADE_BYTES_MAX };

static void add_torrent(const struct bt_source *source, struct text *text)
{
        void *data;
        size_t len;

        if (bt_source_save(source, &data, &len) < 0) {
                text->failed = true;
                return;
        }
        text_add(text, data, len);
        bt_free(data);
}

/* Makes the text reach at least to end, or be whole. */
static void make_until(struct doc *d, uint64_t end)
{
        struct engine *e = d->control->engine;
        struct text *text = &d->made.text;

        if (doc_is_fixed(d, FIXED_SESSION)) {
                if (!d->made.whole)
                        document_session(e, d->control->mountpoint, text);
                d->made.whole = true;
                return;
        }
        if (doc_is_fixed(d, FIXED_CACHE)) {
                document_cache(e, &d->made, end);
                return;
        }
        if (node_is_name(d->node)) {
                document_name(&d->made, d->node, end);
                return;
        }
        if (d->node.number == 0) {
                document_status(e, d->control->mountpoint, &d->made, end);
                return;
        }
        if (d->node.node == CONTROL_FILES) {
                document_files(e, d->torrent, &d->made, end - d->made.dropped);
                return;
        }
        if (d->node.node == CONTROL_DETAIL) {
                document_detail(e, d->torrent, &d->made, end - d->made.dropped);
                return;
        }
        if (d->made.whole)
                return;
        if (d->node.node == CONTROL_STATUS) {
                document_torrent(e, d->torrent, text);
        } else if (d->node.node == CONTROL_MAGNET) {
                text_adds(text, bt_source_magnet(d->source));
                text_adds(text, "\n");
        } else if (d->node.node == CONTROL_TORRENT) {
                add_torrent(d->source, text);
        } else if (d->node.node == CONTROL_KEEP) {
                text_adds(text, d->torrent->kept ? "1\n" : "0\n");
        }
        d->made.whole = true;
}

/* Whether it may be as long as a torrent has files. */
static bool is_long(const struct doc *d)
{
        return d->node.kind == NODE_CONTROL && d->node.number != 0 &&
               (d->node.node == CONTROL_FILES || d->node.node == CONTROL_DETAIL);
}

/* Who goes back behind what is kept has it made anew. */
static void rewind_to(struct doc *d, uint64_t off)
{
        struct text_cursor *m = &d->made;

        if (off >= m->dropped)
                return;
        m->text.len = 0;
        m->dropped = 0;
        m->begun = m->whole = false;
}

static void drop_given(struct doc *d)
{
        struct text *text = &d->made.text;
        size_t gone = text->len - KEPT_BYTES;

        if (!is_long(d) || text->len < (size_t)2 * KEPT_BYTES)
                return;
        memmove(text->data, text->data + gone, KEPT_BYTES);
        text->len = KEPT_BYTES;
        d->made.dropped += gone;
}

bool doc_is(struct node n)
{
        if (n.number == 0)
                return n.kind == NODE_TREE &&
                       ((n.node >= FIXED_ADD && n.node <= FIXED_EVENTS) ||
                        n.node == FIXED_SESSION || n.node == FIXED_RECALL || n.node == FIXED_CACHE);
        return node_is_name(n) ||
               (n.kind == NODE_CONTROL && n.node >= CONTROL_STATUS && n.node <= CONTROL_DETAIL);
}

bool doc_is_writable(struct node n)
{
        if (n.number == 0)
                return n.kind == NODE_TREE &&
                       (n.node == FIXED_ADD || n.node == FIXED_ADD_TEMPORARY ||
                        n.node == FIXED_RECALL || n.node == FIXED_CACHE || n.node == FIXED_EVENTS);
        return n.kind == NODE_CONTROL && n.node == CONTROL_KEEP;
}

/* Takes hold of the torrent it is of. */
static int hold_torrent(struct doc *d)
{
        struct torrent *t = registry_by_number(engine_registry(d->control->engine), d->node.number);

        if (!t)
                return -ESTALE;
        d->torrent = t;
        t->load_error = 0;
        if (node_is_name(d->node)) {
                d->made.listing = torrent_listing(t);
                if (!d->made.listing || !listing_alike(d->made.listing))
                        return -EAGAIN;
                return tree_node(d->made.listing->tree, d->node.node) ? 0 : -ENOENT;
        }
        /* Who asks for its files, a playlist of them for one, will want them. */
        if (d->node.node == CONTROL_FILES)
                engine_touch(t);
        return 0;
}

int doc_open(struct control *c, struct node n, bool mute, struct doc **ret)
{
        struct doc *d = calloc(1, sizeof *d);
        int r;

        if (!d)
                return -ENOMEM;
        d->control = c;
        d->node = n;
        d->mute = mute;
        r = n.number != 0 ? hold_torrent(d) : 0;
        if (r < 0) {
                torrent_unref(d->torrent);
                listing_unref(d->made.listing);
                free(d);
                return r;
        }
        pthread_mutex_lock(&c->lock);
        DL_APPEND2(c->docs, d, prev, next_doc);
        pthread_mutex_unlock(&c->lock);
        *ret = d;
        return 0;
}

void doc_close(struct doc *d)
{
        struct control *c = d->control;

        pthread_mutex_lock(&c->lock);
        DL_DELETE2(c->docs, d, prev, next_doc);
        pthread_mutex_unlock(&c->lock);
        if (d->poll_handle)
                c->reply.poll_drop(d->poll_handle);
        intake_clear(&d->intake);
        torrent_unref(d->torrent);
        listing_unref(d->made.listing);
        bt_source_free(d->source);
        free(d->made.text.data);
        free(d);
}

void doc_follow(struct doc *d)
{
        struct torrent *next;

        while (d->torrent && (next = torrent_successor(d->torrent))) {
                torrent_unref(d->torrent);
                d->torrent = next;
        }
}

/* Takes hold of what the document is made of. One that is asleep may have to be asked for it. */
static int hold_content(struct doc *d)
{
        struct torrent *t = d->torrent;
        int r;

        switch (d->node.node) {
        case CONTROL_FILES:
                r = d->made.begun ? 0 : torrent_ready(t);
                if (r == 0 && !d->made.listing)
                        d->made.listing = torrent_listing(t);
                return r < 0 || d->made.listing ? r : t->load_error ? -t->load_error : -EAGAIN;
        case CONTROL_DETAIL: /* it waits for nothing, and wakes nothing */
                if (!d->made.begun && !d->made.listing)
                        d->made.listing = torrent_listing(t);
                return 0;
        case CONTROL_TORRENT:
                if (!torrent_has_metadata(t))
                        return -ENODATA;
                /* fall through */
        case CONTROL_MAGNET:
                if (!d->source)
                        d->source = torrent_source(t);
                if (!d->source && torrent_ready(t) == -ENOENT)
                        return -ESTALE;
                if (!d->source)
                        return t->load_error ? -t->load_error : -EAGAIN;
                /* It has just come. */
                return d->node.node == CONTROL_TORRENT && !bt_source_is_whole(d->source) ? -ENODATA
                                                                                         : 0;
        default:
                return 0;
        }
}

int doc_readable(struct doc *d)
{
        doc_follow(d);
        if (d->control->released)
                return -ENODEV;
        if (doc_is_fixed(d, FIXED_EVENTS))
                return d->given < d->made.text.len ? 0 : -EAGAIN;
        return d->node.number != 0 && !node_is_name(d->node) ? hold_content(d) : 0;
}

int doc_take(struct doc *d, uint64_t off, size_t size, void **data, size_t *len)
{
        bool stream = doc_is_fixed(d, FIXED_EVENTS) || doc_is_add(d) || d->answers;
        size_t n;

        if (stream) {
                off = d->given;
        } else {
                /* A short read: whoever wants more reads on. */
                if (size > MADE_BYTES_MAX)
                        size = MADE_BYTES_MAX;
                rewind_to(d, off);
                make_until(d, off + size);
                off -= d->made.dropped;
        }
        if (d->made.text.failed)
                return -ENOMEM;
        n = off < d->made.text.len ? d->made.text.len - (size_t)off : 0;
        if (n > size)
                n = size;
        if (doc_is_fixed(d, FIXED_EVENTS)) { /* one event a read */
                const char *newline = memchr(d->made.text.data + off, '\n', n);

                if (newline)
                        n = (size_t)(newline - (d->made.text.data + off)) + 1;
        }
        *data = malloc(n ? n : 1);
        if (!*data)
                return -ENOMEM;
        if (n > 0)
                memcpy(*data, d->made.text.data + off, n);
        *len = n;
        if (stream) {
                d->given += n;
                if (d->given == d->made.text.len)
                        d->given = d->made.text.len = 0;
        } else {
                drop_given(d);
        }
        return READ_NOW;
}

int doc_read(struct doc *d, uint64_t off, size_t size, bool nonblock, void *request, void **data,
             size_t *len, uint64_t *id)
{
        struct control *c = d->control;
        bool waits_for_metadata;
        int r;

        pthread_mutex_lock(&c->lock);
        r = doc_readable(d);
        waits_for_metadata = r == -EAGAIN && d->torrent;
        if (r == 0) {
                r = doc_take(d, off, size, data, len);
        } else if (r == -EAGAIN && !nonblock) {
                if (d->request) {
                        r = -EBUSY;
                } else {
                        d->request = request;
                        d->id = *id = c->next_id++;
                        d->off = off;
                        d->size = size;
                        d->armed = false;
                        d->outcome = 0;
                        r = READ_PARKED;
                }
        }
        pthread_mutex_unlock(&c->lock);
        if (waits_for_metadata)
                engine_hurry(c->engine, d->torrent);
        return r;
}
