// SPDX-License-Identifier: MIT
// piece_set.hpp: a set of pieces as a bitmap that knows how many it holds. Pure; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

class piece_set
{
      public:
        piece_set() = default;
        // All pieces below n.
        explicit piece_set(int n) : m_words(std::size_t(n + 63) / 64, ~std::uint64_t(0)), m_count(n)
        {
                if (n % 64 != 0)
                        m_words.back() = (std::uint64_t(1) << (n % 64)) - 1;
        }

        // None yet, of pieces below n.
        static piece_set none(int n)
        {
                piece_set r;
                r.m_words.resize(std::size_t(n + 63) / 64);
                return r;
        }

        int count() const
        {
                return m_count;
        }
        bool has(int piece) const
        {
                return piece >= 0 && word(piece) < m_words.size() &&
                       (m_words[word(piece)] & bit(piece)) != 0;
        }
        void insert(int piece)
        {
                m_count += !has(piece);
                m_words[word(piece)] |= bit(piece);
        }
        void erase(int piece)
        {
                m_count -= has(piece);
                m_words[word(piece)] &= ~bit(piece);
        }
        // The first one that is not below from (>= 0), or -1. A 64th of the pieces it passes over.
        int next(int from) const
        {
                std::size_t i = word(from);
                if (m_count == 0 || i >= m_words.size())
                        return -1;
                std::uint64_t bits = m_words[i] & ~(bit(from) - 1);
                while (bits == 0) {
                        if (++i == m_words.size())
                                return -1;
                        bits = m_words[i];
                }
                return int(i * 64) + __builtin_ctzll(bits);
        }

      private:
        static std::size_t word(int piece)
        {
                return std::size_t(piece) / 64;
        }
        static std::uint64_t bit(int piece)
        {
                return std::uint64_t(1) << (piece % 64);
        }

        std::vector<std::uint64_t> m_words;
        int m_count = 0;
};
