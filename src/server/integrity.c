#include "server/integrity.h"

#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "server/mutants.h"
#include "server/shared.h"

/* ---- our own map ---- */

static void note(struct integrity *g, raft_index index, uint64_t hash)
{
    struct hash_at at = {index, hash};

    g->last = at;
    g->recent[index % INTEGRITY_RECENT] = at;
    if (index % INTEGRITY_STEP == 0)
        g->checkpoints[index / INTEGRITY_STEP % INTEGRITY_CHECKPOINTS] = at;
}

static void forget(struct integrity *g)
{
    memset(&g->last, 0, sizeof g->last);
    memset(g->recent, 0, sizeof g->recent);
    memset(g->checkpoints, 0, sizeof g->checkpoints);
}

/* The hash that our map had at `index`, if that is known. */
static bool hash_at(const struct integrity *g, raft_index index, uint64_t *hash)
{
    const struct hash_at *recent = &g->recent[index % INTEGRITY_RECENT];
    const struct hash_at *checkpoint = &g->checkpoints[index / INTEGRITY_STEP % INTEGRITY_CHECKPOINTS];

    if (index == 0 || (recent->index != index && checkpoint->index != index))
        return false;
    *hash = recent->index == index ? recent->hash : checkpoint->hash;
    return true;
}

void integrity_begin(struct shared *s, const struct kv_position *p)
{
    struct integrity *g = &s->integrity;

    g->doubted = p->doubted;
    g->noted = p->doubted;
    memcpy(g->reason, p->doubt, sizeof g->reason);
    if (p->applied.index > 0 && !g->empty)
        note(g, p->applied.index, p->hash);
    if (g->doubted)
        log_error("the map is not to be trusted: reason=\"%s\" applied=%llu", g->reason,
                  (unsigned long long)p->applied.index);
}

void integrity_applied(struct shared *s, raft_index first, unsigned count, const uint64_t *hashes)
{
    for (unsigned i = 0; i < count; i++)
        note(&s->integrity, first + i, hashes[i]);
}

void integrity_installed(struct shared *s, const struct kv_position *p)
{
    struct integrity *g = &s->integrity;

    if (BROKEN(DOUBT_STAYS))
        return;
    if (g->doubted)
        log_info("the map is that of the leader again: index=%llu hash=%016llx", (unsigned long long)p->applied.index,
                 (unsigned long long)p->hash);
    g->doubted = false;
    g->noted = false;
    g->empty = false;
    forget(g);
    note(g, p->applied.index, p->hash);
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        s->peers[i].opinion.report_at = 0;
}

static bool other_voter(const struct shared *s)
{
    for (unsigned i = 0; i < s->directory.latest.count; i++)
        if (s->directory.latest.list[i].id != s->self && s->directory.latest.list[i].role == RAFT_VOTER)
            return true;
    return false;
}

bool integrity_stands_still(const struct shared *s)
{
    return s->integrity.doubted && (s->integrity.empty || other_voter(s));
}

void integrity_doubt(struct shared *s, const char *reason)
{
    struct integrity *g = &s->integrity;

    if (g->doubted)
        return;
    g->doubted = true;
    g->noted = false;
    snprintf(g->reason, sizeof g->reason, "%s", reason);
    if (integrity_stands_still(s)) {
        log_error("the map is not to be trusted; no reads until a leader has sent another one: reason=\"%s\"", reason);
        requests_give_up(s);
    } else {
        log_error("the map is damaged, and there is no other voter to get another one from: reason=\"%s\" "
                  "to-do=\"restore a backup, or write the keys again\"",
                  reason);
    }
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        s->peers[i].opinion.report_at = 0;
}

/* ---- what others have said ---- */

static const struct peer *peer_of(const struct shared *s, raft_id id)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == id && !s->peers[i].guest)
            return &s->peers[i];
    return NULL;
}

static bool counts(const struct opinion *o, raft_term term)
{
    return o->term == term;
}

static uint64_t distance(const struct opinion *o)
{
    return o->theirs - o->ours;
}

static bool differs(const struct opinion *o, raft_term term)
{
    return counts(o, term) && o->compared && !o->doubted && distance(o) != 0;
}

raft_id integrity_heir(const struct shared *s, raft_time now)
{
    const struct peer *best = NULL;
    raft_index longest = 0;
    struct raft_status status;

    raft_status(s->raft, &status);
    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];
        const struct peer *p = m->role == RAFT_VOTER ? peer_of(s, m->id) : NULL;
        struct raft_peer_status peer;

        if (p == NULL || !raft_peer_status(s->raft, now, m->id, &peer) || !peer.active ||
            (counts(&p->opinion, status.term) && p->opinion.doubted))
            continue;
        if (best == NULL || peer.match > longest) {
            best = p;
            longest = peer.match;
        }
    }
    return best != NULL ? best->id : 0;
}

enum integrity_view integrity_of(const struct shared *s, raft_id id, raft_index *index)
{
    const struct peer *p = peer_of(s, id);
    struct raft_status status;

    raft_status(s->raft, &status);
    if (id == s->self) {
        *index = s->integrity.last.index;
        return s->integrity.doubted ? INTEGRITY_DIFFERS : INTEGRITY_AGREES;
    }
    if (p == NULL || status.role != RAFT_LEADER || !counts(&p->opinion, status.term))
        return INTEGRITY_UNKNOWN;
    *index = p->opinion.doubted ? p->opinion.applied : p->opinion.index;
    if (p->opinion.doubted || differs(&p->opinion, status.term))
        return INTEGRITY_DIFFERS;
    return p->opinion.compared ? INTEGRITY_AGREES : INTEGRITY_UNKNOWN;
}

/* ---- judging ---- */

/* How the voters stand to one that differs from us, or to us if `o` is NULL's. */
struct tally {
    unsigned voters, with_us, with_it, silent;
};

/* Who agreed with us before that index says nothing of what came later. That two differ from us by the same amount means that
 * they agree with each other, wherever in the log they were asked. */
static struct tally count_voters(const struct shared *s, raft_term term, const struct opinion *o)
{
    struct tally t = {0};

    for (unsigned i = 0; i < s->directory.latest.count; i++) {
        const struct member *m = &s->directory.latest.list[i];
        const struct peer *p = peer_of(s, m->id);

        if (m->role != RAFT_VOTER)
            continue;
        t.voters++;
        if (m->id == s->self)
            t.with_us++;
        else if (p == NULL || !counts(&p->opinion, term))
            t.silent++;
        else if (p->opinion.doubted)
            continue; /* it has no say */
        else if (!p->opinion.compared || (distance(&p->opinion) == 0 && p->opinion.index < o->index))
            t.silent++;
        else if (distance(&p->opinion) == 0)
            t.with_us++;
        else if (distance(&p->opinion) == distance(o))
            t.with_it++;
    }
    return t;
}

static void doubt_ourselves(struct shared *s, const struct opinion *o, unsigned against)
{
    char reason[KV_REASON_MAX];

    snprintf(reason, sizeof reason, "%u voters have another map: index=%llu hash=%016llx theirs=%016llx", against,
             (unsigned long long)o->index, (unsigned long long)o->ours, (unsigned long long)o->theirs);
    integrity_doubt(s, reason);
}

static void log_difference(struct peer *p, const char *what)
{
    const struct opinion *o = &p->opinion;

    if (!p->opinion.logged)
        log_error("a member's map differs: peer=%llu index=%llu its-hash=%016llx hash=%016llx %s",
                  (unsigned long long)p->id, (unsigned long long)o->index, (unsigned long long)o->theirs,
                  (unsigned long long)o->ours, what);
    p->opinion.logged = true;
}

static void judge(struct shared *s, raft_term term, struct peer *p)
{
    struct tally t = count_voters(s, term, &p->opinion);
    unsigned majority = t.voters / 2 + 1;

    if (t.with_it >= majority) {
        doubt_ourselves(s, &p->opinion, t.with_it);
    } else if (t.with_us >= majority || t.silent == 0) {
        log_difference(p, "verdict=\"it is sent the map\"");
        p->opinion.owed = true;
    } else {
        log_difference(p, "verdict=\"none: voters are silent whose word would decide\"");
    }
}

/* A place at which both hashes are known. */
static bool compare(const struct integrity *g, const struct hash_at *at, struct opinion *o)
{
    uint64_t ours = 0;

    if (!hash_at(g, at->index, &ours))
        return false;
    o->compared = true;
    o->index = at->index;
    o->theirs = at->hash;
    o->ours = ours;
    return true;
}

static void take_report(struct shared *s, raft_term term, struct peer *p, const struct hash_report *r)
{
    struct opinion *o = &p->opinion;

    if (o->term != term) {
        o->compared = false;
        o->owed = false;
    }
    o->term = term;
    o->doubted = r->doubted;
    o->applied = r->applied.index;
    if (r->doubted) {
        o->compared = false;
        o->owed = false;
        return;
    }
    if (r->version != INTEGRITY_VERSION || s->integrity.doubted || BROKEN(NEVER_COMPARES))
        return;
    if (!compare(&s->integrity, &r->applied, o) && !compare(&s->integrity, &r->checkpoint, o))
        return;
    if (distance(o) == 0)
        o->logged = false;
}

int integrity_reported(struct shared *s, const struct hello *h, const struct hash_report *r)
{
    struct raft_status status;

    if (r->from != h->from || r->to != s->self)
        return ERR_MALFORMED;
    raft_status(s->raft, &status);
    if (status.role != RAFT_LEADER || r->term != status.term)
        return 0;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == r->from && !s->peers[i].guest)
            take_report(s, status.term, &s->peers[i], r);
    /* One report may decide about another member, too. */
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX && !s->integrity.doubted; i++)
        if (s->peers[i].id != 0 && !s->peers[i].guest && differs(&s->peers[i].opinion, status.term))
            judge(s, status.term, &s->peers[i]);
    return 0;
}

int integrity_judged(struct shared *s, const struct hello *h, const struct hash_verdict *v)
{
    struct raft_status status;
    char reason[KV_REASON_MAX];
    uint64_t hash = 0;

    if (v->from != h->from || v->to != s->self)
        return ERR_MALFORMED;
    raft_status(s->raft, &status);
    if (v->term != status.term || v->from != status.leader || v->yours.hash == v->ours)
        return 0;
    if (!hash_at(&s->integrity, v->yours.index, &hash) || hash != v->yours.hash)
        return 0; /* of a map that is not ours any more */
    snprintf(reason, sizeof reason, "it differs from the others': index=%llu hash=%016llx theirs=%016llx",
             (unsigned long long)v->yours.index, (unsigned long long)hash, (unsigned long long)v->ours);
    integrity_doubt(s, reason);
    return 0;
}

/* ---- the sender ---- */

raft_time integrity_due(const struct shared *s, const struct peer *p)
{
    if (s->phase !=
        PHASE_SERVING) /* a guest may lead: who has lost its map may have lost all that it knew of the members */
        return RAFT_NEVER;
    return p->opinion.owed ? 0 : p->opinion.report_at;
}

static void fill_report(const struct shared *s, const struct peer *p, raft_term term, struct hash_report *out)
{
    const struct integrity *g = &s->integrity;

    *out = (struct hash_report){.from = s->self,
                                .to = p->id,
                                .term = term,
                                .version = INTEGRITY_VERSION,
                                .doubted = integrity_stands_still(s),
                                .applied = g->last,
                                .checkpoint = g->checkpoints[g->last.index / INTEGRITY_STEP % INTEGRITY_CHECKPOINTS]};
    if (out->doubted) {
        struct raft_status status;

        raft_status(s->raft, &status);
        out->applied = (struct hash_at){status.applied, 0}; /* what the map must reach, whatever ours is */
    }
}

enum integrity_frame integrity_next(struct shared *s, raft_time now, struct peer *p, struct hash_report *report,
                                    struct hash_verdict *verdict)
{
    struct opinion *o = &p->opinion;
    struct raft_status status;

    raft_status(s->raft, &status);
    if (o->owed) {
        o->owed = false; /* it is judged anew by its next report */
        *verdict = (struct hash_verdict){
            .from = s->self, .to = p->id, .term = status.term, .yours = {o->index, o->theirs}, .ours = o->ours};
        return status.role == RAFT_LEADER && differs(o, status.term) ? INTEGRITY_VERDICT : INTEGRITY_NOTHING;
    }
    o->report_at = now + s->report_ms;
    if (status.leader != p->id || (s->integrity.last.index == 0 && !s->integrity.doubted))
        return INTEGRITY_NOTHING;
    fill_report(s, p, status.term, report);
    return INTEGRITY_REPORT;
}

/* ---- the map in the place of ours ---- */

bool integrity_needs_map(const struct shared *s, const struct peer *p, raft_index *least)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    *least = p->opinion.applied;
    return status.role == RAFT_LEADER && counts(&p->opinion, status.term) && p->opinion.doubted;
}

bool integrity_wants_map(const struct shared *s, raft_id from, raft_term term, struct raft_pos pos)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    return integrity_stands_still(s) && status.leader == from && status.term == term && pos.index >= status.applied &&
           pos.index <= status.commit;
}
