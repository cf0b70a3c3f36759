/* members.h -- a configuration with all that people want to know of members: the payload of a RAFT_CONFIG entry.
 *
 * The core sees only ids and roles (struct raft_config); names and addresses are attributes of a member that a
 * configuration entry carries along. */
#ifndef WIRE_MEMBERS_H
#define WIRE_MEMBERS_H

#include "base/bytes.h"
#include "base/profile.h"
#include "base/text.h"
#include "raft/raft.h"
#include "wire/entry.h"

#define MEMBER_NAME_MAX  64 /* with the NUL; letters, digits, "-", "_" and "." */
#define MEMBERS_GONE_MAX 16
#define MEMBERS_SIZE_MAX 16384               /* of an encoded list */
#define MEMBER_ID_LIMIT  (UINT64_C(1) << 53) /* ids travel through JSON, whose numbers are doubles */

struct member {
    raft_id id;
    enum raft_member_role role;
    bool stays_learner; /* joined with -learner: not promoted by itself */
    raft_id replaces;   /* that member goes once this one has caught up and has its vote; 0: nobody, or it is gone */
    char name[MEMBER_NAME_MAX];
    char client[ADDRESS_MAX]; /* HOST:PORT for clients; "": was added but has not come yet */
    char peer[ADDRESS_MAX];   /* HOST:PORT for members */
    enum profile profile;     /* what it speaks at `client` */
    uint64_t created_ns;      /* when it was added, in nanoseconds since 1970 by the clock of the one who added it */
};

/* One that was removed. The last few are remembered, so that a removal asked for twice succeeds twice. */
struct member_gone {
    raft_id id;
    char name[MEMBER_NAME_MAX];
    char peer[ADDRESS_MAX]; /* where it was; "": not known, it was removed by an older version */
    uint64_t removed_ns;    /* when it was removed, as created_ns */
};

struct members {
    unsigned count, gone_count;
    struct member list[RAFT_MEMBERS_MAX];
    struct member_gone gone[MEMBERS_GONE_MAX]; /* the oldest first; none of them is in the list */
};

/* A name for who was given none, made of chance: seven hexadecimal digits, the first a letter. All digits would be an id, and a
 * number in JSON's log. */
void member_name_make_up(uint64_t chance, char out[MEMBER_NAME_MAX]);
/* "" and a text over the limit, or one with other characters, are not names. */
bool member_name_valid(const char *name);

/* Appends the encoding (codec.h walk) to out. */
void members_encode(const struct members *m, struct bytes *out);
/* ERR_MALFORMED: also duplicate ids or names, id 0 or not below 2^53, invalid names or addresses. */
int members_decode(struct view in, struct members *out);
/* A sealed entry of type RAFT_CONFIG. */
struct entry *members_entry(const struct members *m);
void members_config(const struct members *m, struct raft_config *out);

/* Takes the member with that id, which is there, out of the list; from then on it is among the gone. `now_ns`: since 1970. */
void members_remove(struct members *m, raft_id id, uint64_t now_ns);
/* The member removed of late that has this name or this id, if any; a name that a new member has belongs to that one. */
const struct member_gone *members_gone(const struct members *m, const char *name, raft_id id); /* NULL: not there */

struct member *members_by_id(struct members *m, raft_id id);         /* NULL: not there */
struct member *members_by_name(struct members *m, const char *name); /* NULL: not there */

#endif
