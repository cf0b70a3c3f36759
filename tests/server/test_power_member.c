/* A power cut at any moment in the life of a follower: entries come, the log is checkpointed and compacted, maps come in
 * chunks and are installed, some of them cut off by a newer one. Every state of its directory that could be found afterwards
 * starts, by the same calls as the server's start, and has all that it had acknowledged [TESTING 4c1, A5, A6, A8, D6].
 *
 * The log of the leader follows from the index alone: entry i sets or deletes one of KEYS keys. RAFTD_CRASH_STATES=N looks at
 * N states, SEED=N at others. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../store/crash_disk.h"
#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"
#include "store/datadir.h"

#define STATES    700u
#define KEYS      40u
#define TERM      2
#define BATCH_MAX 20u
#define CHUNK     3000u
#define MAP_MAX   (64u << 20)

static struct subject m;
static unsigned states, wanted, every;
static struct {
    raft_index durable, applied; /* what the leader, and what clients were told */
    struct raft_hard_state hard;
    raft_index sent; /* of the leader's log */
} acked;

/* ---- the leader ---- */

static bool is_delete(raft_index index)
{
    return index % 11 == 0;
}

static size_t value_of(raft_index index, char out[2100])
{
    size_t size = index % 37 == 0 ? 2000 : 20 + index % 200;

    memset(out, 'a' + (int)(index % 26), size);
    snprintf(out, 21, "%019llu", (unsigned long long)index);
    return size;
}

static struct entry *entry_of(raft_index index)
{
    char key[16], value[2100];
    size_t size = value_of(index, value);
    struct command gone = {.op = COMMAND_DELETE};

    snprintf(key, sizeof key, "%02u", (unsigned)(index % KEYS));
    if (!is_delete(index))
        return set_at(index, TERM, key, value, size);
    gone.key = view_of_text(key);
    return command_at(index, TERM, &gone);
}

static void lead(raft_index count)
{
    struct entry *e[BATCH_MAX] = {NULL};

    for (raft_index i = 0; i < count; i++)
        e[i] = entry_of(acked.sent + 1 + i);
    deliver_append(&m, 2, TERM, (struct raft_pos){acked.sent, acked.sent == 1 ? 1 : TERM}, acked.sent, e,
                   (unsigned)count);
    acked.sent += count;
    unref_all(e, (unsigned)count);
}

/* ---- looking at a state ---- */

/* The last entry at or before `at` that is about key k; 0: none. */
static raft_index last_about(unsigned k, raft_index at)
{
    raft_index index = at - (at + KEYS - k) % KEYS;

    return at < 2 || index < 2 || index > at ? 0 : index;
}

static void map_is_right(struct kv_store *kv, raft_index at)
{
    struct kv_view *v = NULL;

    ck_assert_int_eq(kv_view_open(kv, &v), 0);
    ck_assert_uint_eq(kv_view_applied(v), at);
    for (unsigned k = 0; k < KEYS; k++) {
        raft_index about = last_about(k, at), etag = 0;
        char key[16], value[2100];
        struct view found;
        int err;

        snprintf(key, sizeof key, "%02u", k);
        err = kv_view_get(v, view_of_text(key), &found, &etag);
        if (about == 0 || is_delete(about)) {
            ck_assert_int_eq(err, ERR_NOT_FOUND);
            continue;
        }
        ck_assert_msg(err == 0, "key %s as of %llu: %d", key, (unsigned long long)at, err);
        ck_assert_uint_eq(etag, about);
        ck_assert(view_equal(found, view_of(value, value_of(about, value))));
    }
    kv_view_close(v);
}

static void log_is_right(struct log_store *log, const struct raft_status *status)
{
    raft_index at = status->first > 2 ? status->first : 2;

    while (at <= status->last) {
        struct entry *found[64] = {NULL};
        unsigned count = 0;

        ck_assert_int_eq(log_store_read(log, at, status->last, 1u << 20, 64, found, &count), 0);
        for (unsigned i = 0; i < count; i++) {
            struct entry *want = entry_of(at + i);

            ck_assert_uint_eq(found[i]->size, want->size);
            ck_assert_int_eq(memcmp(found[i]->bytes, want->bytes, want->size), 0);
            entry_unref(want);
        }
        unref_all(found, count);
        at += count;
    }
}

static void has_all_acked(const struct shared *s, const struct log_state *state, raft_index applied)
{
    struct raft_status status;

    raft_status(s->raft, &status);
    ck_assert_msg(status.last >= acked.durable, "%llu of %llu acknowledged entries", (unsigned long long)status.last,
                  (unsigned long long)acked.durable);
    ck_assert_uint_ge(state->hard.term, acked.hard.term);
    if (state->hard.term == acked.hard.term && acked.hard.vote != 0)
        ck_assert_uint_eq(state->hard.vote, acked.hard.vote);
    ck_assert_uint_ge(applied, status.base.index); /* the log repeats what the map lacks */
    ck_assert_uint_le(applied, status.last);
}

/* As node_open does it. */
static void state_is_good(const char *path)
{
    struct datadir *d = NULL;
    struct log_store *log = NULL;
    struct kv_store *kv = NULL;
    struct why why = {""};
    struct shared_start start = {.self = 1,
                                 .name = "n",
                                 .client = "127.0.0.1:1001",
                                 .peer = "127.0.0.1:1",
                                 .cluster = CLUSTER,
                                 .joined = 1,
                                 .election_ms = ELECTION_MS,
                                 .heartbeat_ms = HEARTBEAT_MS,
                                 .log_max_entries = UINT64_MAX,
                                 .log_max_bytes = UINT64_MAX};
    struct shared *s = calloc(1, sizeof *s);
    struct kv_position position;
    struct raft_status status;
    struct log_state state;

    ck_assert_msg(datadir_open(path, "nobody", &d, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(datadir_identity(d)->cluster, CLUSTER);
    ck_assert_msg(datadir_check_log(d, &why) == 0, "%s", why.text);
    ck_assert_msg(log_store_open(datadir_log_path(d), MAP_MAX, &log, &why) == 0, "%s", why.text);
    ck_assert_msg(kv_store_open(datadir_kv_path(d), MAP_MAX, 8, &kv, &why) == 0, "%s", why.text);
    ck_assert_msg(shared_open(s, &start, log, kv, 1000, &why) == 0, "%s", why.text);
    ck_assert_int_eq(kv_store_position(kv, &position), 0);
    ck_assert_int_eq(log_store_state(log, &state), 0);
    raft_status(s->raft, &status);
    has_all_acked(s, &state, position.applied.index);
    map_is_right(kv, position.applied.index);
    log_is_right(log, &status);
    shared_close(s);
    free(s);
    kv_store_close(kv);
    log_store_close(log);
    datadir_close(d);
    states++;
}

static void look(void)
{
    char path[600];

    if (random_below(every) != 0)
        return;
    snprintf(path, sizeof path, "%s.cut", m.root);
    crash_disk_make(path);
    state_is_good(path);
    temp_remove(path);
}

/* ---- the follower's life ---- */

static void acknowledge(void)
{
    struct raft_status status = status_of(&m);

    acked.durable = status.durable > acked.durable ? status.durable : acked.durable;
    acked.applied = status.applied;
    acked.hard.term = status.term;
}

static void follow(void)
{
    /* Sometimes more than the tail that a compacted log keeps in any case: it must not be what saves us. */
    for (unsigned batches = random_below(4) == 0 ? 5 : 1; batches > 0; batches--)
        lead(1 + random_below(BATCH_MAX));
    if (run_role(&m, &writer_ops, 0, m.writer))
        acknowledge();
    run_role(&m, &checkpointer_ops, 0, m.checkpointer);
    run_role(&m, &applier_ops, 0, m.applier);
    m.now += random_below(4) == 0 ? 300 : 2;
    run_role(&m, &applier_ops, 0, m.applier);
    run_role(&m, &snapshotter_ops, 0, m.snapshotter);
    if (run_role(&m, &writer_ops, 0, m.writer)) /* the prefix that may go */
        acknowledge();
}

/* The leader's map, some way ahead of the follower, as a file. */
static void leaders_map(struct kv_store *source, raft_index until, struct dump_id *id, char path[600])
{
    struct kv_position position;
    atomic_bool cancel = false;
    char fresh[600];

    ck_assert_int_eq(kv_store_position(source, &position), 0);
    for (raft_index i = position.applied.index + 1; i <= until; i++) {
        struct entry *e = i == 1 ? members_entry_at(1, 1, &m.s.directory.latest) : entry_of(i);
        struct command_result result;

        ck_assert_int_eq(kv_store_apply(source, &e, 1, &result, NULL), 0);
        entry_unref(e);
    }
    ck_assert_int_eq(kv_store_commit(source), 0);
    snprintf(path, 600, "%s.leader/dump", m.root);
    snprintf(fresh, sizeof fresh, "%s.leader/dump.new", m.root);
    ck_assert_int_eq(kv_store_dump(source, CLUSTER, fresh, path, &cancel, id), 0);
}

/* Chunks of it, up to `end`. */
static void send_map(const char *path, const struct dump_id *id, uint64_t end)
{
    struct hello h = hello_from(2, 1);
    static uint8_t bytes[CHUNK];
    int fd = open(path, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    for (uint64_t at = 0; at < end; at += CHUNK) {
        ssize_t n = pread(fd, bytes, CHUNK, (off_t)at);
        struct chunk c = {.from = 2, .to = 1, .term = TERM, .dump = *id, .offset = at};

        ck_assert_int_gt((int)n, 0);
        c.bytes = view_of(bytes, (size_t)n);
        if (transfer_came(&m.s, m.now, &h, &c) == TRANSFER_WRITE)
            transfer_wrote(&m.s, &c, transfer_write(m.incoming, &c));
        if (random_below(8) == 0) /* entries that were under way come in between */
            follow();
    }
    close(fd);
}

static void install(struct kv_store *source)
{
    struct dump_id id;
    char path[600];

    leaders_map(source, acked.sent + 100 + random_below(100), &id, path);
    if (random_below(3) == 0) {
        send_map(path, &id, id.size / 2);
        leaders_map(source, acked.sent + 250, &id, path);
    }
    /* What came while an older one was being loaded is sent again. */
    for (unsigned rounds = 0; status_of(&m).applied < id.pos.index; rounds++) {
        ck_assert_uint_lt(rounds, 10);
        send_map(path, &id, id.size);
        m.now += 300;
        while (run_role(&m, &applier_ops, 0, m.applier))
            ;
    }
    if (acked.sent < id.pos.index)
        acked.sent = id.pos.index;
    acknowledge();
    while (run_role(&m, &writer_ops, 0, m.writer))
        acknowledge();
}

/* In a directory of its own, and then where the stores are. */
static void make_identity(void)
{
    struct identity identity = {.cluster = CLUSTER, .id = 1, .joined = 1, .name = "n"};
    struct datadir *d = NULL;
    struct why why = {""};

    ck_assert_msg(datadir_open(temp_path("identity"), "nobody", &d, &why) == 0, "%s", why.text);
    ck_assert_int_eq(datadir_save(d, &identity, NULL), 0);
    datadir_close(d);
    ck_assert_int_eq(rename(temp_path("identity/raftd"), temp_path("raftd")), 0);
    temp_remove(temp_path("identity"));
}

static void want_states(void)
{
    const char *hand = getenv("RAFTD_CRASH_STATES");

    wanted = hand != NULL ? (unsigned)strtoul(hand, NULL, 10) : STATES;
    every = wanted > 4 * STATES ? 1 : 6;
}

START_TEST(a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged)
{
    struct kv_store *source = NULL;
    struct why why = {""};
    unsigned installs = 0;
    char leader[600];

    want_states();
    member_open(&m, 1, 3, NOBODY_PORT);
    make_identity();
    m.s.log_max_entries = 10;
    acked.sent = 1;
    snprintf(leader, sizeof leader, "%s.leader", m.root);
    ck_assert_int_eq(mkdir(leader, 0700), 0);
    ck_assert_int_eq(kv_store_open(strcat(leader, "/kv"), MAP_MAX, 8, &source, &why), 0);
    follow();
    crash_disk_record(m.root, look);
    while (states < wanted || installs < 3) {
        for (unsigned i = 0; i < 30; i++)
            follow();
        install(source);
        installs++;
    }
    crash_disk_stop();
    ck_assert_uint_gt(status_of(&m).base.index, 100);
    kv_store_close(source);
    leader[strlen(leader) - strlen("/kv")] = '\0';
    temp_remove(leader);
    member_end(&m);
    printf("%u states, %u installs\n", states, installs);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged};
    const char *seed = getenv("SEED");

    crash_disk_in_memory();
    random_seed(seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1);
    setenv("CK_DEFAULT_TIMEOUT", "3600", 0);
    return run_suite("power_member", tests, 1);
}
