/* A disk that is full: writes end in ERR_NO_SPACE and change nothing, reads go on, and once there is room everything goes on
 * in the same environment [TESTING A7, G5]. Needs root, for a small file system in a mount namespace of its own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "history.h"
#include "store_test.h"

#define MAP_SIZE  (1ull << 30)
#define EXIT_SKIP 77
#define DISK_SIZE "size=6m"

static const char *directory;

static void setup(void)
{
    directory = temp_make();
    ck_assert_int_eq(mount("raftd-test", directory, "tmpfs", 0, DISK_SIZE), 0);
}

static void teardown(void)
{
    ck_assert_int_eq(umount(directory), 0);
    temp_remove(directory);
}

/* Takes all room but `leave` bytes. */
static void fill_disk(size_t leave)
{
    static const char page[4096];
    const char *path = temp_path("filler");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    off_t size;

    ck_assert_int_ge(fd, 0);
    while (write(fd, page, sizeof page) == sizeof page)
        ;
    size = lseek(fd, 0, SEEK_END);
    ck_assert_int_eq(ftruncate(fd, size - (off_t)leave), 0);
    close(fd);
}

static void empty_disk(void)
{
    ck_assert_int_eq(unlink(temp_path("filler")), 0);
}

START_TEST(the_log_waits_for_room)
{
    static struct log_history before, h;
    struct log_store *s, *other;
    struct log_write w;
    struct entry *entries[HISTORY_BATCH_MAX];
    struct why why = {""};
    int err = 0;

    memset(&h, 0, sizeof h);
    ck_assert_int_eq(log_store_open(temp_path("log"), MAP_SIZE, &s, NULL), 0);
    fill_disk(100000);
    for (unsigned i = 0; err == 0; i++) {
        before = h;
        log_history_next(&h, &w, entries);
        w.keep_from = h.keep_from = 0;
        err = log_store_write(s, &w);
        log_history_drop(&w);
        ck_assert_uint_lt(i, 2000);
    }
    ck_assert_int_eq(err, ERR_NO_SPACE);
    h = before;
    ck_assert_msg(log_history_holds(&h, s, &why), "%s", why.text);
    ck_assert_int_eq(log_store_open(temp_path("other"), MAP_SIZE, &other, &why), ERR_NO_SPACE);

    empty_disk();
    for (unsigned i = 0; i < 50; i++) {
        log_history_next(&h, &w, entries);
        ck_assert_int_eq(log_store_write(s, &w), 0);
        log_history_drop(&w);
    }
    log_store_close(s);
    ck_assert_int_eq(log_store_open(temp_path("log"), MAP_SIZE, &s, &why), 0);
    ck_assert_msg(log_history_holds(&h, s, &why), "%s", why.text);
    log_store_close(s);
}
END_TEST

START_TEST(the_map_waits_for_room)
{
    struct kv_store *s;
    struct command_result result;
    static uint8_t value[2000];
    struct entry *e;
    struct kv_view *v;
    struct view got;
    struct why why;
    raft_index applied = 0, index;
    char key[16];
    int err = 0;

    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, 2, &s, NULL), 0);
    fill_disk(100000);
    while (err == 0) {
        snprintf(key, sizeof key, "%u", (unsigned)applied);
        e = set_at(applied + 1, 1, key, value, sizeof value);
        err = apply_and_commit(s, &e, 1, &result);
        entry_unref(e);
        applied += err == 0;
        ck_assert_uint_lt(applied, 2000);
    }
    ck_assert_int_eq(err, ERR_NO_SPACE);
    ck_assert_int_eq(kv_view_open(s, &v), 0);
    ck_assert_uint_eq(kv_view_applied(v), applied);
    ck_assert_int_eq(kv_view_get(v, view_of_text("0"), &got, &index), 0);
    kv_view_close(v);

    empty_disk();
    e = set_at(applied + 1, 1, key, value, sizeof value);
    ck_assert_int_eq(apply_and_commit(s, &e, 1, &result), 0);
    entry_unref(e);
    ck_assert_int_eq(result.outcome, COMMAND_CREATED);
    kv_store_close(s);
    fill_disk(0);
    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, 2, &s, &why), ERR_NO_SPACE);
    ck_assert_ptr_nonnull(strstr(why.text, "full"));
}
END_TEST

START_TEST(the_identity_stays_as_it_was)
{
    struct identity old = identity_history(1), new = identity_history(2);
    struct datadir *d, *other;
    struct why why = {""};

    ck_assert_int_eq(datadir_open(temp_path("d"), "nobody", &d, NULL), 0);
    ck_assert_int_eq(datadir_save(d, &old, NULL), 0);
    fill_disk(0);
    ck_assert_int_eq(datadir_save(d, &new, &why), ERR_NO_SPACE);
    ck_assert(identity_history_holds(1, datadir_identity(d)));
    ck_assert(!path_exists(temp_path("d/raftd.new")));
    ck_assert_int_eq(datadir_open(temp_path("other"), "nobody", &other, &why), ERR_NO_SPACE);
    datadir_close(d);
    ck_assert_int_eq(datadir_open(temp_path("d"), "nobody", &d, NULL), 0); /* a full disk is no reason not to start */
    ck_assert(identity_history_holds(1, datadir_identity(d)));
    empty_disk();
    ck_assert_int_eq(datadir_save(d, &new, NULL), 0);
    datadir_close(d);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, the_log_waits_for_room);
    tcase_add_test(t, the_map_waits_for_room);
    tcase_add_test(t, the_identity_stays_as_it_was);
}

int main(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fprintf(stderr, "SKIPPED: a full disk needs root, to mount a small file system: %s\n", strerror(errno));
        return EXIT_SKIP;
    }
    return run_tests("full_disk", setup, teardown, add);
}
