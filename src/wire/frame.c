#include "wire/frame.h"

#include <string.h>

#include "base/checksum.h"
#include "base/codec.h"
#include "base/err.h"
#include "wire/entry.h"

#define MAGIC UINT32_C(0x31444652) /* "RFD1" */

/* Where the fields of the header are (frame.h). */
enum { AT_MAGIC = 0, AT_TYPE = 4, AT_SPARE_16 = 6, AT_SIZE = 8, AT_SPARE_32 = 12, AT_CHECKSUM = 16 };

void frame_header_encode(enum frame_type type, uint32_t payload_size, uint64_t payload_checksum,
                         uint8_t out[FRAME_HEADER_SIZE])
{
    codec_put_u32(out + AT_MAGIC, MAGIC);
    codec_put_u16(out + AT_TYPE, (uint16_t)type);
    codec_put_u16(out + AT_SPARE_16, 0);
    codec_put_u32(out + AT_SIZE, payload_size);
    codec_put_u32(out + AT_SPARE_32, 0);
    codec_put_u64(out + AT_CHECKSUM, checksum(out, AT_CHECKSUM, payload_checksum));
}

static bool type_known(uint16_t type)
{
    switch ((enum frame_type)type) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
    case FRAME_REFUSED:
    case FRAME_MESSAGE:
    case FRAME_CHUNK:
    case FRAME_CHUNK_TAKEN:
    case FRAME_HASH:
    case FRAME_VERDICT:
        return true;
    }
    return false;
}

bool frame_has_magic(const uint8_t in[4])
{
    return codec_get_u32(in + AT_MAGIC) == MAGIC;
}

int frame_header_decode(const uint8_t in[FRAME_HEADER_SIZE], uint32_t limit, struct frame_header *out)
{
    uint16_t type = codec_get_u16(in + AT_TYPE);
    uint32_t size = codec_get_u32(in + AT_SIZE);

    if (!frame_has_magic(in) || !type_known(type))
        return ERR_MALFORMED;
    if (codec_get_u16(in + AT_SPARE_16) != 0 || codec_get_u32(in + AT_SPARE_32) != 0)
        return ERR_MALFORMED;
    if (size > limit)
        return ERR_MALFORMED;
    *out =
        (struct frame_header){.type = (enum frame_type)type, .size = size, .checksum = codec_get_u64(in + AT_CHECKSUM)};
    return 0;
}

int frame_verify(const uint8_t header[FRAME_HEADER_SIZE], struct view payload)
{
    uint64_t expected = checksum(header, AT_CHECKSUM, checksum(payload.data, payload.size, 0));

    return codec_get_u64(header + AT_CHECKSUM) == expected ? 0 : ERR_CORRUPT;
}

/* Texts of the other side are printed into our log: whatever could end or rewrite a line becomes a question mark. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == '\x7f')
            *text = '?';
}

/* "" (none yet) or an address. */
static bool address_valid(const char *text)
{
    struct address parsed;

    return *text == '\0' || address_parse(text, &parsed) == 0;
}

static void walk_hello(struct codec *c, struct hello *h)
{
    uint8_t profile = (uint8_t)h->profile;

    codec_u16(c, &h->version_min);
    codec_u16(c, &h->version_max);
    codec_u64(c, &h->cluster);
    codec_u64(c, &h->from);
    codec_u64(c, &h->to);
    codec_u64(c, &h->config_index);
    codec_text(c, h->name, sizeof h->name);
    codec_text(c, h->client, sizeof h->client);
    codec_text(c, h->peer, sizeof h->peer);
    codec_u8(c, &profile);
    h->profile = (enum profile)profile;

    codec_require(c, h->version_min > 0 && h->version_min <= h->version_max);
    codec_require(c, h->from > 0 && h->from < MEMBER_ID_LIMIT && h->to < MEMBER_ID_LIMIT);
    codec_require(c, h->config_index < ENTRY_POSITION_LIMIT);
    codec_require(c, h->name[0] == '\0' || member_name_valid(h->name));
    codec_require(c, address_valid(h->client) && address_valid(h->peer));
    codec_require(c, profile < PROFILES);
}

void hello_encode(const struct hello *h, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct hello copy = *h;

    walk_hello(&c, &copy);
}

int hello_decode(struct view in, struct hello *out)
{
    struct codec c = codec_decoder(in);
    struct hello h = {0};

    walk_hello(&c, &h);

    int err = codec_finish(&c);

    if (err == 0)
        *out = h;
    return err;
}

static void walk_welcome(struct codec *c, struct welcome *w)
{
    codec_u16(c, &w->version);
    codec_u64(c, &w->id);
    codec_u64(c, &w->leader);
    codec_text(c, w->leader_peer, sizeof w->leader_peer);

    codec_require(c, w->version > 0);
    codec_require(c, w->id > 0 && w->id < MEMBER_ID_LIMIT);
    codec_require(c, w->leader < MEMBER_ID_LIMIT && address_valid(w->leader_peer));
    codec_require(c, (w->leader == 0) == (w->leader_peer[0] == '\0'));
}

void welcome_encode(const struct welcome *w, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct welcome copy = *w;

    walk_welcome(&c, &copy);
}

int welcome_decode(struct view in, struct welcome *out)
{
    struct codec c = codec_decoder(in);
    struct welcome w = {0};

    walk_welcome(&c, &w);

    int err = codec_finish(&c);

    if (err == 0)
        *out = w;
    return err;
}

static void walk_refusal(struct codec *c, struct refusal *r)
{
    uint8_t reason = (uint8_t)r->reason;

    codec_u8(c, &reason);
    codec_u64(c, &r->config_index);
    codec_text(c, r->text, sizeof r->text);
    r->reason = (enum refusal_reason)reason;

    codec_require(c, reason >= REFUSAL_VERSION && reason <= REFUSAL_TWIN);
    codec_require(c, r->config_index < ENTRY_POSITION_LIMIT);
}

void refusal_encode(const struct refusal *r, struct bytes *out)
{
    struct codec c = codec_encoder(out);
    struct refusal copy = *r;

    walk_refusal(&c, &copy);
}

int refusal_decode(struct view in, struct refusal *out)
{
    struct codec c = codec_decoder(in);
    struct refusal r = {0};

    walk_refusal(&c, &r);

    int err = codec_finish(&c);

    if (err != 0)
        return err;
    make_printable(r.text);
    *out = r;
    return 0;
}
