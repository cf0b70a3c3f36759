#include "server/change.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

static enum service_code refuse(struct service_result *r, enum service_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum service_code refuse(struct service_result *r, enum service_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    return code;
}

/* ---- what the plans ask of a configuration ---- */

static struct member *find_named(struct members *m, const char *name_or_id)
{
    struct member *found = members_by_name(m, name_or_id);
    uint64_t id = 0;

    if (found != NULL || text_u64(name_or_id, UINT64_MAX, &id) != 0)
        return found;
    return members_by_id(m, id);
}

static bool is_gone(const struct members *m, const char *name_or_id)
{
    uint64_t id = 0;

    (void)text_u64(name_or_id, UINT64_MAX, &id);
    return members_gone(m, name_or_id, id) != NULL;
}

/* Added, but no server has come to be it. */
static bool is_expected(const struct member *m)
{
    return m->client[0] == '\0';
}

static unsigned count_voters(const struct members *m)
{
    unsigned voters = 0;

    for (unsigned i = 0; i < m->count; i++)
        voters += m->list[i].role == RAFT_VOTER;
    return voters;
}

/* Who else has one of these addresses; NULL: nobody. A member may take the address of the one whose place it takes. */
static const struct member *address_owner(const struct members *m, const struct member *wants)
{
    for (unsigned i = 0; i < m->count; i++) {
        const struct member *other = &m->list[i];

        if (other == wants || other->id == wants->replaces)
            continue;
        if (strcmp(other->peer, wants->peer) == 0 ||
            (wants->client[0] != '\0' && strcmp(other->client, wants->client) == 0))
            return other;
    }
    return NULL;
}

static bool is_loopback(const char *address)
{
    struct address a;

    return address_parse(address, &a) == 0 && address_is_loopback(a.host);
}

/* "localhost" means another machine to each: a cluster is all on one, or no member is advertised so. */
static enum service_code check_reach(const struct members *m, const struct member *wants, struct service_result *r)
{
    for (unsigned i = 0; i < m->count; i++) {
        const struct member *other = &m->list[i];

        if (other == wants || other->id == wants->replaces)
            continue;
        if ((is_loopback(wants->client) || is_loopback(wants->peer)) && !is_loopback(other->peer))
            return refuse(r, SERVICE_CONFLICT,
                          "%s is an address that only its own machine can reach, and member %s is elsewhere (%s): "
                          "start the server with -host and the name or address by which others reach it",
                          wants->client[0] != '\0' ? wants->client : wants->peer, other->name, other->peer);
        if (!is_loopback(wants->peer) && is_loopback(other->peer))
            return refuse(r, SERVICE_CONFLICT,
                          "member %s has the address %s, which a server elsewhere (%s) cannot reach: restart that "
                          "member with -host and the name or address by which others reach it",
                          other->name, other->peer, wants->peer);
    }
    return SERVICE_OK;
}

static enum service_code check_addresses(const struct shared *s, const struct members *m, const struct member *wants,
                                         struct service_result *r)
{
    const struct member *owner = address_owner(m, wants);

    if (owner != NULL)
        return refuse(r, SERVICE_CONFLICT,
                      "the address %s belongs to member %s (id %llu); if that one is gone for good, or has lost its "
                      "DATADIR: curl -L -X DELETE http://%s/cluster/members/%s, and start this one again",
                      strcmp(owner->client, wants->client) == 0 ? wants->client : wants->peer, owner->name,
                      (unsigned long long)owner->id, s->client, owner->name);
    return check_reach(m, wants, r);
}

/* ---- add ---- */

/* The member whose place is to be taken. NULL with OK: it is gone already, as asked. */
static enum service_code find_replaced(struct members *next, const struct service_member_change *c, struct member **old,
                                       struct service_result *r)
{
    *old = find_named(next, c->replaces);
    if (*old != NULL && (*old)->id == c->id)
        return refuse(r, SERVICE_INVALID, "a member cannot replace itself");
    if (*old != NULL && (*old)->role == RAFT_VOTER && c->role == SERVICE_ROLE_LEARNER)
        return refuse(r, SERVICE_INVALID, "a learner cannot take the place of %s, which has a vote", (*old)->name);
    if (*old != NULL || (is_gone(next, c->replaces) && members_by_id(next, c->id) != NULL))
        return SERVICE_OK;
    return refuse(r, SERVICE_NOT_FOUND, "no member has the name or id that is to be replaced");
}

static enum service_code new_member(const struct shared *s, struct members *next, const struct service_member_change *c,
                                    struct member **out, struct service_result *r)
{
    struct member *m = members_by_name(next, c->name);

    if (m != NULL && is_expected(m)) {
        m->id = c->id; /* no voter, so nothing is lost with an id behind which nobody ever was */
        *out = m;
        return SERVICE_OK;
    }
    if (m != NULL)
        return refuse(r, SERVICE_CONFLICT,
                      "the name %s belongs to member %llu; if that one is gone for good, or has lost its DATADIR: "
                      "curl -L -X DELETE http://%s/cluster/members/%s, and start this one again; else choose "
                      "another name with -name",
                      c->name, (unsigned long long)m->id, s->client, c->name);
    if (c->id != 0 && members_gone(next, "", c->id) != NULL)
        return refuse(r, SERVICE_CONFLICT, "member %llu was removed, and an id is never used again",
                      (unsigned long long)c->id);
    if (c->waits)
        return refuse(r, SERVICE_NOT_FOUND, "member %s has not been added to this cluster yet", c->name);
    if (next->count == RAFT_MEMBERS_MAX)
        return refuse(r, SERVICE_CONFLICT, "the cluster has %d members, which is the limit: remove one first",
                      RAFT_MEMBERS_MAX);
    m = &next->list[next->count++];
    memset(m, 0, sizeof *m);
    m->id = c->id;
    m->created_ns = clock_wall_ns();
    m->role = RAFT_LEARNER; /* it gets its vote when it has caught up [thesis 4.2.1] */
    m->stays_learner = c->role == SERVICE_ROLE_LEARNER;
    *out = m;
    return SERVICE_OK;
}

static enum service_code plan_add(const struct shared *s, const struct service_member_change *c, struct members *next,
                                  struct service_result *r)
{
    struct member *m = c->id != 0 ? members_by_id(next, c->id) : NULL, *old = NULL;
    const struct member *namesake = members_by_name(next, c->name);
    enum service_code code = SERVICE_OK;

    r->created = m == NULL;
    if (c->replaces[0] != '\0')
        code = find_replaced(next, c, &old, r);
    if (code == SERVICE_OK && (m == NULL || (namesake != NULL && namesake != m)))
        code = new_member(s, next, c, &m, r);
    if (code != SERVICE_OK)
        return code;
    if (old != NULL) {
        m->replaces = old->id;
        m->stays_learner = old->role == RAFT_LEARNER && old->stays_learner;
    }
    memcpy(m->name, c->name, sizeof m->name);
    memcpy(m->client, c->client, sizeof m->client);
    memcpy(m->peer, c->peer[0] != '\0' ? c->peer : c->client, sizeof m->peer);
    m->profile = c->profile;
    return check_addresses(s, next, m, r);
}

/* A place for a server that is not up yet; it is asked for by name, again and again perhaps. */
static enum service_code plan_expect(const struct shared *s, const struct service_member_change *c,
                                     struct members *next, struct service_result *r)
{
    struct member *m = members_by_name(next, c->name);
    enum service_code code = SERVICE_OK;

    r->created = m == NULL;
    if (m != NULL && !is_expected(m) && strcmp(m->peer, c->peer) != 0)
        return refuse(r, SERVICE_CONFLICT, "member %s is there, at %s; remove it first", c->name, m->peer);
    if (m == NULL)
        code = new_member(s, next, c, &m, r);
    if (code != SERVICE_OK)
        return code;
    memcpy(m->name, c->name, sizeof m->name);
    memcpy(m->peer, c->peer, sizeof m->peer);
    return check_addresses(s, next, m, r);
}

/* ---- update, remove ---- */

static enum service_code plan_update(const struct shared *s, const struct change *u, struct members *next,
                                     struct service_result *r)
{
    const struct service_member_change *c = u->asked;
    struct member *m = find_named(next, u->name_or_id);

    if (m == NULL)
        return refuse(r, SERVICE_NOT_FOUND, "no member has this name or id");
    if (c->role == SERVICE_ROLE_VOTER && m->role == RAFT_LEARNER && !raft_caught_up(s->raft, m->id))
        return refuse(r, SERVICE_CONFLICT, "the learner has not caught up yet; try again when its lag is small");
    if (c->role == SERVICE_ROLE_LEARNER && m->role == RAFT_VOTER && count_voters(next) == 1)
        return refuse(r, SERVICE_CONFLICT, "it is the only voter");
    if (c->role != SERVICE_ROLE_UNCHANGED) {
        m->role = c->role == SERVICE_ROLE_VOTER ? RAFT_VOTER : RAFT_LEARNER;
        m->stays_learner = c->role == SERVICE_ROLE_LEARNER;
    }
    if (c->client[0] == '\0' && c->peer[0] == '\0')
        return SERVICE_OK;
    if (c->client[0] != '\0')
        memcpy(m->client, c->client, sizeof m->client);
    if (c->peer[0] != '\0')
        memcpy(m->peer, c->peer, sizeof m->peer);
    return check_addresses(s, next, m, r);
}

static enum service_code plan_remove(const char *name_or_id, struct members *next, struct service_result *r)
{
    struct member *m = find_named(next, name_or_id);

    if (m == NULL && is_gone(next, name_or_id))
        return SERVICE_OK; /* asked twice */
    if (m == NULL)
        return refuse(r, SERVICE_NOT_FOUND, "no member has this name or id");
    if (m->role == RAFT_VOTER && count_voters(next) == 1)
        return refuse(r, SERVICE_CONFLICT,
                      "it is the only voter: the cluster would end with it; stop the server instead");
    members_remove(next, m->id, clock_wall_ns());
    return SERVICE_OK;
}

enum service_code change_plan(const struct shared *s, const struct change *c, struct members *next,
                              struct service_result *r)
{
    switch (c->kind) {
    case CHANGE_ADD:
        return plan_add(s, c->asked, next, r);
    case CHANGE_EXPECT:
        return plan_expect(s, c->asked, next, r);
    case CHANGE_UPDATE:
        return plan_update(s, c, next, r);
    case CHANGE_REMOVE:
        return plan_remove(c->name_or_id, next, r);
    }
    return SERVICE_INVALID;
}

/* ---- judging ---- */

/* A voter that moves counts as one that cannot be reached until it has answered from there. */
static bool answers_now(const struct shared *s, raft_time now, const struct member *m)
{
    const struct member *known = directory_find(&s->directory, m->id);
    struct raft_peer_status peer;

    if (m->id == s->self)
        return true;
    return known != NULL && strcmp(known->peer, m->peer) == 0 && raft_peer_status(s->raft, now, m->id, &peer) &&
           peer.active;
}

static void look_out(const struct shared *s, raft_time now, const struct members *next, struct service_outlook *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < next->count; i++) {
        const struct member *m = &next->list[i];

        if (m->role != RAFT_VOTER) {
            out->learners++;
            continue;
        }
        out->voters++;
        out->reachable += answers_now(s, now, m);
    }
    out->quorum = out->voters / 2 + 1;
    out->can_lose = out->reachable > out->quorum ? out->reachable - out->quorum : 0;
}

/* Whether some voter has not answered us at all since we lead. */
static bool is_new_to(const struct shared *s, raft_time now, const struct members *m)
{
    struct raft_peer_status peer;

    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].role == RAFT_VOTER && raft_peer_status(s->raft, now, m->list[i].id, &peer) && peer.heard == 0)
            return true;
    return false;
}

static bool same_votes(const struct members *a, const struct members *b)
{
    unsigned same = 0;

    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            same += a->list[i].role == RAFT_VOTER && b->list[k].role == RAFT_VOTER && a->list[i].id == b->list[k].id &&
                    strcmp(a->list[i].peer, b->list[k].peer) == 0;
    return same == count_voters(a) && same == count_voters(b);
}

/* A member says itself where it lives, each time that it greets: while it is up, another address would not last. */
static enum service_code check_move(const struct shared *s, raft_time now, const struct change *c,
                                    const struct members *next, struct service_result *r)
{
    for (unsigned i = 0; i < next->count; i++) {
        const struct member *m = &next->list[i], *known = directory_find(&s->directory, m->id);
        struct raft_peer_status peer;

        if (known == NULL || (strcmp(known->client, m->client) == 0 && strcmp(known->peer, m->peer) == 0))
            continue;
        peer = (struct raft_peer_status){.active = m->id == s->self};
        if (m->id != s->self && raft_peer_status(s->raft, now, m->id, &peer) && peer.heard == 0 && now < c->patience)
            return SERVICE_BUSY; /* a new leader: who is up has not said so yet */
        if (peer.active)
            return refuse(r, SERVICE_CONFLICT,
                          "member %s is up and says itself where it is reached (clients %s, members %s): to move it, "
                          "restart it with -host, -port or -peer-port; this request is for a member that is down",
                          m->name, known->client, known->peer);
    }
    return SERVICE_OK;
}

static void say_outlook(const struct change *c, const struct members *next, struct service_result *r)
{
    const struct service_outlook *o = &r->outlook;
    size_t used =
        (size_t)snprintf(r->text, sizeof r->text, "after this: %u voter%s", o->voters, o->voters == 1 ? "" : "s");

    if (o->learners > 0)
        used += (size_t)snprintf(r->text + used, sizeof r->text - used, " and %u learner%s", o->learners,
                                 o->learners == 1 ? "" : "s");
    if (o->reachable < o->voters)
        used += (size_t)snprintf(r->text + used, sizeof r->text - used, ", %u of them reachable now", o->reachable);
    used += (size_t)snprintf(r->text + used, sizeof r->text - used, ", can lose %u", o->can_lose);
    if (c->kind != CHANGE_ADD || !r->created || c->asked->role == SERVICE_ROLE_LEARNER)
        return;
    if (c->asked->replaces[0] != '\0')
        snprintf(r->text + used, sizeof r->text - used, "; when the new member has caught up it takes the place of %s",
                 c->asked->replaces);
    else
        snprintf(r->text + used, sizeof r->text - used,
                 "; when the new member has caught up it gets its vote: %u voters, can lose %u", count_voters(next) + 1,
                 o->reachable + 1 > (o->voters + 1) / 2 + 1 ? o->reachable + 1 - ((o->voters + 1) / 2 + 1) : 0);
}

enum service_code change_judge(const struct shared *s, raft_time now, const struct change *c,
                               const struct members *next, struct service_result *r)
{
    struct service_outlook *o = &r->outlook;
    enum service_code code = SERVICE_OK;

    if (c->kind == CHANGE_UPDATE)
        code = check_move(s, now, c, next, r);
    if (code != SERVICE_OK)
        return code;
    look_out(s, now, next, o);
    o->changes = r->created || !change_is_none(s, next);
    say_outlook(c, next, r);
    if (o->reachable >= o->quorum || c->asked->force || same_votes(next, &s->directory.latest))
        return SERVICE_OK;
    if (now < c->patience && is_new_to(s, now, next))
        return SERVICE_BUSY;
    return refuse(r, SERVICE_CONFLICT,
                  "after this: %u voters, only %u of them reachable now, which is no majority: the cluster would stop; "
                  "wait for the others, or add force=1 to the query",
                  o->voters, o->reachable);
}

bool change_keeps_quorum(const struct shared *s, raft_time now, const struct members *next)
{
    struct service_outlook o;

    look_out(s, now, next, &o);
    return o.reachable >= o.quorum;
}

bool change_is_none(const struct shared *s, const struct members *next)
{
    struct bytes x, y;
    bool same = false;

    bytes_init(&x, MEMBERS_SIZE_MAX);
    bytes_init(&y, MEMBERS_SIZE_MAX);
    members_encode(&s->directory.latest, &x);
    members_encode(next, &y);
    same = view_equal(bytes_view(&x), bytes_view(&y));
    bytes_clear(&x);
    bytes_clear(&y);
    return same;
}

bool change_deposes_us(const struct shared *s, const struct members *next)
{
    const struct member *now = directory_find(&s->directory, s->self);

    if (now == NULL || now->role != RAFT_VOTER)
        return false;
    for (unsigned i = 0; i < next->count; i++)
        if (next->list[i].id == s->self)
            return next->list[i].role != RAFT_VOTER;
    return true;
}

const struct member *change_replaced(const struct shared *s, const struct member *m)
{
    const struct member *old = m->replaces != 0 ? directory_find(&s->directory, m->replaces) : NULL;

    if (old == NULL)
        return NULL;
    if (m->role == RAFT_VOTER || (m->stays_learner && old->role == RAFT_LEARNER && raft_caught_up(s->raft, m->id)))
        return old;
    return NULL;
}
