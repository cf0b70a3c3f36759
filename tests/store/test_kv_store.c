/* The map on disk: each entry takes effect exactly once, whatever a start interrupts; readers see one moment. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "store_test.h"

#define MAP_SIZE (1ull << 30)
#define READERS  4u

static struct kv_store *s;
static raft_index applied; /* by the test */

static void open_map(void)
{
    struct why why = {""};

    ck_assert_msg(kv_store_open(temp_path("kv"), MAP_SIZE, READERS, &s, &why) == 0, "%s", why.text);
}

static void reopen(void)
{
    kv_store_close(s);
    open_map();
}

static void setup(void)
{
    temp_make();
    applied = 0;
    open_map();
}

static void teardown(void)
{
    kv_store_close(s);
    temp_remove(temp_path(""));
}

static struct command_result apply(struct entry *e)
{
    struct command_result result = {0};

    ck_assert_int_eq(apply_and_commit(s, &e, 1, &result), 0);
    applied = entry_pos(e).index;
    entry_unref(e);
    return result;
}

static struct command_result do_command(struct command c)
{
    return apply(command_at(applied + 1, 1, &c));
}

static struct command_result set(const char *key, const char *value)
{
    return do_command((struct command){.op = COMMAND_SET, .key = view_of_text(key), .value = view_of_text(value)});
}

static struct command_result del(const char *key)
{
    return do_command((struct command){.op = COMMAND_DELETE, .key = view_of_text(key)});
}

static struct kv_view *view(void)
{
    struct kv_view *v;

    ck_assert_int_eq(kv_view_open(s, &v), 0);
    return v;
}

static void expect(struct kv_view *v, const char *key, const char *value, raft_index index)
{
    struct view got;
    raft_index at;
    int err = kv_view_get(v, view_of_text(key), &got, &at);

    if (value == NULL) {
        ck_assert_int_eq(err, ERR_NOT_FOUND);
        return;
    }
    ck_assert_int_eq(err, 0);
    ck_assert(view_equal(got, view_of_text(value)));
    ck_assert_uint_eq(at, index);
}

static void expect_now(const char *key, const char *value, raft_index index)
{
    struct kv_view *v = view();

    expect(v, key, value, index);
    kv_view_close(v);
}

static struct kv_position position(void)
{
    struct kv_position p;

    ck_assert_int_eq(kv_store_position(s, &p), 0);
    return p;
}

START_TEST(a_new_map_is_empty)
{
    struct kv_view *v = view();
    struct kv_stats stats;
    struct view key, value;
    raft_index index;

    ck_assert_uint_eq(position().applied.index, 0);
    ck_assert_uint_eq(position().applied.term, 0);
    ck_assert_uint_eq(position().config_index, 0);
    ck_assert_uint_eq(position().members.count, 0);
    ck_assert_uint_eq(position().members.gone_count, 0);
    ck_assert(!kv_store_has_client_data(s));
    ck_assert_uint_eq(kv_view_applied(v), 0);
    expect(v, "a", NULL, 0);
    ck_assert_int_eq(kv_view_seek(v, view_of_text(""), false), 0);
    ck_assert_int_eq(kv_view_next(v, &key, &value, &index), ERR_NOT_FOUND);
    ck_assert_int_eq(kv_store_stats(s, &stats), 0);
    ck_assert_uint_eq(stats.keys, 0);
    ck_assert_uint_eq(stats.bytes_max, MAP_SIZE);
    ck_assert_uint_ge(stats.bytes_file, stats.bytes_used);
    ck_assert_uint_eq(stats.readers, 1);
    kv_view_close(v);
}
END_TEST

START_TEST(set_replace_delete)
{
    struct command_result r = set("a", "1");

    ck_assert_int_eq(r.outcome, COMMAND_CREATED);
    ck_assert_uint_eq(r.index, 1);
    r = set("a", "22");
    ck_assert_int_eq(r.outcome, COMMAND_REPLACED);
    ck_assert_uint_eq(r.index, 2);
    expect_now("a", "22", 2);
    set("a", "33"); /* the same size is written in place */
    expect_now("a", "33", 3);
    set("a", "");
    expect_now("a", "", 4);
    r = del("a");
    ck_assert_int_eq(r.outcome, COMMAND_DELETED);
    ck_assert_uint_eq(r.index, 0);
    expect_now("a", NULL, 0);
    r = del("a");
    ck_assert_int_eq(r.outcome, COMMAND_ABSENT);
    ck_assert_uint_eq(r.index, 0);
    r = set("a", "again");
    ck_assert_int_eq(r.outcome, COMMAND_CREATED);
    ck_assert_uint_eq(r.index, 7); /* an index never comes back */
}
END_TEST

/* RFC 9110 13.1 */
START_TEST(conditions_look_at_the_last_change)
{
    struct command c = {.op = COMMAND_SET, .key = view_of_text("k"), .value = view_of_text("v")};
    struct command_result r;

    c.condition = COMMAND_IF_EXISTS;
    r = do_command(c);
    ck_assert_int_eq(r.outcome, COMMAND_FAILED_CONDITION);
    ck_assert_uint_eq(r.index, 0);
    expect_now("k", NULL, 0);
    c.condition = COMMAND_IF_ABSENT;
    ck_assert_int_eq(do_command(c).outcome, COMMAND_CREATED);
    r = do_command(c);
    ck_assert_int_eq(r.outcome, COMMAND_FAILED_CONDITION);
    ck_assert_uint_eq(r.index, 2);
    c.condition = COMMAND_IF_INDEX;
    c.expected = 2;
    ck_assert_int_eq(do_command(c).outcome, COMMAND_REPLACED);
    ck_assert_int_eq(do_command(c).outcome, COMMAND_FAILED_CONDITION);
    expect_now("k", "v", 4);
    ck_assert_uint_eq(position().applied.index, 5); /* what changes nothing is applied all the same */
}
END_TEST

/* One batch sees its own earlier entries. */
START_TEST(a_batch_is_one_transaction)
{
    struct entry *e[6];
    struct command_result results[6];
    struct command gone = {.op = COMMAND_DELETE, .key = view_of_text("a")};

    e[0] = noop_at(1, 1);
    e[1] = set_at(2, 1, "a", "1", 1);
    e[2] = config_at(3, 1, 3);
    e[3] = set_at(4, 2, "a", "2", 1);
    e[4] = command_at(5, 2, &gone);
    e[5] = set_at(6, 2, "b", "3", 1);
    ck_assert_int_eq(apply_and_commit(s, e, 6, results), 0);
    unref_all(e, 6);
    ck_assert_int_eq(results[1].outcome, COMMAND_CREATED);
    ck_assert_int_eq(results[3].outcome, COMMAND_REPLACED);
    ck_assert_int_eq(results[4].outcome, COMMAND_DELETED);
    ck_assert_int_eq(results[5].outcome, COMMAND_CREATED);

    for (int round = 0; round < 2; round++) {
        struct kv_position p = position();

        expect_now("a", NULL, 0);
        expect_now("b", "3", 6);
        ck_assert_uint_eq(p.applied.index, 6);
        ck_assert_uint_eq(p.applied.term, 2);
        ck_assert_uint_eq(p.config_index, 3);
        ck_assert_uint_eq(p.members.count, 3);
        ck_assert_str_eq(p.members.list[2].name, "n3");
        reopen();
    }
}
END_TEST

START_TEST(the_last_configuration_counts)
{
    apply(config_at(1, 1, 1));
    apply(config_at(2, 1, 2));
    set("a", "1");
    ck_assert_uint_eq(position().config_index, 2);
    ck_assert_uint_eq(position().members.count, 2);
}
END_TEST

START_TEST(a_view_sees_one_moment)
{
    struct kv_view *before, *after;

    set("a", "old");
    before = view();
    set("a", "new");
    set("b", "new");
    after = view();
    expect(before, "a", "old", 1);
    expect(before, "b", NULL, 0);
    ck_assert_uint_eq(kv_view_applied(before), 1);
    expect(after, "a", "new", 2);
    ck_assert_uint_eq(kv_view_applied(after), 3);
    kv_view_close(before);
    kv_view_close(after);
}
END_TEST

START_TEST(views_are_few_and_come_back)
{
    struct kv_view *views[64], *v;
    struct kv_stats stats;
    unsigned n = 0;
    int err = 0;

    while (n < 64 && (err = kv_view_open(s, &views[n])) == 0)
        n++;
    ck_assert_int_eq(err, ERR_NO_RESOURCES);
    ck_assert_uint_ge(n, READERS);
    while (n > 0)
        kv_view_close(views[--n]);
    for (unsigned i = 0; i < 1000; i++) {
        v = view();
        kv_view_close(v);
    }
    ck_assert_int_eq(kv_store_stats(s, &stats), 0);
    ck_assert_uint_eq(stats.readers, 0);
    kv_view_close(NULL);
}
END_TEST

static void expect_next(struct kv_view *v, const char *key)
{
    struct view k, value;
    raft_index index;
    int err = kv_view_next(v, &k, &value, &index);

    if (key == NULL) {
        ck_assert_int_eq(err, ERR_NOT_FOUND);
        return;
    }
    ck_assert_int_eq(err, 0);
    ck_assert_msg(view_equal(k, view_of_text(key)), "got %.*s, not %s", (int)k.size, (const char *)k.data, key);
}

START_TEST(keys_come_in_order)
{
    struct kv_view *v;

    set("b", "");
    set("a", "");
    set("ab", "");
    set("\xff", "");
    set("B", "");
    v = view();
    ck_assert_int_eq(kv_view_seek(v, view_of_text(""), false), 0);
    expect_next(v, "B");
    expect_next(v, "a");
    expect_next(v, "ab");
    expect_next(v, "b");
    expect_next(v, "\xff");
    expect_next(v, NULL);
    expect_next(v, NULL);
    ck_assert_int_eq(kv_view_seek(v, view_of_text("ab"), false), 0);
    expect_next(v, "ab");
    ck_assert_int_eq(kv_view_seek(v, view_of_text("ab"), true), 0);
    expect_next(v, "b");
    ck_assert_int_eq(kv_view_seek(v, view_of_text("aa"), true), 0);
    expect_next(v, "ab");
    ck_assert_int_eq(kv_view_seek(v, view_of_text("\xff"), true), 0);
    expect_next(v, NULL);
    ck_assert_int_eq(kv_view_seek(v, view_of_text("a"), false), 0);
    expect_next(v, "a");
    expect(v, "b", "", 1); /* looking a key up does not move the walk */
    expect_next(v, "ab");
    kv_view_close(v);

    set("c", ""); /* a view used again for a later moment */
    v = view();
    ck_assert_int_eq(kv_view_seek(v, view_of_text("b"), true), 0);
    expect_next(v, "c");
    kv_view_close(v);
}
END_TEST

START_TEST(keys_of_every_size_and_byte)
{
    uint8_t key[COMMAND_KEY_MAX];
    struct command c = {.op = COMMAND_SET, .value = view_of_text("v")};
    struct kv_view *v;
    struct view value;
    raft_index index;

    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    for (size_t size = 1; size <= sizeof key; size++) {
        c.key = view_of(key, size);
        do_command(c);
    }
    v = view();
    for (size_t size = 1; size <= sizeof key; size++) {
        ck_assert_int_eq(kv_view_get(v, view_of(key, size), &value, &index), 0);
        ck_assert_uint_eq(index, size);
    }
    ck_assert_int_eq(kv_view_get(v, view_of(key, 0), &value, &index), ERR_NOT_FOUND);
    kv_view_close(v);
}
END_TEST

START_TEST(values_of_many_sizes)
{
    static uint8_t value[3 << 20];
    struct kv_view *v;
    struct view got;
    raft_index index;

    memset(value, 'x', sizeof value);
    for (size_t size = 0; size <= sizeof value; size = size * 4 + 3) {
        apply(set_at(applied + 1, 1, "key", value, size));
        v = view();
        ck_assert_int_eq(kv_view_get(v, view_of_text("key"), &got, &index), 0);
        ck_assert(view_equal(got, view_of(value, size)));
        kv_view_close(v);
    }
}
END_TEST

START_TEST(sync_tells_what_is_safe)
{
    raft_index settled = 99;

    ck_assert_int_eq(kv_store_sync(s, &settled), 0);
    ck_assert_uint_eq(settled, 0);
    set("a", "1");
    set("a", "2");
    ck_assert_int_eq(kv_store_sync(s, &settled), 0);
    ck_assert_uint_eq(settled, 2);
}
END_TEST

/* A set is refused before a delete is, and neither leaves a trace. */
START_TEST(a_full_map_still_takes_deletes)
{
    static uint8_t value[3000];
    struct command gone = {.op = COMMAND_DELETE, .key = view_of_text("key 5")};
    struct command_result result;
    struct entry *e;
    struct kv_stats stats;
    bool had_room = true;
    char key[32];
    int err = 0;

    kv_store_close(s);
    ck_assert_int_eq(kv_store_open(temp_path("small"), 2 << 20, READERS, &s, NULL), 0);
    ck_assert_uint_ge(kv_store_room(s), 100000);
    ck_assert_uint_lt(kv_store_room(s), 2 << 20);
    ck_assert(!kv_store_is_full(s, 2 << 20, true)); /* a smaller value is as much as this map can be asked for */
    for (unsigned i = 0; err == 0; i++) {
        bool room = kv_store_room(s) >= sizeof value;

        ck_assert(had_room || !room);
        had_room = room;
        snprintf(key, sizeof key, "key %u", i);
        e = set_at(applied + 1, 1, key, value, sizeof value);
        err = apply_and_commit(s, &e, 1, &result);
        entry_unref(e);
        applied += err == 0;
        ck_assert_uint_lt(i, 1000);
        ck_assert(err == 0 || !room); /* what was told that there is room found it */
        ck_assert(!kv_store_is_full(s, sizeof value, false) || kv_store_is_full(s, sizeof value, true));
    }
    ck_assert_int_eq(err, ERR_NO_SPACE);
    ck_assert_uint_eq(position().applied.index, applied);
    expect_now(key, NULL, 0);
    ck_assert_uint_eq(kv_store_room(s), 0);
    ck_assert(kv_store_is_full(s, 0, false));

    ck_assert_int_eq(do_command(gone).outcome, COMMAND_DELETED);
    for (unsigned i = 10; i < 300; i++) {
        snprintf(key, sizeof key, "key %u", i);
        del(key);
    }
    ck_assert_int_eq(kv_store_stats(s, &stats), 0);
    ck_assert_uint_le(stats.bytes_file, 2 << 20);
    ck_assert_uint_ge(kv_store_room(s), sizeof value);
    ck_assert(!kv_store_is_full(s, sizeof value, true));
    set("key 5", "back");
}
END_TEST

/* A committed entry that found no room finds it after a start with a larger limit. */
START_TEST(a_larger_limit_lets_it_go_on)
{
    static uint8_t value[700000];
    struct command_result result;
    struct entry *e;

    kv_store_close(s);
    ck_assert_int_eq(kv_store_open(temp_path("small"), 1 << 20, READERS, &s, NULL), 0);
    apply(set_at(1, 1, "a", value, sizeof value));
    e = set_at(2, 1, "b", value, sizeof value);
    ck_assert_int_eq(apply_and_commit(s, &e, 1, &result), ERR_NO_SPACE);
    kv_store_close(s);
    ck_assert_int_eq(kv_store_open(temp_path("small"), 4 << 20, READERS, &s, NULL), 0);
    apply(e);
    ck_assert_uint_eq(position().applied.index, 2);

    kv_store_close(s); /* a limit below what is there: no more sets, but all can be read */
    ck_assert_int_eq(kv_store_open(temp_path("small"), 1 << 20, READERS, &s, NULL), 0);
    ck_assert_uint_eq(kv_store_room(s), 0);
    ck_assert(kv_store_is_full(s, 0, false));
    ck_assert(kv_store_has_client_data(s));
    ck_assert_uint_eq(position().applied.index, 2);
    ck_assert_int_eq(del("a").outcome, COMMAND_DELETED);
}
END_TEST

START_TEST(a_command_that_does_not_decode_stops_the_store)
{
    struct entry *e = entry_new(RAFT_COMMAND, 3);
    struct entry *next = set_at(1, 1, "a", "1", 1);
    struct command_result result;

    memset(entry_room(e), 0xee, 3);
    entry_seal(e);
    entry_stamp(e, (struct raft_pos){.index = 1, .term = 1});
    ck_assert_int_eq(apply_and_commit(s, &e, 1, &result), ERR_CORRUPT);
    ck_assert_int_eq(apply_and_commit(s, &next, 1, &result), ERR_CORRUPT);
    ck_assert_uint_eq(position().applied.index, 0);
    entry_unref(e);
    entry_unref(next);
}
END_TEST

/* An entry that is applied already, or whose predecessor is not, is a mistake of ours that no answer can make good. */
static void apply_out_of_order(raft_index index)
{
    struct entry *e = noop_at(index, 1);
    struct kv_store *other;
    struct command_result result;

    if (freopen("/dev/null", "w", stderr) == NULL || kv_store_open(temp_path("other"), MAP_SIZE, 1, &other, NULL) != 0)
        _exit(1);
    apply_and_commit(other, &e, 1, &result);
    entry_unref(e);
    e = noop_at(1, 1);
    apply_and_commit(other, &e, 1, &result);
    _exit(0);
}

START_TEST(an_entry_out_of_order_ends_the_process)
{
    for (raft_index index = 1; index <= 2; index++) { /* twice the first one; the second one without the first */
        int status;
        pid_t pid = fork();

        if (pid == 0)
            apply_out_of_order(index);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}
END_TEST

/* Readers see each batch wholly or not at all. */
static void *read_pairs(void *arg)
{
    unsigned *reads = arg;

    for (;;) {
        struct kv_view *v = view();
        struct view a, b;
        raft_index ia = 0, ib = 0;
        bool done = kv_view_applied(v) >= 400;

        if (kv_view_get(v, view_of_text("a"), &a, &ia) == 0) {
            ck_assert_int_eq(kv_view_get(v, view_of_text("b"), &b, &ib), 0);
            ck_assert(view_equal(a, b));
            ck_assert_uint_eq(ia + 1, ib);
            ck_assert_uint_eq(ib, kv_view_applied(v));
        }
        kv_view_close(v);
        ++*reads;
        if (done)
            return NULL;
    }
}

START_TEST(readers_beside_the_writer)
{
    pthread_t threads[READERS - 1];
    unsigned reads[READERS - 1] = {0};

    for (unsigned i = 0; i < READERS - 1; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_pairs, &reads[i]), 0);
    for (raft_index i = 1; i < 400; i += 2) {
        struct entry *e[2] = {set_at(i, 1, "a", &i, sizeof i), set_at(i + 1, 1, "b", &i, sizeof i)};
        struct command_result results[2];

        ck_assert_int_eq(apply_and_commit(s, e, 2, results), 0);
        unref_all(e, 2);
    }
    for (unsigned i = 0; i < READERS - 1; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_gt(reads[i], 0);
    }
}
END_TEST

/* Every step of a random history is compared with the same done to an array. */
START_TEST(random_histories_equal_a_model)
{
    static struct {
        raft_index index;
        unsigned size;
    } model[97];
    static uint8_t value[5000];
    unsigned there = 0;

    random_seed(11);
    for (unsigned step = 0; step < 1500; step++) {
        unsigned k = random_below(97), size = random_below(random_below(4) == 0 ? sizeof value : 100);
        char key[16];

        snprintf(key, sizeof key, "%02u", k);
        if (random_below(3) == 0) {
            ck_assert_int_eq(del(key).outcome, model[k].index != 0 ? COMMAND_DELETED : COMMAND_ABSENT);
            model[k].index = 0;
        } else {
            memset(value, (int)k, size);
            ck_assert_int_eq(apply(set_at(applied + 1, 1, key, value, size)).outcome,
                             model[k].index != 0 ? COMMAND_REPLACED : COMMAND_CREATED);
            model[k].index = applied;
            model[k].size = size;
        }
    }
    struct kv_view *v = view();
    struct view key, got;
    raft_index index;

    ck_assert_int_eq(kv_view_seek(v, view_of_text(""), false), 0);
    for (unsigned k = 0; k < 97; k++) {
        if (model[k].index == 0)
            continue;
        there++;
        ck_assert_int_eq(kv_view_next(v, &key, &got, &index), 0);
        ck_assert_uint_eq((key.data[0] - '0') * 10u + (key.data[1] - '0'), k);
        ck_assert_uint_eq(index, model[k].index);
        ck_assert_uint_eq(got.size, model[k].size);
        for (size_t i = 0; i < got.size; i++)
            ck_assert_uint_eq(got.data[i], k);
    }
    ck_assert_int_eq(kv_view_next(v, &key, &got, &index), ERR_NOT_FOUND);
    ck_assert_uint_gt(there, 20);
    kv_view_close(v);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_new_map_is_empty);
    tcase_add_test(t, set_replace_delete);
    tcase_add_test(t, conditions_look_at_the_last_change);
    tcase_add_test(t, a_batch_is_one_transaction);
    tcase_add_test(t, the_last_configuration_counts);
    tcase_add_test(t, a_view_sees_one_moment);
    tcase_add_test(t, views_are_few_and_come_back);
    tcase_add_test(t, keys_come_in_order);
    tcase_add_test(t, keys_of_every_size_and_byte);
    tcase_add_test(t, values_of_many_sizes);
    tcase_add_test(t, sync_tells_what_is_safe);
    tcase_add_test(t, a_full_map_still_takes_deletes);
    tcase_add_test(t, a_larger_limit_lets_it_go_on);
    tcase_add_test(t, a_command_that_does_not_decode_stops_the_store);
    tcase_add_test(t, an_entry_out_of_order_ends_the_process);
    tcase_add_test(t, readers_beside_the_writer);
    tcase_add_test(t, random_histories_equal_a_model);
}

int main(void)
{
    return run_tests("kv_store", setup, teardown, add);
}
