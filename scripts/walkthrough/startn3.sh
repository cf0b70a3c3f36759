#!/bin/sh
# balsa's startn3.sh, for raftd: node n3 on 127.0.0.1. Like the original it begins with an empty volume; "startn3.sh keep" goes on
# with what the volume has. The variables may be set before.
export HTTP_SERVER_PORT="${HTTP_SERVER_PORT:-8002}"
export RAFT_SERVER_PORT="${RAFT_SERVER_PORT:-9002}"
export RAFT_NODE_ID="${RAFT_NODE_ID:-n3}"
export RAFT_VOLUME_DIR="${RAFT_VOLUME_DIR:-n3a}"

echo "Starting node3"
if [ "${1:-}" != keep ]; then
    echo "Cleaning the raft volumes."
    rm -rf "$RAFT_VOLUME_DIR"
fi
exec "${RAFTD:-raftd}"
