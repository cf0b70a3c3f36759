/* kv_private.h -- the inside of the map, shared by the files kv_*.c. */
#ifndef STORE_KV_PRIVATE_H
#define STORE_KV_PRIVATE_H

#include <limits.h>
#include <stdatomic.h>

#include "store/env.h"
#include "store/kv_store.h"
#include "wire/content.h"

enum { MAP, OTHER_MAP };                        /* which of the two is the map, struct kv_restoring says */
extern const struct env_options kv_env_options; /* but for sizes */

#define INDEX_SIZE  8u
#define RECORD_HEAD 16u /* what a value begins with: u64 index of its last change, u64 hash (kv_record.c) */

/* What the map's hash is the sum of (kv_record.c). */
struct kv_sum {
    uint64_t records, config;
};

/* The map's replacement by commands of the log (kv_restore.c). */
struct kv_restoring {
    unsigned map;        /* which table is the map; what is gathered lies in the other one */
    raft_index begin;    /* of the COMMAND_RESTORE_BEGIN; 0: nothing is gathered */
    uint64_t count, sum; /* of what is gathered: records, and their hashes */
};

struct kv_view {
    struct kv_store *store;
    struct env_reader *reader;
    MDB_cursor *cursor; /* NULL: kv_view_seek was never called */
    raft_index applied;
    unsigned map; /* the table that it looks at */
    bool waiting; /* the cursor stands on the pair that kv_view_next gives next */
    bool at_end;
};

struct kv_store {
    struct env *env;
    char *path, *note_path;
    atomic_bool doubted; /* by a note beside it (kv_doubt.c) */
    uint64_t max_size, reserve;
    struct raft_pos applied;       /* the applier's; changed only after a commit */
    struct kv_sum sum;             /* likewise */
    struct kv_restoring restoring; /* likewise */
    struct {
        MDB_txn *txn; /* NULL: nothing is applied that is not committed */
        MDB_cursor *map;
        struct raft_pos at;            /* of the last entry applied in it */
        struct kv_sum sum;             /* after that entry */
        struct kv_restoring restoring; /* likewise */
        struct entry *config;          /* the last configuration in it, or NULL */
        bool grows;                    /* it holds a set that changes something */
    } open;                            /* the applier's */
    atomic_ullong used;                /* bytes, as of the last commit */
    atomic_ullong disk_free;           /* bytes, as of disk_looked: clock_now_ms */
    atomic_ullong disk_looked;
    struct kv_view *views; /* one for each of the environment's readers */
};

/* ---- kv_record.c ---- */

/* Writes what a value begins with, and the value behind it; `hash` is content_record_hash of it. */
void kv_record_fill(uint8_t *out, raft_index index, uint64_t hash, struct view value);
/* ERR_CORRUPT: too short to be a record. Nothing is verified. */
int kv_record_head(const MDB_val *data, raft_index *index, uint64_t *hash);
/* The same, and the value; ERR_CORRUPT also where the hash is wrong. */
int kv_record_split(struct view key, const MDB_val *data, struct view *value, raft_index *index);
/* Brings a map of format 1, which had no hashes, or 2, which had one table, to this one, in one transaction. */
int kv_upgrade(struct kv_store *s);

/* ---- kv_restore.c ---- */

int kv_read_restoring(struct kv_store *s, MDB_txn *txn, struct kv_restoring *out);
int kv_put_restoring(struct kv_store *s, MDB_txn *txn, const struct kv_restoring *r);
/* Applies a command for which command_is_restore, entry `index`, in the open transaction. */
int kv_apply_restore(struct kv_store *s, const struct command *c, raft_index index, struct command_result *result);

void kv_look_at_disk(struct kv_store *s); /* how much is free; any thread */

/* ---- kv_doubt.c ---- */

struct kv_doubt {
    bool there, unreadable;
    char reason[KV_REASON_MAX];
};
int kv_doubt_path(const char *path, char out[PATH_MAX]);
int kv_doubt_read(const char *path, struct kv_doubt *out);

/* ---- kv_store.c: the records beside the map, as of a transaction ---- */

int kv_read_position(struct kv_store *s, MDB_txn *txn, struct kv_position *out);
int kv_read_sum(struct kv_store *s, MDB_txn *txn, struct kv_sum *out);
int kv_put_position(struct kv_store *s, MDB_txn *txn, struct raft_pos applied, uint64_t records);
int kv_put_members(struct kv_store *s, MDB_txn *txn, raft_index index, struct view payload);
int kv_put_installed(struct kv_store *s, MDB_txn *txn, raft_index index);

#endif
