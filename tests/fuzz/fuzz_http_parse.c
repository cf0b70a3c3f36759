/* The small grammars of HTTP for clients: keys, conditions, queries, media types, lengths, JSON's depth, UTF-8. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "fuzz.h"
#include "http/http_parse.h"

/* A key written as listings write it is that key again. */
static void check_key(struct view raw)
{
    uint8_t room[SERVICE_KEY_MAX], room_again[SERVICE_KEY_MAX];
    struct view key, again;
    struct bytes encoded;

    if (parse_key(raw, room, &key) != 0)
        return;
    CHECK(key.size <= SERVICE_KEY_MAX);
    CHECK(key.size <= raw.size);
    bytes_init(&encoded, 3 * SERVICE_KEY_MAX);
    text_percent_encode(&encoded, key);
    CHECK(parse_key(bytes_view(&encoded), room_again, &again) == 0);
    CHECK(view_equal(key, again));
    bytes_clear(&encoded);
}

/* What a write takes for a tag, a read takes for the same one. */
static void check_conditions(const char *text)
{
    enum service_condition match, none_match;
    uint64_t expected, same;

    CHECK(parse_write_condition(text, text, &match, &expected) != 0);
    parse_tag_list(text, 17);
    if (parse_write_condition(text, NULL, &match, &expected) != 0) {
        CHECK(parse_write_condition(NULL, text, &none_match, &same) != 0);
        return;
    }
    CHECK(match == SERVICE_IF_EXISTS || match == SERVICE_IF_INDEX);
    CHECK((expected != 0) == (match == SERVICE_IF_INDEX));
    CHECK(parse_tag_list(text, match == SERVICE_IF_INDEX ? expected : 1) == TAG_MATCHES);
    CHECK(parse_write_condition(NULL, text, &none_match, &same) == 0);
    CHECK(same == expected);
}

static void check_query(struct view query)
{
    uint64_t limit = 0;
    bool stale;

    parse_flag(query, "stale", &stale);
    if (parse_number(query, "limit", JSON_NUMBER_MAX, &limit) == 0)
        CHECK(limit <= JSON_NUMBER_MAX);
    else
        CHECK(limit == 0);
}

static void check_headers(const char *text)
{
    uint64_t length;

    if (parse_content_length(text, &length) == 0)
        CHECK(length <= JSON_NUMBER_MAX);
    if (parse_accepts(text, "application/json"))
        CHECK(strcasestr(text, "application/json") != NULL);
    if (parse_has_token(text, "keep-alive"))
        CHECK(strcasestr(text, "keep-alive") != NULL);
}

static unsigned depth_of(const json_t *value)
{
    unsigned deepest = 0;
    const char *key;
    json_t *child;
    size_t i;

    if (!json_is_object(value) && !json_is_array(value))
        return 0;
    if (json_is_array(value)) {
        json_array_foreach(value, i, child) deepest = depth_of(child) > deepest ? depth_of(child) : deepest;
        return deepest + 1;
    }
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        key = json_object_iter_key(at);
        child = json_object_get(value, key);
        deepest = depth_of(child) > deepest ? depth_of(child) : deepest;
    }
    return deepest + 1;
}

/* jansson is the judge: of what nests how deep, and of what is UTF-8. */
static void check_against_jansson(struct view text)
{
    json_t *value = json_stringn(text.size == 0 ? "" : (const char *)text.data, text.size);

    CHECK((value != NULL) == parse_is_utf8(text));
    json_decref(value);
    if (parse_json_depth(text) > 8)
        return;
    value = json_loadb(text.size == 0 ? "" : (const char *)text.data, text.size, 0, NULL);
    CHECK(depth_of(value) <= parse_json_depth(text));
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmalloc(size + 1);

    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_key(view_of(data, size));
    check_conditions(text);
    check_query(view_of(data, size));
    check_headers(text);
    check_against_jansson(view_of(data, size));
    free(text);
    return 0;
}
