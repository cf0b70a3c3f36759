/* reads.c -- linearizable reads without the log [thesis 6.4]: a few integers, however many readers wait.
 *
 * Every read gets a ticket, a number that only grows. A leader puts the newest ticket into each append as its `round`, and
 * a peer echoes it: when a quorum has echoed ticket t, then at some moment after t was given out nobody else led, and
 * whatever is committed now includes all that was committed then. So every ticket up to t may be served at the commit
 * index of now. A follower asks its leader on behalf of all its tickets at once, and the answer to the newest is the
 * answer to all.
 *
 *    .... lost .... | ready at 90 | ready at 97 | .... waiting .... ticket
 *
 * Batches of ready tickets are told apart as long as their indexes are not applied: if the index of a reader that waits
 * rose with every later round, the map would never catch up with it under load.
 *
 * Appends that leave anyway carry the newest ticket; an append for its sake alone leaves when no round is in flight. */
#include "raft/core.h"

static uint64_t ready_until(const struct raft *r)
{
    return r->ready_count == 0 ? 0 : r->ready[r->ready_count - 1].until;
}

static uint64_t settled_until(const struct raft *r)
{
    return most(ready_until(r), r->lost);
}

static bool waiting(const struct raft *r)
{
    return r->ticket > settled_until(r);
}

/* Tickets that wait now are lost: there is a new leader, or none. Those that were ready stay so: that they may be served
 * at their index remains true for ever. */
void reads_lose(struct raft *r)
{
    r->lost = r->ticket;
    r->round = r->ticket;
    r->confirmed = r->ticket;
    r->asked = 0;
}

/* The oldest batches are one as far as the map has them: whoever asks may be served at once. */
static void join_applied(struct raft *r)
{
    unsigned joined = 0;

    while (joined + 1 < r->ready_count && r->ready[joined + 1].index <= r->applied) {
        if (r->ready[joined].until == r->ready[joined + 1].after)
            r->ready[joined + 1].after = r->ready[joined].after;
        joined++;
    }
    r->ready_count -= joined;
    for (unsigned i = 0; joined > 0 && i < r->ready_count; i++)
        r->ready[i] = r->ready[i + joined];
}

static void ready(struct raft *r, uint64_t until, raft_index index)
{
    struct ready batch = {.after = settled_until(r), .until = until, .index = index};

    if (until <= batch.after)
        return;
    join_applied(r);
    if (r->ready_count > 0) {
        struct ready *newest = &r->ready[r->ready_count - 1];

        batch.index = most(index, newest->index);
        if (r->ready_count == READY_MAX || (batch.index == newest->index && batch.after == newest->until)) {
            newest->until = until;
            newest->index = batch.index;
            return;
        }
    }
    r->ready[r->ready_count++] = batch;
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
    for (unsigned i = 0; i < r->ready_count; i++)
        if (ticket > r->ready[i].after && ticket <= r->ready[i].until) {
            *index = r->ready[i].index;
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
