/* SPDX-License-Identifier: MIT */
/* pages.c: who hangs behind a parked read that fills the page cache.
 *
 * The kernel holds the pages that such a read fills locked until its answer. For a file that is
 * open with FOPEN_DIRECT_IO mmap(2) first drops the file's pages, and for that waits for each lock
 * where nothing, not even SIGKILL, ends it; it holds mmap_lock meanwhile, so that ps and whoever
 * else looks at that process waits as well. So when a process that has the file open is found in
 * mmap(2), the reads before it end in EINTR. The kernel by itself asks again for what it read
 * ahead; programs call sendfile and splice again; a mapping whose page still does not come has
 * SIGBUS. The next in the kernel's queue for a page's lock may be passed over some times, so for a
 * moment the reads that come back are looked at with each tick. */
#include "torrent/linger.h"
#include "torrent/parked.h"

#include <errno.h>

#include <utlist.h>

#include "torrent/threads.h"

/* Nobody is looked for behind a read that is answered soon: its reader may be a mapping, which does
 * not get over an error. With the ticks of those that come back this makes two seconds at most. */
enum { PATIENCE_MS = 800 };
/* What a mapping asks for again, the one page that it needs, ended with what was read ahead of it:
 * the next error is its SIGBUS. So that page has a time of its own. */
enum { FAULT_BYTES = 4096, FAULT_MS = 500 };
/* So long after somebody hung every read is looked at. */
enum { CROWDED_MS = 1000 };
/* Besides those who have opened the file, which each tick looks at, somebody may have got it from
 * them (fork, SCM_RIGHTS): all processes are looked at so often. */
enum { LOOK_AT_ALL_MS = 1000 };
/* Bounds on what one tick looks at. */
enum { FILES_MAX = 16, PROCESSES_MAX = 64 };

/* Chooses a file that has such reads, and tells who has it open. False: there is none left. */
static bool next_file(struct torrent *t, uint64_t now, uint64_t *inode, pid_t *list, size_t *n)
{
        const struct handle *h;
        struct parked *p;
        bool found = false;

        *n = 0;
        pthread_mutex_lock(&t->lock);
        DL_FOREACH (t->waiting.list, p) {
                bool due = now >= p->asked_ms + PATIENCE_MS ||
                           (t->waiting.crowded_ms > 0 && now < t->waiting.crowded_ms + CROWDED_MS);

                if (!p->whole || p->crowd_ms == now || !due)
                        continue;
                if (!found) {
                        found = true;
                        *inode = p->handle->inode;
                }
                if (p->handle->inode == *inode)
                        p->crowd_ms = now;
        }
        DL_FOREACH (t->open, h) {
                size_t i = 0;

                if (!found || *n == PROCESSES_MAX)
                        break;
                if (h->inode != *inode || h->process <= 0)
                        continue;
                while (i < *n && list[i] != h->process)
                        i++;
                if (i == *n)
                        list[(*n)++] = h->process;
        }
        pthread_mutex_unlock(&t->lock);
        return found;
}

static void end_reads_of(struct torrent *t, uint64_t inode, uint64_t now)
{
        struct parked *p, *tmp, *answer = NULL;

        pthread_mutex_lock(&t->lock);
        t->waiting.crowded_ms = now;
        DL_FOREACH_SAFE (t->waiting.list, p, tmp) {
                if (!p->whole || p->handle->inode != inode)
                        continue;
                if (p->len <= FAULT_BYTES && now < p->asked_ms + FAULT_MS)
                        continue;
                linger_read(t, p);
                parked_settle(t, p, EINTR, &answer);
        }
        parked_unlock_and_answer(t, answer);
}

static bool somebody_hangs(uint64_t inode, const pid_t *processes, size_t n, bool look_at_all)
{
        for (size_t i = 0; i < n; i++)
                if (process_waits_in_mmap(processes[i], inode))
                        return true;
        return look_at_all && anybody_waits_in_mmap(inode);
}

void pages_check(struct torrent *t, uint64_t now)
{
        pid_t processes[PROCESSES_MAX];
        uint64_t inode = 0;
        bool look_at_all;
        size_t n;

        pthread_mutex_lock(&t->lock);
        look_at_all = now >= t->waiting.looked_at_all_ms + LOOK_AT_ALL_MS ||
                      (t->waiting.crowded_ms > 0 && now < t->waiting.crowded_ms + CROWDED_MS);
        pthread_mutex_unlock(&t->lock);
        for (int i = 0; i < FILES_MAX && next_file(t, now, &inode, processes, &n); i++) {
                if (look_at_all) {
                        pthread_mutex_lock(&t->lock);
                        t->waiting.looked_at_all_ms = now;
                        pthread_mutex_unlock(&t->lock);
                }
                if (somebody_hangs(inode, processes, n, look_at_all))
                        end_reads_of(t, inode, now);
        }
}
