/* SPDX-License-Identifier: MIT */
/* fetch.h: how the metadata of a torrent is fetched: its tries, the pauses between them, and when
 * it is tried again after nobody had it. Pure: knows no clock, no lock and no session. Who may
 * fetch when is said by the line (turns.h): all of this goes by what one torrent does with its
 * seat, and what it does when it has to give it up. */
#ifndef FS_FETCH_H
#define FS_FETCH_H

#include <stdbool.h>
#include <stdint.h>

enum fetch_phase {
        FETCH_WAITS,   /* for a seat */
        FETCH_TRIES,   /* since since_ms */
        FETCH_PAUSES,  /* until due_ms, between two tries */
        FETCH_FAILED,  /* nobody had it; that of a kept torrent is tried for again at due_ms */
        FETCH_REFUSED, /* it can't be had, or was bad: it is not tried for again */
};

/* Each rest of a torrent that gave its seat up is this long. Whoever failed more often rests more
 * often in a row. */
enum { FETCH_REST_MS = 10 * 60 * 1000 };

struct fetch_rules {
        uint64_t timeout_ms; /* of a try */
        uint64_t pause_ms;   /* between two */
        unsigned retries;    /* after the first try */
};

/* What there is to be seen of a torrent that has a seat. */
struct fetch_view {
        uint64_t bytes;       /* of the metadata, that have come since the session has it */
        unsigned known_peers; /* addresses */
        bool kept;
        bool crowded; /* others wait for a seat, and one is missing */
};

enum fetch_action {
        FETCH_NOTHING,
        FETCH_TRY,        /* another try begins: the session is to ask again */
        FETCH_TRY_ANEW,   /* the same after it had failed, which is over */
        FETCH_FORGIVE,    /* it had failed, but now it comes: it has not failed any more */
        FETCH_GIVE_UP,    /* nobody had it in all tries: call fetch_failed */
        FETCH_TO_THE_END, /* the seat is for others; it goes to the end of the line */
        FETCH_REST,       /* the seat is for others; it rests FETCH_REST_MS, see fetch_rested */
        FETCH_LEAVE,      /* the seat is for others, and it wants none any more */
};

/* One torrent's; zeroed at first. */
struct fetch {
        enum fetch_phase phase;
        bool looked_at; /* it came, and is looked at: nothing happens meanwhile */
        unsigned tries; /* this one included */
        uint64_t since_ms, due_ms;
        unsigned failures;   /* how often nobody had it, in a row */
        unsigned rests;      /* how many are left, this one included, until it joins the line */
        uint64_t kib;        /* of it that have come */
        uint64_t arrived_ms; /* when the last of those did; 0: never */
};

/* It joins the line with all its tries before it. */
void fetch_queue(struct fetch *f);
/* It has got a seat: a try begins. */
void fetch_start(struct fetch *f, uint64_t now_ms);
/* It had failed, and is to begin with a first try in the seat that it has. */
void fetch_start_anew(struct fetch *f, uint64_t now_ms);
/* The session has the torrent (again) and none of the metadata. */
void fetch_joined(struct fetch *f);
/* It came, and was good. */
void fetch_found(struct fetch *f);
/* It did not come. for_good: it will not be tried for again. */
void fetch_failed(struct fetch *f, bool for_good, uint64_t now_ms);
/* A rest is over. True: it was the last one, and it joins the line; false: there is another. */
bool fetch_rested(struct fetch *f);
/* Time has gone by for one that has a seat. */
enum fetch_action fetch_tick(struct fetch *f, const struct fetch_rules *rules,
                             const struct fetch_view *view, uint64_t now_ms);
/* It is awaited, and nothing of it has come for so long that peers may have been busy, or not up
 * yet, when they were dialled. */
bool fetch_starves(const struct fetch *f, uint64_t now_ms);

#endif
