/* message.h -- struct raft_message <-> bytes. */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include "base/bytes.h"
#include "raft/raft.h"
#include "wire/entry.h"

/* Appends the fixed part; the bytes of an append's entries follow it in the frame as they are (entry.h), count of them. */
void message_encode(const struct raft_message *m, struct bytes *out);

/* A decoded message with all that it carries. One per receiver, used again for each frame. */
struct incoming {
    struct raft_message message; /* append.heads points to `heads` */
    unsigned count;
    struct raft_head heads[RAFT_APPEND_MAX];
    struct entry *entries[RAFT_APPEND_MAX];       /* one reference each, owned by this struct */
    struct raft_config *configs[RAFT_APPEND_MAX]; /* of configuration entries, else NULL; owned */
};

struct incoming *incoming_new(void);
void incoming_clear(struct incoming *in); /* drops the entries, keeps the memory */
void incoming_free(struct incoming *in);

/* Fills *in from a frame's payload. ERR_MALFORMED or ERR_CORRUPT leaves it cleared: unknown type, short, left over,
 * more than RAFT_APPEND_MAX entries, entries whose index does not follow prev.index or whose term falls or exceeds the
 * message's, a configuration that does not decode, ids of 2^53 and above, a term or index of 2^62 and above. */
int message_decode(struct view payload, struct incoming *in);

#endif
