/* /, /status, /livez and /readyz: this server about itself.
 *
 * Decided here, as PRODUCT.md is silent: GET /status is one JSON object, {"version","name","cluster","id","role","leader"
 * (a name or null),"leader_id","term","commit","applied","durable","log_first","log_last","keys","store_used","store_file",
 * "store_max","log_file" (bytes),"uptime_ms","requests_waiting","map_hash" (16 hexadecimal digits: as numbers readers of JSON
 * would round them),"map_index","map_trusted","ready","reason"} ("reason" only where it is not ready).
 * /livez is 200 `alive`; /readyz is 200 `ready`, or 503 and why, as an error. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "http/http_request.h"

static void set_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

void info_status(struct exchange *x, struct view rest)
{
    struct service_status s;
    struct service_stamp stamp;
    char why[300] = "", hash[17];
    bool ready = service_ready(x->http->node, why, sizeof why);
    json_t *object = json_object();

    (void)rest;
    service_status(x->http->node, &s);
    service_stamp(x->http->node, &stamp);
    json_object_set_new(object, "version", json_string(s.version));
    json_object_set_new(object, "name", json_string(stamp.node));
    set_number(object, "cluster", s.cluster);
    set_number(object, "id", s.id);
    json_object_set_new(object, "role", json_string(s.role));
    json_object_set_new(object, "leader", stamp.leader[0] != '\0' ? json_string(stamp.leader) : json_null());
    json_object_set_new(object, "leader_id", s.leader != 0 ? json_integer((json_int_t)s.leader) : json_null());
    set_number(object, "term", s.term);
    set_number(object, "commit", s.commit);
    set_number(object, "applied", s.applied);
    set_number(object, "durable", s.durable);
    set_number(object, "log_first", s.log_first);
    set_number(object, "log_last", s.log_last);
    set_number(object, "keys", s.keys);
    set_number(object, "store_used", s.store_used);
    set_number(object, "store_file", s.store_file);
    set_number(object, "store_max", s.store_max);
    set_number(object, "log_file", s.log_file);
    set_number(object, "uptime_ms", s.uptime_ms);
    set_number(object, "requests_waiting", s.requests_waiting);
    snprintf(hash, sizeof hash, "%016" PRIx64, s.map_hash);
    json_object_set_new(object, "map_hash", s.map_index != 0 ? json_string(hash) : json_null());
    set_number(object, "map_index", s.map_index);
    json_object_set_new(object, "map_trusted", json_boolean(!s.map_doubted));
    json_object_set_new(object, "ready", json_boolean(ready));
    if (!ready)
        json_object_set_new(object, "reason", json_string(why));
    exchange_send_json(x, 200, object, &stamp);
}

static void say(struct exchange *x, const char *line)
{
    struct service_stamp stamp;
    struct reply r = {.status = 200, .type = "text/plain; charset=utf-8", .body = view_of_text(line)};

    service_stamp(x->http->node, &stamp);
    exchange_send(x, &r, &stamp);
}

void info_root(struct exchange *x, struct view rest)
{
    (void)rest;
    say(x, "raftd: /db/KEY /db/?prefix= /cluster /backup /status /livez /readyz /metrics, see raftd-http(7)\n");
}

void info_livez(struct exchange *x, struct view rest)
{
    (void)rest;
    say(x, "alive\n");
}

void info_readyz(struct exchange *x, struct view rest)
{
    char why[300] = "";

    (void)rest;
    if (service_ready(x->http->node, why, sizeof why))
        say(x, "ready\n");
    else
        exchange_error(x, 503, "not_ready", "not ready: %s", why);
}
