/* check_linear.c -- whether what the clients saw is what one map, alone, could have shown them.
 *
 * Twice, by different means. While it runs: every operation has a place in the committed log, and what finished before
 * another began has the lower place (an entry by its index, a read by the version that it saw). At the end, for some
 * seeds: an exhaustive search for an order that explains a key's history, by values and times alone [Wing and Gong 1993;
 * Lowe 2017], which trusts nothing that raftd says about indexes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

#define SEARCH_OPS 48u    /* of one key; what began later is left out */
#define SEARCH_MAX 50000u /* states; a history that needs more is left undecided */

/* ---- by log index ---- */

/* The newest version of a key as of log position `index`. */
static struct map_slot version_at(const struct key_fact *k, raft_index index)
{
    uint64_t low = 0;
    uint64_t high = k->count;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (k->versions[middle].index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? (struct map_slot){0, 0} : k->versions[low - 1];
}

static void raise_floor(struct key_fact *k, raft_index index)
{
    if (index > k->floor)
        k->floor = index;
}

void check_read(struct world *w, struct op *op, raft_index applied, struct map_slot found)
{
    struct key_fact *k = &w->checker.keys[op->key];
    struct map_slot seen = version_at(k, applied);
    struct map_slot needed = version_at(k, op->floor);

    if (seen.value != found.value || (found.value != 0 && seen.index != found.index))
        sim_fail(w, "state machine safety",
                 "client %u reads value %" PRIu64 " of k%u where entry %" PRIu64 " left value %" PRIu64, op->client,
                 found.value, op->key, seen.index, seen.value);
    else if (seen.index < needed.index)
        sim_fail(w, "linearizability",
                 "client %u reads k%u as entry %" PRIu64 " left it; entry %" PRIu64 " was known before it asked",
                 op->client, op->key, seen.index, needed.index);
    raise_floor(k, seen.index);
}

void check_write(struct world *w, struct op *op, const struct command_result *result)
{
    struct key_fact *k = &w->checker.keys[op->key];

    if (op->index > w->checker.committed)
        sim_fail(w, "linearizability", "client %u is told that entry %" PRIu64 " is applied, which is not committed",
                 op->client, op->index);
    else if (op->index <= op->floor)
        sim_fail(w, "linearizability", "client %u's entry %" PRIu64 " is before %" PRIu64 ", which was known before",
                 op->client, op->index, op->floor);
    else if (op->outcome == OP_OK && op->kind != OP_DELETE && w->checker.facts[op->index].value != op->value)
        sim_fail(w, "linearizability",
                 "client %u is told that its value %" PRIu64 " is at %" PRIu64 ", where %" PRIu64 " is", op->client,
                 op->value, op->index, w->checker.facts[op->index].value);
    else if (op->outcome == OP_OK && op->kind != OP_DELETE && result->index != op->index)
        sim_fail(w, "linearizability", "client %u is told the wrong index", op->client);
    raise_floor(k, op->index);
}

/* ---- by values and times alone ---- */

struct search {
    const struct op *const *ops;
    unsigned count;
    uint64_t must; /* operations that have returned */
    struct {
        uint64_t done, state;
        bool used;
    } * seen;
    unsigned seen_count;
    bool undecided;
};

static bool take_op(const struct op *op, uint64_t state, uint64_t *next)
{
    bool told = op->outcome != OP_PENDING;

    *next = state;
    switch (op->kind) {
    case OP_READ:
        return op->value == state;
    case OP_SET:
        *next = op->value;
        return !told || op->existed == (state != 0);
    case OP_DELETE:
        *next = 0;
        return !told || op->existed == (state != 0);
    case OP_SET_IF:
        if (state != op->expected_value)
            return op->outcome != OP_OK;
        *next = op->value;
        return op->outcome != OP_FAILED;
    }
    return false;
}

static bool seen_before(struct search *s, uint64_t done, uint64_t state)
{
    uint64_t i = sim_mix(done, state) % (2 * SEARCH_MAX);

    for (; s->seen[i].used; i = (i + 1) % (2 * SEARCH_MAX))
        if (s->seen[i].done == done && s->seen[i].state == state)
            return true;
    if (s->seen_count == SEARCH_MAX) {
        s->undecided = true;
        return true;
    }
    s->seen[i].done = done;
    s->seen[i].state = state;
    s->seen[i].used = true;
    s->seen_count++;
    return false;
}

static bool search_from(struct search *s, uint64_t done, uint64_t state)
{
    uint64_t first_return = SIM_NEVER;

    if ((s->must & ~done) == 0)
        return true;
    if (seen_before(s, done, state))
        return false;
    for (unsigned i = 0; i < s->count; i++)
        if ((done & UINT64_C(1) << i) == 0 && (s->must & UINT64_C(1) << i) != 0 && s->ops[i]->returned < first_return)
            first_return = s->ops[i]->returned;
    for (unsigned i = 0; i < s->count; i++) {
        uint64_t next = 0;

        if ((done & UINT64_C(1) << i) != 0 || s->ops[i]->invoked > first_return)
            continue;
        if (take_op(s->ops[i], state, &next) && search_from(s, done | UINT64_C(1) << i, next))
            return true;
    }
    return false;
}

bool linearizable(const struct op *const *ops, unsigned count)
{
    struct search s = {.ops = ops, .count = count};
    bool found = false;

    CHECK(count <= 64);
    s.seen = xcalloc(2 * SEARCH_MAX, sizeof *s.seen);
    for (unsigned i = 0; i < count; i++)
        if (ops[i]->outcome == OP_OK || ops[i]->outcome == OP_FAILED)
            s.must |= UINT64_C(1) << i;
    found = search_from(&s, 0, 0);
    free(s.seen);
    return found || s.undecided;
}

/* The beginning of a key's history: what returned later than its last operation began counts as not returned yet. */
static void check_key(struct world *w, unsigned key)
{
    static struct op copies[SEARCH_OPS];
    const struct op *ops[SEARCH_OPS];
    unsigned count = 0;
    unsigned kept = 0;
    uint64_t cut = SIM_NEVER;

    for (size_t i = 0; i < w->op_count; i++) {
        if (w->ops[i].key != key || w->ops[i].outcome == OP_NEVER)
            continue;
        if (count == SEARCH_OPS) {
            cut = w->ops[i].invoked;
            break;
        }
        copies[count++] = w->ops[i];
    }
    for (unsigned i = 0; i < count; i++) {
        bool answered = copies[i].returned < cut;

        if (!answered && copies[i].kind == OP_READ)
            continue; /* a read without an answer says nothing */
        if (!answered)
            copies[i].outcome = OP_PENDING;
        ops[kept++] = &copies[i];
    }
    if (!linearizable(ops, kept))
        sim_fail(w, "linearizability", "no order explains the first %u operations on k%u", kept, key);
}

/* ---- at the end ---- */

/* "Surely not applied" must be true [F6]. */
static void check_never(struct world *w)
{
    bool *applied = xcalloc(w->next_value, sizeof *applied);

    for (raft_index i = 1; i <= w->checker.applied; i++)
        if (w->checker.facts[i].value != 0)
            applied[w->checker.facts[i].value] = true;
    for (size_t i = 0; i < w->op_count; i++) {
        const struct op *op = &w->ops[i];

        if (op->outcome == OP_NEVER && op->kind != OP_READ && op->value != 0 && applied[op->value])
            sim_fail(w, "linearizability", "client %u is told that value %" PRIu64 " is lost, but it is applied",
                     op->client, op->value);
    }
    free(applied);
}

void check_end(struct world *w)
{
    check_never(w);
    for (unsigned key = 0; w->config.whole_history && key < w->config.keys; key++)
        check_key(w, key);
}
