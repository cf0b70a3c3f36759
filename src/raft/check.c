/* check.c -- what must hold whenever control is outside of the core. After each step in the simulator and, with
 * --enable-invariants, at each unlock of a server. One fact to an assertion: its text is the message. */
#include "raft/core.h"

static void check_terms(const struct terms *t)
{
    raft_term before = t->base.term;

    assert(t->last >= t->base.index);
    assert(t->count <= TERMS_MAX);
    assert(t->count > 0 || t->last == t->base.index);
    for (unsigned i = 0; i < t->count; i++) {
        const struct raft_pos *run = &t->runs[(t->head + i) % TERMS_MAX];

        assert(run->index <= t->last);
        if (i == 0) {
            assert(run->index <= t->base.index + 1);
            assert(run->term >= before);
        } else {
            assert(run->index > t->base.index + 1);
            assert(run->index > t->runs[(t->head + i - 1) % TERMS_MAX].index);
            assert(run->term > before);
        }
        before = run->term;
    }
}

static void check_log(const struct raft *r)
{
    assert(terms_last(&r->terms).term <= r->term);
    assert(r->terms.base.index <= r->applied);
    assert(r->keep.index <= r->terms.base.index);
    assert(r->kept <= r->keep.index);
    assert(r->settled <= r->applied);
    assert(r->applied <= r->commit);
    assert(r->commit <= r->terms.last);
    assert(r->matched <= r->terms.last);
    assert(r->applying <= r->commit);
}

static void check_disk(const struct raft *r)
{
    assert(r->saved.term <= r->term);
    assert(r->durable <= r->terms.last);
    assert(r->durable <= r->writing || !r->write_in_flight);
    assert(r->writing <= r->terms.last || !r->write_in_flight);
    assert(r->applied <= r->durable || MUTANT(APPLY_BEYOND_DURABLE)); /* D3 */
}

static void check_role(const struct raft *r)
{
    switch (r->role) {
    case RAFT_FOLLOWER:
        assert(r->leader != r->self);
        break;
    case RAFT_PRECANDIDATE:
        assert(r->leader == 0);
        break;
    case RAFT_CANDIDATE:
        assert(r->leader == 0);
        assert(r->vote == r->self);
        break;
    case RAFT_LEADER:
        assert(r->leader == r->self);
        assert(r->vote == r->self);
        assert(hard_state_saved(r)); /* D1: its own vote has counted */
        break;
    }
    assert(r->leader == 0 || r->term > 0);
    assert(r->transfer_to == 0 || r->role == RAFT_LEADER);
}

static void check_configs(const struct raft *r)
{
    assert(r->latest.index <= r->terms.last);
    assert(r->committed.index <= r->latest.index);
    assert(r->latest.config.count == 0 || config_valid(&r->latest.config));
    assert(r->committed.config.count == 0 || config_valid(&r->committed.config));
    if (r->latest.index <= r->commit)
        assert(r->committed.index == r->latest.index);
    /* What a leader, at least, has proposed on top of is known to be committed. */
    if (r->role == RAFT_LEADER)
        assert(r->committed.index <= r->commit || terms_at(&r->terms, r->committed.index) < r->term);
}

static void check_reads(const struct raft *r)
{
    assert(r->ready_count <= READY_MAX);
    for (unsigned i = 0; i < r->ready_count; i++) {
        const struct ready *b = &r->ready[i];

        assert(b->after < b->until);
        assert(b->until <= r->ticket);
        assert(i == 0 || r->ready[i - 1].until <= b->after);
        assert(i == 0 || r->ready[i - 1].index <= b->index);
    }
    assert(r->lost <= r->ticket);
    assert(r->confirmed <= r->ticket);
    assert(r->round <= r->ticket);
    assert(r->asked <= r->ticket);
}

static void check_peer(const struct raft *r, const struct peer *p)
{
    uint64_t bytes = 0;

    assert(p->id != 0);
    assert(p->id != r->self);
    assert(peer_look(r, p->id) == p);
    assert(p->member == (config_find(config_in_force(r), p->id) != NULL));
    assert(p->ack.told <= r->matched);
    if (r->role != RAFT_LEADER)
        assert(p->leaving == 0);
    if (!leader_serves(r, p))
        return;
    assert(p->match < p->next);
    assert(p->next <= r->terms.last + 1);
    assert(p->next > r->terms.base.index);
    assert(p->round <= r->ticket);
    assert(p->round_sent <= r->ticket);
    assert(p->commit_told <= r->commit);
    assert(p->snapshot.index == 0 || p->state == RAFT_NEEDS_SNAPSHOT);
    assert(!p->recovering || p->state != RAFT_NEEDS_SNAPSHOT);
    assert(p->window.count <= WINDOW_MESSAGES_MAX);
    for (unsigned i = 0; i < p->window.count; i++) {
        const struct in_flight *f = &p->window.ring[(p->window.head + i) % WINDOW_MESSAGES_MAX];

        assert(f->last > p->match);
        bytes += f->bytes;
    }
    assert(p->window.bytes == bytes);
    if (p->state == RAFT_PROBE)
        assert(p->window.count <= 1);
    if (p->state == RAFT_NEEDS_SNAPSHOT)
        assert(p->next == r->terms.base.index + 1);
}

/* How a state may change, compared with when we last looked. */
static void check_changes(const struct raft *r)
{
    const struct seen *s = r->seen;

    if (!s->any)
        return;
    assert(r->term >= s->term);
    if (r->term == s->term && s->vote != 0)
        assert(r->vote == s->vote || MUTANT(VOTE_TWICE)); /* one vote in a term */
    assert(r->commit >= s->commit);
    assert(r->applied >= s->applied);
    assert(r->terms.base.index >= s->base);
    assert(r->ticket >= s->ticket);
}

void raft_check(const struct raft *r)
{
    unsigned members = 0;

    check_terms(&r->terms);
    check_log(r);
    check_disk(r);
    check_role(r);
    check_configs(r);
    check_reads(r);
    for (unsigned i = 0; i < r->peer_count; i++) {
        check_peer(r, &r->peers[i]);
        members += r->peers[i].member;
    }
    assert(members + (config_find(config_in_force(r), r->self) != NULL) == config_in_force(r)->count);
    check_changes(r);
    *r->seen = (struct seen){
        .term = r->term,
        .vote = r->vote,
        .commit = r->commit,
        .applied = r->applied,
        .base = r->terms.base.index,
        .ticket = r->ticket,
        .any = true,
    };
}
