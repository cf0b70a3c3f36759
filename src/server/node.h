/* node.h -- one running member: the lock, the role table, the receivers, and the order of start and stop.
 *
 * Who may include this: server/ and main.c. HTTP sees service.h alone. */
#ifndef SERVER_NODE_H
#define SERVER_NODE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"
#include "server/role.h"
#include "server/service.h"
#include "server/shared.h"
#include "store/datadir.h"

#define NODE_ROLES_MAX (6 + RAFT_MEMBERS_MAX)
/* One for each other member, and a few for strangers, who are shown the door within an election timeout. */
#define NODE_RECEIVERS (RAFT_MEMBERS_MAX - 1 + 4)

/* One role's thread. The lock guards asleep_until. */
struct role {
    struct node *node;
    const struct role_ops *ops;
    unsigned which;
    void *job;              /* between take and done the thread's alone */
    raft_time asleep_until; /* 0: at work */
    pthread_cond_t wake;
    pthread_t thread;
};

/* One thread that serves one connection of another member at a time. The lock guards peer and link. */
struct receiver {
    struct node *node;
    raft_id peer;               /* who was greeted; 0: nobody */
    char address[ADDRESS_MAX];  /* where that one says that it lives */
    _Atomic raft_time heard_at; /* when its last frame came; 0: none yet */
    bool twin_told;             /* that another process says to be the same member */
    struct link *link;          /* NULL: none; another thread may only interrupt it, under the lock */
    pthread_t thread;
};

struct node_options {
    struct datadir *datadir;                     /* open; identity has an id and a name */
    char client[ADDRESS_MAX], peer[ADDRESS_MAX]; /* what others use to reach us */
    enum profile profile;                        /* what we speak at `client` */
    const char *forming;                         /* the list of -cluster, for the others of it; NULL: none */
    char bind[256];
    uint16_t peer_port;
    raft_time election_ms, heartbeat_ms;
    uint64_t max_db_size;
    uint64_t max_value_size;                 /* with less room than that it is full, and hands leadership over */
    uint64_t log_max_entries, log_max_bytes; /* the log is cut to half of that when it has grown beyond */
    unsigned readers;                        /* views of the map at once: as many as there are HTTP threads, and some */
};

struct node {
    struct node_options options; /* constant */
    struct log_store *log;
    struct kv_store *kv;
    uint64_t started_ms;
    atomic_bool leaving; /* it stops: what takes long without the lock ends soon */
    atomic_uint backups; /* under way */
    int listener;
    pthread_t main_thread;
    pthread_mutex_t mutex; /* the lock; guards all below */
    struct shared shared;
    struct service_invitation invitation; /* cluster not 0: main shall wipe this pristine member and join there */
    bool main_told;                       /* main was sent NODE_SIGNAL for what it has not looked at yet */
    struct role roles[NODE_ROLES_MAX];
    unsigned role_count;
    struct receiver receivers[NODE_RECEIVERS];
    unsigned receiver_count;
};

/* Sent to the thread that called node_open when it should look at node_news: a failure, our removal, an invitation. */
#define NODE_SIGNAL SIGUSR1

/* Opens the stores of options->datadir, restores the member, listens for peers and starts all threads (with all signals
 * blocked). A DATADIR without a cluster gives a member in PHASE_JOINING. Errors have *why. */
int node_open(const struct node_options *options, struct node **out, struct why *why);
/* Where we are the only voter: returns once we lead, which is when clients are served, or after timeout_ms. At once elsewhere:
 * there it takes others. */
void node_await_own_leadership(struct node *n, unsigned timeout_ms);
/* Refuses new requests from now on, hands leadership over if we lead, and waits until those in flight are answered; at most
 * timeout_ms. */
void node_drain(struct node *n, unsigned timeout_ms);
/* Stops all threads in order, syncs and closes the stores. NULL is fine. */
void node_close(struct node *n);

/* Writes the first entry of a new cluster into the empty stores of `d`, and then its identity: after a crash in between there
 * was no cluster. It is a cluster of one, us, and of those who are expected (NULL: nobody), learners until they come; they
 * are given by name and peer address. */
int node_bootstrap(struct datadir *d, const char *client, const char *peer, enum profile profile,
                   const struct members *expected, struct why *why);
/* We were accepted by cluster `cluster` with configuration entry `index`: saves that, then talks to its members. */
int node_joined(struct node *n, uint64_t cluster, raft_index index, struct why *why);

enum node_news { NODE_NOTHING, NODE_FAILED, NODE_REMOVED, NODE_INVITED };
enum node_news node_news(struct node *n, struct why *failure, struct service_invitation *invitation);

/* The only way to a struct shared *. */
struct shared *node_lock(struct node *n);
/* Sets *s to NULL. Settles waiting reads and finds every role that became due; after unlocking wakes these, and the requests
 * that were finished, and logs the core's events. Nobody else wakes anybody. */
void node_unlock(struct node *n, struct shared **s);
/* Waits, without the lock, until r (begun under it, its `wake` an initialised semaphore) is finished or clock_now_ms is
 * `until`; then r is no longer queued, and its fields are the caller's alone. */
void node_await(struct node *n, struct request *r, raft_time until);
/* Releases the lock until clock_now_ms is `until`, for what nothing announces. */
void node_pause(struct node *n, struct shared *s, raft_time until);

void cond_init(pthread_cond_t *c); /* on CLOCK_MONOTONIC, as clock_now_ms */
int thread_start(pthread_t *t, void *(*run)(void *),
                 void *arg); /* small stack, all signals blocked; ERR_NO_RESOURCES */

void *role_run(void *arg);     /* role.c: the thread of a role */
void *receiver_run(void *arg); /* receiver.c: the thread of a receiver */

#endif
