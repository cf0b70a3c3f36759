#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static struct world *the_world;

struct world *sim_world(void)
{
    return the_world;
}

/* ---- chance: splitmix64 ---- */

static uint64_t scramble(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_random(struct world *w)
{
    w->rng += UINT64_C(0x9e3779b97f4a7c15);
    return scramble(w->rng);
}

uint64_t sim_below(struct world *w, uint64_t n)
{
    return n == 0 ? 0 : sim_random(w) % n;
}

uint64_t sim_between(struct world *w, uint64_t low, uint64_t high)
{
    return low + sim_below(w, high - low + 1);
}

bool sim_chance(struct world *w, unsigned per_mille)
{
    return per_mille != 0 && sim_random(w) % 1000 < per_mille;
}

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    return scramble(a + UINT64_C(0x9e3779b97f4a7c15) + scramble(b));
}

/* ---- the heap: by time, then by order ---- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_put(struct world *w, struct sim_event e)
{
    unsigned i = w->heap_count++;

    if (i == w->heap_capacity) {
        w->heap_capacity *= 2;
        w->heap = xrealloc(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    while (i > 0 && earlier(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
}

static struct sim_event heap_take(struct world *w)
{
    struct sim_event first = w->heap[0];
    struct sim_event last = w->heap[--w->heap_count];
    unsigned i = 0;

    for (;;) {
        unsigned child = 2 * i + 1;

        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && earlier(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!earlier(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

void sim_push(struct world *w, uint64_t delay, enum sim_event_type type, unsigned machine, unsigned life,
              uint32_t argument)
{
    heap_put(w, (struct sim_event){w->now + delay, ++w->order, type, machine, life, argument});
}

/* ---- birth and end ---- */

static void form_cluster(struct world *w)
{
    struct members first = {0};

    for (unsigned i = 0; i < w->config.voters + w->config.learners; i++) {
        struct machine *m = machine_add(w);

        machine_describe(m, &first.list[first.count]);
        first.list[first.count].role = i < w->config.voters ? RAFT_VOTER : RAFT_LEARNER;
        first.count++;
        m->known = true;
        m->joined = 1;
    }
    for (unsigned i = 0; i < w->machine_count; i++) {
        disk_log_form(&w->machines[i].log, &first);
        machine_start(&w->machines[i]);
    }
}

struct world *world_new(const struct sim_config *config)
{
    struct world *w = xcalloc(1, sizeof *w);

    the_world = w;
    w->config = *config;
    w->rng = sim_mix(config->seed, 1);
    w->now = 1000000;
    w->heap_capacity = 1024;
    w->heap = xcalloc(w->heap_capacity, sizeof *w->heap);
    w->incoming = incoming_new();
    w->next_value = 1;
    w->trace_hash = config->seed;
    return w;
}

/* Separate, so that a caller can ask for the story from the first event on. */
static void world_begin(struct world *w)
{
    form_cluster(w);
    for (unsigned i = 0; i < w->config.clients; i++) {
        w->clients[i].number = i;
        sim_push(w, sim_below(w, 300000), EVENT_CLIENT, 0, 0, i); /* token 0 */
    }
    if ((w->config.faults & 1u << FAULT_MEMBERS) != 0)
        sim_push(w, 1000 * w->config.election_ms, EVENT_OPERATOR, 0, 0, 0);
    if (w->config.faults != 0)
        sim_push(w, sim_below(w, 2 * w->config.fault_every), EVENT_FAULT, 0, 0, 0);
}

void world_free(struct world *w)
{
    if (w == NULL)
        return;
    for (unsigned i = 0; i < w->machine_count; i++) {
        struct machine *m = &w->machines[i];

        if (m->up)
            machine_stop(m, 0);
        disk_log_clear(&m->log);
        disk_map_clear(&m->kv);
        disk_files_clear(m);
        free(m->log.entries);
        free(m->log.runs);
        free(m->log.configs);
    }
    while (w->heap_count > 0) {
        struct sim_event e = heap_take(w);

        if (e.type == EVENT_PACKET)
            net_drop_packet(w, e.argument);
    }
    for (uint32_t i = 0; i < w->packet_count; i++)
        free(w->packets[i].data);
    free(w->packets);
    while (w->conn_free != NULL) {
        struct conn *c = w->conn_free;

        w->conn_free = c->next;
        free(c);
    }
    free(w->heap);
    free(w->ops);
    incoming_free(w->incoming);
    checker_clear(&w->checker);
    free(w);
    the_world = NULL;
}

/* ---- the loop ---- */

static void handle(struct world *w, const struct sim_event *e)
{
    struct machine *m = &w->machines[e->machine];

    switch (e->type) {
    case EVENT_WORK:
    case EVENT_DONE:
        if (m->life == e->life)
            machine_finish_role(m, &m->roles[e->argument], e->type);
        break;
    case EVENT_PACKET:
        net_arrive(w, e->argument, e->life);
        break;
    case EVENT_LOST:
        if (m->life == e->life && m->up) {
            raft_link_lost(m->shared.raft, machine_ms(m), w->machines[e->argument].id);
            machine_touched(m);
        }
        break;
    case EVENT_CLIENT:
        client_step(w, e->argument);
        break;
    case EVENT_FAULT:
        fault_next(w);
        break;
    case EVENT_START:
        if (m->life == e->life && !m->up && !m->gone)
            machine_start(m);
        break;
    case EVENT_LEAVE:
        if (m->life == e->life) {
            machine_stop(m, 0);
            m->gone = true;
        }
        break;
    case EVENT_RESUME:
        if (m->life == e->life && m->paused) {
            m->paused = false;
            trace(w, TRACE_RESUME, m, 0, 0, 0, 0);
            machine_touched(m);
        }
        break;
    case EVENT_MEND:
        fault_mend(w, e->argument);
        break;
    case EVENT_OPERATOR:
        operator_step(w);
        if (e->argument == 0 && !w->healed)
            sim_push(w, sim_below(w, 4000 * w->config.election_ms), EVENT_OPERATOR, 0, 0, 0);
        break;
    }
}

/* A stopped process does nothing: what concerns it waits until it goes on. */
static bool waits_for_pause(struct world *w, const struct sim_event *e)
{
    const struct machine *m = &w->machines[e->machine];
    struct sim_event later = *e;

    if (e->type != EVENT_WORK && e->type != EVENT_DONE && e->type != EVENT_PACKET && e->type != EVENT_LOST)
        return false;
    if (!m->up || !m->paused)
        return false;
    later.at = m->resume_at;
    later.order = ++w->order;
    heap_put(w, later);
    return true;
}

bool world_step(struct world *w)
{
    struct machine *next = NULL;

    if (w->machine_count == 0)
        world_begin(w);
    for (unsigned i = 0; i < w->machine_count; i++) {
        struct machine *m = &w->machines[i];

        if (m->up && !m->paused && m->next_at != SIM_NEVER && (next == NULL || m->next_at < next->next_at))
            next = m;
    }
    if (next == NULL && w->heap_count == 0)
        return false;
    w->steps++;
    /* What a pause has held up is not first: what came in meanwhile may be looked at before. */
    if (w->heap_count > 0 && (next == NULL || w->heap[0].at <= next->next_at || w->heap[0].at <= w->now)) {
        struct sim_event e = heap_take(w);

        w->now = e.at;
        if (!waits_for_pause(w, &e))
            handle(w, &e);
    } else {
        if (next->next_at > w->now) /* a pause may have held it up */
            w->now = next->next_at;
        machine_run_role(next);
    }
    return !w->failed;
}

void world_run_for(struct world *w, uint64_t duration)
{
    uint64_t end = w->now + duration;

    while (w->now < end && world_step(w))
        ;
}

/* ---- healing ---- */

static unsigned voters_of(const struct members *m)
{
    unsigned count = 0;

    for (unsigned i = 0; i < m->count; i++)
        count += m->list[i].role == RAFT_VOTER;
    return count;
}

/* Leaves a minority of the voters dead for good, where no change of membership makes it doubtful what a minority is. */
static void leave_minority_dead(struct world *w)
{
    const struct machine *leader = machine_leader(w);
    const struct members *latest = NULL;
    unsigned dead = 0;

    if (leader == NULL)
        return;
    /* All voices are needed where a map differs. */
    for (unsigned i = 0; i < w->machine_count; i++)
        if (!disk_map_is_whole(&w->machines[i].kv))
            return;
    latest = &leader->shared.directory.latest;
    for (unsigned i = 0; i < w->machine_count; i++) {
        const struct machine *m = &w->machines[i];

        if (m->up && m->shared.directory.latest_index != leader->shared.directory.latest_index)
            return;
    }
    /* Nor a change that the leader makes by itself, soon, while it still takes the dead for living. */
    for (unsigned i = 0; i < latest->count; i++)
        if (latest->list[i].replaces != 0 || (latest->list[i].role == RAFT_LEARNER && !latest->list[i].stays_learner))
            return;
    dead = (unsigned)sim_below(w, (voters_of(latest) + 1) / 2);
    for (unsigned i = 0; i < latest->count && dead > 0; i++) {
        struct machine *m = machine_by_id(w, latest->list[i].id);

        if (latest->list[i].role == RAFT_VOTER && m->up && sim_chance(w, 500)) {
            machine_stop(m, 0);
            dead--;
        }
    }
}

/* A process may come back at once; what it was doing is void. */
static void wake_machine(struct world *w, struct machine *m)
{
    m->disk_full = false;
    m->loses_chunks = false;
    m->disk_fails_in = 0;
    m->disk_hangs = 0;
    machine_clock(m, 1000);
    if (!m->known || m->gone)
        return;
    if (m->up && w->now < m->hangs_until)
        machine_stop(m, 0);
    if (m->up && m->paused) {
        m->resume_at = w->now;
        sim_push(w, 0, EVENT_RESUME, m->slot, m->life, 0);
    }
    if (!m->up)
        machine_start(m);
    else if (!m->paused)
        machine_touched(m);
}

void world_heal(struct world *w)
{
    w->healed = true;
    w->healed_at = w->now;
    trace(w, TRACE_HEAL, NULL, 0, 0, 0, 0);
    net_heal(w);
    w->config.loss = w->config.duplicate = w->config.straggle = 0;
    w->config.slow_sync = w->config.slow_hop = 0;
    w->config.sync_max = w->config.sync_max < 3000 ? w->config.sync_max : 3000;
    w->config.sync_min = w->config.sync_min < 1000 ? w->config.sync_min : 1000;
    w->config.delay_max = w->config.delay_max < 3000 ? w->config.delay_max : 3000;
    w->config.delay_min = w->config.delay_min < 1000 ? w->config.delay_min : 1000;
    w->config.hop_max = w->config.hop_max < 500 ? w->config.hop_max : 500;
    w->config.think_max = w->config.think_max < 20000 ? 20000 : w->config.think_max;
    for (unsigned i = 0; i < w->machine_count; i++)
        wake_machine(w, &w->machines[i]);
    for (unsigned i = 0; i < w->config.clients; i++)
        w->clients[i].successes = 0;
    if (!fault_spoil_for_good(w) && sim_chance(w, 300))
        leave_minority_dead(w);
    for (unsigned i = 0; i < w->machine_count; i++)
        w->healed_spoiled = w->healed_spoiled || !disk_map_is_whole(&w->machines[i].kv);
}

static const char *member_unsettled(const struct machine *leader, const struct members *latest)
{
    struct world *w = leader->world;

    for (unsigned i = 0; i < latest->count; i++) {
        const struct machine *m = machine_by_id(w, latest->list[i].id);

        if (m == NULL || !m->up)
            continue;
        if (m->seen.leader != leader->id)
            return "a member does not follow the leader";
        if (!disk_map_is_whole(&m->kv) || m->shared.integrity.doubted)
            return "a member's map is not what it should be";
        if (m->seen.applied < leader->seen.config_index || m->seen.applied + 200 < leader->seen.applied)
            return "a member lags behind";
    }
    return NULL;
}

const char *world_unsettled(struct world *w)
{
    const struct machine *leader = machine_leader(w);

    if (leader == NULL)
        return "nobody leads";
    if (leader->seen.config_committed_index != leader->seen.config_index)
        return "a configuration is not committed";
    for (unsigned i = 0; i < w->config.clients; i++)
        if (w->clients[i].successes == 0)
            return "a client had no success";
    return member_unsettled(leader, &leader->shared.directory.latest);
}

/* After healing there must be progress for all within twenty election timeouts, and without many elections. */
static void run_to_rest(struct world *w)
{
    uint64_t limit = 20 * 1000 * w->config.election_ms;
    const char *why = NULL;

    if (limit < 3000000)
        limit = 3000000;
    w->leaders_at_heal = w->checker.leaders;
    while ((why = world_unsettled(w)) != NULL && w->now < w->healed_at + limit)
        if (!world_step(w))
            return;
    if (why != NULL)
        sim_fail(w, "liveness", "%s, %llu ms after all was healed", why,
                 (unsigned long long)((w->now - w->healed_at) / 1000));
    /* Who doubts its map may win, and then hands over. */
    else if (w->checker.leaders - w->leaders_at_heal > (w->healed_spoiled ? 6 : 3))
        sim_fail(w, "liveness", "%llu elections were won after all was healed",
                 (unsigned long long)(w->checker.leaders - w->leaders_at_heal));
}

void world_run(struct world *w)
{
    while (w->steps < w->config.events && world_step(w))
        ;
    if (w->failed)
        return;
    world_heal(w);
    run_to_rest(w);
    if (!w->failed)
        check_end(w);
}
