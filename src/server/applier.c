/* applier.c -- the role that applies committed entries to the map, a batch per transaction, and finishes the requests that
 * wait for them.
 *
 * Entries that left memory are read from the log in `work`, so a member that was away catches up at disk speed. */
#include <stdlib.h>

#include "base/check.h"
#include "base/logger.h"
#include "server/role.h"
#include "server/shared.h"

#define APPLY_ENTRIES_MAX 1024u
#define APPLY_BYTES_MAX   (4u << 20)
#define NO_SPACE_RETRY_MS 1000

struct applier_job {
    struct log_store *log;
    struct kv_store *kv;
    raft_index first, last; /* asked for; what is done ends at first + count - 1 */
    unsigned count;
    struct entry *entries[APPLY_ENTRIES_MAX];
    struct command_result results[APPLY_ENTRIES_MAX];
    const char *failed; /* what `err` is about */
    int err;
};

static void *applier_job_new(const struct role_context *c, unsigned which)
{
    struct applier_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->log = c->log;
    j->kv = c->kv;
    return j;
}

static void applier_drop_entries(struct applier_job *j)
{
    for (unsigned i = 0; i < j->count; i++)
        entry_unref(j->entries[i]);
    j->count = 0;
}

static void applier_job_free(void *job)
{
    applier_drop_entries(job);
    free(job);
}

static raft_time applier_due(const struct shared *s, unsigned which)
{
    raft_time due = raft_apply_due(s->raft);

    (void)which;
    if (s->failure != 0 || s->stopping) /* what is committed is in the log: a stop waits for no backlog */
        return RAFT_NEVER;
    return due > s->retry_apply_at ? due : s->retry_apply_at;
}

static void applier_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct applier_job *j = job;
    uint64_t bytes = 0;
    unsigned wanted = 0;

    (void)now;
    (void)which;
    raft_next_apply(s->raft, &j->first, &j->last);
    CHECK(j->first <= j->last);
    wanted = j->last - j->first < APPLY_ENTRIES_MAX ? (unsigned)(j->last - j->first + 1) : APPLY_ENTRIES_MAX;
    j->count = tail_borrow(&s->tail, j->first, wanted, APPLY_BYTES_MAX, j->entries, &bytes);
}

static void applier_work(void *job)
{
    struct applier_job *j = job;

    j->err = 0;
    if (j->count == 0) {
        j->failed = "a committed entry cannot be read from the log";
        j->err = log_store_read(j->log, j->first, j->last, APPLY_BYTES_MAX, APPLY_ENTRIES_MAX, j->entries, &j->count);
    }
    if (j->err != 0)
        return;
    j->failed = "the map cannot be written";
    j->err = kv_store_apply(j->kv, j->entries, j->count, j->results);
}

static void applier_finish_requests(struct shared *s, struct applier_job *j)
{
    for (unsigned i = 0; i < j->count; i++) {
        struct entry *e = j->entries[i];
        struct raft_pos pos = entry_pos(e);

        requests_applied(s, pos.index, pos.term, entry_type(e) == RAFT_COMMAND ? &j->results[i] : NULL);
    }
}

/* A member that finds itself left out of an applied configuration was removed [thesis 4.2.2]. */
static void applier_look_for_removal(struct shared *s, const struct applier_job *j)
{
    for (unsigned i = 0; i < j->count; i++) {
        struct entry *e = j->entries[i];
        struct members *m = NULL;

        if (entry_type(e) != RAFT_CONFIG || entry_pos(e).index <= s->joined)
            continue;
        m = xmalloc(sizeof *m);
        CHECK(members_decode(entry_payload(e), m) == 0);
        s->removed = s->removed || members_by_id(m, s->self) == NULL; /* for good: ids do not come back */
        free(m);
    }
}

static void applier_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct applier_job *j = job;

    (void)which;
    switch (j->err) {
    case 0:
        s->counters.batches_applied++;
        s->retry_apply_at = 0;
        s->no_space = s->retry_write_at != 0;
        raft_applied(s->raft, now, j->first + j->count - 1);
        applier_finish_requests(s, j);
        applier_look_for_removal(s, j);
        break;
    case ERR_NO_SPACE:
        if (s->retry_apply_at == 0)
            log_error("no space for the map: clients get 507 until there is room; member=%s", s->name);
        s->no_space = true;
        s->retry_apply_at = now + NO_SPACE_RETRY_MS;
        raft_applied(s->raft, now, j->first - 1);
        break;
    default:
        shared_fail(s, j->err, j->failed);
        break;
    }
    applier_drop_entries(j);
}

const struct role_ops applier_ops = {
    .name = "applier",
    .job_new = applier_job_new,
    .job_free = applier_job_free,
    .due = applier_due,
    .take = applier_take,
    .work = applier_work,
    .done = applier_done,
};
