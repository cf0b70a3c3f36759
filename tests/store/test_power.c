/* A power cut at any moment, with a disk that keeps any part of what was not yet flushed: every state of the file that could
 * be found afterwards opens, and holds what was acknowledged [TESTING 4c1, A8].
 *
 * Recorded are the log, the map, and a dump that takes the map's place. tests/server/test_power_member.c does it with all that a
 * member does. RAFTD_CRASH_STATES=N looks at so many states in each test, SEED=N at others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash_disk.h"
#include "history.h"
#include "store_test.h"

#define MAP_SIZE (64u << 20)

static unsigned states, wanted, every;

/* So many states, evenly spread over what is done: one of `of` moments is looked at. */
static void want_states(unsigned by_default, unsigned of)
{
    const char *hand = getenv("RAFTD_CRASH_STATES");

    wanted = hand != NULL ? (unsigned)strtoul(hand, NULL, 10) : by_default;
    every = of * by_default / wanted;
    if (every == 0)
        every = 1;
    states = 0;
}

static void setup(void)
{
    temp_make();
}

static void teardown(void)
{
    temp_remove(temp_path(""));
}

/* ---- the log ---- */

static struct log_history acked, in_flight;
static unsigned bad;

static bool log_state_is_good(struct why *why)
{
    struct log_store *s;
    bool good;

    if (log_store_open(temp_path("cut"), MAP_SIZE, &s, why) != 0)
        return false;
    good = log_history_holds(&acked, s, why) || log_history_holds(&in_flight, s, why);
    log_store_close(s);
    return good;
}

static void look_at_log(void)
{
    struct why why = {""};

    if (random_below(every) != 0)
        return;
    crash_disk_make(temp_path("cut"));
    ck_assert_msg(log_state_is_good(&why), "after step %u: %s", acked.step, why.text);
    states++;
}

static void write_steps(struct log_store *s, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        struct entry *entries[HISTORY_BATCH_MAX];
        struct log_write w;

        log_history_next(&in_flight, &w, entries);
        ck_assert_int_eq(log_store_write(s, &w), 0);
        log_history_drop(&w);
        acked = in_flight;
        if (log_store_wants_checkpoint(s))
            ck_assert_int_eq(log_store_checkpoint(s), 0);
    }
}

static struct log_store *open_log(void)
{
    struct log_store *s;

    memset(&acked, 0, sizeof acked);
    memset(&in_flight, 0, sizeof in_flight);
    ck_assert_int_eq(log_store_open(temp_path("log"), MAP_SIZE, &s, NULL), 0);
    write_steps(s, 100); /* so that pages are used again from here on */
    return s;
}

START_TEST(the_log_survives_a_power_cut_at_any_moment)
{
    struct log_store *s = open_log();

    crash_disk_record(temp_path("log"), look_at_log);
    want_states(500, 4);
    while (states < wanted) /* the journal's halves are used several times */
        write_steps(s, 10);
    crash_disk_stop();
    log_store_close(s);
}
END_TEST

/* Does the test see anything at all? On a disk that lies about flushing it must find damage. LMDB may then read wild, so each
 * state has a process of its own. */
static void look_for_damage(void)
{
    int status;
    pid_t pid;

    if (random_below(every) != 0)
        return;
    crash_disk_make(temp_path("cut"));
    pid = fork();
    if (pid == 0) {
        struct why why;

        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        _exit(log_state_is_good(&why) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    bad += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    states++;
}

START_TEST(a_lying_disk_is_found_out)
{
    struct log_store *s = open_log();

    crash_disk_record(temp_path("log"), look_for_damage);
    crash_disk_lies(true);
    states = bad = 0;
    every = 40;
    write_steps(s, 800);
    crash_disk_stop();
    log_store_close(s);
    ck_assert_uint_gt(states, 10);
    ck_assert_uint_gt(bad, states / 2);
}
END_TEST

/* ---- the map ---- */

static raft_index map_acked, map_before, map_next, map_settled;

/* MDB_NOMETASYNC: the last transaction may be undone, but wholly, and no more than it; nothing that was settled. */
static void map_state_is_good(const char *path)
{
    struct kv_store *s;
    struct why why = {""};
    raft_index applied = 0;

    ck_assert_msg(kv_store_open(path, MAP_SIZE, 1, &s, &why) == 0, "%s", why.text);
    ck_assert_msg(kv_history_holds(s, &applied, &why), "%s", why.text);
    kv_store_close(s);
    ck_assert(applied == map_before || applied == map_acked || applied == map_next);
    ck_assert_uint_ge(applied, map_settled);
    states++;
}

static void look_at_map(void)
{
    if (random_below(every) != 0)
        return;
    crash_disk_make(temp_path("cut"));
    map_state_is_good(temp_path("cut"));
}

static void look_at_member(void)
{
    if (random_below(every) != 0)
        return;
    crash_disk_make(temp_path("cut"));
    map_state_is_good(temp_path("cut/kv"));
}

static void apply_steps(struct kv_store *s, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        struct entry *entries[HISTORY_BATCH_MAX];
        struct command_result results[HISTORY_BATCH_MAX];
        unsigned count = kv_history_next(map_acked, entries);

        map_next = map_acked + count;
        ck_assert_int_eq(apply_and_commit(s, entries, count, results), 0);
        unref_all(entries, count);
        map_before = map_acked;
        map_acked = map_next;
        if (i % 10 == 9)
            ck_assert_int_eq(kv_store_sync(s, &map_settled), 0);
    }
}

START_TEST(the_map_survives_a_power_cut_at_any_moment)
{
    struct kv_store *s;

    map_acked = map_before = map_next = map_settled = 0;
    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, 1, &s, NULL), 0);
    apply_steps(s, 100);
    crash_disk_record(temp_path("kv"), look_at_map);
    want_states(500, 4);
    while (states < wanted)
        apply_steps(s, 10);
    crash_disk_stop();
    kv_store_close(s);
}
END_TEST

/* ---- a map that takes the place of another ---- */

/* A dump of the history, further than the last one; its position. */
static raft_index make_dump(struct kv_store *source, raft_index *applied)
{
    atomic_bool cancel = false;
    struct dump_id id;

    for (unsigned i = 0; i < 10; i++) {
        struct entry *entries[HISTORY_BATCH_MAX];
        struct command_result results[HISTORY_BATCH_MAX];
        unsigned count = kv_history_next(*applied, entries);

        ck_assert_int_eq(apply_and_commit(source, entries, count, results), 0);
        unref_all(entries, count);
        *applied += count;
    }
    ck_assert_int_eq(kv_store_dump(source, 7, temp_path("dump.new"), temp_path("dump"), &cancel, &id), 0);
    return id.pos.index;
}

/* The old one or the new one, whole; and the new one once it was said to be there. */
START_TEST(a_map_that_takes_anothers_place_survives_a_power_cut_at_any_moment)
{
    atomic_bool cancel = false;
    struct kv_store *source, *s;
    raft_index position = 0;

    map_acked = map_before = map_next = map_settled = 0;
    ck_assert_int_eq(mkdir(temp_path("member"), 0700), 0);
    ck_assert_int_eq(kv_store_open(temp_path("source"), MAP_SIZE, 1, &source, NULL), 0);
    ck_assert_int_eq(kv_store_open(temp_path("member/kv"), MAP_SIZE, 1, &s, NULL), 0);
    crash_disk_record(temp_path("member"), look_at_member);
    want_states(300, 4);
    while (states < wanted) {
        map_next = make_dump(source, &position);
        ck_assert_int_eq(kv_store_load(s, 7, temp_path("dump"), &cancel), 0);
        map_settled = map_before = map_acked = map_next;
        apply_steps(s, 5);
        while (position < map_acked) /* the next dump is a later one */
            make_dump(source, &position);
    }
    crash_disk_stop();
    kv_store_close(s);
    kv_store_close(source);
}
END_TEST

static void add(TCase *t)
{
    tcase_set_timeout(t, 3600); /* of as many states as are wanted */
    tcase_add_test(t, the_log_survives_a_power_cut_at_any_moment);
    tcase_add_test(t, a_lying_disk_is_found_out);
    tcase_add_test(t, the_map_survives_a_power_cut_at_any_moment);
    tcase_add_test(t, a_map_that_takes_anothers_place_survives_a_power_cut_at_any_moment);
}

int main(void)
{
    const char *seed = getenv("SEED");

    crash_disk_in_memory();
    random_seed(seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1);
    return run_tests("power", setup, teardown, add);
}
