/* SPDX-License-Identifier: MIT */
/* mount_later.c: requests that the loop cannot answer at once, as something has to be read from or
 * written to the disk for them. Another thread does that; then the loop takes the request up again,
 * as if it had come only now. */
#include "mount/mount_private.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

/* A torrent's content may go again before its request has its turn, but not that often. */
enum { TRIES_MAX = 16 };

/* One request. */
struct later {
        struct engine_load load;
        struct chore chore; /* of a removal */
        struct mount *mount;
        fuse_req_t req;
        struct call call;
        char *name;              /* call's */
        struct torrent *torrent; /* a reference: of a removal */
        unsigned tries;
        int result;
        struct later *next;
};

static void later_free(struct later *l)
{
        torrent_unref(l->torrent);
        free(l->name);
        free(l);
}

/* Any thread. */
static void is_ready(struct later *l, int r)
{
        struct mount *m = l->mount;
        uint64_t one = 1;

        l->result = r;
        pthread_mutex_lock(&m->later_lock);
        LL_APPEND(m->ready, l);
        pthread_mutex_unlock(&m->later_lock);
        (void)!write(m->wake_fd, &one, sizeof one);
}

static struct later *later_new(fuse_req_t req, const struct call *call)
{
        struct later *l = calloc(1, sizeof *l);

        if (!l)
                return NULL;
        l->mount = mount_of(req);
        l->req = req;
        l->call = *call;
        if (call->name) {
                l->name = strdup(call->name);
                l->call.name = l->name;
                if (!l->name) {
                        free(l);
                        return NULL;
                }
        }
        return l;
}

static void loaded(struct engine_load *load, int r)
{
        is_ready((struct later *)((char *)load - offsetof(struct later, load)), r);
}

static int load_content(struct later *l)
{
        struct mount *m = l->mount;
        struct torrent *t =
                registry_by_number(engine_registry(m->engine), node_of(l->call.ino).number);
        bool asked;

        if (!t)
                return -ESTALE;
        memset(&l->load, 0, sizeof l->load);
        l->load.done = loaded;
        asked = engine_load(m->engine, t, &l->load);
        torrent_unref(t);
        return asked ? 0 : -ENODEV;
}

void mount_load_first(fuse_req_t req, const struct call *call)
{
        struct mount *m = mount_of(req);
        struct later *l = m->again;
        int r = 0;

        m->again = NULL;
        if (!l)
                l = later_new(req, call);
        if (!l)
                r = -ENOMEM;
        else if (++l->tries > TRIES_MAX)
                r = -EIO;
        else
                r = load_content(l);
        if (r == 0)
                return;
        if (l)
                later_free(l);
        fuse_reply_err(req, -r);
}

static void run_removal(struct chore *c)
{
        struct later *l = (struct later *)((char *)c - offsetof(struct later, chore));

        is_ready(l, engine_remove(l->mount->engine, l->torrent));
}

void mount_remove(fuse_req_t req, struct torrent *t)
{
        static const struct call removal = {.type = CALL_REMOVAL};
        struct mount *m = mount_of(req);
        struct later *l = later_new(req, &removal);

        if (!l) {
                fuse_reply_err(req, ENOMEM);
                return;
        }
        l->torrent = torrent_ref(t);
        l->chore.run = run_removal;
        if (chores_push(engine_env(m->engine)->chores, &l->chore))
                return;
        later_free(l);
        fuse_reply_err(req, ENODEV);
}

/* ---- the loop's thread ---- */

static void take_up(struct mount *m, struct later *l)
{
        struct call c = l->call;

        if (c.type == CALL_REMOVAL || l->result < 0) {
                fuse_reply_err(l->req, -l->result);
                later_free(l);
                return;
        }
        m->again = l;
        switch (c.type) {
        case CALL_LOOKUP:
                op_lookup(l->req, c.ino, c.name);
                break;
        case CALL_GETATTR:
                op_getattr(l->req, c.ino, NULL);
                break;
        case CALL_READLINK:
                op_readlink(l->req, c.ino);
                break;
        case CALL_OPEN:
                op_open(l->req, c.ino, &c.fi);
                break;
        case CALL_READDIR:
                op_readdir(l->req, c.ino, c.size, c.off, &c.fi);
                break;
        case CALL_READDIRPLUS:
                op_readdirplus(l->req, c.ino, c.size, c.off, &c.fi);
                break;
        case CALL_GETXATTR:
                op_getxattr(l->req, c.ino, c.name, c.size);
                break;
        case CALL_LISTXATTR:
                op_listxattr(l->req, c.ino, c.size);
                break;
        case CALL_REMOVAL:
                break;
        }
        /* Unless it waits once more. */
        if (m->again) {
                m->again = NULL;
                later_free(l);
        }
}

void mount_take_up(struct mount *m)
{
        struct later *l, *next;
        uint64_t value;

        (void)!read(m->wake_fd, &value, sizeof value);
        pthread_mutex_lock(&m->later_lock);
        l = m->ready;
        m->ready = NULL;
        pthread_mutex_unlock(&m->later_lock);
        for (; l; l = next) {
                next = l->next;
                l->next = NULL;
                take_up(m, l);
        }
}

void mount_forget_later(struct mount *m)
{
        struct later *l, *next;

        LL_FOREACH_SAFE (m->ready, l, next)
                later_free(l);
        m->ready = NULL;
}
