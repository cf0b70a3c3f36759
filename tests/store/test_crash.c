/* kill -9 at any moment: what was acknowledged is there, what was not is there wholly or not at all, and the next process
 * goes on from there [TESTING A5, A8, A9]. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "history.h"
#include "store_test.h"

#define ROUNDS   30
#define LOG_SIZE (1ull << 30)

static void setup(void)
{
    temp_make();
}

static void teardown(void)
{
    temp_remove(temp_path(""));
}

static void acknowledge(int pipe, uint64_t step)
{
    if (write(pipe, &step, sizeof step) != sizeof step)
        _exit(1);
}

static pid_t start(void (*child)(int pipe), int *pipe_out)
{
    int ends[2];
    pid_t pid;

    ck_assert_int_eq(pipe(ends), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(ends[0]);
        child(ends[1]);
        _exit(1);
    }
    close(ends[1]);
    *pipe_out = ends[0];
    return pid;
}

/* Lets a child work for a random time, kills it, and gives the last step that it acknowledged (0: none). */
static uint64_t run_and_kill(void (*child)(int pipe))
{
    uint64_t step = 0, next;
    int pipe_end, status;
    pid_t pid = start(child, &pipe_end);
    struct pollfd ready = {.fd = pipe_end, .events = POLLIN};
    struct timespec pause = {.tv_nsec = (long)random_below(15000) * 1000};

    if (random_below(4) != 0) /* else it may die while it opens */
        poll(&ready, 1, 1000);
    nanosleep(&pause, NULL);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended by itself: %x",
                  (unsigned)status);
    while (read(pipe_end, &next, sizeof next) == sizeof next)
        step = next;
    close(pipe_end);
    return step;
}

/* ---- the log ---- */

static struct log_history history;

static void write_log(int pipe)
{
    struct log_store *s;
    struct log_write w;
    struct entry *entries[HISTORY_BATCH_MAX];

    if (log_store_open(temp_path("log"), LOG_SIZE, &s, NULL) != 0)
        return;
    for (;;) {
        log_history_next(&history, &w, entries);
        if (log_store_write(s, &w) != 0)
            return;
        log_history_drop(&w);
        acknowledge(pipe, history.step);
    }
}

/* What the child did after its last acknowledgement, if it did anything, is one step more. */
static void replay(struct log_history *h)
{
    struct log_write w;
    struct entry *entries[HISTORY_BATCH_MAX];

    log_history_next(h, &w, entries);
    log_history_drop(&w);
}

START_TEST(the_log_survives_kill_9)
{
    static struct log_history next;
    struct log_store *s;
    struct why why = {""};
    unsigned ahead = 0;

    memset(&history, 0, sizeof history);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t acked = run_and_kill(write_log);

        ck_assert_msg(log_store_open(temp_path("log"), LOG_SIZE, &s, &why) == 0, "%s", why.text);
        while (history.step < acked)
            replay(&history);
        next = history;
        replay(&next);
        if (log_history_holds(&next, s, &why)) {
            history = next;
            ahead++;
        } else
            ck_assert_msg(log_history_holds(&history, s, &why), "step %u: %s", history.step, why.text);
        log_store_close(s);
    }
    ck_assert_uint_gt(history.step, 10);
    ck_assert_uint_le(ahead, ROUNDS);
}
END_TEST

/* ---- the map ---- */

static void apply_map(int pipe)
{
    struct kv_store *s;
    struct kv_position p;
    struct entry *entries[HISTORY_BATCH_MAX];
    struct command_result results[HISTORY_BATCH_MAX];
    raft_index applied;

    if (kv_store_open(temp_path("kv"), LOG_SIZE, 1, &s, NULL) != 0 || kv_store_position(s, &p) != 0)
        return;
    applied = p.applied.index;
    for (;;) {
        unsigned count = kv_history_next(applied, entries);

        if (apply_and_commit(s, entries, count, results) != 0)
            return;
        unref_all(entries, count);
        applied += count;
        acknowledge(pipe, applied);
    }
}

/* The page cache survives kill -9: so even without a sync of each commit nothing that was acknowledged is lost. */
START_TEST(the_map_survives_kill_9)
{
    struct kv_store *s;
    struct why why = {""};
    raft_index applied = 0, before = 0;

    for (int round = 0; round < ROUNDS; round++) {
        raft_index acked = run_and_kill(apply_map);

        ck_assert_msg(kv_store_open(temp_path("kv"), LOG_SIZE, 1, &s, &why) == 0, "%s", why.text);
        ck_assert_msg(kv_history_holds(s, &applied, &why), "%s", why.text);
        ck_assert_uint_ge(applied, acked);
        ck_assert_uint_ge(applied, before);
        before = applied;
        kv_store_close(s);
    }
    ck_assert_uint_gt(applied, 10);
}
END_TEST

/* ---- the identity ---- */

static uint32_t identity_step;

static void make_log(struct datadir *d)
{
    struct log_store *s;

    if (log_store_open(datadir_log_path(d), 1 << 20, &s, NULL) == 0)
        log_store_close(s);
}

static void save_identity(int pipe)
{
    struct datadir *d;

    if (datadir_open(temp_path("d"), "nobody", &d, NULL) != 0)
        return;
    for (uint32_t step = identity_step + 1;; step++) {
        struct identity i = identity_history(step);

        if (step % 5 == 4)
            make_log(d);
        if ((step % 5 == 0 ? datadir_wipe(d, &i, NULL) : datadir_save(d, &i, NULL)) != 0)
            return;
        acknowledge(pipe, step);
    }
}

START_TEST(the_identity_survives_kill_9)
{
    struct datadir *d;
    struct why why = {""};

    identity_step = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t acked = run_and_kill(save_identity);
        const struct identity *got;

        ck_assert_msg(datadir_open(temp_path("d"), "nobody", &d, &why) == 0, "%s", why.text);
        got = datadir_identity(d);
        if (acked > 0)
            identity_step = (uint32_t)acked;
        if (identity_history_holds(identity_step + 1, got))
            identity_step++;
        else if (identity_step > 0)
            ck_assert(identity_history_holds(identity_step, got));
        if (identity_step % 5 == 0 && identity_step > 0) /* it was a wipe: finished now, whatever cut it off */
            ck_assert(!path_exists(temp_path("d/log")));
        datadir_close(d);
    }
    ck_assert_uint_gt(identity_step, 10);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, the_log_survives_kill_9);
    tcase_add_test(t, the_map_survives_kill_9);
    tcase_add_test(t, the_identity_survives_kill_9);
}

int main(void)
{
    random_seed((uint32_t)time(NULL)); /* chance lies in the scheduling anyway */
    return run_tests("crash", setup, teardown, add);
}
