/* civetweb: start and stop, its callbacks, and which path belongs to whom.
 *
 * begin_request answers everything, so civetweb's own handlers, files, CGI, listings and CORS are never reached.
 *
 * Decided here, as PRODUCT.md is silent: unknown paths are 404, "/cluster/" among them; "/" says what there is;
 * "/db" is "/db/"; a write without a key, to /db/, is 400; OPTIONS is 204 with Allow; HEAD goes wherever GET goes; methods that
 * civetweb does not know are 400; what civetweb refuses itself gets an answer in our form. When every worker holds a
 * connection, those that sent nothing for 2 s are ended, and a busy one is asked to connect anew after 128 requests, so that
 * others get their turn. civetweb as Debian builds it listens on IPv4 alone. */
#include "http/http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"
#include "http/http_request.h"

#define IPV6_FEATURE  8U  /* of mg_check_feature */
#define TURN_REQUESTS 128 /* on one connection while all workers are taken */
#define DRAIN_STEP_MS 2
#define QUEUE         64  /* connections that civetweb accepts before a worker is free */
#define OTHER_FILES   112 /* descriptors of all the rest: stores, threads, two links for each of 15 peers */

const struct http_limits http_limits_default = {
    .stall_ms = 10000,
    .keep_alive_ms = 60000,
    .body_ms = 30000,
    .linger_ms = 1000,
    .idle_ms = 2000,
    .tick_ms = 250,
};

/* ---- routes ---- */

#define ABOUT_ROUTES                                                                                                   \
    {"/cluster", false, READS, "GET, HEAD, OPTIONS", cluster_handle},                                                  \
        {"/cluster/members", false, READS | METHOD_BIT(METHOD_POST), "GET, HEAD, POST, OPTIONS",                       \
         cluster_members_handle},                                                                                      \
        {"/cluster/members/", true, METHOD_BIT(METHOD_PUT) | DELETES, "PUT, DELETE, OPTIONS", cluster_member_handle},  \
        {"/cluster/leader", false, METHOD_BIT(METHOD_POST), "POST, OPTIONS", cluster_leader_handle},                   \
        {"/backup", false, READS | METHOD_BIT(METHOD_PUT), "GET, HEAD, PUT, OPTIONS", backup_handle},                  \
        {"/status", false, READS, "GET, HEAD, OPTIONS", info_status},                                                  \
        {"/livez", false, READS, "GET, HEAD, OPTIONS", info_livez},                                                    \
        {"/readyz", false, READS, "GET, HEAD, OPTIONS", info_readyz},                                                  \
    {                                                                                                                  \
        "/metrics", false, READS, "GET, HEAD, OPTIONS", metrics_handle                                                 \
    }

static const struct route raftd_list[] = {
    {"/db/", true, READS | BODIES | DELETES, "GET, HEAD, POST, PUT, DELETE, OPTIONS", kv_handle},
    {"/db/", false, READS | BODIES | DELETES, "GET, HEAD, OPTIONS", kv_list},
    {"/db", false, READS, "GET, HEAD, OPTIONS", kv_list},
    ABOUT_ROUTES,
    {"/cluster/identity", false, READS, "GET, HEAD, OPTIONS", cluster_identity_handle},
    {"/cluster/invitation", false, METHOD_BIT(METHOD_POST), "POST, OPTIONS", cluster_invitation_handle},
    {"/join", false, METHOD_BIT(METHOD_POST), "POST, OPTIONS", cluster_join_handle},
    {"/", false, READS, "GET, HEAD, OPTIONS", info_root},
};
static const struct route about_list[] = {ABOUT_ROUTES};
static const struct route_table raftd_routes = {raftd_list, sizeof raftd_list / sizeof raftd_list[0]};
static const struct route_table about_routes = {about_list, sizeof about_list / sizeof about_list[0]};

static const struct route_table *routes_of(const struct http_options *o)
{
    if (o->about != NULL)
        return &about_routes;
    switch (o->profile) {
    case PROFILE_RAFTD:
        break;
    case PROFILE_RAFTEXAMPLE:
        return &raftexample_routes;
    case PROFILE_SHAJ13:
        return &shaj13_routes;
    case PROFILE_BALSA:
        return &balsa_routes;
    }
    return &raftd_routes;
}

static const struct route *find_route(const struct route_table *table, struct view path, struct view *rest)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct route *r = &table->routes[i];
        struct view prefix = view_of_text(r->path);

        if (!view_starts_with(path, prefix) || (path.size > prefix.size) != r->more)
            continue;
        *rest = view_of(path.data + prefix.size, path.size - prefix.size);
        return r;
    }
    return NULL;
}

static void answer_options(struct exchange *x, const struct route *r, int status)
{
    struct service_stamp stamp;
    char allow[96];

    snprintf(allow, sizeof allow, "Allow: %s\r\n", r->allow);
    service_stamp(x->http->node, &stamp);
    if (status == 405)
        exchange_error_with(x, 405, "method_not_allowed", allow, "raftd: this path does not know that method", &stamp);
    else
        exchange_send(x, &(struct reply){.status = status, .extra = view_of_text(allow)}, &stamp);
}

static void dispatch(struct exchange *x)
{
    struct view rest;
    const struct route *r = find_route(x->http->routes, x->path, &rest);

    if (r == NULL)
        exchange_error(x, 404, "no_such_path", "no such path");
    else if (x->method == METHOD_OPTIONS && r->methods != ALL_METHODS)
        answer_options(x, r, 204);
    else if ((r->methods & METHOD_BIT(x->method)) == 0)
        answer_options(x, r, 405);
    else
        r->handle(x, rest);
}

/* ---- civetweb's callbacks ---- */

static struct http *http_of(const struct mg_connection *connection)
{
    return mg_get_user_data(mg_get_context(connection));
}

static void note_connection(struct worker *w, const struct mg_request_info *info)
{
    if (w->served++ == 0)
        watch_named(&w->watched, info->remote_addr, info->remote_port, info->server_port);
    atomic_store_explicit(&w->watched.idle_since_ms, 0, memory_order_relaxed);
}

static void begin_exchange(struct exchange *x, struct mg_connection *connection)
{
    *x = (struct exchange){
        .http = http_of(connection),
        .worker = mg_get_thread_pointer(connection),
        .connection = connection,
        .info = mg_get_request_info(connection),
        .started_us = clock_now_us(),
    };
    /* In this order, and http_drain in the other: either it sees us, or we see it. */
    atomic_store(&x->worker->busy, true);
}

static void end_exchange(struct exchange *x)
{
    exchange_close(x);
    log_trace("request answered: status=%d path=\"%.*s\"", x->status, (int)(x->path.size < 200 ? x->path.size : 200),
              (const char *)x->path.data);
    if (x->close)
        mg_disable_connection_keep_alive(x->connection);
    atomic_store_explicit(&x->worker->watched.idle_since_ms, clock_now_ms(), memory_order_relaxed);
    atomic_store(&x->worker->busy, false);
}

static int on_request(struct mg_connection *connection)
{
    struct exchange x;

    begin_exchange(&x, connection);
    note_connection(x.worker, x.info);
    if (x.worker->served > TURN_REQUESTS && watch_short(x.http->watch))
        x.close = true;
    if (exchange_open(&x)) {
        if (atomic_load(&x.http->draining)) {
            x.close = true;
            exchange_error(&x, 503, "stopping", "this server is stopping");
        } else {
            dispatch(&x);
        }
    }
    end_exchange(&x);
    return x.status;
}

/* What civetweb refuses itself: of the request nothing is certain. */
static int on_error(struct mg_connection *connection, int status, const char *message)
{
    struct exchange x;

    begin_exchange(&x, connection);
    x.method = METHOD_OTHER;
    x.close = x.body_taken = true;
    if (status == 413)
        exchange_error(&x, 431, "head_too_large", "the request line and headers are longer than 16384 bytes");
    else if (status >= 500)
        exchange_error(&x, status == 505 ? 505 : 500, "bad_request", "%s", message);
    else
        exchange_error(&x, 400, "bad_request", "bad request: no sound HTTP, or its head is longer than 16384 bytes");
    end_exchange(&x);
    return 0;
}

static int on_log(const struct mg_connection *connection, const char *message)
{
    struct http *h = http_of(connection);

    pthread_mutex_lock(&h->lock);
    if (h->starting && h->complaint.text[0] == '\0') /* the first one is nearest to the cause */
        snprintf(h->complaint.text, sizeof h->complaint.text, "%s", message);
    else if (!h->starting)
        log_warn("http: message=\"%s\"", message);
    pthread_mutex_unlock(&h->lock);
    return 1;
}

static int on_connected(const struct mg_connection *connection, void **data)
{
    struct worker *w = mg_get_thread_pointer(connection);

    *data = NULL;
    w->served = 0;
    watch_opened(w->http->watch);
    return 0;
}

static void on_closing(const struct mg_connection *connection)
{
    struct worker *w = mg_get_thread_pointer(connection);

    watch_closing(w->http->watch, &w->watched);
}

static void *on_thread(const struct mg_context *context, int type)
{
    struct http *h = mg_get_user_data(context);
    struct worker *w;

    if (type != 1)
        return NULL;
    w = xcalloc(1, sizeof *w);
    w->http = h;
    bytes_init(&w->out, SIZE_MAX / 2);
    bytes_init(&w->body, SIZE_MAX / 2); /* each body sets its own */
    bytes_init(&w->value, SIZE_MAX / 2);
    bytes_init(&w->extra, SIZE_MAX / 2);
    bytes_init(&w->text, SIZE_MAX / 2);
    watch_add(h->watch, &w->watched);
    pthread_mutex_lock(&h->lock);
    w->next = h->workers;
    h->workers = w;
    pthread_mutex_unlock(&h->lock);
    return w;
}

static void on_thread_end(const struct mg_context *context, int type, void *pointer)
{
    struct http *h = mg_get_user_data(context);
    struct worker *w = pointer;

    if (type != 1)
        return;
    pthread_mutex_lock(&h->lock);
    for (struct worker **p = &h->workers; *p != NULL; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            break;
        }
    }
    metrics_add(&h->past, &w->counts);
    pthread_mutex_unlock(&h->lock);
    watch_remove(h->watch, &w->watched);
    bytes_clear(&w->out);
    bytes_clear(&w->body);
    bytes_clear(&w->value);
    bytes_clear(&w->extra);
    bytes_clear(&w->text);
    free(w);
}

/* ---- start and stop ---- */

/* civetweb's way to write where to listen. */
static int listening_address(const struct http_options *o, char *out, size_t size, struct why *why)
{
    if (o->bind[0] == '\0')
        snprintf(out, size, "%s%u", mg_check_feature(IPV6_FEATURE) != 0 ? "+" : "", (unsigned)o->port);
    else if (strchr(o->bind, ':') == NULL)
        snprintf(out, size, "%s:%u", o->bind, (unsigned)o->port);
    else if (mg_check_feature(IPV6_FEATURE) != 0)
        snprintf(out, size, o->bind[0] == '[' ? "%s:%u" : "[%s]:%u", o->bind, (unsigned)o->port);
    else
        return why_set(why, ERR_INVALID, "this system's civetweb listens on IPv4 alone: -bind %s cannot be", o->bind);
    return 0;
}

/* civetweb only tells in a log line why it could not start. */
static int start_error(const struct http_options *o, const struct why *complaint, struct why *why)
{
    const char *address = o->bind[0] != '\0' ? o->bind : "every address";

    if (strstr(complaint->text, ": 98 (") != NULL)
        return why_set(why, ERR_IN_USE, "port %u on %s is taken: choose another with -port, or stop what listens there",
                       (unsigned)o->port, address);
    if (strstr(complaint->text, ": 13 (") != NULL)
        return why_set(why, ERR_PERMISSION,
                       "port %u on %s is not allowed to this user: choose one above 1023 with -port", (unsigned)o->port,
                       address);
    return why_set(why, ERR_INVALID, "cannot listen on port %u of %s: %s", (unsigned)o->port, address,
                   complaint->text[0] != '\0' ? complaint->text : "civetweb did not start");
}

/* civetweb accepts what its threads and its queue can hold: that must leave descriptors for the stores and the peers. */
static int fit_descriptors(struct http *h, struct why *why)
{
    struct rlimit limit;
    uint64_t room;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= (uint64_t)h->threads + QUEUE + OTHER_FILES)
        return 0;
    room = limit.rlim_cur > QUEUE + OTHER_FILES ? limit.rlim_cur - QUEUE - OTHER_FILES : 0;
    if (room < 4)
        return why_set(why, ERR_NO_RESOURCES, "%llu open files are too few: allow %u or more with ulimit -n",
                       (unsigned long long)limit.rlim_cur, h->threads + QUEUE + OTHER_FILES);
    log_warn("fewer clients at once than -threads asks for: threads=%llu open-files=%llu", (unsigned long long)room,
             (unsigned long long)limit.rlim_cur);
    h->threads = (unsigned)room;
    return 0;
}

static struct mg_context *start_civetweb(struct http *h, const char *listen)
{
    char threads[16], stall[16], keep_alive[16], queue[16];
    const char *options[] = {
        "listening_ports",
        listen,
        "num_threads",
        threads,
        "request_timeout_ms",
        stall,
        "keep_alive_timeout_ms",
        keep_alive,
        "enable_keep_alive",
        "yes",
        "tcp_nodelay",
        "1",
        "decode_url",
        "no",
        "decode_query_string",
        "no",
        "enable_auth_domain_check",
        "no",
        "enable_directory_listing",
        "no",
        "access_control_allow_origin",
        "",
        "access_control_allow_methods",
        "",
        "access_control_allow_headers",
        "",
        "max_request_size",
        "16384",
        "listen_backlog",
        "1024",
        "connection_queue",
        queue,
        NULL,
    };
    const struct mg_callbacks callbacks = {
        .begin_request = on_request,
        .log_message = on_log,
        .http_error = on_error,
        .init_connection = on_connected,
        .connection_close = on_closing,
        .init_thread = on_thread,
        .exit_thread = on_thread_end,
    };

    snprintf(threads, sizeof threads, "%u", h->threads);
    snprintf(queue, sizeof queue, "%d", QUEUE);
    snprintf(stall, sizeof stall, "%u", h->limits.stall_ms);
    snprintf(keep_alive, sizeof keep_alive, "%u", h->limits.keep_alive_ms);
    return mg_start(&callbacks, h, options);
}

int http_start_limited(const struct http_options *o, const struct http_limits *limits, struct node *n,
                       struct http **out, struct why *why)
{
    struct http *h = xcalloc(1, sizeof *h);
    sigset_t all, before;
    char listen[300];
    int err;

    *h = (struct http){
        .node = n,
        .routes = routes_of(o),
        .profile = o->about != NULL ? PROFILE_RAFTD : o->profile,
        .about = o->about,
        .max_value_size = o->max_value_size,
        .threads = o->threads > 0 ? o->threads : 1,
        .port = o->port,
        .limits = *limits,
        .starting = true,
    };
    h->started_s = time(NULL);
    pthread_mutex_init(&h->lock, NULL);
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* a damaged map is the thread's own fault: where that is blocked, no handler is asked */
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    mg_init_library(0);
    err = listening_address(o, listen, sizeof listen, why);
    if (err == 0)
        err = fit_descriptors(h, why);
    if (err != 0)
        goto out;
    h->watch = watch_start(&(struct watch_options){
        .workers = h->threads, .idle_ms = limits->idle_ms, .tick_ms = limits->tick_ms, .port = h->port});
    if (h->watch == NULL) {
        err = why_set(why, ERR_NO_RESOURCES, "no thread for the HTTP server (ulimit -u), or no /proc");
        goto out;
    }
    h->context = start_civetweb(h, listen);
    if (h->context == NULL) {
        err = start_error(o, &h->complaint, why);
        goto out;
    }
    pthread_mutex_lock(&h->lock);
    h->starting = false;
    pthread_mutex_unlock(&h->lock);
    if (h->complaint.text[0] != '\0')
        log_warn("http: started, but message=\"%s\"", h->complaint.text);
    *out = h;
    h = NULL;
out:
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    http_stop(h);
    return err;
}

int http_start(const struct http_options *o, struct node *n, struct http **out, struct why *why)
{
    return http_start_limited(o, &http_limits_default, n, out, why);
}

static bool any_busy(struct http *h)
{
    bool busy = false;

    pthread_mutex_lock(&h->lock);
    for (struct worker *w = h->workers; w != NULL && !busy; w = w->next)
        busy = atomic_load(&w->busy);
    pthread_mutex_unlock(&h->lock);
    return busy;
}

void http_drain(struct http *h, unsigned timeout_ms)
{
    const struct timespec step = {.tv_nsec = DRAIN_STEP_MS * 1000000L};
    uint64_t until = clock_now_ms() + timeout_ms;

    atomic_store(&h->draining, true);
    while (any_busy(h) && clock_now_ms() < until)
        nanosleep(&step, NULL);
}

void http_stop(struct http *h)
{
    if (h == NULL)
        return;
    atomic_store(&h->draining, true);
    if (h->context != NULL) {
        watch_shut_all(h->watch);
        mg_stop(h->context);
    }
    watch_stop(h->watch);
    mg_exit_library();
    pthread_mutex_destroy(&h->lock);
    free(h);
}
