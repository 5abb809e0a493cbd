/* SPDX-License-Identifier: MIT */
#include "control/documents.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "torrent/names.h"

void text_add(struct text *t, const char *s, size_t len)
{
        if (t->failed)
                return;
        if (buffer_grow(&t->data, &t->room, t->len + len) < 0) {
                t->failed = true;
                return;
        }
        memcpy(t->data + t->len, s, len);
        t->len += len;
}

void text_adds(struct text *t, const char *s)
{
        text_add(t, s, strlen(s));
}

void text_add_json(struct text *t, cJSON *json)
{
        char *s = cJSON_PrintUnformatted(json);

        cJSON_Delete(json);
        if (s)
                text_adds(t, s);
        else
                t->failed = true;
        cJSON_free(s);
}

static void add_hashes(struct registry *reg, struct torrent *t, cJSON *json)
{
        char v2[BT_HEX_MAX];

        cJSON_AddStringToObject(json, "infoHash", t->hex);
        registry_alias(reg, t, 1, v2);
        if (v2[0])
                cJSON_AddStringToObject(json, "infoHashV2", v2);
}

static void add_number_or_null(cJSON *json, const char *name, bool known, double value)
{
        if (known)
                cJSON_AddNumberToObject(json, name, value);
        else
                cJSON_AddNullToObject(json, name);
}

static void add_pinned(cJSON *json, enum pinned pinned)
{
        if (pinned == PINNED_PART)
                cJSON_AddStringToObject(json, "pinned", "part");
        else
                cJSON_AddBoolToObject(json, "pinned", pinned == PINNED_WHOLE);
}

static cJSON *torrent_json(struct engine *e, struct torrent *t)
{
        struct registry *reg = engine_registry(e);
        char name[NAME_BYTES_MAX + 1] = "";
        cJSON *json = cJSON_CreateObject();
        struct torrent_status st;
        struct summary known;

        torrent_get_status(t, &st);
        torrent_get_summary(t, &known);
        (void)registry_name(reg, t, name);
        add_hashes(reg, t, json);
        cJSON_AddStringToObject(json, "name", name);
        cJSON_AddStringToObject(json, "state", torrent_state_name(st.state));
        if (st.failed)
                cJSON_AddStringToObject(json, "error", st.problem);
        else
                cJSON_AddNullToObject(json, "error");
        /* A tracker's complaint is no failure of the torrent. */
        if (!st.failed && st.problem[0])
                cJSON_AddStringToObject(json, "problem", st.problem);
        cJSON_AddBoolToObject(json, "kept", t->kept);
        add_pinned(json, st.pinned);
        cJSON_AddNumberToObject(json, "addedAt", (double)t->added_at);
        add_number_or_null(json, "length", known.known, (double)st.length);
        cJSON_AddNumberToObject(json, "haveBytes", (double)st.have_bytes);
        cJSON_AddNumberToObject(json, "progress",
                                st.length ? (double)st.have_bytes / (double)st.length : 0);
        add_number_or_null(json, "pieceLength", known.known, known.piece_length);
        add_number_or_null(json, "pieces", known.known, known.pieces);
        add_number_or_null(json, "fileCount", known.known, known.files);
        cJSON_AddNumberToObject(json, "downloadRate", st.stats.download_rate);
        cJSON_AddNumberToObject(json, "uploadRate", st.stats.upload_rate);
        cJSON_AddNumberToObject(json, "redundantBytes", (double)st.stats.redundant);
        cJSON_AddNumberToObject(json, "peers", st.stats.peers);
        cJSON_AddNumberToObject(json, "seeds", st.stats.seeds);
        cJSON_AddNumberToObject(json, "readers", st.readers);
        cJSON_AddNumberToObject(json, "parkedReads", st.parked_reads);
        return json;
}

static const char *const helper_states[] = {[ENGINE_HELPER_AWAY] = "away",
                                            [ENGINE_HELPER_RUNS] = "running",
                                            [ENGINE_HELPER_LOST] = "gone"};
static const char *const sidecar_states[] = {[ENGINE_SIDECAR_NONE] = "none",
                                             [ENGINE_SIDECAR_DOWN] = "down",
                                             [ENGINE_SIDECAR_LISTENS] = "listening"};

static void add_cache(cJSON *json, const struct engine_stats *st)
{
        cJSON_AddNumberToObject(json, "usedBytes", (double)st->cache.used_bytes);
        cJSON_AddNumberToObject(json, "limitBytes", (double)st->cache.limit_bytes);
        cJSON_AddNumberToObject(json, "minFreeBytes", (double)st->cache.min_free_bytes);
        cJSON_AddNumberToObject(json, "evictedBytes", (double)st->evicted_bytes);
        cJSON_AddNumberToObject(json, "evictedPieces", (double)st->evicted_pieces);
}

static cJSON *session_json(struct engine *e, const char *mountpoint)
{
        struct torrent_env *env = engine_env(e);
        cJSON *json = cJSON_CreateObject(), *session, *cache;
        struct engine_stats st;
        uint64_t uptime_s;

        engine_get_stats(e, &st);
        cJSON_AddStringToObject(json, "version", MAGNETFS_VERSION);
        cJSON_AddStringToObject(json, "libtorrent", bt_version());
        cJSON_AddNumberToObject(json, "pid", getpid());
        cJSON_AddStringToObject(json, "mountpoint", mountpoint);
        uptime_s = st.uptime_ms / 1000;
        cJSON_AddNumberToObject(json, "uptime", (double)uptime_s);
        cJSON_AddNumberToObject(json, "heartbeatAge", (double)st.heartbeat_age_ms);
        session = cJSON_AddObjectToObject(json, "session");
        cJSON_AddNumberToObject(session, "listenPort", st.session.listen_port);
        cJSON_AddNumberToObject(session, "downloadRate", st.session.download_rate);
        cJSON_AddNumberToObject(session, "uploadRate", st.session.upload_rate);
        cJSON_AddNumberToObject(session, "peers", st.session.peers);
        cJSON_AddNumberToObject(session, "dhtNodes", st.session.dht_nodes);
        cache = cJSON_AddObjectToObject(json, "cache");
        add_cache(cache, &st);
        cJSON_AddStringToObject(json, "helper", helper_states[st.helper]);
        cJSON_AddStringToObject(json, "sidecar", sidecar_states[st.sidecar]);
        cJSON_AddNumberToObject(json, "openFiles", atomic_load(&env->open_files));
        cJSON_AddNumberToObject(json, "parkedReads", atomic_load(&env->parked_reads));
        cJSON_AddNumberToObject(json, "timedOutReads", (double)atomic_load(&env->timed_out_reads));
        cJSON_AddNumberToObject(json, "torrentCount", registry_count(engine_registry(e)));
        return json;
}

void document_session(struct engine *e, const char *mountpoint, struct text *text)
{
        text_add_json(text, session_json(e, mountpoint));
        text_adds(text, "\n");
}

static void begin_status(struct engine *e, const char *mountpoint, struct text *text)
{
        text_add_json(text, session_json(e, mountpoint));
        /* The torrents follow one by one inside the same object. */
        if (!text->failed) {
                text->len--;
                text_adds(text, ",\"torrents\":[");
        }
}

static bool more_status(struct engine *e, struct text_cursor *d)
{
        struct torrent *t = registry_next(engine_registry(e), d->next);

        if (!t) {
                text_adds(&d->text, "]}\n");
                return false;
        }
        if (d->next > 0)
                text_adds(&d->text, ",");
        d->next = t->number;
        text_add_json(&d->text, torrent_json(e, t));
        torrent_unref(t);
        return true;
}

static void begin_files(struct engine *e, struct torrent *torrent, struct text_cursor *d)
{
        struct registry *reg = engine_registry(e);
        char name[NAME_BYTES_MAX + 1] = "";
        cJSON *json = cJSON_CreateObject();

        (void)registry_name(reg, torrent, name);
        add_hashes(reg, torrent, json);
        cJSON_AddStringToObject(json, "name", name);
        text_add_json(&d->text, json);
        if (!d->text.failed) {
                d->text.len--;
                text_adds(&d->text, ",\"files\":[");
        }
        d->next = TREE_ROOT + 1;
}

/* Adds the path of a node and what is to stand behind it. */
static void add_path(struct text *text, const struct tree *t, uint32_t node, const char *end)
{
        size_t len = tree_path(t, node, NULL, 0);
        _cleanup_free_ char *path = malloc(len + 1);

        if (!path) {
                text->failed = true;
                return;
        }
        tree_path(t, node, path, len + 1);
        text_add(text, path, len);
        text_adds(text, end);
}

void document_name(struct text_cursor *c, struct node n, uint64_t end)
{
        struct listing *l = c->listing;
        const struct alike *a = listing_alike(l);
        const char *name = tree_node(l->tree, n.node)->name;
        uint32_t first;
        int count = alike_find(a, name, &first);

        c->text.failed = c->text.failed || count < 0;
        for (; !c->text.failed && c->next < (uint32_t)count && c->text.len < end; c->next++) {
                uint32_t node = alike_node(a, first + c->next);
                const struct tree_node *k = tree_node(l->tree, node);

                if (k->file != TREE_DIRECTORY &&
                    (n.kind == NODE_ALIKE || strcmp(k->name, name) == 0))
                        add_path(&c->text, l->tree, node, "\n");
        }
}

/* Nodes are numbered in the torrent's order, so walking through them gives its files in that order.
 */
static bool more_files(const struct listing *l, struct text_cursor *d)
{
        _cleanup_free_ char *path = NULL;
        const struct tree_node *n;
        cJSON *json;
        size_t len;

        while ((n = l ? tree_node(l->tree, d->next) : NULL) && n->file == TREE_DIRECTORY)
                d->next++;
        if (!n) {
                text_adds(&d->text, "]}\n");
                return false;
        }
        len = tree_path(l->tree, d->next, NULL, 0);
        path = malloc(len + 1);
        json = cJSON_CreateObject();
        if (!path || !json) {
                cJSON_Delete(json);
                d->text.failed = true;
                return false;
        }
        tree_path(l->tree, d->next, path, len + 1);
        cJSON_AddNumberToObject(json, "index", n->file);
        cJSON_AddStringToObject(json, "name", n->name);
        cJSON_AddStringToObject(json, "path", path);
        cJSON_AddNumberToObject(json, "length", (double)n->size);
        if (d->text.len > 0 && d->text.data[d->text.len - 1] == '}')
                text_adds(&d->text, ",");
        text_add_json(&d->text, json);
        d->next++;
        return true;
}

void document_status(struct engine *e, const char *mountpoint, struct text_cursor *c, uint64_t end)
{
        if (!c->begun)
                begin_status(e, mountpoint, &c->text);
        c->begun = true;
        while (!c->whole && !c->text.failed && c->text.len < end)
                c->whole = !more_status(e, c);
}

void document_files(struct engine *e, struct torrent *torrent, struct text_cursor *c, uint64_t end)
{
        if (!c->begun)
                begin_files(e, torrent, c);
        c->begun = true;
        while (!c->whole && !c->text.failed && c->text.len < end)
                c->whole = !more_files(c->listing, c);
}

/* ---- the cache ---- */

/* So many that would go first are named. */
enum { VICTIMS_MAX = 16 };

/* An object of a torrent, for others to add to. */
static cJSON *brief_json(struct registry *reg, struct torrent *t)
{
        char name[NAME_BYTES_MAX + 1] = "";
        cJSON *json = cJSON_CreateObject();

        (void)registry_name(reg, t, name);
        add_hashes(reg, t, json);
        cJSON_AddStringToObject(json, "name", name);
        return json;
}

static void begin_cache(struct engine *e, struct text *text)
{
        cJSON *json = cJSON_CreateObject();
        struct engine_stats st;
        struct statvfs disk;

        engine_get_stats(e, &st);
        engine_statvfs(e, &disk);
        add_cache(json, &st);
        cJSON_AddNumberToObject(json, "freeBytes", (double)disk.f_bavail * (double)disk.f_frsize);
        text_add_json(text, json);
        if (!text->failed) {
                text->len--;
                text_adds(text, ",\"torrents\":[");
        }
}

static void end_cache(struct engine *e, struct text *text)
{
        struct engine_victim victims[VICTIMS_MAX];
        size_t n = engine_victims(e, victims, VICTIMS_MAX);

        text_adds(text, "],\"next\":[");
        for (size_t i = 0; i < n; i++) {
                cJSON *json = brief_json(engine_registry(e), victims[i].torrent);

                cJSON_AddNumberToObject(json, "bytes", (double)victims[i].bytes);
                cJSON_AddNumberToObject(json, "usedAt", (double)victims[i].used_at);
                if (i > 0)
                        text_adds(text, ",");
                text_add_json(text, json);
                torrent_unref(victims[i].torrent);
        }
        text_adds(text, "]}\n");
}

/* The next torrent that has something there, or is pinned: a reference. */
static struct torrent *next_cached(struct engine *e, uint32_t number, struct torrent_status *st)
{
        struct torrent *t;

        while ((t = registry_next(engine_registry(e), number))) {
                torrent_get_status(t, st);
                if (st->have_bytes > 0 || st->pinned != PINNED_NOT)
                        break;
                number = t->number;
                torrent_unref(t);
        }
        return t;
}

static bool more_cache(struct engine *e, struct text_cursor *d)
{
        struct torrent_status st;
        struct torrent *t = next_cached(e, d->next, &st);
        cJSON *json;

        if (!t) {
                end_cache(e, &d->text);
                return false;
        }
        if (d->next > 0)
                text_adds(&d->text, ",");
        d->next = t->number;
        json = brief_json(engine_registry(e), t);
        cJSON_AddStringToObject(json, "state", torrent_state_name(st.state));
        cJSON_AddNumberToObject(json, "haveBytes", (double)st.have_bytes);
        add_pinned(json, st.pinned);
        cJSON_AddNumberToObject(json, "usedAt", (double)engine_used_at(t));
        text_add_json(&d->text, json);
        torrent_unref(t);
        return true;
}

void document_cache(struct engine *e, struct text_cursor *c, uint64_t end)
{
        if (!c->begun)
                begin_cache(e, &c->text);
        c->begun = true;
        while (!c->whole && !c->text.failed && c->text.len < end)
                c->whole = !more_cache(e, c);
}

void document_cache_answer(struct engine *e, const struct cache_answer *a, struct text *text)
{
        cJSON *json =
                a->torrent ? brief_json(engine_registry(e), a->torrent) : cJSON_CreateObject();

        if (a->command)
                cJSON_AddStringToObject(json, "command", a->command);
        else
                cJSON_AddNullToObject(json, "command");
        if (a->path)
                cJSON_AddStringToObject(json, "path", a->path);
        if (a->has_bytes)
                cJSON_AddNumberToObject(json, "bytes", (double)a->bytes);
        if (a->error)
                cJSON_AddStringToObject(json, "error", a->error);
        else
                cJSON_AddNullToObject(json, "error");
        text_add_json(text, json);
        text_adds(text, "\n");
}

/* ---- one torrent, one line ---- */

void document_torrent(struct engine *e, struct torrent *torrent, struct text *text)
{
        text_add_json(text, torrent_json(e, torrent));
        text_adds(text, "\n");
}

void document_added(struct engine *e, struct torrent *t, const char *error, struct text *text)
{
        struct registry *reg = engine_registry(e);
        char name[NAME_BYTES_MAX + 1] = "";
        cJSON *json = cJSON_CreateObject();

        if (t) {
                (void)registry_name(reg, t, name);
                add_hashes(reg, t, json);
                cJSON_AddStringToObject(json, "name", name);
                cJSON_AddNullToObject(json, "error");
        } else {
                cJSON_AddNullToObject(json, "infoHash");
                cJSON_AddNullToObject(json, "name");
                cJSON_AddStringToObject(json, "error", error);
        }
        text_add_json(text, json);
        text_adds(text, "\n");
}
