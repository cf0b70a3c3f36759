/* HTTP itself, kind and hostile: framing, limits, connections, start and stop. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../suite.h"
#include "client.h"

/* ---- requests that two readers could take differently ---- */

#define SMUGGLED "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

/* One answer, 400 or another refusal, then the end: never a second answer. */
static void is_refused(struct world *w, const char *request, int status)
{
    struct client *c = dial(w);
    const struct answer *a;

    say_text(c, request);
    a = hear(c, false);
    ck_assert_msg(a->status == status, "%d: %s", a->status, request);
    ck_assert_str_eq(field(a, "Connection"), "close");
    ck_assert_str_eq(field(a, "Raftd-Node"), "one");
    ck_assert_msg(has_ended(c), "%s", request);
    hang_up(c);
}

START_TEST(ambiguous_framing_is_refused)
{
    static const char *const bad[] = {
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 34\r\n\r\n0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\nv" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\n Host: x\r\nContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\n: a\r\nContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5xyz\r\n\r\nabcde" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nabcde" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length : 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\nContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\nHost: x\nContent-Length: 34\n\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\n\r\nContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\rContent-Length: 34\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "GET /db/k HTTP/1.1\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "identity\r\n\r\n0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "PUT  /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "PUT /db/k  HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1 \r\nHost: x\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "PUT /db/k\r\nHost: x\r\n\r\n" SMUGGLED,
        "put /db/k HTTP/1.1\r\nHost: x\r\n\r\n" SMUGGLED,
        "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n" SMUGGLED,
        "nonsense\r\n\r\n" SMUGGLED,
        "PUT /db/k HTTP/1.1\r\nHost: x\r\nX\r\n\r\n" SMUGGLED,
        "PUT /db/\xff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" SMUGGLED,
        "GET /db/k HTTP/1.1\r\nHost: x\r\nX: \x01\r\n\r\n" SMUGGLED,
    };
    struct world *w = a_world(1, &quick);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        is_refused(w, bad[i], 400);
    is_refused(w, "GET /db/k HTTP/2.0\r\nHost: x\r\n\r\n" SMUGGLED, 505);
    ck_assert_uint_eq(w->fake->writes, 0);
    end_world(w);
}
END_TEST

START_TEST(malformed_chunks_are_refused)
{
    static const char *const bad[] = {
        "xyz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "3;a=b\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "7fffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "\r\n0\r\n\r\n",
    };
    struct world *w = a_world(1, &quick);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct client *c = dial(w);

        say_format(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s" SMUGGLED, bad[i]);
        shutdown(c->fd, SHUT_WR);
        ck_assert_msg(hear(c, false)->status == 400, "%s", bad[i]);
        ck_assert_msg(has_ended(c), "%s", bad[i]);
        hang_up(c);
    }
    ck_assert_uint_eq(w->fake->writes, 0);
    end_world(w);
}
END_TEST

static void say_with_headers(struct client *c, unsigned count)
{
    say_text(c, "GET /livez HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 1; i < count; i++)
        say_format(c, "X-%u: y\r\n", i);
    say_text(c, "\r\n");
}

/* civetweb ignores the 65th header without a word: it might be the Content-Length. */
START_TEST(too_many_headers_are_refused)
{
    struct world *w = a_world(1, &quick);
    struct client *c = dial(w);

    say_with_headers(c, 64);
    ck_assert_int_eq(hear(c, false)->status, 200);
    say_with_headers(c, 65);
    ck_assert_int_eq(hear(c, false)->status, 431);
    ck_assert(has_ended(c));
    hang_up(c);
    c = dial(w);
    say_text(c, "GET /livez HTTP/1.1\r\nHost: x\r\nX: ");
    for (unsigned i = 0; i < 2500; i++)
        say_text(c, "yyyyyyyy");
    ck_assert_int_eq(hear(c, false)->status, 400);
    ck_assert(has_ended(c));
    hang_up(c);
    end_world(w);
}
END_TEST

/* civetweb skips blank lines before a request, and goes on into what an earlier one left in its buffer. */
START_TEST(an_old_request_is_not_answered_again)
{
    struct world *w = a_world(1, &quick);
    struct client *c = dial(w);
    char first[301], blank[301];

    memset(blank, ' ', sizeof blank);
    blank[300] = '\0';
    memcpy(first, blank, sizeof first);
    memcpy(first, "GET /livez HTTP/1.1\r\nHost: x\r\nX: ", 33);
    memcpy(first + 295, "x\r\n\r\n", 5);
    say_format(c, "%sPUT /db/again HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", first);
    ck_assert_int_eq(hear(c, false)->status, 200);
    ck_assert_int_eq(hear(c, false)->status, 201); /* what was read of it at first is 300 bytes into the buffer */
    hang_up(c);
    c = dial(w);
    memcpy(blank, "\r\n\r\n", 4);
    say_text(c, blank);
    ck_assert_int_eq(hear(c, false)->status, 400);
    ck_assert(has_ended(c));
    hang_up(c);
    ck_assert_uint_eq(w->fake->writes, 1);
    c = dial(w); /* one empty line is tolerated, as RFC 9112 asks */
    say_text(c, "\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(hear(c, false)->status, 200);
    hang_up(c);
    end_world(w);
}
END_TEST

/* ---- bodies ---- */

START_TEST(a_body_in_chunks)
{
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);

    say_text(
        c, "PUT /db/k HTTP/1.1\r\nHost: x\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
           "GET /db/k HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(hear(c, false)->status, 201);
    ck_assert_str_eq(hear(c, false)->body, "abc0123456789");
    hang_up(c);
    end_world(w);
}
END_TEST

START_TEST(a_value_that_is_too_large_is_refused_unread)
{
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);
    char value[MAX_VALUE + 1];
    const struct answer *a;

    memset(value, 'v', sizeof value);
    say_format(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", MAX_VALUE);
    say(c, value, MAX_VALUE);
    ck_assert_int_eq(hear(c, false)->status, 201);
    say_format(c, "PUT /db/k2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1 << 20); /* and no byte of it */
    a = hear(c, false);
    ck_assert_int_eq(a->status, 413);
    ck_assert_ptr_nonnull(strstr(a->body, "4096 bytes"));
    ck_assert_ptr_nonnull(strstr(a->body, "-max-value-size"));
    ck_assert(has_ended(c));
    hang_up(c);
    c = dial(w);
    say_format(c, "PUT /db/k2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", MAX_VALUE + 1);
    say(c, value, sizeof value);
    say_text(c, "\r\n0\r\n\r\n" SMUGGLED);
    ck_assert_int_eq(hear(c, false)->status, 413);
    ck_assert(has_ended(c));
    hang_up(c);
    ck_assert_uint_eq(w->fake->writes, 1);
    end_world(w);
}
END_TEST

/* curl waits a second for it. */
START_TEST(expect_is_answered_when_the_body_is_wanted)
{
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);

    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    ck_assert_int_eq(hear(c, false)->status, 100);
    say_text(c, "abc");
    ck_assert_int_eq(hear(c, false)->status, 201);
    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 5000\r\n\r\n");
    ck_assert_int_eq(hear(c, false)->status, 413); /* at once, and without 100 */
    ck_assert(has_ended(c));
    hang_up(c);
    c = dial(w);
    say_text(c, "PUT /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    ck_assert_int_eq(hear(c, false)->status, 404);
    ck_assert(has_ended(c));
    hang_up(c);
    c = dial(w);
    say_text(c, "GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"); /* no body: nothing to expect */
    ck_assert_int_eq(hear(c, false)->status, 200);
    say_text(c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nExpect: gold\r\nContent-Length: 3\r\n\r\nabc");
    ck_assert_int_eq(hear(c, false)->status, 417);
    hang_up(c);
    ck_assert_uint_eq(w->fake->writes, 1);
    end_world(w);
}
END_TEST

START_TEST(a_body_that_nobody_asked_for_is_ignored)
{
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);

    fake_set(w->node, view_of_text("k"), view_of_text("v"));
    say_text(c, "GET /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                "DELETE /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                "PATCH /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_str_eq(hear(c, false)->body, "v");
    ck_assert_int_eq(hear(c, false)->status, 204);
    ck_assert_int_eq(hear(c, false)->status, 404);
    ck_assert_int_eq(hear(c, false)->status, 405);
    ck_assert_int_eq(hear(c, false)->status, 200);
    hang_up(c);
    end_world(w);
}
END_TEST

/* ---- connections ---- */

START_TEST(requests_in_a_row_are_answered_in_order)
{
    struct world *w = a_world(1, &quick);
    struct client *c = dial(w);

    for (unsigned i = 0; i < 50; i++)
        say_format(
            c, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n%02uGET /db/k HTTP/1.1\r\nHost: x\r\n\r\n",
            i);
    for (int i = 0; i < 50; i++) {
        int status = hear(c, false)->status;

        ck_assert_int_eq(status, i == 0 ? 201 : 204);
        ck_assert_int_eq(atoi(hear(c, false)->body), i);
    }
    hang_up(c);
    end_world(w);
}
END_TEST

START_TEST(connections_stay_or_end_as_asked)
{
    static const struct {
        const char *request, *connection;
        bool ends;
    } cases[] = {
        {"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "", false},
        {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n", "", false},
        {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "close", true},
        {"GET /livez HTTP/1.0\r\n\r\n", "close", true},
        {"GET /livez HTTP/1.0\r\nHost: x\r\n\r\n", "close", true},
        {"GET /livez HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", "keep-alive", false},
        {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", "close",
         true},
        {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "close",
         true},
    };
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client *c = dial(w);
        const struct answer *a;

        say_text(c, cases[i].request);
        a = hear(c, false);
        ck_assert_int_eq(a->status, 200);
        ck_assert_str_eq(a->body, "alive\n");
        ck_assert_str_eq(field(a, "Connection"), cases[i].connection);
        if (cases[i].ends) {
            ck_assert_msg(has_ended(c), "%s", cases[i].request);
        } else {
            say_text(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
            ck_assert_int_eq(hear(c, false)->status, 200);
        }
        hang_up(c);
    }
    end_world(w);
}
END_TEST

START_TEST(the_target_may_be_a_whole_uri)
{
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);

    say_format(c, "PUT http://localhost:%u/db/a%%2F HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv",
               (unsigned)w->port);
    ck_assert_int_eq(hear(c, false)->status, 201);
    hang_up(c);
    ck_assert_str_eq(ask(w, "GET", "/db/a/", NULL, NULL)->body, "v");
    end_world(w);
}
END_TEST

START_TEST(head_answers_have_no_body)
{
    static const char *const paths[] = {"/db/k",   "/db/none", "/db/",     "/cluster",         "/status",
                                        "/livez",  "/readyz",  "/metrics", "/cluster/members", "/nowhere",
                                        "/db/%zz", "/join",    "/"};
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);

    fake_set(w->node, view_of_text("k"), view_of_text("value"));
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int status;

        say_format(c, "HEAD %s HTTP/1.1\r\nHost: x\r\n\r\nGET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i], paths[i]);
        status = hear(c, true)->status;
        ck_assert_msg(hear(c, false)->status == status, "%s", paths[i]);
    }
    hang_up(c);
    end_world(w);
}
END_TEST

START_TEST(no_page_of_another_site_may_read_answers)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a = ask(w, "GET", "/db/k", "Origin: http://evil.example\r\n", NULL);

    ck_assert_ptr_null(strcasestr(a->head, "Access-Control"));
    a = ask(w, "OPTIONS", "/db/k", "Origin: http://evil.example\r\nAccess-Control-Request-Method: PUT\r\n", NULL);
    ck_assert_int_eq(a->status, 204);
    ck_assert_ptr_null(strcasestr(a->head, "Access-Control"));
    end_world(w);
}
END_TEST

/* ---- start and stop ---- */

START_TEST(a_port_that_is_taken_is_named)
{
    struct world *w = a_world(4, &quick);
    struct http_options o = {.bind = "localhost", .port = w->port, .threads = 1, .max_value_size = 1};
    struct http *second = NULL;
    struct why why = {""};
    char port[8];

    snprintf(port, sizeof port, "%u", (unsigned)w->port);
    ck_assert_int_eq(http_start(&o, w->node, &second, &why), ERR_IN_USE);
    ck_assert_ptr_nonnull(strstr(why.text, port));
    snprintf(o.bind, sizeof o.bind, "no.such.host.invalid");
    ck_assert_int_ne(http_start(&o, w->node, &second, &why), 0);
    ck_assert_ptr_null(second);
    end_world(w);
}
END_TEST

static void *drain(void *data)
{
    struct world *w = data;

    http_drain(w->http, 2000);
    return NULL;
}

START_TEST(a_drain_waits_for_those_in_flight_and_refuses_new_ones)
{
    struct world *w = a_world(4, &quick);
    struct client *before = dial(w), *after = dial(w);
    pthread_t thread;
    uint64_t began = now_ms();

    w->fake->delay_ms = 300;
    say_text(before, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv");
    wait_ms(50);
    pthread_create(&thread, NULL, drain, w);
    wait_ms(50);
    say_text(after, "PUT /db/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv");
    ck_assert_int_eq(hear(after, false)->status, 503);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(now_ms() - began, 290);
    ck_assert_int_eq(hear(before, false)->status, 201);
    ck_assert_uint_eq(w->fake->writes, 1);
    hang_up(before);
    hang_up(after);
    end_world(w);
}
END_TEST

START_TEST(a_stop_does_not_wait_for_idle_clients)
{
    struct world *w = a_world(4, &quick);
    struct client *mute = dial(w), *idle = dial(w);
    uint64_t began;

    say_text(idle, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(hear(idle, false)->status, 200);
    wait_ms(20);
    began = now_ms();
    end_world(w);
    ck_assert_uint_lt(now_ms() - began, 1700);
    hang_up(mute);
    hang_up(idle);
}
END_TEST

TEST_MAIN("http_protocol", ambiguous_framing_is_refused, malformed_chunks_are_refused, too_many_headers_are_refused,
          an_old_request_is_not_answered_again, a_body_in_chunks, a_value_that_is_too_large_is_refused_unread,
          expect_is_answered_when_the_body_is_wanted, a_body_that_nobody_asked_for_is_ignored,
          requests_in_a_row_are_answered_in_order, connections_stay_or_end_as_asked, the_target_may_be_a_whole_uri,
          head_answers_have_no_body, no_page_of_another_site_may_read_answers, a_port_that_is_taken_is_named,
          a_drain_waits_for_those_in_flight_and_refuses_new_ones, a_stop_does_not_wait_for_idle_clients)
