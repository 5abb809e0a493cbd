/* SPDX-License-Identifier: MIT */
/* control_events.c: events as a document: what happens comes to those who read it, and who comes
 * back gets what happened meanwhile. */
#include "control/control_private.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <utlist.h>

/* A reader that does not read loses the oldest. */
enum { EVENTS_BYTES_MAX = 512 * 1024 };

void events_init(struct events_kept *k)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        k->next_id = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void events_free(struct events_kept *k)
{
        for (size_t i = 0; i < EVENTS_KEPT; i++)
                free(k->lines[i]);
}

/* Tells a reader that not all events up to the newest are in what it reads. */
static void add_lost(const struct events_kept *k, struct text *text)
{
        char line[64];
        int n = snprintf(line, sizeof line, "{\"event\":\"lost\",\"id\":%" PRIu64 "}\n",
                         k->next_id - 1);

        text_add(text, line, (size_t)n);
}

/* Keeps the event, with its id behind all else, in place of the oldest one; NULL: no memory, and
 * who comes back is told that events were lost. */
static const char *keep(struct events_kept *k, const char *json)
{
        size_t len = strlen(json) - 1; /* without the brace */
        char **line = &k->lines[k->next_id % EVENTS_KEPT];

        free(*line);
        if (asprintf(line, "%.*s,\"id\":%" PRIu64 "}\n", (int)len, json, k->next_id) < 0)
                *line = NULL;
        k->next_id++;
        k->n = !*line ? 0 : k->n < EVENTS_KEPT ? k->n + 1 : EVENTS_KEPT;
        return *line;
}

void control_event(struct control *c, const char *json)
{
        const char *line;
        struct doc *d;

        pthread_mutex_lock(&c->lock);
        line = keep(&c->events, json);
        DL_FOREACH2 (c->docs, d, next_doc) {
                struct text *text = &d->made.text;

                if (!doc_is_fixed(d, FIXED_EVENTS) || d->mute)
                        continue;
                if (!line || text->len - d->given + strlen(line) > EVENTS_BYTES_MAX) {
                        text->len = d->given = 0;
                        add_lost(&c->events, text);
                } else {
                        text_adds(text, line);
                }
                d->marked = doc_waits(d);
        }
        pthread_mutex_unlock(&c->lock);
        control_settle_marked(c);
}

static bool parse_id(const char *data, size_t len, uint64_t *ret)
{
        char text[24], *end;

        if (len > 0 && data[len - 1] == '\n')
                len--;
        if (len == 0 || len >= sizeof text || !isdigit((unsigned char)data[0]))
                return false;
        memcpy(text, data, len);
        text[len] = '\0';
        errno = 0;
        *ret = strtoull(text, &end, 10);
        return !errno && end == text + len;
}

int events_written(struct doc *d, const char *data, size_t len)
{
        struct control *c = d->control;
        const struct events_kept *k = &c->events;
        uint64_t last;

        if (!parse_id(data, len, &last))
                return -EINVAL;
        pthread_mutex_lock(&c->lock);
        d->made.text.len = d->given = 0;
        if (last >= k->next_id || last + 1 < k->next_id - k->n)
                add_lost(k, &d->made.text);
        else
                for (uint64_t id = last + 1; id < k->next_id; id++)
                        text_adds(&d->made.text, k->lines[id % EVENTS_KEPT]);
        d->marked = doc_waits(d);
        pthread_mutex_unlock(&c->lock);
        control_settle_marked(c);
        return 0;
}
