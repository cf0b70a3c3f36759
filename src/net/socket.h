/* socket.h -- TCP with deadlines: listen, accept, connect, read and write all of it or say why not.
 *
 * Descriptors are non-blocking and close-on-exec; every wait is a poll with what is left of timeout_ms (below 0: for
 * ever). Another thread may end a wait with socket_shutdown. Names are looked up by getaddrinfo, which keeps to the
 * resolver's own time limits (resolv.conf), not to ours.
 *
 * A connection whose other end acknowledges nothing for SOCKET_UNACKED_MS is given up by the kernel: after a partition
 * TCP's own retries come ever more rarely, a new connection at once. One that is idle is probed now and then, so that
 * the end of a machine that lost power is noticed. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/text.h"

/* Listens on `host` ("" or "*": every address, IPv6 too where the machine has it; a name: its first IPv4 address that is
 * ours, else IPv6) and `port`, 0: any free one; SO_REUSEADDR.
 * ERR_IN_USE, ERR_RESOLVE, ERR_PERMISSION, ERR_NO_RESOURCES; *why names the address and what to do. */
int socket_listen(const char *host, uint16_t port, int *fd, struct why *why);
/* ERR_TIMEOUT; ERR_NO_RESOURCES when out of descriptors (wait a little); ERR_CLOSED after socket_shutdown. */
int socket_accept(int listener, int timeout_ms, int *fd);
/* Resolves at each call, tries every address; TCP_NODELAY. ERR_RESOLVE, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_NO_RESOURCES. */
int socket_connect(const struct address *to, int timeout_ms, int *fd);

#define SOCKET_UNACKED_MS 2000

/* Exactly that much, or ERR_TIMEOUT, ERR_CLOSED, ERR_IO. socket_write uses the iovecs up (changes them). */
int socket_read(int fd, void *data, size_t size, int timeout_ms);
int socket_write(int fd, struct iovec *parts, int count, int timeout_ms);
/* What is there, at least one byte. */
int socket_read_some(int fd, void *data, size_t size, int timeout_ms, size_t *got);
int socket_readable(int fd); /* at once: 1 something to read or closed, 0 nothing */

/* The same for whoever waits several times for one purpose, or must be woken without touching the descriptor: a wait ends
 * at `until_ms` of the monotonic clock, and with ERR_CLOSED as soon as `wake` (an eventfd; -1: none) is readable. */
struct socket_wait {
    uint64_t until_ms;
    int wake;
};
struct socket_wait socket_wait_for(int timeout_ms, int wake);
int socket_connect_until(const struct address *to, struct socket_wait w, int *fd);
int socket_write_until(int fd, struct iovec *parts, int count, struct socket_wait w);
int socket_read_some_until(int fd, void *data, size_t size, struct socket_wait w, size_t *got);
int socket_await_input(int fd, struct socket_wait w); /* 0: there is something to read, or the end, or an error */

void socket_finish(int fd);   /* no more output: the other side reads the end once it has read all */
void socket_shutdown(int fd); /* any thread: wakes whoever waits on it */
void socket_close(int fd);    /* -1 is fine */

#endif
