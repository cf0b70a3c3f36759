/* history.h -- what the crash tests write: histories that follow from the number of steps alone, so that whoever knows how
 * far one got knows what must be on the disk. */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "store/datadir.h"
#include "store/kv_store.h"
#include "store/log_store.h"

#define HISTORY_MAX       60000u /* indexes */
#define HISTORY_BATCH_MAX 16u

/* ---- the log: appends, truncations, votes and deleted prefixes ---- */

struct log_history {
    uint32_t step;
    struct raft_hard_state hard;
    raft_index last;
    raft_index keep_from; /* the highest that was ever permitted */
    uint32_t terms[HISTORY_MAX + 1];
};

/* The next write. *w points into `entries`; drop them with log_history_drop. */
void log_history_next(struct log_history *h, struct log_write *w, struct entry *entries[HISTORY_BATCH_MAX]);
void log_history_drop(const struct log_write *w);
/* Whether the store holds what `h` says, entry for entry; if not, *why says what is wrong. */
bool log_history_holds(const struct log_history *h, struct log_store *s, struct why *why);

/* ---- the map: batches of sets, deletes and configurations ---- */

/* The batch that follows `applied`: its entries and how many. */
unsigned kv_history_next(raft_index applied, struct entry *entries[HISTORY_BATCH_MAX]);
/* Whether the map is as of a position between two batches, and is what it must be there. */
bool kv_history_holds(struct kv_store *s, raft_index *applied, struct why *why);

/* ---- the identity ---- */

struct identity identity_history(uint32_t step);
bool identity_history_holds(uint32_t step, const struct identity *got);

#endif
