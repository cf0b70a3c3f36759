#include "options.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "wire/members.h"

enum kind { KIND_TEXT, KIND_NUMBER, KIND_SIZE, KIND_FLAG };

struct option {
    const char *name, *alias; /* alias NULL: none */
    enum kind kind;
    size_t offset; /* in struct options */
    uint64_t min, max, otherwise;
    const char *argument, *text;
};

#define AT(field) offsetof(struct options, field)
#define MIB       ((uint64_t)1 << 20)
#define GIB       ((uint64_t)1 << 30)

static const struct option table[] = {
    {"port", "p", KIND_NUMBER, AT(port), 1, 65535, 4001, "PORT", "port for clients"},
    {"host", "h", KIND_TEXT, AT(host), 0, 0, 0, "HOST",
     "name or address that others use to reach this server (localhost)"},
    {"bind", NULL, KIND_TEXT, AT(bind), 0, 0, 0, "ADDR",
     "address to listen on; by default loopback while -host is a loopback name, else every address"},
    {"peer-port", NULL, KIND_NUMBER, AT(peer_port), 1, 65535, 0, "PORT",
     "port for the other members (client port + 10000)"},
    {"join", NULL, KIND_TEXT, AT(join), 0, 0, 0, "HOST:PORT[,...]",
     "join the cluster of any of these members, by client or peer port"},
    {"join-timeout", NULL, KIND_NUMBER, AT(join_timeout_ms), 100, 86400000, 30000, "MS",
     "give up joining after this long"},
    {"learner", NULL, KIND_FLAG, AT(learner), 0, 0, 0, NULL, "join without a vote"},
    {"name", NULL, KIND_TEXT, AT(name), 0, 0, 0, "NAME", "name of this member (made up and kept in DATADIR)"},
    {"heartbeat", NULL, KIND_NUMBER, AT(heartbeat_ms), 5, 10000, 50, "MS", "how often a leader is heard"},
    {"election-timeout", NULL, KIND_NUMBER, AT(election_ms), 20, 60000, 300, "MS",
     "stand for election after one to two times this without a leader"},
    {"max-value-size", NULL, KIND_SIZE, AT(max_value_size), 1, 32 * MIB, MIB, "BYTES",
     "largest value that a client may write"},
    {"max-db-size", NULL, KIND_SIZE, AT(max_db_size), 16 * MIB, 16384 * GIB, 64 * GIB, "BYTES",
     "largest size of the map on disk"},
    {"threads", NULL, KIND_NUMBER, AT(threads), 2, 4096, 320, "N", "connections of clients that are served at once"},
    {"v", NULL, KIND_FLAG, AT(verbose), 0, 0, 0, NULL, "log more (as -debug, without the core's details)"},
    {"debug", NULL, KIND_FLAG, AT(debug), 0, 0, 0, NULL, "log what the protocol does"},
    {"trace", NULL, KIND_FLAG, AT(trace), 0, 0, 0, NULL, "log everything"},
    {"log-format", NULL, KIND_TEXT, AT(log_format), 0, 0, 0, "text|json", "how log lines are written to stderr (text)"},
    {"version", NULL, KIND_FLAG, AT(version), 0, 0, 0, NULL, "print the version and exit"},
    {"help", NULL, KIND_FLAG, AT(help), 0, 0, 0, NULL, "print this and exit"},
};
#define TABLE_SIZE (sizeof table / sizeof table[0])

static const struct option *find(const char *name, size_t length)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        const struct option *o = &table[i];

        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
        if (o->alias != NULL && strlen(o->alias) == length && strncmp(o->alias, name, length) == 0)
            return o;
    }
    return NULL;
}

static int set_number(const struct option *o, struct options *out, const char *from, const char *value, struct why *why)
{
    uint64_t *field = (uint64_t *)(void *)((char *)out + o->offset);
    uint64_t number = 0;
    int err = o->kind == KIND_SIZE ? text_size(value, o->max, &number) : text_u64(value, o->max, &number);

    if (err != 0 || number < o->min)
        return why_set(why, ERR_INVALID, "%s%s must be a number from %llu to %llu, not \"%s\"", from, o->name,
                       (unsigned long long)o->min, (unsigned long long)o->max, value);
    *field = number;
    return 0;
}

static int set_flag(const struct option *o, struct options *out, const char *from, const char *value, struct why *why)
{
    bool *field = (bool *)((char *)out + o->offset);

    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
        *field = true;
    else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        *field = false;
    else
        return why_set(why, ERR_INVALID, "%s%s is true or false, not \"%s\"", from, o->name, value);
    return 0;
}

/* `from` is "-" for the command line, "the environment's " for that: the error says where the value came from. */
static int set(const struct option *o, struct options *out, const char *from, const char *value, struct why *why)
{
    switch (o->kind) {
    case KIND_TEXT:
        if (value[0] == '\0')
            return why_set(why, ERR_INVALID, "%s%s wants a value: %s", from, o->name, o->argument);
        *(const char **)(void *)((char *)out + o->offset) = value;
        return 0;
    case KIND_NUMBER:
    case KIND_SIZE:
        return set_number(o, out, from, value, why);
    case KIND_FLAG:
        return set_flag(o, out, from, value, why);
    }
    return ERR_INVALID;
}

static void set_defaults(struct options *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].kind == KIND_NUMBER || table[i].kind == KIND_SIZE)
            *(uint64_t *)(void *)((char *)out + table[i].offset) = table[i].otherwise;
    out->host = "localhost";
    out->log_format = "text";
}

static void environment_name(const struct option *o, char *out, size_t size)
{
    snprintf(out, size, "RAFTD_%s", o->name);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static int read_environment(struct options *out, struct why *why)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        char name[40];
        const char *value = NULL;
        int err = 0;

        environment_name(&table[i], name, sizeof name);
        value = getenv(name);
        if (value != NULL)
            err = set(&table[i], out, "RAFTD_ environment variable for -", value, why);
        if (err != 0)
            return err;
    }
    return 0;
}

static int read_argument(int argc, char **argv, int *at, struct options *out, struct why *why)
{
    const char *text = argv[*at] + (argv[*at][1] == '-' ? 2 : 1);
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const struct option *o = find(text, length);

    if (o == NULL)
        return why_set(why, ERR_INVALID, "unknown option %s; raftd -help lists them", argv[*at]);
    if (equals != NULL)
        return set(o, out, "-", equals + 1, why);
    if (o->kind == KIND_FLAG)
        return set(o, out, "-", "true", why);
    if (*at + 1 >= argc)
        return why_set(why, ERR_INVALID, "-%s wants a value: %s", o->name, o->argument);
    (*at)++;
    return set(o, out, "-", argv[*at], why);
}

/* Each of the targets is an address, and the list has room where main.c keeps it. */
static int check_join(const char *targets, struct why *why)
{
    struct address a;
    char one[ADDRESS_MAX];
    const char *at = targets;

    if (strlen(targets) >= OPTIONS_JOIN_MAX)
        return why_set(why, ERR_INVALID, "-join names too many: at most %d bytes", OPTIONS_JOIN_MAX - 1);
    for (;;) {
        size_t length = strcspn(at, ",");

        if (snprintf(one, sizeof one, "%.*s", (int)length, at) >= (int)sizeof one || address_parse(one, &a) != 0)
            return why_set(why, ERR_INVALID, "-join wants HOST:PORT[,HOST:PORT...], not \"%s\"", targets);
        if (at[length] == '\0')
            return 0;
        at += length + 1;
    }
}

static int check_together(struct options *out, struct why *why)
{
    struct address a;
    char text[ADDRESS_MAX];

    if (out->peer_port == 0)
        out->peer_port = out->port + 10000;
    if (out->peer_port > 65535)
        return why_set(why, ERR_INVALID, "-port %llu leaves no peer port (client port + 10000): set -peer-port",
                       (unsigned long long)out->port);
    if (out->peer_port == out->port)
        return why_set(why, ERR_INVALID, "-port and -peer-port must differ");
    if (out->heartbeat_ms * 2 > out->election_ms)
        return why_set(why, ERR_INVALID, "-heartbeat must be at most half of -election-timeout");
    if (out->name != NULL && !member_name_valid(out->name))
        return why_set(why, ERR_INVALID, "-name must be 1 to %d letters, digits, \"-\", \"_\" and \".\"",
                       MEMBER_NAME_MAX - 1);
    if (strcmp(out->log_format, "text") != 0 && strcmp(out->log_format, "json") != 0)
        return why_set(why, ERR_INVALID, "-log-format is text or json, not \"%s\"", out->log_format);
    snprintf(text, sizeof text, strchr(out->host, ':') != NULL ? "[%s]:1" : "%s:1", out->host);
    if (strlen(out->host) >= sizeof a.host || address_parse(text, &a) != 0)
        return why_set(why, ERR_INVALID, "-host wants a name or an address, not \"%s\"", out->host);
    return out->join != NULL ? check_join(out->join, why) : 0;
}

int options_parse(int argc, char **argv, struct options *out, struct why *why)
{
    int err = 0;
    bool only_paths = false;

    set_defaults(out);
    err = read_environment(out, why);
    for (int i = 1; i < argc && err == 0; i++) {
        if (!only_paths && strcmp(argv[i], "--") == 0)
            only_paths = true;
        else if (!only_paths && argv[i][0] == '-' && argv[i][1] != '\0')
            err = read_argument(argc, argv, &i, out, why);
        else if (out->datadir != NULL)
            err = why_set(why, ERR_INVALID, "one DATADIR is wanted, but there are \"%s\" and \"%s\"", out->datadir,
                          argv[i]);
        else
            out->datadir = argv[i];
    }
    if (err != 0 || out->help || out->version)
        return err;
    if (out->datadir == NULL || out->datadir[0] == '\0')
        return why_set(why, ERR_INVALID, "Data path argument required: raftd [options] DATADIR");
    return check_together(out, why);
}

static void print_option(const struct option *o)
{
    char left[60];
    int used = 0;

    used = snprintf(left, sizeof left, "  -%s%s%s", o->alias != NULL ? o->alias : o->name,
                    o->alias != NULL ? ", -" : "", o->alias != NULL ? o->name : "");
    if (o->argument != NULL)
        snprintf(left + used, sizeof left - (size_t)used, " %s", o->argument);
    printf("%-28s %s", left, o->text);
    if (o->kind == KIND_SIZE && o->otherwise % GIB == 0)
        printf(" (%llu GiB)", (unsigned long long)(o->otherwise / GIB));
    else if (o->kind == KIND_SIZE)
        printf(" (%llu MiB)", (unsigned long long)(o->otherwise / MIB));
    else if (o->kind == KIND_NUMBER && o->otherwise != 0)
        printf(" (%llu)", (unsigned long long)o->otherwise);
    printf("\n");
}

void options_help(void)
{
    printf(
        "raftd [options] DATADIR\n\n"
        "A replicated key-value server: Raft, plain HTTP, LMDB. DATADIR is made if it is not there; a new one without\n"
        "-join starts a cluster of one.\n\n"
        "Options, with one or two dashes, -x VALUE or -x=VALUE; each also as environment variable RAFTD_NAME\n"
        "(RAFTD_PEER_PORT for -peer-port):\n\n");
    for (size_t i = 0; i < TABLE_SIZE; i++)
        print_option(&table[i]);
    printf(
        "\nExit status: 0 stopped in an orderly way or removed from the cluster, 1 could not start or go on, 64 wrong "
        "usage.\nraftd(8) has the rest, raftd-http(7) the HTTP interface.\n");
}

enum log_level options_log_level(const struct options *o)
{
    if (o->trace)
        return LOG_LEVEL_TRACE;
    return o->debug || o->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

enum log_format options_log_format(const struct options *o)
{
    return strcmp(o->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
}
