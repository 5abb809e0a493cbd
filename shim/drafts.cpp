// SPDX-License-Identifier: MIT
#include "drafts.hpp"

#include <algorithm>
#include <set>

namespace
{

// Of one peer at a time, so that a far one is kept busy and no more is lost with it.
constexpr std::size_t in_flight_max = 3;
// A block is asked of so many peers at once; more are asked when it is late.
constexpr std::size_t askers_max = 3;
constexpr auto late_time = std::chrono::seconds(1);
// A peer that says nothing for so long has forgotten what it was asked for.
constexpr auto forgotten = std::chrono::seconds(30);
// Until a peer that has no metadata is asked again.
constexpr auto refusal = std::chrono::seconds(15);
// Sizes that are told; a torrent has one, the others are lies. Further ones go on alone.
constexpr std::size_t joint_max = 8;
constexpr std::size_t names_max = 1000;
// All drafts together take no more memory than so many times the largest metadata.
constexpr std::size_t memory_factor = 2;

void remember(std::unordered_set<std::string> &names, std::string const &name)
{
        if (names.size() < names_max)
                names.insert(name);
}

} // namespace

drafts::drafts(std::size_t max_bytes, std::function<bool(std::string const &)> is_right)
    : m_max(max_bytes), m_is_right(std::move(is_right))
{
}

std::shared_ptr<drafts::draft> drafts::make(std::int64_t size)
{
        auto d = std::make_shared<draft>();
        d->size = size;
        d->count = d->missing = int((size + block_bytes - 1) / block_bytes);
        return d;
}

void drafts::put(draft &d, int number, block b)
{
        auto &to = d.blocks[number];
        d.have += b.data.size();
        d.missing--;
        to = std::move(b);
}

// What the peer gave to the draft is worth nothing.
void drafts::take_back(draft &d, peer p)
{
        for (auto &e : d.blocks) {
                auto &b = e.second;
                if (b.data.empty() || b.from != p)
                        continue;
                d.have -= b.data.size();
                d.missing++;
                b = block();
        }
}

// Nobody waits for the peer's answers any more.
void drafts::forget_requests(draft &d, peer p)
{
        for (auto &e : d.blocks) {
                auto &asked = e.second.asked;
                asked.erase(std::remove_if(asked.begin(), asked.end(),
                                           [&](request const &r) { return r.from == p; }),
                            asked.end());
        }
}

void drafts::joined(peer p, std::string const &name, std::int64_t bytes, time now)
{
        auto &s = m_sources[p];
        if (s.name.empty()) {
                s.name = name;
                s.heard = now;
                s.liar = m_liars.count(name) > 0;
                s.alone = m_alone.count(name) > 0;
        }
        if (s.at || s.liar || bytes <= 0 || std::uint64_t(bytes) > m_max)
                return;
        s.size = bytes;
        s.not_before = now; // it may have said before that it has none
        attach(s);
}

void drafts::attach(source &s)
{
        auto const i = m_joint.find(s.size);
        if (s.alone) {
                s.at = make(s.size);
                return;
        }
        if (i != m_joint.end()) {
                s.at = i->second;
                return;
        }
        s.at = make(s.size);
        if (m_joint.size() >= joint_max) {
                auto const deserted =
                        std::find_if(m_joint.begin(), m_joint.end(),
                                     [](auto const &e) { return e.second.use_count() == 1; });
                if (deserted == m_joint.end()) {
                        s.alone = true;
                        return;
                }
                m_joint.erase(deserted);
        }
        m_joint[s.size] = s.at;
}

void drafts::left(peer p)
{
        auto const i = m_sources.find(p);
        if (i == m_sources.end())
                return;
        if (i->second.at)
                forget_requests(*i->second.at, p);
        m_sources.erase(i);
}

int drafts::next(peer p, time now)
{
        auto const i = m_sources.find(p);
        if (i == m_sources.end())
                return -1;
        auto &s = i->second;
        if (!s.asked.empty() && now - s.heard >= forgotten) {
                s.asked.clear();
                s.heard = now;
                if (s.at)
                        forget_requests(*s.at, p);
        }
        if (s.liar || now < s.not_before || s.asked.size() >= in_flight_max)
                return -1;
        if (!s.at) {
                // It had none when it came; its answer tells the size if it has some by now.
                if (!s.asked.empty())
                        return -1;
                s.not_before = now + refusal;
                s.asked.push_back(0);
                return 0;
        }
        int best = -1;
        std::size_t fewest = askers_max;
        auto known = s.at->blocks.cbegin();
        for (int k = 0; k < s.at->count && fewest > 0; k++) {
                std::size_t askers = 0;
                if (known != s.at->blocks.cend() && known->first == k) {
                        auto const &b = (known++)->second;
                        if (!b.data.empty() ||
                            std::find(s.asked.begin(), s.asked.end(), k) != s.asked.end())
                                continue;
                        askers = std::size_t(std::count_if(
                                b.asked.begin(), b.asked.end(),
                                [&](request const &r) { return now - r.at < late_time; }));
                } else if (std::find(s.asked.begin(), s.asked.end(), k) != s.asked.end()) {
                        continue;
                }
                if (askers >= fewest)
                        continue;
                fewest = askers;
                best = k;
        }
        if (best < 0)
                return -1;
        if (s.asked.empty())
                s.heard = now; // its silence counts from here
        s.asked.push_back(best);
        s.at->blocks[best].asked.push_back({p, now});
        return best;
}

void drafts::arriving(peer p, std::size_t n, time now)
{
        auto const i = m_sources.find(p);
        if (i == m_sources.end() || i->second.liar || i->second.asked.empty())
                return;
        i->second.heard = now;
        m_progress = std::max(m_progress, m_taken + n);
}

drafts::outcome drafts::given(peer p, int number, char const *data, std::size_t n,
                              std::int64_t total, time now)
{
        auto const i = m_sources.find(p);
        if (i == m_sources.end() || i->second.liar)
                return outcome::noted;
        auto &s = i->second;
        auto const asked = std::find(s.asked.begin(), s.asked.end(), number);
        if (asked == s.asked.end())
                return outcome::noted;
        s.asked.erase(asked);
        s.heard = now;
        if (!s.at) {
                if (total <= 0 || std::uint64_t(total) > m_max)
                        return outcome::noted;
                s.size = total;
                s.not_before = now;
                attach(s);
        }
        auto &d = *s.at;
        auto const start = std::int64_t(number) * block_bytes;
        if ((total > 0 && total != s.size) || start >= s.size ||
            std::int64_t(n) != std::min<std::int64_t>(block_bytes, s.size - start)) {
                lie(p, s);
                return outcome::lied;
        }
        if (!d.blocks[number].data.empty())
                return outcome::noted;
        put(d, number, {std::string(data, n), p, s.name, {}});
        m_taken += n;
        d.grown = m_taken;
        m_progress = std::max(m_progress, m_taken);
        if (d.missing == 0)
                return finish(std::shared_ptr<draft>(s.at), p);
        keep_bounded();
        return outcome::noted;
}

void drafts::refused(peer p, int number, time now)
{
        auto const i = m_sources.find(p);
        if (i == m_sources.end())
                return;
        auto &s = i->second;
        auto const asked = std::find(s.asked.begin(), s.asked.end(), number);
        if (asked == s.asked.end())
                return;
        s.asked.erase(asked);
        s.heard = now;
        s.not_before = now + refusal;
        if (!s.at)
                return;
        auto &waiting = s.at->blocks[number].asked;
        waiting.erase(std::remove_if(waiting.begin(), waiting.end(),
                                     [&](request const &r) { return r.from == p; }),
                      waiting.end());
}

void drafts::lie(peer p, source &s)
{
        s.liar = true;
        remember(m_liars, s.name);
        s.asked.clear();
        if (s.at) {
                take_back(*s.at, p);
                forget_requests(*s.at, p);
        }
        s.at.reset();
}

// All blocks are there.
drafts::outcome drafts::finish(std::shared_ptr<draft> const &d, peer last)
{
        std::string whole;
        whole.reserve(std::size_t(d->size));
        std::map<peer, std::string> writers;
        for (auto const &b : d->blocks) {
                whole += b.second.data;
                writers.emplace(b.second.from, b.second.name);
        }
        if (m_is_right(whole)) {
                m_whole = std::move(whole);
                return outcome::complete;
        }
        if (writers.size() == 1) {
                lie(last, m_sources.at(last));
                return outcome::lied;
        }
        auto const joint = m_joint.find(d->size);
        auto const fresh = make(d->size);
        if (joint != m_joint.end() && joint->second == d)
                joint->second = fresh;
        for (auto const &w : writers)
                remember(m_alone, w.second);
        for (auto &e : m_sources) {
                auto &s = e.second;
                if (s.at != d)
                        continue;
                s.at = fresh;
                if (writers.count(e.first) == 0)
                        continue;
                s.alone = true;
                s.at = make(d->size);
                s.at->grown = d->grown;
                for (auto &b : d->blocks)
                        if (b.second.from == e.first)
                                put(*s.at, b.first, std::move(b.second));
        }
        return outcome::noted;
}

// When all together take too much, the draft that got nothing for the longest time begins anew: who
// wants to keep an honest one from its end has to send more than it, and ends as a liar sooner.
void drafts::keep_bounded()
{
        std::set<std::shared_ptr<draft>> all;
        for (auto const &e : m_joint)
                all.insert(e.second);
        for (auto const &e : m_sources)
                if (e.second.at)
                        all.insert(e.second.at);
        std::size_t sum = 0;
        std::shared_ptr<draft> idlest;
        for (auto const &d : all) {
                sum += d->have;
                if (d->have > 0 && (!idlest || d->grown < idlest->grown))
                        idlest = d;
        }
        if (sum > memory_factor * m_max)
                *idlest = *make(idlest->size);
}

std::string drafts::take()
{
        return std::move(m_whole);
}
