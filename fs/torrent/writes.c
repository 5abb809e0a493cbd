/* SPDX-License-Identifier: MIT */
#include "torrent/writes.h"

bool writes_tick(struct writes *w, bool stopped)
{
        bool tell = stopped || w->again;

        w->again = stopped;
        return tell;
}

bool writes_failed(struct writes *w, uint64_t last_block_ms, uint64_t now)
{
        bool news = !w->failed || last_block_ms >= w->failed_ms;

        w->failed = true;
        w->failed_ms = now;
        return news;
}
