/* SPDX-License-Identifier: MIT */
/* alike.h: the nodes of a tree by name, whatever directory they are in. Names that are canonically
 * equivalent (nfc.h) stand together. Pure and immutable once made: any thread. */
#ifndef FS_ALIKE_H
#define FS_ALIKE_H

#include <stddef.h>
#include <stdint.h>

#include "torrent/tree.h"

struct alike;

/* Sorts the nodes of t, which must live as long as *ret: four bytes a node. Takes long for many.
 * -ENOMEM. */
int alike_new(const struct tree *t, struct alike **ret);
void alike_free(struct alike *a); /* NULL is fine */

/* Finds the nodes whose names are equivalent to name: from place *ret on (untouched if there is
 * none), in the torrent's order. Returns how many. -ENOMEM. */
int alike_find(const struct alike *a, const char *name, uint32_t *ret);
/* The node at a place that alike_find() told. */
uint32_t alike_node(const struct alike *a, uint32_t place);

#endif
