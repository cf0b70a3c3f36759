/* client.c -- clients of the map: they write unique values to a few keys, read them back on any member, give up, and try
 * elsewhere. They use what src/server/service.c uses: request_gather, request_begin_read, and a view of the map. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "sim.h"

#define TOKEN_SHIFT 8

void key_name(unsigned key, char *out, size_t size)
{
    snprintf(out, size, "k%u", key);
}

unsigned key_number(struct view key)
{
    if (key.size != 2 || key.data[0] != 'k' || key.data[1] < '0' || key.data[1] >= '0' + SIM_KEYS_MAX)
        return SIM_KEYS_MAX;
    return (unsigned)(key.data[1] - '0');
}

static void schedule(struct world *w, struct client *c, uint64_t delay)
{
    c->token = (c->token + 1) & 0xffffff;
    sim_push(w, delay, EVENT_CLIENT, 0, 0, c->number | c->token << TOKEN_SHIFT);
}

static size_t op_new(struct world *w, struct client *c, enum op_kind kind, unsigned key)
{
    struct op *op = NULL;

    if (w->op_count == w->op_capacity) {
        w->op_capacity = 2 * w->op_capacity + 1024;
        w->ops = xrealloc(w->ops, w->op_capacity * sizeof *w->ops);
    }
    op = &w->ops[w->op_count];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->client = c->number;
    op->key = key;
    op->invoked = w->now;
    op->returned = SIM_NEVER;
    op->floor = w->checker.keys[key].floor;
    return w->op_count++;
}

static void op_returns(struct world *w, struct client *c, struct op *op, enum op_outcome outcome)
{
    op->outcome = outcome;
    op->returned = w->now;
    trace(w, TRACE_RETURN, &w->machines[c->machine], c->number, outcome, op->value, op->index);
}

/* ---- beginning ---- */

static struct entry *write_entry(struct world *w, struct client *c, struct op *op)
{
    char key[2] = {'k', (char)('0' + op->key)};
    static uint8_t value[SIM_VALUE_MAX];
    struct command command = {.key = view_of(key, sizeof key)};

    command.op = op->kind == OP_DELETE ? COMMAND_DELETE : COMMAND_SET;
    if (op->kind != OP_DELETE) {
        op->value = w->next_value++;
        codec_put_u64(value, op->value);
        command.value = view_of(value, sim_chance(w, w->config.large) ? w->config.value_max : 8);
    }
    if (op->kind == OP_SET_IF) {
        op->expected = c->known[op->key].index;
        op->expected_value = c->known[op->key].value;
        command.condition = op->expected == 0 ? COMMAND_IF_ABSENT : COMMAND_IF_INDEX;
        command.expected = op->expected;
    }
    return command_entry(&command);
}

static bool begin_write(struct world *w, struct client *c, struct machine *m, struct pending *p, unsigned key)
{
    enum op_kind kind = sim_chance(w, w->config.deletes) ? OP_DELETE : OP_SET;
    struct raft_status status;

    raft_status(m->shared.raft, &status);
    if (status.role != RAFT_LEADER)
        return false;
    if (sim_chance(w, w->config.conditions))
        kind = OP_SET_IF;
    p->op = op_new(w, c, kind, key);
    request_gather(&m->shared, machine_ms(m), &p->request, write_entry(w, c, &w->ops[p->op]));
    return true;
}

static bool begin_one(struct world *w, struct client *c, struct machine *m, struct pending *p)
{
    unsigned key = (unsigned)sim_below(w, w->config.keys);

    memset(p, 0, sizeof *p);
    if (sim_chance(w, w->config.reads) || key + 1 == w->quiet) {
        p->op = op_new(w, c, OP_READ, key);
        p->told = integrity_stands_still(&m->shared);
        if (!request_begin_read(&m->shared, machine_ms(m), &p->request)) {
            w->op_count--;
            return false;
        }
    } else if (!begin_write(w, c, m, p, key))
        return false;
    trace(w, TRACE_INVOKE, m, c->number, w->ops[p->op].kind, key, w->ops[p->op].value);
    p->active = true;
    return true;
}

/* Where to go next: mostly to the leader that the last one named, sometimes anywhere. */
static void guess(struct world *w, struct client *c, const struct machine *m)
{
    const struct machine *leader = m->up ? machine_by_id(w, m->seen.leader) : NULL;

    if (leader != NULL && leader != m && sim_chance(w, 800))
        c->guess = leader->slot;
    else
        c->guess = (unsigned)sim_below(w, w->machine_count);
}

static void client_begin(struct world *w, struct client *c)
{
    struct machine *m = &w->machines[c->guess];
    unsigned wanted = (unsigned)sim_between(w, 1, w->config.batch);

    c->count = 0;
    if (m->up && m->paused && m->resume_at < w->now + w->config.patience && sim_chance(w, 500)) {
        schedule(w, c, m->resume_at > w->now ? m->resume_at - w->now : 0); /* it lies in a buffer until then */
        return;
    }
    if (m->up && !m->paused && m->shared.phase == PHASE_SERVING) {
        w->current = m;
        while (c->count < wanted && begin_one(w, c, m, &c->pending[c->count]))
            c->count++;
    }
    if (c->count < wanted || sim_chance(w, 100))
        guess(w, c, m);
    if (c->count == 0) {
        schedule(w, c, sim_below(w, 10000) + 1);
        return;
    }
    c->state = CLIENT_WAITS;
    c->machine = m->slot;
    c->life = m->life;
    m->clients |= 1u << c->number;
    schedule(w, c, w->config.patience);
    machine_touched(m);
}

/* ---- ending ---- */

static void client_rests(struct world *w, struct client *c)
{
    c->state = CLIENT_IDLE;
    c->count = 0;
    w->machines[c->machine].clients &= ~(1u << c->number);
    schedule(w, c, sim_below(w, w->config.think_max) + 1);
}

static void client_gives_up(struct world *w, struct client *c, struct machine *m)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct pending *p = &c->pending[i];
        struct op *op = &w->ops[p->op];

        if (!p->active)
            continue;
        p->active = false;
        if (m->up && m->life == c->life)
            request_abandon(&m->shared, &p->request);
        op->index = p->request.index;
        if (op->kind == OP_READ || p->request.state == REQUEST_LOST)
            op->outcome = OP_NEVER;
        else
            trace(w, TRACE_RETURN, m, c->number, OP_PENDING, op->value, op->index);
    }
    guess(w, c, m);
    client_rests(w, c);
}

static void write_done(struct world *w, struct client *c, struct pending *p)
{
    struct op *op = &w->ops[p->op];
    const struct command_result *r = &p->request.result;

    p->active = false;
    op->index = p->request.index;
    if (p->request.state == REQUEST_UNKNOWN) {
        trace(w, TRACE_RETURN, &w->machines[c->machine], c->number, OP_PENDING, op->value, op->index);
        return;
    }
    if (p->request.state == REQUEST_LOST || p->request.state == REQUEST_BUSY) {
        op_returns(w, c, op, OP_NEVER);
        return;
    }
    op_returns(w, c, op, r->outcome == COMMAND_FAILED_CONDITION ? OP_FAILED : OP_OK);
    op->existed = r->outcome == COMMAND_REPLACED || r->outcome == COMMAND_DELETED;
    if (op->outcome == OP_OK)
        c->known[op->key] = (struct map_slot){op->kind == OP_DELETE ? 0 : op->index, op->value};
    c->successes++;
    check_write(w, op, r);
}

static void read_map(struct world *w, struct client *c, struct machine *m, struct pending *p)
{
    struct op *op = &w->ops[p->op];
    char key[2] = {'k', (char)('0' + op->key)};
    struct map_slot found = {0, 0};
    struct kv_view *v = NULL;
    struct view value;
    int err = 0;

    p->active = false;
    CHECK(kv_view_open(&m->kv, &v) == 0);
    err = kv_view_get(v, view_of(key, sizeof key), &value, &found.index);
    if (err == 0)
        found.value = codec_get_u64(value.data);
    /* Who has asked before anybody knew may be told what is wrong; nobody is who asks a member that knows. */
    if (p->told)
        sim_fail(w, "integrity", "m%u serves a read from a map that it does not trust", m->slot + 1);
    if (err == ERR_CORRUPT || (m->kv.now.wrong & 1u << op->key) != 0) {
        if (err == ERR_CORRUPT)
            integrity_doubt(&m->shared, "a record is damaged that was read");
        kv_view_close(v);
        op->outcome = OP_NEVER;
        return;
    }
    op->value = found.value;
    op_returns(w, c, op, OP_OK);
    c->known[op->key] = found;
    c->successes++;
    check_read(w, op, kv_view_applied(v), found);
    kv_view_close(v);
}

static void client_reads(struct world *w, struct client *c, struct machine *m)
{
    if (m->up && m->life == c->life && m->paused) {
        schedule(w, c, m->resume_at > w->now ? m->resume_at - w->now : 1);
        return;
    }
    for (unsigned i = 0; i < c->count; i++) {
        struct pending *p = &c->pending[i];

        if (!p->active)
            continue;
        if (m->up && m->life == c->life)
            read_map(w, c, m, p);
        else {
            p->active = false;
            w->ops[p->op].outcome = OP_NEVER;
        }
    }
    client_rests(w, c);
}

static void client_look(struct world *w, struct client *c)
{
    unsigned waiting = 0;

    for (unsigned i = 0; i < c->count; i++) {
        struct pending *p = &c->pending[i];

        if (!p->active || p->ready)
            continue;
        if (p->request.state == REQUEST_WAITING) {
            waiting++;
            continue;
        }
        if (w->ops[p->op].kind != OP_READ)
            write_done(w, c, p);
        else if (p->request.state != REQUEST_DONE) {
            p->active = false;
            w->ops[p->op].outcome = OP_NEVER;
        } else
            p->ready = true;
    }
    if (waiting > 0)
        return;
    c->state = CLIENT_READS; /* the handler's thread is awake, and looks at the map a little later */
    schedule(w, c, sim_chance(w, 500) ? 0 : sim_below(w, 2000));
}

void clients_look(struct world *w, struct machine *m)
{
    for (unsigned i = 0; i < w->config.clients; i++)
        if ((m->clients & 1u << i) != 0 && w->clients[i].state == CLIENT_WAITS)
            client_look(w, &w->clients[i]);
}

void clients_stopped(struct world *w, struct machine *m)
{
    for (unsigned i = 0; i < w->config.clients; i++)
        if ((m->clients & 1u << i) != 0)
            client_gives_up(w, &w->clients[i], m);
    m->clients = 0;
}

void client_step(struct world *w, uint32_t argument)
{
    struct client *c = &w->clients[argument & ((1u << TOKEN_SHIFT) - 1)];
    struct machine *m = &w->machines[c->machine];

    if (argument >> TOKEN_SHIFT != c->token)
        return;
    switch (c->state) {
    case CLIENT_IDLE:
        client_begin(w, c);
        break;
    case CLIENT_WAITS:
        client_gives_up(w, c, m);
        break;
    case CLIENT_READS:
        client_reads(w, c, m);
        break;
    }
}
