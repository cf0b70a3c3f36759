/* test_election.c -- pre-votes, stickiness, quorum checks: elections beyond the paper's section 5.2. */
#include "world.h"

/* Dissertation 9.6: before it raises its term, a server asks whether it could win. */
START_TEST(prevote_raises_no_term)
{
    struct raft *r = a_follower(.voters = 3, .term = 4, .log = "14");
    struct raft_message m;

    tick(r);

    ck_assert(is_precandidate(r));
    ck_assert_uint_eq(term_of(r), 4);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER);
    m = said(r, 2);
    ck_assert_int_eq(m.type, RAFT_VOTE);
    ck_assert(m.vote.pre);
    ck_assert(!m.vote.transfer);
    ck_assert_uint_eq(m.term, 5);
    ck_assert_uint_eq(m.vote.last.index, 2);
    ck_assert_uint_eq(m.vote.last.term, 4);
    raft_free(r);
}
END_TEST

/* A leader whose process has ended closes its connections: nobody need wait for an election timeout. */
START_TEST(lost_link_of_the_leader_hurries_the_election)
{
    struct raft *r = a_follower(.voters = 3, .term = 4, .log = "14");

    receive(r, append(.from = 2, .term = 4, .prev = at(2, 4)));
    ck_assert_uint_gt(raft_tick_due(r), now + HEARTBEAT);
    raft_link_lost(r, now, 2);

    ck_assert_uint_le(raft_tick_due(r), now + HEARTBEAT);
    ck_assert_uint_eq(term_of(r), 4);
    receive(r, vote(.from = 3, .term = 5, .pre = true, .last = at(2, 4)));
    ck_assert(said(r, 3).voted.granted); /* nor does it refuse another who stands */
    raft_free(r);
}
END_TEST

/* Whoever is not our leader may come and go. */
START_TEST(lost_link_of_another_changes_nothing)
{
    struct raft *r = a_follower(.voters = 3, .term = 4, .log = "14");
    raft_time due;

    receive(r, append(.from = 2, .term = 4, .prev = at(2, 4)));
    due = raft_tick_due(r);
    raft_link_lost(r, now, 3);

    ck_assert_uint_eq(raft_tick_due(r), due);
    receive(r, vote(.from = 3, .term = 5, .pre = true, .last = at(2, 4)));
    (void)said(r, 2); /* the answer to the append */
    ck_assert(!said(r, 3).voted.granted);
    raft_free(r);
}
END_TEST

/* A link that flaps: the next append shows that the leader lives. */
START_TEST(append_after_a_lost_link_calms_the_follower)
{
    struct raft *r = a_follower(.voters = 3, .term = 4, .log = "14");

    receive(r, append(.from = 2, .term = 4, .prev = at(2, 4)));
    raft_link_lost(r, now, 2);
    receive(r, append(.from = 2, .term = 4, .prev = at(2, 4)));

    ck_assert_uint_ge(raft_tick_due(r), now + ELECTION);
    ck_assert_uint_eq(status(r).leader, 2);
    raft_free(r);
}
END_TEST

/* Dissertation 9.6: a quorum of pre-votes, its own among them, lets it stand. */
START_TEST(quorum_of_prevotes_makes_a_candidate)
{
    struct raft *r = a_follower(.voters = 5, .term = 4);

    tick(r);
    receive(r, voted(.from = 2, .term = 5, .pre = true, .granted = true));
    ck_assert(is_precandidate(r));
    receive(r, voted(.from = 3, .term = 5, .pre = true, .granted = true));

    ck_assert(is_candidate(r));
    ck_assert_uint_eq(term_of(r), 5);
    raft_free(r);
}
END_TEST

/* Dissertation 9.6: answering a pre-vote changes nothing: no term, no vote, no timer. */
START_TEST(answering_a_prevote_changes_nothing)
{
    struct raft *r = a_follower(.voters = 3, .term = 4);
    raft_time due = raft_tick_due(r);
    struct raft_message m;

    receive(r, vote(.from = 2, .term = 5, .pre = true));
    receive(r, vote(.from = 3, .term = 9, .pre = true));

    m = said(r, 2);
    ck_assert(m.voted.granted);
    ck_assert(m.voted.pre);
    ck_assert_uint_eq(m.term, 5); /* of a grant: the term asked for */
    m = said(r, 3);
    ck_assert(m.voted.granted); /* a pre-vote is no promise */
    ck_assert_uint_eq(m.term, 9);
    ck_assert_uint_eq(term_of(r), 4);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER);
    ck_assert_uint_eq(raft_tick_due(r), due);
    raft_free(r);
}
END_TEST

/* B1 (etcd#8243): one that is behind in terms learns the newer one from a refusal, and is not stuck below it. */
START_TEST(refused_prevote_brings_the_term)
{
    struct raft *behind = a_follower(.self = 1, .voters = 3, .term = 2, .log = "111");
    struct raft *ahead = a_follower(.self = 2, .voters = 3, .term = 7, .log = "1");

    tick(behind);
    receive(ahead, said(behind, 2));
    receive(behind, said(ahead, 1));

    ck_assert_uint_eq(term_of(behind), 7);
    ck_assert(is_follower(behind));
    settle(behind);
    tick(behind); /* and with that term it wins, for its log is the better one */
    receive(ahead, said(behind, 2));
    receive(behind, said(ahead, 1));
    ck_assert(is_candidate(behind));
    ck_assert_uint_eq(term_of(behind), 8);
    raft_free(behind);
    raft_free(ahead);
}
END_TEST

/* B2: a precandidate that gets no quorum asks again after each timeout, for ever, and never raises its term. */
START_TEST(precandidate_asks_again)
{
    struct raft *r = a_follower(.voters = 3, .term = 4);

    for (unsigned i = 0; i < 20; i++) {
        tick(r);
        ck_assert(is_precandidate(r));
        ck_assert_int_eq(said(r, 2).type, RAFT_VOTE);
        receive(r, voted(.from = 2, .term = 4, .pre = true));
        ck_assert_int_eq(said(r, 2).type, 0);
    }

    ck_assert_uint_eq(term_of(r), 4);
    raft_free(r);
}
END_TEST

/* A request that nobody answered is sent again after a heartbeat interval; one that was answered is not. */
START_TEST(unanswered_request_is_repeated)
{
    struct raft *r = a_candidate(.voters = 3, .term = 2);

    ck_assert_int_eq(said(r, 2).type, RAFT_VOTE);
    ck_assert_uint_eq(raft_send_due(r, 2), now + HEARTBEAT);
    wait_ms(HEARTBEAT);
    ck_assert_int_eq(said(r, 2).type, RAFT_VOTE);
    receive(r, voted(.from = 2, .term = 2));

    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* Dissertation 4.2.3: who heard from a leader within an election timeout denies votes, and takes over no term. (B6) */
START_TEST(live_leader_is_not_deposed)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1));
    said(r, 2);
    wait_ms(ELECTION - 1);
    receive(r, vote(.from = 3, .term = 9, .last = at(99, 9)));
    receive(r, vote(.from = 3, .term = 9, .last = at(99, 9), .pre = true));

    ck_assert_uint_eq(term_of(r), 1);
    ck_assert_uint_eq(leader_of(r), 2);
    ck_assert(!said(r, 3).voted.granted);
    raft_free(r);
}
END_TEST

/* ... but not for longer than an election timeout. */
START_TEST(dead_leader_is_deposed)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1));
    said(r, 2);
    wait_ms(ELECTION);
    receive(r, vote(.from = 3, .term = 2));
    settle(r);

    ck_assert_uint_eq(term_of(r), 2);
    ck_assert(said(r, 3).voted.granted);
    raft_free(r);
}
END_TEST

/* A leader that stepped down and asks for votes is not held back by its own last heartbeat. */
START_TEST(old_leader_may_be_voted_for)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1));
    said(r, 2);
    receive(r, vote(.from = 2, .term = 2, .pre = true));

    ck_assert(said(r, 2).voted.granted);
    raft_free(r);
}
END_TEST

/* Dissertation 4.2.3: a transfer that the leader began is not held back. */
START_TEST(transfer_overrides_stickiness)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft *leader = a_leader(.voters = 3, .term = 1);

    receive(r, append(.from = 2, .term = 1));
    said(r, 2);
    receive(r, vote(.from = 3, .term = 2, .transfer = true));
    receive(leader, vote(.from = 3, .term = 2, .transfer = true));
    settle(r);

    ck_assert(said(r, 3).voted.granted);
    ck_assert(is_follower(leader));
    raft_free(r);
    raft_free(leader);
}
END_TEST

/* A leader is in touch with itself: it refuses pre-votes, and votes that are no transfer. */
START_TEST(leader_refuses_votes)
{
    struct raft *r = a_leader(.voters = 3, .term = 1);

    receive(r, vote(.from = 3, .term = 9, .last = at(99, 9)));
    receive(r, vote(.from = 3, .term = 9, .last = at(99, 9), .pre = true));

    ck_assert(is_leader(r));
    ck_assert_uint_eq(term_of(r), 1);
    ck_assert(!said(r, 3).voted.granted);
    raft_free(r);
}
END_TEST

/* B9: however often an answer arrives, it is one vote. */
START_TEST(repeated_grant_is_one_vote)
{
    struct raft *r = a_candidate(.voters = 5, .term = 2);

    for (unsigned i = 0; i < 5; i++)
        receive(r, voted(.from = 2, .term = 2, .granted = true));

    ck_assert(is_candidate(r));
    receive(r, voted(.from = 3, .term = 2, .granted = true));
    ck_assert(is_leader(r));
    raft_free(r);
}
END_TEST

/* Votes of an earlier election, of learners, of strangers and pre-votes do not count. */
START_TEST(only_votes_of_this_election_count)
{
    struct raft *r = a_candidate(.voters = 3, .learners = 1, .term = 5);

    receive(r, voted(.from = 2, .term = 4, .granted = true));
    receive(r, voted(.from = 4, .term = 5, .granted = true));
    receive(r, voted(.from = 9, .term = 5, .granted = true));
    receive(r, voted(.from = 3, .term = 5, .pre = true, .granted = true));
    receive(r, voted(.from = 3, .term = 6, .pre = true, .granted = true));

    ck_assert(is_candidate(r));
    ck_assert_uint_eq(term_of(r), 5);
    raft_free(r);
}
END_TEST

/* B7: a voter that does not know yet that it is one grants a vote: servers answer whoever asks [dissertation 4.1]. */
START_TEST(learner_and_stranger_grant_votes)
{
    struct raft *learner = a_follower(.self = 4, .voters = 3, .learners = 1, .term = 1);
    struct raft *nobody = a_follower(.self = 9, .term = 1);

    receive(learner, vote(.from = 2, .term = 2));
    receive(nobody, vote(.from = 7, .term = 2));
    settle(learner);
    settle(nobody);

    ck_assert(said(learner, 2).voted.granted);
    ck_assert(said(nobody, 7).voted.granted);
    raft_free(learner);
    raft_free(nobody);
}
END_TEST

/* Dissertation 4.2.1: learners do not stand, nor does a member in no configuration. */
START_TEST(only_voters_stand)
{
    struct raft *learner = a_follower(.self = 4, .voters = 3, .learners = 1, .term = 1);
    struct raft *nobody = a_follower(.self = 9, .term = 1);

    ck_assert_uint_eq(raft_tick_due(nobody), RAFT_NEVER);
    ck_assert_uint_eq(raft_tick_due(learner), RAFT_NEVER);
    wait_ms(10 * ELECTION);
    raft_tick(learner, now);
    raft_tick(nobody, now);

    ck_assert(is_follower(learner));
    ck_assert(is_follower(nobody));
    raft_free(learner);
    raft_free(nobody);
}
END_TEST

/* A learner, too, notices that its leader has gone: it must not send readers there. */
START_TEST(learner_forgets_a_silent_leader)
{
    struct raft *r = a_follower(.self = 4, .voters = 3, .learners = 1, .term = 1);

    receive(r, append(.from = 2, .term = 1));
    ck_assert_uint_eq(leader_of(r), 2);
    tick(r);

    ck_assert_uint_eq(leader_of(r), 0);
    ck_assert_uint_eq(raft_tick_due(r), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* A lone voter waits for nobody: it leads as soon as its vote is on disk. */
START_TEST(lone_voter_leads_at_once)
{
    struct raft *r = a_follower(.voters = 1);

    ck_assert(is_candidate(r));
    ck_assert_uint_eq(raft_write_due(r), 0);
    settle(r);
    ck_assert(is_leader(r));
    ck_assert_uint_eq(term_of(r), 1);
    raft_propose(r, now, RAFT_NOOP, NULL);
    ck_assert_uint_eq(commit_of(r), 0);
    settle(r);

    ck_assert_uint_eq(commit_of(r), 1);
    ck_assert_uint_eq(raft_tick_due(r), RAFT_NEVER); /* nothing to wait for: it sleeps */
    raft_free(r);
}
END_TEST

/* Dissertation 6.2: a leader that no quorum has answered for an election timeout steps down. (B10) */
START_TEST(leader_without_quorum_steps_down)
{
    struct raft *r = an_established_leader(.voters = 5, .term = 1);
    raft_time heard;

    wait_ms(50);
    acked(r, 2, 1);
    acked(r, 3, 1);
    heard = now;
    wait_ms(30);
    acked(r, 2, 1); /* two of five, with itself: no quorum */

    ck_assert_uint_eq(raft_tick_due(r), heard + ELECTION);
    tick(r);
    ck_assert(is_follower(r));
    ck_assert_uint_eq(leader_of(r), 0);
    ck_assert_uint_eq(term_of(r), 1);
    ck_assert_uint_eq(propose(r), 0);
    raft_free(r);
}
END_TEST

/* Answers of learners do not keep a leader in office, a refusal by a voter does. */
START_TEST(who_counts_for_the_quorum_check)
{
    struct raft *r = an_established_leader(.voters = 3, .learners = 1, .term = 1);
    raft_time since = now;

    wait_ms(60);
    acked(r, 4, 1);
    ck_assert_uint_le(raft_tick_due(r), since + ELECTION);
    receive(r, appended(.from = 2, .term = 1, .index = 0));

    ck_assert_uint_eq(raft_tick_due(r), now + ELECTION);
    raft_free(r);
}
END_TEST

/* B5: a leader whose own disk does not answer gives up its office, and names the best of the others. */
START_TEST(leader_with_a_hung_disk_resigns)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_write w;
    raft_time since = now;

    propose(r);
    raft_next_write(r, now, &w);
    for (unsigned i = 0; i < 3 * ELECTION / 10; i++) {
        acked(r, 2, 1);
        acked(r, 3, 2);
        wait_ms(10);
        if (now < since + 3 * ELECTION) {
            raft_tick(r, now);
            ck_assert(is_leader(r));
        }
    }
    raft_tick(r, now);

    ck_assert(is_follower(r));
    ck_assert_int_eq(said_last(r, 3).type, RAFT_TAKE_OVER);
    tick(r); /* and it does not stand while that lasts */
    ck_assert(is_follower(r));
    raft_wrote(r, now, &w);
    tick(r);
    ck_assert(is_precandidate(r));
    raft_free(r);
}
END_TEST

/* Without another voter there is nobody to give it up to. */
START_TEST(lone_leader_waits_for_its_disk)
{
    struct raft *r = an_established_leader(.voters = 1, .term = 1);
    struct raft_write w;

    propose(r);
    raft_next_write(r, now, &w);
    wait_ms(100 * ELECTION);
    raft_tick(r, now);

    ck_assert(is_leader(r));
    raft_free(r);
}
END_TEST

/* A failed write is not a hung disk: a full one answers, and the leader goes on to serve reads. */
START_TEST(full_disk_deposes_nobody)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_write w;

    propose(r);
    for (unsigned i = 0; i < 50; i++) {
        acked(r, 2, 1);
        raft_next_write(r, now, &w);
        wait_ms(10);
        raft_write_failed(r, now);
        raft_tick(r, now);
        ck_assert_uint_eq(raft_write_due(r), 0);
    }

    ck_assert(is_leader(r));
    raft_free(r);
}
END_TEST

/* While the term it stands in is not on disk nobody has heard of it, so another one would help nobody. */
START_TEST(slow_disk_does_not_raise_terms)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    tick(r);
    receive(r, voted(.from = 2, .term = 2, .pre = true, .granted = true));
    ck_assert(is_candidate(r));
    for (unsigned i = 0; i < 10; i++)
        tick(r);

    ck_assert_uint_eq(term_of(r), 2);
    ck_assert(is_candidate(r));
    raft_free(r);
}
END_TEST

/* A vote that a voter gives resets its timer; one that it denies does not [paper 5.2, figure 2]. */
START_TEST(only_a_granted_vote_resets_the_timer)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "1");
    raft_time due = raft_tick_due(r);

    wait_ms(60);
    receive(r, vote(.from = 2, .term = 2));
    ck_assert_uint_eq(raft_tick_due(r), due);
    receive(r, vote(.from = 3, .term = 3, .last = at(1, 1)));

    ck_assert_uint_ge(raft_tick_due(r), now + ELECTION);
    raft_free(r);
}
END_TEST

/* A term that is absurdly far ahead is an attack, not a term. */
START_TEST(absurd_terms_are_ignored)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, vote(.from = 2, .term = UINT64_MAX));
    receive(r, append(.from = 2, .term = UINT64_MAX - 1));
    ck_assert(!raft_offered(r, now, 2, UINT64_MAX, at(5, 5)));

    ck_assert_uint_eq(term_of(r), 1);
    raft_free(r);
}
END_TEST

/* An answer of a stranger is of no interest, nor is its term. (B6) */
START_TEST(strangers_depose_nobody)
{
    struct raft *r = a_leader(.voters = 3, .term = 1);

    receive(r, appended(.from = 9, .term = 7));
    receive(r, voted(.from = 9, .term = 7));

    ck_assert(is_leader(r));
    raft_free(r);
}
END_TEST

RUN("election", prevote_raises_no_term, quorum_of_prevotes_makes_a_candidate, answering_a_prevote_changes_nothing,
    refused_prevote_brings_the_term, precandidate_asks_again, unanswered_request_is_repeated,
    live_leader_is_not_deposed, dead_leader_is_deposed, old_leader_may_be_voted_for, transfer_overrides_stickiness,
    leader_refuses_votes, repeated_grant_is_one_vote, only_votes_of_this_election_count,
    learner_and_stranger_grant_votes, only_voters_stand, learner_forgets_a_silent_leader, lone_voter_leads_at_once,
    leader_without_quorum_steps_down, who_counts_for_the_quorum_check, leader_with_a_hung_disk_resigns,
    lone_leader_waits_for_its_disk, full_disk_deposes_nobody, slow_disk_does_not_raise_terms,
    only_a_granted_vote_resets_the_timer, absurd_terms_are_ignored, strangers_depose_nobody,
    lost_link_of_the_leader_hurries_the_election, lost_link_of_another_changes_nothing,
    append_after_a_lost_link_calms_the_follower)
