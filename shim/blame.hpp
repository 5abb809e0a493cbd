// SPDX-License-Identifier: MIT
// blame.hpp: who gave which block, and who of them gave wrong ones.
#pragma once

#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/sha1_hash.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/time.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

struct bt_torrent; // torrent.hpp

// What is in the store of a piece, by block and as a whole. No blocks: it could not be read.
struct piece_digest {
        std::vector<lt::sha1_hash> blocks;
        lt::sha1_hash whole;
};

// The part of the disk that reads a piece back (disk.cpp). Network thread only.
struct digest_disk {
        // Calls then on the network thread, of what was written before this and not after it.
        virtual void digest(uint64_t id, int piece, std::function<void(piece_digest)> then) = 0;
        virtual ~digest_disk() = default;
};

// The requests that a peer may still answer. Network thread only.
class requests
{
      public:
        void sent(lt::peer_request const &r);
        // The block may come of a request that was sent already.
        bool is_open(lt::peer_request const &r) const
        {
                return m_open.count({int(r.piece), r.start}) > 0;
        }
        // The peer says that it will not answer. One without BEP 6 can't: libtorrent says so for it
        // when a request is cancelled or the peer chokes, and its answer may be on the way.
        void rejected(lt::peer_request const &r);
        void set_fast(bool has)
        {
                m_has_fast = has;
        }
        bool has_fast() const
        {
                return m_has_fast;
        }
        // The block has come. False: nobody had asked for it.
        bool answered(lt::peer_request const &r);
        // Of late it sends mainly what it was not asked for.
        bool is_flooded() const;

      private:
        std::set<std::pair<int, int>> m_open; // piece, start
        bool m_has_fast = false;
        std::size_t m_answers = 0, m_unasked = 0;
};

// The peers of a torrent by what they gave (blame.cpp). Network thread only.
class blame
{
      public:
        // A connection to a peer.
        struct giver {
                lt::tcp::endpoint at;
                bool outgoing;
                lt::peer_connection_handle peer;
                bool punished = false; // has been banned for what it gave so far
        };
        using giver_ptr = std::shared_ptr<giver>;

        // Before the first peer; t outlives this. several: peers may share an address.
        void begin(bt_torrent &t, digest_disk *disk, bool several);
        giver_ptr came(lt::peer_connection_handle const &c);
        void left(giver_ptr const &g, lt::error_code const &why);
        bool is_banned(giver const &g) const;
        // Addresses that are banned, with the port or 0 for all of its ports.
        std::set<std::pair<lt::address, int>> banned() const;
        // It has given wrong bytes, or does harm by other ways: hangs up on it, for good.
        void ban(giver_ptr const &g);
        void ban(lt::peer_connection_handle const &peer);
        // It has given a block that it was asked for.
        void gave(giver_ptr const &g, lt::peer_request const &r);
        // Whether somebody has given that block of a piece that is not complete.
        bool is_given(lt::peer_request const &r) const;
        // Whether peers have given something of a piece that is not complete.
        bool knows_givers(int piece) const;
        // All of the piece that is missing comes from elsewhere: what peers send of it from here on
        // is thrown away.
        void given_otherwise(int piece);
        // The block could not be written: it is as if nobody had given it.
        void unwritten(lt::peer_request const &r);
        // The piece was wrong. libtorrent has not blamed anybody for it yet, but will.
        void failed(int piece);
        // What comes of it from here on is a new attempt.
        void restored(int piece);
        // The piece is right.
        void passed(int piece);
        // Nobody is there, and a reader waits: lets one of those that were banned come again when
        // its time has come. Whether it may be called at ret.
        bool pardon(lt::time_point now, lt::tcp::endpoint *ret);

      private:
        using key = std::pair<lt::address, int>; // and port; 0: whoever comes from there
        struct ban_entry {
                lt::tcp::endpoint at;
                bool outgoing, banned;
                unsigned times;
                lt::time_point since;
        };
        struct witness {
                giver_ptr who;
                lt::sha1_hash gave;
        };
        // A piece that was wrong and has not passed since.
        struct open_case {
                std::uint64_t number; // counts up
                std::set<giver_ptr> givers;
                std::vector<std::vector<witness>> blocks;
        };

        key key_of(giver const &g) const;
        void note(int piece, std::vector<giver_ptr> const &given, piece_digest const &d);
        void judge(int piece, piece_digest const &right);
        void look_again_at_paroles();
        void keep_bounded();

        bt_torrent *m_torrent = nullptr;
        digest_disk *m_disk = nullptr;
        bool m_several = false;
        std::set<giver_ptr> m_there;                   // connected
        std::map<int, std::vector<giver_ptr>> m_given; // by block; of pieces not complete
        std::set<int> m_given_otherwise;
        std::map<int, open_case> m_cases;
        std::size_t m_witnessed = 0; // blocks of all cases
        std::uint64_t m_numbers = 0;
        std::map<key, ban_entry> m_bans;
        lt::time_point m_pardoned_at;
};
