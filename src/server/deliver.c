#include "server/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/logger.h"

static int refuse(struct shared *s, enum refusal_reason reason, struct refusal *out, const char *text)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    memset(out, 0, sizeof *out);
    out->reason = reason;
    out->config_index = status.config_committed_index;
    snprintf(out->text, sizeof out->text, "%s", text);
    s->counters.peers_refused++;
    return ERR_REFUSED;
}

static bool config_has(const struct raft_config *c, raft_id id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return true;
    return false;
}

/* A sender that our committed configuration does not have was removed, unless it knows a newer configuration than we do:
 * ids are never used again [thesis 4.2.3 has the harm that the removed can do]. */
static bool was_removed(const struct shared *s, const struct hello *h)
{
    struct raft_status status;

    if (config_has(raft_config_committed(s->raft), h->from))
        return false;
    raft_status(s->raft, &status);
    return h->config_index < status.config_committed_index;
}

static int refuse_removed(struct shared *s, const struct hello *h, struct refusal *out)
{
    char text[sizeof out->text];

    snprintf(text, sizeof text, "member %llu is not in the configuration", (unsigned long long)h->from);
    return refuse(s, REFUSAL_NOT_A_MEMBER, out, text);
}

/* A member says at which addresses it is now. We believe it at once: two members of which one moved could not elect a
 * leader who would make the move known. A hello may leave them out; a configuration with such a member would be one that
 * nobody can read. */
static void note_addresses(struct shared *s, const struct hello *h)
{
    if (h->client[0] == '\0' || h->peer[0] == '\0')
        return;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == h->from && !s->peers[i].guest)
            shared_note_move(s, &s->peers[i], h);
}

/* A member that moved while another came to lead whom it does not know tells all whom it knows: from them it learns whom else
 * to tell, for it is the leader that makes a move known. */
static void name_leader(const struct shared *s, struct welcome *w)
{
    const char *address = NULL;
    struct raft_status status;

    raft_status(s->raft, &status);
    if (status.leader == s->self)
        address = s->peer;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX && status.leader != 0; i++)
        if (s->peers[i].id == status.leader)
            address = s->peers[i].address;
    if (address == NULL || address[0] == '\0')
        return;
    w->leader = status.leader;
    snprintf(w->leader_peer, sizeof w->leader_peer, "%s", address);
}

int deliver_hello(struct shared *s, const struct hello *h, struct welcome *welcome, struct refusal *refusal)
{
    uint16_t version = h->version_max < PROTOCOL_VERSION_MAX ? h->version_max : PROTOCOL_VERSION_MAX;
    char text[sizeof refusal->text];

    if (version < h->version_min || version < PROTOCOL_VERSION_MIN) {
        snprintf(text, sizeof text, "no common protocol version: ours %d to %d, yours %d to %d", PROTOCOL_VERSION_MIN,
                 PROTOCOL_VERSION_MAX, h->version_min, h->version_max);
        return refuse(s, REFUSAL_VERSION, refusal, text);
    }
    if (s->phase == PHASE_JOINING || s->stopping)
        return refuse(s, REFUSAL_NOT_READY, refusal, s->stopping ? "stopping" : "joining");
    if (h->cluster != s->cluster) {
        snprintf(text, sizeof text, "this is cluster %llu, not cluster %llu", (unsigned long long)s->cluster,
                 (unsigned long long)h->cluster);
        return refuse(s, REFUSAL_CLUSTER, refusal, text);
    }
    if (h->to != s->self || h->from == s->self) {
        snprintf(text, sizeof text, "this is member %llu (%s), not member %llu", (unsigned long long)s->self, s->name,
                 (unsigned long long)h->to);
        return refuse(s, REFUSAL_WRONG_ID, refusal, text);
    }
    if (was_removed(s, h))
        return refuse_removed(s, h, refusal);
    note_addresses(s, h);
    *welcome = (struct welcome){.version = version, .id = s->self};
    name_leader(s, welcome);
    return 0;
}

/* The bytes of what the core took, into the tail, before the lock is released (raft.h). */
static void keep_taken(struct shared *s, struct incoming *in, const struct raft_taken *taken)
{
    bool changed = taken->first <= s->directory.latest_index;

    directory_truncate(&s->directory, taken->first);
    for (unsigned i = 0; i < taken->count; i++) {
        struct entry *e = in->entries[taken->skip + i];
        raft_index index = taken->first + i;

        CHECK(entry_pos(e).index == index);
        if (entry_type(e) == RAFT_CONFIG) {
            struct members *m = xmalloc(sizeof *m);

            CHECK(members_decode(entry_payload(e), m) == 0); /* message_decode has tried it */
            directory_append(&s->directory, m, index);
            changed = true;
            free(m);
        }
        in->entries[taken->skip + i] = NULL;
        tail_put(&s->tail, index, e);
    }
    if (changed)
        shared_assign_peers(s);
}

/* The core may cut off entries and yet take none in their place, for want of room: what a configuration among them said
 * goes now, their bytes when the next entry comes (tail_put). */
static void forget_truncated(struct shared *s)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    if (s->directory.latest_index <= status.last)
        return;
    directory_truncate(&s->directory, status.last + 1);
    shared_assign_peers(s);
}

/* A configuration that came (an old one, as a new member gets them) or went (cut off with its leader's new address) may put
 * the sender where it lives no more; it has told us itself, and will not do so again as long as this link lasts. A late
 * message on a link from before its move says nothing: its last hello counts. */
static void recall_address(struct shared *s, const struct hello *h)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        const struct peer *p = &s->peers[i];

        if (p->id == h->from && strcmp(p->address, h->peer) != 0 && strcmp(p->moved_peer, h->peer) == 0)
            note_addresses(s, h);
    }
}

int deliver_message(struct shared *s, raft_time now, const struct hello *h, struct incoming *in,
                    struct refusal *refusal)
{
    struct raft_message *m = &in->message;
    struct raft_taken taken = {0, 0, 0};

    if (m->from != h->from || m->to != s->self)
        return ERR_MALFORMED;
    if (m->type == RAFT_VOTE && was_removed(s, h))
        return refuse_removed(s, h, refusal);
    /* A leader or a candidate that we do not know, for our log is shorter than its own, needs our answer [thesis 4.1]. */
    if (directory_find(&s->directory, h->from) == NULL)
        shared_host_guest(s, h->from, h->peer);
    s->counters.messages_received++;
    raft_receive(s->raft, now, m, &taken);
    if (taken.count > 0)
        keep_taken(s, in, &taken);
    else if (m->type == RAFT_APPEND)
        forget_truncated(s);
    recall_address(s, h);
    return 0;
}

void deliver_our_hello(const struct shared *s, raft_id to, struct hello *out)
{
    memset(out, 0, sizeof *out);
    out->version_min = PROTOCOL_VERSION_MIN;
    out->version_max = PROTOCOL_VERSION_MAX;
    out->cluster = s->cluster;
    out->from = s->self;
    out->to = to;
    out->config_index = shared_config_index(s);
    memcpy(out->name, s->name, sizeof out->name);
    memcpy(out->client, s->client, sizeof out->client);
    memcpy(out->peer, s->peer, sizeof out->peer);
    out->profile = s->profile;
}

/* Somebody else answers at a member's address: most likely itself, after it lost its DATADIR. */
static void log_lost_member(const struct shared *s, raft_id id, const struct refusal *r)
{
    const struct member *m = directory_find(&s->directory, id);
    const char *who = r->reason == REFUSAL_CLUSTER ? "a server of another cluster" : "another member";

    if (m == NULL)
        return;
    log_error("%s answers in the place of a member, which perhaps lost its DATADIR: member=%s address=%s reason=\"%s\" "
              "to-do=\"curl -L -X DELETE http://%s/cluster/members/%s, then start it with -join and a new DATADIR\"",
              who, m->name, m->peer, r->text, s->client, m->name);
}

/* Two who vote as one could elect two leaders in one term. Who came second is refused, by all who hear the first, and ends. */
static void end_twin(struct shared *s, const struct refusal *r, enum refusal_reason before, raft_time lasts)
{
    char text[330];

    if (before != r->reason)
        log_error("another process runs as this member: told=\"%s\" to-do=\"stop one of the two\"", r->text);
    if (lasts < TWIN_PATIENCE_MS)
        return;
    snprintf(text, sizeof text,
             "%.140s: this is another process with the same identity; a copy of a DATADIR must never run beside its "
             "original: delete the copy, and start a new member with -join",
             r->text);
    shared_fail(s, ERR_LOCKED, text);
}

void deliver_refusal(struct shared *s, raft_id from, const struct refusal *r, enum refusal_reason before,
                     raft_time lasts)
{
    switch (r->reason) {
    case REFUSAL_NOT_A_MEMBER:
        /* A member that lags behind our own joining does not know us yet; one that is ahead of us knows better. */
        if (r->config_index <= shared_config_index(s) || s->removed)
            return;
        log_warn("removed from the cluster: told by peer=%llu", (unsigned long long)from);
        s->removed = true;
        break;
    case REFUSAL_NOT_READY:
        if (before != r->reason)
            log_info("peer not ready: peer=%llu reason=\"%s\"", (unsigned long long)from, r->text);
        break;
    case REFUSAL_CLUSTER:
    case REFUSAL_WRONG_ID:
        if (before != r->reason)
            log_lost_member(s, from, r);
        break;
    case REFUSAL_TWIN:
        end_twin(s, r, before, lasts);
        break;
    case REFUSAL_VERSION:
        if (before != r->reason)
            log_error("peer refused us: peer=%llu reason=\"%s\"", (unsigned long long)from, r->text);
        break;
    }
}
