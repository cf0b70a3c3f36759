/* Clients that are slow or silent: who may hold a worker, and for how long. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../suite.h"
#include "client.h"

/* ---- slow clients ---- */

static void drip(struct client *c, unsigned ms)
{
    uint64_t until = now_ms() + ms;
    char byte;

    while (now_ms() < until && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
        say(c, "x", 1);
        wait_ms(20);
    }
}

/* Civetweb's own time-out starts anew with each byte. */
START_TEST(a_dripping_body_does_not_hold_a_worker)
{
    struct world *w = a_world(1, &quick);
    struct client *c = dial(w);
    uint64_t began = now_ms();

    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    drip(c, 4000);
    ck_assert_uint_lt(now_ms() - began, 3000);
    ck_assert_int_eq(hear(c, false)->status, 408);
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    hang_up(c);
    ck_assert_uint_eq(w->fake->writes, 0);
    end_world(w);
}
END_TEST

START_TEST(a_reader_that_does_not_read_does_not_hold_a_worker)
{
    static const struct http_limits limits = {
        .stall_ms = 5000, .keep_alive_ms = 5000, .body_ms = 300, .linger_ms = 100, .idle_ms = 100000, .tick_ms = 20};
    struct world *w = a_world(1, &limits);
    struct client *c = dial(w);
    char *value = malloc(200000), key[16];
    int small = 16384;

    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    memset(value, 'v', 200000);
    for (unsigned i = 0; i < 100; i++) { /* more than the kernel keeps for a connection */
        snprintf(key, sizeof key, "%u", i);
        fake_set(w->node, view_of_text(key), view_of(value, 200000));
    }
    free(value);
    say_text(c, "GET /db/ HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n");
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200); /* waits for the worker */
    ck_assert(hear(c, false)->broken);
    hang_up(c);
    end_world(w);
}
END_TEST

/* They hold one worker each. */
START_TEST(idle_connections_make_room_when_workers_are_short)
{
    static const struct http_limits limits = {
        .stall_ms = 5000, .keep_alive_ms = 60000, .body_ms = 400, .linger_ms = 100, .idle_ms = 150, .tick_ms = 20};
    struct world *w = a_world(2, &limits);
    struct client *one = dial(w), *two;
    uint64_t began = now_ms();

    say_text(one, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(hear(one, false)->status, 200);
    wait_ms(200);
    say_text(one, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); /* not short: it may be idle */
    ck_assert_int_eq(hear(one, false)->status, 200);
    two = dial(w);
    say_text(two, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(hear(two, false)->status, 200);
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    ck_assert_uint_lt(now_ms() - began, 4000);
    hang_up(one);
    hang_up(two);
    end_world(w);
}
END_TEST

START_TEST(silent_connections_make_room_too)
{
    static const struct http_limits limits = {
        .stall_ms = 5000, .keep_alive_ms = 60000, .body_ms = 400, .linger_ms = 100, .idle_ms = 150, .tick_ms = 20};
    struct world *w = a_world(2, &limits);
    struct client *mute = dial(w), *half = dial(w), *behind[3];
    uint64_t began = now_ms();

    say_text(half, "GET /livez HTT");
    for (unsigned i = 0; i < 3; i++)
        behind[i] = dial(w); /* silent as well, and in civetweb's queue */
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    ck_assert_uint_lt(now_ms() - began, 4000);
    ck_assert(has_ended(mute));
    for (unsigned i = 0; i < 3; i++)
        hang_up(behind[i]);
    hang_up(mute);
    hang_up(half);
    end_world(w);
}
END_TEST

START_TEST(stalled_bodies_make_room_too)
{
    static const struct http_limits limits = {
        .stall_ms = 5000, .keep_alive_ms = 60000, .body_ms = 60000, .linger_ms = 100, .idle_ms = 150, .tick_ms = 20};
    struct world *w = a_world(1, &limits);
    struct client *c = dial(w);
    uint64_t began = now_ms();

    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf");
    ck_assert_int_eq(hear(c, false)->status, 408);
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    ck_assert_uint_lt(now_ms() - began, 3000);
    hang_up(c);
    end_world(w);
}
END_TEST

/* A client elsewhere, told by `ports` where the server is: many silent connections, then a request. 0: it was answered. */
static int crowd(int ports)
{
    struct world w = {.port = 0};
    uint64_t until = 0;

    if (read(ports, &w.port, sizeof w.port) != sizeof w.port)
        return 2;
    until = now_ms() + 3000;
    for (unsigned i = 0; i < 30; i++)
        dial(&w);
    while (now_ms() < until)
        if (ask_status(&w, "GET", "/livez") == 200)
            return 0;
    return 1;
}

START_TEST(out_of_descriptors_idle_connections_make_room)
{
    static const struct http_limits limits = {
        .stall_ms = 5000, .keep_alive_ms = 60000, .body_ms = 400, .linger_ms = 100, .idle_ms = 150, .tick_ms = 20};
    struct world *w = NULL;
    struct rlimit before, few;
    int ports[2], probe, status = -1;
    pid_t child;

    ck_assert_int_eq(pipe(ports), 0);
    child = fork(); /* while this is the only thread: a child of several may not even allocate */
    if (child == 0)
        _exit(crowd(ports[0]));
    w = a_world(40, &limits);
    probe = dup(0);
    close(probe);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)probe + 10; /* of the crowd's 30 */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_eq(write(ports[1], &w->port, sizeof w->port), sizeof w->port);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    setrlimit(RLIMIT_NOFILE, &before);
    close(ports[0]);
    close(ports[1]);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(ask_status(w, "GET", "/livez"), 200);
    end_world(w);
}
END_TEST

START_TEST(too_few_descriptors_are_named)
{
    struct node *n = fake_new();
    struct http_options o = {.bind = "localhost", .port = 21999, .threads = 8, .max_value_size = 1};
    struct rlimit before, few;
    struct http *h = NULL;
    struct why why = {""};

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &few);
    ck_assert_int_eq(http_start(&o, n, &h, &why), ERR_NO_RESOURCES);
    ck_assert_ptr_nonnull(strstr(why.text, "ulimit -n"));
    setrlimit(RLIMIT_NOFILE, &before);
    fake_free(n);
}
END_TEST

/* One that waits for its answer is not idle, however long that takes. */
START_TEST(a_waiting_request_is_not_idle)
{
    static const struct http_limits limits = {
        .stall_ms = 5000, .keep_alive_ms = 60000, .body_ms = 400, .linger_ms = 100, .idle_ms = 50, .tick_ms = 10};
    struct world *w = a_world(1, &limits);
    struct client *c = dial(w);

    w->fake->delay_ms = 300;
    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv");
    ck_assert_int_eq(hear(c, false)->status, 201);
    hang_up(c);
    end_world(w);
}
END_TEST

START_TEST(busy_connections_take_turns_when_workers_are_short)
{
    struct world *w = a_world(1, &quick);
    struct client *c = dial(w);
    unsigned answers = 0;
    bool closed = false;

    while (!closed && answers < 200) {
        say_text(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        closed = strcmp(field(hear(c, false), "Connection"), "close") == 0;
        answers++;
    }
    ck_assert_uint_eq(answers, 129);
    ck_assert(has_ended(c));
    hang_up(c);
    end_world(w);
}
END_TEST

TEST_MAIN("http_slow", a_dripping_body_does_not_hold_a_worker, a_reader_that_does_not_read_does_not_hold_a_worker,
          idle_connections_make_room_when_workers_are_short, silent_connections_make_room_too,
          stalled_bodies_make_room_too, out_of_descriptors_idle_connections_make_room, too_few_descriptors_are_named,
          a_waiting_request_is_not_idle, busy_connections_take_turns_when_workers_are_short)
