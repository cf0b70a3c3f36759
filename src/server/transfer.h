/* transfer.h -- the map on its way from a leader to a member whose log is too far behind [paper 7], as far as the lock guards
 * it. wire/transfer.h has the frames.
 *
 * The leader sends chunks of a file (snapshotter.c writes it, sender.c sends it) when no message of the core is due; the
 * other side answers how far it is, and that is where the leader goes on: after a lost connection, and after a restart of the
 * receiver. A leader's dump is of the position at which the leader was, and so another leader's is another one: then the
 * transfer begins anew. So a member that fell behind gets one map for each leader that it lives to see meanwhile. Nothing waits for a slow receiver but its own chunks. */
#ifndef SERVER_TRANSFER_H
#define SERVER_TRANSFER_H

#include <stdbool.h>

#include "raft/raft.h"
#include "wire/frame.h"
#include "wire/transfer.h"

struct shared;
struct peer;

/* Our own dump, for whoever needs it. The snapshotter writes it. */
struct dump {
    bool ready;         /* it lies at DATADIR/dump */
    struct dump_id id;  /* what it is */
    raft_time look_at;  /* when to look whether it is still needed */
    raft_time retry_at; /* when to try to make one, after that failed; 0: now */
};

/* A leader's side, one for each peer. */
struct transfer_out {
    bool wanted;         /* the core says that the peer needs the map, and it answers (transfer_look) */
    raft_time awaits_it; /* it needs it, but is silent: our file stays for it until then; 0: it does not */
    bool begun;          /* `id` is what we send; what follows is about it */
    bool known;          /* it has said how far it is */
    bool open;           /* the sender has the file open */
    struct dump_id id;
    uint64_t acked, sent; /* bytes */
    uint64_t window;      /* sent and not yet answered, at most; it follows the speed of the link */
    uint64_t mark;        /* when the answers have come this far, we know how long one takes; 0: nothing is timed */
    raft_time marked_at;
    raft_time send_at; /* the next chunk leaves then at the earliest */
    raft_time ask_at;  /* without an answer until then we ask how far it is */
};

/* What we owe a leader that sends us the map: the newest answer says all. */
struct transfer_answer {
    bool owed;
    struct dump_id id;
    uint64_t offset;
};

/* The receiving side: there is one transfer at a time, at DATADIR/incoming. */
enum transfer_state {
    TRANSFER_IDLE,
    TRANSFER_LEFT, /* the file is from before our start; of `id` we know the position alone until a leader offers it */
    TRANSFER_RECEIVING,
    TRANSFER_COMPLETE, /* all of it is on disk: the applier's turn */
    TRANSFER_LOADING   /* the applier is at it */
};
struct transfer_in {
    enum transfer_state state;
    bool writing; /* somebody has the file; chunks that come meanwhile are dropped */
    bool offered; /* TRANSFER_LEFT: a leader sends just that dump: the snapshotter looks how much of it is good */
    struct dump_id id;
    uint64_t have; /* bytes */
};

/* ---- the leader's side ---- */

raft_index
transfer_least(const struct shared *s); /* what a dump must reach for all who need one; 0: as far as the log */

void transfer_look(struct shared *s, raft_time now, struct peer *p); /* asks the core whether p needs the map */
/* When the sender has a chunk, an answer or a file to close for p; RAFT_NEVER: nothing. */
raft_time transfer_due(const struct shared *s, const struct peer *p);
/* The next chunk for p: *c without its bytes, of which there are *size from c->offset on. False: none, now. */
bool transfer_next(struct shared *s, raft_time now, struct peer *p, struct chunk *c, size_t *size);
/* It was sent (err 0), or not; the sending took `took` ms. */
void transfer_sent(struct shared *s, raft_time now, raft_time took, struct peer *p, const struct chunk *c, size_t size,
                   int err);
/* p answers. 0, or ERR_MALFORMED: it speaks for another. */
int transfer_answered(struct shared *s, raft_time now, const struct hello *h, const struct chunk_taken *t);

/* ---- the receiving side ---- */

/* At a start: whether the file at `path` is of a map that we lack. Else it goes. */
void transfer_recall(struct shared *s, const char *path);
/* The snapshotter has looked at it (err 0): the first `good` bytes are of use. */
void transfer_recalled(struct shared *s, uint64_t good, int err);
/* Whether the map that comes, or has come, is to take the place of ours: as a rule because it is newer. */
struct raft_status;
bool transfer_is_news(const struct shared *s, const struct raft_status *status);

/* A chunk came. TRANSFER_WRITE: write it (transfer_write), then say so (transfer_wrote); 0: it is dealt with;
 * ERR_MALFORMED: its sender speaks for another. */
#define TRANSFER_WRITE 1
int transfer_came(struct shared *s, raft_time now, const struct hello *h, const struct chunk *c);
int transfer_write(const char *path, const struct chunk *c); /* without the lock */
void transfer_wrote(struct shared *s, const struct chunk *c, int err);

#endif
