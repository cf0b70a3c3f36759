#include "store/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "store/kv_private.h"
#include "store/log_journal.h"
#include "store/log_private.h"
#include "store/log_shape.h"
#include "wire/command.h"

#define READERS    2u
#define FAULTS_MAX 100u /* told of each part: what is spoiled throughout needs no more */

void verify_fault(struct verify *v, const char *format, ...)
{
    char line[400];
    va_list args;

    if (v->faults++ > FAULTS_MAX)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    v->report(v->context, v->faults > FAULTS_MAX ? "there are more faults, which are not listed" : line);
}

static int open_env(const char *path, const struct env_options *options, struct env **env, struct env_reader **reader,
                    struct verify *v)
{
    struct env_options o = *options;
    struct why why = {""};
    int err = 0;

    o.read_only = true;
    o.readers = READERS;
    err = env_open(path, &o, env, &why);
    if (err != 0) {
        verify_fault(v, "%s", why.text);
        return err;
    }
    err = env_read_begin(*env, reader);
    if (err != 0) {
        verify_fault(v, "it cannot be read: %s", err_text(err));
        env_close(*env);
    }
    return err;
}

/* ---- the map ---- */

struct map_walk {
    struct verify *v;
    const struct verify_map *map;
    uint8_t last[COMMAND_KEY_MAX];
    size_t last_size;
    uint64_t count, sum;
};

static void check_record(struct map_walk *w, const MDB_val *k, const MDB_val *data)
{
    struct view key = view_of(k->mv_data, k->mv_size), value;
    raft_index index = 0;
    uint64_t hash = 0;

    w->count++;
    if (key.size == 0 || key.size > COMMAND_KEY_MAX) {
        verify_fault(w->v, "record %" PRIu64 ": its key has %zu bytes", w->count, key.size);
        return;
    }
    if (w->last_size > 0 && view_compare(view_of(w->last, w->last_size), key) >= 0)
        verify_fault(w->v, "record %" PRIu64 ": its key is not greater than the one before it", w->count);
    memcpy(w->last, key.data, key.size);
    w->last_size = key.size;
    if (kv_record_split(key, data, &value, &index) != 0)
        verify_fault(w->v, "record %" PRIu64 ": its hash is not that of its key, index and value", w->count);
    if (kv_record_head(data, &index, &hash) != 0)
        return;
    w->sum += hash;
    if (index == 0 || index > w->map->applied.index)
        verify_fault(w->v, "record %" PRIu64 ": it was changed by entry %" PRIu64 ", but the map is at %" PRIu64,
                     w->count, index, w->map->applied.index);
}

/* 0 at the end of the table. */
static int walk_table(struct env *env, MDB_txn *txn, unsigned table,
                      void (*look)(void *, const MDB_val *, const MDB_val *), void *context, uint64_t *expected)
{
    MDB_cursor *c = NULL;
    MDB_val key, data;
    MDB_stat st;
    uint64_t seen = 0;
    int err = env_error(env, mdb_stat(txn, env_table(env, table), &st));

    if (err == 0)
        err = env_error(env, mdb_cursor_open(txn, env_table(env, table), &c));
    if (err != 0)
        return err;
    *expected = st.ms_entries;
    while (seen++ <= *expected) { /* what is spoiled may lead in circles */
        err = env_error(env, mdb_cursor_get(c, &key, &data, MDB_NEXT));
        if (err != 0)
            break;
        look(context, &key, &data);
    }
    mdb_cursor_close(c);
    return err == ERR_NOT_FOUND ? 0 : err;
}

static void look_at_record(void *context, const MDB_val *key, const MDB_val *data)
{
    check_record(context, key, data);
}

static void walk_map(struct env *env, MDB_txn *txn, const struct kv_position *p, const struct kv_restoring *restoring,
                     struct verify *v, struct verify_map *out)
{
    struct map_walk *w = xcalloc(1, sizeof *w);
    uint64_t expected = 0;
    int err = 0;

    w->v = v;
    w->map = out;
    err = walk_table(env, txn, restoring->map, look_at_record, w, &expected);
    if (err != 0)
        verify_fault(v, "the records cannot be read beyond number %" PRIu64 ": %s", w->count, err_text(err));
    else if (w->count != expected)
        verify_fault(v, "it has %" PRIu64 " records, but counts %" PRIu64, w->count, expected);
    if (w->sum + content_config_hash(p->config_index, &p->members) != p->hash)
        verify_fault(v, "the hash of its content is not the one that was kept with entry %" PRIu64, p->applied.index);
    out->keys = w->count;
    free(w);
}

/* What a restore has gathered. */
static void walk_gathered(struct env *env, MDB_txn *txn, const struct kv_restoring *restoring, struct verify *v,
                          const struct verify_map *map)
{
    struct map_walk *w = xcalloc(1, sizeof *w);
    uint64_t expected = 0;
    int err = 0;

    w->v = v;
    w->map = map;
    err = walk_table(env, txn, restoring->map == MAP ? OTHER_MAP : MAP, look_at_record, w, &expected);
    if (err != 0)
        verify_fault(v, "what a restore has gathered cannot be read beyond number %" PRIu64 ": %s", w->count,
                     err_text(err));
    else if (w->count != restoring->count || w->sum != restoring->sum)
        verify_fault(v, "a restore has gathered %" PRIu64 " records, but counts %" PRIu64 ", or their hash is another",
                     w->count, restoring->count);
    free(w);
}

void verify_map(const char *path, struct verify *v, struct verify_map *out)
{
    struct kv_store s = {.env = NULL};
    struct kv_doubt doubt = {.there = false};
    struct kv_restoring restoring;
    struct kv_position *p = NULL;
    struct env_reader *r = NULL;
    int err = kv_doubt_read(path, &doubt);

    if (err != 0 || doubt.there)
        verify_fault(v, "it is not to be trusted: %s", err != 0 ? err_text(err) : doubt.reason);
    err = open_env(path, &kv_env_options, &s.env, &r, v);
    if (err != 0)
        return;
    p = xcalloc(1, sizeof *p);
    err = kv_read_position(&s, r->txn, p);
    if (err == 0)
        err = kv_read_restoring(&s, r->txn, &restoring);
    if (err != 0) {
        verify_fault(v, "a record beside the map (position, members, installed, restoring) is wrong: %s",
                     err_text(err));
    } else if (env_format(s.env) != KV_STORE_FORMAT) {
        verify_fault(
            v, "it has format %" PRIu64 ", an older one, whose records are not looked at: a start brings it to %d",
            env_format(s.env), KV_STORE_FORMAT);
    } else {
        *out = (struct verify_map){.applied = p->applied, .config_index = p->config_index, .installed = p->installed};
        out->hash = p->hash;
        if (p->config_index > p->applied.index)
            verify_fault(v, "its configuration is of entry %" PRIu64 ", but it is at %" PRIu64, p->config_index,
                         p->applied.index);
        walk_map(s.env, r->txn, p, &restoring, v, out);
        walk_gathered(s.env, r->txn, &restoring, v, out);
        out->whole = true;
    }
    free(p);
    env_read_end(s.env, r);
    env_close(s.env);
}

/* ---- the log ---- */

struct log_walk {
    struct verify *v;
    struct env *env;
    MDB_txn *txn;
    struct log_shape shape; /* by the entries read so far */
};

static bool index_key(const MDB_val *key, raft_index *out)
{
    if (key->mv_size != sizeof *out)
        return false;
    memcpy(out, key->mv_data, sizeof *out);
    return true;
}

/* Whether a table has that index, and what there. */
static bool look_up(struct log_walk *w, unsigned table, raft_index index, MDB_val *data)
{
    MDB_val key = env_val(view_of(&index, sizeof index));

    return mdb_get(w->txn, env_table(w->env, table), &key, data) == 0;
}

static void check_payload(struct log_walk *w, const struct entry *e)
{
    raft_index index = entry_pos(e).index;
    struct members *members = NULL;
    struct command command;

    switch (entry_type(e)) {
    case RAFT_NOOP:
        return;
    case RAFT_COMMAND:
        if (command_decode(entry_payload(e), &command) != 0)
            verify_fault(w->v, "entry %" PRIu64 ": its command does not decode", index);
        return;
    case RAFT_CONFIG:
        members = xmalloc(sizeof *members);
        if (members_decode(entry_payload(e), members) != 0)
            verify_fault(w->v, "entry %" PRIu64 ": its configuration does not decode", index);
        free(members);
        return;
    }
    verify_fault(w->v, "entry %" PRIu64 ": there is no type %d", index, (int)entry_type(e));
}

/* What a start reads in place of the entries must say the same: where terms begin, and where configurations are. */
static void check_landmarks(struct log_walk *w, const struct entry *e, raft_index index)
{
    raft_term before = log_shape_term(&w->shape, index - 1), term = entry_pos(e).term;
    MDB_val data;

    if (term < before)
        verify_fault(w->v, "entry %" PRIu64 ": its term is %" PRIu64 ", after %" PRIu64, index, term, before);
    if (term > before) {
        log_shape_add_run(&w->shape, (struct raft_pos){index, term});
        if (!look_up(w, RUNS, index, &data) || data.mv_size != sizeof term || codec_get_u64(data.mv_data) != term)
            verify_fault(w->v, "term %" PRIu64 " begins at entry %" PRIu64 ", but is not listed so", term, index);
    }
    if (entry_type(e) == RAFT_CONFIG) {
        log_shape_add_config(&w->shape, index);
        if (!look_up(w, CONFIGS, index, &data))
            verify_fault(w->v, "entry %" PRIu64 " is a configuration, but is not listed as one", index);
    }
}

static void look_at_entry(void *context, const MDB_val *key, const MDB_val *data)
{
    struct log_walk *w = context;
    struct view in = view_of(data->mv_data, data->mv_size);
    struct entry *e = NULL;
    raft_index index = 0;
    int err = 0;

    if (!index_key(key, &index) || index <= w->shape.last) {
        verify_fault(w->v, "a key of the entries, after %" PRIu64 ", is no index that could follow", w->shape.last);
        return;
    }
    if (index != w->shape.last + 1)
        verify_fault(w->v, "after entry %" PRIu64 " comes entry %" PRIu64, w->shape.last, index);
    w->shape.last = index;
    err = entry_decode(&in, &e);
    if (err != 0) {
        verify_fault(w->v, "entry %" PRIu64 ": %s", index,
                     err == ERR_CORRUPT ? "its checksum is wrong" : "it does not decode");
        return;
    }
    if (in.size != 0)
        verify_fault(w->v, "entry %" PRIu64 ": there are bytes behind it", index);
    if (entry_pos(e).index != index)
        verify_fault(w->v, "entry %" PRIu64 " says that it is %" PRIu64, index, entry_pos(e).index);
    check_landmarks(w, e, index);
    check_payload(w, e);
    entry_unref(e);
}

static bool read_pair(struct log_walk *w, const char *name, uint64_t *a, uint64_t *b)
{
    struct view value;
    int err = env_meta_get(w->env, w->txn, name, &value);

    if (err == ERR_NOT_FOUND)
        return true; /* a new log */
    if (err != 0 || value.size != 16) {
        verify_fault(w->v, "its record \"%s\" is wrong: %s", name, err != 0 ? err_text(err) : "it has not 16 bytes");
        return false;
    }
    *a = codec_get_u64(value.data);
    *b = codec_get_u64(value.data + 8);
    return true;
}

static uint64_t count_of(struct log_walk *w, unsigned table)
{
    MDB_stat st = {.ms_entries = 0};

    (void)mdb_stat(w->txn, env_table(w->env, table), &st); /* none: then the numbers differ, and that is told */
    return st.ms_entries;
}

static void walk_tables(struct log_walk *w)
{
    const struct log_shape *s = &w->shape;
    uint64_t expected = 0;
    int err = walk_table(w->env, w->txn, ENTRIES, look_at_entry, w, &expected);

    if (err != 0)
        verify_fault(w->v, "the entries cannot be read beyond %" PRIu64 ": %s", s->last, err_text(err));
    else if (s->last - s->base.index != expected)
        verify_fault(w->v, "it counts %" PRIu64 " entries after %" PRIu64 ", but the last is %" PRIu64, expected,
                     s->base.index, s->last);
    if (count_of(w, CONFIGS) != s->config_count)
        verify_fault(w->v, "%" PRIu64 " configurations are listed, but there are %u", count_of(w, CONFIGS),
                     s->config_count);
    if (count_of(w, RUNS) != s->run_count)
        verify_fault(w->v, "%" PRIu64 " beginnings of terms are listed, but there are %u", count_of(w, RUNS),
                     s->run_count);
}

/* ---- its journal ---- */

/* What a record of the journal does to the log must be possible. */
static int look_at_write(void *context, uint64_t generation, const struct log_write *write, struct raft_pos base)
{
    struct log_walk *w = context;
    const struct log_shape *s = &w->shape;
    bool has_entries = write->first <= write->last;
    raft_term term = 0;

    (void)generation;
    if (write->hard.term < s->hard.term || base.index < s->base.index || base.index > s->last ||
        (has_entries && (write->first <= base.index || write->first > s->last + 1))) {
        verify_fault(w->v,
                     "the journal: a write of entries %" PRIu64 " to %" PRIu64 " does not fit the log of %" PRIu64
                     " to %" PRIu64,
                     write->first, write->last, s->base.index + 1, s->last);
        return ERR_STOPPED; /* nothing behind it makes sense */
    }
    if (has_entries)
        term = log_shape_term(s, write->first - 1);
    for (raft_index i = write->first; i <= write->last; i++) {
        const struct entry *e = write->entries[i - write->first];

        if (entry_pos(e).term < term)
            verify_fault(w->v, "the journal: entry %" PRIu64 ": its term is %" PRIu64 ", after %" PRIu64, i,
                         entry_pos(e).term, term);
        term = entry_pos(e).term;
        check_payload(w, e);
    }
    log_shape_write(&w->shape, write, base);
    return 0;
}

static void walk_journal(struct log_walk *w, const char *path)
{
    struct log_journal *journal = NULL;
    struct log_journal_id id = {.settled = 0};
    struct why why = {""};
    struct view value;
    int err = 0;

    if (env_meta_get(w->env, w->txn, "journal", &value) == ERR_NOT_FOUND)
        return; /* it has none yet */
    if (!read_pair(w, "journal", &id.settled, &id.salt))
        return;
    err = log_journal_open(path, id, true, &journal, &why);
    if (err == 0)
        err = log_journal_replay(journal, look_at_write, w, &why);
    if (err != 0 && err != ERR_STOPPED)
        verify_fault(w->v, "%s", why.text);
    log_journal_close(journal);
}

/* ---- both ---- */

static void check_fit(struct log_walk *w, const struct verify_map *map)
{
    const struct log_shape *s = &w->shape;
    raft_index at = map->applied.index;

    if (at >= s->base.index && at <= s->last && log_shape_term(s, at) == map->applied.term)
        return;
    if (!map->installed) /* else a start begins the log anew behind it */
        verify_fault(w->v,
                     "the map is at entry %" PRIu64 " of term %" PRIu64 ", which is not in the log of %" PRIu64
                     " to %" PRIu64 ": log and map are not of one server",
                     at, map->applied.term, s->base.index + 1, s->last);
}

void verify_log(const char *path, const struct verify_map *map, struct verify *v, struct verify_log *out)
{
    struct log_walk w = {.v = v};
    struct log_shape *s = &w.shape;
    struct env_reader *r = NULL;
    int err = open_env(path, &log_env_options, &w.env, &r, v);

    if (err != 0)
        return;
    w.txn = r->txn;
    if (read_pair(&w, "hard", &s->hard.term, &s->hard.vote) && read_pair(&w, "base", &s->base.index, &s->base.term)) {
        s->last = s->base.index;
        walk_tables(&w);
        walk_journal(&w, path);
        if (s->hard.term < log_shape_term(s, s->last))
            verify_fault(v, "its hard state has term %" PRIu64 ", but its last entry %" PRIu64, s->hard.term,
                         log_shape_term(s, s->last));
        if (map->whole)
            check_fit(&w, map);
        *out = (struct verify_log){.whole = true, .hard = s->hard, .base = s->base, .last = s->last};
    }
    log_shape_clear(s);
    env_read_end(w.env, r);
    env_close(w.env);
}
