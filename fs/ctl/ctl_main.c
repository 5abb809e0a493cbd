/* SPDX-License-Identifier: MIT */
/* ctl_main.c: magnetctl, the command line of a magnetfs mount. All that it does goes through the
 * mount's control files. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/ctl_options.h"
#include "ctl/ctl_watchdog.h"

/* A standard stream that is closed must not become some other file. Opened this way, writing to it
 * still fails with EBADF, as it should. */
static bool fill_standard_streams(void)
{
        int fd;

        do
                fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

static struct ctl_style style_of_stdout(void)
{
        const char *no_color = getenv("NO_COLOR"); /* no-color.org */
        const char *term = getenv("TERM");
        bool terminal = isatty(STDOUT_FILENO);
        bool dumb = !term || !*term || strcmp(term, "dumb") == 0;

        return (struct ctl_style){
                .terminal = terminal,
                .utf8 = ctl_locale_is_utf8(),
                .colour = terminal && !dumb && !(no_color && *no_color),
                .escapes = terminal && !dumb,
        };
}

/* Runs the command in a process of its own and gives its exit code. */
static enum ctl_exit run(struct ctl *c, void (*command)(struct ctl *))
{
        _cleanup_mount_ struct ctl_mount *mount = NULL;
        struct ctl_reason why;
        int r;

        r = ctl_watchdog_apart();
        if (r == 0)
                r = ctl_watchdog_start();
        if (r < 0) {
                ctl_complain("Cannot start a process: %s", strerror(-r));
                return CTL_FAILED;
        }
        if (ctl_mount_open(c->opt.mountpoint, c->args, c->of_torrents ? c->n_args : 0, &mount,
                           &why) < 0) {
                ctl_complain("%s", why.text);
                return CTL_FAILED;
        }
        c->mount = mount;
        c->style = style_of_stdout();
        command(c);
        return c->result;
}

int main(int argc, char **argv)
{
        struct ctl c = {.opt.timeout_s = -1};
        void (*command)(struct ctl *) = NULL;
        enum ctl_exit code = CTL_OK;

        if (!fill_standard_streams())
                return CTL_FAILED;
        setlocale(LC_CTYPE, "");
        switch (ctl_parse(argc, argv, &c, &command)) {
        case CTL_PARSED_WRONG:
                return CTL_USAGE;
        case CTL_PARSED_DONE:
                break;
        case CTL_PARSED_COMMAND:
                code = run(&c, command);
        }

        if (fflush(stdout) != 0 || ferror(stdout)) {
                ctl_complain("Cannot write the output: %s", strerror(errno));
                return CTL_FAILED;
        }
        return (int)code;
}
