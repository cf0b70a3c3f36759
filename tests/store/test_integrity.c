/* The map's hash, and the hashes of its records: whatever comes back from the disk otherwise than it was written is noticed
 * (TESTING A12, D8). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spoil.h"
#include "store/dump_file.h"
#include "store_test.h"

#define MAP_SIZE (1ull << 28)
#define READERS  4u

static struct kv_store *s;
static raft_index applied;

static struct kv_store *open_at(const char *name)
{
    struct kv_store *out = NULL;
    struct why why = {""};

    ck_assert_msg(kv_store_open(temp_path(name), MAP_SIZE, READERS, &out, &why) == 0, "%s", why.text);
    return out;
}

static void setup(void)
{
    temp_make();
    applied = 0;
    s = open_at("kv");
}

static void teardown(void)
{
    kv_store_close(s);
    temp_remove(temp_path(""));
}

static uint64_t hash_of(struct kv_store *store)
{
    struct kv_position p;

    ck_assert_int_eq(kv_store_position(store, &p), 0);
    return p.hash;
}

static void apply_to(struct kv_store *store, struct entry *e)
{
    struct command_result result;

    ck_assert_int_eq(apply_and_commit(store, &e, 1, &result), 0);
    entry_unref(e);
}

static void set(const char *key, const char *value)
{
    apply_to(s, set_at(++applied, 1, key, value, strlen(value)));
}

static void delete_key(const char *key)
{
    apply_to(s, command_at(++applied, 1, &(struct command){.op = COMMAND_DELETE, .key = view_of_text(key)}));
}

static int get(const char *key)
{
    struct kv_view *v = NULL;
    struct view value;
    raft_index index;
    int err;

    ck_assert_int_eq(kv_view_open(s, &v), 0);
    err = kv_view_get(v, view_of_text(key), &value, &index);
    kv_view_close(v);
    return err;
}

static void reopen(void)
{
    kv_store_close(s);
    s = open_at("kv");
}

static void spoil(const char *key, size_t bit)
{
    kv_store_close(s);
    ck_assert_int_eq(spoil_record(temp_path("kv"), key, bit), 0);
    s = open_at("kv");
}

START_TEST(hash_is_that_of_the_content)
{
    uint64_t empty = hash_of(s), one = 0, two = 0;

    set("a", "1");
    one = hash_of(s);
    set("b", "2");
    two = hash_of(s);
    ck_assert_uint_ne(empty, one);
    ck_assert_uint_ne(one, two);
    delete_key("b");
    ck_assert_uint_eq(hash_of(s), one); /* whatever the way that led there */
    delete_key("absent");
    ck_assert_uint_eq(hash_of(s), one);
    set("a", "1");
    ck_assert_uint_ne(hash_of(s), one); /* its ETag is another one */
    delete_key("a");
    ck_assert_uint_eq(hash_of(s), empty);
    reopen();
    ck_assert_uint_eq(hash_of(s), empty);
}
END_TEST

START_TEST(hash_covers_the_configuration)
{
    uint64_t before = hash_of(s), first = 0;

    apply_to(s, config_at(++applied, 1, 3));
    first = hash_of(s);
    ck_assert_uint_ne(before, first);
    apply_to(s, config_at(++applied, 1, 2));
    ck_assert_uint_ne(first, hash_of(s));
    first = hash_of(s);
    reopen();
    ck_assert_uint_eq(first, hash_of(s));
    set("a", "1");
    delete_key("a");
    ck_assert_uint_eq(first, hash_of(s));
}
END_TEST

/* The same entries in other batches, with other commits, give the same hash after each of them. */
START_TEST(each_entry_has_a_hash)
{
    struct kv_store *other = open_at("other");
    struct entry *entries[40];
    struct command_result results[40];
    uint64_t at_once[40], one = 0;
    unsigned count = sizeof entries / sizeof entries[0];

    random_seed(5);
    for (unsigned i = 0; i < count; i++) {
        char key[8], value[8];

        snprintf(key, sizeof key, "k%u", random_below(5));
        snprintf(value, sizeof value, "v%u", i);
        entries[i] = i == 7 ? config_at(i + 1, 1, 3)
                     : random_below(4) == 0
                         ? command_at(i + 1, 1, &(struct command){.op = COMMAND_DELETE, .key = view_of_text(key)})
                         : set_at(i + 1, 1, key, value, strlen(value));
    }
    ck_assert_int_eq(kv_store_apply(s, entries, count, results, at_once), 0);
    ck_assert_int_eq(kv_store_commit(s), 0);
    ck_assert_uint_eq(at_once[count - 1], hash_of(s));
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(kv_store_apply(other, &entries[i], 1, results, &one), 0);
        ck_assert_uint_eq(one, at_once[i]);
        if (random_below(3) == 0)
            ck_assert_int_eq(kv_store_commit(other), 0);
    }
    ck_assert_int_eq(kv_store_commit(other), 0);
    ck_assert_uint_eq(hash_of(other), hash_of(s));
    unref_all(entries, count);
    kv_store_close(other);
}
END_TEST

/* Any bit of the index, of the hash or of the value. */
START_TEST(a_flipped_bit_is_noticed_by_whoever_reads)
{
    static const size_t bits[] = {0, 13, 63, 64, 127, 128, 150, 1u << 20};

    set("good", "value");
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        uint64_t before = 0;

        set("key", "a value of some bytes");
        before = hash_of(s);
        ck_assert_int_eq(get("key"), 0);
        spoil("key", bits[i]);
        ck_assert_int_eq(get("key"), ERR_CORRUPT);
        ck_assert_int_eq(get("good"), 0);
        ck_assert_uint_eq(hash_of(s), before); /* that is why a record has its own */
    }
}
END_TEST

START_TEST(a_scan_names_the_key_and_goes_on)
{
    struct view key, value;
    struct kv_view *v = NULL;
    raft_index index;

    set("a", "1");
    set("b", "2");
    set("c", "3");
    spoil("b", 130);
    ck_assert_int_eq(kv_view_open(s, &v), 0);
    ck_assert_int_eq(kv_view_seek(v, view_of(NULL, 0), false), 0);
    ck_assert_int_eq(kv_view_next(v, &key, &value, &index), 0);
    ck_assert_int_eq(kv_view_next(v, &key, &value, &index), ERR_CORRUPT);
    ck_assert(view_equal(key, view_of_text("b")));
    ck_assert_int_eq(kv_view_next(v, &key, &value, &index), 0);
    ck_assert(view_equal(key, view_of_text("c")));
    ck_assert_int_eq(kv_view_next(v, &key, &value, &index), ERR_NOT_FOUND);
    kv_view_close(v);
}
END_TEST

/* A condition is not decided by what was not written; where nothing depends on it, the damage goes with the record. */
START_TEST(a_condition_on_a_damaged_record_is_not_decided)
{
    struct command c = {.op = COMMAND_SET,
                        .condition = COMMAND_IF_INDEX,
                        .expected = 1,
                        .key = view_of_text("key"),
                        .value = view_of_text("x")};
    struct command_result result;
    struct entry *e = NULL;

    set("key", "value");
    spoil("key", 1);
    e = command_at(2, 1, &c);
    ck_assert_int_eq(kv_store_apply(s, &e, 1, &result, NULL), ERR_CORRUPT);
    entry_unref(e);
}
END_TEST

START_TEST(an_overwritten_record_is_whole_again)
{
    uint64_t expected = 0;

    set("key", "value");
    set("key", "other");
    expected = hash_of(s);
    delete_key("key");
    applied = 0;
    kv_store_close(s);
    temp_remove(temp_path("kv"));
    s = open_at("kv");
    set("key", "value");
    spoil("key", 140);
    set("key", "other");
    ck_assert_int_eq(get("key"), 0);
    ck_assert_uint_eq(hash_of(s), expected);
}
END_TEST

static int dump(struct kv_store *store, struct dump_id *id)
{
    static atomic_bool cancel;

    return kv_store_dump(store, 7, temp_path("dump.new"), temp_path("dump"), &cancel, id);
}

/* TESTING D8. */
START_TEST(an_installed_map_has_the_hash_of_its_giver)
{
    struct kv_store *other = open_at("other");
    static atomic_bool cancel;
    struct dump_id id;

    apply_to(s, config_at(++applied, 1, 3));
    for (unsigned i = 0; i < 500; i++) {
        char key[16];

        snprintf(key, sizeof key, "key-%u", i * 7919 % 1000);
        set(key, key);
    }
    delete_key("key-0");
    ck_assert_int_eq(dump(s, &id), 0);
    ck_assert_int_eq(kv_store_load(other, 7, temp_path("dump"), &cancel), 0);
    ck_assert_uint_eq(hash_of(other), hash_of(s));
    kv_store_close(other);
    other = open_at("other");
    ck_assert_uint_eq(hash_of(other), hash_of(s));
    kv_store_close(other);
}
END_TEST

/* Nobody is given a map that is not what was applied. */
START_TEST(a_damaged_map_is_not_given_away)
{
    struct dump_id id;

    set("a", "1");
    set("b", "2");
    ck_assert_int_eq(dump(s, &id), 0);
    spoil("b", 129);
    ck_assert_int_eq(dump(s, &id), ERR_CORRUPT);
}
END_TEST

/* A record that vanished, or came back, has nothing wrong in itself; the sum tells. */
START_TEST(a_map_that_does_not_add_up_is_not_given_away)
{
    struct dump_id id;

    set("a", "1");
    kv_store_close(s);
    ck_assert_int_eq(spoil_sum(temp_path("kv"), 1), 0);
    s = open_at("kv");
    ck_assert_int_eq(get("a"), 0);
    ck_assert_int_eq(dump(s, &id), ERR_CORRUPT);
}
END_TEST

/* What a fault of our own would do: only the comparison with others finds it. */
START_TEST(another_value_is_another_hash)
{
    uint64_t before = 0;
    struct dump_id id;

    set("a", "1");
    before = hash_of(s);
    kv_store_close(s);
    ck_assert_int_eq(spoil_value(temp_path("kv"), "a", "3", 1), 0);
    s = open_at("kv");
    ck_assert_uint_ne(hash_of(s), before);
    ck_assert_int_eq(get("a"), 0);
    ck_assert_int_eq(dump(s, &id), 0);
}
END_TEST

START_TEST(a_map_of_format_1_is_brought_to_this_one)
{
    uint64_t before = 0;

    apply_to(s, config_at(++applied, 1, 3));
    for (unsigned i = 0; i < 3000; i++) {
        char key[16], value[600];

        snprintf(key, sizeof key, "key-%u", i * 7919 % 10000);
        memset(value, 'a' + (int)(i % 26), sizeof value);
        apply_to(s, set_at(++applied, 1, key, value, i % 500 == 0 ? sizeof value : i % 97));
    }
    before = hash_of(s);
    kv_store_close(s);
    ck_assert_int_eq(spoil_format(temp_path("kv")), 0);
    s = open_at("kv");
    ck_assert_uint_eq(hash_of(s), before);
    ck_assert_int_eq(get("key-0"), 0);
    set("more", "1");
    delete_key("more");
    reopen();
    ck_assert_uint_eq(hash_of(s), before);
}
END_TEST

/* ---- a map that is not to be trusted ---- */

static struct kv_position position_of(struct kv_store *store)
{
    struct kv_position p;

    ck_assert_int_eq(kv_store_position(store, &p), 0);
    return p;
}

START_TEST(a_doubt_outlives_a_restart_and_ends_with_a_load)
{
    static atomic_bool cancel;
    struct dump_id id;

    set("a", "1");
    ck_assert_int_eq(dump(s, &id), 0);
    ck_assert(!position_of(s).doubted);
    ck_assert_int_eq(kv_store_doubt(s, "it differs"), 0);
    ck_assert(position_of(s).doubted);
    reopen();
    ck_assert(position_of(s).doubted);
    ck_assert_str_eq(position_of(s).doubt, "it differs");
    ck_assert_int_eq(get("a"), 0); /* it is for others to decide whether it is read */
    ck_assert_int_eq(kv_store_load(s, 7, temp_path("dump"), &cancel), 0);
    ck_assert(!position_of(s).doubted);
    ck_assert(!path_exists(temp_path("kv.doubt")));
    ck_assert_int_eq(get("a"), 0);
    reopen();
    ck_assert(!position_of(s).doubted);
    ck_assert_uint_eq(position_of(s).applied.index, 1);
}
END_TEST

START_TEST(a_doubt_can_be_taken_back)
{
    ck_assert_int_eq(kv_store_doubt(s, "it differs"), 0);
    ck_assert_int_eq(kv_store_trust(s), 0);
    reopen();
    ck_assert(!position_of(s).doubted);
}
END_TEST

/* Nothing of a dump that is no good may cost us what we have. */
START_TEST(a_doubted_map_stays_until_the_dump_was_verified)
{
    static atomic_bool cancel;
    struct dump_id id;

    set("a", "1");
    ck_assert_int_eq(dump(s, &id), 0);
    ck_assert_int_eq(spoil_file(temp_path("dump"), 400, 1) > 0, true);
    ck_assert_int_eq(kv_store_doubt(s, "it differs"), 0);
    ck_assert_int_ne(kv_store_load(s, 7, temp_path("dump"), &cancel), 0);
    ck_assert_int_eq(get("a"), 0);
    ck_assert(position_of(s).doubted);
}
END_TEST

static void overwrite(const char *path, long at, long size)
{
    FILE *f = fopen(path, "r+b");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    while (size-- > 0)
        ck_assert_int_ne(fputc(0x5a, f), EOF);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(an_unreadable_map_is_put_aside)
{
    static atomic_bool cancel;
    struct why why = {""};
    struct dump_id id;

    set("a", "1");
    ck_assert_int_eq(dump(s, &id), 0);
    kv_store_close(s);
    s = NULL;
    overwrite(temp_path("kv/data.mdb"), 0, 8192); /* LMDB's two meta pages */
    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, READERS, &s, &why), ERR_CORRUPT);
    ck_assert_int_eq(kv_store_set_aside(temp_path("kv"), why.text, &why), 0);
    s = open_at("kv");
    ck_assert(position_of(s).doubted);
    ck_assert_uint_eq(position_of(s).applied.index, 0);
    ck_assert(path_exists(temp_path("kv.damaged")));
    ck_assert_int_eq(kv_store_load(s, 7, temp_path("dump"), &cancel), 0);
    ck_assert_int_eq(get("a"), 0);
    ck_assert(!path_exists(temp_path("kv.damaged")));
}
END_TEST

/* The note that a handler of signals leaves (guard.h): nobody opens that map again. */
START_TEST(a_note_of_a_crash_is_heeded)
{
    struct why why = {""};
    FILE *f = NULL;

    set("a", "1");
    kv_store_close(s);
    s = NULL;
    f = fopen(temp_path("kv.doubt"), "w");
    ck_assert_ptr_nonnull(f);
    fputs("unreadable\na page of it makes no sense\n", f);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, READERS, &s, &why), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "makes no sense"));
    ck_assert_int_eq(kv_store_set_aside(temp_path("kv"), "again", &why), 0);
    ck_assert_int_eq(kv_store_set_aside(temp_path("kv"), "again", &why), 0); /* a crash came in between */
    ck_assert(path_exists(temp_path("kv.damaged")));
    s = open_at("kv");
    ck_assert(position_of(s).doubted);
}
END_TEST

START_TEST(a_scrub_finds_each_damaged_record)
{
    struct bytes after;
    unsigned looked = 0, total = 0, bad = 0;
    int err = 0;

    bytes_init(&after, COMMAND_KEY_MAX);
    for (unsigned i = 0; i < 300; i++) {
        char key[16];

        snprintf(key, sizeof key, "key-%03u", i);
        set(key, "value");
    }
    spoil("key-000", 3);
    spoil("key-117", 70);
    spoil("key-299", 130);
    for (unsigned i = 0; i < 100 && err != ERR_NOT_FOUND; i++) {
        err = kv_store_scrub(s, &after, 32, 1u << 20, &looked);
        total += looked;
        bad += err == ERR_CORRUPT;
        ck_assert(err == 0 || err == ERR_CORRUPT || err == ERR_NOT_FOUND);
    }
    ck_assert_int_eq(err, ERR_NOT_FOUND);
    ck_assert_uint_eq(bad, 3);
    ck_assert_uint_eq(total, 300);
    bytes_clear(&after);
}
END_TEST

static void tests(TCase *c)
{
    tcase_add_test(c, hash_is_that_of_the_content);
    tcase_add_test(c, hash_covers_the_configuration);
    tcase_add_test(c, each_entry_has_a_hash);
    tcase_add_test(c, a_flipped_bit_is_noticed_by_whoever_reads);
    tcase_add_test(c, a_scan_names_the_key_and_goes_on);
    tcase_add_test(c, a_condition_on_a_damaged_record_is_not_decided);
    tcase_add_test(c, an_overwritten_record_is_whole_again);
    tcase_add_test(c, an_installed_map_has_the_hash_of_its_giver);
    tcase_add_test(c, a_damaged_map_is_not_given_away);
    tcase_add_test(c, a_map_that_does_not_add_up_is_not_given_away);
    tcase_add_test(c, another_value_is_another_hash);
    tcase_add_test(c, a_map_of_format_1_is_brought_to_this_one);
    tcase_add_test(c, a_doubt_outlives_a_restart_and_ends_with_a_load);
    tcase_add_test(c, a_doubt_can_be_taken_back);
    tcase_add_test(c, a_doubted_map_stays_until_the_dump_was_verified);
    tcase_add_test(c, an_unreadable_map_is_put_aside);
    tcase_add_test(c, a_note_of_a_crash_is_heeded);
    tcase_add_test(c, a_scrub_finds_each_damaged_record);
}

int main(void)
{
    return run_tests("integrity", setup, teardown, tests);
}
