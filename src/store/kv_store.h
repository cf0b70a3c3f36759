/* kv_store.h -- the replicated map on disk, with the log position it stands for.
 *
 * One thread (the applier) may call the functions that change it; any thread may read.
 * End a kv_view before you wait for anybody: an open one keeps old pages from being reused.
 * The applied position and the configuration are in the same transaction as the data: each entry takes effect exactly once.
 * MDB_NOMETASYNC: a power cut may undo the last transactions, whole; the log repeats them. Deleting a prefix of the log
 * therefore waits for kv_store_sync. */
#ifndef STORE_KV_STORE_H
#define STORE_KV_STORE_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/err.h"
#include "raft/raft.h"
#include "wire/command.h"
#include "wire/entry.h"
#include "wire/members.h"
#include "wire/transfer.h"

#define KV_STORE_FORMAT 3
#define KV_REASON_MAX   200
#define KV_STORE_OLDEST 1 /* it is brought to the present format when it is opened */

struct kv_store;
struct dump_file;

/* As log_store_open; ERR_CORRUPT: the map cannot be used any more, see kv_store_set_aside. max_size is -max-db-size: when the map is full, writes end in ERR_NO_SPACE. `readers`: how many views
 * may be open at once. */
int kv_store_open(const char *path, uint64_t max_size, unsigned readers, struct kv_store **out, struct why *why);
void kv_store_close(struct kv_store *s); /* NULL is fine; no view may be open, and nothing uncommitted */
int kv_store_remove(const char *path);   /* a closed one, with all that lies beside it; 0 if it is not there */

struct kv_position {
    struct raft_pos applied;
    raft_index config_index; /* 0: no configuration yet */
    struct members members;
    raft_index restoring; /* the begin of a restore that has not ended; 0: there is none */
    bool installed; /* it was loaded from a dump, and nothing has been applied since: the log may not know of it yet */
    bool doubted;   /* it is not to be trusted (below) */
    char doubt[KV_REASON_MAX]; /* why */
    uint64_t hash;             /* of all that members must agree in at this position, however the map came about */
};
int kv_store_position(struct kv_store *s, struct kv_position *out);

/* Applies entries (consecutive, the first one right after the last one applied) in the open transaction, beginning one if
 * there is none. results[i] is meaningful for commands only, and certain from now on, for the log repeats what a crash takes
 * back; but no view shows it before kv_store_commit. hashes[i] (NULL is fine) is the map's hash after entry i (kv_position). Any error takes back all that is not committed, this call's entries
 * and earlier ones, which are then to be applied again: ERR_NO_SPACE: try again when there is room. ERR_IO, ERR_CORRUPT (a
 * record that a condition is about is damaged, too): the store cannot go on. A delete is applied even where a set would be ERR_NO_SPACE for reaching max_size: some pages are held
 * back. */
int kv_store_apply(struct kv_store *s, struct entry *const *entries, unsigned count, struct command_result *results,
                   uint64_t *hashes);
/* Commits what was applied, with its position and configuration; from then on views show it. 0 if there is nothing to commit.
 * Errors as kv_store_apply. By the thread that applied. */
int kv_store_commit(struct kv_store *s);

int kv_store_sync(struct kv_store *s, raft_index *settled); /* flushes; *settled is what is safe on disk now */

/* ---- dumps (kv_dump.c; wire/dump.h has the format) ---- */

/* Writes the map as of now, out of one view, to `fresh`, and renames that to `path` when it is durable. Any thread; it takes
 * breaks, for the disk is the log's, too. ERR_STOPPED: *cancel became true. ERR_NO_SPACE, ERR_IO, ERR_CORRUPT; nothing is left
 * of it then. */
int kv_store_dump(struct kv_store *s, uint64_t cluster, const char *fresh, const char *path, const atomic_bool *cancel,
                  struct dump_id *out);
/* The same without what a restore has gathered, into `file`, which is empty and open for writing and stays the caller's. It need not be durable. */
int kv_store_backup(struct kv_store *s, uint64_t cluster, struct dump_file *file, const atomic_bool *cancel,
                    struct dump_id *out);
/* Puts a dump in the place of the whole map, at one moment: readers keep what they see, a crash leaves the old map or
 * the new one; when it returns 0, the new one survives a power cut. It is loaded into an environment beside the one that there
 * is, which is replaced when all of the dump was verified (env.h): ERR_CORRUPT, ERR_FORMAT or ERR_INVALID (another cluster's)
 * leave the old map. It needs little memory, room on the disk for both maps, and takes breaks as
 * kv_store_dump does. Nothing of the old map is looked at; where it was doubted (below), the new one is not. As
 * kv_store_apply: only the applier, errors like there, and nothing may be uncommitted. ERR_STOPPED: *cancel became true. */
int kv_store_load(struct kv_store *s, uint64_t cluster, const char *path, const atomic_bool *cancel);
/* Fills a new map with the records of the dump in `file`, which is open; it then stands for *as, whatever the dump says, and is
 * durable. ERR_FORMAT: the dump is no good, *why says where, and the map is empty as before; ERR_NO_SPACE, ERR_IO. */
int kv_store_restore(struct kv_store *s, struct dump_file *file, const struct kv_position *as, struct why *why);

/* ---- a map that is not to be trusted (kv_doubt.c): one that differs from others', or has damaged records or pages ---- */

/* Notes that on disk, for this start and later ones, until a map is loaded. Any thread. Where the note cannot be written
 * (ERR_NO_SPACE, ERR_IO) it counts until the end of this process. */
int kv_store_doubt(struct kv_store *s, const char *reason);
int kv_store_trust(
    struct kv_store *s); /* takes that back: it is known to be whole; not beside kv_store_doubt or _load */
/* For a map that kv_store_open calls ERR_CORRUPT: puts it aside, so that an empty one is opened next, doubted for that
 * reason. A crash in between is finished when it is called again. */
int kv_store_set_aside(const char *path, const char *reason, struct why *why);
/* Verifies the records behind the key *after (empty: from the first), at most so many of them, and not many more than `bytes`;
 * *after is then the last one looked at. ERR_NOT_FOUND: that was the end of the map; ERR_CORRUPT: the record of *after is
 * damaged, or a page (then *after stays as it was). ERR_NO_RESOURCES: later. Any thread. */
int kv_store_scrub(struct kv_store *s, struct bytes *after, unsigned most, uint64_t bytes, unsigned *looked);

struct kv_stats {
    uint64_t keys, bytes_used, bytes_file, bytes_max;
    unsigned readers; /* open views */
};
int kv_store_stats(struct kv_store *s, struct kv_stats *out);
bool kv_store_has_client_data(struct kv_store *s); /* any key */
/* Bytes of key and value that a set is likely to find room for, in the map and on the disk, besides a reserve for deletes and
 * for what is in flight: asked before a command is proposed. Any thread; it may ask the file system. */
uint64_t kv_store_room(struct kv_store *s);
/* Whether there is no room for a set of `largest` bytes (of what the map can hold an eighth, if that is less); for a map that
 * was full there must be half as much more. */
bool kv_store_is_full(struct kv_store *s, uint64_t largest, bool was_full);

/* ---- views: a consistent state of the map, for reading ---- */
struct kv_view;
int kv_view_open(struct kv_store *s, struct kv_view **out); /* ERR_NO_RESOURCES: too many open */
void kv_view_close(struct kv_view *v);                      /* NULL is fine */
raft_index kv_view_applied(const struct kv_view *v);
/* Views into the map, valid until kv_view_close. ERR_NOT_FOUND; ERR_CORRUPT: what is stored is not what was written. *index:
 * the key's last change. */
int kv_view_get(struct kv_view *v, struct view key, struct view *value, raft_index *index);
/* Positions before the first key >= from (after = false) or > from (after = true); then kv_view_next gives key after key
 * in memcmp order; ERR_NOT_FOUND at the end; ERR_CORRUPT as above: the next call goes on behind that key, which is given. */
int kv_view_seek(struct kv_view *v, struct view from, bool after);
int kv_view_next(struct kv_view *v, struct view *key, struct view *value, raft_index *index);

#endif
