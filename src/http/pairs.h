/* pairs.h -- pairs as lines of JSON (application/x-ndjson): what a listing of values is, and the portable form of a backup.
 *
 *     {"raftd_backup":1,"cluster":N,"index":N,"term":N}      a backup begins so
 *     {"key":"K","etag":N,"value":"V"}                       or "value_base64" where the value is not UTF-8
 *     {"count":N,"xxh3":"16 hex digits"}                     and ends so: how many pairs, and XXH3 of all before this line
 *
 * Keys are percent-encoded, so that any byte survives; they ascend in the order of their bytes. Whoever makes such a file
 * with tools of his own may leave out "etag", "term", "cluster" and "xxh3"; nothing else. */
#ifndef HTTP_PAIRS_H
#define HTTP_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define PAIRS_FORMAT 1

void pairs_append(struct bytes *out, struct view key, struct view value, uint64_t etag);
void pairs_append_header(struct bytes *out, uint64_t cluster, uint64_t index, uint64_t term);
void pairs_append_trailer(struct bytes *out, uint64_t count, uint64_t checksum);

/* ---- reading a backup: feed it bytes, and take what they are ---- */

enum pairs_step { PAIRS_WANTS_MORE, PAIRS_HEADER, PAIRS_PAIR, PAIRS_END };
struct pairs_item {
    uint64_t cluster, index, term; /* of PAIRS_HEADER; 0: not said */
    struct view key, value;        /* of PAIRS_PAIR, valid until the next call of anything */
    uint64_t etag;                 /* 0: not said */
};
struct pairs_reader;
struct pairs_reader *pairs_reader_new(void);
void pairs_reader_free(struct pairs_reader *r); /* NULL is fine */
void pairs_reader_feed(struct pairs_reader *r, struct view bytes);
/* What comes next. ERR_MALFORMED (which sticks): pairs_reader_fault says what is wrong, with the number of the line. */
int pairs_reader_next(struct pairs_reader *r, enum pairs_step *step, struct pairs_item *item);
const char *pairs_reader_fault(const struct pairs_reader *r);

#endif
