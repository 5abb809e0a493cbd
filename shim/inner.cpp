// SPDX-License-Identifier: MIT
#include "inner.hpp"

#include "reach.hpp"

#include <libtorrent/aux_/socket_type.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_connection.hpp>
#include <libtorrent/socket.hpp>
#include <libtorrent/stat.hpp>
#include <libtorrent/torrent_peer.hpp>
#include <libtorrent/version.hpp>

#include <algorithm>
#include <cstring>

bool inner_is_known()
{
        static bool const as_compiled = std::strcmp(lt::version(), LIBTORRENT_VERSION) == 0;
        return as_compiled;
}

namespace
{

REACH(queue_length, lt::peer_connection::m_desired_queue_size);
REACH(sent, lt::peer_connection::m_download_queue);
REACH(unsent, lt::peer_connection::m_request_queue);
REACH(connected_at, lt::peer_connection::m_connect);
REACH(uninteresting_since, lt::peer_connection::m_became_uninteresting);
REACH(write_cancel, lt::peer_connection::write_cancel);

// They are bits, which have no address.
struct endgame final : lt::peer_connection_hot_members {
        static void end(lt::peer_connection_hot_members &c)
        {
                static_cast<endgame &>(c).m_endgame_mode = false;
        }
};

struct interest final : lt::peer_connection_hot_members {
        static void forget(lt::peer_connection_hot_members &c)
        {
                static_cast<interest &>(c).m_interesting = false;
        }
};

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

// Of one that has called us it may keep nothing.
WITHOUT_TYPEINFO void hang_up_to_call(lt::peer_connection_handle &peer)
{
        auto const c = peer.native_handle();
        auto *const r = peer.is_outgoing() ? record_of(c.get()) : nullptr;
        peer.disconnect(lt::errors::timed_out, lt::operation_t::bittorrent);
        if (r)
                r->last_connected = 0;
}

WITHOUT_TYPEINFO void send_at_once(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        lt::error_code failed; // then it waits, as it did before
        if (record_of(c.get()))
                c->get_socket().set_option(lt::tcp::no_delay(true), failed);
}

WITHOUT_TYPEINFO void set_queue_length(lt::peer_connection_handle const &peer, int requests)
{
        auto const c = peer.native_handle();
        if (!record_of(c.get()))
                return;
        auto const n = ((*c).*member(unsent())).size();
        auto const least = n > 0 ? int(n + ((*c).*member(sent())).size()) : 0;
        (*c).*member(queue_length()) = std::uint16_t(std::max(requests, least));
}

WITHOUT_TYPEINFO bool has_unsent(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        return record_of(c.get()) && !((*c).*member(unsent())).empty();
}

WITHOUT_TYPEINFO void end_endgame(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        if (record_of(c.get()))
                endgame::end(*c);
}

WITHOUT_TYPEINFO void forget_interest(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        if (!record_of(c.get()) || !peer.is_interesting())
                return;
        interest::forget(*c);
        ((*c).*member(uninteresting_since()))
                .set((*c).*member(connected_at()), lt::clock_type::now());
}

WITHOUT_TYPEINFO void cancel_request(lt::peer_connection_handle const &peer,
                                     lt::peer_request const &r)
{
        auto const c = peer.native_handle();
        if (record_of(c.get()))
                ((*c).*member(write_cancel()))(r);
}

bool is_on_parole(lt::peer_connection_handle const &peer)
{
        auto const *const r = record_of(peer.native_handle().get());
        return r && r->on_parole;
}

WITHOUT_TYPEINFO std::int64_t content_of(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        return record_of(c.get()) ? c->statistics().total_payload_download() : 0;
}

WITHOUT_TYPEINFO chatter chatter_of(lt::peer_connection_handle const &peer)
{
        auto const c = peer.native_handle();
        if (!record_of(c.get()))
                return {};
        auto const &s = c->statistics();
        return {s.total_protocol_download(), s.total_protocol_upload()};
}
