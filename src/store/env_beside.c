/* env_beside.c -- an environment that is filled beside another one and then takes its place.
 *
 * Why not one transaction of the one that is there: LMDB keeps up to 512 MB of a transaction's pages in memory, writes all of
 * them at its end, at once, and leaves a file with room for the old content and the new for good. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/text.h"
#include "store/env_private.h"
#include "store/file.h"

static int beside_path(char out[PATH_MAX], const char *path)
{
    return snprintf(out, PATH_MAX, "%s.next", path) < PATH_MAX ? 0 : ERR_TOO_LONG;
}

int env_remove_beside(const char *path)
{
    char beside[PATH_MAX];
    int err = beside_path(beside, path);

    return err == 0 ? env_remove(beside) : err;
}

int env_open_beside(struct env *e, struct env **out)
{
    struct env_options o = e->options;
    struct why why = {""};
    char path[PATH_MAX];
    int err = beside_path(path, e->path);

    if (err == 0)
        err = env_remove(path);
    if (err != 0)
        return err;
    o.flags |= MDB_NOSYNC; /* whatever a crash leaves of it is removed */
    o.map_size += o.spare;
    err = env_open(path, &o, out, &why);
    if (err == 0)
        (*out)->loading = true;
    return err;
}

int env_write_out(struct env *e)
{
    int fd;

    if (mdb_env_get_fd(e->file->mdb, &fd) != 0)
        return 0;
    return file_write_out(fd, 0, 0);
}

void env_discard_beside(struct env *e, struct env *beside)
{
    if (beside == NULL)
        return;
    env_close(beside);
    (void)env_remove_beside(e->path); /* or the next one does, or the next start */
}

/* One rename is the moment at which the new file is there. LMDB's lock file follows its data; a crash between the two leaves
 * one that the next start, which is alone, makes anew. */
static int move_files(const struct env *e, const struct env *beside)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char from[PATH_MAX], to[PATH_MAX];

    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        int err = path_join(from, sizeof from, beside->path, files[i]);

        if (err == 0)
            err = path_join(to, sizeof to, e->path, files[i]);
        if (err == 0 && rename(from, to) != 0)
            err = err_from_errno(errno);
        if (err != 0)
            return err;
    }
    return dir_sync(e->path);
}

int env_take_over(struct env *e, struct env *beside)
{
    struct env_file *old = e->file;
    int err = env_sync(beside);

    CHECK(beside->open == 0);
    for (unsigned i = 0; i < ENV_TABLES_MAX; i++)
        CHECK(e->tables[i] == beside->tables[i]);
    if (err == 0)
        err = env_error(beside, mdb_env_set_flags(beside->file->mdb, MDB_NOSYNC, 0));
    if (err != 0)
        return err;
    err = move_files(e, beside);
    if (err != 0)
        return env_write_failed(e, ERR_IO); /* nobody knows which file the next start finds */
    env_watch(e, beside->file);
    pthread_mutex_lock(&e->lock);
    e->file = beside->file;
    old->replaced = true;
    for (struct env_reader *r = e->idle; r != NULL; r = r->next)
        env_reader_clear(r);
    pthread_mutex_unlock(&e->lock);
    beside->file = NULL;
    atomic_store(&e->failed, 0); /* that was about the old one */
    env_note_sizes(e);
    env_file_release(e, old);
    return 0;
}
