#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A longer line is cut: names of files of a torrent may be in it. */
#define LOG_LINE_MAX 1024

static const char *const level_names[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARNING] = "warning",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
};

/* set once, before other threads exist */
static enum log_level level_max = LOG_LEVEL_INFO;

int log_level_parse(const char *name, enum log_level *ret)
{
        for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
                if (strcmp(name, level_names[i]) == 0) {
                        *ret = (enum log_level)i;
                        return 0;
                }
        return -EINVAL;
}

void log_set_level(enum log_level level)
{
        level_max = level;
}

static void __attribute__((format(printf, 2, 0)))
write_line(enum log_level level, const char *format, va_list ap)
{
        char line[LOG_LINE_MAX];
        int saved = errno;
        int n = snprintf(line, sizeof(line), "magnetfs-httpd[%ld]: %s: ", (long)getpid(),
                         level_names[level]);
        size_t used = n > 0 ? (size_t)n : 0;

        errno = saved; /* for %m */
        n = vsnprintf(line + used, sizeof(line) - used, format, ap);
        if (n > 0)
                used += (size_t)n;
        if (used > sizeof(line) - 2)
                used = sizeof(line) - 2;
        /* Text that came from outside must not be able to forge a line of its own. */
        for (size_t i = 0; i < used; i++)
                if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
                        line[i] = ' ';
        line[used++] = '\n';
        /* Where stderr itself fails there is nobody left to tell. */
        if (write(STDERR_FILENO, line, used) < 0)
                errno = saved;
        errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
        va_list ap;

        if (level > level_max)
                return;
        va_start(ap, format);
        write_line(level, format, ap);
        va_end(ap);
}

int log_line_errno(enum log_level level, int error, const char *format, ...)
{
        int saved = errno;
        va_list ap;

        if (level > level_max)
                return error;
        errno = error < 0 ? -error : error;
        va_start(ap, format);
        write_line(level, format, ap);
        va_end(ap);
        errno = saved;
        return error;
}
