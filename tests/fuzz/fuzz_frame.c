/* What somebody says on a fresh connection to the peer port: greeting or HTTP, then frames, through a real link. The first
 * byte chooses whether the checksums of the frames are put right first. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/err.h"
#include "fuzz.h"
#include "net/link.h"

#define TRIED_MAX 16384 /* fits into the socket's buffer, so that one thread can be both sides */

static void mend_frames(uint8_t *data, size_t size)
{
    for (size_t at = 0; size - at >= FRAME_HEADER_SIZE;) {
        uint8_t *header = data + at;
        size_t left = size - at - FRAME_HEADER_SIZE;
        uint32_t payload = codec_get_u32(header + 8);

        if (payload > left)
            return;
        codec_put_u64(header + 16, checksum(header, 16, checksum(header + FRAME_HEADER_SIZE, payload, 0)));
        at += FRAME_HEADER_SIZE + payload;
    }
}

/* Each greeting that decodes encodes to the same bytes; a refusal to one that decodes alike. */
static void check_greetings(struct view payload)
{
    struct hello hello;
    struct welcome welcome;
    struct refusal refusal, refusal_again;
    struct bytes again;

    bytes_init(&again, FRAME_GREETING_MAX);
    if (hello_decode(payload, &hello) == 0) {
        hello_encode(&hello, &again);
        CHECK(view_equal(bytes_view(&again), payload));
    }
    bytes_reset(&again);
    if (welcome_decode(payload, &welcome) == 0) {
        welcome_encode(&welcome, &again);
        CHECK(view_equal(bytes_view(&again), payload));
    }
    bytes_reset(&again);
    if (refusal_decode(payload, &refusal) == 0) {
        refusal_encode(&refusal, &again);
        CHECK(refusal_decode(bytes_view(&again), &refusal_again) == 0);
        CHECK(strcmp(refusal.text, refusal_again.text) == 0);
    }
    bytes_clear(&again);
}

/* Reads to the end of what was said. */
static void run_link(struct link *l, int fd)
{
    struct welcome welcome = {.version = 1, .id = 2};
    struct hello hello;
    enum frame_type type;
    struct view payload;
    int err = link_accept(l, fd, "http://client.example:4001", 1000, &hello);

    if (err == 0)
        err = link_welcome(l, &welcome, 1000);
    while (err == 0) {
        err = link_receive(l, 1000, &type, &payload);
        if (err == 0)
            check_greetings(payload);
    }
    CHECK(err != ERR_TIMEOUT);
    CHECK(!link_is_open(l));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct link *l;
    static uint8_t copy[TRIED_MAX];
    int fds[2];

    if (l == NULL)
        l = link_new();
    if (size < 1 || size > sizeof copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        mend_frames(copy, size - 1);
    check_greetings(view_of(data, size));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(send(fds[0], copy, size - 1, MSG_NOSIGNAL) == (ssize_t)(size - 1));
    CHECK(shutdown(fds[0], SHUT_WR) == 0);
    run_link(l, fds[1]);
    close(fds[0]);
    return 0;
}
