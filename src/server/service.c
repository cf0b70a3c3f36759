/* service.c -- keys: writes, linearizable and stale reads, scans; and what HTTP may know of this server.
 * Membership is in service_members.c. */
#include "server/service.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "server/node.h"
#include "server/service_private.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

#define LEADERLESS_PAUSE_MS 10 /* how often a read looks whether there is a leader again */
#define SCANS_MAX           64u

_Static_assert(SERVICE_KEY_MAX == COMMAND_KEY_MAX, "one limit");
_Static_assert(SERVICE_NAME_MAX == MEMBER_NAME_MAX, "one limit");
_Static_assert(SERVICE_MEMBERS_MAX == RAFT_MEMBERS_MAX, "one limit");

void service_fill_stamp(const struct shared *s, struct service_stamp *out)
{
    const struct member *leader = NULL;
    struct raft_status status;

    memset(out, 0, sizeof *out);
    raft_status(s->raft, &status);
    out->term = status.term;
    out->index = status.applied;
    memcpy(out->node, s->name, sizeof out->node);
    leader = directory_find(&s->directory, status.leader);
    if (status.leader == 0 || leader == NULL)
        return;
    memcpy(out->leader, leader->name, sizeof out->leader);
    memcpy(out->leader_client, leader->client, sizeof out->leader_client);
}

void service_stamp(struct node *n, struct service_stamp *out)
{
    struct shared *s = node_lock(n);

    service_fill_stamp(s, out);
    node_unlock(n, &s);
}

void service_result_init(struct service_result *r)
{
    memset(r, 0, sizeof *r);
}

enum service_code service_leads(const struct shared *s)
{
    struct raft_status status;

    if (s->failure != 0)
        return SERVICE_FAILED;
    if (s->phase == PHASE_DRAINING || s->stopping)
        return SERVICE_STOPPING;
    if (s->phase == PHASE_JOINING)
        return SERVICE_NO_LEADER;
    raft_status(s->raft, &status);
    if (status.role != RAFT_LEADER)
        return status.leader != 0 ? SERVICE_NOT_LEADER : SERVICE_NO_LEADER;
    return status.transferring ? SERVICE_NO_LEADER : SERVICE_OK;
}

/* ---- writes ---- */

static struct entry *write_entry(const struct service_write *w)
{
    static const enum command_condition conditions[] = {
        [SERVICE_ALWAYS] = COMMAND_ALWAYS,
        [SERVICE_IF_EXISTS] = COMMAND_IF_EXISTS,
        [SERVICE_IF_INDEX] = COMMAND_IF_INDEX,
        [SERVICE_IF_ABSENT] = COMMAND_IF_ABSENT,
        [SERVICE_IF_NOT_INDEX] = COMMAND_IF_NOT_INDEX,
    };
    struct command c = {
        .op = w->op == SERVICE_SET ? COMMAND_SET : COMMAND_DELETE,
        .condition = conditions[w->condition],
        .expected = w->expected,
        .key = w->key,
        .value = w->value,
    };

    return command_entry(&c);
}

static void write_outcome(const struct request *q, struct service_result *r)
{
    r->stamp.index = q->index;
    r->etag = q->result.index;
    switch (q->result.outcome) {
    case COMMAND_CREATED:
        r->created = true;
        break;
    case COMMAND_REPLACED:
    case COMMAND_DELETED:
        break;
    case COMMAND_ABSENT:
        r->code = SERVICE_NOT_FOUND;
        break;
    case COMMAND_FAILED_CONDITION:
        r->code = SERVICE_CONDITION_FAILED;
        break;
    }
}

enum service_code service_await_entry(struct node *n, struct shared *s, struct request *q, raft_time until)
{
    node_await(n, s, q, until);
    request_abandon(s, q);
    switch (q->state) {
    case REQUEST_DONE:
        return SERVICE_OK;
    case REQUEST_LOST:
        return SERVICE_LOST;
    case REQUEST_WAITING:
        break;
    }
    return SERVICE_UNKNOWN;
}

void service_write(struct node *n, const struct service_write *w, unsigned deadline_ms, struct service_result *r)
{
    raft_time until = clock_now_ms() + deadline_ms;
    bool room = w->op == SERVICE_DELETE || kv_store_has_room(n->kv, w->key.size + w->value.size);
    pthread_cond_t wake;
    struct request q = {.wake = &wake};
    struct entry *e = write_entry(w);
    struct shared *s = NULL;
    struct raft_status status;
    raft_index index = 0;

    service_result_init(r);
    cond_init(&wake);
    s = node_lock(n);
    r->code = service_leads(s);
    if (r->code == SERVICE_OK && (!room || s->no_space))
        r->code = SERVICE_NO_SPACE;
    if (r->code != SERVICE_OK)
        goto out;
    raft_status(s->raft, &status);
    index = shared_propose(s, clock_now_ms(), e, NULL);
    if (index == 0) {
        r->code = SERVICE_BUSY;
        goto out;
    }
    e = NULL; /* the tail's */
    request_begin_write(s, &q, index, status.term);
    r->code = service_await_entry(n, s, &q, until);
out:
    service_fill_stamp(s, &r->stamp);
    if (r->code == SERVICE_OK)
        write_outcome(&q, r);
    node_unlock(n, &s);
    pthread_cond_destroy(&wake);
    entry_unref(e);
}

/* ---- reads ---- */

/* Waits until a linearizable read may be served. While there is no leader, or a round was lost with it, it tries again for
 * as long as an election usually takes. */
static enum service_code await_read(struct node *n, struct shared *s, struct request *q, raft_time until)
{
    raft_time patience = clock_now_ms() + 4 * n->options.election_ms;

    if (patience > until)
        patience = until;
    for (;;) {
        raft_time now = clock_now_ms();

        if (s->failure != 0)
            return SERVICE_FAILED;
        if (s->phase == PHASE_DRAINING)
            return SERVICE_STOPPING;
        if (s->phase == PHASE_SERVING && request_begin_read(s, now, q)) {
            node_await(n, s, q, until);
            request_abandon(s, q);
            if (q->state == REQUEST_DONE)
                return SERVICE_OK;
        }
        now = clock_now_ms();
        if (now >= patience)
            return SERVICE_NO_QUORUM;
        node_pause(n, s, now + LEADERLESS_PAUSE_MS);
    }
}

/* The barrier before a look at the map. */
static void read_barrier(struct node *n, enum service_consistency c, unsigned deadline_ms, struct service_result *r)
{
    pthread_cond_t wake;
    struct request q = {.wake = &wake};
    struct shared *s = NULL;

    cond_init(&wake);
    s = node_lock(n);
    r->code = c == SERVICE_STALE ? SERVICE_OK : await_read(n, s, &q, clock_now_ms() + deadline_ms);
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
    pthread_cond_destroy(&wake);
}

static enum service_code code_of_store(int err, struct service_result *r)
{
    if (err == 0)
        return SERVICE_OK;
    if (err == ERR_NOT_FOUND)
        return SERVICE_NOT_FOUND;
    if (err == ERR_NO_RESOURCES)
        return SERVICE_BUSY;
    snprintf(r->text, sizeof r->text, "the map cannot be read: %s", err_text(err));
    return SERVICE_FAILED;
}

void service_get(struct node *n, struct view key, enum service_consistency c, unsigned deadline_ms, struct bytes *value,
                 struct service_result *r)
{
    struct kv_view *view = NULL;
    struct view found = {NULL, 0};
    int err = 0;

    bytes_reset(value);
    service_result_init(r);
    read_barrier(n, c, deadline_ms, r);
    if (r->code != SERVICE_OK)
        return;
    err = kv_view_open(n->kv, &view);
    if (err == 0)
        err = kv_view_get(view, key, &found, &r->etag);
    if (err == 0)
        bytes_append(value, found.data, found.size);
    r->code = code_of_store(err, r);
    kv_view_close(view);
}

/* ---- scans ---- */

struct service_scan {
    struct kv_view *view;
    struct bytes prefix;
    uint64_t until;
    bool ended;    /* by reaching the end, not by running out of time */
    unsigned look; /* entries until the clock is read again */
};

static atomic_uint scans_open;

void service_scan_open(struct node *n, struct view prefix, struct view after, enum service_consistency c,
                       unsigned deadline_ms, struct service_scan **out, struct service_result *r)
{
    struct service_scan *scan = NULL;
    bool from_after = after.size > 0 && view_compare(after, prefix) >= 0;
    int err = 0;

    service_result_init(r);
    read_barrier(n, c, deadline_ms, r);
    if (r->code != SERVICE_OK)
        return;
    if (atomic_fetch_add(&scans_open, 1) >= SCANS_MAX) {
        atomic_fetch_sub(&scans_open, 1);
        r->code = SERVICE_BUSY;
        return;
    }
    scan = xcalloc(1, sizeof *scan);
    bytes_init(&scan->prefix, SERVICE_KEY_MAX);
    bytes_append(&scan->prefix, prefix.data, prefix.size);
    scan->until = clock_now_ms() + SERVICE_SCAN_MS;
    err = kv_view_open(n->kv, &scan->view);
    if (err == 0)
        err = kv_view_seek(scan->view, from_after ? after : prefix, from_after);
    r->code = err == ERR_NOT_FOUND ? SERVICE_OK : code_of_store(err, r);
    if (r->code != SERVICE_OK) {
        service_scan_close(scan, NULL);
        return;
    }
    *out = scan;
}

bool service_scan_next(struct service_scan *s, struct view *key, struct view *value, uint64_t *etag)
{
    if (s->ended)
        return false;
    if (s->look++ % 64 == 0 && clock_now_ms() > s->until)
        return false;
    if (kv_view_next(s->view, key, value, etag) != 0 || !view_starts_with(*key, bytes_view(&s->prefix))) {
        s->ended = true;
        return false;
    }
    return true;
}

void service_scan_close(struct service_scan *s, bool *complete)
{
    if (s == NULL)
        return;
    if (complete != NULL)
        *complete = s->ended;
    kv_view_close(s->view);
    bytes_clear(&s->prefix);
    free(s);
    atomic_fetch_sub(&scans_open, 1);
}

/* ---- this server ---- */

static const char *role_text(const struct shared *s, const struct raft_status *status)
{
    const struct member *self = directory_find(&s->directory, s->self);

    if (s->phase == PHASE_JOINING || self == NULL)
        return "joining";
    switch (status->role) {
    case RAFT_LEADER:
        return "leader";
    case RAFT_PRECANDIDATE:
        return "precandidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_FOLLOWER:
        break;
    }
    return self->role == RAFT_LEARNER ? "learner" : "follower";
}

static void copy_counters(const struct counters *c, struct service_status *out)
{
    out->elections = c->elections;
    out->leader_changes = c->leader_changes;
    out->proposals = c->proposals;
    out->proposals_lost = c->proposals_lost;
    out->reads = c->reads;
    out->writes_to_disk = c->writes_to_disk;
    out->entries_written = c->entries_written;
    out->batches_applied = c->batches_applied;
    out->messages_sent = c->messages_sent;
    out->messages_received = c->messages_received;
    out->peers_refused = c->peers_refused;
}

void service_status(struct node *n, struct service_status *out)
{
    struct kv_stats stats = {0};
    struct raft_status status;
    struct shared *s = NULL;

    memset(out, 0, sizeof *out);
    (void)kv_store_stats(n->kv, &stats); /* zeros where it cannot be read */
    out->log_file = log_store_disk_size(n->log);
    s = node_lock(n);
    raft_status(s->raft, &status);
    out->version = PACKAGE_VERSION;
    out->role = role_text(s, &status);
    out->cluster = s->cluster;
    out->id = s->self;
    out->leader = status.leader;
    out->term = status.term;
    out->commit = status.commit;
    out->applied = status.applied;
    out->durable = status.durable;
    out->log_first = status.first;
    out->log_last = status.last;
    out->requests_waiting = s->requests.waiting;
    copy_counters(&s->counters, out);
    node_unlock(n, &s);
    out->keys = stats.keys;
    out->store_used = stats.bytes_used;
    out->store_file = stats.bytes_file;
    out->store_max = stats.bytes_max;
    out->uptime_ms = clock_now_ms() - n->started_ms;
}

#define READY_LAG_MAX 1000 /* committed entries that a ready member may still have to apply */

bool service_ready(struct node *n, char *why, unsigned size)
{
    struct raft_status status;
    struct shared *s = node_lock(n);
    bool ready = false;

    raft_status(s->raft, &status);
    if (s->failure != 0)
        snprintf(why, size, "%s", s->failure_why.text);
    else if (s->phase == PHASE_JOINING)
        snprintf(why, size, "not yet a member of a cluster");
    else if (s->phase == PHASE_DRAINING)
        snprintf(why, size, "stopping");
    else if (s->no_space)
        snprintf(why, size, "no space on the disk or in the map");
    else if (status.leader == 0)
        snprintf(why, size, "no leader is known");
    else if (status.commit > status.applied + READY_LAG_MAX)
        snprintf(why, size, "%llu committed entries are still to be applied",
                 (unsigned long long)(status.commit - status.applied));
    else
        ready = true;
    node_unlock(n, &s);
    return ready;
}
