/* socket.h -- TCP with deadlines: listen, accept, connect, read and write all of it or say why not.
 *
 * Descriptors are non-blocking and close-on-exec; every wait is a poll with what is left of timeout_ms. Another thread
 * may end a wait with socket_shutdown. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/text.h"

/* Listens on `host` ("" or "*": every address, IPv6 too where the machine has it) and `port`; SO_REUSEADDR.
 * ERR_IN_USE, ERR_RESOLVE, ERR_PERMISSION, ERR_NO_RESOURCES; *why names the address and what to do. */
int socket_listen(const char *host, uint16_t port, int *fd, struct why *why);
/* ERR_TIMEOUT; ERR_NO_RESOURCES when out of descriptors (wait a little); ERR_CLOSED after socket_shutdown. */
int socket_accept(int listener, int timeout_ms, int *fd);
/* Resolves at each call, tries every address; TCP_NODELAY. ERR_RESOLVE, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_NO_RESOURCES. */
int socket_connect(const struct address *to, int timeout_ms, int *fd);

/* Exactly that much, or ERR_TIMEOUT, ERR_CLOSED, ERR_IO. socket_write uses the iovecs up (changes them). */
int socket_read(int fd, void *data, size_t size, int timeout_ms);
int socket_write(int fd, struct iovec *parts, int count, int timeout_ms);
/* What is there, at least one byte. */
int socket_read_some(int fd, void *data, size_t size, int timeout_ms, size_t *got);
int socket_readable(int fd); /* at once: 1 something to read or closed, 0 nothing */

void socket_shutdown(int fd); /* any thread: wakes whoever waits on it */
void socket_close(int fd);    /* -1 is fine */

#endif
