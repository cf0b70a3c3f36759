#include "net/http_call.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "base/clock.h"
#include "loopback.h"
#include "net/http_answer.h"
#include "net/link.h"

#define WAIT    2000
#define ANSWERS 8

/* ---- the parser ---- */

static struct bytes body;

static int parse_bytes(struct view raw, bool ended, struct http_answer *a)
{
    if (body.limit == 0)
        bytes_init(&body, HTTP_ANSWER_BODY_MAX);
    return http_answer_parse(raw, ended, a, &body);
}

static int parse(const char *raw, bool ended)
{
    struct http_answer a;

    return parse_bytes(view_of_text(raw), ended, &a);
}

struct parsed {
    const char *raw, *body, *location;
    int status;
    bool until_close;
};

static void expect_parsed(const struct parsed *p)
{
    struct http_answer a = {0};

    ck_assert_msg(parse_bytes(view_of_text(p->raw), p->until_close, &a) == 0, "%s", p->raw);
    ck_assert_int_eq(a.status, p->status);
    ck_assert_msg(view_equal(bytes_view(&body), view_of_text(p->body)), "%s", p->raw);
    ck_assert_msg(view_equal(a.location, view_of_text(p->location)), "%s", p->raw);
    for (size_t size = 0; size < strlen(p->raw) && !p->until_close; size++)
        ck_assert_msg(parse_bytes(view_of(p->raw, size), false, &a) == HTTP_ANSWER_MORE, "%zu of %s", size, p->raw);
}

START_TEST(answers_are_understood_and_every_beginning_of_one_wants_more)
{
    static const struct parsed answers[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "", 200, false},
        {"HTTP/1.0 404 No such key\r\ncontent-LENGTH:  0 \r\n\r\n", "", "", 404, false},
        {"HTTP/1.1 200\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "ok", "", 200, false},
        {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok", "", 200, false},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", "", 204, false},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", "", 304, false},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLocation: /no\r\n\r\nHTTP/1.1 201 Made\r\n"
         "Content-Length: 1\r\n\r\nx",
         "x", "", 201, false},
        {"HTTP/1.1 307 T\r\nLOCATION:\t/there \r\nContent-Length: 0\r\n\r\n", "", "/there", 307, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n5;x=y\r\nhello\r\n00B\r\n, and "
         "more.\r\n0\r\nTrailer: x\r\n\r\n",
         "hello, and more.", "", 200, false},
        {"HTTP/1.1 500 Oops\r\n\r\nuntil the end", "until the end", "", 500, true},
        {"HTTP/1.1 500 Oops\r\nX:\r\n\r\n", "", "", 500, true},
    };

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        expect_parsed(&answers[i]);
    bytes_clear(&body);
}
END_TEST

START_TEST(what_is_no_answer_is_malformed)
{
    static const char *const wrong[] = {
        "RFD1",
        "h",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(parse(wrong[i], false) == ERR_MALFORMED, "%s", wrong[i]);
    bytes_clear(&body);
}
END_TEST

START_TEST(heads_and_bodies_have_limits)
{
    size_t size = 3 * HTTP_ANSWER_BODY_MAX;
    char *raw = malloc(size + 1);
    struct http_answer a;
    size_t head;

    memset(raw, 'x', size);
    raw[size] = '\0';
    head = (size_t)sprintf(raw, "HTTP/1.1 200 OK\r\nX: ");
    raw[head] = 'x';
    ck_assert_int_eq(parse_bytes(view_of(raw, HTTP_ANSWER_HEAD_MAX), false, &a), HTTP_ANSWER_MORE);
    ck_assert_int_eq(parse_bytes(view_of(raw, HTTP_ANSWER_HEAD_MAX + 1), false, &a), ERR_MALFORMED);
    memset(raw, 'x', size);
    head = (size_t)sprintf(raw, "HTTP/1.1 200 OK\r\n\r\n");
    raw[head] = 'x';
    ck_assert_int_eq(parse_bytes(view_of(raw, head + HTTP_ANSWER_BODY_MAX), true, &a), 0);
    ck_assert_uint_eq(body.size, HTTP_ANSWER_BODY_MAX);
    ck_assert_int_eq(parse_bytes(view_of(raw, head + HTTP_ANSWER_BODY_MAX + 1), false, &a), ERR_MALFORMED);
    memset(raw, 'x', size);
    head = (size_t)sprintf(raw, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n");
    memcpy(raw + head + 0x10000, "\r\n1\r\nx\r\n0\r\n\r\n", 13);
    ck_assert_int_eq(parse_bytes(view_of(raw, head + 0x10000 + 13), false, &a), ERR_MALFORMED);
    free(raw);
    bytes_clear(&body);
}
END_TEST

/* ---- the call ---- */

/* A server with a script: one answer for each connection, in order; it keeps what it was asked last. */
struct server {
    int listener;
    struct address at;
    const char *answers[ANSWERS];
    unsigned count;
    size_t piece; /* bytes at a time; 0: all at once */
    char asked[2048];
    pthread_t thread;
};

static void serve_one(struct server *s, const char *answer)
{
    size_t at = 0;
    size_t got = 0;
    int fd = -1;

    if (socket_accept(s->listener, WAIT, &fd) != 0)
        return;
    while (at < sizeof s->asked - 1 && socket_read_some(fd, s->asked + at, sizeof s->asked - 1 - at, WAIT, &got) == 0) {
        const char *end;

        at += got;
        s->asked[at] = '\0';
        end = strstr(s->asked, "\r\n\r\n");
        if (end != NULL && (strstr(s->asked, "Content-Length: 0") != NULL || end[4] != '\0'))
            break;
    }
    for (size_t sent = 0, size = strlen(answer); sent < size;) {
        size_t piece = s->piece != 0 && s->piece < size - sent ? s->piece : size - sent;

        if (send(fd, answer + sent, piece, MSG_NOSIGNAL) < 0)
            break;
        sent += piece;
        if (s->piece != 0)
            usleep(100);
    }
    socket_close(fd);
}

static void *server_main(void *arg)
{
    struct server *s = arg;

    for (unsigned i = 0; i < s->count; i++)
        serve_one(s, s->answers[i]);
    return NULL;
}

static void server_listen(struct server *s)
{
    *s = (struct server){0};
    s->listener = loopback_listen(&s->at);
}

static void server_says(struct server *s, const char *answer)
{
    ck_assert_uint_lt(s->count, ANSWERS);
    s->answers[s->count++] = answer;
}

static void server_run(struct server *s)
{
    ck_assert_int_eq(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(struct server *s)
{
    socket_shutdown(s->listener);
    pthread_join(s->thread, NULL);
    socket_close(s->listener);
}

struct result {
    int err, status;
    struct address from;
    char text[256];
    struct why why;
};

static struct result call(const struct address *to, const char *request, int timeout_ms)
{
    struct result r = {.from = *to};
    struct bytes answer;

    bytes_init(&answer, HTTP_CALL_BODY_MAX);
    bytes_append_text(&answer, "left over from before");
    r.err = http_call("POST", &r.from, "/join", view_of_text(request), timeout_ms, &r.status, &answer, &r.why);
    if (answer.size > 0 && answer.size < sizeof r.text)
        memcpy(r.text, answer.data, answer.size);
    bytes_clear(&answer);
    return r;
}

/* Calls a server that answers just this. */
static struct result call_one(const char *answer, size_t piece)
{
    struct server s;
    struct result r;

    server_listen(&s);
    s.piece = piece;
    server_says(&s, answer);
    server_run(&s);
    r = call(&s.at, "{}", WAIT);
    server_stop(&s);
    return r;
}

START_TEST(a_request_says_what_is_needed_and_the_answer_comes_back)
{
    struct server s;
    struct result r;
    char host[64];

    server_listen(&s);
    server_says(&s, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    server_run(&s);
    r = call(&s.at, "{\"name\":\"x\"}", WAIT);
    server_stop(&s);
    ck_assert_int_eq(r.err, 0);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.text, "done");
    ck_assert_uint_eq(r.from.port, s.at.port);
    ck_assert_ptr_eq(strstr(s.asked, "POST /join HTTP/1.1\r\n"), s.asked);
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", (unsigned)s.at.port);
    ck_assert_ptr_nonnull(strstr(s.asked, host));
    ck_assert_ptr_nonnull(strstr(s.asked, "\r\nContent-Length: 12\r\n"));
    ck_assert_ptr_nonnull(strstr(s.asked, "\r\nConnection: close\r\n"));
    ck_assert_ptr_nonnull(strstr(s.asked, "\r\n\r\n{\"name\":\"x\"}"));
}
END_TEST

START_TEST(answers_come_in_any_framing_and_any_pieces)
{
    static const char *const same[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        for (size_t piece = 0; piece < 3; piece++) {
            struct result r = call_one(same[i], piece);

            ck_assert_msg(r.err == 0, "%s", r.why.text);
            ck_assert_str_eq(r.text, "hello");
        }
    }
}
END_TEST

START_TEST(an_error_is_an_answer_too)
{
    struct result r = call_one("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno", 0);

    ck_assert_int_eq(r.err, 0);
    ck_assert_int_eq(r.status, 409);
    ck_assert_str_eq(r.text, "no");
    r = call_one("HTTP/1.1 307 Go\r\nContent-Length: 0\r\n\r\n", 0); /* it does not say where */
    ck_assert_int_eq(r.err, 0);
    ck_assert_int_eq(r.status, 307);
}
END_TEST

START_TEST(a_redirection_is_followed_with_method_and_body)
{
    struct server a, b;
    struct result r;
    char location[256];

    server_listen(&a);
    server_listen(&b);
    snprintf(location, sizeof location,
             "HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:%u/there?x=%%2F\r\nContent-Length: 4\r\n\r\ngone",
             (unsigned)b.at.port);
    server_says(&a, location);
    server_says(&b, "HTTP/1.1 308 Go\r\nLocation: /here\r\nContent-Length: 0\r\n\r\n");
    server_says(&b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhome");
    server_run(&a);
    server_run(&b);
    r = call(&a.at, "{\"a\":1}", WAIT);
    server_stop(&a);
    server_stop(&b);
    ck_assert_msg(r.err == 0, "%s", r.why.text);
    ck_assert_str_eq(r.text, "home");
    ck_assert_uint_eq(r.from.port, b.at.port);
    ck_assert_ptr_eq(strstr(b.asked, "POST /here HTTP/1.1\r\n"), b.asked);
    ck_assert_ptr_nonnull(strstr(b.asked, "\r\n\r\n{\"a\":1}"));
}
END_TEST

START_TEST(circles_and_long_ways_end)
{
    static const char *const ways[] = {"/1", "/2", "/3", "/4", "/5", "/6"};
    char answers[6][128];
    struct server s;
    struct result r = call_one("HTTP/1.1 307 Go\r\nLocation: /join\r\nContent-Length: 0\r\n\r\n", 0);

    ck_assert_int_eq(r.err, ERR_UNREACHABLE);
    ck_assert_msg(strstr(r.why.text, "circle") != NULL, "%s", r.why.text);
    server_listen(&s);
    for (int i = 0; i < 6; i++) {
        snprintf(answers[i], sizeof answers[i], "HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                 ways[i]);
        server_says(&s, answers[i]);
    }
    server_run(&s);
    r = call(&s.at, "{}", WAIT);
    server_stop(&s);
    ck_assert_int_eq(r.err, ERR_UNREACHABLE);
    ck_assert_ptr_eq(strstr(s.asked, "POST /5 HTTP/1.1\r\n"), s.asked); /* five were followed */
}
END_TEST

START_TEST(a_redirection_to_what_is_no_http_url_is_malformed)
{
    static const char *const wrong[] = {"https://h:1/", "ftp://h/",    "h:1/x",        "http://",      "http:///x",
                                        "http://h:0/",  "http://h:x/", "http://a b/",  "http://u@h/x", "/a b",
                                        "/a\x01",       "?x",          "http://h:1?x", "http://[::1/"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char answer[256];
        struct result r;

        snprintf(answer, sizeof answer, "HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", wrong[i]);
        r = call_one(answer, 0);
        ck_assert_msg(r.err == ERR_MALFORMED, "%s: %d %s", wrong[i], r.err, r.why.text);
    }
}
END_TEST

START_TEST(who_speaks_something_else_or_ends_early_is_told_apart)
{
    struct result r = call_one("220 mail.example ESMTP\r\n", 0);

    ck_assert_int_eq(r.err, ERR_MALFORMED);
    ck_assert_msg(strstr(r.why.text, "/join") != NULL, "%s", r.why.text);
    r = call_one("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 0);
    ck_assert_int_eq(r.err, ERR_CLOSED);
    r = call_one("", 0);
    ck_assert_int_eq(r.err, ERR_CLOSED);
}
END_TEST

START_TEST(who_is_not_there_or_says_nothing_is_named)
{
    struct address at;
    char text[ADDRESS_MAX];
    int listener = loopback_listen(&at);
    uint64_t begun = clock_now_ms();
    struct result r = call(&at, "{}", 80);

    ck_assert_int_eq(r.err, ERR_TIMEOUT);
    ck_assert_uint_lt(clock_now_ms() - begun, 600);
    socket_close(listener);
    r = call(&at, "{}", WAIT);
    ck_assert_int_eq(r.err, ERR_UNREACHABLE);
    address_format(&at, text, sizeof text);
    ck_assert_msg(strstr(r.why.text, text) != NULL, "%s", r.why.text);
}
END_TEST

START_TEST(an_endless_answer_is_cut_off)
{
    static const char chunk[] = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n";
    struct bytes answer;
    struct result r;

    bytes_init(&answer, 1 << 20);
    bytes_append_text(&answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (answer.size < 900000)
        bytes_append_text(&answer, chunk);
    bytes_append_char(&answer, '\0');
    r = call_one((const char *)answer.data, 0);
    ck_assert_int_eq(r.err, ERR_MALFORMED);
    bytes_clear(&answer);
}
END_TEST

START_TEST(a_path_must_be_one)
{
    struct address at = {.host = "127.0.0.1", .port = 9};
    struct why why;
    int status;
    struct bytes b;

    bytes_init(&b, HTTP_CALL_BODY_MAX);
    ck_assert_int_eq(http_call("GET", &at, "join", view_of(NULL, 0), 10, &status, &b, &why), ERR_INVALID);
    ck_assert_int_eq(http_call("GET", &at, "/a\r\nX: y", view_of(NULL, 0), 10, &status, &b, &why), ERR_INVALID);
    bytes_clear(&b);
}
END_TEST

/* A -join that names a peer port finds its way to the client port. */
struct peer_port {
    int listener;
    char url[64];
};

static void *peer_port_main(void *arg)
{
    const struct peer_port *p = arg;
    struct link *l = link_new();
    struct hello hello;
    int fd;

    ck_assert_int_eq(socket_accept(p->listener, WAIT, &fd), 0);
    ck_assert_int_eq(link_accept(l, fd, p->url, WAIT, &hello), ERR_REFUSED);
    link_free(l);
    return NULL;
}

START_TEST(a_call_to_a_peer_port_reaches_the_client_port)
{
    struct server s;
    struct peer_port p;
    struct address at;
    struct result r;
    pthread_t thread;

    server_listen(&s);
    server_says(&s, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    server_run(&s);
    p.listener = loopback_listen(&at);
    snprintf(p.url, sizeof p.url, "http://127.0.0.1:%u", (unsigned)s.at.port);
    pthread_create(&thread, NULL, peer_port_main, &p);
    r = call(&at, "{}", WAIT);
    pthread_join(thread, NULL);
    socket_close(p.listener);
    server_stop(&s);
    ck_assert_msg(r.err == 0, "%s", r.why.text);
    ck_assert_str_eq(r.text, "done");
    ck_assert_uint_eq(r.from.port, s.at.port);
    ck_assert_ptr_eq(strstr(s.asked, "POST /join HTTP/1.1\r\n"), s.asked);
}
END_TEST

TEST_MAIN("http_call", answers_are_understood_and_every_beginning_of_one_wants_more, what_is_no_answer_is_malformed,
          heads_and_bodies_have_limits, a_request_says_what_is_needed_and_the_answer_comes_back,
          answers_come_in_any_framing_and_any_pieces, an_error_is_an_answer_too,
          a_redirection_is_followed_with_method_and_body, circles_and_long_ways_end,
          a_redirection_to_what_is_no_http_url_is_malformed, who_speaks_something_else_or_ends_early_is_told_apart,
          who_is_not_there_or_says_nothing_is_named, an_endless_answer_is_cut_off, a_path_must_be_one,
          a_call_to_a_peer_port_reaches_the_client_port)
