// SPDX-License-Identifier: MIT
// anchor.hpp: the pieces that are wanted, and the one that keeps peers at the ready.
#pragma once

#include "bt.h"
#include "parts.hpp"
#include "piece_set.hpp"
#include "ranks.hpp"

#include <libtorrent/download_priority.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_info.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

// The part of the disk that knows about anchors (disk.cpp). Network thread only.
struct anchor_disk {
        // What is written to the piece goes nowhere, and the answer to its hash is kept back.
        virtual void hold(uint64_t id, int piece) = 0;
        // Answers the hash that was kept back: wrong, so that the piece becomes an ordinary missing
        // one.
        virtual void release(uint64_t id) = 0;
        virtual ~anchor_disk() = default;
};

inline int blocks_of(lt::torrent_info const &info, int piece)
{
        int const size = info.piece_size(lt::piece_index_t(piece));
        return (size + lt::default_block_size - 1) / lt::default_block_size;
}

// Which pieces are wanted, and the one that keeps the interest of peers while none is (anchor.cpp).
// Network thread only.
class anchor
{
      public:
        // The metadata is there; nothing is wanted yet and the files are not checked. have: the
        // pieces that libtorrent was told are there.
        void begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io,
                   anchor_disk *disk, std::vector<int> const &have);
        // libtorrent takes pieces from here on.
        void files_checked();
        // Changes what is wanted. first is called before peers are asked for anything, and may hold
        // pieces back from them.
        void want(std::vector<bt_want> const &list, std::function<void()> const &first);
        // The piece came and its hash is right: it is there, and no longer wanted.
        void passed(int piece);
        // The piece was there, and is not any more; nobody wants it.
        void lost(int piece);
        // libtorrent counts the piece as missing again, because its hash was wrong or because it
        // was the anchor, and has asked nobody for it. If it is wanted it is asked for.
        void restored(int piece);
        // Somebody wants pieces that are missing.
        bool wants_pieces() const
        {
                return !m_wanted.empty();
        }
        bool wants(int piece) const
        {
                return m_wanted.count(piece) > 0;
        }
        bool may_be_asked_for(int piece) const
        {
                return wants(piece) || piece == m_piece;
        }
        // The peer has something of which libtorrent takes an interest in it.
        bool wants_of(lt::peer_connection_handle const &peer) const;
        // Something is missing of which peers are kept interested.
        bool keeps_interest() const
        {
                return m_piece >= 0 || !m_wanted.empty();
        }
        // It is missing and nobody wants it.
        bool is_free(int piece) const
        {
                return m_free.has(piece);
        }
        // The piece is there.
        bool has(int piece) const
        {
                return m_disk && !m_missing.has(piece);
        }
        // Those that are wanted and missing, with their priorities.
        std::map<int, lt::download_priority_t> const &wanted() const
        {
                return m_wanted;
        }
        int priority_of(int piece) const // 0: not wanted, or there
        {
                return to_number(wish_for(piece));
        }
        // The piece was the anchor, and libtorrent takes nothing of it until it is restored().
        bool is_let_go(int piece) const
        {
                return m_let_go.count(piece) > 0;
        }
        // Peers are not asked for these until they are given free: a web seed is.
        void hold_back(std::vector<int> const &pieces);
        void give_free(std::vector<int> const &pieces);
        bool is_held_back(int piece) const
        {
                return m_held_back.count(piece) > 0;
        }
        // libtorrent finishes what was begun before it looks at priorities, where that is more than
        // one and a half pieces for each peer, or than 32 MiB. While some is to be asked for of a
        // piece that a reader waits for, and that may be asked for (is_there), what is farthest
        // behind is kept from it until it is less.
        void put_off_begun(std::size_t peers, std::function<bool(int piece)> const &is_there);
        bool is_put_off(int piece) const
        {
                return m_put_off.count(piece) > 0;
        }
        // Of what is wanted: peers may be asked for it.
        bool is_open(int piece) const
        {
                return !is_held_back(piece) && !is_put_off(piece);
        }
        // Those that a reader waits for, or will at once if it gets less than its share.
        std::vector<int> awaited() const
        {
                return {m_awaited.begin(), m_awaited.end()};
        }
        // As ranks::is_close_behind().
        bool is_close_behind(int piece, int that) const
        {
                return m_ranks.is_close_behind(piece, that);
        }
        // A reader waits for it, or will at once.
        bool comes_first(int piece) const
        {
                return m_awaited.count(piece) > 0 || m_urgent.count(piece) > 0;
        }
        // A reader waits for it, and it had not been asked for before that, or is late.
        bool is_urgent(int piece) const
        {
                return m_urgent.count(piece) > 0;
        }
        // A reader waits for it, and it is late.
        void becomes_urgent(int piece)
        {
                m_urgent.insert(piece);
        }
        bool has_urgent() const
        {
                return !m_urgent.empty();
        }
        bool awaits() const
        {
                return !m_awaited.empty();
        }
        // Whether what peers were asked for before is taken back for what a reader waits for.
        bool takes_back() const
        {
                return m_parts.make_way;
        }
        // Peers that would send other pieces before one that is urgent are not to; and those that
        // it may yet be asked of have nothing else to do, where it is urgent anew.
        void make_way(bool anew);
        // Peers are asked for what comes next in its order (ranks.hpp). True: it is time to look at
        // that again.
        bool asked(int piece)
        {
                return m_ranks.asked(piece);
        }
        void look_at_ranks();
        // Peers that owe less than they may are asked for more.
        void look_again();
        // Nobody is asked for some of its blocks any more: asks all peers, before everything else.
        void ask_again(int piece);
        // Gives zeros for what is missing of the piece: its hash is wrong then, it is asked for
        // anew, and nobody is to blame but those who gave the rest. False: there is no memory for
        // it.
        bool fill_up(int piece);

      private:
        using priorities = ranks::changes;
        lt::download_priority_t wish_for(int piece) const
        {
                auto const w = m_wanted.find(piece);
                return w == m_wanted.end() ? lt::dont_download : w->second;
        }
        int choose(int but);
        void set_wanted(int piece, lt::download_priority_t priority);
        // What libtorrent is told of a piece that is neither held back nor put off.
        lt::download_priority_t as_told(int piece) const;
        priorities rank();
        void drop(int piece, priorities &changes);
        void tell(priorities const &changes);
        void hold();
        bool were_asked_for(std::set<int> const &pieces) const;
        void kick(int piece, lt::download_priority_t priority);

        lt::torrent_handle m_handle;
        lt::io_context *m_io = nullptr;
        anchor_disk *m_disk = nullptr;
        uint64_t m_id = 0;
        int m_piece = -1;    // the anchor; -1: none
        bool m_held = false; // the disk keeps the answer to the anchor's hash back
        bool m_checked = false;
        std::weak_ptr<bt_torrent> m_owner;
        engine_parts m_parts;                            // set once
        std::map<int, lt::download_priority_t> m_wanted; // missing ones
        std::set<int> m_awaited;                         // those of them with the top priority
        std::set<int> m_let_go;                          // is_let_go()
        std::set<int> m_held_back;                       // no peer is asked for them
        std::set<int> m_put_off;                         // put_off_begun()
        std::set<int> m_urgent;                          // peers make way for them
        ranks m_ranks;                                   // of those that are wanted
        piece_set m_missing, m_free;                     // free: missing ones that nobody wants
        int m_margin = 1; // an anchor is so far ahead of every reader when it is chosen
};
