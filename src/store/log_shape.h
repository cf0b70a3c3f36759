/* log_shape.h -- what a log holds, without its entries: hard state, base, end, where terms begin and where configurations are.
 * Private to the log's files in store/.
 *
 * Deleting a prefix moves the base: the run that the base lies in is gone, but the base remembers its term, and entries
 * right after the base that have no run of their own continue it. */
#ifndef STORE_LOG_SHAPE_H
#define STORE_LOG_SHAPE_H

#include "raft/raft.h"
#include "store/log_store.h"

struct log_shape {
    struct raft_hard_state hard;
    struct raft_pos base;
    raft_index last;
    unsigned run_count, run_room, config_count, config_room;
    struct raft_pos *runs;
    raft_index *configs;
};

void log_shape_clear(struct log_shape *s); /* frees what it holds */
void log_shape_copy(struct log_shape *to, const struct log_shape *from);
raft_term log_shape_term(const struct log_shape *s, raft_index index); /* index >= base */
/* While it is loaded, in ascending order: the first entry of a term; an entry with a configuration. */
void log_shape_add_run(struct log_shape *s, struct raft_pos first);
void log_shape_add_config(struct log_shape *s, raft_index index);
/* What the log is after this write, which also deleted all up to `base`. */
void log_shape_write(struct log_shape *s, const struct log_write *w, struct raft_pos base);

#endif
