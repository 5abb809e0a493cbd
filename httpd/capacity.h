/* SPDX-License-Identifier: MIT */
/* capacity.h: how many threads this process can have: a container or a user has a bound of tasks
 * (pids.max, ulimit -u), a process one of addresses (ulimit -v). civetweb does not notice when its
 * threads take all there is and the one that accepts connections can't be made any more. */
#ifndef HTTPD_CAPACITY_H
#define HTTPD_CAPACITY_H

/* Makes threads until wanted of them exist at the same time or no more can be made, ends them again
 * and returns how many there were. Each is given as much address space as a thread of civetweb and
 * what it reads into take. Blocks for milliseconds; for those, others may find no room for a
 * thread.
 */
unsigned capacity_threads(unsigned wanted);

#endif
