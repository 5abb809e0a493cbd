/* SPDX-License-Identifier: MIT */
/* engine_events.c: what happens to torrents, told to those who want to know. */
#include <string.h>

#include <cjson/cJSON.h>

#include "common/log.h"
#include "engine/engine_private.h"
#include "engine/helper_link.h"

void engine_event(struct engine *e, struct torrent *t, const char *name, const char *what)
{
        struct torrent_status st;
        cJSON *json = cJSON_CreateObject();
        char *text;

        torrent_get_status(t, &st);
        cJSON_AddStringToObject(json, "event", what);
        cJSON_AddStringToObject(json, "infoHash", t->hex);
        cJSON_AddStringToObject(json, "name", name);
        if (st.length > 0) {
                cJSON_AddNumberToObject(json, "length", (double)st.length);
                cJSON_AddNumberToObject(json, "haveBytes", (double)st.have_bytes);
        }
        if (st.failed)
                cJSON_AddStringToObject(json, "error", st.problem);
        text = cJSON_PrintUnformatted(json);
        cJSON_Delete(json);
        if (!text)
                return;
        e->hooks.event(text);
        /* A process for each second of a download would be no help to anybody. */
        if (e->options.on_event && strcmp(what, "progress") != 0 &&
            helper_send(e->options.helper_fd, HELPER_EVENT, t->number, text) < 0)
                log_warning("The helper is busy; --on-event misses: %s", text);
        cJSON_free(text);
}

void engine_event_of(struct engine *e, struct torrent *t, const char *what)
{
        char name[NAME_BYTES_MAX + 1];

        if (registry_name(e->registry, t, name))
                engine_event(e, t, name, what);
}
