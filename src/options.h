/* options.h -- the one table of options: parser, environment and -help all come from it. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/profile.h"
#include "base/text.h"

#define OPTIONS_JOIN_MAX (4 * ADDRESS_MAX) /* bytes of -join, with the NUL */

struct options {
    enum profile profile;
    uint64_t port, peer_port; /* peer_port 0: port + 10000 */
    const char *host;
    const char *bind; /* NULL: loopback while host is one, else every address */
    const char *join; /* NULL: do not join */
    uint64_t join_timeout_ms;
    bool learner;
    const char *name; /* NULL: kept or made up */
    uint64_t heartbeat_ms, election_ms;
    uint64_t max_value_size, max_db_size;
    uint64_t threads;
    bool verbose, debug, trace;
    const char *log_format;
    bool version, help;
    const char *datadir;
};

/* Defaults, then the environment (RAFTD_PEER_PORT=... for -peer-port), then the command line: `-x v`, `-x=v`, `--x v` and
 * `--x=v`. Texts point into argv and the environment. ERR_INVALID: *why is the line to print before exit status 64. */
int options_parse(int argc, char **argv, struct options *out, struct why *why);
void options_help(void); /* to stdout */
enum log_level options_log_level(const struct options *o);
enum log_format options_log_format(const struct options *o);

#endif
