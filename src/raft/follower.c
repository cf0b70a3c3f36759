/* follower.c -- what a follower does: take the leader's entries, and answer with what is durable. */
#include "raft/core.h"

/* `from` leads our term: we follow it. False if we know of another leader of the term, which cannot be. */
static bool follow(struct raft *r, raft_id from)
{
    if (r->role == RAFT_LEADER || (r->leader != 0 && r->leader != from))
        return false;
    become_follower(r, r->term, from); /* a candidate gives up, too [paper 5.2] */
    r->heard = r->now;
    timer_reset(r);
    return true;
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static void owe_ack(struct peer *p)
{
    p->ack.owed = true;
    p->ack.ok = true;
}

/* [paper 5.3, end]: we name the last entry at or before `index` which can be the leader's, too, whose entry there is of
 * `term`. What is committed is the leader's in any case. */
static void owe_refusal(struct raft *r, struct peer *p, raft_index index, raft_term term)
{
    p->ack.owed = true;
    p->ack.ok = false;
    p->ack.index = most(terms_find(&r->terms, index, term), r->terms.base.index);
    p->ack.hint = terms_at(&r->terms, p->ack.index);
}

/* A leader of an earlier term learns from any answer that it leads no more [paper 5.1]. */
void follower_refuse_term(struct raft *r, raft_id from)
{
    struct peer *p = peer_slot(r, from);

    p->ack.owed = true;
    p->ack.ok = false;
    p->ack.index = 0;
    p->ack.hint = 0;
}

static raft_index acknowledged(const struct raft *r)
{
    return least(MUTANT(ACK_LAST) ? r->terms.last : r->durable, r->matched); /* D2 */
}

void follower_answer(const struct raft *r, const struct peer *p, struct raft_message *m)
{
    m->type = RAFT_APPENDED;
    m->appended.ok = p->ack.ok;
    m->appended.index = p->ack.ok ? acknowledged(r) : p->ack.index;
    m->appended.hint = p->ack.ok ? 0 : p->ack.hint;
    m->appended.round = p->ack.round;
    m->appended.full = r->full;
}

void follower_wrote(struct raft *r)
{
    struct peer *p = r->role == RAFT_FOLLOWER && r->leader != 0 ? peer_find(r, r->leader) : NULL;

    if (p == NULL || (p->ack.owed && !p->ack.ok)) /* a refusal says where to go on, the answer to that says the rest */
        return;
    if (acknowledged(r) > p->ack.told)
        owe_ack(p);
}

/* ---- entries ------------------------------------------------------------------------------------------------------ */

/* Nothing that the wire let through can harm the log. */
static bool makes_sense(const struct raft_message *m)
{
    raft_term term = m->append.prev.term;

    if (m->append.count > RAFT_APPEND_MAX || m->append.prev.index > UINT64_MAX / 2 || term > m->term)
        return false;
    for (unsigned i = 0; i < m->append.count; i++) {
        const struct raft_head *h = &m->append.heads[i];

        if (h->term < term || h->term > m->term || h->term == 0)
            return false;
        if (h->type == RAFT_CONFIG && !config_valid(h->config))
            return false;
        term = h->term;
    }
    return true;
}

/* How many of the entries we have already. Only an entry of another term at its place is a conflict; an old append cuts
 * off nothing [paper 5.3, figure 2]. */
static unsigned entries_known(const struct raft *r, const struct raft_message *m)
{
    unsigned known = 0;

    while (known < m->append.count) {
        raft_index index = m->append.prev.index + 1 + known;

        if (index > r->terms.last)
            break;
        if (index > r->terms.base.index && (terms_at(&r->terms, index) != m->append.heads[known].term ||
                                            (MUTANT(TRUNCATE_MATCHING) && index > r->commit)))
            break;
        known++;
    }
    return known;
}

/* Appends heads[skip] and those behind it as far as there is room; says how many it took. */
static unsigned take_entries(struct raft *r, const struct raft_message *m, unsigned skip)
{
    unsigned taken = 0;

    while (skip + taken < m->append.count) {
        const struct raft_head *h = &m->append.heads[skip + taken];

        if (r->terms.last - r->durable >= RAFT_UNFINISHED_MAX || !log_room_for_term(r, h->term))
            break; /* the leader finds out by its next append, and sends them again */
        terms_append(&r->terms, h->term);
        if (h->type == RAFT_CONFIG)
            config_adopt(r, r->terms.last, h->config);
        taken++;
    }
    return taken;
}

static bool holds_previous(const struct raft *r, struct raft_pos prev)
{
    if (prev.index < r->terms.base.index)
        return true; /* what is gone from our log was committed, so the leader's is the same */
    if (MUTANT(SKIP_PREVIOUS) && prev.index <= r->terms.last)
        return true;
    return terms_match(&r->terms, prev);
}

static void commit_as_told(struct raft *r, raft_index commit)
{
    /* Behind `matched` our log may differ from the leader's [paper figure 2, AppendEntries 5]. */
    commit_to(r, least(commit, MUTANT(COMMIT_BEYOND) ? r->terms.last : r->matched));
}

/* An answer at once says that we live, and that we heard of the round. Otherwise the end of the write is soon enough: one
 * answer for an append and not two. */
static bool answer_at_once(const struct raft *r, const struct raft_message *m, const struct peer *p, bool took)
{
    return !took || m->append.round > p->ack.round || r->now >= p->ack.at + r->heartbeat_ms;
}

/* No leader has another entry where one is committed, nor where its own log was found equal to ours. */
static bool contradicts(const struct raft *r, raft_index first)
{
    if (MUTANT(TRUNCATE_MATCHING) || MUTANT(SKIP_PREVIOUS))
        return first <= r->commit;
    return first <= r->commit || first <= r->committed.index || first <= r->matched;
}

static void refuse(struct raft *r, const struct raft_message *m)
{
    struct peer *p = peer_slot(r, m->from);

    if (m->append.prev.index <= r->commit)
        return; /* no leader has another entry there than the one that is committed */
    if (r->refused != r->term)
        raft_note(r, RAFT_EVENT_MISSING, m->from, m->append.prev.index);
    r->refused = r->term;
    p->ack.round = most(p->ack.round, m->append.round);
    owe_refusal(r, p, m->append.prev.index - 1, m->append.prev.term);
}

static void acknowledge(struct raft *r, const struct raft_message *m, bool took)
{
    struct peer *p = peer_slot(r, m->from);
    bool at_once = p->ack.owed || answer_at_once(r, m, p, took);

    r->refused = 0;
    p->ack.round = most(p->ack.round, m->append.round);
    if (at_once)
        owe_ack(p);
    else
        follower_wrote(r); /* durable already, and not yet told */
}

void follower_append(struct raft *r, const struct raft_message *m, struct raft_taken *taken)
{
    raft_index first;
    unsigned known, took;

    if (!makes_sense(m) || !follow(r, m->from))
        return;
    if (!holds_previous(r, m->append.prev)) {
        refuse(r, m);
        return;
    }
    known = entries_known(r, m);
    first = m->append.prev.index + 1 + known;
    if (known < m->append.count && first <= r->terms.last) {
        if (contradicts(r, first))
            return;
        log_truncate(r, first, m->from);
    }
    took = take_entries(r, m, known);
    *taken = (struct raft_taken){.first = first, .skip = known, .count = took};
    r->matched = most(r->matched, most(first - 1 + took, r->terms.base.index));
    commit_as_told(r, m->append.commit);
    acknowledge(r, m, took > 0);
}

/* ---- a map instead of entries [paper 7] --------------------------------------------------------------------------- */

bool raft_offered(struct raft *r, raft_time now, raft_id from, raft_term term, struct raft_pos pos)
{
    r->now = most(r->now, now);
    if (from == 0 || from == r->self || term < r->term || term - r->term > TERM_JUMP_MAX)
        return false;
    if (term > r->term)
        become_follower(r, term, 0);
    if (!follow(r, from) || pos.index <= r->commit)
        return false;
    if (terms_match(&r->terms, pos)) { /* we have its entries already: a map is committed, so they are */
        r->matched = most(r->matched, pos.index);
        commit_to(r, pos.index);
        owe_ack(peer_slot(r, from));
        return false;
    }
    return true;
}

/* ---- the leader's process is gone -------------------------------------------------------------------------------- */

void raft_link_lost(struct raft *r, raft_time now, raft_id peer)
{
    r->now = most(r->now, now);
    if (r->role != RAFT_FOLLOWER || peer == 0 || r->leader != peer)
        return;
    r->heard = r->now - least(r->now, r->election_ms); /* as if it had been silent for long: leader_lives */
    timer_hurry(r);
}

/* ---- the leader hands over [thesis 3.10] -------------------------------------------------------------------------- */

void follower_asked_to_take_over(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_FOLLOWER || m->from != r->leader || !is_voter(r) || disk_hangs(r))
        return;
    raft_note(r, RAFT_EVENT_TAKE_OVER, m->from, 0);
    election_stand(r);
    r->transfer = true;
}
