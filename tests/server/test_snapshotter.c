/* The snapshotter, a round at a time: when the log is cut and how far, when the map goes to a file and when that goes, and
 * what little room on the disk makes of all that. This program's statvfs and fsync stand before libc's. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"

static struct subject m;

/* ---- a disk that does as it is told ---- */

static struct {
    bool says_free; /* what statvfs is to say */
    uint64_t free;
    bool fails; /* syncs do */
} disk;

static void find_real(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    ck_assert_ptr_nonnull(symbol);
    memcpy(function, &symbol, sizeof symbol); /* ISO C knows no conversion for it */
}

static void say_free(struct statvfs *buf)
{
    if (disk.says_free)
        buf->f_bavail = disk.free / buf->f_frsize;
}

int statvfs(const char *file, struct statvfs *buf)
{
    int (*real)(const char *, struct statvfs *);
    int rc = 0;

    find_real("statvfs", &real);
    rc = real(file, buf);
    say_free(buf);
    return rc;
}

int fstatvfs(int fildes, struct statvfs *buf)
{
    int (*real)(int, struct statvfs *);
    int rc = 0;

    find_real("fstatvfs", &real);
    rc = real(fildes, buf);
    say_free(buf);
    return rc;
}

int fdatasync(int fildes)
{
    int (*real)(int);

    find_real("fdatasync", &real);
    if (!disk.fails)
        return real(fildes);
    errno = EIO;
    return -1;
}

static void free_bytes(uint64_t bytes)
{
    disk.says_free = true;
    disk.free = bytes;
}

static bool round_of_it(void)
{
    return run_role(&m, &snapshotter_ops, 0, m.snapshotter);
}

/* Until nothing is due now. */
static void rounds(void)
{
    for (unsigned i = 0; round_of_it(); i++)
        ck_assert_uint_lt(i, 100);
}

/* ---- the log ---- */

START_TEST(a_log_that_is_short_enough_stays)
{
    lead_with(&m, 200);
    m.s.log_max_entries = 1000;
    rounds();

    ck_assert_uint_eq(status_of(&m).base.index, 0);
    ck_assert_uint_gt(snapshotter_ops.due(&m.s, 0), m.now);
    member_end(&m);
}
END_TEST

START_TEST(a_log_that_is_too_long_loses_its_first_half)
{
    struct log_state state;

    lead_with(&m, 200);
    deliver_ack(&m, 3, status_of(&m).last);
    m.s.log_max_entries = 100;
    rounds();

    ck_assert_uint_ge(status_of(&m).base.index, 200 - 50 - 40);
    ck_assert_uint_le(status_of(&m).base.index, 202 - 50);
    run_all(&m);
    ck_assert_int_eq(log_store_state(m.log, &state), 0);
    ck_assert_uint_eq(state.base.index, status_of(&m).base.index);
    member_reopen(&m);
    ck_assert_uint_eq(status_of(&m).applied, status_of(&m).last);
    member_end(&m);
}
END_TEST

START_TEST(bytes_count_as_well_as_entries)
{
    lead_with(&m, 200);
    deliver_ack(&m, 3, status_of(&m).last);
    ck_assert_uint_gt(m.s.log_bytes, 0);
    m.s.log_max_bytes = m.s.log_bytes / 2;
    rounds();

    ck_assert_uint_gt(status_of(&m).base.index, 50);
    member_end(&m);
}
END_TEST

/* Not before the map is safe: what the log loses, nobody could repeat. */
START_TEST(where_the_map_cannot_be_synced_the_log_stays)
{
    lead_with(&m, 200);
    deliver_ack(&m, 3, status_of(&m).last);
    m.s.log_max_entries = 100;
    disk.fails = true;
    round_of_it();
    disk.fails = false;

    ck_assert_int_eq(m.s.failure, ERR_IO);
    ck_assert_uint_eq(status_of(&m).base.index, 0);
    member_end(&m);
}
END_TEST

/* What is applied but not committed to the map counts as little as what is not applied. */
START_TEST(no_more_goes_than_the_map_has_committed)
{
    lead_with(&m, 50);
    deliver_ack(&m, 3, status_of(&m).last);
    for (unsigned i = 0; i < 150; i++)
        propose_set(&m, "k", "v");
    ck_assert(run_role(&m, &writer_ops, 0, m.writer));
    deliver_ack(&m, 2, status_of(&m).last);
    deliver_ack(&m, 3, status_of(&m).last);
    ck_assert(run_role(&m, &applier_ops, 0, m.applier));
    ck_assert_uint_lt(m.s.visible, m.s.staged);
    m.s.log_max_entries = 10;
    rounds();

    ck_assert_uint_le(status_of(&m).base.index, m.s.visible);
    run_all(&m);
    member_end(&m);
}
END_TEST

/* The map may be that of a leader for a moment before the core is told of it. */
START_TEST(a_map_that_was_just_installed_is_not_counted_yet)
{
    struct entry *e[200] = {NULL};
    struct command_result results[200];

    for (raft_index i = 0; i < 200; i++)
        e[i] = noop_at(i + 2, 2);
    member_open(&m, 1, 3, NOBODY_PORT);
    deliver_append(&m, 2, 2, (struct raft_pos){1, 1}, 30, e, 60);
    run_all(&m);
    ck_assert_uint_eq(status_of(&m).applied, 30);
    m.s.log_max_entries = 2;
    snapshotter_ops.take(&m.s, m.now, 0, m.snapshotter);
    /* Behind the core's back, as an install does it. */
    ck_assert_int_eq(apply_and_commit(m.kv, &e[29], 170, results), 0);
    snapshotter_ops.work(m.snapshotter);
    snapshotter_ops.done(&m.s, m.now, 0, m.snapshotter);

    ck_assert_uint_eq(status_of(&m).applied, 30);
    ck_assert_uint_le(status_of(&m).base.index, 30);
    unref_all(e, 200);
    member_end(&m);
}
END_TEST

/* ---- the map in a file ---- */

static void need_map(void)
{
    lead_with(&m, 200);
    m.now += ELECTION_MS + 1; /* for a peer that is silent for longer than that nothing is kept */
    deliver_ack(&m, 2, status_of(&m).last);
    raft_settled(m.s.raft, status_of(&m).applied, 1u << 20);
    deliver_refusal_of(&m, 3, 1);
    transfer_look(&m.s, m.now, &m.s.peers[slot_of(&m, 3)]);
    ck_assert_uint_eq(snapshotter_ops.due(&m.s, 0), 0);
}

START_TEST(the_map_is_written_for_who_needs_it)
{
    need_map();
    ck_assert(round_of_it());

    ck_assert(m.s.dump.ready);
    ck_assert_uint_eq(m.s.dump.id.pos.index, status_of(&m).applied);
    ck_assert(path_exists(m.dump));
    ck_assert(!path_exists(m.dump_fresh)); /* redisraft#654: named only when it is whole and synced */
    ck_assert_uint_gt(m.s.compact_at, m.now);
    ck_assert_uint_gt(snapshotter_ops.due(&m.s, 0), m.now);

    deliver_ack(&m, 3, status_of(&m).last); /* it has caught up otherwise */
    m.now = m.s.dump.look_at;
    deliver_ack(&m, 3, status_of(&m).last);
    rounds();
    ck_assert(!m.s.dump.ready);
    ck_assert(!path_exists(m.dump));
    member_end(&m);
}
END_TEST

/* A dump leaves room for the log; it waits, and the member goes on. */
START_TEST(a_dump_does_not_fill_the_disk)
{
    need_map();
    free_bytes(8u << 20);
    ck_assert(round_of_it());

    ck_assert(!m.s.dump.ready);
    ck_assert_int_eq(m.s.failure, 0);
    ck_assert(!path_exists(m.dump_fresh));
    ck_assert_uint_gt(m.s.dump.retry_at, m.now);
    disk.says_free = false;
    m.now = m.s.dump.retry_at;
    deliver_refusal_of(&m, 3, 1);
    rounds();
    ck_assert(m.s.dump.ready);
    member_end(&m);
}
END_TEST

START_TEST(a_dump_that_fails_ends_the_member)
{
    need_map();
    disk.fails = true;
    ck_assert(round_of_it());
    disk.fails = false;

    ck_assert_int_eq(m.s.failure, ERR_IO);
    ck_assert_uint_eq(snapshotter_ops.due(&m.s, 0), RAFT_NEVER);
    member_end(&m);
}
END_TEST

START_TEST(what_was_being_received_goes_when_we_caught_up_otherwise)
{
    FILE *f = NULL;

    lead_with(&m, 10);
    f = fopen(m.incoming, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    m.s.incoming = (struct transfer_in){.state = TRANSFER_RECEIVING, .id.pos.index = status_of(&m).applied, .have = 5};
    ck_assert_uint_eq(snapshotter_ops.due(&m.s, 0), 0);
    rounds();

    ck_assert_int_eq(m.s.incoming.state, TRANSFER_IDLE);
    ck_assert(!path_exists(m.incoming));
    member_end(&m);
}
END_TEST

/* ---- room ---- */

static void look(void)
{
    m.now += 1001;
    deliver_ack(&m, 2, status_of(&m).last);
    deliver_ack(&m, 3, status_of(&m).last);
    rounds();
}

START_TEST(a_leader_without_room_hands_over)
{
    lead_with(&m, 10);
    m.s.largest = 1u << 20;
    look();
    ck_assert(!m.s.full);
    ck_assert_uint_gt(timer_ops.due(&m.s, 0), m.now);

    free_bytes(5u << 20);
    look();

    ck_assert(m.s.full);
    ck_assert_uint_le(timer_ops.due(&m.s, 0), m.now);
    run_all(&m);
    ck_assert(status_of(&m).transferring);
    member_end(&m);
}
END_TEST

START_TEST(a_leader_stays_where_all_are_full)
{
    struct hello h = hello_from(2, 1);
    struct raft_message ack = {.type = RAFT_APPENDED, .to = 1};

    lead_with(&m, 10);
    free_bytes(1u << 20);
    look();
    ck_assert(m.s.full);
    ack.term = status_of(&m).term;
    ack.appended.ok = true;
    ack.appended.index = status_of(&m).last;
    ack.appended.full = true;
    for (raft_id id = 2; id <= 3; id++) {
        h = hello_from(id, 1);
        ack.from = id;
        ck_assert_int_eq(deliver(&m, &h, &ack, NULL, 0), 0);
    }

    run_all(&m);

    ck_assert_int_eq(status_of(&m).role, RAFT_LEADER);
    ck_assert(!status_of(&m).transferring);
    ck_assert(!raft_quorum_has_room(m.s.raft));
    member_end(&m);
}
END_TEST

/* Near the limit it does not change its mind with every page that comes free. */
START_TEST(who_was_full_wants_more_room_than_who_was_not)
{
    lead_with(&m, 10);
    m.s.largest = 1u << 20;
    free_bytes(7u << 20);
    look();
    ck_assert(!m.s.full);
    free_bytes(6u << 20);
    look();
    ck_assert(m.s.full);
    free_bytes(7u << 20);
    look();
    ck_assert(m.s.full);
    free_bytes(8u << 20);
    look();
    ck_assert(!m.s.full);
    member_end(&m);
}
END_TEST

TEST_MAIN("snapshotter", a_log_that_is_short_enough_stays, a_log_that_is_too_long_loses_its_first_half,
          bytes_count_as_well_as_entries, where_the_map_cannot_be_synced_the_log_stays,
          no_more_goes_than_the_map_has_committed, a_map_that_was_just_installed_is_not_counted_yet,
          the_map_is_written_for_who_needs_it, a_dump_does_not_fill_the_disk, a_dump_that_fails_ends_the_member,
          what_was_being_received_goes_when_we_caught_up_otherwise, a_leader_without_room_hands_over,
          a_leader_stays_where_all_are_full, who_was_full_wants_more_room_than_who_was_not)
