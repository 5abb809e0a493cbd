/* SPDX-License-Identifier: MIT */
/* engine.h: what goes on without anybody asking: the session's events, metadata and its retries,
 * time-outs, idle torrents, announcements. One thread of its own; requests of the mount only leave
 * work for it and never wait. */
#ifndef FS_ENGINE_H
#define FS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include "bt.h"
#include "engine/registry.h"
#include "store/store.h"
#include "torrent/torrent.h"

struct engine;

struct engine_options {
        uint64_t read_timeout_ms, metadata_timeout_ms, retry_delay_ms, idle_timeout_ms;
        unsigned retries;
        enum fill fill;
        enum stay_awake stay_awake;
        unsigned awake_max; /* so many torrents with metadata are with the session */
        bool loopback_peers;
        const struct bt_setting *settings;
        size_t n_settings;
        int state_dir_fd; /* borrowed */
        int cache_dir_fd; /* borrowed */
        uint64_t cache_size, min_free;
        int helper_fd;  /* borrowed; -1: none */
        bool read_only; /* the mount is: the helper can change nothing there */
        bool on_event;  /* the helper runs a command for events */
        struct reply_ops reply;
};

/* What the engine tells the mount. From the engine's thread but for changed, gone and event, which
 * come from any; no lock is held. */
struct engine_hooks {
        /* The torrent's metadata came or failed, or the torrent is gone: who waits for that shall
         * look again. */
        void (*changed)(struct torrent *t);
        /* The torrent of that number is gone. Must not wait. */
        void (*gone)(uint32_t number);
        /* One line for those who read events. */
        void (*event)(const char *json);
        /* How the first start of the sidecar went: 0 or an errno. */
        void (*sidecar)(int err);
        /* The process that is the helper from now on; -1: none is. */
        void (*helper)(pid_t pid);
};

/* Makes everything but starts nothing. -errno, with a message logged. */
int engine_new(const struct engine_options *o, struct engine **ret);
void engine_set_hooks(struct engine *e, const struct engine_hooks *hooks);
/* Starts the session and the engine's thread; asks for the sidecar. Before the mount answers
 * anybody: what is asked of the engine needs the session. -errno, with a message logged. */
int engine_start(struct engine *e, bool sidecar);
/* From here on reads end in ENODEV. Any thread. */
void engine_release_reads(struct engine *e);
/* Ends the engine's thread: no hook is called from it any more. While the mount still answers, as
 * that thread may be telling the kernel something. Blocking. */
void engine_halt(struct engine *e);
/* Stops all the rest; waits at most timeout_ms for what is being parsed or deleted, and as long for
 * the session. false: one of them has not ended, and nothing that the engine knows may be freed.
 * After the mount's loop has ended. Blocking. */
bool engine_stop(struct engine *e, unsigned timeout_ms);
/* The helper that is known last, also after engine_stop; -1: none. */
pid_t engine_helper(const struct engine *e);
/* Call after engine_stop. */
void engine_free(struct engine *e);

struct registry *engine_registry(struct engine *e);
struct torrent_env *engine_env(struct engine *e);
const struct bt_limits *engine_limits(struct engine *e);
bool engine_loopback_peers(const struct engine *e);

/* Torrents are added between these two, by one thread, for which others that add, keep or remove
 * wait. What was added is remembered, whatever happens to magnetfs, when engine_commit returns 0;
 * else (-ENOSPC, -EROFS, -EIO) all of it is gone again. Blocking. */
void engine_begin(struct engine *e);
int engine_commit(struct engine *e);
/* Adds a torrent of source (taken over in any case); one that is known is not added again, but
 * learns the source's trackers, web seeds and peers, tries again if it had failed, and may become
 * kept. One that was here within a day has its metadata at once. *ret is a reference. -ENOMEM,
 * -E2BIG and what torrent_make_content gives. Does not wait for the session. */
int engine_add(struct engine *e, struct bt_source *source, bool kept, struct torrent **ret);
/* What a torrent of that hash was added by that went as nobody used it, within a day: for
 * engine_add. NULL: there was none. Blocking. */
struct bt_source *engine_recall(struct engine *e, const struct bt_hash *hash);
/* Removes a torrent with its data; at the return it is forgotten, whatever happens to magnetfs. The
 * helper tells those who watch the root by inotify. Any thread; the chores delete its file. -errno:
 * that could not be written down, and it stays. Blocking. */
int engine_remove(struct engine *e, struct torrent *t);
/* The number of the torrent that was removed under this name of the root, when the helper is still
 * to tell so; else 0. Any thread. */
uint32_t engine_departed(struct engine *e, const char *name);
/* The helper's rmdir of a name of the root: removes an idle torrent if that was asked of the
 * helper. 0: the rmdir may be granted; -ENOENT; -EBUSY: the torrent of that name is to stay. The
 * thread that opens files. */
int engine_helper_rmdir(struct engine *e, const char *name);
/* Keeps it, or lets it go when it is idle; as engine_remove. Any thread; blocking. */
int engine_set_kept(struct engine *e, struct torrent *t, bool kept);
/* Somebody uses the torrent without opening a file of it. Any thread. */
void engine_touch(struct torrent *t);
/* Somebody waits for the torrent's metadata: it goes before others that wait for their turn. Or for
 * its content, which it has not while it is asleep: it is brought. The hook changed tells of it.
 * Any thread. */
void engine_hurry(struct engine *e, struct torrent *t);

/* Brings the content of a torrent that is asleep, which takes milliseconds and does not wake it.
 * done is called by another thread: 0, or -errno. Zeroed at first but for done; the caller's until
 * then. Any thread. false: magnetfs is ending, and done is not called. */
struct engine_load {
        void (*done)(struct engine_load *l, int r);
        struct torrent *torrent; /* a reference, until done returns */
        struct chore chore;
};
bool engine_load(struct engine *e, struct torrent *t, struct engine_load *l);
/* When somebody last used the torrent, also in earlier runs. Any thread. */
time_t engine_used_at(struct torrent *t);

/* ---- the cache: evict.c; any thread ---- */

/* Changes the bound of the cache, until magnetfs ends; what is too much goes from then on. Does not
 * wait. */
void engine_set_cache_size(struct engine *e, uint64_t bytes);
/* Takes all of a torrent off the disk that nobody reads and nobody has pinned, asleep or awake.
 * *ret: how much that was. Blocking on the disk. -errno: what could not be taken off. */
int engine_evict(struct engine *e, struct torrent *t, uint64_t *ret);
/* What is pinned is never evicted to make room. Pins all of these, or unpins, one after the other
 * or none of them; at the return that is remembered, whatever happens to magnetfs. -ENOENT: a
 * torrent is gone; -E2BIG: so many single files cannot be remembered; -ENOMEM, -ENOSPC, -EROFS,
 * -EIO. Blocking. */
struct engine_pin {
        struct torrent *torrent;
        const struct listing *listing; /* the torrent's; may be NULL where node is TREE_ROOT */
        uint32_t node;                 /* a file, a directory with all beneath it, or TREE_ROOT */
        bool pinned;
};
int engine_pin(struct engine *e, const struct engine_pin *list, size_t n);
/* What would go next to make room, the first first: of a torrent so many bytes, read last then. At
 * most max; how many there are. The torrents are references. */
struct engine_victim {
        struct torrent *torrent;
        uint64_t bytes;
        time_t used_at;
};
size_t engine_victims(struct engine *e, struct engine_victim *out, size_t max);

/* What the cache's file system said of itself a moment ago. Any thread; no I/O. */
void engine_statvfs(struct engine *e, struct statvfs *ret);

/* The helper: killed, but it will be back; at work; gone for good, its zygote too. */
enum engine_helper { ENGINE_HELPER_AWAY, ENGINE_HELPER_RUNS, ENGINE_HELPER_LOST };
enum engine_sidecar { ENGINE_SIDECAR_NONE, ENGINE_SIDECAR_DOWN, ENGINE_SIDECAR_LISTENS };

struct engine_stats {
        struct bt_session_stats session;
        struct cache_stats cache;
        uint64_t uptime_ms;
        uint64_t heartbeat_age_ms; /* since the session's thread last answered */
        enum engine_helper helper;
        enum engine_sidecar sidecar;
        uint64_t evicted_pieces, evicted_bytes; /* since the start, to make room */
};
void engine_get_stats(struct engine *e, struct engine_stats *ret);

#endif
