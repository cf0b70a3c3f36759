/* directory.h -- who is a member, by what name and address: the two configurations that the core keeps, with all their
 * attributes [thesis 4.1]. Guarded by the lock.
 *
 * `latest` is in force; `previous` is the one before it, for when the latest is truncated away. The slots of
 * shared.peers follow `latest`. */
#ifndef SERVER_DIRECTORY_H
#define SERVER_DIRECTORY_H

#include "raft/raft.h"
#include "wire/members.h"

struct directory {
    struct members latest, previous;
    raft_index latest_index, previous_index; /* 0: no configuration yet */
};

void directory_init(struct directory *d, const struct members *m, raft_index index);
void directory_append(struct directory *d, const struct members *m, raft_index index);
void directory_truncate(struct directory *d, raft_index from);              /* entries from `from` on are gone */
const struct member *directory_find(const struct directory *d, raft_id id); /* NULL: not in latest */
const struct member *directory_find_name(const struct directory *d,
                                         const char *name_or_id); /* a name, or an id in decimal */

#endif
