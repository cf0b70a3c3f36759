/* verify.h -- looks at whatever has a checksum or an order in a log and a map that nobody uses, and changes nothing.
 *
 * Each fault is told as one line. LMDB's own pages have no checksums: where one of them is spoiled, reading may end the process by
 * a signal, so the caller runs these two in a process of their own. Not checked is LMDB's list of free pages. */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/raft.h"

/* Who is told of a fault: one line without newline or full stop. */
struct verify {
    void (*report)(void *context, const char *fault);
    void *context;
    unsigned faults; /* told so far */
};
void verify_fault(struct verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct verify_map {
    bool whole; /* the fields below are known */
    struct raft_pos applied;
    raft_index config_index;
    uint64_t keys, hash;
    bool installed;
};
void verify_map(const char *path, struct verify *v, struct verify_map *out);

struct verify_log {
    bool whole;
    struct raft_hard_state hard;
    struct raft_pos base;
    raft_index last;
};
/* `map`: what verify_map has found; where it is whole, the two must fit together. */
void verify_log(const char *path, const struct verify_map *map, struct verify *v, struct verify_log *out);

#endif
