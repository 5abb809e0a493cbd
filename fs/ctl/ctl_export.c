/* SPDX-License-Identifier: MIT */
/* ctl_export.c: the command export. All is written in a folder of its own beside FILE first, and
 * takes its place when it is complete and on the disk: FILE, and what it names, is never half of
 * something. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/buffer.h"
#include "common/control_names.h"
#include "common/intake.h"
#include "ctl/ctl.h"
#include "ctl/ctl_file.h"
#include "ctl/ctl_list.h"
#include "ctl/ctl_torrents.h"

#define HEADER "# Torrents of a magnetfs, one a line. To read them back: magnetctl add FILE\n"

/* Of FILE's name and of what is written beside it. */
#define TORRENTS_SUFFIX ".torrents"
#define DRAFT_SUFFIX    ".XXXXXX"
/* In the draft's folder: no info-hash is called so. */
#define DRAFT_LIST "list"

/* A magnet or the metadata of private torrents names an account at a tracker. */
enum { FILE_MODE = 0600, FOLDER_MODE = 0700 };

enum { PATH_OF_TORRENT_MAX = 128, NAME_OF_TORRENT_MAX = CTL_HASH_MAX + sizeof ".torrent" };

struct exporting {
        struct ctl *c;
        const char *file;    /* as the user calls it */
        bool there;          /* it is to be replaced */
        char *folder, *name; /* its parts; the caller frees them */
        int folder_fd;
        char *draft; /* the path of the draft's folder */
        int draft_fd;
        FILE *list;                       /* in there */
        char (*hashes)[CTL_HASH_MAX + 1]; /* of the .torrent files in there, n of them */
        size_t n, room;
};

static int fail_write(struct exporting *x, const char *what, int r)
{
        ctl_fail(x->c, CTL_FAILED, "Cannot write %s: %s%s", what, strerror(-r),
                 x->there ? "; the one that is there is untouched" : "");
        return r;
}

static void name_torrent(char name[NAME_OF_TORRENT_MAX], const char *hash)
{
        snprintf(name, NAME_OF_TORRENT_MAX, "%s.torrent", hash);
}

/* ---- who interrupts it ---- */

static volatile sig_atomic_t interrupted; /* the signal; 0: none */

static void note_signal(int signum)
{
        interrupted = signum;
}

/* From here on an interruption leaves time to clean up. */
static void note_signals(void)
{
        static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
        struct sigaction action = {.sa_handler = note_signal}, before;

        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
                if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
                        sigaction(signals[i], &action, NULL);
}

static void end_if_interrupted(void)
{
        if (!interrupted)
                return;
        signal(interrupted, SIG_DFL);
        raise(interrupted);
}

/* ---- what the mount says ---- */

/* The magnet of a torrent; the caller frees it. -ENOENT: the torrent is gone; else complained. */
static int read_magnet(struct ctl *c, const char *hash, char **ret)
{
        char path[PATH_OF_TORRENT_MAX];
        _cleanup_free_ char *text = NULL;
        size_t len = 0;
        int r;

        snprintf(path, sizeof path, NAME_TORRENTS "/%s/" NAME_MAGNET, hash);
        r = ctl_file_read(c->mount, path, CTL_NO_DEADLINE, &text, &len);
        if (r == -ENOENT || r == -ESTALE)
                return -ENOENT;
        if (r == 0 && (strncasecmp(text, "magnet:", strlen("magnet:")) != 0 ||
                       !ctl_list_is_text(text, len) || strcspn(text, "\n") + 1 < len))
                r = -EBADMSG;
        if (r < 0) {
                ctl_fail_errno(c, r, "%s: cannot read its magnet", hash);
                return r;
        }
        *ret = ctl_list_trim(text);
        text = NULL;
        return 0;
}

/* The .torrent of a torrent; the caller frees it. -ENODATA: it has none to give, so that its magnet
 * has to do; else complained. */
static int read_torrent(struct ctl *c, const char *hash, char **ret, size_t *ret_len)
{
        char path[PATH_OF_TORRENT_MAX];
        _cleanup_free_ char *data = NULL;
        int r;

        snprintf(path, sizeof path, NAME_TORRENTS "/%s/" NAME_TORRENT, hash);
        r = ctl_file_read(c->mount, path, CTL_NO_DEADLINE, &data, ret_len);
        /* -ENOENT: an older magnetfs, or the torrent is gone */
        if (r == -ENODATA || r == -ENOENT || r == -ESTALE)
                return -ENODATA;
        if (r == 0 && !intake_begins_torrent(data, *ret_len))
                r = -EBADMSG;
        if (r < 0) {
                ctl_fail_errno(c, r, "%s: cannot read its metadata, only its magnet is exported",
                               hash);
                return c->told_of_mount ? r : -ENODATA;
        }
        *ret = data;
        data = NULL;
        return 0;
}

/* ---- the standard output ---- */

static int put_magnet(struct exporting *x, const char *hash)
{
        _cleanup_free_ char *magnet = NULL;
        int r = read_magnet(x->c, hash, &magnet);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        ctl_text_put(stdout, magnet, 0, &x->c->style);
        putchar('\n');
        return 0;
}

/* ---- the draft ---- */

static int begin_draft(struct exporting *x)
{
        int fd, r;

        if (asprintf(&x->draft, "%s/%s" DRAFT_SUFFIX, x->folder, x->name) < 0) {
                x->draft = NULL;
                return -ENOMEM;
        }
        if (!mkdtemp(x->draft)) {
                r = -errno;
                free(x->draft);
                x->draft = NULL;
                return r;
        }
        x->draft_fd = open(x->draft, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (x->draft_fd < 0)
                return -errno;
        fd = openat(x->draft_fd, DRAFT_LIST, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
        if (fd < 0)
                return -errno;
        x->list = fdopen(fd, "w");
        if (!x->list) {
                r = -errno;
                close(fd);
                return r;
        }
        return fputs(HEADER, x->list) < 0 ? -errno : 0;
}

static int draft_torrent(struct exporting *x, const char *hash, const char *data, size_t len)
{
        char name[NAME_OF_TORRENT_MAX];
        int fd, r;

        if (x->n == x->room) {
                size_t room = x->room ? 2 * x->room : 64;
                char(*grown)[CTL_HASH_MAX + 1] = reallocarray(x->hashes, room, sizeof *grown);

                if (!grown)
                        return -ENOMEM;
                x->hashes = grown;
                x->room = room;
        }
        name_torrent(name, hash);
        fd = openat(x->draft_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
        if (fd < 0)
                return -errno;
        snprintf(x->hashes[x->n++], CTL_HASH_MAX + 1, "%s", hash);
        r = buffer_write(fd, data, len);
        if (close(fd) < 0 && r == 0)
                r = -errno;
        return r;
}

/* Writes the line of a torrent, and its file. Complains. */
static int draft_line(struct exporting *x, const char *hash)
{
        _cleanup_free_ char *data = NULL, *magnet = NULL;
        size_t len = 0;
        int r;

        r = read_torrent(x->c, hash, &data, &len);
        if (r == -ENODATA) {
                r = read_magnet(x->c, hash, &magnet);
                if (r < 0)
                        return r == -ENOENT ? 0 : r;
                r = fprintf(x->list, "%s\n", magnet);
        } else if (r < 0) {
                return r;
        } else {
                r = draft_torrent(x, hash, data, len);
                if (r < 0)
                        return fail_write(x, x->file, r);
                /* ./ where it would look like something else than a path */
                r = fprintf(x->list, "%s%s" TORRENTS_SUFFIX "/%s.torrent\n",
                            isalnum((unsigned char)x->name[0]) && !strchr(x->name, ':') ? "" : "./",
                            x->name, hash);
        }
        return r < 0 ? fail_write(x, x->file, -errno) : 0;
}

/* ---- its place ---- */

static int place_torrents(struct exporting *x, const char *folder)
{
        char name[NAME_OF_TORRENT_MAX];
        _cleanup_close_ int fd = -1;

        if (x->n == 0)
                return 0;
        /* all of the files at once: an fsync() of each would take minutes for many */
        if (syncfs(x->draft_fd) < 0)
                return -errno;
        if (mkdirat(x->folder_fd, folder, FOLDER_MODE) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(x->folder_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < x->n; i++) {
                name_torrent(name, x->hashes[i]);
                if (renameat(x->draft_fd, name, fd, name) < 0)
                        return -errno;
        }
        return fsync(fd) < 0 ? -errno : 0;
}

static int place_list(struct exporting *x)
{
        if (fflush(x->list) != 0 || fsync(fileno(x->list)) < 0)
                return -errno;
        if (renameat(x->draft_fd, DRAFT_LIST, x->folder_fd, x->name) < 0)
                return -errno;
        x->there = false; /* no longer */
        return fsync(x->folder_fd) < 0 ? -errno : 0;
}

static int place(struct exporting *x)
{
        _cleanup_free_ char *folder = NULL, *path = NULL;
        int r;

        if (asprintf(&folder, "%s" TORRENTS_SUFFIX, x->name) < 0)
                folder = NULL;
        if (asprintf(&path, "%s" TORRENTS_SUFFIX, x->file) < 0)
                path = NULL;
        if (!folder || !path)
                return fail_write(x, x->file, -ENOMEM);
        r = place_torrents(x, folder);
        if (r < 0)
                return fail_write(x, path, r);
        r = place_list(x);
        return r < 0 ? fail_write(x, x->file, r) : 0;
}

/* ---- all of it ---- */

/* Removes what is left of the draft. */
static void end(struct exporting *x)
{
        char name[NAME_OF_TORRENT_MAX];

        if (x->list)
                fclose(x->list);
        for (size_t i = 0; i < x->n; i++) {
                name_torrent(name, x->hashes[i]);
                unlinkat(x->draft_fd, name, 0);
        }
        if (x->draft_fd >= 0) {
                unlinkat(x->draft_fd, DRAFT_LIST, 0);
                close(x->draft_fd);
        }
        if (x->draft)
                rmdir(x->draft);
        if (x->folder_fd >= 0)
                close(x->folder_fd);
        free(x->hashes);
        free(x->draft);
        free(x->folder);
        free(x->name);
}

/* Takes FILE apart, and looks what is there. Complains. */
static int begin(struct exporting *x)
{
        _cleanup_free_ char *a = strdup(x->file), *b = strdup(x->file);
        struct stat st;

        if (a && b) {
                x->folder = strdup(dirname(a));
                x->name = strdup(basename(b));
        }
        if (!x->folder || !x->name)
                return fail_write(x, x->file, -ENOMEM);
        if (*x->file == '\0') {
                ctl_fail(x->c, CTL_FAILED, "The name of the file to write is empty");
                return -EINVAL;
        }
        if (x->file[strlen(x->file) - 1] == '/')
                return fail_write(x, x->file, -EISDIR);
        if (strchr(x->name, '\n') || !ctl_list_is_text(x->name, strlen(x->name))) {
                ctl_fail(x->c, CTL_FAILED,
                         "%s: a name with control characters cannot be a part of a list's lines",
                         x->file);
                return -EINVAL;
        }
        x->folder_fd = open(x->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (x->folder_fd < 0)
                return fail_write(x, x->file, -errno);
        if (fstatat(x->folder_fd, x->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : fail_write(x, x->file, -errno);
        if (!S_ISREG(st.st_mode)) {
                ctl_fail(
                        x->c, CTL_FAILED,
                        "%s: not an ordinary file, so it is not replaced; - writes to the standard "
                        "output",
                        x->file);
                return -EINVAL;
        }
        x->there = true;
        return 0;
}

/* Calls each for the torrents that are asked for, until one fails. */
static int for_each(struct exporting *x, int (*each)(struct exporting *x, const char *hash))
{
        _cleanup_json_ cJSON *status = NULL;
        const cJSON *t;
        int r;

        r = ctl_read_status(x->c, &status);
        if (r < 0)
                return r;
        cJSON_ArrayForEach (t, cJSON_GetObjectItemCaseSensitive(status, "torrents")) {
                const char *hash = ctl_json_hash(t, "infoHash");
                bool kept = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(t, "kept"));

                if (!hash || !(kept || x->c->opt.all))
                        continue;
                r = interrupted ? -EINTR : each(x, hash);
                if (r < 0)
                        return r;
        }
        return 0;
}

void ctl_export(struct ctl *c)
{
        struct exporting x = {.c = c, .file = c->args[0], .folder_fd = -1, .draft_fd = -1};
        int r;

        if (strcmp(x.file, "-") == 0) {
                fputs(HEADER, stdout);
                (void)for_each(&x, put_magnet);
                return;
        }
        note_signals();
        if (begin(&x) == 0) {
                r = begin_draft(&x);
                if (r < 0)
                        (void)fail_write(&x, x.file, r);
                else if (for_each(&x, draft_line) == 0)
                        (void)place(&x);
        }
        end(&x);
        end_if_interrupted();
}
