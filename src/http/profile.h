/* profile.h -- private to src/http: what the route tables of the other profiles share. */
#ifndef HTTP_PROFILE_H
#define HTTP_PROFILE_H

#include "http/http_request.h"

/* A key in a path, percent-decoded once as under /db/. False, and answered with 400 or 414, if it is none. */
bool profile_take_key(struct exchange *x, struct view raw, uint8_t room[SERVICE_KEY_MAX], struct view *key);

/* Whether a read may be of what this member has (?stale). False, and answered, if the parameter makes no sense. */
bool profile_take_consistency(struct exchange *x, enum service_consistency *c);

/* An id as Go's ParseUint reads it with base 0: 10, 0x10, 0o10, 010, 0b10, 1_000. 0 to 2^53 - 1; ERR_INVALID, ERR_TOO_LONG. */
int profile_parse_id(struct view text, uint64_t *out);

/* Answers with that status and one line of text, with header lines or "". */
void profile_say(struct exchange *x, int status, const char *code, const char *extra, const char *text);
/* Answers with that status and no body: a change is done. */
void profile_done(struct exchange *x, int status);

#endif
