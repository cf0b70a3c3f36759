/* recover.h -- raftd recover: looks at the DATADIR of a server that is stopped, and makes its member the only one of a new
 * cluster, for when a majority is gone for good. */
#ifndef RECOVER_H
#define RECOVER_H

/* The command line after "raftd". The exit status: 0, 1 (one line on stderr says why), 64 for wrong usage. */
int recover_main(int argc, char **argv);

#endif
