/* kv_doubt.c -- a map that is not to be trusted, and the slow look at all its records that finds out.
 *
 * Beside the map lies, while it is doubted, a file PATH.doubt: a line "doubted" or "unreadable", and a line with the reason.
 * An unreadable map may make LMDB fail in any way (guard.h writes that note, too), so nobody opens it again: it is put aside as
 * PATH.damaged, and an empty one takes its place. Both go when a map was loaded. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "store/file.h"
#include "store/kv_private.h"

#define UNREADABLE "unreadable"
#define DOUBTED    "doubted"
#define ASIDE      ".damaged"

int kv_doubt_path(const char *path, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s.doubt", path) < PATH_MAX ? 0 : ERR_TOO_LONG;
}

static int aside_path(const char *path, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s" ASIDE, path) < PATH_MAX ? 0 : ERR_TOO_LONG;
}

/* A crash in between leaves an empty file: that is a doubt, too. */
static int write_note(const char *path, const char *kind, const char *reason)
{
    char file[PATH_MAX], text[KV_REASON_MAX + 32];
    int size = snprintf(text, sizeof text, "%s\n%s\n", kind, reason);
    int err = kv_doubt_path(path, file);
    int fd = err == 0 ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

    if (err != 0)
        return err;
    if (fd < 0)
        return err_from_errno(errno);
    if (size > (int)sizeof text - 1)
        size = (int)sizeof text - 1;
    if (write(fd, text, (size_t)size) != size || fsync(fd) != 0)
        err = err_from_errno(errno);
    close(fd);
    return err == 0 ? dir_sync_parent(file) : err;
}

int kv_doubt_read(const char *path, struct kv_doubt *out)
{
    char file[PATH_MAX], text[KV_REASON_MAX + 32];
    int err = kv_doubt_path(path, file);
    int fd = err == 0 ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size = 0;
    char *line;

    *out = (struct kv_doubt){.there = false};
    if (err != 0)
        return err;
    if (fd < 0)
        return errno == ENOENT ? 0 : err_from_errno(errno);
    size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    line = strchr(text, '\n');
    out->there = true;
    out->unreadable = line != NULL && strncmp(text, UNREADABLE "\n", sizeof UNREADABLE) == 0;
    snprintf(out->reason, sizeof out->reason, "%.*s", line != NULL ? (int)strcspn(line + 1, "\n") : 0,
             line != NULL ? line + 1 : "");
    if (out->reason[0] == '\0')
        snprintf(out->reason, sizeof out->reason, "a note of that was cut off");
    return 0;
}

int kv_store_doubt(struct kv_store *s, const char *reason)
{
    atomic_store(&s->doubted, true);
    return write_note(s->path, DOUBTED, reason);
}

static int forget(const char *path)
{
    char file[PATH_MAX], aside[PATH_MAX];
    int err = kv_doubt_path(path, file);

    if (err == 0)
        err = aside_path(path, aside);
    if (err == 0)
        err = env_remove(aside);
    if (err == 0 && unlink(file) != 0 && errno != ENOENT)
        err = err_from_errno(errno);
    return err == 0 ? dir_sync_parent(file) : err;
}

int kv_store_trust(struct kv_store *s)
{
    int err = forget(s->path);

    if (err == 0)
        atomic_store(&s->doubted, false);
    return err;
}

int kv_store_set_aside(const char *path, const char *reason, struct why *why)
{
    char aside[PATH_MAX];
    int err = aside_path(path, aside);

    if (err == 0)
        err = write_note(path, UNREADABLE, reason);
    if (err == 0 && access(path, F_OK) == 0) {
        err = env_remove(aside); /* an older one */
        if (err == 0 && rename(path, aside) != 0)
            err = err_from_errno(errno);
        if (err == 0)
            err = dir_sync_parent(path);
    }
    if (err == 0)
        err = write_note(path, DOUBTED, reason);
    return err == 0 ? 0 : why_set(why, err, "%s is damaged, and cannot be put aside: %s", path, err_text(err));
}

int kv_store_remove(const char *path)
{
    int err = env_remove(path);

    return err == 0 ? forget(path) : err;
}

/* ---- the slow look ---- */

static void stop_behind(struct bytes *after, struct view key)
{
    bytes_reset(after);
    bytes_append(after, key.data, key.size);
}

int kv_store_scrub(struct kv_store *s, struct bytes *after, unsigned most, uint64_t bytes, unsigned *looked)
{
    struct kv_view *v = NULL;
    struct view key = {NULL, 0}, value;
    uint64_t size = 0;
    raft_index index;
    int err = kv_view_open(s, &v);

    *looked = 0;
    if (err != 0)
        return err;
    err = kv_view_seek(v, bytes_view(after), after->size > 0);
    while (err == 0 && *looked < most && size < bytes) {
        err = kv_view_next(v, &key, &value, &index);
        if (err == ERR_NOT_FOUND)
            break;
        if (err == 0)
            size += key.size + value.size;
        (*looked)++;
    }
    if (err != ERR_NOT_FOUND && key.data != NULL)
        stop_behind(after, key);
    kv_view_close(v);
    return err;
}
