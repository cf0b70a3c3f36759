/* Tables: "entries" index -> the bytes of entry.h; "runs" index -> u64 term, where a term begins; "configs" index ->
 * nothing, where a configuration entry is. Records: "hard" u64 term, u64 vote; "base" u64 index, u64 term; "journal" u64
 * generation, u64 salt: what of the journal is here, and what its records have. */
#include "store/log_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/codec.h"
#include "store/log_private.h"

#define LOG_READERS 32u /* senders, the applier, a joining snapshot; more wait for nobody: ERR_NO_RESOURCES */

#define OLDEST 1u /* the format that had no journal */

static_assert(sizeof(size_t) == sizeof(raft_index), "MDB_INTEGERKEY takes a size_t");

struct log_table {
    struct env *env;
    struct log_shape shape; /* what is on the disk; changed only after a commit */
    bool has_journal;
    struct log_journal_id journal;
    uint64_t used; /* bytes, as of the last commit */
};

/* ---- opening ---- */

static raft_index index_of(const MDB_val *key)
{
    raft_index index;

    if (key->mv_size != sizeof index)
        return 0;
    memcpy(&index, key->mv_data, sizeof index);
    return index;
}

static MDB_val key_of(const raft_index *index)
{
    return env_val(view_of(index, sizeof *index));
}

static int load_pair(struct log_table *t, MDB_txn *txn, const char *name, uint64_t *a, uint64_t *b)
{
    struct view value;
    int err = env_meta_get(t->env, txn, name, &value);

    if (err == ERR_NOT_FOUND)
        return 0; /* a new log */
    if (err != 0)
        return err;
    if (value.size != 16)
        return ERR_CORRUPT;
    *a = codec_get_u64(value.data);
    *b = codec_get_u64(value.data + 8);
    return 0;
}

static int load_run(struct log_table *t, const MDB_val *key, const MDB_val *data)
{
    struct raft_pos run = {.index = index_of(key)};

    if (data->mv_size != sizeof run.term)
        return ERR_CORRUPT;
    run.term = codec_get_u64(data->mv_data);
    if (run.index <= t->shape.base.index || run.index > t->shape.last ||
        run.term <= log_shape_term(&t->shape, run.index))
        return ERR_CORRUPT;
    log_shape_add_run(&t->shape, run);
    return 0;
}

static int load_config(struct log_table *t, const MDB_val *key, const MDB_val *data)
{
    raft_index index = index_of(key);

    (void)data;
    if (index <= t->shape.base.index || index > t->shape.last)
        return ERR_CORRUPT;
    log_shape_add_config(&t->shape, index);
    return 0;
}

static int load_table(struct log_table *t, MDB_txn *txn, unsigned table,
                      int (*load)(struct log_table *, const MDB_val *, const MDB_val *))
{
    MDB_cursor *c;
    MDB_val key, data;
    int err = env_error(t->env, mdb_cursor_open(txn, env_table(t->env, table), &c));

    if (err != 0)
        return err;
    for (;;) {
        err = env_error(t->env, mdb_cursor_get(c, &key, &data, MDB_NEXT));
        if (err == 0)
            err = load(t, &key, &data);
        if (err != 0)
            break;
    }
    mdb_cursor_close(c);
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* The entries must be base + 1 .. last without a gap: their number is as good as looking at each. */
static int load_ends(struct log_table *t, MDB_txn *txn, MDB_cursor *c)
{
    MDB_val key, data;
    MDB_stat st;
    raft_index first;
    int err = env_error(t->env, mdb_stat(txn, env_table(t->env, ENTRIES), &st));

    t->shape.last = t->shape.base.index;
    if (err != 0 || st.ms_entries == 0)
        return err;
    err = env_error(t->env, mdb_cursor_get(c, &key, &data, MDB_FIRST));
    if (err != 0)
        return err;
    first = index_of(&key);
    err = env_error(t->env, mdb_cursor_get(c, &key, &data, MDB_LAST));
    if (err != 0)
        return err;
    t->shape.last = index_of(&key);
    return first == t->shape.base.index + 1 && t->shape.last == t->shape.base.index + st.ms_entries ? 0 : ERR_CORRUPT;
}

static int load_journal(struct log_table *t, MDB_txn *txn)
{
    struct view value;
    int err = env_meta_get(t->env, txn, "journal", &value);

    if (err == ERR_NOT_FOUND)
        return 0; /* a new log, or one from before there was a journal */
    t->has_journal = true;
    if (err == 0)
        err = load_pair(t, txn, "journal", &t->journal.settled, &t->journal.salt);
    return err == 0 && t->journal.salt == 0 ? ERR_CORRUPT : err;
}

static int load(struct log_table *t)
{
    struct env_reader *r;
    MDB_cursor *c;
    int err = env_read_begin(t->env, &r);

    if (err != 0)
        return err;
    err = env_reader_cursor(t->env, r, ENTRIES, &c);
    if (err == 0)
        err = load_pair(t, r->txn, "hard", &t->shape.hard.term, &t->shape.hard.vote);
    if (err == 0)
        err = load_pair(t, r->txn, "base", &t->shape.base.index, &t->shape.base.term);
    if (err == 0)
        err = load_journal(t, r->txn);
    if (err == 0)
        err = load_ends(t, r->txn, c);
    if (err == 0)
        err = load_table(t, r->txn, RUNS, load_run);
    if (err == 0)
        err = load_table(t, r->txn, CONFIGS, load_config);
    if (err == 0)
        t->used = env_used_pages(t->env, r->txn) * env_page_size(t->env);
    env_read_end(t->env, r);
    return err;
}

const struct env_options log_env_options = {
    .kind = "raftdlog",
    .format = LOG_STORE_FORMAT,
    .oldest = OLDEST,
    .flags = 0, /* every commit is synced: a vote or an entry that we vouched for stays */
    .readers = LOG_READERS,
    .advice = "this member's log is damaged: remove the member from the cluster, and let it join anew with another "
              "DATADIR",
    .table_count = 3,
    .tables = {[ENTRIES] = {"entries", MDB_INTEGERKEY},
               [RUNS] = {"runs", MDB_INTEGERKEY},
               [CONFIGS] = {"configs", MDB_INTEGERKEY}}};

int log_table_open(const char *path, uint64_t max_size, struct log_table **out, struct why *why)
{
    struct env_options options = log_env_options;
    struct log_table *t = xcalloc(1, sizeof *t);
    int err = 0;

    options.map_size = max_size;
    err = env_open(path, &options, &t->env, why);
    if (err != 0)
        goto out;
    env_work(t->env, true);
    err = load(t);
    env_work(t->env, false);
    if (err != 0) {
        why_set(why, err, "%s does not add up: %s", path, err_text(err));
        goto out;
    }
    *out = t;
    t = NULL;
out:
    log_table_close(t);
    return err;
}

void log_table_close(struct log_table *t)
{
    if (t == NULL)
        return;
    env_close(t->env);
    log_shape_clear(&t->shape);
    free(t);
}

const struct log_shape *log_table_shape(const struct log_table *t)
{
    return &t->shape;
}

bool log_table_journal(const struct log_table *t, struct log_journal_id *out)
{
    *out = t->journal;
    return t->has_journal;
}

/* ---- writing ---- */

static int put_pair(struct log_table *t, MDB_txn *txn, const char *name, uint64_t a, uint64_t b)
{
    uint8_t value[16];

    codec_put_u64(value, a);
    codec_put_u64(value + 8, b);
    return env_meta_put(t->env, txn, name, view_of(value, sizeof value));
}

/* Deletes what lies in from .. to, and expects to find it only at the end that `op` looks at. */
static int delete_range(struct log_table *t, MDB_txn *txn, unsigned table, raft_index from, raft_index to,
                        MDB_cursor_op op)
{
    MDB_cursor *c;
    MDB_val key, data;
    int rc = mdb_cursor_open(txn, env_table(t->env, table), &c);

    if (rc != 0)
        return env_error(t->env, rc);
    for (;;) {
        rc = mdb_cursor_get(c, &key, &data, op);
        if (rc != 0 || index_of(&key) < from || index_of(&key) > to)
            break;
        rc = mdb_cursor_del(c, 0);
        if (rc != 0)
            break;
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : env_error(t->env, rc);
}

static int delete_everywhere(struct log_table *t, MDB_txn *txn, raft_index from, raft_index to, MDB_cursor_op op)
{
    int err = delete_range(t, txn, ENTRIES, from, to, op);

    if (err == 0)
        err = delete_range(t, txn, RUNS, from, to, op);
    if (err == 0)
        err = delete_range(t, txn, CONFIGS, from, to, op);
    return err;
}

static int put_index(struct log_table *t, MDB_txn *txn, unsigned table, raft_index index, MDB_val *data)
{
    MDB_val key = key_of(&index);

    return env_error(t->env, mdb_put(txn, env_table(t->env, table), &key, data, MDB_APPEND));
}

static int put_landmarks(struct log_table *t, MDB_txn *txn, const struct entry *e, raft_term before)
{
    struct raft_pos pos = entry_pos(e);
    uint8_t term[8];
    MDB_val data = {.mv_size = sizeof term, .mv_data = term};
    MDB_val nothing = {.mv_size = 0, .mv_data = term};
    int err = 0;

    codec_put_u64(term, pos.term);
    if (pos.term != before)
        err = put_index(t, txn, RUNS, pos.index, &data);
    if (err == 0 && entry_type(e) == RAFT_CONFIG)
        err = put_index(t, txn, CONFIGS, pos.index, &nothing);
    return err;
}

static int put_entries(struct log_table *t, MDB_txn *txn, const struct log_write *w)
{
    raft_term before = w->begin_anew ? w->base.term : log_shape_term(&t->shape, w->first - 1);
    MDB_cursor *c;
    int err = env_error(t->env, mdb_cursor_open(txn, env_table(t->env, ENTRIES), &c));

    if (err != 0)
        return err;
    for (raft_index i = w->first; i <= w->last; i++) {
        struct entry *e = w->entries[i - w->first];
        struct raft_pos pos = entry_pos(e);
        MDB_val key = key_of(&pos.index);
        MDB_val data = {.mv_size = e->size, .mv_data = e->bytes};

        CHECK(pos.index == i);
        CHECK(pos.term >= before);
        err = env_error(t->env, mdb_cursor_put(c, &key, &data, MDB_APPEND));
        if (err == 0)
            err = put_landmarks(t, txn, e, before);
        if (err != 0)
            break;
        before = pos.term;
    }
    mdb_cursor_close(c);
    return err;
}

static bool same_hard_state(struct raft_hard_state a, struct raft_hard_state b)
{
    return a.term == b.term && a.vote == b.vote;
}

static int empty_all(struct log_table *t, MDB_txn *txn)
{
    static const unsigned tables[] = {ENTRIES, RUNS, CONFIGS};
    int err = 0;

    for (unsigned i = 0; i < sizeof tables / sizeof tables[0] && err == 0; i++)
        err = env_error(t->env, mdb_drop(txn, env_table(t->env, tables[i]), 0));
    return err;
}

static int put_anew(struct log_table *t, MDB_txn *txn, const struct log_write *w)
{
    int err = empty_all(t, txn);

    if (err == 0)
        err = put_pair(t, txn, "base", w->base.index, w->base.term);
    if (err == 0 && w->first <= w->last)
        err = put_entries(t, txn, w);
    return err;
}

static int put_all(struct log_table *t, MDB_txn *txn, const struct log_write *w, struct raft_pos base)
{
    const struct log_shape *s = &t->shape;
    int err = 0;

    if (!same_hard_state(w->hard, s->hard))
        err = put_pair(t, txn, "hard", w->hard.term, w->hard.vote);
    if (err == 0 && w->begin_anew)
        return put_anew(t, txn, w);
    if (err == 0 && w->first <= w->last && w->first <= s->last)
        err = delete_everywhere(t, txn, w->first, s->last, MDB_LAST);
    if (err == 0 && w->first <= w->last)
        err = put_entries(t, txn, w);
    if (err == 0 && base.index != s->base.index) {
        err = delete_everywhere(t, txn, s->base.index + 1, base.index, MDB_FIRST);
        if (err == 0)
            err = put_pair(t, txn, "base", base.index, base.term);
    }
    return err;
}

int log_table_write(struct log_table *t, const struct log_write *w, struct raft_pos base, uint64_t settled)
{
    MDB_txn *txn;
    uint64_t used = 0;
    int err = env_write_begin(t->env, &txn);

    if (err != 0)
        return err;
    env_work(t->env, true);
    err = put_all(t, txn, w, base);
    if (err == 0)
        err = put_pair(t, txn, "journal", settled, t->journal.salt);
    env_work(t->env, false);
    if (err != 0)
        return env_write_abort(t->env, txn, err);
    used = env_used_pages(t->env, txn) * env_page_size(t->env);
    err = env_write_commit(t->env, txn);
    if (err != 0)
        return err;
    log_shape_write(&t->shape, w, base);
    t->journal.settled = settled;
    t->used = used;
    return 0;
}

int log_table_adopt_journal(struct log_table *t)
{
    uint64_t salt = clock_random() | 1; /* not 0 */
    MDB_txn *txn;
    int err = env_write_begin(t->env, &txn);

    if (err != 0)
        return err;
    err = put_pair(t, txn, "journal", 0, salt);
    if (err == 0)
        err = env_put_format(t->env, txn);
    if (err != 0)
        return env_write_abort(t->env, txn, err);
    err = env_write_commit(t->env, txn);
    t->has_journal = err == 0;
    if (err == 0)
        t->journal = (struct log_journal_id){.settled = 0, .salt = salt};
    return err;
}

/* ---- reading ---- */

static int read_entry(raft_index index, const MDB_val *key, const MDB_val *data, struct entry **out)
{
    struct view in = view_of(data->mv_data, data->mv_size);
    struct entry *e;

    if (index_of(key) != index || entry_decode(&in, &e) != 0)
        return ERR_CORRUPT;
    if (in.size != 0 || entry_pos(e).index != index) {
        entry_unref(e);
        return ERR_CORRUPT;
    }
    *out = e;
    return 0;
}

static int read_entries(struct log_table *t, struct env_reader *r, MDB_cursor *c, raft_index first, raft_index last,
                        uint64_t max_bytes, unsigned max_count, struct entry **out, unsigned *count)
{
    MDB_val key = key_of(&first);
    MDB_val data;
    unsigned n = 0;
    uint64_t bytes = 0;
    int err = env_error(t->env, mdb_cursor_get(c, &key, &data, MDB_SET_KEY));

    while (err == 0) {
        bytes += data.mv_size;
        if (n > 0 && bytes > max_bytes)
            break;
        err = env_holds(r, data.mv_data, data.mv_size) ? read_entry(first + n, &key, &data, &out[n]) : ERR_CORRUPT;
        if (err != 0)
            break;
        n++;
        if (n == max_count || first + n > last)
            break;
        err = env_error(t->env, mdb_cursor_get(c, &key, &data, MDB_NEXT));
    }
    if (err == ERR_NOT_FOUND && n > 0)
        err = 0; /* the end of the log */
    if (err != 0) {
        while (n > 0)
            entry_unref(out[--n]);
        return err;
    }
    *count = n;
    return 0;
}

int log_table_read(struct log_table *t, raft_index first, raft_index last, uint64_t max_bytes, unsigned max_count,
                   struct entry **out, unsigned *count)
{
    struct env_reader *r;
    MDB_cursor *c;
    int err;

    CHECK(first <= last);
    CHECK(max_count > 0);
    err = env_read_begin(t->env, &r);
    if (err != 0)
        return err;
    env_work(t->env, true);
    err = env_reader_cursor(t->env, r, ENTRIES, &c);
    if (err == 0)
        err = read_entries(t, r, c, first, last, max_bytes, max_count, out, count);
    env_work(t->env, false);
    env_read_end(t->env, r);
    return err;
}

uint64_t log_table_disk_size(struct log_table *t)
{
    return env_disk_size(t->env);
}

uint64_t log_table_used(const struct log_table *t)
{
    return t->used;
}
