/* service.h -- all that HTTP may ask of the node: write, read, scan, members, status.
 *
 * Every call may be made from any thread that holds no lock; it blocks until it has an answer or its deadline has passed,
 * and then it always returns. Nothing here shows raft, LMDB, threads or locks. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/profile.h"
#include "base/text.h"

#define SERVICE_DEADLINE_MS 5000 /* of a request, unless the caller says otherwise */
#define SERVICE_KEY_MAX     480
#define SERVICE_NAME_MAX    64
#define SERVICE_MEMBERS_MAX 16

struct node;

enum service_code {
    SERVICE_OK = 0,
    SERVICE_NOT_FOUND,        /* no such key or member */
    SERVICE_CONDITION_FAILED, /* If-Match or If-None-Match; etag is the current one, 0: no such key */
    SERVICE_NOT_LEADER,       /* stamp.leader_client is whom to ask */
    SERVICE_NO_LEADER,        /* none known, or it could not take it yet: surely not applied */
    SERVICE_LOST,             /* another leader's entry took its place: surely not applied */
    SERVICE_UNKNOWN,          /* the deadline passed: it may or may not be applied, now or later */
    SERVICE_NO_QUORUM,        /* a linearizable read found no quorum in time: ?stale would answer */
    SERVICE_BUSY,             /* too much unfinished: try again; surely not applied */
    SERVICE_NO_SPACE,         /* disk or map is full: surely not applied */
    SERVICE_STOPPING,         /* this server is stopping: surely not applied */
    SERVICE_INVALID,          /* an argument makes no sense: text says what */
    SERVICE_CONFLICT,         /* the state does not allow it (a change in flight, the last voter, a name taken, it
                                 holds data): text says what */
    SERVICE_DOUBTED, /* this member's map is not to be trusted, and it answers nothing out of it: text says why */
    SERVICE_FAILED   /* this server failed: text says what */
};

/* Where an answer comes from: the Raftd-* headers of every response. */
struct service_stamp {
    char node[SERVICE_NAME_MAX];
    char leader[SERVICE_NAME_MAX];   /* "" if none is known */
    char leader_client[ADDRESS_MAX]; /* HOST:PORT, "" if none is known */
    enum profile leader_profile;     /* what the leader speaks there */
    char leader_peer[ADDRESS_MAX];   /* HOST:PORT for members, "" if none is known */
    uint64_t term;
    uint64_t index; /* of a write: its log index; else what this member has applied */
};

/* What the cluster is after a change of its members. */
struct service_outlook {
    bool changes; /* false: it is so already */
    unsigned voters, learners;
    unsigned reachable;        /* voters that answer now */
    unsigned quorum, can_lose; /* how many of the reachable may go before there is no quorum */
};

struct service_result {
    enum service_code code;
    struct service_stamp stamp;
    uint64_t etag;                  /* of a write or a failed condition: index of the key's last change */
    bool created;                   /* of a set: there was no such key; of a new member: it was not there */
    struct service_outlook outlook; /* of a change of members */
    char text[800]; /* for INVALID, CONFLICT, FAILED, and a dry run: one sentence for the person who asked */
};

void service_stamp(struct node *n, struct service_stamp *out); /* at once */

/* ---- keys ---- */

enum service_op { SERVICE_SET, SERVICE_DELETE };
enum service_condition {
    SERVICE_ALWAYS,
    SERVICE_IF_EXISTS,   /* If-Match: * */
    SERVICE_IF_INDEX,    /* If-Match: "N" */
    SERVICE_IF_ABSENT,   /* If-None-Match: * */
    SERVICE_IF_NOT_INDEX /* If-None-Match: "N" */
};
struct service_write {
    enum service_op op;
    enum service_condition condition;
    uint64_t expected;
    struct view key; /* 1 .. SERVICE_KEY_MAX bytes */
    struct view value;
};
/* OK once committed and applied here. A delete of a key that is not there is NOT_FOUND. */
void service_write(struct node *n, const struct service_write *w, unsigned deadline_ms, struct service_result *r);

enum service_consistency { SERVICE_LINEARIZABLE, SERVICE_STALE };

/* The value is copied into *value (reset first). Linearizable on every member (ReadIndex). */
void service_get(struct node *n, struct view key, enum service_consistency c, unsigned deadline_ms, struct bytes *value,
                 struct service_result *r);

/* A walk over the keys that begin with `prefix`, in byte order, after `after` (empty: from the first); one consistent view.
 * While it is open it pins pages of the store: close it soon, and it closes itself for longer than SERVICE_SCAN_MS
 * (service_scan_next then answers false, and *complete is false). */
#define SERVICE_SCAN_MS 30000
struct service_scan;
void service_scan_open(struct node *n, struct view prefix, struct view after, enum service_consistency c,
                       unsigned deadline_ms, struct service_scan **out, struct service_result *r); /* BUSY: too many */
/* False at the end. The views are valid until the next call. */
bool service_scan_next(struct service_scan *s, struct view *key, struct view *value, uint64_t *etag);
void service_scan_close(struct service_scan *s, bool *complete); /* NULL is fine; complete may be NULL */

/* ---- backups ---- */

/* The map as of one index, in a file that nobody else sees and that goes when it is closed: a slow client costs disk space,
 * and no page of the map. */
struct service_backup;
struct service_backup_info {
    uint64_t cluster, index, term; /* index and term of the last entry in it */
    uint64_t size;                 /* of the dump, in bytes */
};
/* Returns when the file is written, which may take longer than the deadline: that is for the barrier before it. Linearizable:
 * it contains whatever was acknowledged before the call. BUSY: others are under way; NO_SPACE: no room for the file. */
void service_backup_open(struct node *n, enum service_consistency c, unsigned deadline_ms, struct service_backup **out,
                         struct service_result *r);
const struct service_backup_info *service_backup_info(const struct service_backup *b);
/* Appends the next bytes of the dump (raftd-protocol(7)), at most `size`. False at its end, or if they cannot be read. */
bool service_backup_read(struct service_backup *b, size_t size, struct bytes *out);
/* The next pair instead, in byte order of the keys. False at the end, or on failure. Valid until the next call. */
bool service_backup_next(struct service_backup *b, struct view *key, struct view *value, uint64_t *etag);
bool service_backup_failed(const struct service_backup *b); /* it ended too early */
void service_backup_close(struct service_backup *b);        /* NULL is fine */

/* ---- restoring the whole map ---- */

/* The whole map is replaced by that of a backup, for all members at one index: until then reads see the old map, from then on the
 * new one, and if anything goes wrong before, nothing was changed. First the backup is uploaded, by service_upload_bytes or by
 * service_upload_pair, and looked at in all its parts; nobody notices but this server's disk. */
struct service_upload;
uint64_t service_upload_limit(struct node *n); /* no backup of more bytes is taken: -max-db-size */
/* NOT_LEADER and the like: as a write. CONFLICT: another one is under way here. */
void service_upload_open(struct node *n, struct service_upload **out, struct service_result *r);
/* The next bytes of a dump. False: it is no good or there is no room for it; *r says what. */
bool service_upload_bytes(struct service_upload *u, struct view bytes, struct service_result *r);
/* The next pair, its key greater than the one before it, in place of bytes. */
bool service_upload_pair(struct service_upload *u, struct view key, struct view value, struct service_result *r);
/* All was uploaded: replaces the map. May take long; each step of it at most deadline_ms. OK: done, *keys; UNKNOWN: the last
 * step may yet be done; all else: nothing was changed. Writes that are acknowledged meanwhile are replaced. */
void service_upload_restore(struct service_upload *u, unsigned deadline_ms, uint64_t *keys, struct service_result *r);
void service_upload_close(struct service_upload *u); /* NULL is fine */

/* ---- members ---- */

struct service_member {
    uint64_t id;
    char name[SERVICE_NAME_MAX];
    const char *role; /* "leader", "follower" (also while it stands for election), "learner" */
    bool voter, stays_learner;
    uint64_t replaces; /* the member whose place it takes when it has caught up; 0: nobody's */
    char client[ADDRESS_MAX], peer[ADDRESS_MAX]; /* client "": it was added and has not come yet */
    enum profile profile;
    uint64_t created_ns; /* when it was added, in nanoseconds since 1970 */
    bool tracked;        /* the fields below are known: the leader knows them of all, others of themselves */
    uint64_t match, lag;
    int64_t last_contact_ms; /* -1: never */
    bool active;
    enum {
        SERVICE_MAP_UNKNOWN,
        SERVICE_MAP_AGREES,
        SERVICE_MAP_DIFFERS
    } map;              /* with the leader's; of ourselves: trusted? */
    uint64_t map_index; /* where that was seen */
};
struct service_gone {
    uint64_t id;
    char peer[ADDRESS_MAX]; /* where it was */
    uint64_t removed_ns;    /* since 1970 */
};
struct service_cluster {
    uint64_t id, term, config_index, commit;
    uint64_t leader; /* id; 0: none known */
    unsigned count;
    struct service_member members[SERVICE_MEMBERS_MAX];
    unsigned gone_count; /* removed of late, the oldest first */
    struct service_gone gone[SERVICE_MEMBERS_MAX];
};
void service_cluster(struct node *n, struct service_cluster *out); /* at once */

struct service_member_change {
    /* 0: the server at `client`, or if that is "" the one at `peer`, is invited to join, and says itself who it is; a name
     * then must be its own. */
    uint64_t id;
    char name[SERVICE_NAME_MAX];
    char client[ADDRESS_MAX], peer[ADDRESS_MAX]; /* "": unchanged */
    enum profile profile;                        /* what it speaks at `client` */
    bool waits; /* it wants to be the member that was expected by its name, and is NOT_FOUND until it is expected */
    enum { SERVICE_ROLE_UNCHANGED, SERVICE_ROLE_VOTER, SERVICE_ROLE_LEARNER } role;
    char replaces[SERVICE_NAME_MAX]; /* of a new member: name or id of the one whose place it takes; "": nobody's */
    bool dry_run;                    /* only say, in outlook and text, what it would do */
    bool force;                      /* even if those who can be reached now are no quorum after it */
};
struct service_membership {
    uint64_t cluster, id, index; /* index: of the configuration entry */
    char name[SERVICE_NAME_MAX];
};
/* All changes are idempotent: what is so already, a member removed of late included, is OK. CONFLICT: also a change after
 * which the voters that answer now would be no quorum, unless it is forced. A leader that is to lose its own vote hands
 * leadership over and has its successor do it.
 * Adds a member (as learner; it gets its vote when it has caught up, unless role is LEARNER). Adding one that is there
 * already with the same id changes what differs. OK once committed. One that replaces another takes its place when it has
 * caught up: that is in the configuration, so a later leader does it too. */
void service_member_add(struct node *n, const struct service_member_change *c, unsigned deadline_ms,
                        struct service_membership *out, struct service_result *r);
/* Adds a member of that name which will be found at `peer` and may not be up yet: a learner with nobody behind it, until a
 * server of that name comes and joins. OK once committed; again, with the same address, too. */
void service_member_expect(struct node *n, const char *name, const char *peer, unsigned deadline_ms,
                           struct service_result *r);
/* Changes role or addresses of a member. */
void service_member_update(struct node *n, const char *name_or_id, const struct service_member_change *c,
                           unsigned deadline_ms, struct service_result *r);
/* Of `how` only dry_run and force count. */
void service_member_remove(struct node *n, const char *name_or_id, const struct service_member_change *how,
                           unsigned deadline_ms, struct service_result *r);
/* Hands leadership to that voter ("": to the best); OK when another one leads. */
void service_transfer(struct node *n, const char *name_or_id, unsigned deadline_ms, struct service_result *r);
/* The leader of cluster `cluster` at client address `leader` asks us to join it. OK (and then this server joins) if we are
 * pristine: no client data, no other member. CONFLICT else, and nothing is lost. */
struct service_invitation {
    uint64_t cluster;
    char leader[ADDRESS_MAX];
    bool learner;
    uint64_t replaces; /* the member whose place we shall take; 0: nobody's */
};
void service_invited(struct node *n, const struct service_invitation *i, struct service_membership *self,
                     struct service_result *r);

/* ---- this server ---- */

struct service_status {
    const char *forming;        /* the list that it was started to form a cluster of; NULL: none */
    const char *version, *role; /* role: "leader", "follower", "precandidate", "candidate", "learner", "joining" */
    uint64_t cluster, id, leader, term, commit, applied, durable, log_first, log_last;
    uint64_t keys, store_used, store_file, store_max, log_file;
    uint64_t uptime_ms;
    uint64_t requests_waiting;
    uint64_t scans, oldest_scan_ms; /* open listings, each of which keeps old pages of the map from being used again */
    uint64_t map_hash, map_index; /* of all that members must agree in, after that entry; index 0: not known */
    bool map_doubted;             /* it is not to be trusted */
    uint64_t map_scrubbed, map_passes,
        map_damaged; /* records looked at for damage, whole passes, and damaged ones found */
    /* counted since the start */
    uint64_t elections, leader_changes, proposals, proposals_lost, reads, writes_to_disk, entries_written,
        batches_applied, messages_sent, messages_received, peers_refused;
};
void service_status(struct node *n, struct service_status *out); /* at once */
/* Whether clients should be sent here: has a leader and keeps up with it; else false and why. */
bool service_ready(struct node *n, char *why, unsigned size);

#endif
