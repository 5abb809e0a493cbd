/* SPDX-License-Identifier: MIT */
/* api.h: answers in JSON; errors as RFC 9457 has them, with the old API's `error` member besides.
 */
#ifndef HTTPD_API_H
#define HTTPD_API_H

#include <cjson/cJSON.h>

#include "request.h"

/* Header lines for answers that say when to come back. */
#define API_RETRY_SOON  "Retry-After: 2\r\n"
#define API_RETRY_LATER "Retry-After: 30\r\n"

/* Answers with json, which is freed; NULL stands for "no memory". Returns the status sent. */
int api_json(struct request *rq, int status, cJSON *json);

/* Answers with an error; the format says what is wrong, in a sentence for people. headers as
 * request_answer(). */
int api_problem(struct request *rq, int status, const char *headers, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* The same with one member more; value is freed. */
int api_problem_with(struct request *rq, int status, const char *member, cJSON *value,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Answers that all slots of a kind are taken, 503. */
int api_no_place(struct request *rq, const struct slots *slots);

/* Answers with the error that fits a -errno of the mount or of a wait; format says what was tried
 * or is missing. */
int api_problem_errno(struct request *rq, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* A number that keeps all its digits (cJSON's are doubles). NULL: no memory. */
cJSON *api_number(unsigned long long n);

#endif
