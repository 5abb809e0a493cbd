/* SPDX-License-Identifier: MIT */
/* file_answer.h: answers a GET or HEAD with one file of a torrent: conditions, ranges, head and
 * bytes (RFC 9110). Which file is meant is stream.h's. */
#ifndef HTTPD_FILE_ANSWER_H
#define HTTPD_FILE_ANSWER_H

#include <sys/stat.h>

#include "request.h"

enum { FILE_ETAG_MAX = INFO_HASH_MAX + 32 };

/* The strong validator of a torrent's file, with its quotes: the same in every mount of it, as its
 * bytes never change. */
void file_answer_etag(const char *hash, const struct stat *st, char ret[static FILE_ETAG_MAX]);

/* Answers with the file at path below the directory of the torrent hash, or with the problem that
 * it has. A HEAD opens nothing and reads nothing. Blocks for as long as the client takes bytes and
 * stays while the swarm has none. Returns the status it sent. */
int file_answer(struct request *rq, const char *hash, const char *path);

#endif
