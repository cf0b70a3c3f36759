/* entry.h -- a log entry: one immutable, reference-counted piece of memory, encoded once.
 *
 * The same bytes go to the disk, to every peer and to the applier; nobody copies or re-encodes them. An entry is made
 * before the lock is taken (entry_new: allocation, payload, payload checksum) and gets its position under it
 * (entry_stamp: a few stores and a hash of 24 bytes). After that only its reference count changes, atomically.
 *
 * Format (little-endian), the same on disk and on the wire:
 *      0  u64  checksum of bytes 8..31, seeded with the checksum of the payload
 *      8  u64  index
 *     16  u64  term
 *     24  u32  payload size
 *     28  u8   type (enum raft_entry_type)
 *     29  u8   0, 0, 0
 *     32  payload: of a command wire/command.h, of a configuration wire/members.h, of a no-op nothing */
#ifndef WIRE_ENTRY_H
#define WIRE_ENTRY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/bytes.h"
#include "raft/raft.h"

#define ENTRY_HEADER_SIZE 32
#define ENTRY_PAYLOAD_MAX (64u << 20)
/* Whatever comes from outside, indexes and terms stay below: whoever adds to them need not look for overflow. */
#define ENTRY_POSITION_LIMIT (UINT64_C(1) << 62)

struct entry {
    atomic_uint refs;
    uint32_t size;             /* of bytes: header and payload */
    uint64_t payload_checksum; /* only until entry_stamp */
    uint8_t bytes[];
};

/* An entry with one reference and no position yet, and room for `payload_size` bytes at entry_payload(): the caller
 * fills them, then calls entry_seal. Never NULL. */
struct entry *entry_new(enum raft_entry_type type, uint32_t payload_size);
uint8_t *entry_room(struct entry *e); /* where the payload goes, before entry_seal */
void entry_seal(struct entry *e);     /* computes the payload's checksum */
void entry_stamp(struct entry *e, struct raft_pos pos);

struct entry *entry_ref(struct entry *e); /* returns e */
void entry_unref(struct entry *e);        /* NULL is fine; the last one frees */

struct raft_pos entry_pos(const struct entry *e);
enum raft_entry_type entry_type(const struct entry *e);
struct view entry_payload(const struct entry *e);

/* Takes the entry at the front of *in (and moves *in past it): its own copy with one reference, checksum, type and size
 * verified. ERR_MALFORMED: short or no entry; ERR_CORRUPT: the checksum is wrong. */
int entry_decode(struct view *in, struct entry **out);

#endif
