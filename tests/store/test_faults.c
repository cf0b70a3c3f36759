/* Each system call that changes a file fails once, in each way: the caller hears of it, nothing that was acknowledged is
 * lost, a store that may have lost its hold on the disk says so for ever, and the next process starts
 * [TESTING 4c2, A7, C9, G6].
 *
 * This program's own pwrite, writev, write, fdatasync, fsync and rename stand before libc's. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "history.h"
#include "store_test.h"

#define MAP_SIZE (64u << 20)
#define SHORT    (-1) /* instead of an errno: half of it is written, as on a disk that fills up */

static struct {
    bool on;
    unsigned calls; /* until the one that fails */
    int how;        /* errno or SHORT */
    bool failed;
} fault;

static const int ways[] = {EIO, ENOSPC, SHORT};
#define WAYS (sizeof ways / sizeof ways[0])

static void arm(unsigned calls, int how)
{
    fault.on = true;
    fault.failed = false;
    fault.calls = calls;
    fault.how = how;
}

static bool disarm(void)
{
    fault.on = false;
    return fault.failed;
}

static bool is_due(void)
{
    if (!fault.on || fault.failed || --fault.calls > 0)
        return false;
    fault.failed = true;
    return true;
}

/* libc's own function, which ours stands before. ISO C knows no conversion for it. */
static void find_real(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    ck_assert_ptr_nonnull(symbol);
    memcpy(function, &symbol, sizeof symbol);
}

static int strike(void)
{
    errno = fault.how;
    return -1;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t);

    find_real("pwrite", &real);
    if (!is_due())
        return real(fd, buf, n, offset);
    return fault.how == SHORT ? real(fd, buf, n / 2, offset) : strike();
}

ssize_t write(int fd, const void *buf, size_t n)
{
    ssize_t (*real)(int, const void *, size_t);

    find_real("write", &real);
    if (!is_due())
        return real(fd, buf, n);
    return fault.how == SHORT ? real(fd, buf, n / 2) : strike();
}

ssize_t writev(int fd, const struct iovec *iovec, int count)
{
    ssize_t (*real)(int, const struct iovec *, int);

    find_real("writev", &real);
    if (!is_due())
        return real(fd, iovec, count);
    return fault.how == SHORT ? real(fd, iovec, 1) : strike();
}

/* What cannot be done by half succeeds where SHORT is asked for. */
int fdatasync(int fildes)
{
    int (*real)(int);

    find_real("fdatasync", &real);
    return is_due() && fault.how != SHORT ? strike() : real(fildes);
}

int fsync(int fd)
{
    int (*real)(int);

    find_real("fsync", &real);
    return is_due() && fault.how != SHORT ? strike() : real(fd);
}

int rename(const char *old, const char *new)
{
    int (*real)(const char *, const char *);

    find_real("rename", &real);
    return is_due() && fault.how != SHORT ? strike() : real(old, new);
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

static int write_log(struct log_store *s, struct log_history *h)
{
    struct entry *entries[HISTORY_BATCH_MAX];
    struct log_write w;
    int err;

    log_history_next(h, &w, entries);
    err = log_store_write(s, &w);
    log_history_drop(&w);
    return err;
}

static struct log_store *open_log(void)
{
    struct log_store *s;
    struct why why = {""};

    ck_assert_msg(log_store_open(temp_path("log"), MAP_SIZE, &s, &why) == 0, "%s", why.text);
    return s;
}

/* Writes until the fault strikes; *h is then what is acknowledged, and *next what was in flight. */
static int write_until_fault(struct log_store *s, struct log_history *h, struct log_history *next)
{
    int err = 0;

    *next = *h;
    while (err == 0) {
        *h = *next;
        err = write_log(s, next);
        if (err == 0 && fault.failed)
            *h = *next; /* it struck where nothing was lost by it */
        if (fault.failed)
            break;
    }
    return err;
}

START_TEST(the_log_tells_of_each_fault)
{
    static struct log_history h, next, more;
    unsigned no_space = 0, io = 0;
    struct why why = {""};

    memset(&h, 0, sizeof h);
    for (unsigned round = 0; round < 30 * WAYS; round++) {
        struct log_store *s = open_log();
        int err;

        arm(1 + round / WAYS, ways[round % WAYS]);
        err = write_until_fault(s, &h, &next);
        ck_assert(disarm());
        ck_assert(err == ERR_IO || err == ERR_NO_SPACE || (err == 0 && fault.how != EIO));
        if (fault.how == EIO)
            ck_assert_int_eq(err, ERR_IO);
        if (err == ERR_IO) {
            more = h;
            ck_assert_int_eq(write_log(s, &more), ERR_IO); /* a second try must not make it good */
            io++;
        }
        if (err == ERR_NO_SPACE) {
            ck_assert_msg(log_history_holds(&h, s, &why), "%s", why.text);
            ck_assert_int_eq(write_log(s, &h), 0);
            next = h;
            no_space++;
        }
        log_store_close(s);

        s = open_log();
        if (log_history_holds(&next, s, &why))
            h = next;
        else
            ck_assert_msg(log_history_holds(&h, s, &why), "%s", why.text);
        log_store_close(s);
    }
    ck_assert_uint_ge(io, 30);
    ck_assert_uint_ge(no_space, 10);
}
END_TEST

/* ---- the map ---- */

static int apply(struct kv_store *s, raft_index *applied)
{
    struct entry *entries[HISTORY_BATCH_MAX];
    struct command_result results[HISTORY_BATCH_MAX];
    unsigned count = kv_history_next(*applied, entries);
    int err = apply_and_commit(s, entries, count, results);

    unref_all(entries, count);
    if (err == 0)
        *applied += count;
    return err;
}

static struct kv_store *open_map(void)
{
    struct kv_store *s;
    struct why why = {""};

    ck_assert_msg(kv_store_open(temp_path("kv"), MAP_SIZE, 2, &s, &why) == 0, "%s", why.text);
    return s;
}

START_TEST(the_map_tells_of_each_fault)
{
    raft_index applied = 0, after = 0;
    struct why why = {""};

    for (unsigned round = 0; round < 20 * WAYS; round++) {
        struct kv_store *s = open_map();
        int err = 0;

        arm(1 + round / WAYS, ways[round % WAYS]);
        while (err == 0 && !fault.failed)
            err = apply(s, &applied);
        ck_assert(disarm());
        ck_assert(err == ERR_IO || err == ERR_NO_SPACE || (err == 0 && fault.how != EIO));
        if (fault.how == EIO)
            ck_assert_int_eq(err, ERR_IO);
        if (err == ERR_IO)
            ck_assert_int_eq(apply(s, &applied), ERR_IO);
        if (err == ERR_NO_SPACE)
            ck_assert_int_eq(apply(s, &applied), 0);
        kv_store_close(s);

        s = open_map();
        ck_assert_msg(kv_history_holds(s, &after, &why), "%s", why.text);
        ck_assert_uint_ge(after, applied);
        applied = after;
        kv_store_close(s);
    }
}
END_TEST

/* After a failed flush nobody knows what the kernel has dropped, though the next flush succeeds. */
START_TEST(a_failed_sync_of_the_map_is_final)
{
    struct kv_store *s = open_map();
    raft_index applied = 0, settled = 0;

    ck_assert_int_eq(apply(s, &applied), 0);
    arm(1, EIO);
    ck_assert_int_eq(kv_store_sync(s, &settled), ERR_IO);
    ck_assert(disarm());
    ck_assert_uint_eq(settled, 0);
    ck_assert_int_eq(kv_store_sync(s, &settled), ERR_IO);
    ck_assert_int_eq(apply(s, &applied), ERR_IO);
    kv_store_close(s);
}
END_TEST

/* ---- making everything for the first time, and the identity ---- */

static int start_all(uint32_t step)
{
    struct identity identity = identity_history(step);
    struct datadir *d = NULL;
    struct log_store *log = NULL;
    struct kv_store *kv = NULL;
    int err = datadir_open(temp_path("d"), "nobody", &d, NULL);

    if (err == 0)
        err = log_store_open(datadir_log_path(d), MAP_SIZE, &log, NULL);
    if (err == 0)
        err = kv_store_open(datadir_kv_path(d), MAP_SIZE, 2, &kv, NULL);
    if (err == 0)
        err = datadir_save(d, &identity, NULL);
    kv_store_close(kv);
    log_store_close(log);
    datadir_close(d);
    return err;
}

START_TEST(a_start_tells_of_each_fault)
{
    unsigned faults = 0;

    for (size_t way = 0; way < WAYS; way++) {
        for (unsigned calls = 1;; calls++) {
            int err;

            temp_remove(temp_path("d"));
            arm(calls, ways[way]);
            err = start_all(1);
            if (!disarm())
                break;
            ck_assert(err <= 0);
            ck_assert_msg(start_all(1) == 0, "way %zu, call %u", way, calls);
            faults++;
        }
    }
    ck_assert_uint_gt(faults, 60);
}
END_TEST

START_TEST(the_identity_is_old_or_new)
{
    uint32_t step = 1;

    ck_assert_int_eq(start_all(step), 0);
    for (unsigned round = 0; round < 5 * WAYS; round++) {
        struct identity next = identity_history(step + 1);
        struct datadir *d;
        int err;

        ck_assert_int_eq(datadir_open(temp_path("d"), "nobody", &d, NULL), 0);
        arm(1 + round / WAYS, ways[round % WAYS]);
        err = datadir_save(d, &next, NULL);
        if (!disarm() || fault.how == SHORT)
            ck_assert(err == 0 || err == ERR_NO_SPACE);
        else
            ck_assert(err == ERR_IO || err == ERR_NO_SPACE);
        datadir_close(d);
        ck_assert_int_eq(datadir_open(temp_path("d"), "nobody", &d, NULL), 0);
        if (identity_history_holds(step + 1, datadir_identity(d)))
            step++;
        else {
            ck_assert_int_ne(err, 0);
            ck_assert(identity_history_holds(step, datadir_identity(d)));
        }
        datadir_close(d);
    }
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, the_log_tells_of_each_fault);
    tcase_add_test(t, the_map_tells_of_each_fault);
    tcase_add_test(t, a_failed_sync_of_the_map_is_final);
    tcase_add_test(t, a_start_tells_of_each_fault);
    tcase_add_test(t, the_identity_is_old_or_new);
}

int main(void)
{
    return run_tests("faults", setup, teardown, add);
}
