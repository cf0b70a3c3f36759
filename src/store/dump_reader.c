#include "store/dump_reader.h"

#include <stdlib.h>

#include "base/check.h"

#define PIECE_BYTES (256u << 10) /* read at once */

struct dump_reader {
    struct dump_file *file;
    struct dump_decoder *decoder;
    uint8_t *piece;
    uint64_t offset; /* read so far */
    const char *fault;
};

struct dump_reader *dump_reader_new(struct dump_file *f)
{
    struct dump_reader *r = xcalloc(1, sizeof *r);

    r->file = f;
    r->decoder = dump_decoder_new();
    r->piece = xmalloc(PIECE_BYTES);
    return r;
}

void dump_reader_free(struct dump_reader *r)
{
    if (r == NULL)
        return;
    dump_decoder_free(r->decoder);
    free(r->piece);
    free(r);
}

static int feed(struct dump_reader *r)
{
    uint64_t left = dump_file_size(r->file) - r->offset;
    size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    int err = 0;

    if (size == 0) {
        r->fault = "it ends before its trailer does";
        return ERR_CORRUPT;
    }
    err = dump_file_read(r->file, r->offset, r->piece, size);
    if (err != 0) {
        r->fault = "it cannot be read";
        return err;
    }
    r->offset += size;
    dump_decoder_feed(r->decoder, view_of(r->piece, size));
    return 0;
}

int dump_reader_next(struct dump_reader *r, enum dump_step *step, struct dump_record *record)
{
    int err = dump_decoder_next(r->decoder, step, record);

    while (err == 0 && *step == DUMP_WANTS_MORE) {
        err = feed(r);
        if (err == 0)
            err = dump_decoder_next(r->decoder, step, record);
    }
    if (err == 0 && *step == DUMP_END && r->offset < dump_file_size(r->file)) {
        r->fault = "there are bytes behind the trailer"; /* that were not fed yet */
        err = ERR_CORRUPT;
    }
    return err;
}

const struct dump_header *dump_reader_header(const struct dump_reader *r)
{
    return dump_decoder_header(r->decoder);
}

void dump_reader_rewind(struct dump_reader *r)
{
    dump_decoder_reset(r->decoder);
    r->offset = 0;
    r->fault = NULL;
}

const char *dump_reader_fault(const struct dump_reader *r)
{
    return r->fault != NULL ? r->fault : dump_decoder_fault(r->decoder);
}

uint64_t dump_reader_offset(const struct dump_reader *r)
{
    return dump_decoder_offset(r->decoder);
}
