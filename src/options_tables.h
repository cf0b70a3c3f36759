/* options_tables.h -- private to the options: one table for each profile, and what completes the options read by it. */
#ifndef OPTIONS_TABLES_H
#define OPTIONS_TABLES_H

#include <stddef.h>

#include "options.h"

enum option_kind { KIND_TEXT, KIND_NUMBER, KIND_SIZE, KIND_FLAG };

struct option {
    const char *name, *alias; /* alias NULL: none */
    enum option_kind kind;
    size_t offset; /* in struct options */
    uint64_t min, max, otherwise;
    const char *argument, *text;
    const char *variable; /* of the environment; NULL: RAFTD_NAME */
};

struct option_table {
    const struct option *options;
    size_t count;
    const char *about;                                     /* what -help begins with */
    bool takes_datadir;                                    /* as the one argument that is no option */
    int (*complete)(struct options *out, struct why *why); /* checks, and fills in what follows from the rest */
};

const struct option_table *option_table_of(enum profile p);

#endif
