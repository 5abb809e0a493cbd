/* SPDX-License-Identifier: MIT */
/* bt.h: BitTorrent for C. The only header of shim/ that others see.
 *
 * Opaque handles over libtorrent-rasterbar 2.0. No exception leaves this library: every entry point
 * and every callback it installs is noexcept. Functions return 0 or a negative errno; results come
 * last and are untouched on failure. struct bt_error, where a function takes one, is the caller's
 * and may be NULL.
 *
 * Threads: functions may be called from any thread unless they say otherwise. Those marked
 * "asynchronous" hand their work to the session's network thread and return at once; those marked
 * "blocking" wait for it. */
#ifndef SHIM_BT_H
#define SHIM_BT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
        BT_V1_BYTES = 20,
        BT_V2_BYTES = 32,
        BT_HEX_MAX = 2 * BT_V2_BYTES + 1, /* an info-hash as text, with its NUL */
        BT_PRIORITY_NONE = 0,             /* not wanted */
        BT_PRIORITY_TOP = 7,
};

struct bt_error {
        int code; /* -errno */
        char text[240];
};

/* The info-hashes of one torrent (BEP 3, BEP 52). A hybrid has both. */
struct bt_hash {
        bool has_v1, has_v2;
        uint8_t v1[BT_V1_BYTES];
        uint8_t v2[BT_V2_BYTES];
};

/* What metadata may ask for at most; beyond that it is refused with E2BIG. */
struct bt_limits {
        size_t metadata_bytes;
        uint32_t pieces;
        uint32_t files;
        uint32_t depth; /* path components below the torrent's directory; v2: 101 at most */
        uint32_t folders;
        size_t path_bytes; /* of all paths together; in v2 they are far longer than the metadata */
};
extern const struct bt_limits bt_default_limits;

/* Lower-case hex of one hash; writes at most BT_HEX_MAX bytes. A hash that is not there gives "".
 */
void bt_hash_v1_hex(const struct bt_hash *h, char out[BT_HEX_MAX]);
void bt_hash_v2_hex(const struct bt_hash *h, char out[BT_HEX_MAX]);

/* ---- metadata: what an info dictionary says. Immutable and counted; any thread. ---- */

struct bt_meta;

struct bt_file {
        const char *path; /* raw components joined by '/', as the torrent has them; a '/' or NUL
                             inside one is already '_'; "" for the padding of v2 */
        uint64_t offset;  /* in the torrent's byte stream */
        uint64_t size;
        bool pad;     /* BEP 47 padding: not for users */
        bool symlink; /* BEP 47 symbolic link: not served */
};

struct bt_meta *bt_meta_ref(struct bt_meta *m);
void bt_meta_unref(struct bt_meta *m); /* NULL is fine */
const struct bt_hash *bt_meta_hash(const struct bt_meta *m);
/* The info dictionary byte for byte as it came: what the info-hash is the hash of. The bytes live
 * as long as m. */
const void *bt_meta_bytes(const struct bt_meta *m, size_t *ret_len);
const char *bt_meta_name(const struct bt_meta *m); /* raw, lives as long as m */
bool bt_meta_single_file(const struct bt_meta *m);
bool bt_meta_private(const struct bt_meta *m);
uint32_t bt_meta_piece_length(const struct bt_meta *m);
uint32_t bt_meta_pieces(const struct bt_meta *m);
uint64_t bt_meta_size(const struct bt_meta *m);
uint32_t bt_meta_files(const struct bt_meta *m);
/* i < bt_meta_files(m). The strings live as long as m. */
void bt_meta_file(const struct bt_meta *m, uint32_t i, struct bt_file *ret);

/* ---- sources: what can be added. Immutable and counted; any thread. No session needed, nothing
 * blocks. What gives one out gives a reference, which is the caller's. ---- */

struct bt_source;

/* Parses a magnet URI (BEP 9, BEP 53) or a bare info-hash (40 or 64 hex digits, 32 of base32), as
 * people paste them: what is around it, and what of it is written otherwise than the BEPs have it,
 * is judged by magnet.hpp. This is the one place that says what a magnet is.
 * Keeps at most 100 each of trackers, web seeds and x.pe peers, and drops peers and web seeds on
 * loopback addresses unless loopback. -EINVAL with a reason. */
int bt_source_from_magnet(const char *text, size_t len, bool loopback, struct bt_source **ret,
                          struct bt_error *err);
/* Parses a .torrent file, with at most 100 web seeds (BEP 19), as above. -EINVAL, or -E2BIG over a
 * limit, with a reason. */
int bt_source_from_torrent(const void *data, size_t len, const struct bt_limits *limits,
                           bool loopback, struct bt_source **ret, struct bt_error *err);
/* Gives all that s says as bytes for bt_source_load, to be freed with bt_free: the metadata as it
 * came, trackers with their tiers, web seeds, up to 100 peers with the most useful first, the files
 * that a magnet asks for, and the hashes of v2 that are known (BEP 52). With metadata the bytes are
 * a .torrent that other programs can read; without, they are a magnet URI. -ENOMEM. Any thread;
 * takes long for a large torrent. */
int bt_source_save(const struct bt_source *s, void **ret, size_t *ret_len);
/* The same as three parts, one behind the other, of which the middle one, the metadata, is that of
 * s and lives as long: for who has no memory for it twice. The others live until *owned is given to
 * bt_free. -ENOMEM. */
struct bt_bytes {
        const void *data;
        size_t len;
};
enum { BT_SOURCE_PARTS = 3 };
int bt_source_parts(const struct bt_source *s, struct bt_bytes parts[BT_SOURCE_PARTS],
                    void **owned);
/* Makes a source of bytes that bt_source_save gave. The info-hash and the metadata are the same
 * byte for byte. Peers and web seeds on loopback addresses are dropped unless loopback. Hashes are
 * checked when the torrent is added, and those that are wrong are dropped. -EINVAL or -E2BIG with a
 * reason. Any thread; takes long for a large torrent. */
int bt_source_load(const void *data, size_t len, bool loopback, struct bt_source **ret,
                   struct bt_error *err);
/* Gives another reference to s, for who keeps it beside the one that has it. */
struct bt_source *bt_source_ref(struct bt_source *s);
/* Gives a reference back; s goes with the last. NULL is fine. */
/* A source of all that s says and of its metadata m, which has come. -ENOMEM. Any thread. */
int bt_source_join(const struct bt_source *s, struct bt_meta *m, struct bt_source **ret);
void bt_source_free(struct bt_source *s);
const struct bt_hash *bt_source_hash(const struct bt_source *s);
const char *
bt_source_name(const struct bt_source *s); /* dn or the torrent's name; "" when unknown */
/* As a magnet URI for users to pass on. It lacks what bt_source_save has besides: the metadata, the
 * tiers of trackers, hashes, and peers but those that a magnet named. */
const char *bt_source_magnet(const struct bt_source *s);
/* Whether the metadata is in it. */
bool bt_source_is_whole(const struct bt_source *s);
/* Borrowed. NULL for a magnet, and for what the callback saved was given. */
struct bt_meta *bt_source_meta(const struct bt_source *s);
/* Whether the bytes are those of the piece, by its hash: 1 or 0. -ENODATA: of v2, where the hash is
 * not known yet; -EINVAL: no metadata, no such piece, or another length than its own. Any thread;
 * some 10 ms for 16 MiB. */
int bt_source_check(const struct bt_source *s, uint32_t piece, const void *data, size_t len);
/* Whether the magnet asks for that file of the torrent (BEP 53); one that names none asks for all.
 * A hint for what to fetch beyond what is read, and no more. It can name the first 10,001. */
bool bt_source_selects(const struct bt_source *s, uint32_t file);

/* ---- the session ---- */

struct bt_session;
struct bt_torrent;
struct bt_found; /* metadata that nobody has looked at yet */

/* Makes metadata of it, once. -EINVAL, -E2BIG with a reason. Any thread; takes long for a large
 * torrent. */
int bt_found_meta(struct bt_found *f, struct bt_meta **ret, struct bt_error *err);
void bt_found_free(struct bt_found *f);

struct bt_stats {
        uint32_t download_rate, upload_rate; /* payload bytes per second */
        uint32_t peers, seeds;
        uint32_t known_peers;          /* connected or not */
        uint64_t downloaded, uploaded; /* payload bytes in this session */
        uint64_t redundant;            /* so many of those that peers gave had come before */
};

enum bt_log_level { BT_LOG_ERROR, BT_LOG_WARNING, BT_LOG_INFO, BT_LOG_DEBUG };

/* What the session calls. user is the one given to bt_torrent_add; it must live until released().
 * None may throw or block for long. */
struct bt_callbacks {
        /* Store: from the disk threads. Calls for one piece come in the order write, hash (read),
         * read. Return 0 or -errno; write also 1: nothing was written, as the piece is there. What
         * is there may go again, so the hash of such a piece is that of what is read. */
        int (*write)(void *user, uint32_t piece, uint32_t offset, const void *data, size_t len);
        int (*read)(void *user, uint32_t piece, uint32_t offset, void *data, size_t len);
        /* The same for a peer, of a piece that has passed. -errno: it is not there any more, and
         * the peer is told so. May be NULL where nothing that has passed ever goes. */
        int (*give)(void *user, uint32_t piece, uint32_t offset, void *data, size_t len);
        /* The piece's hash is right and its bytes can be read from the store. Network thread: must
         * not block. May come again. */
        void (*piece_passed)(void *user, uint32_t piece);
        /* The piece's hash was wrong; its bytes will be written again. Network thread: must not
         * block. */
        void (*piece_failed)(void *user, uint32_t piece);
        /* A reader waits for a piece that no peer has, and one has told of this one, which nobody
         * wants: a seed that shows one at a time (BEP 16) tells of another when it has seen that
         * this one was taken. Comes again while that is so. Network thread: must not block. May be
         * NULL. */
        void (*offered)(void *user, uint32_t piece);
        /* What was written of the piece is worth nothing: a write of it failed or its hash was
         * wrong. All of it will be written again, or nothing. From the disk threads, in order with
         * the piece's other calls. */
        void (*piece_cleared)(void *user, uint32_t piece);
        /* What bt_torrent_lose said is in vain: the session counts the piece as there until it has
         * the torrent anew. Network thread: must not block. May be NULL where nothing ever goes. */
        void (*kept)(void *user, uint32_t piece);
        /* The last callback for user: nothing of the torrent is left. Any thread. */
        void (*released)(void *user);

        /* From bt_dispatch's thread. meta is borrowed; NULL when the metadata was refused, then err
         * says why. */
        void (*metadata)(void *user, struct bt_meta *meta, const struct bt_error *err);
        /* Where it is not NULL, called instead of metadata for what was not refused: a large
         * torrent's takes most of a second to look at, which is left to the caller, who owns found.
         */
        void (*found)(void *user, struct bt_found *found);
        void (*stats)(void *user, const struct bt_stats *stats);
        /* What bt_torrent_save has asked for. The callee owns source. NULL: there was no memory
         * for it. May be NULL itself where nothing is ever saved. */
        void (*saved)(void *user, struct bt_source *source);
        /* A tracker's or a torrent's own complaint, for the status. */
        void (*problem)(void *user, const char *text);
        void (*log)(enum bt_log_level level, const char *text);
};

struct bt_setting {
        const char *name, *value;
};

/* The version of the libtorrent that is loaded, as "2.0.8.0". */
const char *bt_version(void);

/* Starts a session: its threads exist from here on, so call it after every fork. state (may be
 * NULL) is what bt_session_state_save gave. Settings are libtorrent's, by name; an unknown name or
 * a bad value is -EINVAL and nothing is started. Blocking. */
int bt_session_new(const struct bt_callbacks *callbacks, const struct bt_setting *settings,
                   size_t n_settings, const void *state, size_t state_len, struct bt_session **ret,
                   struct bt_error *err);
/* Checks settings as bt_session_new would, without starting anything. */
int bt_settings_check(const struct bt_setting *settings, size_t n_settings, struct bt_error *err);
/* Stops everything and frees s; tells trackers "stopped" but waits for them at most timeout_ms.
 * Returns 0; -ETIME when it gave up, then threads and memory of the session are left to the
 * process' exit. Blocking; no other call on s may run or follow. */
int bt_session_close(struct bt_session *s, unsigned timeout_ms);
/* From here on no peer on this host's loopback addresses is dialled nor let in, and no web seed
 * there is asked, whoever names it; trackers are asked as before. Before the first torrent.
 * Asynchronous.
 */
void bt_session_refuse_loopback(struct bt_session *s);
/* Readable when bt_dispatch has work. Lives as long as s. */
int bt_session_event_fd(const struct bt_session *s);
/* Takes what happened and calls metadata, stats, problem and log for it. One thread only. */
void bt_dispatch(struct bt_session *s);
/* Peers are tried over TCP alone; with on, over uTP too, which reaches some that TCP does not. Does
 * nothing when the settings given to bt_session_new name enable_outgoing_utp. Asynchronous. */
void bt_session_second_try(struct bt_session *s, bool on);
/* Asks for stats of the torrents that changed and a sign of life of the network thread; both come
 * with bt_dispatch. Asynchronous. */
void bt_session_poll(struct bt_session *s);

struct bt_session_stats {
        uint16_t listen_port;
        uint32_t download_rate, upload_rate;
        uint32_t peers, dht_nodes;
        uint64_t heartbeat; /* counts answers of the network thread to bt_session_poll */
};
void bt_session_get_stats(const struct bt_session *s, struct bt_session_stats *ret);

/* The DHT's state for the next start, as bytes to be freed with bt_free. Blocking. */
int bt_session_state_save(struct bt_session *s, void **ret, size_t *ret_len);
void bt_free(void *p);

/* Adds a torrent in which no piece is wanted. It starts at once, and the peers that src names are
 * dialled at once, the first of them first. Pieces are wanted with bt_torrent_want once the
 * metadata is there.
 *
 * have, when not NULL, says which pieces are in the store and verified: a bitmap of
 * (bt_meta_pieces + 7) / 8 bytes, where piece 0 is the lowest bit of byte 0. Bits beyond the last
 * piece do not count. These pieces are not read, hashed or fetched, and they are given to peers;
 * piece_passed may be called for them. Without metadata in src nobody knows what the bits stand
 * for: have must be NULL then (-EINVAL).
 *
 * Blocking, milliseconds. -EEXIST when the session has it, -EINVAL with a reason. */
int bt_torrent_add(struct bt_session *s, const struct bt_source *src, const uint8_t *have,
                   void *user, struct bt_torrent **ret, struct bt_error *err);
/* Forgets the torrent; t is invalid afterwards. released(user) comes when the last callback is
 * over. The store is not touched. Asynchronous. */
void bt_torrent_remove(struct bt_torrent *t);

/* Asks for all that is known of the torrent, which comes as a source with the callback saved: its
 * metadata, its trackers, web seeds and peers as of now, and the hashes of v2 that peers have given
 * so far. bt_torrent_add takes that source again, after bt_torrent_remove or in another session,
 * and bt_source_save makes bytes of it. A peer that was banned, or that never answered, is not in
 * it. Asynchronous; takes the network thread milliseconds for a torrent of many pieces. Does not
 * come if the torrent is removed before. */
void bt_torrent_save(struct bt_torrent *t);

struct bt_want {
        uint32_t piece;
        uint8_t priority; /* 0 not wanted … 7 */
        bool urgent;      /* a reader waits for it: request it before and beside everything else (a
                             deadline of now) */
};
/* Changes what is wanted, in order. A piece that is no longer urgent loses its deadline first, as
 * libtorrent would otherwise leave it at priority 1. Asynchronous. */
void bt_torrent_want(struct bt_torrent *t, const struct bt_want *want, size_t n);
/* The piece is not in the store any more: from here on it is missing like any other, peers are told
 * so (BEP 54), and what was wanted of it before is not. Of a torrent that is complete, and with
 * another libtorrent than the one that was compiled against, the callback kept comes instead.
 * Asynchronous, in order with bt_torrent_want. -ENOMEM: the session was not told. */
int bt_torrent_lose(struct bt_torrent *t, uint32_t piece);
/* Adds the trackers, web seeds and peers of src, which is of the same torrent, and its metadata
 * where t has none yet. Of a private torrent (BEP 27) the trackers of a .torrent take the place of
 * those before, and a magnet adds nothing. Asynchronous. */
void bt_torrent_merge(struct bt_torrent *t, const struct bt_source *src);
/* Announces to trackers and the DHT now. Asynchronous. */
void bt_torrent_reannounce(struct bt_torrent *t);
/* Bytes of metadata that peers gave and that were of use; never falls. */
uint64_t bt_torrent_metadata_bytes(const struct bt_torrent *t);
/* While the metadata is missing: dials known peers that are not connected (up to a hundred) within
 * a second or so, those too that failed. Asynchronous. */
void bt_torrent_redial(struct bt_torrent *t);
/* Dials the peers that are known and not connected at once, those too that failed, or that have not
 * answered for long: by what bt_session_second_try says now. Asynchronous. */
void bt_torrent_dial_anew(struct bt_torrent *t);
/* Goes on downloading after a failed write of the store, for which the session stopped the torrent.
 * Asynchronous. */
void bt_torrent_resume_writes(struct bt_torrent *t);

#ifdef __cplusplus
}
#endif

#endif
