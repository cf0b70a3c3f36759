#include "base/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}

/* The decimal digits at *text, and moves it behind them. */
static int parse_digits(const char **text, uint64_t *out)
{
    const char *p = *text;
    uint64_t value = 0;

    if (!is_digit(*p))
        return ERR_INVALID;
    for (; is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return ERR_TOO_LONG;
        value = value * 10 + digit;
    }
    *text = p;
    *out = value;
    return 0;
}

int text_u64(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value;
    int err;

    if (text[strspn(text, "0123456789")] != '\0')
        return ERR_INVALID;
    err = parse_digits(&text, &value);
    if (err != 0)
        return err;
    if (value > max)
        return ERR_TOO_LONG;
    *out = value;
    return 0;
}

/* The power of two that a unit stands for; -1 where there is no such unit. */
static int unit_shift(const char *unit)
{
    static const char letters[] = "KMGT";
    const char *letter;

    if (*unit == '\0')
        return 0;
    letter = strchr(letters, *unit);
    if (letter == NULL)
        return -1;
    unit++;
    if (*unit != '\0' && strcmp(unit, "B") != 0 && strcmp(unit, "iB") != 0)
        return -1;
    return 10 * (int)(letter - letters + 1);
}

int text_size(const char *text, uint64_t max, uint64_t *out)
{
    int shift = unit_shift(text + strspn(text, "0123456789"));
    uint64_t value;
    int err;

    if (shift < 0)
        return ERR_INVALID;
    err = parse_digits(&text, &value);
    if (err != 0)
        return err;
    if (value > max >> shift)
        return ERR_TOO_LONG;
    *out = value << shift;
    return 0;
}

/* -1: not a hexadecimal digit. */
static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int text_percent_decode(struct view in, uint8_t *out, size_t size, size_t *length)
{
    size_t used = 0;

    for (size_t i = 0; i < in.size; i++) {
        uint8_t byte = in.data[i];

        if (byte == '%') {
            int high = i + 2 < in.size ? hex_value(in.data[i + 1]) : -1;
            int low = i + 2 < in.size ? hex_value(in.data[i + 2]) : -1;

            if (high < 0 || low < 0)
                return ERR_MALFORMED;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (used == size)
            return ERR_TOO_LONG;
        out[used++] = byte;
    }
    *length = used;
    return 0;
}

void text_percent_encode(struct bytes *out, struct view in)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < in.size; i++) {
        char c = (char)in.data[i];

        if (is_name_char(c) || c == '~' || c == '/') {
            bytes_append_char(out, c);
        } else {
            char escaped[3] = {'%', hex[in.data[i] >> 4], hex[in.data[i] & 15]};

            bytes_append(out, escaped, sizeof escaped);
        }
    }
}

/* Cuts *rest at the first `c`: what is before it is returned, what is behind it stays. */
static struct view cut(struct view *rest, char c)
{
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, c, rest->size);
    struct view before = *rest;

    if (end == NULL) {
        rest->size = 0;
        return before;
    }
    before.size = (size_t)(end - rest->data);
    *rest = view_of(end + 1, rest->size - before.size - 1);
    return before;
}

bool text_query(struct view query, const char *name, struct view *value)
{
    while (query.size > 0) {
        struct view rest = cut(&query, '&');
        struct view found = cut(&rest, '=');

        if (view_equal(found, view_of_text(name))) {
            *value = rest;
            return true;
        }
    }
    return false;
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t text_utf8_length(struct view in)
{
    const uint8_t *p = in.data;
    size_t length;

    if (in.size == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) /* a continuation, an overlong form, or beyond U+10FFFF */
        return 0;
    length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (in.size < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (!is_continuation(p[i]))
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90)) /* overlong */
        return 0;
    if ((p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f)) /* surrogate, or beyond U+10FFFF */
        return 0;
    return length;
}

/* One ASCII character of a JSON string. */
static void json_escape_ascii(struct bytes *out, char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = c == '\0' ? NULL : strchr(plain, c);

    if (found != NULL) {
        bytes_append_char(out, '\\');
        bytes_append_char(out, letters[found - plain]);
    } else if ((unsigned char)c < 0x20 || c == 0x7f) {
        bytes_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
    } else {
        bytes_append_char(out, c);
    }
}

void text_json_escape(struct bytes *out, struct view in)
{
    while (in.size > 0) {
        size_t length = text_utf8_length(in);

        if (length == 0) {
            bytes_append_text(out, "\xef\xbf\xbd");
            length = 1;
        } else if (length == 1) {
            json_escape_ascii(out, (char)in.data[0]);
        } else if (in.data[0] == 0xc2 && in.data[1] < 0xa0) { /* the C1 controls: legal, but a terminal obeys them */
            bytes_printf(out, "\\u%04x", (unsigned)in.data[1]);
        } else {
            bytes_append(out, in.data, length);
        }
        in = view_of(in.data + length, in.size - length);
    }
}

/* What is between brackets: an IPv6 address, perhaps with a zone ("fe80::1%eth0"). */
static bool is_ipv6(const char *host)
{
    struct in6_addr ignored;
    char bare[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    const char *zone = host + length;

    if (length >= sizeof bare)
        return false;
    memcpy(bare, host, length);
    bare[length] = '\0';
    if (inet_pton(AF_INET6, bare, &ignored) != 1)
        return false;
    if (*zone == '\0')
        return true;
    for (zone++; is_name_char(*zone); zone++)
        ;
    return *zone == '\0' && zone[-1] != '%';
}

static bool is_host_name(const char *host)
{
    while (is_name_char(*host))
        host++;
    return *host == '\0';
}

static int copy_text(char *out, size_t size, const char *start, size_t length)
{
    if (length >= size)
        return ERR_TOO_LONG;
    memcpy(out, start, length);
    out[length] = '\0';
    return 0;
}

static int parse_host(const char *start, size_t length, struct address *out)
{
    int err;

    if (length == 0) {
        start = "localhost";
        length = strlen(start);
    }
    if (*start != '[') {
        err = copy_text(out->host, sizeof out->host, start, length);
        return err != 0 ? err : is_host_name(out->host) ? 0 : ERR_INVALID;
    }
    if (length < 3 || start[length - 1] != ']')
        return ERR_INVALID;
    err = copy_text(out->host, sizeof out->host, start + 1, length - 2);
    return err != 0 ? err : is_ipv6(out->host) ? 0 : ERR_INVALID;
}

int address_parse(const char *text, struct address *out)
{
    static const char scheme[] = "http://";
    struct address found;
    const char *colon;
    char port[32];
    size_t port_length;
    uint64_t number;
    int err;

    if (strncmp(text, scheme, strlen(scheme)) == 0)
        text += strlen(scheme);
    colon = strrchr(text, ':');
    if (colon == NULL)
        return ERR_INVALID;
    port_length = strlen(colon + 1);
    if (port_length > 0 && colon[port_length] == '/')
        port_length--;
    if (copy_text(port, sizeof port, colon + 1, port_length) != 0)
        return ERR_INVALID;
    if (text_u64(port, UINT16_MAX, &number) != 0 || number == 0)
        return ERR_INVALID;
    err = parse_host(text, (size_t)(colon - text), &found);
    if (err != 0)
        return err;
    found.port = (uint16_t)number;
    *out = found;
    return 0;
}

void address_format(const struct address *a, char *out, size_t size)
{
    bool v6 = strchr(a->host, ':') != NULL;

    snprintf(out, size, "%s%s%s:%u", v6 ? "[" : "", a->host, v6 ? "]" : "", (unsigned)a->port);
}

bool address_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && memcmp(&v6, &in6addr_loopback, sizeof v6) == 0;
}

int path_join(char *out, size_t size, const char *dir, const char *name)
{
    size_t length = strlen(dir);
    const char *slash = length == 0 || dir[length - 1] == '/' ? "" : "/";

    if (length + strlen(slash) + strlen(name) >= size)
        return ERR_TOO_LONG;
    snprintf(out, size, "%s%s%s", dir, slash, name);
    return 0;
}
