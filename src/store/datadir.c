/* The file "raftd" is lines of key=value, the first one "format=N", the last one "checksum=" and 16 hex digits over all bytes
 * before it. Besides the identity it may say "wipe=1": the log and the map are to be removed, which the next open finishes. */
#include "store/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"
#include "base/text.h"
#include "store/dump_file.h"
#include "store/env.h"
#include "store/file.h"
#include "store/kv_store.h"

#define IDENTITY_FILE  "raftd"
#define IDENTITY_FRESH "raftd.new"
#define LOCK_FILE      "lock"
#define SCRATCH_FILE   "scratch"
#define FILE_MAX       4096u
#define COPY_BLOCK     (64u << 10)

struct datadir {
    char path[PATH_MAX];
    char log_path[PATH_MAX], kv_path[PATH_MAX];
    char identity_path[PATH_MAX], fresh_path[PATH_MAX], lock_path[PATH_MAX];
    char dump_path[PATH_MAX], dump_fresh_path[PATH_MAX], incoming_path[PATH_MAX], scratch_path[PATH_MAX];
    int lock;
    struct identity identity;
    bool wipe; /* the log and the map are to be removed */
    bool made; /* datadir_create made the directory itself */
};

static int fail(struct why *why, const char *what, const char *path)
{
    int error = errno;

    return why_set(why, err_from_errno(error), "cannot %s %s: %s", what, path, strerror(error));
}

/* ---- the directory ---- */

static int set_paths(struct datadir *d, const char *path)
{
    size_t size = strlen(path) + 1;
    int err;

    if (size > sizeof d->path)
        return ERR_TOO_LONG;
    memcpy(d->path, path, size);
    err = path_join(d->log_path, sizeof d->log_path, path, "log");
    if (err == 0)
        err = path_join(d->kv_path, sizeof d->kv_path, path, "kv");
    if (err == 0)
        err = path_join(d->identity_path, sizeof d->identity_path, path, IDENTITY_FILE);
    if (err == 0)
        err = path_join(d->fresh_path, sizeof d->fresh_path, path, IDENTITY_FRESH);
    if (err == 0)
        err = path_join(d->lock_path, sizeof d->lock_path, path, LOCK_FILE);
    if (err == 0)
        err = path_join(d->dump_path, sizeof d->dump_path, path, "dump");
    if (err == 0)
        err = path_join(d->dump_fresh_path, sizeof d->dump_fresh_path, path, "dump.new");
    if (err == 0)
        err = path_join(d->incoming_path, sizeof d->incoming_path, path, "incoming");
    if (err == 0)
        err = path_join(d->scratch_path, sizeof d->scratch_path, path, SCRATCH_FILE);
    return err;
}

static int make_one(const char *path, struct why *why)
{
    int err;

    if (mkdir(path, 0700) != 0) {
        if (errno == EEXIST)
            return 0;
        return fail(why, "make", path);
    }
    err = dir_sync_parent(path);
    return err == 0 ? 0 : why_set(why, err, "cannot sync the directory of %s: %s", path, err_text(err));
}

static int make_with_parents(const char *path, struct why *why)
{
    char part[PATH_MAX];
    struct stat st;
    size_t size = strlen(path);

    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        return why_set(why, ERR_EXISTS, "%s is a file, not a directory", path);
    }
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        int err;

        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        err = make_one(part, why);
        if (err != 0)
            return err;
        part[i] = path[i];
    }
    return 0;
}

/* What may lie in a directory that no raftd has finished making. "log" and "kv" are not among it: they come after the
 * identity, and where they lie without it somebody has lost it. */
static bool may_be_there(const char *name)
{
    static const char *const names[] = {".", "..", LOCK_FILE, IDENTITY_FRESH, "lost+found"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static int check_foreign(const struct datadir *d, struct why *why)
{
    const struct dirent *entry;
    struct stat st;
    DIR *dir;
    int err = 0;

    if (stat(d->identity_path, &st) == 0)
        return 0;
    if (errno != ENOENT)
        return fail(why, "look at", d->identity_path);
    dir = opendir(d->path);
    if (dir == NULL)
        return fail(why, "read", d->path);
    while (err == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, "log") == 0 || strcmp(entry->d_name, "kv") == 0)
            err =
                why_set(why, ERR_FORMAT,
                        "%s has lost its file \"" IDENTITY_FILE "\", which says whose log and map lie there: bring it "
                        "back, or remove that member from its cluster and join with another DATADIR; if this is no "
                        "directory of raftd, name a new or an empty one",
                        d->path);
        else if (!may_be_there(entry->d_name))
            err = why_set(why, ERR_FORMAT,
                          "%s is not a data directory of raftd: it holds \"%.60s\" but no file \"" IDENTITY_FILE
                          "\"; name a new "
                          "or an empty directory",
                          d->path, entry->d_name);
    }
    closedir(dir);
    return err;
}

/* ---- the lock ---- */

static int why_locked(const struct datadir *d, struct why *why)
{
    char owner[200];
    ssize_t size = pread(d->lock, owner, sizeof owner - 1, 0);

    owner[size > 0 ? size : 0] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    if (owner[0] == '\0')
        return why_set(why, ERR_LOCKED, "%s is in use by another process", d->path);
    return why_set(why, ERR_LOCKED, "%s is in use by another process: %s", d->path, owner);
}

/* For people only: a disk too full for this line is no reason to refuse. */
static void note_owner(int lock, const char *owner)
{
    char line[200];
    int size = snprintf(line, sizeof line, "raftd with process id %ld, serving %s\n", (long)getpid(), owner);

    if (size >= (int)sizeof line)
        size = (int)sizeof line - 1;
    if (ftruncate(lock, 0) != 0 || pwrite(lock, line, (size_t)size, 0) != size)
        return;
}

static int take_lock(struct datadir *d, const char *owner, struct why *why)
{
    /* Not through a link: what it leads to is not ours to overwrite. */
    d->lock = open(d->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock < 0)
        return fail(why, "open", d->lock_path);
    if (flock(d->lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? why_locked(d, why) : fail(why, "lock", d->lock_path);
    note_owner(d->lock, owner);
    return 0;
}

/* ---- the identity ---- */

static void format_identity(const struct identity *i, bool wipe, struct bytes *out)
{
    bytes_printf(out, "format=%d\n", DATADIR_FORMAT);
    bytes_printf(out, "cluster=%" PRIu64 "\n", i->cluster);
    bytes_printf(out, "id=%" PRIu64 "\n", i->id);
    bytes_printf(out, "name=%s\n", i->name);
    bytes_printf(out, "joined=%" PRIu64 "\n", i->joined);
    bytes_printf(out, "removed=%d\n", i->removed ? 1 : 0);
    bytes_printf(out, "wipe=%d\n", wipe ? 1 : 0);
    bytes_printf(out, "checksum=%016" PRIx64 "\n", checksum(out->data, out->size, 0));
    CHECK(!out->overflow);
}

/* The value of line `key` at *text, NUL-terminated in place; moves *text behind it. NULL: another key, or no line. */
static char *take_line(char **text, const char *key)
{
    size_t size = strlen(key);
    char *end = strchr(*text, '\n');
    char *value;

    if (end == NULL || strncmp(*text, key, size) != 0 || (*text)[size] != '=')
        return NULL;
    *end = '\0';
    value = *text + size + 1;
    *text = end + 1;
    return value;
}

static bool take_number(char **text, const char *key, uint64_t max, uint64_t *out)
{
    const char *value = take_line(text, key);

    return value != NULL && text_u64(value, max, out) == 0;
}

static bool checksum_is_right(const char *text, size_t size)
{
    static const char key[] = "checksum=";
    const size_t line = sizeof key - 1 + 16 + 1;
    char expected[32];

    if (size < line)
        return false;
    snprintf(expected, sizeof expected, "%s%016" PRIx64 "\n", key, checksum(text, size - line, 0));
    return memcmp(text + size - line, expected, line) == 0;
}

static bool parse_fields(struct datadir *d, char *at)
{
    struct identity *i = &d->identity;
    uint64_t removed = 0, wipe = 0;
    const char *name;

    if (!take_number(&at, "cluster", UINT64_MAX, &i->cluster) || !take_number(&at, "id", UINT64_MAX, &i->id))
        return false;
    name = take_line(&at, "name");
    if (name == NULL || (name[0] != '\0' && !member_name_valid(name)))
        return false;
    snprintf(i->name, sizeof i->name, "%s", name); /* a valid name is short enough */
    if (!take_number(&at, "joined", UINT64_MAX, &i->joined) || !take_number(&at, "removed", 1, &removed) ||
        !take_number(&at, "wipe", 1, &wipe))
        return false;
    i->removed = removed == 1;
    d->wipe = wipe == 1;
    return true;
}

/* The number of the format comes first: a newer one may look different from there on. */
static int parse_identity(struct datadir *d, char *text, size_t size, struct why *why)
{
    char *at = text;
    uint64_t format;
    bool whole = checksum_is_right(text, size);

    if (!take_number(&at, "format", UINT64_MAX, &format))
        return why_set(why, ERR_CORRUPT, "%s is damaged: it does not begin with its format", d->identity_path);
    if (format != DATADIR_FORMAT)
        return why_set(why, ERR_FORMAT, "%s has format %" PRIu64 ", but this version of raftd knows only format %d",
                       d->path, format, DATADIR_FORMAT);
    if (!whole || !parse_fields(d, at))
        return why_set(why, ERR_CORRUPT, "%s is damaged: its checksum or a line is wrong", d->identity_path);
    return 0;
}

static int read_identity(struct datadir *d, struct why *why)
{
    char text[FILE_MAX];
    ssize_t size;
    int fd = open(d->identity_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe of that name must not hold us up */

    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : fail(why, "open", d->identity_path);
    size = read(fd, text, sizeof text - 1);
    if (size < 0) {
        int err = fail(why, "read", d->identity_path);

        close(fd);
        return err;
    }
    close(fd);
    text[size] = '\0';
    return parse_identity(d, text, (size_t)size, why);
}

static int write_file(const char *path, const struct bytes *content, struct why *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = 0;
    ssize_t written;

    if (fd < 0)
        return fail(why, "make", path);
    written = write(fd, content->data, content->size);
    if (written < 0)
        err = fail(why, "write", path);
    else if ((size_t)written != content->size)
        err = why_set(why, ERR_NO_SPACE, "cannot write %s: the disk is full", path);
    else if (fsync(fd) != 0)
        err = fail(why, "sync", path);
    if (close(fd) != 0 && err == 0)
        err = fail(why, "close", path);
    return err;
}

static int save(struct datadir *d, const struct identity *identity, bool wipe, struct why *why)
{
    struct bytes content;
    int err;

    CHECK(identity->name[0] == '\0' || member_name_valid(identity->name)); /* so it is one line */
    bytes_init(&content, FILE_MAX - 1);
    format_identity(identity, wipe, &content);
    err = write_file(d->fresh_path, &content, why);
    bytes_clear(&content);
    if (err == 0 && rename(d->fresh_path, d->identity_path) != 0)
        err = fail(why, "rename", d->fresh_path);
    if (err != 0) {
        unlink(d->fresh_path);
        return err;
    }
    err = dir_sync(d->path);
    if (err != 0)
        return why_set(why, err, "cannot sync %s: %s", d->path, err_text(err));
    d->identity = *identity;
    d->wipe = wipe;
    return 0;
}

/* Scratch files have no name but for the moment between two system calls (dump_file_create_nameless). */
static int remove_scratch(const struct datadir *d, struct why *why)
{
    const struct dirent *entry;
    DIR *dir = opendir(d->path);
    int err = 0;

    if (dir == NULL)
        return fail(why, "read", d->path);
    while (err == 0 && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, SCRATCH_FILE ".", strlen(SCRATCH_FILE ".")) == 0 &&
            unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            err = fail(why, "remove a scratch file in", d->path);
    }
    closedir(dir);
    return err;
}

/* What was on its way from us to another member is of no use to another life of ours; what was on its way to us may be
 * (transfer_recall), unless it is wiped. */
static int remove_dumps(const struct datadir *d, struct why *why)
{
    const char *const paths[] = {d->dump_path, d->dump_fresh_path, d->wipe ? d->incoming_path : d->dump_fresh_path};
    int beside = env_remove_beside(d->kv_path);

    if (beside != 0)
        return why_set(why, beside, "cannot remove what is left beside %s: %s", d->kv_path, err_text(beside));

    for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int err = dump_file_remove(paths[i]);

        if (err != 0)
            return why_set(why, err, "cannot remove %s: %s", paths[i], err_text(err));
    }
    return remove_scratch(d, why);
}

/* Removes what "wipe=1" promises to remove, then takes the promise back. */
static int finish_wipe(struct datadir *d, struct why *why)
{
    int err = env_remove(d->log_path);

    if (err != 0)
        return why_set(why, err, "cannot remove %s: %s", d->log_path, err_text(err));
    err = kv_store_remove(d->kv_path);
    if (err != 0)
        return why_set(why, err, "cannot remove %s: %s", d->kv_path, err_text(err));
    err = remove_dumps(d, why);
    return err == 0 ? save(d, &d->identity, false, why) : err;
}

static int load_or_make(struct datadir *d, struct why *why)
{
    static const struct identity nobody;
    int err = read_identity(d, why);

    if (err == ERR_NOT_FOUND)
        return save(d, &nobody, false, why);
    if (err == 0 && d->wipe)
        return finish_wipe(d, why);
    return err == 0 ? remove_dumps(d, why) : err;
}

/* ---- public ---- */

int datadir_open(const char *path, const char *owner, struct datadir **out, struct why *why)
{
    struct datadir *d = xcalloc(1, sizeof *d);
    int err = set_paths(d, path);

    d->lock = -1;
    if (err != 0) {
        why_set(why, err, "the name of the data directory is too long");
        goto out;
    }
    err = make_with_parents(path, why);
    if (err != 0)
        goto out;
    err = check_foreign(d, why); /* before the lock: we leave no file in somebody else's directory */
    if (err != 0)
        goto out;
    err = take_lock(d, owner, why);
    if (err != 0)
        goto out;
    err = load_or_make(d, why);
    if (err != 0)
        goto out;
    *out = d;
    d = NULL;
out:
    datadir_close(d);
    return err;
}

/* Nothing but what every new file system has. */
static int check_empty(const char *path, struct why *why)
{
    const struct dirent *entry;
    DIR *dir = opendir(path);
    int err = 0;

    if (dir == NULL)
        return fail(why, "read", path);
    while (err == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lost+found") != 0)
            err = why_set(why, ERR_EXISTS,
                          "%s is not empty, it holds \"%.60s\": name a directory that is empty or not there", path,
                          entry->d_name);
    }
    closedir(dir);
    return err;
}

int datadir_create(const char *path, const char *owner, struct datadir **out, struct why *why)
{
    struct datadir *d = xcalloc(1, sizeof *d);
    struct stat st;
    int err = set_paths(d, path);

    d->lock = -1;
    if (err != 0) {
        why_set(why, err, "the name of the data directory is too long");
        goto out;
    }
    d->made = stat(path, &st) != 0;
    err = make_with_parents(path, why);
    if (err == 0)
        err = check_empty(path, why);
    if (err == 0)
        err = take_lock(d, owner, why);
    if (err != 0)
        goto out;
    *out = d;
    d = NULL;
out:
    datadir_close(d);
    return err;
}

int datadir_look(const char *path, struct datadir **out, struct why *why)
{
    struct datadir *d = xcalloc(1, sizeof *d);
    int err = set_paths(d, path);

    d->lock = -1;
    if (err != 0) {
        why_set(why, err, "the name of the data directory is too long");
        goto out;
    }
    d->lock = open(d->lock_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (d->lock >= 0 && flock(d->lock, LOCK_SH | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? why_locked(d, why) : fail(why, "lock", d->lock_path);
        goto out;
    }
    err = read_identity(d, why);
    if (err == ERR_NOT_FOUND)
        why_set(why, err, "%s is no data directory of raftd: it has no file \"" IDENTITY_FILE "\"", path);
    if (err != 0)
        goto out;
    *out = d;
    d = NULL;
out:
    datadir_close(d);
    return err;
}

/* In the reverse order of their making; what cannot be removed keeps the directory from being used, as it should. */
void datadir_discard(struct datadir *d)
{
    static const char *const parts[] = {"log", "log.new", "kv", "kv.new", "kv.next"};
    char path[PATH_MAX];

    if (d == NULL)
        return;
    unlink(d->fresh_path);
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (path_join(path, sizeof path, d->path, parts[i]) == 0)
            (void)env_remove(path);
    unlink(d->lock_path);
    if (d->made)
        rmdir(d->path);
    datadir_close(d);
}

void datadir_close(struct datadir *d)
{
    if (d == NULL)
        return;
    if (d->lock >= 0)
        close(d->lock);
    free(d);
}

const struct identity *datadir_identity(const struct datadir *d)
{
    return &d->identity;
}

const char *datadir_log_path(const struct datadir *d)
{
    return d->log_path;
}

const char *datadir_kv_path(const struct datadir *d)
{
    return d->kv_path;
}

const char *datadir_dump_path(const struct datadir *d)
{
    return d->dump_path;
}

const char *datadir_dump_fresh_path(const struct datadir *d)
{
    return d->dump_fresh_path;
}

const char *datadir_incoming_path(const struct datadir *d)
{
    return d->incoming_path;
}

const char *datadir_scratch_path(const struct datadir *d)
{
    return d->scratch_path;
}

int datadir_check_log(const struct datadir *d, struct why *why)
{
    char file[PATH_MAX];
    struct stat st;

    if (d->identity.joined == 0)
        return 0;
    if (path_join(file, sizeof file, d->log_path, "data.mdb") != 0)
        return why_set(why, ERR_TOO_LONG, "the name of the data directory is too long");
    if (stat(file, &st) == 0)
        return 0;
    if (errno != ENOENT)
        return fail(why, "look at", file);
    return why_set(why, ERR_CORRUPT,
                   "%s is gone, and with it the votes and entries of member %s: bring it back, or remove that member "
                   "from its cluster and join with another DATADIR",
                   file, d->identity.name);
}

int datadir_save(struct datadir *d, const struct identity *identity, struct why *why)
{
    return save(d, identity, false, why);
}

int datadir_wipe(struct datadir *d, const struct identity *fresh, struct why *why)
{
    int err;

    CHECK(fresh->cluster == 0); /* what has no log and no map is in no cluster */
    err = save(d, fresh, true, why);
    return err == 0 ? finish_wipe(d, why) : err;
}

/* ---- copies ---- */

static int copy_bytes(int from, int to, const char *name, struct why *why)
{
    char *block = xmalloc(COPY_BLOCK);
    ssize_t got = 0;
    int err = 0;

    while (err == 0 && (got = read(from, block, COPY_BLOCK)) > 0) {
        ssize_t written = write(to, block, (size_t)got);

        if (written < 0)
            err = fail(why, "write", name);
        else if (written != got)
            err = why_set(why, ERR_NO_SPACE, "cannot write %s: the disk is full", name);
    }
    if (err == 0 && got < 0)
        err = fail(why, "read the original of", name);
    free(block);
    return err;
}

static int copy_file(const char *from, const char *to, struct why *why)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int err = 0;

    if (in < 0)
        return fail(why, "open", from);
    if (out < 0)
        err = fail(why, "make", to);
    if (err == 0)
        err = copy_bytes(in, out, to, why);
    if (err == 0 && fsync(out) != 0)
        err = fail(why, "sync", to);
    if (out >= 0)
        close(out);
    close(in);
    return err;
}

/* Copies DATADIR/PART to COPY/PART. */
static int copy_part(const struct datadir *d, const char *copy, const char *part, struct why *why)
{
    char from[PATH_MAX], to[PATH_MAX];

    if (path_join(from, sizeof from, d->path, part) != 0 || path_join(to, sizeof to, copy, part) != 0)
        return why_set(why, ERR_TOO_LONG, "the name of the data directory is too long");
    return copy_file(from, to, why);
}

int datadir_keep_copy(struct datadir *d, char *out, size_t size, struct why *why)
{
    char name[48], log_path[PATH_MAX];
    time_t now = time(NULL);
    struct tm utc;
    int err = 0;

    gmtime_r(&now, &utc);
    strftime(name, sizeof name, "recover-%Y%m%dT%H%M%SZ", &utc);
    if (path_join(out, size, d->path, name) != 0 || path_join(log_path, sizeof log_path, out, "log") != 0)
        return why_set(why, ERR_TOO_LONG, "the name of the data directory is too long");
    if (mkdir(out, 0700) != 0)
        return fail(why, "make", out);
    if (mkdir(log_path, 0700) != 0)
        return fail(why, "make", log_path);
    err = copy_part(d, out, IDENTITY_FILE, why);
    if (err == 0)
        err = copy_part(d, out, "log/data.mdb", why);
    if (err == 0)
        err = copy_part(d, out, "log/journal", why);
    if (err != 0)
        return err;
    if (dir_sync(log_path) != 0 || dir_sync(out) != 0 || dir_sync(d->path) != 0)
        return why_set(why, ERR_IO, "cannot sync %s", out);
    return 0;
}
