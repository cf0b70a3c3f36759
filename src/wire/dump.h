/* dump.h -- the whole map as a stream of bytes: what a member that fell behind is sent, and what a backup is.
 *
 *     header    u64 magic "RFDDUMP1", u32 format, u32 size of the rest of it; u64 cluster, u64 index and u64 term of the last
 *               entry applied, u64 index of the configuration entry, u64 index of the begin of a restore that has not ended (0:
 *               there is none), and that configuration (u32 size, members.h)
 *     records   u16 key size (not 0), u32 value size, u64 index of the key's last change, key, value; keys in memcmp order
 *     gathered  only where a restore has not ended: u16 0, u32 0, u64 count of records so far; then what the restore has
 *               gathered (command.h), as records again, in an order of its own
 *     trailer   u16 0, u32 0, u64 count of records (of those gathered, if there is a restore), u64 hash of the map's content
 *               (content.h), u64 XXH3 of all before it
 *
 * Little-endian. The same map gives the same bytes on every member, so a transfer that one leader began another can end.
 * No I/O in here. */
#ifndef WIRE_DUMP_H
#define WIRE_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "raft/raft.h"
#include "wire/members.h"

#define DUMP_FORMAT      2
#define DUMP_LEAST_BYTES (16 + 40 + 4 + 1 + 30) /* no dump is shorter */
#define DUMP_MOST_BYTES  (UINT64_C(1) << 62)

struct dump_header {
    uint64_t cluster;
    struct raft_pos position;
    raft_index config_index; /* 0: none yet, and no members */
    raft_index restoring;    /* the begin of a restore that has not ended; 0: there is none */
    struct members members;
};

struct dump_record {
    struct view key, value;
    raft_index index;
    bool gathered; /* not of the map, but of the restore that has not ended */
};

/* ---- making one: header, records, (turn, gathered records,) end, each appended to `out`, which the caller empties in between ---- */
struct dump_encoder;
struct dump_encoder *dump_encoder_new(void);
void dump_encoder_free(struct dump_encoder *e); /* NULL is fine */
void dump_encode_header(struct dump_encoder *e, const struct dump_header *h, struct bytes *out);
void dump_encode_record(struct dump_encoder *e, const struct dump_record *r, struct bytes *out);
void dump_encode_turn(struct dump_encoder *e, struct bytes *out); /* where header.restoring is not 0 */
/* Returns the checksum, too. */
uint64_t dump_encode_end(struct dump_encoder *e, struct bytes *out);

/* ---- reading one: feed it bytes, and take what they are ---- */
enum dump_step { DUMP_WANTS_MORE, DUMP_HEADER, DUMP_RECORD, DUMP_END };
struct dump_decoder;
struct dump_decoder *dump_decoder_new(void);
void dump_decoder_free(struct dump_decoder *d); /* NULL is fine */
void dump_decoder_reset(struct dump_decoder *d);
void dump_decoder_feed(struct dump_decoder *d, struct view bytes);
/* What comes next. ERR_CORRUPT: an order, a limit or the checksum is wrong, or there are bytes behind the end; ERR_FORMAT: no
 * dump, or one of a newer format. Errors stick. *record (for DUMP_RECORD) is valid until the next call of anything. */
int dump_decoder_next(struct dump_decoder *d, enum dump_step *step, struct dump_record *record);
const struct dump_header *dump_decoder_header(const struct dump_decoder *d); /* once DUMP_HEADER was said */
/* Bytes taken so far; after an error: where the fault was seen, and what it is, without full stop. */
uint64_t dump_decoder_offset(const struct dump_decoder *d);
const char *dump_decoder_fault(const struct dump_decoder *d);

#endif
