/* world.h -- the smallest world in which a test can put one member of a cluster: who it is, what it has, what it hears
 * and what it says. A test reads: the world is so, this happens, that must follow.
 *
 * Terms of log entries are written as a string, a digit for each entry: .log = "1123" is four entries, the last of
 * term 3. Voters are 1 .. voters, learners the ids after them. Time stands still unless a test lets it pass. */
#ifndef TESTS_RAFT_WORLD_H
#define TESTS_RAFT_WORLD_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "raft/raft.h"

#define ELECTION  100
#define HEARTBEAT 20

#define MAYBE __attribute__((unused)) static

static raft_time now = 1000;

struct member {
    raft_id self;
    raft_term term;
    raft_id vote;
    unsigned voters, learners;
    const char *log;
    raft_index base; /* the entries of `log` up to here are gone */
    raft_index applied;
    uint64_t seed;
};

/* ---- configurations ----------------------------------------------------------------------------------------------- */

MAYBE struct raft_config config_of(unsigned voters, unsigned learners)
{
    struct raft_config c = {.count = 0};

    for (unsigned i = 0; i < voters + learners; i++)
        c.members[c.count++] = (struct raft_member){.id = i + 1, .role = i < voters ? RAFT_VOTER : RAFT_LEARNER};
    return c;
}

MAYBE struct raft_config with(struct raft_config c, raft_id id, enum raft_member_role role)
{
    for (unsigned i = 0; i < c.count; i++)
        if (c.members[i].id == id) {
            c.members[i].role = role;
            return c;
        }
    c.members[c.count++] = (struct raft_member){.id = id, .role = role};
    return c;
}

MAYBE struct raft_config without(struct raft_config c, raft_id id)
{
    for (unsigned i = 0; i < c.count; i++)
        if (c.members[i].id == id) {
            c.members[i] = c.members[--c.count];
            return c;
        }
    return c;
}

/* ---- looking ------------------------------------------------------------------------------------------------------ */

MAYBE struct raft_status status(const struct raft *r)
{
    struct raft_status s;

    raft_check(r);
    raft_status(r, &s);
    return s;
}

#define is_role(r, what)   (status(r).role == (what))
#define is_follower(r)     is_role(r, RAFT_FOLLOWER)
#define is_precandidate(r) is_role(r, RAFT_PRECANDIDATE)
#define is_candidate(r)    is_role(r, RAFT_CANDIDATE)
#define is_leader(r)       is_role(r, RAFT_LEADER)
#define term_of(r)         (status(r).term)
#define leader_of(r)       (status(r).leader)
#define last_of(r)         (status(r).last)
#define commit_of(r)       (status(r).commit)
#define durable_of(r)      (status(r).durable)

MAYBE struct raft_peer_status peer(const struct raft *r, raft_id id)
{
    struct raft_peer_status p;

    memset(&p, 0, sizeof p);
    raft_peer_status(r, now, id, &p);
    return p;
}

/* The terms of the log in order, as a string like that of struct member. */
MAYBE const char *log_of(const struct raft *r)
{
    static char text[512];
    raft_index last = last_of(r);

    for (raft_index i = status(r).first; i <= last; i++)
        text[i - status(r).first] = (char)('0' + raft_term_at(r, i));
    text[last + 1 - status(r).first] = '\0';
    return text;
}

/* ---- time and disk ------------------------------------------------------------------------------------------------ */

MAYBE void wait_ms(raft_time ms)
{
    now += ms;
}

/* Time passes until the member wants its tick, and it gets it. */
MAYBE void tick(struct raft *r)
{
    raft_time due = raft_tick_due(r);

    ck_assert_uint_ne(due, RAFT_NEVER);
    if (due > now)
        now = due;
    raft_tick(r, now);
    raft_check(r);
}

/* The disk does all that there is to do. */
MAYBE void settle(struct raft *r)
{
    struct raft_write w;

    while (raft_write_due(r) <= now) {
        raft_next_write(r, now, &w);
        raft_wrote(r, now, &w);
    }
    raft_check(r);
}

MAYBE void apply_all(struct raft *r)
{
    raft_index first, last;

    while (raft_apply_due(r) <= now) {
        raft_next_apply(r, &first, &last);
        raft_applied(r, now, last);
    }
    raft_check(r);
}

/* ---- messages ----------------------------------------------------------------------------------------------------- */

struct vote_args {
    raft_id from;
    raft_term term;
    struct raft_pos last;
    bool pre, transfer;
};
struct voted_args {
    raft_id from;
    raft_term term;
    bool pre, granted;
};
struct append_args {
    raft_id from;
    raft_term term;
    struct raft_pos prev;
    const char *terms; /* of the entries */
    raft_index commit;
    uint64_t round;
    const struct raft_config *config; /* the last entry is this configuration */
};
struct appended_args {
    raft_id from;
    raft_term term;
    bool ok;
    raft_index index;
    raft_term hint;
    uint64_t round;
    bool full;
};

MAYBE struct raft_message make_vote(struct vote_args a)
{
    struct raft_message m = {.type = RAFT_VOTE, .from = a.from, .term = a.term};

    m.vote.last = a.last;
    m.vote.pre = a.pre;
    m.vote.transfer = a.transfer;
    return m;
}

MAYBE struct raft_message make_voted(struct voted_args a)
{
    struct raft_message m = {.type = RAFT_VOTED, .from = a.from, .term = a.term};

    m.voted.pre = a.pre;
    m.voted.granted = a.granted;
    return m;
}

MAYBE struct raft_message make_append(struct append_args a)
{
    static struct raft_head heads[RAFT_APPEND_MAX];
    struct raft_message m = {.type = RAFT_APPEND, .from = a.from, .term = a.term};

    m.append.prev = a.prev;
    m.append.commit = a.commit;
    m.append.round = a.round;
    m.append.heads = heads;
    for (const char *t = a.terms; t != NULL && *t != '\0'; t++)
        heads[m.append.count++] = (struct raft_head){.term = (raft_term)(*t - '0'), .type = RAFT_COMMAND};
    if (a.config != NULL) {
        heads[m.append.count - 1].type = RAFT_CONFIG;
        heads[m.append.count - 1].config = a.config;
    }
    return m;
}

MAYBE struct raft_message make_appended(struct appended_args a)
{
    struct raft_message m = {.type = RAFT_APPENDED, .from = a.from, .term = a.term};

    m.appended.ok = a.ok;
    m.appended.index = a.index;
    m.appended.hint = a.hint;
    m.appended.round = a.round;
    m.appended.full = a.full;
    return m;
}

#define vote(...)       make_vote((struct vote_args){__VA_ARGS__})
#define voted(...)      make_voted((struct voted_args){__VA_ARGS__})
#define append(...)     make_append((struct append_args){__VA_ARGS__})
#define appended(...)   make_appended((struct appended_args){__VA_ARGS__})
#define at(where, what) ((struct raft_pos){.index = (where), .term = (what)})

MAYBE struct raft_taken receive(struct raft *r, struct raft_message m)
{
    struct raft_taken taken;

    m.to = status(r).self;
    raft_receive(r, now, &m, &taken);
    raft_check(r);
    return taken;
}

/* What the member says to `to` now; type 0: nothing. */
MAYBE struct raft_message said(struct raft *r, raft_id to)
{
    struct raft_message m;

    memset(&m, 0, sizeof m);
    if (raft_send_due(r, to) > now)
        return m;
    raft_next_message(r, now, to, &m);
    ck_assert(raft_sending(r, now, &m, 0));
    raft_check(r);
    return m;
}

/* Lets it say all that it has to say to `to`; the last message. */
MAYBE struct raft_message said_last(struct raft *r, raft_id to)
{
    struct raft_message m, last;

    memset(&last, 0, sizeof last);
    for (unsigned i = 0; i < 200; i++) {
        m = said(r, to);
        if (m.type == 0)
            return last;
        last = m;
    }
    ck_abort_msg("it never ends to speak");
    return last;
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

MAYBE struct raft *make_follower(struct member w)
{
    unsigned entries = w.log == NULL ? 0 : (unsigned)strlen(w.log);
    struct raft_config c = config_of(w.voters, w.learners);
    struct raft_pos base = {.index = w.base, .term = w.base == 0 ? 0 : (raft_term)(w.log[w.base - 1] - '0')};
    struct raft *r = raft_new(w.self == 0 ? 1 : w.self, w.seed, ELECTION, HEARTBEAT);

    raft_restore(r, (struct raft_hard_state){.term = w.term, .vote = w.vote}, base, &c, 0);
    for (unsigned i = (unsigned)w.base; i < entries; i++)
        if (i == w.base || w.log[i] != w.log[i - 1])
            raft_restore_run(r, at(i + 1, (raft_term)(w.log[i] - '0')));
    raft_start(r, now, entries, w.applied > w.base ? w.applied : w.base);
    raft_check(r);
    return r;
}

/* It has heard no leader and holds an election in `term`, its own vote on disk. */
MAYBE struct raft *make_candidate(struct member w)
{
    struct raft *r;

    w.term--;
    r = make_follower(w);
    tick(r);
    for (raft_id id = 1; id <= w.voters && is_precandidate(r); id++)
        if (id != status(r).self)
            receive(r, voted(.from = id, .term = w.term + 1, .pre = true, .granted = true));
    settle(r);
    return r;
}

/* It has won that election; nothing is said or proposed yet. */
MAYBE struct raft *make_leader(struct member w)
{
    struct raft *r = make_candidate(w);

    for (raft_id id = 1; id <= w.voters && !is_leader(r); id++)
        if (id != status(r).self)
            receive(r, voted(.from = id, .term = w.term, .granted = true));
    ck_assert(is_leader(r));
    return r;
}

#define a_follower(...)  make_follower((struct member){__VA_ARGS__})
#define a_candidate(...) make_candidate((struct member){__VA_ARGS__})
#define a_leader(...)    make_leader((struct member){__VA_ARGS__})

MAYBE raft_index propose(struct raft *r)
{
    return raft_propose(r, now, RAFT_COMMAND, NULL);
}

/* Peer `from` says that it has all up to `index` on disk. */
MAYBE void acked(struct raft *r, raft_id from, raft_index index)
{
    receive(r, appended(.from = from, .term = term_of(r), .ok = true, .index = index));
}

/* A leader whose first entry is committed, and which has told everybody. */
MAYBE struct raft *make_established_leader(struct member w)
{
    struct raft *r = make_leader(w);

    raft_propose(r, now, RAFT_NOOP, NULL);
    settle(r);
    for (raft_id id = 1; id <= w.voters + w.learners; id++) {
        if (id == status(r).self)
            continue;
        said(r, id);
        acked(r, id, last_of(r));
    }
    ck_assert_uint_eq(commit_of(r), last_of(r));
    wait_ms(3);
    for (raft_id id = 1; id <= w.voters + w.learners; id++)
        if (id != status(r).self)
            said_last(r, id);
    apply_all(r);
    return r;
}

#define an_established_leader(...) make_established_leader((struct member){__VA_ARGS__})

/* ---- running ------------------------------------------------------------------------------------------------------ */

MAYBE int run_tests(const char *name, const TTest *const *tests, unsigned count)
{
    Suite *s = suite_create(name);
    TCase *t = tcase_create(name);
    SRunner *runner = srunner_create(s);
    int failed;

    for (unsigned i = 0; i < count; i++)
        tcase_add_test(t, tests[i]);
    suite_add_tcase(s, t);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define RUN(name, ...)                                                                                                 \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        const TTest *const tests[] = {__VA_ARGS__};                                                                    \
        return run_tests(name, tests, sizeof tests / sizeof tests[0]);                                                 \
    }

#endif
