// SPDX-License-Identifier: MIT
// parts.hpp: the parts of the engine that can be left out, so that what each gives can be measured
// (scripts/bench --levers). All are there unless a setting says otherwise.
#pragma once

// Figures are over the bench's links, with the part and without: see tests/bench/README.md.
struct engine_parts {
        // A piece that keeps peers interested while nobody reads: anchor.cpp.
        bool anchor = true;
        // Known peers are connected to when a torrent is added, not in a tick: 12 ms to the first
        // 64 KiB against 80, at worst 30 against 990.
        bool boost = true;
        // Peers that went are called again at once: bytes 1.1 s after their return against 7.1.
        bool call_again = true;
        // What peers were asked for and nobody wants any more is taken back: 0.52 MB in vain
        // against 0.55.
        bool cancel = true;
        // Pieces are asked for in the order in which a reader comes to them (ranks.hpp): ctorrent
        // alone, 64 MiB whole 5.63 s; with priorities that fell with the distance, and no order
        // among those of one, 6.34 s (6.07-6.95).
        bool falling = true;
        // Seeds of Transmission are told that something of theirs is wanted before the metadata is
        // there, as they give places in rounds: the first 64 KiB 5.4 s against 13.6 where a round
        // falls between, else no difference.
        bool interest = true;
        // What peers were asked for before a piece that a reader waits for is taken back: eight
        // peers at 250 ms, a seek 1.67 s against 1.84; pieces of 1 MiB 0.94 s against 1.06.
        bool make_way = true;
        // How much each peer is asked for at a time: one at 50 Mbit/s among twenty at 0.3, the
        // first 64 KiB in pieces of 4 MiB 2.3 s against 3.7; in pieces of 1 MiB no stall
        // against 1.2 s.
        bool queues = true;
        // The last blocks of a piece that a reader waits for are asked of a quicker peer, too: one
        // at 50 Mbit/s among twenty at 0.3, pieces of 4 MiB, a seek 1.4 s against 1.9, the first
        // 64 KiB 3.6 s against 4.8.
        bool spares = true;
        // A peer that holds a reader up is hung up on: at worst 1.0 s against 5.1.
        bool watch = true;
};

// The part of that setting ("engine_anchor" …); nullptr: there is none.
bool *part_by_name(engine_parts &parts, char const *setting);
