#include "base/checksum.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/check.h"

/* The state of the library is aligned to 64 bytes, which only its own allocator knows. */
struct checksum_stream {
    XXH3_state_t *state;
};

uint64_t checksum(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

struct checksum_stream *checksum_stream_new(uint64_t seed)
{
    struct checksum_stream *s = xmalloc(sizeof *s);

    s->state = XXH3_createState();
    if (s->state == NULL)
        DIE("out of memory: no room for a checksum");
    checksum_stream_reset(s, seed);
    return s;
}

void checksum_stream_reset(struct checksum_stream *s, uint64_t seed)
{
    CHECK(XXH3_64bits_reset_withSeed(s->state, seed) == XXH_OK);
}

void checksum_stream_add(struct checksum_stream *s, const void *data, size_t size)
{
    if (size == 0)
        return;
    CHECK(XXH3_64bits_update(s->state, data, size) == XXH_OK);
}

uint64_t checksum_stream_value(const struct checksum_stream *s)
{
    return XXH3_64bits_digest(s->state);
}

void checksum_stream_free(struct checksum_stream *s)
{
    if (s == NULL)
        return;
    XXH3_freeState(s->state);
    free(s);
}
