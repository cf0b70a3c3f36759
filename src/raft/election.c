/* election.c -- pre-vote, vote, and winning [paper 5.2, 5.4.1; thesis 9.6].
 *
 *   follower --timeout--> precandidate --quorum of pre-votes--> candidate --quorum of votes--> leader
 *
 * A pre-vote changes nothing on anybody's disk: whoever cannot win disturbs nobody and raises no term. */
#include "raft/core.h"

static bool may_stand(const struct raft *r)
{
    /* Before our term is durable nobody has heard that we stand in it: another term would not be heard either. */
    return may_lead(r) && hard_state_saved(r) && !disk_hangs(r);
}

static uint64_t has_granted(const struct peer *p)
{
    return p->granted;
}

/* Do the voters of the configuration in force, we among them, agree? */
static bool quorum_grants(const struct raft *r)
{
    if (MUTANT(COUNT_VOTE_TWICE)) {
        unsigned votes = 1;

        for (unsigned i = 0; i < r->peer_count; i++)
            votes += config_has_voter(config_in_force(r), r->peers[i].id) ? r->peers[i].grants : 0;
        return votes > config_voters(config_in_force(r)) / 2;
    }
    return quorum_of(r, 1, has_granted) != 0;
}

static void ask_anew(struct raft *r)
{
    for (unsigned i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];

        p->granted = false;
        p->refused = false;
        p->grants = 0;
        p->vote_at = 0;
    }
}

void election_stand(struct raft *r)
{
    assert(may_lead(r));
    term_raise(r, r->term + 1);
    r->role = RAFT_CANDIDATE;
    r->vote = r->self;
    r->transfer = false;
    timer_reset(r);
    ask_anew(r);
    raft_note(r, RAFT_EVENT_CANDIDATE, 0, config_voters(config_in_force(r)) / 2 + 1);
}

static void ask_for_prevotes(struct raft *r, raft_id lost)
{
    r->role = RAFT_PRECANDIDATE;
    ask_anew(r);
    raft_note(r, RAFT_EVENT_PRECANDIDATE, lost, r->terms.last);
    election_count(r);
}

void election_timeout(struct raft *r)
{
    raft_id lost = r->leader;

    if (lost != 0)
        become_follower(r, r->term, 0);
    timer_reset(r);
    if (may_stand(r))
        ask_for_prevotes(r, lost);
}

void election_count(struct raft *r)
{
    if (r->role == RAFT_PRECANDIDATE && quorum_grants(r))
        election_stand(r);
    /* Our own vote counts only once it is on disk: after a crash we would not remember it and could give a second one in
     * the same term [thesis 3.8]. */
    if (r->role == RAFT_CANDIDATE && hard_state_saved(r) && quorum_grants(r))
        leader_begin(r);
}

/* ---- being asked -------------------------------------------------------------------------------------------------- */

static void answer(struct raft *r, const struct raft_message *m, bool granted)
{
    struct peer *p = peer_slot(r, m->from);

    p->voted.owed = true;
    p->voted.pre = m->vote.pre;
    p->voted.granted = granted;
    /* A grant of a pre-vote carries the term that was asked for, all else our own. */
    p->voted.term = m->vote.pre && granted ? m->term : r->term;
    if (!granted)
        raft_note(r, RAFT_EVENT_REFUSED, m->from, 0);
}

/* [paper 5.4.1]: its log is at least as good as ours. */
static bool up_to_date(const struct raft *r, struct raft_pos last)
{
    struct raft_pos ours = terms_last(&r->terms);

    if (MUTANT(VOTE_WITHOUT_LOG))
        return true;
    return last.term > ours.term || (last.term == ours.term && last.index >= ours.index);
}

/* Does a leader live, as far as we know? Whoever asks for votes then has merely lost touch [thesis 4.2.3]. Not so if
 * it is the leader itself that asks. */
static bool leader_lives(const struct raft *r, raft_id candidate)
{
    if (r->role == RAFT_LEADER)
        return true;
    return r->leader != 0 && r->leader != candidate && r->now < r->heard + r->election_ms;
}

static bool free_to_vote(const struct raft *r, raft_id candidate)
{
    return r->vote == 0 || r->vote == candidate || (MUTANT(VOTE_TWICE) && r->role == RAFT_FOLLOWER);
}

static void asked_for_prevote(struct raft *r, const struct raft_message *m)
{
    bool could_vote = m->term > r->term || (m->term == r->term && r->leader == 0 && free_to_vote(r, m->from));

    answer(r, m, could_vote && !leader_lives(r, m->from) && up_to_date(r, m->vote.last));
}

/* The candidate need not be in our configuration, nor we in it as a voter: it may know a newer one [thesis 4.1, 4.2.2]. */
void election_asked(struct raft *r, const struct raft_message *m)
{
    if (m->vote.pre) {
        asked_for_prevote(r, m);
        return;
    }
    if (m->term > r->term) {
        if (leader_lives(r, m->from) && !m->vote.transfer)
            return; /* not even its term is taken over: it would depose a leader that works */
        become_follower(r, m->term, 0);
    }
    if (m->term < r->term || !free_to_vote(r, m->from) || !up_to_date(r, m->vote.last)) {
        answer(r, m, false);
        return;
    }
    if (r->role != RAFT_FOLLOWER)
        become_follower(r, r->term, 0); /* we asked for pre-votes in this term and had not voted in it */
    r->vote = m->from;
    timer_reset(r);
    answer(r, m, true);
    raft_note(r, RAFT_EVENT_GRANTED, m->from, 0);
}

static raft_index votes_had(const struct raft *r)
{
    raft_index votes = 0;

    for (unsigned i = 0; i < r->peer_count; i++)
        votes += r->peers[i].granted && config_has_voter(config_in_force(r), r->peers[i].id);
    return votes;
}

void election_answered(struct raft *r, const struct raft_message *m)
{
    enum raft_role asked = m->voted.pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE;
    struct peer *p = peer_find(r, m->from);

    if (p == NULL || !p->member || r->role != asked)
        return;
    if (!m->voted.granted) {
        p->refused = true;
        return;
    }
    if (m->term != (m->voted.pre ? r->term + 1 : r->term))
        return;
    if (!p->granted && !m->voted.pre)
        raft_note(r, RAFT_EVENT_VOTED, m->from, votes_had(r) + 2); /* with our own, and this one */
    p->granted = true; /* a flag: however often the answer comes, it is one vote */
    p->grants++;
    election_count(r);
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

raft_time election_due(const struct raft *r, const struct peer *p)
{
    if (r->role != RAFT_PRECANDIDATE && r->role != RAFT_CANDIDATE)
        return RAFT_NEVER;
    if (p->granted || p->refused || !config_has_voter(config_in_force(r), p->id))
        return RAFT_NEVER;
    return p->vote_at;
}

void election_request(const struct raft *r, struct raft_message *m)
{
    m->type = RAFT_VOTE;
    m->vote.pre = r->role == RAFT_PRECANDIDATE;
    m->term = m->vote.pre ? r->term + 1 : r->term;
    m->vote.transfer = r->transfer && !m->vote.pre;
    m->vote.last = terms_last(&r->terms);
}
