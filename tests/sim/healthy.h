/* healthy.h -- a small world where all is well, for tests that tell what goes wrong themselves. */
#ifndef SIM_HEALTHY_H
#define SIM_HEALTHY_H

#include <check.h>

#include "sim.h"

#define ELECTION_MS 150u

/* Some clients at work on healthy machines; what goes wrong is the test's business. */
static struct world *a_world(unsigned voters, uint64_t seed)
{
    struct sim_config config = {
        .seed = seed,
        .voters = voters,
        .election_ms = ELECTION_MS,
        .heartbeat_ms = 30,
        .delay_min = 100,
        .delay_max = 1000,
        .stream = true,
        .sync_min = 100,
        .sync_max = 2000,
        .hop_max = 100,
        .instant = 900,
        .clients = 4,
        .keys = 4,
        .think_max = 20000,
        .patience = 2000000,
        .batch = 1,
        .reads = 300,
    };
    struct world *w = world_new(&config);

    world_run_for(w, 2000000);
    ck_assert_msg(!w->failed, "%s", w->failure);
    ck_assert_ptr_nonnull(machine_leader(w));
    return w;
}

static void run_ms(struct world *w, uint64_t ms)
{
    world_run_for(w, ms * 1000);
    ck_assert_msg(!w->failed, "%s: %s", w->failed_check, w->failure);
}

#endif
