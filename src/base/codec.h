/* codec.h -- a bounds-checked cursor over bytes that walks in either direction.
 *
 * One walk function per structure serves encoding and decoding, so that the two cannot drift apart:
 *     codec_u64(c, &m->term);     writes m->term when encoding, fills it when decoding
 * The first error sticks and later calls do nothing (decoding then yields zeros); look once, with codec_finish.
 * All integers are little-endian and of fixed width. */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct codec {
    bool decoding;
    int err;           /* 0 or the first error */
    struct view in;    /* decoding: what is left */
    struct bytes *out; /* encoding: where it goes */
};

struct codec codec_decoder(struct view in);
struct codec codec_encoder(struct bytes *out); /* appends; a full `out` is ERR_TOO_LONG */

void codec_u8(struct codec *c, uint8_t *v);
void codec_u16(struct codec *c, uint16_t *v);
void codec_u32(struct codec *c, uint32_t *v);
void codec_u64(struct codec *c, uint64_t *v);
void codec_bool(struct codec *c, bool *v); /* one byte; anything but 0 and 1 is malformed */

/* A length (u32) and that many bytes, at most `max`. Decoding: *v points into the input. */
void codec_view(struct codec *c, struct view *v, size_t max);
/* The same as NUL-terminated text in a buffer of `size`; a NUL within, or no room, is malformed. */
void codec_text(struct codec *c, char *text, size_t size);
/* Decoding: fails unless `ok`; encoding: asserts it. For values that must lie in a range. */
void codec_require(struct codec *c, bool ok);

/* 0, or the first error; when decoding also ERR_MALFORMED if bytes are left over. */
int codec_finish(const struct codec *c);

/* Single integers without a cursor. */
uint16_t codec_get_u16(const void *p);
uint32_t codec_get_u32(const void *p);
uint64_t codec_get_u64(const void *p);
void codec_put_u16(void *p, uint16_t v);
void codec_put_u32(void *p, uint32_t v);
void codec_put_u64(void *p, uint64_t v);

#endif
