/* kv_private.h -- the inside of the map, shared by kv_store.c and kv_dump.c. */
#ifndef STORE_KV_PRIVATE_H
#define STORE_KV_PRIVATE_H

#include <stdatomic.h>

#include "store/env.h"
#include "store/kv_store.h"

enum { MAP };

#define INDEX_SIZE 8u /* what a value begins with */

struct kv_view {
    struct kv_store *store;
    struct env_reader *reader;
    MDB_cursor *cursor; /* NULL: kv_view_seek was never called */
    raft_index applied;
    bool waiting; /* the cursor stands on the pair that kv_view_next gives next */
    bool at_end;
};

struct kv_store {
    struct env *env;
    uint64_t max_size, reserve;
    struct raft_pos applied; /* the applier's; changed only after a commit */
    struct {
        MDB_txn *txn; /* NULL: nothing is applied that is not committed */
        MDB_cursor *map;
        struct raft_pos at;   /* of the last entry applied in it */
        struct entry *config; /* the last configuration in it, or NULL */
        bool grows;           /* it holds a set that changes something */
    } open;                   /* the applier's */
    atomic_ullong used;       /* bytes, as of the last commit */
    atomic_ullong disk_free;  /* bytes, as of the last commit, or of the last time that they did not suffice */
    struct kv_view *views;    /* one for each of the environment's readers */
};

/* The records beside the map, as of a transaction. */
int kv_read_position(struct kv_store *s, MDB_txn *txn, struct kv_position *out);
int kv_put_position(struct kv_store *s, MDB_txn *txn, struct raft_pos applied);
int kv_put_members(struct kv_store *s, MDB_txn *txn, raft_index index, struct view payload);
int kv_put_installed(struct kv_store *s, MDB_txn *txn, raft_index index);

#endif
