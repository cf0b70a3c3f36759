/* fake_dump.c -- dump_file.h, and the dumps of kv_store.h, in memory: two files for each machine. The bytes are real ones
 * (wire/dump.c), so that a wrong piece among them is found as in a server. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "sim.h"
#include "store/dump_file.h"
#include "wire/dump.h"

struct dump_file {
    char path[16];
    bool reading;
    struct bytes copy; /* what it reads: another file may come in its place meanwhile */
};

/* ---- files ---- */

static struct bytes *file_at(const char *path)
{
    struct machine *m = sim_world()->current;

    return strcmp(path, SIM_DUMP) == 0 ? &m->dump : &m->incoming;
}

void disk_files_clear(struct machine *m)
{
    bytes_clear(&m->dump);
    bytes_clear(&m->incoming);
    bytes_init(&m->dump, SIM_FILE_MAX);
    bytes_init(&m->incoming, SIM_FILE_MAX);
}

/* A start removes the one, and finds of the other what a crash has left. */
void disk_files_start(struct machine *m)
{
    m->world->current = m;
    if (m->dump.limit == 0)
        disk_files_clear(m);
    bytes_reset(&m->dump);
    if (m->incoming.size > 0 && sim_chance(m->world, 300))
        m->incoming.size = sim_below(m->world, m->incoming.size);
}

struct dump_file *dump_file_new(const char *path)
{
    struct dump_file *f = xcalloc(1, sizeof *f);

    CHECK(strlen(path) < sizeof f->path);
    memcpy(f->path, path, strlen(path) + 1);
    bytes_init(&f->copy, SIM_FILE_MAX);
    return f;
}

void dump_file_close(struct dump_file *f)
{
    f->reading = false;
    bytes_clear(&f->copy);
}

void dump_file_free(struct dump_file *f)
{
    if (f == NULL)
        return;
    dump_file_close(f);
    free(f);
}

bool dump_file_is_open(const struct dump_file *f)
{
    return f->reading;
}

int dump_file_peek(const char *path, uint64_t *cluster, struct raft_pos *pos)
{
    struct dump_decoder *d = dump_decoder_new();
    struct dump_record record;
    enum dump_step step = DUMP_WANTS_MORE;
    int err = file_at(path)->size == 0 ? ERR_NOT_FOUND : 0;

    dump_decoder_feed(d, bytes_view(file_at(path)));
    if (err == 0)
        err = dump_decoder_next(d, &step, &record);
    if (err == 0 && step != DUMP_HEADER)
        err = ERR_CORRUPT;
    if (err == 0) {
        *cluster = dump_decoder_header(d)->cluster;
        *pos = dump_decoder_header(d)->position;
    }
    dump_decoder_free(d);
    return err;
}

int dump_file_whole(const char *path, const atomic_bool *cancel, uint64_t *whole)
{
    struct dump_decoder *d = dump_decoder_new();
    struct dump_record record;
    enum dump_step step = DUMP_HEADER;

    (void)cancel;
    dump_decoder_feed(d, bytes_view(file_at(path)));
    while (step != DUMP_WANTS_MORE && step != DUMP_END) {
        CHECK(dump_decoder_next(d, &step, &record) == 0); /* nothing damages it here */
        if (step != DUMP_WANTS_MORE)
            *whole = dump_decoder_offset(d);
    }
    dump_decoder_free(d);
    return 0;
}

static int read_id(const struct dump_file *f, struct dump_id *id)
{
    struct dump_decoder *d = dump_decoder_new();
    struct dump_record record;
    enum dump_step step = DUMP_WANTS_MORE;

    dump_decoder_feed(d, bytes_view(&f->copy));
    CHECK(dump_decoder_next(d, &step, &record) == 0 && step == DUMP_HEADER);
    *id = (struct dump_id){.pos = dump_decoder_header(d)->position,
                           .size = f->copy.size,
                           .checksum = codec_get_u64(f->copy.data + f->copy.size - 8)};
    dump_decoder_free(d);
    return 0;
}

int dump_file_open(struct dump_file *f, struct dump_id *id)
{
    struct bytes *file = file_at(f->path);

    dump_file_close(f);
    if (file->size == 0)
        return ERR_NOT_FOUND;
    bytes_append(&f->copy, file->data, file->size);
    f->reading = true;
    return read_id(f, id);
}

int dump_file_read(struct dump_file *f, uint64_t offset, void *out, size_t size)
{
    CHECK(offset + size <= f->copy.size);
    memcpy(out, f->copy.data + offset, size);
    return 0;
}

int dump_file_create(struct dump_file *f)
{
    bytes_reset(file_at(f->path));
    return 0;
}

int dump_file_write(struct dump_file *f, uint64_t offset, struct view bytes)
{
    struct bytes *file = file_at(f->path);
    struct machine *m = sim_world()->current;

    if (m->disk_full && sim_chance(m->world, 500))
        return ERR_NO_SPACE;
    if (m->disk_fails_in != 0 && --m->disk_fails_in == 0)
        return ERR_IO;
    CHECK(offset <= file->size); /* nothing is left out */
    file->size = (size_t)offset;
    bytes_append(file, bytes.data, bytes.size);
    return 0;
}

int dump_file_sync(struct dump_file *f)
{
    (void)f;
    return 0;
}

int dump_file_remove(const char *path)
{
    bytes_reset(file_at(path));
    return 0;
}

/* ---- dumps ---- */

/* What is wrong is given away as if it were right: given away wrong, before anybody has compared it, it would be in two places, and
 * nobody could tell. */
static void encode(const struct map_state *state, uint64_t cluster, struct bytes *out)
{
    struct dump_encoder *e = dump_encoder_new();
    struct dump_header *h = xcalloc(1, sizeof *h);
    uint8_t value[8];
    char key[16];

    h->cluster = cluster;
    h->position = state->applied;
    h->config_index = state->config_index;
    if (state->config != NULL)
        CHECK(members_decode(entry_payload(state->config), &h->members) == 0);
    dump_encode_header(e, h, out);
    for (unsigned i = 0; i < SIM_KEYS_MAX; i++) {
        const struct map_slot *slot = &state->slots[i];

        if (slot->index == 0)
            continue;
        key_name(i, key, sizeof key);
        codec_put_u64(value, map_true_value(state, i));
        dump_encode_record(e,
                           &(struct dump_record){
                               .key = view_of_text(key), .value = view_of(value, sizeof value), .index = slot->index},
                           out);
    }
    dump_encode_end(e, out);
    dump_encoder_free(e);
    free(h);
}

int kv_store_dump(struct kv_store *s, uint64_t cluster, const char *fresh, const char *path, const atomic_bool *cancel,
                  struct dump_id *out)
{
    struct machine *m = s->machine;
    struct dump_file *f = NULL;

    (void)fresh;
    (void)cancel;
    if (m->disk_full && sim_chance(m->world, 500))
        return ERR_NO_SPACE;
    if (s->committed.damaged != 0)
        return ERR_CORRUPT;
    bytes_reset(&m->dump);
    encode(&s->committed, cluster, &m->dump);
    f = dump_file_new(path);
    CHECK(dump_file_open(f, out) == 0);
    dump_file_free(f);
    trace(m->world, TRACE_DUMP, m, out->pos.index, out->size, 0, 0);
    return 0;
}

static void take_record(struct map_state *state, const struct dump_record *r)
{
    unsigned key = key_number(r->key);

    CHECK(key < SIM_KEYS_MAX);
    state->slots[key] = (struct map_slot){r->index, codec_get_u64(r->value.data)};
    state->hash += map_slot_hash(key, &state->slots[key]);
}

static int decode(struct view in, struct map_state *state)
{
    struct dump_decoder *d = dump_decoder_new();
    struct dump_record record;
    enum dump_step step = DUMP_WANTS_MORE;
    int err = 0;

    dump_decoder_feed(d, in);
    while (err == 0 && step != DUMP_END) {
        err = dump_decoder_next(d, &step, &record);
        if (err == 0 && step == DUMP_WANTS_MORE)
            err = ERR_CORRUPT;
        if (err == 0 && step == DUMP_RECORD)
            take_record(state, &record);
    }
    if (err == 0) {
        const struct dump_header *h = dump_decoder_header(d);

        state->applied = h->position;
        state->installed = h->position.index;
        state->config_index = h->config_index;
        state->config = members_entry(&h->members);
    }
    dump_decoder_free(d);
    return err;
}

int kv_store_load(struct kv_store *s, uint64_t cluster, const char *path, const atomic_bool *cancel)
{
    struct machine *m = s->machine;
    struct map_state state = {.hash = 0};
    int err = 0;

    (void)cluster;
    (void)path;
    (void)cancel;
    CHECK(s->now.applied.index == s->committed.applied.index);
    if (m->disk_full && sim_chance(m->world, 500))
        return ERR_NO_SPACE;
    if (m->disk_fails_in != 0 && --m->disk_fails_in == 0)
        return ERR_IO;
    err = decode(bytes_view(&m->incoming), &state);
    if (err != 0) {
        sim_fail(m->world, "dump", "m%u got a map that is not whole: %s", m->slot + 1, err_text(err));
        return err;
    }
    disk_map_clear(s); /* it is synced: no power cut takes it back */
    s->committed = state;
    s->doubted = false;
    disk_map_crash(s, 0);
    m->world->installs++;
    trace(m->world, TRACE_INSTALL, m, state.applied.index, state.hash, 0, 0);
    check_installed(s);
    return 0;
}

int kv_store_sync(struct kv_store *s, raft_index *settled)
{
    struct machine *m = s->machine;

    if (m->disk_fails_in != 0 && --m->disk_fails_in == 0)
        return ERR_IO;
    disk_map_synced(s);
    *settled = s->committed.applied.index;
    return 0;
}
