/* integrity.h -- whether our map is that of the others, as far as the lock guards it; wire/integrity.h has the frames.
 *
 * The applier notes the map's hash after each entry (kv_store.h). Members report theirs to their leader, which compares it with
 * its own at the same place of the log:
 *   - who differs where a majority of the voters agree with the leader is told so;
 *   - a leader from which a majority differs, all by the same amount, tells itself so, and hands over;
 *   - while voters are silent whose word would decide, nobody is told anything but the log;
 *   - where all have spoken and there is no majority (of two voters, say), the leader's map counts.
 * A map whose records or pages turn out to be damaged is doubted without any comparison.
 *
 * Who doubts its map says so in its log, notes it beside the map, applies nothing more, takes no reads, does not lead for
 * long, and reports it; the leader sends it the map (transfer.h), and with that the doubt ends. The log is not in doubt: it goes
 * on acknowledging and voting. A voter that has nobody to get a map from goes on with what it has. */
#ifndef SERVER_INTEGRITY_H
#define SERVER_INTEGRITY_H

#include <stdbool.h>

#include "server/transfer.h"
#include "store/kv_store.h"
#include "wire/frame.h"
#include "wire/integrity.h"

struct shared;
struct peer;

#define INTEGRITY_STEP        64u   /* all members note the hash at indexes that this divides */
#define INTEGRITY_CHECKPOINTS 1024u /* so many of these are kept */
#define INTEGRITY_RECENT      256u  /* and so many of the last entries of all */

/* What a peer has said, for a leader. */
struct opinion {
    raft_term term; /* in which it was said to us; what was said in an older one does not count */
    bool compared;
    raft_index index; /* where its hash and ours were both known, at last */
    uint64_t theirs, ours;
    bool doubted;        /* it says that of its own map */
    raft_index applied;  /* then, what a map for it must be at least as new as */
    bool owed;           /* a verdict, of theirs and ours; the sender clears it */
    bool logged;         /* that it differs */
    raft_time report_at; /* when we next report to it, if it leads; the sender */
};

struct integrity {
    bool doubted; /* our map: it differs, or is damaged */
    bool noted;   /* and that is noted on the disk, or could not be; the auditor */
    bool empty;   /* there is no map any more: it was put aside, and the log does not reach back to its beginning */
    char reason[KV_REASON_MAX]; /* for people */
    struct hash_at last;        /* after the entry applied last; index 0: not known yet */
    struct hash_at checkpoints[INTEGRITY_CHECKPOINTS], recent[INTEGRITY_RECENT];
    /* the scrub; the auditor */
    raft_time scrub_at;
    bool whole;                         /* the last whole pass found nothing */
    uint64_t scrubbed, passes, damaged; /* records looked at, whole passes, damaged records found, since the start */
};

/* ---- our own map ---- */

void integrity_begin(struct shared *s, const struct kv_position *p); /* as a start finds it */
/* Entries first .. first + count - 1 were applied; hashes[i] is the map's after entry first + i. */
void integrity_applied(struct shared *s, raft_index first, unsigned count, const uint64_t *hashes);
void integrity_installed(struct shared *s, const struct kv_position *p); /* the map is a leader's now */
/* Our map is not to be trusted, for this reason: one line of a log. Reads and writes that wait get no answer. */
void integrity_doubt(struct shared *s, const char *reason);
/* Whether the map is doubted and there is, or may be, somebody to get another one from: nothing is applied, and nobody reads. */
bool integrity_stands_still(const struct shared *s);
/* A doubted leader's best successor: a voter that answers and does not doubt its own map; 0: none. */
raft_id integrity_heir(const struct shared *s, raft_time now);

/* ---- comparing ---- */

enum integrity_view { INTEGRITY_UNKNOWN, INTEGRITY_AGREES, INTEGRITY_DIFFERS };
/* What we know of member `id` (ourselves, too), and the index at which; a leader alone knows it of others. */
enum integrity_view integrity_of(const struct shared *s, raft_id id, raft_index *index);

/* What the sender has for p: a verdict or a report; RAFT_NEVER: nothing. */
raft_time integrity_due(const struct shared *s, const struct peer *p);
enum integrity_frame { INTEGRITY_NOTHING, INTEGRITY_REPORT, INTEGRITY_VERDICT };
enum integrity_frame integrity_next(struct shared *s, raft_time now, struct peer *p, struct hash_report *report,
                                    struct hash_verdict *verdict);
/* They came. 0, or ERR_MALFORMED: the sender speaks for another. */
int integrity_reported(struct shared *s, const struct hello *h, const struct hash_report *r);
int integrity_judged(struct shared *s, const struct hello *h, const struct hash_verdict *v);

/* ---- the map in the place of ours ---- */

/* Whether a leader is to send p its map because p doubts its own, and the least index that this must have. */
bool integrity_needs_map(const struct shared *s, const struct peer *p, raft_index *least);
/* Whether a map as of `pos` that leader `from` of `term` sends is wanted though our log is as long. */
bool integrity_wants_map(const struct shared *s, raft_id from, raft_term term, struct raft_pos pos);

#endif
