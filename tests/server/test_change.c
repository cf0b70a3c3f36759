/* Changes of the members, planned and judged. Issue 3, Membership. */
#include "server/change.h"

#include <stdio.h>
#include <string.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"

static struct subject m;
static struct members next;
static struct service_result r;
static raft_time patience; /* of the next change; 0: none */

/* Member 1 leads `count` others-and-itself, and has heard of each up to `heard`. */
static void a_leader_of(unsigned count, unsigned heard)
{
    member_open(&m, 1, count, NOBODY_PORT);
    make_leader(&m);
    for (unsigned id = 2; id <= heard; id++)
        deliver_ack(&m, id, status_of(&m).last);
    run_all(&m);
}

static enum service_code judged(enum change_kind kind, const char *whom, const struct service_member_change *asked)
{
    struct change c = {.kind = kind, .name_or_id = whom, .asked = asked, .patience = patience};

    memset(&r, 0, sizeof r);
    next = m.s.directory.latest;
    r.code = change_plan(&m.s, &c, &next, &r);
    if (r.code == SERVICE_OK)
        r.code = change_judge(&m.s, m.now, &c, &next, &r);
    return r.code;
}

static struct service_member_change a_server(uint64_t id, const char *name, unsigned port)
{
    struct service_member_change c = {.id = id};

    snprintf(c.name, sizeof c.name, "%s", name);
    snprintf(c.client, sizeof c.client, "127.0.0.1:%u", port);
    snprintf(c.peer, sizeof c.peer, "127.0.0.1:%u", port + 100);
    return c;
}

static const struct service_member_change plain = {.id = 0}, forced = {.force = true};

START_TEST(what_is_left_after_it_is_told)
{
    a_leader_of(3, 3);

    ck_assert_int_eq(judged(CHANGE_REMOVE, "n3", &plain), SERVICE_OK);
    ck_assert_str_eq(r.text, "after this: 2 voters, can lose 0");
    ck_assert_uint_eq(r.outlook.voters, 2);
    ck_assert_uint_eq(r.outlook.reachable, 2);
    ck_assert(r.outlook.changes);
    ck_assert(!change_deposes_us(&m.s, &next));
    ck_assert_int_eq(judged(CHANGE_REMOVE, "1", &plain), SERVICE_OK);
    ck_assert(change_deposes_us(&m.s, &next));
    member_end(&m);
}
END_TEST

START_TEST(a_quorum_that_answers_must_be_left)
{
    const struct service_member_change demote = {.role = SERVICE_ROLE_LEARNER};
    struct service_member_change move = a_server(0, "", 77);

    a_leader_of(3, 2);

    ck_assert_int_eq(judged(CHANGE_REMOVE, "n2", &plain), SERVICE_CONFLICT);
    ck_assert_ptr_nonnull(strstr(r.text, "2 voters, only 1 of them reachable now"));
    ck_assert_int_eq(judged(CHANGE_REMOVE, "n2", &forced), SERVICE_OK);
    ck_assert_int_eq(judged(CHANGE_UPDATE, "n2", &demote), SERVICE_CONFLICT);
    ck_assert_int_eq(judged(CHANGE_UPDATE, "n2", &move), SERVICE_CONFLICT); /* nobody has heard it from there */
    ck_assert_int_eq(judged(CHANGE_REMOVE, "n3", &plain), SERVICE_OK);      /* the dead one may go */
    ck_assert_str_eq(r.text, "after this: 2 voters, can lose 0");
    move = a_server(9, "n9", 79);
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &move), SERVICE_OK); /* a learner takes nobody's vote */
    member_end(&m);
}
END_TEST

START_TEST(what_is_so_already_is_no_change)
{
    struct service_member_change back = a_server(3, "n3", 80);

    a_leader_of(3, 3);
    members_remove(&m.s.directory.latest, 3, 0);

    ck_assert_int_eq(judged(CHANGE_REMOVE, "n3", &plain), SERVICE_OK);
    ck_assert(!r.outlook.changes);
    ck_assert_int_eq(judged(CHANGE_REMOVE, "3", &plain), SERVICE_OK);
    ck_assert_int_eq(judged(CHANGE_REMOVE, "n4", &plain), SERVICE_NOT_FOUND);
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &back), SERVICE_CONFLICT); /* its id was used */
    back = a_server(33, "n3", 80);
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &back), SERVICE_OK); /* its name is free */
    ck_assert(r.created);
    member_end(&m);
}
END_TEST

START_TEST(names_and_addresses_belong_to_one)
{
    struct service_member_change c = a_server(9, "n2", 80);

    a_leader_of(3, 3);

    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_CONFLICT);
    ck_assert_ptr_nonnull(strstr(r.text, "/cluster/members/n2"));
    c = a_server(9, "n9", 1002);
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_CONFLICT);
    ck_assert_ptr_nonnull(strstr(r.text, "127.0.0.1:1002 belongs to member n2"));
    snprintf(c.replaces, sizeof c.replaces, "n2");
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_OK); /* in its place */
    c = a_server(9, "n9", 80);
    snprintf(c.client, sizeof c.client, "elsewhere:1");
    snprintf(c.peer, sizeof c.peer, "elsewhere:2");
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_CONFLICT);
    ck_assert_ptr_nonnull(strstr(r.text, "-host"));
    member_end(&m);
}
END_TEST

/* The new one has its vote: then the old one goes, by whoever leads. */
START_TEST(a_place_is_taken_when_the_new_one_votes)
{
    struct service_member_change c = a_server(9, "n9", 80);
    struct member *added = NULL;

    a_leader_of(3, 3);
    snprintf(c.replaces, sizeof c.replaces, "nobody");
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_NOT_FOUND);
    snprintf(c.replaces, sizeof c.replaces, "n2");
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_OK);
    ck_assert_ptr_nonnull(strstr(r.text, "takes the place of n2"));
    m.s.directory.latest = next;
    added = members_by_id(&m.s.directory.latest, 9);
    ck_assert_uint_eq(added->replaces, 2);
    ck_assert_ptr_null(change_replaced(&m.s, added));
    added->role = RAFT_VOTER;
    ck_assert_uint_eq(change_replaced(&m.s, added)->id, 2);
    members_remove(&m.s.directory.latest, 2, 0);
    added = members_by_id(&m.s.directory.latest, 9);
    ck_assert_ptr_null(change_replaced(&m.s, added)); /* done */
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_OK);
    ck_assert(!r.outlook.changes); /* asked again */
    c.role = SERVICE_ROLE_LEARNER;
    snprintf(c.replaces, sizeof c.replaces, "n3");
    ck_assert_int_eq(judged(CHANGE_ADD, NULL, &c), SERVICE_INVALID); /* a learner for a voter */
    member_end(&m);
}
END_TEST

/* Its next hello would undo it. */
START_TEST(a_member_that_is_up_is_moved_by_itself_alone)
{
    const struct service_member_change move = a_server(0, "", 77);

    a_leader_of(5, 3);
    ck_assert_int_eq(judged(CHANGE_UPDATE, "n2", &move), SERVICE_CONFLICT);
    ck_assert_ptr_nonnull(strstr(r.text, "n2 is up"));
    ck_assert_ptr_nonnull(strstr(r.text, "-host"));
    ck_assert_int_eq(judged(CHANGE_UPDATE, "1", &move), SERVICE_CONFLICT);
    ck_assert_int_eq(judged(CHANGE_UPDATE, "n4", &move), SERVICE_OK); /* it is down */
    patience = m.now + 1;
    ck_assert_int_eq(judged(CHANGE_UPDATE, "n4", &move), SERVICE_BUSY); /* or has not spoken to a new leader yet */
    patience = 0;
    ck_assert_int_eq(judged(CHANGE_UPDATE, "n4", &move), SERVICE_OK);
    ck_assert(r.outlook.changes);
    member_end(&m);
}
END_TEST

TEST_MAIN("change", a_member_that_is_up_is_moved_by_itself_alone, what_is_left_after_it_is_told,
          a_quorum_that_answers_must_be_left, what_is_so_already_is_no_change, names_and_addresses_belong_to_one,
          a_place_is_taken_when_the_new_one_votes)
