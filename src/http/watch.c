#include "http/watch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"

struct watch {
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below but the counter; taken before a watched's own lock */
    pthread_cond_t wake;
    bool stopping;
    struct watched *all;
    unsigned workers, idle_ms, tick_ms;
    _Atomic uint64_t cuts;
};

/* Calls `each` for every descriptor of this process until it returns true. */
static void each_descriptor(bool (*each)(int fd, void *data), void *data)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);

        if (*end == '\0' && end != entry->d_name && fd != dirfd(dir) && each((int)fd, data))
            break;
    }
    closedir(dir);
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
    union any_address a;
    socklen_t size = sizeof a;

    return getsockname(fd, &a.any, &size) == 0 ? port_of(&a) : -1;
}

static bool is_connection_of(int fd, const struct watched *one)
{
    union any_address a;
    socklen_t size = sizeof a;
    char text[INET6_ADDRSTRLEN];
    const void *host;

    if (getpeername(fd, &a.any, &size) != 0 || port_of(&a) != one->peer_port || own_port_of(fd) != one->own_port)
        return false;
    host = a.any.sa_family == AF_INET ? (const void *)&a.v4.sin_addr : (const void *)&a.v6.sin6_addr;
    return inet_ntop(a.any.sa_family, host, text, sizeof text) != NULL && strcmp(text, one->peer) == 0;
}

static bool cut_if_it_is(int fd, void *data)
{
    const struct watched *one = data;

    if (!is_connection_of(fd, one))
        return false;
    shutdown(fd, atomic_load_explicit(&one->reading, memory_order_relaxed) ? SHUT_RD : SHUT_RDWR);
    return true;
}

static bool shut_if_port(int fd, void *data)
{
    const int *port = data;

    if (own_port_of(fd) == *port)
        shutdown(fd, SHUT_RDWR);
    return false;
}

void watch_shut_port(int port)
{
    each_descriptor(shut_if_port, &port);
}

static void cut(struct watch *w, struct watched *one, const char *why)
{
    pthread_mutex_lock(&one->lock);
    if (one->connected) {
        log_debug("connection ended: peer=%s:%d reason=%s", one->peer, one->peer_port, why);
        each_descriptor(cut_if_it_is, one);
        atomic_fetch_add_explicit(&w->cuts, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&one->lock);
}

static bool holds_connection(struct watched *one)
{
    bool connected;

    pthread_mutex_lock(&one->lock);
    connected = one->connected;
    pthread_mutex_unlock(&one->lock);
    return connected;
}

static void look(struct watch *w, uint64_t now)
{
    unsigned held = 0;

    for (struct watched *one = w->all; one != NULL; one = one->next) {
        uint64_t deadline = atomic_load_explicit(&one->deadline_ms, memory_order_relaxed);

        if (deadline != 0 && now > deadline) {
            atomic_store_explicit(&one->deadline_ms, 0, memory_order_relaxed);
            cut(w, one, "deadline");
        }
        if (holds_connection(one))
            held++;
    }
    if (held < w->workers)
        return;
    for (struct watched *one = w->all; one != NULL; one = one->next) {
        uint64_t since = atomic_load_explicit(&one->idle_since_ms, memory_order_relaxed);

        if (since != 0 && now > since + w->idle_ms)
            cut(w, one, "idle");
    }
}

static void *watch_run(void *data)
{
    struct watch *w = data;

    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(w->tick_ms % 1000) * 1000000;
        until.tv_sec += (time_t)(w->tick_ms / 1000) + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
        look(w, clock_now_ms());
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watch *watch_start(unsigned workers, unsigned idle_ms, unsigned tick_ms)
{
    struct watch *w = xcalloc(1, sizeof *w);
    pthread_condattr_t monotonic;

    w->workers = workers;
    w->idle_ms = idle_ms;
    w->tick_ms = tick_ms;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&w->thread, NULL, watch_run, w) == 0)
        return w;
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
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
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
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

void watch_connected(struct watched *one, const char *peer, int peer_port, int own_port)
{
    pthread_mutex_lock(&one->lock);
    one->connected = true;
    strncpy(one->peer, peer, sizeof one->peer - 1);
    one->peer[sizeof one->peer - 1] = '\0';
    one->peer_port = peer_port;
    one->own_port = own_port;
    pthread_mutex_unlock(&one->lock);
}

void watch_closing(struct watched *one)
{
    pthread_mutex_lock(&one->lock);
    one->connected = false;
    pthread_mutex_unlock(&one->lock);
    atomic_store_explicit(&one->idle_since_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&one->deadline_ms, 0, memory_order_relaxed);
}
