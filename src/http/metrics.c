/* /metrics: Prometheus text exposition format 0.0.4.
 *
 * Every worker counts its own requests, with plain stores that nobody contends for; whoever asks adds them up. Decided
 * here, as PRODUCT.md is silent: the names below; `code` is the first digit of the status with "xx". */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "http/http_request.h"

static const uint64_t bucket_us[LATENCY_BUCKETS] = {
    50, 100, 250, 500, 1000, 2500, 5000, 10000, 50000, 250000, 1000000, 5000000,
};
static const char *const bucket_names[LATENCY_BUCKETS + 1] = {
    "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.05", "0.25", "1", "5", "+Inf",
};
static const char *const method_names[METHODS] = {
    [METHOD_GET] = "GET",       [METHOD_HEAD] = "HEAD",       [METHOD_POST] = "POST",   [METHOD_PUT] = "PUT",
    [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS", [METHOD_OTHER] = "other",
};

static uint64_t value_of(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* There is one writer, so no locked instruction is needed. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, value_of(counter) + n, memory_order_relaxed);
}

void metrics_count(struct http_counts *c, enum http_method method, int status, uint64_t us)
{
    unsigned bucket = 0;

    while (bucket < LATENCY_BUCKETS && us > bucket_us[bucket])
        bucket++;
    add(&c->latency[bucket], 1);
    add(&c->latency_us, us);
    add(&c->requests[method][status / 100 <= 5 ? status / 100 : 0], 1);
}

void metrics_add(struct http_counts *sum, const struct http_counts *one)
{
    for (unsigned m = 0; m < METHODS; m++)
        for (unsigned s = 0; s < sizeof one->requests[0] / sizeof one->requests[0][0]; s++)
            add(&sum->requests[m][s], value_of(&one->requests[m][s]));
    for (unsigned b = 0; b <= LATENCY_BUCKETS; b++)
        add(&sum->latency[b], value_of(&one->latency[b]));
    add(&sum->latency_us, value_of(&one->latency_us));
}

/* ---- text ---- */

static void family(struct bytes *out, const char *name, const char *type, const char *help)
{
    bytes_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct bytes *out, const char *name, const char *type, uint64_t value, const char *help)
{
    family(out, name, type, help);
    bytes_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void gauge(struct bytes *out, const char *name, uint64_t value, const char *help)
{
    single(out, name, "gauge", value, help);
}

static void counter(struct bytes *out, const char *name, uint64_t value, const char *help)
{
    single(out, name, "counter", value, help);
}

/* A label's value: backslash, quote and newline are escaped. */
static void append_label(struct bytes *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            bytes_append_char(out, '\\');
        if (*text == '\n')
            bytes_append_text(out, "\\n");
        else
            bytes_append_char(out, *text);
    }
}

static void of_raft(struct bytes *out, const struct service_status *s)
{
    static const char *const roles[] = {"leader", "follower", "precandidate", "candidate", "learner", "joining"};

    family(out, "raftd_build_info", "gauge", "The version that runs; always 1.");
    bytes_append_text(out, "raftd_build_info{version=\"");
    append_label(out, s->version);
    bytes_append_text(out, "\"} 1\n");
    family(out, "raftd_role", "gauge", "What this member is: 1 for its role, 0 for the others.");
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        bytes_printf(out, "raftd_role{role=\"%s\"} %d\n", roles[i], strcmp(s->role, roles[i]) == 0);
    gauge(out, "raftd_has_leader", s->leader != 0, "Whether a leader is known.");
    gauge(out, "raftd_term", s->term, "The current term.");
    gauge(out, "raftd_commit_index", s->commit, "The last log index known to be committed.");
    gauge(out, "raftd_applied_index", s->applied, "The last log index applied to the store.");
    gauge(out, "raftd_durable_index", s->durable, "The last log index on this member's disk.");
    gauge(out, "raftd_log_first_index", s->log_first, "The first log index kept.");
    gauge(out, "raftd_log_last_index", s->log_last, "The last log index.");
    gauge(out, "raftd_requests_waiting", s->requests_waiting, "Requests that wait for an answer of the cluster.");
    gauge(out, "raftd_scans", s->scans, "Listings under way; each keeps old pages of the map from being used again.");
    family(out, "raftd_oldest_scan_seconds", "gauge", "How long the oldest of them has been under way.");
    bytes_printf(out, "raftd_oldest_scan_seconds %.3f\n", (double)s->oldest_scan_ms / 1000);
    counter(out, "raftd_elections_total", s->elections, "Elections that this member stood for.");
    counter(out, "raftd_leader_changes_total", s->leader_changes, "Times that another leader became known.");
    counter(out, "raftd_proposals_total", s->proposals, "Entries that clients proposed here.");
    counter(out, "raftd_proposals_lost_total", s->proposals_lost, "Proposals whose place another leader's entry took.");
    counter(out, "raftd_reads_total", s->reads, "Linearizable reads.");
    counter(out, "raftd_log_writes_total", s->writes_to_disk, "Transactions written to the log.");
    counter(out, "raftd_log_entries_written_total", s->entries_written, "Entries written to the log.");
    counter(out, "raftd_apply_batches_total", s->batches_applied, "Batches applied to the store.");
    counter(out, "raftd_messages_sent_total", s->messages_sent, "Messages sent to other members.");
    counter(out, "raftd_messages_received_total", s->messages_received, "Messages received from other members.");
    counter(out, "raftd_peers_refused_total", s->peers_refused, "Connections refused on the peer port.");
}

/* Of the hash as many bits as Prometheus' numbers hold exactly. */
static void of_map(struct bytes *out, const struct service_status *s)
{
    gauge(out, "raftd_map_hash", s->map_hash & ((UINT64_C(1) << 52) - 1),
          "The lower 52 bits of the map's hash: members that have applied the same entries have the same.");
    gauge(out, "raftd_map_hash_index", s->map_index, "The log index at which the map had that hash.");
    gauge(out, "raftd_map_trusted", !s->map_doubted,
          "Whether this member trusts its map: it differs from nobody's, and nothing of it is damaged.");
    counter(out, "raftd_map_records_scrubbed_total", s->map_scrubbed, "Records looked at for damage.");
    counter(out, "raftd_map_scrubs_total", s->map_passes, "Times that all records were looked at for damage.");
    counter(out, "raftd_map_records_damaged_total", s->map_damaged, "Damaged records found by that.");
}

static void of_store(struct bytes *out, const struct service_status *s)
{
    gauge(out, "raftd_store_keys", s->keys, "Keys in the store.");
    gauge(out, "raftd_store_used_bytes", s->store_used, "Bytes of the store in use.");
    gauge(out, "raftd_store_file_bytes", s->store_file, "Size of the store's file.");
    gauge(out, "raftd_store_max_bytes", s->store_max, "What the store may grow to: -max-db-size.");
    gauge(out, "raftd_log_file_bytes", s->log_file, "Size of the log's file.");
}

enum member_field { FIELD_MATCH, FIELD_LAG, FIELD_ACTIVE };

static void of_member_maps(struct bytes *out, const struct service_cluster *c)
{
    family(out, "raftd_member_map_agrees", "gauge",
           "Whether that member's map is the leader's; the leader knows it of all.");
    for (unsigned i = 0; i < c->count; i++) {
        const struct service_member *m = &c->members[i];

        if (m->map == SERVICE_MAP_UNKNOWN)
            continue;
        bytes_printf(out, "raftd_member_map_agrees{id=\"%" PRIu64 "\",member=\"", m->id);
        append_label(out, m->name);
        bytes_printf(out, "\"} %d\n", m->map == SERVICE_MAP_AGREES);
    }
}

static void of_each_member(struct bytes *out, const struct service_cluster *c, const char *name, const char *help,
                           enum member_field field)
{
    family(out, name, "gauge", help);
    for (unsigned i = 0; i < c->count; i++) {
        const struct service_member *m = &c->members[i];
        uint64_t value = field == FIELD_MATCH ? m->match : field == FIELD_LAG ? m->lag : (uint64_t)m->active;

        if (!m->tracked)
            continue;
        bytes_printf(out, "%s{id=\"%" PRIu64 "\",member=\"", name, m->id);
        append_label(out, m->name);
        bytes_printf(out, "\"} %" PRIu64 "\n", value);
    }
}

static void of_members(struct bytes *out, struct http *h)
{
    struct service_cluster *c = xmalloc(sizeof *c);

    service_cluster(h->node, c);
    gauge(out, "raftd_members", c->count, "Members of the cluster.");
    of_each_member(out, c, "raftd_member_match_index", "The last log index known to be on that member's disk.",
                   FIELD_MATCH);
    of_each_member(out, c, "raftd_member_lag", "How many entries that member is behind.", FIELD_LAG);
    of_each_member(out, c, "raftd_member_active", "Whether that member answered lately.", FIELD_ACTIVE);
    of_member_maps(out, c);
    free(c);
}

static void of_http(struct bytes *out, struct http *h)
{
    struct http_counts *sum = xcalloc(1, sizeof *sum);
    uint64_t requests = 0;

    if (h->about != NULL)
        h = h->about;
    pthread_mutex_lock(&h->lock);
    metrics_add(sum, &h->past);
    for (const struct worker *w = h->workers; w != NULL; w = w->next)
        metrics_add(sum, &w->counts);
    pthread_mutex_unlock(&h->lock);
    gauge(out, "raftd_http_threads", h->threads, "Threads that answer clients: -threads.");
    gauge(out, "raftd_http_connections", watch_connections(h->watch), "Connections of clients that hold a thread.");
    counter(out, "raftd_http_connections_cut_total", watch_cuts(h->watch),
            "Connections ended because they were too slow, or idle while threads were short.");
    family(out, "raftd_http_requests_total", "counter", "Requests answered.");
    for (unsigned m = 0; m < METHODS; m++) {
        for (unsigned s = 1; s <= 5; s++) {
            uint64_t n = value_of(&sum->requests[m][s]);

            if (n > 0)
                bytes_printf(out, "raftd_http_requests_total{method=\"%s\",code=\"%uxx\"} %" PRIu64 "\n",
                             method_names[m], s, n);
        }
    }
    family(out, "raftd_http_request_duration_seconds", "histogram", "From the request's head to the answer's end.");
    for (unsigned b = 0; b <= LATENCY_BUCKETS; b++) {
        requests += value_of(&sum->latency[b]);
        bytes_printf(out, "raftd_http_request_duration_seconds_bucket{le=\"%s\"} %" PRIu64 "\n", bucket_names[b],
                     requests);
    }
    bytes_printf(out, "raftd_http_request_duration_seconds_sum %.6f\n", (double)value_of(&sum->latency_us) / 1e6);
    bytes_printf(out, "raftd_http_request_duration_seconds_count %" PRIu64 "\n", requests);
    free(sum);
}

/* ---- the process ---- */

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;

    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* "." and "..", and the directory itself */
}

static void of_process(struct bytes *out, struct http *h)
{
    struct rlimit limit = {0};
    struct rusage used = {0};

    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &limit);
    family(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent, in seconds.");
    bytes_printf(out, "process_cpu_seconds_total %.6f\n",
                 (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    gauge(out, "process_resident_memory_bytes", resident_bytes(), "Resident memory.");
    gauge(out, "process_open_fds", open_descriptors(), "Open file descriptors.");
    gauge(out, "process_max_fds", (uint64_t)limit.rlim_cur, "How many file descriptors may be open.");
    gauge(out, "process_start_time_seconds", (uint64_t)h->started_s, "When the HTTP server started, as Unix time.");
}

void metrics_handle(struct exchange *x, struct view rest)
{
    struct bytes *out = &x->worker->text;
    struct service_status status;
    struct service_stamp stamp;
    struct reply r = {.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8"};

    (void)rest;
    service_status(x->http->node, &status);
    service_stamp(x->http->node, &stamp);
    bytes_reset(out);
    of_raft(out, &status);
    of_store(out, &status);
    of_map(out, &status);
    of_members(out, x->http);
    of_http(out, x->http);
    of_process(out, x->http);
    r.body = bytes_view(out);
    exchange_send(x, &r, &stamp);
}
