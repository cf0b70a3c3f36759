/* The lines of a backup, fed in pieces. The first byte says how large the pieces are. What is taken is written as it was
 * meant, and read again. */
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "http/pairs.h"

struct outcome {
    int err;
    unsigned pairs;
    bool end;
};

static void check_pair(const struct pairs_item *item)
{
    struct pairs_reader *r = pairs_reader_new();
    struct pairs_item again;
    enum pairs_step step;
    struct bytes out;

    bytes_init(&out, 1 << 24);
    pairs_append_header(&out, 1, 2, 3);
    pairs_append(&out, item->key, item->value, item->etag);
    pairs_reader_feed(r, bytes_view(&out));
    CHECK(pairs_reader_next(r, &step, &again) == 0 && step == PAIRS_HEADER);
    CHECK(pairs_reader_next(r, &step, &again) == 0 && step == PAIRS_PAIR);
    CHECK(view_equal(again.key, item->key));
    CHECK(view_equal(again.value, item->value));
    CHECK(again.etag == item->etag);
    bytes_clear(&out);
    pairs_reader_free(r);
}

static struct outcome read_lines(struct view in, size_t piece)
{
    struct pairs_reader *r = pairs_reader_new();
    struct outcome o = {0, 0, false};
    struct pairs_item item;
    enum pairs_step step;

    for (;;) {
        o.err = pairs_reader_next(r, &step, &item);
        if (o.err != 0)
            break;
        o.end = o.end || step == PAIRS_END;
        if (step == PAIRS_PAIR) {
            o.pairs++;
            check_pair(&item);
        }
        if (step == PAIRS_WANTS_MORE) {
            size_t size = in.size < piece ? in.size : piece;

            if (size == 0)
                break;
            pairs_reader_feed(r, view_of(in.data, size));
            in = view_of(in.data + size, in.size - size);
        }
    }
    pairs_reader_free(r);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;

    if (size == 0)
        return 0;
    whole = read_lines(view_of(data + 1, size - 1), size);
    pieces = read_lines(view_of(data + 1, size - 1), data[0] % 64u + 1);
    CHECK(whole.err == pieces.err);
    CHECK(whole.pairs == pieces.pairs);
    CHECK(whole.end == pieces.end);
    return 0;
}
