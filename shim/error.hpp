// SPDX-License-Identifier: MIT
// error.hpp: how an entry point fails: bt_error, and no exception.
#pragma once

#include "bt.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <new>
#include <thread>

// Fills err (may be null) and returns code, so that a failing entry can `return fail(...)`.
[[gnu::format(printf, 3, 4)]] int fail(bt_error *err, int code, char const *format, ...) noexcept;

// Runs the body of a callback, which has nobody to tell what went wrong: what it throws is dropped.
template <typename F> void shielded(F &&body) noexcept
{
        try {
                body();
        } catch (...) {
        }
}

// The same for one that returns something: otherwise, if it throws.
template <typename T, typename F> T shielded_or(T otherwise, F &&body) noexcept
{
        try {
                return body();
        } catch (...) {
                return otherwise;
        }
}

// For what must not be lost: waits until there is memory for it. body only takes memory, and
// changes nothing if there is none.
template <typename F> auto insist(F &&body) noexcept
{
        for (;;) {
                try {
                        return body();
                } catch (std::bad_alloc const &) {
                        std::this_thread::sleep_for(std::chrono::milliseconds(10));
                } catch (...) {
                        std::terminate(); // waiting would not help
                }
        }
}

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
