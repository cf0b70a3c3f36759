#include "wire/content.h"

#include "base/checksum.h"

uint64_t content_record_hash(struct view key, raft_index index, struct view value)
{
    return checksum(value.data, value.size, checksum(key.data, key.size, index));
}

uint64_t content_config_hash(raft_index index, const struct members *members)
{
    struct bytes encoded;
    uint64_t hash = 0;

    if (index == 0)
        return 0; /* none yet */
    bytes_init(&encoded, MEMBERS_SIZE_MAX);
    members_encode(members, &encoded);
    hash = checksum(encoded.data, encoded.size, index);
    bytes_clear(&encoded);
    return hash;
}
