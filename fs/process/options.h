/* SPDX-License-Identifier: MIT */
/* options.h: the command line of magnetfs. One table holds each option's name, type, range, default
 * and help. */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bt.h"
#include "common/log.h"
#include "torrent/fill.h"
#include "torrent/life.h"

/* How often an option may be given that may be repeated, for the sidecar. */
enum { OPTIONS_REPEATED_MAX = 64 };

struct options {
        char *mountpoint; /* as given */
        char *source;     /* what stands before it, or NULL */
        bool foreground, allow_other, no_http, loopback_peers, help, version;
        /* of -o alone, as mount(8) has them */
        bool read_only, nonempty;
        uid_t uid; /* -1: the mounter's */
        gid_t gid; /* -1: the mounter's */
        mode_t umask;
        uint64_t max_read;  /* 0: the kernel's own */
        char *fuse_options; /* the rest of it, for libfuse */
        char *state_dir, *cache_dir;
        uint64_t cache_size, min_free;
        char *http; /* ADDR:PORT */
        char **allowed_hosts, **origins;
        unsigned n_allowed_hosts, n_origins;
        char *token_file, *token; /* NULL or "auto" */
        uint64_t streams;
        uint64_t client_timeout_s, read_timeout_s, metadata_timeout_s, retries, retry_delay_s,
                idle_timeout_s;
        enum fill fill;
        enum stay_awake stay_awake;
        uint64_t awake_max;
        struct bt_setting *settings;
        unsigned n_settings;
        char *on_event;
        enum log_level log_level;
        int ready_fd; /* -1: none */
};

/* Fills o from the command line. false: a message that says what is wrong was printed. */
bool options_parse(int argc, char **argv, struct options *o);
void options_free(struct options *o);
void options_help(void);

#endif
