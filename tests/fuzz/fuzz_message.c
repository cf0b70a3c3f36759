/* The decoder of messages between members. The first byte chooses whether the checksums and positions of the entries are
 * put right first: no fuzzer guesses a checksum. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "fuzz.h"
#include "wire/message.h"

#define APPEND_SIZE 61 /* of the fixed part of an append; prev.index at 25, prev.term at 33 */

enum { MEND_CHECKSUMS = 1, MEND_POSITIONS = 2, MEND_SIZES = 4 };

static void mend_entries(uint8_t *data, size_t size, unsigned how)
{
    uint64_t index;
    uint64_t term;

    if (size < APPEND_SIZE || data[0] != RAFT_APPEND)
        return;
    index = codec_get_u64(data + 25);
    term = codec_get_u64(data + 33);
    for (size_t at = APPEND_SIZE; size - at >= ENTRY_HEADER_SIZE;) {
        uint8_t *e = data + at;
        size_t left = size - at - ENTRY_HEADER_SIZE;

        if ((how & MEND_SIZES) && codec_get_u32(e + 24) > left)
            codec_put_u32(e + 24, (uint32_t)left);
        if (codec_get_u32(e + 24) > left)
            return;
        if (how & MEND_POSITIONS) {
            codec_put_u64(e + 8, ++index);
            codec_put_u64(e + 16, term);
        }
        codec_put_u64(e, checksum(e + 8, 24, checksum(e + ENTRY_HEADER_SIZE, codec_get_u32(e + 24), 0)));
        at += ENTRY_HEADER_SIZE + codec_get_u32(e + 24);
    }
}

/* What was decoded obeys what message.h promises, and encodes to the very bytes it came from. */
static void check_decoded(const struct incoming *in, struct view payload)
{
    const struct raft_message *m = &in->message;
    uint64_t term = m->append.prev.term;
    struct bytes again;

    CHECK(in->count == (m->type == RAFT_APPEND ? m->append.count : 0));
    bytes_init(&again, payload.size);
    message_encode(m, &again);
    for (unsigned i = 0; i < in->count; i++) {
        struct raft_pos pos = entry_pos(in->entries[i]);

        CHECK(pos.index == m->append.prev.index + 1 + i);
        CHECK(pos.term >= term);
        CHECK(pos.term <= m->term);
        CHECK(in->heads[i].term == pos.term);
        CHECK((in->configs[i] != NULL) == (in->heads[i].type == RAFT_CONFIG));
        term = pos.term;
        bytes_append(&again, in->entries[i]->bytes, in->entries[i]->size);
    }
    CHECK(view_equal(bytes_view(&again), payload));
    bytes_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct incoming *in;
    uint8_t *copy;

    if (in == NULL)
        in = incoming_new();
    if (size == 0)
        return 0;
    copy = malloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    if (data[0] & MEND_CHECKSUMS)
        mend_entries(copy, size - 1, data[0]);
    if (message_decode(view_of(copy, size - 1), in) == 0)
        check_decoded(in, view_of(copy, size - 1));
    else
        CHECK(in->count == 0 && in->message.type == 0);
    incoming_clear(in);
    free(copy);
    return 0;
}
