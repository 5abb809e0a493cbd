// SPDX-License-Identifier: MIT
// blame.cpp: a wrong piece is the fault of who gave its wrong blocks, and of nobody else.
//
// Only the hash of a whole piece is known. libtorrent counts a wrong one against all who gave
// something of it and bans whoever has four more wrong ones than right ones, so one peer that lies
// gets those banned that it shares pieces with: of four honest ones all, in eight of eight runs.
// Its smart-ban plugin finds out who lied when the piece comes right, which is too late for them by
// then, and it confuses peers that share an address.
//
// Here nobody is banned for a share in wrong pieces. What was given of one is kept by block, as a
// digest with its giver; when the piece is right at last the givers of other bytes have lied. In
// the meantime libtorrent's parole does what it is for: who is on it is asked for whole pieces, so
// that the next wrong one shows who it is. As soon as a liar is found those who are on parole for
// no more than sharing pieces with it are off it. What was not asked for is never taken: it would
// come into the pieces of others.
#include "blame.hpp"

#include "error.hpp"
#include "inner.hpp"
#include "torrent.hpp"

#include <libtorrent/disk_interface.hpp>
#include <libtorrent/torrent_info.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>

namespace
{

// Requests that a peer may leave open; libtorrent makes 500 at a time at most. Further ones are
// those of a peer that can't say that it will not answer.
constexpr std::size_t requests_max = 4096;
// Blocks that nobody had asked for until a peer is hung up on: those that answer twice, or late,
// may send some.
constexpr std::size_t unasked_max = 64;
// What is kept of wrong pieces: so many blocks, a gibibyte of content. The oldest go first.
constexpr std::size_t witnessed_max = 65'536;
// What is kept of one wrong block: so many givers. More liars than that at once are found one after
// the other.
constexpr std::size_t witnesses_max = 8;
constexpr std::size_t bans_max = 1000;
// Until a banned peer may come again where nobody else is there, and twice as long each time.
constexpr auto ban_time = std::chrono::seconds(5);
constexpr unsigned ban_doublings_max = 6;
// Between two of them.
constexpr auto pardon_interval = std::chrono::seconds(2);

} // namespace

void requests::sent(lt::peer_request const &r)
{
        if (m_open.size() >= requests_max)
                m_open.erase(m_open.begin());
        m_open.emplace(int(r.piece), r.start);
}

void requests::rejected(lt::peer_request const &r)
{
        if (m_has_fast)
                m_open.erase({int(r.piece), r.start});
}

bool requests::answered(lt::peer_request const &r)
{
        bool const asked = m_open.erase({int(r.piece), r.start}) > 0;
        (asked ? m_answers : m_unasked)++;
        return asked;
}

bool requests::is_flooded() const
{
        return m_unasked > unasked_max && m_unasked > m_answers / 2;
}

void blame::begin(bt_torrent &t, digest_disk *disk, bool several)
{
        m_torrent = &t;
        m_disk = disk;
        m_several = several;
}

// Where peers may share an address those that we call are told apart by their port. Those that call
// us have another one each time.
blame::key blame::key_of(giver const &g) const
{
        return {g.at.address(), m_several && g.outgoing ? g.at.port() : 0};
}

blame::giver_ptr blame::came(lt::peer_connection_handle const &c)
{
        auto g = std::make_shared<giver>(giver{c.remote(), c.is_outgoing(), c, false});
        m_there.insert(g);
        return g;
}

void blame::left(giver_ptr const &g, lt::error_code const &why)
{
        m_there.erase(g);
        if (why == lt::errors::too_many_corrupt_pieces) {
                // It alone gave a whole piece that was wrong. Who is banned, and until when, is
                // kept here alone.
                lift_ban(g->peer);
                ban(g);
        }
        forget_trust(g->peer);
}

bool blame::is_banned(giver const &g) const
{
        auto const b = m_bans.find(key_of(g));
        return b != m_bans.end() && b->second.banned;
}

std::set<std::pair<lt::address, int>> blame::banned() const
{
        std::set<key> r;
        for (auto const &b : m_bans)
                if (b.second.banned)
                        r.insert(b.first);
        return r;
}

void blame::ban(giver_ptr const &g)
{
        if (g->punished)
                return; // for what it did before it was let in again
        auto const k = key_of(*g);
        if (m_bans.count(k) == 0 && m_bans.size() >= bans_max)
                m_bans.erase(std::min_element(m_bans.begin(), m_bans.end(),
                                              [](auto const &one, auto const &other) {
                                                      return one.second.since < other.second.since;
                                              }));
        auto &b = m_bans[k];
        b = {g->at, g->outgoing, true, b.times + 1, lt::clock_type::now()};
        g->punished = true;
        for (auto const &c : m_cases)
                for (auto const &other : c.second.givers)
                        other->punished |= key_of(*other) == k;
        std::vector<giver_ptr> same;
        for (auto const &other : m_there)
                if (key_of(*other) == k)
                        same.push_back(other);
        for (auto const &other : same) {
                other->punished = true;
                other->peer.disconnect(lt::errors::peer_banned, lt::operation_t::bittorrent,
                                       lt::peer_connection_interface::failure);
        }
        look_again_at_paroles();
}

void blame::ban(lt::peer_connection_handle const &peer)
{
        auto const g = std::find_if(m_there.begin(), m_there.end(),
                                    [&](auto const &other) { return other->peer == peer; });
        if (g != m_there.end())
                ban(giver_ptr(*g));
}

// Only what comes first counts: libtorrent takes nothing for a block that is there.
void blame::gave(giver_ptr const &g, lt::peer_request const &r)
{
        if (m_given_otherwise.count(int(r.piece)) > 0)
                return;
        auto &given = m_given[int(r.piece)];
        if (given.empty()) {
                auto const info = m_torrent->handle.torrent_file();
                given.resize(!info ? 0
                                   : std::size_t((info->piece_size(r.piece) +
                                                  lt::default_block_size - 1) /
                                                 lt::default_block_size));
        }
        auto const i = std::size_t(r.start / lt::default_block_size);
        if (i < given.size() && !given[i])
                given[i] = g;
}

bool blame::knows_givers(int piece) const
{
        return m_given.count(piece) > 0;
}

void blame::given_otherwise(int piece)
{
        m_given_otherwise.insert(piece);
}

bool blame::is_given(lt::peer_request const &r) const
{
        auto const p = m_given.find(int(r.piece));
        auto const i = std::size_t(r.start / lt::default_block_size);
        return p != m_given.end() && i < p->second.size() && p->second[i];
}

void blame::unwritten(lt::peer_request const &r)
{
        auto const p = m_given.find(int(r.piece));
        auto const i = std::size_t(r.start / lt::default_block_size);
        if (p != m_given.end() && i < p->second.size())
                p->second[i].reset();
}

void blame::restored(int piece)
{
        m_given_otherwise.erase(piece);
        m_given.erase(piece);
}

void blame::failed(int piece)
{
        m_given_otherwise.erase(piece);
        auto const p = m_given.find(piece);
        if (p == m_given.end())
                return; // no peer gave anything of it
        auto const given = std::move(p->second);
        m_given.erase(p);
        std::set<giver_ptr> givers(given.begin(), given.end());
        bool const alone = givers.size() == 1;
        givers.erase(nullptr);
        if (givers.empty())
                return; // none that is known
        auto const by = *givers.begin();
        for (auto const &g : givers)
                forget_trust(g->peer);
        auto &c = m_cases[piece];
        if (c.blocks.empty()) {
                c.blocks.resize(given.size());
                m_witnessed += given.size();
        }
        c.number = ++m_numbers;
        c.givers.insert(givers.begin(), givers.end());
        auto const owner = m_torrent->weak_from_this();
        m_disk->digest(m_torrent->id, piece, [owner, piece, given](piece_digest const &d) {
                if (auto const t = owner.lock())
                        t->blame.note(piece, given, d);
        });
        keep_bounded();
        // libtorrent puts them on parole as soon as this returns.
        boost::asio::post(*network_of(*m_torrent), [owner, alone, by] {
                (void)guarded(nullptr, [&] {
                        auto const t = owner.lock();
                        if (t && alone)
                                t->blame.ban(by);
                        else if (t)
                                t->blame.look_again_at_paroles();
                        return 0;
                });
        });
}

// What was in the piece when it was wrong. Who gives a block twice gives the same bytes.
void blame::note(int piece, std::vector<giver_ptr> const &given, piece_digest const &d)
{
        auto const c = m_cases.find(piece);
        if (c == m_cases.end() || d.blocks.size() != given.size() ||
            d.blocks.size() != c->second.blocks.size())
                return;
        std::vector<giver_ptr> liars;
        for (std::size_t i = 0; i < given.size(); i++) {
                auto &known = c->second.blocks[i];
                if (!given[i])
                        continue;
                auto const before = std::find_if(known.begin(), known.end(),
                                                 [&](auto const &w) { return w.who == given[i]; });
                if (before == known.end()) {
                        if (known.size() < witnesses_max)
                                known.push_back({given[i], d.blocks[i]});
                } else if (before->gave != d.blocks[i]) {
                        liars.push_back(given[i]);
                }
        }
        for (auto const &l : liars)
                ban(l);
}

void blame::passed(int piece)
{
        m_given_otherwise.erase(piece);
        m_given.erase(piece);
        if (m_cases.count(piece) == 0)
                return;
        m_disk->digest(m_torrent->id, piece,
                       [owner = m_torrent->weak_from_this(), piece](piece_digest const &d) {
                               if (auto const t = owner.lock())
                                       t->blame.judge(piece, d);
                       });
}

// The piece is right. If it is no more by the time that it was read, nobody is judged by it.
void blame::judge(int piece, piece_digest const &right)
{
        auto const i = m_cases.find(piece);
        if (i == m_cases.end())
                return;
        auto const c = std::move(i->second);
        m_cases.erase(i);
        m_witnessed -= c.blocks.size();
        lt::piece_index_t const p(piece);
        auto const info = m_torrent->handle.torrent_file();
        bool const is_right =
                info && right.blocks.size() == c.blocks.size() &&
                (!info->info_hashes().has_v1() || info->hash_for_piece(p) == right.whole);
        std::set<giver_ptr> liars;
        for (std::size_t b = 0; is_right && b < c.blocks.size(); b++)
                for (auto const &w : c.blocks[b])
                        if (w.gave != right.blocks[b])
                                liars.insert(w.who);
        for (auto const &l : liars)
                ban(l);
        look_again_at_paroles();
}

// On parole stays who gave something of a wrong piece that none of its givers is known to have
// spoilt.
void blame::look_again_at_paroles()
{
        std::set<giver_ptr> suspects;
        for (auto const &c : m_cases) {
                auto const &givers = c.second.givers;
                if (std::none_of(givers.begin(), givers.end(),
                                 [](auto const &g) { return g->punished; }))
                        suspects.insert(givers.begin(), givers.end());
        }
        for (auto const &g : m_there)
                if (suspects.count(g) == 0)
                        end_parole(g->peer);
}

void blame::keep_bounded()
{
        while (m_witnessed > witnessed_max && m_cases.size() > 1) {
                auto const oldest = std::min_element(
                        m_cases.begin(), m_cases.end(), [](auto const &a, auto const &b) {
                                return a.second.number < b.second.number;
                        });
                m_witnessed -= oldest->second.blocks.size();
                m_cases.erase(oldest);
        }
}

bool blame::pardon(lt::time_point now, lt::tcp::endpoint *ret)
{
        if (now - m_pardoned_at < pardon_interval)
                return false;
        auto const ready = [](ban_entry const &b) {
                return b.since + ban_time * (1 << std::min(b.times - 1, ban_doublings_max));
        };
        ban_entry *first = nullptr;
        for (auto &b : m_bans)
                if (b.second.banned && (!first || ready(b.second) < ready(*first)))
                        first = &b.second;
        if (!first || now < ready(*first))
                return false;
        m_pardoned_at = now;
        first->banned = false;
        *ret = first->at;
        return first->outgoing;
}
