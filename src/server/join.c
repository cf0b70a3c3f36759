#include "server/join.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"
#include "net/http_call.h"

#define ATTEMPT_MS         6000 /* longer than the deadline of a request, so that its answer is heard */
#define BACKOFF_FIRST_MS   100
#define BACKOFF_MAX_MS     2000
#define BACKOFF_WAITING_MS 500 /* a person who adds us looks whether we came */
#define LINE_MAX_BYTES     640
#define BACKOFF_STEP_MS    20 /* how often a waiting joiner looks whether it shall stop */

/* HOST:PORT of the target, into `out`, which is returned. */
static const char *spell(const struct address *target, char out[ADDRESS_MAX])
{
    address_format(target, out, ADDRESS_MAX);
    return out;
}

/* What the body says, as one line: of our own errors the message. */
static void first_line(const struct bytes *body, json_t *answer, char *out, size_t size)
{
    const char *message = json_string_value(json_object_get(answer, "message"));

    if (message != NULL)
        snprintf(out, size, "%s", strncmp(message, "raftd: ", 7) == 0 ? message + 7 : message);
    else
        snprintf(out, size, "%.*s", (int)(body->size < 300 ? body->size : 300),
                 body->size > 0 ? (const char *)body->data : "");
    out[strcspn(out, "\r\n")] = '\0';
}

static uint64_t json_number(json_t *root, const char *name)
{
    json_t *value = json_object_get(root, name);

    return json_is_integer(value) && json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
}

static json_t *json_of(const struct bytes *body)
{
    return body->size == 0 ? NULL : json_loadb((const char *)body->data, body->size, 0, NULL);
}

/* As text, for the field takes names, too. */
static void set_replaces(json_t *request, raft_id id)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)id);
    json_object_set_new(request, "replaces", json_string(text));
}

static int attempt(const struct join_request *j, struct address target, int timeout_ms, struct joined *out,
                   struct why *why)
{
    json_t *request = json_pack("{s:s, s:I, s:s, s:s, s:s}", "name", j->name, "id", (json_int_t)j->id, "client",
                                j->client, "peer", j->peer, "profile", profile_name(j->profile));
    struct bytes body;
    json_t *answer = NULL;
    char *text = NULL, line[LINE_MAX_BYTES], at[ADDRESS_MAX];
    int status = 0, err = 0;

    CHECK(request != NULL);
    if (j->learner)
        json_object_set_new(request, "role", json_string("learner"));
    if (j->waits)
        json_object_set_new(request, "waits", json_true());
    if (j->replaces != 0)
        set_replaces(request, j->replaces);
    text = json_dumps(request, JSON_COMPACT);
    CHECK(text != NULL);
    bytes_init(&body, HTTP_CALL_BODY_MAX);
    err = http_call("POST", &target, "/cluster/members", view_of_text(text), timeout_ms, &status, &body, why);
    if (err != 0)
        goto out;
    answer = json_of(&body);
    out->cluster = json_number(answer, "cluster");
    out->index = json_number(answer, "index");
    if ((status == 200 || status == 201) && out->cluster != 0 && out->index != 0)
        goto out;
    first_line(&body, answer, line, sizeof line);
    /* 4xx says that asking again will not help; but 429 and a proxy's 408 do not, and who waits to be expected may be so
     * later. */
    if (status == 404 && j->waits)
        err = ERR_NOT_FOUND;
    else
        err = status >= 400 && status < 500 && status != 429 && status != 408 ? ERR_REFUSED : ERR_UNREACHABLE;
    why_set(why, err, "%s answers %d %s", spell(&target, at), status, line);
out:
    json_decref(answer);
    json_decref(request);
    free(text);
    bytes_clear(&body);
    return err;
}

static int next_target(const char **rest, struct address *out)
{
    char text[ADDRESS_MAX];
    size_t length = strcspn(*rest, ",");

    if (length == 0 || length >= sizeof text)
        return ERR_INVALID;
    memcpy(text, *rest, length);
    text[length] = '\0';
    *rest += length + ((*rest)[length] == ',');
    return address_parse(text, out);
}

static bool pause_or_stop(const struct join_request *j, raft_time until)
{
    while (clock_now_ms() < until) {
        if (j->stop != NULL && j->stop(j->stop_context))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = BACKOFF_STEP_MS * 1000000L}, NULL);
    }
    return j->stop != NULL && j->stop(j->stop_context);
}

/* One line an attempt; but who waits for people says once what it waits for, and then is quiet. */
static void report(const struct join_request *j, struct address target, unsigned tries, int err, const struct why *why,
                   bool *told)
{
    char at[ADDRESS_MAX];

    if (err == ERR_NOT_FOUND && !*told)
        log_info("waiting to be added to the cluster: name=%s peer=%s", j->name, j->peer);
    *told = *told || err == ERR_NOT_FOUND;
    log_at(*told ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "join failed: target=%s attempt=%u error=\"%s\"",
           spell(&target, at), tries, why->text);
}

int join_run(const struct join_request *j, struct joined *out, struct why *why)
{
    const raft_time backoff_max = j->waits ? BACKOFF_WAITING_MS : BACKOFF_MAX_MS;
    bool told = false;
    raft_time until = clock_now_ms() + j->timeout_ms, backoff = BACKOFF_FIRST_MS;
    const char *rest = j->targets;
    struct address target;
    char at[ADDRESS_MAX];
    int err = 0;

    for (unsigned tries = 1;; tries++) {
        raft_time now = clock_now_ms(), left = until > now ? until - now : 1;

        if (*rest == '\0')
            rest = j->targets;
        if (next_target(&rest, &target) != 0)
            return why_set(why, ERR_INVALID, "-join wants HOST:PORT[,HOST:PORT...], not \"%s\"", j->targets);
        if (pause_or_stop(j, now))
            return why_set(why, ERR_STOPPED, "stopped while joining");
        log_at(told ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "Attempting to join leader: %s attempt=%u", spell(&target, at),
               tries);
        err = attempt(j, target, left < ATTEMPT_MS ? (int)left : ATTEMPT_MS, out, why);
        if (err == 0 || err == ERR_REFUSED)
            return err;
        report(j, target, tries, err, why, &told);
        now = clock_now_ms();
        if (now + backoff >= until)
            break;
        if (*rest == '\0') {
            (void)pause_or_stop(j, now + backoff);
            backoff = backoff * 2 < backoff_max ? backoff * 2 : backoff_max;
        }
    }
    struct why last = *why;

    return why_set(why, ERR_TIMEOUT,
                   "no cluster joined through %s within %llu ms (-join-timeout); the last error: %.260s", j->targets,
                   (unsigned long long)j->timeout_ms, last.text);
}

/* Who lives at `target`: for a name that we were given with it. */
static int check_name(struct address target, const char *name, int timeout_ms, struct why *why)
{
    struct bytes body;
    json_t *answer = NULL;
    const char *found = NULL;
    char at[ADDRESS_MAX];
    int status = 0, err = 0;

    bytes_init(&body, HTTP_CALL_BODY_MAX);
    err = http_call("GET", &target, "/cluster/identity", view_of(NULL, 0), timeout_ms, &status, &body, why);
    answer = err == 0 ? json_of(&body) : NULL;
    found = json_string_value(json_object_get(answer, "name"));
    if (err == 0 && found != NULL && strcmp(found, name) != 0)
        err = why_set(why, ERR_REFUSED, "the server at %s is %.100s, not %s", spell(&target, at), found, name);
    json_decref(answer);
    bytes_clear(&body);
    return err;
}

int join_invite(const char *address, struct join_invitation *i, int timeout_ms, struct why *why)
{
    json_t *request = json_pack("{s:I, s:s, s:b, s:I}", "cluster", (json_int_t)i->cluster, "leader", i->leader,
                                "learner", (int)i->learner, "replaces", (json_int_t)i->replaces);
    char *text = json_dumps(request, JSON_COMPACT), line[LINE_MAX_BYTES];
    raft_time until = clock_now_ms() + (raft_time)timeout_ms, now;
    struct address target;
    struct bytes body;
    json_t *answer = NULL;
    int status = 0, err = address_parse(address, &target);

    CHECK(text != NULL);
    bytes_init(&body, HTTP_CALL_BODY_MAX);
    if (err == 0 && i->name[0] != '\0')
        err = check_name(target, i->name, timeout_ms, why);
    now = clock_now_ms();
    if (err == 0)
        err = http_call("POST", &target, "/cluster/invitation", view_of_text(text),
                        until > now ? (int)(until - now) : 0, &status, &body, why);
    if (err != 0)
        goto out;
    answer = json_of(&body);
    i->id = json_number(answer, "id");
    first_line(&body, answer, line, sizeof line);
    if (status != 200 || i->id == 0)
        err = why_set(why, ERR_REFUSED, "%s answers %d %s", address, status, line);
out:
    json_decref(answer);
    json_decref(request);
    free(text);
    bytes_clear(&body);
    return err;
}

int join_change(const struct join_change *c, int timeout_ms, int *status, struct why *why)
{
    json_t *request = json_object(), *answer = NULL;
    char *text = NULL, path[80], line[LINE_MAX_BYTES];
    struct address target;
    struct bytes body;
    int err = address_parse(c->leader, &target);

    if (!c->remove)
        json_object_set_new(request, "role", json_string("learner"));
    if (c->client[0] != '\0')
        json_object_set_new(request, "client", json_string(c->client));
    if (c->peer[0] != '\0')
        json_object_set_new(request, "peer", json_string(c->peer));
    text = json_dumps(request, JSON_COMPACT);
    CHECK(text != NULL);
    snprintf(path, sizeof path, "/cluster/members/%llu%s", (unsigned long long)c->member, c->force ? "?force=1" : "");
    bytes_init(&body, HTTP_CALL_BODY_MAX);
    if (err == 0)
        err = http_call(c->remove ? "DELETE" : "PUT", &target, path, view_of_text(c->remove ? "" : text), timeout_ms,
                        status, &body, why);
    if (err == 0 && *status >= 300) {
        answer = json_of(&body);
        first_line(&body, answer, line, sizeof line);
        why_set(why, 0, "%s answers %d %s", c->leader, *status, line);
    }
    json_decref(answer);
    json_decref(request);
    free(text);
    bytes_clear(&body);
    return err;
}
