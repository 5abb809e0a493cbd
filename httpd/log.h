/* log.h: lines on stderr, "magnetfs-httpd[PID]: level: text". Thread-safe, one write a line. */
#pragma once

enum log_level {
        LOG_LEVEL_ERROR,
        LOG_LEVEL_WARNING,
        LOG_LEVEL_INFO,
        LOG_LEVEL_DEBUG,
};

/* Reads the name of a level: error, warning, info, debug. -EINVAL: none of these. Never blocks. */
int log_level_parse(const char *name, enum log_level *ret);

/* Lines less important than level are dropped from now on. Call before other threads exist. */
void log_set_level(enum log_level level);

/* Writes one line. Keeps errno. May block only as stderr does. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same; error is a -errno that %m in the format shows. Returns error, so that one can return
 * the call. */
int log_line_errno(enum log_level level, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#define log_error(...)                log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...)              log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)                 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_error_errno(error, ...)   log_line_errno(LOG_LEVEL_ERROR, error, __VA_ARGS__)
#define log_warning_errno(error, ...) log_line_errno(LOG_LEVEL_WARNING, error, __VA_ARGS__)
#define log_info_errno(error, ...)    log_line_errno(LOG_LEVEL_INFO, error, __VA_ARGS__)
#define log_debug_errno(error, ...)   log_line_errno(LOG_LEVEL_DEBUG, error, __VA_ARGS__)
