/* test_checkers.c -- the checkers are shown what must never happen: they must object, and only then. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* Three members, quiet, with a leader and some entries on their disks. */
static struct world *a_world(void)
{
    struct sim_config config;
    struct world *w = NULL;

    config_draw(&config, 1);
    config.voters = 3;
    config.learners = 0;
    config.faults = 0;
    config.loss = config.duplicate = config.straggle = 0;
    config.slow_sync = config.slow_hop = 0;
    config.log_max = 0;
    w = world_new(&config);
    world_run_for(w, 3000000);
    ck_assert(!w->failed);
    ck_assert_ptr_nonnull(machine_leader(w));
    ck_assert_uint_gt(w->checker.committed, 3);
    return w;
}

static void objects(struct world *w, const char *check)
{
    ck_assert_msg(w->failed, "no check objects, not even \"%s\"", check);
    ck_assert_str_eq(w->failed_check, check);
    world_free(w);
}

static struct machine *a_follower(struct world *w)
{
    return machine_leader(w) == &w->machines[0] ? &w->machines[1] : &w->machines[0];
}

/* A follower that voted for the leader: there is one, for no leader does without. */
static struct machine *a_supporter(struct world *w)
{
    const struct machine *leader = machine_leader(w);
    unsigned i = 0;

    while (&w->machines[i] == leader || w->machines[i].log.hard.vote != leader->id)
        ck_assert_uint_lt(++i, w->machine_count);
    return &w->machines[i];
}

static struct raft_message a_message(const struct machine *m, enum raft_message_type type)
{
    return (struct raft_message){
        .type = type, .from = m->id, .to = machine_leader(m->world)->id, .term = m->log.hard.term};
}

static struct entry *an_entry(raft_index index, raft_term term)
{
    struct entry *e = entry_new(RAFT_NOOP, 0);

    entry_seal(e);
    entry_stamp(e, (struct raft_pos){index, term});
    return e;
}

static void write_entry(struct machine *m, raft_index index, raft_term term)
{
    struct entry *e = an_entry(index, term);
    struct log_write write = {.hard = m->log.hard, .first = index, .last = index, .entries = &e};

    if (write.hard.term < term)
        write.hard = (struct raft_hard_state){term, 0};
    check_log_write(&m->log, &write);
    entry_unref(e);
}

/* ---- hard state ---- */

START_TEST(a_term_that_falls)
{
    struct world *w = a_world();
    struct log_write write = {.hard = {0, 0}, .first = 1, .last = 0};

    check_log_write(&w->machines[0].log, &write);
    objects(w, "term");
}
END_TEST

START_TEST(two_votes_in_a_term)
{
    struct world *w = a_world();
    struct log_store *s = &w->machines[0].log;
    struct log_write write = {.hard = {s->hard.term + 1, 2}, .first = 1, .last = 0};

    check_log_write(s, &write);
    s->hard = write.hard;
    check_log_write(s, &write); /* the same again is fine */
    ck_assert(!w->failed);
    write.hard.vote = 3;
    check_log_write(s, &write);
    objects(w, "vote");
}
END_TEST

/* ---- log ---- */

START_TEST(a_committed_entry_that_goes)
{
    struct world *w = a_world();

    write_entry(&w->machines[0], w->checker.committed - 1, w->machines[0].log.hard.term + 1);
    objects(w, "leader completeness");
}
END_TEST

START_TEST(two_entries_of_one_index_and_term)
{
    struct world *w = a_world();
    struct machine *m = machine_leader(w);
    struct log_store *s = &m->log;
    struct entry *e = entry_new(RAFT_COMMAND, 1);
    struct log_write write = {.hard = s->hard, .first = s->last + 1, .last = s->last + 1, .entries = &e};
    raft_index index = s->last + 1;

    write_entry(m, index, s->hard.term);
    entry_room(e)[0] = 1;
    entry_seal(e);
    entry_stamp(e, (struct raft_pos){index, s->hard.term});
    ck_assert(!w->failed);
    check_log_write(s, &write);
    entry_unref(e);
    objects(w, "log matching");
}
END_TEST

START_TEST(a_hole_in_the_log)
{
    struct world *w = a_world();

    write_entry(&w->machines[0], w->machines[0].log.last + 2, w->machines[0].log.hard.term);
    objects(w, "log");
}
END_TEST

START_TEST(two_changes_of_the_configuration)
{
    struct world *w = a_world();
    struct machine *m = machine_leader(w);
    struct members next = m->shared.directory.latest;
    struct entry *entries[2];
    struct log_write write = {
        .hard = m->log.hard, .first = m->log.last + 1, .last = m->log.last + 2, .entries = entries};

    next.list[0].role = RAFT_LEARNER;
    for (unsigned i = 0; i < 2; i++) {
        entries[i] = members_entry(&next);
        entry_stamp(entries[i], (struct raft_pos){m->log.last + 1 + i, m->log.hard.term});
    }
    check_log_write(&m->log, &write);
    entry_unref(entries[0]);
    entry_unref(entries[1]);
    objects(w, "one change");
}
END_TEST

/* ---- leaders and commit ---- */

START_TEST(two_leaders_in_a_term)
{
    struct world *w = a_world();
    struct machine *m = a_follower(w);
    struct raft_status now = m->seen;

    now.role = RAFT_LEADER;
    check_leads(m, &now);
    objects(w, "election safety");
}
END_TEST

START_TEST(a_leader_without_votes)
{
    struct world *w = a_world();
    struct machine *m = a_follower(w);
    struct raft_status now = m->seen;

    now.role = RAFT_LEADER;
    now.term += 5;
    check_leads(m, &now);
    objects(w, "election safety");
}
END_TEST

START_TEST(a_commit_without_a_quorum)
{
    struct world *w = a_world();
    struct machine *m = machine_leader(w);
    struct raft_status now = m->seen;

    for (unsigned i = 0; i < 3; i++)
        if (&w->machines[i] != m)
            disk_log_clear(&w->machines[i].log);
    w->checker.committed = now.commit - 1;
    check_commit(m, &now, &now);
    objects(w, "durability");
}
END_TEST

START_TEST(a_commit_that_no_leader_made)
{
    struct world *w = a_world();
    struct machine *m = a_follower(w);
    struct raft_status now = m->seen;

    w->checker.committed = now.commit - 1;
    check_commit(m, &now, &now);
    objects(w, "commit");
}
END_TEST

/* ---- durability before acknowledgement ---- */

START_TEST(a_word_in_a_term_not_on_disk)
{
    struct world *w = a_world();
    struct raft_message out = a_message(a_follower(w), RAFT_APPENDED);

    check_message(a_follower(w), &out);
    ck_assert(!w->failed);
    out.term++;
    check_message(a_follower(w), &out);
    objects(w, "durability");
}
END_TEST

START_TEST(a_vote_not_on_disk)
{
    struct world *w = a_world();
    struct machine *m = a_supporter(w);
    struct raft_message out = a_message(m, RAFT_VOTED);

    out.voted.granted = true;
    check_message(m, &out);
    ck_assert(!w->failed);
    out.to = m->id;
    check_message(m, &out);
    objects(w, "durability");
}
END_TEST

START_TEST(an_acknowledgement_ahead_of_the_disk)
{
    struct world *w = a_world();
    struct machine *m = a_follower(w);
    struct raft_message out = a_message(m, RAFT_APPENDED);

    out.appended.ok = true;
    out.appended.index = m->log.last + 1;
    check_message(m, &out);
    objects(w, "durability");
}
END_TEST

/* ---- the map ---- */

START_TEST(an_entry_applied_that_is_not_committed)
{
    struct world *w = a_world();
    struct kv_store *s = &w->machines[0].kv;
    struct entry *e = NULL;

    s->now.applied.index = w->checker.committed;
    e = an_entry(w->checker.committed + 1, 1);
    check_apply(s, &e, 1);
    entry_unref(e);
    objects(w, "apply");
}
END_TEST

START_TEST(an_entry_applied_twice)
{
    struct world *w = a_world();
    struct kv_store *s = &w->machines[0].kv;
    struct entry *e = an_entry(s->now.applied.index, s->now.applied.term);

    check_apply(s, &e, 1);
    entry_unref(e);
    objects(w, "apply");
}
END_TEST

START_TEST(another_entry_applied_than_committed)
{
    struct world *w = a_world();
    struct entry *e = an_entry(w->checker.committed, 4711);

    check_applied(&w->machines[0].kv, e);
    entry_unref(e);
    objects(w, "state machine safety");
}
END_TEST

START_TEST(a_map_that_differs)
{
    struct world *w = a_world();
    struct kv_store *s = &machine_leader(w)->kv;
    raft_index index = s->now.applied.index;
    struct entry *e = s->machine->log.entries[index - 1].entry;

    check_applied(s, e);
    ck_assert(!w->failed);
    s->now.hash += 2;
    check_applied(s, e);
    objects(w, "state machine safety");
}
END_TEST

START_TEST(an_installed_map_that_differs)
{
    struct world *w = a_world();
    struct kv_store *s = &machine_leader(w)->kv;

    check_installed(s);
    ck_assert(!w->failed);
    s->committed.hash += 2;
    check_installed(s);
    objects(w, "state machine safety");
}
END_TEST

START_TEST(a_log_that_begins_anew_ahead_of_the_map)
{
    struct world *w = a_world();
    struct log_store *s = &machine_leader(w)->log;
    struct raft_pos applied = s->machine->kv.committed.applied;
    struct log_write write = {.hard = s->hard, .begin_anew = true, .base = applied};

    write.first = applied.index + 2;
    write.last = applied.index + 1;
    write.base.index++;
    check_log_write(s, &write);
    objects(w, "log");
}
END_TEST

/* ---- clients ---- */

static struct op an_op(enum op_kind kind, uint64_t value, uint64_t invoked, uint64_t returned)
{
    return (struct op){.kind = kind, .outcome = OP_OK, .value = value, .invoked = invoked, .returned = returned};
}

static bool explained(struct op *ops, unsigned count)
{
    const struct op *all[8];

    for (unsigned i = 0; i < count; i++)
        all[i] = &ops[i];
    return linearizable(all, count);
}

START_TEST(a_read_of_what_was_overwritten)
{
    struct op ops[] = {an_op(OP_SET, 1, 0, 10), an_op(OP_SET, 2, 20, 30), an_op(OP_READ, 1, 40, 50)};

    ops[1].existed = true;
    ck_assert(!explained(ops, 3));
    ops[2].value = 2;
    ck_assert(explained(ops, 3));
}
END_TEST

START_TEST(reads_that_go_back)
{
    struct op ops[] = {an_op(OP_SET, 1, 0, 100), an_op(OP_READ, 1, 10, 20), an_op(OP_READ, 0, 30, 40)};

    ck_assert(!explained(ops, 3));
    ops[2].invoked = 15; /* at the same time: either may be first */
    ck_assert(explained(ops, 3));
}
END_TEST

START_TEST(an_unknown_write_may_come_late_or_never)
{
    struct op ops[] = {an_op(OP_SET, 1, 0, SIM_NEVER), an_op(OP_READ, 0, 10, 20), an_op(OP_READ, 1, 30, 40)};

    ops[0].outcome = OP_PENDING;
    ck_assert(explained(ops, 3));
    ops[2].value = 0;
    ck_assert(explained(ops, 3));
    ops[1].value = 1;
    ck_assert(!explained(ops, 3));
}
END_TEST

START_TEST(a_condition_that_cannot_have_held)
{
    struct op ops[] = {an_op(OP_SET, 1, 0, 10), an_op(OP_SET, 2, 20, 30), an_op(OP_SET_IF, 3, 40, 50)};

    ops[1].existed = true;
    ops[2].expected_value = 1;
    ck_assert(!explained(ops, 3));
    ops[2].outcome = OP_FAILED;
    ck_assert(explained(ops, 3));
    ops[2].expected_value = 2;
    ck_assert(!explained(ops, 3));
}
END_TEST

START_TEST(a_delete_that_found_nothing)
{
    struct op ops[] = {an_op(OP_SET, 1, 0, 10), an_op(OP_DELETE, 0, 20, 30)};

    ck_assert(!explained(ops, 2));
    ops[1].existed = true;
    ck_assert(explained(ops, 2));
}
END_TEST

START_TEST(a_stale_read_by_index)
{
    struct world *w = a_world();
    struct key_fact *k = &w->checker.keys[0];
    struct op op = an_op(OP_READ, 0, 0, 1);
    struct map_slot old;

    ck_assert_uint_ge(k->count, 2);
    old = k->versions[k->count - 2];
    op.floor = old.index;
    check_read(w, &op, old.index, old);
    ck_assert(!w->failed);
    op.floor = k->versions[k->count - 1].index;
    check_read(w, &op, old.index, old);
    objects(w, "linearizability");
}
END_TEST

START_TEST(a_lost_write_that_is_there)
{
    struct world *w = a_world();

    for (size_t i = 0; i < w->op_count; i++)
        if (w->ops[i].kind == OP_SET && w->ops[i].outcome == OP_OK)
            w->ops[i].outcome = OP_NEVER;
    check_end(w);
    objects(w, "linearizability");
}
END_TEST

/* ---- liveness ---- */

START_TEST(no_progress_after_healing)
{
    struct world *w = a_world();

    world_heal(w);
    ck_assert_ptr_nonnull(world_unsettled(w)); /* nobody has had a success yet */
    fault_partition(w, 1);
    world_run_for(w, 5000000);
    ck_assert(!w->failed);
    ck_assert_ptr_nonnull(world_unsettled(w));
    net_heal(w);
    world_run_for(w, 20000000);
    ck_assert_ptr_null(world_unsettled(w));
    world_free(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkers");
    TCase *tests = tcase_create("checkers");
    SRunner *runner = srunner_create(suite);
    int failed = 0;

    tcase_add_test(tests, a_term_that_falls);
    tcase_add_test(tests, two_votes_in_a_term);
    tcase_add_test(tests, a_committed_entry_that_goes);
    tcase_add_test(tests, two_entries_of_one_index_and_term);
    tcase_add_test(tests, a_hole_in_the_log);
    tcase_add_test(tests, two_changes_of_the_configuration);
    tcase_add_test(tests, two_leaders_in_a_term);
    tcase_add_test(tests, a_leader_without_votes);
    tcase_add_test(tests, a_commit_without_a_quorum);
    tcase_add_test(tests, a_commit_that_no_leader_made);
    tcase_add_test(tests, a_word_in_a_term_not_on_disk);
    tcase_add_test(tests, a_vote_not_on_disk);
    tcase_add_test(tests, an_acknowledgement_ahead_of_the_disk);
    tcase_add_test(tests, an_entry_applied_that_is_not_committed);
    tcase_add_test(tests, an_entry_applied_twice);
    tcase_add_test(tests, another_entry_applied_than_committed);
    tcase_add_test(tests, a_map_that_differs);
    tcase_add_test(tests, an_installed_map_that_differs);
    tcase_add_test(tests, a_log_that_begins_anew_ahead_of_the_map);
    tcase_add_test(tests, a_read_of_what_was_overwritten);
    tcase_add_test(tests, reads_that_go_back);
    tcase_add_test(tests, an_unknown_write_may_come_late_or_never);
    tcase_add_test(tests, a_condition_that_cannot_have_held);
    tcase_add_test(tests, a_delete_that_found_nothing);
    tcase_add_test(tests, a_stale_read_by_index);
    tcase_add_test(tests, a_lost_write_that_is_there);
    tcase_add_test(tests, no_progress_after_healing);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
