/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "documents.h"
#include "intake.h"
#include "names.h"

/* What one write to `add` may hold before it is complete: a .torrent of the largest metadata, with
 * its trackers. */
enum { INTAKE_BYTES_MAX = 33 << 20 };
/* Answers of `add` that were not read, some 300,000 of them: then nothing more is taken. */
enum { ANSWERS_BYTES_MAX = 64 << 20 };
/* A reader of events that does not read loses the oldest. */
enum { EVENTS_BYTES_MAX = 256 * 1024 };

struct doc {
        /* set once */
        struct control *control;
        struct node node;
        bool mute; /* nobody can read answers: opened for writing only */

        /* under control->lock */
        struct torrent *torrent; /* a reference, or NULL */
        struct text_cursor made;
        size_t given; /* of streams: bytes that were read */
        struct intake intake;
        int refused;   /* a .torrent was in the middle of its writes: what the next ones give */
        void *request; /* the parked read */
        uint64_t id, off;
        size_t size;
        bool armed;
        int outcome; /* settled before it was armed: > 0 an errno, OUTCOME_LOOK: look again */
        void *poll_handle;
        bool marked; /* something happened that it may have waited for */
        struct doc *prev, *next_doc;
};
enum { OUTCOME_LOOK = -1 };

struct control {
        /* set once */
        struct engine *engine;
        char *mountpoint;
        struct reply_ops reply;

        /* under lock; taken before registry.lock and torrent->lock */
        pthread_mutex_t lock;
        struct doc *docs;
        uint64_t next_id;
        bool released;
};

/* ---- open, read ---- */

/* Makes the text reach at least to end, or be whole. */
static void make_until(struct doc *d, uint64_t end)
{
        struct engine *e = d->control->engine;
        struct text *text = &d->made.text;

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

static bool is_fixed(const struct doc *d, uint32_t node)
{
        return d->node.number == 0 && d->node.node == node;
}

static bool is_add(const struct doc *d)
{
        return is_fixed(d, FIXED_ADD) || is_fixed(d, FIXED_ADD_TEMPORARY);
}

bool doc_is(struct node n)
{
        if (n.number == 0)
                return n.kind == NODE_TREE && n.node >= FIXED_ADD && n.node <= FIXED_EVENTS;
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
                        return -ENOENT;
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

/* A torrent that was added by both of its hashes was two until its metadata came: goes on with the
 * one that is left. Under control->lock. */
static void follow(struct doc *d)
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
        follow(d);
        if (d->control->released)
                return -ENODEV;
        if (is_fixed(d, FIXED_EVENTS))
                return d->given < d->made.text.len ? 0 : -EAGAIN;
        if (d->node.number != 0 && d->node.node == CONTROL_FILES && !d->made.begun)
                return torrent_ready(d->torrent);
        return 0;
}

/* Under control->lock; readable() said 0. */
static int take(struct doc *d, uint64_t off, size_t size, void **data, size_t *len)
{
        bool stream = is_fixed(d, FIXED_EVENTS) || is_add(d);
        size_t n;

        if (stream)
                off = d->given;
        else
                make_until(d, off + size);
        if (d->made.text.failed)
                return -ENOMEM;
        n = off < d->made.text.len ? d->made.text.len - (size_t)off : 0;
        if (n > size)
                n = size;
        if (is_fixed(d, FIXED_EVENTS)) { /* one event a read */
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
        int r;

        pthread_mutex_lock(&c->lock);
        r = readable(d);
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

void doc_arm(struct control *c, uint64_t id)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        DL_FOREACH2 (c->docs, d, next_doc) {
                if (d->request && d->id == id)
                        break;
        }
        if (!d) {
                pthread_mutex_unlock(&c->lock);
                return;
        }
        d->armed = true;
        settle_and_unlock(c, d, d->outcome > 0 ? d->outcome : 0);
}

void doc_interrupt(struct control *c, uint64_t id)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        DL_FOREACH2 (c->docs, d, next_doc) {
                if (d->request && d->id == id)
                        break;
        }
        if (d)
                settle_and_unlock(c, d, EINTR);
        else
                pthread_mutex_unlock(&c->lock);
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

/* ---- write ---- */

struct sources {
        struct bt_source **list;
        size_t n, room;
};

static int parse_items(struct doc *d, bool final, struct sources *s, struct bt_error *err)
{
        struct engine *e = d->control->engine;

        for (;;) {
                struct bt_source *source;
                enum intake_item type;
                const char *item;
                size_t len;
                int r = intake_next(&d->intake, final, &type, &item, &len);

                if (r < 0) {
                        snprintf(err->text, sizeof err->text,
                                 "not a .torrent file: its bencoding is broken");
                        return r;
                }
                if (type == INTAKE_NOTHING)
                        return 0;
                r = type == INTAKE_TORRENT
                            ? bt_source_from_torrent(item, len, engine_limits(e),
                                                     engine_loopback_peers(e), &source, err)
                            : bt_source_from_magnet(item, len, engine_loopback_peers(e), &source,
                                                    err);
                if (r < 0)
                        return r;
                if (s->n == s->room) {
                        size_t room = s->room ? 2 * s->room : 16;
                        struct bt_source **grown =
                                reallocarray(s->list, room, sizeof(struct bt_source *));

                        if (!grown) {
                                bt_source_free(source);
                                return -ENOMEM;
                        }
                        s->list = grown;
                        s->room = room;
                }
                s->list[s->n++] = source;
        }
}

/* Writes the line that a read of the same descriptor gives. */
static void answer_add(struct doc *d, struct torrent *t, const char *error)
{
        struct control *c = d->control;

        if (d->mute)
                return;
        pthread_mutex_lock(&c->lock);
        document_added(c->engine, t, error, &d->made.text);
        pthread_mutex_unlock(&c->lock);
}

/* Whether nobody reads the answers of `add`. */
static bool is_deaf(struct doc *d)
{
        bool deaf;

        pthread_mutex_lock(&d->control->lock);
        deaf = d->made.text.len - d->given > ANSWERS_BYTES_MAX;
        pthread_mutex_unlock(&d->control->lock);
        return deaf;
}

/* Parses all that is complete, then adds all of it, or nothing. Under no lock but the kernel's: one
 * write of a file at a time. */
static int take_in(struct doc *d, bool final)
{
        struct control *c = d->control;
        struct sources s = {0};
        struct bt_error err = {0};
        int r = parse_items(d, final, &s, &err);

        for (size_t i = 0; i < s.n; i++) {
                struct torrent *t;

                if (r < 0) {
                        bt_source_free(s.list[i]);
                        continue;
                }
                r = engine_add(c->engine, s.list[i], is_fixed(d, FIXED_ADD), &t);
                if (r < 0) {
                        errno = -r;
                        snprintf(err.text, sizeof err.text, "cannot add it: %m");
                        continue;
                }
                answer_add(d, t, NULL);
                torrent_unref(t);
        }
        free(s.list);
        if (r < 0) {
                intake_clear(&d->intake);
                answer_add(d, NULL, err.text);
        }
        return r;
}

static int write_keep(struct doc *d, const char *data, size_t len)
{
        struct torrent *t;

        if (len > 0 && data[len - 1] == '\n')
                len--;
        if (len != 1 || (data[0] != '0' && data[0] != '1'))
                return -EINVAL;
        pthread_mutex_lock(&d->control->lock);
        follow(d);
        t = torrent_ref(d->torrent);
        pthread_mutex_unlock(&d->control->lock);
        engine_set_kept(d->control->engine, t, data[0] == '1');
        torrent_unref(t);
        return 0;
}

int doc_write(struct doc *d, const void *data, size_t len)
{
        bool begun;
        int r;

        if (d->node.number != 0)
                return d->node.node == CONTROL_KEEP ? write_keep(d, data, len) : -EROFS;
        if (!is_add(d))
                return -EROFS;
        if (d->refused)
                return d->refused;
        if (is_deaf(d))
                return -ENOBUFS;
        begun = intake_is_torrent(&d->intake);
        r = intake_add(&d->intake, data, len, INTAKE_BYTES_MAX);
        if (r < 0) {
                intake_clear(&d->intake);
                answer_add(d, NULL,
                           r == -E2BIG ? "more than 33 MiB in one piece" : "out of memory");
        } else {
                r = take_in(d, false);
        }
        /* The kernel cuts what a program writes at once into many writes, and does not tell of the
         * error of any but the first: the program goes on from there. */
        if (r < 0 && begun)
                d->refused = r;
        return r;
}

int doc_flush(struct doc *d)
{
        return is_add(d) ? take_in(d, true) : 0;
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
                if (!is_fixed(d, FIXED_EVENTS))
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
        *ret = c;
        return 0;
}

void control_free(struct control *c)
{
        if (!c)
                return;
        pthread_mutex_destroy(&c->lock);
        free(c->mountpoint);
        free(c);
}
