/* Whole nodes with their threads, in one process on loopback: birth, joining, writing, reading, removal, stop. */
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../store/store_test.h"
#include "../suite.h"
#include "base/clock.h"
#include "base/logger.h"
#include "net/socket.h"
#include "server/node.h"
#include "server/service.h"

/* Short, as the tests wait for it; longer where the sanitizers slow everything down. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define ELECTION_MS 500
#else
#define ELECTION_MS 150
#endif
#define HEARTBEAT_MS 30
#define PATIENCE_MS  (1000 + 10 * ELECTION_MS)

struct server {
    struct datadir *datadir;
    struct node *node;
    char name[MEMBER_NAME_MAX];
    struct node_options options;
};

static struct server servers[3];
static struct service_result result;

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct sockaddr_in at = {0};
    socklen_t size = sizeof at;
    int fd = -1;

    ck_assert_int_eq(socket_listen("127.0.0.1", 0, &fd, NULL), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    socket_close(fd);
    return ntohs(at.sin_port);
}

/* ---- life ---- */

static void begin(void)
{
    sigset_t news;

    sigemptyset(&news);
    sigaddset(&news, NODE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &news, NULL);
    logger_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, "test");
    temp_make();
    memset(servers, 0, sizeof servers);
}

static void end(void)
{
    temp_remove(temp_path("."));
}

static void open_node(struct server *s)
{
    struct why why = {""};

    s->options.datadir = s->datadir;
    ck_assert_msg(node_open(&s->options, &s->node, &why) == 0, "%s", why.text);
}

/* Server i (from 0) with a new identity and stores of its own; not a member yet. */
static struct server *make_server(unsigned i)
{
    struct server *s = &servers[i];
    struct identity identity = {.id = 101 + i};
    struct why why = {""};

    snprintf(s->name, sizeof s->name, "s%u", i);
    memcpy(identity.name, s->name, sizeof identity.name);
    ck_assert_int_eq(datadir_open(temp_path(s->name), "test", &s->datadir, &why), 0);
    ck_assert_int_eq(datadir_save(s->datadir, &identity, &why), 0);
    s->options = (struct node_options){.peer_port = free_port(),
                                       .election_ms = ELECTION_MS,
                                       .heartbeat_ms = HEARTBEAT_MS,
                                       .profile = PROFILE_BALSA, /* so the peer port serves members by itself */
                                       .max_db_size = 64u << 20,
                                       .readers = 16,
                                       .bind = "127.0.0.1"};
    snprintf(s->options.peer, ADDRESS_MAX, "127.0.0.1:%u", (unsigned)s->options.peer_port);
    snprintf(s->options.client, ADDRESS_MAX, "127.0.0.1:%u", 1001 + i); /* nobody asks it */
    return s;
}

static void bootstrap(struct server *s)
{
    struct why why = {""};

    ck_assert_int_eq(node_bootstrap(s->datadir, s->options.client, s->options.peer, s->options.profile, NULL, &why), 0);
    open_node(s);
}

static void close_server(struct server *s)
{
    node_close(s->node);
    s->node = NULL;
    datadir_close(s->datadir);
    s->datadir = NULL;
}

/* ---- asking ---- */

static enum service_code set(struct server *s, const char *key, const char *value)
{
    struct service_write w = {.op = SERVICE_SET, .key = view_of_text(key), .value = view_of_text(value)};

    service_write(s->node, &w, PATIENCE_MS, &result);
    return result.code;
}

/* Until it leads: a write that is refused is surely not applied. */
static void set_soon(struct server *s, const char *key, const char *value)
{
    uint64_t until = clock_now_ms() + PATIENCE_MS;

    while (set(s, key, value) == SERVICE_NO_LEADER && clock_now_ms() < until)
        pause_ms(5);
    ck_assert_int_eq(result.code, SERVICE_OK);
}

static enum service_code get(struct server *s, const char *key, enum service_consistency c, char *out, size_t size)
{
    struct bytes value;

    bytes_init(&value, size - 1);
    service_get(s->node, view_of_text(key), c, PATIENCE_MS, &value, &result);
    memcpy(out, value.data != NULL ? (const char *)value.data : "", value.size);
    out[value.size] = '\0';
    bytes_clear(&value);
    return result.code;
}

#define ck_assert_value(server, key, expected)                                                                         \
    do {                                                                                                               \
        char found[64];                                                                                                \
                                                                                                                       \
        ck_assert_int_eq(get(server, key, SERVICE_LINEARIZABLE, found, sizeof found), SERVICE_OK);                     \
        ck_assert_str_eq(found, expected);                                                                             \
    } while (0)

static uint64_t leader_of(struct server *s)
{
    struct service_status status;

    service_status(s->node, &status);
    return status.leader;
}

static struct server *find_leader(void)
{
    uint64_t until = clock_now_ms() + PATIENCE_MS;

    while (clock_now_ms() < until) {
        for (unsigned i = 0; i < 3; i++)
            if (servers[i].node != NULL && leader_of(&servers[i]) == 101 + i)
                return &servers[i];
        pause_ms(5);
    }
    ck_abort_msg("nobody leads");
    return NULL;
}

static unsigned voters_of(struct server *s)
{
    struct service_cluster cluster;
    unsigned voters = 0;

    service_cluster(s->node, &cluster);
    for (unsigned i = 0; i < cluster.count; i++)
        voters += cluster.members[i].voter;
    return voters;
}

static void join(struct server *leader, struct server *s)
{
    struct service_member_change change = {.id = datadir_identity(s->datadir)->id};
    struct service_membership membership;
    struct why why = {""};

    open_node(s);
    memcpy(change.name, s->name, sizeof change.name);
    memcpy(change.client, s->options.client, sizeof change.client);
    memcpy(change.peer, s->options.peer, sizeof change.peer);
    change.profile = s->options.profile;
    service_member_add(leader->node, &change, PATIENCE_MS, &membership, &result);
    ck_assert_int_eq(result.code, SERVICE_OK);
    ck_assert_uint_eq(membership.id, change.id);
    ck_assert_int_eq(node_joined(s->node, membership.cluster, membership.index, &why), 0);
}

/* Three voters; server 0 leads. */
static void make_three(void)
{
    uint64_t until = clock_now_ms() + PATIENCE_MS;

    begin();
    bootstrap(make_server(0));
    set_soon(&servers[0], "first", "1");
    for (unsigned i = 1; i < 3; i++)
        join(&servers[0], make_server(i));
    while (voters_of(&servers[0]) < 3 && clock_now_ms() < until)
        pause_ms(5);
    ck_assert_uint_eq(voters_of(&servers[0]), 3);
}

static enum service_code remove_member(struct server *leader, const char *name_or_id)
{
    const struct service_member_change how = {.id = 0};

    service_member_remove(leader->node, name_or_id, &how, PATIENCE_MS, &result);
    return result.code;
}

static enum service_code invite(struct server *s, uint64_t cluster, const char *leader, struct service_membership *self)
{
    struct service_invitation i = {.cluster = cluster};

    snprintf(i.leader, sizeof i.leader, "%s", leader);
    service_invited(s->node, &i, self, &result);
    return result.code;
}

static enum node_news await_news(struct server *s)
{
    uint64_t until = clock_now_ms() + PATIENCE_MS;
    enum node_news news = NODE_NOTHING;
    struct service_invitation invitation;
    struct why failure;

    while (news == NODE_NOTHING && clock_now_ms() < until) {
        news = node_news(s->node, &failure, &invitation);
        pause_ms(5);
    }
    return news;
}

/* ---- one ---- */

START_TEST(one_server_serves_and_remembers)
{
    struct service_write w = {.op = SERVICE_SET, .condition = SERVICE_IF_ABSENT, .key = view_of_text("k")};
    struct server *s = &servers[0];
    char value[64], why[100];
    struct why error = {""};
    uint64_t etag = 0;

    begin();
    bootstrap(make_server(0));
    set_soon(s, "k", "v");
    ck_assert(result.created);
    etag = result.etag;
    ck_assert_uint_eq(result.stamp.index, etag);
    ck_assert_str_eq(result.stamp.node, "s0");
    ck_assert_str_eq(result.stamp.leader, "s0");
    service_write(s->node, &w, PATIENCE_MS, &result);
    ck_assert_int_eq(result.code, SERVICE_CONDITION_FAILED);
    ck_assert_uint_eq(result.etag, etag);
    w = (struct service_write){.op = SERVICE_DELETE, .key = view_of_text("other")};
    service_write(s->node, &w, PATIENCE_MS, &result);
    ck_assert_int_eq(result.code, SERVICE_NOT_FOUND);
    ck_assert_value(s, "k", "v");
    ck_assert_uint_eq(result.etag, etag);
    ck_assert_int_eq(get(s, "other", SERVICE_STALE, value, sizeof value), SERVICE_NOT_FOUND);
    ck_assert(service_ready(s->node, why, sizeof why));
    close_server(s);

    ck_assert_int_eq(datadir_open(temp_path("s0"), "test", &s->datadir, &error), 0);
    ck_assert_uint_ne(datadir_identity(s->datadir)->cluster, 0);
    open_node(s);
    ck_assert_value(s, "k", "v");
    ck_assert_uint_eq(result.etag, etag);
    close_server(s);
    end();
}
END_TEST

START_TEST(a_listing_is_one_view)
{
    struct server *s = &servers[0];
    struct service_scan *scan = NULL;
    struct view key, value;
    uint64_t etag = 0;
    bool complete = false;
    char name[8];

    begin();
    bootstrap(make_server(0));
    set_soon(s, "a1", "x");
    for (unsigned i = 2; i < 6; i++) {
        snprintf(name, sizeof name, "a%u", i);
        ck_assert_int_eq(set(s, name, "x"), SERVICE_OK);
    }
    ck_assert_int_eq(set(s, "b", "x"), SERVICE_OK);
    service_scan_open(s->node, view_of_text("a"), view_of_text("a2"), SERVICE_LINEARIZABLE, PATIENCE_MS, &scan,
                      &result);
    ck_assert_int_eq(result.code, SERVICE_OK);
    ck_assert_int_eq(set(s, "a33", "later"), SERVICE_OK);
    for (unsigned i = 3; i < 6; i++) {
        snprintf(name, sizeof name, "a%u", i);
        ck_assert(service_scan_next(scan, &key, &value, &etag));
        ck_assert(view_equal(key, view_of_text(name)));
    }
    ck_assert(!service_scan_next(scan, &key, &value, &etag));
    ck_assert(!service_scan_next(scan, &key, &value, &etag));
    service_scan_close(scan, &complete);
    ck_assert(complete);
    close_server(s);
    end();
}
END_TEST

/* A crash between the first entry and the identity: there was no cluster, and the next start wipes what there is. */
START_TEST(half_a_birth_is_none)
{
    struct server *s = NULL;
    struct identity fresh;
    struct why why = {""};

    begin();
    s = make_server(0);
    fresh = *datadir_identity(s->datadir);
    ck_assert_int_eq(node_bootstrap(s->datadir, s->options.client, s->options.peer, s->options.profile, NULL, &why), 0);
    ck_assert_int_eq(datadir_save(s->datadir, &fresh, &why), 0); /* as if it had not come to that */
    ck_assert_uint_eq(datadir_identity(s->datadir)->joined, 0);
    ck_assert_int_eq(datadir_wipe(s->datadir, &fresh, &why), 0); /* what main does with such a directory */

    bootstrap(s);
    set_soon(s, "k", "v");
    ck_assert_uint_eq(datadir_identity(s->datadir)->joined, 1);
    close_server(s);
    end();
}
END_TEST

/* ---- three ---- */

START_TEST(three_serve_as_one)
{
    struct server *follower = &servers[1];
    char value[64];

    make_three();
    set_soon(&servers[0], "k", "v1");
    ck_assert_value(follower, "k", "v1"); /* linearizable on any member */
    ck_assert_value(&servers[2], "k", "v1");
    ck_assert_int_eq(set(follower, "k", "v2"), SERVICE_NOT_LEADER);
    ck_assert_str_eq(result.stamp.leader, "s0");
    ck_assert_str_eq(result.stamp.leader_client, servers[0].options.client);
    ck_assert_int_eq(set(&servers[0], "k", "v3"), SERVICE_OK);
    ck_assert_value(follower, "k", "v3");
    ck_assert_int_eq(get(follower, "k", SERVICE_STALE, value, sizeof value), SERVICE_OK);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

START_TEST(two_go_on_without_the_leader)
{
    struct server *leader = NULL;

    make_three();
    set_soon(&servers[0], "k", "v1");
    close_server(&servers[0]); /* without a word */
    leader = find_leader();
    set_soon(leader, "k", "v2");
    ck_assert_value(&servers[1], "k", "v2");
    ck_assert_value(&servers[2], "k", "v2");

    ck_assert_int_eq(datadir_open(temp_path("s0"), "test", &servers[0].datadir, NULL), 0);
    open_node(&servers[0]);
    ck_assert_value(&servers[0], "k", "v2");
    ck_assert_ptr_eq(find_leader(), leader); /* who returns deposes nobody */
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

/* Thesis 3.10: a leader that stops hands over, and nobody waits for an election timeout. */
START_TEST(a_leader_that_drains_hands_over)
{
    make_three();
    set_soon(&servers[0], "k", "v");

    node_drain(servers[0].node, 1000);

    ck_assert_int_eq(set(&servers[0], "k", "w"), SERVICE_STOPPING);
    ck_assert_uint_ne(leader_of(&servers[0]), 101);
    close_server(&servers[0]);
    set_soon(find_leader(), "k", "w");
    for (unsigned i = 1; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

START_TEST(leadership_goes_where_it_is_told)
{
    make_three();

    service_transfer(servers[0].node, "s2", PATIENCE_MS, &result);

    ck_assert_int_eq(result.code, SERVICE_OK);
    ck_assert_ptr_eq(find_leader(), &servers[2]);
    service_transfer(servers[2].node, "nobody", PATIENCE_MS, &result);
    ck_assert_int_eq(result.code, SERVICE_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

START_TEST(a_removed_member_learns_it)
{
    make_three();
    ck_assert_int_eq(remove_member(&servers[0], "s2"), SERVICE_OK);
    ck_assert_int_eq(await_news(&servers[2]), NODE_REMOVED);
    close_server(&servers[2]);

    set_soon(&servers[0], "k", "v");
    ck_assert_uint_eq(voters_of(&servers[0]), 2);
    ck_assert_int_eq(remove_member(&servers[0], "s2"), SERVICE_OK); /* again: it is so */
    ck_assert_int_eq(remove_member(&servers[0], "nobody"), SERVICE_NOT_FOUND);
    for (unsigned i = 0; i < 2; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

/* It was down while it was removed: the others tell it when it asks for their votes. */
START_TEST(a_member_removed_while_down_learns_it_later)
{
    make_three();
    close_server(&servers[2]);
    ck_assert_int_eq(remove_member(&servers[0], "103"), SERVICE_OK); /* by its id */

    ck_assert_int_eq(datadir_open(temp_path("s2"), "test", &servers[2].datadir, NULL), 0);
    open_node(&servers[2]);
    ck_assert_int_eq(await_news(&servers[2]), NODE_REMOVED);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

START_TEST(a_leader_can_remove_itself)
{
    struct server *leader = NULL;

    make_three();
    ck_assert_int_eq(remove_member(&servers[0], "s0"), SERVICE_OK);
    ck_assert_int_eq(await_news(&servers[0]), NODE_REMOVED);
    close_server(&servers[0]);
    leader = find_leader();
    set_soon(leader, "k", "v");
    ck_assert_uint_eq(voters_of(leader), 2);
    for (unsigned i = 1; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

/* 504 and 503: without a quorum a write that was begun is unknown, a read says so, and a stop waits for neither. */
START_TEST(without_a_quorum_everything_still_ends)
{
    struct service_write w = {.op = SERVICE_SET, .key = view_of_text("k"), .value = view_of_text("v")};
    uint64_t began = 0;
    char value[64];

    make_three();
    close_server(&servers[1]);
    close_server(&servers[2]);
    began = clock_now_ms();
    service_write(servers[0].node, &w, 100, &result);
    ck_assert_int_eq(result.code, SERVICE_UNKNOWN);
    ck_assert_uint_ge(clock_now_ms() - began, 100);
    ck_assert_uint_lt(clock_now_ms() - began, PATIENCE_MS);
    ck_assert_int_eq(get(&servers[0], "k", SERVICE_LINEARIZABLE, value, sizeof value), SERVICE_NO_QUORUM);
    ck_assert_int_eq(get(&servers[0], "first", SERVICE_STALE, value, sizeof value), SERVICE_OK);
    ck_assert_int_eq(set(&servers[0], "k", "w"), SERVICE_NO_LEADER); /* it has stepped down meanwhile */
    ck_assert(!service_ready(servers[0].node, value, sizeof value));
    began = clock_now_ms();
    node_drain(servers[0].node, 300);
    close_server(&servers[0]);
    ck_assert_uint_lt(clock_now_ms() - began, PATIENCE_MS);
    end();
}
END_TEST

struct patient {
    struct server *server;
    enum service_code code;
    uint64_t took;
};

static void *wait_for_a_write(void *arg)
{
    struct patient *p = arg;
    struct service_write w = {.op = SERVICE_SET, .key = view_of_text("k"), .value = view_of_text("v")};
    struct service_result r;
    uint64_t began = clock_now_ms();

    service_write(p->server->node, &w, 30000, &r);
    p->code = r.code;
    p->took = clock_now_ms() - began;
    return NULL;
}

START_TEST(who_waits_at_a_stop_is_told_that_it_is_unknown)
{
    struct patient p = {.server = &servers[0]};
    pthread_t thread;

    make_three();
    close_server(&servers[1]);
    close_server(&servers[2]);
    pthread_create(&thread, NULL, wait_for_a_write, &p);
    pause_ms(50);
    node_drain(servers[0].node, 200);
    pthread_join(thread, NULL);

    ck_assert_int_eq(p.code, SERVICE_UNKNOWN);
    ck_assert_uint_lt(p.took, PATIENCE_MS);
    close_server(&servers[0]);
    end();
}
END_TEST

#define CLIENTS 8
#define WRITES  20

static void *write_many(void *arg)
{
    struct patient *p = arg;
    char key[32];

    for (unsigned i = 0; i < WRITES; i++) {
        struct service_write w = {.op = SERVICE_SET, .value = view_of_text("v")};
        struct service_result r;
        struct bytes value;

        snprintf(key, sizeof key, "k%p-%u", arg, i);
        w.key = view_of_text(key);
        service_write(p->server->node, &w, PATIENCE_MS, &r);
        p->code = r.code;
        if (r.code != SERVICE_OK)
            return NULL;
        bytes_init(&value, 100);
        service_get(servers[i % 3].node, w.key, SERVICE_LINEARIZABLE, PATIENCE_MS, &value, &r);
        p->code = r.code;
        bytes_clear(&value);
        if (r.code != SERVICE_OK)
            return NULL;
    }
    return NULL;
}

/* Every write that was answered is seen by the read that follows it, on whatever member. */
START_TEST(many_clients_at_once)
{
    struct patient p[CLIENTS];
    pthread_t threads[CLIENTS];
    struct service_status status;

    make_three();
    for (unsigned i = 0; i < CLIENTS; i++) {
        p[i] = (struct patient){.server = &servers[0], .code = SERVICE_FAILED};
        pthread_create(&threads[i], NULL, write_many, &p[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(p[i].code, SERVICE_OK);
    }
    ck_assert_value(&servers[0], "first", "1"); /* what it sees is committed */
    service_status(servers[0].node, &status);
    ck_assert_uint_eq(status.keys, CLIENTS * WRITES + 1);
    ck_assert_uint_eq(status.requests_waiting, 0);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

/* ---- invitations ---- */

START_TEST(a_pristine_server_accepts_an_invitation)
{
    struct service_membership self;
    struct why failure;
    struct service_invitation invitation;

    begin();
    bootstrap(make_server(0));
    ck_assert_int_eq(invite(&servers[0], 4711, "127.0.0.1:4001", &self), SERVICE_OK);
    ck_assert_uint_eq(self.id, 101);
    ck_assert_int_eq(set(&servers[0], "k", "v"), SERVICE_STOPPING);                         /* it could be lost */
    ck_assert_int_eq(invite(&servers[0], 4712, "127.0.0.1:4002", &self), SERVICE_CONFLICT); /* one at a time */

    ck_assert_int_eq(node_news(servers[0].node, &failure, &invitation), NODE_INVITED);
    ck_assert_str_eq(invitation.leader, "127.0.0.1:4001");
    ck_assert_uint_eq(invitation.cluster, 4711);
    close_server(&servers[0]);
    end();
}
END_TEST

START_TEST(one_that_holds_data_does_not)
{
    struct service_membership self;
    struct service_status status;

    begin();
    bootstrap(make_server(0));
    set_soon(&servers[0], "k", "v");
    ck_assert_int_eq(invite(&servers[0], 4711, "127.0.0.1:4001", &self), SERVICE_CONFLICT);
    ck_assert_int_eq(set(&servers[0], "k", "w"), SERVICE_OK); /* and goes on */

    service_status(servers[0].node, &status);
    ck_assert_int_eq(invite(&servers[0], status.cluster, "127.0.0.1:4001", &self),
                     SERVICE_CONFLICT); /* it is in that cluster */
    close_server(&servers[0]);
    end();
}
END_TEST

/* ---- strangers ---- */

START_TEST(hostile_connections_hold_up_nobody)
{
    struct address at = {.host = "127.0.0.1"};
    struct iovec part;
    int fds[30];

    make_three();
    at.port = servers[0].options.peer_port;
    for (unsigned i = 0; i < 30; i++) {
        char noise[] = "no frame at all, and not HTTP";

        ck_assert_int_eq(socket_connect(&at, 500, &fds[i]), 0);
        part = (struct iovec){noise, i % 3 == 0 ? 0 : sizeof noise};
        if (i % 3 != 0)
            (void)socket_write(fds[i], &part, 1, 100);
    }
    set_soon(&servers[0], "k", "v");
    ck_assert_value(&servers[1], "k", "v");
    for (unsigned i = 0; i < 30; i++)
        socket_close(fds[i]);
    for (unsigned i = 0; i < 3; i++)
        close_server(&servers[i]);
    end();
}
END_TEST

START_TEST(a_taken_port_is_refused)
{
    struct server *s = NULL;
    struct why why = {""};
    int fd = -1;

    begin();
    s = make_server(0);
    ck_assert_int_eq(node_bootstrap(s->datadir, s->options.client, s->options.peer, s->options.profile, NULL, &why), 0);
    ck_assert_int_eq(socket_listen("127.0.0.1", s->options.peer_port, &fd, &why), 0);
    s->options.datadir = s->datadir;
    ck_assert_int_eq(node_open(&s->options, &s->node, &why), ERR_IN_USE);
    ck_assert_ptr_null(s->node);
    socket_close(fd);
    open_node(s);
    close_server(s);
    end();
}
END_TEST

TEST_MAIN("node", one_server_serves_and_remembers, a_listing_is_one_view, half_a_birth_is_none, three_serve_as_one,
          two_go_on_without_the_leader, a_leader_that_drains_hands_over, leadership_goes_where_it_is_told,
          a_removed_member_learns_it, a_member_removed_while_down_learns_it_later, a_leader_can_remove_itself,
          without_a_quorum_everything_still_ends, who_waits_at_a_stop_is_told_that_it_is_unknown, many_clients_at_once,
          a_pristine_server_accepts_an_invitation, one_that_holds_data_does_not, hostile_connections_hold_up_nobody,
          a_taken_port_is_refused)
