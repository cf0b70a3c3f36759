/* progress.c -- what a leader knows of one peer's log, and what it sends there next (README has the diagram).
 *
 *   PROBE           where do the logs part? one append at a time, again after a heartbeat interval
 *   REPLICATE       they match; several appends are in flight, `next` runs ahead of the answers
 *   NEEDS_SNAPSHOT  what it needs is gone from the log: heartbeats only, until it has a map as of our base or later
 *
 * Every append, an empty one too, names the entry before `next`. So the next heartbeat after a lost append is refused,
 * and that is how a loss is noticed. */
#include <string.h>

#include "raft/core.h"

/* ---- the window of appends in flight ------------------------------------------------------------------------------ */

static bool window_open(const struct window *w)
{
    return w->count < WINDOW_MESSAGES_MAX && w->bytes < WINDOW_BYTES_MAX;
}

static void window_clear(struct window *w)
{
    w->head = 0;
    w->count = 0;
    w->bytes = 0;
}

static void window_push(struct window *w, raft_index last, uint32_t bytes)
{
    if (w->count == WINDOW_MESSAGES_MAX) { /* a retry on top of a full window joins its newest message */
        struct in_flight *newest = &w->ring[(w->head + w->count - 1) % WINDOW_MESSAGES_MAX];

        newest->last = most(newest->last, last);
        return;
    }
    w->ring[(w->head + w->count) % WINDOW_MESSAGES_MAX] = (struct in_flight){.last = last, .bytes = bytes};
    w->count++;
    w->bytes += bytes;
}

static void window_pop(struct window *w, raft_index acked)
{
    while (w->count > 0 && w->ring[w->head].last <= acked) {
        w->bytes -= w->ring[w->head].bytes;
        w->head = (w->head + 1) % WINDOW_MESSAGES_MAX;
        w->count--;
    }
}

/* ---- transitions -------------------------------------------------------------------------------------------------- */

static void need_snapshot(struct raft *r, struct peer *p)
{
    p->next = r->terms.base.index + 1;
    window_clear(&p->window);
    if (p->state == RAFT_NEEDS_SNAPSHOT)
        return;
    p->state = RAFT_NEEDS_SNAPSHOT;
    p->snapshot = (struct raft_pos){.index = 0};
    p->recovering = false;
    raft_note(r, RAFT_EVENT_SNAPSHOT, p->id, p->next);
}

void progress_probe(struct raft *r, struct peer *p, raft_index next)
{
    if (next <= r->terms.base.index) {
        need_snapshot(r, p);
        return;
    }
    p->state = RAFT_PROBE;
    p->next = next;
    p->probed = false;
    p->append_at = 0;
    p->snapshot = (struct raft_pos){.index = 0};
    window_clear(&p->window);
}

static void replicate(struct raft *r, struct peer *p)
{
    if (p->snapshot.index != 0)
        p->recovering = true;
    p->state = RAFT_REPLICATE;
    p->snapshot = (struct raft_pos){.index = 0};
    raft_note(r, RAFT_EVENT_REPLICATE, p->id, p->match);
}

void progress_begin(struct raft *r, struct peer *p)
{
    p->match = 0;
    p->since = r->now;
    p->heard = 0;
    p->full = false;
    p->tell_at = 0;
    p->take_over_at = 0;
    p->commit_told = 0;
    p->round = 0;
    p->round_sent = 0;
    p->read_ticket = 0;
    p->leaving = 0;
    p->goal = r->terms.last;
    p->goal_since = r->now;
    p->caught_up = false;
    p->recovering = false;
    progress_probe(r, p, r->terms.last + 1);
    raft_note(r, RAFT_EVENT_PEER, p->id, r->terms.last);
}

void progress_compacted(struct raft *r, struct peer *p)
{
    if (leader_serves(r, p) && p->next <= r->terms.base.index)
        need_snapshot(r, p);
}

/* Rounds of catching up [thesis 4.2.1]: each lasts until the peer has what the log had when the round began. */
static void round_of_catching_up(struct raft *r, struct peer *p)
{
    if (p->match < p->goal)
        return;
    p->caught_up = r->now - p->goal_since < r->election_ms;
    if (p->caught_up)
        p->recovering = false;
    p->goal = r->terms.last;
    p->goal_since = r->now;
}

void progress_acked(struct raft *r, struct peer *p, raft_index index)
{
    if (index < p->match)
        return; /* an old answer; or it has not told the disk of all yet */
    p->match = index;
    p->next = most(p->next, index + 1);
    round_of_catching_up(r, p);
    switch (p->state) {
    case RAFT_PROBE:
        /* The probe was taken, and so were its entries, durable or not: go on behind them. */
        if (p->window.count > 0)
            p->next = most(p->next, p->window.ring[p->window.head].last + 1);
        replicate(r, p);
        break;
    case RAFT_REPLICATE:
        break;
    case RAFT_NEEDS_SNAPSHOT:
        if (index < r->terms.base.index)
            return;
        p->next = index + 1;
        replicate(r, p);
        break;
    }
    window_pop(&p->window, p->match);
}

/* The peer's log does not hold the entry before our append. It names the last place of its log where ours may equal it:
 * we skip a term at a time, not an entry at a time [paper 5.3, end]. A late or repeated refusal changes nothing. */
void progress_refused(struct raft *r, struct peer *p, raft_index index, raft_term hint)
{
    raft_index guess;

    if (p->state == RAFT_NEEDS_SNAPSHOT || index + 1 >= p->next)
        return;
    if (index < p->match && !MUTANT(NEXT_BACK))
        return;
    guess = terms_find(&r->terms, index, hint);
    if (!MUTANT(NEXT_BACK))
        guess = most(guess, p->match);
    progress_probe(r, p, guess + 1);
    raft_note(r, RAFT_EVENT_PROBE, p->id, guess);
}

/* ---- what to send ------------------------------------------------------------------------------------------------- */

static unsigned entries_to_send(const struct raft *r, const struct peer *p)
{
    uint64_t waiting = r->terms.last + 1 - p->next;

    switch (p->state) {
    case RAFT_PROBE:
        if (p->probed)
            return 0;
        break;
    case RAFT_REPLICATE:
        if (!window_open(&p->window))
            return 0;
        break;
    case RAFT_NEEDS_SNAPSHOT:
        return 0;
    }
    return (unsigned)least(waiting, RAFT_APPEND_MAX);
}

void progress_message(const struct raft *r, const struct peer *p, struct raft_message *m)
{
    m->type = RAFT_APPEND;
    m->append.prev.index = p->next - 1;
    m->append.prev.term = terms_at(&r->terms, p->next - 1);
    m->append.commit = r->commit;
    m->append.round = r->ticket; /* the newest, that all reads which wait may share the answer */
    m->append.count = entries_to_send(r, p);
}

bool progress_sending(struct raft *r, struct peer *p, const struct raft_message *m, uint32_t bytes)
{
    raft_index last = m->append.prev.index + m->append.count;

    /* While we lead this term our log only grows: what was read at that place is still right. */
    if (m->append.prev.index + 1 != p->next || last > r->terms.last ||
        m->append.prev.term != terms_at(&r->terms, m->append.prev.index))
        return false;
    if (p->state == RAFT_NEEDS_SNAPSHOT && m->append.count > 0)
        return false;
    p->append_at = r->now + r->heartbeat_ms;
    p->tell_at = r->now + COMMIT_TELL_MS;
    p->commit_told = most(p->commit_told, least(m->append.commit, last));
    p->round_sent = most(p->round_sent, m->append.round);
    if (p->state == RAFT_PROBE) {
        p->probed = true;
        window_clear(&p->window); /* an answer is to the newest probe */
    }
    if (m->append.count > 0)
        window_push(&p->window, last, bytes);
    if (p->state == RAFT_REPLICATE)
        p->next = last + 1;
    return true;
}

raft_time progress_due(const struct raft *r, const struct peer *p)
{
    if (!leader_serves(r, p))
        return RAFT_NEVER;
    if (p->round_sent < r->round && config_has_voter(config_in_force(r), p->id))
        return 0;
    if (p->state != RAFT_REPLICATE)
        return p->append_at;
    if (p->next <= r->terms.last && window_open(&p->window))
        return 0;
    if (p->commit_told < least(r->commit, p->next - 1))
        return least(p->append_at, p->tell_at);
    return p->append_at;
}

void raft_unreachable(struct raft *r, raft_time now, raft_id peer)
{
    struct peer *p = peer_find(r, peer);

    r->now = most(r->now, now);
    if (p == NULL)
        return;
    p->not_before = r->now + r->heartbeat_ms;
    /* What was in flight may be lost. */
    if (leader_serves(r, p) && p->state == RAFT_REPLICATE) {
        progress_probe(r, p, p->match + 1);
        raft_note(r, RAFT_EVENT_RETRY, p->id, p->match);
    }
}
