/* SPDX-License-Identifier: MIT */
/* control_private.h: the inside of the documents, for the files of this folder alone. */
#ifndef FS_CONTROL_PRIVATE_H
#define FS_CONTROL_PRIVATE_H

#include "control/control.h"

#include <pthread.h>

#include "common/chores.h"
#include "common/intake.h"
#include "control/documents.h"

/* A write or a flush that is done by the chores. */
struct writing {
        /* set once */
        struct chore chore;
        struct doc *doc;
        void *request;
        pid_t tid;
        uint64_t id;
        bool flush;
        size_t len;

        /* of its chore: content that what was written needs, see control_cache.c */
        struct engine_load load;
        int load_result;
        unsigned n_loads;

        /* under control->lock */
        bool armed, done;
        int result;
        struct writing *prev, *next;

        char data[];
};

struct doc {
        /* set once */
        struct control *control;
        struct node node;
        bool mute; /* nobody can read answers: opened for writing only */

        /* under control->lock */
        struct torrent *torrent;  /* a reference, or NULL */
        struct bt_source *source; /* what it is made of: a reference, or NULL */
        struct text_cursor made;
        size_t given;       /* of streams: bytes that were read */
        bool answers;       /* of the cache: what is in made answers what was written */
        unsigned n_writing; /* by the chores */
        void *request;      /* the parked read */
        uint64_t id, off;
        size_t size;
        bool armed;
        int outcome; /* settled before it was armed: > 0 an errno, OUTCOME_LOOK: look again */
        void *poll_handle;
        bool marked; /* something happened that it may have waited for */
        struct doc *prev, *next_doc;

        /* of whoever takes in: the loop of the mount, or the chores while n_writing > 0 */
        struct intake intake;
        int refused; /* a .torrent was in the middle of its writes: what the next ones give */
};
enum { OUTCOME_LOOK = -1 };

/* The last events, for who comes back. */
enum { EVENTS_KEPT = 1024 };
struct events_kept {
        char *lines[EVENTS_KEPT]; /* that of id at id % EVENTS_KEPT */
        uint64_t next_id;         /* each has the next one; microseconds since 1970 at the start, so
                                     that they grow over restarts */
        size_t n;                 /* those before next_id that are there */
};

struct control {
        /* set once */
        struct engine *engine;
        char *mountpoint;
        struct reply_ops reply;

        /* under lock; taken before registry.lock and torrent->lock */
        pthread_mutex_t lock;
        struct doc *docs;
        struct writing *writings;
        uint64_t next_id;
        struct events_kept events;
        bool released;

        /* held while a writing is answered; taken under no other lock */
        pthread_mutex_t answering;
        bool ended;
};

static inline bool doc_is_fixed(const struct doc *d, uint32_t node)
{
        return d->node.number == 0 && d->node.node == node;
}

/* What takes torrents in: add, add-temporary or recall. */
static inline bool doc_is_add(const struct doc *d)
{
        return doc_is_fixed(d, FIXED_ADD) || doc_is_fixed(d, FIXED_ADD_TEMPORARY) ||
               doc_is_fixed(d, FIXED_RECALL);
}

/* Whether an id is meant: the handler of an interrupt knows its low 32 bits alone. */
static inline bool is_id(uint64_t id, uint64_t meant)
{
        return (uint32_t)id == (uint32_t)meant;
}

/* ---- control.c ---- */

/* Answers those of the documents that were marked which have something to say now. Takes
 * control->lock. */
void control_settle_marked(struct control *c);

/* ---- control_events.c: control_event and these ---- */

void events_init(struct events_kept *k);
void events_free(struct events_kept *k);
/* An id was written: what is read from here on begins behind the event of that id, or with
 * "lost" where not all of these are known any more. -EINVAL: it is no number. Takes control->lock.
 */
int events_written(struct doc *d, const char *data, size_t len);

/* ---- doc.c ---- */

/* A torrent that was added by both of its hashes was two until its metadata came: goes on with the
 * one that is left. Under control->lock. */
void doc_follow(struct doc *d);

/* What a read would say now: 0, -EAGAIN when it has to wait, or -errno. Under control->lock. */
int doc_readable(struct doc *d);

/* Takes at most size bytes from off on, of a stream the next ones, into *data, which the caller
 * frees. READ_NOW, or -ENOMEM. Under control->lock; doc_readable() said 0. */
int doc_take(struct doc *d, uint64_t off, size_t size, void **data, size_t *len);

/* ---- doc_wait.c ---- */

/* Answers a parked read if it can be (err > 0: with that), wakes a poller. Takes control->lock and
 * gives it back. */
void doc_settle_and_unlock(struct control *c, struct doc *d, int err);

static inline bool doc_waits(const struct doc *d)
{
        return d->request || d->poll_handle;
}

/* ---- control_add.c: doc_write, doc_flush, control_end and these ---- */

/* The chore of a writing. */
void writing_run(struct chore *chore);
/* As doc_arm and doc_interrupt, if the id is a write's or a flush's. */
void writing_arm(struct control *c, uint64_t id);
void writing_interrupt(struct control *c, uint64_t id);

/* ---- control_cache.c; by the chores ---- */

/* What was written to the cache: all of its lines, or none where one is malformed or names what is
 * not there. WRITING_AGAIN: the chore is done once more, when content has come that it needs. */
enum { WRITING_AGAIN = 1 };
int cache_written(struct writing *w);

#endif
