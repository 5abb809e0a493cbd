/* SPDX-License-Identifier: MIT */
#include "control/control_private.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

/* A reader of events that does not read loses the oldest. */
enum { EVENTS_BYTES_MAX = 256 * 1024 };

/* What one read has made of a long document, in the loop of the mount: a millisecond or two. */
enum { MADE_BYTES_MAX = 64 * 1024 };

/* ---- open, read ---- */

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
        if (d->node.number == 0) {
                document_status(e, d->control->mountpoint, &d->made, end);
                return;
        }
        if (d->node.node == CONTROL_FILES) {
                document_files(e, d->torrent, &d->made, end);
                return;
        }
        if (d->made.whole)
                return;
        if (d->node.node == CONTROL_STATUS) {
                document_torrent(e, d->torrent, text);
        } else if (d->node.node == CONTROL_MAGNET) {
                text_adds(text, bt_source_magnet(d->torrent->source));
                text_adds(text, "\n");
        } else if (d->node.node == CONTROL_KEEP) {
                text_adds(text, d->torrent->kept ? "1\n" : "0\n");
        }
        d->made.whole = true;
}

bool doc_is(struct node n)
{
        if (n.number == 0)
                return n.kind == NODE_TREE &&
                       ((n.node >= FIXED_ADD && n.node <= FIXED_EVENTS) || n.node == FIXED_SESSION);
        return n.kind == NODE_CONTROL && n.node >= CONTROL_STATUS && n.node <= CONTROL_KEEP;
}

bool doc_is_writable(struct node n)
{
        if (n.number == 0)
                return n.kind == NODE_TREE &&
                       (n.node == FIXED_ADD || n.node == FIXED_ADD_TEMPORARY);
        return n.kind == NODE_CONTROL && n.node == CONTROL_KEEP;
}

int doc_open(struct control *c, struct node n, bool mute, struct doc **ret)
{
        struct doc *d = calloc(1, sizeof *d);

        if (!d)
                return -ENOMEM;
        d->control = c;
        d->node = n;
        d->mute = mute;
        if (n.number != 0) {
                d->torrent = registry_by_number(engine_registry(c->engine), n.number);
                if (!d->torrent) {
                        free(d);
                        return -ESTALE;
                }
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

/* What a read would say now: 0, -EAGAIN when it has to wait, or -errno. Under control->lock. */
static int readable(struct doc *d)
{
        doc_follow(d);
        if (d->control->released)
                return -ENODEV;
        if (doc_is_fixed(d, FIXED_EVENTS))
                return d->given < d->made.text.len ? 0 : -EAGAIN;
        if (d->node.number != 0 && d->node.node == CONTROL_FILES && !d->made.begun)
                return torrent_ready(d->torrent);
        return 0;
}

/* Under control->lock; readable() said 0. */
static int take(struct doc *d, uint64_t off, size_t size, void **data, size_t *len)
{
        bool stream = doc_is_fixed(d, FIXED_EVENTS) || doc_is_add(d);
        size_t n;

        if (stream) {
                off = d->given;
        } else {
                /* A short read: whoever wants more reads on. */
                if (size > MADE_BYTES_MAX)
                        size = MADE_BYTES_MAX;
                make_until(d, off + size);
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
        r = readable(d);
        waits_for_metadata = r == -EAGAIN && d->torrent;
        if (r == 0) {
                r = take(d, off, size, data, len);
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

/* ---- waiting ---- */

/* Answers a parked read if it can be (err > 0: with that), wakes a poller. Takes control->lock and
 * gives it back. */
static void settle_and_unlock(struct control *c, struct doc *d, int err)
{
        void *request = d->request, *poll_handle = NULL, *data = NULL;
        size_t len = 0;
        int r = err ? -err : readable(d);

        if (r != -EAGAIN) {
                poll_handle = d->poll_handle;
                d->poll_handle = NULL;
        }
        if (request && r != -EAGAIN) {
                if (!d->armed) {
                        d->outcome = err ? err : OUTCOME_LOOK;
                        request = NULL;
                } else {
                        d->request = NULL;
                        if (r == 0)
                                r = take(d, d->off, d->size, &data, &len);
                }
        } else {
                request = NULL;
        }
        pthread_mutex_unlock(&c->lock);
        if (request) {
                if (r < 0)
                        c->reply.error(request, -r);
                else
                        c->reply.data(request, data, len);
        }
        free(data);
        if (poll_handle)
                c->reply.poll_wake(poll_handle);
}

/* Settles the documents that were marked. The lock is given up for each answer and documents may be
 * closed meanwhile, so each round looks from the start. */
static void settle_marked(struct control *c)
{
        struct doc *d;

        do {
                pthread_mutex_lock(&c->lock);
                DL_FOREACH2 (c->docs, d, next_doc) {
                        if (d->marked)
                                break;
                }
                if (d) {
                        d->marked = false;
                        settle_and_unlock(c, d, 0);
                } else {
                        pthread_mutex_unlock(&c->lock);
                }
        } while (d);
}

static bool waits(const struct doc *d)
{
        return d->request || d->poll_handle;
}

/* The document whose read waits under that id. Under c->lock. */
static struct doc *find_reading(struct control *c, uint64_t id)
{
        struct doc *d;

        DL_FOREACH2 (c->docs, d, next_doc) {
                if (d->request && is_id(d->id, id))
                        break;
        }
        return d;
}

void doc_arm(struct control *c, uint64_t id)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        d = find_reading(c, id);
        if (!d) {
                pthread_mutex_unlock(&c->lock);
                writing_arm(c, id);
                return;
        }
        d->armed = true;
        settle_and_unlock(c, d, d->outcome > 0 ? d->outcome : 0);
}

void doc_interrupt(struct control *c, uint64_t id)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        d = find_reading(c, id);
        if (d) {
                settle_and_unlock(c, d, EINTR);
        } else {
                pthread_mutex_unlock(&c->lock);
                writing_interrupt(c, id);
        }
}

unsigned doc_poll(struct doc *d, void *poll_handle)
{
        struct control *c = d->control;
        void *drop;
        unsigned events;
        int r;

        pthread_mutex_lock(&c->lock);
        r = readable(d);
        events = r == 0 ? POLLIN : r == -EAGAIN ? 0 : POLLIN | POLLERR;
        if (doc_is_writable(d->node))
                events |= POLLOUT;
        drop = d->poll_handle;
        d->poll_handle = events & (POLLIN | POLLERR) ? NULL : poll_handle;
        if (!d->poll_handle && poll_handle) {
                if (drop)
                        c->reply.poll_drop(drop);
                drop = poll_handle;
        }
        pthread_mutex_unlock(&c->lock);
        if (drop)
                c->reply.poll_drop(drop);
        return events;
}

/* ---- news ---- */

void control_changed(struct control *c, struct torrent *t)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        DL_FOREACH2 (c->docs, d, next_doc) {
                if (d->torrent == t && waits(d))
                        d->marked = true;
        }
        pthread_mutex_unlock(&c->lock);
        settle_marked(c);
}

void control_event(struct control *c, const char *json)
{
        size_t len = strlen(json);
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        DL_FOREACH2 (c->docs, d, next_doc) {
                if (!doc_is_fixed(d, FIXED_EVENTS))
                        continue;
                if (d->made.text.len - d->given + len + 1 > EVENTS_BYTES_MAX) {
                        d->made.text.len = d->given = 0;
                        text_adds(&d->made.text, "{\"event\":\"lost\"}\n");
                }
                text_add(&d->made.text, json, len);
                text_adds(&d->made.text, "\n");
                d->marked = waits(d);
        }
        pthread_mutex_unlock(&c->lock);
        settle_marked(c);
}

void control_release(struct control *c)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        c->released = true;
        DL_FOREACH2 (c->docs, d, next_doc) {
                d->marked = waits(d);
        }
        pthread_mutex_unlock(&c->lock);
        settle_marked(c);
}

/* ---- life ---- */

int control_new(struct engine *e, const char *mountpoint, const struct reply_ops *reply,
                struct control **ret)
{
        struct control *c = calloc(1, sizeof *c);

        if (!c)
                return -ENOMEM;
        c->mountpoint = strdup(mountpoint);
        if (!c->mountpoint) {
                free(c);
                return -ENOMEM;
        }
        c->engine = e;
        c->reply = *reply;
        c->next_id = 1;
        pthread_mutex_init(&c->lock, NULL);
        pthread_mutex_init(&c->answering, NULL);
        *ret = c;
        return 0;
}

void control_free(struct control *c)
{
        if (!c)
                return;
        pthread_mutex_destroy(&c->answering);
        pthread_mutex_destroy(&c->lock);
        free(c->mountpoint);
        free(c);
}
