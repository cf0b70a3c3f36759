/* service_members.c -- membership as HTTP asks for it: look, add, change, remove, hand over leadership, be invited.
 *
 * Every change is one configuration entry, one at a time [thesis 4.1]. A change that meets another in flight, or a leader
 * that has not committed an entry of its term yet, waits for its turn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"
#include "net/http_call.h"
#include "server/join.h"
#include "server/service_private.h"

#define TURN_PAUSE_MS 5 /* how often a change that waits for its turn looks */

/* ---- looking ---- */

static void fill_tracked(const struct shared *s, raft_time now, const struct raft_status *status,
                         struct service_member *out)
{
    struct raft_peer_status peer;

    out->last_contact_ms = -1;
    if (out->id == s->self) {
        out->tracked = true;
        out->match = status->durable;
        out->last_contact_ms = 0;
        out->active = true;
    } else if (raft_peer_status(s->raft, now, out->id, &peer)) {
        out->tracked = true;
        out->match = peer.match;
        out->active = peer.active;
        if (peer.heard != 0)
            out->last_contact_ms = (int64_t)(now - peer.heard);
    }
    if (out->tracked)
        out->lag = status->last > out->match ? status->last - out->match : 0;
}

void service_cluster(struct node *n, struct service_cluster *out)
{
    struct shared *s = node_lock(n);
    raft_time now = clock_now_ms();
    struct raft_status status;

    memset(out, 0, sizeof *out);
    raft_status(s->raft, &status);
    out->id = s->cluster;
    out->term = status.term;
    out->config_index = s->directory.latest_index;
    out->commit = status.commit;
    out->leader = status.leader;
    out->count = s->directory.latest.count;
    for (unsigned i = 0; i < out->count; i++) {
        const struct member *m = &s->directory.latest.list[i];
        struct service_member *to = &out->members[i];

        to->id = m->id;
        to->voter = m->role == RAFT_VOTER;
        to->stays_learner = m->stays_learner;
        to->role = m->id == status.leader ? "leader" : to->voter ? "follower" : "learner";
        memcpy(to->name, m->name, sizeof to->name);
        memcpy(to->client, m->client, sizeof to->client);
        memcpy(to->peer, m->peer, sizeof to->peer);
        to->profile = m->profile;
        to->created_s = m->created_s;
        fill_tracked(s, now, &status, to);
    }
    node_unlock(n, &s);
}

/* ---- changing ---- */

/* What a change makes of the configuration in force: OK and *next (equal to it: nothing to do), or a refusal with its text. */
typedef enum service_code change_plan(const struct shared *s, const void *arg, struct members *next,
                                      struct service_result *r);

static enum service_code refuse(struct service_result *r, enum service_code code, const char *text)
{
    snprintf(r->text, sizeof r->text, "%s", text);
    return code;
}

static bool same_members(const struct members *a, const struct members *b)
{
    struct bytes x, y;
    bool same = false;

    bytes_init(&x, MEMBERS_SIZE_MAX);
    bytes_init(&y, MEMBERS_SIZE_MAX);
    members_encode(a, &x);
    members_encode(b, &y);
    same = view_equal(bytes_view(&x), bytes_view(&y));
    bytes_clear(&x);
    bytes_clear(&y);
    return same;
}

/* Waits until `index` is committed and applied here; releases the lock meanwhile. */
static enum service_code await_index(struct node *n, struct shared **s, raft_index index, raft_term term,
                                     raft_time until)
{
    struct raft_status status;
    sem_t wake;
    struct request q = {.wake = &wake};
    enum service_code code = SERVICE_OK;

    raft_status((*s)->raft, &status);
    if (status.applied >= index)
        return SERVICE_OK;
    sem_init(&wake, 0, 0);
    request_begin_write(*s, &q, index, term);
    node_unlock(n, s);
    code = service_await_entry(n, &q, until);
    sem_destroy(&wake);
    *s = node_lock(n);
    return code;
}

static enum service_code propose_members(struct node *n, struct shared **s, const struct members *next, raft_time until,
                                         raft_index *index)
{
    struct raft_status status;
    struct entry *e = members_entry(next);

    raft_status((*s)->raft, &status);
    *index = shared_propose(*s, clock_now_ms(), e, next);
    if (*index == 0) {
        entry_unref(e);
        return SERVICE_BUSY;
    }
    log_info("updating configuration: command=Change index=%llu members=%u", (unsigned long long)*index, next->count);
    return await_index(n, s, *index, status.term, until);
}

static enum service_code change_turn(struct node *n, struct shared **s, const struct members *next, raft_time until,
                                     struct service_result *r, raft_index *index)
{
    struct raft_config config;

    members_config(next, &config);
    switch (raft_may_change((*s)->raft, &config)) {
    case RAFT_CHANGE_OK:
        return propose_members(n, s, next, until, index);
    case RAFT_CHANGE_NOT_LEADER:
        return SERVICE_NO_LEADER;
    case RAFT_CHANGE_TOO_FAR:
        return refuse(r, SERVICE_CONFLICT, "the cluster would be left without a voter");
    case RAFT_CHANGE_IN_FLIGHT:
    case RAFT_CHANGE_TOO_EARLY:
        break;
    }
    return SERVICE_BUSY;
}

/* Plans and proposes until it is this change's turn. *index: the entry that made it so, or the configuration in force. */
static void change_members(struct node *n, change_plan *plan, const void *arg, raft_time until,
                           struct service_result *r, raft_index *index)
{
    struct members *next = xmalloc(sizeof *next);
    struct shared *s = node_lock(n);

    for (;;) {
        r->code = service_leads(s);
        if (r->code != SERVICE_OK)
            break;
        *next = s->directory.latest;
        r->code = plan(s, arg, next, r);
        if (r->code != SERVICE_OK)
            break;
        if (same_members(next, &s->directory.latest)) {
            *index = s->directory.latest_index;
            r->code = await_index(n, &s, *index, raft_term_at(s->raft, *index), until);
            break;
        }
        r->code = change_turn(n, &s, next, until, r, index);
        if (r->code != SERVICE_BUSY || clock_now_ms() >= until)
            break;
        node_pause(n, s, clock_now_ms() + TURN_PAUSE_MS);
    }
    service_fill_stamp(s, &r->stamp);
    if (r->code == SERVICE_OK)
        r->stamp.index = *index;
    node_unlock(n, &s);
    free(next);
}

/* ---- add ---- */

static bool address_taken(struct members *m, raft_id id, const char *peer, const char *client, struct member **by)
{
    for (unsigned i = 0; i < m->count; i++) {
        *by = &m->list[i];
        if ((*by)->id != id &&
            (strcmp((*by)->peer, peer) == 0 || (client[0] != '\0' && strcmp((*by)->client, client) == 0)))
            return true;
    }
    return false;
}

/* Added, but no server has come to be it. */
static bool is_expected(const struct member *m)
{
    return m->client[0] == '\0';
}

static enum service_code plan_add(const struct shared *s, const void *arg, struct members *next,
                                  struct service_result *r)
{
    const struct service_member_change *c = arg;
    struct member *m = members_by_name(next, c->name);
    struct member *taken = NULL;

    (void)s;
    r->created = false;
    if (m != NULL && is_expected(m)) {
        m->id = c->id; /* no voter, so nothing is lost with an id behind which nobody ever was */
        r->created = true;
    }
    if (m != NULL && m->id != c->id) {
        snprintf(r->text, sizeof r->text,
                 "the name %s belongs to member %llu; choose another with -name, or, if that one is gone for good: "
                 "DELETE /cluster/members/%s",
                 c->name, (unsigned long long)m->id, c->name);
        return SERVICE_CONFLICT;
    }
    if (address_taken(next, c->id, c->peer, c->client, &taken)) {
        snprintf(r->text, sizeof r->text,
                 "the address %s belongs to member %s; if that one is gone for good: DELETE /cluster/members/%s",
                 c->client, taken->name, taken->name);
        return SERVICE_CONFLICT;
    }
    m = members_by_id(next, c->id);
    if (m == NULL && c->waits) {
        snprintf(r->text, sizeof r->text, "member %s has not been added to this cluster yet", c->name);
        return SERVICE_NOT_FOUND;
    }
    if (m == NULL) {
        r->created = true;
        if (next->count == RAFT_MEMBERS_MAX)
            return refuse(r, SERVICE_CONFLICT, "the cluster has 16 members, which is the limit");
        m = &next->list[next->count++];
        memset(m, 0, sizeof *m);
        m->id = c->id;
        m->created_s = clock_wall_s();
        m->role = RAFT_LEARNER; /* it gets its vote when it has caught up [thesis 4.2.1] */
        m->stays_learner = c->role == SERVICE_ROLE_LEARNER;
    }
    memcpy(m->name, c->name, sizeof m->name);
    memcpy(m->client, c->client, sizeof m->client);
    memcpy(m->peer, c->peer, sizeof m->peer);
    m->profile = c->profile;
    return SERVICE_OK;
}

static bool valid_address(const char *text)
{
    struct address a;

    return address_parse(text, &a) == 0;
}

static enum service_code check_add(const struct service_member_change *c, struct service_result *r)
{
    if (c->id >= (uint64_t)1 << 53)
        return refuse(r, SERVICE_INVALID, "\"id\" must be below 2^53");
    if (c->id == 0 && c->client[0] == '\0' && valid_address(c->peer))
        return SERVICE_OK;
    if (!valid_address(c->client))
        return refuse(r, SERVICE_INVALID, "\"client\" must be HOST:PORT");
    if (c->id == 0)
        return SERVICE_OK; /* the rest is asked of the server itself */
    if (!member_name_valid(c->name))
        return refuse(r, SERVICE_INVALID, "\"name\" must be 1 to 63 letters, digits, \"-\", \"_\" and \".\"");
    if (!valid_address(c->peer))
        return refuse(r, SERVICE_INVALID, "\"peer\" must be HOST:PORT");
    return SERVICE_OK;
}

/* The server that was invited joins by itself, through us or another member: wait until it is one. */
static enum service_code await_member(struct node *n, raft_id id, raft_time until, struct service_membership *out,
                                      struct service_result *r)
{
    struct shared *s = node_lock(n);
    const struct member *m = NULL;
    enum service_code code = SERVICE_UNKNOWN;

    while (clock_now_ms() < until) {
        m = directory_find(&s->directory, id);
        if (m != NULL) {
            memcpy(out->name, m->name, sizeof out->name);
            out->index = s->directory.latest_index;
            out->cluster = s->cluster;
            out->id = id;
            code = await_index(n, &s, out->index, raft_term_at(s->raft, out->index), until);
            break;
        }
        node_pause(n, s, clock_now_ms() + TURN_PAUSE_MS);
    }
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
    return code;
}

static void invite(struct node *n, const struct service_member_change *c, raft_time until,
                   struct service_membership *out, struct service_result *r)
{
    struct join_invitation invitation = {0};
    struct shared *s = node_lock(n);
    raft_time now = clock_now_ms();
    struct why why = {""};
    int err = 0;

    r->code = service_leads(s);
    invitation.cluster = s->cluster;
    memcpy(invitation.leader, s->profile == PROFILE_RAFTD ? s->client : s->peer, sizeof invitation.leader);
    if (c->client[0] == '\0')
        memcpy(invitation.name, c->name, sizeof invitation.name);
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
    if (r->code != SERVICE_OK)
        return;
    err = join_invite(c->client[0] != '\0' ? c->client : c->peer, &invitation, until > now ? (int)(until - now) : 0,
                      &why);
    if (err != 0) {
        r->code = SERVICE_CONFLICT; /* it refuses or cannot be reached: nothing that this server could mend */
        snprintf(r->text, sizeof r->text, "%.200s", why.text);
        return;
    }
    r->created = true;
    r->code = await_member(n, invitation.id, until, out, r);
}

void service_member_add(struct node *n, const struct service_member_change *c, unsigned deadline_ms,
                        struct service_membership *out, struct service_result *r)
{
    raft_time until = clock_now_ms() + deadline_ms;
    struct shared *s = NULL;

    service_result_init(r);
    memset(out, 0, sizeof *out);
    r->code = check_add(c, r);
    if (r->code != SERVICE_OK) {
        service_stamp(n, &r->stamp);
        return;
    }
    if (c->id == 0) {
        invite(n, c, until, out, r);
        return;
    }
    change_members(n, plan_add, c, until, r, &out->index);
    if (r->code != SERVICE_OK)
        return;
    s = node_lock(n);
    out->cluster = s->cluster;
    node_unlock(n, &s);
    out->id = c->id;
    memcpy(out->name, c->name, sizeof out->name);
}

/* ---- expect ---- */

struct expectation {
    raft_id id; /* nobody's; a place in the configuration must have one */
    const char *name, *peer;
};

static enum service_code plan_expect(const struct shared *s, const void *arg, struct members *next,
                                     struct service_result *r)
{
    const struct expectation *e = arg;
    struct member *m = members_by_name(next, e->name);
    struct member *taken = NULL;

    (void)s;
    if (address_taken(next, m != NULL ? m->id : 0, e->peer, "", &taken)) {
        snprintf(r->text, sizeof r->text, "the address %s belongs to member %s", e->peer, taken->name);
        return SERVICE_CONFLICT;
    }
    if (m != NULL && !is_expected(m) && strcmp(m->peer, e->peer) != 0) {
        snprintf(r->text, sizeof r->text, "member %s is there, at %s; remove it first", e->name, m->peer);
        return SERVICE_CONFLICT;
    }
    r->created = m == NULL;
    if (m == NULL) {
        if (next->count == RAFT_MEMBERS_MAX)
            return refuse(r, SERVICE_CONFLICT, "the cluster has 16 members, which is the limit");
        m = &next->list[next->count++];
        memset(m, 0, sizeof *m);
        m->id = e->id;
        m->role = RAFT_LEARNER;
        m->created_s = clock_wall_s();
        snprintf(m->name, sizeof m->name, "%s", e->name);
    }
    snprintf(m->peer, sizeof m->peer, "%s", e->peer);
    return SERVICE_OK;
}

void service_member_expect(struct node *n, const char *name, const char *peer, unsigned deadline_ms,
                           struct service_result *r)
{
    struct expectation e = {.id = (clock_random() >> 11) | 1, .name = name, .peer = peer};
    raft_index index = 0;

    service_result_init(r);
    if (!member_name_valid(name) || !valid_address(peer)) {
        service_stamp(n, &r->stamp);
        r->code = refuse(r, SERVICE_INVALID, "a member has a name and an address HOST:PORT");
        return;
    }
    change_members(n, plan_expect, &e, clock_now_ms() + deadline_ms, r, &index);
}

/* ---- update, remove, transfer ---- */

struct named_change {
    const char *name_or_id;
    const struct service_member_change *change;
};

static struct member *find_named(const struct shared *s, const char *name_or_id, struct members *next,
                                 struct service_result *r)
{
    const struct member *m = directory_find_name(&s->directory, name_or_id);

    if (m == NULL) {
        snprintf(r->text, sizeof r->text, "no member has this name or id");
        return NULL;
    }
    return members_by_id(next, m->id);
}

static unsigned count_voters(const struct members *m)
{
    unsigned voters = 0;

    for (unsigned i = 0; i < m->count; i++)
        voters += m->list[i].role == RAFT_VOTER;
    return voters;
}

static enum service_code plan_update(const struct shared *s, const void *arg, struct members *next,
                                     struct service_result *r)
{
    const struct named_change *u = arg;
    const struct service_member_change *c = u->change;
    struct member *m = find_named(s, u->name_or_id, next, r);
    struct member *taken = NULL;

    if (m == NULL)
        return SERVICE_NOT_FOUND;
    if (c->role == SERVICE_ROLE_VOTER && m->role == RAFT_LEARNER && !raft_caught_up(s->raft, m->id))
        return refuse(r, SERVICE_CONFLICT, "the learner has not caught up yet; try again when its lag is small");
    if (c->role == SERVICE_ROLE_LEARNER && m->role == RAFT_VOTER && count_voters(next) == 1)
        return refuse(r, SERVICE_CONFLICT, "it is the only voter");
    if (c->role != SERVICE_ROLE_UNCHANGED) {
        m->role = c->role == SERVICE_ROLE_VOTER ? RAFT_VOTER : RAFT_LEARNER;
        m->stays_learner = c->role == SERVICE_ROLE_LEARNER;
    }
    if (c->client[0] != '\0')
        memcpy(m->client, c->client, sizeof m->client);
    if (c->peer[0] != '\0')
        memcpy(m->peer, c->peer, sizeof m->peer);
    if (address_taken(next, m->id, m->peer, m->client, &taken)) {
        snprintf(r->text, sizeof r->text, "this address belongs to member %s", taken->name);
        return SERVICE_CONFLICT;
    }
    return SERVICE_OK;
}

void service_member_update(struct node *n, const char *name_or_id, const struct service_member_change *c,
                           unsigned deadline_ms, struct service_result *r)
{
    struct named_change u = {.name_or_id = name_or_id, .change = c};
    raft_index index = 0;

    service_result_init(r);
    if ((c->client[0] != '\0' && !valid_address(c->client)) || (c->peer[0] != '\0' && !valid_address(c->peer))) {
        service_stamp(n, &r->stamp);
        r->code = refuse(r, SERVICE_INVALID, "\"client\" and \"peer\" must be HOST:PORT");
        return;
    }
    change_members(n, plan_update, &u, clock_now_ms() + deadline_ms, r, &index);
}

static enum service_code plan_remove(const struct shared *s, const void *arg, struct members *next,
                                     struct service_result *r)
{
    struct member *m = find_named(s, arg, next, r);
    unsigned at = 0;

    if (m == NULL)
        return SERVICE_NOT_FOUND;
    if (m->role == RAFT_VOTER && count_voters(next) == 1)
        return refuse(r, SERVICE_CONFLICT,
                      "it is the only voter: the cluster would end with it; stop the server instead");
    at = (unsigned)(m - next->list);
    memmove(m, m + 1, (next->count - at - 1) * sizeof *m);
    next->count--;
    return SERVICE_OK;
}

void service_member_remove(struct node *n, const char *name_or_id, unsigned deadline_ms, struct service_result *r)
{
    raft_index index = 0;

    service_result_init(r);
    change_members(n, plan_remove, name_or_id, clock_now_ms() + deadline_ms, r, &index);
}

static enum service_code begin_transfer(struct shared *s, const char *name_or_id, struct service_result *r)
{
    const struct member *m = directory_find_name(&s->directory, name_or_id);
    raft_id to = 0;

    if (name_or_id[0] != '\0') {
        if (m == NULL)
            return refuse(r, SERVICE_NOT_FOUND, "no member has this name or id");
        if (m->role != RAFT_VOTER)
            return refuse(r, SERVICE_CONFLICT, "it is a learner: only a voter can lead");
        to = m->id;
    }
    if (to == s->self)
        return SERVICE_OK;
    if (count_voters(&s->directory.latest) == 1)
        return refuse(r, SERVICE_CONFLICT, "there is no other voter");
    raft_transfer(s->raft, clock_now_ms(), to);
    return SERVICE_UNKNOWN; /* until another one leads */
}

void service_transfer(struct node *n, const char *name_or_id, unsigned deadline_ms, struct service_result *r)
{
    struct shared *s = node_lock(n);
    raft_time until = clock_now_ms() + deadline_ms;
    struct raft_status status;

    service_result_init(r);
    r->code = service_leads(s);
    if (r->code == SERVICE_OK)
        r->code = begin_transfer(s, name_or_id, r);
    while (r->code == SERVICE_UNKNOWN && clock_now_ms() < until) {
        node_pause(n, s, clock_now_ms() + TURN_PAUSE_MS);
        raft_status(s->raft, &status);
        if (status.role != RAFT_LEADER && status.leader != 0)
            r->code = SERVICE_OK;
        else if (status.role == RAFT_LEADER && !status.transferring)
            r->code = refuse(r, SERVICE_CONFLICT, "the other member did not take over in time; this one still leads");
    }
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
}

/* ---- being invited ---- */

/* Nobody else's member (its first entry made it one), nothing under way. From then on this server takes no writes, so that
 * none can be lost. */
static bool close_doors_if_alone(struct shared *s, uint64_t cluster)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    if (s->phase != PHASE_SERVING || s->cluster == cluster || s->joined != 1 || s->directory.latest.count != 1 ||
        s->requests.waiting > 0 || status.applied != status.last)
        return false;
    s->phase = PHASE_INVITED;
    return true;
}

static void accept_invitation(struct node *n, struct shared *s, uint64_t cluster, const char *leader,
                              struct service_membership *self)
{
    snprintf(n->invitation, sizeof n->invitation, "%s", leader);
    self->cluster = cluster;
    self->id = s->self;
    memcpy(self->name, s->name, sizeof self->name);
    log_info("invited to join: cluster=%llu leader=%s", (unsigned long long)cluster, leader);
}

void service_invited(struct node *n, uint64_t cluster, const char *leader, struct service_membership *self,
                     struct service_result *r)
{
    struct shared *s = node_lock(n);
    bool closed = valid_address(leader) && close_doors_if_alone(s, cluster), pristine = false;

    service_result_init(r);
    memset(self, 0, sizeof *self);
    node_unlock(n, &s);
    pristine = closed && !kv_store_has_client_data(n->kv);
    s = node_lock(n);
    if (pristine && s->phase == PHASE_INVITED) /* and not stopping meanwhile */
        accept_invitation(n, s, cluster, leader, self);
    else
        r->code =
            refuse(r, SERVICE_CONFLICT,
                   "this server holds data or has other members, so it joins no other cluster: start one with a new "
                   "DATADIR and -join");
    if (closed && !pristine && s->phase == PHASE_INVITED)
        s->phase = PHASE_SERVING;
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
}
