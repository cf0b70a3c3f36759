#include "store/env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/text.h"
#include "store/env_private.h"
#include "store/file.h"

#define META_DBI         1u           /* the unnamed database: what mdb_dbi_open gives for no name */
#define NO_TABLE         0u           /* no table of ours has this handle */
#define FREE_DBI         0u           /* LMDB's list of free pages, readable through mdb_stat */
#define SPARE_SLOTS      8u           /* reader slots for mdb_stat and the like beside us */
#define DISK_FULL_BYTES  (64u << 10)  /* less than this free: a short write was a full disk */
#define DISK_START_BYTES (256u << 10) /* LMDB's lock file is mapped: without room for it we would die of SIGBUS */
#define AHEAD_MIN        (64u << 10)  /* of zeros, in pieces of which the file grows */
#define AHEAD_MAX        (1u << 20)
#define CHECKSUM_SIZE    8u
#define KIND_SIZE        8u
#define FORMAT_NAME      "format"

/* ---- errors ---- */

static uint64_t disk_free(const char *path)
{
    struct statvfs fs;

    return statvfs(path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

static bool disk_is_full(const char *path)
{
    return disk_free(path) < DISK_FULL_BYTES;
}

static int error_of(const char *path, int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_NO_SPACE;
    case EIO: /* also what LMDB makes of a short write */
        return disk_is_full(path) ? ERR_NO_SPACE : ERR_IO;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_DBI:
    case MDB_INCOMPATIBLE:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_FORMAT;
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case MDB_DBS_FULL:
    case ENOMEM:
        return ERR_NO_RESOURCES;
    default: /* MDB_PANIC among them */
        return rc > 0 ? err_from_errno(rc) : ERR_IO;
    }
}

int env_error(struct env *e, int rc)
{
    return error_of(e->path, rc);
}

static int why_open(struct why *why, const char *path, uint64_t map_size, int rc)
{
    int err = error_of(path, rc);

    if (rc == ENOMEM)
        return why_set(why, err, "cannot reserve %" PRIu64 " MiB of address space for %s: raise \"ulimit -v\"",
                       map_size >> 20, path);
    if (err == ERR_CORRUPT)
        return why_set(why, err, "%s is damaged: %s", path, mdb_strerror(rc));
    if (err == ERR_FORMAT)
        return why_set(why, err, "%s was written by another version of LMDB: %s", path, mdb_strerror(rc));
    return why_set(why, err, "cannot open %s: %s", path, mdb_strerror(rc));
}

int env_remove(const char *path)
{
    static const char *const files[] = {"journal", "data.mdb", "lock.mdb"}; /* the first: of the log (log_journal.h) */
    char file[PATH_MAX];

    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        int err = path_join(file, sizeof file, path, files[i]);

        if (err != 0)
            return err;
        if (unlink(file) != 0 && errno != ENOENT)
            return err_from_errno(errno);
    }
    if (rmdir(path) != 0 && errno != ENOENT)
        return err_from_errno(errno);
    return 0;
}

/* ---- making and opening ---- */

static uint64_t map_size_for(const char *path, const struct env_options *o)
{
    uint64_t unit = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t size = o->map_size;
    char file[PATH_MAX];
    struct stat st;

    if (path_join(file, sizeof file, path, "data.mdb") == 0 && stat(file, &st) == 0 &&
        size < (uint64_t)st.st_size + o->spare)
        size = (uint64_t)st.st_size + o->spare;
    return (size + unit - 1) / unit * unit;
}

static void on_assert(MDB_env *mdb, const char *text)
{
    guard_end(mdb_env_get_userctx(mdb), text);
}

static int mdb_start(const char *path, const struct env_options *o, MDB_env **out)
{
    MDB_env *mdb = NULL;
    int rc = mdb_env_create(&mdb);

    if (rc != 0)
        return rc;
    rc = mdb_env_set_mapsize(mdb, (size_t)o->map_size);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(mdb, o->readers + SPARE_SLOTS);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(mdb, ENV_TABLES_MAX);
    if (rc == 0)
        rc = mdb_env_open(mdb, path, o->flags | MDB_NOTLS, 0600);
    if (rc == 0) {
        *out = mdb;
        mdb = NULL;
    }
    mdb_env_close(mdb);
    return rc;
}

static int put_meta(MDB_txn *txn, const char *name, struct view value)
{
    MDB_val key = env_val(view_of_text(name));
    MDB_val data = {.mv_size = CHECKSUM_SIZE + value.size, .mv_data = NULL};
    int rc = mdb_put(txn, META_DBI, &key, &data, MDB_RESERVE);

    if (rc != 0)
        return rc;
    codec_put_u64(data.mv_data, checksum(value.data, value.size, 0));
    if (value.size > 0)
        memcpy((uint8_t *)data.mv_data + CHECKSUM_SIZE, value.data, value.size);
    return 0;
}

static int get_meta(MDB_txn *txn, const char *name, struct view *out)
{
    MDB_val key = env_val(view_of_text(name));
    MDB_val data;
    int rc = mdb_get(txn, META_DBI, &key, &data);
    struct view value;

    if (rc != 0)
        return rc;
    if (data.mv_size < CHECKSUM_SIZE)
        return MDB_CORRUPTED;
    value = view_of((const uint8_t *)data.mv_data + CHECKSUM_SIZE, data.mv_size - CHECKSUM_SIZE);
    if (codec_get_u64(data.mv_data) != checksum(value.data, value.size, 0))
        return MDB_CORRUPTED;
    *out = value;
    return 0;
}

static int put_format(MDB_txn *txn, const struct env_options *o)
{
    uint8_t format[KIND_SIZE + sizeof(uint64_t)];

    CHECK(strlen(o->kind) == KIND_SIZE);
    memcpy(format, o->kind, KIND_SIZE);
    codec_put_u64(format + KIND_SIZE, o->format);
    return put_meta(txn, FORMAT_NAME, view_of(format, sizeof format));
}

static int write_tables(MDB_env *mdb, const struct env_options *o)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    int rc = mdb_txn_begin(mdb, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    for (unsigned i = 0; rc == 0 && i < o->table_count; i++)
        rc = mdb_dbi_open(txn, o->tables[i].name, o->tables[i].flags | MDB_CREATE, &dbi);
    if (rc == 0)
        rc = put_format(txn, o);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* Makes the environment beside its place and moves it there when it is whole and durable. */
static int make(const char *path, const struct env_options *options, struct why *why)
{
    struct env_options o = *options;
    char fresh[PATH_MAX];
    MDB_env *mdb;
    int rc, err;

    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return why_set(why, ERR_TOO_LONG, "%s: the name is too long", path);
    err = env_remove(fresh); /* of a start that was cut off */
    if (err != 0)
        return why_set(why, err, "cannot remove %s: %s", fresh, err_text(err));
    if (mkdir(fresh, 0700) != 0)
        return why_set(why, err_from_errno(errno), "cannot make %s: %s", fresh, strerror(errno));
    o.flags = 0; /* fully synced */
    o.map_size = map_size_for(fresh, &o);
    rc = mdb_start(fresh, &o, &mdb);
    if (rc != 0)
        return why_open(why, fresh, o.map_size, rc);
    rc = write_tables(mdb, &o);
    mdb_env_close(mdb);
    if (rc != 0)
        return why_open(why, fresh, o.map_size, rc);
    err = dir_sync(fresh);
    if (err == 0)
        err = env_remove(path); /* a lock of one whose data is gone */
    if (err == 0 && rename(fresh, path) != 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = dir_sync_parent(path);
    return err == 0 ? 0 : why_set(why, err, "cannot make %s: %s", path, err_text(err));
}

static int make_if_missing(const char *path, const struct env_options *o, struct why *why)
{
    char file[PATH_MAX];
    struct stat st;

    if (path_join(file, sizeof file, path, "data.mdb") != 0)
        return why_set(why, ERR_TOO_LONG, "%s: the name is too long", path);
    if (stat(file, &st) == 0)
        return 0;
    if (errno != ENOENT)
        return why_set(why, err_from_errno(errno), "cannot open %s: %s", file, strerror(errno));
    if (o->read_only)
        return why_set(why, ERR_NOT_FOUND, "%s is not there", file);
    return make(path, o, why);
}

static int check_format(struct env *e, MDB_txn *txn, const struct env_options *o, struct why *why)
{
    struct view value;
    int rc = get_meta(txn, FORMAT_NAME, &value);
    uint64_t format;

    if (rc == MDB_NOTFOUND || (rc == 0 && (value.size < KIND_SIZE || memcmp(value.data, o->kind, KIND_SIZE) != 0)))
        return why_set(why, ERR_FORMAT, "%s is not a %s of raftd, or it is damaged", e->path, o->kind);
    if (rc != 0 || value.size != KIND_SIZE + sizeof format)
        return why_set(why, ERR_CORRUPT, "%s is damaged: its format record does not add up", e->path);
    format = codec_get_u64(value.data + KIND_SIZE);
    e->format = format;
    if (format > o->format || format < (o->oldest != 0 ? o->oldest : o->format))
        return why_set(why, ERR_FORMAT,
                       "%s has format %" PRIu64 ", but this version of raftd knows only format %" PRIu64, e->path,
                       format, o->format);
    return 0;
}

static int open_tables(struct env *e, const struct env_options *o, struct why *why)
{
    MDB_txn *txn;
    MDB_dbi meta;
    int err = 0;
    int rc = mdb_txn_begin(e->file->mdb, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return why_open(why, e->path, o->map_size, rc);
    rc = mdb_dbi_open(txn, NULL, 0, &meta);
    if (rc == 0) {
        CHECK(meta == META_DBI);
        err = check_format(e, txn, o, why);
    }
    for (unsigned i = 0; rc == 0 && err == 0 && i < o->table_count; i++) {
        rc = mdb_dbi_open(txn, o->tables[i].name, o->tables[i].flags, &e->tables[i]);
        if (rc == MDB_NOTFOUND && e->format < o->format) {
            e->tables[i] = NO_TABLE; /* until env_put_format */
            rc = 0;
        }
    }
    if (rc != 0 || err != 0)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn); /* a table's handle lives on only if its transaction commits */
    if (rc == MDB_NOTFOUND)
        rc = MDB_CORRUPTED; /* a table is missing */
    return rc != 0 ? why_open(why, e->path, o->map_size, rc) : err;
}

static int check_disk(const char *path, struct why *why)
{
    char parent[PATH_MAX];
    struct statvfs fs;
    int err = dir_of(path, parent);

    if (err != 0)
        return why_set(why, err, "%s: the name is too long", path);
    if (statvfs(parent, &fs) != 0)
        return why_set(why, err_from_errno(errno), "cannot look at %s: %s", parent, strerror(errno));
    if ((uint64_t)fs.f_bavail * fs.f_frsize < DISK_START_BYTES)
        return why_set(why, ERR_NO_SPACE, "the disk of %s is full: raftd needs at least %u KiB free to start", path,
                       DISK_START_BYTES >> 10);
    return 0;
}

static bool file_stat(const struct env_file *f, struct stat *st)
{
    int fd;

    return mdb_env_get_fd(f->mdb, &fd) == 0 && fstat(fd, st) == 0;
}

static struct env *env_new(const char *path, const struct env_options *o)
{
    struct env *e = xcalloc(1, sizeof *e);

    e->path = xstrdup(path);
    e->options = *o;
    e->guard = (struct guard){.path = e->path, .note = o->note, .text = o->note_text, .advice = o->advice};
    e->file = xcalloc(1, sizeof *e->file);
    e->file->users = 1;
    e->count = o->readers;
    e->readers = xcalloc(o->readers, sizeof *e->readers);
    for (unsigned i = o->readers; i-- > 0;) {
        e->readers[i].id = i;
        e->readers[i].next = e->idle;
        e->idle = &e->readers[i];
    }
    CHECK(pthread_mutex_init(&e->lock, NULL) == 0);
    return e;
}

/* LMDB does not say where it has mapped its file; the kernel does. Where it does not, nothing is known of addresses. */
static void find_mapping(const struct env_file *f, struct guard *out)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long long begin, end, inode;
    char line[PATH_MAX + 128];
    struct stat st;

    out->base = NULL;
    out->size = 0;
    if (maps == NULL)
        return;
    while (file_stat(f, &st) && out->base == NULL && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%llx-%llx %*s %*x %*x:%*x %llu", &begin, &end, &inode) != 3 || inode != st.st_ino)
            continue;
        out->base = (const void *)(uintptr_t)begin;
        out->size = (size_t)(end - begin);
    }
    fclose(maps);
}

void env_watch(struct env *e, struct env_file *f)
{
    guard_forget(&f->guard);
    f->guard = e->guard;
    find_mapping(f, &f->guard);
    mdb_env_set_userctx(f->mdb, &f->guard);
    mdb_env_set_assert(f->mdb, on_assert);
    guard_watch(&f->guard);
}

void env_work(struct env *e, bool begins)
{
    guard_work(begins ? &e->guard : NULL);
}

bool env_holds(struct env_reader *r, const void *data, size_t size)
{
    struct env_file *f = r->file;
    uintptr_t offset = (uintptr_t)data - (uintptr_t)f->guard.base;
    struct stat st;

    if (f->guard.base == NULL)
        return true;
    if (offset >= f->guard.size || size > f->guard.size - offset)
        return false;
    if (offset + size <= atomic_load_explicit(&f->end, memory_order_relaxed))
        return true;
    if (!file_stat(f, &st))
        return false;
    atomic_store_explicit(&f->end, (uint64_t)st.st_size, memory_order_relaxed);
    return offset + size <= (uint64_t)st.st_size;
}

void env_note_sizes(struct env *e)
{
    MDB_envinfo info;
    struct stat file;

    mdb_env_info(e->file->mdb, &info);
    e->map_pages = info.me_mapsize / e->page_size;
    e->ready = file_stat(e->file, &file) ? (uint64_t)file.st_size : 0;
}

static int open_file(struct env *e, struct why *why)
{
    struct env_options o = e->options;
    MDB_stat st;
    int dead, rc, err = 0;

    if (o.read_only)
        o.flags |= MDB_RDONLY | MDB_NOLOCK;
    else
        err = check_disk(e->path, why);
    if (err == 0)
        err = make_if_missing(e->path, &o, why);
    if (err != 0)
        return err;
    o.map_size = map_size_for(e->path, &o);
    rc = mdb_start(e->path, &o, &e->file->mdb);
    if (rc != 0)
        return why_open(why, e->path, o.map_size, rc);
    env_watch(e, e->file);
    mdb_reader_check(e->file->mdb, &dead); /* slots of processes that were killed keep old pages from being reused */
    mdb_env_stat(e->file->mdb, &st);
    e->page_size = st.ms_psize;
    env_note_sizes(e);
    return open_tables(e, &o, why);
}

int env_open(const char *path, const struct env_options *options, struct env **out, struct why *why)
{
    struct env *e = env_new(path, options);
    int err = 0;

    CHECK(options->table_count >= 1 && options->table_count <= ENV_TABLES_MAX);
    env_work(e, true);
    err = open_file(e, why);
    env_work(e, false);
    if (err == 0)
        *out = e;
    else
        env_close(e);
    return err;
}

void env_reader_clear(struct env_reader *r)
{
    if (r->cursor != NULL)
        mdb_cursor_close(r->cursor);
    if (r->txn != NULL)
        mdb_txn_abort(r->txn);
    r->cursor = NULL;
    r->txn = NULL;
}

static struct env_file *file_use(struct env *e)
{
    struct env_file *f;

    pthread_mutex_lock(&e->lock);
    f = e->file;
    f->users++;
    pthread_mutex_unlock(&e->lock);
    return f;
}

void env_file_release(struct env *e, struct env_file *f)
{
    bool last;

    pthread_mutex_lock(&e->lock);
    last = --f->users == 0;
    pthread_mutex_unlock(&e->lock);
    if (!last)
        return;
    guard_forget(&f->guard);
    mdb_env_close(f->mdb); /* NULL is fine */
    free(f);
}

void env_close(struct env *e)
{
    if (e == NULL)
        return;
    CHECK(e->open == 0);
    for (unsigned i = 0; i < e->count; i++)
        env_reader_clear(&e->readers[i]);
    if (e->file != NULL)
        env_file_release(e, e->file);
    pthread_mutex_destroy(&e->lock);
    free(e->readers);
    free(e->path);
    free(e);
}

uint64_t env_format(const struct env *e)
{
    return e->format;
}

int env_put_format(struct env *e, MDB_txn *txn)
{
    const struct env_options *o = &e->options;
    int rc = 0;

    for (unsigned i = 0; i < o->table_count && rc == 0; i++)
        if (e->tables[i] == NO_TABLE)
            rc = mdb_dbi_open(txn, o->tables[i].name, o->tables[i].flags | MDB_CREATE, &e->tables[i]);
    return env_error(e, rc == 0 ? put_format(txn, o) : rc);
}

MDB_dbi env_table(const struct env *e, unsigned which)
{
    return e->tables[which];
}

MDB_val env_val(struct view v)
{
    MDB_val val = {.mv_size = v.size};

    memcpy(&val.mv_data, &v.data, sizeof v.data); /* a cast would have to drop the const */
    return val;
}

/* ---- writing ---- */

int env_write_failed(struct env *e, int err)
{
    if (err == ERR_IO || err == ERR_CORRUPT)
        atomic_store(&e->failed, err);
    return err;
}

/* Writing past the file's end makes a sync wait for the file system's journal, and so for other files, which takes several
 * times as long as writing over blocks that are there. So the file is always some way ahead of LMDB, filled with zeros
 * (blocks that are only reserved would have to be journaled, too). Where there is no room to be ahead, there may still be
 * room for what LMDB needs. */
static int stay_ahead(struct env *e)
{
    static const uint8_t zeros[AHEAD_MIN];
    MDB_envinfo info;
    uint64_t used, chunk, end;
    int fd;

    if (e->loading || mdb_env_info(e->file->mdb, &info) != 0 || mdb_env_get_fd(e->file->mdb, &fd) != 0)
        return 0;
    used = (info.me_last_pgno + 1) * e->page_size;
    if (e->ready < used)
        e->ready = used;
    chunk = used / 8 < AHEAD_MIN ? AHEAD_MIN : used / 8;
    chunk = chunk > AHEAD_MAX ? AHEAD_MAX : chunk - chunk % AHEAD_MIN;
    end = e->ready + chunk;
    if (e->ready - used > chunk / 2 || end > e->map_pages * e->page_size)
        return 0;
    while (e->ready < end) {
        ssize_t size = pwrite(fd, zeros, sizeof zeros, (off_t)e->ready);

        if (size < 0)
            return err_from_errno(errno) == ERR_IO ? ERR_IO : 0;
        e->ready += (uint64_t)size;
        if (size < (ssize_t)sizeof zeros)
            return 0;
    }
    return 0;
}

int env_write_begin(struct env *e, MDB_txn **out)
{
    int rc, err;

    if (atomic_load(&e->failed) != 0)
        return atomic_load(&e->failed);
    err = stay_ahead(e);
    if (err != 0)
        return env_write_failed(e, err);
    rc = mdb_txn_begin(e->file->mdb, NULL, 0, out);
    return rc == 0 ? 0 : env_write_failed(e, env_error(e, rc));
}

/* After a commit that failed for want of room the environment is usable, unless it was the meta page that could not be
 * written: then LMDB refuses every transaction from now on. */
static bool poisoned(struct env *e)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->file->mdb, NULL, MDB_RDONLY, &txn);

    if (rc == 0)
        mdb_txn_abort(txn);
    return rc == MDB_PANIC;
}

int env_write_commit(struct env *e, MDB_txn *txn)
{
    int rc = mdb_txn_commit(txn);
    int err = env_error(e, rc);

    if (err == ERR_NO_SPACE && poisoned(e))
        err = ERR_IO;
    return err == 0 ? 0 : env_write_failed(e, err);
}

int env_write_abort(struct env *e, MDB_txn *txn, int err)
{
    mdb_txn_abort(txn);
    return env_write_failed(e, err);
}

/* ---- reading ---- */

static struct env_reader *pool_take(struct env *e)
{
    struct env_reader *r;

    pthread_mutex_lock(&e->lock);
    r = e->idle;
    if (r != NULL) {
        e->idle = r->next;
        e->open++;
        r->file = e->file;
        r->file->users++;
    }
    pthread_mutex_unlock(&e->lock);
    return r;
}

static void pool_give(struct env *e, struct env_reader *r)
{
    struct env_file *f = r->file;

    pthread_mutex_lock(&e->lock);
    if (f->replaced)
        env_reader_clear(r);
    r->next = e->idle; /* the one used last is used next: its memory is warm, and few are ever made */
    e->idle = r;
    e->open--;
    pthread_mutex_unlock(&e->lock);
    env_file_release(e, f);
}

int env_read_begin(struct env *e, struct env_reader **out)
{
    struct env_reader *r = pool_take(e);
    int rc;

    if (r == NULL)
        return ERR_NO_RESOURCES;
    if (r->txn == NULL)
        rc = mdb_txn_begin(r->file->mdb, NULL, MDB_RDONLY, &r->txn);
    else
        rc = mdb_txn_renew(r->txn);
    if (rc != 0) {
        pool_give(e, r);
        return env_error(e, rc);
    }
    *out = r;
    return 0;
}

void env_read_end(struct env *e, struct env_reader *r)
{
    if (r == NULL)
        return;
    mdb_txn_reset(r->txn);
    pool_give(e, r);
}

int env_reader_cursor(struct env *e, struct env_reader *r, unsigned table, MDB_cursor **out)
{
    int rc = 0;

    if (r->cursor != NULL && mdb_cursor_dbi(r->cursor) != e->tables[table]) {
        mdb_cursor_close(r->cursor);
        r->cursor = NULL;
    }
    if (r->cursor == NULL)
        rc = mdb_cursor_open(r->txn, e->tables[table], &r->cursor);
    else
        rc = mdb_cursor_renew(r->txn, r->cursor);
    if (rc != 0)
        return env_error(e, rc);
    *out = r->cursor;
    return 0;
}

unsigned env_readers_open(struct env *e)
{
    unsigned open;

    pthread_mutex_lock(&e->lock);
    open = e->open;
    pthread_mutex_unlock(&e->lock);
    return open;
}

int env_meta_get(struct env *e, MDB_txn *txn, const char *name, struct view *out)
{
    return env_error(e, get_meta(txn, name, out));
}

int env_meta_put(struct env *e, MDB_txn *txn, const char *name, struct view value)
{
    return env_error(e, put_meta(txn, name, value));
}

/* ---- sizes ---- */

static uint64_t pages_of(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_stat st;

    if (mdb_stat(txn, dbi, &st) != 0)
        return 0;
    return st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
}

uint64_t env_used_pages(struct env *e, MDB_txn *txn)
{
    uint64_t pages = 2 + pages_of(txn, FREE_DBI) + pages_of(txn, META_DBI); /* 2 meta pages */

    for (unsigned i = 0; i < ENV_TABLES_MAX; i++) {
        if (e->tables[i] != 0)
            pages += pages_of(txn, e->tables[i]);
    }
    return pages;
}

uint64_t env_map_pages(const struct env *e)
{
    return e->map_pages;
}

uint64_t env_page_size(const struct env *e)
{
    return e->page_size;
}

uint64_t env_disk_free(const struct env *e)
{
    return disk_free(e->path);
}

uint64_t env_disk_size(struct env *e)
{
    struct env_file *f = file_use(e);
    struct stat st;
    uint64_t size = file_stat(f, &st) ? (uint64_t)st.st_blocks * 512 : 0;

    env_file_release(e, f);
    return size;
}

int env_sync(struct env *e)
{
    struct env_file *f;
    int rc;

    if (atomic_load(&e->failed) != 0)
        return atomic_load(&e->failed);
    f = file_use(e);
    rc = mdb_env_sync(f->mdb, 1);
    env_file_release(e, f);
    /* Whatever the cause: after a failed sync the kernel may have dropped what it could not write. */
    return rc == 0 ? 0 : env_write_failed(e, ERR_IO);
}
