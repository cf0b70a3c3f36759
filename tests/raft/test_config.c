/* test_config.c -- membership: one change at a time, in force when appended [dissertation 4]. */
#include "world.h"

static raft_index change(struct raft *r, struct raft_config c)
{
    return raft_propose(r, now, RAFT_CONFIG, &c);
}

/* 4.1, E2: a configuration is in force as soon as it is in the log: the new majority commits it. */
START_TEST(configuration_is_in_force_when_appended)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_config c = with(config_of(3, 0), 4, RAFT_VOTER);

    ck_assert_int_eq(raft_may_change(r, &c), RAFT_CHANGE_OK);
    ck_assert_uint_eq(change(r, c), 2);
    ck_assert_uint_eq(raft_config_latest(r)->count, 4);
    ck_assert_uint_eq(raft_config_committed(r)->count, 3);
    settle(r);
    ck_assert_uint_eq(raft_send_due(r, 4), 0); /* it is a peer at once */
    acked(r, 2, 2);
    ck_assert_uint_eq(commit_of(r), 1); /* two of three before, but not of four */
    acked(r, 3, 2);

    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert_uint_eq(raft_config_committed(r)->count, 4);
    raft_free(r);
}
END_TEST

/* 4.1: one change at a time. */
START_TEST(one_change_at_a_time)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_config c = with(config_of(3, 0), 4, RAFT_LEARNER);
    struct raft_config d = with(c, 5, RAFT_LEARNER);

    change(r, c);
    ck_assert_int_eq(raft_may_change(r, &d), RAFT_CHANGE_IN_FLIGHT);
    settle(r);
    acked(r, 2, 2);

    ck_assert_int_eq(raft_may_change(r, &d), RAFT_CHANGE_OK);
    raft_free(r);
}
END_TEST

/* 4.1: at most one voter comes or goes; learners as many as you like; some voter must be left; ids are distinct. */
START_TEST(changes_are_single)
{
    struct raft *r = an_established_leader(.voters = 3, .learners = 1, .term = 1);
    const struct raft_config now_is = config_of(3, 1);
    struct raft_config twice = now_is, none = config_of(0, 3), empty = {.count = 0}, zero = now_is;
    struct {
        struct raft_config next;
        enum raft_change answer;
    } cases[] = {
        {now_is, RAFT_CHANGE_OK},
        {with(now_is, 4, RAFT_VOTER), RAFT_CHANGE_OK},
        {without(now_is, 3), RAFT_CHANGE_OK},
        {without(now_is, 1), RAFT_CHANGE_OK}, /* ourselves */
        {with(now_is, 3, RAFT_LEARNER), RAFT_CHANGE_OK},
        {with(with(now_is, 5, RAFT_LEARNER), 6, RAFT_LEARNER), RAFT_CHANGE_OK},
        {without(with(now_is, 5, RAFT_VOTER), 4), RAFT_CHANGE_OK},
        {with(with(now_is, 5, RAFT_VOTER), 6, RAFT_VOTER), RAFT_CHANGE_TOO_FAR},
        {without(without(now_is, 2), 3), RAFT_CHANGE_TOO_FAR},
        {with(without(now_is, 2), 5, RAFT_VOTER), RAFT_CHANGE_TOO_FAR},
        {with(with(now_is, 4, RAFT_VOTER), 3, RAFT_LEARNER), RAFT_CHANGE_TOO_FAR},
        {none, RAFT_CHANGE_TOO_FAR},
        {empty, RAFT_CHANGE_TOO_FAR},
        {twice, RAFT_CHANGE_TOO_FAR},
        {zero, RAFT_CHANGE_TOO_FAR},
    };

    cases[13].next.members[cases[13].next.count++] = (struct raft_member){.id = 3, .role = RAFT_VOTER};
    cases[14].next.members[0].id = 0;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_int_eq(raft_may_change(r, &cases[i].next), cases[i].answer);
    raft_free(r);
}
END_TEST

/* E1, Ongaro on raft-dev, July 2015: no change before an entry of the term is committed. The three published cases: an
 * addition and a removal, two additions, two removals: each time the second leader is refused. */
START_TEST(no_change_before_a_commit_of_the_term)
{
    struct raft_config nexts[] = {without(config_of(4, 0), 4), with(config_of(4, 0), 5, RAFT_VOTER),
                                  without(config_of(4, 0), 1)};

    for (unsigned i = 0; i < 3; i++) {
        struct raft *r = a_leader(.voters = 4, .term = 2, .log = "1");

        ck_assert_int_eq(raft_may_change(r, &nexts[i]), RAFT_CHANGE_TOO_EARLY);
        raft_propose(r, now, RAFT_NOOP, NULL);
        settle(r);
        ck_assert_int_eq(raft_may_change(r, &nexts[i]), RAFT_CHANGE_TOO_EARLY);
        acked(r, 2, 2);
        acked(r, 3, 2);

        ck_assert_int_eq(raft_may_change(r, &nexts[i]), RAFT_CHANGE_OK);
        raft_free(r);
    }
}
END_TEST

/* Only a leader changes members, and not one that hands over. */
START_TEST(only_a_leader_changes)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft *follower = a_follower(.voters = 3, .term = 1);
    struct raft_config c = config_of(3, 1);

    ck_assert_int_eq(raft_may_change(follower, &c), RAFT_CHANGE_NOT_LEADER);
    raft_transfer(r, now, 2);
    ck_assert_int_eq(raft_may_change(r, &c), RAFT_CHANGE_NOT_LEADER);
    ck_assert_uint_eq(change(r, c), 0);
    raft_free(r);
    raft_free(follower);
}
END_TEST

/* 4.1: a follower, too, uses the newest configuration of its log, and goes back when that entry is cut off. (E5) */
START_TEST(truncation_takes_a_configuration_back)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "1");
    struct raft_config c = config_of(4, 0);

    receive(r, append(.from = 2, .term = 1, .prev = at(1, 1), .terms = "11", .config = &c));
    ck_assert_uint_eq(raft_config_latest(r)->count, 4);
    ck_assert_uint_eq(status(r).config_index, 3);
    receive(r, append(.from = 3, .term = 2, .prev = at(1, 1), .terms = "2"));

    ck_assert_uint_eq(raft_config_latest(r)->count, 3);
    ck_assert_uint_eq(status(r).config_index, 0);
    raft_free(r);
}
END_TEST

/* Two are kept: when a second one comes, the first must be committed, known or not. */
START_TEST(second_configuration_means_the_first_is_committed)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_config c = config_of(4, 0), d = config_of(5, 0);

    receive(r, append(.from = 2, .term = 1, .terms = "1", .config = &c));
    receive(r, append(.from = 2, .term = 1, .prev = at(1, 1), .terms = "1", .config = &d));
    ck_assert_uint_eq(raft_config_latest(r)->count, 5);
    ck_assert_uint_eq(raft_config_committed(r)->count, 4);
    receive(r, append(.from = 3, .term = 2, .prev = at(1, 1), .terms = "2"));
    ck_assert_uint_eq(raft_config_latest(r)->count, 4);
    /* And what is committed is not cut off. */
    ck_assert_uint_eq(receive(r, append(.from = 3, .term = 2, .terms = "2")).count, 0);

    ck_assert_uint_eq(raft_config_latest(r)->count, 4);
    raft_free(r);
}
END_TEST

/* 4.2.2: a leader that removed itself leads until that is committed, not counting itself; then it names the best of the
 * others and steps down. */
START_TEST(leader_removes_itself)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    ck_assert_uint_eq(change(r, without(config_of(3, 0), 1)), 2);
    settle(r);
    ck_assert(is_leader(r));
    said(r, 2);
    said(r, 3);
    acked(r, 2, 2);
    ck_assert_uint_eq(commit_of(r), 1); /* of 2 and 3 both are needed */
    ck_assert(is_leader(r));
    ck_assert_uint_eq(propose(r), 3);
    acked(r, 3, 2);

    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert(is_follower(r));
    ck_assert_int_eq(said_last(r, 2).type == RAFT_TAKE_OVER || said_last(r, 3).type == RAFT_TAKE_OVER, 1);
    wait_ms(10 * ELECTION);
    raft_tick(r, now);
    ck_assert(is_follower(r)); /* and it does not come back */
    ck_assert_uint_eq(raft_tick_due(r), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* ... the same if it made itself a learner. */
START_TEST(leader_demotes_itself)
{
    struct raft *r = an_established_leader(.voters = 2, .term = 1);

    change(r, with(config_of(2, 0), 1, RAFT_LEARNER));
    said(r, 2);
    acked(r, 2, 2);

    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert(is_follower(r));
    ck_assert_int_eq(said(r, 2).type, RAFT_TAKE_OVER);
    raft_free(r);
}
END_TEST

/* 4.2.2: who was removed stands as long as that is not committed: it alone may have the entry. It has no vote of its own,
 * not even for itself, and its successors' configuration decides. */
START_TEST(removed_member_stands_until_that_is_committed)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    change(r, without(config_of(3, 0), 1));
    settle(r);
    tick(r); /* nobody answers: it steps down */
    ck_assert(is_follower(r));
    tick(r);
    ck_assert(is_precandidate(r));
    receive(r, voted(.from = 2, .term = 2, .pre = true, .granted = true));
    ck_assert(is_precandidate(r)); /* itself and 2 are no majority of 2 and 3 */
    receive(r, voted(.from = 3, .term = 2, .pre = true, .granted = true));
    settle(r);
    receive(r, voted(.from = 2, .term = 2, .granted = true));
    ck_assert(is_candidate(r));
    receive(r, voted(.from = 3, .term = 2, .granted = true));
    ck_assert(is_leader(r));
    raft_propose(r, now, RAFT_NOOP, NULL);
    settle(r);
    acked(r, 2, 3);
    acked(r, 3, 3);

    ck_assert_uint_eq(commit_of(r), 3);
    ck_assert(is_follower(r));
    raft_free(r);
}
END_TEST

/* A member that was removed is told so, and of the commit, before it is left alone. (B6) */
START_TEST(removed_member_is_told)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_peer_status p;
    struct raft_message m;

    change(r, without(config_of(3, 0), 3));
    settle(r);
    ck_assert(!raft_peer_status(r, now, 3, &p));
    m = said(r, 3);
    ck_assert_int_eq(m.type, RAFT_APPEND);
    ck_assert_uint_eq(m.append.count, 1);
    said(r, 2);
    acked(r, 2, 2);
    ck_assert_uint_eq(commit_of(r), 2); /* without it */
    acked(r, 3, 2);
    wait_ms(2);
    m = said(r, 3);
    ck_assert_uint_eq(m.append.commit, 2);
    acked(r, 3, 2);

    ck_assert_uint_eq(raft_send_due(r, 3), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* ... but not for ever, if it does not answer. */
START_TEST(removed_member_is_given_up)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;

    change(r, without(config_of(3, 0), 3));
    for (unsigned i = 0; i < 50 && raft_send_due(r, 3) != RAFT_NEVER; i++) {
        acked(r, 2, 1);
        if (raft_send_due(r, 3) <= now) {
            raft_next_message(r, now, 3, &m);
            raft_sending(r, now, &m, 0);
        }
        wait_ms(HEARTBEAT);
    }

    ck_assert_uint_eq(raft_send_due(r, 3), RAFT_NEVER);
    ck_assert(is_leader(r));
    raft_free(r);
}
END_TEST

/* E4 (raft-rs#571): removed and added again in one term: the new membership begins with nothing known, and what the member
 * acknowledges is what it has on disk, so a late answer is true, too. */
START_TEST(removed_and_added_again)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    change(r, without(config_of(3, 0), 3));
    settle(r);
    acked(r, 2, 2);
    change(r, config_of(3, 0));
    settle(r);

    ck_assert_uint_eq(peer(r, 3).match, 0);
    ck_assert_int_eq(peer(r, 3).state, RAFT_PROBE);
    ck_assert_uint_eq(peer(r, 3).heard, 0);
    receive(r, appended(.from = 3, .term = 1, .index = 1, .hint = 1));
    ck_assert_uint_eq(peer(r, 3).next, 2);
    acked(r, 3, 1);
    ck_assert_uint_eq(peer(r, 3).match, 1);
    raft_free(r);
}
END_TEST

/* 4.2.1, E7: a learner has everything but a vote: the quorum does not wait for it. */
START_TEST(learner_is_not_waited_for)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    change(r, config_of(3, 2));
    settle(r);
    acked(r, 2, 2);

    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert_uint_eq(raft_send_due(r, 4), 0);
    raft_free(r);
}
END_TEST

/* A promotion asks the learner, too: it counts from then on. */
START_TEST(promoted_learner_counts)
{
    struct raft *r = an_established_leader(.voters = 1, .learners = 1, .term = 1);

    change(r, config_of(2, 0));
    settle(r);
    ck_assert_uint_eq(commit_of(r), 1);
    said(r, 2);
    acked(r, 2, 2);

    ck_assert_uint_eq(commit_of(r), 2);
    raft_free(r);
}
END_TEST

/* Going from two voters to one: the one commits by itself, even if the other is dead. */
START_TEST(last_but_one_voter_goes)
{
    struct raft *r = an_established_leader(.voters = 2, .term = 1);

    change(r, config_of(1, 0));
    ck_assert_uint_eq(commit_of(r), 1);
    settle(r);

    ck_assert_uint_eq(commit_of(r), 2);
    raft_free(r);
}
END_TEST

/* A joining member knows no configuration and only listens; the first that it gets makes it one. */
START_TEST(joining_member_listens)
{
    struct raft *r = a_follower(.self = 2);
    struct raft_config c = with(config_of(1, 0), 2, RAFT_LEARNER);

    ck_assert_uint_eq(raft_config_latest(r)->count, 0);
    receive(r, append(.from = 1, .term = 3, .terms = "13", .config = &c, .commit = 2));
    settle(r);

    ck_assert_uint_eq(said(r, 1).appended.index, 2);
    ck_assert_uint_eq(raft_config_committed(r)->count, 2);
    ck_assert_uint_eq(leader_of(r), 1);
    raft_free(r);
}
END_TEST

/* Slots for strangers are bounded, and members never lose theirs. */
START_TEST(strangers_are_bounded)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    for (raft_id id = 100; id < 300; id++) {
        wait_ms(1);
        receive(r, vote(.from = id, .term = 1, .pre = true));
        ck_assert_int_eq(said(r, id).type, RAFT_VOTED);
    }
    receive(r, append(.from = 2, .term = 1));

    ck_assert_int_eq(said(r, 2).type, RAFT_APPENDED);
    ck_assert_uint_eq(raft_send_due(r, 100), RAFT_NEVER);
    raft_free(r);
}
END_TEST

RUN("config", configuration_is_in_force_when_appended, one_change_at_a_time, changes_are_single,
    no_change_before_a_commit_of_the_term, only_a_leader_changes, truncation_takes_a_configuration_back,
    second_configuration_means_the_first_is_committed, leader_removes_itself, leader_demotes_itself,
    removed_member_stands_until_that_is_committed, removed_member_is_told, removed_member_is_given_up,
    removed_and_added_again, learner_is_not_waited_for, promoted_learner_counts, last_but_one_voter_goes,
    joining_member_listens, strangers_are_bounded)
