/* bytes.h -- views of bytes that somebody else owns, and a bounded growable buffer. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view {
    const uint8_t *data; /* not owned; may be NULL if size is 0 */
    size_t size;
};

struct view view_of(const void *data, size_t size);
struct view view_of_text(const char *text); /* without its NUL */
bool view_equal(struct view a, struct view b);
int view_compare(struct view a, struct view b); /* memcmp order, the shorter first where one begins the other */
bool view_starts_with(struct view v, struct view prefix);

/* A buffer that grows up to `limit` and remembers that it would have had to grow past it: append as often as you like,
 * look at `overflow` once. What does not fit is not appended, nor is anything after it. */
struct bytes {
    uint8_t *data;
    size_t size, capacity, limit;
    bool overflow;
};

void bytes_init(struct bytes *b, size_t limit); /* allocates nothing yet */
void bytes_clear(struct bytes *b);              /* frees; usable again with the same limit */
void bytes_reset(struct bytes *b);              /* empty, without overflow, keeps its memory */
void bytes_append(struct bytes *b, const void *data, size_t size);
void bytes_append_text(struct bytes *b, const char *text);
void bytes_append_char(struct bytes *b, char c);
void bytes_printf(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `size` more at the end, NULL on overflow. It is not counted yet: add what you filled of it to b->size. */
uint8_t *bytes_reserve(struct bytes *b, size_t size);
void bytes_consume(struct bytes *b, size_t size); /* drops that many from the front */
struct view bytes_view(const struct bytes *b);

#endif
