/* dump_reader.h -- the records of a dump (wire/dump.h) that lies in a file, one after the other, in constant memory.
 *
 * A struct dump_reader belongs to one thread at a time. */
#ifndef STORE_DUMP_READER_H
#define STORE_DUMP_READER_H

#include "store/dump_file.h"
#include "wire/dump.h"

struct dump_reader;

/* From the beginning of `f`, which is open, and stays the caller's. */
struct dump_reader *dump_reader_new(struct dump_file *f);
void dump_reader_free(struct dump_reader *r); /* NULL is fine */
/* What comes next: DUMP_HEADER once, DUMP_RECORD for each record, DUMP_END once all was there and the checksum right.
 * ERR_CORRUPT, ERR_FORMAT: what is wrong, dump_reader_fault says; ERR_IO. *record is valid until the next call. */
int dump_reader_next(struct dump_reader *r, enum dump_step *step, struct dump_record *record);
const struct dump_header *dump_reader_header(const struct dump_reader *r); /* once DUMP_HEADER was said */
void dump_reader_rewind(struct dump_reader *r);                            /* to the beginning */

/* After an error: what is wrong, without full stop, and at which byte of the file that was seen. */
const char *dump_reader_fault(const struct dump_reader *r);
uint64_t dump_reader_offset(const struct dump_reader *r);

#endif
