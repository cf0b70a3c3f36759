/* applier.c -- the role that applies committed entries to the map and finishes the requests that wait for them.
 *
 * A request is answered when the map knows its result, before the map's own commit: the log holds the entry on a majority
 * of disks, and repeats what a crash takes back. So one transaction of the map takes many batches. It is committed, and
 * then seen by views, when a confirmed read waits for it, and otherwise when nothing came for IDLE_MS, or after COMMIT_MS or
 * COMMIT_ENTRIES.
 *
 * Entries that left memory are read from the log in `work`, so a member that was away catches up at disk speed. */
#include <stdlib.h>

#include "base/check.h"
#include "base/logger.h"
#include "server/mutants.h"
#include "server/role.h"
#include "server/shared.h"
#include "store/dump_file.h"

#define APPLY_ENTRIES_MAX 1024u
#define APPLY_BYTES_MAX   (4u << 20)
#define NO_SPACE_RETRY_MS 1000
#define IDLE_MS           5
#define COMMIT_MS         20
#define COMMIT_ENTRIES    8192u

enum applier_step {
    APPLIER_APPLY,
    APPLIER_COMMIT,
    APPLIER_LOAD, /* a map that came complete from a leader */
    APPLIER_DROP  /* one that came too late */
};

struct applier_job {
    struct log_store *log;
    struct kv_store *kv;
    enum applier_step step;
    bool again;             /* these were applied and answered before, but an error took the transaction back */
    raft_index first, last; /* asked for; what is done ends at first + count - 1 */
    unsigned count;
    struct entry *entries[APPLY_ENTRIES_MAX];
    struct command_result results[APPLY_ENTRIES_MAX];
    uint64_t hashes[APPLY_ENTRIES_MAX];
    const char *incoming_path;
    uint64_t cluster;
    struct kv_position position; /* of the loaded map */
    atomic_bool cancel;
    const char *failed; /* what `err` is about */
    bool of_log;        /* and it is about the log, not the map */
    int err;
};

static void *applier_job_new(const struct role_context *c, unsigned which)
{
    struct applier_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->log = c->log;
    j->kv = c->kv;
    j->incoming_path = c->incoming_path;
    atomic_init(&j->cancel, false);
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

static void applier_interrupt(void *job)
{
    struct applier_job *j = job;

    atomic_store(&j->cancel, true);
}

static bool map_has_come(const struct shared *s)
{
    return s->incoming.state == TRANSFER_COMPLETE && !s->stopping && s->failure == 0 &&
           (!s->integrity.doubted || s->integrity.noted);
}

/* When the open transaction shall be committed. */
static raft_time commit_due(const struct shared *s)
{
    if (s->staged == s->visible)
        return RAFT_NEVER;
    if (s->stopping || s->failure != 0 || map_has_come(s) || s->staged - s->visible >= COMMIT_ENTRIES)
        return 0;
    if (s->requests.read_needs > s->visible && s->requests.read_needs <= s->staged)
        return 0;
    return s->staged_last + IDLE_MS < s->staged_at + COMMIT_MS ? s->staged_last + IDLE_MS : s->staged_at + COMMIT_MS;
}

static raft_time apply_due(const struct shared *s)
{
    struct raft_status status;
    raft_time due = 0;

    if (s->failure != 0 || s->stopping) /* what is committed is in the log: a stop waits for no backlog */
        return RAFT_NEVER;
    raft_status(s->raft, &status);
    if (integrity_stands_still(s) && !map_has_come(s))
        return RAFT_NEVER;
    if (s->staged == status.applied && !map_has_come(s))
        due = raft_apply_due(s->raft);
    return due > s->retry_apply_at ? due : s->retry_apply_at;
}

static raft_time applier_due(const struct shared *s, unsigned which)
{
    raft_time commit = commit_due(s), apply = apply_due(s);

    (void)which;
    return commit < apply ? commit : apply;
}

static void applier_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct applier_job *j = job;
    struct raft_status status;
    uint64_t bytes = 0;
    unsigned wanted = 0;

    (void)which;
    if (commit_due(s) <= now) {
        j->step = APPLIER_COMMIT;
        return;
    }
    raft_status(s->raft, &status);
    if (map_has_come(s)) {
        j->step = transfer_is_news(s, &status) ? APPLIER_LOAD : APPLIER_DROP;
        j->cluster = s->cluster;
        s->incoming.state = TRANSFER_LOADING;
        return;
    }
    j->step = APPLIER_APPLY;
    j->again = s->staged < status.applied;
    if (j->again) {
        j->first = s->staged + 1;
        j->last = status.applied;
    } else {
        raft_next_apply(s->raft, &j->first, &j->last);
    }
    CHECK(j->first == s->staged + 1);
    CHECK(j->first <= j->last);
    wanted = j->last - j->first < APPLY_ENTRIES_MAX ? (unsigned)(j->last - j->first + 1) : APPLY_ENTRIES_MAX;
    if (s->retry_apply_at != 0)
        wanted = 1; /* where a batch finds no room, one delete may, and makes some */
    j->last = j->first + wanted - 1;
    j->count = tail_borrow(&s->tail, j->first, wanted, APPLY_BYTES_MAX, j->entries, &bytes);
}

static void applier_load(struct applier_job *j)
{
    j->err = kv_store_load(j->kv, j->cluster, j->incoming_path, &j->cancel);
    if (j->err == 0)
        j->err = kv_store_position(j->kv, &j->position);
    if (j->err != ERR_NO_SPACE && j->err != ERR_STOPPED)
        (void)dump_file_remove(j->incoming_path); /* the next one, or the next start, takes its place */
}

static void applier_work(void *job)
{
    struct applier_job *j = job;

    j->err = 0;
    j->failed = "the map cannot be written";
    j->of_log = false;
    switch (j->step) {
    case APPLIER_APPLY:
        break;
    case APPLIER_COMMIT:
        j->err = kv_store_commit(j->kv);
        return;
    case APPLIER_LOAD:
        applier_load(j);
        return;
    case APPLIER_DROP:
        (void)dump_file_remove(j->incoming_path);
        return;
    }
    if (j->count == 0) {
        j->err = log_store_read(j->log, j->first, j->last, APPLY_BYTES_MAX, APPLY_ENTRIES_MAX, j->entries, &j->count);
        if (j->err != 0) {
            j->failed = "a committed entry cannot be read from the log";
            j->of_log = true;
        }
    }
    if (j->err == 0)
        j->err = kv_store_apply(j->kv, j->entries, j->count, j->results, j->hashes);
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

/* Whether a restore of the map goes on: if nobody leads it any more, the leader's timer abandons it. */
static void applier_look_for_restore(struct shared *s, const struct applier_job *j)
{
    for (unsigned i = 0; i < j->count; i++) {
        if (entry_type(j->entries[i]) != RAFT_COMMAND)
            continue;
        if (j->results[i].outcome == COMMAND_STAGED)
            s->restoring = j->results[i].index;
        else if (j->results[i].outcome == COMMAND_RESTORED || j->results[i].outcome == COMMAND_ABANDONED)
            s->restoring = 0;
    }
}

static void applier_applied(struct shared *s, raft_time now, struct applier_job *j)
{
    if (s->staged == s->visible)
        s->staged_at = now;
    s->staged_last = now;
    s->staged = j->first + j->count - 1;
    integrity_applied(s, j->first, j->count, j->hashes);
    if (j->again)
        return;
    s->counters.batches_applied++;
    raft_applied(s->raft, now, s->staged);
    applier_finish_requests(s, j);
    applier_look_for_removal(s, j);
    applier_look_for_restore(s, j);
}

/* Whatever was not committed is to be applied again. */
static void applier_failed(struct shared *s, raft_time now, const struct applier_job *j)
{
    if (!BROKEN(APPLY_ON))
        s->staged = s->visible;
    if (j->step == APPLIER_APPLY && !j->again)
        raft_applied(s->raft, now, j->first - 1);
    if (j->err == ERR_CORRUPT && !j->of_log) {
        integrity_doubt(s, "a record or a page is damaged that was to be changed");
        if (integrity_stands_still(s))
            return;
    }
    if (j->err != ERR_NO_SPACE) {
        shared_fail(s, j->err, j->failed);
        return;
    }
    if (s->retry_apply_at == 0)
        log_error("no space for the map: clients get 507 until there is room; member=%s", s->name);
    s->retry_apply_at = now + NO_SPACE_RETRY_MS;
    shared_note_room(s);
}

/* Without room it is tried again; a file that is no good, another is sent for. */
static void applier_loaded(struct shared *s, raft_time now, const struct applier_job *j)
{
    s->incoming = (struct transfer_in){.state = TRANSFER_IDLE, .id = s->incoming.id, .have = s->incoming.have};
    switch (j->err) {
    case 0:
        if (j->step != APPLIER_LOAD)
            break;
        shared_installed(s, now, &j->position);
        s->retry_apply_at = 0;
        shared_note_room(s);
        break;
    case ERR_NO_SPACE:
    case ERR_STOPPED:
        s->incoming.state = TRANSFER_COMPLETE;
        break;
    case ERR_CORRUPT:
    case ERR_FORMAT:
    case ERR_INVALID:
    case ERR_NOT_FOUND:
        log_error("the map that a leader sent cannot be used, another one will come: error=\"%s\"", err_text(j->err));
        break;
    default:
        shared_fail(s, j->err, "the map that a leader sent cannot be loaded");
        break;
    }
    if (j->err != ERR_NO_SPACE)
        return;
    if (s->retry_apply_at == 0)
        log_error("no space for the map that a leader sent; member=%s", s->name);
    s->retry_apply_at = now + NO_SPACE_RETRY_MS;
    shared_note_room(s);
}

static void applier_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct applier_job *j = job;

    (void)which;
    if (j->step == APPLIER_LOAD || j->step == APPLIER_DROP) {
        applier_loaded(s, now, j);
    } else if (j->err != 0) {
        applier_failed(s, now, j);
    } else if (j->step == APPLIER_COMMIT) {
        s->visible = s->staged;
        s->retry_apply_at = 0;
        shared_note_room(s);
    } else {
        applier_applied(s, now, j);
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
    .interrupt = applier_interrupt,
};
