/* SPDX-License-Identifier: MIT */
/* log.h: messages to stderr, or to syslog once the program is a daemon. Any thread; one line, one
 * write. */
#ifndef FS_LOG_H
#define FS_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* name, the program's, is kept, not copied. */
void log_open(const char *name, enum log_level level);
void log_to_syslog(void);
/* "error", "warning", "info" or "debug"; false: none of them. */
bool log_level_parse(const char *text, enum log_level *ret);

void log_message(enum log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Logs as an error with %m standing for err (> 0 or < 0) and returns -|err|, so that a caller can
 * `return log_error_errno(…)`. */
int log_error_errno(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Passes on a line that another program has written for its own log. */
void log_relay(const char *line);

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
