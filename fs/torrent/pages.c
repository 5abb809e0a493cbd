/* SPDX-License-Identifier: MIT */
/* pages.c: who hangs behind a parked read that fills the page cache.
 *
 * The kernel holds the pages that such a read fills locked until its answer. For a file that is
 * open with FOPEN_DIRECT_IO mmap(2) first drops the file's pages, and for that waits for each lock
 * where nothing, not even SIGKILL, ends it; it holds mmap_lock meanwhile, so that ps and whoever
 * else looks at that process waits as well. So when a process that has the file open is found in
 * mmap(2), the reads before it end in EINTR: at once those that the kernel read ahead, for it asks
 * again by itself; those for the one page of a mapping only when it can't wait longer, as the error
 * is its SIGBUS, see crowd.h. Programs call sendfile and splice again. The next in the kernel's
 * queue for a page's lock may be passed over some times, so for a moment the reads that come back
 * are looked at with each tick.
 *
 * Who can't be looked at, outside of our PID namespace or for want of rights, may hang as long as
 * it has the file open and reads nothing. That is taken for hanging since its last answer, or since
 * a page of the file came, which let it go on. */
#include "torrent/parked.h"

#include <errno.h>
#include <unistd.h>

#include <utlist.h>

#include "torrent/crowd.h"
#include "torrent/threads.h"

/* So long after it was parked nobody is looked for behind a read: most are answered sooner, and a
 * look reads files in /proc for each thread of all who have the file open. Then it is looked with
 * each tick; who was there before is taken to hang since the read was parked. */
enum { PATIENCE_MS = 400 };
/* Besides those who have opened the file, which each tick looks at, somebody may have got it from
 * them (fork, SCM_RIGHTS): all processes are looked at so often. */
enum { LOOK_AT_ALL_MS = 1000 };
/* A mapping comes back for its page no more often; what does is a call that its program makes
 * again, and each time who hangs may get the page. */
enum { TRIES_MAPPED = 3, QUICK = 16 };
/* Bounds on what one tick looks at. */
enum { FILES_MAX = 16, PROCESSES_MAX = 64 };

/* A file that has such reads. */
struct crowded_file {
        uint64_t inode;
        uint64_t asked_ms;  /* when the first of them was parked */
        uint64_t filled_ms; /* when one last got its bytes */
        uint64_t hidden_ms; /* since when one that can't be looked at may hang; 0: none can */
        struct crowd crowd;
        struct opener {
                pid_t pid;
                uint64_t idle_ms; /* since when it has asked for nothing; 0: it waits for a read */
        } processes[PROCESSES_MAX]; /* that have it open */
        size_t n;
};

/* Of several times the first that there is. */
static uint64_t first_of(uint64_t a, uint64_t b)
{
        return a == 0 || (b > 0 && b < a) ? b : a;
}

static void add_process(struct crowded_file *f, const struct handle *h)
{
        uint64_t idle_ms = 0;
        size_t i = 0;

        if (!h->parked && !h->watch)
                idle_ms = h->answered_ms > 0 ? h->answered_ms : h->opened_ms;
        if (h->hidden) {
                f->hidden_ms = first_of(f->hidden_ms, idle_ms);
                return;
        }
        while (i < f->n && f->processes[i].pid != h->process)
                i++;
        if (i == f->n && i < PROCESSES_MAX && h->process > 0)
                f->processes[f->n++] = (struct opener){h->process, 0};
        if (i < f->n)
                f->processes[i].idle_ms = first_of(f->processes[i].idle_ms, idle_ms);
}

/* Chooses a file. False: there is none left. */
static bool next_file(struct torrent *t, uint64_t now, struct crowded_file *ret)
{
        const struct handle *h;
        struct parked *p;
        bool found = false;

        ret->n = 0;
        ret->filled_ms = ret->hidden_ms = 0;
        ret->crowd = (struct crowd){0};
        pthread_mutex_lock(&t->lock);
        DL_FOREACH (t->waiting.list, p) {
                bool due = now >= p->asked_ms + PATIENCE_MS ||
                           (t->waiting.crowded_ms > 0 && now < t->waiting.crowded_ms + CROWDED_MS);

                if (!p->whole || p->crowd_ms == now || !due)
                        continue;
                if (!found) {
                        found = true;
                        ret->inode = p->handle->inode;
                        ret->asked_ms = p->asked_ms;
                }
                if (p->handle->inode == ret->inode)
                        p->crowd_ms = now;
        }
        DL_FOREACH (t->open, h) {
                if (!found || h->inode != ret->inode)
                        continue;
                /* One that was opened since the last look knows nothing yet. */
                if (crowd_look_ms(&h->crowd) > crowd_look_ms(&ret->crowd))
                        ret->crowd = h->crowd;
                if (h->filled_ms > ret->filled_ms)
                        ret->filled_ms = h->filled_ms;
                add_process(ret, h);
        }
        pthread_mutex_unlock(&t->lock);
        return found;
}

/* It was looked who hangs behind reads of the file. */
static void end_reads_of(struct torrent *t, const struct crowded_file *f, uint64_t now)
{
        struct parked *p, *tmp, *answer = NULL;
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        struct handle *h;

        pthread_mutex_lock(&t->lock);
        DL_FOREACH (t->open, h)
                if (h->inode == f->inode)
                        h->crowd = f->crowd;
        if (f->crowd.last_ms > 0)
                t->waiting.crowded_ms = now;
        DL_FOREACH_SAFE (t->waiting.list, p, tmp) {
                if (!p->whole || p->handle->inode != f->inode ||
                    !crowd_ends(&f->crowd, p->len <= page, p->asked_ms, now))
                        continue;
                p->handle->quick = p->handle->tries >= TRIES_MAPPED ? QUICK : 0;
                parked_try(t, p, now, &answer);
        }
        parked_unlock_and_answer(t, answer);
}

/* all_ms: when all processes were last looked at before; UINT64_MAX: they are not now. */
static void look(struct crowded_file *f, uint64_t all_ms, uint64_t now)
{
        uint64_t earliest = f->asked_ms, hidden_ms = f->hidden_ms;
        bool hangs = false;

        for (size_t i = 0; i < f->n && !hangs; i++) {
                enum waits w = process_waits_in_mmap(f->processes[i].pid, f->inode);

                hangs = w == WAITS;
                if (w == WAITS_UNKNOWN)
                        hidden_ms = first_of(hidden_ms, f->processes[i].idle_ms);
        }
        if (!hangs && all_ms < UINT64_MAX && anybody_waits_in_mmap(f->inode)) {
                hangs = true;
                f->crowd.alone_ms = 0; /* only those who opened it were looked at then */
                if (all_ms > earliest)
                        earliest = all_ms;
        }
        if (!hangs && hidden_ms > 0) {
                hangs = true;
                if (f->filled_ms > hidden_ms)
                        hidden_ms = f->filled_ms;
                if (hidden_ms > f->crowd.since_ms)
                        f->crowd = (struct crowd){.alone_ms = hidden_ms};
        }
        crowd_looked(&f->crowd, hangs, earliest, now);
}

void pages_check(struct torrent *t, uint64_t now)
{
        struct crowded_file file;
        uint64_t all_ms;
        bool look_at_all;

        pthread_mutex_lock(&t->lock);
        all_ms = t->waiting.looked_at_all_ms;
        look_at_all = now >= all_ms + LOOK_AT_ALL_MS ||
                      (t->waiting.crowded_ms > 0 && now < t->waiting.crowded_ms + CROWDED_MS);
        pthread_mutex_unlock(&t->lock);
        for (int i = 0; i < FILES_MAX && next_file(t, now, &file); i++) {
                if (look_at_all) {
                        pthread_mutex_lock(&t->lock);
                        t->waiting.looked_at_all_ms = now;
                        pthread_mutex_unlock(&t->lock);
                }
                look(&file, look_at_all ? all_ms : UINT64_MAX, now);
                end_reads_of(t, &file, now);
        }
}
