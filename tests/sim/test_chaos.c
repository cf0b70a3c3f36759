/* test_chaos.c -- seeds of make check. RAFTSIM_SEEDS=A-B runs others; raftsim is the program for more. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

#define SEEDS 2000

/* Sanitizers are slow; how much they see hardly depends on the number of seeds. */
#if defined(__SANITIZE_THREAD__)
#define SEEDS_HERE (SEEDS / 50)
#elif defined(__SANITIZE_ADDRESS__)
#define SEEDS_HERE (SEEDS / 10)
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SEEDS_HERE (SEEDS / 50)
#elif __has_feature(address_sanitizer)
#define SEEDS_HERE (SEEDS / 10)
#endif
#endif
#ifndef SEEDS_HERE
#define SEEDS_HERE SEEDS
#endif

START_TEST(random_seeds_break_nothing)
{
    const struct sim_run run = {0};
    unsigned long long first = 1;
    unsigned long long last = SEEDS_HERE;
    const char *range = getenv("RAFTSIM_SEEDS");
    uint64_t steps = 0;
    uint64_t hash = 0;

    if (range != NULL)
        ck_assert_int_eq(sscanf(range, "%llu-%llu", &first, &last), 2);
    for (unsigned long long seed = first; seed <= last; seed++)
        ck_assert_msg(sim_run_seed(&run, seed, &steps, &hash), "seed %llu fails", seed);
    printf("%llu seeds, %llu events\n", last - first + 1, (unsigned long long)steps);
}
END_TEST

/* 700788: a member without room is told to replace entries, cannot, leads, and must not send what its disk has in their place. */
START_TEST(seeds_that_broke_something_once)
{
    static const uint64_t seeds[] = {700788};
    const struct sim_run run = {0};
    uint64_t steps = 0, hash;

    for (unsigned i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        ck_assert_msg(sim_run_seed(&run, seeds[i], &steps, &hash), "seed %llu fails", (unsigned long long)seeds[i]);
}
END_TEST

/* A seed is a run: without that no failure could be looked at twice. */
START_TEST(a_seed_repeats_itself)
{
    const struct sim_run run = {0};

    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t steps = 0;
        uint64_t first = 0;
        uint64_t second = 0;

        ck_assert(sim_run_seed(&run, seed, &steps, &first));
        ck_assert(sim_run_seed(&run, seed, &steps, &second));
        ck_assert_uint_eq(first, second);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chaos");
    TCase *tests = tcase_create("chaos");
    SRunner *runner = srunner_create(suite);
    int failed = 0;

    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, random_seeds_break_nothing);
    tcase_add_test(tests, seeds_that_broke_something_once);
    tcase_add_test(tests, a_seed_repeats_itself);
    suite_add_tcase(suite, tests);
    srunner_set_fork_status(runner, CK_NOFORK); /* the report of a failed assertion needs the process */
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
