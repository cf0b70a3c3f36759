/* role.h -- what a role is: four functions and a job; the loop that runs them exists once (role.c).
 *
 * `due` and `take` and `done` run under the lock and see only struct shared; `work` runs without it and sees only the
 * job. So the lock rules are types, and the simulator can run the same roles on virtual time. */
#ifndef SERVER_ROLE_H
#define SERVER_ROLE_H

#include "raft/raft.h"

struct shared;
struct log_store;
struct kv_store;

/* What a role's job is made with: what its work may touch. The stores are those of this member; the rest is copied. */
struct role_context {
    struct log_store *log;
    struct kv_store *kv;
    raft_time election_ms;
    const char *dump_path, *dump_fresh_path, *incoming_path; /* datadir.h */
};

struct role_ops {
    const char *name;
    /* Makes and frees the job, the only memory of the role that survives from one round to the next. */
    void *(*job_new)(const struct role_context *c, unsigned which);
    void (*job_free)(void *job);
    /* Since when is there work: 0 now, RAFT_NEVER nothing. Reads only what the lock guards. */
    raft_time (*due)(const struct shared *s, unsigned which);
    void (*take)(struct shared *s, raft_time now, unsigned which, void *job);
    void (*work)(void *job);
    void (*done)(struct shared *s, raft_time now, unsigned which, void *job);
    /* Makes a `work` that waits for somebody else end soon; any thread, no lock. NULL: its work never waits. */
    void (*interrupt)(void *job);
};

extern const struct role_ops timer_ops;        /* one */
extern const struct role_ops writer_ops;       /* one */
extern const struct role_ops checkpointer_ops; /* one */
extern const struct role_ops applier_ops;      /* one */
extern const struct role_ops snapshotter_ops;  /* one */
extern const struct role_ops auditor_ops;      /* one */
extern const struct role_ops sender_ops;       /* one for each slot of shared.peers; `which` is the slot */

#endif
