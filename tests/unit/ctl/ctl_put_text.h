/* ctl_put_text.h: what ctl_text_put() writes, as a string. */
#ifndef TEST_CTL_PUT_TEXT_H
#define TEST_CTL_PUT_TEXT_H

#include "ctl/ctl_text.h"

/* The caller frees it. Fails the test where it is wider than columns (0: uncut). */
static inline char *put_text(const char *text, size_t columns, const struct ctl_style *style)
{
        char *buf = NULL;
        size_t len = 0, width;
        FILE *out = open_memstream(&buf, &len);

        assert_non_null(out);
        width = ctl_text_put(out, text, columns, style);
        assert_int_equal(fclose(out), 0);
        if (columns)
                assert_true(width <= columns);
        return buf;
}

#endif
