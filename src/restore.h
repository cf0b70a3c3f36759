/* restore.h -- raftd restore: makes a new cluster of one of a backup.
 *
 * That no member of the cluster which was backed up can be mistaken for one of the new cluster, nor the other way round:
 *  - The cluster has a new id, 53 bits of chance. Members greet with it, and what greets with another one is refused (net/link).
 *  - The member has a new id that nobody ever had: a vote or an acknowledgement from it counts for no other.
 *  - Term and index go on above those of the backup: at (I, T) was its last entry, and the new log begins behind (I + 1, T + 1),
 *    the configuration of this member alone, which is in the map as if it had been installed. So Raftd-Index and the ETags that
 *    clients remember from before never mean something else; those of the values are kept.
 * The identity is written last: what a crash leaves before does not start (datadir_create). */
#ifndef RESTORE_H
#define RESTORE_H

/* The command line after "raftd". The exit status: 0, 1 (one line on stderr says why), 64 for wrong usage. */
int restore_main(int argc, char **argv);

#endif
