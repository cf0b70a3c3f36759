/* How a connection begins: greetings, refusals, and those who come to the wrong port. */
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "base/clock.h"
#include "two_ends.h"

/* The receiver's side of a connection over which somebody strange has said `data`. */
static int accept_bytes(const void *data, size_t size, int timeout_ms)
{
    struct link *l = link_new();
    struct hello hello;
    int client, server, err;

    loopback_pair(&client, &server);
    loopback_send(client, data, size);
    err = link_accept(l, server, URL, timeout_ms, &hello);
    ck_assert(link_is_open(l) == (err == 0));
    socket_close(client);
    link_free(l);
    return err;
}

START_TEST(a_greeting_tells_both_who_they_are)
{
    struct host h;
    struct link *l = a_pair(&h);

    ck_assert(link_is_open(l));
    ck_assert(link_is_open(h.link));
    ck_assert_uint_eq(h.hello.cluster, 77);
    ck_assert_uint_eq(h.hello.from, 1);
    ck_assert_uint_eq(h.hello.to, 2);
    ck_assert_str_eq(h.hello.name, "one");
    ck_assert_str_eq(h.hello.peer, "localhost:14001");
    end_pair(&h, l);
    link_free(NULL);
}
END_TEST

START_TEST(a_refused_greeting_says_why)
{
    struct host h;
    struct link *l = link_new();
    struct hello hello = a_hello();
    struct refusal refusal = {0};

    host_start(&h);
    h.refusal = (struct refusal){.reason = REFUSAL_CLUSTER, .config_index = 9, .text = "not ours"};
    host_run(&h);
    ck_assert_int_eq(link_open(l, &h.at, &hello, WAIT, &refusal), ERR_REFUSED);
    ck_assert_int_eq(refusal.reason, REFUSAL_CLUSTER);
    ck_assert_uint_eq(refusal.config_index, 9);
    ck_assert_str_eq(refusal.text, "not ours");
    ck_assert(!link_is_open(l));
    host_join(&h);
    ck_assert(!link_is_open(h.link));
    end_pair(&h, l);
}
END_TEST

START_TEST(a_welcome_from_another_or_with_another_version_is_malformed)
{
    static const struct welcome wrong[] = {{.version = 1, .id = 3}, {.version = PROTOCOL_VERSION_MAX + 1, .id = 2}};

    for (int i = 0; i < 2; i++) {
        struct host h;
        struct link *l = link_new();
        struct hello hello = a_hello();
        struct refusal refusal;

        host_start(&h);
        h.welcome = wrong[i];
        host_run(&h);
        ck_assert_int_eq(link_open(l, &h.at, &hello, WAIT, &refusal), ERR_MALFORMED);
        host_join(&h);
        end_pair(&h, l);
    }
}
END_TEST

START_TEST(who_does_not_answer_a_hello_is_given_up_in_time)
{
    struct address at;
    int listener = loopback_listen(&at);
    struct link *l = link_new();
    struct hello hello = a_hello();
    struct refusal refusal;
    uint64_t begun = clock_now_ms();

    ck_assert_int_eq(link_open(l, &at, &hello, 80, &refusal), ERR_TIMEOUT);
    ck_assert_uint_ge(clock_now_ms() - begun, 80);
    ck_assert_uint_lt(clock_now_ms() - begun, 600);
    ck_assert(!link_is_open(l));
    socket_close(listener);
    ck_assert_int_eq(link_open(l, &at, &hello, WAIT, &refusal), ERR_UNREACHABLE);
    link_free(l);
}
END_TEST

START_TEST(who_begins_with_anything_but_a_hello_is_malformed)
{
    uint8_t raw[2048];
    size_t size = raw_hello(raw);

    ck_assert_int_eq(accept_bytes(raw, size, WAIT), 0);
    ck_assert_int_eq(accept_bytes("\x16\x03\x01\x02junk", 8, WAIT), ERR_MALFORMED); /* TLS */
    ck_assert_int_eq(accept_bytes("RFD2\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, WAIT), ERR_MALFORMED);
    size = raw_frame(FRAME_MESSAGE, view_of_text("x"), raw);
    ck_assert_int_eq(accept_bytes(raw, size, WAIT), ERR_MALFORMED);
    size = raw_frame(FRAME_HELLO, view_of_text("no hello"), raw);
    ck_assert_int_eq(accept_bytes(raw, size, WAIT), ERR_MALFORMED);
    size = raw_hello(raw);
    raw[size - 1] ^= 1;
    ck_assert_int_eq(accept_bytes(raw, size, WAIT), ERR_CORRUPT);
    ck_assert_int_eq(accept_bytes(raw, size - 1, 50), ERR_TIMEOUT);
    ck_assert_int_eq(accept_bytes(raw, 3, 50), ERR_TIMEOUT);
}
END_TEST

START_TEST(nothing_large_is_awaited_before_the_greeting)
{
    static const uint32_t sizes[] = {FRAME_GREETING_MAX + 1, FRAME_PAYLOAD_MAX, INT32_MAX, UINT32_MAX - 24, UINT32_MAX};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t header[FRAME_HEADER_SIZE];

        frame_header_encode(FRAME_HELLO, sizes[i], 0, header);
        ck_assert_int_eq(accept_bytes(header, sizeof header, WAIT), ERR_MALFORMED);
    }
}
END_TEST

START_TEST(a_dripped_hello_does_not_stretch_the_deadline)
{
    struct link *l = link_new();
    struct hello hello;
    uint8_t raw[2048];
    struct dripper d = {.bytes = 400, .data = raw};
    int server;
    uint64_t begun;
    pthread_t thread;

    raw_hello(raw);
    loopback_pair(&d.fd, &server);
    pthread_create(&thread, NULL, drip, &d);
    begun = clock_now_ms();
    ck_assert_int_eq(link_accept(l, server, URL, 100, &hello), ERR_TIMEOUT);
    ck_assert_uint_lt(clock_now_ms() - begun, 1500);
    pthread_join(thread, NULL);
    socket_close(d.fd);
    link_free(l);
}
END_TEST

/* ---- HTTP on the peer port ---- */

/* What a client that says `request` is answered. */
static void http_answer(const char *request, const char *url, char *answer, size_t size)
{
    struct link *l = link_new();
    struct hello hello;
    size_t at = 0;
    size_t got = 0;
    int client, server;

    loopback_pair(&client, &server);
    loopback_send_text(client, request);
    socket_finish(client);
    ck_assert_int_eq(link_accept(l, server, url, WAIT, &hello), ERR_REFUSED);
    ck_assert(!link_is_open(l));
    while (socket_read_some(client, answer + at, size - 1 - at, WAIT, &got) == 0)
        at += got;
    answer[at] = '\0';
    socket_close(client);
    link_free(l);
}

START_TEST(http_is_sent_to_the_client_port)
{
    char answer[8192];
    const char *body;
    unsigned length = 0;

    http_answer("POST /join?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", URL "/", answer, sizeof answer);
    ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 307 Temporary Redirect\r\n"), answer);
    ck_assert_ptr_nonnull(strstr(answer, "\r\nLocation: " URL "/join?x=1\r\n"));
    ck_assert_ptr_nonnull(strstr(answer, "\r\nConnection: close\r\n"));
    body = strstr(answer, "\r\n\r\n");
    ck_assert_ptr_nonnull(body);
    ck_assert_int_eq(sscanf(strstr(answer, "Content-Length: "), "Content-Length: %u", &length), 1);
    ck_assert_uint_eq(strlen(body + 4), length);
    ck_assert_int_eq(body[strlen(body) - 1], '\n');
}
END_TEST

START_TEST(a_strange_request_line_is_sent_to_the_root)
{
    static const char *const requests[] = {"GET \r\n\r\n", "GET /a\tb HTTP/1.1\r\n", "GET http://x/ HTTP/1.1\r\n",
                                           "GET /no-end\r\n", "POST  / HTTP/1.1\r\n"};
    char answer[8192];

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        http_answer(requests[i], URL, answer, sizeof answer);
        ck_assert_msg(strstr(answer, "\r\nLocation: " URL "/\r\n") != NULL, "%s: %s", requests[i], answer);
    }
}
END_TEST

START_TEST(a_request_line_without_end_is_malformed)
{
    char line[2 * FRAME_GREETING_MAX];

    memset(line, 'x', sizeof line);
    memcpy(line, "GET /", 5);
    ck_assert_int_eq(accept_bytes(line, sizeof line, WAIT), ERR_MALFORMED);
    ck_assert_int_eq(accept_bytes(line, 100, 50), ERR_TIMEOUT);
}
END_TEST

/* A request to a member that answers HTTP at this port itself. */
static int read_request(const char *request, size_t size, int timeout_ms, char answer[4096])
{
    struct link *l = link_new();
    struct link_request q = {0};
    struct hello hello;
    size_t got = 0, at = 0;
    int client, server, err;

    loopback_pair(&client, &server);
    loopback_send(client, request, size);
    ck_assert_int_eq(link_accept(l, server, NULL, WAIT, &hello), LINK_SPEAKS_HTTP);
    ck_assert(link_is_open(l));
    err = link_read_request(l, timeout_ms, &q);
    ck_assert(link_is_open(l) == (err == 0));
    answer[0] = '\0';
    if (err == 0) {
        snprintf(answer, 4096, "%.*s %.*s %.*s", (int)q.method.size, (const char *)q.method.data, (int)q.target.size,
                 (const char *)q.target.data, (int)q.body.size, (const char *)q.body.data);
        link_answer(l, 307, "http://h:1/x", view_of_text("so\n"), WAIT);
        ck_assert(!link_is_open(l));
        while (socket_read_some(client, answer + strlen(answer) + 1 + at, 1000, 50, &got) == 0)
            at += got;
        ck_assert_ptr_nonnull(memmem(answer, strlen(answer) + 1 + at, "\r\nLocation: http://h:1/x\r\n", 26));
        ck_assert_ptr_nonnull(memmem(answer, strlen(answer) + 1 + at, "\r\n\r\nso\n", 7));
    }
    socket_close(client);
    link_free(l);
    return err;
}

static int read_text(const char *request, char answer[4096])
{
    return read_request(request, strlen(request), 100, answer);
}

START_TEST(a_request_is_read_whole)
{
    char answer[4096];

    ck_assert_int_eq(read_text("POST /a?b HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 3\r\n\r\nxyz", answer), 0);
    ck_assert_str_eq(answer, "POST /a?b xyz");
    ck_assert_int_eq(read_text("GET /a HTTP/1.1\r\n\r\n", answer), 0);
    ck_assert_str_eq(answer, "GET /a ");
    ck_assert_int_eq(read_text("POSTX\r\n\r\n", answer), 0);
    ck_assert_str_eq(answer, " / ");
}
END_TEST

START_TEST(a_request_that_is_not_whole_or_too_large_is_refused)
{
    char answer[4096], large[2 * LINK_REQUEST_MAX];

    ck_assert_int_eq(read_text("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxy", answer), ERR_TIMEOUT);
    ck_assert_int_eq(read_text("POST /a HTTP/1.1\r\nHost", answer), ERR_TIMEOUT);
    ck_assert_int_eq(read_text("POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", answer), ERR_MALFORMED);
    ck_assert_int_eq(read_text("POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", answer), ERR_MALFORMED);
    ck_assert_int_eq(read_text("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", answer),
                     ERR_MALFORMED);
    memset(large, 'x', sizeof large);
    memcpy(large, "GET /", 5);
    ck_assert_int_eq(read_request(large, sizeof large, 100, answer), ERR_MALFORMED);
}
END_TEST

TEST_MAIN("greeting", a_greeting_tells_both_who_they_are, a_refused_greeting_says_why,
          a_welcome_from_another_or_with_another_version_is_malformed, who_does_not_answer_a_hello_is_given_up_in_time,
          who_begins_with_anything_but_a_hello_is_malformed, nothing_large_is_awaited_before_the_greeting,
          a_dripped_hello_does_not_stretch_the_deadline, http_is_sent_to_the_client_port,
          a_strange_request_line_is_sent_to_the_root, a_request_line_without_end_is_malformed, a_request_is_read_whole,
          a_request_that_is_not_whole_or_too_large_is_refused)
