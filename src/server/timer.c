/* timer.c -- the role that lets time pass for the core, and does the leader's chores: the no-op of a new term, promoting
 * learners that have caught up, removing members whose place another one has taken, making known the new address of a
 * member that moved, and abandoning a restore of the map whose leader is gone; and hands over where others have room and we
 * have none. No chore takes votes so that those who answer now are no quorum any more: a learner that has caught up and died
 * gets none [thesis 4.2.1].
 *
 * A chore's entry is made in `work`, without the lock, and proposed in `done` if the reason for it still stands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/logger.h"
#include "server/change.h"
#include "server/event.h"
#include "server/mutants.h"
#include "server/role.h"
#include "server/shared.h"

#define CHORE_RETRY_MS     50
#define ABANDON_RETRY_MS   1000 /* a second one changes nothing */
#define HAND_OVER_RETRY_MS 1000 /* a transfer that nobody took up has stopped clients for an election timeout */

enum chore { CHORE_NONE, CHORE_NOOP, CHORE_CONFIG, CHORE_HAND_OVER, CHORE_ABANDON };

struct timer_job {
    enum chore chore;
    raft_index config_index; /* the configuration that `members` was made of */
    raft_index restoring;    /* the restore to abandon */
    struct members members;
    struct entry *entry;
};

static void *timer_job_new(const struct role_context *c, unsigned which)
{
    (void)c;
    (void)which;
    return xcalloc(1, sizeof(struct timer_job));
}

static void timer_job_free(void *job)
{
    struct timer_job *j = job;

    entry_unref(j->entry);
    free(j);
}

static const struct peer *peer_of(const struct shared *s, raft_id id)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == id)
            return &s->peers[i];
    return NULL;
}

static bool deserves_vote(const struct shared *s, const struct member *m)
{
    return m->role == RAFT_LEARNER && !m->stays_learner && raft_caught_up(s->raft, m->id);
}

static bool has_moved(const struct shared *s, const struct member *m)
{
    const struct peer *p = peer_of(s, m->id);

    if (m->id == s->self)
        return s->moved;
    return p != NULL && p->moved;
}

static bool no_change_in_flight(const struct shared *s)
{
    return raft_may_change(s->raft, raft_config_latest(s->raft)) == RAFT_CHANGE_OK;
}

static bool leads(const struct shared *s)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    return status.role == RAFT_LEADER;
}

static enum chore wanted_chore(const struct shared *s)
{
    const struct member *old = NULL;

    if (raft_wants_noop(s->raft))
        return CHORE_NOOP;
    if (s->integrity.doubted && integrity_stands_still(s) && leads(s))
        return CHORE_HAND_OVER;
    if (raft_heir_with_room(s->raft) != 0)
        return CHORE_HAND_OVER;
    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];

        if ((deserves_vote(s, m) || has_moved(s, m)) && no_change_in_flight(s))
            return CHORE_CONFIG;
        old = change_replaced(s, m);
        if (old != NULL && no_change_in_flight(s))
            return old->id == s->self ? CHORE_HAND_OVER : CHORE_CONFIG;
    }
    return CHORE_NONE;
}

/* A restore is led by whoever got it from a client: if that is not us, it is another leader, and that one is gone. */
static bool must_abandon(const struct shared *s)
{
    struct raft_status status;

    if (s->restoring == 0 || s->restores)
        return false;
    raft_status(s->raft, &status);
    return status.role == RAFT_LEADER && !status.transferring;
}

static raft_time timer_due(const struct shared *s, unsigned which)
{
    raft_time due = raft_tick_due(s->raft);

    (void)which;
    if (s->failure != 0)
        return RAFT_NEVER;
    if (due > s->chores_at && wanted_chore(s) != CHORE_NONE)
        return s->chores_at;
    if (due > s->abandon_at && must_abandon(s))
        return s->abandon_at;
    return due;
}

static void plan_moves(const struct shared *s, struct members *out)
{
    for (unsigned i = 0; i < out->count; i++) {
        struct member *m = &out->list[i];
        const struct peer *p = peer_of(s, m->id);

        if (has_moved(s, m)) {
            snprintf(m->client, sizeof m->client, "%s", m->id == s->self ? s->client : p->moved_client);
            snprintf(m->peer, sizeof m->peer, "%s", m->id == s->self ? s->peer : p->moved_peer);
            m->profile = m->id == s->self ? s->profile : p->moved_profile;
        }
    }
}

/* One learner promoted, or one member gone whose place is taken, at most: one voter comes or goes at a time [thesis 4.1]. */
static void plan_vote(const struct shared *s, raft_time now, struct members *out)
{
    const struct members moved = *out;
    const struct member *old = NULL;

    for (unsigned i = 0; i < moved.count; i++) {
        const struct member *m = &moved.list[i];

        old = change_replaced(s, m);
        if (deserves_vote(s, m))
            out->list[i].role = RAFT_VOTER;
        else if (old != NULL && old->id != s->self)
            members_remove(out, old->id, s->wall_ns + now * 1000000);
        else
            continue;
        if (change_keeps_quorum(s, now, out))
            return;
        *out = moved;
    }
}

static bool is_to_go(const struct shared *s, raft_id id)
{
    for (unsigned i = 0; i < s->directory.latest.count; i++)
        if (s->directory.latest.list[i].replaces == id)
            return true; /* at once, or when that one has caught up */
    return false;
}

/* The voter that answers with the longest log, of those whose place nobody takes: others would only hand over again. 0: the
 * core knows best. */
static raft_id heir_that_stays(const struct shared *s, raft_time now)
{
    struct raft_peer_status status;
    raft_index match = 0;
    raft_id best = 0;

    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];

        if (m->role != RAFT_VOTER || is_to_go(s, m->id) || !raft_peer_status(s->raft, now, m->id, &status) ||
            !status.active || (best != 0 && status.match <= match))
            continue;
        best = m->id;
        match = status.match;
    }
    return best;
}

/* Who doubts its own map hands over to one who does not, or waits for one. */
static void hand_over(struct shared *s, raft_time now)
{
    raft_id heir = 0;

    if (integrity_stands_still(s))
        heir = integrity_heir(s, now);
    else if (raft_heir_with_room(s->raft) == 0)
        heir = heir_that_stays(s, now);
    if (heir != 0 || !integrity_stands_still(s))
        raft_transfer(s->raft, now, heir);
}

static enum chore plan_chore(struct shared *s, raft_time now, struct members *out)
{
    enum chore chore = wanted_chore(s);

    if (chore == CHORE_HAND_OVER) {
        hand_over(s, now);
        s->chores_at = now + HAND_OVER_RETRY_MS;
        return CHORE_NONE;
    }
    if (chore != CHORE_CONFIG)
        return chore;
    *out = s->directory.latest;
    plan_moves(s, out);
    plan_vote(s, now, out);
    if (!change_is_none(s, out))
        return CHORE_CONFIG;
    s->chores_at = now + CHORE_RETRY_MS;
    return CHORE_NONE;
}

static void timer_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct timer_job *j = job;

    (void)which;
    raft_tick(s->raft, now);
    j->chore = s->chores_at <= now ? plan_chore(s, now, &j->members) : CHORE_NONE;
    j->config_index = s->directory.latest_index;
    if (j->chore == CHORE_NONE && s->abandon_at <= now && must_abandon(s)) {
        j->chore = CHORE_ABANDON;
        j->restoring = s->restoring;
        s->abandon_at = now + ABANDON_RETRY_MS;
    }
}

static void timer_work(void *job)
{
    struct timer_job *j = job;

    switch (j->chore) {
    case CHORE_NONE:
    case CHORE_HAND_OVER:
        break;
    case CHORE_NOOP:
        j->entry = entry_new(RAFT_NOOP, 0);
        entry_seal(j->entry);
        break;
    case CHORE_CONFIG:
        j->entry = members_entry(&j->members);
        break;
    case CHORE_ABANDON:
        j->entry = command_entry(&(struct command){.op = COMMAND_RESTORE_ABANDON, .expected = j->restoring});
        break;
    }
}

static bool still_wanted(const struct shared *s, const struct timer_job *j)
{
    struct raft_config next;

    if (j->chore == CHORE_NOOP)
        return raft_wants_noop(s->raft);
    if (j->chore == CHORE_ABANDON)
        return must_abandon(s) && s->restoring == j->restoring;
    members_config(&j->members, &next);
    return j->config_index == s->directory.latest_index && raft_may_change(s->raft, &next) == RAFT_CHANGE_OK;
}

static void timer_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct timer_job *j = job;
    raft_index index = 0;

    (void)which;
    if (j->chore == CHORE_NONE)
        return;
    if (still_wanted(s, j) || BROKEN(CHORE_UNASKED))
        index = shared_propose(s, now, j->entry, j->chore == CHORE_CONFIG ? &j->members : NULL);
    if (index == 0)
        entry_unref(j->entry);
    else if (j->chore == CHORE_CONFIG)
        event_log_change(&s->directory.previous, &j->members, index);
    j->entry = NULL;
    s->chores_at = index != 0 ? 0 : now + CHORE_RETRY_MS;
}

const struct role_ops timer_ops = {
    .name = "timer",
    .job_new = timer_job_new,
    .job_free = timer_job_free,
    .due = timer_due,
    .take = timer_take,
    .work = timer_work,
    .done = timer_done,
};
