/* kv_dump.c -- the map to a file, and a file to the map. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/codec.h"
#include "store/dump_reader.h"
#include "store/dump_writer.h"
#include "store/kv_private.h"

#define PIECE_BYTES  (1u << 20) /* of the file, loaded in one transaction */
#define DISK_RESERVE (8u << 20) /* what a load leaves free, as dumps do (dump_file.c) */

/* ---- to a file ---- */

static int write_records(struct dump_writer *w, struct kv_view *v, uint64_t *sum)
{
    struct dump_record record = {.gathered = false};
    int err = kv_view_seek(v, view_of(NULL, 0), false);

    while (err == 0) {
        err = kv_view_next(v, &record.key, &record.value, &record.index);
        if (err != 0)
            break;
        *sum += content_record_hash(record.key, record.index, record.value);
        err = dump_writer_record(w, &record);
    }
    return err == ERR_NOT_FOUND ? 0 : err;
}

static int write_all(struct dump_writer *w, struct kv_view *v, uint64_t cluster, raft_index restoring)
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
    header->restoring = restoring;
    header->members = position->members;
    dump_writer_header(w, header);
    err = write_records(w, v, &sum);
    /* Nobody shall be given a map that does not hold what was applied. */
    if (err == 0 && sum + content_config_hash(position->config_index, &position->members) != position->hash)
        err = ERR_CORRUPT;
out:
    free(header);
    free(position);
    return err;
}

/* What a restore has gathered so far: who gets the map by a dump must be able to go on with it. */
static int write_gathered(struct dump_writer *w, struct kv_view *v, const struct kv_restoring *r)
{
    struct kv_view gathered = {.store = v->store, .reader = v->reader, .map = r->map == MAP ? OTHER_MAP : MAP};
    struct dump_record record = {.gathered = true};
    int err = kv_view_seek(&gathered, view_of(NULL, 0), false);

    dump_writer_turn(w);
    while (err == 0) {
        err = kv_view_next(&gathered, &record.key, &record.value, &record.index);
        if (err == 0)
            err = dump_writer_record(w, &record);
    }
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* The view is closed as soon as the last record is written. */
static int dump_to(struct kv_store *s, uint64_t cluster, struct dump_file *file, const atomic_bool *cancel, bool all,
                   struct dump_id *out)
{
    struct kv_restoring restoring = {.begin = 0};
    struct dump_writer *w = NULL;
    struct kv_view *view = NULL;
    int err = kv_view_open(s, &view);

    if (err != 0)
        return err;
    w = dump_writer_new(file, cancel);
    if (all)
        err = kv_read_restoring(s, view->reader->txn, &restoring);
    if (err == 0)
        err = write_all(w, view, cluster, restoring.begin);
    if (err == 0 && restoring.begin != 0)
        err = write_gathered(w, view, &restoring);
    kv_view_close(view);
    if (err == 0)
        err = dump_writer_end(w, out);
    dump_writer_free(w);
    return err;
}

int kv_store_backup(struct kv_store *s, uint64_t cluster, struct dump_file *file, const atomic_bool *cancel,
                    struct dump_id *out)
{
    return dump_to(s, cluster, file, cancel, false, out);
}

int kv_store_dump(struct kv_store *s, uint64_t cluster, const char *fresh, const char *path, const atomic_bool *cancel,
                  struct dump_id *out)
{
    struct dump_file *file = dump_file_new(fresh);
    struct dump_id id;
    int err = dump_file_create(file);

    if (err == 0)
        err = dump_to(s, cluster, file, cancel, true, &id);
    if (err == 0)
        err = dump_file_publish(file, path);
    dump_file_free(file);
    if (err == 0)
        *out = id;
    else
        (void)dump_file_remove(fresh); /* the next one begins anew anyway */
    return err;
}

/* ---- from a file ---- */

/* MAP is the map here. */
static int insert(struct kv_store *s, MDB_cursor *c, const struct dump_record *record, uint64_t *sum)
{
    MDB_val key = env_val(record->key);
    MDB_val data = {.mv_size = RECORD_HEAD + record->value.size, .mv_data = NULL};
    uint64_t hash = content_record_hash(record->key, record->index, record->value);
    int rc = mdb_cursor_put(c, &key, &data, MDB_APPEND | MDB_RESERVE);

    if (rc != 0)
        return env_error(s->env, rc);
    kv_record_fill(data.mv_data, record->index, hash, record->value);
    *sum += hash;
    return 0;
}

/* What the map stands for, where no log has led to it. */
static int put_installed(struct kv_store *s, MDB_txn *txn, const struct kv_position *p, uint64_t records)
{
    struct bytes members;
    int err = kv_put_position(s, txn, p->applied, records);

    bytes_init(&members, MEMBERS_SIZE_MAX);
    members_encode(&p->members, &members);
    if (err == 0)
        err = kv_put_members(s, txn, p->config_index, bytes_view(&members));
    if (err == 0)
        err = kv_put_installed(s, txn, p->applied.index);
    bytes_clear(&members);
    return err;
}

struct loading {
    struct kv_store *store;
    struct dump_reader *r;
    const atomic_bool *cancel; /* NULL: nobody else needs the disk */
    struct kv_position as;     /* what the map will stand for */
    struct env *fresh;         /* what is filled */
    enum dump_step step;
    struct kv_sum sum;
    struct kv_restoring restoring;
    uint64_t used; /* bytes, when all is in */
};

static int load_record(struct loading *l, MDB_cursor *map, MDB_cursor *gathered, const struct dump_record *record)
{
    if (!record->gathered)
        return insert(l->store, map, record, &l->sum.records);
    l->restoring.count++;
    return insert(l->store, gathered, record, &l->restoring.sum);
}

/* Records until a piece of the file is done, in one transaction; with the last one goes what the map stands for. */
static int load_piece(struct loading *l)
{
    uint64_t end = dump_reader_offset(l->r) + PIECE_BYTES;
    struct dump_record record;
    MDB_cursor *map = NULL, *gathered = NULL;
    MDB_txn *txn;
    int err = env_write_begin(l->fresh, &txn);

    if (err != 0)
        return err;
    err = env_error(l->fresh, mdb_cursor_open(txn, env_table(l->fresh, MAP), &map));
    if (err == 0)
        err = env_error(l->fresh, mdb_cursor_open(txn, env_table(l->fresh, OTHER_MAP), &gathered));
    while (err == 0 && l->step != DUMP_END && dump_reader_offset(l->r) < end) {
        err = dump_reader_next(l->r, &l->step, &record);
        if (err == 0 && l->step == DUMP_RECORD)
            err = load_record(l, map, gathered, &record);
    }
    mdb_cursor_close(gathered);
    mdb_cursor_close(map);
    if (err == 0 && l->step == DUMP_END)
        err = put_installed(l->store, txn, &l->as, l->sum.records);
    if (err == 0 && l->step == DUMP_END && l->restoring.begin != 0)
        err = kv_put_restoring(l->store, txn, &l->restoring);
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

        if (l->cancel != NULL && atomic_load(l->cancel))
            return ERR_STOPPED;
        err = env_disk_free(l->fresh) < DISK_RESERVE ? ERR_NO_SPACE : load_piece(l);
        if (err == 0)
            err = env_write_out(l->fresh);
        if (err == 0 && l->cancel != NULL)
            dump_rest_since(began);
    }
    return err;
}

/* The header: it is of `cluster`, and the map will stand for what it says; or for *as, whatever it says. */
static int read_header(struct loading *l, uint64_t cluster, const struct kv_position *as)
{
    const struct dump_header *h = dump_reader_header(l->r);
    struct dump_record record;
    int err = dump_reader_next(l->r, &l->step, &record);

    if (err != 0)
        return err;
    l->restoring = (struct kv_restoring){.map = MAP, .begin = h->restoring};
    if (as != NULL)
        l->as = *as;
    else
        l->as = (struct kv_position){
            .applied = h->position, .config_index = h->config_index, .members = h->members, .restoring = h->restoring};
    if (as != NULL && h->restoring != 0)
        return ERR_FORMAT; /* it is on its way from one member to another, and no backup */
    return as == NULL && h->cluster != cluster ? ERR_INVALID : 0;
}

static int replace(struct loading *l, uint64_t cluster, const struct kv_position *as)
{
    struct kv_store *s = l->store;
    int err = read_header(l, cluster, as);

    if (err == 0)
        err = env_open_beside(s->env, &l->fresh);
    if (err == 0)
        err = load_all(l);
    if (err == 0)
        err = env_take_over(s->env, l->fresh);
    env_discard_beside(s->env, l->fresh);
    if (err != 0)
        return err;
    l->sum.config = content_config_hash(l->as.config_index, &l->as.members);
    s->applied = l->as.applied;
    s->sum = l->sum;
    s->restoring = l->restoring;
    atomic_store(&s->used, l->used);
    kv_look_at_disk(s);
    return atomic_load(&s->doubted) ? kv_store_trust(s) : 0;
}

int kv_store_load(struct kv_store *s, uint64_t cluster, const char *path, const atomic_bool *cancel)
{
    struct loading *l = xcalloc(1, sizeof *l);
    struct dump_file *file = dump_file_new(path);
    int err = dump_file_open(file, NULL);

    CHECK(s->open.txn == NULL);
    l->store = s;
    l->cancel = cancel;
    if (err == 0) {
        l->r = dump_reader_new(file);
        err = replace(l, cluster, NULL);
    }
    dump_reader_free(l->r);
    dump_file_free(file);
    free(l);
    return err;
}

int kv_store_restore(struct kv_store *s, struct dump_file *file, const struct kv_position *as, struct why *why)
{
    struct loading *l = xcalloc(1, sizeof *l);
    int err = 0;

    CHECK(s->open.txn == NULL);
    l->store = s;
    l->r = dump_reader_new(file);
    err = replace(l, 0, as);
    if (err == ERR_FORMAT || err == ERR_CORRUPT)
        err = why_set(why, ERR_FORMAT, "the dump is damaged at byte %llu: %s",
                      (unsigned long long)dump_reader_offset(l->r), dump_reader_fault(l->r));
    else if (err != 0)
        why_set(why, err, "the map cannot be written: %s", err_text(err));
    dump_reader_free(l->r);
    free(l);
    return err;
}
