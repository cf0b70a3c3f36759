/* http_request.h -- private to src/http: one request being answered, and the worker thread that answers it.
 *
 * A handler reads the request (path, query, headers, exchange_body), asks service.h, and answers exactly once, with
 * exchange_send, exchange_error, exchange_refuse or a stream. Whatever needs room is in struct worker, on the heap: a
 * civetweb thread has a stack of 100 KB. Views of the request end with the handler. */
#ifndef HTTP_HTTP_REQUEST_H
#define HTTP_HTTP_REQUEST_H

#include <civetweb.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "http/http.h"
#include "http/watch.h"
#include "server/service.h"

enum http_method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_OPTIONS, METHOD_OTHER };
#define METHODS       (METHOD_OTHER + 1)
#define METHOD_BIT(m) (1U << (m))

#define LATENCY_BUCKETS 12 /* and one for all that takes longer */

/* Counted by one worker alone, read by whoever answers /metrics. */
struct http_counts {
    _Atomic uint64_t requests[METHODS][6]; /* by method and first digit of the status */
    _Atomic uint64_t latency[LATENCY_BUCKETS + 1];
    _Atomic uint64_t latency_us; /* the sum */
};

/* What a test must shorten; http_start takes http_limits_default. */
struct http_limits {
    unsigned stall_ms;      /* no byte for so long while a request comes or an answer goes: the end */
    unsigned keep_alive_ms; /* between two requests */
    unsigned body_ms;       /* a whole body, or a whole answer (and a millisecond more for each 64 bytes) */
    unsigned linger_ms;     /* after a refusal: to read what the client still sends, so that it sees the answer */
    unsigned idle_ms;       /* when workers are short: an idle connection may stay so long */
    unsigned tick_ms;       /* how often the watch looks */
};
extern const struct http_limits http_limits_default;

struct http {
    struct mg_context *context;
    struct node *node;
    const struct route_table *routes;
    enum profile profile;
    struct http *about; /* http_options */
    uint64_t max_value_size;
    unsigned threads;
    uint16_t port;
    struct http_limits limits;
    struct watch *watch;
    _Atomic bool draining;
    int64_t started_s;    /* wall clock, for process_start_time_seconds */
    pthread_mutex_t lock; /* guards what follows, but not what is in the workers */
    bool starting;        /* http_start runs: civetweb's complaints tell it what went wrong */
    struct why complaint;
    struct worker *workers;
    struct http_counts past; /* of workers that have ended */
};

/* One worker thread's own; never freed before its thread ends. */
struct worker {
    struct http *http;
    struct worker *next;
    struct watched watched;
    struct http_counts counts;
    _Atomic bool busy;  /* a request is being answered: http_drain waits for it */
    const char *buffer; /* where civetweb puts this worker's requests: the lowest place seen */
    unsigned served;    /* requests on this connection */
    struct bytes out;   /* the answer's head, and its body if that is short */
    struct bytes body;  /* of the request */
    struct bytes value; /* of a key */
    struct bytes extra; /* header lines of the answer */
    struct bytes text;  /* whatever else must be put together */
    int64_t date_s;     /* the second that `date` is for */
    char date[32];      /* "Sat, 21 Nov 2026 02:07:00 GMT" */
    struct service_result result;
};

/* The header fields that mean something to us. */
enum http_header {
    HEADER_HOST,
    HEADER_CONTENT_LENGTH,
    HEADER_TRANSFER_ENCODING,
    HEADER_EXPECT,
    HEADER_CONNECTION,
    HEADER_ACCEPT,
    HEADER_IF_MATCH,
    HEADER_IF_NONE_MATCH,
    HEADER_SEC_FETCH_SITE
};
#define HEADERS (HEADER_SEC_FETCH_SITE + 1)

struct exchange {
    struct http *http;
    struct worker *worker;
    struct mg_connection *connection;
    const struct mg_request_info *info;
    enum http_method method;
    struct view path, query;      /* as received */
    const char *headers[HEADERS]; /* NULL: not there */
    uint64_t started_us;
    uint64_t content_length;
    int status;      /* of the answer, once it went */
    bool http_1_0;   /* the client knows no chunks */
    bool counted;    /* the stream that is the answer has a Content-Length, and so no chunks */
    bool chunked;    /* the request's body is */
    bool expects;    /* waits for "100 Continue" before it sends the body */
    bool body_taken; /* nothing of the body is left on the connection */
    bool close;      /* no further request on this connection */
    bool wants_json; /* errors as JSON */
};

/* ---- the request ---- */

/* Reads the head that civetweb parsed. False, and answered, if it is no sound HTTP: what two readers could take differently
 * (request smuggling) is refused. */
bool exchange_open(struct exchange *x);
/* What ?stale asks for. False, and answered, if it says something else. */
bool exchange_consistency(struct exchange *x, enum service_consistency *consistency);
/* The whole body into worker->body, at most `limit` bytes; `option` names what sets the limit (NULL: nothing does). False,
 * and answered, if it is longer or does not come. */
bool exchange_body(struct exchange *x, uint64_t limit, const char *option);
/* The whole body in pieces, each given to `take` as it comes, for one too large to be kept. False: answered, or `take` said no; then
 * x->status is 0, and the answer is the caller's. */
bool exchange_body_pieces(struct exchange *x, uint64_t limit, const char *option,
                          bool (*take)(void *context, struct view piece), void *context);
/* Before an answer: reads and ignores a short body that nobody asked for; else the connection is to end. */
void exchange_settle_body(struct exchange *x);
/* Done with it: what is left of the body, the watch, the counters. */
void exchange_close(struct exchange *x);

/* ---- the answer ---- */

struct reply {
    int status;
    const char *type;  /* Content-Type, or NULL */
    uint64_t etag;     /* 0: none */
    struct view extra; /* whole header lines, each with its CR LF */
    struct view body;
};
void exchange_send(struct exchange *x, const struct reply *r, const struct service_stamp *stamp);

/* Takes over the reference to `value`. */
void exchange_send_json(struct exchange *x, int status, json_t *value, const struct service_stamp *stamp);

/* An error that HTTP itself found: `text` is one sentence without newline, `code` is for programs. */
void exchange_error(struct exchange *x, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with header lines. */
void exchange_error_with(struct exchange *x, int status, const char *code, const char *extra, const char *text,
                         const struct service_stamp *stamp);

enum asked { ASKED_READ, ASKED_WRITE, ASKED_MEMBER };
/* What the service answered instead of OK, in worker->result. */
void exchange_refuse(struct exchange *x, enum asked what);

/* A long body in pieces: in chunks, or for HTTP/1.0 up to the end of the connection, if its length is not known before. */
struct stream {
    const char *type;  /* Content-Type */
    struct view extra; /* whole header lines, each with its CR LF */
    bool counted;      /* `size` is its exact length */
    uint64_t size;     /* bytes to be expected: the more, the longer the client may take; 0: unknown */
};
void exchange_stream_begin(struct exchange *x, const struct stream *head, const struct service_stamp *stamp);
bool exchange_stream_write(struct exchange *x, struct bytes *data); /* and resets data; false: the client is gone */
/* Not complete: the connection is cut, so that the client sees it. */
void exchange_stream_end(struct exchange *x, bool complete);

/* ---- routes ---- */

#define READS       (METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD))
#define BODIES      (METHOD_BIT(METHOD_POST) | METHOD_BIT(METHOD_PUT))
#define DELETES     METHOD_BIT(METHOD_DELETE)
#define ALL_METHODS (METHOD_BIT(METHODS) - 1) /* the handler itself says what it does not know */

struct route {
    const char *path;
    bool more; /* something must follow: it is given to the handler */
    unsigned methods;
    const char *allow;
    void (*handle)(struct exchange *x, struct view rest);
};
struct route_table {
    const struct route *routes;
    size_t count;
};
extern const struct route_table raftexample_routes, shaj13_routes, balsa_routes; /* profile_*.c */

/* ---- the handlers, one per family of paths; `rest` is what follows the route's own path ---- */

void kv_handle(struct exchange *x, struct view rest);
void kv_list(struct exchange *x, struct view rest);
void cluster_handle(struct exchange *x, struct view rest);
void cluster_members_handle(struct exchange *x, struct view rest);
void cluster_member_handle(struct exchange *x, struct view rest);
void cluster_leader_handle(struct exchange *x, struct view rest);
void cluster_identity_handle(struct exchange *x, struct view rest);
void cluster_invitation_handle(struct exchange *x, struct view rest);
void cluster_join_handle(struct exchange *x, struct view rest);
void info_root(struct exchange *x, struct view rest);
void info_status(struct exchange *x, struct view rest);
void info_livez(struct exchange *x, struct view rest);
void info_readyz(struct exchange *x, struct view rest);
void backup_handle(struct exchange *x, struct view rest);
void metrics_handle(struct exchange *x, struct view rest);

/* Adds up what all workers counted. */
void metrics_count(struct http_counts *c, enum http_method method, int status, uint64_t us);
void metrics_add(struct http_counts *sum, const struct http_counts *one);

/* http_start with other limits: for tests. */
int http_start_limited(const struct http_options *o, const struct http_limits *limits, struct node *n,
                       struct http **out, struct why *why);

#endif
