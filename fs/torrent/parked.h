/* SPDX-License-Identifier: MIT */
/* parked.h: reads that wait for pieces, and what handle.c and parked.c share of an open file. All
 * under torrent->lock but where it says so. */
#ifndef FS_PARKED_H
#define FS_PARKED_H

#include "torrent/crowd.h"
#include "torrent/handle.h"
#include "torrent/torrent.h"

/* A read, or a poll of a non-blocking handle, that waits for its first missing piece. */
struct parked {
        /* set once */
        uint64_t id;
        void *request; /* NULL: a poll's watch */
        pid_t tid;
        struct handle *handle;
        uint64_t off; /* in the file */
        size_t len;
        uint32_t first, end; /* its pieces */
        uint32_t wished;     /* the first of those it wants: it was missing then */
        bool whole;          /* it fills the page cache: all of it or an error */
        uint64_t asked_ms;   /* when it was parked */
        bool for_room; /* it is to be told whether there is room: it does not wait for the piece */

        /* under torrent->lock */
        uint8_t priority;    /* of what it wants; PRIORITY_YIELDS while it yields */
        uint64_t yielded_ms; /* when it last had to; 0: never */
        uint32_t waits_for;
        uint64_t since_ms; /* when it began to wait for that piece */
        bool armed;
        uint64_t crowd_ms; /* when those who may hang behind it were last looked for */
        bool poked; /* it got an interrupt for a signal that its thread ignores: look again for one
                       that it does not */
        bool came_back; /* it is asked for again, as its like was ended a moment ago */
        int outcome;    /* answered before it was armed: > 0 an errno, OUTCOME_DATA; else 0 */
        struct parked *prev, *next;   /* of the torrent */
        struct parked *hprev, *hnext; /* of the handle */
        struct parked *pprev, *pnext; /* of the piece; after that: of those to be answered */
        UT_hash_handle hh;
};
enum { OUTCOME_DATA = -1 };

/* Who lacks something of what he plays next. */
enum shortage {
        SHORTAGE_NONE,
        SHORTAGE_YOUNG, /* one that may play: one can't tell yet */
        SHORTAGE_PLAYS,
};

struct handle {
        /* set once */
        struct torrent *torrent;
        struct store *store; /* a reference */
        struct layout layout;
        uint32_t node;  /* of the content's tree */
        uint64_t inode; /* of the mount; the kernel has one page cache for each */
        pid_t process;  /* that opened it; 0: unknown, or not needed */
        bool hidden;    /* it is unknown, and needed */
        uint64_t opened_ms;
        /* Every piece was there when it was opened, and none was found missing since. */
        atomic_bool complete;
        /* Where it was read last while that was so, to where, and when; 0: it was not. */
        _Atomic uint64_t read_at, read_end, read_ms;

        /* under torrent->lock */
        struct reader reader;
        uint64_t touched_ms;    /* when it was last read; 0: not yet */
        enum shortage shortage; /* parked_shortage, when last looked at */
        struct parked *parked;  /* (utlist) */
        struct parked *watch;   /* the poll's */
        void *poll_handle;
        int error;            /* of the watch: > 0 */
        uint64_t answered_ms; /* when the last read had its answer; 0: none yet */
        bool followed;        /* since its last read another handle has begun where it was */
        struct crowd crowd;   /* behind reads of its file, for pages.c */
        uint64_t filled_ms;   /* when a read that fills the page cache last got its bytes */
        /* The read that was ended last to see whether its thread is still there, and when. */
        uint64_t tried_at, tried_end, tried_ms;
        unsigned tries; /* how often that came back, and was ended again */
        unsigned quick; /* so many that come back are ended at once, for who hangs behind them */
        struct handle *prev, *next;
};

/* How far ahead it may want. */
uint64_t handle_window_max(const struct handle *h);
/* Where the row that is read now has got to: the first byte that is waited for, else the end of
 * what was given. What was only asked for does not count. Not before the first read. */
uint64_t handle_position(const struct handle *h);
/* Parks a read (or, request NULL, a poll's watch) of [off, off + len) of the file, in pieces
 * [first, end), whose first missing one is missing. whole: it fills the page cache. -ENOMEM,
 * -ENOSPC; -EAGAIN: that piece has just come. */
int parked_add(struct handle *h, uint64_t off, size_t len, bool whole, uint32_t first, uint32_t end,
               uint32_t missing, void *request, pid_t tid, struct parked **ret);
/* A poll's watch p, whose piece has no room yet, becomes a read that waits a moment for that: it
 * ends in EAGAIN when there is room or nothing is known yet, in ENOSPC when there will be none. */
void parked_wait_for_room(struct parked *p, void *request);
/* Whether the piece, which is wanted, has no room so far. */
bool parked_lacks_room(const struct torrent *t, const struct want *want);
/* Those that wait for no more than room, and whose piece has it, are to ask again. */
void parked_room_came(struct torrent *t, struct parked **answer);
/* Whether h, which plays, paced, or may, lacks some of what reader_needs() says from off on: others
 * yield to it then. */
enum shortage parked_shortage(const struct handle *h, uint64_t off);
/* The first piece that h lacks of what reader_needs() says from off on; UINT32_MAX: none. */
uint32_t parked_lacks_first(const struct handle *h, uint64_t off);
/* Whether a read with another handle of the torrent waits, and does not yield. */
bool parked_others_wait(const struct handle *h);
/* Whether what r wants comes behind what others want, who play and lack something. */
bool parked_yields(const struct torrent *t, const struct reader *r);
/* The piece is urgent no more if nobody waits for it but those who yield. */
void parked_calm(struct torrent *t, struct want *want);
/* Takes p out of every list; it is the caller's then. */
void parked_remove(struct torrent *t, struct parked *p);
/* Ends p with outcome, an errno or OUTCOME_DATA, and puts it on the list answer, unless its request
 * must not be answered yet. */
void parked_settle(struct torrent *t, struct parked *p, int outcome, struct parked **answer);
/* Settles all with err (> 0), and puts them on the list answer; no piece lingers any more. */
void parked_release(struct torrent *t, int err, struct parked **answer);
/* Tells the session what changed, unlocks t, then answers the reads and wakes the polls on the
 * list. */
void parked_unlock_and_answer(struct torrent *t, struct parked *answer);

/* ---- without the lock; any thread ---- */

/* The parked read may be answered from now on (its interrupt handler is in place). */
void parked_arm(struct torrent *t, uint64_t id);
/* Ends a parked read for good: the bytes in hand, or EINTR; one that fills the page cache always
 * ends in EINTR. Nothing happens if it was answered already. */
void parked_interrupt(struct torrent *t, uint64_t id);
/* The same for FUSE_INTERRUPT, once the reading thread has a signal that ends its read: a deadly
 * one for a read that fills the page cache, for the others also one that it handles. low: the low
 * 32 bits of the read's id. Reads /proc. */
void parked_interrupt_if_signalled(struct torrent *t, uint32_t low);

/* The piece is in the store and verified (store_set came before): answers who waited for it. */
void parked_piece_passed(struct torrent *t, uint32_t piece);
/* A piece is taken because a peer offers it (torrent->offered), where a parked read needs that. */
void parked_take_offer(struct torrent *t);
/* Once in a while: the same; time-outs, deadlines for reads that wait too long, and reads whose
 * thread has been killed, or behind whose pages somebody hangs. The chores read /proc for those.
 * O(parked reads of the torrent). */
void parked_tick(struct torrent *t, uint64_t now_ms);
/* Answers all parked reads with err (> 0). */
void parked_release_all(struct torrent *t, int err);

/* The program that p is of, if it is alive, asks for a page of it again at once. Under the lock. */
void parked_try(struct torrent *t, struct parked *p, uint64_t now_ms, struct parked **answer);

/* Whether a read that fills the page cache is to end in EINTR and not to be parked: it comes back
 * for a page that somebody hangs behind. Under the lock. */
bool parked_ends_at_once(struct handle *h, uint64_t off, size_t len);

/* ---- parked_signals.c, pages.c; without the lock ---- */

/* Ends the reads whose thread has got a signal that ends them since it was interrupted by one that
 * did not; alive: and those that fill the page cache for a thread that is gone. Reads /proc. */
void parked_check_threads(struct torrent *t, bool alive);

/* Ends the reads that fill pages of the page cache which somebody waits for in mmap(2). Reads
 * /proc. */
void pages_check(struct torrent *t, uint64_t now_ms);

#endif
