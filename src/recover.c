#include "recover.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "store/datadir.h"
#include "store/kv_store.h"
#include "store/log_store.h"
#include "subcommand.h"

#define ENV_MAX_SIZE ((uint64_t)256 << 30) /* address space, for either store; what is larger already opens, too */
#define READERS      8

/* What is found, and what is made of it. */
struct recovery {
    struct datadir *datadir;
    struct log_store *log;
    struct kv_store *kv;
    struct log_state state;
    struct kv_position position;
    struct members members; /* of the latest configuration */
    raft_index config_index;
    uint64_t keys;
};

/* ---- looking ---- */

static int read_members(struct recovery *r, struct why *why)
{
    const struct log_state *s = &r->state;
    raft_index latest = s->config_count > 0 ? s->configs[s->config_count - 1] : 0;
    struct entry *e = NULL;
    unsigned count = 0;
    int err = 0;

    r->members = r->position.members;
    r->config_index = r->position.config_index;
    if (latest <= r->config_index)
        return 0;
    err = log_store_read(r->log, latest, latest, UINT64_MAX, 1, &e, &count);
    if (err == 0)
        err = members_decode(entry_payload(e), &r->members);
    entry_unref(e);
    r->config_index = latest;
    return err == 0
               ? 0
               : why_set(why, err, "the configuration entry %" PRIu64 " cannot be read: %s", latest, err_text(err));
}

/* A directory that is not there is not made, unlike at a start. */
static int check_path(const char *path, struct why *why)
{
    char file[4096];

    if (path_join(file, sizeof file, path, "raftd") != 0)
        return why_set(why, ERR_TOO_LONG, "the name of the data directory is too long");
    if (access(file, F_OK) != 0)
        return why_set(why, ERR_NOT_FOUND, "%s is no data directory of raftd: it has no file \"raftd\"", path);
    return 0;
}

static int open_all(const char *path, struct recovery *r, struct why *why)
{
    struct kv_stats stats = {0};
    int err = check_path(path, why);

    if (err == 0)
        err = datadir_open(path, "raftd recover", &r->datadir, why);
    if (err != 0)
        return err;
    if (datadir_identity(r->datadir)->joined == 0)
        return why_set(why, ERR_INVALID, "%s is no member of a cluster yet: there is nothing to recover", path);
    err = datadir_check_log(r->datadir, why);
    if (err == 0)
        err = log_store_open(datadir_log_path(r->datadir), ENV_MAX_SIZE, &r->log, why);
    if (err == 0)
        err = kv_store_open(datadir_kv_path(r->datadir), ENV_MAX_SIZE, READERS, &r->kv, why);
    if (err != 0)
        return err;
    err = log_store_state(r->log, &r->state);
    if (err == 0)
        err = kv_store_position(r->kv, &r->position);
    if (err == 0)
        err = kv_store_stats(r->kv, &stats);
    if (err != 0)
        return why_set(why, err, "the stores cannot be read: %s", err_text(err));
    r->keys = stats.keys;
    return read_members(r, why);
}

static void close_all(struct recovery *r)
{
    kv_store_close(r->kv);
    log_store_close(r->log);
    datadir_close(r->datadir);
}

static raft_term last_term(const struct log_state *s)
{
    return s->run_count > 0 ? s->runs[s->run_count - 1].term : s->base.term;
}

static const char *name_of(struct recovery *r, raft_id id)
{
    const struct member *m = members_by_id(&r->members, id);

    return id == 0 ? "nobody" : m != NULL ? m->name : "no member";
}

static void show(struct recovery *r)
{
    const struct identity *i = datadir_identity(r->datadir);
    const struct log_state *s = &r->state;

    printf("member         %s, id %" PRIu64 "%s\n", i->name, i->id, i->removed ? ", removed from its cluster" : "");
    printf("cluster        %" PRIu64 ", member since entry %" PRIu64 "\n", i->cluster, i->joined);
    printf("term           %" PRIu64 ", voted for %s\n", s->hard.term, name_of(r, s->hard.vote));
    if (s->last > s->base.index)
        printf("log            entries %" PRIu64 " to %" PRIu64 ", the last of term %" PRIu64 "\n", s->base.index + 1,
               s->last, last_term(s));
    else
        printf("log            no entries after %" PRIu64 "\n", s->base.index);
    printf("map            %" PRIu64 " keys, as of entry %" PRIu64 " of term %" PRIu64 "\n", r->keys,
           r->position.applied.index, r->position.applied.term);
    printf("configuration  of entry %" PRIu64 ":\n", r->config_index);
    for (unsigned k = 0; k < r->members.count; k++) {
        const struct member *m = &r->members.list[k];

        printf("  %-12s id %" PRIu64 ", %s, clients %s, members %s\n", m->name, m->id,
               m->role == RAFT_VOTER ? "voter" : "learner", m->client, m->peer);
    }
}

/* What the log has beyond the map was committed or not: who knew is gone. */
static void say_doubt(const struct recovery *r)
{
    raft_index last = r->state.last, applied = r->position.applied.index;

    if (last > applied)
        printf("Entries %" PRIu64 " to %" PRIu64
               " are in the log, but this member does not know whether they were committed. "
               "They are kept, and a new cluster applies them.\n",
               applied + 1, last);
    printf("What other members have acknowledged after entry %" PRIu64 " of term %" PRIu64
           " is not here and would be lost.\n",
           last, last_term(&r->state));
}

/* ---- a new cluster ---- */

static int append_config(struct recovery *r, const struct members *members, struct why *why)
{
    const struct log_state *s = &r->state;
    raft_term term = (s->hard.term > last_term(s) ? s->hard.term : last_term(s)) + 1;
    struct entry *e = members_entry(members);
    struct log_write w = {
        .hard = {.term = term},
        .first = s->last + 1,
        .last = s->last + 1,
        .keep_from = s->base.index + 1,
        .entries = &e,
    };
    int err = 0;

    entry_stamp(e, (struct raft_pos){s->last + 1, term});
    err = log_store_write(r->log, &w);
    entry_unref(e);
    return err == 0 ? 0 : why_set(why, err, "the log cannot be written: %s", err_text(err));
}

/* The identity goes first: a member of a new cluster with the old configuration finds nobody to talk to, and this may be
 * done again; one of the old cluster that alone decides would be a second leader in it. */
static int force_new_cluster(struct recovery *r, struct why *why)
{
    struct identity identity = *datadir_identity(r->datadir);
    struct members next = {.count = 1};
    const struct member *self = members_by_id(&r->members, identity.id);
    char copy[4096];
    int err = 0;

    if (r->position.applied.index > r->state.last)
        return why_set(why, ERR_INVALID,
                       "the map is ahead of the log, at entry %" PRIu64
                       ": it was just received from another member; start "
                       "the server once, stop it, and try again",
                       r->position.applied.index);
    next.list[0] = (struct member){.id = identity.id, .client = "localhost:4001", .peer = "localhost:14001"};
    if (self != NULL) /* else its next start says where it is */
        next.list[0] = *self;
    next.list[0].role = RAFT_VOTER;
    next.list[0].stays_learner = false;
    next.list[0].replaces = 0;
    memcpy(next.list[0].name, identity.name, sizeof next.list[0].name);
    err = datadir_keep_copy(r->datadir, copy, sizeof copy, why);
    if (err != 0)
        return err;
    identity.cluster = (clock_random() >> 11) | 1;
    identity.joined = r->state.last + 1;
    identity.removed = false;
    err = datadir_save(r->datadir, &identity, why);
    if (err == 0)
        err = append_config(r, &next, why);
    if (err != 0)
        return err;
    printf("\n%s is the only member of the new cluster %" PRIu64 " by entry %" PRIu64
           ". What was changed is kept in %s.\n",
           identity.name, identity.cluster, identity.joined, copy);
    printf("Start it as before. Of the others none belongs to this cluster: give them an empty DATADIR and -join.\n");
    return 0;
}

int recover_main(int argc, char **argv)
{
    bool forced = false;
    const struct suboption options[] = {
        {"force-new-cluster", NULL, "make this member the only one of a new cluster", &forced, NULL},
    };
    const struct subcommand command = {.name = "recover",
                                       .usage = "[options] DATADIR",
                                       .about = "Shows what a stopped server's DATADIR holds.",
                                       .options = options,
                                       .option_count = sizeof options / sizeof options[0],
                                       .wanted = {"DATADIR"}};
    struct recovery *r = NULL;
    const char *datadir = NULL;
    struct why why = {""};
    enum subcommand_ending ending = subcommand_parse(&command, argc, argv, &datadir);
    int err = 0;

    if (ending != SUBCOMMAND_GO_ON)
        return ending == SUBCOMMAND_HELPED ? EXIT_SUCCESS : SUBCOMMAND_USAGE;
    r = xcalloc(1, sizeof *r);
    err = open_all(datadir, r, &why);
    if (err == 0) {
        show(r);
        printf("\n");
        say_doubt(r);
    }
    if (err == 0 && forced)
        err = force_new_cluster(r, &why);
    else if (err == 0)
        printf("Only if a majority of these members is gone for good: raftd recover -force-new-cluster %s\n", datadir);
    if (err != 0)
        fprintf(stderr, "raftd: %s\n", why.text);
    close_all(r);
    free(r);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
