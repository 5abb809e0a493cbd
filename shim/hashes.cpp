// SPDX-License-Identifier: MIT
// hashes.cpp: peers that do not tell hashes.
//
// A v2 magnet's metadata has one hash a file; those of its pieces come from peers, 512 at a time. A
// piece is not known to be right before. libtorrent 2.0.8 asks one peer, and another one only when
// something else comes from that: a peer that does not answer kept readers waiting for 70 s beside
// an honest one. A peer that rejects is asked again at once, 8,000 times a second, for ever.
//
// So whoever waits is helped along: three more peers are asked after half a second, and others
// later. libtorrent takes the answer, whoever was asked for it by whom. Of rejections nobody is
// told, but they can be seen: for each request of 53 bytes as many come back, and nothing else
// does.
#include "hashes.hpp"

#include "blame.hpp"
#include "swarm.hpp"
#include "torrent.hpp"

#include <libtorrent/disk_interface.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>

namespace
{

// BEP 52: a message "hash request", with its length before it.
constexpr std::uint8_t hash_request = 21;
constexpr int request_bytes = 4 + 1 + 32 + 4 * 4;
// "hash reject" is as long. A peer only rejects if in so many looks on end we sent the bytes of so
// many requests since the look before, and it sent as many, or up to twice as many, with something
// else between them: hashes are more.
constexpr int rejects_max = 64;
constexpr int rejecting_max = 3;
// Between two looks; libtorrent asks again at once, thousands of times a second. One look is enough
// then.
constexpr int rejects_flood = 512;
// Both may differ by so much: answers are under way, and there was the beginning.
constexpr int other_bytes = 10 * request_bytes;
constexpr auto look_interval = std::chrono::milliseconds(100);
// Pieces whose hashes are asked for at a time: libtorrent takes no others.
constexpr int range_pieces = 512;
// Until the hashes of a range are asked for once more, and twice as long each time: 16 KiB come
// for it, also if they were there and the piece just takes its time.
constexpr auto first_wait = std::chrono::milliseconds(500);
constexpr auto longest_wait = std::chrono::seconds(16);
constexpr int asked_at_once = 3;
// Ranges in which somebody waits.
constexpr std::size_t searches_max = 64;

int log2_up(std::int64_t n)
{
        int layers = 0;
        while ((std::int64_t(1) << layers) < n)
                layers++;
        return layers;
}

void put32(char *&to, std::int64_t n)
{
        for (int shift = 24; shift >= 0; shift -= 8)
                *to++ = char(std::uint8_t(n >> shift));
}

} // namespace

void small_talk::begin()
{
        m_before = chatter_of(m_peer);
        m_known = {};
        m_looked_at = lt::clock_type::now();
}

bool small_talk::only_rejects(lt::time_point now)
{
        if (now - m_looked_at < look_interval)
                return false;
        m_looked_at = now;
        auto const sum = chatter_of(m_peer);
        auto const up = sum.up - m_before.up - m_known.up;
        auto const down = sum.down - m_before.down - m_known.down;
        m_before = sum;
        m_known = {};
        bool const rejects = up >= rejects_max * request_bytes && down >= up - other_bytes &&
                             down <= 2 * up + other_bytes;
        if (rejects && up >= rejects_flood * request_bytes)
                m_rejecting = rejecting_max;
        else
                m_rejecting = rejects ? m_rejecting + 1 : 0;
        return m_rejecting >= rejecting_max;
}

void hashes::begin(bt_torrent &t, std::shared_ptr<lt::torrent_info const> info)
{
        m_torrent = &t;
        if (!info || !info->info_hashes().has_v2())
                return;
        m_info = std::move(info);
        for (auto *const p : m_peers)
                came(*p);
}

void hashes::came(small_talk &p)
{
        m_peers.insert(&p);
        p.begin();
        if (m_info)
                m_torrent->peers->wake();
}

void hashes::look_at(small_talk &p, lt::time_point now)
{
        if (m_info && p.only_rejects(now))
                m_torrent->blame.ban(p.peer());
}

void hashes::left(small_talk &p) noexcept
{
        m_peers.erase(&p);
        for (auto &s : m_searches)
                s.second.asked.erase(&p);
}

// False: the piece needs no hash but those that are in the metadata.
bool hashes::range_of(int piece, range &ret) const
{
        auto const &files = m_info->files();
        lt::piece_index_t const p(piece);
        auto const f = files.file_index_at_piece(p);
        if (m_info->info_hashes().has_v1() || files.pad_file_at(f) ||
            files.file_size(f) <= files.piece_length() || !m_info->piece_layer(f).empty())
                return false;
        ret = {int(f), (piece - int(files.piece_index_at_file(f))) / range_pieces};
        return true;
}

void hashes::passed(int piece)
{
        range r;
        if (!m_info || !range_of(piece, r))
                return;
        m_known.insert(r);
        m_searches.erase(r);
}

void hashes::tick(std::vector<int> const &awaited, lt::time_point now)
{
        if (!m_info)
                return;
        auto const peers = m_peers; // those that are hung up on leave it
        for (auto *const p : peers)
                if (m_peers.count(p) > 0)
                        look_at(*p, now);
        for (int const piece : awaited) {
                range r;
                if (!range_of(piece, r) || m_known.count(r) > 0)
                        continue;
                auto const known = m_searches.find(r);
                if (known == m_searches.end()) {
                        if (m_searches.size() >= searches_max)
                                m_searches.clear();
                        m_searches[r] = {now + first_wait, first_wait, {}};
                        continue;
                }
                auto &s = known->second;
                if (now < s.next)
                        continue;
                s.wait = std::min<lt::time_duration>(2 * s.wait, longest_wait);
                s.next = now + s.wait;
                ask(r, piece, s);
        }
}

// Asks those that have the piece and were asked least.
void hashes::ask(range const &r, int piece, search &s)
{
        for (int n = 0; n < asked_at_once; n++) {
                small_talk *next = nullptr;
                unsigned fewest = 0;
                for (auto *const p : m_peers) {
                        auto const i = s.asked.find(p);
                        unsigned const times = i == s.asked.end() ? 0 : i->second;
                        if ((!next || times < fewest) && !p->peer().in_handshake() &&
                            !p->peer().is_disconnecting() &&
                            p->peer().has_piece(lt::piece_index_t(piece))) {
                                next = p;
                                fewest = times;
                        }
                }
                if (!next)
                        return;
                s.asked[next] = fewest + 1;
                send(*next, r);
        }
}

// All hashes of the range, with the proofs up to the file's own hash.
void hashes::send(small_talk &p, range const &r) const
{
        lt::file_index_t const f(r.first);
        auto const &files = m_info->files();
        int const base = log2_up(files.piece_length() / lt::default_block_size);
        int const layers =
                log2_up((files.file_size(f) + lt::default_block_size - 1) / lt::default_block_size);
        std::int64_t const first = std::int64_t(r.second) * range_pieces;
        std::int64_t const left = files.file_num_pieces(f) - first;
        std::array<char, std::size_t(request_bytes)> message;
        char *to = message.data();
        put32(to, request_bytes - 4);
        *to++ = char(hash_request);
        auto const root = files.root(f);
        to = std::copy(root.begin(), root.end(), to);
        put32(to, base);
        put32(to, first);
        put32(to, std::min<std::int64_t>(range_pieces, std::int64_t(1) << log2_up(left)));
        put32(to, layers - base - 1);
        p.peer().send_buffer(message.data(), int(message.size()));
        p.sent(int(message.size()));
}
