// SPDX-License-Identifier: MIT
// call_list.cpp: which peers are called, and at which port.
#include "call_list.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace
{

// Ports of unknown addresses that are remembered: as many as a tracker names at once.
constexpr std::size_t heard_max = 200;
// Who never gave anything is not called more seldom than each 1 << that many times.
constexpr unsigned call_doublings_max = 4;
// Of what libtorrent was told so often and has not dialled it wants to know nothing: the others of
// the address have their turn. It dials within a second or two, as its other connections let it.
constexpr unsigned told_max = 3;

} // namespace

template <typename List>
auto call_list::find(List &list, endpoint const &e) -> decltype(list.data())
{
        auto const k = std::find_if(list.begin(), list.end(),
                                    [&](known const &one) { return one.at == e; });
        return k == list.end() ? nullptr : &*k;
}

bool call_list::has(endpoint const &e) const
{
        return find(m_known, e) != nullptr;
}

std::size_t call_list::ports_of(endpoint const &e) const
{
        return std::size_t(std::count_if(m_known.begin(), m_known.end(),
                                         [&](known const &k) { return same_place(k, e); }));
}

bool call_list::has_good_at(endpoint const &e) const
{
        return std::any_of(m_known.begin(), m_known.end(),
                           [&](known const &k) { return k.gave > 0 && same_place(k, e); });
}

bool call_list::is_good(endpoint const &e) const
{
        auto const *const k = find(m_known, e);
        return k && k->gave > 0;
}

bool call_list::has_good() const
{
        return std::any_of(m_known.begin(), m_known.end(),
                           [](known const &k) { return k.gave > 0; });
}

std::vector<call_list::endpoint> call_list::good() const
{
        std::vector<known const *> givers;
        for (auto const &k : m_known)
                if (k.gave > 0)
                        givers.push_back(&k);
        std::sort(givers.begin(), givers.end(),
                  [](known const *a, known const *b) { return a->gave > b->gave; });
        std::vector<endpoint> r;
        std::set<endpoint> places;
        for (auto const *const k : givers)
                if (places.insert(place_of(k->at)).second)
                        r.push_back(k->at);
        return r;
}

bool call_list::has_news_of(endpoint const &e) const
{
        bool fresh = false, known_elsewhere = false;
        for (auto const &k : m_known) {
                if (!same_place(k, e))
                        continue;
                bool const is_known = k.called > 0 || k.gave > 0;
                fresh |= !is_known;
                known_elsewhere |= is_known;
        }
        return fresh && known_elsewhere;
}

bool call_list::is_new(endpoint const &e) const
{
        auto const *const k = find(m_known, e);
        return k && k->gave == 0 && k->calls <= 1;
}

// What others say, and nothing else is known of.
bool call_list::is_loose(known const &k, endpoints const &in_use) const
{
        return !k.named && k.gave == 0 && in_use.count(k.at) == 0;
}

// Takes one out where there is none. False: all of them have a better claim.
bool call_list::make_room(claim c, endpoints const &in_use)
{
        if (m_known.size() < m_max)
                return true;
        if (c == claim::nothing)
                return false;
        // What the least is known of comes first, of the same that which was told of first.
        using worth = std::tuple<claim, std::ptrdiff_t, std::uint64_t>;
        auto worst = m_known.end();
        worth least{};
        for (auto k = m_known.begin(); k != m_known.end(); ++k) {
                if (in_use.count(k->at) > 0)
                        continue;
                auto const others = -std::ptrdiff_t(ports_of(k->at));
                bool const loose = is_loose(*k, in_use);
                worth const w = loose         ? worth(claim::told, others < -1 ? 0 : 1, 0)
                                : k->gave > 0 ? worth(claim::good, others, k->gave)
                                              : worth(claim::named, 0, 0);
                if (worst == m_known.end() || w < least) {
                        worst = k;
                        least = w;
                }
        }
        // Who is in use is not called, and is noted anew when it gives something.
        if (worst == m_known.end() && c == claim::good)
                worst = std::find_if(m_known.begin(), m_known.end(),
                                     [](known const &k) { return k.gave == 0 && !k.named; });
        if (worst == m_known.end() || std::get<claim>(least) > c)
                return false;
        m_known.erase(worst);
        return true;
}

// Of what is told of its address the first stays besides.
bool call_list::insert(known const &k, claim c, endpoints const &in_use)
{
        bool first = true;
        auto const is_between = [&](known const &o) {
                return same_place(o, k.at) && is_loose(o, in_use) && !std::exchange(first, false);
        };
        m_known.erase(std::remove_if(m_known.begin(), m_known.end(), is_between), m_known.end());
        if (!make_room(c, in_use))
                return false;
        m_known.push_back(k);
        std::vector<endpoint> heard;
        auto const take = [&](endpoint const &h) {
                bool const is_of_it = place_of(h) == place_of(k.at);
                if (is_of_it)
                        heard.push_back(h);
                return is_of_it;
        };
        m_heard.erase(std::remove_if(m_heard.begin(), m_heard.end(), take), m_heard.end());
        for (auto const &h : heard)
                add(h, in_use);
        return true;
}

bool call_list::add(endpoint const &e, endpoints const &in_use)
{
        if (has(e))
                return false;
        known k;
        k.at = e;
        return insert(k, has_good_at(e) ? claim::told : claim::nothing, in_use);
}

void call_list::name(endpoint const &e, endpoints const &in_use)
{
        if (auto *const known_already = find(m_known, e)) {
                known_already->named = true;
                return;
        }
        known k;
        k.at = e;
        k.named = true;
        insert(k, claim::told, in_use);
}

void call_list::use(endpoint const &e, endpoints const &in_use)
{
        known k;
        k.at = e;
        if (!has(e))
                insert(k, claim::named, in_use);
}

bool call_list::hear(endpoint const &e, endpoints const &in_use)
{
        if (m_several)
                return false;
        if (ports_of(e) > 0)
                return add(e, in_use);
        if (std::find(m_heard.begin(), m_heard.end(), e) != m_heard.end())
                return false;
        if (m_heard.size() == heard_max)
                m_heard.pop_front();
        m_heard.push_back(e);
        return false;
}

// Room for e: those of its address that gave something and are not in use go, but for the latest,
// and that too if another one is in use.
void call_list::keep_two_good(endpoint const &e, endpoints const &in_use)
{
        endpoint kept;
        std::pair<bool, std::uint64_t> best{false, 0};
        for (auto const &k : m_known) {
                std::pair const worth(in_use.count(k.at) > 0, k.gave);
                if (same_place(k, e) && k.at != e && k.gave > 0 && worth > best) {
                        kept = k.at;
                        best = worth;
                }
        }
        auto const is_surplus = [&](known const &k) {
                return same_place(k, e) && k.at != e && k.at != kept && k.gave > 0 &&
                       in_use.count(k.at) == 0;
        };
        m_known.erase(std::remove_if(m_known.begin(), m_known.end(), is_surplus), m_known.end());
}

void call_list::gave(endpoint const &e, endpoints const &in_use)
{
        if (!is_good(e)) {
                keep_two_good(e, in_use);
                known k;
                k.at = e;
                k.gave = ++m_now;
                if (!has(e) && !insert(k, claim::good, in_use))
                        return;
                // It is there, whatever was told before.
                for (auto &o : m_known)
                        if (same_place(o, e) && o.at != e && o.called == 0 &&
                            in_use.count(o.at) == 0)
                                was_called(o);
        }
        find(m_known, e)->gave = ++m_now;
}

void call_list::was_called(known &k)
{
        k.called = ++m_now;
        k.waits = 1U << std::min(k.calls, call_doublings_max);
        k.calls++;
        k.told = 0;
        for (auto &o : m_known)
                if (o.gave > 0 && same_place(o, k.at))
                        o.owed = k.gave == 0;
}

void call_list::called(endpoint const &e)
{
        if (auto *const k = find(m_known, e))
                was_called(*k);
}

// ports: all of an address. NULL: none of them is to be called.
call_list::known *call_list::choose(std::vector<known *> const &ports, whom w) const
{
        known *good = nullptr, *other = nullptr;
        for (auto *const k : ports) {
                if (k->gave > 0) {
                        if (!good || k->called < good->called ||
                            (k->called == good->called && k->gave > good->gave))
                                good = k;
                } else if (w != whom::due || k->waits == 0) {
                        if (!other || k->called <= other->called)
                                other = k;
                }
        }
        if (w == whom::news)
                return other && other->called == 0 && has_news_of(other->at) ? other : nullptr;
        if (!good || !other)
                return good ? good : other;
        return good->owed ? good : other;
}

std::vector<call_list::endpoint> call_list::next(whom w, endpoints const &in_use)
{
        std::map<endpoint, std::vector<known *>> places;
        for (auto &k : m_known) {
                if (w == whom::due && k.waits > 0)
                        k.waits--;
                places[place_of(k.at)].push_back(&k);
        }
        for (auto const &e : in_use)
                places.erase(place_of(e));
        std::vector<endpoint> r;
        r.reserve(places.size());
        for (auto const &p : places) {
                auto *const k = choose(p.second, w);
                if (!k)
                        continue;
                r.push_back(k->at);
                if (++k->told >= told_max)
                        was_called(*k);
        }
        return r;
}
