/* node_test.h -- whole nodes with their threads, three at most, in one process on loopback; and what the tests ask of them. */
#ifndef NODE_TEST_H
#define NODE_TEST_H

#include <check.h>

#include "server/node.h"
#include "server/service.h"

/* Short, as the tests wait for it; longer where the sanitizers slow everything down. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define ELECTION_MS 500
#else
#define ELECTION_MS 300
#endif
#define HEARTBEAT_MS 30
#define PATIENCE_MS  (1000 + 10 * ELECTION_MS)

struct server {
    struct datadir *datadir;
    struct node *node;
    char name[MEMBER_NAME_MAX];
    struct node_options options;
};

extern struct server servers[3];
extern struct service_result result; /* of the last question */

void pause_ms(unsigned ms);
/* A directory for all of them, and no signal for news. */
void begin_test(void);
void end_test(void);
void open_node(struct server *s);
/* Server i (from 0) with a new identity and stores of its own; not a member yet. */
struct server *make_server(unsigned i);
void bootstrap(struct server *s); /* into a cluster of one, and opens it */
void close_server(struct server *s);
enum service_code set(struct server *s, const char *key, const char *value);
/* Until it leads: a write that is refused is surely not applied. */
void set_soon(struct server *s, const char *key, const char *value);
enum service_code get(struct server *s, const char *key, enum service_consistency c, char *out, size_t size);
uint64_t leader_of(struct server *s);
struct server *find_leader(void);
unsigned voters_of(struct server *s);
/* Opens it, has the leader add it, and saves that. */
void join(struct server *leader, struct server *s);
/* Three voters; server 0 leads. */
void make_three(void);
enum service_code remove_member(struct server *leader, const char *name_or_id);
enum service_code invite(struct server *s, uint64_t cluster, const char *leader, struct service_membership *self);
enum node_news await_news(struct server *s);

#define ck_assert_value(server, key, expected)                                                                         \
    do {                                                                                                               \
        char found[64];                                                                                                \
                                                                                                                       \
        ck_assert_int_eq(get(server, key, SERVICE_LINEARIZABLE, found, sizeof found), SERVICE_OK);                     \
        ck_assert_str_eq(found, expected);                                                                             \
    } while (0)

#endif
