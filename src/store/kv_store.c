/* Tables "map" and "map.2", one of which is the map (kv_restore.c): key -> u64 index of its last change, u64 hash, then the
 * value (kv_record.c). Records: "position" u64 index, u64 term of the last entry applied, u64 sum of the hashes of all records;
 * "members" u64 index of the configuration entry, then its payload (wire/members.h); "installed" u64 index of the dump that
 * was loaded last; "restoring" as kv_restore.c says.
 *
 * Room. The map is as large as max_size says; it does not grow while it is open. The last sixteenth of it (RESERVE_MIN ..
 * RESERVE_MAX bytes) is a reserve that kv_store_room keeps new sets out of, so what was proposed before the map filled
 * up still finds room. A quarter of the reserve is for deletes alone, and a map that is larger already than the limit
 * gets a reserve on top. A disk that is nearly full is treated likewise. What is applied never depends on any of this, only
 * when: a member whose limit is lower than the others' waits with ERR_NO_SPACE at the entry that does not fit, until it is
 * started with more room, and then applies it like all others. */
#include "store/kv_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/codec.h"
#include "store/kv_private.h"

#define SIZE_MIN     (1u << 20)
#define RESERVE_MIN  (512u << 10)
#define RESERVE_MAX  (64u << 20)
#define SET_PAGES    8u           /* what a set may take besides its value's own pages: a path of the tree, split */
#define DISK_RESERVE (4u << 20)   /* for what is in flight, for deletes, and for what the files grow ahead */
#define DISK_NEAR    (256u << 20) /* with less than that free each set looks anew */
#define DISK_LOOK_MS 100u         /* and otherwise so often */
#define ROOM_LEAST   (4u << 10)
#define LMDB_KEY_MAX 511u

static_assert(COMMAND_KEY_MAX <= LMDB_KEY_MAX, "a key must fit into LMDB's");

void kv_look_at_disk(struct kv_store *s)
{
    atomic_store(&s->disk_free, env_disk_free(s->env));
    atomic_store(&s->disk_looked, clock_now_ms());
}

/* ---- opening ---- */

const struct env_options kv_env_options = {.kind = "raftdmap",
                                           .format = KV_STORE_FORMAT,
                                           .oldest = KV_STORE_OLDEST,
                                           .flags = MDB_NOMETASYNC, /* the log repeats what a power cut takes back */
                                           .table_count = 2,
                                           .tables = {[MAP] = {"map", 0}, [OTHER_MAP] = {"map.2", 0}}};

static int read_position(struct kv_store *s, MDB_txn *txn, struct raft_pos *out, uint64_t *records)
{
    struct view value;
    int err = env_meta_get(s->env, txn, "position", &value);

    if (err == ERR_NOT_FOUND) {
        *out = (struct raft_pos){0}; /* a new map */
        *records = 0;
        return 0;
    }
    if (err != 0)
        return err;
    if (value.size != 24 && !(value.size == 16 && env_format(s->env) < KV_STORE_FORMAT))
        return ERR_CORRUPT;
    *out = (struct raft_pos){.index = codec_get_u64(value.data), .term = codec_get_u64(value.data + 8)};
    *records = value.size == 24 ? codec_get_u64(value.data + 16) : 0;
    return 0;
}

static int load(struct kv_store *s)
{
    struct env_reader *r;
    int err = env_read_begin(s->env, &r);

    if (err != 0)
        return err;
    err = read_position(s, r->txn, &s->applied, &s->sum.records);
    if (err == 0)
        err = kv_read_sum(s, r->txn, &s->sum);
    if (err == 0)
        err = kv_read_restoring(s, r->txn, &s->restoring);
    if (err == 0)
        atomic_store(&s->used, env_used_pages(s->env, r->txn) * env_page_size(s->env));
    kv_look_at_disk(s);
    env_read_end(s->env, r);
    return err;
}

static uint64_t reserve_of(uint64_t max_size)
{
    uint64_t reserve = max_size / 16;

    if (reserve < RESERVE_MIN)
        return RESERVE_MIN;
    return reserve < RESERVE_MAX ? reserve : RESERVE_MAX;
}

static int look_for_doubt(struct kv_store *s, const char *path, struct why *why)
{
    char note[PATH_MAX];
    struct kv_doubt doubt;
    int err = kv_doubt_path(path, note);

    if (err == 0)
        err = kv_doubt_read(path, &doubt);
    if (err != 0)
        return why_set(why, err, "%s.doubt cannot be read: %s", path, err_text(err));
    if (doubt.unreadable)
        return why_set(why, ERR_CORRUPT, "%s is damaged: %s", path, doubt.reason);
    s->path = xstrdup(path);
    s->note_path = xstrdup(note);
    atomic_store(&s->doubted, doubt.there);
    return 0;
}

int kv_store_open(const char *path, uint64_t max_size, unsigned readers, struct kv_store **out, struct why *why)
{
    const uint64_t size = max_size < SIZE_MIN ? SIZE_MIN : max_size;
    struct env_options options = kv_env_options;
    struct kv_store *s = xcalloc(1, sizeof *s);
    int err = look_for_doubt(s, path, why);

    options.map_size = size;
    options.spare = reserve_of(size);
    options.readers = readers + 5; /* our own: positions, statistics, the scrub */
    options.note = s->note_path;
    options.note_text = "unreadable\na page of it makes no sense\n";
    options.advice = "the next start puts it aside, and has a leader send it anew";
    if (err == 0)
        err = env_open(path, &options, &s->env, why);
    if (err != 0)
        goto out;
    s->max_size = size;
    s->reserve = options.spare;
    s->views = xcalloc(options.readers, sizeof *s->views);
    env_work(s->env, true);
    err = env_format(s->env) < KV_STORE_FORMAT ? kv_upgrade(s) : 0;
    if (err == ERR_NO_SPACE) {
        why_set(why, err,
                "%s is of an older format, and there is no room to bring it to this one: start once with a "
                "-max-db-size of twice its size, on a disk that has as much free",
                path);
        goto out;
    }
    if (err == 0)
        err = load(s);
    env_work(s->env, false);
    if (err != 0) {
        why_set(why, err, "%s does not add up: %s", path, err_text(err));
        goto out;
    }
    *out = s;
    s = NULL;
out:
    kv_store_close(s);
    return err;
}

void kv_store_close(struct kv_store *s)
{
    if (s == NULL)
        return;
    CHECK(s->open.txn == NULL); /* a write transaction ends where it began, in the applier's thread */
    env_close(s->env);
    free(s->views);
    free(s->note_path);
    free(s->path);
    free(s);
}

static int read_members(struct kv_store *s, MDB_txn *txn, struct kv_position *out)
{
    struct view value;
    int err = env_meta_get(s->env, txn, "members", &value);

    if (err == ERR_NOT_FOUND) {
        out->config_index = 0;
        out->members = (struct members){.count = 0};
        return 0;
    }
    if (err != 0)
        return err;
    if (value.size < INDEX_SIZE)
        return ERR_CORRUPT;
    out->config_index = codec_get_u64(value.data);
    err = members_decode(view_of(value.data + INDEX_SIZE, value.size - INDEX_SIZE), &out->members);
    return err == 0 ? 0 : ERR_CORRUPT;
}

static int read_installed(struct kv_store *s, MDB_txn *txn, raft_index *index)
{
    struct view value;
    int err = env_meta_get(s->env, txn, "installed", &value);

    *index = 0;
    if (err == ERR_NOT_FOUND)
        return 0;
    if (err == 0 && value.size != INDEX_SIZE)
        return ERR_CORRUPT;
    if (err == 0)
        *index = codec_get_u64(value.data);
    return err;
}

int kv_read_position(struct kv_store *s, MDB_txn *txn, struct kv_position *out)
{
    struct kv_restoring restoring = {.begin = 0};
    raft_index installed = 0;
    int err = read_position(s, txn, &out->applied, &out->hash);

    if (err == 0)
        err = read_members(s, txn, out);
    if (err == 0)
        err = read_installed(s, txn, &installed);
    if (err == 0)
        err = kv_read_restoring(s, txn, &restoring);
    out->restoring = restoring.begin;
    out->installed = installed != 0 && installed == out->applied.index;
    out->hash += content_config_hash(out->config_index, &out->members);
    return err;
}

int kv_read_sum(struct kv_store *s, MDB_txn *txn, struct kv_sum *out)
{
    struct kv_position *position = xmalloc(sizeof *position);
    int err = kv_read_position(s, txn, position);

    if (err == 0) {
        out->config = content_config_hash(position->config_index, &position->members);
        out->records = position->hash - out->config;
    }
    free(position);
    return err;
}

int kv_store_position(struct kv_store *s, struct kv_position *out)
{
    struct kv_doubt doubt = {.there = false};
    struct kv_position position;
    struct env_reader *r;
    int err = env_read_begin(s->env, &r);

    if (err != 0)
        return err;
    err = kv_read_position(s, r->txn, &position);
    env_read_end(s->env, r);
    position.doubted = atomic_load(&s->doubted);
    if (err == 0 && position.doubted)
        err = kv_doubt_read(s->path, &doubt);
    memcpy(position.doubt, doubt.reason, sizeof position.doubt);
    if (err == 0)
        *out = position;
    return err;
}

/* ---- applying ---- */

static int set(struct kv_store *s, const struct command *c, raft_index index)
{
    MDB_val key = env_val(c->key);
    MDB_val data = {.mv_size = RECORD_HEAD + c->value.size, .mv_data = NULL};
    uint64_t hash = content_record_hash(c->key, index, c->value);
    int rc = mdb_cursor_put(s->open.map, &key, &data, MDB_RESERVE);

    if (rc != 0)
        return env_error(s->env, rc);
    kv_record_fill(data.mv_data, index, hash, c->value);
    s->open.sum.records += hash;
    s->open.grows = true;
    return 0;
}

/* What a condition is decided by must be what was written. Else the old record only goes, and its hash out of the sum. */
static int look_at_old(const struct command *c, const MDB_val *old, raft_index *current, uint64_t *hash)
{
    struct view value;
    int err = kv_record_head(old, current, hash);

    return err == 0 && c->condition != COMMAND_ALWAYS ? kv_record_split(c->key, old, &value, current) : err;
}

/* A command that does not decode has passed every checksum: going on without it would make us differ from members that
 * understand it. */
static int apply_command(struct kv_store *s, struct entry *e, raft_index index, struct command_result *result)
{
    struct command c;
    raft_index current = 0;
    uint64_t hash = 0;
    MDB_val key, old;
    int rc, err;

    if (command_decode(entry_payload(e), &c) != 0)
        return ERR_CORRUPT;
    if (command_is_restore(&c))
        return kv_apply_restore(s, &c, index, result);
    key = env_val(c.key);
    rc = mdb_cursor_get(s->open.map, &key, &old, MDB_SET);
    err = rc == 0 ? look_at_old(&c, &old, &current, &hash) : rc == MDB_NOTFOUND ? 0 : env_error(s->env, rc);
    if (err != 0)
        return err;
    if (!command_decide(&c, index, current, result))
        return 0;
    s->open.sum.records -= hash;
    if (c.op == COMMAND_SET)
        return set(s, &c, index);
    return env_error(s->env, mdb_cursor_del(s->open.map, 0)); /* it stands on the key */
}

static int apply_config(struct kv_store *s, struct entry *e, raft_index index)
{
    struct members *members = xmalloc(sizeof *members);
    int err = members_decode(entry_payload(e), members) == 0 ? 0 : ERR_CORRUPT;

    if (err == 0) {
        s->open.sum.config = content_config_hash(index, members);
        entry_unref(s->open.config);
        s->open.config = entry_ref(e);
    }
    free(members);
    return err;
}

static int apply_entry(struct kv_store *s, struct entry *e, raft_index index, struct command_result *result)
{
    switch (entry_type(e)) {
    case RAFT_NOOP:
        return 0;
    case RAFT_COMMAND:
        return apply_command(s, e, index, result);
    case RAFT_CONFIG:
        return apply_config(s, e, index);
    }
    return ERR_CORRUPT;
}

int kv_put_position(struct kv_store *s, MDB_txn *txn, struct raft_pos applied, uint64_t records)
{
    uint8_t value[24];

    codec_put_u64(value, applied.index);
    codec_put_u64(value + 8, applied.term);
    codec_put_u64(value + 16, records);
    return env_meta_put(s->env, txn, "position", view_of(value, sizeof value));
}

int kv_put_installed(struct kv_store *s, MDB_txn *txn, raft_index index)
{
    uint8_t value[INDEX_SIZE];

    codec_put_u64(value, index);
    return env_meta_put(s->env, txn, "installed", view_of(value, sizeof value));
}

int kv_put_members(struct kv_store *s, MDB_txn *txn, raft_index index, struct view payload)
{
    struct bytes value;
    uint8_t number[INDEX_SIZE];
    int err;

    bytes_init(&value, INDEX_SIZE + ENTRY_PAYLOAD_MAX);
    codec_put_u64(number, index);
    bytes_append(&value, number, sizeof number);
    bytes_append(&value, payload.data, payload.size);
    err = env_meta_put(s->env, txn, "members", bytes_view(&value));
    bytes_clear(&value);
    return err;
}

static int put_config(struct kv_store *s, struct entry *config)
{
    return kv_put_members(s, s->open.txn, entry_pos(config).index, entry_payload(config));
}

static bool leaves_room_for_deletes(const struct kv_store *s, uint64_t used)
{
    return used + s->reserve / 4 <= s->max_size;
}

static uint64_t used_by_open(const struct kv_store *s)
{
    return env_used_pages(s->env, s->open.txn) * env_page_size(s->env);
}

static int open_begin(struct kv_store *s)
{
    int err = env_write_begin(s->env, &s->open.txn);

    if (err != 0)
        return err;
    err = env_error(s->env, mdb_cursor_open(s->open.txn, env_table(s->env, s->restoring.map), &s->open.map));
    if (err != 0) {
        env_write_abort(s->env, s->open.txn, err);
        s->open.txn = NULL;
        return err;
    }
    s->open.at = s->applied;
    s->open.sum = s->sum;
    s->open.restoring = s->restoring;
    return 0;
}

/* Forgets the open transaction, which has ended. */
static void open_end(struct kv_store *s)
{
    entry_unref(s->open.config);
    memset(&s->open, 0, sizeof s->open);
}

static int open_abort(struct kv_store *s, int err)
{
    mdb_cursor_close(s->open.map); /* NULL is fine */
    err = env_write_abort(s->env, s->open.txn, err);
    open_end(s);
    return err;
}

int kv_store_apply(struct kv_store *s, struct entry *const *entries, unsigned count, struct command_result *results,
                   uint64_t *hashes)
{
    int err = 0;

    CHECK(count > 0);
    if (s->open.txn == NULL)
        err = open_begin(s);
    if (err != 0)
        return err;
    env_work(s->env, true);
    for (unsigned i = 0; err == 0 && i < count; i++) {
        struct raft_pos pos = entry_pos(entries[i]);

        CHECK(pos.index == s->open.at.index + 1); /* each entry takes effect exactly once, in order */
        CHECK(pos.term >= s->open.at.term);
        s->open.at = pos;
        err = apply_entry(s, entries[i], pos.index, &results[i]);
        if (hashes != NULL)
            hashes[i] = s->open.sum.records + s->open.sum.config;
    }
    if (err == 0 && s->open.grows && !leaves_room_for_deletes(s, used_by_open(s)))
        err = ERR_NO_SPACE;
    err = err == 0 ? 0 : open_abort(s, err);
    env_work(s->env, false);
    return err;
}

static int commit(struct kv_store *s)
{
    struct raft_pos at = s->open.at;
    struct kv_sum sum = s->open.sum;
    struct kv_restoring restoring = s->open.restoring;
    uint64_t used = 0;
    int err = 0;

    err = kv_put_position(s, s->open.txn, at, sum.records);
    if (err == 0 && s->open.config != NULL)
        err = put_config(s, s->open.config);
    if (err == 0 && (restoring.begin != s->restoring.begin || restoring.count != s->restoring.count ||
                     restoring.map != s->restoring.map))
        err = kv_put_restoring(s, s->open.txn, &restoring);
    if (err != 0)
        return open_abort(s, err);
    used = used_by_open(s);
    mdb_cursor_close(s->open.map);
    err = env_write_commit(s->env, s->open.txn);
    open_end(s);
    if (err != 0)
        return err;
    s->applied = at;
    s->sum = sum;
    s->restoring = restoring;
    atomic_store(&s->used, used);
    kv_look_at_disk(s);
    return 0;
}

int kv_store_commit(struct kv_store *s)
{
    int err = 0;

    if (s->open.txn == NULL)
        return 0;
    env_work(s->env, true);
    err = commit(s);
    env_work(s->env, false);
    return err;
}

/* ---- looking at it ---- */

int kv_store_sync(struct kv_store *s, raft_index *settled)
{
    struct raft_pos applied = {0};
    uint64_t records = 0;
    struct env_reader *r;
    int err = env_read_begin(s->env, &r);

    if (err != 0)
        return err;
    err = read_position(s, r->txn, &applied, &records); /* before the flush: what is committed now, the flush covers */
    env_read_end(s->env, r);
    if (err == 0)
        err = env_sync(s->env);
    if (err == 0)
        *settled = applied.index;
    return err;
}

static int count_keys(struct kv_store *s, uint64_t *keys)
{
    struct kv_restoring restoring;
    struct env_reader *r;
    MDB_stat st;
    int err = env_read_begin(s->env, &r);

    if (err != 0)
        return err;
    err = kv_read_restoring(s, r->txn, &restoring);
    if (err == 0)
        err = env_error(s->env, mdb_stat(r->txn, env_table(s->env, restoring.map), &st));
    env_read_end(s->env, r);
    if (err == 0)
        *keys = st.ms_entries;
    return err;
}

int kv_store_stats(struct kv_store *s, struct kv_stats *out)
{
    uint64_t keys;
    int err = count_keys(s, &keys);

    if (err != 0)
        return err;
    *out = (struct kv_stats){.keys = keys,
                             .bytes_used = atomic_load(&s->used),
                             .bytes_file = env_disk_size(s->env),
                             .bytes_max = s->max_size,
                             .readers = env_readers_open(s->env)};
    return 0;
}

bool kv_store_has_client_data(struct kv_store *s)
{
    uint64_t keys;

    return count_keys(s, &keys) != 0 || keys > 0; /* who cannot tell must not say that there is nothing to lose */
}

/* What the disk has left, as of a moment ago: who else fills it does not tell us. */
static uint64_t disk_left(struct kv_store *s)
{
    if (atomic_load(&s->disk_free) < DISK_NEAR || clock_now_ms() - atomic_load(&s->disk_looked) > DISK_LOOK_MS)
        kv_look_at_disk(s);
    return atomic_load(&s->disk_free);
}

/* A value goes to the log and to the map. What is committed must be applied, or reads would wait for it for ever: so a disk
 * counts as full while there still is some room. */
uint64_t kv_store_room(struct kv_store *s)
{
    const uint64_t fixed = SET_PAGES * env_page_size(s->env);
    const uint64_t limit = s->max_size - s->reserve;
    const uint64_t used = atomic_load(&s->used) + fixed;
    const uint64_t in_map = used < limit ? limit - used : 0;
    const uint64_t free = disk_left(s);
    const uint64_t on_disk = free / 2 > DISK_RESERVE / 2 + fixed ? free / 2 - DISK_RESERVE / 2 - fixed : 0;

    return in_map < on_disk ? in_map : on_disk;
}

bool kv_store_is_full(struct kv_store *s, uint64_t largest, bool was_full)
{
    const uint64_t most = (s->max_size - s->reserve) / 8;
    uint64_t wanted = largest < most ? largest : most;

    if (wanted < ROOM_LEAST)
        wanted = ROOM_LEAST;
    kv_look_at_disk(s);
    return kv_store_room(s) < (was_full ? wanted + wanted / 2 : wanted);
}

/* ---- views ---- */

int kv_view_open(struct kv_store *s, struct kv_view **out)
{
    struct kv_restoring restoring = {.map = MAP};
    struct env_reader *r;
    struct raft_pos applied;
    uint64_t records;
    struct kv_view *v;
    int err = env_read_begin(s->env, &r);

    if (err != 0)
        return err;
    err = read_position(s, r->txn, &applied, &records);
    if (err == 0)
        err = kv_read_restoring(s, r->txn, &restoring);
    if (err != 0) {
        env_read_end(s->env, r);
        return err;
    }
    v = &s->views[r->id];
    *v = (struct kv_view){.store = s, .reader = r, .applied = applied.index, .map = restoring.map};
    *out = v;
    return 0;
}

void kv_view_close(struct kv_view *v)
{
    if (v != NULL)
        env_read_end(v->store->env, v->reader);
}

raft_index kv_view_applied(const struct kv_view *v)
{
    return v->applied;
}

static int split(struct kv_view *v, struct view key, const MDB_val *data, struct view *value, raft_index *index)
{
    return env_holds(v->reader, data->mv_data, data->mv_size) ? kv_record_split(key, data, value, index) : ERR_CORRUPT;
}

int kv_view_get(struct kv_view *v, struct view key, struct view *value, raft_index *index)
{
    struct env *env = v->store->env;
    MDB_val k = env_val(key);
    MDB_val data;
    int err;

    if (key.size == 0 || key.size > LMDB_KEY_MAX)
        return ERR_NOT_FOUND;
    env_work(env, true);
    err = env_error(env, mdb_get(v->reader->txn, env_table(env, v->map), &k, &data));
    if (err == 0)
        err = split(v, key, &data, value, index);
    env_work(env, false);
    return err;
}

int kv_view_seek(struct kv_view *v, struct view from, bool after)
{
    struct env *env = v->store->env;
    MDB_val key = env_val(from);
    MDB_val data;
    int err = 0;

    env_work(env, true);
    if (v->cursor == NULL)
        err = env_reader_cursor(env, v->reader, v->map, &v->cursor);
    if (err == 0) /* LMDB knows no empty key: before all keys is before the first */
        err = env_error(env, mdb_cursor_get(v->cursor, &key, &data, from.size == 0 ? MDB_FIRST : MDB_SET_RANGE));
    if (err == 0 && after && view_equal(view_of(key.mv_data, key.mv_size), from))
        err = env_error(env, mdb_cursor_get(v->cursor, &key, &data, MDB_NEXT));
    env_work(env, false);
    v->at_end = err == ERR_NOT_FOUND;
    v->waiting = err == 0;
    return v->at_end ? 0 : err;
}

int kv_view_next(struct kv_view *v, struct view *key, struct view *value, raft_index *index)
{
    struct env *env = v->store->env;
    MDB_val k, data;
    int err;

    CHECK(v->cursor != NULL); /* kv_view_seek comes first */
    if (v->at_end)
        return ERR_NOT_FOUND;
    env_work(env, true);
    err = env_error(env, mdb_cursor_get(v->cursor, &k, &data, v->waiting ? MDB_GET_CURRENT : MDB_NEXT));
    v->waiting = false;
    v->at_end = err == ERR_NOT_FOUND;
    if (err == 0) {
        *key = view_of(k.mv_data, k.mv_size);
        err = k.mv_size <= LMDB_KEY_MAX ? split(v, *key, &data, value, index) : ERR_CORRUPT;
    }
    env_work(env, false);
    return err;
}
