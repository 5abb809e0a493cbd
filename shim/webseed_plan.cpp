// SPDX-License-Identifier: MIT
// webseed_plan.cpp: which web seed is asked for which pieces, and when that is taken back. Why:
// webseeds.cpp.
#include "webseeds.hpp"

#include "error.hpp"
#include "session.hpp"
#include "swarm.hpp"
#include "torrent.hpp"
#include "webseed_fetch.hpp"

#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

using std::chrono::milliseconds;

namespace
{

// An order is for what the web seed gives in a second, which is not known at first. Between these.
constexpr double order_bytes_unknown = 1 << 20;
constexpr double order_bytes_max = 16 << 20;
// All that web seeds are asked for, and what libtorrent has not judged yet; or a single piece.
constexpr std::int64_t claimed_bytes_max = 64 << 20;
// Pieces looked at for one that a web seed may be asked for.
constexpr int looks_max = 4096;
// A reader's piece is left to peers for so long, and so long if one is asked for it already.
constexpr auto peers_first = milliseconds(250);
constexpr auto peers_late = milliseconds(1000);
// One that takes longer than this for a piece is not asked for those that a reader needs next,
// where there are peers; only for those of the farther half of its window.
constexpr double near_s = 1;
constexpr int far = 3;
// Whoever takes longer for a piece that a reader waits for gets company.
constexpr double late_s = 2;
constexpr auto late_after = milliseconds(1000);
// What nobody wants is cut off if it takes longer than this; a new connection has its price, too.
constexpr double vain_s = 0.1;
constexpr double vain_tail_s = 0.5;
constexpr double vain_tail_bytes = 1 << 20;
// What would take a web seed longer than this is shared with one that has nothing to do.
constexpr double share_s = 1;

} // namespace

bool web_seeds::is_open(int piece) const
{
        return std::any_of(m_open.begin(), m_open.end(),
                           [&](piece_set const &set) { return set.has(piece); });
}

int web_seeds::open_count() const
{
        int n = 0;
        for (auto const &set : m_open)
                n += set.count();
        return n;
}

void web_seeds::look_at_peers()
{
        m_peers_give = m_torrent->peers->has_givers();
        m_begun.clear();
        if (!m_peers_give)
                return;
        for (auto const &q : m_handle.get_download_queue())
                if (q.finished + q.writing + q.requested > 0)
                        m_begun.insert(int(q.piece_index));
}

std::vector<std::size_t> web_seeds::idle_seeds(clock::time_point now) const
{
        std::vector<std::size_t> idle;
        int busy = 0;
        for (std::size_t k = 0; k < m_seeds.size(); k++) {
                auto const &s = m_seeds[k];
                busy += s.order != nullptr;
                if (!s.order && !s.dropped && s.backoff.may_be_asked(now))
                        idle.push_back(k);
        }
        std::stable_sort(idle.begin(), idle.end(), [this](std::size_t a, std::size_t b) {
                return m_seeds[a].rate > m_seeds[b].rate;
        });
        auto const most = std::size_t(std::max(0, web_fetcher::site_sockets_max - busy));
        if (idle.size() > most)
                idle.resize(most);
        return idle;
}

std::pair<int, int> web_seeds::files_of(int piece) const
{
        auto const &files = m_site->info->files();
        auto const begin = std::int64_t(piece) * files.piece_length();
        auto const end = begin + piece_size(piece);
        return {int(files.file_index_at_offset(begin)), int(files.file_index_at_offset(end - 1))};
}

bool web_seeds::has_files(seed const &s, int piece) const
{
        if (s.missing.empty())
                return true;
        auto const [first, last] = files_of(piece);
        auto const i = s.missing.lower_bound(first);
        return i == s.missing.end() || *i > last;
}

bool web_seeds::may_take(seed const &s, int piece, int priority, clock::time_point now) const
{
        if (s.bad.count(piece) > 0 || !has_files(s, piece))
                return false;
        auto const c = m_claims.find(piece);
        if (c != m_claims.end() && c->second.orders > 1)
                return false;
        if (!m_peers_give)
                return true;
        bool const begun = m_begun.count(piece) > 0;
        if (priority < BT_PRIORITY_TOP)
                return !begun && (priority <= far || s.rate == 0 ||
                                  m_site->info->piece_length() <= near_s * s.rate);
        auto const since = m_awaited.find(piece);
        auto const age = since == m_awaited.end() ? clock::duration::zero() : now - since->second;
        return age >= (begun ? peers_late : peers_first);
}

int web_seeds::choose(seed const &s, clock::time_point now) const
{
        int looks = 0;
        for (int priority = BT_PRIORITY_TOP; priority > 0; priority--) {
                auto const &open = m_open[std::size_t(priority)];
                for (int p = open.next(0); p >= 0; p = open.next(p + 1)) {
                        if (may_take(s, p, priority, now))
                                return p;
                        if (++looks == looks_max)
                                return -1;
                }
        }
        return -1;
}

void web_seeds::assign()
{
        if (!m_ready || !m_timer || m_assigning || m_torrent->removed || open_count() == 0)
                return;
        auto const now = clock::now();
        auto idle = idle_seeds(now);
        // Nothing can be written.
        auto const stopped = lt::torrent_flags::upload_mode | lt::torrent_flags::paused;
        if (idle.empty() || (m_handle.flags() & stopped))
                return;
        // What is given free below comes back here.
        struct at_work {
                bool &flag;
                explicit at_work(bool &f) : flag(f)
                {
                        flag = true;
                }
                ~at_work()
                {
                        flag = false;
                }
        } const here(m_assigning);
        look_at_peers();
        while (!idle.empty() && assign_one(idle, now))
                idle = idle_seeds(now);
}

bool web_seeds::assign_one(std::vector<std::size_t> const &idle, clock::time_point now)
{
        auto const piece_length = m_site->info->piece_length();
        auto const held = std::int64_t(m_claims.size() + m_trials.size()) * piece_length;
        if (held > 0 && held + piece_length > claimed_bytes_max)
                return false;
        if (!fetcher().has_room(std::size_t(piece_length)))
                return false;
        for (auto const k : idle) {
                auto const &s = m_seeds[k];
                int const first = choose(s, now);
                if (first < 0)
                        continue;
                // Each that is idle has a share, and claims stay bounded.
                double most = s.rate > 0 ? std::min(s.rate, order_bytes_max) : order_bytes_unknown;
                most = std::min({most, double(open_count()) * piece_length / double(idle.size()),
                                 double(claimed_bytes_max - held)});
                if (long const limit = fetcher().rate_max(); limit > 0)
                        most = std::min(most, double(limit));
                int n = 1;
                while (double(n + 1) * piece_length <= most &&
                       first + n < m_site->info->num_pieces() && is_open(first + n) &&
                       m_partials.count(first + n) == 0 &&
                       may_take(s, first + n, m_torrent->anchor.priority_of(first + n), now))
                        n++;
                ask(k, first, n, now);
                return true;
        }
        return steal(now);
}

void web_seeds::ask(std::size_t k, int first, int n, clock::time_point now)
{
        auto &s = m_seeds[k];
        auto const order = std::make_shared<web_order>();
        order->site = m_site->id;
        order->url = s.url;
        order->pieces.reserve(std::size_t(n));
        for (int i = 0; i < n; i++)
                order->pieces.emplace_back(first + i, std::size_t(piece_size(first + i)));
        order->set_end(std::size_t(n));
        if (auto const p = m_partials.find(first); p != m_partials.end()) {
                bool const mixed = p->second.piece.mixed || p->second.from != k;
                order->pieces[0] = std::move(p->second.piece);
                order->pieces[0].mixed = mixed;
                m_partials.erase(p);
        }
        // They are called by the fetching thread, which has neither this nor the torrent.
        auto const post = [io = network_of(*m_torrent),
                           owner = m_torrent->weak_from_this()](auto what) {
                boost::asio::post(*io, [owner, what = std::move(what)]() mutable {
                        auto const t = owner.lock();
                        if (!t)
                                return;
                        (void)guarded(nullptr, [&] {
                                if (t->web->m_timer && !t->removed)
                                        what(*t->web);
                                return 0;
                        });
                });
        };
        order->on_piece = [post, k](web_piece &&p) {
                post([k, p = std::move(p)](web_seeds &w) mutable {
                        w.piece_came(k, std::move(p));
                });
        };
        order->on_end = [post, k, o = std::weak_ptr<web_order>(order)](
                                web_result &&r, std::vector<web_piece> &&left) {
                post([k, o = o.lock(), r = std::move(r),
                      left = std::move(left)](web_seeds &w) mutable {
                        w.order_ended(k, o, std::move(r), std::move(left));
                });
        };
        fetcher().fetch(m_site, order);
        s.order = order;
        s.first = first;
        s.seen = 0;
        s.moved_at = now;
        std::vector<int> held;
        for (int p = first; p < first + n; p++) {
                auto &c = m_claims[p];
                if (c.orders++ == 0 && m_begun.count(p) == 0)
                        held.push_back(p);
                else
                        c.freed = true;
                update(p);
        }
        m_torrent->anchor.hold_back(held);
}

// Takes back what lies behind so many of the order's pieces.
void web_seeds::shorten(seed &s, std::size_t end)
{
        auto const before = s.order->where().second;
        end = s.order->end_at(end);
        std::vector<int> pieces;
        for (std::size_t i = end; i < before; i++)
                pieces.push_back(s.first + int(i));
        close_claims(pieces);
}

// What nobody wants any more.
void web_seeds::reconsider()
{
        double const piece_length = m_site->info->piece_length();
        for (auto &s : m_seeds) {
                if (!s.order || s.order->is_cut)
                        continue;
                auto const [at, end] = s.order->where();
                auto wanted = end;
                while (wanted > at && !m_torrent->anchor.wants(s.first + int(wanted) - 1))
                        wanted--;
                if (wanted == at) {
                        // Of the piece that comes now some has come.
                        if (s.rate == 0 || double(end - at) * piece_length > vain_s * s.rate)
                                fetcher().cut(s.order);
                } else if (double(end - wanted) * piece_length >
                           std::max(vain_tail_bytes, vain_tail_s * s.rate)) {
                        shorten(s, wanted);
                }
        }
}

// For one that has nothing to do: the second half of what would take another one too long.
bool web_seeds::steal(clock::time_point now)
{
        seed *slowest = nullptr;
        double longest = share_s;
        for (auto &s : m_seeds) {
                if (!s.order || s.order->is_cut)
                        continue;
                auto const [at, end] = s.order->where();
                if (end - at < 2)
                        continue;
                auto const took = std::chrono::duration<double>(now - s.order->since).count();
                double const rate = std::max(1.0, double(s.order->received) / std::max(took, 0.1));
                double const left = double(end - at) * m_site->info->piece_length() / rate;
                if (took > share_s && left > longest) {
                        longest = left;
                        slowest = &s;
                }
        }
        if (!slowest)
                return false;
        auto const [at, end] = slowest->order->where();
        shorten(*slowest, at + (end - at + 1) / 2);
        return slowest->order->where().second < end;
}

// Whoever has what a reader waits for, and is late with it.
void web_seeds::watch(clock::time_point now)
{
        double const piece_length = m_site->info->piece_length();
        auto const idle = idle_seeds(now);
        bool const peers = m_torrent->peers->has_peers();
        std::vector<int> late;
        for (auto &s : m_seeds) {
                if (!s.order || s.order->is_cut)
                        continue;
                auto const [at, end] = s.order->where();
                auto const awaited = m_awaited.lower_bound(s.first + int(at));
                if (awaited == m_awaited.end() || awaited->first >= s.first + int(end))
                        continue;
                int const piece = awaited->first;
                bool const others =
                        peers || std::any_of(idle.begin(), idle.end(), [&](std::size_t k) {
                                return has_files(m_seeds[k], piece);
                        });
                if (!others)
                        continue;
                if (now - std::max(s.moved_at, awaited->second) > s.patience) {
                        s.stalled = true;
                        fetcher().cut(s.order);
                        continue;
                }
                auto const took = std::chrono::duration<double>(now - s.order->since).count();
                double const rate = std::max(1.0, double(s.order->received) / std::max(took, 0.1));
                double const until = double(piece - s.first + 1) * piece_length;
                auto &c = m_claims[piece];
                if (now - std::max(s.order->since, awaited->second) > late_after && !c.freed &&
                    (until - double(s.order->received)) / rate > late_s) {
                        c.freed = true;
                        late.push_back(piece);
                }
        }
        m_torrent->anchor.give_free(late);
        for (int const p : late)
                update(p);
}
