/* link.h -- one framed connection between two members: greeting, frames out, frames in.
 *
 * A link belongs to one thread; only link_interrupt may come from another. The simulator puts its own link.c in the place
 * of this one (tests/sim), so the roles that use it are the same there. */
#ifndef NET_LINK_H
#define NET_LINK_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "wire/frame.h"

struct link;

/* Never NULL. Without a descriptor left for its own use, link_open and link_accept will say ERR_NO_RESOURCES. */
struct link *link_new(void);
void link_free(struct link *l);  /* closes; NULL is fine */
void link_close(struct link *l); /* it may be opened again; harmless if it is not open */
bool link_is_open(const struct link *l);

/* The sender's side: connects, sends the hello, awaits the welcome. ERR_REFUSED fills *refusal. Closed on any error. */
int link_open(struct link *l, const struct address *to, const struct hello *hello, int timeout_ms,
              struct refusal *refusal);
/* What the other side answered to the last link_open that succeeded; all zero before the first. */
const struct welcome *link_welcomed(const struct link *l);
/* Sends one frame, its payload in parts (at most LINK_PARTS_MAX, FRAME_PAYLOAD_MAX bytes together). First looks whether the other
 * side has refused us meanwhile: ERR_REFUSED and *refusal. It has timeout_ms and what its size takes at LINK_RATE_MIN. Any
 * error closes the link. */
#define LINK_PARTS_MAX 600
int link_send(struct link *l, enum frame_type type, struct iovec *parts, int count, int timeout_ms,
              struct refusal *refusal);
/* Whether the other side closed the connection (then refusal->reason is 0) or refused us since: at once. Closes the link
 * then. */
bool link_is_dead(struct link *l, struct refusal *refusal);

/* The receiver's side: takes over an accepted descriptor and reads the hello. Who speaks HTTP instead (a -join that named the
 * peer port) is answered 307 to `client_url`/..., and ERR_REFUSED is returned; with a client_url of NULL the link stays
 * open and the answer is LINK_SPEAKS_HTTP, for link_read_request. */
#define LINK_SPEAKS_HTTP 1
int link_accept(struct link *l, int fd, const char *client_url, int timeout_ms, struct hello *hello);
int link_welcome(struct link *l, const struct welcome *w, int timeout_ms);
void link_refuse(struct link *l, const struct refusal *r, int timeout_ms); /* and closes */

/* A request on the port for members; its views are the link's. */
struct link_request {
    struct view method, target, body;
};
/* The whole request, at most LINK_REQUEST_MAX bytes with its head. Errors close the link. */
#define LINK_REQUEST_MAX 4096
int link_read_request(struct link *l, int timeout_ms, struct link_request *out);
/* The answer, and closes. `location`: a header of that name, NULL: none. */
void link_answer(struct link *l, int status, const char *location, struct view body, int timeout_ms);

/* The next frame; its payload is the link's and valid until the next call. timeout_ms < 0: as long as it takes for a
 * frame to begin; once it has begun, the rest must come within LINK_FRAME_TIMEOUT_MS, and what its size takes at
 * LINK_RATE_MIN. ERR_CORRUPT, ERR_MALFORMED, ERR_CLOSED, ERR_TIMEOUT close it. */
#define LINK_FRAME_TIMEOUT_MS 10000
#define LINK_RATE_MIN         32 /* bytes in a millisecond: slower than that and nobody is there */
int link_receive(struct link *l, int timeout_ms, enum frame_type *type, struct view *payload);

void link_interrupt(
    struct link *l); /* any thread: whoever waits on it gets ERR_CLOSED, and so does whoever comes later */
/* Closes it, forgets that it was interrupted, and asks again for a descriptor that was wanting. The owner, when no other thread
 * can interrupt it. */
void link_reset(struct link *l);

#endif
