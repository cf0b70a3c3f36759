#include "base/codec.h"

#include <endian.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

struct codec codec_decoder(struct view in)
{
    return (struct codec){.decoding = true, .in = in};
}

struct codec codec_encoder(struct bytes *out)
{
    return (struct codec){.out = out};
}

static void fail(struct codec *c, int err)
{
    if (c->err == 0)
        c->err = err;
}

/* The next `size` bytes of the input, or NULL. */
static const uint8_t *take(struct codec *c, size_t size)
{
    const uint8_t *p = c->in.data;

    if (c->err == 0 && size > c->in.size)
        fail(c, ERR_MALFORMED);
    if (c->err != 0)
        return NULL;
    c->in = view_of(size == 0 ? p : p + size, c->in.size - size);
    return p;
}

static void put(struct codec *c, const void *data, size_t size)
{
    if (c->err != 0)
        return;
    bytes_append(c->out, data, size);
    if (c->out->overflow)
        fail(c, ERR_TOO_LONG);
}

uint16_t codec_get_u16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

uint32_t codec_get_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

uint64_t codec_get_u64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

void codec_put_u16(void *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

void codec_put_u32(void *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

void codec_put_u64(void *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

void codec_u8(struct codec *c, uint8_t *v)
{
    if (c->decoding) {
        const uint8_t *p = take(c, sizeof *v);

        *v = p == NULL ? 0 : *p;
        return;
    }
    put(c, v, sizeof *v);
}

void codec_u16(struct codec *c, uint16_t *v)
{
    uint8_t little[sizeof *v];

    if (c->decoding) {
        const uint8_t *p = take(c, sizeof *v);

        *v = p == NULL ? 0 : codec_get_u16(p);
        return;
    }
    codec_put_u16(little, *v);
    put(c, little, sizeof little);
}

void codec_u32(struct codec *c, uint32_t *v)
{
    uint8_t little[sizeof *v];

    if (c->decoding) {
        const uint8_t *p = take(c, sizeof *v);

        *v = p == NULL ? 0 : codec_get_u32(p);
        return;
    }
    codec_put_u32(little, *v);
    put(c, little, sizeof little);
}

void codec_u64(struct codec *c, uint64_t *v)
{
    uint8_t little[sizeof *v];

    if (c->decoding) {
        const uint8_t *p = take(c, sizeof *v);

        *v = p == NULL ? 0 : codec_get_u64(p);
        return;
    }
    codec_put_u64(little, *v);
    put(c, little, sizeof little);
}

void codec_bool(struct codec *c, bool *v)
{
    uint8_t byte = !c->decoding && *v;

    codec_u8(c, &byte);
    if (!c->decoding)
        return;
    codec_require(c, byte <= 1);
    *v = byte == 1;
}

void codec_view(struct codec *c, struct view *v, size_t max)
{
    uint32_t size = 0;
    const uint8_t *p;

    if (!c->decoding) {
        if (v->size > max || v->size > UINT32_MAX) {
            fail(c, ERR_TOO_LONG);
            return;
        }
        size = (uint32_t)v->size;
        codec_u32(c, &size);
        put(c, v->data, v->size);
        return;
    }
    codec_u32(c, &size);
    codec_require(c, size <= max);
    p = take(c, size);
    *v = c->err == 0 ? view_of(p, size) : view_of(NULL, 0);
}

void codec_text(struct codec *c, char *text, size_t size)
{
    struct view v = {0};

    CHECK(size > 0);
    if (!c->decoding) {
        v = view_of(text, strnlen(text, size));
        CHECK(v.size < size);
        codec_view(c, &v, size - 1);
        return;
    }
    codec_view(c, &v, size - 1);
    if (v.size > 0 && memchr(v.data, 0, v.size) != NULL) {
        fail(c, ERR_MALFORMED);
        v.size = 0;
    }
    if (v.size > 0)
        memcpy(text, v.data, v.size);
    text[v.size] = '\0';
}

void codec_require(struct codec *c, bool ok)
{
    if (c->decoding && !ok)
        fail(c, ERR_MALFORMED);
    CHECK(c->decoding || ok);
}

int codec_finish(const struct codec *c)
{
    if (c->err == 0 && c->decoding && c->in.size > 0)
        return ERR_MALFORMED;
    return c->err;
}
