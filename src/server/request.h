/* request.h -- a client that waits: for the result of its entry, or for its read to be safe.
 *
 * Requests live on the stacks of the threads that wait. All of this runs under the lock, but the waiting itself does not
 * (node_await), so that a hundred results wake a hundred threads none of which needs the lock. The simulator's clients use
 * the same three calls: begin, look at `state`, abandon. */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include <semaphore.h>
#include <stdbool.h>

#include "raft/raft.h"
#include "wire/command.h"

struct shared;

enum request_state {
    REQUEST_WAITING,
    REQUEST_DONE,   /* the entry is applied (result, if it was a command), or the read may be served */
    REQUEST_LOST,   /* write: it never will be applied; read: no quorum confirmed it */
    REQUEST_BUSY,   /* write: too much is unfinished, so it was not proposed */
    REQUEST_UNKNOWN /* this member fails or stops before it knows */
};

struct request {
    enum request_state state;
    raft_index index;    /* write: of its entry; read: serve once the map shows this */
    raft_term term;      /* write: of its entry */
    uint64_t ticket;     /* read */
    struct entry *entry; /* gathered, and not proposed yet */
    raft_time
        look_at; /* its thread then takes and releases the lock, so that the gathered ones are proposed; 0: another's does */
    struct command_result result;
    sem_t *wake; /* posted once, after the lock is released, when state has left WAITING; NULL in the simulator */
    struct request *next, *previous;
    bool queued;
};

#define REQUEST_BUCKETS 1024u

struct requests {
    struct request *writes[REQUEST_BUCKETS]; /* by index */
    struct request *gathered, *gathered_end; /* not proposed yet, in the order in which they came */
    unsigned gathered_count;
    uint64_t gathered_bytes;           /* of their entries */
    raft_time gathered_at;             /* when the first of them came */
    struct request *reads, *reads_end; /* in the order of their tickets */
    struct request *unsafe; /* the first read that no quorum has confirmed yet; those before it know their index */
    raft_index read_needs;  /* confirmed reads wait for the map to show this index; 0: none does */
    struct request *finished, *finished_end; /* their threads are to be woken by whoever releases the lock (role.c) */
    unsigned waiting;
};

/* Has a sealed entry (the reference is taken over) proposed with those of others, and begins to wait for it.
 *
 * Each batch costs every member a write, a flush and a few wake-ups, however many entries it has. So while entries are on
 * their way to a quorum, further ones gather until they are as many, for at most GATHER_MS. Who is alone waits for nobody. */
void request_gather(struct shared *s, raft_time now, struct request *r, struct entry *e);
/* Begins to wait for the entry that was just proposed at `index` in `term`. */
void request_begin_write(struct shared *s, struct request *r, raft_index index, raft_term term);
/* Asks for a linearizable read. False: no leader is known; r is not queued. */
bool request_begin_read(struct shared *s, raft_time now, struct request *r);
/* No longer waits (deadline). Harmless if it is finished; but then `wake` is or will be posted. */
void request_abandon(struct shared *s, struct request *r);

/* The applier's report: entry `index` of `term` is applied with this result (NULL: no command). */
void requests_applied(struct shared *s, raft_index index, raft_term term, const struct command_result *result);
/* The map was replaced by that of `index`: what became of the entries up to there, it does not say. */
void requests_superseded(struct shared *s, raft_index index);
/* Finishes all with REQUEST_UNKNOWN. */
void requests_give_up(struct shared *s);
/* Called before each unlock: proposes what has gathered, if it is time; finishes reads that are confirmed and whose index the
 * map shows, or that are lost. */
void requests_settle(struct shared *s, raft_time now);

#endif
