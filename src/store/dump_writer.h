/* dump_writer.h -- makes a dump (wire/dump.h) in a file: header, records in the order of their keys, end.
 *
 * A struct dump_writer belongs to one thread at a time. */
#ifndef STORE_DUMP_WRITER_H
#define STORE_DUMP_WRITER_H

#include <stdatomic.h>

#include "store/dump_file.h"
#include "wire/dump.h"

struct dump_writer;

/* Rests twice as long as a piece of work took that began at `began` (clock_now_ms), within bounds: disk and processor are
 * others' for most of the time. */
void dump_rest_since(uint64_t began);

/* Into `file`, which is empty and open for writing and stays the caller's. It rests after each piece that it writes, and ends
 * with ERR_STOPPED when *cancel becomes true. NULL: nobody else needs the disk, and nobody waits for the end. */
struct dump_writer *dump_writer_new(struct dump_file *file, const atomic_bool *cancel);
void dump_writer_free(struct dump_writer *w); /* NULL is fine; the file may then be half a dump */
void dump_writer_header(struct dump_writer *w, const struct dump_header *h);
void dump_writer_turn(struct dump_writer *w);                               /* dump_encode_turn */
int dump_writer_record(struct dump_writer *w, const struct dump_record *r); /* ERR_NO_SPACE, ERR_IO, ERR_STOPPED */
int dump_writer_end(struct dump_writer *w, struct dump_id *out);            /* nothing is synced */

#endif
