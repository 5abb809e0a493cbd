// SPDX-License-Identifier: MIT
// ut_metadata.hpp: metadata from peers and to peers.
#pragma once

#include "torrent.hpp"

#include <libtorrent/extensions.hpp>
#include <libtorrent/span.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <memory>

// Fetches the metadata of a torrent from its peers, and gives it to them (ut_metadata.cpp). NULL
// for a private torrent. Network thread only.
std::shared_ptr<lt::torrent_plugin> make_metadata_exchange(std::shared_ptr<bt_torrent> const &t,
                                                           lt::torrent_handle const &h);
// See bt_torrent_redial. Network thread only.
void redial(bt_torrent &t);
// Metadata that came another way than from peers, where there is none yet. Network thread only.
void take_metadata(bt_torrent &t, lt::span<char const> bytes);
