/* tail.h -- the end of the log in memory: entries not yet on disk, and a window behind them for peers and the applier. */
#ifndef SERVER_TAIL_H
#define SERVER_TAIL_H

#include <stdbool.h>

#include "raft/raft.h"
#include "wire/entry.h"

#define TAIL_ENTRIES_MAX      16384u      /* a power of two, twice RAFT_UNFINISHED_MAX */
#define TAIL_WINDOW_BYTES     (2u << 20)  /* kept behind what is on disk */
#define TAIL_UNFINISHED_BYTES (64u << 20) /* not yet on disk: more is refused with "later" */

struct tail {
    raft_index first, last; /* held; first = last + 1: nothing */
    uint64_t bytes;         /* of all held */
    struct entry **ring;    /* TAIL_ENTRIES_MAX, by index */
};

void tail_init(struct tail *t, raft_index last); /* empty, after `last` */
void tail_clear(struct tail *t);

/* Whether another entry of this size may come, given what is durable. */
bool tail_has_room(const struct tail *t, raft_index durable, uint32_t size);
/* Bytes of the entries held from `from` on. */
uint64_t tail_bytes_from(const struct tail *t, raft_index from);
/* Puts e (taking over the caller's reference) at `index`: the one after the last, or, after a truncation, one that is
 * held or follows what is held; what stood at it and after it goes. An index before the window empties it. */
void tail_put(struct tail *t, raft_index index, struct entry *e);
void tail_reset(struct tail *t, raft_index last); /* empty, after `last` */
/* Forgets the oldest entries that are on disk, down to the window. */
void tail_trim(struct tail *t, raft_index durable);
/* References to entries first, first + 1, ... for as many as are held, at most max_count and max_bytes (but one at least).
 * How many; 0: `first` is not held. */
unsigned tail_borrow(const struct tail *t, raft_index first, unsigned max_count, uint64_t max_bytes, struct entry **out,
                     uint64_t *bytes);

#endif
