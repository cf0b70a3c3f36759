/* role.c -- the loop of every role, and the waking of whoever became due. The only file that makes a role wait. */
#include <errno.h>
#include <stdio.h>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#include "base/clock.h"
#include "server/event.h"
#include "server/node.h"

#define EVENTS_AT_ONCE 16u

/* What whoever releases the lock owes to others, and pays when it no longer holds it. */
struct owed {
    uint32_t roles;           /* to be woken: a bit for each of node.roles */
    struct request *finished; /* to be woken, in this order */
    unsigned event_count;
    struct {
        enum log_level level;
        char line[EVENT_LINE_MAX];
    } events[EVENTS_AT_ONCE];
};

_Static_assert(NODE_ROLES_MAX <= 32, "owed.roles has a bit for each");

static uint32_t find_roles_due(struct node *n)
{
    uint32_t found = 0;

    for (unsigned i = 0; i < n->role_count; i++) {
        struct role *r = &n->roles[i];

        if (r->asleep_until == 0) /* at work: its job is not ours to look at */
            continue;
        if (n->shared.stopping || r->ops->due(&n->shared, r->which) < r->asleep_until) {
            r->asleep_until = 0;
            found |= (uint32_t)1 << i;
        }
    }
    return found;
}

static void tell_main(struct node *n)
{
    const struct shared *s = &n->shared;

    if (n->main_told || (s->failure == 0 && !s->removed && n->invitation.cluster == 0))
        return;
    n->main_told = true;
    pthread_kill(n->main_thread, NODE_SIGNAL);
}

/* The lines of an event; who had the votes to lead, and how many it takes, are events of their own. */
static void note_event(const struct node *n, struct owed *o, const struct raft_event *e)
{
    const struct shared *s = &n->shared;
    struct event_names names = {.members = &s->directory.latest, .self = s->peer};
    struct raft_status status;
    unsigned at = o->event_count++;

    raft_status(s->raft, &status);
    names.last = status.last;
    if (e->type == RAFT_EVENT_LEADER) {
        unsigned voters = 0;

        for (unsigned i = 0; i < names.members->count; i++)
            voters += names.members->list[i].role == RAFT_VOTER;
        o->events[at].level = LOG_LEVEL_INFO;
        snprintf(o->events[at].line, EVENT_LINE_MAX, "election won: tally=%u term=%llu", voters / 2 + 1,
                 (unsigned long long)e->term);
        at = o->event_count++;
    }
    o->events[at].level = event_format(e, &names, o->events[at].line, EVENT_LINE_MAX);
    if (e->type == RAFT_EVENT_CANDIDATE) {
        at = o->event_count++;
        o->events[at].level = LOG_LEVEL_DEBUG;
        snprintf(o->events[at].line, EVENT_LINE_MAX, "votes: needed=%llu term=%llu", (unsigned long long)e->index,
                 (unsigned long long)e->term);
    }
}

static void collect_events(struct node *n, struct owed *o)
{
    struct counters *c = &n->shared.counters;
    struct raft_event e;

    o->event_count = 0;
    while (o->event_count + 1 < EVENTS_AT_ONCE && raft_next_event(n->shared.raft, &e)) {
        c->elections += e.type == RAFT_EVENT_CANDIDATE;
        c->leader_changes += e.type == RAFT_EVENT_LEADER || (e.type == RAFT_EVENT_FOLLOWER && e.peer != 0);
        note_event(n, o, &e);
    }
}

static void settle(struct node *n, struct owed *o)
{
    struct requests *q = &n->shared.requests;

#ifdef RAFTD_INVARIANTS
    raft_check(n->shared.raft);
#endif
    requests_settle(&n->shared, clock_now_ms());
    o->finished = q->finished;
    q->finished = NULL;
    q->finished_end = NULL;
    o->roles = find_roles_due(n);
    collect_events(n, o);
    tell_main(n);
}

static bool owes_nothing(const struct owed *o)
{
    return o->roles == 0 && o->finished == NULL && o->event_count == 0;
}

static void pay(struct node *n, const struct owed *o)
{
    struct request *next = NULL;

    /* The senders, which are the last, first: what they send has the longest way. */
    for (unsigned i = NODE_ROLES_MAX; i-- > 0;)
        if (o->roles >> i & 1)
            pthread_cond_signal(&n->roles[i].wake);
    for (struct request *r = o->finished; r != NULL; r = next) {
        next = r->next; /* once posted, r is its thread's, and may be gone */
        sem_post(r->wake);
    }
    for (unsigned i = 0; i < o->event_count; i++)
        log_at(o->events[i].level, "%s", o->events[i].line);
}

struct shared *node_lock(struct node *n)
{
    pthread_mutex_lock(&n->mutex);
    return &n->shared;
}

void node_unlock(struct node *n, struct shared **s)
{
    struct owed o;

    *s = NULL;
    settle(n, &o);
    pthread_mutex_unlock(&n->mutex);
    pay(n, &o);
}

/* Before a wait: settles as node_unlock does, but takes the lock again. */
static void pay_debts(struct node *n)
{
    struct owed o;

    settle(n, &o);
    if (owes_nothing(&o))
        return;
    pthread_mutex_unlock(&n->mutex);
    pay(n, &o);
    pthread_mutex_lock(&n->mutex);
}

static struct timespec time_of(raft_time ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

static void wait_until(struct node *n, pthread_cond_t *wake, raft_time until)
{
    struct timespec at = time_of(until);

    if (until == RAFT_NEVER)
        pthread_cond_wait(wake, &n->mutex);
    else
        pthread_cond_timedwait(wake, &n->mutex, &at);
}

/* The thread sanitizer of gcc 12 knows sem_post, but not sem_clockwait: it is told that the one comes before the other. */
static void note_post(sem_t *s)
{
#ifdef __SANITIZE_THREAD__
    __tsan_acquire(s);
#else
    (void)s;
#endif
}

/* Whether it was posted before `until`. */
static bool await_post(struct request *r, raft_time until)
{
    struct timespec at = time_of(until);
    int rc = 0;

    do
        rc = sem_clockwait(r->wake, CLOCK_MONOTONIC, &at);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        note_post(r->wake);
    return rc == 0;
}

void node_await(struct node *n, struct request *r, raft_time until)
{
    struct shared *s = NULL;
    bool finished = false;

    if (r->look_at != 0) {
        if (await_post(r, r->look_at))
            return;
        s = node_lock(n);
        node_unlock(n, &s); /* settles */
    }
    if (await_post(r, until))
        return;
    s = node_lock(n);
    finished = r->state != REQUEST_WAITING;
    request_abandon(s, r);
    node_unlock(n, &s);
    if (finished)
        (void)await_post(r, RAFT_NEVER / 2000); /* just now: the post is on its way */
}

void node_pause(struct node *n, struct shared *s, raft_time until)
{
    pthread_cond_t never;

    (void)s;
    cond_init(&never);
    pay_debts(n);
    wait_until(n, &never, until);
    pthread_cond_destroy(&never);
}

static void role_sleep(struct role *r, struct shared *s, raft_time until)
{
    (void)s;
    /* Set first, so that whoever makes us due from now on, we ourselves too, is seen before we wait. */
    r->asleep_until = until;
    pay_debts(r->node);
    if (r->asleep_until != 0)
        wait_until(r->node, &r->wake, until);
    r->asleep_until = 0;
}

void *role_run(void *arg)
{
    struct role *r = arg;
    struct node *n = r->node;
    struct shared *s = node_lock(n);

    for (;;) {
        raft_time due = r->ops->due(s, r->which);

        if (due > clock_now_ms()) {
            if (s->stopping)
                break; /* idle: the only place to leave, so work is finished */
            role_sleep(r, s, due);
            continue;
        }
        r->ops->take(s, clock_now_ms(), r->which, r->job);
        node_unlock(n, &s);
        r->ops->work(r->job);
        s = node_lock(n);
        r->ops->done(s, clock_now_ms(), r->which, r->job);
        pay_debts(n); /* now, and not after the next round: somebody waits for what we have done */
    }
    node_unlock(n, &s);
    return NULL;
}
