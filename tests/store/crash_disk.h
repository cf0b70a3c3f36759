/* crash_disk.h -- what a power cut may leave of a directory and all below it, for programs that link this: their calls to
 * open, pwrite, writev, write, fsync, fdatasync, rename, unlink, mkdir and rmdir are done, and recorded.
 *
 * A crash state is what was flushed, and of what was not: of each file an arbitrary choice of 512-byte sectors, each as of any
 * of its unflushed writes; of each directory its changes up to an arbitrary one, for file systems keep their order. A rename
 * happened or not. LMDB never writes past its file's end without filling it, and a file system may record the new length
 * before the new bytes: so a length is that of everything, and what is missing is 0.
 *
 * One recording at a time, by one thread. lock.mdb is left out: LMDB makes it anew. */
#ifndef STORE_CRASH_DISK_H
#define STORE_CRASH_DISK_H

#include <stdbool.h>

/* Where there is a file system in memory, directories of temp_make are there from now on: thousands of states are written,
 * and none needs to outlast a real power cut. */
void crash_disk_in_memory(void);

/* From now on, `look` is called wherever the power could be cut: between any two steps towards the disk. In it nothing is
 * recorded. What is in `root` now is safe. */
void crash_disk_record(const char *root, void (*look)(void));
void crash_disk_stop(void);
/* A disk that says that it has flushed a file, and has not until much is waiting. */
void crash_disk_lies(bool lies);
/* Makes a state of `root` as it could be found now, at `path`; what was there is replaced. */
void crash_disk_make(const char *path);

#endif
