// SPDX-License-Identifier: MIT
// spares.hpp: blocks of a piece that a reader waits for, asked of a second peer.
#pragma once

#include "blame.hpp"

#include <libtorrent/peer_request.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/span.hpp>
#include <libtorrent/time.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <map>
#include <vector>

struct bt_torrent; // torrent.hpp
class conduct;     // conduct.hpp

// Network thread only.
class spares
{
      public:
        using peers = std::map<conduct *, lt::tcp::endpoint>;

        void begin(bt_torrent &t, lt::torrent_handle const &h);
        // Asks for what would come much sooner from somebody else.
        void look(peers const &all, lt::time_point now);
        // The same for what a reader has sought, when one of them has nothing left to do.
        void look_at_sought(peers const &all, lt::time_point now);
        // Asks that peer for a block of the piece that nobody was asked for, for one that was taken
        // back from it, or for one that libtorrent means to ask it for. False: there is none.
        bool ask_one(conduct &c, int piece, lt::time_point now);
        // What somebody was asked for as a spare has come; if nothing else of its piece is missing
        // the piece is whole.
        void came(peers const &all, blame::giver_ptr const &giver, lt::peer_request const &r,
                  lt::span<char const> data);
        // The piece is there, failed or is not wanted any more: what was asked for is taken back.
        void forget(peers const &all, int piece);

      private:
        struct spare {
                blame::giver_ptr giver;
                std::vector<char> data;
        };

        // least_s: nothing is asked for that comes in fewer seconds by itself.
        void ask(peers const &all, lt::partial_piece_info const &q, double least_s,
                 lt::time_point now);
        // Whether nothing of the piece is missing any more.
        bool complete(peers const &all, lt::partial_piece_info const &q);
        lt::peer_request request_of(int piece, int block) const;

        bt_torrent *m_torrent = nullptr;
        lt::torrent_handle m_handle;
        unsigned m_looks = 0;
        std::map<int, std::map<int, spare>> m_came; // piece, block
};
