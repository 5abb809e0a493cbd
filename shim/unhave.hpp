// SPDX-License-Identifier: MIT
// unhave.hpp: libtorrent forgets a piece that it has. It has no call for that (but to take the
// torrent out and add it again, which costs all connections). Network thread only.
#pragma once

#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/torrent_handle.hpp>

// From here on it counts the piece as missing, and nobody is asked for it until it is wanted again.
// Peers are not told. False: it counts it as there, as before; so it is of a torrent that is
// complete, and with a libtorrent other than the one that was compiled against.
bool unhave(lt::torrent_handle const &h, int piece);
// BEP 54: tells the peer that the piece is not there, where it knows what that is.
void say_dont_have(lt::peer_connection_handle const &peer, int piece);
// BEP 3: tells the peer that the piece is there.
void say_have(lt::peer_connection_handle const &peer, int piece);
