// SPDX-License-Identifier: MIT
// anchor.cpp: keeps peers at the ready while nobody reads.
//
// A torrent in which no piece is wanted is finished to libtorrent: it tells its peers that it is
// not interested. Seeds of libtorrent's kind then hang up; others choke, and unchoke again in
// rounds of ten seconds (Transmission: a read of 1.6 MB in 64 KiB pieces never ended within a
// minute); and the connection's slow start is over, so the next read begins with two requests in
// flight.
//
// So one missing piece, the anchor, is always wanted and never asked for: libtorrent is given zeros
// for it by add_piece(), our disk swallows them and keeps the answer to the piece's hash back. For
// the picker the piece is complete and being checked, for the peers' interest it is missing. When a
// reader wants the anchor itself another piece takes its place and the hash is answered, wrong,
// which blames nobody, as no peer has sent any of it; the piece is then missing like any other.
#include "anchor.hpp"

#include "error.hpp"
#include "swarm.hpp"
#include "torrent.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <set>

// A reader comes along that far at most before the anchor has to move: twice the largest window.
static constexpr int margin_bytes = 64 << 20;

// Of a small torrent the anchor is in the last quarter. When a player begins, and several pieces
// are wanted at once, one of them would else be the anchor: those behind it would be asked for
// while it is given back, and come before it. A film of 6 pieces of 4 MiB stood still for 3.6 s.
static int margin_of(lt::torrent_info const &info)
{
        constexpr int least = 48;
        int const pieces = info.num_pieces();
        int const margin = std::max(pieces / 8, std::min(pieces * 3 / 4, least));
        return std::max(1, std::min(margin, margin_bytes / info.piece_length()));
}

void anchor::begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io,
                   anchor_disk *disk, std::vector<int> const &have)
{
        auto const info = h.torrent_file();
        if (!info || !info->is_valid() || m_disk)
                return;
        m_handle = h;
        m_io = io;
        m_owner = t.weak_from_this();
        m_id = t.id;
        m_parts = t.parts;
        m_missing = m_free = piece_set(info->num_pieces());
        for (int const p : have) {
                m_missing.erase(p);
                m_free.erase(p);
        }
        m_margin = margin_of(*info);
        m_ranks.begin(blocks_of(*info, 0), info->num_pieces() - 1,
                      blocks_of(*info, info->num_pieces() - 1));
        m_disk = disk; // from here on the sets are looked at
        m_piece = choose(-1);
        if (m_piece >= 0)
                m_handle.piece_priority(lt::piece_index_t(m_piece), lt::low_priority);
}

void anchor::files_checked()
{
        m_checked = true;
        hold();
}

// A missing piece that nobody wants, well ahead of every reader so that none comes along soon, and
// of those the lowest: to find out whether a peer is of interest libtorrent goes through the pieces
// from the first on, up to one that is missing and wanted, for each peer and each change.
int anchor::choose(int but)
{
        if (!m_parts.anchor)
                return -1;
        // What peers gave of a piece would be thrown away with the anchor, and they be blamed.
        std::set<int> begun;
        for (auto const &q : m_handle.get_download_queue())
                if (q.finished + q.writing > 0)
                        begun.insert(int(q.piece_index));
        int spare = -1;
        for (int p = m_free.next(m_margin); p >= 0;) {
                if (m_handle.have_piece(lt::piece_index_t(p))) { // before passed() says so
                        m_missing.erase(p);
                        m_free.erase(p);
                } else if (p != but && begun.count(p) == 0) {
                        auto const behind = m_wanted.upper_bound(p);
                        if (behind == m_wanted.begin() || p - std::prev(behind)->first > m_margin)
                                return p;
                        spare = spare < 0 ? p : spare;
                        p = std::prev(behind)->first + m_margin;
                }
                p = m_free.next(p + 1);
        }
        for (int p = spare >= 0 ? spare : m_free.next(0); p >= 0; p = m_free.next(p + 1))
                if (p != but && begun.count(p) == 0 && !m_handle.have_piece(lt::piece_index_t(p)))
                        return p;
        return -1;
}

void anchor::set_wanted(int piece, lt::download_priority_t priority)
{
        if (!m_missing.has(piece))
                return; // it came meanwhile
        if (priority == lt::top_priority)
                m_awaited.insert(piece);
        else
                m_awaited.erase(piece);
        if (priority > lt::dont_download) {
                m_wanted[piece] = priority;
                m_free.erase(piece);
        } else if (m_wanted.erase(piece) > 0) {
                m_free.insert(piece);
                m_urgent.erase(piece);
        }
        m_ranks.change(piece, priority);
}

lt::download_priority_t anchor::as_told(int piece) const
{
        auto const wish = wish_for(piece);
        if (wish == lt::dont_download)
                return piece == m_piece ? lt::low_priority : wish;
        if (!m_parts.falling)
                return lt::default_priority;
        return wish == lt::top_priority ? wish : m_ranks.of(piece, wish);
}

anchor::priorities anchor::rank()
{
        auto const t = m_owner.lock();
        if (!t || !m_parts.falling)
                return {};
        std::map<int, int> left;
        for (auto const &q : m_handle.get_download_queue())
                left[int(q.piece_index)] = q.blocks_in_piece - q.requested - q.writing - q.finished;
        return m_ranks.look(
                left, [&](int p) { return is_open(p); },
                [&](int p) { return t->peers->may_give(p); });
}

// No piece becomes wanted, and none unwanted, so libtorrent looks at nobody's interest.
void anchor::look_at_ranks()
{
        auto const changes = rank();
        if (!changes.empty())
                m_handle.prioritize_pieces(changes);
}

bool anchor::wants_of(lt::peer_connection_handle const &peer) const
{
        auto const of_peer = [&](auto const &w) {
                return is_open(w.first) && peer.has_piece(lt::piece_index_t(w.first));
        };
        return std::any_of(m_wanted.begin(), m_wanted.end(), of_peer) ||
               (m_piece >= 0 && peer.has_piece(lt::piece_index_t(m_piece)));
}

// Before libtorrent looks at whom that leaves of no interest.
void anchor::tell(priorities const &changes)
{
        m_handle.prioritize_pieces(changes);
        if (auto const t = m_owner.lock())
                shielded([&] { t->peers->keep_interest(); });
}

// add_piece() does not look at what it is given but hands it to the disk, so one zeroed region that
// is never touched serves.
bool anchor::fill_up(int piece)
{
        auto const info = m_handle.torrent_file();
        int const size = info ? info->piece_size(lt::piece_index_t(piece)) : 0;
        std::unique_ptr<char, void (*)(void *)> const zeros(
                static_cast<char *>(std::calloc(1, std::size_t(size))), std::free);
        if (!zeros || size <= 0)
                return false;
        m_handle.add_piece(lt::piece_index_t(piece), zeros.get());
        return true;
}

void anchor::hold()
{
        if (m_piece < 0 || m_held || !m_checked)
                return;
        m_disk->hold(m_id, m_piece);
        m_held = shielded_or(false, [&] { return fill_up(m_piece); });
        if (!m_held)
                m_disk->release(m_id);
}

// The anchor becomes an ordinary piece; another one takes its place.
void anchor::drop(int piece, priorities &changes)
{
        bool const was_held = m_held;
        if (was_held && m_missing.has(piece))
                m_let_go.insert(piece);
        m_piece = choose(piece);
        m_held = false;
        if (m_piece >= 0)
                changes.emplace_back(lt::piece_index_t(m_piece), lt::low_priority);
        if (was_held)
                m_disk->release(m_id);
}

// A window's far end moves to and fro with its reader's rate: to take all requests back for it
// would delay the film, by a second at times. So a little that comes right behind what is still
// wanted does not count, and neither does what nobody was asked for.
bool anchor::were_asked_for(std::set<int> const &pieces) const
{
        constexpr std::size_t least = 2, share = 4;
        std::set<int> left;
        for (int const p : pieces) {
                int before = p - 1;
                while (before >= 0 && has(before))
                        before--;
                bool const behind = m_wanted.count(before) > 0 ||
                                    (pieces.count(before) > 0 && left.count(before) == 0);
                if (!behind)
                        left.insert(p);
        }
        bool const little = pieces.size() - left.size() <= std::max(least, m_wanted.size() / share);
        auto const &gone = little ? left : pieces;
        if (gone.empty())
                return false;
        auto const queue = m_handle.get_download_queue();
        return std::any_of(queue.begin(), queue.end(), [&](auto const &q) {
                return q.requested > 0 && gone.count(int(q.piece_index)) > 0;
        });
}

// libtorrent asks a peer for more when that peer's interest is looked at again, which the change of
// a priority to or from none brings about. Both changes are made before it looks.
void anchor::kick(int piece, lt::download_priority_t priority)
{
        m_handle.prioritize_pieces(priorities{{lt::piece_index_t(piece), lt::dont_download}});
        m_handle.prioritize_pieces(priorities{{lt::piece_index_t(piece), priority}});
}

void anchor::look_again()
{
        auto const awaited = std::find_if(m_awaited.begin(), m_awaited.end(),
                                          [&](int p) { return m_held_back.count(p) == 0; });
        if (m_piece >= 0)
                kick(m_piece, lt::low_priority);
        else if (awaited != m_awaited.end())
                kick(*awaited, lt::top_priority);
}

// libtorrent itself asks for a failed piece again in its next tick of a second.
void anchor::restored(int piece)
{
        m_let_go.erase(piece);
        if (piece == m_piece && m_held) { // the torrent was stopped by an error
                m_held = false;
                hold();
                return;
        }
        auto const w = m_wanted.find(piece);
        m_put_off.erase(piece);
        if (w != m_wanted.end() && m_held_back.count(piece) == 0) {
                // libtorrent had nothing to ask for, and would ask for one block, in end game.
                if (auto const t = m_owner.lock())
                        shielded([&] { t->peers->will_ask(); });
                kick(piece, as_told(piece));
        }
        if (m_urgent.count(piece) > 0)
                make_way(true);
}

// libtorrent knows nothing of what web seeds are asked for, so it is told that these are not
// wanted.
void anchor::hold_back(std::vector<int> const &pieces)
{
        priorities changes;
        for (int const p : pieces) {
                m_held_back.insert(p);
                m_put_off.erase(p);
                changes.emplace_back(lt::piece_index_t(p), lt::dont_download);
        }
        tell(changes);
}

void anchor::give_free(std::vector<int> const &pieces)
{
        priorities changes;
        for (int const p : pieces) {
                if (m_held_back.erase(p) == 0 || !wants(p))
                        continue;
                changes.emplace_back(lt::piece_index_t(p), as_told(p));
        }
        if (changes.empty())
                return;
        m_handle.prioritize_pieces(changes);
        for (auto const &c : changes)
                if (m_wanted.at(int(c.first)) == lt::top_priority)
                        m_urgent.insert(int(c.first));
        make_way(true);
}

void anchor::put_off_begun(std::size_t peers, std::function<bool(int piece)> const &is_there)
{
        constexpr std::size_t blocks_most = 2048;
        std::set<std::pair<int, int>> begun; // priority, the piece with its sign turned
        auto open = m_awaited;               // some of it is to be asked for yet
        std::size_t n = 0, most = peers * 3 / 2;
        std::set<int> off;
        priorities changes;

        if (m_awaited.empty() && m_put_off.empty())
                return;
        for (auto const &q : m_handle.get_download_queue()) {
                int const piece(q.piece_index);
                bool const asked = q.requested + q.writing + q.finished == q.blocks_in_piece;
                most = std::min(most, blocks_most / std::size_t(q.blocks_in_piece));
                if (asked)
                        open.erase(piece);
                if (asked || !wants(piece) || is_held_back(piece))
                        continue;
                n++;
                if (m_awaited.count(piece) == 0)
                        begun.emplace(priority_of(piece), -piece);
        }
        if (std::any_of(open.begin(), open.end(),
                        [&](int p) { return !is_held_back(p) && is_there(p); }))
                for (auto b = begun.begin(); b != begun.end() && n > most; ++b, n--)
                        off.insert(-b->second);
        for (int const p : off)
                if (m_put_off.count(p) == 0)
                        changes.emplace_back(lt::piece_index_t(p), lt::dont_download);
        for (int const p : m_put_off)
                if (off.count(p) == 0 && wants(p))
                        changes.emplace_back(lt::piece_index_t(p), as_told(p));
        m_put_off = std::move(off);
        if (!changes.empty())
                tell(changes);
}

void anchor::make_way(bool anew)
{
        auto const t = m_owner.lock();
        if (!t || !m_parts.make_way || (m_awaited.empty() && m_urgent.empty()))
                return;
        std::set<int> coming, none = m_awaited; // all of it was asked for; nothing of it
        for (auto const &q : m_handle.get_download_queue()) {
                int const asked = q.requested + q.writing + q.finished;
                if (asked == q.blocks_in_piece)
                        coming.insert(int(q.piece_index));
                if (asked > 0)
                        none.erase(int(q.piece_index));
        }
        auto first = m_awaited;
        first.insert(m_urgent.begin(), m_urgent.end());
        for (int const p : first) {
                if (m_held_back.count(p) > 0)
                        continue;
                // What it was asked for was taken back for another one.
                bool const lost = !anew && none.count(p) > 0 && m_urgent.insert(p).second;
                bool const open = lost || (anew && m_urgent.count(p) > 0 && coming.count(p) == 0);
                t->peers->make_way(p, !open);
        }
}

void anchor::ask_again(int piece)
{
        if (m_held_back.count(piece) > 0 || !wants(piece))
                return;
        m_urgent.insert(piece);
        look_again();
        make_way(true);
}

void anchor::want(std::vector<bt_want> const &list, std::function<void()> const &first)
{
        if (!m_disk)
                return;
        bool const was_idle = m_wanted.empty();
        priorities changes;
        changes.reserve(list.size() + 1);
        std::set<int> dropped;
        m_ranks.turn();
        for (auto const &w : list) {
                int const p = int(w.piece);
                if (w.priority == 0 && m_wanted.count(p) > 0)
                        dropped.insert(p);
                set_wanted(p, lt::download_priority_t(w.priority));
        }
        if (m_piece < 0 ? m_free.count() > 0 : m_wanted.count(m_piece) > 0)
                drop(m_piece, changes);
        first();
        for (auto const &w : list) {
                int const p = int(w.piece);
                lt::download_priority_t const wish(w.priority);
                if (w.urgent && wants(p)) // it may have come meanwhile
                        m_urgent.insert(p);
                else
                        m_urgent.erase(p);
                if (wish == lt::dont_download || wish == lt::top_priority)
                        m_put_off.erase(p);
                changes.emplace_back(lt::piece_index_t(p),
                                     p == m_piece || is_open(p) ? as_told(p) : lt::dont_download);
        }
        shielded([&] { // without memory they come in any order
                auto const ranked = rank();
                changes.insert(changes.end(), ranked.begin(), ranked.end());
        });
        auto const t = m_owner.lock();
        if (t)
                shielded([&] { t->peers->will_ask(); });
        bool const in_shares = t && t->peers->shares();
        tell(changes);
        hold();
        shielded([&] {
                if (t && m_parts.cancel && were_asked_for(dropped))
                        t->peers->take_back_unwanted();
                make_way(true);
        });
        // Each peer was asked for its share of what is wanted most. The second look asks it for
        // what comes behind that at once, not when it has given something. (And where the length of
        // its queue is libtorrent's: in end game it is asked for one block, and for the rest when
        // that one has come, 131 ms a piece against 44 on loopback.)
        if ((was_idle || in_shares) && !m_wanted.empty() && m_piece >= 0)
                boost::asio::post(*m_io, [owner = m_owner] {
                        (void)guarded(nullptr, [&] {
                                if (auto const owned = owner.lock()) {
                                        owned->peers->will_ask();
                                        owned->anchor.look_again();
                                        owned->peers->end_look_later();
                                }
                                return 0;
                        });
                });
}

void anchor::passed(int piece)
{
        if (!m_disk)
                return;
        m_ranks.change(piece, lt::dont_download);
        m_wanted.erase(piece);
        m_awaited.erase(piece);
        m_urgent.erase(piece);
        m_held_back.erase(piece);
        m_put_off.erase(piece);
        m_missing.erase(piece);
        m_free.erase(piece);
        if (piece != m_piece)
                return;
        priorities changes;
        drop(piece, changes);
        m_handle.prioritize_pieces(changes);
        hold();
}

void anchor::lost(int piece)
{
        if (!m_disk || m_missing.has(piece))
                return;
        m_missing.insert(piece);
        m_free.insert(piece);
        if (m_piece >= 0)
                return;
        priorities changes;
        drop(-1, changes);
        m_handle.prioritize_pieces(changes);
        hold();
}
