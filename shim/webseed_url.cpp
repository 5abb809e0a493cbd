// SPDX-License-Identifier: MIT
// webseed_url.cpp: the URLs of web seeds and the few headers that matter.
#include "webseed_url.hpp"

#include "metadata.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <unordered_set>

namespace
{

constexpr std::size_t url_bytes_max = 4096;

std::string lower(std::string s)
{
        std::transform(s.begin(), s.end(), s.begin(),
                       [](unsigned char c) { return char(std::tolower(c)); });
        return s;
}

// Percent-encodes the bytes that must_not be in a URL (RFC 3986 §2.1).
template <typename P> std::string escaped(std::string const &text, P must_not)
{
        static char const digits[] = "0123456789ABCDEF";
        std::string r;
        for (char const byte : text) {
                auto const c = static_cast<unsigned char>(byte);
                if (!must_not(c)) {
                        r += byte;
                        continue;
                }
                r += '%';
                r += digits[c >> 4];
                r += digits[c & 15];
        }
        return r;
}

// Of a path: all but RFC 3986's unreserved characters and '/'.
std::string escaped_path(std::string const &path)
{
        return escaped(path, [](unsigned char c) {
                return c >= 0x80 || !(std::isalnum(c) || std::strchr("-._~/", c));
        });
}

bool names_this_host(std::string const &host_and_port)
{
        auto host = host_and_port.substr(0, host_and_port.rfind(':'));
        if (!host.empty() && host.back() == '.')
                host.pop_back();
        constexpr lt::string_view local = "localhost"; // RFC 6761 §6.3, and all below it
        if (host.size() >= local.size() &&
            host.compare(host.size() - local.size(), local.size(), local.data()) == 0 &&
            (host.size() == local.size() || host[host.size() - local.size() - 1] == '.'))
                return true;
        boost::system::error_code ec;
        auto const a = boost::asio::ip::make_address(host, ec);
        return !ec && is_this_host(a);
}

bool is_below(boost::asio::ip::address_v4 const &a, unsigned b0, unsigned b1, int bits)
{
        auto const net = (b0 << 24) | (b1 << 16);
        return (a.to_uint() ^ net) >> (32 - bits) == 0;
}

} // namespace

std::string host_of_url(std::string const &url)
{
        auto const scheme_end = url.find("://");
        if (scheme_end == std::string::npos)
                return {};
        auto const scheme = lower(url.substr(0, scheme_end));
        if (scheme != "http" && scheme != "https")
                return {};
        auto const begin = scheme_end + 3;
        auto host = url.substr(begin, url.find_first_of("/?#", begin) - begin);
        if (auto const at = host.rfind('@'); at != std::string::npos)
                host.erase(0, at + 1);
        auto const colon = host.rfind(':');
        bool const has_port =
                colon != std::string::npos && host.find(']', colon) == std::string::npos;
        if (host.empty() || colon == 0)
                return {};
        if (!has_port)
                host += scheme == "http" ? ":80" : ":443";
        for (char const bracket : {'[', ']'})
                host.erase(std::remove(host.begin(), host.end(), bracket), host.end());
        return lower(host);
}

bool is_web_url(std::string const &url, bool loopback)
{
        auto const host = host_of_url(url);
        return !host.empty() && url.size() <= url_bytes_max && (loopback || !names_this_host(host));
}

void sift_web_seeds(std::vector<std::string> &urls, bool loopback)
{
        std::unordered_set<std::string> seen;
        // A magnet's were decoded once; a line break would end a request's line.
        for (auto &url : urls)
                url = escaped(url, [](unsigned char c) { return c <= ' ' || c >= 0x7f; });
        urls.erase(std::remove_if(urls.begin(), urls.end(),
                                  [&](std::string const &url) {
                                          return !is_web_url(url, loopback) ||
                                                 !seen.insert(url).second;
                                  }),
                   urls.end());
        if (urls.size() > web_seeds_max)
                urls.resize(web_seeds_max);
}

std::string url_of_file(std::string const &base, std::string const &name)
{
        return base.back() == '/' ? base + escaped_path(name) : base;
}

std::string url_of_file(std::string const &base, std::string const &name, std::string const &path)
{
        return base + (base.back() == '/' ? "" : "/") + escaped_path(name) + "/" +
               escaped_path(path);
}

bool is_local_network(lt::address a)
{
        if (is_this_host(a))
                return true;
        if (a.is_v6() && a.to_v6().is_v4_mapped())
                a = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, a.to_v6());
        if (a.is_v6()) {
                auto const b = a.to_v6().to_bytes();
                return a.to_v6().is_link_local() || a.to_v6().is_site_local() ||
                       (b[0] & 0xfe) == 0xfc;
        }
        auto const v4 = a.to_v4();
        return is_below(v4, 10, 0, 8) || is_below(v4, 172, 16, 12) || is_below(v4, 192, 168, 16) ||
               is_below(v4, 169, 254, 16) || is_below(v4, 100, 64, 10) || is_below(v4, 0, 0, 8);
}

bool parse_number(std::string const &text, std::uint64_t &ret)
{
        constexpr auto most = std::numeric_limits<std::uint64_t>::max();
        std::uint64_t n = 0;
        if (text.empty())
                return false;
        for (char const c : text) {
                if (c < '0' || c > '9')
                        return false;
                auto const digit = std::uint64_t(c - '0');
                if (n > (most - digit) / 10)
                        return false;
                n = n * 10 + digit;
        }
        ret = n;
        return true;
}

bool parse_content_range(std::string const &value, content_range &ret)
{
        auto const space = value.find(' ');
        auto const dash = value.find('-'), slash = value.find('/');
        content_range r{};
        if (space == std::string::npos || lower(value.substr(0, space)) != "bytes" ||
            dash == std::string::npos || slash == std::string::npos || dash < space || slash < dash)
                return false;
        auto const total = value.substr(slash + 1);
        r.has_total = total != "*";
        if (!parse_number(value.substr(space + 1, dash - space - 1), r.first) ||
            !parse_number(value.substr(dash + 1, slash - dash - 1), r.last) ||
            (r.has_total && !parse_number(total, r.total)))
                return false;
        if (r.last < r.first || (r.has_total && r.last >= r.total))
                return false;
        ret = r;
        return true;
}

long parse_retry_after(std::string const &value, std::time_t now)
{
        std::uint64_t seconds = 0;
        if (parse_number(value, seconds))
                return long(std::min<std::uint64_t>(seconds, std::numeric_limits<int>::max()));
        // A number that is too large to be one, or signed, is no date either.
        if (value.find(':') == std::string::npos)
                return -1;
        auto const at = curl_getdate(value.c_str(), nullptr);
        if (at < 0)
                return -1;
        return at <= now ? 0
                         : long(std::min<std::time_t>(at - now, std::numeric_limits<int>::max()));
}
