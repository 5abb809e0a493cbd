// SPDX-License-Identifier: MIT
// ranks.cpp: see ranks.hpp.
#include "ranks.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace
{

// What has one rank is a piece, or so many blocks where pieces are smaller; of the last rank it is
// several times as much: where more is asked for at once than is in the ranks before. The first has
// the priority below the top one.
constexpr int rank_blocks = 16;
constexpr std::array<int, 4> sizes{1, 1, 1, 4};
// Behind them it matters only whether it is in the nearer quarter of a reader's window.
constexpr int near_wish = 3, near = 2, far = 1;
// The first so many ranks asked for, and it is time to look again.
constexpr std::size_t leading = 2;
// So many pieces that nobody would give are passed over.
constexpr int passed_over_max = 256;

lt::download_priority_t to_priority(int number)
{
        return lt::download_priority_t(static_cast<std::uint8_t>(number));
}

bool is_ranked(lt::download_priority_t wish)
{
        return wish != lt::dont_download && wish != lt::top_priority;
}

lt::download_priority_t behind(lt::download_priority_t wish)
{
        return to_priority(to_number(wish) >= near_wish ? near : far);
}

// Which rank comes next.
class next_rank
{
      public:
        explicit next_rank(int blocks) : m_blocks(blocks), m_unit(std::max(blocks, rank_blocks))
        {
        }
        bool is_last() const
        {
                return m_rank == sizes.size();
        }
        bool leads() const
        {
                return m_rank < leading;
        }
        lt::download_priority_t priority() const
        {
                return to_priority(to_number(lt::top_priority) - 1 - int(m_rank));
        }
        void take()
        {
                m_taken += m_blocks;
                if (m_taken < sizes[m_rank] * m_unit)
                        return;
                m_rank++;
                m_taken = 0;
        }

      private:
        int m_blocks, m_unit;
        int m_taken = 0; // blocks of this rank
        std::size_t m_rank = 0;
};

} // namespace

// Where there is no memory it is as if this had not been called.
void ranks::change(int piece, lt::download_priority_t wish)
{
        if (!is_ranked(wish)) {
                auto const w = m_wishes.find(piece);
                if (w == m_wishes.end())
                        return;
                m_order.erase({-to_number(w->second.wish), w->second.turn, piece});
                m_wishes.erase(w);
                m_told.erase(piece);
                return;
        }
        auto &w = m_wishes[piece];
        if (w.wish == wish)
                return;
        // What is wished for less is nearer than what was already: a window has become smaller.
        unsigned const turn = wish < w.wish ? 0 : m_turn;
        m_order.emplace(-to_number(wish), turn, piece);
        m_order.erase({-to_number(w.wish), w.turn, piece});
        w = {wish, turn};
}

lt::download_priority_t ranks::of(int piece, lt::download_priority_t wish) const
{
        auto const t = m_told.find(piece);
        return t != m_told.end() ? t->second : behind(wish);
}

// What nobody would give takes no place of what somebody would, but has the rank that it would have
// else: somebody may soon. What all was asked for of keeps its rank: it may be free again.
void ranks::rank(told &these, std::map<int, int> const &left, pieces const &open,
                 pieces const &is_there)
{
        next_rank next(m_blocks), next_of_all(m_blocks);
        int passed_over = 0;

        m_left = 0;
        for (auto const &o : m_order) {
                int const piece = std::get<2>(o);
                auto const begun = left.find(piece);
                int const whole = piece == m_last ? m_blocks_of_last : m_blocks;
                int const to_ask = begun != left.end() ? begun->second : whole;

                if (to_ask == 0 || !open(piece)) {
                        if (m_told.count(piece) > 0)
                                these[piece] = m_told.at(piece);
                        continue;
                }
                bool const there = is_there(piece);
                if (there) {
                        these[piece] = next.priority();
                        m_left += next.leads() ? to_ask : 0;
                        next.take();
                } else if (!next_of_all.is_last()) {
                        these[piece] = next_of_all.priority();
                }
                if (!next_of_all.is_last())
                        next_of_all.take();
                passed_over += !there;
                if (next.is_last() || passed_over == passed_over_max)
                        return;
        }
}

ranks::changes ranks::look(std::map<int, int> const &left, pieces const &open,
                           pieces const &is_there)
{
        told these;
        changes r;

        m_left = 0;
        if (!m_order.empty() && std::get<0>(*m_order.begin()) < -to_number(lt::low_priority)) {
                rank(these, left, open, is_there);
                if (m_left == 0) { // nobody is there who would give any of it
                        these.clear();
                        rank(these, left, open, [](int) { return true; });
                }
        }
        for (auto const &t : these)
                if (of(t.first, m_wishes.at(t.first).wish) != t.second)
                        r.emplace_back(lt::piece_index_t(t.first), t.second);
        for (auto const &t : m_told) {
                auto const other = behind(m_wishes.at(t.first).wish);
                if (these.count(t.first) == 0 && t.second != other && open(t.first))
                        r.emplace_back(lt::piece_index_t(t.first), other);
        }
        m_told = std::move(these);
        return r;
}

bool ranks::is_close_behind(int piece, int that) const
{
        int const blocks = std::max(1, m_blocks);
        return piece > that && piece - that < sizes.back() * std::max(blocks, rank_blocks) / blocks;
}

bool ranks::asked(int piece)
{
        auto const t = m_told.find(piece);
        if (t == m_told.end() || to_number(t->second) < to_number(lt::top_priority) - int(leading))
                return false;
        return --m_left == 0;
}
