/* SPDX-License-Identifier: MIT */
/* turns.h: whose turn it is to fetch metadata. However many magnets there are, so many of them are
 * with the session at a time; the others wait in a line, and who was not lucky in its turn goes to
 * the line's end. Nobody's turn depends on who comes after it. Pure: knows no torrent, no clock and
 * no lock; each call takes the same time however many there are. */
#ifndef FS_TURNS_H
#define FS_TURNS_H

#include <stdbool.h>
#include <stdint.h>

enum turn_place {
        TURN_NONE,
        TURN_WAITS,
        TURN_URGENT, /* waits, before all those */
        TURN_SEATED,
        TURN_RESTS, /* not before until_ms */
};

/* One magnet's; zeroed at first. */
struct turn {
        void *owner;
        enum turn_place place;
        uint64_t until_ms;
        struct turn *prev, *next;
};

struct turns {
        unsigned seats;      /* how many may be seated */
        unsigned more_seats; /* how many more, if those are urgent */
        unsigned n_seated, n_waiting, n_urgent;
        struct turn *urgent, *waiting, *resting;
};

/* Joins the line, from wherever it is. */
void turns_queue(struct turns *ts, struct turn *t, bool urgent);
/* One that waits or rests becomes urgent; others are left where they are. */
void turns_hurry(struct turns *ts, struct turn *t);
/* Seats it at once, however many there are. */
void turns_seat(struct turns *ts, struct turn *t);
/* Rests until then; all rest equally long, so that the first to rest is the first to wake. */
void turns_rest(struct turns *ts, struct turn *t, uint64_t until_ms);
/* Leaves line, seat or rest. */
void turns_leave(struct turns *ts, struct turn *t);

/* Seats the next one and returns it; NULL: nobody waits, or there is no seat. */
struct turn *turns_next(struct turns *ts);
/* The next one whose rest is over, of no place now; NULL: none. */
struct turn *turns_rested(struct turns *ts, uint64_t now_ms);
/* So many seats have to be given up for all who wait to get one. */
unsigned turns_missing(const struct turns *ts);

#endif
