/* test_story.c -- a few lives of a cluster, told by the events of the cores in the words of the server's log, and compared
 * with what they should be. A change of the tale is a change of behaviour: look at it before you accept it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static struct bytes tale;

/* A quiet world: short delays that never vary, healthy disks, nobody asks for anything. Its only chance is that of the
 * cores, so what else the simulator draws does not change the tale. */
static struct world *a_world(unsigned voters)
{
    struct sim_config config = {
        .seed = 7,
        .voters = voters,
        .election_ms = 150,
        .heartbeat_ms = 30,
        .delay_min = 100,
        .delay_max = 100,
        .stream = true,
        .sync_min = 200,
        .sync_max = 200,
        .instant = 1000,
    };
    struct world *w = world_new(&config);

    bytes_init(&tale, 1u << 20);
    w->story = &tale;
    return w;
}

static struct machine *m(struct world *w, unsigned number)
{
    return &w->machines[number - 1];
}

static void run_ms(struct world *w, uint64_t ms)
{
    world_run_for(w, ms * 1000);
}

static void forget(void)
{
    bytes_reset(&tale);
}

static void told(struct world *w, const char *expected)
{
    ck_assert_msg(!w->failed, "%s: %s", w->failed_check, w->failure);
    bytes_append_char(&tale, '\0');
    ck_assert_str_eq((const char *)tale.data, expected);
    forget();
}

static void the_end(struct world *w)
{
    world_free(w);
    bytes_clear(&tale);
}

/* [5.2; thesis 9.6]: one hears no leader first; the others grant it a pre-vote, then their votes. */
START_TEST(first_election)
{
    struct world *w = a_world(3);

    run_ms(w, 600);
    told(w, "m3 heartbeat timeout reached, starting election: term=1 last-leader=0\n"
            "m3 entering candidate state: term=2\n"
            "m1 entering follower state: term=2 leader=0\n"
            "m1 vote granted: to=3 term=2\n"
            "m2 entering follower state: term=2 leader=0\n"
            "m2 vote granted: to=3 term=2\n"
            "m3 vote granted: from=1 term=2 tally=2\n"
            "m3 added peer, starting replication: peer=1 next=2\n"
            "m3 added peer, starting replication: peer=2 next=2\n"
            "m3 entering leader state: term=2 last-index=1\n"
            "m1 entering follower state: term=2 leader=3\n"
            "m2 entering follower state: term=2 leader=3\n"
            "m3 pipelining replication: peer=1 match=1\n"
            "m3 pipelining replication: peer=2 match=1\n");
    the_end(w);
}
END_TEST

START_TEST(a_cluster_of_one)
{
    struct world *w = a_world(1);

    run_ms(w, 100);
    told(w, "m1 heartbeat timeout reached, starting election: term=1 last-leader=0\n"
            "m1 entering candidate state: term=2\n"
            "m1 entering leader state: term=2 last-index=1\n");
    the_end(w);
}
END_TEST

/* The leader dies and comes back: another one leads, and the old one follows. */
START_TEST(leader_crash)
{
    struct world *w = a_world(3);

    run_ms(w, 605);
    forget();
    machine_stop(machine_leader(w), 0);
    run_ms(w, 600);
    told(w, "m2 entering follower state: term=2 leader=0\n"
            "m2 heartbeat timeout reached, starting election: term=2 last-leader=3\n"
            "m1 vote refused: to=2 term=2\n"
            "m1 entering follower state: term=2 leader=0\n"
            "m1 heartbeat timeout reached, starting election: term=2 last-leader=3\n"
            "m1 entering candidate state: term=3\n"
            "m2 entering follower state: term=3 leader=0\n"
            "m2 vote granted: to=1 term=3\n"
            "m1 vote granted: from=2 term=3 tally=2\n"
            "m1 added peer, starting replication: peer=2 next=3\n"
            "m1 added peer, starting replication: peer=3 next=3\n"
            "m1 entering leader state: term=3 last-index=2\n"
            "m2 entering follower state: term=3 leader=1\n"
            "m1 pipelining replication: peer=2 match=2\n");
    for (unsigned i = 1; i <= 3; i++)
        if (!m(w, i)->up)
            machine_start(m(w, i));
    run_ms(w, 600);
    told(w, "m3 entering follower state: term=3 leader=0\n"
            "m3 entering follower state: term=3 leader=1\n"
            "m1 pipelining replication: peer=3 match=2\n");
    the_end(w);
}
END_TEST

/* A leader that is cut off steps down by itself; the majority elects another; healed, nobody is deposed. */
START_TEST(partition)
{
    struct world *w = a_world(3);
    struct machine *old = NULL;

    run_ms(w, 600);
    forget();
    old = machine_leader(w);
    fault_partition(w, 1u << old->slot);
    run_ms(w, 1000);
    told(w, "m3 stepping down, no quorum answers: term=2\n"
            "m3 entering follower state: term=2 leader=0\n"
            "m2 entering follower state: term=2 leader=0\n"
            "m2 heartbeat timeout reached, starting election: term=2 last-leader=3\n"
            "m2 entering candidate state: term=3\n"
            "m1 entering follower state: term=3 leader=0\n"
            "m1 vote granted: to=2 term=3\n"
            "m2 vote granted: from=1 term=3 tally=2\n"
            "m2 added peer, starting replication: peer=1 next=3\n"
            "m2 added peer, starting replication: peer=3 next=3\n"
            "m2 entering leader state: term=3 last-index=2\n"
            "m1 entering follower state: term=3 leader=2\n"
            "m2 pipelining replication: peer=1 match=2\n"
            "m3 heartbeat timeout reached, starting election: term=2 last-leader=0\n"
            "m3 heartbeat timeout reached, starting election: term=2 last-leader=0\n"
            "m3 heartbeat timeout reached, starting election: term=2 last-leader=0\n");
    net_heal(w);
    run_ms(w, 600);
    told(w, "m2 vote refused: to=3 term=3\n"
            "m3 entering follower state: term=3 leader=0\n"
            "m3 entering follower state: term=3 leader=2\n"
            "m2 pipelining replication: peer=3 match=2\n");
    ck_assert_ptr_ne(machine_leader(w), old);
    the_end(w);
}
END_TEST

/* [thesis 4.2.1]: a server joins as a learner, catches up, and gets its vote. */
START_TEST(join_and_promotion)
{
    struct world *w = a_world(2);
    struct members next;
    struct machine *joiner = NULL;

    run_ms(w, 600);
    forget();
    joiner = machine_add(w);
    next = machine_leader(w)->shared.directory.latest;
    machine_describe(joiner, &next.list[next.count++]);
    ck_assert(operator_propose(machine_leader(w), &next, joiner->slot + 1));
    run_ms(w, 600);
    told(w, "m2 added peer, starting replication: peer=3 next=4\n"
            "m2 updating configuration: index=3 term=2\n"
            "m1 updating configuration: index=3 term=2\n"
            "m3 entering follower state: term=2 leader=0\n"
            "m3 entering follower state: term=2 leader=2\n"
            "m3 failed to get previous log: previous-index=3 error=\"log not found\"\n"
            "m2 appendEntries rejected, sending older logs: peer=3 next=1\n"
            "m3 updating configuration: index=1 term=2\n"
            "m3 updating configuration: index=3 term=2\n"
            "m2 pipelining replication: peer=3 match=3\n"
            "m2 updating configuration: index=4 term=2\n"
            "m1 updating configuration: index=4 term=2\n"
            "m3 updating configuration: index=4 term=2\n");
    ck_assert(joiner->up);
    ck_assert_uint_eq(joiner->shared.directory.latest.list[2].role, RAFT_VOTER);
    the_end(w);
}
END_TEST

/* [thesis 3.10]: the successor stands at once, without a pre-vote. */
START_TEST(transfer)
{
    struct world *w = a_world(3);
    struct machine *leader = NULL;

    run_ms(w, 600);
    forget();
    leader = machine_leader(w);
    raft_transfer(leader->shared.raft, machine_ms(leader), leader->id % 3 + 1);
    machine_touched(leader);
    run_ms(w, 300);
    told(w, "m3 leadership transfer: to=1 term=2\n"
            "m1 leadership offered: from=3 term=2\n"
            "m1 entering candidate state: term=3\n"
            "m2 entering follower state: term=3 leader=0\n"
            "m2 vote granted: to=1 term=3\n"
            "m3 entering follower state: term=3 leader=0\n"
            "m3 vote granted: to=1 term=3\n"
            "m1 vote granted: from=2 term=3 tally=2\n"
            "m1 added peer, starting replication: peer=2 next=3\n"
            "m1 added peer, starting replication: peer=3 next=3\n"
            "m1 entering leader state: term=3 last-index=2\n"
            "m2 entering follower state: term=3 leader=1\n"
            "m3 entering follower state: term=3 leader=1\n"
            "m1 pipelining replication: peer=2 match=2\n"
            "m1 pipelining replication: peer=3 match=2\n");
    ck_assert_uint_eq(machine_leader(w)->id, leader->id % 3 + 1);
    the_end(w);
}
END_TEST

/* [thesis 4.2.2]: a leader that is removed leads until that is committed, and then no more. */
START_TEST(removal_of_the_leader)
{
    struct world *w = a_world(3);
    struct members next;
    struct machine *leader = NULL;

    run_ms(w, 600);
    forget();
    leader = machine_leader(w);
    next = leader->shared.directory.latest;
    for (unsigned i = 0; i < next.count; i++)
        if (next.list[i].id == leader->id)
            next.list[i] = next.list[--next.count];
    ck_assert(operator_propose(leader, &next, 0));
    run_ms(w, 1000);
    told(w, "m3 updating configuration: index=3 term=2\n"
            "m1 updating configuration: index=3 term=2\n"
            "m2 updating configuration: index=3 term=2\n"
            "m3 entering follower state: term=2 leader=0\n"
            "m3 leadership transfer: to=1 term=2\n"
            "m1 leadership offered: from=3 term=2\n"
            "m1 entering candidate state: term=3\n"
            "m2 entering follower state: term=3 leader=0\n"
            "m2 vote granted: to=1 term=3\n"
            "m1 vote granted: from=2 term=3 tally=2\n"
            "m1 added peer, starting replication: peer=2 next=4\n"
            "m1 entering leader state: term=3 last-index=3\n"
            "m2 entering follower state: term=3 leader=1\n"
            "m1 pipelining replication: peer=2 match=3\n");
    ck_assert(leader->gone);
    the_end(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("story");
    TCase *tests = tcase_create("story");
    SRunner *runner = srunner_create(suite);
    int failed = 0;

    tcase_add_test(tests, first_election);
    tcase_add_test(tests, a_cluster_of_one);
    tcase_add_test(tests, leader_crash);
    tcase_add_test(tests, partition);
    tcase_add_test(tests, join_and_promotion);
    tcase_add_test(tests, transfer);
    tcase_add_test(tests, removal_of_the_leader);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
