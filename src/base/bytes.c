#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define CAPACITY_MIN 64

struct view view_of(const void *data, size_t size)
{
    return (struct view){.data = data, .size = size};
}

struct view view_of_text(const char *text)
{
    return view_of(text, strlen(text));
}

/* memcmp that may be given NULL for no bytes. */
static int compare(const void *a, const void *b, size_t size)
{
    return size == 0 ? 0 : memcmp(a, b, size);
}

bool view_equal(struct view a, struct view b)
{
    return a.size == b.size && compare(a.data, b.data, a.size) == 0;
}

int view_compare(struct view a, struct view b)
{
    int order = compare(a.data, b.data, a.size < b.size ? a.size : b.size);

    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

bool view_starts_with(struct view v, struct view prefix)
{
    return v.size >= prefix.size && compare(v.data, prefix.data, prefix.size) == 0;
}

void bytes_init(struct bytes *b, size_t limit)
{
    *b = (struct bytes){.limit = limit};
}

void bytes_clear(struct bytes *b)
{
    free(b->data);
    bytes_init(b, b->limit);
}

void bytes_reset(struct bytes *b)
{
    b->size = 0;
    b->overflow = false;
}

/* Doubling keeps many small appends linear; `need` is within the limit. */
static void grow(struct bytes *b, size_t need)
{
    size_t capacity = b->capacity < CAPACITY_MIN ? CAPACITY_MIN : b->capacity;

    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    if (capacity > b->limit)
        capacity = b->limit;
    b->data = xrealloc(b->data, capacity);
    b->capacity = capacity;
}

uint8_t *bytes_reserve(struct bytes *b, size_t size)
{
    if (b->overflow || size > b->limit - b->size) {
        b->overflow = true;
        return NULL;
    }
    if (size > b->capacity - b->size || b->data == NULL)
        grow(b, b->size + size);
    return b->data + b->size;
}

void bytes_append(struct bytes *b, const void *data, size_t size)
{
    uint8_t *room = bytes_reserve(b, size);

    if (room == NULL || size == 0)
        return;
    memcpy(room, data, size);
    b->size += size;
}

void bytes_append_text(struct bytes *b, const char *text)
{
    bytes_append(b, text, strlen(text));
}

void bytes_append_char(struct bytes *b, char c)
{
    bytes_append(b, &c, 1);
}

/* Formats on the stack what is short, as nearly all is; what is longer is formatted twice. */
void bytes_printf(struct bytes *b, const char *format, ...)
{
    char small[256];
    char *large;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    CHECK(length >= 0);
    if ((size_t)length < sizeof small) {
        bytes_append(b, small, (size_t)length);
        return;
    }
    if (bytes_reserve(b, (size_t)length) == NULL)
        return;
    large = xmalloc((size_t)length + 1);
    va_start(args, format);
    vsnprintf(large, (size_t)length + 1, format, args);
    va_end(args);
    bytes_append(b, large, (size_t)length);
    free(large);
}

void bytes_consume(struct bytes *b, size_t size)
{
    CHECK(size <= b->size);
    b->size -= size;
    if (b->size > 0 && size > 0)
        memmove(b->data, b->data + size, b->size);
}

struct view bytes_view(const struct bytes *b)
{
    return view_of(b->data, b->size);
}
