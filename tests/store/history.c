#include "history.h"

#include <stdio.h>
#include <string.h>

#include "store_test.h"

#define KEYS 50u

static uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* ---- the log ---- */

static struct entry *log_entry(raft_index index, raft_term term)
{
    static uint8_t value[6000];
    uint32_t x = mix((uint32_t)(index * 31 + term));
    size_t size = x % 16 == 0 ? x % sizeof value : x % 300;

    if (x % 23 == 0)
        return config_at(index, term, 1 + x % 5);
    memset(value, (int)x & 255, size);
    return set_at(index, term, "key", value, size);
}

void log_history_next(struct log_history *h, struct log_write *w, struct entry *entries[HISTORY_BATCH_MAX])
{
    uint32_t x = mix(++h->step);
    unsigned count = x % 7;
    raft_index first = h->last + 1;

    if (x % 11 == 0 && h->last > h->keep_from + 3)
        first = h->last - (x >> 8) % 3;
    if (x % 5 == 0 || first <= h->last) {
        h->hard.term++;
        h->hard.vote = x;
    }
    if (x % 13 == 0 && h->last > 60)
        h->keep_from = h->last - 20;
    ck_assert_uint_lt(first + count, HISTORY_MAX);
    for (unsigned i = 0; i < count; i++) {
        h->terms[first + i] = (uint32_t)h->hard.term;
        entries[i] = log_entry(first + i, h->hard.term);
    }
    if (count > 0)
        h->last = first + count - 1;
    *w = (struct log_write){
        .hard = h->hard, .first = first, .last = first + count - 1, .keep_from = h->keep_from, .entries = entries};
}

void log_history_drop(const struct log_write *w)
{
    for (raft_index i = w->first; i <= w->last; i++)
        entry_unref(w->entries[i - w->first]);
}

static bool entry_holds(const struct log_history *h, struct log_store *s, raft_index index, struct why *why)
{
    struct entry *want = log_entry(index, h->terms[index]), *got = NULL;
    unsigned count;
    int err = log_store_read(s, index, index, UINT64_MAX, 1, &got, &count);
    bool same = err == 0 && got->size == want->size && memcmp(got->bytes, want->bytes, want->size) == 0;

    if (!same)
        why_set(why, 0, "entry %llu: %s", (unsigned long long)index, err != 0 ? err_text(err) : "another one");
    entry_unref(got);
    entry_unref(want);
    return same;
}

bool log_history_holds(const struct log_history *h, struct log_store *s, struct why *why)
{
    struct log_state st;

    if (log_store_state(s, &st) != 0 || st.hard.term != h->hard.term || st.hard.vote != h->hard.vote) {
        why_set(why, 0, "hard state: term %llu, not %llu", (unsigned long long)st.hard.term,
                (unsigned long long)h->hard.term);
        return false;
    }
    if (st.last != h->last || (st.base.index > 0 && st.base.index >= h->keep_from)) {
        why_set(why, 0, "base %llu last %llu, not %llu", (unsigned long long)st.base.index, (unsigned long long)st.last,
                (unsigned long long)h->last);
        return false;
    }
    for (raft_index i = st.base.index + 1; i <= st.last; i++) {
        if (!entry_holds(h, s, i, why))
            return false;
    }
    for (unsigned i = 0; i < st.run_count; i++) {
        if (st.runs[i].term != h->terms[st.runs[i].index]) {
            why_set(why, 0, "run %u has another term", i);
            return false;
        }
    }
    return true;
}

/* ---- the map ---- */

static unsigned batch_size(raft_index applied)
{
    return 1 + mix((uint32_t)applied) % HISTORY_BATCH_MAX;
}

static struct entry *kv_entry(raft_index index)
{
    static uint8_t value[6000];
    uint32_t x = mix((uint32_t)index);
    char key[16];
    struct command gone = {.op = COMMAND_DELETE};
    size_t size = x % 16 == 0 ? x % sizeof value : x % 300;

    snprintf(key, sizeof key, "%02u", (unsigned)(index % KEYS));
    if (index % 7 == 0) {
        gone.key = view_of_text(key);
        return command_at(index, 1, &gone);
    }
    memset(value, (int)x & 255, size);
    return set_at(index, 1, key, value, size);
}

unsigned kv_history_next(raft_index applied, struct entry *entries[HISTORY_BATCH_MAX])
{
    unsigned count = batch_size(applied);

    for (unsigned i = 0; i < count; i++)
        entries[i] = kv_entry(applied + 1 + i);
    return count;
}

static bool key_holds(struct kv_view *v, raft_index applied, unsigned k, struct why *why)
{
    raft_index changed = applied - (applied + KEYS - k) % KEYS, index;
    char key[16];
    struct view value;
    struct command want;
    struct entry *e;
    int err;
    bool same;

    snprintf(key, sizeof key, "%02u", k);
    err = kv_view_get(v, view_of_text(key), &value, &index);
    if (applied < k || changed == 0 || changed > applied || changed % 7 == 0)
        same = err == ERR_NOT_FOUND;
    else {
        e = kv_entry(changed);
        same = err == 0 && command_decode(entry_payload(e), &want) == 0 && index == changed &&
               view_equal(value, want.value);
        entry_unref(e);
    }
    if (!same)
        why_set(why, 0, "key %s at %llu: %s", key, (unsigned long long)applied, err_text(err));
    return same;
}

bool kv_history_holds(struct kv_store *s, raft_index *applied, struct why *why)
{
    struct kv_view *v;
    raft_index at = 0;
    bool same = true;

    if (kv_view_open(s, &v) != 0)
        return false;
    *applied = kv_view_applied(v);
    while (at < *applied)
        at += batch_size(at);
    if (at != *applied) {
        why_set(why, 0, "%llu is in the middle of a batch", (unsigned long long)*applied);
        same = false;
    }
    for (unsigned k = 0; same && k < KEYS; k++)
        same = key_holds(v, *applied, k, why);
    kv_view_close(v);
    return same;
}

/* ---- the identity ---- */

struct identity identity_history(uint32_t step)
{
    struct identity i = {.cluster = mix(step), .id = step, .joined = step, .removed = step % 2 == 1};

    if (step % 5 == 0)
        i.cluster = 0; /* written by a wipe */
    snprintf(i.name, sizeof i.name, "node.%u", step);
    return i;
}

bool identity_history_holds(uint32_t step, const struct identity *got)
{
    struct identity want = identity_history(step);

    return got->cluster == want.cluster && got->id == want.id && got->joined == want.joined &&
           got->removed == want.removed && strcmp(got->name, want.name) == 0;
}
