// SPDX-License-Identifier: MIT
// unhave.cpp: does what libtorrent's piece_picker::we_dont_have does, which it does not export, for
// a piece that nobody wants.
//
// What a piece is is known to the picker alone: torrent::have_piece, and with it what peers may ask
// for and what is sent in bitfields, asks that. A torrent that is complete has no picker, or has
// one no longer in a moment, and is in another state besides: of that nothing is changed here.
#include "unhave.hpp"

#include "inner.hpp"
#include "reach.hpp"

#include <libtorrent/download_priority.hpp>
#include <libtorrent/peer_connection.hpp>
#include <libtorrent/piece_picker.hpp>
#include <libtorrent/torrent.hpp>

#include <memory>

namespace
{

REACH(map, lt::piece_picker::m_piece_map);
REACH(pads, lt::piece_picker::m_pads_in_piece);
REACH(num_passed, lt::piece_picker::m_num_passed);
REACH(num_have, lt::piece_picker::m_num_have);
REACH(have_pad_bytes, lt::piece_picker::m_have_pad_bytes);
REACH(num_filtered, lt::piece_picker::m_num_filtered);
REACH(filtered_pad_bytes, lt::piece_picker::m_filtered_pad_bytes);
REACH(num_have_filtered, lt::piece_picker::m_num_have_filtered);
REACH(have_filtered_pad_bytes, lt::piece_picker::m_have_filtered_pad_bytes);
REACH(write_dont_have, lt::peer_connection::write_dont_have);
REACH(write_have, lt::peer_connection::write_have);

// The picker that knows of missing pieces, or nullptr.
WITHOUT_TYPEINFO lt::piece_picker *picker_of(lt::torrent &t)
{
        if (!t.has_picker())
                return nullptr;
        auto &p = t.picker();
        return p.num_passed() < p.num_pieces() ? &p : nullptr;
}

} // namespace

WITHOUT_TYPEINFO bool unhave(lt::torrent_handle const &h, int piece)
{
        auto const t = inner_is_known() ? h.native_handle() : nullptr;
        auto *const picker = t ? picker_of(*t) : nullptr;
        lt::piece_index_t const p(piece);
        if (!picker || piece < 0 || piece >= picker->num_pieces())
                return false;
        if (!h.have_piece(p))
                return true;
        // Then the picker has it on none of its lists.
        h.piece_priority(p, lt::dont_download);
        auto &at = (picker->*member(map()))[p];
        if (!at.have() || !at.filtered() || picker->*member(num_have()) < 1)
                return false;
        auto const &all_pads = picker->*member(pads());
        auto const pad = all_pads.find(p);
        int const pad_bytes = pad == all_pads.end() ? 0 : pad->second;
        picker->*member(num_passed()) -= 1;
        picker->*member(num_have()) -= 1;
        picker->*member(have_pad_bytes()) -= pad_bytes;
        picker->*member(num_have_filtered()) -= 1;
        picker->*member(have_filtered_pad_bytes()) -= pad_bytes;
        picker->*member(num_filtered()) += 1;
        picker->*member(filtered_pad_bytes()) += pad_bytes;
        at.set_not_have();
        return true;
}

WITHOUT_TYPEINFO void say_dont_have(lt::peer_connection_handle const &peer, int piece)
{
        auto const c = inner_is_known() ? peer.native_handle() : nullptr;
        if (c)
                ((*c).*member(write_dont_have()))(lt::piece_index_t(piece));
}

WITHOUT_TYPEINFO void say_have(lt::peer_connection_handle const &peer, int piece)
{
        auto const c = inner_is_known() ? peer.native_handle() : nullptr;
        if (c)
                ((*c).*member(write_have()))(lt::piece_index_t(piece));
}
