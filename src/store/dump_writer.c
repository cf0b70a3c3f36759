#include "store/dump_writer.h"

#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"

#define PIECE_BYTES  (1u << 20)  /* written at once */
#define RECORD_BYTES (80u << 20) /* the largest record is smaller */
#define REST_FACTOR  2u
#define REST_MS      200u /* at most */

struct dump_writer {
    struct dump_file *file;
    struct dump_encoder *encoder;
    struct bytes out;
    struct raft_pos pos;
    uint64_t written;
    uint64_t hash;  /* of the map's content */
    uint64_t began; /* ms: this piece */
    const atomic_bool *cancel;
};

void dump_rest_since(uint64_t began)
{
    uint64_t rest = REST_FACTOR * (clock_now_ms() - began);

    if (rest > REST_MS)
        rest = REST_MS;
    if (rest > 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)rest * 1000000L}, NULL);
}

struct dump_writer *dump_writer_new(struct dump_file *file, const atomic_bool *cancel)
{
    struct dump_writer *w = xcalloc(1, sizeof *w);

    w->file = file;
    w->cancel = cancel;
    w->began = clock_now_ms();
    w->encoder = dump_encoder_new();
    bytes_init(&w->out, PIECE_BYTES + RECORD_BYTES);
    return w;
}

void dump_writer_free(struct dump_writer *w)
{
    if (w == NULL)
        return;
    dump_encoder_free(w->encoder);
    bytes_clear(&w->out);
    free(w);
}

static int flush(struct dump_writer *w)
{
    int err = 0;

    if (w->cancel != NULL && atomic_load(w->cancel))
        return ERR_STOPPED;
    err = dump_file_write(w->file, w->written, bytes_view(&w->out));
    if (err != 0)
        return err;
    w->written += w->out.size;
    bytes_reset(&w->out);
    if (w->cancel != NULL)
        dump_rest_since(w->began);
    w->began = clock_now_ms();
    return 0;
}

void dump_writer_header(struct dump_writer *w, const struct dump_header *h)
{
    w->pos = h->position;
    dump_encode_header(w->encoder, h, &w->out);
}

void dump_writer_turn(struct dump_writer *w)
{
    dump_encode_turn(w->encoder, &w->out);
}

int dump_writer_record(struct dump_writer *w, const struct dump_record *r)
{
    dump_encode_record(w->encoder, r, &w->out);
    return w->out.size >= PIECE_BYTES ? flush(w) : 0;
}

int dump_writer_end(struct dump_writer *w, struct dump_id *out)
{
    uint64_t sum = dump_encode_end(w->encoder, &w->out);
    int err = flush(w);

    if (err == 0)
        *out = (struct dump_id){.pos = w->pos, .size = w->written, .checksum = sum};
    return err;
}
