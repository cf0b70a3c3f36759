/* verify.h -- raftd verify: looks at whatever has a checksum or an order in a DATADIR that no server uses, or in a backup, and
 * says what is wrong. It changes nothing. */
#ifndef VERIFY_H
#define VERIFY_H

/* The command line after "raftd". The exit status: 0 sound, 1 not (one line on standard output for each fault) or it could not
 * be looked at (one line on stderr says why), 64 for wrong usage. */
int verify_main(int argc, char **argv);

#endif
