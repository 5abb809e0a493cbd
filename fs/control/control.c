/* SPDX-License-Identifier: MIT */
/* control.c: the documents as a whole: what happens comes to those that wait for it. */
#include "control/control_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

/* ---- news ---- */

/* The lock is given up for each answer and documents may be closed meanwhile, so each round looks
 * from the start. */
void control_settle_marked(struct control *c)
{
        struct doc *d;

        do {
                pthread_mutex_lock(&c->lock);
                DL_FOREACH2 (c->docs, d, next_doc) {
                        if (d->marked)
                                break;
                }
                if (d) {
                        d->marked = false;
                        doc_settle_and_unlock(c, d, 0);
                } else {
                        pthread_mutex_unlock(&c->lock);
                }
        } while (d);
}

void control_changed(struct control *c, struct torrent *t)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        DL_FOREACH2 (c->docs, d, next_doc) {
                if (d->torrent == t && doc_waits(d))
                        d->marked = true;
        }
        pthread_mutex_unlock(&c->lock);
        control_settle_marked(c);
}

void control_release(struct control *c)
{
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        c->released = true;
        DL_FOREACH2 (c->docs, d, next_doc) {
                d->marked = doc_waits(d);
        }
        pthread_mutex_unlock(&c->lock);
        control_settle_marked(c);
}

/* ---- life ---- */

int control_new(struct engine *e, const char *mountpoint, const struct reply_ops *reply,
                struct control **ret)
{
        struct control *c = calloc(1, sizeof *c);

        if (!c)
                return -ENOMEM;
        c->mountpoint = strdup(mountpoint);
        if (!c->mountpoint) {
                free(c);
                return -ENOMEM;
        }
        c->engine = e;
        c->reply = *reply;
        c->next_id = 1;
        events_init(&c->events);
        pthread_mutex_init(&c->lock, NULL);
        pthread_mutex_init(&c->answering, NULL);
        *ret = c;
        return 0;
}

void control_free(struct control *c)
{
        if (!c)
                return;
        pthread_mutex_destroy(&c->answering);
        pthread_mutex_destroy(&c->lock);
        events_free(&c->events);
        free(c->mountpoint);
        free(c);
}
