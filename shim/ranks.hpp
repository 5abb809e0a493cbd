// SPDX-License-Identifier: MIT
// ranks.hpp: in what order peers are asked for the pieces that come next. Pure; not thread-safe.
#pragma once

#include <libtorrent/download_priority.hpp>
#include <libtorrent/units.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

inline int to_number(lt::download_priority_t priority)
{
        return int(static_cast<std::uint8_t>(priority));
}

// libtorrent asks for pieces that have one priority and as many peers in any order, and has seven
// priorities for a window that may have thousands of pieces. A reader takes one after the other,
// and a peer sends what it owes in the order in which it was asked. So the pieces that are asked
// for next have the upper priorities among them, and others when the first of these were asked for:
// ctorrent with 500 requests in flight gave 64 MiB in 5.6 s, but in 6.3 and in up to 7.0 when a
// reader came to a piece that was asked for behind later ones, which were taken back for it and
// came twice.
//
// The top priority is not given here: it is for what a reader waits for. Where all is wished for
// with the lowest nobody reads, and what is rarest is to come first, as libtorrent has it.
class ranks
{
      public:
        using changes = std::vector<std::pair<lt::piece_index_t, lt::download_priority_t>>;
        using pieces = std::function<bool(int piece)>;

        // What is in each piece.
        void begin(int blocks, int last, int blocks_of_last)
        {
                m_blocks = blocks;
                m_last = last;
                m_blocks_of_last = blocks_of_last;
        }
        // Wishes change from here on: those of two readers that are alike take turns.
        void turn()
        {
                m_turn++;
        }
        // The wish for a piece is another one; dont_download: there is none.
        void change(int piece, lt::download_priority_t wish);
        // With which priority peers are asked for one that is wished for so, less than with the top
        // one.
        lt::download_priority_t of(int piece, lt::download_priority_t wish) const;
        // Ranks all anew. left: how many blocks peers neither gave nor owe, of pieces that are
        // begun; open: peers may be asked for it; is_there: one of them would give it. Returns
        // those that have another priority now.
        changes look(std::map<int, int> const &left, pieces const &open, pieces const &is_there);
        // This piece comes behind that one, so closely that peers may have been asked for both in
        // any order.
        bool is_close_behind(int piece, int that) const;
        // A peer is asked for a block of it. Whether it is time to look.
        bool asked(int piece);

      private:
        struct wished {
                lt::download_priority_t wish = lt::dont_download;
                unsigned turn = 0;
        };
        using told = std::map<int, lt::download_priority_t>;
        void rank(told &these, std::map<int, int> const &left, pieces const &open,
                  pieces const &is_there);

        int m_blocks = 1, m_last = -1, m_blocks_of_last = 1;
        unsigned m_turn = 0;
        int m_left = 0; // blocks of the leading pieces that nobody was asked for yet
        std::map<int, wished> m_wishes;
        std::set<std::tuple<int, unsigned, int>> m_order; // the wish, negated; the turn; the piece
        told m_told;                                      // those that have a rank
};
