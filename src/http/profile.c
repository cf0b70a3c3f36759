#include "http/profile.h"

#include "base/err.h"
#include "base/text.h"
#include "http/http_parse.h"

bool profile_take_key(struct exchange *x, struct view raw, uint8_t room[SERVICE_KEY_MAX], struct view *key)
{
    int err = parse_key(raw, room, key);

    if (err == 0 && key->size > 0)
        return true;
    if (err == ERR_TOO_LONG)
        exchange_error(x, 414, "key_too_long", "the key is longer than %d bytes, the limit", SERVICE_KEY_MAX);
    else if (err != 0)
        exchange_error(x, 400, "bad_request", "bad request: the key has a %% without two hexadecimal digits");
    else
        exchange_error(x, 400, "bad_request", "bad request: a key has 1 to %d bytes", SERVICE_KEY_MAX);
    return false;
}

bool profile_take_consistency(struct exchange *x, enum service_consistency *c)
{
    bool stale;

    if (parse_flag(x->query, "stale", &stale) != 0) {
        exchange_error(x, 400, "bad_request", "bad request: stale takes no value, or 1 or 0");
        return false;
    }
    *c = stale ? SERVICE_STALE : SERVICE_LINEARIZABLE;
    return true;
}

/* The base that a prefix names, and the digits behind it. */
static unsigned base_of(struct view text, struct view *digits)
{
    uint8_t mark = text.size > 1 && text.data[0] == '0' ? text.data[1] | 0x20 : 0;
    unsigned base = mark == 'x' ? 16 : mark == 'b' ? 2 : mark == 0 ? 10 : 8;
    size_t skip = mark == 'x' || mark == 'b' || mark == 'o' ? 2 : mark == 0 ? 0 : 1;

    *digits = view_of(text.data + skip, text.size - skip);
    return base;
}

static unsigned digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10U : 16;
}

int profile_parse_id(struct view text, uint64_t *out)
{
    struct view digits;
    unsigned base = base_of(text, &digits);
    uint64_t value = 0;

    if (digits.size == 0 || digits.data[digits.size - 1] == '_')
        return ERR_INVALID;
    for (size_t i = 0; i < digits.size; i++) {
        unsigned digit = digit_of(digits.data[i]);

        if (digits.data[i] == '_' && base != 10 && i > 0 && digits.data[i - 1] != '_')
            continue;
        if (digit >= base)
            return ERR_INVALID;
        value = value * base + digit;
        if (value > JSON_NUMBER_MAX)
            return ERR_TOO_LONG;
    }
    *out = value;
    return 0;
}

void profile_say(struct exchange *x, int status, const char *code, const char *extra, const char *text)
{
    struct service_stamp stamp;

    service_stamp(x->http->node, &stamp);
    exchange_error_with(x, status, code, extra, text, &stamp);
}

void profile_done(struct exchange *x, int status)
{
    exchange_send(x, &(struct reply){.status = status}, &x->worker->result.stamp);
}
