/* send.c -- what a peer is to be sent, in which order, and that it has been sent.
 *
 * Nothing is queued: each kind of message is made of the state when it leaves. The order is that of the table below:
 * answers before entries, for others wait for them. */
#include "raft/core.h"

enum kind { VOTED, APPENDED, READ_AT, TAKE_OVER, VOTE, READ, APPEND, KINDS };

static raft_time kind_due(const struct raft *r, const struct peer *p, enum kind k)
{
    switch (k) {
    case VOTED:
        return p->voted.owed ? 0 : RAFT_NEVER;
    case APPENDED:
        return p->ack.owed ? 0 : RAFT_NEVER;
    case READ_AT:
        return reads_answer_due(r, p);
    case TAKE_OVER:
        return leader_take_over_due(r, p);
    case VOTE:
        return election_due(r, p);
    case READ:
        return reads_ask_due(r, p);
    case APPEND:
        return progress_due(r, p);
    case KINDS:
        break;
    }
    return RAFT_NEVER;
}

raft_time raft_send_due(const struct raft *r, raft_id peer)
{
    const struct peer *p = peer_look(r, peer);
    raft_time due = RAFT_NEVER;

    if (p == NULL)
        return RAFT_NEVER;
    if (!hard_state_saved(r) && !MUTANT(SPEAK_BEFORE_SAVED)) /* D1 */
        return RAFT_NEVER;
    for (enum kind k = VOTED; k < KINDS && due > 0; k++)
        due = least(due, kind_due(r, p, k));
    return due == RAFT_NEVER ? RAFT_NEVER : most(due, p->not_before);
}

static void make(const struct raft *r, const struct peer *p, enum kind k, struct raft_message *m)
{
    *m = (struct raft_message){.from = r->self, .to = p->id, .term = r->term};
    switch (k) {
    case VOTED:
        m->type = RAFT_VOTED;
        m->term = p->voted.term;
        m->voted.pre = p->voted.pre;
        m->voted.granted = p->voted.granted;
        break;
    case APPENDED:
        follower_answer(r, p, m);
        break;
    case READ_AT:
        m->type = RAFT_READ_AT;
        m->read.ticket = p->read_ticket;
        raft_read_poll(r, p->read_own, &m->read.index);
        break;
    case TAKE_OVER:
        m->type = RAFT_TAKE_OVER;
        break;
    case VOTE:
        election_request(r, m);
        break;
    case READ:
        m->type = RAFT_READ;
        m->read.ticket = r->ticket;
        break;
    case APPEND:
        progress_message(r, p, m);
        break;
    case KINDS:
        break;
    }
}

void raft_next_message(const struct raft *r, raft_time now, raft_id peer, struct raft_message *m)
{
    const struct peer *p = peer_look(r, peer);

    *m = (struct raft_message){.from = r->self, .to = peer};
    if (raft_send_due(r, peer) > now)
        return;
    for (enum kind k = VOTED; k < KINDS; k++) {
        if (kind_due(r, p, k) > now)
            continue;
        make(r, p, k, m);
        return;
    }
}

static bool same_vote(const struct raft_message *a, const struct raft_message *b)
{
    return a->term == b->term && a->vote.pre == b->vote.pre && a->vote.transfer == b->vote.transfer &&
           a->vote.last.index == b->vote.last.index && a->vote.last.term == b->vote.last.term;
}

static bool same_voted(const struct raft_message *a, const struct raft_message *b)
{
    return a->term == b->term && a->voted.pre == b->voted.pre && a->voted.granted == b->voted.granted;
}

static bool same_appended(const struct raft_message *a, const struct raft_message *b)
{
    return a->term == b->term && a->appended.ok == b->appended.ok && a->appended.index == b->appended.index &&
           a->appended.hint == b->appended.hint && a->appended.round == b->appended.round &&
           a->appended.full == b->appended.full;
}

/* Is this still the message of that kind that we would send? */
static bool still_true(const struct raft *r, const struct peer *p, enum kind k, const struct raft_message *m)
{
    struct raft_message now;

    if (kind_due(r, p, k) == RAFT_NEVER)
        return false;
    make(r, p, k, &now);
    switch (k) {
    case VOTED:
        return same_voted(m, &now);
    case APPENDED:
        return same_appended(m, &now);
    case READ_AT:
        return m->term == r->term && m->read.ticket == now.read.ticket;
    case READ:
        return m->term == r->term && m->read.ticket <= now.read.ticket;
    case VOTE:
        return same_vote(m, &now);
    case TAKE_OVER:
    case APPEND:
        return m->term == r->term;
    case KINDS:
        break;
    }
    return false;
}

static bool leaves_now(struct raft *r, struct peer *p, enum kind k, const struct raft_message *m, uint32_t bytes)
{
    if (!still_true(r, p, k, m))
        return false;
    switch (k) {
    case VOTED:
        p->voted.owed = false;
        break;
    case APPENDED:
        p->ack.owed = false;
        p->ack.at = r->now;
        if (m->appended.ok)
            p->ack.told = m->appended.index;
        break;
    case READ_AT:
        p->read_ticket = 0;
        p->tell_at = 0; /* it waits for the commit index, too */
        break;
    case TAKE_OVER:
        p->take_over = false;
        p->take_over_at = r->now + r->heartbeat_ms;
        break;
    case VOTE:
        p->vote_at = r->now + r->heartbeat_ms;
        break;
    case READ:
        r->asked = m->read.ticket;
        r->ask_at = r->now + r->heartbeat_ms;
        break;
    case APPEND:
        return progress_sending(r, p, m, bytes);
    case KINDS:
        return false;
    }
    return true;
}

/* The map is on its way to a peer: what follows it in the log stays until the peer has it. */
static bool map_leaves_now(const struct raft *r, struct peer *p, const struct raft_message *m)
{
    if (!leader_serves(r, p) || m->term != r->term || p->state != RAFT_NEEDS_SNAPSHOT)
        return false;
    if (m->snapshot.pos.index < r->terms.base.index)
        return false; /* too old by now: entries behind it are gone */
    p->snapshot = m->snapshot.pos;
    return true;
}

bool raft_sending(struct raft *r, raft_time now, const struct raft_message *m, uint32_t bytes)
{
    struct peer *p = peer_find(r, m->to);

    r->now = most(r->now, now);
    if (p == NULL || m->from != r->self || (!hard_state_saved(r) && !MUTANT(SPEAK_BEFORE_SAVED)))
        return false;
    if (p->leaving != 0 && r->now >= p->leave_by)
        p->leaving = 0; /* it had its time to learn that it is removed */
    switch (m->type) {
    case RAFT_VOTE:
        return leaves_now(r, p, VOTE, m, bytes);
    case RAFT_VOTED:
        return leaves_now(r, p, VOTED, m, bytes);
    case RAFT_APPEND:
        return leaves_now(r, p, APPEND, m, bytes);
    case RAFT_APPENDED:
        return leaves_now(r, p, APPENDED, m, bytes);
    case RAFT_SNAPSHOT:
        return map_leaves_now(r, p, m);
    case RAFT_READ:
        return leaves_now(r, p, READ, m, bytes);
    case RAFT_READ_AT:
        return leaves_now(r, p, READ_AT, m, bytes);
    case RAFT_TAKE_OVER:
        return leaves_now(r, p, TAKE_OVER, m, bytes);
    }
    return false;
}
