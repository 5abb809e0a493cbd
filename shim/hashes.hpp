// SPDX-License-Identifier: MIT
// hashes.hpp: the hashes of pieces that a v2 torrent's metadata does not have (BEP 52).
#pragma once

#include "inner.hpp"

#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/time.hpp>
#include <libtorrent/torrent_info.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

struct bt_torrent; // torrent.hpp

// What is said on one connection besides content. Network thread only.
class small_talk
{
      public:
        explicit small_talk(lt::peer_connection_handle c) : m_peer(std::move(c))
        {
        }
        // The hashes know it by its address, from came() to left().
        small_talk(small_talk const &) = delete;
        small_talk &operator=(small_talk const &) = delete;

        // What is said from here on counts.
        void begin();
        // Messages of so many bytes that have nothing to do with hashes.
        void sent(int bytes)
        {
                m_known.up += bytes;
        }
        void got(int bytes)
        {
                m_known.down += bytes;
        }
        // Looks at what was said since the last look. Whether the peer does nothing but reject
        // requests for hashes, again and again.
        bool only_rejects(lt::time_point now);

        lt::peer_connection_handle &peer()
        {
                return m_peer;
        }

      private:
        lt::peer_connection_handle m_peer;
        chatter m_before, m_known;
        lt::time_point m_looked_at = lt::clock_type::now();
        int m_rejecting = 0; // looks on end in which it only rejected
};

// Asks for the hashes of what readers wait for (hashes.cpp). Network thread only.
class hashes
{
      public:
        // The metadata is there; t outlives this.
        void begin(bt_torrent &t, std::shared_ptr<lt::torrent_info const> info);
        void came(small_talk &p);
        void left(small_talk &p) noexcept;
        // Hangs up on the peer if it only rejects.
        void look_at(small_talk &p, lt::time_point now);
        // The piece is there, so its hash was.
        void passed(int piece);
        // Several times a second while readers wait for these pieces.
        void tick(std::vector<int> const &awaited, lt::time_point now);

      private:
        using range = std::pair<int, int>; // a file, and which 512 of its pieces
        struct search {
                lt::time_point next;
                lt::time_duration wait;
                std::map<small_talk *, unsigned> asked; // how often
        };
        bool range_of(int piece, range &ret) const;
        void ask(range const &r, int piece, search &s);
        void send(small_talk &p, range const &r) const;

        bt_torrent *m_torrent = nullptr;
        std::shared_ptr<lt::torrent_info const> m_info; // nullptr: there is nothing to ask for
        std::set<small_talk *> m_peers;
        std::set<range> m_known;
        std::map<range, search> m_searches;
};
