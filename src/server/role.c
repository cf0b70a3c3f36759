/* role.c -- the loop of every role, and the waking of whoever became due. The only file that makes a role wait. */
#include <errno.h>

#include "base/clock.h"
#include "server/event.h"
#include "server/node.h"

#define EVENTS_AT_ONCE 16u

static void wake_whoever_is_due(struct node *n)
{
    for (unsigned i = 0; i < n->role_count; i++) {
        struct role *r = &n->roles[i];

        if (r->asleep_until == 0) /* at work: its job is not ours to look at */
            continue;
        if (n->shared.stopping || r->ops->due(&n->shared, r->which) < r->asleep_until) {
            r->asleep_until = 0;
            pthread_cond_signal(&r->wake);
        }
    }
}

static void tell_main(struct node *n)
{
    const struct shared *s = &n->shared;

    if (n->main_told || (s->failure == 0 && !s->removed && n->invitation[0] == '\0'))
        return;
    n->main_told = true;
    pthread_kill(n->main_thread, NODE_SIGNAL);
}

/* What is owed to others before the lock is released. */
static void settle(struct node *n)
{
#ifdef RAFTD_INVARIANTS
    raft_check(n->shared.raft);
#endif
    requests_settle_reads(&n->shared);
    wake_whoever_is_due(n);
    tell_main(n);
}

static unsigned collect_events(struct node *n, struct raft_event *events)
{
    unsigned count = 0;

    while (count < EVENTS_AT_ONCE && raft_next_event(n->shared.raft, &events[count])) {
        n->shared.counters.elections += events[count].type == RAFT_EVENT_CANDIDATE;
        n->shared.counters.leader_changes += events[count].type == RAFT_EVENT_FOLLOWER && events[count].peer != 0;
        n->shared.counters.leader_changes += events[count].type == RAFT_EVENT_LEADER;
        count++;
    }
    return count;
}

static void log_events(const struct raft_event *events, unsigned count)
{
    char line[200];

    for (unsigned i = 0; i < count; i++) {
        enum log_level level = event_format(&events[i], line, sizeof line);

        log_at(level, "%s", line);
    }
}

struct shared *node_lock(struct node *n)
{
    pthread_mutex_lock(&n->mutex);
    return &n->shared;
}

void node_unlock(struct node *n, struct shared **s)
{
    struct raft_event events[EVENTS_AT_ONCE];
    unsigned count = 0;

    *s = NULL;
    settle(n);
    count = collect_events(n, events);
    pthread_mutex_unlock(&n->mutex);
    log_events(events, count);
}

static void wait_until(struct node *n, pthread_cond_t *wake, raft_time until)
{
    struct timespec at = {.tv_sec = (time_t)(until / 1000), .tv_nsec = (long)(until % 1000) * 1000000};

    if (until == RAFT_NEVER)
        pthread_cond_wait(wake, &n->mutex);
    else
        pthread_cond_timedwait(wake, &n->mutex, &at);
}

void node_await(struct node *n, struct shared *s, struct request *r, raft_time until)
{
    (void)s;
    while (r->state == REQUEST_WAITING && n->shared.failure == 0 && clock_now_ms() < until) {
        settle(n); /* may finish r itself, so look again before waiting */
        if (r->state == REQUEST_WAITING)
            wait_until(n, r->wake, until);
    }
}

void node_pause(struct node *n, struct shared *s, raft_time until)
{
    pthread_cond_t never;

    (void)s;
    cond_init(&never);
    settle(n);
    wait_until(n, &never, until);
    pthread_cond_destroy(&never);
}

static void role_sleep(struct role *r, struct shared *s, raft_time until)
{
    (void)s;
    /* Set first, so that what settles now may find us due. */
    r->asleep_until = until;
    settle(r->node);
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
    }
    node_unlock(n, &s);
    return NULL;
}
