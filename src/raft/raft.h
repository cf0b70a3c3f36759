/* raft.h -- the consensus of one member: a value that knows rules and nothing else.
 *
 * Caveats, first:
 *  - It does no I/O, reads no clock, starts no thread, writes no log line and allocates only in raft_new. Every
 *    function is total: none can fail. A message that makes no sense is dropped; a state that makes no sense is an
 *    assertion (raft_check).
 *  - It knows the log only as index -> term. The bytes of entries are the caller's.
 *  - It has no outbox. The caller's roles ask "since when is there something to write, apply or send, and what?"
 *    (the *_due and raft_next_* functions), do it, and report what they did. So work coalesces by itself, the newest
 *    acknowledgement replaces the older one, and nothing can grow without bound.
 *  - It is not thread-safe: one lock of the caller's guards it (server/shared.h).
 *
 * Sections in brackets are those of "In Search of an Understandable Consensus Algorithm" (paper) and of Ongaro's
 * dissertation (thesis). src/raft/README maps each rule to its function.
 *
 * Durability, all of it in here:
 *  D1  raft_send_due answers RAFT_NEVER while (term, vote) is not on disk: nothing is said in a term that a crash
 *      could forget; a candidate's own vote, too, counts only then [thesis 3.8].
 *  D2  acknowledgements and the leader's own match use the durable index, never the last index.
 *  D3  raft_next_apply hands out at most min(commit, durable): the map never runs ahead of the log.
 *  D4  one write is in flight. Truncation at i lowers both `durable` and the index that the write in flight may make
 *      durable to i - 1, so a late completion can never vouch for an entry that took the place of another. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t raft_index; /* 1-based place in the log; 0 is before the first entry */
typedef uint64_t raft_term;
typedef uint64_t raft_id;   /* never reused, below 2^53; 0 is nobody */
typedef uint64_t raft_time; /* milliseconds on the caller's monotonic clock */

#define RAFT_NEVER       UINT64_MAX
#define RAFT_MEMBERS_MAX 16  /* voters and learners together */
#define RAFT_APPEND_MAX  512 /* entries in one append message */
#define RAFT_UNFINISHED_MAX                                                                                            \
    8192 /* entries past the commit index that a leader takes, and past the durable index that a
                                    follower takes, before it says "later" */

struct raft; /* opaque; one allocation, in raft_new */

struct raft_pos {
    raft_index index;
    raft_term term;
};

struct raft_hard_state {
    raft_term term;
    raft_id vote;
};

enum raft_member_role { RAFT_LEARNER = 1, RAFT_VOTER = 2 };

struct raft_member {
    raft_id id;
    enum raft_member_role role;
};

struct raft_config {
    unsigned count;
    struct raft_member members[RAFT_MEMBERS_MAX];
};

enum raft_entry_type { RAFT_NOOP = 1, RAFT_COMMAND = 2, RAFT_CONFIG = 3 };

/* All that the core ever sees of an entry: never its bytes. */
struct raft_head {
    raft_term term;
    enum raft_entry_type type;
    const struct raft_config *config; /* of a RAFT_CONFIG entry, else NULL; read during the call only */
};

enum raft_message_type {
    RAFT_VOTE = 1,
    RAFT_VOTED,
    RAFT_APPEND,
    RAFT_APPENDED,
    RAFT_SNAPSHOT,
    RAFT_READ,
    RAFT_READ_AT,
    RAFT_TAKE_OVER
};

/* A message as the core reads and writes it. `heads` of an outgoing append is NULL: the sender knows the entries
 * prev.index + 1 .. prev.index + count and may lower `count` (not raise it) before raft_sending. */
struct raft_message {
    enum raft_message_type type;
    raft_id from, to;
    raft_term term; /* of the sender; of a pre-vote request and of a grant for it: the term asked for */
    union {
        struct {
            struct raft_pos last; /* the candidate's last entry [paper 5.4.1] */
            bool pre;             /* a pre-vote [thesis 9.6] */
            bool transfer;        /* the leader asked for it: not held back by a leader that lives [thesis 4.2.3] */
        } vote;
        struct {
            bool pre, granted;
        } voted;
        struct {
            struct raft_pos prev;
            raft_index commit;
            uint64_t round; /* the newest read round [thesis 6.4]; echoed by the answer */
            unsigned count;
            const struct raft_head *heads;
        } append;
        struct {
            bool ok;
            raft_index index; /* ok: durable and equal to the leader's log up to here;
                                 not ok: the leader should try this index as prev.index */
            raft_term hint;   /* not ok: our term at `index`, 0 where we do not know it */
            uint64_t round;
            bool full; /* it has no room for more (raft_set_full) */
        } appended;
        struct {
            struct raft_pos pos; /* the leader offers its map as of this position */
        } snapshot;
        struct {
            uint64_t ticket;  /* READ: the follower's; READ_AT: the one answered */
            raft_index index; /* READ_AT: the read may be served once this is applied */
        } read;
    };
};

/* ---- birth: restore what the disk says, then start ---------------------------------------------------------- */

/* A member that has nothing yet. Never NULL: the process ends where memory does (it asks once, a few dozen KB).
 * `seed` feeds its random numbers, the only ones it has. Election timeouts are drawn from election_ms .. 2 x
 * election_ms [paper 5.2]; heartbeat_ms is shorter. */
struct raft *raft_new(raft_id self, uint64_t seed, raft_time election_ms, raft_time heartbeat_ms);
void raft_free(struct raft *r); /* NULL is fine */

/* Between raft_new and raft_start, in this order: once raft_restore, then in ascending order raft_restore_run for each
 * term's first entry after `base`, and raft_restore_config for each configuration entry after `base`.
 * `base` is the position before the first entry kept; `c` is the configuration at `config_index`, which is committed
 * (that of the map, or of the dump that made it), or count 0 if none is known. */
void raft_restore(struct raft *r, struct raft_hard_state hard, struct raft_pos base, const struct raft_config *c,
                  raft_index config_index);
void raft_restore_run(struct raft *r, struct raft_pos first);
void raft_restore_config(struct raft *r, raft_index index, const struct raft_config *c);

/* `last` is the last entry on disk (base.index if none); `applied` what the map holds, so committed. A lone voter stands
 * for election at once; others wait for an election timeout. A member in no configuration only listens. */
void raft_start(struct raft *r, raft_time now, raft_index last, raft_index applied);

/* ---- what happens to it -------------------------------------------------------------------------------------- */

void raft_tick(struct raft *r, raft_time now); /* when raft_tick_due says so; harmless at any other time */

/* What of an append was taken: heads[skip] .. heads[skip + count - 1] are now entries first .. first + count - 1, and
 * what stood at first and after it is gone. The caller stores just those bytes, before it releases its lock. */
struct raft_taken {
    raft_index first;
    unsigned skip, count;
};
void raft_receive(struct raft *r, raft_time now, const struct raft_message *m, struct raft_taken *taken);

/* Appends an entry to the leader's log. Its index; 0 if we are not the leader, hand leadership over, or hold
 * RAFT_UNFINISHED_MAX uncommitted entries (a RAFT_NOOP is taken even then). A RAFT_CONFIG takes effect at once
 * [thesis 4.1]; ask raft_may_change first (it is asserted). */
raft_index raft_propose(struct raft *r, raft_time now, enum raft_entry_type type, const struct raft_config *c);

/* A ticket for a linearizable read [thesis 6.4], never 0; 0 if no leader is known. Reads that arrive while a round is
 * in flight share the next one. */
uint64_t raft_read(struct raft *r, raft_time now);

/* Hand leadership to voter `to`, 0: to the voter that is furthest [thesis 3.10]. Nothing is proposed until that has
 * succeeded or an election timeout has passed. No effect if not the leader or without another voter. */
void raft_transfer(struct raft *r, raft_time now, raft_id to);

/* Whether this member has room for what clients bring. A follower's next answer tells its leader. */
void raft_set_full(struct raft *r, bool full);
/* For a leader that is full: the voter that answers and is not, the one furthest if there are several; 0: we have room, do
 * not lead, or all are full. */
raft_id raft_heir_with_room(const struct raft *r);
/* Whether a quorum of the voters is not full as far as a leader knows: more may be brought. It counts itself as not full: its
 * caller knows better how much it has room for. */
bool raft_quorum_has_room(const struct raft *r);

/* The connection from `peer` was closed or reset by its side, as when its process dies. A follower whose leader that is need
 * not wait for its election timeout: it asks for pre-votes within a heartbeat interval, and grants them. A matter of
 * liveness alone: votes are as safe as ever, and a leader that a quorum still hears loses no pre-vote. */
void raft_link_lost(struct raft *r, raft_time now, raft_id peer);

/* The leader `from` of `term` sends its map as of `pos`: true if we want it (it is newer than what we have committed),
 * and then it counts as a heartbeat. */
bool raft_offered(struct raft *r, raft_time now, raft_id from, raft_term term, struct raft_pos pos);

/* ---- what each role asks: since when is there work (0: now; RAFT_NEVER: none), and what is it ----------------- */

raft_time raft_tick_due(const struct raft *r);
raft_time raft_write_due(const struct raft *r); /* RAFT_NEVER while a write is in flight */
raft_time raft_apply_due(const struct raft *r); /* RAFT_NEVER while a hand-out of raft_next_apply is unreported */
raft_time raft_send_due(const struct raft *r, raft_id peer); /* may lie in the future: heartbeats, retries */

/* One durable transaction. After a write that failed for want of room (raft_write_failed) a hard state that is not saved goes
 * without entries, for a vote takes no room to speak of and others wait for it. The hard state; with begin_anew all entries go and the log begins after `base` (a map was
 * installed); entries first .. last, replacing whatever stood at first and after it (first > last: no entries); and entries
 * before keep_from need not be kept. */
struct raft_write {
    struct raft_hard_state hard;
    bool begin_anew;
    struct raft_pos base; /* of begin_anew */
    raft_index first, last, keep_from;
};
void raft_next_write(struct raft *r, raft_time now, struct raft_write *w); /* marks it in flight */
void raft_next_apply(struct raft *r, raft_index *first, raft_index *last); /* marks it in flight */
void raft_next_message(const struct raft *r, raft_time now, raft_id peer, struct raft_message *m);

/* ---- what each role reports when its work is done -------------------------------------------------------------- */

/* "This message leaves now": true, and it counts as sent; false: it is out of date (the term moved on, the peer is
 * gone), drop it and ask again. `bytes` is the size of its entries; what is in flight to a peer is bounded by
 * entries and bytes. A RAFT_SNAPSHOT is the caller's own: say so before the map is offered, and what follows its position
 * in the log is kept as long as the peer answers; false: the peer needs none, or a newer one. */
bool raft_sending(struct raft *r, raft_time now, const struct raft_message *m, uint32_t bytes);
void raft_unreachable(struct raft *r, raft_time now, raft_id peer); /* a send failed: probe it again, after a while */
void raft_wrote(struct raft *r, raft_time now, const struct raft_write *w);
void raft_write_failed(struct raft *r,
                       raft_time now); /* nothing of the write in flight is on disk: no room; ask again */
void raft_applied(struct raft *r, raft_time now, raft_index index);
/* The map is that of a leader as of `pos`, and synced to disk; no effect if ours was newer (one as new as ours may still bring a
 * configuration that we lack). A crash before the next write
 * leaves a log that does not hold `pos`: the caller then begins it anew at `pos` and restores that. */
void raft_installed(struct raft *r, raft_time now, struct raft_pos pos, const struct raft_config *c,
                    raft_index config_index);
/* The map is safe on disk up to `index`: the log before may go. But at most keep_max entries of it stay for peers that are
 * being sent a map or have not caught up since: as many as make it cheaper to send them than another map. */
void raft_settled(struct raft *r, raft_index index, uint64_t keep_max);

enum raft_read_state { RAFT_READ_WAIT, RAFT_READ_READY, RAFT_READ_LOST };
/* READY: serve it once *index is applied; it is not to be asked for again then. LOST: leadership changed, or no quorum
 * answered within an election timeout. */
enum raft_read_state raft_read_poll(const struct raft *r, uint64_t ticket, raft_index *index);

/* ---- membership, one change at a time [thesis 4.1] -------------------------------------------------------------- */

enum raft_change {
    RAFT_CHANGE_OK,
    RAFT_CHANGE_NOT_LEADER,
    RAFT_CHANGE_IN_FLIGHT, /* the one before is not committed yet */
    RAFT_CHANGE_TOO_EARLY, /* no entry of this term is committed yet [Ongaro, raft-dev, July 2015] */
    RAFT_CHANGE_TOO_FAR    /* more than one voter comes or goes, or none would be left */
};
enum raft_change raft_may_change(const struct raft *r, const struct raft_config *next);
bool raft_caught_up(const struct raft *r, raft_id learner); /* its last round of catching up took less than an
                                                               election timeout [thesis 4.2.1] */
bool raft_wants_noop(const struct raft *r); /* a new leader without an entry of its term: propose a RAFT_NOOP */

/* ---- looking at it ------------------------------------------------------------------------------------------------ */

enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_status {
    enum raft_role role;
    raft_id self, leader; /* leader 0: none known */
    raft_term term;
    raft_index first, last; /* entries kept; first = last + 1: none */
    raft_index durable, commit, applied;
    struct raft_pos base;
    raft_index config_index; /* of the latest configuration */
    raft_index config_committed_index;
    bool transferring;
};
void raft_status(const struct raft *r, struct raft_status *out);
const struct raft_config *raft_config_latest(const struct raft *r);
const struct raft_config *raft_config_committed(const struct raft *r);
raft_term raft_term_at(const struct raft *r, raft_index index); /* 0 where not known (compacted, or after the last) */

enum raft_peer_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_NEEDS_SNAPSHOT };
struct raft_peer_status {
    enum raft_peer_state state;
    raft_index match, next;
    raft_time heard;          /* when it last answered; 0: never in this term */
    bool active;              /* within the last election timeout */
    struct raft_pos snapshot; /* RAFT_NEEDS_SNAPSHOT: the entry it needs is gone; it needs the map at base or later */
};
/* A leader's view of a peer; false if we do not lead or it is not in the latest configuration. */
bool raft_peer_status(const struct raft *r, raft_time now, raft_id peer, struct raft_peer_status *out);

/* What happened, for logs and for the stories that tests tell. A small ring: if nobody asks, the oldest are lost. */
enum raft_event_type {
    RAFT_EVENT_FOLLOWER = 1, /* follows `peer` (0: nobody yet) in `term` */
    RAFT_EVENT_PRECANDIDATE, /* heard nothing of leader `peer` for an election timeout; asks for pre-votes */
    RAFT_EVENT_CANDIDATE,    /* stands for election in `term`, needs `index` votes */
    RAFT_EVENT_VOTED,        /* candidate: `peer` voted for us, the `index`th vote with our own */
    RAFT_EVENT_LEADER,       /* won it; `index` is its last entry */
    RAFT_EVENT_NO_QUORUM,    /* a leader that heard from no quorum for an election timeout steps down */
    RAFT_EVENT_DISK_HANGS,   /* a leader whose own write does not end steps down */
    RAFT_EVENT_GRANTED,      /* voted for `peer` in `term` */
    RAFT_EVENT_REFUSED,      /* denied `peer` its vote in `term` */
    RAFT_EVENT_TRUNCATED,    /* entries from `index` on were replaced by those of leader `peer` */
    RAFT_EVENT_CONFIG,       /* the configuration of `index` is in force */
    RAFT_EVENT_PEER,         /* leader: begins to replicate to `peer`, after `index` */
    RAFT_EVENT_PROBE,        /* leader: `peer` lacks what comes before an append, older entries go, after `index` */
    RAFT_EVENT_RETRY,        /* leader: `peer` was not reached, compares logs anew, after `index` */
    RAFT_EVENT_MISSING,      /* the entry of `index`, that an append of leader `peer` follows, is not in our log;
                                once until an append is taken */
    RAFT_EVENT_REPLICATE,    /* leader: `peer` matches up to `index`; entries flow */
    RAFT_EVENT_SNAPSHOT,     /* leader: `peer` needs entries that are gone, before `index` */
    RAFT_EVENT_TRANSFER,     /* leader: hands leadership to `peer` */
    RAFT_EVENT_TAKE_OVER,    /* asked by leader `peer` to stand at once */
    RAFT_EVENT_INSTALLED     /* the map of a leader replaced ours, at `index` */
};
struct raft_event {
    enum raft_event_type type;
    raft_term term;
    raft_id peer;
    raft_index index;
};
bool raft_next_event(struct raft *r, struct raft_event *e); /* false: no more */

void raft_check(const struct raft *r); /* every invariant, asserted */

#endif
