#include "server/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/link.h"
#include "net/socket.h"
#include "server/event.h"

#define THREAD_STACK_BYTES (192u << 10)
#define LOG_MAX_SIZE       ((uint64_t)256 << 30) /* address space; the disk is the limit */
#define DRAIN_LOOK_MS      5
#define LEAD_LOOK_MS       1

void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attributes);
    pthread_condattr_destroy(&attributes);
}

int thread_start(pthread_t *t, void *(*run)(void *), void *arg)
{
    pthread_attr_t attributes;
    sigset_t all, old;
    int error = 0;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* a thread's own fault: where that is blocked, no handler is asked (guard.h) */
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(t, &attributes, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : ERR_NO_RESOURCES;
}

/* ---- start ---- */

static int start_role(struct node *n, const struct role_ops *ops, unsigned which)
{
    struct role_context context = {.log = n->log,
                                   .kv = n->kv,
                                   .election_ms = n->options.election_ms,
                                   .dump_path = datadir_dump_path(n->options.datadir),
                                   .dump_fresh_path = datadir_dump_fresh_path(n->options.datadir),
                                   .incoming_path = datadir_incoming_path(n->options.datadir)};
    struct role *r = &n->roles[n->role_count];

    CHECK(n->role_count < NODE_ROLES_MAX);
    r->node = n;
    r->ops = ops;
    r->which = which;
    cond_init(&r->wake);
    r->job = ops->job_new(&context, which);
    if (thread_start(&r->thread, role_run, r) != 0) {
        ops->job_free(r->job);
        return ERR_NO_RESOURCES;
    }
    n->role_count++;
    return 0;
}

/* The role table grows while its first roles run already: under the lock, so that whoever wakes sees whole entries. */
static int start_roles(struct node *n)
{
    struct shared *s = node_lock(n);
    int err = start_role(n, &timer_ops, 0);

    if (err == 0)
        err = start_role(n, &writer_ops, 0);
    if (err == 0)
        err = start_role(n, &checkpointer_ops, 0);
    if (err == 0)
        err = start_role(n, &applier_ops, 0);
    if (err == 0)
        err = start_role(n, &snapshotter_ops, 0);
    if (err == 0)
        err = start_role(n, &auditor_ops, 0);
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX && err == 0; i++)
        err = start_role(n, &sender_ops, i);
    node_unlock(n, &s);
    return err;
}

static int start_receivers(struct node *n)
{
    struct shared *s = node_lock(n);
    int err = 0;

    while (n->receiver_count < NODE_RECEIVERS && err == 0) {
        struct receiver *r = &n->receivers[n->receiver_count];

        r->node = n;
        err = thread_start(&r->thread, receiver_run, r);
        if (err == 0)
            n->receiver_count++;
    }
    node_unlock(n, &s);
    return err;
}

/* A map that cannot be opened any more is put aside: the log says what it held, or a leader sends it. */
static int open_map(struct node *n, struct why *why)
{
    const struct node_options *o = &n->options;
    const char *path = datadir_kv_path(o->datadir);
    struct why damage = {""};
    int err = kv_store_open(path, o->max_db_size, o->readers, &n->kv, &damage);

    if (err != ERR_CORRUPT)
        return why_set(why, err, "%s", damage.text);
    log_error("the map is put aside: reason=\"%s\"", damage.text);
    err = kv_store_set_aside(path, damage.text, why);
    return err == 0 ? kv_store_open(path, o->max_db_size, o->readers, &n->kv, why) : err;
}

static int open_stores(struct node *n, struct why *why)
{
    const struct node_options *o = &n->options;
    int err = datadir_check_log(o->datadir, why);

    if (err == 0)
        err = log_store_open(datadir_log_path(o->datadir), LOG_MAX_SIZE, &n->log, why);
    if (err != 0)
        return err;
    return open_map(n, why);
}

static int open_shared(struct node *n, struct why *why)
{
    const struct node_options *o = &n->options;
    const struct identity *identity = datadir_identity(o->datadir);
    struct shared_start start = {
        .self = identity->id,
        .name = identity->name,
        .client = o->client,
        .peer = o->peer,
        .profile = o->profile,
        .cluster = identity->cluster,
        .joined = identity->joined,
        .seed = clock_random(),
        .wall_ns = clock_wall_ns() - clock_now_ms() * 1000000,
        .election_ms = o->election_ms,
        .heartbeat_ms = o->heartbeat_ms,
        .log_max_entries = o->log_max_entries,
        .largest = o->max_value_size + COMMAND_KEY_MAX,
        .log_max_bytes = o->log_max_bytes,
    };

    int err = shared_open(&n->shared, &start, n->log, n->kv, clock_now_ms(), why);

    if (err == 0)
        transfer_recall(&n->shared, datadir_incoming_path(o->datadir));
    return err;
}

static bool is_loopback(const char *address)
{
    struct address a;

    return address_parse(address, &a) == 0 && address_is_loopback(a.host);
}

/* We would tell members elsewhere that we are to be found at home, theirs. */
static int check_reach(const struct shared *s, struct why *why)
{
    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];

        if (m->id != s->self && is_loopback(s->peer) && !is_loopback(m->peer))
            return why_set(
                why, ERR_INVALID,
                "%s is an address that only this machine can reach, but member %s is at %s: set -host to the "
                "name or address by which the others reach this server",
                s->client, m->name, m->peer);
    }
    return 0;
}

static void log_initial(const struct directory *d)
{
    char servers[EVENT_LINE_MAX];

    event_servers(&d->latest, servers, sizeof servers);
    log_info("initial configuration: index=%llu servers=\"%s\"", (unsigned long long)d->latest_index, servers);
}

int node_open(const struct node_options *options, struct node **out, struct why *why)
{
    struct node *n = xcalloc(1, sizeof *n);
    int err = 0;

    n->options = *options;
    n->listener = -1;
    n->main_thread = pthread_self();
    n->started_ms = clock_now_ms();
    pthread_mutex_init(&n->mutex, NULL);
    err = socket_listen(options->bind, options->peer_port, &n->listener, why);
    if (err == 0)
        err = open_stores(n, why);
    if (err == 0)
        err = open_shared(n, why);
    if (err == 0)
        err = check_reach(&n->shared, why);
    if (err != 0)
        goto out;
    log_initial(&n->shared.directory);
    err = start_roles(n);
    if (err == 0)
        err = start_receivers(n);
    if (err != 0) {
        why_set(why, err, "no more threads can be started: see ulimit -u");
        goto out;
    }
    *out = n;
    n = NULL;
out:
    node_close(n);
    return err;
}

static bool is_lone_voter(const struct shared *s)
{
    const struct member *self = directory_find(&s->directory, s->self);
    unsigned voters = 0;

    for (unsigned i = 0; i < s->directory.latest.count; i++)
        voters += s->directory.latest.list[i].role == RAFT_VOTER;
    return voters == 1 && self != NULL && self->role == RAFT_VOTER;
}

void node_await_own_leadership(struct node *n, unsigned timeout_ms)
{
    struct shared *s = node_lock(n);
    raft_time until = clock_now_ms() + timeout_ms;
    struct raft_status status;

    raft_status(s->raft, &status);
    while (is_lone_voter(s) && status.role != RAFT_LEADER && s->failure == 0 && clock_now_ms() < until) {
        node_pause(n, s, clock_now_ms() + LEAD_LOOK_MS);
        raft_status(s->raft, &status);
    }
    node_unlock(n, &s);
}

/* ---- stop ---- */

void node_drain(struct node *n, unsigned timeout_ms)
{
    struct shared *s = node_lock(n);
    raft_time until = clock_now_ms() + timeout_ms;
    struct raft_status status;

    atomic_store(&n->leaving, true);
    s->phase = s->phase == PHASE_JOINING ? PHASE_JOINING : PHASE_DRAINING;
    /* First what is in flight, then the leadership: a leader that hands over cannot answer them any more. */
    while (s->requests.waiting > 0 && s->failure == 0 && clock_now_ms() < until)
        node_pause(n, s, clock_now_ms() + DRAIN_LOOK_MS);
    requests_give_up(s);
    raft_transfer(s->raft, clock_now_ms(), 0);
    raft_status(s->raft, &status);
    while (status.transferring && s->failure == 0 && clock_now_ms() < until) {
        node_pause(n, s, clock_now_ms() + DRAIN_LOOK_MS);
        raft_status(s->raft, &status);
    }
    node_unlock(n, &s);
}

static void begin_stop(struct node *n)
{
    struct shared *s = node_lock(n);

    s->stopping = true;
    for (unsigned i = 0; i < n->receiver_count; i++)
        if (n->receivers[i].link != NULL)
            link_interrupt(n->receivers[i].link);
    node_unlock(n, &s);
    for (unsigned i = 0; i < n->role_count; i++)
        if (n->roles[i].ops->interrupt != NULL)
            n->roles[i].ops->interrupt(n->roles[i].job);
    if (n->listener >= 0)
        socket_shutdown(n->listener);
}

/* The roles in the reverse of their start, but the writer after all that may give it work: what was taken is written. */
static void join_threads(struct node *n)
{
    for (unsigned i = 0; i < n->receiver_count; i++)
        pthread_join(n->receivers[i].thread, NULL);
    for (unsigned i = n->role_count; i > 0; i--) {
        struct role *r = &n->roles[i - 1];

        pthread_join(r->thread, NULL);
    }
    for (unsigned i = 0; i < n->role_count; i++) {
        n->roles[i].ops->job_free(n->roles[i].job);
        pthread_cond_destroy(&n->roles[i].wake);
    }
}

void node_close(struct node *n)
{
    raft_index settled = 0;

    if (n == NULL)
        return;
    if (n->shared.raft != NULL) {
        begin_stop(n);
        join_threads(n);
        shared_close(&n->shared);
    }
    socket_close(n->listener);
    if (n->kv != NULL && n->shared.failure == 0)
        (void)kv_store_sync(n->kv, &settled); /* no harm if it fails: the log repeats what the map lacks */
    kv_store_close(n->kv);
    log_store_close(n->log);
    pthread_mutex_destroy(&n->mutex);
    free(n);
}

/* ---- birth and joining ---- */

static void expect(struct members *members, const struct members *expected)
{
    for (unsigned i = 0; i < expected->count && members->count < RAFT_MEMBERS_MAX; i++) {
        struct member *m = &members->list[members->count++];

        *m = expected->list[i];
        m->id = (clock_random() >> 11) | 1;
        m->role = RAFT_LEARNER;
        m->created_ns = clock_wall_ns();
    }
}

int node_bootstrap(struct datadir *d, const char *client, const char *peer, enum profile profile,
                   const struct members *expected, struct why *why)
{
    struct identity identity = *datadir_identity(d);
    struct members members = {.count = 1};
    struct member *self = &members.list[0];
    struct log_store *log = NULL;
    struct entry *first = NULL;
    int err = log_store_open(datadir_log_path(d), LOG_MAX_SIZE, &log, why);

    if (err != 0)
        return err;
    self->id = identity.id;
    self->role = RAFT_VOTER;
    memcpy(self->name, identity.name, sizeof self->name);
    snprintf(self->client, sizeof self->client, "%s", client);
    snprintf(self->peer, sizeof self->peer, "%s", peer);
    self->profile = profile;
    self->created_ns = clock_wall_ns();
    if (expected != NULL)
        expect(&members, expected);
    first = members_entry(&members);
    entry_stamp(first, (struct raft_pos){1, 1});
    err = log_store_write(log, &(struct log_write){.hard = {.term = 1}, .first = 1, .last = 1, .entries = &first});
    entry_unref(first);
    log_store_close(log);
    if (err != 0)
        return why_set(why, err, "the first entry of the log cannot be written: %s", err_text(err));
    identity.cluster = (clock_random() >> 11) | 1; /* below 2^53, so that every JSON reader can hold it */
    identity.joined = 1;
    return datadir_save(d, &identity, why);
}

int node_joined(struct node *n, uint64_t cluster, raft_index index, struct why *why)
{
    struct identity identity = *datadir_identity(n->options.datadir);
    struct shared *s = NULL;
    int err = 0;

    identity.cluster = cluster;
    identity.joined = index;
    identity.removed = false;
    err = datadir_save(n->options.datadir, &identity, why);
    if (err != 0)
        return err;
    s = node_lock(n);
    s->cluster = cluster;
    s->joined = index;
    if (s->phase == PHASE_JOINING)
        s->phase = PHASE_SERVING;
    node_unlock(n, &s);
    return 0;
}

enum node_news node_news(struct node *n, struct why *failure, struct service_invitation *invitation)
{
    struct shared *s = node_lock(n);
    enum node_news news = NODE_NOTHING;

    n->main_told = false;
    if (s->failure != 0) {
        *failure = s->failure_why;
        news = NODE_FAILED;
    } else if (s->removed) {
        news = NODE_REMOVED;
    } else if (n->invitation.cluster != 0) {
        *invitation = n->invitation;
        n->invitation.cluster = 0;
        news = NODE_INVITED;
    }
    node_unlock(n, &s);
    return news;
}
