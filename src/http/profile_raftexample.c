/* The profile raftexample: etcd's contrib/raftexample. PUT and GET /KEY; POST and DELETE /ID of a member; else 405.
 *
 * Decided here: a write is answered once committed, not before; the key is the path without its first slash, decoded once, and
 * without the query, so that it is the same key in every profile; reads are linearizable (?stale: what this member has). POST
 * /ID with the URL of a member's port for members makes it expected: a learner until a server of that id comes with
 * --join, which has its vote when it has caught up. DELETE always means a member, never a key. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "http/profile.h"

#define OPTION_VALUE "-max-value-size"
#define URL_MAX      1024

static void get(struct exchange *x, struct view rest)
{
    struct service_result *result = &x->worker->result;
    struct reply r = {.status = 200, .type = "application/octet-stream"};
    enum service_consistency consistency;
    uint8_t room[SERVICE_KEY_MAX];
    struct view key;

    if (!profile_take_key(x, rest, room, &key) || !profile_take_consistency(x, &consistency))
        return;
    service_get(x->http->node, key, consistency, SERVICE_DEADLINE_MS, &x->worker->value, result);
    if (result->code == SERVICE_NOT_FOUND) {
        exchange_error_with(x, 404, "no_such_key", "", "Failed to GET", &result->stamp);
        return;
    }
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_READ);
        return;
    }
    r.etag = result->etag;
    r.body = bytes_view(&x->worker->value);
    exchange_send(x, &r, &result->stamp);
}

static void put(struct exchange *x, struct view rest)
{
    struct service_write w = {.op = SERVICE_SET, .condition = SERVICE_ALWAYS};
    uint8_t room[SERVICE_KEY_MAX];

    if (!profile_take_key(x, rest, room, &w.key) || !exchange_body(x, x->http->max_value_size, OPTION_VALUE))
        return;
    w.value = bytes_view(&x->worker->body);
    service_write(x->http->node, &w, SERVICE_DEADLINE_MS, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK)
        exchange_refuse(x, ASKED_WRITE);
    else
        profile_done(x, 204);
}

/* The member's name: its id in decimal. False, and answered, if it is no id. */
static bool take_member(struct exchange *x, struct view rest, const char *failed, char name[SERVICE_NAME_MAX])
{
    uint64_t id = 0;

    if (profile_parse_id(rest, &id) != 0 || id == 0) {
        profile_say(x, 400, "bad_request", "", failed);
        return false;
    }
    snprintf(name, SERVICE_NAME_MAX, "%llu", (unsigned long long)id);
    return true;
}

static void post(struct exchange *x, struct view rest)
{
    char name[SERVICE_NAME_MAX], url[URL_MAX], peer[ADDRESS_MAX];
    struct address address;
    struct view body;

    if (!take_member(x, rest, "Failed on POST", name) || !exchange_body(x, URL_MAX - 1, NULL))
        return;
    body = bytes_view(&x->worker->body);
    snprintf(url, sizeof url, "%.*s", (int)body.size, body.size > 0 ? (const char *)body.data : "");
    url[strcspn(url, "\r\n")] = '\0';
    if (address_parse(url, &address) != 0) {
        profile_say(x, 400, "bad_request", "", "Failed on POST: the body must be the member's URL, http://HOST:PORT");
        return;
    }
    address_format(&address, peer, sizeof peer);
    service_member_expect(x->http->node, name, peer, SERVICE_DEADLINE_MS, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK)
        exchange_refuse(x, ASKED_MEMBER);
    else
        profile_done(x, 204);
}

static void delete_member(struct exchange *x, struct view rest)
{
    char name[SERVICE_NAME_MAX];

    if (!take_member(x, rest, "Failed on DELETE", name))
        return;
    service_member_remove(x->http->node, name, &(struct service_member_change){0}, SERVICE_DEADLINE_MS,
                          &x->worker->result);
    if (x->worker->result.code != SERVICE_OK)
        exchange_refuse(x, ASKED_MEMBER);
    else
        profile_done(x, 204);
}

static void handle(struct exchange *x, struct view rest)
{
    switch (x->method) {
    case METHOD_GET:
        get(x, rest);
        break;
    case METHOD_PUT:
        put(x, rest);
        break;
    case METHOD_POST:
        post(x, rest);
        break;
    case METHOD_DELETE:
        delete_member(x, rest);
        break;
    case METHOD_HEAD:
    case METHOD_OPTIONS:
    case METHOD_OTHER:
        profile_say(x, 405, "method_not_allowed", "Allow: PUT\r\nAllow: GET\r\nAllow: POST\r\nAllow: DELETE\r\n",
                    "Method not allowed");
        break;
    }
}

static const struct route routes[] = {
    {"/", false, ALL_METHODS, "", handle},
    {"/", true, ALL_METHODS, "", handle},
};
const struct route_table raftexample_routes = {routes, sizeof routes / sizeof routes[0]};
