/* test_paper.c -- one test for each rule of the paper: the world, what happens, what must follow. Sections are those of
 * "In Search of an Understandable Consensus Algorithm" unless they say "dissertation". */
#include "world.h"

/* ---- 5.1: terms --------------------------------------------------------------------------------------------------- */

/* 5.1: a server that sees a higher term takes it over; a leader or a candidate becomes a follower. */
START_TEST(higher_term_makes_a_follower)
{
    struct raft *leader = a_leader(.voters = 3, .term = 2);
    struct raft *candidate = a_candidate(.voters = 3, .term = 2);

    receive(leader, append(.from = 2, .term = 3));
    receive(candidate, append(.from = 2, .term = 3));

    ck_assert(is_follower(leader));
    ck_assert_uint_eq(term_of(leader), 3);
    ck_assert(is_follower(candidate));
    ck_assert_uint_eq(term_of(candidate), 3);
    ck_assert_uint_eq(leader_of(candidate), 2);
    raft_free(leader);
    raft_free(candidate);
}
END_TEST

/* 5.1: a higher term in an answer, too. (B12: ignored, a server that comes back never rejoins.) */
START_TEST(higher_term_in_an_answer_deposes_a_leader)
{
    struct raft *r = a_leader(.voters = 3, .term = 2);

    receive(r, appended(.from = 3, .term = 7));

    ck_assert(is_follower(r));
    ck_assert_uint_eq(term_of(r), 7);
    ck_assert_uint_eq(leader_of(r), 0);
    raft_free(r);
}
END_TEST

/* 5.1: what is of an earlier term is refused, and its leader told so. */
START_TEST(message_of_an_earlier_term_is_refused)
{
    struct raft *r = a_follower(.voters = 3, .term = 5, .log = "11");
    struct raft_taken taken;
    struct raft_message m;

    taken = receive(r, append(.from = 2, .term = 4, .prev = at(2, 1), .terms = "4", .commit = 2));

    ck_assert_uint_eq(taken.count, 0);
    ck_assert_uint_eq(leader_of(r), 0);
    ck_assert_uint_eq(commit_of(r), 0);
    m = said(r, 2);
    ck_assert_int_eq(m.type, RAFT_APPENDED);
    ck_assert(!m.appended.ok);
    ck_assert_uint_eq(m.term, 5);
    raft_free(r);
}
END_TEST

/* ---- 5.2: elections ----------------------------------------------------------------------------------------------- */

/* 5.2: servers begin as followers, and remain so as long as they hear from a leader. */
START_TEST(heartbeats_keep_a_follower)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    for (unsigned i = 0; i < 50; i++) {
        receive(r, append(.from = 2, .term = 1));
        wait_ms(ELECTION - 1);
        raft_tick(r, now);
    }

    ck_assert(is_follower(r));
    ck_assert_uint_eq(leader_of(r), 2);
    raft_free(r);
}
END_TEST

/* 5.2: a leader begins at once to send heartbeats to all, and goes on with them. */
START_TEST(leader_sends_heartbeats)
{
    struct raft *r = a_leader(.voters = 3, .term = 1);
    struct raft_message m;

    for (raft_id id = 2; id <= 3; id++) {
        m = said(r, id);
        ck_assert_int_eq(m.type, RAFT_APPEND);
        ck_assert_uint_eq(raft_send_due(r, id), now + HEARTBEAT);
    }
    wait_ms(HEARTBEAT);
    m = said(r, 2);
    ck_assert_int_eq(m.type, RAFT_APPEND);
    ck_assert_uint_eq(m.append.count, 0);
    raft_free(r);
}
END_TEST

/* 5.2: election timeouts are random, from one interval to two. */
START_TEST(election_timeouts_are_spread)
{
    bool seen[4] = {false};

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct raft *r = a_follower(.voters = 3, .seed = seed);
        raft_time wait = raft_tick_due(r) - now;

        ck_assert_uint_ge(wait, ELECTION);
        ck_assert_uint_lt(wait, 2 * ELECTION);
        seen[(wait - ELECTION) * 4 / ELECTION] = true;
        raft_free(r);
    }
    for (unsigned i = 0; i < 4; i++)
        ck_assert(seen[i]);
}
END_TEST

/* 5.2: who wins a majority of the full cluster leads. */
START_TEST(majority_of_votes_makes_a_leader)
{
    static const struct {
        unsigned voters, grants;
        bool leads;
    } cases[] = {{1, 0, true},  {2, 0, false}, {2, 1, true},  {3, 0, false}, {3, 1, true},
                 {4, 1, false}, {4, 2, true},  {5, 1, false}, {5, 2, true}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raft *r = a_candidate(.voters = cases[i].voters, .term = 1);

        for (unsigned g = 0; g < cases[i].grants; g++)
            receive(r, voted(.from = 2 + g, .term = 1, .granted = true));

        ck_assert_int_eq(is_leader(r), cases[i].leads);
        raft_free(r);
    }
}
END_TEST

/* 5.2: each server votes for at most one candidate in a term, first come, first served. */
START_TEST(one_vote_in_a_term)
{
    struct raft *r = a_follower(.voters = 3);

    receive(r, vote(.from = 2, .term = 1));
    settle(r);
    ck_assert(said(r, 2).voted.granted);
    receive(r, vote(.from = 3, .term = 1));

    ck_assert(!said(r, 3).voted.granted);
    raft_free(r);
}
END_TEST

/* 5.2: the same candidate that asks again (its answer was lost) gets the same answer. (B8) */
START_TEST(vote_is_granted_again_to_the_same)
{
    struct raft *r = a_follower(.voters = 3);

    receive(r, vote(.from = 2, .term = 1));
    settle(r);
    ck_assert(said(r, 2).voted.granted);
    receive(r, vote(.from = 2, .term = 1));

    ck_assert(said(r, 2).voted.granted);
    raft_free(r);
}
END_TEST

/* Dissertation 3.4: a candidate that hears from a leader of its own term follows it. */
START_TEST(candidate_follows_leader_of_its_term)
{
    struct raft *r = a_candidate(.self = 1, .term = 5, .voters = 3);

    receive(r, append(.from = 2, .term = 5));

    ck_assert_uint_eq(leader_of(r), 2);
    ck_assert(is_follower(r));
    ck_assert_uint_eq(term_of(r), 5);
    raft_free(r);
}
END_TEST

/* 5.2: a split vote ends with another election after the timeout. */
START_TEST(split_vote_is_tried_again)
{
    struct raft *r = a_candidate(.voters = 3, .term = 2);

    receive(r, voted(.from = 2, .term = 2));
    receive(r, voted(.from = 3, .term = 2));
    ck_assert(is_candidate(r));
    tick(r);
    ck_assert(is_precandidate(r)); /* first it asks whether it could win */
    receive(r, voted(.from = 2, .term = 3, .pre = true, .granted = true));

    ck_assert(is_candidate(r));
    ck_assert_uint_eq(term_of(r), 3);
    raft_free(r);
}
END_TEST

/* ---- 5.3: log replication ----------------------------------------------------------------------------------------- */

/* 5.3: the leader appends, and sends what follows the entry that it names. */
START_TEST(leader_sends_what_it_appended)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;
    raft_index index = propose(r);

    m = said(r, 2);

    ck_assert_int_eq(m.type, RAFT_APPEND);
    ck_assert_uint_eq(m.append.prev.index, index - 1);
    ck_assert_uint_eq(m.append.prev.term, 1);
    ck_assert_uint_eq(m.append.count, 1);
    raft_free(r);
}
END_TEST

/* 5.3: an entry is committed when a majority has it, and so are all before it. */
START_TEST(majority_commits)
{
    static const struct {
        unsigned voters, acks;
        bool commits;
    } cases[] = {{1, 0, true}, {3, 0, false}, {3, 1, true}, {4, 1, false}, {4, 2, true}, {5, 1, false}, {5, 2, true}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raft *r = a_leader(.voters = cases[i].voters, .term = 1);

        propose(r);
        propose(r);
        settle(r);
        for (unsigned a = 0; a < cases[i].acks; a++)
            acked(r, 2 + a, 2);

        ck_assert_uint_eq(commit_of(r), cases[i].commits ? 2 : 0);
        raft_free(r);
    }
}
END_TEST

/* 5.3: followers learn the commit index, and apply. */
START_TEST(follower_learns_the_commit_index)
{
    struct raft *r = a_follower(.voters = 3, .term = 1, .log = "111");
    raft_index first, last;

    receive(r, append(.from = 2, .term = 1, .prev = at(3, 1), .commit = 2));

    ck_assert_uint_eq(commit_of(r), 2);
    ck_assert_uint_eq(raft_apply_due(r), 0);
    raft_next_apply(r, &first, &last);
    ck_assert_uint_eq(first, 1);
    ck_assert_uint_eq(last, 2);
    ck_assert_uint_eq(raft_apply_due(r), RAFT_NEVER);
    raft_applied(r, now, last);
    raft_free(r);
}
END_TEST

/* 5.3: a follower takes entries only where it holds the one before them. */
START_TEST(consistency_check)
{
    static const struct {
        struct raft_pos prev;
        bool ok;
    } cases[] = {{{0, 0}, true}, {{1, 1}, true}, {{2, 2}, true}, {{3, 2}, false}, {{2, 1}, false}, {{3, 3}, false}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raft *r = a_follower(.voters = 3, .term = 3, .log = "12");
        struct raft_message m;

        receive(r, append(.from = 2, .term = 3, .prev = cases[i].prev));

        m = said(r, 2);
        ck_assert_int_eq(m.type, RAFT_APPENDED);
        ck_assert_int_eq(m.appended.ok, cases[i].ok);
        raft_free(r);
    }
}
END_TEST

/* 5.3, figure 7: whatever a follower's log is like, it becomes the leader's. The leader's is "1114455666". */
START_TEST(logs_of_figure_7_are_repaired)
{
    static const char *const logs[] = {"111445566",   "1114", "11144556666", "111445566677", "1114444",
                                       "11122233333", ""};
    static const char leader_log[] = "1114455666";

    for (unsigned i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        struct raft *leader = a_leader(.voters = 3, .term = 8, .log = leader_log);
        struct raft *r = a_follower(.self = 2, .voters = 3, .term = 7, .log = logs[i]);
        unsigned trips = 0;

        propose(leader); /* of term 8 */
        settle(leader);
        while (peer(leader, 2).match < last_of(leader)) {
            static struct raft_head heads[RAFT_APPEND_MAX];
            struct raft_message m = said(leader, 2);

            if (m.type == 0) {
                wait_ms(HEARTBEAT);
                continue;
            }
            m.append.heads = heads;
            for (unsigned e = 0; e < m.append.count; e++)
                heads[e] =
                    (struct raft_head){.term = raft_term_at(leader, m.append.prev.index + 1 + e), .type = RAFT_COMMAND};
            receive(r, m);
            settle(r);
            receive(leader, said_last(r, 1));
            ck_assert_uint_lt(++trips, 8);
        }

        ck_assert_str_eq(log_of(r), "11144556668");
        raft_free(leader);
        raft_free(r);
    }
}
END_TEST

/* 5.3: a conflicting entry goes, and all that follow it; what the leader sent takes their place. */
START_TEST(conflicting_entries_are_replaced)
{
    struct raft *r = a_follower(.voters = 3, .term = 3, .log = "1222");
    struct raft_taken taken;

    taken = receive(r, append(.from = 2, .term = 3, .prev = at(1, 1), .terms = "33"));

    ck_assert_str_eq(log_of(r), "133");
    ck_assert_uint_eq(taken.first, 2);
    ck_assert_uint_eq(taken.skip, 0);
    ck_assert_uint_eq(taken.count, 2);
    ck_assert_uint_eq(durable_of(r), 1);
    raft_free(r);
}
END_TEST

/* Figure 2, AppendEntries 3: a late append whose entries all match cuts off nothing behind them. (C2) */
START_TEST(late_append_cuts_off_nothing)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_taken taken;

    receive(r, append(.from = 2, .term = 1, .terms = "111"));
    taken = receive(r, append(.from = 2, .term = 1, .terms = "1"));

    ck_assert_uint_eq(last_of(r), 3);
    ck_assert_uint_eq(taken.count, 0);
    raft_free(r);
}
END_TEST

/* Figure 2, AppendEntries 3 and 4: known entries are skipped, new ones behind them taken. */
START_TEST(known_entries_are_skipped)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "112");
    struct raft_taken taken;

    taken = receive(r, append(.from = 2, .term = 2, .prev = at(1, 1), .terms = "1222"));

    ck_assert_str_eq(log_of(r), "11222");
    ck_assert_uint_eq(taken.first, 4);
    ck_assert_uint_eq(taken.skip, 2);
    ck_assert_uint_eq(taken.count, 2);
    raft_free(r);
}
END_TEST

/* Figure 2, AppendEntries 5: commit no further than the last entry that was compared. (C3) */
START_TEST(commit_is_bounded_by_what_was_compared)
{
    struct raft *r = a_follower(.voters = 3, .term = 3, .log = "1222");

    receive(r, append(.from = 2, .term = 3, .prev = at(1, 1), .commit = 4)); /* entries 2 to 4 may differ */

    ck_assert_uint_eq(commit_of(r), 1);
    raft_free(r);
}
END_TEST

/* 5.3: a leader never overwrites or deletes entries of its own log. */
START_TEST(leader_only_appends)
{
    struct raft *r = a_leader(.voters = 3, .term = 4, .log = "123");

    receive(r, append(.from = 2, .term = 4, .prev = at(1, 1), .terms = "4"));

    ck_assert(is_leader(r));
    ck_assert_str_eq(log_of(r), "123");
    raft_free(r);
}
END_TEST

/* ---- 5.4: safety -------------------------------------------------------------------------------------------------- */

/* 5.4.1: no vote for a candidate whose log is worse. The voter's log is "122". */
START_TEST(vote_looks_at_the_log)
{
    static const struct {
        struct raft_pos last;
        bool granted;
    } cases[] = {{{0, 0}, false}, {{9, 1}, false}, {{2, 2}, false}, {{3, 2}, true}, {{4, 2}, true}, {{1, 3}, true}};

    for (unsigned pre = 0; pre < 2; pre++)
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct raft *r = a_follower(.voters = 3, .term = 3, .log = "122");

            receive(r, vote(.from = 2, .term = 4, .last = cases[i].last, .pre = pre != 0));
            settle(r);

            ck_assert_int_eq(said(r, 2).voted.granted, cases[i].granted);
            raft_free(r);
        }
}
END_TEST

/* 5.4.2, figure 8: (c) S1 leads term 4 and a majority has the entry of term 2: that commits nothing. (e) An entry of its
 * own term on a majority commits both. (C1) */
START_TEST(entries_of_earlier_terms_are_not_committed_by_counting)
{
    struct raft *r = a_leader(.voters = 5, .term = 4, .log = "12");

    acked(r, 2, 2);
    acked(r, 3, 2);
    ck_assert_uint_eq(commit_of(r), 0);
    propose(r);
    settle(r);
    acked(r, 2, 3);
    ck_assert_uint_eq(commit_of(r), 0);
    acked(r, 3, 3);

    ck_assert_uint_eq(commit_of(r), 3);
    raft_free(r);
}
END_TEST

/* 5.4.2, figure 8 (d): S5, whose entry is of term 3, may still be elected, and replaces the entry of term 2. */
START_TEST(figure_8_d)
{
    struct raft *s3 = a_follower(.self = 3, .voters = 5, .term = 4, .log = "12");

    receive(s3, vote(.from = 5, .term = 5, .last = at(2, 3)));
    settle(s3);
    ck_assert(said(s3, 5).voted.granted);
    receive(s3, append(.from = 5, .term = 5, .prev = at(1, 1), .terms = "3"));

    ck_assert_str_eq(log_of(s3), "13");
    raft_free(s3);
}
END_TEST

/* 5.5: requests are idempotent: the same append twice changes nothing and is answered twice. */
START_TEST(append_is_idempotent)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);
    struct raft_message m = append(.from = 2, .term = 1, .terms = "11", .commit = 1);

    receive(r, m);
    settle(r);
    ck_assert_uint_eq(said(r, 2).appended.index, 2);
    ck_assert_uint_eq(receive(r, m).count, 0);

    ck_assert_uint_eq(said(r, 2).appended.index, 2);
    ck_assert_str_eq(log_of(r), "11");
    raft_free(r);
}
END_TEST

/* ---- 7: log compaction -------------------------------------------------------------------------------------------- */

/* 7: a follower that needs entries which are gone is sent the map instead. */
START_TEST(peer_behind_the_base_needs_a_snapshot)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "11111", .base = 3);

    said(r, 2);
    receive(r, appended(.from = 2, .term = 2, .index = 1, .hint = 1));

    ck_assert_int_eq(peer(r, 2).state, RAFT_NEEDS_SNAPSHOT);
    ck_assert_uint_eq(peer(r, 2).snapshot.index, 3);
    ck_assert_uint_eq(peer(r, 2).snapshot.term, 1);
    raft_free(r);
}
END_TEST

/* 8: a new leader first commits an entry without effect, to learn what is committed. */
START_TEST(new_leader_wants_a_noop)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "1");

    ck_assert(raft_wants_noop(r));
    ck_assert_uint_eq(raft_propose(r, now, RAFT_NOOP, NULL), 2);

    ck_assert(!raft_wants_noop(r));
    raft_free(r);
}
END_TEST

RUN("paper", higher_term_makes_a_follower, higher_term_in_an_answer_deposes_a_leader,
    message_of_an_earlier_term_is_refused, heartbeats_keep_a_follower, leader_sends_heartbeats,
    election_timeouts_are_spread, majority_of_votes_makes_a_leader, one_vote_in_a_term,
    vote_is_granted_again_to_the_same, candidate_follows_leader_of_its_term, split_vote_is_tried_again,
    leader_sends_what_it_appended, majority_commits, follower_learns_the_commit_index, consistency_check,
    logs_of_figure_7_are_repaired, conflicting_entries_are_replaced, late_append_cuts_off_nothing,
    known_entries_are_skipped, commit_is_bounded_by_what_was_compared, leader_only_appends, vote_looks_at_the_log,
    entries_of_earlier_terms_are_not_committed_by_counting, figure_8_d, append_is_idempotent,
    peer_behind_the_base_needs_a_snapshot, new_leader_wants_a_noop)
