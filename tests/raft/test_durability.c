/* test_durability.c -- what may be said, counted and applied, and when: D1 to D4 of raft.h. */
#include "world.h"

/* D1, dissertation 3.8: a vote is on disk before anybody hears of it. */
START_TEST(vote_is_durable_before_it_is_sent)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;

    receive(r, vote(.from = 2, .term = 2));
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    ck_assert_uint_eq(raft_write_due(r), 0);
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.hard.term, 2);
    ck_assert_uint_eq(w.hard.vote, 2);
    ck_assert_uint_gt(w.first, w.last); /* no entries */
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    raft_wrote(r, now, &w);

    ck_assert(said(r, 2).voted.granted);
    raft_free(r);
}
END_TEST

/* D1: nothing at all is said in a term that is not on disk, not even an acknowledgement. */
START_TEST(term_is_durable_before_anything_is_said_in_it)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "1");

    receive(r, append(.from = 2, .term = 3, .prev = at(1, 1)));
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    settle(r);

    ck_assert(said(r, 2).appended.ok);
    raft_free(r);
}
END_TEST

/* D1: the write in flight was taken before the term rose: its end does not save the new one. */
START_TEST(older_write_does_not_save_a_newer_term)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;

    receive(r, vote(.from = 2, .term = 2));
    raft_next_write(r, now, &w);
    receive(r, vote(.from = 3, .term = 3));
    raft_wrote(r, now, &w);

    ck_assert_uint_eq(raft_send_due(r, 3), RAFT_NEVER);
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER); /* that vote is of a term that is over */
    settle(r);
    ck_assert(said(r, 3).voted.granted);
    ck_assert_int_eq(said(r, 2).type, 0);
    raft_free(r);
}
END_TEST

/* D1: a candidate's own vote counts once it is on disk; of two voters both are needed. */
START_TEST(own_vote_is_durable_before_requests_leave)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    tick(r);
    receive(r, voted(.from = 2, .term = 2, .pre = true, .granted = true));
    ck_assert(is_candidate(r));
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    receive(r, voted(.from = 2, .term = 2, .granted = true)); /* it cannot be, but if it were, it were one vote */
    ck_assert(is_candidate(r));
    settle(r);

    ck_assert(is_leader(r));
    raft_free(r);
}
END_TEST

/* Pre-votes say nothing that a crash could make untrue: they wait for no disk. */
START_TEST(prevote_needs_no_disk)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    receive(r, vote(.from = 2, .term = 2, .pre = true));

    ck_assert_uint_eq(raft_send_due(r, 2), 0);
    raft_free(r);
}
END_TEST

/* D2, A3: a follower acknowledges what is on its disk, no more. */
START_TEST(follower_acknowledges_durable_entries)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 1, .terms = "11"));
    ck_assert_uint_eq(said(r, 2).appended.index, 0); /* the first sign of life, at once */
    raft_next_write(r, now, &w);
    receive(r, append(.from = 2, .term = 1, .prev = at(2, 1), .terms = "1"));
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER); /* one answer, when it is durable */
    raft_wrote(r, now, &w);

    ck_assert_uint_eq(said(r, 2).appended.index, 2);
    settle(r);
    ck_assert_uint_eq(said(r, 2).appended.index, 3);
    ck_assert_int_eq(said(r, 2).type, 0);
    raft_free(r);
}
END_TEST

/* D2: a heartbeat is answered at once, with the index we have: a slow disk does not look like a dead node. (B11) */
START_TEST(heartbeat_is_answered_at_once)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;
    struct raft_message m;

    receive(r, append(.from = 2, .term = 1, .terms = "11"));
    said(r, 2);
    raft_next_write(r, now, &w);
    receive(r, append(.from = 2, .term = 1, .prev = at(2, 1)));

    m = said(r, 2);
    ck_assert_int_eq(m.type, RAFT_APPENDED);
    ck_assert(m.appended.ok);
    ck_assert_uint_eq(m.appended.index, 0);
    raft_free(r);
}
END_TEST

/* ... and so is an append with entries, if the leader has not heard of us for a heartbeat interval. */
START_TEST(entries_are_answered_within_a_heartbeat)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 1, .terms = "1"));
    said(r, 2);
    raft_next_write(r, now, &w); /* and it hangs */
    receive(r, append(.from = 2, .term = 1, .prev = at(1, 1), .terms = "1"));
    ck_assert_int_eq(said(r, 2).type, 0);
    wait_ms(HEARTBEAT);
    receive(r, append(.from = 2, .term = 1, .prev = at(2, 1), .terms = "1"));

    ck_assert_int_eq(said(r, 2).type, RAFT_APPENDED);
    raft_free(r);
}
END_TEST

/* D2: a leader counts its own copy when it is on its disk; a quorum of others commits without it. */
START_TEST(leader_counts_its_durable_entries)
{
    struct raft *r = a_leader(.voters = 3, .term = 1);

    propose(r);
    said(r, 2);
    acked(r, 2, 1);
    ck_assert_uint_eq(commit_of(r), 0); /* one copy is durable: that of 2 */
    settle(r);
    ck_assert_uint_eq(commit_of(r), 1);

    propose(r);
    acked(r, 2, 2);
    acked(r, 3, 2);
    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert_uint_eq(durable_of(r), 1);
    raft_free(r);
}
END_TEST

/* D3, A4: nothing is applied that is not on our own disk, however committed. */
START_TEST(apply_waits_for_the_disk)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    raft_index first, last;

    propose(r);
    acked(r, 2, 2);
    acked(r, 3, 2);
    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert_uint_eq(raft_apply_due(r), RAFT_NEVER);
    settle(r);

    ck_assert_uint_eq(raft_apply_due(r), 0);
    raft_next_apply(r, &first, &last);
    ck_assert_uint_eq(first, 2);
    ck_assert_uint_eq(last, 2);
    raft_free(r);
}
END_TEST

/* A4: a lone voter commits when its entry is on disk, not before. */
START_TEST(lone_voter_commits_durable_entries)
{
    struct raft *r = an_established_leader(.voters = 1, .term = 1);
    struct raft_write w;

    propose(r);
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(commit_of(r), 1);
    raft_wrote(r, now, &w);

    ck_assert_uint_eq(commit_of(r), 2);
    raft_free(r);
}
END_TEST

/* D4, C6: entries are being written; another leader replaces them; the write ends late. It must not vouch for entries that
 * took their place, although the index is the same. */
START_TEST(late_write_does_not_vouch)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "1");
    struct raft_write w;
    struct raft_message m;

    receive(r, append(.from = 2, .term = 1, .prev = at(1, 1), .terms = "111"));
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.last, 4);
    receive(r, append(.from = 3, .term = 2, .prev = at(2, 1), .terms = "22"));
    ck_assert_str_eq(log_of(r), "1122");
    raft_wrote(r, now, &w);

    ck_assert_uint_eq(durable_of(r), 2); /* 1 was on disk, 2 is now, 3 and 4 are others */
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.first, 3);
    ck_assert_uint_eq(w.last, 4);
    raft_wrote(r, now, &w);
    m = said(r, 3);
    ck_assert(m.appended.ok);
    ck_assert_uint_eq(m.appended.index, 4);
    raft_free(r);
}
END_TEST

/* D4, the ABA itself: A, then B, then entries as long as A's again, all while A's write is in flight. */
START_TEST(late_write_after_two_truncations)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 1, .terms = "111"));
    raft_next_write(r, now, &w);
    receive(r, append(.from = 3, .term = 2, .terms = "2"));
    receive(r, append(.from = 2, .term = 3, .terms = "111"));
    raft_wrote(r, now, &w);

    ck_assert_str_eq(log_of(r), "111");
    ck_assert_uint_eq(durable_of(r), 0);
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.first, 1);
    ck_assert_uint_eq(w.last, 3);
    raft_free(r);
}
END_TEST

/* A failed write is asked for again, whole. */
START_TEST(failed_write_is_repeated)
{
    struct raft *r = a_follower(.voters = 3, .term = 2);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 2, .terms = "11"));
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER); /* one is in flight */
    raft_write_failed(r, now);

    ck_assert_uint_eq(durable_of(r), 0);
    ck_assert_uint_eq(raft_write_due(r), 0);
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.hard.term, 2);
    ck_assert_uint_eq(w.first, 1);
    ck_assert_uint_eq(w.last, 2);
    raft_free(r);
}
END_TEST

/* Entries that find no room do not keep a member from voting: its vote is written alone, and then they are tried again. */
START_TEST(a_member_without_room_votes)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 1, .terms = "11"));
    raft_next_write(r, now, &w);
    raft_write_failed(r, now);
    wait_ms(2 * ELECTION);
    receive(r, vote(.from = 3, .term = 2, .last = at(2, 1)));
    ck_assert_uint_eq(raft_send_due(r, 3), RAFT_NEVER);

    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.hard.vote, 3);
    ck_assert_uint_gt(w.first, w.last);
    raft_wrote(r, now, &w);

    ck_assert(said(r, 3).voted.granted);
    ck_assert_uint_eq(durable_of(r), 0);
    ck_assert_uint_eq(raft_write_due(r), 0);
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.last, 2);
    raft_wrote(r, now, &w);
    ck_assert_uint_eq(durable_of(r), 2);
    raft_free(r);
}
END_TEST

/* What comes while a write is in flight is one more write, not one for each (group commit). */
START_TEST(writes_are_grouped)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_write w;

    propose(r);
    raft_next_write(r, now, &w);
    for (unsigned i = 0; i < 100; i++)
        propose(r);
    raft_wrote(r, now, &w);

    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.first, 3);
    ck_assert_uint_eq(w.last, 102);
    raft_free(r);
}
END_TEST

/* A follower takes only so much that is not durable; the rest comes again. */
START_TEST(follower_bounds_what_is_not_durable)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    static char many[RAFT_APPEND_MAX + 1];
    struct raft_taken taken;

    memset(many, '1', RAFT_APPEND_MAX);
    for (unsigned i = 0; i < RAFT_UNFINISHED_MAX / RAFT_APPEND_MAX; i++) {
        taken = receive(r, append(.from = 2, .term = 1, .prev = at(last_of(r), last_of(r) > 0), .terms = many));
        ck_assert_uint_eq(taken.count, RAFT_APPEND_MAX);
    }
    taken = receive(r, append(.from = 2, .term = 1, .prev = at(last_of(r), 1), .terms = many));

    ck_assert_uint_eq(taken.count, 0);
    settle(r);
    taken = receive(r, append(.from = 2, .term = 1, .prev = at(last_of(r), 1), .terms = many));
    ck_assert_uint_eq(taken.count, RAFT_APPEND_MAX);
    raft_free(r);
}
END_TEST

/* A leader takes only so much that is not committed. */
START_TEST(leader_bounds_what_is_not_committed)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    for (unsigned i = 0; i < RAFT_UNFINISHED_MAX; i++)
        ck_assert_uint_ne(propose(r), 0);

    ck_assert_uint_eq(propose(r), 0);
    settle(r);
    acked(r, 2, 10);
    ck_assert_uint_ne(propose(r), 0);
    raft_free(r);
}
END_TEST

/* ... but the no-op of its term always fits: after a restart all that the map does not hold counts as uncommitted, and
 * without an entry of its own term a leader commits none of it [paper 5.4.2]. */
START_TEST(noop_fits_a_full_log)
{
    struct raft *r = raft_new(1, 0, ELECTION, HEARTBEAT);
    struct raft_config c = config_of(1, 0);

    raft_restore(r, (struct raft_hard_state){.term = 1}, at(0, 0), &c, 0);
    raft_restore_run(r, at(1, 1));
    raft_start(r, now, 2 * RAFT_UNFINISHED_MAX, 5);
    settle(r);
    ck_assert(is_leader(r));
    ck_assert_uint_eq(propose(r), 0);
    ck_assert(raft_wants_noop(r));
    ck_assert_uint_ne(raft_propose(r, now, RAFT_NOOP, NULL), 0);
    settle(r);

    ck_assert_uint_eq(commit_of(r), 2 * RAFT_UNFINISHED_MAX + 1);
    ck_assert_uint_ne(propose(r), 0);
    raft_free(r);
}
END_TEST

RUN("durability", vote_is_durable_before_it_is_sent, term_is_durable_before_anything_is_said_in_it,
    older_write_does_not_save_a_newer_term, own_vote_is_durable_before_requests_leave, prevote_needs_no_disk,
    follower_acknowledges_durable_entries, heartbeat_is_answered_at_once, entries_are_answered_within_a_heartbeat,
    leader_counts_its_durable_entries, apply_waits_for_the_disk, lone_voter_commits_durable_entries,
    late_write_does_not_vouch, late_write_after_two_truncations, failed_write_is_repeated, a_member_without_room_votes,
    writes_are_grouped, follower_bounds_what_is_not_durable, leader_bounds_what_is_not_committed, noop_fits_a_full_log)
