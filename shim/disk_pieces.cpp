// SPDX-License-Identifier: MIT
// disk_pieces.cpp: the bytes of pieces, in and out of the store, and their hashes.
//
// Hashing: the bytes of a block are hashed while they are still in the processor's cache, right
// after their write, as long as the blocks of a piece come in order; what came out of order is read
// back from the store when libtorrent asks for the hash.
#include "disk_pieces.hpp"

#include "error.hpp"

#include <libtorrent/file_storage.hpp>
#include <libtorrent/hasher.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace
{

// Pieces whose hash is under way, for each worker; some were given up in the middle. Past it some
// other piece is read back in the end.
constexpr std::size_t running_hashes_max = 512;

// Hashes the next len bytes of a piece; len is a whole number of blocks but at the end of
// the piece.
void take_in(disk_storage const &s, lt::piece_index_t piece, running_hash &h, char const *buf,
             int len)
{
        if (h.with_v1)
                h.v1.update(buf, len);
        if (h.with_v2) {
                int const end = s.files->piece_size2(piece);
                for (int o = 0; o < len && h.next + o < end; o += lt::default_block_size)
                        h.v2.push_back(lt::hasher256(buf + o, std::min({lt::default_block_size,
                                                                        len - o, end - h.next - o}))
                                               .final());
        }
        h.next += len;
}

// written: what the callback has returned.
bool note_written(worker &self, disk_storage const &s, lt::peer_request const &r, char const *buf,
                  int written)
{
        worker::key const k{&s, int(r.piece)};
        auto h = self.hashes.find(k);
        if (written != 0 || (h != self.hashes.end() && r.start < h->second.next)) {
                // Not what was hashed, not written, or hashed twice: the store is read back.
                if (h != self.hashes.end())
                        self.hashes.erase(h);
                return true;
        }
        if (h == self.hashes.end() && r.start == 0) {
                if (self.hashes.size() >= running_hashes_max)
                        self.hashes.erase(self.hashes.begin());
                h = self.hashes.emplace(k, running_hash(s.v1, s.v2)).first;
        }
        if (h != self.hashes.end() && r.start == h->second.next)
                take_in(s, r.piece, h->second, buf, r.length);
        return true;
}

} // namespace

int read_block(disk_storage const &s, lt::piece_index_t piece, int offset, char *buf, int len)
{
        if (!s.owner)
                return ENXIO;
        return -s.owner->callbacks->read(s.owner->user, uint32_t(int(piece)), uint32_t(offset), buf,
                                         std::size_t(len));
}

int give_block(disk_storage const &s, lt::piece_index_t piece, int offset, char *buf, int len)
{
        if (!s.owner || !s.owner->callbacks->give)
                return read_block(s, piece, offset, buf, len);
        return -s.owner->callbacks->give(s.owner->user, uint32_t(int(piece)), uint32_t(offset), buf,
                                         std::size_t(len));
}

int hash_block(disk_storage const &s, lt::piece_index_t piece, int offset, lt::sha256_hash &sum)
{
        std::array<char, lt::default_block_size> block;
        int const len = std::min(lt::default_block_size, s.files->piece_size2(piece) - offset);
        int const e = read_block(s, piece, offset, block.data(), len);
        if (e == 0)
                sum = lt::hasher256(block.data(), len).final();
        return e;
}

int write_block(worker &self, disk_storage const &s, lt::peer_request const &r, char const *buf)
{
        worker::key const k{&s, int(r.piece)};
        if (!s.owner)
                return ENXIO;
        int const written =
                s.owner->callbacks->write(s.owner->user, uint32_t(int(r.piece)), uint32_t(r.start),
                                          buf, std::size_t(r.length));
        // Without memory for the hash the piece is read back for it.
        if (!shielded_or(false, [&] { return note_written(self, s, r, buf, written); }))
                self.hashes.erase(k);
        return written < 0 ? -written : 0;
}

int hash_piece(worker &self, disk_storage &s, lt::piece_index_t piece, bool v1,
               lt::span<lt::sha256_hash> v2, lt::sha1_hash &sum)
{
        worker::key const k{&s, int(piece)};
        running_hash h(v1, !v2.empty());
        if (auto i = self.hashes.find(k); i != self.hashes.end()) {
                if (i->second.with_v1 == v1 && i->second.with_v2 == !v2.empty())
                        h = std::move(i->second);
                self.hashes.erase(i);
        }
        s.v1 = v1;
        s.v2 = !v2.empty();

        // A v1 hash covers the whole piece, a v2 hash ends with the file.
        int const size = v1 ? s.files->piece_size(piece) : s.files->piece_size2(piece);
        std::array<char, lt::default_block_size> block;
        while (h.next < size) {
                int const len = std::min(lt::default_block_size, size - h.next);
                if (int const e = read_block(s, piece, h.next, block.data(), len); e != 0)
                        return e;
                take_in(s, piece, h, block.data(), len);
        }
        if (v1)
                sum = h.v1.final();
        auto const n = std::min(std::size_t(v2.size()), h.v2.size());
        std::copy_n(h.v2.begin(), n, v2.begin());
        return 0;
}

piece_digest digest_of(disk_storage const &s, lt::piece_index_t piece)
{
        piece_digest d;
        lt::hasher whole;
        std::array<char, lt::default_block_size> block;
        int const size = s.files->piece_size(piece);
        for (int at = 0; at < size; at += lt::default_block_size) {
                int const len = std::min(lt::default_block_size, size - at);
                if (read_block(s, piece, at, block.data(), len) != 0)
                        return {};
                d.blocks.push_back(lt::hasher(block.data(), len).final());
                whole.update(block.data(), len);
        }
        d.whole = whole.final();
        return d;
}
