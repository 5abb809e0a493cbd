// SPDX-License-Identifier: MIT
// test_save.cpp: what of a torrent survives its end: its metadata, its sources, its peers, its
// hashes, and the pieces that are in the store. With sessions that are each other's peers, on
// loopback.
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libtorrent/bencode.hpp>
#include <libtorrent/create_torrent.hpp>
#include <libtorrent/file_storage.hpp>
#include <libtorrent/hasher.hpp>

#include "bt.h"

// Last: its fail() is a macro.
extern "C" {
#include <cmocka.h>
}

#ifdef __SANITIZE_THREAD__
// The sanitizer does not see how libtorrent's own library counts who holds what an alert names, or
// a torrent's metadata.
extern "C" char const *__tsan_default_suppressions(void)
{
        return "race:libtorrent::*alert::\nrace:^wait_for$\nrace:bt_dispatch\n"
               "race:_Sp_counted_ptr_inplace<libtorrent::torrent_info*_M_destroy\n";
}
#endif

namespace
{

constexpr int block = 16384;

struct source_free {
        void operator()(bt_source *s) const
        {
                bt_source_free(s);
        }
};
using source = std::unique_ptr<bt_source, source_free>;

// ---- torrents ----

enum class kind { v1, v2, hybrid };

struct content {
        std::string bytes; // the torrent's byte stream
        int piece_length;
        std::string torrent;
};

// Hashes what the torrent's files have, and puts the stream together as its pieces lie.
content make_content(kind k, int piece_length, std::vector<int> const &sizes)
{
        lt::file_storage fs;
        for (std::size_t i = 0; i < sizes.size(); i++)
                fs.add_file("t/f" + std::to_string(i), sizes[i]);
        lt::create_torrent t(fs, piece_length,
                             k == kind::v1   ? lt::create_torrent::v1_only
                             : k == kind::v2 ? lt::create_torrent::v2_only
                                             : lt::create_flags_t{});
        content c;
        c.piece_length = t.piece_length();
        auto const &files = t.files();
        c.bytes.resize(std::size_t(files.total_size()));
        unsigned seed = 1;
        for (auto const f : files.file_range())
                for (std::int64_t i = 0; !files.pad_file_at(f) && i < files.file_size(f); i++) {
                        seed = seed * 1664525 + 1013904223;
                        c.bytes[std::size_t(files.file_offset(f) + i)] = char(seed >> 24);
                }
        for (auto const p : files.piece_range()) {
                auto const *const at = c.bytes.data() + std::ptrdiff_t(int(p)) * c.piece_length;
                if (k != kind::v2)
                        t.set_hash(p, lt::hasher(at, files.piece_size(p)).final());
                if (k == kind::v1)
                        continue;
                auto const f = files.file_index_at_piece(p);
                if (files.pad_file_at(f))
                        continue;
                int const first = int(files.piece_index_at_file(f));
                int const size = files.piece_size2(p);
                std::size_t leaves = 1; // of a file below a piece there are no more than it has
                int const all = files.file_size(f) < c.piece_length ? size : c.piece_length;
                while (int(leaves) * block < all)
                        leaves *= 2;
                std::vector<lt::sha256_hash> layer(leaves);
                for (int o = 0; o < size; o += block)
                        layer[std::size_t(o / block)] =
                                lt::hasher256(at + o, std::min(block, size - o)).final();
                for (; layer.size() > 1; layer.resize(layer.size() / 2))
                        for (std::size_t i = 0; i < layer.size() / 2; i++) {
                                lt::hasher256 h;
                                h.update(layer[2 * i]);
                                h.update(layer[2 * i + 1]);
                                layer[i] = h.final();
                        }
                t.set_hash2(f, lt::piece_index_t::diff_type(int(p) - first), layer[0]);
        }
        lt::bencode(std::back_inserter(c.torrent), t.generate());
        return c;
}

source source_from_torrent(std::string const &torrent, bool loopback = true)
{
        bt_source *s = nullptr;
        bt_error err{};
        if (bt_source_from_torrent(torrent.data(), torrent.size(), &bt_default_limits, loopback, &s,
                                   &err) != 0)
                fail_msg("%s", err.text);
        return source(s);
}

source source_from_magnet(std::string const &text, bool loopback = true)
{
        bt_source *s = nullptr;
        bt_error err{};
        if (bt_source_from_magnet(text.data(), text.size(), loopback, &s, &err) != 0)
                fail_msg("%s", err.text);
        return source(s);
}

std::string save(source const &s)
{
        void *bytes = nullptr;
        std::size_t len = 0;
        assert_int_equal(bt_source_save(s.get(), &bytes, &len), 0);
        std::string r(static_cast<char *>(bytes), len);
        bt_free(bytes);
        return r;
}

source load(std::string const &bytes, bool loopback = true)
{
        bt_source *s = nullptr;
        bt_error err{};
        if (bt_source_load(bytes.data(), bytes.size(), loopback, &s, &err) != 0)
                fail_msg("%s", err.text);
        return source(s);
}

std::string magnet_of(bt_hash const &h, int port = 0)
{
        char v1[BT_HEX_MAX], v2[BT_HEX_MAX];
        bt_hash_v1_hex(&h, v1);
        bt_hash_v2_hex(&h, v2);
        std::string r = "magnet:?";
        if (h.has_v1)
                r += std::string("xt=urn:btih:") + v1;
        if (h.has_v2)
                r += std::string(h.has_v1 ? "&" : "") + "xt=urn:btmh:1220" + v2;
        if (port != 0)
                r += "&x.pe=127.0.0.1:" + std::to_string(port);
        return r;
}

std::string metadata_of(source const &s)
{
        std::size_t len = 0;
        auto const *const bytes = bt_meta_bytes(bt_source_meta(s.get()), &len);
        return {static_cast<char const *>(bytes), len};
}

std::string hash_of(source const &s)
{
        return magnet_of(*bt_source_hash(s.get()));
}

bool has(std::string const &text, std::string const &part)
{
        return text.find(part) != std::string::npos;
}

// ---- sessions ----

enum { PIECES_MAX = 1024 };

struct meta_unref {
        void operator()(bt_meta *m) const
        {
                bt_meta_unref(m);
        }
};

// A torrent's store: the user of the callbacks.
struct store_data {
        std::string bytes;
        int piece_length = block;
        std::atomic<int> reads[PIECES_MAX] = {}, writes[PIECES_MAX] = {}, passed[PIECES_MAX] = {};
        std::atomic<int> passes{0}, released{0};
        std::unique_ptr<bt_meta, meta_unref> meta;
        int saved = 0;
        source source_saved;
        bt_stats stats{};
};

struct store : store_data {
        explicit store(content const &c, bool with_bytes)
        {
                bytes = with_bytes ? c.bytes : std::string(c.bytes.size(), '\0');
                piece_length = c.piece_length;
        }
};

store &of(void *user)
{
        return *static_cast<store *>(user);
}

int on_write(void *user, uint32_t piece, uint32_t offset, void const *data, size_t len)
{
        auto &s = of(user);
        s.writes[piece]++;
        std::memcpy(&s.bytes[std::size_t(piece) * std::size_t(s.piece_length) + offset], data, len);
        return 0;
}

int on_read(void *user, uint32_t piece, uint32_t offset, void *data, size_t len)
{
        auto &s = of(user);
        s.reads[piece]++;
        std::memcpy(data, &s.bytes[std::size_t(piece) * std::size_t(s.piece_length) + offset], len);
        return 0;
}

void on_passed(void *user, uint32_t piece)
{
        of(user).passed[piece]++;
        of(user).passes++;
}

void on_piece(void *, uint32_t)
{
}

void on_released(void *user)
{
        of(user).released++;
}

void on_metadata(void *user, bt_meta *meta, bt_error const *err)
{
        if (!meta)
                fail_msg("%s", err->text);
        of(user).meta.reset(bt_meta_ref(meta));
}

void on_saved(void *user, bt_source *s)
{
        of(user).saved++;
        of(user).source_saved.reset(s);
}

void on_stats(void *user, bt_stats const *stats)
{
        of(user).stats = *stats;
}

void on_problem(void *, char const *)
{
}

void on_log(bt_log_level, char const *)
{
}

class client
{
      public:
        client()
        {
                static bt_setting const settings[] = {
                        {"listen_interfaces", "127.0.0.1:0"},
                        {"enable_dht", "0"},
                        {"enable_lsd", "0"},
                        {"enable_natpmp", "0"},
                        {"allow_multiple_connections_per_ip", "1"},
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
                bt_error err{};
                if (bt_session_new(&c, settings, sizeof settings / sizeof *settings, nullptr, 0,
                                   &m_session, &err) != 0)
                        fail_msg("%s", err.text);
        }
        ~client()
        {
                (void)bt_session_close(m_session, 10000);
        }
        client(client const &) = delete;
        client &operator=(client const &) = delete;

        bt_torrent *add(source const &s, store &u, uint8_t const *have = nullptr)
        {
                bt_torrent *t = nullptr;
                bt_error err{};
                if (bt_torrent_add(m_session, s.get(), have, &u, &t, &err) != 0)
                        fail_msg("%s", err.text);
                return t;
        }
        int port()
        {
                bt_session_stats s{};
                until("a port", [&] {
                        bt_session_get_stats(m_session, &s);
                        return s.listen_port != 0;
                });
                return s.listen_port;
        }
        // Dispatches until it is so.
        template <typename F> void until(char const *what, F &&is_so)
        {
                struct pollfd p = {bt_session_event_fd(m_session), POLLIN, 0};
                for (int i = 0; i < 2000; i++) {
                        bt_dispatch(m_session);
                        if (is_so())
                                return;
                        poll(&p, 1, 10);
                }
                fail_msg("no %s", what);
        }
        source saved(bt_torrent *t, store &u)
        {
                int const before = u.saved;
                bt_torrent_save(t);
                until("source", [&] { return u.saved > before; });
                assert_non_null(u.source_saved.get());
                return std::move(u.source_saved);
        }
        // Waits until nothing of the torrent is left.
        void remove(bt_torrent *t, store &u)
        {
                bt_torrent_remove(t);
                until("end", [&] { return u.released > 0; });
        }
        bt_session *get()
        {
                return m_session;
        }

      private:
        bt_session *m_session = nullptr;
};

void want(bt_torrent *t, std::vector<int> const &pieces)
{
        std::vector<bt_want> list;
        list.reserve(pieces.size());
        for (int const p : pieces)
                list.push_back({uint32_t(p), BT_PRIORITY_TOP, p == pieces.front()});
        bt_torrent_want(t, list.data(), list.size());
}

void meet(bt_torrent *t, bt_hash const &h, int port)
{
        auto const m = source_from_magnet(magnet_of(h, port));
        bt_torrent_merge(t, m.get());
}

int pieces_of(source const &s)
{
        return int(bt_meta_pieces(bt_source_meta(s.get())));
}

// Just as long as bt.h says, and all bits beyond the last piece set.
std::unique_ptr<uint8_t[]> bitmap(int n, std::vector<int> const &pieces)
{
        auto const bytes = std::size_t(n + 7) / 8;
        std::unique_ptr<uint8_t[]> r(new uint8_t[bytes]());
        for (int const p : pieces)
                r[std::size_t(p) / 8] = uint8_t(r[std::size_t(p) / 8] | 1u << p % 8);
        for (int p = n; p < int(bytes * 8); p++)
                r[std::size_t(p) / 8] = uint8_t(r[std::size_t(p) / 8] | 1u << p % 8);
        return r;
}

std::vector<int> range(int first, int end)
{
        std::vector<int> r;
        for (int i = first; i < end; i++)
                r.push_back(i);
        return r;
}

bool all_passed(store const &u, std::vector<int> const &pieces)
{
        for (int const p : pieces)
                if (u.passed[p] == 0)
                        return false;
        return true;
}

// ---- the bytes of metadata ----

#define REST "4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa"

// However odd: libtorrent would write some of them otherwise, and the info-hash would be another.
void test_metadata_is_kept_as_it_came(void **)
{
        static char const *const infos[] = {
                "d6:lengthi9e" REST "e",
                "d4:name1:t6:pieces20:aaaaaaaaaaaaaaaaaaaa12:piece lengthi16384e6:lengthi9ee",
                "d6:lengthi9e" REST "7:privatei0e6:sourcede3:zzzi-0ee",
                "d6:lengthi9e6:lengthi9e" REST "e",
                "d6:lengthi9e" REST "2:xxl0:i-17ed1:b0:1:a0:eee",
                "d0:i1e6:lengthi9e" REST "e",
        };
        for (auto const *const info : infos) {
                auto const s = source_from_torrent(std::string("d4:info") + info + "e");
                assert_true(metadata_of(s) == info);
                auto const bytes = save(s);
                auto const again = load(bytes);
                assert_true(metadata_of(again) == info);
                assert_string_equal(hash_of(again).c_str(), hash_of(s).c_str());
                assert_true(save(again) == bytes);
                // It is a .torrent to others.
                assert_string_equal(hash_of(source_from_torrent(bytes)).c_str(),
                                    hash_of(s).c_str());
        }
}

void test_metadata_of_all_kinds(void **)
{
        for (auto const k : {kind::v1, kind::v2, kind::hybrid}) {
                auto const c = make_content(k, 2 * block, {5 * block + 7, 100, 9 * block});
                auto const s = source_from_torrent(c.torrent);
                auto const again = load(save(s));
                assert_true(metadata_of(again) == metadata_of(s));
                assert_true(has(c.torrent, metadata_of(s)));
                assert_string_equal(hash_of(again).c_str(), hash_of(s).c_str());
                assert_int_equal(has(save(s), "5:nodes"), k != kind::v1);
                assert_true(save(again) == save(s));
        }
}

// ---- sources ----

void test_sources_of_a_torrent(void **)
{
        std::string const info = "4:infod6:lengthi9e" REST "e";
        auto const s = source_from_torrent("d13:announce-listll12:http://a.orgel12:http://b.orge"
                                           "lel12:http://c.orgee" +
                                           info + "8:url-listl16:http://w.org/a/te" + "e");
        auto const bytes = save(s);
        assert_true(has(bytes, "13:announce-listll12:http://a.orgel12:http://b.orge"
                               "lel12:http://c.orgee" +
                                       info));
        assert_true(has(bytes, "8:url-listl16:http://w.org/a/te"));
        assert_true(save(load(bytes)) == bytes);
        assert_string_equal(bt_source_magnet(load(bytes).get()), bt_source_magnet(s.get()));
}

void test_sources_of_a_magnet(void **)
{
        auto const s = source_from_magnet(
                "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a%20b&so=0,2-3"
                "&tr=http://a.org&tr=http://b.org&ws=http://w.org/t"
                "&x.pe=198.18.0.1:81&x.pe=[2001:db8::1]:82&x.pe=127.0.0.1:83");
        auto const bytes = save(s);
        auto const again = load(bytes);
        assert_true(save(again) == bytes);
        assert_string_equal(bt_source_magnet(again.get()), bt_source_magnet(s.get()));
        assert_string_equal(bt_source_name(again.get()), "a b");
        for (auto const *const part : {"a.org", "b.org", "w.org", "198.18.0.1:81",
                                       "[2001:db8::1]:82", "127.0.0.1:83", "so=0,2-3"})
                assert_true(has(bytes, part));
        for (uint32_t i = 0; i < 5; i++)
                assert_int_equal(bt_source_selects(again.get(), i), bt_source_selects(s.get(), i));
        assert_false(has(save(load(bytes, false)), "127.0.0.1"));
        assert_true(has(save(load(bytes, false)), "198.18.0.1"));
}

// A name of any length makes a magnet that is taken back.
void test_a_magnet_has_the_name(void **)
{
        for (std::size_t const n : {1U, 254U, 255U, 256U, 257U, 70'000U}) {
                std::string name(n % 2, 'b');
                while (name.size() < n)
                        name += "\u00fc"; // two bytes
                std::string bytes = "d4:infod6:lengthi9e4:name";
                bytes.append(std::to_string(n)).append(":").append(name);
                bytes += "12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
                auto const s = source_from_torrent(bytes);
                auto const taken = source_from_magnet(bt_source_magnet(s.get()));
                std::string const shown = bt_source_name(taken.get());
                assert_int_equal(shown.size(), n <= 255 ? n : 254 + n % 2);
                assert_true(name.compare(0, shown.size(), shown) == 0);
                assert_string_equal(bt_source_magnet(load(save(s)).get()),
                                    bt_source_magnet(s.get()));
        }
}

// A .torrent as it is kept, with these entries of "magnetfs".
std::string kept(std::string const &ours)
{
        return "d4:infod6:lengthi9e" REST "e8:magnetfsd" + ours + "ee";
}

void test_peers_that_are_kept(void **)
{
        std::string const v4("6:\306\022\0\1\0\121", 8), home("6:\177\0\0\1\0\123", 8);
        std::string const v6("18:\040\1\015\270\0\0\0\0\0\0\0\0\0\0\0\1\0\122", 21);
        std::string const home6("18:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\122", 21);
        auto const bytes = kept("5:peersl" + v6 + v4 + home + home6 + "e8:selected3:101");

        auto const s = load(bytes);
        assert_true(save(s) == kept("5:peersl" + v6 + v4 + home + home6 + "e8:selected3:101"));
        assert_true(bt_source_selects(s.get(), 0) && !bt_source_selects(s.get(), 1) &&
                    bt_source_selects(s.get(), 2) && !bt_source_selects(s.get(), 3));
        assert_false(has(bt_source_magnet(s.get()), "x.pe"));
        assert_true(save(load(bytes, false)) == kept("5:peersl" + v6 + v4 + "e8:selected3:101"));
        // Others' .torrents name no peers.
        assert_true(save(source_from_torrent(bytes)) == kept("5:peersle8:selected0:"));
        // What is none is passed over, and a hundred are enough.
        std::string many;
        for (int i = 0; i < 150; i++)
                many += std::string("6:\306\022\0\1\1", 7) + char(i);
        auto const odd = load(
                kept("5:peersl0:i7e5:aaaaa6:" + std::string("\306\022\0\1\0\0", 6) + many + "e"));
        auto const wanted = "5:peersl" + many.substr(0, 100 * 8) + "e";
        assert_true(has(save(odd), wanted));
}

void test_bad_bytes(void **)
{
        auto const c = make_content(kind::v2, 2 * block, {9 * block});
        auto const good = save(source_from_torrent(c.torrent));
        for (std::size_t len = 0; len < good.size(); len++) {
                auto *s = reinterpret_cast<bt_source *>(1);
                bt_error err{};
                assert_int_equal(bt_source_load(good.data(), len, true, &s, &err), -EINVAL);
                assert_int_equal(err.code, -EINVAL);
                assert_true(s == reinterpret_cast<bt_source *>(1));
        }
        unsigned seed = 7;
        for (int round = 0; round < 5000; round++) {
                auto copy = good;
                for (int k = 0; k < 3; k++) {
                        seed = seed * 1664525 + 1013904223;
                        copy[(seed >> 8) % copy.size()] = char(seed >> 24);
                }
                bt_source *s = nullptr;
                int const r = bt_source_load(copy.data(), copy.size(), true, &s, nullptr);
                assert_true((r == 0) == (s != nullptr));
                bt_source_free(s);
        }
}

// ---- have ----

void test_have(kind k, int piece_length)
{
        auto const c = make_content(k, piece_length, {5 * piece_length + 7, 100, 3 * piece_length});
        auto const s = source_from_torrent(c.torrent);
        int const n = pieces_of(s);
        auto const h = *bt_source_hash(s.get());
        auto const held = range(0, n / 2), missing = range(n / 2, n);
        store seeds(c, true), half(c, true), none(c, false);
        std::fill(half.bytes.begin() + std::ptrdiff_t(n / 2) * c.piece_length, half.bytes.end(), 0);
        client a, b, d;

        auto *const ta = a.add(s, seeds, bitmap(n, range(0, n)).get());
        auto *const tb = b.add(s, half, bitmap(n, held).get());
        // What is missing is fetched, and nothing else; what is there is neither read nor hashed.
        meet(tb, h, a.port());
        want(tb, missing);
        b.until("missing pieces", [&] { return all_passed(half, missing); });
        assert_true(half.bytes == c.bytes);
        for (int const p : held)
                assert_int_equal(half.writes[p] + half.reads[p] + seeds.reads[p], 0);
        for (int const p : missing)
                assert_true(half.passed[p] == 1 && seeds.reads[p] > 0);
        for (int p = 0; p < n; p++)
                assert_int_equal(seeds.writes[p], 0);
        // The one with all of them is a seed to its peers.
        b.until("seed among the peers", [&] {
                bt_session_poll(b.get());
                return half.stats.seeds > 0;
        });
        a.remove(ta, seeds);
        // What was there is given to others.
        auto *const td = d.add(source_from_magnet(magnet_of(h, b.port())), none);
        d.until("metadata", [&] { return none.meta != nullptr; });
        want(td, held);
        d.until("pieces that were held", [&] { return all_passed(none, held); });
        for (int const p : held) {
                assert_true(half.reads[p] > 0);
                auto const at = std::size_t(p) * std::size_t(c.piece_length);
                assert_true(none.bytes.compare(at, std::size_t(c.piece_length), c.bytes, at,
                                               std::size_t(c.piece_length)) == 0);
        }
}

void test_have_v1(void **)
{
        test_have(kind::v1, block);
        test_have(kind::v1, 4 * block);
}

void test_have_v2(void **)
{
        test_have(kind::v2, block);
        test_have(kind::v2, 4 * block);
}

void test_have_hybrid(void **)
{
        test_have(kind::hybrid, block);
        test_have(kind::hybrid, 4 * block);
}

// Nobody knows what the bits stand for.
void test_have_without_metadata(void **)
{
        auto const c = make_content(kind::v1, block, {9 * block});
        auto const s = source_from_torrent(c.torrent);
        store u(c, true);
        client a;
        auto *t = reinterpret_cast<bt_torrent *>(1);
        bt_error err{};
        assert_int_equal(
                bt_torrent_add(a.get(),
                               source_from_magnet(magnet_of(*bt_source_hash(s.get()))).get(),
                               bitmap(9, {0}).get(), &u, &t, &err),
                -EINVAL);
        assert_int_equal(err.code, -EINVAL);
        assert_true(t == reinterpret_cast<bt_torrent *>(1));
        assert_int_equal(u.released, 0);
}

// ---- to sleep and awake ----

// Nobody gives its metadata: nothing listens at its peer's address.
void test_kept_without_metadata(void **)
{
        auto const c = make_content(kind::v2, block, {9 * block});
        auto const h = *bt_source_hash(source_from_torrent(c.torrent).get());
        store u(c, false);
        client b;
        auto *const t =
                b.add(source_from_magnet(magnet_of(h, 7) + "&ws=http://w.invalid/&so=1"), u);
        auto const bytes = save(b.saved(t, u));
        assert_true(has(bytes, "127.0.0.1:7") && has(bytes, "so=1") && has(bytes, "w.invalid"));
        b.remove(t, u);
}

// A magnet that has come so far is added again, in another session, with what was kept of it; and
// then by its peers' addresses alone.
void test_wake(kind k)
{
        auto const c = make_content(k, 2 * block, {40 * block + 7, 100, 30 * block});
        auto const s = source_from_torrent(c.torrent);
        int const n = pieces_of(s);
        auto const h = *bt_source_hash(s.get());
        store seeds(c, true), first(c, false), later(c, false);
        std::string bytes;
        client a;

        (void)a.add(s, seeds, bitmap(n, range(0, n)).get());
        int const port = a.port();
        {
                client b;
                auto *const t = b.add(source_from_magnet(magnet_of(h, port) +
                                                         "&tr=http://127.0.0.1:1/announce"
                                                         "&ws=http://w.invalid/&so=1"),
                                      first);
                b.until("metadata", [&] { return first.meta != nullptr; });
                want(t, {0, 1});
                b.until("pieces", [&] { return first.passes == 2; });
                bytes = save(b.saved(t, first));
                b.remove(t, first);
        }
        auto const again = load(bytes);
        assert_true(metadata_of(again) == metadata_of(s));
        assert_string_equal(hash_of(again).c_str(), hash_of(s).c_str());
        assert_true(has(bytes, "http://127.0.0.1:1/announce") && has(bytes, "http://w.invalid/") &&
                    has(bytes, "8:selected2:01"));
        auto const peer =
                std::string("5:peersl6:\177\0\0\1", 14) + char(port >> 8) + char(port & 255);
        assert_true(has(bytes, peer));
        // Who has it from here is told what its magnet said.
        auto const told = std::string(bt_source_magnet(again.get()));
        for (auto const &part : {"dn=" + std::string(bt_source_name(again.get())) + "&",
                                 "x.pe=127.0.0.1:" + std::to_string(port), std::string("so=1")})
                assert_true(has(told, part));
        assert_false(has(bt_source_magnet(load(bytes, false).get()), "x.pe"));
        later.bytes = first.bytes;
        client d;
        auto *const t = d.add(again, later, bitmap(n, {0, 1}).get());
        want(t, range(0, n));
        d.until("the other pieces", [&] { return all_passed(later, range(2, n)); });
        assert_true(later.bytes == c.bytes);
        for (int const p : {0, 1})
                assert_int_equal(later.writes[p] + later.reads[p], 0);
}

void test_wake_v1(void **)
{
        test_wake(kind::v1);
}

void test_wake_v2(void **)
{
        test_wake(kind::v2);
}

void test_wake_hybrid(void **)
{
        test_wake(kind::hybrid);
}

// The source itself is added again in the same session, as soon as the torrent is removed.
void test_wake_at_once(void **)
{
        auto const c = make_content(kind::v2, 2 * block, {40 * block});
        auto const s = source_from_torrent(c.torrent);
        int const n = pieces_of(s);
        store seeds(c, true);
        client a, b;
        (void)a.add(s, seeds, bitmap(n, range(0, n)).get());
        auto next = source_from_magnet(magnet_of(*bt_source_hash(s.get()), a.port()));
        std::string bytes(c.bytes.size(), '\0');
        std::vector<int> held;
        for (int p = 0; p < 5; p++) {
                store u(c, false);
                u.bytes = bytes;
                auto *const t = b.add(next, u, p == 0 ? nullptr : bitmap(n, held).get());
                if (p == 0)
                        b.until("metadata", [&] { return u.meta != nullptr; });
                want(t, {p});
                b.until("piece", [&] { return u.passed[p] == 1; });
                held.push_back(p);
                bytes = u.bytes;
                next = b.saved(t, u);
                assert_null(bt_source_meta(next.get()));
                b.remove(t, u);
        }
        assert_int_equal(bytes.compare(0, 10 * block, c.bytes, 0, 10 * block), 0);
}

// ---- hashes of v2 ----

// The peer has the first 512 pieces alone, so only their hashes are asked for.
void test_some_hashes(int piece_length)
{
        auto const c = make_content(kind::v2, piece_length, {600 * piece_length - 5});
        auto const s = source_from_torrent(c.torrent);
        int const n = pieces_of(s);
        auto const h = *bt_source_hash(s.get());
        store seeds(c, true), u(c, false), alone(c, false);
        client a, b, d;
        (void)a.add(s, seeds, bitmap(n, range(0, 512)).get());
        auto *const t = b.add(source_from_magnet(magnet_of(h, a.port())), u);
        b.until("metadata", [&] { return u.meta != nullptr; });
        want(t, {7});
        b.until("piece", [&] { return u.passed[7] == 1; });
        auto const bytes = save(b.saved(t, u));
        assert_true(has(bytes, "5:nodes"));
        assert_true(bytes.size() > 512 * 32);
        // Added without any peer libtorrent takes them: it has them still when it is asked.
        auto *const kept_by = d.add(load(bytes, false), alone, bitmap(n, {7}).get());
        auto const again = save(d.saved(kept_by, alone));
        auto const hashes_of = [](std::string const &saved) {
                auto const from = saved.find("6:hashes");
                return saved.substr(from, saved.find("5:peersl", from) - from);
        };
        assert_true(hashes_of(again) == hashes_of(bytes));
        d.remove(kept_by, alone);
        // A byte that has changed: none of them is believed.
        auto spoilt = bytes;
        spoilt[spoilt.find("5:peersl") - 100] ^= 1; // of the lowest layer
        store other(c, false);
        auto *const wary = d.add(load(spoilt, false), other);
        assert_false(has(save(d.saved(wary, other)), "5:nodes"));
}

void test_some_hashes_of_pieces(void **)
{
        test_some_hashes(2 * block);
}

void test_some_hashes_of_blocks(void **)
{
        test_some_hashes(block);
}

// A seed has hashes of blocks; what is kept of them are those of pieces.
void test_all_hashes(void **)
{
        auto const c = make_content(kind::v2, 4 * block, {21 * block + 9, 8 * block, 3});
        auto const s = source_from_torrent(c.torrent);
        int const n = pieces_of(s);
        store seeds(c, true), u(c, false);
        client a, b;
        (void)a.add(s, seeds, bitmap(n, range(0, n)).get());
        auto *const t = b.add(source_from_magnet(magnet_of(*bt_source_hash(s.get()), a.port())), u);
        b.until("metadata", [&] { return u.meta != nullptr; });
        want(t, range(0, n));
        b.until("all pieces", [&] { return u.passes == n; });
        auto const hashes_of = [](std::string const &saved) {
                auto const from = saved.find("6:hashes");
                return saved.substr(from, saved.find("5:peersl", from) - from);
        };
        assert_true(hashes_of(save(b.saved(t, u))) == hashes_of(save(s)));
}

// A magnet and the metadata that has come are what is saved from then on.
void test_a_magnet_is_joined_with_its_metadata(void **)
{
        auto const c = make_content(kind::hybrid, 4 * block, {21 * block + 9, 3});
        auto const torrent = source_from_torrent(c.torrent);
        auto const magnet = source_from_magnet(magnet_of(*bt_source_hash(torrent.get()), 7) +
                                               "&dn=name&tr=http://tracker.example/announce&so=1");
        bt_source *joined = nullptr;

        assert_false(bt_source_is_whole(magnet.get()));
        assert_int_equal(bt_source_join(magnet.get(), bt_source_meta(torrent.get()), &joined), 0);
        auto const whole = source(joined);
        assert_true(bt_source_is_whole(whole.get()));
        auto const kept = load(save(whole));
        for (auto const *s : {&whole, &kept}) {
                assert_true(metadata_of(*s) == metadata_of(torrent));
                assert_true(has(bt_source_magnet(s->get()), "tracker.example"));
                assert_false(bt_source_selects(s->get(), 0));
                assert_true(bt_source_selects(s->get(), 1));
                assert_string_equal(bt_source_magnet(s->get()), bt_source_magnet(whole.get()));
                for (auto const *const part : {"dn=t&", "x.pe=127.0.0.1:7", "so=1"})
                        assert_true(has(bt_source_magnet(s->get()), part));
                assert_int_equal(
                        bt_source_check(s->get(), 0, c.bytes.data(), std::size_t(c.piece_length)),
                        1);
        }
        assert_true(has(save(whole), "5:peersl6:"));
        assert_false(bt_source_is_whole(magnet.get()));
}

// ---- what an earlier run has left ----

// Each piece of each kind of torrent is right, and wrong with any byte changed; also of a source
// that was saved.
void test_check(void **)
{
        for (auto const k : {kind::v1, kind::v2, kind::hybrid}) {
                auto const c = make_content(
                        k, 4 * block, {21 * block + 9, 8 * block, 3, 3 * block, 4 * block + 1});
                auto const fresh = source_from_torrent(c.torrent), kept = load(save(fresh));
                auto const n = uint32_t(pieces_of(fresh));
                for (auto const &s : {fresh.get(), kept.get()}) {
                        for (uint32_t i = 0; i < n; i++) {
                                auto const at = std::size_t(i) * std::size_t(c.piece_length);
                                auto piece = c.bytes.substr(at, std::size_t(c.piece_length));
                                assert_int_equal(bt_source_check(s, i, piece.data(), piece.size()),
                                                 1);
                                assert_int_equal(
                                        bt_source_check(s, i, piece.data(), piece.size() - 1),
                                        -EINVAL);
                                piece[0] = char(piece[0] ^ 1);
                                assert_int_equal(bt_source_check(s, i, piece.data(), piece.size()),
                                                 0);
                        }
                        assert_int_equal(bt_source_check(s, n, "", 0), -EINVAL);
                }
        }
}

// What peers have told of a v2 magnet's hashes is enough to check a piece; before, nobody knows.
void test_check_without_hashes(void **)
{
        auto const c = make_content(kind::v2, 4 * block, {21 * block + 9, 3});
        auto const s = source_from_torrent(c.torrent);
        auto const bare = load("d4:info" + metadata_of(s) + "e");
        auto const full = c.bytes.substr(0, std::size_t(c.piece_length));
        auto const last = std::size_t(pieces_of(s) - 1) * std::size_t(c.piece_length);
        auto const small = c.bytes.substr(last);

        assert_int_equal(bt_source_check(bare.get(), 0, full.data(), full.size()), -ENODATA);
        assert_int_equal(
                bt_source_check(bare.get(), uint32_t(pieces_of(s) - 1), small.data(), small.size()),
                1);
        auto const magnet = source_from_magnet(magnet_of(*bt_source_hash(s.get())));
        assert_int_equal(bt_source_check(magnet.get(), 0, full.data(), full.size()), -EINVAL);
}

// ---- peers ----

// A socket that takes connections and says nothing.
class listener
{
      public:
        listener()
        {
                struct sockaddr_in a = {};
                a.sin_family = AF_INET;
                a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                socklen_t len = sizeof a;
                auto *const at = reinterpret_cast<struct sockaddr *>(&a);
                assert_int_equal(bind(m_fd, at, sizeof a), 0);
                assert_int_equal(listen(m_fd, 8), 0);
                assert_int_equal(getsockname(m_fd, at, &len), 0);
                m_port = ntohs(a.sin_port);
        }
        ~listener()
        {
                close(m_fd);
        }
        int port() const
        {
                return m_port;
        }

      private:
        int m_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int m_port = 0;
};

// Who gave something comes before those that are only known.
void test_the_most_useful_peer_is_first(void **)
{
        auto const c = make_content(kind::v1, block, {20 * block});
        auto const s = source_from_torrent(c.torrent);
        auto const h = *bt_source_hash(s.get());
        store seeds(c, true), u(c, false);
        listener silent[6];
        client a, b;
        (void)a.add(s, seeds, bitmap(20, range(0, 20)).get());
        int const port = a.port();
        auto *const t = b.add(s, u);
        for (auto const &l : silent)
                meet(t, h, l.port());
        meet(t, h, port);
        want(t, range(0, 20));
        b.until("pieces", [&] { return u.passes == 20; });
        auto const bytes = save(b.saved(t, u));
        auto const peer =
                std::string("5:peersl6:\177\0\0\1", 14) + char(port >> 8) + char(port & 255);
        assert_true(has(bytes, peer));
}

// Also one that has called us, by where it can be called.
void test_who_has_called_is_kept(void **)
{
        auto const c = make_content(kind::v1, block, {20 * block});
        auto const s = source_from_torrent(c.torrent);
        auto const h = *bt_source_hash(s.get());
        store seeds(c, true), u(c, false);
        client a, b;
        auto *const seed = a.add(s, seeds, bitmap(20, range(0, 20)).get());
        auto *const t = b.add(s, u);
        int const port = a.port();
        want(t, range(0, 20));
        meet(seed, h, b.port());
        b.until("pieces", [&] { return u.passes == 20; });
        auto const bytes = save(b.saved(t, u));
        auto const peer =
                std::string("5:peersl6:\177\0\0\1", 14) + char(port >> 8) + char(port & 255);
        assert_true(has(bytes, peer));
}

// Nothing is told of a torrent that is removed.
void test_removed_before_it_is_saved(void **)
{
        auto const c = make_content(kind::v1, block, {20 * block});
        auto const s = source_from_torrent(c.torrent);
        client a;
        for (int i = 0; i < 20; i++) {
                store u(c, false);
                auto *const t = a.add(s, u);
                bt_torrent_save(t);
                a.remove(t, u);
                assert_int_equal(u.saved, 0);
        }
}

} // namespace

int main()
{
        CMUnitTest const tests[] = {
                cmocka_unit_test(test_metadata_is_kept_as_it_came),
                cmocka_unit_test(test_metadata_of_all_kinds),
                cmocka_unit_test(test_sources_of_a_torrent),
                cmocka_unit_test(test_sources_of_a_magnet),
                cmocka_unit_test(test_a_magnet_has_the_name),
                cmocka_unit_test(test_peers_that_are_kept),
                cmocka_unit_test(test_bad_bytes),
                cmocka_unit_test(test_have_v1),
                cmocka_unit_test(test_have_v2),
                cmocka_unit_test(test_have_hybrid),
                cmocka_unit_test(test_have_without_metadata),
                cmocka_unit_test(test_kept_without_metadata),
                cmocka_unit_test(test_wake_v1),
                cmocka_unit_test(test_wake_v2),
                cmocka_unit_test(test_wake_hybrid),
                cmocka_unit_test(test_wake_at_once),
                cmocka_unit_test(test_some_hashes_of_pieces),
                cmocka_unit_test(test_some_hashes_of_blocks),
                cmocka_unit_test(test_all_hashes),
                cmocka_unit_test(test_a_magnet_is_joined_with_its_metadata),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_check_without_hashes),
                cmocka_unit_test(test_the_most_useful_peer_is_first),
                cmocka_unit_test(test_who_has_called_is_kept),
                cmocka_unit_test(test_removed_before_it_is_saved),
        };
        return cmocka_run_group_tests(tests, nullptr, nullptr);
}
