/* Whole nodes: serving as one and as three, losing a leader, a quorum, patience. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "base/clock.h"
#include "net/socket.h"
#include "node_test.h"

START_TEST(one_server_serves_and_remembers)
{
    struct service_write w = {.op = SERVICE_SET, .condition = SERVICE_IF_ABSENT, .key = view_of_text("k")};
    struct server *s = &servers[0];
    char value[64], why[100];
    struct why error = {""};
    uint64_t etag = 0;

    begin_test();
    bootstrap(make_server(0));
    set_soon(s, "k", "v");
    ck_assert(result.created);
    etag = result.etag;
    ck_assert_uint_eq(result.stamp.index, etag);
    ck_assert_str_eq(result.stamp.node, "s0");
    ck_assert_str_eq(result.stamp.leader, "s0");
    service_write(s->node, &w, PATIENCE_MS, &result);
    ck_assert_int_eq(result.code, SERVICE_CONDITION_FAILED);
    ck_assert_uint_eq(result.etag, etag);
    w = (struct service_write){.op = SERVICE_DELETE, .key = view_of_text("other")};
    service_write(s->node, &w, PATIENCE_MS, &result);
    ck_assert_int_eq(result.code, SERVICE_NOT_FOUND);
    ck_assert_value(s, "k", "v");
    ck_assert_uint_eq(result.etag, etag);
    ck_assert_int_eq(get(s, "other", SERVICE_STALE, value, sizeof value), SERVICE_NOT_FOUND);
    ck_assert(service_ready(s->node, why, sizeof why));
    close_server(s);

    ck_assert_int_eq(datadir_open(temp_path("s0"), "test", &s->datadir, &error), 0);
    ck_assert_uint_ne(datadir_identity(s->datadir)->cluster, 0);
    open_node(s);
    ck_assert_value(s, "k", "v");
    ck_assert_uint_eq(result.etag, etag);
    close_server(s);
    end_test();
}
END_TEST

START_TEST(a_listing_is_one_view)
{
    struct service_status status;
    struct server *s = &servers[0];
    struct service_scan *scan = NULL;
    struct view key, value;
    uint64_t etag = 0;
    bool complete = false;
    char name[8];

    begin_test();
    bootstrap(make_server(0));
    set_soon(s, "a1", "x");
    for (unsigned i = 2; i < 6; i++) {
        snprintf(name, sizeof name, "a%u", i);
        ck_assert_int_eq(set(s, name, "x"), SERVICE_OK);
    }
    ck_assert_int_eq(set(s, "b", "x"), SERVICE_OK);
    service_scan_open(s->node, view_of_text("a"), view_of_text("a2"), SERVICE_LINEARIZABLE, PATIENCE_MS, &scan,
                      &result);
    ck_assert_int_eq(result.code, SERVICE_OK);
    ck_assert_int_eq(set(s, "a33", "later"), SERVICE_OK);
    service_status(s->node, &status);
    ck_assert_uint_eq(status.scans, 1); /* G3: who keeps pages from being used again is known */
    for (unsigned i = 3; i < 6; i++) {
        snprintf(name, sizeof name, "a%u", i);
        ck_assert(service_scan_next(scan, &key, &value, &etag));
        ck_assert(view_equal(key, view_of_text(name)));
    }
    ck_assert(!service_scan_next(scan, &key, &value, &etag));
    ck_assert(!service_scan_next(scan, &key, &value, &etag));
    service_scan_close(scan, &complete);
    ck_assert(complete);
    service_status(s->node, &status);
    ck_assert_uint_eq(status.scans, 0);
    close_server(s);
    end_test();
}
END_TEST

START_TEST(three_serve_as_one)
{
    struct server *follower = &servers[1];
    char value[64];

    make_three();
    set_soon(&servers[0], "k", "v1");
    ck_assert_value(follower, "k", "v1"); /* linearizable on any member */
    ck_assert_value(&servers[2], "k", "v1");
    ck_assert_int_eq(set(follower, "k", "v2"), SERVICE_NOT_LEADER);
    ck_assert_str_eq(result.stamp.leader, "s0");
    ck_assert_str_eq(result.stamp.leader_client, servers[0].options.client);
    ck_assert_int_eq(set(&servers[0], "k", "v3"), SERVICE_OK);
    ck_assert_value(follower, "k", "v3");
    ck_assert_int_eq(get(follower, "k", SERVICE_STALE, value, sizeof value), SERVICE_OK);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

START_TEST(two_go_on_without_the_leader)
{
    struct server *leader = NULL;

    make_three();
    set_soon(&servers[0], "k", "v1");
    close_server(&servers[0]); /* without a word */
    leader = find_leader();
    set_soon(leader, "k", "v2");
    ck_assert_value(&servers[1], "k", "v2");
    ck_assert_value(&servers[2], "k", "v2");

    ck_assert_int_eq(datadir_open(temp_path("s0"), "test", &servers[0].datadir, NULL), 0);
    open_node(&servers[0]);
    ck_assert_value(&servers[0], "k", "v2");
    ck_assert_ptr_eq(find_leader(), leader); /* who returns deposes nobody */
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

/* Thesis 3.10: a leader that stops hands over, and nobody waits for an election timeout. */
START_TEST(a_leader_that_drains_hands_over)
{
    make_three();
    set_soon(&servers[0], "k", "v");

    node_drain(servers[0].node, 1000);

    ck_assert_int_eq(set(&servers[0], "k", "w"), SERVICE_STOPPING);
    ck_assert_uint_ne(leader_of(&servers[0]), 101);
    close_server(&servers[0]);
    set_soon(find_leader(), "k", "w");
    for (unsigned i = 1; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

/* 504 and 503: without a quorum a write that was begun is unknown, a read says so, and a stop waits for neither. */
START_TEST(without_a_quorum_everything_still_ends)
{
    struct service_write w = {.op = SERVICE_SET, .key = view_of_text("k"), .value = view_of_text("v")};
    uint64_t began = 0;
    char value[64];

    make_three();
    close_server(&servers[1]);
    close_server(&servers[2]);
    began = clock_now_ms();
    service_write(servers[0].node, &w, 100, &result);
    ck_assert_int_eq(result.code, SERVICE_UNKNOWN);
    ck_assert_uint_ge(clock_now_ms() - began, 100);
    ck_assert_uint_lt(clock_now_ms() - began, PATIENCE_MS);
    ck_assert_int_eq(get(&servers[0], "k", SERVICE_LINEARIZABLE, value, sizeof value), SERVICE_NO_QUORUM);
    ck_assert_int_eq(get(&servers[0], "first", SERVICE_STALE, value, sizeof value), SERVICE_OK);
    ck_assert_int_eq(set(&servers[0], "k", "w"), SERVICE_NO_LEADER); /* it has stepped down meanwhile */
    ck_assert(!service_ready(servers[0].node, value, sizeof value));
    began = clock_now_ms();
    node_drain(servers[0].node, 300);
    close_server(&servers[0]);
    ck_assert_uint_lt(clock_now_ms() - began, PATIENCE_MS);
    end_test();
}
END_TEST

struct patient {
    struct server *server;
    enum service_code code;
    uint64_t took;
};

static void *wait_for_a_write(void *arg)
{
    struct patient *p = arg;
    struct service_write w = {.op = SERVICE_SET, .key = view_of_text("k"), .value = view_of_text("v")};
    struct service_result r;
    uint64_t began = clock_now_ms();

    service_write(p->server->node, &w, 30000, &r);
    p->code = r.code;
    p->took = clock_now_ms() - began;
    return NULL;
}

START_TEST(who_waits_at_a_stop_is_told_that_it_is_unknown)
{
    struct patient p = {.server = &servers[0]};
    pthread_t thread;

    make_three();
    close_server(&servers[1]);
    close_server(&servers[2]);
    pthread_create(&thread, NULL, wait_for_a_write, &p);
    pause_ms(50);
    node_drain(servers[0].node, 200);
    pthread_join(thread, NULL);

    ck_assert_int_eq(p.code, SERVICE_UNKNOWN);
    ck_assert_uint_lt(p.took, PATIENCE_MS);
    close_server(&servers[0]);
    end_test();
}
END_TEST

#define CLIENTS 8
#define WRITES  20

static void *write_many(void *arg)
{
    struct patient *p = arg;
    char key[32];

    for (unsigned i = 0; i < WRITES; i++) {
        struct service_write w = {.op = SERVICE_SET, .value = view_of_text("v")};
        struct service_result r;
        struct bytes value;

        snprintf(key, sizeof key, "k%p-%u", arg, i);
        w.key = view_of_text(key);
        service_write(p->server->node, &w, PATIENCE_MS, &r);
        p->code = r.code;
        if (r.code != SERVICE_OK)
            return NULL;
        bytes_init(&value, 100);
        service_get(servers[i % 3].node, w.key, SERVICE_LINEARIZABLE, PATIENCE_MS, &value, &r);
        p->code = r.code;
        bytes_clear(&value);
        if (r.code != SERVICE_OK)
            return NULL;
    }
    return NULL;
}

/* Every write that was answered is seen by the read that follows it, on whatever member. */
START_TEST(many_clients_at_once)
{
    struct patient p[CLIENTS];
    pthread_t threads[CLIENTS];
    struct service_status status;

    make_three();
    for (unsigned i = 0; i < CLIENTS; i++) {
        p[i] = (struct patient){.server = &servers[0], .code = SERVICE_FAILED};
        pthread_create(&threads[i], NULL, write_many, &p[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(p[i].code, SERVICE_OK);
    }
    ck_assert_value(&servers[0], "first", "1"); /* what it sees is committed */
    service_status(servers[0].node, &status);
    ck_assert_uint_eq(status.keys, CLIENTS * WRITES + 1);
    ck_assert_uint_eq(status.requests_waiting, 0);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

START_TEST(hostile_connections_hold_up_nobody)
{
    struct address at = {.host = "127.0.0.1"};
    struct iovec part;
    int fds[30];

    make_three();
    at.port = servers[0].options.peer_port;
    for (unsigned i = 0; i < 30; i++) {
        char noise[] = "no frame at all, and not HTTP";

        ck_assert_int_eq(socket_connect(&at, 500, &fds[i]), 0);
        part = (struct iovec){noise, i % 3 == 0 ? 0 : sizeof noise};
        if (i % 3 != 0)
            (void)socket_write(fds[i], &part, 1, 100);
    }
    set_soon(&servers[0], "k", "v");
    ck_assert_value(&servers[1], "k", "v");
    for (unsigned i = 0; i < 30; i++)
        socket_close(fds[i]);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end_test();
}
END_TEST

START_TEST(a_taken_port_is_refused)
{
    struct server *s = NULL;
    struct why why = {""};
    int fd = -1;

    begin_test();
    s = make_server(0);
    ck_assert_int_eq(node_bootstrap(s->datadir, s->options.client, s->options.peer, s->options.profile, NULL, &why), 0);
    ck_assert_int_eq(socket_listen("127.0.0.1", s->options.peer_port, &fd, &why), 0);
    s->options.datadir = s->datadir;
    ck_assert_int_eq(node_open(&s->options, &s->node, &why), ERR_IN_USE);
    ck_assert_ptr_null(s->node);
    socket_close(fd);
    open_node(s);
    close_server(s);
    end_test();
}
END_TEST

TEST_MAIN("node", one_server_serves_and_remembers, a_listing_is_one_view, three_serve_as_one,
          two_go_on_without_the_leader, a_leader_that_drains_hands_over, without_a_quorum_everything_still_ends,
          who_waits_at_a_stop_is_told_that_it_is_unknown, many_clients_at_once, hostile_connections_hold_up_nobody,
          a_taken_port_is_refused)
