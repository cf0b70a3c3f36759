/* bench_store DIRECTORY: what the stores cost on the disk of that directory, in microseconds (medians), and how long a start
 * takes with a million entries and keys. Makes and removes its own files; not part of make check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/check.h"
#include "store/datadir.h"
#include "store/kv_store.h"
#include "store/log_store.h"

#define SIZE    (64ull << 30)
#define VALUE   256u
#define MILLION 1000000u
#define BATCH   1024u

static char log_path[4096], kv_path[4096];
static struct log_store *log_store;
static struct kv_store *kv;
static raft_index log_last, kv_last;
static uint64_t samples[100000];

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned random_below(unsigned n)
{
    static uint32_t state = 1;

    state ^= state << 13; /* xorshift, Marsaglia 2003 */
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static double quantile(unsigned count, double q)
{
    qsort(samples, count, sizeof samples[0], by_size);
    return (double)samples[(unsigned)((count - 1) * q)] / 1000.0;
}

static struct entry *set_at(raft_index index, unsigned key)
{
    static uint8_t value[VALUE];
    char name[32];
    struct command c = {.op = COMMAND_SET, .value = view_of(value, sizeof value)};
    struct entry *e;

    snprintf(name, sizeof name, "key/%09u", key);
    c.key = view_of_text(name);
    e = command_entry(&c);
    entry_stamp(e, (struct raft_pos){.index = index, .term = 1});
    return e;
}

static void drop(struct entry **entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        entry_unref(entries[i]);
}

static void write_log(unsigned count, raft_index keep_from)
{
    struct entry *entries[BATCH];
    struct log_write w = {.hard = {.term = 1, .vote = 1},
                          .first = log_last + 1,
                          .last = log_last + count,
                          .keep_from = keep_from,
                          .entries = entries};
    uint64_t start;

    for (unsigned i = 0; i < count; i++)
        entries[i] = set_at(log_last + 1 + i, i);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK(log_store_write(log_store, &w) == 0);
    samples[0] = now_ns(CLOCK_MONOTONIC) - start;
    log_last += count;
    drop(entries, count);
}

static void apply(unsigned count, unsigned key, unsigned step)
{
    static struct command_result results[BATCH];
    struct entry *entries[BATCH];
    uint64_t start;

    for (unsigned i = 0; i < count; i++)
        entries[i] = set_at(kv_last + 1 + i, key + i * step);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK(kv_store_apply(kv, entries, count, results, NULL) == 0);
    CHECK(kv_store_commit(kv) == 0);
    samples[0] = now_ns(CLOCK_MONOTONIC) - start;
    kv_last += count;
    drop(entries, count);
}

static void report(const char *what, unsigned rounds, uint64_t cpu)
{
    double sum = 0;

    for (unsigned i = 0; i < rounds; i++)
        sum += (double)samples[i] / 1000.0;
    printf("%-40s median %8.2f us  mean %8.2f  p99 %9.2f  CPU %7.2f\n", what, quantile(rounds, 0.5), sum / rounds,
           quantile(rounds, 0.99), (double)cpu / 1000.0 / rounds);
}

static void bench_log(const char *what, unsigned count, unsigned rounds, unsigned keep)
{
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);

    for (unsigned i = 0; i < rounds; i++) {
        write_log(count, keep > 0 && log_last > keep ? log_last - keep : 0);
        samples[rounds - 1 - i] = samples[0];
    }
    report(what, rounds, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void bench_apply(const char *what, unsigned count, unsigned rounds, unsigned keys)
{
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);

    for (unsigned i = 0; i < rounds; i++) {
        apply(count, random_below(keys - count * 7), 7);
        samples[rounds - 1 - i] = samples[0];
    }
    report(what, rounds, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void bench_get(const char *what, unsigned rounds, unsigned keys)
{
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);

    for (unsigned i = 0; i < rounds; i++) {
        char name[32];
        struct kv_view *v;
        struct view value;
        raft_index index;
        uint64_t start;

        snprintf(name, sizeof name, "key/%09u", random_below(keys));
        start = now_ns(CLOCK_MONOTONIC);
        CHECK(kv_view_open(kv, &v) == 0);
        CHECK(kv_view_get(v, view_of_text(name), &value, &index) == 0);
        kv_view_close(v);
        samples[i] = now_ns(CLOCK_MONOTONIC) - start;
    }
    report(what, rounds, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void bench_read(const char *what, unsigned count, unsigned rounds)
{
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    struct entry *entries[BATCH];

    for (unsigned i = 0; i < rounds; i++) {
        raft_index first = log_last / 2 + random_below((unsigned)(log_last / 4));
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        unsigned got;

        CHECK(log_store_read(log_store, first, first + count - 1, UINT64_MAX, count, entries, &got) == 0);
        CHECK(got == count);
        samples[i] = now_ns(CLOCK_MONOTONIC) - start;
        drop(entries, got);
    }
    report(what, rounds, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void open_both(const char *what)
{
    uint64_t start = now_ns(CLOCK_MONOTONIC), middle, end;
    struct log_state state;
    struct kv_position position;
    struct why why = {""};

    if (log_store_open(log_path, SIZE, &log_store, &why) != 0)
        DIE("%s", why.text);
    CHECK(log_store_state(log_store, &state) == 0);
    middle = now_ns(CLOCK_MONOTONIC);
    if (kv_store_open(kv_path, SIZE, 64, &kv, &why) != 0)
        DIE("%s", why.text);
    CHECK(kv_store_position(kv, &position) == 0);
    end = now_ns(CLOCK_MONOTONIC);
    log_last = state.last;
    kv_last = position.applied.index;
    printf("%-40s log %8.2f ms, map %8.2f ms\n", what, (double)(middle - start) / 1e6, (double)(end - middle) / 1e6);
}

static void close_both(void)
{
    log_store_close(log_store);
    kv_store_close(kv);
}

static void fill(void)
{
    struct kv_stats stats;

    while (log_last < MILLION)
        write_log(BATCH, 0);
    for (unsigned key = 0; key < MILLION; key += BATCH)
        apply(BATCH, key, 1);
    CHECK(kv_store_stats(kv, &stats) == 0);
    printf("a million of each: log %llu MB, map %llu MB\n",
           (unsigned long long)log_store_disk_size(log_store) / 1000000,
           (unsigned long long)stats.bytes_file / 1000000);
}

int main(int argc, char **argv)
{
    struct datadir *d;
    struct why why = {""};

    if (argc != 2) {
        fprintf(stderr, "usage: bench_store NEW-DIRECTORY\n");
        return 64;
    }
    if (datadir_open(argv[1], "bench_store", &d, &why) != 0)
        DIE("%s", why.text);
    snprintf(log_path, sizeof log_path, "%s", datadir_log_path(d));
    snprintf(kv_path, sizeof kv_path, "%s", datadir_kv_path(d));
    open_both("start, new");
    bench_log("log: write 1 entry, growing", 1, 2000, 0);
    bench_log("log: write 64 entries, growing", 64, 500, 0);
    bench_log("log: write 1 entry, prefix deleted", 1, 4000, 5000);
    bench_log("log: write 64 entries, prefix deleted", 64, 1000, 5000);
    apply(1, 0, 1);
    bench_apply("map: apply 1, 100 000 keys", 1, 2000, 100000);
    bench_apply("map: apply 64, 100 000 keys", 64, 500, 100000);
    fill();
    bench_log("log: write 1 entry, a million there", 1, 2000, 0);
    bench_log("log: write 64 entries, a million there", 64, 500, 0);
    bench_apply("map: apply 1, a million keys", 1, 2000, MILLION);
    bench_apply("map: apply 64, a million keys", 64, 500, MILLION);
    bench_get("map: view, get, close, a million keys", 100000, MILLION);
    bench_read("log: read 1 entry", 1, 10000);
    bench_read("log: read 64 entries", 64, 2000);
    close_both();
    open_both("start, a million entries and keys");
    close_both();
    CHECK(datadir_wipe(d, &(struct identity){0}, &why) == 0);
    datadir_close(d);
    return 0;
}
