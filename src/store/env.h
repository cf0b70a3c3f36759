/* env.h -- one LMDB environment: how it is made, opened, read and written, and what its errors mean. Private to store/.
 *
 * Facts behind it (LMDB 0.9.24, measured):
 *  - The map's size is fixed at open: mdb_env_set_mapsize under a reader or after a failure ends in a crash. Without
 *    MDB_WRITEMAP it costs address space only.
 *  - LMDB never syncs a directory, and a crash while it makes its file may leave one that it does not open again. So an
 *    environment is made beside its place, synced, and renamed: what is at the place is whole.
 *  - LMDB opens a directory for two processes without complaint; datadir.h's lock keeps the second one out. Nobody may
 *    open or close LMDB's own lock.mdb while the environment is open: closing it would drop LMDB's fcntl locks.
 *  - A full disk shows as EIO more often than as ENOSPC, because LMDB turns a short write into EIO.
 *  - A failed write of the meta page poisons the environment (MDB_PANIC) until the process ends.
 *
 * Records of our own lie in the unnamed database, beside LMDB's records of the named ones: that page is rewritten by
 * every commit anyway. All integers in them are little-endian; only the keys of MDB_INTEGERKEY tables are in the machine's
 * order, as LMDB's own pages are.
 *
 * Threads: one thread writes; any may read. The pool of readers has a leaf lock: nothing is locked or waited for under it
 * (log_store.c has the other locks of store/). */
#ifndef STORE_ENV_H
#define STORE_ENV_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define ENV_TABLES_MAX 3

struct env_table {
    const char *name;
    unsigned flags; /* of mdb_dbi_open */
};

struct env_options {
    const char *kind;  /* 8 characters: what the environment holds, as it is written into it */
    uint64_t format;   /* the number that this version writes, and the highest that it reads */
    uint64_t oldest;   /* the lowest that it reads, for env_format and env_put_format; 0: `format` alone */
    uint64_t map_size; /* bytes of address space, rounded up to pages */
    uint64_t spare;    /* but at least this much more than the file has already */
    unsigned flags;    /* of mdb_env_open, besides MDB_NOTLS */
    unsigned readers;  /* how many env_readers there may be at once */
    bool read_only;    /* makes nothing, writes nothing, takes no lock: for who has seen to it that nobody writes */
    const char *note, *note_text; /* guard.h: written when a page makes no sense; NULL: nothing is */
    const char *advice;           /* and what to do then */
    unsigned table_count;
    struct env_table tables[ENV_TABLES_MAX];
};

/* A read transaction from the pool. LMDB's part of it is kept and renewed, so that a read allocates nothing. */
struct env_reader {
    MDB_txn *txn;
    MDB_cursor *cursor; /* env_reader_cursor */
    unsigned id;        /* 0 .. readers - 1: its place in the pool */
    struct env_file *file;
    struct env_reader *next;
};

struct env;

/* Opens or makes the environment (read_only: ERR_NOT_FOUND). ERR_FORMAT: another kind or a newer format; ERR_CORRUPT; ERR_NO_RESOURCES: address
 * space; ERR_NO_SPACE, ERR_PERMISSION, ERR_IO. *why is filled. */
int env_open(const char *path, const struct env_options *options, struct env **out, struct why *why);
void env_close(struct env *e); /* NULL is fine; no reader may be open */
/* This thread begins (true) or ends to look into pages: a signal that comes of it is the file's fault (guard.h). */
void env_work(struct env *e, bool begins);
/* Whether `size` bytes from `data` on are in the file that r reads: what LMDB finds in a damaged page need not be. */
bool env_holds(struct env_reader *r, const void *data, size_t size);
/* Removes a closed environment; a cut off removal can be repeated. 0 if it is not there. */
int env_remove(const char *path);

/* The format that the environment had when it was opened; and to say, in the transaction that brings it there, that it has
 * that of this version: tables that older ones lack are made. */
uint64_t env_format(const struct env *e);
int env_put_format(struct env *e, MDB_txn *txn);

MDB_dbi env_table(const struct env *e, unsigned which);
MDB_val env_val(struct view v); /* what goes into LMDB: it does not write there, though its type says nothing of it */

/* What an LMDB or errno code means here. ERR_IO and ERR_CORRUPT of a write stick (env_write_begin). */
int env_error(struct env *e, int rc);

/* A write transaction. Once a write has ended in ERR_IO or ERR_CORRUPT, that again for ever: nobody knows what is on the disk. */
int env_write_begin(struct env *e, MDB_txn **out);
int env_write_commit(struct env *e, MDB_txn *txn);         /* ends it in any case */
int env_write_abort(struct env *e, MDB_txn *txn, int err); /* ends it, returns err */

int env_read_begin(struct env *e, struct env_reader **out); /* ERR_NO_RESOURCES: all are open */
void env_read_end(struct env *e, struct env_reader *r);     /* NULL is fine */
/* One at a time, on that table; it ends with the reader. */
int env_reader_cursor(struct env *e, struct env_reader *r, unsigned table, MDB_cursor **out);
unsigned env_readers_open(struct env *e);

/* Our own records, each with a checksum. *out is valid as long as the transaction, until its next write.
 * ERR_NOT_FOUND, ERR_CORRUPT. */
int env_meta_get(struct env *e, MDB_txn *txn, const char *name, struct view *out);
int env_meta_put(struct env *e, MDB_txn *txn, const char *name, struct view value);

/* Pages that hold something as of `txn`, a write transaction's own changes included; free ones do not count. */
uint64_t env_used_pages(struct env *e, MDB_txn *txn);
uint64_t env_map_pages(const struct env *e);
uint64_t env_page_size(const struct env *e);
uint64_t env_disk_size(struct env *e);       /* bytes that the file takes */
uint64_t env_disk_free(const struct env *e); /* bytes that its disk has left for us; UINT64_MAX: nobody can tell */
int env_sync(struct env *e);                 /* flushes what MDB_NOMETASYNC left; 0 or ERR_IO */

/* ---- another one in its place: filled beside it, then it takes over ---- */

/* Makes an empty environment beside e, with the same tables. What is committed there is not synced; env_take_over does that.
 * By e's writer, and so are the following. Errors as env_open. */
int env_open_beside(struct env *e, struct env **out);
/* Has the disk write what was committed so far, so that the sync at the end has little to do (file_write_out). */
int env_write_out(struct env *e);
/* Syncs it and puts it in the place of e, on the disk by one rename. Transactions of readers that are open keep what they see,
 * new ones see the new one; a crash leaves the one or the other. `beside` is then empty, for env_discard_beside. On an error e
 * is as it was, but for ERR_IO that sticks (env_write_begin) when it is not known which one the disk has. */
int env_take_over(struct env *e, struct env *beside);
void env_discard_beside(struct env *e, struct env *beside); /* closes it and removes what is left; NULL is fine */
int env_remove_beside(const char *path);                    /* what a crash left of one, before e is opened */

#endif
