#include "http/http_parse.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/text.h"

int parse_key(struct view raw, uint8_t out[SERVICE_KEY_MAX], struct view *key)
{
    size_t size = 0;
    int err = text_percent_decode(raw, out, SERVICE_KEY_MAX, &size);

    if (err != 0)
        return err;
    *key = view_of(out, size);
    return 0;
}

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* A number in quotes at *text, and moves it behind the second one. */
static int parse_tag(const char **text, uint64_t *out)
{
    char digits[21];
    const char *end;
    size_t size;

    if (**text != '"')
        return ERR_INVALID;
    end = strchr(*text + 1, '"');
    if (end == NULL)
        return ERR_INVALID;
    size = (size_t)(end - *text) - 1;
    if (size >= sizeof digits)
        return ERR_INVALID;
    memcpy(digits, *text + 1, size);
    digits[size] = '\0';
    if (text_u64(digits, UINT64_MAX, out) != 0 || *out == 0)
        return ERR_INVALID;
    *text = end + 1;
    return 0;
}

/* "*" gives *any; "N" gives *index. */
static int parse_star_or_tag(const char *text, bool *any, uint64_t *index)
{
    text = skip_space(text);
    *any = *text == '*';
    *index = 0;
    if (*any)
        text++;
    else if (parse_tag(&text, index) != 0)
        return ERR_INVALID;
    return *skip_space(text) == '\0' ? 0 : ERR_INVALID;
}

int parse_write_condition(const char *if_match, const char *if_none_match, enum service_condition *condition,
                          uint64_t *expected)
{
    uint64_t index = 0;
    bool any = false;

    if (if_match != NULL && if_none_match != NULL)
        return ERR_INVALID;
    if (if_match == NULL && if_none_match == NULL) {
        *condition = SERVICE_ALWAYS;
        *expected = 0;
        return 0;
    }
    if (parse_star_or_tag(if_match != NULL ? if_match : if_none_match, &any, &index) != 0)
        return ERR_INVALID;
    if (if_match != NULL)
        *condition = any ? SERVICE_IF_EXISTS : SERVICE_IF_INDEX;
    else
        *condition = any ? SERVICE_IF_ABSENT : SERVICE_IF_NOT_INDEX;
    *expected = index;
    return 0;
}

enum tag_match parse_tag_list(const char *list, uint64_t etag)
{
    enum tag_match found = TAG_OTHER;
    const char *p = skip_space(list);

    if (*p == '*')
        return *skip_space(p + 1) == '\0' ? TAG_MATCHES : TAG_MALFORMED;
    for (;;) {
        const char *tag, *end;
        uint64_t index;

        if (strncmp(p, "W/", 2) == 0)
            p += 2;
        if (*p != '"')
            return TAG_MALFORMED;
        end = strchr(p + 1, '"');
        if (end == NULL)
            return TAG_MALFORMED;
        tag = p;
        if (parse_tag(&tag, &index) == 0 && index == etag)
            found = TAG_MATCHES;
        p = skip_space(end + 1);
        if (*p == '\0')
            return found;
        if (*p != ',')
            return TAG_MALFORMED;
        p = skip_space(p + 1);
    }
}

static bool view_is_text(struct view v, const char *text)
{
    return view_equal(v, view_of_text(text));
}

int parse_flag(struct view query, const char *name, bool *out)
{
    struct view value;

    if (!text_query(query, name, &value) || view_is_text(value, "0") || view_is_text(value, "false") ||
        view_is_text(value, "no")) {
        *out = false;
        return 0;
    }
    if (value.size != 0 && !view_is_text(value, "1") && !view_is_text(value, "true") && !view_is_text(value, "yes"))
        return ERR_INVALID;
    *out = true;
    return 0;
}

int parse_number(struct view query, const char *name, uint64_t max, uint64_t *out)
{
    struct view value;
    char digits[24];
    uint64_t number;
    int err;

    if (!text_query(query, name, &value))
        return 0;
    if (value.size == 0 || value.size >= sizeof digits || memchr(value.data, '\0', value.size) != NULL)
        return ERR_INVALID;
    memcpy(digits, value.data, value.size);
    digits[value.size] = '\0';
    err = text_u64(digits, max, &number);
    if (err != 0)
        return err;
    if (number == 0)
        return ERR_INVALID;
    *out = number;
    return 0;
}

/* The next item of a comma-separated list, without the space around it and without parameters (after ";"). */
static bool next_item(const char **list, struct view *item)
{
    const char *p = *list + strspn(*list, ", \t");
    size_t whole = strcspn(p, ",");
    size_t size = strcspn(p, ",;");

    if (*p == '\0')
        return false;
    while (size > 0 && (p[size - 1] == ' ' || p[size - 1] == '\t'))
        size--;
    *item = view_of(p, size);
    *list = p + whole;
    return true;
}

static bool list_has(const char *list, const char *token)
{
    size_t size = strlen(token);
    struct view item;

    while (next_item(&list, &item))
        if (item.size == size && strncasecmp((const char *)item.data, token, size) == 0)
            return true;
    return false;
}

bool parse_accepts(const char *accept, const char *type)
{
    return accept != NULL && list_has(accept, type);
}

bool parse_has_token(const char *value, const char *token)
{
    return list_has(value, token);
}

int parse_content_length(const char *value, uint64_t *out)
{
    const char *p = skip_space(value);
    size_t size = strspn(p, "0123456789");
    char digits[24];

    if (size == 0 || *skip_space(p + size) != '\0')
        return ERR_INVALID;
    if (size >= sizeof digits)
        return ERR_TOO_LONG;
    memcpy(digits, p, size);
    digits[size] = '\0';
    return text_u64(digits, JSON_NUMBER_MAX, out);
}

unsigned parse_json_depth(struct view json)
{
    unsigned depth = 0, deepest = 0;
    bool quoted = false;

    for (size_t i = 0; i < json.size; i++) {
        uint8_t c = json.data[i];

        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* How many bytes the sequence that begins with `lead` has, and the range of its second byte (Unicode, table 3-7). */
static size_t utf8_sequence(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        *low = lead == 0xE0 ? 0xA0 : 0x80;
        *high = lead == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        *low = lead == 0xF0 ? 0x90 : 0x80;
        *high = lead == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

bool parse_is_utf8(struct view text)
{
    size_t i = 0;

    while (i < text.size) {
        uint8_t low, high;
        size_t size = utf8_sequence(text.data[i], &low, &high);

        if (size == 0 || size > text.size - i)
            return false;
        for (size_t k = 1; k < size; k++) {
            uint8_t c = text.data[i + k];

            if (c < (k == 1 ? low : 0x80) || c > (k == 1 ? high : 0xBF))
                return false;
        }
        i += size;
    }
    return true;
}
