#include "client.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define FIRST_PORT 21500
#define PORTS      490
#define PATIENCE_S 4

const struct http_limits quick = {
    .stall_ms = 1000,
    .keep_alive_ms = 2000,
    .body_ms = 400,
    .linger_ms = 200,
    .idle_ms = 150,
    .tick_ms = 20,
};

static struct answer last;
static char last_field[1024];

uint64_t now_ms(void)
{
    return clock_now_ms();
}

void wait_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

struct world *a_world(unsigned threads, const struct http_limits *limits)
{
    return a_world_of(PROFILE_RAFTD, threads, limits);
}

struct world *a_world_of(enum profile profile, unsigned threads, const struct http_limits *limits)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct http_options options = {
        .bind = "localhost", .threads = threads, .max_value_size = MAX_VALUE, .profile = profile};
    struct why why = {""};
    int err = ERR_IN_USE;

    w->node = fake_new();
    w->fake = fake_of(w->node);
    for (unsigned i = 0; err == ERR_IN_USE && i < PORTS; i++) {
        options.port = w->port = (uint16_t)(FIRST_PORT + ((unsigned)getpid() * 7 + i) % PORTS);
        err = http_start_limited(&options, limits, w->node, &w->http, &why);
    }
    ck_assert_msg(err == 0, "%s", why.text);
    return w;
}

void end_world(struct world *w)
{
    http_stop(w->http);
    fake_free(w->node);
    free(w);
    free(last.body);
    last.body = NULL;
}

struct client *dial(struct world *w)
{
    struct client *c = xcalloc(1, sizeof *c);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(c->fd, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    return c;
}

void hang_up(struct client *c)
{
    if (c == NULL)
        return;
    close(c->fd);
    free(c->got);
    free(c);
}

/* What the other side no longer reads is no fault of the test. */
void say(struct client *c, const void *data, size_t size)
{
    const char *p = data;

    while (size > 0) {
        ssize_t n = send(c->fd, p, size, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        p += n;
        size -= (size_t)n;
    }
}

void say_text(struct client *c, const char *text)
{
    say(c, text, strlen(text));
}

void say_format(struct client *c, const char *format, ...)
{
    char text[8192];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say_text(c, text);
}

/* More bytes; false: the end. */
static bool listen_on(struct client *c)
{
    ssize_t n;

    c->got = xrealloc(c->got, c->size + 65536 + 1);
    n = recv(c->fd, c->got + c->size, 65536, 0);
    if (n <= 0)
        return false;
    c->size += (size_t)n;
    c->got[c->size] = '\0';
    return true;
}

static void drop(struct client *c, size_t size)
{
    memmove(c->got, c->got + size, c->size - size + 1);
    c->size -= size;
}

static const char *find_field(const char *head, const char *name)
{
    size_t size = strlen(name);

    for (const char *p = strstr(head, "\r\n"); p != NULL; p = strstr(p, "\r\n")) {
        p += 2;
        if (strncasecmp(p, name, size) == 0 && p[size] == ':')
            return p + size + 1 + strspn(p + size + 1, " ");
    }
    return NULL;
}

const char *field(const struct answer *a, const char *name)
{
    const char *value = find_field(a->head, name);

    snprintf(last_field, sizeof last_field, "%.*s", value != NULL ? (int)strcspn(value, "\r") : 0, value);
    return last_field;
}

static void keep_body(const char *data, size_t size)
{
    last.body = xrealloc(last.body, last.size + size + 1);
    memcpy(last.body + last.size, data, size);
    last.size += size;
    last.body[last.size] = '\0';
}

static bool need(struct client *c, size_t size)
{
    while (c->size < size)
        if (!listen_on(c))
            return false;
    return true;
}

static void hear_counted(struct client *c, size_t size)
{
    last.broken = !need(c, size);
    if (last.broken)
        size = c->size;
    keep_body(c->got, size);
    drop(c, size);
}

static void hear_chunks(struct client *c)
{
    for (;;) {
        size_t size, line;
        char *end;

        while (c->size == 0 || strstr(c->got, "\r\n") == NULL) {
            if (!listen_on(c)) {
                last.broken = true;
                return;
            }
        }
        size = strtoul(c->got, &end, 16);
        line = (size_t)(end - c->got) + 2;
        if (!need(c, line + size + 2)) {
            last.broken = true;
            return;
        }
        keep_body(c->got + line, size);
        drop(c, line + size + 2);
        if (size == 0)
            return;
    }
}

const struct answer *hear(struct client *c, bool to_head)
{
    char *end = NULL;
    const char *length;
    size_t size;

    free(last.body);
    last = (struct answer){.body = xcalloc(1, 1)};
    while (end == NULL) {
        if (c->size > 0)
            end = strstr(c->got, "\r\n\r\n");
        if (end == NULL && !listen_on(c))
            return &last;
    }
    size = (size_t)(end - c->got) + 4;
    ck_assert_uint_lt(size, sizeof last.head);
    memcpy(last.head, c->got, size);
    drop(c, size);
    ck_assert_int_eq(sscanf(last.head, "HTTP/1.1 %d ", &last.status), 1);
    last.chunked = find_field(last.head, "Transfer-Encoding") != NULL;
    length = find_field(last.head, "Content-Length");
    if (to_head || last.status == 204 || last.status == 304 || last.status == 100)
        return &last;
    if (last.chunked)
        hear_chunks(c);
    else if (length != NULL)
        hear_counted(c, strtoul(length, NULL, 10));
    else
        while (listen_on(c))
            ;
    if (!last.chunked && length == NULL)
        hear_counted(c, c->size);
    return &last;
}

bool has_ended(struct client *c)
{
    char byte;

    return c->size == 0 && recv(c->fd, &byte, 1, 0) <= 0;
}

const struct answer *ask(struct world *w, const char *method, const char *path, const char *headers, const char *body)
{
    struct client *c = dial(w);
    const struct answer *a;

    say_format(c, "%s ", method);
    say_text(c, path);
    say_format(c, " HTTP/1.1\r\nHost: localhost\r\n");
    say_text(c, headers != NULL ? headers : "");
    if (body != NULL)
        say_format(c, "Content-Length: %zu\r\n", strlen(body));
    say_text(c, "\r\n");
    if (body != NULL)
        say_text(c, body);
    a = hear(c, strcmp(method, "HEAD") == 0);
    hang_up(c);
    return a;
}

int ask_status(struct world *w, const char *method, const char *path)
{
    return ask(w, method, path, NULL, NULL)->status;
}
