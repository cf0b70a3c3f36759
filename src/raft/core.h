/* core.h -- the inside of struct raft, private to this folder and to its tests.
 *
 * Every field says what it means; the files beside this one say who changes it: core.c (birth, terms, writes),
 * election.c, leader.c, follower.c, progress.c (a leader's view of a peer), reads.c, config.c, terms.c, send.c. */
#ifndef RAFT_CORE_H
#define RAFT_CORE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/mutants.h"
#include "raft/raft.h"

#ifdef NDEBUG
#error "the assertions of the core stay on: they are what stops a wrong state from becoming a wrong answer"
#endif

#define TERMS_MAX           1024                   /* runs of entries of one term that are remembered */
#define PEERS_MAX           (2 * RAFT_MEMBERS_MAX) /* members, and strangers to whom we owe an answer */
#define WINDOW_MESSAGES_MAX 64                     /* appends in flight to one peer */
#define WINDOW_BYTES_MAX    (4U << 20) /* bytes of entries in flight to one peer; one message may exceed it */
#define EVENTS_MAX          64
#define READY_MAX           16 /* rounds of reads that are confirmed, not yet applied, and told apart */
#define COMMIT_TELL_MS      2  /* a commit index that travels alone waits that long for entries to join */
#define HANG_TIMEOUTS       3  /* election timeouts after which a write in flight counts as hung */
#define LEAVE_TIMEOUTS      4  /* election timeouts during which a removed member is still told so */
#define TERM_JUMP_MAX       ((raft_term)1 << 32) /* a term further ahead than that is no term but an attack */

/* What raft_settled keeps of the log although the map has it (config.c of a leader decides by its peers). */
#define KEEP_TAIL       32    /* always: a peer that is a few messages late needs no whole map */
#define KEEP_BEHIND_MAX 65536 /* entries that a leader keeps for a slow peer that answers */
#define MAP_TIMEOUTS                                                                                                   \
    100 /* election timeouts of silence after which a peer that has been sent a map has nothing kept for it */

/* ---- terms.c: the log as the core knows it ------------------------------------------------------------------- */

/* Entries base.index + 1 .. last. A run is the position of the first entry of a row of entries of one term; the first
 * run may begin at or before the base. A ring: the oldest at `head`. */
struct terms {
    struct raft_pos base;
    raft_index last;
    unsigned head, count;
    struct raft_pos runs[TERMS_MAX];
};

void terms_reset(struct terms *t, struct raft_pos base);
raft_term terms_at(const struct terms *t, raft_index index); /* 0 where not known */
struct raft_pos terms_last(const struct terms *t);
bool terms_match(const struct terms *t, struct raft_pos pos);
bool terms_full(const struct terms *t, raft_term term); /* an entry of `term` would need one run too many */
void terms_forget_run(struct terms *t);                 /* the oldest run becomes part of the base */
void terms_append(struct terms *t, raft_term term);     /* the entry at last + 1; not when full */
void terms_truncate(struct terms *t, raft_index first); /* first and what follows it go */
void terms_forget(struct terms *t, raft_index index);   /* the base moves up to `index` */

/* The last index at or below `limit` whose term is at most `term`; base.index - 1 if even the base's is higher. */
raft_index terms_find(const struct terms *t, raft_index limit, raft_term term);

/* ---- a peer --------------------------------------------------------------------------------------------------- */

struct in_flight {
    raft_index last; /* of the entries of one append */
    uint32_t bytes;
};

struct window {
    unsigned head, count;
    uint64_t bytes;
    struct in_flight ring[WINDOW_MESSAGES_MAX];
};

/* Whatever we say to and know of one other server. What is owed is one slot for each kind of message: the newest
 * answer says all that the older one said. */
struct peer {
    raft_id id;
    bool member;          /* in the configuration in force; otherwise a stranger or one who leaves */
    raft_time used;       /* when it last spoke: the stranger that was silent longest loses its slot */
    raft_time not_before; /* a send failed: nothing is sent before that */

    struct {
        bool owed, pre, granted;
        raft_term term; /* of a grant: the term asked for */
    } voted;
    struct {
        bool owed, ok;
        raft_index index; /* of a refusal: where to try next */
        raft_term hint;
        uint64_t round;  /* the newest round it asked about */
        raft_index told; /* the highest index acknowledged in this term */
        raft_time at;    /* when we last answered */
    } ack;
    bool take_over; /* owed although we no longer lead: our last word as a leader */

    /* A candidate's view. */
    bool granted, refused;
    unsigned grants;   /* only for a mutant: how often it granted */
    raft_time vote_at; /* when to ask (again) */

    /* A leader's view (progress.c). match < next; entries match + 1 .. next - 1 are in flight. */
    enum raft_peer_state state;
    raft_index match, next;
    raft_time since;     /* when this view began */
    raft_time heard;     /* when it last answered; 0: not yet in this term */
    bool full;           /* so it said when it last answered */
    raft_time append_at; /* the next append leaves then at the latest: heartbeat, or retry of a probe */
    raft_time tell_at;   /* a commit index alone may leave from then on */
    raft_time take_over_at;
    bool probed; /* a probe with entries is out: retries carry none */
    struct window window;
    raft_index commit_told;
    uint64_t round, round_sent; /* newest round it answered, newest round sent to it */
    uint64_t read_ticket;       /* the read it asked for, 0: none; and our own ticket for it */
    uint64_t read_own;
    struct raft_pos snapshot; /* the map being sent to it */
    bool recovering;          /* it has a map from us, and has not caught up since */
    raft_index leaving;       /* the entry that removed it, while it is still to be told; 0: not so */
    raft_time leave_by;
    raft_index goal; /* catching up: the round ends when match reaches it */
    raft_time goal_since;
    bool caught_up; /* the last round took less than an election timeout */
};

/* ---- the member ------------------------------------------------------------------------------------------------- */

struct placed_config {
    struct raft_config config;
    raft_index index; /* of its entry; 0: the cluster began with it, or none is known (count 0) */
};

/* Tickets after + 1 .. until may be served at `index`. */
struct ready {
    uint64_t after, until;
    raft_index index;
};

/* What raft_check saw when it was last called: some rules are about how a state may change. */
struct seen {
    raft_term term;
    raft_id vote;
    raft_index commit, applied, base;
    uint64_t ticket;
    bool any;
};

struct raft {
    raft_id self;
    raft_time election_ms, heartbeat_ms;
    raft_time now; /* the latest that any call told */
    uint64_t rng_state, rng_stream;

    /* What the member is. */
    enum raft_role role;
    raft_term term;
    raft_id vote;
    raft_id leader;        /* 0: none known */
    raft_time election_at; /* when to give up on the leader, or on this election */
    raft_time heard;       /* when the leader last spoke */
    bool transfer;         /* a candidate at the leader's request */

    /* The log. */
    struct terms terms;
    raft_index commit, applied;
    raft_index matched; /* a follower's log is the leader's of this term up to here */
    raft_term refused;  /* in this term we refused an append, and have taken none since: so it is noted once */
    raft_index settled; /* the map is safe on disk up to here */

    /* The disk. */
    struct raft_hard_state saved;
    raft_index durable; /* the disk's log is ours up to here */
    raft_index writing; /* what the write in flight may make durable; D4 */
    bool write_in_flight;
    bool write_failed; /* the last one found no room */
    bool full;         /* no room for what clients bring */
    raft_time write_since;
    struct raft_pos keep; /* entries up to here need not be kept */
    raft_index kept;      /* the index that the last durable write gave for that */
    bool begin_anew;      /* a map was installed: the disk's log has still to be replaced by one that begins there, */
    struct raft_pos anew; /* that is, after this entry */

    /* The map. */
    bool apply_in_flight;
    raft_index applying;

    /* Configurations [thesis 4.1]: at most one is uncommitted, so truncation is one assignment. */
    struct placed_config committed, latest;

    /* Leadership transfer [thesis 3.10]. */
    raft_id transfer_to;
    raft_time transfer_by;

    /* Reads [thesis 6.4], see reads.c. */
    uint64_t ticket, round, confirmed, lost;
    unsigned ready_count;
    struct ready ready[READY_MAX]; /* the oldest first */
    uint64_t expire_ticket;
    raft_time expire_at;
    uint64_t asked; /* follower: the ticket in the RAFT_READ in flight */
    raft_time ask_at;

    unsigned peer_count;
    struct peer peers[PEERS_MAX];

    unsigned event_head, event_count;
    struct raft_event events[EVENTS_MAX];

    struct seen *seen; /* raft_check's own memory: points to seen_before, so that a const raft can be checked */
    struct seen seen_before;
};

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* core.c */
void raft_note(struct raft *r, enum raft_event_type type, raft_id peer, raft_index index);
void term_raise(struct raft *r, raft_term term);
void become_follower(struct raft *r, raft_term term, raft_id leader); /* also: of a higher term; step down */
bool hard_state_saved(const struct raft *r);
bool disk_hangs(const struct raft *r);
void commit_to(struct raft *r, raft_index index); /* the commit index moves up; reads.c and config.c follow */
void log_truncate(struct raft *r, raft_index first, raft_id leader);
bool log_room_for_term(struct raft *r, raft_term term); /* makes room by forgetting a run that is applied */
void timer_hurry(struct raft *r);                       /* a timeout within a heartbeat interval */
void timer_reset(struct raft *r);                       /* a new election timeout from now on */

/* config.c */
const struct raft_member *config_find(const struct raft_config *c, raft_id id);
bool config_has_voter(const struct raft_config *c, raft_id id);
bool config_valid(const struct raft_config *c);
unsigned config_voters(const struct raft_config *c);
const struct raft_config *config_in_force(const struct raft *r);
void config_adopt(struct raft *r, raft_index index, const struct raft_config *c);
void config_committed(struct raft *r);                   /* the commit index has moved */
void config_truncated(struct raft *r, raft_index first); /* entries from `first` on are gone */
void config_installed(struct raft *r, const struct raft_config *c, raft_index index);
uint64_t quorum_value(unsigned count, uint64_t *values); /* the highest value that a majority reaches; sorts them */
uint64_t quorum_of(const struct raft *r, uint64_t own, uint64_t (*value)(const struct peer *p));
bool is_voter(const struct raft *r); /* are we, in the configuration in force? */
bool may_lead(const struct raft *r);
bool has_other_voters(const struct raft *r);
struct peer *peer_find(struct raft *r, raft_id id);
const struct peer *peer_look(const struct raft *r, raft_id id);
struct peer *peer_slot(struct raft *r, raft_id id); /* never NULL: a stranger gets a slot */
void peers_sync(struct raft *r);

/* election.c */
void election_timeout(struct raft *r);
void election_stand(struct raft *r); /* without a pre-vote */
void election_asked(struct raft *r, const struct raft_message *m);
void election_answered(struct raft *r, const struct raft_message *m);
void election_count(struct raft *r); /* have we won? */
raft_time election_due(const struct raft *r, const struct peer *p);
void election_request(const struct raft *r, struct raft_message *m);

/* leader.c */
void leader_begin(struct raft *r);
void leader_end(struct raft *r);
void leader_tick(struct raft *r);
raft_time leader_due(const struct raft *r);
void leader_answered(struct raft *r, const struct raft_message *m);
void leader_advance(struct raft *r); /* commit what a quorum has; hand over if we removed ourselves */
bool leader_serves(const struct raft *r, const struct peer *p);
bool leader_heard(const struct raft *r, const struct peer *p); /* within an election timeout */
raft_time leader_take_over_due(const struct raft *r, const struct peer *p);

/* follower.c */
void follower_append(struct raft *r, const struct raft_message *m, struct raft_taken *taken);
void follower_asked_to_take_over(struct raft *r, const struct raft_message *m);
void follower_refuse_term(struct raft *r, raft_id from); /* tells an outdated leader of our term */
void follower_wrote(struct raft *r);
void follower_answer(const struct raft *r, const struct peer *p, struct raft_message *m);

/* progress.c */
void progress_begin(struct raft *r, struct peer *p);
void progress_probe(struct raft *r, struct peer *p, raft_index next);
void progress_acked(struct raft *r, struct peer *p, raft_index index);
void progress_refused(struct raft *r, struct peer *p, raft_index index, raft_term hint);
void progress_compacted(struct raft *r, struct peer *p); /* the base has moved up */
void progress_message(const struct raft *r, const struct peer *p, struct raft_message *m);
bool progress_sending(struct raft *r, struct peer *p, const struct raft_message *m, uint32_t bytes);
raft_time progress_due(const struct raft *r, const struct peer *p);

/* reads.c */
void reads_lose(struct raft *r);    /* leadership has changed */
void reads_confirm(struct raft *r); /* leader: an answer came, or the commit index moved */
void reads_tick(struct raft *r);
raft_time reads_tick_due(const struct raft *r);
void reads_asked(struct raft *r, struct peer *p, uint64_t ticket);
void reads_answered(struct raft *r, const struct raft_message *m);
raft_time reads_ask_due(const struct raft *r, const struct peer *p);    /* follower: RAFT_READ */
raft_time reads_answer_due(const struct raft *r, const struct peer *p); /* leader: RAFT_READ_AT */

#endif
