/* fake_kv_store.c -- kv_store.h in memory, for the few keys of the simulator's clients. A crash takes
 * back what was not committed; a power cut may undo the last commits, too, whole, as MDB_NOMETASYNC allows. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "sim.h"

struct kv_view {
    struct map_slot slots[SIM_KEYS_MAX];
    raft_index applied;
    uint8_t value[8];
};

static void state_copy(struct map_state *to, const struct map_state *from)
{
    *to = *from;
    if (to->config != NULL)
        entry_ref(to->config);
}

static void state_clear(struct map_state *s)
{
    entry_unref(s->config);
    memset(s, 0, sizeof *s);
}

static void state_replace(struct map_state *to, const struct map_state *from)
{
    state_clear(to);
    state_copy(to, from);
}

static void remember(struct kv_store *s)
{
    if (s->undo_count == MAP_UNDO)
        state_clear(&s->undo[--s->undo_count]);
    memmove(&s->undo[1], &s->undo[0], s->undo_count * sizeof s->undo[0]);
    s->undo_count++;
    state_copy(&s->undo[0], &s->committed);
}

void disk_map_crash(struct kv_store *s, unsigned transactions)
{
    if (transactions > s->undo_count)
        transactions = s->undo_count;
    if (transactions > 0)
        state_replace(&s->committed, &s->undo[transactions - 1]);
    while (transactions > 0 && s->undo_count > 0)
        state_clear(&s->undo[--s->undo_count]);
    state_replace(&s->now, &s->committed);
}

void disk_map_synced(struct kv_store *s)
{
    while (s->undo_count > 0)
        state_clear(&s->undo[--s->undo_count]);
}

void disk_map_clear(struct kv_store *s)
{
    state_clear(&s->now);
    state_clear(&s->committed);
    while (s->undo_count > 0)
        state_clear(&s->undo[--s->undo_count]);
}

int kv_store_position(struct kv_store *s, struct kv_position *out)
{
    memset(out, 0, sizeof *out);
    out->applied = s->committed.applied;
    out->config_index = s->committed.config_index;
    out->installed = s->committed.installed != 0 && s->committed.installed == s->committed.applied.index;
    if (s->committed.config != NULL)
        CHECK(members_decode(entry_payload(s->committed.config), &out->members) == 0);
    return 0;
}

uint64_t map_slot_hash(unsigned key, const struct map_slot *slot)
{
    return slot->index == 0 ? 0 : sim_mix(sim_mix(key + 1, slot->index), slot->value);
}

static void apply_command(struct kv_store *s, struct entry *e, struct command_result *result)
{
    struct map_slot *slot = NULL;
    struct command c;
    unsigned key = SIM_KEYS_MAX;

    CHECK(command_decode(entry_payload(e), &c) == 0);
    key = key_number(c.key);
    CHECK(key < SIM_KEYS_MAX);
    slot = &s->now.slots[key];
    if (!command_decide(&c, entry_pos(e).index, slot->index, result))
        return;
    s->now.hash ^= map_slot_hash(key, slot);
    if (c.op == COMMAND_SET) {
        CHECK(c.value.size >= 8);
        *slot = (struct map_slot){entry_pos(e).index, codec_get_u64(c.value.data)};
    } else
        *slot = (struct map_slot){0, 0};
    s->now.hash ^= map_slot_hash(key, slot);
}

static void apply_one(struct kv_store *s, struct entry *e, struct command_result *result)
{
    switch (entry_type(e)) {
    case RAFT_NOOP:
        break;
    case RAFT_COMMAND:
        apply_command(s, e, result);
        break;
    case RAFT_CONFIG:
        entry_unref(s->now.config);
        s->now.config = entry_ref(e);
        s->now.config_index = entry_pos(e).index;
        break;
    }
    s->now.applied = entry_pos(e);
    check_applied(s, e);
}

/* A disk that is full or fails; any error takes the open transaction back. */
static int fails(struct kv_store *s)
{
    struct machine *m = s->machine;
    int err = 0;

    if (m->disk_full && sim_chance(m->world, 500))
        err = ERR_NO_SPACE;
    else if (m->disk_fails_in != 0 && --m->disk_fails_in == 0)
        err = ERR_IO;
    if (err != 0)
        state_replace(&s->now, &s->committed);
    return err;
}

int kv_store_apply(struct kv_store *s, struct entry *const *entries, unsigned count, struct command_result *results,
                   uint64_t *hashes)
{
    struct machine *m = s->machine;
    int err = fails(s);

    if (err != 0)
        return err;
    check_apply(s, entries, count);
    for (unsigned i = 0; i < count; i++) {
        apply_one(s, entries[i], &results[i]);
        if (hashes != NULL)
            hashes[i] = s->now.hash;
    }
    trace(m->world, TRACE_APPLY, m, entry_pos(entries[0]).index, entry_pos(entries[count - 1]).index, s->now.hash, 0);
    return 0;
}

int kv_store_commit(struct kv_store *s)
{
    int err = fails(s);

    if (err != 0 || s->now.applied.index == s->committed.applied.index)
        return err;
    remember(s);
    state_replace(&s->committed, &s->now);
    trace(s->machine->world, TRACE_MAP_COMMIT, s->machine, s->now.applied.index, 0, 0, 0);
    return 0;
}

bool kv_store_is_full(struct kv_store *s, uint64_t largest, bool was_full)
{
    (void)largest;
    (void)was_full;
    return s->machine->disk_full;
}

int kv_view_open(struct kv_store *s, struct kv_view **out)
{
    *out = xmalloc(sizeof **out);
    memcpy((*out)->slots, s->now.slots, sizeof(*out)->slots);
    (*out)->applied = s->now.applied.index;
    return 0;
}

void kv_view_close(struct kv_view *v)
{
    free(v);
}

raft_index kv_view_applied(const struct kv_view *v)
{
    return v->applied;
}

int kv_view_get(struct kv_view *v, struct view key, struct view *value, raft_index *index)
{
    unsigned number = key_number(key);

    if (number >= SIM_KEYS_MAX || v->slots[number].index == 0)
        return ERR_NOT_FOUND;
    codec_put_u64(v->value, v->slots[number].value);
    *value = view_of(v->value, sizeof v->value);
    *index = v->slots[number].index;
    return 0;
}
