/* SPDX-License-Identifier: MIT */
/* limits.h: numbers on which the programs have to agree. */
#ifndef FS_LIMITS_H
#define FS_LIMITS_H

enum {
        /* A .torrent may have so many bytes: its metadata 32 MiB, as the shim has it, and what is
         * around that. */
        TORRENT_BYTES_MAX = 33 << 20,
        /* So many low bits of an inode number of the mount are the file's within its torrent, the
         * same in every mount. */
        NODE_BITS = 24,
        /* How a sidecar ends whose mount is gone: nobody starts another there. */
        EXIT_MOUNT_GONE = 3,
};

#endif
