/* fault.c -- what kind of run a seed is, what goes wrong in it, and the operator who changes the membership meanwhile. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

#define BIT(f) (1u << (f))

static const char *const names[FAULT_COUNT] = {
    [FAULT_CRASH] = "crash",         [FAULT_POWER] = "power-cut",   [FAULT_KILL_ALL] = "kill-all",
    [FAULT_PAUSE] = "pause",         [FAULT_PARTITION] = "halves",  [FAULT_ONE_WAY] = "one-way",
    [FAULT_RING] = "ring",           [FAULT_BRIDGE] = "bridge",     [FAULT_ISOLATE] = "isolate-leader",
    [FAULT_FLAP] = "flap",           [FAULT_CLOG] = "clog",         [FAULT_SLOW_DISK] = "slow-disk",
    [FAULT_HUNG_DISK] = "hung-disk", [FAULT_NO_SPACE] = "no-space", [FAULT_IO_ERROR] = "io-error",
    [FAULT_CLOCK] = "clock",         [FAULT_MEMBERS] = "members",   [FAULT_TRANSFER] = "transfer",
    [FAULT_MOVE] = "move",           [FAULT_SPOIL] = "spoil",       [FAULT_CHUNKS] = "chunks",
    [FAULT_DIVERGE] = "diverge",
};

const char *fault_name(enum sim_fault f)
{
    return f < FAULT_COUNT ? names[f] : "?";
}

/* ---- the kind of run: a swarm, each seed has its own mixture [Groce and others 2012] ---- */

static void draw_network(struct sim_config *c, struct world *r)
{
    static const uint64_t slowest[] = {300, 1000, 5000, 20000};

    c->delay_min = 30;
    c->delay_max = slowest[sim_below(r, 4)];
    c->stream = sim_chance(r, 600);
    if (sim_chance(r, 500))
        c->loss = (unsigned)sim_below(r, sim_chance(r, 200) ? 300 : 40);
    if (sim_chance(r, 500))
        c->duplicate = (unsigned)sim_below(r, sim_chance(r, 200) ? 500 : 50);
    if (sim_chance(r, 500))
        c->straggle = (unsigned)sim_below(r, 30);
}

static void draw_disk(struct sim_config *c, struct world *r)
{
    static const uint64_t slowest[] = {300, 2000, 10000, 50000};

    c->sync_min = 50;
    c->sync_max = slowest[sim_below(r, 4)];
    if ((c->faults & BIT(FAULT_SLOW_DISK)) != 0)
        c->slow_sync = (unsigned)sim_below(r, 100);
    c->hop_max = sim_chance(r, 500) ? 50 : 1000;
    if (sim_chance(r, 400))
        c->slow_hop = (unsigned)sim_below(r, 20);
    c->instant = sim_chance(r, 500) ? 900 : 300;
}

static void draw_clients(struct sim_config *c, struct world *r)
{
    c->clients = (unsigned)sim_between(r, 1, SIM_CLIENTS_MAX);
    c->keys = (unsigned)sim_between(r, 1, SIM_KEYS_MAX);
    c->think_max = sim_chance(r, 500) ? 5000 : 100000;
    c->patience = c->election_ms * 1000 * sim_between(r, 1, 10);
    c->batch = sim_chance(r, 300) ? CLIENT_BATCH : 1;
    c->reads = (unsigned)sim_between(r, 100, 700);
    c->deletes = (unsigned)sim_below(r, 200);
    c->conditions = (unsigned)sim_below(r, 300);
}

void config_draw(struct sim_config *c, uint64_t seed)
{
    static const raft_time timeouts[] = {50, 100, 150, 300, 1000};
    static const unsigned sizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 7};
    static struct world chance; /* only its random numbers */
    struct world *r = &chance;

    r->rng = sim_mix(seed, 0);
    memset(c, 0, sizeof *c);
    c->seed = seed;
    c->voters = sizes[sim_below(r, sizeof sizes / sizeof *sizes)];
    c->learners = sim_chance(r, 200) ? 1 : 0;
    c->election_ms = timeouts[sim_below(r, sizeof timeouts / sizeof *timeouts)];
    c->heartbeat_ms = c->election_ms / sim_between(r, 3, 10);
    for (unsigned f = 0; f < FAULT_COUNT; f++)
        if (sim_chance(r, 350))
            c->faults |= BIT(f);
    c->fault_every = c->election_ms * 1000 * sim_between(r, 1, 12) / 4 + 1;
    draw_network(c, r);
    draw_disk(c, r);
    draw_clients(c, r);
    c->events = 6000;
    if (sim_chance(r, 80)) {
        c->large = (unsigned)sim_below(r, 200);
        c->value_max = SIM_VALUE_MAX >> sim_below(r, 7);
    } else if (sim_chance(r, 50))
        c->events = 50000;
    c->whole_history = sim_chance(r, 100);
    c->log_max = sim_chance(r, 700) ? sim_between(r, 2, 150) : 1000000;
    c->chunk = (uint32_t)sim_between(r, 20, 500);
    if (!c->stream && c->chunk < 100)
        c->chunk += 80; /* out of order, as they come only here, many small ones take for ever */
}

void config_print(const struct sim_config *c, struct bytes *out)
{
    bytes_printf(
        out,
        "seed=%llu voters=%u learners=%u election=%llums heartbeat=%llums delay=%llu..%lluus loss=%u duplicate=%u "
        "straggle=%u %s\nsync=%llu..%lluus slow-sync=%u hop=%lluus slow-hop=%u instant=%u clients=%u keys=%u "
        "think=%lluus patience=%lluus batch=%u reads=%u deletes=%u conditions=%u "
        "large=%u of %u bytes\nfaults every %llu us:",
        (unsigned long long)c->seed, c->voters, c->learners, (unsigned long long)c->election_ms,
        (unsigned long long)c->heartbeat_ms, (unsigned long long)c->delay_min, (unsigned long long)c->delay_max,
        c->loss, c->duplicate, c->straggle, c->stream ? "stream" : "datagrams", (unsigned long long)c->sync_min,
        (unsigned long long)c->sync_max, c->slow_sync, (unsigned long long)c->hop_max, c->slow_hop, c->instant,
        c->clients, c->keys, (unsigned long long)c->think_max, (unsigned long long)c->patience, c->batch, c->reads,
        c->deletes, c->conditions, c->large, c->value_max, (unsigned long long)c->fault_every);
    for (unsigned f = 0; f < FAULT_COUNT; f++)
        if ((c->faults & BIT(f)) != 0)
            bytes_printf(out, " %s", names[f]);
    bytes_append_char(out, '\n');
}

/* ---- one fault ---- */

static void begin(struct world *w, enum sim_fault f, unsigned a, unsigned b, uint64_t duration)
{
    uint32_t number = w->mend_next++ % (sizeof w->mends / sizeof *w->mends);

    w->mends[number] = (struct mend){f, a, b, w->partition};
    trace(w, TRACE_FAULT, NULL, f, a, b, duration);
    if (duration != 0)
        sim_push(w, duration, EVENT_MEND, 0, 0, number);
}

/* From a blink to so long that everybody gives up. */
static uint64_t some_time(struct world *w)
{
    uint64_t election = w->config.election_ms * 1000;

    return sim_chance(w, 300) ? sim_below(w, election) + 1 : sim_below(w, 8 * election) + 1;
}

static struct machine *some_machine(struct world *w)
{
    struct machine *leader = machine_leader(w);
    struct machine *m = &w->machines[sim_below(w, w->machine_count)];

    return leader != NULL && sim_chance(w, 350) ? leader : m;
}

static void stop_for(struct machine *m, unsigned lost, uint64_t time)
{
    machine_stop(m, lost);
    sim_push(m->world, time, EVENT_START, m->slot, m->life, 0);
}

static void fault_stop(struct world *w, enum sim_fault f)
{
    struct machine *m = some_machine(w);
    unsigned lost = f == FAULT_POWER ? (unsigned)sim_below(w, MAP_UNDO + 1) : 0;

    if (!m->up)
        return;
    begin(w, f, m->slot + 1, lost, 0);
    stop_for(m, lost, some_time(w));
}

static void fault_kill_all(struct world *w)
{
    bool power = sim_chance(w, 500);

    begin(w, FAULT_KILL_ALL, power, 0, 0);
    for (unsigned i = 0; i < w->machine_count; i++) {
        unsigned lost = power ? (unsigned)sim_below(w, MAP_UNDO + 1) : 0;

        if (w->machines[i].up)
            stop_for(&w->machines[i], lost, some_time(w));
    }
}

void fault_partition(struct world *w, uint32_t side)
{
    for (unsigned i = 0; i < SIM_MACHINES; i++)
        for (unsigned j = 0; j < SIM_MACHINES; j++)
            w->cut[i][j] = (side >> i & 1) != (side >> j & 1);
}

static void fault_cuts(struct world *w, enum sim_fault f)
{
    unsigned n = w->machine_count;
    const struct machine *leader = machine_leader(w);
    unsigned middle = (unsigned)sim_below(w, n);
    uint32_t side = (uint32_t)sim_random(w);

    net_heal(w); /* the new shape takes the place of the old one */
    if (f == FAULT_ISOLATE)
        side = 1u << (leader != NULL ? leader->slot : middle);
    fault_partition(w, side);
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++) {
            unsigned distance = i > j ? i - j : j - i;

            if (f == FAULT_BRIDGE && (i == middle || j == middle))
                w->cut[i][j] = false;
            if (f == FAULT_RING)
                w->cut[i][j] = i != j && distance != 1 && distance != n - 1;
            if (f == FAULT_ISOLATE && w->cut[i][j] && (side & 1u << i) != 0)
                w->cut[i][j] = middle % 3 != 0; /* sometimes deaf only */
        }
    begin(w, f, side & ((1u << n) - 1), middle, some_time(w));
}

static void fault_link(struct world *w, enum sim_fault f)
{
    unsigned from = (unsigned)sim_below(w, w->machine_count);
    unsigned to = (unsigned)sim_below(w, w->machine_count);

    if (from == to)
        return;
    if (f == FAULT_CLOG)
        w->clog[from][to] = sim_below(w, 5000000);
    else
        w->cut[from][to] = true;
    if (f == FAULT_FLAP) {
        machine_links_lost(&w->machines[from]); /* of one that is well */
        w->cut[to][from] = true;
    }
    begin(w, f, from, to, f == FAULT_FLAP ? sim_below(w, 100000) + 1 : some_time(w));
}

static void fault_disk(struct world *w, enum sim_fault f)
{
    struct machine *m = some_machine(w);

    if (!m->up)
        return;
    if (f == FAULT_HUNG_DISK) {
        m->disk_hangs = sim_between(w, 1000000, 60000000);
        begin(w, f, m->slot, 0, 0);
    } else if (f == FAULT_IO_ERROR) {
        m->disk_fails_in = (unsigned)sim_between(w, 1, 20);
        begin(w, f, m->slot, 0, 0);
    } else {
        m->disk_full = true;
        begin(w, f, m->slot, 0, some_time(w));
    }
}

static void fault_clock(struct world *w)
{
    struct machine *m = &w->machines[sim_below(w, w->machine_count)];
    unsigned rate = (unsigned)sim_between(w, 500, 2000);

    if (!m->up || m->paused)
        return;
    begin(w, FAULT_CLOCK, m->slot, rate, some_time(w));
    machine_clock(m, rate);
    machine_touched(m);
}

static void fault_pause(struct world *w)
{
    struct machine *m = some_machine(w);

    if (m->up && !m->paused)
        machine_pause(m, some_time(w));
}

static void fault_transfer(struct world *w)
{
    struct machine *m = machine_leader(w);
    raft_id to = sim_chance(w, 500) ? 0 : 1 + sim_below(w, w->machine_count);

    if (m == NULL || m->paused)
        return;
    begin(w, FAULT_TRANSFER, m->slot, (unsigned)to, 0);
    raft_transfer(m->shared.raft, machine_ms(m), to);
    machine_touched(m);
}

/* Whether what this member knows of the others is on its disk: a crash, too, leaves it that. */
static bool keeps_what_it_knows(const struct machine *m)
{
    raft_index index = m->shared.directory.latest_index;

    return m->kv.committed.config_index >= index || disk_term_at(&m->log, index) != 0;
}

/* Whether this member knows, and will know after a crash, where all others are. */
static bool knows_all(const struct machine *m, const struct machine *leader)
{
    raft_index index = leader->seen.config_index;
    raft_term term = disk_term_at(&m->log, index);

    if (!m->up || m->shared.directory.latest_index != index || !keeps_what_it_knows(m))
        return false;
    /* Of what was deleted from the logs there is one version. */
    return term == 0 || term == raft_term_at(leader->shared.raft, index);
}

/* Whether it knows another member of that leader's cluster where that one is, and will after a crash. */
static bool knows_one(const struct machine *m, const struct machine *leader)
{
    if (!keeps_what_it_knows(m))
        return false;
    for (unsigned i = 0; i < leader->shared.directory.latest.count; i++) {
        const struct member *member = &leader->shared.directory.latest.list[i];
        const struct member *known = directory_find(&m->shared.directory, member->id);

        if (member->id != m->id && known != NULL && strcmp(known->peer, member->peer) == 0)
            return true;
    }
    return false;
}

/* One member at a time restarts at another address, and only while all others know where all others are; it itself may have
 * been away, but knows one of them. */
static void fault_move(struct world *w)
{
    struct machine *leader = machine_leader(w);
    struct machine *m = some_machine(w);

    if (leader == NULL || !m->up || !knows_one(m, leader) ||
        leader->seen.config_committed_index != leader->seen.config_index)
        return;
    for (unsigned i = 0; i < leader->shared.directory.latest.count; i++) {
        const struct member *member = &leader->shared.directory.latest.list[i];
        const struct machine *other = machine_by_id(w, member->id);

        if (strcmp(other->peer, member->peer) != 0 || (other != m && !knows_all(other, leader)))
            return;
    }
    m->port += 100;
    snprintf(m->client, sizeof m->client, "sim:%u", m->port - 3000);
    snprintf(m->peer, sizeof m->peer, "sim:%u", m->port);
    begin(w, FAULT_MOVE, m->slot, m->port, 0);
    stop_for(m, 0, some_time(w));
}

/* What more than one of several must not suffer at once, or nobody could tell who is right; and each has been told since. */
static bool maps_are_whole(struct world *w)
{
    for (unsigned i = 0; i < w->machine_count; i++)
        if (!disk_map_is_whole(&w->machines[i].kv) || (w->machines[i].up && w->machines[i].shared.integrity.doubted))
            return false;
    return true;
}

/* As it was installed and not yet in the log, the map alone remembers what was acknowledged; and as the log is cut short, who
 * the others are: then one that comes back elsewhere finds nobody. */
static bool may_lose_map(const struct world *w, const struct machine *m)
{
    raft_index index = m->kv.committed.applied.index;

    return (w->config.faults & BIT(FAULT_MOVE)) == 0 && index >= m->log.base.index &&
           disk_term_at(&m->log, index) == m->kv.committed.applied.term;
}

static bool may_spoil(struct world *w, const struct machine *m)
{
    return w->config.voters >= 3 && (w->config.faults & BIT(FAULT_MEMBERS)) == 0 && m->up && maps_are_whole(w);
}

static void fault_spoil(struct world *w)
{
    struct machine *m = some_machine(w);
    unsigned key = (unsigned)sim_below(w, w->config.keys);
    unsigned kind = (unsigned)sim_below(w, 3);

    if (!may_spoil(w, m))
        return;
    if (kind < 2 && !disk_map_spoil(&m->kv, key, kind == 1))
        return;
    if (kind == 2 && !may_lose_map(w, m))
        return;
    w->spoiled++;
    begin(w, FAULT_SPOIL, m->slot, key, 0);
    trace(w, TRACE_SPOIL, m, key, kind, 0, 0);
    if (kind == 2) {
        stop_for(m, 0, some_time(w));
        disk_map_lose(&m->kv);
    }
}

bool fault_spoil_for_good(struct world *w)
{
    struct machine *m = some_machine(w);
    unsigned key = (unsigned)sim_below(w, w->config.keys);

    /* What is applied later shows it: of the other keys there must be one. */
    if ((w->config.faults & BIT(FAULT_SPOIL)) == 0 || w->config.keys < 2 || !may_spoil(w, m) ||
        !disk_map_spoil(&m->kv, key, true))
        return false;
    w->quiet = key + 1;
    w->spoiled++;
    trace(w, TRACE_SPOIL, m, key, 1, 0, 0);
    return true;
}

static void fault_chunks(struct world *w)
{
    struct machine *m = &w->machines[sim_below(w, w->machine_count)];

    m->loses_chunks = true;
    begin(w, FAULT_CHUNKS, m->slot, 0, some_time(w));
}

/* Its log then reaches beyond the map that it will be sent, if the others get far enough meanwhile to delete what they had in
 * common: the map contradicts it [hashicorp/raft#697]. */
static void fault_diverge(struct world *w)
{
    struct machine *m = machine_leader(w);
    uint64_t count = sim_between(w, 40, 300);
    uint64_t duration = sim_between(w, 4, 24) * w->config.election_ms * 1000;

    if (m == NULL || m->paused)
        return;
    net_heal(w);
    fault_partition(w, 1u << m->slot);
    begin(w, FAULT_DIVERGE, m->slot, (unsigned)count, duration);
    for (uint64_t i = 0; i < count; i++) {
        struct entry *e = entry_new(RAFT_NOOP, 0);

        entry_seal(e);
        if (shared_propose(&m->shared, machine_ms(m), e, NULL) == 0)
            entry_unref(e);
    }
    machine_touched(m);
}

static void fault_begin(struct world *w, enum sim_fault f)
{
    switch (f) {
    case FAULT_CRASH:
    case FAULT_POWER:
        fault_stop(w, f);
        break;
    case FAULT_KILL_ALL:
        if (sim_chance(w, 300))
            fault_kill_all(w);
        break;
    case FAULT_PAUSE:
        fault_pause(w);
        break;
    case FAULT_PARTITION:
    case FAULT_RING:
    case FAULT_BRIDGE:
    case FAULT_ISOLATE:
        fault_cuts(w, f);
        break;
    case FAULT_ONE_WAY:
    case FAULT_FLAP:
    case FAULT_CLOG:
        fault_link(w, f);
        break;
    case FAULT_HUNG_DISK:
    case FAULT_NO_SPACE:
    case FAULT_IO_ERROR:
        fault_disk(w, f);
        break;
    case FAULT_CLOCK:
        fault_clock(w);
        break;
    case FAULT_MEMBERS:
        operator_step(w);
        break;
    case FAULT_TRANSFER:
        fault_transfer(w);
        break;
    case FAULT_MOVE:
        fault_move(w);
        break;
    case FAULT_SPOIL:
        fault_spoil(w);
        break;
    case FAULT_CHUNKS:
        fault_chunks(w);
        break;
    case FAULT_DIVERGE:
        fault_diverge(w);
        break;
    case FAULT_SLOW_DISK: /* all the time, by slow_sync */
    case FAULT_COUNT:
        break;
    }
}

void fault_next(struct world *w)
{
    unsigned chosen = (unsigned)sim_below(w, FAULT_COUNT);

    if (w->healed)
        return;
    while ((w->config.faults & BIT(chosen)) == 0)
        chosen = (chosen + 1) % FAULT_COUNT;
    fault_begin(w, (enum sim_fault)chosen);
    sim_push(w, sim_below(w, 2 * w->config.fault_every) + 1, EVENT_FAULT, 0, 0, 0);
}

void fault_mend(struct world *w, uint32_t number)
{
    const struct mend *d = &w->mends[number];

    trace(w, TRACE_MEND, NULL, d->fault, d->a, d->b, 0);
    switch (d->fault) {
    case FAULT_PARTITION:
    case FAULT_RING:
    case FAULT_BRIDGE:
    case FAULT_ISOLATE:
    case FAULT_DIVERGE:
        if (d->generation == w->partition)
            net_heal(w);
        break;
    case FAULT_ONE_WAY:
        w->cut[d->a][d->b] = false;
        break;
    case FAULT_FLAP:
        w->cut[d->a][d->b] = w->cut[d->b][d->a] = false;
        break;
    case FAULT_CLOG:
        w->clog[d->a][d->b] = 0;
        break;
    case FAULT_NO_SPACE:
        w->machines[d->a].disk_full = false;
        break;
    case FAULT_CHUNKS:
        w->machines[d->a].loses_chunks = false;
        break;
    case FAULT_CLOCK:
        machine_clock(&w->machines[d->a], 1000);
        if (w->machines[d->a].up && !w->machines[d->a].paused)
            machine_touched(&w->machines[d->a]);
        break;
    case FAULT_CRASH:
    case FAULT_POWER:
    case FAULT_KILL_ALL:
    case FAULT_PAUSE:
    case FAULT_SLOW_DISK:
    case FAULT_HUNG_DISK:
    case FAULT_IO_ERROR:
    case FAULT_MEMBERS:
    case FAULT_TRANSFER:
    case FAULT_MOVE:
    case FAULT_SPOIL:
    case FAULT_COUNT:
        break;
    }
}
