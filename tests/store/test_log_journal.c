/* The log's journal: what was written is there after a kill, whatever of it LMDB has taken over; a torn end is no damage, and
 * damage is no torn end. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"
#include "history.h"
#include "store/env.h"
#include "store/log_journal.h"
#include "store_test.h"

#define LOG_SIZE (1ull << 30)
#define BLOCK    4096

static struct log_store *s;
static struct log_history h;

static struct log_store *open_at(const char *name)
{
    struct log_store *opened = NULL;
    struct why why = {""};

    ck_assert_msg(log_store_open(temp_path(name), LOG_SIZE, &opened, &why) == 0, "%s", why.text);
    return opened;
}

static void setup(void)
{
    temp_make();
    memset(&h, 0, sizeof h);
    s = open_at("log");
}

static void teardown(void)
{
    log_store_close(s);
    temp_remove(temp_path(""));
}

static void write_steps(unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        struct entry *entries[HISTORY_BATCH_MAX];
        struct log_write w;

        log_history_next(&h, &w, entries);
        ck_assert_int_eq(log_store_write(s, &w), 0);
        log_history_drop(&w);
    }
}

static void copy_file(const char *from, const char *to)
{
    static char data[64 << 20];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    size_t size;

    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(out);
    size = fread(data, 1, sizeof data, in);
    ck_assert_uint_lt(size, sizeof data);
    ck_assert_uint_eq(fwrite(data, 1, size, out), size);
    fclose(in);
    fclose(out);
}

/* What a kill at this moment leaves, in a directory beside it. */
static void copy_log(void)
{
    temp_remove(temp_path("copy"));
    ck_assert_int_eq(mkdir(temp_path("copy"), 0700), 0);
    copy_file(temp_path("log/data.mdb"), temp_path("copy/data.mdb"));
    copy_file(temp_path("log/journal"), temp_path("copy/journal"));
}

static void expect_history(struct log_store *of)
{
    struct why why = {""};

    ck_assert_msg(log_history_holds(&h, of, &why), "after step %u: %s", h.step, why.text);
}

static void expect_copy(void)
{
    struct log_store *copy;

    copy_log();
    copy = open_at("copy");
    expect_history(copy);
    log_store_close(copy);
    copy = open_at("copy"); /* and what its close has left */
    expect_history(copy);
    log_store_close(copy);
}

/* Where the records of generation 1 begin in its half, and how many there are. */
static unsigned find_records(size_t offsets[JOURNAL_HALF_SIZE / BLOCK])
{
    static uint8_t half[JOURNAL_HALF_SIZE];
    FILE *f = fopen(temp_path("log/journal"), "r");
    unsigned found = 0;
    size_t at = 0;

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, JOURNAL_HALF_SIZE, SEEK_SET), 0);
    ck_assert_uint_eq(fread(half, 1, sizeof half, f), sizeof half);
    fclose(f);
    while (at < sizeof half && memcmp(half + at + 8, "raftdjnl", 8) == 0) {
        offsets[found++] = at;
        at += (88 + codec_get_u32(half + at + 84) + BLOCK - 1) / BLOCK * BLOCK;
    }
    return found;
}

/* Steps until there is another record: some write nothing. */
static void write_record(void)
{
    size_t offsets[JOURNAL_HALF_SIZE / BLOCK];
    unsigned before = find_records(offsets);

    while (find_records(offsets) == before)
        write_steps(1);
}

static void write_records(unsigned count)
{
    while (count-- > 0)
        write_record();
}

/* Inverts a bit of record `number` of generation 1 in the copy, `offset` bytes behind its beginning. */
static void spoil_journal(unsigned number, off_t offset)
{
    size_t offsets[JOURNAL_HALF_SIZE / BLOCK];
    int fd = open(temp_path("copy/journal"), O_RDWR);
    uint8_t byte = 0;

    ck_assert_uint_lt(number, find_records(offsets));
    offset += (off_t)(JOURNAL_HALF_SIZE + offsets[number]);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void expect_refused(const char *text)
{
    struct log_store *copy = NULL;
    struct why why = {""};

    ck_assert_int_eq(log_store_open(temp_path("copy"), LOG_SIZE, &copy, &why), ERR_CORRUPT);
    ck_assert_msg(strstr(why.text, text) != NULL, "%s", why.text);
    ck_assert_ptr_null(copy);
}

START_TEST(a_kill_loses_nothing)
{
    for (unsigned i = 0; i < 60; i++) {
        write_steps(23);
        expect_history(s);
        expect_copy();
        if (i % 3 == 0 && log_store_wants_checkpoint(s))
            ck_assert_int_eq(log_store_checkpoint(s), 0);
    }
}
END_TEST

START_TEST(a_full_half_wants_a_checkpoint)
{
    unsigned steps = 0;

    while (!log_store_wants_checkpoint(s)) {
        write_steps(1);
        ck_assert_uint_lt(steps++, 2 * JOURNAL_HALF_SIZE / BLOCK);
    }
    ck_assert_uint_gt(steps, JOURNAL_HALF_SIZE / BLOCK / HISTORY_BATCH_MAX);
    expect_copy();
    ck_assert_int_eq(log_store_checkpoint(s), 0);
    ck_assert(!log_store_wants_checkpoint(s));
    expect_history(s);
    expect_copy();
    ck_assert_int_eq(log_store_checkpoint(s), 0); /* nothing to do */
}
END_TEST

/* Nobody calls log_store_checkpoint: writes do it themselves. */
START_TEST(without_a_checkpointer_it_goes_on)
{
    write_steps(4 * JOURNAL_HALF_SIZE / BLOCK);
    expect_history(s);
    expect_copy();
}
END_TEST

START_TEST(the_last_record_may_be_torn)
{
    struct log_history before;
    struct log_store *copy;

    write_records(10);
    before = h;
    write_records(1);
    copy_log();
    spoil_journal(10, 100);
    h = before;
    copy = open_at("copy");
    expect_history(copy);
    log_store_close(copy);
}
END_TEST

/* After a torn record the log goes on in its place, and what is left of it confuses nobody. */
START_TEST(it_goes_on_behind_a_torn_record)
{
    struct log_history before;

    write_records(10);
    before = h;
    write_records(1);
    copy_log();
    spoil_journal(10, 100);
    log_store_close(s);
    h = before;
    s = open_at("copy");
    write_steps(5);
    expect_history(s);
    log_store_close(s);
    s = open_at("copy");
    expect_history(s);
}
END_TEST

START_TEST(damage_before_a_good_record_is_told)
{
    write_records(10);
    for (unsigned i = 0; i < 9; i++) {
        copy_log();
        spoil_journal(i, 20);
        expect_refused("journal is damaged");
    }
}
END_TEST

START_TEST(a_missing_generation_is_told)
{
    size_t offsets[JOURNAL_HALF_SIZE / BLOCK];

    while (!log_store_wants_checkpoint(s))
        write_steps(1);
    write_steps(1); /* generation 2 in half 0; 1 lies in half 1 */
    copy_log();
    for (unsigned i = find_records(offsets); i > 0; i--)
        spoil_journal(i - 1, 8);
    expect_refused("generation 1 is missing");
}
END_TEST

START_TEST(without_its_journal_a_log_is_refused)
{
    write_steps(3);
    copy_log();
    ck_assert_int_eq(unlink(temp_path("copy/journal")), 0);
    expect_refused("cannot open");
    copy_log();
    ck_assert_int_eq(truncate(temp_path("copy/journal"), BLOCK), 0);
    expect_refused("should have");
}
END_TEST

/* A value that looks like a record of the journal, block by block, and lies where a record may begin. */
START_TEST(a_value_does_not_pass_for_a_record)
{
    static uint8_t value[20 * BLOCK];
    struct log_store *copy;
    struct entry *e = noop_at(1, 1);
    struct log_write w = {.hard = {.term = 1}, .first = 1, .last = 1, .entries = &e};
    uint8_t record[BLOCK];
    FILE *f;

    ck_assert_int_eq(log_store_write(s, &w), 0);
    entry_unref(e);
    f = fopen(temp_path("log/journal"), "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, JOURNAL_HALF_SIZE, SEEK_SET), 0); /* generation 1 */
    ck_assert_uint_eq(fread(record, 1, sizeof record, f), sizeof record);
    fclose(f);
    for (unsigned shift = 0; shift < 300; shift++) { /* one of these puts it where a block begins */
        memset(value, 0, sizeof value);
        for (size_t at = BLOCK - shift; at + BLOCK <= sizeof value; at += BLOCK)
            memcpy(value + at, record, 200);
        e = set_at(2 + shift, 1, "key", value, sizeof value);
        w.first = w.last = 2 + shift;
        ck_assert_int_eq(log_store_write(s, &w), 0);
        entry_unref(e);
    }
    copy_log();
    copy = open_at("copy");
    log_store_close(copy);
}
END_TEST

/* A write too large for the journal goes past it, in order. */
START_TEST(large_writes_go_past_it)
{
    static uint8_t value[JOURNAL_RECORD_MAX];
    struct log_write w = {.hard = {.term = 1}};
    struct entry *e[4];
    struct log_state st;

    for (raft_index i = 1; i < 40; i += 4) {
        size_t size = i % 3 == 0 ? sizeof value : sizeof value / 2 / (1 + i % 7);

        for (unsigned k = 0; k < 4; k++)
            e[k] = set_at(i + k, 1, "key", value, size);
        w.first = i;
        w.last = i + 3;
        w.entries = e;
        ck_assert_int_eq(log_store_write(s, &w), 0);
        unref_all(e, 4);
        copy_log();
        struct log_store *copy = open_at("copy");

        ck_assert_int_eq(log_store_state(copy, &st), 0);
        ck_assert_uint_eq(st.last, i + 3);
        log_store_close(copy);
    }
}
END_TEST

/* After begin_anew nothing that the journal had comes back. */
START_TEST(a_new_beginning_voids_the_journal)
{
    struct log_write w = {.hard = {.term = 9}, .begin_anew = true, .base = {.index = 5000, .term = 7}, .first = 1};
    struct log_state st;
    struct log_store *copy;

    write_steps(40);
    w.hard.term = h.hard.term + 1;
    w.base.term = h.hard.term;
    ck_assert_int_eq(log_store_write(s, &w), 0);
    copy_log();
    copy = open_at("copy");
    ck_assert_int_eq(log_store_state(copy, &st), 0);
    ck_assert_uint_eq(st.base.index, 5000);
    ck_assert_uint_eq(st.last, 5000);
    ck_assert_uint_eq(st.hard.term, w.hard.term);
    log_store_close(copy);
}
END_TEST

/* A log from before there was a journal gets one. */
START_TEST(an_older_format_is_migrated)
{
    const struct env_options older = {
        .kind = "raftdlog",
        .format = 1,
        .map_size = LOG_SIZE,
        .readers = 1,
        .table_count = 3,
        .tables = {{"entries", MDB_INTEGERKEY}, {"runs", MDB_INTEGERKEY}, {"configs", MDB_INTEGERKEY}}};
    struct env *e;
    struct why why;

    log_store_close(s);
    ck_assert_int_eq(env_remove(temp_path("log")), 0);
    ck_assert_int_eq(env_open(temp_path("log"), &older, &e, NULL), 0);
    env_close(e);
    s = open_at("log");
    write_steps(10);
    expect_copy();
    log_store_close(s);
    ck_assert_int_eq(env_open(temp_path("log"), &older, &e, &why), ERR_FORMAT);
    s = open_at("log");
    expect_history(s);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_kill_loses_nothing);
    tcase_add_test(t, a_full_half_wants_a_checkpoint);
    tcase_add_test(t, without_a_checkpointer_it_goes_on);
    tcase_add_test(t, the_last_record_may_be_torn);
    tcase_add_test(t, it_goes_on_behind_a_torn_record);
    tcase_add_test(t, damage_before_a_good_record_is_told);
    tcase_add_test(t, a_missing_generation_is_told);
    tcase_add_test(t, without_its_journal_a_log_is_refused);
    tcase_add_test(t, a_value_does_not_pass_for_a_record);
    tcase_add_test(t, large_writes_go_past_it);
    tcase_add_test(t, a_new_beginning_voids_the_journal);
    tcase_add_test(t, an_older_format_is_migrated);
}

int main(void)
{
    random_seed(1);
    return run_tests("log_journal", setup, teardown, add);
}
