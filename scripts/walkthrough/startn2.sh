#!/bin/sh
# balsa's startn2.sh, for raftd: node n2 on 127.0.0.1. Like the original it begins with an empty volume; "startn2.sh keep" goes on
# with what the volume has. The variables may be set before.
export HTTP_SERVER_PORT="${HTTP_SERVER_PORT:-8001}"
export RAFT_SERVER_PORT="${RAFT_SERVER_PORT:-9001}"
export RAFT_NODE_ID="${RAFT_NODE_ID:-n2}"
export RAFT_VOLUME_DIR="${RAFT_VOLUME_DIR:-n2a}"

echo "Starting node2"
if [ "${1:-}" != keep ]; then
    echo "Cleaning the raft volumes."
    rm -rf "$RAFT_VOLUME_DIR"
fi
exec "${RAFTD:-raftd}"
