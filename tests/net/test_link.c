#include "net/link.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../suite.h"
#include "base/clock.h"
#include "base/codec.h"
#include "two_ends.h"

#define LARGE  (3u << 20)
#define FLOODS (48u << 20)

/* A link that has welcomed a descriptor. */
static struct link *a_receiver(int *client)
{
    struct link *l = link_new();
    struct welcome w = {.version = 1, .id = 2};
    struct hello hello;
    uint8_t raw[2048];
    int server;

    loopback_pair(client, &server);
    loopback_send(*client, raw, raw_hello(raw));
    ck_assert_int_eq(link_accept(l, server, URL, WAIT, &hello), 0);
    ck_assert_int_eq(link_welcome(l, &w, WAIT), 0);
    return l;
}

/* ---- frames ---- */

START_TEST(frames_arrive_in_order_and_whole)
{
    struct host h;
    struct link *l = a_pair(&h);
    struct refusal refusal;
    enum frame_type type;
    struct view payload;

    for (int i = 0; i < 500; i++) {
        char text[32];

        snprintf(text, sizeof text, "message %d", i);
        ck_assert_int_eq(send_text(l, text, &refusal), 0);
    }
    for (int i = 0; i < 500; i++) {
        char text[32];

        snprintf(text, sizeof text, "message %d", i);
        expect_text(h.link, text);
    }
    ck_assert_int_eq(link_send(l, FRAME_HELLO, NULL, 0, WAIT, &refusal), 0);
    ck_assert_int_eq(link_receive(h.link, WAIT, &type, &payload), 0);
    ck_assert_int_eq(type, FRAME_HELLO);
    ck_assert_uint_eq(payload.size, 0);
    end_pair(&h, l);
}
END_TEST

/* Sends `count` large frames in parts of odd sizes, then a small one. */
struct sending {
    struct link *link;
    unsigned count;
    int err;
};

static void fill_large(uint8_t *data, unsigned which)
{
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (uint8_t)(i + i / 255 + which);
}

static void *send_large(void *arg)
{
    struct sending *s = arg;
    uint8_t *data = malloc(LARGE);
    struct refusal refusal;

    for (unsigned n = 0; n < s->count && s->err == 0; n++) {
        struct iovec parts[LINK_PARTS_MAX];
        size_t at = 0;
        int count = 0;

        fill_large(data, n);
        while (count < LINK_PARTS_MAX - 1) {
            size_t size = (size_t)count % 5 * 997;

            parts[count++] = (struct iovec){data + at, size};
            at += size;
        }
        parts[count++] = (struct iovec){data + at, LARGE - at};
        s->err = link_send(s->link, FRAME_MESSAGE, parts, count, WAIT, &refusal);
    }
    if (s->err == 0)
        s->err = send_text(s->link, "small", &refusal);
    free(data);
    return NULL;
}

START_TEST(large_frames_in_many_parts_arrive_whole)
{
    struct host h;
    struct sending s = {.link = a_pair(&h), .count = 4};
    uint8_t *expected = malloc(LARGE);
    pthread_t thread;

    pthread_create(&thread, NULL, send_large, &s);
    for (unsigned n = 0; n < s.count; n++) {
        enum frame_type type;
        struct view payload;

        fill_large(expected, n);
        ck_assert_int_eq(link_receive(h.link, WAIT, &type, &payload), 0);
        ck_assert(view_equal(payload, view_of(expected, LARGE)));
    }
    expect_text(h.link, "small");
    pthread_join(thread, NULL);
    ck_assert_int_eq(s.err, 0);
    ck_assert_int_eq(receive(h.link, 10), ERR_TIMEOUT);
    ck_assert(!link_is_open(h.link));
    free(expected);
    end_pair(&h, s.link);
}
END_TEST

START_TEST(a_frame_may_come_byte_by_byte)
{
    uint8_t raw[64];
    struct dripper d = {.data = raw};
    struct link *l = a_receiver(&d.fd);
    pthread_t thread;

    d.bytes = (unsigned)raw_frame(FRAME_MESSAGE, view_of_text("drops"), raw);
    pthread_create(&thread, NULL, drip, &d);
    expect_text(l, "drops");
    pthread_join(thread, NULL);
    socket_close(d.fd);
    link_free(l);
}
END_TEST

START_TEST(a_frame_after_half_of_another_is_read_on)
{
    uint8_t raw[64];
    size_t size = raw_frame(FRAME_MESSAGE, view_of_text("one"), raw);
    int client;
    struct link *l = a_receiver(&client);

    for (size_t cut = 1; cut < size; cut++) {
        loopback_send(client, raw, size);
        loopback_send(client, raw, cut);
        expect_text(l, "one");
        loopback_send(client, raw + cut, size - cut);
        expect_text(l, "one");
    }
    socket_close(client);
    ck_assert_int_eq(receive(l, WAIT), ERR_CLOSED);
    link_free(l);
}
END_TEST

START_TEST(a_damaged_frame_ends_the_link)
{
    for (size_t at = 16; at < FRAME_HEADER_SIZE + 3; at++) {
        uint8_t raw[64];
        size_t size = raw_frame(FRAME_MESSAGE, view_of_text("one"), raw);
        int client;
        struct link *l = a_receiver(&client);

        raw[at] ^= 0x10;
        loopback_send(client, raw, size);
        ck_assert_int_eq(receive(l, WAIT), ERR_CORRUPT);
        ck_assert(!link_is_open(l));
        ck_assert_int_eq(receive(l, WAIT), ERR_CLOSED);
        socket_close(client);
        link_free(l);
    }
}
END_TEST

START_TEST(a_frame_that_is_none_or_too_large_ends_the_link)
{
    static const uint32_t sizes[] = {FRAME_PAYLOAD_MAX + 1, INT32_MAX, UINT32_MAX};

    for (size_t i = 0; i <= sizeof sizes / sizeof *sizes; i++) {
        uint8_t header[FRAME_HEADER_SIZE] = "POST / HTTP/1.1\r\n";
        int client;
        struct link *l = a_receiver(&client);

        if (i < sizeof sizes / sizeof *sizes)
            frame_header_encode(FRAME_MESSAGE, sizes[i], 0, header);
        loopback_send(client, header, sizeof header);
        ck_assert_int_eq(receive(l, WAIT), ERR_MALFORMED);
        socket_close(client);
        link_free(l);
    }
}
END_TEST

START_TEST(a_close_and_a_reset_end_the_link_wherever_they_come)
{
    uint8_t raw[64];
    size_t size = raw_frame(FRAME_MESSAGE, view_of_text("one"), raw);

    for (size_t cut = 0; cut < size; cut += 7) {
        for (int reset = 0; reset < 2; reset++) {
            int client;
            struct link *l = a_receiver(&client);

            if (cut > 0)
                loopback_send(client, raw, cut);
            if (reset)
                loopback_reset(client);
            else
                socket_close(client);
            ck_assert_int_eq(receive(l, WAIT), ERR_CLOSED);
            ck_assert(!link_is_open(l));
            link_free(l);
        }
    }
}
END_TEST

START_TEST(a_link_may_be_opened_again)
{
    struct host h;
    struct link *l = a_pair(&h);
    struct hello hello = a_hello();
    struct refusal refusal;

    ck_assert_int_eq(send_text(l, "before", &refusal), 0);
    link_close(l);
    link_close(l);
    ck_assert_int_eq(send_text(l, "lost", &refusal), ERR_CLOSED);
    host_run(&h); /* takes the new connection with the same link */
    ck_assert_int_eq(link_open(l, &h.at, &hello, WAIT, &refusal), 0);
    host_join(&h);
    ck_assert_int_eq(h.err, 0);
    ck_assert_int_eq(send_text(l, "after", &refusal), 0);
    expect_text(h.link, "after");
    end_pair(&h, l);
}
END_TEST

/* ---- refusal later, and the other's end ---- */

START_TEST(a_refusal_after_the_greeting_is_seen_before_the_next_send)
{
    struct host h;
    struct link *l = a_pair(&h);
    struct refusal said = {.reason = REFUSAL_NOT_A_MEMBER, .config_index = 30, .text = "removed"};
    struct refusal refusal = {0};

    ck_assert_int_eq(send_text(l, "unread", &refusal), 0);
    link_refuse(h.link, &said, WAIT);
    ck_assert(!link_is_open(h.link));
    ck_assert_int_eq(send_text(l, "more", &refusal), ERR_REFUSED);
    ck_assert_int_eq(refusal.reason, REFUSAL_NOT_A_MEMBER);
    ck_assert_uint_eq(refusal.config_index, 30);
    ck_assert_str_eq(refusal.text, "removed");
    ck_assert(!link_is_open(l));
    end_pair(&h, l);
}
END_TEST

START_TEST(a_link_is_dead_when_the_other_side_closed_or_refused)
{
    struct host h;
    struct link *l = a_pair(&h);
    struct refusal said = {.reason = REFUSAL_NOT_READY};
    struct refusal refusal = {.reason = REFUSAL_CLUSTER};

    ck_assert(!link_is_dead(l, &refusal));
    link_close(h.link);
    usleep(2000);
    ck_assert(link_is_dead(l, &refusal));
    ck_assert_int_eq(refusal.reason, 0);
    ck_assert(!link_is_open(l));
    ck_assert(link_is_dead(l, &refusal));
    end_pair(&h, l);
    l = a_pair(&h);
    link_refuse(h.link, &said, WAIT);
    ck_assert(link_is_dead(l, &refusal));
    ck_assert_int_eq(refusal.reason, REFUSAL_NOT_READY);
    end_pair(&h, l);
}
END_TEST

/* A link opened to somebody who answers the hello with exactly these bytes, and the descriptor it talks to. */
struct strange_host {
    int listener, fd;
    struct view says;
};

static void *strange_main(void *arg)
{
    struct strange_host *s = arg;
    char byte[1];

    ck_assert_int_eq(socket_accept(s->listener, WAIT, &s->fd), 0);
    ck_assert_int_eq(socket_read(s->fd, byte, 1, WAIT), 0);
    loopback_send(s->fd, s->says.data, s->says.size);
    return NULL;
}

static int open_to_strange(struct link *l, struct view says, int *fd)
{
    struct strange_host s = {.fd = -1, .says = says};
    struct hello hello = a_hello();
    struct refusal refusal;
    struct address at;
    pthread_t thread;
    int err;

    s.listener = loopback_listen(&at);
    pthread_create(&thread, NULL, strange_main, &s);
    err = link_open(l, &at, &hello, WAIT, &refusal);
    pthread_join(thread, NULL);
    socket_close(s.listener);
    *fd = s.fd;
    return err;
}

static size_t raw_welcome(uint8_t *out)
{
    struct welcome w = {.version = 1, .id = 2};
    struct bytes b;
    size_t size;

    bytes_init(&b, FRAME_GREETING_MAX);
    welcome_encode(&w, &b);
    size = raw_frame(FRAME_WELCOME, bytes_view(&b), out);
    bytes_clear(&b);
    return size;
}

static size_t raw_refusal(uint8_t *out)
{
    struct refusal r = {.reason = REFUSAL_WRONG_ID, .text = "why"};
    struct bytes b;
    size_t size;

    bytes_init(&b, FRAME_GREETING_MAX);
    refusal_encode(&r, &b);
    size = raw_frame(FRAME_REFUSED, bytes_view(&b), out);
    bytes_clear(&b);
    return size;
}

START_TEST(half_a_refusal_is_not_one_yet)
{
    uint8_t raw[512];
    struct link *l = link_new();
    struct refusal refusal;
    size_t welcome = raw_welcome(raw);
    size_t refused = raw_refusal(raw + welcome);
    int fd;

    ck_assert_int_eq(open_to_strange(l, view_of(raw, welcome), &fd), 0);
    loopback_send(fd, raw + welcome, refused - 1);
    usleep(2000);
    ck_assert(!link_is_dead(l, &refusal));
    ck_assert_int_eq(send_text(l, "still", &refusal), 0);
    loopback_send(fd, raw + welcome + refused - 1, 1);
    usleep(2000);
    ck_assert_int_eq(send_text(l, "no more", &refusal), ERR_REFUSED);
    ck_assert_int_eq(refusal.reason, REFUSAL_WRONG_ID);
    socket_close(fd);
    link_free(l);
}
END_TEST

START_TEST(a_refusal_together_with_the_welcome_is_seen)
{
    uint8_t raw[512];
    struct link *l = link_new();
    struct refusal refusal = {0};
    size_t size = raw_welcome(raw);
    int fd;

    size += raw_refusal(raw + size);
    ck_assert_int_eq(open_to_strange(l, view_of(raw, size), &fd), 0);
    ck_assert_int_eq(send_text(l, "x", &refusal), ERR_REFUSED);
    ck_assert_int_eq(refusal.reason, REFUSAL_WRONG_ID);
    socket_close(fd);
    link_free(l);
}
END_TEST

START_TEST(strange_answers_to_a_hello_end_the_link)
{
    uint8_t raw[512];
    struct link *l = link_new();
    size_t size;
    int fd;

    ck_assert_int_eq(open_to_strange(l, view_of_text("HTTP/1.1 400 Bad Request\r\n\r\n"), &fd), ERR_MALFORMED);
    socket_close(fd);
    size = raw_frame(FRAME_MESSAGE, view_of_text("x"), raw);
    ck_assert_int_eq(open_to_strange(l, view_of(raw, size), &fd), ERR_MALFORMED);
    socket_close(fd);
    size = raw_frame(FRAME_REFUSED, view_of_text("x"), raw);
    ck_assert_int_eq(open_to_strange(l, view_of(raw, size), &fd), ERR_MALFORMED);
    socket_close(fd);
    size = raw_welcome(raw);
    raw[size - 1] ^= 1;
    ck_assert_int_eq(open_to_strange(l, view_of(raw, size), &fd), ERR_CORRUPT);
    socket_close(fd);
    size = raw_welcome(raw);
    codec_put_u32(raw + 8, UINT32_MAX);
    ck_assert_int_eq(open_to_strange(l, view_of(raw, size), &fd), ERR_MALFORMED);
    socket_close(fd);
    link_free(l);
}
END_TEST

START_TEST(what_is_no_refusal_after_the_welcome_ends_the_link)
{
    uint8_t raw[512];
    struct link *l = link_new();
    struct refusal refusal;
    size_t size = raw_welcome(raw);
    int fd;

    size += raw_welcome(raw + size);
    ck_assert_int_eq(open_to_strange(l, view_of(raw, size), &fd), 0);
    ck_assert_int_eq(send_text(l, "x", &refusal), ERR_MALFORMED);
    socket_close(fd);
    link_free(l);
}
END_TEST

/* ---- deadlines and interruption ---- */

/* Sends more than the kernel takes while nobody reads. */
static int flood(struct link *l, int timeout_ms)
{
    uint8_t *data = calloc(1, FLOODS);
    struct iovec part = {data, FLOODS};
    struct refusal refusal;
    int err;

    ck_assert_ptr_nonnull(data);
    err = link_send(l, FRAME_MESSAGE, &part, 1, timeout_ms, &refusal);
    free(data);
    return err;
}

/* It is the kernel's own limit (here a shorter one) that ends this: the deadline allows for the size. */
START_TEST(a_send_that_nobody_reads_ends)
{
    struct link *l = link_new();
    struct hello hello;
    uint8_t raw[2048];
    unsigned limit_ms = 100;
    int client, server, set = 0;
    socklen_t size = sizeof set;

    loopback_pair(&client, &server);
    loopback_send(client, raw, raw_hello(raw));
    ck_assert_int_eq(link_accept(l, server, URL, WAIT, &hello), 0);
    ck_assert_int_eq(getsockopt(server, IPPROTO_TCP, TCP_USER_TIMEOUT, &set, &size), 0);
    ck_assert_int_eq(set, SOCKET_UNACKED_MS);
    ck_assert_int_eq(setsockopt(server, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms), 0);
    ck_assert_int_eq(flood(l, 100), ERR_CLOSED);
    ck_assert(!link_is_open(l));
    socket_close(client);
    link_free(l);
}
END_TEST

static void *interrupt_soon(void *arg)
{
    usleep(50000);
    link_interrupt(arg);
    return NULL;
}

START_TEST(an_interrupt_ends_a_wait_and_all_later_ones)
{
    struct host h;
    struct link *l = a_pair(&h);
    struct hello hello = a_hello();
    struct refusal refusal;
    pthread_t thread;
    int client, server;

    pthread_create(&thread, NULL, interrupt_soon, h.link);
    ck_assert_int_eq(receive(h.link, -1), ERR_CLOSED);
    pthread_join(thread, NULL);
    ck_assert_int_eq(receive(h.link, -1), ERR_CLOSED);
    ck_assert_int_eq(link_open(h.link, &h.at, &hello, WAIT, &refusal), ERR_CLOSED);
    loopback_pair(&client, &server);
    ck_assert_int_eq(link_accept(h.link, server, URL, WAIT, &hello), ERR_CLOSED);
    socket_close(client);
    end_pair(&h, l);
}
END_TEST

START_TEST(an_interrupt_ends_a_send)
{
    struct host h;
    struct link *l = a_pair(&h);
    struct refusal refusal;
    uint64_t begun = clock_now_ms();
    pthread_t thread;

    pthread_create(&thread, NULL, interrupt_soon, l);
    ck_assert_int_eq(flood(l, WAIT), ERR_CLOSED);
    pthread_join(thread, NULL);
    ck_assert_uint_lt(clock_now_ms() - begun, 1000);
    ck_assert_int_eq(send_text(l, "x", &refusal), ERR_CLOSED);
    ck_assert(link_is_dead(l, &refusal));
    end_pair(&h, l);
}
END_TEST

START_TEST(an_interrupt_ends_a_greeting)
{
    struct address at;
    int listener = loopback_listen(&at);
    struct hello hello = a_hello();
    struct refusal refusal;
    pthread_t thread;
    int client, server;

    for (int accepting = 0; accepting < 2; accepting++) {
        struct link *l = link_new();

        pthread_create(&thread, NULL, interrupt_soon, l);
        if (accepting) {
            loopback_pair(&client, &server);
            ck_assert_int_eq(link_accept(l, server, URL, WAIT, &hello), ERR_CLOSED);
            socket_close(client);
        } else
            ck_assert_int_eq(link_open(l, &at, &hello, WAIT, &refusal), ERR_CLOSED);
        pthread_join(thread, NULL);
        link_free(l);
    }
    socket_close(listener);
}
END_TEST

START_TEST(a_link_without_a_descriptor_of_its_own_says_so)
{
    struct hello hello = a_hello();
    struct refusal refusal;
    struct rlimit limit, none;
    struct address at;
    struct link *l;
    unsigned count = 0;
    int held[8];
    int client, server;

    loopback_pair(&client, &server);
    at = loopback_address(server);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)(client > server ? client : server) + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (count < 8 && (held[count] = dup(client)) >= 0) /* the gaps below */
        count++;
    ck_assert_uint_lt(count, 8);
    l = link_new();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (count > 0)
        socket_close(held[--count]);
    ck_assert_int_eq(link_accept(l, server, URL, WAIT, &hello), ERR_NO_RESOURCES);
    ck_assert(!link_is_open(l));
    ck_assert_int_eq(link_open(l, &at, &hello, WAIT, &refusal), ERR_NO_RESOURCES);
    link_interrupt(l);
    ck_assert_int_eq(link_open(l, &at, &hello, WAIT, &refusal), ERR_CLOSED);
    link_free(l);
    socket_close(client);
}
END_TEST

TEST_MAIN("link", a_link_without_a_descriptor_of_its_own_says_so, frames_arrive_in_order_and_whole,
          large_frames_in_many_parts_arrive_whole, a_frame_may_come_byte_by_byte,
          a_frame_after_half_of_another_is_read_on, a_damaged_frame_ends_the_link,
          a_frame_that_is_none_or_too_large_ends_the_link, a_close_and_a_reset_end_the_link_wherever_they_come,
          a_link_may_be_opened_again, a_refusal_after_the_greeting_is_seen_before_the_next_send,
          a_link_is_dead_when_the_other_side_closed_or_refused, half_a_refusal_is_not_one_yet,
          a_refusal_together_with_the_welcome_is_seen, strange_answers_to_a_hello_end_the_link,
          what_is_no_refusal_after_the_welcome_ends_the_link, a_send_that_nobody_reads_ends,
          an_interrupt_ends_a_wait_and_all_later_ones, an_interrupt_ends_a_send, an_interrupt_ends_a_greeting)
