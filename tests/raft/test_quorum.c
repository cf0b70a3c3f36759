/* test_quorum.c -- the arithmetic of majorities and of term runs, each against a second implementation that is too simple
 * to be wrong. */
#include "raft/core.h"

#include "world.h"

static uint64_t random_state = 1;

static unsigned below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(random_state >> 33) % n;
}

/* The highest of the values that more than half of them reach. */
static uint64_t dumb_quorum(unsigned count, const uint64_t *values)
{
    uint64_t best = 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned reach = 0;

        for (unsigned k = 0; k < count; k++)
            reach += values[k] >= values[i];
        if (2 * reach > count && values[i] > best)
            best = values[i];
    }
    return best;
}

START_TEST(quorum_is_that_of_the_dumb_one)
{
    for (unsigned round = 0; round < 100000; round++) {
        unsigned count = below(RAFT_MEMBERS_MAX + 1), range = 1 + below(20);
        uint64_t values[RAFT_MEMBERS_MAX], expected;

        for (unsigned i = 0; i < count; i++)
            values[i] = below(range);
        expected = dumb_quorum(count, values);

        ck_assert_uint_eq(quorum_value(count, values), expected);
    }
}
END_TEST

START_TEST(quorum_of_nobody_is_nothing)
{
    ck_assert_uint_eq(quorum_value(0, NULL), 0);
}
END_TEST

/* A leader's commit index, for random members, roles and acknowledgements, against counting by hand. */
START_TEST(commit_is_that_of_counting_by_hand)
{
    for (unsigned round = 0; round < 500; round++) {
        unsigned voters = 1 + below(7), learners = below(4);
        struct raft *r = a_leader(.voters = voters, .learners = learners, .term = 1);
        uint64_t match[RAFT_MEMBERS_MAX] = {0};

        for (unsigned i = 0; i < 20; i++)
            propose(r);
        settle(r);
        match[0] = 20;
        for (unsigned i = 0; i < 10; i++) {
            unsigned who = 1 + below(voters + learners);
            raft_index index = 1 + below(20);

            if (who == 1)
                continue;
            acked(r, who, index);
            match[who - 1] = most(match[who - 1], index);
            ck_assert_uint_eq(commit_of(r), dumb_quorum(voters, match));
        }
        raft_free(r);
    }
}
END_TEST

/* Runs of terms against an array with one term for each entry. */
START_TEST(terms_are_those_of_an_array)
{
    enum { LENGTH = 300 };
    static struct terms t;

    for (unsigned round = 0; round < 20; round++) {
        raft_term array[LENGTH + 1] = {0};
        raft_index base = 0, last = 0;

        terms_reset(&t, (struct raft_pos){.index = 0});
        for (unsigned step = 0; step < 400; step++) {
            switch (below(8)) {
            case 0:
                if (last > base) {
                    last = base + below((unsigned)(last - base));
                    terms_truncate(&t, last + 1);
                }
                break;
            case 1:
                if (below(5) == 0 && last > base) {
                    base += below((unsigned)(last - base) + 1);
                    terms_forget(&t, base);
                }
                break;
            default:
                if (last < LENGTH) {
                    array[last + 1] = array[last] + (last == 0 || below(3) == 0);
                    last++;
                    terms_append(&t, array[last]);
                }
                break;
            }
            ck_assert_uint_eq(t.last, last);
            for (raft_index i = 0; i <= LENGTH; i++)
                if (terms_at(&t, i) != (i >= base && i <= last ? array[i] : 0))
                    ck_abort_msg("the term at %u is wrong", (unsigned)i);
            raft_index limit = base + below((unsigned)(last - base) + 3), found;
            raft_term term = array[base] + below(20);
            for (found = least(limit, last); found > base && array[found] > term;)
                found--;
            ck_assert_uint_eq(terms_find(&t, limit, term), found);
            if (array[base] > 0)
                ck_assert_uint_lt(terms_find(&t, limit, array[base] - 1), base);
        }
    }
}
END_TEST

/* More runs than there is room for: the oldest is forgotten when it may be, and the rest stays right. */
START_TEST(oldest_run_is_forgotten)
{
    static struct terms t;

    terms_reset(&t, (struct raft_pos){.index = 0});
    for (raft_term term = 1; term <= 3 * TERMS_MAX; term++) {
        if (terms_full(&t, term))
            terms_forget_run(&t);
        terms_append(&t, term);
        terms_append(&t, term);
    }

    ck_assert_uint_eq(t.last, 6 * TERMS_MAX);
    ck_assert_uint_eq(t.base.index, 4 * TERMS_MAX);
    ck_assert_uint_eq(t.base.term, 2 * TERMS_MAX);
    for (raft_index i = t.base.index; i <= t.last; i++)
        ck_assert_uint_eq(terms_at(&t, i), (i + 1) / 2);
}
END_TEST

RUN("quorum", quorum_is_that_of_the_dumb_one, quorum_of_nobody_is_nothing, commit_is_that_of_counting_by_hand,
    terms_are_those_of_an_array, oldest_run_is_forgotten)
