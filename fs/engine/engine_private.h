/* SPDX-License-Identifier: MIT */
/* engine_private.h: the inside of the engine, for this folder alone. */
#ifndef FS_ENGINE_PRIVATE_H
#define FS_ENGINE_PRIVATE_H

#include <pthread.h>

#include "engine/engine.h"
#include "torrent/names.h"

enum job_type { JOB_ADD, JOB_MERGE, JOB_HURRY, JOB_FOUND };

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
};

struct engine {
        struct torrent_env env; /* first: torrents point to it, see engine_of */

        /* set once */
        struct engine_options options;
        struct engine_hooks hooks;
        struct registry *registry;
        struct cache *cache;
        struct bt_session *session;
        uint64_t started_ms;
        int epoll_fd, wake_fd, timer_fd;
        pthread_t thread;
        bool running, abandoned;
        struct life_rules life_rules;
        struct fetch_rules fetch_rules;
        bool sidecar_wanted;

        atomic_bool stop;
        _Atomic enum engine_helper helper;
        _Atomic enum engine_sidecar sidecar;
        _Atomic pid_t helper_pid;
        _Atomic uint64_t heartbeat, heartbeat_ms;
        struct chore sample;
        atomic_bool sampling; /* it is queued */

        /* the thread only */
        uint64_t next_life_ms;
        struct second_try second_try; /* of uTP, for all torrents */
        bool sidecar_told;            /* whether its first start went well, or not */
        struct torrent *busy;         /* references: those that need looking after (utlist) */
        struct turns turns;
        unsigned seats_missing; /* so many of those without success may give theirs up */

        /* under lock; a leaf: nothing is taken under it */
        pthread_mutex_t lock;
        struct job *jobs, **jobs_end;
        struct passed *passed;
        size_t n_passed, room_passed;
        struct torrent *stirred, *removed; /* references */
        struct departed *departed;         /* (utlist), see removal.c */
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

/* ---- engine_jobs.c; the engine's thread only but for engine_stir ---- */

/* What torrent_stir does. Any thread. */
void engine_stir(struct torrent *t);
/* Leaves a job to the engine's thread; it is taken over, with its reference to the torrent. Any
 * thread. */
void engine_push_job(struct engine *e, struct job *j);
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
/* After the thread has ended: forgets all of it. */
void engine_drop_jobs(struct engine *e);
void engine_drop_line(struct engine *e);
/* Removes a torrent with its data, in all but the kernel's memory of its name, which is copied to
 * name. unless_kept: only a temporary one. false: somebody else did, or it is kept. Any thread. */
bool engine_drop(struct engine *e, struct torrent *t, bool unless_kept,
                 char name[NAME_BYTES_MAX + 1]);

/* ---- engine_session.c ---- */

/* What the session calls; see bt.h for the threads. user is a torrent. */
extern const struct bt_callbacks engine_callbacks;
/* Goes on with metadata that the chores have looked at. The engine's thread only. */
void engine_found(struct engine *e, struct found_job *f);
void engine_found_drop(struct found_job *f); /* all but the memory of f itself */
/* What the session saved: the DHT's nodes. Without it the DHT takes longer to start, no more. *len
 * bytes, for free(), or NULL. Before the engine's thread is there; reads a file. */
void *engine_load_state(struct engine *e, size_t *len);
/* Saves that; a failure is not told. After the engine's thread has ended; writes a file. */
void engine_save_state(struct engine *e);

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
