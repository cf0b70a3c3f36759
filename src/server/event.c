#include "server/event.h"

#include <stdio.h>

enum log_level event_format(const struct raft_event *e, char *out, size_t size)
{
    unsigned long long term = e->term, peer = e->peer, index = e->index;

    switch (e->type) {
    case RAFT_EVENT_FOLLOWER:
        snprintf(out, size, "entering follower state: term=%llu leader=%llu", term, peer);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_PRECANDIDATE:
        snprintf(out, size, "heartbeat timeout reached, starting election: term=%llu last-leader=%llu", term, peer);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_CANDIDATE:
        snprintf(out, size, "entering candidate state: term=%llu", term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_LEADER:
        snprintf(out, size, "entering leader state: term=%llu last-index=%llu", term, index);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_NO_QUORUM:
        snprintf(out, size, "stepping down, no quorum answers: term=%llu", term);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_DISK_HANGS:
        snprintf(out, size, "stepping down, the disk does not answer: term=%llu", term);
        return LOG_LEVEL_ERROR;
    case RAFT_EVENT_GRANTED:
        snprintf(out, size, "vote granted: to=%llu term=%llu", peer, term);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_REFUSED:
        snprintf(out, size, "vote refused: to=%llu term=%llu", peer, term);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_TRUNCATED:
        snprintf(out, size, "log truncated: from=%llu leader=%llu term=%llu", index, peer, term);
        return LOG_LEVEL_WARN;
    case RAFT_EVENT_CONFIG:
        snprintf(out, size, "updating configuration: index=%llu term=%llu", index, term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_PROBE:
        snprintf(out, size, "appendEntries rejected, sending older logs: peer=%llu next=%llu", peer, index);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_REPLICATE:
        snprintf(out, size, "pipelining replication: peer=%llu match=%llu", peer, index);
        return LOG_LEVEL_DEBUG;
    case RAFT_EVENT_SNAPSHOT:
        snprintf(out, size, "peer needs a snapshot: peer=%llu first-index=%llu", peer, index);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_TRANSFER:
        snprintf(out, size, "leadership transfer: to=%llu term=%llu", peer, term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_TAKE_OVER:
        snprintf(out, size, "leadership offered: from=%llu term=%llu", peer, term);
        return LOG_LEVEL_INFO;
    case RAFT_EVENT_INSTALLED:
        snprintf(out, size, "installed snapshot: index=%llu leader=%llu", index, peer);
        return LOG_LEVEL_INFO;
    }
    snprintf(out, size, "unknown event: type=%d", (int)e->type);
    return LOG_LEVEL_WARN;
}
