/* fake_link.c -- link.h on the simulated network: what a sender's thread sees of a TCP connection. */
#include "net/link.h"

#include <stdlib.h>

#include "base/check.h"
#include "sim.h"

struct link {
    unsigned from;
    struct conn *conn; /* NULL: not open */
    struct welcome welcomed;
};

struct link *link_new(void)
{
    struct link *l = xcalloc(1, sizeof *l);

    l->from = sim_world()->current->slot;
    return l;
}

void link_close(struct link *l)
{
    if (l->conn == NULL)
        return;
    conn_unref(sim_world(), l->conn);
    l->conn = NULL;
}

void link_free(struct link *l)
{
    if (l == NULL)
        return;
    link_close(l);
    free(l);
}

bool link_is_open(const struct link *l)
{
    return l->conn != NULL;
}

int link_open(struct link *l, const struct address *to, const struct hello *hello, int timeout_ms,
              struct refusal *refusal)
{
    return net_connect(sim_world(), l->from, to, hello, timeout_ms, &l->conn, &l->welcomed, refusal);
}

const struct welcome *link_welcomed(const struct link *l)
{
    return &l->welcomed;
}

/* What the kernel or the other side has told us meanwhile. */
static int link_state(struct link *l, struct refusal *refusal)
{
    const struct conn *c = l->conn;
    uint64_t now = sim_world()->now;

    if (c->refused_at <= now) {
        *refusal = c->refusal;
        link_close(l);
        return ERR_REFUSED;
    }
    if (c->broken_at <= now) {
        link_close(l);
        return ERR_CLOSED;
    }
    return 0;
}

bool link_is_dead(struct link *l, struct refusal *refusal)
{
    return l->conn == NULL || link_state(l, refusal) != 0;
}

int link_send(struct link *l, enum frame_type type, struct iovec *parts, int count, int timeout_ms,
              struct refusal *refusal)
{
    struct world *w = sim_world();
    int err = 0;

    CHECK(l->conn != NULL);
    CHECK(count >= 1 && count <= LINK_PARTS_MAX);
    err = link_state(l, refusal);
    if (err != 0)
        return err;
    net_transmit(w, l->conn, type, parts, count);
    /* A full send buffer: the peer reads slowly, and the thread waits, up to its deadline. */
    if (w->clog[l->from][l->conn->to] != 0 && sim_chance(w, 200)) {
        w->work_extra += sim_below(w, (uint64_t)timeout_ms * 1000);
        if (sim_chance(w, 300)) {
            link_close(l);
            return ERR_TIMEOUT;
        }
    }
    return 0;
}

void link_interrupt(struct link *l)
{
    (void)l; /* no role waits in the simulator */
}
