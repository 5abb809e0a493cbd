// SPDX-License-Identifier: MIT
// error.cpp: fills a bt_error.
#include "error.hpp"

#include <cstdarg>
#include <cstdio>

int fail(bt_error *err, int code, char const *format, ...) noexcept
{
        if (err) {
                std::va_list ap;
                va_start(ap, format);
                err->code = code;
                std::vsnprintf(err->text, sizeof err->text, format, ap);
                va_end(ap);
        }
        return code;
}
