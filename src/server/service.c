/* service.c -- keys: writes, linearizable and stale reads, scans; and what HTTP may know of this server.
 * Membership is in service_members.c. */
#include "server/service.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "server/node.h"
#include "server/service_private.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

#define LEADERLESS_PAUSE_MS 10 /* how often a read looks whether there is a leader again */
#define SCANS_MAX           64u
#define KEY_SHOWN           64u /* bytes of a damaged one, for people */

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
    out->leader_profile = leader->profile;
    memcpy(out->leader_peer, leader->peer, sizeof out->leader_peer);
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
    if (s->phase == PHASE_DRAINING || s->phase == PHASE_INVITED || s->stopping)
        return SERVICE_STOPPING;
    if (s->phase == PHASE_JOINING)
        return SERVICE_NO_LEADER;
    raft_status(s->raft, &status);
    if (status.role != RAFT_LEADER)
        return status.leader != 0 ? SERVICE_NOT_LEADER : SERVICE_NO_LEADER;
    if (integrity_stands_still(s))
        return SERVICE_NO_LEADER; /* and not for long (timer.c) */
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
    case COMMAND_STAGED:
    case COMMAND_RESTORED:
    case COMMAND_ABANDONED:
        break; /* no outcomes of a SET or DELETE */
    }
}

enum service_code service_await_entry(struct node *n, struct request *q, raft_time until)
{
    node_await(n, q, until);
    switch (q->state) {
    case REQUEST_DONE:
        return SERVICE_OK;
    case REQUEST_LOST:
        return SERVICE_LOST;
    case REQUEST_BUSY:
        return SERVICE_BUSY;
    case REQUEST_WAITING:
    case REQUEST_UNKNOWN:
        break;
    }
    return SERVICE_UNKNOWN;
}

/* Whether there is room for a set, here, where all that is in flight comes before it, and in a quorum. Deletes need none. */
static bool has_room(const struct shared *s, const struct service_write *w, uint64_t room)
{
    uint64_t size = w->key.size + w->value.size + s->requests.gathered_bytes; /* not in the tail yet */

    if (w->op != SERVICE_SET)
        return true;
    if (!raft_quorum_has_room(s->raft))
        return false;
    /* The tail's size is more than what is in flight: as a rule that much fits, and nothing is to be counted. */
    return size + s->tail.bytes <= room || size + tail_bytes_from(&s->tail, s->visible + 1) <= room;
}

/* Proposes the entry, and begins to wait for it: OK, or why not; then nothing was proposed. */
static enum service_code begin_write(struct shared *s, const struct service_write *w, uint64_t room, struct entry *e,
                                     struct request *q)
{
    enum service_code code = service_leads(s);

    if (code != SERVICE_OK)
        return code;
    if (s->no_space || !has_room(s, w, room)) {
        if (!s->full)
            s->room_at = 0; /* the snapshotter looks, and the timer hands over where others have room */
        return SERVICE_NO_SPACE;
    }
    request_gather(s, clock_now_ms(), q, e);
    return SERVICE_OK;
}

void service_write(struct node *n, const struct service_write *w, unsigned deadline_ms, struct service_result *r)
{
    raft_time until = clock_now_ms() + deadline_ms;
    uint64_t room = kv_store_room(n->kv);
    struct entry *e = write_entry(w);
    struct shared *s = NULL;
    sem_t wake;
    struct request q = {.wake = &wake};

    service_result_init(r);
    sem_init(&wake, 0, 0);
    s = node_lock(n);
    r->code = begin_write(s, w, room, e, &q);
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
    if (r->code == SERVICE_OK)
        r->code = service_await_entry(n, &q, until);
    else
        entry_unref(e);
    if (r->code == SERVICE_OK)
        write_outcome(&q, r);
    sem_destroy(&wake);
}

/* ---- reads ---- */

/* Whether anything may be read here. */
static enum service_code check_trust(const struct shared *s, struct service_result *r)
{
    if (!integrity_stands_still(s))
        return SERVICE_OK;
    snprintf(
        r->text, sizeof r->text,
        "the map of this member is not to be trusted (%s), and a leader is to send it another one: ask another member",
        s->integrity.reason);
    return SERVICE_DOUBTED;
}

/* Begins a linearizable read: OK, NO_QUORUM where no leader is known just now, or why there will be none. */
static enum service_code begin_read(struct shared *s, struct request *q, struct service_result *r)
{
    if (s->failure != 0)
        return SERVICE_FAILED;
    if (check_trust(s, r) != SERVICE_OK)
        return SERVICE_DOUBTED;
    if (s->phase == PHASE_DRAINING || s->phase == PHASE_INVITED)
        return SERVICE_STOPPING;
    return s->phase == PHASE_SERVING && request_begin_read(s, clock_now_ms(), q) ? SERVICE_OK : SERVICE_NO_QUORUM;
}

/* The barrier before a linearizable look at the map. While there is no leader, or a round was lost with it, it tries again
 * for as long as an election usually takes. */
static void read_barrier(struct node *n, unsigned deadline_ms, struct service_result *r)
{
    raft_time until = clock_now_ms() + deadline_ms;
    raft_time patience = clock_now_ms() + 4 * n->options.election_ms;
    struct shared *s = NULL;
    sem_t wake;
    struct request q = {.wake = &wake};

    sem_init(&wake, 0, 0);
    for (;;) {
        s = node_lock(n);
        r->code = begin_read(s, &q, r);
        service_fill_stamp(s, &r->stamp);
        node_unlock(n, &s);
        if (r->code == SERVICE_OK) {
            node_await(n, &q, until);
            r->code = q.state == REQUEST_DONE ? SERVICE_OK : SERVICE_NO_QUORUM;
        }
        if (r->code != SERVICE_NO_QUORUM || clock_now_ms() >= until || clock_now_ms() >= patience)
            break;
        nanosleep(&(struct timespec){.tv_nsec = LEADERLESS_PAUSE_MS * 1000000L}, NULL);
    }
    sem_destroy(&wake);
}

/* What was written does not come back. Where another member has it, ours is replaced as a whole. */
static void damaged(struct node *n, struct view key, struct service_result *r)
{
    struct shared *s = NULL;
    struct bytes shown;

    bytes_init(&shown, 3 * KEY_SHOWN);
    text_percent_encode(&shown, view_of(key.data, key.size < KEY_SHOWN ? key.size : KEY_SHOWN));
    snprintf(r->text, sizeof r->text, "a record is damaged that was read: key=%.*s", (int)shown.size,
             (const char *)shown.data);
    bytes_clear(&shown);
    s = node_lock(n);
    integrity_doubt(s, r->text);
    node_unlock(n, &s);
}

enum service_code service_of_store(struct node *n, int err, struct view key, struct service_result *r)
{
    if (err == 0)
        return SERVICE_OK;
    if (err == ERR_NOT_FOUND)
        return SERVICE_NOT_FOUND;
    if (err == ERR_NO_RESOURCES)
        return SERVICE_BUSY;
    if (err == ERR_CORRUPT) {
        damaged(n, key, r);
        return SERVICE_DOUBTED;
    }
    snprintf(r->text, sizeof r->text, "the map cannot be read: %s", err_text(err));
    return SERVICE_FAILED;
}

/* All that a stale read asks of the node. */
static void look_stale(struct node *n, struct service_result *r)
{
    struct shared *s = node_lock(n);

    service_fill_stamp(s, &r->stamp);
    r->code = check_trust(s, r);
    node_unlock(n, &s);
}

void service_barrier(struct node *n, enum service_consistency c, unsigned deadline_ms, struct service_result *r)
{
    if (c == SERVICE_STALE)
        look_stale(n, r);
    else
        read_barrier(n, deadline_ms, r);
}

/* A view of the map that is as new as `c` asks for, and the stamp of what it shows. */
static struct kv_view *open_view(struct node *n, enum service_consistency c, unsigned deadline_ms,
                                 struct service_result *r)
{
    struct kv_view *view = NULL;

    service_result_init(r);
    service_barrier(n, c, deadline_ms, r);
    if (r->code != SERVICE_OK)
        return NULL;
    r->code = service_of_store(n, kv_view_open(n->kv, &view), view_of(NULL, 0), r);
    if (r->code == SERVICE_OK)
        r->stamp.index = kv_view_applied(view);
    return view;
}

void service_get(struct node *n, struct view key, enum service_consistency c, unsigned deadline_ms, struct bytes *value,
                 struct service_result *r)
{
    struct kv_view *view = open_view(n, c, deadline_ms, r);
    struct view found = {NULL, 0};

    bytes_reset(value);
    if (view == NULL)
        return;
    r->code = service_of_store(n, kv_view_get(view, key, &found, &r->etag), key, r);
    if (r->code == SERVICE_OK)
        bytes_append(value, found.data, found.size);
    kv_view_close(view);
}

/* ---- scans ---- */

struct service_scan {
    struct node *node;
    struct kv_view *view;
    struct bytes prefix;
    uint64_t until;
    bool ended;    /* nothing more comes */
    bool complete; /* because all was given: not for want of time, nor for an error */
    unsigned look; /* entries until the clock is read again */
    unsigned slot; /* in scans */
};

static _Atomic uint64_t scans[SCANS_MAX]; /* when each that is open began; 0: none. A scan keeps old pages from reuse */

static unsigned take_scan_slot(void)
{
    for (unsigned i = 0; i < SCANS_MAX; i++) {
        uint64_t none = 0;

        if (atomic_compare_exchange_strong(&scans[i], &none, clock_now_ms()))
            return i;
    }
    return SCANS_MAX;
}

static void count_scans(struct service_status *out)
{
    uint64_t now = clock_now_ms();

    for (unsigned i = 0; i < SCANS_MAX; i++) {
        uint64_t began = atomic_load(&scans[i]);

        if (began == 0)
            continue;
        out->scans++;
        if (began < now && now - began > out->oldest_scan_ms)
            out->oldest_scan_ms = now - began;
    }
}

void service_scan_open(struct node *n, struct view prefix, struct view after, enum service_consistency c,
                       unsigned deadline_ms, struct service_scan **out, struct service_result *r)
{
    bool from_after = after.size > 0 && view_compare(after, prefix) >= 0;
    struct service_scan *scan = NULL;
    struct kv_view *view = NULL;
    unsigned slot = take_scan_slot();
    int err = 0;

    if (slot == SCANS_MAX) {
        service_result_init(r);
        service_stamp(n, &r->stamp);
        r->code = SERVICE_BUSY;
        return;
    }
    view = open_view(n, c, deadline_ms, r);
    scan = xcalloc(1, sizeof *scan);
    scan->node = n;
    scan->view = view;
    scan->slot = slot;
    bytes_init(&scan->prefix, SERVICE_KEY_MAX);
    bytes_append(&scan->prefix, prefix.data, prefix.size);
    scan->until = clock_now_ms() + SERVICE_SCAN_MS;
    if (r->code == SERVICE_OK) {
        err = kv_view_seek(view, from_after ? after : prefix, from_after);
        r->code = err == ERR_NOT_FOUND ? SERVICE_OK : service_of_store(n, err, prefix, r);
    }
    if (r->code == SERVICE_OK)
        *out = scan;
    else
        service_scan_close(scan, NULL);
}

bool service_scan_next(struct service_scan *s, struct view *key, struct view *value, uint64_t *etag)
{
    struct service_result ignored;
    int err = 0;

    if (s->ended)
        return false;
    if (s->look++ % 64 == 0 && clock_now_ms() > s->until) {
        s->ended = true;
        return false;
    }
    err = kv_view_next(s->view, key, value, etag);
    if (err == 0 && view_starts_with(*key, bytes_view(&s->prefix)))
        return true;
    s->ended = true;
    s->complete = err == 0 || err == ERR_NOT_FOUND;
    if (err == ERR_CORRUPT)
        damaged(s->node, *key, &ignored);
    return false;
}

void service_scan_close(struct service_scan *s, bool *complete)
{
    if (s == NULL)
        return;
    if (complete != NULL)
        *complete = s->complete;
    kv_view_close(s->view);
    atomic_store(&scans[s->slot], 0);
    bytes_clear(&s->prefix);
    free(s);
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

static void copy_integrity(const struct integrity *g, struct service_status *out)
{
    out->map_hash = g->last.hash;
    out->map_index = g->last.index;
    out->map_doubted = g->doubted;
    out->map_scrubbed = g->scrubbed;
    out->map_passes = g->passes;
    out->map_damaged = g->damaged;
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
    count_scans(out);
    copy_integrity(&s->integrity, out);
    copy_counters(&s->counters, out);
    node_unlock(n, &s);
    out->keys = stats.keys;
    out->store_used = stats.bytes_used;
    out->store_file = stats.bytes_file;
    out->store_max = stats.bytes_max;
    out->uptime_ms = clock_now_ms() - n->started_ms;
    out->forming = n->options.forming;
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
    else if (s->phase == PHASE_DRAINING || s->phase == PHASE_INVITED)
        snprintf(why, size, "stopping");
    else if (s->integrity.doubted)
        snprintf(why, size, "the map is not to be trusted: %s", s->integrity.reason);
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
