// SPDX-License-Identifier: MIT
// parts.hpp: the parts of the engine that can be left out, so that what each gives can be measured
// (scripts/bench --levers). All are there unless a setting says otherwise.
#pragma once

struct engine_parts {
        bool anchor = true; // a piece that keeps peers interested while nobody reads
        bool boost = true;  // known peers are connected to when a torrent is added, not in a tick
        bool call_again = true; // peers that went are called again at once
        bool cancel = true;     // what nobody wants any more is taken back from peers
        bool deadlines = true;  // the piece a reader waits for has one
        bool falling = true;    // priorities fall with the distance from the reader
        bool watch = true;      // a peer that holds a reader up is hung up on
};

// The part of that setting ("engine_anchor" …); nullptr: there is none.
bool *part_by_name(engine_parts &parts, char const *setting);
