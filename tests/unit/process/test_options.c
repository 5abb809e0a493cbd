/* test_options.c: the command line, also as mount(8) and fstab(5) write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/size.h"
#include "process/options.h"

#define N(a) (sizeof(a) / sizeof *(a))
#define GIB  (UINT64_C(1) << 30)
#define TIB  (UINT64_C(1) << 40)

struct size_case {
        const char *rule, *text;
        bool ok;
        uint64_t expected;
};

static const struct size_case size_cases[] = {
        {"bytes", "1048576", true, 1048576},
        {"nothing", "0", true, 0},
        {"K", "3K", true, 3072},
        {"M", "512M", true, 512u << 20},
        {"G", "20G", true, 20 * GIB},
        {"T", "2T", true, 2 * TIB},
        {"small letters", "20g", true, 20 * GIB},
        {"GiB", "20GiB", true, 20 * GIB},
        {"GB is the same", "20GB", true, 20 * GIB},
        {"leading zeros are decimal", "010", true, 10},
        {"the largest", "18446744073709551615", true, UINT64_MAX},
        {"the largest in T", "16777215T", true, UINT64_C(16777215) << 40},
        {"more than 64 bits", "18446744073709551616", false, 0},
        {"more than 64 bits in T", "16777216T", false, 0},
        {"more than 64 bits in K", "18446744073709551615K", false, 0},
        {"empty", "", false, 0},
        {"a unit alone", "G", false, 0},
        {"an unknown unit", "20X", false, 0},
        {"B alone", "20B", false, 0},
        {"P is too much", "1P", false, 0},
        {"a fraction", "1.5G", false, 0},
        {"a blank before the unit", "20 G", false, 0},
        {"a blank behind", "20G ", false, 0},
        {"two units", "20GG", false, 0},
        {"rest behind the unit", "20Gig", false, 0},
        {"hexadecimal", "0x10", false, 0},
        {"negative", "-1", false, 0},
        {"negative behind a blank", " -1", false, 0},
        {"negative behind a tab", "\t-1G", false, 0},
        {"words", "many", false, 0},
        {"a list", "1,2", false, 0},
        {"UTF-8", "20\xc3\xa9", false, 0},
};

static void test_size(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(size_cases); i++) {
                const struct size_case *c = &size_cases[i];
                uint64_t got = 4711;
                bool ok = size_parse(c->text, &got);

                if (ok != c->ok || got != (c->ok ? c->expected : 4711)) {
                        print_error("%s: \"%s\" gives %d, %llu\n", c->rule, c->text, ok,
                                    (unsigned long long)got);
                        wrong++;
                }
        }
        assert_int_equal(wrong, 0);
}

/* ---- the whole command line ---- */

enum { ARGS_MAX = 12 };

struct args {
        const char *arg[ARGS_MAX];
};

/* What is refused is told on stderr: kept out of the log. */
static bool parse(const struct args *a, struct options *o)
{
        char *argv[ARGS_MAX + 2] = {(char *)(uintptr_t) "magnetfs"};
        int argc = 1, saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        bool ok;

        assert_true(saved >= 0 && null >= 0);
        while (argc <= ARGS_MAX && a->arg[argc - 1]) {
                argv[argc] = (char *)(uintptr_t)a->arg[argc - 1];
                argc++;
        }
        fflush(stderr);
        dup2(null, STDERR_FILENO);
        ok = options_parse(argc, argv, o);
        fflush(stderr);
        dup2(saved, STDERR_FILENO);
        close(saved);
        close(null);
        return ok;
}

static void test_defaults(void **state)
{
        static const struct args args = {{"/mnt"}};
        struct options o;

        (void)state;
        assert_true(parse(&args, &o));
        assert_string_equal(o.mountpoint, "/mnt");
        assert_false(o.foreground || o.allow_other || o.no_http || o.loopback_peers || o.help ||
                     o.version);
        assert_string_equal(o.fuse_options, "");
        assert_null(o.source);
        assert_false(o.read_only || o.nonempty);
        assert_true(o.uid == (uid_t)-1 && o.gid == (gid_t)-1);
        assert_true(o.umask == 0 && o.max_read == 0);
        assert_true(o.cache_size == 20 * GIB);
        assert_true(o.min_free == GIB);
        assert_string_equal(o.http, "127.0.0.1:3000");
        assert_int_equal(o.n_allowed_hosts, 0);
        assert_int_equal(o.client_timeout_s, 600);
        assert_int_equal(o.read_timeout_s, 60);
        assert_int_equal(o.metadata_timeout_s, 30);
        assert_int_equal(o.retries, 3);
        assert_int_equal(o.retry_delay_s, 5);
        assert_int_equal(o.idle_timeout_s, 120);
        assert_int_equal(o.fill, FILL_NONE);
        assert_int_equal(o.n_settings, 0);
        assert_null(o.on_event);
        assert_int_equal(o.log_level, LOG_LEVEL_INFO);
        assert_int_equal(o.ready_fd, -1);
        options_free(&o);
}

/* The folders: root's are fixed, another user's follow XDG's base directories. */
static void test_folders(void **state)
{
        static const struct args args = {{"/mnt"}},
                                 given = {{"--state-dir", "/s", "--cache-dir=/c", "/mnt"}};
        struct options o;

        (void)state;
        assert_true(parse(&given, &o));
        assert_string_equal(o.state_dir, "/s");
        assert_string_equal(o.cache_dir, "/c");
        options_free(&o);

        assert_int_equal(setenv("XDG_STATE_HOME", "/xdg/state", 1), 0);
        assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0); /* to be ignored, says XDG */
        assert_int_equal(setenv("HOME", "/home/me", 1), 0);
        assert_true(parse(&args, &o));
        if (getuid() == 0) {
                assert_string_equal(o.state_dir, "/var/lib/magnetfs");
                assert_string_equal(o.cache_dir, "/var/cache/magnetfs");
        } else {
                assert_string_equal(o.state_dir, "/xdg/state/magnetfs");
                assert_string_equal(o.cache_dir, "/home/me/.cache/magnetfs");
        }
        options_free(&o);
}

/* Each option as --name value, --name=value, -o name=value and -o with '_'. */
struct value_case {
        const char *name, *value;
        size_t offset;
        enum { IS_SIZE, IS_TEXT, IS_FLAG, IS_FILL, IS_LEVEL, IS_INT } type;
        uint64_t number;
};

#define F(field) offsetof(struct options, field)

static const struct value_case value_cases[] = {
        {"foreground", NULL, F(foreground), IS_FLAG, 1},
        {"allow-other", NULL, F(allow_other), IS_FLAG, 1},
        {"no-http", NULL, F(no_http), IS_FLAG, 1},
        {"allow-loopback-peers", NULL, F(loopback_peers), IS_FLAG, 1},
        {"state-dir", "/a b", F(state_dir), IS_TEXT, 0},
        {"cache-dir", "/a=b", F(cache_dir), IS_TEXT, 0},
        {"http", "127.0.0.2:80", F(http), IS_TEXT, 0},
        {"on-event", "echo $MAGNETFS_EVENT", F(on_event), IS_TEXT, 0},
        {"cache-size", "1M", F(cache_size), IS_SIZE, 1 << 20},
        {"cache-size", "3T", F(cache_size), IS_SIZE, 3 * TIB},
        {"min-free", "0", F(min_free), IS_SIZE, 0},
        {"client-timeout", "1", F(client_timeout_s), IS_SIZE, 1},
        {"client-timeout", "86400", F(client_timeout_s), IS_SIZE, 86400},
        {"read-timeout", "0", F(read_timeout_s), IS_SIZE, 0},
        {"metadata-timeout", "7", F(metadata_timeout_s), IS_SIZE, 7},
        {"retries", "0", F(retries), IS_SIZE, 0},
        {"retries", "1000", F(retries), IS_SIZE, 1000},
        {"retry-delay", "0", F(retry_delay_s), IS_SIZE, 0},
        {"idle-timeout", "9", F(idle_timeout_s), IS_SIZE, 9},
        {"fill", "none", F(fill), IS_FILL, FILL_NONE},
        {"fill", "file", F(fill), IS_FILL, FILL_FILE},
        {"fill", "torrent", F(fill), IS_FILL, FILL_TORRENT},
        {"log-level", "error", F(log_level), IS_LEVEL, LOG_LEVEL_ERROR},
        {"log-level", "warning", F(log_level), IS_LEVEL, LOG_LEVEL_WARNING},
        {"log-level", "info", F(log_level), IS_LEVEL, LOG_LEVEL_INFO},
        {"log-level", "debug", F(log_level), IS_LEVEL, LOG_LEVEL_DEBUG},
        {"ready-fd", "5", F(ready_fd), IS_INT, 5},
};

static bool holds(const struct options *o, const struct value_case *c)
{
        const char *field = (const char *)o + c->offset;

        switch (c->type) {
        case IS_FLAG:
                return *(const bool *)field;
        case IS_TEXT:
                return strcmp(*(char *const *)field, c->value) == 0;
        case IS_SIZE:
                return *(const uint64_t *)field == c->number;
        case IS_FILL:
                return (uint64_t) * (const enum fill *)field == c->number;
        case IS_LEVEL:
                return (uint64_t) * (const enum log_level *)field == c->number;
        case IS_INT:
                return (uint64_t) * (const int *)field == c->number;
        }
        return false;
}

static void test_values(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(value_cases); i++) {
                const struct value_case *c = &value_cases[i];
                char form[4][80];

                snprintf(form[0], sizeof form[0], "--%s", c->name);
                snprintf(form[1], sizeof form[1], "--%s=%s", c->name, c->value ? c->value : "");
                snprintf(form[2], sizeof form[2], "rw,%s%s%s,dev", c->name, c->value ? "=" : "",
                         c->value ? c->value : "");
                strcpy(form[3], form[2]);
                for (char *p = form[3]; *p && *p != '='; p++)
                        if (*p == '-')
                                *p = '_';
                for (unsigned k = 0; k < 4; k++) {
                        struct args a = {{"none", "/mnt"}};
                        struct options o;

                        if (k == 1 && !c->value)
                                continue;
                        if (k >= 2)
                                a.arg[2] = "-o";
                        a.arg[k >= 2 ? 3 : 2] = form[k];
                        if (k == 0)
                                a.arg[3] = c->value;
                        if (!parse(&a, &o) || !holds(&o, c))
                                fail_msg("%s %s is not taken", form[k], c->value ? c->value : "");
                        assert_string_equal(o.mountpoint, "/mnt");
                        assert_string_equal(o.fuse_options, strcmp(c->name, "allow-other") == 0
                                                                    ? "allow_other"
                                                                    : "");
                        options_free(&o);
                }
        }
}

struct refused_case {
        const char *rule;
        struct args args;
};

static const struct refused_case refused_cases[] = {
        {"no mountpoint", {{NULL}}},
        {"… with options", {{"-f", "--retries", "1"}}},
        {"three of them", {{"none", "/a", "/b"}}},
        {"an unknown option", {{"--frobnicate", "/mnt"}}},
        {"the beginning of one", {{"--retrie", "1", "/mnt"}}},
        {"more than one", {{"--retriess", "1", "/mnt"}}},
        {"an unknown letter", {{"-x", "/mnt"}}},
        {"letters together", {{"-fh", "/mnt"}}},
        {"'--'", {{"--", "/mnt"}}},
        {"'--='", {{"--=1", "/mnt"}}},
        {"a value is missing", {{"/mnt", "--retries"}}},
        {"… of -o", {{"/mnt", "-o"}}},
        {"… in -o", {{"/mnt", "-o", "retries"}}},
        {"a flag with a value", {{"/mnt", "--no-http=1"}}},
        {"… in -o, where it would mean the opposite", {{"/mnt", "-o", "no_http=0"}}},
        {"… allow_other=0", {{"/mnt", "-o", "allow_other=0"}}},
        {"an empty number", {{"/mnt", "--retries", ""}}},
        {"letters", {{"/mnt", "--retries", "x"}}},
        {"a number and more", {{"/mnt", "--retries", "1x"}}},
        {"hexadecimal", {{"/mnt", "--retries", "0x1"}}},
        {"negative", {{"/mnt", "--retries", "-1"}}},
        {"negative behind a blank, wrapping to 6",
         {{"/mnt", "--retries", " -18446744073709551610"}}},
        {"more than the most", {{"/mnt", "--retries", "1001"}}},
        {"more than 64 bits", {{"/mnt", "--retries", "18446744073709551617"}}},
        {"less than the least", {{"/mnt", "--client-timeout", "0"}}},
        {"more than a day", {{"/mnt", "--read-timeout", "86401"}}},
        {"a cache below 1 MiB", {{"/mnt", "--cache-size", "1048575"}}},
        {"a size that is none", {{"/mnt", "--cache-size", "lots"}}},
        {"a negative size", {{"/mnt", "--min-free", " -1"}}},
        {"an unknown fill", {{"/mnt", "--fill", "all"}}},
        {"an unknown level", {{"/mnt", "--log-level", "loud"}}},
        {"a descriptor of more than an int", {{"/mnt", "--ready-fd", "2147483648"}}},
        {"a setting without a value", {{"/mnt", "--set", "user_agent"}}},
        {"a setting without a name", {{"/mnt", "--set", "=1"}}},
        {"a user's name", {{"/mnt", "-o", "uid=root"}}},
        {"no user's number", {{"/mnt", "-o", "uid=4294967295"}}},
        {"a umask that is not octal", {{"/mnt", "-o", "umask=18"}}},
        {"a umask of more than modes", {{"/mnt", "-o", "umask=1000"}}},
        {"a max_read below a page", {{"/mnt", "-o", "max_read=4095"}}},
        {"a remount", {{"/mnt", "-o", "remount,ro"}}},
        {"one bad item among good ones", {{"/mnt", "-o", "rw,retries=x,dev"}}},
};

static void test_refused(void **state)
{
        unsigned wrong = 0;

        (void)state;
        for (size_t i = 0; i < N(refused_cases); i++) {
                struct options o;

                if (parse(&refused_cases[i].args, &o)) {
                        print_error("%s: is taken\n", refused_cases[i].rule);
                        wrong++;
                }
                options_free(&o); /* frees what there was, also then */
        }
        assert_int_equal(wrong, 0);
}

struct fuse_case {
        const char *rule;
        struct args args;
        const char *fuse_options;
};

static const struct fuse_case fuse_cases[] = {
        {"mount.fuse3, as it calls", {{"none", "/mnt", "-o", "rw,dev,suid"}}, ""},
        {"fstab's words",
         {{"none", "/mnt", "-o", "rw,noauto,user,_netdev,nofail,x-systemd.automount,dev,suid"}},
         ""},
        {"… with values",
         {{"none", "/mnt", "-o", "x-gvfs-name=a,comment=b,X-mount.mkdir=0755"}},
         ""},
        {"libfuse's own go to it",
         {{"/mnt", "-o", "auto_unmount,debug", "-o", "subtype=x"}},
         "auto_unmount,debug,subtype=x"},
        {"times of reading",
         {{"/mnt", "-o", "lazytime,nodiratime,strictatime,norelatime,noatime,nolazytime"}},
         ""},
        {"ro goes to it", {{"none", "/mnt", "-o", "ro,debug,dev"}}, "debug,ro"},
        {"… unless rw comes behind", {{"/mnt", "-o", "ro,rw"}}, ""},
        {"what is ours to do isn't",
         {{"/mnt", "-o", "uid=1,gid=2,umask=022,nonempty,max_read=4096"}},
         ""},
        {"what begins like an ignored one isn't", {{"/mnt", "-o", "rwx,users2"}}, "rwx,users2"},
        {"allow_other is known to both", {{"/mnt", "-o", "allow_other"}}, "allow_other"},
        {"… once", {{"/mnt", "-o", "allow_other", "--allow-other"}}, "allow_other"},
        {"… behind the others", {{"/mnt", "-oallow_other,debug"}}, "debug,allow_other"},
        {"-o without a blank", {{"/mnt", "-odebug"}}, "debug"},
        {"empty items", {{"/mnt", "-o", ",,debug,,"}}, "debug"},
        {"nothing", {{"/mnt", "-o", ""}}, ""},
        {"-o before the mountpoint", {{"-o", "debug", "none", "/mnt"}}, "debug"},
        {"ours aren't passed on", {{"/mnt", "-o", "cache_size=1G,debug,retries=2"}}, "debug"},
};

static void test_fuse_options(void **state)
{
        (void)state;
        for (size_t i = 0; i < N(fuse_cases); i++) {
                const struct fuse_case *c = &fuse_cases[i];
                struct options o;

                if (!parse(&c->args, &o))
                        fail_msg("%s: refused", c->rule);
                if (strcmp(o.fuse_options, c->fuse_options) != 0 ||
                    strcmp(o.mountpoint, "/mnt") != 0)
                        fail_msg("%s: \"%s\" at %s", c->rule, o.fuse_options, o.mountpoint);
                options_free(&o);
        }
}

static void test_mount_options(void **state)
{
        static const struct args args = {
                {"magnet:?xt=a,b", "/mnt", "-o",
                 "ro,uid=1000,gid=0100,umask=027,nonempty,max_read=65536"}};
        struct options o;

        (void)state;
        assert_true(parse(&args, &o));
        assert_string_equal(o.source, "magnet:?xt=a,b");
        assert_string_equal(o.mountpoint, "/mnt");
        assert_true(o.read_only && o.nonempty);
        assert_true(o.uid == 1000 && o.gid == 100 && o.umask == 027 && o.max_read == 65536);
        options_free(&o);
}

static void test_repeated(void **state)
{
        static const struct args args = {
                {"--set", "user_agent=a=b", "-o", "set=listen_interfaces=", "--allowed-host", "nas",
                 "--allowed-host=tv:80", "--retries", "1", "--retries=2", "/mnt"}};
        struct options o;

        (void)state;
        assert_true(parse(&args, &o));
        assert_int_equal(o.n_settings, 2);
        assert_string_equal(o.settings[0].name, "user_agent");
        assert_string_equal(o.settings[0].value, "a=b");
        assert_string_equal(o.settings[1].name, "listen_interfaces");
        assert_string_equal(o.settings[1].value, "");
        assert_int_equal(o.n_allowed_hosts, 2);
        assert_string_equal(o.allowed_hosts[0], "nas");
        assert_string_equal(o.allowed_hosts[1], "tv:80");
        assert_int_equal(o.retries, 2);
        options_free(&o);

        {
                static const struct args twice = {{"--state-dir=/a", "--state-dir=/b",
                                                   "--http=127.0.0.1:1", "--http", "127.0.0.1:2",
                                                   "/mnt"}};

                assert_true(parse(&twice, &o));
                assert_string_equal(o.state_dir, "/b");
                assert_string_equal(o.http, "127.0.0.1:2");
                options_free(&o);
        }
}

/* Help and version ask for nothing else. */
static void test_help(void **state)
{
        static const struct {
                struct args args;
                bool help, version;
        } cases[] = {
                {{{"--help"}}, true, false},    {{{"-h"}}, true, false},
                {{{"--version"}}, false, true}, {{{"-V"}}, false, true},
                {{{"-V", "-h"}}, true, true},
        };

        (void)state;
        for (size_t i = 0; i < N(cases); i++) {
                struct options o;

                assert_true(parse(&cases[i].args, &o));
                assert_true(o.help == cases[i].help && o.version == cases[i].version);
                options_free(&o);
        }
        {
                static const struct args letters = {{"-f", "/mnt"}};
                struct options o;

                assert_true(parse(&letters, &o));
                assert_true(o.foreground);
                options_free(&o);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_size),          cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_folders),       cmocka_unit_test(test_values),
                cmocka_unit_test(test_refused),       cmocka_unit_test(test_fuse_options),
                cmocka_unit_test(test_mount_options), cmocka_unit_test(test_repeated),
                cmocka_unit_test(test_help),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
