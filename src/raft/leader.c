/* leader.c -- what a leader does: take proposals, commit what a quorum has, keep or give up its office. */
#include "raft/core.h"

void leader_begin(struct raft *r)
{
    assert(r->role == RAFT_CANDIDATE);
    r->role = RAFT_LEADER;
    r->leader = r->self;
    r->transfer_to = 0;
    reads_lose(r);
    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].member)
            progress_begin(r, &r->peers[i]);
    raft_note(r, RAFT_EVENT_LEADER, r->self, r->terms.last);
}

/* Called by whoever changes our role, just before. */
void leader_end(struct raft *r)
{
    r->transfer_to = 0;
    for (unsigned i = 0; i < r->peer_count; i++)
        r->peers[i].leaving = 0;
    timer_reset(r);
}

bool raft_wants_noop(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->transfer_to == 0 && terms_last(&r->terms).term != r->term;
}

raft_index raft_propose(struct raft *r, raft_time now, enum raft_entry_type type, const struct raft_config *c)
{
    r->now = most(r->now, now);
    if (r->role != RAFT_LEADER || r->transfer_to != 0)
        return 0;
    /* Without the no-op of its term a leader could commit nothing of what fills its log [paper 5.4.2]: that one always fits. */
    if (r->terms.last - r->commit >= RAFT_UNFINISHED_MAX && type != RAFT_NOOP)
        return 0;
    if (!log_room_for_term(r, r->term))
        return 0;
    assert((type == RAFT_CONFIG) == (c != NULL));
    if (type == RAFT_CONFIG)
        assert(raft_may_change(r, c) == RAFT_CHANGE_OK);
    terms_append(&r->terms, r->term);
    if (type == RAFT_CONFIG)
        config_adopt(r, r->terms.last, c);
    return r->terms.last;
}

/* ---- commit ------------------------------------------------------------------------------------------------------- */

static uint64_t match_of(const struct peer *p)
{
    return p->match;
}

/* Whether leadership is better with `p` than with `q`: with one that answers, then with one that has room, then with the
 * longest log. */
static bool better_heir(const struct raft *r, const struct peer *p, const struct peer *q)
{
    if (leader_heard(r, p) != leader_heard(r, q))
        return leader_heard(r, p);
    if (p->full != q->full)
        return q->full;
    return p->match > q->match;
}

/* The voter to hand over to. NULL if there is none. */
static const struct peer *best_heir(const struct raft *r)
{
    const struct peer *best = NULL;

    for (unsigned i = 0; i < r->peer_count; i++) {
        const struct peer *p = &r->peers[i];

        if (!p->member || !config_has_voter(config_in_force(r), p->id))
            continue;
        if (best == NULL || better_heir(r, p, best))
            best = p;
    }
    return best;
}

/* Our last word as a leader: the best of the others need not wait for its election timeout. */
static void resign(struct raft *r)
{
    const struct peer *heir = best_heir(r);

    become_follower(r, r->term, 0);
    if (heir != NULL) {
        peer_find(r, heir->id)->take_over = true;
        raft_note(r, RAFT_EVENT_TRANSFER, heir->id, heir->match);
    }
}

void leader_advance(struct raft *r)
{
    raft_index own = MUTANT(MATCH_LAST) ? r->terms.last : r->durable; /* D2 */
    raft_index index = MUTANT(COMMIT_ALONE) ? own : quorum_of(r, own, match_of);

    /* Entries of earlier terms are committed only by one of ours behind them [paper 5.4.2, figure 8]. */
    if (index > r->commit && (terms_at(&r->terms, index) == r->term || MUTANT(COMMIT_OLD_TERM)))
        commit_to(r, index);
    reads_confirm(r);
    /* We removed ourselves: we lead until that is committed, not counting ourselves, and no longer [thesis 4.2.2]. */
    if (r->latest.index <= r->commit && !is_voter(r))
        resign(r);
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

bool leader_serves(const struct raft *r, const struct peer *p)
{
    return r->role == RAFT_LEADER && (p->member || p->leaving != 0);
}

bool leader_heard(const struct raft *r, const struct peer *p)
{
    return r->now < most(p->heard, p->since) + r->election_ms;
}

void leader_answered(struct raft *r, const struct raft_message *m)
{
    struct peer *p = peer_find(r, m->from);

    if (p == NULL || !leader_serves(r, p) || m->appended.index > r->terms.last)
        return;
    p->used = r->now;
    p->heard = r->now;
    p->full = m->appended.full;
    p->round = most(p->round, least(m->appended.round, r->ticket));
    if (m->appended.ok)
        progress_acked(r, p, m->appended.index);
    else
        progress_refused(r, p, m->appended.index, m->appended.hint);
    if (p->leaving != 0 && p->match >= p->leaving && p->commit_told >= p->leaving)
        p->leaving = 0; /* it knows that it is removed */
    leader_advance(r);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

static uint64_t last_contact(const struct peer *p)
{
    return most(p->heard, p->since);
}

/* When the newest moment at which a quorum had answered is an election timeout ago [thesis 6.2]. */
static raft_time quorum_lost_at(const struct raft *r)
{
    raft_time contact = quorum_of(r, RAFT_NEVER, last_contact);

    return contact == RAFT_NEVER ? RAFT_NEVER : contact + r->election_ms;
}

static raft_time disk_hangs_at(const struct raft *r)
{
    if (!r->write_in_flight || !has_other_voters(r))
        return RAFT_NEVER;
    return r->write_since + HANG_TIMEOUTS * r->election_ms;
}

raft_time leader_due(const struct raft *r)
{
    raft_time due = least(quorum_lost_at(r), disk_hangs_at(r));

    return r->transfer_to != 0 ? least(due, r->transfer_by) : due;
}

void leader_tick(struct raft *r)
{
    if (r->transfer_to != 0 && r->now >= r->transfer_by)
        r->transfer_to = 0; /* it did not take over: we go on */
    if (r->now >= quorum_lost_at(r)) {
        raft_note(r, RAFT_EVENT_NO_QUORUM, 0, 0);
        become_follower(r, r->term, 0);
    } else if (r->now >= disk_hangs_at(r)) {
        raft_note(r, RAFT_EVENT_DISK_HANGS, 0, 0);
        resign(r);
    }
}

/* ---- leadership transfer [thesis 3.10] ---------------------------------------------------------------------------- */

void raft_transfer(struct raft *r, raft_time now, raft_id to)
{
    const struct peer *best = NULL;
    struct peer *p = NULL;

    r->now = most(r->now, now);
    if (r->role != RAFT_LEADER || r->transfer_to != 0)
        return;
    best = best_heir(r);
    p = to != 0 ? peer_find(r, to) : best != NULL ? peer_find(r, best->id) : NULL;
    if (p == NULL || !p->member || !config_has_voter(config_in_force(r), p->id))
        return;
    r->transfer_to = p->id;
    r->transfer_by = r->now + r->election_ms;
    p->take_over_at = 0;
    raft_note(r, RAFT_EVENT_TRANSFER, p->id, p->match);
}

raft_id raft_heir_with_room(const struct raft *r)
{
    const struct peer *best = NULL;

    if (r->role != RAFT_LEADER || !r->full || r->transfer_to != 0)
        return 0;
    best = best_heir(r);
    return best != NULL && !best->full && best->heard != 0 && leader_heard(r, best) ? best->id : 0;
}

static uint64_t has_room(const struct peer *p)
{
    return !p->full;
}

bool raft_quorum_has_room(const struct raft *r)
{
    return quorum_of(r, 1, has_room) != 0;
}

raft_time leader_take_over_due(const struct raft *r, const struct peer *p)
{
    if (p->take_over)
        return 0;
    if (r->role != RAFT_LEADER || r->transfer_to != p->id || p->match != r->terms.last)
        return RAFT_NEVER;
    return p->take_over_at;
}

/* ---- looking at peers --------------------------------------------------------------------------------------------- */

bool raft_peer_status(const struct raft *r, raft_time now, raft_id peer, struct raft_peer_status *out)
{
    const struct peer *p = peer_look(r, peer);

    if (r->role != RAFT_LEADER || p == NULL || !p->member)
        return false;
    *out = (struct raft_peer_status){
        .state = p->state,
        .match = p->match,
        .next = p->next,
        .heard = p->heard,
        .active = p->heard != 0 && now < p->heard + r->election_ms,
    };
    if (p->state == RAFT_NEEDS_SNAPSHOT)
        out->snapshot = p->snapshot.index > r->terms.base.index ? p->snapshot : r->terms.base;
    return true;
}

bool raft_caught_up(const struct raft *r, raft_id learner)
{
    const struct peer *p = peer_look(r, learner);

    return r->role == RAFT_LEADER && p != NULL && p->member && p->caught_up && leader_heard(r, p) &&
           r->now < p->goal_since + r->election_ms;
}
