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

#define PIECE_BYTES  (1u << 20) /* written or read at once */
#define DISK_RESERVE (8u << 20) /* what a load leaves free, as dumps do (dump_file.c) */
#define REST_FACTOR  2u
#define REST_MS      200u /* at most */

/* After each piece we rest REST_FACTOR times as long as it took: disk and processor are others' for most of the time. */
static void rest_since(uint64_t began)
{
    uint64_t rest = REST_FACTOR * (clock_now_ms() - began);

    if (rest > REST_MS)
        rest = REST_MS;
    if (rest > 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)rest * 1000000L}, NULL);
}

/* ---- to a file ---- */

struct writing {
    struct dump_file *file;
    struct dump_encoder *encoder;
    struct bytes out;
    uint64_t written;
    uint64_t sum;   /* of the records' hashes */
    uint64_t began; /* ms: this piece */
    const atomic_bool *cancel;
};

static int flush(struct writing *w)
{
    int err = 0;

    if (atomic_load(w->cancel))
        return ERR_STOPPED;
    err = dump_file_write(w->file, w->written, bytes_view(&w->out));
    if (err != 0)
        return err;
    w->written += w->out.size;
    bytes_reset(&w->out);
    rest_since(w->began);
    w->began = clock_now_ms();
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
    struct writing w = {.began = clock_now_ms(), .cancel = cancel};
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

struct loading {
    struct kv_store *store;
    struct reading *r;
    struct env *fresh; /* what is filled */
    enum dump_step step;
    struct kv_sum sum;
    uint64_t used; /* bytes, when all is in */
};

/* Records until a piece of the file is done, in one transaction; with the last one goes what the map stands for. */
static int load_piece(struct loading *l)
{
    uint64_t end = l->r->offset + PIECE_BYTES;
    struct dump_record record;
    MDB_cursor *c;
    MDB_txn *txn;
    int err = env_write_begin(l->fresh, &txn);

    if (err != 0)
        return err;
    err = env_error(l->fresh, mdb_cursor_open(txn, env_table(l->fresh, MAP), &c));
    if (err != 0)
        return env_write_abort(l->fresh, txn, err);
    while (err == 0 && l->step != DUMP_END && l->r->offset < end) {
        err = next(l->r, &l->step, &record);
        if (err == 0 && l->step == DUMP_RECORD)
            err = insert(l->store, c, &record, &l->sum.records);
    }
    mdb_cursor_close(c);
    if (err == 0 && l->step == DUMP_END)
        err = put_header(l->store, txn, dump_decoder_header(l->r->decoder), l->sum.records);
    if (err != 0)
        return env_write_abort(l->fresh, txn, err);
    l->used = env_used_pages(l->fresh, txn) * env_page_size(l->fresh);
    return env_write_commit(l->fresh, txn);
}

/* All of the dump; only its end shows whether it was whole. */
static int load_all(struct loading *l)
{
    int err = 0;

    while (err == 0 && l->step != DUMP_END) {
        uint64_t began = clock_now_ms();

        err = env_disk_free(l->fresh) < DISK_RESERVE ? ERR_NO_SPACE : load_piece(l);
        if (err == 0)
            err = env_write_out(l->fresh);
        if (err == 0)
            rest_since(began);
    }
    return err;
}

static int read_header(struct reading *r, uint64_t cluster)
{
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    int err = next(r, &step, &record);

    return err == 0 && dump_decoder_header(r->decoder)->cluster != cluster ? ERR_INVALID : err;
}

static int replace(struct kv_store *s, struct reading *r, uint64_t cluster)
{
    const struct dump_header *header = dump_decoder_header(r->decoder);
    struct loading l = {.store = s, .r = r, .step = DUMP_WANTS_MORE};
    int err = read_header(r, cluster);

    if (err == 0)
        err = env_open_beside(s->env, &l.fresh);
    if (err == 0)
        err = load_all(&l);
    if (err == 0)
        err = env_take_over(s->env, l.fresh);
    env_discard_beside(s->env, l.fresh);
    if (err != 0)
        return err;
    s->applied = header->position;
    s->sum =
        (struct kv_sum){.records = l.sum.records, .config = kv_config_hash(header->config_index, &header->members)};
    atomic_store(&s->used, l.used);
    kv_look_at_disk(s);
    return 0;
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
        err = replace(s, &r, cluster);
    free(r.piece);
    dump_decoder_free(r.decoder);
    dump_file_free(r.file);
    return err;
}
