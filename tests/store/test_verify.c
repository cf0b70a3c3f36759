/* Verify: nothing is said of a sound log and map; each thing that can be wrong is told; a spoiled file ends at most the process
 * that looks at it; and nothing is changed. */
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/codec.h"
#include "spoil.h"
#include "store/verify.h"
#include "store_test.h"

#define MAP_SIZE (1ull << 28)
#define LAST     60u

static char told[4096];

static void note(void *context, const char *fault)
{
    size_t used = strlen(told);

    (void)context;
    snprintf(told + used, sizeof told - used, "%s\n", fault);
}

/* Entry 1 is a configuration, the others set keys; the term grows every 20 entries. The first half of the log is gone. */
static void make(void)
{
    struct log_store *log = NULL;
    struct kv_store *kv = NULL;
    struct entry *entries[LAST];
    struct command_result results[LAST];
    struct why why = {""};
    char key[16];

    for (unsigned i = 0; i < LAST; i++) {
        snprintf(key, sizeof key, "key%u", i);
        entries[i] = i == 0    ? config_at(1, 1, 3)
                     : i == 50 ? config_at(51, 3, 2)
                               : set_at(i + 1, 1 + i / 20, key, "some value", 10);
    }
    ck_assert_int_eq(log_store_open(temp_path("log"), MAP_SIZE, &log, &why), 0);
    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, 4, &kv, &why), 0);
    ck_assert_int_eq(
        log_store_write(
            log, &(struct log_write){.hard = {.term = 3, .vote = 2}, .first = 1, .last = LAST, .entries = entries}),
        0);
    ck_assert_int_eq(
        log_store_write(
            log, &(struct log_write){.hard = {.term = 3, .vote = 2}, .first = LAST + 1, .last = LAST, .keep_from = 36}),
        0);
    ck_assert_int_eq(apply_and_commit(kv, entries, LAST - 5, results), 0);
    log_store_close(log);
    kv_store_close(kv);
    unref_all(entries, LAST);
}

static void setup(void)
{
    temp_make();
    told[0] = '\0';
    make();
}

static void teardown(void)
{
    temp_remove(temp_path(""));
}

static struct verify_map map;
static struct verify_log logged;

static unsigned look(void)
{
    struct verify v = {.report = note};

    told[0] = '\0';
    memset(&map, 0, sizeof map);
    memset(&logged, 0, sizeof logged);
    verify_map(temp_path("kv"), &v, &map);
    verify_log(temp_path("log"), &map, &v, &logged);
    return v.faults;
}

static void expect(const char *fault)
{
    ck_assert_uint_ne(look(), 0);
    ck_assert_msg(strstr(told, fault) != NULL, "\"%s\" is not in:\n%s", fault, told);
}

/* ---- behind raftd's back ---- */

static MDB_env *env;
static MDB_txn *txn;

static MDB_dbi begin(const char *which, const char *table)
{
    MDB_dbi dbi;

    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_mapsize(env, MAP_SIZE), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 4), 0);
    ck_assert_int_eq(mdb_env_open(env, temp_path(which), 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, table, 0, &dbi), 0);
    return dbi;
}

static void end(void)
{
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static MDB_val number(size_t *index)
{
    return (MDB_val){.mv_size = sizeof *index, .mv_data = index};
}

static void change_entry(size_t index, size_t at, uint8_t by)
{
    MDB_dbi dbi = begin("log", "entries");
    MDB_val key = number(&index), data;
    uint8_t copy[4096];

    ck_assert_int_eq(mdb_get(txn, dbi, &key, &data), 0);
    ck_assert_uint_lt(at, data.mv_size);
    memcpy(copy, data.mv_data, data.mv_size);
    copy[at] ^= by;
    data.mv_data = copy;
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &data, 0), 0);
    end();
}

static void put_entry(size_t index, struct entry *e)
{
    MDB_dbi dbi = begin("log", "entries");
    MDB_val key = number(&index), data = {.mv_size = e->size, .mv_data = e->bytes};

    ck_assert_int_eq(mdb_put(txn, dbi, &key, &data, 0), 0);
    end();
    entry_unref(e);
}

static void take_out(const char *table, size_t index)
{
    MDB_dbi dbi = begin("log", table);
    MDB_val key = number(&index);

    ck_assert_int_eq(mdb_del(txn, dbi, &key, NULL), 0);
    end();
}

/* A record beside a table, with the checksum that belongs to it. */
static void put_record(const char *which, const char *name, uint64_t a, uint64_t b)
{
    MDB_dbi dbi = begin(which, NULL);
    MDB_val key = {.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name}, data;
    uint8_t value[24];

    codec_put_u64(value + 8, a);
    codec_put_u64(value + 16, b);
    codec_put_u64(value, checksum(value + 8, 16, 0));
    data = (MDB_val){.mv_size = sizeof value, .mv_data = value};
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &data, 0), 0);
    end();
}

/* ---- tests ---- */

START_TEST(nothing_is_said_of_what_is_sound)
{
    ck_assert_msg(look() == 0, "%s", told);
    ck_assert(map.whole && logged.whole);
    ck_assert_uint_eq(map.applied.index, LAST - 5);
    ck_assert_uint_eq(map.keys, LAST - 7); /* two are configurations */
    ck_assert_uint_eq(logged.base.index, 35);
    ck_assert_uint_eq(logged.last, LAST);
    ck_assert_uint_eq(logged.hard.vote, 2);
}
END_TEST

START_TEST(what_is_not_there_is_told_and_not_made)
{
    temp_remove(temp_path("kv"));
    expect("kv/data.mdb is not there");
    ck_assert(!path_exists(temp_path("kv")));
}
END_TEST

START_TEST(faults_of_the_log_are_told)
{
    change_entry(40, 33, 1);
    expect("entry 40: its checksum is wrong");
    change_entry(40, 33, 1);
    ck_assert_msg(look() == 0, "%s", told);
    put_entry(45, set_at(46, 3, "k", "v", 1));
    expect("entry 45 says that it is 46");
    put_entry(45, set_at(45, 2, "k", "v", 1));
    expect("entry 45: its term is 2, after 3");
    put_entry(45, set_at(45, 3, "k", "v", 1));
    take_out("entries", 50);
    expect("after entry 49 comes entry 51");
    put_entry(50, set_at(50, 3, "k", "v", 1));
    take_out("configs", 51);
    expect("entry 51 is a configuration, but is not listed as one");
    expect("0 configurations are listed, but there are 1");
}
END_TEST

START_TEST(faults_beside_the_log_are_told)
{
    take_out("runs", 41);
    expect("term 3 begins at entry 41, but is not listed so");
    put_record("log", "hard", 2, 1);
    expect("its hard state has term 2, but its last entry 3");
    put_record("log", "base", 30, 1);
    expect("after entry 30 comes entry 36");
}
END_TEST

static void doubt(void)
{
    struct kv_store *kv = NULL;
    struct why why = {""};

    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, 4, &kv, &why), 0);
    ck_assert_int_eq(kv_store_doubt(kv, "somebody said so"), 0);
    kv_store_close(kv);
}

START_TEST(faults_of_the_map_are_told)
{
    ck_assert_int_eq(spoil_record(temp_path("kv"), "key7", 140), 0);
    expect("record 51: its hash is not that of its key, index and value");
    ck_assert_int_eq(spoil_record(temp_path("kv"), "key7", 140), 0);
    ck_assert_msg(look() == 0, "%s", told);
    ck_assert_int_eq(spoil_sum(temp_path("kv"), 1), 0);
    expect("the hash of its content is not the one that was kept with entry 55");
    ck_assert_int_eq(spoil_sum(temp_path("kv"), UINT64_MAX), 0);
    ck_assert_msg(look() == 0, "%s", told);
    doubt();
    expect("it is not to be trusted: somebody said so");
    ck_assert_int_eq(unlink(temp_path("kv.doubt")), 0);
    ck_assert_msg(look() == 0, "%s", told);
    ck_assert_int_eq(spoil_format(temp_path("kv")), 0);
    expect("it has format 1");
}
END_TEST

START_TEST(a_map_and_a_log_of_two_servers_are_told)
{
    char other[1024];

    snprintf(other, sizeof other, "%s", temp_path("other"));
    ck_assert_int_eq(rename(temp_path("log"), other), 0);
    ck_assert_int_eq(rename(temp_path("kv"), temp_path("kv.1")), 0);
    make();
    put_entry(55, set_at(55, 4, "k", "v", 1));
    expect("the map is at entry 55 of term 3, which is not in the log of 36 to 60");
}
END_TEST

/* A server that is killed leaves its last writes in the journal alone. */
static void write_and_be_killed(void)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        struct log_store *log = NULL;
        struct why why = {""};

        if (log_store_open(temp_path("log"), MAP_SIZE, &log, &why) != 0)
            _exit(1);
        for (raft_index i = LAST + 1; i <= LAST + 3; i++) {
            struct entry *e = i == LAST + 2 ? config_at(i, 4, 3) : set_at(i, 4, "k", "v", 1);

            if (log_store_write(log, &(struct log_write){.hard = {.term = 4}, .first = i, .last = i, .entries = &e}) !=
                0)
                _exit(1);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static void change_file(const char *name, off_t at)
{
    int fd = open(temp_path(name), O_RDWR);
    uint8_t byte;

    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

START_TEST(the_journal_is_looked_at_too)
{
    write_and_be_killed();
    ck_assert_msg(look() == 0, "%s", told);
    ck_assert_uint_eq(logged.last, LAST + 3);
    ck_assert_uint_eq(logged.hard.term, 4);
    change_file("log/journal", 100); /* in either half; one of them is old */
    change_file("log/journal", (1 << 20) + 100);
    expect("journal is damaged: record 0 of generation");
    ck_assert_int_eq(truncate(temp_path("log/journal"), 100), 0);
    expect("journal is damaged: it should have");
}
END_TEST

/* Whatever is spoiled: the process that looks ends, says something or nothing, and never hangs. LMDB itself may end it. */
START_TEST(a_spoiled_file_ends_at_most_the_process_that_looks)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        pid_t pid = 0;
        int status = 0;

        ck_assert_int_ge(spoil_file(temp_path(seed % 2 ? "kv/data.mdb" : "log/data.mdb"), 200000u / seed, seed), 0);
        pid = fork();
        if (pid == 0) {
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(1);
            alarm(20);
            look();
            _exit(0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM, "seed %u", seed);
    }
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, nothing_is_said_of_what_is_sound);
    tcase_add_test(tc, what_is_not_there_is_told_and_not_made);
    tcase_add_test(tc, faults_of_the_log_are_told);
    tcase_add_test(tc, faults_beside_the_log_are_told);
    tcase_add_test(tc, faults_of_the_map_are_told);
    tcase_add_test(tc, a_map_and_a_log_of_two_servers_are_told);
    tcase_add_test(tc, the_journal_is_looked_at_too);
    tcase_add_test(tc, a_spoiled_file_ends_at_most_the_process_that_looks);
}

int main(void)
{
    return run_tests("verify", setup, teardown, add);
}
