#include "options_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/members.h"

#define AT(field)        offsetof(struct options, field)
#define MIB              ((uint64_t)1 << 20)
#define GIB              ((uint64_t)1 << 30)
#define JOIN_TIMEOUT_MS  30000
#define LOG_MAX_ENTRIES  200000
#define SNAPSHOT_ENTRIES 10000 /* raftexample's: so many between two snapshots, and so many kept behind one */
#define FOR_EVER         ((uint64_t)1 << 50) /* milliseconds */
#define ROWS(rows)       rows, sizeof rows / sizeof rows[0]

/* ---- the tables ---- */

#define ADMIN_OPTION                                                                                                   \
    {                                                                                                                  \
        "admin", NULL, KIND_NUMBER, AT(admin_port), 1, 65535, 0, "PORT",                                               \
            "port for /cluster, /backup, /status, /metrics, /livez and /readyz alone", NULL                            \
    }
/* `entries`: what -log-max-entries is unless it is given. */
#define COMMON_OPTIONS(entries)                                                                                          \
    {"heartbeat", NULL, KIND_NUMBER, AT(heartbeat_ms), 5, 10000, 50, "MS", "how often a leader is heard", NULL},         \
        {"election-timeout",                                                                                             \
         NULL,                                                                                                           \
         KIND_NUMBER,                                                                                                    \
         AT(election_ms),                                                                                                \
         20,                                                                                                             \
         60000,                                                                                                          \
         300,                                                                                                            \
         "MS",                                                                                                           \
         "stand for election after one to two times this without a leader",                                              \
         NULL},                                                                                                          \
        {"max-value-size",                                                                                               \
         NULL,                                                                                                           \
         KIND_SIZE,                                                                                                      \
         AT(max_value_size),                                                                                             \
         1,                                                                                                              \
         32 * MIB,                                                                                                       \
         MIB,                                                                                                            \
         "BYTES",                                                                                                        \
         "largest value that a client may write",                                                                        \
         NULL},                                                                                                          \
        {"max-db-size",                                                                                                  \
         NULL,                                                                                                           \
         KIND_SIZE,                                                                                                      \
         AT(max_db_size),                                                                                                \
         16 * MIB,                                                                                                       \
         16384 * GIB,                                                                                                    \
         64 * GIB,                                                                                                       \
         "BYTES",                                                                                                        \
         "largest size of the map on disk",                                                                              \
         NULL},                                                                                                          \
        {"log-max-entries",                                                                                              \
         NULL,                                                                                                           \
         KIND_NUMBER,                                                                                                    \
         AT(log_max_entries),                                                                                            \
         100,                                                                                                            \
         1000000000,                                                                                                     \
         entries,                                                                                                        \
         "N",                                                                                                            \
         "entries that the log may hold before its first half goes",                                                     \
         NULL},                                                                                                          \
        {"log-max-size",                                                                                                 \
         NULL,                                                                                                           \
         KIND_SIZE,                                                                                                      \
         AT(log_max_size),                                                                                               \
         MIB,                                                                                                            \
         1024 * GIB,                                                                                                     \
         128 * MIB,                                                                                                      \
         "BYTES",                                                                                                        \
         "size that the log may have before its first half goes",                                                        \
         NULL},                                                                                                          \
        {"threads", NULL, KIND_NUMBER, AT(threads), 2, 4096, 320, "N", "connections of clients that are served at once", \
         NULL},                                                                                                          \
        {"v", NULL, KIND_FLAG, AT(verbose), 0, 0, 0, NULL, "log more (as -debug, without the core's details)", NULL},    \
        {"debug", NULL, KIND_FLAG, AT(debug), 0, 0, 0, NULL, "log what the protocol does", NULL},                        \
        {"trace", NULL, KIND_FLAG, AT(trace), 0, 0, 0, NULL, "log everything", NULL},                                    \
        {"log-format",                                                                                                   \
         NULL,                                                                                                           \
         KIND_TEXT,                                                                                                      \
         AT(log_format),                                                                                                 \
         0,                                                                                                              \
         0,                                                                                                              \
         0,                                                                                                              \
         "text|json",                                                                                                    \
         "how log lines are written to stderr (text)",                                                                   \
         NULL},                                                                                                          \
        {"version", NULL, KIND_FLAG, AT(version), 0, 0, 0, NULL, "print the version and exit", NULL},                    \
    {                                                                                                                    \
        "help", NULL, KIND_FLAG, AT(help), 0, 0, 0, NULL, "print this and exit", NULL                                    \
    }

static const struct option raftd_options[] = {
    {"port", "p", KIND_NUMBER, AT(port), 1, 65535, 4001, "PORT", "port for clients", NULL},
    {"host", "h", KIND_TEXT, AT(host), 0, 0, 0, "HOST",
     "name or address that others use to reach this server (localhost)", NULL},
    {"bind", NULL, KIND_TEXT, AT(bind), 0, 0, 0, "ADDR",
     "address to listen on; by default loopback while -host is a loopback name, else every address", NULL},
    {"peer-port", NULL, KIND_NUMBER, AT(peer_port), 1, 65535, 0, "PORT",
     "port for the other members (client port + 10000)", NULL},
    ADMIN_OPTION,
    {"join", NULL, KIND_TEXT, AT(join), 0, 0, 0, "HOST:PORT[,...]",
     "join the cluster of any of these members, by client or peer port", NULL},
    {"cluster", NULL, KIND_TEXT, AT(cluster), 0, 0, 0, "HOST:PORT[,...]",
     "form a cluster of exactly these members (their client ports), all started with the same list", NULL},
    {"join-timeout", NULL, KIND_NUMBER, AT(join_timeout_ms), 100, 86400000, JOIN_TIMEOUT_MS, "MS",
     "give up joining, or forming a cluster, after this long", NULL},
    {"learner", NULL, KIND_FLAG, AT(learner), 0, 0, 0, NULL, "join without a vote", NULL},
    {"name", NULL, KIND_TEXT, AT(name), 0, 0, 0, "NAME", "name of this member (made up and kept in DATADIR)", NULL},
    COMMON_OPTIONS(LOG_MAX_ENTRIES),
};

static const struct option raftexample_options[] = {
    {"id", NULL, KIND_NUMBER, AT(id), 1, RAFT_MEMBERS_MAX, 1, "N", "which of the URLs in --cluster is this member's",
     NULL},
    {"cluster", NULL, KIND_TEXT, AT(cluster), 0, 0, 0, "URL[,...]",
     "where the members reach each other (http://127.0.0.1:9021)", NULL},
    {"port", NULL, KIND_NUMBER, AT(port), 1, 65535, 9121, "PORT", "port for clients, on every address", NULL},
    {"join", NULL, KIND_FLAG, AT(joins), 0, 0, 0, NULL,
     "join the cluster that the other URLs belong to, as soon as it has added this id", NULL},
    ADMIN_OPTION,
    COMMON_OPTIONS(2 * SNAPSHOT_ENTRIES),
};

static const struct option shaj13_options[] = {
    {"raft", NULL, KIND_TEXT, AT(raft_address), 0, 0, 0, "ADDR", "where the other members reach this one (:8080)",
     NULL},
    {"api", NULL, KIND_TEXT, AT(api_address), 0, 0, 0, "ADDR", "where clients reach it (:9090)", NULL},
    {"state_dir", NULL, KIND_TEXT, AT(datadir), 0, 0, 0, "DIR", "directory of its data (raft-state)", NULL},
    {"join", NULL, KIND_TEXT, AT(join), 0, 0, 0, "ADDR[,...]", "join the cluster of any of these members, by -raft",
     NULL},
    {"join-timeout", NULL, KIND_NUMBER, AT(join_timeout_ms), 100, 86400000, JOIN_TIMEOUT_MS, "MS",
     "give up joining after this long", NULL},
    ADMIN_OPTION,
    COMMON_OPTIONS(LOG_MAX_ENTRIES),
};

static const struct option balsa_options[] = {
    {"http-server-port", NULL, KIND_NUMBER, AT(port), 1, 65535, 8000, "PORT", "port for clients, on 127.0.0.1 alone",
     "HTTP_SERVER_PORT"},
    {"raft-server-port", NULL, KIND_NUMBER, AT(peer_port), 1, 65535, 0, "PORT", "port for the other members",
     "RAFT_SERVER_PORT"},
    {"raft-node-id", NULL, KIND_TEXT, AT(name), 0, 0, 0, "NAME", "name of this member", "RAFT_NODE_ID"},
    {"raft-volume-dir", NULL, KIND_TEXT, AT(datadir), 0, 0, 0, "DIR", "directory of its data", "RAFT_VOLUME_DIR"},
    ADMIN_OPTION,
    COMMON_OPTIONS(LOG_MAX_ENTRIES),
};

/* ---- what follows from them ---- */

/* What says, in each profile, where the others reach us. */
static const char *host_option(const struct options *o)
{
    static const char *const names[PROFILES] = {
        [PROFILE_RAFTD] = "-host",
        [PROFILE_RAFTEXAMPLE] = "the URL of this member in --cluster",
        [PROFILE_SHAJ13] = "-raft",
        [PROFILE_BALSA] = "-host", /* it is none's business: 127.0.0.1 */
    };

    return names[o->profile];
}

/* "localhost" is another machine to each: whoever is told it by us would look for us at home. */
static int check_host(const struct options *o, const char *host, const char *option, const struct address *target,
                      struct why *why)
{
    const char *ours = host_option(o);

    if (!address_is_loopback(host) || address_is_loopback(target->host))
        return 0;
    return why_set(
        why, ERR_INVALID,
        "%s is an address that only this machine can reach, but %s names %s: set %s to the name or address by "
        "which the others reach this server",
        host, option, target->host, ours);
}

/* Each of the targets, which `option` gave, is an address; they get our own spelling, in o->targets. `host` is ours. */
static int take_targets(struct options *o, const char *host, const char *option, const char *targets, struct why *why)
{
    struct address a, elsewhere = {.host = "localhost"};
    char one[ADDRESS_MAX];
    const char *at = targets;
    size_t used = 0;

    for (;;) {
        size_t length = strcspn(at, ",");

        if (snprintf(one, sizeof one, "%.*s", (int)length, at) >= (int)sizeof one || address_parse(one, &a) != 0)
            return why_set(why, ERR_INVALID, "%s wants HOST:PORT[,HOST:PORT...], not \"%s\"", option, targets);
        if (!address_is_loopback(a.host))
            elsewhere = a;
        address_format(&a, one, sizeof one);
        if (used + strlen(one) + 2 > sizeof o->targets)
            return why_set(why, ERR_INVALID, "%s names too many: at most %d bytes", option, OPTIONS_JOIN_MAX - 1);
        used += (size_t)snprintf(o->targets + used, sizeof o->targets - used, "%s%s", used > 0 ? "," : "", one);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    o->join = o->targets;
    return check_host(o, host, option, &elsewhere, why);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Adds one of the list to `out`. */
static void append(char *out, size_t size, const char *one)
{
    size_t used = strlen(out);

    snprintf(out + used, size - used, "%s%s", used > 0 ? "," : "", one);
}

/* The list of -cluster, sorted into o->list; the others, in o->targets, are those whom we join or wait for. */
static int take_list(struct options *o, struct why *why)
{
    char all[RAFT_MEMBERS_MAX][ADDRESS_MAX], ours[ADDRESS_MAX];
    struct address a = {.port = (uint16_t)o->port};
    const char *at = o->cluster;

    snprintf(a.host, sizeof a.host, "%s", o->host);
    address_format(&a, ours, sizeof ours);
    for (size_t length = 0;; at += length + 1) {
        char *one = all[o->cluster_size];

        length = strcspn(at, ",");
        if (o->cluster_size == RAFT_MEMBERS_MAX)
            return why_set(why, ERR_INVALID, "-cluster names more than %d members, the limit", RAFT_MEMBERS_MAX);
        if (snprintf(one, sizeof all[0], "%.*s", (int)length, at) >= (int)sizeof all[0] || address_parse(one, &a) != 0)
            return why_set(why, ERR_INVALID, "-cluster wants HOST:PORT[,HOST:PORT...], not \"%s\"", o->cluster);
        if (check_host(o, o->host, "-cluster", &a, why) != 0)
            return ERR_INVALID;
        address_format(&a, one, sizeof all[0]);
        o->cluster_size++;
        if (at[length] == '\0')
            break;
    }
    qsort(all, o->cluster_size, sizeof all[0], by_text);
    o->id = 0;
    for (unsigned i = 0; i < o->cluster_size; i++) {
        if (i > 0 && strcmp(all[i], all[i - 1]) == 0)
            return why_set(why, ERR_INVALID, "-cluster names %s twice", all[i]);
        append(o->list, sizeof o->list, all[i]);
        if (strcmp(all[i], ours) == 0)
            o->id = i + 1;
        else
            append(o->targets, sizeof o->targets, all[i]);
    }
    if (o->id == 0)
        return why_set(why, ERR_INVALID,
                       "-cluster %s does not name this member, %s: set -host and -port as they are in the list",
                       o->list, ours);
    o->cluster = o->list;
    o->join = o->cluster_size > 1 ? o->targets : NULL;
    return 0;
}

/* What every profile must have right in the end. */
static int check_together(const struct options *o, struct why *why)
{
    struct address a;
    char text[ADDRESS_MAX];

    if (o->peer_port == o->port || o->admin_port == o->port || o->admin_port == o->peer_port)
        return why_set(why, ERR_INVALID, "the ports for clients, for members and -admin must differ");
    if (o->heartbeat_ms * 2 > o->election_ms)
        return why_set(why, ERR_INVALID, "-heartbeat must be at most half of -election-timeout");
    if (o->name != NULL && !member_name_valid(o->name))
        return why_set(why, ERR_INVALID, "-name must be 1 to %d letters, digits, \"-\", \"_\" and \".\"",
                       MEMBER_NAME_MAX - 1);
    if (strcmp(o->log_format, "text") != 0 && strcmp(o->log_format, "json") != 0)
        return why_set(why, ERR_INVALID, "-log-format is text or json, not \"%s\"", o->log_format);
    snprintf(text, sizeof text, strchr(o->host, ':') != NULL ? "[%s]:1" : "%s:1", o->host);
    if (strlen(o->host) >= sizeof a.host || address_parse(text, &a) != 0)
        return why_set(why, ERR_INVALID, "%s wants a name or an address, not \"%s\"", host_option(o), o->host);
    if (strcmp(a.host, "0.0.0.0") == 0 || strcmp(a.host, "::") == 0)
        return why_set(why, ERR_INVALID,
                       "%s%s is no address by which others could reach this server: set %s to its name or address%s",
                       o->profile == PROFILE_RAFTD ? "-host " : "", o->host, host_option(o),
                       o->profile == PROFILE_RAFTD ? "; -bind says where to listen" : "");
    return 0;
}

static int complete_raftd(struct options *o, struct why *why)
{
    if (o->datadir == NULL || o->datadir[0] == '\0')
        return why_set(why, ERR_INVALID, "Data path argument required: raftd [options] DATADIR");
    if (o->peer_port == 0)
        o->peer_port = o->port + 10000;
    if (o->peer_port > 65535)
        return why_set(why, ERR_INVALID, "-port %llu leaves no peer port (client port + 10000): set -peer-port",
                       (unsigned long long)o->port);
    if (o->join != NULL && o->cluster != NULL)
        return why_set(why, ERR_INVALID,
                       "-join and -cluster exclude each other: join a cluster that is there, or form one");
    if (o->learner && o->join == NULL)
        return why_set(
            why, ERR_INVALID,
            "-learner is for a server that joins: give it -join, too, or leave -learner out; a server that is "
            "invited becomes a learner by the \"role\" in the request that invites it");
    if (o->cluster != NULL)
        return take_list(o, why);
    return o->join != NULL ? take_targets(o, o->host, "-join", o->join, why) : 0;
}

/* The URLs of --cluster: ours goes into host and ports, the others become those whom we ask. */
static int take_urls(struct options *o, struct why *why)
{
    char others[OPTIONS_JOIN_MAX] = "", one[ADDRESS_MAX + 16];
    struct address a;
    const char *at = o->cluster;
    size_t used = 0;

    for (;; at += strcspn(at, ",") + 1) {
        size_t length = strcspn(at, ",");

        if (snprintf(one, sizeof one, "%.*s", (int)length, at) >= (int)sizeof one || address_parse(one, &a) != 0)
            return why_set(why, ERR_INVALID, "--cluster wants http://HOST:PORT[,...], not \"%s\"", o->cluster);
        o->cluster_size++;
        if (o->cluster_size == o->id) {
            snprintf(o->own_host, sizeof o->own_host, "%s", a.host);
            o->peer_port = a.port;
        } else if (used + length + 2 <= sizeof others) {
            used += (size_t)snprintf(others + used, sizeof others - used, "%s%s", used > 0 ? "," : "", one);
        }
        if (at[length] == '\0')
            break;
    }
    if (o->cluster_size > RAFT_MEMBERS_MAX)
        return why_set(why, ERR_INVALID, "--cluster has %llu URLs, but a cluster at most %d members",
                       (unsigned long long)o->cluster_size, RAFT_MEMBERS_MAX);
    if (o->id > o->cluster_size)
        return why_set(why, ERR_INVALID, "--id %llu is none of the %llu URLs in --cluster", (unsigned long long)o->id,
                       (unsigned long long)o->cluster_size);
    return others[0] != '\0' ? take_targets(o, o->own_host, "--cluster", others, why) : 0;
}

static int complete_raftexample(struct options *o, struct why *why)
{
    int err;

    if (o->cluster == NULL)
        o->cluster = "http://127.0.0.1:9021";
    err = take_urls(o, why);
    if (err != 0)
        return err;
    o->host = o->own_host;
    o->client_bind = "";
    snprintf(o->own_name, sizeof o->own_name, "%llu", (unsigned long long)o->id);
    snprintf(o->own_datadir, sizeof o->own_datadir, "raftexample-%llu", (unsigned long long)o->id);
    o->name = o->own_name;
    o->datadir = o->own_datadir;
    o->join_timeout_ms = FOR_EVER; /* until it is added, whenever that may be */
    return 0;
}

/* HOST:PORT or :PORT to listen on; *everywhere: no host, or 0.0.0.0, so no address that others could be told. */
static int take_listen(const char *option, const char *text, struct address *out, bool *everywhere, struct why *why)
{
    if (address_parse(text, out) != 0)
        return why_set(why, ERR_INVALID, "%s wants HOST:PORT or :PORT, not \"%s\"", option, text);
    *everywhere = text[0] == ':' || strcmp(out->host, "0.0.0.0") == 0;
    return 0;
}

static int complete_shaj13(struct options *o, struct why *why)
{
    struct address api, raft;
    bool api_everywhere = false, raft_everywhere = false;
    int err = take_listen("-api", o->api_address != NULL ? o->api_address : ":9090", &api, &api_everywhere, why);

    if (err == 0)
        err = take_listen("-raft", o->raft_address != NULL ? o->raft_address : ":8080", &raft, &raft_everywhere, why);
    if (err != 0)
        return err;
    if (o->datadir == NULL)
        o->datadir = "raft-state";
    snprintf(o->own_host, sizeof o->own_host, "%s",
             !raft_everywhere  ? raft.host
             : !api_everywhere ? api.host
                               : "localhost");
    snprintf(o->own_client_bind, sizeof o->own_client_bind, "%s", api_everywhere ? "" : api.host);
    o->host = o->own_host;
    o->client_bind = o->own_client_bind;
    o->port = api.port;
    o->peer_port = raft.port;
    return o->join != NULL ? take_targets(o, o->own_host, "-join", o->join, why) : 0;
}

static int complete_balsa(struct options *o, struct why *why)
{
    if (o->peer_port == 0 || o->name == NULL || o->datadir == NULL)
        return why_set(why, ERR_INVALID,
                       "with HTTP_SERVER_PORT these must be set, too: RAFT_SERVER_PORT, RAFT_NODE_ID, RAFT_VOLUME_DIR; "
                       "or give raftd a DATADIR");
    o->host = "127.0.0.1";
    o->join_timeout_ms = JOIN_TIMEOUT_MS; /* of one that was invited */
    return 0;
}

static int complete(struct options *o, struct why *why)
{
    int err = 0;

    switch (o->profile) {
    case PROFILE_RAFTD:
        err = complete_raftd(o, why);
        break;
    case PROFILE_RAFTEXAMPLE:
        err = complete_raftexample(o, why);
        break;
    case PROFILE_SHAJ13:
        err = complete_shaj13(o, why);
        break;
    case PROFILE_BALSA:
        err = complete_balsa(o, why);
        break;
    }
    return err == 0 ? check_together(o, why) : err;
}

const struct option_table *option_table_of(enum profile p)
{
    static const struct option_table tables[PROFILES] = {
        [PROFILE_RAFTD] = {ROWS(raftd_options),
                           "raftd [options] DATADIR\n\n"
                           "A replicated key-value server: Raft, plain HTTP, LMDB. DATADIR is made if it is not there; "
                           "a new one without\n-join starts a cluster of one.\n\n"
                           "raftd restore -help   make a new cluster of a backup\n"
                           "raftd verify -help    look for faults in a backup or in the DATADIR of a stopped server\n"
                           "raftd recover -help   what can be done when a majority is gone for good\n",
                           true, complete},
        [PROFILE_RAFTEXAMPLE] = {ROWS(raftexample_options),
                                 "raftexample --id N --cluster URL[,URL...] --port PORT [--join]\n\n"
                                 "raftd in the manner of etcd's raftexample: PUT and GET /KEY, POST and DELETE "
                                 "/MEMBER-ID; data in raftexample-N.\n",
                                 false, complete},
        [PROFILE_SHAJ13] = {ROWS(shaj13_options),
                            "raft -raft ADDR -api ADDR -state_dir DIR [-join ADDR]\n\n"
                            "raftd in the manner of shaj13/raft's example: PUT /, GET /KEY, GET /mgmt/nodes, DELETE "
                            "/mgmt/nodes/ID.\n",
                            false, complete},
        [PROFILE_BALSA] = {ROWS(balsa_options),
                           "HTTP_SERVER_PORT=PORT RAFT_SERVER_PORT=PORT RAFT_NODE_ID=NAME RAFT_VOLUME_DIR=DIR raftd\n\n"
                           "raftd in the manner of balchua/balsa: /join, /set, /get, /remove by query, on 127.0.0.1.\n",
                           false, complete},
    };

    return &tables[p];
}
