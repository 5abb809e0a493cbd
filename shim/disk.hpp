// SPDX-License-Identifier: MIT
// disk.hpp: the session's disk, which is the store callbacks of bt.h.
#pragma once

#include "torrent.hpp"

#include <libtorrent/disk_interface.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/version.hpp>

#include <memory>

#if LIBTORRENT_VERSION_MAJOR != 2 || LIBTORRENT_VERSION_MINOR != 0
#error "shim/disk.cpp implements the disk_interface of libtorrent 2.0.x; 2.1 changed it"
#endif

std::unique_ptr<lt::disk_interface> make_disk(lt::io_context &io, torrent_table &torrents,
                                              anchor_disk **anchors, digest_disk **digests);
