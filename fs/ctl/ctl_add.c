/* SPDX-License-Identifier: MIT */
/* ctl_add.c: the command add. Links, which are short, are gathered and given to magnetfs many at a
 * time; they are added in the order in which they came, .torrent files in between. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/control_names.h"
#include "ctl/ctl.h"
#include "ctl/ctl_file.h"
#include "ctl/ctl_list.h"
#include "ctl/ctl_source.h"
#include "ctl/ctl_torrents.h"
#include "ctl/ctl_wait.h"

/* What is written at once: what the kernel hands to magnetfs as one write is taken whole or, when
 * one of it is wrong, not at all. */
enum { BATCH_LINKS = 1024, BATCH_BYTES = CTL_LIST_LINE_MAX };

struct link {
        struct ctl_source source;
        const char *text;
        size_t len;
};

struct adding {
        struct ctl *c;
        struct link links[BATCH_LINKS]; /* that wait to be written, n_links of them */
        size_t n_links, bytes;
        struct ctl_target *targets; /* with --wait: what was taken */
        size_t n_targets, room;     /* room: of so many */
};

/* ---- what magnetfs answers ---- */

static void take_target(struct adding *a, const char *hash)
{
        if (a->n_targets == a->room) {
                size_t room = a->room ? 2 * a->room : 64;
                struct ctl_target *grown = reallocarray(a->targets, room, sizeof *grown);

                if (!grown) {
                        ctl_fail(a->c, CTL_FAILED, "%s: cannot wait for it: out of memory", hash);
                        return;
                }
                a->targets = grown;
                a->room = room;
        }
        ctl_target_set(&a->targets[a->n_targets++], hash, NULL);
}

/* What an answer of `add` held. */
struct answer {
        size_t taken, refused;
};

/* Tells of the torrents in an answer of `add`, a JSON object a line, in the order in which they
 * were written. With --wait those that were taken become targets instead. Why the next of the
 * sources was refused is said unless mute. */
static struct answer read_answer(struct adding *a, const struct link *links, size_t n, char *text,
                                 bool mute)
{
        struct answer found = {0};
        char *save = NULL;

        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_json_ cJSON *json = cJSON_Parse(line);
                const char *hash = ctl_json_hash(json, "infoHash"),
                           *name = ctl_json_text(json, "name"),
                           *error = ctl_json_text(json, "error");

                if (error && !mute) {
                        size_t next = found.taken < n ? found.taken : n - 1;
                        char label[CTL_LABEL_MAX];

                        ctl_source_label(&links[next].source, label);
                        ctl_fail(a->c, CTL_FAILED, "%s: %s", label, error);
                        found.refused++;
                } else if (!error && hash) {
                        found.taken++;
                        if (a->c->opt.wait)
                                take_target(a, hash);
                        else
                                ctl_put_torrent(a->c, hash, name ? name : "-");
                }
        }
        return found;
}

/* Why `add` failed with r, or gave no answer (0), where it doesn't say so itself. */
static void complain(struct ctl *c, const struct ctl_source *s, enum ctl_kind kind, int r)
{
        char label[CTL_LABEL_MAX];

        ctl_source_label(s, label);
        /* magnetfs still waited for the rest when the file was closed */
        if (kind == CTL_TORRENT && (r == 0 || r == -EINVAL))
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

/* Tells what became of what was written for n sources, which r says the end of. Returns how many
 * are done with: those that were taken, and the one that was not. */
static size_t tell(struct adding *a, const struct link *links, size_t n, enum ctl_kind kind, int r,
                   char *text)
{
        struct answer found = {0};

        /* of a full disk we know more to say than the answer */
        if (text)
                found = read_answer(a, links, n, text, r == -ENOSPC || r == -EDQUOT);
        if (r == 0 && found.refused == 0 && found.taken >= n)
                return n;
        if (found.taken >= n)
                found.taken = n - 1;
        if (found.refused == 0)
                complain(a->c, &links[found.taken].source, kind, r);
        return found.taken + 1;
}

/* ---- what is written ---- */

static int write_add(struct adding *a, const char *data, size_t len, char **ret)
{
        return ctl_file_write(a->c->mount, a->c->opt.temporary ? NAME_ADD_TEMPORARY : NAME_ADD,
                              data, len, ret);
}

static int write_links(struct adding *a, const struct link *links, size_t n, char **ret)
{
        _cleanup_free_ char *data = NULL;
        size_t room = 0, len = 0, needed = 0;
        int r;

        for (size_t i = 0; i < n; i++)
                needed += links[i].len + 1;
        r = buffer_grow(&data, &room, needed);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                memcpy(data + len, links[i].text, links[i].len);
                len += links[i].len;
                data[len++] = '\n';
        }
        return write_add(a, data, len, ret);
}

/* Of links that magnetfs refused as one, halves are tried, down to the one that is wrong: so deep
 * as a batch can be halved. */
static void add_links(struct adding *a, const struct link *links, size_t n)
{
        while (n > 0 && !a->c->told_of_mount) {
                _cleanup_free_ char *text = NULL;
                int r = write_links(a, links, n, &text);
                size_t done = n / 2;

                if (r == -EINVAL && n > 1)
                        add_links(a, links, done);
                else if (r == -EINVAL && ctl_source_complain(a->c, &links->source, links->text))
                        done = n;
                else
                        done = tell(a, links, n, CTL_LINK, r, text);
                links += done;
                n -= done;
        }
}

static void flush_links(struct adding *a)
{
        add_links(a, a->links, a->n_links);
        a->n_links = a->bytes = 0;
}

static void add_link(struct adding *a, const struct ctl_source *s, const char *text)
{
        size_t len = strlen(text);

        if (a->n_links == BATCH_LINKS || a->bytes + len + 1 > BATCH_BYTES)
                flush_links(a);
        a->links[a->n_links++] = (struct link){*s, text, len};
        a->bytes += len + 1;
}

static void add_torrent(struct adding *a, const struct ctl_source *s, const struct ctl_loaded *l)
{
        struct link link = {.source = *s};
        _cleanup_free_ char *text = NULL;
        int r;

        flush_links(a);
        r = write_add(a, l->data, l->len, &text);
        (void)tell(a, &link, 1, CTL_TORRENT, r, text);
}

/* ---- what is given ---- */

static void add_line(struct adding *a, const struct ctl_source *s)
{
        struct ctl_loaded l;

        if (strlen(s->text) > CTL_LIST_LINE_MAX) {
                char label[CTL_LABEL_MAX];

                ctl_source_label(s, label);
                ctl_fail(a->c, CTL_FAILED, "%s: the line has %zu bytes; at most %d are taken",
                         label, strlen(s->text), CTL_LIST_LINE_MAX);
                return;
        }
        if (ctl_source_load(a->c, s, &l) < 0)
                return;
        if (l.kind == CTL_LINK)
                add_link(a, s, l.link);
        else
                add_torrent(a, s, &l);
        free(l.data);
}

/* The folder that a list's paths are relative to: that of its file. AT_FDCWD: the working
 * directory, or it cannot be opened. */
static int open_folder(const char *path)
{
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *folder = NULL;
        int fd;

        if (!slash)
                return AT_FDCWD;
        folder = strndup(path, (size_t)(slash - path) + 1);
        fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        return fd < 0 ? AT_FDCWD : fd;
}

static void add_list(struct adding *a, const char *path, struct ctl_loaded *loaded)
{
        struct ctl_list list = {.rest = loaded->data};
        int folder = loaded->piped ? AT_FDCWD : open_folder(path);
        char label[CTL_LABEL_MAX];

        flush_links(a);
        ctl_source_label(&(struct ctl_source){.text = (char *)path}, label);
        /* What comes through a pipe may be nothing, as may a list of no torrents, with its title.
         */
        if (!loaded->piped && !*ctl_list_trim(loaded->data))
                ctl_fail(a->c, CTL_FAILED,
                         "%s: the file is empty; a source is a magnet, an info-hash, a .torrent "
                         "file or a list of these",
                         label);
        for (char *line = ctl_list_next(&list); line && !a->c->told_of_mount;
             line = ctl_list_next(&list))
                add_line(a, &(struct ctl_source){label, list.number, folder, line});
        flush_links(a); /* the text goes with this function */
        if (folder >= 0)
                close(folder);
}

static void add_argument(struct adding *a, char *arg)
{
        struct ctl_source s = {.folder = AT_FDCWD, .text = arg};
        struct ctl_loaded l;

        if (ctl_source_load(a->c, &s, &l) < 0)
                return;
        if (l.kind == CTL_LINK)
                add_link(a, &s, l.link);
        else if (l.kind == CTL_TORRENT)
                add_torrent(a, &s, &l);
        else
                add_list(a, arg, &l);
        free(l.data);
}

void ctl_add(struct ctl *c)
{
        _cleanup_free_ struct adding *a = calloc(1, sizeof *a);

        if (!a) {
                ctl_fail(c, CTL_FAILED, "Out of memory");
                return;
        }
        a->c = c;
        for (size_t i = 0; i < c->n_args; i++)
                add_argument(a, c->args[i]);
        flush_links(a);
        ctl_wait_for(c, a->targets, a->n_targets);
        free(a->targets);
}
