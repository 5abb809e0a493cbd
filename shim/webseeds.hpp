// SPDX-License-Identifier: MIT
// webseeds.hpp: the web seeds of a torrent (BEP 19): when libtorrent has them, and what becomes of
// those that fail.
#pragma once

#include "swarm.hpp"
#include "timer.hpp"

#include <libtorrent/extensions.hpp>
#include <libtorrent/torrent_info.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

class web_seeds;

// Encodes what was not, and drops what is no URL of a web seed, what is there twice, what leads
// back to this host unless loopback, and what is beyond the hundredth.
void sift_web_seeds(std::vector<std::string> &urls, bool loopback);

// A connection to a web seed: an HTTP server that is asked for ranges of files. Network thread
// only.
class web_watch final : public lt::peer_plugin
{
      public:
        web_watch(std::shared_ptr<bt_torrent> t, lt::peer_connection_handle c);

        bool write_request(lt::peer_request const &r) override;
        bool on_piece(lt::peer_request const &r, lt::span<char const>) override;
        void on_piece_failed(lt::piece_index_t p) override;
        void on_disconnect(lt::error_code const &ec) override;

      private:
        void tell(std::string const &what);
        void later(void (web_seeds::*what)(std::string const &host));

        std::shared_ptr<bt_torrent> const m_torrent;
        lt::peer_connection_handle m_peer;
        class conduct m_conduct;
        std::string m_host; // and port
        bool m_forbidden = false;
        bool m_lied = false; // it alone gave a piece that was wrong
};

// All web seeds of a torrent. libtorrent has them while pieces are wanted and a while longer:
// it would keep calling them for ever. Network thread only but for what says otherwise.
class web_seeds
{
      public:
        // The URLs as the torrent's source has them, sifted. Before libtorrent knows the torrent.
        web_seeds(std::vector<std::string> urls, bool loopback);
        bool loopback() const
        {
                return m_loopback;
        }

        // Whoever adds the torrent gives libtorrent the result: the URLs as libtorrent 2.0.8 needs
        // them for these files.
        std::vector<std::string> urls_for(lt::torrent_info const &info);
        // With metadata: libtorrent has the torrent, and has the URLs already if given.
        void begin(bt_torrent &t, lt::torrent_handle const &h, lt::io_context *io, bool given);
        // libtorrent lets go of the torrent: nothing of its thread is used after this.
        void end();
        // Further ones, sifted. begin() may be still to come.
        void add(std::vector<std::string> const &urls);
        // Pieces are wanted from here on.
        void wake();
        // The web seed has answered with an HTTP status other than success.
        void refused(std::string const &url, int status);
        // The server at host:port has given something.
        void gave(std::string const &host);
        // … a block of the piece; "": a peer has.
        void gave_block(int piece, std::string const &host);
        // Whether nobody else gave anything of the piece, complete or failed.
        bool gave_alone(int piece, std::string const &host) const;
        void piece_passed(int piece)
        {
                m_givers.erase(piece);
        }
        // What is given of it from here on is a new attempt.
        void piece_failed(int piece);
        // … could not be reached, or has kept a reader waiting while others were there.
        void failed(std::string const &host);
        // … never does what is asked of it.
        void drop_host(std::string const &host);

      private:
        struct entry {
                std::string source, url; // as given to magnetfs; as given to libtorrent
                bool dropped = false;    // libtorrent doesn't have it any more, nor ever again
                bool away = false;       // … not until again_at
                unsigned failures = 0;
                lt::time_point again_at{}; // 0, or when to start anew
        };
        struct givers {
                std::string first;
                bool several, failed;
        };
        bool is_ours(std::string const &host) const;
        void arm();
        void tick();
        void rest();
        void start_anew(entry &e);
        void schedule(entry &e);
        void redirect_failed(std::function<bool(std::string const &)> const &is_it);

        bool const m_loopback;
        std::vector<entry> m_entries;
        bt_torrent *m_torrent = nullptr;
        lt::torrent_handle m_handle;
        timer m_timer;
        std::map<int, givers> m_givers; // of pieces that have not passed
        bool m_given = false;           // libtorrent has those that are not dropped
        lt::time_point m_wanted_at;
};

// host:port of an HTTP or HTTPS URL; "": it is none.
std::string host_of_url(std::string const &url);
