/* SPDX-License-Identifier: MIT */
/* threads.h: what /proc tells of a thread that waits in a read. Blocking on /proc only; any thread.
 */
#ifndef FS_THREADS_H
#define FS_THREADS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* It is no more, or a zombie: it takes no answer. A thread of another pid namespace (0), and one of
 * which nothing can be learnt, count as being there. */
bool thread_is_gone(pid_t tid);
/* A deadly signal is pending: SIGKILL, or one that is neither handled nor blocked nor ignored and
 * ends the process by default. False when that can't be told. */
bool thread_is_dying(pid_t tid);
/* A signal is pending that it will notice: handled or deadly, not blocked, not ignored. Also true
 * when that can't be told. Signals that stop the process or let it go on are none: no local file
 * system fails a read for those; a stop waits for the read's end.
 *
 * The kernel sends FUSE_INTERRUPT for any signal that wakes the reader, ignored ones too: a SIGCHLD
 * that comes while the thread which forks has signals blocked (posix_spawn and vfork do) wakes
 * another one. No local file system fails a read for that. */
bool thread_is_signalled(pid_t tid);
/* Whether the two above can be told of it. */
bool thread_is_seen(pid_t tid);

/* The process (thread group) of a thread; 0: unknown. */
pid_t thread_process(pid_t tid);
/* Where the mount is, whose files those below are of. Once, when it is there; asks nobody. */
void threads_know_mount(const char *mountpoint);
/* What can be told of a call that a thread may wait in. */
enum waits { WAITS_NOT, WAITS_UNKNOWN, WAITS };
/* Whether a thread of the process waits within mmap(2) of a file of the mount with that inode
 * number. Looks at a bounded number of threads. Unknown where one waits for something and its call
 * can't be seen: that takes the same user, and what kernel.yama.ptrace_scope allows. */
enum waits process_waits_in_mmap(pid_t pid, uint64_t inode);
/* The same of all processes; false where that can't be told. Some milliseconds where there are
 * many. */
bool anybody_waits_in_mmap(uint64_t inode);

#endif
