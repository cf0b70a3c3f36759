#include "net/socket.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "../suite.h"
#include "base/clock.h"
#include "loopback.h"

#define MANY (4u << 20)

static void sleep_ms(unsigned ms)
{
    usleep(ms * 1000);
}

static uint8_t *a_pattern(size_t size)
{
    uint8_t *p = malloc(size);

    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(i * 7 + i / 251);
    return p;
}

/* ---- listening and connecting ---- */

START_TEST(everywhere_is_IPv4_and_IPv6)
{
    static const char *const everywhere[] = {"", "*"};

    for (int i = 0; i < 2; i++) {
        struct why why;
        struct address at;
        int listener = -1, client = -1, server = -1, probe;

        ck_assert_int_eq(socket_listen(everywhere[i], 0, &listener, &why), 0);
        at = loopback_address(listener);
        ck_assert_int_eq(socket_connect(&at, 1000, &client), 0);
        ck_assert_int_eq(socket_accept(listener, 1000, &server), 0);
        socket_close(client);
        socket_close(server);
        probe = socket(AF_INET6, SOCK_STREAM, 0);
        if (probe >= 0) {
            struct sockaddr_in6 one = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};

            if (bind(probe, (struct sockaddr *)&one, sizeof one) == 0) {
                strcpy(at.host, "::1");
                ck_assert_int_eq(socket_connect(&at, 1000, &client), 0);
                socket_close(client);
            }
            close(probe);
        }
        socket_close(listener);
    }
}
END_TEST

START_TEST(a_name_is_listened_on_and_connected_to)
{
    struct why why;
    struct address at;
    int listener = -1, client = -1, server = -1;

    ck_assert_int_eq(socket_listen("localhost", 0, &listener, &why), 0);
    at = loopback_address(listener);
    strcpy(at.host, "localhost");
    ck_assert_int_eq(socket_connect(&at, 1000, &client), 0);
    ck_assert_int_eq(socket_accept(listener, 1000, &server), 0);
    socket_close(client);
    socket_close(server);
    socket_close(listener);
}
END_TEST

/* ---- names ---- */

/* This program's own resolver: one name whose address the test chooses, all else as the system has it. */
static const char *moving_to;
static unsigned lookups;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    static int (*system_one)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (system_one == NULL)
        *(void **)&system_one = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node != NULL && strcmp(node, "moving.example") == 0) {
        lookups++;
        if (moving_to == NULL)
            return EAI_NONAME;
        node = moving_to;
    }
    return system_one(node, service, hints, out);
}

/* Issue 3, Membership: names resolve at each connect. A machine that comes back under its name at another address is found,
 * IPv4 or IPv6. */
START_TEST(a_name_is_looked_up_at_each_connect)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "127.0.0.1", "::1"};
    struct address at = {.host = "moving.example"};
    struct why why;
    int fd = -7;

    moving_to = NULL;
    ck_assert_int_eq(socket_connect(&at, 1000, &fd), ERR_RESOLVE);
    for (unsigned i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        int listener = -1, server = -1, client = -1;

        if (socket_listen(hosts[i], 0, &listener, &why) != 0) {
            ck_assert_str_eq(hosts[i], "::1"); /* no IPv6 on this machine */
            continue;
        }
        at.port = loopback_address(listener).port;
        lookups = 0;
        moving_to = hosts[i];
        ck_assert_int_eq(socket_connect(&at, 1000, &client), 0);
        ck_assert_uint_eq(lookups, 1);
        ck_assert_int_eq(socket_accept(listener, 1000, &server), 0);
        socket_close(client);
        socket_close(server);
        socket_close(listener);
    }
}
END_TEST

START_TEST(what_cannot_be_listened_on_is_named)
{
    struct why why = {{0}};
    struct address at;
    char text[ADDRESS_MAX];
    char no_name[256];
    int listener = loopback_listen(&at);
    int fd = -7;

    ck_assert_int_eq(socket_listen("127.0.0.1", at.port, &fd, &why), ERR_IN_USE);
    address_format(&at, text, sizeof text);
    ck_assert_msg(strstr(why.text, text) != NULL, "%s", why.text);
    ck_assert_int_eq(socket_listen("", at.port, &fd, &why), ERR_IN_USE);
    ck_assert_int_eq(socket_listen("192.0.2.1", 0, &fd, &why), ERR_RESOLVE); /* of RFC 5737, nobody's */
    ck_assert_msg(strstr(why.text, "192.0.2.1") != NULL, "%s", why.text);
    memset(no_name, 'x', sizeof no_name); /* a label over 63 bytes: nobody is even asked */
    no_name[200] = '\0';
    ck_assert_int_eq(socket_listen(no_name, 0, &fd, &why), ERR_RESOLVE);
    ck_assert_int_eq(fd, -7);
    socket_close(listener);
}
END_TEST

START_TEST(a_port_where_nobody_listens_is_unreachable)
{
    struct address at;
    int fd = -7;

    socket_close(loopback_listen(&at));
    ck_assert_int_eq(socket_connect(&at, 1000, &fd), ERR_UNREACHABLE);
    memset(at.host, 'x', sizeof at.host);
    at.host[200] = '\0';
    ck_assert_int_eq(socket_connect(&at, 1000, &fd), ERR_RESOLVE);
    ck_assert_int_eq(fd, -7);
}
END_TEST

/* A full backlog swallows what would connect. */
START_TEST(a_connect_that_nobody_answers_ends_in_time)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct address at;
    int fds[8];
    int err = 0;
    int count = 0;
    uint64_t begun;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&any, sizeof any), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    at = loopback_address(listener);
    begun = clock_now_ms();
    while (count < 8 && (err = socket_connect(&at, 100, &fds[count])) == 0)
        count++;
    ck_assert_int_eq(err, ERR_TIMEOUT);
    ck_assert_uint_lt(clock_now_ms() - begun, 900);
    while (count > 0)
        socket_close(fds[--count]);
    socket_close(listener);
}
END_TEST

START_TEST(descriptors_are_nonblocking_close_on_exec_and_undelayed)
{
    int fds[2];

    loopback_pair(&fds[0], &fds[1]);
    for (int i = 0; i < 2; i++) {
        int on = 0;
        socklen_t size = sizeof on;

        ck_assert(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        ck_assert_int_eq(getsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        ck_assert_int_ne(on, 0);
        ck_assert_int_eq(getsockopt(fds[i], SOL_SOCKET, SO_KEEPALIVE, &on, &size), 0);
        ck_assert_int_ne(on, 0);
        socket_close(fds[i]);
    }
}
END_TEST

START_TEST(accept_ends_in_time)
{
    struct address at;
    int listener = loopback_listen(&at);
    int fd;

    ck_assert_int_eq(socket_accept(listener, 0, &fd), ERR_TIMEOUT);
    ck_assert_int_eq(socket_accept(listener, 30, &fd), ERR_TIMEOUT);
    socket_close(listener);
}
END_TEST

static void *shut_soon(void *arg)
{
    sleep_ms(50);
    socket_shutdown(*(const int *)arg);
    return NULL;
}

START_TEST(shutdown_from_another_thread_ends_accept_and_read)
{
    struct address at;
    int listener = loopback_listen(&at);
    int client, server, fd;
    char c;
    pthread_t thread;

    pthread_create(&thread, NULL, shut_soon, &listener);
    ck_assert_int_eq(socket_accept(listener, 2000, &fd), ERR_CLOSED);
    pthread_join(thread, NULL);
    ck_assert_int_eq(socket_accept(listener, 2000, &fd), ERR_CLOSED);
    socket_close(listener);
    loopback_pair(&client, &server);
    pthread_create(&thread, NULL, shut_soon, &server);
    ck_assert_int_eq(socket_read(server, &c, 1, 2000), ERR_CLOSED);
    pthread_join(thread, NULL);
    socket_close(client);
    socket_close(server);
}
END_TEST

START_TEST(out_of_descriptors_is_said_and_passes)
{
    struct address at;
    int listener = loopback_listen(&at);
    int client, server, fd;
    struct rlimit limit, none;

    ck_assert_int_eq(socket_connect(&at, 1000, &client), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)client + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(socket_accept(listener, 100, &server), ERR_NO_RESOURCES);
    ck_assert_int_eq(socket_connect(&at, 100, &fd), ERR_NO_RESOURCES);
    ck_assert_int_eq(socket_listen("127.0.0.1", 0, &fd, NULL), ERR_NO_RESOURCES);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(socket_accept(listener, 100, &server), 0);
    socket_close(server);
    socket_close(client);
    socket_close(listener);
}
END_TEST

/* ---- reading and writing ---- */

struct slow_reader {
    int fd;
    uint8_t *data;
    size_t size;
    int err;
};

static void *read_slowly(void *arg)
{
    struct slow_reader *r = arg;
    size_t at = 0;

    while (at < r->size && r->err == 0) {
        size_t piece = r->size - at < 300000 ? r->size - at : 300000;

        sleep_ms(2);
        r->err = socket_read(r->fd, r->data + at, piece, 2000);
        at += piece;
    }
    return NULL;
}

START_TEST(partial_writes_go_on_where_they_stopped)
{
    enum { PARTS = 3000 }; /* more than one system call takes */
    uint8_t *sent = a_pattern(MANY);
    struct slow_reader r = {.data = malloc(MANY), .size = MANY};
    struct iovec *parts = calloc(PARTS, sizeof *parts);
    size_t at = 0;
    int client;
    pthread_t thread;

    loopback_pair(&client, &r.fd);
    for (int i = 0; i < PARTS; i++) {
        size_t size = i % 3 == 0 ? 0 : i == PARTS - 1 ? MANY - at : (size_t)(i % 1999);

        parts[i] = (struct iovec){sent + at, size};
        at += size;
    }
    ck_assert_uint_eq(at, MANY);
    pthread_create(&thread, NULL, read_slowly, &r);
    ck_assert_int_eq(socket_write(client, parts, PARTS, 2000), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(r.err, 0);
    ck_assert(memcmp(sent, r.data, MANY) == 0);
    socket_close(client);
    socket_close(r.fd);
    free(parts);
    free(sent);
    free(r.data);
}
END_TEST

START_TEST(nothing_to_write_is_written)
{
    struct iovec empty[2] = {{NULL, 0}, {NULL, 0}};
    int client, server;

    loopback_pair(&client, &server);
    ck_assert_int_eq(socket_write(client, empty, 2, 0), 0);
    ck_assert_int_eq(socket_write(client, empty, 0, 0), 0);
    ck_assert_int_eq(socket_readable(server), 0);
    socket_close(client);
    socket_close(server);
}
END_TEST

START_TEST(a_writer_whom_nobody_reads_ends_in_time)
{
    uint8_t *sent = a_pattern(8 * MANY);
    struct iovec part = {sent, 8 * MANY};
    int client, server;

    loopback_pair(&client, &server);
    ck_assert_int_eq(socket_write(client, &part, 1, 100), ERR_TIMEOUT);
    socket_close(client);
    socket_close(server);
    free(sent);
}
END_TEST

static void *drip(void *arg)
{
    for (int i = 0; i < 200; i++) {
        if (send(*(const int *)arg, "x", 1, MSG_NOSIGNAL) < 0)
            break;
        sleep_ms(10);
    }
    return NULL;
}

/* The deadline is for all of it: a byte now and then does not buy time. */
START_TEST(a_slow_drip_does_not_stretch_the_deadline)
{
    char buffer[1000];
    int client, server;
    uint64_t begun = clock_now_ms();
    pthread_t thread;

    loopback_pair(&client, &server);
    pthread_create(&thread, NULL, drip, &client);
    ck_assert_int_eq(socket_read(server, buffer, sizeof buffer, 100), ERR_TIMEOUT);
    ck_assert_uint_lt(clock_now_ms() - begun, 1500);
    socket_close(server); /* which ends the dripping */
    pthread_join(thread, NULL);
    socket_close(client);
}
END_TEST

START_TEST(what_is_there_is_read_at_once)
{
    char buffer[100];
    size_t got = 0;
    int client, server;

    loopback_pair(&client, &server);
    ck_assert_int_eq(socket_readable(server), 0);
    ck_assert_int_eq(socket_read_some(server, buffer, sizeof buffer, 0, &got), ERR_TIMEOUT);
    loopback_send_text(client, "hello");
    ck_assert_int_eq(socket_read_some(server, buffer, sizeof buffer, 1000, &got), 0);
    ck_assert_uint_eq(got, 5);
    socket_finish(client);
    ck_assert_int_eq(socket_read_some(server, buffer, sizeof buffer, 1000, &got), ERR_CLOSED);
    ck_assert_int_eq(socket_readable(server), 1);
    socket_close(client);
    socket_close(server);
}
END_TEST

/* No SIGPIPE either: it would end this process. */
START_TEST(the_end_and_a_reset_are_both_closed)
{
    uint8_t *sent = a_pattern(MANY);
    char c;
    int client, server;

    for (int reset = 0; reset < 2; reset++) {
        struct iovec part = {sent, MANY};

        loopback_pair(&client, &server);
        loopback_send_text(server, "x"); /* unread input makes even a close a reset */
        if (reset)
            loopback_reset(client);
        else
            socket_close(client);
        ck_assert_int_eq(socket_read(server, &c, 1, 1000), ERR_CLOSED);
        ck_assert_int_eq(socket_write(server, &part, 1, 1000), ERR_CLOSED);
        socket_close(server);
    }
    free(sent);
    socket_close(-1);
}
END_TEST

static void *wake_soon(void *arg)
{
    uint64_t one = 1;

    sleep_ms(50);
    ck_assert_int_eq(write(*(const int *)arg, &one, sizeof one), sizeof one);
    return NULL;
}

START_TEST(a_wake_descriptor_ends_a_wait)
{
    int wake = eventfd(0, EFD_CLOEXEC);
    size_t got;
    char c;
    int client, server;
    pthread_t thread;

    loopback_pair(&client, &server);
    ck_assert_int_eq(socket_await_input(server, socket_wait_for(10, wake)), ERR_TIMEOUT);
    pthread_create(&thread, NULL, wake_soon, &wake);
    ck_assert_int_eq(socket_read_some_until(server, &c, 1, socket_wait_for(-1, wake), &got), ERR_CLOSED);
    pthread_join(thread, NULL);
    ck_assert_int_eq(socket_await_input(server, socket_wait_for(-1, wake)), ERR_CLOSED);
    socket_close(client);
    socket_close(server);
    close(wake);
}
END_TEST

TEST_MAIN("socket", a_name_is_looked_up_at_each_connect, everywhere_is_IPv4_and_IPv6,
          a_name_is_listened_on_and_connected_to, what_cannot_be_listened_on_is_named,
          a_port_where_nobody_listens_is_unreachable, a_connect_that_nobody_answers_ends_in_time,
          descriptors_are_nonblocking_close_on_exec_and_undelayed, accept_ends_in_time,
          shutdown_from_another_thread_ends_accept_and_read, out_of_descriptors_is_said_and_passes,
          partial_writes_go_on_where_they_stopped, nothing_to_write_is_written, a_writer_whom_nobody_reads_ends_in_time,
          a_slow_drip_does_not_stretch_the_deadline, what_is_there_is_read_at_once, the_end_and_a_reset_are_both_closed,
          a_wake_descriptor_ends_a_wait)
