// SPDX-License-Identifier: MIT
// disk_pieces.hpp: the bytes of pieces, in and out of the store, and their hashes. Everything here
// runs on the worker that has the piece.
#pragma once

#include "blame.hpp"
#include "disk_worker.hpp"
#include "torrent.hpp"

#include <libtorrent/file_storage.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/sha1_hash.hpp>
#include <libtorrent/span.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>

// What a torrent has of the disk.
struct disk_storage {
        std::shared_ptr<bt_torrent> owner;
        lt::file_storage const *files = nullptr;
        std::shared_ptr<void> keep; // libtorrent's torrent: files lives as long as it
        // Which hashes libtorrent asks for; learned from its first question.
        std::atomic<bool> v1{true}, v2{false};
        // Network thread only: the piece whose writes go nowhere, and what waits for its hash.
        int anchor = -1;
        std::function<void()> held;
        // Network thread only: the piece whose hash is being told, and those of which a block could
        // not be written. When libtorrent has these cleared it means all of them; otherwise only
        // some blocks, which a v2 torrent has hashes of.
        int told = -1;
        std::set<int> unwritten;
};

// From the store into buf; 0 or an errno.
int read_block(disk_storage const &s, lt::piece_index_t piece, int offset, char *buf, int len);
// The same for a peer: of a piece that has passed, and may have gone since.
int give_block(disk_storage const &s, lt::piece_index_t piece, int offset, char *buf, int len);

// Into the store, and into the hash of its piece as far as it is the next; 0 or an errno.
int write_block(worker &self, disk_storage const &s, lt::peer_request const &r, char const *buf);

// The v2 hash of one block, which is read; 0 or an errno.
int hash_block(disk_storage const &s, lt::piece_index_t piece, int offset, lt::sha256_hash &sum);

// The hashes of a piece, sum if v1 and as many of v2 as are asked for; what was not hashed when it
// was written is read. 0 or an errno. May throw bad_alloc.
int hash_piece(worker &self, disk_storage &s, lt::piece_index_t piece, bool v1,
               lt::span<lt::sha256_hash> v2, lt::sha1_hash &sum);

// What blame compares; empty if the piece can't be read. May throw bad_alloc.
piece_digest digest_of(disk_storage const &s, lt::piece_index_t piece);
