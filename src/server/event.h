/* event.h -- the core's events as lines of text: the log of a server and the stories of the simulator use the same. */
#ifndef SERVER_EVENT_H
#define SERVER_EVENT_H

#include <stddef.h>

#include "base/logger.h"
#include "raft/raft.h"

/* "entering leader state: term=2 last-index=7" into out; returns the level at which a server logs it. */
enum log_level event_format(const struct raft_event *e, char *out, size_t size);

#endif
