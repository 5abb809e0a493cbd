/* SPDX-License-Identifier: MIT */
/* nodes_private.h: the inside of the nodes, for the files of this folder alone. */
#ifndef FS_NODES_PRIVATE_H
#define FS_NODES_PRIVATE_H

#include "nodes/nodes.h"

/* An entry that is always there. */
struct node_fixed {
        uint32_t node;
        const char *name;
        mode_t mode;
};

struct node_table {
        const struct node_fixed *list;
        size_t n;
};

/* Of .magnetfs; of torrents/<hash>, besides data/ and the largest. */
extern const struct node_table node_in_magnetfs, node_in_control;

#endif
