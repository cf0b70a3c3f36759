/* auditor.c -- the role that looks at all records of the map, slowly and again and again, for what a disk has made of them; and
 * that notes on the disk that the map is not to be trusted (integrity.h).
 *
 * SCRUB_RECORDS records every SCRUB_MS: a map of ten million keys takes some three hours, and nobody notices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/logger.h"
#include "base/text.h"
#include "server/role.h"
#include "server/shared.h"

#define SCRUB_RECORDS 512u
#define SCRUB_BYTES   (1u << 20) /* of one look, or one value more */
#define PASS_FACTOR   120u       /* a whole pass is followed by a rest of so many times SCRUB_MS */
#define KEY_SHOWN     64u        /* bytes of a key, for the log */

enum auditor_step {
    AUDITOR_NOTHING,
    AUDITOR_NOTE,  /* that the map is doubted */
    AUDITOR_SCRUB, /* a few records */
    AUDITOR_TRUST  /* nobody could send another map, but nothing is wrong with ours any more */
};

struct auditor_job {
    struct kv_store *kv;
    enum auditor_step step;
    char reason[KV_REASON_MAX];
    struct bytes after; /* the key looked at last */
    unsigned looked;
    bool damaged; /* a record in this pass was */
    int err;
};

static void *auditor_job_new(const struct role_context *c, unsigned which)
{
    struct auditor_job *j = xcalloc(1, sizeof *j);

    (void)which;
    j->kv = c->kv;
    bytes_init(&j->after, COMMAND_KEY_MAX);
    return j;
}

static void auditor_job_free(void *job)
{
    struct auditor_job *j = job;

    bytes_clear(&j->after);
    free(j);
}

static raft_time auditor_due(const struct shared *s, unsigned which)
{
    const struct integrity *g = &s->integrity;

    (void)which;
    if (s->failure != 0 || s->stopping)
        return RAFT_NEVER;
    if (g->doubted && !g->noted)
        return 0;
    return integrity_stands_still(s) ? RAFT_NEVER : g->scrub_at;
}

static void auditor_take(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct integrity *g = &s->integrity;
    struct auditor_job *j = job;

    (void)which;
    j->step = AUDITOR_NOTHING;
    if (g->doubted && !g->noted) {
        memcpy(j->reason, g->reason, sizeof j->reason);
        j->step = AUDITOR_NOTE;
    } else if (!integrity_stands_still(s) && g->scrub_at <= now) {
        j->step = g->whole && g->doubted ? AUDITOR_TRUST : AUDITOR_SCRUB;
    }
}

static void auditor_work(void *job)
{
    struct auditor_job *j = job;

    j->err = 0;
    switch (j->step) {
    case AUDITOR_NOTHING:
        break;
    case AUDITOR_NOTE:
        j->err = kv_store_doubt(j->kv, j->reason);
        break;
    case AUDITOR_SCRUB:
        j->err = kv_store_scrub(j->kv, &j->after, SCRUB_RECORDS, SCRUB_BYTES, &j->looked);
        break;
    case AUDITOR_TRUST:
        j->err = kv_store_trust(j->kv);
        break;
    }
}

static void auditor_found_damage(struct shared *s, struct auditor_job *j)
{
    char reason[KV_REASON_MAX];
    struct bytes key;

    j->damaged = true;
    s->integrity.damaged++;
    bytes_init(&key, 4 * KEY_SHOWN);
    text_percent_encode(&key, view_of(j->after.data, j->after.size < KEY_SHOWN ? j->after.size : KEY_SHOWN));
    snprintf(reason, sizeof reason, "a record is damaged: key=%.*s", (int)key.size, (const char *)key.data);
    bytes_clear(&key);
    integrity_doubt(s, reason);
}

static void auditor_scrubbed(struct shared *s, raft_time now, struct auditor_job *j)
{
    struct integrity *g = &s->integrity;

    g->scrub_at = now + s->scrub_ms;
    g->scrubbed += j->looked;
    if (j->err == ERR_CORRUPT)
        auditor_found_damage(s, j);
    if (j->err != ERR_NOT_FOUND)
        return;
    g->passes++;
    g->whole = !j->damaged;
    g->scrub_at = now + (g->doubted && g->whole ? 0 : PASS_FACTOR * s->scrub_ms);
    j->damaged = false;
    bytes_reset(&j->after);
}

static void auditor_done(struct shared *s, raft_time now, unsigned which, void *job)
{
    struct integrity *g = &s->integrity;
    struct auditor_job *j = job;

    (void)which;
    switch (j->step) {
    case AUDITOR_NOTHING:
        break;
    case AUDITOR_NOTE:
        g->noted = true;
        g->whole = false;
        j->damaged = true; /* by now: the pass that is on says nothing */
        if (j->err != 0)
            log_warn("that the map is not to be trusted cannot be noted, and a restart would forget it: error=\"%s\"",
                     err_text(j->err));
        break;
    case AUDITOR_SCRUB:
        auditor_scrubbed(s, now, j);
        break;
    case AUDITOR_TRUST:
        g->doubted = j->err != 0;
        g->scrub_at = now + PASS_FACTOR * s->scrub_ms;
        if (j->err == 0)
            log_info("no record of the map is damaged any more");
        break;
    }
}

const struct role_ops auditor_ops = {
    .name = "auditor",
    .job_new = auditor_job_new,
    .job_free = auditor_job_free,
    .due = auditor_due,
    .take = auditor_take,
    .work = auditor_work,
    .done = auditor_done,
};
