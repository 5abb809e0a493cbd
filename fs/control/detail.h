/* SPDX-License-Identifier: MIT */
/* detail.h: the document that tells all of one torrent: its status, who reads where, and what of
 * each file is there. Made piece by piece as it is read (documents.h). Any thread. */
#ifndef FS_DETAIL_H
#define FS_DETAIL_H

#include "control/documents.h"

/* Makes the text reach at least to end, or be whole. The listing in the cursor may be NULL: then
 * the files are not told (null). What of a file is there is null while nobody has looked into the
 * torrent since it fell asleep. */
void document_detail(struct engine *e, struct torrent *torrent, struct text_cursor *c,
                     uint64_t end);

#endif
