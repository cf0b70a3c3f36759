/* The decoder of dumps, fed in pieces, and of the frames that carry them. The first byte says how large the pieces are. */
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/dump.h"
#include "wire/entry.h"
#include "wire/integrity.h"
#include "wire/transfer.h"

struct outcome {
    int err;
    unsigned records;
    bool end;
};

static struct outcome read_dump(struct view in, size_t piece)
{
    struct dump_decoder *d = dump_decoder_new();
    struct outcome o = {0, 0, false};
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record r;

    while (o.err == 0 && !o.end) {
        o.err = dump_decoder_next(d, &step, &r);
        if (o.err != 0)
            break;
        o.records += step == DUMP_RECORD;
        o.end = step == DUMP_END;
        if (step == DUMP_WANTS_MORE) {
            size_t size = in.size < piece ? in.size : piece;

            if (size == 0)
                break;
            dump_decoder_feed(d, view_of(in.data, size));
            in = view_of(in.data + size, in.size - size);
        }
    }
    dump_decoder_free(d);
    return o;
}

static void try_frames(struct view in)
{
    struct chunk c;
    struct chunk_taken t;
    struct hash_report report;
    struct hash_verdict verdict;

    if (chunk_decode(in, &c) == 0) {
        CHECK(c.bytes.size <= CHUNK_BYTES_MAX);
        CHECK(c.offset + c.bytes.size <= c.dump.size);
    }
    if (chunk_taken_decode(in, &t) == 0)
        CHECK(t.offset <= t.dump.size);
    if (hash_report_decode(in, &report) == 0)
        CHECK(report.from > 0 && report.applied.index < ENTRY_POSITION_LIMIT);
    if (hash_verdict_decode(in, &verdict) == 0)
        CHECK(verdict.from > 0 && verdict.yours.index < ENTRY_POSITION_LIMIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;

    if (size == 0)
        return 0;
    whole = read_dump(view_of(data + 1, size - 1), size);
    pieces = read_dump(view_of(data + 1, size - 1), data[0] % 64u + 1);
    /* In pieces it is the same; but what is wrong behind the end is found only by who has it. */
    CHECK(pieces.records == whole.records);
    CHECK(whole.err != 0 || pieces.end == whole.end);
    try_frames(view_of(data + 1, size - 1));
    return 0;
}
