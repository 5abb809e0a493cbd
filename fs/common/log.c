/* SPDX-License-Identifier: MIT */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "common/utf8.h"

/* A longer line is cut: names of files of a torrent may be in it. */
enum { LINE_BYTES = 1024 };

static const char *const names[] = {[LOG_LEVEL_ERROR] = "error",
                                    [LOG_LEVEL_WARNING] = "warning",
                                    [LOG_LEVEL_INFO] = "info",
                                    [LOG_LEVEL_DEBUG] = "debug"};

/* set once, before other threads exist */
static const char *program = "magnetfs";
static enum log_level most = LOG_LEVEL_INFO;

static atomic_bool use_syslog;

void log_open(const char *name, enum log_level level)
{
        program = name;
        most = level;
}

void log_to_syslog(void)
{
        openlog(program, LOG_PID, LOG_DAEMON);
        use_syslog = true;
}

bool log_level_parse(const char *text, enum log_level *ret)
{
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
                if (strcmp(text, names[i]) == 0) {
                        *ret = (enum log_level)i;
                        return true;
                }
        }
        return false;
}

const char *log_level_name(enum log_level level)
{
        return names[level];
}

static void __attribute__((format(printf, 2, 0)))
write_line(enum log_level level, const char *format, va_list ap)
{
        static const int priorities[] = {[LOG_LEVEL_ERROR] = LOG_ERR,
                                         [LOG_LEVEL_WARNING] = LOG_WARNING,
                                         [LOG_LEVEL_INFO] = LOG_INFO,
                                         [LOG_LEVEL_DEBUG] = LOG_DEBUG};
        char line[LINE_BYTES];
        int saved = errno, n = 0;
        size_t used;

        if (!use_syslog)
                n = snprintf(line, sizeof line, "%s[%d]: %s: ", program, (int)getpid(),
                             names[level]);
        used = n > 0 ? (size_t)n : 0;
        errno = saved; /* for %m */
        /* The last byte is the newline's. */
        if (vsnprintf(line + used, sizeof line - used - 1, format, ap) < 0)
                line[used] = '\0';
        used = utf8_clean(line);
        if (use_syslog) {
                syslog(priorities[level], "%s", line);
        } else {
                line[used++] = '\n';
                /* Where stderr itself fails there is nobody left to tell. */
                (void)!write(STDERR_FILENO, line, used);
        }
        errno = saved;
}

void log_message(enum log_level level, const char *format, ...)
{
        va_list ap;

        if (level > most)
                return;
        va_start(ap, format);
        write_line(level, format, ap);
        va_end(ap);
}

int log_message_errno(enum log_level level, int err, const char *format, ...)
{
        int saved = errno;
        va_list ap;

        err = abs(err);
        if (level > most)
                return -err;
        errno = err;
        va_start(ap, format);
        write_line(level, format, ap);
        va_end(ap);
        errno = saved;
        return -err;
}

void log_relay(const char *line)
{
        const struct iovec parts[] = {{(void *)(uintptr_t)line, strlen(line)},
                                      {(void *)(uintptr_t) "\n", 1}};
        int saved = errno;

        if (use_syslog)
                syslog(LOG_INFO, "%s", line);
        else
                (void)!writev(STDERR_FILENO, parts, 2);
        errno = saved;
}
