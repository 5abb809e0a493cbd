/* magnetctl_add.c: adding torrents and waiting for their metadata. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "magnetctl.h"

#define HASH_BASE32 32 /* BEP 9: the older form, in magnets only */

/* libtorrent takes 30 MiB of metadata; a v2 .torrent has the piece layers besides. */
#define TORRENT_MAX (64U << 20)

/* Files that wait at the same time: far from the usual limit of 1024 descriptors. */
#define WAIT_BATCH 256

/* ---- waiting for the metadata ---- */

int64_t ctl_deadline(const struct ctl *c)
{
        return c->opt.timeout_s < 0 ? CTL_NO_DEADLINE : ctl_now_ms() + c->opt.timeout_s * 1000;
}

void ctl_files_path(char buf[128], const char *hash)
{
        snprintf(buf, 128, "torrents/%s/files", hash);
}

/* Why a read of `files` failed, and with which code magnetctl then ends. */
void ctl_complain_metadata(struct ctl *c, const char *hash, int r)
{
        switch (-r) {
        case ETIME:
                ctl_fail(c, EXIT_TIMED_OUT);
                ctl_complain("%s: no metadata within %ld s; magnetfs goes on looking", hash,
                             c->opt.timeout_s);
                break;
        case ETIMEDOUT:
                ctl_fail(c, EXIT_TIMED_OUT);
                ctl_complain(
                        "%s: nobody had the metadata; magnetctl status shows peers and errors, "
                        "waiting again tries again",
                        hash);
                break;
        case ENOENT:
                ctl_fail(c, EXIT_FAILED);
                ctl_complain("%s: the torrent was removed", hash);
                break;
        case EBADMSG:
                ctl_fail(c, EXIT_FAILED);
                ctl_complain("%s: the metadata was refused; magnetctl status says why", hash);
                break;
        default:
                ctl_complain_errno(c, r, "%s: cannot get the metadata", hash);
        }
}

static void put_torrent(const struct ctl *c, const char *hash, const char *name)
{
        printf("%s  ", hash);
        ctl_text_put(stdout, name, 0, &c->style);
        putchar('\n');
        fflush(stdout);
}

static void metadata_came(struct ctl *c, const char *hash, const struct ctl_file *f)
{
        cJSON *json = NULL;
        const char *name;

        if (f->result == 0) {
                json = cJSON_ParseWithLength(f->data, f->len);
                name = ctl_json_text(json, "name");
                put_torrent(c, hash, name ? name : "-");
        } else
                ctl_complain_metadata(c, hash, f->result);
        cJSON_Delete(json);
}

/* Waits for n <= WAIT_BATCH torrents at a time, telling of each as it comes. */
static void wait_batch(struct ctl *c, const struct ctl_target *targets, size_t n, int64_t deadline)
{
        struct ctl_file files[WAIT_BATCH];
        bool told[WAIT_BATCH] = {false};
        size_t waiting = n;
        char path[128];
        int r;

        for (size_t i = 0; i < n; i++) {
                ctl_files_path(path, targets[i].hash);
                (void)ctl_file_open(c->mount, path, &files[i]);
        }
        for (;;) {
                for (size_t i = 0; i < n; i++) {
                        if (told[i] || files[i].result == -EAGAIN)
                                continue;
                        metadata_came(c, targets[i].hash, &files[i]);
                        ctl_file_close(&files[i]);
                        told[i] = true;
                        waiting--;
                }
                if (waiting == 0)
                        return;
                r = ctl_file_wait(c->mount, files, n, deadline);
                if (r <= 0)
                        break;
        }
        for (size_t i = 0; i < n; i++) {
                if (told[i])
                        continue;
                ctl_complain_metadata(c, targets[i].hash, r < 0 ? r : -ETIME);
                ctl_file_close(&files[i]);
        }
}

static void wait_for(struct ctl *c, const struct ctl_target *targets, size_t n)
{
        int64_t deadline = ctl_deadline(c);

        for (size_t i = 0; i < n; i += WAIT_BATCH)
                wait_batch(c, targets + i, n - i < WAIT_BATCH ? n - i : WAIT_BATCH, deadline);
}

void cmd_wait(struct ctl *c)
{
        _cleanup_free_ struct ctl_target *targets = NULL;
        size_t n = 0;

        if (ctl_find_targets(c, &targets, &n) == 0)
                wait_for(c, targets, n);
}

/* ---- add ---- */

static bool is_magnet(const char *s)
{
        return strncasecmp(s, "magnet:", strlen("magnet:")) == 0;
}

static bool is_base32_hash(const char *s)
{
        return strlen(s) == HASH_BASE32 &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567") ==
                       HASH_BASE32;
}

/* What an argument is called in messages: a magnet with its trackers would bury the reason. */
#define LABEL_MAX  (PATH_MAX + 1)
#define MAGNET_CUT 96

static void set_label(char label[LABEL_MAX], const char *arg)
{
        if (is_magnet(arg) && strlen(arg) > MAGNET_CUT)
                snprintf(label, LABEL_MAX, "%.*s...", MAGNET_CUT, arg);
        else
                snprintf(label, LABEL_MAX, "%s", arg);
}

/* What the user may have meant by an argument that is no magnet, no hash and no file. */
static void complain_source(const char *arg, const char *label)
{
        size_t n = strlen(arg);

        if (n == 0)
                ctl_complain(
                        "An argument is empty; give a magnet, an info-hash or a .torrent file");
        else if (strncasecmp(arg, "magnet", 6) == 0 || strstr(arg, "xt=urn:"))
                ctl_complain(
                        "%s: not a magnet: it has to begin with magnet:? (and be quoted in a shell)",
                        label);
        else if (ctl_is_hex(arg) && n >= HASH_BASE32)
                ctl_complain("%s: not an info-hash: it has %zu hex digits, not %d or %d", label, n,
                             HASH_V1, HASH_MAX);
        else if (strstr(arg, "://"))
                ctl_complain(
                        "%s: web addresses are not fetched; download the .torrent and add the file",
                        label);
        else
                ctl_complain(
                        "%s: no such file; a source is a magnet, an info-hash or a .torrent file",
                        label);
}

/* Does it begin as a bencoded dictionary (BEP 3) does? Anything else written to `add` would be
 * lines. */
static bool is_bencode_dict(const char *data, size_t len)
{
        size_t i = 1;

        if (len < 2 || data[0] != 'd')
                return false;
        while (i < len && data[i] >= '0' && data[i] <= '9')
                i++;
        return i > 1 && i < len && data[i] == ':';
}

static int read_torrent_file(const char *path, char **ret, size_t *ret_len)
{
        _cleanup_free_ char *data = NULL;
        size_t len = 0, size = 0;
        struct stat st;
        int fd, r = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
                r = -EISDIR;
        while (r == 0) {
                ssize_t k;

                if (len == size) {
                        char *grown = realloc(data, size ? size * 2 : 64U << 10);

                        if (!grown) {
                                r = -ENOMEM;
                                break;
                        }
                        data = grown;
                        size = size ? size * 2 : 64U << 10;
                }
                k = read(fd, data + len, size - len);
                if (k == 0)
                        break;
                if (k > 0)
                        len += (size_t)k;
                else if (errno != EINTR)
                        r = -errno;
                if (len > TORRENT_MAX)
                        r = -EFBIG;
        }
        close(fd);
        if (r < 0)
                return r;
        *ret = data;
        *ret_len = len;
        data = NULL;
        return 0;
}

/* The bytes to write to `add` for one argument. -EINVAL: complained. */
static int load_source(const char *arg, const char *label, char **ret, size_t *ret_len)
{
        int r;

        if (is_magnet(arg) || ctl_is_hash(arg) || is_base32_hash(arg)) {
                if (strpbrk(arg, "\r\n")) {
                        ctl_complain(
                                "%s: a magnet has no line breaks; give several as several arguments",
                                label);
                        return -EINVAL;
                }
                r = asprintf(ret, "%s\n", arg);
                if (r < 0) {
                        *ret = NULL;
                        ctl_complain("Out of memory");
                        return -EINVAL;
                }
                *ret_len = (size_t)r;
                return 0;
        }

        r = read_torrent_file(arg, ret, ret_len);
        if (r == -ENOENT || r == -ENOTDIR || r == -ENAMETOOLONG)
                complain_source(arg, label);
        else if (r == -EFBIG)
                ctl_complain("%s: too large for a .torrent file (over %u MiB)", label,
                             TORRENT_MAX >> 20);
        else if (r < 0)
                ctl_complain("%s: cannot read the file: %s", label, strerror(-r));
        else if (!is_bencode_dict(*ret, *ret_len))
                ctl_complain("%s: not a .torrent file", label);
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
                        ctl_fail(c, EXIT_FAILED);
                        ctl_complain("%s: %s", label, error);
                        a.refused++;
                        continue;
                }
                if (!hash)
                        continue;
                a.taken++;
                if (!c->opt.wait)
                        put_torrent(c, hash, name ? name : "-");
                else if (*n < max)
                        ctl_target_set(&targets[(*n)++], hash, NULL);
        }
        return a;
}

/* Why `add` failed with r, or gave no answer (0), where it doesn't say so itself. */
static void complain_add(struct ctl *c, const char *label, bool is_file, int r)
{
        ctl_fail(c, EXIT_FAILED);
        if (r == -EINVAL && is_file)
                ctl_complain("%s: not a .torrent file that magnetfs understands", label);
        else if (r == -EINVAL)
                ctl_complain("%s: neither a magnet nor an info-hash to magnetfs", label);
        else if (r == -E2BIG)
                ctl_complain("%s: over a limit of magnetfs (size, pieces, files)", label);
        else if (r < 0)
                ctl_complain_errno(c, r, "%s: cannot add it", label);
        else if (is_file)
                ctl_complain("%s: the .torrent file is not complete; get it again", label);
        else
                ctl_complain("%s: magnetfs gave no answer; see magnetctl list", label);
}

static void add_one(struct ctl *c, const char *arg, struct ctl_target *targets, size_t *n,
                    size_t max)
{
        _cleanup_free_ char *data = NULL, *text = NULL;
        char label[LABEL_MAX];
        struct answer a = {0};
        size_t len = 0, text_len = 0;
        int r;

        set_label(label, arg);
        r = load_source(arg, label, &data, &len);
        if (r < 0) {
                ctl_fail(c, EXIT_FAILED);
                return;
        }
        r = ctl_mount_write(c->mount, c->opt.temporary ? "add-temporary" : "add", data, len, &text,
                            &text_len);
        if (text)
                a = read_answer(c, label, text, targets, n, max);
        if (a.refused == 0 && (r < 0 || a.taken == 0))
                complain_add(c, label, is_bencode_dict(data, len), r);
}

void cmd_add(struct ctl *c)
{
        struct ctl_target *targets = calloc(c->n_args, sizeof(*targets));
        size_t n = 0;

        if (!targets) {
                ctl_fail(c, EXIT_FAILED);
                ctl_complain("Out of memory");
                return;
        }
        for (size_t i = 0; i < c->n_args; i++)
                add_one(c, c->args[i], targets, &n, c->n_args);
        if (n > 0)
                wait_for(c, targets, n);
        free(targets);
}
