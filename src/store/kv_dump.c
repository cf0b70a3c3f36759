/* kv_dump.c -- the map to a file, and a file to the map. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/codec.h"
#include "store/dump_file.h"
#include "store/kv_private.h"
#include "wire/dump.h"

#define PIECE_BYTES (1u << 20) /* written or read at once */
#define BREAK_MS    100        /* at most, after each piece */

/* ---- to a file ---- */

struct writing {
    struct dump_file *file;
    struct dump_encoder *encoder;
    struct bytes out;
    uint64_t written;
    uint64_t sum; /* of the records' hashes */
    const atomic_bool *cancel;
};

/* After each piece it rests as long as that took: the disk is never ours for more than half of the time. */
static int flush(struct writing *w)
{
    uint64_t began = clock_now_ms();
    uint64_t took = 0;
    int err = 0;

    if (atomic_load(w->cancel))
        return ERR_STOPPED;
    err = dump_file_write(w->file, w->written, bytes_view(&w->out));
    if (err != 0)
        return err;
    w->written += w->out.size;
    bytes_reset(&w->out);
    took = clock_now_ms() - began;
    if (took > BREAK_MS)
        took = BREAK_MS;
    if (took > 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)took * 1000000L}, NULL);
    return 0;
}

static int write_records(struct writing *w, struct kv_view *v)
{
    struct dump_record record;
    int err = kv_view_seek(v, view_of(NULL, 0), false);

    while (err == 0) {
        err = kv_view_next(v, &record.key, &record.value, &record.index);
        if (err != 0)
            break;
        w->sum += kv_record_hash(record.key, record.index, record.value);
        dump_encode_record(w->encoder, &record, &w->out);
        if (w->out.size >= PIECE_BYTES)
            err = flush(w);
    }
    return err == ERR_NOT_FOUND ? 0 : err;
}

static int write_all(struct writing *w, struct kv_view *v, uint64_t cluster, struct dump_id *out)
{
    struct kv_position *position = xcalloc(1, sizeof *position);
    struct dump_header *header = xcalloc(1, sizeof *header);
    uint64_t sum = 0;
    int err = kv_read_position(v->store, v->reader->txn, position);

    if (err != 0)
        goto out;
    header->cluster = cluster;
    header->position = position->applied;
    header->config_index = position->config_index;
    header->members = position->members;
    dump_encode_header(w->encoder, header, &w->out);
    err = write_records(w, v);
    /* Nobody shall be given a map that does not hold what was applied. */
    if (err == 0 && w->sum + kv_config_hash(position->config_index, &position->members) != position->hash)
        err = ERR_CORRUPT;
    if (err != 0)
        goto out;
    sum = dump_encode_end(w->encoder, &w->out);
    err = flush(w);
    *out = (struct dump_id){.pos = position->applied, .size = w->written, .checksum = sum};
out:
    free(header);
    free(position);
    return err;
}

int kv_store_dump(struct kv_store *s, uint64_t cluster, const char *fresh, const char *path, const atomic_bool *cancel,
                  struct dump_id *out)
{
    struct writing w = {.cancel = cancel};
    struct kv_view *view = NULL;
    struct dump_id id;
    int err = kv_view_open(s, &view);

    if (err != 0)
        return err;
    w.file = dump_file_new(fresh);
    w.encoder = dump_encoder_new();
    bytes_init(&w.out, PIECE_BYTES + (80u << 20)); /* a piece, and the largest record behind it */
    err = dump_file_create(w.file);
    if (err == 0)
        err = write_all(&w, view, cluster, &id);
    kv_view_close(view);
    if (err == 0)
        err = dump_file_publish(w.file, path);
    bytes_clear(&w.out);
    dump_encoder_free(w.encoder);
    dump_file_free(w.file);
    if (err == 0)
        *out = id;
    else
        (void)dump_file_remove(fresh); /* the next one begins anew anyway */
    return err;
}

/* ---- from a file ---- */

struct reading {
    struct dump_file *file;
    struct dump_decoder *decoder;
    uint8_t *piece;
    uint64_t offset;
    const atomic_bool *cancel;
};

static int feed(struct reading *r)
{
    uint64_t left = dump_file_size(r->file) - r->offset;
    size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    int err = 0;

    if (atomic_load(r->cancel))
        return ERR_STOPPED;
    if (size == 0)
        return ERR_CORRUPT; /* it ends too early */
    err = dump_file_read(r->file, r->offset, r->piece, size);
    if (err != 0)
        return err;
    r->offset += size;
    dump_decoder_feed(r->decoder, view_of(r->piece, size));
    return 0;
}

static int next(struct reading *r, enum dump_step *step, struct dump_record *record)
{
    int err = dump_decoder_next(r->decoder, step, record);

    while (err == 0 && *step == DUMP_WANTS_MORE) {
        err = feed(r);
        if (err == 0)
            err = dump_decoder_next(r->decoder, step, record);
    }
    /* Bytes behind the end that were not fed yet. */
    if (err == 0 && *step == DUMP_END && r->offset < dump_file_size(r->file))
        err = ERR_CORRUPT;
    return err;
}

/* The whole file, before the map is touched. */
static int verify(struct reading *r, uint64_t cluster)
{
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    int err = 0;

    while (err == 0 && step != DUMP_END) {
        err = next(r, &step, &record);
        if (err == 0 && step == DUMP_HEADER && dump_decoder_header(r->decoder)->cluster != cluster)
            err = ERR_INVALID;
    }
    return err;
}

static void rewind_file(struct reading *r)
{
    r->offset = 0;
    dump_decoder_reset(r->decoder);
}

static int insert(struct kv_store *s, MDB_cursor *c, const struct dump_record *record, uint64_t *sum)
{
    MDB_val key = env_val(record->key);
    MDB_val data = {.mv_size = RECORD_HEAD + record->value.size, .mv_data = NULL};
    uint64_t hash = kv_record_hash(record->key, record->index, record->value);
    int rc = mdb_cursor_put(c, &key, &data, MDB_APPEND | MDB_RESERVE);

    if (rc != 0)
        return env_error(s->env, rc);
    kv_record_fill(data.mv_data, record->index, hash, record->value);
    *sum += hash;
    return 0;
}

static int insert_all(struct kv_store *s, struct reading *r, MDB_txn *txn, uint64_t *sum)
{
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    MDB_cursor *c;
    int err = env_error(s->env, mdb_drop(txn, env_table(s->env, MAP), 0));

    if (err == 0)
        err = env_error(s->env, mdb_cursor_open(txn, env_table(s->env, MAP), &c));
    if (err != 0)
        return err;
    while (err == 0 && step != DUMP_END) {
        err = next(r, &step, &record);
        if (err == 0 && step == DUMP_RECORD)
            err = insert(s, c, &record, sum);
    }
    mdb_cursor_close(c);
    return err;
}

static int put_header(struct kv_store *s, MDB_txn *txn, const struct dump_header *h, uint64_t records)
{
    struct bytes members;
    int err = kv_put_position(s, txn, h->position, records);

    bytes_init(&members, MEMBERS_SIZE_MAX);
    members_encode(&h->members, &members);
    if (err == 0)
        err = kv_put_members(s, txn, h->config_index, bytes_view(&members));
    if (err == 0)
        err = kv_put_installed(s, txn, h->position.index);
    bytes_clear(&members);
    return err;
}

static int replace(struct kv_store *s, struct reading *r)
{
    const struct dump_header *header = dump_decoder_header(r->decoder);
    struct kv_sum sum = {0, 0};
    uint64_t used = 0;
    MDB_txn *txn;
    int err = env_write_begin(s->env, &txn);

    if (err != 0)
        return err;
    err = insert_all(s, r, txn, &sum.records);
    if (err == 0)
        err = put_header(s, txn, header, sum.records);
    if (err != 0) /* a file that was whole a moment ago is no fault of the map's */
        return env_write_abort(s->env, txn, err == ERR_CORRUPT ? ERR_FORMAT : err);
    used = env_used_pages(s->env, txn) * env_page_size(s->env);
    err = env_write_commit(s->env, txn);
    if (err != 0)
        return err;
    sum.config = kv_config_hash(header->config_index, &header->members);
    s->applied = header->position;
    s->sum = sum;
    atomic_store(&s->used, used);
    kv_look_at_disk(s);
    return env_sync(s->env);
}

int kv_store_load(struct kv_store *s, uint64_t cluster, const char *path, const atomic_bool *cancel)
{
    struct reading r = {.cancel = cancel};
    int err = 0;

    CHECK(s->open.txn == NULL);
    r.file = dump_file_new(path);
    r.decoder = dump_decoder_new();
    r.piece = xmalloc(PIECE_BYTES);
    err = dump_file_open(r.file, NULL);
    if (err == 0)
        err = verify(&r, cluster);
    if (err == 0) {
        rewind_file(&r);
        err = replace(s, &r);
    }
    free(r.piece);
    dump_decoder_free(r.decoder);
    dump_file_free(r.file);
    return err;
}
