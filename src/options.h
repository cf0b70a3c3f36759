/* options.h -- the one table of options: parser, environment and -help all come from it. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/profile.h"
#include "base/text.h"

#define OPTIONS_JOIN_MAX                                                                                               \
    (16 * (ADDRESS_MAX + 16)) /* bytes of -join, with the NUL: every member of the largest cluster */

struct options {
    enum profile profile;
    uint64_t port, peer_port;
    uint64_t admin_port; /* 0: none */
    const char *host;
    const char *bind;        /* NULL: loopback while host is one, else every address */
    const char *client_bind; /* where clients alone are listened to, "": every address; NULL: as bind */
    const char *join;        /* HOST:PORT[,...]; NULL: do not join */
    uint64_t join_timeout_ms;
    bool learner;
    const char *name; /* NULL: kept or made up */
    uint64_t heartbeat_ms, election_ms;
    uint64_t max_value_size, max_db_size;
    uint64_t log_max_entries, log_max_size;
    uint64_t threads;
    bool verbose, debug, trace;
    const char *log_format;
    bool version, help;
    const char *datadir;
    /* With -cluster `join` has all but our own. raftexample: in the order given, and `id` is our place; raftd: sorted, and
     * the first one founds it. */
    uint64_t id, cluster_size;
    const char *cluster; /* raftd: in our own spelling, sorted */
    bool joins;
    /* shaj13 */
    const char *raft_address, *api_address;
    char strangers[400]; /* environment variables that begin like ours but are no option's, with commas; "": none */
    /* room for what the texts above point to */
    char targets[OPTIONS_JOIN_MAX], list[OPTIONS_JOIN_MAX], own_host[256], own_client_bind[256], own_name[24],
        own_datadir[48];
};

/* Chooses the profile and reads by its table: defaults, then the environment (RAFTD_PEER_PORT=... for -peer-port), then the command line: `-x v`, `-x=v`, `--x v` and
 * `--x=v`. Texts point into argv, the
 * environment and *out itself, which must stay where it is. ERR_INVALID: *why is the line to print before exit status 64. */
int options_parse(int argc, char **argv, struct options *out, struct why *why);
void options_help(const struct options *o); /* to stdout, for o->profile */
enum log_level options_log_level(const struct options *o);
enum log_format options_log_format(const struct options *o);

#endif
