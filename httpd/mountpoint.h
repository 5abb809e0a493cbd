/* SPDX-License-Identifier: MIT */
/* mountpoint.h: all that touches the mount. System calls only; what they mean is in the mount's own
 * documentation of
 * `.magnetfs`.
 *
 * No descriptor of the mount is kept between requests, so that it can be unmounted at any time.
 * What waits for the swarm waits in poll(), together with the client it waits for. A call may still
 * block while magnetfs itself is stopped or hangs: health.h says so, and requests are refused then.
 */
#ifndef HTTPD_MOUNTPOINT_H
#define HTTPD_MOUNTPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "client.h"
#include "uri.h"

struct mountpoint;

/* Takes the path of a mount; does not touch it. *ret lives as long as the program. -ENOMEM, -errno
 * where the path cannot be made absolute. */
int mountpoint_new(const char *path, struct mountpoint **ret);
const char *mountpoint_path(const struct mountpoint *m);

/* Looks whether the mount is still the one of the first call. -ENODEV, -ENOTCONN, -ECONNABORTED,
 * -ENOENT: it is gone. One thread only. */
int mountpoint_check(struct mountpoint *m);

/* Whether an error of any function here means that the mount is gone. */
bool mountpoint_is_gone(int error);

/* Reads .magnetfs/status (JSON). The caller frees *ret. -errno. */
int mountpoint_status(const struct mountpoint *m, char **ret);
/* Reads .magnetfs/session (JSON), which is short however many torrents there are. As above. */
int mountpoint_session(const struct mountpoint *m, char **ret);

/* Reads the status of one torrent (JSON). -ENOENT: unknown. */
int mountpoint_torrent_status(const struct mountpoint *m, const char *hash, char **ret);
/* Opens all there is to tell of one torrent (JSON): its status, its readers, and what of each file
 * is there. It may be long. -ENOENT: unknown. */
int mountpoint_detail_open(const struct mountpoint *m, const char *hash, int *ret_fd);

/* Gives data (lines of magnets and hashes, or the bytes of one .torrent) to `add`, kept, or to
 * `add-temporary`, and reads the answer: JSON lines. Where data is refused, *ret is what the
 * control file says of it and the result is the error of the write (-EINVAL, -E2BIG); *ret may then
 * be NULL. Else -errno, as client_wait(). */
int mountpoint_add(const struct mountpoint *m, struct client *c, bool keep, const void *data,
                   size_t len, char **ret);

/* Opens the list of a torrent's files (JSON), which may be long. -ENOENT: unknown. */
int mountpoint_files_open(const struct mountpoint *m, const char *hash, int *ret_fd);

/* Reads on in what was opened by one of these two. 0: its end. -EAGAIN: it has to wait for the
 * torrent's metadata, as mountpoint_file_wait() does; -ENOENT: removed; -ETIMEDOUT: nobody had the
 * metadata in time; -EBADMSG: it is refused. */
ssize_t mountpoint_document_read(int fd, char *buf, size_t len);

/* Opens .magnetfs/events: what happened after the event of that id, and from now on, is kept for
 * this descriptor, as far as the mount has room for it. It begins with "lost" where the mount does
 * not know all of that, as with 0. Returns 1 where the mount is read-only, which gives what comes
 * from now on alone; -errno. */
int mountpoint_events_open(const struct mountpoint *m, uint64_t after, int *ret_fd);

/* Waits for the next event and gives it, a line of JSON; the caller frees *ret. -ETIMEDOUT: none
 * came within timeout_ms; -EBADMSG: what came is no line; as client_wait(). */
int mountpoint_events_next(int fd, struct client *c, int64_t timeout_ms, char **ret);

/* Keeps a torrent or makes it temporary. -ENOENT: unknown. */
int mountpoint_keep(const struct mountpoint *m, const char *hash, bool keep);

/* Removes a torrent, data and all. -ENOENT: unknown. */
int mountpoint_remove(const struct mountpoint *m, const char *hash);

/* A torrent that is here stays for the idle time from now on: opens the list of its files and
 * closes it, which costs no more than a few calls on the mount, however many files there are.
 * Looking at a file (mountpoint_file_stat) is no use of the torrent. -ENOENT: it is not here. */
int mountpoint_use(const struct mountpoint *m, const char *hash);

/* Brings back a torrent that went within a day as nobody used it: a temporary one, with its files
 * but without their data. At the return it is here, also where it was before; that is a use of it.
 * -ENOENT: it never was here, or was removed, or the mount is read-only. */
int mountpoint_recall(const struct mountpoint *m, const char *hash);

/* Waits until a torrent's files are known, while the client stays; that is a use of it. Reads no
 * list. As mountpoint_document_read(), but -EAGAIN; as client_wait(). */
int mountpoint_wait(const struct mountpoint *m, struct client *c, const char *hash);

/* The path of a torrent's largest media file. The caller frees *ret. -ENOENT: it has no file, or
 * none is known yet; -ENAMETOOLONG: the path is longer than a link can tell. */
int mountpoint_largest(const struct mountpoint *m, const char *hash, char **ret);

/* The paths of a torrent's files that have a bare name or, where none has it, an equivalent one
 * (nfc.h): a line each, without a newline behind the last; of very many not all. The caller frees
 * *ret. -ENOENT: there is none, or none is known yet. */
int mountpoint_named(const struct mountpoint *m, const char *hash, const char *name, char **ret);

/* What stat() says of a torrent's file or directory, by its path; "": its own; hash NULL: of the
 * mount's root, whatever the path. -ENOENT. */
int mountpoint_stat(const struct mountpoint *m, const char *hash, const char *path,
                    struct stat *ret);

/* Calls each for one after the other of what is in a directory, named likewise, until it returns
 * other than 0; returns that, else 0. In the root there are the torrents. One whose files are not
 * known yet has none. -ENOENT; -ENOTDIR. */
typedef int (*mountpoint_each_fn)(void *arg, const char *name, const struct stat *st);
int mountpoint_list(const struct mountpoint *m, const char *hash, const char *path,
                    mountpoint_each_fn each, void *arg);

/* The info-hash of the torrent of that name in the mount, or of an equivalent one (nfc.h).
 * -ENOENT. */
int mountpoint_torrent_by_name(const struct mountpoint *m, const char *name,
                               char ret[static INFO_HASH_MAX]);

/* What stat() says of a torrent's file; opens nothing. -ENOENT, also for what is not a regular
 * file. */
int mountpoint_file_stat(const struct mountpoint *m, const char *hash, const char *path,
                         struct stat *ret);

/* The file's number in its torrent, the same in every mount of it: the low bits of its inode
 * number. */
uint64_t mountpoint_file_number(const struct stat *st);

/* Opens a torrent's file for mountpoint_file_read(), through no link and not out of data/. Doesn't
 * wait for data. */
int mountpoint_file_open(const struct mountpoint *m, const char *hash, const char *path,
                         int *ret_fd);

/* Reads up to len bytes at offset, at least one, as far as they are there in a row; waits for
 * nothing. 0: end of the file. -EAGAIN: nothing is there yet, and it is asked for. -EIO: it was
 * waited for in vain; -ENOSPC; -ENODEV. */
ssize_t mountpoint_file_try(int fd, void *buf, size_t len, off_t offset);

/* After -EAGAIN: waits until another try is worth it. *tries, 0 at first and again after each try
 * that succeeded, counts those in between. As client_wait(). */
int mountpoint_file_wait(int fd, struct client *c, unsigned *tries, int64_t timeout_ms);

#endif
