/* reads.c -- linearizable reads without the log [thesis 6.4]: a few integers, however many readers wait.
 *
 * Every read gets a ticket, a number that only grows. A leader puts the newest ticket into each append as its `round`, and
 * a peer echoes it: when a quorum has echoed ticket t, then at some moment after t was given out nobody else led, and
 * whatever is committed now includes all that was committed then. So every ticket up to t may be served at the commit
 * index of now. A follower asks its leader on behalf of all its tickets at once, and the answer to the newest is the
 * answer to all.
 *
 *    ... lost ... ready_after | may be served at read_index | ready .... waiting .... ticket
 *
 * Appends that leave anyway carry the newest ticket; an append for its sake alone leaves when no round is in flight. */
#include "raft/core.h"

static uint64_t settled_until(const struct raft *r)
{
    return most(r->ready, r->lost);
}

static bool waiting(const struct raft *r)
{
    return r->ticket > settled_until(r);
}

/* Tickets that wait now are lost: there is a new leader, or none. Those that were ready stay so: that they may be served
 * at read_index remains true for ever. */
void reads_lose(struct raft *r)
{
    r->lost = r->ticket;
    r->round = r->ticket;
    r->confirmed = r->ticket;
    r->asked = 0;
}

static void ready(struct raft *r, uint64_t until, raft_index index)
{
    if (until <= settled_until(r))
        return;
    if (r->lost > r->ready)
        r->ready_after = r->lost;
    r->ready = until;
    r->read_index = most(r->read_index, index);
}

uint64_t raft_read(struct raft *r, raft_time now)
{
    r->now = most(r->now, now);
    if (r->leader == 0)
        return 0;
    if (r->expire_ticket <= settled_until(r)) {
        r->expire_ticket = r->ticket + 1;
        r->expire_at = r->now + r->election_ms;
    }
    r->ticket++;
    if (r->role == RAFT_LEADER)
        reads_confirm(r);
    return r->ticket;
}

enum raft_read_state raft_read_poll(const struct raft *r, uint64_t ticket, raft_index *index)
{
    if (ticket > r->ready_after && ticket <= r->ready) {
        *index = r->read_index;
        return RAFT_READ_READY;
    }
    return ticket > settled_until(r) && ticket <= r->ticket ? RAFT_READ_WAIT : RAFT_READ_LOST;
}

/* ---- a leader ----------------------------------------------------------------------------------------------------- */

static uint64_t answered_round(const struct peer *p)
{
    return p->round;
}

void reads_confirm(struct raft *r)
{
    uint64_t answered = MUTANT(READ_WITHOUT_ROUND) ? r->ticket : quorum_of(r, r->ticket, answered_round);

    r->confirmed = most(r->confirmed, answered);
    if (r->confirmed >= r->round && r->ticket > r->confirmed)
        r->round = r->ticket; /* none is in flight: the next one starts, for all that came meanwhile */
    /* Before an entry of its own term is committed, a leader does not know how far its predecessors had committed. */
    if (terms_at(&r->terms, r->commit) == r->term || MUTANT(READ_BEFORE_COMMIT))
        ready(r, r->confirmed, r->commit);
}

/* A peer has one question out at a time. If it asks again before we know, it gets the answer to the first. */
void reads_asked(struct raft *r, struct peer *p, uint64_t ticket)
{
    raft_index index;

    if (!p->member || ticket == 0)
        return;
    if (p->read_ticket != 0 && raft_read_poll(r, p->read_own, &index) != RAFT_READ_LOST)
        return;
    p->read_ticket = ticket;
    p->read_own = raft_read(r, r->now);
}

raft_time reads_answer_due(const struct raft *r, const struct peer *p)
{
    raft_index index;

    if (r->role != RAFT_LEADER || p->read_ticket == 0)
        return RAFT_NEVER;
    return raft_read_poll(r, p->read_own, &index) == RAFT_READ_READY ? 0 : RAFT_NEVER;
}

/* ---- a follower --------------------------------------------------------------------------------------------------- */

raft_time reads_ask_due(const struct raft *r, const struct peer *p)
{
    if (r->role == RAFT_LEADER || p->id != r->leader || !waiting(r))
        return RAFT_NEVER;
    return r->asked > settled_until(r) ? r->ask_at : 0; /* asked, not answered: again after a while */
}

void reads_answered(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER || m->from != r->leader || m->read.ticket > r->ticket)
        return;
    ready(r, MUTANT(READ_OLD_ANSWER) ? r->ticket : m->read.ticket, m->read.index);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

/* A ticket waits for one to two election timeouts: expire_ticket, the newest at the last look, for exactly one. */
void reads_tick(struct raft *r)
{
    if (!waiting(r) || r->now < r->expire_at)
        return;
    if (r->expire_ticket > settled_until(r))
        r->lost = r->expire_ticket;
    r->expire_ticket = r->ticket;
    r->expire_at = r->now + r->election_ms;
}

raft_time reads_tick_due(const struct raft *r)
{
    return waiting(r) ? r->expire_at : RAFT_NEVER;
}
