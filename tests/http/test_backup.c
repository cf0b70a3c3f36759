/* /backup: what it streams, its headers, what becomes of it when it breaks; and the lines of a backup, read and refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "base/err.h"
#include "client.h"
#include "http/pairs.h"

static void fill(struct world *w, unsigned count)
{
    char key[16];

    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%06u", i);
        fake_set(w->node, view_of_text(key), view_of_text("v"));
    }
}

/* Its handlers have ended then. */
static void expect_closed(struct world *w)
{
    http_stop(w->http);
    w->http = NULL;
    ck_assert_uint_eq(w->fake->backups_open, 0);
}

/* ---- GET ---- */

START_TEST(a_backup_says_whose_and_as_of_when_it_is)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    fill(w, 5000); /* several pieces */
    a = ask(w, "GET", "/backup", NULL, NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert(!a->chunked && !a->broken);
    ck_assert_uint_eq(a->size, 5000 * FAKE_DUMP_LINE);
    ck_assert_str_eq(field(a, "Content-Type"), "application/octet-stream");
    ck_assert_str_eq(field(a, "Raftd-Index"), "5100");
    ck_assert_str_eq(field(a, "Raftd-Cluster"), "123456789");
    ck_assert_str_eq(field(a, "Content-Disposition"), "attachment; filename=\"raftd-123456789-5100.dump\"");
    a = ask(w, "HEAD", "/backup", NULL, NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(field(a, "Content-Length"), "500000");
    expect_closed(w);
    end_world(w);
}
END_TEST

START_TEST(a_backup_is_linearizable_unless_it_may_be_stale)
{
    struct world *w = a_world(4, &quick);

    ck_assert_int_eq(ask_status(w, "GET", "/backup?stale"), 200);
    ck_assert_int_eq(w->fake->consistency, SERVICE_STALE);
    ck_assert_int_eq(ask_status(w, "GET", "/backup"), 200);
    ck_assert_int_eq(w->fake->consistency, SERVICE_LINEARIZABLE);
    ck_assert_int_eq(ask_status(w, "GET", "/backup?stale=perhaps"), 400);
    w->fake->answer = SERVICE_BUSY;
    ck_assert_int_eq(ask_status(w, "GET", "/backup"), 429);
    w->fake->answer = SERVICE_NO_SPACE;
    ck_assert_int_eq(ask_status(w, "GET", "/backup"), 507);
    ck_assert_int_eq(ask_status(w, "DELETE", "/backup"), 405);
    end_world(w);
}
END_TEST

/* What breaks in the middle must not look whole. */
START_TEST(a_backup_that_breaks_off_is_seen_to)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    fill(w, 5000);
    w->fake->scan_breaks = 3000;
    ck_assert(ask(w, "GET", "/backup", NULL, NULL)->broken);
    a = ask(w, "GET", "/backup", "Accept: application/x-ndjson\r\n", NULL);
    ck_assert(a->broken);
    ck_assert_ptr_null(strstr(a->body, "\"count\""));
    expect_closed(w);
    end_world(w);
}
END_TEST

/* ---- lines ---- */

struct outcome {
    int err;
    bool end;
    unsigned pairs;
    struct pairs_item header;
    uint8_t key[SERVICE_KEY_MAX], value[4096]; /* of the last pair */
    size_t key_size, value_size;
    char fault[200];
};

static void keep(struct outcome *o, const struct pairs_item *item)
{
    o->pairs++;
    o->key_size = item->key.size;
    o->value_size = item->value.size;
    ck_assert_uint_le(item->value.size, sizeof o->value);
    memcpy(o->key, item->key.data, item->key.size);
    if (item->value.size > 0)
        memcpy(o->value, item->value.data, item->value.size);
}

static struct outcome read_lines(struct view in, size_t piece)
{
    struct pairs_reader *r = pairs_reader_new();
    struct outcome o = {0};
    struct pairs_item item;
    enum pairs_step step = PAIRS_WANTS_MORE;

    while (o.err == 0) {
        o.err = pairs_reader_next(r, &step, &item);
        if (o.err != 0)
            break;
        if (step == PAIRS_HEADER)
            o.header = item;
        else if (step == PAIRS_PAIR)
            keep(&o, &item);
        o.end = o.end || step == PAIRS_END;
        if (step == PAIRS_WANTS_MORE) {
            size_t size = in.size < piece ? in.size : piece;

            if (size == 0)
                break;
            pairs_reader_feed(r, view_of(in.data, size));
            in = view_of(in.data + size, in.size - size);
        }
    }
    snprintf(o.fault, sizeof o.fault, "%s", pairs_reader_fault(r));
    pairs_reader_free(r);
    return o;
}

START_TEST(a_backup_in_lines_can_be_read_again)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;
    struct outcome o;

    fill(w, 5000);
    a = ask(w, "GET", "/backup", "Accept: application/x-ndjson\r\n", NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert(a->chunked && !a->broken);
    ck_assert_str_eq(field(a, "Content-Type"), "application/x-ndjson");
    ck_assert_str_eq(field(a, "Content-Disposition"), "attachment; filename=\"raftd-123456789-5100.ndjson\"");
    for (size_t piece = 1; piece <= a->size; piece = piece * 7 + 1) {
        o = read_lines(view_of(a->body, a->size), piece);
        ck_assert_msg(o.err == 0 && o.end, "%s", o.fault);
        ck_assert_uint_eq(o.pairs, 5000);
        ck_assert_uint_eq(o.header.cluster, 123456789);
        ck_assert_uint_eq(o.header.index, 5100);
        ck_assert_uint_eq(o.header.term, 7);
    }
    end_world(w);
}
END_TEST

/* Any byte of key and value survives. */
START_TEST(lines_carry_any_bytes)
{
    uint8_t key[SERVICE_KEY_MAX], value[256];
    static const char *const texts[] = {"", "plain", "\"\\\n\t\x01", "\xc3\xa9\xe2\x82\xac", "\xff"};
    struct bytes out;
    struct outcome o;

    bytes_init(&out, 1 << 20);
    for (unsigned i = 0; i < 256; i++)
        value[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 7);
    for (unsigned size = 0; size <= 256 + sizeof texts / sizeof texts[0]; size++) {
        struct view v = size <= 256 ? view_of(value, size) : view_of_text(texts[size - 257]);
        struct view k = view_of(key, 1 + size % sizeof key);

        bytes_reset(&out);
        pairs_append_header(&out, 1, 2, 3);
        pairs_append(&out, k, v, 9);
        bytes_append_text(&out, "{\"count\":1}\n");
        o = read_lines(bytes_view(&out), 1000);
        ck_assert_msg(o.err == 0 && o.end && o.pairs == 1, "size %u: %s", size, o.fault);
        ck_assert(view_equal(view_of(o.key, o.key_size), k));
        ck_assert(view_equal(view_of(o.value, o.value_size), v));
    }
    bytes_clear(&out);
}
END_TEST

static void expect_fault(const char *text, const char *fault)
{
    struct outcome o = read_lines(view_of_text(text), 1000);

    ck_assert_msg(o.err == ERR_MALFORMED, "%s", text);
    ck_assert_msg(strstr(o.fault, fault) != NULL, "\"%s\" for %s", o.fault, text);
}

#define HEAD "{\"raftd_backup\":1}\n"

START_TEST(lines_that_are_no_backup_are_told_apart)
{
    struct outcome o = read_lines(view_of_text(HEAD "{\"key\":\"a\",\"value\":\"1\"}\n{\"count\":1}\n"), 1000);

    ck_assert_int_eq(o.err, 0); /* the least that a tool of one's own must write */
    ck_assert(o.end);
    expect_fault("{\"key\":\"a\",\"value\":\"\"}\n", "line 1: it does not begin with");
    expect_fault("{\"raftd_backup\":2}\n", "line 1: its format");
    expect_fault("nothing of the kind\n", "line 1: it is no JSON object");
    expect_fault(HEAD "[[[[[[1]]]]]]\n", "line 2: it is no JSON object");
    expect_fault(HEAD "\n", "line 2: it is no JSON object");
    expect_fault(HEAD "{\"key\":\"\",\"value\":\"\"}\n", "line 2: \"key\"");
    expect_fault(HEAD "{\"key\":\"%\",\"value\":\"\"}\n", "line 2: \"key\"");
    expect_fault(HEAD "{\"value\":\"\"}\n", "line 2: \"key\"");
    expect_fault(HEAD "{\"key\":\"a\"}\n", "one of \"value\" and");
    expect_fault(HEAD "{\"key\":\"a\",\"value\":1}\n", "one of \"value\" and");
    expect_fault(HEAD "{\"key\":\"a\",\"value\":\"\",\"value_base64\":\"\"}\n", "one of \"value\" and");
    expect_fault(HEAD "{\"key\":\"a\",\"value_base64\":\"a\"}\n", "no base64");
    expect_fault(HEAD "{\"key\":\"a\",\"value_base64\":\"ab==\"}\n", "no base64");
    expect_fault(HEAD "{\"key\":\"a\",\"value_base64\":\"=bcd\"}\n", "no base64");
    expect_fault(HEAD "{\"key\":\"b\",\"value\":\"\"}\n{\"key\":\"a\",\"value\":\"\"}\n",
                 "line 3: the key is not greater");
    expect_fault(HEAD "{\"key\":\"a\",\"value\":\"\"}\n{\"key\":\"a\",\"value\":\"\"}\n",
                 "line 3: the key is not greater");
    expect_fault(HEAD "{\"key\":\"a\",\"value\":\"\"}\n{\"count\":2}\n", "line 3: \"count\"");
    expect_fault(HEAD "{\"count\":0,\"xxh3\":\"0000000000000000\"}\n", "line 2: \"xxh3\"");
    expect_fault(HEAD "{\"count\":0}\n{}\n", "line 3: there is something behind");
    ck_assert(!read_lines(view_of_text(HEAD "{\"count\":0}"), 1000).end); /* cut before its last byte */
}
END_TEST

/* ---- PUT ---- */

#define MEANT "If-Match: \"123456789\"\r\n"

START_TEST(a_restore_names_the_cluster)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a = ask(w, "PUT", "/backup", NULL, "dump");

    ck_assert_int_eq(a->status, 428);
    ck_assert_ptr_nonnull(strstr(a->body, "If-Match"));
    a = ask(w, "PUT", "/backup", "If-Match: \"5\"\r\n", "dump");
    ck_assert_int_eq(a->status, 412);
    ck_assert_str_eq(a->body, "raftd: this is cluster 123456789, not 5: nothing was changed\n");
    ck_assert_int_eq(ask(w, "PUT", "/backup", "If-Match: *\r\n", "dump")->status, 400);
    ck_assert_int_eq(ask(w, "PUT", "/backup", "If-Match: 123456789\r\n", "dump")->status, 400);
    ck_assert_int_eq(ask(w, "POST", "/backup", MEANT, "dump")->status, 405);
    ck_assert_uint_eq(w->fake->uploaded, 0);
    a = ask(w, "PUT", "/backup", MEANT, "dump");
    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(a->body, "{\"keys\":0,\"index\":101}\n");
    ck_assert_str_eq(field(a, "Raftd-Index"), "101");
    ck_assert_uint_eq(w->fake->uploaded, 4);
    end_world(w);
}
END_TEST

START_TEST(the_leader_alone_restores)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    w->fake->answer = SERVICE_NOT_LEADER;
    a = ask(w, "PUT", "/backup", MEANT, "dump");
    ck_assert_int_eq(a->status, 307);
    ck_assert_str_eq(field(a, "Location"), "http://two.example:4002/backup");
    w->fake->answer = SERVICE_CONFLICT;
    ck_assert_int_eq(ask(w, "PUT", "/backup", MEANT, "dump")->status, 409);
    w->fake->answer = SERVICE_NO_SPACE;
    ck_assert_int_eq(ask(w, "PUT", "/backup", MEANT, "dump")->status, 507);
    ck_assert_uint_eq(w->fake->uploaded, 0);
    end_world(w);
}
END_TEST

/* What is no good ends the request, whatever is still to come, and the handler lets go of all. */
START_TEST(a_body_is_taken_in_pieces_and_looked_at)
{
    struct world *w = a_world(4, &quick);
    char *large = malloc(FAKE_UPLOAD_LIMIT + 2);
    struct client *c;

    memset(large, 'x', FAKE_UPLOAD_LIMIT + 1);
    large[FAKE_UPLOAD_LIMIT + 1] = '\0';
    ck_assert_int_eq(ask(w, "PUT", "/backup", MEANT, large)->status, 413);
    ck_assert_ptr_nonnull(strstr(ask(w, "PUT", "/backup", MEANT, large)->body, "-max-db-size"));
    large[FAKE_UPLOAD_LIMIT] = '\0';
    ck_assert_int_eq(ask(w, "PUT", "/backup", MEANT, large)->status, 200);
    ck_assert_uint_eq(w->fake->uploaded, FAKE_UPLOAD_LIMIT);
    ck_assert_uint_gt(FAKE_UPLOAD_LIMIT, w->http->max_value_size); /* that one does not limit it */
    memcpy(large, "bad", 3);
    ck_assert_int_eq(ask(w, "PUT", "/backup", MEANT, large)->status, 400);
    ck_assert_int_eq(ask(w, "PUT", "/backup", MEANT, NULL)->status, 400);
    free(large);
    c = dial(w);
    say_text(c,
             "PUT /backup HTTP/1.1\r\nHost: x\r\n" MEANT "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    ck_assert_int_eq(hear(c, false)->status, 200);
    hang_up(c);
    c = dial(w); /* it breaks off */
    say_text(c, "PUT /backup HTTP/1.1\r\nHost: x\r\n" MEANT "Content-Length: 100\r\n\r\nhello");
    ck_assert_int_eq(hear(c, false)->status, 408);
    hang_up(c);
    http_stop(w->http);
    w->http = NULL;
    ck_assert_uint_eq(w->fake->uploads_open, 0);
    ck_assert_uint_eq(w->fake->uploaded, 5);
    end_world(w);
}
END_TEST

START_TEST(lines_are_restored_too)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    fill(w, 10);
    a = ask(w, "PUT", "/backup", MEANT, HEAD "{\"key\":\"a%20b\",\"value\":\"1\"}\n{\"count\":2}\n");
    ck_assert_int_eq(a->status, 400);
    ck_assert_str_eq(a->body,
                     "raftd: the backup is no good: line 3: \"count\" is not the number of pairs before it; nothing "
                     "was changed\n");
    a = ask(w, "PUT", "/backup", MEANT, HEAD "{\"key\":\"a%20b\",\"value\":\"1\"}\n");
    ck_assert_int_eq(a->status, 400);
    ck_assert_int_eq(ask_status(w, "GET", "/db/k000001"), 200);
    a = ask(w, "PUT", "/backup", MEANT, HEAD "{\"key\":\"a%20b\",\"value\":\"1\"}\n{\"count\":1}\n");
    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(a->body, "{\"keys\":1,\"index\":111}\n");
    ck_assert_int_eq(ask_status(w, "GET", "/db/k000001"), 404);
    ck_assert_str_eq(ask(w, "GET", "/db/a%20b", NULL, NULL)->body, "1");
    end_world(w);
}
END_TEST

TEST_MAIN("backup", a_backup_says_whose_and_as_of_when_it_is, a_backup_is_linearizable_unless_it_may_be_stale,
          a_backup_that_breaks_off_is_seen_to, a_backup_in_lines_can_be_read_again, lines_carry_any_bytes,
          lines_that_are_no_backup_are_told_apart, a_restore_names_the_cluster, the_leader_alone_restores,
          a_body_is_taken_in_pieces_and_looked_at, lines_are_restored_too)
