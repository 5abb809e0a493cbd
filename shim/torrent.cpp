// SPDX-License-Identifier: MIT
// torrent.cpp: a torrent of a session, from bt_torrent_add to bt_torrent_remove.
#include "torrent.hpp"

#include "error.hpp"
#include "merge.hpp"
#include "metadata.hpp"
#include "session.hpp"
#include "swarm.hpp"
#include "unhave.hpp"
#include "ut_metadata.hpp"
#include "watch.hpp"
#include "webseeds.hpp"

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/extensions.hpp>
#include <libtorrent/extensions/ut_pex.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/torrent_flags.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

namespace
{

char const save_path_prefix[] = "/magnetfs/";

// libtorrent's userdata is a typed pointer; ours is a number, so that a late alert can't name an
// object that is gone.
struct torrent_id;

} // namespace

lt::io_context *network_of(bt_torrent const &t)
{
        return t.session->io;
}

std::size_t metadata_max(bt_torrent const &t)
{
        return std::size_t(t.session->metadata_max);
}

void tell_refused(bt_torrent &t, bt_error const &why)
{
        t.session->tell({t.shared_from_this(), nullptr, nullptr, why.code, why.text});
}

void tell_problem(bt_torrent &t, std::string text)
{
        t.session->complain(t, std::move(text));
}

void tell_unsaved(bt_torrent &t) noexcept
{
        (void)guarded(nullptr, [&] {
                torrent_event e{t.shared_from_this(), nullptr, nullptr, 0, {}};
                e.unsaved = true;
                t.session->tell(std::move(e));
                return 0;
        });
}

void tell_offered(bt_torrent &t)
{
        auto const size = t.metadata_offered.load();
        if (size == 0)
                return;
        (void)guarded(nullptr, [&] {
                t.session->complain(
                        t, "a peer has metadata of " + std::to_string(size) + " bytes; at most " +
                                   std::to_string(t.session->metadata_max) + " are taken");
                return 0;
        });
}

void met(bt_torrent &t) noexcept
{
        if (std::exchange(t.unmet, false))
                t.session->unmet--;
}

// A new torrent dials so many peers at once, and the others in turn with those of other torrents, a
// second later. With 2 for each it takes 1.9 s to the first 64 KiB from 30 uneven peers, and 1.6 s
// with 30. But dead magnets name many peers, too, and each holds a connection until its SYNs of 0,
// 1 and 3 s had their time: with 30 for each the first fifty have all connections. So torrents that
// nobody has answered yet share what may be dialled at once.
static void share_boost(bt_session &s)
{
        constexpr int shared = 60, least = 2, most = 30;
        int const boost = std::clamp(shared / std::max(1, s.unmet.load()), least, most);
        std::lock_guard<std::mutex> const l(s.add_lock);
        if (s.boost_is_set || std::exchange(s.boost, boost) == boost)
                return;
        lt::settings_pack p;
        p.set_int(lt::settings_pack::torrent_connect_boost, boost);
        s.session->apply_settings(std::move(p));
}

// Takes the torrent out of libtorrent's session, once: libtorrent would take out whoever has its
// hash by then. Network thread only.
static void take_out(bt_torrent &t)
{
        met(t);
        if (!std::exchange(t.ended, true))
                t.session->self.remove_torrent(t.handle);
}

// The piece is missing from here on. Network thread only.
static void lose(bt_torrent &t, int piece)
{
        if (t.ended)
                return;
        if (!shielded_or(false, [&] { return unhave(t.handle, piece); })) {
                if (t.callbacks->kept)
                        t.callbacks->kept(t.user, uint32_t(piece));
                return;
        }
        t.anchor.lost(piece);
        t.peers->lost(piece);
}

void make_way_for(bt_torrent &t, lt::torrent_handle const &h, lt::bdecode_node const &info)
{
        if (info.dict_find_int_value("meta version", 1) != 2 || !info.dict_find_string("pieces"))
                return; // it has one hash alone, which is this torrent's
        auto &s = *t.session;
        auto const bytes = info.data_section();
        for (auto const &hash :
             {lt::hasher(bytes).final(), lt::sha1_hash(lt::hasher256(bytes).final().data())}) {
                auto const other = s.self.find_torrent(hash);
                if (!other.is_valid() || other == h)
                        continue;
                if (auto const o = s.torrents.find(id_of(other))) {
                        o->removed = true;
                        take_out(*o);
                }
        }
}

// What libtorrent is told of them: of an address it dials the port that it was told last, and that
// is to be the first. The swarm sees to the others.
static std::vector<lt::tcp::endpoint> to_begin_with(bt_session const &s,
                                                    std::vector<lt::tcp::endpoint> const &peers)
{
        if (s.several_at_address)
                return peers;
        std::vector<lt::tcp::endpoint> r;
        std::set<lt::address> addresses;
        for (auto const &e : peers)
                if (addresses.insert(e.address()).second)
                        r.push_back(e);
        return r;
}

// libtorrent dials a few peers as soon as the torrent is resumed and the others in a tick. Which
// ones is its own choice, but those that a tracker names go first.
static void call_first(bt_torrent &t, std::vector<lt::tcp::endpoint> peers)
{
        constexpr std::size_t first_max = 10;
        if (!t.parts.boost || peers.empty())
                return;
        peers.resize(std::min(peers.size(), first_max));
        boost::asio::post(*t.session->io, [h = t.handle, peers = std::move(peers)] {
                (void)guarded(nullptr, [&] {
                        for (auto const &e : peers)
                                h.connect_peer(e, lt::peer_info::tracker, {});
                        return 0;
                });
        });
}

// Of the functions that libtorrent calls for a torrent's plugins. Without one of them the torrent
// is not added.
template <typename F>
static std::shared_ptr<lt::torrent_plugin> plugin_of(bt_torrent &t, F &&make) noexcept
{
        bool made = false;
        auto p = shielded_or(std::shared_ptr<lt::torrent_plugin>(), [&] {
                auto one = make();
                made = true;
                return one;
        });
        if (!made)
                t.incomplete = true;
        return p;
}

// libtorrent has the torrent. The plugin comes first: its end is that of the others.
static std::shared_ptr<lt::torrent_plugin> begin(std::shared_ptr<bt_torrent> const &t,
                                                 lt::torrent_handle const &h,
                                                 std::vector<int> const &held,
                                                 std::vector<lt::tcp::endpoint> const &named)
{
        auto watch = make_torrent_watch(t, h);
        auto &s = *t->session;
        t->handle = h;
        t->peers->begin(*t, h, s.io, named);
        t->blame.begin(*t, s.digests, s.several_at_address);
        if (t->wants_metadata)
                return watch;
        // With its metadata the torrent has begun already, and for want of a check its files count
        // as checked: no plugin is told any more.
        t->is_private = h.torrent_file()->priv();
        t->anchor.begin(*t, h, s.io, s.anchors, held);
        t->hashes.begin(*t, h.torrent_file());
        t->web->begin(*t, h);
        boost::asio::post(*s.io, [t] {
                shielded([&] { t->anchor.files_checked(); });
                shielded([&] { t->web->files_checked(); });
        });
        return watch;
}

bt_torrent::bt_torrent() : peers(std::make_unique<swarm>())
{
}

bt_torrent::~bt_torrent()
{
        if (added)
                callbacks->released(user);
        if (is_large)
                give_back();
}

std::shared_ptr<bt_torrent> torrent_table::find(uint64_t id)
{
        std::lock_guard<std::mutex> const l(m_lock);
        auto const i = m_by_id.find(id);
        return i == m_by_id.end() ? nullptr : i->second;
}

void torrent_table::insert(std::shared_ptr<bt_torrent> t)
{
        std::lock_guard<std::mutex> const l(m_lock);
        auto const id = t->id;
        m_by_id.emplace(id, std::move(t));
}

void torrent_table::erase(uint64_t id)
{
        std::shared_ptr<bt_torrent> last; // destroyed after the lock: its destructor calls out
        std::lock_guard<std::mutex> const l(m_lock);
        auto const i = m_by_id.find(id);
        if (i == m_by_id.end())
                return;
        last = std::move(i->second);
        m_by_id.erase(i);
}

lt::client_data_t as_userdata(uint64_t id)
{
        return lt::client_data_t(reinterpret_cast<torrent_id *>(std::uintptr_t(id)));
}

uint64_t id_of(lt::torrent_handle const &h)
{
        return std::uintptr_t(h.userdata().get<torrent_id>());
}

std::string save_path_of(uint64_t id)
{
        return save_path_prefix + std::to_string(id);
}

uint64_t id_of_save_path(std::string const &path)
{
        auto const n = sizeof save_path_prefix - 1;
        if (path.compare(0, n, save_path_prefix) != 0)
                return 0;
        return std::strtoull(path.c_str() + n, nullptr, 10);
}

extern "C" {

int bt_torrent_add(struct bt_session *s, const struct bt_source *src, const uint8_t *have,
                   void *user, struct bt_torrent **ret, struct bt_error *err)
{
        return guarded(err, [&] {
                if (have && !src->params.ti)
                        return fail(err, -EINVAL,
                                    "without metadata nobody knows what is in the store");
                lt::add_torrent_params p = src->params;
                auto t = std::make_shared<bt_torrent>();
                t->session = s;
                t->callbacks = &s->callbacks;
                t->parts = s->parts;
                t->user = user;
                t->selected = src->selected;
                t->named = src->named;
                t->loopback = src->loopback;
                t->wants_metadata = !p.ti;
                t->is_large = p.ti && is_large(*p.ti);
                t->known_peers.begin(s->several_at_address);
                for (auto const &e : p.peers)
                        t->known_peers.name(e, {});
                t->web = std::make_unique<web_seeds>(p.url_seeds, src->loopback);
                p.url_seeds.clear();
                {
                        std::lock_guard<std::mutex> const l(s->add_lock);
                        t->id = s->next_id++;
                }
                p.save_path = save_path_of(t->id);
                p.userdata = as_userdata(t->id);
                p.extensions.push_back(
                        [t](lt::torrent_handle const &h, lt::client_data_t) noexcept {
                                return plugin_of(*t, [&] { return make_metadata_exchange(t, h); });
                        });
                p.extensions.push_back(&lt::create_ut_pex_plugin);
                // All pieces start unwanted, also those of metadata that is still to come.
                p.flags = lt::torrent_flags::update_subscribe | lt::torrent_flags::apply_ip_filter |
                          lt::torrent_flags::default_dont_download |
                          lt::torrent_flags::no_verify_files |
                          lt::torrent_flags::duplicate_is_error;
                p.max_connections = 200;
                std::vector<int> held;
                for (int i = 0; have && i < p.ti->num_pieces(); i++)
                        if (have[i / 8] & (1u << (i % 8)))
                                held.push_back(i);
                if (have)
                        p.have_pieces.resize(p.ti->num_pieces(), false);
                for (int const i : held)
                        p.have_pieces.set_bit(lt::piece_index_t(i));
                // Peers that are known are connected to when a torrent is resumed; else in a tick,
                // up to a second later.
                if (t->parts.boost)
                        p.flags |= lt::torrent_flags::paused;
                p.extensions.push_back([t, held, named = p.peers](lt::torrent_handle const &h,
                                                                  lt::client_data_t) noexcept {
                        return plugin_of(*t, [&] { return begin(t, h, held, named); });
                });
                p.peers = to_begin_with(*s, p.peers);
                auto const first = p.peers;
                s->torrents.insert(t);
                t->unmet = true;
                s->unmet++;
                share_boost(*s);
                lt::error_code ec;
                lt::torrent_handle h;
                int r = guarded(err, [&] {
                        h = s->session->add_torrent(std::move(p), ec);
                        return 0;
                });
                if (r == 0 && ec)
                        r = fail(err, ec == lt::errors::duplicate_torrent ? -EEXIST : -EINVAL, "%s",
                                 ec.message().c_str());
                if (r == 0 && t->incomplete) {
                        r = fail(err, -ENOMEM, "out of memory");
                        s->session->remove_torrent(h);
                        (void)s->session->is_paused(); // comes back when that is done
                }
                if (r < 0) {
                        met(*t);
                        s->torrents.erase(t->id);
                        return r;
                }
                t->added = true;
                (void)guarded(nullptr, [&] {
                        call_first(*t, first);
                        return 0;
                });
                // Another torrent's metadata may have taken this one out already (make_way_for).
                (void)guarded(nullptr, [&] {
                        t->handle.resume();
                        return 0;
                });
                if (src->meta && is_large(*src->meta->info))
                        give_back();
                *ret = t.get();
                return 0;
        });
}

void bt_torrent_remove(struct bt_torrent *t)
{
        (void)guarded(nullptr, [&] {
                auto keep = t->shared_from_this();
                auto &io = *t->session->io;
                t->removed = true;
                boost::asio::post(io, [keep = std::move(keep)] {
                        (void)guarded(nullptr, [&] {
                                take_out(*keep);
                                keep->session->torrents.erase(keep->id);
                                return 0;
                        });
                });
                return 0;
        });
}

void bt_torrent_want(struct bt_torrent *t, const struct bt_want *want, size_t n)
{
        (void)guarded(nullptr, [&] {
                std::vector<bt_want> list(want, want + n);
                // One job for all, on the network thread, where the handle's calls run at once and
                // in order.
                boost::asio::post(*t->session->io,
                                  [t = t->shared_from_this(), list = std::move(list)] {
                                          (void)guarded(nullptr, [&] {
                                                  t->anchor.want(list, [&] { t->web->want(list); });
                                                  t->peers->wake();
                                                  return 0;
                                          });
                                  });
                return 0;
        });
}

int bt_torrent_lose(struct bt_torrent *t, uint32_t piece)
{
        return guarded(nullptr, [&] {
                boost::asio::post(*t->session->io, [t = t->shared_from_this(), p = int(piece)] {
                        (void)guarded(nullptr, [&] {
                                lose(*t, p);
                                return 0;
                        });
                });
                return 0;
        });
}

void bt_torrent_merge(struct bt_torrent *t, const struct bt_source *src)
{
        (void)guarded(nullptr, [&] {
                boost::asio::post(*t->session->io, [t = t->shared_from_this(), p = src->params] {
                        (void)guarded(nullptr, [&] {
                                merge(*t, p);
                                return 0;
                        });
                });
                return 0;
        });
}

void bt_torrent_reannounce(struct bt_torrent *t)
{
        (void)guarded(nullptr, [&] {
                t->handle.force_reannounce(0, -1, lt::torrent_handle::ignore_min_interval);
                t->handle.force_dht_announce();
                tell_offered(*t);
                return 0;
        });
}

uint64_t bt_torrent_metadata_bytes(const struct bt_torrent *t)
{
        return t->metadata_bytes.load(std::memory_order_relaxed);
}

void bt_torrent_redial(struct bt_torrent *t)
{
        (void)guarded(nullptr, [&] {
                boost::asio::post(*t->session->io, [t = t->shared_from_this()] {
                        (void)guarded(nullptr, [&] {
                                redial(*t);
                                return 0;
                        });
                });
                return 0;
        });
}

void bt_torrent_dial_anew(struct bt_torrent *t)
{
        (void)guarded(nullptr, [&] {
                boost::asio::post(*t->session->io, [t = t->shared_from_this()] {
                        (void)guarded(nullptr, [&] {
                                if (t->removed)
                                        return 0;
                                t->peers->dial_anew();
                                redial(*t);
                                return 0;
                        });
                });
                return 0;
        });
}

void bt_torrent_resume_writes(struct bt_torrent *t)
{
        (void)guarded(nullptr, [&] {
                t->handle.unset_flags(lt::torrent_flags::upload_mode);
                // That of a piece that was filled up is an error of the torrent, and pauses it.
                t->handle.clear_error();
                t->handle.resume();
                return 0;
        });
}

} // extern "C"
