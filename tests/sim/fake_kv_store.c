/* fake_kv_store.c -- kv_store.h in memory, for the few keys of the simulator's clients. A crash takes
 * back what was not committed; a power cut may undo the last commits, too, whole, as MDB_NOMETASYNC allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "sim.h"

struct kv_view {
    struct map_slot slots[SIM_KEYS_MAX];
    uint32_t damaged;
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
    out->hash = s->committed.hash;
    out->doubted = s->doubted;
    memcpy(out->doubt, s->doubt, sizeof out->doubt);
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

/* As the real one: what a condition is decided by must verify, and what is overwritten takes its damage along. */
static int apply_command(struct kv_store *s, struct entry *e, struct command_result *result)
{
    struct map_slot *slot = NULL;
    struct command c;
    unsigned key = SIM_KEYS_MAX;

    CHECK(command_decode(entry_payload(e), &c) == 0);
    key = key_number(c.key);
    CHECK(key < SIM_KEYS_MAX);
    slot = &s->now.slots[key];
    if (c.condition != COMMAND_ALWAYS && (s->now.damaged & 1u << key) != 0)
        return ERR_CORRUPT;
    if (!command_decide(&c, entry_pos(e).index, slot->index, result))
        return 0;
    s->now.damaged &= ~(1u << key);
    s->now.wrong &= ~(1u << key);
    s->now.hash -= map_slot_hash(key, slot);
    if (c.op == COMMAND_SET) {
        CHECK(c.value.size >= 8);
        *slot = (struct map_slot){entry_pos(e).index, codec_get_u64(c.value.data)};
    } else
        *slot = (struct map_slot){0, 0};
    s->now.hash += map_slot_hash(key, slot);
    return 0;
}

static int apply_one(struct kv_store *s, struct entry *e, struct command_result *result)
{
    int err = 0;

    switch (entry_type(e)) {
    case RAFT_NOOP:
        break;
    case RAFT_COMMAND:
        err = apply_command(s, e, result);
        break;
    case RAFT_CONFIG:
        entry_unref(s->now.config);
        s->now.config = entry_ref(e);
        s->now.config_index = entry_pos(e).index;
        break;
    }
    if (err != 0)
        return err;
    s->now.applied = entry_pos(e);
    check_applied(s, e);
    return 0;
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
        err = apply_one(s, entries[i], &results[i]);
        if (err != 0) {
            state_replace(&s->now, &s->committed);
            return err;
        }
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
    (*out)->damaged = s->now.damaged;
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
    if ((v->damaged & 1u << number) != 0)
        return ERR_CORRUPT;
    codec_put_u64(v->value, v->slots[number].value);
    *value = view_of(v->value, sizeof v->value);
    *index = v->slots[number].index;
    return 0;
}

/* ---- a map that is not to be trusted ---- */

static void take_doubt(struct kv_store *s, const char *reason)
{
    s->doubted = true;
    snprintf(s->doubt, sizeof s->doubt, "%s", reason);
}

int kv_store_doubt(struct kv_store *s, const char *reason)
{
    take_doubt(s, reason);
    return 0;
}

int kv_store_trust(struct kv_store *s)
{
    s->doubted = false;
    return 0;
}

int kv_store_scrub(struct kv_store *s, struct bytes *after, unsigned most, uint64_t bytes, unsigned *looked)
{
    char key[16];

    (void)bytes;
    for (*looked = 0; *looked < most; (*looked)++) {
        unsigned next = after->size == 0 ? 0 : key_number(bytes_view(after)) + 1;

        if (next >= SIM_KEYS_MAX)
            return ERR_NOT_FOUND;
        key_name(next, key, sizeof key);
        bytes_reset(after);
        bytes_append_text(after, key);
        if ((s->now.damaged & 1u << next) != 0)
            return ERR_CORRUPT;
    }
    return 0;
}

#define WRONG_BIT (UINT64_C(1) << 40) /* nobody writes such a value */

uint64_t map_true_value(const struct map_state *s, unsigned key)
{
    return (s->wrong & 1u << key) != 0 ? s->slots[key].value ^ WRONG_BIT : s->slots[key].value;
}

uint64_t map_true_hash(const struct map_state *s)
{
    uint64_t hash = s->hash;

    for (unsigned key = 0; key < SIM_KEYS_MAX; key++) {
        struct map_slot truth = {s->slots[key].index, map_true_value(s, key)};

        hash += map_slot_hash(key, &truth) - map_slot_hash(key, &s->slots[key]);
    }
    return hash;
}

static void spoil(struct map_state *state, unsigned key, bool wrong)
{
    struct map_slot *slot = &state->slots[key];

    if (!wrong) {
        state->damaged |= 1u << key;
        return;
    }
    state->hash -= map_slot_hash(key, slot);
    slot->value ^= WRONG_BIT;
    state->hash += map_slot_hash(key, slot);
    state->wrong |= 1u << key;
}

bool disk_map_spoil(struct kv_store *s, unsigned key, bool wrong)
{
    if (s->committed.slots[key].index == 0 || s->now.slots[key].index != s->committed.slots[key].index)
        return false;
    spoil(&s->now, key, wrong);
    spoil(&s->committed, key, wrong);
    return true;
}

void disk_map_lose(struct kv_store *s)
{
    disk_map_clear(s);
    take_doubt(s, "it cannot be read");
}

bool disk_map_is_whole(const struct kv_store *s)
{
    return !s->doubted && (s->committed.damaged | s->committed.wrong | s->now.damaged | s->now.wrong) == 0;
}
