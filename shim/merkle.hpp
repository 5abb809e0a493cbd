// SPDX-License-Identifier: MIT
// merkle.hpp: the tree of a file's hashes (BEP 52) as libtorrent gives it and as it is kept.
#pragma once

#include <libtorrent/file_storage.hpp>
#include <libtorrent/sha1_hash.hpp>

#include <cstddef>
#include <string>
#include <vector>

// The tree of a file's hashes as libtorrent counts its nodes: the root is 0, and each layer follows
// the one above it.
struct tree_shape {
        std::size_t pieces, blocks, blocks_per_piece;
        std::size_t piece_layer; // its first node
        std::size_t end;         // the node behind the piece layer and its padding

        tree_shape(lt::file_storage const &fs, lt::file_index_t f);
        std::size_t block_layer() const
        {
                return (piece_layer + 1) * blocks_per_piece - 1;
        }
};

// Whether the file has more than one piece, and so a tree of them.
bool has_tree(lt::file_storage const &fs, lt::file_index_t f);

// The root above a layer, whose length is a power of two; hashes behind the end of the file count
// as zeros.
lt::sha256_hash root_of(std::vector<lt::sha256_hash> layer);

// The known nodes of a file's tree: a bit for each node down to the piece layer, and the hashes of
// those that are set.
struct known_nodes {
        std::vector<bool> mask;
        std::string hashes;

        void add(std::size_t node, lt::sha256_hash const &h);
};

// What libtorrent gives is a tree of blocks or of pieces, whole or in part. Blocks are hashed anew
// where the piece is there, and there are as many times more of them as a piece has.
known_nodes nodes_of(tree_shape const &s, std::vector<lt::sha256_hash> const &tree,
                     std::vector<bool> const &mask);
