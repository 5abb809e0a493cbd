// SPDX-License-Identifier: MIT
// disk_worker.hpp: a thread that does the disk's jobs one after the other, with the hashes of the
// pieces it is in the middle of. Which jobs there are is disk.cpp's.
#pragma once

#include "error.hpp"

#include <libtorrent/hasher.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/sha1_hash.hpp>

#include <boost/asio/executor_work_guard.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

struct running_hash {
        // Which; set once. What the storage learns meanwhile is for the next piece.
        bool with_v1, with_v2;
        int next = 0; // bytes of the piece hashed so far, from its start
        lt::hasher v1;
        std::vector<lt::sha256_hash> v2;

        running_hash(bool has_v1, bool has_v2) : with_v1(has_v1), with_v2(has_v2)
        {
        }
};

class worker
{
      public:
        // libtorrent's thread goes on until the worker has stopped: what the last jobs post still
        // finds a session.
        explicit worker(lt::io_context &io)
            : m_session(boost::asio::make_work_guard(io)), m_thread([this] { run(); })
        {
        }

        ~worker()
        {
                stop();
                if (m_thread.joinable())
                        m_thread.join();
        }

        // False: it is stopped, and the job is not done. Network thread only.
        bool push(std::function<void(worker &)> job) noexcept
        {
                {
                        std::lock_guard<std::mutex> const l(m_lock);
                        if (m_stop)
                                return false;
                        insist([&] { m_jobs.push_back(std::move(job)); });
                }
                m_wake.notify_one();
                return true;
        }

        // What was pushed before is still done.
        void stop()
        {
                {
                        std::lock_guard<std::mutex> const l(m_lock);
                        m_stop = true;
                }
                m_wake.notify_one();
        }

        void join()
        {
                if (m_thread.joinable())
                        m_thread.join();
        }

        // Only for jobs: this worker's own table, by storage (its address) and piece.
        using key = std::pair<void const *, int>;
        struct key_hash {
                std::size_t operator()(key const &k) const noexcept
                {
                        return std::hash<void const *>()(k.first) ^
                               (std::size_t(k.second) * 0x9e3779b97f4a7c15u);
                }
        };
        std::unordered_map<key, running_hash, key_hash> hashes;

      private:
        void run() noexcept
        {
                for (;;) {
                        std::function<void(worker &)> job;
                        {
                                std::unique_lock<std::mutex> l(m_lock);
                                m_wake.wait(l, [this] { return m_stop || !m_jobs.empty(); });
                                if (m_jobs.empty())
                                        break;
                                job = std::move(m_jobs.front());
                                m_jobs.pop_front();
                        }
                        shielded([&] { job(*this); });
                }
                m_session.reset();
        }

        std::mutex m_lock;
        std::condition_variable m_wake;
        std::deque<std::function<void(worker &)>> m_jobs;
        bool m_stop = false;
        boost::asio::executor_work_guard<lt::io_context::executor_type> m_session;
        std::thread m_thread; // last: starts when the rest is there
};
