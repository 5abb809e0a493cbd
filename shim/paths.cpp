// SPDX-License-Identifier: MIT
// paths.cpp: the paths of an info dictionary as the torrent has them, and what they may ask for at
// most. Needs no session.
#include "paths.hpp"

#include "error.hpp"

#include <cerrno>
#include <unordered_map>

namespace
{

// BEP 52's tree of files goes no deeper in libtorrent: a hundred folders and the file.
constexpr uint32_t tree_depth_max = 101;

std::string safe_component(lt::string_view s)
{
        std::string r(s.begin(), s.end());
        for (char &c : r)
                if (c == '/' || c == '\0')
                        c = '_';
        return r.empty() ? std::string("_") : r;
}

// Takes the paths one by one and stops at the first that is over a limit.
class collector
{
      public:
        collector(bt_limits const &limits, std::vector<std::string> &out, bt_error *err)
            : m_limits(limits), m_out(out), m_err(err)
        {
        }

        int result() const
        {
                return m_result;
        }

        // A file; the folders it is in count where nobody saw them before.
        void add_file(std::vector<lt::string_view> const &components)
        {
                uint32_t folder = 0;
                for (std::size_t i = 0; i + 1 < components.size() && m_result == 0; i++)
                        folder = enter(folder, components[i]);
                std::string path;
                for (auto const &c : components) {
                        if (!path.empty())
                                path += '/';
                        path += safe_component(c);
                }
                add_path(path.empty() ? std::string("_") : std::move(path),
                         uint32_t(components.size()));
        }

        void add_path(std::string path, uint32_t depth)
        {
                m_bytes += path.size();
                if (m_out.size() == m_limits.files)
                        over(m_limits.files, "files");
                else if (m_bytes > m_limits.path_bytes)
                        over(m_limits.path_bytes, "bytes of paths");
                else if (check_depth(depth, m_limits.depth))
                        m_out.push_back(std::move(path));
        }

        bool check_depth(uint32_t depth, uint32_t most)
        {
                if (depth > most)
                        over(most, "components in a path");
                return m_result == 0;
        }

        bool add_folder()
        {
                if (m_folders == m_limits.folders)
                        over(m_limits.folders, "folders");
                m_folders++;
                return m_result == 0;
        }

      private:
        void over(std::size_t most, char const *what)
        {
                m_result = fail(m_err, -E2BIG, "the torrent has more than %zu %s; it is not taken",
                                most, what);
        }

        uint32_t enter(uint32_t parent, lt::string_view name)
        {
                std::string key(reinterpret_cast<char const *>(&parent), sizeof parent);
                key.append(name.data(), name.size());
                auto const [at, is_new] = m_known.try_emplace(std::move(key), m_folders + 1);
                if (is_new)
                        add_folder();
                return at->second;
        }

        bt_limits const &m_limits;
        std::vector<std::string> &m_out;
        bt_error *m_err;
        int m_result = 0;
        uint32_t m_folders = 0;
        std::size_t m_bytes = 0;
        std::unordered_map<std::string, uint32_t> m_known; // parent, name -> folder
};

// BEP 3's list of files, pads included. What libtorrent will refuse is passed over.
void collect_list(lt::bdecode_node const &files, collector &c)
{
        for (int i = 0; i < files.list_size() && c.result() == 0; i++) {
                auto const f = files.list_at(i);
                std::vector<lt::string_view> components;
                if (f.type() == lt::bdecode_node::dict_t) {
                        auto path = f.dict_find_list("path.utf-8");
                        if (!path)
                                path = f.dict_find_list("path");
                        for (int k = 0; path && k < path.list_size(); k++)
                                components.push_back(path.list_string_value_at(k));
                }
                c.add_file(components);
        }
}

// BEP 52's tree of files, in its own order.
void collect_tree(lt::bdecode_node const &dir, std::string const &prefix, uint32_t depth,
                  collector &c)
{
        for (int i = 0; i < dir.dict_size() && c.result() == 0; i++) {
                auto const item = dir.dict_at(i);
                if (item.second.type() != lt::bdecode_node::dict_t)
                        continue;
                std::string path = prefix;
                if (!path.empty())
                        path += '/';
                path += safe_component(item.first);
                if (!c.check_depth(depth, tree_depth_max))
                        return;
                if (item.second.dict_size() == 1 && item.second.dict_at(0).first.empty())
                        c.add_path(std::move(path), depth);
                else if (c.add_folder())
                        collect_tree(item.second, path, depth + 1, c);
        }
}

lt::string_view name_of(lt::bdecode_node const &info)
{
        auto const s = info.dict_find_string_value("name.utf-8");
        return s.empty() ? info.dict_find_string_value("name") : s;
}

} // namespace

int read_paths(lt::bdecode_node const &info, bt_limits const &limits, raw_paths &ret, bt_error *err)
{
        collector c(limits, ret.paths, err);
        auto const tree = info.dict_find_dict("file tree");
        auto const files = info.dict_find_list("files");

        ret.name = std::string(name_of(info));
        ret.with_pads = !tree;
        if (tree)
                collect_tree(tree, std::string(), 1, c);
        else if (files)
                collect_list(files, c);
        else
                c.add_path(safe_component(ret.name), 1);
        return c.result();
}
