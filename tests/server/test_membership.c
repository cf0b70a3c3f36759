/* Whole nodes: birth, joining, removal, handing over, invitations. */
#include <stdio.h>
#include <string.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "base/clock.h"
#include "node_test.h"
#include "server/join.h"

/* A crash between the first entry and the identity: there was no cluster, and the next start wipes what there is. */
START_TEST(half_a_birth_is_none)
{
    struct server *s = NULL;
    struct identity fresh;
    struct why why = {""};

    begin_test();
    s = make_server(0);
    fresh = *datadir_identity(s->datadir);
    ck_assert_int_eq(node_bootstrap(s->datadir, s->options.client, s->options.peer, s->options.profile, NULL, &why), 0);
    ck_assert_int_eq(datadir_save(s->datadir, &fresh, &why), 0); /* as if it had not come to that */
    ck_assert_uint_eq(datadir_identity(s->datadir)->joined, 0);
    ck_assert_int_eq(datadir_wipe(s->datadir, &fresh, &why), 0); /* what main does with such a directory */

    bootstrap(s);
    set_soon(s, "k", "v");
    ck_assert_uint_eq(datadir_identity(s->datadir)->joined, 1);
    close_server(s);
    end_test();
}
END_TEST

/* It was added, and died before it had saved that: the next attempt of the same id is no second member. */
START_TEST(a_join_that_was_cut_off_is_taken_up_again)
{
    struct service_member_change change = {.id = 102, .name = "s1"};
    struct service_membership first, again;
    struct server *s = NULL;
    struct why why = {""};
    uint64_t until = 0;

    begin_test();
    bootstrap(make_server(0));
    set_soon(&servers[0], "k", "v");
    s = make_server(1);
    open_node(s);
    ck_assert_int_eq(set(s, "k", "w"), SERVICE_NO_LEADER); /* not a member: surely not applied */
    memcpy(change.client, s->options.client, sizeof change.client);
    memcpy(change.peer, s->options.peer, sizeof change.peer);
    service_member_add(servers[0].node, &change, PATIENCE_MS, &first, &result);
    ck_assert_int_eq(result.code, SERVICE_OK);
    close_server(s);

    ck_assert_int_eq(datadir_open(temp_path("s1"), "test", &s->datadir, &why), 0);
    ck_assert_uint_eq(datadir_identity(s->datadir)->joined, 0);
    open_node(s);
    service_member_add(servers[0].node, &change, PATIENCE_MS, &again, &result);
    ck_assert_int_eq(result.code, SERVICE_OK);
    ck_assert(!result.created);
    ck_assert_uint_eq(again.id, first.id);
    ck_assert_int_eq(node_joined(s->node, again.cluster, again.index, &why), 0);
    for (until = clock_now_ms() + PATIENCE_MS; voters_of(s) < 2 && clock_now_ms() < until;)
        pause_ms(5);
    ck_assert_uint_eq(voters_of(s), 2);
    ck_assert_value(s, "k", "v");
    close_server(&servers[0]);
    close_server(s);
    end_test();
}
END_TEST

/* By the port for members of one that does not lead: it says where to go. */
START_TEST(a_server_joins_through_any_member)
{
    struct join_request request = {.id = 103, .name = "s2", .timeout_ms = PATIENCE_MS, .profile = PROFILE_BALSA};
    struct joined joined = {0, 0};
    char targets[2 * ADDRESS_MAX];
    struct why why = {""};

    begin_test();
    bootstrap(make_server(0));
    set_soon(&servers[0], "k", "v");
    join(&servers[0], make_server(1));
    while (leader_of(&servers[1]) == 0)
        pause_ms(5);
    open_node(make_server(2));
    snprintf(targets, sizeof targets, "127.0.0.1:1,%s", servers[1].options.peer); /* the first one is not there */
    request.targets = targets;
    request.client = servers[2].options.client;
    request.peer = servers[2].options.peer;
    ck_assert_msg(join_run(&request, &joined, &why) == 0, "%s", why.text);
    ck_assert_int_eq(node_joined(servers[2].node, joined.cluster, joined.index, &why), 0);
    ck_assert_value(&servers[2], "k", "v");
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

static bool stop_at_once(void *context)
{
    return ++*(unsigned *)context > 3;
}

START_TEST(a_join_ends)
{
    unsigned asked = 0;
    struct join_request request = {
        .targets = "127.0.0.1:1", .id = 9, .name = "n", .client = "a:1", .peer = "a:2", .timeout_ms = 250};
    struct joined joined = {0, 0};
    uint64_t began = clock_now_ms();
    struct why why = {""};

    begin_test();
    ck_assert_int_eq(join_run(&request, &joined, &why), ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(why.text, "127.0.0.1:1"));
    ck_assert_uint_lt(clock_now_ms() - began, 1000);
    request.timeout_ms = 30000;
    request.stop = stop_at_once;
    request.stop_context = &asked;
    ck_assert_int_eq(join_run(&request, &joined, &why), ERR_STOPPED);
    request.targets = "nonsense";
    ck_assert_int_eq(join_run(&request, &joined, &why), ERR_INVALID);
    end_test();
}
END_TEST

START_TEST(leadership_goes_where_it_is_told)
{
    make_three();

    service_transfer(servers[0].node, "s2", PATIENCE_MS, &result);

    ck_assert_int_eq(result.code, SERVICE_OK);
    ck_assert_ptr_eq(find_leader(), &servers[2]);
    service_transfer(servers[2].node, "nobody", PATIENCE_MS, &result);
    ck_assert_int_eq(result.code, SERVICE_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

START_TEST(a_removed_member_learns_it)
{
    make_three();
    ck_assert_int_eq(remove_member(&servers[0], "s2"), SERVICE_OK);
    ck_assert_int_eq(await_news(&servers[2]), NODE_REMOVED);
    close_server(&servers[2]);

    set_soon(&servers[0], "k", "v");
    ck_assert_uint_eq(voters_of(&servers[0]), 2);
    ck_assert_int_eq(remove_member(&servers[0], "s2"), SERVICE_OK); /* again: it is so */
    ck_assert_int_eq(remove_member(&servers[0], "nobody"), SERVICE_NOT_FOUND);
    for (unsigned i = 0; i < 2; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

/* It was down while it was removed: the others tell it when it asks for their votes. */
START_TEST(a_member_removed_while_down_learns_it_later)
{
    make_three();
    close_server(&servers[2]);
    ck_assert_int_eq(remove_member(&servers[0], "103"), SERVICE_OK); /* by its id */

    ck_assert_int_eq(datadir_open(temp_path("s2"), "test", &servers[2].datadir, NULL), 0);
    open_node(&servers[2]);
    ck_assert_int_eq(await_news(&servers[2]), NODE_REMOVED);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

START_TEST(a_leader_can_remove_itself)
{
    struct server *leader = NULL;

    make_three();
    ck_assert_int_eq(remove_member(&servers[0], "s0"), SERVICE_OK);
    ck_assert_int_eq(await_news(&servers[0]), NODE_REMOVED);
    close_server(&servers[0]);
    leader = find_leader();
    set_soon(leader, "k", "v");
    ck_assert_uint_eq(voters_of(leader), 2);
    for (unsigned i = 1; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

START_TEST(a_pristine_server_accepts_an_invitation)
{
    struct service_membership self;
    struct why failure;
    struct service_invitation invitation;

    begin_test();
    bootstrap(make_server(0));
    ck_assert_int_eq(invite(&servers[0], 4711, "127.0.0.1:4001", &self), SERVICE_OK);
    ck_assert_uint_eq(self.id, 101);
    ck_assert_int_eq(set(&servers[0], "k", "v"), SERVICE_STOPPING);                         /* it could be lost */
    ck_assert_int_eq(invite(&servers[0], 4712, "127.0.0.1:4002", &self), SERVICE_CONFLICT); /* one at a time */

    ck_assert_int_eq(node_news(servers[0].node, &failure, &invitation), NODE_INVITED);
    ck_assert_str_eq(invitation.leader, "127.0.0.1:4001");
    ck_assert_uint_eq(invitation.cluster, 4711);
    close_server(&servers[0]);
    end_test();
}
END_TEST

START_TEST(one_that_holds_data_does_not)
{
    struct service_membership self;
    struct service_status status;

    begin_test();
    bootstrap(make_server(0));
    set_soon(&servers[0], "k", "v");
    ck_assert_int_eq(invite(&servers[0], 4711, "127.0.0.1:4001", &self), SERVICE_CONFLICT);
    ck_assert_int_eq(set(&servers[0], "k", "w"), SERVICE_OK); /* and goes on */

    service_status(servers[0].node, &status);
    ck_assert_int_eq(invite(&servers[0], status.cluster, "127.0.0.1:4001", &self),
                     SERVICE_CONFLICT); /* it is in that cluster */
    close_server(&servers[0]);
    end_test();
}
END_TEST

TEST_MAIN("membership", half_a_birth_is_none, a_join_that_was_cut_off_is_taken_up_again,
          a_server_joins_through_any_member, a_join_ends, leadership_goes_where_it_is_told, a_removed_member_learns_it,
          a_member_removed_while_down_learns_it_later, a_leader_can_remove_itself,
          a_pristine_server_accepts_an_invitation, one_that_holds_data_does_not)
