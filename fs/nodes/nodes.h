/* SPDX-License-Identifier: MIT */
/* nodes.h: every inode of the mount: its number, its name, its attributes. Knows no FUSE. Any
 * thread; nothing here touches the network or waits. */
#ifndef FS_NODES_H
#define FS_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/engine.h"

/* An inode number is kind << 60 | torrent's number << 24 | node. The node of a torrent's file is
 * the same in every mount: the sidecar's ETags go by that. */
enum node_kind {
        NODE_TREE,    /* a torrent's directories and files; number 0: the fixed nodes */
        NODE_CONTROL, /* torrents/<hash>/ and its files */
        NODE_DATA,    /* torrents/<hash>/data/… */
        NODE_LINK,    /* by-hash/<hash> */
        NODE_NAMED,   /* torrents/<hash>/by-name/<name>, by the first file that has the name … */
        NODE_ALIKE,   /* … where none has it as it was asked for, but one that is equivalent */
};

/* Nodes of number 0. */
enum {
        FIXED_ROOT = 1,
        FIXED_MAGNETFS,
        FIXED_ADD,
        FIXED_ADD_TEMPORARY,
        FIXED_STATUS,
        FIXED_EVENTS,
        FIXED_BY_HASH,
        FIXED_TORRENTS,
        FIXED_SESSION,
        FIXED_RECALL,
        FIXED_CACHE
};
/* Nodes of NODE_CONTROL. */
enum {
        CONTROL_DIR,
        CONTROL_STATUS,
        CONTROL_FILES,
        CONTROL_MAGNET,
        CONTROL_KEEP,
        CONTROL_TORRENT,
        CONTROL_DETAIL,
        CONTROL_BY_NAME,
        CONTROL_LARGEST
};

struct node {
        enum node_kind kind;
        uint32_t number; /* the torrent's; 0: a fixed node */
        uint32_t node;
};

#define NODE_ROOT ((uint64_t)FIXED_ROOT)
/* A link's target and its NUL: Linux takes no longer one. */
enum { NODE_TARGET_MAX = 4096 };

uint64_t node_ino(enum node_kind kind, uint32_t number, uint32_t node);
struct node node_of(uint64_t ino);
/* A name of files of a torrent, in its by-name/. */
bool node_is_name(struct node n);
/* A file with bytes of a torrent (below / or data/), when ino exists. */
bool node_is_content(struct node n);

struct nodes {
        struct engine *engine;
        uid_t uid; /* of the root and of .magnetfs, which are the mounter's */
        gid_t gid;
        uid_t files_uid; /* of the torrents' directories and files */
        gid_t files_gid;
        mode_t files_umask; /* taken from the modes of those */
        time_t started_at;
};

/* All of these give -ESTALE when the node's torrent is gone: the kernel then asks for the names of
 * the path again, as another torrent may have them by now. Beneath a torrent's directory they give
 * -EAGAIN while it is asleep and its files are not in memory, and where those are looked for by
 * name and not sorted by that: engine_load sees to both. */

/* Names are found as they are. Beneath data/ and in by-name/, where none is, it may be one that is
 * canonically equivalent (nfc.h): the first in the torrent's order. -ENOENT, -ENOTDIR. */
int node_lookup(const struct nodes *nodes, uint64_t parent, const char *name, uint64_t *ret);
/* The directory that holds a directory; the root's is itself. -ENOENT, -ENOTDIR. */
int node_parent(const struct nodes *nodes, uint64_t ino, uint64_t *ret);
/* -ENOENT. */
int node_stat(const struct nodes *nodes, uint64_t ino, struct stat *ret);
/* Writes a link's target. -EINVAL: no link; -ENOENT; -ENAMETOOLONG. */
int node_readlink(const struct nodes *nodes, uint64_t ino, char *out, size_t size);
/* Calls emit for the entries behind cookie (0: from the start), "." and ".." included, until it
 * says no. -ENOENT, -ENOTDIR. */
int node_list(const struct nodes *nodes, uint64_t ino, uint64_t cookie,
              bool (*emit)(void *arg, const char *name, uint64_t ino, mode_t type,
                           uint64_t next_cookie),
              void *arg);

#endif
