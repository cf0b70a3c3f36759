/* operator.c -- the person who adds, removes, promotes and demotes members while all the rest goes wrong. */
#include <string.h>

#include "base/check.h"
#include "sim.h"

bool operator_propose(struct machine *m, const struct members *next, unsigned joiner)
{
    struct world *w = m->world;
    struct raft_config config;
    struct raft_status status;
    struct entry *e = NULL;
    raft_index index = 0;

    members_config(next, &config);
    if (raft_may_change(m->shared.raft, &config) != RAFT_CHANGE_OK)
        return false;
    e = members_entry(next);
    raft_status(m->shared.raft, &status);
    index = shared_propose(&m->shared, machine_ms(m), e, next);
    if (index == 0) {
        entry_unref(e);
        return false;
    }
    trace(w, TRACE_MEMBERS, m, next->count, index, 0, 0);
    memset(&w->operator_request, 0, sizeof w->operator_request);
    request_begin_write(&m->shared, &w->operator_request, index, status.term);
    w->operator_.waits = true;
    w->operator_.machine = m->slot;
    w->operator_.life = m->life;
    w->operator_.joiner = joiner;
    machine_touched(m);
    return true;
}

static unsigned plan_add(struct world *w, struct members *next, bool moving)
{
    struct machine *m = next->count < 9 ? machine_add(w) : NULL;

    if (m == NULL)
        return 0;
    machine_describe(m, &next->list[next->count]);
    next->list[next->count].stays_learner = sim_chance(w, 250);
    if (!moving && sim_chance(w, 400)) /* in the place of another, which goes by itself when this one has its vote */
        next->list[next->count].replaces = next->list[sim_below(w, next->count)].id;
    next->count++;
    return m->slot + 1;
}

/* A joiner whose leader died before it said yes asks again, and finds itself a member. */
static void start_forgotten(struct world *w, const struct machine *leader)
{
    for (unsigned i = 0; i < leader->shared.directory.latest.count; i++) {
        struct machine *m = machine_by_id(w, leader->shared.directory.latest.list[i].id);

        if (m->known || leader->seen.config_committed_index != leader->seen.config_index)
            continue;
        m->known = true;
        m->joined = leader->seen.config_index;
        machine_start(m);
    }
}

/* A member that moves tells those whom it knows: at least one of them must be left (README). */
static bool somebody_moves(struct world *w, const struct machine *leader)
{
    for (unsigned i = 0; i < leader->shared.directory.latest.count; i++) {
        const struct member *m = &leader->shared.directory.latest.list[i];

        if (strcmp(machine_by_id(w, m->id)->peer, m->peer) != 0)
            return true;
    }
    return false;
}

void operator_step(struct world *w)
{
    static struct members next;
    struct machine *m = machine_leader(w);
    unsigned victim = 0;
    unsigned joiner = 0;

    if (m == NULL || m->paused || w->operator_.waits || w->healed)
        return;
    start_forgotten(w, m);
    next = m->shared.directory.latest;
    victim = (unsigned)sim_below(w, next.count);
    switch (sim_below(w, 4)) {
    case 0:
        joiner = plan_add(w, &next, somebody_moves(w, m));
        break;
    case 1:
        if (somebody_moves(w, m))
            return;
        members_remove(&next, next.list[victim].id, machine_ms(m));
        break;
    case 2:
        next.list[victim].role = RAFT_VOTER;
        break;
    default:
        next.list[victim].role = RAFT_LEARNER;
        next.list[victim].stays_learner = sim_chance(w, 500);
        break;
    }
    operator_propose(m, &next, joiner);
}

void operator_look(struct world *w, struct machine *m)
{
    struct machine *joiner = NULL;

    if (!w->operator_.waits)
        return;
    if (w->machines[w->operator_.machine].life != w->operator_.life) {
        w->operator_.waits = false; /* nobody knows what became of it */
        return;
    }
    if (m->slot != w->operator_.machine || w->operator_request.state == REQUEST_WAITING)
        return;
    w->operator_.waits = false;
    /* One who is in a hurry meets the chores of the leader's timer. */
    if (!w->healed && (w->config.faults & 1u << FAULT_MEMBERS) != 0 && sim_chance(w, 700))
        sim_push(w, sim_below(w, sim_chance(w, 500) ? 2000 : 50000), EVENT_OPERATOR, 0, 0, 1);
    if (w->operator_request.state != REQUEST_DONE || w->operator_.joiner == 0)
        return;
    joiner = &w->machines[w->operator_.joiner - 1];
    joiner->known = true;
    joiner->joined = w->operator_request.index;
    machine_start(joiner);
}
