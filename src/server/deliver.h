/* deliver.h -- what comes from another member, under the lock: its greeting, and its messages.
 *
 * receiver.c does the reading and decoding in a server, the simulator's network in a simulation; from here on it is the
 * same code. */
#ifndef SERVER_DELIVER_H
#define SERVER_DELIVER_H

#include "server/shared.h"
#include "wire/frame.h"
#include "wire/message.h"

/* Whether we talk to whoever sent this hello: 0 and *welcome, or ERR_REFUSED and *refusal. */
int deliver_hello(struct shared *s, const struct hello *h, struct welcome *welcome, struct refusal *refusal);

/* One decoded message on a connection that was greeted with `h`. Takes the entries that the core took out of *in. 0, or
 * ERR_REFUSED and *refusal: send it and close (the sender was removed), or ERR_MALFORMED: close (it speaks for another). */
int deliver_message(struct shared *s, raft_time now, const struct hello *h, struct incoming *in,
                    struct refusal *refusal);

/* Our side's greeting to `to`. */
void deliver_our_hello(const struct shared *s, raft_id to, struct hello *out);
/* Another member refused us. It is logged unless `before`, the reason that it gave last time (0: none), was the same; `lasts`:
 * for how long it has been giving it. */
#define TWIN_PATIENCE_MS 3000 /* so long two processes may seem to be us, of which one ends: then we do */
void deliver_refusal(struct shared *s, raft_id from, const struct refusal *r, enum refusal_reason before,
                     raft_time lasts);

#endif
