/* watch.h -- ends connections that hold a worker for too long; civetweb cannot do that itself.
 *
 * civetweb's request_timeout_ms starts anew with every byte that comes or goes, so a client that drips a body, or reads an
 * answer a byte at a time, would keep its worker for ever. And an idle connection keeps one until its time-out while others
 * wait. One thread looks at all workers a few times a second and shuts down the sockets concerned; civetweb then sees an
 * ordinary end. It does not tell us its socket, so it is looked up by its addresses: that is rare.
 *
 * Each worker thread owns one `struct watched`; the watching thread only reads it, under `lock` or atomically. */
#ifndef HTTP_WATCH_H
#define HTTP_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct watched {
    pthread_mutex_t lock; /* held while the socket is looked up: civetweb then cannot close it */
    bool connected;       /* the three fields below say whose connection this worker serves */
    char peer[48];
    int peer_port, own_port;
    _Atomic uint64_t idle_since_ms; /* no request since then; 0: one is being answered, or no connection */
    _Atomic uint64_t deadline_ms;   /* a body or an answer must be through by then; 0: none */
    _Atomic bool reading;           /* what must be through is a body: the client may still be told so */
    struct watched *next;
};

struct watch;

struct watch_options {
    unsigned workers; /* when so many hold a connection, or no descriptor is left, ... */
    unsigned idle_ms; /* ... those that were idle for longer are ended */
    unsigned tick_ms; /* how often it looks */
    uint16_t port;    /* where clients connect to */
};
struct watch *watch_start(const struct watch_options *o); /* NULL: no thread, or no /proc */
void watch_stop(struct watch *w);                         /* joins; NULL is fine */
bool watch_short(const struct watch *w);                  /* every worker holds a connection */
unsigned watch_connections(const struct watch *w);        /* that hold a worker */
uint64_t watch_cuts(const struct watch *w);               /* connections ended so far */

void watch_add(struct watch *w, struct watched *one); /* stays until watch_remove */
void watch_remove(struct watch *w, struct watched *one);

/* By the worker: */
void watch_opened(struct watch *w); /* a connection; whose, is not known */
void watch_named(struct watched *one, const char *peer, int peer_port, int own_port); /* with its first request */
void watch_closing(struct watch *w, struct watched *one); /* the socket may be closed next */

/* Shuts down every socket of the port, the listening one too: a stop need not wait for idle clients. */
void watch_shut_all(struct watch *w);

#endif
