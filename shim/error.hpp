// SPDX-License-Identifier: MIT
// error.hpp: how an entry point fails: bt_error, and no exception.
#pragma once

#include "bt.h"

#include <cerrno>
#include <exception>
#include <new>

// Fills err (may be null) and returns code, so that a failing entry can `return fail(...)`.
[[gnu::format(printf, 3, 4)]] int fail(bt_error *err, int code, char const *format, ...) noexcept;

// Runs an entry point's body; what it throws becomes -errno and a text.
template <typename F> int guarded(bt_error *err, F &&body) noexcept
{
        try {
                return body();
        } catch (std::bad_alloc const &) {
                return fail(err, -ENOMEM, "out of memory");
        } catch (std::exception const &e) {
                return fail(err, -EIO, "%s", e.what());
        } catch (...) {
                return fail(err, -EIO, "unknown exception");
        }
}
