/* /db: values, conditions, keys, listings, and what the service refuses. PRODUCT 2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "client.h"

static struct view text(const char *t)
{
    return view_of_text(t);
}

/* ---- values ---- */

START_TEST(statuses_of_writes_and_their_etags)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a = ask(w, "POST", "/db/foo", NULL, "bar");

    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(field(a, "Content-Length"), "0");
    ck_assert_str_eq(field(a, "ETag"), "\"101\"");
    ck_assert_str_eq(field(a, "Raftd-Index"), "101");
    a = ask(w, "PUT", "/db/foo", NULL, "baz");
    ck_assert_int_eq(a->status, 204);
    ck_assert_str_eq(field(a, "Content-Length"), "");
    ck_assert_str_eq(field(a, "ETag"), "\"102\"");
    a = ask(w, "PUT", "/db/new", NULL, "1");
    ck_assert_int_eq(a->status, 201);
    ck_assert_str_eq(field(a, "ETag"), "\"103\"");
    ck_assert_int_eq(ask_status(w, "DELETE", "/db/new"), 204);
    a = ask(w, "DELETE", "/db/new", NULL, NULL);
    ck_assert_int_eq(a->status, 404);
    ck_assert_str_eq(a->body, "raftd: no such key\n");
    end_world(w);
}
END_TEST

START_TEST(a_read_has_the_raw_value_and_its_etag)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    ask(w, "PUT", "/db/foo", NULL, "bar");
    a = ask(w, "GET", "/db/foo", NULL, NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(a->body, "bar");
    ck_assert_str_eq(field(a, "ETag"), "\"101\"");
    ck_assert_str_eq(field(a, "Content-Type"), "application/octet-stream");
    a = ask(w, "HEAD", "/db/foo", NULL, NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(field(a, "Content-Length"), "3");
    ck_assert_str_eq(field(a, "ETag"), "\"101\"");
    a = ask(w, "GET", "/db/none", NULL, NULL);
    ck_assert_int_eq(a->status, 404);
    ck_assert_str_eq(a->body, "raftd: no such key\n");
    a = ask(w, "HEAD", "/db/none", NULL, NULL);
    ck_assert_int_eq(a->status, 404);
    ck_assert_str_eq(field(a, "Content-Length"), "19");
    end_world(w);
}
END_TEST

START_TEST(any_bytes_are_a_value_and_so_are_none)
{
    struct world *w = a_world(4, &quick);
    struct client *c = dial(w);
    static const char bytes[] = "\0\r\n\r\n\xff\x80GET / HTTP/1.1\r\n\r\n";
    const struct answer *a;

    say_format(c, "PUT /db/b HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", sizeof bytes);
    say(c, bytes, sizeof bytes);
    ck_assert_int_eq(hear(c, false)->status, 201);
    say_text(c, "GET /db/b HTTP/1.1\r\nHost: x\r\n\r\n");
    a = hear(c, false);
    ck_assert_uint_eq(a->size, sizeof bytes);
    ck_assert_mem_eq(a->body, bytes, sizeof bytes);
    hang_up(c);
    ck_assert_int_eq(ask_status(w, "PUT", "/db/empty"), 201);
    a = ask(w, "GET", "/db/empty", NULL, NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert_str_eq(field(a, "Content-Length"), "0");
    end_world(w);
}
END_TEST

START_TEST(stale_is_asked_for_and_nothing_else_is)
{
    static const struct {
        const char *path;
        int status;
        enum service_consistency consistency;
    } cases[] = {
        {"/db/k", 200, SERVICE_LINEARIZABLE},         {"/db/k?stale", 200, SERVICE_STALE},
        {"/db/k?stale=1", 200, SERVICE_STALE},        {"/db/k?a=b&stale=true", 200, SERVICE_STALE},
        {"/db/k?stale=0", 200, SERVICE_LINEARIZABLE}, {"/db/k?stale=maybe", 400, SERVICE_LINEARIZABLE},
        {"/db/k?xstale", 200, SERVICE_LINEARIZABLE},  {"/db/?stale", 200, SERVICE_STALE},
        {"/db/", 200, SERVICE_LINEARIZABLE},
    };
    struct world *w = a_world(4, &quick);

    fake_set(w->node, text("k"), text("v"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        w->fake->consistency = SERVICE_LINEARIZABLE;
        ck_assert_msg(ask_status(w, "GET", cases[i].path) == cases[i].status, "%s", cases[i].path);
        ck_assert_msg(w->fake->consistency == cases[i].consistency, "%s", cases[i].path);
    }
    end_world(w);
}
END_TEST

/* ---- conditions ---- */

START_TEST(conditional_writes)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    ck_assert_int_eq(ask(w, "PUT", "/db/k", "If-Match: *\r\n", "1")->status, 412);
    a = ask(w, "PUT", "/db/k", "If-Match: \"7\"\r\n", "1");
    ck_assert_int_eq(a->status, 412);
    ck_assert_str_eq(field(a, "ETag"), ""); /* there is none */
    ck_assert_int_eq(ask(w, "PUT", "/db/k", "If-None-Match: *\r\n", "1")->status, 201);
    a = ask(w, "PUT", "/db/k", "If-None-Match: *\r\n", "2");
    ck_assert_int_eq(a->status, 412);
    ck_assert_str_eq(field(a, "ETag"), "\"103\"");
    ck_assert_str_ne(a->body, "");
    ck_assert_int_eq(ask(w, "PUT", "/db/k", "If-Match: \"102\"\r\n", "2")->status, 412);
    ck_assert_int_eq(ask(w, "PUT", "/db/k", "If-Match: \"103\"\r\n", "2")->status, 204);
    ck_assert_int_eq(ask(w, "PUT", "/db/k", "If-None-Match: \"106\"\r\n", "2")->status, 412);
    ck_assert_int_eq(ask(w, "PUT", "/db/k", "if-none-match:\"5\"  \r\n", "3")->status, 204);
    ck_assert_int_eq(ask(w, "DELETE", "/db/k", "If-Match: \"106\"\r\n", NULL)->status, 412);
    ck_assert_int_eq(ask(w, "DELETE", "/db/k", "If-Match: *\r\n", NULL)->status, 204);
    end_world(w);
}
END_TEST

START_TEST(malformed_conditions_change_nothing)
{
    static const char *const bad[] = {
        "If-Match: 5\r\n",
        "If-Match: \"x\"\r\n",
        "If-Match: \"5\r\n",
        "If-Match: \"\"\r\n",
        "If-Match: \r\n",
        "If-Match: \"0\"\r\n",
        "If-Match: **\r\n",
        "If-Match: \"1\", \"2\"\r\n",
        "If-Match: W/\"1\"\r\n",
        "If-Match: \"+1\"\r\n",
        "If-Match: \"-1\"\r\n",
        "If-Match: \"18446744073709551616\"\r\n",
        "If-None-Match: none\r\n",
        "If-Match: \" 1\"\r\n",
        "If-Match: *\r\nIf-None-Match: *\r\n",
        "If-None-Match: \"1\"x\r\n",
        "If-Match: *\r\nIf-Match: *\r\n",
    };
    struct world *w = a_world(4, &quick);

    fake_set(w->node, text("k"), text("v"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(ask(w, "PUT", "/db/k", bad[i], "2")->status == 400, "%s", bad[i]);
    ck_assert_uint_eq(w->fake->writes, 0);
    end_world(w);
}
END_TEST

START_TEST(conditional_reads)
{
    static const struct {
        const char *header;
        int status;
    } cases[] = {
        {"If-None-Match: \"101\"\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"1\", W/\"101\"\r\n", 304},
        {"If-None-Match: \"100\"\r\n", 200},
        {"If-None-Match: \"of-somebody-else\"\r\n", 200},
        {"If-None-Match: 101\r\n", 400},
        {"If-None-Match: \"1\" \"101\"\r\n", 400},
        {"If-None-Match: \"101\",\r\n", 400},
        {"If-Match: \"101\"\r\n", 200},
        {"If-Match: *\r\n", 200},
        {"If-Match: \"100\"\r\n", 412},
    };
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    fake_set(w->node, text("k"), text("v"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(ask(w, "GET", "/db/k", cases[i].header, NULL)->status == cases[i].status, "%s", cases[i].header);
    a = ask(w, "GET", "/db/k", "If-None-Match: \"101\"\r\n", NULL);
    ck_assert_str_eq(field(a, "ETag"), "\"101\"");
    ck_assert_str_eq(field(a, "Content-Length"), "");
    ck_assert_int_eq(ask(w, "HEAD", "/db/k", "If-None-Match: \"101\"\r\n", NULL)->status, 304);
    ck_assert_int_eq(ask(w, "GET", "/db/none", "If-None-Match: *\r\n", NULL)->status, 404);
    end_world(w);
}
END_TEST

/* ---- keys ---- */

/* An exact round trip or 4xx; never an alias. */
START_TEST(keys_are_bytes_decoded_once)
{
    static const char *const keys[] = {
        "a/b",   "a//b",  "/",   "//",    "a/",  "a%00b",     "a",     "%00",   "a.",     ".",
        "..",    "../x",  "./x", "a%5Cb", "%FF", "%FF%FE",    "a%20b", "a+b",   "a%2Bb2", "%25",
        "%2525", "a%3Fb", "a;b", "a#b",   "~",   "%E2%82%AC", "a=b&c", "'\"<>", "a/../b",
    };
    struct world *w = a_world(4, &quick);
    size_t count = sizeof keys / sizeof keys[0];
    const struct answer *a;
    char path[64];
    unsigned lines = 0;

    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/db/%s", keys[i]);
        ck_assert_msg(ask(w, "PUT", path, NULL, keys[i])->status == 201, "%s is another key's alias", keys[i]);
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/db/%s", keys[i]);
        ck_assert_str_eq(ask(w, "GET", path, NULL, NULL)->body, keys[i]);
    }
    ck_assert_str_eq(ask(w, "GET", "/db/a%2fb", NULL, NULL)->body, "a/b"); /* the same key, written otherwise */
    ck_assert_str_eq(ask(w, "GET", "/db/%61%2F%62", NULL, NULL)->body, "a/b");
    a = ask(w, "GET", "/db/", NULL, NULL);
    for (const char *p = a->body; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    ck_assert_uint_eq(lines, count);
    end_world(w);
}
END_TEST

START_TEST(a_listed_key_can_be_put_behind_db)
{
    struct world *w = a_world(4, &quick);
    uint8_t every[256];
    char path[1024];
    const struct answer *a;

    for (unsigned i = 0; i < sizeof every; i++)
        every[i] = (uint8_t)i;
    fake_set(w->node, view_of(every, sizeof every), text("all bytes"));
    a = ask(w, "GET", "/db/", NULL, NULL);
    snprintf(path, sizeof path, "/db/%.*s", (int)strcspn(a->body, "\n"), a->body);
    ck_assert_str_eq(ask(w, "GET", path, NULL, NULL)->body, "all bytes");
    end_world(w);
}
END_TEST

START_TEST(the_limits_of_a_key)
{
    struct world *w = a_world(4, &quick);
    char path[2048] = "/db/", *p = path + 4;
    const struct answer *a;

    memset(p, 'k', 480);
    p[480] = '\0';
    ck_assert_int_eq(ask(w, "PUT", path, NULL, "v")->status, 201);
    ck_assert_str_eq(ask(w, "GET", path, NULL, NULL)->body, "v");
    p[480] = 'k';
    p[481] = '\0';
    a = ask(w, "PUT", path, NULL, "v");
    ck_assert_int_eq(a->status, 414);
    ck_assert_ptr_nonnull(strstr(a->body, "480"));
    ck_assert_int_eq(ask_status(w, "GET", path), 414);
    for (unsigned i = 0; i < 480; i++)
        memcpy(p + 3 * i, "%FF", 4);
    ck_assert_int_eq(ask(w, "PUT", path, NULL, "v")->status, 201);
    memcpy(p + 3 * 480, "%FF", 4);
    ck_assert_int_eq(ask(w, "PUT", path, NULL, "v")->status, 414);
    ck_assert_int_eq(ask(w, "PUT", "/db/", NULL, "v")->status, 400);
    ck_assert_int_eq(ask(w, "DELETE", "/db/", NULL, "v")->status, 400);
    ck_assert_uint_eq(w->fake->writes, 2);
    end_world(w);
}
END_TEST

START_TEST(bad_percent_encoding_is_refused)
{
    static const char *const bad[] = {"/db/%", "/db/a%", "/db/%4", "/db/%zz", "/db/%%41", "/db/% 41", "/db/%4G"};
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(ask(w, "PUT", bad[i], NULL, "v")->status == 400, "%s", bad[i]);
    ck_assert_uint_eq(w->fake->writes, 0);
    end_world(w);
}
END_TEST

/* ---- what the service refuses ---- */

START_TEST(another_member_redirects_to_the_leader)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    w->fake->answer = SERVICE_NOT_LEADER;
    a = ask(w, "PUT", "/db/a%2Fb//%00?x=%20y&z", NULL, "v");
    ck_assert_int_eq(a->status, 307);
    ck_assert_str_eq(field(a, "Location"), "http://two.example:4002/db/a%2Fb//%00?x=%20y&z");
    ck_assert_str_eq(a->body, "raft.Server: Not current leader\n");
    ck_assert_str_eq(field(a, "Raftd-Leader"), "two");
    a = ask(w, "DELETE", "/db/k?", NULL, NULL);
    ck_assert_str_eq(field(a, "Location"), "http://two.example:4002/db/k?");
    a = ask(w, "POST", "/db/k", "Accept: application/json\r\n", "v");
    ck_assert_int_eq(a->status, 307);
    ck_assert_str_eq(a->body, "{\"error\":\"not_leader\",\"message\":\"raft.Server: Not current leader\"}\n");
    end_world(w);
}
END_TEST

START_TEST(each_refusal_has_its_status)
{
    static const struct {
        enum service_code code;
        int read, write;
        const char *retry, *word; /* word: in the body of both */
    } cases[] = {
        {SERVICE_NO_LEADER, 503, 503, "1", "leader"},  {SERVICE_LOST, 503, 503, "1", "leader"},
        {SERVICE_UNKNOWN, 504, 504, "", "quorum"},     {SERVICE_NO_QUORUM, 503, 503, "1", "quorum"},
        {SERVICE_BUSY, 429, 429, "1", "too many"},     {SERVICE_NO_SPACE, 507, 507, "", "no space"},
        {SERVICE_STOPPING, 503, 503, "1", "stopping"}, {SERVICE_INVALID, 400, 400, "", "because"},
        {SERVICE_CONFLICT, 409, 409, "", "because"},   {SERVICE_FAILED, 500, 500, "", "because"},
        {SERVICE_NOT_FOUND, 404, 404, "", "no such"},  {SERVICE_DOUBTED, 503, 503, "1", "because"},
    };
    struct world *w = a_world(4, &quick);

    snprintf(w->fake->text, sizeof w->fake->text, "because");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct answer *a;

        w->fake->answer = cases[i].code;
        a = ask(w, "GET", "/db/k", NULL, NULL);
        ck_assert_int_eq(a->status, cases[i].read);
        ck_assert_str_eq(field(a, "Retry-After"), cases[i].retry);
        ck_assert_ptr_nonnull(strstr(a->body, cases[i].word));
        ck_assert_uint_eq(strcspn(a->body, "\n"), a->size - 1); /* one line */
        ck_assert_int_eq(ask_status(w, "GET", "/db/"), cases[i].read);
        a = ask(w, "PUT", "/db/k", "Accept: text/html, application/json;q=0.9\r\n", "v");
        ck_assert_int_eq(a->status, cases[i].write);
        ck_assert_str_eq(field(a, "Retry-After"), cases[i].retry);
        ck_assert_str_eq(field(a, "Content-Type"), "application/json");
        ck_assert_int_eq(strncmp(a->body, "{\"error\":\"", 10), 0);
    }
    end_world(w);
}
END_TEST

START_TEST(without_leader_or_quorum_writes_and_reads_say_so)
{
    struct world *w = a_world(4, &quick);

    w->fake->answer = SERVICE_NO_LEADER;
    w->fake->no_leader = true;
    ck_assert_str_eq(ask(w, "PUT", "/db/k", NULL, "v")->body, "raft.Server: Not current leader\n");
    ck_assert_ptr_nonnull(strstr(ask(w, "GET", "/db/k", NULL, NULL)->body, "?stale"));
    w->fake->answer = SERVICE_NO_QUORUM;
    ck_assert_ptr_nonnull(strstr(ask(w, "GET", "/db/k", NULL, NULL)->body, "?stale"));
    w->fake->answer = SERVICE_NOT_LEADER; /* and no address of it is known */
    ck_assert_int_eq(ask(w, "PUT", "/db/k", NULL, "v")->status, 503);
    end_world(w);
}
END_TEST

/* ---- listings ---- */

static void fill(struct world *w)
{
    fake_set(w->node, text("p/1"), text("one"));
    fake_set(w->node, text("p/2"), text("\xff\xfe\xfd"));
    fake_set(w->node, text("p/3 x"), text("\"quoted\"\n\xE2\x82\xAC"));
    fake_set(w->node, text("q"), text(""));
}

START_TEST(listings_as_text)
{
    static const struct {
        const char *path, *body;
    } cases[] = {
        {"/db/", "p/1\np/2\np/3%20x\nq\n"},        {"/db", "p/1\np/2\np/3%20x\nq\n"},
        {"/db/?prefix=p/", "p/1\np/2\np/3%20x\n"}, {"/db/?prefix=p%2F3%20", "p/3%20x\n"},
        {"/db/?prefix=p/&limit=2", "p/1\np/2\n"},  {"/db/?limit=2&after=p/2", "p/3%20x\nq\n"},
        {"/db/?after=p/1x", "p/2\np/3%20x\nq\n"},  {"/db/?prefix=none", ""},
        {"/db/?prefix=&after=&limit=1", "p/1\n"},
    };
    struct world *w = a_world(4, &quick);

    fill(w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct answer *a = ask(w, "GET", cases[i].path, NULL, NULL);

        ck_assert_int_eq(a->status, 200);
        ck_assert_str_eq(a->body, cases[i].body);
        ck_assert_int_eq(strncmp(field(a, "Content-Type"), "text/plain", 10), 0);
    }
    end_world(w);
}
END_TEST

START_TEST(listings_as_json_and_pairs)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    fill(w);
    a = ask(w, "GET", "/db/?prefix=p/", "Accept: application/json\r\n", NULL);
    ck_assert_str_eq(a->body, "{\"items\":[{\"key\":\"p/1\",\"etag\":101},{\"key\":\"p/2\",\"etag\":102},"
                              "{\"key\":\"p/3%20x\",\"etag\":103}]}\n");
    ck_assert_str_eq(field(a, "Content-Type"), "application/json");
    a = ask(w, "GET", "/db/?prefix=p/&limit=2", "Accept: application/json\r\n", NULL);
    ck_assert_str_eq(a->body,
                     "{\"items\":[{\"key\":\"p/1\",\"etag\":101},{\"key\":\"p/2\",\"etag\":102}],\"next\":\"p/2\"}\n");
    a = ask(w, "GET", "/db/?prefix=p/&limit=3", "Accept: application/json\r\n", NULL);
    ck_assert_ptr_null(strstr(a->body, "next"));
    a = ask(w, "GET", "/db/?prefix=x", "Accept: application/json\r\n", NULL);
    ck_assert_str_eq(a->body, "{\"items\":[]}\n");
    a = ask(w, "GET", "/db/", "Accept: application/x-ndjson\r\n", NULL);
    ck_assert_str_eq(a->body, "{\"key\":\"p/1\",\"etag\":101,\"value\":\"one\"}\n"
                              "{\"key\":\"p/2\",\"etag\":102,\"value_base64\":\"//79\"}\n"
                              "{\"key\":\"p/3%20x\",\"etag\":103,\"value\":\"\\\"quoted\\\"\\n\xE2\x82\xAC\"}\n"
                              "{\"key\":\"q\",\"etag\":104,\"value\":\"\"}\n");
    ck_assert_str_eq(field(a, "Content-Type"), "application/x-ndjson");
    end_world(w);
}
END_TEST

START_TEST(base64_pads)
{
    struct world *w = a_world(4, &quick);

    fake_set(w->node, text("1"), text("\xff"));
    fake_set(w->node, text("2"), text("\xff\xee"));
    ck_assert_str_eq(ask(w, "GET", "/db/", "Accept: application/x-ndjson\r\n", NULL)->body,
                     "{\"key\":\"1\",\"etag\":101,\"value_base64\":\"/w==\"}\n"
                     "{\"key\":\"2\",\"etag\":102,\"value_base64\":\"/+4=\"}\n");
    end_world(w);
}
END_TEST

START_TEST(bad_queries_of_listings)
{
    static const char *const bad[] = {"/db/?limit=",     "/db/?limit=0", "/db/?limit=-1",
                                      "/db/?limit=1x",   "/db/?limit=x", "/db/?limit=99999999999999999999",
                                      "/db/?prefix=%zz", "/db/?after=%", "/db/?stale=x"};
    struct world *w = a_world(4, &quick);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(ask_status(w, "GET", bad[i]) == 400, "%s", bad[i]);
    end_world(w);
}
END_TEST

static void fill_much(struct world *w, unsigned count)
{
    char key[32], value[2000];

    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key-%06u", i);
        fake_set(w->node, text(key), view_of(value, sizeof value));
    }
}

START_TEST(a_long_listing_is_streamed)
{
    /* Megabytes through a sanitizer on a busy machine may take their time, which is not what this is about. */
    static const struct http_limits patient = {
        .stall_ms = 20000, .keep_alive_ms = 20000, .body_ms = 10000, .linger_ms = 200, .idle_ms = 10000, .tick_ms = 20};
    struct world *w = a_world(4, &patient);
    const struct answer *a;
    struct client *c;

    fill_much(w, 1000);
    a = ask(w, "GET", "/db/", "Accept: application/x-ndjson\r\n", NULL);
    ck_assert(a->chunked);
    ck_assert(!a->broken);
    ck_assert_uint_eq(a->size, 1000 * (2000 + strlen("{\"key\":\"key-000000\",\"etag\":1000,\"value\":\"\"}\n")) - 899);
    c = dial(w); /* the connection goes on after it, and after a HEAD of it */
    say_text(c, "GET /db/ HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n"
                "HEAD /db/ HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n"
                "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert(!hear(c, false)->broken);
    ck_assert_int_eq(hear(c, true)->status, 200);
    ck_assert_str_eq(hear(c, false)->body, "alive\n");
    say_text(c, "GET /db/ HTTP/1.0\r\nConnection: keep-alive\r\nAccept: application/x-ndjson\r\n\r\n");
    a = hear(c, false);
    ck_assert(!a->chunked);
    ck_assert_uint_gt(a->size, 2000000);
    hang_up(c);
    end_world(w);
}
END_TEST

/* A value grows when it is escaped, beyond what a request may be. */
START_TEST(pairs_of_large_values_are_whole)
{
    struct world *w = a_world(1, &quick);
    size_t size = 300000;
    char *value = calloc(1, size);
    const struct answer *a;

    fake_set(w->node, text("a"), view_of(value, size)); /* \u0000 each */
    memset(value, 0xff, size);
    fake_set(w->node, text("b"), view_of(value, size));
    memset(value, 'v', size);
    fake_set(w->node, text("c"), view_of(value, size));
    free(value);
    a = ask(w, "GET", "/db/", "Accept: application/x-ndjson\r\n", NULL);
    ck_assert(!a->broken);
    ck_assert_uint_eq(a->size, 6 * size + size / 3 * 4 + size + 2 * strlen("{'key':'a','etag':101,'value':''}\n") +
                                   strlen("{'key':'a','etag':101,'value_base64':''}\n"));
    ck_assert_str_eq(a->body + a->size - 5, "vv\"}\n");
    ck_assert_uint_eq(ask(w, "GET", "/db/c", NULL, NULL)->size, size);
    end_world(w);
}
END_TEST

START_TEST(an_interrupted_listing_is_seen_to_be)
{
    struct world *w = a_world(4, &quick);
    const struct answer *a;

    fill_much(w, 100);
    w->fake->scan_breaks = 90;
    a = ask(w, "GET", "/db/", "Accept: application/x-ndjson\r\n", NULL);
    ck_assert_int_eq(a->status, 200);
    ck_assert(a->broken);
    w->fake->scan_breaks = 10; /* before anything went */
    ck_assert_int_eq(ask(w, "GET", "/db/", "Accept: application/x-ndjson\r\n", NULL)->status, 503);
    end_world(w);
}
END_TEST

TEST_MAIN("http_kv", statuses_of_writes_and_their_etags, a_read_has_the_raw_value_and_its_etag,
          any_bytes_are_a_value_and_so_are_none, stale_is_asked_for_and_nothing_else_is, conditional_writes,
          malformed_conditions_change_nothing, conditional_reads, keys_are_bytes_decoded_once,
          a_listed_key_can_be_put_behind_db, the_limits_of_a_key, bad_percent_encoding_is_refused,
          another_member_redirects_to_the_leader, each_refusal_has_its_status,
          without_leader_or_quorum_writes_and_reads_say_so, listings_as_text, listings_as_json_and_pairs, base64_pads,
          bad_queries_of_listings, a_long_listing_is_streamed, pairs_of_large_values_are_whole,
          an_interrupted_listing_is_seen_to_be)
