/* The log's journal: what was written is there after a kill, whatever of it LMDB has taken over; a torn end is no damage, and
 * damage is no torn end. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/codec.h"
#include "history.h"
#include "store/env.h"
#include "store/log_journal.h"
#include "store/log_table.h"
#include "store_test.h"

#define LOG_SIZE (1ull << 30)
#define BLOCK    4096

static struct log_store *s;
static struct log_history h;

/* This program's own pwrite and open stand before libc's. */
static struct {
    int fails;       /* the errno of the journal's next write, which is done nonetheless; 0: it does not fail */
    bool needs_more; /* writes past the page cache want more aligned than they have */
    bool read_only;  /* nothing opens for writing */
    unsigned direct; /* writes past the page cache */
} disk;

/* libc's own function, which ours stands before. ISO C knows no conversion for it. */
static void find_real(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    ck_assert_ptr_nonnull(symbol);
    memcpy(function, &symbol, sizeof symbol);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t);
    int flags = fcntl(fd, F_GETFL);

    find_real("pwrite", &real);
    if (disk.needs_more && (flags & O_DIRECT) != 0) {
        disk.direct++;
        errno = EINVAL;
        return -1;
    }
    if (disk.fails == 0 || (flags & O_DSYNC) == 0)
        return real(fd, buf, n, offset);
    ck_assert_int_eq(real(fd, buf, n, offset), (ssize_t)n);
    errno = disk.fails;
    disk.fails = 0;
    return -1;
}

int open(const char *file, int oflag, ...)
{
    int (*real)(const char *, int, ...);
    va_list args;
    mode_t mode = 0;

    va_start(args, oflag);
    if ((oflag & O_CREAT) != 0)
        mode = va_arg(args, mode_t);
    va_end(args);
    find_real("open", &real);
    if (disk.read_only && (oflag & O_ACCMODE) != O_RDONLY) {
        errno = EROFS;
        return -1;
    }
    return real(file, oflag, mode);
}

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
    memset(&disk, 0, sizeof disk);
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

/* Fills the present generation, and writes `records` into the next one. Nobody takes the first one over. */
static void go_beyond_a_half(unsigned records)
{
    while (!log_store_wants_checkpoint(s))
        write_steps(1);
    write_steps(records);
}

/* One generation's last record is followed by the next generation's first: it is no torn end either. */
START_TEST(damage_at_the_end_of_a_generation_is_told)
{
    size_t offsets[JOURNAL_HALF_SIZE / BLOCK];

    go_beyond_a_half(0);
    copy_log();
    spoil_journal(find_records(offsets) - 1, 20);
    expect_refused("journal is damaged");
    write_steps(5);
    copy_log();
    spoil_journal(find_records(offsets) - 1, 20);
    expect_refused("journal is damaged");
}
END_TEST

/* A hard state alone follows, which fits to any log. */
START_TEST(damage_between_generations_is_told_whatever_follows)
{
    size_t offsets[JOURNAL_HALF_SIZE / BLOCK];
    struct log_write w = {.hard = {.term = 1}, .first = 1, .last = 0};

    write_records(1);
    w.first = h.last + 1;
    w.last = h.last;
    w.hard = h.hard;
    while (!log_store_wants_checkpoint(s)) {
        w.hard.term++;
        ck_assert_int_eq(log_store_write(s, &w), 0);
    }
    copy_log();
    spoil_journal(find_records(offsets) - 1, 20);
    expect_refused("journal is damaged");
}
END_TEST

static uint64_t journal_u64(off_t offset)
{
    int fd = open(temp_path("log/journal"), O_RDONLY);
    uint8_t data[8];

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, data, sizeof data, offset), (ssize_t)sizeof data);
    close(fd);
    return codec_get_u64(data);
}

/* What a client can make who knows all but the salt: the first record, or the hundredth, of a generation to come. */
static void forge(uint8_t *at, uint64_t generation, uint64_t sequence)
{
    memset(at, 0, 88);
    memcpy(at + 8, "raftdjnl", 8);
    codec_put_u64(at + 16, generation);
    codec_put_u64(at + 24, 12345);
    codec_put_u64(at + 32, sequence);
    codec_put_u64(at + 40, 1);
    codec_put_u64(at + 72, 1);
    codec_put_u64(at, checksum(at + 8, 80, 0));
}

/* Whatever a client writes: a log that was killed opens again. */
START_TEST(a_forged_record_of_a_generation_to_come_is_none)
{
    static uint8_t value[40 * BLOCK];
    struct log_write w = {.hard = {.term = 1}};

    for (raft_index i = 1; i < 40; i++) {
        struct log_store *copy;
        uint64_t generation = journal_u64(16) > journal_u64(JOURNAL_HALF_SIZE + 16)
                                  ? journal_u64(16)
                                  : journal_u64(JOURNAL_HALF_SIZE + 16);
        struct entry *e = set_at(i, 1, "key", value, sizeof value);
        size_t shift = BLOCK - (88 + e->size - sizeof value) % BLOCK; /* where a block of the record begins in it */

        entry_unref(e);
        for (unsigned k = 0; shift + 100 + k * BLOCK < sizeof value; k++)
            forge(value + shift + k * BLOCK, generation + 1 + k / 10, k % 2 == 0 ? 0 : 1000);
        e = set_at(i, 1, "key", value, sizeof value);
        w.first = w.last = i;
        w.entries = &e;
        ck_assert_int_eq(log_store_write(s, &w), 0);
        entry_unref(e);
        copy_log();
        copy = open_at("copy");
        log_store_close(copy);
    }
}
END_TEST

static void write_one(raft_term term, raft_index first, unsigned count, size_t size, int expected)
{
    static uint8_t value[JOURNAL_RECORD_MAX + 1];
    struct entry *entries[1000];
    struct log_write w = {.hard = {.term = term}, .first = first, .last = first + count - 1, .entries = entries};

    for (unsigned i = 0; i < count; i++)
        entries[i] = set_at(first + i, term, "key", value, size);
    ck_assert_int_eq(log_store_write(s, &w), expected);
    unref_all(entries, count);
}

static void expect_last(struct log_store *of, raft_index last)
{
    struct log_state st;

    ck_assert_int_eq(log_store_state(of, &st), 0);
    ck_assert_uint_eq(st.last, last);
}

static void expect_last_of_copy(raft_index last)
{
    struct log_store *copy;

    copy_log();
    copy = open_at("copy");
    expect_last(copy, last);
    log_store_close(copy);
}

/* A disk may say that there is no room for what it has written. Then another write is made in its place: it must not come
 * back and undo that. */
START_TEST(a_write_that_failed_does_not_come_back)
{
    write_one(1, 1, 3, 10, 0);
    log_store_close(s); /* LMDB has all; the generation is empty */
    s = open_at("log");
    disk.fails = ENOSPC;
    write_one(1, 4, 2, 10, ERR_NO_SPACE);
    expect_last(s, 3);
    write_one(1, 4, 1, JOURNAL_RECORD_MAX, 0); /* past the journal */
    expect_last_of_copy(4);
    write_one(1, 5, 10, 10, 0);
    expect_last_of_copy(14);
}
END_TEST

START_TEST(nor_before_a_new_generation)
{
    raft_index last = 0;

    while (!log_store_wants_checkpoint(s)) /* in the second generation, with room for a small record only */
        write_one(1, ++last, 1, 200000, 0);
    ck_assert_int_eq(log_store_checkpoint(s), 0);
    for (unsigned i = 0; i < 4; i++)
        write_one(1, ++last, 1, 200000, 0);
    disk.fails = ENOSPC;
    write_one(1, last + 1, 9, 10, ERR_NO_SPACE);
    expect_last(s, last);
    write_one(1, last + 1, 1, JOURNAL_RECORD_MAX - 1000, 0);
    write_one(1, last + 2, 1, JOURNAL_RECORD_MAX - 1000, 0);
    expect_last_of_copy(last + 2);
    write_one(1, last + 3, 1, 10, 0);
    expect_last_of_copy(last + 3);
}
END_TEST

/* Whatever is asked next, and whether it would go past the journal. */
START_TEST(after_an_error_nothing_is_written)
{
    struct log_write anew = {.hard = {.term = 3}, .begin_anew = true, .base = {9, 2}, .first = 10, .last = 9};

    write_one(1, 1, 3, 10, 0);
    disk.fails = EIO;
    write_one(1, 4, 2, 10, ERR_IO);
    write_one(1, 4, 2, 10, ERR_IO);
    write_one(1, 4, 1, JOURNAL_RECORD_MAX, ERR_IO);
    ck_assert_int_eq(log_store_write(s, &anew), ERR_IO);
    expect_last(s, 3);
}
END_TEST

/* Disks and file systems that want more than 4096 bytes aligned, or less than a whole buffer at a time. */
START_TEST(where_alignment_does_not_suffice_the_page_cache_is_used)
{
    disk.needs_more = true;
    write_steps(300);
    ck_assert_uint_le(disk.direct, 1);
    expect_history(s);
    expect_copy();
}
END_TEST

START_TEST(a_look_at_it_writes_nothing)
{
    struct log_journal *j = NULL;
    struct why why = {""};

    write_steps(5);
    disk.read_only = true;
    ck_assert_msg(log_journal_open(temp_path("log"), (struct log_journal_id){0, 1}, true, &j, &why) == 0, "%s",
                  why.text);
    log_journal_close(j);
}
END_TEST

/* Each write may delete a thousand; a checkpoint makes up for many writes, and should not take long either. */
START_TEST(a_checkpoint_has_not_too_much_to_delete)
{
    static struct entry *entries[2000];
    struct log_write w = {.hard = {1, 1}, .entries = entries};
    struct log_state st;
    raft_index last = 0;

    while (last < 120000) {
        w.first = last + 1;
        w.last = last + 2000;
        for (unsigned i = 0; i < 2000; i++)
            entries[i] = noop_at(w.first + i, 1);
        ck_assert_int_eq(log_store_write(s, &w), 0);
        unref_all(entries, 2000);
        last = w.last;
    }
    ck_assert_int_eq(log_store_checkpoint(s), 0);
    w.first = last + 1;
    w.last = last;
    w.keep_from = 110000;
    do {
        struct log_table *table = NULL;
        raft_index taken;

        for (unsigned i = 0; i < 7; i++) {
            w.hard.term++;
            ck_assert_int_eq(log_store_write(s, &w), 0);
        }
        ck_assert_int_eq(log_store_state(s, &st), 0);
        copy_log();
        ck_assert_int_eq(log_table_open(temp_path("copy"), LOG_SIZE, &table, NULL), 0);
        taken = log_table_shape(table)->base.index;
        log_table_close(table);
        ck_assert_uint_le(st.base.index - taken, 17000);
        ck_assert_uint_lt(w.hard.term, 200);
    } while (st.base.index < w.keep_from - 1);
    expect_last_of_copy(last);
}
END_TEST

/* ---- readers and the checkpointer beside the writer ---- */

static atomic_bool over;

static void *take_over_all_the_time(void *arg)
{
    while (!atomic_load(&over))
        ck_assert_int_eq(log_store_checkpoint(s), 0);
    return arg;
}

/* What is read has the index that was asked for, and terms rise, wherever it comes from. */
static void *read_all_the_time(void *arg)
{
    struct entry *entries[100];
    unsigned count = 0;

    for (raft_index first = 1; !atomic_load(&over); first += 1 + count) {
        int err = log_store_read(s, first, first + 99, UINT64_MAX, 100, entries, &count);

        if (err != 0) {
            ck_assert_int_eq(err, ERR_NOT_FOUND);
            count = 0;
            first = first > 3000 ? 0 : first;
            continue;
        }
        for (unsigned i = 0; i < count; i++) {
            ck_assert_uint_eq(entry_pos(entries[i]).index, first + i);
            ck_assert(i == 0 || entry_pos(entries[i]).term >= entry_pos(entries[i - 1]).term);
        }
        unref_all(entries, count);
    }
    return arg;
}

START_TEST(it_is_read_and_taken_over_while_it_is_written)
{
    void *(*const runs[])(void *) = {take_over_all_the_time, read_all_the_time, read_all_the_time};
    pthread_t threads[3];

    atomic_store(&over, false);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, runs[i], NULL), 0);
    write_steps(1000);
    atomic_store(&over, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    expect_history(s);
    expect_copy();
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
    tcase_add_test(t, damage_at_the_end_of_a_generation_is_told);
    tcase_add_test(t, damage_between_generations_is_told_whatever_follows);
    tcase_add_test(t, a_forged_record_of_a_generation_to_come_is_none);
    tcase_add_test(t, a_write_that_failed_does_not_come_back);
    tcase_add_test(t, nor_before_a_new_generation);
    tcase_add_test(t, after_an_error_nothing_is_written);
    tcase_add_test(t, where_alignment_does_not_suffice_the_page_cache_is_used);
    tcase_add_test(t, a_look_at_it_writes_nothing);
    tcase_add_test(t, a_checkpoint_has_not_too_much_to_delete);
    tcase_add_test(t, it_is_read_and_taken_over_while_it_is_written);
}

int main(void)
{
    random_seed(1);
    return run_tests("log_journal", setup, teardown, add);
}
