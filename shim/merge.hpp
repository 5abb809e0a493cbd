// SPDX-License-Identifier: MIT
// merge.hpp: what is learned of a torrent after it was added.
#pragma once

#include "torrent.hpp"

#include <libtorrent/add_torrent_params.hpp>

// See bt_torrent_merge; p are those of its source. Network thread only.
void merge(bt_torrent &t, lt::add_torrent_params const &p);
// The metadata has come, and it says that the torrent is private: whoever else was found is nobody
// to talk to (BEP 27). Network thread only.
void become_private(bt_torrent &t);
