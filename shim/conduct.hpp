// SPDX-License-Identifier: MIT
// conduct.hpp: how one peer behaves while somebody waits for bytes.
#pragma once

#include "pipeline.hpp"

#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/time.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <utility>
#include <vector>

// What one peer was asked for and when it last gave something. Network thread only.
class conduct
{
      public:
        // How often look() and tick() are called while pieces are wanted.
        static constexpr auto tick_time = std::chrono::milliseconds(125);
        // It stalls when it has given nothing for so long, and for twice the time of its quickest
        // answer besides.
        static constexpr auto stall_time = std::chrono::milliseconds(500);

        // One that answers no CANCEL is called anew when it rests for so long: what it will not
        // answer is forgotten then, and libtorrent, to whom it owes that, does not snub it.
        static constexpr auto rest_time = std::chrono::milliseconds(1000);

        using pieces = std::function<bool(int piece)>; // whether the piece is one of them

        explicit conduct(lt::peer_connection_handle c) : m_peer(std::move(c))
        {
        }
        // The swarm knows it by its address, from came() to left().
        conduct(conduct const &) = delete;
        conduct &operator=(conduct const &) = delete;

        // on_its_way: an answer to an earlier request of it may be.
        void asked(lt::peer_request const &r, bool on_its_way);
        void answered(lt::peer_request const &r, bool with_data);
        // It rejects a request (BEP 6) that was not taken back. Before answered().
        void rejected(lt::peer_request const &r, lt::time_point now);
        // It has rejected all that it was asked for, time and again, though it does not choke us.
        bool refuses() const
        {
                return m_rejections >= rejections_max;
        }
        // And so a moment ago.
        bool refuses_now(lt::time_point now) const
        {
                return refuses() && now - m_rejected_at < refusal_time;
        }
        void choked() noexcept
        {
                m_asked.clear();
                m_spares.clear();
                m_left.clear();
        }
        // Whether it owes something and has given nothing for longer than its own pace explains.
        bool is_quiet(lt::time_point now) const;
        // Whether it owes something, gave something all the time of late, and has been silent for
        // much longer than it ever was then. Only what came after flows counts as silence: since
        // then others have given something all the time.
        bool falters(lt::time_point flows, lt::time_point now) const;
        // It owes something, and gave something all the time of late: that it is silent says
        // something.
        bool is_steady() const;
        // has_stopped is what falters() says, and stays true until it gives a sign or owes nothing.
        void look_whether_stopped(lt::time_point flows, lt::time_point now);
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
        bool has_room() const
        {
                return std::int64_t(owed()) < room();
        }
        std::int64_t room() const; // so much in all
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
        // It owes nothing, and for rest_time nothing has come of it that it was asked for.
        bool rests(lt::time_point now) const
        {
                return owed() == 0 && now - last_sign() > rest_time;
        }
        // A block that it owes, and in how many seconds that is likely to be here. Where the peer
        // gives nothing all have the same time; by the other one the blocks are told apart.
        struct due_block {
                int start;
                double seconds;
                double rank_s;
        };
        std::vector<due_block> due(int piece, lt::time_point now) const;
        // For how many seconds it is likely to send blocks of other pieces before it has sent all
        // that it owes of this one.
        double busy_before(int piece, pieces const &these) const;
        // How many seconds one more block of the piece would take; 0: it can't be asked.
        double would_take(int piece, lt::time_point now);
        // Asks it for a block besides what libtorrent asks it for; and takes that back.
        void ask_spare(lt::peer_request const &r, lt::time_point now);
        void take_spares_back(int piece);
        // And it may come yet.
        bool has_spare(lt::peer_request const &r, lt::time_point now) const;
        int spares_of(int piece) const;
        std::size_t spares() const
        {
                return m_spares.size();
        }
        // The block has come, or was refused: whether it was asked for so.
        bool spare_is_over(lt::peer_request const &r, bool with_data);
        // Takes back what libtorrent asked it for, unless it does not answer that.
        void take_back(lt::peer_request const &r, lt::time_point now);
        // Likewise all of such pieces that it was asked for until then.
        void take_back(pieces const &which, lt::time_point until, lt::time_point now);
        // When it was asked for the latest of what it owes of the piece; it was asked for some.
        lt::time_point asked_last(int piece) const;
        bool is_asked(int piece) const
        {
                auto const first = m_asked.lower_bound({piece, 0});
                return first != m_asked.end() && first->first.first == piece;
        }
        // libtorrent has taken it back, and is still owed an answer.
        bool is_cancelled(lt::peer_request const &r) const
        {
                return cancelled.count({int(r.piece), r.start}) > 0;
        }
        // It has given something that it was asked for after such a request was taken back, and has
        // not answered that: it never will.
        bool passes_over(lt::time_point now) const;
        // Nothing shows whether it is there: what was taken back and is not answered fills
        // libtorrent's queue, so that it is asked for no more. It is to be asked for something
        // besides. At most once a second.
        bool is_doubtful(lt::time_point now);
        // Piece and start of what was taken back long enough ago to have been refused.
        std::vector<std::pair<int, int>> unanswered(lt::time_point now) const;
        // It answers no CANCEL: from here on it gets none, and is not asked for much at a time.
        void is_mute()
        {
                answers_cancels = false;
                mute = true;
        }
        // The block of such a request is the answer.
        void ask_again(lt::peer_request const &r);
        // The messages of BEP 3, and nothing else: who is told of them is the caller's to see to.
        void say_request(lt::peer_request const &r)
        {
                say(6, {int(r.piece), r.start, r.length});
        }
        void say_cancel(lt::peer_request const &r)
        {
                say(8, {int(r.piece), r.start, r.length});
        }
        // The piece has come, from whomever, and libtorrent has told whom it tells of that: tells
        // the peer if it may show its pieces one by one and has this one.
        void passed(int piece);
        // It had no piece in the beginning and has told of each since. A seed may show them so, and
        // shows another one when it hears that one has come (BEP 16).
        bool shows_pieces() const;

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

        // How much it was asked for of other pieces than these, in rising order.
        std::size_t owed_of_others(std::vector<int> const &these) const;

        pipeline pipe;
        // As queues.cpp found it in its last look.
        int asks = 0;             // libtorrent may have it owe so much
        bool has_front = false;   // something of what is wanted most
        bool gives = false;       // and it is likely to give it
        std::size_t others = 0;   // so much it owed of other pieces that is about to be taken back
        bool has_stopped = false; // as look_whether_stopped() found it
        bool listens = false;     // at the port by which it is known, as it says
        bool shook_hands = false;
        bool extends = false;         // BEP 10, by its handshake
        bool was_introduced = false;  // its extended handshake has come
        std::set<int> untold;         // of these pieces it is to be told whether they are there
        int told = -1;                // the piece it told of last, having begun with none; -1: none
        int heard = -1;               // the piece it was told of last, by libtorrent
        bool answers_cancels = false; // BEP 6
        bool mute = false;            // it should, and does not
        // piece, start: what was asked for and taken back, and is not answered yet
        std::map<std::pair<int, int>, lt::time_point> cancelled;
        std::int64_t takes = 0; // BEP 10's reqq, 0: not told
        // It exists, connected or not.
        std::chrono::steady_clock::time_point const since = std::chrono::steady_clock::now();

      private:
        void say(char message, std::initializer_list<int> numbers);

        lt::peer_connection_handle m_peer;
        struct asking {
                lt::time_point at;
                int length;
                bool on_its_way = false; // already then, perhaps: it tells nothing of how far it is
        };
        std::map<std::pair<int, int>, asking> m_asked; // piece, start: not answered yet
        bool is_overdue(lt::time_point now) const;
        // libtorrent asks for what was rejected at once, 40,000 times a second, for ever.
        static constexpr unsigned rejections_max = 3;
        static constexpr auto refusal_time = std::chrono::milliseconds(500);
        unsigned m_rejections = 0; // of what was asked for after the one before, without a block
        lt::time_point m_rejected_at;
        lt::time_point last_sign() const; // of it, since it was asked for something
        // It was taken back then, and so many seconds ago besides the way there and back.
        bool is_unanswered(lt::time_point taken_back, double s, lt::time_point now) const;
        // How long it may be silent by its own pace, and for so long besides.
        lt::time_duration patience(lt::time_duration after) const;

        lt::time_point m_last_block, m_moved, m_doubted;
        lt::time_point m_latest_given; // when it was asked for the latest of what it has given
        lt::time_duration m_quickest = lt::time_duration::max(); // from a request to its answer
        std::array<unsigned, 4> m_blocks{}; // a count for each of the last ticks
        unsigned m_tick = 0;
        std::array<unsigned, 16> m_pace{}; // likewise, of ticks in which it owed something
        unsigned m_paced = 0;              // so many ticks in all
        std::array<lt::time_duration, 16> m_silences{}; // the longest of each of these ticks
        lt::time_duration m_silence{};                  // of the present one
        std::map<std::pair<int, int>, asking> m_spares; // piece, start
        // Likewise what was taken back of these: it is owed no more, and may come all the same.
        std::map<std::pair<int, int>, asking> m_left;
        lt::time_point m_stopped_at; // the last sign before it stopped
        int m_progress = 0;          // bytes of the block under way, when last looked at
};
