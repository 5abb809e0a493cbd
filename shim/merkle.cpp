// SPDX-License-Identifier: MIT
#include "merkle.hpp"

#include <libtorrent/hasher.hpp>

tree_shape::tree_shape(lt::file_storage const &fs, lt::file_index_t f)
    : pieces(std::size_t(fs.file_num_pieces(f))), blocks(std::size_t(fs.file_num_blocks(f))),
      blocks_per_piece(std::size_t(fs.piece_length() / lt::default_block_size))
{
        std::size_t leaves = 1;
        while (leaves < pieces)
                leaves *= 2;
        piece_layer = leaves - 1;
        end = 2 * leaves - 1;
}

bool has_tree(lt::file_storage const &fs, lt::file_index_t f)
{
        return !fs.pad_file_at(f) && fs.file_size(f) > fs.piece_length();
}

lt::sha256_hash root_of(std::vector<lt::sha256_hash> layer)
{
        for (; layer.size() > 1; layer.resize(layer.size() / 2))
                for (std::size_t i = 0; i < layer.size() / 2; i++) {
                        lt::hasher256 h;
                        h.update(layer[2 * i]);
                        h.update(layer[2 * i + 1]);
                        layer[i] = h.final();
                }
        return layer[0];
}

void known_nodes::add(std::size_t node, lt::sha256_hash const &h)
{
        mask[node] = true;
        hashes.append(h.data(), std::size_t(h.size()));
}

known_nodes nodes_of(tree_shape const &s, std::vector<lt::sha256_hash> const &tree,
                     std::vector<bool> const &mask)
{
        known_nodes r;
        r.mask.resize(s.end);
        std::vector<lt::sha256_hash const *> at(mask.size());
        std::size_t n = 0;
        for (std::size_t i = 0; i < mask.size() && n < tree.size(); i++)
                if (mask[i])
                        at[i] = &tree[n++];
        auto const is_known = [&](std::size_t i) { return i < at.size() && at[i] != nullptr; };
        auto const all = [&](std::size_t first, std::size_t count) {
                for (std::size_t i = first; i < first + count; i++)
                        if (!is_known(i))
                                return false;
                return true;
        };
        if (all(s.piece_layer, s.pieces)) {
                for (std::size_t i = s.piece_layer; i < s.piece_layer + s.pieces; i++)
                        r.add(i, *at[i]);
        } else if (all(s.block_layer(), s.blocks)) {
                for (std::size_t i = 0; i < s.pieces; i++) {
                        std::vector<lt::sha256_hash> leaves(s.blocks_per_piece);
                        auto const first = i * s.blocks_per_piece;
                        for (std::size_t k = 0; k < leaves.size() && first + k < s.blocks; k++)
                                leaves[k] = *at[s.block_layer() + first + k];
                        r.add(s.piece_layer + i, root_of(std::move(leaves)));
                }
        } else {
                for (std::size_t i = 0; i < s.end; i++)
                        if (is_known(i))
                                r.add(i, *at[i]);
        }
        return r;
}
