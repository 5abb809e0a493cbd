// SPDX-License-Identifier: MIT
// call_list.hpp: which peers are called, and at which port.
#pragma once

#include <libtorrent/socket.hpp>
#include <libtorrent/time.hpp>

#include <cstddef>
#include <set>
#include <vector>

// libtorrent knows one port of each address, that which it was told last, and what it is told may
// be anybody's word. A client that was started anew has another port, so several are kept of an
// address: those that have given something, the first that was heard of and the latest. They are
// called in turn. Not thread-safe.
class call_list
{
      public:
        using endpoint = lt::tcp::endpoint;

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
        bool has_address(endpoint const &e) const;
        // Where it is new it is called before the others of its address if it never was called
        // (called is {}). Those that are in use stay. Returns false for what is there already.
        bool add(endpoint const &e, lt::time_point called, std::set<endpoint> const &in_use);
        // It has given something.
        void gave(endpoint const &e);
        bool is_good(endpoint const &e) const; // it has
        bool has_good() const;
        std::vector<endpoint> good() const; // the latest first
        // Whom to call now: one of each address at which none is in use, that which was called
        // longest ago; the latest of those that never were.
        std::vector<endpoint> next(lt::time_point now, std::set<endpoint> const &in_use);
        std::size_t size() const
        {
                return m_known.size();
        }
        void clear()
        {
                m_known.clear();
        }

      private:
        struct known {
                endpoint at;
                bool good;
                lt::time_point called; // {}: never
        };
        // What is one peer to libtorrent.
        endpoint place_of(endpoint const &e) const
        {
                return m_several ? e : endpoint(e.address(), 0);
        }
        void make_room(endpoint const &e, std::set<endpoint> const &in_use);

        std::size_t m_max;
        bool m_several = false;
        std::vector<known> m_known; // the latest last
};
