/* content.h -- the hash of a map's content: the sum, modulo 2^64, of one for each record and one for the configuration.
 *
 * It does not depend on the order in which the records came. Stores, dumps and members that compare their maps all mean this one. */
#ifndef WIRE_CONTENT_H
#define WIRE_CONTENT_H

#include "base/bytes.h"
#include "raft/raft.h"
#include "wire/members.h"

/* XXH3 of the value, seeded with that of the key, seeded with the index of the key's last change. */
uint64_t content_record_hash(struct view key, raft_index index, struct view value);
/* XXH3 of the configuration, seeded with its index; 0 where there is none yet (index 0). */
uint64_t content_config_hash(raft_index index, const struct members *members);

#endif
