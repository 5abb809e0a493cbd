/* SPDX-License-Identifier: MIT */
/* fill.h: what is fetched besides what is read. */
#ifndef FS_FILL_H
#define FS_FILL_H

enum fill {
        FILL_NONE,
        FILL_FILE,    /* all of a file that is read */
        FILL_TORRENT, /* all that the magnet asks for */
};

#endif
