/* http.h -- the HTTP server for clients: civetweb behind service.h, and nothing else of ours.
 *
 * What shapes it (civetweb 1.15 and 1.16): a worker thread serves one connection for its whole life and has about 79 KB
 * of stack, so buffers are on the heap; decode_url is off and keys are taken from the raw URI; after mg_stop every write
 * fails, so requests in flight are awaited first (http_drain). */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdint.h>

#include "base/err.h"
#include "server/service.h"

struct http;

struct http_options {
    char bind[256]; /* "": every address */
    uint16_t port;
    unsigned threads;
    uint64_t max_value_size;
    enum profile profile; /* which routes there are */
    /* Not NULL: this one has only the routes that say how the server does, our own, and counts what that one counts. It is
     * to be stopped before that one. */
    struct http *about;
};

/* Listens and serves. ERR_IN_USE and others with *why. All signals are blocked in its threads. */
int http_start(const struct http_options *o, struct node *n, struct http **out, struct why *why);
/* No request that comes after this is begun (503); waits until those in flight have been answered, at most timeout_ms. */
void http_drain(struct http *h, unsigned timeout_ms);
void http_stop(struct http *h); /* joins all threads; NULL is fine */

#endif
