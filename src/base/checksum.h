/* checksum.h -- the one checksum of files and frames: XXH3, 64 bits (libxxhash).
 *
 * It finds accidents (torn writes, flipped bits), not forgeries. */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum(const void *data, size_t size, uint64_t seed);

/* In pieces, for streams; the result equals checksum() of all pieces with the same seed. */
struct checksum_stream;
struct checksum_stream *checksum_stream_new(uint64_t seed);           /* free with checksum_stream_free */
void checksum_stream_reset(struct checksum_stream *s, uint64_t seed); /* as new */
void checksum_stream_add(struct checksum_stream *s, const void *data, size_t size);
uint64_t checksum_stream_value(const struct checksum_stream *s);
void checksum_stream_free(struct checksum_stream *s);

#endif
