/* magnetctl.c: the command line of a magnetfs mount: options, the table of commands, main. All that
 * magnetctl does goes through the mount's control files. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "magnetctl.h"

#define TIMEOUT_MAX_S 31536000L /* a year */

#define _cleanup_mount_ _cleanup_(ctl_mount_freep)

/* ---- messages ---- */

static bool locale_is_utf8(void)
{
        return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void ctl_complain(const char *format, ...)
{
        struct ctl_style style = {.terminal = isatty(STDERR_FILENO), .utf8 = locale_is_utf8()};
        char text[8192];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        fflush(stdout);
        fputs("magnetctl: ", stderr);
        ctl_text_put(stderr, text, 0, &style);
        putc('\n', stderr);
}

void ctl_fail(struct ctl *c, enum exit_code code)
{
        if (c->result != EXIT_FAILED)
                c->result = code;
}

void ctl_complain_errno(struct ctl *c, int r, const char *format, ...)
{
        const char *about_mount = ctl_mount_complaint(c->mount, r);
        char text[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        ctl_fail(c, EXIT_FAILED);
        if (about_mount && !c->told_of_mount) {
                c->told_of_mount = true;
                ctl_complain("%s", about_mount);
        } else if (!about_mount)
                ctl_complain("%s: %s", text, strerror(-r));
}

/* ---- the terminal ---- */

static void find_style(struct ctl *c)
{
        const char *no_color = getenv("NO_COLOR"); /* no-color.org */

        c->style.terminal = isatty(STDOUT_FILENO);
        c->style.utf8 = locale_is_utf8();
        c->style.colour = c->style.terminal && !ctl_terminal_is_dumb() && !(no_color && *no_color);
}

/* ---- the command line ---- */

enum command_bit { ADD = 1, LIST = 2, STATUS = 4, KEEP = 8, REMOVE = 16, FILES = 32, WAIT = 64 };
#define ANY 0

static const struct command {
        enum command_bit bit;
        const char *name, *args, *help;
        size_t min_args, max_args;
        void (*run)(struct ctl *c);
} commands[] = {
        {ADD, "add", "SOURCE...", "Add torrents; prints the hash and the name of each.", 1,
         SIZE_MAX, cmd_add},
        {LIST, "list", "", "List the torrents.", 0, 0, cmd_list},
        {STATUS, "status", "[TORRENT...]", "Show progress, rates, peers and open files.", 0,
         SIZE_MAX, cmd_status},
        {KEEP, "keep", "TORRENT...", "Keep a torrent until it is removed.", 1, SIZE_MAX, cmd_keep},
        {REMOVE, "remove", "TORRENT...", "Remove a torrent and its data.", 1, SIZE_MAX, cmd_remove},
        {FILES, "files", "TORRENT", "List the files; waits for the metadata.", 1, 1, cmd_files},
        {WAIT, "wait", "TORRENT...", "Wait for metadata; prints hash and name as they come.", 1,
         SIZE_MAX, cmd_wait},
};
#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

enum { OPT_TEMPORARY = 256, OPT_WAIT, OPT_WATCH, OPT_JSON, OPT_OFF, OPT_TIMEOUT };

static const struct option_row {
        int key; /* below 256: also the short option */
        const char *name, *arg;
        unsigned commands; /* ANY, or those that take it */
        const char *help;
} option_rows[] = {
        {'m', "mount", "DIR", ANY, "the mount; default: the only magnetfs there is"},
        {OPT_TEMPORARY, "temporary", NULL, ADD,
         "gone when nobody has used it for a while (default: kept)"},
        {OPT_WAIT, "wait", NULL, ADD, "wait for the metadata, then print"},
        {OPT_WATCH, "watch", NULL, STATUS, "again each second, until interrupted"},
        {OPT_JSON, "json", NULL, STATUS, "all that magnetfs tells, a JSON object on one line"},
        {OPT_OFF, "off", NULL, KEEP, "the opposite: make it temporary"},
        {OPT_TIMEOUT, "timeout", "SECONDS", ADD | FILES | WAIT, "the longest wait for metadata"},
        {'h', "help", NULL, ANY, "print this and exit"},
        {'V', "version", NULL, ANY, "print the version and exit"},
};
#define N_OPTIONS     (sizeof(option_rows) / sizeof(*option_rows))
#define SHORT_OPTIONS ":m:hV"

static void print_option(const struct option_row *o)
{
        char left[32], shortly[8] = "    ";

        if (o->key < 256)
                snprintf(shortly, sizeof(shortly), "-%c, ", o->key);
        snprintf(left, sizeof(left), "%s--%s%s%s", shortly, o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        printf("  %-24s  ", left);
        for (size_t i = 0, n = 0; i < N_COMMANDS; i++)
                if (o->commands & commands[i].bit)
                        printf("%s%s", n++ ? ", " : "", commands[i].name);
        printf("%s%s\n", o->commands ? ": " : "", o->help);
}

static void print_help(void)
{
        puts("Usage: magnetctl [-m DIR] COMMAND [OPTION...] [ARGUMENT...]\n"
             "The command line of a magnetfs mount.\n"
             "\n"
             "Commands:");
        for (size_t i = 0; i < N_COMMANDS; i++) {
                char left[32];

                snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
                printf("  %-24s  %s\n", left, commands[i].help);
        }
        puts("\nOptions:");
        for (size_t i = 0; i < N_OPTIONS; i++)
                print_option(&option_rows[i]);
        puts("\n"
             "The wait for the metadata lasts as long as magnetfs tries, unless --timeout ends it\n"
             "before (0: does not wait at all).\n"
             "\n"
             "SOURCE is a magnet URI (quote it), an info-hash or the path of a .torrent file.\n"
             "TORRENT is an info-hash, at least 6 digits of its beginning, or the name of the\n"
             "torrent's directory in the mount.\n"
             "\n"
             "When the output is no terminal, fields are separated by tabs, sizes are bytes, and - is\n"
             "what is not known:\n"
             "  list    hash, kept or temp, size, name\n"
             "  status  hash, name, state, kept or temp, size, bytes there, progress (0 to 1), bytes/s\n"
             "          down, bytes/s up, peers, seeds, open files, waiting reads, error\n"
             "  files   index, size, path\n"
             "\n"
             "Exit status: 0 done; 1 something failed (the other arguments were still done);\n"
             "2 wrong usage; 3 timed out: nobody gave the metadata in time (add --wait, files, wait).\n"
             "NO_COLOR in the environment turns colours off.");
}

static const struct command *find_command(const char *name)
{
        for (size_t i = 0; i < N_COMMANDS; i++)
                if (strcmp(commands[i].name, name) == 0)
                        return &commands[i];
        return NULL;
}

static const struct option_row *find_option(int key)
{
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (option_rows[i].key == key)
                        return &option_rows[i];
        return NULL;
}

static bool parse_seconds(const char *s, long *ret)
{
        char *end;
        long v;

        if (*s < '0' || *s > '9')
                return false;
        errno = 0;
        v = strtol(s, &end, 10);
        if (errno || *end || v > TIMEOUT_MAX_S)
                return false;
        *ret = v;
        return true;
}

static bool set_option(struct options *o, int key, const char *value)
{
        switch (key) {
        case 'm':
                o->mountpoint = value;
                return true;
        case OPT_TEMPORARY:
                o->temporary = true;
                return true;
        case OPT_WAIT:
                o->wait = true;
                return true;
        case OPT_WATCH:
                o->watch = true;
                return true;
        case OPT_JSON:
                o->json = true;
                return true;
        case OPT_OFF:
                o->off = true;
                return true;
        case OPT_TIMEOUT:
                return parse_seconds(value, &o->timeout_s);
        default:
                return false;
        }
}

/* What parse_options() found, beside the options. */
enum parsed { PARSED_ALL, PARSED_DONE, PARSED_WRONG };

/* Parses argv[1] and on, before the command (command NULL: stops at the first argument) or after
 * it. */
static enum parsed parse_options(int argc, char **argv, const struct command *command,
                                 struct options *ret)
{
        struct option longs[N_OPTIONS + 1] = {{0}};
        int key;

        for (size_t i = 0; i < N_OPTIONS; i++)
                longs[i] = (struct option){option_rows[i].name,
                                           option_rows[i].arg ? required_argument : no_argument,
                                           NULL, option_rows[i].key};
        optind = 0; /* glibc: start over */
        opterr = 0;
        while ((key = getopt_long(argc, argv, command ? SHORT_OPTIONS : "+" SHORT_OPTIONS, longs,
                                  NULL)) >= 0) {
                const struct option_row *row = find_option(key);

                if (key == 'h') {
                        print_help();
                        return PARSED_DONE;
                }
                if (key == 'V') {
                        puts("magnetctl " MAGNETFS_VERSION);
                        return PARSED_DONE;
                }
                if (key == ':')
                        ctl_complain("%s needs a value; see magnetctl --help", argv[optind - 1]);
                else if (!row && optopt && !find_option(optopt))
                        ctl_complain("There is no option -%c; see magnetctl --help", optopt);
                else if (!row)
                        ctl_complain(
                                "There is no option %s, or it takes no value; see magnetctl --help",
                                argv[optind - 1]);
                else if (row->commands && (!command || !(row->commands & (unsigned)command->bit)))
                        ctl_complain("--%s is no option of %s; see magnetctl --help", row->name,
                                     command ? command->name
                                             : "magnetctl itself but of a command, behind it");
                else if (!set_option(ret, key, optarg))
                        ctl_complain("--%s takes seconds, 0 to %ld, not %s; see magnetctl --help",
                                     row->name, TIMEOUT_MAX_S, optarg);
                else
                        continue;
                return PARSED_WRONG;
        }
        return PARSED_ALL;
}

/* Fills c and *ret from the command line. */
static enum parsed parse_command_line(int argc, char **argv, struct ctl *c,
                                      const struct command **ret)
{
        const struct command *command;
        enum parsed p;
        size_t n;

        p = parse_options(argc, argv, NULL, &c->opt);
        if (p != PARSED_ALL)
                return p;
        if (optind >= argc) {
                ctl_complain("Say what to do; see magnetctl --help");
                return PARSED_WRONG;
        }
        argc -= optind;
        argv += optind;
        command = find_command(argv[0]);
        if (!command) {
                ctl_complain("There is no command %s; see magnetctl --help", argv[0]);
                return PARSED_WRONG;
        }
        p = parse_options(argc, argv, command, &c->opt);
        if (p != PARSED_ALL)
                return p;

        n = (size_t)(argc - optind);
        if (n < command->min_args || n > command->max_args) {
                ctl_complain("%zu arguments are not what %s takes; usage: magnetctl %s %s", n,
                             command->name, command->name, command->args);
                return PARSED_WRONG;
        }
        if (command->bit == ADD && c->opt.timeout_s >= 0 && !c->opt.wait) {
                ctl_complain("--timeout of add goes with --wait; see magnetctl --help");
                return PARSED_WRONG;
        }
        c->args = argv + optind;
        c->n_args = n;
        *ret = command;
        return PARSED_ALL;
}

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

int main(int argc, char **argv)
{
        struct ctl c = {.opt.timeout_s = -1};
        _cleanup_mount_ struct ctl_mount *mount = NULL;
        const struct command *command = NULL;
        struct ctl_reason why;
        int r;

        if (!fill_standard_streams())
                return EXIT_FAILED;
        setlocale(LC_CTYPE, "");
        switch (parse_command_line(argc, argv, &c, &command)) {
        case PARSED_WRONG:
                return EXIT_USAGE;
        case PARSED_DONE:
                break;
        case PARSED_ALL:
                r = ctl_mount_apart();
                if (r < 0) {
                        ctl_complain("Cannot start a process: %s", strerror(-r));
                        return EXIT_FAILED;
                }
                if (ctl_mount_open(c.opt.mountpoint, &mount, &why) < 0) {
                        ctl_complain("%s", why.text);
                        return EXIT_FAILED;
                }
                c.mount = mount;
                find_style(&c);
                command->run(&c);
        }

        if (fflush(stdout) != 0 || ferror(stdout)) {
                ctl_complain("Cannot write the output: %s", strerror(errno));
                return EXIT_FAILED;
        }
        return (int)c.result;
}
