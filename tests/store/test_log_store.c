/* The log on disk: what was written is there, in the same order, after each kind of write and after a start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/env.h"
#include "store_test.h"

#define LOG_SIZE (1ull << 30)
#define MANY     4096u

static struct log_store *s;
static struct raft_hard_state hard;

static void open_log(void)
{
    struct why why = {""};

    ck_assert_msg(log_store_open(temp_path("log"), LOG_SIZE, &s, &why) == 0, "%s", why.text);
}

static void reopen(void)
{
    log_store_close(s);
    open_log();
}

static void setup(void)
{
    temp_make();
    hard = (struct raft_hard_state){0};
    open_log();
}

static void teardown(void)
{
    log_store_close(s);
    temp_remove(temp_path(""));
}

static struct log_state state(void)
{
    struct log_state out;

    ck_assert_int_eq(log_store_state(s, &out), 0);
    return out;
}

/* Writes `count` entries from `first` on, in place of whatever stood there; keeps nothing before keep_from. */
static void put(struct entry **entries, unsigned count, raft_index keep_from)
{
    struct log_write w = {.hard = hard, .first = 1, .last = 0, .keep_from = keep_from, .entries = entries};

    if (count > 0) {
        w.first = entry_pos(entries[0]).index;
        w.last = w.first + count - 1;
    }
    ck_assert_int_eq(log_store_write(s, &w), 0);
    unref_all(entries, count);
}

static void put_noops(raft_index first, raft_index last, raft_term term)
{
    struct entry *entries[MANY];

    ck_assert(last - first < MANY);
    for (raft_index i = first; i <= last; i++)
        entries[i - first] = noop_at(i, term);
    put(entries, (unsigned)(last - first + 1), 0);
}

static void keep_from(raft_index index)
{
    put(NULL, 0, index);
}

static void expect_pos(struct raft_pos got, raft_index index, raft_term term)
{
    ck_assert_uint_eq(got.index, index);
    ck_assert_uint_eq(got.term, term);
}

static void expect_read(raft_index first, raft_index last, raft_term term)
{
    struct entry *out[MANY];
    unsigned count = 0;

    ck_assert_int_eq(log_store_read(s, first, last, UINT64_MAX, MANY, out, &count), 0);
    ck_assert_uint_eq(count, last - first + 1);
    for (unsigned i = 0; i < count; i++)
        expect_pos(entry_pos(out[i]), first + i, term);
    unref_all(out, count);
}

static int read_one(raft_index index)
{
    struct entry *out;
    unsigned count = 0;
    int err = log_store_read(s, index, index, 1, 1, &out, &count);

    if (err == 0)
        entry_unref(out);
    return err;
}

START_TEST(a_new_log_is_empty)
{
    struct log_state st = state();

    ck_assert_uint_eq(st.hard.term, 0);
    ck_assert_uint_eq(st.hard.vote, 0);
    expect_pos(st.base, 0, 0);
    ck_assert_uint_eq(st.last, 0);
    ck_assert_uint_eq(st.run_count, 0);
    ck_assert_uint_eq(st.config_count, 0);
    ck_assert_int_eq(read_one(1), ERR_NOT_FOUND);
}
END_TEST

/* Thesis 3.8: term and vote are on disk before they are said, together with the entries. */
START_TEST(hard_state_and_entries_survive_a_start)
{
    hard = (struct raft_hard_state){.term = 3, .vote = 77};
    put_noops(1, 5, 2);
    reopen();

    ck_assert_uint_eq(state().hard.term, 3);
    ck_assert_uint_eq(state().hard.vote, 77);
    ck_assert_uint_eq(state().last, 5);
    expect_read(1, 5, 2);
}
END_TEST

START_TEST(hard_state_alone_can_be_written)
{
    hard = (struct raft_hard_state){.term = 9, .vote = 1};
    put(NULL, 0, 0);
    hard.vote = 0;
    hard.term = 10;
    put(NULL, 0, 0);
    reopen();

    ck_assert_uint_eq(state().hard.term, 10);
    ck_assert_uint_eq(state().hard.vote, 0);
}
END_TEST

START_TEST(bytes_come_back_as_they_went)
{
    static uint8_t value[100000];
    struct entry *e, *out;
    unsigned count;

    for (unsigned i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 7);
    for (size_t size = 0, i = 1; size <= sizeof value; size = size * 3 + 1, i++) {
        e = set_at(i, 1, "key", value, size);
        entry_ref(e);
        put(&e, 1, 0);
        ck_assert_int_eq(log_store_read(s, i, i, 1, 1, &out, &count), 0);
        ck_assert_uint_eq(out->size, e->size);
        ck_assert_int_eq(memcmp(out->bytes, e->bytes, e->size), 0);
        entry_unref(out);
        entry_unref(e);
    }
}
END_TEST

START_TEST(read_stops_at_each_limit)
{
    struct entry *out[16];
    unsigned count;

    put_noops(1, 10, 1);

    ck_assert_int_eq(log_store_read(s, 3, 20, UINT64_MAX, 16, out, &count), 0);
    ck_assert_uint_eq(count, 8); /* the end of the log */
    unref_all(out, count);
    ck_assert_int_eq(log_store_read(s, 3, 10, UINT64_MAX, 4, out, &count), 0);
    ck_assert_uint_eq(count, 4);
    unref_all(out, count);
    ck_assert_int_eq(log_store_read(s, 3, 10, 3 * ENTRY_HEADER_SIZE + 1, 16, out, &count), 0);
    ck_assert_uint_eq(count, 3);
    unref_all(out, count);
    ck_assert_int_eq(log_store_read(s, 3, 10, 1, 16, out, &count), 0);
    ck_assert_uint_eq(count, 1); /* one always, however large */
    unref_all(out, count);
    ck_assert_int_eq(log_store_read(s, 11, 12, UINT64_MAX, 16, out, &count), ERR_NOT_FOUND);
}
END_TEST

/* Paper 5.3: a conflicting entry and all that follow it go. */
START_TEST(truncation_replaces_the_suffix)
{
    struct entry *e[3];

    put_noops(1, 4, 1);
    e[0] = config_at(5, 2, 3);
    e[1] = noop_at(6, 3);
    e[2] = config_at(7, 3, 2);
    put(e, 3, 0);
    ck_assert_uint_eq(state().run_count, 3);
    ck_assert_uint_eq(state().config_count, 2);

    put_noops(4, 5, 4);

    for (int round = 0; round < 2; round++) {
        struct log_state st = state();

        ck_assert_uint_eq(st.last, 5);
        ck_assert_uint_eq(st.run_count, 2);
        expect_pos(st.runs[0], 1, 1);
        expect_pos(st.runs[1], 4, 4);
        ck_assert_uint_eq(st.config_count, 0);
        expect_read(1, 3, 1);
        expect_read(4, 5, 4);
        ck_assert_int_eq(read_one(6), ERR_NOT_FOUND);
        reopen();
    }
}
END_TEST

START_TEST(truncation_of_everything)
{
    put_noops(1, 100, 1);
    put_noops(1, 1, 2);
    reopen();

    ck_assert_uint_eq(state().last, 1);
    ck_assert_uint_eq(state().run_count, 1);
    expect_pos(state().runs[0], 1, 2);
}
END_TEST

START_TEST(runs_and_configurations_are_kept_for_a_start)
{
    struct entry *e[6] = {config_at(1, 1, 1), noop_at(2, 1),      noop_at(3, 4),
                          config_at(4, 4, 2), config_at(5, 6, 3), noop_at(6, 6)};

    put(e, 6, 0);
    for (int round = 0; round < 2; round++) {
        struct log_state st = state();

        ck_assert_uint_eq(st.run_count, 3);
        expect_pos(st.runs[0], 1, 1);
        expect_pos(st.runs[1], 3, 4);
        expect_pos(st.runs[2], 5, 6);
        ck_assert_uint_eq(st.config_count, 3);
        ck_assert_uint_eq(st.configs[0], 1);
        ck_assert_uint_eq(st.configs[1], 4);
        ck_assert_uint_eq(st.configs[2], 5);
        reopen();
    }
}
END_TEST

/* The base remembers the term of the entry that is gone, though the run it lay in is gone, too. */
START_TEST(a_prefix_goes_and_the_base_keeps_its_term)
{
    struct entry *e[1] = {config_at(1, 1, 1)};

    put(e, 1, 0);
    put_noops(2, 100, 3);
    put_noops(101, 200, 5);
    keep_from(51);

    for (int round = 0; round < 2; round++) {
        struct log_state st = state();

        expect_pos(st.base, 50, 3);
        ck_assert_uint_eq(st.last, 200);
        ck_assert_uint_eq(st.run_count, 2);
        expect_pos(st.runs[0], 51, 3); /* the first entry after the base, though its term began before */
        expect_pos(st.runs[1], 101, 5);
        ck_assert_uint_eq(st.config_count, 0);
        ck_assert_int_eq(read_one(50), ERR_NOT_FOUND);
        expect_read(51, 100, 3);
        reopen();
    }
    put_noops(201, 201, 5);
    ck_assert_uint_eq(state().run_count, 2);
}
END_TEST

START_TEST(truncation_down_to_the_base)
{
    put_noops(1, 100, 3);
    keep_from(101);
    expect_pos(state().base, 100, 3);
    ck_assert_uint_eq(state().last, 100);
    ck_assert_uint_eq(state().run_count, 0);
    put_noops(101, 110, 3);
    ck_assert_uint_eq(state().run_count, 1);
    expect_pos(state().runs[0], 101, 3);
    put_noops(101, 101, 4);

    for (int round = 0; round < 2; round++) {
        expect_pos(state().base, 100, 3);
        ck_assert_uint_eq(state().last, 101);
        ck_assert_uint_eq(state().run_count, 1);
        expect_pos(state().runs[0], 101, 4);
        reopen();
    }
}
END_TEST

START_TEST(a_long_prefix_goes_in_steps)
{
    put_noops(1, 4000, 1);
    for (raft_index base = 1000; base <= 3000; base += 1000) {
        keep_from(3501);
        expect_pos(state().base, base, 1);
    }
    keep_from(3501);
    expect_pos(state().base, 3500, 1);
    keep_from(3510); /* a few are left lying */
    expect_pos(state().base, 3500, 1);
    keep_from(100000); /* a permission, not an order: what is not there cannot go */
    expect_pos(state().base, 4000, 1);
    put_noops(4001, 4001, 1);
    reopen();
    expect_pos(state().base, 4000, 1);
    ck_assert_uint_eq(state().last, 4001);
}
END_TEST

START_TEST(a_prefix_goes_with_the_write_of_entries)
{
    struct entry *e[2] = {noop_at(101, 2), noop_at(102, 2)};

    put_noops(1, 100, 1);
    put(e, 2, 1000);
    expect_pos(state().base, 100, 1);
    ck_assert_uint_eq(state().last, 102);
    e[0] = noop_at(101, 3);
    put(e, 1, 1000); /* truncated in the same write: nothing that is written goes at once */
    expect_pos(state().base, 100, 1);
    ck_assert_uint_eq(state().last, 101);
    expect_read(101, 101, 3);
}
END_TEST

/* The file stays small although far more than its size is written and deleted. */
START_TEST(deleted_pages_are_used_again)
{
    uint64_t size = 0;

    for (raft_index i = 1; i <= 100; i++) { /* LMDB gets them by the megabyte */
        struct entry *e[200];
        static char value[1000];

        for (unsigned k = 0; k < 200; k++)
            e[k] = set_at((i - 1) * 200 + k + 1, 1, "key", value, sizeof value);
        put(e, 200, (i - 1) * 200 + 1);
        if (i == 50)
            size = log_store_disk_size(s);
    }
    ck_assert_uint_gt(size, 200000);
    ck_assert_uint_le(log_store_disk_size(s), size + size / 4);
}
END_TEST

/* Every step of a random history is compared with the same done to an array. */
START_TEST(random_histories_equal_a_model)
{
    static raft_term model[20000];
    raft_index base = 0, last = 0;
    raft_term term = 1;

    random_seed(7);
    for (int step = 0; step < 300; step++) {
        raft_index first = last + 1, count = random_below(60);
        raft_index keep = last > 50 && random_below(4) == 0 ? last - 40 : 0;
        struct entry *e[64];

        if (random_below(5) == 0 && last > base)
            first = base + 1 + random_below((uint32_t)(last - base));
        if (random_below(3) == 0 || first <= last)
            term++;
        for (raft_index i = 0; i < count; i++) {
            e[i] = noop_at(first + i, term);
            model[first + i] = term;
        }
        if (count > 0)
            last = first + count - 1;
        put(e, (unsigned)count, keep);
        if (step % 20 == 0)
            reopen();
        ck_assert_uint_eq(state().last, last);
        ck_assert_uint_ge(state().base.index, base);
        base = state().base.index;
        ck_assert_uint_eq(state().base.term, base == 0 ? 0 : model[base]);
        for (raft_index i = base + 1; i <= last; i += 7)
            expect_read(i, i, model[i]);
        ck_assert(last == base || state().runs[0].index == base + 1);
        for (unsigned i = 0; i < state().run_count; i++) {
            struct raft_pos run = state().runs[i];

            ck_assert_uint_eq(run.term, model[run.index]);
            ck_assert(run.index == base + 1 || run.term != model[run.index - 1]);
        }
    }
    ck_assert_uint_gt(base, 100);
}
END_TEST

/* TESTING A12: LMDB has no checksums; the entry's finds a flipped bit. */
START_TEST(a_flipped_bit_is_found)
{
    struct entry *e = set_at(1, 1, "key", "a value that is easily found", 28);
    char data[65536];
    size_t size;
    FILE *f;

    put(&e, 1, 0);
    log_store_close(s);
    s = NULL;
    f = fopen(temp_path("log/data.mdb"), "r+");
    ck_assert_ptr_nonnull(f);
    size = fread(data, 1, sizeof data, f);
    for (size_t i = 0; i + 28 <= size; i++) {
        if (memcmp(data + i, "a value that is easily found", 28) == 0)
            data[i] ^= 1;
    }
    rewind(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    fclose(f);
    open_log();
    ck_assert_int_eq(read_one(1), ERR_CORRUPT);
}
END_TEST

START_TEST(what_is_no_log_is_refused)
{
    struct log_store *other = NULL;
    struct kv_store *kv;
    struct why why = {""};
    FILE *f;

    ck_assert_int_eq(kv_store_open(temp_path("kv"), 1 << 20, 1, &kv, &why), 0);
    kv_store_close(kv);
    ck_assert_int_eq(log_store_open(temp_path("kv"), LOG_SIZE, &other, &why), ERR_FORMAT);
    ck_assert_ptr_null(other);
    ck_assert_ptr_nonnull(strstr(why.text, "raftdlog"));

    temp_remove(temp_path("kv/lock.mdb"));
    f = fopen(temp_path("kv/data.mdb"), "w");
    fputs("this is no database at all, but it is long enough to be looked at by LMDB; ", f);
    for (int i = 0; i < 1000; i++)
        fputs("and longer ", f);
    fclose(f);
    ck_assert_int_eq(log_store_open(temp_path("kv"), LOG_SIZE, &other, &why), ERR_CORRUPT);
}
END_TEST

START_TEST(a_newer_format_is_refused_with_both_numbers)
{
    const struct env_options newer = {.kind = "raftdlog",
                                      .format = LOG_STORE_FORMAT + 40,
                                      .map_size = 1 << 20,
                                      .readers = 1,
                                      .table_count = 1,
                                      .tables = {{"entries", MDB_INTEGERKEY}}};
    struct log_store *other;
    struct env *e;
    struct why why;

    ck_assert_int_eq(env_open(temp_path("newer"), &newer, &e, NULL), 0);
    env_close(e);
    ck_assert_int_eq(log_store_open(temp_path("newer"), LOG_SIZE, &other, &why), ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(why.text, "format 42"));
    ck_assert_ptr_nonnull(strstr(why.text, "format 2"));
}
END_TEST

START_TEST(a_full_map_is_no_space_and_changes_nothing)
{
    static char value[100000];
    struct log_store *small;
    struct entry *e;
    struct log_write w = {.hard = {.term = 1}, .entries = &e};
    int err = 0;

    ck_assert_int_eq(log_store_open(temp_path("small"), 1 << 20, &small, NULL), 0);
    for (raft_index i = 1; err == 0; i++) {
        e = set_at(i, 1, "key", value, sizeof value);
        w.first = w.last = i;
        err = log_store_write(small, &w);
        entry_unref(e);
        ck_assert_uint_lt(i, 100); /* the journal holds some, too */
    }
    ck_assert_int_eq(err, ERR_NO_SPACE);
    e = noop_at(w.first, 1);
    ck_assert_int_eq(log_store_write(small, &w), 0);
    entry_unref(e);
    log_store_close(small);
}
END_TEST

START_TEST(no_address_space_says_what_to_raise)
{
    struct log_store *huge;
    struct why why = {""};

    ck_assert_int_eq(log_store_open(temp_path("log2"), 1ull << 52, &huge, &why), ERR_NO_RESOURCES);
    ck_assert_ptr_nonnull(strstr(why.text, "ulimit -v"));
}
END_TEST

/* A start that was cut off while the environment was made leaves no more than its working directory. */
START_TEST(a_half_made_log_is_made_anew)
{
    FILE *f;

    log_store_close(s);
    temp_remove(temp_path("log"));
    ck_assert_int_eq(log_store_open(temp_path("log.new"), LOG_SIZE, &s, NULL), 0);
    log_store_close(s);
    f = fopen(temp_path("log.new/data.mdb"), "w"); /* cut to nothing */
    fclose(f);
    open_log();
    put_noops(1, 3, 1);
    ck_assert(!path_exists(temp_path("log.new")));
}
END_TEST

/* A map was installed: the log begins anew after it, in the same write that carries what came meanwhile. */
START_TEST(a_log_begins_anew)
{
    struct entry *entries[3];
    struct log_write w = {.hard = {.term = 8}, .begin_anew = true, .base = {100, 6}, .first = 101, .last = 103};
    uint64_t bytes, count;

    put_noops(1, 20, 1);
    put_noops(21, 30, 2);
    for (unsigned i = 0; i < 3; i++)
        entries[i] = i == 1 ? config_at(101 + i, 7, 3) : noop_at(101 + i, i == 0 ? 6 : 7);
    w.entries = entries;
    w.keep_from = 103; /* and what it writes itself is not deleted at once */
    hard = w.hard;
    ck_assert_int_eq(log_store_write(s, &w), 0);
    unref_all(entries, 3);
    for (unsigned round = 0; round < 2; round++) {
        expect_pos(state().base, 100, 6);
        ck_assert_uint_eq(state().last, 103);
        ck_assert_uint_eq(state().hard.term, 8);
        ck_assert_uint_eq(state().run_count, 2);
        expect_pos(state().runs[0], 101, 6);
        expect_pos(state().runs[1], 102, 7);
        ck_assert_uint_eq(state().config_count, 1);
        ck_assert_int_eq(read_one(30), ERR_NOT_FOUND);
        ck_assert_int_eq(read_one(101), 0);
        reopen();
    }
    put_noops(104, 110, 8);
    log_store_used(s, &bytes, &count);
    ck_assert_uint_eq(count, 10);
    ck_assert_uint_gt(bytes, 0);
}
END_TEST

/* A log that gets no more entries loses its prefix all the same: write after write, until too little is left to be worth one. */
START_TEST(an_idle_log_loses_its_prefix)
{
    struct log_write w = {.first = 1, .last = 0, .keep_from = 2951};
    unsigned writes = 0;

    for (raft_index i = 1; i <= 3000; i += 100)
        put_noops(i, i + 99, 1);
    w.hard = hard;
    ck_assert_uint_eq(log_store_kept_from(s, 10), 10); /* not worth a write */
    while (log_store_kept_from(s, w.keep_from) != w.keep_from) {
        ck_assert_uint_lt(writes++, 10);
        ck_assert_int_eq(log_store_write(s, &w), 0);
    }
    reopen();
    ck_assert_uint_ge(state().base.index, 2900);
    ck_assert_uint_le(state().base.index, 2950);
    ck_assert_uint_eq(state().last, 3000);
}
END_TEST

/* Without entries, at a place that the old log holds as another entry. */
START_TEST(a_log_begins_anew_in_its_middle)
{
    struct log_write w = {.begin_anew = true, .base = {15, 3}, .first = 16, .last = 15, .keep_from = 16};

    put_noops(1, 20, 1);
    w.hard = hard;
    ck_assert_int_eq(log_store_write(s, &w), 0);
    reopen();
    expect_pos(state().base, 15, 3);
    ck_assert_uint_eq(state().last, 15);
    ck_assert_uint_eq(state().run_count, 0);
    put_noops(16, 17, 3);
    expect_read(16, 17, 3);
    ck_assert_int_eq(read_one(15), ERR_NOT_FOUND);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_log_begins_anew);
    tcase_add_test(t, an_idle_log_loses_its_prefix);
    tcase_add_test(t, a_log_begins_anew_in_its_middle);
    tcase_add_test(t, a_new_log_is_empty);
    tcase_add_test(t, hard_state_and_entries_survive_a_start);
    tcase_add_test(t, hard_state_alone_can_be_written);
    tcase_add_test(t, bytes_come_back_as_they_went);
    tcase_add_test(t, read_stops_at_each_limit);
    tcase_add_test(t, truncation_replaces_the_suffix);
    tcase_add_test(t, truncation_of_everything);
    tcase_add_test(t, runs_and_configurations_are_kept_for_a_start);
    tcase_add_test(t, a_prefix_goes_and_the_base_keeps_its_term);
    tcase_add_test(t, truncation_down_to_the_base);
    tcase_add_test(t, a_long_prefix_goes_in_steps);
    tcase_add_test(t, a_prefix_goes_with_the_write_of_entries);
    tcase_add_test(t, deleted_pages_are_used_again);
    tcase_add_test(t, random_histories_equal_a_model);
    tcase_add_test(t, a_flipped_bit_is_found);
    tcase_add_test(t, what_is_no_log_is_refused);
    tcase_add_test(t, a_newer_format_is_refused_with_both_numbers);
    tcase_add_test(t, a_full_map_is_no_space_and_changes_nothing);
    tcase_add_test(t, no_address_space_says_what_to_raise);
    tcase_add_test(t, a_half_made_log_is_made_anew);
}

int main(void)
{
    return run_tests("log_store", setup, teardown, add);
}
