/* SPDX-License-Identifier: MIT */
#include "health.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

enum { TICK_MS = 1000 };
/* A healthy mount answers in microseconds. */
enum { STUCK_MS = 2000 };
/* ulimit -v counts a stack as a whole. */
#define STACK_BYTES (256u << 10)

struct health {
        /* set once */
        struct mountpoint *mount;
        int notify_fd;

        /* atomic: when the call in progress began; 0: none */
        _Atomic uint64_t busy_since_ms;

        /* under lock */
        pthread_mutex_t lock;
        pthread_cond_t asked, answered;
        uint64_t wanted, done; /* numbers of reads of the session */
        int error;             /* of the last one */
        char *session;
        enum health_state state;
        int state_error;
};

static struct timespec deadline(unsigned ms)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += ms / 1000;
        t.tv_nsec += (long)(ms % 1000) * 1000000;
        if (t.tv_nsec >= 1000000000) {
                t.tv_sec++;
                t.tv_nsec -= 1000000000;
        }
        return t;
}

static void set_state(struct health *h, enum health_state state, int error)
{
        static const uint64_t one = 1;

        h->state = state;
        h->state_error = error;
        if (write(h->notify_fd, &one, sizeof one) < 0)
                log_error_errno(-errno, "Cannot tell that the mount changed: %m");
}

/* Takes note of what a look at the mount gave; under lock. */
static void judge(struct health *h, int error)
{
        if (h->state == HEALTH_UNKNOWN)
                set_state(h, error < 0 ? HEALTH_FOREIGN : HEALTH_FINE, error);
        else if (h->state == HEALTH_FINE && (mountpoint_is_gone(error) || error == -ENOENT))
                set_state(h, HEALTH_GONE, error);
}

static void *run(void *data)
{
        struct health *h = data;
        bool first = true;

        pthread_mutex_lock(&h->lock);
        for (;;) {
                struct timespec until = deadline(TICK_MS);
                uint64_t wanted;
                char *session = NULL;
                int error;

                while (!first && h->wanted == h->done)
                        if (pthread_cond_timedwait(&h->asked, &h->lock, &until) == ETIMEDOUT)
                                break;
                wanted = h->wanted;
                first = first || wanted != h->done;
                pthread_mutex_unlock(&h->lock);

                atomic_store(&h->busy_since_ms, clock_ms());
                error = mountpoint_check(h->mount);
                if (error == 0 && first)
                        error = mountpoint_session(h->mount, &session);
                atomic_store(&h->busy_since_ms, 0);
                first = false;

                pthread_mutex_lock(&h->lock);
                judge(h, error);
                if (wanted != h->done) {
                        free(h->session);
                        h->session = session;
                        session = NULL;
                        h->error = error;
                        h->done = wanted;
                        pthread_cond_broadcast(&h->answered);
                }
                free(session);
        }
        return NULL;
}

int health_start(struct mountpoint *m, int notify_fd, struct health **ret)
{
        struct health *h = calloc(1, sizeof *h);
        pthread_condattr_t attr;
        pthread_attr_t small;
        pthread_t thread;
        int r;

        if (!h)
                return -ENOMEM;
        h->mount = m;
        h->notify_fd = notify_fd;
        pthread_mutex_init(&h->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&h->asked, &attr);
        pthread_cond_init(&h->answered, &attr);
        pthread_condattr_destroy(&attr);
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, STACK_BYTES);
        r = pthread_create(&thread, &small, run, h);
        pthread_attr_destroy(&small);
        if (r != 0) {
                pthread_cond_destroy(&h->answered);
                pthread_cond_destroy(&h->asked);
                pthread_mutex_destroy(&h->lock);
                free(h);
                return -r;
        }
        pthread_detach(thread);
        *ret = h;
        return 0;
}

enum health_state health_state(struct health *h)
{
        enum health_state state;

        pthread_mutex_lock(&h->lock);
        state = h->state;
        pthread_mutex_unlock(&h->lock);
        return state;
}

int health_error(struct health *h)
{
        int error;

        pthread_mutex_lock(&h->lock);
        error = h->state_error;
        pthread_mutex_unlock(&h->lock);
        return error;
}

bool health_is_stuck(struct health *h)
{
        uint64_t since = atomic_load(&h->busy_since_ms);

        return since != 0 && clock_ms() - since >= STUCK_MS;
}

int health_session(struct health *h, unsigned timeout_ms, char **ret)
{
        struct timespec until = deadline(timeout_ms);
        uint64_t mine;
        int r = 0;

        pthread_mutex_lock(&h->lock);
        mine = ++h->wanted;
        pthread_cond_signal(&h->asked);
        while (h->done < mine && r == 0)
                r = pthread_cond_timedwait(&h->answered, &h->lock, &until);
        if (h->done < mine) {
                r = -ETIMEDOUT;
        } else if (h->error < 0) {
                r = h->error;
        } else {
                char *copy = strdup(h->session);

                r = copy ? 0 : -ENOMEM;
                if (copy)
                        *ret = copy;
        }
        pthread_mutex_unlock(&h->lock);
        return r;
}
