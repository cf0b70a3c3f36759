#include "server/request.h"

#include "server/mutants.h"
#include "server/shared.h"

#define GATHER_MS 1

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

static void unlink_gathered(struct requests *q, struct request *r)
{
    if (r->previous != NULL)
        r->previous->next = r->next;
    else
        q->gathered = r->next;
    if (r->next != NULL)
        r->next->previous = r->previous;
    else
        q->gathered_end = r->previous;
    q->gathered_count--;
    q->gathered_bytes -= r->entry->size;
}

static void dequeue(struct shared *s, struct request *r)
{
    if (r->entry != NULL)
        unlink_gathered(&s->requests, r);
    else if (r->ticket != 0)
        unlink_read(&s->requests, r);
    else
        unlink_write(&s->requests, r);
    r->queued = false;
    s->requests.waiting--;
    entry_unref(r->entry);
    r->entry = NULL;
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

void request_gather(struct shared *s, raft_time now, struct request *r, struct entry *e)
{
    struct requests *q = &s->requests;

    r->look_at = q->gathered == NULL ? now + GATHER_MS : 0;
    if (q->gathered == NULL)
        q->gathered_at = now;
    r->state = REQUEST_WAITING;
    r->index = 0;
    r->ticket = 0;
    r->entry = e;
    r->next = NULL;
    r->previous = q->gathered_end;
    if (q->gathered_end != NULL)
        q->gathered_end->next = r;
    else
        q->gathered = r;
    q->gathered_end = r;
    q->gathered_count++;
    q->gathered_bytes += e->size;
    r->queued = true;
    q->waiting++;
}

/* Whether fewer have gathered than are on their way to a quorum, which may still gather more. */
static bool may_gather(const struct shared *s, const struct raft_status *status, raft_time now)
{
    return status->role == RAFT_LEADER && s->requests.gathered_count < status->last - status->commit &&
           now < s->requests.gathered_at + GATHER_MS;
}

static void propose(struct shared *s, raft_time now, struct request *r, raft_term term)
{
    struct entry *e = r->entry;
    raft_index index = shared_propose(s, now, e, NULL);

    if (index == 0) {
        finish(s, r, REQUEST_BUSY);
        return;
    }
    unlink_gathered(&s->requests, r);
    r->entry = NULL; /* the tail's now */
    s->requests.waiting--;
    request_begin_write(s, r, index, term);
}

static void propose_gathered(struct shared *s, raft_time now)
{
    struct raft_status status;

    if (s->requests.gathered == NULL)
        return;
    raft_status(s->raft, &status);
    if (may_gather(s, &status, now))
        return;
    while (s->requests.gathered != NULL) {
        if (status.role == RAFT_LEADER)
            propose(s, now, s->requests.gathered, status.term);
        else
            finish(s, s->requests.gathered, REQUEST_LOST);
    }
}

bool request_begin_read(struct shared *s, raft_time now, struct request *r)
{
    struct requests *q = &s->requests;
    bool readable = !integrity_stands_still(s) || BROKEN(DOUBT_READS);
    uint64_t ticket = readable ? raft_read(s->raft, now) : 0;

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
    if (!r->queued)
        return;
    if (r->entry != NULL)
        r->state = REQUEST_LOST; /* nobody has seen it */
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
    while (s->requests.gathered != NULL)
        finish(s, s->requests.gathered, REQUEST_LOST);
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
static void settle_reads(struct shared *s)
{
    struct request *r = NULL;

    confirm_reads(s);
    while ((r = first_confirmed(&s->requests)) != NULL && (r->index <= s->visible || BROKEN(READ_UNCOMMITTED)))
        finish(s, r, REQUEST_DONE);
    s->requests.read_needs = r != NULL ? r->index : 0;
}

void requests_settle(struct shared *s, raft_time now)
{
    propose_gathered(s, now);
    settle_reads(s);
}
