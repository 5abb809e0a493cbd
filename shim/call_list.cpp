// SPDX-License-Identifier: MIT
// call_list.cpp: which peers are called, and at which port.
#include "call_list.hpp"

#include <algorithm>
#include <map>
#include <utility>

bool call_list::has(endpoint const &e) const
{
        return std::any_of(m_known.begin(), m_known.end(),
                           [&](known const &k) { return k.at == e; });
}

bool call_list::has_address(endpoint const &e) const
{
        return std::any_of(m_known.begin(), m_known.end(),
                           [&](known const &k) { return place_of(k.at) == place_of(e); });
}

// Of its address the first that was heard of stays besides; of all, those that gave something.
void call_list::make_room(endpoint const &e, std::set<endpoint> const &in_use)
{
        bool first = true;
        auto const is_hearsay = [&](known const &k) {
                bool const loose =
                        place_of(k.at) == place_of(e) && !k.good && in_use.count(k.at) == 0;
                return loose && !std::exchange(first, false);
        };
        m_known.erase(std::remove_if(m_known.begin(), m_known.end(), is_hearsay), m_known.end());
        if (m_known.size() < m_max)
                return;
        auto const worst = std::find_if(m_known.begin(), m_known.end(),
                                        [](known const &k) { return !k.good; });
        m_known.erase(worst == m_known.end() ? m_known.begin() : worst);
}

bool call_list::add(endpoint const &e, lt::time_point called, std::set<endpoint> const &in_use)
{
        if (has(e))
                return false;
        make_room(e, in_use);
        m_known.push_back({e, false, called});
        return true;
}

void call_list::gave(endpoint const &e)
{
        for (auto &k : m_known)
                k.good |= k.at == e;
}

bool call_list::is_good(endpoint const &e) const
{
        return std::any_of(m_known.begin(), m_known.end(),
                           [&](known const &k) { return k.good && k.at == e; });
}

bool call_list::has_good() const
{
        return std::any_of(m_known.begin(), m_known.end(), [](known const &k) { return k.good; });
}

std::vector<call_list::endpoint> call_list::good() const
{
        std::vector<endpoint> r;
        for (auto k = m_known.rbegin(); k != m_known.rend(); ++k)
                if (k->good)
                        r.push_back(k->at);
        return r;
}

std::vector<call_list::endpoint> call_list::next(lt::time_point now,
                                                 std::set<endpoint> const &in_use)
{
        std::map<endpoint, known *> chosen;
        for (auto &k : m_known) {
                auto &c = chosen[place_of(k.at)];
                if (!c || k.called <= c->called)
                        c = &k;
        }
        for (auto const &e : in_use)
                chosen.erase(place_of(e));
        std::vector<endpoint> r;
        r.reserve(chosen.size());
        for (auto const &c : chosen) {
                c.second->called = now;
                r.push_back(c.second->at);
        }
        return r;
}
