// SPDX-License-Identifier: MIT
// webseed_transfer.cpp: one order's HTTP. A file a request: a piece lies in one or in several, and
// a request may be for many pieces (BEP 19). An answer is taken if it is exactly the range that was
// asked for (RFC 9110 §15.3.7), or the whole file where that was (§15.3.1); nothing of any other.
#include "webseed_transfer.hpp"

#include "error.hpp"
#include "webseed_url.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace
{

constexpr long connect_time_ms = 7000;
// Slower than this for so long, and before the first byte: it is given up.
constexpr long slow_bytes_per_s = 1024;
constexpr long slow_time_s = 10;
constexpr long buffer_bytes = 128 * 1024;
// Of a body that says why there is nothing: so much is read, to keep the connection.
constexpr std::size_t refused_bytes_max = 64 * 1024;
constexpr std::size_t redirects_known_max = 64;

bool passes_by_itself(long status) // RFC 9110 §15.5.9, §15.6; RFC 6585 §4
{
        return status == 408 || status == 429 || status >= 500;
}

bool is_named(std::string_view line, std::string_view name, std::string_view &value)
{
        if (line.size() <= name.size() || line[name.size()] != ':')
                return false;
        for (std::size_t i = 0; i < name.size(); i++)
                if (std::tolower(static_cast<unsigned char>(line[i])) != name[i])
                        return false;
        value = line.substr(name.size() + 1);
        auto const space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
        while (!value.empty() && space(value.front()))
                value.remove_prefix(1);
        while (!value.empty() && space(value.back()))
                value.remove_suffix(1);
        return true;
}

bool is_token(std::string_view value, std::string_view token)
{
        return value.size() == token.size() &&
               std::equal(value.begin(), value.end(), token.begin(), [](char a, char b) {
                       return std::tolower(static_cast<unsigned char>(a)) == b;
               });
}

lt::address address_of(sockaddr const &a)
{
        if (a.sa_family == AF_INET6) {
                sockaddr_in6 in6;
                std::memcpy(&in6, &a, sizeof in6);
                lt::address_v6::bytes_type b;
                std::memcpy(b.data(), &in6.sin6_addr, b.size());
                return lt::address_v6(b);
        }
        sockaddr_in in;
        std::memcpy(&in, &a, sizeof in);
        return lt::address_v4(ntohl(in.sin_addr.s_addr));
}

// The file with bytes at that place of the torrent; what lies between files is nobody's.
struct place {
        int file; // -1: nobody's, or padding
        std::uint64_t end;
};
place find_place(bt_meta const &meta, std::uint64_t at, std::uint64_t end)
{
        auto const &files = meta.files;
        auto i = std::upper_bound(files.begin(), files.end(), at,
                                  [](std::uint64_t o, file_view const &f) { return o < f.offset; });
        auto const next = i == files.end() ? end : std::min(end, i->offset);
        // Empty ones lie where the next begins.
        while (i != files.begin()) {
                --i;
                if (i->size == 0)
                        continue;
                if (at >= i->offset + i->size)
                        break;
                return {i->pad ? -1 : int(i - files.begin()), std::min(end, i->offset + i->size)};
        }
        return {-1, next};
}

} // namespace

web_transfer::web_transfer(web_asked_site &at, std::shared_ptr<web_order> order,
                           web_options const &options, std::atomic<std::size_t> &pieces_bytes)
    : m_at(at), m_order(std::move(order)), m_pieces_bytes(pieces_bytes),
      m_loopback(at.site->loopback), m_proxied(!options.proxy.empty())
{
        m_easy = curl_easy_init();
        if (m_easy)
                set_up(options);
        else
                end(web_result::kind::local, "no memory for a connection");
}

web_transfer::~web_transfer()
{
        curl_easy_cleanup(m_easy);
}

void web_transfer::set_up(web_options const &o)
{
        auto const set = [this](CURLoption option, auto value) {
                (void)curl_easy_setopt(m_easy, option, value);
        };
        set(CURLOPT_PRIVATE, this);
        set(CURLOPT_NOSIGNAL, 1L);
        set(CURLOPT_QUICK_EXIT, 1L); // nobody waits for a name that is looked up
        set(CURLOPT_PROTOCOLS_STR, "http,https");
        set(CURLOPT_HTTP_VERSION, long(CURL_HTTP_VERSION_1_1));
        set(CURLOPT_USERAGENT, o.user_agent.c_str());
        set(CURLOPT_BUFFERSIZE, buffer_bytes);
        set(CURLOPT_CONNECTTIMEOUT_MS, connect_time_ms);
        set(CURLOPT_LOW_SPEED_LIMIT, slow_bytes_per_s);
        set(CURLOPT_LOW_SPEED_TIME, slow_time_s);
        set(CURLOPT_SSL_VERIFYPEER, o.verify_tls ? 1L : 0L);
        set(CURLOPT_SSL_VERIFYHOST, o.verify_tls ? 2L : 0L);
        // The environment's proxies are not meant for this.
        set(CURLOPT_PROXY, o.proxy.c_str());
        if (!o.proxy_user.empty()) {
                set(CURLOPT_PROXYUSERNAME, o.proxy_user.c_str());
                set(CURLOPT_PROXYPASSWORD, o.proxy_password.c_str());
        }
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        if (!o.interface.empty())
                set(CURLOPT_INTERFACE, o.interface.c_str());
        set(CURLOPT_HEADERFUNCTION, &on_header);
        set(CURLOPT_HEADERDATA, this);
        set(CURLOPT_WRITEFUNCTION, &on_body);
        set(CURLOPT_WRITEDATA, this);
        set(CURLOPT_OPENSOCKETFUNCTION, &on_open);
        set(CURLOPT_OPENSOCKETDATA, this);
        // A connection may outlive what it was opened for.
        set(CURLOPT_CLOSESOCKETFUNCTION, &on_close);
        set(CURLOPT_CLOSESOCKETDATA, &m_at);
        set(CURLOPT_PREREQFUNCTION, &on_connected);
        set(CURLOPT_PREREQDATA, this);
}

void web_transfer::end(web_result::kind what, std::string text)
{
        if (m_result)
                return;
        m_result.emplace();
        m_result->what = what;
        m_result->text = std::move(text);
        m_result->file = m_file;
}

web_result web_transfer::result(std::vector<web_piece> &left)
{
        if (!m_result)
                end(web_result::kind::cut, {});
        m_result->bytes = m_order->received;
        if (m_piece < m_order->pieces.size() && m_result->what != web_result::kind::wrong &&
            m_order->pieces[m_piece].filled > 0)
                left.push_back(std::move(m_order->pieces[m_piece]));
        return std::move(*m_result);
}

// ---- pieces ----

bool web_transfer::begin_piece()
{
        auto &p = m_order->pieces[m_piece];
        if (!p.allocate(m_pieces_bytes)) {
                end(web_result::kind::local, "no memory for a piece");
                return false;
        }
        m_hash.reset();
        if (p.filled > 0 && m_at.site->info->v1())
                m_hash.update({p.data.get(), std::ptrdiff_t(p.filled)});
        m_begun = true;
        return true;
}

// What has a hash of v1 is given on only if that is right. A piece of v2 alone is judged by
// libtorrent, which has its hashes from peers perhaps.
bool web_transfer::end_piece()
{
        auto &p = m_order->pieces[m_piece];
        auto const &info = *m_at.site->info;
        if (info.v1() && m_hash.final() != info.hash_for_piece(lt::piece_index_t(p.index))) {
                end(web_result::kind::wrong, "sent wrong bytes");
                m_result->piece = p.index;
                m_result->mixed = p.mixed;
                return false;
        }
        m_order->on_piece(std::move(p));
        m_piece++;
        m_begun = false;
        if (m_order->next_piece())
                return true;
        end(web_result::kind::done, {});
        return false;
}

// The next n bytes of the torrent; zeros for nullptr. False: the order has ended.
bool web_transfer::take(char const *data, std::size_t n)
{
        while (n > 0) {
                if (!m_begun && !begin_piece())
                        return false;
                auto &p = m_order->pieces[m_piece];
                auto const k = std::min(n, p.size - p.filled);
                char *const to = p.data.get() + p.filled;
                if (data) {
                        std::memcpy(to, data, k);
                        data += k;
                } else {
                        std::memset(to, 0, k);
                }
                if (m_at.site->info->v1())
                        m_hash.update({to, std::ptrdiff_t(k)});
                p.filled += k;
                n -= k;
                if (p.filled == p.size && !end_piece())
                        return false;
        }
        return true;
}

// ---- requests ----

bool web_transfer::prepare()
{
        auto const &info = *m_at.site->info;
        auto const piece_length = std::uint64_t(info.piece_length());
        while (!m_result) {
                auto const &p = m_order->pieces[m_piece];
                auto const at = std::uint64_t(p.index) * piece_length + p.filled;
                auto const &last = m_order->pieces[m_order->where().second - 1];
                auto const end_of_order = std::uint64_t(last.index) * piece_length + last.size;
                auto const in = find_place(*m_at.meta, at, end_of_order);
                if (in.file < 0) {
                        (void)take(nullptr, std::size_t(in.end - at));
                        continue;
                }
                auto const &f = m_at.meta->files[std::size_t(in.file)];
                m_file = in.file;
                m_file_size = f.size;
                m_first = at - f.offset;
                m_want = in.end - at;
                m_redirects = 0;
                m_url = m_at.meta->single ? url_of_file(m_order->url, m_at.meta->name)
                                          : url_of_file(m_order->url, m_at.meta->name, f.path);
                auto const known = m_at.redirects.find(m_url);
                request(known == m_at.redirects.end() ? m_url : known->second);
                return true;
        }
        return false;
}

void web_transfer::request(std::string const &url)
{
        m_now = url;
        m_got = m_refused_bytes = m_head_bytes = 0;
        m_from_outside = m_redirects > 0 && m_from_outside;
        m_no_socket = false;
        m_head = head();
        auto const range = std::to_string(m_first) + "-" + std::to_string(m_first + m_want - 1);
        (void)curl_easy_setopt(m_easy, CURLOPT_URL, url.c_str());
        (void)curl_easy_setopt(m_easy, CURLOPT_RANGE, range.c_str());
}

// libcurl would follow by itself; then what it leads to would not be looked at.
bool web_transfer::redirect()
{
        char *to = nullptr;
        (void)curl_easy_getinfo(m_easy, CURLINFO_REDIRECT_URL, &to);
        std::string const url = to ? to : "";
        if (url.empty() || !is_web_url(url, true)) {
                end(web_result::kind::useless, "it redirects to what is no web address");
                return false;
        }
        if (!is_web_url(url, m_loopback)) {
                end(web_result::kind::forbidden, "it is on this host");
                return false;
        }
        if (++m_redirects > web_fetcher::redirects_max) {
                end(web_result::kind::broken, "it redirects again and again");
                return false;
        }
        request(url);
        return true;
}

std::string web_transfer::failure(CURLcode code) const
{
        long os_error = 0;
        (void)curl_easy_getinfo(m_easy, CURLINFO_OS_ERRNO, &os_error);
        if (code == CURLE_COULDNT_CONNECT && os_error != 0)
                return std::system_category().message(int(os_error));
        if (code == CURLE_OPERATION_TIMEDOUT)
                return "timed out";
        if (code == CURLE_PARTIAL_FILE || code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR)
                return "it ended the connection early";
        std::string text = curl_easy_strerror(code);
        text[0] = char(std::tolower(static_cast<unsigned char>(text[0])));
        return text;
}

bool web_transfer::go_on(CURLcode code)
{
        using kind = web_result::kind;
        auto const status = m_head.done ? m_head.status : 0;
        if (m_result)
                return false;
        if (status >= 200 && m_head.good) {
                if (m_got == m_want)
                        return prepare();
                end(kind::broken, failure(code == CURLE_OK ? CURLE_PARTIAL_FILE : code));
                return false;
        }
        // Where it redirected to once may be gone, or not be meant any more.
        bool const by_the_way = m_redirects == 0 && m_now != m_url;
        if (by_the_way) {
                m_at.redirects.erase(m_url);
                request(m_url);
                return true;
        }
        if (status >= 300 && status < 400 && status != 304)
                return redirect();
        auto const text = "it answers " + std::to_string(status);
        if (passes_by_itself(status)) {
                end(kind::busy, text);
                m_result->retry_after = parse_retry_after(m_head.retry_after, std::time(nullptr));
        } else if (status >= 400) {
                end(kind::missing, text);
        } else if (status >= 300) {
                end(kind::useless, text);
        } else if (m_no_socket) {
                end(kind::local, "too many connections");
        } else {
                end(kind::broken, failure(code));
        }
        return false;
}

// ---- what a server says ----

// A line of the head. False: the answer is not taken.
bool web_transfer::take_line(std::string_view line)
{
        std::string_view value;
        if (line.substr(0, 5) == "HTTP/") {
                m_head = head();
        } else if (line == "\r\n" || line == "\n") {
                (void)curl_easy_getinfo(m_easy, CURLINFO_RESPONSE_CODE, &m_head.status);
                m_head.done = m_head.status >= 200; // RFC 9110 §15.2: others may come before
                return !m_head.done || judge();
        } else if (is_named(line, "content-range", value)) {
                m_head.range = value;
        } else if (is_named(line, "content-length", value)) {
                m_head.length = value;
        } else if (is_named(line, "retry-after", value)) {
                m_head.retry_after = value;
        } else if (is_named(line, "content-encoding", value)) {
                m_head.encoded |= !is_token(value, "identity");
        } else if (is_named(line, "transfer-encoding", value)) {
                m_head.encoded |= !is_token(value, "chunked") && !is_token(value, "identity");
        }
        return true;
}

bool web_transfer::judge()
{
        using kind = web_result::kind;
        content_range range{};
        std::uint64_t length = m_want;
        if (m_head.status >= 300)
                return true;
        if (m_head.encoded) {
                end(kind::useless, "it answers with an encoding that it was not asked for");
                return false;
        }
        if (m_head.status == 206 && parse_content_range(m_head.range, range) && range.has_total &&
            range.total != m_file_size) {
                end(kind::missing, "it has a file of " + std::to_string(range.total) +
                                           " bytes where the torrent has one of " +
                                           std::to_string(m_file_size));
                return false;
        }
        bool const is_range = m_head.status == 206 && range.first == m_first &&
                              range.last == m_first + m_want - 1;
        bool const is_whole = m_head.status == 200 && m_first == 0 && m_want == m_file_size;
        if ((!is_range && !is_whole) ||
            (!m_head.length.empty() &&
             (!parse_number(m_head.length, length) || length != m_want))) {
                end(kind::useless, "it does not answer with the range that it is asked for");
                return false;
        }
        m_head.good = true;
        if (m_redirects > 0 && m_at.redirects.size() < redirects_known_max)
                m_at.redirects[m_url] = m_now;
        return true;
}

bool web_transfer::take_body(char const *data, std::size_t n)
{
        if (!m_head.good) {
                m_refused_bytes += n;
                return m_refused_bytes <= refused_bytes_max;
        }
        auto const k = std::min<std::uint64_t>(n, m_want - m_got);
        m_got += k;
        m_order->received += k;
        bool const taken = take(data, std::size_t(k));
        // The end of an answer that was the last one is read, so that the connection can be kept.
        bool const is_done = !taken && m_result->what == web_result::kind::done && m_got == m_want;
        if (!taken && !is_done)
                return false;
        if (k == n)
                return true;
        m_result.reset();
        end(web_result::kind::useless, "it sends more than it is asked for");
        return false;
}

std::size_t web_transfer::on_header(char *data, std::size_t, std::size_t n, void *self) noexcept
{
        auto &t = *static_cast<web_transfer *>(self);
        bool taken = false;
        (void)guarded(nullptr, [&] {
                t.m_head_bytes += n;
                if (t.m_head_bytes > web_fetcher::head_bytes_max)
                        t.end(web_result::kind::useless, "the head of its answer has no end");
                else
                        taken = t.m_head.done || t.take_line({data, n}); // done: trailers
                return 0;
        });
        return taken ? n : n + 1;
}

std::size_t web_transfer::on_body(char *data, std::size_t, std::size_t n, void *self) noexcept
{
        auto &t = *static_cast<web_transfer *>(self);
        bool taken = false;
        (void)guarded(nullptr, [&] {
                taken = t.take_body(data, n);
                return 0;
        });
        return taken ? n : n + 1;
}

// ---- where it leads ----

curl_socket_t web_transfer::on_open(void *self, curlsocktype, struct curl_sockaddr *a) noexcept
{
        auto &t = *static_cast<web_transfer *>(self);
        auto &site = *t.m_at.site;
        curl_socket_t fd = CURL_SOCKET_BAD;
        (void)guarded(nullptr, [&] {
                if (!t.m_proxied && !t.m_loopback && is_this_host(address_of(a->addr))) {
                        t.end(web_result::kind::forbidden, "it is on this host");
                        return 0;
                }
                // At first one for each family of addresses may be opened: it is the connections
                // that count.
                if (site.connections<web_fetcher::site_sockets_max && * t.m_at.sockets> 0)
                        fd = ::socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
                t.m_no_socket |= fd < 0;
                if (fd >= 0) {
                        site.connections++;
                        --*t.m_at.sockets;
                }
                return 0;
        });
        return fd;
}

int web_transfer::on_close(void *at, curl_socket_t fd) noexcept
{
        auto &a = *static_cast<web_asked_site *>(at);
        int const r = ::close(fd);
        a.site->connections--;
        ++*a.sockets;
        return r;
}

// Before each request, also over a connection that was there. A page of another network makes
// nothing here do something by a URL that says what (as libtorrent's ssrf_mitigation).
int web_transfer::on_connected(void *self, char *ip, char *, int, int) noexcept
{
        auto &t = *static_cast<web_transfer *>(self);
        bool good = t.m_proxied;
        (void)guarded(nullptr, [&] {
                if (good)
                        return 0;
                boost::system::error_code ec;
                auto const a = boost::asio::ip::make_address(ip, ec);
                bool const local = ec || is_local_network(a);
                if (!t.m_loopback && (ec || is_this_host(a)))
                        t.end(web_result::kind::forbidden, "it is on this host");
                else if (local && t.m_from_outside)
                        t.end(web_result::kind::forbidden, "it redirects to the local network");
                else if (local && t.m_now.find('?') != std::string::npos)
                        t.end(web_result::kind::forbidden,
                              "it is on the local network, and its URL has a question mark");
                else
                        good = true;
                t.m_from_outside |= !local;
                return 0;
        });
        return good ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}
