/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "ctl/ctl_suggest.h"

#define TIMEOUT_MAX_S 31536000L /* a year */

/* ---- what there is ---- */

enum command_bit {
        ADD = 1,
        LIST = 2,
        STATUS = 4,
        KEEP = 8,
        REMOVE = 16,
        FILES = 32,
        WAIT = 64,
        EXPORT = 128,
        CACHE = 256,
        EVICT = 512,
        PIN = 1024,
        UNPIN = 2048
};
enum { ANY = 0 };
enum { OF_TORRENTS = STATUS | KEEP | REMOVE | FILES | WAIT | EVICT | PIN | UNPIN };

#define ABOUT_TORRENT                                                                              \
        "TORRENT is an info-hash, at least 6 digits of its beginning, the name of the\n"           \
        "torrent's directory in the mount, or the path of that directory or of what is in it.\n"
#define ABOUT_FILE "FILE is the path of a file or a folder in the mount, or TORRENT/PATH.\n"
#define ABOUT_SOURCE                                                                               \
        "SOURCE is a magnet URI (quote it in a shell), an info-hash, the path of a .torrent\n"     \
        "file, or that of a list: a text with one of these a line. - is the standard input.\n"
#define ABOUT_LIST                                                                                 \
        "In a list, paths are relative to its folder; empty lines and those that begin with #\n"   \
        "count for nothing. A line that is wrong is told with its number, the others are added.\n"
#define ABOUT_WAIT                                                                                 \
        "The wait for the metadata lasts as long as magnetfs tries, unless --timeout ends\n"       \
        "it before (0: does not wait at all).\n"
#define ABOUT_PIPE  "When the output is no terminal, each line has, separated by tabs:\n"
#define FIELDS_LIST "hash, kept or temp, size, name"
#define FIELDS_STATUS(indent)                                                                      \
        "hash, name, state, kept or temp, size, bytes there, progress (0 to 1), bytes/s\n" indent  \
        "down, bytes/s up, peers, seeds, open files, waiting reads, error"
#define FIELDS_FILES "index, size, path"
#define FIELDS_CACHE(indent)                                                                       \
        "hash, bytes there, bytes that would go next, yes, part or - (pinned),\n" indent           \
        "state, last use (seconds since 1970), name"
#define FIELDS_EVICT "hash, bytes that went, name"
#define ABOUT_EXIT                                                                                 \
        "Exit status: 0 done; 1 something failed (the other arguments were still done);\n"         \
        "2 wrong usage; 3 timed out: nobody gave the metadata in time (add --wait, files,\n"       \
        "wait).\n"

static const struct command {
        enum command_bit bit;
        const char *name, *args, *help;
        const char *about; /* more of it, whole lines */
        size_t min_args, max_args;
        void (*run)(struct ctl *c);
} commands[] = {
        {ADD, "add", "SOURCE...", "Add torrents; prints the hash and the name of each.",
         ABOUT_SOURCE ABOUT_LIST
         "A torrent that was there before is printed too, and nothing else happens to it, but\n"
         "that a temporary one is kept from now on (not with --temporary).\n" ABOUT_WAIT,
         1, SIZE_MAX, ctl_add},
        {LIST, "list", "", "List the torrents.", ABOUT_PIPE "  " FIELDS_LIST "\n", 0, 0, ctl_list},
        {STATUS, "status", "[TORRENT...]", "Show progress, rates, peers and open files.",
         ABOUT_TORRENT
         "Without one all are shown. READ are the open files, WAIT the reads that "
         "wait for\npieces. With --watch the torrents that are read come first, where "
         "not all fit.\n" ABOUT_PIPE "  " FIELDS_STATUS("  ") "\n",
         0, SIZE_MAX, ctl_status},
        {KEEP, "keep", "TORRENT...", "Keep a torrent until it is removed.",
         ABOUT_TORRENT
         "A torrent that is not kept goes, with its data, when nobody has used it for a while.\n",
         1, SIZE_MAX, ctl_keep},
        {REMOVE, "remove", "TORRENT...", "Remove a torrent and its data.",
         ABOUT_TORRENT "The path of what is only a part of the torrent is refused.\n", 1, SIZE_MAX,
         ctl_remove},
        {FILES, "files", "TORRENT", "List the files; waits for the metadata.",
         ABOUT_TORRENT ABOUT_WAIT ABOUT_PIPE "  " FIELDS_FILES "\n", 1, 1, ctl_files},
        {WAIT, "wait", "TORRENT...", "Wait for metadata; prints hash and name as they come.",
         ABOUT_TORRENT ABOUT_WAIT, 1, SIZE_MAX, ctl_wait},
        {EXPORT, "export", "FILE", "Write the kept torrents to a list that add reads.",
         "A torrent of which the metadata is known becomes FILE.torrents/INFO-HASH.torrent, and\n"
         "its line is that path; another one's line is its magnet. FILE is replaced only when all\n"
         "is written. With - as FILE magnets alone are written, to the standard output.\n"
         "Elsewhere, magnetctl add FILE adds them.\n",
         1, 1, ctl_export},
        {CACHE, "cache", "", "Show what is in the cache, and what would go first.",
         "Torrents of which nothing is there, and nothing pinned, are left out; the largest come\n"
         "first. NEXT is what of them would go next to make room. With --size the size of the\n"
         "cache is another until magnetfs ends, and what is too much goes.\n" ABOUT_PIPE
         "  " FIELDS_CACHE("  ") "\n",
         0, 0, ctl_cache},
        {EVICT, "evict", "TORRENT...", "Take what is there of a torrent off the disk.",
         ABOUT_TORRENT
         "The torrent stays, and what is read of it is fetched again. What is being read, and\n"
         "what is pinned, stays on the disk.\n" ABOUT_PIPE "  " FIELDS_EVICT "\n",
         1, SIZE_MAX, ctl_evict},
        {PIN, "pin", "TORRENT|FILE...", "Never evict a torrent, or a file, to make room.",
         ABOUT_TORRENT ABOUT_FILE "What is there stays; nothing is fetched for it.\n", 1, SIZE_MAX,
         ctl_pin},
        {UNPIN, "unpin", "TORRENT|FILE...", "The opposite of pin.", ABOUT_TORRENT ABOUT_FILE, 1,
         SIZE_MAX, ctl_unpin},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

enum {
        OPT_TEMPORARY = 256,
        OPT_WAIT,
        OPT_WATCH,
        OPT_JSON,
        OPT_OFF,
        OPT_ALL,
        OPT_TIMEOUT,
        OPT_SIZE
};

static const struct option_row {
        int key; /* below 256: also the short option */
        const char *name, *arg;
        unsigned commands; /* ANY, or those that take it */
        size_t flag;       /* of struct ctl_options: the bool it sets; where it takes no argument */
        const char *help;
} option_rows[] = {
#define FLAG(name) offsetof(struct ctl_options, name)
        {'m', "mount", "DIR", ANY, 0, "the mount; default: the only one, or that of a path"},
        {OPT_TEMPORARY, "temporary", NULL, ADD, FLAG(temporary),
         "gone when nobody has used it for a while (default: kept)"},
        {OPT_WAIT, "wait", NULL, ADD, FLAG(wait), "wait for the metadata, then print"},
        {OPT_WATCH, "watch", NULL, STATUS, FLAG(watch), "again each second, until interrupted"},
        {OPT_JSON, "json", NULL, LIST | STATUS | FILES | CACHE, FLAG(json),
         "a JSON object on one line"},
        {OPT_OFF, "off", NULL, KEEP, FLAG(off), "the opposite: make it temporary"},
        {OPT_ALL, "all", NULL, EXPORT, FLAG(all), "temporary torrents, too"},
        {OPT_TIMEOUT, "timeout", "SECONDS", ADD | FILES | WAIT, 0, "the longest wait for metadata"},
        {OPT_SIZE, "size", "SIZE", CACHE, 0, "the cache's bound from now on, such as 20G"},
        {'h', "help", NULL, ANY, 0, "print this and exit; of a command: what that does"},
        {'V', "version", NULL, ANY, 0, "print the version and exit"},
#undef FLAG
};
#define N_OPTIONS     (sizeof option_rows / sizeof *option_rows)
#define SHORT_OPTIONS ":m:hV"

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

static bool takes(const struct command *command, const struct option_row *option)
{
        return option->commands == ANY || (command && option->commands & (unsigned)command->bit);
}

/* ---- help ---- */

/* The options of a command; of all, and which take them, where it is NULL. */
static void print_options(const struct command *command)
{
        puts("\nOptions:");
        for (size_t i = 0; i < N_OPTIONS; i++) {
                const struct option_row *o = &option_rows[i];
                char left[32], shortly[8] = "    ";

                if (command && !takes(command, o))
                        continue;
                if (o->key < 256)
                        snprintf(shortly, sizeof shortly, "-%c, ", o->key);
                snprintf(left, sizeof left, "%s--%s%s%s", shortly, o->name, o->arg ? " " : "",
                         o->arg ? o->arg : "");
                printf("  %-24s  ", left);
                for (size_t k = 0, n = 0; !command && k < N_COMMANDS; k++)
                        if (o->commands & commands[k].bit)
                                printf("%s%s", n++ ? ", " : "", commands[k].name);
                printf("%s%s\n", !command && o->commands ? ": " : "", o->help);
        }
}

static void print_help(void)
{
        puts("Usage: magnetctl [-m DIR] COMMAND [OPTION...] [ARGUMENT...]\n"
             "The command line of a magnetfs mount.\n"
             "\n"
             "Commands:");
        for (size_t i = 0; i < N_COMMANDS; i++) {
                char left[32];

                snprintf(left, sizeof left, "%s %s", commands[i].name, commands[i].args);
                printf("  %-24s  %s\n", left, commands[i].help);
        }
        print_options(NULL);
        puts("\n" ABOUT_SOURCE ABOUT_TORRENT "\n" ABOUT_WAIT "\n"
             "When the output is no terminal, fields are separated by tabs, sizes are bytes, and -\n"
             "is what is not known:\n"
             "  add     hash, name (wait the same)\n"
             "  list    " FIELDS_LIST "\n"
             "  status  " FIELDS_STATUS(
                     "          ") "\n"
                                   "  files   " FIELDS_FILES "\n"
                                   "  cache   " FIELDS_CACHE(
                                           "          ") "\n"
                                                         "  evict   " FIELDS_EVICT "\n"
                                                         "\n" ABOUT_EXIT "\n"
                                                         "NO_COLOR in the environment turns colours off; COLUMNS is preferred to the terminal's\n"
                                                         "own width.\n"
                                                         "\n"
                                                         "The manual is magnetctl(1).");
}

static void print_command_help(const struct command *c)
{
        printf("Usage: magnetctl [-m DIR] %s [OPTION...]%s%s\n%s\n\n%s", c->name,
               *c->args ? " " : "", c->args, c->help, c->about);
        print_options(c);
        fputs("\n" ABOUT_EXIT, stdout);
}

/* ---- parsing ---- */

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

/* Says what is wrong with an option that getopt_long() does not know what to do with. */
static void complain_option(int key, char *const *argv)
{
        const char *word = argv[optind - 1];

        if (key == ':')
                ctl_complain("%s needs a value; see magnetctl --help", word);
        else if (optopt && !find_option(optopt))
                ctl_complain("There is no option -%c; see magnetctl --help", optopt);
        else
                ctl_complain("There is no option %s, or it takes no value; see magnetctl --help",
                             word);
}

static bool set_option(struct ctl_options *o, const struct option_row *row,
                       const struct command *command, const char *value)
{
        if (!takes(command, row)) {
                if (command)
                        ctl_complain("--%s is no option of %s; see magnetctl %s --help", row->name,
                                     command->name, command->name);
                else
                        ctl_complain("--%s goes behind its command; see magnetctl --help",
                                     row->name);
                return false;
        }
        if (row->key == 'm')
                o->mountpoint = value;
        else if (row->key == OPT_SIZE) {
                if (size_parse(value, &o->size_bytes) && o->size_bytes >= CACHE_BYTES_MIN)
                        return true;
                ctl_complain("--%s takes a size such as 20G, not less than 1M, not %s", row->name,
                             value);
                return false;
        } else if (row->key != OPT_TIMEOUT)
                *(bool *)((char *)o + row->flag) = true;
        else if (!parse_seconds(value, &o->timeout_s)) {
                ctl_complain("--%s takes seconds, 0 to %ld, not %s", row->name, TIMEOUT_MAX_S,
                             value);
                return false;
        }
        return true;
}

/* Parses the options in argv[1] and on, before the command (command NULL: stops at the first
 * argument) or behind it; optind is then the first argument. CTL_PARSED_COMMAND: go on. */
static enum ctl_parsed parse_options(int argc, char **argv, const struct command *command,
                                     struct ctl_options *ret)
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

                if (key == 'h' && command)
                        print_command_help(command);
                else if (key == 'h')
                        print_help();
                if (key == 'V')
                        puts("magnetctl " MAGNETFS_VERSION);
                if (key == 'h' || key == 'V')
                        return CTL_PARSED_DONE;
                if (!row) {
                        complain_option(key, argv);
                        return CTL_PARSED_WRONG;
                }
                if (!set_option(ret, row, command, optarg))
                        return CTL_PARSED_WRONG;
        }
        return CTL_PARSED_COMMAND;
}

static void complain_command(const char *name)
{
        struct ctl_suggest suggest;
        char all[256] = "";

        ctl_suggest_init(&suggest, name);
        for (size_t i = 0; i < N_COMMANDS; i++) {
                ctl_suggest_offer(&suggest, commands[i].name);
                strcat(all, i ? ", " : "");
                strcat(all, commands[i].name);
        }
        if (suggest.best)
                ctl_complain("There is no command %s; did you mean %s? There are: %s", name,
                             suggest.best, all);
        else
                ctl_complain("There is no command %s; there are: %s", name, all);
}

/* magnetctl help [COMMAND] */
static enum ctl_parsed help(int argc, char **argv)
{
        const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

        if (argc > 1 && !command) {
                complain_command(argv[1]);
                return CTL_PARSED_WRONG;
        }
        if (command)
                print_command_help(command);
        else
                print_help();
        return CTL_PARSED_DONE;
}

enum ctl_parsed ctl_parse(int argc, char **argv, struct ctl *c, void (**ret)(struct ctl *))
{
        const struct command *command;
        enum ctl_parsed p;
        size_t n;

        p = parse_options(argc, argv, NULL, &c->opt);
        if (p != CTL_PARSED_COMMAND)
                return p;
        if (optind >= argc) {
                ctl_complain("Say what to do; see magnetctl --help");
                return CTL_PARSED_WRONG;
        }
        argc -= optind;
        argv += optind;
        if (strcmp(argv[0], "help") == 0)
                return help(argc, argv);
        command = find_command(argv[0]);
        if (!command) {
                complain_command(argv[0]);
                return CTL_PARSED_WRONG;
        }
        p = parse_options(argc, argv, command, &c->opt);
        if (p != CTL_PARSED_COMMAND)
                return p;

        n = (size_t)(argc - optind);
        if (n < command->min_args || n > command->max_args) {
                ctl_complain("%s takes %s, not %zu; usage: magnetctl %s%s%s", command->name,
                             command->max_args == 0   ? "no argument"
                             : command->max_args == 1 ? "one argument"
                                                      : "at least one argument",
                             n, command->name, *command->args ? " " : "", command->args);
                return CTL_PARSED_WRONG;
        }
        if (command->bit == ADD && c->opt.timeout_s >= 0 && !c->opt.wait) {
                ctl_complain("--timeout of add goes with --wait; see magnetctl add --help");
                return CTL_PARSED_WRONG;
        }
        c->args = argv + optind;
        c->n_args = n;
        c->of_torrents = (command->bit & OF_TORRENTS) != 0;
        *ret = command->run;
        return CTL_PARSED_COMMAND;
}
