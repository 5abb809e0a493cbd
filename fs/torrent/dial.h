/* SPDX-License-Identifier: MIT */
/* dial.h: when the peers of a torrent are dialled once more: again and again while nothing of its
 * metadata comes, and over uTP besides where none is reached at all. Pure: knows no clock and no
 * session. */
#ifndef FS_DIAL_H
#define FS_DIAL_H

#include <stdbool.h>
#include <stdint.h>

/* Peers that were lost, or not reached, are dialled again after a pause, then after one twice as
 * long, and so on. One torrent's; zeroed at first. */
struct redial {
        bool wanted;
        uint64_t due_ms;
        unsigned doublings; /* of the pause that ends then */
};

/* The session has just dialled them all. */
void redial_begin(struct redial *r, uint64_t now_ms);
/* They are to be dialled at once. */
void redial_at_once(struct redial *r, uint64_t now_ms);
void redial_end(struct redial *r);
/* Whether that is needed: goes on, begins or ends. */
void redial_need(struct redial *r, bool needed, uint64_t now_ms);
/* Whether they are to be dialled now. Says so once for each time. */
bool redial_due(struct redial *r, uint64_t now_ms);

/* Somebody waits for a torrent, nothing comes, and it does not reach all peers it knows: those that
 * are there may not have it. Zeroed at first. */
struct needy {
        bool is;
        uint64_t since_ms;
        uint64_t tries; /* the second try it was part of */
};
/* is: whether it is so now. Whether it has been so for too long. */
bool needy_tick(struct needy *n, bool is, uint64_t now_ms);

/* The session can try uTP only for all torrents at once, which slows down others that connect
 * meanwhile: so it does for a moment, and not often. The session's; zeroed at first. */
struct second_try {
        uint64_t tries; /* so many were begun */
        uint64_t since_ms;
};
/* A torrent has been needy for too long. Whether its peers are to be dialled now, by what is true
 * from here on; begins a try if need be. Says so once for each. */
bool second_try_join(struct second_try *s, struct needy *n, uint64_t now_ms);
/* Whether uTP is tried now. */
bool second_try_is_on(const struct second_try *s, uint64_t now_ms);

#endif
