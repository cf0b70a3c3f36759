/* slow_link ADDRESS PORT TARGET-ADDRESS TARGET-PORT BYTES-PER-SECOND: a link of that speed, for end-to-end tests. It listens,
 * connects each connection on, and carries bytes both ways; all connections share the speed towards the target. What it holds
 * back is little: senders notice at once how slow it is. It ends with SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 64
#define PIECE     4096
#define BUFFER    16384 /* of each socket: what is held back beside the piece that waits */
#define BURST_MS  10

struct pair {
    int from, to; /* -1: none */
    bool slow;    /* its speed is limited */
    size_t size;  /* bytes that wait for `to` */
    char piece[PIECE];
    struct pair *other; /* the way back: both end together */
};

static struct pair pairs[PAIRS_MAX];
static double budget, speed; /* bytes, bytes per ms */

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        fprintf(stderr, "slow_link: %s is no IPv4 address\n", host);
        exit(64);
    }
    return a;
}

static int new_socket(void)
{
    const int size = BUFFER;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size); /* accepted sockets inherit both */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

static struct pair *vacant(void)
{
    for (unsigned i = 0; i < PAIRS_MAX; i++)
        if (pairs[i].from < 0)
            return &pairs[i];
    return NULL;
}

static void take_connection(int listener, const struct sockaddr_in *target)
{
    int fd = accept(listener, NULL, NULL), out = -1;
    struct pair *a = vacant(), *b = NULL;

    if (fd < 0)
        return;
    out = new_socket();
    if (a != NULL && connect(out, (const struct sockaddr *)target, sizeof *target) == 0) {
        a->from = fd;
        b = vacant();
    }
    if (b == NULL) {
        if (a != NULL)
            a->from = -1;
        close(fd);
        close(out);
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(out, F_SETFL, O_NONBLOCK);
    *a = (struct pair){.from = fd, .to = out, .slow = true, .other = b};
    *b = (struct pair){.from = out, .to = fd, .other = a};
}

static void end(struct pair *p)
{
    close(p->from);
    close(p->to);
    p->other->from = -1;
    p->from = -1;
}

/* False: nothing more comes or goes that way. */
static bool carry(struct pair *p)
{
    size_t room = p->slow && budget < PIECE ? (budget < 1 ? 0 : (size_t)budget) : PIECE;
    ssize_t n = 0;

    if (p->size == 0) {
        n = recv(p->from, p->piece, sizeof p->piece, 0);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        p->size = (size_t)n;
    }
    if (room > p->size)
        room = p->size;
    if (room == 0)
        return true;
    n = send(p->to, p->piece, room, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    budget -= p->slow ? (double)n : 0;
    p->size -= (size_t)n;
    memmove(p->piece, p->piece + n, p->size);
    return true;
}

static void wait_for_work(int listener)
{
    struct pollfd fds[1 + PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
    nfds_t count = 1;
    int timeout = -1;

    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        const struct pair *p = &pairs[i];

        if (p->from < 0)
            continue;
        if (p->size > 0 && p->slow && budget < 1)
            timeout = BURST_MS;
        else
            fds[count++] = p->size > 0 ? (struct pollfd){.fd = p->to, .events = POLLOUT}
                                       : (struct pollfd){.fd = p->from, .events = POLLIN};
    }
    poll(fds, count, timeout);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here, target;
    int listener = new_socket(), one = 1;
    double last = now_ms();

    if (argc != 6) {
        fprintf(stderr, "usage: slow_link ADDRESS PORT TARGET-ADDRESS TARGET-PORT BYTES-PER-SECOND\n");
        return 64;
    }
    here = address_of(argv[1], argv[2]);
    target = address_of(argv[3], argv[4]);
    speed = atof(argv[5]) / 1000;
    for (unsigned i = 0; i < PAIRS_MAX; i++)
        pairs[i].from = -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 64) != 0) {
        perror("slow_link");
        return 1;
    }
    fcntl(listener, F_SETFL, O_NONBLOCK);
    for (;;) {
        double now = now_ms();

        budget += (now - last) * speed;
        last = now;
        if (budget > speed * BURST_MS)
            budget = speed * BURST_MS;
        take_connection(listener, &target);
        for (unsigned i = 0; i < PAIRS_MAX; i++)
            if (pairs[i].from >= 0 && !carry(&pairs[i]))
                end(&pairs[i]);
        wait_for_work(listener);
    }
}
