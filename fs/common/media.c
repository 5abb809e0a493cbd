/* SPDX-License-Identifier: MIT */
#include "common/media.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct media_entry {
        const char *extension;
        const char *type;
        enum media_class class;
};

/* Sorted by kind. Types are IANA's where there is one, else what players and browsers understand.
 * Text has no charset: a torrent's subtitles come in any. */
static const struct media_entry table[] = {
        {"mkv", "video/x-matroska", MEDIA_VIDEO},
        {"mk3d", "video/x-matroska", MEDIA_VIDEO},
        {"mp4", "video/mp4", MEDIA_VIDEO},
        {"m4v", "video/mp4", MEDIA_VIDEO},
        {"webm", "video/webm", MEDIA_VIDEO},
        {"ts", "video/mp2t", MEDIA_VIDEO},
        {"m2ts", "video/mp2t", MEDIA_VIDEO},
        {"mts", "video/mp2t", MEDIA_VIDEO},
        {"m2t", "video/mp2t", MEDIA_VIDEO},
        {"avi", "video/x-msvideo", MEDIA_VIDEO},
        {"divx", "video/x-msvideo", MEDIA_VIDEO},
        {"mov", "video/quicktime", MEDIA_VIDEO},
        {"qt", "video/quicktime", MEDIA_VIDEO},
        {"wmv", "video/x-ms-wmv", MEDIA_VIDEO},
        {"asf", "video/x-ms-asf", MEDIA_VIDEO},
        {"flv", "video/x-flv", MEDIA_VIDEO},
        {"f4v", "video/x-f4v", MEDIA_VIDEO},
        {"mpg", "video/mpeg", MEDIA_VIDEO},
        {"mpeg", "video/mpeg", MEDIA_VIDEO},
        {"m2v", "video/mpeg", MEDIA_VIDEO},
        {"mpe", "video/mpeg", MEDIA_VIDEO},
        {"m1v", "video/mpeg", MEDIA_VIDEO},
        {"vob", "video/mpeg", MEDIA_VIDEO},
        {"ogv", "video/ogg", MEDIA_VIDEO},
        {"ogm", "video/ogg", MEDIA_VIDEO},
        {"3gp", "video/3gpp", MEDIA_VIDEO},
        {"3g2", "video/3gpp2", MEDIA_VIDEO},
        {"mxf", "application/mxf", MEDIA_VIDEO},
        {"rm", "application/vnd.rn-realmedia", MEDIA_VIDEO},
        {"rmvb", "application/vnd.rn-realmedia-vbr", MEDIA_VIDEO},

        {"mp3", "audio/mpeg", MEDIA_AUDIO},
        {"mp2", "audio/mpeg", MEDIA_AUDIO},
        {"m4a", "audio/mp4", MEDIA_AUDIO},
        {"m4b", "audio/mp4", MEDIA_AUDIO},
        {"aac", "audio/aac", MEDIA_AUDIO},
        {"flac", "audio/flac", MEDIA_AUDIO},
        {"ogg", "audio/ogg", MEDIA_AUDIO},
        {"oga", "audio/ogg", MEDIA_AUDIO},
        {"opus", "audio/ogg", MEDIA_AUDIO},
        {"spx", "audio/ogg", MEDIA_AUDIO},
        {"weba", "audio/webm", MEDIA_AUDIO},
        {"wav", "audio/wav", MEDIA_AUDIO},
        {"wma", "audio/x-ms-wma", MEDIA_AUDIO},
        {"aif", "audio/aiff", MEDIA_AUDIO},
        {"aiff", "audio/aiff", MEDIA_AUDIO},
        {"ac3", "audio/ac3", MEDIA_AUDIO},
        {"dts", "audio/vnd.dts", MEDIA_AUDIO},
        {"mka", "audio/x-matroska", MEDIA_AUDIO},
        {"ape", "audio/x-ape", MEDIA_AUDIO},
        {"wv", "audio/x-wavpack", MEDIA_AUDIO},
        {"mpc", "audio/x-musepack", MEDIA_AUDIO},
        {"tta", "audio/x-tta", MEDIA_AUDIO},

        {"srt", "application/x-subrip", MEDIA_OTHER},
        {"vtt", "text/vtt", MEDIA_OTHER},
        {"ass", "text/x-ssa", MEDIA_OTHER},
        {"ssa", "text/x-ssa", MEDIA_OTHER},
        {"smi", "application/x-sami", MEDIA_OTHER},
        {"sub", "text/plain", MEDIA_OTHER},
        {"sup", "application/octet-stream", MEDIA_OTHER},

        {"jpg", "image/jpeg", MEDIA_OTHER},
        {"jpeg", "image/jpeg", MEDIA_OTHER},
        {"png", "image/png", MEDIA_OTHER},
        {"gif", "image/gif", MEDIA_OTHER},
        {"webp", "image/webp", MEDIA_OTHER},
        {"avif", "image/avif", MEDIA_OTHER},
        {"heic", "image/heic", MEDIA_OTHER},
        {"heif", "image/heif", MEDIA_OTHER},
        {"jxl", "image/jxl", MEDIA_OTHER},
        {"bmp", "image/bmp", MEDIA_OTHER},
        {"tif", "image/tiff", MEDIA_OTHER},
        {"tiff", "image/tiff", MEDIA_OTHER},

        {"pdf", "application/pdf", MEDIA_OTHER},
        {"epub", "application/epub+zip", MEDIA_OTHER},
        {"txt", "text/plain", MEDIA_OTHER},
        {"nfo", "text/plain", MEDIA_OTHER},
        {"md", "text/plain", MEDIA_OTHER},
        {"log", "text/plain", MEDIA_OTHER},
        {"csv", "text/csv", MEDIA_OTHER},
        {"json", "application/json", MEDIA_OTHER},
        {"m3u", "audio/x-mpegurl", MEDIA_OTHER},
        {"m3u8", "application/vnd.apple.mpegurl", MEDIA_OTHER},
        {"pls", "audio/x-scpls", MEDIA_OTHER},
        {"cue", "application/x-cue", MEDIA_OTHER},
        {"zip", "application/zip", MEDIA_OTHER},
        {"rar", "application/vnd.rar", MEDIA_OTHER},
        {"7z", "application/x-7z-compressed", MEDIA_OTHER},
        {"gz", "application/gzip", MEDIA_OTHER},
        {"tar", "application/x-tar", MEDIA_OTHER},
        {"iso", "application/x-iso9660-image", MEDIA_OTHER},

        {"html", "text/html", MEDIA_ACTIVE},
        {"htm", "text/html", MEDIA_ACTIVE},
        {"xhtml", "application/xhtml+xml", MEDIA_ACTIVE},
        {"xht", "application/xhtml+xml", MEDIA_ACTIVE},
        {"mht", "multipart/related", MEDIA_ACTIVE},
        {"mhtml", "multipart/related", MEDIA_ACTIVE},
        {"svg", "image/svg+xml", MEDIA_ACTIVE},
        {"svgz", "image/svg+xml", MEDIA_ACTIVE},
        {"xml", "application/xml", MEDIA_ACTIVE},
        {"xsl", "application/xml", MEDIA_ACTIVE},
        {"xslt", "application/xml", MEDIA_ACTIVE},
        {"rss", "application/rss+xml", MEDIA_ACTIVE},
        {"ttml", "application/ttml+xml", MEDIA_ACTIVE},
        {"dfxp", "application/ttml+xml", MEDIA_ACTIVE},
        {"xspf", "application/xspf+xml", MEDIA_ACTIVE},
        {"js", "text/javascript", MEDIA_ACTIVE},
        {"mjs", "text/javascript", MEDIA_ACTIVE},
        {"css", "text/css", MEDIA_ACTIVE},
        {"swf", "application/x-shockwave-flash", MEDIA_ACTIVE},
};

static const struct media_entry *find(const char *name)
{
        const char *dot = strrchr(name, '.');
        char first;

        if (!dot || strchr(dot, '/'))
                return NULL;
        first = (char)tolower((unsigned char)dot[1]);
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
                if (first == table[i].extension[0] && strcasecmp(dot + 1, table[i].extension) == 0)
                        return &table[i];
        return NULL;
}

const char *media_type(const char *name)
{
        const struct media_entry *entry = find(name);

        return entry ? entry->type : "application/octet-stream";
}

enum media_class media_class(const char *name)
{
        const struct media_entry *entry = find(name);

        return entry ? entry->class : MEDIA_OTHER;
}

bool media_plays(const char *name)
{
        enum media_class class = media_class(name);

        return class == MEDIA_VIDEO || class == MEDIA_AUDIO;
}

bool media_is_better(struct media_best *best, const char *name, uint64_t length)
{
        bool plays;

        if (best->any && best->plays && length <= best->length)
                return false;
        plays = media_plays(name);
        if (best->any && !(plays && !best->plays) &&
            (plays != best->plays || length <= best->length))
                return false;
        *best = (struct media_best){.any = true, .plays = plays, .length = length};
        return true;
}
