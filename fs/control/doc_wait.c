/* SPDX-License-Identifier: MIT */
/* doc_wait.c: reads and polls that wait until a document has something to say. */
#include "control/control_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include <utlist.h>

void doc_settle_and_unlock(struct control *c, struct doc *d, int err)
{
        void *request = d->request, *poll_handle = NULL, *data = NULL;
        size_t len = 0;
        int r = err ? -err : doc_readable(d);

        if (r != -EAGAIN) {
                poll_handle = d->poll_handle;
                d->poll_handle = NULL;
        }
        if (request && r != -EAGAIN) {
                if (!d->armed) {
                        d->outcome = err ? err : OUTCOME_LOOK;
                        request = NULL;
                } else {
                        d->request = NULL;
                        if (r == 0)
                                r = doc_take(d, d->off, d->size, &data, &len);
                }
        } else {
                request = NULL;
        }
        pthread_mutex_unlock(&c->lock);
        if (request) {
                if (r < 0)
                        c->reply.error(request, -r);
                else
                        c->reply.data(request, data, len);
        }
        free(data);
        if (poll_handle)
                c->reply.poll_wake(poll_handle);
}

/* The document whose read waits under that id. Under c->lock. */
static struct doc *find_reading(struct control *c, uint64_t id)
{
        struct doc *d;

        DL_FOREACH2 (c->docs, d, next_doc) {
                if (d->request && is_id(d->id, id))
                        break;
        }
        return d;
}

void doc_arm(struct control *c, uint64_t id)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        d = find_reading(c, id);
        if (!d) {
                pthread_mutex_unlock(&c->lock);
                writing_arm(c, id);
                return;
        }
        d->armed = true;
        doc_settle_and_unlock(c, d, d->outcome > 0 ? d->outcome : 0);
}

void doc_interrupt(struct control *c, uint64_t id)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        d = find_reading(c, id);
        if (d) {
                doc_settle_and_unlock(c, d, EINTR);
        } else {
                pthread_mutex_unlock(&c->lock);
                writing_interrupt(c, id);
        }
}

unsigned doc_poll(struct doc *d, void *poll_handle)
{
        struct control *c = d->control;
        void *drop;
        unsigned events;
        int r;

        pthread_mutex_lock(&c->lock);
        r = doc_readable(d);
        events = r == 0 ? POLLIN : r == -EAGAIN ? 0 : POLLIN | POLLERR;
        if (doc_is_writable(d->node))
                events |= POLLOUT;
        drop = d->poll_handle;
        d->poll_handle = events & (POLLIN | POLLERR) ? NULL : poll_handle;
        if (!d->poll_handle && poll_handle) {
                if (drop)
                        c->reply.poll_drop(drop);
                drop = poll_handle;
        }
        pthread_mutex_unlock(&c->lock);
        if (drop)
                c->reply.poll_drop(drop);
        return events;
}
