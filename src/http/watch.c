#include "http/watch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"

/* A set of ports. */
struct ports {
    uint8_t bits[65536 / 8];
};

struct watch {
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below but the counter; taken before a watched's own lock */
    pthread_cond_t wake;
    bool stopping;
    struct watched *all;
    DIR *descriptors;              /* /proc/self/fd, open all the time: there may be no descriptor left to open it */
    struct ports named;            /* peers whose request was seen */
    struct ports silent, silenter; /* peers that were silent when we looked last, and now */
    struct watch_options options;
    _Atomic unsigned connections;
    _Atomic uint64_t cuts;
};

static bool ports_have(const struct ports *p, int port)
{
    return (p->bits[port / 8] & 1 << port % 8) != 0;
}

static void ports_add(struct ports *p, int port)
{
    p->bits[port / 8] = (uint8_t)(p->bits[port / 8] | 1 << port % 8);
}

/* Calls `each` for every descriptor of this process until it returns true. Under w->lock. */
static void each_descriptor(struct watch *w, bool (*each)(int fd, void *data), void *data)
{
    struct dirent *entry;

    rewinddir(w->descriptors);
    while ((entry = readdir(w->descriptors)) != NULL) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);

        if (*end == '\0' && end != entry->d_name && each((int)fd, data))
            return;
    }
}

/* civetweb then cannot accept, and tries without a pause. */
static bool descriptors_short(struct watch *w)
{
    int fd = fcntl(dirfd(w->descriptors), F_DUPFD_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    return fd < 0;
}

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static int port_of(const union any_address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohs(a->v4.sin_port);
    if (a->any.sa_family == AF_INET6)
        return ntohs(a->v6.sin6_port);
    return -1;
}

static int own_port_of(int fd)
{
    union any_address a = {.storage = {0}};
    socklen_t size = sizeof a;

    return getsockname(fd, &a.any, &size) == 0 ? port_of(&a) : -1;
}

static bool is_connection_of(int fd, const struct watched *one)
{
    union any_address a = {.storage = {0}};
    socklen_t size = sizeof a;
    char text[INET6_ADDRSTRLEN];
    const void *host;

    if (getpeername(fd, &a.any, &size) != 0 || port_of(&a) != one->peer_port || own_port_of(fd) != one->own_port)
        return false;
    host = a.any.sa_family == AF_INET ? (const void *)&a.v4.sin_addr : (const void *)&a.v6.sin6_addr;
    return inet_ntop(a.any.sa_family, host, text, sizeof text) != NULL && strcmp(text, one->peer) == 0;
}

/* Nothing came for so long, and nothing waits to be read. */
static bool is_quiet(int fd, unsigned ms)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int waiting = 0;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_last_data_recv > ms &&
           ioctl(fd, FIONREAD, &waiting) == 0 && waiting == 0;
}

struct cut {
    const struct watched *one;
    unsigned quiet_ms; /* only if nothing came for so long; 0: in any case */
    bool done;
};

static bool cut_if_it_is(int fd, void *data)
{
    struct cut *c = data;

    if (!is_connection_of(fd, c->one))
        return false;
    if (c->quiet_ms == 0 || is_quiet(fd, c->quiet_ms)) {
        shutdown(fd, atomic_load_explicit(&c->one->reading, memory_order_relaxed) ? SHUT_RD : SHUT_RDWR);
        c->done = true;
    }
    return true;
}

static bool shut_if_ours(int fd, void *data)
{
    const struct watch *w = data;

    if (own_port_of(fd) == w->options.port)
        shutdown(fd, SHUT_RDWR);
    return false;
}

void watch_shut_all(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    each_descriptor(w, shut_if_ours, w);
    pthread_mutex_unlock(&w->lock);
}

/* Whether it was ended. */
static bool cut(struct watch *w, struct watched *one, unsigned quiet_ms)
{
    struct cut c = {.one = one, .quiet_ms = quiet_ms};

    pthread_mutex_lock(&one->lock);
    if (one->connected)
        each_descriptor(w, cut_if_it_is, &c);
    if (c.done) {
        log_debug("connection ended: peer=%s:%d reason=%s", one->peer, one->peer_port, quiet_ms > 0 ? "idle" : "slow");
        atomic_fetch_add_explicit(&w->cuts, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&one->lock);
    return c.done;
}

static bool waits_for_body(struct watched *one)
{
    return atomic_load_explicit(&one->deadline_ms, memory_order_relaxed) != 0 &&
           atomic_load_explicit(&one->reading, memory_order_relaxed);
}

/* Ends those that have sent requests and nothing since, or that stopped in the middle of one. */
static void cut_idle(struct watch *w, uint64_t now)
{
    for (struct watched *one = w->all; one != NULL; one = one->next) {
        uint64_t since = atomic_load_explicit(&one->idle_since_ms, memory_order_relaxed);

        if ((since != 0 && now > since + w->options.idle_ms) || waits_for_body(one))
            cut(w, one, w->options.idle_ms);
    }
}

/* It is nobody's whose request was seen, and nothing came from it for a while, the last time that we looked neither: a
 * request that waited long in civetweb's queue is not named at the moment when it is taken from there. */
static bool cut_if_silent(int fd, void *data)
{
    struct watch *w = data;
    union any_address a = {.storage = {0}};
    socklen_t size = sizeof a;
    int port;

    if (own_port_of(fd) != w->options.port || getpeername(fd, &a.any, &size) != 0)
        return false;
    port = port_of(&a);
    if (port < 0 || ports_have(&w->named, port) || !is_quiet(fd, w->options.idle_ms))
        return false;
    ports_add(&w->silenter, port);
    if (!ports_have(&w->silent, port))
        return false;
    log_debug("connection ended: peer-port=%d reason=silent", port);
    shutdown(fd, SHUT_RDWR);
    atomic_fetch_add_explicit(&w->cuts, 1, memory_order_relaxed);
    return false;
}

/* Ends those that have not sent a whole request yet: civetweb does not say which they are. */
static void cut_silent(struct watch *w)
{
    memset(&w->named, 0, sizeof w->named);
    memset(&w->silenter, 0, sizeof w->silenter);
    for (struct watched *one = w->all; one != NULL; one = one->next) {
        pthread_mutex_lock(&one->lock);
        if (one->connected)
            ports_add(&w->named, one->peer_port);
        pthread_mutex_unlock(&one->lock);
    }
    each_descriptor(w, cut_if_silent, w);
    w->silent = w->silenter;
}

static void cut_late(struct watch *w, uint64_t now)
{
    for (struct watched *one = w->all; one != NULL; one = one->next) {
        uint64_t deadline = atomic_load_explicit(&one->deadline_ms, memory_order_relaxed);

        /* Once is enough, unless the worker has set another deadline meanwhile. */
        if (deadline != 0 && now > deadline && cut(w, one, 0))
            atomic_compare_exchange_strong(&one->deadline_ms, &deadline, 0);
    }
}

static void look(struct watch *w, uint64_t now)
{
    cut_late(w, now);
    if (!watch_short(w) && !descriptors_short(w))
        return;
    cut_idle(w, now);
    cut_silent(w);
}

static void *watch_run(void *data)
{
    struct watch *w = data;

    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(w->options.tick_ms % 1000) * 1000000;
        until.tv_sec += (time_t)(w->options.tick_ms / 1000) + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
        look(w, clock_now_ms());
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void watch_free(struct watch *w)
{
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    closedir(w->descriptors);
    free(w);
}

struct watch *watch_start(const struct watch_options *o)
{
    struct watch *w = xcalloc(1, sizeof *w);
    pthread_condattr_t monotonic;

    w->options = *o;
    w->descriptors = opendir("/proc/self/fd");
    if (w->descriptors == NULL) {
        free(w);
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&w->thread, NULL, watch_run, w) == 0)
        return w;
    watch_free(w);
    return NULL;
}

void watch_stop(struct watch *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    watch_free(w);
}

bool watch_short(const struct watch *w)
{
    return watch_connections(w) >= w->options.workers;
}

unsigned watch_connections(const struct watch *w)
{
    return atomic_load_explicit(&w->connections, memory_order_relaxed);
}

uint64_t watch_cuts(const struct watch *w)
{
    return atomic_load_explicit(&w->cuts, memory_order_relaxed);
}

void watch_add(struct watch *w, struct watched *one)
{
    pthread_mutex_init(&one->lock, NULL);
    pthread_mutex_lock(&w->lock);
    one->next = w->all;
    w->all = one;
    pthread_mutex_unlock(&w->lock);
}

void watch_remove(struct watch *w, struct watched *one)
{
    pthread_mutex_lock(&w->lock);
    for (struct watched **p = &w->all; *p != NULL; p = &(*p)->next) {
        if (*p == one) {
            *p = one->next;
            break;
        }
    }
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&one->lock);
}

void watch_opened(struct watch *w)
{
    atomic_fetch_add_explicit(&w->connections, 1, memory_order_relaxed);
}

void watch_named(struct watched *one, const char *peer, int peer_port, int own_port)
{
    pthread_mutex_lock(&one->lock);
    one->connected = true;
    strncpy(one->peer, peer, sizeof one->peer - 1);
    one->peer[sizeof one->peer - 1] = '\0';
    one->peer_port = peer_port;
    one->own_port = own_port;
    pthread_mutex_unlock(&one->lock);
}

void watch_closing(struct watch *w, struct watched *one)
{
    atomic_fetch_sub_explicit(&w->connections, 1, memory_order_relaxed);
    pthread_mutex_lock(&one->lock);
    one->connected = false;
    pthread_mutex_unlock(&one->lock);
    atomic_store_explicit(&one->idle_since_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&one->deadline_ms, 0, memory_order_relaxed);
}
