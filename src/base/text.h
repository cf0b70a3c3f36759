/* text.h -- strict numbers, percent-coding, HOST:PORT, paths: the small grammar of the outside world. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Decimal digits alone, no sign, no space, no leading "+": ERR_INVALID else; over `max` or 2^64: ERR_TOO_LONG. */
int text_u64(const char *text, uint64_t max, uint64_t *out);
/* A size: decimal digits and optionally one of K, M, G, T (powers of 1024), with or without "iB" or "B". */
int text_size(const char *text, uint64_t max, uint64_t *out);

/* Percent-decodes once, strictly: a "%" without two hex digits is ERR_MALFORMED; more than `size` bytes ERR_TOO_LONG.
 * Every byte may result, NUL too. "+" stays "+". A failure leaves *length alone, and some bytes in `out`. */
int text_percent_decode(struct view in, uint8_t *out, size_t size, size_t *length);
/* Encodes all but RFC 3986 unreserved characters and "/"; upper-case hex. */
void text_percent_encode(struct bytes *out, struct view in);

/* The value of NAME in "a=1&b&c=x": the first one; undecoded; empty for a name without "=". False: not there. */
bool text_query(struct view query, const char *name, struct view *value);

/* The length of the UTF-8 sequence at the beginning of `in` (1 to 4), or 0 where there is none that is valid. */
size_t text_utf8_length(struct view in);

/* The body of a JSON string, escaped, without the quotes; each byte that is not UTF-8 becomes U+FFFD. */
void text_json_escape(struct bytes *out, struct view in);

/* An address of a member: a host (DNS name, IPv4, or IPv6 in brackets) and a port. */
#define ADDRESS_MAX 270 /* with the NUL: a DNS name of 255, brackets, colon, port */
struct address {
    char host[256]; /* without brackets */
    uint16_t port;
};
/* "HOST:PORT", "[v6]:PORT", ":PORT" (host localhost); a leading "http://" and a trailing "/" are tolerated. A host is
 * letters, digits, "-", "." and "_", so that it can go into a header or a log line as it is. ERR_INVALID;
 * ERR_TOO_LONG for a host over 255 bytes. */
int address_parse(const char *text, struct address *out);
void address_format(const struct address *a, char *out, size_t size); /* size at least ADDRESS_MAX */
bool address_is_loopback(const char *host);                           /* "localhost", 127.x.y.z, ::1 */

int path_join(char *out, size_t size, const char *dir, const char *name); /* ERR_TOO_LONG */

#endif
