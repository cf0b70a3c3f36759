/* Dumps: the map to a file and back; whatever happens meanwhile, there is the old map or the new one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "store/dump_file.h"
#include "store_test.h"

#define MAP_SIZE (1ull << 28)
#define CLUSTER  77

static struct kv_store *from, *to;
static atomic_bool cancel;
static const struct raft_pos end = {40, 3};

static struct kv_store *open_map(const char *name)
{
    struct kv_store *s = NULL;
    struct why why = {""};

    ck_assert_msg(kv_store_open(temp_path(name), MAP_SIZE, 4, &s, &why) == 0, "%s", why.text);
    return s;
}

/* Entry 1 is a configuration of three; key i of `prefix` has a value of i * i * size bytes; the last index is `last`. */
static void fill(struct kv_store *s, const char *prefix, unsigned size, struct raft_pos last)
{
    struct command_result result[64];
    struct entry *entries[64];
    char key[32], *value = calloc(1, 64 * 64 * size + 1);

    entries[0] = config_at(1, 1, 3);
    for (unsigned i = 1; i < last.index; i++) {
        snprintf(key, sizeof key, "%s%u", prefix, i);
        entries[i] = set_at(i + 1, last.term, key, value, i * i * size);
    }
    ck_assert_int_eq(apply_and_commit(s, entries, (unsigned)last.index, result), 0);
    unref_all(entries, (unsigned)last.index);
    free(value);
}

static void setup(void)
{
    temp_make();
    atomic_store(&cancel, false);
    from = open_map("from");
    to = open_map("to");
    fill(from, "key", 100, end);
}

static void teardown(void)
{
    kv_store_close(from);
    kv_store_close(to);
    temp_remove(temp_path(""));
}

static struct dump_id dump(void)
{
    struct dump_id id = {.size = 0};

    ck_assert_int_eq(kv_store_dump(from, CLUSTER, temp_path("fresh"), temp_path("dump"), &cancel, &id), 0);
    ck_assert(!path_exists(temp_path("fresh")));
    return id;
}

static int load(void)
{
    return kv_store_load(to, CLUSTER, temp_path("dump"), &cancel);
}

static void expect_same(struct kv_store *a, struct kv_store *b)
{
    struct kv_view *x, *y;
    struct view key[2], value[2];
    raft_index index[2];
    int err = 0;

    ck_assert_int_eq(kv_view_open(a, &x), 0);
    ck_assert_int_eq(kv_view_open(b, &y), 0);
    ck_assert_uint_eq(kv_view_applied(x), kv_view_applied(y));
    ck_assert_int_eq(kv_view_seek(x, view_of(NULL, 0), false), 0);
    ck_assert_int_eq(kv_view_seek(y, view_of(NULL, 0), false), 0);
    while (err == 0) {
        err = kv_view_next(x, &key[0], &value[0], &index[0]);
        ck_assert_int_eq(kv_view_next(y, &key[1], &value[1], &index[1]), err);
        if (err != 0)
            break;
        ck_assert(view_equal(key[0], key[1]));
        ck_assert(view_equal(value[0], value[1]));
        ck_assert_uint_eq(index[0], index[1]);
    }
    kv_view_close(x);
    kv_view_close(y);
}

static struct kv_position position_of(struct kv_store *s)
{
    struct kv_position p;

    ck_assert_int_eq(kv_store_position(s, &p), 0);
    return p;
}

START_TEST(a_loaded_dump_is_the_map)
{
    struct dump_id id = dump();
    struct kv_position p;

    ck_assert_uint_eq(id.pos.index, end.index);
    ck_assert_uint_eq(id.pos.term, end.term);
    fill(to, "old", 1, (struct raft_pos){10, 1});
    ck_assert_int_eq(load(), 0);
    expect_same(from, to);
    p = position_of(to);
    ck_assert_uint_eq(p.applied.index, end.index);
    ck_assert_uint_eq(p.applied.term, end.term);
    ck_assert_uint_eq(p.config_index, 1);
    ck_assert_uint_eq(p.members.count, 3);
    kv_store_close(to);
    to = open_map("to");
    expect_same(from, to);
}
END_TEST

START_TEST(the_file_says_what_it_is)
{
    struct dump_id id = dump(), found;
    struct dump_file *f = dump_file_new(temp_path("dump"));

    ck_assert_int_eq(dump_file_open(f, &found), 0);
    ck_assert(dump_id_equal(&id, &found));
    ck_assert_int_eq(dump_file_remove(temp_path("dump")), 0);
    ck_assert_int_eq(dump_file_read(f, id.size - 8, &found.checksum, 8), 0); /* whoever has it open may go on */
    dump_file_close(f);
    ck_assert_int_eq(dump_file_open(f, &found), ERR_NOT_FOUND);
    dump_file_free(f);
}
END_TEST

/* Members with the same map give the same file, so one may end what another began. */
START_TEST(the_dump_of_a_loaded_map_is_the_same)
{
    struct dump_id first = dump(), second;

    ck_assert_int_eq(load(), 0);
    ck_assert_int_eq(kv_store_dump(to, CLUSTER, temp_path("fresh"), temp_path("second"), &cancel, &second), 0);
    ck_assert(dump_id_equal(&first, &second));
}
END_TEST

/* A start can tell a map whose log may not know of it (shared.c). */
START_TEST(installed_is_until_something_is_applied)
{
    struct entry *e = set_at(end.index + 1, end.term, "more", "x", 1);
    struct command_result result;

    dump();
    ck_assert(!position_of(to).installed);
    ck_assert_int_eq(load(), 0);
    ck_assert(position_of(to).installed);
    ck_assert_int_eq(apply_and_commit(to, &e, 1, &result), 0);
    ck_assert(!position_of(to).installed);
    entry_unref(e);
}
END_TEST

START_TEST(readers_keep_what_they_see)
{
    struct kv_view *v;
    struct view value;
    raft_index index;

    dump();
    fill(to, "old", 1, (struct raft_pos){10, 1});
    ck_assert_int_eq(kv_view_open(to, &v), 0);
    ck_assert_int_eq(load(), 0);
    ck_assert_int_eq(kv_view_get(v, view_of_text("old3"), &value, &index), 0);
    ck_assert_int_eq(kv_view_get(v, view_of_text("key3"), &value, &index), ERR_NOT_FOUND);
    kv_view_close(v);
    ck_assert_int_eq(kv_view_open(to, &v), 0);
    ck_assert_int_eq(kv_view_get(v, view_of_text("old3"), &value, &index), ERR_NOT_FOUND);
    kv_view_close(v);
}
END_TEST

/* TESTING D8: never an index without its data. */
START_TEST(a_damaged_dump_leaves_the_old_map)
{
    struct dump_id id = dump();
    int fd = open(temp_path("dump"), O_RDWR);
    uint8_t byte;

    fill(to, "old", 1, (struct raft_pos){10, 1});
    for (uint64_t at = 0; at < id.size; at += id.size / 97) {
        ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 0x10;
        ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
        ck_assert_int_ne(load(), 0);
        ck_assert_uint_eq(position_of(to).applied.index, 10);
        byte ^= 0x10;
        ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    ck_assert_int_eq(ftruncate(fd, (off_t)id.size - 1), 0);
    ck_assert_int_eq(load(), ERR_CORRUPT);
    ck_assert_int_eq(ftruncate(fd, 0), 0); /* TESTING D7 */
    ck_assert_int_eq(load(), ERR_CORRUPT);
    close(fd);
    ck_assert_int_eq(kv_store_load(to, CLUSTER, temp_path("nothing"), &cancel), ERR_NOT_FOUND);
    dump();
    ck_assert_int_eq(kv_store_load(to, CLUSTER + 1, temp_path("dump"), &cancel), ERR_INVALID);
    ck_assert_uint_eq(position_of(to).applied.index, 10);
    ck_assert_int_eq(load(), 0);
}
END_TEST

START_TEST(it_stops_when_asked)
{
    struct dump_id id = dump();

    atomic_store(&cancel, true);
    ck_assert_int_eq(load(), ERR_STOPPED);
    ck_assert_int_eq(kv_store_dump(from, CLUSTER, temp_path("fresh"), temp_path("dump"), &cancel, &id), ERR_STOPPED);
    ck_assert(!path_exists(temp_path("fresh")));
    atomic_store(&cancel, false);
    ck_assert_int_eq(load(), 0);
}
END_TEST

/* A backup is the dump in a file that has no name, and so is gone with whoever held it. */
START_TEST(a_backup_is_the_dump_in_a_nameless_file)
{
    struct dump_id id = dump(), other;
    struct dump_file *f = dump_file_new(temp_path("scratch")), *g = dump_file_new(temp_path("dump"));
    uint8_t *a = malloc(id.size), *b = malloc(id.size);

    ck_assert_int_eq(dump_file_create_nameless(f), 0);
    ck_assert(!path_exists(temp_path("scratch")));
    ck_assert_int_eq(kv_store_backup(from, CLUSTER, f, &cancel, &other), 0);
    ck_assert(dump_id_equal(&id, &other));
    ck_assert_int_eq(dump_file_open(g, NULL), 0);
    ck_assert_int_eq(dump_file_read(f, 0, a, id.size), 0);
    ck_assert_int_eq(dump_file_read(g, 0, b, id.size), 0);
    ck_assert_mem_eq(a, b, id.size);
    atomic_store(&cancel, true);
    ck_assert_int_eq(kv_store_backup(from, CLUSTER, f, &cancel, &other), ERR_STOPPED);
    dump_file_free(f);
    dump_file_free(g);
    free(a);
    free(b);
}
END_TEST

/* A new map of a dump stands for what it is told to stand for, and is empty where the dump is no good. */
START_TEST(a_restored_map_stands_for_another_position)
{
    struct kv_position as = {.applied = {100, 9}, .config_index = 100};
    struct dump_id id = dump();
    struct dump_file *f = dump_file_new(temp_path("dump"));
    struct why why = {""};
    struct kv_view *v;
    struct view value;
    raft_index index;
    int fd = open(temp_path("dump"), O_RDWR);
    uint8_t byte;

    as.members.count = 1;
    as.members.list[0] = (struct member){.id = 9, .role = RAFT_VOTER, .name = "nine", .client = "a:1", .peer = "a:2"};
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)id.size / 2), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)id.size / 2), 1);
    ck_assert_int_eq(dump_file_open(f, NULL), 0);
    ck_assert_int_eq(kv_store_restore(to, f, &as, &why), ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(why.text, "damaged at byte"));
    ck_assert_uint_eq(position_of(to).applied.index, 0);
    ck_assert(!kv_store_has_client_data(to));
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)id.size / 2), 1);
    ck_assert_int_eq(kv_store_restore(to, f, &as, &why), 0);
    ck_assert_uint_eq(position_of(to).applied.index, 100);
    ck_assert_uint_eq(position_of(to).applied.term, 9);
    ck_assert_uint_eq(position_of(to).config_index, 100);
    ck_assert_str_eq(position_of(to).members.list[0].name, "nine");
    ck_assert_int_eq(kv_view_open(to, &v), 0);
    ck_assert_int_eq(kv_view_get(v, view_of_text("key7"), &value, &index), 0);
    ck_assert_uint_eq(value.size, 4900);
    ck_assert_uint_eq(index, 8); /* tags of values survive */
    kv_view_close(v);
    close(fd);
    dump_file_free(f);
}
END_TEST

/* A kill at any moment of a load leaves the old map or the new one. */
START_TEST(a_kill_leaves_one_of_the_two)
{
    dump();
    fill(to, "old", 1, (struct raft_pos){10, 1});
    kv_store_close(to);
    for (unsigned us = 100; us < 30000; us = us * 3 / 2) {
        pid_t pid = fork();
        raft_index applied;

        if (pid == 0) {
            to = open_map("to");
            (void)load();
            _exit(0);
        }
        usleep(us);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        to = open_map("to");
        applied = position_of(to).applied.index;
        ck_assert(applied == 10 || applied == end.index);
        if (applied == end.index)
            expect_same(from, to);
        kv_store_close(to);
    }
    to = open_map("to");
}
END_TEST

/* Of a dump that is there in part, what holds together is known; a wrong byte ends it. */
START_TEST(a_part_is_good_as_far_as_it_is_whole)
{
    struct dump_id id = dump();
    uint64_t cluster = 0, good = 0, last = 0;
    struct raft_pos pos = {0, 0};
    uint8_t byte = 0;
    int fd = open(temp_path("dump"), O_RDWR);

    ck_assert_int_eq(dump_file_peek(temp_path("dump"), &cluster, &pos), 0);
    ck_assert_uint_eq(cluster, CLUSTER);
    ck_assert_uint_eq(pos.index, end.index);
    ck_assert_int_eq(dump_file_whole(temp_path("dump"), &cancel, &good), 0);
    ck_assert_uint_eq(good, id.size);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)id.size - 30), 1); /* of the last value */
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)id.size - 30), 1);
    ck_assert_int_eq(dump_file_whole(temp_path("dump"), &cancel, &good), 0);
    ck_assert_uint_lt(good, id.size);
    for (uint64_t size = id.size - 1; size > id.size / 100; size -= id.size / 100) {
        ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
        ck_assert_int_eq(dump_file_whole(temp_path("dump"), &cancel, &good), 0);
        ck_assert_uint_le(good, size);
        ck_assert(last == 0 || good <= last);
        last = good;
    }
    ck_assert_int_eq(ftruncate(fd, 10), 0);
    ck_assert_int_eq(dump_file_whole(temp_path("dump"), &cancel, &good), 0);
    ck_assert_uint_eq(good, 0);
    ck_assert_int_eq(dump_file_peek(temp_path("dump"), &cluster, &pos), ERR_CORRUPT);
    close(fd);
}
END_TEST

/* The map that takes over has as many readers as the one before it, and a view that outlives two of them still sees its own;
 * of each old file nothing is left once nobody sees it any more. */
START_TEST(map_after_map_is_loaded)
{
    struct kv_view *old, *views[4];
    struct kv_stats stats;
    struct view value;
    raft_index index;

    dump();
    fill(to, "old", 1, (struct raft_pos){10, 1});
    ck_assert_int_eq(kv_view_open(to, &old), 0);
    for (unsigned round = 0; round < 3; round++) {
        ck_assert_int_eq(load(), 0);
        for (unsigned i = 0; i < 4 && round > 0; i++)
            ck_assert_int_eq(kv_view_open(to, &views[i]), 0);
        for (unsigned i = 0; i < 4 && round > 0; i++) {
            ck_assert_int_eq(kv_view_get(views[i], view_of_text("key3"), &value, &index), 0);
            kv_view_close(views[i]);
        }
        ck_assert_int_eq(kv_view_get(old, view_of_text("old3"), &value, &index), 0);
        expect_same(from, to);
        ck_assert(!path_exists(temp_path("to.next")));
    }
    kv_view_close(old);
    ck_assert_int_eq(kv_store_stats(from, &stats), 0);
    index = stats.bytes_used;
    ck_assert_int_eq(kv_store_stats(to, &stats), 0);
    ck_assert_uint_le(stats.bytes_file, 2 * index + (1u << 20));
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, a_loaded_dump_is_the_map);
    tcase_add_test(tc, the_file_says_what_it_is);
    tcase_add_test(tc, the_dump_of_a_loaded_map_is_the_same);
    tcase_add_test(tc, installed_is_until_something_is_applied);
    tcase_add_test(tc, readers_keep_what_they_see);
    tcase_add_test(tc, a_damaged_dump_leaves_the_old_map);
    tcase_add_test(tc, it_stops_when_asked);
    tcase_add_test(tc, a_part_is_good_as_far_as_it_is_whole);
    tcase_add_test(tc, map_after_map_is_loaded);
    tcase_add_test(tc, a_backup_is_the_dump_in_a_nameless_file);
    tcase_add_test(tc, a_restored_map_stands_for_another_position);
    tcase_add_test(tc, a_kill_leaves_one_of_the_two);
}

int main(void)
{
    return run_tests("dump", setup, teardown, add);
}
