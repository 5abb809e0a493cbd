// SPDX-License-Identifier: MIT
#include "magnet.hpp"

#include "error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace
{

using std::string_view;

bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

bool is_alpha(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char lower(char c)
{
        return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
}

int hex_value(char c)
{
        if (is_digit(c))
                return c - '0';
        c = lower(c);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool is_hex(string_view s)
{
        return std::all_of(s.begin(), s.end(), [](char c) { return hex_value(c) >= 0; });
}

// RFC 4648 §6, in any case.
bool is_base32(string_view s)
{
        return std::all_of(s.begin(), s.end(),
                           [](char c) { return is_alpha(c) || (c >= '2' && c <= '7'); });
}

bool equals(string_view s, string_view name)
{
        return std::equal(s.begin(), s.end(), name.begin(), name.end(),
                          [](char a, char b) { return lower(a) == lower(b); });
}

bool begins(string_view s, string_view with)
{
        return s.size() >= with.size() && equals(s.substr(0, with.size()), with);
}

bool ends(string_view s, string_view with)
{
        return s.size() >= with.size() && s.substr(s.size() - with.size()) == with;
}

// Spaces that come along when text is copied, besides those of ASCII: U+00A0, U+200B, U+2060 and
// U+FEFF.
constexpr std::array<string_view, 4> wide_blanks = {"\xc2\xa0", "\xe2\x80\x8b", "\xe2\x81\xa0",
                                                    "\xef\xbb\xbf"};
constexpr std::array<std::pair<string_view, string_view>, 11> quotes = {{
        {"\"", "\""},
        {"'", "'"},
        {"`", "`"},
        {"<", ">"},
        {"(", ")"},
        {"[", "]"},
        {"{", "}"},
        {"\xe2\x80\x9c", "\xe2\x80\x9d"}, // U+201C, U+201D
        {"\xe2\x80\x98", "\xe2\x80\x99"}, // U+2018, U+2019
        {"\xc2\xab", "\xc2\xbb"},         // U+00AB, U+00BB
        {"\xe2\x80\x9e", "\xe2\x80\x9c"}, // U+201E, U+201C
}};

// The length of the blank at the beginning of s, or at its end; 0: there is none.
std::size_t blank_length(string_view s, bool at_end)
{
        if (s.empty())
                return 0;
        char const c = at_end ? s.back() : s.front();
        if ((c >= '\0' && c <= ' ') || c == '\x7f')
                return 1;
        for (auto const blank : wide_blanks)
                if (at_end ? ends(s, blank) : begins(s, blank))
                        return blank.size();
        return 0;
}

string_view trim_front(string_view s)
{
        while (auto const n = blank_length(s, false))
                s.remove_prefix(n);
        return s;
}

string_view trim(string_view s)
{
        s = trim_front(s);
        while (auto const n = blank_length(s, true))
                s.remove_suffix(n);
        return s;
}

// Takes off what stands around a pasted text: blanks, and quotes or brackets that are a pair.
string_view unwrap(string_view s)
{
        for (bool again = true; again;) {
                again = false;
                s = trim(s);
                for (auto const &[left, right] : quotes)
                        if (s.size() > left.size() + right.size() && begins(s, left) &&
                            ends(s, right)) {
                                s = s.substr(left.size(), s.size() - left.size() - right.size());
                                again = true;
                                break;
                        }
        }
        return s;
}

bool is_escape(string_view s, std::size_t i)
{
        return s[i] == '%' && i + 2 < s.size() && hex_value(s[i + 1]) >= 0 &&
               hex_value(s[i + 2]) >= 0;
}

// RFC 3986 §2.1; a '%' that escapes nothing is one.
std::string unescape(string_view s)
{
        std::string r;
        for (std::size_t i = 0; i < s.size(); i++) {
                if (is_escape(s, i)) {
                        r += char(hex_value(s[i + 1]) * 16 + hex_value(s[i + 2]));
                        i += 2;
                } else {
                        r += s[i];
                }
        }
        return r;
}

// Escapes each '%' that escapes nothing: libtorrent cuts a text there.
std::string mend_escapes(string_view s)
{
        std::string r;
        for (std::size_t i = 0; i < s.size(); i++) {
                r += s[i];
                if (s[i] == '%' && !is_escape(s, i))
                        r += "25";
        }
        return r;
}

// Where the fragment begins, or npos. People paste names with a raw '#': where another parameter
// follows, or a blank comes before, it is part of the name.
std::size_t fragment_at(string_view s)
{
        auto const at = s.rfind('#');
        if (at == string_view::npos || s.find('&', at) != string_view::npos ||
            (at > 0 && blank_length(s.substr(0, at), true) > 0))
                return string_view::npos;
        return at;
}

// Cuts off and returns what is before the next separator.
string_view next_part(string_view &s, char separator)
{
        auto const at = s.find(separator);
        auto const part = s.substr(0, at);
        s = at == string_view::npos ? string_view() : s.substr(at + 1);
        return part;
}

struct parameter {
        std::string name, value;
};

bool is_parameter_name(string_view s)
{
        return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
                return is_alpha(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
        });
}

// The name without a number: xt.1 (BEP 9) is xt.
string_view plain_name(string_view name)
{
        auto const dot = name.find('.');
        if (dot == string_view::npos || dot + 1 == name.size() ||
            !std::all_of(name.begin() + std::ptrdiff_t(dot) + 1, name.end(), is_digit))
                return name;
        return name.substr(0, dot);
}

// "name=value&…" in its parts.
std::vector<parameter> split(string_view query)
{
        std::vector<parameter> list;
        while (!query.empty()) {
                auto part = next_part(query, '&');
                if (begins(part, "amp;")) // copied out of HTML
                        part.remove_prefix(4);
                auto value = part;
                auto const name = trim_front(next_part(value, '='));
                if (part.find('=') != string_view::npos && is_parameter_name(name))
                        list.push_back({std::string(name), std::string(value)});
                else if (!trim(part).empty() && !list.empty() &&
                         equals(plain_name(list.back().name), "dn"))
                        list.back().value.append("%26").append(part);
        }
        return list;
}

// Cleans the value of an xt: -EINVAL: an info-hash that is none. Empty: of another network.
int clean_topic(std::string &value, bt_error *err)
{
        constexpr string_view v1 = "urn:btih:", v2 = "urn:btmh:";
        std::string const urn(trim(unescape(value)));

        value.clear();
        if (!begins(urn, v1) && !begins(urn, v2))
                return 0;
        auto const hash = trim(string_view(urn).substr(v1.size()));
        // libtorrent takes what is no hex digit for zeros, and so another torrent.
        bool const fine = begins(urn, v1)
                                  ? (hash.size() == 40 && is_hex(hash)) ||
                                            (hash.size() == 32 && is_base32(hash))
                                  : hash.size() == 68 && is_hex(hash) && begins(hash, "1220");
        if (!fine)
                return fail(err, -EINVAL,
                            begins(urn, v1) ? "bad magnet: the info-hash has to be 40 hexadecimal "
                                              "digits, or 32 of base32"
                                            : "bad magnet: the v2 info-hash has to be 1220 and 64 "
                                              "hexadecimal digits");
        value.append(begins(urn, v1) ? v1 : v2).append(hash);
        return 0;
}

int clean_parameter(parameter &p, bt_error *err)
{
        auto const name = plain_name(p.name);
        if (equals(name, "xt"))
                return clean_topic(p.value, err);
        if (equals(name, "dn")) {
                p.value = mend_escapes(p.value);
        } else if (equals(name, "tr")) {
                p.value = mend_escapes(trim(p.value));
                // Nobody can be asked there.
                if (unescape(p.value).find("://") == std::string::npos)
                        p.value.clear();
        } else if (equals(name, "x.pe") || equals(name, "so")) {
                p.value = unescape(trim(p.value));
                if (p.value.find('&') != std::string::npos)
                        p.value.clear();
        } else {
                p.value = mend_escapes(trim(p.value));
        }
        return 0;
}

bool is_bare_hash(string_view s)
{
        return ((s.size() == 40 || s.size() == 64) && is_hex(s)) ||
               (s.size() == 32 && is_base32(s));
}

} // namespace

int clean_magnet(string_view text, std::string &ret, bt_error *err)
{
        constexpr string_view scheme = "magnet:";
        text = unwrap(text);
        std::string decoded;
        if (begins(text, "magnet%3A")) {
                decoded = unescape(text);
                text = decoded;
        }
        if (is_bare_hash(text)) {
                // A v2 hash in a magnet is a multihash: 12 for SHA2-256, 20 for its 32 bytes
                // (BEP 52).
                ret = text.size() == 64 ? "magnet:?xt=urn:btmh:1220" : "magnet:?xt=urn:btih:";
                ret += text;
                return 0;
        }
        if (!begins(text, scheme))
                return fail(err, -EINVAL, "not a magnet URI nor an info-hash");
        text.remove_prefix(scheme.size());
        text.remove_prefix(std::min(text.find_first_not_of('/'), text.size()));
        if (text.empty() || text.front() != '?')
                return fail(err, -EINVAL, "not a magnet URI nor an info-hash");
        text.remove_prefix(1);
        text = text.substr(0, fragment_at(text));

        std::string uri = "magnet:?";
        bool first = true;
        for (auto &p : split(text)) {
                int const r = clean_parameter(p, err);
                if (r < 0)
                        return r;
                if (p.value.empty())
                        continue;
                if (!first)
                        uri += '&';
                first = false;
                uri.append(p.name).append("=").append(p.value);
        }
        ret = std::move(uri);
        return 0;
}
