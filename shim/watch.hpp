// SPDX-License-Identifier: MIT
// watch.hpp: what libtorrent tells at once of a torrent and its peers.
#pragma once

#include "torrent.hpp"

#include <libtorrent/extensions.hpp>
#include <libtorrent/torrent_handle.hpp>

#include <memory>

// The plugin that leads what happens to the torrent, its peers and its web seeds to whom it
// concerns: the callbacks, the anchor, the swarm. Network thread only.
std::shared_ptr<lt::torrent_plugin> make_torrent_watch(std::shared_ptr<bt_torrent> t,
                                                       lt::torrent_handle h);
