// SPDX-License-Identifier: MIT
// internal.hpp: what the files of shim/ share. Nobody else includes this.
#pragma once

#include "bt.h"
#include "parts.hpp"
#include "piece_set.hpp"

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/config.hpp>
#include <libtorrent/disk_interface.hpp>
#include <libtorrent/extensions.hpp>
#include <libtorrent/info_hash.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_info.hpp>
#include <libtorrent/version.hpp>

#include <atomic>
#include <cstdarg>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#if LIBTORRENT_VERSION_MAJOR != 2 || LIBTORRENT_VERSION_MINOR != 0
#error "shim/disk.cpp implements the disk_interface of libtorrent 2.0.x; 2.1 changed it"
#endif

namespace lt = libtorrent;

// Fills err (may be null) and returns code, so that a failing entry can `return fail(...)`.
[[gnu::format(printf, 3, 4)]] int fail(bt_error *err, int code, char const *format, ...) noexcept;

// Runs an entry point's body; what it throws becomes -errno and a text.
template <typename F> int guarded(bt_error *err, F &&body) noexcept
{
        try {
                return body();
        } catch (std::bad_alloc const &) {
                return fail(err, -ENOMEM, "out of memory");
        } catch (std::exception const &e) {
                return fail(err, -EIO, "%s", e.what());
        } catch (...) {
                return fail(err, -EIO, "unknown exception");
        }
}

struct file_view {
        std::string path;
        uint64_t offset;
        uint64_t size;
        bool pad, symlink;
};

struct bt_meta {
        std::atomic<int> refs{1};
        std::shared_ptr<lt::torrent_info const> info;
        bt_hash hash{};
        std::string name;
        bool single = false;
        std::vector<file_view> files;
};

struct bt_source {
        lt::add_torrent_params params;
        bt_hash hash{};
        std::string magnet;
        std::vector<bool> selected; // BEP 53: files by their numbers; empty: all of them
        bt_meta *meta = nullptr;
        bool loopback = false; // its web seeds may be on this host
        ~bt_source();
};

bt_hash to_hash(lt::info_hash_t const &h) noexcept;

// Whether connecting to a leads back here. An IPv6 address may hold one of IPv4 (RFC 4291
// §2.5.5.2), and the unspecified one means this host (RFC 1122 §3.2.1.3).
bool is_this_host(lt::address a);

// The paths of an info dictionary, joined by '/'; a '/' or NUL inside a component is '_'.
struct raw_paths {
        std::vector<std::string> paths;
        bool with_pads = false; // BEP 47's files are among them
};

// Reads the paths in their order. What is no path is passed over: libtorrent refuses it. 0, or
// -E2BIG at the first that is over a limit, before anything has to hold all of them.
int read_paths(lt::bdecode_node const &info, bt_limits const &limits, raw_paths &ret,
               bt_error *err);
lt::string_view name_of(lt::bdecode_node const &info);

// Checks ti against the limits and makes the view that C sees. 0, -EINVAL or -E2BIG.
int make_meta(std::shared_ptr<lt::torrent_info const> ti, bt_limits const &limits, bt_meta **ret,
              bt_error *err);

lt::load_torrent_limits to_lt(bt_limits const &limits);

// Metadata of many files takes several times its size for as long as it is looked at, and leaves
// holes everywhere that malloc would keep: after something large they go back to the system.
bool is_large(lt::torrent_info const &info);
void give_back();

// The part of the disk that knows about anchors (anchor.hpp). Network thread only.
struct anchor_disk {
        // What is written to the piece goes nowhere, and the answer to its hash is kept back.
        virtual void hold(uint64_t id, int piece) = 0;
        // Answers the hash that was kept back: wrong, so that the piece becomes an ordinary missing
        // one.
        virtual void release(uint64_t id) = 0;
        virtual ~anchor_disk() = default;
};

struct bt_torrent;
class swarm;     // swarm.hpp
class web_seeds; // webseeds.hpp

// Fetches the metadata of a torrent from its peers, and gives it to them (ut_metadata.cpp). NULL
// for a private torrent. Network thread only.
std::shared_ptr<lt::torrent_plugin> make_metadata_exchange(std::shared_ptr<bt_torrent> const &t,
                                                           lt::torrent_handle const &h);
// See bt_torrent_redial. Network thread only.
void redial(bt_torrent &t);
// Metadata that came another way than from peers, where there is none yet. Network thread only.
void take_metadata(bt_torrent &t, lt::span<char const> bytes);
// See bt_torrent_merge; p are those of its source. Network thread only.
void merge(bt_torrent &t, lt::add_torrent_params const &p);
// The metadata has come, and it says that the torrent is private: whoever else was found is nobody
// to talk to (BEP 27). Network thread only.
void become_private(bt_torrent &t);
// Ends every other torrent of the session that has a hash of this metadata (a hybrid that was added
// by both of its hashes): libtorrent would stop both. Network thread only.
void make_way_for(bt_torrent &t, lt::torrent_handle const &h, lt::bdecode_node const &info);
// The io_context of the network thread.
lt::io_context *network_of(bt_torrent const &t);
// Bytes of metadata that are taken at most.
std::size_t metadata_max(bt_torrent const &t);
// Become the callbacks metadata (with the error) and problem, in the thread of bt_dispatch. Any
// thread.
void tell_refused(bt_torrent &t, bt_error const &why);
void tell_problem(bt_torrent &t, std::string text);

// Which pieces are wanted, and the one that keeps the interest of peers while none is (anchor.cpp).
// Network thread only.
class anchor
{
      public:
        // The metadata is there; nothing is wanted yet and the files are not checked.
        void begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io,
                   anchor_disk *disk);
        // libtorrent takes pieces from here on.
        void files_checked();
        // Changes what is wanted.
        void want(std::vector<bt_want> const &list);
        // Somebody has given the piece.
        void passed(int piece);
        // Its hash was wrong, or it was the anchor: the piece is missing again, and nobody has been
        // asked.
        void restored(int piece);
        // Somebody wants pieces that are missing.
        bool wants_pieces() const
        {
                return !m_wanted.empty();
        }
        bool wants(int piece) const
        {
                return m_wanted.count(piece) > 0;
        }
        // The piece that it begins with where none is wanted or had.
        static int first(lt::torrent_info const &info);
        // Those that a reader waits for, or will at once if it gets less than its share.
        std::vector<int> awaited() const;
        // Nobody is asked for some of its blocks any more: asks all peers, before everything else.
        void ask_again(int piece);
        // A peer that does not answer cancelled requests has come (+1) or gone (-1): no deadlines
        // while there is one, as libtorrent cancels for them.
        void mute_peer(int change);

      private:
        using priorities = std::vector<std::pair<lt::piece_index_t, lt::download_priority_t>>;
        int choose(int but);
        void set_wanted(int piece, lt::download_priority_t priority);
        void drop(int piece, priorities &changes);
        void hold();
        void cancel_requests();
        void kick(int piece, lt::download_priority_t priority);
        void look_again();

        lt::torrent_handle m_handle;
        lt::io_context *m_io = nullptr;
        anchor_disk *m_disk = nullptr;
        uint64_t m_id = 0;
        int m_piece = -1;    // the anchor; -1: none
        bool m_held = false; // … and the disk holds it
        bool m_checked = false;
        int m_mute_peers = 0;
        std::weak_ptr<bt_torrent> m_owner;
        engine_parts m_parts;                            // set once
        std::map<int, lt::download_priority_t> m_wanted; // missing ones
        piece_set m_missing, m_free;                     // free: missing ones that nobody wants
        int m_margin = 1; // an anchor is so far ahead of every reader when it is chosen
};

// One added torrent: what libtorrent's storage, plugin and alerts know it by. released() is called
// when the last of them lets go.
struct bt_torrent : std::enable_shared_from_this<bt_torrent> {
        // Set once, before libtorrent knows it.
        bt_session *session = nullptr;
        bt_callbacks const *callbacks = nullptr;
        void *user = nullptr;
        uint64_t id = 0; // part of its save path, which is how new_torrent() finds it
        engine_parts parts;

        // Set by the network thread in bt_torrent_add's call, read by others after that returned.
        lt::torrent_handle handle;

        // The network thread's once libtorrent knows it.
        bool wants_metadata = false;
        class anchor anchor;
        std::unique_ptr<swarm> peers;
        std::unique_ptr<web_seeds> web;          // set once
        bool ended = false;                      // libtorrent has it no longer
        std::set<lt::tcp::endpoint> known_peers; // while it has no metadata
        bool is_private = false;                 // BEP 27: nobody is told of its peers
        std::weak_ptr<lt::torrent_plugin> metadata_exchange;
        bool is_large = false; // give_back's

        std::string complaint; // that bt_dispatch has yet to tell; under the session's events_lock

        std::atomic<std::int64_t> metadata_offered{0}; // bytes that a peer has: more than are taken
        std::atomic<uint64_t> metadata_bytes{0};       // that came and were of use; never falls

        std::atomic<bool> added{false}; // user is ours until released(); before, a failed add
                                        // leaves it to the caller
        std::atomic<bool> removed{
                false}; // by bt_torrent_remove: no callbacks of bt_dispatch any more

        bt_torrent();
        ~bt_torrent();
};

// The torrents of a session by id. Any thread.
class torrent_table
{
      public:
        std::shared_ptr<bt_torrent> find(uint64_t id);
        void insert(std::shared_ptr<bt_torrent> t);
        void erase(uint64_t id);

      private:
        std::mutex m_lock;
        std::unordered_map<uint64_t, std::shared_ptr<bt_torrent>> m_by_id;
};

std::string save_path_of(uint64_t id);
uint64_t id_of_save_path(std::string const &path); // 0: none of ours

std::unique_ptr<lt::disk_interface> make_disk(lt::io_context &io, torrent_table &torrents,
                                              anchor_disk **anchors);

// The settings every session starts from (settings.cpp says why each), then the user's.
lt::settings_pack default_settings();
int apply_settings(lt::settings_pack &pack, engine_parts &parts, bt_setting const *settings,
                   size_t n, bt_error *err);
