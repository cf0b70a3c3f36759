#include "node_test.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../store/store_test.h"
#include "base/clock.h"
#include "base/logger.h"
#include "net/socket.h"

struct server servers[3];
struct service_result result;

void pause_ms(unsigned ms)
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

void begin_test(void)
{
    sigset_t news;

    sigemptyset(&news);
    sigaddset(&news, NODE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &news, NULL);
    logger_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, "test");
    temp_make();
    memset(servers, 0, sizeof servers);
}

void end_test(void)
{
    temp_remove(temp_path("."));
}

void open_node(struct server *s)
{
    struct why why = {""};

    s->options.datadir = s->datadir;
    ck_assert_msg(node_open(&s->options, &s->node, &why) == 0, "%s", why.text);
}

struct server *make_server(unsigned i)
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
                                       .log_max_entries = 200000,
                                       .log_max_bytes = 64u << 20,
                                       .readers = 16,
                                       .bind = "127.0.0.1"};
    snprintf(s->options.peer, ADDRESS_MAX, "127.0.0.1:%u", (unsigned)s->options.peer_port);
    snprintf(s->options.client, ADDRESS_MAX, "127.0.0.1:%u", 1001 + i); /* nobody asks it */
    return s;
}

void bootstrap(struct server *s)
{
    struct why why = {""};

    ck_assert_int_eq(node_bootstrap(s->datadir, s->options.client, s->options.peer, s->options.profile, NULL, &why), 0);
    open_node(s);
}

void close_server(struct server *s)
{
    node_close(s->node);
    s->node = NULL;
    datadir_close(s->datadir);
    s->datadir = NULL;
}

/* ---- asking ---- */

enum service_code set(struct server *s, const char *key, const char *value)
{
    struct service_write w = {.op = SERVICE_SET, .key = view_of_text(key), .value = view_of_text(value)};

    service_write(s->node, &w, PATIENCE_MS, &result);
    return result.code;
}

void set_soon(struct server *s, const char *key, const char *value)
{
    uint64_t until = clock_now_ms() + PATIENCE_MS;

    while (set(s, key, value) == SERVICE_NO_LEADER && clock_now_ms() < until)
        pause_ms(5);
    ck_assert_int_eq(result.code, SERVICE_OK);
}

enum service_code get(struct server *s, const char *key, enum service_consistency c, char *out, size_t size)
{
    struct bytes value;

    bytes_init(&value, size - 1);
    service_get(s->node, view_of_text(key), c, PATIENCE_MS, &value, &result);
    memcpy(out, value.data != NULL ? (const char *)value.data : "", value.size);
    out[value.size] = '\0';
    bytes_clear(&value);
    return result.code;
}

uint64_t leader_of(struct server *s)
{
    struct service_status status;

    service_status(s->node, &status);
    return status.leader;
}

struct server *find_leader(void)
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

unsigned voters_of(struct server *s)
{
    struct service_cluster cluster;
    unsigned voters = 0;

    service_cluster(s->node, &cluster);
    for (unsigned i = 0; i < cluster.count; i++)
        voters += cluster.members[i].voter;
    return voters;
}

void join(struct server *leader, struct server *s)
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

void make_three(void)
{
    uint64_t until = clock_now_ms() + PATIENCE_MS;

    begin_test();
    bootstrap(make_server(0));
    set_soon(&servers[0], "first", "1");
    for (unsigned i = 1; i < 3; i++)
        join(&servers[0], make_server(i));
    while (voters_of(&servers[0]) < 3 && clock_now_ms() < until)
        pause_ms(5);
    ck_assert_uint_eq(voters_of(&servers[0]), 3);
}

enum service_code remove_member(struct server *leader, const char *name_or_id)
{
    const struct service_member_change how = {.id = 0};

    service_member_remove(leader->node, name_or_id, &how, PATIENCE_MS, &result);
    return result.code;
}

enum service_code invite(struct server *s, uint64_t cluster, const char *leader, struct service_membership *self)
{
    struct service_invitation i = {.cluster = cluster};

    snprintf(i.leader, sizeof i.leader, "%s", leader);
    service_invited(s->node, &i, self, &result);
    return result.code;
}

enum node_news await_news(struct server *s)
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
