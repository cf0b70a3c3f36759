#include "server/event.h"

#include <stdio.h>
#include <string.h>

#define PEER_MAX    (MEMBER_NAME_MAX + 24)
#define SERVERS_MAX 760 /* a log line has 1023 bytes; longer lists are cut */

/* A member as people know it. */
static const char *peer_text(const struct event_names *names, raft_id id, char out[PEER_MAX])
{
    snprintf(out, PEER_MAX, "%llu", (unsigned long long)id);
    for (unsigned i = 0; names != NULL && names->members != NULL && i < names->members->count; i++)
        if (names->members->list[i].id == id)
            snprintf(out, PEER_MAX, "%s", names->members->list[i].name);
    return out;
}

/* key="Node at ADDR [State]" and a blank, where there are names. */
static void node_text(const struct event_names *names, const char *key, const char *state, char *out, size_t size)
{
    out[0] = '\0';
    if (names != NULL)
        snprintf(out, size, "%s=\"Node at %s [%s]\" ", key, names->self, state);
}

static enum log_level format_office(const struct raft_event *e, const struct event_names *names, char *out, size_t size)
{
    unsigned long long term = e->term, index = e->index;
    char peer[PEER_MAX], node[ADDRESS_MAX + 48];

    peer_text(names, e->peer, peer);
    if (e->type == RAFT_EVENT_FOLLOWER) {
        node_text(names, "follower", "Follower", node, sizeof node);
        snprintf(out, size, "entering follower state: %sterm=%llu leader=%s", node, term, peer);
    } else if (e->type == RAFT_EVENT_CANDIDATE) {
        node_text(names, "node", "Candidate", node, sizeof node);
        snprintf(out, size, "entering candidate state: %sterm=%llu", node, term);
    } else {
        node_text(names, "leader", "Leader", node, sizeof node);
        snprintf(out, size, "entering leader state: %sterm=%llu last-index=%llu", node, term, index);
    }
    return LOG_LEVEL_INFO;
}

static enum log_level format_missing(const struct raft_event *e, const struct event_names *names, char *out,
                                     size_t size)
{
    char last[48] = "";

    if (names != NULL)
        snprintf(last, sizeof last, " last-index=%llu", (unsigned long long)names->last);
    snprintf(out, size, "failed to get previous log: previous-index=%llu%s error=\"log not found\"",
             (unsigned long long)e->index, last);
    return LOG_LEVEL_WARN;
}

enum log_level event_format(const struct raft_event *e, const struct event_names *names, char *out, size_t size)
{
    unsigned long long term = e->term, index = e->index;
    char room[PEER_MAX];
    const char *peer = peer_text(names, e->peer, room);

    switch (e->type) {
    case RAFT_EVENT_FOLLOWER:
    case RAFT_EVENT_CANDIDATE:
    case RAFT_EVENT_LEADER:
        return format_office(e, names, out, size);
    case RAFT_EVENT_PRECANDIDATE:
        snprintf(out, size, "heartbeat timeout reached, starting election: term=%llu last-leader=%s", term, peer);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_VOTED:
        snprintf(out, size, "vote granted: from=%s term=%llu tally=%llu", peer, term, index);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_NO_QUORUM:
        snprintf(out, size, "stepping down, no quorum answers: term=%llu", term);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_DISK_HANGS:
        snprintf(out, size, "stepping down, the disk does not answer: term=%llu", term);
        return LOG_LEVEL_ERROR;
    case RAFT_EVENT_GRANTED:
        snprintf(out, size, "vote granted: to=%s term=%llu", peer, term);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_REFUSED:
        snprintf(out, size, "vote refused: to=%s term=%llu", peer, term);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_TRUNCATED:
        snprintf(out, size, "log truncated: from=%llu leader=%s term=%llu", index, peer, term);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_CONFIG:
        snprintf(out, size, "updating configuration: index=%llu term=%llu", index, term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_PEER:
        snprintf(out, size, "added peer, starting replication: peer=%s next=%llu", peer, index + 1);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_PROBE:
        snprintf(out, size, "appendEntries rejected, sending older logs: peer=%s next=%llu", peer, index + 1);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_RETRY:
        snprintf(out, size, "peer not reached, comparing logs anew: peer=%s next=%llu", peer, index + 1);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_MISSING:
        return format_missing(e, names, out, size);
    case RAFT_EVENT_REPLICATE:
        snprintf(out, size, "pipelining replication: peer=%s match=%llu", peer, index);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_SNAPSHOT:
        snprintf(out, size, "peer needs a snapshot: peer=%s first-index=%llu", peer, index);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_TRANSFER:
        snprintf(out, size, "leadership transfer: to=%s term=%llu", peer, term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_TAKE_OVER:
        snprintf(out, size, "leadership offered: from=%s term=%llu", peer, term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_INSTALLED:
        snprintf(out, size, "installed snapshot: index=%llu leader=%s", index, peer);
        return LOG_LEVEL_INFO;
    }
    snprintf(out, size, "unknown event: type=%d", (int)e->type);
    return LOG_LEVEL_WARN;
}

void event_servers(const struct members *m, char *out, size_t size)
{
    size_t used = 1;

    snprintf(out, size, "[");
    for (unsigned i = 0; i < m->count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s{%s %s %s}", i > 0 ? " " : "",
                                 m->list[i].role == RAFT_VOTER ? "Voter" : "Learner", m->list[i].name, m->list[i].peer);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

static const struct member *find(const struct members *m, raft_id id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->list[i].id == id)
            return &m->list[i];
    return NULL;
}

/* The first member that differs, and hashicorp/raft's name for how. */
static const char *command_of(const struct members *now, const struct members *next, const struct member **who)
{
    for (unsigned i = 0; i < next->count; i++) {
        const struct member *before = find(now, next->list[i].id);

        *who = &next->list[i];
        if (before == NULL)
            return "AddStaging";
        if (before->role != (*who)->role)
            return before->role == RAFT_LEARNER ? "Promote" : "DemoteVoter";
        if (strcmp(before->peer, (*who)->peer) != 0 || strcmp(before->client, (*who)->client) != 0)
            return "UpdateAddress";
    }
    for (unsigned i = 0; i < now->count; i++) {
        *who = &now->list[i];
        if (find(next, (*who)->id) == NULL)
            return "RemoveServer";
    }
    return "Change";
}

void event_log_change(const struct members *now, const struct members *next, raft_index index)
{
    const struct member *who = NULL;
    const char *command = command_of(now, next, &who);
    char servers[SERVERS_MAX];

    event_servers(next, servers, sizeof servers);
    log_info("updating configuration: command=%s server-id=%s server-addr=%s index=%llu servers=\"%s\"", command,
             who != NULL ? who->name : "", who != NULL ? who->peer : "", (unsigned long long)index, servers);
}
