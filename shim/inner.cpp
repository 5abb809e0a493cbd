// SPDX-License-Identifier: MIT
#include "inner.hpp"

#include <libtorrent/peer_connection.hpp>
#include <libtorrent/stat.hpp>
#include <libtorrent/torrent_peer.hpp>
#include <libtorrent/version.hpp>

#include <cstring>

bool inner_is_known()
{
        static bool const as_compiled = std::strcmp(lt::version(), LIBTORRENT_VERSION) == 0;
        return as_compiled;
}

namespace
{

// It is libtorrent's, and there only as long as the connection is. nullptr: it is not known.
WITHOUT_TYPEINFO lt::torrent_peer *record_of(lt::peer_connection const *c)
{
        return c && inner_is_known() ? c->peer_info_struct() : nullptr;
}

} // namespace

void forget_trust(lt::peer_connection_handle const &peer)
{
        if (auto *const r = record_of(peer.native_handle().get()))
                r->trust_points = 0;
}

void end_parole(lt::peer_connection_handle const &peer)
{
        if (auto *const r = record_of(peer.native_handle().get()))
                r->on_parole = false;
}

void lift_ban(lt::peer_connection_handle const &peer)
{
        if (auto *const r = record_of(peer.native_handle().get()))
                r->banned = false;
}

WITHOUT_TYPEINFO chatter chatter_of(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        if (!record_of(c.get()))
                return {};
        auto const &s = c->statistics();
        return {s.total_protocol_download(), s.total_protocol_upload()};
}
