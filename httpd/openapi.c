/* SPDX-License-Identifier: MIT */
#include "openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "json.h"

enum { NAME_MAX_BYTES = 64 };

/* openapi.json with a NUL behind it, written by the build (embed.cmake). */
extern const char openapi_template[];

/* The template, taken apart. Of paths only what a route has asked for goes into the document. */
struct parts {
        cJSON *document, *paths, *answers, *token;
};

static bool take_apart(struct parts *p)
{
        *p = (struct parts){.document = json_parse(openapi_template)};
        p->paths = cJSON_DetachItemFromObjectCaseSensitive(p->document, "paths");
        p->answers = cJSON_DetachItemFromObjectCaseSensitive(p->document, "x-answers");
        p->token = cJSON_DetachItemFromObjectCaseSensitive(p->document, "x-token");
        return p->paths && p->answers && p->token;
}

/* The path of a pattern: its "*" has a name there. */
static const char *path_of(const cJSON *paths, const char *pattern)
{
        size_t len = strlen(pattern);
        const cJSON *item;

        if (len == 0 || pattern[len - 1] != '*')
                return pattern;
        cJSON_ArrayForEach (item, paths) {
                if (strncmp(item->string, pattern, len - 1) == 0 && item->string[len - 1] == '{')
                        return item->string;
        }
        return pattern;
}

/* What a Path Item Object calls a method; those of WebDAV are unknown to it, so they are
 * extensions. */
static void name_method(const char *method, char ret[static NAME_MAX_BYTES])
{
        static const char *const known[] = {"GET",     "PUT",  "POST",  "DELETE",
                                            "OPTIONS", "HEAD", "PATCH", "TRACE"};
        const char *prefix = "x-";

        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
                if (strcmp(method, known[i]) == 0)
                        prefix = "";
        snprintf(ret, NAME_MAX_BYTES, "%s%s", prefix, method);
        for (char *p = ret; *p; p++)
                *p = (char)tolower((unsigned char)*p);
}

/* Adds the answers that a kind of route has, as far as it does not have them itself. */
static void add_answers(cJSON *responses, const cJSON *answers, const char *kind)
{
        const cJSON *item;

        cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(answers, kind)) {
                if (!cJSON_HasObjectItem(responses, item->string))
                        cJSON_AddItemToObject(responses, item->string, cJSON_Duplicate(item, true));
        }
}

/* An operation as it is for HEAD, which has no body. */
static cJSON *head_of(const cJSON *get)
{
        cJSON *head = cJSON_Duplicate(get, true), *item;
        const char *id =
                cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(head, "operationId"));
        char name[NAME_MAX_BYTES];

        if (id) {
                snprintf(name, sizeof name, "%sHead", id);
                cJSON_ReplaceItemInObjectCaseSensitive(head, "operationId",
                                                       cJSON_CreateString(name));
        }
        cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(head, "responses")) {
                cJSON_DeleteItemFromObjectCaseSensitive(item, "content");
        }
        return head;
}

static void add_route(cJSON *document, const struct parts *p, const struct openapi_route *route,
                      bool token)
{
        const char *path = path_of(p->paths, route->pattern);
        cJSON *all = cJSON_GetObjectItemCaseSensitive(document, "paths");
        cJSON *item = cJSON_GetObjectItemCaseSensitive(all, path);
        char method[NAME_MAX_BYTES];
        cJSON *operation, *responses;

        name_method(route->method, method);
        operation = cJSON_DetachItemFromObjectCaseSensitive(
                cJSON_GetObjectItemCaseSensitive(p->paths, path), method);
        if (!operation)
                operation = cJSON_CreateObject();
        cJSON_AddStringToObject(operation, "summary", route->summary);
        responses = cJSON_GetObjectItemCaseSensitive(operation, "responses");
        if (!responses)
                responses = cJSON_AddObjectToObject(operation, "responses");
        add_answers(responses, p->answers, "any");
        if (route->changes)
                add_answers(responses, p->answers, "changes");
        if (route->mount)
                add_answers(responses, p->answers, "mount");
        if (token && route->open)
                cJSON_AddArrayToObject(operation, "security");
        else if (token)
                add_answers(responses, p->answers, "token");
        if (!item)
                item = cJSON_AddObjectToObject(all, path);
        if (route->head)
                cJSON_AddItemToObject(item, "head", head_of(operation));
        if (!cJSON_AddItemToObject(item, method, operation))
                cJSON_Delete(operation);
}

static void add_token(cJSON *document, cJSON *token)
{
        cJSON *components = cJSON_GetObjectItemCaseSensitive(document, "components");
        static const struct {
                const char *from, *to;
        } moves[] = {{"schemes", "securitySchemes"}, {"security", "security"}};

        for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
                cJSON *part = cJSON_DetachItemFromObjectCaseSensitive(token, moves[i].from);

                if (!cJSON_AddItemToObject(i == 0 ? components : document, moves[i].to, part))
                        cJSON_Delete(part);
        }
}

cJSON *openapi_make(const struct openapi_route *routes, size_t count, bool token)
{
        struct parts p;
        cJSON *info;

        if (!take_apart(&p)) {
                cJSON_Delete(p.document);
                p.document = NULL;
        } else {
                info = cJSON_GetObjectItemCaseSensitive(p.document, "info");
                cJSON_AddStringToObject(info, "version", MAGNETFS_VERSION);
                cJSON_AddObjectToObject(p.document, "paths");
                for (size_t i = 0; i < count; i++)
                        add_route(p.document, &p, &routes[i], token);
                if (token)
                        add_token(p.document, p.token);
        }
        cJSON_Delete(p.paths);
        cJSON_Delete(p.answers);
        cJSON_Delete(p.token);
        return p.document;
}
