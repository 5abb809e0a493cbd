/* SPDX-License-Identifier: MIT */
/* ctl_file.h: the control files of a mount: read whole, waited for, written. For one thread. All
 * calls that touch the mount are under the watchdog (ctl_watchdog.h). */
#ifndef FS_CTL_FILE_H
#define FS_CTL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl_mount.h"

/* No control file is larger: ten thousand torrents are 6 MB of status. */
#define CTL_READ_MAX (64U << 20)

#define CTL_NO_DEADLINE INT64_MAX

/* A control file that is read whole and may wait. */
struct ctl_file {
        int fd;     /* -1: not open */
        int result; /* -EAGAIN: waits; 0: whole, in data; else -errno of the read; -EFBIG: over
                       CTL_READ_MAX */
        char *data; /* len bytes and a NUL */
        size_t len, room;
};
#define CTL_FILE_INIT ((struct ctl_file){.fd = -1})

/* Opens path (beneath .magnetfs) and asks for it once; what came of it is in f->result. Never waits
 * for the swarm. Returns f->result unless that is -EAGAIN, which is 0 here. */
int ctl_file_open(const struct ctl_mount *m, const char *path, struct ctl_file *f);
void ctl_file_close(struct ctl_file *f);

/* Waits until at least one of the n files that wait has come to its result, or deadline_ms
 * (by clock_ms(); CTL_NO_DEADLINE). Returns how many did, 0 at the deadline or when none waits;
 * -errno of poll(). */
int ctl_file_wait(struct ctl_file *files, size_t n, int64_t deadline_ms);

/* The three above in one: -ETIME when the deadline passed. *ret has a NUL behind its end; the
 * caller frees it. */
int ctl_file_read(const struct ctl_mount *m, const char *path, int64_t deadline_ms, char **ret,
                  size_t *ret_len);

/* Writes len bytes to path, without truncating it. With ret, also reads the answer, a text, from
 * the same descriptor, after a failed write too: *ret is then set (maybe empty) also when the
 * result is the -errno of the write, and NULL when it could not be opened or read. The caller frees
 * it. */
int ctl_file_write(const struct ctl_mount *m, const char *path, const void *data, size_t len,
                   char **ret);

#endif
