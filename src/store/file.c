#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

int dir_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = 0;

    if (fd < 0)
        return err_from_errno(errno);
    /* EINVAL: a file system that cannot sync directories; there is nothing more to be had there. */
    if (fsync(fd) != 0 && errno != EINVAL)
        err = ERR_IO;
    close(fd);
    return err;
}

int dir_of(const char *path, char parent[PATH_MAX])
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    while (size > 0 && path[size - 1] != '/')
        size--;
    if (size >= PATH_MAX)
        return ERR_TOO_LONG;
    if (size == 0) {
        path = ".";
        size = 1;
    }
    memcpy(parent, path, size);
    parent[size] = '\0';
    return 0;
}

int dir_sync_parent(const char *path)
{
    char parent[PATH_MAX];
    int err = dir_of(path, parent);

    return err == 0 ? dir_sync(parent) : err;
}

int file_write_out(int fd, uint64_t offset, uint64_t size)
{
    const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

    if (sync_file_range(fd, (off_t)offset, (off_t)size, all) == 0)
        return 0;
    /* A file system that cannot: then a sync has to do it all. */
    return errno == ENOSYS || errno == EINVAL || errno == ESPIPE ? 0 : err_from_errno(errno);
}
