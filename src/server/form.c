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

static enum standing ask(const char *target)
{
    enum standing standing = STANDING_UNKNOWN;
    struct address address;
    struct bytes body;
    struct why why;
    json_t *answer = NULL, *cluster;
    int status = 0;

    bytes_init(&body, HTTP_CALL_BODY_MAX);
    if (address_parse(target, &address) == 0 &&
        http_call("GET", &address, "/cluster/identity", view_of(NULL, 0), ASK_MS, &status, &body, &why) == 0 &&
        status == 200) {
        answer = json_loadb((const char *)body.data, body.size, 0, NULL);
    }
    cluster = json_object_get(answer, "cluster");
    if (json_is_integer(cluster))
        standing = json_integer_value(cluster) == 0 ? STANDING_FREE : STANDING_MEMBER;
    json_decref(answer);
    bytes_clear(&body);
    return standing;
}

/* FREE: all are; MEMBER: one is; UNKNOWN: `missing` did not answer. */
static enum standing ask_all(const char *targets, char missing[ADDRESS_MAX])
{
    enum standing sum = STANDING_FREE;
    char one[ADDRESS_MAX];

    for (const char *at = targets; *at != '\0';) {
        size_t length = strcspn(at, ",");
        enum standing standing = STANDING_UNKNOWN;

        if (length < sizeof one) {
            memcpy(one, at, length);
            one[length] = '\0';
            standing = ask(one);
        }
        if (standing == STANDING_MEMBER)
            return STANDING_MEMBER;
        if (standing == STANDING_UNKNOWN) {
            sum = STANDING_UNKNOWN;
            memcpy(missing, one, sizeof one);
        }
        at += length + (at[length] == ',');
    }
    return sum;
}

int form_ask(const char *targets, bool (*stop)(void *context), void *context, bool *taken, struct why *why)
{
    char missing[ADDRESS_MAX] = "", told[ADDRESS_MAX] = "";

    for (;;) {
        enum standing standing = ask_all(targets, missing);

        if (standing != STANDING_UNKNOWN) {
            *taken = standing == STANDING_MEMBER;
            return 0;
        }
        if (strcmp(missing, told) != 0)
            log_info("waiting for all members to form the cluster: missing=%s", missing);
        memcpy(told, missing, sizeof told);
        if (stop(context))
            return why_set(why, ERR_STOPPED, "stopped while the cluster was being formed");
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
}
