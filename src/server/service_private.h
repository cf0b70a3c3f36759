/* service_private.h -- what service.c and service_members.c share. */
#ifndef SERVER_SERVICE_PRIVATE_H
#define SERVER_SERVICE_PRIVATE_H

#include "server/node.h"
#include "server/service.h"

void service_result_init(struct service_result *r);
void service_fill_stamp(const struct shared *s, struct service_stamp *out);
/* OK if this member leads and takes proposals, else why not. */
enum service_code service_leads(const struct shared *s);
/* Fills *r with the stamp, and with OK once this member's map shows whatever was acknowledged before the call (SERVICE_STALE:
 * at once). */
void service_barrier(struct node *n, enum service_consistency c, unsigned deadline_ms, struct service_result *r);
/* What an error of reading the map means for who asked; a damaged record (of `key`, if that is known) makes the map doubted. */
enum service_code service_of_store(struct node *n, int err, struct view key, struct service_result *r);
/* Waits, without the lock, for an entry begun with request_begin_write: OK, LOST or UNKNOWN. */
enum service_code service_await_entry(struct node *n, struct request *q, raft_time until);

#endif
