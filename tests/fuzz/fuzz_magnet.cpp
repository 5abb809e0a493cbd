// SPDX-License-Identifier: MIT
// fuzz_magnet.cpp: what `add` and GET /add/ are given. The input: all of it as what is written to
// `add`, in one write and in many; and two lines as path and query of GET /add/.
#include "fuzz.h"
#include "magnet.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "common/intake.h"

// uri.h is C's alone: its array parameters have static in them.
int uri_add_target(const char *rest, const char *query, char **ret_link, bool *ret_keep);
bool uri_is_line(const char *text);
char *uri_encode_path(const char *path);
}

namespace
{

using items = std::vector<std::pair<intake_item, std::string>>;

constexpr std::size_t max_bytes = 1 << 20;

// Takes what is complete. False: it is refused.
bool take(intake &in, bool final, items &ret)
{
        for (;;) {
                intake_item type;
                char const *item = nullptr;
                std::size_t len = 0;
                int const r = intake_next(&in, final, &type, &item, &len);
                if (r < 0) {
                        fuzz_check(r == -EINVAL);
                        return false;
                }
                if (type == INTAKE_NOTHING)
                        return true;
                ret.emplace_back(type, std::string(item, len));
        }
}

// All items of data that is written so many bytes at a time, up to what is refused.
items cut(std::uint8_t const *data, std::size_t size, std::size_t step)
{
        intake in = {};
        items ret;
        bool fine = true;
        for (std::size_t at = 0; fine && at < size; at += step) {
                auto const n = std::min(step, size - at);
                // From memory of its own, so that nothing of it may be used later.
                char *bytes = fuzz_bytes(data + at, n);
                fuzz_check(intake_add(&in, bytes, n, max_bytes) == 0);
                std::free(bytes);
                fine = take(in, false, ret);
        }
        if (fine)
                fine = take(in, true, ret);
        fuzz_check(!fine || intake_pending(&in) == 0);
        intake_clear(&in);
        return ret;
}

void check_item(std::pair<intake_item, std::string> const &item)
{
        auto const &[type, text] = item;
        if (type == INTAKE_TORRENT)
                fuzz_check(text.size() > 3 && text.front() == 'd' && text.back() == 'e');
        else
                fuzz_check(text.find('\n') == std::string::npos);
}

// A magnet that was cleaned is one, and clean.
void clean(std::string const &text)
{
        bt_error err = {};
        std::string magnet, again;
        int const r = clean_magnet(text, magnet, &err);
        fuzz_check(r == 0 || (r == -EINVAL && err.text[0] != '\0'));
        if (r < 0)
                return;
        fuzz_check(magnet.compare(0, 8, "magnet:?") == 0);
        // What is appended to it is a parameter of its own.
        std::string const tracker = "tr=udp://t.example:1/x";
        fuzz_check(clean_magnet(magnet + '&' + tracker, again, &err) == 0);
        auto const at = again.rfind(tracker);
        fuzz_check(at != std::string::npos && at + tracker.size() == again.size());
        fuzz_check(again[at - 1] == '&' || at == 8);
}

void add_target(fuzz_input in)
{
        char *rest = fuzz_line(&in), *query = fuzz_header(&in), *link = nullptr, *again = nullptr;
        bool keep = false;
        int const r = uri_add_target(rest, query, &link, &keep);
        fuzz_check(r == 0 || r == -EINVAL);
        if (r == 0) {
                fuzz_check(uri_is_line(link));
                // A program encodes all of it, and gets the same.
                char *encoded = uri_encode_path(link);
                fuzz_check(uri_add_target(encoded, nullptr, &again, &keep) == 0);
                fuzz_check(std::string(link) == again);
                std::free(encoded);
        }
        std::free(rest);
        std::free(query);
        std::free(link);
        std::free(again);
}

} // namespace

void fuzz_one(std::uint8_t const *data, std::size_t size)
{
        items const whole = cut(data, size, std::max(size, std::size_t(1)));
        fuzz_check(whole == cut(data, size, size > 0 ? 1 + data[size / 2] % 7 : 1));
        for (auto const &item : whole) {
                check_item(item);
                if (item.first == INTAKE_LINE)
                        clean(item.second);
        }
        clean(std::string(reinterpret_cast<char const *>(data), size));
        add_target({reinterpret_cast<char const *>(data), size});
}
