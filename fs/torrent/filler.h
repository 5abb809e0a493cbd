/* SPDX-License-Identifier: MIT */
/* filler.h: fetches ranges of pieces in order though nobody reads them (--fill), a bounded number
 * at a time, so that neither its memory nor what a call costs grows with the torrent. Pure: knows
 * no lock and no clock. */
#ifndef FS_FILLER_H
#define FS_FILLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct filler_range {
        uint32_t first, end; /* [first, end) */
};

struct filler {
        struct filler_range *ranges; /* in order and apart */
        size_t n;
        size_t at;     /* the range that it is in */
        uint32_t next; /* the piece in it that is looked at next */
        uint32_t *wished;
        unsigned n_wished, most;
        unsigned passed;               /* pieces that came since it last looked */
        bool full;                     /* there was no room for a piece */
        uint32_t node;                 /* the file that it fetches, for the caller; 0: several */
        struct filler *before, *after; /* of its torrent (utlist); for the caller */
};

/* What it asks of its torrent. */
struct filler_torrent {
        bool (*has)(void *arg, uint32_t piece);
        /* Wants a piece with the least priority (wanted) or takes the wish back. Where it gives
         * -errno the piece is not wanted, and the filler looks again later; above 0: another wants
         * it all the same. */
        int (*want)(void *arg, uint32_t piece, bool wanted);
        /* Whether others may have the room of a piece that it has asked for. */
        bool (*may_yield)(void *arg, uint32_t piece);
        void *arg;
};

/* A filler of ranges, which it takes over (from malloc; n > 0), also where it fails. NULL: no
 * memory. Nothing is wanted before filler_run. */
struct filler *filler_new(struct filler_range *ranges, size_t n, uint32_t piece_length);
/* Frees it; its wishes must have been taken back. NULL is fine. */
void filler_free(struct filler *f);
/* A piece of the torrent has come, or time has passed: wants the next pieces where enough of those
 * before have come. */
void filler_run(struct filler *f, bool came, const struct filler_torrent *t);
/* Pieces of it have gone again: it looks for what is missing from the start. */
void filler_rewind(struct filler *f);
/* Others need room: takes back at most n of its wishes, those that may_yield names, the last ones
 * first; it asks for them again when there is room. Those that another filler of the torrent wants,
 * too, don't count until that one yields them. Returns how many do. */
unsigned filler_yield(struct filler *f, unsigned n, const struct filler_torrent *t);
/* The same for that piece alone, whatever may_yield says. */
void filler_let_go(struct filler *f, uint32_t piece, const struct filler_torrent *t);
/* What it asks for can't be had now: takes all its wishes back, and asks again likewise. */
void filler_rest(struct filler *f, const struct filler_torrent *t);
/* Whether it has asked for the piece, and has not looked since whether it has come. */
bool filler_wished(const struct filler *f, uint32_t piece);
/* Whether all of its pieces have come. */
bool filler_is_done(const struct filler *f, const struct filler_torrent *t);
/* Takes all its wishes back. */
void filler_stop(struct filler *f, const struct filler_torrent *t);

#endif
