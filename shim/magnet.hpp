// SPDX-License-Identifier: MIT
// magnet.hpp: magnets as people paste them.
#pragma once

#include "bt.h"

#include <string>
#include <string_view>

// Makes of a pasted text the magnet URI that libtorrent's parser understands as it was meant:
// blanks, quotes and brackets around it go, and so does a fragment (RFC 3986 §3.5); scheme and URN
// are taken in any case, slashes behind the scheme are passed over; '%' that escapes nothing is a
// '%'. What has no '=' belongs to the name before it (dn=Tom&Jerry) or is skipped, where libtorrent
// would take the next parameter for its value. A bare info-hash becomes a magnet. -EINVAL with a
// reason: it is no magnet, or has an info-hash that is none. Any thread; never blocks.
int clean_magnet(std::string_view text, std::string &ret, bt_error *err);
