/* SPDX-License-Identifier: MIT */
#include "metrics.h"

#include <inttypes.h>

enum { MS = 1000 };

static const unsigned bounds_ms[METRICS_BUCKETS] = {10,   25,   50,   100,   250,   500,
                                                    1000, 2500, 5000, 10000, 30000, 60000};

static void observe(struct metrics_histogram *h, uint64_t ms)
{
        unsigned i = 0;

        while (i < METRICS_BUCKETS && ms > bounds_ms[i])
                i++;
        atomic_fetch_add(&h->buckets[i], 1);
        atomic_fetch_add(&h->sum_ms, ms);
}

void metrics_answer(struct metrics *m, int route, bool head, int status)
{
        int kind = status / 100 - 1;

        if (kind < 0 || kind >= METRICS_CLASSES)
                return;
        if (route < 0 || route >= METRICS_ROUTES)
                route = METRICS_ROUTES;
        atomic_fetch_add(&m->answers[route][head][kind], 1);
}

void metrics_first_byte(struct metrics *m, uint64_t offset, uint64_t ms)
{
        observe(offset > 0 ? &m->seek : &m->first_byte, ms);
}

void metrics_waited(struct metrics *m, uint64_t ms)
{
        if (ms < METRICS_STALL_MS)
                return;
        atomic_fetch_add(&m->stalls, 1);
        atomic_fetch_add(&m->stalled_ms, ms);
}

void metrics_sent(struct metrics *m, uint64_t bytes)
{
        atomic_fetch_add(&m->stream_bytes, bytes);
}

void metrics_head(FILE *f, const char *name, const char *type, const char *help)
{
        fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_seconds(FILE *f, uint64_t ms)
{
        fprintf(f, "%" PRIu64 ".%03" PRIu64 "\n", ms / MS, ms % MS);
}

static void write_histogram(FILE *f, const char *name, const char *help,
                            struct metrics_histogram *h)
{
        uint64_t sum = 0;

        metrics_head(f, name, "histogram", help);
        for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
                sum += atomic_load(&h->buckets[i]);
                fprintf(f, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds_ms[i] / (double)MS,
                        sum);
        }
        sum += atomic_load(&h->buckets[METRICS_BUCKETS]);
        fprintf(f, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, sum, name);
        write_seconds(f, atomic_load(&h->sum_ms));
        fprintf(f, "%s_count %" PRIu64 "\n", name, sum);
}

/* Only what was answered at all: most pairs never are. */
static void write_answers(struct metrics *m, FILE *f, int route, bool head, const char *method,
                          const char *pattern)
{
        for (int kind = 0; kind < METRICS_CLASSES; kind++) {
                uint64_t n = atomic_load(&m->answers[route][head][kind]);

                if (n > 0)
                        fprintf(f,
                                "magnetfs_http_requests_total{method=\"%s\",route=\"%s\","
                                "status=\"%dxx\"} %" PRIu64 "\n",
                                method, pattern, kind + 1, n);
        }
}

void metrics_write(struct metrics *m, FILE *f,
                   const char *(*name)(int route, const char **ret_method))
{
        const char *method, *pattern;

        metrics_head(f, "magnetfs_http_requests_total", "counter",
                     "Requests answered, by route and class of status.");
        for (int i = 0; i < METRICS_ROUTES && (pattern = name(i, &method)) != NULL; i++) {
                write_answers(m, f, i, false, method, pattern);
                write_answers(m, f, i, true, "HEAD", pattern);
        }
        write_answers(m, f, METRICS_ROUTES, false, "", "");
        write_answers(m, f, METRICS_ROUTES, true, "HEAD", "");
        metrics_head(f, "magnetfs_http_stream_bytes_total", "counter",
                     "Bytes of files that clients took.");
        fprintf(f, "magnetfs_http_stream_bytes_total %" PRIu64 "\n", atomic_load(&m->stream_bytes));
        metrics_head(f, "magnetfs_http_stream_stalls_total", "counter",
                     "How often a stream waited 0.1 s or more for the swarm after its first byte.");
        fprintf(f, "magnetfs_http_stream_stalls_total %" PRIu64 "\n", atomic_load(&m->stalls));
        metrics_head(f, "magnetfs_http_stream_stall_seconds_total", "counter",
                     "How long these waits were in all.");
        fputs("magnetfs_http_stream_stall_seconds_total ", f);
        write_seconds(f, atomic_load(&m->stalled_ms));
        write_histogram(f, "magnetfs_http_stream_first_byte_seconds",
                        "From a request for a file's beginning to its first byte.", &m->first_byte);
        write_histogram(f, "magnetfs_http_stream_seek_seconds",
                        "From a request for another place of a file to its first byte.", &m->seek);
}
