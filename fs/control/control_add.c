/* SPDX-License-Identifier: MIT */
/* control_add.c: what is written to documents. That is done by the chores, as it waits until the
 * catalog has it on the disk; its write or flush is answered then. */
#include "control/control_private.h"
#include "common/limits.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "torrent/threads.h"

/* Answers of `add` that were not read, some 300,000 of them: then nothing more is taken. */
enum { ANSWERS_BYTES_MAX = 64 << 20 };

/* ---- taking in ---- */

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
                if (engine_env(e)->stopping) {
                        snprintf(err->text, sizeof err->text, "magnetfs is ending");
                        return -ENODEV;
                }
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

/* Puts in place of *source, which is little more than a hash, what a torrent of it was added by.
 * One that is here is used, its reference is in *here, and *source becomes NULL. -ENOENT. */
static int recall(struct engine *e, struct bt_source **source, struct torrent **here,
                  struct bt_error *err)
{
        const struct bt_hash *hash = bt_source_hash(*source);
        struct bt_source *known = NULL;
        char hex[2][BT_HEX_MAX];
        struct torrent *t = NULL;

        bt_hash_v1_hex(hash, hex[0]);
        bt_hash_v2_hex(hash, hex[1]);
        for (unsigned i = 0; i < 2 && !t; i++)
                if (hex[i][0])
                        t = registry_by_hash(engine_registry(e), hex[i]);
        if (t)
                engine_touch(t);
        else
                known = engine_recall(e, hash);
        bt_source_free(*source);
        *source = known;
        *here = t;
        if (t || known)
                return 0;
        snprintf(err->text, sizeof err->text, "no torrent of that hash was here within a day");
        return -ENOENT;
}

/* What of the sources is added, in order, until one can't be. Under no lock. */
static int add_all(struct doc *d, struct sources *s, struct torrent **added, size_t *n_added,
                   struct bt_error *err)
{
        struct engine *e = d->control->engine;
        int r = 0;

        for (size_t i = 0; i < s->n; i++) {
                struct bt_source *source = s->list[i];

                s->list[i] = NULL;
                if (r == 0 && engine_env(e)->stopping)
                        r = -ENODEV;
                if (r == 0 && doc_is_fixed(d, FIXED_RECALL)) {
                        r = recall(e, &source, &added[*n_added], err);
                        if (r == 0 && !source)
                                ++*n_added;
                }
                if (r < 0 || !source) {
                        bt_source_free(source);
                        continue;
                }
                r = engine_add(e, source, doc_is_fixed(d, FIXED_ADD), &added[*n_added]);
                if (r == 0)
                        ++*n_added;
                else
                        snprintf(err->text, sizeof err->text, "cannot add it: %s",
                                 store_open_error(-r));
        }
        return r;
}

/* Parses all that is complete, then adds all of it, or nothing where one is malformed. At the
 * return it is remembered, too. Under no lock. */
static int take_in(struct doc *d, bool final)
{
        struct control *c = d->control;
        struct sources s = {0};
        struct bt_error err = {0};
        struct torrent **added = NULL;
        size_t n = 0;
        int r = parse_items(d, final, &s, &err), q = 0;

        if (r == 0 && s.n > 0) {
                added = calloc(s.n, sizeof(struct torrent *));
                r = added ? 0 : -ENOMEM;
        }
        if (r == 0 && s.n > 0) {
                engine_begin(c->engine);
                r = add_all(d, &s, added, &n, &err);
                q = engine_commit(c->engine);
                if (q < 0)
                        snprintf(err.text, sizeof err.text,
                                 "it cannot be written to the state folder: %s", strerror(-q));
        }
        for (size_t i = 0; i < n; i++) {
                if (q == 0)
                        answer_add(d, added[i], NULL);
                torrent_unref(added[i]);
        }
        free(added);
        for (size_t i = 0; i < s.n; i++)
                bt_source_free(s.list[i]);
        free(s.list);
        r = q < 0 ? q : r;
        if (r < 0) {
                intake_clear(&d->intake);
                answer_add(d, NULL, err.text);
        }
        return r;
}

static int write_keep(struct doc *d, const char *data, size_t len)
{
        struct torrent *t;
        int r;

        if (len > 0 && data[len - 1] == '\n')
                len--;
        if (len != 1 || (data[0] != '0' && data[0] != '1'))
                return -EINVAL;
        pthread_mutex_lock(&d->control->lock);
        doc_follow(d);
        t = torrent_ref(d->torrent);
        pthread_mutex_unlock(&d->control->lock);
        r = engine_set_kept(d->control->engine, t, data[0] == '1');
        torrent_unref(t);
        return r;
}

static int write_add(struct doc *d, const void *data, size_t len)
{
        bool begun;
        int r;

        if (d->refused)
                return d->refused;
        if (is_deaf(d))
                return -ENOBUFS;
        begun = intake_is_torrent(&d->intake);
        r = intake_add(&d->intake, data, len, TORRENT_BYTES_MAX);
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

static int flush_add(struct doc *d)
{
        return take_in(d, true);
}

/* ---- by the chores ---- */

/* Answers a writing that was taken from the list, and frees it. No lock is held. */
static void answer_writing(struct control *c, struct writing *w)
{
        pthread_mutex_lock(&c->answering);
        if (c->ended)
                ; /* the kernel does */
        else if (w->result < 0 || w->flush)
                c->reply.error(w->request, -w->result);
        else
                c->reply.written(w->request, w->len);
        pthread_mutex_unlock(&c->answering);
        free(w);
}

static struct writing *find_writing(struct control *c, uint64_t id)
{
        struct writing *w;

        DL_FOREACH (c->writings, w) {
                if (is_id(w->id, id))
                        break;
        }
        return w;
}

/* Under control->lock. */
static void forget_writing(struct control *c, struct writing *w)
{
        DL_DELETE(c->writings, w);
        w->doc->n_writing--;
}

void writing_arm(struct control *c, uint64_t id)
{
        struct writing *w;

        pthread_mutex_lock(&c->lock);
        w = find_writing(c, id);
        if (w) {
                w->armed = true;
                if (w->done)
                        forget_writing(c, w);
                else
                        w = NULL;
        }
        pthread_mutex_unlock(&c->lock);
        if (w)
                answer_writing(c, w);
}

/* One that waits for its turn can be left for a signal that its thread will see; one that is being
 * done is done in a moment. */
void writing_interrupt(struct control *c, uint64_t id)
{
        struct writing *w;

        pthread_mutex_lock(&c->lock);
        w = find_writing(c, id);
        if (w && w->armed && !w->done && thread_is_signalled(w->tid) &&
            chores_take_back(engine_env(c->engine)->chores, &w->chore)) {
                forget_writing(c, w);
                w->result = -EINTR;
        } else {
                w = NULL;
        }
        pthread_mutex_unlock(&c->lock);
        if (w)
                answer_writing(c, w);
}

/* 0, -errno or WRITING_AGAIN. */
static int do_writing(struct writing *w)
{
        if (w->flush)
                return flush_add(w->doc);
        if (doc_is_fixed(w->doc, FIXED_CACHE))
                return cache_written(w);
        return w->doc->torrent ? write_keep(w->doc, w->data, w->len)
                               : write_add(w->doc, w->data, w->len);
}

void writing_run(struct chore *chore)
{
        struct writing *w = (struct writing *)((char *)chore - offsetof(struct writing, chore));
        struct control *c = w->doc->control;
        int r = do_writing(w);

        if (r == WRITING_AGAIN)
                return;
        pthread_mutex_lock(&c->lock);
        w->result = r;
        w->done = true;
        if (w->armed)
                forget_writing(c, w);
        else
                w = NULL;
        pthread_mutex_unlock(&c->lock);
        if (w)
                answer_writing(c, w);
}

/* Leaves it to the chores; data NULL: a flush. READ_PARKED, -ENOMEM, -ENODEV. */
static int write_later(struct doc *d, const void *data, size_t len, void *request, pid_t tid,
                       uint64_t *id)
{
        struct writing *w = malloc(sizeof *w + len);
        struct control *c = d->control;

        if (!w)
                return -ENOMEM;
        *w = (struct writing){.chore = {.run = writing_run},
                              .doc = d,
                              .request = request,
                              .tid = tid,
                              .flush = !data,
                              .len = len};
        if (data)
                memcpy(w->data, data, len);
        pthread_mutex_lock(&c->lock);
        w->id = *id = c->next_id++;
        DL_APPEND(c->writings, w); /* NOLINT(*NullDereference): the first one's prev is the last */
        d->n_writing++;
        pthread_mutex_unlock(&c->lock);
        if (chores_push(engine_env(c->engine)->chores, &w->chore))
                return READ_PARKED;
        pthread_mutex_lock(&c->lock);
        forget_writing(c, w);
        pthread_mutex_unlock(&c->lock);
        free(w);
        return -ENODEV;
}

int doc_write(struct doc *d, const void *data, size_t len, void *request, pid_t tid, uint64_t *id)
{
        if (doc_is_fixed(d, FIXED_EVENTS))
                return events_written(d, data, len);
        return doc_is_writable(d->node) ? write_later(d, data, len, request, tid, id) : -EROFS;
}

int doc_flush(struct doc *d, void *request, pid_t tid, uint64_t *id)
{
        bool busy;

        pthread_mutex_lock(&d->control->lock);
        busy = d->n_writing > 0;
        pthread_mutex_unlock(&d->control->lock);
        /* The last line had its newline, as a rule. */
        if (!doc_is_add(d) || (!busy && intake_pending(&d->intake) == 0))
                return 0;
        return write_later(d, NULL, 0, request, tid, id);
}

void control_end(struct control *c)
{
        pthread_mutex_lock(&c->answering);
        c->ended = true;
        pthread_mutex_unlock(&c->answering);
}
