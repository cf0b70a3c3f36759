/* The directory: two configurations, the latest and the one to go back to; and the slots of the senders that follow it. */
#include "server/directory.h"

#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "server_test.h"

START_TEST(the_latest_configuration_counts)
{
    struct directory d;
    struct members one, two;

    make_members(&one, 1, 1);
    make_members(&two, 2, 1);
    directory_init(&d, &one, 3);
    ck_assert_ptr_null(directory_find(&d, 2));

    directory_append(&d, &two, 8);

    ck_assert_uint_eq(d.latest_index, 8);
    ck_assert_str_eq(directory_find(&d, 2)->name, "n2");
}
END_TEST

/* Thesis 4.1: if the entry is cut off, the configuration before it is in force again. */
START_TEST(a_truncation_brings_the_one_before_back)
{
    struct directory d;
    struct members one, two;

    make_members(&one, 1, 1);
    make_members(&two, 2, 1);
    directory_init(&d, &one, 3);
    directory_append(&d, &two, 8);

    directory_truncate(&d, 9);
    ck_assert_uint_eq(d.latest.count, 2);
    directory_truncate(&d, 8);
    ck_assert_uint_eq(d.latest.count, 1);
    ck_assert_uint_eq(d.latest_index, 3);
    directory_append(&d, &two, 8); /* and the next one may come to the same place */
    ck_assert_uint_eq(d.latest.count, 2);
}
END_TEST

START_TEST(a_member_has_a_name_or_an_id)
{
    struct directory d;
    struct members m;

    make_members(&m, 3, 1);
    snprintf(m.list[2].name, sizeof m.list[2].name, "1"); /* a name that looks like an id goes first */
    directory_init(&d, &m, 1);

    ck_assert_uint_eq(directory_find_name(&d, "n2")->id, 2);
    ck_assert_uint_eq(directory_find_name(&d, "2")->id, 2);
    ck_assert_uint_eq(directory_find_name(&d, "1")->id, 3);
    ck_assert_ptr_null(directory_find_name(&d, "n9"));
    ck_assert_ptr_null(directory_find_name(&d, "9"));
    ck_assert_ptr_null(directory_find_name(&d, ""));
    ck_assert_ptr_null(directory_find_name(&d, "-2"));
}
END_TEST

/* ---- slots ---- */

static struct shared s; /* without a core: the slots need none */

static void slots_for(unsigned count, raft_id self)
{
    struct members m;

    memset(&s, 0, sizeof s);
    make_members(&m, count, 1);
    s.self = self;
    directory_init(&s.directory, &m, 1);
    shared_assign_peers(&s);
}

static struct peer *find(raft_id id)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s.peers[i].id == id)
            return &s.peers[i];
    return NULL;
}

START_TEST(every_other_member_has_a_slot)
{
    slots_for(16, 5);

    for (raft_id id = 1; id <= 16; id++)
        ck_assert_int_eq(find(id) != NULL, id != 5);
    ck_assert_str_eq(find(2)->address, "127.0.0.1:1");
    ck_assert(find(2)->stale_link);
}
END_TEST

START_TEST(a_member_that_moves_gets_a_new_link)
{
    struct members m;

    slots_for(3, 1);
    find(2)->stale_link = find(3)->stale_link = false;
    make_members(&m, 3, 1);
    snprintf(m.list[1].peer, ADDRESS_MAX, "127.0.0.1:2");

    directory_append(&s.directory, &m, 2);
    shared_assign_peers(&s);

    ck_assert(find(2)->stale_link);
    ck_assert_str_eq(find(2)->address, "127.0.0.1:2");
    ck_assert(!find(3)->stale_link);
}
END_TEST

/* Who was removed is still to be told so: it keeps its slot until another member needs that. */
START_TEST(one_that_goes_stays_as_a_guest)
{
    struct members m;

    slots_for(3, 1);
    make_members(&m, 2, 1);
    directory_append(&s.directory, &m, 2);
    shared_assign_peers(&s);
    ck_assert(find(3)->guest);
    ck_assert(!find(2)->guest);

    make_members(&m, 3, 1);
    directory_append(&s.directory, &m, 3);
    shared_assign_peers(&s);
    ck_assert(!find(3)->guest);
}
END_TEST

START_TEST(a_member_takes_the_slot_of_a_guest)
{
    struct members m;

    slots_for(15, 1);
    shared_host_guest(&s, 100, "127.0.0.1:9");
    shared_host_guest(&s, 101, "127.0.0.1:9");
    ck_assert_ptr_nonnull(find(101));

    make_members(&m, 16, 1);
    directory_append(&s.directory, &m, 2);
    shared_assign_peers(&s);
    shared_host_guest(&s, 102, "127.0.0.1:9");

    for (raft_id id = 2; id <= 16; id++)
        ck_assert_ptr_nonnull(find(id));
    ck_assert_ptr_nonnull(find(102)); /* one slot is left: our own */
    ck_assert(find(102)->guest);
}
END_TEST

/* A removed member may see sixteen others; there is no slot for a guest then, and no harm in that. */
START_TEST(a_guest_too_many_is_let_go)
{
    slots_for(16, 99);

    shared_host_guest(&s, 100, "127.0.0.1:9");

    ck_assert_ptr_null(find(100));
}
END_TEST

START_TEST(a_guest_without_an_address_is_no_guest)
{
    slots_for(3, 1);

    shared_host_guest(&s, 100, "");

    ck_assert_ptr_null(find(100));
}
END_TEST

START_TEST(a_guest_does_not_change_a_members_address)
{
    slots_for(3, 1);

    shared_host_guest(&s, 2, "127.0.0.1:9");

    ck_assert_str_eq(find(2)->address, "127.0.0.1:1");
    ck_assert(!find(2)->guest);
}
END_TEST

TEST_MAIN("directory", the_latest_configuration_counts, a_truncation_brings_the_one_before_back,
          a_member_has_a_name_or_an_id, every_other_member_has_a_slot, a_member_that_moves_gets_a_new_link,
          one_that_goes_stays_as_a_guest, a_member_takes_the_slot_of_a_guest, a_guest_too_many_is_let_go,
          a_guest_without_an_address_is_no_guest, a_guest_does_not_change_a_members_address)
