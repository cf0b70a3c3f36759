/* test_replication.c -- entries on their way: bounds, order of messages, commit, refusals, transfers. */
#include "world.h"

/* Whatever is owed first: a vote's answer before an acknowledgement, both before entries. */
START_TEST(answers_go_before_entries)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    propose(r);
    receive(r, vote(.from = 2, .term = 5, .pre = true));
    receive(r, append(.from = 2, .term = 0 + 1, .prev = at(0, 0))); /* nonsense, dropped */

    ck_assert_int_eq(said(r, 2).type, RAFT_VOTED);
    ck_assert_int_eq(said(r, 2).type, RAFT_APPEND);
    raft_free(r);
}
END_TEST

/* One slot for acknowledgements: the newest says all. */
START_TEST(newest_acknowledgement_says_all)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1, .terms = "1", .round = 3));
    receive(r, append(.from = 2, .term = 1, .prev = at(1, 1), .terms = "1", .round = 4));
    settle(r);
    struct raft_message m = said(r, 2);

    ck_assert_uint_eq(m.appended.index, 2);
    ck_assert_uint_eq(m.appended.round, 4);
    ck_assert_int_eq(said(r, 2).type, 0);
    raft_free(r);
}
END_TEST

/* An acknowledgement covers what was compared with this leader's log, not what else may stand behind it. */
START_TEST(acknowledgement_stops_at_what_was_compared)
{
    struct raft *r = a_follower(.voters = 3, .term = 3, .log = "1222");

    receive(r, append(.from = 2, .term = 3, .prev = at(1, 1)));

    ck_assert_uint_eq(said(r, 2).appended.index, 1);
    raft_free(r);
}
END_TEST

/* In a new term the comparison begins anew. */
START_TEST(new_term_compares_anew)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "111");

    receive(r, append(.from = 2, .term = 1, .prev = at(3, 1)));
    ck_assert_uint_eq(said(r, 2).appended.index, 3);
    receive(r, append(.from = 3, .term = 2, .prev = at(1, 1), .commit = 3));
    settle(r);

    ck_assert_uint_eq(said(r, 3).appended.index, 1);
    ck_assert_uint_eq(commit_of(r), 1);
    raft_free(r);
}
END_TEST

/* A second leader in one term cannot be; its append is dropped. */
START_TEST(second_leader_of_a_term_is_ignored)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1, .terms = "1"));
    ck_assert_uint_eq(receive(r, append(.from = 3, .term = 1, .terms = "11")).count, 0);

    ck_assert_uint_eq(leader_of(r), 2);
    ck_assert_uint_eq(last_of(r), 1);
    ck_assert_int_eq(said(r, 3).type, 0);
    raft_free(r);
}
END_TEST

/* What contradicts a committed entry makes no sense: nothing is cut off. (C7) */
START_TEST(committed_entries_are_never_cut_off)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "112", .applied = 2);

    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(1, 1), .terms = "3")).count, 0);
    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(2, 2), .terms = "3")).count, 0);

    ck_assert_str_eq(log_of(r), "112");
    raft_free(r);
}
END_TEST

/* Terms along a log never fall, and never exceed the leader's. */
START_TEST(senseless_appends_are_dropped)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "12");
    struct raft_config nobody = {.count = 0};

    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(2, 2), .terms = "1")).count, 0);
    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(2, 2), .terms = "32")).count, 0);
    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(2, 2), .terms = "4")).count, 0);
    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(2, 2), .terms = "0")).count, 0);
    ck_assert_uint_eq(receive(r, append(.from = 2, .term = 3, .prev = at(2, 2), .terms = "3", .config = &nobody)).count,
                      0);

    ck_assert_str_eq(log_of(r), "12");
    raft_free(r);
}
END_TEST

/* Messages to others, from nobody or from ourselves are dropped. */
START_TEST(misdirected_messages_are_dropped)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_message m = append(.from = 2, .term = 2, .terms = "1");
    struct raft_taken taken;

    m.to = 3;
    raft_receive(r, now, &m, &taken);
    m.to = 1;
    m.from = 1;
    raft_receive(r, now, &m, &taken);
    m.from = 0;
    raft_receive(r, now, &m, &taken);

    ck_assert_uint_eq(term_of(r), 1);
    ck_assert_uint_eq(last_of(r), 0);
    raft_free(r);
}
END_TEST

/* An acknowledgement of entries that we do not have makes no sense. */
START_TEST(acknowledgement_beyond_the_log_is_dropped)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    acked(r, 2, 99);

    ck_assert_uint_eq(peer(r, 2).match, 1);
    raft_free(r);
}
END_TEST

/* A commit index travels with entries, or alone after two milliseconds, and with a heartbeat at the latest. */
START_TEST(commit_index_is_told_soon)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    propose(r);
    settle(r);
    said(r, 2);
    said(r, 3);
    acked(r, 2, 2);
    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert_uint_eq(raft_send_due(r, 3), now + 2);
    wait_ms(2);

    ck_assert_uint_eq(said(r, 3).append.commit, 2);
    ck_assert_uint_eq(raft_send_due(r, 3), now + HEARTBEAT);
    raft_free(r);
}
END_TEST

/* A message that was made before the term moved on does not leave. */
START_TEST(outdated_message_does_not_leave)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;

    propose(r);
    raft_next_message(r, now, 2, &m);
    receive(r, append(.from = 3, .term = 2));
    settle(r);

    ck_assert(!raft_sending(r, now, &m, 0));
    raft_free(r);
}
END_TEST

/* The sender may send fewer entries than it was offered: the rest comes next. */
START_TEST(sender_may_send_less)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;

    for (unsigned i = 0; i < 10; i++)
        propose(r);
    raft_next_message(r, now, 2, &m);
    ck_assert_uint_eq(m.append.count, 10);
    m.append.count = 4;
    ck_assert(raft_sending(r, now, &m, 400));

    m = said(r, 2);
    ck_assert_uint_eq(m.append.prev.index, 5);
    ck_assert_uint_eq(m.append.count, 6);
    raft_free(r);
}
END_TEST

/* Dissertation 3.10: a transfer waits until the target has all, then tells it; nothing is proposed meanwhile. */
START_TEST(transfer_to_one_who_is_behind)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    propose(r);
    settle(r);
    said(r, 3);
    raft_transfer(r, now, 3);
    ck_assert(status(r).transferring);
    ck_assert_uint_eq(propose(r), 0);
    ck_assert_int_eq(said(r, 3).type, 0);
    acked(r, 3, 2);
    ck_assert_int_eq(said(r, 3).type, RAFT_TAKE_OVER);
    ck_assert_int_ne(said(r, 3).type, RAFT_TAKE_OVER);
    receive(r, vote(.from = 3, .term = 2, .last = at(2, 1), .transfer = true));

    ck_assert(is_follower(r));
    ck_assert(!status(r).transferring);
    raft_free(r);
}
END_TEST

/* Dissertation 3.10: the target stands at once, without a pre-vote, and says that it may. */
START_TEST(take_over_stands_at_once)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_message m = {.type = RAFT_TAKE_OVER, .from = 2, .term = 1};

    receive(r, append(.from = 2, .term = 1));
    said(r, 2);
    receive(r, m);
    ck_assert(is_candidate(r));
    ck_assert_uint_eq(term_of(r), 2);
    settle(r);

    m = said(r, 3);
    ck_assert_int_eq(m.type, RAFT_VOTE);
    ck_assert(m.vote.transfer);
    ck_assert(!m.vote.pre);
    raft_free(r);
}
END_TEST

/* Only from the leader, and only to a voter. */
START_TEST(take_over_of_others_is_ignored)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft *learner = a_follower(.self = 4, .voters = 3, .learners = 1, .term = 1);
    struct raft_message m = {.type = RAFT_TAKE_OVER, .from = 3, .term = 1};

    receive(r, append(.from = 2, .term = 1));
    receive(r, m);
    receive(learner, append(.from = 2, .term = 1));
    m.from = 2;
    receive(learner, m);

    ck_assert(is_follower(r));
    ck_assert(is_follower(learner));
    raft_free(r);
    raft_free(learner);
}
END_TEST

/* Dissertation 3.10: if nothing comes of it within an election timeout, the leader goes on. */
START_TEST(transfer_ends)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    raft_time begun = now;

    raft_transfer(r, now, 3);
    ck_assert_int_eq(said(r, 3).type, RAFT_TAKE_OVER);
    wait_ms(HEARTBEAT);
    ck_assert_int_eq(said(r, 3).type, RAFT_TAKE_OVER); /* it may have been lost */
    acked(r, 2, 1);
    acked(r, 3, 1);
    ck_assert_uint_eq(raft_tick_due(r), begun + ELECTION);
    tick(r);

    ck_assert(is_leader(r));
    ck_assert(!status(r).transferring);
    ck_assert_uint_ne(propose(r), 0);
    raft_free(r);
}
END_TEST

/* To nobody in particular: to the voter that is furthest. Not to a learner, not to itself, not without another. */
START_TEST(transfer_chooses_the_best)
{
    struct raft *r = an_established_leader(.voters = 3, .learners = 1, .term = 1);
    struct raft *lone = an_established_leader(.voters = 1, .learners = 1, .term = 1);

    propose(r);
    settle(r);
    said(r, 2);
    said(r, 3);
    acked(r, 3, 2);
    raft_transfer(r, now, 4);
    raft_transfer(r, now, 1);
    raft_transfer(r, now, 99);
    raft_transfer(lone, now, 0);
    ck_assert(!status(r).transferring);
    ck_assert(!status(lone).transferring);
    raft_transfer(r, now, 0);

    ck_assert_int_eq(said(r, 3).type, RAFT_TAKE_OVER);
    raft_free(r);
    raft_free(lone);
}
END_TEST

static void random_entries(struct raft_message *m, raft_term term)
{
    static struct raft_head heads[8];
    static struct raft_config configs[4];

    m->append.commit = (unsigned)rand() % 12;
    m->append.round = (unsigned)rand() % 5;
    m->append.count = (unsigned)rand() % 8;
    m->append.heads = heads;
    for (unsigned i = 0; i < m->append.count; i++) {
        term += rand() % 3 == 0;
        heads[i] = (struct raft_head){.term = term, .type = RAFT_COMMAND};
        if (rand() % 5 != 0)
            continue;
        configs[i % 4] = config_of(1 + (unsigned)rand() % 4, (unsigned)rand() % 2);
        heads[i].type = RAFT_CONFIG;
        heads[i].config = &configs[i % 4];
    }
}

/* Not quite any message: terms and indexes near those of `r`, or most would be dropped at the door. */
static struct raft_message random_message(const struct raft *r)
{
    raft_term term = term_of(r) + (rand() % 10 == 0) - (rand() % 10 == 0);
    struct raft_message m = {.type = 1 + (unsigned)rand() % 8, .from = 1 + (unsigned)rand() % 6, .term = term};
    struct raft_pos pos = at((unsigned)rand() % 12, (unsigned)rand() % 8);

    if (rand() % 2 == 0)
        pos.term = raft_term_at(r, pos.index);
    switch (m.type) {
    case RAFT_VOTE:
        m.vote.last = pos;
        m.vote.pre = rand() % 2;
        m.vote.transfer = rand() % 2;
        break;
    case RAFT_VOTED:
        m.voted.pre = rand() % 2;
        m.voted.granted = rand() % 2;
        break;
    case RAFT_APPEND:
        m.append.prev = pos;
        random_entries(&m, pos.term);
        break;
    case RAFT_APPENDED:
        m.appended.ok = rand() % 2;
        m.appended.index = pos.index;
        m.appended.hint = pos.term;
        m.appended.round = (uint64_t)rand();
        break;
    case RAFT_SNAPSHOT:
        m.snapshot.pos = pos;
        break;
    case RAFT_READ:
    case RAFT_READ_AT:
        m.read.ticket = (uint64_t)rand();
        m.read.index = pos.index;
        break;
    case RAFT_TAKE_OVER:
        break;
    }
    return m;
}

/* Whatever arrives, in whatever order: every invariant holds, and nothing is asserted that a message can make untrue. */
START_TEST(random_messages_break_nothing)
{
    srand(7);
    for (unsigned life = 0; life < 100; life++) {
        struct raft *r = a_follower(.voters = 1 + life % 4, .term = 2, .log = "1122", .base = life % 3, .applied = 2);

        for (unsigned i = 0; i < 500; i++) {
            receive(r, random_message(r));
            if (rand() % 4 == 0)
                settle(r);
            if (rand() % 4 == 0)
                apply_all(r);
            if (rand() % 20 == 0)
                raft_tick(r, now);
            if (rand() % 10 == 0)
                raft_settled(r, status(r).applied, 1u << 20);
            propose(r);
            for (raft_id id = 1; id <= 6; id++)
                said_last(r, id);
            wait_ms((raft_time)rand() % 20);
            raft_check(r);
        }
        raft_free(r);
    }
}
END_TEST

/* Events tell the story, the oldest first; if nobody asks, the oldest are lost. */
START_TEST(events_tell_the_story)
{
    struct raft *r = a_leader(.voters = 3, .term = 3);
    static const enum raft_event_type story[] = {RAFT_EVENT_PRECANDIDATE, RAFT_EVENT_CANDIDATE, RAFT_EVENT_VOTED,
                                                 RAFT_EVENT_PEER,         RAFT_EVENT_PEER,      RAFT_EVENT_LEADER};
    struct raft_event e;

    for (unsigned i = 0; i < sizeof story / sizeof story[0]; i++) {
        ck_assert(raft_next_event(r, &e));
        ck_assert_int_eq(e.type, story[i]);
    }
    ck_assert_uint_eq(e.term, 3);
    ck_assert(!raft_next_event(r, &e));
    for (unsigned i = 0; i < 1000; i++)
        receive(r, vote(.from = 2, .term = 3));
    ck_assert(raft_next_event(r, &e));
    ck_assert_int_eq(e.type, RAFT_EVENT_REFUSED);
    raft_free(r);
}
END_TEST

/* Room is no rule of Raft's: members tell the leader whether they have some, and the caller acts on it. */
START_TEST(a_follower_says_that_it_is_full)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1));
    ck_assert(!said(r, 2).appended.full);
    raft_set_full(r, true);
    receive(r, append(.from = 2, .term = 1, .round = 1));
    ck_assert(said(r, 2).appended.full);
    raft_set_full(r, false);
    receive(r, append(.from = 2, .term = 1, .round = 2));
    ck_assert(!said(r, 2).appended.full);
    raft_free(r);
}
END_TEST

START_TEST(a_full_leader_has_an_heir_with_room)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    receive(r, appended(.from = 2, .term = 1, .ok = true, .index = 1, .full = true));
    propose(r);
    settle(r);
    ck_assert_uint_eq(raft_heir_with_room(r), 0); /* it has room itself */
    raft_set_full(r, true);
    ck_assert_uint_eq(raft_heir_with_room(r), 3);

    receive(r, appended(.from = 2, .term = 1, .ok = true, .index = 2, .full = true)); /* further, but full */
    ck_assert_uint_eq(raft_heir_with_room(r), 3);
    raft_transfer(r, now, 0);
    ck_assert_uint_eq(raft_heir_with_room(r), 0); /* it is at it */
    acked(r, 3, 2);
    ck_assert_int_eq(said(r, 3).type, RAFT_TAKE_OVER);
    raft_free(r);
}
END_TEST

START_TEST(where_all_are_full_the_leader_stays)
{
    struct raft *r = an_established_leader(.voters = 3, .learners = 1, .term = 1);

    raft_set_full(r, true);
    ck_assert(raft_quorum_has_room(r)); /* of itself its caller knows better */
    for (raft_id id = 2; id <= 3; id++)
        receive(r, appended(.from = id, .term = 1, .ok = true, .index = 1, .full = true));

    ck_assert_uint_eq(raft_heir_with_room(r), 0); /* a learner with room does not count */
    ck_assert(!raft_quorum_has_room(r));
    receive(r, appended(.from = 3, .term = 1, .ok = true, .index = 1));
    ck_assert(raft_quorum_has_room(r));
    ck_assert_uint_eq(raft_heir_with_room(r), 3);
    for (unsigned i = 0; i < 3; i++) { /* it does not answer any more */
        wait_ms(ELECTION / 2);
        receive(r, appended(.from = 2, .term = 1, .ok = true, .index = 1, .full = true));
    }
    ck_assert_uint_eq(raft_heir_with_room(r), 0);
    raft_free(r);
}
END_TEST

RUN("replication", answers_go_before_entries, newest_acknowledgement_says_all,
    acknowledgement_stops_at_what_was_compared, new_term_compares_anew, second_leader_of_a_term_is_ignored,
    committed_entries_are_never_cut_off, senseless_appends_are_dropped, misdirected_messages_are_dropped,
    acknowledgement_beyond_the_log_is_dropped, commit_index_is_told_soon, outdated_message_does_not_leave,
    sender_may_send_less, transfer_to_one_who_is_behind, take_over_stands_at_once, take_over_of_others_is_ignored,
    transfer_ends, transfer_chooses_the_best, random_messages_break_nothing, events_tell_the_story,
    a_follower_says_that_it_is_full, a_full_leader_has_an_heir_with_room, where_all_are_full_the_leader_stays)
