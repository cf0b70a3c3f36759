#include "server/directory.h"

#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "server/mutants.h"

void directory_init(struct directory *d, const struct members *m, raft_index index)
{
    d->latest = *m;
    d->latest_index = index;
    d->previous = *m;
    d->previous_index = index;
}

void directory_append(struct directory *d, const struct members *m, raft_index index)
{
    CHECK(index > d->latest_index);
    d->previous = d->latest;
    d->previous_index = d->latest_index;
    d->latest = *m;
    d->latest_index = index;
}

void directory_truncate(struct directory *d, raft_index from)
{
    if (from > d->latest_index || BROKEN(DIRECTORY_STAYS))
        return;
    /* One change at a time: the one before the latest is committed, so it can never be truncated. */
    CHECK(from > d->previous_index);
    d->latest = d->previous;
    d->latest_index = d->previous_index;
}

const struct member *directory_find(const struct directory *d, raft_id id)
{
    for (unsigned i = 0; i < d->latest.count; i++)
        if (d->latest.list[i].id == id)
            return &d->latest.list[i];
    return NULL;
}

const struct member *directory_find_name(const struct directory *d, const char *name_or_id)
{
    uint64_t id = 0;

    for (unsigned i = 0; i < d->latest.count; i++)
        if (strcmp(d->latest.list[i].name, name_or_id) == 0)
            return &d->latest.list[i];
    if (text_u64(name_or_id, UINT64_MAX, &id) != 0)
        return NULL;
    return directory_find(d, id);
}
