/* The profile shaj13: the example of shaj13/raft. PUT and POST / with {"Key":..,"Value":..}; GET /KEY; GET /mgmt/nodes;
 * DELETE /mgmt/nodes/ID, and DELETE /ID, as its README has it.
 *
 * Decided here: what was 500 there is 503, 504, 404 or 409 with the same text; a value in JSON is any text; an empty key is
 * 400. Reads are linearizable. Ids are below 2^53. A removed member stays in the list, as there, with the time of its removal;
 * here the last 16 of them. To remove one again succeeds. A request may take 5 s, where the original gave up after 1: on
 * a busy machine that is the difference between an answer and "nobody knows", and a client in a hurry has curl -m. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/text.h"
#include "http/http_parse.h"
#include "http/profile.h"

#define DEPTH_MAX     8    /* jansson recurses, and our stack is small */
#define JSON_GROWTH   6    /* a byte may come as \u00xx */
#define JSON_OVERHEAD 4096 /* the key, the names, and fields that nobody asked for */

/* raftpb.MemberType; its staging, 3, is our learner that has not caught up yet. */
enum { TYPE_VOTER = 0, TYPE_REMOVED = 1, TYPE_LEARNER = 2 };

/* The texts of the original for what it tells by them. */
static void refuse(struct exchange *x, enum asked what)
{
    switch (x->worker->result.code) {
    case SERVICE_NO_LEADER:
    case SERVICE_LOST:
    case SERVICE_STOPPING:
        profile_say(x, 503, "no_leader", "Retry-After: 1\r\n", "raft: no elected cluster leader");
        return;
    case SERVICE_NO_QUORUM:
        profile_say(x, 503, "no_quorum", "Retry-After: 1\r\n",
                    "raft: quorum lost and the cluster unavailable, no new logs can be committed");
        return;
    case SERVICE_UNKNOWN:
        profile_say(x, 504, "unknown", "", "context deadline exceeded");
        return;
    case SERVICE_OK:
    case SERVICE_NOT_FOUND:
    case SERVICE_CONDITION_FAILED:
    case SERVICE_NOT_LEADER:
    case SERVICE_BUSY:
    case SERVICE_NO_SPACE:
    case SERVICE_INVALID:
    case SERVICE_CONFLICT:
    case SERVICE_DOUBTED:
    case SERVICE_FAILED:
        break;
    }
    exchange_refuse(x, what);
}

/* ---- keys ---- */

/* A field by its name in any case of letters, as Go's JSON finds it: the last one. */
static json_t *field(json_t *object, const char *name)
{
    const char *key;
    json_t *value, *found = NULL;

    json_object_foreach(object, key, value)
    {
        if (strcasecmp(key, name) == 0)
            found = value;
    }
    return found;
}

/* The object in the body, to be given back; NULL, and answered, if there is none. */
static json_t *take_object(struct exchange *x)
{
    struct view body;
    json_error_t error;
    json_t *object = NULL;

    if (!exchange_body(x, x->http->max_value_size * JSON_GROWTH + JSON_OVERHEAD, "-max-value-size"))
        return NULL;
    body = bytes_view(&x->worker->body);
    snprintf(error.text, sizeof error.text, "it nests deeper than %d", DEPTH_MAX);
    if (body.size > 0 && parse_json_depth(body) <= DEPTH_MAX)
        object = json_loadb((const char *)body.data, body.size, JSON_ALLOW_NUL, &error);
    else if (body.size == 0)
        snprintf(error.text, sizeof error.text, "unexpected end of JSON input");
    if (json_is_object(object))
        return object;
    profile_say(x, 400, "bad_request", "", object == NULL ? error.text : "json: the body is no object");
    json_decref(object);
    return NULL;
}

/* False, and answered, if both are not texts of a length that we take. */
static bool take_pair(struct exchange *x, json_t *object, struct service_write *w)
{
    json_t *key = field(object, "Key"), *value = field(object, "Value");

    if ((key != NULL && !json_is_string(key)) || (value != NULL && !json_is_string(value))) {
        profile_say(x, 400, "bad_request", "", "json: Key and Value must be strings");
        return false;
    }
    w->key = view_of(json_string_value(key), json_string_length(key));
    w->value = view_of(json_string_value(value), json_string_length(value));
    if (w->key.size == 0 || w->key.size > SERVICE_KEY_MAX) {
        exchange_error(x, 400, "bad_request", "bad request: Key must have 1 to %d bytes", SERVICE_KEY_MAX);
        return false;
    }
    if (w->value.size <= x->http->max_value_size)
        return true;
    exchange_error(x, 413, "too_large", "the value is longer than %llu bytes, the limit set by -max-value-size",
                   (unsigned long long)x->http->max_value_size);
    return false;
}

static void save(struct exchange *x, struct view rest)
{
    struct service_write w = {.op = SERVICE_SET, .condition = SERVICE_ALWAYS};
    json_t *object = take_object(x);

    (void)rest;
    if (object == NULL)
        return;
    if (take_pair(x, object, &w)) {
        service_write(x->http->node, &w, SERVICE_DEADLINE_MS, &x->worker->result);
        if (x->worker->result.code != SERVICE_OK)
            refuse(x, ASKED_WRITE);
        else
            profile_done(x, 204);
    }
    json_decref(object);
}

static void get(struct exchange *x, struct view rest)
{
    struct service_result *result = &x->worker->result;
    struct bytes *value = &x->worker->value;
    struct reply r = {.status = 200, .type = "text/plain; charset=utf-8"};
    enum service_consistency consistency;
    uint8_t room[SERVICE_KEY_MAX];
    struct view key;

    if (!profile_take_key(x, rest, room, &key) || !profile_take_consistency(x, &consistency))
        return;
    service_get(x->http->node, key, consistency, SERVICE_DEADLINE_MS, value, result);
    if (result->code != SERVICE_OK && result->code != SERVICE_NOT_FOUND) {
        refuse(x, ASKED_READ);
        return;
    }
    bytes_append_char(value, '\n'); /* alone, where there is no such key: so it is there */
    r.etag = result->etag;
    r.body = bytes_view(value);
    exchange_send(x, &r, &result->stamp);
}

/* ---- members ---- */

/* As Go writes a raftpb.Member: without what is zero. */
static json_t *node_object(uint64_t id, const char *peer, int type, uint64_t since_ns)
{
    json_t *object = json_object(), *since = json_object();

    json_object_set_new(object, "id", json_integer((json_int_t)id));
    json_object_set_new(object, "addr",
                        json_string(strncmp(peer, "localhost:", 10) == 0 ? peer + strlen("localhost") : peer));
    if (type != TYPE_VOTER)
        json_object_set_new(object, "type", json_integer(type));
    if (since_ns >= 1000000000)
        json_object_set_new(since, "seconds", json_integer((json_int_t)(since_ns / 1000000000)));
    if (since_ns % 1000000000 != 0)
        json_object_set_new(since, "nanos", json_integer((json_int_t)(since_ns % 1000000000)));
    json_object_set_new(object, "createdAt", since);
    return object;
}

static void list(struct exchange *x, struct view rest)
{
    struct service_cluster *c = xmalloc(sizeof *c);
    struct service_stamp stamp;
    json_t *array = json_array();

    (void)rest;
    service_cluster(x->http->node, c);
    service_stamp(x->http->node, &stamp);
    for (unsigned i = 0; i < c->count; i++)
        json_array_append_new(array,
                              node_object(c->members[i].id, c->members[i].peer,
                                          c->members[i].voter ? TYPE_VOTER : TYPE_LEARNER, c->members[i].created_ns));
    for (unsigned i = 0; i < c->gone_count; i++)
        json_array_append_new(array, node_object(c->gone[i].id, c->gone[i].peer, TYPE_REMOVED, c->gone[i].removed_ns));
    free(c);
    exchange_send_json(x, 200, array, &stamp);
}

/* Whether this server leads and is the one meant: then it must hand over first. */
static bool is_leader_here(struct exchange *x, uint64_t id)
{
    struct service_status status;

    service_status(x->http->node, &status);
    return status.leader == id && status.id == id;
}

static void remove_node(struct exchange *x, struct view rest)
{
    char name[SERVICE_NAME_MAX], text[120];
    uint64_t id = 0;

    if (profile_parse_id(rest, &id) != 0) {
        profile_say(x, 400, "bad_request", "", "strconv.ParseUint: parsing the member's id: invalid syntax");
        return;
    }
    if (is_leader_here(x, id)) {
        snprintf(text, sizeof text,
                 "raft: operation not permitted, member %llx is the leader, transfer leadership first",
                 (unsigned long long)id);
        profile_say(x, 409, "conflict", "", text);
        return;
    }
    snprintf(name, sizeof name, "%llu", (unsigned long long)id);
    service_member_remove(x->http->node, name, &(struct service_member_change){0}, SERVICE_DEADLINE_MS,
                          &x->worker->result);
    if (x->worker->result.code == SERVICE_OK) {
        profile_done(x, 200);
    } else if (x->worker->result.code == SERVICE_NOT_FOUND) {
        snprintf(text, sizeof text, "raft: unknown member %llx", (unsigned long long)id);
        profile_say(x, 404, "no_such_member", "", text);
    } else {
        refuse(x, ASKED_MEMBER);
    }
}

static void one(struct exchange *x, struct view rest)
{
    if (x->method == METHOD_DELETE)
        remove_node(x, rest);
    else
        get(x, rest);
}

static const struct route routes[] = {
    {"/", false, BODIES, "PUT, POST, OPTIONS", save},
    {"/mgmt/nodes", false, READS, "GET, HEAD, OPTIONS", list},
    {"/mgmt/nodes/", true, DELETES, "DELETE, OPTIONS", remove_node},
    {"/", true, READS | DELETES, "GET, HEAD, DELETE, OPTIONS", one},
};
const struct route_table shaj13_routes = {routes, sizeof routes / sizeof routes[0]};
