/* The routes of the other profiles: what each document promises, and what hostile clients may try. raftd-profiles(7). */
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "client.h"
#include "fake_service.h"

#define ck_assert_answer(a, code, text)                                                                                \
    do {                                                                                                               \
        const struct answer *answer_ = (a);                                                                            \
        ck_assert_int_eq(answer_->status, code);                                                                       \
        ck_assert_str_eq(answer_->body, text);                                                                         \
    } while (0)

static const char *key_of_bytes(size_t size)
{
    static char path[2048];

    memset(path, 'k', sizeof path);
    path[0] = '/';
    path[size + 1] = '\0';
    return path;
}

/* ---- raftexample ---- */

START_TEST(raftexample_puts_and_gets)
{
    struct world *w = a_world_of(PROFILE_RAFTEXAMPLE, 4, &quick);

    ck_assert_answer(ask(w, "PUT", "/my-key", NULL, "hello"), 204, "");
    ck_assert_answer(ask(w, "GET", "/my-key", NULL, NULL), 200, "hello");
    ck_assert_answer(ask(w, "GET", "/my-key?x=1", NULL, NULL), 200, "hello");
    ck_assert_answer(ask(w, "GET", "/none", NULL, NULL), 404, "Failed to GET\n");
    ck_assert_int_eq(ask_status(w, "PUT", "/"), 400);
    ck_assert_int_eq(ask_status(w, "PUT", "/%zz"), 400);
    ck_assert_int_eq(ask_status(w, "PUT", key_of_bytes(480)), 204);
    ck_assert_int_eq(ask_status(w, "PUT", key_of_bytes(481)), 414);
    end_world(w);
}
END_TEST

START_TEST(raftexample_knows_four_methods)
{
    static const char *const others[] = {"PATCH", "OPTIONS", "HEAD"};
    struct world *w = a_world_of(PROFILE_RAFTEXAMPLE, 4, &quick);

    for (unsigned i = 0; i < 2; i++)
        ck_assert_answer(ask(w, others[i], "/k", NULL, NULL), 405, "Method not allowed\n");
    ck_assert_int_eq(ask_status(w, others[2], "/k"), 405);
    end_world(w);
}
END_TEST

START_TEST(raftexample_adds_and_removes_by_number)
{
    static const char *const bad[] = {"/x", "/0", "/-1", "/0x", "/08", "/1_", "/9007199254740992", "/4/5", "/"};
    struct world *w = a_world_of(PROFILE_RAFTEXAMPLE, 4, &quick);

    ck_assert_answer(ask(w, "POST", "/0x10", NULL, "http://127.0.0.1:42379\n"), 204, "");
    ck_assert_str_eq(w->fake->expected.name, "16");
    ck_assert_str_eq(w->fake->expected.change.peer, "127.0.0.1:42379");
    ck_assert_int_eq(ask_status(w, "DELETE", "/0b11"), 204);
    ck_assert_str_eq(w->fake->removed.name, "3");
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_answer(ask(w, "POST", bad[i], NULL, "http://127.0.0.1:42379"), 400, "Failed on POST\n");
        ck_assert_answer(ask(w, "DELETE", bad[i], NULL, NULL), 400, "Failed on DELETE\n");
    }
    ck_assert_int_eq(ask(w, "POST", "/4", NULL, "127.0.0.1")->status, 400);
    ck_assert_int_eq(ask(w, "POST", "/4", NULL, NULL)->status, 400);
    ck_assert_uint_eq(w->fake->expected.count, 1);
    ck_assert_uint_eq(w->fake->removed.count, 1);
    end_world(w);
}
END_TEST

/* ---- shaj13 ---- */

START_TEST(shaj13_stores_json)
{
    struct world *w = a_world_of(PROFILE_SHAJ13, 4, &quick);

    ck_assert_answer(ask(w, "PUT", "/", NULL, "{\"Key\":\"hello\", \"Value\":\"medium\"}"), 204, "");
    ck_assert_answer(ask(w, "GET", "/hello", NULL, NULL), 200, "medium\n");
    ck_assert_answer(ask(w, "POST", "/", NULL, "{\"kEY\":\"a/b\", \"vALUE\":\"\", \"more\":[{}]}"), 204, "");
    ck_assert_answer(ask(w, "GET", "/a/b", NULL, NULL), 200, "\n");
    ck_assert_answer(ask(w, "GET", "/none", NULL, NULL), 200, "\n");
    ck_assert_int_eq(ask_status(w, "GET", "/"), 405);
    ck_assert_int_eq(ask_status(w, "PUT", "/hello"), 405);
    end_world(w);
}
END_TEST

START_TEST(shaj13_refuses_what_is_no_pair)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "null",
                                      "{\"Key\":1,\"Value\":\"v\"}",
                                      "{\"Key\":\"k\",\"Value\":[]}",
                                      "{\"Value\":\"v\"}",
                                      "{\"Key\":\"\",\"Value\":\"v\"}",
                                      "{\"Key\":\"k\",\"x\":[[[[[[[[[[]]]]]]]]]]}"};
    struct world *w = a_world_of(PROFILE_SHAJ13, 4, &quick);
    char large[MAX_VALUE + 200];

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(ask(w, "PUT", "/", NULL, bad[i])->status, 400);
    snprintf(large, sizeof large, "{\"Key\":\"k\",\"Value\":\"%0*d\"}", MAX_VALUE + 1, 0);
    ck_assert_int_eq(ask(w, "PUT", "/", NULL, large)->status, 413);
    ck_assert_uint_eq(w->fake->writes, 0);
    end_world(w);
}
END_TEST

START_TEST(shaj13_says_errors_in_its_words)
{
    struct world *w = a_world_of(PROFILE_SHAJ13, 4, &quick);
    static const char pair[] = "{\"Key\":\"k\",\"Value\":\"v\"}";

    w->fake->answer = SERVICE_NO_LEADER;
    ck_assert_answer(ask(w, "PUT", "/", NULL, pair), 503, "raft: no elected cluster leader\n");
    w->fake->answer = SERVICE_UNKNOWN;
    ck_assert_answer(ask(w, "PUT", "/", NULL, pair), 504, "context deadline exceeded\n");
    w->fake->answer = SERVICE_NO_QUORUM;
    ck_assert_answer(ask(w, "GET", "/k", NULL, NULL), 503,
                     "raft: quorum lost and the cluster unavailable, no new logs can be committed\n");
    w->fake->answer = SERVICE_NOT_FOUND;
    ck_assert_answer(ask(w, "DELETE", "/mgmt/nodes/255", NULL, NULL), 404, "raft: unknown member ff\n");
    ck_assert_int_eq(ask_status(w, "DELETE", "/mgmt/nodes/x"), 400);
    end_world(w);
}
END_TEST

START_TEST(shaj13_lists_and_removes_nodes)
{
    struct world *w = a_world_of(PROFILE_SHAJ13, 4, &quick);
    const struct answer *a = ask(w, "GET", "/mgmt/nodes", NULL, NULL);

    ck_assert_int_eq(a->status, 200);
    ck_assert_int_eq(strncmp(a->body, "[{\"id\":1,\"addr\":\":14001\",", 25), 0);
    ck_assert_ptr_nonnull(
        strstr(a->body, "{\"id\":2,\"addr\":\":14002\",\"createdAt\":{}}")); /* zeros are left out, as Go does */
    ck_assert_ptr_nonnull(strstr(a->body, "{\"id\":3,\"addr\":\":14003\",\"type\":2,"));
    ck_assert_ptr_nonnull(strstr(a->body, "{\"id\":9,\"addr\":\":14009\",\"type\":1,"
                                          "\"createdAt\":{\"seconds\":1700000000,\"nanos\":42}}]\n"));
    ck_assert_answer(ask(w, "DELETE", "/mgmt/nodes/2", NULL, NULL), 200, "");
    ck_assert_str_eq(w->fake->removed.name, "2");
    ck_assert_answer(ask(w, "DELETE", "/3", NULL, NULL), 200, "");
    ck_assert_str_eq(w->fake->removed.name, "3");
    end_world(w);
}
END_TEST

/* ---- balsa ---- */

START_TEST(balsa_sets_gets_and_removes_by_query)
{
    struct world *w = a_world_of(PROFILE_BALSA, 4, &quick);

    ck_assert_answer(ask(w, "GET", "/set?key=a%2Fb&value=x+y%2B", NULL, NULL), 200, "");
    ck_assert_answer(ask(w, "GET", "/get?key=a/b", NULL, NULL), 200, "x y+");
    ck_assert_answer(ask(w, "POST", "/remove?key=a/b", NULL, ""), 200, "");
    ck_assert_int_eq(ask_status(w, "GET", "/get?key=a/b"), 404);
    ck_assert_answer(ask(w, "GET", "/remove?nodeId=n2", NULL, NULL), 200, "");
    ck_assert_str_eq(w->fake->removed.name, "n2");
    ck_assert_answer(ask(w, "GET", "/join?nodeId=n4&raftPort=9001", NULL, NULL), 200, "");
    ck_assert_str_eq(w->fake->added.change.name, "n4");
    ck_assert_str_eq(w->fake->added.change.peer, "127.0.0.1:9001");
    end_world(w);
}
END_TEST

START_TEST(balsa_refuses_pages_of_other_sites_and_bad_queries)
{
    static const char *const bad[] = {"/set",
                                      "/set?key=a",
                                      "/set?key=&value=1",
                                      "/get?key=%",
                                      "/remove",
                                      "/join?nodeId=n2",
                                      "/join?nodeId=&raftPort=1",
                                      "/join?nodeId=n2&raftPort=0",
                                      "/join?nodeId=n2&raftPort=1:2",
                                      "/join?nodeId=n2&raftPort=x"};
    static const char *const all[] = {"/set?key=a&value=b", "/remove?key=a", "/join?nodeId=n2&raftPort=1",
                                      "/get?key=a"};
    struct world *w = a_world_of(PROFILE_BALSA, 4, &quick);

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(ask_status(w, "GET", bad[i]), 400);
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
        ck_assert_int_eq(ask(w, "GET", all[i], "Sec-Fetch-Site: cross-site\r\n", NULL)->status, 403);
    ck_assert_uint_eq(w->fake->writes, 0);
    ck_assert_uint_eq(w->fake->added.count, 0);
    ck_assert_int_eq(ask_status(w, "GET", "/db/a"), 404);
    end_world(w);
}
END_TEST

/* ---- who leads ---- */

START_TEST(writes_go_to_a_leader_of_the_same_profile)
{
    static const struct {
        enum profile profile;
        const char *method, *path, *body;
    } writes[] = {{PROFILE_RAFTEXAMPLE, "PUT", "/k?q", "v"},
                  {PROFILE_RAFTEXAMPLE, "DELETE", "/4", NULL},
                  {PROFILE_SHAJ13, "PUT", "/", "{\"Key\":\"k\",\"Value\":\"v\"}"},
                  {PROFILE_SHAJ13, "DELETE", "/mgmt/nodes/9", NULL},
                  {PROFILE_BALSA, "GET", "/set?key=k&value=v", NULL},
                  {PROFILE_BALSA, "GET", "/remove?nodeId=n9", NULL}};

    for (unsigned i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        struct world *w = a_world_of(writes[i].profile, 4, &quick);
        char location[200];
        const struct answer *a;

        w->fake->answer = SERVICE_NOT_LEADER;
        w->fake->leader_profile = writes[i].profile;
        a = ask(w, writes[i].method, writes[i].path, NULL, writes[i].body);
        snprintf(location, sizeof location, "http://two.example:4002%s", writes[i].path);
        ck_assert_answer(a, 307, "raft.Server: Not current leader\n");
        ck_assert_str_eq(field(a, "Location"), location);
        w->fake->leader_profile = PROFILE_RAFTD;
        a = ask(w, writes[i].method, writes[i].path, NULL, writes[i].body);
        ck_assert_answer(a, 503, "raft.Server: Not current leader\n");
        ck_assert_str_eq(field(a, "Location"), "");
        end_world(w);
    }
}
END_TEST

/* A server that joins is taken at the port for members, whatever the leader speaks to clients. */
START_TEST(a_join_finds_a_leader_of_any_profile)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    w->fake->answer = SERVICE_NOT_LEADER;
    w->fake->leader_profile = PROFILE_BALSA;
    a = ask(w, "POST", "/cluster/members", NULL,
            "{\"id\":5,\"name\":\"five\",\"client\":\"h:1\",\"peer\":\"h:2\",\"profile\":\"raftd\"}");
    ck_assert_int_eq(a->status, 307);
    ck_assert_str_eq(field(a, "Location"), "http://two.example:14002/cluster/members");
    ck_assert_int_eq(ask(w, "PUT", "/db/k", NULL, "v")->status, 503);
    a = ask(w, "DELETE", "/cluster/members/n9", NULL, NULL);
    ck_assert_int_eq(a->status, 503);
    ck_assert_ptr_nonnull(
        strstr(a->body, "leads, and speaks balsa to clients: ask for this at its -admin port (on two.example)"));
    ck_assert_str_eq(field(a, "Retry-After"), "");
    ck_assert_ptr_nonnull(strstr(ask(w, "POST", "/cluster/leader", NULL, "n9")->body, "-admin port"));
    end_world(w);
}
END_TEST

TEST_MAIN("profiles", raftexample_puts_and_gets, raftexample_knows_four_methods, raftexample_adds_and_removes_by_number,
          shaj13_stores_json, shaj13_refuses_what_is_no_pair, shaj13_says_errors_in_its_words,
          shaj13_lists_and_removes_nodes, balsa_sets_gets_and_removes_by_query,
          balsa_refuses_pages_of_other_sites_and_bad_queries, writes_go_to_a_leader_of_the_same_profile,
          a_join_finds_a_leader_of_any_profile)
