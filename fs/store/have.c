/* SPDX-License-Identifier: MIT */
#include "store/have.h"

#include <errno.h>
#include <stdlib.h>

enum { WORD_BITS = 64, BYTE_BITS = 8 };

static uint64_t word(const struct have *h, uint32_t piece)
{
        return atomic_load_explicit(&h->words[piece / WORD_BITS], memory_order_acquire);
}

int have_init(struct have *h, uint64_t size, uint32_t piece_length)
{
        uint32_t pieces = (uint32_t)((size + piece_length - 1) / piece_length);

        *h = (struct have){.size = size, .piece_length = piece_length, .pieces = pieces};
        h->words = calloc(pieces / WORD_BITS + 1, sizeof *h->words);
        return h->words ? 0 : -ENOMEM;
}

void have_free(struct have *h)
{
        free(h->words);
        h->words = NULL;
}

uint64_t have_piece_bytes(const struct have *h, uint32_t piece)
{
        uint64_t left = h->size - (uint64_t)piece * h->piece_length;

        return left < h->piece_length ? left : h->piece_length;
}

bool have_set(struct have *h, uint32_t piece)
{
        uint64_t mask = 1ull << (piece % WORD_BITS);

        return !(
                atomic_fetch_or_explicit(&h->words[piece / WORD_BITS], mask, memory_order_release) &
                mask);
}

bool have_clear(struct have *h, uint32_t piece)
{
        uint64_t mask = 1ull << (piece % WORD_BITS);

        if (!(atomic_fetch_and(&h->words[piece / WORD_BITS], ~mask) & mask))
                return false;
        atomic_fetch_add(&h->generation, 1);
        return true;
}

bool have_has(const struct have *h, uint32_t piece)
{
        return word(h, piece) >> (piece % WORD_BITS) & 1;
}

uint32_t have_first_missing(const struct have *h, uint32_t first, uint32_t end)
{
        uint32_t i = first;

        while (i < end) {
                uint64_t missing = ~word(h, i) >> (i % WORD_BITS);

                if (missing) {
                        i += (uint32_t)__builtin_ctzll(missing);
                        return i < end ? i : end;
                }
                i = (i / WORD_BITS + 1) * WORD_BITS;
        }
        return end;
}

uint32_t have_first_there(const struct have *h, uint32_t first, uint32_t end)
{
        uint32_t i = first;

        while (i < end) {
                uint64_t there = word(h, i) >> (i % WORD_BITS);

                if (there) {
                        i += (uint32_t)__builtin_ctzll(there);
                        return i < end ? i : end;
                }
                i = (i / WORD_BITS + 1) * WORD_BITS;
        }
        return end;
}

uint64_t have_in(const struct have *h, uint64_t offset, uint64_t len)
{
        uint32_t first, last;
        uint64_t sum = 0;

        if (len == 0)
                return 0;
        first = (uint32_t)(offset / h->piece_length);
        last = (uint32_t)((offset + len - 1) / h->piece_length);
        if (first == last)
                return have_has(h, first) ? len : 0;
        if (have_has(h, first))
                sum += (uint64_t)(first + 1) * h->piece_length - offset;
        if (have_has(h, last))
                sum += offset + len - (uint64_t)last * h->piece_length;
        for (uint32_t i = first + 1; i < last;) {
                uint32_t n = WORD_BITS - i % WORD_BITS;
                uint64_t bits = word(h, i) >> (i % WORD_BITS);

                if (n > last - i)
                        n = last - i;
                if (n < WORD_BITS)
                        bits &= (1ull << n) - 1;
                sum += (uint64_t)__builtin_popcountll(bits) * h->piece_length;
                i += n;
        }
        return sum;
}

size_t have_bitmap_bytes(uint32_t pieces)
{
        return ((size_t)pieces + BYTE_BITS - 1) / BYTE_BITS;
}

void have_to_bitmap(const struct have *h, uint8_t *out)
{
        for (size_t i = 0; i < have_bitmap_bytes(h->pieces); i++) {
                uint32_t piece = (uint32_t)i * BYTE_BITS;

                out[i] = (uint8_t)(word(h, piece) >> (piece % WORD_BITS));
        }
}
