/* client.h -- a world for tests of HTTP: a real civetweb on loopback in front of fake_service.h, and raw sockets that say
 * exactly what a test wants said. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "fake_service.h"
#include "http/http_request.h"

#define MAX_VALUE 4096 /* -max-value-size of a world */

struct world {
    struct node *node;
    struct fake *fake;
    struct http *http;
    uint16_t port;
};

/* A server with this many threads. */
struct world *a_world(unsigned threads, const struct http_limits *limits);
struct world *a_world_of(enum profile profile, unsigned threads, const struct http_limits *limits);
extern const struct http_limits quick; /* limits that a test can wait for */
void end_world(struct world *w);

struct client {
    int fd;
    char *got; /* what came and was not yet looked at */
    size_t size;
};
struct client *dial(struct world *w);
void hang_up(struct client *c); /* NULL is fine */
void say(struct client *c, const void *data, size_t size);
void say_text(struct client *c, const char *text);
void say_format(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct answer {
    int status;  /* 0: the connection ended without one */
    bool broken; /* it ended within the body */
    bool chunked;
    char head[4096]; /* with the status line */
    char *body;      /* with a NUL behind it */
    size_t size;
};
/* One answer; `to_head`: to a HEAD request, which has no body. Valid until the next. */
const struct answer *hear(struct client *c, bool to_head);
bool has_ended(struct client *c); /* the server closed, and nothing more came */
/* The value of a header in the answer, "" if it is not there. Valid until the next call. */
const char *field(const struct answer *a, const char *name);

/* One request on a connection of its own. `headers`: lines with their CR LF. `body`: NULL for none. */
const struct answer *ask(struct world *w, const char *method, const char *path, const char *headers, const char *body);
/* Without extra headers or a body; the status. */
int ask_status(struct world *w, const char *method, const char *path);

uint64_t now_ms(void);
void wait_ms(unsigned ms);

#endif
