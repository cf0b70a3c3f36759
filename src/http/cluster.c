/* /cluster and below, and /join: members, leadership, invitations.
 *
 * Decided here, as PRODUCT.md is silent:
 * - GET /cluster: {"cluster":ID,"term":N,"leader":NAME|null,"leader_id":ID|null,"commit":N,"config_index":N,"members":[..]},
 *   a member {"id":..,"name":..,"role":"leader"|"follower"|"learner","voter":bool,"client":HOST:PORT,"peer":HOST:PORT} and,
 *   where it is known (the leader knows all, others themselves), "match","lag","last_contact_ms" (null: never),"active", and
 *   "map_agrees","map_index": whether its map is the leader's, and where that was seen.
 *   GET /cluster/members: {"members":[..]} of the same.
 * - POST /cluster/members {"name","client","peer","id","role","replaces"}: without "id" the server at "client" is invited and
 *   says who it is. 201 if it is new, 200 if it was there; {"cluster":ID,"id":ID,"name":NAME,"index":N}.
 * - PUT /cluster/members/NAME-or-ID {"role","client","peer"}: 204; DELETE: 204. 404 for no such member, 409 where the state
 *   does not allow it. A name or id is percent-decoded; all digits are an id.
 * - These three with ?dry-run=1 change nothing: 200, {"message":..,"changes":bool,"voters","learners","reachable","quorum",
 *   "can_lose"}, or the refusal that the change would get. With ?force=1 the loss of the reachable quorum is no reason to refuse.
 * - POST /cluster/leader: the body is a name or id as text, or {"name":..} or {"id":..}; empty: the best. 200, empty.
 * - POST /join {"name":..,"connectionString":..}: 200, empty. "name" may be missing: the server says its own.
 * - GET /cluster/identity: {"cluster":ID,"id":ID,"name":NAME,"forming":LIST}; cluster 0: of none yet; LIST: that of -cluster.
 * - POST /cluster/invitation {"cluster":ID,"leader":HOST:PORT}: 200, {"cluster":ID,"id":ID,"name":NAME}; 409 if it is not free.
 * - All but GET and the invitation are answered with 307 by other members than the leader. A body is at most 64 KiB and
 *   nests at most 8 deep; fields we do not know are ignored, so that versions can differ. Content-Type is not looked at,
 *   as curl -d sends a form's. Ids are JSON numbers below 2^53. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/text.h"
#include "http/http_parse.h"
#include "http/http_request.h"

#define BODY_MAX  65536
#define DEPTH_MAX 8 /* jansson recurses: 2048 levels, its own limit, would overrun the stack of our threads */

/* ---- JSON from outside ---- */

static void bad_field(struct exchange *x, const char *name, const char *must)
{
    exchange_error(x, 400, "bad_request", "bad request: \"%s\" must be %s", name, must);
}

/* The object in the body, to be given back with json_decref; NULL, and answered, if there is none. */
static json_t *take_object(struct exchange *x)
{
    struct view body;
    json_error_t error;
    json_t *value;

    if (!exchange_body(x, BODY_MAX, NULL))
        return NULL;
    body = bytes_view(&x->worker->body);
    if (parse_json_depth(body) > DEPTH_MAX) {
        exchange_error(x, 400, "bad_request", "bad request: the JSON nests deeper than %d", DEPTH_MAX);
        return NULL;
    }
    value = json_loadb(body.size == 0 ? "" : (const char *)body.data, body.size, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(value))
        return value;
    if (value == NULL)
        exchange_error(x, 400, "bad_request", "bad request: the body is no JSON object: %s", error.text);
    else
        exchange_error(x, 400, "bad_request", "bad request: the body is no JSON object");
    json_decref(value);
    return NULL;
}

/* A text field; not there: "". False, and answered, if it is something else or too long. */
static bool take_text(struct exchange *x, const json_t *object, const char *name, char *out, size_t size)
{
    const json_t *value = json_object_get(object, name);

    out[0] = '\0';
    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_string(value) || json_string_length(value) >= size) {
        char must[48];

        snprintf(must, sizeof must, "a text of at most %zu bytes", size - 1);
        bad_field(x, name, must);
        return false;
    }
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return true;
}

/* A HOST:PORT field, brought into its one form. */
static bool take_address(struct exchange *x, const json_t *object, const char *name, char out[ADDRESS_MAX])
{
    struct address address;

    if (!take_text(x, object, name, out, ADDRESS_MAX))
        return false;
    if (out[0] == '\0')
        return true;
    if (address_parse(out, &address) != 0) {
        bad_field(x, name, "HOST:PORT");
        return false;
    }
    address_format(&address, out, ADDRESS_MAX);
    return true;
}

static bool take_id(struct exchange *x, const json_t *object, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(object, name);
    json_int_t id;

    *out = 0;
    if (value == NULL || json_is_null(value))
        return true;
    id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || (uint64_t)id > JSON_NUMBER_MAX) {
        bad_field(x, name, "a number from 0 to 2^53 - 1");
        return false;
    }
    *out = (uint64_t)id;
    return true;
}

/* ?dry-run=1 and ?force=1. */
static bool take_mode(struct exchange *x, struct service_member_change *change)
{
    if (parse_flag(x->query, "dry-run", &change->dry_run) == 0 && parse_flag(x->query, "force", &change->force) == 0)
        return true;
    exchange_error(x, 400, "bad_request", "bad request: dry-run and force are 1 or 0");
    return false;
}

static bool take_role(struct exchange *x, const json_t *object, struct service_member_change *change)
{
    char role[16];

    if (!take_text(x, object, "role", role, sizeof role))
        return false;
    if (strcmp(role, "voter") == 0) {
        change->role = SERVICE_ROLE_VOTER;
    } else if (strcmp(role, "learner") == 0) {
        change->role = SERVICE_ROLE_LEARNER;
    } else if (role[0] != '\0') {
        bad_field(x, "role", "\"voter\" or \"learner\"");
        return false;
    }
    return true;
}

static bool take_profile(struct exchange *x, const json_t *object, struct service_member_change *change)
{
    char profile[16];

    if (!take_text(x, object, "profile", profile, sizeof profile))
        return false;
    change->profile = profile[0] != '\0' ? profile_of_name(profile) : PROFILE_RAFTD;
    if (change->profile != PROFILES)
        return true;
    bad_field(x, "profile", "the name of a profile");
    return false;
}

/* ---- what there is ---- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *member_object(const struct service_member *m)
{
    json_t *object = json_object();

    json_object_set_new(object, "id", number(m->id));
    json_object_set_new(object, "name", json_string(m->name));
    json_object_set_new(object, "role", json_string(m->role));
    json_object_set_new(object, "voter", json_boolean(m->voter));
    json_object_set_new(object, "client", json_string(m->client));
    json_object_set_new(object, "peer", json_string(m->peer));
    json_object_set_new(object, "profile", json_string(profile_name(m->profile)));
    if (m->replaces != 0)
        json_object_set_new(object, "replaces", number(m->replaces));
    if (m->map != SERVICE_MAP_UNKNOWN) {
        json_object_set_new(object, "map_agrees", json_boolean(m->map == SERVICE_MAP_AGREES));
        json_object_set_new(object, "map_index", number(m->map_index));
    }
    if (!m->tracked)
        return object;
    json_object_set_new(object, "match", number(m->match));
    json_object_set_new(object, "lag", number(m->lag));
    json_object_set_new(object, "last_contact_ms",
                        m->last_contact_ms < 0 ? json_null() : json_integer(m->last_contact_ms));
    json_object_set_new(object, "active", json_boolean(m->active));
    return object;
}

static json_t *members_array(const struct service_cluster *c)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < c->count; i++)
        json_array_append_new(array, member_object(&c->members[i]));
    return array;
}

static const char *name_of(const struct service_cluster *c, uint64_t id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return c->members[i].name;
    return NULL;
}

/* On the heap: sixteen members with their addresses are a good part of a worker's stack. */
static struct service_cluster *read_cluster(struct exchange *x, struct service_stamp *stamp)
{
    struct service_cluster *c = xmalloc(sizeof *c);

    service_cluster(x->http->node, c);
    service_stamp(x->http->node, stamp);
    return c;
}

void cluster_handle(struct exchange *x, struct view rest)
{
    struct service_stamp stamp;
    struct service_cluster *c = read_cluster(x, &stamp);
    const char *leader = name_of(c, c->leader);
    json_t *object = json_object();

    (void)rest;
    json_object_set_new(object, "cluster", number(c->id));
    json_object_set_new(object, "term", number(c->term));
    json_object_set_new(object, "leader", leader != NULL ? json_string(leader) : json_null());
    json_object_set_new(object, "leader_id", c->leader != 0 ? number(c->leader) : json_null());
    json_object_set_new(object, "commit", number(c->commit));
    json_object_set_new(object, "config_index", number(c->config_index));
    json_object_set_new(object, "members", members_array(c));
    free(c);
    exchange_send_json(x, 200, object, &stamp);
}

static void list_members(struct exchange *x)
{
    struct service_stamp stamp;
    struct service_cluster *c = read_cluster(x, &stamp);
    json_t *object = json_object();

    json_object_set_new(object, "members", members_array(c));
    free(c);
    exchange_send_json(x, 200, object, &stamp);
}

/* ---- members ---- */

/* Of a dry run what would be, of a change nothing but that it is done. */
static void answer_change(struct exchange *x, const struct service_member_change *change)
{
    const struct service_result *result = &x->worker->result;
    const struct service_outlook *o = &result->outlook;
    json_t *object;

    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_MEMBER);
        return;
    }
    if (!change->dry_run) {
        exchange_send(x, &(struct reply){.status = 204}, &result->stamp);
        return;
    }
    object = json_object();
    json_object_set_new(object, "message", json_string(result->text));
    json_object_set_new(object, "changes", json_boolean(o->changes));
    json_object_set_new(object, "voters", number(o->voters));
    json_object_set_new(object, "learners", number(o->learners));
    json_object_set_new(object, "reachable", number(o->reachable));
    json_object_set_new(object, "quorum", number(o->quorum));
    json_object_set_new(object, "can_lose", number(o->can_lose));
    exchange_send_json(x, 200, object, &result->stamp);
}

static void add_member(struct exchange *x)
{
    struct service_result *result = &x->worker->result;
    struct service_member_change change = {0};
    struct service_membership membership = {0};
    json_t *object = take_object(x);
    bool taken;

    if (object == NULL)
        return;
    taken = take_id(x, object, "id", &change.id) && take_text(x, object, "name", change.name, sizeof change.name) &&
            take_address(x, object, "client", change.client) && take_address(x, object, "peer", change.peer) &&
            take_text(x, object, "replaces", change.replaces, sizeof change.replaces) &&
            take_role(x, object, &change) && take_profile(x, object, &change) && take_mode(x, &change);
    change.waits = json_is_true(json_object_get(object, "waits"));
    json_decref(object);
    if (!taken)
        return;
    if (change.client[0] == '\0') {
        bad_field(x, "client", "the HOST:PORT at which clients reach the new member");
        return;
    }
    service_member_add(x->http->node, &change, SERVICE_DEADLINE_MS, &membership, result);
    if (result->code != SERVICE_OK || change.dry_run) {
        answer_change(x, &change);
        return;
    }
    object = json_object();
    json_object_set_new(object, "cluster", number(membership.cluster));
    json_object_set_new(object, "id", number(membership.id));
    json_object_set_new(object, "name", json_string(membership.name));
    json_object_set_new(object, "index", number(membership.index));
    exchange_send_json(x, result->created ? 201 : 200, object, &result->stamp);
}

void cluster_members_handle(struct exchange *x, struct view rest)
{
    (void)rest;
    if (x->method == METHOD_POST)
        add_member(x);
    else
        list_members(x);
}

/* Decodes a member's name or id. False, and answered, if it can be neither. */
static bool take_member(struct exchange *x, struct view raw, char name[SERVICE_NAME_MAX])
{
    size_t size = 0;
    int err = text_percent_decode(raw, (uint8_t *)name, SERVICE_NAME_MAX - 1, &size);

    if (err == 0 && size > 0 && memchr(name, '\0', size) == NULL) {
        name[size] = '\0';
        return true;
    }
    exchange_error(x, 400, "bad_request", "bad request: a member is named by 1 to %d bytes or its id",
                   SERVICE_NAME_MAX - 1);
    return false;
}

static void update_member(struct exchange *x, const char *name)
{
    struct service_member_change change = {0};
    json_t *object = take_object(x);
    bool taken;

    if (object == NULL)
        return;
    taken = take_address(x, object, "client", change.client) && take_address(x, object, "peer", change.peer) &&
            take_role(x, object, &change) && take_mode(x, &change);
    json_decref(object);
    if (!taken)
        return;
    if (change.client[0] == '\0' && change.peer[0] == '\0' && change.role == SERVICE_ROLE_UNCHANGED) {
        exchange_error(x, 400, "bad_request", "bad request: give one of \"role\", \"client\" and \"peer\"");
        return;
    }
    service_member_update(x->http->node, name, &change, SERVICE_DEADLINE_MS, &x->worker->result);
    answer_change(x, &change);
}

void cluster_member_handle(struct exchange *x, struct view rest)
{
    struct service_member_change how = {0};
    char name[SERVICE_NAME_MAX];

    if (!take_member(x, rest, name))
        return;
    if (x->method == METHOD_PUT) {
        update_member(x, name);
        return;
    }
    if (!exchange_body(x, BODY_MAX, NULL) || !take_mode(x, &how))
        return;
    service_member_remove(x->http->node, name, &how, SERVICE_DEADLINE_MS, &x->worker->result);
    answer_change(x, &how);
}

/* ---- leadership ---- */

static struct view trim(struct view v)
{
    while (v.size > 0 && strchr(" \t\r\n", v.data[v.size - 1]) != NULL && v.data[v.size - 1] != '\0')
        v.size--;
    while (v.size > 0 && strchr(" \t\r\n", v.data[0]) != NULL && v.data[0] != '\0')
        v = view_of(v.data + 1, v.size - 1);
    return v;
}

/* {"name":..} or {"id":..}. */
static bool take_successor_object(struct exchange *x, char name[SERVICE_NAME_MAX])
{
    json_t *object = take_object(x);
    uint64_t id = 0;
    bool taken;

    if (object == NULL)
        return false;
    taken = take_text(x, object, "name", name, SERVICE_NAME_MAX) && take_id(x, object, "id", &id);
    json_decref(object);
    if (taken && name[0] == '\0' && id != 0)
        snprintf(name, SERVICE_NAME_MAX, "%llu", (unsigned long long)id);
    if (taken && name[0] == '\0') { /* most likely a mistyped field: an empty body asks for the best */
        bad_field(x, "name", "that of the member that shall lead");
        return false;
    }
    return taken;
}

static bool take_successor(struct exchange *x, char name[SERVICE_NAME_MAX])
{
    struct view body;

    if (!exchange_body(x, BODY_MAX, NULL))
        return false;
    body = trim(bytes_view(&x->worker->body));
    if (body.size > 0 && body.data[0] == '{')
        return take_successor_object(x, name);
    if (body.size >= SERVICE_NAME_MAX || (body.size > 0 && memchr(body.data, '\0', body.size) != NULL)) {
        exchange_error(x, 400, "bad_request", "bad request: a member's name has at most %d bytes",
                       SERVICE_NAME_MAX - 1);
        return false;
    }
    if (body.size > 0)
        memcpy(name, body.data, body.size);
    name[body.size] = '\0';
    return true;
}

void cluster_leader_handle(struct exchange *x, struct view rest)
{
    char name[SERVICE_NAME_MAX];

    (void)rest;
    if (!take_successor(x, name))
        return;
    service_transfer(x->http->node, name, SERVICE_DEADLINE_MS, &x->worker->result);
    if (x->worker->result.code != SERVICE_OK)
        exchange_refuse(x, ASKED_MEMBER);
    else
        exchange_send(x, &(struct reply){.status = 200}, &x->worker->result.stamp);
}

/* ---- joining ---- */

void cluster_join_handle(struct exchange *x, struct view rest)
{
    struct service_result *result = &x->worker->result;
    struct service_member_change change = {0};
    struct service_membership membership = {0};
    json_t *object = take_object(x);
    bool taken;

    (void)rest;
    if (object == NULL)
        return;
    taken = take_text(x, object, "name", change.name, sizeof change.name) &&
            take_address(x, object, "connectionString", change.client);
    json_decref(object);
    if (!taken)
        return;
    if (change.client[0] == '\0') {
        bad_field(x, "connectionString", "http://HOST:PORT of the server that joins");
        return;
    }
    service_member_add(x->http->node, &change, SERVICE_DEADLINE_MS, &membership, result);
    if (result->code != SERVICE_OK)
        exchange_refuse(x, ASKED_MEMBER);
    else
        exchange_send(x, &(struct reply){.status = 200}, &result->stamp);
}

/* For servers that want to form a cluster with this one, or invite it by its name. */
void cluster_identity_handle(struct exchange *x, struct view rest)
{
    struct service_status status;
    struct service_stamp stamp;
    json_t *object = json_object();

    (void)rest;
    service_status(x->http->node, &status);
    service_stamp(x->http->node, &stamp);
    json_object_set_new(object, "cluster", number(status.cluster));
    json_object_set_new(object, "id", number(status.id));
    json_object_set_new(object, "name", json_string(stamp.node));
    if (status.forming != NULL)
        json_object_set_new(object, "forming", json_string(status.forming));
    exchange_send_json(x, 200, object, &stamp);
}

void cluster_invitation_handle(struct exchange *x, struct view rest)
{
    struct service_result *result = &x->worker->result;
    struct service_membership self = {0};
    struct service_invitation invitation = {0};
    json_t *object = take_object(x);
    bool taken;

    (void)rest;
    if (object == NULL)
        return;
    taken = take_id(x, object, "cluster", &invitation.cluster) &&
            take_address(x, object, "leader", invitation.leader) &&
            take_id(x, object, "replaces", &invitation.replaces);
    invitation.learner = json_is_true(json_object_get(object, "learner"));
    json_decref(object);
    if (!taken)
        return;
    if (invitation.cluster == 0 || invitation.leader[0] == '\0') {
        exchange_error(x, 400, "bad_request", "bad request: an invitation has \"cluster\" and \"leader\"");
        return;
    }
    service_invited(x->http->node, &invitation, &self, result);
    if (result->code != SERVICE_OK) {
        exchange_refuse(x, ASKED_MEMBER);
        return;
    }
    object = json_object();
    json_object_set_new(object, "cluster", number(self.cluster));
    json_object_set_new(object, "id", number(self.id));
    json_object_set_new(object, "name", json_string(self.name));
    exchange_send_json(x, 200, object, &result->stamp);
}
