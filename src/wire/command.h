/* command.h -- what a client asks of the map, and what came of it: the payload of a RAFT_COMMAND entry.
 *
 * A command is decided when it is applied, never before: every member decides alike. */
#ifndef WIRE_COMMAND_H
#define WIRE_COMMAND_H

#include "base/bytes.h"
#include "raft/raft.h"
#include "wire/entry.h"

#define COMMAND_KEY_MAX 480 /* LMDB takes 511; the rest is ours */

enum command_op {
    COMMAND_SET = 1,
    COMMAND_DELETE = 2,
    /* The whole map is replaced by a sequence of these: begin, parts, end. Until the end nobody sees anything of it, and if it never
     * comes nothing was changed. `expected` of the others is the index of the begin that they belong to. */
    COMMAND_RESTORE_BEGIN = 3,  /* another one that was begun is abandoned */
    COMMAND_RESTORE_PART = 4,   /* `value`: command_part_append */
    COMMAND_RESTORE_END = 5,    /* `count` records are there, or it is abandoned */
    COMMAND_RESTORE_ABANDON = 6 /* whoever led it is gone */
};

/* If-Match and If-None-Match [RFC 9110 13.1], by the log index of the key's last change. */
enum command_condition {
    COMMAND_ALWAYS = 0,
    COMMAND_IF_EXISTS = 1,   /* If-Match: * */
    COMMAND_IF_INDEX = 2,    /* If-Match: "N" */
    COMMAND_IF_ABSENT = 3,   /* If-None-Match: * */
    COMMAND_IF_NOT_INDEX = 4 /* If-None-Match: "N" */
};

struct command {
    enum command_op op;
    enum command_condition condition;
    raft_index expected; /* of the two INDEX conditions */
    struct view key;     /* 1 .. COMMAND_KEY_MAX bytes; of a RESTORE none */
    struct view value;   /* of a SET, or a RESTORE_PART */
    uint64_t count;      /* of a RESTORE_PART: how many records came before it; of a RESTORE_END: how many there are */
};

enum command_outcome {
    COMMAND_CREATED = 1, /* SET: there was none */
    COMMAND_REPLACED,
    COMMAND_DELETED,
    COMMAND_ABSENT,           /* DELETE: there was none; nothing changed */
    COMMAND_FAILED_CONDITION, /* nothing changed */
    COMMAND_STAGED,           /* RESTORE_BEGIN, RESTORE_PART: taken */
    COMMAND_RESTORED,         /* RESTORE_END: the map is what was gathered */
    COMMAND_ABANDONED         /* what was gathered is gone; the map is as it was */
};

struct command_result {
    enum command_outcome outcome;
    /* Of the key's last change after this command; 0: the key is not there. STAGED: of the RESTORE_BEGIN. */
    raft_index index;
};

/* A sealed entry of type RAFT_COMMAND: one allocation, key and value copied once. */
struct entry *command_entry(const struct command *c);
/* Views into the payload. ERR_MALFORMED. */
int command_decode(struct view payload, struct command *out);

/* A record at the end of the value of a RESTORE_PART, and the first one taken off it: *rest moves on. ERR_MALFORMED. */
#define COMMAND_PART_OVERHEAD 6u                                /* bytes for each record besides key and value */
#define COMMAND_PART_MAX      (ENTRY_PAYLOAD_MAX - (64u << 10)) /* bytes of a value of a RESTORE_PART */
void command_part_append(struct bytes *out, struct view key, struct view value);
int command_part_take(struct view *rest, struct view *key, struct view *value);
bool command_is_restore(const struct command *c);

/* The rule of SET and DELETE itself, shared by the real store and the simulator's: whether `c` changes anything where the key's last
 * change was `current` (0: no such key), and its result if it is entry `index`. */
bool command_decide(const struct command *c, raft_index index, raft_index current, struct command_result *out);

#endif
