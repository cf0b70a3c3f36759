#include "wire/entry.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/err.h"

/* Where the fields of the header are (entry.h). */
enum { AT_CHECKSUM = 0, AT_INDEX = 8, AT_TERM = 16, AT_SIZE = 24, AT_TYPE = 28, AT_SPARE = 29 };

_Static_assert(AT_SPARE + 3 == ENTRY_HEADER_SIZE, "the header ends with three spare bytes");

static struct entry *allocate(uint32_t payload_size)
{
    uint32_t size = ENTRY_HEADER_SIZE + payload_size;
    struct entry *e = xmalloc(sizeof *e + size);

    atomic_init(&e->refs, 1);
    e->size = size;
    e->payload_checksum = 0;
    return e;
}

static uint32_t payload_size_of(const struct entry *e)
{
    return e->size - ENTRY_HEADER_SIZE;
}

/* The position, size and type, bound to the payload: a header in front of another entry's payload does not verify. */
static uint64_t header_checksum(const uint8_t *bytes, uint64_t payload_checksum)
{
    return checksum(bytes + AT_INDEX, ENTRY_HEADER_SIZE - AT_INDEX, payload_checksum);
}

struct entry *entry_new(enum raft_entry_type type, uint32_t payload_size)
{
    CHECK(payload_size <= ENTRY_PAYLOAD_MAX);

    struct entry *e = allocate(payload_size);

    memset(e->bytes, 0, ENTRY_HEADER_SIZE);
    codec_put_u32(e->bytes + AT_SIZE, payload_size);
    e->bytes[AT_TYPE] = (uint8_t)type;
    return e;
}

uint8_t *entry_room(struct entry *e)
{
    return e->bytes + ENTRY_HEADER_SIZE;
}

void entry_seal(struct entry *e)
{
    e->payload_checksum = checksum(e->bytes + ENTRY_HEADER_SIZE, payload_size_of(e), 0);
}

void entry_stamp(struct entry *e, struct raft_pos pos)
{
    codec_put_u64(e->bytes + AT_INDEX, pos.index);
    codec_put_u64(e->bytes + AT_TERM, pos.term);
    codec_put_u64(e->bytes + AT_CHECKSUM, header_checksum(e->bytes, e->payload_checksum));
}

struct entry *entry_ref(struct entry *e)
{
    /* Whoever hands out a reference holds one, so nothing needs to be ordered here. */
    unsigned before = atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);

    CHECK(before > 0);
    return e;
}

void entry_unref(struct entry *e)
{
    if (e == NULL)
        return;

    /* What others did with the entry happens before whoever was last frees it. */
    unsigned before = atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel);

    CHECK(before > 0);
    if (before == 1)
        free(e);
}

struct raft_pos entry_pos(const struct entry *e)
{
    return (struct raft_pos){.index = codec_get_u64(e->bytes + AT_INDEX), .term = codec_get_u64(e->bytes + AT_TERM)};
}

enum raft_entry_type entry_type(const struct entry *e)
{
    return (enum raft_entry_type)e->bytes[AT_TYPE];
}

struct view entry_payload(const struct entry *e)
{
    return view_of(e->bytes + ENTRY_HEADER_SIZE, payload_size_of(e));
}

/* Whether type and spare bytes are ones that we write. */
static bool header_valid(const uint8_t *header, uint32_t payload_size)
{
    static const uint8_t spare[ENTRY_HEADER_SIZE - AT_SPARE];

    if (memcmp(header + AT_SPARE, spare, sizeof spare) != 0)
        return false;
    switch ((enum raft_entry_type)header[AT_TYPE]) {
    case RAFT_NOOP:
        return payload_size == 0;
    case RAFT_COMMAND:
    case RAFT_CONFIG:
        return true;
    }
    return false;
}

int entry_decode(struct view *in, struct entry **out)
{
    if (in->size < ENTRY_HEADER_SIZE)
        return ERR_MALFORMED;

    const uint8_t *bytes = in->data;
    uint32_t payload_size = codec_get_u32(bytes + AT_SIZE);

    if (payload_size > ENTRY_PAYLOAD_MAX || payload_size > in->size - ENTRY_HEADER_SIZE)
        return ERR_MALFORMED;

    uint64_t payload_checksum = checksum(bytes + ENTRY_HEADER_SIZE, payload_size, 0);

    if (codec_get_u64(bytes + AT_CHECKSUM) != header_checksum(bytes, payload_checksum))
        return ERR_CORRUPT;
    if (!header_valid(bytes, payload_size))
        return ERR_MALFORMED;

    struct entry *e = allocate(payload_size);

    e->payload_checksum = payload_checksum;
    memcpy(e->bytes, bytes, e->size);
    in->data += e->size;
    in->size -= e->size;
    *out = e;
    return 0;
}
