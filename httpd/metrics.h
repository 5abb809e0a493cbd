/* SPDX-License-Identifier: MIT */
/* metrics.h: what is counted for /metrics. Knows no HTTP and no mount. All but metrics_write() from
 * any thread, without waiting. */
#ifndef HTTPD_METRICS_H
#define HTTPD_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Upper bounds of the buckets, in milliseconds; one more has all. */
enum { METRICS_BUCKETS = 12 };
/* 1xx to 5xx. */
enum { METRICS_CLASSES = 5 };
/* As many as there are routes, at most; the last is for what is none. */
enum { METRICS_ROUTES = 64 };
/* A stream that waits for the swarm for less, between two of its bytes, has not stalled. */
enum { METRICS_STALL_MS = 100 };

struct metrics_histogram {
        _Atomic uint64_t buckets[METRICS_BUCKETS + 1];
        _Atomic uint64_t sum_ms;
};

/* All zeros at the beginning. */
struct metrics {
        _Atomic uint64_t answers[METRICS_ROUTES + 1][2][METRICS_CLASSES]; /* 1: of a HEAD */
        _Atomic uint64_t stream_bytes;
        _Atomic uint64_t stalls, stalled_ms;
        struct metrics_histogram first_byte, seek;
};

/* An answer with this status goes out, to a HEAD or not; route -1: it was no route's. */
void metrics_answer(struct metrics *m, int route, bool head, int status);

/* A stream has its first byte from the mount ms after it was asked for; offset: of that byte, 0 or
 * a seek. */
void metrics_first_byte(struct metrics *m, uint64_t offset, uint64_t ms);

/* A stream waited so long for its next byte. */
void metrics_waited(struct metrics *m, uint64_t ms);

void metrics_sent(struct metrics *m, uint64_t bytes);

/* Writes a metric's HELP and TYPE lines (Prometheus text format 0.0.4). */
void metrics_head(FILE *f, const char *name, const char *type, const char *help);

/* Writes all that is counted here. name gives a route's pattern and method, NULL behind the last;
 * they are labels' values and must need no escaping. */
void metrics_write(struct metrics *m, FILE *f,
                   const char *(*name)(int route, const char **ret_method));

#endif
