/* Whose map is the right one: who is told, who tells itself, who is not judged; and what a member in doubt does no more. */
#include <stdio.h>
#include <string.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"

static struct subject m;

static struct peer *peer(raft_id id)
{
    return &m.s.peers[slot_of(&m, id)];
}

/* Member 1 of `count` leads, and has applied a few sets. */
static void a_leader_of(unsigned count)
{
    member_open(&m, 1, count, NOBODY_PORT);
    if (count > 1)
        make_leader(&m);
    run_all(&m);
    for (unsigned i = 0; i < 3; i++) {
        propose_set(&m, "key", "value");
        run_all(&m);
        for (raft_id id = 2; id <= count; id++)
            deliver_ack(&m, id, status_of(&m).last);
        run_all(&m);
    }
    ck_assert_uint_eq(m.s.integrity.last.index, status_of(&m).applied);
}

/* A report of member `from` about the entry that we have applied last, `by` from our hash. */
static int report(raft_id from, uint64_t by)
{
    struct hello h = hello_from(from, 1);
    struct hash_report r = {.from = from,
                            .to = 1,
                            .term = status_of(&m).term,
                            .version = INTEGRITY_VERSION,
                            .applied = {m.s.integrity.last.index, m.s.integrity.last.hash + by}};

    return integrity_reported(&m.s, &h, &r);
}

static enum integrity_view view_of_member(raft_id id)
{
    raft_index index = 0;

    return integrity_of(&m.s, id, &index);
}

START_TEST(the_same_hash_is_agreement)
{
    a_leader_of(3);
    ck_assert_int_eq(view_of_member(2), INTEGRITY_UNKNOWN);
    ck_assert_int_eq(report(2, 0), 0);
    ck_assert_int_eq(view_of_member(2), INTEGRITY_AGREES);
    ck_assert_int_eq(view_of_member(3), INTEGRITY_UNKNOWN);
    ck_assert(!peer(2)->opinion.owed);
    member_end(&m);
}
END_TEST

START_TEST(who_differs_from_a_majority_is_told)
{
    struct hash_report r;
    struct hash_verdict v;

    a_leader_of(3);
    report(2, 5);
    ck_assert_int_eq(view_of_member(2), INTEGRITY_DIFFERS);
    ck_assert(!peer(2)->opinion.owed); /* member 3 has not spoken: it may be we who are wrong */
    report(3, 0);
    ck_assert(peer(2)->opinion.owed);
    ck_assert_uint_eq(integrity_due(&m.s, peer(2)), 0);
    ck_assert_int_eq(integrity_next(&m.s, m.now, peer(2), &r, &v), INTEGRITY_VERDICT);
    ck_assert_uint_eq(v.to, 2);
    ck_assert_uint_eq(v.yours.hash, v.ours + 5);
    ck_assert(!m.s.integrity.doubted);
    member_end(&m);
}
END_TEST

/* What was agreed in before says nothing of what came later. */
START_TEST(an_old_agreement_does_not_decide)
{
    a_leader_of(3);
    report(3, 0);
    propose_set(&m, "key", "another");
    run_all(&m);
    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    report(2, 5);
    ck_assert(!peer(2)->opinion.owed);
    report(3, 0);
    ck_assert(peer(2)->opinion.owed);
    member_end(&m);
}
END_TEST

START_TEST(a_leader_against_a_majority_doubts_itself_and_hands_over)
{
    a_leader_of(3);
    report(2, 5);
    ck_assert(!m.s.integrity.doubted);
    report(3, 5);
    ck_assert(m.s.integrity.doubted);
    ck_assert(integrity_stands_still(&m.s));
    ck_assert(!peer(2)->opinion.owed);
    ck_assert(!peer(3)->opinion.owed);
    ck_assert_uint_eq(timer_ops.due(&m.s, 0), 0);
    ck_assert(run_role(&m, &timer_ops, 0, m.timer));
    ck_assert(status_of(&m).transferring);
    member_end(&m);
}
END_TEST

/* Two that differ from us and from each other are no majority: all have spoken, and our map counts. */
START_TEST(three_maps_are_no_majority)
{
    a_leader_of(3);
    report(2, 5);
    report(3, 6);
    ck_assert(!m.s.integrity.doubted);
    ck_assert(peer(2)->opinion.owed);
    ck_assert(peer(3)->opinion.owed);
    member_end(&m);
}
END_TEST

START_TEST(of_two_the_leaders_counts)
{
    a_leader_of(2);
    report(2, 5);
    ck_assert(peer(2)->opinion.owed);
    ck_assert(!m.s.integrity.doubted);
    member_end(&m);
}
END_TEST

START_TEST(what_cannot_be_compared_is_not)
{
    struct hello h = hello_from(2, 1);
    struct hash_report r = {.from = 2, .to = 1, .version = INTEGRITY_VERSION, .applied = {0, 1}};

    a_leader_of(2);
    r.applied.index = status_of(&m).applied;
    r.term = status_of(&m).term - 1; /* of another term */
    ck_assert_int_eq(integrity_reported(&m.s, &h, &r), 0);
    ck_assert_int_eq(view_of_member(2), INTEGRITY_UNKNOWN);
    r.term++;
    r.version++; /* another way to hash */
    ck_assert_int_eq(integrity_reported(&m.s, &h, &r), 0);
    ck_assert_int_eq(view_of_member(2), INTEGRITY_UNKNOWN);
    r.version--;
    r.applied.index += 1000; /* what we do not know */
    ck_assert_int_eq(integrity_reported(&m.s, &h, &r), 0);
    ck_assert_int_eq(view_of_member(2), INTEGRITY_UNKNOWN);
    r.from = 3; /* it speaks for another */
    ck_assert_int_eq(integrity_reported(&m.s, &h, &r), ERR_MALFORMED);
    member_end(&m);
}
END_TEST

/* ---- a follower ---- */

static void a_follower(void)
{
    struct entry *e[2] = {noop_at(2, 2), set_at(3, 2, "key", "value", 5)};

    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 3, e, 2);
    unref_all(e, 2);
    run_all(&m);
    ck_assert_uint_eq(status_of(&m).applied, 3);
    ck_assert_uint_eq(m.s.integrity.last.index, 3);
}

static int judged(raft_id from, raft_term term, struct hash_at yours, uint64_t ours)
{
    struct hello h = hello_from(from, 1);
    struct hash_verdict v = {.from = from, .to = 1, .term = term, .yours = yours, .ours = ours};

    return integrity_judged(&m.s, &h, &v);
}

START_TEST(only_the_leader_judges_and_only_what_is_ours)
{
    struct hash_at ours, other;

    a_follower();
    ours = other = m.s.integrity.last;
    other.hash++;
    ck_assert_int_eq(judged(3, 2, ours, 1), 0);  /* no leader */
    ck_assert_int_eq(judged(2, 1, ours, 1), 0);  /* of an older term */
    ck_assert_int_eq(judged(2, 2, other, 1), 0); /* of a map that we have no more */
    ck_assert(!m.s.integrity.doubted);
    ck_assert_int_eq(judged(2, 2, ours, 1), 0);
    ck_assert(m.s.integrity.doubted);
    ck_assert_ptr_nonnull(strstr(m.s.integrity.reason, "index=3"));
    member_end(&m);
}
END_TEST

/* It goes on taking entries, but applies and answers nothing; and it remembers that. */
START_TEST(who_doubts_its_map_stands_still)
{
    struct entry *e = set_at(4, 2, "key", "other", 5);
    struct request q = {.wake = NULL};
    struct hash_report r;
    struct hash_verdict v;

    a_follower();
    ck_assert(request_begin_read(&m.s, m.now, &q));
    judged(2, 2, m.s.integrity.last, 1);
    ck_assert_int_eq(q.state, REQUEST_UNKNOWN);
    ck_assert(!request_begin_read(&m.s, m.now, &q));
    ck_assert_uint_eq(integrity_due(&m.s, peer(2)), 0); /* its leader shall know at once */
    ck_assert_int_eq(integrity_next(&m.s, m.now, peer(2), &r, &v), INTEGRITY_REPORT);
    ck_assert(r.doubted);
    ck_assert_uint_eq(r.applied.index, 3);
    ck_assert(run_role(&m, &auditor_ops, 0, m.auditor));
    ck_assert(m.s.integrity.noted);
    deliver_append(&m, 2, 2, (struct raft_pos){3, 2}, 4, &e, 1);
    entry_unref(e);
    run_all(&m);
    ck_assert_uint_eq(status_of(&m).durable, 4);
    ck_assert_uint_eq(status_of(&m).commit, 4);
    ck_assert_uint_eq(status_of(&m).applied, 3);
    member_reopen(&m);
    ck_assert(m.s.integrity.doubted);
    ck_assert(!request_begin_read(&m.s, m.now, &q));
    member_end(&m);
}
END_TEST

/* The leader's map as of what we have applied is wanted, though our log has it all; and then all is well. */
START_TEST(another_map_ends_the_doubt)
{
    struct hello h = hello_from(2, 1);
    static atomic_bool cancel;
    struct chunk c = {.from = 2, .to = 1, .term = 2};
    struct kv_position before, after;

    a_follower();
    ck_assert_int_eq(kv_store_position(m.kv, &before), 0);
    ck_assert_int_eq(kv_store_dump(m.kv, CLUSTER, m.dump_fresh, m.dump, &cancel, &c.dump), 0);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &c), 0);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_IDLE); /* we need none */
    judged(2, 2, m.s.integrity.last, 1);
    ck_assert(run_role(&m, &auditor_ops, 0, m.auditor));
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &c), 0);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_RECEIVING);
    ck_assert_int_eq(rename(m.dump, m.incoming), 0);
    m.s.incoming.have = c.dump.size;
    m.s.incoming.state = TRANSFER_COMPLETE;
    ck_assert(run_role(&m, &applier_ops, 0, m.applier));
    ck_assert(!m.s.integrity.doubted);
    ck_assert_int_eq(kv_store_position(m.kv, &after), 0);
    ck_assert(!after.doubted);
    ck_assert_uint_eq(after.hash, before.hash);
    ck_assert_uint_eq(m.s.integrity.last.hash, before.hash);
    ck_assert_uint_eq(status_of(&m).applied, 3);
    member_end(&m);
}
END_TEST

/* ---- the scrub ---- */

START_TEST(a_voter_without_another_goes_on_with_what_it_has)
{
    struct request q = {.wake = NULL};

    a_leader_of(1);
    integrity_doubt(&m.s, "a record is damaged");
    ck_assert(!integrity_stands_still(&m.s));
    ck_assert(request_begin_read(&m.s, m.now, &q));
    request_abandon(&m.s, &q);
    propose_set(&m, "key", "again");
    run_all(&m);
    ck_assert_uint_eq(status_of(&m).applied, status_of(&m).last);
    /* Two passes find nothing: the one that was on when it was found says nothing. */
    for (unsigned i = 0; i < 8 && m.s.integrity.doubted; i++) {
        m.now += 1000000;
        while (run_role(&m, &auditor_ops, 0, m.auditor))
            ;
    }
    ck_assert(!m.s.integrity.doubted);
    member_reopen(&m);
    ck_assert(!m.s.integrity.doubted);
    member_end(&m);
}
END_TEST

TEST_MAIN("integrity", the_same_hash_is_agreement, who_differs_from_a_majority_is_told,
          an_old_agreement_does_not_decide, a_leader_against_a_majority_doubts_itself_and_hands_over,
          three_maps_are_no_majority, of_two_the_leaders_counts, what_cannot_be_compared_is_not,
          only_the_leader_judges_and_only_what_is_ours, who_doubts_its_map_stands_still, another_map_ends_the_doubt,
          a_voter_without_another_goes_on_with_what_it_has)
