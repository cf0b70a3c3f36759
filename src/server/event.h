/* event.h -- the core's events, and changes of the members, as lines of text: the log of a server and the stories of the
 * simulator use the same. The words are those of hashicorp/raft's log where it has the event, and so are the levels. */
#ifndef SERVER_EVENT_H
#define SERVER_EVENT_H

#include <stddef.h>

#include "base/logger.h"
#include "raft/raft.h"
#include "wire/members.h"

#define EVENT_LINE_MAX 640 /* three addresses and some */

/* What an event's ids stand for; a peer that is not there, or any without `members`, is its number. */
struct event_names {
    const struct members *members;
    const char *self; /* our address for members */
    raft_index last;  /* the last entry of our log */
};

/* "entering leader state: term=2 last-index=7" into out; returns the level at which a server logs it. names NULL: by ids
 * alone, as the simulator's stories have it. */
enum log_level event_format(const struct raft_event *e, const struct event_names *names, char *out, size_t size);

/* "[{Voter n1 127.0.0.1:9000} ..]" */
void event_servers(const struct members *m, char *out, size_t size);
/* INFO "updating configuration: command=AddStaging server-id= server-addr= servers=": what makes `next` of `now`. */
void event_log_change(const struct members *now, const struct members *next, raft_index index);

#endif
