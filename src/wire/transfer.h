/* transfer.h -- the frames that carry a dump (dump.h) from a leader to a member that fell behind, and their answers.
 *
 * A chunk without bytes is an offer, or the question how far the other side is; each chunk is answered with how much of the
 * file the receiver has. */
#ifndef WIRE_TRANSFER_H
#define WIRE_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "raft/raft.h"

#define CHUNK_BYTES_MAX (256u << 10)

/* Which dump: two that agree in this are the same bytes. */
struct dump_id {
    struct raft_pos pos; /* the map as of this entry */
    uint64_t size;       /* in bytes */
    uint64_t checksum;   /* its last eight bytes */
};
bool dump_id_equal(const struct dump_id *a, const struct dump_id *b);

struct chunk {
    raft_id from, to;
    raft_term term; /* of the leader that sends it */
    struct dump_id dump;
    uint64_t offset;
    struct view bytes; /* at most CHUNK_BYTES_MAX, none behind the dump's size */
};
void chunk_encode(const struct chunk *c, struct bytes *out); /* all but the bytes, which follow as they are */
/* out->bytes points into the payload. ERR_MALFORMED. */
int chunk_decode(struct view payload, struct chunk *out);

struct chunk_taken {
    raft_id from, to;
    struct dump_id dump;
    uint64_t offset; /* the receiver has all before it */
};
void chunk_taken_encode(const struct chunk_taken *t, struct bytes *out);
int chunk_taken_decode(struct view payload, struct chunk_taken *t);

#endif
