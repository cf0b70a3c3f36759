#include "server/tail.h"

#include <stdlib.h>

#include "base/check.h"

static struct entry **slot(const struct tail *t, raft_index index)
{
    return &t->ring[index % TAIL_ENTRIES_MAX];
}

void tail_init(struct tail *t, raft_index last)
{
    t->first = last + 1;
    t->last = last;
    t->bytes = 0;
    t->ring = xcalloc(TAIL_ENTRIES_MAX, sizeof(struct entry *));
}

static void drop_last(struct tail *t)
{
    struct entry **e = slot(t, t->last);

    t->bytes -= (*e)->size;
    entry_unref(*e);
    *e = NULL;
    t->last--;
}

static void drop_first(struct tail *t)
{
    struct entry **e = slot(t, t->first);

    t->bytes -= (*e)->size;
    entry_unref(*e);
    *e = NULL;
    t->first++;
}

void tail_reset(struct tail *t, raft_index last)
{
    while (t->first <= t->last)
        drop_last(t);
    t->first = last + 1;
    t->last = last;
}

void tail_clear(struct tail *t)
{
    tail_reset(t, 0);
    free(t->ring);
    t->ring = NULL;
}

bool tail_has_room(const struct tail *t, raft_index durable, uint32_t size)
{
    raft_index unfinished = t->last > durable ? t->last - durable : 0;

    return unfinished < RAFT_UNFINISHED_MAX && t->bytes + size <= TAIL_UNFINISHED_BYTES;
}

uint64_t tail_bytes_from(const struct tail *t, raft_index from)
{
    uint64_t bytes = 0;

    for (raft_index i = from > t->first ? from : t->first; i <= t->last; i++)
        bytes += (*slot(t, i))->size;
    return bytes;
}

void tail_put(struct tail *t, raft_index index, struct entry *e)
{
    while (t->last >= index && t->first <= t->last)
        drop_last(t);
    if (t->first > t->last) {
        t->first = index;
        t->last = index - 1;
    }
    CHECK(index == t->last + 1);
    CHECK(t->last + 1 - t->first < TAIL_ENTRIES_MAX);
    t->last = index;
    *slot(t, index) = e;
    t->bytes += e->size;
}

void tail_trim(struct tail *t, raft_index durable)
{
    /* Half of the ring is for what is unfinished, so the window may have the other half. */
    while (t->first <= t->last && t->first <= durable &&
           (t->bytes > TAIL_WINDOW_BYTES || t->last + 1 - t->first > TAIL_ENTRIES_MAX / 2))
        drop_first(t);
}

unsigned tail_borrow(const struct tail *t, raft_index first, unsigned max_count, uint64_t max_bytes, struct entry **out,
                     uint64_t *bytes)
{
    unsigned count = 0;

    *bytes = 0;
    if (first < t->first)
        return 0;
    for (raft_index i = first; i <= t->last && count < max_count; i++) {
        struct entry *e = *slot(t, i);

        if (count > 0 && *bytes + e->size > max_bytes)
            break;
        out[count++] = entry_ref(e);
        *bytes += e->size;
    }
    return count;
}
