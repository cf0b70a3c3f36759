/* log_journal.h -- the front of the log on disk: a small file, allocated once, to which each write is appended with a single
 * flush. Private to log_store.c.
 *
 * LMDB needs two flushes for a commit, and several writes; an append to blocks that are there already needs one of each. So
 * a write is durable here first, and LMDB takes over many at a time, in the background.
 *
 * The file has two halves. What is written goes into generations 1, 2, 3, ...; generation g lies in half g % 2 and overwrites
 * g - 2, which the tables must have taken over before. Each write is one record, and begins on a block of its own:
 *
 *      0  u64  checksum of all that follows, up to the end of the entries
 *      8  u64  magic "raftdjnl"
 *     16  u64  generation
 *     24  u64  salt: drawn when the file was made, and kept in the tables, so that no client's value can pass for a record
 *     32  u64  sequence: one more than in the record before, also where that belongs to the generation before
 *     40  u64  term, u64 vote: the hard state
 *     56  u64  index, u64 term: the base
 *     72  u64  index of the first entry
 *     80  u32  how many entries; they take the place of whatever stood at the first one's index and after it
 *     84  u32  bytes of all entries
 *     88  the entries, as in entry.h, one after the other
 *
 * One write is in flight at a time. So only the last record can be torn by a crash; whatever is wrong in front of a good one
 * is damage, and said so.
 *
 * A write that failed for want of room may be there nonetheless, or a part of it. A crash may bring it back as long as it is
 * the last that was asked for; the next append takes its place, or the generation is settled (log_journal_unsure), and then
 * it is gone for good. Not thread-safe. */
#ifndef STORE_LOG_JOURNAL_H
#define STORE_LOG_JOURNAL_H

#include "store/log_store.h"

#define JOURNAL_HALF_SIZE  (1u << 20)
#define JOURNAL_RECORD_MAX (256u << 10) /* bytes of a record's entries; more needs several, or goes past the journal */

struct log_journal;

/* Makes the file in the environment's directory, all of it allocated and durable, in place of any that is there.
 * ERR_NO_SPACE, ERR_IO, ERR_PERMISSION. */
int log_journal_make(const char *directory, struct why *why);
/* What the tables know of it. */
struct log_journal_id {
    uint64_t settled; /* the generation up to which they have everything */
    uint64_t salt;    /* not 0 */
};
/* Opens it; read_only: for replay alone. ERR_CORRUPT: it is missing or too short. */
int log_journal_open(const char *directory, struct log_journal_id id, bool read_only, struct log_journal **out,
                     struct why *why);
void log_journal_close(struct log_journal *j); /* NULL is fine */

/* Hands each record that is not settled, in order, to `take`: as a write with keep_from 0, the base it came with, and its
 * generation. Entries are the callee's to reference. Once, before the first append, which goes on behind the last of them.
 * ERR_CORRUPT: damage; or the first error of `take`. */
typedef int log_journal_take(void *context, uint64_t generation, const struct log_write *w, struct raft_pos base);
int log_journal_replay(struct log_journal *j, log_journal_take *take, void *context, struct why *why);

uint64_t log_journal_generation(const struct log_journal *j); /* to which the next record belongs */
/* Whether the present generation has room for a record of that many bytes of entries. */
bool log_journal_has_room(const struct log_journal *j, uint64_t bytes);
/* Whether an append ended in ERR_IO: then no other write may become durable either. */
bool log_journal_failed(const struct log_journal *j);
/* Whether the last append ended in ERR_NO_SPACE, so that it may still come back: if the next write is not appended to the same
 * generation, that must be settled before. */
bool log_journal_unsure(const struct log_journal *j);
/* Begins the next generation; the one before the present must be settled. Writes nothing. */
void log_journal_next(struct log_journal *j);

/* Appends the write (there must be room; begin_anew cannot be journaled) with the base that it moves to; durable when it
 * returns 0. ERR_NO_SPACE: it can be tried again, or another one (log_journal_unsure); ERR_IO: nobody knows what is on the
 * disk, and so it stays. */
int log_journal_append(struct log_journal *j, const struct log_write *w, struct raft_pos base);

#endif
