/* server_test.h -- one member without threads: the real core on the real stores, its roles run by hand on the test's clock. */
#ifndef SERVER_TEST_H
#define SERVER_TEST_H

#include <check.h>

#include "base/logger.h"
#include "server/deliver.h"
#include "server/role.h"
#include "server/shared.h"

#define ELECTION_MS  100
#define HEARTBEAT_MS 10
#define CLUSTER      7
#define NOBODY_PORT  1 /* nobody listens there */

struct subject {
    raft_id self;
    raft_time now;
    uint64_t log_max, kv_max; /* bytes */
    struct log_store *log;
    struct kv_store *kv;
    struct shared s;
    void *timer, *writer, *applier, *snapshotter, *checkpointer, *auditor; /* run_all leaves the last three alone */
    char root[500], dump[600], dump_fresh[600], incoming[600];
    void *senders[RAFT_MEMBERS_MAX]; /* by slot */
};

/* The members 1 .. count, voters n1 .. nN; all are reached at 127.0.0.1:port. */
void make_members(struct members *m, unsigned count, uint16_t port);
struct entry *members_entry_at(raft_index index, raft_term term, const struct members *m);

/* Member `self` of a cluster of members 1 .. count, which entry 1 says; in a directory of its own. */
void member_open(struct subject *m, raft_id self, unsigned count, uint16_t port);
/* A cluster of one with stores of at most so many bytes. */
void member_open_small(struct subject *m, uint64_t log_max, uint64_t kv_max);
void member_close(struct subject *m);
void member_reopen(struct subject *m); /* as after a crash: what is not in the stores is gone */
void member_end(struct subject *m);    /* closes it, and its directory goes */

/* A round of one role, if it is due now. */
bool run_role(struct subject *m, const struct role_ops *ops, unsigned which, void *job);
/* Timer, writer and applier, until none of them is due now and the map is committed; and the reads. */
void run_all(struct subject *m);
unsigned slot_of(const struct subject *m, raft_id id); /* RAFT_MEMBERS_MAX: none */

/* The greeting of member `from`. */
struct hello hello_from(raft_id from, raft_index config_index);
/* A message of that member over the wire's own encoding, with its entries (references stay the caller's). */
int deliver(struct subject *m, const struct hello *h, const struct raft_message *message, struct entry *const *entries,
            unsigned count);
/* An append of leader `from` in `term`. */
void deliver_append(struct subject *m, raft_id from, raft_term term, struct raft_pos prev, raft_index commit,
                    struct entry *const *entries, unsigned count);
/* Member `from` has entries up to `index` on its disk. */
void deliver_ack(struct subject *m, raft_id from, raft_index index);
/* Lets time pass and the others vote until this member leads and has its no-op on disk. */
void make_leader(struct subject *m);

struct raft_status status_of(const struct subject *m);
/* A leader of three, with `count` entries behind its no-op that members 1 and 2 have on disk, applied and committed. */
void lead_with(struct subject *m, unsigned count);
/* Member `from` answers that its log ends at `index`. */
void deliver_refusal_of(struct subject *m, raft_id from, raft_index index);
/* Proposes a set; its index. */
raft_index propose_set(struct subject *m, const char *key, const char *value);

#endif
