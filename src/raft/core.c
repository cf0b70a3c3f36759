/* core.c -- birth, the rule of terms, what happens to a member and what its disk and its map are to do. */
#include <stdlib.h>
#include <string.h>

#include "raft/core.h"

/* ---- chance: PCG32 (O'Neill, 2014), seeded by the caller so that a life can be replayed --------------------------- */

static uint32_t rng_next(struct raft *r)
{
    uint64_t old = r->rng_state;
    uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27);
    uint32_t rot = (uint32_t)(old >> 59);

    r->rng_state = old * UINT64_C(6364136223846793005) + r->rng_stream;
    return (shifted >> rot) | (shifted << ((32 - rot) & 31));
}

static void rng_seed(struct raft *r, uint64_t seed)
{
    r->rng_state = 0;
    r->rng_stream = r->self << 1 | 1; /* members that were given the same seed still differ */
    rng_next(r);
    r->rng_state += seed;
    rng_next(r);
}

void timer_reset(struct raft *r)
{
    r->election_at = r->now + r->election_ms + rng_next(r) % r->election_ms; /* [paper 5.2] */
}

void timer_hurry(struct raft *r)
{
    /* Still spread, so that not all stand at once. */
    r->election_at = least(r->election_at, r->now + 1 + rng_next(r) % r->heartbeat_ms);
}

/* ---- birth -------------------------------------------------------------------------------------------------------- */

struct raft *raft_new(raft_id self, uint64_t seed, raft_time election_ms, raft_time heartbeat_ms)
{
    struct raft *r = calloc(1, sizeof *r);

    assert(r != NULL);
    assert(self != 0);
    assert(heartbeat_ms > 0);
    assert(heartbeat_ms < election_ms);
    r->self = self;
    r->election_ms = election_ms;
    r->heartbeat_ms = heartbeat_ms;
    r->role = RAFT_FOLLOWER;
    r->seen = &r->seen_before;
    rng_seed(r, seed);
    /* Tickets of this life are not those of the one before: a late answer to a read that we asked for before a crash
     * must not answer one that we ask for now. */
    r->ticket = (uint64_t)rng_next(r) << 20 | 1;
    reads_lose(r);
    return r;
}

void raft_free(struct raft *r)
{
    free(r);
}

void raft_restore(struct raft *r, struct raft_hard_state hard, struct raft_pos base, const struct raft_config *c,
                  raft_index config_index)
{
    r->term = hard.term;
    r->vote = hard.vote;
    r->saved = hard;
    terms_reset(&r->terms, base);
    r->keep = base;
    r->kept = base.index;
    r->committed.config = *c;
    r->committed.index = config_index;
    r->latest = r->committed;
}

void raft_restore_run(struct raft *r, struct raft_pos first)
{
    assert(first.index > r->terms.last);
    assert(first.index == r->terms.base.index + 1 || r->terms.count > 0);
    r->terms.last = first.index - 1;
    if (terms_full(&r->terms, first.term))
        terms_forget_run(&r->terms);
    terms_append(&r->terms, first.term);
}

void raft_restore_config(struct raft *r, raft_index index, const struct raft_config *c)
{
    if (index <= r->latest.index)
        return; /* the map has it already */
    r->committed = r->latest;
    r->latest.config = *c;
    r->latest.index = index;
}

void raft_start(struct raft *r, raft_time now, raft_index last, raft_index applied)
{
    r->now = now;
    assert(last >= r->terms.last);
    assert(last == r->terms.base.index || r->terms.count > 0);
    r->terms.last = last;
    assert(applied >= r->terms.base.index);
    assert(applied <= last);
    if (terms_last(&r->terms).term > r->term)
        term_raise(r, terms_last(&r->terms).term); /* a map of that term came, and a crash before its term was saved */
    r->durable = last;
    r->writing = last;
    r->commit = applied;
    r->applied = applied;
    r->applying = applied;
    r->settled = r->terms.base.index;
    peers_sync(r);
    config_committed(r);
    timer_reset(r);
    if (is_voter(r) && !has_other_voters(r))
        election_timeout(r); /* nobody else could lead, so there is nobody to wait for */
}

/* ---- terms [paper 5.1] -------------------------------------------------------------------------------------------- */

void raft_note(struct raft *r, enum raft_event_type type, raft_id peer, raft_index index)
{
    struct raft_event *e = &r->events[(r->event_head + r->event_count) % EVENTS_MAX];

    if (r->event_count == EVENTS_MAX)
        r->event_head = (r->event_head + 1) % EVENTS_MAX;
    else
        r->event_count++;
    *e = (struct raft_event){.type = type, .term = r->term, .peer = peer, .index = index};
}

bool raft_next_event(struct raft *r, struct raft_event *e)
{
    if (r->event_count == 0)
        return false;
    *e = r->events[r->event_head];
    r->event_head = (r->event_head + 1) % EVENTS_MAX;
    r->event_count--;
    return true;
}

bool hard_state_saved(const struct raft *r)
{
    return r->saved.term == r->term && r->saved.vote == r->vote;
}

/* Answers that we owe were given in a term that is over. */
static void forget_what_is_owed(struct raft *r)
{
    for (unsigned i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];

        memset(&p->voted, 0, sizeof p->voted);
        memset(&p->ack, 0, sizeof p->ack);
        p->take_over = false;
    }
}

void term_raise(struct raft *r, raft_term term)
{
    assert(term > r->term);
    if (r->role == RAFT_LEADER)
        leader_end(r);
    r->role = RAFT_FOLLOWER;
    r->term = term;
    r->vote = 0;
    r->leader = 0;
    r->matched = 0; /* what equals the log of the old leader need not equal that of the new one */
    forget_what_is_owed(r);
    reads_lose(r);
}

void become_follower(struct raft *r, raft_term term, raft_id leader)
{
    bool changes = term > r->term || r->role != RAFT_FOLLOWER || r->leader != leader;

    if (term > r->term)
        term_raise(r, term);
    if (r->role == RAFT_LEADER)
        leader_end(r);
    if (r->leader != leader)
        reads_lose(r);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    if (changes)
        raft_note(r, RAFT_EVENT_FOLLOWER, leader, 0);
}

/* ---- what happens to it ------------------------------------------------------------------------------------------- */

static void time_passes(struct raft *r, raft_time now)
{
    r->now = most(r->now, now);
}

raft_time raft_tick_due(const struct raft *r)
{
    raft_time due = reads_tick_due(r);

    if (r->role == RAFT_LEADER)
        return least(due, leader_due(r));
    /* Who may not lead only forgets a leader that has fallen silent. */
    if (may_lead(r) || r->leader != 0)
        due = least(due, r->election_at);
    return due;
}

void raft_tick(struct raft *r, raft_time now)
{
    time_passes(r, now);
    reads_tick(r);
    if (r->role == RAFT_LEADER)
        leader_tick(r);
    else if (r->now >= r->election_at)
        election_timeout(r);
}

/* True if the message is of our term, which it may have raised. */
static bool of_our_term(struct raft *r, const struct raft_message *m)
{
    bool from_leader = m->type == RAFT_APPEND || m->type == RAFT_SNAPSHOT;

    if (m->type == RAFT_VOTED && m->voted.pre && (m->voted.granted || m->term < r->term))
        return true; /* a grant carries the term that we asked for; a refusal may come from an older one */
    if (m->term > r->term) {
        /* Answers of those who are not members are of no interest, nor is their term. */
        const struct peer *p = peer_look(r, m->from);

        if (!from_leader && (p == NULL || (!p->member && p->leaving == 0)))
            return false;
        if (MUTANT(KEEP_TERM) && !from_leader)
            return false;
        become_follower(r, m->term, 0);
    }
    if (m->term < r->term && from_leader && m->from != r->leader)
        follower_refuse_term(r, m->from);
    return m->term == r->term;
}

void raft_receive(struct raft *r, raft_time now, const struct raft_message *m, struct raft_taken *taken)
{
    *taken = (struct raft_taken){.first = 0};
    time_passes(r, now);
    if (m->to != r->self || m->from == 0 || m->from == r->self || m->term == 0)
        return;
    if (m->term > r->term && m->term - r->term > TERM_JUMP_MAX)
        return;
    if (m->type == RAFT_VOTE) {
        election_asked(r, m);
        return;
    }
    if (!of_our_term(r, m))
        return;
    switch (m->type) {
    case RAFT_VOTE:
        break;
    case RAFT_VOTED:
        election_answered(r, m);
        break;
    case RAFT_APPEND:
        follower_append(r, m, taken);
        break;
    case RAFT_APPENDED:
        leader_answered(r, m);
        break;
    case RAFT_SNAPSHOT:
        raft_offered(r, now, m->from, m->term, m->snapshot.pos);
        break;
    case RAFT_READ:
        if (r->role == RAFT_LEADER && peer_look(r, m->from) != NULL)
            reads_asked(r, peer_find(r, m->from), m->read.ticket);
        break;
    case RAFT_READ_AT:
        reads_answered(r, m);
        break;
    case RAFT_TAKE_OVER:
        follower_asked_to_take_over(r, m);
        break;
    }
}

/* ---- the log and the commit index --------------------------------------------------------------------------------- */

static void base_moved(struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return;
    for (unsigned i = 0; i < r->peer_count; i++)
        progress_compacted(r, &r->peers[i]);
}

bool log_room_for_term(struct raft *r, raft_term term)
{
    if (!terms_full(&r->terms, term))
        return true;
    /* The oldest run may be forgotten once the map holds it. A peer that old then needs the map. */
    if (r->terms.runs[(r->terms.head + 1) % TERMS_MAX].index - 1 > r->applied)
        return false;
    terms_forget_run(&r->terms);
    base_moved(r);
    return true;
}

void log_truncate(struct raft *r, raft_index first, raft_id leader)
{
    assert(first > r->commit);
    assert(r->role != RAFT_LEADER);
    terms_truncate(&r->terms, first);
    r->matched = least(r->matched, first - 1);
    r->durable = least(r->durable, first - 1);
    if (!MUTANT(LATE_WRITE_VOUCHES))
        r->writing = least(r->writing, first - 1);
    config_truncated(r, first);
    raft_note(r, RAFT_EVENT_TRUNCATED, leader, first);
}

void commit_to(struct raft *r, raft_index index)
{
    if (index <= r->commit)
        return;
    assert(index <= r->terms.last);
    r->commit = index;
    config_committed(r);
}

/* ---- the disk ------------------------------------------------------------------------------------------------------ */

bool disk_hangs(const struct raft *r)
{
    return r->write_in_flight && r->now >= r->write_since + HANG_TIMEOUTS * r->election_ms;
}

raft_time raft_write_due(const struct raft *r)
{
    if (r->write_in_flight)
        return RAFT_NEVER;
    if (hard_state_saved(r) && r->durable == r->terms.last && r->kept == r->keep.index && !r->begin_anew)
        return RAFT_NEVER;
    return 0;
}

void raft_next_write(struct raft *r, raft_time now, struct raft_write *w)
{
    time_passes(r, now);
    assert(!r->write_in_flight);
    r->write_in_flight = true;
    r->write_since = r->now;
    r->writing = r->terms.last;
    if (r->write_failed && !r->begin_anew && !hard_state_saved(r))
        r->writing = r->durable; /* without entries */
    *w = (struct raft_write){
        .hard = {.term = r->term, .vote = r->vote},
        .begin_anew = r->begin_anew,
        .base = r->anew,
        .first = r->durable + 1,
        .last = r->writing,
        .keep_from = r->keep.index + 1,
    };
}

void raft_wrote(struct raft *r, raft_time now, const struct raft_write *w)
{
    time_passes(r, now);
    assert(r->write_in_flight);
    assert(r->writing >= r->durable);
    r->write_in_flight = false;
    r->write_failed = false;
    r->saved = w->hard;
    r->kept = w->keep_from - 1;
    if (w->begin_anew && w->base.index == r->anew.index)
        r->begin_anew = false; /* unless another map came meanwhile */
    r->durable = MUTANT(LATE_WRITE_VOUCHES) ? least(w->last, r->terms.last) : r->writing;
    election_count(r);
    if (r->role == RAFT_LEADER)
        leader_advance(r);
    else
        follower_wrote(r);
}

void raft_write_failed(struct raft *r, raft_time now)
{
    time_passes(r, now);
    assert(r->write_in_flight);
    r->write_in_flight = false;
    r->write_failed = true;
    r->writing = r->durable;
}

void raft_set_full(struct raft *r, bool full)
{
    r->full = full;
}

/* ---- the map ------------------------------------------------------------------------------------------------------- */

static raft_index may_apply(const struct raft *r)
{
    return MUTANT(APPLY_BEYOND_DURABLE) ? r->commit : least(r->commit, r->durable); /* D3 */
}

raft_time raft_apply_due(const struct raft *r)
{
    return !r->apply_in_flight && may_apply(r) > r->applied ? 0 : RAFT_NEVER;
}

void raft_next_apply(struct raft *r, raft_index *first, raft_index *last)
{
    assert(!r->apply_in_flight);
    *first = r->applied + 1;
    *last = most(may_apply(r), r->applied);
    r->apply_in_flight = *first <= *last;
    r->applying = *last;
}

void raft_applied(struct raft *r, raft_time now, raft_index index)
{
    time_passes(r, now);
    assert(index <= r->applying);
    r->apply_in_flight = false;
    r->applied = most(r->applied, index);
}

/* The disk's log does not hold the entry of the map's position, so what the next write brings cannot follow it there. What is
 * in flight vouches for nothing: it will go, too. */
static void begin_disk_anew(struct raft *r, struct raft_pos pos)
{
    r->durable = pos.index;
    r->writing = pos.index;
    if (MUTANT(INSTALL_KEEPS_DISK))
        return;
    r->begin_anew = true;
    r->anew = pos;
}

void raft_installed(struct raft *r, raft_time now, struct raft_pos pos, const struct raft_config *c,
                    raft_index config_index)
{
    time_passes(r, now);
    r->apply_in_flight = false;
    if (pos.index == r->applied && config_index > r->committed.index)
        config_installed(r, c, config_index); /* a map that was lost brings back what only it knew */
    if (pos.index <= r->applied)
        return;
    if (terms_match(&r->terms, pos) || (MUTANT(INSTALL_KEEPS_LOG) && pos.index <= r->terms.last)) {
        terms_forget(&r->terms, pos.index); /* what follows it matches too, as far as anyone knows */
        if (r->durable < pos.index)
            begin_disk_anew(r, pos);
    } else {
        assert(r->role != RAFT_LEADER); /* a leader's log has all that is committed */
        assert(r->commit <= pos.index);
        terms_reset(&r->terms, pos);
        begin_disk_anew(r, pos);
    }
    r->keep = pos;
    r->applied = pos.index;
    r->applying = pos.index;
    r->settled = pos.index;
    r->matched = most(r->matched, pos.index); /* a map holds what is committed, so every later leader has it */
    r->commit = most(r->commit, pos.index);
    config_installed(r, c, config_index);
    raft_note(r, RAFT_EVENT_INSTALLED, r->leader, pos.index);
    follower_wrote(r);
}

/* How many entries are kept for a peer. A map may be half an hour on its way, and what was written meanwhile takes its time,
 * too: if that went before the peer has it, the peer would need a second map, and a third. It may even be away for a while:
 * a receiver that restarts goes on where it was. */
static uint64_t keep_for(const struct raft *r, const struct peer *p, uint64_t keep_max)
{
    if (p->snapshot.index != 0 || p->recovering)
        return r->now - most(p->heard, p->since) < MAP_TIMEOUTS * r->election_ms ? keep_max : 0;
    if (p->state == RAFT_NEEDS_SNAPSHOT || !leader_heard(r, p))
        return 0;
    return least(keep_max, KEEP_BEHIND_MAX);
}

/* Where the log may begin: behind what the map has on disk, but not so soon that a peer which is only a little late, or
 * is receiving a map just now, would have to be sent a whole map. */
static raft_index log_may_begin(const struct raft *r, uint64_t keep_max)
{
    raft_index from = r->settled + 1 > KEEP_TAIL ? r->settled + 1 - KEEP_TAIL : 1;

    for (unsigned i = 0; r->role == RAFT_LEADER && i < r->peer_count; i++) {
        const struct peer *p = &r->peers[i];
        raft_index needs = most(p->match, p->snapshot.index) + 1;

        if (p->member && r->settled - least(r->settled, needs) < keep_for(r, p, keep_max))
            from = least(from, needs);
    }
    return from;
}

void raft_settled(struct raft *r, raft_index index, uint64_t keep_max)
{
    raft_index before;

    assert(index <= r->applied);
    r->settled = most(r->settled, index);
    before = log_may_begin(r, keep_max) - 1;
    if (before <= r->keep.index || before < r->terms.base.index)
        return; /* a position whose term was forgotten is not given away: the disk keeps the term of its base */
    r->keep = (struct raft_pos){.index = before, .term = terms_at(&r->terms, before)};
    terms_forget(&r->terms, before);
    base_moved(r);
}

/* ---- looking at it -------------------------------------------------------------------------------------------------- */

void raft_status(const struct raft *r, struct raft_status *out)
{
    *out = (struct raft_status){
        .role = r->role,
        .self = r->self,
        .leader = r->leader,
        .term = r->term,
        .first = r->terms.base.index + 1,
        .last = r->terms.last,
        .durable = r->durable,
        .commit = r->commit,
        .applied = r->applied,
        .base = r->terms.base,
        .config_index = r->latest.index,
        .config_committed_index = r->committed.index,
        .transferring = r->transfer_to != 0,
    };
}

raft_term raft_term_at(const struct raft *r, raft_index index)
{
    return index == r->keep.index ? r->keep.term : terms_at(&r->terms, index);
}
