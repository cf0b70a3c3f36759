/* The data directory: one owner, an identity that is old or new but never torn, and nobody else's directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "store/datadir.h"
#include "store_test.h"

#define OWNER "localhost:4001"

static const struct identity someone = {.cluster = 0xfeedfacecafebeefull,
                                        .id = (1ull << 53) - 1,
                                        .name = "node.1-a_b",
                                        .joined = 12345678901234ull,
                                        .removed = true};

static void setup(void)
{
    temp_make();
}

static void teardown(void)
{
    temp_remove(temp_path(""));
}

static struct datadir *open_dir(const char *name)
{
    struct datadir *d;
    struct why why = {""};

    ck_assert_msg(datadir_open(temp_path(name), OWNER, &d, &why) == 0, "%s", why.text);
    return d;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(temp_path(name), "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static size_t read_text(const char *name, char *text, size_t size)
{
    FILE *f = fopen(temp_path(name), "r");
    size_t n;

    ck_assert_ptr_nonnull(f);
    n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    fclose(f);
    return n;
}

static void expect_identity(const struct datadir *d, const struct identity *want)
{
    const struct identity *got = datadir_identity(d);

    ck_assert_uint_eq(got->cluster, want->cluster);
    ck_assert_uint_eq(got->id, want->id);
    ck_assert_str_eq(got->name, want->name);
    ck_assert_uint_eq(got->joined, want->joined);
    ck_assert_int_eq(got->removed, want->removed);
}

static void expect_refused(const char *name, int want, const char *word)
{
    struct datadir *d = NULL;
    struct why why = {""};

    ck_assert_int_eq(datadir_open(temp_path(name), OWNER, &d, &why), want);
    ck_assert_ptr_null(d);
    ck_assert_msg(strstr(why.text, word) != NULL, "\"%s\" does not say \"%s\"", why.text, word);
}

START_TEST(a_new_one_is_made_with_its_parents)
{
    struct datadir *d = open_dir("a/b/c");
    struct stat st;

    expect_identity(d, &(struct identity){0});
    ck_assert_int_eq(stat(temp_path("a"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(temp_path("a/b/c"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    ck_assert_str_eq(datadir_log_path(d), temp_path("a/b/c/log"));
    ck_assert_str_eq(datadir_kv_path(d), temp_path("a/b/c/kv"));
    datadir_close(d);
    datadir_close(NULL);
}
END_TEST

START_TEST(the_identity_survives)
{
    struct datadir *d = open_dir("d");

    ck_assert_int_eq(datadir_save(d, &someone, NULL), 0);
    expect_identity(d, &someone);
    datadir_close(d);
    d = open_dir("d/");
    expect_identity(d, &someone);
    datadir_close(d);
}
END_TEST

START_TEST(a_second_owner_is_refused_and_told_the_first)
{
    struct datadir *d = open_dir("d");
    char pid[32];

    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    expect_refused("d", ERR_LOCKED, OWNER);
    expect_refused("d", ERR_LOCKED, pid);
    datadir_close(d);
    datadir_close(open_dir("d"));
}
END_TEST

/* TESTING G7: LMDB itself would let a second process in. */
START_TEST(a_second_process_is_refused)
{
    struct datadir *d = open_dir("d");
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct datadir *other;

        _exit(datadir_open(temp_path("d"), OWNER, &other, NULL) == ERR_LOCKED ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    datadir_close(d);
}
END_TEST

START_TEST(a_foreign_directory_is_left_alone)
{
    mkdir(temp_path("home"), 0755);
    write_text("home/letter.txt", "Dear ...");
    expect_refused("home", ERR_FORMAT, "letter.txt");
    ck_assert(!path_exists(temp_path("home/lock")));
    ck_assert(!path_exists(temp_path("home/raftd")));
}
END_TEST

/* A log without an identity belongs to somebody whose identity was lost: a new one must not vote in its place. */
START_TEST(a_lost_identity_is_no_new_one)
{
    struct datadir *d = open_dir("d");

    datadir_close(d);
    mkdir(temp_path("d/log"), 0700);
    unlink(temp_path("d/raftd"));
    expect_refused("d", ERR_FORMAT, "log");
}
END_TEST

START_TEST(an_existing_empty_directory_is_taken)
{
    mkdir(temp_path("d"), 0755);
    mkdir(temp_path("d/lost+found"), 0700); /* a file system of its own */
    datadir_close(open_dir("d"));
}
END_TEST

START_TEST(a_file_is_no_directory)
{
    write_text("file", "x");
    expect_refused("file", ERR_EXISTS, "not a directory");
}
END_TEST

START_TEST(a_name_that_is_too_long)
{
    char name[5000];
    struct datadir *d;
    struct why why;

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(datadir_open(name, OWNER, &d, &why), ERR_TOO_LONG);
}
END_TEST

START_TEST(a_newer_format_is_refused_with_both_numbers)
{
    datadir_close(open_dir("d"));
    write_text("d/raftd", "format=42\nsomething=new\n");
    expect_refused("d", ERR_FORMAT, "format 42");
    expect_refused("d", ERR_FORMAT, "format 1");
}
END_TEST

START_TEST(every_damaged_byte_is_found)
{
    struct datadir *d = open_dir("d");
    char text[1000];
    size_t size;
    FILE *f;

    ck_assert_int_eq(datadir_save(d, &someone, NULL), 0);
    datadir_close(d);
    size = read_text("d/raftd", text, sizeof text);
    for (size_t i = 0; i < size; i++) {
        struct datadir *other = NULL;
        int err;

        text[i] ^= 1;
        f = fopen(temp_path("d/raftd"), "w");
        ck_assert_uint_eq(fwrite(text, 1, size, f), size);
        fclose(f);
        err = datadir_open(temp_path("d"), OWNER, &other, NULL);
        ck_assert_msg(err == ERR_CORRUPT || err == ERR_FORMAT, "byte %zu: %d", i, err);
        text[i] ^= 1;
    }
    for (size_t cut = 0; cut < size; cut += 3) {
        struct datadir *other = NULL;

        f = fopen(temp_path("d/raftd"), "w");
        ck_assert_uint_eq(fwrite(text, 1, cut, f), cut);
        fclose(f);
        ck_assert_int_ne(datadir_open(temp_path("d"), OWNER, &other, NULL), 0);
    }
}
END_TEST

START_TEST(a_half_written_identity_is_ignored)
{
    struct datadir *d = open_dir("d");

    ck_assert_int_eq(datadir_save(d, &someone, NULL), 0);
    datadir_close(d);
    write_text("d/raftd.new", "format=1\nclu");
    d = open_dir("d");
    expect_identity(d, &someone);
    datadir_close(d);

    unlink(temp_path("d/raftd")); /* cut off in the very first start */
    d = open_dir("d");
    expect_identity(d, &(struct identity){0});
    datadir_close(d);
}
END_TEST

static void make_stores(const struct datadir *d)
{
    struct log_store *log;
    struct kv_store *kv;

    ck_assert_int_eq(log_store_open(datadir_log_path(d), 1 << 20, &log, NULL), 0);
    log_store_close(log);
    ck_assert_int_eq(kv_store_open(datadir_kv_path(d), 1 << 20, 1, &kv, NULL), 0);
    kv_store_close(kv);
}

START_TEST(wiping_removes_log_and_map)
{
    struct identity fresh = {.id = 5, .name = "again"};
    struct datadir *d = open_dir("d");

    ck_assert_int_eq(datadir_save(d, &someone, NULL), 0);
    make_stores(d);
    ck_assert(path_exists(temp_path("d/log/data.mdb")));
    ck_assert_int_eq(datadir_wipe(d, &fresh, NULL), 0);
    ck_assert(!path_exists(temp_path("d/log")));
    ck_assert(!path_exists(temp_path("d/kv")));
    expect_identity(d, &fresh);
    make_stores(d);
    datadir_close(d);

    d = open_dir("d"); /* a finished wipe is not done again */
    expect_identity(d, &fresh);
    ck_assert(path_exists(temp_path("d/log/data.mdb")));
    datadir_close(d);
}
END_TEST

/* A wipe that could not finish is finished by the next open. */
START_TEST(a_wipe_that_was_cut_off_is_finished)
{
    struct identity fresh = {.id = 5, .name = "again"};
    struct datadir *d = open_dir("d");

    ck_assert_int_eq(datadir_save(d, &someone, NULL), 0);
    make_stores(d);
    write_text("d/kv/in.the.way", "");
    ck_assert_int_ne(datadir_wipe(d, &fresh, NULL), 0);
    datadir_close(d);
    unlink(temp_path("d/kv/in.the.way"));
    ck_assert(path_exists(temp_path("d/kv")));

    d = open_dir("d");
    ck_assert(!path_exists(temp_path("d/kv")));
    expect_identity(d, &fresh);
    datadir_close(d);
}
END_TEST

START_TEST(no_permission_says_so)
{
    if (geteuid() == 0)
        return; /* nothing is forbidden to root */
    mkdir(temp_path("closed"), 0500);
    expect_refused("closed/d", ERR_PERMISSION, "closed");
}
END_TEST

/* Paper 5.1: votes and entries are on disk before they are spoken of; without them a member must not speak again. */
START_TEST(a_member_without_its_log_is_refused)
{
    struct datadir *d = open_dir("d");
    struct why why = {""};

    ck_assert_int_eq(datadir_check_log(d, &why), 0); /* no member yet */
    ck_assert_int_eq(datadir_save(d, &someone, NULL), 0);
    ck_assert_int_eq(datadir_check_log(d, &why), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "d/log/data.mdb"));
    ck_assert_int_eq(mkdir(temp_path("d/log"), 0700), 0);
    write_text("d/log/data.mdb", "");
    ck_assert_int_eq(datadir_check_log(d, &why), 0);
    datadir_close(d);
}
END_TEST

START_TEST(a_lock_that_leads_elsewhere_overwrites_nothing)
{
    char text[32];

    ck_assert_int_eq(mkdir(temp_path("d"), 0700), 0);
    write_text("precious", "precious");
    ck_assert_int_eq(symlink(temp_path("precious"), temp_path("d/lock")), 0);
    expect_refused("d", err_from_errno(ELOOP), "d/lock");
    read_text("precious", text, sizeof text);
    ck_assert_str_eq(text, "precious");
}
END_TEST

START_TEST(a_pipe_is_no_identity)
{
    ck_assert_int_eq(mkdir(temp_path("d"), 0700), 0);
    ck_assert_int_eq(mkfifo(temp_path("d/raftd"), 0600), 0);
    expect_refused("d", ERR_CORRUPT, "d/raftd");
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, a_member_without_its_log_is_refused);
    tcase_add_test(t, a_lock_that_leads_elsewhere_overwrites_nothing);
    tcase_add_test(t, a_pipe_is_no_identity);
    tcase_add_test(t, a_new_one_is_made_with_its_parents);
    tcase_add_test(t, the_identity_survives);
    tcase_add_test(t, a_second_owner_is_refused_and_told_the_first);
    tcase_add_test(t, a_second_process_is_refused);
    tcase_add_test(t, a_foreign_directory_is_left_alone);
    tcase_add_test(t, a_lost_identity_is_no_new_one);
    tcase_add_test(t, an_existing_empty_directory_is_taken);
    tcase_add_test(t, a_file_is_no_directory);
    tcase_add_test(t, a_name_that_is_too_long);
    tcase_add_test(t, a_newer_format_is_refused_with_both_numbers);
    tcase_add_test(t, every_damaged_byte_is_found);
    tcase_add_test(t, a_half_written_identity_is_ignored);
    tcase_add_test(t, wiping_removes_log_and_map);
    tcase_add_test(t, a_wipe_that_was_cut_off_is_finished);
    tcase_add_test(t, no_permission_says_so);
}

int main(void)
{
    return run_tests("datadir", setup, teardown, add);
}
