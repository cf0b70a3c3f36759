/* The map's replacement by commands of the log: nothing is seen before the end, all at once then, and nothing where it is not
 * whole; it goes on after a restart, and at a member that got the map by a dump in the middle of it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/dump_file.h"
#include "store/verify.h"
#include "store_test.h"

#define MAP_SIZE (1ull << 28)
#define PART     50u /* records of each */

static struct kv_store *s;
static raft_index applied;
static atomic_bool cancel;

static struct kv_store *open_map(const char *name)
{
    struct kv_store *opened = NULL;
    struct why why = {""};

    ck_assert_msg(kv_store_open(temp_path(name), MAP_SIZE, 4, &opened, &why) == 0, "%s", why.text);
    return opened;
}

/* ---- commands ---- */

static struct command_result apply_to(struct kv_store *to, raft_index index, const struct command *c)
{
    struct entry *e = command_at(index, 1, c);
    struct command_result result = {.index = 0};

    ck_assert_int_eq(apply_and_commit(to, &e, 1, &result), 0);
    entry_unref(e);
    return result;
}

static struct command_result apply(const struct command *c)
{
    return apply_to(s, ++applied, c);
}

static void set(const char *key, const char *value)
{
    apply(&(struct command){.op = COMMAND_SET, .key = view_of_text(key), .value = view_of_text(value)});
}

static raft_index begin(void)
{
    struct command_result result = apply(&(struct command){.op = COMMAND_RESTORE_BEGIN});

    ck_assert_int_eq(result.outcome, COMMAND_STAGED);
    ck_assert_uint_eq(result.index, applied);
    return applied;
}

/* Records "r0000".. from number `count` on, PART of them; each has its key as its value. */
static enum command_outcome part_to(struct kv_store *to, raft_index index, raft_index restore, uint64_t count)
{
    struct command c = {.op = COMMAND_RESTORE_PART, .expected = restore, .count = count};
    struct bytes records;
    enum command_outcome outcome;
    char key[16];

    bytes_init(&records, 1 << 20);
    for (uint64_t i = count; i < count + PART; i++) {
        snprintf(key, sizeof key, "r%04u", (unsigned)i);
        command_part_append(&records, view_of_text(key), view_of_text(key));
    }
    c.value = bytes_view(&records);
    outcome = apply_to(to, index, &c).outcome;
    bytes_clear(&records);
    return outcome;
}

static enum command_outcome part(raft_index restore, uint64_t count)
{
    return part_to(s, ++applied, restore, count);
}

static enum command_outcome end(raft_index restore, uint64_t count)
{
    return apply(&(struct command){.op = COMMAND_RESTORE_END, .expected = restore, .count = count}).outcome;
}

/* ---- what is there ---- */

static uint64_t keys_of(struct kv_store *of)
{
    struct kv_stats stats;

    ck_assert_int_eq(kv_store_stats(of, &stats), 0);
    return stats.keys;
}

static raft_index index_of(struct kv_store *of, const char *key)
{
    struct kv_view *v;
    struct view value;
    raft_index index = 0;

    ck_assert_int_eq(kv_view_open(of, &v), 0);
    if (kv_view_get(v, view_of_text(key), &value, &index) != 0)
        index = 0;
    kv_view_close(v);
    return index;
}

static struct kv_position position_of(struct kv_store *of)
{
    struct kv_position p;

    ck_assert_int_eq(kv_store_position(of, &p), 0);
    return p;
}

static void print(void *context, const char *fault)
{
    (void)context;
    fprintf(stderr, "%s\n", fault);
}

/* All that verify looks at, too. */
static void expect_sound(void)
{
    struct verify v = {.report = print};
    struct verify_map map = {.whole = false};

    kv_store_close(s);
    verify_map(temp_path("map"), &v, &map);
    ck_assert(map.whole);
    ck_assert_uint_eq(v.faults, 0);
    s = open_map("map");
}

static void expect_old(void)
{
    ck_assert_uint_eq(keys_of(s), 2);
    ck_assert_uint_ne(index_of(s, "old"), 0);
    ck_assert_uint_eq(index_of(s, "r0001"), 0);
    expect_sound();
}

static void setup(void)
{
    temp_make();
    atomic_store(&cancel, false);
    applied = 0;
    s = open_map("map");
    set("old", "1");
    set("older", "2");
}

static void teardown(void)
{
    kv_store_close(s);
    temp_remove(temp_path(""));
}

/* ---- tests ---- */

START_TEST(the_end_shows_all_at_once)
{
    raft_index restore = begin(), first = 0;
    struct kv_view *before = NULL;
    struct view value;

    ck_assert_int_eq(part(restore, 0), COMMAND_STAGED);
    first = applied;
    set("meanwhile", "3"); /* the old map goes on */
    ck_assert_int_eq(part(restore, PART), COMMAND_STAGED);
    ck_assert_uint_eq(keys_of(s), 3);
    ck_assert_uint_eq(position_of(s).restoring, restore);
    ck_assert_int_eq(kv_view_open(s, &before), 0);
    ck_assert_int_eq(end(restore, 2 * PART), COMMAND_RESTORED);
    ck_assert_uint_eq(keys_of(s), 2 * PART);
    ck_assert_uint_eq(index_of(s, "old"), 0);
    ck_assert_uint_eq(index_of(s, "meanwhile"), 0);
    ck_assert_uint_eq(index_of(s, "r0001"), first); /* an ETag that nobody ever had */
    ck_assert_uint_eq(position_of(s).restoring, 0);
    ck_assert_int_eq(kv_view_get(before, view_of_text("meanwhile"), &value, &first), 0);
    kv_view_close(before);
    set("r0001", "changed");
    ck_assert_uint_eq(index_of(s, "r0001"), applied);
    expect_sound();
    ck_assert_uint_eq(index_of(s, "r0001"), applied); /* after a restart, too */
}
END_TEST

START_TEST(one_after_the_other)
{
    for (unsigned i = 1; i <= 4; i++) {
        raft_index restore = begin();

        for (unsigned k = 0; k < i; k++)
            ck_assert_int_eq(part(restore, k * PART), COMMAND_STAGED);
        ck_assert_int_eq(end(restore, i * PART), COMMAND_RESTORED);
        ck_assert_uint_eq(keys_of(s), i * PART);
        expect_sound();
    }
    ck_assert_int_eq(end(begin(), 0), COMMAND_RESTORED); /* by an empty one */
    ck_assert_uint_eq(keys_of(s), 0);
    ck_assert(!kv_store_has_client_data(s));
    expect_sound();
}
END_TEST

START_TEST(what_is_not_whole_changes_nothing)
{
    raft_index restore = begin(), other = 0;

    ck_assert_int_eq(part(restore, 0), COMMAND_STAGED);
    ck_assert_int_eq(end(restore, PART + 1), COMMAND_ABANDONED); /* a part at the end was lost */
    ck_assert_int_eq(end(restore, PART), COMMAND_FAILED_CONDITION);
    expect_old();
    restore = begin();
    ck_assert_int_eq(part(restore, 0), COMMAND_STAGED);
    ck_assert_int_eq(part(restore, 2 * PART), COMMAND_ABANDONED); /* one in the middle */
    ck_assert_int_eq(part(restore, PART), COMMAND_FAILED_CONDITION);
    ck_assert_uint_eq(position_of(s).restoring, 0);
    restore = begin();
    ck_assert_int_eq(part(restore, 0), COMMAND_STAGED);
    other = begin();
    ck_assert_int_eq(part(restore, PART), COMMAND_FAILED_CONDITION); /* another one took its place */
    ck_assert_uint_eq(position_of(s).restoring, other);
    ck_assert_int_eq(part(other, 0), COMMAND_STAGED);
    ck_assert_int_eq(apply(&(struct command){.op = COMMAND_RESTORE_ABANDON, .expected = restore}).outcome,
                     COMMAND_FAILED_CONDITION);
    ck_assert_int_eq(apply(&(struct command){.op = COMMAND_RESTORE_ABANDON, .expected = other}).outcome,
                     COMMAND_ABANDONED);
    ck_assert_int_eq(end(other, PART), COMMAND_FAILED_CONDITION);
    expect_old();
}
END_TEST

START_TEST(keys_that_do_not_ascend_change_nothing)
{
    raft_index restore = begin();
    struct bytes records;
    struct command c = {.op = COMMAND_RESTORE_PART, .expected = restore};

    bytes_init(&records, 1000);
    command_part_append(&records, view_of_text("b"), view_of_text("1"));
    command_part_append(&records, view_of_text("a"), view_of_text("2"));
    c.value = bytes_view(&records);
    ck_assert_int_eq(apply(&c).outcome, COMMAND_ABANDONED);
    bytes_clear(&records);
    expect_old();
}
END_TEST

/* A member that gets the map by a dump in the middle of a restore applies what follows, as the others do. */
START_TEST(a_dump_carries_what_is_gathered)
{
    struct kv_store *other = open_map("other");
    raft_index restore = begin();
    struct dump_id first, second;

    ck_assert_int_eq(part(restore, 0), COMMAND_STAGED);
    ck_assert_int_eq(kv_store_dump(s, 5, temp_path("fresh"), temp_path("dump"), &cancel, &first), 0);
    ck_assert_int_eq(kv_store_load(other, 5, temp_path("dump"), &cancel), 0);
    ck_assert_uint_eq(position_of(other).restoring, restore);
    ck_assert_uint_eq(keys_of(other), 2);
    ck_assert_int_eq(kv_store_dump(other, 5, temp_path("fresh"), temp_path("dump"), &cancel, &second), 0);
    ck_assert(dump_id_equal(&first, &second));
    kv_store_close(other);
    other = open_map("other");
    ck_assert_int_eq(part(restore, PART), COMMAND_STAGED);
    ck_assert_int_eq(part_to(other, applied, restore, PART), COMMAND_STAGED);
    ck_assert_int_eq(end(restore, 2 * PART), COMMAND_RESTORED);
    ck_assert_int_eq(
        apply_to(other, applied, &(struct command){.op = COMMAND_RESTORE_END, .expected = restore, .count = 2 * PART})
            .outcome,
        COMMAND_RESTORED);
    ck_assert_uint_eq(position_of(s).hash, position_of(other).hash);
    ck_assert_uint_eq(index_of(other, "r0060"), index_of(s, "r0060"));
    kv_store_close(other);
}
END_TEST

/* A backup that is made meanwhile is one of the old map. */
START_TEST(a_backup_has_nothing_of_it)
{
    struct kv_store *other = open_map("other");
    struct dump_file *f = dump_file_new(temp_path("scratch"));
    struct kv_position as = {.applied = {100, 9}};
    struct dump_id id;
    struct why why = {""};

    ck_assert_int_eq(part(begin(), 0), COMMAND_STAGED);
    ck_assert_int_eq(dump_file_create_nameless(f), 0);
    ck_assert_int_eq(kv_store_backup(s, 5, f, &cancel, &id), 0);
    ck_assert_msg(kv_store_restore(other, f, &as, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(keys_of(other), 2);
    ck_assert_uint_eq(position_of(other).restoring, 0);
    dump_file_free(f);
    ck_assert_int_eq(kv_store_dump(s, 5, temp_path("fresh"), temp_path("dump"), &cancel, &id), 0);
    f = dump_file_new(temp_path("dump")); /* one for a member is none */
    ck_assert_int_eq(dump_file_open(f, NULL), 0);
    ck_assert_int_eq(kv_store_restore(other, f, &as, &why), ERR_FORMAT);
    dump_file_free(f);
    kv_store_close(other);
}
END_TEST

/* Killed at any moment of it: what was applied stays, and the same entries lead to the same end. */
START_TEST(a_kill_in_the_middle)
{
    raft_index restore = begin(), last = applied + 41;

    kv_store_close(s);
    for (unsigned us = 200; position_of(s = open_map("map")).applied.index < last; us = us * 3 / 2) {
        pid_t pid = 0;

        ck_assert_uint_eq(position_of(s).restoring, restore);
        kv_store_close(s);
        pid = fork();
        if (pid == 0) {
            s = open_map("map");
            for (applied = position_of(s).applied.index; applied < last - 1;)
                (void)part(restore, (applied - restore) * PART);
            _exit(end(restore, 40 * PART) == COMMAND_RESTORED ? 0 : 1);
        }
        usleep(us);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    ck_assert_uint_eq(keys_of(s), 40 * PART);
    ck_assert_uint_eq(position_of(s).restoring, 0);
    expect_sound();
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, the_end_shows_all_at_once);
    tcase_add_test(tc, one_after_the_other);
    tcase_add_test(tc, what_is_not_whole_changes_nothing);
    tcase_add_test(tc, keys_that_do_not_ascend_change_nothing);
    tcase_add_test(tc, a_dump_carries_what_is_gathered);
    tcase_add_test(tc, a_backup_has_nothing_of_it);
    tcase_add_test(tc, a_kill_in_the_middle);
}

int main(void)
{
    return run_tests("restore", setup, teardown, add);
}
