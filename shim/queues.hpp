// SPDX-License-Identifier: MIT
// queues.hpp: who is asked for how much of what a reader waits for.
#pragma once

#include "spares.hpp"

#include <libtorrent/time.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <vector>

struct bt_torrent; // torrent.hpp
class conduct;     // conduct.hpp

// Sets how many requests libtorrent has each peer have in flight. Network thread only.
class queues
{
      public:
        // Before the first peer; t outlives this.
        void begin(bt_torrent &t, lt::torrent_handle const &h);
        // Several times a second while pieces are wanted, and before peers are asked for others.
        void look(spares::peers const &all, lt::time_point now);
        // Before libtorrent asks this one for anything.
        void look_at(conduct &c, lt::time_point now);
        // After that: what libtorrent picks for a peer by itself is sent.
        void end_look(spares::peers const &all);
        // A peer is asked for a block of the piece.
        void asked(int piece);
        // Whether somebody owes nothing who may be asked for some of what was not asked for, or was
        // picked for something and not asked: libtorrent asks a peer when it has given something,
        // or once a second.
        bool leaves_idle(spares::peers const &all, lt::time_point now);
        // Whether something of what is wanted most is to be asked for yet: the peers are asked for
        // no more than their shares.
        bool shares() const
        {
                return m_unasked > 0;
        }

      private:
        void find_front();
        void find_time(spares::peers const &all, lt::time_point now);
        std::size_t keeps(conduct const &c) const;
        double fair_share() const;
        static bool has_any(conduct &c, std::vector<int> const &pieces);
        static bool may_give(conduct &c);

        bt_torrent *m_torrent = nullptr;
        lt::torrent_handle m_handle;
        // What is wanted most, as it was when last looked at, but for what was asked for since.
        std::vector<int> m_pieces;        // in rising order
        std::vector<int> m_unasked_of;    // those of which some was not asked for
        int m_missing = 0, m_unasked = 0; // their blocks
        int m_givers = 0;                 // so many peers may give some of that
        lt::time_point m_until;  // until then all peers together have given what is missing of them
        double m_quickest = 0;   // seconds until the quickest seed has given one more; 0: none
        std::vector<int> m_open; // wanted ones of which some was not asked for, the first of them
        bool m_has_asked = true; // somebody for something, since leaves_idle() was true
        lt::time_point m_idle_at; // when it was
};
