#include "store/log_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/text.h"
#include "store/file.h"

#define FILE_NAME     "journal"
#define FILE_SIZE     (2 * JOURNAL_HALF_SIZE)
#define BLOCK         4096u /* what O_DIRECT wants aligned, on nearly any disk */
#define HEADER_SIZE   88u
#define CHECKSUM_SIZE 8u
#define MAGIC         UINT64_C(0x6c6e6a6474666172) /* "raftdjnl" */

struct header {
    uint64_t checksum, magic, generation, salt, sequence;
    struct raft_hard_state hard;
    struct raft_pos base;
    raft_index first;
    uint32_t count, size;
};

struct log_journal {
    char path[PATH_MAX];
    int fd;
    bool failed, unsure;
    struct log_journal_id id;
    uint64_t generation;
    uint64_t sequence; /* of the next record */
    uint32_t end;      /* of what the generation holds, in its half */
    uint8_t *block;    /* aligned: a whole record goes to the disk from here */
    struct bytes header;
};

static void walk_header(struct codec *c, struct header *h)
{
    codec_u64(c, &h->checksum);
    codec_u64(c, &h->magic);
    codec_u64(c, &h->generation);
    codec_u64(c, &h->salt);
    codec_u64(c, &h->sequence);
    codec_u64(c, &h->hard.term);
    codec_u64(c, &h->hard.vote);
    codec_u64(c, &h->base.index);
    codec_u64(c, &h->base.term);
    codec_u64(c, &h->first);
    codec_u32(c, &h->count);
    codec_u32(c, &h->size);
}

static uint32_t record_size(uint64_t bytes)
{
    return (uint32_t)((HEADER_SIZE + bytes + BLOCK - 1) / BLOCK * BLOCK);
}

static off_t half_offset(uint64_t generation)
{
    return (off_t)(generation % 2 * JOURNAL_HALF_SIZE);
}

/* ---- the file ---- */

/* Some want more aligned than a block, or by a short write were left with less: then through the page cache. */
static bool leave_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_DIRECT) != 0 && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

static int write_all(int fd, const uint8_t *data, size_t size, off_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, offset);

        if (n < 0 && (errno == EINTR || (errno == EINVAL && leave_direct(fd))))
            continue;
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : ERR_IO;
        data += n;
        size -= (size_t)n;
        offset += n;
    }
    return 0;
}

static int fill_with_zeros(int fd)
{
    static const uint8_t zeros[64 << 10];
    int err = 0;

    for (off_t at = 0; at < (off_t)FILE_SIZE && err == 0; at += (off_t)sizeof zeros)
        err = write_all(fd, zeros, sizeof zeros, at);
    if (err == 0 && fsync(fd) != 0)
        err = err_from_errno(errno);
    return err;
}

int log_journal_make(const char *directory, struct why *why)
{
    char path[PATH_MAX];
    int fd = -1;
    int err = path_join(path, sizeof path, directory, FILE_NAME);

    if (err != 0)
        return why_set(why, err, "%s: the name is too long", directory);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    err = fd < 0 ? err_from_errno(errno) : fill_with_zeros(fd);
    if (fd >= 0)
        close(fd);
    if (err == 0)
        err = dir_sync(directory);
    return err == 0 ? 0 : why_set(why, err, "cannot make %s: %s", path, err_text(err));
}

/* Past the page cache where the file system can do that: a write is then one request to the disk and one flush. */
static int open_direct(const char *path)
{
    int fd = open(path, O_WRONLY | O_DSYNC | O_DIRECT | O_CLOEXEC);

    return fd < 0 && errno == EINVAL ? open(path, O_WRONLY | O_DSYNC | O_CLOEXEC) : fd;
}

int log_journal_open(const char *directory, struct log_journal_id id, bool read_only, struct log_journal **out,
                     struct why *why)
{
    struct log_journal *j = xcalloc(1, sizeof *j);
    struct stat st;
    int err = path_join(j->path, sizeof j->path, directory, FILE_NAME);

    j->fd = -1;
    j->id = id;
    j->generation = id.settled + 1;
    bytes_init(&j->header, HEADER_SIZE);
    j->block = aligned_alloc(BLOCK, record_size(JOURNAL_RECORD_MAX));
    CHECK(j->block != NULL);
    if (err != 0) {
        why_set(why, err, "%s: the name is too long", directory);
        goto out;
    }
    j->fd = read_only ? open(j->path, O_RDONLY | O_CLOEXEC) : open_direct(j->path);
    if (j->fd < 0) {
        err = errno == ENOENT ? ERR_CORRUPT : err_from_errno(errno);
        why_set(why, err, "cannot open %s: %s", j->path, strerror(errno));
        goto out;
    }
    if (fstat(j->fd, &st) != 0 || st.st_size != (off_t)FILE_SIZE) {
        err = why_set(why, ERR_CORRUPT, "%s is damaged: it should have %u bytes", j->path, FILE_SIZE);
        goto out;
    }
    *out = j;
    j = NULL;
out:
    log_journal_close(j);
    return err;
}

void log_journal_close(struct log_journal *j)
{
    if (j == NULL)
        return;
    if (j->fd >= 0)
        close(j->fd);
    bytes_clear(&j->header);
    free(j->block);
    free(j);
}

/* ---- reading it again ---- */

static int read_half(const struct log_journal *j, uint64_t generation, uint8_t *data)
{
    int fd = open(j->path, O_RDONLY | O_CLOEXEC); /* through the page cache, so that nothing need be aligned */
    size_t got = 0;
    int err = fd < 0 ? err_from_errno(errno) : 0;

    while (err == 0 && got < JOURNAL_HALF_SIZE) {
        ssize_t n = pread(fd, data + got, JOURNAL_HALF_SIZE - got, half_offset(generation) + (off_t)got);

        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || errno != EINTR)
            err = n == 0 ? ERR_CORRUPT : err_from_errno(errno);
    }
    if (fd >= 0)
        close(fd);
    return err;
}

/* Whether a whole record of this generation begins at `at`. */
static bool find_record(const struct log_journal *j, const uint8_t *half, uint32_t at, uint64_t generation,
                        struct header *h)
{
    struct codec c = codec_decoder(view_of(half + at, HEADER_SIZE));

    walk_header(&c, h);
    if (h->magic != MAGIC || h->generation != generation || h->salt != j->id.salt || h->size > JOURNAL_RECORD_MAX ||
        record_size(h->size) > JOURNAL_HALF_SIZE - at)
        return false;
    return checksum(half + at + CHECKSUM_SIZE, HEADER_SIZE - CHECKSUM_SIZE + h->size, 0) == h->checksum;
}

/* Entries of a record of which the checksum is right: if they do not decode, we wrote nonsense. The caller drops what is in
 * `entries` in any case. */
static int decode_entries(const uint8_t *half, uint32_t at, const struct header *h, struct entry **entries)
{
    struct view in = view_of(half + at + HEADER_SIZE, h->size);
    unsigned n = 0;
    int err = 0;

    while (err == 0 && n < h->count) {
        err = entry_decode(&in, &entries[n]);
        if (err == 0 && entry_pos(entries[n]).index != h->first + n)
            err = ERR_CORRUPT;
        n += entries[n] != NULL;
    }
    if (err == 0 && in.size != 0)
        err = ERR_CORRUPT;
    return err == 0 ? 0 : ERR_CORRUPT;
}

static int give_record(const uint8_t *half, uint32_t at, const struct header *h, log_journal_take *take, void *context)
{
    struct entry **entries = NULL;
    struct log_write w = {.hard = h->hard, .first = h->first, .last = h->first + h->count - 1};
    int err;

    if (h->count > h->size / ENTRY_HEADER_SIZE || h->first == 0 || h->first > ENTRY_POSITION_LIMIT)
        return ERR_CORRUPT;
    entries = xcalloc(h->count + 1, sizeof(struct entry *));
    w.entries = entries;
    err = decode_entries(half, at, h, entries);
    if (err == 0)
        err = take(context, h->generation, &w, h->base);
    for (unsigned i = 0; i < h->count && entries[i] != NULL; i++)
        entry_unref(entries[i]);
    free(entries);
    return err;
}

/* A torn record is the last that was written: what follows it must be older. */
static bool something_follows(const struct log_journal *j, const uint8_t *half, uint32_t at, uint64_t generation)
{
    struct header h;

    for (; at < JOURNAL_HALF_SIZE; at += BLOCK)
        if (find_record(j, half, at, generation, &h) && h.sequence >= j->sequence)
            return true;
    return false;
}

/* Replays a generation into *j: its end is where the next record goes. `first`: of those that are not settled, so its first
 * sequence may be any. */
static int replay_half(struct log_journal *j, uint64_t generation, bool first, uint8_t *half, log_journal_take *take,
                       void *context, struct why *why)
{
    uint32_t at = 0;
    unsigned number = 0;
    struct header h;
    int err = read_half(j, generation, half);

    while (err == 0 && at < JOURNAL_HALF_SIZE && find_record(j, half, at, generation, &h) &&
           (h.sequence == j->sequence || (first && number == 0))) {
        err = give_record(half, at, &h, take, context);
        at += record_size(h.size);
        j->sequence = h.sequence + 1;
        number++;
    }
    if (err == 0 && something_follows(j, half, at, generation))
        err = ERR_CORRUPT;
    if (err != 0)
        return why_set(why, err, "%s is damaged: record %u of generation %llu: %s", j->path, number,
                       (unsigned long long)generation, err_text(err));
    if (number > 0) {
        j->generation = generation;
        j->end = at;
    }
    return 0;
}

/* The generation that should be empty, for the one before it is. */
static int expect_nothing(struct log_journal *j, uint64_t generation, uint8_t *half, struct why *why)
{
    int err = read_half(j, generation, half);

    if (err == 0 && something_follows(j, half, 0, generation))
        err = ERR_CORRUPT;
    return err == 0 ? 0
                    : why_set(why, err, "%s is damaged: generation %llu is missing", j->path,
                              (unsigned long long)(generation - 1));
}

int log_journal_replay(struct log_journal *j, log_journal_take *take, void *context, struct why *why)
{
    uint8_t *half = xmalloc(JOURNAL_HALF_SIZE);
    int err = replay_half(j, j->id.settled + 1, true, half, take, context, why);

    if (err == 0 && j->end == 0)
        err = expect_nothing(j, j->id.settled + 2, half, why);
    else if (err == 0)
        err = replay_half(j, j->id.settled + 2, false, half, take, context, why);
    free(half);
    return err;
}

/* ---- writing ---- */

uint64_t log_journal_generation(const struct log_journal *j)
{
    return j->generation;
}

bool log_journal_has_room(const struct log_journal *j, uint64_t bytes)
{
    return bytes <= JOURNAL_RECORD_MAX && record_size(bytes) <= JOURNAL_HALF_SIZE - j->end;
}

bool log_journal_failed(const struct log_journal *j)
{
    return j->failed;
}

bool log_journal_unsure(const struct log_journal *j)
{
    return j->unsure;
}

void log_journal_next(struct log_journal *j)
{
    j->generation++;
    j->end = 0;
    j->unsure = false;
}

/* The record, with its entries and zeros up to the end of its last block, into j->block. */
static uint32_t build_record(struct log_journal *j, const struct log_write *w, struct raft_pos base)
{
    struct header h = {.magic = MAGIC,
                       .generation = j->generation,
                       .salt = j->id.salt,
                       .sequence = j->sequence,
                       .hard = w->hard,
                       .base = base,
                       .first = w->first};
    struct codec c = codec_encoder(&j->header);
    uint32_t size = 0;

    for (raft_index i = w->first; i <= w->last; i++) {
        const struct entry *e = w->entries[i - w->first];

        CHECK(e->size <= JOURNAL_RECORD_MAX - h.size);
        memcpy(j->block + HEADER_SIZE + h.size, e->bytes, e->size);
        h.size += e->size;
        h.count++;
    }
    size = record_size(h.size);
    memset(j->block + HEADER_SIZE + h.size, 0, size - HEADER_SIZE - h.size);
    bytes_reset(&j->header);
    walk_header(&c, &h);
    CHECK(codec_finish(&c) == 0);
    memcpy(j->block, j->header.data, HEADER_SIZE);
    codec_put_u64(j->block, checksum(j->block + CHECKSUM_SIZE, HEADER_SIZE - CHECKSUM_SIZE + h.size, 0));
    return size;
}

int log_journal_append(struct log_journal *j, const struct log_write *w, struct raft_pos base)
{
    uint32_t size = 0;
    int err;

    CHECK(!w->begin_anew);
    if (j->failed)
        return ERR_IO;
    size = build_record(j, w, base);
    CHECK(size <= JOURNAL_HALF_SIZE - j->end);
    err = write_all(j->fd, j->block, size, half_offset(j->generation) + (off_t)j->end);
    if (err != 0) {
        j->unsure = err == ERR_NO_SPACE;
        j->failed = !j->unsure;
        return err == ERR_NO_SPACE ? err : ERR_IO;
    }
    j->unsure = false;
    j->end += size;
    j->sequence++;
    return 0;
}
