#include "net/socket.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define BACKLOG            128
#define KEEPALIVE_IDLE_S   10
#define KEEPALIVE_PERIOD_S 2
#define KEEPALIVE_PROBES   3

/* ---- waiting ------------------------------------------------------------------------------------------------ */

struct socket_wait socket_wait_for(int timeout_ms, int wake)
{
    uint64_t until_ms = timeout_ms < 0 ? UINT64_MAX : clock_now_ms() + (uint64_t)timeout_ms;

    return (struct socket_wait){.until_ms = until_ms, .wake = wake};
}

/* What poll takes: -1 is for ever; more than it can count is asked for again. */
static int poll_timeout(struct socket_wait w)
{
    if (w.until_ms == UINT64_MAX)
        return -1;

    uint64_t now = clock_now_ms();
    uint64_t left = w.until_ms > now ? w.until_ms - now : 0;

    return left > INT_MAX ? INT_MAX : (int)left;
}

/* What the event was, error or end included, the next call on the descriptor will tell. */
static int wait_for(int fd, short events, struct socket_wait w)
{
    struct pollfd polled[2] = {{.fd = fd, .events = events}, {.fd = w.wake, .events = POLLIN}};

    for (;;) {
        int timeout = poll_timeout(w);
        int ready = poll(polled, 2, timeout);

        if (ready > 0)
            return polled[1].revents != 0 ? ERR_CLOSED : 0;
        if (ready == 0 && timeout < INT_MAX)
            return ERR_TIMEOUT;
        if (ready < 0 && errno != EINTR)
            return ERR_NO_RESOURCES;
    }
}

int socket_await_input(int fd, struct socket_wait w)
{
    return wait_for(fd, POLLIN, w);
}

int socket_readable(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};

    return poll(&polled, 1, 0) > 0;
}

/* ---- options ------------------------------------------------------------------------------------------------ */

static void set_option(int fd, int level, int name, int value)
{
    /* Each of them improves a connection that also works without it. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* Once connected: SOCKET_UNACKED_MS would bound the attempt to connect, too, which has its own deadline. */
static void set_connection_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SOCKET_UNACKED_MS);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_PERIOD_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static bool out_of_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static int resolve(const char *host, uint16_t port, int flags, struct addrinfo **out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    char service[8];
    int err;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    err = getaddrinfo(host, service, &hints, out);
    if (err == 0)
        return 0;
    if (err == EAI_MEMORY || (err == EAI_SYSTEM && out_of_resources(errno)))
        return ERR_NO_RESOURCES;
    return ERR_RESOLVE;
}

/* ---- listening ---------------------------------------------------------------------------------------------- */

/* 0 or an errno value. */
static int listen_on(const struct sockaddr *address, socklen_t size, int *out)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (address->sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, address, size) == 0 && listen(fd, BACKLOG) == 0) {
        *out = fd;
        return 0;
    }
    error = errno;
    socket_close(fd);
    return error;
}

static int listen_everywhere(uint16_t port, int *fd)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int error = listen_on((const struct sockaddr *)&six, sizeof six, fd);

    /* A machine without IPv6, or with it switched off. */
    if (error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT)
        error = listen_on((const struct sockaddr *)&four, sizeof four, fd);
    return error;
}

/* Tries the addresses of one family until one can be listened on; `error` is what became of those before. */
static int listen_family(const struct addrinfo *list, int family, int error, int *fd)
{
    for (const struct addrinfo *a = list; a != NULL && error != 0; a = a->ai_next)
        if (a->ai_family == family)
            error = listen_on(a->ai_addr, a->ai_addrlen, fd);
    return error;
}

static int listen_failed(int error, const char *host, uint16_t port, struct why *why)
{
    struct address at = {.port = port};
    char text[ADDRESS_MAX];

    snprintf(at.host, sizeof at.host, "%s", *host == '\0' ? "*" : host);
    address_format(&at, text, sizeof text);
    if (error == EADDRINUSE)
        return why_set(why, ERR_IN_USE,
                       "cannot listen on %s: another process does already; stop it or choose another port", text);
    if (error == EACCES || error == EPERM)
        return why_set(why, ERR_PERMISSION, "cannot listen on %s: not permitted; choose a port above 1023", text);
    if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT)
        return why_set(why, ERR_RESOLVE, "cannot listen on %s: that is not an address of this machine", text);
    return why_set(why, ERR_NO_RESOURCES, "cannot listen on %s: %s", text, err_text(err_from_errno(error)));
}

int socket_listen(const char *host, uint16_t port, int *fd, struct why *why)
{
    struct addrinfo *list = NULL;
    int error;

    if (*host == '\0' || strcmp(host, "*") == 0) {
        error = listen_everywhere(port, fd);
        return error == 0 ? 0 : listen_failed(error, "*", port, why);
    }

    int err = resolve(host, port, AI_PASSIVE, &list);

    if (err != 0)
        return why_set(why, err, "cannot listen on \"%s\": %s; give an address of this machine", host, err_text(err));
    /* IPv4 first: "localhost" means 127.0.0.1 to those who know only that, and who tries both finds it as well. */
    error = listen_family(list, AF_INET, EADDRNOTAVAIL, fd);
    error = listen_family(list, AF_INET6, error, fd);
    freeaddrinfo(list);
    return error == 0 ? 0 : listen_failed(error, host, port, why);
}

int socket_accept(int listener, int timeout_ms, int *fd)
{
    struct socket_wait w = socket_wait_for(timeout_ms, -1);

    for (;;) {
        int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (accepted >= 0) {
            set_connection_options(accepted);
            *fd = accepted;
            return 0;
        }
        if (out_of_resources(errno))
            return ERR_NO_RESOURCES;
        if (errno == EINVAL || errno == EBADF) /* it listens no more */
            return ERR_CLOSED;
        if (errno != EAGAIN) /* a connection that ended before we took it [accept(2), "Error handling"] */
            continue;

        int err = wait_for(listener, POLLIN, w);

        if (err != 0)
            return err;
    }
}

/* ---- connecting --------------------------------------------------------------------------------------------- */

static int connect_error(int error)
{
    if (error == ETIMEDOUT)
        return ERR_TIMEOUT;
    return out_of_resources(error) ? ERR_NO_RESOURCES : ERR_UNREACHABLE;
}

/* TCP may connect a socket to itself if the port asked for is in the range of ephemeral ports and nobody listens. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage ours = {0};
    struct sockaddr_storage theirs = {0};
    socklen_t our_size = sizeof ours;
    socklen_t their_size = sizeof theirs;

    if (getsockname(fd, (struct sockaddr *)&ours, &our_size) != 0)
        return false;
    if (getpeername(fd, (struct sockaddr *)&theirs, &their_size) != 0)
        return false;
    return our_size == their_size && memcmp(&ours, &theirs, our_size) == 0;
}

static int await_connection(int fd, struct socket_wait w)
{
    int error = 0;
    socklen_t size = sizeof error;
    int err = wait_for(fd, POLLOUT, w);

    if (err != 0)
        return err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    return error == 0 ? 0 : connect_error(error);
}

static int connect_one(const struct addrinfo *a, struct socket_wait w, int *out)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err = 0;

    if (fd < 0)
        return connect_error(errno);
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0)
        err = errno == EINPROGRESS || errno == EINTR ? await_connection(fd, w) : connect_error(errno);
    if (err == 0 && is_connected_to_itself(fd))
        err = ERR_UNREACHABLE;
    if (err != 0) {
        socket_close(fd);
        return err;
    }
    set_connection_options(fd);
    *out = fd;
    return 0;
}

/* One address that swallows our packets must not use up the time of the others: each gets its share of what is left. */
static struct socket_wait share_of(struct socket_wait w, unsigned addresses_left)
{
    uint64_t now = clock_now_ms();

    if (w.until_ms != UINT64_MAX && w.until_ms > now)
        w.until_ms = now + (w.until_ms - now) / addresses_left;
    return w;
}

int socket_connect_until(const struct address *to, struct socket_wait w, int *fd)
{
    struct addrinfo *list = NULL;
    unsigned left = 0;
    int err = resolve(to->host, to->port, 0, &list);

    if (err != 0)
        return err;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
        left++;
    err = ERR_RESOLVE;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        err = connect_one(a, share_of(w, left--), fd);
        if (err == 0 || err == ERR_CLOSED)
            break;
    }
    freeaddrinfo(list);
    return err;
}

int socket_connect(const struct address *to, int timeout_ms, int *fd)
{
    return socket_connect_until(to, socket_wait_for(timeout_ms, -1), fd);
}

/* ---- reading and writing ------------------------------------------------------------------------------------ */

/* Of a connection that was there: nearly all that can happen to it is that it ends. */
static int io_error(int error)
{
    switch (error) {
    case EBADF:
    case EFAULT:
    case EINVAL:
    case ENOTSOCK:
        return ERR_IO;
    default:
        return out_of_resources(error) ? ERR_IO : ERR_CLOSED;
    }
}

int socket_read_some_until(int fd, void *data, size_t size, struct socket_wait w, size_t *got)
{
    for (;;) {
        ssize_t n = recv(fd, data, size, 0);

        if (n > 0) {
            *got = (size_t)n;
            return 0;
        }
        if (n == 0)
            return ERR_CLOSED;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return io_error(errno);

        int err = wait_for(fd, POLLIN, w);

        if (err != 0)
            return err;
    }
}

int socket_read_some(int fd, void *data, size_t size, int timeout_ms, size_t *got)
{
    return socket_read_some_until(fd, data, size, socket_wait_for(timeout_ms, -1), got);
}

int socket_read(int fd, void *data, size_t size, int timeout_ms)
{
    struct socket_wait w = socket_wait_for(timeout_ms, -1);
    uint8_t *at = data;

    while (size > 0) {
        size_t got = 0;
        int err = socket_read_some_until(fd, at, size, w, &got);

        if (err != 0)
            return err;
        at += got;
        size -= got;
    }
    return 0;
}

/* Moves past `size` bytes, and past parts that are empty. */
static void skip(struct iovec **parts, int *count, size_t size)
{
    while (*count > 0 && size >= (*parts)->iov_len) {
        size -= (*parts)->iov_len;
        (*parts)++;
        (*count)--;
    }
    if (size > 0) {
        (*parts)->iov_base = (uint8_t *)(*parts)->iov_base + size;
        (*parts)->iov_len -= size;
    }
}

int socket_write_until(int fd, struct iovec *parts, int count, struct socket_wait w)
{
    skip(&parts, &count, 0);
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)(count < IOV_MAX ? count : IOV_MAX)};
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

        if (n >= 0) {
            skip(&parts, &count, (size_t)n);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return io_error(errno);

        int err = wait_for(fd, POLLOUT, w);

        if (err != 0)
            return err;
    }
    return 0;
}

int socket_write(int fd, struct iovec *parts, int count, int timeout_ms)
{
    return socket_write_until(fd, parts, count, socket_wait_for(timeout_ms, -1));
}

void socket_finish(int fd)
{
    (void)shutdown(fd, SHUT_WR);
}

void socket_shutdown(int fd)
{
    (void)shutdown(fd, SHUT_RDWR);
}

void socket_close(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}
