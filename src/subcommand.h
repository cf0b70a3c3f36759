/* subcommand.h -- the command line of raftd recover, restore and verify: flags, options with an argument, and names of files. */
#ifndef SUBCOMMAND_H
#define SUBCOMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define SUBCOMMAND_USAGE         64 /* exit status of a wrong command line */
#define SUBCOMMAND_ARGUMENTS_MAX 2

struct suboption {
    const char *name;
    const char *argument; /* NULL: a flag */
    const char *text;
    bool *flag;            /* of a flag */
    const char **text_out; /* of the others */
};

struct subcommand {
    const char *name;  /* "recover" */
    const char *usage; /* "[options] DATADIR" */
    const char *about; /* one or two sentences */
    const struct suboption *options;
    size_t option_count;
    const char *wanted[SUBCOMMAND_ARGUMENTS_MAX + 1]; /* the names of the arguments, then NULL */
};

enum subcommand_ending { SUBCOMMAND_GO_ON, SUBCOMMAND_HELPED, SUBCOMMAND_WRONG };

/* Sets what the options say and fills `arguments`, one for each of `wanted`. HELPED: -help was asked for and is printed; WRONG:
 * one line on standard error says what. argv[0] is the subcommand's name. */
enum subcommand_ending subcommand_parse(const struct subcommand *c, int argc, char **argv, const char **arguments);

#endif
