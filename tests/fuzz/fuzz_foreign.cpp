// SPDX-License-Identifier: MIT
// fuzz_foreign.cpp: text of strangers that gets into magnetfs: names of files, messages, and the
// headers of web seeds. The input: all of it as a name; and a line each as Content-Range,
// Retry-After and the URLs of web seeds.
#include "fuzz.h"
#include "webseed_url.hpp"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern "C" {
#include "common/utf8.h"
#include "torrent/names.h"
}

namespace
{

// All characters are ones that a name or a line of a log may have.
void check_text(char const *text, std::size_t len)
{
        for (std::size_t i = 0; i < len;) {
                std::uint32_t c = 0;
                std::size_t const n = utf8_char(text + i, len - i, &c);
                fuzz_check(n > 0 && !utf8_is_control(c));
                i += n;
        }
}

void check_name(char const *name, std::size_t len)
{
        fuzz_check(len >= 1 && len <= NAME_BYTES_MAX && std::strlen(name) == len);
        fuzz_check(!std::strchr(name, '/') && std::strcmp(name, ".") && std::strcmp(name, ".."));
        check_text(name, len);
}

void names(char const *raw, std::size_t len)
{
        char name[NAME_BYTES_MAX + 1], again[NAME_BYTES_MAX + 1];
        std::size_t const n = name_clean(raw, len, name);
        check_name(name, n);
        fuzz_check(name_clean(name, n, again) == n && std::strcmp(name, again) == 0);
        fuzz_check(name_stem(name) >= 1 && name_stem(name) <= n);

        char numbered[NAME_BYTES_MAX + 1];
        check_name(numbered, name_numbered(name, 12, numbered));
        // A name that is as long as may be and has the number already stays the same.
        unsigned const number = std::strcmp(name, numbered) == 0 ? 1 : 12;
        fuzz_check(name_number(name, numbered) == number && name_number(name, name) == 1);
}

void texts(char const *raw, std::size_t len)
{
        char short_text[17];
        std::string text(raw, len);
        text.resize(std::strlen(text.c_str()));
        name_clean_text(text.c_str(), short_text, sizeof short_text);
        fuzz_check(std::strlen(short_text) < sizeof short_text);
        check_text(short_text, std::strlen(short_text));

        std::size_t const n = utf8_clean(text.data());
        fuzz_check(n <= text.size() && std::strlen(text.c_str()) == n);
        check_text(text.c_str(), n);
}

void headers(fuzz_input in)
{
        char *range = fuzz_line(&in), *after = fuzz_line(&in);
        content_range r = {};
        if (parse_content_range(range, r)) {
                fuzz_check(r.first <= r.last);
                fuzz_check(!r.has_total || r.last < r.total);
        }
        fuzz_check(parse_retry_after(after, 1700000000) >= -1);
        std::free(range);
        std::free(after);

        std::vector<std::string> urls;
        while (in.left > 0) {
                char *url = fuzz_line(&in);
                urls.emplace_back(url);
                std::free(url);
        }
        sift_web_seeds(urls, false);
        fuzz_check(urls.size() <= 100);
        for (auto const &url : urls) {
                fuzz_check(!host_of_url(url).empty());
                fuzz_check(url.find_first_of(" \t\r\n") == std::string::npos);
        }
}

} // namespace

void fuzz_one(std::uint8_t const *data, std::size_t size)
{
        char *raw = fuzz_bytes(data, size);
        names(raw, size);
        texts(raw, size);
        headers({raw, size});
        std::free(raw);
}
