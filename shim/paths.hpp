// SPDX-License-Identifier: MIT
// paths.hpp: the paths of an info dictionary as the torrent has them.
#pragma once

#include "bt.h"

#include <libtorrent/bdecode.hpp>

#include <string>
#include <vector>

// The name of an info dictionary and its paths, joined by '/'; a '/' or NUL inside a component is
// '_'.
struct raw_paths {
        std::string name;
        std::vector<std::string> paths;
        bool with_pads = false; // BEP 47's files are among them
};

// Reads the paths in their order. What is no path is passed over: libtorrent refuses it. 0, or
// -E2BIG at the first that is over a limit, before anything has to hold all of them.
int read_paths(lt::bdecode_node const &info, bt_limits const &limits, raw_paths &ret,
               bt_error *err);
