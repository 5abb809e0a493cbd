/* model.h: a torrent as its readers see it, without FUSE, session or clock: their plans, the wishes
 * that follow, and what the session believes of them. */
#ifndef TESTS_UNIT_MODEL_H
#define TESTS_UNIT_MODEL_H

#include "torrent/reader.h"
#include "torrent/wants.h"

enum { MODEL_READERS = 16 };

struct model_reader {
        bool open;
        struct layout layout;
        struct reader reader;
        bool forgetful; /* knows one place alone, the last */
        bool never_behind;
};

struct model {
        uint32_t piece_length, pieces;
        bool *have, *ever; /* … was it wanted */
        uint8_t *told;     /* the priority the session believes; 0 for what is there */
        bool *urgent;
        struct wants wants;
        struct model_reader reader[MODEL_READERS];
        unsigned *playing; /* of all models */
        /* of those that play here */
        unsigned n_playing;
        uint64_t rate;
        /* what it cost: wishes changed, and lines told to the session */
        uint64_t changes, lines;
};

void model_init(struct model *m, uint64_t size, uint32_t piece_length, unsigned *playing);
void model_free(struct model *m);
/* Gives the number of a new reader. */
unsigned model_open(struct model *m, uint64_t offset, uint64_t size);
void model_close(struct model *m, unsigned reader);
/* Reads as handle_read does; gives back the first piece of it that is not there, UINT32_MAX: none.
 * What is missing of it is wished for with the highest priority until it arrives. */
uint32_t model_read(struct model *m, unsigned reader, uint64_t off, uint64_t len, uint64_t now_ms);
/* The piece is there. */
void model_arrive(struct model *m, uint32_t piece);
/* Bytes in pieces that are wanted now. */
uint64_t model_wanted(const struct model *m);
/* Fails the test unless the session believes of each piece the highest priority that an open
 * reader's plan has for it. No read may be waiting. */
void model_check(const struct model *m, const char *rule);

#endif
