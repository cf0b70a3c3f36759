/* check_safety.c -- what must never happen, looked at from outside: from disks, maps and messages, not from the core's word.
 *
 * Sections are those of the Raft paper: election safety, leader append-only, log matching, leader completeness and
 * state machine safety are its figure 3. The rest is durability before acknowledgement, membership one change at a
 * time, and that what grows never shrinks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/codec.h"
#include "sim.h"

#define N(m) ((m)->slot + 1)

/* ---- what is known ---- */

void checker_clear(struct checker *c)
{
    free(c->facts);
    free(c->variants);
    free(c->terms);
    for (unsigned i = 0; i < SIM_KEYS_MAX; i++)
        free(c->keys[i].versions);
    memset(c, 0, sizeof *c);
}

static struct fact *fact(struct checker *c, raft_index index)
{
    while (index >= c->facts_capacity) {
        uint64_t old = c->facts_capacity;

        c->facts_capacity = old == 0 ? 1024 : 2 * old;
        c->facts = xrealloc(c->facts, c->facts_capacity * sizeof *c->facts);
        memset(c->facts + old, 0, (c->facts_capacity - old) * sizeof *c->facts);
    }
    return &c->facts[index];
}

static struct term_fact *term_fact(struct checker *c, raft_term term)
{
    while (term >= c->terms_capacity) {
        uint64_t old = c->terms_capacity;

        c->terms_capacity = old == 0 ? 256 : 2 * old;
        c->terms = xrealloc(c->terms, c->terms_capacity * sizeof *c->terms);
        memset(c->terms + old, 0, (c->terms_capacity - old) * sizeof *c->terms);
    }
    return &c->terms[term];
}

static struct variant *variant_slot(struct checker *c, raft_index index, raft_term term)
{
    uint64_t i = sim_mix(index, term) & (c->variants_capacity - 1);

    while (c->variants[i].index != 0 && (c->variants[i].index != index || c->variants[i].term != term))
        i = (i + 1) & (c->variants_capacity - 1);
    return &c->variants[i];
}

static void variants_grow(struct checker *c)
{
    struct variant *old = c->variants;
    uint64_t count = c->variants_capacity;

    c->variants_capacity = count == 0 ? 4096 : 2 * count;
    c->variants = xcalloc(c->variants_capacity, sizeof *c->variants);
    for (uint64_t i = 0; i < count; i++)
        if (old[i].index != 0)
            *variant_slot(c, old[i].index, old[i].term) = old[i];
    free(old);
}

static struct variant *variant(struct checker *c, raft_index index, raft_term term)
{
    if (2 * c->variants_count >= c->variants_capacity)
        variants_grow(c);
    return variant_slot(c, index, term);
}

/* ---- the log on disk ---- */

/* Terms never fall; a vote, once given in a term, stays [5.2]. */
static void check_hard_state(struct log_store *s, const struct raft_hard_state *hard)
{
    struct machine *m = s->machine;
    struct world *w = m->world;

    if (hard->term < s->hard.term)
        sim_fail(w, "term", "m%u's term on disk falls from %" PRIu64 " to %" PRIu64, N(m), s->hard.term, hard->term);
    if (hard->term == s->hard.term && s->hard.vote != 0 && hard->vote != s->hard.vote)
        sim_fail(w, "vote", "m%u votes for %" PRIu64 " and then for %" PRIu64 " in term %" PRIu64, N(m), s->hard.vote,
                 hard->vote, hard->term);
    if (hard->vote != 0)
        term_fact(&w->checker, hard->term)->vote[m->slot] = (unsigned)hard->vote;
}

static unsigned voters_that_differ(const struct members *a, const struct members *b)
{
    unsigned count = 0;

    for (unsigned i = 0; i < b->count; i++) {
        bool voter = b->list[i].role == RAFT_VOTER;
        bool found = false;

        for (unsigned j = 0; j < a->count; j++)
            found = found || (a->list[j].id == b->list[i].id && a->list[j].role == RAFT_VOTER);
        count += voter && !found;
    }
    return count;
}

static bool decode_members(const struct log_store *s, raft_index index, struct members *out)
{
    return index > s->base.index && index <= s->last &&
           members_decode(entry_payload(s->entries[index - s->base.index - 1].entry), out) == 0;
}

/* One change at a time, each by one voter [thesis 4.1]. */
static void check_config_entry(struct log_store *s, const struct entry *e, raft_index before)
{
    static struct members old, new;
    struct machine *m = s->machine;
    struct world *w = m->world;
    struct raft_pos pos = entry_pos(e);

    if (before == 0)
        return; /* the first one of all */
    if (before > w->checker.committed)
        sim_fail(w, "one change", "the configuration %" PRIu64 " follows that of %" PRIu64 ", which is not committed",
                 pos.index, before);
    else if (decode_members(s, before, &old) && members_decode(entry_payload(e), &new) == 0 &&
             voters_that_differ(&old, &new) + voters_that_differ(&new, &old) > 1)
        sim_fail(w, "one change", "the configuration %" PRIu64 " changes more than one voter", pos.index);
}

/* Log matching [5.3]: index and term say what an entry is, and what all entries before it are. */
static void check_variant(struct log_store *s, const struct entry *e, uint64_t chain, raft_index *config)
{
    struct world *w = s->machine->world;
    struct raft_pos pos = entry_pos(e);
    struct variant *v = variant(&w->checker, pos.index, pos.term);

    if (v->index != 0) {
        if (v->chain != chain)
            sim_fail(w, "log matching", "m%u's entry %" PRIu64 " of term %" PRIu64 " differs from another member's",
                     N(s->machine), pos.index, pos.term);
        *config = v->config_before;
        return;
    }
    if (entry_type(e) == RAFT_CONFIG) {
        check_config_entry(s, e, *config);
        *config = pos.index;
    }
    w->checker.variants_count++;
    *v = (struct variant){pos.index, pos.term, chain, *config};
}

/* What is committed stays on every disk whose member may have vouched for it. (A late write may bring to a disk what the
 * member has cut off meanwhile; it may be committed by others, and be cut off here.) */
static void check_truncation(struct log_store *s, const struct log_write *write)
{
    struct world *w = s->machine->world;
    raft_index *vouched = &s->machine->vouched;

    for (raft_index i = write->first; i <= *vouched && i <= s->last && i <= w->checker.committed; i++) {
        raft_term committed = fact(&w->checker, i)->term;

        if (disk_term_at(s, i) != committed)
            continue;
        if (i > write->last || entry_pos(write->entries[i - write->first]).term != committed)
            sim_fail(w, "leader completeness", "m%u deletes the committed entry %" PRIu64, N(s->machine), i);
    }
    if (*vouched >= write->first)
        *vouched = write->first - 1;
}

/* A log may begin only behind what is committed. */
uint64_t check_chain(struct world *w, struct raft_pos pos)
{
    if (pos.index > w->checker.committed || fact(&w->checker, pos.index)->term != pos.term) {
        sim_fail(w, "log", "a log begins anew behind %" PRIu64 " of term %" PRIu64 ", which is not committed",
                 pos.index, pos.term);
        return 0;
    }
    return fact(&w->checker, pos.index)->chain;
}

/* The log's new beginning is what the map holds, for good. */
static void check_anew(struct log_store *s, const struct log_write *write)
{
    const struct machine *m = s->machine;

    if (m->kv.committed.applied.index < write->base.index)
        sim_fail(m->world, "log", "m%u's log begins anew behind %" PRIu64 ", its map is at %" PRIu64, N(m),
                 write->base.index, m->kv.committed.applied.index);
    if (write->first != write->base.index + 1)
        sim_fail(m->world, "log", "m%u's log begins anew behind %" PRIu64 " with %" PRIu64, N(m), write->base.index,
                 write->first);
    check_truncation(s, write);
}

void check_log_write(struct log_store *s, const struct log_write *write)
{
    struct world *w = s->machine->world;
    uint64_t chain = 0;
    raft_index config = 0;

    trace(w, TRACE_LOG_WRITE, s->machine, write->hard.term, write->hard.vote, write->first, write->last);
    check_hard_state(s, &write->hard);
    if (write->begin_anew)
        check_anew(s, write);
    if (write->first > write->last)
        return;
    if (!write->begin_anew && (write->first > s->last + 1 || write->first <= s->base.index)) {
        sim_fail(w, "log", "m%u writes %" PRIu64 " after %" PRIu64, N(s->machine), write->first, s->last);
        return;
    }
    if (!write->begin_anew)
        check_truncation(s, write);
    chain = write->begin_anew ? check_chain(w, write->base) : disk_chain_at(s, write->first - 1);
    if (write->first > 1)
        config = variant(&w->checker, write->first - 1,
                         write->begin_anew ? write->base.term : disk_term_at(s, write->first - 1))
                     ->config_before;
    for (raft_index i = write->first; i <= write->last; i++) {
        const struct entry *e = write->entries[i - write->first];

        if (entry_pos(e).index != i || entry_pos(e).term > write->hard.term)
            sim_fail(w, "log", "m%u writes entry %" PRIu64 " of term %" PRIu64 " at %" PRIu64, N(s->machine),
                     entry_pos(e).index, entry_pos(e).term, i);
        chain = sim_mix(chain, codec_get_u64(e->bytes));
        check_variant(s, e, chain, &config);
    }
}

/* ---- the map ---- */

/* The map never runs ahead of the log on the same disk, and holds only what is committed (D3). */
void check_apply(struct kv_store *s, struct entry *const *entries, unsigned count)
{
    struct machine *m = s->machine;
    struct world *w = m->world;
    raft_index last = entry_pos(entries[count - 1]).index;

    if (entry_pos(entries[0]).index != s->now.applied.index + 1)
        sim_fail(w, "apply", "m%u applies %" PRIu64 " after %" PRIu64, N(m), entry_pos(entries[0]).index,
                 s->now.applied.index);
    if (last > w->checker.committed)
        sim_fail(w, "apply", "m%u applies %" PRIu64 ", committed is %" PRIu64, N(m), last, w->checker.committed);
    else if (last > m->log.last || disk_term_at(&m->log, last) != entry_pos(entries[count - 1]).term)
        sim_fail(w, "durability", "m%u applies %" PRIu64 " before its log has it on disk", N(m), last);
}

static void note_version(struct checker *c, unsigned key, raft_index index, uint64_t value)
{
    struct key_fact *k = &c->keys[key];

    if (k->count == k->capacity) {
        k->capacity = 2 * k->capacity + 64;
        k->versions = xrealloc(k->versions, k->capacity * sizeof *k->versions);
    }
    k->versions[k->count++] = (struct map_slot){index, value};
}

/* The first to apply an entry tells what it did; all others must do the same. */
static void note_first(struct kv_store *s, const struct entry *e, struct fact *f)
{
    struct checker *c = &s->machine->world->checker;
    raft_index index = entry_pos(e).index;
    struct command command;
    unsigned key = 0;

    f->map_hash = map_true_hash(&s->now) | 1;
    c->applied = index;
    if (entry_type(e) != RAFT_COMMAND || command_decode(entry_payload(e), &command) != 0)
        return;
    key = key_number(command.key);
    if (command.op == COMMAND_SET) {
        f->value = codec_get_u64(command.value.data);
        if (s->now.slots[key].index == index)
            note_version(c, key, index, s->now.slots[key].value);
    } else if (s->now.slots[key].index == 0)
        note_version(c, key, index, 0);
}

/* State machine safety [5.4.3]: the same entry at the same index, and the same map after it. */
void check_applied(struct kv_store *s, const struct entry *e)
{
    struct machine *m = s->machine;
    struct world *w = m->world;
    struct raft_pos pos = entry_pos(e);
    struct fact *f = fact(&w->checker, pos.index);

    if (pos.index > w->checker.committed)
        return; /* check_apply has said so */
    if (f->term != pos.term || (pos.index > m->log.base.index && f->chain != disk_chain_at(&m->log, pos.index)))
        sim_fail(w, "state machine safety", "m%u applies another entry %" PRIu64 " than was committed", N(m),
                 pos.index);
    else if (pos.index == w->checker.applied + 1)
        note_first(s, e, f);
    else if (f->map_hash != (map_true_hash(&s->now) | 1))
        sim_fail(w, "state machine safety", "m%u's map differs after entry %" PRIu64, N(m), pos.index);
}

/* A map that came from another member is what all others had at that index. */
void check_installed(struct kv_store *s)
{
    struct machine *m = s->machine;
    struct world *w = m->world;
    raft_index index = s->committed.applied.index;

    if (index > w->checker.applied || fact(&w->checker, index)->term != s->committed.applied.term)
        sim_fail(w, "state machine safety", "m%u installs a map of %" PRIu64 ", which nobody has applied", N(m), index);
    else if (fact(&w->checker, index)->map_hash != (s->committed.hash | 1))
        sim_fail(w, "state machine safety", "m%u's installed map of %" PRIu64 " differs", N(m), index);
}

/* ---- messages ---- */

static void check_acknowledgement(struct machine *m, const struct raft_message *out)
{
    struct world *w = m->world;
    struct machine *leader = machine_by_id(w, out->to);
    raft_index i = out->appended.index;

    if (!out->appended.ok || i <= m->kv.committed.applied.index)
        return; /* what the map holds is committed, whatever the log says of it */
    if (i > m->log.last) {
        sim_fail(w, "durability", "m%u acknowledges %" PRIu64 ", its disk ends at %" PRIu64, N(m), i, m->log.last);
        return;
    }
    if (leader == NULL || !leader->up || leader->seen.role != RAFT_LEADER || leader->seen.term != out->term ||
        i < m->log.base.index || i < leader->seen.base.index)
        return;
    if (i > leader->seen.last || raft_term_at(leader->shared.raft, i) != disk_term_at(&m->log, i))
        sim_fail(w, "durability", "m%u acknowledges %" PRIu64 ", which its leader m%u has not like this", N(m), i,
                 N(leader));
}

/* Durability before acknowledgement [5.1, 5.2, thesis 3.8]: as the message leaves, compare it with the disk. */
void check_message(struct machine *m, const struct raft_message *out)
{
    struct world *w = m->world;
    bool pre = (out->type == RAFT_VOTE && out->vote.pre) || (out->type == RAFT_VOTED && out->voted.pre);

    if (!pre && out->term > m->log.hard.term)
        sim_fail(w, "durability", "m%u speaks in term %" PRIu64 ", its disk knows %" PRIu64, N(m), out->term,
                 m->log.hard.term);
    switch (out->type) {
    case RAFT_VOTE:
        if (!pre && term_fact(&w->checker, out->term)->vote[m->slot] != m->id)
            sim_fail(w, "durability", "m%u asks for votes in term %" PRIu64 " without its own on disk", N(m),
                     out->term);
        break;
    case RAFT_VOTED:
        if (!pre && out->voted.granted && term_fact(&w->checker, out->term)->vote[m->slot] != out->to)
            sim_fail(w, "durability", "m%u grants %" PRIu64 " its vote in term %" PRIu64 " before that is on disk",
                     N(m), out->to, out->term);
        break;
    case RAFT_APPENDED:
        check_acknowledgement(m, out);
        break;
    case RAFT_APPEND:
    case RAFT_SNAPSHOT:
    case RAFT_READ:
    case RAFT_READ_AT:
    case RAFT_TAKE_OVER:
        break;
    }
}

/* ---- leaders ---- */

static bool is_voter(const struct raft_config *c, raft_id id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return c->members[i].role == RAFT_VOTER;
    return false;
}

static unsigned majority(const struct raft_config *c)
{
    unsigned voters = 0;

    for (unsigned i = 0; i < c->count; i++)
        voters += c->members[i].role == RAFT_VOTER;
    return voters / 2 + 1;
}

/* Leader completeness [5.4]: it has every entry that a leader of an earlier term committed. */
static void check_complete(struct machine *m, raft_term term)
{
    struct checker *c = &m->world->checker;
    raft_index i = c->committed;

    while (i > 0 && fact(c, i)->by >= term)
        i--;
    if (i > m->seen.base.index && raft_term_at(m->shared.raft, i) != fact(c, i)->term)
        sim_fail(m->world, "leader completeness", "m%u leads term %" PRIu64 " without the committed entry %" PRIu64,
                 N(m), term, i);
}

/* Election safety [5.2]: one leader in a term, and a majority's votes on disk. */
void check_leads(struct machine *m, const struct raft_status *now)
{
    struct world *w = m->world;
    struct term_fact *t = term_fact(&w->checker, now->term);
    const struct raft_config *config = raft_config_latest(m->shared.raft);
    unsigned votes = 0;

    if (t->leader != 0 && t->leader != N(m))
        sim_fail(w, "election safety", "m%u and m%u both lead term %" PRIu64, t->leader, N(m), now->term);
    t->leader = N(m);
    w->checker.leaders++;
    for (unsigned i = 0; i < w->machine_count; i++)
        votes += t->vote[i] == m->id && is_voter(config, w->machines[i].id);
    if (votes < majority(config))
        sim_fail(w, "election safety", "m%u leads term %" PRIu64 " with %u of %u votes", N(m), now->term, votes,
                 majority(config));
    check_complete(m, now->term);
}

/* ---- commit ---- */

static void check_quorum(struct machine *m, raft_index index, raft_term term)
{
    struct world *w = m->world;
    const struct raft_config *config = raft_config_latest(m->shared.raft);
    unsigned holders = 0;

    for (unsigned i = 0; i < w->machine_count; i++) {
        const struct log_store *s = &w->machines[i].log;

        holders += is_voter(config, w->machines[i].id) && (s->base.index >= index || disk_term_at(s, index) == term);
    }
    if (holders < majority(config))
        sim_fail(w, "durability", "m%u commits %" PRIu64 ", which %u of %u disks have", N(m), index, holders,
                 majority(config));
}

/* A leader's commit index is the news; everybody else may only repeat it. */
void check_commit(struct machine *m, const struct raft_status *old, const struct raft_status *now)
{
    struct world *w = m->world;
    struct checker *c = &w->checker;
    raft_term term = raft_term_at(m->shared.raft, now->commit);
    /* One that removes itself leads no more once that is committed [thesis 4.2.2]. */
    bool leads = now->role == RAFT_LEADER || (old->role == RAFT_LEADER && old->term == now->term);

    if (now->commit > c->committed && !leads) {
        sim_fail(w, "commit", "m%u commits %" PRIu64 ", no leader has committed more than %" PRIu64, N(m), now->commit,
                 c->committed);
        return;
    }
    if (now->commit > c->committed) {
        trace(w, TRACE_COMMIT, m, now->commit, now->term, 0, 0);
        check_quorum(m, now->commit, term);
        /* Counting decides about entries of the leader's own term alone; older ones follow [5.4.2, figure 8]. */
        if (term != now->term)
            sim_fail(w, "commit", "m%u commits %" PRIu64 " of term %" PRIu64 " by counting in term %" PRIu64, N(m),
                     now->commit, term, now->term);
        for (raft_index i = c->committed + 1; i <= now->commit; i++) {
            struct fact *f = fact(c, i);

            f->term = raft_term_at(m->shared.raft, i);
            f->by = now->term;
            f->chain = variant(c, i, f->term)->chain;
        }
        c->committed = now->commit;
        for (unsigned i = 0; i < w->machine_count; i++) {
            struct machine *other = &w->machines[i];

            if (other->up && other != m && other->seen.role == RAFT_LEADER && other->seen.term > now->term)
                check_complete(other, other->seen.term);
        }
    }
    if (now->commit > now->base.index && fact(c, now->commit)->term != term)
        sim_fail(w, "commit", "m%u commits another entry %" PRIu64 " than was committed", N(m), now->commit);
}

/* ---- a member, after each event ---- */

static void check_growth(struct machine *m, const struct raft_status *old, const struct raft_status *now)
{
    struct world *w = m->world;

    if (now->term < old->term)
        sim_fail(w, "term", "m%u's term falls from %" PRIu64 " to %" PRIu64, N(m), old->term, now->term);
    if (now->commit < old->commit)
        sim_fail(w, "commit", "m%u's commit index falls from %" PRIu64 " to %" PRIu64, N(m), old->commit, now->commit);
    if (now->applied < old->applied)
        sim_fail(w, "apply", "m%u's applied index falls from %" PRIu64 " to %" PRIu64, N(m), old->applied,
                 now->applied);
    if (now->applied > now->commit || now->applied > now->durable)
        sim_fail(w, "apply", "m%u has applied %" PRIu64 ", commit %" PRIu64 ", durable %" PRIu64, N(m), now->applied,
                 now->commit, now->durable);
    if (now->durable > m->log.last && now->durable > m->kv.committed.applied.index)
        sim_fail(w, "durability", "m%u believes %" PRIu64 " on disk, which ends at %" PRIu64, N(m), now->durable,
                 m->log.last);
    if (m->shared.visible > m->kv.committed.applied.index && !m->shared.integrity.empty)
        sim_fail(w, "apply", "m%u says that %" PRIu64 " can be read, its map shows %" PRIu64, N(m), m->shared.visible,
                 m->kv.committed.applied.index);
    /* Leader append-only [5.3]. */
    if (old->role == RAFT_LEADER && now->role == RAFT_LEADER && old->term == now->term && now->last < old->last)
        sim_fail(w, "leader append-only", "m%u leads and shortens its log", N(m));
    if (m->shared.tail.first <= m->shared.tail.last && m->shared.tail.last != now->last)
        sim_fail(w, "tail", "m%u's tail ends at %" PRIu64 ", its log at %" PRIu64, N(m), m->shared.tail.last,
                 now->last);
    if (m->shared.directory.latest_index != now->config_index)
        sim_fail(w, "tail", "m%u's directory is at %" PRIu64 ", its configuration at %" PRIu64, N(m),
                 m->shared.directory.latest_index, now->config_index);
}

/* A leader changes the membership only when the change before is committed, and an entry of its own term, too
 * [thesis 4.1; Ongaro, raft-dev, July 2015]. */
static void check_proposed_config(struct machine *m, const struct raft_status *old, const struct raft_status *now)
{
    if (old->config_index > now->commit)
        sim_fail(m->world, "one change", "m%u proposes configuration %" PRIu64 ", that of %" PRIu64 " is not committed",
                 N(m), now->config_index, old->config_index);
    if (raft_term_at(m->shared.raft, now->commit) != now->term)
        sim_fail(m->world, "one change", "m%u proposes configuration %" PRIu64 " before it committed in term %" PRIu64,
                 N(m), now->config_index, now->term);
}

void check_machine(struct machine *m)
{
    struct raft_status old = m->seen;
    struct raft_status now;

    raft_status(m->shared.raft, &now);
    check_growth(m, &old, &now);
    m->seen = now;
    if (now.durable > m->vouched)
        m->vouched = now.durable;
    if (now.role == RAFT_LEADER && (old.role != RAFT_LEADER || old.term != now.term))
        check_leads(m, &now);
    if (now.role == RAFT_LEADER && old.role == RAFT_LEADER && old.term == now.term &&
        now.config_index > old.config_index)
        check_proposed_config(m, &old, &now);
    if (now.durable != old.durable && now.durable > now.base.index &&
        raft_term_at(m->shared.raft, now.durable) != disk_term_at(&m->log, now.durable))
        sim_fail(m->world, "durability", "m%u believes entry %" PRIu64 " on disk, which has another", N(m),
                 now.durable);
    if (now.commit != old.commit)
        check_commit(m, &old, &now);
}

/* A start must find all that the disk holds, and a term that was on disk is never forgotten. */
void check_started(struct machine *m)
{
    struct raft_status now;

    raft_status(m->shared.raft, &now);
    if (now.term < m->log.hard.term)
        sim_fail(m->world, "term", "m%u starts in term %" PRIu64 ", its disk knows %" PRIu64, N(m), now.term,
                 m->log.hard.term);
    if (now.last != m->log.last ||
        now.applied != (m->shared.integrity.empty ? m->log.base.index : m->kv.committed.applied.index))
        sim_fail(m->world, "start", "m%u starts with last %" PRIu64 " and applied %" PRIu64, N(m), now.last,
                 now.applied);
    m->seen = now;
    m->seen.role = RAFT_FOLLOWER;
    m->seen.commit = now.applied < now.commit ? now.applied : now.commit;
}
