/* test_reads.c -- linearizable reads by rounds, on the leader and on followers [dissertation 6.4]. */
#include "world.h"

static enum raft_read_state poll_at(struct raft *r, uint64_t ticket, raft_index *index)
{
    *index = 0;
    raft_check(r);
    return raft_read_poll(r, ticket, index);
}

static enum raft_read_state poll(struct raft *r, uint64_t ticket)
{
    raft_index index;

    return poll_at(r, ticket, &index);
}

static void answers(struct raft *r, raft_id from, uint64_t round)
{
    receive(r, appended(.from = from, .term = term_of(r), .ok = true, .index = peer(r, from).match, .round = round));
}

static struct raft_message read_message(enum raft_message_type type, raft_id from, raft_term term, uint64_t ticket,
                                        raft_index index)
{
    struct raft_message m = {.type = type, .from = from, .term = term};

    m.read.ticket = ticket;
    m.read.index = index;
    return m;
}

static struct raft *a_follower_of_2(void)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "111");

    receive(r, append(.from = 2, .term = 1, .prev = at(3, 1)));
    said(r, 2);
    return r;
}

/* 6.4: a read is served at the commit index, once a quorum has confirmed that the leader leads. (F1) */
START_TEST(read_waits_for_a_quorum)
{
    struct raft *r = an_established_leader(.voters = 5, .term = 1);
    uint64_t ticket = raft_read(r, now);
    raft_index index;

    ck_assert_uint_ne(ticket, 0);
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    ck_assert_uint_eq(raft_send_due(r, 2), 0); /* the round begins at once */
    ck_assert_uint_eq(said(r, 2).append.round, ticket);
    answers(r, 2, ticket);
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    answers(r, 3, ticket);

    ck_assert_int_eq(poll_at(r, ticket, &index), RAFT_READ_READY);
    ck_assert_uint_eq(index, commit_of(r));
    raft_free(r);
}
END_TEST

/* An answer to an earlier round proves nothing for a later read. */
START_TEST(older_round_does_not_confirm)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t first = raft_read(r, now);
    uint64_t second;

    said(r, 2);
    second = raft_read(r, now);
    answers(r, 2, first);

    ck_assert_int_eq(poll(r, first), RAFT_READ_READY);
    ck_assert_int_eq(poll(r, second), RAFT_READ_WAIT);
    raft_free(r);
}
END_TEST

/* Reads share rounds: while one is in flight no other leaves, and the next one is for all that came meanwhile. */
START_TEST(reads_share_rounds)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t first = raft_read(r, now);
    uint64_t last = 0;

    said(r, 2);
    said(r, 3);
    for (unsigned i = 0; i < 100; i++) {
        last = raft_read(r, now);
        ck_assert_int_eq(said(r, 2).type, 0);
    }
    answers(r, 2, first);
    ck_assert_int_eq(poll(r, last), RAFT_READ_WAIT);
    ck_assert_uint_eq(said(r, 2).append.round, last);
    answers(r, 2, last);

    ck_assert_int_eq(poll(r, last), RAFT_READ_READY);
    ck_assert_uint_gt(raft_send_due(r, 2), now);
    raft_free(r);
}
END_TEST

/* An append that leaves anyway carries the newest ticket. */
START_TEST(entries_carry_rounds)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t ticket;

    raft_read(r, now);
    said(r, 2);
    ticket = raft_read(r, now);
    propose(r);

    ck_assert_uint_eq(said(r, 2).append.round, ticket);
    raft_free(r);
}
END_TEST

/* 6.4 step 1, F2: a leader that has committed nothing in its term does not know what is committed. */
START_TEST(no_read_before_the_first_commit_of_the_term)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "11");
    uint64_t ticket = raft_read(r, now);
    raft_index index;

    said(r, 2);
    answers(r, 2, ticket);
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    raft_propose(r, now, RAFT_NOOP, NULL);
    settle(r);
    acked(r, 2, 3);

    ck_assert_int_eq(poll_at(r, ticket, &index), RAFT_READ_READY);
    ck_assert_uint_eq(index, 3);
    raft_free(r);
}
END_TEST

/* A lone voter is its own quorum. */
START_TEST(lone_voter_reads_at_once)
{
    struct raft *r = an_established_leader(.voters = 1, .term = 1);

    ck_assert_int_eq(poll(r, raft_read(r, now)), RAFT_READ_READY);
    raft_free(r);
}
END_TEST

/* Learners have no say in who leads. */
START_TEST(learners_confirm_nothing)
{
    struct raft *r = an_established_leader(.voters = 3, .learners = 2, .term = 1);
    uint64_t ticket = raft_read(r, now);

    ck_assert_int_eq(said(r, 4).type, 0);
    answers(r, 4, ticket);
    answers(r, 5, ticket);

    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    raft_free(r);
}
END_TEST

/* F3: what waits when leadership ends is lost, and an old answer does not revive it. */
START_TEST(change_of_leader_loses_reads)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t ticket = raft_read(r, now);

    said(r, 2);
    receive(r, append(.from = 3, .term = 2));
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    receive(r, appended(.from = 2, .term = 1, .ok = true, .index = 1, .round = ticket));

    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    raft_free(r);
}
END_TEST

/* What was ready stays so: that it may be served at that index remains true. */
START_TEST(ready_stays_ready)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t ticket = raft_read(r, now);
    raft_index index;

    said(r, 2);
    answers(r, 2, ticket);
    receive(r, append(.from = 3, .term = 2));

    ck_assert_int_eq(poll_at(r, ticket, &index), RAFT_READ_READY);
    ck_assert_uint_eq(index, 1);
    raft_free(r);
}
END_TEST

/* Under load rounds follow each other faster than the map follows the log: the index of a reader that waits must not rise
 * with each of them, or it would wait for ever. */
START_TEST(index_of_a_ready_read_stands_still)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t tickets[40];
    raft_index index;

    for (unsigned i = 0; i < 40; i++) {
        tickets[i] = raft_read(r, now);
        said(r, 2);
        answers(r, 2, tickets[i]);
        ck_assert_int_eq(poll_at(r, tickets[i], &index), RAFT_READ_READY);
        ck_assert_uint_eq(index, i + 1);
        propose(r);
        settle(r);
        said(r, 2);
        acked(r, 2, i + 2);
    }
    for (unsigned i = 0; i < 15; i++) {
        ck_assert_int_eq(poll_at(r, tickets[i], &index), RAFT_READ_READY);
        ck_assert_uint_eq(index, i + 1);
    }
    ck_assert_int_eq(poll_at(r, tickets[39], &index), RAFT_READ_READY);
    ck_assert_uint_eq(index, 40);
    apply_all(r);
    answers(r, 2, raft_read(r, now));

    for (unsigned i = 0; i < 40; i++) { /* whatever it says now, it is applied */
        ck_assert_int_eq(poll_at(r, tickets[i], &index), RAFT_READ_READY);
        ck_assert_uint_le(index, status(r).applied);
    }
    raft_free(r);
}
END_TEST

/* Without an answer within an election timeout a read is lost. Here the leader is heard, but not its newest round. */
START_TEST(unconfirmed_read_is_lost)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t ticket = raft_read(r, now);
    raft_time begun = now;

    for (unsigned i = 0; i < 9; i++) {
        wait_ms(10);
        answers(r, 2, 0);
    }
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    ck_assert_uint_eq(raft_tick_due(r), begun + ELECTION);
    tick(r);

    ck_assert(is_leader(r));
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    raft_free(r);
}
END_TEST

/* A later read is not lost with an earlier one, and at the latest after a second election timeout. */
START_TEST(later_read_has_its_own_time)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t first = raft_read(r, now), second;
    raft_time begun = now;

    wait_ms(50);
    answers(r, 2, 0);
    second = raft_read(r, now);
    now = begun + ELECTION;
    raft_tick(r, now);
    ck_assert_int_eq(poll(r, first), RAFT_READ_LOST);
    ck_assert_int_eq(poll(r, second), RAFT_READ_WAIT);
    answers(r, 2, 0);
    ck_assert_uint_eq(raft_tick_due(r), begun + 2 * ELECTION);
    wait_ms(50);
    answers(r, 2, 0);
    tick(r);

    ck_assert_int_eq(poll(r, second), RAFT_READ_LOST);
    raft_free(r);
}
END_TEST

/* Without a leader there is nothing to read. */
START_TEST(no_leader_no_read)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    ck_assert_uint_eq(raft_read(r, now), 0);
    tick(r);
    ck_assert_uint_eq(raft_read(r, now), 0);
    ck_assert_int_eq(poll(r, 0), RAFT_READ_LOST);
    ck_assert_int_eq(poll(r, 123), RAFT_READ_LOST);
    raft_free(r);
}
END_TEST

/* 6.4, end: a follower asks its leader, and may serve the read at the index that it is told. */
START_TEST(follower_asks_its_leader)
{
    struct raft *r = a_follower_of_2();
    uint64_t ticket = raft_read(r, now);
    struct raft_message m;
    raft_index index;

    ck_assert_int_eq(said(r, 3).type, 0);
    m = said(r, 2);
    ck_assert_int_eq(m.type, RAFT_READ);
    ck_assert_uint_eq(m.read.ticket, ticket);
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    receive(r, read_message(RAFT_READ_AT, 2, 1, ticket, 77));

    ck_assert_int_eq(poll_at(r, ticket, &index), RAFT_READ_READY);
    ck_assert_uint_eq(index, 77);
    raft_free(r);
}
END_TEST

/* One question at a time; the newest ticket asks for all; and it asks again if no answer comes. */
START_TEST(follower_asks_for_all_its_reads_at_once)
{
    struct raft *r = a_follower_of_2();
    uint64_t first = raft_read(r, now), second, third;

    said(r, 2);
    second = raft_read(r, now);
    third = raft_read(r, now);
    ck_assert_int_eq(said(r, 2).type, 0);
    ck_assert_uint_eq(raft_send_due(r, 2), now + HEARTBEAT);
    receive(r, read_message(RAFT_READ_AT, 2, 1, first, 5));
    ck_assert_int_eq(poll(r, first), RAFT_READ_READY);
    ck_assert_int_eq(poll(r, second), RAFT_READ_WAIT);
    ck_assert_uint_eq(said(r, 2).read.ticket, third);
    wait_ms(HEARTBEAT);
    ck_assert_uint_eq(said(r, 2).read.ticket, third);
    receive(r, read_message(RAFT_READ_AT, 2, 1, third, 6));

    ck_assert_int_eq(poll(r, second), RAFT_READ_READY);
    ck_assert_int_eq(poll(r, third), RAFT_READ_READY);
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* F3 (etcd#20418): an answer of an earlier leader or term is worth nothing; nor is one to a question never asked. */
START_TEST(follower_drops_answers_of_others)
{
    struct raft *r = a_follower_of_2();
    uint64_t ticket = raft_read(r, now);

    said(r, 2);
    receive(r, read_message(RAFT_READ_AT, 3, 1, ticket, 5));
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    receive(r, read_message(RAFT_READ_AT, 2, 1, ticket + 1, 5));
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_WAIT);
    receive(r, append(.from = 3, .term = 2));
    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    receive(r, read_message(RAFT_READ_AT, 2, 1, ticket, 5));
    receive(r, read_message(RAFT_READ_AT, 3, 2, ticket, 5));

    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    raft_free(r);
}
END_TEST

/* A follower whose leader does not answer loses the read in time. (B10) */
START_TEST(follower_read_is_lost)
{
    struct raft *r = a_follower_of_2();
    uint64_t ticket = raft_read(r, now);

    ck_assert_uint_le(raft_tick_due(r), now + ELECTION);
    wait_ms(ELECTION);
    raft_tick(r, now);

    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    raft_free(r);
}
END_TEST

/* The leader answers a follower when a round that began after the question is confirmed. */
START_TEST(leader_answers_a_follower)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;
    uint64_t round;

    receive(r, read_message(RAFT_READ, 3, 1, 42, 0));
    round = said(r, 2).append.round;
    ck_assert_int_eq(said_last(r, 3).type, RAFT_APPEND);
    answers(r, 2, round);

    m = said(r, 3);
    ck_assert_int_eq(m.type, RAFT_READ_AT);
    ck_assert_uint_eq(m.read.ticket, 42);
    ck_assert_uint_eq(m.read.index, 1);
    ck_assert_int_eq(said(r, 3).type, 0);
    raft_free(r);
}
END_TEST

/* A question that comes again before the answer does not put the answer off. */
START_TEST(repeated_question_keeps_its_place)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t round;

    receive(r, read_message(RAFT_READ, 3, 1, 42, 0));
    round = said(r, 2).append.round;
    wait_ms(5);
    receive(r, read_message(RAFT_READ, 3, 1, 43, 0));
    answers(r, 2, round);

    ck_assert_uint_eq(said(r, 3).read.ticket, 42);
    raft_free(r);
}
END_TEST

/* Who is no member gets no answer, and a follower gives none. */
START_TEST(only_members_are_answered)
{
    struct raft *leader = an_established_leader(.voters = 1, .term = 1);
    struct raft *follower = a_follower_of_2();

    receive(leader, read_message(RAFT_READ, 9, 1, 42, 0));
    receive(follower, read_message(RAFT_READ, 3, 1, 42, 0));

    ck_assert_int_eq(said(leader, 9).type, 0);
    ck_assert_int_eq(said(follower, 3).type, 0);
    raft_free(leader);
    raft_free(follower);
}
END_TEST

/* After a crash tickets are new: a late answer to a read from before it must not answer one from after it. */
START_TEST(tickets_differ_from_life_to_life)
{
    struct raft *before = a_follower(.voters = 3, .term = 1, .seed = 1);
    struct raft *after = a_follower(.voters = 3, .term = 1, .seed = 2);

    receive(before, append(.from = 2, .term = 1));
    receive(after, append(.from = 2, .term = 1));

    ck_assert_uint_ne(raft_read(before, now), raft_read(after, now));
    raft_free(before);
    raft_free(after);
}
END_TEST

/* F1: a leader that was paused while another one was elected serves nothing when it wakes. */
START_TEST(paused_leader_serves_nothing)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    uint64_t ticket;

    wait_ms(100 * ELECTION);
    ticket = raft_read(r, now);
    ck_assert_int_ne(poll(r, ticket), RAFT_READ_READY);
    raft_tick(r, now);

    ck_assert_int_eq(poll(r, ticket), RAFT_READ_LOST);
    ck_assert(is_follower(r));
    raft_free(r);
}
END_TEST

RUN("reads", read_waits_for_a_quorum, older_round_does_not_confirm, reads_share_rounds, entries_carry_rounds,
    no_read_before_the_first_commit_of_the_term, lone_voter_reads_at_once, learners_confirm_nothing,
    change_of_leader_loses_reads, ready_stays_ready, index_of_a_ready_read_stands_still, unconfirmed_read_is_lost,
    later_read_has_its_own_time, no_leader_no_read, follower_asks_its_leader, follower_asks_for_all_its_reads_at_once,
    follower_drops_answers_of_others, follower_read_is_lost, leader_answers_a_follower,
    repeated_question_keeps_its_place, only_members_are_answered, tickets_differ_from_life_to_life,
    paused_leader_serves_nothing)
