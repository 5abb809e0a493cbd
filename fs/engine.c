/* SPDX-License-Identifier: MIT */
#include "engine_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "helper.h"
#include "names.h"
#include "log.h"

/* How often parked reads are looked at, and everything else. */
enum { READS_TICK_MS = 200, LIFE_TICK_MS = 1000 };
/* A temporary torrent whose metadata nobody had stays so long, for its error to be read. */
enum { FAILED_LINGER_MS = 3000 };

void engine_wake(struct engine *e)
{
        uint64_t one = 1;

        (void)!write(e->wake_fd, &one, sizeof one);
}

/* ---- events ---- */

void engine_event(struct engine *e, struct torrent *t, const char *name, const char *what)
{
        struct torrent_status st;
        cJSON *json = cJSON_CreateObject();
        char *text;

        torrent_get_status(t, &st);
        cJSON_AddStringToObject(json, "event", what);
        cJSON_AddStringToObject(json, "infoHash", t->hex);
        cJSON_AddStringToObject(json, "name", name);
        if (st.length > 0) {
                cJSON_AddNumberToObject(json, "length", (double)st.length);
                cJSON_AddNumberToObject(json, "haveBytes", (double)st.have_bytes);
        }
        if (st.failed)
                cJSON_AddStringToObject(json, "error", st.problem);
        text = cJSON_PrintUnformatted(json);
        cJSON_Delete(json);
        if (!text)
                return;
        e->hooks.event(text);
        /* A process for each second of a download would be no help to anybody. */
        if (e->options.on_event && strcmp(what, "progress") != 0 &&
            helper_send(e->options.helper_fd, HELPER_EVENT, t->number, text) < 0)
                log_warning("The helper is busy; --on-event misses: %s", text);
        cJSON_free(text);
}

void engine_event_of(struct engine *e, struct torrent *t, const char *what)
{
        char name[NAME_BYTES_MAX + 1];

        if (registry_name(e->registry, t, name))
                engine_event(e, t, name, what);
}

/* ---- jobs from other threads ---- */

static int push_job(struct engine *e, enum job_type type, struct torrent *t, struct bt_torrent *bt,
                    struct bt_source *source)
{
        struct job *j = calloc(1, sizeof *j);

        if (!j)
                return -ENOMEM;
        *j = (struct job){.type = type, .torrent = torrent_ref(t), .bt = bt, .source = source};
        pthread_mutex_lock(&e->lock);
        *e->jobs_end = j;
        e->jobs_end = &j->next;
        pthread_mutex_unlock(&e->lock);
        engine_wake(e);
        return 0;
}

int engine_add(struct engine *e, struct bt_source *source, bool kept, struct torrent **ret)
{
        struct bt_meta *meta = bt_source_meta(source);
        struct torrent *t;
        int r;

        r = registry_add(e->registry, &e->env, source, kept, &t);
        if (r == -EEXIST) {
                if (kept)
                        t->kept = true;
                atomic_store(&t->last_used_ms, clock_ms());
                if (push_job(e, JOB_MERGE, t, NULL, source) < 0)
                        bt_source_free(source);
                *ret = t;
                return 0;
        }
        if (r < 0)
                return r;
        if (meta)
                r = torrent_set_content(t, e->cache, meta);
        if (r >= 0)
                r = push_job(e, JOB_ADD, t, NULL, NULL);
        if (r < 0) {
                registry_remove(e->registry, t);
                (void)torrent_end(t, EIO);
                torrent_unref(t);
                return r;
        }
        *ret = t;
        return 0;
}

bool engine_is_idle(const struct engine *e, struct torrent *t)
{
        uint64_t timeout_ms = e->options.idle_timeout_ms;
        int r = torrent_ready(t);

        if (t->kept || t->handles > 0 || r == -EAGAIN)
                return false;
        if (r < 0 && timeout_ms > FAILED_LINGER_MS)
                timeout_ms = FAILED_LINGER_MS;
        return clock_ms() - t->last_used_ms >= timeout_ms;
}

void engine_remove(struct engine *e, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1];
        struct bt_torrent *bt;

        if (!registry_name(e->registry, t, name))
                return;
        registry_remove(e->registry, t);
        bt = torrent_end(t, EIO);
        /* By the engine's own thread at once: an add of the same hash, which is free now, may be in
         * the queue before it. */
        if (bt &&
            (pthread_equal(pthread_self(), e->thread) || push_job(e, JOB_REMOVE, t, bt, NULL) < 0))
                bt_torrent_remove(bt);
        engine_event(e, t, name, "removed");
        e->hooks.changed(t);
}

void engine_set_kept(struct engine *e, struct torrent *t, bool kept)
{
        (void)e;
        t->last_used_ms = clock_ms();
        t->kept = kept;
}

/* ---- the engine's thread ---- */

static void start_torrent(struct engine *e, struct torrent *t)
{
        struct bt_torrent *bt;
        struct bt_error err = {0};
        bool gone;
        int r;

        engine_event_of(e, t, "added");
        t->tries = 1;
        t->try_since_ms = clock_ms();
        t->next_redial_ms = clock_ms() + REDIAL_MS;
        r = bt_torrent_add(e->session, t->source, NULL, torrent_ref(t), &bt, &err);
        if (r < 0) {
                torrent_unref(t);
                /* A torrent of the session has this hash besides its own: its metadata, which says
                 * so, is on its way here, and then the two become one. */
                if (r != -EEXIST)
                        upkeep_fail(e, t, r, err.text);
                return;
        }
        torrent_attach(t, bt);
        /* Removed meanwhile: nobody else will tell the session. */
        pthread_mutex_lock(&t->lock);
        gone = t->state == TORRENT_GONE && t->bt == bt;
        if (gone)
                t->bt = NULL;
        pthread_mutex_unlock(&t->lock);
        if (gone)
                bt_torrent_remove(bt);
        else if (torrent_content(t))
                upkeep_ready(e, t);
}

/* Added once more: takes over what else the new source knows, and tries again if the old one has
 * failed. */
static void merge(struct torrent *t, struct bt_source *source)
{
        int r = torrent_ready(t);
        struct bt_torrent *bt;

        pthread_mutex_lock(&t->lock);
        bt = t->bt;
        pthread_mutex_unlock(&t->lock);
        /* Only this thread removes from the session, so bt stays valid here. */
        if (bt)
                bt_torrent_merge(bt, source);
        /* Metadata that came and was refused would be refused again. */
        if (r == -ETIMEDOUT) {
                torrent_fail(t, 0, "");
                t->tries = 1;
                upkeep_try_again(t);
        }
}

static void run_jobs(struct engine *e)
{
        struct job *j, *next;

        pthread_mutex_lock(&e->lock);
        j = e->jobs;
        e->jobs = NULL;
        e->jobs_end = &e->jobs;
        pthread_mutex_unlock(&e->lock);
        for (; j; j = next) {
                next = j->next;
                switch (j->type) {
                case JOB_ADD:
                        start_torrent(e, j->torrent);
                        break;
                case JOB_REMOVE:
                        bt_torrent_remove(j->bt);
                        break;
                case JOB_MERGE:
                        merge(j->torrent, j->source);
                        break;
                }
                bt_source_free(j->source);
                torrent_unref(j->torrent);
                free(j);
        }
}

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
                torrent_piece_passed(list[i].torrent, list[i].piece);
                torrent_unref(list[i].torrent);
        }
        free(list);
}

static void on_timer(struct engine *e)
{
        uint64_t now = clock_ms(), expired;
        struct bt_session_stats s;
        struct torrent *t;
        bool life = now >= e->next_life_ms;

        (void)!read(e->timer_fd, &expired, sizeof expired);
        cache_sample(e->cache);
        bt_session_get_stats(e->session, &s);
        if (s.heartbeat != e->heartbeat) {
                e->heartbeat = s.heartbeat;
                e->heartbeat_ms = now;
        }
        if (life) {
                e->next_life_ms = now + LIFE_TICK_MS;
                bt_session_poll(e->session);
        }
        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                torrent_tick(t, now);
                upkeep_redial(t, now);
                if (life)
                        upkeep_torrent(e, t, now);
        }
        if (life)
                upkeep_session(e, now);
}

static void *engine_thread(void *arg)
{
        struct engine *e = arg;

        pthread_setname_np(pthread_self(), "engine");
        while (!e->stop) {
                struct epoll_event events[8];
                int n = epoll_wait(e->epoll_fd, events, 8, -1);

                for (int i = 0; i < n; i++) {
                        int fd = events[i].data.fd;
                        uint64_t value;

                        if (fd == e->wake_fd)
                                (void)!read(fd, &value, sizeof value);
                        else if (fd == e->timer_fd)
                                on_timer(e);
                        else if (fd == e->options.helper_fd)
                                upkeep_helper(e);
                        else
                                bt_dispatch(e->session);
                }
                run_passed(e);
                run_jobs(e);
        }
        return NULL;
}

/* ---- life ---- */

int engine_new(const struct engine_options *o, struct engine **ret)
{
        struct engine *e = calloc(1, sizeof *e);
        int r;

        if (!e)
                return log_error_errno(ENOMEM, "Cannot start: %m");
        e->options = *o;
        e->env.reply = o->reply;
        e->env.read_timeout_ms = o->read_timeout_ms;
        e->env.fill = o->fill;
        e->started_ms = clock_ms();
        e->heartbeat_ms = e->started_ms;
        e->jobs_end = &e->jobs;
        e->epoll_fd = e->wake_fd = e->timer_fd = -1;
        e->helper_pid = -1;
        pthread_mutex_init(&e->lock, NULL);
        r = registry_new(&e->registry);
        if (r >= 0)
                r = cache_new(o->cache_dir_fd, o->cache_size, o->min_free, &e->cache);
        if (r < 0) {
                engine_free(e);
                return log_error_errno(r, "Cannot open the cache folder: %m");
        }
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
        void *state = engine_load_state(e, &len);
        int r;

        r = bt_session_new(&engine_callbacks, e->options.settings, e->options.n_settings, state,
                           len, &e->session, &err);
        free(state);
        if (r < 0) {
                log_error("Cannot start the BitTorrent session: %s", err.text);
                return r;
        }
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
                torrent_release_reads(t, ENODEV);
        }
}

void engine_stop(struct engine *e, unsigned timeout_ms)
{
        struct torrent *t;

        if (e->running) {
                e->stop = true;
                engine_wake(e);
                pthread_join(e->thread, NULL);
                e->running = false;
        }
        if (!e->session)
                return;
        run_passed(e);
        engine_save_state(e);
        for (uint32_t n = 0; (t = registry_next(e->registry, n)); torrent_unref(t)) {
                n = t->number;
                registry_remove(e->registry, t);
                (void)torrent_end(t, ENODEV);
        }
        e->abandoned = bt_session_close(e->session, timeout_ms) < 0;
        if (e->abandoned)
                log_info("The BitTorrent session did not end in %u ms; left to the exit",
                         timeout_ms);
        e->session = NULL;
}

pid_t engine_helper(const struct engine *e)
{
        return e->helper_pid;
}

void engine_free(struct engine *e)
{
        struct job *j, *next;

        /* A session that did not end may still call back. */
        if (!e || e->abandoned)
                return;
        for (j = e->jobs; j; j = next) {
                next = j->next;
                torrent_unref(j->torrent);
                bt_source_free(j->source);
                free(j);
        }
        for (size_t i = 0; i < e->n_passed; i++)
                torrent_unref(e->passed[i].torrent);
        free(e->passed);
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
}
