/* Who waits for what, and what ends the waiting: index and term for writes, a quorum and the map for reads. */
#include "server/request.h"

#include "../suite.h"
#include "server_test.h"

static struct subject m;

static const struct command_result created = {.outcome = COMMAND_CREATED, .index = 5};

/* ---- writes ---- */

START_TEST(a_write_is_done_when_its_entry_is_applied)
{
    struct request r = {0};

    member_open(&m, 1, 3, NOBODY_PORT);
    request_begin_write(&m.s, &r, 5, 2);
    ck_assert_uint_eq(m.s.requests.waiting, 1);

    requests_applied(&m.s, 4, 2, &created);
    ck_assert_int_eq(r.state, REQUEST_WAITING);
    requests_applied(&m.s, 5, 2, &created);

    ck_assert_int_eq(r.state, REQUEST_DONE);
    ck_assert_int_eq(r.result.outcome, COMMAND_CREATED);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    member_end(&m);
}
END_TEST

/* Another leader's entry at its index: ours can never be applied any more. */
START_TEST(a_write_is_lost_when_another_term_has_its_place)
{
    struct request r = {0};

    member_open(&m, 1, 3, NOBODY_PORT);
    request_begin_write(&m.s, &r, 5, 2);

    requests_applied(&m.s, 5, 3, &created);

    ck_assert_int_eq(r.state, REQUEST_LOST);
    ck_assert_uint_eq(m.s.counters.proposals_lost, 1);
    member_end(&m);
}
END_TEST

START_TEST(writes_of_one_bucket_do_not_disturb_each_other)
{
    struct request r[4] = {{0}};

    member_open(&m, 1, 3, NOBODY_PORT);
    request_begin_write(&m.s, &r[0], 7, 2);
    request_begin_write(&m.s, &r[1], 7 + REQUEST_BUCKETS, 2);
    request_begin_write(&m.s, &r[2], 7 + 2 * REQUEST_BUCKETS, 2);
    request_begin_write(&m.s, &r[3], 7 + REQUEST_BUCKETS, 2); /* a second one that waits for the same entry */

    requests_applied(&m.s, 7 + REQUEST_BUCKETS, 2, &created);

    ck_assert_int_eq(r[0].state, REQUEST_WAITING);
    ck_assert_int_eq(r[1].state, REQUEST_DONE);
    ck_assert_int_eq(r[2].state, REQUEST_WAITING);
    ck_assert_int_eq(r[3].state, REQUEST_DONE);
    ck_assert_uint_eq(m.s.requests.waiting, 2);
    request_abandon(&m.s, &r[0]);
    request_abandon(&m.s, &r[2]);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    member_end(&m);
}
END_TEST

/* The client is gone, and its request with it: the result that comes later touches nothing of it. */
START_TEST(an_abandoned_write_is_forgotten)
{
    struct request r = {0};

    member_open(&m, 1, 3, NOBODY_PORT);
    request_begin_write(&m.s, &r, 5, 2);
    request_abandon(&m.s, &r);
    request_abandon(&m.s, &r);

    requests_applied(&m.s, 5, 2, &created);

    ck_assert_int_eq(r.state, REQUEST_WAITING);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    member_end(&m);
}
END_TEST

/* ---- reads ---- */

START_TEST(no_read_begins_without_a_leader)
{
    struct request r = {0};

    member_open(&m, 1, 3, NOBODY_PORT);

    ck_assert(!request_begin_read(&m.s, m.now, &r));

    ck_assert_uint_eq(m.s.requests.waiting, 0);
    request_abandon(&m.s, &r);
    member_end(&m);
}
END_TEST

START_TEST(a_lone_member_confirms_its_reads_itself)
{
    struct request r = {0};

    member_open(&m, 1, 1, NOBODY_PORT);
    make_leader(&m);

    ck_assert(request_begin_read(&m.s, m.now, &r));
    requests_settle(&m.s, m.now);

    ck_assert_int_eq(r.state, REQUEST_DONE); /* all is applied, and committed by the map */
    member_end(&m);
}
END_TEST

/* Thesis 6.4: a quorum answers the round, then the map must reach the commit index of that moment. */
START_TEST(a_read_waits_for_a_quorum_and_for_the_map)
{
    struct request r = {0};
    raft_index index = 0;

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    index = propose_set(&m, "k", "v");
    ck_assert(run_role(&m, &writer_ops, 0, m.writer));
    deliver_ack(&m, 2, index);
    ck_assert_uint_eq(status_of(&m).commit, index);

    ck_assert(request_begin_read(&m.s, m.now, &r));
    requests_settle(&m.s, m.now);
    ck_assert_int_eq(r.state, REQUEST_WAITING);
    deliver_ack(&m, 2, index); /* the round is confirmed, the entry is not applied */
    requests_settle(&m.s, m.now);
    ck_assert_int_eq(r.state, REQUEST_WAITING);
    ck_assert_uint_eq(r.index, index);
    run_all(&m);

    ck_assert_int_eq(r.state, REQUEST_DONE);
    member_end(&m);
}
END_TEST

/* Under steady writes the commit index is always ahead of the map: a read waits for the one of its own moment. */
START_TEST(later_rounds_do_not_put_a_read_off)
{
    struct request first = {0}, second = {0};
    raft_index index = 0;

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    index = propose_set(&m, "k", "1");
    run_role(&m, &writer_ops, 0, m.writer);
    deliver_ack(&m, 2, index);
    ck_assert(request_begin_read(&m.s, m.now, &first));
    deliver_ack(&m, 2, index);
    requests_settle(&m.s, m.now);
    applier_ops.take(&m.s, m.now, 0, m.applier); /* this batch is on its way, and the next entries come */
    propose_set(&m, "k", "2");
    run_role(&m, &writer_ops, 0, m.writer);
    deliver_ack(&m, 2, index + 1);
    ck_assert(request_begin_read(&m.s, m.now, &second));
    deliver_ack(&m, 2, index + 1);
    requests_settle(&m.s, m.now);

    applier_ops.work(m.applier);
    applier_ops.done(&m.s, m.now, 0, m.applier);
    requests_settle(&m.s, m.now);
    ck_assert_int_eq(first.state, REQUEST_WAITING);      /* the result is known, but no view shows it yet */
    ck_assert(run_role(&m, &applier_ops, 0, m.applier)); /* so it commits before it applies more */
    requests_settle(&m.s, m.now);

    ck_assert_int_eq(first.state, REQUEST_DONE);
    ck_assert_int_eq(second.state, REQUEST_WAITING);
    run_all(&m);
    ck_assert_int_eq(second.state, REQUEST_DONE);
    member_end(&m);
}
END_TEST

START_TEST(reads_are_lost_with_the_leadership)
{
    struct request r[2] = {{0}};
    struct raft_pos last = {0, 0};

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    last = (struct raft_pos){status_of(&m).last, status_of(&m).term};
    ck_assert(request_begin_read(&m.s, m.now, &r[0]));
    ck_assert(request_begin_read(&m.s, m.now, &r[1]));
    requests_settle(&m.s, m.now);

    deliver_append(&m, 2, last.term + 1, last, 0, NULL, 0);
    requests_settle(&m.s, m.now);

    ck_assert_int_eq(r[0].state, REQUEST_LOST);
    ck_assert_int_eq(r[1].state, REQUEST_LOST);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    ck_assert_ptr_null(m.s.requests.unsafe);
    member_end(&m);
}
END_TEST

/* What was confirmed remains true: the map was, or will be, as new as the read asked for. */
START_TEST(a_confirmed_read_survives_the_leadership)
{
    struct request r = {0};
    raft_index index = 0;
    struct raft_pos last = {0, 0};

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);
    index = propose_set(&m, "k", "v");
    run_role(&m, &writer_ops, 0, m.writer);
    deliver_ack(&m, 2, index);
    ck_assert(request_begin_read(&m.s, m.now, &r));
    deliver_ack(&m, 2, index);
    requests_settle(&m.s, m.now);

    last = (struct raft_pos){index, status_of(&m).term};
    deliver_append(&m, 2, last.term + 1, last, 0, NULL, 0);
    requests_settle(&m.s, m.now);
    ck_assert_int_eq(r.state, REQUEST_WAITING);
    run_all(&m);

    ck_assert_int_eq(r.state, REQUEST_DONE);
    member_end(&m);
}
END_TEST

START_TEST(reads_may_be_abandoned_anywhere)
{
    struct request r[5] = {{0}};

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    for (unsigned i = 0; i < 5; i++)
        ck_assert(request_begin_read(&m.s, m.now, &r[i]));
    request_abandon(&m.s, &r[0]);
    request_abandon(&m.s, &r[2]);
    request_abandon(&m.s, &r[4]);
    ck_assert_ptr_eq(m.s.requests.reads, &r[1]);
    ck_assert_ptr_eq(m.s.requests.reads_end, &r[3]);
    ck_assert_ptr_eq(m.s.requests.unsafe, &r[1]);

    for (unsigned i = 0; i < 3; i++)
        deliver_ack(&m, 2, status_of(&m).last);
    run_all(&m);

    ck_assert_int_eq(r[0].state, REQUEST_WAITING);
    ck_assert_int_eq(r[1].state, REQUEST_DONE);
    ck_assert_int_eq(r[2].state, REQUEST_WAITING);
    ck_assert_int_eq(r[3].state, REQUEST_DONE);
    ck_assert_int_eq(r[4].state, REQUEST_WAITING);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    member_end(&m);
}
END_TEST

/* No quorum answers within an election timeout or two: who waits is told. */
START_TEST(a_read_without_a_quorum_is_lost_in_time)
{
    struct request r = {0};

    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    ck_assert(request_begin_read(&m.s, m.now, &r));

    for (unsigned i = 0; i < 3 && r.state == REQUEST_WAITING; i++) {
        m.now += ELECTION_MS;
        run_all(&m);
    }

    ck_assert_int_eq(r.state, REQUEST_LOST);
    member_end(&m);
}
END_TEST

/* ---- writes that gather ---- */

static void gather(struct request *r)
{
    struct command c = {.op = COMMAND_SET, .key = view_of_text("k"), .value = view_of_text("v")};

    *r = (struct request){0};
    request_gather(&m.s, m.now, r, command_entry(&c));
    requests_settle(&m.s, m.now);
}

/* A leader of three with `count` entries on their way. */
static void lead_with_in_flight(unsigned count)
{
    lead_with(&m, 0);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_ne(propose_set(&m, "k", "v"), 0);
}

START_TEST(who_is_alone_is_proposed_at_once)
{
    struct request r;

    lead_with_in_flight(0);
    gather(&r);
    ck_assert_uint_eq(r.index, status_of(&m).last);
    ck_assert_ptr_null(m.s.requests.gathered);
    member_end(&m);
}
END_TEST

START_TEST(writes_gather_until_they_are_as_many_as_are_on_their_way)
{
    struct request r[3];
    raft_index last = 0;

    lead_with_in_flight(3);
    last = status_of(&m).last;
    gather(&r[0]);
    gather(&r[1]);
    ck_assert_uint_eq(status_of(&m).last, last);
    ck_assert_uint_eq(m.s.requests.waiting, 2);
    ck_assert_uint_eq(m.s.requests.gathered_bytes, r[0].entry->size + r[1].entry->size);
    gather(&r[2]);
    ck_assert_uint_eq(m.s.requests.gathered_bytes, 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(r[i].index, last + 1 + i); /* in the order in which they came */
    ck_assert_uint_eq(m.s.requests.waiting, 3);
    member_end(&m);
}
END_TEST

START_TEST(what_has_gathered_goes_when_the_others_have_arrived)
{
    struct request r;
    raft_index last = 0;

    lead_with_in_flight(3);
    last = status_of(&m).last;
    gather(&r);
    run_all(&m);
    deliver_ack(&m, 2, last);
    requests_settle(&m.s, m.now);
    ck_assert_uint_eq(r.index, last + 1);
    member_end(&m);
}
END_TEST

START_TEST(what_has_gathered_goes_after_a_moment)
{
    struct request r;
    raft_index last = 0;

    lead_with_in_flight(3);
    last = status_of(&m).last;
    gather(&r);
    ck_assert_uint_gt(r.look_at, m.now);
    ck_assert_uint_le(r.look_at, m.now + HEARTBEAT_MS);
    m.now = r.look_at;
    requests_settle(&m.s, m.now);
    ck_assert_uint_eq(r.index, last + 1);
    member_end(&m);
}
END_TEST

/* What was never proposed surely never happens: whoever waits for it is told so. */
START_TEST(what_has_gathered_is_lost_with_the_leadership)
{
    struct request r;

    lead_with_in_flight(3);
    gather(&r);
    deliver_append(&m, 3, status_of(&m).term + 1, (struct raft_pos){1, 1}, 1, NULL, 0);
    requests_settle(&m.s, m.now);
    ck_assert_int_eq(r.state, REQUEST_LOST);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    member_end(&m);
}
END_TEST

START_TEST(what_has_gathered_may_be_abandoned)
{
    struct request r[3];

    lead_with_in_flight(4);
    for (unsigned i = 0; i < 3; i++)
        gather(&r[i]);
    request_abandon(&m.s, &r[1]);
    ck_assert_int_eq(r[1].state, REQUEST_LOST);
    request_abandon(&m.s, &r[2]);
    request_abandon(&m.s, &r[0]);
    ck_assert_ptr_null(m.s.requests.gathered);
    ck_assert_ptr_null(m.s.requests.gathered_end);
    ck_assert_uint_eq(m.s.requests.gathered_count, 0);
    ck_assert_uint_eq(m.s.requests.gathered_bytes, 0);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    gather(&r[0]);
    requests_give_up(&m.s);
    ck_assert_int_eq(r[0].state, REQUEST_LOST);
    member_end(&m);
}
END_TEST

START_TEST(too_much_unfinished_is_refused)
{
    struct request r;

    lead_with_in_flight(0);
    while (propose_set(&m, "k", "v") != 0)
        ;
    gather(&r);
    m.now += HEARTBEAT_MS;
    requests_settle(&m.s, m.now);
    ck_assert_int_eq(r.state, REQUEST_BUSY);
    member_end(&m);
}
END_TEST

/* ---- the end ---- */

/* Those with a semaphore go into the list of those to be woken, in the order in which they were finished. */
START_TEST(giving_up_finishes_all)
{
    sem_t wake;
    struct request w[2] = {{.wake = &wake}, {.wake = &wake}}, r = {.wake = &wake};
    unsigned finished = 0;

    sem_init(&wake, 0, 0);
    member_open(&m, 1, 3, NOBODY_PORT);
    make_leader(&m);
    request_begin_write(&m.s, &w[0], 9, 1);
    request_begin_write(&m.s, &w[1], 9 + REQUEST_BUCKETS, 1);
    ck_assert(request_begin_read(&m.s, m.now, &r));

    requests_give_up(&m.s);

    ck_assert_int_eq(w[0].state, REQUEST_UNKNOWN);
    ck_assert_int_eq(w[1].state, REQUEST_UNKNOWN);
    ck_assert_int_eq(r.state, REQUEST_UNKNOWN);
    ck_assert_uint_eq(m.s.requests.waiting, 0);
    ck_assert_ptr_null(m.s.requests.unsafe);
    for (struct request *f = m.s.requests.finished; f != NULL; f = f->next)
        finished++;
    ck_assert_uint_eq(finished, 3);
    sem_destroy(&wake);
    member_end(&m);
}
END_TEST

TEST_MAIN("request", a_write_is_done_when_its_entry_is_applied, a_write_is_lost_when_another_term_has_its_place,
          writes_of_one_bucket_do_not_disturb_each_other, an_abandoned_write_is_forgotten,
          who_is_alone_is_proposed_at_once, writes_gather_until_they_are_as_many_as_are_on_their_way,
          what_has_gathered_goes_when_the_others_have_arrived, what_has_gathered_goes_after_a_moment,
          what_has_gathered_is_lost_with_the_leadership, what_has_gathered_may_be_abandoned,
          too_much_unfinished_is_refused, no_read_begins_without_a_leader, a_lone_member_confirms_its_reads_itself,
          a_read_waits_for_a_quorum_and_for_the_map, later_rounds_do_not_put_a_read_off,
          reads_are_lost_with_the_leadership, a_confirmed_read_survives_the_leadership, reads_may_be_abandoned_anywhere,
          a_read_without_a_quorum_is_lost_in_time, giving_up_finishes_all)
