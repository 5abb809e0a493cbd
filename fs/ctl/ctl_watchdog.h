/* SPDX-License-Identifier: MIT */
/* ctl_watchdog.h: calls on a mount whose daemon may not answer. Such a call can't be taken back,
 * and not even SIGKILL ends the task that made it. So all calls on the mount are made in a child
 * process, each between ctl_guard() and ctl_unguard(), and the process is given up when one takes
 * too long. For one thread. */
#ifndef FS_CTL_WATCHDOG_H
#define FS_CTL_WATCHDOG_H

/* Makes the child: returns 0 in it, or -errno when there is none. The caller stays behind and never
 * returns: it ends as the child does, or with status 1 once the child is given up. To be called
 * with one thread and nothing buffered. */
int ctl_watchdog_apart(void);

/* Makes ctl_guard() work. -errno of timer_create(). */
int ctl_watchdog_start(void);

/* The calls on the mount until ctl_unguard() may take 30 s, and as long as is added: else the
 * process ends with status 1 and a line on stderr. Neither blocks, and errno survives both. */
void ctl_guard(unsigned added_s);
void ctl_unguard(void);

#endif
