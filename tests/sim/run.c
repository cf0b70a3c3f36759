#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "sim.h"

static const struct sim_run *running;

static void report(const struct world *w)
{
    struct bytes out;
    unsigned long long seed = w->config.seed;

    bytes_init(&out, 1u << 20);
    trace_dump(w, &out);
    bytes_printf(&out, "FAILED seed=%llu step=%llu check=\"%s\": %s\nreplay: build/tests/sim/raftsim%s --seed %llu",
                 seed, (unsigned long long)w->steps, w->failed ? w->failed_check : "assertion",
                 w->failed ? w->failure : "see above", running->mutant != NULL ? "_mutant" : "", seed);
    if (running->mutant != NULL)
        bytes_printf(&out, " --mutant %s", running->mutant);
    if (running->events != 0)
        bytes_printf(&out, " --events %llu", (unsigned long long)running->events);
    bytes_append_char(&out, '\n');
    fwrite(out.data, 1, out.size, stdout);
    fflush(stdout);
    bytes_clear(&out);
}

/* An assertion of the core or the roles ends the process; first it says what led there. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    signal(SIGABRT, SIG_DFL);
    if (sim_world() != NULL)
        report(sim_world());
    _exit(1);
}

static void tell(const struct world *w)
{
    unsigned long long seed = w->config.seed;
    unsigned long long steps = w->steps;

    if (running->hash)
        printf("seed=%llu steps=%llu hash=%016llx\n", seed, steps, (unsigned long long)w->trace_hash);
    if (running->stats)
        printf("seed=%llu steps=%llu seconds=%.1f leaders=%llu committed=%llu installs=%llu ops=%zu\n", seed, steps,
               (double)w->now / 1e6, (unsigned long long)w->checker.leaders, (unsigned long long)w->checker.committed,
               (unsigned long long)w->installs, w->op_count);
}

bool sim_run_seed(const struct sim_run *run, uint64_t seed, uint64_t *steps, uint64_t *hash)
{
    struct sim_config config;
    struct world *w = NULL;
    bool good = false;

    running = run;
    signal(SIGABRT, on_abort);
    config_draw(&config, seed);
    if (run->events != 0)
        config.events = run->events;
    w = world_new(&config);
    w->verbose = run->verbose;
    world_run(w);
    good = !w->failed;
    *steps += w->steps;
    *hash = w->trace_hash;
    if (!good)
        report(w);
    tell(w);
    world_free(w);
    return good;
}
