/* Both sides of a map on its way: what is sent when, how far it is, and what a lost chunk, a silent receiver, a full disk or
 * another leader makes of it. The bytes go no further than this program. */
#include <stdio.h>
#include <string.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "server_test.h"
#include "wire/dump.h"

static struct subject m;

/* ---- the leader's side ---- */

static struct peer *peer(raft_id id)
{
    return &m.s.peers[slot_of(&m, id)];
}

/* Leads with a log that member 3, which has just answered, is behind of; and the map is in a file. */
static void begin_sending(void)
{
    lead_with(&m, 200);
    m.now += ELECTION_MS + 1; /* for a peer that is silent for longer than that nothing is kept */
    deliver_ack(&m, 2, status_of(&m).last);
    raft_settled(m.s.raft, status_of(&m).applied, 1u << 20);
    ck_assert_uint_gt(status_of(&m).first, 100);
    deliver_refusal_of(&m, 3, 1);
    transfer_look(&m.s, m.now, peer(3));
    ck_assert(peer(3)->out.wanted);
    ck_assert(run_role(&m, &snapshotter_ops, 0, m.snapshotter));
    ck_assert(m.s.dump.ready);
    m.s.transfer_chunk = 1000;
}

static void answer_from(raft_id from, uint64_t offset)
{
    struct hello h = hello_from(from, 1);
    struct chunk_taken t = {.from = from, .to = 1, .dump = m.s.dump.id, .offset = offset};

    ck_assert_int_eq(transfer_answered(&m.s, m.now, &h, &t), 0);
}

/* The next chunk for member 3: its offset and size; false: none is due. */
static bool next(uint64_t *offset, size_t *size)
{
    struct chunk c;

    if (transfer_due(&m.s, peer(3)) > m.now || !transfer_next(&m.s, m.now, peer(3), &c, size))
        return false;
    *offset = c.offset;
    ck_assert_uint_eq(c.dump.pos.index, m.s.dump.id.pos.index);
    transfer_sent(&m.s, m.now, 0, peer(3), &c, *size, 0);
    return true;
}

START_TEST(it_asks_first_and_goes_on_where_the_other_is)
{
    uint64_t offset = 1;
    size_t size = 1;

    begin_sending();
    ck_assert(next(&offset, &size));
    ck_assert_uint_eq(size, 0); /* a question */
    ck_assert(!next(&offset, &size));
    answer_from(3, 2500);

    ck_assert(next(&offset, &size));

    ck_assert_uint_eq(offset, 2500);
    ck_assert_uint_eq(size, 1000);
    ck_assert(!next(&offset, &size)); /* each chunk is followed by a rest */
    m.now++;
    ck_assert(next(&offset, &size));
    ck_assert_uint_eq(offset, 3500);
    member_end(&m);
}
END_TEST

START_TEST(no_more_is_under_way_than_the_window)
{
    uint64_t offset = 0, sent = 0;
    size_t size = 0;

    begin_sending();
    m.s.dump.id.size = 1u << 30; /* nobody reads it here */
    m.s.transfer_chunk = CHUNK_BYTES_MAX;
    ck_assert(next(&offset, &size));
    answer_from(3, 0);
    for (unsigned i = 0; i < 100; i++, m.now++)
        if (next(&offset, &size))
            sent += size;
    ck_assert_uint_le(sent, 100u << 10);
    answer_from(3, 64u << 10);
    ck_assert(next(&offset, &size));
    ck_assert_uint_eq(offset, sent);
    member_end(&m);
}
END_TEST

/* Sends what it may for 2 ms, then the other side answers all of it `ms` later: how much that was. */
static uint64_t burst(raft_time ms)
{
    uint64_t offset = 0, first = 0, end = 0;
    size_t size = 0;

    for (unsigned i = 0; i < 200; i++) {
        m.now += i % 4 == 0;
        if (!next(&offset, &size))
            continue;
        first = end == 0 ? offset : first;
        end = offset + size;
    }
    m.now += ms;
    deliver_ack(&m, 2, status_of(&m).last);
    answer_from(3, end);
    return end - first;
}

/* A fast link is made use of; on a slow one, no more is under way than lets heartbeats through in time (D5). */
START_TEST(the_window_follows_the_link)
{
    uint64_t offset = 0, before = 0, now = 0;
    size_t size = 0;

    begin_sending();
    m.s.dump.id.size = 1u << 30;
    m.s.transfer_chunk = CHUNK_BYTES_MAX;
    m.s.transfer_patience = 4000; /* so that half a second is slow, and the time that this takes is nothing */
    ck_assert(next(&offset, &size));
    answer_from(3, 0);
    before = burst(1);
    for (unsigned i = 0; i < 10; i++)
        now = burst(1);
    ck_assert_uint_gt(now, 8 * before);
    ck_assert_uint_ge(now, 1u << 20);
    for (unsigned i = 0; i < 20; i++)
        now = burst(1500);
    ck_assert_uint_le(now, 8u << 10);
    ck_assert_uint_gt(now, 0);
    member_end(&m);
}
END_TEST

/* Lost chunks, or an answer that got lost: after a while it asks how far the other is, and goes on there. */
START_TEST(a_silent_receiver_is_asked_again)
{
    uint64_t offset = 0;
    size_t size = 0;

    begin_sending();
    ck_assert(next(&offset, &size));
    answer_from(3, 0);
    ck_assert(next(&offset, &size));
    m.now += m.s.transfer_patience;
    deliver_refusal_of(&m, 3, 1); /* it answers the core's messages */

    ck_assert(next(&offset, &size));

    ck_assert_uint_eq(size, 0);
    answer_from(3, 0);
    ck_assert(next(&offset, &size));
    ck_assert_uint_eq(offset, 0);
    ck_assert_uint_eq(size, 1000);
    member_end(&m);
}
END_TEST

/* rqlite#2642: one that is silent gets nothing more; the file stays a while, for it may have been restarted, and then goes. */
START_TEST(a_receiver_that_is_gone_pins_nothing)
{
    uint64_t offset = 0;
    size_t size = 0;

    begin_sending();
    ck_assert(next(&offset, &size));
    ck_assert(path_exists(m.dump));
    m.now += ELECTION_MS + 1;
    deliver_ack(&m, 2, status_of(&m).last); /* the others are well */
    m.now = m.s.dump.look_at > m.now ? m.s.dump.look_at : m.now;
    deliver_ack(&m, 2, status_of(&m).last);

    ck_assert(run_role(&m, &snapshotter_ops, 0, m.snapshotter));
    ck_assert(!peer(3)->out.wanted);
    ck_assert_uint_eq(transfer_due(&m.s, peer(3)), RAFT_NEVER);
    while (run_role(&m, &snapshotter_ops, 0, m.snapshotter))
        ;
    ck_assert(m.s.dump.ready);
    m.now += 100 * ELECTION_MS;
    deliver_ack(&m, 2, status_of(&m).last);
    while (run_role(&m, &snapshotter_ops, 0, m.snapshotter))
        ;
    ck_assert(!m.s.dump.ready);
    ck_assert(!path_exists(m.dump));
    member_end(&m);
}
END_TEST

START_TEST(what_others_say_changes_nothing)
{
    struct hello h = hello_from(2, 1);
    struct chunk_taken t = {.from = 3, .to = 1, .offset = 5};
    uint64_t offset = 0;
    size_t size = 0;

    begin_sending();
    ck_assert(next(&offset, &size));
    t.dump = m.s.dump.id;
    ck_assert_int_eq(transfer_answered(&m.s, m.now, &h, &t), ERR_MALFORMED); /* speaks for member 3 */
    h = hello_from(3, 1);
    t.dump.checksum++;
    ck_assert_int_eq(transfer_answered(&m.s, m.now, &h, &t), 0); /* of another file */

    ck_assert(!peer(3)->out.known);
    ck_assert(!next(&offset, &size));
    member_end(&m);
}
END_TEST

/* ---- the receiving side ---- */

static struct chunk a_chunk(uint64_t offset, const char *text)
{
    return (struct chunk){.from = 2,
                          .to = 1,
                          .term = 5,
                          .dump = {.pos = {100, 4}, .size = 12, .checksum = 77},
                          .offset = offset,
                          .bytes = view_of_text(text)};
}

/* What becomes of a chunk that member 2 sends as a leader. */
static int came(const struct chunk *c)
{
    struct hello h = hello_from(2, 1);
    int err = transfer_came(&m.s, m.now, &h, c);

    if (err != TRANSFER_WRITE)
        return err;
    transfer_wrote(&m.s, c, transfer_write(m.incoming, c));
    return TRANSFER_WRITE;
}

static void owes(uint64_t offset)
{
    struct transfer_answer *a = &peer(2)->answer;

    ck_assert(a->owed);
    ck_assert_uint_eq(a->offset, offset);
    a->owed = false;
}

START_TEST(chunks_become_a_file)
{
    struct chunk ask = a_chunk(0, ""), one = a_chunk(0, "hello "), two = a_chunk(6, "world!");
    char found[32] = "";
    FILE *f = NULL;

    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(came(&ask), 0);
    owes(0);
    ck_assert_int_eq(came(&two), 0); /* the first one got lost */
    owes(0);
    ck_assert_int_eq(came(&one), TRANSFER_WRITE);
    owes(6);
    ck_assert_int_eq(came(&one), 0); /* again */
    owes(6);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_RECEIVING);
    ck_assert_int_eq(came(&two), TRANSFER_WRITE);
    owes(12);

    ck_assert_int_eq(m.s.incoming.state, TRANSFER_COMPLETE);
    f = fopen(m.incoming, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(found, sizeof found, f));
    fclose(f);
    ck_assert_str_eq(found, "hello world!");
    ck_assert_int_eq(came(&ask), 0); /* asked meanwhile, it says that it has all */
    owes(12);
    member_end(&m);
}
END_TEST

/* etcd, camunda#6092: a chunk of an older map, or of a leader of an earlier term, undoes nothing. */
START_TEST(another_map_begins_anew_and_an_older_one_does_not)
{
    struct chunk one = a_chunk(0, "hello "), newer = a_chunk(0, "HELLO "), late = a_chunk(6, "world!");

    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(came(&one), TRANSFER_WRITE);
    newer.dump.pos.index = 101;
    newer.term = 6;
    ck_assert_int_eq(came(&newer), TRANSFER_WRITE);
    ck_assert_uint_eq(m.s.incoming.id.pos.index, 101);
    peer(2)->answer.owed = false;
    ck_assert_int_eq(came(&late), 0);

    ck_assert(!peer(2)->answer.owed);
    ck_assert_uint_eq(m.s.incoming.id.pos.index, 101);
    ck_assert_uint_eq(m.s.incoming.have, 6);
    member_end(&m);
}
END_TEST

/* One thread writes at a time: what comes meanwhile is dropped, and asked for again. */
START_TEST(a_chunk_that_comes_while_one_is_written_is_dropped)
{
    struct hello h = hello_from(2, 1);
    struct chunk one = a_chunk(0, "hello ");

    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &one), TRANSFER_WRITE);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &one), 0);
    ck_assert(!peer(2)->answer.owed);
    transfer_wrote(&m.s, &one, 0);
    owes(6);
    member_end(&m);
}
END_TEST

START_TEST(a_disk_that_is_full_gone_or_broken)
{
    struct hello h = hello_from(2, 1);
    struct chunk one = a_chunk(0, "hello "), two = a_chunk(6, "world!");

    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(came(&one), TRANSFER_WRITE);
    owes(6);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &two), TRANSFER_WRITE);
    transfer_wrote(&m.s, &two, ERR_NO_SPACE); /* it waits for room: it will be asked */
    ck_assert(!peer(2)->answer.owed);
    ck_assert_uint_eq(m.s.incoming.have, 6);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &two), TRANSFER_WRITE);
    transfer_wrote(&m.s, &two, ERR_NOT_FOUND); /* somebody removed the file */
    owes(0);
    ck_assert_int_eq(m.s.failure, 0);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &one), TRANSFER_WRITE);
    transfer_wrote(&m.s, &one, ERR_IO);
    ck_assert_int_eq(m.s.failure, ERR_IO);
    member_end(&m);
}
END_TEST

/* A dump of one record, for the cluster of the member. */
static uint64_t make_dump(struct bytes *out, struct raft_pos pos)
{
    struct dump_encoder *e = dump_encoder_new();
    struct dump_header *h = calloc(1, sizeof *h);
    uint64_t sum = 0;

    h->cluster = m.s.cluster;
    h->position = pos;
    bytes_init(out, 1u << 16);
    dump_encode_header(e, h, out);
    dump_encode_record(e, &(struct dump_record){.key = view_of_text("key"), .value = view_of_text("value"), .index = 1},
                       out);
    sum = dump_encode_end(e, out);
    dump_encoder_free(e);
    free(h);
    return sum;
}

/* After a restart the leader that sends the same map goes on where its receiver was; a byte that was not written yet is sent
 * again. Another leader's map, or one that we have by now, takes its place. */
START_TEST(a_receiver_that_restarts_goes_on)
{
    struct chunk c = a_chunk(0, "");
    struct bytes dump;
    uint64_t all = 0;

    member_open(&m, 1, 3, NOBODY_PORT);
    c.dump.checksum = make_dump(&dump, c.dump.pos);
    c.dump.size = all = dump.size;
    c.bytes = view_of(dump.data, all - 33); /* the trailer takes 30 */
    ck_assert_int_eq(came(&c), TRANSFER_WRITE);
    owes(all - 33);

    m.s.incoming = (struct transfer_in){.state = TRANSFER_IDLE};
    transfer_recall(&m.s, m.incoming);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_LEFT);
    while (run_role(&m, &snapshotter_ops, 0, m.snapshotter))
        ;
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_LEFT); /* until somebody sends that */
    c.bytes = view_of(NULL, 0);
    ck_assert_int_eq(came(&c), 0);
    ck_assert(run_role(&m, &snapshotter_ops, 0, m.snapshotter));
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_RECEIVING);
    ck_assert_uint_gt(m.s.incoming.have, 0);
    ck_assert_uint_lt(m.s.incoming.have, all - 33); /* the record was not whole */
    ck_assert_int_eq(came(&c), 0);
    owes(m.s.incoming.have);
    c.offset = m.s.incoming.have;
    c.bytes = view_of(dump.data + c.offset, all - c.offset);
    ck_assert_int_eq(came(&c), TRANSFER_WRITE);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_COMPLETE);

    m.s.incoming = (struct transfer_in){.state = TRANSFER_IDLE};
    transfer_recall(&m.s, m.incoming);
    c.dump.pos.index++;
    c.offset = 0;
    c.bytes = view_of(NULL, 0);
    ck_assert_int_eq(came(&c), 0);
    owes(0);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_RECEIVING);

    m.s.cluster++;
    m.s.incoming = (struct transfer_in){.state = TRANSFER_IDLE};
    transfer_recall(&m.s, m.incoming);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_IDLE);
    ck_assert(!path_exists(m.incoming));
    m.s.cluster--;
    bytes_clear(&dump);
    member_end(&m);
}
END_TEST

START_TEST(who_speaks_for_another_is_not_heard)
{
    struct hello h = hello_from(3, 1);
    struct chunk one = a_chunk(0, "hello ");

    member_open(&m, 1, 3, NOBODY_PORT);
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &one), ERR_MALFORMED);
    one.from = 3;
    one.to = 2;
    ck_assert_int_eq(transfer_came(&m.s, m.now, &h, &one), ERR_MALFORMED);
    ck_assert_int_eq(m.s.incoming.state, TRANSFER_IDLE);
    member_end(&m);
}
END_TEST

TEST_MAIN("transfer", a_receiver_that_restarts_goes_on, it_asks_first_and_goes_on_where_the_other_is,
          no_more_is_under_way_than_the_window, the_window_follows_the_link, a_silent_receiver_is_asked_again,
          a_receiver_that_is_gone_pins_nothing, what_others_say_changes_nothing, chunks_become_a_file,
          another_map_begins_anew_and_an_older_one_does_not, a_chunk_that_comes_while_one_is_written_is_dropped,
          a_disk_that_is_full_gone_or_broken, who_speaks_for_another_is_not_heard)
