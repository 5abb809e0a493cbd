/* ctl_mount.h: how magnetctl reaches a mount: finds it, opens its control files, reads them whole.
 * All functions are for one thread. Those that return int give 0 or -errno; the ones that take a
 * struct ctl_reason leave in it, on failure, a sentence for the user. */
#ifndef MAGNETFS_CTL_MOUNT_H
#define MAGNETFS_CTL_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No control file is larger: ten thousand torrents are 6 MB of status. */
#define CTL_READ_MAX (64U << 20)

#define CTL_NO_DEADLINE INT64_MAX

/* Why something failed, for the user; not yet safe for a terminal. */
struct ctl_reason {
        char text[1024];
};

struct ctl_mount; /* opaque */

/* Milliseconds of the monotonic clock. */
int64_t ctl_now_ms(void);

/* The mount points of type fuse.magnetfs in the text of a mountinfo file (proc_pid_mountinfo(5)),
 * octal escapes decoded, each mount once: not the bind mounts of its inside, and of several places
 * where one file system shows, the first. *ret ends with NULL; free it with ctl_mountinfo_free().
 * -ENOMEM. Pure. */
int ctl_mountinfo_parse(const char *text, char ***ret, size_t *ret_n);
void ctl_mountinfo_free(char **dirs);

/* A call that a daemon in trouble leaves unanswered can't be taken back, and not even SIGKILL ends
 * the task that made it. So the calls are made in a child process: this returns 0 in it. The caller
 * stays behind and never returns: it ends as the child does, or with status 1 once the child is
 * given up. To be called with one thread and nothing buffered. */
int ctl_mount_apart(void);

/* Opens the mount at dir, or with NULL the only one there is. *ret is untouched on failure.
 * -ENOENT: there is none; -ENOTUNIQ: several, the reason names them; or what the mount gives.
 *
 * From here on the process ends with status 1 and a line on stderr when the daemon leaves a call on
 * the mount unanswered for 30 s. */
int ctl_mount_open(const char *dir, struct ctl_mount **ret, struct ctl_reason *why);
void ctl_mount_free(struct ctl_mount *m);
static inline void ctl_mount_freep(struct ctl_mount **m)
{
        ctl_mount_free(*m);
}

/* Where it is mounted; lives as long as m. */
const char *ctl_mount_dir(const struct ctl_mount *m);

/* The sentence for an error of a call on the mount that is about the mount itself (the daemon is
 * gone, or another user's); NULL: about something else. It lives as long as m or until the next
 * call. */
const char *ctl_mount_complaint(struct ctl_mount *m, int r);

/* A control file that is read whole and may wait. */
struct ctl_file {
        int fd;     /* -1: not open */
        int result; /* -EAGAIN: waits; 0: whole, in data; else -errno of the read; -EFBIG: over
                       CTL_READ_MAX */
        char *data; /* len bytes and a NUL */
        size_t len, size;
};
#define CTL_FILE_INIT ((struct ctl_file){.fd = -1})

/* Opens path (beneath .magnetfs) and asks for it once; what came of it is in f->result. Never waits
 * for the swarm. Returns f->result unless that is -EAGAIN, which is 0 here. */
int ctl_file_open(struct ctl_mount *m, const char *path, struct ctl_file *f);
void ctl_file_close(struct ctl_file *f);

/* Waits until at least one of the n files that wait has come to its result, or deadline_ms
 * (ctl_now_ms(); CTL_NO_DEADLINE). Returns how many did, 0 at the deadline or when none waits;
 * -errno of poll(). */
int ctl_file_wait(struct ctl_mount *m, struct ctl_file *files, size_t n, int64_t deadline_ms);

/* The three above in one: -ETIME when the deadline passed. *ret has a NUL behind its end; the
 * caller frees it. */
int ctl_mount_read(struct ctl_mount *m, const char *path, int64_t deadline_ms, char **ret,
                   size_t *ret_len);

/* Writes len bytes to path, without truncating it. With ret, also reads the answer from the same
 * descriptor, after a failed write too: *ret is then set (maybe empty) also when the result is the
 * -errno of the write, and NULL when it could not be opened or read. The caller frees it. */
int ctl_mount_write(struct ctl_mount *m, const char *path, const void *data, size_t len, char **ret,
                    size_t *ret_len);

/* Removes the torrent of this info-hash (a name in by-hash) with its directory in the mount.
 * -ENOENT: there is no such torrent. */
int ctl_mount_remove(struct ctl_mount *m, const char *hash);

#endif
