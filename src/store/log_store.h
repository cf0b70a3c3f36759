/* log_store.h -- hard state and log entries on disk: an LMDB environment, and a journal in front of it.
 *
 * What log_store_write has returned 0 for survives a power cut: it is in the journal (log_journal.h: one flush a write) or,
 * where that does not suit, in LMDB (log_table.h). LMDB takes over what the journal has many writes at a time
 * (log_store_checkpoint); until then the entries stay in memory, of which a journal holds little. Besides the entries the
 * store keeps the first index of each term and the indexes of configuration entries, so that a start reads a few records
 * and the journal, however long the log is.
 *
 * One thread (the writer) calls log_store_write, one (the checkpointer) log_store_checkpoint; any thread may read. Two inner
 * locks: `held` is a leaf, for what is in memory; the other is for LMDB's turn to write, and is held as long as that
 * takes. */
#ifndef STORE_LOG_STORE_H
#define STORE_LOG_STORE_H

#include "base/err.h"
#include "raft/raft.h"
#include "wire/entry.h"

#define LOG_STORE_FORMAT 2

struct log_store;

/* Opens or makes the environment in `path` with room for max_size bytes (address space, not disk).
 * ERR_FORMAT (newer: *why has both numbers), ERR_CORRUPT, ERR_NO_RESOURCES (address space: see ulimit -v), ERR_IO,
 * ERR_NO_SPACE, ERR_PERMISSION. */
int log_store_open(const char *path, uint64_t max_size, struct log_store **out, struct why *why);
void log_store_close(struct log_store *s); /* NULL is fine */

/* What a start needs; owned by the store, valid until the next write. */
struct log_state {
    struct raft_hard_state hard;
    struct raft_pos base; /* the position before the first entry kept; 0, 0 if nothing was ever deleted */
    raft_index last;      /* base.index if there is no entry */
    unsigned run_count;
    const struct raft_pos *runs; /* the first entry of each term after base, ascending */
    unsigned config_count;
    const raft_index *configs; /* configuration entries after base, ascending */
};
int log_store_state(struct log_store *s, struct log_state *out);

/* One transaction, durable when it returns 0: the hard state; with begin_anew all entries deleted, so that the log begins
 * after `base`; entries first .. last in place of whatever stood at first and after it (first > last: none); and all before
 * keep_from deleted, but a bounded number at a time (keep_from is a permission, not an order). ERR_NO_SPACE: nothing was
 * changed, try again. ERR_IO, ERR_CORRUPT: the store cannot go on. */
struct log_write {
    struct raft_hard_state hard;
    bool begin_anew;
    struct raft_pos base; /* of begin_anew */
    raft_index first, last, keep_from;
    struct entry *const *entries; /* entries[0] is `first` */
};
int log_store_write(struct log_store *s, const struct log_write *w);

/* After a write with this keep_from: keep_from, if another such write would delete nothing; else the entry that the log begins
 * with by now. The writer's thread. */
raft_index log_store_kept_from(const struct log_store *s, raft_index keep_from);

/* Whether half the journal waits to be taken over: then log_store_checkpoint should come before the other half is full, or
 * a write has to do its work first. The writer's thread. */
bool log_store_wants_checkpoint(struct log_store *s);
/* Takes it over, in one transaction; 0 also if there is nothing to do. ERR_NO_SPACE: try again; other errors as
 * log_store_write. */
int log_store_checkpoint(struct log_store *s);

/* Entries first .. at most last, as many as fit into max_bytes but at least one, and not beyond the seam between LMDB and
 * what it has not taken over yet; a reference each for the caller.
 * Checksums are verified: ERR_CORRUPT. ERR_NOT_FOUND: `first` is not there (deleted or beyond the end). */
int log_store_read(struct log_store *s, raft_index first, raft_index last, uint64_t max_bytes, unsigned max_count,
                   struct entry **out, unsigned *count);

uint64_t log_store_disk_size(struct log_store *s); /* bytes that LMDB's file takes */
/* What the entries take of it, as of the last write (pages are reused, the file does not shrink), and how many there are. The
 * writer's thread. */
void log_store_used(struct log_store *s, uint64_t *bytes, uint64_t *entries);

#endif
