/* integrity.h -- the frames by which members find out whether their maps are the same (kv_store.h has the hash).
 *
 * A member tells its leader now and then what its map's hash was at two places of the log; a leader tells a member whose hash
 * is another one than the majority's. */
#ifndef WIRE_INTEGRITY_H
#define WIRE_INTEGRITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "raft/raft.h"

#define INTEGRITY_VERSION 1 /* of what goes into the hash: hashes of two versions are not compared */

struct hash_at {
    raft_index index; /* 0: none */
    uint64_t hash;
};

struct hash_report {
    raft_id from, to;
    raft_term term; /* of the sender */
    uint16_t version;
    bool doubted; /* it knows already that its map is not to be trusted */
    /* The entry applied last, and the last one at a place where all members take note (server/integrity.h). */
    struct hash_at applied, checkpoint;
};
void hash_report_encode(const struct hash_report *r, struct bytes *out);
int hash_report_decode(struct view payload, struct hash_report *out); /* ERR_MALFORMED */

struct hash_verdict {
    raft_id from, to;
    raft_term term;       /* of the leader that sends it */
    struct hash_at yours; /* what the receiver has reported */
    uint64_t ours;        /* the majority's, at the same place */
};
void hash_verdict_encode(const struct hash_verdict *v, struct bytes *out);
int hash_verdict_decode(struct view payload, struct hash_verdict *out); /* ERR_MALFORMED */

#endif
