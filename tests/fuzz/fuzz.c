/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <sanitizer/common_interface_defs.h>

/* libFuzzer's face: it calls these, and has no header for them. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE_BYTES = 4096 };

/* All inputs are judged on one stack of their own, by the same thread: two that wake each other for
 * each input kept all else on the machine from running, for seconds (Linux 6.18). */
static struct {
        ucontext_t caller, judge;
        char *stack;
        const void *caller_stack; /* for ASan, which is told of each change */
        size_t caller_bytes;
        const uint8_t *data;
        size_t size;
} job;

static void judge(void)
{
        void *kept = NULL;

        for (;;) {
                __sanitizer_finish_switch_fiber(kept, &job.caller_stack, &job.caller_bytes);
                fuzz_one(job.data, job.size);
                __sanitizer_start_switch_fiber(&kept, job.caller_stack, job.caller_bytes);
                if (swapcontext(&job.judge, &job.caller) < 0)
                        abort();
        }
}

/* What is below the stack can't be touched: who needs more of it ends by a signal. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        char *pages = mmap(NULL, PAGE_BYTES + FUZZ_STACK_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        (void)argc;
        (void)argv;
        if (pages == MAP_FAILED || mprotect(pages, PAGE_BYTES, PROT_NONE) < 0 ||
            getcontext(&job.judge) < 0)
                abort();
        job.stack = pages + PAGE_BYTES;
        job.judge.uc_stack.ss_sp = job.stack;
        job.judge.uc_stack.ss_size = FUZZ_STACK_BYTES;
        makecontext(&job.judge, judge, 0);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        void *kept;

        job.data = data;
        job.size = size;
        __sanitizer_start_switch_fiber(&kept, job.stack, FUZZ_STACK_BYTES);
        if (swapcontext(&job.caller, &job.judge) < 0)
                abort();
        __sanitizer_finish_switch_fiber(kept, NULL, NULL);
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
