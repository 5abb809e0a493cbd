/* magnetctl.h: what the parts of magnetctl share: magnetctl.c parses the command line and runs a
 * command of magnetctl_add.c (add, wait) or magnetctl_show.c (the others). One thread; a command
 * complains of what fails, goes on with its other arguments and leaves the outcome in ctl->result.
 */
#ifndef MAGNETFS_MAGNETCTL_H
#define MAGNETFS_MAGNETCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "ctl_mount.h"
#include "ctl_table.h"

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TIMED_OUT = 3 };

#define HASH_MAX 64 /* hex digits of a v2 info-hash (BEP 52) */
#define HASH_V1  40

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(ctl_freep)
#define _cleanup_json_ _cleanup_(ctl_json_freep)

static inline void ctl_freep(void *p)
{
        free(*(void **)p);
}

static inline void ctl_json_freep(cJSON **p)
{
        cJSON_Delete(*p);
}

struct options {
        const char *mountpoint;
        bool temporary, wait, watch, json, off;
        long timeout_s; /* -1: none */
};

struct ctl {
        struct options opt;
        struct ctl_mount *mount;
        struct ctl_style style; /* of stdout */
        char **args;
        size_t n_args;
        bool told_of_mount;    /* that it is gone or not ours is said once */
        enum exit_code result; /* the worst so far */
};

/* A torrent that the command line means. */
struct ctl_target {
        char hash[HASH_MAX + 1]; /* lower case */
        const char *arg;         /* as the user called it */
};

/* magnetctl.c: messages */

/* One line on stderr. What it quotes may come from a torrent, so it is made safe as a whole. */
__attribute__((format(printf, 1, 2))) void ctl_complain(const char *format, ...);

/* The same with ": " and the text of r behind, and notes the failure. Where r is about the mount
 * itself, it says that instead. */
__attribute__((format(printf, 3, 4))) void ctl_complain_errno(struct ctl *c, int r,
                                                              const char *format, ...);

void ctl_fail(struct ctl *c, enum exit_code code);

/* magnetctl_show.c: the control files as JSON, the torrents of the arguments */

/* A string member of a JSON object (NULL is none); NULL: there is none. */
const char *ctl_json_text(const cJSON *object, const char *key);

/* The same of an info-hash, which becomes part of a path: NULL if it is not made of 40 or 64 hex
 * digits. */
const char *ctl_json_hash(const cJSON *object, const char *key);

bool ctl_is_hex(const char *s);
bool ctl_is_hash(const char *s);

void ctl_target_set(struct ctl_target *t, const char *hash, const char *arg);

/* The torrents of the arguments, each once, *ret_n of them; complains of those there are none for.
 * The caller frees *ret. 0, or -errno when there is no status to look into (complained). */
int ctl_find_targets(struct ctl *c, struct ctl_target **ret, size_t *ret_n);

/* TERM is not set, or says that it knows no escape sequences. */
bool ctl_terminal_is_dumb(void);

/* magnetctl_add.c: waiting for the metadata */

/* When --timeout ends, from now. */
int64_t ctl_deadline(const struct ctl *c);

/* torrents/<hash>/files */
void ctl_files_path(char buf[128], const char *hash);

/* Why a read of that failed with r, and with which code magnetctl then ends. */
void ctl_complain_metadata(struct ctl *c, const char *hash, int r);

/* The commands */
void cmd_add(struct ctl *c);
void cmd_wait(struct ctl *c);
void cmd_list(struct ctl *c);
void cmd_status(struct ctl *c);
void cmd_files(struct ctl *c);
void cmd_keep(struct ctl *c);
void cmd_remove(struct ctl *c);

#endif
