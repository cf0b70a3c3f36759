/* The profile balsa: balchua/balsa. /join, /set, /get and /remove, each by query and with any method, on 127.0.0.1 alone.
 *
 * Decided here: a GET that changes something is refused to pages of other sites (Sec-Fetch-Site: cross-site), so that none
 * of them can make a browser write. Query values are decoded as Go does, "+" is a blank. /get?key= answers the value,
 * 404 where there is none; /remove?key= removes a key, /remove?nodeId= a member. What was 200 whatever happened is
 * 400, 307, 404, 409 or 503. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/text.h"
#include "http/profile.h"

#define HERE "127.0.0.1" /* where all nodes of a balsa are */

/* ---- the query ---- */

/* Percent-decodes once, "+" to a blank, into `out` of `size` bytes. False, and answered, if it is not there or too long. */
static bool take_value(struct exchange *x, const char *name, uint8_t *out, size_t size, struct view *value)
{
    struct view raw;
    uint8_t *blanks;
    size_t length = 0;
    int err;

    if (!text_query(x->query, name, &raw)) {
        exchange_error(x, 400, "bad_request", "bad request: %s= is missing", name);
        return false;
    }
    blanks = xmalloc(raw.size + 1);
    for (size_t i = 0; i < raw.size; i++)
        blanks[i] = raw.data[i] == '+' ? ' ' : raw.data[i];
    err = text_percent_decode(view_of(blanks, raw.size), out, size, &length);
    free(blanks);
    *value = view_of(out, length);
    if (err == 0)
        return true;
    exchange_error(x, err == ERR_TOO_LONG ? 414 : 400, "bad_request",
                   err == ERR_TOO_LONG ? "%s= is longer than %zu bytes" : "bad request: %s= does not decode", name,
                   size);
    return false;
}

static bool take_key(struct exchange *x, uint8_t room[SERVICE_KEY_MAX], struct view *key)
{
    if (!take_value(x, "key", room, SERVICE_KEY_MAX, key))
        return false;
    if (key->size > 0)
        return true;
    exchange_error(x, 400, "bad_request", "bad request: key= has 1 to %d bytes", SERVICE_KEY_MAX);
    return false;
}

static bool take_node(struct exchange *x, char name[SERVICE_NAME_MAX])
{
    struct view value;

    if (!take_value(x, "nodeId", (uint8_t *)name, SERVICE_NAME_MAX - 1, &value))
        return false;
    name[value.size] = '\0';
    if (value.size > 0 && strlen(name) == value.size)
        return true;
    exchange_error(x, 400, "bad_request", "bad request: nodeId= is the name of a node");
    return false;
}

/* What the original says where it does nothing; then our own answer. */
static void refuse(struct exchange *x, enum asked what)
{
    enum service_code code = x->worker->result.code;

    if (code == SERVICE_NOT_LEADER || code == SERVICE_NO_LEADER)
        log_info("Not a leader, do nothing");
    exchange_refuse(x, what);
}

/* Whether the request may do something: see above. */
static bool is_ours(struct exchange *x)
{
    const char *site = x->headers[HEADER_SEC_FETCH_SITE];

    if (site == NULL || strcmp(site, "cross-site") != 0)
        return true;
    exchange_error(x, 403, "cross_site", "a page of another site may not ask for this");
    return false;
}

/* ---- keys ---- */

static void set(struct exchange *x, struct view rest)
{
    struct service_write w = {.op = SERVICE_SET, .condition = SERVICE_ALWAYS};
    uint8_t room[SERVICE_KEY_MAX];
    struct bytes *value = &x->worker->value;

    (void)rest;
    log_info("Set handler called");
    bytes_reset(value);
    if (!is_ours(x) || !take_key(x, room, &w.key) ||
        !take_value(x, "value", bytes_reserve(value, x->query.size + 1), x->query.size + 1, &w.value)) {
        return;
    }
    service_write(x->http->node, &w, SERVICE_DEADLINE_MS, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK) {
        refuse(x, ASKED_WRITE);
        return;
    }
    log_debug("Create key %.*s with value %.*s", (int)w.key.size, (const char *)w.key.data, (int)w.value.size,
              (const char *)w.value.data);
    profile_done(x, 200);
}

static void get(struct exchange *x, struct view rest)
{
    struct service_result *result = &x->worker->result;
    struct reply r = {.status = 200, .type = "application/octet-stream"};
    enum service_consistency consistency;
    uint8_t room[SERVICE_KEY_MAX];
    struct view key;

    (void)rest;
    if (!is_ours(x) || !take_key(x, room, &key) || !profile_take_consistency(x, &consistency))
        return;
    service_get(x->http->node, key, consistency, SERVICE_DEADLINE_MS, &x->worker->value, result);
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_READ);
        return;
    }
    r.etag = result->etag;
    r.body = bytes_view(&x->worker->value);
    exchange_send(x, &r, &result->stamp);
}

static void remove_key(struct exchange *x)
{
    struct service_write w = {.op = SERVICE_DELETE, .condition = SERVICE_ALWAYS};
    uint8_t room[SERVICE_KEY_MAX];

    if (!take_key(x, room, &w.key))
        return;
    service_write(x->http->node, &w, SERVICE_DEADLINE_MS, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK)
        refuse(x, ASKED_WRITE);
    else
        profile_done(x, 200);
}

/* ---- nodes ---- */

static void remove_node(struct exchange *x)
{
    char name[SERVICE_NAME_MAX];

    if (!take_node(x, name))
        return;
    service_member_remove(x->http->node, name, &(struct service_member_change){0}, SERVICE_DEADLINE_MS,
                          &x->worker->result);
    if (x->worker->result.code != SERVICE_OK)
        refuse(x, ASKED_MEMBER);
    else
        profile_done(x, 200);
}

static void remove_either(struct exchange *x, struct view rest)
{
    struct view value;

    (void)rest;
    log_info("Remove handler called");
    if (!is_ours(x))
        return;
    if (text_query(x->query, "nodeId", &value))
        remove_node(x);
    else
        remove_key(x);
}

/* The port of the members' connection. False, and answered, if it is none. */
static bool take_port(struct exchange *x, char peer[ADDRESS_MAX])
{
    uint8_t digits[8];
    struct view value;
    struct address address;

    if (!take_value(x, "raftPort", digits, sizeof digits - 1, &value))
        return false;
    snprintf(peer, ADDRESS_MAX, HERE ":%.*s", (int)value.size, (const char *)value.data);
    if (value.size > 0 && address_parse(peer, &address) == 0 && strcmp(address.host, HERE) == 0) {
        address_format(&address, peer, ADDRESS_MAX);
        return true;
    }
    exchange_error(x, 400, "bad_request", "bad request: raftPort= is a number from 1 to 65535");
    return false;
}

/* It joined before: asked again, nothing is to be done. */
static bool is_member(struct exchange *x, const char *name, const char *peer)
{
    struct service_cluster *c = xmalloc(sizeof *c);
    bool found = false;

    service_cluster(x->http->node, c);
    for (unsigned i = 0; i < c->count; i++)
        found = found || (strcmp(c->members[i].name, name) == 0 && strcmp(c->members[i].peer, peer) == 0);
    free(c);
    return found;
}

static void join(struct exchange *x, struct view rest)
{
    struct service_result *result = &x->worker->result;
    struct service_member_change change = {.profile = PROFILE_BALSA};
    struct service_membership membership;

    (void)rest;
    log_info("Join handler called");
    if (!is_ours(x) || !take_node(x, change.name) || !take_port(x, change.peer))
        return;
    log_info("node is %s", change.name);
    log_info("Joining node %s on host %s", change.name, change.peer);
    if (is_member(x, change.name, change.peer)) {
        service_stamp(x->http->node, &result->stamp);
        profile_done(x, 200);
        return;
    }
    service_member_add(x->http->node, &change, SERVICE_DEADLINE_MS, &membership, result);
    if (result->code == SERVICE_OK) {
        profile_done(x, 200);
        return;
    }
    if (result->code == SERVICE_NOT_LEADER || result->code == SERVICE_NO_LEADER)
        log_info("not a leader");
    log_warn("Invalid voter");
    exchange_refuse(x, ASKED_MEMBER);
}

static const struct route routes[] = {
    {"/join", false, ALL_METHODS, "", join},
    {"/set", false, ALL_METHODS, "", set},
    {"/get", false, ALL_METHODS, "", get},
    {"/remove", false, ALL_METHODS, "", remove_either},
};
const struct route_table balsa_routes = {routes, sizeof routes / sizeof routes[0]};
