/* The other paths: members, leadership, joining, this server's state, and what holds for every answer. PRODUCT 2. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "client.h"

static json_t *json_of(const struct answer *a)
{
    json_t *value = json_loads(a->body, 0, NULL);

    ck_assert_msg(json_is_object(value), "%s", a->body);
    ck_assert_str_eq(field(a, "Content-Type"), "application/json");
    return value;
}

static const char *text_in(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static json_int_t number_in(const json_t *object, const char *name)
{
    ck_assert_msg(json_is_integer(json_object_get(object, name)), "%s", name);
    return json_integer_value(json_object_get(object, name));
}

/* ---- the cluster ---- */

START_TEST(the_cluster_is_described)
{
    struct world *w = a_world(4, &quick);
    json_t *cluster = json_of(ask(w, "GET", "/cluster", NULL, NULL));
    const json_t *members = json_object_get(cluster, "members"), *m;

    ck_assert_int_eq(number_in(cluster, "cluster"), 123456789);
    ck_assert_int_eq(number_in(cluster, "term"), 7);
    ck_assert_str_eq(text_in(cluster, "leader"), "one");
    ck_assert_int_eq(number_in(cluster, "leader_id"), 1);
    ck_assert_uint_eq(json_array_size(members), 3);
    m = json_array_get(members, 1);
    ck_assert_int_eq(number_in(m, "id"), 2);
    ck_assert_str_eq(text_in(m, "name"), "two");
    ck_assert_str_eq(text_in(m, "role"), "follower");
    ck_assert(json_is_true(json_object_get(m, "voter")));
    ck_assert_str_eq(text_in(m, "client"), "localhost:4002");
    ck_assert_str_eq(text_in(m, "peer"), "localhost:14002");
    ck_assert_int_eq(number_in(m, "match"), 91);
    ck_assert_int_eq(number_in(m, "lag"), 9);
    ck_assert_int_eq(number_in(m, "last_contact_ms"), 12);
    ck_assert(json_is_null(json_object_get(json_array_get(members, 0), "last_contact_ms")));
    ck_assert_ptr_null(json_object_get(json_array_get(members, 2), "match"));
    json_decref(cluster);
    cluster = json_of(ask(w, "GET", "/cluster/members", NULL, NULL));
    ck_assert_uint_eq(json_array_size(json_object_get(cluster, "members")), 3);
    json_decref(cluster);
    w->fake->no_leader = true;
    cluster = json_of(ask(w, "GET", "/cluster", NULL, NULL));
    ck_assert(json_is_null(json_object_get(cluster, "leader")));
    ck_assert(json_is_null(json_object_get(cluster, "leader_id")));
    json_decref(cluster);
    end_world(w);
}
END_TEST

START_TEST(a_member_is_added)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a = ask(w, "POST", "/cluster/members", NULL,
                                 "{\"name\":\"n\",\"client\":\"http://host:4004/\",\"peer\":\"[::1]:14004\","
                                 "\"id\":9007199254740991,\"role\":\"learner\",\"of-a-later-version\":[1]}");
    json_t *answer;

    ck_assert_int_eq(a->status, 201);
    answer = json_of(a);
    ck_assert_int_eq(number_in(answer, "cluster"), 123456789);
    ck_assert_int_eq(number_in(answer, "id"), 9007199254740991);
    ck_assert_int_eq(number_in(answer, "index"), 101);
    ck_assert_str_eq(text_in(answer, "name"), "n");
    json_decref(answer);
    ck_assert_str_eq(w->fake->added.change.name, "n");
    ck_assert_str_eq(w->fake->added.change.client, "host:4004");
    ck_assert_str_eq(w->fake->added.change.peer, "[::1]:14004");
    ck_assert(w->fake->added.change.role == SERVICE_ROLE_LEARNER);
    w->fake->known_member = true;
    a = ask(w, "POST", "/cluster/members", NULL, "{\"client\":\"host:4005\"}");
    ck_assert_int_eq(a->status, 200);
    ck_assert_uint_eq(w->fake->added.change.id, 0);
    ck_assert(w->fake->added.change.role == SERVICE_ROLE_UNCHANGED);
    end_world(w);
}
END_TEST

START_TEST(bad_bodies_are_refused)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "5",
        "null",
        "{",
        "{}",
        "{} x",
        "{\"client\":5}",
        "{\"client\":\"\"}",
        "{\"client\":\"nowhere\"}",
        "{\"client\":\"host:0\"}",
        "{\"client\":\"host:65536\"}",
        "{\"client\":\"host:1\\u0000\"}",
        "{\"client\":\"a:1\",\"client\":\"b:1\"}",
        "{\"client\":\"a:1\",\"id\":-1}",
        "{\"client\":\"a:1\",\"id\":1.5}",
        "{\"client\":\"a:1\",\"id\":\"1\"}",
        "{\"client\":\"a:1\",\"id\":9007199254740992}",
        "{\"client\":\"a:1\",\"id\":99999999999999999999}",
        "{\"client\":\"a:1\",\"role\":\"king\"}",
        "{\"client\":\"a:1\",\"role\":1}",
        "{\"client\":\"a:1\",\"peer\":\"x\"}",
        "{\"client\":\"a:1\",\"name\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
        "{\"client\":\"\xff:1\"}",
        "{\"client\":\"a:1\",\"x\":[[[[[[[[1]]]]]]]]}",
    };
    struct world *w = a_world(4, &quick);
    char *deep = malloc(60001);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(ask(w, "POST", "/cluster/members", NULL, bad[i])->status == 400, "%s", bad[i]);
        ck_assert_msg(ask(w, "POST", "/cluster/invitation", NULL, bad[i])->status == 400, "%s", bad[i]);
        ck_assert_msg(ask(w, "POST", "/join", NULL, bad[i])->status == 400, "%s", bad[i]);
    }
    memset(deep, '[', 60000); /* jansson recurses, and 2048 levels overrun a stack of 100 KB */
    deep[60000] = '\0';
    ck_assert_int_eq(ask(w, "POST", "/cluster/members", NULL, deep)->status, 400);
    free(deep);
    ck_assert_int_eq(ask(w, "POST", "/join", "Content-Length: 65537\r\n", NULL)->status, 413);
    ck_assert_uint_eq(w->fake->added.count, 0);
    ck_assert_uint_eq(w->fake->invited.count, 0);
    end_world(w);
}
END_TEST

START_TEST(a_member_is_changed_and_removed)
{
    struct world *w = a_world(4, &quick);

    ck_assert_int_eq(ask(w, "PUT", "/cluster/members/two", NULL, "{\"role\":\"voter\"}")->status, 204);
    ck_assert_str_eq(w->fake->updated.name, "two");
    ck_assert(w->fake->updated.change.role == SERVICE_ROLE_VOTER);
    ck_assert_int_eq(ask(w, "PUT", "/cluster/members/2", NULL, "{\"client\":\"h:1\",\"peer\":\"h:2\"}")->status, 204);
    ck_assert_str_eq(w->fake->updated.name, "2");
    ck_assert_str_eq(w->fake->updated.change.client, "h:1");
    ck_assert_str_eq(w->fake->updated.change.peer, "h:2");
    ck_assert(w->fake->updated.change.role == SERVICE_ROLE_UNCHANGED);
    ck_assert_int_eq(ask(w, "PUT", "/cluster/members/2", NULL, "{}")->status, 400);
    ck_assert_int_eq(ask(w, "PUT", "/cluster/members/2", NULL, "{\"role\":\"x\"}")->status, 400);
    ck_assert_uint_eq(w->fake->updated.count, 2);
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/a%20%22b%2F"), 204);
    ck_assert_str_eq(w->fake->removed.name, "a \"b/");
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/%00"), 400);
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/%zz"), 400);
    ck_assert_int_eq(
        ask_status(w, "DELETE", "/cluster/members/0123456789012345678901234567890123456789012345678901234567890123"),
        400);
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/"), 404);
    ck_assert_uint_eq(w->fake->removed.count, 1);
    end_world(w);
}
END_TEST

START_TEST(leadership_is_handed_over)
{
    static const struct {
        const char *body, *name;
        int status;
    } cases[] = {
        {NULL, "", 200},
        {"", "", 200},
        {"two", "two", 200},
        {" two\r\n", "two", 200},
        {"17", "17", 200},
        {"{\"name\":\"two\"}", "two", 200},
        {"{\"id\":17}", "17", 200},
        {"{}", "", 400},
        {"{\"client\":null}", "", 400},
        {"{\"name\":5}", "", 400},
        {"{\"name\"", "", 400},
        {"0123456789012345678901234567890123456789012345678901234567890123", "", 400},
    };
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct answer *a;

        w->fake->transferred = (struct fake_call){0};
        a = ask(w, "POST", "/cluster/leader", NULL, cases[i].body);
        ck_assert_int_eq(a->status, cases[i].status);
        ck_assert_uint_eq(w->fake->transferred.count, a->status == 200);
        ck_assert_str_eq(w->fake->transferred.name, cases[i].name);
    }
    end_world(w);
}
END_TEST

/* Issue 3, Membership: "with dry-run=1 that answers what the change would do", "refused unless force=1". */
START_TEST(a_change_can_be_tried_and_forced)
{
    static const struct {
        const char *method, *path, *body;
    } dry[] = {
        {"POST", "/cluster/members?dry-run=1", "{\"client\":\"host:4005\",\"replaces\":\"two\"}"},
        {"PUT", "/cluster/members/2?dry-run=1", "{\"role\":\"learner\"}"},
        {"DELETE", "/cluster/members/2?dry-run", NULL},
    };
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof dry / sizeof dry[0]; i++) {
        const struct answer *a = ask(w, dry[i].method, dry[i].path, NULL, dry[i].body);
        json_t *answer;

        ck_assert_int_eq(a->status, 200);
        answer = json_of(a);
        ck_assert_str_eq(text_in(answer, "message"), "after this: 2 voters and 1 learner, can lose 0");
        ck_assert(json_is_true(json_object_get(answer, "changes")));
        ck_assert_int_eq(number_in(answer, "voters"), 2);
        ck_assert_int_eq(number_in(answer, "learners"), 1);
        ck_assert_int_eq(number_in(answer, "reachable"), 2);
        ck_assert_int_eq(number_in(answer, "quorum"), 2);
        ck_assert_int_eq(number_in(answer, "can_lose"), 0);
        json_decref(answer);
    }
    ck_assert(w->fake->added.change.dry_run && w->fake->updated.change.dry_run && w->fake->removed.change.dry_run);
    ck_assert(!w->fake->added.change.force);
    ck_assert_str_eq(w->fake->added.change.replaces, "two");
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/2?force=1"), 204);
    ck_assert(w->fake->removed.change.force && !w->fake->removed.change.dry_run);
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/2?force=perhaps"), 400);
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/2?dry-run=maybe"), 400);
    ck_assert_uint_eq(w->fake->removed.count, 2);
    w->fake->answer = SERVICE_CONFLICT;
    ck_assert_int_eq(ask_status(w, "DELETE", "/cluster/members/2?dry-run=1"), 409);
    end_world(w);
}
END_TEST

START_TEST(joining_as_goraft_does_and_by_invitation)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a =
        ask(w, "POST", "/join", NULL, "{\"name\":\"n\",\"connectionString\":\"http://localhost:4003\"}");
    json_t *answer;

    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(a->body, "");
    ck_assert_str_eq(w->fake->added.change.name, "n");
    ck_assert_str_eq(w->fake->added.change.client, "localhost:4003");
    ck_assert_uint_eq(w->fake->added.change.id, 0);
    a = ask(w, "POST", "/cluster/invitation", NULL,
            "{\"cluster\":77,\"leader\":\"localhost:4001\",\"learner\":true,\"replaces\":5}");
    ck_assert_int_eq(a->status, 200);
    answer = json_of(a);
    ck_assert_int_eq(number_in(answer, "cluster"), 77);
    ck_assert_int_eq(number_in(answer, "id"), 9);
    ck_assert_str_eq(text_in(answer, "name"), "nine");
    json_decref(answer);
    ck_assert_uint_eq(w->fake->invitation.cluster, 77);
    ck_assert_str_eq(w->fake->invitation.leader, "localhost:4001");
    ck_assert(w->fake->invitation.learner);
    ck_assert_uint_eq(w->fake->invitation.replaces, 5);
    ck_assert_int_eq(ask(w, "POST", "/cluster/invitation", NULL, "{\"cluster\":0,\"leader\":\"a:1\"}")->status, 400);
    end_world(w);
}
END_TEST

START_TEST(refusals_about_members)
{
    static const struct {
        const char *method, *path, *body;
    } requests[] = {
        {"POST", "/cluster/members", "{\"client\":\"a:1\"}"},
        {"PUT", "/cluster/members/x", "{\"role\":\"voter\"}"},
        {"DELETE", "/cluster/members/x", NULL},
        {"POST", "/cluster/leader", "x"},
        {"POST", "/join", "{\"connectionString\":\"a:1\"}"},
        {"POST", "/cluster/invitation", "{\"cluster\":1,\"leader\":\"a:1\"}"},
    };
    struct world *w = a_world(4, &quick);

    snprintf(w->fake->text, sizeof w->fake->text, "a change is in flight");
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        const struct answer *a;
        char location[64];

        w->fake->answer = SERVICE_NOT_LEADER;
        a = ask(w, requests[i].method, requests[i].path, NULL, requests[i].body);
        ck_assert_int_eq(a->status, 307);
        snprintf(location, sizeof location, "http://two.example:4002%s", requests[i].path);
        ck_assert_str_eq(field(a, "Location"), location);
        w->fake->answer = SERVICE_CONFLICT;
        a = ask(w, requests[i].method, requests[i].path, NULL, requests[i].body);
        ck_assert_int_eq(a->status, 409);
        ck_assert_str_eq(a->body, "raftd: a change is in flight\n");
        w->fake->answer = SERVICE_NOT_FOUND;
        a = ask(w, requests[i].method, requests[i].path, NULL, requests[i].body);
        ck_assert_int_eq(a->status, 404);
        ck_assert_str_eq(a->body, "raftd: no such member\n");
    }
    end_world(w);
}
END_TEST

/* ---- this server ---- */

START_TEST(status_and_health)
{
    struct world *w = a_world(4, &quick);
    json_t *status = json_of(ask(w, "GET", "/status", NULL, NULL));
    const struct answer *a;

    ck_assert_str_eq(text_in(status, "version"), "0.1.0");
    ck_assert_str_eq(text_in(status, "role"), "leader");
    ck_assert_int_eq(number_in(status, "term"), 7);
    ck_assert_int_eq(number_in(status, "commit"), 100);
    ck_assert_int_eq(number_in(status, "applied"), 100);
    ck_assert_int_eq(number_in(status, "durable"), 100);
    ck_assert_int_eq(number_in(status, "uptime_ms"), 1234);
    json_decref(status);
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    ck_assert_int_eq(ask_status(w, "GET", "/readyz"), 200);
    w->fake->not_ready = true;
    a = ask(w, "GET", "/readyz", NULL, NULL);
    ck_assert_int_eq(a->status, 503);
    ck_assert_str_eq(a->body, "raftd: not ready: no leader is known\n");
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    end_world(w);
}
END_TEST

/* NAME or NAME{label="..",..}, a space, a number; after a TYPE of its family. */
static void check_sample(const char *line, const char *family, const char *type)
{
    size_t name = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
    const char *value = strrchr(line, ' ');
    char *end;

    ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s is no %s", line, family);
    if (strcmp(type, "histogram") != 0)
        ck_assert_uint_eq(name, strlen(family));
    ck_assert_msg(line[name] == ' ' || line[name] == '{', "%s", line);
    ck_assert_ptr_nonnull(value);
    strtod(value + 1, &end);
    ck_assert_msg(*end == '\0' && end != value + 1, "%s", line);
}

START_TEST(metrics_are_prometheus_text)
{
    struct world *w = a_world(4, &quick);
    char family[64] = "", type[16] = "", help[64] = "", seen[8192] = "";
    struct client *c = dial(w); /* one connection: a request is counted after its answer, and before the next */
    const struct answer *a;
    char *body;

    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv");
    ck_assert_int_eq(hear(c, false)->status, 201);
    say_text(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    a = hear(c, false);
    ck_assert_str_eq(field(a, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    ck_assert_ptr_nonnull(strstr(a->body, "\nraftd_http_requests_total{method=\"PUT\",code=\"2xx\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(a->body, "_bucket{le=\"+Inf\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(a->body, "\nraftd_http_request_duration_seconds_count 1\n"));
    ck_assert_ptr_nonnull(strstr(a->body, "\nprocess_resident_memory_bytes "));
    ck_assert_ptr_nonnull(strstr(a->body, "\nprocess_cpu_seconds_total "));
    ck_assert_ptr_nonnull(strstr(a->body, "\nprocess_open_fds "));
    ck_assert_ptr_nonnull(strstr(a->body, "\nprocess_start_time_seconds "));
    ck_assert_int_eq(a->body[a->size - 1], '\n');
    body = strdup(a->body);
    for (char *line = strtok(body, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (sscanf(line, "# HELP %63s ", help) == 1)
            continue;
        if (sscanf(line, "# TYPE %63s %15s", family, type) != 2) {
            check_sample(line, family, type);
            continue;
        }
        ck_assert_str_eq(family, help);
        strcat(family, " ");
        ck_assert_msg(strstr(seen, family) == NULL, "%s twice", family);
        strcat(seen, family);
        family[strlen(family) - 1] = '\0';
    }
    free(body);
    hang_up(c);
    end_world(w);
}
END_TEST

/* ---- what holds everywhere ---- */

START_TEST(methods_that_a_path_does_not_know)
{
    static const struct {
        const char *path, *allow;
    } paths[] = {
        {"/db/k", "GET, HEAD, POST, PUT, DELETE, OPTIONS"},
        {"/db/", "GET, HEAD, OPTIONS"},
        {"/", "GET, HEAD, OPTIONS"},
        {"/cluster", "GET, HEAD, OPTIONS"},
        {"/cluster/members", "GET, HEAD, POST, OPTIONS"},
        {"/cluster/members/x", "PUT, DELETE, OPTIONS"},
        {"/cluster/leader", "POST, OPTIONS"},
        {"/cluster/invitation", "POST, OPTIONS"},
        {"/join", "POST, OPTIONS"},
        {"/status", "GET, HEAD, OPTIONS"},
        {"/livez", "GET, HEAD, OPTIONS"},
        {"/readyz", "GET, HEAD, OPTIONS"},
        {"/metrics", "GET, HEAD, OPTIONS"},
    };
    static const char *const unknown[] = {"/nowhere", "/cluster/", "/cluster/x", "/Status",  "/status/",
                                          "/dbx",     "/%64b/k",   "//",         "/./status"};
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"};
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const struct answer *a = ask(w, "OPTIONS", paths[i].path, NULL, NULL);

        ck_assert_int_eq(a->status, 204);
        ck_assert_str_eq(field(a, "Allow"), paths[i].allow);
        for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
            bool allowed = strstr(paths[i].allow, methods[m]) != NULL;

            a = ask(w, methods[m], paths[i].path, NULL, NULL);
            if (strcmp(paths[i].path, "/db/") == 0 && a->status == 400)
                continue; /* a write without a key */
            ck_assert_msg((a->status == 405) == !allowed, "%s %s: %d", methods[m], paths[i].path, a->status);
            if (!allowed)
                ck_assert_str_eq(field(a, "Allow"), paths[i].allow);
        }
    }
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        ck_assert_msg(ask_status(w, "GET", unknown[i]) == 404, "%s", unknown[i]);
    end_world(w);
}
END_TEST

START_TEST(every_answer_says_where_it_comes_from)
{
    static const char *const requests[] = {
        "GET /db/k HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /db/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /db/k HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /db/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS /db/k HTTP/1.1\r\nHost: x\r\n\r\n",
        "PATCH /db/k HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /cluster HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /join HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /db/k HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n",
    };
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct client *c = dial(w);
        const struct answer *a;

        say_text(c, requests[i]);
        a = hear(c, false);
        ck_assert_msg(a->status != 0, "%s", requests[i]);
        ck_assert_msg(strcmp(field(a, "Raftd-Node"), "one") == 0, "%s", requests[i]);
        ck_assert_str_eq(field(a, "Raftd-Leader"), "one");
        ck_assert_str_eq(field(a, "Raftd-Term"), "7");
        ck_assert_int_gt(atoi(field(a, "Raftd-Index")), 99);
        ck_assert_uint_eq(strlen(field(a, "Date")), strlen("Sat, 21 Nov 2026 02:07:00 GMT"));
        hang_up(c);
    }
    w->fake->no_leader = true;
    ck_assert_ptr_nonnull(strstr(ask(w, "GET", "/livez", NULL, NULL)->head, "Raftd-Leader: \r\n"));
    end_world(w);
}
END_TEST

TEST_MAIN("http_cluster", the_cluster_is_described, a_member_is_added, bad_bodies_are_refused,
          a_member_is_changed_and_removed, leadership_is_handed_over, a_change_can_be_tried_and_forced,
          joining_as_goraft_does_and_by_invitation, refusals_about_members, status_and_health,
          metrics_are_prometheus_text, methods_that_a_path_does_not_know, every_answer_says_where_it_comes_from)
