/* SPDX-License-Identifier: MIT */
/* ctl_wait.h: waiting for the metadata of torrents. */
#ifndef FS_CTL_WAIT_H
#define FS_CTL_WAIT_H

#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl_torrents.h"

/* When --timeout ends, from now: a deadline of ctl_file.h. */
int64_t ctl_deadline(const struct ctl *c);

/* The control file `files` of a torrent, a read of which waits. */
enum { CTL_FILES_PATH_MAX = 128 };
void ctl_files_path(char buf[CTL_FILES_PATH_MAX], const char *hash);

/* Complains of a read of it that failed with r: CTL_TIMED_OUT where time ran out. */
void ctl_fail_metadata(struct ctl *c, const char *hash, int r);

/* A line on stdout. */
void ctl_put_torrent(const struct ctl *c, const char *hash, const char *name);

/* Waits for all of them, until --timeout, and puts or complains of each as it comes. */
void ctl_wait_for(struct ctl *c, const struct ctl_target *targets, size_t n);

#endif
