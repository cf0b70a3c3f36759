/* env_private.h -- the inside of an environment, shared by env.c and env_beside.c. */
#ifndef STORE_ENV_PRIVATE_H
#define STORE_ENV_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "store/env.h"
#include "store/guard.h"

/* What is opened: another one takes its place when a whole environment is replaced (env_take_over). Then it lives on for the
 * transactions that were begun in it. */
struct env_file {
    MDB_env *mdb;
    struct guard guard; /* by its addresses */
    atomic_ullong end;  /* it has at least so many bytes */
    unsigned users;     /* the environment itself, readers, whoever syncs; the last one closes it */
    bool replaced;
};

struct env {
    struct env_file *file; /* changed by the writer, under the lock; so the writer may read it without */
    char *path;
    struct env_options options;
    struct guard guard; /* by the threads that are at work on it */
    uint64_t format;    /* of the file that was opened first */
    MDB_dbi tables[ENV_TABLES_MAX];
    uint64_t page_size, map_pages;
    uint64_t ready;    /* bytes of the file that are allocated and written, be it with zeros; the writer's */
    bool loading;      /* beside another one: nothing is synced yet, and the file need not be ahead */
    atomic_int failed; /* a write ended in this: ERR_IO or ERR_CORRUPT; 0: none did */

    pthread_mutex_t lock; /* a leaf: guards the pool below */
    struct env_reader *idle;
    unsigned open;
    unsigned count;
    struct env_reader *readers;
};

void env_reader_clear(struct env_reader *r);       /* ends its transaction for good */
void env_watch(struct env *e, struct env_file *f); /* has the guard know it as the file of e */
void env_file_release(struct env *e, struct env_file *f);
void env_note_sizes(struct env *e);           /* of a file that was just opened */
int env_write_failed(struct env *e, int err); /* returns err, and remembers one after which nobody may write */

#endif
