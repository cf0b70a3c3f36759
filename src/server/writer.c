/* writer.c -- the role that makes the log durable: one write and one flush (log_store.h) for all that came meanwhile.
 *
 * While it syncs, proposals and appended entries gather; its next round takes them all (group commit). One write is in
 * flight at a time (raft.h, D4). */
#include <stdlib.h>

#include "base/check.h"
#include "base/logger.h"
#include "server/mutants.h"
#include "server/role.h"
#include "server/shared.h"

#define NO_SPACE_RETRY_MS 250

struct writer_job {
    struct log_store *log;
    struct raft_write write;
    struct entry **entries; /* TAIL_ENTRIES_MAX references, of write.first .. write.last */
    unsigned count;
    uint64_t log_bytes, log_entries;
    bool wants_checkpoint;
    int err;
};

static void *writer_job_new(const struct role_context *c, unsigned which)
{
    struct writer_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->log = c->log;
    j->entries = xcalloc(TAIL_ENTRIES_MAX, sizeof(struct entry *));
    return j;
}

static void writer_drop_entries(struct writer_job *j)
{
    for (unsigned i = 0; i < j->count; i++)
        entry_unref(j->entries[i]);
    j->count = 0;
}

static void writer_job_free(void *job)
{
    struct writer_job *j = job;

    writer_drop_entries(j);
    free(j->entries);
    free(j);
}

static raft_time writer_due(const struct shared *s, unsigned which)
{
    raft_time due = raft_write_due(s->raft);

    (void)which;
    if (s->failure != 0)
        return RAFT_NEVER;
    return due > s->retry_write_at ? due : s->retry_write_at;
}

static void writer_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct writer_job *j = job;
    struct raft_write *w = &j->write;
    uint64_t bytes = 0;

    (void)which;
    raft_next_write(s->raft, now, w);
    if (w->first > w->last)
        return;
    /* All that is not on disk is in the tail. */
    j->count = tail_borrow(&s->tail, w->first, (unsigned)(w->last - w->first + 1), UINT64_MAX, j->entries, &bytes);
    CHECK(j->count == w->last - w->first + 1);
}

static void writer_work(void *job)
{
    struct writer_job *j = job;
    struct log_write write = {
        .hard = j->write.hard,
        .begin_anew = j->write.begin_anew,
        .base = j->write.base,
        .first = j->write.first,
        .last = j->write.last,
        .keep_from = j->write.keep_from,
        .entries = j->entries,
    };

    j->err = log_store_write(j->log, &write);
    /* A write deletes only so much; if nothing else is written, more writes have to do the rest. */
    if (j->err == 0)
        j->write.keep_from = log_store_kept_from(j->log, j->write.keep_from);
    log_store_used(j->log, &j->log_bytes, &j->log_entries);
    j->wants_checkpoint = log_store_wants_checkpoint(j->log);
}

static void writer_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct writer_job *j = job;
    struct raft_status status;

    (void)which;
    s->counters.writes_to_disk++;
    s->checkpoint_wanted = j->wants_checkpoint;
    if (BROKEN(IGNORE_NO_SPACE) && j->err == ERR_NO_SPACE)
        j->err = 0;
    if (BROKEN(IO_ERROR_COUNTS) && j->err == ERR_IO)
        j->err = 0;
    switch (j->err) {
    case 0:
        s->counters.entries_written += j->count;
        s->log_bytes = j->log_bytes;
        s->log_entries = j->log_entries;
        s->retry_write_at = 0;
        shared_note_room(s);
        raft_wrote(s->raft, now, &j->write);
        raft_status(s->raft, &status);
        tail_trim(&s->tail, status.durable);
        break;
    case ERR_NO_SPACE:
        if (s->retry_write_at == 0)
            log_error("no space for the log: clients get 507 until there is room; member=%s", s->name);
        s->retry_write_at = now + NO_SPACE_RETRY_MS;
        shared_note_room(s);
        raft_write_failed(s->raft, now);
        break;
    default:
        shared_fail(s, j->err, "the log cannot be written");
        break;
    }
    writer_drop_entries(j);
}

const struct role_ops writer_ops = {
    .name = "writer",
    .job_new = writer_job_new,
    .job_free = writer_job_free,
    .due = writer_due,
    .take = writer_take,
    .work = writer_work,
    .done = writer_done,
};
