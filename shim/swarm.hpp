// SPDX-License-Identifier: MIT
// swarm.hpp: how the peers of a torrent behave while somebody waits for its bytes.
#pragma once

#include "spares.hpp"
#include "timer.hpp"

#include <libtorrent/io_context.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/time.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

struct bt_torrent; // torrent.hpp
class anchor;      // anchor.hpp

// What one peer was asked for and when it last gave something. Network thread only.
class conduct
{
      public:
        explicit conduct(lt::peer_connection_handle c) : m_peer(std::move(c))
        {
        }
        // The swarm knows it by its address, from came() to left().
        conduct(conduct const &) = delete;
        conduct &operator=(conduct const &) = delete;

        void asked(lt::peer_request const &r);
        void answered(lt::peer_request const &r, bool with_data);
        void choked() noexcept
        {
                m_asked.clear();
                m_spares.clear();
        }
        // Whether it owes something and has given nothing for longer than its own pace explains.
        bool is_quiet(lt::time_point now) const;
        // Whether it holds requests for the piece and has given nothing for longer than its own
        // pace explains, and for so long besides.
        bool stalls(int piece, lt::time_duration after, lt::time_point now) const;
        // It has the piece, may be asked and was asked for nothing.
        bool is_idle(int piece);
        // It was asked for something and has not answered all of it.
        bool owes() const
        {
                return !m_asked.empty();
        }
        std::size_t owed() const
        {
                return m_asked.size() + m_spares.size();
        }
        // A peer may drop what is more than it takes, and one that says 512 drops the 512th
        // (Transmission); libtorrent asks for that many. Of one that is mute nothing can be taken
        // back, so that a seek waits for all it was asked for: it has what most of a second needs.
        bool has_room() const;
        // Looks whether more of the block that is under way has come since the last look. A block
        // of a slow peer takes long.
        void look(lt::time_point now);
        // Whether the look at that time found so.
        bool moved(lt::time_point now) const
        {
                return m_moved == now;
        }
        // Blocks it gave in the last ticks.
        unsigned recent() const;
        void tick(lt::time_point now);

        // Blocks a second while it owed some, of late; 0: not known.
        double pace() const;
        bool is_asked(lt::peer_request const &r) const
        {
                return m_asked.count({int(r.piece), r.start}) > 0;
        }
        // In how many seconds each block of the piece that it owes is likely to be here: start,
        // seconds.
        std::vector<std::pair<int, double>> due(int piece, lt::time_point now) const;
        // For how many seconds it is likely to send blocks of other pieces before it has sent all
        // that it owes of this one.
        double busy_before(int piece) const;
        // How many seconds one more block of the piece would take; 0: it can't be asked.
        double would_take(int piece);
        // Asks it for a block besides what libtorrent asks it for; and takes that back.
        void ask_spare(lt::peer_request const &r, lt::time_point now);
        void take_spares_back(int piece);
        bool has_spare(lt::peer_request const &r) const
        {
                return m_spares.count({int(r.piece), r.start}) > 0;
        }
        int spares_of(int piece) const;
        std::size_t spares() const
        {
                return m_spares.size();
        }
        // The block has come, or was refused: whether it was asked for so.
        bool spare_is_over(lt::peer_request const &r);
        // Takes back what libtorrent asked it for, if it answers that.
        void take_back(lt::peer_request const &r, lt::time_point now);
        // The messages of BEP 3, and nothing else: who is told of them is the caller's to see to.
        void say_request(lt::peer_request const &r)
        {
                say(6, r);
        }
        void say_cancel(lt::peer_request const &r)
        {
                say(8, r);
        }

        lt::peer_connection_handle &peer()
        {
                return m_peer;
        }
        // It has given something that it was asked for after that.
        bool has_given_of_after(lt::time_point asked) const
        {
                return m_latest_given > asked;
        }
        // It has given something that it was asked for.
        bool has_given() const
        {
                return m_quickest != lt::time_duration::max();
        }

        bool shook_hands = false;
        int told = -1;                // the piece it told of last; -1: none
        bool answers_cancels = false; // BEP 6
        bool mute = false;            // it should, and does not
        // piece, start: what was asked for and taken back, and is not answered yet
        std::map<std::pair<int, int>, lt::time_point> cancelled;
        std::int64_t takes = 0;                             // BEP 10's reqq, 0: not told
        lt::time_point const since = lt::clock_type::now(); // it exists, connected or not

      private:
        void say(char message, lt::peer_request const &r);

        lt::peer_connection_handle m_peer;
        std::map<std::pair<int, int>, lt::time_point> m_asked; // piece, start: not answered yet
        // How long it may be silent by its own pace, and for so long besides.
        lt::time_duration patience(lt::time_duration after) const;

        lt::time_point m_last_block, m_moved;
        lt::time_point m_latest_given; // when it was asked for the latest of what it has given
        lt::time_duration m_quickest = lt::time_duration::max(); // from a request to its answer
        std::array<unsigned, 4> m_blocks{}; // a count for each of the last ticks
        unsigned m_tick = 0;
        std::array<unsigned, 16> m_pace{}; // likewise, of ticks in which it owed something
        unsigned m_paced = 0;              // so many ticks in all
        std::map<std::pair<int, int>, lt::time_point> m_spares; // piece, start
        int m_progress = 0; // bytes of the block under way, when last looked at
};

// All peers of a torrent. While pieces are wanted it looks several times a second whether one of
// them holds back what a reader waits for, and calls those that are gone. Network thread only.
class swarm
{
      public:
        // Before the first peer; t outlives this.
        void begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io);
        // libtorrent lets go of the torrent: nothing of its thread is used after this.
        void end()
        {
                m_timer.end();
        }
        void came(conduct &c, lt::tcp::endpoint const &remote, bool outgoing);
        void shook_hands(conduct &c);
        void gave(conduct &c);
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
        void left(conduct &c) noexcept;
        // A client at that address answers no cancelled request: known when it comes again.
        void is_mute(lt::tcp::endpoint const &at, lt::peer_id const &id);
        bool was_mute(lt::tcp::endpoint const &at, lt::peer_id const &id) const;
        // Nobody whom we connected to is called again.
        void forget()
        {
                m_called.clear();
        }
        // Whom to call first another time: those that are there, by how much they gave, then those
        // that were. The port is 0 of one that has called us.
        std::vector<std::pair<lt::address, int>> useful() const;
        // Whether somebody is there, and whether somebody who has given something.
        bool has_peers() const;
        bool has_givers() const;
        // Whether somebody sends other pieces before what he owes of this one.
        bool comes_behind_others(int piece) const;
        // See bt_torrent_dial_anew; while there is no metadata the caller dials others besides.
        void dial_anew(lt::time_point now);
        // Pieces are wanted from here on; the swarm finds out by itself when none is any more.
        void wake();

      private:
        struct address {
                lt::tcp::endpoint at;
                bool good; // it gave blocks
        };
        void arm(lt::time_duration in);
        void tick();
        void look(lt::time_point now);
        void drop_stalled(lt::time_point now);
        void drop_silent(lt::time_point now);
        void end_deadlock(lt::time_point now);
        void call_again(lt::time_point now);
        // Where nobody_has_awaited().
        void call_banned(lt::time_point now);
        void pass_on_offer();
        bool nobody_has_awaited() const; // though somebody waits
        void call(lt::tcp::endpoint const &at);
        void drop_slow_dials(lt::time_duration after, lt::time_point now);
        void forget_calls(); // when each was called last
        address const *find(lt::tcp::endpoint const &at) const;
        address *find(lt::tcp::endpoint const &at);

        bt_torrent *m_torrent = nullptr;
        lt::torrent_handle m_handle;
        timer m_timer;
        bool m_awake = false;
        spares::peers m_peers;
        spares m_spares;
        std::deque<std::pair<lt::address, std::string>> m_mute; // address, client
        std::vector<address> m_called; // those we connected to ourselves, the latest last
        lt::time_point m_alone_since, m_called_at, m_deadlock_at;
        lt::time_point m_last_sign; // of life, of any peer that owes something
        lt::time_duration m_patience{};
        lt::tcp::endpoint m_pardoned; // may come again, and is to be called
        unsigned m_pardon_calls = 0;  // so often yet
};
