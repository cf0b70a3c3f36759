/* test_scenario.c -- faults that brought real clusters down, each with what raftd must make of it: how soon there is a
 * leader again, how often it changes, how many writes go through. */
#include <stdio.h>
#include <stdlib.h>

#include "healthy.h"

/* Milliseconds until a leader of a later term than `term` has committed something; at most `limit`. */
static uint64_t until_next_leader(struct world *w, raft_term term, uint64_t limit)
{
    uint64_t begin = w->now;

    while (w->now < begin + limit * 1000) {
        const struct machine *m = machine_leader(w);

        if (m != NULL && m->seen.term > term && raft_term_at(m->shared.raft, m->seen.commit) == m->seen.term)
            break;
        ck_assert_msg(world_step(w), "%s", w->failure);
    }
    return (w->now - begin) / 1000;
}

static struct machine *a_follower(struct world *w)
{
    return machine_leader(w) == &w->machines[0] ? &w->machines[1] : &w->machines[0];
}

static size_t writes_since(const struct world *w, size_t first, size_t *done)
{
    size_t begun = 0;

    *done = 0;
    for (size_t i = first; i < w->op_count; i++) {
        begun += w->ops[i].kind != OP_READ;
        *done += w->ops[i].kind != OP_READ && w->ops[i].outcome != OP_PENDING && w->ops[i].outcome != OP_NEVER;
    }
    return begun;
}

/* Most writes go through, and leaders hardly change. */
static void goes_on(struct world *w, uint64_t ms, uint64_t changes)
{
    uint64_t leaders = w->checker.leaders;
    size_t first = w->op_count;
    size_t begun = 0;
    size_t done = 0;

    run_ms(w, ms);
    begun = writes_since(w, first, &done);
    ck_assert_msg(w->checker.leaders - leaders <= changes, "%llu changes of leader",
                  (unsigned long long)(w->checker.leaders - leaders));
    ck_assert_uint_gt(begun, ms / 50);
    ck_assert_msg(done * 10 >= begun * 9, "%zu of %zu writes", done, begun);
}

/* A timeout is drawn from one to two times ELECTION_MS, and a split vote may cost another. */
START_TEST(failover)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = a_world(3, seed);
        raft_term term = machine_leader(w)->seen.term;

        machine_stop(machine_leader(w), 0);
        ck_assert_uint_le(until_next_leader(w, term, 5000), 4 * ELECTION_MS);
        world_free(w);
    }
}
END_TEST

/* Cloudflare, 2020-11-02: one member cannot reach the leader, but all others. */
START_TEST(one_link_is_cut)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = a_world(3, seed);
        unsigned a = machine_leader(w)->slot;
        unsigned b = a_follower(w)->slot;

        w->cut[a][b] = w->cut[b][a] = true;
        goes_on(w, 60000, 2);
        world_free(w);
    }
}
END_TEST

/* One direction alone: the leader is not heard by one, or does not hear one. */
START_TEST(one_direction_is_cut)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world *w = a_world(3, seed);
        unsigned a = machine_leader(w)->slot;
        unsigned b = a_follower(w)->slot;

        if (seed % 2 == 0)
            w->cut[a][b] = true;
        else
            w->cut[b][a] = true;
        goes_on(w, 20000, 2);
        world_free(w);
    }
}
END_TEST

/* Two halves of five that share one member. */
START_TEST(a_bridge_between_halves)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = a_world(5, seed);
        uint64_t leaders = w->checker.leaders;

        for (unsigned i = 0; i < 5; i++)
            for (unsigned j = 0; j < 5; j++)
                w->cut[i][j] = (i < 2 && j > 2) || (j < 2 && i > 2);
        run_ms(w, 20000);
        ck_assert_uint_le(w->checker.leaders - leaders, 3);
        ck_assert_ptr_nonnull(machine_leader(w));
        world_free(w);
    }
}
END_TEST

/* hashicorp/raft#503: the disk of the leader hangs while its heartbeats go on. */
START_TEST(the_leaders_disk_hangs)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *m = machine_leader(w);

        m->disk_hangs = 60000000;
        while (m->disk_hangs != 0)
            ck_assert(world_step(w));
        ck_assert_uint_le(until_next_leader(w, m->seen.term, 20000), 8 * ELECTION_MS);
        world_free(w);
    }
}
END_TEST

/* dqlite#589, etcd#14497: a leader without room hands over to a member that has some; when it has room again it follows. */
START_TEST(the_leaders_disk_is_full)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *m = machine_leader(w);

        m->disk_full = true;
        ck_assert_uint_le(until_next_leader(w, m->seen.term, 20000), 2000);
        goes_on(w, 10000, 0);
        m->disk_full = false;
        run_ms(w, 3000);
        ck_assert_uint_ge(m->seen.applied + 20, machine_leader(w)->seen.applied);
        world_free(w);
    }
}
END_TEST

/* Where nobody has room nobody is better than the leader; then all resumes by itself. */
START_TEST(all_disks_are_full)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        uint64_t leaders = w->checker.leaders;

        for (unsigned i = 0; i < 3; i++)
            w->machines[i].disk_full = true;
        run_ms(w, 10000);
        ck_assert_uint_le(w->checker.leaders - leaders, 2);
        for (unsigned i = 0; i < 3; i++)
            w->machines[i].disk_full = false;
        run_ms(w, 3000);
        goes_on(w, 5000, 1);
        world_free(w);
    }
}
END_TEST

/* With one of three away, the vote of a member without room is needed. */
START_TEST(a_full_member_votes)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *m = machine_leader(w);

        a_follower(w)->disk_full = true;
        run_ms(w, 2000);
        machine_stop(m, 0);
        run_ms(w, 3000);
        ck_assert_ptr_nonnull(machine_leader(w)); /* though what it commits waits for room */
        world_free(w);
    }
}
END_TEST

/* hashicorp/raft#697, #704: a log that reaches beyond the map and contradicts it is replaced, by one transfer or two. */
START_TEST(a_log_that_contradicts_the_map)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *m = machine_leader(w);
        raft_index last = 0;

        for (unsigned i = 0; i < 3; i++) {
            w->machines[i].shared.log_max_entries = 20;
            w->machines[i].shared.transfer_chunk = 100;
        }
        fault_partition(w, 1u << m->slot);
        for (unsigned i = 0; i < 1000; i++) {
            struct entry *e = entry_new(RAFT_NOOP, 0);

            entry_seal(e);
            ck_assert_uint_ne(shared_propose(&m->shared, machine_ms(m), e, NULL), 0);
        }
        machine_touched(m);
        last = m->seen.last;
        run_ms(w, 3000);
        ck_assert_uint_gt(machine_leader(w)->seen.base.index, last - 1000); /* what they had in common is gone */
        ck_assert_uint_lt(machine_leader(w)->seen.last, last);
        w->installs = 0;
        net_heal(w);
        run_ms(w, 5000);
        ck_assert_uint_ge(w->installs, 1);
        ck_assert_uint_le(w->installs, 2);
        ck_assert_uint_ge(m->seen.applied + 20, machine_leader(w)->seen.applied);
        world_free(w);
    }
}
END_TEST

/* etcd#7617: slow syncs everywhere are no reason for elections. */
START_TEST(all_disks_are_slow)
{
    struct world *w = a_world(3, 1);
    uint64_t leaders = w->checker.leaders;

    w->config.sync_min = 60000;
    w->config.sync_max = 120000;
    run_ms(w, 60000);
    ck_assert_uint_le(w->checker.leaders - leaders, 1);
    world_free(w);
}
END_TEST

/* Thesis 9.6: who was away for long comes back without deposing anybody, and soon follows. */
START_TEST(a_member_returns)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *m = a_follower(w);
        uint64_t leaders = w->checker.leaders;

        fault_partition(w, 1u << m->slot);
        run_ms(w, 20000);
        net_heal(w);
        run_ms(w, 3 * ELECTION_MS + 2000); /* what TCP needs to notice, too */
        ck_assert_uint_eq(w->checker.leaders, leaders);
        ck_assert_uint_eq(m->seen.leader, machine_leader(w)->id);
        ck_assert_uint_ge(m->seen.applied + 20, machine_leader(w)->seen.applied);
        world_free(w);
    }
}
END_TEST

/* hashicorp/raft#524, logcabin#205: one that was removed while it was cut off disturbs nobody, and learns of it. */
START_TEST(the_removed_disturbs_nobody)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *m = a_follower(w);
        struct members next = machine_leader(w)->shared.directory.latest;
        uint64_t leaders = w->checker.leaders;

        fault_partition(w, 1u << m->slot);
        for (unsigned i = 0; i < next.count; i++)
            if (next.list[i].id == m->id)
                next.list[i] = next.list[--next.count];
        ck_assert(operator_propose(machine_leader(w), &next, 0));
        run_ms(w, 5000);
        net_heal(w);
        run_ms(w, 5000);
        ck_assert_uint_eq(w->checker.leaders, leaders);
        ck_assert(m->gone);
        world_free(w);
    }
}
END_TEST

/* logcabin#202: a leader that is cut off does not let its clients wait for ever. */
START_TEST(an_isolated_leader_gives_up)
{
    struct world *w = a_world(3, 1);
    struct machine *m = machine_leader(w);

    fault_partition(w, 1u << m->slot);
    run_ms(w, 3 * ELECTION_MS);
    ck_assert_int_ne(m->seen.role, RAFT_LEADER);
    ck_assert_uint_eq(m->seen.leader, 0);
    world_free(w);
}
END_TEST

/* Two of two are needed: the one that moved must be found by the other, who cannot lead without it. */
START_TEST(one_of_two_moves)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world *w = a_world(2, seed);
        struct machine *m = seed % 2 == 0 ? machine_leader(w) : a_follower(w);

        machine_stop(m, 0);
        m->port += 100;
        snprintf(m->peer, sizeof m->peer, "sim:%u", m->port);
        run_ms(w, 1000);
        machine_start(m);
        run_ms(w, 3000);
        ck_assert_ptr_nonnull(machine_leader(w));
        ck_assert_str_eq(members_by_id(&machine_leader(w)->shared.directory.latest, m->id)->peer, m->peer);
        world_free(w);
    }
}
END_TEST

/* The old configurations that a new member gets first have an address at which its leader lives no more. */
START_TEST(a_member_joins_a_leader_that_moved)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world *w = a_world(1, seed);
        struct machine *m = &w->machines[0];
        struct machine *joiner = NULL;
        struct members next;

        while (m->seen.last <= 2 * RAFT_APPEND_MAX) /* the new address is not in the first append */
            run_ms(w, 1000);
        machine_stop(m, 0);
        m->port += 100;
        snprintf(m->peer, sizeof m->peer, "sim:%u", m->port);
        machine_start(m);
        run_ms(w, 1000);
        next = m->shared.directory.latest;
        ck_assert_str_eq(next.list[0].peer, m->peer);
        joiner = machine_add(w);
        machine_describe(joiner, &next.list[next.count++]);
        ck_assert(operator_propose(m, &next, joiner->slot + 1));
        run_ms(w, 3000);
        ck_assert_int_eq(members_by_id(&m->shared.directory.latest, joiner->id)->role, RAFT_VOTER);
        ck_assert_uint_eq(joiner->seen.leader, m->id);
        world_free(w);
    }
}
END_TEST

/* Adds a member and waits until it has its vote. */
static struct machine *grow(struct world *w)
{
    struct machine *leader = machine_leader(w), *joiner = machine_add(w);
    struct members next = leader->shared.directory.latest;

    machine_describe(joiner, &next.list[next.count++]);
    ck_assert(operator_propose(leader, &next, joiner->slot + 1));
    run_ms(w, 3000);
    ck_assert_int_eq(members_by_id(&machine_leader(w)->shared.directory.latest, joiner->id)->role, RAFT_VOTER);
    return joiner;
}

/* While one is away, all but one of those whom it knows go, and the one who leads is none of them; then it moves. It can tell
 * the one that stayed, and is told by it whom else to tell. */
START_TEST(a_member_that_moved_finds_a_leader_that_it_does_not_know)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world *w = a_world(3, seed);
        struct machine *first = machine_leader(w), *away = a_follower(w), *leader = NULL;
        struct machine *stays = &w->machines[3 - first->slot - away->slot];
        struct members next;

        machine_stop(away, 0);
        grow(w);
        grow(w);
        while (machine_leader(w) == NULL || machine_leader(w) == first || machine_leader(w) == stays) {
            raft_transfer(machine_leader(w)->shared.raft, machine_ms(machine_leader(w)), w->machines[3].id);
            machine_touched(machine_leader(w));
            run_ms(w, 1000);
        }
        leader = machine_leader(w);
        next = leader->shared.directory.latest;
        members_remove(&next, first->id, 0);
        ck_assert(operator_propose(leader, &next, 0));
        run_ms(w, 2000);
        ck_assert(first->gone);
        ck_assert_ptr_eq(machine_leader(w), leader);
        away->port += 100;
        snprintf(away->peer, sizeof away->peer, "sim:%u", away->port);
        machine_start(away);
        run_ms(w, 5000);
        leader = machine_leader(w);
        ck_assert_ptr_nonnull(leader);
        ck_assert_str_eq(members_by_id(&leader->shared.directory.latest, away->id)->peer, away->peer);
        ck_assert_uint_eq(away->seen.leader, leader->id);
        ck_assert_uint_ge(away->seen.applied + 20, leader->seen.applied);
        world_free(w);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scenario");
    TCase *tests = tcase_create("scenario");
    SRunner *runner = srunner_create(suite);
    int failed = 0;

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, failover);
    tcase_add_test(tests, one_link_is_cut);
    tcase_add_test(tests, one_direction_is_cut);
    tcase_add_test(tests, a_bridge_between_halves);
    tcase_add_test(tests, the_leaders_disk_hangs);
    tcase_add_test(tests, the_leaders_disk_is_full);
    tcase_add_test(tests, all_disks_are_full);
    tcase_add_test(tests, a_full_member_votes);
    tcase_add_test(tests, a_log_that_contradicts_the_map);
    tcase_add_test(tests, all_disks_are_slow);
    tcase_add_test(tests, a_member_returns);
    tcase_add_test(tests, the_removed_disturbs_nobody);
    tcase_add_test(tests, an_isolated_leader_gives_up);
    tcase_add_test(tests, one_of_two_moves);
    tcase_add_test(tests, a_member_joins_a_leader_that_moved);
    tcase_add_test(tests, a_member_that_moved_finds_a_leader_that_it_does_not_know);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
