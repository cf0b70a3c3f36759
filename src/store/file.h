/* file.h -- what store/ does with files and directories beside LMDB's.
 *
 * No state; any thread. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <limits.h>
#include <stdint.h>

int dir_of(const char *path, char parent[PATH_MAX]); /* where it lies, "." without a slash; ERR_TOO_LONG */
int dir_sync(const char *path);                      /* makes its names durable */
int dir_sync_parent(const char *path);               /* of a file or directory */

/* Has the disk write what was written to the file from `offset` on (size 0: all of that), and waits for it. Nothing is durable
 * by that: it neither flushes the disk nor commits the file system's journal, and so holds up nobody else's sync; the sync
 * that makes it durable has then little to do. 0, ERR_NO_SPACE, ERR_IO. */
int file_write_out(int fd, uint64_t offset, uint64_t size);

#endif
