/* SPDX-License-Identifier: MIT */
/* tree.h: the directories and files of one torrent, with safe and distinct names. Pure and
 * immutable once built: any thread. */
#ifndef FS_TREE_H
#define FS_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"

/* Node 0 is the torrent's own directory. Numbers are given in the torrent's order and so are the
 * same whenever it is built. */
enum { TREE_ROOT = 0, TREE_NODES_MAX = 1 << NODE_BITS };
#define TREE_DIRECTORY UINT32_MAX
#define TREE_NONE      UINT32_MAX

struct tree_file {
        const char *path; /* raw components joined by '/' */
        uint32_t index;   /* the file's number in the torrent */
        uint64_t offset, size;
};

struct tree_node {
        const char *name; /* safe; "" for the root */
        uint32_t parent;
        uint32_t file;         /* the file's number in the torrent, or TREE_DIRECTORY */
        uint32_t children;     /* of a directory: how many */
        uint32_t directories;  /* how many of the children are directories */
        uint32_t first_child;  /* index of the first child in the tree's own table */
        uint64_t offset, size; /* of a file: in the torrent's byte stream */
};

struct tree;

/* Builds a tree from n files in the torrent's order. Things of one directory whose safe names would
 * be the same are numbered in that order: "a", "a (2)"; a file and a folder of one name likewise.
 * -ENOMEM; -E2BIG above TREE_NODES_MAX nodes. */
int tree_new(const struct tree_file *files, size_t n, struct tree **ret);
void tree_free(struct tree *t);

uint32_t tree_nodes(const struct tree *t);
const struct tree_node *tree_node(const struct tree *t, uint32_t node); /* NULL if there is none */
/* The child of a directory by its name, or TREE_NONE. O(log children). */
uint32_t tree_lookup(const struct tree *t, uint32_t directory, const char *name);
/* The i-th child of a directory in name order (bytewise); i < children. */
uint32_t tree_child(const struct tree *t, uint32_t directory, uint32_t i);
/* Writes the path of node below the root to out, cut to size - 1 bytes; returns the whole length,
 * as snprintf does. */
size_t tree_path(const struct tree *t, uint32_t node, char *out, size_t size);

#endif
