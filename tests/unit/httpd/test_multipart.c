/* test_multipart.c: the frame of several ranges and its length (RFC 9110 §14.6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "multipart.h"

static const struct range two = {
        .kind = RANGE_PARTS, .count = 2, .parts = {{.first = 0, .length = 2}, {5, 4}}};

static void test_frame(void **state)
{
        const struct multipart m = {
                .boundary = "XYZ", .type = "video/mp4", .size = 10, .range = &two};
        char body[1024], head[MULTIPART_HEAD_MAX];
        size_t used = 0;

        (void)state;
        for (unsigned i = 0; i <= two.count; i++) {
                size_t len = multipart_head(&m, i, head);

                assert_int_equal(len, strlen(head));
                used += (size_t)snprintf(body + used, sizeof body - used, "%s%s", head,
                                         i == 0   ? "ab"
                                         : i == 1 ? "fghi"
                                                  : "");
        }
        assert_string_equal(body, "--XYZ\r\n"
                                  "Content-Type: video/mp4\r\n"
                                  "Content-Range: bytes 0-1/10\r\n"
                                  "\r\n"
                                  "ab\r\n"
                                  "--XYZ\r\n"
                                  "Content-Type: video/mp4\r\n"
                                  "Content-Range: bytes 5-8/10\r\n"
                                  "\r\n"
                                  "fghi\r\n"
                                  "--XYZ--\r\n");
        assert_int_equal(multipart_length(&m), used);
}

/* The most there can be: sixteen parts of the longest numbers and type that there are. */
static void test_the_largest(void **state)
{
        struct range range = {.kind = RANGE_PARTS, .count = RANGE_PARTS_MAX};
        const uint64_t each = UINT64_C(1) << 58;
        char type[129], head[MULTIPART_HEAD_MAX], boundary[MULTIPART_BOUNDARY_MAX];
        uint8_t random[16];
        struct multipart m = {
                .boundary = boundary, .type = type, .size = INT64_MAX, .range = &range};
        uint64_t sum = 0;

        (void)state;
        memset(random, 0xa5, sizeof random);
        multipart_boundary(random, boundary);
        assert_string_equal(boundary, "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
        memset(type, 't', sizeof type - 1);
        type[sizeof type - 1] = '\0';
        for (unsigned i = 0; i < range.count; i++)
                range.parts[i] = (struct range_part){
                        .first = INT64_MAX - (range.count - i) * (each + 1), .length = each};
        for (unsigned i = 0; i <= range.count; i++) {
                size_t len = multipart_head(&m, i, head);

                assert_true(len < MULTIPART_HEAD_MAX - 1);
                sum += len;
        }
        assert_true(multipart_length(&m) == sum + range.count * each);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_frame),
                cmocka_unit_test(test_the_largest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
