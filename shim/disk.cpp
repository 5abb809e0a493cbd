// SPDX-License-Identifier: MIT
// disk.cpp: libtorrent's disk_interface over the store callbacks.
//
// Threads: libtorrent calls the interface from its network thread. Jobs run on worker threads, all
// jobs of one piece on the same one and in order, so a hash sees every write before it, and a piece
// that has passed can be read from the store at once. Handlers are posted back to the network
// thread, and with them all else that a job has: it may be the last that holds a torrent or a peer
// of libtorrent's, and those have timers and sockets of the network thread.
#include "disk.hpp"

#include "disk_pieces.hpp"
#include "disk_worker.hpp"
#include "error.hpp"
#include "timer.hpp"
#include "webseeds.hpp"

#include <libtorrent/disk_buffer_holder.hpp>
#include <libtorrent/disk_observer.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/file_storage.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/storage_defs.hpp>

#include <boost/asio/post.hpp>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

namespace
{

// Two: one writes while the other hashes. More gave nothing on two cores.
constexpr std::size_t workers_n = 2;
// Bytes that wait to be written: above high, peers are not read from until it is below low.
constexpr long queue_high_bytes = 8 << 20;
constexpr long queue_low_bytes = 4 << 20;
// A piece that could not be read for its hash is tried again.
constexpr auto hash_again_after = std::chrono::seconds(1);

using hash_handler =
        std::function<void(lt::piece_index_t, lt::sha1_hash const &, lt::storage_error const &)>;

lt::storage_error disk_error(int e, lt::operation_t op)
{
        return e == 0 ? lt::storage_error()
                      : lt::storage_error(lt::error_code(e, lt::system_category()), op);
}

class store_disk final : public lt::disk_interface,
                         public lt::buffer_allocator_interface,
                         public anchor_disk,
                         public digest_disk
{
      public:
        store_disk(lt::io_context &io, torrent_table &torrents) : m_io(io), m_torrents(torrents)
        {
                for (auto &w : m_workers)
                        w = std::make_unique<worker>(io);
        }

        ~store_disk() override
        {
                abort(true);
        }

        lt::storage_holder new_torrent(lt::storage_params const &p,
                                       std::shared_ptr<void> const &torrent) noexcept override
        {
                auto s = insist([] { return std::make_shared<disk_storage>(); });
                s->owner = m_torrents.find(id_of_save_path(p.path));
                s->files = &p.files;
                s->keep = torrent;
                lt::storage_index_t const i(m_next++);
                insist([&] { m_by_id[id_of_save_path(p.path)] = s; });
                insist([&] { m_storages.emplace(i, s); });
                return {i, *this};
        }

        void remove_torrent(lt::storage_index_t i) noexcept override
        {
                auto const s = take(i);
                m_storages.erase(i);
                if (s->owner)
                        m_by_id.erase(s->owner->id);
                answer_held(*s);
                for (std::size_t w = 0; w < m_workers.size(); w++)
                        push(w, [this, s = s](worker &self) mutable {
                                for (auto h = self.hashes.begin(); h != self.hashes.end();)
                                        h = h->first.first == s.get() ? self.hashes.erase(h)
                                                                      : std::next(h);
                                post([s = std::move(s)] {});
                        });
        }

        void
        async_read(lt::storage_index_t i, lt::peer_request const &r,
                   std::function<void(lt::disk_buffer_holder, lt::storage_error const &)> handler,
                   lt::disk_job_flags_t) noexcept override
        {
                on_piece(i, r.piece,
                         [this, s = take(i), r, handler = std::move(handler)](worker &) mutable {
                                 auto *const buffer =
                                         static_cast<char *>(std::malloc(std::size_t(r.length)));
                                 int const e =
                                         buffer ? give_block(*s, r.piece, r.start, buffer, r.length)
                                                : ENOMEM;
                                 post([this, e, buffer, r, s = std::move(s),
                                       handler = std::move(handler)] {
                                         lt::disk_buffer_holder holder;
                                         if (e == 0)
                                                 holder = lt::disk_buffer_holder(*this, buffer,
                                                                                 r.length);
                                         else
                                                 std::free(buffer);
                                         handler(std::move(holder),
                                                 disk_error(e, lt::operation_t::file_read));
                                 });
                         });
        }

        bool async_write(lt::storage_index_t i, lt::peer_request const &r, char const *buf,
                         std::shared_ptr<lt::disk_observer> observer,
                         std::function<void(lt::storage_error const &)> handler,
                         lt::disk_job_flags_t) noexcept override
        {
                if (take(i)->anchor == int(r.piece)) {
                        post([handler = std::move(handler)] { handler(lt::storage_error()); });
                        return false;
                }
                std::unique_ptr<char, void (*)(void *)> copy(
                        static_cast<char *>(std::malloc(std::size_t(r.length))), std::free);
                if (!copy) {
                        post([handler = std::move(handler)] {
                                handler(disk_error(ENOMEM, lt::operation_t::file_write));
                        });
                        return false;
                }
                std::memcpy(copy.get(), buf, std::size_t(r.length));
                long const queued = m_queued_bytes.fetch_add(r.length) + r.length;
                on_piece(i, r.piece,
                         [this, s = take(i), r, copy = std::move(copy),
                          handler = std::move(handler)](worker &self) mutable {
                                 // libtorrent stops a torrent for good for most errors; for this
                                 // one until bt_torrent_resume_writes().
                                 int const e =
                                         write_block(self, *s, r, copy.get()) == 0 ? 0 : ENOSPC;
                                 post([s = std::move(s), r, handler = std::move(handler), e] {
                                         if (e != 0)
                                                 (void)guarded(nullptr, [&] {
                                                         s->unwritten.insert(int(r.piece));
                                                         if (s->owner)
                                                                 s->owner->blame.unwritten(r);
                                                         return 0;
                                                 });
                                         handler(disk_error(e, lt::operation_t::file_write));
                                 });
                                 if (m_queued_bytes.fetch_sub(r.length) - r.length <
                                     queue_low_bytes)
                                         wake_observers();
                         });
                if (queued <= queue_high_bytes || !observer)
                        return false;
                {
                        std::lock_guard<std::mutex> const l(m_observers_lock);
                        insist([&] { m_observers.push_back(observer); });
                }
                // All may have been written since it was counted; then nobody else wakes it.
                if (m_queued_bytes < queue_low_bytes)
                        wake_observers();
                return true;
        }

        void async_hash(lt::storage_index_t i, lt::piece_index_t piece,
                        lt::span<lt::sha256_hash> v2, lt::disk_job_flags_t flags,
                        hash_handler handler) noexcept override
        {
                bool const v1 = bool(flags & lt::disk_interface::v1_hash);
                // Not copied until v2 is filled: v2 points into a vector that the handler owns.
                auto h = insist([&] { return std::make_shared<hash_handler>(std::move(handler)); });
                if (auto const s = take(i); s->anchor == int(piece)) {
                        insist([&] {
                                s->held = [w = std::weak_ptr<disk_storage>(s), h, piece] {
                                        if (auto const alive = w.lock())
                                                tell(*alive, piece, *h, lt::sha1_hash(), 0);
                                };
                        });
                        return;
                }
                answer_hash(i, take(i), piece, v1, v2, std::move(h));
        }

        void async_hash2(lt::storage_index_t i, lt::piece_index_t piece, int offset,
                         lt::disk_job_flags_t,
                         std::function<void(lt::piece_index_t, lt::sha256_hash const &,
                                            lt::storage_error const &)>
                                 handler) noexcept override
        {
                on_piece(i, piece,
                         [this, s = take(i), piece, offset,
                          handler = std::move(handler)](worker &) mutable {
                                 lt::sha256_hash sum;
                                 int const e = hash_block(*s, piece, offset, sum);
                                 post([s = std::move(s), handler = std::move(handler), piece, sum,
                                       e] {
                                         handler(piece, sum,
                                                 disk_error(e, lt::operation_t::file_read));
                                 });
                         });
        }

        void async_clear_piece(lt::storage_index_t i, lt::piece_index_t piece,
                               std::function<void(lt::piece_index_t)> handler) noexcept override
        {
                auto s = take(i);
                bool const unwritten = s->unwritten.erase(int(piece)) > 0;
                bool const whole = unwritten || s->told == int(piece);
                on_piece(i, piece,
                         [this, s = std::move(s), whole, unwritten, piece,
                          handler = std::move(handler)](worker &self) mutable {
                                 self.hashes.erase({s.get(), int(piece)});
                                 if (s->owner && whole)
                                         s->owner->callbacks->piece_cleared(s->owner->user,
                                                                            uint32_t(int(piece)));
                                 post([s = std::move(s), unwritten, handler = std::move(handler),
                                       piece] {
                                         handler(piece);
                                         (void)guarded(nullptr, [&] {
                                                 if (!s->owner)
                                                         return 0;
                                                 s->owner->blame.restored(int(piece));
                                                 s->owner->anchor.restored(int(piece));
                                                 s->owner->web->restored(int(piece), unwritten);
                                                 return 0;
                                         });
                                 });
                         });
        }

        // The store needs no check: what it has is told with the torrent.
        void async_check_files(lt::storage_index_t, lt::add_torrent_params const *,
                               lt::aux::vector<std::string, lt::file_index_t>,
                               std::function<void(lt::status_t, lt::storage_error const &)>
                                       handler) noexcept override
        {
                post([handler = std::move(handler)] {
                        handler(lt::status_t::no_error, lt::storage_error());
                });
        }

        void async_move_storage(
                lt::storage_index_t, std::string path, lt::move_flags_t,
                std::function<void(lt::status_t, std::string const &, lt::storage_error const &)>
                        handler) noexcept override
        {
                post([handler = std::move(handler), path = std::move(path)] {
                        handler(lt::status_t::fatal_disk_error, path,
                                disk_error(EOPNOTSUPP, lt::operation_t::file_rename));
                });
        }

        void async_release_files(lt::storage_index_t,
                                 std::function<void()> handler) noexcept override
        {
                if (handler)
                        post(std::move(handler));
        }

        void async_stop_torrent(lt::storage_index_t i,
                                std::function<void()> handler) noexcept override
        {
                answer_held(*take(i)); // what waits for a hash keeps the torrent alive
                if (handler)
                        post(std::move(handler));
        }

        void async_rename_file(lt::storage_index_t, lt::file_index_t file, std::string name,
                               std::function<void(std::string const &, lt::file_index_t,
                                                  lt::storage_error const &)>
                                       handler) noexcept override
        {
                post([handler = std::move(handler), file, name = std::move(name)] {
                        handler(name, file, lt::storage_error());
                });
        }

        void
        async_delete_files(lt::storage_index_t, lt::remove_flags_t,
                           std::function<void(lt::storage_error const &)> handler) noexcept override
        {
                post([handler = std::move(handler)] { handler(lt::storage_error()); });
        }

        void async_set_file_priority(
                lt::storage_index_t,
                lt::aux::vector<lt::download_priority_t, lt::file_index_t> prio,
                std::function<void(lt::storage_error const &,
                                   lt::aux::vector<lt::download_priority_t, lt::file_index_t>)>
                        handler) noexcept override
        {
                post([handler = std::move(handler), prio = std::move(prio)] {
                        handler(lt::storage_error(), prio);
                });
        }

        void update_stats_counters(lt::counters &) const noexcept override
        {
        }

        std::vector<lt::open_file_state> get_status(lt::storage_index_t) const noexcept override
        {
                return {};
        }

        void abort(bool wait) noexcept override
        {
                for (auto &w : m_workers)
                        w->stop();
                for (auto &w : m_workers)
                        if (wait)
                                w->join();
        }

        void submit_jobs() noexcept override
        {
        }

        void settings_updated() noexcept override
        {
        }

        void hold(uint64_t id, int piece) noexcept override
        {
                if (auto const s = m_by_id.find(id); s != m_by_id.end())
                        s->second->anchor = piece;
        }

        void release(uint64_t id) noexcept override
        {
                if (auto const s = m_by_id.find(id); s != m_by_id.end()) {
                        s->second->anchor = -1;
                        answer_held(*s->second);
                }
        }

        void digest(uint64_t id, int piece,
                    std::function<void(piece_digest)> then) noexcept override
        {
                auto const s = m_by_id.find(id);
                if (s == m_by_id.end())
                        return;
                on_piece({}, lt::piece_index_t(piece),
                         [this, s = s->second, piece, then = std::move(then)](worker &) mutable {
                                 auto d = shielded_or(piece_digest(), [&] {
                                         return digest_of(*s, lt::piece_index_t(piece));
                                 });
                                 post([s = std::move(s), d = std::move(d), then = std::move(then)] {
                                         (void)guarded(nullptr, [&] {
                                                 then(d);
                                                 return 0;
                                         });
                                 });
                         });
        }

        void free_disk_buffer(char *b) noexcept override
        {
                std::free(b);
        }

      private:
        std::shared_ptr<disk_storage> take(lt::storage_index_t i) const
        {
                return m_storages.at(i);
        }

        // No memory is a reason to wait, not one to lose a job or its answer: libtorrent would wait
        // for it without end.
        template <typename F> void on_piece(lt::storage_index_t, lt::piece_index_t piece, F &&job)
        {
                push(std::size_t(int(piece)) % m_workers.size(), std::forward<F>(job));
        }

        template <typename F> void push(std::size_t to, F &&job) noexcept
        {
                using type = std::decay_t<F>;
                auto *const held = insist(
                        [&] { return std::make_unique<type>(std::forward<F>(job)).release(); });
                bool const is_taken = m_workers[to]->push([held](worker &self) {
                        std::unique_ptr<type> const own(held);
                        (*own)(self);
                });
                if (!is_taken)
                        delete held;
        }

        // Any thread. Whoever posts holds nothing of what any more by the time that it runs.
        template <typename F> void post(F &&what) noexcept
        {
                using type = std::decay_t<F>;
                auto *const held = insist(
                        [&] { return std::make_unique<type>(std::forward<F>(what)).release(); });
                insist([&] {
                        boost::asio::post(m_io, [held] {
                                std::unique_ptr<type> const own(held);
                                (*own)();
                        });
                });
        }

        // libtorrent pauses a torrent when a piece can't be read for its hash, and never asks for
        // the hash again. So the answer waits until the piece can be read, or the torrent goes.
        void answer_hash(lt::storage_index_t i, std::shared_ptr<disk_storage> s,
                         lt::piece_index_t piece, bool v1, lt::span<lt::sha256_hash> v2,
                         std::shared_ptr<hash_handler> h)
        {
                on_piece(i, piece,
                         [this, i, s = std::move(s), piece, v1, v2,
                          h = std::move(h)](worker &self) mutable {
                                 lt::sha1_hash sum;
                                 int const e = shielded_or(ENOMEM, [&] {
                                         return hash_piece(self, *s, piece, v1, v2, sum);
                                 });
                                 // Moved on: only the network thread may be the last to let go of
                                 // them.
                                 post([this, i, s = std::move(s), piece, v1, v2, h = std::move(h),
                                       sum, e] {
                                         if (e == 0 || m_storages.count(i) == 0) {
                                                 tell(*s, piece, *h, sum, e);
                                                 return;
                                         }
                                         insist([&] {
                                                 call_later(m_io, hash_again_after,
                                                            [this, i, s, piece, v1, v2, h] {
                                                                    answer_hash(i, s, piece, v1, v2,
                                                                                h);
                                                            });
                                         });
                                 });
                         });
        }

        static void tell(disk_storage &s, lt::piece_index_t piece, hash_handler const &h,
                         lt::sha1_hash const &sum, int e)
        {
                s.told = int(piece);
                h(piece, sum, disk_error(e, lt::operation_t::file_read));
                s.told = -1;
        }

        void answer_held(disk_storage &s)
        {
                if (s.held)
                        post(std::exchange(s.held, nullptr));
        }

        void wake_observers()
        {
                std::vector<std::weak_ptr<lt::disk_observer>> woken;
                {
                        std::lock_guard<std::mutex> const l(m_observers_lock);
                        woken.swap(m_observers);
                }
                for (auto const &w : woken)
                        post([w] {
                                if (auto o = w.lock())
                                        o->on_disk();
                        });
        }

        lt::io_context &m_io;
        torrent_table &m_torrents;

        // Network thread only.
        std::uint32_t m_next = 0;
        std::unordered_map<lt::storage_index_t, std::shared_ptr<disk_storage>> m_storages;
        std::unordered_map<uint64_t, std::shared_ptr<disk_storage>> m_by_id;

        std::atomic<long> m_queued_bytes{0};
        std::mutex m_observers_lock;
        std::vector<std::weak_ptr<lt::disk_observer>> m_observers;

        std::array<std::unique_ptr<worker>, workers_n> m_workers; // last: their jobs use the rest
};

} // namespace

std::unique_ptr<lt::disk_interface> make_disk(lt::io_context &io, torrent_table &torrents,
                                              anchor_disk **anchors, digest_disk **digests)
{
        auto disk = std::make_unique<store_disk>(io, torrents);
        *anchors = disk.get();
        *digests = disk.get();
        return disk;
}
