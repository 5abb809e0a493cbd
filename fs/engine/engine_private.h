/* SPDX-License-Identifier: MIT */
/* engine_private.h: the inside of the engine, for this folder alone. */
#ifndef FS_ENGINE_PRIVATE_H
#define FS_ENGINE_PRIVATE_H

#include <pthread.h>

#include "engine/catalog.h"
#include "engine/engine.h"
#include "torrent/names.h"

enum job_type {
        JOB_ADD,
        JOB_MERGE,
        JOB_HURRY,
        JOB_FOUND,
        JOB_WAKE,
        JOB_LOADED,
        JOB_OFFERED,
        JOB_FETCH,
        JOB_RENEW,
        JOB_DROP,
        JOB_ENTER
};

/* What the catalog does not know of a torrent yet. */
enum { DIRTY_ROW = 1, DIRTY_SOURCE = 2, DIRTY_HAVE = 4, DIRTY_RETIRED = 8, DIRTY_GONE = 16 };
/* How often it is told. */
enum { SAVE_MS = 2000 };
/* So long a torrent that went as nobody used it is remembered. */
enum { RETIRED_S = 24 * 3600 };
/* The fact of the catalog that says which number is the next, and when the root last changed. */
#define LIBRARY_NUMBERS "numbers"

struct job {
        enum job_type type;
        struct torrent *torrent;  /* a reference */
        struct bt_source *source; /* of JOB_MERGE */
        struct job *next;
};

/* Metadata that came: the chores make of it what the torrent needs, then the engine's thread goes
 * on. */
struct found_job {
        struct job job; /* first: of the type JOB_FOUND */
        struct chore chore;
        struct bt_found *found; /* NULL once it was looked at */
        struct bt_meta *meta;   /* NULL: refused, err says why */
        struct bt_error err;
        int result; /* of torrent_make_content, which gave content */
        struct content content;
};

struct passed {
        struct torrent *torrent; /* a reference */
        uint32_t piece;
        uint64_t bytes; /* that are off passing_bytes with it */
};

struct engine {
        struct torrent_env env; /* first: torrents point to it, see engine_of */

        /* set once */
        struct engine_options options;
        struct engine_hooks hooks;
        struct registry *registry;
        struct cache *cache;
        struct catalog *catalog;
        struct bt_session *session;
        uint64_t started_ms;
        int epoll_fd, wake_fd, timer_fd;
        pthread_t thread;
        bool running, abandoned;
        bool rescued; /* the catalog was damaged: it may have lost torrents … */
        bool strays;  /* … whose files are still there; from then on the evictor's thread's */
        struct life_rules life_rules;
        struct fetch_rules fetch_rules;
        bool sidecar_wanted;

        atomic_bool stop;
        _Atomic enum engine_helper helper;
        _Atomic enum engine_sidecar sidecar;
        _Atomic pid_t helper_pid;
        _Atomic uint64_t heartbeat, heartbeat_ms;
        struct chore sample;
        atomic_bool sampling;      /* it is queued */
        atomic_uint claims_waited; /* torrents that have a claimed piece that somebody waits for */
        struct chore save;
        atomic_bool save_queued;

        /* see evict.c */
        struct chore evict;
        atomic_bool evicting;           /* it is queued, or runs */
        atomic_bool room_asked;         /* room is to be made */
        atomic_bool room_short;         /* … as a piece took what is kept for readers */
        atomic_bool room_made;          /* that was tried: who waits is to look */
        atomic_bool evict_vain;         /* … and nothing went */
        atomic_bool room_hopeless;      /* and nothing can be done for them */
        bool hopeless_told;             /* of the evictor's thread: the log knows */
        bool room_hope;                 /* likewise: what the last try has found */
        uint64_t refused_ms;            /* likewise: when the disk let nothing go; 0: it did */
        _Atomic uint64_t passing_bytes; /* what has come to the disk, and is not dealt with yet */
        _Atomic uint64_t low_bytes; /* where less room is left some goes, before anybody waits */
        _Atomic uint64_t room_awaited, evicted_pieces, evicted_bytes, starved_since_ms;

        /* of who writes to the catalog, one at a time */
        bool save_failed;
        time_t expired_at;      /* when what was remembered long enough was last forgotten */
        struct torrent **batch; /* references: what was added since engine_begin */
        size_t n_batch, room_batch;

        /* the thread only */
        uint64_t next_life_ms, next_save_ms, next_fill_ms;
        struct second_try second_try; /* of uTP, for all torrents */
        bool sidecar_told;            /* whether its first start went well, or not */
        struct torrent *busy;         /* references: those that need looking after (utlist) */
        struct turns turns;
        unsigned seats_missing; /* so many of those without success may give theirs up */
        struct torrent
                *loaded; /* references: those asleep that have content, oldest first (utlist) */
        unsigned n_loaded;
        uint32_t filled_number; /* of the last torrent that was woken to be completed */
        unsigned n_awake;       /* with metadata, as last counted */
        struct chores *evictor; /* NULL until there was something to evict */
        uint64_t next_evict_ms; /* no sooner where somebody waits for room */
        uint64_t next_spare_ms; /* nor where nobody does */
        uint64_t next_drop_ms;  /* nor for what nobody reads */
        uint64_t drop_apart_ms; /* until it is tried again; 0: not yet */
        uint64_t opened_ms;     /* when a file was last open */
        bool longest_gone;      /* with a torrent env->piece_bytes, perhaps */
        atomic_bool drop_due;   /* what readers have left unfinished is to go */

        /* under lock; a leaf: nothing is taken under it */
        pthread_mutex_t lock;
        struct job *jobs, **jobs_end;
        struct passed *passed;
        size_t n_passed, room_passed;
        struct torrent *stirred, *removed, *dirty; /* references */
        struct torrent *retiring;                  /* references (utlist) */
        struct departed *departed;                 /* (utlist), see removal.c */
        struct chores
                *library; /* brings the content of torrents that are asleep: see library_push */
        bool own_library; /* that is a thread of its own */
};

static inline struct engine *engine_of(struct torrent *t)
{
        return (struct engine *)t->env;
}

/* The engine's thread has something to look at. Any thread. */
void engine_wake(struct engine *e);
/* Tells those who read events, and the command of --on-event, what happened to a torrent (of that
 * name). Any thread. */
void engine_event(struct engine *e, struct torrent *t, const char *name, const char *what);
void engine_event_of(struct engine *e, struct torrent *t, const char *what);

/* The torrent needs looking after: upkeep_torrent sees it until it says that it does not. The
 * engine's thread only. */
void engine_look_after(struct engine *e, struct torrent *t);

/* ---- engine_add.c; any thread ---- */

/* What torrent_stir does. */
void engine_stir(struct torrent *t);
/* Removes a torrent with its data, in all but the kernel's memory of its name, which is copied to
 * name. unless_kept: only a temporary one. false: somebody else did, or it is kept. */
bool engine_drop(struct engine *e, struct torrent *t, bool unless_kept,
                 char name[NAME_BYTES_MAX + 1]);
/* It shall be awake. false: no memory. */
bool engine_wake_up(struct engine *e, struct torrent *t);
/* It has content again. */
void engine_loaded(struct engine *e, struct torrent *t);

/* ---- engine_jobs.c; the engine's thread only but for engine_push ---- */

/* Leaves a job to the engine's thread; it is taken over, with its reference to the torrent. Any
 * thread. */
void engine_push_job(struct engine *e, struct job *j);
/* Makes a job and leaves it; source is taken over. Any thread. -ENOMEM. */
int engine_push(struct engine *e, enum job_type type, struct torrent *t, struct bt_source *source);
/* Does what is to be done for a few milliseconds; whether there is more. */
bool engine_run_jobs(struct engine *e);
/* Adds a torrent that has its turn to the session; if that fails, it fails. Whether the session has
 * it.
 */
bool engine_try_session(struct engine *e, struct torrent *t);
/* It needs no turn any more. */
void engine_leave_line(struct engine *e, struct torrent *t);
/* A torrent without metadata leaves the session, for others that wait. rest_ms: when it joins the
 * line again; UINT64_MAX: never. */
void engine_give_up_seat(struct engine *e, struct torrent *t, uint64_t rest_ms);
/* The session shall have the torrent no longer. */
void engine_leave_session(struct torrent *t);
/* Adds to the session one that has a seat, or needs none. Whether it is there. */
bool engine_enter_session(struct engine *e, struct torrent *t);
/* One without metadata joins the line. Before the thread is there, too. */
void engine_begin_fetch(struct engine *e, struct torrent *t);
/* What the session has of the torrent, or NULL. Valid until this thread removes it. */
struct bt_torrent *engine_bt_of(struct torrent *t);
/* After the thread has ended: forgets all of it. */
void engine_drop_jobs(struct engine *e);
void engine_drop_line(struct engine *e);

/* ---- engine_session.c ---- */

/* What the session calls; see bt.h for the threads. user is a torrent. */
extern const struct bt_callbacks engine_callbacks;
/* Goes on with metadata that the chores have looked at. The engine's thread only. */
void engine_found(struct engine *e, struct found_job *f);
void engine_found_drop(struct found_job *f); /* all but the memory of f itself */
/* A piece of the torrent is there: who waits for it is answered. Any thread. */
void engine_piece_passed(struct engine *e, struct torrent *t, uint32_t piece);

/* ---- library_start.c ---- */

/* Opens the catalog, and puts the torrents that are kept into the registry. Those that were
 * temporary are retired. Before the cache is opened, and any thread is there. -errno, with a
 * message logged. Blocking. */
int library_open(struct engine *e);
/* For cache_new; arg is the engine. */
bool library_is_known(void *arg, const char *hex);

/* ---- library_load.c ---- */

/* What the torrent of that number and info-hash was added by, from the catalog; the caller's.
 * -ENOENT, -ENOMEM, -EIO, -EINVAL; -EUCLEAN: it is another torrent's, or damaged. Blocking. */
int library_source(struct engine *e, uint32_t number, const char *hex, struct bt_source **ret);
/* Leaves c to the thread that brings the content of torrents and takes it away, in order. It is
 * started when it is first needed. Any thread. false: magnetfs is ending. */
bool library_push(struct engine *e, struct chore *c);

/* ---- library.c; all blocking but for engine_mark, library_is_saved and library_tick ---- */

/* clean: all that is remembered is true of the disk. */
void library_close(struct engine *e, bool clean);
/* Between engine_begin and engine_commit, which tells whether it could be written: the torrent is
 * new, and is to be remembered; -ENOMEM. Or it is kept or pinned from here on, or not; -ENOMEM:
 * that is not written. */
int library_add(struct engine *e, struct torrent *t);
int library_put(struct engine *e, struct torrent *t);
/* Between catalog_begin and catalog_commit: what has gone from its store is not claimed any more.
 * What has come since the last claim is not claimed either: it may not be on the disk yet. */
void library_forget_gone(struct engine *e, struct torrent *t, struct store *store);
/* Forgets the torrent: that is on the disk at the return. -errno: it is remembered. Blocking. */
int library_remove(struct engine *e, struct torrent *t);
/* Something of the torrent is to be told to the catalog (DIRTY_…). Any thread. */
void engine_mark(struct engine *e, struct torrent *t, unsigned dirty);
/* Nothing is. Any thread. */
bool library_is_saved(struct engine *e, struct torrent *t);
/* Tells the catalog of all that is marked. -errno, logged once. Blocking; no two at a time. */
int library_save(struct engine *e);
/* Now and then: has that done. The engine's thread only. */
void library_tick(struct engine *e, uint64_t now_ms);
/* What the session saved: the DHT's nodes. Without it the DHT takes longer to start, no more. *len
 * bytes, for free(), or NULL. Blocking. */
void *library_load_state(struct engine *e, size_t *len);
/* Saves that; a failure is not told. After the engine's thread has ended. Blocking. */
void library_save_state(struct engine *e);

/* ---- retiring.c; any thread ---- */

/* The torrent is about to go, and may come back: it can be recalled from here on, before the
 * catalog has it so. */
void library_retire(struct engine *e, struct torrent *t);
/* It stays, or does not come back, or the catalog has it so. */
void library_retire_not(struct engine *e, struct torrent *t);
/* A torrent is removed for good: others of its hashes that went before do not come back either. By
 * who may write to the catalog, as what is told of those. */
void library_forbid_return(struct engine *e, struct torrent *t);
bool library_may_not_return(struct engine *e, struct torrent *t);
/* What a torrent of that hash was added by that was here within a day; NULL: none was. The
 * caller's. Blocking. */
struct bt_source *library_recall(struct engine *e, const struct bt_hash *hash);

/* ---- claims.c ---- */

/* env->check. */
void engine_check(struct torrent *t);
/* Whether the torrent's store has the right bytes of a piece: 1 or 0; 0 also where nobody can know
 * yet. -errno: that can't be said now. Any thread; blocking on the disk. */
int engine_is_right(struct torrent *t, struct store *store, uint32_t piece);

/* ---- evict.c ---- */

/* Room is to be made. Any thread; nothing is waited for, and no lock taken. */
void evict_ask(struct engine *e);
/* env->make_room. */
void evict_make_room(struct torrent *t, bool blocked);
/* The catalog and the cache are open. Blocking. */
void evict_begin(struct engine *e);
/* Looks how full the disk is, and what the catalog takes of the bound. Blocking. */
void evict_sample(struct engine *e);
/* Each time that the engine's thread was woken, and every READS_TICK_MS: starts what was asked for,
 * and has those who wait take what was made. The engine's thread only. */
void evict_look(struct engine *e, uint64_t now_ms);
void evict_tick(struct engine *e);

/* ---- renew.c; the engine's thread only, but for engine_renew ---- */

/* env->renew. */
void engine_renew(struct torrent *t);
/* The session is to get the torrent anew, once it has said what it knows. */
void renew_begin(struct engine *e, struct torrent *t);
/* That was said. */
void renew_go_on(struct torrent *t);
/* Nothing of what the session had of it is left. Any thread. */
void renew_released(struct torrent *t);
/* What was begun has gone: it is to have the torrent in a moment. */
void renew_enter(struct torrent *t);
/* Nobody writes to its store any more: what was begun goes, then the session has it again. */
void renew_drop(struct engine *e, struct torrent *t);
/* Once more, if that takes too long, or when it is time again. */
void renew_tick(struct engine *e, struct torrent *t, uint64_t now_ms);

/* ---- sleep.c; the engine's thread only ---- */

/* After the session has started, before the thread is there: those go there that are to. */
void sleep_start(struct engine *e);
/* The torrent leaves the session once that has said what it knows. */
void sleep_begin(struct engine *e, struct torrent *t);
/* Once more, if that takes too long. */
void sleep_tick(struct engine *e, struct torrent *t, uint64_t now_ms);
/* That was said. */
void sleep_go_on(struct engine *e, struct torrent *t);
/* Something of it is wanted. */
void sleep_wake(struct engine *e, struct torrent *t);
/* When it was used last, or woke for what is fetched though nobody reads it: it does not sleep at
 * once. Any thread. */
uint64_t sleep_used_ms(const struct torrent *t);
/* It was loaded. */
void sleep_loaded(struct engine *e, struct torrent *t);
/* Whether one more may be awake, which is counted then. */
bool sleep_has_place(struct engine *e);
/* One that was added with its metadata when there was no place. */
void sleep_at_once(struct engine *e, struct torrent *t);
/* Drops the content of those that nobody looks into. */
void sleep_sweep(struct engine *e, uint64_t now_ms);
/* No more torrents are awake than may be; where there is a place, one is that is to be filled. */
void sleep_bound(struct engine *e, uint64_t now_ms);
/* Whether the options say that it stays awake. */
bool sleep_stays(const struct engine *e, struct torrent *t);

/* ---- removal.c; the engine's thread only ---- */

/* Removes the torrent if it is idle, or has the helper do so. */
void removal_check_idle(struct engine *e, struct torrent *t, uint64_t now_ms);
/* Has the helper tell of what was removed. Each time that the thread was woken. */
void removal_run(struct engine *e, uint64_t now_ms);
/* The helper may not answer what it was asked for: the next one is asked again. */
void removal_ask_again(struct engine *e);
/* The helper has answered HELPER_REMOVE; err > 0: an errno. */
void removal_answered(struct engine *e, uint32_t number, int err);
/* After the thread has ended. */
void removal_free(struct engine *e);

/* How a torrent is used, for the rules of its life. Any thread. */
struct life_use engine_use_of(struct torrent *t);

/* ---- engine_helper.c; the engine's thread only ---- */

/* The torrent has a name that those who watch the root by inotify have not heard of. */
void helper_announce(struct engine *e, struct torrent *t, uint64_t now_ms);
/* Its announcement as time goes by. */
void helper_tick(struct engine *e, struct torrent *t, uint64_t now_ms);
/* A helper that is back is greeted again where it could not be told at first. */
void helper_greet_again(struct engine *e);
/* The helper has something to say. */
void helper_says(struct engine *e);

/* ---- upkeep.c; the engine's thread only ---- */

/* The torrent's metadata is there and its tree complete. */
void upkeep_ready(struct engine *e, struct torrent *t, uint64_t now_ms);
/* Its directory has got another name. */
void upkeep_renamed(struct engine *e, struct torrent *t);
/* Its metadata will not come; err is a negative errno for those who wait. */
void upkeep_fail(struct engine *e, struct torrent *t, int err, const char *why, uint64_t now_ms);
/* Asks the session once more for the metadata of a torrent that has its turn. */
void upkeep_try_again(struct engine *e, struct torrent *t, uint64_t now_ms);
/* Every READS_TICK_MS for each torrent: dials its peers again when it is time for that. */
void upkeep_redial(struct torrent *t, uint64_t now_ms);
/* Every LIFE_TICK_MS, first: who has rested joins the line of those who fetch metadata. */
void upkeep_line(struct engine *e, uint64_t now_ms);
/* Then for each torrent that is looked after: metadata, need of peers, progress, idleness,
 * announcement. false: there is nothing more to look after. */
bool upkeep_torrent(struct engine *e, struct torrent *t, uint64_t now_ms);
/* And then once for all of them. */
void upkeep_session(struct engine *e, uint64_t now_ms);
#endif
