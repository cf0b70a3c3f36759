#include "store/log_shape.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void log_shape_clear(struct log_shape *s)
{
    free(s->runs);
    free(s->configs);
    *s = (struct log_shape){.last = 0};
}

void log_shape_copy(struct log_shape *to, const struct log_shape *from)
{
    to->hard = from->hard;
    to->base = from->base;
    to->last = from->last;
    to->run_count = to->config_count = 0;
    for (unsigned i = 0; i < from->run_count; i++)
        log_shape_add_run(to, from->runs[i]);
    for (unsigned i = 0; i < from->config_count; i++)
        log_shape_add_config(to, from->configs[i]);
}

void log_shape_add_run(struct log_shape *s, struct raft_pos first)
{
    if (s->run_count == s->run_room) {
        s->run_room = s->run_room == 0 ? 16 : s->run_room * 2;
        s->runs = xrealloc(s->runs, s->run_room * sizeof *s->runs);
    }
    s->runs[s->run_count++] = first;
}

void log_shape_add_config(struct log_shape *s, raft_index index)
{
    if (s->config_count == s->config_room) {
        s->config_room = s->config_room == 0 ? 16 : s->config_room * 2;
        s->configs = xrealloc(s->configs, s->config_room * sizeof *s->configs);
    }
    s->configs[s->config_count++] = index;
}

raft_term log_shape_term(const struct log_shape *s, raft_index index)
{
    CHECK(index >= s->base.index);
    for (unsigned i = s->run_count; i-- > 0;) {
        if (s->runs[i].index <= index)
            return s->runs[i].term;
    }
    return s->base.term;
}

static void forget_suffix(struct log_shape *s, raft_index first)
{
    while (s->run_count > 0 && s->runs[s->run_count - 1].index >= first)
        s->run_count--;
    while (s->config_count > 0 && s->configs[s->config_count - 1] >= first)
        s->config_count--;
    s->last = first - 1;
}

static void remember_entry(struct log_shape *s, const struct entry *e)
{
    struct raft_pos pos = entry_pos(e);

    if (pos.term != log_shape_term(s, pos.index - 1))
        log_shape_add_run(s, pos);
    if (entry_type(e) == RAFT_CONFIG)
        log_shape_add_config(s, pos.index);
    s->last = pos.index;
}

static void forget_prefix(struct log_shape *s, struct raft_pos base)
{
    unsigned runs = 0, configs = 0;

    while (runs < s->run_count && s->runs[runs].index <= base.index)
        runs++;
    while (configs < s->config_count && s->configs[configs] <= base.index)
        configs++;
    s->run_count -= runs;
    s->config_count -= configs;
    if (runs > 0)
        memmove(s->runs, s->runs + runs, s->run_count * sizeof *s->runs);
    if (configs > 0)
        memmove(s->configs, s->configs + configs, s->config_count * sizeof *s->configs);
    s->base = base;
}

void log_shape_write(struct log_shape *s, const struct log_write *w, struct raft_pos base)
{
    s->hard = w->hard;
    if (w->begin_anew) {
        s->run_count = 0;
        s->config_count = 0;
        s->base = w->base;
        s->last = w->base.index;
    }
    if (w->first <= w->last) {
        forget_suffix(s, w->first);
        for (raft_index i = w->first; i <= w->last; i++)
            remember_entry(s, w->entries[i - w->first]);
    }
    forget_prefix(s, base);
}
