/* checkpointer.c -- the role that moves what the log's journal has gathered to LMDB, in the background (log_store.h). */
#include <stdlib.h>

#include "base/check.h"
#include "base/logger.h"
#include "server/role.h"
#include "server/shared.h"

#define NO_SPACE_RETRY_MS 1000

struct checkpointer_job {
    struct log_store *log;
    int err;
};

static void *checkpointer_job_new(const struct role_context *c, unsigned which)
{
    struct checkpointer_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->log = c->log;
    return j;
}

static void checkpointer_job_free(void *job)
{
    free(job);
}

static raft_time checkpointer_due(const struct shared *s, unsigned which)
{
    (void)which;
    if (!s->checkpoint_wanted || s->stopping || s->failure != 0)
        return RAFT_NEVER;
    return s->retry_checkpoint_at;
}

static void checkpointer_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    (void)now;
    (void)which;
    (void)job;
    s->checkpoint_wanted = false;
}

static void checkpointer_work(void *job)
{
    struct checkpointer_job *j = job;

    j->err = log_store_checkpoint(j->log);
}

/* Without room it is tried again; as long as the journal has some, clients need not know. */
static void checkpointer_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    const struct checkpointer_job *j = job;

    (void)which;
    s->retry_checkpoint_at = 0;
    if (j->err == 0)
        return;
    if (j->err != ERR_NO_SPACE) {
        shared_fail(s, j->err, "the log cannot be written");
        return;
    }
    s->checkpoint_wanted = true;
    s->retry_checkpoint_at = now + NO_SPACE_RETRY_MS;
}

const struct role_ops checkpointer_ops = {
    .name = "checkpointer",
    .job_new = checkpointer_job_new,
    .job_free = checkpointer_job_free,
    .due = checkpointer_due,
    .take = checkpointer_take,
    .work = checkpointer_work,
    .done = checkpointer_done,
};
