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

static const char *const names[] = {"error", "warning", "info", "debug"};
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

static void __attribute__((format(printf, 2, 0)))
log_va(enum log_level level, const char *format, va_list ap)
{
        static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
        char line[1024];
        int saved = errno, n = 0, m;

        if (level > most)
                return;
        if (!use_syslog)
                n = snprintf(line, sizeof line, "%s[%d]: %s: ", program, (int)getpid(),
                             names[level]);
        errno = saved; /* for %m */
        m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, ap);
        n += m < 0 ? 0 : m;
        if ((size_t)n > sizeof line - 2)
                n = (int)sizeof line - 2;
        /* One line, whatever a peer or a tracker has put into a text. */
        for (int i = 0; i < n; i++)
                if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
                        line[i] = '?';
        line[n] = '\0';
        if (use_syslog) {
                syslog(priorities[level], "%s", line);
                return;
        }
        line[n++] = '\n';
        (void)!write(STDERR_FILENO, line, (size_t)n);
}

void log_message(enum log_level level, const char *format, ...)
{
        int saved = errno;
        va_list ap;

        va_start(ap, format);
        log_va(level, format, ap);
        va_end(ap);
        errno = saved;
}

int log_error_errno(int err, const char *format, ...)
{
        va_list ap;

        err = abs(err);
        errno = err;
        va_start(ap, format);
        log_va(LOG_LEVEL_ERROR, format, ap);
        va_end(ap);
        return -err;
}

void log_relay(const char *line)
{
        if (use_syslog)
                syslog(LOG_INFO, "%s", line);
        else
                (void)!writev(STDERR_FILENO,
                              (const struct iovec[]){{(void *)(uintptr_t)line, strlen(line)},
                                                     {(void *)(uintptr_t) "\n", 1}},
                              2);
}
