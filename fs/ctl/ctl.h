/* SPDX-License-Identifier: MIT */
/* ctl.h: what the parts of magnetctl share. ctl_main.c has ctl_options.c parse the command line and
 * runs a command: of ctl_add.c, ctl_wait.c, ctl_show.c (list, status, files), ctl_change.c (keep,
 * remove), ctl_cache.c (cache, evict, pin, unpin) or ctl_export.c. One thread; a command complains
 * of what fails, goes on with its other arguments and leaves the outcome in ctl->result. */
#ifndef FS_CTL_H
#define FS_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "ctl/ctl_json.h"
#include "ctl/ctl_mount.h"
#include "ctl/ctl_text.h"

enum ctl_exit { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_TIMED_OUT = 3 };

struct ctl_options {
        const char *mountpoint; /* NULL: the only one there is */
        bool temporary, wait, watch, json, off, all;
        long timeout_s;      /* -1: none */
        uint64_t size_bytes; /* 0: none */
};

struct ctl {
        struct ctl_options opt;
        struct ctl_mount *mount;
        struct ctl_style style; /* of stdout */
        char **args;
        size_t n_args;
        bool of_torrents;     /* that is what the arguments name */
        bool told_of_mount;   /* that it is gone or not ours is said once */
        enum ctl_exit result; /* the worst so far */
};

/* ctl_message.c: what is said on stderr */

/* One line. What it quotes may come from a torrent, so it is made safe as a whole. */
__attribute__((format(printf, 1, 2))) void ctl_complain(const char *format, ...);

/* The same, and the outcome is code from here on, unless it is CTL_FAILED already. */
__attribute__((format(printf, 3, 4))) void ctl_fail(struct ctl *c, enum ctl_exit code,
                                                    const char *format, ...);

/* The same with ": " and the reason of r (-errno) behind; the outcome is CTL_FAILED. Where r is
 * about the mount itself it says that instead, once. */
__attribute__((format(printf, 3, 4))) void ctl_fail_errno(struct ctl *c, int r, const char *format,
                                                          ...);

/* Whether what the locale's programs write is UTF-8. */
bool ctl_locale_is_utf8(void);

/* The commands */
void ctl_add(struct ctl *c);
void ctl_wait(struct ctl *c);
void ctl_list(struct ctl *c);
void ctl_status(struct ctl *c);
void ctl_files(struct ctl *c);
void ctl_keep(struct ctl *c);
void ctl_remove(struct ctl *c);
void ctl_export(struct ctl *c);
void ctl_cache(struct ctl *c);
void ctl_evict(struct ctl *c);
void ctl_pin(struct ctl *c);
void ctl_unpin(struct ctl *c);

#endif
