// SPDX-License-Identifier: MIT
// webseeds.cpp: web seeds (BEP 19).
//
// libtorrent does the HTTP. Left alone with it, three things go wrong. It keeps a connection to
// each web seed while a piece is wanted, which here one always is (anchor.cpp): servers hang up on
// connections without requests, and are called again a second later, for as long as the torrent
// lives. A server that is overloaded once (503) is never asked for that file again. And what was
// asked of a web seed can't be cancelled but by hanging up: a seek waits for the rest of it.
#include "webseeds.hpp"

#include "error.hpp"
#include "metadata.hpp"
#include "torrent.hpp"

#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_info.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>
#include <unordered_set>
#include <utility>

using std::chrono::seconds;

namespace
{

constexpr std::size_t seeds_max = 100; // as many as of a magnet's other lists
constexpr std::size_t url_bytes_max = 4096;
constexpr auto tick_time = seconds(1);
// Nobody has wanted anything for so long: a player that pauses finds the connections still open.
constexpr auto rest_after = seconds(20);
// An overloaded server is asked again after so long, then after twice that, and so on. It may have
// said when (Retry-After); libtorrent knows, and does not tell.
constexpr auto again_after = seconds(5);
constexpr unsigned again_doublings = 3;

bool passes_by_itself(int status) // RFC 9110 §15.5.9, §15.6; RFC 6585 §4
{
        return status == 408 || status == 429 || status >= 500;
}

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

// Whether the end of a connection is worth a word. That a server hangs up is not.
bool is_failure(lt::error_code const &ec, bool was_asked)
{
        if (ec.category() == boost::system::system_category())
                return ec != boost::asio::error::operation_aborted;
        return ec == lt::errors::timed_out || ec == lt::errors::http_parse_error ||
               (was_asked && ec == lt::errors::timed_out_inactivity);
}

// Whether libtorrent's URL of a web seed, which it may have completed by a slash or a file's name,
// is that one.
bool is_same(std::string const &ours, std::string const &theirs)
{
        return theirs.compare(0, ours.size(), ours) == 0 &&
               (theirs.size() == ours.size() || ours.back() == '/' || theirs[ours.size()] == '/');
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

void sift_web_seeds(std::vector<std::string> &urls, bool loopback)
{
        std::unordered_set<std::string> seen;
        // A magnet's were decoded once; a line break would end a request's line.
        for (auto &url : urls)
                url = escaped(url, [](unsigned char c) { return c <= ' ' || c >= 0x7f; });
        auto const out = [&](std::string const &url) {
                auto const host = host_of_url(url);
                return host.empty() || url.size() > url_bytes_max ||
                       (!loopback && names_this_host(host)) || !seen.insert(url).second;
        };
        urls.erase(std::remove_if(urls.begin(), urls.end(), out), urls.end());
        if (urls.size() > seeds_max)
                urls.resize(seeds_max);
}

// ---- one connection ----

web_watch::web_watch(std::shared_ptr<bt_torrent> t, lt::peer_connection_handle c)
    : m_torrent(std::move(t)), m_peer(c), m_conduct(std::move(c), true)
{
        lt::peer_info info;
        m_peer.get_peer_info(info); // until it answers this is what the URL has
        auto const &remote = m_peer.remote();
        m_host = lower(info.client) + ":" + std::to_string(remote.port());
        m_torrent->peers->came(m_conduct, remote, false);
        if (m_torrent->web->loopback() || !is_this_host(remote.address()))
                return;
        // A name that leads here, or a redirect. It is not connected to before this has run.
        m_forbidden = true;
        later(&web_seeds::drop_host);
}

// One request is for many blocks.
bool web_watch::write_request(lt::peer_request const &r)
{
        auto const info = m_torrent->handle.torrent_file();
        int const length = info ? info->piece_length() : 0;
        for (int at = r.start; length > 0 && at < r.start + r.length; at += lt::default_block_size)
                m_conduct.asked({lt::piece_index_t(int(r.piece) + at / length), at % length, 0});
        return false;
}

bool web_watch::on_piece(lt::peer_request const &r, lt::span<char const>)
{
        m_conduct.answered(r, true);
        m_torrent->peers->gave(m_conduct);
        if (!std::exchange(m_conduct.shook_hands, true))
                m_torrent->web->gave(m_host);
        m_torrent->web->gave_block(int(r.piece), m_host);
        return false;
}

void web_watch::on_piece_failed(lt::piece_index_t p)
{
        if (!m_torrent->web->gave_alone(int(p), m_host))
                return;
        m_lied = true;
        tell("sent wrong bytes");
}

void web_watch::on_disconnect(lt::error_code const &ec)
{
        m_torrent->peers->left(m_conduct);
        if (m_forbidden) {
                tell("it is on this host");
        } else if (ec == lt::errors::invalid_range) {
                tell("it does not answer with the range that it is asked for");
                later(&web_seeds::drop_host);
        } else if (ec == lt::errors::too_many_corrupt_pieces) {
                // Or others beside it did. Whoever gave a piece alone is known.
                if (m_lied)
                        later(&web_seeds::drop_host);
        } else if (is_failure(ec, m_conduct.owes())) {
                tell(ec.message());
                // Else libtorrent calls it again at once.
                if (m_conduct.set_aside || !m_conduct.shook_hands)
                        later(&web_seeds::failed);
        }
}

// libtorrent is in the middle of something: its list of web seeds is changed when it is done.
void web_watch::later(void (web_seeds::*what)(std::string const &host))
{
        boost::asio::post(*network_of(*m_torrent), [t = m_torrent, host = m_host, what] {
                (void)guarded(nullptr, [&] {
                        (t->web.get()->*what)(host);
                        return 0;
                });
        });
}

void web_watch::tell(std::string const &what)
{
        if (!m_torrent->removed)
                tell_problem(*m_torrent, "web seed " + m_host + ": " + what);
}

// ---- all of a torrent ----

web_seeds::web_seeds(std::vector<std::string> urls, bool loopback) : m_loopback(loopback)
{
        for (auto &u : urls) {
                m_entries.emplace_back();
                m_entries.back().source = std::move(u);
        }
}

std::vector<std::string> web_seeds::urls_for(lt::torrent_info const &info)
{
        auto const &files = info.orig_files();
        std::string const first = files.file_path(lt::file_index_t(0));
        // A directory of one file is taken for the file itself by libtorrent 2.0.8, which then asks
        // for the bare URL.
        bool const directory_of_one =
                files.num_files() == 1 && first.find('/') != std::string::npos;
        std::vector<std::string> r;
        for (auto &e : m_entries) {
                e.url = e.source;
                if (directory_of_one)
                        e.url += (e.url.back() == '/' ? "" : "/") + escaped_path(first);
                if (!e.dropped)
                        r.push_back(e.url);
        }
        return r;
}

void web_seeds::begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io, bool given)
{
        auto const info = h.torrent_file();
        if (m_torrent || !info || !info->is_valid())
                return;
        m_torrent = &t;
        m_handle = h;
        m_timer.begin(*io);
        auto const urls = urls_for(*info);
        m_given = given && !urls.empty();
        m_wanted_at = lt::clock_type::now();
        if (m_given)
                arm();
        else
                wake();
}

void web_seeds::end()
{
        m_timer.end();
}

void web_seeds::add(std::vector<std::string> const &urls)
{
        for (auto const &u : urls) {
                if (m_entries.size() == seeds_max)
                        return;
                if (std::any_of(m_entries.begin(), m_entries.end(),
                                [&](entry const &e) { return e.source == u; }))
                        continue;
                m_entries.emplace_back();
                auto &e = m_entries.back();
                e.source = u;
                if (!m_torrent)
                        continue;
                (void)urls_for(*m_handle.torrent_file());
                if (m_given)
                        m_handle.add_url_seed(e.url);
        }
        if (m_timer && m_torrent->anchor.wants_pieces())
                wake();
}

void web_seeds::wake()
{
        m_wanted_at = lt::clock_type::now();
        if (m_given || !m_timer || m_entries.empty())
                return;
        m_given = true;
        for (auto const &e : m_entries)
                if (!e.dropped)
                        m_handle.add_url_seed(e.url);
        arm();
}

void web_seeds::arm()
{
        m_timer.start(tick_time, m_torrent->weak_from_this(), [](bt_torrent &t) { t.web->tick(); });
}

void web_seeds::tick()
{
        if (!m_timer || m_torrent->removed)
                return;
        auto const now = lt::clock_type::now();
        if (m_torrent->anchor.wants_pieces())
                m_wanted_at = now;
        if (now - m_wanted_at >= rest_after) {
                rest();
                return;
        }
        for (auto &e : m_entries)
                if (e.again_at != lt::time_point{} && now >= e.again_at)
                        start_anew(e);
        arm();
}

// Those that libtorrent has given up by then don't come back.
void web_seeds::rest()
{
        auto const alive = m_handle.url_seeds();
        for (auto &e : m_entries) {
                e.dropped |= !e.away && alive.count(e.url) == 0;
                e.away = false;
                e.again_at = {};
        }
        for (auto const &url : alive) // those that it was redirected to are among them
                m_handle.remove_url_seed(url);
        m_given = false;
}

// libtorrent remembers that this web seed doesn't have the file until it forgets the web seed.
void web_seeds::start_anew(entry &e)
{
        e.again_at = {};
        bool const was_away = std::exchange(e.away, false);
        if (e.dropped)
                return;
        if (!was_away) {
                if (m_handle.url_seeds().count(e.url) == 0)
                        return;
                m_handle.remove_url_seed(e.url);
        }
        m_handle.add_url_seed(e.url);
}

void web_seeds::schedule(entry &e)
{
        if (e.again_at != lt::time_point{})
                return;
        auto const now = lt::clock_type::now();
        e.again_at = now + again_after * (1 << std::min(e.failures, again_doublings));
        e.failures++;
}

void web_seeds::refused(std::string const &url, int status)
{
        if (!m_given || !passes_by_itself(status))
                return;
        bool found = false;
        for (auto &e : m_entries) {
                if (e.dropped || !is_same(e.url, url))
                        continue;
                found = true;
                schedule(e);
        }
        if (!found)
                redirect_failed([&](std::string const &other) { return other == url; });
}

bool web_seeds::is_ours(std::string const &host) const
{
        return std::any_of(m_entries.begin(), m_entries.end(),
                           [&](entry const &e) { return host_of_url(e.url) == host; });
}

void web_seeds::gave(std::string const &host)
{
        bool const ours = is_ours(host);
        for (auto &e : m_entries)
                if (!ours || host_of_url(e.url) == host)
                        e.failures = 0;
}

// Also blocks that had come from somebody else by then: who gave all of a piece may not have given
// what is wrong with it.
void web_seeds::gave_block(int piece, std::string const &host)
{
        if (m_entries.empty())
                return;
        auto const [i, is_new] = m_givers.try_emplace(piece, givers{host, false, false});
        if (!is_new && i->second.failed)
                i->second = {host, false, false};
        else
                i->second.several |= i->second.first != host;
}

bool web_seeds::gave_alone(int piece, std::string const &host) const
{
        auto const i = m_givers.find(piece);
        return i != m_givers.end() && !i->second.several && i->second.first == host;
}

void web_seeds::piece_failed(int piece)
{
        auto const i = m_givers.find(piece);
        if (i != m_givers.end())
                i->second.failed = true;
}

void web_seeds::failed(std::string const &host)
{
        if (!m_given)
                return;
        if (!is_ours(host)) {
                redirect_failed([&](std::string const &url) { return host_of_url(url) == host; });
                return;
        }
        for (auto &e : m_entries) {
                if (e.dropped || e.away || host_of_url(e.url) != host)
                        continue;
                m_handle.remove_url_seed(e.url);
                e.away = true;
                schedule(e);
        }
}

// Where libtorrent was redirected to is asked for anew by way of who redirected, whoever that was.
void web_seeds::redirect_failed(std::function<bool(std::string const &)> const &is_it)
{
        for (auto const &url : m_handle.url_seeds())
                if (is_it(url))
                        m_handle.remove_url_seed(url);
        for (auto &e : m_entries)
                if (!e.dropped)
                        schedule(e);
}

void web_seeds::drop_host(std::string const &host)
{
        if (!m_torrent || m_torrent->removed)
                return;
        for (auto &e : m_entries)
                e.dropped |= host_of_url(e.url) == host;
        for (auto const &url : m_handle.url_seeds())
                if (host_of_url(url) == host)
                        m_handle.remove_url_seed(url);
}
