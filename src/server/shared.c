#include "server/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/logger.h"

#define REPORT_MS 2000
#define SCRUB_MS  500

raft_index shared_config_index(const struct shared *s)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    return status.config_committed_index > s->joined ? status.config_committed_index : s->joined;
}

void shared_fail(struct shared *s, int err, const char *what)
{
    if (s->failure != 0)
        return;
    s->failure = err;
    why_set(&s->failure_why, err, "%s: %s", what, err_text(err));
    requests_give_up(s);
}

void shared_note_room(struct shared *s)
{
    s->no_space = s->retry_write_at != 0 || s->retry_apply_at != 0;
    raft_set_full(s->raft, s->full || s->no_space);
}

static struct peer *peer_slot(struct shared *s, raft_id id)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == id)
            return &s->peers[i];
    return NULL;
}

static void occupy(struct peer *p, raft_id id, bool guest)
{
    memset(p, 0, sizeof *p);
    p->id = id;
    p->guest = guest;
    p->stale_link = true; /* of whoever was here before */
}

/* A free slot, or that of a guest; NULL: sixteen other members have them all, which is so only while we are none. */
static struct peer *vacant_slot(struct shared *s)
{
    struct peer *p = peer_slot(s, 0);

    for (unsigned i = 0; i < RAFT_MEMBERS_MAX && p == NULL; i++)
        if (s->peers[i].guest)
            p = &s->peers[i];
    return p;
}

static void set_address(struct peer *p, const char *address)
{
    if (strcmp(p->address, address) == 0)
        return;
    snprintf(p->address, sizeof p->address, "%s", address);
    p->stale_link = true;
}

static void make_guests_of_the_gone(struct shared *s)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct peer *p = &s->peers[i];

        if (p->id != 0 && directory_find(&s->directory, p->id) == NULL) {
            p->guest = true;
            p->moved = false;
            p->leads = false;
        }
    }
}

static bool lives_elsewhere(const struct shared *s, const struct member *m)
{
    return strcmp(m->peer, s->peer) != 0 || strcmp(m->client, s->client) != 0 || m->profile != s->profile;
}

bool shared_must_greet(const struct shared *s)
{
    struct raft_status status;

    if (s->moved || !s->moved_lately)
        return s->moved;
    /* The one in force may still be lost, and whoever leads then knows the one before it. */
    raft_status(s->raft, &status);
    return status.config_committed_index < s->directory.latest_index;
}

void shared_assign_peers(struct shared *s)
{
    const struct member *before = members_by_id(&s->directory.previous, s->self);

    s->moved_lately = before != NULL && lives_elsewhere(s, before);
    make_guests_of_the_gone(s);
    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];
        struct peer *p = peer_slot(s, m->id);

        if (m->id == s->self) {
            s->moved = lives_elsewhere(s, m);
            continue;
        }
        if (p == NULL) {
            p = vacant_slot(s);
            CHECK(p != NULL);
            occupy(p, m->id, false);
        }
        p->guest = false;
        p->leads = false;
        if (p->moved && strcmp(p->moved_peer, m->peer) == 0 && strcmp(p->moved_client, m->client) == 0 &&
            p->moved_profile == m->profile)
            p->moved = false;
        set_address(p, p->moved ? p->moved_peer : m->peer);
    }
}

void shared_note_move(struct shared *s, struct peer *p, const struct hello *h)
{
    const struct member *m = directory_find(&s->directory, p->id);

    if (m == NULL)
        return;
    p->moved = strcmp(m->client, h->client) != 0 || strcmp(m->peer, h->peer) != 0 || m->profile != h->profile;
    memcpy(p->moved_client, h->client, sizeof p->moved_client);
    memcpy(p->moved_peer, h->peer, sizeof p->moved_peer);
    p->moved_profile = h->profile;
    set_address(p, h->peer);
}

void shared_host_guest(struct shared *s, raft_id id, const char *address)
{
    struct peer *p = peer_slot(s, id);

    if (address[0] == '\0')
        return;
    if (p == NULL) {
        p = vacant_slot(s);
        if (p == NULL)
            return;
        occupy(p, id, true);
    }
    if (!p->guest)
        return;
    set_address(p, address);
    memcpy(p->moved_peer, p->address, sizeof p->moved_peer);
}

void shared_note_leader(struct shared *s, raft_id leader, const char *address)
{
    struct peer *p = NULL;

    if (leader == 0 || leader == s->self || !shared_must_greet(s))
        return;
    shared_host_guest(s, leader, address);
    p = peer_slot(s, leader);
    if (p == NULL)
        return;
    p->leads = p->guest;
    if (!p->connected)
        set_address(p, address);
}

raft_index shared_propose(struct shared *s, raft_time now, struct entry *e, const struct members *members)
{
    enum raft_entry_type type = entry_type(e);
    struct raft_config config;
    struct raft_status status;
    raft_index index = 0;

    raft_status(s->raft, &status);
    if (!tail_has_room(&s->tail, status.durable, e->size))
        return 0;
    if (members != NULL)
        members_config(members, &config);
    index = raft_propose(s->raft, now, type, members != NULL ? &config : NULL);
    if (index == 0)
        return 0;
    entry_stamp(e, (struct raft_pos){index, status.term});
    tail_put(&s->tail, index, e);
    s->counters.proposals++;
    if (members != NULL) {
        directory_append(&s->directory, members, index);
        shared_assign_peers(s);
    }
    return index;
}

/* ---- an installed map ---- */

/* The core keeps what follows the map in the log, if it is the same log; then a configuration there stays in force. */
static void install_directory(struct shared *s, const struct kv_position *p, raft_index in_force)
{
    struct directory *d = &s->directory;

    if (in_force == p->config_index) {
        directory_init(d, &p->members, p->config_index);
    } else if (d->previous_index < p->config_index) {
        d->previous = p->members;
        d->previous_index = p->config_index;
    }
    shared_assign_peers(s);
}

void shared_installed(struct shared *s, raft_time now, const struct kv_position *p)
{
    struct raft_config config;
    struct raft_status status;

    members_config(&p->members, &config);
    raft_installed(s->raft, now, p->applied, &config, p->config_index);
    raft_status(s->raft, &status);
    CHECK(status.applied == p->applied.index); /* the applier has seen to it that ours is older */
    if (status.last == p->applied.index)
        tail_reset(&s->tail, status.last);
    install_directory(s, p, status.config_index);
    s->staged = p->applied.index;
    s->visible = p->applied.index;
    integrity_installed(s, p);
    s->restoring = p->restoring;
    requests_superseded(s, p->applied.index);
    if (p->config_index > s->joined && directory_find(&s->directory, s->self) == NULL)
        s->removed = true; /* for good: ids do not come back */
}

/* ---- a start ---- */

/* One configuration entry from disk, for the core and for the directory. */
static int restore_config(struct shared *s, struct log_store *log, raft_index index, struct why *why)
{
    struct entry *e = NULL;
    unsigned count = 0;
    struct members members;
    struct raft_config config;
    int err = log_store_read(log, index, index, UINT64_MAX, 1, &e, &count);

    if (err != 0)
        return why_set(why, err, "the log's configuration entry %llu cannot be read: %s", (unsigned long long)index,
                       err_text(err));
    err = members_decode(entry_payload(e), &members);
    entry_unref(e);
    if (err != 0)
        return why_set(why, ERR_CORRUPT, "the log's configuration entry %llu does not decode",
                       (unsigned long long)index);
    members_config(&members, &config);
    raft_restore_config(s->raft, index, &config);
    directory_append(&s->directory, &members, index);
    return 0;
}

/* The map's configuration is the newest one applied; of those in the log only the last two matter: the latest, and the
 * one before it, which is committed. */
static int restore_configs(struct shared *s, struct log_store *log, const struct log_state *state, struct why *why)
{
    unsigned first = state->config_count > 2 ? state->config_count - 2 : 0;
    raft_index wanted[2] = {0, 0};
    unsigned count = state->config_count - first;

    for (unsigned i = 0; i < count; i++)
        wanted[i] = state->configs[first + i];
    for (unsigned i = 0; i < count; i++) {
        int err = 0;

        if (wanted[i] <= s->directory.latest_index)
            continue; /* applied: the map has it */
        err = restore_config(s, log, wanted[i], why);
        if (err != 0)
            return err;
    }
    return 0;
}

static bool log_holds(const struct log_state *log, struct raft_pos pos)
{
    raft_term term = log->base.term;

    if (pos.index < log->base.index || pos.index > log->last)
        return false;
    for (unsigned i = 0; i < log->run_count && log->runs[i].index <= pos.index; i++)
        term = log->runs[i].term;
    return term == pos.term;
}

/* A map was installed, and a crash came before the log began anew behind it. Nothing was acknowledged in between but what
 * the map holds: first it must be as durable as the log's new beginning will be. */
static int begin_log_anew(struct log_store *log, struct kv_store *kv, struct raft_pos pos, struct log_state *state)
{
    struct log_write write = {.hard = state->hard,
                              .begin_anew = true,
                              .base = pos,
                              .first = pos.index + 1,
                              .last = pos.index,
                              .keep_from = pos.index + 1};
    raft_index settled = 0;
    int err = kv_store_sync(kv, &settled);

    if (err == 0)
        err = log_store_write(log, &write);
    return err == 0 ? log_store_state(log, state) : err;
}

/* What a map that is not to be trusted leaves of a start. The log, which is in no doubt, makes anew what was put aside, if it
 * goes back that far. Else there is no map, and nothing is applied, until a leader sends one; what the log has lost was applied
 * once, so it was committed. */
static int restore_doubted(struct shared *s, struct kv_store *kv, const struct log_state *log, struct kv_position *p)
{
    if (!log_holds(log, p->applied)) {
        s->integrity.empty = true;
        p->applied = log->base;
        p->hash = 0;
        return 0;
    }
    if (p->applied.index != 0)
        return 0;
    p->doubted = false;
    log_info("the map is made anew from the log: last=%llu", (unsigned long long)log->last);
    return kv_store_trust(kv);
}

/* The log must hold the entry that the map stands for; then it can go on from there. */
static int check_same_server(const struct log_state *log, struct raft_pos applied, struct why *why)
{
    unsigned long long first = log->base.index + 1, last = log->last;

    if (log_holds(log, applied))
        return 0;
    if (applied.index == 0)
        return why_set(why, ERR_CORRUPT,
                       "the map of this member (kv in its DATADIR) is gone, and its log, of entries %llu to %llu, does "
                       "not go back far enough to make it anew: bring it back, or remove this member from its cluster "
                       "and join with another DATADIR",
                       first, last);
    return why_set(why, ERR_CORRUPT,
                   "the map is at entry %llu but the log holds %llu to %llu: log and map are not of one server; "
                   "restore both, or remove DATADIR and join anew",
                   (unsigned long long)applied.index, first, last);
}

static int restore(struct shared *s, struct log_store *log, struct kv_store *kv, raft_time now, struct why *why)
{
    struct kv_position *position = xmalloc(sizeof *position);
    struct log_state state;
    struct raft_config config;
    raft_index last = 0;
    int err = kv_store_position(kv, position);

    if (err == 0)
        err = log_store_state(log, &state);
    if (err != 0) {
        why_set(why, err, "the stores cannot be read: %s", err_text(err));
        goto out;
    }
    if (position->installed && !log_holds(&state, position->applied)) {
        err = begin_log_anew(log, kv, position->applied, &state);
        if (err != 0) {
            why_set(why, err, "the log cannot begin anew behind an installed map: %s", err_text(err));
            goto out;
        }
    }
    last = state.last;
    if (position->doubted)
        err = restore_doubted(s, kv, &state, position);
    if (err != 0) {
        why_set(why, err, "what was noted of the damaged map cannot be removed: %s", err_text(err));
        goto out;
    }
    err = check_same_server(&state, position->applied, why);
    if (err != 0)
        goto out;
    members_config(&position->members, &config);
    directory_init(&s->directory, &position->members, position->config_index);
    raft_restore(s->raft, state.hard, state.base, &config, position->config_index);
    for (unsigned i = 0; i < state.run_count; i++)
        raft_restore_run(s->raft, state.runs[i]);
    err = restore_configs(s, log, &state, why);
    if (err != 0)
        goto out;
    tail_init(&s->tail, last);
    log_store_used(log, &s->log_bytes, &s->log_entries);
    s->staged = position->applied.index;
    s->visible = position->applied.index;
    s->restoring = position->restoring;
    s->last_snapshot = state.base.index;
    integrity_begin(s, position);
    shared_assign_peers(s);
    raft_start(s->raft, now, last, position->applied.index);
out:
    free(position);
    return err;
}

int shared_open(struct shared *s, const struct shared_start *start, struct log_store *log, struct kv_store *kv,
                raft_time now, struct why *why)
{
    int err = 0;

    memset(s, 0, sizeof *s);
    s->self = start->self;
    snprintf(s->name, sizeof s->name, "%s", start->name);
    snprintf(s->client, sizeof s->client, "%s", start->client);
    snprintf(s->peer, sizeof s->peer, "%s", start->peer);
    s->profile = start->profile;
    s->cluster = start->cluster;
    s->joined = start->joined;
    s->wall_ns = start->wall_ns;
    s->log_max_entries = start->log_max_entries;
    s->log_max_bytes = start->log_max_bytes;
    s->largest = start->largest;
    s->transfer_patience = 2 * start->election_ms;
    s->transfer_chunk = CHUNK_BYTES_MAX;
    s->report_ms = REPORT_MS;
    s->scrub_ms = SCRUB_MS;
    s->phase = start->cluster == 0 ? PHASE_JOINING : PHASE_SERVING;
    s->raft = raft_new(start->self, start->seed, start->election_ms, start->heartbeat_ms);
    err = restore(s, log, kv, now, why);
    if (err != 0)
        shared_close(s);
    return err;
}

void shared_close(struct shared *s)
{
    requests_give_up(s);
    if (s->tail.ring != NULL)
        tail_clear(&s->tail);
    raft_free(s->raft);
    s->raft = NULL;
}
