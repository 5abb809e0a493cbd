/* SPDX-License-Identifier: MIT */
/* ctl_add.c: the command add. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buffer.h"
#include "common/control_names.h"
#include "common/intake.h"
#include "common/limits.h"
#include "ctl/ctl.h"
#include "ctl/ctl_file.h"
#include "ctl/ctl_torrents.h"
#include "ctl/ctl_wait.h"

enum { HASH_BASE32 = 32 }; /* BEP 9: the older form */

/* Whether an argument is a magnet and no file: what it holds is magnetfs' to judge. */
static bool is_magnet(const char *s)
{
        return strncasecmp(s, "magnet:", strlen("magnet:")) == 0;
}

/* Whether an argument that is no file is meant as a magnet. */
static bool has_magnet(const char *s)
{
        return strcasestr(s, "magnet:") || strcasestr(s, "magnet%3a");
}

static bool is_base32_hash(const char *s)
{
        return strlen(s) == HASH_BASE32 &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567") ==
                       HASH_BASE32;
}

/* What an argument is called in messages: a magnet with its trackers would bury the reason. */
#define LABEL_MAX (PATH_MAX + 1)
enum { MAGNET_CUT = 96 };

static void set_label(char label[LABEL_MAX], const char *arg)
{
        if (has_magnet(arg) && strlen(arg) > MAGNET_CUT)
                snprintf(label, LABEL_MAX, "%.*s...", MAGNET_CUT, arg);
        else
                snprintf(label, LABEL_MAX, "%s", arg);
}

/* What the user may have meant by an argument that is no magnet, no hash and no file. */
static void complain_source(struct ctl *c, const char *arg, const char *label)
{
        size_t n = strlen(arg);

        if (n == 0)
                ctl_fail(c, CTL_FAILED,
                         "An argument is empty; give a magnet, an info-hash or a .torrent file");
        else if (strncasecmp(arg, "magnet", 6) == 0 || strstr(arg, "xt=urn:"))
                ctl_fail(
                        c, CTL_FAILED,
                        "%s: not a magnet: it has to begin with magnet:? (and be quoted in a shell)",
                        label);
        else if (ctl_is_hex(arg) && n >= HASH_BASE32)
                ctl_fail(c, CTL_FAILED, "%s: not an info-hash: it has %zu hex digits, not %d or %d",
                         label, n, CTL_HASH_V1, CTL_HASH_MAX);
        else if (strstr(arg, "://"))
                ctl_fail(
                        c, CTL_FAILED,
                        "%s: web addresses are not fetched; download the .torrent and add the file",
                        label);
        else
                ctl_fail(c, CTL_FAILED,
                         "%s: no such file; a source is a magnet, an info-hash or a .torrent file",
                         label);
}

static int read_torrent_file(const char *path, char **ret, size_t *ret_len)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ char *data = NULL;
        size_t len = 0, room = 0;
        int r;

        if (fd < 0)
                return -errno;
        r = buffer_read(fd, &data, &room, &len, TORRENT_BYTES_MAX);
        if (r < 0)
                return r;
        *ret = data;
        *ret_len = len;
        data = NULL;
        return 0;
}

static int load_link(struct ctl *c, const char *arg, const char *label, char **ret, size_t *ret_len)
{
        static const char blanks[] = " \t\r\n";
        size_t len;
        int r;

        arg += strspn(arg, blanks);
        len = strlen(arg);
        while (len > 0 && strchr(blanks, arg[len - 1]))
                len--;
        if (memchr(arg, '\n', len)) {
                ctl_fail(c, CTL_FAILED,
                         "%s: a magnet has no line breaks; give several as several arguments",
                         label);
                return -EINVAL;
        }
        r = len > INT_MAX ? -1 : asprintf(ret, "%.*s\n", (int)len, arg);
        if (r < 0) {
                *ret = NULL;
                ctl_fail(c, CTL_FAILED, "Out of memory");
                return -EINVAL;
        }
        *ret_len = (size_t)r;
        return 0;
}

enum source { SOURCE_LINK, SOURCE_FILE };

/* The bytes to write to `add` for one argument, and what it is. Whatever is no file may be a magnet
 * or an info-hash to magnetfs. -EINVAL: complained. */
static int load_source(struct ctl *c, const char *arg, const char *label, char **ret,
                       size_t *ret_len, enum source *ret_source)
{
        int r;

        *ret_source = SOURCE_LINK;
        if (is_magnet(arg) || ctl_is_hash(arg) || is_base32_hash(arg))
                return load_link(c, arg, label, ret, ret_len);

        r = read_torrent_file(arg, ret, ret_len);
        if ((r == -ENOENT || r == -ENOTDIR || r == -ENAMETOOLONG) && arg[0] != '\0')
                return load_link(c, arg, label, ret, ret_len);
        *ret_source = SOURCE_FILE;
        if (r == -ENOENT)
                complain_source(c, arg, label);
        else if (r == -EFBIG)
                ctl_fail(c, CTL_FAILED, "%s: too large for a .torrent file (over %u MiB)", label,
                         TORRENT_BYTES_MAX >> 20);
        else if (r < 0)
                ctl_fail(c, CTL_FAILED, "%s: cannot read the file: %s", label, strerror(-r));
        else if (!intake_begins_torrent(*ret, *ret_len))
                ctl_fail(c, CTL_FAILED, "%s: not a .torrent file", label);
        else
                return 0;
        return -EINVAL;
}

/* What an answer of `add` held. */
struct answer {
        size_t taken, refused;
};

/* Tells of the torrents in an answer of `add`, a JSON object a line. With --wait those that were
 * taken go to targets instead, *n of max. */
static struct answer read_answer(struct ctl *c, const char *label, char *text,
                                 struct ctl_target *targets, size_t *n, size_t max)
{
        struct answer a = {0};
        char *save = NULL;

        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_json_ cJSON *json = cJSON_Parse(line);
                const char *hash = ctl_json_hash(json, "infoHash"),
                           *name = ctl_json_text(json, "name"),
                           *error = ctl_json_text(json, "error");

                if (error) {
                        ctl_fail(c, CTL_FAILED, "%s: %s", label, error);
                        a.refused++;
                } else if (hash) {
                        a.taken++;
                        if (!c->opt.wait)
                                ctl_put_torrent(c, hash, name ? name : "-");
                        else if (*n < max)
                                ctl_target_set(&targets[(*n)++], hash, NULL);
                }
        }
        return a;
}

/* Why `add` failed with r, or gave no answer (0), where it doesn't say so itself. */
static void complain_add(struct ctl *c, const char *label, enum source source, int r)
{
        /* magnetfs still waited for the rest when the file was closed */
        if (source == SOURCE_FILE && (r == 0 || r == -EINVAL))
                ctl_fail(c, CTL_FAILED, "%s: the .torrent file is not complete; get it again",
                         label);
        else if (r == -EINVAL)
                ctl_fail(c, CTL_FAILED, "%s: neither a magnet nor an info-hash to magnetfs", label);
        else if (r == -E2BIG)
                ctl_fail(c, CTL_FAILED, "%s: over a limit of magnetfs (size, pieces, files)",
                         label);
        else if (r < 0)
                ctl_fail_errno(c, r, "%s: cannot add it", label);
        else
                ctl_fail(c, CTL_FAILED, "%s: magnetfs gave no answer; see magnetctl list", label);
}

static void add_one(struct ctl *c, const char *arg, struct ctl_target *targets, size_t *n,
                    size_t max)
{
        _cleanup_free_ char *data = NULL, *text = NULL;
        char label[LABEL_MAX];
        struct answer a = {0};
        enum source source;
        size_t len = 0;
        int r;

        set_label(label, arg);
        if (load_source(c, arg, label, &data, &len, &source) < 0)
                return;
        r = ctl_file_write(c->mount, c->opt.temporary ? NAME_ADD_TEMPORARY : NAME_ADD, data, len,
                           &text);
        if (r == -EINVAL && source == SOURCE_LINK && !has_magnet(arg)) {
                complain_source(c, arg, label);
                return;
        }
        /* of a full disk we know more to say than the answer */
        if (text && r != -ENOSPC && r != -EDQUOT)
                a = read_answer(c, label, text, targets, n, max);
        if (a.refused == 0 && (r < 0 || a.taken == 0))
                complain_add(c, label, source, r);
}

void ctl_add(struct ctl *c)
{
        _cleanup_free_ struct ctl_target *targets = calloc(c->n_args, sizeof *targets);
        size_t n = 0;

        if (!targets) {
                ctl_fail(c, CTL_FAILED, "Out of memory");
                return;
        }
        for (size_t i = 0; i < c->n_args; i++)
                add_one(c, c->args[i], targets, &n, c->n_args);
        ctl_wait_for(c, targets, n);
}
