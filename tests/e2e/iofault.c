/* iofault.c -- a disk that misbehaves, for a real process: LD_PRELOAD it, and the calls that change files of IOF_PATH (a part
 * of their paths) fail as told.
 *
 *     IOF_RULES   a file of rules, one a line: OPERATION:WHICH:ACTION. It is read anew at each call, so rules may come and go.
 *     IOF_COUNT   a file of eight bytes in which the number of calls so far is kept, for tests that go through all of them.
 *
 * OPERATION is any, write (pwrite, write, writev), sync (fsync, fdatasync), fdatasync, or name (open that makes a file,
 * rename, unlink, mkdir, ftruncate). WHICH is #N, the Nth of all these calls of the process, or *, each. ACTION is an errno
 * by name (EIO, ENOSPC), short (half is written; what cannot be done by half succeeds), kill (of the process, before the
 * call), or delay and a number of milliseconds, which ends early when the rule is gone. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX  4096
#define DELAY_STEP 10 /* milliseconds between two looks whether a delay is over */

enum operation { OPERATION_WRITE, OPERATION_SYNC, OPERATION_FDATASYNC, OPERATION_NAME };
enum verdict { GO_ON, FAIL, HALF }; /* FAIL: errno is set */

static atomic_ullong *count;

/* libc's own function, which ours stands before. ISO C knows no conversion for it. */
static void find_real(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL)
        abort();
    memcpy(function, &symbol, sizeof symbol);
}

/* Straight to the kernel, past our own functions. */
static int open_raw(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static uint64_t count_call(void)
{
    return atomic_fetch_add(count, 1) + 1;
}

/* Before the program's main, so that there is one thread. */
__attribute__((constructor)) static void open_count(void)
{
    static atomic_ullong without_file;
    const char *path = getenv("IOF_COUNT");
    void *at = MAP_FAILED;
    int fd = path != NULL ? open_raw(path, O_RDWR) : -1;

    if (fd >= 0) {
        at = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    count = at != MAP_FAILED ? at : &without_file;
}

/* ---- which files ---- */

static bool path_is_ours(const char *path)
{
    const char *part = getenv("IOF_PATH");

    return part != NULL && strstr(path, part) != NULL;
}

static bool fd_is_ours(int fd)
{
    char link[64], path[1024];
    ssize_t size = 0;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return false;
    path[size] = '\0';
    return path_is_ours(path);
}

/* ---- rules ---- */

static bool operation_matches(const char *name, enum operation op)
{
    if (strcmp(name, "any") == 0)
        return true;
    switch (op) {
    case OPERATION_WRITE:
        return strcmp(name, "write") == 0;
    case OPERATION_SYNC:
        return strcmp(name, "sync") == 0;
    case OPERATION_FDATASYNC:
        return strcmp(name, "sync") == 0 || strcmp(name, "fdatasync") == 0;
    case OPERATION_NAME:
        return strcmp(name, "name") == 0;
    }
    return false;
}

static bool which_matches(const char *which, uint64_t number)
{
    return which[0] == '*' || (which[0] == '#' && strtoull(which + 1, NULL, 10) == number);
}

/* The action of the first rule that is about this call; false: none. */
static bool find_rule(enum operation op, uint64_t number, char action[32])
{
    const char *path = getenv("IOF_RULES");
    char text[RULES_MAX], name[16], which[24];
    ssize_t size = 0;
    int fd = path != NULL ? open_raw(path, O_RDONLY) : -1;

    if (fd < 0)
        return false;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    for (char *rest = text, *line = NULL; (line = strtok_r(rest, "\n", &rest)) != NULL;)
        if (sscanf(line, "%15[^:]:%23[^:]:%31s", name, which, action) == 3 && operation_matches(name, op) &&
            which_matches(which, number))
            return true;
    return false;
}

static void delay(enum operation op, uint64_t number, unsigned long ms)
{
    char action[32];

    for (unsigned long waited = 0; waited < ms && find_rule(op, number, action); waited += DELAY_STEP)
        nanosleep(&(struct timespec){.tv_nsec = DELAY_STEP * 1000000L}, NULL);
}

static enum verdict judge(enum operation op)
{
    uint64_t number = count_call();
    char action[32];

    if (!find_rule(op, number, action))
        return GO_ON;
    if (strcmp(action, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(action, "short") == 0)
        return op == OPERATION_WRITE ? HALF : GO_ON;
    if (strncmp(action, "delay", 5) == 0) {
        delay(op, number, strtoul(action + 5, NULL, 10));
        return GO_ON;
    }
    errno = strcmp(action, "ENOSPC") == 0 ? ENOSPC : EIO;
    return FAIL;
}

static enum verdict judge_fd(int fd, enum operation op)
{
    return fd_is_ours(fd) ? judge(op) : GO_ON;
}

static enum verdict judge_path(const char *path)
{
    return path_is_ours(path) ? judge(OPERATION_NAME) : GO_ON;
}

/* ---- in the place of libc's ---- */

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t);
    enum verdict v = judge_fd(fd, OPERATION_WRITE);

    find_real("pwrite", &real);
    return v == FAIL ? -1 : real(fd, buf, v == HALF ? n / 2 : n, offset);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    ssize_t (*real)(int, const void *, size_t);
    enum verdict v = judge_fd(fd, OPERATION_WRITE);

    find_real("write", &real);
    return v == FAIL ? -1 : real(fd, buf, v == HALF ? n / 2 : n);
}

ssize_t writev(int fd, const struct iovec *iovec, int count_of_them)
{
    ssize_t (*real)(int, const struct iovec *, int);
    enum verdict v = judge_fd(fd, OPERATION_WRITE);

    find_real("writev", &real);
    return v == FAIL ? -1 : real(fd, iovec, v == HALF ? (count_of_them + 1) / 2 : count_of_them);
}

int fdatasync(int fildes)
{
    int (*real)(int);

    find_real("fdatasync", &real);
    return judge_fd(fildes, OPERATION_FDATASYNC) == FAIL ? -1 : real(fildes);
}

int fsync(int fd)
{
    int (*real)(int);

    find_real("fsync", &real);
    return judge_fd(fd, OPERATION_SYNC) == FAIL ? -1 : real(fd);
}

int ftruncate(int fd, off_t length)
{
    int (*real)(int, off_t);

    find_real("ftruncate", &real);
    return judge_fd(fd, OPERATION_NAME) == FAIL ? -1 : real(fd, length);
}

int open(const char *file, int oflag, ...)
{
    int (*real)(const char *, int, ...);
    mode_t mode = 0;
    va_list arguments;

    va_start(arguments, oflag);
    if ((oflag & O_CREAT) != 0)
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    find_real("open", &real);
    if ((oflag & O_CREAT) != 0 && judge_path(file) == FAIL)
        return -1;
    return real(file, oflag, mode);
}

int rename(const char *old, const char *new)
{
    int (*real)(const char *, const char *);

    find_real("rename", &real);
    return judge_path(new) == FAIL ? -1 : real(old, new);
}

int unlink(const char *name)
{
    int (*real)(const char *);

    find_real("unlink", &real);
    return judge_path(name) == FAIL ? -1 : real(name);
}

int mkdir(const char *path, mode_t mode)
{
    int (*real)(const char *, mode_t);

    find_real("mkdir", &real);
    return judge_path(path) == FAIL ? -1 : real(path, mode);
}
