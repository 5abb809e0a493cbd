// SPDX-License-Identifier: MIT
// swarm.hpp: how the peers of a torrent behave while somebody waits for its bytes.
#pragma once

#include "call_list.hpp"
#include "conduct.hpp"
#include "queues.hpp"
#include "spares.hpp"
#include "timer.hpp"

#include <libtorrent/io_context.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/time.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

struct bt_torrent; // torrent.hpp
class anchor;      // anchor.hpp

// All peers of a torrent. While pieces are wanted it looks several times a second whether one of
// them holds back what a reader waits for, and calls those that are gone. Network thread only.
class swarm
{
      public:
        // Before the first peer; t outlives this. named: peers that it is added with.
        void begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io,
                   std::vector<lt::tcp::endpoint> const &named);
        // libtorrent lets go of the torrent: nothing of its thread is used after this.
        void end()
        {
                m_timer.end();
        }
        void came(conduct &c, lt::tcp::endpoint const &remote, bool outgoing);
        // It has called us, and says at which port it is called (BEP 10).
        void listens(conduct &c, int port);
        // libtorrent is told of a peer, perhaps of one that it knows at another port.
        void told_of(lt::tcp::endpoint const &e);
        void shook_hands(conduct &c);
        void gave(conduct &c);
        // It answers what was taken back: libtorrent may ask it for something else at once.
        void refused(conduct &c);
        // A peer is asked for a block of the piece.
        void asked(int piece);
        // Somebody who is there has it, and does not choke us.
        bool may_give(int piece) const;
        // A peer that began with none tells of a piece.
        void shows();
        // Other pieces are wanted: before libtorrent may ask peers for them, and after it was told
        // to.
        void will_ask();
        void end_look_later();
        // Whether they are asked for less than they could be until something has been asked for.
        bool shares() const;
        // A block that was asked for as a spare.
        void gave_spare(blame::giver_ptr const &giver, lt::peer_request const &r,
                        lt::span<char const> data)
        {
                m_spares.came(m_peers, giver, r, data);
        }
        // The piece is there, or failed.
        void forget(int piece)
        {
                m_spares.forget(m_peers, piece);
        }
        // The piece is there: tells those that wait for that.
        void passed(int piece)
        {
                for (auto const &p : m_peers)
                        p.first->passed(piece);
        }
        // Nobody is told that he is of no interest who shows his pieces one by one. After what is
        // wanted has become less, and before libtorrent looks at that: it does when it has done
        // what it is at.
        void keep_interest();
        // The piece is not there any more: tells those that may ask for it, or were told of it.
        void lost(int piece);
        // Its extended handshake has come: of what went before, it is told now.
        void introduced(conduct &c);
        // It is about to be taken to have lost the piece.
        void lacks(conduct &c, int piece);
        void left(conduct &c) noexcept;
        // A client at that address answers no cancelled request: known when it comes again.
        void is_mute(lt::tcp::endpoint const &at, lt::peer_id const &id);
        bool was_mute(lt::tcp::endpoint const &at, lt::peer_id const &id) const;
        // Nobody whom we connected to is called again.
        void forget()
        {
                m_calls.clear();
        }
        // Connections and dials, by where they are called as far as that is known.
        call_list::endpoints const &in_use() const
        {
                return m_in_use;
        }
        // Whom to call first another time: those that are there, by how much they gave, then those
        // that were, each at one port. That is 0 of one that has called us and did not say where it
        // is called.
        std::vector<std::pair<lt::address, int>> useful() const;
        // Whether somebody is there, and whether somebody who has given something.
        bool has_peers() const;
        bool has_givers() const;
        // Takes back what is not awaited of those who would send it before what they owe of this
        // piece; and, unless all of it was asked for (coming), of those who may yet be asked.
        void make_way(int piece, bool coming);
        // Takes back what was asked for of pieces that nobody wants any more, so that it does not
        // come in vain.
        void take_back_unwanted();
        // See bt_torrent_dial_anew; while there is no metadata the caller dials others besides.
        void dial_anew();
        // Pieces are wanted from here on; the swarm finds out by itself when none is any more.
        void wake();

      private:
        // The wall's clock may be set while peers are away.
        using steady = std::chrono::steady_clock;
        static constexpr std::size_t calls_max = 50; // peers to be called that are remembered
        // All peers silent for so long while a reader waits: the network was away perhaps, and TCP
        // sends what was lost again after twice the time it has waited already (link down for 15 s:
        // the next bytes 1.1 s after it is up, 2.1 without). Twice as long the next time.
        static constexpr auto silence_time = std::chrono::milliseconds(5000);
        // Where nobody gave anything for longer than that it is not one of them that is late, but
        // this machine or its network.
        static constexpr auto flow_time = std::chrono::milliseconds(60);
        void look_at_idle(); // a peer owes nothing
        // Once however often it is called until then; is_due: that it was.
        void later(bool swarm::*is_due, void (*what)(bt_torrent &t));
        std::vector<conduct *> asked_peers() const; // that owe something
        void arm(lt::time_duration in);
        void tick();
        void look(lt::time_point now);
        // It is to show that it gives something. Nothing where no reader waits.
        void ask_one(conduct &c, lt::time_point now);
        void find_mute(lt::time_point now);
        void ask_again(conduct &c, std::vector<std::pair<int, int>> const &blocks);
        void drop_stalled(lt::time_point now);
        void hurry(lt::time_point now);
        void hurry_later();
        void find_stopped(lt::time_point now);
        // Of those that can be asked for the piece and have not stopped; nullptr: there is none.
        conduct *quickest_for(int piece, lt::time_point now) const;
        void drop_silent(lt::time_point now);
        void end_deadlock(lt::time_point now);
        void call_again();
        // Where nobody_has_awaited().
        void call_banned(lt::time_point now);
        void pass_on_offer();
        bool nobody_has_awaited() const; // though somebody waits
        void call(lt::tcp::endpoint const &at);
        bool call_known(call_list::whom w); // whether there is one of them
        // Hangs up on the dials that last for so long; if they hinder the call of a port that is
        // news for so long.
        void drop_slow_dials(steady::duration after, steady::duration after_news);
        void forget_calls(); // when each was called last
        void tell_later();
        void tell();
        bool is_interested() const; // in what somebody has who is there
        void is_out_of_use(lt::tcp::endpoint const &e) noexcept; // by one of m_peers
        // It can be called there: not so one that has called us and has not said where it listens.
        static bool is_called_at(conduct &c);

        bt_torrent *m_torrent = nullptr;
        lt::torrent_handle m_handle;
        timer m_timer;
        lt::io_context *m_io = nullptr;
        bool m_awake = false;
        bool m_looks_at_idle = false;  // look_at_idle() was called, and has not looked yet
        bool m_ends_look = false;      // end_look_later() was called, and the look did not end yet
        bool m_hurries = false;        // hurry_later() was called, and has not hurried yet
        bool m_looks_at_ranks = false; // the anchor is to look at its ranks
        bool m_looks_at_shown = false; // what somebody shows is to be looked at
        bool m_tells = false;          // somebody is to be told of pieces
        spares::peers m_peers;
        spares m_spares;
        queues m_queues;
        std::deque<std::pair<lt::address, std::string>> m_mute; // address, client
        call_list::endpoints m_in_use;                          // of m_peers
        // Those that were named, those we connected to ourselves, and those that said how.
        call_list m_calls{calls_max};
        steady::time_point m_alone_since, m_called_at, m_pardon_called_at;
        lt::time_point m_deadlock_at, m_hurried_at;
        lt::time_point m_gave_at, m_flows_since;       // somebody; and has all the time since then
        std::set<std::pair<conduct *, int>> m_hurried; // one has stopped, and a piece that it owes
        lt::time_point m_last_sign;                    // of life, of any peer that owes something
        lt::time_duration m_patience{};
        lt::tcp::endpoint m_pardoned; // may come again, and is to be called
        unsigned m_pardon_calls = 0;  // so often yet
};
