/* SPDX-License-Identifier: MIT */
#include "api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"

#define NO_STORE "Cache-Control: no-store\r\n"

cJSON *api_number(unsigned long long n)
{
        char digits[24];

        snprintf(digits, sizeof digits, "%llu", n);
        return cJSON_CreateRaw(digits);
}

static int answer(struct request *rq, int status, const char *headers, const char *type,
                  cJSON *json)
{
        static const char no_memory[] =
                "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500,"
                "\"detail\":\"Out of memory\",\"error\":\"Out of memory\"}";
        _cleanup_free_ char *all = NULL;
        char *text = json ? cJSON_PrintUnformatted(json) : NULL;

        cJSON_Delete(json);
        if (asprintf(&all, NO_STORE "%s", headers ? headers : "") < 0)
                all = NULL;
        if (text && all)
                status = request_answer(rq, status, all, type, text, strlen(text));
        else
                status = request_answer(rq, 500, NO_STORE, "application/problem+json", no_memory,
                                        strlen(no_memory));
        cJSON_free(text);
        return status;
}

int api_json(struct request *rq, int status, cJSON *json)
{
        return answer(rq, status, NULL, "application/json", json);
}

static int problem(struct request *rq, int status, const char *headers, const char *member,
                   cJSON *value, const char *detail)
{
        cJSON *json = cJSON_CreateObject();

        log_debug("%s %s: %d: %s", rq->method, rq->path, status, detail);
        cJSON_AddStringToObject(json, "type", "about:blank");
        cJSON_AddStringToObject(json, "title", request_phrase(status));
        cJSON_AddNumberToObject(json, "status", status);
        cJSON_AddStringToObject(json, "detail", detail);
        cJSON_AddStringToObject(json, "error", detail);
        if (value && !cJSON_AddItemToObject(json, member, value))
                cJSON_Delete(value);
        return answer(rq, status, headers, "application/problem+json", json);
}

/* The detail comes like for vprintf. */
static int __attribute__((format(printf, 6, 0)))
vproblem(struct request *rq, int status, const char *headers, const char *member, cJSON *value,
         const char *format, va_list ap)
{
        _cleanup_free_ char *detail = NULL;

        if (vasprintf(&detail, format, ap) < 0)
                detail = NULL;
        return problem(rq, status, headers, member, value, detail ? detail : "Out of memory");
}

int api_problem(struct request *rq, int status, const char *headers, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        status = vproblem(rq, status, headers, NULL, NULL, format, ap);
        va_end(ap);
        return status;
}

int api_problem_with(struct request *rq, int status, const char *member, cJSON *value,
                     const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        status = vproblem(rq, status, NULL, member, value, format, ap);
        va_end(ap);
        return status;
}

int api_no_place(struct request *rq, const struct slots *slots)
{
        return api_problem(rq, 503, API_RETRY_SOON, "All %u places for %s are taken", slots->limit,
                           slots->name);
}

struct errno_answer {
        int error, status;
        const char *headers, *reason;
};

static const struct errno_answer errno_answers[] = {
        {ENOENT, 404, NULL, NULL},
        {ENOTDIR, 404, NULL, NULL},
        {ESTALE, 404, NULL, "it was removed"},
        {ENAMETOOLONG, 404, NULL, NULL},
        {EINVAL, 400, NULL, NULL},
        {E2BIG, 400, NULL, "it is over a limit"},
        {ETIMEDOUT, 504, API_RETRY_LATER, "nobody in the swarm had it in time"},
        {ENOSPC, 507, NULL, "the cache or its disk is full"},
        {EDQUOT, 507, NULL, "the disk quota is used up"},
        {EROFS, 403, NULL, "the mount is read-only (-o ro)"},
        {EBADMSG, 502, NULL, "the torrent's metadata is refused"},
        {EIO, 502, NULL, "the mount could not read it"},
        {ENODEV, 503, API_RETRY_SOON, "the mount is gone"},
        {ENOTCONN, 503, API_RETRY_SOON, "the mount is gone"},
        {ECONNABORTED, 503, API_RETRY_SOON, "the mount is gone"},
        {EBUSY, 503, API_RETRY_SOON, "all places for it are taken"},
        {EMFILE, 503, API_RETRY_SOON, "too many files are open"},
        {ENFILE, 503, API_RETRY_SOON, "too many files are open"},
        {ENOMEM, 503, API_RETRY_SOON, "there is not enough memory"},
        {EPIPE, 500, NULL, "the client left"},
        {ESHUTDOWN, 503, API_RETRY_SOON, "magnetfs-httpd is ending"},
};

int api_problem_errno(struct request *rq, int error, const char *format, ...)
{
        struct errno_answer a = {.status = 500, .reason = strerrordesc_np(-error)};
        _cleanup_free_ char *what = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&what, format, ap);
        va_end(ap);
        if (n < 0)
                what = NULL;
        for (size_t i = 0; i < sizeof errno_answers / sizeof errno_answers[0]; i++)
                if (errno_answers[i].error == -error)
                        a = errno_answers[i];
        if (a.status == 500 && error != CLIENT_GONE)
                log_warning_errno(error, "%s %s: %s: %m", rq->method, rq->path, what ? what : "");
        return api_problem(rq, a.status, a.headers, "%s%s%s", what ? what : "Out of memory",
                           a.reason ? ": " : "", a.reason ? a.reason : "");
}
