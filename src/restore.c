#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "http/pairs.h"
#include "store/datadir.h"
#include "store/dump_reader.h"
#include "store/dump_writer.h"
#include "store/kv_store.h"
#include "store/log_store.h"
#include "subcommand.h"

#define ENV_MAX_SIZE   ((uint64_t)256 << 30) /* address space, for either store; what is larger already opens, too */
#define READERS        8
#define PIECE_BYTES    (64u << 10)
#define POSITION_LIMIT (ENTRY_POSITION_LIMIT / 2) /* a backup beyond is none that a server made */

struct restoration {
    const char *from; /* for messages */
    int fd;
    uint8_t piece[PIECE_BYTES]; /* what was read and not yet used */
    size_t size;
    struct datadir *datadir;
    struct dump_file *dump;
    struct dump_header header;   /* of the dump */
    struct kv_position position; /* of the new map */
    struct identity identity;
    uint64_t keys;
};

/* ---- the backup ---- */

/* The next bytes of the file into `piece`; none at its end. */
static int read_piece(struct restoration *r, struct why *why)
{
    ssize_t n = 0;

    do
        n = read(r->fd, r->piece, sizeof r->piece);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return why_set(why, err_from_errno(errno), "cannot read %s: %s", r->from, strerror(errno));
    r->size = (size_t)n;
    return 0;
}

static int open_source(struct restoration *r, const char *file, struct why *why)
{
    bool is_stdin = strcmp(file, "-") == 0;

    r->from = is_stdin ? "the standard input" : file;
    r->fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return why_set(why, err_from_errno(errno), "cannot open %s: %s", file, strerror(errno));
    if (read_piece(r, why) != 0)
        return ERR_IO;
    return r->size > 0 ? 0 : why_set(why, ERR_FORMAT, "%s is empty", r->from);
}

static int why_full(const struct restoration *r, int err, struct why *why)
{
    (void)r;
    return why_set(why, err, "cannot write the backup into the data directory: %s", err_text(err));
}

/* A dump that comes through a pipe, byte by byte. */
static int spool(struct restoration *r, struct why *why)
{
    uint64_t offset = 0;
    int err = 0;

    while (err == 0 && r->size > 0) {
        err = dump_file_write(r->dump, offset, view_of(r->piece, r->size));
        if (err != 0)
            return why_full(r, err, why);
        offset += r->size;
        err = read_piece(r, why);
    }
    return err;
}

/* One line of a backup in lines becomes a record of a dump. */
static int take_item(struct dump_writer *w, enum pairs_step step, const struct pairs_item *item, struct restoration *r,
                     struct why *why)
{
    struct dump_record record = {.key = item->key, .value = item->value, .index = item->etag};
    int err = 0;

    if (step == PAIRS_HEADER) {
        r->header.cluster = item->cluster;
        r->header.position = (struct raft_pos){.index = item->index != 0 ? item->index : 1, .term = item->term};
        if (item->index >= POSITION_LIMIT || item->term >= POSITION_LIMIT)
            return why_set(why, ERR_FORMAT, "%s: line 1: no server has such an index or term", r->from);
        dump_writer_header(w, &r->header);
    } else if (step == PAIRS_PAIR) {
        if (record.index == 0 || record.index > r->header.position.index)
            record.index = r->header.position.index;
        err = dump_writer_record(w, &record);
    }
    return err == 0 ? 0 : why_full(r, err, why);
}

static int feed_lines(struct restoration *r, struct pairs_reader *in, struct why *why)
{
    int err = r->size > 0 ? 0 : read_piece(r, why);

    if (err == 0 && r->size == 0)
        err = why_set(why, ERR_FORMAT, "%s ends before its last line, {\"count\":..}", r->from);
    pairs_reader_feed(in, view_of(r->piece, r->size));
    r->size = 0;
    return err;
}

static int convert(struct restoration *r, struct why *why)
{
    struct dump_writer *w = dump_writer_new(r->dump, NULL);
    struct pairs_reader *in = pairs_reader_new();
    enum pairs_step step = PAIRS_WANTS_MORE;
    struct pairs_item item;
    struct dump_id id;
    int err = 0;

    while (err == 0 && step != PAIRS_END) {
        err = pairs_reader_next(in, &step, &item);
        if (err != 0)
            why_set(why, err, "%s: %s", r->from, pairs_reader_fault(in));
        else if (step == PAIRS_WANTS_MORE)
            err = feed_lines(r, in, why);
        else
            err = take_item(w, step, &item, r, why);
    }
    while (err == 0 && step != PAIRS_WANTS_MORE) { /* what may follow the last line: nothing */
        if (r->size == 0)
            err = read_piece(r, why);
        pairs_reader_feed(in, view_of(r->piece, err == 0 ? r->size : 0));
        r->size = 0;
        if (err == 0 && pairs_reader_next(in, &step, &item) != 0)
            err = why_set(why, ERR_FORMAT, "%s: %s", r->from, pairs_reader_fault(in));
    }
    if (err == 0) {
        err = dump_writer_end(w, &id);
        if (err != 0)
            why_full(r, err, why);
    }
    pairs_reader_free(in);
    dump_writer_free(w);
    return err;
}

/* Whichever form it has and wherever it comes from, afterwards it is a dump in a file. */
static int take_backup(struct restoration *r, const char *file, struct why *why)
{
    bool lines = r->piece[0] == '{';
    int err = 0;

    if (!lines && r->fd != STDIN_FILENO) {
        r->dump = dump_file_new(file);
        err = dump_file_open(r->dump, NULL);
        return err == 0 ? 0 : why_set(why, err, "cannot open %s: %s", file, err_text(err));
    }
    r->dump = dump_file_new(datadir_scratch_path(r->datadir));
    err = dump_file_create_nameless(r->dump);
    if (err != 0)
        return why_full(r, err, why);
    return lines ? convert(r, why) : spool(r, why);
}

/* All of it is looked at before anything is made of it: what it says of itself, and how many keys it has. */
static int look_through(struct restoration *r, struct why *why)
{
    struct dump_reader *in = dump_reader_new(r->dump);
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    int err = 0;

    while (err == 0 && step != DUMP_END) {
        err = dump_reader_next(in, &step, &record);
        r->keys += err == 0 && step == DUMP_RECORD;
    }
    if (err != 0)
        why_set(why, err, "%s is no whole backup: at byte %" PRIu64 ", %s", r->from, dump_reader_offset(in),
                dump_reader_fault(in));
    else
        r->header = *dump_reader_header(in);
    if (err == 0 && (r->header.position.index >= POSITION_LIMIT || r->header.position.term >= POSITION_LIMIT))
        err = why_set(why, ERR_FORMAT, "%s: no server has such an index or term", r->from);
    dump_reader_free(in);
    return err;
}

/* ---- the new cluster ---- */

static void be_born(struct restoration *r, const char *name)
{
    struct members *members = &r->position.members;
    struct member *self = &members->list[0];

    r->identity.cluster = (clock_random() >> 11) | 1; /* below 2^53, so that every JSON reader can hold it */
    r->identity.id = (clock_random() >> 11) | 1;
    if (name != NULL)
        snprintf(r->identity.name, sizeof r->identity.name, "%s", name);
    else
        member_name_make_up(clock_random(), r->identity.name);
    r->position.applied = (struct raft_pos){.index = r->header.position.index + 1, .term = r->header.position.term + 1};
    r->position.config_index = r->position.applied.index;
    r->identity.joined = r->position.applied.index;
    members->count = 1;
    /* Its first start says where it is. */
    *self = (struct member){
        .id = r->identity.id, .role = RAFT_VOTER, .client = "localhost:4001", .peer = "localhost:14001"};
    memcpy(self->name, r->identity.name, sizeof self->name);
    self->created_ns = clock_wall_ns();
}

static int write_map(struct restoration *r, struct why *why)
{
    struct kv_store *kv = NULL;
    int err = kv_store_open(datadir_kv_path(r->datadir), ENV_MAX_SIZE, READERS, &kv, why);

    if (err == 0)
        err = kv_store_restore(kv, r->dump, &r->position, why);
    kv_store_close(kv);
    return err;
}

static int write_log(struct restoration *r, struct why *why)
{
    const struct raft_pos at = r->position.applied;
    const struct log_write w = {.hard = {.term = at.term},
                                .begin_anew = true,
                                .base = at,
                                .first = at.index + 1,
                                .last = at.index,
                                .keep_from = at.index + 1};
    struct log_store *log = NULL;
    int err = log_store_open(datadir_log_path(r->datadir), ENV_MAX_SIZE, &log, why);

    if (err == 0) {
        err = log_store_write(log, &w);
        if (err != 0)
            why_set(why, err, "the log cannot be written: %s", err_text(err));
    }
    log_store_close(log);
    return err;
}

static int restore(struct restoration *r, const char *file, const char *path, const char *name, struct why *why)
{
    int err = open_source(r, file, why);

    if (err == 0)
        err = datadir_create(path, "raftd restore", &r->datadir, why);
    if (err == 0)
        err = take_backup(r, file, why);
    if (err == 0)
        err = look_through(r, why);
    if (err != 0)
        return err;
    be_born(r, name);
    err = write_map(r, why);
    if (err == 0)
        err = write_log(r, why);
    return err == 0 ? datadir_save(r->datadir, &r->identity, why) : err;
}

int restore_main(int argc, char **argv)
{
    const char *name = NULL, *arguments[2] = {NULL, NULL};
    const struct suboption options[] = {
        {"name", "NAME", "name of the one member (made up)", NULL, &name},
    };
    const struct subcommand command = {.name = "restore",
                                       .usage = "[options] FILE DATADIR",
                                       .about =
                                           "Makes a new cluster of one member in DATADIR, which is not there or is\n"
                                           "empty, of a backup (GET /backup) in FILE, or - for standard input.",
                                       .options = options,
                                       .option_count = sizeof options / sizeof options[0],
                                       .wanted = {"FILE", "DATADIR"}};
    enum subcommand_ending ending = subcommand_parse(&command, argc, argv, arguments);
    struct restoration *r = NULL;
    struct why why = {""};
    int err = 0;

    if (ending != SUBCOMMAND_GO_ON)
        return ending == SUBCOMMAND_HELPED ? EXIT_SUCCESS : SUBCOMMAND_USAGE;
    if (name != NULL && !member_name_valid(name)) {
        fprintf(stderr,
                "raftd: \"%s\" is no name: 1 to %d letters, digits, \"-\", \"_\" and \".\"\n",
                name, MEMBER_NAME_MAX - 1);
        return SUBCOMMAND_USAGE;
    }
    r = xcalloc(1, sizeof *r);
    r->fd = -1;
    err = restore(r, arguments[0], arguments[1], name, &why);
    if (err == 0) {
        printf("%" PRIu64 " keys as of entry %" PRIu64 " of cluster %" PRIu64 " are now cluster %" PRIu64
               ", whose only member "
               "is %s.\nStart it: raftd %s; the others join it with an empty DATADIR and -join.\n",
               r->keys, r->header.position.index, r->header.cluster, r->identity.cluster, r->identity.name,
               arguments[1]);
        datadir_close(r->datadir);
    } else {
        fprintf(stderr, "raftd: %s\n", why.text);
        datadir_discard(r->datadir);
    }
    dump_file_free(r->dump);
    if (r->fd > STDIN_FILENO)
        close(r->fd);
    free(r);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
