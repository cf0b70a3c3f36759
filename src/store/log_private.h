/* log_private.h -- the tables of the log's environment, shared by log_table.c and verify.c. */
#ifndef STORE_LOG_PRIVATE_H
#define STORE_LOG_PRIVATE_H

#include "store/env.h"

enum { ENTRIES, RUNS, CONFIGS };
extern const struct env_options log_env_options; /* but for sizes */

#endif
