// SPDX-License-Identifier: MIT
// settings.hpp: the settings a session starts from, and the user's.
#pragma once

#include "bt.h"
#include "parts.hpp"

#include <libtorrent/settings_pack.hpp>

#include <cstddef>

// Descriptors that this process may have.
int files_max();

// The settings every session starts from (settings.cpp says why each), then the user's.
lt::settings_pack default_settings();
int apply_settings(lt::settings_pack &pack, engine_parts &parts, bt_setting const *settings,
                   size_t n, bt_error *err);
