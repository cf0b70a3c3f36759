/* log_table.h -- the log in LMDB: an environment that syncs every commit. Private to log_store.c.
 *
 * Most writes go to the journal first (log_journal.h) and reach these tables many at a time; the table knows up to which
 * generation of the journal it has taken them over. One thread at a time writes; any may read. */
#ifndef STORE_LOG_TABLE_H
#define STORE_LOG_TABLE_H

#include "store/log_journal.h"
#include "store/log_shape.h"

struct log_table;

/* Errors as log_store_open. */
int log_table_open(const char *path, uint64_t max_size, struct log_table **out, struct why *why);
void log_table_close(struct log_table *t); /* NULL is fine */

const struct log_shape *log_table_shape(const struct log_table *t); /* of the last commit; the writing thread */

/* What they know of the journal; false: there is none yet. */
bool log_table_journal(const struct log_table *t, struct log_journal_id *out);
/* A journal was made: from now on it is needed to open this log, and its records have the salt that log_table_journal gives. */
int log_table_adopt_journal(struct log_table *t);

/* One transaction: what *w says (but for keep_from), all up to `base` deleted, and `settled` noted. Errors as log_store_write. */
int log_table_write(struct log_table *t, const struct log_write *w, struct raft_pos base, uint64_t settled);

/* As log_store_read, of what was committed. */
int log_table_read(struct log_table *t, raft_index first, raft_index last, uint64_t max_bytes, unsigned max_count,
                   struct entry **out, unsigned *count);

uint64_t log_table_disk_size(struct log_table *t);  /* bytes that the file takes; any thread */
uint64_t log_table_used(const struct log_table *t); /* bytes in use as of the last commit; the writing thread */

#endif
