/* SPDX-License-Identifier: MIT */
/* token.h: the word by which programs show that they may use the sidecar. It stands in files,
 * memory and pipes, never in a command line, an environment or a log. Any thread. */
#ifndef FS_TOKEN_H
#define FS_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

/* 16 characters of 64 kinds are 96 bits; more than 256 nobody needs. */
enum { TOKEN_MIN = 16, TOKEN_MAX = 256 };

/* Reads a token from a file: its first line without blanks around. Others than the owner and the
 * group may not be able to read or write the file. Blocks as files do. -EINVAL: *ret_why says what
 * is wrong with it, as the end of a message; other -errno: it can't be read. */
int token_read_file(const char *path, char ret[static TOKEN_MAX + 1], const char **ret_why);

/* Reads a token from a descriptor to its end, and closes it. Errors as token_read_file(). */
int token_read_fd(int fd, char ret[static TOKEN_MAX + 1], const char **ret_why);

/* Makes one: 32 hexadecimal digits. -errno of getrandom(2), which may block at boot. */
int token_make(char ret[static TOKEN_MAX + 1]);

/* Makes a descriptor from which the token can be read once; closed on exec. -errno. */
int token_to_fd(const char *token, int *ret_fd);

/* Whether what is given, of len characters, is the token. How long it takes tells nothing of the
 * token but its length. */
bool token_is(const char *token, const char *given, size_t len);

#endif
