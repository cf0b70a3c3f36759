#include "net/http_call.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/http_answer.h"
#include "net/socket.h"

#define REDIRECTS_MAX 5
#define TARGET_MAX    1024                                                  /* of a path with its query, NUL included */
#define RAW_MAX       (4 * HTTP_ANSWER_HEAD_MAX + 4 * HTTP_ANSWER_BODY_MAX) /* with interim answers, chunk sizes */

_Static_assert(HTTP_ANSWER_BODY_MAX == HTTP_CALL_BODY_MAX, "one limit");

/* Where a request goes. */
struct place {
    struct address at;
    char target[TARGET_MAX];
};

static bool same_place(const struct place *a, const struct place *b)
{
    return a->at.port == b->at.port && strcasecmp(a->at.host, b->at.host) == 0 && strcmp(a->target, b->target) == 0;
}

/* ---- one request and its answer ----------------------------------------------------------------------------- */

static int send_request(int fd, const char *method, const struct place *p, struct view request, struct socket_wait w)
{
    char address[ADDRESS_MAX];
    struct bytes head;
    int err;

    address_format(&p->at, address, sizeof address);
    bytes_init(&head, 4096 + HTTP_CALL_BODY_MAX);
    bytes_printf(&head,
                 "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: raftd\r\nAccept: application/json\r\n"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                 method, p->target, address, request.size);
    bytes_append(&head, request.data, request.size);

    struct iovec part = {.iov_base = head.data, .iov_len = head.size};

    err = head.overflow ? ERR_TOO_LONG : socket_write_until(fd, &part, 1, w);
    bytes_clear(&head);
    return err;
}

/* Reads into *raw until the answer is complete. *answer points into it. */
static int read_answer(int fd, struct socket_wait w, struct bytes *raw, struct http_answer *answer, struct bytes *body)
{
    bool ended = false;

    for (;;) {
        uint8_t chunk[4096];
        size_t got = 0;
        int err = socket_read_some_until(fd, chunk, sizeof chunk, w, &got);

        if (err == ERR_CLOSED)
            ended = true;
        else if (err != 0)
            return err;
        bytes_append(raw, chunk, got);
        if (raw->overflow)
            return ERR_MALFORMED;
        err = http_answer_parse(bytes_view(raw), ended, answer, body);
        if (err != HTTP_ANSWER_MORE)
            return err;
        if (ended)
            return ERR_CLOSED;
    }
}

static int exchange(const char *method, const struct place *p, struct view request, struct socket_wait w,
                    struct bytes *raw, struct http_answer *answer, struct bytes *body)
{
    int fd = -1;
    int err = socket_connect_until(&p->at, w, &fd);

    if (err != 0)
        return err;
    err = send_request(fd, method, p, request, w);
    /* Who answers before it has read everything may close on us: what it said still counts. */
    if (err == 0 || err == ERR_CLOSED)
        err = read_answer(fd, w, raw, answer, body);
    socket_close(fd);
    return err;
}

/* ---- redirections ------------------------------------------------------------------------------------------- */

static bool is_target(struct view v)
{
    if (v.size == 0 || v.size >= TARGET_MAX || v.data[0] != '/')
        return false;
    for (size_t i = 0; i < v.size; i++)
        if (v.data[i] <= ' ' || v.data[i] > '~')
            return false;
    return true;
}

/* HOST or HOST:PORT; without a port it is 80, as for every http URL. */
static int parse_authority(struct view authority, struct address *out)
{
    char text[ADDRESS_MAX + 8];
    const char *port;

    if (authority.size == 0 || authority.size >= ADDRESS_MAX || memchr(authority.data, '\0', authority.size) != NULL)
        return ERR_MALFORMED;
    memcpy(text, authority.data, authority.size);
    text[authority.size] = '\0';
    port = strrchr(text, ':');
    if (port == NULL || strchr(port, ']') != NULL)
        strcat(text, ":80");
    return address_parse(text, out) == 0 ? 0 : ERR_MALFORMED;
}

/* Where a Location leads from *p: "http://HOST:PORT/path" or "/path". Nothing else is spoken here. */
static int follow(struct view location, struct place *p)
{
    static const char scheme[] = "http://";
    struct place next = *p;
    struct view target = location;

    if (location.size >= sizeof scheme - 1 &&
        strncasecmp((const char *)location.data, scheme, sizeof scheme - 1) == 0) {
        struct view rest = view_of(location.data + sizeof scheme - 1, location.size - (sizeof scheme - 1));
        const uint8_t *slash = rest.size == 0 ? NULL : memchr(rest.data, '/', rest.size);
        size_t length = slash == NULL ? rest.size : (size_t)(slash - rest.data);

        if (parse_authority(view_of(rest.data, length), &next.at) != 0)
            return ERR_MALFORMED;
        target = slash == NULL ? view_of_text("/") : view_of(slash, rest.size - length);
    }
    if (!is_target(target))
        return ERR_MALFORMED;
    memcpy(next.target, target.data, target.size);
    next.target[target.size] = '\0';
    *p = next;
    return 0;
}

static bool was_visited(const struct place *visited, unsigned count, const struct place *p)
{
    for (unsigned i = 0; i < count; i++)
        if (same_place(&visited[i], p))
            return true;
    return false;
}

static int failed(int err, const char *method, const struct place *p, const char *what, struct why *why)
{
    char address[ADDRESS_MAX];

    address_format(&p->at, address, sizeof address);
    return why_set(why, err, "%s http://%s%.100s: %s", method, address, p->target, what);
}

int http_call(const char *method, struct address *to, const char *path, struct view request, int timeout_ms,
              int *status, struct bytes *body, struct why *why)
{
    struct socket_wait w = socket_wait_for(timeout_ms, -1);
    struct place visited[REDIRECTS_MAX + 1] = {{.at = *to}};
    struct place p = {.at = *to};
    struct http_answer answer = {0};
    struct bytes raw;
    int err;

    if (!is_target(view_of_text(path)))
        return why_set(why, ERR_INVALID, "%.100s is not a path that can be asked for", path);
    memcpy(p.target, path, strlen(path) + 1);
    bytes_init(&raw, RAW_MAX);
    for (unsigned hops = 0;; hops++) {
        bytes_reset(&raw);
        err = exchange(method, &p, request, w, &raw, &answer, body);
        if (err != 0) {
            failed(err, method, &p, err_text(err), why);
            break;
        }
        if ((answer.status != 307 && answer.status != 308) || answer.location.size == 0)
            break;
        visited[hops] = p;
        err = follow(answer.location, &p);
        if (err != 0) {
            failed(err, method, &p, "redirected to what is no http URL", why);
            break;
        }
        if (hops == REDIRECTS_MAX || was_visited(visited, hops + 1, &p)) {
            err = failed(ERR_UNREACHABLE, method, &p, "redirected in a circle, or too often", why);
            break;
        }
    }
    bytes_clear(&raw);
    if (err != 0)
        return err;
    *status = answer.status;
    *to = p.at;
    return 0;
}
