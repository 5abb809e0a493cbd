/* SPDX-License-Identifier: MIT */
/* torrent.h: one torrent's content, its open files and the reads that wait for pieces. Knows no
 * FUSE: requests are opaque and are answered through reply_ops.
 *
 * Threads: all functions may be called from any thread and none waits for pieces. Answers to parked
 * reads are given without a lock held, by the thread that made them possible. */
#ifndef FS_TORRENT_H
#define FS_TORRENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <uthash.h>

#include "bt.h"
#include "common/chores.h"
#include "store/store.h"
#include "torrent/announce.h"
#include "torrent/dial.h"
#include "torrent/fetch.h"
#include "torrent/fill.h"
#include "torrent/fill_pause.h"
#include "torrent/filler.h"
#include "torrent/life.h"
#include "torrent/listing.h"
#include "torrent/pins.h"
#include "torrent/reader.h"
#include "torrent/turns.h"
#include "torrent/wants.h"
#include "torrent/writes.h"

/* How parked requests are answered; each request and each poll handle is given to exactly one of
 * these. */
struct reply_ops {
        void (*data)(void *request, const void *data, size_t len);
        void (*error)(void *request, int err); /* err > 0: an errno; 0: done (FLUSH) */
        void (*written)(void *request, size_t len);
        void (*poll_wake)(void *poll_handle);
        void (*poll_drop)(void *poll_handle);
};

/* What a read gives besides -errno: what there is at once, or an answer later. */
enum { READ_NOW = 0, READ_PARKED = 1 };

struct torrent;

/* For store_touch. */
uint32_t touch_time(void);

/* What all torrents share. */
struct torrent_env {
        /* set once */
        struct reply_ops reply;
        uint64_t read_timeout_ms; /* 0: never */
        enum fill fill;
        struct chores *disk;   /* deletes stores, asks how full the disk is; NULL: at once */
        struct chores *chores; /* parses and makes trees, which deleting must not hold up */
        bool looks_apart; /* a thread of its own looks in /proc for who waits; else parked_tick */
        struct chores
                *looks; /* that one, once it was needed; of the thread that calls parked_tick */
        void (*stir)(struct torrent *t); /* see torrent_stir; NULL: nobody looks */
        /* Something is wanted of a torrent that is asleep: it is to be with the session again.
         * Under t->lock. NULL: none sleeps. */
        void (*wake)(struct torrent *t);
        /* A piece is wanted that is claimed, and was not hashed yet: torrent_next_claim names those
         * that are to be. Under t->lock. NULL: there are none. */
        void (*check)(struct torrent *t);
        /* A piece that is wanted has no room: some is to be made; blocked: a read waits for it.
         * Under t->lock, any thread; must not block. NULL: nothing ever goes, and who wants a piece
         * that has no room fails. */
        void (*make_room)(struct torrent *t, bool blocked);
        /* A piece is wanted that the session still counts as there: it is to have the torrent anew.
         * Under t->lock. With make_room. */
        void (*renew)(struct torrent *t);

        _Atomic uint64_t cache_bytes; /* the bound of the cache; 0: there is none */
        _Atomic uint64_t reach_bytes; /* how much it can have now, by the disk, too; 0: unknown */
        _Atomic uint64_t spare_bytes; /* room that is left to those who read, or more: wishes.c */
        _Atomic uint64_t piece_bytes; /* the longest piece of any torrent, as far as is known */
        /* So much was vacant (cache_vacant) when pieces last went to make room, and was not for
         * what fillers had asked for: that is for those who read. UINT64_MAX: they are going. */
        _Atomic uint64_t kept_bytes;
        atomic_bool fill_lacks; /* a filler lacked room since this was last looked at */
        /* Pieces that fillers ask for and that have their room, until their passing was dealt with;
         * and those for which some is being asked. */
        _Atomic uint64_t filling_bytes, asking_bytes;
        struct fill_pause fill_pause; /* of all fillers, after a write that failed … */
        /* Pieces that reads wait for have no room: those that are wanted ahead get none. */
        atomic_bool short_of_room;
        atomic_bool stopping; /* reads end in ENODEV */
        /* A poll's watch is one of the parked reads. */
        atomic_uint open_files, parked_reads, playing;
        _Atomic uint64_t timed_out_reads; /* since the start */
};

/* What was begun of pieces and is not wanted any more goes: not; only while no file is open
 * (env->open_files), as who reads may want it again; or in any case, as others lack the room. */
enum drop { DROP_NOTHING, DROP_WHILE_CLOSED, DROP_NOW };

enum torrent_state {
        TORRENT_PENDING, /* its metadata is not known yet */
        TORRENT_AWAKE,   /* it is known, and the torrent with the session or on its way there */
        TORRENT_ASLEEP,  /* it is known, and the torrent not with the session */
        TORRENT_GONE,
};

/* What a torrent has once its metadata is known, but for one that is asleep and not looked into: a
 * reference to each. */
struct content {
        struct listing *listing;
        struct store *store;
        struct bt_source *source; /* with the metadata; NULL: the torrent has it already */
};

/* What is known of it all the same. */
struct summary {
        bool known;          /* the metadata is: the rest counts */
        uint64_t length;     /* of the files */
        uint64_t have_bytes; /* of those, when its content was last held */
        uint32_t piece_length, pieces;
        uint32_t files;       /* in the metadata, padding included */
        uint32_t directories; /* in the torrent's own */
};

struct parked;
struct handle;

/* A piece that a read has just left unanswered, and that goes on being wanted as if the read still
 * waited: a program whose call was interrupted calls again at once. */
struct lingering {
        uint32_t piece;
        bool refused; /* the read did not wait at all, see linger_refused: also when it is closed */
        uint64_t until_ms;
};
enum { LINGER_MAX = 16 };

/* What the parked reads of a torrent share; parked.c's and pages.c's. Under its lock. */
struct waiting {
        struct parked *list;  /* by id (utlist) */
        struct parked *by_id; /* (uthash) */
        unsigned count;
        uint64_t next_id;
        uint64_t starved_ms; /* since when a read waits without a block of its piece; 0: none */
        uint64_t stalled_ms; /* when a read last timed out; 0: not since a block came */
        struct late {
                unsigned reads;       /* that timed out since the log has told of any */
                uint32_t node, piece; /* the last of them: in which file, for what … */
                uint64_t waited_ms;   /* … it waited for so long */
        } late;
        uint64_t checked_alive_ms; /* when the threads of parked reads were last looked for */
        uint64_t looked_at_all_ms; /* when all processes were last looked at for that */
        uint64_t crowded_ms;       /* when somebody was last seen to hang behind a parked read */
        uint64_t taken_ms;         /* since when the next is taken */
        uint32_t taken; /* 1 + a piece that is fetched because a peer offers it; 0: none */
        struct lingering lingering[LINGER_MAX];
        unsigned n_lingering;
        bool lacks_room; /* a piece that is wanted has none, and waits for it */

        /* what the chore is to look for in /proc; with it a reference to the torrent */
        struct chore look;
        bool looks, look_threads, look_alive, look_pages;
};

struct torrent {
        /* set once at creation */
        struct torrent_env *env;
        uint32_t number;      /* part of every inode number; never reused */
        char hex[BT_HEX_MAX]; /* the info-hash it was added by */
        time_t added_at;
        time_t used_at; /* when it was last used in an earlier run */
        atomic_uint refs;

        /* under registry.lock */
        char *name;                /* its directory */
        char alias[2][BT_HEX_MAX]; /* its hashes: v1, v2 */

        /* atomic: written by the engine's thread, read by any without a lock */
        atomic_bool announcing; /* the helper is about to mkdir its name */
        atomic_bool removing;   /* as it is idle, the helper is about to rmdir its name */

        /* atomic: written under registry.lock, read by any thread without a lock */
        _Atomic uint64_t renamed_ms; /* when it got that name in place of another; 0: never */
        atomic_bool kept;            /* see registry_set_kept */

        /* atomic: any thread, without a lock */
        atomic_uint handles;    /* open files */
        atomic_bool opened;     /* a file was: from then on the directory keeps its name */
        atomic_bool stopped;    /* the session has stopped downloading: it could not write */
        atomic_int write_error; /* why a wanted piece could not be written: an errno > 0 */
        _Atomic uint64_t
                last_used_ms;        /* when the last open file was closed; 0: in an earlier run */
        _Atomic uint64_t woken_ms;   /* when it last woke, for whatever reason; 0: it has not */
        _Atomic uint32_t offered;    /* 1 + the piece that a peer offers; 0: none does */
        _Atomic uint64_t refused_ms; /* since when no block found room on the disk */
        _Atomic uint64_t last_block_ms; /* when the swarm last gave a block */

        struct chore discarding;       /* once it is gone */
        struct store *discarded_store; /* the reference of that chore */

        /* under content_lock, which is a leaf; written under lock besides, so that either is enough
         * to read it. No listing and no store while the metadata is not known, or the torrent is
         * asleep and nobody looks into it; then there may be no source either. */
        pthread_mutex_t content_lock;
        struct content content;
        struct summary summary;

        /* under the engine's lock */
        struct torrent *next_stirred; /* references */
        struct torrent *next_removed;
        struct bt_torrent *removed_bt;
        atomic_bool stirred; /* it is on that list */
        struct torrent *next_dirty;
        unsigned dirty; /* what of it the catalog does not know yet: on that list unless 0 */
        bool saving;    /* it is being told of something that was on that list */
        bool retiring;  /* it went, and may come back, which the catalog does not know yet */
        bool no_return; /* … it may not any more */
        struct torrent *retiring_prev, *retiring_next;

        atomic_bool joining;   /* it is added, and that is not written down for good yet */
        atomic_bool forgotten; /* written by who may write to the catalog: it is not to be there */
        atomic_int load_error; /* why its content could not be brought: an errno > 0 */
        atomic_bool checking;  /* claimed pieces are being hashed */

        /* the engine's thread only: how it lives. The rules of each are pure, see their headers. */
        struct life life;
        struct fetch fetch;         /* of its metadata */
        struct turn turn;           /* in the line for that; a reference while it has a place */
        struct redial redial;       /* of its peers, while nothing of the metadata comes */
        struct needy needy;         /* somebody waits for it while it has no peer */
        struct announce announce;   /* to those who watch the root by inotify */
        struct writes writes;       /* that failed */
        struct fill_told fill_told; /* of what is fetched though nobody reads it */

        /* the engine's thread only: its work on it */
        struct torrent *busy_prev, *busy_next; /* of those that are looked after */
        bool is_busy;
        struct bt_source **more; /* that it was added by besides, while its metadata is missing */
        unsigned n_more;
        uint64_t renewed_ms; /* when the session last got it anew */
        uint64_t renew_ms;   /* since when what the session knows is waited for, for that; 0: not */
        bool renew_due;      /* that is to be asked for */
        uint32_t renew_apart_ms;           /* … after which it does not so soon again */
        bool away;                         /* it is not with the session, and will be */
        uint64_t enter_ms;                 /* … then; 0: once what was begun has gone */
        atomic_uint with_session;          /* what the session has of it, until the last callback */
        _Atomic enum drop drop_unfinished; /* then what was begun and is not wanted any more goes */
        atomic_bool drop_released;         /* … once nothing of it is left with the session */
        atomic_bool drop_queued;           /* … as is so: once the evictor comes to it */
        struct torrent *loaded_prev, *loaded_next; /* of those asleep that have content */
        uint64_t loaded_ms;                        /* on that list since then; 0: not on it */
        uint64_t falling_ms;                       /* since when that is so: */
        bool falling;          /* it leaves the session once that has said what it knows */
        bool refused;          /* the session still has one of this hash that was removed */
        atomic_bool filled;    /* all that its magnet asks for has come, in this run */
        unsigned told_files;   /* n_changes of what is to be filled, as the catalog knows it */
        uint64_t told_bytes;   /* the progress that was last told as an event */
        uint64_t late_told_ms; /* when the log last told of reads that timed out; 0: never */

        /* under lock; taken after registry.lock, before store.lock */
        pthread_mutex_t lock;
        enum torrent_state state;
        struct bt_torrent *bt; /* NULL until the session has it */
        bool waking;           /* that was asked for */
        bool renewing;         /* env->renew was asked for */
        unsigned evicting;     /* so many take pieces of its store off the disk: it stays */
        uint64_t *stale; /* pieces that went, and that the session counts as there; NULL: none */
        struct torrent *successor; /* a reference: what it turned out to be, see torrent_become */
        int failed;                /* -errno for those who wait for the metadata; 0: none yet */
        char problem[240];         /* the last complaint, for the status */
        struct bt_stats stats;
        struct wants wants;
        struct filler *fillers;        /* what is fetched though nobody reads it (utlist) */
        uint32_t *to_fill;             /* nodes of files that are to be, until they have come */
        unsigned n_to_fill, n_changes; /* n_changes: how often those have become others */
        unsigned n_filling;            /* pieces that fillers ask for */
        bool refills;                  /* some of that went again, to make room */
        struct fill_pause fill_pause;  /* … and of its own, where others' need not fail */
        int fill_error;                /* why some could not be written: an errno > 0 */
        struct pins pins;              /* what is never evicted to make room; see pins.h */
        struct handle *open;           /* its open files (utlist) */
        struct returning *returning;   /* readers of files closed a moment ago (utlist) */
        unsigned n_returning;
        unsigned playing;       /* how many of the open files play */
        unsigned playing_short; /* so many open files with SHORTAGE_PLAYS */
        unsigned young_short;   /* … with SHORTAGE_YOUNG */
        uint64_t play_rate;     /* bytes per second that those take together */
        struct waiting waiting; /* what its parked reads share */
};

/* Takes source over. -ENOMEM. */
int torrent_new(struct torrent_env *env, uint32_t number, struct bt_source *source, bool kept,
                struct torrent **ret);

/* A torrent of an earlier run. */
struct torrent_past {
        uint32_t number;
        const char *hex, *alias[2];
        bool kept;
        time_t added_at, used_at;
        struct bt_source *source; /* taken over, also on failure; NULL only with a summary */
        struct summary summary;   /* where it is known the torrent is asleep, else pending */
};
/* -ENOMEM. */
int torrent_new_past(struct torrent_env *env, const struct torrent_past *past,
                     struct torrent **ret);
struct torrent *torrent_ref(struct torrent *t);
void torrent_unref(struct torrent *t);

/* Makes what torrent_set_content is to be given, of the torrent's metadata: its listing, a store,
 * empty but for what an earlier run may have left, and a source with the metadata where it has none
 * yet. Takes long for a torrent of many files, and blocks on the disk. Nothing of the torrent
 * changes. -errno: *ret is untouched. */
int torrent_make_content(struct torrent *t, struct cache *cache, struct bt_meta *meta,
                         struct content *ret);
/* The torrent has this content from here on: its files are there, and who waits for the metadata
 * goes on. One that was pending is awake. Takes the references over. Any thread; nothing blocks.
 * -ESTALE: it has one already or is gone; the references stay the caller's, for content_discard or
 * content_leave. */
int torrent_set_content(struct torrent *t, const struct content *content);
/* There is a torrent with pieces of that length: env->piece_bytes. Any thread. */
void torrent_count_piece(struct torrent_env *env, uint32_t piece_length);
/* Gives the references back. */
void content_unref(struct content *content);
/* Drops a content that no torrent has taken, with the store's file. Blocking. */
void content_discard(struct content *content);
/* Drops the content that torrent_drop_content gave, and leaves the store's file where it is, for
 * listing_store to open it again. Blocking. */
void content_leave(struct content *content);
/* A torrent that is asleep has neither listing nor store nor source until torrent_set_content gives
 * them back. *ret takes its references, for content_leave. Who holds others goes on with them until
 * then. Any thread; nothing blocks. -EBUSY: a file of it is open, or it is not asleep; -ENOENT: it
 * has none, or is gone. */
int torrent_drop_content(struct torrent *t, struct content *ret);
/* What is known of one that is asleep and has no content cannot be read any more: it is pending,
 * with source, which is taken over, also on failure. false: it is not so. */
bool torrent_lose_metadata(struct torrent *t, struct bt_source *source);
/* A reference to its listing, to its store, or to what it was added by; NULL: it has none. Any
 * thread; nothing blocks. */
struct listing *torrent_listing(struct torrent *t);
struct store *torrent_store(struct torrent *t);
struct bt_source *torrent_source(struct torrent *t);
/* Takes source, of the same torrent, in place of what it was added by. */
void torrent_set_source(struct torrent *t, struct bt_source *source);
/* Whether its metadata is known; it may have no content all the same. */
bool torrent_has_metadata(struct torrent *t);
void torrent_get_summary(struct torrent *t, struct summary *ret);
/* Bytes that users see in pieces that are there; 0 without a store. */
uint64_t torrent_have_bytes(struct torrent *t);
/* The session has the torrent: tells it all that is wanted. */
void torrent_attach(struct torrent *t, struct bt_torrent *bt);
/* The session shall have it no longer: gives back what torrent_attach was given, for
 * bt_torrent_remove, or NULL. One whose metadata is known is asleep; it wakes again for what is
 * read, and keeps what else is wanted of it (torrent_rest). */
struct bt_torrent *torrent_detach(struct torrent *t);
/* It sleeps from here on, where that was no moment's: what is fetched though nobody reads it is
 * wanted when it is awake again, and has no room until then. */
void torrent_rest(struct torrent *t);
/* What env->wake asked for was tried. */
void torrent_woken(struct torrent *t);
/* The torrent is gone: answers its reads with err, has its data dropped (by the chores, where there
 * are any), and gives back the session's handle for bt_torrent_remove. */
struct bt_torrent *torrent_end(struct torrent *t, int err);
/* magnetfs ends: answers its reads with err. Its data stays for the next start, unless it is gone.
 * Nothing may write to its store meanwhile. Blocking. */
void torrent_leave(struct torrent *t, int err);
/* The torrent, which is about to end, and other are one, known by two hashes. Who holds it goes on
 * with other. NULL: it does not end after all. */
void torrent_become(struct torrent *t, struct torrent *other);
/* A reference to that other; NULL: none. */
struct torrent *torrent_successor(struct torrent *t);
void torrent_fail(struct torrent *t, int err, const char *why);
void torrent_problem(struct torrent *t, const char *text);
void torrent_set_stats(struct torrent *t, const struct bt_stats *stats);
/* 0: the metadata is there; -EAGAIN: it is being fetched; else why it will not come. */
int torrent_ready(struct torrent *t);

/* A block of the piece was written. */
void torrent_block_written(struct torrent *t, uint32_t piece);
/* A block of the piece could not be written, for the reason err (> 0): the session stops
 * downloading the torrent, until the engine tells it to go on. For the disk threads. */
void torrent_write_failed(struct torrent *t, uint32_t piece, int err);
/* What was written of the piece is worth nothing (a write failed, the hash was wrong): takes it out
 * of the store. Blocking, for the disk threads. */
void torrent_piece_cleared(struct torrent *t, uint32_t piece);
/* Whether something of it is fetched though nobody reads it, and has not all come; and whether that
 * would be so if it had its content. See filling.h. */
bool torrent_is_filling(struct torrent *t);
bool torrent_is_to_fill(struct torrent *t);
/* Whether some of that waits for room that other torrents have, or for what all of them wait for.
 */
bool torrent_fill_waits(struct torrent *t);
/* The files of that, by their nodes, as text for torrent_fill_files; to be freed. NULL: no memory.
 */
char *torrent_files_to_fill(struct torrent *t);
void torrent_fill_files(struct torrent *t, const char *text);
/* The next piece that is claimed and is to be hashed, those first that somebody wants, which
 * *waited says. UINT32_MAX: there is none, or nobody has a use for it now. */
uint32_t torrent_next_claim(struct torrent *t, bool *waited);
/* It was hashed, and is not what it should be: who wants it gets it from the swarm. */
void torrent_claim_failed(struct torrent *t, uint32_t piece);
struct torrent_status {
        enum torrent_state state;
        int failed;
        char problem[240];
        struct bt_stats stats;
        unsigned readers, parked_reads;
        uint64_t starved_ms;         /* as in struct waiting */
        uint64_t length, have_bytes; /* of the files; 0, 0 while the metadata is not known */
        enum pinned pinned;
};
/* As it is written for users: "pending", "awake", "asleep", "gone". */
const char *torrent_state_name(enum torrent_state state);

/* Where one open file is being read. */
struct torrent_reader {
        uint32_t node;         /* of the listing's tree */
        uint64_t position;     /* what it waits for, or where it would read on: in the file */
        uint64_t window_bytes; /* how far ahead of that is wanted */
        uint64_t rate;         /* bytes per second that it takes; 0: not known */
        bool playing;          /* it reads on, in a row */
        unsigned parked;       /* of its reads that wait, polls too */
};
/* Tells of at most max open files; returns how many it told of. */
size_t torrent_readers(struct torrent *t, struct torrent_reader *ret, size_t max);
void torrent_get_status(struct torrent *t, struct torrent_status *ret);

/* Something of the torrent has to be looked after from here on: it is read, was written to in vain,
 * is to go. The engine's thread then looks at it now and then until there is nothing left. Any
 * thread. */
static inline void torrent_stir(struct torrent *t)
{
        if (t->env->stir)
                t->env->stir(t);
}

#endif
