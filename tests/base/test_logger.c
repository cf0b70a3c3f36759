#include "base/logger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "base/bytes.h"
#include "base/clock.h"

/* While a test captures, stderr is a pipe and `captured` is its reading end. */
static int captured, real_stderr;

static void capture(void)
{
    int output[2];

    ck_assert_int_eq(pipe2(output, O_CLOEXEC), 0);
    real_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(output[1], STDERR_FILENO), 0);
    close(output[1]);
    captured = output[0];
}

static void release(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(captured);
}

/* Appends what is in the pipe, until nothing comes for `quiet_ms`. */
static void collect(struct bytes *out, int quiet_ms)
{
    struct pollfd input = {.fd = captured, .events = POLLIN};

    while (poll(&input, 1, quiet_ms) > 0) {
        char chunk[4096];
        ssize_t size = read(captured, chunk, sizeof chunk);

        if (size <= 0)
            break;
        bytes_append(out, chunk, (size_t)size);
    }
    ck_assert(!out->overflow);
}

/* What one call to the logger wrote, without its newline, which must be there and be the only one. */
static const char *line_of(struct bytes *out)
{
    collect(out, 0);
    ck_assert_uint_gt(out->size, 0);
    ck_assert_uint_eq(out->data[out->size - 1], '\n');
    out->data[out->size - 1] = '\0';
    ck_assert_uint_eq(strlen((char *)out->data), out->size - 1);
    ck_assert_ptr_null(strchr((char *)out->data, '\n'));
    return (char *)out->data;
}

/* The text of a line that is logged as `format` says, behind the time and up to the end. */
#define ck_assert_logs(format, expected, ...)                                                                          \
    do {                                                                                                               \
        struct bytes out;                                                                                              \
                                                                                                                       \
        bytes_init(&out, 100000);                                                                                      \
        capture();                                                                                                     \
        logger_configure(LOG_LEVEL_TRACE, format, "n1");                                                               \
        __VA_ARGS__;                                                                                                   \
        ck_assert_str_eq(line_of(&out) + ((format) == LOG_FORMAT_TEXT ? 25 : 35), expected);                           \
        release();                                                                                                     \
        bytes_clear(&out);                                                                                             \
    } while (0)
#define ck_assert_text(expected, ...) ck_assert_logs(LOG_FORMAT_TEXT, expected, __VA_ARGS__)
#define ck_assert_json(expected, ...) ck_assert_logs(LOG_FORMAT_JSON, expected, __VA_ARGS__)

START_TEST(a_text_line_has_time_level_name_and_message)
{
    ck_assert_text("[INFO]  n1: became leader: term=2", log_info("became leader: term=%d", 2));
    ck_assert_text("[ERROR] n1: e", log_error("e"));
    ck_assert_text("[WARN]  n1: w", log_warn("w"));
    ck_assert_text("[DEBUG] n1: d", log_debug("d"));
    ck_assert_text("[TRACE] n1: t", log_trace("t"));
    ck_assert_text("[INFO]  n1: ", log_info("%s", ""));
}
END_TEST

START_TEST(the_time_comes_first)
{
    struct bytes out;
    unsigned year, month, day, hour, minute, second, ms;
    int length = 0;

    bytes_init(&out, 1000);
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    log_info("x");
    ck_assert_int_eq(sscanf(line_of(&out), "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %n", &year, &month, &day, &hour, &minute,
                            &second, &ms, &length),
                     7);
    ck_assert_int_eq(length, 25);
    release();
    bytes_clear(&out);
}
END_TEST

START_TEST(one_event_is_one_line_of_text_whatever_it_holds)
{
    ck_assert_text("[INFO]  n1: a\\nb\\tc\\x0d\\x1b[2J\\x7f", log_info("a\nb\tc\r\x1b[2J\x7f"));
    ck_assert_text("[INFO]  n1: \\xff\\x9b\xc3\xa4\\xc3", log_info("\xff\xc2\x9b\xc3\xa4\xc3"));
}
END_TEST

#define BEGIN "\"level\":\"info\",\"node\":\"n1\",\"event\":"

START_TEST(a_json_line_has_the_event_and_its_pairs)
{
    ck_assert_json(BEGIN "\"became leader\",\"term\":2}", log_info("became leader: term=%d", 2));
    ck_assert_json(BEGIN "\"a\",\"b\":\"x\",\"c\":-5,\"d-e_1\":\"\"}", log_info("a: b=x c=-5 d-e_1="));
    ck_assert_json(BEGIN "\"plain\"}", log_info("plain"));
    ck_assert_json(BEGIN "\"\"}", log_info("%s", ""));
    ck_assert_json(BEGIN "\"no colon\",\"a\":1}", log_info("no colon a=1"));
    ck_assert_json(BEGIN "\"ends with\"}", log_info("ends with: "));
    ck_assert_json(BEGIN "\"a\",\"message\":\"two words\",\"b\":1}", log_info("a: two words b=1"));
    ck_assert_json(BEGIN "\"a\",\"message\":\"only words: here\"}", log_info("a: only words: here"));
    ck_assert_json(BEGIN "\"listening on ::1:4001\"}", log_info("listening on ::1:4001"));
}
END_TEST

START_TEST(a_value_ends_before_the_next_pair)
{
    ck_assert_json(BEGIN "\"a\",\"why\":\"disk full: stop\",\"path\":\"/x y\"}",
                   log_info("a: why=disk full: stop path=/x y"));
    ck_assert_json(BEGIN "\"a\",\"url\":\"?x=1&y=2\",\"n\":3}", log_info("a: url=?x=1&y=2 n=3"));
    ck_assert_json(BEGIN "\"a\",\"b\":\"1 =2 ä=3\"}", log_info("a: b=1 =2 ä=3"));
}
END_TEST

START_TEST(a_quoted_value_may_hold_what_looks_like_a_pair)
{
    ck_assert_json(BEGIN "\"a\",\"why\":\"b=1 c=2\",\"n\":3}", log_info("a: why=\"b=1 c=2\" n=3"));
    ck_assert_json(BEGIN "\"a\",\"why\":\"say \\\"x\\\" twice\"}", log_info("a: why=\"say \"x\" twice\""));
    ck_assert_json(BEGIN "\"a\",\"b\":\"5\",\"c\":\"\"}", log_info("a: b=\"5\" c=\"\""));
    ck_assert_json(BEGIN "\"a\",\"b\":\"\\\"\",\"c\":1}", log_info("a: b=\" c=1"));
    ck_assert_json(BEGIN "\"a\",\"b\":\"\\\"open\",\"c\":1}", log_info("a: b=\"open c=1"));
    ck_assert_text("[INFO]  n1: a: b=\"5\"", log_info("a: b=\"5\""));
}
END_TEST

START_TEST(only_what_json_takes_as_an_integer_is_a_number)
{
    ck_assert_json(BEGIN "\"a\",\"b\":0,\"c\":18446744073709551615}", log_info("a: b=0 c=18446744073709551615"));
    ck_assert_json(BEGIN "\"a\",\"b\":\"007\",\"c\":\"+1\",\"d\":\"-\",\"e\":\"1.5\",\"f\":\"0x1\",\"g\":\"-01\"}",
                   log_info("a: b=007 c=+1 d=- e=1.5 f=0x1 g=-01"));
    ck_assert_json(BEGIN "\"a\",\"b\":\"123456789012345678901\"}", log_info("a: b=123456789012345678901"));
}
END_TEST

START_TEST(a_value_cannot_forge_the_fields_of_the_line)
{
    ck_assert_json(BEGIN "\"a\",\"b\":\"x level=error node=n2 time=0 event=e message=m\"}",
                   log_info("a: b=%s", "x level=error node=n2 time=0 event=e message=m"));
    ck_assert_json(BEGIN "\"a\",\"b\":\"\\\"},{\\\\\"}", log_info("a: b=%s", "\"},{\\"));
}
END_TEST

START_TEST(one_event_is_one_line_of_json_whatever_it_holds)
{
    ck_assert_json(BEGIN "\"a\\nb\",\"c\":\"\\u001b\xef\xbf\xbd\xc3\xa4\\u009b\"}",
                   log_info("a\nb: c=\x1b\xff\xc3\xa4\xc2\x9b"));
}
END_TEST

START_TEST(a_message_that_is_too_long_is_cut_and_the_line_stays_whole)
{
    char text[3000];
    struct bytes out;
    const char *line;

    memset(text, '\x01', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    bytes_init(&out, 100000);
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON, text);
    log_info("a: b=%s", text);
    line = line_of(&out);
    ck_assert_str_eq(line + strlen(line) - 8, "\\u0001\"}");
    ck_assert_uint_lt(strlen(line), 7000);
    release();
    bytes_clear(&out);
}
END_TEST

START_TEST(levels_above_the_threshold_are_silent)
{
    struct bytes out;
    int evaluated = 0;

    bytes_init(&out, 1000);
    capture();
    logger_configure(LOG_LEVEL_WARN, LOG_FORMAT_TEXT, "n1");
    log_info("no: n=%d", ++evaluated);
    log_debug("no: n=%d", ++evaluated);
    log_trace("no: n=%d", ++evaluated);
    log_warn("yes: n=%d", ++evaluated);
    ck_assert_str_eq(line_of(&out) + 25, "[WARN]  n1: yes: n=1");
    ck_assert_int_eq(evaluated, 1);
    ck_assert(logger_enabled(LOG_LEVEL_ERROR));
    ck_assert(!logger_enabled(LOG_LEVEL_INFO));
    release();
    bytes_clear(&out);
}
END_TEST

START_TEST(errno_is_left_alone)
{
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    close(STDERR_FILENO);
    errno = ENOENT;
    log_info("nobody hears this");
    ck_assert_int_eq(errno, ENOENT);
    release();
}
END_TEST

START_TEST(the_thread_writes_everything_before_it_stops)
{
    struct bytes out;
    char expected[64];
    const char *at;

    bytes_init(&out, 100000);
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    ck_assert_int_eq(logger_start(), 0);
    ck_assert_int_eq(logger_start(), 0);
    for (int i = 0; i < 500; i++)
        log_info("event: i=%d", i);
    logger_stop();
    logger_stop();
    log_info("after");
    collect(&out, 0);
    bytes_append_char(&out, '\0');
    at = (char *)out.data;
    for (int i = 0; i < 500; i++) {
        snprintf(expected, sizeof expected, "[INFO]  n1: event: i=%d\n", i);
        at = strstr(at, expected);
        ck_assert_ptr_nonnull(at);
    }
    ck_assert_ptr_nonnull(strstr(at, "[INFO]  n1: after\n"));
    release();
    bytes_clear(&out);
}
END_TEST

START_TEST(it_can_be_configured_while_it_runs)
{
    struct bytes out;

    bytes_init(&out, 10000);
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    ck_assert_int_eq(logger_start(), 0);
    log_debug("unheard");
    log_info("first");
    logger_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, "n2");
    log_debug("second");
    logger_stop();
    collect(&out, 0);
    bytes_append_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr((char *)out.data, " n1: first\n"));
    ck_assert_ptr_nonnull(strstr((char *)out.data, "\"level\":\"debug\",\"node\":\"n2\",\"event\":\"second\"}\n"));
    ck_assert_ptr_null(strstr((char *)out.data, "unheard"));
    release();
    bytes_clear(&out);
}
END_TEST

/* Checks that all lines are whole; returns how many they are, with those that were reported dropped. */
static unsigned long count_lines(struct bytes *out)
{
    unsigned long count = 0;
    char *line, *rest = NULL;

    bytes_append_char(out, '\0');
    for (line = strtok_r((char *)out->data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        unsigned long dropped;
        unsigned thread, i;
        int length = 0;

        ck_assert_uint_gt(strlen(line), 25);
        if (sscanf(line + 25, "[WARN]  n1: log lines dropped: count=%lu%n", &dropped, &length) == 1) {
            ck_assert_int_eq(line[25 + length], '\0');
            ck_assert_uint_gt(dropped, 0);
            count += dropped;
            continue;
        }
        ck_assert_int_eq(sscanf(line + 25, "[INFO]  n1: event: thread=%u i=%u end%n", &thread, &i, &length), 2);
        ck_assert_int_eq(line[25 + length], '\0');
        count++;
    }
    return count;
}

enum { THREADS = 4, LINES_EACH = 500 };

static void *log_many(void *number)
{
    for (unsigned i = 0; i < LINES_EACH; i++)
        log_info("event: thread=%u i=%u end", *(unsigned *)number, i);
    return NULL;
}

static void *read_all(void *out)
{
    collect(out, 1500);
    return NULL;
}

START_TEST(threads_do_not_mix_their_lines_and_none_is_lost_uncounted)
{
    pthread_t threads[THREADS], reader;
    unsigned numbers[THREADS];
    struct bytes out;

    bytes_init(&out, 10 << 20);
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    ck_assert_int_eq(logger_start(), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &out), 0);
    for (unsigned t = 0; t < THREADS; t++) {
        numbers[t] = t;
        ck_assert_int_eq(pthread_create(&threads[t], NULL, log_many, &numbers[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    logger_stop();
    /* The end of the pipe lets the reader go before its patience ends. */
    dup2(real_stderr, STDERR_FILENO);
    pthread_join(reader, NULL);
    ck_assert_uint_eq(count_lines(&out), THREADS * LINES_EACH);
    release();
    bytes_clear(&out);
}
END_TEST

START_TEST(a_stuck_output_costs_lines_and_not_time_and_the_loss_is_reported)
{
    enum { LINES = 5000 };
    struct bytes out;
    uint64_t before;

    bytes_init(&out, 10 << 20);
    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    ck_assert_int_eq(logger_start(), 0);
    before = clock_now_ms();
    for (unsigned i = 0; i < LINES; i++)
        log_info("event: thread=0 i=%u end", i);
    ck_assert_uint_lt(clock_now_ms() - before, 1000);
    collect(&out, 300);
    logger_stop();
    collect(&out, 0);
    ck_assert_uint_lt(out.size, 200 << 10); /* a ring and a pipe, not all the lines */
    ck_assert_ptr_nonnull(memmem(out.data, out.size, "log lines dropped", 17));
    ck_assert_uint_eq(count_lines(&out), LINES);
    release();
    bytes_clear(&out);
}
END_TEST

START_TEST(a_stuck_output_does_not_keep_us_from_stopping)
{
    uint64_t before;

    capture();
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    ck_assert_int_eq(logger_start(), 0);
    for (unsigned i = 0; i < 3000; i++)
        log_info("event: thread=0 i=%u end", i);
    before = clock_now_ms();
    logger_stop();
    ck_assert_uint_lt(clock_now_ms() - before, 1000);
    before = clock_now_ms();
    log_info("the pipe is still full");
    ck_assert_uint_lt(clock_now_ms() - before, 1000);
    release();
}
END_TEST

START_TEST(an_output_that_nobody_reads_any_more_harms_nothing)
{
    uint64_t before = clock_now_ms();

    capture();
    close(captured);
    logger_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "n1");
    ck_assert_int_eq(logger_start(), 0);
    for (unsigned i = 0; i < 100; i++)
        log_info("event: i=%u", i);
    logger_stop();
    ck_assert_uint_lt(clock_now_ms() - before, 1000);
    captured = dup(real_stderr);
    release();
}
END_TEST

/* The signals that a thread of this process blocks; 0 where it is gone. */
static unsigned long long blocked_by(const char *thread)
{
    char path[300], line[200];
    unsigned long long blocked = 0;
    FILE *status;

    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    status = fopen(path, "r");
    if (status == NULL)
        return 0;
    while (fgets(line, sizeof line, status) != NULL)
        sscanf(line, "SigBlk: %llx", &blocked);
    fclose(status);
    return blocked;
}

/* How many threads of this process block the signals that end it or break a pipe. */
static int count_deaf_threads(void)
{
    const unsigned long long mask =
        1ULL << (SIGTERM - 1) | 1ULL << (SIGINT - 1) | 1ULL << (SIGHUP - 1) | 1ULL << (SIGPIPE - 1);
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;

    ck_assert_ptr_nonnull(tasks);
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] != '.' && (blocked_by(entry->d_name) & mask) == mask)
            count++;
    }
    closedir(tasks);
    return count;
}

START_TEST(its_thread_takes_no_signals_and_the_caller_still_does)
{
    sigset_t before, after;
    int deaf = count_deaf_threads();

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert_int_eq(logger_start(), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(count_deaf_threads(), deaf + 1);
    for (int s = 1; s < 32; s++)
        ck_assert_int_eq(sigismember(&before, s), sigismember(&after, s));
    logger_stop();
}
END_TEST

TEST_MAIN("logger", a_text_line_has_time_level_name_and_message, the_time_comes_first,
          one_event_is_one_line_of_text_whatever_it_holds, a_json_line_has_the_event_and_its_pairs,
          a_value_ends_before_the_next_pair, a_quoted_value_may_hold_what_looks_like_a_pair,
          only_what_json_takes_as_an_integer_is_a_number, a_value_cannot_forge_the_fields_of_the_line,
          one_event_is_one_line_of_json_whatever_it_holds, a_message_that_is_too_long_is_cut_and_the_line_stays_whole,
          levels_above_the_threshold_are_silent, errno_is_left_alone, the_thread_writes_everything_before_it_stops,
          it_can_be_configured_while_it_runs, threads_do_not_mix_their_lines_and_none_is_lost_uncounted,
          a_stuck_output_costs_lines_and_not_time_and_the_loss_is_reported,
          a_stuck_output_does_not_keep_us_from_stopping, an_output_that_nobody_reads_any_more_harms_nothing,
          its_thread_takes_no_signals_and_the_caller_still_does)
