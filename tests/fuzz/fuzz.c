/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's face: it calls these, and has no header for them. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One thread takes all inputs, as to make one for each would take longer than most parsers do. */
static struct {
        sem_t given, judged;
        const uint8_t *data; /* between given and judged the thread's, else the caller's */
        size_t size;
} job;

/* libFuzzer's clock interrupts whoever waits. */
static void wait_for(sem_t *sem)
{
        while (sem_wait(sem) < 0)
                if (errno != EINTR)
                        abort();
}

static void *judge(void *unused)
{
        (void)unused;
        for (;;) {
                wait_for(&job.given);
                fuzz_one(job.data, job.size);
                sem_post(&job.judged);
        }
        return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        pthread_attr_t attr;
        pthread_t thread;

        (void)argc;
        (void)argv;
        sem_init(&job.given, 0, 0);
        sem_init(&job.judged, 0, 0);
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (pthread_attr_setstacksize(&attr, FUZZ_STACK_BYTES) != 0 ||
            pthread_create(&thread, &attr, judge, NULL) != 0)
                abort();
        pthread_attr_destroy(&attr);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        job.data = data;
        job.size = size;
        sem_post(&job.given);
        wait_for(&job.judged);
        return 0;
}

char *fuzz_bytes(const void *data, size_t size)
{
        char *copy = malloc(size > 0 ? size : 1);

        if (!copy)
                abort();
        if (size > 0)
                memcpy(copy, data, size);
        return copy;
}

char *fuzz_line(struct fuzz_input *in)
{
        const char *end = in->left > 0 ? memchr(in->at, '\n', in->left) : NULL;
        size_t len = end ? (size_t)(end - in->at) : in->left;
        char *line = in->left > 0 ? strndup(in->at, len) : strdup("");

        if (!line)
                abort();
        len += end ? 1 : 0;
        in->at += len;
        in->left -= len;
        return line;
}

char *fuzz_header(struct fuzz_input *in)
{
        char *line = fuzz_line(in);

        if (line[0] != '\0')
                return line;
        free(line);
        return NULL;
}

uint64_t fuzz_number(struct fuzz_input *in)
{
        char *line = fuzz_line(in);
        uint64_t n = 0;

        for (const char *p = line; *p >= '0' && *p <= '9'; p++)
                n = n * 10 + (uint64_t)(*p - '0');
        free(line);
        return n;
}

void fuzz_check_at(bool holds, const char *text, const char *file, int line)
{
        if (holds)
                return;
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
        abort();
}
