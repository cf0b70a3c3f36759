/* test_progress.c -- a leader's view of a peer: probe, replicate, snapshot (the diagram in src/raft/README). */
#include "world.h"

/* After an election the leader probes with one append at a time, and repeats it after a heartbeat interval. */
START_TEST(probe_is_one_at_a_time)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "11");
    struct raft_message m;

    propose(r);
    ck_assert_int_eq(peer(r, 2).state, RAFT_PROBE);
    m = said(r, 2);
    ck_assert_uint_eq(m.append.prev.index, 2);
    ck_assert_uint_eq(m.append.count, 1);
    propose(r);
    ck_assert_int_eq(said(r, 2).type, 0);
    wait_ms(HEARTBEAT);
    m = said(r, 2);
    ck_assert_uint_eq(m.append.prev.index, 2);
    ck_assert_uint_eq(m.append.count, 0); /* a retry carries no entries: the peer may be down */
    acked(r, 2, 2);

    ck_assert_int_eq(peer(r, 2).state, RAFT_REPLICATE);
    ck_assert_uint_eq(said(r, 2).append.count, 2);
    raft_free(r);
}
END_TEST

/* A probe that was taken with its entries is not followed by the same entries. */
START_TEST(probe_goes_on_behind_its_entries)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "11");

    propose(r);
    propose(r);
    said(r, 2);
    propose(r);
    acked(r, 2, 2); /* taken, but not durable yet */

    ck_assert_int_eq(peer(r, 2).state, RAFT_REPLICATE);
    ck_assert_uint_eq(peer(r, 2).next, 5);
    ck_assert_uint_eq(said(r, 2).append.prev.index, 4);
    raft_free(r);
}
END_TEST

/* Several appends are in flight, until 64 messages are. */
START_TEST(window_is_bounded_by_messages)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    for (unsigned i = 0; i < 64; i++) {
        propose(r);
        ck_assert_uint_eq(said(r, 2).append.count, 1);
    }
    propose(r);
    ck_assert_int_eq(said(r, 2).type, 0);
    acked(r, 2, 3);

    ck_assert_uint_eq(said(r, 2).append.prev.index, 65);
    ck_assert_int_eq(said(r, 2).type, 0);
    raft_free(r);
}
END_TEST

/* ... or four megabytes of entries; a single message may be larger. */
START_TEST(window_is_bounded_by_bytes)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;

    for (unsigned i = 0; i < 4; i++) {
        propose(r);
        ck_assert_uint_eq(raft_send_due(r, 2), 0);
        raft_next_message(r, now, 2, &m);
        ck_assert(raft_sending(r, now, &m, 1U << 20));
    }
    propose(r);
    ck_assert_uint_eq(raft_send_due(r, 2), now + HEARTBEAT);
    acked(r, 2, 2);

    ck_assert_uint_eq(raft_send_due(r, 2), 0);
    raft_free(r);
}
END_TEST

/* With a full window heartbeats go on, and carry nothing. */
START_TEST(full_window_still_beats)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;

    for (unsigned i = 0; i < 65; i++) {
        propose(r);
        said(r, 2);
    }
    wait_ms(HEARTBEAT);
    m = said(r, 2);

    ck_assert_int_eq(m.type, RAFT_APPEND);
    ck_assert_uint_eq(m.append.count, 0);
    ck_assert_uint_eq(m.append.prev.index, 65);
    raft_free(r);
}
END_TEST

/* A lost append shows when the next one, or a heartbeat, is refused: back to probe, where the follower says. */
START_TEST(loss_is_noticed_by_a_refusal)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    propose(r);
    said(r, 2); /* lost */
    wait_ms(HEARTBEAT);
    ck_assert_uint_eq(said(r, 2).append.prev.index, 2);
    receive(r, appended(.from = 2, .term = 1, .index = 1, .hint = 1));

    ck_assert_int_eq(peer(r, 2).state, RAFT_PROBE);
    ck_assert_uint_eq(peer(r, 2).next, 2);
    ck_assert_uint_eq(said(r, 2).append.count, 1); /* at once */
    raft_free(r);
}
END_TEST

/* C4: late and repeated refusals and acknowledgements never move next to match or below it. */
START_TEST(stale_answers_change_nothing)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);

    for (unsigned i = 0; i < 5; i++)
        propose(r);
    said(r, 2);
    acked(r, 2, 5);
    receive(r, appended(.from = 2, .term = 1, .index = 2, .hint = 1));
    receive(r, appended(.from = 2, .term = 1, .index = 0));
    acked(r, 2, 3);

    ck_assert_uint_eq(peer(r, 2).match, 5);
    ck_assert_uint_eq(peer(r, 2).next, 7);
    ck_assert_int_eq(peer(r, 2).state, RAFT_REPLICATE);
    raft_free(r);
}
END_TEST

/* A repeated refusal does not begin the same probe again. */
START_TEST(repeated_refusal_is_ignored)
{
    struct raft *r = a_leader(.voters = 3, .term = 3, .log = "1122");

    said(r, 2);
    receive(r, appended(.from = 2, .term = 3, .index = 2, .hint = 1));
    ck_assert_uint_eq(said(r, 2).append.prev.index, 2);
    receive(r, appended(.from = 2, .term = 3, .index = 2, .hint = 1));

    ck_assert_int_eq(said(r, 2).type, 0);
    raft_free(r);
}
END_TEST

/* Runs a leader and a follower against each other until the follower has all; how many round trips that took. */
static unsigned round_trips(struct raft *leader, struct raft *follower)
{
    static struct raft_head heads[RAFT_APPEND_MAX];
    unsigned trips = 0;

    while (peer(leader, 2).state != RAFT_REPLICATE) {
        struct raft_message m = said(leader, 2);

        ck_assert_int_eq(m.type, RAFT_APPEND);
        m.append.heads = heads;
        for (unsigned i = 0; i < m.append.count; i++)
            heads[i] =
                (struct raft_head){.term = raft_term_at(leader, m.append.prev.index + 1 + i), .type = RAFT_COMMAND};
        receive(follower, m);
        settle(follower);
        receive(leader, said_last(follower, 1));
        trips++;
    }
    return trips;
}

/* C5: a thousand divergent entries of ten terms cost at most terms + 2 round trips, whoever's log has the terms. */
START_TEST(back_off_skips_terms)
{
    char ours[1101], theirs[1101];

    memset(ours, '1', 100);
    memset(theirs, '1', 100);
    for (unsigned i = 0; i < 1000; i++) { /* odd terms here, even ones there, a hundred entries each */
        ours[100 + i] = (char)('1' + i / 200 * 2);
        theirs[100 + i] = (char)('0' + (i / 200 + 1) * 2 - (i >= 800));
    }
    ours[1100] = theirs[1100] = '\0';
    for (unsigned swap = 0; swap < 2; swap++) {
        struct raft *leader = a_leader(.voters = 3, .term = 20, .log = swap ? theirs : ours);
        struct raft *follower = a_follower(.self = 2, .voters = 3, .term = 19, .log = swap ? ours : theirs);

        propose(leader);
        settle(leader);
        ck_assert_uint_le(round_trips(leader, follower), 10 + 2);
        raft_free(leader);
        raft_free(follower);
    }
}
END_TEST

/* C5: for random logs, too, the number of round trips is bounded by the terms, not by the entries. */
START_TEST(back_off_is_bounded_for_random_logs)
{
    srand(1);
    for (unsigned round = 0; round < 200; round++) {
        char logs[2][401];
        unsigned common = (unsigned)rand() % 50;

        for (unsigned k = 0; k < 2; k++) {
            char term = '1';
            unsigned length = common + (unsigned)rand() % 300;

            memset(logs[k], '1', common);
            for (unsigned i = common; i < length; i++) {
                if (rand() % 30 == 0 && term < '8')
                    term++;
                logs[k][i] = term; /* terms differ from log to log, and where they are equal so may the entries be */
                if (term != '1' && k != (unsigned)(term - '0') % 2)
                    logs[k][i] = term = (char)(term + 1);
            }
            logs[k][length] = '\0';
        }
        struct raft *leader = a_leader(.voters = 3, .term = 20, .log = logs[0]);
        struct raft *follower = a_follower(.self = 2, .voters = 3, .term = 19, .log = logs[1]);

        propose(leader);
        settle(leader);
        ck_assert_uint_le(round_trips(leader, follower), 9 + 2);
        raft_free(leader);
        raft_free(follower);
    }
}
END_TEST

/* After a failed send: a while later, and as a probe from the last entry that is known to have arrived. */
START_TEST(unreachable_peer_is_probed_after_a_while)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message m;

    propose(r);
    propose(r);
    said(r, 2);
    raft_unreachable(r, now, 2);

    ck_assert_int_eq(peer(r, 2).state, RAFT_PROBE);
    ck_assert_uint_eq(raft_send_due(r, 2), now + HEARTBEAT);
    raft_read(r, now); /* not even for a read is it sent anything sooner */
    ck_assert_uint_eq(raft_send_due(r, 2), now + HEARTBEAT);
    wait_ms(HEARTBEAT);
    m = said(r, 2);
    ck_assert_uint_eq(m.append.prev.index, 1);
    raft_free(r);
}
END_TEST

/* A peer whose entries are gone gets heartbeats at our base, until it has a map; then replication goes on. */
START_TEST(snapshot_then_replicate)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "111111", .base = 4);
    struct raft_message offer = {.type = RAFT_SNAPSHOT, .from = 1, .to = 2, .term = 2};
    struct raft_message m;

    propose(r);
    said(r, 2);
    receive(r, appended(.from = 2, .term = 2, .index = 0));
    ck_assert_int_eq(peer(r, 2).state, RAFT_NEEDS_SNAPSHOT);
    wait_ms(HEARTBEAT);
    m = said(r, 2);
    ck_assert_uint_eq(m.append.prev.index, 4);
    ck_assert_uint_eq(m.append.count, 0);
    receive(r, appended(.from = 2, .term = 2, .index = 0)); /* it does not have that */
    ck_assert_int_eq(peer(r, 2).state, RAFT_NEEDS_SNAPSHOT);
    offer.snapshot.pos = at(5, 1);
    ck_assert(raft_sending(r, now, &offer, 0));
    ck_assert_uint_eq(peer(r, 2).snapshot.index, 5);
    acked(r, 2, 5);

    ck_assert_int_eq(peer(r, 2).state, RAFT_REPLICATE);
    m = said(r, 2);
    ck_assert_uint_eq(m.append.prev.index, 5);
    ck_assert_uint_eq(m.append.count, 2);
    raft_free(r);
}
END_TEST

/* A map that is older than our base is not offered any more: what follows it is gone. */
START_TEST(outdated_map_is_not_offered)
{
    struct raft *r = a_leader(.voters = 3, .term = 2, .log = "111111", .base = 4);
    struct raft_message offer = {.type = RAFT_SNAPSHOT, .from = 1, .to = 2, .term = 2};

    offer.snapshot.pos = at(4, 1);
    ck_assert(!raft_sending(r, now, &offer, 0)); /* it needs none */
    said(r, 2);
    receive(r, appended(.from = 2, .term = 2, .index = 0));
    ck_assert(raft_sending(r, now, &offer, 0));
    offer.snapshot.pos = at(3, 1);
    ck_assert(!raft_sending(r, now, &offer, 0));
    offer.snapshot.pos = at(5, 1);
    offer.term = 1;
    ck_assert(!raft_sending(r, now, &offer, 0));
    raft_free(r);
}
END_TEST

/* The map is safe up to an index: the log before goes, but for a short tail. */
START_TEST(settled_log_goes)
{
    struct raft *r = an_established_leader(.voters = 1, .term = 1);
    struct raft_write w;

    for (unsigned i = 0; i < 200; i++)
        propose(r);
    settle(r);
    apply_all(r);
    raft_settled(r, 100, 1u << 20);

    ck_assert_uint_eq(raft_write_due(r), 0);
    raft_next_write(r, now, &w);
    ck_assert_uint_eq(w.keep_from, 101 - 32);
    ck_assert_uint_gt(w.first, w.last);
    raft_wrote(r, now, &w);
    ck_assert_uint_eq(raft_write_due(r), RAFT_NEVER);
    ck_assert_uint_eq(status(r).first, 101 - 32);
    ck_assert_uint_eq(raft_term_at(r, 100 - 32), 1); /* the base itself is known */
    ck_assert_uint_eq(raft_term_at(r, 99 - 32), 0);
    raft_settled(r, 50, 1u << 20); /* never backwards (D4 of the catalogue) */
    ck_assert_uint_eq(status(r).first, 101 - 32);
    raft_free(r);
}
END_TEST

/* A slow peer that answers holds the log back; one that is silent does not. */
START_TEST(log_waits_for_slow_peers)
{
    struct raft *r = an_established_leader(.voters = 3, .learners = 1, .term = 1);

    for (unsigned i = 0; i < 200; i++)
        propose(r);
    settle(r);
    for (raft_id id = 2; id <= 4; id++)
        said(r, id);
    acked(r, 2, 201);
    acked(r, 3, 10);
    apply_all(r);
    raft_settled(r, 150, 1u << 20);
    ck_assert_uint_eq(status(r).first, 2); /* 4 has one entry */
    wait_ms(ELECTION);
    acked(r, 2, 201);
    acked(r, 3, 10);
    raft_settled(r, 150, 1u << 20);

    ck_assert_uint_eq(status(r).first, 11);
    ck_assert_int_eq(peer(r, 4).state, RAFT_REPLICATE); /* optimistic: its entries may be on their way */
    receive(r, appended(.from = 4, .term = 1, .index = 1, .hint = 1));
    ck_assert_int_eq(peer(r, 4).state, RAFT_NEEDS_SNAPSHOT);
    raft_free(r);
}
END_TEST

/* What follows a map on its way to a peer stays, or the peer would need another one. (D5) */
START_TEST(log_waits_for_a_map_on_its_way)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_message offer = {.type = RAFT_SNAPSHOT, .from = 1, .to = 3, .term = 1};

    for (unsigned i = 0; i < 200; i++)
        propose(r);
    settle(r);
    said(r, 2);
    acked(r, 2, 201);
    apply_all(r);
    wait_ms(ELECTION);
    acked(r, 2, 201);
    raft_settled(r, 150, 1u << 20); /* 3 is silent */
    raft_unreachable(r, now, 3);
    ck_assert_int_eq(peer(r, 3).state, RAFT_NEEDS_SNAPSHOT);
    offer.snapshot.pos = at(150, 1);
    ck_assert(raft_sending(r, now, &offer, 0));
    receive(r, appended(.from = 3, .term = 1, .index = 1, .hint = 1)); /* it lives */
    raft_settled(r, 201, 1u << 20);

    ck_assert_uint_eq(status(r).first, 151);
    wait_ms(20 * ELECTION); /* it is restarted, and goes on */
    acked(r, 2, 201);
    raft_settled(r, 201, 1000);
    ck_assert_uint_eq(status(r).first, 151);
    acked(r, 3, 150);
    ck_assert_int_eq(peer(r, 3).state, RAFT_REPLICATE);
    raft_settled(r, 201, 1000); /* it has not caught up yet */
    ck_assert_uint_eq(status(r).first, 151);
    raft_settled(r, 201, 40); /* so much of the log is worse than another map */
    ck_assert_uint_eq(status(r).first, 202 - 32);
    raft_free(r);
}
END_TEST

/* Dissertation 4.2.1: a learner has caught up when a round of catching up takes less than an election timeout. */
START_TEST(learner_catches_up_in_rounds)
{
    struct raft *r = an_established_leader(.voters = 1, .term = 1);
    struct raft_config c = with(config_of(1, 0), 2, RAFT_LEARNER);

    for (unsigned i = 0; i < 10; i++)
        propose(r);
    settle(r);
    ck_assert_uint_ne(raft_propose(r, now, RAFT_CONFIG, &c), 0);
    settle(r);
    ck_assert(!raft_caught_up(r, 2));
    said(r, 2);
    wait_ms(ELECTION + 1);
    acked(r, 2, last_of(r)); /* the first round took long */
    ck_assert(!raft_caught_up(r, 2));
    propose(r);
    wait_ms(10);
    said(r, 2);
    acked(r, 2, last_of(r));
    ck_assert(raft_caught_up(r, 2));
    wait_ms(ELECTION); /* E7: and then it is silent */
    raft_tick(r, now);

    ck_assert(!raft_caught_up(r, 2));
    ck_assert(!raft_caught_up(r, 9));
    raft_free(r);
}
END_TEST

/* Peers are looked at through their leader only. */
START_TEST(peer_status_is_the_leaders)
{
    struct raft *r = an_established_leader(.voters = 3, .term = 1);
    struct raft_peer_status p;

    ck_assert(raft_peer_status(r, now, 2, &p));
    ck_assert(p.active);
    ck_assert(raft_peer_status(r, now + ELECTION, 2, &p));
    ck_assert(!p.active);
    ck_assert(!raft_peer_status(r, now, 1, &p));
    ck_assert(!raft_peer_status(r, now, 9, &p));
    receive(r, append(.from = 2, .term = 2));

    ck_assert(!raft_peer_status(r, now, 2, &p));
    raft_free(r);
}
END_TEST

RUN("progress", probe_is_one_at_a_time, probe_goes_on_behind_its_entries, window_is_bounded_by_messages,
    window_is_bounded_by_bytes, full_window_still_beats, loss_is_noticed_by_a_refusal, stale_answers_change_nothing,
    repeated_refusal_is_ignored, back_off_skips_terms, back_off_is_bounded_for_random_logs,
    unreachable_peer_is_probed_after_a_while, snapshot_then_replicate, outdated_map_is_not_offered, settled_log_goes,
    log_waits_for_slow_peers, log_waits_for_a_map_on_its_way, learner_catches_up_in_rounds, peer_status_is_the_leaders)
