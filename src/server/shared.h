/* shared.h -- all that the one lock guards. Having a struct shared * is holding the lock.
 *
 * In a server only node_lock (node.h) hands one out; in the simulator each simulated member has one and there are no
 * threads. Who writes a field, and what it wakes, is said beside it; waking itself is derived at unlock (role.c). */
#ifndef SERVER_SHARED_H
#define SERVER_SHARED_H

#include <stdbool.h>

#include "base/err.h"
#include "raft/raft.h"
#include "server/directory.h"
#include "server/integrity.h"
#include "server/request.h"
#include "server/tail.h"
#include "server/transfer.h"
#include "store/kv_store.h"
#include "store/log_store.h"
#include "wire/frame.h"

enum phase {
    PHASE_JOINING, /* member of no cluster yet: refuses peers with NOT_READY and clients with 503 */
    PHASE_SERVING,
    PHASE_INVITED, /* pristine, and about to be wiped to join another cluster: new requests are refused */
    PHASE_DRAINING /* stopping: new requests are refused, leadership goes, those in flight are answered */
};

/* One other server: the slot of its sender. Slots follow the latest configuration (shared_assign_peers). A guest is not in
 * it, but the core may still have something to say to it: an answer to a leader or candidate of a configuration that we have
 * not got yet, or, to one that was removed, that it was. It stays until a member needs the slot. */
struct peer {
    raft_id id; /* 0: free */
    bool guest;
    char address[ADDRESS_MAX];
    /* The address changed or the member went: the sender closes its link at its next turn. Set by shared_assign_peers,
     * cleared by the sender. */
    bool stale_link;
    bool loaded;    /* the sender's job holds entries read from disk; the sender alone */
    bool connected; /* for logs and status; the sender alone */
    enum refusal_reason
        refused;             /* why it last refused us, so that it is logged once; 0: it did not; the sender alone */
    raft_time refused_since; /* for that reason; the sender alone */
    raft_time look_at;  /* when the sender looks whether there is something to send, woken or not; 0: never; it alone */
    raft_time greet_at; /* when to tell it, by our hello alone, that we moved; the sender alone */
    /* What the member itself said in its last hello. If it differs from the configuration (`moved`), we use it at once, and
     * the leader's timer proposes it. */
    bool moved;
    bool leads; /* a guest that leads, as a member told us: it must hear where we live */
    char moved_client[ADDRESS_MAX], moved_peer[ADDRESS_MAX];
    enum profile moved_profile;
    struct transfer_out out;       /* the map on its way to it; sender and snapshotter */
    struct transfer_answer answer; /* owed to it for a map that it sends; the sender clears it */
    struct opinion opinion;        /* of its map; and when we report ours to it */
};

struct counters {
    uint64_t elections, leader_changes, proposals, proposals_lost, reads, writes_to_disk, entries_written,
        batches_applied, messages_sent, messages_received, peers_refused;
};

struct shared {
    struct raft *raft;
    raft_id self;
    char name[MEMBER_NAME_MAX];
    char client[ADDRESS_MAX], peer[ADDRESS_MAX]; /* our own addresses as of this start */
    enum profile profile;                        /* and what we speak to clients */
    uint64_t cluster;                            /* 0: none yet */
    raft_index joined;                           /* the configuration entry that made us a member */
    enum phase phase;
    bool moved, moved_lately; /* the configuration, or the one before it, has an old address of ours */
    bool stopping;            /* roles end when idle */
    bool removed;             /* we are no member any more: main stops us with status 0 */
    int failure;              /* not 0: the store cannot go on: main stops us with status 1 */
    struct why failure_why;
    uint64_t largest;                         /* bytes of the largest key and value that clients may bring */
    bool full;                                /* there is no room for one of those; the snapshotter looks */
    raft_time room_at;                        /* when it looks next */
    bool no_space;                            /* the last write or apply found the disk or the map full */
    raft_time retry_write_at, retry_apply_at; /* after no_space; 0: now */
    bool checkpoint_wanted;                   /* the log's journal is half full; writer and checkpointer */
    raft_time retry_checkpoint_at;            /* there was no room; 0: now */
    raft_index staged,
        visible; /* the map has applied, and has committed so that views show it, up to here; the applier */
    raft_time staged_at, staged_last; /* when the oldest and the newest entry between the two were applied */
    raft_index restoring; /* the begin of a restore that has not ended, by what is applied; 0: none; the applier */
    bool restores;        /* a client's restore is under way here; whoever answers that client */
    raft_time abandon_at; /* when to propose next that a restore which nobody leads is abandoned; the timer */
    raft_time chores_at; /* the timer's chores wait until then: the last one could not be proposed; 0: now */
    uint64_t log_max_entries, log_max_bytes; /* more than that, and the log loses its first half */
    uint64_t log_bytes, log_entries;         /* what the log on disk takes, and for how many entries; the writer */
    raft_time compact_at;                    /* no sooner than that; the snapshotter */
    raft_index last_snapshot;      /* the entry that the synced map stood for at the last compaction; for its line */
    uint64_t wall_ns;              /* the wall clock at the moment 0 of the roles' clock, as of our start */
    raft_time transfer_patience;   /* how long an answer to a chunk may take */
    uint32_t transfer_chunk;       /* bytes of a map sent at once: CHUNK_BYTES_MAX, in simulations less */
    struct dump dump;              /* the snapshotter */
    struct transfer_in incoming;   /* receivers, and from TRANSFER_COMPLETE on the applier */
    raft_time report_ms, scrub_ms; /* how often we report our map's hash, and look at a few records */
    struct integrity integrity;    /* the applier, the auditor, receivers */
    struct tail tail;
    struct requests requests;
    struct directory directory;
    struct peer peers[RAFT_MEMBERS_MAX];
    struct counters counters;
};

/* What a start found on disk. */
struct shared_start {
    raft_id self;
    const char *name, *client, *peer;
    enum profile profile;
    uint64_t cluster;
    raft_index joined;
    uint64_t seed, wall_ns; /* wall_ns: of the moment 0 of the clock that `now` is of */
    raft_time election_ms, heartbeat_ms;
    uint64_t log_max_entries, log_max_bytes;
    uint64_t largest; /* bytes of the largest key and value that clients may bring */
};
/* Restores the core, the directory and the tail from the stores (a few records are read, whatever their size) and starts the
 * core at `now`. What a crash between an installed map and its log left undone is done. ERR_CORRUPT: the stores do not fit together (*why says how); other errors of the stores. */
int shared_open(struct shared *s, const struct shared_start *start, struct log_store *log, struct kv_store *kv,
                raft_time now, struct why *why);
void shared_close(struct shared *s);

/* The map is now what *p says, and on disk: core, directory, tail and requests follow. */
void shared_installed(struct shared *s, raft_time now, const struct kv_position *p);

/* Appends a sealed entry to the log if we lead: stamps it, takes over the reference, keeps tail, directory and peers in
 * step. Its index; 0: not now (not the leader, or too much unfinished), and the reference stays with the caller.
 * `members` is what a RAFT_CONFIG entry encodes, else NULL. */
raft_index shared_propose(struct shared *s, raft_time now, struct entry *e, const struct members *members);

void shared_assign_peers(struct shared *s); /* after any change of directory.latest */
/* Whether not everybody knows our address: senders greet all members until a committed configuration has it. */
bool shared_must_greet(const struct shared *s);
/* Member p says in its hello where it lives now. */
void shared_note_move(struct shared *s, struct peer *p, const struct hello *h);
/* We moved, and a member that we told so named the leader: if we do not know it, or not at that address, it is told, too. */
void shared_note_leader(struct shared *s, raft_id leader, const char *address);
/* A server that we do not know wants an answer: gives it a slot as a guest at `address` (from a hello: may be ""), if there is
 * one. */
void shared_host_guest(struct shared *s, raft_id id, const char *address);
/* The index of the configuration that we know ourselves a member by: the newer of our joining and the committed one. */
raft_index shared_config_index(const struct shared *s);
/* Tells the core whether there is room, after any change of full, retry_write_at or retry_apply_at. */
void shared_note_room(struct shared *s);
void shared_fail(struct shared *s, int err,
                 const char *what); /* the first failure counts; whoever waits gets UNKNOWN */

#endif
