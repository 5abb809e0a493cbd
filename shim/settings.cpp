// SPDX-License-Identifier: MIT
// settings.cpp: the settings a session starts from, and the user's --set NAME=VALUE.
#include "settings.hpp"

#include "error.hpp"
#include "metadata.hpp"

#include <libtorrent/alert.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

#include <sys/resource.h>

int files_max()
{
        constexpr rlim_t unlimited = 1 << 20;
        rlimit l{};
        return getrlimit(RLIMIT_NOFILE, &l) < 0 ? 1024 : int(std::min(l.rlim_cur, unlimited));
}

lt::settings_pack default_settings()
{
        using sp = lt::settings_pack;
        lt::settings_pack p;

        p.set_str(sp::user_agent, "magnetfs/" MAGNETFS_VERSION);
        p.set_int(sp::alert_mask, lt::alert_category::error | lt::alert_category::status |
                                          lt::alert_category::storage |
                                          lt::alert_category::tracker);
        p.set_int(sp::alert_queue_size, 20'000);

        // A torrent in which nobody reads wants no piece, which libtorrent calls finished. It must
        // keep its seeds all the same. (The anchor sees to that, too: without this a seek takes as
        // long.)
        p.set_bool(sp::close_redundant_connections, false);

        // A peer is not told of pieces that it has itself, and so a seed of none. Transmission
        // takes whom it has seen to have all for a seed for good: of a film larger than the cache,
        // played to its end, it would give nothing any more. (Who shows its pieces one by one waits
        // to be told: conduct::passed.)
        p.set_bool(sp::send_redundant_have, false);

        // With few pieces libtorrent picks at random, whatever the priorities say: first piece 4.0
        // s against 1.5 s.
        p.set_int(sp::initial_picker_threshold, 0);
        // Honours only the top priority against the rest; the windows say more than that. (One
        // seeder: no difference.)
        p.set_bool(sp::auto_sequential, false);
        // request_queue_time stays at its default of 3 s, for where nothing better is known
        // (queues.cpp). With 1 s a peer at 250 ms and 10 Mbit/s had 2 to 4 requests in flight,
        // where it needs 20: seeks of 3.2 s among eight of them instead of 1.6.

        // Seconds until a block is asked for elsewhere: worst stall with one of two seeds frozen
        // 1.0 s against 4.3 s; with the watch of swarm.cpp 0.4 s against 0.8 s.
        p.set_int(sp::piece_timeout, 5);
        p.set_int(sp::request_timeout, 5);
        // What is done in a tick is done sooner, the first connections but for those that are made
        // at once: add to first 64 KiB 0.03 s at worst against 0.52 at the default of 500 ms.
        p.set_int(sp::tick_interval, 100);
        // Where TCP reaches a peer uTP is a loss: 19 MB/s against 166 over veth, and 0.84 s to the
        // first 64 KiB against 0.01. libtorrent tries uTP first wherever it may, so it may only
        // while bt_session_second_try says so.
        p.set_bool(sp::enable_outgoing_utp, false);
        p.set_int(sp::mixed_mode_algorithm, sp::prefer_tcp);
        // A peer that gives a piece within so many seconds (20 by default) would keep all of it to
        // itself, asked for or not, while the others get the piece behind: of four peers of 0.1 to
        // 0.25 MB/s one was alone with the 4 MiB that were played next, for 23 s, and the film
        // stood still for 14.
        p.set_int(sp::whole_pieces_threshold, 0);
        // Seconds until a peer that could not be reached is tried again, then over uTP perhaps.
        // (Where nobody is left who has what a reader waits for swarm_calls.cpp calls those that
        // were there much sooner; and who is hung up on without a fault is called within a second.)
        p.set_int(sp::min_reconnect_time, 10);

        // The same for magnets as for .torrent files.
        p.set_int(sp::max_metadata_size, int(bt_default_limits.metadata_bytes));
        p.set_int(sp::max_piece_count, int(bt_default_limits.pieces));
        p.set_int(sp::metadata_token_limit, to_lt(bt_default_limits).max_decode_tokens);

        // The filter is for peers on this host (bt_session_refuse_loopback). A tracker there is one
        // that the user runs, and is only asked what trackers are (ssrf_mitigation).
        p.set_bool(sp::apply_ip_filter_to_trackers, false);
        // Exit must not wait for trackers that hang.
        p.set_int(sp::stop_tracker_timeout, 1);
        // libtorrent 2.0.8's XML parser and picker have fixes that Debian 12 lacks: keep UPnP off
        // unless asked for.
        p.set_bool(sp::enable_upnp, false);
        // Torrents are started and stopped by magnetfs, never by libtorrent's queue.
        p.set_int(sp::active_limit, std::numeric_limits<int>::max());
        p.set_bool(sp::announce_to_all_trackers, true);
        p.set_bool(sp::announce_to_all_tiers, true);
        p.set_int(sp::connection_speed, 200);
        // Peers that are dead hold a connection for ten seconds and more, and a magnet's tracker
        // that hangs holds one of these. With the defaults (200 and 50) some hundred dead magnets
        // leave nothing for the live ones. Files, pipes and the sidecar's share stay free.
        int const files = files_max();
        p.set_int(sp::connections_limit, std::min(1000, files / 2));
        p.set_int(sp::max_concurrent_http_announces, std::min(500, files / 8));
        // A connection is given up when its SYNs of 0, 1 and 3 s had their time. (How many of a
        // torrent's peers are dialled at once is torrent.cpp's share_boost.)
        p.set_int(sp::peer_connect_timeout, 7);
        // Peers of many torrents may come at once.
        p.set_int(sp::listen_queue_size, 128);
        return p;
}

bool *part_by_name(engine_parts &parts, char const *setting)
{
        static constexpr struct {
                char const *name;
                bool engine_parts::*part;
        } known[] = {
                {"engine_anchor", &engine_parts::anchor},
                {"engine_boost", &engine_parts::boost},
                {"engine_call_again", &engine_parts::call_again},
                {"engine_cancel", &engine_parts::cancel},
                {"engine_falling", &engine_parts::falling},
                {"engine_interest", &engine_parts::interest},
                {"engine_make_way", &engine_parts::make_way},
                {"engine_queues", &engine_parts::queues},
                {"engine_spares", &engine_parts::spares},
                {"engine_watch", &engine_parts::watch},
        };
        for (auto const &k : known)
                if (std::strcmp(setting, k.name) == 0)
                        return &(parts.*k.part);
        return nullptr;
}

static bool parse_bool(char const *value, bool &ret)
{
        if (std::strcmp(value, "1") == 0 || std::strcmp(value, "true") == 0)
                ret = true;
        else if (std::strcmp(value, "0") == 0 || std::strcmp(value, "false") == 0)
                ret = false;
        else
                return false;
        return true;
}

int apply_settings(lt::settings_pack &pack, engine_parts &parts, bt_setting const *settings,
                   size_t n, bt_error *err)
{
        using sp = lt::settings_pack;
        for (size_t i = 0; i < n; i++) {
                char const *const name = settings[i].name, *const value = settings[i].value;
                bool *const part = part_by_name(parts, name);
                bool on = false;
                if (part) {
                        if (!parse_bool(value, *part))
                                return fail(err, -EINVAL, "setting %s takes 0 or 1, not \"%s\"",
                                            name, value);
                        continue;
                }
                int const s = lt::setting_by_name(name);
                if (s < 0)
                        return fail(err, -EINVAL, "libtorrent has no setting named \"%s\"", name);
                switch (s & sp::type_mask) {
                case sp::string_type_base:
                        pack.set_str(s, value);
                        break;
                case sp::int_type_base: {
                        char *end = nullptr;
                        errno = 0;
                        long const v = std::strtol(value, &end, 10);
                        if (errno != 0 || end == value || *end != '\0' ||
                            v < std::numeric_limits<int>::min() ||
                            v > std::numeric_limits<int>::max())
                                return fail(err, -EINVAL,
                                            "setting %s takes a whole number, not \"%s\"", name,
                                            value);
                        pack.set_int(s, int(v));
                        break;
                }
                default:
                        if (!parse_bool(value, on))
                                return fail(err, -EINVAL, "setting %s takes 0 or 1, not \"%s\"",
                                            name, value);
                        pack.set_bool(s, on);
                }
        }
        return 0;
}

extern "C" int bt_settings_check(const struct bt_setting *settings, size_t n_settings,
                                 struct bt_error *err)
{
        return guarded(err, [&] {
                lt::settings_pack pack;
                engine_parts parts;
                return apply_settings(pack, parts, settings, n_settings, err);
        });
}
