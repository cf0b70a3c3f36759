/* kv_record.c -- a record of the map, and the hash that tells whether it is still what was written.
 *
 * A record's hash is the XXH3 of key, index of its last change, and value. It lies in the record, for LMDB has no checksums:
 * whoever reads the record for a client, a dump or a condition verifies it. The sum of the hashes (wire/content.h), modulo
 * 2^64, and of one for the configuration, is the map's hash: it does not depend on the order of changes, costs one hash for
 * each change (what goes brings its own along), and two members that have applied the same entries have the same. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "store/kv_private.h"

#define FORMAT_WITH_HASHES 2u

void kv_record_fill(uint8_t *out, raft_index index, uint64_t hash, struct view value)
{
    codec_put_u64(out, index);
    codec_put_u64(out + INDEX_SIZE, hash);
    if (value.size > 0)
        memcpy(out + RECORD_HEAD, value.data, value.size);
}

int kv_record_head(const MDB_val *data, raft_index *index, uint64_t *hash)
{
    if (data->mv_size < RECORD_HEAD)
        return ERR_CORRUPT;
    *index = codec_get_u64(data->mv_data);
    *hash = codec_get_u64((const uint8_t *)data->mv_data + INDEX_SIZE);
    return 0;
}

int kv_record_split(struct view key, const MDB_val *data, struct view *value, raft_index *index)
{
    struct view found;
    uint64_t hash;
    raft_index changed;
    int err = kv_record_head(data, &changed, &hash);

    if (err != 0)
        return err;
    found = view_of((const uint8_t *)data->mv_data + RECORD_HEAD, data->mv_size - RECORD_HEAD);
    if (content_record_hash(key, changed, found) != hash)
        return ERR_CORRUPT;
    *value = found;
    *index = changed;
    return 0;
}

/* ---- from older formats ---- */

/* A record as format 1 had it, without its hash, becomes one of ours. What LMDB gives lies in the page that the put changes:
 * it takes copies. */
static int upgrade_record(struct kv_store *s, MDB_cursor *c, const MDB_val *old_key, const MDB_val *old,
                          uint64_t *records)
{
    size_t size = old->mv_size - INDEX_SIZE;
    uint8_t *copy = xmalloc(old_key->mv_size + RECORD_HEAD + size);
    uint8_t *fresh = copy + old_key->mv_size;
    MDB_val key = {.mv_size = old_key->mv_size, .mv_data = copy};
    MDB_val data = {.mv_size = RECORD_HEAD + size, .mv_data = fresh};
    struct view value = view_of((const uint8_t *)old->mv_data + INDEX_SIZE, size);
    raft_index index = codec_get_u64(old->mv_data);
    uint64_t hash = content_record_hash(view_of(old_key->mv_data, old_key->mv_size), index, value);
    int err = 0;

    memcpy(copy, old_key->mv_data, old_key->mv_size);
    kv_record_fill(fresh, index, hash, value);
    err = env_error(s->env, mdb_cursor_put(c, &key, &data, MDB_CURRENT));
    *records += hash;
    free(copy);
    return err;
}

static int upgrade_records(struct kv_store *s, MDB_txn *txn, uint64_t *records)
{
    MDB_val key, data;
    MDB_cursor *c;
    int err = env_error(s->env, mdb_cursor_open(txn, env_table(s->env, MAP), &c));

    if (err != 0)
        return err;
    for (;;) {
        err = env_error(s->env, mdb_cursor_get(c, &key, &data, MDB_NEXT));
        if (err == 0 && data.mv_size < INDEX_SIZE)
            err = ERR_CORRUPT;
        if (err == 0)
            err = upgrade_record(s, c, &key, &data, records);
        if (err != 0)
            break;
    }
    mdb_cursor_close(c);
    return err == ERR_NOT_FOUND ? 0 : err;
}

int kv_upgrade(struct kv_store *s)
{
    struct kv_position *position = xmalloc(sizeof *position);
    uint64_t records = 0;
    MDB_txn *txn;
    int err = env_write_begin(s->env, &txn);

    if (err != 0)
        goto out;
    if (env_format(s->env) < FORMAT_WITH_HASHES) {
        err = kv_read_position(s, txn, position);
        if (err == 0)
            err = upgrade_records(s, txn, &records);
        if (err == 0)
            err = kv_put_position(s, txn, position->applied, records);
    }
    if (err == 0)
        err = env_put_format(s->env, txn);
    err = err == 0 ? env_write_commit(s->env, txn) : env_write_abort(s->env, txn, err);
out:
    free(position);
    return err;
}
