/* test_random.c -- a few cores, a network that loses, doubles and reorders, disks that forget what was not written, and
 * after every step the promises of the paper [paper figure 3]. The safety net of src/raft alone; the simulator of
 * tests/sim does the same with the real roles.
 *
 *   test_random                one bounded run over many seeds (make check)
 *   test_random SEED [COUNT]   COUNT seeds from SEED on; a failing seed says so before it stops */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/raft.h"

#define NODES       5
#define LOG_MAX     4096
#define MAIL_MAX    512
#define TERMS       4096
#define BATCH_MAX   16
#define READS_MAX   64
#define ELECTION_MS 100

#ifdef RAFT_MUTANT
int raft_mutant;
#endif

struct entry {
    raft_term term;
    enum raft_entry_type type;
    uint64_t value; /* unique */
    struct raft_config config;
};

struct config_at {
    raft_index index;
    struct raft_config config;
};

struct map {
    struct raft_pos at;
    struct config_at config;
};

struct read {
    uint64_t ticket; /* 0: none */
    raft_index at_least;
};

struct node {
    raft_id id;
    struct raft *raft; /* NULL: down */
    raft_time up_at;
    raft_time paused_until;
    struct entry log[LOG_MAX]; /* as the caller of the core holds it */
    struct {
        struct raft_hard_state hard;
        struct raft_pos base;
        raft_index last;
        struct entry log[LOG_MAX];
    } disk;
    struct map map, map_before; /* the map on disk, and what a power cut may leave of it */
    struct raft_write write;    /* in flight until write_at; its entries as they were when it was taken */
    raft_time write_at;
    bool writing;
    struct entry *written;
    raft_index commit_seen;
    struct read reads[READS_MAX];
};

struct mail {
    struct raft_message m;
    raft_time at;
    struct raft_head heads[BATCH_MAX];
    struct entry entries[BATCH_MAX];
    struct map map; /* of a snapshot */
};

static struct world {
    uint64_t seed, random;
    raft_time now;
    struct node nodes[NODES];
    struct mail mail[MAIL_MAX];
    unsigned mail_count;
    raft_id leader_of[TERMS];
    struct {
        struct entry entry;
    } committed[LOG_MAX];
    raft_index commit; /* the highest that any member ever knew */
    uint64_t next_value;
    unsigned pace;               /* percent of steps in which a leader is given an entry */
    unsigned lazy;               /* a new leader proposes its no-op in one of so many steps */
    unsigned churn;              /* members are changed in one of so many steps */
    unsigned crash;              /* a member dies in one of so many steps */
    unsigned loss, twice, delay; /* percent, percent, ms */
    bool calm;                   /* no more faults: progress must follow */
    bool cut[NODES][NODES];
    uint64_t commits, elections, reads, installs, changes;
} w;

#define MUST(holds)                                                                                                    \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fprintf(stderr, "seed %" PRIu64 " at %" PRIu64 " ms: %s (line %d)\n", w.seed, w.now, #holds, __LINE__);    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t chance(uint64_t below)
{
    w.random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = w.random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static struct raft_status status_of(const struct node *n)
{
    struct raft_status s;

    raft_status(n->raft, &s);
    return s;
}

/* ---- the promises ------------------------------------------------------------------------------------------------- */

static void check_leader(struct node *n, const struct raft_status *s)
{
    MUST(s->term < TERMS);
    MUST(w.leader_of[s->term] == 0 || w.leader_of[s->term] == n->id); /* election safety */
    if (w.leader_of[s->term] != 0)
        return;
    w.leader_of[s->term] = n->id;
    w.elections++;
    MUST(s->last >= w.commit); /* leader completeness */
    for (raft_index i = s->first; i <= w.commit; i++)
        MUST(n->log[i].value == w.committed[i].entry.value);
}

static void check_node(struct node *n)
{
    struct raft_status s = status_of(n);

    raft_check(n->raft);
    MUST(s.commit >= n->commit_seen);
    for (raft_index i = n->commit_seen + 1; i <= s.commit; i++) {
        if (i > w.commit) {
            MUST(i == w.commit + 1 || i < s.first);
            if (i < s.first)
                continue;
            w.committed[i].entry = n->log[i];
            w.commit = i;
            w.commits++;
        }
        if (i >= s.first)
            MUST(n->log[i].value == w.committed[i].entry.value); /* state machine safety */
    }
    n->commit_seen = s.commit;
    for (raft_index i = s.last; i >= s.first && i + 8 > s.last; i--)
        MUST(raft_term_at(n->raft, i) == n->log[i].term);
    if (s.role == RAFT_LEADER)
        check_leader(n, &s);
}

/* What may be said only if a crash cannot make it untrue. */
static void check_spoken(const struct node *n, const struct raft_message *m)
{
    bool pre = (m->type == RAFT_VOTE && m->vote.pre) || (m->type == RAFT_VOTED && m->voted.pre);

    if (!pre)
        MUST(m->term <= n->disk.hard.term);
    if (m->type == RAFT_VOTED && !pre && m->voted.granted)
        MUST(n->disk.hard.term == m->term && n->disk.hard.vote == m->to);
    if (m->type != RAFT_APPENDED || !m->appended.ok)
        return;
    MUST(m->appended.index <= n->disk.last || m->appended.index <= n->map.at.index);
    if (m->appended.index > n->disk.base.index && m->appended.index > n->map.at.index)
        MUST(n->disk.log[m->appended.index].value == n->log[m->appended.index].value);
}

/* ---- life and death ----------------------------------------------------------------------------------------------- */

static void node_start(struct node *n)
{
    raft_index last = n->disk.last;

    if (n->map.at.index > n->disk.last || n->map.at.index < n->disk.base.index ||
        (n->map.at.index > n->disk.base.index && n->disk.log[n->map.at.index].term != n->map.at.term)) {
        n->disk.base = n->map.at; /* a map was installed, and the log not begun anew before the crash */
        n->disk.last = last = n->map.at.index;
    }
    n->raft = raft_new(n->id, chance(UINT64_MAX), ELECTION_MS, 20);
    raft_restore(n->raft, n->disk.hard, n->disk.base, &n->map.config.config, n->map.config.index);
    memcpy(n->log, n->disk.log, sizeof n->log);
    for (raft_index i = n->disk.base.index + 1; i <= last; i++)
        if (i == n->disk.base.index + 1 || n->log[i].term != n->log[i - 1].term)
            raft_restore_run(n->raft, (struct raft_pos){.index = i, .term = n->log[i].term});
    for (raft_index i = n->disk.base.index + 1; i <= last; i++)
        if (n->log[i].type == RAFT_CONFIG)
            raft_restore_config(n->raft, i, &n->log[i].config);
    raft_start(n->raft, w.now, last, n->map.at.index);
    n->commit_seen = n->map.at.index;
}

static void write_lands(struct node *n)
{
    const struct raft_write *wr = &n->write;

    n->disk.hard = wr->hard;
    if (wr->begin_anew) {
        n->disk.base = wr->base;
        n->disk.last = wr->base.index;
    }
    MUST(wr->first <= n->disk.last + 1); /* no gap */
    MUST(wr->first > n->disk.base.index);
    for (raft_index i = wr->first; i <= wr->last; i++)
        n->disk.log[i] = n->written[i - wr->first];
    n->disk.last = wr->last;
    if (wr->keep_from - 1 > n->disk.base.index) {
        raft_index base = wr->keep_from - 1;

        n->disk.base.index = base;
        n->disk.base.term = n->written[wr->last + 1 - wr->first].term;
    }
}

static void node_crash(struct node *n)
{
    if (n->writing && chance(2) == 0)
        write_lands(n);
    if (chance(2) == 0 && n->map_before.at.index >= n->disk.base.index)
        n->map = n->map_before;
    free(n->written);
    n->written = NULL;
    n->writing = false;
    raft_free(n->raft);
    n->raft = NULL;
    memset(n->reads, 0, sizeof n->reads);
    n->up_at = w.now + chance(400);
}

/* ---- the network -------------------------------------------------------------------------------------------------- */

static void post(struct node *n, const struct raft_message *m, const struct map *map)
{
    unsigned copies = 1 + (chance(100) < w.twice);

    check_spoken(n, m);
    if (w.cut[n->id - 1][m->to - 1])
        return;
    for (unsigned c = 0; c < copies; c++) {
        struct mail *mail = &w.mail[w.mail_count];

        if (w.mail_count == MAIL_MAX || chance(100) < w.loss)
            continue;
        mail->m = *m;
        mail->at = w.now + chance(w.delay + 1);
        if (map != NULL)
            mail->map = *map;
        for (unsigned i = 0; m->type == RAFT_APPEND && i < m->append.count; i++) {
            mail->entries[i] = n->log[m->append.prev.index + 1 + i];
            mail->heads[i] = (struct raft_head){.term = mail->entries[i].term, .type = mail->entries[i].type};
        }
        w.mail_count++;
    }
}

static void node_sends(struct node *n, raft_id to)
{
    struct raft_message m;
    struct raft_peer_status peer;

    for (unsigned i = 0; i < 8 && raft_send_due(n->raft, to) <= w.now; i++) {
        raft_next_message(n->raft, w.now, to, &m);
        MUST(m.type != 0);
        if (m.type == RAFT_APPEND && m.append.count > BATCH_MAX)
            m.append.count = 1 + (unsigned)chance(BATCH_MAX);
        if (chance(50) == 0 && !w.calm) {
            raft_unreachable(n->raft, w.now, to);
            continue;
        }
        if (!raft_sending(n->raft, w.now, &m, 100 * (m.type == RAFT_APPEND ? m.append.count : 0)))
            continue; /* a member that left had its time */
        post(n, &m, NULL);
        raft_check(n->raft);
    }
    if (raft_peer_status(n->raft, w.now, to, &peer) && peer.state == RAFT_NEEDS_SNAPSHOT && chance(20) == 0) {
        m = (struct raft_message){.type = RAFT_SNAPSHOT, .from = n->id, .to = to, .term = status_of(n).term};
        m.snapshot.pos = n->map.at;
        if (raft_sending(n->raft, w.now, &m, 0))
            post(n, &m, &n->map);
    }
}

static void node_gets(struct node *n, struct mail *mail)
{
    struct raft_taken taken;

    if (mail->m.type == RAFT_SNAPSHOT) {
        if (!raft_offered(n->raft, w.now, mail->m.from, mail->m.term, mail->m.snapshot.pos) ||
            mail->map.at.index <= n->map.at.index)
            return;
        n->map = mail->map;
        n->map_before = mail->map;
        raft_installed(n->raft, w.now, n->map.at, &n->map.config.config, n->map.config.index);
        w.installs++;
        return;
    }
    if (mail->m.type == RAFT_APPEND) {
        mail->m.append.heads = mail->heads;
        for (unsigned i = 0; i < mail->m.append.count; i++)
            mail->heads[i].config = mail->heads[i].type == RAFT_CONFIG ? &mail->entries[i].config : NULL;
    }
    raft_receive(n->raft, w.now, &mail->m, &taken);
    for (unsigned i = 0; i < taken.count; i++)
        n->log[taken.first + i] = mail->entries[taken.skip + i];
}

static void deliver(void)
{
    static struct mail mail;

    for (unsigned i = 0; i < w.mail_count;) {
        struct node *n;

        if (w.mail[i].at > w.now) {
            i++;
            continue;
        }
        mail = w.mail[i];
        w.mail[i] = w.mail[--w.mail_count];
        n = &w.nodes[mail.m.to - 1];
        if (n->raft == NULL || w.now < n->paused_until || w.cut[mail.m.from - 1][mail.m.to - 1])
            continue;
        node_gets(n, &mail);
        check_node(n);
    }
}

/* ---- the roles ---------------------------------------------------------------------------------------------------- */

static void node_writes(struct node *n)
{
    if (n->writing && n->write_at <= w.now) {
        n->writing = false;
        if (!w.calm && chance(30) == 0) {
            raft_write_failed(n->raft, w.now);
        } else {
            write_lands(n);
            raft_wrote(n->raft, w.now, &n->write);
        }
        free(n->written);
        n->written = NULL;
    }
    if (!n->writing && raft_write_due(n->raft) <= w.now) {
        raft_index count;

        raft_next_write(n->raft, w.now, &n->write);
        MUST(n->write.last < LOG_MAX);
        count = n->write.last + 1 - n->write.first;
        n->written = malloc((count + 1) * sizeof *n->written);
        memcpy(n->written, &n->log[n->write.first], count * sizeof *n->written);
        n->written[count].term = raft_term_at(n->raft, n->write.keep_from - 1); /* of the new base */
        n->writing = true;
        n->write_at = w.now + (w.calm || chance(50) > 0 ? chance(10) : chance(500));
    }
}

static void node_applies(struct node *n)
{
    raft_index first, last;

    if (raft_apply_due(n->raft) > w.now)
        return;
    raft_next_apply(n->raft, &first, &last);
    MUST(first == n->map.at.index + 1);
    MUST(last <= n->disk.last); /* the map never runs ahead of the log on disk */
    n->map_before = n->map;
    for (raft_index i = first; i <= last; i++) {
        MUST(n->log[i].value == w.committed[i].entry.value);
        n->map.at = (struct raft_pos){.index = i, .term = n->log[i].term};
        if (n->log[i].type == RAFT_CONFIG)
            n->map.config = (struct config_at){.index = i, .config = n->log[i].config};
    }
    raft_applied(n->raft, w.now, last);
    if (chance(10) == 0) {
        raft_settled(n->raft, n->map_before.at.index, 1u << 20);
        n->map_before = n->map_before.at.index < n->map.at.index ? n->map_before : n->map;
    }
}

static void remember_entry(struct node *n, raft_index index, enum raft_entry_type type, const struct raft_config *c)
{
    if (index == 0)
        return;
    MUST(index < LOG_MAX);
    n->log[index] = (struct entry){.term = status_of(n).term, .type = type, .value = w.next_value++};
    if (c != NULL)
        n->log[index].config = *c;
}

static void node_changes_members(struct node *n)
{
    struct raft_config c = *raft_config_latest(n->raft);
    raft_id id = 1 + chance(NODES);
    unsigned at = 0;

    while (at < c.count && c.members[at].id != id)
        at++;
    if (at == c.count) {
        c.members[c.count++] = (struct raft_member){.id = id, .role = chance(2) == 0 ? RAFT_VOTER : RAFT_LEARNER};
    } else if (chance(2) == 0) {
        c.members[at].role = c.members[at].role == RAFT_VOTER ? RAFT_LEARNER : RAFT_VOTER;
    } else if (c.count > 2) {
        c.members[at] = c.members[--c.count];
    }
    if (raft_may_change(n->raft, &c) != RAFT_CHANGE_OK)
        return;
    remember_entry(n, raft_propose(n->raft, w.now, RAFT_CONFIG, &c), RAFT_CONFIG, &c);
    w.changes++;
}

static void node_is_used(struct node *n)
{
    struct read *read = &n->reads[chance(READS_MAX)];

    if (raft_wants_noop(n->raft) && (w.calm || chance(w.lazy) == 0))
        remember_entry(n, raft_propose(n->raft, w.now, RAFT_NOOP, NULL), RAFT_NOOP, NULL);
    if (chance(100) < w.pace && status_of(n).last + 64 < LOG_MAX && (w.lazy == 1 || !raft_wants_noop(n->raft)))
        remember_entry(n, raft_propose(n->raft, w.now, RAFT_COMMAND, NULL), RAFT_COMMAND, NULL);
    for (uint64_t i = chance(300) == 0 ? chance(200) : 0; i > 0 && status_of(n).last + 512 < LOG_MAX; i--)
        remember_entry(n, raft_propose(n->raft, w.now, RAFT_COMMAND, NULL), RAFT_COMMAND, NULL);
    if (!w.calm && chance(w.churn) == 0)
        node_changes_members(n);
    if (!w.calm && chance(500) == 0)
        raft_transfer(n->raft, w.now, chance(2) == 0 ? 0 : 1 + chance(NODES));
    if (read->ticket == 0 && chance(10) == 0) {
        read->ticket = raft_read(n->raft, w.now);
        read->at_least = w.commit;
    }
}

static void node_polls(struct node *n)
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        struct read *read = &n->reads[i];
        raft_index index = 0;

        if (read->ticket == 0)
            continue;
        switch (raft_read_poll(n->raft, read->ticket, &index)) {
        case RAFT_READ_WAIT:
            break;
        case RAFT_READ_READY:
            MUST(index >= read->at_least); /* linearizable */
            w.reads++;
            read->ticket = 0;
            break;
        case RAFT_READ_LOST:
            read->ticket = 0;
            break;
        }
    }
}

static void node_lives(struct node *n)
{
    if (n->raft == NULL) {
        if (w.now >= n->up_at)
            node_start(n);
        return;
    }
    if (!w.calm && chance(w.crash) == 0) {
        node_crash(n);
        return;
    }
    if (w.now < n->paused_until)
        return;
    if (!w.calm && chance(20) == 0)
        return; /* its threads are slow */
    if (!w.calm && chance(1000) == 0)
        n->paused_until = w.now + chance(6 * ELECTION_MS);
    if (chance(2) == 0) { /* who wakes first is a matter of luck */
        node_is_used(n);
        node_polls(n);
    }
    if (raft_tick_due(n->raft) <= w.now)
        raft_tick(n->raft, w.now);
    check_node(n);
    node_writes(n);
    check_node(n);
    node_is_used(n);
    node_applies(n);
    for (raft_id to = 1; to <= NODES; to++)
        if (to != n->id)
            node_sends(n, to);
    check_node(n);
    node_polls(n);
}

static void cut_and_heal(void)
{
    if (chance(400) != 0)
        return;
    memset(w.cut, 0, sizeof w.cut);
    if (chance(2) == 0)
        return;
    for (unsigned i = 0; i < 1 + chance(6); i++)
        w.cut[chance(NODES)][chance(NODES)] = true;
}

static void begin(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.random = seed;
    w.loss = (unsigned)(chance(2) * chance(30));
    w.twice = (unsigned)(chance(2) * chance(50));
    w.delay = (unsigned)(1 + chance(2) * chance(60));
    w.next_value = 1;
    w.pace = 1 + (unsigned)chance(30);
    w.lazy = chance(2) == 0 ? 1 : 50;
    w.churn = chance(2) == 0 ? 300 : 20;
    w.crash = chance(2) == 0 ? 3000 : 300;
    w.now = 1;
    unsigned members = 1 + (unsigned)chance(NODES);
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &w.nodes[i];

        n->id = i + 1;
        if (i < members) {
            n->map.config.config.count = members;
            for (unsigned k = 0; k < members; k++)
                n->map.config.config.members[k] = (struct raft_member){.id = k + 1, .role = RAFT_VOTER};
        }
        n->map_before = n->map;
        node_start(n);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        raft_free(w.nodes[i].raft);
        free(w.nodes[i].written);
    }
}

static void step(void)
{
    w.now += chance(3);
    deliver();
    for (unsigned i = 0; i < NODES; i++)
        node_lives(&w.nodes[i]);
}

/* After all faults have ended, something new is committed, and every voter of the last configuration applies it. */
static bool settled(raft_index goal)
{
    const struct raft_config *c = NULL;

    for (unsigned i = 0; i < NODES; i++)
        if (w.nodes[i].raft != NULL && status_of(&w.nodes[i]).role == RAFT_LEADER &&
            status_of(&w.nodes[i]).config_index <= status_of(&w.nodes[i]).commit)
            c = raft_config_latest(w.nodes[i].raft);
    if (c == NULL || w.commit <= goal)
        return false;
    for (unsigned i = 0; i < c->count; i++)
        if (w.nodes[c->members[i].id - 1].map.at.index <= goal)
            return false;
    return true;
}

static void show(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *n = &w.nodes[i];
        const struct raft_config *c;
        struct raft_status s;

        if (n->raft == NULL)
            continue;
        s = status_of(n);
        c = raft_config_latest(n->raft);
        fprintf(stderr,
                "  %" PRIu64 ": role %d term %" PRIu64 " leader %" PRIu64 " log %" PRIu64 "..%" PRIu64
                " durable %" PRIu64 " commit %" PRIu64 " applied %" PRIu64 " config %" PRIu64 ":",
                n->id, (int)s.role, s.term, s.leader, s.first, s.last, s.durable, s.commit, s.applied, s.config_index);
        for (unsigned k = 0; k < c->count; k++)
            fprintf(stderr, " %" PRIu64 "%s", c->members[k].id, c->members[k].role == RAFT_VOTER ? "" : "(learner)");
        fprintf(stderr, "\n");
    }
}

static void run(uint64_t seed, unsigned steps)
{
    raft_index goal;
    raft_time healed;

    begin(seed);
    for (unsigned i = 0; i < steps && w.commit + 256 < LOG_MAX; i++) {
        cut_and_heal();
        step();
    }
    w.calm = true;
    w.loss = 0;
    w.delay = 2;
    memset(w.cut, 0, sizeof w.cut);
    goal = w.commit;
    healed = w.now;
    while (!settled(goal)) {
        step();
        if (w.now >= healed + 30 * ELECTION_MS)
            show();
        MUST(w.now < healed + 30 * ELECTION_MS);
    }
    end();
}

START_TEST(promises_hold_through_all_faults)
{
    uint64_t commits = 0, elections = 0, reads = 0, installs = 0, changes = 0;

    for (uint64_t seed = 1; seed <= 150; seed++) {
        run(seed, 3000);
        commits += w.commits;
        elections += w.elections;
        reads += w.reads;
        installs += w.installs;
        changes += w.changes;
    }
    ck_assert_uint_gt(commits, 1000); /* a test in which nothing happens proves nothing */
    ck_assert_uint_gt(elections, 40);
    ck_assert_uint_gt(reads, 1000);
    ck_assert_uint_gt(installs, 5);
    ck_assert_uint_gt(changes, 20);
}
END_TEST

static int hunt(uint64_t seed, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        run(seed + i, 3000);
        if (count < 10)
            printf("seed %" PRIu64 ": %" PRIu64 " commits, %" PRIu64 " elections, %" PRIu64 " reads, %" PRIu64
                   " installs, %" PRIu64 " changes\n",
                   seed + i, w.commits, w.elections, w.reads, w.installs, w.changes);
    }
    return 0;
}

int main(int argc, char **argv)
{
#ifdef RAFT_MUTANT
    raft_mutant = getenv("RAFT_MUTANT_NUMBER") != NULL ? atoi(getenv("RAFT_MUTANT_NUMBER")) : 0;
#endif
    if (argc > 1)
        return hunt(strtoull(argv[1], NULL, 10), argc > 2 ? strtoull(argv[2], NULL, 10) : 1);

    Suite *s = suite_create("random");
    TCase *t = tcase_create("random");
    SRunner *runner = srunner_create(s);

    tcase_set_timeout(t, 60);
    tcase_add_test(t, promises_hold_through_all_faults);
    suite_add_tcase(s, t);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
