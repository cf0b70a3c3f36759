/* A power cut at any moment, with a disk that keeps any part of what was not yet flushed: every state of the file that could
 * be found afterwards opens, and holds what was acknowledged [TESTING 4c1, A8].
 *
 * This program's own pwrite, writev and fdatasync stand before libc's, so the writes to data.mdb and to the log's journal
 * pass through here: they are done, and recorded. A crash state is what was flushed, and of what was not an arbitrary choice
 * of 512-byte sectors, each as of any of its unflushed writes. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history.h"
#include "store_test.h"

#define SECTOR     512u
#define FILE_SIZE  (4u << 20)
#define WRITES_MAX 512u
#define FILES_MAX  2u
#define MAP_SIZE   (64u << 20)

struct pending {
    unsigned file;
    off_t offset;
    size_t size;
    uint8_t *data;
};

static struct {
    bool on, lying; /* lying: the disk says that it has flushed, and has not */
    unsigned file_count;
    struct {
        const char *name;
        ino_t inode;
        uint8_t *disk; /* what is safe; FILE_SIZE bytes */
        size_t size;
    } files[FILES_MAX];
    unsigned count;
    struct pending writes[WRITES_MAX];
    void (*look)(void); /* called between any two writes */
} power;

/* ---- the recorder ---- */

/* libc's own function, which ours stands before. ISO C knows no conversion for it. */
static void find_real(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    ck_assert_ptr_nonnull(symbol);
    memcpy(function, &symbol, sizeof symbol);
}

/* Which of the files this is; FILES_MAX: none that is recorded. */
static unsigned file_of(int fd)
{
    unsigned i = 0;
    struct stat st;

    if (!power.on || fstat(fd, &st) != 0)
        return FILES_MAX;
    while (i < power.file_count && power.files[i].inode != st.st_ino)
        i++;
    return i < power.file_count ? i : FILES_MAX;
}

static void make_safe(const struct pending *w)
{
    size_t end = (size_t)w->offset + w->size;

    ck_assert_uint_le(end, FILE_SIZE);
    memcpy(power.files[w->file].disk + w->offset, w->data, w->size);
    if (power.files[w->file].size < end)
        power.files[w->file].size = end;
}

static void flush_file(unsigned file)
{
    unsigned kept = 0;

    if (power.lying && power.count < WRITES_MAX / 2)
        return;
    for (unsigned i = 0; i < power.count; i++) {
        struct pending *w = &power.writes[i];

        if (w->file != file) {
            power.writes[kept++] = *w;
            continue;
        }
        make_safe(w);
        free(w->data);
    }
    power.count = kept;
}

static void record(int fd, unsigned file, const void *data, size_t size, off_t offset)
{
    struct pending w = {.file = file, .offset = offset, .size = size, .data = malloc(size)};

    memcpy(w.data, data, size);
    ck_assert_uint_lt(power.count, WRITES_MAX);
    power.writes[power.count++] = w;
    power.look();
    if ((fcntl(fd, F_GETFL) & O_DSYNC) == 0)
        return;
    if (power.lying) {
        flush_file(file); /* some time */
        return;
    }
    power.count--; /* it flushes itself, and nothing else */
    make_safe(&w);
    free(w.data);
    power.look();
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t);
    unsigned file = file_of(fd);

    find_real("pwrite", &real);
    if (file < FILES_MAX)
        record(fd, file, buf, n, offset);
    return real(fd, buf, n, offset);
}

ssize_t writev(int fd, const struct iovec *iovec, int count)
{
    ssize_t (*real)(int, const struct iovec *, int);
    unsigned file = file_of(fd);

    find_real("writev", &real);
    if (file < FILES_MAX) {
        off_t at = lseek(fd, 0, SEEK_CUR);

        for (int i = 0; i < count; i++) {
            record(fd, file, iovec[i].iov_base, iovec[i].iov_len, at);
            at += (off_t)iovec[i].iov_len;
        }
    }
    return real(fd, iovec, count);
}

int fdatasync(int fildes)
{
    int (*real)(int);
    unsigned file = file_of(fildes);

    find_real("fdatasync", &real);
    if (file < FILES_MAX) {
        flush_file(file);
        power.look();
    }
    return real(fildes);
}

static void record_file(const char *dir, const char *name)
{
    unsigned i = power.file_count++;
    char path[600];
    struct stat st;
    FILE *f;

    ck_assert_uint_lt(i, FILES_MAX);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    power.files[i].name = name;
    power.files[i].inode = st.st_ino;
    power.files[i].disk = calloc(1, FILE_SIZE);
    power.files[i].size = fread(power.files[i].disk, 1, FILE_SIZE, f);
    fclose(f);
}

static void start_recording(void (*look)(void))
{
    power.look = look;
    power.on = true;
}

static void stop_recording(void)
{
    power.on = false;
    for (unsigned i = 0; i < power.count; i++)
        free(power.writes[i].data);
    power.count = 0;
    for (unsigned i = 0; i < power.file_count; i++)
        free(power.files[i].disk);
    power.file_count = 0;
}

/* ---- crash states ---- */

static void lay_sectors(uint8_t *image, const struct pending *w, uint32_t percent)
{
    for (size_t at = 0; at < w->size; at += SECTOR) {
        size_t size = w->size - at < SECTOR ? w->size - at : SECTOR;

        if (random_below(100) < percent)
            memcpy(image + w->offset + at, w->data + at, size);
    }
}

/* A file as it may be found. LMDB never writes past its file's end without filling it, and a file system may record the new
 * length before the new bytes: so the length is that of everything, and what is missing is 0. */
static void make_file(const char *dir, unsigned file, uint32_t percent)
{
    static uint8_t image[FILE_SIZE];
    size_t size = power.files[file].size;
    char path[600];
    FILE *f;

    memcpy(image, power.files[file].disk, FILE_SIZE);
    for (unsigned i = 0; i < power.count; i++) {
        const struct pending *w = &power.writes[i];

        if (w->file != file)
            continue;
        lay_sectors(image, w, percent);
        if (size < (size_t)w->offset + w->size)
            size = (size_t)w->offset + w->size;
    }
    snprintf(path, sizeof path, "%s/%s", dir, power.files[file].name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(image, 1, size, f), size);
    fclose(f);
}

/* All files, in a directory of their own. */
static void make_state(const char *dir)
{
    static const uint32_t percents[] = {0, 10, 50, 50, 90, 100};
    char lock[600];

    mkdir(dir, 0700);
    snprintf(lock, sizeof lock, "%s/lock.mdb", dir);
    unlink(lock);
    for (unsigned i = 0; i < power.file_count; i++)
        make_file(dir, i, percents[random_below(sizeof percents / sizeof percents[0])]);
}

static void setup(void)
{
    temp_make();
}

static void teardown(void)
{
    temp_remove(temp_path(""));
}

/* ---- the log ---- */

static struct log_history acked, in_flight;
static unsigned states, every, bad;

static bool log_state_is_good(struct why *why)
{
    struct log_store *s;
    bool good;

    if (log_store_open(temp_path("cut"), MAP_SIZE, &s, why) != 0)
        return false;
    good = log_history_holds(&acked, s, why) || log_history_holds(&in_flight, s, why);
    log_store_close(s);
    return good;
}

static void look_at_log(void)
{
    struct why why = {""};

    if (random_below(every) != 0)
        return;
    power.on = false;
    make_state(temp_path("cut"));
    ck_assert_msg(log_state_is_good(&why), "after step %u: %s", acked.step, why.text);
    states++;
    power.on = true;
}

static void write_steps(struct log_store *s, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        struct entry *entries[HISTORY_BATCH_MAX];
        struct log_write w;

        log_history_next(&in_flight, &w, entries);
        ck_assert_int_eq(log_store_write(s, &w), 0);
        log_history_drop(&w);
        acked = in_flight;
        if (log_store_wants_checkpoint(s))
            ck_assert_int_eq(log_store_checkpoint(s), 0);
    }
}

static struct log_store *open_log(void)
{
    struct log_store *s;

    memset(&acked, 0, sizeof acked);
    memset(&in_flight, 0, sizeof in_flight);
    ck_assert_int_eq(log_store_open(temp_path("log"), MAP_SIZE, &s, NULL), 0);
    write_steps(s, 100); /* so that pages are used again from here on */
    return s;
}

START_TEST(the_log_survives_a_power_cut_at_any_moment)
{
    struct log_store *s = open_log();

    record_file(temp_path("log"), "data.mdb");
    record_file(temp_path("log"), "journal");
    start_recording(look_at_log);
    states = 0;
    every = 8;
    write_steps(s, 1500); /* the journal's halves are used several times */
    stop_recording();
    log_store_close(s);
    ck_assert_uint_gt(states, 300);
}
END_TEST

/* Does the test see anything at all? On a disk that lies about flushing it must find damage. LMDB may then read wild, so each
 * state has a process of its own. */
static void look_for_damage(void)
{
    int status;
    pid_t pid;

    if (random_below(every) != 0)
        return;
    power.on = false;
    make_state(temp_path("cut"));
    pid = fork();
    if (pid == 0) {
        struct why why;

        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        _exit(log_state_is_good(&why) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    bad += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    states++;
    power.on = true;
}

START_TEST(a_lying_disk_is_found_out)
{
    struct log_store *s = open_log();

    power.lying = true;
    record_file(temp_path("log"), "data.mdb");
    record_file(temp_path("log"), "journal");
    start_recording(look_for_damage);
    states = bad = 0;
    every = 40;
    write_steps(s, 800);
    stop_recording();
    power.lying = false;
    log_store_close(s);
    ck_assert_uint_gt(states, 10);
    ck_assert_uint_gt(bad, states / 2);
}
END_TEST

/* ---- the map ---- */

static raft_index map_acked, map_before, map_next, map_settled;

/* MDB_NOMETASYNC: the last transaction may be undone, but wholly, and no more than it; nothing that was settled. */
static void look_at_map(void)
{
    struct kv_store *s;
    struct why why = {""};
    raft_index applied = 0;

    if (random_below(every) != 0)
        return;
    power.on = false;
    make_state(temp_path("cut"));
    ck_assert_msg(kv_store_open(temp_path("cut"), MAP_SIZE, 1, &s, &why) == 0, "%s", why.text);
    ck_assert_msg(kv_history_holds(s, &applied, &why), "%s", why.text);
    kv_store_close(s);
    ck_assert(applied == map_before || applied == map_acked || applied == map_next);
    ck_assert_uint_ge(applied, map_settled);
    states++;
    power.on = true;
}

static void apply_steps(struct kv_store *s, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        struct entry *entries[HISTORY_BATCH_MAX];
        struct command_result results[HISTORY_BATCH_MAX];
        unsigned count = kv_history_next(map_acked, entries);

        map_next = map_acked + count;
        ck_assert_int_eq(apply_and_commit(s, entries, count, results), 0);
        unref_all(entries, count);
        map_before = map_acked;
        map_acked = map_next;
        if (i % 10 == 9)
            ck_assert_int_eq(kv_store_sync(s, &map_settled), 0);
    }
}

START_TEST(the_map_survives_a_power_cut_at_any_moment)
{
    struct kv_store *s;

    map_acked = map_before = map_next = map_settled = 0;
    ck_assert_int_eq(kv_store_open(temp_path("kv"), MAP_SIZE, 1, &s, NULL), 0);
    apply_steps(s, 100);
    record_file(temp_path("kv"), "data.mdb");
    start_recording(look_at_map);
    states = 0;
    every = 10;
    apply_steps(s, 200);
    stop_recording();
    kv_store_close(s);
    ck_assert_uint_gt(states, 100);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, the_log_survives_a_power_cut_at_any_moment);
    tcase_add_test(t, a_lying_disk_is_found_out);
    tcase_add_test(t, the_map_survives_a_power_cut_at_any_moment);
}

int main(void)
{
    const char *seed = getenv("SEED");

    random_seed(seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1);
    return run_tests("power", setup, teardown, add);
}
