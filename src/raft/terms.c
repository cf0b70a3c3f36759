/* terms.c -- the log as a short list of term runs: index -> term in a binary search, never an entry.
 * Terms only grow along a log, so a run is known by its first position [paper 5.3]. */
#include "raft/core.h"

static const struct raft_pos *run_at(const struct terms *t, unsigned i)
{
    return &t->runs[(t->head + i) % TERMS_MAX];
}

void terms_reset(struct terms *t, struct raft_pos base)
{
    t->base = base;
    t->last = base.index;
    t->head = 0;
    t->count = 0;
}

/* How many runs begin at or before `index`. */
static unsigned runs_until(const struct terms *t, raft_index index)
{
    unsigned low = 0, high = t->count;

    /* Most questions are about the newest run. */
    if (high > 0 && run_at(t, high - 1)->index <= index)
        return high;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (run_at(t, mid)->index <= index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

raft_term terms_at(const struct terms *t, raft_index index)
{
    if (index == t->base.index)
        return t->base.term;
    if (index < t->base.index || index > t->last)
        return 0;
    return run_at(t, runs_until(t, index) - 1)->term;
}

struct raft_pos terms_last(const struct terms *t)
{
    return (struct raft_pos){.index = t->last, .term = terms_at(t, t->last)};
}

bool terms_match(const struct terms *t, struct raft_pos pos)
{
    return pos.index >= t->base.index && pos.index <= t->last && terms_at(t, pos.index) == pos.term;
}

bool terms_full(const struct terms *t, raft_term term)
{
    return t->count == TERMS_MAX && run_at(t, t->count - 1)->term != term;
}

void terms_forget_run(struct terms *t)
{
    assert(t->count > 1);
    terms_forget(t, run_at(t, 1)->index - 1);
}

void terms_append(struct terms *t, raft_term term)
{
    assert(!terms_full(t, term));
    assert(term >= terms_last(t).term);
    t->last++;
    if (t->count == 0 || run_at(t, t->count - 1)->term != term) {
        t->runs[(t->head + t->count) % TERMS_MAX] = (struct raft_pos){.index = t->last, .term = term};
        t->count++;
    }
}

void terms_truncate(struct terms *t, raft_index first)
{
    assert(first > t->base.index);
    assert(first <= t->last);
    t->last = first - 1;
    while (t->count > 0 && run_at(t, t->count - 1)->index >= first)
        t->count--;
}

void terms_forget(struct terms *t, raft_index index)
{
    assert(index <= t->last);
    if (index <= t->base.index)
        return;
    t->base.term = terms_at(t, index);
    t->base.index = index;
    if (index == t->last)
        t->count = 0; /* what comes next may begin a term */
    while (t->count > 1 && run_at(t, 1)->index <= index + 1) {
        t->head = (t->head + 1) % TERMS_MAX;
        t->count--;
    }
}

raft_index terms_find(const struct terms *t, raft_index limit, raft_term term)
{
    unsigned low = 0, high;

    limit = least(limit, t->last);
    if (limit < t->base.index)
        return limit;
    if (terms_at(t, limit) <= term)
        return limit;
    high = runs_until(t, limit);
    while (low < high) { /* the first run of a higher term; the answer is just before it */
        unsigned mid = low + (high - low) / 2;

        if (run_at(t, mid)->term <= term)
            low = mid + 1;
        else
            high = mid;
    }
    if (t->base.term > term)
        return t->base.index - 1;
    if (low == t->count)
        return limit;
    return most(run_at(t, low)->index - 1, t->base.index);
}
