/* test_media.c: content types by extension, and which file of a torrent is meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/media.h"

struct type_case {
        const char *name, *type;
        enum media_class class;
};

static const struct type_case type_cases[] = {
        {"a.mkv", "video/x-matroska", MEDIA_VIDEO},
        {"a.MP4", "video/mp4", MEDIA_VIDEO},
        {"a.webm", "video/webm", MEDIA_VIDEO},
        {"a.ts", "video/mp2t", MEDIA_VIDEO},
        {"a.m2ts", "video/mp2t", MEDIA_VIDEO},
        {"a.avi", "video/x-msvideo", MEDIA_VIDEO},
        {"a.mov", "video/quicktime", MEDIA_VIDEO},
        {"a.srt", "application/x-subrip", MEDIA_OTHER},
        {"a.vtt", "text/vtt", MEDIA_OTHER},
        {"a.ass", "text/x-ssa", MEDIA_OTHER},
        {"a.flac", "audio/flac", MEDIA_AUDIO},
        {"a.mp3", "audio/mpeg", MEDIA_AUDIO},
        {"a.m4a", "audio/mp4", MEDIA_AUDIO},
        {"a.ogg", "audio/ogg", MEDIA_AUDIO},
        {"a.opus", "audio/ogg", MEDIA_AUDIO},
        {"a.wav", "audio/wav", MEDIA_AUDIO},
        {"a.jpg", "image/jpeg", MEDIA_OTHER},
        {"a.png", "image/png", MEDIA_OTHER},
        {"a.pdf", "application/pdf", MEDIA_OTHER},
        {"a.txt", "text/plain", MEDIA_OTHER},
        {"a.html", "text/html", MEDIA_ACTIVE},
        {"a.SVG", "image/svg+xml", MEDIA_ACTIVE},
        {"a.xml", "application/xml", MEDIA_ACTIVE},
        {"a.f4v", "video/x-f4v", MEDIA_VIDEO},
        {"a.mxf", "application/mxf", MEDIA_VIDEO},
        {"a.weba", "audio/webm", MEDIA_AUDIO},
        {"a.spx", "audio/ogg", MEDIA_AUDIO},
        {"a.mpc", "audio/x-musepack", MEDIA_AUDIO},
        {"a.tta", "audio/x-tta", MEDIA_AUDIO},
        {"a.heic", "image/heic", MEDIA_OTHER},
        {"a.pls", "audio/x-scpls", MEDIA_OTHER},
        {"a.xspf", "application/xspf+xml", MEDIA_ACTIVE}, /* a browser renders what is XML */
        {"a.ttml", "application/ttml+xml", MEDIA_ACTIVE},
        {"a.b.c.mkv", "video/x-matroska", MEDIA_VIDEO},
        {"a.unknown", "application/octet-stream", MEDIA_OTHER},
        {"mkv", "application/octet-stream", MEDIA_OTHER},
        {"a.", "application/octet-stream", MEDIA_OTHER},
        {"", "application/octet-stream", MEDIA_OTHER},
        {"dir.mkv/a", "application/octet-stream", MEDIA_OTHER},
};

static void test_types(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(type_cases) / sizeof(type_cases[0]); i++) {
                const struct type_case *c = &type_cases[i];

                if (strcmp(media_type(c->name), c->type) != 0 || media_class(c->name) != c->class)
                        fail_msg("%s: %s, class %d", c->name, media_type(c->name),
                                 (int)media_class(c->name));
        }
}

struct largest_case {
        const char *rule;
        struct {
                const char *name;
                uint64_t length;
        } files[4];
        size_t count, expected;
};

static const struct largest_case largest_cases[] = {
        {"the larger of two videos", {{"a.mkv", 5}, {"b.mkv", 9}}, 2, 1},
        {"a video before a larger archive", {{"a.rar", 900}, {"b.mp4", 9}}, 2, 1},
        {"a video before a larger archive after it", {{"b.mp4", 9}, {"a.rar", 900}}, 2, 0},
        {"audio is media too", {{"a.jpg", 900}, {"b.flac", 9}, {"c.flac", 8}}, 3, 1},
        {"no media: the largest", {{"a.txt", 5}, {"b.pdf", 9}, {"c.txt", 7}}, 3, 1},
        {"the first of equals", {{"a.mkv", 5}, {"b.mkv", 5}}, 2, 0},
        {"an empty video is media", {{"a.txt", 5}, {"b.mkv", 0}}, 2, 1},
        {"a larger archive after a video after an archive",
         {{"a.rar", 7}, {"b.mp4", 9}, {"c.rar", 900}},
         3,
         1},
        {"no files", {{NULL, 0}}, 0, 0},
};

static void test_largest(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(largest_cases) / sizeof(largest_cases[0]); i++) {
                const struct largest_case *c = &largest_cases[i];
                struct media_best best = {0};
                size_t got = c->count;

                for (size_t k = 0; k < c->count; k++)
                        if (media_is_better(&best, c->files[k].name, c->files[k].length))
                                got = k;

                if (got != c->expected)
                        fail_msg("%s: %zu", c->rule, got);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_types),
                cmocka_unit_test(test_largest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
