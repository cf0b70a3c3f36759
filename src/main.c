/* main.c -- raftd: parse, open, start, wait for a signal, stop. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"
#include "base/text.h"
#include "http/http.h"
#include "options.h"
#include "recover.h"
#include "restore.h"
#include "server/form.h"
#include "server/join.h"
#include "server/node.h"
#include "store/datadir.h"
#include "store/guard.h"
#include "verify.h"
#include "wire/members.h"

#define EXIT_USAGE      64
#define DRAIN_MS        3000 /* of the 5 s that a stop may take */
#define ANSWER_FIRST_MS 50   /* an invited server answers who invited it before it goes down to join */
#define ADMIN_THREADS   8
#define LEAD_FIRST_MS   2000 /* a cluster of one leads before it listens, unless its disk takes as long as that */
#define READERS_EXTRA   80   /* views of the map beside those of the HTTP threads: scans and our own */

/* LMDB asks for megabytes that it touches little of. Fixed, because glibc raises the threshold at the first such free, and
 * then takes (and clears) them from the heap. */
#define MMAP_THRESHOLD_BYTES (128 << 10)

/* One life of a member: from opening DATADIR until it stops, or is invited to be reborn in another cluster. */
struct life {
    const struct options *options;
    char client[ADDRESS_MAX], peer[ADDRESS_MAX];
    const char *bind;
    char join[OPTIONS_JOIN_MAX]; /* "": do not join */
    bool learner;
    uint64_t replaces; /* whose place we take: the invitation said so; 0: nobody's */
    bool waits;        /* to be expected there */
    bool founds;       /* is the one who founds the cluster of --cluster */
    bool newborn;      /* this start made the cluster, and does not serve yet */
    struct datadir *datadir;
    struct node *node;
    struct http *http, *admin; /* admin NULL: there is none */
};

enum ending { ENDING_STOPPED, ENDING_REMOVED, ENDING_FAILED, ENDING_REBORN };

static void addresses(struct life *l)
{
    struct address a = {.port = (uint16_t)l->options->port};

    snprintf(a.host, sizeof a.host, "%s", l->options->host);
    address_format(&a, l->client, sizeof l->client);
    a.port = (uint16_t)l->options->peer_port;
    address_format(&a, l->peer, sizeof l->peer);
    l->bind = l->options->bind;
    if (l->bind == NULL)
        l->bind = !address_is_loopback(l->options->host) ? "" : strchr(l->options->host, ':') ? "::1" : "127.0.0.1";
}

/* ---- who we are ---- */

static void make_name(const struct options *o, struct identity *identity)
{
    if (o->name != NULL)
        snprintf(identity->name, sizeof identity->name, "%s", o->name);
    else if (identity->name[0] == '\0')
        member_name_make_up(clock_random(), identity->name);
}

/* A directory that is no member yet, or not any more, gets an id that nobody ever had; one that was alone in a cluster of
 * its own and is invited keeps its id, which no other cluster has seen. */
static int be_born(struct life *l, bool keep_id, struct why *why)
{
    struct identity identity = *datadir_identity(l->datadir);

    if (!keep_id)
        identity.id = (clock_random() >> 11) | 1; /* below 2^53, so that every JSON reader can hold it */
    make_name(l->options, &identity);
    identity.cluster = 0;
    identity.joined = 0;
    identity.removed = false;
    return datadir_wipe(l->datadir, &identity, why);
}

static int identify(struct life *l, struct why *why)
{
    const struct identity *identity = datadir_identity(l->datadir);

    bool rejoins = l->waits ? l->options->joins : l->join[0] != '\0' && l->options->cluster == NULL;

    if (identity->removed && !rejoins)
        return why_set(
            why, ERR_INVALID,
            "%s belongs to member %s, which was removed from its cluster: start it with -join to join anew as "
            "another member, or use another DATADIR",
            l->options->datadir, identity->name);
    if (identity->joined == 0 || identity->removed)
        return be_born(l, identity->joined == 0 && identity->id != 0 && l->join[0] != '\0', why);
    if (l->options->name != NULL && strcmp(l->options->name, identity->name) != 0)
        log_warn("-name ignored, a member keeps its name: name=%s", identity->name);
    if (l->join[0] != '\0') {
        if (rejoins || !l->waits)
            log_info("-%s ignored, already a member: cluster=%llu id=%llu",
                     l->options->cluster != NULL ? "cluster" : "join", (unsigned long long)identity->cluster,
                     (unsigned long long)identity->id);
        l->join[0] = '\0';
    }
    return 0;
}

/* ---- start ---- */

static bool stop_requested(void *context)
{
    sigset_t pending;

    (void)context;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

/* Asks the others of -cluster whether there is a cluster already: *taken. */
static int ask_others(const struct life *l, bool *taken, struct why *why)
{
    const struct options *o = l->options;
    const struct form_request request = {
        .others = l->join,
        .list = l->waits ? NULL : o->cluster,
        .founds = l->founds,
        .timeout_ms = l->waits ? 0 : o->join_timeout_ms,
        .stop = stop_requested,
    };

    return form_ask(&request, taken, why);
}

/* The others of --cluster: each by its place in the list and its URL. */
static void list_others(const struct options *o, struct members *out)
{
    const char *at = o->cluster;

    memset(out, 0, sizeof *out);
    for (unsigned place = 1; place <= o->cluster_size; place++) {
        struct member *m = &out->list[out->count];
        char url[ADDRESS_MAX + 16];
        struct address address;
        size_t length = strcspn(at, ",");

        snprintf(url, sizeof url, "%.*s", (int)length, at);
        if (place != o->id && address_parse(url, &address) == 0) {
            snprintf(m->name, sizeof m->name, "%u", place);
            address_format(&address, m->peer, sizeof m->peer);
            out->count++;
        }
        at += length + (at[length] == ',');
    }
}

/* Makes the first entry of a new cluster, unless we are to join one. */
static int found(struct life *l, struct why *why)
{
    const struct options *o = l->options;
    struct members *others = NULL;
    bool taken = false;
    int err = 0;

    if (o->joins && l->join[0] == '\0')
        return why_set(why, ERR_INVALID, "--join needs a --cluster with the URLs of the members that are there, too");
    if (l->founds) {
        err = ask_others(l, &taken, why);
        if (err != 0)
            return err;
        if (!taken)
            l->join[0] = '\0';
    }
    if (l->join[0] != '\0')
        return 0;
    log_info("Initializing new cluster: id=%llu", (unsigned long long)datadir_identity(l->datadir)->id);
    if (l->founds && l->waits) {
        others = xmalloc(sizeof *others);
        list_others(o, others);
    }
    err = node_bootstrap(l->datadir, l->client, l->peer, o->profile, others, why);
    free(others);
    l->newborn = err == 0;
    return err;
}

static int serve_clients(struct life *l, struct why *why)
{
    const struct options *o = l->options;
    struct http_options http = {
        .port = (uint16_t)o->port,
        .threads = (unsigned)o->threads,
        .max_value_size = o->max_value_size,
        .profile = o->profile,
    };
    int err;

    snprintf(http.bind, sizeof http.bind, "%s", o->client_bind != NULL ? o->client_bind : l->bind);
    log_info("Initializing HTTP server");
    err = http_start(&http, l->node, &l->http, why);
    if (err != 0 || o->admin_port == 0)
        return err;
    http.about = l->http;
    http.port = (uint16_t)o->admin_port;
    http.threads = ADMIN_THREADS;
    snprintf(http.bind, sizeof http.bind, "%s", l->bind);
    return http_start(&http, l->node, &l->admin, why);
}

/* What raftexample says of a log that it finds. */
static void announce_log(const struct life *l)
{
    struct service_status *status = xmalloc(sizeof *status);

    service_status(l->node, status);
    log_info("replaying WAL of member %llu", (unsigned long long)l->options->id);
    log_info("loading WAL at term %llu and index %llu", (unsigned long long)status->term,
             (unsigned long long)status->log_last);
    free(status);
}

static int open_member(struct life *l, struct why *why)
{
    const struct options *o = l->options;
    struct node_options options = {
        .peer_port = (uint16_t)o->peer_port,
        .election_ms = o->election_ms,
        .heartbeat_ms = o->heartbeat_ms,
        .profile = o->profile,
        .forming = o->profile == PROFILE_RAFTD ? o->cluster : NULL,
        .max_db_size = o->max_db_size,
        .max_value_size = o->max_value_size,
        .log_max_entries = o->log_max_entries,
        .log_max_bytes = o->log_max_size,
        .readers = (unsigned)o->threads + READERS_EXTRA,
    };
    bool fresh = false;
    int err = datadir_open(o->datadir, l->client, &l->datadir, why);

    if (err == 0)
        err = identify(l, why);
    if (err != 0)
        return err;
    logger_configure(options_log_level(o), options_log_format(o), datadir_identity(l->datadir)->name);
    fresh = datadir_identity(l->datadir)->joined == 0;
    log_info("%s: %s", fresh ? "Initializing Raft Server" : "Recovered from log", o->datadir);
    if (fresh) {
        err = found(l, why);
        if (err != 0)
            return err;
    }
    options.datadir = l->datadir;
    memcpy(options.client, l->client, sizeof options.client);
    memcpy(options.peer, l->peer, sizeof options.peer);
    snprintf(options.bind, sizeof options.bind, "%s", l->bind);
    err = node_open(&options, &l->node, why);
    if (err == 0 && !fresh && o->profile == PROFILE_RAFTEXAMPLE)
        announce_log(l);
    if (err == 0) {
        node_await_own_leadership(l->node, LEAD_FIRST_MS); /* who sees us listen may write at once */
        err = serve_clients(l, why);
    }
    if (err != 0)
        return err;
    l->newborn = false;
    log_info("Listening at: http://%s", l->client);
    return 0;
}

static int join_cluster(struct life *l, struct why *why)
{
    const struct identity *identity = datadir_identity(l->datadir);
    struct join_request request = {
        .targets = l->join,
        .id = identity->id,
        .name = identity->name,
        .client = l->client,
        .peer = l->peer,
        .profile = l->options->profile,
        .learner = l->learner,
        .replaces = l->replaces,
        .waits = l->waits,
        .timeout_ms = l->options->join_timeout_ms,
        .stop = stop_requested,
    };
    struct joined joined = {0, 0};
    int err = join_run(&request, &joined, why);

    if (err == 0)
        err = node_joined(l->node, joined.cluster, joined.index, why);
    if (err == 0)
        log_info("joined: cluster=%llu index=%llu", (unsigned long long)joined.cluster,
                 (unsigned long long)joined.index);
    return err;
}

/* ---- wait and stop ---- */

static void remember_removal(struct life *l)
{
    struct identity identity = *datadir_identity(l->datadir);
    struct why why = {""};

    identity.removed = true;
    if (datadir_save(l->datadir, &identity, &why) != 0)
        log_error("removal not recorded: error=\"%s\"", why.text);
}

/* Waits for a signal or for news of the node. */
static enum ending wait_for_end(struct life *l, struct why *why)
{
    struct service_invitation invitation = {0};
    sigset_t signals;
    int signal = 0;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, NODE_SIGNAL);
    for (;;) {
        if (sigwait(&signals, &signal) != 0)
            continue;
        if (signal == SIGTERM || signal == SIGINT)
            return ENDING_STOPPED;
        switch (node_news(l->node, why, &invitation)) {
        case NODE_FAILED:
            return ENDING_FAILED; /* main prints why */
        case NODE_REMOVED:
            log_info("I've been removed from the cluster! Shutting down.");
            remember_removal(l);
            return ENDING_REMOVED;
        case NODE_INVITED:
            snprintf(l->join, sizeof l->join, "%s", invitation.leader);
            l->learner = l->learner || invitation.learner;
            l->replaces = invitation.replaces;
            nanosleep(&(struct timespec){.tv_nsec = ANSWER_FIRST_MS * 1000000L}, NULL);
            return ENDING_REBORN;
        case NODE_NOTHING:
            break;
        }
    }
}

static void close_member(struct life *l)
{
    if (l->node != NULL)
        node_drain(l->node, DRAIN_MS);
    if (l->http != NULL)
        http_drain(l->http, 1000);
    http_stop(l->admin);
    http_stop(l->http);
    node_close(l->node);
    l->http = l->admin = NULL;
    l->node = NULL;
}

/* A cluster of one that could not even listen never was: the next start of this DATADIR may join another. */
static void forget_birth(struct life *l)
{
    struct why why = {""};

    l->newborn = false;
    if (be_born(l, true, &why) != 0)
        log_error("the new cluster cannot be removed: error=\"%s\"", why.text);
}

static enum ending live(struct life *l, struct why *why)
{
    enum ending ending = ENDING_FAILED;
    bool taken = false;
    int err = open_member(l, why);

    if (err == 0 && l->join[0] != '\0' && l->options->cluster != NULL && !l->waits && !l->founds)
        err = ask_others(l, &taken, why);
    if (err == 0 && l->join[0] != '\0')
        err = join_cluster(l, why);
    if (err == ERR_STOPPED)
        ending = ENDING_STOPPED;
    else if (err == 0)
        ending = wait_for_end(l, why);
    close_member(l);
    if (l->newborn)
        forget_birth(l);
    if (ending == ENDING_REBORN && be_born(l, true, why) != 0)
        ending = ENDING_FAILED;
    datadir_close(l->datadir);
    l->datadir = NULL;
    return ending;
}

/* The stores are mapped: where their disk cannot be read, or their file was cut short, a read ends here. */
static void prepare_process(void)
{
    struct rlimit files;
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, NODE_SIGNAL, SIGPIPE};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        sigaddset(&set, ours[i]);
    pthread_sigmask(SIG_BLOCK, &set,
                    NULL); /* taken with sigwait by this thread alone; a broken pipe is an error code */
    guard_install();
    /* A look-up cannot be interrupted, and a stop waits for it: a name server that is silent is given up soon. */
    (void)setenv("RES_OPTIONS", "timeout:1 attempts:1", 0);
    mallopt(M_ARENA_MAX, 2); /* hundreds of threads that hold little: arenas of their own would cost more */
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* What goraft/raftd says of its options. */
static void announce(const struct options *o)
{
    if (o->strangers[0] != '\0')
        log_warn("environment variables ignored, for -help has no such option: %s", o->strangers);
    if (o->verbose)
        log_info("Verbose logging enabled.");
    if (o->trace)
        log_info("Raft trace debugging enabled.");
    else if (o->debug)
        log_info("Raft debugging enabled.");
}

int main(int argc, char **argv)
{
    struct options options;
    struct life life = {.options = &options};
    struct why why = {""};
    enum ending ending = ENDING_FAILED;

    if (argc > 1 && strcmp(argv[1], "recover") == 0)
        return recover_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "restore") == 0)
        return restore_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "verify") == 0)
        return verify_main(argc - 1, argv + 1);
    if (options_parse(argc, argv, &options, &why) != 0) {
        fprintf(stderr, "raftd: %s\n", why.text);
        return EXIT_USAGE;
    }
    if (options.help || options.version) {
        if (options.help)
            options_help(&options);
        else
            printf("raftd %s\n", PACKAGE_VERSION);
        return 0;
    }
    prepare_process();
    logger_configure(options_log_level(&options), options_log_format(&options), options.name);
    if (logger_start() != 0) {
        fprintf(stderr, "raftd: no thread can be started: see ulimit -u\n");
        return EXIT_FAILURE;
    }
    announce(&options);
    addresses(&life);
    life.learner = options.learner;
    life.waits = options.profile == PROFILE_RAFTEXAMPLE;
    life.founds = options.cluster != NULL && !options.joins && options.id == 1 && options.cluster_size > 1;
    snprintf(life.join, sizeof life.join, "%s", options.join != NULL ? options.join : "");
    do
        ending = live(&life, &why);
    while (ending == ENDING_REBORN);
    logger_stop();
    if (ending == ENDING_FAILED && why.text[0] != '\0')
        fprintf(stderr, "raftd: %s\n", why.text);
    return ending == ENDING_FAILED ? EXIT_FAILURE : EXIT_SUCCESS;
}
