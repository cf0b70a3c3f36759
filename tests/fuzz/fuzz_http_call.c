/* The parser of HTTP answers. The first byte says where the first piece of the answer ends and whether the other side has
 * closed: what is decided from a beginning must stay so with the rest. */
#include "base/check.h"
#include "base/err.h"
#include "fuzz.h"
#include "net/http_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_answer part = {0};
    struct http_answer whole = {0};
    struct bytes body, body_again;
    struct view raw;
    int err, first;

    if (size == 0)
        return 0;
    raw = view_of(data + 1, size - 1);
    bytes_init(&body, HTTP_ANSWER_BODY_MAX);
    bytes_init(&body_again, HTTP_ANSWER_BODY_MAX);
    first = http_answer_parse(view_of(raw.data, raw.size * (data[0] >> 1) / 127), false, &part, &body);
    err = http_answer_parse(raw, data[0] & 1, &whole, &body_again);
    CHECK(err == 0 || err == HTTP_ANSWER_MORE || err == ERR_MALFORMED);
    CHECK(first == HTTP_ANSWER_MORE || first == err);
    if (err == 0) {
        CHECK(whole.status >= 200);
        CHECK(whole.status < 600);
        CHECK(body_again.size <= HTTP_ANSWER_BODY_MAX);
    }
    if (first == 0) {
        CHECK(part.status == whole.status);
        CHECK(view_equal(bytes_view(&body), bytes_view(&body_again)));
    }
    bytes_clear(&body);
    bytes_clear(&body_again);
    return 0;
}
