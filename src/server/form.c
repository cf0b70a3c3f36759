#include "server/form.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/logger.h"
#include "net/http_call.h"

#define ASK_MS  1000
#define STEP_MS 100 /* between two rounds */

enum standing { STANDING_UNKNOWN, STANDING_FREE, STANDING_MEMBER };

/* *why: what is missing where the standing is unknown. */
static enum standing ask(const char *target, const char *list, struct why *why)
{
    enum standing standing = STANDING_UNKNOWN;
    struct address address;
    struct bytes body;
    json_t *answer = NULL, *cluster;
    const char *theirs;
    int status = 0;

    bytes_init(&body, HTTP_CALL_BODY_MAX);
    if (address_parse(target, &address) == 0 &&
        http_call("GET", &address, "/cluster/identity", view_of(NULL, 0), ASK_MS, &status, &body, why) == 0) {
        why_set(why, 0, "%s does not say who it is: status %d", target, status);
        answer = status == 200 ? json_loadb((const char *)body.data, body.size, 0, NULL) : NULL;
    }
    cluster = json_object_get(answer, "cluster");
    if (json_is_integer(cluster))
        standing = json_integer_value(cluster) == 0 ? STANDING_FREE : STANDING_MEMBER;
    theirs = json_string_value(json_object_get(answer, "forming"));
    if (standing == STANDING_FREE && list != NULL && (theirs == NULL || strcmp(theirs, list) != 0)) {
        standing = STANDING_UNKNOWN;
        why_set(why, 0, "%s was not started with the same -cluster: \"%.120s\" there, \"%.120s\" here", target,
                theirs != NULL ? theirs : "", list);
    }
    json_decref(answer);
    bytes_clear(&body);
    return standing;
}

/* FREE: all are; MEMBER: one is; UNKNOWN: one did not answer as it should, *missing says which. */
static enum standing ask_all(const struct form_request *r, struct why *missing)
{
    enum standing sum = STANDING_FREE;
    char one[ADDRESS_MAX];

    for (const char *at = r->others; *at != '\0';) {
        size_t length = strcspn(at, ",");
        enum standing standing = STANDING_UNKNOWN;
        struct why why = {""};

        if (length < sizeof one) {
            memcpy(one, at, length);
            one[length] = '\0';
            standing = ask(one, r->list, &why);
        }
        if (standing == STANDING_MEMBER)
            return STANDING_MEMBER;
        if (standing == STANDING_UNKNOWN) {
            sum = STANDING_UNKNOWN;
            *missing = why;
        }
        at += length + (at[length] == ',');
    }
    return sum;
}

int form_ask(const struct form_request *r, bool *taken, struct why *why)
{
    uint64_t until = r->timeout_ms == 0 ? UINT64_MAX : clock_now_ms() + r->timeout_ms;
    struct why missing = {"the first of the list has not founded it"}, told = {""};

    for (;;) {
        enum standing standing = ask_all(r, &missing);

        if (standing == STANDING_MEMBER || (standing == STANDING_FREE && r->founds)) {
            *taken = standing == STANDING_MEMBER;
            return 0;
        }
        if (r->founds && strcmp(missing.text, told.text) != 0)
            log_info("waiting for all members to form the cluster: missing=\"%s\"", missing.text);
        told = missing;
        if (r->stop(r->context))
            return why_set(why, ERR_STOPPED, "stopped while the cluster was being formed");
        if (clock_now_ms() >= until)
            return why_set(
                why, ERR_TIMEOUT,
                "no cluster was formed within %llu ms (-join-timeout): all of the list must be up at its first "
                "start; %.200s",
                (unsigned long long)r->timeout_ms, missing.text);
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
}
