/* frame.h -- what travels between members: frames, and the greeting that opens each connection.
 *
 * A connection is one-way but for the answer to its greeting: who connects sends HELLO, the other side answers WELCOME
 * or REFUSED (and closes), then messages flow from the one who connected. REFUSED may also come later, when what was
 * true at the greeting no longer is (the sender was removed): a sender looks for it before each send.
 *
 * Frame (little-endian):
 *      0  u32  magic, "RFD1"
 *      4  u16  type (enum frame_type)
 *      6  u16  0
 *      8  u32  payload size, at most FRAME_PAYLOAD_MAX
 *     12  u32  0
 *     16  u64  checksum of bytes 0..15, seeded with the checksum of the payload
 *     24  payload */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "base/bytes.h"
#include "base/text.h"
#include "raft/raft.h"
#include "wire/members.h"

#define FRAME_HEADER_SIZE       24
#define FRAME_PAYLOAD_MAX       (66u << 20) /* the largest entry, and the fixed part of its message */
#define FRAME_GREETING_MAX      4096        /* before the greeting is accepted nobody may make us allocate more */
#define PROTOCOL_VERSION_MIN    1
#define PROTOCOL_VERSION_MAX    2
#define PROTOCOL_VERSION_HASHES 2 /* the first that knows FRAME_HASH and FRAME_VERDICT */

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_WELCOME = 2,
    FRAME_REFUSED = 3,
    FRAME_MESSAGE = 4,
    FRAME_CHUNK = 5,       /* of a dump (transfer.h) */
    FRAME_CHUNK_TAKEN = 6, /* and the answer */
    FRAME_HASH = 7,        /* of the sender's map (integrity.h); from version 2 on */
    FRAME_VERDICT = 8      /* that it differs */
};

struct frame_header {
    enum frame_type type;
    uint32_t size;
    uint64_t checksum;
};

void frame_header_encode(enum frame_type type, uint32_t payload_size, uint64_t payload_checksum,
                         uint8_t out[FRAME_HEADER_SIZE]);
bool frame_has_magic(const uint8_t in[4]); /* whether a frame may begin like this */
/* ERR_MALFORMED: magic, type, size over `limit`, non-zero spare bytes. The checksum can be verified only with the payload. */
int frame_header_decode(const uint8_t in[FRAME_HEADER_SIZE], uint32_t limit, struct frame_header *out);
/* 0 or ERR_CORRUPT. */
int frame_verify(const uint8_t header[FRAME_HEADER_SIZE], struct view payload);

struct hello {
    uint16_t version_min, version_max;
    uint64_t cluster;        /* 0: none yet */
    raft_id from, to;        /* to: whom the sender believes to reach */
    raft_index config_index; /* the sender's committed configuration */
    char name[MEMBER_NAME_MAX];
    char client[ADDRESS_MAX]; /* the sender's own addresses, as of its start */
    char peer[ADDRESS_MAX];
    enum profile profile; /* what it speaks to clients */
};
void hello_encode(const struct hello *h, struct bytes *out);
int hello_decode(struct view in, struct hello *out); /* ERR_MALFORMED */

struct welcome {
    uint16_t version; /* the highest that both know */
    raft_id id;
    raft_id leader;                /* whom this side follows: the other may have to find it; 0: it knows none */
    char leader_peer[ADDRESS_MAX]; /* its address for members; "" without one */
};
void welcome_encode(const struct welcome *w, struct bytes *out);
int welcome_decode(struct view in, struct welcome *out);

enum refusal_reason {
    REFUSAL_VERSION = 1,  /* no common version */
    REFUSAL_CLUSTER,      /* another cluster's */
    REFUSAL_NOT_A_MEMBER, /* not in the configuration of config_index: if the sender knows itself a member by an older
                             configuration than that, it was removed */
    REFUSAL_WRONG_ID,     /* somebody else lives at this address */
    REFUSAL_NOT_READY,    /* joining or stopping: try again */
    REFUSAL_TWIN          /* another process, at another address, speaks as the sender at this very moment */
};
struct refusal {
    enum refusal_reason reason;
    raft_index config_index;
    char text[200]; /* for the log of the refused */
};
void refusal_encode(const struct refusal *r, struct bytes *out);
int refusal_decode(struct view in, struct refusal *out);

#endif
