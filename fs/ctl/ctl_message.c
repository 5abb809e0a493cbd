/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 8192 };

bool ctl_locale_is_utf8(void)
{
        return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static void __attribute__((format(printf, 1, 0))) vcomplain(const char *format, va_list ap)
{
        struct ctl_style style = {.terminal = isatty(STDERR_FILENO), .utf8 = ctl_locale_is_utf8()};
        char text[MESSAGE_MAX];

        vsnprintf(text, sizeof text, format, ap);
        fflush(stdout);
        fputs("magnetctl: ", stderr);
        ctl_text_put(stderr, text, 0, &style);
        putc('\n', stderr);
}

void ctl_complain(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vcomplain(format, ap);
        va_end(ap);
}

static void note(struct ctl *c, enum ctl_exit code)
{
        if (c->result != CTL_FAILED)
                c->result = code;
}

void ctl_fail(struct ctl *c, enum ctl_exit code, const char *format, ...)
{
        va_list ap;

        note(c, code);
        va_start(ap, format);
        vcomplain(format, ap);
        va_end(ap);
}

/* The reason of an -errno, and what to do where that is known. */
static const char *reason_of(int r)
{
        switch (-r) {
        case ENOSPC:
                return "no room on the disk of the cache or of the state folder; remove torrents, "
                       "or make room there";
        case EDQUOT:
                return "the quota on the disk of the cache or of the state folder is used up; "
                       "remove torrents, or make room there";
        default:
                return strerror(-r);
        }
}

void ctl_fail_errno(struct ctl *c, int r, const char *format, ...)
{
        const char *about_mount = ctl_mount_complaint(c->mount, r);
        char text[MESSAGE_MAX];
        va_list ap;

        note(c, CTL_FAILED);
        if (about_mount && !c->told_of_mount)
                ctl_complain("%s", about_mount);
        c->told_of_mount |= about_mount != NULL;
        if (about_mount)
                return;
        va_start(ap, format);
        vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        ctl_complain("%s: %s", text, reason_of(r));
}
