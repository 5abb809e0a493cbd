/* SPDX-License-Identifier: MIT */
/* fuzz.h: what the fuzz targets share. A target is a function that takes one input, calls a parser
 * and checks what holds of its result whatever the input is. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handler's part of the stack: civetweb's threads have 100 KiB, of which it uses 45 itself. */
enum { FUZZ_STACK_BYTES = 55 << 10 };

/* An input that is taken line by line. */
struct fuzz_input {
        const char *at;
        size_t left;
};

/* The target: judges one input, on a stack of FUZZ_STACK_BYTES. */
void fuzz_one(const uint8_t *data, size_t size);

/* The next line, up to its first NUL, as a string of its own, so that a read beyond its end is
 * seen. Without any line left: "". The caller frees it. */
char *fuzz_line(struct fuzz_input *in);
/* The next line, or NULL if it is empty: a header that is not there. The caller frees it. */
char *fuzz_header(struct fuzz_input *in);
/* The next line as a number, as far as it has digits, modulo 2^64. */
uint64_t fuzz_number(struct fuzz_input *in);

/* The bytes in memory of their own, exactly as large. The caller frees it. */
char *fuzz_bytes(const void *data, size_t size);

/* Ends the program if what holds of every input does not hold of this one. */
#define fuzz_check(holds) fuzz_check_at((holds), #holds, __FILE__, __LINE__)
void fuzz_check_at(bool holds, const char *text, const char *file, int line);

#ifdef __cplusplus
}
#endif

#endif
