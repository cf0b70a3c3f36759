/* spoil.h -- what a failing disk does to a map behind raftd's back. Uses LMDB alone; the map must be closed. */
#ifndef STORE_SPOIL_H
#define STORE_SPOIL_H

#include <stddef.h>
#include <stdint.h>

/* Inverts one bit of the record of `key` in the map at `path`: bit `bit` of what is stored behind the key, or of the last byte
 * where that is shorter. 0, or what LMDB says. */
int spoil_record(const char *path, const char *key, size_t bit);
/* Puts a whole other record in its place, as a fault of raftd's own would: its hash is right, and the map's hash is what it
 * would be if the members had agreed in it. */
int spoil_value(const char *path, const char *key, const void *value, size_t size);
/* Adds to what the map says that its records' hashes sum up to. */
int spoil_sum(const char *path, uint64_t by);
/* Brings the map to format 1, which had no hashes. */
int spoil_format(const char *path);
/* Inverts bits of a file at random, one in `one_in` of them, by the generator that `seed` begins; how many, or -1. */
long spoil_file(const char *path, uint64_t one_in, uint64_t seed);

#endif
