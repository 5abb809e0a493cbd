// SPDX-License-Identifier: MIT
// inner.hpp: what libtorrent keeps of a peer and shows to nobody: whether it trusts it, what its
// protocol takes. Network thread only. (What it keeps of pieces: unhave.hpp.)
//
// Its own headers say where that is, so this holds for the very version that was compiled against;
// with another one nothing is known, and libtorrent trusts whom it likes.
#pragma once

#include <libtorrent/peer_connection_handle.hpp>

#include <cstdint>

// libtorrent keeps to itself what UBSan would compare the types of its objects with.
#define WITHOUT_TYPEINFO __attribute__((no_sanitize("vptr")))

// It is the version that was compiled against. Any thread.
bool inner_is_known();

// libtorrent 2.0.8 counts an honest peer's right pieces up to 8 in a number that holds 7: it
// becomes -8, and the next wrong piece that the peer gave something of has it banned. To forget is
// to count from 0 again.
void forget_trust(lt::peer_connection_handle const &peer);
// It is no longer asked only for pieces that nobody else gives anything of.
void end_parole(lt::peer_connection_handle const &peer);
// libtorrent has just banned the peer, and hangs up on it: it may come again.
void lift_ban(lt::peer_connection_handle const &peer);

// Bytes on the wire so far that are neither content nor the addresses of packets.
struct chatter {
        std::int64_t down = 0, up = 0;
};
chatter chatter_of(lt::peer_connection_handle const &peer);
