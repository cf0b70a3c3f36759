#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "http/pairs.h"
#include "store/datadir.h"
#include "store/dump_reader.h"
#include "store/verify.h"
#include "subcommand.h"

#define PIECE_BYTES (64u << 10)

static void print_fault(void *context, const char *fault)
{
    const char *const *part = context;

    printf("%s: %s\n", *part, fault);
    fflush(stdout);
}

/* ---- backups ---- */

static bool verify_dump(const char *path)
{
    struct verify v = {.report = print_fault, .context = &path};
    struct dump_file *f = dump_file_new(path);
    struct dump_reader *r = NULL;
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    uint64_t records = 0;
    int err = dump_file_open(f, NULL);

    if (err != 0)
        verify_fault(&v, "it cannot be opened: %s", err_text(err));
    r = dump_reader_new(f);
    while (err == 0 && step != DUMP_END) {
        err = dump_reader_next(r, &step, &record);
        records += err == 0 && step == DUMP_RECORD;
        if (err != 0)
            verify_fault(&v, "at byte %" PRIu64 ", after %" PRIu64 " records: %s", dump_reader_offset(r), records,
                         dump_reader_fault(r));
    }
    if (err == 0)
        printf("%s: a whole dump of cluster %" PRIu64 ": %" PRIu64 " keys as of entry %" PRIu64 " of term %" PRIu64
               "\n",
               path, dump_reader_header(r)->cluster, records, dump_reader_header(r)->position.index,
               dump_reader_header(r)->position.term);
    dump_reader_free(r);
    dump_file_free(f);
    return v.faults == 0;
}

/* Reads all lines; what is wrong is told. *pairs: how many there are. */
static void walk_lines(int fd, struct verify *v, struct pairs_item *header, uint64_t *pairs)
{
    uint8_t *piece = xmalloc(PIECE_BYTES);
    struct pairs_reader *r = pairs_reader_new();
    enum pairs_step step = PAIRS_WANTS_MORE;
    struct pairs_item item;
    bool end = false;
    ssize_t n = 1;

    while (n > 0 && v->faults == 0) {
        if (pairs_reader_next(r, &step, &item) != 0)
            verify_fault(v, "%s", pairs_reader_fault(r));
        else if (step == PAIRS_HEADER)
            *header = item;
        else if (step == PAIRS_PAIR)
            ++*pairs;
        else if (step == PAIRS_END)
            end = true;
        else {
            n = read(fd, piece, PIECE_BYTES);
            pairs_reader_feed(r, view_of(piece, n > 0 ? (size_t)n : 0));
        }
    }
    if (n < 0)
        verify_fault(v, "it cannot be read: %s", strerror(errno));
    else if (v->faults == 0 && !end)
        verify_fault(v, "it ends before its last line, {\"count\":..}");
    pairs_reader_free(r);
    free(piece);
}

static bool verify_lines(const char *path, int fd)
{
    struct verify v = {.report = print_fault, .context = &path};
    struct pairs_item header = {.cluster = 0};
    uint64_t pairs = 0;

    walk_lines(fd, &v, &header, &pairs);
    if (v.faults == 0)
        printf("%s: a whole backup of cluster %" PRIu64 ": %" PRIu64 " keys as of entry %" PRIu64 " of term %" PRIu64
               "\n",
               path, header.cluster, pairs, header.index, header.term);
    return v.faults == 0;
}

/* ---- a data directory ---- */

/* What a process of its own finds out for us. */
struct findings {
    struct verify_map map;
    struct verify_log log;
    unsigned faults;
};

struct part {
    const char *name;
    const char *path;
    void (*look)(const struct part *part, struct verify *v, struct findings *f);
};

static void look_at_map(const struct part *part, struct verify *v, struct findings *f)
{
    verify_map(part->path, v, &f->map);
}

static void look_at_log(const struct part *part, struct verify *v, struct findings *f)
{
    verify_log(part->path, &f->map, v, &f->log);
}

/* In a process of its own: a spoiled page of LMDB may end it. */
static void look(const struct part *part, struct findings *f)
{
    struct verify v = {.report = print_fault, .context = (void *)(uintptr_t)&part->name};
    int status = 0;
    pid_t pid = 0;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        part->look(part, &v, f);
        f->faults += v.faults;
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        verify_fault(&v, "no process can be started to look at it: %s", strerror(errno));
    else if (WIFSIGNALED(status))
        verify_fault(&v, "reading it ends by signal %d (%s): a page of it is spoiled, or its file was cut short",
                     WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0) /* of a sanitizer, for one */
        verify_fault(&v, "reading it fails: a page of it is spoiled");
    f->faults += v.faults;
}

static void summarize(const char *path, const struct identity *i, const struct findings *f)
{
    printf("%s: sound: member %s of cluster %" PRIu64 ", term %" PRIu64 ", ", path, i->name, i->cluster,
           f->log.hard.term);
    if (f->log.last > f->log.base.index)
        printf("entries %" PRIu64 " to %" PRIu64 ", ", f->log.base.index + 1, f->log.last);
    else
        printf("no entries after %" PRIu64 ", ", f->log.base.index);
    printf("%" PRIu64 " keys as of entry %" PRIu64 ", hash %016" PRIx64 "\n", f->map.keys, f->map.applied.index,
           f->map.hash);
}

static void check_identity(const char *path, const struct identity *i, struct findings *f)
{
    struct verify v = {.report = print_fault, .context = &path};

    if (i->joined != 0 && (i->cluster == 0 || i->id == 0 || i->name[0] == '\0'))
        verify_fault(&v, "its identity is of a member, but has no cluster, id or name");
    f->faults += v.faults;
}

/* A server that was killed before it was a member of anything has a directory without stores. */
static bool is_there(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static void look_at_stores(const struct datadir *d, struct findings *f)
{
    const struct part map = {"kv", datadir_kv_path(d), look_at_map};
    const struct part log = {"log", datadir_log_path(d), look_at_log};
    bool member = datadir_identity(d)->joined != 0;

    if (is_there(map.path)) /* a member that was killed at its birth has none yet */
        look(&map, f);
    if (member || is_there(log.path))
        look(&log, f);
    if (is_there(datadir_dump_path(d)) && !verify_dump(datadir_dump_path(d)))
        f->faults++;
}

static int verify_datadir(const char *path, bool *sound, struct why *why)
{
    struct findings *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct datadir *d = NULL;
    int err = f == MAP_FAILED ? ERR_NO_RESOURCES : datadir_look(path, &d, why);

    if (err == ERR_CORRUPT || err == ERR_FORMAT) { /* of the identity: the stores may be sound, but whose are they? */
        printf("%s\n", why->text);
        *sound = false;
        err = 0;
    } else if (err == 0) {
        check_identity(path, datadir_identity(d), f);
        look_at_stores(d, f);
        *sound = f->faults == 0;
        if (*sound)
            summarize(path, datadir_identity(d), f);
    }
    datadir_close(d);
    if (f != MAP_FAILED)
        munmap(f, sizeof *f);
    return err;
}

/* ---- either ---- */

static int verify(const char *path, bool *sound, struct why *why)
{
    struct stat st;
    char first = '\0';
    int fd = -1, err = 0;

    if (stat(path, &st) != 0)
        return why_set(why, err_from_errno(errno), "cannot look at %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return verify_datadir(path, sound, why);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, &first, 1, 0) < 0)
        err = why_set(why, err_from_errno(errno), "cannot read %s: %s", path, strerror(errno));
    else
        *sound = first == '{' ? verify_lines(path, fd) : verify_dump(path);
    if (fd >= 0)
        close(fd);
    return err;
}

int verify_main(int argc, char **argv)
{
    const struct subcommand command = {
        .name = "verify",
        .usage = "[options] DATADIR|FILE",
        .about = "Checks whatever has a checksum or an order in the DATADIR of a stopped server,\n"
                 "or in a backup, and prints a line for each fault. Changes nothing.",
        .wanted = {"DATADIR or FILE"}};
    const char *path = NULL;
    enum subcommand_ending ending = subcommand_parse(&command, argc, argv, &path);
    struct why why = {""};
    bool sound = false;
    int err = 0;

    if (ending != SUBCOMMAND_GO_ON)
        return ending == SUBCOMMAND_HELPED ? EXIT_SUCCESS : SUBCOMMAND_USAGE;
    err = verify(path, &sound, &why);
    if (err != 0)
        fprintf(stderr, "raftd: %s\n", why.text);
    return err == 0 && sound ? EXIT_SUCCESS : EXIT_FAILURE;
}
