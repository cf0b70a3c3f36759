#include "store/log_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/log_journal.h"
#include "store/log_table.h"

#define PREFIX_AT_MOST                                                                                                 \
    1000u /* entries deleted by one write, and twice what it writes, so that none takes long and yet it suffices */
#define PREFIX_OWED_MAX                                                                                                \
    16000u /* deleted entries that LMDB still has: more, and it takes over at once, for that should not take long either */
#define PREFIX_AT_LEAST                                                                                                \
    32u /* fewer are left lying: deleting them one by one would dirty a second path of pages each time */
/* A write of more entries goes to LMDB at once: its bytes weigh more than its flushes. */
#define JOURNALED_MAX (JOURNAL_HALF_SIZE / 2)

/* A generation of the journal that LMDB has not taken over, as the one write that it amounts to. */
struct generation {
    uint64_t number; /* 0: none */
    bool closed;     /* no more comes: the checkpointer may take it over */
    struct raft_hard_state hard;
    struct raft_pos base;
    raft_index first; /* of the entries; they reach to first + count - 1 */
    unsigned count, room;
    struct entry **entries; /* a reference each */
    uint64_t bytes;         /* of all entries */
};

struct log_store {
    struct log_table *table;
    struct log_journal *journal;
    struct log_shape shape, shown; /* what the disk holds; what log_store_state gave away: the writer alone */

    pthread_mutex_t turn; /* whoever writes to the table */

    pthread_mutex_t held; /* a leaf: guards what follows */
    raft_index first, last;
    struct generation generations[2];   /* by number % 2; while one is closed, it changes only with the turn */
    raft_index table_first, table_last; /* what the table had after its last commit */
    uint64_t table_used;
};

/* ---- what LMDB lacks ---- */

static struct generation *generation_of(struct log_store *s, uint64_t number)
{
    return &s->generations[number % 2];
}

static void drop_from(struct generation *g, raft_index first)
{
    while (g->count > 0 && g->first + g->count > first) {
        struct entry *e = g->entries[--g->count];

        g->bytes -= e->size;
        entry_unref(e);
    }
}

static void generation_add(struct generation *g, const struct log_write *w, struct raft_pos base)
{
    g->hard = w->hard;
    g->base = base;
    if (w->first > w->last)
        return;
    drop_from(g, w->first);
    if (g->count == 0)
        g->first = w->first;
    for (raft_index i = w->first; i <= w->last; i++) {
        struct entry *e = w->entries[i - w->first];

        if (g->count == g->room) {
            g->room = g->room == 0 ? 64 : g->room * 2;
            g->entries = xrealloc(g->entries, g->room * sizeof(struct entry *));
        }
        g->entries[g->count++] = entry_ref(e);
        g->bytes += e->size;
    }
}

static void generation_clear(struct generation *g)
{
    drop_from(g, 0);
    free(g->entries);
    *g = (struct generation){.number = 0};
}

/* The write is on the disk, in this generation of the journal. */
static void hold(struct log_store *s, uint64_t number, const struct log_write *w, struct raft_pos base)
{
    struct generation *g = generation_of(s, number);

    log_shape_write(&s->shape, w, base);
    pthread_mutex_lock(&s->held);
    g->number = number;
    generation_add(g, w, base);
    s->first = base.index + 1;
    s->last = s->shape.last;
    pthread_mutex_unlock(&s->held);
}

/* The table was written. Has the turn; takes `held` before, if there are other threads yet. */
static void note_table(struct log_store *s)
{
    const struct log_shape *shape = log_table_shape(s->table);

    s->table_first = shape->base.index + 1;
    s->table_last = shape->last;
    s->table_used = log_table_used(s->table);
}

/* LMDB takes over a generation. Has the turn. */
static int take_over(struct log_store *s, struct generation *g)
{
    struct log_write w = {.hard = g->hard, .first = 1, .last = 0, .entries = g->entries};
    struct generation taken;
    int err;

    if (g->count > 0) {
        w.first = g->first;
        w.last = g->first + g->count - 1;
    }
    err = log_table_write(s->table, &w, g->base, g->number);
    if (err != 0)
        return err;
    pthread_mutex_lock(&s->held);
    taken = *g;
    *g = (struct generation){.number = 0};
    note_table(s);
    pthread_mutex_unlock(&s->held);
    generation_clear(&taken);
    return 0;
}

static struct generation *closed_generation(struct log_store *s)
{
    struct generation *found = NULL;

    pthread_mutex_lock(&s->held);
    for (unsigned i = 0; i < 2; i++)
        if (s->generations[i].closed)
            found = &s->generations[i];
    pthread_mutex_unlock(&s->held);
    return found;
}

bool log_store_wants_checkpoint(struct log_store *s)
{
    return closed_generation(s) != NULL;
}

static int take_over_closed(struct log_store *s)
{
    struct generation *g = closed_generation(s);

    return g == NULL ? 0 : take_over(s, g);
}

int log_store_checkpoint(struct log_store *s)
{
    int err;

    pthread_mutex_lock(&s->turn);
    err = take_over_closed(s);
    pthread_mutex_unlock(&s->turn);
    return err;
}

/* LMDB takes over all there is. A record that the disk may have though its append failed is void then. The writer, with the
 * turn. */
static int take_over_all(struct log_store *s)
{
    uint64_t number = log_journal_generation(s->journal);
    struct generation *g = generation_of(s, number);
    int err = take_over_closed(s);

    if (err == 0 && g->number == 0 && log_journal_unsure(s->journal))
        hold(s, number, &(struct log_write){.hard = s->shape.hard, .first = 1, .last = 0}, s->shape.base);
    if (err != 0 || g->number == 0)
        return err;
    err = take_over(s, g);
    if (err == 0)
        log_journal_next(s->journal);
    return err;
}

/* ---- opening ---- */

static int replay(void *context, uint64_t number, const struct log_write *w, struct raft_pos base)
{
    struct log_store *s = context;
    const struct log_shape *shape = &s->shape;
    raft_term term = 0;

    if (w->hard.term < shape->hard.term || base.index < shape->base.index || base.index > shape->last)
        return ERR_CORRUPT;
    if (w->first <= w->last && (w->first <= base.index || w->first > shape->last + 1))
        return ERR_CORRUPT;
    if (w->first <= w->last)
        term = log_shape_term(shape, w->first - 1);
    for (raft_index i = w->first; i <= w->last; i++) {
        raft_term next = entry_pos(w->entries[i - w->first]).term;

        if (next < term)
            return ERR_CORRUPT;
        term = next;
    }
    hold(s, number, w, base);
    return 0;
}

static int open_journal(struct log_store *s, const char *path, struct why *why)
{
    struct log_journal_id id;
    struct generation *before;
    int err = 0;

    if (!log_table_journal(s->table, &id)) {
        err = log_journal_make(path, why);
        if (err == 0) {
            err = log_table_adopt_journal(s->table);
            if (err != 0)
                why_set(why, err, "%s cannot be written: %s", path, err_text(err));
        }
        (void)log_table_journal(s->table, &id);
    }
    if (err == 0)
        err = log_journal_open(path, id, false, &s->journal, why);
    if (err == 0)
        err = log_journal_replay(s->journal, replay, s, why);
    if (err != 0)
        return err;
    before = generation_of(s, log_journal_generation(s->journal) - 1);
    before->closed = before->number != 0;
    return 0;
}

int log_store_open(const char *path, uint64_t max_size, struct log_store **out, struct why *why)
{
    struct log_store *s = xcalloc(1, sizeof *s);
    int err;

    pthread_mutex_init(&s->turn, NULL);
    pthread_mutex_init(&s->held, NULL);
    err = log_table_open(path, max_size, &s->table, why);
    if (err != 0)
        goto out;
    log_shape_copy(&s->shape, log_table_shape(s->table));
    note_table(s);
    s->first = s->shape.base.index + 1;
    s->last = s->shape.last;
    err = open_journal(s, path, why);
    if (err != 0)
        goto out;
    *out = s;
    s = NULL;
out:
    log_store_close(s);
    return err;
}

void log_store_close(struct log_store *s)
{
    if (s == NULL)
        return;
    if (s->journal != NULL)
        (void)take_over_all(s); /* no harm if it fails: the next start replays the journal */
    for (unsigned i = 0; i < 2; i++)
        generation_clear(&s->generations[i]);
    log_journal_close(s->journal);
    log_table_close(s->table);
    log_shape_clear(&s->shape);
    log_shape_clear(&s->shown);
    pthread_mutex_destroy(&s->held);
    pthread_mutex_destroy(&s->turn);
    free(s);
}

int log_store_state(struct log_store *s, struct log_state *out)
{
    struct log_shape *shown = &s->shown;
    const struct log_shape *shape = &s->shape;

    /* The first entry after the base begins a run for whoever reads, though it may continue that of the base. */
    log_shape_clear(shown);
    if (shape->last > shape->base.index && (shape->run_count == 0 || shape->runs[0].index > shape->base.index + 1))
        log_shape_add_run(shown, (struct raft_pos){.index = shape->base.index + 1, .term = shape->base.term});
    for (unsigned i = 0; i < shape->run_count; i++)
        log_shape_add_run(shown, shape->runs[i]);
    *out = (struct log_state){.hard = shape->hard,
                              .base = shape->base,
                              .last = shape->last,
                              .run_count = shown->run_count,
                              .runs = shown->runs,
                              .config_count = shape->config_count,
                              .configs = shape->configs};
    return 0;
}

/* ---- writing ---- */

/* The base that this write moves to: the present one, or as far as keep_from permits and one write should go. Only entries
 * that were on the disk before go: so the term of the new base is known. */
static struct raft_pos next_base(const struct log_shape *s, const struct log_write *w)
{
    raft_index kept = w->first <= w->last && w->first <= s->last ? w->first - 1 : s->last;
    raft_index index = w->keep_from > 0 ? w->keep_from - 1 : 0;
    uint64_t most = PREFIX_AT_MOST + (w->first <= w->last ? 2 * (w->last - w->first + 1) : 0);

    if (w->begin_anew)
        return w->base;
    if (index > kept)
        index = kept;
    if (index < s->base.index + PREFIX_AT_LEAST)
        return s->base;
    if (index > s->base.index + most)
        index = s->base.index + most;
    return (struct raft_pos){.index = index, .term = log_shape_term(s, index)};
}

raft_index log_store_kept_from(const struct log_store *s, raft_index keep_from)
{
    struct log_write none = {.first = 1, .last = 0, .keep_from = keep_from};
    struct raft_pos base = next_base(&s->shape, &none);

    return base.index == s->shape.base.index ? keep_from : s->shape.base.index + 1;
}

/* Past the journal: what is too large for it, and what makes all that it has void. */
static int write_through(struct log_store *s, const struct log_write *w, struct raft_pos base)
{
    int err = 0;

    if (log_journal_failed(s->journal))
        return ERR_IO;
    pthread_mutex_lock(&s->turn);
    if (!w->begin_anew)
        err = take_over_all(s);
    if (err == 0)
        err = log_table_write(s->table, w, base, log_journal_generation(s->journal) - (w->begin_anew ? 0 : 1));
    if (err == 0) {
        log_shape_write(&s->shape, w, base);
        pthread_mutex_lock(&s->held);
        for (unsigned i = 0; i < 2; i++)
            generation_clear(&s->generations[i]);
        note_table(s);
        s->first = s->shape.base.index + 1;
        s->last = s->shape.last;
        pthread_mutex_unlock(&s->held);
    }
    if (err == 0 && w->begin_anew)
        log_journal_next(s->journal);
    pthread_mutex_unlock(&s->turn);
    return err;
}

static int settle_all(struct log_store *s)
{
    int err;

    pthread_mutex_lock(&s->turn);
    err = take_over_all(s);
    pthread_mutex_unlock(&s->turn);
    return err;
}

static bool owes_deletions(struct log_store *s)
{
    uint64_t owed;

    pthread_mutex_lock(&s->held);
    owed = s->first - s->table_first;
    pthread_mutex_unlock(&s->held);
    return owed > PREFIX_OWED_MAX;
}

/* Makes sure that the journal has room, if need be by doing the checkpointer's work. */
static int make_room(struct log_store *s, uint64_t bytes)
{
    struct generation *g;
    int err = owes_deletions(s) ? settle_all(s) : 0;

    if (err != 0 && err != ERR_NO_SPACE) /* which matters only if the journal has none either */
        return err;
    if (log_journal_has_room(s->journal, bytes))
        return 0;
    if (log_journal_unsure(s->journal))
        return settle_all(s);
    err = log_store_checkpoint(s);
    if (err != 0)
        return err;
    g = generation_of(s, log_journal_generation(s->journal));
    pthread_mutex_lock(&s->held);
    g->closed = true;
    pthread_mutex_unlock(&s->held);
    log_journal_next(s->journal);
    return 0;
}

/* As many entries from `first` on as one record takes. */
static struct log_write next_part(const struct log_write *w, raft_index first, uint64_t *bytes)
{
    struct log_write part = *w;

    *bytes = 0;
    if (first > w->last)
        return part;
    part.first = part.last = first;
    part.entries = w->entries + (first - w->first);
    *bytes = part.entries[0]->size;
    while (part.last < w->last && *bytes + part.entries[part.last + 1 - first]->size <= JOURNAL_RECORD_MAX) {
        *bytes += part.entries[part.last + 1 - first]->size;
        part.last++;
    }
    return part;
}

/* Where there is no room for the second record, the first stays: it is the beginning of what will be tried again. */
static int write_journal(struct log_store *s, const struct log_write *w, struct raft_pos base)
{
    raft_index first = w->first;

    do {
        uint64_t bytes = 0;
        struct log_write part = next_part(w, first, &bytes);
        int err = make_room(s, bytes);

        if (err == 0)
            err = log_journal_append(s->journal, &part, base);
        if (err != 0)
            return err;
        hold(s, log_journal_generation(s->journal), &part, base);
        first = part.last + 1;
    } while (first <= w->last);
    return 0;
}

static bool suits_journal(const struct log_write *w)
{
    uint64_t bytes = 0;

    for (raft_index i = w->first; i <= w->last; i++) {
        uint32_t size = w->entries[i - w->first]->size;

        bytes += size;
        if (size > JOURNAL_RECORD_MAX || bytes > JOURNALED_MAX)
            return false;
    }
    return !w->begin_anew;
}

int log_store_write(struct log_store *s, const struct log_write *w)
{
    const struct log_shape *shape = &s->shape;
    struct raft_pos base = next_base(shape, w);
    bool has_entries = w->first <= w->last;

    if (has_entries) {
        CHECK(w->first > base.index);
        CHECK(w->first <= (w->begin_anew ? base.index : shape->last) + 1);
    }
    CHECK(w->hard.term >= shape->hard.term); /* a term never goes back [paper 5.1] */
    if (!w->begin_anew && !has_entries && w->hard.term == shape->hard.term && w->hard.vote == shape->hard.vote &&
        base.index == shape->base.index)
        return 0;
    return suits_journal(w) ? write_journal(s, w, base) : write_through(s, w, base);
}

/* ---- reading ---- */

/* The entry, if it is held: the newer generation has all from its first entry on. */
static struct entry *held_entry(const struct log_store *s, raft_index index)
{
    const struct generation *newer = &s->generations[0], *older = &s->generations[1];

    if (newer->number < older->number) {
        newer = older;
        older = &s->generations[0];
    }
    if (newer->count > 0 && index >= newer->first)
        return index - newer->first < newer->count ? newer->entries[index - newer->first] : NULL;
    if (older->count > 0 && index >= older->first)
        return index - older->first < older->count ? older->entries[index - older->first] : NULL;
    return NULL;
}

/* How many could be taken from memory; 0 also if `first` is in LMDB. *limit is then the last that LMDB may be asked for. */
static unsigned borrow(struct log_store *s, raft_index first, raft_index *limit, uint64_t max_bytes, unsigned max_count,
                       struct entry **out)
{
    uint64_t bytes = 0;
    unsigned n = 0;

    for (raft_index i = first; i <= *limit && n < max_count; i++) {
        struct entry *e = held_entry(s, i);

        if (e == NULL || (n > 0 && bytes + e->size > max_bytes))
            break;
        bytes += e->size;
        out[n++] = entry_ref(e);
    }
    for (unsigned i = 0; i < 2 && n == 0; i++)
        if (s->generations[i].count > 0 && s->generations[i].first <= *limit)
            *limit = s->generations[i].first - 1;
    return n;
}

int log_store_read(struct log_store *s, raft_index first, raft_index last, uint64_t max_bytes, unsigned max_count,
                   struct entry **out, unsigned *count)
{
    unsigned n = 0;
    bool there;

    CHECK(first <= last);
    CHECK(max_count > 0);
    pthread_mutex_lock(&s->held);
    there = first >= s->first && first <= s->last;
    if (last > s->last)
        last = s->last;
    if (there)
        n = borrow(s, first, &last, max_bytes, max_count, out);
    pthread_mutex_unlock(&s->held);
    if (!there)
        return ERR_NOT_FOUND;
    if (n == 0)
        return log_table_read(s->table, first, last, max_bytes, max_count, out, count);
    *count = n;
    return 0;
}

uint64_t log_store_disk_size(struct log_store *s)
{
    return log_table_disk_size(s->table);
}

void log_store_used(struct log_store *s, uint64_t *bytes, uint64_t *entries)
{
    uint64_t all, live;

    pthread_mutex_lock(&s->held);
    all = s->table_last + 1 - s->table_first;
    live = s->table_last < s->first ? 0 : s->table_last + 1 - (s->first > s->table_first ? s->first : s->table_first);
    *bytes = s->table_used;
    if (live < all) /* what was deleted in the journal, LMDB still has */
        *bytes = *bytes / all * live;
    *bytes += s->generations[0].bytes + s->generations[1].bytes;
    pthread_mutex_unlock(&s->held);
    *entries = s->shape.last - s->shape.base.index;
}
