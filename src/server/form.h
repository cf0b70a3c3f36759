/* form.h -- the first start of a cluster whose members were all given the same list of themselves, in any order.
 *
 * The first of the list founds it, the others join; with one founder there is one cluster, unless the founder founds twice,
 * having lost its data in between. So it waits until each of the others has said that it belongs to no cluster. A majority
 * of the list would not do: of three, the founder could have lost its data and see one that has not joined yet, while the
 * third, which has joined and keeps what was acknowledged, is just out of reach. If all are out, what the lost founder had
 * founded has no other member: nothing of it is left that a second cluster could contradict. Who finds one that is a member
 * joins, through it or another, and is told there what to do if it is a member that lost its data.
 *
 * A member that was founded or has joined asks nobody any more, so a cluster that is there does not need all to be up. */
#ifndef SERVER_FORM_H
#define SERVER_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct form_request {
    const char *others;  /* HOST:PORT[,...], either port */
    const char *list;    /* who waits must have been given this list; NULL: any */
    bool founds;         /* else we only wait for one that is a member */
    uint64_t timeout_ms; /* 0: none */
    bool (*stop)(void *context);
    void *context;
};
/* Asks the others until one has answered that it is a member of a cluster, *taken, or, if we found, all that they are not.
 * ERR_STOPPED once stop(context) says so; ERR_TIMEOUT: *why names one that is missing. Without the lock. */
int form_ask(const struct form_request *r, bool *taken, struct why *why);

#endif
