/* SPDX-License-Identifier: MIT */
/* log.h: messages to stderr, or to syslog once the program is a daemon: "PROGRAM[PID]: level:
 * text". One message is one line and one write. What is not to be shown in a line (control
 * characters, characters that change how the line looks, bytes that are no UTF-8) becomes '?', so
 * that no name or answer from outside can forge a line. A line of more than 1,022 bytes is cut. Any
 * thread. All functions keep errno, none fails, and none blocks but as stderr and syslog do. */
#ifndef FS_LOG_H
#define FS_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Sets the program's name, which is kept, not copied, and drops messages less important than level
 * from now on. Before other threads exist. */
void log_open(const char *name, enum log_level level);
void log_to_syslog(void);
/* Reads "error", "warning", "info" or "debug"; false: none of them. */
bool log_level_parse(const char *text, enum log_level *ret);
/* The level's name as log_level_parse() takes it: a static string. */
const char *log_level_name(enum log_level level);

void log_message(enum log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Logs with %m standing for err (> 0 or < 0) and returns -|err|, so that a caller can
 * `return log_error_errno(…)`. */
int log_message_errno(enum log_level level, int err, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Passes on a line that another program has written for its own log. */
void log_relay(const char *line);

#define log_error(...)              log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...)            log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)               log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)              log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_error_errno(err, ...)   log_message_errno(LOG_LEVEL_ERROR, err, __VA_ARGS__)
#define log_warning_errno(err, ...) log_message_errno(LOG_LEVEL_WARNING, err, __VA_ARGS__)
#define log_info_errno(err, ...)    log_message_errno(LOG_LEVEL_INFO, err, __VA_ARGS__)
#define log_debug_errno(err, ...)   log_message_errno(LOG_LEVEL_DEBUG, err, __VA_ARGS__)

#endif
