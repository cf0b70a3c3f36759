/* trace.c -- what happened, kept in a ring as numbers and told as text only where somebody reads it. */
#include <stdio.h>

#include "server/event.h"
#include "sim.h"

static const char *const roles[] = {"timer", "writer", "applier", "snapshotter", "auditor"};
static const char *const messages[] = {"?",        "vote", "voted",   "append",   "appended",
                                       "snapshot", "read", "read-at", "take-over"};
static const char *const ops[] = {"read", "set", "delete", "set-if"};
static const char *const outcomes[] = {"unknown", "ok", "failed", "never"};

static void role_text(uint64_t role, char *out, size_t size)
{
    if (role < sizeof roles / sizeof *roles)
        snprintf(out, size, "%s", roles[role]);
    else
        snprintf(out, size, "sender %llu", (unsigned long long)(role - sizeof roles / sizeof *roles));
}

static void record_core(const struct trace_record *r, struct bytes *out)
{
    struct raft_event e = {(enum raft_event_type)r->a, r->b, r->c, r->d};
    char line[200];

    event_format(&e, NULL, line, sizeof line);
    bytes_printf(out, "%s", line);
}

static void record_text(const struct trace_record *r, struct bytes *out)
{
    unsigned long long a = r->a, b = r->b, c = r->c, d = r->d;
    char role[32];

    role_text(r->a, role, sizeof role);
    switch (r->type) {
    case TRACE_TAKE:
        bytes_printf(out, "%s takes, %llu us, works after %llu us", role, b, c);
        break;
    case TRACE_WORK:
        bytes_printf(out, "%s works", role);
        break;
    case TRACE_DONE:
        bytes_printf(out, "%s is done", role);
        break;
    case TRACE_PACKET:
        bytes_printf(out, "<- m%llu: %s term=%llu entries=%llu", a, b <= RAFT_TAKE_OVER ? messages[b] : "?", c, d);
        break;
    case TRACE_LOST:
        bytes_printf(out, "-> m%llu: lost%s", a, b != 0 ? " to a cut" : "");
        break;
    case TRACE_START:
        bytes_printf(out, "starts: term=%llu last=%llu applied=%llu", a, b, c);
        break;
    case TRACE_STOP:
        bytes_printf(out, "stops: map transactions undone=%llu error=%llu removed=%llu", a, b, c);
        break;
    case TRACE_PAUSE:
        bytes_printf(out, "pauses for %llu us", a);
        break;
    case TRACE_RESUME:
        bytes_printf(out, "goes on");
        break;
    case TRACE_FAULT:
        bytes_printf(out, "FAULT %s %llu %llu for %llu us", fault_name((enum sim_fault)a), b, c, d);
        break;
    case TRACE_MEND:
        bytes_printf(out, "MEND %s %llu %llu", fault_name((enum sim_fault)a), b, c);
        break;
    case TRACE_CORE:
        record_core(r, out);
        break;
    case TRACE_LOG_WRITE:
        bytes_printf(out, "disk: term=%llu vote=%llu entries=%llu..%llu", a, b, c, d);
        break;
    case TRACE_APPLY:
        bytes_printf(out, "map: applies %llu..%llu hash=%llx", a, b, c);
        break;
    case TRACE_MAP_COMMIT:
        bytes_printf(out, "map: commits up to %llu", a);
        break;
    case TRACE_DUMP:
        bytes_printf(out, "map: written to a file as of %llu, %llu bytes", a, b);
        break;
    case TRACE_INSTALL:
        bytes_printf(out, "map: installed as of %llu hash=%llx", a, b);
        break;
    case TRACE_CHUNK:
        bytes_printf(out, "gets a chunk from m%llu: map of %llu, offset=%llu size=%llu", a, b, c, d);
        break;
    case TRACE_CHUNK_TAKEN:
        bytes_printf(out, "hears from m%llu: map of %llu, taken up to %llu", a, b, c);
        break;
    case TRACE_HASH:
        bytes_printf(out, "hears from m%llu: map of %llu has hash %llx%s", a, b, c, d ? ", in doubt" : "");
        break;
    case TRACE_VERDICT:
        bytes_printf(out, "is told by m%llu: its map of %llu has hash %llx, not %llx", a, b, c, d);
        break;
    case TRACE_SPOIL:
        bytes_printf(out, "its map is spoiled: k%llu %s", a,
                     b == 0   ? "damaged"
                     : b == 1 ? "wrong"
                              : "and all others lost");
        break;
    case TRACE_INVOKE:
        bytes_printf(out, "client %llu: %s k%llu value=%llu", a, ops[b & 3], c, d);
        break;
    case TRACE_RETURN:
        bytes_printf(out, "client %llu: %s value=%llu index=%llu", a, outcomes[b & 3], c, d);
        break;
    case TRACE_MEMBERS:
        bytes_printf(out, "operator: configuration of %llu members at index=%llu", a, b);
        break;
    case TRACE_COMMIT:
        bytes_printf(out, "commits up to %llu in term %llu", a, b);
        break;
    case TRACE_HEAL:
        bytes_printf(out, "ALL IS HEALED");
        break;
    }
}

static void record_line(const struct trace_record *r, struct bytes *out)
{
    bytes_printf(out, "%10.3f ", (double)r->at / 1000.0);
    if (r->machine != 0)
        bytes_printf(out, "m%u ", r->machine);
    record_text(r, out);
    bytes_append_char(out, '\n');
}

static void print_now(const struct trace_record *r)
{
    struct bytes line;

    bytes_init(&line, 4096);
    record_line(r, &line);
    fwrite(line.data, 1, line.size, stdout);
    bytes_clear(&line);
}

void trace(struct world *w, enum trace_type type, const struct machine *m, uint64_t a, uint64_t b, uint64_t c,
           uint64_t d)
{
    struct trace_record *r = &w->trace[w->trace_count++ % TRACE_RING];

    *r = (struct trace_record){w->now, type, m != NULL ? m->slot + 1 : 0, a, b, c, d};
    w->trace_hash = (w->trace_hash ^ (r->at + (uint64_t)type * 31 + r->machine * 7 + a * 3 + b * 5 + c * 11 + d * 13)) *
                    UINT64_C(0x9e3779b97f4a7c15);
    w->trace_hash ^= w->trace_hash >> 29;
    if (w->verbose)
        print_now(r);
}

void trace_dump(const struct world *w, struct bytes *out)
{
    uint64_t first = w->trace_count > TRACE_KEEP ? w->trace_count - TRACE_KEEP : 0;

    config_print(&w->config, out);
    for (uint64_t i = first; i < w->trace_count; i++)
        record_line(&w->trace[i % TRACE_RING], out);
    for (unsigned i = 0; i < w->machine_count; i++) {
        const struct machine *m = &w->machines[i];
        const struct raft_status *s = &m->seen;

        bytes_printf(out, "m%u %s%s role=%d term=%llu leader=%llu last=%llu durable=%llu commit=%llu applied=%llu\n",
                     i + 1, m->up ? "up" : "down", m->gone ? ", removed" : "", (int)s->role,
                     (unsigned long long)s->term, (unsigned long long)s->leader, (unsigned long long)s->last,
                     (unsigned long long)s->durable, (unsigned long long)s->commit, (unsigned long long)s->applied);
    }
}

void story_tell(struct world *w, const struct machine *m, const struct raft_event *e)
{
    char line[200];

    event_format(e, NULL, line, sizeof line);
    bytes_printf(w->story, "m%u %s\n", m->slot + 1, line);
}

void sim_fail(struct world *w, const char *check, const char *format, ...)
{
    va_list arguments;

    if (w->failed)
        return;
    w->failed = true;
    w->failed_check = check;
    va_start(arguments, format);
    vsnprintf(w->failure, sizeof w->failure, format, arguments);
    va_end(arguments);
}
