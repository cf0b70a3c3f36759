/* test_restore.c -- life after death: what a member knows after a start, a compaction, an installed map. */
#include "world.h"

static struct raft_config nobody = {.count = 0};

/* 3.8: term and vote are those of before the crash: no second vote in the term. (A1) */
START_TEST(vote_survives)
{
    struct raft *r = a_follower(.voters = 3, .term = 5, .vote = 2);

    receive(r, vote(.from = 3, .term = 5));
    ck_assert(!said(r, 3).voted.granted);
    receive(r, vote(.from = 2, .term = 5));

    ck_assert(said(r, 2).voted.granted);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* A log is restored from its runs; what is on disk is durable; the map's position is committed and applied. */
START_TEST(log_is_restored)
{
    struct raft *r = a_follower(.voters = 3, .term = 4, .log = "11223334", .base = 2, .applied = 5);

    ck_assert_str_eq(log_of(r), "223334");
    ck_assert_uint_eq(status(r).first, 3);
    ck_assert_uint_eq(status(r).base.term, 1);
    ck_assert_uint_eq(last_of(r), 8);
    ck_assert_uint_eq(durable_of(r), 8);
    ck_assert_uint_eq(commit_of(r), 5);
    ck_assert_uint_eq(status(r).applied, 5);
    ck_assert_uint_eq(raft_apply_due(r), RAFT_NEVER);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* An empty log behind a base: all has been compacted. */
START_TEST(empty_log_behind_a_base)
{
    struct raft *r = a_follower(.voters = 3, .term = 4, .log = "112", .base = 3, .applied = 3);

    ck_assert_uint_eq(status(r).first, 4);
    ck_assert_uint_eq(last_of(r), 3);
    ck_assert_uint_eq(raft_term_at(r, 3), 2);
    receive(r, append(.from = 2, .term = 4, .prev = at(3, 2), .terms = "4"));
    settle(r);

    ck_assert_uint_eq(said(r, 2).appended.index, 4);
    raft_free(r);
}
END_TEST

/* 4.1, E2: configurations of the log are in force again; one that the map holds is not taken twice. */
START_TEST(configurations_are_restored)
{
    struct raft *r = raft_new(1, 0, ELECTION, HEARTBEAT);
    struct raft_config one = config_of(1, 0), two = config_of(1, 1), three = config_of(2, 0);

    raft_restore(r, (struct raft_hard_state){.term = 1}, at(0, 0), &two, 3);
    raft_restore_run(r, at(1, 1));
    raft_restore_config(r, 2, &one); /* older than that of the map */
    raft_restore_config(r, 3, &two);
    raft_restore_config(r, 5, &three);
    raft_start(r, now, 6, 4);

    ck_assert_uint_eq(raft_config_latest(r)->count, 2);
    ck_assert_int_eq(raft_config_latest(r)->members[1].role, RAFT_VOTER);
    ck_assert_int_eq(raft_config_committed(r)->members[1].role, RAFT_LEARNER);
    ck_assert_uint_eq(status(r).config_index, 5);
    ck_assert_uint_eq(status(r).config_committed_index, 3);
    raft_free(r);
}
END_TEST

/* E8: an uncommitted configuration is in force after a restart, too: a lone voter that was adding another waits for it. */
START_TEST(uncommitted_configuration_survives)
{
    struct raft *r = raft_new(1, 0, ELECTION, HEARTBEAT);
    struct raft_config one = config_of(1, 0), two = config_of(2, 0);

    raft_restore(r, (struct raft_hard_state){.term = 1}, at(0, 0), &one, 0);
    raft_restore_run(r, at(1, 1));
    raft_restore_config(r, 2, &two);
    raft_start(r, now, 2, 1);

    ck_assert(is_follower(r));
    tick(r);
    ck_assert(is_precandidate(r));
    raft_free(r);
}
END_TEST

/* More terms on disk than the core remembers: the oldest count as gone, and a peer that needs them gets the map. */
START_TEST(more_terms_than_room)
{
    struct raft *r = raft_new(1, 0, ELECTION, HEARTBEAT);
    struct raft_config c = config_of(3, 0);

    raft_restore(r, (struct raft_hard_state){.term = 3000}, at(0, 0), &c, 0);
    for (raft_term term = 1; term <= 3000; term++)
        raft_restore_run(r, at(term == 1 ? 1 : term * 2, term));
    raft_start(r, now, 6001, 6000);

    ck_assert_uint_eq(raft_term_at(r, 6001), 3000);
    ck_assert_uint_eq(raft_term_at(r, 6000), 3000);
    ck_assert_uint_eq(raft_term_at(r, 5000), 2500);
    ck_assert_uint_gt(status(r).base.index, 0);
    raft_check(r);
    raft_free(r);
}
END_TEST

/* While running, a run is forgotten only when the map holds it. */
START_TEST(terms_overflow_while_running)
{
    struct raft *r = a_follower(.voters = 3, .term = 1);

    for (raft_term term = 1; term <= 1024; term++) {
        struct raft_head head = {.term = term, .type = RAFT_NOOP};
        struct raft_message m = append(.from = 2 + term % 2, .term = term, .prev = at(term - 1, term - 1));

        m.append.count = 1;
        m.append.heads = &head;
        ck_assert_uint_eq(receive(r, m).count, 1);
    }
    struct raft_head head = {.term = 1025, .type = RAFT_NOOP};
    struct raft_message m = append(.from = 3, .term = 1025, .prev = at(1024, 1024), .commit = 1024);
    m.append.count = 1;
    m.append.heads = &head;
    ck_assert_uint_eq(receive(r, m).count, 0); /* later: none of it is applied */
    settle(r);
    apply_all(r);
    ck_assert_uint_eq(receive(r, m).count, 1);

    ck_assert_uint_eq(last_of(r), 1025);
    ck_assert_uint_eq(status(r).base.index, 1);
    ck_assert_uint_eq(raft_write_due(r), 0);
    settle(r);
    ck_assert_uint_eq(said(r, 3).appended.index, 1025);
    raft_free(r);
}
END_TEST

/* Section 7: a map that is newer than what we have committed is wanted, and counts as a heartbeat. */
START_TEST(newer_map_is_wanted)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "11", .applied = 2);

    ck_assert(raft_offered(r, now, 2, 2, at(10, 2)));
    ck_assert_uint_eq(leader_of(r), 2);
    ck_assert_uint_ge(raft_tick_due(r), now + ELECTION);
    ck_assert(!raft_offered(r, now, 2, 2, at(2, 1)));  /* older */
    ck_assert(!raft_offered(r, now, 3, 1, at(10, 2))); /* of an earlier term */
    ck_assert(!raft_offered(r, now, 3, 2, at(10, 2))); /* of another leader */

    ck_assert(raft_offered(r, now, 3, 3, at(10, 2)));
    ck_assert_uint_eq(term_of(r), 3);
    raft_free(r);
}
END_TEST

/* D2 of the catalogue: who has the entries already needs no map, and learns that they are committed. */
START_TEST(map_of_known_entries_is_not_wanted)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "11222", .applied = 1);

    ck_assert(!raft_offered(r, now, 2, 2, at(4, 2)));

    ck_assert_uint_eq(commit_of(r), 4);
    ck_assert_uint_eq(last_of(r), 5);
    ck_assert_uint_eq(said(r, 2).appended.index, 4);
    raft_free(r);
}
END_TEST

/* Section 7, D1 and D3 of the catalogue: an installed map replaces a log that contradicts it, entries and configuration;
 * the disk is told to begin anew behind it, and the leader hears of it. */
START_TEST(installed_map_replaces_the_log)
{
    struct raft *r = a_follower(.voters = 3, .term = 5, .log = "1122222", .applied = 2);
    struct raft_config c = config_of(5, 0);
    struct raft_write w;

    ck_assert(raft_offered(r, now, 2, 5, at(6, 4)));
    raft_installed(r, now, at(6, 4), &c, 5);

    ck_assert_uint_eq(last_of(r), 6);
    ck_assert_uint_eq(status(r).first, 7);
    ck_assert_uint_eq(raft_term_at(r, 6), 4);
    ck_assert_uint_eq(commit_of(r), 6);
    ck_assert_uint_eq(status(r).applied, 6);
    ck_assert_uint_eq(raft_config_latest(r)->count, 5);
    ck_assert_uint_eq(status(r).config_index, 5);
    ck_assert_uint_eq(raft_write_due(r), 0);
    raft_next_write(r, now, &w);
    ck_assert(w.begin_anew);
    ck_assert_uint_eq(w.base.index, 6);
    ck_assert_uint_eq(w.base.term, 4);
    ck_assert_uint_eq(w.keep_from, 7);
    ck_assert_uint_eq(w.first, 7);
    ck_assert_uint_eq(w.last, 6);
    raft_wrote(r, now, &w);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER);
    ck_assert_uint_eq(said(r, 2).appended.index, 6);
    receive(r, append(.from = 2, .term = 5, .prev = at(6, 4), .terms = "5"));
    ck_assert_str_eq(log_of(r), "5");
    raft_free(r);
}
END_TEST

/* D2 of the catalogue: what follows the map in the log and matches is kept. */
START_TEST(installed_map_keeps_a_matching_suffix)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "11222", .applied = 1);
    struct raft_config c = config_of(3, 0);

    raft_installed(r, now, at(4, 2), &c, 0);

    ck_assert_str_eq(log_of(r), "2");
    ck_assert_uint_eq(last_of(r), 5);
    ck_assert_uint_eq(status(r).first, 5);
    raft_free(r);
}
END_TEST

/* A map as of the very end of the log leaves none of its terms behind: the next entry may begin one. */
START_TEST(installed_map_of_the_last_entry)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "11222", .applied = 1);
    struct raft_config c = config_of(3, 0);

    raft_installed(r, now, at(5, 2), &c, 0);
    ck_assert_str_eq(log_of(r), "");
    receive(r, append(.from = 2, .term = 3, .prev = at(5, 2), .terms = "3"));
    raft_check(r);
    ck_assert_uint_eq(raft_term_at(r, 5), 2);
    ck_assert_uint_eq(raft_term_at(r, 6), 3);
    raft_free(r);
}
END_TEST

/* A map that was lost may have been the only place where a configuration was: another one, as of the same entry, has it. */
START_TEST(map_as_new_as_ours_brings_its_configuration)
{
    struct raft *r = raft_new(1, 0, ELECTION, HEARTBEAT);
    struct raft_config c = config_of(3, 0);

    raft_restore(r, (struct raft_hard_state){.term = 2}, at(5, 2), &nobody, 0);
    raft_start(r, now, 5, 5);
    ck_assert_uint_eq(raft_config_latest(r)->count, 0);
    raft_installed(r, now, at(5, 2), &c, 4);
    raft_check(r);
    ck_assert_uint_eq(raft_config_latest(r)->count, 3);
    ck_assert_uint_eq(status(r).config_committed_index, 4);
    ck_assert_uint_eq(status(r).applied, 5);
    raft_free(r);
}
END_TEST

/* The log holds what the map was made of, but the disk does not yet: what follows cannot be written behind a gap. */
START_TEST(installed_map_ahead_of_the_disk)
{
    struct raft *r = a_follower(.voters = 3, .term = 2);
    struct raft_config c = config_of(3, 0);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 2, .terms = "1122"));
    raft_next_write(r, now, &w);
    raft_installed(r, now, at(3, 2), &c, 0);
    raft_wrote(r, now, &w);

    ck_assert_uint_eq(durable_of(r), 3);
    raft_next_write(r, now, &w);
    ck_assert(w.begin_anew);
    ck_assert_uint_eq(w.base.index, 3);
    ck_assert_uint_eq(w.first, 4);
    ck_assert_uint_eq(w.last, 4);
    raft_free(r);
}
END_TEST

/* D4 of the catalogue: a map that comes late moves nothing back. */
START_TEST(late_map_moves_nothing_back)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "11222", .applied = 4);

    raft_installed(r, now, at(3, 2), &nobody, 0);

    ck_assert_uint_eq(status(r).applied, 4);
    ck_assert_uint_eq(status(r).first, 1);
    ck_assert_uint_eq(raft_config_latest(r)->count, 3);
    raft_free(r);
}
END_TEST

/* A write that was in flight when a map was installed says nothing of the log that follows the map. */
START_TEST(late_write_after_an_install)
{
    struct raft *r = a_follower(.voters = 3, .term = 2);
    struct raft_config c = config_of(3, 0);
    struct raft_write w;

    receive(r, append(.from = 2, .term = 2, .terms = "1111111111"));
    raft_next_write(r, now, &w);
    ck_assert(raft_offered(r, now, 3, 3, at(5, 2)));
    raft_installed(r, now, at(5, 2), &c, 0);
    receive(r, append(.from = 3, .term = 3, .prev = at(5, 2), .terms = "2222"));
    raft_wrote(r, now, &w);

    ck_assert_uint_eq(durable_of(r), 5);
    raft_next_write(r, now, &w);
    ck_assert(w.begin_anew);
    ck_assert_uint_eq(w.first, 6);
    ck_assert_uint_eq(w.last, 9);
    ck_assert_uint_eq(w.keep_from, 6);
    raft_write_failed(r, now);
    raft_next_write(r, now, &w);
    ck_assert(w.begin_anew); /* until it is done */
    raft_wrote(r, now, &w);
    receive(r, append(.from = 3, .term = 3, .prev = at(9, 2), .terms = "2"));
    raft_next_write(r, now, &w);
    ck_assert(!w.begin_anew);
    raft_free(r);
}
END_TEST

/* A map of a newer term was installed, and then came a crash before that term was on disk. */
START_TEST(map_is_newer_than_the_term)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "115", .base = 3, .applied = 3);

    ck_assert_uint_eq(term_of(r), 5);
    ck_assert_uint_eq(raft_write_due(r), 0);
    ck_assert_uint_eq(raft_send_due(r, 2), RAFT_NEVER);
    raft_free(r);
}
END_TEST

/* D10 (RedisLabs/raft#49): an append from the beginning of time against a log that begins later. */
START_TEST(append_before_the_base)
{
    struct raft *r = a_follower(.voters = 3, .term = 2, .log = "11122", .base = 3, .applied = 3);
    struct raft_taken taken;

    taken = receive(r, append(.from = 2, .term = 2, .terms = "111222", .commit = 4));

    ck_assert_str_eq(log_of(r), "222");
    ck_assert_uint_eq(taken.first, 6);
    ck_assert_uint_eq(taken.skip, 5);
    ck_assert_uint_eq(taken.count, 1);
    ck_assert_uint_eq(commit_of(r), 4);
    taken = receive(r, append(.from = 2, .term = 2, .terms = "11"));
    ck_assert_uint_eq(taken.count, 0);
    settle(r);
    ck_assert_uint_eq(said(r, 2).appended.index, 6);
    raft_free(r);
}
END_TEST

RUN("restore", vote_survives, log_is_restored, empty_log_behind_a_base, configurations_are_restored,
    uncommitted_configuration_survives, more_terms_than_room, terms_overflow_while_running, newer_map_is_wanted,
    map_of_known_entries_is_not_wanted, installed_map_replaces_the_log, installed_map_keeps_a_matching_suffix,
    installed_map_of_the_last_entry, map_as_new_as_ours_brings_its_configuration, late_map_moves_nothing_back,
    late_write_after_an_install, installed_map_ahead_of_the_disk, map_is_newer_than_the_term, append_before_the_base)
