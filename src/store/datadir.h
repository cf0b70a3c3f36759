/* datadir.h -- the data directory: layout, its lock, and who we are.
 *
 *     DATADIR/            mode 0700, made with its parents
 *         raftd           text: format, cluster, id, name, joined, removed (atomically replaced, synced)
 *         lock            flock'ed for life; holds the owner's pid, host and port
 *         log/            LMDB environment of the log (log_store.h)
 *         kv/             LMDB environment of the map (kv_store.h)
 *         kv.doubt        why the map is not to be trusted, until a leader has sent it anew
 *         kv.damaged/     a map that cannot be read, until then
 *         dump, dump.new  the map for members that fell behind, and while it is being written (dump_file.h)
 *         kv.next/        the map while it is loaded from the next (env.h)
 *         scratch.XXXXXX  a backup, or what is to be restored, for the moment before it loses its name; a start removes these
 *                         four
 *         incoming        the dump, on its way from a leader to us; after a start it goes on where it was
 *         recover-TIME/   what raftd recover has kept before it changed it; nobody removes it
 *
 * Directories are synced after each file that is made or renamed in them, the parent of a new DATADIR too. */
#ifndef STORE_DATADIR_H
#define STORE_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/raft.h"
#include "wire/members.h"

#define DATADIR_FORMAT 1

struct identity {
    uint64_t cluster; /* 0: in no cluster yet */
    raft_id id;       /* random, below 2^53, never reused: a wiped DATADIR is another member */
    char name[MEMBER_NAME_MAX];
    raft_index joined; /* the configuration entry by which we became a member; 0: not a member */
    bool removed;      /* we were removed: never start as this member again */
};

struct datadir;

/* Makes (if needed) and locks the directory and reads the identity; a new one has id 0, cluster 0 and an empty name.
 * ERR_LOCKED: *why names the owner where known. ERR_FORMAT: not a raftd directory (it has other files), or a newer
 * format: *why has both numbers. ERR_PERMISSION, ERR_NO_SPACE, ERR_IO. */
int datadir_open(const char *path, const char *owner, struct datadir **out, struct why *why);
/* The same for a directory that is to be filled: one that is not there, or is empty (ERR_EXISTS else). It has no identity until
 * datadir_save, and what has a log or a map but no identity never starts: so a crash in between leaves nothing that does. */
int datadir_create(const char *path, const char *owner, struct datadir **out, struct why *why);
/* For looking alone: nothing is made, finished or removed. The identity is read; ERR_CORRUPT, ERR_FORMAT: it is no good.
 * ERR_NOT_FOUND: no data directory. ERR_LOCKED as datadir_open. */
int datadir_look(const char *path, struct datadir **out, struct why *why);
/* Removes what was made since datadir_create, if it can, and closes. */
void datadir_discard(struct datadir *d);
void datadir_close(struct datadir *d); /* releases the lock; NULL is fine */

const struct identity *datadir_identity(const struct datadir *d);
const char *datadir_log_path(const struct datadir *d);
const char *datadir_kv_path(const struct datadir *d);
const char *datadir_dump_path(const struct datadir *d);
const char *datadir_dump_fresh_path(const struct datadir *d);
const char *datadir_incoming_path(const struct datadir *d);
const char *datadir_scratch_path(const struct datadir *d); /* for dump_file_create_nameless */
/* ERR_CORRUPT if a member's log is not there at all: with an empty one in its place it would vote twice in a term and forget
 * entries that it vouched for (paper 5.1, figure 2: persistent state). Call it before the log is opened, which makes it. */
int datadir_check_log(const struct datadir *d, struct why *why);
/* Replaces the file atomically: old or new after a crash, and durable when it returns. */
int datadir_save(struct datadir *d, const struct identity *identity, struct why *why);
/* Copies identity and log, whose store no write goes on in, into a new directory DATADIR/recover-TIME, durably; its path
 * to `out`. ERR_NO_SPACE, ERR_IO. */
int datadir_keep_copy(struct datadir *d, char *out, size_t size, struct why *why);
/* Removes log and map (before a pristine member joins another cluster, or a removed one joins anew). The stores must be
 * closed. A crash in between is finished at the next open: the identity is saved first, with cluster 0. */
int datadir_wipe(struct datadir *d, const struct identity *fresh, struct why *why);

#endif
