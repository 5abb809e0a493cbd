/* SPDX-License-Identifier: MIT */
/* engine_private.h: the inside of the engine, for engine.c, engine_session.c and upkeep.c alone. */
#ifndef FS_ENGINE_PRIVATE_H
#define FS_ENGINE_PRIVATE_H

#include <pthread.h>

#include "engine.h"

/* A peer that was lost, or not reached, is dialled again after this; then after twice as long, and
 * so on. */
enum { REDIAL_MS = 1000, REDIAL_MAX_MS = 16000 };

enum job_type { JOB_ADD, JOB_REMOVE, JOB_MERGE };

struct job {
        enum job_type type;
        struct torrent *torrent;  /* a reference */
        struct bt_torrent *bt;    /* of JOB_REMOVE */
        struct bt_source *source; /* of JOB_MERGE */
        struct job *next;
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
        bool sidecar_wanted;

        atomic_bool stop;
        _Atomic enum engine_helper helper;
        _Atomic enum engine_sidecar sidecar;
        _Atomic pid_t helper_pid;
        _Atomic uint64_t heartbeat, heartbeat_ms;

        /* the thread only */
        uint64_t next_life_ms;
        uint64_t second_try_ms; /* when uTP was last let in; 0: never */
        bool sidecar_told;      /* whether its first start went well, or not */

        /* under lock; a leaf: nothing is taken under it */
        pthread_mutex_t lock;
        struct job *jobs, **jobs_end;
        struct passed *passed;
        size_t n_passed, room_passed;
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

/* ---- engine_session.c ---- */

/* What the session calls; see bt.h for the threads. user is a torrent. */
extern const struct bt_callbacks engine_callbacks;
/* What the session saved: the DHT's nodes. Without it the DHT takes longer to start, no more. *len
 * bytes, for free(), or NULL. Before the engine's thread is there; reads a file. */
void *engine_load_state(struct engine *e, size_t *len);
/* Saves that; a failure is not told. After the engine's thread has ended; writes a file. */
void engine_save_state(struct engine *e);

/* ---- upkeep.c; the engine's thread only ---- */

/* The torrent's metadata is there and its tree complete. */
void upkeep_ready(struct engine *e, struct torrent *t);
/* Its directory has got another name. */
void upkeep_renamed(struct engine *e, struct torrent *t);
/* Its metadata will not come; err is a negative errno for those who wait. */
void upkeep_fail(struct engine *e, struct torrent *t, int err, const char *why);
/* Starts another try to fetch the metadata. */
void upkeep_try_again(struct torrent *t);
/* Every READS_TICK_MS for each torrent: dials its peers again when it is time for that. */
void upkeep_redial(struct torrent *t, uint64_t now_ms);
/* Every LIFE_TICK_MS for each torrent: metadata, need of peers, progress, idleness, announcement.
 */
void upkeep_torrent(struct engine *e, struct torrent *t, uint64_t now_ms);
/* … and then once for all of them. */
void upkeep_session(struct engine *e, uint64_t now_ms);
/* The helper has something to say. */
void upkeep_helper(struct engine *e);

#endif
