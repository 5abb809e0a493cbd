// SPDX-License-Identifier: MIT
// check.cpp: whether the bytes of a piece are those that the metadata names. For what an earlier
// run has left on the disk; what peers send libtorrent checks itself.
#include "error.hpp"
#include "merkle.hpp"
#include "metadata.hpp"

#include <libtorrent/hasher.hpp>
#include <libtorrent/torrent_info.hpp>

#include <algorithm>
#include <cerrno>

namespace
{

// The root of the tree over n blocks' hashes; the hash of a block behind the end is zero.
lt::sha256_hash hash_blocks(lt::span<char const> data, std::size_t leaves)
{
        std::vector<lt::sha256_hash> layer(leaves);
        for (auto &h : layer) {
                if (data.empty())
                        break;
                auto const n = std::min(data.size(), std::ptrdiff_t(lt::default_block_size));
                h = lt::hasher256(data.first(n)).final();
                data = data.subspan(n);
        }
        return root_of(std::move(layer));
}

// The hash of the piece that is the i-th of file f; false: it is not known yet.
bool piece_hash(lt::add_torrent_params const &p, lt::file_index_t f, std::size_t i,
                lt::sha256_hash &ret)
{
        constexpr auto hash_bytes = std::size_t(lt::sha256_hash::size());
        auto const layer = p.ti->piece_layer(f);
        if (std::size_t(layer.size()) >= (i + 1) * hash_bytes) {
                ret = lt::sha256_hash(layer.data() + i * hash_bytes);
                return true;
        }
        if (f >= p.merkle_trees.end_index() || f >= p.merkle_tree_mask.end_index())
                return false;
        tree_shape const s(p.ti->files(), f);
        auto const known = nodes_of(s, p.merkle_trees[f], p.merkle_tree_mask[f]);
        auto const node = s.piece_layer + i;
        if (!known.mask[node])
                return false;
        auto const before =
                std::count(known.mask.begin(), known.mask.begin() + std::ptrdiff_t(node), true);
        ret = lt::sha256_hash(known.hashes.data() + std::size_t(before) * hash_bytes);
        return true;
}

int check_v2(lt::add_torrent_params const &p, lt::piece_index_t piece, lt::span<char const> data)
{
        auto const &fs = p.ti->files();
        auto const f = fs.file_index_at_piece(piece);
        // What is behind the file is padding, and not hashed.
        data = data.first(std::min(data.size(), std::ptrdiff_t(fs.piece_size2(piece))));
        if (fs.pad_file_at(f))
                return 1;
        if (!has_tree(fs, f)) {
                std::size_t leaves = 1;
                while (leaves < std::size_t(fs.file_num_blocks(f)))
                        leaves *= 2;
                return hash_blocks(data, leaves) == fs.root(f);
        }
        lt::sha256_hash wanted;
        auto const i = std::size_t(int(piece) - int(fs.piece_index_at_file(f)));
        if (!piece_hash(p, f, i, wanted))
                return -ENODATA;
        return hash_blocks(data, tree_shape(fs, f).blocks_per_piece) == wanted;
}

} // namespace

extern "C" {

int bt_source_check(const struct bt_source *s, uint32_t piece, const void *data, size_t len)
{
        return guarded(nullptr, [&] {
                auto const &p = s->params;
                if (!p.ti || piece >= uint32_t(p.ti->num_pieces()))
                        return -EINVAL;
                lt::piece_index_t const i(static_cast<int>(piece));
                lt::span<char const> const bytes(static_cast<char const *>(data),
                                                 std::ptrdiff_t(len));
                if (bytes.size() != p.ti->piece_size(i))
                        return -EINVAL;
                if (!p.ti->v1())
                        return check_v2(p, i, bytes);
                return lt::hasher(bytes).final() == p.ti->hash_for_piece(i) ? 1 : 0;
        });
}

} // extern "C"
