#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../suite.h"
#include "base/check.h"

START_TEST(every_error_has_a_text_of_its_own)
{
    for (int err = ERR_IO; err <= ERR_INVALID; err++) {
        ck_assert_str_ne(err_text(err), err_text(-1));
        ck_assert(err_text(err)[strlen(err_text(err)) - 1] != '.');
        for (int other = ERR_IO; other < err; other++)
            ck_assert_str_ne(err_text(err), err_text(other));
    }
    ck_assert_str_eq(err_text(0), "ok");
}
END_TEST

START_TEST(a_number_that_is_no_error_has_a_text_too)
{
    ck_assert_str_eq(err_text(-1), "unknown error");
    ck_assert_str_eq(err_text(ERR_IO - 1), "unknown error");
    ck_assert_str_eq(err_text(5), "unknown error");
}
END_TEST

START_TEST(errors_are_negative)
{
    ck_assert_int_lt(ERR_INVALID, 0);
}
END_TEST

START_TEST(errno_becomes_an_error_of_ours)
{
    static const struct {
        int error, err;
    } cases[] = {
        {0, 0},
        {ENOSPC, ERR_NO_SPACE},
        {EDQUOT, ERR_NO_SPACE},
        {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},
        {EACCES, ERR_PERMISSION},
        {EPERM, ERR_PERMISSION},
        {EROFS, ERR_PERMISSION},
        {ENAMETOOLONG, ERR_TOO_LONG},
        {ETIMEDOUT, ERR_TIMEOUT},
        {ECONNRESET, ERR_CLOSED},
        {EPIPE, ERR_CLOSED},
        {ECONNREFUSED, ERR_UNREACHABLE},
        {EHOSTUNREACH, ERR_UNREACHABLE},
        {ENETUNREACH, ERR_UNREACHABLE},
        {EADDRINUSE, ERR_IN_USE},
        {EMFILE, ERR_NO_RESOURCES},
        {ENFILE, ERR_NO_RESOURCES},
        {ENOMEM, ERR_NO_RESOURCES},
        {EBUSY, ERR_LOCKED},
        {EIO, ERR_IO},
        {EINVAL, ERR_IO},
        {-1, ERR_IO},
        {99999, ERR_IO},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(err_from_errno(cases[i].error), cases[i].err);
}
END_TEST

START_TEST(why_is_filled_and_the_error_passed_on)
{
    struct why why;

    ck_assert_int_eq(why_set(&why, ERR_IN_USE, "port %d is taken", 4001), ERR_IN_USE);
    ck_assert_str_eq(why.text, "port 4001 is taken");
}
END_TEST

START_TEST(nobody_may_want_to_know_why)
{
    ck_assert_int_eq(why_set(NULL, ERR_IO, "%s", "unused"), ERR_IO);
}
END_TEST

START_TEST(a_sentence_that_is_too_long_is_cut)
{
    struct why why;

    why_set(&why, ERR_IO, "%01000d", 1);
    ck_assert_uint_eq(strlen(why.text), sizeof why.text - 1);
}
END_TEST

/* Runs `end` in a process of its own; what it says on stderr goes to `said`. Returns the status of wait(2). */
static int run_to_the_end(void (*end)(void), char said[static 512])
{
    int output[2], status;
    ssize_t size;
    pid_t child;

    ck_assert_int_eq(pipe(output), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(output[1], STDERR_FILENO);
        end();
        _exit(0);
    }
    close(output[1]);
    size = read(output[0], said, 511);
    ck_assert_int_ge(size, 0);
    said[size] = '\0';
    close(output[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

static void die(void)
{
    DIE("no room for %d bytes", 3);
}

static void fail_a_check(void)
{
    /* The sanitizers would add a report of their own. */
    signal(SIGABRT, SIG_DFL);
    CHECK(1 > 2);
}

static void pass_a_check(void)
{
    CHECK(2 > 1);
}

START_TEST(to_die_is_one_line_and_status_1)
{
    char said[512];
    int status = run_to_the_end(die, said);

    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 1);
    ck_assert_str_eq(said, "raftd: no room for 3 bytes\n");
}
END_TEST

START_TEST(a_failed_check_names_its_place_and_aborts)
{
    char said[512];
    int status = run_to_the_end(fail_a_check, said);

    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    ck_assert_ptr_nonnull(strstr(said, "test_err.c:"));
    ck_assert_ptr_nonnull(strstr(said, "1 > 2"));
}
END_TEST

START_TEST(a_check_that_holds_does_nothing)
{
    char said[512];

    ck_assert_int_eq(run_to_the_end(pass_a_check, said), 0);
    ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(memory_of_no_size_is_memory)
{
    void *empty = xmalloc(0);
    unsigned char *zeros = xcalloc(3, 2);
    char *copy = xstrdup("text");

    ck_assert_ptr_nonnull(empty);
    empty = xrealloc(empty, 0);
    ck_assert_ptr_nonnull(empty);
    for (int i = 0; i < 6; i++)
        ck_assert_uint_eq(zeros[i], 0);
    ck_assert_str_eq(copy, "text");
    free(empty);
    free(zeros);
    free(copy);
}
END_TEST

TEST_MAIN("err", every_error_has_a_text_of_its_own, a_number_that_is_no_error_has_a_text_too, errors_are_negative,
          errno_becomes_an_error_of_ours, why_is_filled_and_the_error_passed_on, nobody_may_want_to_know_why,
          a_sentence_that_is_too_long_is_cut, to_die_is_one_line_and_status_1,
          a_failed_check_names_its_place_and_aborts, a_check_that_holds_does_nothing, memory_of_no_size_is_memory)
