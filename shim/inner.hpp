// SPDX-License-Identifier: MIT
// inner.hpp: what libtorrent keeps of a peer and shows to nobody: whether it trusts it, what its
// protocol takes. Network thread only. (What it keeps of pieces: unhave.hpp.)
//
// Its own headers say where that is, so this holds for the very version that was compiled against;
// with another one nothing is known, and libtorrent trusts whom it likes.
#pragma once

#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_request.hpp>

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
// Hangs up on the peer, which did nothing wrong: libtorrent calls it again within a second, where
// it would after min_reconnect_time.
void hang_up_to_call(lt::peer_connection_handle &peer);

// TCP sends at once what libtorrent writes to the peer. libtorrent leaves Nagle's algorithm on: a
// request waited until the peer had acknowledged the message before it, which takes a round trip
// and 40 ms more where that is Linux. (uTP has that algorithm, too; it is left as it is.)
void send_at_once(lt::peer_connection_handle const &peer);

// How many requests libtorrent has the peer have in flight, until it changes that itself: with a
// block that comes, before peer_plugin::on_piece(), and once a second. What it has picked for the
// peer is sent all the same. With 0 it asks the peer for nothing, but may pick what it does not
// send then.
void set_queue_length(lt::peer_connection_handle const &peer, int requests);
// Whether it has picked something for the peer that was not sent.
bool has_unsent(lt::peer_connection_handle const &peer);
// Where libtorrent had nothing left to ask the peer for it asks for one block the next time, and
// for more when all that was asked for has come: it is to do as with others.
void end_endgame(lt::peer_connection_handle const &peer);
// libtorrent takes the peer for one that was told of no interest: it is not told so, and goes on
// taking us for interested. libtorrent's count of those that interest it, which nothing here looks
// at, is not changed: one too many each time.
void forget_interest(lt::peer_connection_handle const &peer);
// Tells the peer that the request is taken back, and libtorrent that the peer has refused it where
// the peer will not answer that (without BEP 6).
void cancel_request(lt::peer_connection_handle const &peer, lt::peer_request const &r);
bool is_on_parole(lt::peer_connection_handle const &peer);

// Bytes of content so far, with those of the block under way.
std::int64_t content_of(lt::peer_connection_handle const &peer);

// Bytes on the wire so far that are neither content nor the addresses of packets.
struct chatter {
        std::int64_t down = 0, up = 0;
};
chatter chatter_of(lt::peer_connection_handle const &peer);
