/* SPDX-License-Identifier: MIT */
/* life.h: what a torrent is, and what it becomes when nobody uses it. Pure: the rules know no
 * clock, no lock, no session and no other torrent. The caller says what has happened and when; it
 * does what it is told to do. The metadata has rules of its own (fetch.h), and so has the
 * announcement (announce.h). */
#ifndef FS_LIFE_H
#define FS_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* Which kept torrents stay with the session though nobody reads them. */
enum stay_awake { STAY_NONE, STAY_KEPT, STAY_COMPLETE };

enum life_state {
        LIFE_PENDING, /* its metadata is not known yet */
        LIFE_AWAKE,
        LIFE_ASLEEP, /* known, but not with the session */
        LIFE_GONE,
};

enum life_event {
        LIFE_METADATA, /* it is known, and the torrent's tree complete */
        LIFE_READ,     /* somebody wants bytes of it */
        LIFE_REMOVED,
};

enum life_action {
        LIFE_NOTHING,
        LIFE_SLEEP, /* it leaves the session */
        LIFE_WAKE,  /* it goes back there */
        LIFE_ASK,   /* the helper is to remove its directory; life_asked says whether it was told */
        LIFE_DROP,  /* it is removed without the helper */
};

struct life_rules {
        uint64_t idle_ms; /* so long nobody uses it until it is idle */
};

/* How it is used; to be had by any thread. */
struct life_use {
        bool kept;
        bool fetching;         /* its metadata is awaited */
        bool failed;           /* its metadata did not come */
        bool stays;            /* it is to stay with the session though nobody reads it */
        unsigned handles;      /* open files. Read before last_used_ms, which a close sets first */
        uint64_t last_used_ms; /* may be later than now */
};

/* One torrent's; zeroed at first. */
struct life {
        enum life_state state;

        /* The helper was asked to remove its directory and has not answered. */
        bool asked;
        uint64_t asked_ms;
        unsigned tries; /* how often it was asked since the torrent is idle */
};

/* It was known in an earlier run, and is not with the session. */
void life_begin_asleep(struct life *l);
/* Its metadata is lost, and to be fetched again. */
void life_begin_anew(struct life *l);
/* It is to leave the session though it is not idle yet: others need its place. */
void life_put_to_sleep(struct life *l);
/* What has happened. NOTHING or WAKE. */
enum life_action life_event(struct life *l, enum life_event event);
/* Time has gone by. helper: there is one that can remove directories. Any action but WAKE. */
enum life_action life_tick(struct life *l, const struct life_rules *rules,
                           const struct life_use *use, bool helper, uint64_t now_ms);
/* After ASK: whether the helper could be told. If not, the next tick asks again. */
void life_asked(struct life *l, bool told);
/* The helper has answered, or will not any more. */
void life_answered(struct life *l);
/* Whether time alone can change something. */
bool life_waits(const struct life *l, const struct life_use *use);

/* Nobody uses it, and nobody has for the idle time; for a moment, if its metadata did not come. */
bool life_is_idle(const struct life_rules *rules, const struct life_use *use, uint64_t now_ms);

/* From since to now; 0 where since is the later one, as what other threads write may be. */
static inline uint64_t life_elapsed(uint64_t since_ms, uint64_t now_ms)
{
        return now_ms > since_ms ? now_ms - since_ms : 0;
}

#endif
