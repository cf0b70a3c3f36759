/* snapshotter.c -- the role that keeps the log short, and writes the map to a file for members that need what is gone.
 *
 * It also looks whether there is room for what clients bring: a leader without it hands over (timer.c).
 *
 * The map is durable as it is, so a snapshot is not an event: the map is synced, and then the first half of a log that has
 * outgrown its limits may go. Only a peer that is too far behind makes us write a file; it goes when nobody needs it. */
#include <stdlib.h>

#include "base/check.h"
#include "base/logger.h"
#include "server/mutants.h"
#include "server/role.h"
#include "server/shared.h"
#include "store/dump_file.h"

#define COMPACT_MS    250u  /* between two compactions: each syncs the map */
#define PIN_MS        1000u /* a new dump is followed by no compaction for so long: first it must be offered */
#define LOOK_MS       1000u /* how often a dump is looked after */
#define DUMP_RETRY_MS 1000u
#define ROOM_LOOK_MS  1000u /* how often it looks whether there is room */

enum snapshotter_step {
    SNAPSHOTTER_NOTHING,
    SNAPSHOTTER_COMPACT,
    SNAPSHOTTER_DUMP,
    SNAPSHOTTER_REMOVE, /* our dump: nobody needs it any more */
    SNAPSHOTTER_DROP,   /* what we were being sent: we have caught up otherwise */
    SNAPSHOTTER_RECALL  /* what we were being sent before our start: how much of it is good */
};

struct snapshotter_job {
    struct kv_store *kv;
    const char *dump_path, *dump_fresh_path, *incoming_path;
    enum snapshotter_step step;
    uint64_t cluster;
    raft_index target, settled;
    struct dump_id id;
    uint64_t good; /* bytes */
    bool looks;    /* for room: */
    bool was_full, full;
    uint64_t largest;
    atomic_bool cancel;
    int err;
};

static void *snapshotter_job_new(const struct role_context *c, unsigned which)
{
    struct snapshotter_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->kv = c->kv;
    j->dump_path = c->dump_path;
    j->dump_fresh_path = c->dump_fresh_path;
    j->incoming_path = c->incoming_path;
    atomic_init(&j->cancel, false);
    return j;
}

static void snapshotter_job_free(void *job)
{
    free(job);
}

static void snapshotter_interrupt(void *job)
{
    struct snapshotter_job *j = job;

    atomic_store(&j->cancel, true);
}

/* ---- what there is to do ---- */

static bool somebody_needs_map(const struct shared *s)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].out.wanted)
            return !integrity_stands_still(s); /* what we doubt ourselves is not given away */
    return false;
}

/* When our file may go: it is kept a while for who was being sent it and fell silent. */
static raft_time dump_is_kept_until(const struct shared *s)
{
    raft_time until = 0;

    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].out.awaits_it > until)
            until = s->peers[i].out.awaits_it;
    return somebody_needs_map(s) ? RAFT_NEVER : until;
}

static bool dump_serves(const struct shared *s, const struct raft_status *status)
{
    return s->dump.ready && s->dump.id.pos.index >= status->base.index && s->dump.id.pos.index >= transfer_least(s);
}

/* Bytes that an entry takes on disk, on average. */
static uint64_t entry_cost(const struct shared *s)
{
    return s->log_entries == 0 ? 0 : s->log_bytes / s->log_entries;
}

static bool log_is_long(const struct shared *s, const struct raft_status *status)
{
    uint64_t kept = status->last - status->base.index;

    if (integrity_stands_still(s)) /* the map that is to come may need all of it */
        return false;
    return kept > s->log_max_entries || kept * entry_cost(s) > s->log_max_bytes;
}

/* Half of what the limits allow stays, for members that were briefly away. */
static raft_index compaction_target(const struct shared *s, const struct raft_status *status)
{
    uint64_t keep = s->log_max_entries / 2;
    uint64_t cost = entry_cost(s);

    if (cost > 0 && s->log_max_bytes / 2 / cost < keep)
        keep = s->log_max_bytes / 2 / cost;
    return status->last > keep ? status->last - keep : 0;
}

/* Of so many entries, sending them takes as long as sending the map anew. */
static uint64_t entries_worth_a_map(const struct shared *s)
{
    uint64_t cost = entry_cost(s);

    return cost == 0 ? UINT64_MAX : (s->dump.id.size + s->log_max_bytes) / cost;
}

static bool incoming_is_stale(const struct shared *s, const struct raft_status *status)
{
    return (s->incoming.state == TRANSFER_RECEIVING || s->incoming.state == TRANSFER_LEFT) && !s->incoming.writing &&
           !transfer_is_news(s, status);
}

static bool incoming_is_offered(const struct shared *s)
{
    return s->incoming.state == TRANSFER_LEFT && s->incoming.offered;
}

static raft_time snapshotter_due(const struct shared *s, unsigned which)
{
    struct raft_status status;
    raft_time due = s->room_at;
    bool needed = somebody_needs_map(s);

    (void)which;
    if (s->failure != 0 || s->stopping)
        return RAFT_NEVER;
    raft_status(s->raft, &status);
    if (incoming_is_stale(s, &status) || incoming_is_offered(s))
        return 0;
    if (s->dump.ready && dump_is_kept_until(s) < due)
        due = dump_is_kept_until(s);
    if (needed && !dump_serves(s, &status) && s->dump.retry_at < due)
        due = s->dump.retry_at;
    if (s->dump.ready && s->dump.look_at < due)
        due = s->dump.look_at;
    if (log_is_long(s, &status) && s->compact_at < due)
        due = s->compact_at;
    return due;
}

static void snapshotter_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct snapshotter_job *j = job;
    struct raft_status status;

    (void)which;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        transfer_look(s, now, &s->peers[i]);
    j->looks = s->room_at <= now;
    j->was_full = s->full;
    j->largest = s->largest;
    raft_status(s->raft, &status);
    s->dump.look_at = now + LOOK_MS;
    j->cluster = s->cluster;
    j->step = SNAPSHOTTER_NOTHING;
    if (incoming_is_stale(s, &status)) {
        s->incoming.writing = true; /* no new transfer begins while the file of the old one is removed */
        j->step = SNAPSHOTTER_DROP;
    } else if (incoming_is_offered(s)) {
        s->incoming.writing = true;
        j->step = SNAPSHOTTER_RECALL;
    } else if (s->dump.ready && dump_is_kept_until(s) <= now) {
        s->dump.ready = false;
        j->step = SNAPSHOTTER_REMOVE;
    } else if (somebody_needs_map(s) && !dump_serves(s, &status) && s->dump.retry_at <= now) {
        s->dump.ready = false;
        j->step = SNAPSHOTTER_DUMP;
    } else if (log_is_long(s, &status) && s->compact_at <= now) {
        s->compact_at = now + COMPACT_MS;
        j->target = compaction_target(s, &status);
        j->step = SNAPSHOTTER_COMPACT;
    }
}

/* ---- doing it ---- */

static void snapshotter_work(void *job)
{
    struct snapshotter_job *j = job;

    j->err = 0;
    if (j->looks)
        j->full = kv_store_is_full(j->kv, j->largest, j->was_full);
    switch (j->step) {
    case SNAPSHOTTER_NOTHING:
        break;
    case SNAPSHOTTER_COMPACT:
        if (BROKEN(COMPACT_UNSYNCED))
            j->settled = j->target;
        else
            j->err = kv_store_sync(j->kv, &j->settled);
        break;
    case SNAPSHOTTER_DUMP:
        j->err = kv_store_dump(j->kv, j->cluster, j->dump_fresh_path, j->dump_path, &j->cancel, &j->id);
        break;
    case SNAPSHOTTER_REMOVE:
        j->err = dump_file_remove(j->dump_path);
        break;
    case SNAPSHOTTER_DROP:
        j->err = dump_file_remove(j->incoming_path);
        break;
    case SNAPSHOTTER_RECALL:
        j->err = dump_file_whole(j->incoming_path, &j->cancel, &j->good);
        break;
    }
}

static void snapshotter_compacted(struct shared *s, const struct snapshotter_job *j)
{
    struct raft_status before, after;
    raft_index settled = j->settled < j->target ? j->settled : j->target;

    raft_status(s->raft, &before);
    /* The map on disk may be ahead of what the core knows: one that was installed a moment ago, and is not reported yet. */
    raft_settled(s->raft, settled < before.applied ? settled : before.applied, entries_worth_a_map(s));
    raft_status(s->raft, &after);
    if (after.base.index == before.base.index)
        return;
    log_debug("log compacted: first=%llu last=%llu", (unsigned long long)after.first, (unsigned long long)after.last);
    if (s->profile != PROFILE_RAFTEXAMPLE)
        return;
    /* What its readers know. The map that stands for the log is synced by now, and that is all that a snapshot is. */
    log_info("start snapshot [applied index: %llu | last snapshot index: %llu]", (unsigned long long)j->settled,
             (unsigned long long)s->last_snapshot);
    log_info("compacted log at index %llu", (unsigned long long)after.base.index);
    s->last_snapshot = j->settled;
}

static void snapshotter_dumped(struct shared *s, raft_time now, const struct snapshotter_job *j)
{
    switch (j->err) {
    case 0:
        s->dump.ready = true;
        s->dump.id = j->id;
        s->dump.retry_at = 0;
        s->compact_at = now + PIN_MS;
        log_info("map written to a file for members that fell behind: index=%llu bytes=%llu",
                 (unsigned long long)j->id.pos.index, (unsigned long long)j->id.size);
        break;
    case ERR_IO:
    case ERR_CORRUPT:
        shared_fail(s, j->err, "the map cannot be written to a file");
        break;
    default:
        if (j->err != ERR_STOPPED)
            log_warn("the map cannot be written to a file for members that fell behind: error=\"%s\"",
                     err_text(j->err));
        s->dump.retry_at = now + DUMP_RETRY_MS;
        break;
    }
}

static void snapshotter_looked(struct shared *s, raft_time now, const struct snapshotter_job *j)
{
    s->room_at = now + ROOM_LOOK_MS;
    if (s->full == j->full)
        return;
    s->full = j->full;
    shared_note_room(s);
    if (s->full)
        log_warn("little room is left on the disk or in the map: another member is to lead; member=%s", s->name);
    else
        log_info("there is room again on the disk and in the map: member=%s", s->name);
}

static void snapshotter_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    const struct snapshotter_job *j = job;

    (void)which;
    if (j->looks)
        snapshotter_looked(s, now, j);
    switch (j->step) {
    case SNAPSHOTTER_NOTHING:
        break;
    case SNAPSHOTTER_COMPACT:
        if (j->err == 0)
            snapshotter_compacted(s, j);
        else if (j->err != ERR_NO_RESOURCES)
            shared_fail(s, j->err, "the map cannot be synced");
        break;
    case SNAPSHOTTER_DUMP:
        snapshotter_dumped(s, now, j);
        break;
    case SNAPSHOTTER_REMOVE:
        if (j->err != 0)
            log_warn("the file of the map cannot be removed: error=\"%s\"", err_text(j->err));
        break;
    case SNAPSHOTTER_DROP:
        s->incoming = (struct transfer_in){.state = TRANSFER_IDLE};
        break;
    case SNAPSHOTTER_RECALL:
        transfer_recalled(s, j->good, j->err);
        break;
    }
}

const struct role_ops snapshotter_ops = {
    .name = "snapshotter",
    .job_new = snapshotter_job_new,
    .job_free = snapshotter_job_free,
    .due = snapshotter_due,
    .take = snapshotter_take,
    .work = snapshotter_work,
    .done = snapshotter_done,
    .interrupt = snapshotter_interrupt,
};
