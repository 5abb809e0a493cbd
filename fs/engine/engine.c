/* SPDX-License-Identifier: MIT */
#include "engine/engine_private.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/helper_link.h"
#include "torrent/names.h"
#include "torrent/parked.h"

/* How often parked reads are looked at, and everything else. */
enum { READS_TICK_MS = 200, LIFE_TICK_MS = 1000 };
/* So many magnets fetch their metadata at a time, and so many more if somebody waits for them: a
 * dead one costs 10 KiB and a packet now and then, and they are not to be all that the session
 * does.
 */
enum { SEATS = 2000, MORE_SEATS = 1000 };
/* At the end the session has so long to say which peers it knows. */
enum { PEERS_MS = 200 };

void engine_wake(struct engine *e)
{
        uint64_t one = 1;

        (void)!write(e->wake_fd, &one, sizeof one);
}

/* ---- the engine's thread ---- */

static void run_passed(struct engine *e)
{
        struct passed *list;
        size_t n;

        pthread_mutex_lock(&e->lock);
        list = e->passed;
        n = e->n_passed;
        e->passed = NULL;
        e->n_passed = e->room_passed = 0;
        pthread_mutex_unlock(&e->lock);
        for (size_t i = 0; i < n; i++) {
                parked_piece_passed(list[i].torrent, list[i].piece);
                e->passing_bytes -= list[i].bytes;
                engine_mark(e, list[i].torrent, DIRTY_HAVE);
                engine_look_after(e, list[i].torrent); /* its progress */
                torrent_unref(list[i].torrent);
        }
        free(list);
}

void engine_look_after(struct engine *e, struct torrent *t)
{
        if (t->is_busy)
                return;
        t->is_busy = true;
        torrent_ref(t);
        DL_APPEND2(e->busy, t, busy_prev, busy_next); /* NOLINT(*NullDereference) */
}

static void take_stirred(struct engine *e)
{
        struct torrent *t, *next;

        pthread_mutex_lock(&e->lock);
        t = e->stirred;
        e->stirred = NULL;
        pthread_mutex_unlock(&e->lock);
        for (; t; t = next) {
                next = t->next_stirred;
                /* Before it is looked at: what comes from here on stirs it again. */
                t->stirred = false;
                engine_look_after(e, t);
                torrent_unref(t);
        }
}

static void sample(struct chore *c)
{
        struct engine *e = (struct engine *)((char *)c - offsetof(struct engine, sample));

        evict_sample(e);
        e->sampling = false;
}

static void on_timer(struct engine *e)
{
        uint64_t now = clock_ms(), expired;
        struct bt_session_stats s;
        struct torrent *t, *next;
        bool life = now >= e->next_life_ms;

        (void)!read(e->timer_fd, &expired, sizeof expired);
        if (!atomic_exchange(&e->sampling, true) && !chores_push(e->env.disk, &e->sample))
                e->sampling = false;
        bt_session_get_stats(e->session, &s);
        if (s.heartbeat != e->heartbeat) {
                e->heartbeat = s.heartbeat;
                e->heartbeat_ms = now;
        }
        if (life) {
                e->next_life_ms = now + LIFE_TICK_MS;
                bt_session_poll(e->session);
                upkeep_line(e, now);
        }
        take_stirred(e);
        DL_FOREACH_SAFE2 (e->busy, t, next, busy_next) {
                parked_tick(t, now);
                upkeep_redial(t, now);
                renew_tick(e, t, now);
                if (!life || upkeep_torrent(e, t, now))
                        continue;
                DL_DELETE2(e->busy, t, busy_prev, busy_next);
                t->is_busy = false;
                torrent_unref(t);
        }
        evict_tick(e);
        if (life)
                upkeep_session(e, now);
}

static void *engine_thread(void *arg)
{
        struct engine *e = arg;

        bool more = false;

        pthread_setname_np(pthread_self(), "engine");
        while (!e->stop) {
                struct epoll_event events[8];
                int n = epoll_wait(e->epoll_fd, events, 8, more ? 0 : -1);

                for (int i = 0; i < n; i++) {
                        int fd = events[i].data.fd;
                        uint64_t value;

                        if (fd == e->wake_fd)
                                (void)!read(fd, &value, sizeof value);
                        else if (fd == e->timer_fd)
                                on_timer(e);
                        else if (fd == e->options.helper_fd)
                                helper_says(e);
                        else
                                bt_dispatch(e->session);
                }
                run_passed(e);
                more = engine_run_jobs(e);
                removal_run(e, clock_ms());
                evict_look(e, clock_ms());
        }
        return NULL;
}

/* ---- life ---- */

/* env->wake. */
static void wake(struct torrent *t)
{
        if (t->env->stopping || !engine_wake_up(engine_of(t), t))
                t->waking = false; /* with the next wish */
}

int engine_new(const struct engine_options *o, struct engine **ret)
{
        struct engine *e = calloc(1, sizeof *e);
        struct cache_stats stats;
        int r;

        if (!e)
                return log_error_errno(ENOMEM, "Cannot start: %m");
        e->options = *o;
        e->env.reply = o->reply;
        e->env.read_timeout_ms = o->read_timeout_ms;
        e->env.fill = o->fill;
        e->env.looks_apart = true;
        e->life_rules = (struct life_rules){.idle_ms = o->idle_timeout_ms};
        e->fetch_rules = (struct fetch_rules){.timeout_ms = o->metadata_timeout_ms,
                                              .pause_ms = o->retry_delay_ms,
                                              .retries = o->retries};
        e->env.stir = engine_stir;
        e->env.wake = wake;
        e->env.check = engine_check;
        e->env.make_room = evict_make_room;
        e->env.renew = engine_renew;
        e->sample.run = sample;
        e->turns = (struct turns){.seats = SEATS, .more_seats = MORE_SEATS};
        e->started_ms = clock_ms();
        e->heartbeat_ms = e->started_ms;
        e->jobs_end = &e->jobs;
        e->epoll_fd = e->wake_fd = e->timer_fd = -1;
        e->helper_pid = -1;
        pthread_mutex_init(&e->lock, NULL);
        r = registry_new(&e->registry);
        if (r >= 0) {
                r = library_open(e);
                if (r < 0) {
                        engine_free(e);
                        return r;
                }
                r = cache_new(o->cache_dir_fd, o->cache_size, o->min_free, library_is_known, e,
                              &e->cache);
        }
        if (r < 0) {
                engine_free(e);
                return log_error_errno(r, "Cannot open the cache folder: %m");
        }
        if (!cache_is_sparse(e->cache))
                log_warning(
                        "The cache folder's file system has no sparse files: a torrent takes all room up to the furthest piece that was read; choose a folder on ext4, xfs or btrfs with --cache-dir");
        cache_stats(e->cache, &stats);
        if (cache_lacks(e->cache, 0) > stats.used_bytes)
                log_warning(
                        "The cache folder's disk has too little free for --min-free: nothing can be fetched, and what is there goes");
        evict_begin(e);
        *ret = e;
        return 0;
}

void engine_set_hooks(struct engine *e, const struct engine_hooks *hooks)
{
        e->hooks = *hooks;
}

static int watch(struct engine *e, int fd)
{
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

        if (fd < 0 || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
                return -errno;
        return 0;
}

int engine_start(struct engine *e, bool sidecar)
{
        const struct itimerspec tick = {.it_interval = {.tv_nsec = READS_TICK_MS * 1000000L},
                                        .it_value = {.tv_nsec = READS_TICK_MS * 1000000L}};
        struct bt_error err = {0};
        size_t len;
        void *state = library_load_state(e, &len);
        int r;

        r = chores_new("disk", &e->env.disk);
        if (r == 0)
                r = chores_new("chores", &e->env.chores);
        if (r < 0) {
                free(state);
                return log_error_errno(r, "Cannot start a thread: %m");
        }
        r = bt_session_new(&engine_callbacks, e->options.settings, e->options.n_settings, state,
                           len, &e->session, &err);
        free(state);
        if (r < 0) {
                log_error("Cannot start the BitTorrent session: %s", err.text);
                return r;
        }
        if (!e->options.loopback_peers)
                bt_session_refuse_loopback(e->session);
        e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        e->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        r = e->epoll_fd < 0 || e->timer_fd < 0 || timerfd_settime(e->timer_fd, 0, &tick, NULL) < 0
                    ? -errno
                    : 0;
        if (r == 0)
                r = watch(e, e->wake_fd);
        if (r == 0)
                r = watch(e, e->timer_fd);
        if (r == 0)
                r = watch(e, bt_session_event_fd(e->session));
        e->sidecar_wanted = sidecar; /* asked for when the helper says that it is there */
        e->sidecar = sidecar ? ENGINE_SIDECAR_DOWN : ENGINE_SIDECAR_NONE;
        if (r == 0 && e->options.helper_fd >= 0)
                r = watch(e, e->options.helper_fd);
        if (r == 0)
                sleep_start(e);
        if (r == 0)
                r = -pthread_create(&e->thread, NULL, engine_thread, e);
        if (r < 0)
                return log_error_errno(r, "Cannot start the engine: %m");
        e->running = true;
        return 0;
}

void engine_release_reads(struct engine *e)
{
        struct torrent *t;

        e->env.stopping = true;
        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                parked_release_all(t, ENODEV);
        }
}

void engine_halt(struct engine *e)
{
        if (!e->running)
                return;
        e->stop = true;
        engine_wake(e);
        pthread_join(e->thread, NULL);
        e->running = false;
}

/* What is kept stays on the disk, all else goes. */
static void end_torrent(struct torrent *t)
{
        if (t->kept)
                torrent_leave(t, ENODEV);
        else
                (void)torrent_end(t, ENODEV);
}

static unsigned left_until(uint64_t end)
{
        uint64_t now = clock_ms();

        return end > now ? (unsigned)(end - now) : 0;
}

/* Has the session say what it knows of those that are awake; it has so long for that. */
static void ask_for_peers(struct engine *e, unsigned timeout_ms)
{
        struct pollfd fd = {.fd = bt_session_event_fd(e->session), .events = POLLIN};
        uint64_t end = clock_ms() + timeout_ms;
        unsigned asked = 0;
        struct torrent *t;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                if (!t->kept || !torrent_has_metadata(t) || !engine_bt_of(t))
                        continue;
                t->falling = true; /* see sleep_go_on */
                asked++;
                bt_torrent_save(engine_bt_of(t));
        }
        while (asked > 0 && left_until(end) > 0) {
                if (poll(&fd, 1, (int)left_until(end)) > 0)
                        bt_dispatch(e->session);
                asked = 0;
                DL_FOREACH2 (e->busy, t, busy_next)
                        asked += t->falling && t->life.state != LIFE_GONE;
        }
}

/* The session and what it has of the torrents are about to go; files may still be open. */
static void detach_all(struct engine *e)
{
        struct torrent *t;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                (void)torrent_detach(t);
        }
}

/* All that is to be remembered, in so far as it changed. */
static bool save_all(struct engine *e)
{
        struct torrent *t;

        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                if (t->life.state == LIFE_AWAKE)
                        engine_mark(e, t, DIRTY_ROW | DIRTY_HAVE);
        }
        return library_save(e) == 0;
}

bool engine_stop(struct engine *e, unsigned timeout_ms)
{
        uint64_t end = clock_ms() + timeout_ms;

        engine_halt(e);
        /* Lines that are being added end by themselves, as all is stopping. */
        if ((e->env.looks && !chores_stop(e->env.looks, timeout_ms)) ||
            (e->evictor && !chores_stop(e->evictor, left_until(end))) ||
            (e->own_library && !chores_stop(e->library, left_until(end))) ||
            (e->env.chores && !chores_stop(e->env.chores, left_until(end))) ||
            (e->env.disk && !chores_stop(e->env.disk, left_until(end)))) {
                log_info("A large torrent or the disk takes more than %u ms; left to the exit",
                         timeout_ms);
                e->abandoned = true;
                return false;
        }
        if (!e->session)
                return true;
        run_passed(e);
        ask_for_peers(e, PEERS_MS);
        library_save_state(e);
        (void)save_all(e); /* most of it, before the session takes its time */
        detach_all(e);
        e->abandoned = bt_session_close(e->session, timeout_ms) < 0;
        if (e->abandoned)
                log_info("The BitTorrent session did not end in %u ms; left to the exit",
                         timeout_ms);
        e->session = NULL;
        run_passed(e);
        library_close(e, save_all(e));
        if (!e->abandoned)
                registry_clear(e->registry, end_torrent);
        return !e->abandoned;
}

pid_t engine_helper(const struct engine *e)
{
        return e->helper_pid;
}

void engine_free(struct engine *e)
{
        struct torrent *t, *next;

        /* A session that did not end may still call back. */
        if (!e || e->abandoned)
                return;
        engine_drop_jobs(e);
        DL_FOREACH_SAFE2 (e->loaded, t, next, loaded_next) {
                torrent_unref(t);
        }
        take_stirred(e);
        DL_FOREACH_SAFE2 (e->busy, t, next, busy_next) {
                engine_leave_line(e, t); /* whoever has a seat is looked after */
                torrent_unref(t);
        }
        for (size_t i = 0; i < e->n_passed; i++)
                torrent_unref(e->passed[i].torrent);
        free(e->passed);
        engine_drop_line(e);
        chores_free(e->evictor);
        chores_free(e->env.looks);
        chores_free(e->env.chores);
        chores_free(e->env.disk);
        if (e->own_library)
                chores_free(e->library);
        if (e->catalog)
                library_close(e, e->running || !e->session);
        removal_free(e);
        registry_free(e->registry);
        cache_free(e->cache);
        if (e->epoll_fd >= 0)
                close(e->epoll_fd);
        if (e->wake_fd >= 0)
                close(e->wake_fd);
        if (e->timer_fd >= 0)
                close(e->timer_fd);
        pthread_mutex_destroy(&e->lock);
        free(e);
}

struct registry *engine_registry(struct engine *e)
{
        return e->registry;
}

struct torrent_env *engine_env(struct engine *e)
{
        return &e->env;
}

const struct bt_limits *engine_limits(struct engine *e)
{
        (void)e;
        return &bt_default_limits;
}

bool engine_loopback_peers(const struct engine *e)
{
        return e->options.loopback_peers;
}

void engine_get_stats(struct engine *e, struct engine_stats *ret)
{
        /* In this order: the engine's thread moves the heartbeat on, never beyond the clock. */
        uint64_t heartbeat_ms = e->heartbeat_ms, now = clock_ms();

        *ret = (struct engine_stats){.uptime_ms = now - e->started_ms,
                                     .heartbeat_age_ms = now - heartbeat_ms,
                                     .helper = e->helper,
                                     .sidecar = e->sidecar};
        bt_session_get_stats(e->session, &ret->session);
        cache_stats(e->cache, &ret->cache);
        ret->evicted_pieces = e->evicted_pieces;
        ret->evicted_bytes = e->evicted_bytes;
}

void engine_statvfs(struct engine *e, struct statvfs *ret)
{
        cache_statvfs(e->cache, ret);
}
