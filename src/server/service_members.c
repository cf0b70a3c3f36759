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
#include "server/change.h"
#include "server/event.h"
#include "server/join.h"
#include "server/service_private.h"

#define TURN_PAUSE_MS 5   /* how often a change that waits for its turn looks */
#define SETTLE_MS     500 /* how long an invitation waits for what is under way */

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

_Static_assert(SERVICE_MEMBERS_MAX == MEMBERS_GONE_MAX, "the gone have room");

static void fill_map(const struct shared *s, struct service_member *out)
{
    raft_index index = 0;

    switch (integrity_of(s, out->id, &index)) {
    case INTEGRITY_UNKNOWN:
        out->map = SERVICE_MAP_UNKNOWN;
        break;
    case INTEGRITY_AGREES:
        out->map = SERVICE_MAP_AGREES;
        break;
    case INTEGRITY_DIFFERS:
        out->map = SERVICE_MAP_DIFFERS;
        break;
    }
    out->map_index = index;
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
        to->replaces = m->replaces;
        to->role = m->id == status.leader ? "leader" : to->voter ? "follower" : "learner";
        memcpy(to->name, m->name, sizeof to->name);
        memcpy(to->client, m->client, sizeof to->client);
        memcpy(to->peer, m->peer, sizeof to->peer);
        to->profile = m->profile;
        to->created_ns = m->created_ns;
        fill_tracked(s, now, &status, to);
        fill_map(s, to);
    }
    out->gone_count = s->directory.latest.gone_count;
    for (unsigned i = 0; i < out->gone_count; i++) {
        const struct member_gone *g = &s->directory.latest.gone[i];

        out->gone[i].id = g->id;
        out->gone[i].removed_ns = g->removed_ns;
        memcpy(out->gone[i].peer, g->peer, sizeof out->gone[i].peer);
    }
    node_unlock(n, &s);
}

/* ---- changing ---- */

static enum service_code refuse(struct service_result *r, enum service_code code, const char *text)
{
    snprintf(r->text, sizeof r->text, "%s", text);
    return code;
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
    event_log_change(&(*s)->directory.previous, next, *index);
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

/* ---- leadership ---- */

static enum service_code begin_transfer(struct shared *s, const char *name_or_id, struct service_result *r)
{
    const struct member *m = directory_find_name(&s->directory, name_or_id);
    bool others = false;
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
    for (unsigned i = 0; i < s->directory.latest.count; i++)
        others |= s->directory.latest.list[i].role == RAFT_VOTER && s->directory.latest.list[i].id != s->self;
    if (!others)
        return refuse(r, SERVICE_CONFLICT, "there is no other voter");
    raft_transfer(s->raft, clock_now_ms(), to);
    return SERVICE_UNKNOWN; /* until another one leads */
}

/* Hands leadership over and waits until somebody else has it; releases the lock meanwhile. */
static enum service_code transfer(struct node *n, struct shared *s, const char *name_or_id, raft_time until,
                                  struct service_result *r)
{
    struct raft_status status;
    enum service_code code = begin_transfer(s, name_or_id, r);

    while (code == SERVICE_UNKNOWN && s->phase != PHASE_DRAINING && s->failure == 0 && clock_now_ms() < until) {
        node_pause(n, s, clock_now_ms() + TURN_PAUSE_MS);
        raft_status(s->raft, &status);
        if (status.role != RAFT_LEADER && status.leader != 0)
            code = SERVICE_OK;
        else if (status.role == RAFT_LEADER && !status.transferring)
            code = refuse(r, SERVICE_CONFLICT, "the other member did not take over in time; this one still leads");
    }
    return code;
}

void service_transfer(struct node *n, const char *name_or_id, unsigned deadline_ms, struct service_result *r)
{
    struct shared *s = node_lock(n);

    service_result_init(r);
    r->code = service_leads(s);
    if (r->code == SERVICE_OK)
        r->code = transfer(n, s, name_or_id, clock_now_ms() + deadline_ms, r);
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
}

/* ---- changing ---- */

/* What a round of change_round came to. */
enum turn { TURN_OVER, TURN_AGAIN, TURN_ELSEWHERE };

/* Plans the change, and makes it if it may be made now: r->code. TURN_ELSEWHERE: it would take our own vote, so another
 * member leads now and shall make it. A forced one is made here if nobody takes over. */
static enum turn change_round(struct node *n, struct shared **s, const struct change *c, struct members *next,
                              raft_time until, struct service_result *r, raft_index *index)
{
    r->code = service_leads(*s);
    if (r->code != SERVICE_OK)
        return TURN_OVER;
    *next = (*s)->directory.latest;
    r->code = change_plan(*s, c, next, r);
    if (r->code == SERVICE_OK)
        r->code = change_judge(*s, clock_now_ms(), c, next, r);
    if (r->code == SERVICE_BUSY)
        return TURN_AGAIN;
    if (r->code != SERVICE_OK || c->asked->dry_run)
        return TURN_OVER;
    if (!r->outlook.changes) {
        *index = (*s)->directory.latest_index;
        r->code = await_index(n, s, *index, raft_term_at((*s)->raft, *index), until);
        return TURN_OVER;
    }
    if (change_deposes_us(*s, next)) {
        r->code = transfer(n, *s, "", until, r);
        if (r->code == SERVICE_OK)
            return TURN_ELSEWHERE;
        if (r->code != SERVICE_CONFLICT || !c->asked->force || service_leads(*s) != SERVICE_OK)
            return TURN_OVER;
    }
    r->code = change_turn(n, s, next, until, r, index);
    return r->code == SERVICE_BUSY ? TURN_AGAIN : TURN_OVER;
}

/* Asks the member that leads now, whom r->stamp names, to do to us what we, leading, would not. */
static void change_elsewhere(const struct change *c, raft_id self, raft_time until, struct service_result *r)
{
    struct join_change change = {
        .leader = r->stamp.leader_peer, /* whatever it speaks to clients */
        .member = self,
        .remove = c->kind == CHANGE_REMOVE,
        .client = c->asked->client,
        .peer = c->asked->peer,
        .force = c->asked->force,
    };
    raft_time now = clock_now_ms();
    struct why why = {""};
    int status = 0, err = join_change(&change, until > now ? (int)(until - now) : 0, &status, &why);

    if (err == 0 && status < 300)
        return;
    r->code = status == 409 ? SERVICE_CONFLICT : status == 503 ? SERVICE_NO_LEADER : SERVICE_UNKNOWN;
    snprintf(r->text, sizeof r->text, "%.390s", why.text);
    log_warn("change of members handed on, but not done: leader=%s error=\"%s\"", change.leader, why.text);
}

/* Plans and proposes until it is this change's turn. *index: the entry that made it so, or the configuration in force. */
static void change_members(struct node *n, const struct change *c, raft_time until, struct service_result *r,
                           raft_index *index)
{
    struct members *next = xmalloc(sizeof *next);
    struct shared *s = node_lock(n);
    raft_id self = s->self;
    enum turn turn = TURN_AGAIN;
    struct change change = *c;

    change.patience = clock_now_ms() + n->options.election_ms;
    for (;;) {
        turn = change_round(n, &s, &change, next, until, r, index);
        if (turn != TURN_AGAIN || clock_now_ms() >= until)
            break;
        node_pause(n, s, clock_now_ms() + TURN_PAUSE_MS);
    }
    service_fill_stamp(s, &r->stamp);
    if (turn == TURN_OVER && r->code == SERVICE_OK && !c->asked->dry_run)
        r->stamp.index = *index;
    node_unlock(n, &s);
    free(next);
    if (turn == TURN_ELSEWHERE)
        change_elsewhere(c, self, until, r);
}

/* ---- add ---- */

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

    while (s->phase != PHASE_DRAINING && s->failure == 0 && clock_now_ms() < until) {
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

/* Who is a member at that address, and lives, needs no invitation: the change is about that one. */
static bool recognise(const struct shared *s, struct service_member_change *c)
{
    struct raft_peer_status peer;

    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];

        if (c->client[0] != '\0' ? strcmp(m->client, c->client) != 0 : strcmp(m->peer, c->peer) != 0)
            continue;
        if (m->id != s->self && (!raft_peer_status(s->raft, clock_now_ms(), m->id, &peer) || !peer.active))
            continue;
        c->id = m->id;
        memcpy(c->name, m->name, sizeof c->name);
        memcpy(c->client, m->client, sizeof c->client);
        memcpy(c->peer, m->peer, sizeof c->peer);
        c->profile = m->profile;
        return true;
    }
    return false;
}

/* Whether the server at c->client may be invited, and with which words: r->code. */
static void prepare_invitation(struct node *n, struct service_member_change *c, struct join_invitation *out,
                               struct service_result *r)
{
    const struct change change = {.kind = CHANGE_ADD, .asked = c};
    struct members *next = xmalloc(sizeof *next);
    struct shared *s = node_lock(n);
    const struct member *old = NULL;

    r->code = service_leads(s);
    if (r->code == SERVICE_OK && !recognise(s, c)) {
        *next = s->directory.latest;
        r->code = change_plan(s, &change, next, r);
        if (r->code == SERVICE_OK)
            r->code = change_judge(s, clock_now_ms(), &change, next, r);
    }
    old = c->replaces[0] != '\0' ? directory_find_name(&s->directory, c->replaces) : NULL;
    out->cluster = s->cluster;
    out->learner = c->role == SERVICE_ROLE_LEARNER;
    out->replaces = old != NULL ? old->id : 0;
    memcpy(out->leader, s->profile == PROFILE_RAFTD ? s->client : s->peer, sizeof out->leader);
    if (c->client[0] == '\0')
        memcpy(out->name, c->name, sizeof out->name);
    service_fill_stamp(s, &r->stamp);
    node_unlock(n, &s);
    free(next);
}

static void invite(struct node *n, const char *address, struct join_invitation *invitation, raft_time until,
                   struct service_membership *out, struct service_result *r)
{
    raft_time now = clock_now_ms();
    struct why why = {""};

    if (join_invite(address, invitation, until > now ? (int)(until - now) : 0, &why) != 0) {
        r->code = SERVICE_CONFLICT; /* it refuses or cannot be reached: nothing that this server could mend */
        r->created = false;
        snprintf(r->text, sizeof r->text, "%.390s", why.text);
        return;
    }
    r->created = true;
    r->code = await_member(n, invitation->id, until, out, r);
}

/* A change that names a member by its id. */
static void add_known(struct node *n, const struct service_member_change *c, raft_time until,
                      struct service_membership *out, struct service_result *r)
{
    const struct change change = {.kind = CHANGE_ADD, .asked = c};
    struct shared *s = NULL;

    change_members(n, &change, until, r, &out->index);
    if (r->code != SERVICE_OK)
        return;
    s = node_lock(n);
    out->cluster = s->cluster;
    node_unlock(n, &s);
    out->id = c->id;
    memcpy(out->name, c->name, sizeof out->name);
}

void service_member_add(struct node *n, const struct service_member_change *c, unsigned deadline_ms,
                        struct service_membership *out, struct service_result *r)
{
    raft_time until = clock_now_ms() + deadline_ms;
    struct service_member_change asked = *c;
    struct join_invitation invitation = {0};

    service_result_init(r);
    memset(out, 0, sizeof *out);
    r->code = check_add(c, r);
    if (r->code != SERVICE_OK) {
        service_stamp(n, &r->stamp);
        return;
    }
    if (asked.id == 0)
        prepare_invitation(n, &asked, &invitation, r);
    if (r->code != SERVICE_OK || (asked.id == 0 && asked.dry_run))
        return;
    if (asked.id == 0)
        invite(n, asked.client[0] != '\0' ? asked.client : asked.peer, &invitation, until, out, r);
    else
        add_known(n, &asked, until, out, r);
}

void service_member_expect(struct node *n, const char *name, const char *peer, unsigned deadline_ms,
                           struct service_result *r)
{
    /* The id is nobody's; a place in the configuration must have one. */
    struct service_member_change asked = {.id = (clock_random() >> 11) | 1};
    const struct change change = {.kind = CHANGE_EXPECT, .asked = &asked};
    raft_index index = 0;

    service_result_init(r);
    if (!member_name_valid(name) || !valid_address(peer)) {
        service_stamp(n, &r->stamp);
        r->code = refuse(r, SERVICE_INVALID, "a member has a name and an address HOST:PORT");
        return;
    }
    snprintf(asked.name, sizeof asked.name, "%s", name);
    snprintf(asked.peer, sizeof asked.peer, "%s", peer);
    change_members(n, &change, clock_now_ms() + deadline_ms, r, &index);
}

/* ---- update, remove ---- */

void service_member_update(struct node *n, const char *name_or_id, const struct service_member_change *c,
                           unsigned deadline_ms, struct service_result *r)
{
    const struct change change = {.kind = CHANGE_UPDATE, .name_or_id = name_or_id, .asked = c};
    raft_index index = 0;

    service_result_init(r);
    if ((c->client[0] != '\0' && !valid_address(c->client)) || (c->peer[0] != '\0' && !valid_address(c->peer))) {
        service_stamp(n, &r->stamp);
        r->code = refuse(r, SERVICE_INVALID, "\"client\" and \"peer\" must be HOST:PORT");
        return;
    }
    change_members(n, &change, clock_now_ms() + deadline_ms, r, &index);
}

void service_member_remove(struct node *n, const char *name_or_id, const struct service_member_change *how,
                           unsigned deadline_ms, struct service_result *r)
{
    const struct change change = {.kind = CHANGE_REMOVE, .name_or_id = name_or_id, .asked = how};
    raft_index index = 0;

    service_result_init(r);
    change_members(n, &change, clock_now_ms() + deadline_ms, r, &index);
}

/* ---- being invited ---- */

/* Nobody else's member: its first entry made it one, and it is alone. */
static bool is_alone(const struct shared *s, uint64_t cluster)
{
    return s->phase == PHASE_SERVING && s->cluster != cluster && s->joined == 1 && s->directory.latest.count == 1;
}

/* Nothing is under way, and a view of the map shows all that the log has. */
static bool is_settled(const struct shared *s)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    return s->requests.waiting == 0 && s->visible == status.last;
}

/* Afterwards this server takes no writes, so that none can be lost; and whoever looks at the map sees those there were. */
static bool close_doors_if_alone(struct node *n, struct shared *s, uint64_t cluster)
{
    raft_time until = clock_now_ms() + SETTLE_MS;

    while (is_alone(s, cluster) && !is_settled(s) && clock_now_ms() < until)
        node_pause(n, s, clock_now_ms() + TURN_PAUSE_MS);
    if (!is_alone(s, cluster) || !is_settled(s))
        return false;
    s->phase = PHASE_INVITED;
    return true;
}

static void accept_invitation(struct node *n, struct shared *s, const struct service_invitation *i,
                              struct service_membership *self)
{
    n->invitation = *i;
    self->cluster = i->cluster;
    self->id = s->self;
    memcpy(self->name, s->name, sizeof self->name);
    log_info("invited to join: cluster=%llu leader=%s", (unsigned long long)i->cluster, i->leader);
}

void service_invited(struct node *n, const struct service_invitation *i, struct service_membership *self,
                     struct service_result *r)
{
    struct shared *s = node_lock(n);
    bool closed = valid_address(i->leader) && close_doors_if_alone(n, s, i->cluster), pristine = false;

    service_result_init(r);
    memset(self, 0, sizeof *self);
    node_unlock(n, &s);
    pristine = closed && !kv_store_has_client_data(n->kv);
    s = node_lock(n);
    if (pristine && s->phase == PHASE_INVITED) /* and not stopping meanwhile */
        accept_invitation(n, s, i, self);
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
