/* raftsim.c -- runs seeds: raftsim --seed N [--verbose], --seeds A-B, --events N, --mutant NAME, --trace-hash, --stats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "raft/mutants.h"
#include "run.h"
#include "server/mutants.h"

#ifdef RAFT_MUTANT
int raft_mutant;
int server_mutant;
#endif

struct arguments {
    uint64_t first, last;
    struct sim_run run;
};

static int usage(void)
{
    fprintf(stderr, "usage: raftsim [--seed N | --seeds A-B] [--events N] [--verbose] [--trace-hash] [--stats]"
                    " [--mutant NAME | --mutants]\n");
    return 64;
}

static bool choose_mutant(const char *name)
{
#ifdef RAFT_MUTANT
#define MUTANT_CHOICE(id, text)                                                                                        \
    if (strcmp(name, #id) == 0)                                                                                        \
        raft_mutant = RAFT_MUTANT_##id;
    RAFT_MUTANTS(MUTANT_CHOICE)
#undef MUTANT_CHOICE
#define MUTANT_CHOICE(id, text)                                                                                        \
    if (strcmp(name, #id) == 0)                                                                                        \
        server_mutant = SERVER_MUTANT_##id;
    SERVER_MUTANTS(MUTANT_CHOICE)
#undef MUTANT_CHOICE
    return raft_mutant != 0 || server_mutant != 0;
#else
    (void)name;
    return false;
#endif
}

static void list_mutants(void)
{
#define MUTANT_LINE(id, text) printf("%s\t%s\n", #id, text);
    RAFT_MUTANTS(MUTANT_LINE)
    SERVER_MUTANTS(MUTANT_LINE)
#undef MUTANT_LINE
}

static bool parse_range(const char *text, struct arguments *a)
{
    const char *dash = strchr(text, '-');
    char first[24];

    if (dash == NULL)
        return text_u64(text, UINT64_MAX, &a->first) == 0 && text_u64(text, UINT64_MAX, &a->last) == 0;
    snprintf(first, sizeof first, "%.*s", (int)(dash - text), text);
    return text_u64(first, UINT64_MAX, &a->first) == 0 && text_u64(dash + 1, UINT64_MAX, &a->last) == 0;
}

static bool parse(int count, char **words, struct arguments *a)
{
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? words[i + 1] : "";

        if (strcmp(words[i], "--verbose") == 0)
            a->run.verbose = true;
        else if (strcmp(words[i], "--trace-hash") == 0)
            a->run.hash = true;
        else if (strcmp(words[i], "--stats") == 0)
            a->run.stats = true;
        else if ((strcmp(words[i], "--seed") == 0 || strcmp(words[i], "--seeds") == 0) && parse_range(value, a))
            i++;
        else if (strcmp(words[i], "--events") == 0 && text_u64(value, UINT64_MAX, &a->run.events) == 0)
            i++;
        else if (strcmp(words[i], "--mutant") == 0 && choose_mutant(value)) {
            a->run.mutant = value;
            i++;
        } else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct arguments a = {.first = 1, .last = 1};
    struct timespec begin, end;
    uint64_t steps = 0;
    uint64_t hash = 0;
    double seconds = 0;
    bool good = true;

    if (argc == 2 && strcmp(argv[1], "--mutants") == 0) {
        list_mutants();
        return 0;
    }
    if (!parse(argc, argv, &a))
        return usage();
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint64_t seed = a.first; seed <= a.last && good; seed++)
        good = sim_run_seed(&a.run, seed, &steps, &hash);
    clock_gettime(CLOCK_MONOTONIC, &end);
    seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    if (good)
        printf("%llu seeds, %llu events, %.0f events/s\n", (unsigned long long)(a.last - a.first + 1),
               (unsigned long long)steps, (double)steps / seconds);
    return good ? 0 : 1;
}
