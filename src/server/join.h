/* join.h -- the joining side, and the invitation that makes a server join: both are requests to another member's HTTP. */
#ifndef SERVER_JOIN_H
#define SERVER_JOIN_H

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"
#include "raft/raft.h"
#include "wire/members.h"

struct join_request {
    const char *targets; /* HOST:PORT[,...]: client or peer ports of any members */
    raft_id id;
    const char *name, *client, *peer;
    enum profile profile;
    bool learner;
    bool waits;       /* until the cluster expects a member of our name; then no answer but a CONFLICT is for good */
    raft_id replaces; /* the member whose place we shall take; 0: nobody's */
    raft_time timeout_ms;
    bool (*stop)(void *context); /* asked between attempts: true gives up at once with ERR_STOPPED */
    void *stop_context;
};
struct joined {
    uint64_t cluster;
    raft_index index;
};
/* Asks to be made a member, of one target after the other, with backoff, one log line an attempt, until a leader has
 * committed it. ERR_INVALID: targets make no sense; ERR_REFUSED: the cluster said no for good; ERR_TIMEOUT; ERR_STOPPED.
 * *why is for the person who started us. Called without the lock; may take timeout_ms. */
int join_run(const struct join_request *j, struct joined *out, struct why *why);

struct join_invitation {
    uint64_t cluster;           /* in: ours */
    char leader[ADDRESS_MAX];   /* in: our address, for clients or for members */
    char name[MEMBER_NAME_MAX]; /* in: who we believe lives there; "": whoever it is */
    bool learner;               /* in */
    raft_id replaces;           /* in: whose place it shall take; 0: nobody's */
    raft_id id;                 /* out: who was invited */
};
/* What a leader that handed over asks of its successor: to remove it, or to make a learner of it. */
struct join_change {
    const char *leader; /* its address, for clients or for members */
    raft_id member;
    bool remove;
    const char *client, *peer; /* new addresses; "": unchanged */
    bool force;
};
/* 0 if an answer came: *status, and *why if it is no success. Errors as http_call's. */
int join_change(const struct join_change *c, int timeout_ms, int *status, struct why *why);

/* Asks the pristine server at `address`, its client or peer port, to join us. ERR_REFUSED: it holds data, or has another
 * name; *why has its own words. */
int join_invite(const char *address, struct join_invitation *i, int timeout_ms, struct why *why);

#endif
