/* receiver.c -- the threads that listen to other members: accept, greet, read, decode, deliver. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/logger.h"
#include "net/link.h"
#include "net/socket.h"
#include "server/deliver.h"
#include "server/node.h"
#include "server/peer_http.h"

#define ACCEPT_MS             500 /* how often an idle receiver looks whether we stop */
#define IDLE_MS               60000 /* a link that says nothing for so long is closed; its sender opens it again when it must */
#define STRANGER_IDLE_MS      5000 /* the same for one that our configuration does not name: it holds a thread, too */
#define OUT_OF_DESCRIPTORS_MS 50

/* A member that connects again has lost its old connection, even if we have not noticed: whoever serves that ends. */
static void interrupt_older(struct receiver *r, raft_id peer)
{
    for (unsigned i = 0; i < r->node->receiver_count; i++) {
        struct receiver *other = &r->node->receivers[i];

        if (other != r && other->peer == peer && other->link != NULL)
            link_interrupt(other->link);
    }
}

/* Whether a link on which that member speaks at this moment comes from another address than the hello does. A process that
 * ended closes its link, or falls silent; so there are two of them, of which one runs in a copy of the other's DATADIR. */
static bool has_twin(struct receiver *r, const struct shared *s, const struct hello *hello, struct refusal *refusal)
{
    raft_time now = clock_now_ms();

    for (unsigned i = 0; i < r->node->receiver_count; i++) {
        struct receiver *other = &r->node->receivers[i];

        if (other == r || other->peer != hello->from || hello->peer[0] == '\0' || hello->cluster != s->cluster ||
            strcmp(other->address, hello->peer) == 0 ||
            atomic_load(&other->heard_at) + r->node->options.election_ms < now)
            continue;
        if (!other->twin_told)
            log_error("two processes run as one member, a copied DATADIR perhaps, and the second is refused: member=%s "
                      "first=%s second=%s",
                      hello->name, other->address, hello->peer);
        other->twin_told = true;
        memset(refusal, 0, sizeof *refusal);
        refusal->reason = REFUSAL_TWIN;
        snprintf(refusal->text, sizeof refusal->text, "member %s speaks from %.100s at this moment", hello->name,
                 other->address);
        return true;
    }
    return false;
}

/* 0 and how long its link may be idle, or ERR_REFUSED after the refusal was sent. */
static int greet(struct receiver *r, const struct hello *hello, int timeout_ms, int *idle_ms)
{
    struct shared *s = node_lock(r->node);
    struct welcome welcome;
    struct refusal refusal;
    int err = has_twin(r, s, hello, &refusal) ? ERR_REFUSED : deliver_hello(s, hello, &welcome, &refusal);

    if (err == 0) {
        interrupt_older(r, hello->from);
        r->peer = hello->from;
        r->twin_told = false;
        atomic_store(&r->heard_at, 0);
        memcpy(r->address, hello->peer, sizeof r->address);
        *idle_ms = directory_find(&s->directory, hello->from) != NULL ? IDLE_MS : STRANGER_IDLE_MS;
    }
    node_unlock(r->node, &s);
    if (err == 0)
        return link_welcome(r->link, &welcome, timeout_ms);
    log_debug("peer refused: peer=%llu name=%s address=%s reason=\"%s\"", (unsigned long long)hello->from, hello->name,
              hello->peer, refusal.text);
    link_refuse(r->link, &refusal, timeout_ms);
    return err;
}

static int receive_message(struct receiver *r, const struct hello *hello, struct view payload, struct incoming *in,
                           int timeout_ms)
{
    struct refusal refusal;
    struct shared *s = NULL;
    int err = message_decode(payload, in);

    if (err != 0)
        return err;
    s = node_lock(r->node);
    err = deliver_message(s, clock_now_ms(), hello, in, &refusal);
    node_unlock(r->node, &s);
    incoming_clear(in);
    if (err == ERR_REFUSED)
        link_refuse(r->link, &refusal, timeout_ms);
    return err;
}

static int receive_chunk(struct receiver *r, const struct hello *hello, struct view payload)
{
    struct shared *s = NULL;
    struct chunk chunk;
    int err = chunk_decode(payload, &chunk);

    if (err != 0)
        return err;
    s = node_lock(r->node);
    err = transfer_came(s, clock_now_ms(), hello, &chunk);
    node_unlock(r->node, &s);
    if (err != TRANSFER_WRITE)
        return err;
    err = transfer_write(datadir_incoming_path(r->node->options.datadir), &chunk);
    s = node_lock(r->node);
    transfer_wrote(s, &chunk, err);
    node_unlock(r->node, &s);
    return 0;
}

static int receive_answer(struct receiver *r, const struct hello *hello, struct view payload)
{
    struct shared *s = NULL;
    struct chunk_taken answer;
    int err = chunk_taken_decode(payload, &answer);

    if (err != 0)
        return err;
    s = node_lock(r->node);
    err = transfer_answered(s, clock_now_ms(), hello, &answer);
    node_unlock(r->node, &s);
    return err;
}

static int receive_hash(struct receiver *r, const struct hello *hello, enum frame_type type, struct view payload)
{
    struct shared *s = NULL;
    struct hash_report report;
    struct hash_verdict verdict;
    int err = type == FRAME_HASH ? hash_report_decode(payload, &report) : hash_verdict_decode(payload, &verdict);

    if (err != 0)
        return err;
    s = node_lock(r->node);
    err = type == FRAME_HASH ? integrity_reported(s, hello, &report) : integrity_judged(s, hello, &verdict);
    node_unlock(r->node, &s);
    return err;
}

static int receive_one(struct receiver *r, const struct hello *hello, struct incoming *in, int timeout_ms, int idle_ms)
{
    enum frame_type type = FRAME_MESSAGE;
    struct view payload = {NULL, 0};
    int err = link_receive(r->link, idle_ms, &type, &payload);

    if (err != 0)
        return err;
    atomic_store(&r->heard_at, clock_now_ms());
    switch (type) {
    case FRAME_MESSAGE:
        return receive_message(r, hello, payload, in, timeout_ms);
    case FRAME_CHUNK:
        return receive_chunk(r, hello, payload);
    case FRAME_CHUNK_TAKEN:
        return receive_answer(r, hello, payload);
    case FRAME_HASH:
    case FRAME_VERDICT:
        return receive_hash(r, hello, type, payload);
    case FRAME_HELLO:
    case FRAME_WELCOME:
    case FRAME_REFUSED:
        break;
    }
    return ERR_MALFORMED;
}

/* Whether somebody else serves a newer connection of this member. */
static bool has_come_back(const struct receiver *r, raft_id peer)
{
    for (unsigned i = 0; i < r->node->receiver_count; i++)
        if (&r->node->receivers[i] != r && r->node->receivers[i].peer == peer)
            return true;
    return false;
}

/* Its side closed the connection: most likely its process has ended. */
static void tell_of_loss(struct receiver *r, raft_id peer)
{
    struct shared *s = node_lock(r->node);

    if (!s->stopping && !has_come_back(r, peer))
        raft_link_lost(s->raft, clock_now_ms(), peer);
    node_unlock(r->node, &s);
}

static void serve(struct receiver *r, int fd)
{
    const struct node_options *o = &r->node->options;
    int timeout_ms = (int)o->election_ms;
    struct hello *hello = malloc(sizeof *hello);
    struct incoming *in = NULL;
    char url[ADDRESS_MAX + 8];
    int idle_ms = 0, err = 0;

    snprintf(url, sizeof url, "http://%s", o->client);
    if (hello == NULL) {
        socket_close(fd);
        return;
    }
    /* Other profiles have no routes for members among those for clients. */
    err = link_accept(r->link, fd, o->profile == PROFILE_RAFTD ? url : NULL, timeout_ms, hello);
    if (err == LINK_SPEAKS_HTTP)
        peer_http_serve(r->node, r->link, timeout_ms);
    if (err == 0)
        err = greet(r, hello, timeout_ms, &idle_ms);
    if (err == 0)
        in = incoming_new();
    while (err == 0)
        err = receive_one(r, hello, in, timeout_ms, idle_ms);
    if (in != NULL && err == ERR_CLOSED)
        tell_of_loss(r, hello->from);
    if (in != NULL && err != ERR_CLOSED && err != ERR_TIMEOUT && err != ERR_REFUSED)
        log_warn("peer connection dropped: peer=%llu error=\"%s\"", (unsigned long long)hello->from, err_text(err));
    incoming_free(in);
    free(hello);
}

/* Registers (or with NULL removes) the link, so that others can interrupt it. False: we are stopping. */
static bool set_link(struct receiver *r, struct link *link)
{
    struct shared *s = node_lock(r->node);
    bool stopping = s->stopping;

    r->peer = 0;
    r->link = link;
    node_unlock(r->node, &s);
    return !stopping;
}

void *receiver_run(void *arg)
{
    struct receiver *r = arg;
    struct link *link = link_new(); /* for life: when descriptors are short, none must be wanted per connection */
    int fd = -1;

    for (;;) {
        int err = socket_accept(r->node->listener, ACCEPT_MS, &fd);

        if (err == ERR_CLOSED)
            break;
        if (err == ERR_NO_RESOURCES) { /* whatever the state of the listener: nothing else would tell us of a stop */
            nanosleep(&(struct timespec){.tv_nsec = OUT_OF_DESCRIPTORS_MS * 1000000L}, NULL);
            if (!set_link(r, NULL))
                break;
        }
        if (err != 0)
            continue;
        if (set_link(r, link))
            serve(r, fd);
        else
            socket_close(fd);
        set_link(r, NULL);
        link_reset(link);
    }
    link_free(link);
    return NULL;
}
