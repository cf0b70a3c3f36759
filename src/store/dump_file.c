#include "store/dump_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/codec.h"
#include "store/env.h"
#include "store/file.h"
#include "wire/dump.h"

#define DISK_RESERVE (8u << 20)  /* what a dump leaves free: the log and the map are more important */
#define HEADER_BYTES (32u << 10) /* a header is shorter */
#define PIECE_BYTES  (1u << 20)  /* read at once */

struct dump_file {
    char *path;
    int fd;        /* -1: closed */
    uint64_t size; /* as it was opened, or written so far */
};

struct dump_file *dump_file_new(const char *path)
{
    struct dump_file *f = xcalloc(1, sizeof *f);

    f->path = xmalloc(strlen(path) + 1);
    memcpy(f->path, path, strlen(path) + 1);
    f->fd = -1;
    return f;
}

void dump_file_close(struct dump_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->size = 0;
}

void dump_file_free(struct dump_file *f)
{
    if (f == NULL)
        return;
    dump_file_close(f);
    free(f->path);
    free(f);
}

bool dump_file_is_open(const struct dump_file *f)
{
    return f->fd >= 0;
}

uint64_t dump_file_size(const struct dump_file *f)
{
    return f->size;
}

static int open_with(struct dump_file *f, int flags)
{
    struct stat st;

    dump_file_close(f);
    f->fd = open(f->path, flags | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : err_from_errno(errno);
    if (fstat(f->fd, &st) != 0) {
        dump_file_close(f);
        return ERR_IO;
    }
    f->size = (uint64_t)st.st_size;
    return 0;
}

int dump_file_read(struct dump_file *f, uint64_t offset, void *out, size_t size)
{
    uint8_t *at = out;

    while (size > 0) {
        ssize_t n = pread(f->fd, at, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? ERR_CORRUPT : err_from_errno(errno);
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

/* *d has got the header. */
static int read_header(struct dump_file *f, struct dump_decoder *d)
{
    size_t size = f->size < HEADER_BYTES ? (size_t)f->size : HEADER_BYTES;
    uint8_t *head = xmalloc(size + 1);
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;
    int err = dump_file_read(f, 0, head, size);

    if (err == 0) {
        dump_decoder_feed(d, view_of(head, size));
        err = dump_decoder_next(d, &step, &record);
    }
    free(head);
    return err == 0 && step != DUMP_HEADER ? ERR_CORRUPT : err;
}

static int read_id(struct dump_file *f, struct dump_id *id)
{
    uint8_t sum[8];
    struct dump_decoder *d = NULL;
    int err = 0;

    if (f->size < DUMP_LEAST_BYTES)
        return ERR_CORRUPT;
    d = dump_decoder_new();
    err = read_header(f, d);
    if (err == 0)
        err = dump_file_read(f, f->size - sizeof sum, sum, sizeof sum);
    if (err == 0)
        *id =
            (struct dump_id){.pos = dump_decoder_header(d)->position, .size = f->size, .checksum = codec_get_u64(sum)};
    dump_decoder_free(d);
    return err;
}

int dump_file_open(struct dump_file *f, struct dump_id *id)
{
    int err = open_with(f, O_RDONLY);

    if (err == 0 && id != NULL)
        err = read_id(f, id);
    if (err != 0)
        dump_file_close(f);
    return err;
}

int dump_file_create(struct dump_file *f)
{
    return open_with(f, O_RDWR | O_CREAT | O_TRUNC);
}

int dump_file_create_nameless(struct dump_file *f)
{
    char name[PATH_MAX];

    dump_file_close(f);
    if (snprintf(name, sizeof name, "%s.XXXXXX", f->path) >= (int)sizeof name)
        return ERR_TOO_LONG;
    f->fd = mkostemp(name, O_CLOEXEC);
    if (f->fd < 0)
        return err_from_errno(errno);
    return unlink(name) == 0 ? 0 : err_from_errno(errno);
}

static bool leaves_reserve(const struct dump_file *f, size_t size)
{
    struct statvfs fs;

    return fstatvfs(f->fd, &fs) != 0 || (uint64_t)fs.f_bavail * fs.f_frsize >= size + DISK_RESERVE;
}

int dump_file_write(struct dump_file *f, uint64_t offset, struct view bytes)
{
    const uint64_t begin = offset;
    int err = f->fd >= 0 ? 0 : open_with(f, O_RDWR);

    if (err == 0 && !leaves_reserve(f, bytes.size))
        return ERR_NO_SPACE;
    while (err == 0 && bytes.size > 0) {
        ssize_t n = pwrite(f->fd, bytes.data, bytes.size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? ERR_NO_SPACE : err_from_errno(errno);
        bytes = view_of(bytes.data + n, bytes.size - (size_t)n);
        offset += (uint64_t)n;
        if (offset > f->size)
            f->size = offset;
    }
    return err == 0 && offset > begin ? file_write_out(f->fd, begin, offset - begin) : err;
}

int dump_file_sync(struct dump_file *f)
{
    return fdatasync(f->fd) == 0 ? 0 : err_from_errno(errno);
}

int dump_file_publish(struct dump_file *f, const char *path)
{
    int err = dump_file_sync(f);

    dump_file_close(f);
    if (err == 0 && rename(f->path, path) != 0)
        err = err_from_errno(errno);
    return err == 0 ? dir_sync_parent(path) : err;
}

int dump_file_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? 0 : err_from_errno(errno);
}

int dump_file_peek(const char *path, uint64_t *cluster, struct raft_pos *pos)
{
    struct dump_file *f = dump_file_new(path);
    struct dump_decoder *d = dump_decoder_new();
    int err = dump_file_open(f, NULL);

    if (err == 0)
        err = read_header(f, d);
    if (err == 0) {
        *cluster = dump_decoder_header(d)->cluster;
        *pos = dump_decoder_header(d)->position;
    }
    dump_decoder_free(d);
    dump_file_free(f);
    return err;
}

/* As many bytes as end a step of the decoder are good: what comes behind them is not all there, or wrong. */
static int take_steps(struct dump_decoder *d, uint64_t *whole)
{
    enum dump_step step = DUMP_HEADER;
    struct dump_record record;
    int err = 0;

    while (err == 0 && step != DUMP_WANTS_MORE && step != DUMP_END) {
        err = dump_decoder_next(d, &step, &record);
        if (err == 0 && step != DUMP_WANTS_MORE)
            *whole = dump_decoder_offset(d);
    }
    return err;
}

static int read_whole(struct dump_file *f, struct dump_decoder *d, const atomic_bool *cancel, uint64_t *whole)
{
    uint8_t *piece = xmalloc(PIECE_BYTES);
    int err = 0;

    for (uint64_t at = 0; err == 0 && at < f->size;) {
        size_t size = f->size - at < PIECE_BYTES ? (size_t)(f->size - at) : PIECE_BYTES;

        err = atomic_load(cancel) ? ERR_STOPPED : dump_file_read(f, at, piece, size);
        if (err != 0)
            break;
        at += size;
        dump_decoder_feed(d, view_of(piece, size));
        err = take_steps(d, whole);
    }
    free(piece);
    return err == ERR_CORRUPT && *whole > 0 ? 0 : err;
}

int dump_file_whole(const char *path, const atomic_bool *cancel, uint64_t *whole)
{
    struct dump_file *f = dump_file_new(path);
    struct dump_decoder *d = dump_decoder_new();
    uint64_t size = 0;
    int err = dump_file_open(f, NULL);

    if (err == 0)
        err = read_whole(f, d, cancel, &size);
    if (err == 0)
        *whole = size;
    dump_decoder_free(d);
    dump_file_free(f);
    return err;
}
