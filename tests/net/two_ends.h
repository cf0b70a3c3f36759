/* two_ends.h -- both ends of a link in one test: one that opens it, one that accepts it, and those who speak without one. */
#ifndef TESTS_NET_TWO_ENDS_H
#define TESTS_NET_TWO_ENDS_H

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/checksum.h"
#include "loopback.h"
#include "net/link.h"

#define URL  "http://client.example:4001"
#define WAIT 2000 /* ms: longer than anything takes that is to succeed */

static inline struct hello a_hello(void)
{
    return (struct hello){
        .version_min = PROTOCOL_VERSION_MIN,
        .version_max = PROTOCOL_VERSION_MAX,
        .cluster = 77,
        .from = 1,
        .to = 2,
        .config_index = 5,
        .name = "one",
        .client = "localhost:4001",
        .peer = "localhost:14001",
    };
}

/* What the side that is connected to does in its own thread: accepts one connection and answers the hello. */
struct host {
    int listener;
    struct address at;
    struct link *link;
    struct hello hello;
    struct welcome welcome;
    struct refusal refusal; /* reason 0: welcome */
    int err;
    pthread_t thread;
};

static inline void *host_main(void *arg)
{
    struct host *h = arg;
    int fd = -1;

    h->err = socket_accept(h->listener, WAIT, &fd);
    if (h->err == 0)
        h->err = link_accept(h->link, fd, URL, WAIT, &h->hello);
    if (h->err != 0)
        return NULL;
    if (h->refusal.reason != 0)
        link_refuse(h->link, &h->refusal, WAIT);
    else
        h->err = link_welcome(h->link, &h->welcome, WAIT);
    return NULL;
}

static inline void host_start(struct host *h)
{
    *h = (struct host){.link = link_new(), .welcome = {.version = 1, .id = 2}};
    h->listener = loopback_listen(&h->at);
}

static inline void host_run(struct host *h)
{
    ck_assert_int_eq(pthread_create(&h->thread, NULL, host_main, h), 0);
}

static inline void host_join(struct host *h)
{
    pthread_join(h->thread, NULL);
}

static inline void host_stop(struct host *h)
{
    link_free(h->link);
    socket_close(h->listener);
}

/* A link that has been greeted: what the one returned sends, h->link receives. */
static inline struct link *a_pair(struct host *h)
{
    struct link *l = link_new();
    struct hello hello = a_hello();
    struct refusal refusal;

    host_start(h);
    host_run(h);
    ck_assert_int_eq(link_open(l, &h->at, &hello, WAIT, &refusal), 0);
    host_join(h);
    ck_assert_int_eq(h->err, 0);
    return l;
}

static inline void end_pair(struct host *h, struct link *l)
{
    link_free(l);
    host_stop(h);
}

static inline int send_text(struct link *l, const char *text, struct refusal *refusal)
{
    uint8_t copy[256];
    struct iovec part = {copy, strlen(text)};

    memcpy(copy, text, part.iov_len);
    return link_send(l, FRAME_MESSAGE, &part, 1, WAIT, refusal);
}

static inline void expect_text(struct link *l, const char *text)
{
    enum frame_type type;
    struct view payload;

    ck_assert_int_eq(link_receive(l, WAIT, &type, &payload), 0);
    ck_assert_int_eq(type, FRAME_MESSAGE);
    ck_assert(view_equal(payload, view_of_text(text)));
}

static inline int receive(struct link *l, int timeout_ms)
{
    enum frame_type type;
    struct view payload;

    return link_receive(l, timeout_ms, &type, &payload);
}

/* A frame as bytes, for those who speak without a link. */
static inline size_t raw_frame(enum frame_type type, struct view payload, uint8_t *out)
{
    frame_header_encode(type, (uint32_t)payload.size, checksum(payload.data, payload.size, 0), out);
    if (payload.size > 0)
        memcpy(out + FRAME_HEADER_SIZE, payload.data, payload.size);
    return FRAME_HEADER_SIZE + payload.size;
}

static inline size_t raw_hello(uint8_t *out)
{
    struct hello hello = a_hello();
    struct bytes b;
    size_t size;

    bytes_init(&b, FRAME_GREETING_MAX);
    hello_encode(&hello, &b);
    size = raw_frame(FRAME_HELLO, bytes_view(&b), out);
    bytes_clear(&b);
    return size;
}

/* Sends a byte now and then, until the other side has had enough. */
struct dripper {
    int fd;
    unsigned bytes;
    const uint8_t *data;
};

static inline void *drip(void *arg)
{
    const struct dripper *d = arg;

    for (unsigned i = 0; i < d->bytes; i++) {
        if (send(d->fd, d->data + i, 1, MSG_NOSIGNAL) < 0)
            break;
        usleep(5000);
    }
    return NULL;
}

#endif
