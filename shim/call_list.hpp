// SPDX-License-Identifier: MIT
// call_list.hpp: which peers are called, and at which port.
#pragma once

#include <libtorrent/socket.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <vector>

// libtorrent knows one port of each address, that which it was told last, and what it is told may
// be anybody's word. A client that was started anew has another port, so several are kept of an
// address. What is known of a port, from the least to the most: somebody has told of it; it was
// named where the user can see it; it is in use, called or connected; it has given something.
//
// Kept are of an address two ports that have given something (those in use, and the latest to
// give), those that are in use or named, and of what else is told of it the first and the latest.
// Where there is no room
//  - what somebody tells displaces nothing, unless it is of an address that has given something;
//  - what is named, or told of such an address, displaces what was told, first that of addresses
//    which have another port;
//  - what is in use displaces what was named besides;
//  - what gives something displaces of those that gave something one of the address with the most
//    ports, the longest ago; where all are in use, one that gave nothing and was not named.
// Nothing else displaces what is in use.
//
// The ports of an address are called in turn: what never was called first, the latest to be told
// of, then that which was called longest ago. Where one has given something every second call is
// its own. That one is called each time, the others after 1, 2, 4, 8 and then each 16 times. Who is
// to be called is asked for again and again, and counts as called when it is dialled.
//
// No clock, and not thread-safe.
class call_list
{
      public:
        using endpoint = lt::tcp::endpoint;
        using endpoints = std::multiset<endpoint>; // those of all connections, and of all dials
        enum class whom {
                all,  // one of each address
                due,  // those whose time has come
                news, // at ports that were never called, of addresses that are known at others
        };

        // So many endpoints at most.
        explicit call_list(std::size_t max) : m_max(max)
        {
        }
        // Several peers may share an address: each port is one.
        void begin(bool several_at_address)
        {
                m_several = several_at_address;
        }
        bool has(endpoint const &e) const;
        bool is_good(endpoint const &e) const; // it has given something
        bool has_good() const;
        // One of each address: that which gave something last. The latest to do so is first.
        std::vector<endpoint> good() const;
        // Whether next() has one of its address among the news when that is not in use.
        bool has_news_of(endpoint const &e) const;
        // It was called once, or never.
        bool is_new(endpoint const &e) const;

        // It was told of. False: it was known, or there is no room.
        bool add(endpoint const &e, endpoints const &in_use);
        // Likewise, but while nothing of its address is known that is remembered until something
        // is. True: it was added.
        bool hear(endpoint const &e, endpoints const &in_use);
        void name(endpoint const &e, endpoints const &in_use);
        // It is in use.
        void use(endpoint const &e, endpoints const &in_use);
        void gave(endpoint const &e, endpoints const &in_use);
        // It was dialled, if it is known; or is reached otherwise.
        void called(endpoint const &e);
        // Of each address at which none is in use one at most.
        std::vector<endpoint> next(whom w, endpoints const &in_use);
        std::size_t size() const
        {
                return m_known.size();
        }
        void clear()
        {
                m_known.clear();
                m_heard.clear();
        }

      private:
        struct known {
                endpoint at;
                bool named = false;
                // When, by m_now; 0: never.
                std::uint64_t gave = 0, called = 0;
                unsigned calls = 0;
                unsigned waits = 0; // it is not due so many times
                unsigned told = 0;  // so often next() had it since it was called
                bool owed = true;   // of its address another was called since
        };
        // How much may be displaced, in rising order.
        enum class claim { nothing, told, named, good };

        // What is one peer to libtorrent.
        endpoint place_of(endpoint const &e) const
        {
                return m_several ? e : endpoint(e.address(), 0);
        }
        bool same_place(known const &k, endpoint const &e) const
        {
                return place_of(k.at) == place_of(e);
        }
        template <typename List>
        static auto find(List &list, endpoint const &e) -> decltype(list.data());
        std::size_t ports_of(endpoint const &e) const;
        bool has_good_at(endpoint const &e) const;
        bool is_loose(known const &k, endpoints const &in_use) const;
        bool make_room(claim c, endpoints const &in_use);
        bool insert(known const &k, claim c, endpoints const &in_use);
        void keep_two_good(endpoint const &e, endpoints const &in_use);
        void was_called(known &k);
        known *choose(std::vector<known *> const &ports, whom w) const;

        std::size_t m_max;
        bool m_several = false;
        std::uint64_t m_now = 0;      // counts calls and gifts
        std::vector<known> m_known;   // in the order in which they were told of
        std::deque<endpoint> m_heard; // of addresses that are not known, likewise
};
