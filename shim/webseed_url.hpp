// SPDX-License-Identifier: MIT
// webseed_url.hpp: the URLs of web seeds and the few headers that matter. Pure: knows no libtorrent
// session, no clock and no thread.
#pragma once

#include <libtorrent/address.hpp>

#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

// host:port of an HTTP or HTTPS URL; "": it is none.
std::string host_of_url(std::string const &url);

// A torrent's web seeds: as many as of a magnet's other lists.
constexpr std::size_t web_seeds_max = 100;

// Encodes what was not, and drops what is no URL of a web seed, what is there twice, what leads
// back to this host unless loopback, and what is beyond web_seeds_max.
void sift_web_seeds(std::vector<std::string> &urls, bool loopback);

// Whether a redirect may lead there: an HTTP or HTTPS URL of bounded length, and not by its name to
// this host unless loopback.
bool is_web_url(std::string const &url, bool loopback);

// Where a web seed has a file (BEP 19), with names as the torrent has them, percent-encoded. Of a
// torrent of a single file: the URL itself, unless it ends in a slash. Of any other: the torrent's
// name and the file's path below it.
std::string url_of_file(std::string const &base, std::string const &name);
std::string url_of_file(std::string const &base, std::string const &name, std::string const &path);

// Whether the address is of a local network: private, shared, link-local or this host (RFC 1918,
// RFC 6598, RFC 3927, RFC 4193, RFC 4291).
bool is_local_network(lt::address a);

struct content_range {
        std::uint64_t first, last;
        bool has_total; // '*' is an unknown one
        std::uint64_t total;
};
// The value of a Content-Range header (RFC 9110 §14.4) of one range of bytes. False: it is not one.
bool parse_content_range(std::string const &value, content_range &ret);

// The whole number that the text is. False: it is none, or does not fit.
bool parse_number(std::string const &text, std::uint64_t &ret);

// Seconds that a Retry-After header asks for (RFC 9110 §10.2.3: a number, or a date against now);
// -1: it says nothing that can be understood.
long parse_retry_after(std::string const &value, std::time_t now);
