/* Tables: "entries" index -> the bytes of entry.h; "runs" index -> u64 term, where a term begins; "configs" index ->
 * nothing, where a configuration entry is. Records: "hard" u64 term, u64 vote; "base" u64 index, u64 term.
 *
 * Deleting a prefix moves the base: the run that the base lies in is gone from "runs", but the base remembers its term, and
 * entries right after the base that have no run of their own continue it. */
#include "store/log_store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "store/env.h"

enum { ENTRIES, RUNS, CONFIGS };

#define LOG_READERS 32u        /* senders, the applier, a joining snapshot; more wait for nobody: ERR_NO_RESOURCES */
#define SPARE       (1u << 20) /* a log that has outgrown its limit can still lose its prefix */
#define PREFIX_AT_MOST                                                                                                 \
    1000u /* entries deleted by one transaction, and twice what it writes, so that none takes long and yet it suffices */
#define PREFIX_AT_LEAST                                                                                                \
    32u /* fewer are left lying: deleting them one by one would dirty a second path of pages each time */

static_assert(sizeof(size_t) == sizeof(raft_index), "MDB_INTEGERKEY takes a size_t");

struct runs {
    unsigned count, room;
    struct raft_pos *list;
};

struct indexes {
    unsigned count, room;
    raft_index *list;
};

struct log_store {
    struct env *env;
    /* What is on the disk; changed only after a commit. */
    struct raft_hard_state hard;
    struct raft_pos base;
    raft_index last;
    struct runs runs;
    struct indexes configs;
    uint64_t used;     /* bytes, as of the last commit */
    struct runs shown; /* what log_store_state gave away */
};

/* ---- what is in memory ---- */

static void runs_add(struct runs *r, struct raft_pos first)
{
    if (r->count == r->room) {
        r->room = r->room == 0 ? 16 : r->room * 2;
        r->list = xrealloc(r->list, r->room * sizeof *r->list);
    }
    r->list[r->count++] = first;
}

static void indexes_add(struct indexes *x, raft_index index)
{
    if (x->count == x->room) {
        x->room = x->room == 0 ? 16 : x->room * 2;
        x->list = xrealloc(x->list, x->room * sizeof *x->list);
    }
    x->list[x->count++] = index;
}

static raft_term term_at(const struct log_store *s, raft_index index)
{
    CHECK(index >= s->base.index);
    for (unsigned i = s->runs.count; i-- > 0;) {
        if (s->runs.list[i].index <= index)
            return s->runs.list[i].term;
    }
    return s->base.term;
}

static void forget_suffix(struct log_store *s, raft_index first)
{
    while (s->runs.count > 0 && s->runs.list[s->runs.count - 1].index >= first)
        s->runs.count--;
    while (s->configs.count > 0 && s->configs.list[s->configs.count - 1] >= first)
        s->configs.count--;
    s->last = first - 1;
}

static void remember_entry(struct log_store *s, const struct entry *e)
{
    struct raft_pos pos = entry_pos(e);

    if (pos.term != term_at(s, pos.index - 1))
        runs_add(&s->runs, pos);
    if (entry_type(e) == RAFT_CONFIG)
        indexes_add(&s->configs, pos.index);
    s->last = pos.index;
}

static void forget_prefix(struct log_store *s, struct raft_pos base)
{
    unsigned runs = 0, configs = 0;

    while (runs < s->runs.count && s->runs.list[runs].index <= base.index)
        runs++;
    while (configs < s->configs.count && s->configs.list[configs] <= base.index)
        configs++;
    s->runs.count -= runs;
    s->configs.count -= configs;
    if (runs > 0)
        memmove(s->runs.list, s->runs.list + runs, s->runs.count * sizeof *s->runs.list);
    if (configs > 0)
        memmove(s->configs.list, s->configs.list + configs, s->configs.count * sizeof *s->configs.list);
    s->base = base;
}

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

static int load_pair(struct log_store *s, MDB_txn *txn, const char *name, uint64_t *a, uint64_t *b)
{
    struct view value;
    int err = env_meta_get(s->env, txn, name, &value);

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

static int load_run(struct log_store *s, const MDB_val *key, const MDB_val *data)
{
    struct raft_pos run = {.index = index_of(key)};

    if (data->mv_size != sizeof run.term)
        return ERR_CORRUPT;
    run.term = codec_get_u64(data->mv_data);
    if (run.index <= s->base.index || run.index > s->last || run.term <= term_at(s, run.index))
        return ERR_CORRUPT;
    runs_add(&s->runs, run);
    return 0;
}

static int load_config(struct log_store *s, const MDB_val *key, const MDB_val *data)
{
    raft_index index = index_of(key);

    (void)data;
    if (index <= s->base.index || index > s->last)
        return ERR_CORRUPT;
    indexes_add(&s->configs, index);
    return 0;
}

static int load_table(struct log_store *s, MDB_txn *txn, unsigned table,
                      int (*load)(struct log_store *, const MDB_val *, const MDB_val *))
{
    MDB_cursor *c;
    MDB_val key, data;
    int err = env_error(s->env, mdb_cursor_open(txn, env_table(s->env, table), &c));

    if (err != 0)
        return err;
    for (;;) {
        err = env_error(s->env, mdb_cursor_get(c, &key, &data, MDB_NEXT));
        if (err == 0)
            err = load(s, &key, &data);
        if (err != 0)
            break;
    }
    mdb_cursor_close(c);
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* The entries must be base + 1 .. last without a gap: their number is as good as looking at each. */
static int load_ends(struct log_store *s, MDB_txn *txn, MDB_cursor *c)
{
    MDB_val key, data;
    MDB_stat st;
    raft_index first;
    int err = env_error(s->env, mdb_stat(txn, env_table(s->env, ENTRIES), &st));

    s->last = s->base.index;
    if (err != 0 || st.ms_entries == 0)
        return err;
    err = env_error(s->env, mdb_cursor_get(c, &key, &data, MDB_FIRST));
    if (err != 0)
        return err;
    first = index_of(&key);
    err = env_error(s->env, mdb_cursor_get(c, &key, &data, MDB_LAST));
    if (err != 0)
        return err;
    s->last = index_of(&key);
    return first == s->base.index + 1 && s->last == s->base.index + st.ms_entries ? 0 : ERR_CORRUPT;
}

static int load(struct log_store *s)
{
    struct env_reader *r;
    MDB_cursor *c;
    int err = env_read_begin(s->env, &r);

    if (err != 0)
        return err;
    err = env_reader_cursor(s->env, r, &c);
    if (err == 0)
        err = load_pair(s, r->txn, "hard", &s->hard.term, &s->hard.vote);
    if (err == 0)
        err = load_pair(s, r->txn, "base", &s->base.index, &s->base.term);
    if (err == 0)
        err = load_ends(s, r->txn, c);
    if (err == 0)
        err = load_table(s, r->txn, RUNS, load_run);
    if (err == 0)
        err = load_table(s, r->txn, CONFIGS, load_config);
    if (err == 0)
        s->used = env_used_pages(s->env, r->txn) * env_page_size(s->env);
    env_read_end(s->env, r);
    return err;
}

int log_store_open(const char *path, uint64_t max_size, struct log_store **out, struct why *why)
{
    const struct env_options options = {
        .kind = "raftdlog",
        .format = LOG_STORE_FORMAT,
        .map_size = max_size,
        .flags = 0, /* every commit is synced: a vote or an entry that we vouched for stays */
        .readers = LOG_READERS,
        .table_count = 3,
        .tables = {[ENTRIES] = {"entries", MDB_INTEGERKEY},
                   [RUNS] = {"runs", MDB_INTEGERKEY},
                   [CONFIGS] = {"configs", MDB_INTEGERKEY}}};
    struct log_store *s = xcalloc(1, sizeof *s);
    int err = env_open(path, &options, &s->env, why);

    if (err != 0)
        goto out;
    err = load(s);
    if (err != 0) {
        why_set(why, err, "%s does not add up: %s", path, err_text(err));
        goto out;
    }
    *out = s;
    s = NULL;
out:
    log_store_close(s);
    return err;
}

void log_store_close(struct log_store *s)
{
    if (s == NULL)
        return;
    env_close(s->env);
    free(s->runs.list);
    free(s->configs.list);
    free(s->shown.list);
    free(s);
}

/* The first entry after the base begins a run for whoever reads, though it may continue that of the base. */
static void show_runs(struct log_store *s)
{
    s->shown.count = 0;
    if (s->last > s->base.index && (s->runs.count == 0 || s->runs.list[0].index > s->base.index + 1))
        runs_add(&s->shown, (struct raft_pos){.index = s->base.index + 1, .term = s->base.term});
    for (unsigned i = 0; i < s->runs.count; i++)
        runs_add(&s->shown, s->runs.list[i]);
}

int log_store_state(struct log_store *s, struct log_state *out)
{
    show_runs(s);
    *out = (struct log_state){.hard = s->hard,
                              .base = s->base,
                              .last = s->last,
                              .run_count = s->shown.count,
                              .runs = s->shown.list,
                              .config_count = s->configs.count,
                              .configs = s->configs.list};
    return 0;
}

/* ---- writing ---- */

static int put_pair(struct log_store *s, MDB_txn *txn, const char *name, uint64_t a, uint64_t b)
{
    uint8_t value[16];

    codec_put_u64(value, a);
    codec_put_u64(value + 8, b);
    return env_meta_put(s->env, txn, name, view_of(value, sizeof value));
}

/* Deletes what lies in from .. to, and expects to find it only at the end that `op` looks at. */
static int delete_range(struct log_store *s, MDB_txn *txn, unsigned table, raft_index from, raft_index to,
                        MDB_cursor_op op)
{
    MDB_cursor *c;
    MDB_val key, data;
    int rc = mdb_cursor_open(txn, env_table(s->env, table), &c);

    if (rc != 0)
        return env_error(s->env, rc);
    for (;;) {
        rc = mdb_cursor_get(c, &key, &data, op);
        if (rc != 0 || index_of(&key) < from || index_of(&key) > to)
            break;
        rc = mdb_cursor_del(c, 0);
        if (rc != 0)
            break;
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : env_error(s->env, rc);
}

static int delete_everywhere(struct log_store *s, MDB_txn *txn, raft_index from, raft_index to, MDB_cursor_op op)
{
    int err = delete_range(s, txn, ENTRIES, from, to, op);

    if (err == 0)
        err = delete_range(s, txn, RUNS, from, to, op);
    if (err == 0)
        err = delete_range(s, txn, CONFIGS, from, to, op);
    return err;
}

static int put_index(struct log_store *s, MDB_txn *txn, unsigned table, raft_index index, MDB_val *data)
{
    MDB_val key = key_of(&index);

    return env_error(s->env, mdb_put(txn, env_table(s->env, table), &key, data, MDB_APPEND));
}

static int put_landmarks(struct log_store *s, MDB_txn *txn, const struct entry *e, raft_term before)
{
    struct raft_pos pos = entry_pos(e);
    uint8_t term[8];
    MDB_val data = {.mv_size = sizeof term, .mv_data = term};
    MDB_val nothing = {.mv_size = 0, .mv_data = term};
    int err = 0;

    codec_put_u64(term, pos.term);
    if (pos.term != before)
        err = put_index(s, txn, RUNS, pos.index, &data);
    if (err == 0 && entry_type(e) == RAFT_CONFIG)
        err = put_index(s, txn, CONFIGS, pos.index, &nothing);
    return err;
}

static int put_entries(struct log_store *s, MDB_txn *txn, const struct log_write *w)
{
    raft_term before = w->begin_anew ? w->base.term : term_at(s, w->first - 1);
    MDB_cursor *c;
    int err = env_error(s->env, mdb_cursor_open(txn, env_table(s->env, ENTRIES), &c));

    if (err != 0)
        return err;
    for (raft_index i = w->first; i <= w->last; i++) {
        struct entry *e = w->entries[i - w->first];
        struct raft_pos pos = entry_pos(e);
        MDB_val key = key_of(&pos.index);
        MDB_val data = {.mv_size = e->size, .mv_data = e->bytes};

        CHECK(pos.index == i);
        CHECK(pos.term >= before);
        err = env_error(s->env, mdb_cursor_put(c, &key, &data, MDB_APPEND));
        if (err == 0)
            err = put_landmarks(s, txn, e, before);
        if (err != 0)
            break;
        before = pos.term;
    }
    mdb_cursor_close(c);
    return err;
}

/* The base that this write moves to: the present one, or as far as keep_from permits and one transaction should go. Only
 * entries that were on the disk before go: so the term of the new base is known, and nothing is written to be deleted. */
static struct raft_pos next_base(const struct log_store *s, const struct log_write *w)
{
    raft_index kept = w->first <= w->last && w->first <= s->last ? w->first - 1 : s->last;
    raft_index index = w->keep_from > 0 ? w->keep_from - 1 : 0;
    uint64_t most = PREFIX_AT_MOST + (w->first <= w->last ? 2 * (w->last - w->first + 1) : 0);

    if (w->begin_anew)
        return w->base;
    if (index > kept)
        index = kept;
    if (index < s->base.index + PREFIX_AT_LEAST)
        return s->base;
    if (index > s->base.index + most)
        index = s->base.index + most;
    return (struct raft_pos){.index = index, .term = term_at(s, index)};
}

static bool same_hard_state(struct raft_hard_state a, struct raft_hard_state b)
{
    return a.term == b.term && a.vote == b.vote;
}

static int empty_all(struct log_store *s, MDB_txn *txn)
{
    static const unsigned tables[] = {ENTRIES, RUNS, CONFIGS};
    int err = 0;

    for (unsigned i = 0; i < sizeof tables / sizeof tables[0] && err == 0; i++)
        err = env_error(s->env, mdb_drop(txn, env_table(s->env, tables[i]), 0));
    return err;
}

static int put_anew(struct log_store *s, MDB_txn *txn, const struct log_write *w)
{
    int err = empty_all(s, txn);

    if (err == 0)
        err = put_pair(s, txn, "base", w->base.index, w->base.term);
    if (err == 0 && w->first <= w->last)
        err = put_entries(s, txn, w);
    return err;
}

static int put_all(struct log_store *s, MDB_txn *txn, const struct log_write *w, struct raft_pos base)
{
    int err = 0;

    if (!same_hard_state(w->hard, s->hard))
        err = put_pair(s, txn, "hard", w->hard.term, w->hard.vote);
    if (err == 0 && w->begin_anew)
        return put_anew(s, txn, w);
    if (err == 0 && w->first <= w->last && w->first <= s->last)
        err = delete_everywhere(s, txn, w->first, s->last, MDB_LAST);
    if (err == 0 && w->first <= w->last)
        err = put_entries(s, txn, w);
    if (err == 0 && base.index != s->base.index) {
        err = delete_everywhere(s, txn, s->base.index + 1, base.index, MDB_FIRST);
        if (err == 0)
            err = put_pair(s, txn, "base", base.index, base.term);
    }
    return err;
}

static void remember(struct log_store *s, const struct log_write *w, struct raft_pos base)
{
    s->hard = w->hard;
    if (w->begin_anew) {
        s->runs.count = 0;
        s->configs.count = 0;
        s->base = base;
        s->last = base.index;
    }
    if (w->first <= w->last) {
        forget_suffix(s, w->first);
        for (raft_index i = w->first; i <= w->last; i++)
            remember_entry(s, w->entries[i - w->first]);
    }
    forget_prefix(s, base);
}

int log_store_write(struct log_store *s, const struct log_write *w)
{
    struct raft_pos base = next_base(s, w);
    bool has_entries = w->first <= w->last;
    MDB_txn *txn;
    uint64_t used = 0;
    int err;

    if (has_entries) {
        CHECK(w->first > base.index);
        CHECK(w->first <= (w->begin_anew ? base.index : s->last) + 1);
    }
    CHECK(w->hard.term >= s->hard.term); /* a term never goes back [paper 5.1] */
    if (!w->begin_anew && !has_entries && same_hard_state(w->hard, s->hard) && base.index == s->base.index)
        return 0;
    err = env_write_begin(s->env, &txn);
    if (err != 0)
        return err;
    err = put_all(s, txn, w, base);
    if (err != 0)
        return env_write_abort(s->env, txn, err);
    used = env_used_pages(s->env, txn) * env_page_size(s->env);
    err = env_write_commit(s->env, txn);
    if (err != 0)
        return err;
    remember(s, w, base);
    s->used = used;
    return 0;
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

static int read_entries(struct log_store *s, MDB_cursor *c, raft_index first, raft_index last, uint64_t max_bytes,
                        unsigned max_count, struct entry **out, unsigned *count)
{
    MDB_val key = key_of(&first);
    MDB_val data;
    unsigned n = 0;
    uint64_t bytes = 0;
    int err = env_error(s->env, mdb_cursor_get(c, &key, &data, MDB_SET_KEY));

    while (err == 0) {
        bytes += data.mv_size;
        if (n > 0 && bytes > max_bytes)
            break;
        err = read_entry(first + n, &key, &data, &out[n]);
        if (err != 0)
            break;
        n++;
        if (n == max_count || first + n > last)
            break;
        err = env_error(s->env, mdb_cursor_get(c, &key, &data, MDB_NEXT));
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

int log_store_read(struct log_store *s, raft_index first, raft_index last, uint64_t max_bytes, unsigned max_count,
                   struct entry **out, unsigned *count)
{
    struct env_reader *r;
    MDB_cursor *c;
    int err;

    CHECK(first <= last);
    CHECK(max_count > 0);
    err = env_read_begin(s->env, &r);
    if (err != 0)
        return err;
    err = env_reader_cursor(s->env, r, &c);
    if (err == 0)
        err = read_entries(s, c, first, last, max_bytes, max_count, out, count);
    env_read_end(s->env, r);
    return err;
}

uint64_t log_store_disk_size(struct log_store *s)
{
    return env_disk_size(s->env);
}

void log_store_used(struct log_store *s, uint64_t *bytes, uint64_t *entries)
{
    *bytes = s->used;
    *entries = s->last - s->base.index;
}
