#include "server_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store_test.h"
#include "wire/message.h"

void make_members(struct members *m, unsigned count, uint16_t port)
{
    memset(m, 0, sizeof *m);
    m->count = count;
    for (unsigned i = 0; i < count; i++) {
        m->list[i].id = i + 1;
        m->list[i].role = RAFT_VOTER;
        snprintf(m->list[i].name, sizeof m->list[i].name, "n%u", i + 1);
        snprintf(m->list[i].client, sizeof m->list[i].client, "127.0.0.1:%u", 1001 + i);
        snprintf(m->list[i].peer, sizeof m->list[i].peer, "127.0.0.1:%u", (unsigned)port);
    }
}

struct entry *members_entry_at(raft_index index, raft_term term, const struct members *m)
{
    struct entry *e = members_entry(m);

    entry_stamp(e, (struct raft_pos){index, term});
    return e;
}

/* ---- birth ---- */

static void open_stores(struct subject *m)
{
    struct why why = {""};

    ck_assert_int_eq(log_store_open(temp_path("log"), m->log_max, &m->log, &why), 0);
    ck_assert_int_eq(kv_store_open(temp_path("kv"), m->kv_max, 8, &m->kv, &why), 0);
}

static void open_shared(struct subject *m)
{
    struct shared_start start = {
        .self = m->self,
        .name = "n",
        .client = "127.0.0.1:1001",
        .peer = "127.0.0.1:1",
        .cluster = CLUSTER,
        .joined = 1,
        .seed = m->self,
        .election_ms = ELECTION_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .log_max_entries = UINT64_MAX,
        .log_max_bytes = UINT64_MAX,
    };
    struct role_context context = {.log = m->log,
                                   .kv = m->kv,
                                   .election_ms = ELECTION_MS,
                                   .dump_path = m->dump,
                                   .dump_fresh_path = m->dump_fresh,
                                   .incoming_path = m->incoming};
    struct why why = {""};

    ck_assert_int_eq(shared_open(&m->s, &start, m->log, m->kv, m->now, &why), 0);
    m->timer = timer_ops.job_new(&context, 0);
    m->writer = writer_ops.job_new(&context, 0);
    m->applier = applier_ops.job_new(&context, 0);
    m->snapshotter = snapshotter_ops.job_new(&context, 0);
    m->checkpointer = checkpointer_ops.job_new(&context, 0);
    m->auditor = auditor_ops.job_new(&context, 0);
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        m->senders[i] = sender_ops.job_new(&context, i);
}

static void begin_life(struct subject *m, raft_id self, unsigned count, uint16_t port)
{
    struct members members;
    struct entry *first = NULL;

    m->self = self;
    m->now = 1000;
    logger_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, "test");
    snprintf(m->root, sizeof m->root, "%s", temp_make());
    snprintf(m->dump, sizeof m->dump, "%s", temp_path("dump"));
    snprintf(m->dump_fresh, sizeof m->dump_fresh, "%s", temp_path("dump.new"));
    snprintf(m->incoming, sizeof m->incoming, "%s", temp_path("incoming"));
    open_stores(m);
    make_members(&members, count, port);
    /* The timer would make it known if a member's own address were another. */
    snprintf(members.list[self - 1].client, ADDRESS_MAX, "127.0.0.1:1001");
    snprintf(members.list[self - 1].peer, ADDRESS_MAX, "127.0.0.1:1");
    first = members_entry_at(1, 1, &members);
    ck_assert_int_eq(
        log_store_write(m->log, &(struct log_write){.hard = {.term = 1}, .first = 1, .last = 1, .entries = &first}), 0);
    entry_unref(first);
    open_shared(m);
}

void member_open(struct subject *m, raft_id self, unsigned count, uint16_t port)
{
    *m = (struct subject){.log_max = (uint64_t)64 << 20, .kv_max = (uint64_t)64 << 20};
    begin_life(m, self, count, port);
}

void member_open_small(struct subject *m, uint64_t log_max, uint64_t kv_max)
{
    *m = (struct subject){.log_max = log_max, .kv_max = kv_max};
    begin_life(m, 1, 1, NOBODY_PORT);
}

void member_close(struct subject *m)
{
    timer_ops.job_free(m->timer);
    writer_ops.job_free(m->writer);
    if (m->s.staged != m->s.visible)
        ck_assert_int_eq(kv_store_commit(m->kv), 0);
    applier_ops.job_free(m->applier);
    snapshotter_ops.job_free(m->snapshotter);
    checkpointer_ops.job_free(m->checkpointer);
    auditor_ops.job_free(m->auditor);
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        sender_ops.job_free(m->senders[i]);
    shared_close(&m->s);
    kv_store_close(m->kv);
    log_store_close(m->log);
}

void member_reopen(struct subject *m)
{
    member_close(m);
    open_stores(m);
    open_shared(m);
}

void member_end(struct subject *m)
{
    member_close(m);
    temp_remove(temp_path("."));
}

/* ---- roles ---- */

bool run_role(struct subject *m, const struct role_ops *ops, unsigned which, void *job)
{
    if (ops->due(&m->s, which) > m->now)
        return false;
    ops->take(&m->s, m->now, which, job);
    ops->work(job);
    ops->done(&m->s, m->now, which, job);
    raft_check(m->s.raft);
    return true;
}

void run_all(struct subject *m)
{
    bool any = true;

    for (unsigned rounds = 0; any; rounds++) {
        ck_assert_uint_lt(rounds, 1000);
        any = run_role(m, &timer_ops, 0, m->timer);
        any = run_role(m, &writer_ops, 0, m->writer) || any;
        any = run_role(m, &applier_ops, 0, m->applier) || any;
        requests_settle(&m->s, m->now);
        if (!any && m->s.staged != m->s.visible) {
            m->now = applier_ops.due(&m->s, 0); /* a few milliseconds later it commits */
            any = true;
        }
    }
}

unsigned slot_of(const struct subject *m, raft_id id)
{
    unsigned slot = 0;

    while (slot < RAFT_MEMBERS_MAX && m->s.peers[slot].id != id)
        slot++;
    return slot;
}

/* ---- messages ---- */

struct hello hello_from(raft_id from, raft_index config_index)
{
    struct hello h = {.version_min = PROTOCOL_VERSION_MIN,
                      .version_max = PROTOCOL_VERSION_MAX,
                      .cluster = CLUSTER,
                      .from = from,
                      .to = 1,
                      .config_index = config_index};

    snprintf(h.name, sizeof h.name, "n%u", (unsigned)from);
    snprintf(h.client, sizeof h.client, "127.0.0.1:%u", 1000 + (unsigned)from);
    snprintf(h.peer, sizeof h.peer, "127.0.0.1:1");
    return h;
}

/* The same from where the configuration says that it lives: it has not moved. */
static struct hello hello_of(const struct subject *m, raft_id from)
{
    struct hello h = hello_from(from, 1);
    const struct member *member = directory_find(&m->s.directory, from);

    if (member != NULL)
        memcpy(h.peer, member->peer, sizeof h.peer);
    return h;
}

int deliver(struct subject *m, const struct hello *h, const struct raft_message *message, struct entry *const *entries,
            unsigned count)
{
    struct incoming *in = incoming_new();
    struct refusal refusal = {0};
    struct bytes out;
    int err = 0;

    bytes_init(&out, 1 << 26);
    message_encode(message, &out);
    for (unsigned i = 0; i < count; i++)
        bytes_append(&out, entries[i]->bytes, entries[i]->size);
    ck_assert_int_eq(message_decode(bytes_view(&out), in), 0);
    err = deliver_message(&m->s, m->now, h, in, &refusal);
    raft_check(m->s.raft);
    incoming_free(in);
    bytes_clear(&out);
    return err;
}

void deliver_append(struct subject *m, raft_id from, raft_term term, struct raft_pos prev, raft_index commit,
                    struct entry *const *entries, unsigned count)
{
    struct hello h = hello_of(m, from);
    struct raft_message append = {.type = RAFT_APPEND, .from = from, .to = m->self, .term = term};

    append.append.prev = prev;
    append.append.commit = commit;
    append.append.count = count;
    h.to = m->self;
    ck_assert_int_eq(deliver(m, &h, &append, entries, count), 0);
}

void deliver_ack(struct subject *m, raft_id from, raft_index index)
{
    struct hello h = hello_of(m, from);
    struct raft_message ack = {.type = RAFT_APPENDED, .from = from, .to = m->self, .term = status_of(m).term};

    ack.appended.ok = true;
    ack.appended.index = index;
    ack.appended.round = (uint64_t)1 << 60; /* of the newest read round, whatever it is */
    h.to = m->self;
    ck_assert_int_eq(deliver(m, &h, &ack, NULL, 0), 0);
}

static void deliver_vote(struct subject *m, raft_id from, bool pre)
{
    struct hello h = hello_of(m, from);
    raft_term term = status_of(m).term + (pre ? 1 : 0);
    struct raft_message voted = {.type = RAFT_VOTED, .from = from, .to = m->self, .term = term};

    voted.voted.pre = pre;
    voted.voted.granted = true;
    h.to = m->self;
    ck_assert_int_eq(deliver(m, &h, &voted, NULL, 0), 0);
}

void make_leader(struct subject *m)
{
    unsigned others = m->s.directory.latest.count;

    for (unsigned rounds = 0; status_of(m).role != RAFT_LEADER; rounds++) {
        ck_assert_uint_lt(rounds, 100);
        m->now += 2 * ELECTION_MS;
        run_all(m);
        for (raft_id id = 1; id <= others; id++) {
            if (id != m->self && status_of(m).role == RAFT_PRECANDIDATE)
                deliver_vote(m, id, true);
            run_all(m);
            if (id != m->self && status_of(m).role == RAFT_CANDIDATE)
                deliver_vote(m, id, false);
        }
    }
    run_all(m);
}

void lead_with(struct subject *m, unsigned count)
{
    char key[16];

    member_open(m, 1, 3, NOBODY_PORT);
    make_leader(m);
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%03u", i % 1000);
        ck_assert_uint_ne(propose_set(m, key, "v"), 0);
    }
    run_all(m);
    deliver_ack(m, 2, status_of(m).last);
    run_all(m);
    ck_assert_uint_eq(status_of(m).applied, status_of(m).last);
}

void deliver_refusal_of(struct subject *m, raft_id from, raft_index index)
{
    struct hello h = hello_of(m, from);
    struct raft_message refused = {.type = RAFT_APPENDED, .from = from, .to = m->self, .term = status_of(m).term};

    refused.appended.index = index;
    refused.appended.hint = 1;
    h.to = m->self;
    ck_assert_int_eq(deliver(m, &h, &refused, NULL, 0), 0);
}

struct raft_status status_of(const struct subject *m)
{
    struct raft_status status;

    raft_status(m->s.raft, &status);
    return status;
}

raft_index propose_set(struct subject *m, const char *key, const char *value)
{
    struct command c = {.op = COMMAND_SET, .key = view_of_text(key), .value = view_of_text(value)};
    struct entry *e = command_entry(&c);
    raft_index index = shared_propose(&m->s, m->now, e, NULL);

    if (index == 0)
        entry_unref(e);
    return index;
}
