/* fake_log_store.c -- log_store.h in memory. What log_store_write has done is durable; the simulator decides when, within
 * the time that the call takes, it is done, so a crash meanwhile finds it wholly there or wholly not. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "sim.h"

static struct disk_entry *slot(const struct log_store *s, raft_index index)
{
    return &s->entries[index - s->base.index - 1];
}

raft_term disk_term_at(const struct log_store *s, raft_index index)
{
    if (index == s->base.index)
        return s->base.term;
    return index > s->base.index && index <= s->last ? entry_pos(slot(s, index)->entry).term : 0;
}

uint64_t disk_chain_at(const struct log_store *s, raft_index index)
{
    return index <= s->base.index ? s->base_chain : slot(s, index)->chain;
}

static void append(struct log_store *s, struct entry *e)
{
    uint64_t before = disk_chain_at(s, s->last);
    uint64_t at = s->last - s->base.index;

    if (at == s->capacity) {
        s->capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
        s->entries = xrealloc(s->entries, s->capacity * sizeof *s->entries);
    }
    /* The first eight bytes are the checksum of all the others. */
    s->entries[at] = (struct disk_entry){entry_ref(e), sim_mix(before, codec_get_u64(e->bytes))};
    s->last++;
}

static void truncate_from(struct log_store *s, raft_index first)
{
    for (; s->last >= first && s->last > s->base.index; s->last--)
        entry_unref(slot(s, s->last)->entry);
}

static void delete_before(struct log_store *s, raft_index keep_from)
{
    raft_index until = keep_from - 1 < s->last ? keep_from - 1 : s->last;
    uint64_t gone = 0;

    if (keep_from == 0 || until <= s->base.index)
        return;
    gone = until - s->base.index;
    s->base_chain = slot(s, until)->chain;
    s->base = entry_pos(slot(s, until)->entry);
    for (uint64_t i = 0; i < gone; i++)
        entry_unref(s->entries[i].entry);
    memmove(s->entries, s->entries + gone, (s->last - until) * sizeof *s->entries);
}

void disk_log_form(struct log_store *s, const struct members *m)
{
    struct entry *e = members_entry(m);
    struct log_write write = {.hard = {1, 0}, .first = 1, .last = 1, .entries = &e};

    entry_stamp(e, (struct raft_pos){1, 1});
    check_log_write(s, &write);
    append(s, e);
    s->hard.term = 1;
    entry_unref(e);
}

void disk_log_clear(struct log_store *s)
{
    truncate_from(s, s->base.index + 1);
}

static bool fails(struct log_store *s)
{
    return s->machine->disk_fails_in != 0 && --s->machine->disk_fails_in == 0;
}

static void write_all(struct log_store *s, const struct log_write *w)
{
    check_log_write(s, w);
    s->hard = w->hard;
    if (w->begin_anew) {
        truncate_from(s, s->base.index + 1);
        s->base = w->base;
        s->base_chain = check_chain(s->machine->world, w->base);
        s->last = w->base.index;
    }
    if (w->first <= w->last) {
        truncate_from(s, w->first);
        for (raft_index i = w->first; i <= w->last; i++)
            append(s, w->entries[i - w->first]);
    }
    delete_before(s, w->keep_from);
}

int log_store_write(struct log_store *s, const struct log_write *w)
{
    struct world *world = s->machine->world;

    if (s->machine->disk_full && w->first <= w->last)
        return ERR_NO_SPACE;
    if (fails(s)) {
        /* After a failed sync nobody knows what is on the disk. */
        if (sim_chance(world, 500))
            write_all(s, w);
        return ERR_IO;
    }
    write_all(s, w);
    return 0;
}

bool log_store_wants_checkpoint(struct log_store *s)
{
    (void)s;
    return false;
}

int log_store_state(struct log_store *s, struct log_state *out)
{
    raft_term term = 0; /* the first entry begins a run, also where it continues the term of the base */

    *out = (struct log_state){.hard = s->hard, .base = s->base, .last = s->last};
    for (raft_index i = s->base.index + 1; i <= s->last; i++) {
        struct raft_pos pos = entry_pos(slot(s, i)->entry);

        if (pos.term != term) {
            if (out->run_count == s->runs_capacity) {
                s->runs_capacity = 2 * s->runs_capacity + 16;
                s->runs = xrealloc(s->runs, s->runs_capacity * sizeof *s->runs);
            }
            s->runs[out->run_count++] = pos;
            term = pos.term;
        }
        if (entry_type(slot(s, i)->entry) == RAFT_CONFIG) {
            if (out->config_count == s->configs_capacity) {
                s->configs_capacity = 2 * s->configs_capacity + 16;
                s->configs = xrealloc(s->configs, s->configs_capacity * sizeof *s->configs);
            }
            s->configs[out->config_count++] = i;
        }
    }
    out->runs = s->runs;
    out->configs = s->configs;
    return 0;
}

int log_store_read(struct log_store *s, raft_index first, raft_index last, uint64_t max_bytes, unsigned max_count,
                   struct entry **out, unsigned *count)
{
    uint64_t bytes = 0;
    unsigned n = 0;

    if (fails(s))
        return ERR_IO;
    if (first <= s->base.index || first > s->last)
        return ERR_NOT_FOUND;
    for (raft_index i = first; i <= last && i <= s->last && n < max_count; i++) {
        struct entry *e = slot(s, i)->entry;

        if (n > 0 && bytes + e->size > max_bytes)
            break;
        bytes += e->size;
        out[n++] = entry_ref(e);
    }
    *count = n;
    return 0;
}

raft_index log_store_kept_from(const struct log_store *s, raft_index keep_from)
{
    (void)s;
    return keep_from;
}

void log_store_used(struct log_store *s, uint64_t *bytes, uint64_t *entries)
{
    *bytes = 100 * (s->last - s->base.index);
    *entries = s->last - s->base.index;
}
