#include "spoil.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/codec.h"

#define INDEX_SIZE  8u
#define RECORD_HEAD 16u
#define MAP_SIZE    ((size_t)1 << 30)

struct opened {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta, map;
};

static int begin(const char *path, struct opened *o)
{
    int rc = mdb_env_create(&o->env);

    if (rc == 0)
        rc = mdb_env_set_mapsize(o->env, MAP_SIZE);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(o->env, 3);
    if (rc == 0)
        rc = mdb_env_open(o->env, path, 0, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(o->env, NULL, 0, &o->txn);
    if (rc == 0)
        rc = mdb_dbi_open(o->txn, NULL, 0, &o->meta);
    if (rc == 0)
        rc = mdb_dbi_open(o->txn, "map", 0, &o->map);
    return rc;
}

static int end(struct opened *o, int rc)
{
    if (rc == 0)
        rc = mdb_txn_commit(o->txn);
    else if (o->txn != NULL)
        mdb_txn_abort(o->txn);
    mdb_env_close(o->env);
    return rc;
}

static MDB_val val(void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = data};
}

/* A copy of the record of `key`; the caller frees it. */
static int get(struct opened *o, MDB_dbi dbi, const char *key, uint8_t **copy, size_t *size)
{
    MDB_val k = {.mv_size = strlen(key)}, data;
    int rc;

    memcpy(&k.mv_data, &key, sizeof key);
    rc = mdb_get(o->txn, dbi, &k, &data);
    if (rc != 0)
        return rc;
    *size = data.mv_size;
    *copy = malloc(data.mv_size + 1);
    if (*copy == NULL)
        return MDB_PANIC;
    memcpy(*copy, data.mv_data, data.mv_size);
    return 0;
}

static int put(struct opened *o, MDB_dbi dbi, const char *key, uint8_t *data, size_t size)
{
    MDB_val k = {.mv_size = strlen(key)}, d = val(data, size);

    memcpy(&k.mv_data, &key, sizeof key);
    return mdb_put(o->txn, dbi, &k, &d, 0);
}

int spoil_record(const char *path, const char *key, size_t bit)
{
    struct opened o = {0};
    uint8_t *copy = NULL;
    size_t size = 0;
    int rc = begin(path, &o);

    if (rc == 0)
        rc = get(&o, o.map, key, &copy, &size);
    if (rc == 0) {
        copy[bit / 8 < size ? bit / 8 : size - 1] ^= (uint8_t)(1u << bit % 8);
        rc = put(&o, o.map, key, copy, size);
    }
    free(copy);
    return end(&o, rc);
}

static uint64_t record_hash(const char *key, uint64_t index, const void *value, size_t size)
{
    return checksum(value, size, checksum(key, strlen(key), index));
}

/* A record beside the map: a checksum, and what it is of. */
static int put_meta(struct opened *o, const char *name, uint8_t *with_room, size_t size)
{
    codec_put_u64(with_room, checksum(with_room + 8, size - 8, 0));
    return put(o, o->meta, name, with_room, size);
}

static int move_sum(struct opened *o, uint64_t by)
{
    uint8_t *position = NULL;
    size_t size = 0;
    int rc = get(o, o->meta, "position", &position, &size);

    if (rc == 0) {
        codec_put_u64(position + 24, codec_get_u64(position + 24) + by);
        rc = put_meta(o, "position", position, size);
    }
    free(position);
    return rc;
}

int spoil_sum(const char *path, uint64_t by)
{
    struct opened o = {0};
    int rc = begin(path, &o);

    if (rc == 0)
        rc = move_sum(&o, by);
    return end(&o, rc);
}

int spoil_value(const char *path, const char *key, const void *value, size_t size)
{
    struct opened o = {0};
    uint8_t *old = NULL, *fresh = malloc(RECORD_HEAD + size);
    size_t old_size = 0;
    uint64_t before = 0, after = 0;
    int rc = begin(path, &o);

    if (rc == 0)
        rc = get(&o, o.map, key, &old, &old_size);
    if (rc == 0 && fresh != NULL) {
        before = codec_get_u64(old + INDEX_SIZE);
        after = record_hash(key, codec_get_u64(old), value, size);
        memcpy(fresh, old, INDEX_SIZE);
        codec_put_u64(fresh + INDEX_SIZE, after);
        memcpy(fresh + RECORD_HEAD, value, size);
        rc = put(&o, o.map, key, fresh, RECORD_HEAD + size);
    }
    if (rc == 0)
        rc = move_sum(&o, after - before);
    free(old);
    free(fresh);
    return end(&o, rc);
}

static int strip_hashes(struct opened *o)
{
    MDB_cursor *c;
    MDB_val key, data;
    int rc = mdb_cursor_open(o->txn, o->map, &c);

    while (rc == 0 && (rc = mdb_cursor_get(c, &key, &data, MDB_NEXT)) == 0) {
        uint8_t *copy = malloc(key.mv_size + data.mv_size);
        MDB_val k = val(copy, key.mv_size);
        MDB_val d = val(copy + key.mv_size, data.mv_size - INDEX_SIZE);

        if (copy == NULL)
            return MDB_PANIC;
        memcpy(copy, key.mv_data, key.mv_size);
        memcpy(d.mv_data, data.mv_data, INDEX_SIZE);
        memcpy((uint8_t *)d.mv_data + INDEX_SIZE, (uint8_t *)data.mv_data + RECORD_HEAD, data.mv_size - RECORD_HEAD);
        rc = mdb_cursor_put(c, &k, &d, MDB_CURRENT);
        free(copy);
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int spoil_format(const char *path)
{
    struct opened o = {0};
    uint8_t *format = NULL, *position = NULL;
    size_t size = 0;
    int rc = begin(path, &o);

    if (rc == 0)
        rc = strip_hashes(&o);
    if (rc == 0)
        rc = get(&o, o.meta, "format", &format, &size);
    if (rc == 0) {
        codec_put_u64(format + 16, 1);
        rc = put_meta(&o, "format", format, size);
    }
    if (rc == 0)
        rc = get(&o, o.meta, "position", &position, &size);
    if (rc == 0)
        rc = put_meta(&o, "position", position, size - 8);
    free(format);
    free(position);
    return end(&o, rc);
}

long spoil_file(const char *path, uint64_t one_in, uint64_t seed)
{
    FILE *f = fopen(path, "r+b");
    uint64_t at = 0, state = seed;
    long count = 0, size = 0;
    int c = 0;

    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
        return -1;
    for (;;) {
        /* splitmix64; a step between two flips is uniform over twice the mean */
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        at += 1 + (z ^ (z >> 31)) % (2 * one_in);
        if (at / 8 >= (uint64_t)size)
            break;
        if (fseek(f, (long)(at / 8), SEEK_SET) != 0 || (c = fgetc(f)) == EOF ||
            fseek(f, (long)(at / 8), SEEK_SET) != 0 || fputc(c ^ 1 << at % 8, f) == EOF)
            break;
        count++;
    }
    return fclose(f) == 0 ? count : -1;
}
