// SPDX-License-Identifier: MIT
// spares.cpp: the end of a piece that a reader waits for.
//
// When all blocks of a piece were asked for its last ones are with the slowest peers: one of 50
// Mbit/s among twenty of 0.3 was done after a second, and the others held five blocks each for two
// more. libtorrent asks a peer that has nothing left to do for one of those at a time, a round trip
// each. Here such a peer is asked at once for all that it would bring sooner.
//
// libtorrent knows nothing of that. It takes what it has not asked for itself where it has nothing
// yet, and throws it away where the block is on its way to the disk. So the blocks are kept until
// nothing else of the piece is missing, and the piece is completed with them; what the slow ones
// were asked for is taken back then.
#include "spares.hpp"

#include "conduct.hpp"
#include "inner.hpp"
#include "torrent.hpp"

#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <utility>

using std::chrono::milliseconds;

namespace
{

// A second peer is asked if it takes less than such a part of the time, and saves so much; for a
// piece that was not asked for before a reader came to wait for it, after a seek, or that is late,
// sooner than for one that comes in its turn. With half of the time and 0.2 s that was 3 % of what
// thirty uneven peers gave of a film, and with these it is 1.8.
constexpr double share = 0.4, share_sought = 0.65;
constexpr double worth_s = 0.3, worth_sought_s = 0.05;
// Where no reader waits for the piece yet the block has to be as late as this, and that is looked
// at in every fourth look.
constexpr double unawaited_late_s = 4;
constexpr unsigned look_at_all = 4;
// At most so many of a piece's blocks: one in two, besides those that are with peers that have not
// given anything and should have; and so many in all, 8 MiB.
constexpr int of_blocks = 2;
constexpr std::size_t blocks_max = 512;

struct late_block {
        conduct *holder;
        int block;
        double seconds, rank_s; // conduct::due_block
};

} // namespace

void spares::begin(bt_torrent &t, lt::torrent_handle const &h)
{
        m_torrent = &t;
        m_handle = h;
}

lt::peer_request spares::request_of(int piece, int block) const
{
        auto const info = m_handle.torrent_file();
        int const start = block * lt::default_block_size;
        int const size = info ? info->piece_size(lt::piece_index_t(piece)) : 0;

        return {lt::piece_index_t(piece), start, std::min(lt::default_block_size, size - start)};
}

void spares::look(peers const &all, lt::time_point now)
{
        auto const awaited = m_torrent->anchor.awaited();
        std::vector<int> gone;
        for (auto const &c : m_came)
                if (!m_torrent->anchor.wants(c.first))
                        gone.push_back(c.first);
        for (int const piece : gone)
                forget(all, piece);
        bool const at_all = m_looks++ % look_at_all == 0;
        if (all.size() < 2 || (awaited.empty() && !at_all))
                return;
        for (auto const &q : m_handle.get_download_queue()) {
                bool const waits =
                        std::binary_search(awaited.begin(), awaited.end(), int(q.piece_index));
                if (!waits && !(at_all && m_torrent->anchor.wants(int(q.piece_index))))
                        continue;
                if (m_came.count(int(q.piece_index)) == 0 || !complete(all, q))
                        ask(all, q, waits ? 0 : unawaited_late_s, now);
        }
}

void spares::look_at_sought(peers const &all, lt::time_point now)
{
        if (all.size() < 2 || !m_torrent->anchor.has_urgent())
                return;
        for (auto const &q : m_handle.get_download_queue())
                if (m_torrent->anchor.is_urgent(int(q.piece_index)))
                        ask(all, q, 0, now);
}

void spares::ask(peers const &all, lt::partial_piece_info const &q, double least_s,
                 lt::time_point now)
{
        bool const sought = m_torrent->anchor.is_urgent(int(q.piece_index));
        double const least = std::max(least_s, sought ? worth_sought_s : worth_s);
        int const piece(q.piece_index);
        int spent = 0, most = q.blocks_in_piece / of_blocks;
        if (q.requested == 0 || q.requested + q.finished + q.writing < q.blocks_in_piece)
                return; // libtorrent has some to ask for yet
        std::size_t kept = 0;
        for (auto const &c : m_came)
                kept += c.second.size();
        std::vector<late_block> blocks;
        for (auto const &p : all) {
                kept += p.first->spares();
                spent += p.first->spares_of(piece);
                for (auto const &due : p.first->due(piece, now)) {
                        int const block = due.start / lt::default_block_size;
                        most += p.first->pipe.gives_nothing(p.first->owed(), now);
                        if (block < q.blocks_in_piece &&
                            q.blocks[block].state == lt::block_info::requested)
                                blocks.push_back({p.first, block, due.seconds, due.rank_s});
                }
        }
        auto &came = m_came[piece];
        spent += int(came.size());
        // The one that comes last is asked for first. One that several hold comes with the first.
        std::sort(blocks.begin(), blocks.end(),
                  [](late_block const &a, late_block const &b) { return a.rank_s > b.rank_s; });
        for (auto const &b : blocks) {
                auto const r = request_of(piece, b.block);
                bool again = came.count(b.block) > 0;
                conduct *best = nullptr;
                double best_s = 0;
                if (spent >= most || kept >= blocks_max)
                        break;
                if (b.seconds < least)
                        continue;
                for (auto const &p : all) {
                        again = again || p.first->has_spare(r, now) ||
                                (p.first != b.holder && p.first->is_asked(r));
                        double const s = p.first->would_take(piece, now);
                        if (p.first != b.holder && s > 0 && (!best || s < best_s)) {
                                best = p.first;
                                best_s = s;
                        }
                }
                // One on parole gives whole pieces, which tell who lies: it is left to that.
                bool const soon = sought && !is_on_parole(b.holder->peer());
                double const worth = soon ? worth_sought_s : worth_s;
                if (!best)
                        break;
                if (again || best_s > (soon ? share_sought : share) * b.seconds ||
                    b.seconds - best_s < worth)
                        continue;
                best->ask_spare(r, now);
                spent++;
                kept++;
        }
}

bool spares::ask_one(conduct &c, int piece, lt::time_point now)
{
        auto const queue = m_handle.get_download_queue();
        auto const q = std::find_if(queue.begin(), queue.end(),
                                    [&](auto const &p) { return int(p.piece_index) == piece; });
        if (!c.peer().has_piece(lt::piece_index_t(piece)))
                return false;
        for (int i = 0; i == 0 || (q != queue.end() && i < q->blocks_in_piece); i++) {
                unsigned const state = q == queue.end() ? unsigned(lt::block_info::none)
                                                        : unsigned(q->blocks[i].state);
                auto const r = request_of(piece, i);
                bool const requested = state == lt::block_info::requested;
                // What libtorrent means to ask this peer for, once that has answered, counts as
                // asked for already: after a seek that may be all of the piece.
                bool const meant =
                        requested && q->blocks[i].peer() == c.peer().remote() && !c.is_asked(r);
                if (requested && c.is_cancelled(r))
                        c.ask_again(r);
                else if (state == lt::block_info::none || meant)
                        c.ask_spare(r, now);
                else
                        continue;
                return true;
        }
        return false;
}

void spares::came(peers const &all, blame::giver_ptr const &giver, lt::peer_request const &r,
                  lt::span<char const> data)
{
        int const piece(r.piece);
        int const block = r.start / lt::default_block_size;
        if (!m_torrent->anchor.wants(piece) || !(r == request_of(piece, block)) ||
            data.size() < r.length)
                return;
        m_came[piece][block] = {giver, std::vector<char>(data.begin(), data.begin() + r.length)};
        for (auto const &q : m_handle.get_download_queue())
                if (int(q.piece_index) == piece) {
                        (void)complete(all, q);
                        return;
                }
}

// What libtorrent has already it leaves as it is, whatever it is given for it.
bool spares::complete(peers const &all, lt::partial_piece_info const &q)
{
        int const piece(q.piece_index);
        auto &came = m_came[piece];
        auto const info = m_handle.torrent_file();
        std::vector<lt::peer_request> held;
        if (!info)
                return false;
        for (int i = 0; i < q.blocks_in_piece; i++) {
                auto const state = q.blocks[i].state;
                if (state == lt::block_info::finished || state == lt::block_info::writing)
                        continue;
                auto const c = came.find(i);
                if (c == came.end())
                        return false;
                held.push_back(request_of(piece, i));
        }
        std::vector<char> bytes(std::size_t(info->piece_size(q.piece_index)));
        for (auto const &r : held) {
                auto const &block = came[r.start / lt::default_block_size];
                std::copy(block.data.begin(), block.data.end(), bytes.begin() + r.start);
                m_torrent->blame.gave(block.giver, r);
        }
        m_handle.add_piece(q.piece_index, bytes.data());
        std::vector<conduct *> there; // a list of its own: libtorrent may be told of it
        for (auto const &p : all)
                there.push_back(p.first);
        for (auto *const c : there)
                for (auto const &r : held)
                        c->take_back(r, lt::clock_type::now());
        forget(all, piece);
        return true;
}

void spares::forget(peers const &all, int piece)
{
        if (m_came.erase(piece) == 0)
                return;
        for (auto const &p : all)
                p.first->take_spares_back(piece);
}
