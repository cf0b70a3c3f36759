/* config.c -- who counts: configurations, quorums, and the table of peers that follows from them.
 *
 * A configuration is in force as soon as its entry is in the log [thesis 4.1]. Two are kept: `latest`, in force, and
 * `committed`, the one before it or the same. There is never need for a third: a leader appends a configuration only
 * when the one before is committed, so when a second one arrives, on any member, the first must be committed. */
#include <string.h>

#include "raft/core.h"

const struct raft_member *config_find(const struct raft_config *c, raft_id id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return &c->members[i];
    return NULL;
}

bool config_has_voter(const struct raft_config *c, raft_id id)
{
    const struct raft_member *m = config_find(c, id);

    return m != NULL && m->role == RAFT_VOTER;
}

unsigned config_voters(const struct raft_config *c)
{
    unsigned voters = 0;

    for (unsigned i = 0; i < c->count; i++)
        voters += c->members[i].role == RAFT_VOTER;
    return voters;
}

bool config_valid(const struct raft_config *c)
{
    if (c == NULL || c->count == 0 || c->count > RAFT_MEMBERS_MAX)
        return false;
    for (unsigned i = 0; i < c->count; i++) {
        const struct raft_member *m = &c->members[i];

        if (m->id == 0 || config_find(c, m->id) != m)
            return false;
        if (m->role != RAFT_VOTER && m->role != RAFT_LEARNER)
            return false;
    }
    return config_voters(c) > 0;
}

const struct raft_config *config_in_force(const struct raft *r)
{
    return MUTANT(CONFIG_LATE) ? &r->committed.config : &r->latest.config;
}

bool is_voter(const struct raft *r)
{
    return config_has_voter(config_in_force(r), r->self);
}

/* Who was removed may still be needed, until that is committed: perhaps it alone has the entry, and those who remain
 * cannot win against its longer log. It stands, without a vote of its own [thesis 4.2.2]. */
bool may_lead(const struct raft *r)
{
    return is_voter(r) || (r->latest.index > r->commit && config_has_voter(&r->committed.config, r->self));
}

bool has_other_voters(const struct raft *r)
{
    return config_voters(config_in_force(r)) > (is_voter(r) ? 1U : 0U);
}

/* ---- quorums ---------------------------------------------------------------------------------------------------- */

uint64_t quorum_value(unsigned count, uint64_t *values)
{
    if (count == 0)
        return 0;
    for (unsigned i = 1; i < count; i++) { /* an insertion sort, the highest first: they are sixteen at most */
        uint64_t v = values[i];
        unsigned at = i;

        for (; at > 0 && values[at - 1] < v; at--)
            values[at] = values[at - 1];
        values[at] = v;
    }
    /* With n voters, n / 2 + 1 of them have at least the value at place n / 2. */
    return values[count / 2];
}

uint64_t quorum_of(const struct raft *r, uint64_t own, uint64_t (*value)(const struct peer *p))
{
    const struct raft_config *c = config_in_force(r);
    uint64_t values[RAFT_MEMBERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < c->count; i++) {
        const struct raft_member *m = &c->members[i];
        const struct peer *p = peer_look(r, m->id);

        if (m->role != RAFT_VOTER && !MUTANT(LEARNER_COUNTS))
            continue;
        if (m->id == r->self)
            values[count++] = own;
        else
            values[count++] = p == NULL ? 0 : value(p);
    }
    return quorum_value(count, values);
}

/* ---- peers -------------------------------------------------------------------------------------------------------- */

const struct peer *peer_look(const struct raft *r, raft_id id)
{
    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].id == id)
            return &r->peers[i];
    return NULL;
}

struct peer *peer_find(struct raft *r, raft_id id)
{
    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].id == id)
            return &r->peers[i];
    return NULL;
}

/* A full table has at least PEERS_MAX - RAFT_MEMBERS_MAX strangers, so there is always one to forget. */
static struct peer *peer_to_forget(struct raft *r)
{
    struct peer *oldest = NULL;

    for (unsigned i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];

        if (!p->member && (oldest == NULL || p->used < oldest->used))
            oldest = p;
    }
    assert(oldest != NULL);
    return oldest;
}

struct peer *peer_slot(struct raft *r, raft_id id)
{
    struct peer *p = peer_find(r, id);

    assert(id != 0);
    assert(id != r->self);
    if (p == NULL) {
        p = r->peer_count < PEERS_MAX ? &r->peers[r->peer_count++] : peer_to_forget(r);
        memset(p, 0, sizeof *p);
        p->id = id;
    }
    p->used = r->now;
    return p;
}

/* A peer whom the configuration no longer names is still told so for a while, that it may stop in an orderly way
 * instead of asking for votes [thesis 4.2.3]. */
static void peer_leaves(struct raft *r, struct peer *p)
{
    p->member = false;
    if (r->role != RAFT_LEADER)
        return;
    p->leaving = r->latest.index;
    p->leave_by = r->now + LEAVE_TIMEOUTS * r->election_ms;
    p->read_ticket = 0;
    if (r->transfer_to == p->id)
        r->transfer_to = 0;
}

void peers_sync(struct raft *r)
{
    const struct raft_config *c = config_in_force(r);

    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].member && config_find(c, r->peers[i].id) == NULL)
            peer_leaves(r, &r->peers[i]);
    for (unsigned i = 0; i < c->count; i++) {
        struct peer *p;

        if (c->members[i].id == r->self)
            continue;
        p = peer_slot(r, c->members[i].id);
        if (p->member)
            continue;
        p->member = true;
        if (r->role == RAFT_LEADER)
            progress_begin(r, p);
    }
}

/* ---- which configuration is in force ------------------------------------------------------------------------------ */

static void in_force(struct raft *r)
{
    peers_sync(r);
    raft_note(r, RAFT_EVENT_CONFIG, 0, r->latest.index);
}

void config_adopt(struct raft *r, raft_index index, const struct raft_config *c)
{
    assert(index > r->latest.index);
    r->committed = r->latest; /* it is committed, or this one would not have been proposed */
    r->latest.config = *c;
    r->latest.index = index;
    in_force(r);
}

void config_committed(struct raft *r)
{
    if (r->latest.index > r->commit || r->committed.index == r->latest.index)
        return;
    r->committed = r->latest;
    if (MUTANT(CONFIG_LATE))
        in_force(r);
}

void config_truncated(struct raft *r, raft_index first)
{
    if (r->latest.index < first || MUTANT(CONFIG_STAYS))
        return;
    assert(r->committed.index < first);
    r->latest = r->committed;
    in_force(r);
}

void config_installed(struct raft *r, const struct raft_config *c, raft_index index)
{
    bool log_is_gone = r->terms.last == r->terms.base.index;

    if (index >= r->committed.index) {
        r->committed.config = *c;
        r->committed.index = index;
    }
    if (log_is_gone || r->latest.index < r->committed.index)
        r->latest = r->committed;
    in_force(r);
}

/* ---- what may follow it ------------------------------------------------------------------------------------------- */

static unsigned voters_missing(const struct raft_config *of, const struct raft_config *in)
{
    unsigned missing = 0;

    for (unsigned i = 0; i < of->count; i++)
        missing += of->members[i].role == RAFT_VOTER && !config_has_voter(in, of->members[i].id);
    return missing;
}

enum raft_change raft_may_change(const struct raft *r, const struct raft_config *next)
{
    const struct raft_config *now = &r->latest.config;

    if (r->role != RAFT_LEADER || r->transfer_to != 0)
        return RAFT_CHANGE_NOT_LEADER;
    /* A leader could otherwise count on a majority of a configuration that a predecessor of its has replaced: the bug
     * that Ongaro reported on raft-dev in July 2015, and his rule against it. */
    if (terms_at(&r->terms, r->commit) != r->term && !MUTANT(CHANGE_TOO_EARLY))
        return RAFT_CHANGE_TOO_EARLY;
    if (r->latest.index > r->commit && !MUTANT(TWO_CHANGES))
        return RAFT_CHANGE_IN_FLIGHT;
    /* Majorities of two configurations that differ by one voter have a member in common [thesis 4.1]. */
    if (!config_valid(next) || voters_missing(now, next) + voters_missing(next, now) > 1)
        return RAFT_CHANGE_TOO_FAR;
    return RAFT_CHANGE_OK;
}

const struct raft_config *raft_config_latest(const struct raft *r)
{
    return &r->latest.config;
}

const struct raft_config *raft_config_committed(const struct raft *r)
{
    return &r->committed.config;
}
