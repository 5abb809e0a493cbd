// SPDX-License-Identifier: MIT
// save.hpp: what survives a torrent's end: its metadata, its sources, its peers and the hashes of
// its pieces.
#pragma once

#include "metadata.hpp"
#include "torrent.hpp"

#include <libtorrent/add_torrent_params.hpp>

// What the shim knows of a torrent and libtorrent does not. Network thread only.
known_sources sources_of(bt_torrent &t);
// What libtorrent knows of it (its resume data) and k, as a source. Any thread.
std::unique_ptr<bt_source> source_of(lt::add_torrent_params &&resume, known_sources &&k);
