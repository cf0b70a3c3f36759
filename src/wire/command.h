/* command.h -- what a client asks of the map, and what came of it: the payload of a RAFT_COMMAND entry.
 *
 * A command is decided when it is applied, never before: every member decides alike. */
#ifndef WIRE_COMMAND_H
#define WIRE_COMMAND_H

#include "base/bytes.h"
#include "raft/raft.h"
#include "wire/entry.h"

#define COMMAND_KEY_MAX 480 /* LMDB takes 511; the rest is ours */

enum command_op { COMMAND_SET = 1, COMMAND_DELETE = 2 };

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
    struct view key;     /* 1 .. COMMAND_KEY_MAX bytes */
    struct view value;   /* of a SET */
};

enum command_outcome {
    COMMAND_CREATED = 1, /* SET: there was none */
    COMMAND_REPLACED,
    COMMAND_DELETED,
    COMMAND_ABSENT,          /* DELETE: there was none; nothing changed */
    COMMAND_FAILED_CONDITION /* nothing changed */
};

struct command_result {
    enum command_outcome outcome;
    raft_index index; /* of the key's last change after this command; 0: the key is not there */
};

/* A sealed entry of type RAFT_COMMAND: one allocation, key and value copied once. */
struct entry *command_entry(const struct command *c);
/* Views into the payload. ERR_MALFORMED. */
int command_decode(struct view payload, struct command *out);

/* The rule itself, shared by the real store and the simulator's: whether `c` changes anything where the key's last
 * change was `current` (0: no such key), and its result if it is entry `index`. */
bool command_decide(const struct command *c, raft_index index, raft_index current, struct command_result *out);

#endif
