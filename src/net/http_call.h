/* http_call.h -- one small HTTP/1.1 request to another member, for joining: send, read the answer, close.
 *
 * It follows 307 and 308 (at most five, no loops), closes the connection after each answer, and takes bodies up to
 * HTTP_CALL_BODY_MAX with Content-Length, chunked or up to the close. */
#ifndef NET_HTTP_CALL_H
#define NET_HTTP_CALL_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"

#define HTTP_CALL_BODY_MAX 65536

/* `method` of `path` at `to` with a JSON body (may be empty), asking for JSON. 0: an answer came: *status and
 * the body in *body (reset first; its limit at least HTTP_CALL_BODY_MAX); *to is where it came from in the end.
 * ERR_UNREACHABLE (also: redirected in a circle), ERR_RESOLVE, ERR_TIMEOUT, ERR_CLOSED, ERR_NO_RESOURCES, ERR_TOO_LONG
 * (our request), ERR_INVALID (the path), ERR_MALFORMED (what answers is no HTTP server, or says too much); *why says which
 * address and what. timeout_ms is for all of it, redirections included. */
int http_call(const char *method, struct address *to, const char *path, struct view request, int timeout_ms,
              int *status, struct bytes *body, struct why *why);

#endif
