/* sender.c -- the role that sends one other member what the core has for it. There is one for each slot.
 *
 * One `work` is one I/O: a frame sent (connecting first where needed), or, for entries that left memory, a read from the
 * log; the entries then go out in the next round, after the lock was taken again and the core has confirmed that they are
 * still wanted. While we lead a term our log only grows, so bytes read without the lock are right if we still lead. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/logger.h"
#include "net/link.h"
#include "server/deliver.h"
#include "server/role.h"
#include "server/shared.h"
#include "store/dump_file.h"
#include "wire/message.h"

#define SEND_BYTES_MAX (256u << 10)
#define SEND_BYTES_PER_MS                                                                                              \
    1024u /* slower than that is given up: a large entry may take longer than an election timeout */
/* These entries will soon be committed, which is to be told a little later unless others go out before. A sender that looks by
 * itself then need not be woken for each commit to be told to sleep less long. */
#define LOOK_MS  2
#define GREET_MS 500 /* how often a member that moved makes sure that the others have heard of it */

enum sender_step {
    SENDER_CLOSE,
    SENDER_LOAD,
    SENDER_SEND,
    SENDER_DROP,
    SENDER_GREET,
    SENDER_CHUNK,  /* of the map, when no message is due */
    SENDER_ANSWER, /* to a chunk */
    SENDER_FORGET, /* the map's file: the peer has it */
    SENDER_HASH,   /* of our map */
    SENDER_VERDICT /* on the peer's */
};

struct sender_job {
    struct log_store *log;
    struct link *link;
    int timeout_ms;
    enum sender_step step;
    struct address address;
    struct hello hello;
    struct refusal refusal;
    struct raft_message message;
    struct bytes head; /* the message's fixed part, encoded */
    struct entry *entries[RAFT_APPEND_MAX];
    raft_index first;   /* of entries[0] */
    raft_index load_to; /* the last that the log on disk may be asked for */
    raft_term term;     /* in which they were asked for */
    unsigned count;
    struct dump_file *dump;
    struct dump_id dump_open; /* what it is */
    struct chunk chunk;
    uint8_t *piece; /* its bytes, CHUNK_BYTES_MAX at most */
    size_t piece_size;
    struct chunk_taken answer;
    struct hash_report report;
    struct hash_verdict verdict;
    raft_time began;
    int dump_err; /* of the file, which is no fault of the peer's */
    int err;
};

static void *sender_job_new(const struct role_context *c, unsigned which)
{
    struct sender_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->log = c->log;
    j->link = link_new();
    j->timeout_ms = (int)c->election_ms;
    j->dump = dump_file_new(c->dump_path);
    bytes_init(&j->head, 4096);
    return j;
}

static void sender_drop_entries(struct sender_job *j)
{
    for (unsigned i = 0; i < j->count; i++)
        entry_unref(j->entries[i]);
    j->count = 0;
}

static void sender_job_free(void *job)
{
    struct sender_job *j = job;

    sender_drop_entries(j);
    link_free(j->link);
    bytes_clear(&j->head);
    dump_file_free(j->dump);
    free(j->piece);
    free(j);
}

static void sender_interrupt(void *job)
{
    const struct sender_job *j = job;

    link_interrupt(j->link);
}

/* Whether it is one of those who must hear where we live now. */
static bool is_greeted(const struct peer *p)
{
    return !p->guest || p->leads;
}

static raft_time sender_due(const struct shared *s, unsigned which)
{
    const struct peer *p = &s->peers[which];
    raft_time due = RAFT_NEVER;

    if (p->stale_link)
        return 0;
    if (p->id == 0 || s->stopping || s->phase == PHASE_JOINING || s->failure != 0)
        return RAFT_NEVER;
    if (p->loaded)
        return 0;
    due = raft_send_due(s->raft, p->id);
    if (p->look_at != 0 && p->look_at < due)
        due = p->look_at;
    if (due > 0 && transfer_due(s, p) < due)
        due = transfer_due(s, p);
    if (due > 0 && integrity_due(s, p) < due)
        due = integrity_due(s, p);
    return p->greet_at < due && is_greeted(p) && shared_must_greet(s) ? p->greet_at : due;
}

static void sender_address(struct shared *s, const struct peer *p, struct sender_job *j)
{
    CHECK(address_parse(p->address, &j->address) == 0);
    deliver_our_hello(s, p->id, &j->hello);
}

/* Behind what is durable the disk may have what our log had there before: without room, entries that were replaced stay until
 * those that replace them, which are in the tail, can be written. */
static void note_end_of_load(const struct shared *s, struct sender_job *j)
{
    const struct raft_message *m = &j->message;
    struct raft_status status;

    raft_status(s->raft, &status);
    j->load_to = m->append.prev.index + m->append.count;
    if (j->load_to > status.durable)
        j->load_to = status.durable;
    CHECK(j->load_to > m->append.prev.index);
}

/* The entries of an append: from the tail, from what the last round loaded, or not at hand (then they must be loaded). What
 * was loaded for an earlier term may have been replaced meanwhile, though we lead again. */
static bool sender_gather(struct shared *s, struct sender_job *j, uint64_t *bytes)
{
    struct raft_message *m = &j->message;
    raft_index first = m->append.prev.index + 1;

    *bytes = 0;
    if (j->count > 0 && (m->type != RAFT_APPEND || m->append.count == 0 || j->first != first || j->term != m->term))
        sender_drop_entries(j);
    if (m->type != RAFT_APPEND || m->append.count == 0)
        return true;
    if (j->count == 0) {
        j->first = first;
        j->term = m->term;
        j->count = tail_borrow(&s->tail, first, m->append.count, SEND_BYTES_MAX, j->entries, bytes);
    }
    if (j->count == 0) {
        note_end_of_load(s, j);
        return false;
    }
    *bytes = 0;
    if (j->count < m->append.count)
        m->append.count = j->count;
    for (unsigned i = 0; i < m->append.count; i++)
        *bytes += j->entries[i]->size;
    return true;
}

/* What there is to do for a map on its way, now that no message is due. */
static bool sender_take_transfer(struct shared *s, raft_time now, struct peer *p, struct sender_job *j)
{
    j->began = now;
    if (p->answer.owed) {
        p->answer.owed = false; /* if it gets lost, we are asked again */
        j->answer =
            (struct chunk_taken){.from = s->self, .to = p->id, .dump = p->answer.id, .offset = p->answer.offset};
        j->step = SENDER_ANSWER;
    } else if (p->out.open && !p->out.wanted) {
        p->out.open = false;
        j->step = SENDER_FORGET;
        return true;
    } else if (transfer_next(s, now, p, &j->chunk, &j->piece_size)) {
        p->out.open = true;
        j->step = SENDER_CHUNK;
    } else {
        return false;
    }
    sender_address(s, p, j);
    return true;
}

/* Seldom, and short: entries may wait for it. */
static bool sender_take_hash(struct shared *s, raft_time now, struct peer *p, struct sender_job *j)
{
    switch (integrity_next(s, now, p, &j->report, &j->verdict)) {
    case INTEGRITY_NOTHING:
        return false;
    case INTEGRITY_REPORT:
        j->step = SENDER_HASH;
        break;
    case INTEGRITY_VERDICT:
        j->step = SENDER_VERDICT;
        break;
    }
    sender_address(s, p, j);
    return true;
}

static void sender_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct peer *p = &s->peers[which];
    struct sender_job *j = job;
    uint64_t bytes = 0;

    if (p->stale_link) {
        p->stale_link = false;
        p->loaded = false;
        j->step = SENDER_CLOSE;
        return;
    }
    /* The leader need not be one whom we have to say anything else: it may lead by a configuration that we lack. */
    if (p->greet_at <= now && is_greeted(p) && !p->loaded && shared_must_greet(s)) {
        p->greet_at = now + GREET_MS;
        j->step = SENDER_GREET;
        sender_address(s, p, j);
        return;
    }
    p->look_at = 0;
    if (!p->loaded && integrity_due(s, p) <= now && sender_take_hash(s, now, p, j))
        return;
    transfer_look(s, now, p);
    if (!p->loaded && raft_send_due(s->raft, p->id) > now && sender_take_transfer(s, now, p, j))
        return;
    raft_next_message(s->raft, now, p->id, &j->message);
    if (!sender_gather(s, j, &bytes)) {
        j->step = SENDER_LOAD;
        return;
    }
    p->loaded = false;
    if (!raft_sending(s->raft, now, &j->message, (uint32_t)bytes)) {
        j->step = SENDER_DROP;
        return;
    }
    j->step = SENDER_SEND;
    if (j->message.type == RAFT_APPEND && j->message.append.count > 0)
        p->look_at = now + LOOK_MS;
    sender_address(s, p, j);
}

static void sender_load(struct sender_job *j)
{
    const struct raft_message *m = &j->message;

    j->err = log_store_read(j->log, m->append.prev.index + 1, j->load_to, SEND_BYTES_MAX, RAFT_APPEND_MAX, j->entries,
                            &j->count);
}

static int sender_transmit_message(struct sender_job *j)
{
    struct iovec parts[LINK_PARTS_MAX];
    size_t bytes = 0;
    int count = 0;

    bytes_reset(&j->head);
    message_encode(&j->message, &j->head);
    parts[count++] = (struct iovec){j->head.data, j->head.size};
    if (j->message.type == RAFT_APPEND)
        for (unsigned i = 0; i < j->message.append.count; i++) {
            parts[count++] = (struct iovec){j->entries[i]->bytes, j->entries[i]->size};
            bytes += j->entries[i]->size;
        }
    return link_send(j->link, FRAME_MESSAGE, parts, count, j->timeout_ms + (int)(bytes / SEND_BYTES_PER_MS),
                     &j->refusal);
}

static int sender_transmit_chunk(struct sender_job *j)
{
    struct iovec parts[2];

    bytes_reset(&j->head);
    chunk_encode(&j->chunk, &j->head);
    parts[0] = (struct iovec){j->head.data, j->head.size};
    parts[1] = (struct iovec){j->piece, j->piece_size};
    return link_send(j->link, FRAME_CHUNK, parts, j->piece_size > 0 ? 2 : 1,
                     j->timeout_ms + (int)(j->piece_size / SEND_BYTES_PER_MS), &j->refusal);
}

static int sender_transmit_answer(struct sender_job *j)
{
    struct iovec part;

    bytes_reset(&j->head);
    chunk_taken_encode(&j->answer, &j->head);
    part = (struct iovec){j->head.data, j->head.size};
    return link_send(j->link, FRAME_CHUNK_TAKEN, &part, 1, j->timeout_ms, &j->refusal);
}

/* One that does not know such frames would take us for broken. */
static int sender_transmit_hash(struct sender_job *j)
{
    bool report = j->step == SENDER_HASH;
    struct iovec part;

    if (link_welcomed(j->link)->version < PROTOCOL_VERSION_HASHES)
        return 0;
    bytes_reset(&j->head);
    if (report)
        hash_report_encode(&j->report, &j->head);
    else
        hash_verdict_encode(&j->verdict, &j->head);
    part = (struct iovec){j->head.data, j->head.size};
    return link_send(j->link, report ? FRAME_HASH : FRAME_VERDICT, &part, 1, j->timeout_ms, &j->refusal);
}

static int sender_transmit(struct sender_job *j)
{
    if (j->step == SENDER_HASH || j->step == SENDER_VERDICT)
        return sender_transmit_hash(j);
    if (j->step == SENDER_CHUNK)
        return sender_transmit_chunk(j);
    return j->step == SENDER_ANSWER ? sender_transmit_answer(j) : sender_transmit_message(j);
}

/* The chunk's bytes, out of the file that it is of: another may lie there by now (ERR_NOT_FOUND). */
static int sender_read_chunk(struct sender_job *j)
{
    int err = 0;

    if (!dump_file_is_open(j->dump) || !dump_id_equal(&j->dump_open, &j->chunk.dump)) {
        err = dump_file_open(j->dump, &j->dump_open);
        if (err == 0 && !dump_id_equal(&j->dump_open, &j->chunk.dump))
            err = ERR_NOT_FOUND;
    }
    if (err != 0 || j->piece_size == 0)
        return err;
    if (j->piece == NULL)
        j->piece = xmalloc(CHUNK_BYTES_MAX);
    return dump_file_read(j->dump, j->chunk.offset, j->piece, j->piece_size);
}

/* The other side closes a link that was idle for long, and so does its restart: then a new one, at once. That the message
 * may arrive twice is nothing new to the core. */
static void sender_send(struct sender_job *j)
{
    j->err = link_is_open(j->link) ? sender_transmit(j) : ERR_CLOSED;
    if (j->err != ERR_CLOSED)
        return;
    j->err = link_open(j->link, &j->address, &j->hello, j->timeout_ms, &j->refusal);
    if (j->err == 0)
        j->err = sender_transmit(j);
}

static void sender_send_chunk(struct sender_job *j)
{
    j->dump_err = sender_read_chunk(j);
    if (j->dump_err == 0)
        sender_send(j);
}

static void sender_forget(struct sender_job *j)
{
    dump_file_close(j->dump);
    free(j->piece);
    j->piece = NULL;
}

/* On a new link, for only its beginning has our address. */
static void sender_greet(struct sender_job *j)
{
    link_close(j->link);
    j->err = link_open(j->link, &j->address, &j->hello, j->timeout_ms, &j->refusal);
}

static void sender_work(void *job)
{
    struct sender_job *j = job;

    j->err = 0;
    j->dump_err = 0;
    switch (j->step) {
    case SENDER_CLOSE:
        sender_drop_entries(j);
        link_close(j->link);
        break;
    case SENDER_LOAD:
        sender_load(j);
        break;
    case SENDER_SEND:
        sender_send(j);
        break;
    case SENDER_DROP:
        break;
    case SENDER_GREET:
        sender_greet(j);
        break;
    case SENDER_CHUNK:
        sender_send_chunk(j);
        break;
    case SENDER_ANSWER:
        sender_send(j);
        break;
    case SENDER_FORGET:
        sender_forget(j);
        break;
    case SENDER_HASH:
    case SENDER_VERDICT:
        sender_send(j);
        break;
    }
}

static void sender_refused(struct shared *s, raft_time now, struct peer *p, raft_id to, const struct refusal *r)
{
    if (p->refused != r->reason)
        p->refused_since = now;
    deliver_refusal(s, to, r, p->refused, now - p->refused_since);
    p->refused = r->reason;
}

static void sender_sent(struct shared *s, raft_time now, struct peer *p, raft_id to, const struct sender_job *j)
{
    if (j->err == 0) {
        s->counters.messages_sent++;
        if (!p->connected)
            log_info("peer reached: peer=%llu address=%s", (unsigned long long)to, p->address);
        p->connected = true;
        p->refused = 0;
        return;
    }
    if (j->err == ERR_REFUSED)
        sender_refused(s, now, p, to, &j->refusal);
    else if (p->connected)
        log_warn("peer lost: peer=%llu address=%s error=\"%s\"", (unsigned long long)to, p->address, err_text(j->err));
    p->connected = false;
    raft_unreachable(s->raft, now, to);
}

/* A file that is not what it was said to be is made anew (snapshotter.c). */
static void sender_sent_chunk(struct shared *s, raft_time now, struct peer *p, struct sender_job *j)
{
    transfer_sent(s, now, now - j->began, p, &j->chunk, j->piece_size, j->dump_err != 0 ? j->dump_err : j->err);
    if (j->dump_err == 0) {
        sender_sent(s, now, p, j->chunk.to, j);
        return;
    }
    if (s->dump.ready && dump_id_equal(&s->dump.id, &j->chunk.dump)) {
        log_warn("the map's file cannot be read, another one will be written: error=\"%s\"", err_text(j->dump_err));
        s->dump.ready = false;
    }
}

static void sender_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct peer *p = &s->peers[which];
    struct sender_job *j = job;

    switch (j->step) {
    case SENDER_CLOSE:
        p->connected = false; /* and what the one who was here before said is no news of the new one */
        p->refused = 0;
        break;
    case SENDER_LOAD:
        if (j->err == 0)
            p->loaded = true;
        else if (j->err == ERR_NOT_FOUND)
            raft_unreachable(s->raft, now, j->message.to); /* truncated or deleted meanwhile: ask the core again */
        else
            shared_fail(s, j->err, "the log cannot be read");
        break;
    case SENDER_SEND:
        sender_drop_entries(j);
        sender_sent(s, now, p, j->message.to, j);
        break;
    case SENDER_DROP:
        sender_drop_entries(j);
        break;
    case SENDER_GREET:
        p->connected = j->err == 0;
        if (j->err == 0)
            shared_note_leader(s, link_welcomed(j->link)->leader, link_welcomed(j->link)->leader_peer);
        if (j->err == ERR_REFUSED)
            sender_refused(s, now, p, j->hello.to, &j->refusal);
        else
            p->refused = 0;
        break;
    case SENDER_CHUNK:
        sender_sent_chunk(s, now, p, j);
        break;
    case SENDER_ANSWER:
        sender_sent(s, now, p, j->answer.to, j);
        break;
    case SENDER_FORGET:
        break;
    case SENDER_HASH:
        sender_sent(s, now, p, j->report.to, j);
        break;
    case SENDER_VERDICT:
        sender_sent(s, now, p, j->verdict.to, j);
        break;
    }
}

const struct role_ops sender_ops = {
    .name = "sender",
    .job_new = sender_job_new,
    .job_free = sender_job_free,
    .due = sender_due,
    .take = sender_take,
    .work = sender_work,
    .done = sender_done,
    .interrupt = sender_interrupt,
};
