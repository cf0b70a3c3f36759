/* test_membership.c -- the published cases of membership that brought other implementations down, with whole members: cores,
 * roles, disks and links. TESTING: a change that another leader has overtaken is taken back; nothing committed is lost. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "healthy.h"

static struct machine *a_follower(struct world *w)
{
    return machine_leader(w) == &w->machines[0] ? &w->machines[1] : &w->machines[0];
}

/* As the leader's service does it, but nobody waits for it. */
static bool propose(struct machine *m, const struct members *next)
{
    struct raft_config config;
    struct entry *e = NULL;
    raft_index index = 0;

    members_config(next, &config);
    if (raft_may_change(m->shared.raft, &config) != RAFT_CHANGE_OK)
        return false;
    e = members_entry(next);
    index = shared_propose(&m->shared, machine_ms(m), e, next);
    CHECK(index != 0);
    machine_touched(m);
    return true;
}

static struct members with(struct members m, const struct machine *added)
{
    machine_describe(added, &m.list[m.count]);
    m.list[m.count].role = RAFT_VOTER;
    m.count++;
    return m;
}

static struct members without(struct members m, raft_id id)
{
    for (unsigned i = 0; i < m.count; i++)
        if (m.list[i].id == id)
            m.list[i] = m.list[--m.count];
    return m;
}

/* Until another machine than `old` leads: it does so in a term of which nothing is committed yet. */
static struct machine *next_leader(struct world *w, const struct machine *old)
{
    raft_term term = old->seen.term;
    uint64_t begin = w->now;

    while (w->now < begin + 5000000) {
        struct machine *m = machine_leader(w);

        if (m != NULL && m != old && m->seen.term > term)
            return m;
        ck_assert_msg(world_step(w), "%s", w->failure);
    }
    ck_abort_msg("no other leader");
    return NULL;
}

static bool knows(const struct machine *m, raft_id id)
{
    return directory_find(&m->shared.directory, id) != NULL;
}

enum published { ADD_REMOVE, ADD_ADD, REMOVE_REMOVE };

/* Ongaro, raft-dev, July 2015: one leader has a change in its own log alone; the next one, which does not know of it, makes
 * another. Majorities of the two need have nobody in common, so the second must wait until an entry of its own term is
 * committed: from then on the first cannot win with what it has. The first is taken back. */
static void published_case(enum published which, uint64_t seed)
{
    struct world *w = a_world(4, seed);
    struct machine *first = machine_leader(w), *second = NULL, *added = NULL, *other = NULL;
    struct machine *victim = a_follower(w);
    struct members before = first->shared.directory.latest, next;
    uint32_t side = 1u << first->slot;

    if (which == REMOVE_REMOVE) {
        next = without(before, victim->id);
    } else {
        added = machine_add(w);
        next = with(before, added);
        side |= 1u << added->slot;
    }
    fault_partition(w, side);
    ck_assert(propose(first, &next));
    if (added != NULL) {
        added->known = true;
        added->joined = first->shared.directory.latest_index;
        machine_start(added);
    }
    second = next_leader(w, first);
    other = which == ADD_ADD ? machine_add(w) : NULL;
    next = other != NULL ? with(before, other) : without(before, first->id);
    ck_assert(!propose(second, &next)); /* too early */
    run_ms(w, 500);
    ck_assert_ptr_eq(machine_leader(w), second);
    ck_assert(propose(second, &next));
    run_ms(w, 1000);
    ck_assert_uint_eq(second->seen.config_committed_index, second->shared.directory.latest_index);
    ck_assert(which == REMOVE_REMOVE ? !knows(first, victim->id) : knows(first, added->id));
    net_heal(w);
    run_ms(w, 5000); /* and all checkers agree */
    if (which == ADD_ADD) {
        ck_assert(!knows(first, added->id)); /* rolled back when the second's log came */
        ck_assert(knows(first, other->id));
    } else {
        ck_assert(first->gone); /* the second removed it */
    }
    if (which == REMOVE_REMOVE)
        ck_assert(knows(second, victim->id));
    world_free(w);
}

START_TEST(ongaro_2015_an_addition_and_a_removal)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        published_case(ADD_REMOVE, seed);
}
END_TEST

START_TEST(ongaro_2015_two_additions)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        published_case(ADD_ADD, seed);
}
END_TEST

START_TEST(ongaro_2015_two_removals)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        published_case(REMOVE_REMOVE, seed);
}
END_TEST

/* etcd#11284, canonical/raft#250, #323: a configuration is in force once it is in the log, after a restart, too, and no more
 * when it is cut off. */
START_TEST(a_change_is_rolled_back_on_truncation)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *leader = machine_leader(w), *added = machine_add(w);
        struct members next = with(leader->shared.directory.latest, added);

        fault_partition(w, 1u << leader->slot);
        ck_assert(propose(leader, &next));
        run_ms(w, ELECTION_MS / 2); /* on its disk by now */
        if (seed % 2 == 0) {
            machine_stop(leader, 0);
            machine_start(leader);
        }
        ck_assert(knows(leader, added->id));
        ck_assert_uint_eq(raft_config_latest(leader->shared.raft)->count, 4);
        next_leader(w, leader);
        net_heal(w);
        run_ms(w, 5000);
        ck_assert(!knows(leader, added->id));
        ck_assert_uint_eq(raft_config_latest(leader->shared.raft)->count, 3);
        ck_assert_uint_eq(leader->seen.leader, machine_leader(w)->id);
        world_free(w);
    }
}
END_TEST

/* tikv/raft-rs#571 again: answers of the member that goes are late by whole elections, and come when it is a member again. */
START_TEST(late_replies_count_for_nothing)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *leader = machine_leader(w), *m = a_follower(w);
        struct members before = leader->shared.directory.latest, next = without(before, m->id);

        w->clog[m->slot][leader->slot] = 3000 * ELECTION_MS;
        run_ms(w, 10 * seed);
        ck_assert(propose(leader, &next));
        run_ms(w, 100);
        ck_assert_uint_eq(leader->seen.config_committed_index, leader->shared.directory.latest_index);
        ck_assert(propose(leader, &before));
        run_ms(w, 5000); /* the checkers hold what the leader counts against the disks */
        ck_assert_ptr_nonnull(machine_leader(w));
        ck_assert(m->gone || m->seen.applied + 20 >= machine_leader(w)->seen.applied);
        world_free(w);
    }
}
END_TEST

/* redpanda#3055, logcabin#210: a server that is not there is added, and another one dies: the cluster goes on. */
START_TEST(a_dead_server_is_added)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *leader = machine_leader(w), *added = machine_add(w);
        struct members next = leader->shared.directory.latest;
        raft_index applied = 0;

        machine_describe(added, &next.list[next.count++]); /* a learner, as all begin */
        ck_assert(propose(leader, &next));
        run_ms(w, 2000);
        ck_assert(knows(leader, added->id));
        machine_stop(a_follower(w), 0);
        applied = leader->seen.applied;
        run_ms(w, 2000);
        ck_assert_ptr_eq(machine_leader(w), leader);
        ck_assert_uint_gt(leader->seen.applied, applied + 10);
        ck_assert_int_eq(members_by_id(&leader->shared.directory.latest, added->id)->role, RAFT_LEARNER);
        next = without(leader->shared.directory.latest, added->id);
        ck_assert(propose(leader, &next)); /* and taken back */
        run_ms(w, 1000);
        ck_assert(!knows(leader, added->id));
        world_free(w);
    }
}
END_TEST

/* hashicorp/raft#524: removed while it is cut off, and the leader that removed it dies before it comes back. */
START_TEST(removed_while_partitioned)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world *w = a_world(4, seed);
        struct machine *leader = machine_leader(w), *m = a_follower(w);
        struct members next = without(leader->shared.directory.latest, m->id);
        uint64_t leaders = 0;

        fault_partition(w, 1u << m->slot);
        ck_assert(propose(leader, &next));
        run_ms(w, 1000);
        ck_assert_uint_eq(leader->seen.config_committed_index, leader->shared.directory.latest_index);
        machine_stop(leader, 0);
        next_leader(w, leader);
        run_ms(w, 3000);
        leaders = w->checker.leaders;
        net_heal(w);
        run_ms(w, 5000);
        ck_assert_uint_eq(w->checker.leaders, leaders);
        ck_assert(m->gone); /* told by those who are left */
        world_free(w);
    }
}
END_TEST

/* tikv/raft-rs#571, etcd-io/raft#349: removed and added again in one term. What was on its way to and from it before comes
 * late, and must not be taken for news of the new membership: the checkers hold what the leader counts against the disks. */
START_TEST(removed_and_added_again_in_one_term)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *leader = machine_leader(w), *m = a_follower(w);
        struct members before = leader->shared.directory.latest, next = without(before, m->id);
        raft_term term = leader->seen.term;
        uint64_t leaders = w->checker.leaders;

        fault_partition(w, 1u << m->slot);
        run_ms(w, ELECTION_MS / 2); /* so that something is held up */
        ck_assert(propose(leader, &next));
        run_ms(w, 500);
        ck_assert_uint_eq(leader->seen.config_committed_index, leader->shared.directory.latest_index);
        ck_assert(propose(leader, &before));
        run_ms(w, 5 + seed * 20);
        net_heal(w);
        run_ms(w, 5000);
        ck_assert_uint_eq(leader->seen.term, term);
        ck_assert_uint_eq(w->checker.leaders, leaders);
        /* Ids do not come back: who hears of its removal has stopped for good, whatever a later entry says. */
        ck_assert(m->gone || m->seen.applied + 20 >= leader->seen.applied);
        world_free(w);
    }
}
END_TEST

/* A leader that is cut off goes on removing: nobody hears it, and it is told better when it returns. The removed one was
 * not removed; redisraft#17: nothing that the others acknowledged meanwhile is lost (the checkers look). */
START_TEST(an_isolated_leader_removes_nobody)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *leader = machine_leader(w), *victim = a_follower(w);
        struct members next = without(leader->shared.directory.latest, victim->id);

        fault_partition(w, 1u << leader->slot);
        ck_assert(propose(leader, &next));
        next_leader(w, leader);
        run_ms(w, 2000);
        ck_assert(!knows(leader, victim->id));
        net_heal(w);
        run_ms(w, 5000);
        ck_assert(knows(leader, victim->id));
        ck_assert(!victim->gone);
        ck_assert(!leader->gone);
        world_free(w);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("membership");
    TCase *tests = tcase_create("membership");
    SRunner *runner = srunner_create(suite);
    int failed = 0;

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, ongaro_2015_an_addition_and_a_removal);
    tcase_add_test(tests, ongaro_2015_two_additions);
    tcase_add_test(tests, ongaro_2015_two_removals);
    tcase_add_test(tests, a_change_is_rolled_back_on_truncation);
    tcase_add_test(tests, late_replies_count_for_nothing);
    tcase_add_test(tests, a_dead_server_is_added);
    tcase_add_test(tests, removed_while_partitioned);
    tcase_add_test(tests, removed_and_added_again_in_one_term);
    tcase_add_test(tests, an_isolated_leader_removes_nobody);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
