#include "server/request.h"

#include "server/mutants.h"
#include "server/shared.h"

static void unlink_write(struct requests *q, struct request *r)
{
    if (r->previous != NULL)
        r->previous->next = r->next;
    else
        q->writes[r->index % REQUEST_BUCKETS] = r->next;
    if (r->next != NULL)
        r->next->previous = r->previous;
}

static void unlink_read(struct requests *q, struct request *r)
{
    if (q->unsafe == r)
        q->unsafe = r->next;
    if (r->previous != NULL)
        r->previous->next = r->next;
    else
        q->reads = r->next;
    if (r->next != NULL)
        r->next->previous = r->previous;
    else
        q->reads_end = r->previous;
}

static void dequeue(struct shared *s, struct request *r)
{
    if (r->ticket != 0)
        unlink_read(&s->requests, r);
    else
        unlink_write(&s->requests, r);
    r->queued = false;
    s->requests.waiting--;
}

static void finish(struct shared *s, struct request *r, enum request_state state)
{
    struct requests *q = &s->requests;

    dequeue(s, r);
    r->state = state;
    if (r->wake == NULL)
        return;
    r->next = NULL;
    if (q->finished_end != NULL)
        q->finished_end->next = r;
    else
        q->finished = r;
    q->finished_end = r;
}

void request_begin_write(struct shared *s, struct request *r, raft_index index, raft_term term)
{
    struct request **bucket = &s->requests.writes[index % REQUEST_BUCKETS];

    r->state = REQUEST_WAITING;
    r->index = index;
    r->term = term;
    r->ticket = 0;
    r->previous = NULL;
    r->next = *bucket;
    if (r->next != NULL)
        r->next->previous = r;
    *bucket = r;
    r->queued = true;
    s->requests.waiting++;
}

bool request_begin_read(struct shared *s, raft_time now, struct request *r)
{
    struct requests *q = &s->requests;
    uint64_t ticket = raft_read(s->raft, now);

    if (ticket == 0)
        return false;
    s->counters.reads++;
    r->state = REQUEST_WAITING;
    r->index = 0;
    r->ticket = ticket;
    r->next = NULL;
    r->previous = q->reads_end;
    if (q->reads_end != NULL)
        q->reads_end->next = r;
    else
        q->reads = r;
    q->reads_end = r;
    if (q->unsafe == NULL)
        q->unsafe = r;
    r->queued = true;
    q->waiting++;
    return true;
}

void request_abandon(struct shared *s, struct request *r)
{
    if (r->queued)
        dequeue(s, r);
}

void requests_applied(struct shared *s, raft_index index, raft_term term, const struct command_result *result)
{
    struct request *next = NULL;

    for (struct request *r = s->requests.writes[index % REQUEST_BUCKETS]; r != NULL; r = next) {
        next = r->next;
        if (r->index != index)
            continue;
        if (r->term != term && !BROKEN(ANSWER_ANY_TERM)) {
            s->counters.proposals_lost++;
            finish(s, r, REQUEST_LOST);
            continue;
        }
        if (result != NULL)
            r->result = *result;
        finish(s, r, REQUEST_DONE);
    }
}

void requests_superseded(struct shared *s, raft_index index)
{
    struct request *next = NULL;

    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        for (struct request *r = s->requests.writes[i]; r != NULL; r = next) {
            next = r->next;
            if (r->index <= index)
                finish(s, r, REQUEST_UNKNOWN);
        }
}

void requests_give_up(struct shared *s)
{
    while (s->requests.reads != NULL)
        finish(s, s->requests.reads, REQUEST_UNKNOWN);
    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        while (s->requests.writes[i] != NULL)
            finish(s, s->requests.writes[i], REQUEST_UNKNOWN);
}

/* Notes at which index a read may be served as soon as that is known: the core names ever later ones for the same ticket, and
 * who followed them would never catch up with a leader that writes all the time. */
static void confirm_reads(struct shared *s)
{
    while (s->requests.unsafe != NULL) {
        struct request *r = s->requests.unsafe;

        switch (raft_read_poll(s->raft, r->ticket, &r->index)) {
        case RAFT_READ_WAIT:
            return;
        case RAFT_READ_LOST:
            finish(s, r, REQUEST_LOST);
            break;
        case RAFT_READ_READY:
            s->requests.unsafe = r->next;
            break;
        }
    }
}

/* The first read that only waits for the map; NULL: none does. */
static struct request *first_confirmed(const struct requests *q)
{
    return q->reads != q->unsafe ? q->reads : NULL;
}

/* Tickets and the indexes that they yield only ever rise, so the first read that must wait holds up nobody unduly. */
void requests_settle_reads(struct shared *s)
{
    struct request *r = NULL;

    confirm_reads(s);
    while ((r = first_confirmed(&s->requests)) != NULL && (r->index <= s->visible || BROKEN(READ_UNCOMMITTED)))
        finish(s, r, REQUEST_DONE);
    s->requests.read_needs = r != NULL ? r->index : 0;
}
