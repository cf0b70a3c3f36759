#include "server/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

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
    last = state.last;
    if (position->applied.index > last || position->applied.index < state.base.index) {
        err = why_set(why, ERR_CORRUPT,
                      "the map is at entry %llu but the log holds %llu to %llu: log and map are not of one server; "
                      "restore both, or remove DATADIR and join anew",
                      (unsigned long long)position->applied.index, (unsigned long long)state.base.index + 1,
                      (unsigned long long)last);
        goto out;
    }
    members_config(&position->members, &config);
    directory_init(&s->directory, &position->members, position->config_index);
    raft_restore(s->raft, state.hard, state.base, &config, position->config_index);
    for (unsigned i = 0; i < state.run_count; i++)
        raft_restore_run(s->raft, state.runs[i]);
    err = restore_configs(s, log, &state, why);
    if (err != 0)
        goto out;
    tail_init(&s->tail, last);
    s->staged = position->applied.index;
    s->visible = position->applied.index;
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
    s->phase = start->cluster == 0 ? PHASE_JOINING : PHASE_SERVING;
    s->raft = raft_new(start->self, start->seed, start->election_ms, start->heartbeat_ms);
    err = restore(s, log, kv, now, why);
    if (err != 0)
        shared_close(s);
    return err;
}

void shared_close(struct shared *s)
{
    if (s->tail.ring != NULL)
        tail_clear(&s->tail);
    raft_free(s->raft);
    s->raft = NULL;
}
