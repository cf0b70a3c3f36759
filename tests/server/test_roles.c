/* The roles, a round at a time: what is due, what they take, what becomes of it; on the real stores, and a sender's other end
 * on loopback. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "net/link.h"
#include "net/socket.h"
#include "server_test.h"
#include "wire/message.h"

static struct subject m;

static bool write_round(void)
{
    return run_role(&m, &writer_ops, 0, m.writer);
}

static bool apply_round(void)
{
    return run_role(&m, &applier_ops, 0, m.applier);
}

/* ---- timer ---- */

/* Paper 5.4.2, 8: a new leader commits an entry of its own term first. */
START_TEST(a_lone_member_leads_and_proposes_its_noop)
{
    member_open(&m, 1, 1, NOBODY_PORT);

    run_all(&m);

    ck_assert_int_eq(status_of(&m).role, RAFT_LEADER);
    ck_assert_uint_eq(status_of(&m).last, 2);
    ck_assert_uint_eq(status_of(&m).applied, 2);
    ck_assert_uint_gt(timer_ops.due(&m.s, 0), m.now);
    member_end(&m);
}
END_TEST

START_TEST(the_timer_makes_moves_known)
{
    struct hello h = hello_from(2, 1);
    struct welcome welcome;
    struct refusal refusal;

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    snprintf(h.client, sizeof h.client, "127.0.0.1:88");
    ck_assert_int_eq(deliver_hello(&m.s, &h, &welcome, &refusal), 0);
    ck_assert_uint_eq(timer_ops.due(&m.s, 0), 0);

    run_all(&m);

    ck_assert_str_eq(directory_find(&m.s.directory, 2)->client, "127.0.0.1:88");
    ck_assert_uint_eq(m.s.directory.latest_index, status_of(&m).config_index);
    ck_assert(!m.s.peers[slot_of(&m, 2)].moved);
    ck_assert_uint_gt(timer_ops.due(&m.s, 0), m.now);
    member_end(&m);
}
END_TEST

/* Thesis 4.2.1: a learner gets its vote when it has caught up, unless it is to stay one. */
START_TEST(the_timer_promotes_learners)
{
    struct members members;
    struct entry *e = NULL;

    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);
    members = m.s.directory.latest;
    for (unsigned i = 1; i < 3; i++) {
        members.list[i] = members.list[0];
        members.list[i].id = i + 1;
        members.list[i].role = RAFT_LEARNER;
        members.list[i].stays_learner = i == 2;
        snprintf(members.list[i].name, sizeof members.list[i].name, "n%u", i + 1);
    }
    members.count = 3;
    e = members_entry(&members);
    ck_assert_uint_ne(shared_propose(&m.s, m.now, e, &members), 0);
    run_all(&m);
    ck_assert_int_eq(directory_find(&m.s.directory, 2)->role, RAFT_LEARNER);

    deliver_ack(&m, 2, status_of(&m).last);
    deliver_ack(&m, 3, status_of(&m).last);
    run_all(&m);

    ck_assert_int_eq(directory_find(&m.s.directory, 2)->role, RAFT_VOTER);
    ck_assert_int_eq(directory_find(&m.s.directory, 3)->role, RAFT_LEARNER);
    member_end(&m);
}
END_TEST

/* The chore was planned without the lock; by the time it is proposed the reason may be gone. */
START_TEST(a_chore_that_is_no_longer_wanted_is_dropped)
{
    raft_index last = 0;

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    last = status_of(&m).last;
    snprintf(m.s.client, sizeof m.s.client, "127.0.0.1:99"); /* as if it had been restarted elsewhere */
    shared_assign_peers(&m.s);
    ck_assert_uint_eq(timer_ops.due(&m.s, 0), 0);
    timer_ops.take(&m.s, m.now, 0, m.timer);
    timer_ops.work(m.timer);
    deliver_append(&m, 2, status_of(&m).term + 1, (struct raft_pos){last, status_of(&m).term}, 0, NULL, 0);

    timer_ops.done(&m.s, m.now, 0, m.timer);

    ck_assert_uint_eq(status_of(&m).last, last);
    ck_assert_uint_gt(timer_ops.due(&m.s, 0), m.now);
    member_end(&m);
}
END_TEST

/* ---- writer ---- */

START_TEST(one_write_takes_all_that_came_meanwhile)
{
    uint64_t writes = 0;

    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);
    writes = m.s.counters.writes_to_disk;
    propose_set(&m, "a", "1");
    writer_ops.take(&m.s, m.now, 0, m.writer);
    ck_assert_uint_eq(writer_ops.due(&m.s, 0), RAFT_NEVER); /* D4: one in flight */
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_ne(propose_set(&m, "b", "2"), 0);
    writer_ops.work(m.writer);
    writer_ops.done(&m.s, m.now, 0, m.writer);
    ck_assert_uint_eq(status_of(&m).durable, status_of(&m).last - 100);
    ck_assert(write_round());

    ck_assert_uint_eq(status_of(&m).durable, status_of(&m).last);
    ck_assert_uint_eq(m.s.counters.writes_to_disk, writes + 2);
    ck_assert_uint_eq(writer_ops.due(&m.s, 0), RAFT_NEVER);
    member_end(&m);
}
END_TEST

/* D4: what replaces an entry in flight is not durable when that flight ends. */
START_TEST(a_late_write_does_not_vouch_for_its_successor)
{
    struct entry *old = noop_at(2, 2), *new = noop_at(2, 3);

    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 1, &old, 1);
    writer_ops.take(&m.s, m.now, 0, m.writer);
    deliver_append(&m, 3, 3, (struct raft_pos){1, 1}, 1, &new, 1);
    writer_ops.work(m.writer);
    writer_ops.done(&m.s, m.now, 0, m.writer);
    ck_assert_uint_eq(status_of(&m).durable, 1);
    ck_assert(write_round());
    ck_assert_uint_eq(status_of(&m).durable, 2);

    member_reopen(&m);
    ck_assert_uint_eq(raft_term_at(m.s.raft, 2), 3);
    entry_unref(old);
    entry_unref(new);
    member_end(&m);
}
END_TEST

static raft_index propose_large(char letter, size_t size)
{
    char *value = malloc(size + 1);
    raft_index index = 0;

    memset(value, letter, size);
    value[size] = '\0';
    index = propose_set(&m, "large", value);
    free(value);
    return index;
}

START_TEST(a_full_disk_is_tried_again)
{
    raft_index durable = 0;

    member_open_small(&m, 4u << 20, 64u << 20);
    make_leader(&m);
    while (!m.s.no_space) {
        durable = status_of(&m).durable;
        ck_assert_uint_ne(propose_large('x', 500000), 0);
        ck_assert(write_round());
    }

    ck_assert_int_eq(m.s.failure, 0);
    ck_assert_uint_eq(status_of(&m).durable, durable);
    ck_assert_uint_gt(writer_ops.due(&m.s, 0), m.now);
    m.now = writer_ops.due(&m.s, 0);
    ck_assert_uint_le(m.now, 1000 + 100 * 2 * ELECTION_MS + 1000);
    ck_assert(write_round());
    ck_assert_uint_eq(status_of(&m).durable, durable);
    member_end(&m);
}
END_TEST

/* ---- applier ---- */

START_TEST(the_applier_answers_with_results)
{
    struct request r[2] = {{0}};
    struct kv_view *view = NULL;
    struct view value;
    raft_index index = 0, etag = 0;

    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);
    index = propose_set(&m, "k", "1");
    request_begin_write(&m.s, &r[0], index, status_of(&m).term);
    propose_set(&m, "k", "2");
    request_begin_write(&m.s, &r[1], index + 1, status_of(&m).term);
    ck_assert(!apply_round()); /* not durable yet (D3) */
    ck_assert(write_round());
    ck_assert(apply_round());
    run_all(&m);

    ck_assert_int_eq(r[0].state, REQUEST_DONE);
    ck_assert_int_eq(r[0].result.outcome, COMMAND_CREATED);
    ck_assert_int_eq(r[1].result.outcome, COMMAND_REPLACED);
    ck_assert_uint_eq(r[1].result.index, index + 1);
    ck_assert_uint_eq(m.s.counters.batches_applied, 2);
    ck_assert_int_eq(kv_view_open(m.kv, &view), 0);
    ck_assert_int_eq(kv_view_get(view, view_of_text("k"), &value, &etag), 0);
    ck_assert(view_equal(value, view_of_text("2")));
    ck_assert_uint_eq(etag, index + 1);
    kv_view_close(view);
    member_end(&m);
}
END_TEST

/* After a crash the map lacks what the log has, and the tail is empty: it is read from the log, a batch at a time. */
START_TEST(the_applier_reads_what_left_memory)
{
    raft_index last = 0;

    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);
    for (unsigned i = 0; i < 1500; i++)
        propose_set(&m, "k", "v");
    ck_assert(write_round());
    last = status_of(&m).last;
    member_reopen(&m);
    ck_assert_uint_lt(status_of(&m).applied, last);

    make_leader(&m);

    ck_assert_uint_eq(status_of(&m).applied, last + 1);
    ck_assert_uint_ge(m.s.counters.batches_applied, 2);
    member_end(&m);
}
END_TEST

START_TEST(a_full_map_is_tried_again)
{
    raft_index applied = 0;

    member_open_small(&m, 64u << 20, 1u << 20);
    make_leader(&m);
    applied = status_of(&m).applied;
    ck_assert_uint_ne(propose_large('x', 2000000), 0);
    run_all(&m);

    ck_assert(m.s.no_space);
    ck_assert_int_eq(m.s.failure, 0);
    ck_assert_uint_eq(status_of(&m).applied, applied);
    ck_assert_uint_gt(applier_ops.due(&m.s, 0), m.now);

    m.kv_max = 16u << 20; /* started with more room it goes on by itself */
    member_reopen(&m);
    make_leader(&m);
    ck_assert_uint_eq(status_of(&m).applied, status_of(&m).last);
    ck_assert(!m.s.no_space);
    member_end(&m);
}
END_TEST

START_TEST(a_stop_leaves_the_backlog_in_the_log)
{
    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);
    propose_set(&m, "k", "v");
    ck_assert(write_round());
    ck_assert_uint_eq(applier_ops.due(&m.s, 0), 0);

    m.s.stopping = true;

    ck_assert_uint_eq(applier_ops.due(&m.s, 0), RAFT_NEVER);
    member_end(&m);
}
END_TEST

/* Thesis 4.2.2: who is left out by a committed configuration was removed; what is older than its joining says nothing. */
START_TEST(the_applier_finds_that_we_were_removed)
{
    struct members members;
    struct entry *e[2] = {NULL};

    make_members(&members, 3, NOBODY_PORT);
    memmove(&members.list[0], &members.list[1], 2 * sizeof members.list[0]);
    members.count = 2; /* 2 and 3 */
    e[0] = members_entry_at(2, 2, &members);
    e[1] = noop_at(3, 2);
    for (unsigned joined = 1; joined <= 2; joined++) {
        member_open(&m, 1, 3, NOBODY_PORT);
        m.s.joined = joined;
        deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 3, e, 2);
        run_all(&m);
        ck_assert_int_eq(m.s.removed, joined == 1);
        member_end(&m);
    }
    unref_all(e, 2);
}
END_TEST

/* ---- sender ---- */

#define HEARD_MAX 64

/* The other end of a sender: takes one connection after the other, and notes what it hears. */
struct ear {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool hangs_up; /* closes the connection after each message */
    atomic_uint count;
    struct raft_message heard[HEARD_MAX];
    raft_term first_term[HEARD_MAX]; /* of the first entry of an append; 0: none */
};

static void note(struct ear *e, const struct incoming *in)
{
    unsigned at = atomic_load(&e->count);

    if (at == HEARD_MAX)
        return;
    e->heard[at] = in->message;
    e->first_term[at] = in->count > 0 ? entry_pos(in->entries[0]).term : 0;
    atomic_store(&e->count, at + 1);
}

static void listen_to(struct ear *e, struct link *link, struct incoming *in)
{
    enum frame_type type;
    struct view payload;

    while (link_receive(link, 2000, &type, &payload) == 0 && message_decode(payload, in) == 0) {
        note(e, in);
        incoming_clear(in);
        if (atomic_load(&e->hangs_up))
            break;
    }
    link_close(link);
}

static void *ear_run(void *arg)
{
    struct ear *e = arg;
    struct link *link = link_new();
    struct incoming *in = incoming_new();
    struct hello hello;
    int fd = -1;

    while (socket_accept(e->listener, 2000, &fd) == 0) {
        if (link_accept(link, fd, "http://nobody", 1000, &hello) != 0)
            continue;
        if (link_welcome(link, &(struct welcome){.version = 1, .id = hello.to}, 1000) == 0)
            listen_to(e, link, in);
    }
    incoming_free(in);
    link_free(link);
    return NULL;
}

static struct ear *ear_open(void)
{
    struct ear *e = calloc(1, sizeof *e);
    struct sockaddr_in at = {0};
    socklen_t size = sizeof at;

    ck_assert_int_eq(socket_listen("127.0.0.1", 0, &e->listener, NULL), 0);
    ck_assert_int_eq(getsockname(e->listener, (struct sockaddr *)&at, &size), 0);
    e->port = ntohs(at.sin_port);
    ck_assert_int_eq(pthread_create(&e->thread, NULL, ear_run, e), 0);
    return e;
}

static void ear_close(struct ear *e)
{
    socket_shutdown(e->listener);
    pthread_join(e->thread, NULL);
    socket_close(e->listener);
    free(e);
}

/* The message number `n` (from 0) that it hears. */
static const struct raft_message *heard(struct ear *e, unsigned n)
{
    for (unsigned i = 0; i < 2000 && atomic_load(&e->count) <= n; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert_uint_gt(atomic_load(&e->count), n);
    return &e->heard[n];
}

static bool send_round(raft_id to)
{
    unsigned slot = slot_of(&m, to);

    ck_assert_uint_lt(slot, RAFT_MEMBERS_MAX);
    return run_role(&m, &sender_ops, slot, m.senders[slot]);
}

/* Its first round closes the link of whoever had the slot before. */
static void open_sender(raft_id to)
{
    ck_assert(m.s.peers[slot_of(&m, to)].stale_link);
    ck_assert(send_round(to));
    ck_assert(!m.s.peers[slot_of(&m, to)].stale_link);
}

START_TEST(nobody_there_is_tried_again_later)
{
    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    open_sender(2);

    ck_assert(send_round(2));

    ck_assert(!m.s.peers[slot_of(&m, 2)].connected);
    ck_assert_uint_gt(sender_ops.due(&m.s, slot_of(&m, 2)), m.now);
    ck_assert_uint_le(sender_ops.due(&m.s, slot_of(&m, 2)), m.now + ELECTION_MS);
    ck_assert_int_eq(m.s.failure, 0);
    member_end(&m);
}
END_TEST

START_TEST(entries_go_out_of_the_tail)
{
    struct ear *e = ear_open();
    const struct raft_message *a = NULL;

    member_open(&m, 1, 3, e->port);
    make_leader(&m);
    open_sender(2);
    ck_assert(send_round(2));
    a = heard(e, 0);
    ck_assert_int_eq(a->type, RAFT_APPEND);
    ck_assert_uint_eq(a->to, 2);
    ck_assert_uint_eq(a->append.prev.index + a->append.count, status_of(&m).last);
    ck_assert(m.s.peers[slot_of(&m, 2)].connected);

    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    propose_set(&m, "k", "v"); /* while our own disk writes it, it is on its way already */
    ck_assert(send_round(2));
    a = heard(e, 1);
    ck_assert_uint_eq(a->append.count, 1);
    ck_assert_uint_eq(e->first_term[1], status_of(&m).term);
    ck_assert_uint_lt(status_of(&m).durable, status_of(&m).last);
    member_end(&m);
    ear_close(e);
}
END_TEST

/* A link that the other side closed while it was idle is opened anew for the message at hand. */
START_TEST(a_closed_link_costs_no_message)
{
    struct ear *e = ear_open();

    atomic_store(&e->hangs_up, true);
    member_open(&m, 1, 3, e->port);
    make_leader(&m);
    open_sender(2);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(send_round(2));
        heard(e, i);
        ck_assert(m.s.peers[slot_of(&m, 2)].connected);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); /* its close arrives */
        m.now += HEARTBEAT_MS;
    }
    ck_assert_uint_eq(m.s.counters.messages_sent, 4);
    member_end(&m);
    ear_close(e);
}
END_TEST

/* Makes a leader whose peer 2 lacks entries that are no longer in memory. */
static void lag_behind(struct ear *e)
{
    struct entry *old[30] = {NULL};

    member_open(&m, 1, 3, e->port);
    for (raft_index i = 0; i < 30; i++)
        old[i] = noop_at(i + 2, 2);
    deliver_append(&m, 3, 2, (struct raft_pos){1, 1}, 1, old, 30);
    run_all(&m);
    unref_all(old, 30);
    member_reopen(&m); /* the tail is empty now */
    make_leader(&m);
    open_sender(2);
    ck_assert(send_round(2)); /* a probe at the end of our log */
    heard(e, 0);
}

static void deliver_refusal_at(raft_id from, raft_index index, raft_term hint)
{
    struct hello h = hello_from(from, 1);
    struct raft_message refused = {.type = RAFT_APPENDED, .from = from, .to = 1, .term = status_of(&m).term};

    refused.appended.index = index;
    refused.appended.hint = hint;
    ck_assert_int_eq(deliver(&m, &h, &refused, NULL, 0), 0);
}

START_TEST(old_entries_are_loaded_then_sent)
{
    struct ear *e = ear_open();
    const struct raft_message *a = NULL;
    unsigned slot = 0;

    lag_behind(e);
    slot = slot_of(&m, 2);
    deliver_refusal_at(2, 1, 1); /* its log ends with entry 1 */
    ck_assert(send_round(2));
    ck_assert(m.s.peers[slot].loaded);
    ck_assert_uint_eq(atomic_load(&e->count), 1); /* nothing was sent by that round */
    ck_assert(send_round(2));
    ck_assert(!m.s.peers[slot].loaded);

    a = heard(e, 1);
    ck_assert_uint_eq(a->append.prev.index, 1);
    ck_assert_uint_eq(a->append.count, status_of(&m).last - 2); /* the newest is not in LMDB yet, and comes next */
    ck_assert_uint_eq(e->first_term[1], 2);
    member_end(&m);
    ear_close(e);
}
END_TEST

/* While the read ran, we lost the leadership, other entries took the place of what it read, and we lead again, with a log
 * that ends just there. */
START_TEST(entries_loaded_for_an_earlier_term_do_not_go_out)
{
    struct ear *e = ear_open();
    const struct raft_message *a = NULL;
    struct entry *new[10] = {NULL};
    raft_term term = 0;
    unsigned slot = 0;

    lag_behind(e);
    slot = slot_of(&m, 2);
    deliver_refusal_at(2, 19, 2);
    sender_ops.take(&m.s, m.now, slot, m.senders[slot]);
    sender_ops.work(m.senders[slot]);
    term = status_of(&m).term + 1;
    for (raft_index i = 0; i < 10; i++)
        new[i] = noop_at(i + 10, term);
    deliver_append(&m, 3, term, (struct raft_pos){9, 2}, 1, new, 10);
    run_all(&m);
    make_leader(&m);
    sender_ops.done(&m.s, m.now, slot, m.senders[slot]);
    ck_assert(m.s.peers[slot].loaded);
    while (sender_ops.due(&m.s, slot) <= m.now)
        ck_assert(send_round(2));

    a = heard(e, 1);
    ck_assert_uint_eq(a->append.prev.index, 19);
    ck_assert_uint_eq(a->append.prev.term, term);
    ck_assert_uint_eq(a->append.count, 1);
    ck_assert_uint_eq(e->first_term[1], status_of(&m).term);
    unref_all(new, 10);
    member_end(&m);
    ear_close(e);
}
END_TEST

/* The slot of one that went is another's: what was under way for the first one is no news of the second. */
START_TEST(a_slot_changes_hands_in_the_middle_of_work)
{
    struct ear *e = ear_open();
    struct peer *p = NULL;

    member_open(&m, 1, 3, e->port);
    make_leader(&m);
    open_sender(2);
    p = &m.s.peers[slot_of(&m, 2)];
    sender_ops.take(&m.s, m.now, slot_of(&m, 2), m.senders[slot_of(&m, 2)]);
    sender_ops.work(m.senders[slot_of(&m, 2)]);
    snprintf(p->address, sizeof p->address, "127.0.0.1:1");
    p->stale_link = true;
    sender_ops.done(&m.s, m.now, slot_of(&m, 2), m.senders[slot_of(&m, 2)]);
    ck_assert(p->connected);

    ck_assert(send_round(2)); /* closes */

    ck_assert(!p->connected);
    m.now += HEARTBEAT_MS;
    ck_assert(send_round(2));
    ck_assert(!p->connected); /* nobody is at the new address */
    member_end(&m);
    ear_close(e);
}
END_TEST

START_TEST(nothing_is_said_while_joining_or_after_a_failure)
{
    unsigned slot = 0;

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    open_sender(2);
    slot = slot_of(&m, 2);
    ck_assert_uint_eq(sender_ops.due(&m.s, slot), 0);
    m.s.phase = PHASE_JOINING;
    ck_assert_uint_eq(sender_ops.due(&m.s, slot), RAFT_NEVER);
    m.s.phase = PHASE_DRAINING;
    ck_assert_uint_eq(sender_ops.due(&m.s, slot), 0);
    shared_fail(&m.s, ERR_IO, "the disk");
    shared_fail(&m.s, ERR_CORRUPT, "and more");
    ck_assert_int_eq(m.s.failure, ERR_IO);
    ck_assert_ptr_nonnull(strstr(m.s.failure_why.text, "the disk"));
    ck_assert_uint_eq(sender_ops.due(&m.s, slot), RAFT_NEVER);
    ck_assert_uint_eq(writer_ops.due(&m.s, 0), RAFT_NEVER);
    ck_assert_uint_eq(timer_ops.due(&m.s, 0), RAFT_NEVER);
    member_end(&m);
}
END_TEST

/* ---- restart ---- */

START_TEST(stores_of_two_members_do_not_go_together)
{
    struct shared_start start = {.self = 1,
                                 .name = "n",
                                 .client = "a:1",
                                 .peer = "a:2",
                                 .cluster = CLUSTER,
                                 .joined = 1,
                                 .election_ms = ELECTION_MS,
                                 .heartbeat_ms = HEARTBEAT_MS};
    struct log_store *log = NULL;
    struct shared s;
    struct why why = {""};

    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);
    ck_assert_int_eq(log_store_open(temp_path("other"), 1u << 20, &log, &why), 0);

    ck_assert_int_eq(shared_open(&s, &start, log, m.kv, m.now, &why), ERR_CORRUPT);

    ck_assert_ptr_nonnull(strstr(why.text, "log and map are not of one server"));
    ck_assert_ptr_null(s.raft);
    log_store_close(log);
    member_end(&m);
}
END_TEST

/* The map knows the configuration of its last applied one; the log has two newer ones, the second uncommitted. */
START_TEST(a_restart_finds_the_last_two_configurations)
{
    struct members four, five;
    struct entry *e[3] = {NULL};
    struct raft_status status;

    make_members(&four, 4, NOBODY_PORT);
    make_members(&five, 5, NOBODY_PORT);
    e[0] = members_entry_at(2, 2, &four);
    e[1] = noop_at(3, 2);
    e[2] = members_entry_at(4, 2, &five);
    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 1, e, 3);
    run_all(&m);
    member_reopen(&m);

    status = status_of(&m);
    ck_assert_uint_eq(status.config_index, 4);
    ck_assert_uint_eq(status.config_committed_index, 2);
    ck_assert_uint_eq(m.s.directory.latest_index, 4);
    ck_assert_uint_eq(m.s.directory.previous_index, 2);
    ck_assert_uint_eq(m.s.directory.latest.count, 5);
    ck_assert_uint_eq(m.s.directory.previous.count, 4);
    ck_assert_uint_lt(slot_of(&m, 5), RAFT_MEMBERS_MAX);
    unref_all(e, 3);
    member_end(&m);
}
END_TEST

TEST_MAIN("roles", a_lone_member_leads_and_proposes_its_noop, the_timer_makes_moves_known, the_timer_promotes_learners,
          a_chore_that_is_no_longer_wanted_is_dropped, one_write_takes_all_that_came_meanwhile,
          a_late_write_does_not_vouch_for_its_successor, a_full_disk_is_tried_again, the_applier_answers_with_results,
          the_applier_reads_what_left_memory, a_full_map_is_tried_again, a_stop_leaves_the_backlog_in_the_log,
          the_applier_finds_that_we_were_removed, nobody_there_is_tried_again_later, entries_go_out_of_the_tail,
          a_closed_link_costs_no_message, old_entries_are_loaded_then_sent,
          entries_loaded_for_an_earlier_term_do_not_go_out, a_slot_changes_hands_in_the_middle_of_work,
          nothing_is_said_while_joining_or_after_a_failure, stores_of_two_members_do_not_go_together,
          a_restart_finds_the_last_two_configurations)
