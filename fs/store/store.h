/* SPDX-License-Identifier: MIT */
/* store.h: the sparse files that hold the torrents' pieces, and which of them are there.
 *
 * A byte of a torrent lies at its own offset in the store's file; missing ones are holes. Room for
 * a piece is reserved before the piece is wanted, so the cache can't exceed its bound however the
 * pieces arrive. */
#ifndef FS_STORE_H
#define FS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/cache.h"
#include "store/have.h"

struct store;

/* Bytes of the torrent, from offset on, that no user sees (BEP 47 padding). */
struct store_range {
        uint64_t offset, len;
};

struct store_options {
        const char *name; /* the torrent's info-hash as text; the file's name is made of it */
        uint32_t number;  /* the torrent's: of two of a name the higher one has the file */
        uint64_t size;    /* of the torrent, in bytes */
        uint32_t piece_length;
        /* What store_have_bytes does not count: ranges in order and apart, from malloc. store_open
         * takes them over, also where it fails. */
        struct store_range *hidden;
        size_t n_hidden;
        /* The pieces that are there, as have_to_bitmap gives them; they lie in a file that an
         * earlier store of the name has left. NULL: the store is new and empty. */
        const uint8_t *have;
        /* The pieces of have are claimed, but suspect: see below. */
        bool suspect;
};

/* Opens a torrent's store; *ret is the one reference to it. A store of the name and of a lower
 * number, one that is about to be discarded for instance, loses its file and goes on without a
 * name. What lies in the file in pieces that are not there is taken off the disk; pieces behind the
 * file's end are not there.
 *
 * With have the file is looked at, and opened only when the store first reads, writes or punches:
 * until then it costs no descriptor. Then, too, what lies in missing pieces goes, or at once where
 * the file takes more than its pieces account for. The calls that open it fail with -EIO where that
 * can't be done or the file is not the one that was there; a message is logged then, once. (Where
 * files are not sparse it is opened at once.) Where no piece is said to be there the file may be
 * missing, too: the first write makes it, and fails as store_open does where it can't.
 *
 * Any thread; blocking on the disk. -EFBIG: the file system can't hold such a file. -EEXIST: a file
 * of that name is there, and it is somebody else's. -ENOENT: with pieces in have, no such file is
 * there. -EBUSY: with have, the store of that number has not been left yet. -ESTALE: a store of the
 * name has a higher number. Else -errno, and a file that is there stays and counts. */
int store_open(struct cache *c, const struct store_options *o, struct store **ret);
/* Which pieces may be in the file that a store of that name has left: those with a byte that is no
 * hole, as a bitmap for store_open, where they are suspect; to be freed. -ENOENT: no store has left
 * one, or it can't be told; -ENOMEM. Any thread; blocking on the disk. */
int store_survey(struct cache *c, const char *name, uint64_t size, uint32_t piece_length,
                 uint8_t **ret);
/* Why store_open failed, and what to do, for an errno (> 0) of it. Lives until the thread's next
 * call. */
const char *store_open_error(int err);
/* Reads and writes fail with -ESTALE from here on. Any thread; no I/O. */
void store_condemn(struct store *s);
/* Condemns it, deletes its file, opened or not, and gives its room back. Any thread; blocking: the
 * file system may take its time for a large one. */
void store_discard(struct store *s);
/* Leaves the file where it is, for the next store_open: it counts until then, and what lies in it
 * of pieces that are not there goes, but for suspect ones. Reads and writes fail with -ESTALE from
 * here on; what was there, and what was suspect, can still be asked for. Waits for writes and
 * punches under way. What is going goes, too, or counts until the next store_open, which takes it
 * off the disk; the store_punch of it that is still to come does nothing. Nothing may judge
 * meanwhile. Blocking. */
void store_leave(struct store *s);
/* The last reference that goes closes the file, and leaves it first if that was not done, which
 * blocks; of one that was discarded nothing stays. NULL is fine. */
struct store *store_ref(struct store *s);
void store_unref(struct store *s);

/* Room for one piece: 0, also when it is reserved already; -ENOSPC at the bound or when the disk
 * was that full at the last cache_sample(). Any thread; no I/O. */
int store_reserve(struct store *s, uint32_t piece);
/* The same where so much room is left beside it, and so much of what is vacant (cache_vacant) is
 * not had for it; also for a piece that has its room. Nothing is to go for it: cache_on_short does
 * not hear of it. -ENOSPC also for a piece that is going. Any thread; no I/O. */
int store_reserve_spare(struct store *s, uint32_t piece, uint64_t beside, uint64_t vacant);
/* Whether the piece has its room. Any thread; no I/O. */
bool store_is_reserved(struct store *s, uint32_t piece);
/* Whether the bound is large enough for the piece, where nothing else is there. Any thread; no I/O.
 */
bool store_fits(struct store *s, uint32_t piece);
/* Gives room back, unless something of the piece was written since, or it is suspect. Any thread;
 * no I/O. */
void store_release(struct store *s, uint32_t piece);
/* Takes what was written of a piece that is not verified off the disk again; its room stays
 * reserved until store_release. Nothing for a suspect piece. Not at the same time as a write of
 * that piece. Blocking. */
void store_clear(struct store *s, uint32_t piece);

/* Raw bytes of a piece, suspect or not. A write without room reserves it. -errno; -ENOSPC; -EIO
 * past the end; -EDQUOT: a quota is met, see store_quota_met; -ESTALE: the store is condemned;
 * -EBUSY: a write to a suspect piece, of which nothing is written. 1: the piece is there, and
 * nothing was written. Disk threads; blocking. */
int store_write(struct store *s, uint32_t piece, uint32_t offset, const void *data, size_t len);
/* A write failed with -EDQUOT, and somebody reads what was to be written: stores shall take less
 * from here on for a while, so that what was read before makes room; unless nothing that goes
 * helps. Any thread; no I/O. */
void store_quota_met(struct store *s);
int store_read_piece(struct store *s, uint32_t piece, uint32_t offset, void *data, size_t len);
/* The same of a piece that is there, for peers: as store_read. */
int store_give_piece(struct store *s, uint32_t piece, uint32_t offset, void *data, size_t len);
/* All that was written before the call is on the disk at the return, also should the power fail. No
 * I/O where nothing was written since the last call. To be called before store_leave, which does
 * not, where that counts; and after store_claims or store_bitmap gave what is to be there. Any
 * thread; blocking. -errno; then each later call fails, too: the kernel says but once that it could
 * not write something, and forgets it. */
int store_sync(struct store *s);

/* Somebody reads the pieces [first, end), or they came: when, in tenths of a second of some clock
 * that does not go back. Lock-free, any thread. store_touched gives what was last said of a piece,
 * 0: nothing. */
void store_touch(struct store *s, uint32_t first, uint32_t end, uint32_t now);
uint32_t store_touched(const struct store *s, uint32_t piece);
/* The first piece from there on of which something was written, and that is neither there nor
 * suspect nor going; UINT32_MAX: none. Any thread. */
uint32_t store_next_unfinished(struct store *s, uint32_t from);
/* Whether a piece is such a one. Any thread. */
bool store_is_unfinished(struct store *s, uint32_t piece);

/* Bytes of the torrent, of pieces that were there all the while: never those of one that went
 * meanwhile. -EAGAIN: a piece of the range is missing; -ESTALE: the store is condemned; else
 * -errno. Any thread; blocking on the disk. */
int store_read(struct store *s, uint64_t offset, void *data, size_t len);

/* Pieces that are there and verified. Lock-free but for store_set and store_unset; any thread. A
 * piece that store_has said is there may go at any time: store_read tells. store_set is nothing for
 * a piece that is going, nor for a suspect one, which only store_judge makes one that is there; it
 * returns false for those. */
bool store_set(struct store *s, uint32_t piece);
/* A piece that is there is missing from here on, and nobody reads it any more: the first half of
 * taking it off the disk. It is going until store_punch_run, which must follow, has taken it off
 * the disk, or store_keep; what is written of it meanwhile waits for that. Many may be going.
 * Their room stays theirs, and counts as being on the disk. Any thread; no I/O. -ENOENT: it is not
 * there; -EBUSY: it is going; -EOPNOTSUPP: the file system has no holes; -ESTALE: the store is
 * condemned; -ENOMEM. */
int store_unset(struct store *s, uint32_t piece);
/* The same for a piece that was begun: something was written, it is neither there nor suspect nor
 * going. Nobody may be about to say that it is there. -ENOENT: it is no such piece. */
int store_unset_unfinished(struct store *s, uint32_t piece);
/* Takes the pieces [first, end), which are going, off the disk, and gives the room of each back
 * unless somebody wants it again by now. Waits for writes of them that have begun. Nothing for a
 * store that was left. Blocking. -EINVAL: one of them is not going, and nothing was done. Else
 * -errno, as where a file system needs room to note that a part of a file goes: they are going
 * still, a part of their bytes may have gone, and store_keep must follow for each. */
int store_punch_run(struct store *s, uint32_t first, uint32_t end);
/* The same for one piece; -errno: it is missing, but on the disk. */
int store_punch(struct store *s, uint32_t piece);
/* A piece that store_unset took, and that store_punch_run has left on the disk or was not called
 * for, goes no more. right: its bytes have been hashed since, and it is there again, unless
 * somebody has wanted it meanwhile. Else it is missing, but on the disk. Any thread; no I/O. */
void store_keep(struct store *s, uint32_t piece, bool right);
/* Whether a piece is going: in a moment it is gone, or there again. Any thread; no I/O. */
bool store_goes(struct store *s, uint32_t piece);
bool store_has(const struct store *s, uint32_t piece);
/* The first piece of [first, end) that is missing, or end. */
uint32_t store_first_missing(const struct store *s, uint32_t first, uint32_t end);
/* Bytes of [offset, offset + len) of the torrent in pieces that are there. */
uint64_t store_have_in(const struct store *s, uint64_t offset, uint64_t len);
/* Bytes that users see in pieces that are there. */
uint64_t store_have_bytes(const struct store *s);
/* The pieces that are there, as a bitmap (see have.h) for the next store_open, to be freed.
 * -ENOMEM.
 */
int store_bitmap(const struct store *s, uint8_t **ret, size_t *ret_len);

/* ---- suspect pieces: those of an opened store's have, with suspect. Nobody knows whether their
 * bytes are right: they are not there, as far as all of the above goes, but their room is reserved
 * and their bytes stay in the file until they are judged. Who is about to judge one reads it by
 * store_read_piece. Nothing writes to it before: who wants it from the network judges it first, as
 * bad if need be; who wants its room does that, and calls store_release then. ---- */

/* Lock-free, any thread, and cheap where there are none. */
bool store_is_suspect(const struct store *s, uint32_t piece);
/* The first suspect piece from there on; UINT32_MAX: none. Lock-free, any thread. */
uint32_t store_next_suspect(const struct store *s, uint32_t from);
/* good: the piece was hashed, and is there from here on, as after store_set. Else its bytes are
 * taken off the disk, and it is missing; its room stays reserved until store_release, as after
 * store_clear. (Where files are not sparse its bytes stay, and are written over.) Any thread;
 * blocking. -ENOENT: it is not suspect, or not any more; -ESTALE: the store is condemned or was
 * left, and the piece is suspect as before. Else -errno: it is missing, but on the disk. */
int store_judge(struct store *s, uint32_t piece, bool good);
/* The pieces that are there, and the suspect ones, as a bitmap to be freed: what is to be
 * remembered for the next start. *checked: none of them is suspect. A store that was left can still
 * be asked. Any thread. -ENOMEM. */
int store_claims(const struct store *s, uint8_t **ret, size_t *ret_len, bool *checked);

#endif
