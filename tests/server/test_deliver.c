/* What comes from other members: greetings, and messages whose entries go into tail and directory. */
#include "server/deliver.h"

#include <stdio.h>
#include <string.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"

static struct subject m;

static int greet(const struct hello *h, enum refusal_reason *reason)
{
    struct welcome welcome = {0};
    struct refusal refusal = {0};
    int err = deliver_hello(&m.s, h, &welcome, &refusal);

    *reason = refusal.reason;
    if (err == 0) {
        ck_assert_uint_eq(welcome.id, m.self);
        ck_assert_uint_eq(welcome.version, PROTOCOL_VERSION_MAX);
    }
    return err;
}

/* ---- greetings ---- */

START_TEST(a_member_is_welcome)
{
    struct hello h = hello_from(2, 1);
    enum refusal_reason reason;

    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(greet(&h, &reason), 0);
    h.version_max = 9; /* a newer one speaks our version, too */
    ck_assert_int_eq(greet(&h, &reason), 0);
    member_end(&m);
}
END_TEST

START_TEST(others_are_told_why_not)
{
    struct hello good = hello_from(2, 1), h = good;
    enum refusal_reason reason;

    member_open(&m, 1, 3, NOBODY_PORT);
    h.version_min = h.version_max = PROTOCOL_VERSION_MAX + 1;
    ck_assert_int_eq(greet(&h, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_VERSION);
    h = good;
    h.cluster++;
    ck_assert_int_eq(greet(&h, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_CLUSTER);
    h = good;
    h.to = 3;
    ck_assert_int_eq(greet(&h, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_WRONG_ID);
    h = good;
    h.from = 1;
    ck_assert_int_eq(greet(&h, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_WRONG_ID);
    m.s.stopping = true;
    ck_assert_int_eq(greet(&good, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_NOT_READY);
    m.s.stopping = false;
    m.s.phase = PHASE_JOINING;
    ck_assert_int_eq(greet(&good, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_NOT_READY);
    ck_assert_uint_eq(m.s.counters.peers_refused, 6);
    member_end(&m);
}
END_TEST

/* Who is not in our committed configuration was removed, unless it knows a newer one. */
START_TEST(the_removed_are_told_so)
{
    struct hello h = hello_from(9, 0);
    struct raft_message vote = {.type = RAFT_VOTE, .from = 9, .to = 1, .term = 5};
    enum refusal_reason reason;

    vote.vote.pre = true;
    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 1, (struct raft_pos){1, 1}, 1, NULL, 0);
    ck_assert_int_eq(greet(&h, &reason), ERR_REFUSED);
    ck_assert_int_eq(reason, REFUSAL_NOT_A_MEMBER);
    ck_assert_int_eq(deliver(&m, &h, &vote, NULL, 0), ERR_REFUSED);
    ck_assert_uint_eq(slot_of(&m, 9), RAFT_MEMBERS_MAX);

    h.config_index = 1;
    ck_assert_int_eq(greet(&h, &reason), 0);
    ck_assert_int_eq(deliver(&m, &h, &vote, NULL, 0), 0);
    ck_assert_uint_lt(slot_of(&m, 9), RAFT_MEMBERS_MAX); /* its answer needs a sender [thesis 4.1] */
    ck_assert(m.s.peers[slot_of(&m, 9)].guest);
    ck_assert_uint_eq(raft_send_due(m.s.raft, 9), 0);
    member_end(&m);
}
END_TEST

START_TEST(a_member_that_moved_says_so)
{
    struct hello h = hello_from(2, 1);
    enum refusal_reason reason;
    const struct peer *p = NULL;

    member_open(&m, 1, 3, NOBODY_PORT);
    snprintf(h.peer, sizeof h.peer, "127.0.0.1:77");
    ck_assert_int_eq(greet(&h, &reason), 0);
    p = &m.s.peers[slot_of(&m, 2)];
    ck_assert(p->moved);
    ck_assert_str_eq(p->moved_peer, "127.0.0.1:77");
    ck_assert_str_eq(p->address, "127.0.0.1:77"); /* at once, whatever the configuration says */

    h = hello_from(2, 1);
    ck_assert_int_eq(greet(&h, &reason), 0);
    ck_assert(!p->moved);
    ck_assert_str_eq(p->address, "127.0.0.1:1");
    member_end(&m);
}
END_TEST

/* A configuration with such an address is one that no member could decode. */
START_TEST(nobody_moves_to_nowhere)
{
    struct hello h = hello_from(2, 1);
    enum refusal_reason reason;

    member_open(&m, 1, 3, NOBODY_PORT);
    h.client[0] = '\0';
    h.peer[0] = '\0';
    ck_assert_int_eq(greet(&h, &reason), 0);
    ck_assert(!m.s.peers[slot_of(&m, 2)].moved);
    member_end(&m);
}
END_TEST

START_TEST(our_own_greeting_says_who_we_are)
{
    struct hello h;

    member_open(&m, 1, 3, NOBODY_PORT);
    m.s.joined = 12; /* newer than the configuration that we have */
    deliver_our_hello(&m.s, 2, &h);
    ck_assert_uint_eq(h.cluster, CLUSTER);
    ck_assert_uint_eq(h.from, 1);
    ck_assert_uint_eq(h.to, 2);
    ck_assert_uint_eq(h.config_index, 12);
    ck_assert_str_eq(h.peer, "127.0.0.1:1");
    member_end(&m);
}
END_TEST

/* ---- refusals of us ---- */

START_TEST(only_one_who_knows_more_can_remove_us)
{
    struct refusal r = {.reason = REFUSAL_NOT_A_MEMBER, .config_index = 4};

    member_open(&m, 1, 3, NOBODY_PORT);
    m.s.joined = 5;
    deliver_refusal(&m.s, 2, &r, 0, 0);
    ck_assert(!m.s.removed); /* it lags behind our joining */

    r.config_index = 6;
    deliver_refusal(&m.s, 2, &r, REFUSAL_NOT_A_MEMBER, 0); /* the same reason as before, but now it counts */
    ck_assert(m.s.removed);
    member_end(&m);
}
END_TEST

START_TEST(other_refusals_change_nothing)
{
    struct refusal r = {.config_index = 100};

    member_open(&m, 1, 3, NOBODY_PORT);
    logger_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, "test");
    r.reason = REFUSAL_NOT_READY;
    deliver_refusal(&m.s, 2, &r, 0, 0);
    r.reason = REFUSAL_CLUSTER;
    deliver_refusal(&m.s, 2, &r, REFUSAL_CLUSTER, 0);
    r.reason = REFUSAL_WRONG_ID;
    deliver_refusal(&m.s, 2, &r, REFUSAL_WRONG_ID, 0);
    r.reason = REFUSAL_TWIN;
    deliver_refusal(&m.s, 2, &r, REFUSAL_TWIN, TWIN_PATIENCE_MS - 1);
    ck_assert(!m.s.removed);
    ck_assert_int_eq(m.s.failure, 0);
    member_end(&m);
}
END_TEST

/* Whoever hears the first of two processes refuses the second, which ends: it must not vote where the first did. */
START_TEST(a_twin_ends)
{
    struct refusal r = {.reason = REFUSAL_TWIN, .text = "member n1 speaks from a:1 at this moment"};

    member_open(&m, 1, 3, NOBODY_PORT);
    logger_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, "test");
    deliver_refusal(&m.s, 2, &r, REFUSAL_TWIN, TWIN_PATIENCE_MS);
    ck_assert_int_eq(m.s.failure, ERR_LOCKED);
    ck_assert_ptr_nonnull(strstr(m.s.failure_why.text, "speaks from a:1"));
    ck_assert_ptr_nonnull(strstr(m.s.failure_why.text, "a copy of a DATADIR"));
    member_end(&m);
}
END_TEST

/* ---- messages ---- */

START_TEST(nobody_speaks_for_another)
{
    struct hello h = hello_from(2, 1);
    struct raft_message append = {.type = RAFT_APPEND, .from = 3, .to = 1, .term = 1};

    append.append.prev = (struct raft_pos){1, 1};
    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(deliver(&m, &h, &append, NULL, 0), ERR_MALFORMED);
    append.from = 2;
    append.to = 3;
    ck_assert_int_eq(deliver(&m, &h, &append, NULL, 0), ERR_MALFORMED);
    ck_assert_uint_eq(status_of(&m).leader, 0);
    member_end(&m);
}
END_TEST

START_TEST(entries_go_into_the_tail)
{
    struct entry *e[3] = {noop_at(2, 2), set_at(3, 2, "k", "v", 1), noop_at(4, 2)};

    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 1, e, 3);
    ck_assert_uint_eq(status_of(&m).last, 4);
    ck_assert_uint_eq(m.s.tail.last, 4);
    ck_assert_uint_eq(status_of(&m).leader, 2);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 1, e, 3); /* once more: nothing is taken twice */
    ck_assert_uint_eq(m.s.tail.last, 4);
    run_all(&m);
    ck_assert_uint_eq(status_of(&m).durable, 4);
    unref_all(e, 3);
    member_end(&m);
}
END_TEST

/* Paper 5.3: a conflicting entry goes, and all that follow it. */
START_TEST(a_new_leader_replaces_what_is_not_committed)
{
    struct entry *old[3] = {noop_at(2, 2), noop_at(3, 2), noop_at(4, 2)}, *new[1] = {noop_at(3, 3)};

    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 1, old, 3);
    run_all(&m);
    deliver_append(&m, 3, 3, (struct raft_pos){2, 2}, 1, new, 1);
    ck_assert_uint_eq(m.s.tail.last, 3);
    run_all(&m);
    member_reopen(&m); /* and so it is on the disk */
    ck_assert_uint_eq(status_of(&m).last, 3);
    ck_assert_uint_eq(raft_term_at(m.s.raft, 3), 3);
    unref_all(old, 3);
    unref_all(new, 1);
    member_end(&m);
}
END_TEST

/* Thesis 4.1: a configuration counts when it is appended, and no more when it is cut off. */
START_TEST(configurations_come_and_go_with_their_entries)
{
    struct members four;
    struct entry *config = NULL, *noop = noop_at(2, 3);

    make_members(&four, 4, NOBODY_PORT);
    config = members_entry_at(2, 2, &four);
    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 1, &config, 1);
    ck_assert_uint_eq(m.s.directory.latest.count, 4);
    ck_assert_uint_lt(slot_of(&m, 4), RAFT_MEMBERS_MAX);
    ck_assert(!m.s.peers[slot_of(&m, 4)].guest);

    deliver_append(&m, 3, 3, (struct raft_pos){1, 1}, 1, &noop, 1);
    ck_assert_uint_eq(m.s.directory.latest.count, 3);
    ck_assert_uint_eq(m.s.directory.latest_index, 1);
    ck_assert(m.s.peers[slot_of(&m, 4)].guest);
    entry_unref(config);
    entry_unref(noop);
    member_end(&m);
}
END_TEST

#define TERMS 1024 /* runs of terms that the core remembers */

/* A log of so many terms that the core, having cut off its end, cannot take an entry of one more. */
START_TEST(a_truncation_that_takes_nothing_cuts_the_directory)
{
    struct entry *e[TERMS + 2] = {NULL}, *late = noop_at(TERMS + 1, TERMS + 1);
    struct members four;

    make_members(&four, 4, NOBODY_PORT);
    member_open(&m, 1, 3, NOBODY_PORT);
    for (raft_index i = 2; i <= TERMS; i++)
        e[i] = noop_at(i, i);
    e[TERMS + 1] = members_entry_at(TERMS + 1, TERMS, &four);
    for (raft_index i = 2; i <= TERMS + 1; i += 256) {
        unsigned count = TERMS + 2 - i < 256 ? (unsigned)(TERMS + 2 - i) : 256;

        deliver_append(&m, 2, TERMS, (struct raft_pos){i - 1, i - 1}, 0, &e[i], count);
    }
    ck_assert_uint_eq(status_of(&m).last, TERMS + 1);
    ck_assert_uint_eq(m.s.directory.latest.count, 4);

    deliver_append(&m, 3, TERMS + 1, (struct raft_pos){TERMS, TERMS}, 0, &late, 1);

    ck_assert_uint_eq(status_of(&m).last, TERMS);
    ck_assert_uint_eq(m.s.directory.latest.count, 3);
    ck_assert_uint_eq(m.s.directory.latest_index, status_of(&m).config_index);
    ck_assert(m.s.peers[slot_of(&m, 4)].guest);
    run_all(&m);
    deliver_append(&m, 3, TERMS + 1, (struct raft_pos){TERMS, TERMS}, 20, NULL, 0);
    run_all(&m); /* applied, so the core may forget a term */
    deliver_append(&m, 3, TERMS + 1, (struct raft_pos){TERMS, TERMS}, 20, &late, 1);
    ck_assert_uint_eq(status_of(&m).last, TERMS + 1);
    ck_assert_uint_eq(m.s.tail.last, TERMS + 1);
    run_all(&m);
    unref_all(&e[2], TERMS);
    entry_unref(late);
    member_end(&m);
}
END_TEST

TEST_MAIN("deliver", a_twin_ends, a_member_is_welcome, others_are_told_why_not, the_removed_are_told_so,
          a_member_that_moved_says_so, nobody_moves_to_nowhere, our_own_greeting_says_who_we_are,
          only_one_who_knows_more_can_remove_us, other_refusals_change_nothing, nobody_speaks_for_another,
          entries_go_into_the_tail, a_new_leader_replaces_what_is_not_committed,
          configurations_come_and_go_with_their_entries, a_truncation_that_takes_nothing_cuts_the_directory)
