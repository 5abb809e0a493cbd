// SPDX-License-Identifier: MIT
// ut_metadata.cpp: metadata from peers and to peers (BEP 9, over BEP 10).
//
// In place of libtorrent's own, which one lying peer defeats: it mixes the blocks of all peers and
// asks everybody again when the whole is wrong, and it takes the size that the last peer said, so
// that honest answers no longer fit. drafts.hpp says how it is done here.
#include "ut_metadata.hpp"

#include "drafts.hpp"
#include "error.hpp"
#include "metadata.hpp"
#include "paths.hpp"
#include "session.hpp"
#include "swarm.hpp"
#include "torrent.hpp"

#include <libtorrent/bdecode.hpp>
#include <libtorrent/entry.hpp>
#include <libtorrent/extensions.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/torrent_flags.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>

namespace
{

constexpr int bt_extended = 20; // BEP 10: the message
constexpr int our_id = 2;       // what peers are told to call the messages of BEP 9
enum { REQUEST, DATA, REJECT }; // BEP 9: msg_type
enum : char { INTERESTED = 2, NOT_INTERESTED = 3 }; // BEP 3
// A peer that was told of an interest is told that it is over when nobody has read anything for so
// long after the metadata came.
constexpr auto interest_time = std::chrono::seconds(10);
constexpr int message_max = 17 * 1024; // a block and its dictionary
// Requests of a peer that wait: twice the blocks of the largest metadata. Who asks for more has not
// read the answers, and is hung up on.
constexpr std::size_t queued_max = 4096;
// Bytes on their way to a peer: what it does not read it is not sent.
constexpr int unsent_max = 10 * drafts::block_bytes;

// The only thing to be decoded is the small dictionary in front of a block.
constexpr int dict_depth_max = 8;
constexpr int dict_tokens_max = 200;

lt::span<char const> block_of(lt::torrent_info const &info, int number)
{
        auto const all = info.info_section();
        auto const start = std::ptrdiff_t(number) * drafts::block_bytes;
        if (number < 0 || start >= all.size())
                return {};
        return all.subspan(start,
                           std::min<std::ptrdiff_t>(drafts::block_bytes, all.size() - start));
}

std::string text_of(lt::tcp::endpoint const &e)
{
        return (e.address().is_v6() ? '[' + e.address().to_string() + ']'
                                    : e.address().to_string()) +
               ':' + std::to_string(e.port());
}

// The metadata of one torrent. Network thread only.
struct exchange final : lt::torrent_plugin, std::enable_shared_from_this<exchange> {
        std::shared_ptr<bt_torrent> const t;
        lt::torrent_handle const handle;
        lt::info_hash_t const hashes;
        std::shared_ptr<lt::torrent_info const> info; // NULL until it is known
        std::unique_ptr<drafts> making;               // NULL from then on
        drafts::peer next_peer = 1;

        exchange(std::shared_ptr<bt_torrent> torrent, lt::torrent_handle h)
            : t(std::move(torrent)), handle(std::move(h)), hashes(handle.info_hashes()),
              info(known(handle))
        {
                if (!info)
                        making = std::make_unique<drafts>(
                                metadata_max(*t),
                                [this](std::string const &b) { return is_right(b); });
        }

        std::shared_ptr<lt::peer_plugin>
        new_connection(lt::peer_connection_handle const &c) noexcept override;

        void on_add_peer(lt::tcp::endpoint const &e, lt::peer_source_flags_t,
                         lt::add_peer_flags_t flags) noexcept override
        {
                if (making && !(flags & filtered))
                        shielded([&] { t->known_peers.add(e, t->peers->in_use()); });
        }

        // All blocks are there and the hash is right.
        void complete()
        {
                use(making->take());
        }

        // The user has them.
        void given(lt::span<char const> data)
        {
                if (!making)
                        return;
                std::string const bytes(data.data(), std::size_t(data.size()));
                if (is_right(bytes))
                        use(bytes);
        }

        void tell_progress() const
        {
                if (making)
                        t->metadata_bytes.store(making->progress(), std::memory_order_relaxed);
        }

      private:
        void use(std::string const &bytes)
        {
                making.reset();
                t->known_peers.clear();
                bt_error err{};
                int const r = guarded(&err, [&] {
                        if (!prepare(bytes, &err))
                                return err.code;
                        // If it can make nothing of it, an alert says so.
                        if (handle.set_metadata(bytes))
                                info = known(handle);
                        if (!info)
                                t->paths.reset();
                        // Whoever may have it has it from its tracker (BEP 27).
                        if (info && info->priv())
                                info.reset();
                        return 0;
                });
                if (r < 0)
                        shielded([&] { tell_refused(*t, err); });
        }

        // What has to be seen to before libtorrent gets the metadata. Besides the paths, which
        // whoever shows the files takes, what that takes is several times the metadata and gone
        // when this returns.
        bool prepare(std::string const &bytes, bt_error *err)
        {
                lt::error_code ec;
                auto const dict =
                        lt::bdecode(bytes, ec, nullptr, to_lt(bt_default_limits).max_decode_depth,
                                    to_lt(bt_default_limits).max_decode_tokens);
                auto paths = std::make_shared<raw_paths>();
                if (ec || dict.type() != lt::bdecode_node::dict_t) {
                        fail(err, -EINVAL, "bad metadata: it is no dictionary");
                        return false;
                }
                // Before libtorrent sees them, which some would keep busy for minutes.
                if (read_paths(dict, bt_default_limits, *paths, err) < 0)
                        return false;
                t->paths = std::move(paths);
                make_way_for(*t, handle, dict);
                return true;
        }

        static std::shared_ptr<lt::torrent_info const> known(lt::torrent_handle const &h)
        {
                auto i = h.torrent_file();
                return i && i->is_valid() ? i : nullptr;
        }

        // As libtorrent's set_metadata() looks at it. The v1 hash may be a v2 hash cut short.
        bool is_right(std::string const &bytes) const
        {
                auto const v2 = [&] { return lt::hasher256(bytes).final(); };
                if (hashes.has_v1() && lt::hasher(bytes).final() != hashes.v1 &&
                    lt::sha1_hash(v2().data()) != hashes.v1)
                        return false;
                return !hashes.has_v2() || v2() == hashes.v2;
        }
};

// One connection.
struct peer_exchange final : lt::peer_plugin {
        std::shared_ptr<exchange> const x;
        lt::peer_connection_handle c;
        drafts::peer const number;
        int their_id = 0;         // what it calls the messages of BEP 9; 0: it knows none
        std::deque<int> waiting;  // its requests
        int room = 0;             // bytes that may be sent before has_room() looks again
        bool interested = false;  // said before libtorrent could
        drafts::time known_since; // the metadata

        peer_exchange(std::shared_ptr<exchange> torrent, lt::peer_connection_handle connection)
            : x(std::move(torrent)), c(std::move(connection)), number(x->next_peer++)
        {
        }

        ~peer_exchange() override
        {
                leave();
        }

        void add_handshake(lt::entry &handshake) noexcept override
        {
                shielded([&] {
                        if (x->t->is_private)
                                return;
                        handshake["m"]["ut_metadata"] = our_id;
                        if (x->info)
                                handshake["metadata_size"] = x->info->info_section().size();
                });
        }

        bool on_extension_handshake(lt::bdecode_node const &h) noexcept override
        {
                shielded([&] {
                        auto const m = h.dict_find_dict("m");
                        auto const id = m ? m.dict_find_int_value("ut_metadata", 0) : 0;
                        their_id = id > 0 && id < 256 ? int(id) : 0;
                        if (their_id == 0 || !x->making)
                                return;
                        x->making->joined(number, text_of(c.remote()),
                                          h.dict_find_int_value("metadata_size", 0), now());
                        ask();
                        if (x->t->parts.interest && gives_in_rounds() && !interested &&
                            !c.is_disconnecting()) {
                                say(INTERESTED);
                                interested = true;
                        }
                });
                return true;
        }

        void on_disconnect(lt::error_code const &) noexcept override
        {
                leave();
        }

        void tick() noexcept override
        {
                shielded([&] {
                        ask();
                        if (interested && !x->making)
                                look_at_interest();
                        while (!waiting.empty() && has_room()) {
                                answer(waiting.front());
                                waiting.pop_front();
                        }
                });
        }

        bool on_extended(int length, int id, lt::span<char const> body) noexcept override
        {
                if (id != our_id)
                        return false;
                shielded([&] {
                        if (length > message_max) {
                                refuse_peer();
                        } else if (body.size() < length) {
                                if (x->making)
                                        x->making->arriving(number, std::size_t(body.size()),
                                                            now());
                                x->tell_progress();
                        } else {
                                on_message(body);
                        }
                });
                return true;
        }

      private:
        // Transmission gives places once in ten seconds, and metadata after up to four. Others do
        // not hear of an interest sooner: a seed that shows its pieces one by one and hears of it
        // before it was told what we have shows none (libtorrent, BEP 16).
        bool gives_in_rounds() const
        {
                auto const id = c.pid();
                return id[0] == '-' && id[1] == 'T' && id[2] == 'R';
        }

        // libtorrent says so once the metadata is there, if something is wanted then. It knows
        // nothing of what was said before: nobody reads, and the peer is not to keep a place.
        void look_at_interest()
        {
                lt::peer_info i;
                c.get_peer_info(i);
                bool const said = bool(i.flags & lt::peer_info::interesting);
                if (known_since == drafts::time{})
                        known_since = now();
                if (!said && now() - known_since < interest_time)
                        return;
                if (!said)
                        say(NOT_INTERESTED);
                interested = false;
        }

        void say(char message)
        {
                char const bytes[] = {0, 0, 0, 1, message};
                c.send_buffer(bytes, sizeof bytes);
        }

        void leave() noexcept
        {
                shielded([&] {
                        if (x->making)
                                x->making->left(number);
                });
        }

        static drafts::time now()
        {
                return std::chrono::steady_clock::now();
        }

        void refuse_peer()
        {
                c.disconnect(lt::errors::invalid_metadata_message, lt::operation_t::bittorrent,
                             lt::peer_connection_interface::peer_error);
        }

        void on_message(lt::span<char const> body)
        {
                lt::error_code ec;
                auto const dict = lt::bdecode(body, ec, nullptr, dict_depth_max, dict_tokens_max);
                if (dict.type() != lt::bdecode_node::dict_t || !dict.dict_find_int("msg_type") ||
                    !dict.dict_find_int("piece")) {
                        refuse_peer();
                        return;
                }
                auto const type = dict.dict_find_int_value("msg_type");
                auto const piece = dict.dict_find_int_value("piece");
                if (piece < 0 || piece > std::numeric_limits<int>::max())
                        return;
                if (type == REQUEST)
                        on_asked(int(piece));
                else if (type == DATA)
                        on_data(int(piece), dict.dict_find_int_value("total_size", 0),
                                body.subspan(dict.data_section().size()));
                else if (type == REJECT && x->making)
                        x->making->refused(number, int(piece), now());
        }

        void on_data(int piece, std::int64_t total, lt::span<char const> data)
        {
                if (!x->making)
                        return;
                auto const outcome = x->making->given(number, piece, data.data(),
                                                      std::size_t(data.size()), total, now());
                x->tell_progress();
                if (outcome == drafts::outcome::complete)
                        x->complete();
                else if (outcome == drafts::outcome::lied)
                        tell_problem(*x->t,
                                     "the peer " + text_of(c.remote()) + " gave wrong metadata");
                ask();
        }

        void ask()
        {
                if (their_id == 0 || !x->making || c.is_disconnecting())
                        return;
                for (int piece; (piece = x->making->next(number, now())) >= 0;)
                        (void)send(REQUEST, piece, {});
        }

        void on_asked(int piece)
        {
                if (their_id == 0)
                        return;
                if (waiting.empty() && has_room())
                        answer(piece);
                else if (waiting.size() < queued_max)
                        waiting.push_back(piece);
                else
                        refuse_peer();
        }

        // To look costs a copy of which pieces the peer has: not for each request.
        bool has_room()
        {
                if (room <= 0) {
                        lt::peer_info i;
                        c.get_peer_info(i);
                        room = unsent_max - i.used_send_buffer;
                }
                return room > 0;
        }

        void answer(int piece)
        {
                auto const block = x->info ? block_of(*x->info, piece) : lt::span<char const>();
                room -= send(block.empty() ? REJECT : DATA, piece, block);
        }

        // Returns the bytes that are on their way.
        int send(int type, int piece, lt::span<char const> block)
        {
                char dict[80];
                int n;
                if (type == DATA)
                        n = std::snprintf(dict, sizeof dict,
                                          "d8:msg_typei%de5:piecei%de10:total_sizei%dee", type,
                                          piece, int(x->info->info_section().size()));
                else
                        n = std::snprintf(dict, sizeof dict, "d8:msg_typei%de5:piecei%dee", type,
                                          piece);
                auto const length = std::uint32_t(2 + n + block.size());
                std::string m;
                m.reserve(4 + length);
                for (int shift = 24; shift >= 0; shift -= 8)
                        m += char(length >> shift & 255);
                m += char(bt_extended);
                m += char(their_id);
                m.append(dict, std::size_t(n));
                m.append(block.data(), std::size_t(block.size()));
                c.send_buffer(m.data(), int(m.size()));
                return int(m.size());
        }
};

// Without memory for it this peer is not asked for metadata.
std::shared_ptr<lt::peer_plugin>
exchange::new_connection(lt::peer_connection_handle const &c) noexcept
{
        return shielded_or(std::shared_ptr<lt::peer_plugin>(),
                           [&]() -> std::shared_ptr<lt::peer_plugin> {
                                   if (c.type() != lt::connection_type::bittorrent)
                                           return {};
                                   if (making && c.is_outgoing())
                                           t->known_peers.called(c.remote());
                                   return std::make_shared<peer_exchange>(shared_from_this(), c);
                           });
}

} // namespace

// libtorrent dials a peer that it has lost, or did not reach, again after ten seconds and more
// (min_reconnect_time), and one that failed three times (max_failcount) never. Two things make it
// forget that: a tracker that names the peer again takes one failure off, and leaving the upload
// mode takes the time off all; nobody hears of that mode (close_redundant_connections). The next
// tick of a second then dials.
void redial(bt_torrent &t)
{
        if (t.removed || !t.wants_metadata)
                return;
        // libtorrent may have dropped one, and adds it again.
        for (auto const &p : t.known_peers.next(call_list::whom::all, t.peers->in_use()))
                t.handle.connect_peer(p, lt::peer_info::tracker, {});
        t.handle.set_flags(lt::torrent_flags::upload_mode);
        t.handle.unset_flags(lt::torrent_flags::upload_mode);
}

void take_metadata(bt_torrent &t, lt::span<char const> bytes)
{
        if (auto const x = std::static_pointer_cast<exchange>(t.metadata_exchange.lock()))
                x->given(bytes);
}

std::shared_ptr<lt::torrent_plugin> make_metadata_exchange(std::shared_ptr<bt_torrent> const &t,
                                                           lt::torrent_handle const &h)
{
        auto const info = h.torrent_file();
        // Whoever may have the metadata of a private torrent has it from its tracker (BEP 27).
        if (info && info->is_valid() && info->priv())
                return {};
        auto const x = std::make_shared<exchange>(t, h);
        t->metadata_exchange = x;
        return x;
}
