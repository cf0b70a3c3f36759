/* peer_http.h -- the few requests that the port for members answers itself, where the port for clients speaks another
 * profile than our own and so has no routes for them:
 *
 *     GET  /cluster/identity      {"cluster":ID,"id":ID,"name":NAME}; cluster 0: member of none yet
 *     POST /cluster/members       a server joins (join.h); elsewhere than at the leader 307 to the leader's port for members
 *     POST /cluster/invitation    a leader asks this server to join its cluster
 *     DELETE, PUT /cluster/members/ID    a leader that handed over to us wants to be removed, or to be a learner */
#ifndef SERVER_PEER_HTTP_H
#define SERVER_PEER_HTTP_H

#include "net/link.h"
#include "server/node.h"

/* Reads one request from the link, answers it, closes. Without the lock; may take SERVICE_DEADLINE_MS. */
void peer_http_serve(struct node *n, struct link *link, int timeout_ms);

#endif
