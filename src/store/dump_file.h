/* dump_file.h -- a dump (wire/dump.h) as a file: the one that a leader gives away, and the one that a member is being sent.
 *
 * A struct dump_file belongs to one thread at a time. Who has one open for reading may go on when it is replaced or removed. */
#ifndef STORE_DUMP_FILE_H
#define STORE_DUMP_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "wire/transfer.h"

struct dump_file;

struct dump_file *dump_file_new(const char *path); /* opens nothing yet */
void dump_file_free(struct dump_file *f);          /* closes; NULL is fine */
void dump_file_close(struct dump_file *f);         /* harmless if it is not open */
bool dump_file_is_open(const struct dump_file *f);

/* For reading; *id (NULL is fine) is what header and trailer say, nothing in between is looked at. ERR_NOT_FOUND, ERR_CORRUPT,
 * ERR_FORMAT, ERR_IO. */
int dump_file_open(struct dump_file *f, struct dump_id *id);
int dump_file_read(struct dump_file *f, uint64_t offset, void *out,
                   size_t size);                    /* all of it, or ERR_CORRUPT, ERR_IO */
uint64_t dump_file_size(const struct dump_file *f); /* 0 if it is not open */

/* Makes it anew, empty, for writing. */
int dump_file_create(struct dump_file *f);
/* As dump_file_create, but beside `path` and without a name: nobody else sees it, and it is gone once it is closed. A crash in
 * the middle of this leaves PATH.XXXXXX, empty (datadir_open removes it). */
int dump_file_create_nameless(struct dump_file *f);
/* Where it is not open, it is opened. The disk has written it when this returns, so that a sync at the end has not much to do
 * and holds up nobody else's; but it is not durable. ERR_NO_SPACE: some megabytes are left for the log and the map, try again;
 * ERR_IO. */
int dump_file_write(struct dump_file *f, uint64_t offset, struct view bytes);
int dump_file_sync(struct dump_file *f);
/* Synced, closed and renamed to `path`, whose old file is gone; durable. */
int dump_file_publish(struct dump_file *f, const char *path);

int dump_file_remove(const char *path); /* 0 if it is not there */

/* ---- of a dump that is there in part, its beginning ---- */

/* What its header says. Errors as dump_file_open. */
int dump_file_peek(const char *path, uint64_t *cluster, struct raft_pos *pos);
/* How many bytes of it hold together: the header, records in order as far as they are whole, the trailer if it is right. Reads
 * all of it. ERR_STOPPED: *cancel became true; ERR_NOT_FOUND, ERR_CORRUPT: not even a header; ERR_FORMAT, ERR_IO. */
int dump_file_whole(const char *path, const atomic_bool *cancel, uint64_t *whole);

#endif
