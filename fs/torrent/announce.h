/* SPDX-License-Identifier: MIT */
/* announce.h: how a new torrent is announced to those who watch the root by inotify: the helper
 * makes a directory of its name, once its tree is complete. Pure: knows no clock and no helper. */
#ifndef FS_ANNOUNCE_H
#define FS_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

enum announce_state {
        ANNOUNCE_NONE, /* nothing to do */
        ANNOUNCE_WANTED,
        ANNOUNCE_SENT, /* the helper was asked at sent_ms */
};

/* One torrent's; zeroed at first. */
struct announce {
        enum announce_state state;
        unsigned tries;      /* how often the helper was asked for this name */
        unsigned unanswered; /* questions, those about names before this one included */
        uint64_t sent_ms;
};

enum announce_action {
        ANNOUNCE_NOTHING,
        ANNOUNCE_ASK,    /* ask the helper; announce_asked says whether it could be told */
        ANNOUNCE_FAILED, /* it could not be announced, and will not be */
};

/* It has got a name that is to be announced. */
void announce_want(struct announce *a);
/* There is no helper, or none that can do it. */
void announce_drop(struct announce *a);
/* After ASK: whether the helper could be told. If not, the next tick asks again. */
void announce_asked(struct announce *a, bool told, uint64_t now_ms);
/* The helper has answered: err > 0 is an errno. Answers come in the order of the questions, so that
 * only the last one is about the name of now; one that comes after a time-out changes nothing. */
enum announce_action announce_answered(struct announce *a, int err);
/* The helper will not answer any more: the next one is to be asked. */
void announce_unanswered(struct announce *a);
/* Time has gone by. */
enum announce_action announce_tick(struct announce *a, uint64_t now_ms);

#endif
