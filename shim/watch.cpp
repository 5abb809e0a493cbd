// SPDX-License-Identifier: MIT
// watch.cpp: the plugins that watch a torrent and its peers.
#include "watch.hpp"

#include "blame.hpp"
#include "error.hpp"
#include "hashes.hpp"
#include "inner.hpp"
#include "merge.hpp"
#include "metadata.hpp"
#include "session.hpp"
#include "swarm.hpp"
#include "webseeds.hpp"

#include <libtorrent/bdecode.hpp>
#include <libtorrent/bitfield.hpp>
#include <libtorrent/entry.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/time.hpp>
#include <libtorrent/torrent_status.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <utility>

namespace
{

// What happens on one connection to a peer. libtorrent calls the methods, and takes no exception
// from them: what there is no memory for is not noted, which makes this peer's conduct less well
// known and nothing else.
struct peer_watch final : lt::peer_plugin {
        std::shared_ptr<bt_torrent> const t;
        lt::peer_connection_handle peer;
        class conduct conduct;
        blame::giver_ptr giver;
        class requests requests;
        small_talk talk;
        lt::time_point connected; // when; it was called
        bool unsure = false;      // of what it was asked for: some of that could not be noted
        bool is_there = false;
        bool began_with_some = false; // pieces: it does not show them one by one
        // What libtorrent takes for asked, and the peer is not asked for yet.
        std::deque<lt::peer_request> held;

        peer_watch(std::shared_ptr<bt_torrent> torrent, lt::peer_connection_handle const &c)
            : t(std::move(torrent)), peer(c), conduct(c), talk(c)
        {
        }

        // The swarm and the hashes point to parts of this.
        ~peer_watch() override
        {
                leave({});
        }

        // Before anything else. If it throws, the destructor undoes what was done of it.
        void come()
        {
                is_there = true;
                giver = t->blame.came(peer);
                t->peers->came(conduct, peer.remote(), peer.is_outgoing());
        }

        void on_connected() noexcept override
        {
                connected = lt::clock_type::now();
                shielded([&] { leave_if_banned(); });
        }

        bool on_handshake(lt::span<char const> reserved) noexcept override
        {
                send_at_once(peer);
                shielded([&] {
                        requests.set_fast((reserved[7] & bep6) != 0);
                        conduct.answers_cancels = requests.has_fast();
                        conduct.extends = (reserved[5] & bep10) != 0;
                        if (leave_if_banned())
                                return;
                        if (connected != lt::time_point{})
                                conduct.pipe.shook_hands(lt::clock_type::now() - connected);
                        t->peers->shook_hands(conduct);
                        met(*t);
                        t->hashes.came(talk);
                });
                return true;
        }

        bool write_request(lt::peer_request const &r) noexcept override
        {
                return shielded_or(false, [&] {
                        if (!is_unwanted(r) && conduct.has_room() && held.empty())
                                return false;
                        held.push_back(r);
                        ask_held();
                        return true;
                });
        }

        void sent_request(lt::peer_request const &r) noexcept override
        {
                talk.sent(request_bytes);
                unsure |= shielded_or(true, [&] {
                        conduct.asked(r, requests.is_open(r));
                        requests.sent(r);
                        t->peers->asked(int(r.piece));
                        return false;
                });
        }

        // libtorrent tells peers that a torrent without wanted pieces only uploads, and seeds hang
        // up on hearing it. magnetfs will want pieces as soon as somebody reads: never say so.
        void add_handshake(lt::entry &handshake) noexcept override
        {
                shielded([&] {
                        if (t->parts.anchor)
                                handshake.dict().erase("upload_only");
                        if (t->is_private) // PEX was there before that was known
                                handshake["m"].dict().erase("ut_pex");
                });
        }

        // BEP 6 has every cancelled request answered. Transmission before 4.0 does not, and
        // libtorrent waits for the answer for ever: some cancelled requests and the peer is never
        // asked for anything again.
        bool on_extension_handshake(lt::bdecode_node const &h) noexcept override
        {
                shielded([&] {
                        auto const id = peer.pid();
                        if (id[0] == '-' && id[1] == 'T' && id[2] == 'R' && id[3] < '4')
                                conduct.is_mute();
                        if (h.type() == lt::bdecode_node::dict_t) {
                                conduct.takes =
                                        std::max<std::int64_t>(0, h.dict_find_int_value("reqq"));
                                auto const port = h.dict_find_int_value("p");
                                if (port > 0 && port <= std::numeric_limits<std::uint16_t>::max())
                                        t->peers->listens(conduct, int(port));
                        }
                        check_metadata_size(h);
                        t->peers->introduced(conduct);
                });
                return true;
        }

        void sent_cancel(lt::peer_request const &r) noexcept override
        {
                shielded([&] {
                        talk.sent(request_bytes);
                        // A peer without BEP 6 answers no cancel, so libtorrent did, and may have
                        // asked for it again since.
                        if (!requests.has_fast())
                                return;
                        auto const at = std::find(held.begin(), held.end(), r);
                        if (at != held.end()) {
                                if (conduct.mute)
                                        return; // it stays, and comes last
                                held.erase(at);
                                // It has to be asked for the answer to come.
                                ask(r);
                                conduct.say_cancel(r);
                        }
                        conduct.answered(r, false);
                        conduct.cancelled[{int(r.piece), r.start}] = lt::clock_type::now();
                        ask_held();
                });
        }

        bool on_reject(lt::peer_request const &r) noexcept override
        {
                if (!conduct.is_asked(r) && !conduct.is_cancelled(r) &&
                    conduct.spare_is_over(r, false)) {
                        requests.rejected(r);
                        shielded([&] { ask_held(); });
                        return true; // libtorrent knows nothing of it
                }
                shielded([&] {
                        conduct.rejected(r, lt::clock_type::now());
                        conduct.answered(r, false);
                        requests.rejected(r);
                        if (requests.has_fast())
                                talk.got(request_bytes);
                        else // libtorrent's own answer: it does not ask for it any more
                                held.erase(std::remove(held.begin(), held.end(), r), held.end());
                        conduct.cancelled.erase({int(r.piece), r.start});
                        t->peers->refused(conduct);
                        ask_held();
                });
                return false;
        }

        // libtorrent takes whatever comes. What nobody asked this peer for would come into a piece
        // of another one; if the block is there already it is thrown away as it is. Nobody gave
        // what could not be noted: its piece may be wrong without anybody being blamed.
        bool on_piece(lt::peer_request const &r, lt::span<char const> data) noexcept override
        {
                return shielded_or(false, [&] {
                        bool const by_libtorrent = conduct.is_asked(r);
                        bool const spare = conduct.spare_is_over(r, true) && !by_libtorrent;
                        bool const asked = spare || requests.answered(r) || unsure;
                        talk.got(piece_bytes);
                        if (r.length == 0)
                                return false; // BitComet says so that it will not answer
                        // Of a piece that is there nobody is noted as the giver: it may go again.
                        bool const has = t->anchor.has(int(r.piece));
                        bool const again = has || t->blame.is_given(r);
                        if (again)
                                t->redundant += std::size_t(data.size());
                        if (!asked) {
                                if (requests.is_flooded())
                                        t->blame.ban(giver);
                                return !again;
                        }
                        conduct.answered(r, true);
                        t->peers->gave(conduct);
                        if (spare) {
                                conduct.cancelled.erase({int(r.piece), r.start});
                                t->peers->gave_spare(giver, r, data);
                                // libtorrent takes it all the same where nobody else has given the
                                // block yet: who asks for it then would be blamed for it.
                                if (!has)
                                        t->blame.gave(giver, r);
                                ask_held();
                                return false;
                        }
                        if (!has)
                                t->blame.gave(giver, r);
                        if (!conduct.cancelled.empty())
                                conduct.cancelled.erase({int(r.piece), r.start});
                        ask_held();
                        return false;
                });
        }

        bool on_choke() noexcept override
        {
                conduct.choked();
                // With BEP 6 each request has an answer of its own, also now.
                shielded([&] {
                        for (auto const &r : std::exchange(held, {}))
                                if (requests.has_fast())
                                        ask(r);
                });
                return false;
        }

        bool on_bitfield(lt::bitfield const &pieces) noexcept override
        {
                began_with_some = !pieces.none_set();
                recognise();
                return false;
        }

        bool on_have_all() noexcept override
        {
                began_with_some = true;
                recognise();
                return false;
        }

        bool on_have(lt::piece_index_t p) noexcept override
        {
                if (!began_with_some) {
                        conduct.told = int(p);
                        shielded([&] { t->peers->shows(); });
                }
                talk.got(have_bytes);
                return false;
        }

        bool on_dont_have(lt::piece_index_t p) noexcept override
        {
                shielded([&] { t->peers->lacks(conduct, int(p)); });
                return false;
        }

        bool on_request(lt::peer_request const &) noexcept override
        {
                talk.got(request_bytes);
                return false;
        }

        void sent_have(lt::piece_index_t p) noexcept override
        {
                conduct.heard = int(p);
                talk.sent(have_bytes);
        }

        void sent_piece(lt::peer_request const &) noexcept override
        {
                talk.sent(piece_bytes);
        }

        // A new connection to it forgets what was cancelled; and the network was away, perhaps. One
        // that answers everything else is found by the swarm, and is called anew when it has
        // nothing to give.
        void tick() noexcept override
        {
                shielded([&] {
                        auto const now = lt::clock_type::now();
                        t->hashes.look_at(talk, now);
                        auto const late =
                                std::find_if(conduct.cancelled.begin(), conduct.cancelled.end(),
                                             [&](auto const &c) {
                                                     return now - c.second >= cancel_answer_time;
                                             });
                        bool const is_late = late != conduct.cancelled.end();
                        bool const rests = conduct.mute && conduct.rests(now) &&
                                           !conduct.unanswered(now).empty();
                        if (!rests && (!is_late || (conduct.mute && !conduct.is_quiet(now))))
                                return;
                        if (is_late && conduct.has_given_of_after(late->second))
                                t->peers->is_mute(peer.remote(), peer.pid());
                        conduct.cancelled.clear();
                        conduct.is_mute();
                        if (conduct.has_given())
                                hang_up_to_call(peer);
                        else
                                peer.disconnect(lt::errors::timed_out, lt::operation_t::bittorrent);
                });
        }

        void on_disconnect(lt::error_code const &ec) noexcept override
        {
                leave(ec);
        }

      private:
        // So long it may take to answer a cancelled request.
        static constexpr auto cancel_answer_time = std::chrono::seconds(10);
        // BEP 3: a message's length and number, and what it has besides content.
        static constexpr int have_bytes = 4 + 1 + 4;
        static constexpr int piece_bytes = have_bytes + 4;
        static constexpr int request_bytes = piece_bytes + 4; // also: cancel, reject
        // Of the handshake's reserved bytes: the fast extension in the last one, the extension
        // protocol in the sixth.
        static constexpr char bep6 = 0x04, bep10 = 0x10;

        void ask_held()
        {
                while (!held.empty() && conduct.has_room()) {
                        // What came in the end may be wanted most: after a seek.
                        auto const most = std::max_element(
                                held.begin(), held.end(), [&](auto const &a, auto const &b) {
                                        return t->anchor.priority_of(int(a.piece)) <
                                               t->anchor.priority_of(int(b.piece));
                                });
                        auto const r = *most;
                        held.erase(most);
                        ask(r);
                        if (is_unwanted(r))
                                conduct.take_back(r, lt::clock_type::now());
                }
        }

        // libtorrent picked it while somebody wanted it, and sends it only now: after a seek. It
        // has to be asked for to be refused.
        bool is_unwanted(lt::peer_request const &r) const
        {
                return t->parts.cancel && conduct.answers_cancels && !is_on_parole(peer) &&
                       !t->anchor.may_be_asked_for(int(r.piece));
        }

        void ask(lt::peer_request const &r)
        {
                conduct.say_request(r);
                sent_request(r);
        }

        // Nobody has anything of this any more. Once.
        void leave(lt::error_code const &why) noexcept
        {
                if (!std::exchange(is_there, false))
                        return;
                t->peers->left(conduct);
                t->hashes.left(talk);
                if (giver)
                        shielded([&] { t->blame.left(giver, why); });
        }

        bool leave_if_banned()
        {
                if (!t->blame.is_banned(*giver))
                        return false;
                peer.disconnect(lt::errors::peer_banned, lt::operation_t::bittorrent,
                                lt::peer_connection_interface::failure);
                return true;
        }

        // BEP 9: metadata that is larger than is taken is not asked for. The peer may lie, so this
        // fails nothing.
        void check_metadata_size(lt::bdecode_node const &h)
        {
                if (!t->wants_metadata || h.type() != lt::bdecode_node::dict_t)
                        return;
                auto const size = h.dict_find_int_value("metadata_size", 0);
                if (size <= t->session->metadata_max)
                        return;
                t->metadata_offered = size;
                tell_offered(*t);
        }

        void recognise() noexcept
        {
                shielded([&] {
                        if (requests.has_fast() && t->peers->was_mute(peer.remote(), peer.pid()))
                                conduct.is_mute();
                });
        }
};

struct torrent_watch final : lt::torrent_plugin {
        std::shared_ptr<bt_torrent> const t;
        lt::torrent_handle const handle;

        torrent_watch(std::shared_ptr<bt_torrent> torrent, lt::torrent_handle h)
            : t(std::move(torrent)), handle(std::move(h))
        {
        }

        // libtorrent is about to go, perhaps; t may live on.
        ~torrent_watch() override
        {
                t->peers->end();
                t->web->end();
        }

        // Without memory for it libtorrent deals with the peer alone.
        std::shared_ptr<lt::peer_plugin>
        new_connection(lt::peer_connection_handle const &c) noexcept override
        {
                return shielded_or(std::shared_ptr<lt::peer_plugin>(), [&] {
                        auto p = std::make_shared<peer_watch>(t, c);
                        p->come();
                        return std::shared_ptr<lt::peer_plugin>(std::move(p));
                });
        }

        void on_add_peer(lt::tcp::endpoint const &e, lt::peer_source_flags_t,
                         lt::add_peer_flags_t flags) noexcept override
        {
                if (!(flags & filtered))
                        shielded([&] { t->peers->told_of(e); });
        }

        // Each has to know it, whatever becomes of the others.
        void on_piece_pass(lt::piece_index_t p) noexcept override
        {
                t->callbacks->piece_passed(t->user, uint32_t(int(p)));
                shielded([&] { t->blame.passed(int(p)); });
                shielded([&] { t->anchor.passed(int(p)); });
                shielded([&] { t->peers->forget(int(p)); });
                shielded([&] { t->peers->passed(int(p)); });
                shielded([&] { t->peers->keep_interest(); });
                shielded([&] { t->web->passed(int(p)); });
        }

        void on_piece_failed(lt::piece_index_t p) noexcept override
        {
                shielded([&] { t->blame.failed(int(p)); });
                shielded([&] { t->peers->forget(int(p)); });
                t->callbacks->piece_failed(t->user, uint32_t(int(p)));
        }

        void on_files_checked() noexcept override
        {
                shielded([&] { t->anchor.files_checked(); });
                shielded([&] { t->web->files_checked(); });
        }

        // The first state after downloading_metadata: the info dictionary is there and no piece was
        // asked for.
        void on_state(lt::torrent_status::state_t s) noexcept override
        {
                if (!t->wants_metadata || s == lt::torrent_status::downloading_metadata)
                        return;
                bt_error err{};
                if (guarded(&err, [&] { return metadata_came(); }) < 0)
                        shielded([&] { tell_refused(*t, err); });
        }

      private:
        int metadata_came()
        {
                auto info = handle.torrent_file();
                if (!info || !info->is_valid())
                        return 0;
                t->wants_metadata = false;
                t->is_large = is_large(*info);
                if (info->priv())
                        become_private(*t);
                t->anchor.begin(*t, handle, t->session->io, t->session->anchors, {});
                t->hashes.begin(*t, info);
                t->web->begin(*t, handle);
                t->session->tell({t, std::move(info), std::move(t->paths), 0, {}});
                return 0;
        }
};

} // namespace

std::shared_ptr<lt::torrent_plugin> make_torrent_watch(std::shared_ptr<bt_torrent> t,
                                                       lt::torrent_handle h)
{
        return std::make_shared<torrent_watch>(std::move(t), std::move(h));
}
