// SPDX-License-Identifier: MIT
// test_nomem.cpp: no exception of the shim's reaches libtorrent. Memory runs out for what the
// shim's own code allocates on libtorrent's network thread: at the first such allocation, at the
// second and so on, while a torrent is added, its metadata comes from a peer, pieces are fetched,
// saved and removed. What is lost then does not matter; that nothing ends or hangs does.
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include <poll.h>
#include <pthread.h>

#include "bt.h"

// Last: its fail() is a macro.
extern "C" {
#include <cmocka.h>
}

// The program's own code: the test's and, as it is linked in, the shim's.
extern "C" char program_begin __asm__("__executable_start");
extern "C" char program_end __asm__("etext");

#ifdef __SANITIZE_THREAD__
// The sanitizer does not see how libtorrent's own library counts who holds a torrent's metadata.
extern "C" char const *__tsan_default_suppressions(void)
{
        return "race:_Sp_counted_ptr_inplace<libtorrent::torrent_info*_M_destroy\n";
}
#endif

namespace
{

// The thread for which memory runs out, and after how many allocations; below 0: it does not.
std::atomic<pthread_t> victim{};
std::atomic<long> left{-1};
std::atomic<long> failures{0};

bool is_out_of_memory(void *caller)
{
        auto const *const at = static_cast<char *>(caller);
        if (left < 0 || at < &program_begin || at >= &program_end ||
            !pthread_equal(victim, pthread_self()))
                return false;
        if (left-- != 0)
                return false;
        failures++;
        return true;
}

void *allocate(std::size_t n, void *caller)
{
        void *const p = is_out_of_memory(caller) ? nullptr : std::malloc(n > 0 ? n : 1);
        if (!p)
                throw std::bad_alloc();
        return p;
}

} // namespace

void *operator new(std::size_t n)
{
        return allocate(n, __builtin_return_address(0));
}

void *operator new[](std::size_t n)
{
        return allocate(n, __builtin_return_address(0));
}

void *operator new(std::size_t n, std::nothrow_t const &) noexcept
{
        return is_out_of_memory(__builtin_return_address(0)) ? nullptr : std::malloc(n > 0 ? n : 1);
}

void *operator new[](std::size_t n, std::nothrow_t const &) noexcept
{
        return is_out_of_memory(__builtin_return_address(0)) ? nullptr : std::malloc(n > 0 ? n : 1);
}

void operator delete(void *p) noexcept
{
        std::free(p);
}

void operator delete[](void *p) noexcept
{
        std::free(p);
}

void operator delete(void *p, std::size_t) noexcept
{
        std::free(p);
}

void operator delete[](void *p, std::size_t) noexcept
{
        std::free(p);
}

namespace
{

enum { PIECES = 4, BLOCK = 16384 };

// Pieces of zeros, all of one hash.
std::string torrent(int number)
{
        static unsigned char const zeros_sha1[] = {0x89, 0x72, 0x56, 0xb6, 0x70, 0x9e, 0x1a,
                                                   0x4d, 0xa9, 0xda, 0xba, 0x92, 0xb6, 0xbd,
                                                   0xe3, 0x9c, 0xcf, 0xcc, 0xd8, 0xc1};
        char head[128];
        std::snprintf(head, sizeof head,
                      "d4:infod6:lengthi%de4:name8:%08d12:piece lengthi%de6:pieces%d:",
                      PIECES * BLOCK, number, BLOCK, PIECES * 20);
        std::string r = head;
        for (int i = 0; i < PIECES; i++)
                r.append(reinterpret_cast<char const *>(zeros_sha1), sizeof zeros_sha1);
        return r + "ee";
}

struct user {
        std::atomic<pthread_t> last{}; // where released came
        std::atomic<int> passed{0}, released{0};
        bool metadata = false, saved = false;
};

user &of(void *u)
{
        return *static_cast<user *>(u);
}

int on_write(void *, uint32_t, uint32_t, void const *, size_t)
{
        return 0;
}

int on_read(void *, uint32_t, uint32_t, void *data, size_t len)
{
        std::memset(data, 0, len);
        return 0;
}

void on_passed(void *u, uint32_t)
{
        of(u).passed++;
}

void on_piece(void *, uint32_t)
{
}

void on_released(void *u)
{
        of(u).last = pthread_self();
        of(u).released++;
}

void on_metadata(void *u, bt_meta *, bt_error const *)
{
        of(u).metadata = true;
}

void on_saved(void *u, bt_source *s)
{
        of(u).saved = true;
        bt_source_free(s);
}

void on_stats(void *, bt_stats const *)
{
}

void on_problem(void *, char const *)
{
}

void on_log(bt_log_level, char const *)
{
}

bt_session *session()
{
        static bt_setting const settings[] = {
                {"listen_interfaces", "127.0.0.1:0"},
                {"enable_dht", "0"},
                {"enable_lsd", "0"},
                {"enable_natpmp", "0"},
        };
        bt_callbacks c{};
        c.write = on_write;
        c.read = on_read;
        c.piece_passed = on_passed;
        c.piece_failed = on_piece;
        c.piece_cleared = on_piece;
        c.released = on_released;
        c.metadata = on_metadata;
        c.saved = on_saved;
        c.stats = on_stats;
        c.problem = on_problem;
        c.log = on_log;
        bt_session *s = nullptr;
        bt_error err{};
        if (bt_session_new(&c, settings, sizeof settings / sizeof *settings, nullptr, 0, &s,
                           &err) != 0)
                fail_msg("%s", err.text);
        return s;
}

// Dispatches until it is so, and no longer than that; whether it is.
template <typename F> bool until(bt_session *s, int max_ms, F &&is_so)
{
        struct pollfd p = {bt_session_event_fd(s), POLLIN, 0};
        for (int i = 0; i < max_ms / 10; i++) {
                bt_dispatch(s);
                if (is_so())
                        return true;
                poll(&p, 1, 10);
        }
        return is_so();
}

bt_source *source_of(std::string const &text, bool is_torrent)
{
        bt_source *s = nullptr;
        int const r = is_torrent
                              ? bt_source_from_torrent(text.data(), text.size(), &bt_default_limits,
                                                       true, &s, nullptr)
                              : bt_source_from_magnet(text.data(), text.size(), true, &s, nullptr);
        assert_int_equal(r, 0);
        return s;
}

bt_torrent *add(bt_session *s, bt_source *source, uint8_t const *have, user *u)
{
        bt_torrent *t = nullptr;
        bt_error err{};
        int const r = bt_torrent_add(s, source, have, u, &t, &err);
        if (r != 0 && r != -ENOMEM)
                fail_msg("%d %s", r, err.text);
        assert_int_equal(r == 0, t != nullptr);
        return t;
}

uint8_t const all[] = {0xff};

// A session whose network thread is known: it is who lets go of a magnet, or this one where an
// alert that names the magnet goes last.
bt_session *victims_session()
{
        bt_session *const s = session();
        victim = pthread_self();
        for (int i = 0; i < 100 && pthread_equal(victim, pthread_self()); i++) {
                char hash[41];
                std::snprintf(hash, sizeof hash, "%040x", unsigned(i) + 1);
                auto *const source = source_of(hash, false);
                user u;
                bt_torrent_remove(add(s, source, nullptr, &u));
                bt_source_free(source);
                assert_true(until(s, 10000, [&] { return u.released > 0; }));
                victim = u.last.load();
        }
        assert_false(pthread_equal(victim, pthread_self()));
        return s;
}

// A whole life, with everything optional. False: memory did not run out within it.
bool live(bt_session *s, bt_session *seeder, int number, bool as_magnet, long after)
{
        static bt_want const want[] = {{0, 7, true}, {1, 6, false}, {2, 5, false}, {3, 4, false}};
        auto *const whole = source_of(torrent(number), true);
        user seeding, u;
        auto *const seed = add(seeder, whole, all, &seeding);
        bt_session_stats stats{};
        assert_true(until(seeder, 10000, [&] {
                bt_session_get_stats(seeder, &stats);
                return stats.listen_port != 0;
        }));
        char hash[BT_HEX_MAX];
        bt_hash_v1_hex(bt_source_hash(whole), hash);
        auto *const magnet =
                source_of("magnet:?xt=urn:btih:" + std::string(hash) + "&x.pe=127.0.0.1:" +
                                  std::to_string(stats.listen_port) + "&ws=http://127.0.0.1:1/t",
                          false);
        long const before = failures;
        left = after;
        auto *const t = add(s, as_magnet ? magnet : whole, nullptr, &u);
        if (t) {
                if (as_magnet)
                        (void)until(s, 400, [&] { return u.metadata || failures > before; });
                else
                        bt_torrent_merge(t, magnet);
                (void)until(s, 60, [&] { return u.metadata || !as_magnet; });
                bt_torrent_want(t, want, sizeof want / sizeof *want);
                (void)until(s, 400, [&] { return u.passed == PIECES || failures > before; });
                bt_torrent_save(t);
                (void)until(s, 400, [&] { return u.saved || failures > before; });
                bt_torrent_merge(t, whole);
                bt_torrent_redial(t);
                bt_torrent_reannounce(t);
                bt_torrent_remove(t);
                (void)until(s, 100, [&] { return u.released > 0; });
        }
        bool const failed = failures > before;
        left = -1;
        if (t && u.released == 0) { // its removal is what there was no memory for
                bt_torrent_remove(t);
                assert_true(until(s, 10000, [&] { return u.released > 0; }));
        }
        assert_int_equal(u.released, t ? 1 : 0);
        bt_torrent_remove(seed);
        assert_true(until(seeder, 10000, [&] { return seeding.released > 0; }));
        bt_source_free(magnet);
        bt_source_free(whole);
        return failed;
}

// After all that the session is as good as new.
void check_is_well(bt_session *s, bt_session *seeder, int number)
{
        user seeding, u;
        auto *const whole = source_of(torrent(number), true);
        auto *const seed = add(seeder, whole, all, &seeding);
        auto *const t = add(s, whole, nullptr, &u);
        bt_session_stats stats{};
        bt_session_get_stats(seeder, &stats);
        char hash[BT_HEX_MAX];
        bt_hash_v1_hex(bt_source_hash(whole), hash);
        auto *const magnet =
                source_of("magnet:?xt=urn:btih:" + std::string(hash) +
                                  "&x.pe=127.0.0.1:" + std::to_string(stats.listen_port),
                          false);
        static bt_want const want[] = {{0, 7, true}, {1, 6, false}, {2, 5, false}, {3, 4, false}};
        bt_torrent_merge(t, magnet);
        bt_torrent_want(t, want, sizeof want / sizeof *want);
        assert_true(until(s, 10000, [&] { return u.passed == PIECES; }));
        bt_torrent_remove(t);
        bt_torrent_remove(seed);
        assert_true(until(s, 10000, [&] { return u.released > 0; }));
        assert_true(until(seeder, 10000, [&] { return seeding.released > 0; }));
        bt_source_free(magnet);
        bt_source_free(whole);
}

void run(bool as_magnet)
{
        enum { ALLOCATIONS_MAX = 2000, STEPS = 150 };
        bt_session *const s = victims_session(), *const seeder = session();
        int n = 0, number = 1;

        /* Each of the first ones, then ever fewer. */
        for (long after = 0; after < ALLOCATIONS_MAX && n < STEPS; n++, number++) {
                if (!live(s, seeder, number, as_magnet, after))
                        break;
                after += 1 + after / 20;
        }
        assert_true(n > 20);
        check_is_well(s, seeder, number);
        print_message("%d lives, %ld failures\n", n, failures.load());
        assert_int_equal(bt_session_close(s, 10000), 0);
        assert_int_equal(bt_session_close(seeder, 10000), 0);
}

void test_of_a_torrent(void **)
{
        run(false);
}

void test_of_a_magnet(void **)
{
        run(true);
}

} // namespace

int main()
{
        CMUnitTest const tests[] = {
                cmocka_unit_test(test_of_a_torrent),
                cmocka_unit_test(test_of_a_magnet),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
