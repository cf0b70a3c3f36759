/* http_parse.h -- the small grammars of our HTTP API: keys, conditions, query values, media types, body lengths.
 *
 * Pure functions over text from outside: no civetweb, no memory, no state; tests/fuzz feeds them anything. */
#ifndef HTTP_HTTP_PARSE_H
#define HTTP_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "server/service.h"

/* Ids and indexes that JSON numbers carry exactly in every language: below 2^53. */
#define JSON_NUMBER_MAX ((1ULL << 53) - 1)

/* The key after "/db/", or the value of prefix= and after=: percent-decoded once, strictly. 0, ERR_MALFORMED, ERR_TOO_LONG. */
int parse_key(struct view raw, uint8_t out[SERVICE_KEY_MAX], struct view *key);

/* The condition of a write from its If-Match and If-None-Match (NULL: not there): `*` or one strong tag "N", N from 1.
 * Both at once, lists, weak tags and anything else are ERR_INVALID. */
int parse_write_condition(const char *if_match, const char *if_none_match, enum service_condition *condition,
                          uint64_t *expected);

enum tag_match { TAG_OTHER, TAG_MATCHES, TAG_MALFORMED };
/* Whether `list` ("*" or entity tags with commas between, weak ones compare as strong ones) names `etag` (not 0). Tags that
 * are not ours are legal and match nothing. */
enum tag_match parse_tag_list(const char *list, uint64_t etag);

/* NAME, NAME=1, =true, =yes: true; not there, =0, =false, =no: false; else ERR_INVALID. */
int parse_flag(struct view query, const char *name, bool *out);
/* NAME=N with N from 1 to `max`; not there: *out stays. ERR_INVALID, ERR_TOO_LONG. */
int parse_number(struct view query, const char *name, uint64_t max, uint64_t *out);

/* Whether an Accept header (NULL: not there) names exactly this media type; wildcards do not count, as every client of
 * today sends them. */
bool parse_accepts(const char *accept, const char *type);
/* Whether a comma-separated header value has this token, in any case of letters. */
bool parse_has_token(const char *value, const char *token);
/* Content-Length by RFC 9110: digits alone with optional space around. ERR_INVALID; ERR_TOO_LONG over 2^53. */
int parse_content_length(const char *value, uint64_t *out);

/* How deep the brackets of a JSON text nest, strings apart: our parser recurses, and its thread's stack is small. */
unsigned parse_json_depth(struct view json);
bool parse_is_utf8(struct view text); /* well-formed UTF-8: no surrogates, nothing overlong */

#endif
