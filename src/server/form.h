/* form.h -- the first start of a cluster whose members were all given the same list of themselves, in any order.
 *
 * The first of the list founds it, with the others as expected members; they join it as such. It waits until each of the
 * others has said that it belongs to no cluster: a founder that lost its data would else make a second cluster beside the
 * one that it founded before. */
#ifndef SERVER_FORM_H
#define SERVER_FORM_H

#include <stdbool.h>

#include "base/err.h"

/* Asks `targets` (HOST:PORT[,...], ports for members) until all have answered that they are in no cluster yet, or one that
 * it is: *taken. ERR_STOPPED once stop(context) says so. Without the lock. */
int form_ask(const char *targets, bool (*stop)(void *context), void *context, bool *taken, struct why *why);

#endif
