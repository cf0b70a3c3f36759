/* make_dump KEYS VALUE-SIZE >FILE: a dump of so many keys (key/000000000 ...), for raftd restore: a large map in no time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/dump.h"

#define PIECE (1u << 20)

static void flush(struct bytes *b)
{
    if (fwrite(b->data, 1, b->size, stdout) != b->size)
        DIE("standard output cannot be written");
    bytes_reset(b);
}

int main(int argc, char **argv)
{
    struct dump_header *header = xcalloc(1, sizeof *header);
    struct dump_encoder *e = dump_encoder_new();
    struct dump_record r = {.index = 1};
    struct bytes out;
    uint8_t *value = NULL;
    unsigned long keys = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    size_t size = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    char key[32];

    if (argc != 3 || keys == 0) {
        fprintf(stderr, "usage: make_dump KEYS VALUE-SIZE >FILE\n");
        return 64;
    }
    value = xcalloc(size + 1, 1);
    memset(value, 'v', size);
    bytes_init(&out, 2 * PIECE + size);
    header->cluster = 1;
    header->position = (struct raft_pos){.index = keys + 1, .term = 1};
    header->config_index = 1;
    header->members.count = 1;
    header->members.list[0] =
        (struct member){.id = 1, .role = RAFT_VOTER, .name = "one", .client = "localhost:1", .peer = "localhost:2"};
    dump_encode_header(e, header, &out);
    for (unsigned long i = 0; i < keys; i++) {
        snprintf(key, sizeof key, "key/%09lu", i);
        r.key = view_of_text(key);
        r.value = view_of(value, size);
        dump_encode_record(e, &r, &out);
        if (out.size >= PIECE)
            flush(&out);
    }
    dump_encode_end(e, &out);
    flush(&out);
    dump_encoder_free(e);
    bytes_clear(&out);
    free(value);
    free(header);
    return fflush(stdout) == 0 ? 0 : 1;
}
