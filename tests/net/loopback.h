/* loopback.h -- TCP on the loopback interface for tests: a port that is free, a pair of connected descriptors. */
#ifndef TESTS_NET_LOOPBACK_H
#define TESTS_NET_LOOPBACK_H

#include <check.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "net/socket.h"

static inline struct address loopback_address(int listener)
{
    struct sockaddr_in6 bound = {0}; /* the port of an IPv4 address is at the same place */
    socklen_t size = sizeof bound;
    struct address at = {.host = "127.0.0.1"};

    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&bound, &size), 0);
    at.port = ntohs(bound.sin6_port);
    return at;
}

/* Listens on a free port. */
static inline int loopback_listen(struct address *at)
{
    struct why why = {{0}};
    int fd = -1;

    ck_assert_msg(socket_listen("127.0.0.1", 0, &fd, &why) == 0, "%s", why.text);
    *at = loopback_address(fd);
    return fd;
}

static inline void loopback_pair(int *client, int *server)
{
    struct address at;
    int listener = loopback_listen(&at);

    ck_assert_int_eq(socket_connect(&at, 1000, client), 0);
    ck_assert_int_eq(socket_accept(listener, 1000, server), 0);
    socket_close(listener);
}

static inline void loopback_send(int fd, const void *data, size_t size)
{
    ck_assert_int_eq(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

static inline void loopback_send_text(int fd, const char *text)
{
    loopback_send(fd, text, strlen(text));
}

/* Closes so that the other side gets a reset. */
static inline void loopback_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    socket_close(fd);
}

#endif
