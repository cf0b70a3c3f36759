#include "server/transfer.h"

#include "base/check.h"
#include "base/logger.h"
#include "server/mutants.h"
#include "server/shared.h"
#include "store/dump_file.h"

#define WINDOW_MAX   (1u << 20)
#define WINDOW_FIRST (64u << 10)
#define WINDOW_MIN   (4u << 10)
#define AWAIT_FACTOR 50u /* so many times the patience, a file waits for a receiver that is silent: it may restart */
#define REST_FACTOR  2u  /* a chunk is followed by a rest of so many times what it took, and a millisecond */

/* ---- the leader's side ---- */

void transfer_look(struct shared *s, raft_time now, struct peer *p)
{
    struct raft_peer_status status;
    raft_index least = 0;
    bool needed = p->id != 0 && !p->guest && raft_peer_status(s->raft, now, p->id, &status) &&
                  (status.state == RAFT_NEEDS_SNAPSHOT || integrity_needs_map(s, p, &least));

    p->out.wanted = needed && status.active;
    if (!needed)
        p->out.begun = false;
    if (!p->out.wanted)
        p->out.known = false; /* it is asked how far it is when it is back */
    p->out.awaits_it =
        needed && !status.active && p->out.begun ? status.heard + AWAIT_FACTOR * s->transfer_patience : 0;
}

raft_index transfer_least(const struct shared *s)
{
    raft_index most = 0, least = 0;

    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].out.wanted && integrity_needs_map(s, &s->peers[i], &least) && least > most)
            most = least;
    return most;
}

static bool sends_current(const struct shared *s, const struct transfer_out *t)
{
    return t->begun && dump_id_equal(&t->id, &s->dump.id);
}

raft_time transfer_due(const struct shared *s, const struct peer *p)
{
    const struct transfer_out *t = &p->out;

    if (p->answer.owed || (t->open && !t->wanted))
        return 0;
    if (!t->wanted || !s->dump.ready)
        return RAFT_NEVER;
    if (!sends_current(s, t))
        return 0;
    if (t->known && t->sent < t->id.size && t->sent - t->acked < t->window && t->send_at < t->ask_at)
        return t->send_at;
    return t->ask_at;
}

static void begin(struct shared *s, struct transfer_out *t)
{
    t->begun = true;
    t->known = false;
    t->id = s->dump.id;
    t->acked = 0;
    t->sent = 0;
    t->window = WINDOW_FIRST;
    t->mark = 0;
    t->send_at = 0;
    t->ask_at = 0;
}

/* The core keeps what follows the map in its log, as long as we tell it of each chunk. */
static bool core_agrees(struct shared *s, raft_time now, const struct peer *p, const struct raft_status *status)
{
    struct raft_message m = {.type = RAFT_SNAPSHOT, .from = s->self, .to = p->id, .term = status->term};
    struct raft_peer_status peer;
    raft_index least = 0;

    /* One that doubts its map alone has the log: it needs nothing of ours. */
    if (integrity_needs_map(s, p, &least) && raft_peer_status(s->raft, now, p->id, &peer) &&
        peer.state != RAFT_NEEDS_SNAPSHOT)
        return s->dump.id.pos.index >= least;
    m.snapshot.pos = s->dump.id.pos;
    return raft_sending(s->raft, now, &m, 0);
}

/* What is under way delays the heartbeats and entries behind it. So no more is, than the link and the receiver's disk get done
 * in a quarter of our patience, which is half an election timeout. */
static void fit_window(const struct shared *s, struct transfer_out *t, raft_time took)
{
    raft_time goal = s->transfer_patience / 4;

    if (took > goal && t->window / 2 >= WINDOW_MIN)
        t->window /= 2;
    else if (took <= goal / 2 && t->window * 2 <= WINDOW_MAX)
        t->window *= 2;
}

static uint64_t chunk_size(const struct shared *s, const struct transfer_out *t)
{
    uint64_t size = t->id.size - t->sent;

    if (size > t->window / 2)
        size = t->window / 2;
    return size < s->transfer_chunk ? size : s->transfer_chunk;
}

bool transfer_next(struct shared *s, raft_time now, struct peer *p, struct chunk *c, size_t *size)
{
    struct transfer_out *t = &p->out;
    struct raft_status status;

    raft_status(s->raft, &status);
    if (!t->wanted || !s->dump.ready || transfer_due(s, p) > now)
        return false;
    if (!core_agrees(s, now, p, &status)) {
        t->wanted = false; /* until transfer_look; a dump too old for it is replaced */
        return false;
    }
    if (!sends_current(s, t))
        begin(s, t);
    if (t->ask_at <= now) {
        if (t->sent > t->acked)
            fit_window(s, t, s->transfer_patience);
        t->known = false;
        t->sent = t->acked;
        t->mark = 0;
        t->ask_at = now + s->transfer_patience;
    }
    *size = t->known ? (size_t)chunk_size(s, t) : 0;
    *c = (struct chunk){.from = s->self, .to = p->id, .term = status.term, .dump = t->id, .offset = t->sent};
    t->sent += *size;
    if (*size > 0 && t->mark == 0) {
        t->mark = t->sent;
        t->marked_at = now;
    }
    return true;
}

void transfer_sent(struct shared *s, raft_time now, raft_time took, struct peer *p, const struct chunk *c, size_t size,
                   int err)
{
    struct transfer_out *t = &p->out;

    (void)s;
    if (!t->begun || !dump_id_equal(&t->id, &c->dump))
        return;
    if (err != 0)
        t->known = false; /* it is asked when it can be reached again */
    else if (size > 0)
        t->send_at = now + 1 + REST_FACTOR * took;
}

int transfer_answered(struct shared *s, raft_time now, const struct hello *h, const struct chunk_taken *a)
{
    if (a->from != h->from || a->to != s->self)
        return ERR_MALFORMED;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct transfer_out *t = &s->peers[i].out;

        if (s->peers[i].id != a->from || !t->begun || !dump_id_equal(&t->id, &a->dump))
            continue;
        /* The first answer says where to begin; one that falls back, that it had to begin anew. */
        if (!t->known || a->offset < t->acked || a->offset > t->sent)
            t->sent = a->offset;
        if (!t->known || a->offset != t->acked)
            t->ask_at = now + s->transfer_patience;
        t->known = true;
        t->acked = a->offset;
        if (t->mark != 0 && t->acked >= t->mark) {
            fit_window(s, t, now - t->marked_at);
            t->mark = 0;
        }
    }
    return 0;
}

/* ---- the receiving side ---- */

void transfer_recall(struct shared *s, const char *path)
{
    struct raft_status status;
    uint64_t cluster = 0;
    struct raft_pos pos = {0, 0};
    int err = dump_file_peek(path, &cluster, &pos);

    if (err == ERR_NOT_FOUND)
        return;
    raft_status(s->raft, &status);
    if (err == 0 && cluster == s->cluster && pos.index > status.applied)
        s->incoming = (struct transfer_in){.state = TRANSFER_LEFT, .id.pos = pos};
    else
        (void)dump_file_remove(path); /* if it cannot be removed, the next one takes its place */
}

void transfer_recalled(struct shared *s, uint64_t good, int err)
{
    struct transfer_in *t = &s->incoming;

    t->writing = false;
    t->offered = false;
    t->state = TRANSFER_RECEIVING;
    t->have = err == 0 && good <= t->id.size ? good : 0;
    if (t->have == t->id.size)
        t->state = TRANSFER_COMPLETE;
    log_info("receiving the map goes on: index=%llu bytes=%llu of=%llu", (unsigned long long)t->id.pos.index,
             (unsigned long long)t->have, (unsigned long long)t->id.size);
}

/* The map as of one position is the same bytes wherever it is dumped. So what we have is the beginning of what is offered; if it
 * were not, its checksum would tell at the end, and it would be sent anew. */
static bool is_what_was_left(const struct transfer_in *t, const struct dump_id *id)
{
    return t->state == TRANSFER_LEFT && t->id.pos.index == id->pos.index && t->id.pos.term == id->pos.term;
}

static void owe_answer(struct shared *s, raft_id to, const struct dump_id *id, uint64_t offset)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == to)
            s->peers[i].answer = (struct transfer_answer){.owed = true, .id = *id, .offset = offset};
}

bool transfer_is_news(const struct shared *s, const struct raft_status *status)
{
    raft_index index = s->incoming.id.pos.index;

    return index > status->applied || (index == status->applied && integrity_stands_still(s));
}

int transfer_came(struct shared *s, raft_time now, const struct hello *h, const struct chunk *c)
{
    struct transfer_in *t = &s->incoming;

    if (c->from != h->from || c->to != s->self)
        return ERR_MALFORMED;
    if (directory_find(&s->directory, h->from) == NULL)
        shared_host_guest(s, h->from, h->peer);
    if (!raft_offered(s->raft, now, c->from, c->term, c->dump.pos) &&
        !integrity_wants_map(s, c->from, c->term, c->dump.pos))
        return 0; /* of an old leader, or what we have: the core's own answers say so */
    if (t->writing)
        return 0; /* it will ask again */
    if (t->state == TRANSFER_COMPLETE || t->state == TRANSFER_LOADING) {
        if (dump_id_equal(&t->id, &c->dump))
            owe_answer(s, c->from, &t->id, t->have);
        return 0;
    }
    if (is_what_was_left(t, &c->dump)) {
        t->id = c->dump;
        t->offered = true;
        return 0; /* it will ask again */
    }
    if (t->state == TRANSFER_IDLE || !dump_id_equal(&t->id, &c->dump)) {
        log_info("receiving the map: from=%llu index=%llu bytes=%llu", (unsigned long long)c->from,
                 (unsigned long long)c->dump.pos.index, (unsigned long long)c->dump.size);
        *t = (struct transfer_in){.state = TRANSFER_RECEIVING, .id = c->dump};
    }
    if (c->bytes.size == 0 || c->offset != t->have) {
        owe_answer(s, c->from, &t->id, t->have);
        return 0;
    }
    t->writing = true;
    return TRANSFER_WRITE;
}

int transfer_write(const char *path, const struct chunk *c)
{
    uint64_t end = c->offset + c->bytes.size;
    struct dump_file *f = dump_file_new(path);
    int err = c->offset == 0 ? dump_file_create(f) : 0;

    if (err == 0)
        err = dump_file_write(f, c->offset, c->bytes);
    if (err == 0 && end == c->dump.size)
        err = dump_file_sync(f);
    dump_file_free(f);
    return err;
}

void transfer_wrote(struct shared *s, const struct chunk *c, int err)
{
    struct transfer_in *t = &s->incoming;

    CHECK(t->writing);
    t->writing = false;
    switch (err) {
    case 0:
        t->have = c->offset + c->bytes.size;
        if (t->have == t->id.size || (BROKEN(HALF_MAP) && t->have >= t->id.size / 2))
            t->state = TRANSFER_COMPLETE;
        break;
    case ERR_NO_SPACE:
        log_warn("no space for the map that a leader sends: from=%llu", (unsigned long long)c->from);
        return; /* it asks again after a while, and then there may be */
    case ERR_NOT_FOUND:
        t->have = 0;
        break;
    default:
        shared_fail(s, err, "the map that a leader sends cannot be written to a file");
        return;
    }
    owe_answer(s, c->from, &t->id, t->have);
}
