// SPDX-License-Identifier: MIT
// merge.cpp: what is learned of a torrent after it was added: more of its sources, and that it is
// private. All on the network thread, where the handle's calls run at once and in order.
#include "merge.hpp"

#include "error.hpp"
#include "swarm.hpp"
#include "ut_metadata.hpp"
#include "webseeds.hpp"

#include <libtorrent/announce_entry.hpp>
#include <libtorrent/torrent_flags.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace
{

std::vector<lt::announce_entry> trackers_of(lt::add_torrent_params const &p)
{
        std::vector<lt::announce_entry> r;
        for (std::size_t i = 0; i < p.trackers.size(); i++) {
                r.emplace_back(p.trackers[i]);
                if (i < p.tracker_tiers.size())
                        r.back().tier = std::uint8_t(p.tracker_tiers[i]);
        }
        return r;
}

std::set<std::string> urls_of(std::vector<lt::announce_entry> const &list)
{
        std::set<std::string> r;
        for (auto const &a : list)
                r.insert(a.url);
        return r;
}

// Whether a torrent that has reached nobody yet hears of somebody new.
bool gains_peers(bt_torrent const &t, lt::add_torrent_params const &p)
{
        return t.wants_metadata && t.unmet && t.parts.boost &&
               t.known_peers.size() < known_peers_max &&
               std::any_of(p.peers.begin(), p.peers.end(),
                           [&](auto const &e) { return !t.known_peers.has(e); });
}

// libtorrent dials peers that it is told of in the next tick of a second, and some of them at once
// when a torrent is resumed. Pausing gives up what is being dialled, so all are dialled: of an
// address the port that is new.
void dial_at_once(bt_torrent &t, std::vector<lt::tcp::endpoint> const &peers)
{
        t.handle.pause();
        redial(t);
        for (auto const &e : peers)
                t.handle.connect_peer(e);
        t.handle.resume();
}

} // namespace

void merge(bt_torrent &t, lt::add_torrent_params const &p)
{
        bool const of_private = p.ti && p.ti->priv();
        auto const &h = t.handle;
        auto const trackers = trackers_of(p);

        if (t.is_private && !of_private)
                return;
        if (of_private && urls_of(h.trackers()) != urls_of(trackers))
                h.replace_trackers(trackers);
        // Which of them it knows already libtorrent finds out by itself.
        for (auto const &a : trackers)
                h.add_tracker(a);
        t.web->add(p.url_seeds);
        bool const gains = gains_peers(t, p);
        for (auto const &e : p.peers) {
                if (t.wants_metadata)
                        t.known_peers.name(e, t.peers->in_use());
                h.connect_peer(e);
        }
        if (gains && !p.ti)
                dial_at_once(t, p.peers);
        if (p.ti)
                take_metadata(t, p.ti->info_section());
}

// Peers that libtorrent knows already may be anybody's word, the magnet's included. Later, as
// libtorrent is in the middle of taking the metadata from one of them.
void become_private(bt_torrent &t)
{
        t.is_private = true;
        t.handle.set_flags(lt::torrent_flags::disable_pex | lt::torrent_flags::disable_dht |
                           lt::torrent_flags::disable_lsd);
        boost::asio::post(*network_of(t), [t = t.shared_from_this()] {
                (void)guarded(nullptr, [&] {
                        t->peers->forget();
                        t->handle.clear_peers();
                        t->handle.force_reannounce(0, -1, lt::torrent_handle::ignore_min_interval);
                        return 0;
                });
        });
}
