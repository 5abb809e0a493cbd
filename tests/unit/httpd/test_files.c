/* test_files.c: the list of a torrent's files, however it comes in pieces. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "files.h"

#define HASH     "0123456789abcdef0123456789abcdef01234567"
#define BEGIN    "{\"infoHash\":\"" HASH "\",\"name\":\"N\",\"files\":["
#define FILE_A   "{\"index\":0,\"name\":\"a\",\"path\":\"a\",\"length\":1}"
#define FILE_B   "{\"index\":1,\"name\":\"b\",\"path\":\"d/b\",\"length\":2}"
#define TOLD     HASH " N"
#define STOPS_AT "stop"

struct files_case {
        const char *rule, *text, *told; /* told NULL: -EBADMSG */
};

static const struct files_case files_cases[] = {
        {"no file", BEGIN "]}\n", TOLD},
        {"two files", BEGIN FILE_A "," FILE_B "]}\n", TOLD "|0 a a 1|1 b d/b 2"},
        {"blanks between", BEGIN " \n" FILE_A " ,\t" FILE_B " ] } ", TOLD "|0 a a 1|1 b d/b 2"},
        {"brackets and quotes in a string",
         BEGIN "{\"index\":0,\"name\":\"}]\\\"{[\\\\\",\"path\":\"}]\\\"{[\\\\\",\"length\":1}]}",
         TOLD "|0 }]\"{[\\ }]\"{[\\ 1"},
        {"members that are not known",
         "{\"infoHashV2\":\"[{\",\"infoHash\":\"" HASH "\",\"name\":\"N\",\"files\":[{\"more\":"
         "{\"x\":[1]},\"index\":0,\"name\":\"a\",\"path\":\"a\",\"length\":1}]}",
         TOLD "|0 a a 1"},
        {"nothing", "", NULL},
        {"cut in the beginning", "{\"infoHash\":\"" HASH "\",\"name\":\"N\"", NULL},
        {"cut in a file", BEGIN "{\"index\":0", NULL},
        {"cut behind a file", BEGIN FILE_A, NULL},
        {"cut behind the files", BEGIN FILE_A "]", NULL},
        {"something behind", BEGIN FILE_A "]}x", NULL},
        {"a member behind", BEGIN FILE_A "],\"x\":1}", NULL},
        {"no comma", BEGIN FILE_A FILE_B "]}", NULL},
        {"a comma at the end", BEGIN FILE_A ",]}", NULL},
        {"a comma at the beginning", BEGIN "," FILE_A "]}", NULL},
        {"a file that is no object", BEGIN "1]}", NULL},
        {"no hash", "{\"name\":\"N\",\"files\":[]}", NULL},
        {"no name", "{\"infoHash\":\"" HASH "\",\"files\":[]}", NULL},
        {"a bad hash", "{\"infoHash\":\"01\",\"name\":\"N\",\"files\":[]}", NULL},
        {"no files", "{\"infoHash\":\"" HASH "\",\"name\":\"N\"}", NULL},
        {"another array", "{\"infoHash\":\"" HASH "\",\"name\":\"N\",\"file\":[]}", NULL},
        {"an array before", "{\"x\":[],\"infoHash\":\"" HASH "\",\"name\":\"N\",\"files\":[]}",
         NULL},
        {"a path that leads out",
         BEGIN "{\"index\":0,\"name\":\"a\",\"path\":\"../a\",\"length\":1}]}", NULL},
        {"no path", BEGIN "{\"index\":0,\"name\":\"a\",\"length\":1}]}", NULL},
        {"a length below nothing",
         BEGIN "{\"index\":0,\"name\":\"a\",\"path\":\"a\",\"length\":-1}]}", NULL},
        {"a length that is none",
         BEGIN "{\"index\":0,\"name\":\"a\",\"path\":\"a\",\"length\":\"1\"}]}", NULL},
        {"no JSON in a file", BEGIN "{index}]}", NULL},
};

static int tell_torrent(void *arg, const char *hash, const char *name)
{
        fprintf(arg, "%s %s", hash, name);
        return 0;
}

static int tell_file(void *arg, const struct file_entry *file)
{
        fprintf(arg, "|%u %s %s %u", (unsigned)file->index, file->name, file->path,
                (unsigned)file->length);
        return strcmp(file->name, STOPS_AT) == 0 ? -ESHUTDOWN : 0;
}

/* What is told of a text that comes in pieces of that size. The caller frees *ret. */
static int read_in_pieces(const char *text, size_t piece, char **ret)
{
        size_t len = strlen(text), told;
        FILE *f = open_memstream(ret, &told);
        struct files_reader reader = {
                .taker = {.begin = tell_torrent, .file = tell_file, .arg = f}};
        int r = 0;

        assert_non_null(f);
        for (size_t at = 0; r == 0 && at < len; at += piece)
                r = files_read(&reader, text + at, len - at < piece ? len - at : piece);
        if (r == 0)
                r = files_end(&reader);
        files_clear(&reader);
        fclose(f);
        return r;
}

static void test_cases(void **state)
{
        static const size_t pieces[] = {1, 2, 3, 7, 64, 4096};

        (void)state;
        for (size_t i = 0; i < sizeof files_cases / sizeof files_cases[0]; i++)
                for (size_t j = 0; j < sizeof pieces / sizeof pieces[0]; j++) {
                        const struct files_case *c = &files_cases[i];
                        char *told;
                        int r = read_in_pieces(c->text, pieces[j], &told);

                        if (r != (c->told ? 0 : -EBADMSG) || (c->told && strcmp(told, c->told)))
                                fail_msg("%s, in pieces of %zu: %d, %s", c->rule, pieces[j], r,
                                         told);
                        free(told);
                }
}

static void test_a_taker_ends_it(void **state)
{
        char *told;

        (void)state;
        assert_int_equal(read_in_pieces(BEGIN "{\"index\":0,\"name\":\"" STOPS_AT
                                              "\",\"path\":\"p\",\"length\":1}," FILE_B "]}",
                                        4096, &told),
                         -ESHUTDOWN);
        assert_string_equal(told, TOLD "|0 stop p 1");
        free(told);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_a_taker_ends_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
