/* kv_restore.c -- the map's replacement by commands of the log (wire/command.h).
 *
 * There are two tables. One is the map; the parts of a restore are gathered in the other one, and its end makes that one the map
 * and empties the first, in one transaction and without a record being copied. Which table is which, and how much is gathered,
 * is the record "restoring": u64 table, u64 index of the begin (0: nothing is gathered), u64 count of the gathered records, u64
 * sum of their hashes. All of it is state that each member has alike at the same index; a dump carries it.
 *
 * A restore of which a part was lost with a leader can never end: each part says how many records came before it. */
#include "base/check.h"
#include "base/codec.h"
#include "store/kv_private.h"

#define RECORD_SIZE 32u

int kv_read_restoring(struct kv_store *s, MDB_txn *txn, struct kv_restoring *out)
{
    struct view value;
    int err = env_meta_get(s->env, txn, "restoring", &value);

    if (err == ERR_NOT_FOUND) {
        *out = (struct kv_restoring){.map = MAP}; /* there never was one */
        return 0;
    }
    if (err == 0 && (value.size != RECORD_SIZE || codec_get_u64(value.data) > OTHER_MAP))
        err = ERR_CORRUPT;
    if (err == 0)
        *out = (struct kv_restoring){.map = (unsigned)codec_get_u64(value.data),
                                     .begin = codec_get_u64(value.data + 8),
                                     .count = codec_get_u64(value.data + 16),
                                     .sum = codec_get_u64(value.data + 24)};
    return err;
}

int kv_put_restoring(struct kv_store *s, MDB_txn *txn, const struct kv_restoring *r)
{
    uint8_t value[RECORD_SIZE];

    codec_put_u64(value, r->map);
    codec_put_u64(value + 8, r->begin);
    codec_put_u64(value + 16, r->count);
    codec_put_u64(value + 24, r->sum);
    return env_meta_put(s->env, txn, "restoring", view_of(value, sizeof value));
}

static unsigned other_table(const struct kv_restoring *r)
{
    return r->map == MAP ? OTHER_MAP : MAP;
}

/* Forgets what was gathered, if anything was. */
static int drop_gathered(struct kv_store *s)
{
    struct kv_restoring *r = &s->open.restoring;

    *r = (struct kv_restoring){.map = r->map};
    return env_error(s->env, mdb_drop(s->open.txn, env_table(s->env, other_table(r)), 0));
}

static int begin(struct kv_store *s, raft_index index, struct command_result *result)
{
    int err = drop_gathered(s);

    s->open.restoring.begin = index;
    *result = (struct command_result){.outcome = COMMAND_STAGED, .index = index};
    return err;
}

static int abandon(struct kv_store *s, struct command_result *result)
{
    *result = (struct command_result){.outcome = COMMAND_ABANDONED};
    return drop_gathered(s);
}

/* Behind all that is gathered. MDB_KEYEXIST: its key is not greater than the one before it. */
static int gather_one(struct kv_store *s, MDB_cursor *c, struct view key, struct view value, raft_index index)
{
    struct kv_restoring *r = &s->open.restoring;
    MDB_val k = env_val(key);
    MDB_val data = {.mv_size = RECORD_HEAD + value.size, .mv_data = NULL};
    uint64_t hash = content_record_hash(key, index, value);
    int rc = mdb_cursor_put(c, &k, &data, MDB_APPEND | MDB_RESERVE);

    if (rc != 0)
        return rc;
    kv_record_fill(data.mv_data, index, hash, value);
    r->count++;
    r->sum += hash;
    return 0;
}

static int gather(struct kv_store *s, const struct command *c, raft_index index, struct command_result *result)
{
    struct view rest = c->value, key, value;
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(s->open.txn, env_table(s->env, other_table(&s->open.restoring)), &cursor);

    if (rc != 0)
        return env_error(s->env, rc);
    s->open.grows = true;
    *result = (struct command_result){.outcome = COMMAND_STAGED, .index = s->open.restoring.begin};
    while (rc == 0 && rest.size > 0) {
        if (command_part_take(&rest, &key, &value) != 0) {
            mdb_cursor_close(cursor);
            return ERR_CORRUPT; /* as any command that does not decode */
        }
        rc = gather_one(s, cursor, key, value, index);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_KEYEXIST ? abandon(s, result) : env_error(s->env, rc);
}

/* What was gathered is the map from now on. */
static int take_place(struct kv_store *s, raft_index index, struct command_result *result)
{
    struct kv_restoring *r = &s->open.restoring;
    int rc = 0;

    mdb_cursor_close(s->open.map);
    s->open.map = NULL;
    rc = mdb_drop(s->open.txn, env_table(s->env, r->map), 0);
    if (rc != 0)
        return env_error(s->env, rc);
    s->open.sum.records = r->sum;
    *r = (struct kv_restoring){.map = other_table(r)};
    *result = (struct command_result){.outcome = COMMAND_RESTORED, .index = index};
    return env_error(s->env, mdb_cursor_open(s->open.txn, env_table(s->env, r->map), &s->open.map));
}

int kv_apply_restore(struct kv_store *s, const struct command *c, raft_index index, struct command_result *result)
{
    const struct kv_restoring *r = &s->open.restoring;

    if (c->op == COMMAND_RESTORE_BEGIN)
        return begin(s, index, result);
    if (r->begin == 0 || c->expected != r->begin) {
        *result = (struct command_result){.outcome = COMMAND_FAILED_CONDITION}; /* of one that was abandoned */
        return 0;
    }
    if (c->op == COMMAND_RESTORE_ABANDON || c->count != r->count)
        return abandon(s, result);
    return c->op == COMMAND_RESTORE_PART ? gather(s, c, index, result) : take_place(s, index, result);
}
