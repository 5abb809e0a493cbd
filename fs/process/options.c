/* SPDX-License-Identifier: MIT */
#include "process/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

enum type {
        TYPE_FLAG,
        TYPE_TEXT,
        TYPE_SIZE,
        TYPE_NUMBER,
        TYPE_CHOICE,
        TYPE_LEVEL,
        TYPE_SETTING,
        TYPE_HOST,
        TYPE_ORIGIN,
        TYPE_FD
};

struct option {
        const char *name;
        enum type type;
        size_t offset;
        uint64_t least, most;
        const char *fallback; /* the default, as it would be written; NULL: none */
        const char *value, *help;
};

#define F(field) offsetof(struct options, field)
/* A day: longer waits are no waits. */
#define SECONDS_MAX 86400
#define STREAMS_MAX 4096 /* the sidecar's */

static const struct option table[] = {
        {"foreground", TYPE_FLAG, F(foreground), 0, 0, NULL, NULL,
         "stay in the foreground and log to stderr (also -f)"},
        {"allow-other", TYPE_FLAG, F(allow_other), 0, 0, NULL, NULL,
         "other users may read the torrents' files (also -o allow_other)"},
        {"state-dir", TYPE_TEXT, F(state_dir), 0, 0, NULL, "DIR",
         "what is remembered; default $XDG_STATE_HOME/magnetfs, root /var/lib/magnetfs"},
        {"cache-dir", TYPE_TEXT, F(cache_dir), 0, 0, NULL, "DIR",
         "the torrents' data; default $XDG_CACHE_HOME/magnetfs, root /var/cache/magnetfs"},
        {"cache-size", TYPE_SIZE, F(cache_size), CACHE_BYTES_MIN, UINT64_MAX, "20G", "SIZE",
         "bound on the data on the disk"},
        {"min-free", TYPE_SIZE, F(min_free), 0, UINT64_MAX, "1G", "SIZE",
         "what stays free on the disk"},
        {"http", TYPE_TEXT, F(http), 0, 0, "127.0.0.1:3000", "ADDR:PORT",
         "where the sidecar listens; other addresses than 127.0.0.0/8 need a token"},
        {"no-http", TYPE_FLAG, F(no_http), 0, 0, NULL, NULL, "no sidecar"},
        {"allowed-host", TYPE_HOST, 0, 0, 0, NULL, "NAME[:PORT]",
         "a Host the sidecar answers to besides localhost and addresses; may be repeated"},
        {"cors", TYPE_ORIGIN, 0, 0, 0, NULL, "ORIGIN",
         "a site whose pages may use the sidecar, as https://example.org; may be repeated"},
        {"token-file", TYPE_TEXT, F(token_file), 0, 0, NULL, "FILE",
         "who asks the sidecar has to have the token that this file holds"},
        {"token", TYPE_TEXT, F(token), 0, 0, NULL, "auto",
         "make a token at each start, and print it"},
        {"streams", TYPE_NUMBER, F(streams), 1, STREAMS_MAX, "256", "N",
         "how many streams of the sidecar there are at the same time"},
        {"client-timeout", TYPE_NUMBER, F(client_timeout_s), 1, SECONDS_MAX, "600", "SECONDS",
         "a client that takes nothing for so long is dropped"},
        {"read-timeout", TYPE_NUMBER, F(read_timeout_s), 0, SECONDS_MAX, "60", "SECONDS",
         "a read fails after so long without progress; 0: never"},
        {"metadata-timeout", TYPE_NUMBER, F(metadata_timeout_s), 1, SECONDS_MAX, "30", "SECONDS",
         "how long one try to fetch metadata takes"},
        {"retries", TYPE_NUMBER, F(retries), 0, 1000, "3", "N", "further tries"},
        {"retry-delay", TYPE_NUMBER, F(retry_delay_s), 0, SECONDS_MAX, "5", "SECONDS",
         "the pause between two tries"},
        {"idle-timeout", TYPE_NUMBER, F(idle_timeout_s), 1, SECONDS_MAX, "120", "SECONDS",
         "a torrent that nobody used for so long sleeps; a temporary one goes"},
        {"fill", TYPE_CHOICE, F(fill), 0, 0, "none", "none|file|torrent",
         "what is fetched beyond what is read"},
        {"stay-awake", TYPE_CHOICE, F(stay_awake), 0, 0, "none", "none|kept|complete",
         "which torrents stay with their swarms, and seed, though nobody reads them"},
        {"awake-max", TYPE_NUMBER, F(awake_max), 1, 100000, "100", "N",
         "so many torrents are with their swarms at most"},
        {"set", TYPE_SETTING, 0, 0, 0, NULL, "NAME=VALUE",
         "any setting of libtorrent; may be repeated"},
        {"on-event", TYPE_TEXT, F(on_event), 0, 0, NULL, "COMMAND",
         "run by a shell for each event, with MAGNETFS_EVENT as JSON"},
        {"allow-loopback-peers", TYPE_FLAG, F(loopback_peers), 0, 0, NULL, NULL,
         "let peers and web seeds be on loopback addresses"},
        {"log-level", TYPE_LEVEL, F(log_level), 0, 0, "info", "error|warning|info|debug",
         "what is logged"},
        {"ready-fd", TYPE_FD, F(ready_fd), 0, INT_MAX, NULL, "N",
         "write a newline to this descriptor once all is up"},
        {"help", TYPE_FLAG, F(help), 0, 0, NULL, NULL, "this text"},
        {"version", TYPE_FLAG, F(version), 0, 0, NULL, NULL, "print the version"},
};
#define N_OPTIONS (sizeof table / sizeof *table)

/* Options of mount(8) and fstab(5) that mean nothing here or hold anyway. */
static const char *const ignored[] = {
        "dev", "suid", "nodev", "nosuid", "exec", "auto", "noauto", "user", "users", "nouser",
        "owner", "group", "defaults", "_netdev", "nofail", "default_permissions",
        /* times of reading, which are not kept; changes, which there are none of */
        "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime",
        "nostrictatime", "lazytime", "nolazytime", "async", "mand", "nomand", "iversion",
        "noiversion",
        /* how much mount(8) says */
        "silent", "loud"};
static const char *const ignored_prefixes[] = {"x-", "comment=", "X-"};

/* Prints why the command line is wrong; always false, so that a caller can `return complain(…)`. */
static bool __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
        va_list ap;

        fprintf(stderr, "magnetfs: ");
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, "; see magnetfs --help\n");
        return false;
}

static const struct option *find(const char *name, size_t len)
{
        for (size_t i = 0; i < N_OPTIONS; i++) {
                const char *p = table[i].name;
                size_t k = 0;

                /* -o options are written with '_' as often as with '-'. */
                while (k < len && p[k] && (p[k] == name[k] || (p[k] == '-' && name[k] == '_')))
                        k++;
                if (k == len && !p[k])
                        return &table[i];
        }
        return NULL;
}

static bool set_number(const struct option *opt, const char *value, uint64_t *ret)
{
        unsigned long long v;
        char *end;

        errno = 0;
        v = strtoull(value, &end, 10);
        if (errno || !isdigit((unsigned char)value[0]) || *end || v < opt->least || v > opt->most) {
                fprintf(stderr, "magnetfs: --%s takes a number from %llu to %llu, not \"%s\"\n",
                        opt->name, (unsigned long long)opt->least, (unsigned long long)opt->most,
                        value);
                return false;
        }
        *ret = v;
        return true;
}

static bool set_setting(struct options *o, const char *value)
{
        const char *eq = strchr(value, '=');
        struct bt_setting *grown = reallocarray(o->settings, o->n_settings + 1, sizeof *grown);

        if (grown)
                o->settings = grown;
        if (!eq || eq == value || !grown)
                return complain("--set takes NAME=VALUE, not \"%s\"", value);
        o->settings[o->n_settings].name = strndup(value, (size_t)(eq - value));
        o->settings[o->n_settings].value = strdup(eq + 1);
        o->n_settings++;
        return true;
}

/* Adds to a list of what may be repeated, as often as the sidecar takes it. */
static bool add_text(const struct option *opt, const char *value, char ***list, unsigned *n)
{
        char **grown;

        if (*n == OPTIONS_REPEATED_MAX)
                return complain("--%s may be given %d times", opt->name, OPTIONS_REPEATED_MAX);
        grown = reallocarray(*list, *n + 1, sizeof *grown);
        if (!grown)
                return complain("out of memory");
        *list = grown;
        grown[*n] = strdup(value);
        if (!grown[*n])
                return complain("out of memory");
        ++*n;
        return true;
}

/* The field is an enum, whose values are the words in order. */
static bool set_choice(const struct option *opt, const char *value, unsigned *field)
{
        size_t len = strlen(value), n;
        const char *word = opt->value;

        for (unsigned i = 0;; i++, word += n + 1) {
                n = strcspn(word, "|");
                if (n == len && memcmp(word, value, n) == 0) {
                        *field = i;
                        return true;
                }
                if (!word[n])
                        return complain("--%s takes one of %s, not \"%s\"", opt->name, opt->value,
                                        value);
        }
}

static bool set(struct options *o, const struct option *opt, const char *value)
{
        char *field = (char *)o + opt->offset;
        uint64_t number;

        switch (opt->type) {
        case TYPE_FLAG:
                *(bool *)field = true;
                return true;
        case TYPE_TEXT:
                free(*(char **)field);
                *(char **)field = strdup(value);
                return *(char **)field != NULL;
        case TYPE_SIZE:
                if (!size_parse(value, &number))
                        return complain("--%s takes a size such as 20G, not \"%s\"", opt->name,
                                        value);
                if (number < opt->least)
                        return complain("--%s takes not less than %lluM, not \"%s\"", opt->name,
                                        (unsigned long long)opt->least >> 20, value);
                *(uint64_t *)field = number;
                return true;
        case TYPE_NUMBER:
                return set_number(opt, value, (uint64_t *)field);
        case TYPE_FD:
                if (!set_number(opt, value, &number))
                        return false;
                *(int *)field = (int)number;
                return true;
        case TYPE_CHOICE:
                return set_choice(opt, value, (unsigned *)field);
        case TYPE_LEVEL:
                if (log_level_parse(value, (enum log_level *)field))
                        return true;
                return complain("--%s takes error, warning, info or debug, not \"%s\"", opt->name,
                                value);
        case TYPE_SETTING:
                return set_setting(o, value);
        case TYPE_HOST:
                return add_text(opt, value, &o->allowed_hosts, &o->n_allowed_hosts);
        case TYPE_ORIGIN:
                return add_text(opt, value, &o->origins, &o->n_origins);
        }
        return false;
}

static bool add_fuse_option(struct options *o, const char *item)
{
        char *joined;

        if (asprintf(&joined, "%s%s%s", o->fuse_options, o->fuse_options[0] ? "," : "", item) < 0)
                return false;
        free(o->fuse_options);
        o->fuse_options = joined;
        return true;
}

static bool is_ignored(const char *item)
{
        for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
                if (strcmp(item, ignored[i]) == 0)
                        return true;
        for (size_t i = 0; i < sizeof ignored_prefixes / sizeof *ignored_prefixes; i++)
                if (strncmp(item, ignored_prefixes[i], strlen(ignored_prefixes[i])) == 0)
                        return true;
        return false;
}

/* The least READ that the kernel takes a bound for. */
enum { MAX_READ_LEAST = 4096 };

/* What the table has no long option for: mount(8) gives these to any file system. *ok: false where
 * the value is none. */
static bool set_kernel_option(struct options *o, const char *item, bool *ok)
{
        static const struct {
                const char *name;
                int base;
                uint64_t least, most;
        } numbers[] = {{"uid=", 10, 0, UINT32_MAX - 1},
                       {"gid=", 10, 0, UINT32_MAX - 1},
                       {"umask=", 8, 0, 0777},
                       {"max_read=", 10, MAX_READ_LEAST, UINT32_MAX}};
        unsigned long long v;
        unsigned i = 0;
        char *end;

        *ok = true;
        if (strcmp(item, "ro") == 0 || strcmp(item, "rw") == 0) {
                o->read_only = item[1] == 'o';
                return true;
        }
        if (strcmp(item, "remount") == 0) {
                *ok = complain("a mount is changed by the kernel: mount -i -o remount,…");
                return true;
        }
        if (strcmp(item, "nonempty") == 0) {
                o->nonempty = true;
                return true;
        }
        while (i < 4 && strncmp(item, numbers[i].name, strlen(numbers[i].name)) != 0)
                i++;
        if (i == 4)
                return false;
        item += strlen(numbers[i].name);
        errno = 0;
        v = strtoull(item, &end, numbers[i].base);
        *ok = !errno && isdigit((unsigned char)item[0]) && !*end && v >= numbers[i].least &&
              v <= numbers[i].most;
        if (!*ok)
                complain(numbers[i].base == 8 ? "-o %s takes an octal number to %llo, not \"%s\""
                                              : "-o %s takes a number to %llu, not \"%s\"",
                         numbers[i].name, (unsigned long long)numbers[i].most, item);
        else if (i == 0)
                o->uid = (uid_t)v;
        else if (i == 1)
                o->gid = (gid_t)v;
        else if (i == 2)
                o->umask = (mode_t)v;
        else
                o->max_read = v;
        return true;
}

/* One item of -o: ours, to be ignored, or libfuse's. */
static bool set_mount_option(struct options *o, const char *item)
{
        size_t len = strcspn(item, "=");
        const struct option *opt = find(item, len);
        bool ok;

        if (!opt && set_kernel_option(o, item, &ok))
                return ok;
        if (!opt)
                return is_ignored(item) || add_fuse_option(o, item);
        if (opt->type == TYPE_FLAG && item[len])
                return complain("-o %s takes no value", opt->name);
        if (opt->type != TYPE_FLAG && !item[len])
                return complain("-o %s needs a value", item);
        return set(o, opt, item[len] ? item + len + 1 : NULL);
}

static bool set_mount_options(struct options *o, const char *list)
{
        char *copy = strdup(list), *save = NULL;
        bool ok = copy != NULL;

        for (char *item = copy ? strtok_r(copy, ",", &save) : NULL; item && ok;
             item = strtok_r(NULL, ",", &save))
                ok = set_mount_option(o, item);
        free(copy);
        return ok;
}

/* $variable/magnetfs, else $HOME/fallback/magnetfs, else that of the user database; root's is
 * fixed. */
static char *default_dir(const char *variable, const char *fallback, const char *root)
{
        const char *base = getenv(variable), *home = getenv("HOME");
        struct passwd *pw;
        char *path = NULL;
        int r;

        if (getuid() == 0)
                return strdup(root);
        if (base && base[0] == '/') {
                r = asprintf(&path, "%s/magnetfs", base);
        } else {
                if (!home || home[0] != '/') {
                        pw = getpwuid(getuid());
                        home = pw ? pw->pw_dir : "/tmp";
                }
                r = asprintf(&path, "%s/%s/magnetfs", home, fallback);
        }
        return r < 0 ? NULL : path;
}

static bool parse_long(struct options *o, int argc, char **argv, int *i)
{
        const char *arg = argv[*i] + 2;
        size_t len = strcspn(arg, "=");
        const struct option *opt = find(arg, len);

        if (!opt)
                return complain("there is no option %s", argv[*i]);
        if (opt->type == TYPE_FLAG)
                return arg[len] ? complain("--%s takes no value", opt->name) : set(o, opt, NULL);
        if (arg[len])
                return set(o, opt, arg + len + 1);
        if (*i + 1 == argc)
                return complain("--%s needs a value", opt->name);
        return set(o, opt, argv[++*i]);
}

/* What is mounted and where, and the folders. */
static bool set_places(struct options *o, const char *const *positional, int n)
{
        if (n == 0)
                return complain("a mountpoint is missing");
        o->mountpoint = strdup(positional[n - 1]);
        if (n == 2 && !(o->source = strdup(positional[0])))
                return complain("out of memory");
        if (!o->state_dir)
                o->state_dir = default_dir("XDG_STATE_HOME", ".local/state", "/var/lib/magnetfs");
        if (!o->cache_dir)
                o->cache_dir = default_dir("XDG_CACHE_HOME", ".cache", "/var/cache/magnetfs");
        if ((o->allow_other && !add_fuse_option(o, "allow_other")) ||
            (o->read_only && !add_fuse_option(o, "ro")))
                return false;
        return o->mountpoint && o->state_dir && o->cache_dir;
}

bool options_parse(int argc, char **argv, struct options *o)
{
        const char *positional[2];
        int n = 0;

        *o = (struct options){
                .ready_fd = -1, .uid = (uid_t)-1, .gid = (gid_t)-1, .fuse_options = strdup("")};
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (table[i].fallback && !set(o, &table[i], table[i].fallback))
                        return false;
        for (int i = 1; i < argc; i++) {
                const char *a = argv[i];

                if (strcmp(a, "-f") == 0) {
                        o->foreground = true;
                } else if (strcmp(a, "-h") == 0) {
                        o->help = true;
                } else if (strcmp(a, "-V") == 0) {
                        o->version = true;
                } else if (strncmp(a, "-o", 2) == 0) {
                        if (!a[2] && i + 1 == argc)
                                return complain("-o needs a value");
                        if (!set_mount_options(o, a[2] ? a + 2 : argv[++i]))
                                return false;
                } else if (strncmp(a, "--", 2) == 0 && a[2]) {
                        if (!parse_long(o, argc, argv, &i))
                                return false;
                } else if (a[0] == '-' && a[1]) {
                        return complain("there is no option %s", a);
                } else if (n == 2) {
                        return complain("one mountpoint is enough: \"%s\" is too much", a);
                } else {
                        positional[n++] = a;
                }
        }
        if (o->help || o->version)
                return true;
        return set_places(o, positional, n);
}

void options_free(struct options *o)
{
        for (unsigned i = 0; i < o->n_settings; i++) {
                free((char *)(uintptr_t)o->settings[i].name);
                free((char *)(uintptr_t)o->settings[i].value);
        }
        for (unsigned i = 0; i < o->n_allowed_hosts; i++)
                free(o->allowed_hosts[i]);
        for (unsigned i = 0; i < o->n_origins; i++)
                free(o->origins[i]);
        free(o->origins);
        free(o->token_file);
        free(o->token);
        free(o->settings);
        free(o->allowed_hosts);
        free(o->mountpoint);
        free(o->source);
        free(o->fuse_options);
        free(o->state_dir);
        free(o->cache_dir);
        free(o->http);
        free(o->on_event);
}

void options_help(void)
{
        printf("Usage: magnetfs [options] [SOURCE] MOUNTPOINT\n"
               "Mounts BitTorrent magnets as directories. Options may also be given as -o name=value.\n"
               "SOURCE: a magnet, an info-hash or a .torrent file to add, kept; or a plain word such as none.\n\n");
        for (size_t i = 0; i < N_OPTIONS; i++) {
                const struct option *o = &table[i];
                char left[64];

                snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                         o->value ? o->value : "");
                printf("  %-34s %s%s%s%s\n", left, o->help, o->fallback ? " [" : "",
                       o->fallback ? o->fallback : "", o->fallback ? "]" : "");
        }
        printf("  %-34s %s\n", "-o ro", "nothing can be added, kept or removed in the mount");
        printf("  %-34s %s\n", "-o uid=N,gid=N,umask=OCTAL",
               "whose the torrents' files are, and what is taken from 0444 and 0555");
        printf("  %-34s %s\n", "-o nonempty", "the mountpoint may hold files, which are hidden");
        printf("  %-34s %s\n", "-o max_read=N", "the most bytes that the kernel reads at once");
        printf("  %-34s %s\n", "-o OPT,…", "options of mount(8), libfuse and the ones above");
        printf("\nExit codes: 0 ended by a signal or an unmount, 1 failed, 2 wrong usage.\n"
               "Add torrents with magnetctl(1) or by writing magnets to MOUNTPOINT/.magnetfs/add.\n"
               "The manual is magnetfs(1).\n");
}
