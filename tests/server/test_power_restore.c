/* A power cut while a backup is restored: what could be found then either is the whole new cluster, or never starts as one;
 * and once it was said to be there, it is [TESTING 4c1, A11]. RAFTD_CRASH_STATES=N looks at N states, SEED=N at others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/restore.h"
#include "../store/crash_disk.h"
#include "../store/history.h"
#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"
#include "store/datadir.h"

#define STATES  200u
#define MAP_MAX (64u << 20)

static char root[500];
static unsigned states, wanted, whole;
static bool done; /* it was said to be there */
static raft_index position;

static void is_whole(struct datadir *d)
{
    struct shared_start start = {.self = datadir_identity(d)->id,
                                 .name = datadir_identity(d)->name,
                                 .client = "127.0.0.1:1001",
                                 .peer = "127.0.0.1:1",
                                 .cluster = datadir_identity(d)->cluster,
                                 .joined = datadir_identity(d)->joined,
                                 .election_ms = ELECTION_MS,
                                 .heartbeat_ms = HEARTBEAT_MS,
                                 .log_max_entries = UINT64_MAX,
                                 .log_max_bytes = UINT64_MAX};
    struct shared *s = calloc(1, sizeof *s);
    struct log_store *log = NULL;
    struct kv_store *kv = NULL;
    struct why why = {""};
    struct kv_stats stats;

    ck_assert_msg(datadir_check_log(d, &why) == 0, "%s", why.text);
    ck_assert_msg(log_store_open(datadir_log_path(d), MAP_MAX, &log, &why) == 0, "%s", why.text);
    ck_assert_msg(kv_store_open(datadir_kv_path(d), MAP_MAX, 8, &kv, &why) == 0, "%s", why.text);
    ck_assert_msg(shared_open(s, &start, log, kv, 1000, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(s->visible, position + 1);
    ck_assert_int_eq(kv_store_stats(kv, &stats), 0);
    ck_assert_uint_eq(stats.keys, 100);
    shared_close(s);
    free(s);
    kv_store_close(kv);
    log_store_close(log);
    whole++;
}

static void look(void)
{
    struct datadir *d = NULL;
    struct why why = {""};
    char path[600], inner[620];
    bool starts = false;

    if (!done && states < wanted / 2 && random_below(2) != 0)
        return;
    snprintf(path, sizeof path, "%s.cut", root);
    snprintf(inner, sizeof inner, "%s/new", path);
    crash_disk_make(path);
    starts = path_exists(inner) && datadir_open(inner, "nobody", &d, &why) == 0;
    if (starts && datadir_identity(d)->cluster != 0)
        is_whole(d);
    else if (starts) /* an empty directory is a place like any other */
        ck_assert(!path_exists(datadir_kv_path(d)));
    ck_assert(!done || (starts && datadir_identity(d)->cluster != 0));
    datadir_close(d);
    temp_remove(path);
    states++;
}

static void make_backup(const char *path)
{
    struct kv_store *kv = NULL;
    atomic_bool cancel = false;
    struct dump_id id;

    ck_assert_int_eq(kv_store_open(temp_path("source"), MAP_MAX, 8, &kv, NULL), 0);
    for (raft_index i = 1; i <= 101; i++) {
        struct entry *e = i == 1 ? config_at(1, 1, 3) : NULL;
        struct command_result result;
        char key[16];

        snprintf(key, sizeof key, "k%03u", (unsigned)i);
        if (e == NULL)
            e = set_at(i, 1, key, root, 400);
        ck_assert_int_eq(apply_and_commit(kv, &e, 1, &result), 0);
        entry_unref(e);
    }
    ck_assert_int_eq(kv_store_dump(kv, CLUSTER, temp_path("backup.new"), path, &cancel, &id), 0);
    position = id.pos.index;
    kv_store_close(kv);
}

START_TEST(a_power_cut_while_a_backup_is_restored)
{
    const char *hand = getenv("RAFTD_CRASH_STATES");
    char backup[600], target[600], command[] = "restore";

    wanted = hand != NULL ? (unsigned)strtoul(hand, NULL, 10) : STATES;
    temp_make();
    snprintf(root, sizeof root, "%s", temp_path("place"));
    snprintf(backup, sizeof backup, "%s", temp_path("backup"));
    snprintf(target, sizeof target, "%s/new", root);
    make_backup(backup);
    while (states < wanted) {
        char *arguments[] = {command, backup, target, NULL};

        done = false;
        ck_assert_int_eq(mkdir(root, 0700), 0);
        crash_disk_record(root, look);
        ck_assert_int_eq(restore_main(3, arguments), 0);
        done = true;
        for (unsigned i = 0; i < 3; i++)
            look();
        crash_disk_stop();
        temp_remove(root);
    }
    ck_assert_uint_gt(whole, 3);
    printf("%u states, %u of them whole\n", states, whole);
    temp_remove(temp_path("."));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_power_cut_while_a_backup_is_restored};
    const char *seed = getenv("SEED");

    crash_disk_in_memory();
    random_seed(seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1);
    setenv("CK_DEFAULT_TIMEOUT", "3600", 0);
    return run_suite("power_restore", tests, 1);
}
