/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/buffer.h"
#include "common/intake.h"
#include "common/limits.h"
#include "ctl/ctl_list.h"

enum { HASH_BASE32 = 32 }; /* BEP 9: the older form */

/* Whether it is a magnet and no file: what it holds is magnetfs' to judge. */
static bool is_magnet(const char *s)
{
        return strncasecmp(s, "magnet:", strlen("magnet:")) == 0;
}

/* Whether what is no file is meant as a magnet. */
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

/* ---- what is said ---- */

enum { TEXT_CUT = 96 };

void ctl_source_label(const struct ctl_source *s, char label[CTL_LABEL_MAX])
{
        bool cut = strlen(s->text) > TEXT_CUT && (s->list || has_magnet(s->text));

        if (s->list)
                snprintf(label, CTL_LABEL_MAX, "%s:%zu: %.*s%s", s->list, s->line, TEXT_CUT,
                         s->text, cut ? "..." : "");
        else if (cut)
                snprintf(label, CTL_LABEL_MAX, "%.*s...", TEXT_CUT, s->text);
        else
                snprintf(label, CTL_LABEL_MAX, "%s",
                         strcmp(s->text, "-") == 0 ? "standard input" : s->text);
}

/* What the user may have meant by what is no magnet, no hash and no file. */
static void complain_of_none(struct ctl *c, const char *text, const char *label)
{
        size_t n = strlen(text);

        if (n == 0)
                ctl_fail(c, CTL_FAILED,
                         "An argument is empty; give a magnet, an info-hash or a .torrent file");
        else if (strncasecmp(text, "magnet", 6) == 0 || strstr(text, "xt=urn:"))
                ctl_fail(
                        c, CTL_FAILED,
                        "%s: not a magnet: it has to begin with magnet:? (and be quoted in a shell)",
                        label);
        else if (ctl_is_hex(text) && n >= HASH_BASE32)
                ctl_fail(c, CTL_FAILED, "%s: not an info-hash: it has %zu hex digits, not %d or %d",
                         label, n, CTL_HASH_V1, CTL_HASH_MAX);
        else if (strstr(text, "://"))
                ctl_fail(
                        c, CTL_FAILED,
                        "%s: web addresses are not fetched; download the .torrent and add the file",
                        label);
        else
                ctl_fail(c, CTL_FAILED,
                         "%s: no such file; a source is a magnet, an info-hash or a .torrent file",
                         label);
}

bool ctl_source_complain(struct ctl *c, const struct ctl_source *s, const char *link)
{
        char label[CTL_LABEL_MAX];

        if (has_magnet(link))
                return false;
        ctl_source_label(s, label);
        complain_of_none(c, link, label);
        return true;
}

/* ---- links ---- */

static int load_link(struct ctl *c, const struct ctl_source *s, const char *label,
                     struct ctl_loaded *l)
{
        l->kind = CTL_LINK;
        l->link = ctl_list_trim(s->text);
        if (strchr(l->link, '\n')) {
                ctl_fail(c, CTL_FAILED,
                         "%s: a magnet has no line breaks; give several as several arguments",
                         label);
                return -EINVAL;
        }
        /* magnetfs would take the next ones for the rest of a .torrent */
        if (intake_begins_torrent(l->link, strlen(l->link))) {
                complain_of_none(c, l->link, label);
                return -EINVAL;
        }
        return 0;
}

/* ---- files ---- */

/* Reads a file; what was read is there also with -EFBIG. -ENOTSUP: a line of a list names something
 * that might be waited for without end. */
static int read_file(const struct ctl_source *s, struct ctl_loaded *l)
{
        int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (s->list ? O_NONBLOCK : 0);
        bool standard = !s->list && strcmp(s->text, "-") == 0;
        _cleanup_close_ int fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                          : openat(s->folder, s->text, flags);
        size_t room = 0;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        l->piped = !S_ISREG(st.st_mode);
        if (s->list && l->piped && !S_ISDIR(st.st_mode))
                return -ENOTSUP;
        return buffer_read(fd, &l->data, &room, &l->len,
                           s->list ? TORRENT_BYTES_MAX : CTL_LIST_BYTES_MAX);
}

static bool is_named_torrent(const char *path)
{
        static const char suffix[] = ".torrent";
        size_t len = strlen(path), n = sizeof suffix - 1;

        return len > n && strcasecmp(path + len - n, suffix) == 0;
}

/* Says what a file is, of which r says how the reading of it went. */
static int judge_file(struct ctl *c, const struct ctl_source *s, const char *label, int r,
                      struct ctl_loaded *l)
{
        bool torrent = l->data && intake_begins_torrent(l->data, l->len);

        if (torrent && (r == -EFBIG || l->len > TORRENT_BYTES_MAX))
                ctl_fail(c, CTL_FAILED, "%s: too large for a .torrent file (over %u MiB)", label,
                         TORRENT_BYTES_MAX >> 20);
        else if (r == -ENOTSUP)
                ctl_fail(c, CTL_FAILED, "%s: not an ordinary file", label);
        else if (r < 0 && r != -EFBIG)
                ctl_fail(c, CTL_FAILED, "%s: cannot read the file: %s", label, strerror(-r));
        else if (torrent) {
                l->kind = CTL_TORRENT;
                return 0;
        } else if (s->list || is_named_torrent(s->text))
                ctl_fail(c, CTL_FAILED, "%s: not a .torrent file", label);
        else if (!ctl_list_is_text(l->data, l->len))
                ctl_fail(c, CTL_FAILED, "%s: neither a .torrent file nor a text that lists sources",
                         label);
        else if (r == -EFBIG)
                ctl_fail(c, CTL_FAILED, "%s: too large for a list of sources (over %u MiB)", label,
                         CTL_LIST_BYTES_MAX >> 20);
        else {
                l->kind = CTL_LIST;
                return 0;
        }
        free(l->data);
        l->data = NULL;
        return -EINVAL;
}

int ctl_source_load(struct ctl *c, const struct ctl_source *s, struct ctl_loaded *ret)
{
        char label[CTL_LABEL_MAX];
        int r;

        *ret = (struct ctl_loaded){.kind = CTL_LINK};
        ctl_source_label(s, label);
        if (is_magnet(s->text) || ctl_is_hash(s->text) || is_base32_hash(s->text))
                return load_link(c, s, label, ret);

        r = read_file(s, ret);
        if ((r == -ENOENT || r == -ENOTDIR || r == -ENAMETOOLONG) && s->text[0] != '\0')
                return load_link(c, s, label, ret);
        if (r == -ENOENT) {
                complain_of_none(c, s->text, label);
                return -EINVAL;
        }
        return judge_file(c, s, label, r, ret);
}
