#include "server/peer_http.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "server/service.h"

#define BRACKETS_MAX 16 /* jansson recurses, and a receiver's stack is small */

struct answer {
    int status;
    char location[ADDRESS_MAX + 64]; /* "": none */
    struct bytes body;
};

static void say(struct answer *a, int status, const char *text)
{
    a->status = status;
    bytes_reset(&a->body);
    bytes_printf(&a->body, "raftd: %s\n", text);
}

static void say_json(struct answer *a, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);

    CHECK(text != NULL);
    a->status = 200;
    bytes_reset(&a->body);
    bytes_printf(&a->body, "%s\n", text);
    free(text);
    json_decref(value);
}

static json_t *object_of(struct view body)
{
    unsigned brackets = 0;

    for (size_t i = 0; i < body.size; i++)
        brackets += body.data[i] == '{' || body.data[i] == '[';
    return brackets > BRACKETS_MAX || body.size == 0 ? NULL : json_loadb((const char *)body.data, body.size, 0, NULL);
}

static void take_text(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    snprintf(out, size, "%s", text != NULL ? text : "");
}

/* An address in our own spelling; "" stays. False: it is none. */
static bool take_address(const json_t *object, const char *name, char out[ADDRESS_MAX])
{
    struct address parsed;

    take_text(object, name, out, ADDRESS_MAX);
    if (out[0] == '\0')
        return true;
    if (address_parse(out, &parsed) != 0)
        return false;
    address_format(&parsed, out, ADDRESS_MAX);
    return true;
}

static uint64_t take_id(const json_t *object, const char *name)
{
    json_int_t id = json_integer_value(json_object_get(object, name));

    return id > 0 && (uint64_t)id < MEMBER_ID_LIMIT ? (uint64_t)id : 0;
}

static void refuse(struct answer *a, const struct service_result *r)
{
    switch (r->code) {
    case SERVICE_INVALID:
        say(a, 400, r->text);
        return;
    case SERVICE_NOT_FOUND:
        say(a, 404, r->text);
        return;
    case SERVICE_CONFLICT:
    case SERVICE_CONDITION_FAILED:
        say(a, 409, r->text);
        return;
    case SERVICE_NOT_LEADER:
        if (r->stamp.leader_peer[0] == '\0')
            break;
        snprintf(a->location, sizeof a->location, "http://%s/cluster/members", r->stamp.leader_peer);
        say(a, 307, "not the leader");
        return;
    case SERVICE_UNKNOWN:
        say(a, 504, "no answer from a quorum in time");
        return;
    case SERVICE_FAILED:
        say(a, 500, r->text);
        return;
    case SERVICE_OK:
    case SERVICE_NO_LEADER:
    case SERVICE_LOST:
    case SERVICE_NO_QUORUM:
    case SERVICE_BUSY:
    case SERVICE_NO_SPACE:
    case SERVICE_STOPPING:
    case SERVICE_DOUBTED:
        break;
    }
    say(a, 503, "not now: no leader, no space or no time");
}

static void identity(struct node *n, struct answer *a)
{
    struct service_status status;
    struct service_stamp stamp;

    service_status(n, &status);
    service_stamp(n, &stamp);
    say_json(a, json_pack("{s:I, s:I, s:s, s:s?}", "cluster", (json_int_t)status.cluster, "id", (json_int_t)status.id,
                          "name", stamp.node, "forming", status.forming));
}

static void add_member(struct node *n, const json_t *object, struct answer *a)
{
    struct service_result *result = xcalloc(1, sizeof *result);
    struct service_member_change change = {.id = take_id(object, "id")};
    struct service_membership membership;
    char role[16], profile[16];

    take_text(object, "name", change.name, sizeof change.name);
    take_text(object, "role", role, sizeof role);
    take_text(object, "replaces", change.replaces, sizeof change.replaces);
    take_text(object, "profile", profile, sizeof profile);
    change.role = strcmp(role, "learner") == 0 ? SERVICE_ROLE_LEARNER : SERVICE_ROLE_UNCHANGED;
    change.profile = profile[0] == '\0' ? PROFILE_RAFTD : profile_of_name(profile);
    change.waits = json_is_true(json_object_get(object, "waits"));
    if (change.id == 0 || change.profile == PROFILES || !take_address(object, "client", change.client) ||
        !take_address(object, "peer", change.peer)) {
        say(a, 400, "a joining server tells its id, name, client and peer address, and profile");
        goto out;
    }
    service_member_add(n, &change, SERVICE_DEADLINE_MS, &membership, result);
    if (result->code == SERVICE_OK)
        say_json(a,
                 json_pack("{s:I, s:I, s:s, s:I}", "cluster", (json_int_t)membership.cluster, "id",
                           (json_int_t)membership.id, "name", membership.name, "index", (json_int_t)membership.index));
    else
        refuse(a, result);
out:
    free(result);
}

static void invitation(struct node *n, const json_t *object, struct answer *a)
{
    struct service_result *result = xcalloc(1, sizeof *result);
    struct service_membership self;
    struct service_invitation i = {
        .cluster = take_id(object, "cluster"),
        .learner = json_is_true(json_object_get(object, "learner")),
        .replaces = take_id(object, "replaces"),
    };

    if (i.cluster == 0 || !take_address(object, "leader", i.leader) || i.leader[0] == '\0') {
        say(a, 400, "an invitation has \"cluster\" and \"leader\"");
        goto out;
    }
    service_invited(n, &i, &self, result);
    if (result->code == SERVICE_OK)
        say_json(a, json_pack("{s:I, s:I, s:s}", "cluster", (json_int_t)self.cluster, "id", (json_int_t)self.id, "name",
                              self.name));
    else
        refuse(a, result);
out:
    free(result);
}

/* What a leader that handed over asks of us, its successor (join_change): "ID" or "ID?force=1" is to go or to be a learner. */
static void change_member(struct node *n, bool removes, struct view rest, const json_t *object, struct answer *a)
{
    struct service_result *result = xcalloc(1, sizeof *result);
    struct service_member_change change = {.role = SERVICE_ROLE_LEARNER};
    char name[SERVICE_NAME_MAX];
    size_t length = rest.size;
    const uint8_t *query = length == 0 ? NULL : memchr(rest.data, '?', length);

    if (query != NULL) {
        length = (size_t)(query - rest.data);
        change.force = view_equal(view_of(query, rest.size - length), view_of_text("?force=1"));
    }
    if (length == 0 || length >= sizeof name ||
        (!removes && (!take_address(object, "client", change.client) || !take_address(object, "peer", change.peer)))) {
        say(a, 400, "a member is named by its id, and addresses are HOST:PORT");
        goto out;
    }
    memcpy(name, rest.data, length);
    name[length] = '\0';
    if (removes)
        service_member_remove(n, name, &change, SERVICE_DEADLINE_MS, result);
    else
        service_member_update(n, name, &change, SERVICE_DEADLINE_MS, result);
    if (result->code == SERVICE_OK)
        say(a, 200, "done");
    else
        refuse(a, result);
out:
    free(result);
}

static bool asks_for(const struct link_request *q, const char *method, const char *path)
{
    return view_equal(q->method, view_of_text(method)) && view_equal(q->target, view_of_text(path));
}

static void answer_request(struct node *n, const struct link_request *q, struct answer *a)
{
    const struct view members = view_of_text("/cluster/members/");
    bool removes = view_equal(q->method, view_of_text("DELETE"));
    json_t *object = NULL;

    if (asks_for(q, "GET", "/cluster/identity")) {
        identity(n, a);
        return;
    }
    if (view_starts_with(q->target, members) && (removes || view_equal(q->method, view_of_text("PUT")))) {
        object = object_of(q->body);
        change_member(n, removes, view_of(q->target.data + members.size, q->target.size - members.size), object, a);
        json_decref(object);
        return;
    }
    if (!asks_for(q, "POST", "/cluster/members") && !asks_for(q, "POST", "/cluster/invitation")) {
        say(a, 404, "this port is for members");
        return;
    }
    object = object_of(q->body);
    if (!json_is_object(object))
        say(a, 400, "the body is no JSON object");
    else if (asks_for(q, "POST", "/cluster/members"))
        add_member(n, object, a);
    else
        invitation(n, object, a);
    json_decref(object);
}

void peer_http_serve(struct node *n, struct link *link, int timeout_ms)
{
    struct link_request request;
    struct answer answer = {.status = 0};

    if (link_read_request(link, timeout_ms, &request) != 0)
        return;
    bytes_init(&answer.body, LINK_REQUEST_MAX);
    answer_request(n, &request, &answer);
    link_answer(link, answer.status, answer.location[0] != '\0' ? answer.location : NULL, bytes_view(&answer.body),
                timeout_ms);
    bytes_clear(&answer.body);
}
