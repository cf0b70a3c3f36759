/* service_upload.c -- a client's backup takes the place of the whole map.
 *
 * It is written to a file without a name first, and looked at in all its parts. Then the leader proposes it as ordinary entries: a
 * begin, parts of about a megabyte, an end (wire/command.h; store/kv_restore.c applies them). One is committed and applied before
 * the next is proposed, so other clients' writes find their place between them. The parts are gathered beside the map; only the
 * end shows them, all at once, and a part that was lost with a leader keeps the end from having any effect.
 *
 * If it breaks off, what was gathered is of no use: the timer of whoever leads then abandons it (shared.restoring). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"
#include "server/service_private.h"
#include "store/dump_reader.h"
#include "store/dump_writer.h"

#define PART_BYTES    (1u << 20) /* of records that one entry carries, unless one alone is larger */
#define BUSY_PAUSE_MS 5

struct service_upload {
    struct node *node;
    struct dump_file *file;
    struct dump_decoder *decoder; /* of a dump that comes as bytes */
    struct dump_writer *writer;   /* of one that is made of pairs */
    enum dump_step step;
    uint64_t size;
};

uint64_t service_upload_limit(struct node *n)
{
    return n->options.max_db_size;
}

/* ---- the file ---- */

/* Whether one may begin here; and then no other until service_upload_close. */
static bool claim(struct node *n, struct service_result *r)
{
    struct shared *s = node_lock(n);

    r->code = service_leads(s);
    if (r->code == SERVICE_OK && s->restores) {
        r->code = SERVICE_CONFLICT;
        snprintf(r->text, sizeof r->text, "another backup is being restored at this moment");
    }
    if (r->code == SERVICE_OK)
        s->restores = true;
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
    return r->code == SERVICE_OK;
}

static void release(struct node *n)
{
    struct shared *s = node_lock(n);

    s->restores = false;
    node_unlock(n, &s);
}

static bool fail(struct service_result *r, int err)
{
    r->code = err == ERR_NO_SPACE ? SERVICE_NO_SPACE : err == ERR_STOPPED ? SERVICE_STOPPING : SERVICE_FAILED;
    snprintf(r->text, sizeof r->text, "the backup cannot be written: %s", err_text(err));
    return false;
}

void service_upload_open(struct node *n, struct service_upload **out, struct service_result *r)
{
    struct service_upload *u = NULL;
    int err = 0;

    service_result_init(r);
    if (!claim(n, r))
        return;
    u = xcalloc(1, sizeof *u);
    u->node = n;
    u->file = dump_file_new(datadir_scratch_path(n->options.datadir));
    err = dump_file_create_nameless(u->file);
    if (err == 0) {
        *out = u;
        return;
    }
    fail(r, err);
    service_upload_close(u);
}

static bool spoiled(struct service_result *r, uint64_t offset, const char *fault)
{
    r->code = SERVICE_INVALID;
    snprintf(r->text, sizeof r->text, "the backup is no good, at byte %" PRIu64 ": %s; nothing was changed", offset,
             fault);
    return false;
}

/* What the decoder makes of what it was fed, and whether each record fits into an entry. */
static bool look_at_bytes(struct service_upload *u, struct service_result *r)
{
    struct dump_record record;

    do {
        if (dump_decoder_next(u->decoder, &u->step, &record) != 0)
            return spoiled(r, dump_decoder_offset(u->decoder), dump_decoder_fault(u->decoder));
        if (u->step == DUMP_HEADER && dump_decoder_header(u->decoder)->restoring != 0)
            return spoiled(r, 0, "it is the state of a member in the middle of a restore, and no backup");
        if (u->step == DUMP_RECORD && record.value.size > COMMAND_PART_MAX - COMMAND_KEY_MAX - COMMAND_PART_OVERHEAD)
            return spoiled(r, dump_decoder_offset(u->decoder), "a value is larger than any that a server takes");
    } while (u->step != DUMP_WANTS_MORE && u->step != DUMP_END);
    return true;
}

bool service_upload_bytes(struct service_upload *u, struct view bytes, struct service_result *r)
{
    int err = 0;

    if (u->decoder == NULL)
        u->decoder = dump_decoder_new();
    while (bytes.size > 0) { /* in pieces: what is fed at once must fit into the decoder */
        struct view piece = view_of(bytes.data, bytes.size < PART_BYTES ? bytes.size : PART_BYTES);

        bytes = view_of(bytes.data + piece.size, bytes.size - piece.size);
        dump_decoder_feed(u->decoder, piece);
        if (!look_at_bytes(u, r))
            return false;
        err = dump_file_write(u->file, u->size, piece);
        if (err != 0)
            return fail(r, err);
        u->size += piece.size;
    }
    return true;
}

static void start_writer(struct service_upload *u)
{
    static const struct dump_header header = {.position = {1, 1}};

    u->writer = dump_writer_new(u->file, &u->node->leaving);
    dump_writer_header(u->writer, &header);
}

bool service_upload_pair(struct service_upload *u, struct view key, struct view value, struct service_result *r)
{
    struct dump_record record = {.key = key, .value = value, .index = 1};
    int err = 0;

    if (u->writer == NULL)
        start_writer(u);
    if (value.size > COMMAND_PART_MAX - COMMAND_KEY_MAX - COMMAND_PART_OVERHEAD)
        return spoiled(r, 0, "a value is larger than any that a server takes");
    err = dump_writer_record(u->writer, &record);
    return err == 0 || fail(r, err);
}

/* Once more from the beginning: what was looked at as it came is what lies in the file. */
static bool look_through(struct service_upload *u, struct service_result *r)
{
    struct dump_reader *reader = dump_reader_new(u->file);
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    int err = 0;

    while (err == 0 && step != DUMP_END)
        err = dump_reader_next(reader, &step, &record);
    if (err != 0)
        spoiled(r, dump_reader_offset(reader), dump_reader_fault(reader));
    dump_reader_free(reader);
    return err == 0;
}

/* The end of the upload: the file is a whole dump. */
static bool complete(struct service_upload *u, struct service_result *r)
{
    struct dump_id id = {.size = 0};
    int err = 0;

    if (u->decoder == NULL) {
        if (u->writer == NULL) /* of no pairs at all */
            start_writer(u);
        err = dump_writer_end(u->writer, &id);
        u->size = id.size;
    }
    return err == 0 ? look_through(u, r) : fail(r, err);
}

void service_upload_close(struct service_upload *u)
{
    if (u == NULL)
        return;
    release(u->node);
    dump_decoder_free(u->decoder);
    dump_writer_free(u->writer);
    dump_file_free(u->file);
    free(u);
}

/* ---- the entries ---- */

struct restoring {
    struct node *node;
    unsigned deadline_ms;
    raft_index begin;  /* of the restore */
    uint64_t count;    /* records proposed before the part that is being put together */
    unsigned gathered; /* records in it */
    struct bytes part;
    struct service_result *r;
};

/* Proposes the entry, and begins to wait for it. BUSY: not now. */
static enum service_code begin_entry(struct restoring *x, struct entry *e, struct request *q)
{
    struct shared *s = node_lock(x->node);
    enum service_code code = service_leads(s);
    uint64_t size = e->size;
    struct raft_status status;
    raft_index index = 0;

    /* What is gathered must fit beside the map: more than what one entry takes is checked before the begin. */
    if (code == SERVICE_OK && (s->no_space || !raft_quorum_has_room(s->raft) || kv_store_room(x->node->kv) < size))
        code = SERVICE_NO_SPACE;
    if (code == SERVICE_OK) {
        raft_status(s->raft, &status);
        index = shared_propose(s, clock_now_ms(), e, NULL);
        code = index != 0 ? SERVICE_OK : SERVICE_BUSY;
    }
    if (code == SERVICE_OK)
        request_begin_write(s, q, index, status.term);
    service_fill_stamp(s, &x->r->stamp);
    node_unlock(x->node, &s);
    return code;
}

/* One entry, committed and applied: OK and *q has its result; or what went wrong. */
static enum service_code put_entry(struct restoring *x, const struct command *c, struct request *q)
{
    raft_time until = clock_now_ms() + x->deadline_ms;
    struct entry *e = command_entry(c);
    enum service_code code = SERVICE_OK;
    sem_t wake;

    *q = (struct request){.wake = &wake};
    sem_init(&wake, 0, 0);
    while ((code = begin_entry(x, e, q)) == SERVICE_BUSY && clock_now_ms() < until)
        nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_MS * 1000000L}, NULL);
    if (code == SERVICE_OK)
        code = service_await_entry(x->node, q, until);
    else
        entry_unref(e);
    sem_destroy(&wake);
    return code;
}

/* What is no end leaves the map as it was, whatever becomes of it. */
static bool put_step(struct restoring *x, const struct command *c)
{
    struct request q;

    x->r->code = put_entry(x, c, &q);
    if (x->r->code == SERVICE_UNKNOWN)
        x->r->code = SERVICE_NO_QUORUM;
    if (x->r->code == SERVICE_OK && q.result.outcome != COMMAND_STAGED)
        x->r->code = SERVICE_LOST; /* somebody else began one, or abandoned ours */
    if (c->op == COMMAND_RESTORE_BEGIN)
        x->begin = q.index;
    return x->r->code == SERVICE_OK;
}

static bool put_part(struct restoring *x)
{
    struct command c = {
        .op = COMMAND_RESTORE_PART, .expected = x->begin, .count = x->count, .value = bytes_view(&x->part)};

    if (x->gathered == 0)
        return true;
    if (!put_step(x, &c))
        return false;
    x->count += x->gathered;
    x->gathered = 0;
    bytes_reset(&x->part);
    return true;
}

static bool put_record(struct restoring *x, const struct dump_record *record)
{
    size_t size = COMMAND_PART_OVERHEAD + record->key.size + record->value.size;

    if (x->part.size + size > PART_BYTES && !put_part(x))
        return false;
    command_part_append(&x->part, record->key, record->value);
    x->gathered++;
    return true;
}

static bool put_records(struct restoring *x, struct dump_file *file)
{
    struct dump_reader *reader = dump_reader_new(file);
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    bool good = true;

    while (good && step != DUMP_END) {
        int err = dump_reader_next(reader, &step, &record);

        if (err != 0) /* it was whole a moment ago */
            good = spoiled(x->r, dump_reader_offset(reader), dump_reader_fault(reader));
        else if (step == DUMP_RECORD)
            good = put_record(x, &record);
    }
    dump_reader_free(reader);
    return good && put_part(x);
}

static void put_end(struct restoring *x)
{
    struct command c = {.op = COMMAND_RESTORE_END, .expected = x->begin, .count = x->count};
    struct request q;

    x->r->code = put_entry(x, &c, &q);
    if (x->r->code != SERVICE_OK)
        return;
    x->r->stamp.index = q.index;
    if (q.result.outcome != COMMAND_RESTORED)
        x->r->code = SERVICE_LOST;
}

/* All records at once must find room beside the map, in pages that they do not fill. */
static bool has_room(struct service_upload *u, struct service_result *r)
{
    uint64_t wanted = u->size + u->size / 2, room = kv_store_room(u->node->kv);

    if (wanted <= room)
        return true;
    r->code = SERVICE_NO_SPACE;
    return false;
}

void service_upload_restore(struct service_upload *u, unsigned deadline_ms, uint64_t *keys, struct service_result *r)
{
    const struct command begin = {.op = COMMAND_RESTORE_BEGIN};
    struct restoring x = {.node = u->node, .deadline_ms = deadline_ms, .r = r};

    service_result_init(r);
    service_stamp(u->node, &r->stamp);
    if (!complete(u, r) || !has_room(u, r))
        return;
    bytes_init(&x.part, COMMAND_PART_MAX);
    if (put_step(&x, &begin) && put_records(&x, u->file))
        put_end(&x);
    *keys = x.count;
    bytes_clear(&x.part);
    if (r->code == SERVICE_OK)
        log_info("the map was replaced by a backup: index=%llu keys=%llu", (unsigned long long)r->stamp.index,
                 (unsigned long long)*keys);
    else
        log_warn("a backup was not restored: keys=%llu of them were gathered", (unsigned long long)x.count);
}
