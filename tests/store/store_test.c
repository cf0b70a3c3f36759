#include "store_test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[512];

const char *temp_make(void)
{
    const char *dir = getenv("TMPDIR");

    snprintf(root, sizeof root, "%s/raftd-store-XXXXXX", dir != NULL ? dir : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
    return root;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void temp_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_path(const char *name)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

bool path_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

struct entry *noop_at(raft_index index, raft_term term)
{
    struct entry *e = entry_new(RAFT_NOOP, 0);

    entry_seal(e);
    entry_stamp(e, (struct raft_pos){.index = index, .term = term});
    return e;
}

struct entry *command_at(raft_index index, raft_term term, const struct command *c)
{
    struct entry *e = command_entry(c);

    entry_stamp(e, (struct raft_pos){.index = index, .term = term});
    return e;
}

struct entry *set_at(raft_index index, raft_term term, const char *key, const void *value, size_t size)
{
    struct command c = {.op = COMMAND_SET, .key = view_of_text(key), .value = view_of(value, size)};

    return command_at(index, term, &c);
}

struct entry *config_at(raft_index index, raft_term term, unsigned members)
{
    struct members m = {.count = members};
    struct bytes out;
    struct entry *e;

    for (unsigned i = 0; i < members; i++) {
        m.list[i].id = i + 1;
        m.list[i].role = RAFT_VOTER;
        snprintf(m.list[i].name, sizeof m.list[i].name, "n%u", i + 1);
        snprintf(m.list[i].client, sizeof m.list[i].client, "localhost:%u", 4001 + i);
        snprintf(m.list[i].peer, sizeof m.list[i].peer, "localhost:%u", 14001 + i);
    }
    bytes_init(&out, MEMBERS_SIZE_MAX);
    members_encode(&m, &out);
    e = entry_new(RAFT_CONFIG, (uint32_t)out.size);
    memcpy(entry_room(e), out.data, out.size);
    bytes_clear(&out);
    entry_seal(e);
    entry_stamp(e, (struct raft_pos){.index = index, .term = term});
    return e;
}

int apply_and_commit(struct kv_store *s, struct entry *const *entries, unsigned count, struct command_result *results)
{
    int err = kv_store_apply(s, entries, count, results, NULL);

    return err == 0 ? kv_store_commit(s) : err;
}

void unref_all(struct entry **entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        entry_unref(entries[i]);
}

static uint32_t random_state = 1;

void random_seed(uint32_t seed)
{
    random_state = seed != 0 ? seed : 1;
}

uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13; /* xorshift, Marsaglia 2003 */
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

int run_tests(const char *name, void (*setup)(void), void (*teardown)(void), add_tests add)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    add(tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
