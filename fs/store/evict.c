/* SPDX-License-Identifier: MIT */
#include "store/evict.h"

#define MIB (UINT64_C(1) << 20)

/* Parts of the limit. */
enum { BATCH_PART = 20, BATCH_PART_MAX = 8 };
#define BATCH_MIN (64 * MIB)

/* Whether a stands before b in an order. */
typedef bool order(const struct evict_piece *a, const struct evict_piece *b);

static bool by_place(const struct evict_piece *a, const struct evict_piece *b)
{
        return a->owner != b->owner ? a->owner < b->owner : a->piece < b->piece;
}

static bool goes_before(const struct evict_piece *a, const struct evict_piece *b)
{
        if (a->end != b->end)
                return b->end;
        if (a->used != b->used)
                return a->used < b->used;
        return a->owner != b->owner ? a->owner < b->owner : a->piece > b->piece;
}

static bool goes_after(const struct evict_piece *a, const struct evict_piece *b)
{
        return goes_before(b, a);
}

static void swap(struct evict_piece *a, struct evict_piece *b)
{
        struct evict_piece t = *a;

        *a = *b;
        *b = t;
}

/* ---- a heap: none stands, in the order, behind the one above it; the last of all is the first
 * one ---- */

static void sink(struct evict_piece *heap, size_t n, size_t i, order *before)
{
        size_t child;

        while ((child = 2 * i + 1) < n) {
                if (child + 1 < n && before(&heap[child], &heap[child + 1]))
                        child++;
                if (!before(&heap[i], &heap[child]))
                        return;
                swap(&heap[i], &heap[child]);
                i = child;
        }
}

static void make_heap(struct evict_piece *p, size_t n, order *before)
{
        for (size_t i = n / 2; i-- > 0;)
                sink(p, n, i, before);
}

/* Puts the first one behind the rest. */
static void pop(struct evict_piece *heap, size_t n, order *before)
{
        swap(&heap[0], &heap[n - 1]);
        sink(heap, n - 1, 0, before);
}

size_t evict_choose(struct evict_piece *p, size_t n, uint64_t bytes)
{
        size_t left = n, chosen;
        uint64_t sum = 0;

        make_heap(p, n, goes_after);
        for (; left > 0 && sum < bytes; left--) {
                pop(p, left, goes_after);
                sum += p[left - 1].bytes;
        }
        chosen = n - left;
        for (size_t i = 0; i < n / 2; i++)
                swap(&p[i], &p[n - 1 - i]);
        make_heap(p, chosen, by_place);
        for (size_t i = chosen; i > 1; i--)
                pop(p, i, by_place);
        return chosen;
}

uint64_t evict_batch(uint64_t limit, uint64_t lacks)
{
        uint64_t batch = limit / BATCH_PART;

        if (batch < BATCH_MIN)
                batch = BATCH_MIN;
        if (batch > limit / BATCH_PART_MAX)
                batch = limit / BATCH_PART_MAX;
        return batch > lacks ? batch : lacks;
}

uint64_t evict_low(uint64_t limit)
{
        return evict_batch(limit, 0) / 2;
}
