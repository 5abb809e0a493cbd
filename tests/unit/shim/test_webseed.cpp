// SPDX-License-Identifier: MIT
// The pure parts of web seeds: URLs, headers, when one that failed is asked again.
#include <chrono>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "webseed_backoff.hpp"
#include "webseed_url.hpp"

extern "C" {
#include <cmocka.h> // last: its fail() is a macro
}

using std::chrono::seconds;

// ---- URLs ----

static void test_hosts(void **)
{
        static struct {
                char const *url, *host;
        } const cases[] = {
                {"http://a.example/f", "a.example:80"},
                {"HTTPS://A.example", "a.example:443"},
                {"http://a:81?x", "a:81"},
                {"http://user:word@a/", "a:80"},
                {"http://user@b@a/", "a:80"},
                {"http://[::1]:8/", "::1:8"},
                {"http://[::1]/", "::1:80"},
                {"ftp://a/", ""},
                {"file:///etc/passwd", ""},
                {"http:///x", ""},
                {"http://:80/", ""},
                {"a.example/f", ""},
                {"", ""},
        };
        for (auto const &c : cases)
                assert_string_equal(host_of_url(c.url).c_str(), c.host);
}

static void test_what_is_sifted(void **)
{
        std::vector<std::string> urls{"http://a/b c\r\nX: y",
                                      "http://a/b c\r\nX: y",
                                      "http://127.0.0.1/",
                                      "http://[::1]/",
                                      "http://0.0.0.0/",
                                      "http://localhost./",
                                      "http://x.LOCALHOST:8/",
                                      "gopher://a/",
                                      "http://b/" + std::string(5000, 'x')};
        auto with_loopback = urls;
        sift_web_seeds(urls, false);
        assert_int_equal(urls.size(), 1);
        assert_string_equal(urls[0].c_str(), "http://a/b%20c%0D%0AX:%20y");
        sift_web_seeds(with_loopback, true);
        assert_int_equal(with_loopback.size(), 6);
        std::vector<std::string> many;
        many.reserve(150);
        for (int i = 0; i < 150; i++)
                many.push_back("http://h" + std::to_string(i) + "/");
        sift_web_seeds(many, false);
        assert_int_equal(many.size(), 100);
}

static void test_where_a_redirect_may_lead(void **)
{
        assert_true(is_web_url("https://a/x", false));
        assert_true(is_web_url("http://127.0.0.1/", true));
        assert_false(is_web_url("http://127.0.0.1/", false));
        assert_false(is_web_url("http://localhost/", false));
        assert_false(is_web_url("ftp://a/", true));
        assert_false(is_web_url("", true));
}

// BEP 19.
static void test_urls_of_files(void **)
{
        std::string const name = "one #1?.bin", folder = "an 100%";
        assert_string_equal(url_of_file("http://a/x", name).c_str(), "http://a/x");
        assert_string_equal(url_of_file("http://a/x/", name).c_str(),
                            "http://a/x/one%20%231%3F.bin");
        for (char const *base : {"http://a/x", "http://a/x/"})
                assert_string_equal(url_of_file(base, folder, "sub dir/\xc3\xa9+&~.bin").c_str(),
                                    "http://a/x/an%20100%25/sub%20dir/%C3%A9%2B%26~.bin");
        std::string const longest(255, 'n');
        assert_string_equal(url_of_file("http://a/", folder, longest).c_str(),
                            ("http://a/an%20100%25/" + longest).c_str());
}

static void test_local_networks(void **)
{
        for (char const *a : {"10.1.2.3", "172.16.0.1", "172.31.255.1", "192.168.1.1",
                              "169.254.1.1", "100.64.0.1", "127.0.0.1", "0.0.0.0", "::1",
                              "::", "fe80::1", "fd00::1", "fc00::1", "::ffff:10.0.0.1"})
                assert_true(is_local_network(boost::asio::ip::make_address(a)));
        for (char const *a : {"8.8.8.8", "172.32.0.1", "172.15.0.1", "192.169.0.1", "11.0.0.1",
                              "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"})
                assert_false(is_local_network(boost::asio::ip::make_address(a)));
}

// ---- headers ----

static void test_content_ranges(void **)
{
        content_range r{};
        assert_true(parse_content_range("bytes 0-0/1", r));
        assert_true(r.first == 0 && r.last == 0 && r.has_total && r.total == 1);
        assert_true(parse_content_range("Bytes 5-18446744073709551614/*", r));
        assert_true(r.first == 5 && r.last == 18446744073709551614u && !r.has_total);
        for (char const *bad :
             {"", "bytes", "bytes ", "bytes */5", "bytes 1-2", "bytes 2-1/5", "bytes 0-5/5",
              "bytes -1-2/5", "bytes 0-+1/5", "bytes 0-1/", "bytes 0-1/x", "items 0-1/5",
              "bytes 0-1/5 ", "bytes 0 -1/5", "bytes 0-18446744073709551616/*", "bytes=0-1/5",
              "bytes 0-1/5, bytes 2-3/5", "bytes/0-1"})
                if (parse_content_range(bad, r))
                        fail_msg("taken: %s", bad);
}

static void test_retry_after(void **)
{
        std::time_t const now = 784111717; // Sun, 06 Nov 1994 08:48:37 GMT
        assert_int_equal(parse_retry_after("0", now), 0);
        assert_int_equal(parse_retry_after("120", now), 120);
        assert_int_equal(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), 60);
        assert_int_equal(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now), 60);
        assert_int_equal(parse_retry_after("Sun Nov  6 08:49:37 1994", now), 60);
        assert_int_equal(parse_retry_after("Sun, 06 Nov 1994 08:40:37 GMT", now), 0);
        assert_true(parse_retry_after("99999999999", now) > 1000000);
        for (char const *bad : {"", "-1", "+1", "soon", "1.5", "99999999999999999999999"})
                assert_int_equal(parse_retry_after(bad, now), -1);
}

// ---- when it is asked again ----

// Tries at once when that is allowed, and counts those of a stretch of time.
static int tries(web_backoff &b, web_backoff::clock::time_point &now, seconds stretch)
{
        int n = 0;
        auto const end = now + stretch;
        for (; now < end; now += seconds(1)) {
                if (!b.may_be_asked(now))
                        continue;
                n++;
                b.failed(now);
        }
        return n;
}

static void test_who_gives_nothing_is_asked_seldom(void **)
{
        web_backoff b;
        auto now = web_backoff::clock::time_point(seconds(1000));
        assert_int_equal(tries(b, now, seconds(60)), 4);
        for (int minute = 0; minute < 10; minute++)
                assert_true(tries(b, now, seconds(60)) <= 4);
        auto const hour = tries(b, now, seconds(3600));
        assert_int_equal(hour, 12); // each five minutes
        b.gave();
        now += seconds(300);
        b.failed(now);
        assert_false(b.may_be_asked(now));
        assert_true(b.may_be_asked(now + seconds(1)));
}

static void test_what_it_asks_for_is_bounded(void **)
{
        web_backoff b;
        auto const now = web_backoff::clock::time_point(seconds(1000));
        b.failed(now, seconds(17));
        assert_true(b.not_before() == now + seconds(17));
        b.failed(now, seconds(1000000));
        assert_true(b.not_before() == now + seconds(300));
        /* It does not ask itself out of the pauses that its failures have earned. */
        b.failed(now, seconds(0));
        assert_true(b.not_before() == now + seconds(6));
}

static void test_answers_that_end_early(void **)
{
        web_backoff b;
        auto const now = web_backoff::clock::time_point(seconds(1000));
        b.cut(now);
        b.cut(now);
        assert_true(b.may_be_asked(now));
        b.cut(now);
        assert_false(b.may_be_asked(now));
        b.gave();
        b.cut(now + seconds(1));
        assert_true(b.may_be_asked(now + seconds(1)));
}

int main()
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hosts),
                cmocka_unit_test(test_what_is_sifted),
                cmocka_unit_test(test_where_a_redirect_may_lead),
                cmocka_unit_test(test_urls_of_files),
                cmocka_unit_test(test_local_networks),
                cmocka_unit_test(test_content_ranges),
                cmocka_unit_test(test_retry_after),
                cmocka_unit_test(test_who_gives_nothing_is_asked_seldom),
                cmocka_unit_test(test_what_it_asks_for_is_bounded),
                cmocka_unit_test(test_answers_that_end_early),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
