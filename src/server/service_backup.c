/* service_backup.c -- a backup: the map as a file of its own, written from one view at the disk's speed. Whoever takes it
 * slowly reads the file and pins no page of the map. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "server/service_private.h"
#include "store/dump_reader.h"

#define BACKUPS_MAX 2u /* at once: each takes as much room on the disk as the map has */

struct service_backup {
    struct node *node;
    struct dump_file *file;
    struct dump_reader *reader; /* of service_backup_next */
    struct service_backup_info info;
    uint64_t given; /* bytes, by service_backup_read */
    bool failed;
};

/* What came of writing or reading the file, for whoever asked for the backup. */
static enum service_code code_of(struct node *n, int err, struct service_result *r)
{
    switch (err) {
    case 0:
        return SERVICE_OK;
    case ERR_NO_RESOURCES:
        return SERVICE_BUSY;
    case ERR_NO_SPACE:
        return SERVICE_NO_SPACE;
    case ERR_STOPPED:
        return SERVICE_STOPPING;
    case ERR_CORRUPT:
        return service_of_store(n, err, view_of(NULL, 0), r);
    default:
        snprintf(r->text, sizeof r->text, "the backup cannot be written: %s", err_text(err));
        return SERVICE_FAILED;
    }
}

static uint64_t cluster_of(struct node *n)
{
    struct shared *s = node_lock(n);
    uint64_t cluster = s->cluster;

    node_unlock(n, &s);
    return cluster;
}

/* One file, whose name is gone before its first byte comes. */
static void write_file(struct service_backup *b, struct service_result *r)
{
    struct node *n = b->node;
    struct dump_id id = {.size = 0};
    int err = dump_file_create_nameless(b->file);

    b->info.cluster = cluster_of(n);
    if (err == 0)
        err = kv_store_backup(n->kv, b->info.cluster, b->file, &n->leaving, &id);
    b->info.index = id.pos.index;
    b->info.term = id.pos.term;
    b->info.size = id.size;
    r->stamp.index = id.pos.index;
    r->code = code_of(n, err, r);
}

void service_backup_open(struct node *n, enum service_consistency c, unsigned deadline_ms, struct service_backup **out,
                         struct service_result *r)
{
    struct service_backup *b = NULL;

    service_result_init(r);
    if (atomic_fetch_add(&n->backups, 1) >= BACKUPS_MAX) {
        atomic_fetch_sub(&n->backups, 1);
        service_stamp(n, &r->stamp);
        r->code = SERVICE_BUSY;
        return;
    }
    b = xcalloc(1, sizeof *b);
    b->node = n;
    b->file = dump_file_new(datadir_scratch_path(n->options.datadir));
    service_barrier(n, c, deadline_ms, r);
    if (r->code == SERVICE_OK)
        write_file(b, r);
    if (r->code == SERVICE_OK)
        *out = b;
    else
        service_backup_close(b);
}

const struct service_backup_info *service_backup_info(const struct service_backup *b)
{
    return &b->info;
}

bool service_backup_read(struct service_backup *b, size_t size, struct bytes *out)
{
    uint64_t left = b->info.size - b->given;
    uint8_t *room = NULL;

    if (left == 0 || b->failed)
        return false;
    if (size > left)
        size = (size_t)left;
    room = bytes_reserve(out, size);
    if (room == NULL || dump_file_read(b->file, b->given, room, size) != 0) {
        b->failed = true;
        return false;
    }
    out->size += size;
    b->given += size;
    return true;
}

bool service_backup_next(struct service_backup *b, struct view *key, struct view *value, uint64_t *etag)
{
    enum dump_step step = DUMP_WANTS_MORE;
    struct dump_record record;

    if (b->reader == NULL)
        b->reader = dump_reader_new(b->file);
    do {
        if (b->failed || dump_reader_next(b->reader, &step, &record) != 0) {
            b->failed = true;
            return false;
        }
    } while (step == DUMP_HEADER);
    if (step == DUMP_END)
        return false;
    *key = record.key;
    *value = record.value;
    *etag = record.index;
    return true;
}

bool service_backup_failed(const struct service_backup *b)
{
    return b->failed;
}

void service_backup_close(struct service_backup *b)
{
    if (b == NULL)
        return;
    atomic_fetch_sub(&b->node->backups, 1);
    dump_reader_free(b->reader);
    dump_file_free(b->file);
    free(b);
}
