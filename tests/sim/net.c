/* net.c -- the network between the machines: connections that break, frames that are lost, late, double or out of order. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"
#include "wire/message.h"

#define HELD_MAX 8 /* so often a cut holds a frame back before it is lost */

bool net_open(const struct world *w, unsigned from, unsigned to)
{
    return !w->cut[from][to];
}

void net_heal(struct world *w)
{
    memset(w->cut, 0, sizeof w->cut);
    memset(w->clog, 0, sizeof w->clog);
    w->partition++;
}

static uint64_t frame_delay(struct world *w, unsigned from, unsigned to)
{
    uint64_t delay = sim_between(w, w->config.delay_min, w->config.delay_max);

    if (w->clog[from][to] != 0)
        delay += sim_below(w, w->clog[from][to]);
    if (sim_chance(w, w->config.straggle))
        delay += sim_below(w, 4 * 1000 * w->config.election_ms);
    return delay;
}

/* ---- connections ---- */

static struct conn *conn_new(struct world *w)
{
    struct conn *c = w->conn_free;

    if (c == NULL)
        c = xmalloc(sizeof *c);
    else
        w->conn_free = c->next;
    c->refs = 1;
    c->last_arrival = 0;
    c->closed = false;
    c->broken_at = SIM_NEVER;
    c->refused_at = SIM_NEVER;
    return c;
}

void conn_unref(struct world *w, struct conn *c)
{
    if (--c->refs > 0)
        return;
    c->next = w->conn_free;
    w->conn_free = c;
}

/* The sender hears of it when a packet finds its way back, or else by a deadline. */
static void conn_break(struct world *w, struct conn *c)
{
    bool open = net_open(w, c->from, c->to) && net_open(w, c->to, c->from);
    uint64_t at = w->now + (open ? w->config.delay_max : 2000000);

    c->closed = true;
    if (at < c->broken_at)
        c->broken_at = at;
}

static struct machine *machine_at(struct world *w, const struct address *to)
{
    for (unsigned i = 0; i < w->machine_count; i++)
        if (w->machines[i].port == to->port)
            return &w->machines[i];
    return NULL;
}

int net_connect(struct world *w, unsigned from, const struct address *to, const struct hello *h, int timeout_ms,
                struct conn **out, struct welcome *welcome, struct refusal *refusal)
{
    struct machine *m = machine_at(w, to);
    int err = 0;

    w->work_extra += frame_delay(w, from, from) + frame_delay(w, from, from);
    if (m == NULL || (!m->up && net_open(w, from, m->slot) && net_open(w, m->slot, from)))
        return ERR_UNREACHABLE;
    if (!m->up || m->paused || !net_open(w, from, m->slot) || !net_open(w, m->slot, from)) {
        w->work_extra += (uint64_t)timeout_ms * 1000;
        return ERR_TIMEOUT;
    }
    err = deliver_hello(&m->shared, h, welcome, refusal);
    machine_touched(m);
    if (err != 0)
        return err;
    *out = conn_new(w);
    (*out)->from = from;
    (*out)->to = m->slot;
    (*out)->to_life = m->life;
    (*out)->hello = *h;
    return 0;
}

/* ---- frames ---- */

static uint32_t packet_new(struct world *w)
{
    uint32_t number = w->packet_free;

    if (number != 0) {
        w->packet_free = w->packets[number - 1].next;
        return number - 1;
    }
    if (w->packet_count == w->packet_capacity) {
        w->packet_capacity = 2 * w->packet_capacity + 256;
        w->packets = xrealloc(w->packets, w->packet_capacity * sizeof *w->packets);
    }
    memset(&w->packets[w->packet_count], 0, sizeof *w->packets);
    return w->packet_count++;
}

void net_drop_packet(struct world *w, uint32_t packet)
{
    struct packet *p = &w->packets[packet];

    if (--p->refs > 0)
        return;
    conn_unref(w, p->conn);
    p->next = w->packet_free;
    w->packet_free = packet + 1;
}

static void packet_fill(struct packet *p, const struct iovec *parts, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (size > p->capacity) {
        p->capacity = 2 * size;
        p->data = xrealloc(p->data, p->capacity);
    }
    p->size = 0;
    for (int i = 0; i < count; i++) {
        memcpy(p->data + p->size, parts[i].iov_base, parts[i].iov_len);
        p->size += parts[i].iov_len;
    }
}

static void send_one(struct world *w, uint32_t packet)
{
    struct packet *p = &w->packets[packet];
    struct conn *c = p->conn;
    uint64_t at = w->now + frame_delay(w, c->from, c->to);

    if (w->config.stream && at < c->last_arrival)
        at = c->last_arrival;
    c->last_arrival = at;
    p->refs++;
    sim_push(w, at - w->now, EVENT_PACKET, c->to, c->to_life, packet);
}

void net_transmit(struct world *w, struct conn *c, enum frame_type type, const struct iovec *parts, int count)
{
    uint32_t packet = 0;

    /* What was clogged before the healing need not stay so. */
    if (c->closed || (w->healed && c->last_arrival > w->now + 100000)) {
        conn_break(w, c); /* answered by a reset, if a packet gets there and back */
        return;
    }
    if (sim_chance(w, w->config.loss) ||
        (type == FRAME_CHUNK && w->machines[c->to].loses_chunks && sim_chance(w, 700))) {
        trace(w, TRACE_LOST, &w->machines[c->from], c->to + 1, 0, 0, 0);
        if (w->config.stream)
            conn_break(w, c);
        return;
    }
    packet = packet_new(w);
    w->packets[packet].refs = 1;
    w->packets[packet].held = 0;
    w->packets[packet].conn = c;
    w->packets[packet].type = type;
    c->refs++;
    packet_fill(&w->packets[packet], parts, count);
    send_one(w, packet);
    if (!w->config.stream && sim_chance(w, w->config.duplicate))
        send_one(w, packet);
    net_drop_packet(w, packet);
}

/* TCP repeats what a cut swallows, so it may come long after; at some time it gives up. */
static bool hold_back(struct world *w, uint32_t packet, unsigned life)
{
    struct packet *p = &w->packets[packet];

    if (net_open(w, p->conn->from, p->conn->to))
        return false;
    if (p->held++ < HELD_MAX && sim_chance(w, 700)) {
        sim_push(w, sim_between(w, 1000, 1000 * w->config.election_ms), EVENT_PACKET, p->conn->to, life, packet);
        return true;
    }
    trace(w, TRACE_LOST, &w->machines[p->conn->from], p->conn->to + 1, 1, 0, 0);
    conn_break(w, p->conn);
    net_drop_packet(w, packet);
    return true;
}

static void deliver_one_message(struct world *w, struct machine *m, struct packet *p)
{
    struct refusal refusal;
    struct view data = view_of(p->data, p->size);
    struct conn *c = p->conn;
    int err = message_decode(data, w->incoming);

    if (err != 0) {
        sim_fail(w, "wire", "m%u sent m%u a frame that does not decode: %s", c->from + 1, c->to + 1, err_text(err));
        return;
    }
    trace(w, TRACE_PACKET, m, c->from + 1, w->incoming->message.type, w->incoming->message.term,
          w->incoming->message.type == RAFT_APPEND ? w->incoming->message.append.count : 0);
    err = deliver_message(&m->shared, machine_ms(m), &c->hello, w->incoming, &refusal);
    incoming_clear(w->incoming);
    if (err == ERR_REFUSED) {
        c->refusal = refusal;
        c->refused_at = w->now + frame_delay(w, c->to, c->from);
        c->closed = true;
    } else if (err != 0)
        conn_break(w, c);
}

static void undecodable(struct world *w, const struct conn *c, int err)
{
    sim_fail(w, "wire", "m%u sent m%u a frame that does not decode: %s", c->from + 1, c->to + 1, err_text(err));
}

/* As receiver.c does it. */
static void deliver_chunk(struct world *w, struct machine *m, struct packet *p)
{
    struct chunk chunk;
    int err = chunk_decode(view_of(p->data, p->size), &chunk);

    if (err != 0) {
        undecodable(w, p->conn, err);
        return;
    }
    trace(w, TRACE_CHUNK, m, p->conn->from + 1, chunk.dump.pos.index, chunk.offset, chunk.bytes.size);
    if (transfer_came(&m->shared, machine_ms(m), &p->conn->hello, &chunk) != TRANSFER_WRITE)
        return;
    transfer_wrote(&m->shared, &chunk, transfer_write(SIM_INCOMING, &chunk));
}

static void deliver_taken(struct world *w, struct machine *m, struct packet *p)
{
    struct chunk_taken taken;
    int err = chunk_taken_decode(view_of(p->data, p->size), &taken);

    if (err != 0) {
        undecodable(w, p->conn, err);
        return;
    }
    trace(w, TRACE_CHUNK_TAKEN, m, p->conn->from + 1, taken.dump.pos.index, taken.offset, 0);
    transfer_answered(&m->shared, machine_ms(m), &p->conn->hello, &taken);
}

static void deliver_report(struct world *w, struct machine *m, struct packet *p)
{
    struct hash_report report;
    int err = hash_report_decode(view_of(p->data, p->size), &report);

    if (err != 0) {
        undecodable(w, p->conn, err);
        return;
    }
    trace(w, TRACE_HASH, m, p->conn->from + 1, report.applied.index, report.applied.hash, report.doubted);
    integrity_reported(&m->shared, &p->conn->hello, &report);
}

static void deliver_verdict(struct world *w, struct machine *m, struct packet *p)
{
    struct hash_verdict verdict;
    int err = hash_verdict_decode(view_of(p->data, p->size), &verdict);

    if (err != 0) {
        undecodable(w, p->conn, err);
        return;
    }
    trace(w, TRACE_VERDICT, m, p->conn->from + 1, verdict.yours.index, verdict.yours.hash, verdict.ours);
    integrity_judged(&m->shared, &p->conn->hello, &verdict);
}

static void deliver(struct world *w, struct machine *m, struct packet *p)
{
    if (p->type == FRAME_CHUNK)
        deliver_chunk(w, m, p);
    else if (p->type == FRAME_CHUNK_TAKEN)
        deliver_taken(w, m, p);
    else if (p->type == FRAME_HASH)
        deliver_report(w, m, p);
    else if (p->type == FRAME_VERDICT)
        deliver_verdict(w, m, p);
    else
        deliver_one_message(w, m, p);
}

void net_arrive(struct world *w, uint32_t packet, unsigned life)
{
    struct conn *c = w->packets[packet].conn;
    struct machine *m = &w->machines[c->to];

    if (c->closed || !m->up || m->life != life) {
        conn_break(w, c);
        net_drop_packet(w, packet);
        return;
    }
    if (hold_back(w, packet, life))
        return;
    w->current = m;
    deliver(w, m, &w->packets[packet]);
    net_drop_packet(w, packet);
    machine_touched(m);
}
