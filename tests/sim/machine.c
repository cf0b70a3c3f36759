/* machine.c -- one machine: its process with shared state and roles, its clock, its starts and stops. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

#define ROLE_TIMER       0
#define ROLE_WRITER      1
#define ROLE_APPLIER     2
#define ROLE_SNAPSHOTTER 3
#define ROLE_AUDITOR     4
#define ROLE_SENDER      5

struct machine *machine_add(struct world *w)
{
    struct machine *m = NULL;

    if (w->machine_count == SIM_MACHINES)
        return NULL;
    m = &w->machines[w->machine_count];
    m->world = w;
    m->slot = w->machine_count++;
    m->id = m->slot + 1;
    m->port = 7001 + m->slot;
    snprintf(m->name, sizeof m->name, "m%u", m->slot + 1);
    snprintf(m->client, sizeof m->client, "sim:%u", m->port - 3000);
    snprintf(m->peer, sizeof m->peer, "sim:%u", m->port);
    m->log.machine = m;
    m->kv.machine = m;
    m->clock_us = w->now;
    m->clock_ms = sim_between(w, 1, 100000000);
    m->clock_rate = 1000;
    return m;
}

void machine_describe(const struct machine *m, struct member *out)
{
    memset(out, 0, sizeof *out);
    out->id = m->id;
    out->role = RAFT_LEARNER;
    memcpy(out->name, m->name, sizeof out->name);
    memcpy(out->client, m->client, sizeof out->client);
    memcpy(out->peer, m->peer, sizeof out->peer);
}

struct machine *machine_by_id(struct world *w, raft_id id)
{
    return id >= 1 && id <= w->machine_count ? &w->machines[id - 1] : NULL;
}

struct machine *machine_leader(struct world *w)
{
    struct machine *best = NULL;

    for (unsigned i = 0; i < w->machine_count; i++) {
        struct machine *m = &w->machines[i];

        if (m->up && m->seen.role == RAFT_LEADER && (best == NULL || m->seen.term > best->seen.term))
            best = m;
    }
    return best;
}

/* ---- its clock ---- */

raft_time machine_ms(const struct machine *m)
{
    return m->clock_ms + (m->world->now - m->clock_us) * m->clock_rate / 1000000;
}

/* The first microsecond of the world at which this member's clock shows `ms`. */
static uint64_t moment_of(const struct machine *m, raft_time ms)
{
    if (ms <= machine_ms(m))
        return m->world->now;
    return m->clock_us + ((ms - m->clock_ms) * 1000000 + m->clock_rate - 1) / m->clock_rate;
}

void machine_clock(struct machine *m, unsigned rate)
{
    m->clock_ms = machine_ms(m);
    m->clock_us = m->world->now;
    m->clock_rate = rate;
}

/* ---- its roles ---- */

static void roles_init(struct machine *m)
{
    struct role_context context = {.log = &m->log,
                                   .kv = &m->kv,
                                   .election_ms = m->world->config.election_ms,
                                   .dump_path = SIM_DUMP,
                                   .dump_fresh_path = SIM_DUMP,
                                   .incoming_path = SIM_INCOMING};

    m->world->current = m;
    for (unsigned i = 0; i < SIM_ROLES; i++) {
        struct sim_role *r = &m->roles[i];

        r->ops = i == ROLE_TIMER         ? &timer_ops
                 : i == ROLE_WRITER      ? &writer_ops
                 : i == ROLE_APPLIER     ? &applier_ops
                 : i == ROLE_SNAPSHOTTER ? &snapshotter_ops
                 : i == ROLE_AUDITOR     ? &auditor_ops
                                         : &sender_ops;
        r->which = i >= ROLE_SENDER ? i - ROLE_SENDER : 0;
        r->job = r->ops->job_new(&context, r->which);
        r->busy = false;
        r->run_at = SIM_NEVER;
        r->base = 0;
    }
}

/* A thread may get the processor or the lock very late. */
static uint64_t late(struct world *w)
{
    uint64_t most = w->config.election_ms * 1000;

    if (!sim_chance(w, w->config.slow_hop))
        return 0;
    return sim_below(w, sim_chance(w, 200) ? 8 * most : most);
}

/* From the moment a role is due to the moment its thread has the lock. */
static uint64_t hop(struct world *w)
{
    uint64_t delay = sim_below(w, w->config.hop_max + 1);

    return delay + late(w);
}

static void schedule_role(struct machine *m, struct sim_role *r)
{
    raft_time due = r->ops->due(&m->shared, r->which);
    uint64_t at = due == RAFT_NEVER ? SIM_NEVER : moment_of(m, due);

    if (at == SIM_NEVER) {
        r->run_at = SIM_NEVER;
        return;
    }
    /* Already on its way for what is due now, or for that very moment. */
    if (r->run_at != SIM_NEVER && (r->base == at || (r->base <= m->world->now && at <= m->world->now)))
        return;
    r->base = at;
    r->run_at = at + hop(m->world);
}

static void schedule(struct machine *m)
{
    m->next_at = SIM_NEVER;
    for (unsigned i = 0; i < SIM_ROLES; i++) {
        struct sim_role *r = &m->roles[i];

        if (r->busy)
            continue;
        schedule_role(m, r);
        if (r->run_at < m->next_at)
            m->next_at = r->run_at;
    }
}

static uint64_t sync_time(struct machine *m)
{
    struct world *w = m->world;
    uint64_t time = sim_between(w, w->config.sync_min, w->config.sync_max);

    if (m->disk_hangs != 0) {
        time = m->disk_hangs;
        m->disk_hangs = 0;
        m->hangs_until = w->now + time;
    } else if (sim_chance(w, w->config.slow_sync))
        time = sim_below(w, 1000000);
    return time;
}

/* How long the work of a role takes, as far as it does not depend on others. */
static uint64_t work_time(struct machine *m, unsigned role)
{
    struct world *w = m->world;
    uint64_t time = late(w); /* one draw in one expression: compilers differ in their order */

    if (role == ROLE_WRITER)
        return time + sync_time(m);
    if (sim_chance(w, w->config.instant))
        return time;
    if (role == ROLE_APPLIER || role == ROLE_SNAPSHOTTER)
        return time + sim_below(w, w->config.sync_max);
    return time + sim_below(w, sim_chance(w, 900) ? 100 : 5000);
}

static void do_work(struct machine *m, struct sim_role *r)
{
    m->world->current = m;
    m->world->work_extra = 0;
    r->ops->work(r->job);
}

static void do_done(struct machine *m, struct sim_role *r)
{
    trace(m->world, TRACE_DONE, m, (uint64_t)(r - m->roles), 0, 0, 0);
    m->world->current = m;
    r->busy = false;
    r->run_at = SIM_NEVER;
    r->ops->done(&m->shared, machine_ms(m), r->which, r->job);
    machine_touched(m);
}

/* The disk may do it early or late within the time that it takes: a crash in between finds it done, or not. */
static void take_role(struct machine *m, struct sim_role *r)
{
    struct world *w = m->world;
    unsigned number = (unsigned)(r - m->roles);
    uint64_t time = 0;
    uint64_t before = 0;

    r->busy = true;
    w->current = m;
    r->ops->take(&m->shared, machine_ms(m), r->which, r->job);
    time = work_time(m, number);
    before = sim_chance(w, 300) ? 0 : sim_below(w, time + 1);
    trace(w, TRACE_TAKE, m, number, time, before, 0);
    if (before > 0)
        sim_push(w, before, EVENT_WORK, m->slot, m->life, number);
    else
        do_work(m, r);
    if (before > 0) {
        r->base = time - before; /* what is left after the work */
        machine_touched(m);
    } else if (time + w->work_extra > 0) {
        sim_push(w, time + w->work_extra, EVENT_DONE, m->slot, m->life, number);
        machine_touched(m);
    } else
        do_done(m, r);
}

void machine_finish_role(struct machine *m, struct sim_role *r, enum sim_event_type what)
{
    struct world *w = m->world;

    if (what == EVENT_WORK) {
        trace(w, TRACE_WORK, m, (uint64_t)(r - m->roles), 0, 0, 0);
        do_work(m, r);
        if (r->base + w->work_extra > 0) {
            sim_push(w, r->base + w->work_extra, EVENT_DONE, m->slot, m->life, (uint32_t)(r - m->roles));
            return;
        }
    }
    do_done(m, r);
}

void machine_run_role(struct machine *m)
{
    struct sim_role *next = NULL;

    for (unsigned i = 0; i < SIM_ROLES; i++) {
        struct sim_role *r = &m->roles[i];

        if (!r->busy && r->run_at <= m->world->now && (next == NULL || r->run_at < next->run_at))
            next = r;
    }
    CHECK(next != NULL);
    next->run_at = SIM_NEVER;
    /* Due a moment ago is not due now. */
    if (next->ops->due(&m->shared, next->which) > machine_ms(m)) {
        schedule(m);
        return;
    }
    if (next->ops == &sender_ops) {
        const struct peer *p = &m->shared.peers[next->which];
        struct raft_message message;

        if (!p->stale_link && p->id != 0) {
            raft_next_message(m->shared.raft, machine_ms(m), p->id, &message);
            check_message(m, &message);
        }
    }
    take_role(m, next);
}

/* ---- what follows each event, as node_unlock does it in a server ---- */

static void tell_events(struct machine *m)
{
    struct raft_event e;

    while (raft_next_event(m->shared.raft, &e)) {
        trace(m->world, TRACE_CORE, m, e.type, e.term, e.peer, e.index);
        if (m->world->story != NULL)
            story_tell(m->world, m, &e);
    }
}

void machine_touched(struct machine *m)
{
    struct world *w = m->world;

    requests_settle(&m->shared, machine_ms(m));
    m->shared.requests.finished = m->shared.requests.finished_end = NULL; /* nobody sleeps here */
    tell_events(m);
    raft_check(m->shared.raft);
    check_machine(m);
    if (m->clients != 0)
        clients_look(w, m);
    operator_look(w, m);
    if (m->shared.failure != 0) {
        machine_stop(m, 0);
        /* What was under way when all was healed may still fail, and then somebody is there. */
        sim_push(w, sim_between(w, 10000, w->healed ? 100000 : 3000000), EVENT_START, m->slot, m->life, 0);
        return;
    }
    /* A server that stops in good order has still time to say what it has to say. */
    if (m->shared.removed && !m->leaves) {
        m->leaves = true;
        sim_push(w, sim_below(w, w->config.hop_max * 20) + 20000, EVENT_LEAVE, m->slot, m->life, 0);
    }
    schedule(m);
}

/* ---- starts and stops ---- */

void machine_start(struct machine *m)
{
    struct world *w = m->world;
    struct why why = {""};
    struct shared_start start = {
        .self = m->id,
        .name = m->name,
        .client = m->client,
        .peer = m->peer,
        .cluster = SIM_CLUSTER,
        .joined = m->joined,
        .seed = sim_mix(w->config.seed, m->life * 64 + m->slot), /* not by the order of events: stories stay */
        .election_ms = w->config.election_ms,
        .heartbeat_ms = w->config.heartbeat_ms,
        .log_max_entries = w->config.log_max != 0 ? w->config.log_max : UINT64_MAX,
        .log_max_bytes = UINT64_MAX,
    };
    int err = 0;

    disk_files_start(m);
    err = shared_open(&m->shared, &start, &m->log, &m->kv, machine_ms(m), &why);
    if (err == 0)
        transfer_recall(&m->shared, SIM_INCOMING);
    if (err == ERR_IO) { /* the disk failed at that very moment: status 1, and somebody starts it again */
        sim_push(w, sim_between(w, 1000, 1000000), EVENT_START, m->slot, m->life, 0);
        return;
    }
    if (err != 0) {
        sim_fail(w, "start", "m%u does not start: %s", m->slot + 1, why.text);
        return;
    }
    m->shared.transfer_chunk = w->config.chunk;
    m->shared.report_ms = w->config.election_ms;
    m->shared.scrub_ms = w->config.election_ms / 20;
    m->up = true;
    m->paused = false;
    m->leaves = false;
    m->life++;
    roles_init(m);
    trace(w, TRACE_START, m, m->log.hard.term, m->log.last, m->kv.committed.applied.index, 0);
    check_started(m);
    machine_touched(m);
}

/* A process that ends closes its connections; who is cut off from it, or where it was the power that failed, sees none of it. */
void machine_links_lost(struct machine *m)
{
    struct world *w = m->world;

    for (unsigned i = 0; i < w->machine_count; i++)
        if (i != m->slot && w->machines[i].up && !w->cut[m->slot][i])
            sim_push(w, sim_below(w, 1000) + 1, EVENT_LOST, i, w->machines[i].life, m->slot);
}

void machine_stop(struct machine *m, unsigned lost_transactions)
{
    m->up = false;
    m->paused = false;
    m->life++;
    clients_stopped(m->world, m);
    trace(m->world, TRACE_STOP, m, lost_transactions, (uint64_t)-m->shared.failure, m->shared.removed, 0);
    for (unsigned i = 0; i < SIM_ROLES; i++)
        m->roles[i].ops->job_free(m->roles[i].job);
    shared_close(&m->shared);
    disk_map_crash(&m->kv, lost_transactions);
}

void machine_pause(struct machine *m, uint64_t duration)
{
    m->paused = true;
    m->resume_at = m->world->now + duration;
    trace(m->world, TRACE_PAUSE, m, duration, 0, 0, 0);
    sim_push(m->world, duration, EVENT_RESUME, m->slot, m->life, 0);
}
