/* http_answer.h -- the answer to an HTTP/1.1 request, taken from the bytes that have come so far [RFC 9112].
 *
 * It does no I/O and keeps nothing: http_call.c asks again, with all bytes, whenever more have come. */
#ifndef NET_HTTP_ANSWER_H
#define NET_HTTP_ANSWER_H

#include <stdbool.h>

#include "base/bytes.h"

#define HTTP_ANSWER_MORE     1 /* not all of it is there yet */
#define HTTP_ANSWER_HEAD_MAX 16384
#define HTTP_ANSWER_BODY_MAX 65536

struct http_answer {
    int status;           /* 200 .. 599; interim answers (1xx) are skipped */
    struct view location; /* into the bytes given; size 0: none */
};

/* 0: the answer is complete: *out, and its body in *body (reset first, its limit at least HTTP_ANSWER_BODY_MAX).
 * HTTP_ANSWER_MORE; or ERR_MALFORMED: no HTTP, or larger than the limits. `ended`: the other side closed. */
int http_answer_parse(struct view raw, bool ended, struct http_answer *out, struct bytes *body);

#endif
