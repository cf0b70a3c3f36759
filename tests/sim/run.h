/* run.h -- one seed from beginning to end, with a report where it fails: for raftsim.c and test_chaos.c. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

struct sim_run {
    uint64_t events;    /* of chaos; 0: as the seed says */
    const char *mutant; /* for the replay line; NULL: none */
    bool verbose;       /* tell every event */
    bool hash, stats;   /* a line for each seed */
};

/* True if nothing was wrong. An assertion that fails within ends the process with status 1, after the same report. */
bool sim_run_seed(const struct sim_run *run, uint64_t seed, uint64_t *steps, uint64_t *hash);

#endif
