#include "crash_disk.h"

#include <check.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store_test.h"

#define SECTOR      512u
#define NAME_MAX_   64u   /* bytes of a path below the root */
#define FILES_MAX   4096u /* that ever were */
#define NAMES_MAX   64u   /* at a time */
#define CHANGES_MAX 256u
#define LYING_MAX   256u /* writes that a lying disk holds back */

struct file {
    bool directory;
    ino_t inode; /* 0: it has no name any more */
    uint8_t *safe;
    size_t size, room;
};

struct pending {
    unsigned file;
    off_t offset;
    size_t size;
    uint8_t *data;
};

struct name {
    char path[NAME_MAX_];
    unsigned file;
};

struct names {
    unsigned count;
    struct name list[NAMES_MAX];
};

/* A change of names: `path` is then `file`, or gone (no file); with `from`, that name is gone by it. */
struct change {
    char path[NAME_MAX_], from[NAME_MAX_];
    bool gone;
    unsigned file;
};

static struct {
    bool on, lies;
    char root[300];
    size_t root_size;
    void (*look)(void);
    unsigned file_count;
    struct file files[FILES_MAX];
    struct names now, safe;
    unsigned change_count;
    struct change changes[CHANGES_MAX];
    size_t pending_count, pending_room;
    struct pending *pending;
} disk;

/* libc's own function, which ours stands before. ISO C knows no conversion for it. */
static void find_real(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL)
        abort(); /* libcheck itself comes by here, where nothing may be asserted */
    memcpy(function, &symbol, sizeof symbol);
}

static void look(void)
{
    disk.on = false;
    disk.look();
    disk.on = true;
}

/* ---- names ---- */

/* The path below the root, or NULL: not of ours. */
static const char *below(const char *path)
{
    if (!disk.on || strncmp(path, disk.root, disk.root_size) != 0 || path[disk.root_size] != '/')
        return NULL;
    path += disk.root_size + 1;
    if (strcmp(path, ".") == 0 || strstr(path, "lock.mdb") != NULL)
        return NULL;
    ck_assert_uint_lt(strlen(path), NAME_MAX_);
    return path;
}

static struct name *find_name(struct names *n, const char *path)
{
    for (unsigned i = 0; i < n->count; i++)
        if (strcmp(n->list[i].path, path) == 0)
            return &n->list[i];
    return NULL;
}

static void remove_name(struct names *n, const char *path)
{
    struct name *found = find_name(n, path);

    if (found != NULL)
        *found = n->list[--n->count];
}

static void put_name(struct names *n, const char *path, unsigned file)
{
    struct name *found = find_name(n, path);

    if (found == NULL) {
        ck_assert_uint_lt(n->count, NAMES_MAX);
        found = &n->list[n->count++];
        snprintf(found->path, sizeof found->path, "%s", path);
    }
    found->file = file;
}

/* What lies in a directory goes with it. */
static void move_inner(struct names *n, const char *from, const char *to)
{
    size_t size = strlen(from);
    char moved[NAME_MAX_];

    for (unsigned i = 0; i < n->count; i++) {
        char *path = n->list[i].path;

        if (strncmp(path, from, size) != 0 || path[size] != '/')
            continue;
        ck_assert_int_lt(snprintf(moved, sizeof moved, "%.30s%.30s", to, path + size), (int)sizeof moved);
        memcpy(path, moved, sizeof moved);
    }
}

static void apply_change(struct names *n, const struct change *c)
{
    if (c->from[0] != '\0') {
        remove_name(n, c->from);
        move_inner(n, c->from, c->path);
    }
    if (c->gone)
        remove_name(n, c->path);
    else
        put_name(n, c->path, c->file);
}

static void changes(const struct change *c)
{
    ck_assert_uint_lt(disk.change_count, CHANGES_MAX);
    disk.changes[disk.change_count++] = *c;
    apply_change(&disk.now, c);
    look();
}

static void directory_of(const char *path, char out[NAME_MAX_])
{
    const char *slash = strrchr(path, '/');

    snprintf(out, NAME_MAX_, "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
}

static bool changes_directory(const struct change *c, const char *directory)
{
    char of[NAME_MAX_];

    directory_of(c->path, of);
    return strcmp(of, directory) == 0;
}

static void flush_directory(const char *directory)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < disk.change_count; i++)
        if (changes_directory(&disk.changes[i], directory))
            apply_change(&disk.safe, &disk.changes[i]);
        else
            disk.changes[kept++] = disk.changes[i];
    disk.change_count = kept;
}

/* ---- files ---- */

static unsigned new_file(ino_t inode, bool directory)
{
    unsigned i = disk.file_count++;

    ck_assert_uint_lt(i, FILES_MAX);
    disk.files[i] = (struct file){.inode = inode, .directory = directory};
    return i;
}

/* Which file this is; FILES_MAX: none of ours. */
static unsigned file_of(int fd)
{
    struct stat st;

    if (!disk.on || fstat(fd, &st) != 0)
        return FILES_MAX;
    for (unsigned i = disk.file_count; i-- > 0;)
        if (disk.files[i].inode == st.st_ino)
            return i;
    return FILES_MAX;
}

static void make_room(struct file *f, size_t size)
{
    if (size > f->room) {
        size_t room = 2 * size;

        f->safe = realloc(f->safe, room);
        ck_assert_ptr_nonnull(f->safe);
        memset(f->safe + f->room, 0, room - f->room);
        f->room = room;
    }
    if (size > f->size)
        f->size = size;
}

static void make_safe(const struct pending *w)
{
    struct file *f = &disk.files[w->file];

    make_room(f, (size_t)w->offset + w->size);
    memcpy(f->safe + w->offset, w->data, w->size);
}

static void flush_file(unsigned file)
{
    size_t kept = 0;

    if (disk.lies && disk.pending_count < LYING_MAX)
        return;
    for (size_t i = 0; i < disk.pending_count; i++) {
        struct pending *w = &disk.pending[i];

        if (w->file != file) {
            disk.pending[kept++] = *w;
            continue;
        }
        make_safe(w);
        free(w->data);
    }
    disk.pending_count = kept;
}

static void writes(int fd, unsigned file, const void *data, size_t size, off_t offset)
{
    struct pending w = {.file = file, .offset = offset, .size = size, .data = malloc(size)};

    memcpy(w.data, data, size);
    if (disk.pending_count == disk.pending_room) {
        disk.pending_room = 2 * disk.pending_room + 64;
        disk.pending = realloc(disk.pending, disk.pending_room * sizeof *disk.pending);
        ck_assert_ptr_nonnull(disk.pending);
    }
    disk.pending[disk.pending_count++] = w;
    look();
    if ((fcntl(fd, F_GETFL) & O_DSYNC) == 0)
        return;
    if (disk.lies) {
        flush_file(file); /* some time */
        return;
    }
    disk.pending_count--; /* it flushes itself, and nothing else */
    make_safe(&w);
    free(w.data);
    look();
}

static void syncs(int fd, unsigned file)
{
    struct stat st;

    if (disk.files[file].directory) {
        for (unsigned i = 0; i < disk.now.count; i++)
            if (disk.now.list[i].file == file)
                flush_directory(disk.now.list[i].path);
    } else {
        flush_file(file);
        if (!disk.lies && fstat(fd, &st) == 0 && (size_t)st.st_size < disk.files[file].size)
            disk.files[file].size = (size_t)st.st_size; /* it was cut */
    }
    look();
}

/* ---- in the place of libc's ---- */

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t);
    unsigned file = file_of(fd);

    find_real("pwrite", &real);
    if (file < FILES_MAX)
        writes(fd, file, buf, n, offset);
    return real(fd, buf, n, offset);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    ssize_t (*real)(int, const void *, size_t);
    unsigned file = file_of(fd);

    find_real("write", &real);
    if (file < FILES_MAX)
        writes(fd, file, buf, n, lseek(fd, 0, SEEK_CUR));
    return real(fd, buf, n);
}

ssize_t writev(int fd, const struct iovec *iovec, int count)
{
    ssize_t (*real)(int, const struct iovec *, int);
    unsigned file = file_of(fd);

    find_real("writev", &real);
    if (file < FILES_MAX) {
        off_t at = lseek(fd, 0, SEEK_CUR);

        for (int i = 0; i < count; i++) {
            writes(fd, file, iovec[i].iov_base, iovec[i].iov_len, at);
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
    if (file < FILES_MAX)
        syncs(fildes, file);
    return real(fildes);
}

int fsync(int fd)
{
    int (*real)(int);
    unsigned file = file_of(fd);

    find_real("fsync", &real);
    if (file < FILES_MAX)
        syncs(fd, file);
    return real(fd);
}

/* A file that is opened to be made: it may be there. Cut to nothing, it may be found with what it had. */
static void made(const char *path, int fd)
{
    const struct name *known = find_name(&disk.now, path);
    struct change c = {.from = ""};
    struct stat st;

    if (fstat(fd, &st) != 0 || (known != NULL && disk.files[known->file].inode == st.st_ino))
        return;
    snprintf(c.path, sizeof c.path, "%s", path);
    c.file = new_file(st.st_ino, false);
    changes(&c);
}

int open(const char *file, int oflag, ...)
{
    int (*real)(const char *, int, ...);
    mode_t mode = 0;
    va_list arguments;
    int fd = -1;

    va_start(arguments, oflag);
    if ((oflag & O_CREAT) != 0)
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    find_real("open", &real);
    fd = real(file, oflag, mode);
    if (fd >= 0 && (oflag & O_CREAT) != 0 && below(file) != NULL)
        made(below(file), fd);
    return fd;
}

int rename(const char *old, const char *new)
{
    int (*real)(const char *, const char *);
    const char *from = below(old), *to = below(new);
    struct change c = {.gone = false};
    int rc = 0;

    find_real("rename", &real);
    rc = real(old, new);
    if (rc != 0 || from == NULL || to == NULL || find_name(&disk.now, from) == NULL)
        return rc;
    c.file = find_name(&disk.now, from)->file;
    if (find_name(&disk.now, to) != NULL && !disk.files[c.file].directory)
        disk.files[find_name(&disk.now, to)->file].inode = 0;
    snprintf(c.path, sizeof c.path, "%s", to);
    snprintf(c.from, sizeof c.from, "%s", from);
    changes(&c);
    return rc;
}

static void gone(const char *path)
{
    const struct name *known = find_name(&disk.now, path);
    struct change c = {.gone = true};

    if (known == NULL)
        return;
    disk.files[known->file].inode = 0; /* the number may be another's soon */
    snprintf(c.path, sizeof c.path, "%s", path);
    changes(&c);
}

int unlink(const char *name)
{
    int (*real)(const char *);
    const char *path = below(name);
    int rc = 0;

    find_real("unlink", &real);
    rc = real(name);
    if (rc == 0 && path != NULL)
        gone(path);
    return rc;
}

int rmdir(const char *path)
{
    int (*real)(const char *);
    const char *ours = below(path);
    int rc = 0;

    find_real("rmdir", &real);
    rc = real(path);
    if (rc == 0 && ours != NULL)
        gone(ours);
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    int (*real)(const char *, mode_t);
    const char *ours = below(path);
    struct change c = {.gone = false};
    struct stat st;
    int rc = 0;

    find_real("mkdir", &real);
    rc = real(path, mode);
    if (rc != 0 || ours == NULL || stat(path, &st) != 0)
        return rc;
    snprintf(c.path, sizeof c.path, "%s", ours);
    c.file = new_file(st.st_ino, true);
    changes(&c);
    return rc;
}

/* ---- recording ---- */

static void take_file(const char *full, struct file *f)
{
    int fd = open(full, O_RDONLY);
    ssize_t n = 0;

    ck_assert_int_ge(fd, 0);
    make_room(f, 64u << 10);
    f->size = 0;
    while ((n = read(fd, f->safe + f->size, f->room - f->size)) > 0) {
        size_t size = f->size + (size_t)n;

        make_room(f, size + (64u << 10));
        f->size = size;
    }
    close(fd);
}

/* All that is in the directory `path` below the root ("": the root). */
static void take_tree(const char *path)
{
    char full[400], inner[NAME_MAX_];
    struct dirent *e = NULL;
    struct stat st;
    DIR *d = NULL;

    snprintf(full, sizeof full, "%s/%s", disk.root, path);
    d = opendir(full);
    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)) != NULL) {
        unsigned file = 0;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, "lock.mdb") == 0)
            continue;
        ck_assert_int_lt(snprintf(inner, sizeof inner, "%s%s%.40s", path, path[0] != '\0' ? "/" : "", e->d_name),
                         (int)sizeof inner);
        snprintf(full, sizeof full, "%s/%s", disk.root, inner);
        ck_assert_int_eq(stat(full, &st), 0);
        file = new_file(st.st_ino, S_ISDIR(st.st_mode));
        put_name(&disk.now, inner, file);
        if (S_ISDIR(st.st_mode))
            take_tree(inner);
        else
            take_file(full, &disk.files[file]);
    }
    closedir(d);
}

void crash_disk_in_memory(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
}

void crash_disk_record(const char *root, void (*look_at_it)(void))
{
    struct stat st;

    snprintf(disk.root, sizeof disk.root, "%s", root);
    disk.root_size = strlen(disk.root);
    disk.look = look_at_it;
    ck_assert_int_eq(stat(root, &st), 0);
    put_name(&disk.now, "", new_file(st.st_ino, true));
    take_tree("");
    disk.safe = disk.now;
    disk.on = true;
}

void crash_disk_stop(void)
{
    disk.on = false;
    for (size_t i = 0; i < disk.pending_count; i++)
        free(disk.pending[i].data);
    free(disk.pending);
    for (unsigned i = 0; i < disk.file_count; i++)
        free(disk.files[i].safe);
    memset(&disk, 0, sizeof disk);
}

void crash_disk_lies(bool lies)
{
    disk.lies = lies;
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

static size_t size_of(unsigned file)
{
    size_t size = disk.files[file].size;

    for (size_t i = 0; i < disk.pending_count; i++) {
        const struct pending *w = &disk.pending[i];

        if (w->file == file && size < (size_t)w->offset + w->size)
            size = (size_t)w->offset + w->size;
    }
    return size;
}

static void make_file(const char *full, unsigned file)
{
    static const uint32_t percents[] = {0, 10, 50, 50, 90, 100};
    uint32_t percent = percents[random_below(sizeof percents / sizeof percents[0])];
    size_t size = size_of(file);
    uint8_t *image = calloc(1, size + 1);
    FILE *f = fopen(full, "w");

    ck_assert_ptr_nonnull(image);
    ck_assert_ptr_nonnull(f);
    if (disk.files[file].size > 0)
        memcpy(image, disk.files[file].safe, disk.files[file].size);
    for (size_t i = 0; i < disk.pending_count; i++)
        if (disk.pending[i].file == file)
            lay_sectors(image, &disk.pending[i], percent);
    ck_assert_uint_eq(fwrite(image, 1, size, f), size);
    fclose(f);
    free(image);
}

/* Of each directory, its changes up to one that is drawn. */
static void choose_names(struct names *out)
{
    bool decided[CHANGES_MAX] = {false};

    *out = disk.safe;
    for (unsigned i = 0; i < disk.change_count; i++) {
        char directory[NAME_MAX_];
        bool goes_on = true;

        directory_of(disk.changes[i].path, directory);
        for (unsigned j = i; j < disk.change_count && !decided[i]; j++) {
            if (!changes_directory(&disk.changes[j], directory))
                continue;
            goes_on = goes_on && random_below(4) != 0;
            if (goes_on)
                apply_change(out, &disk.changes[j]);
            if (j != i)
                decided[j] = true;
        }
    }
}

void crash_disk_make(const char *path)
{
    struct names names;
    char full[400];

    temp_remove(path);
    choose_names(&names);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    for (unsigned depth = 0; depth < 4; depth++) /* what lies in what is there */
        for (unsigned i = 0; i < names.count; i++)
            if (disk.files[names.list[i].file].directory) {
                snprintf(full, sizeof full, "%s/%s", path, names.list[i].path);
                (void)mkdir(full, 0700);
            }
    for (unsigned i = 0; i < names.count; i++) {
        char parent[NAME_MAX_];
        struct stat st;

        directory_of(names.list[i].path, parent);
        snprintf(full, sizeof full, "%s/%s", path, parent);
        if (disk.files[names.list[i].file].directory || stat(full, &st) != 0)
            continue;
        snprintf(full, sizeof full, "%s/%s", path, names.list[i].path);
        make_file(full, names.list[i].file);
    }
}
