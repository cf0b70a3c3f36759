#!/usr/bin/env bash
# Members to play with while developing, on what build/ holds now (nothing is built or installed here).
set -eu
. "$(dirname "$0")/lib.sh"

usage="usage: cluster.sh start [N] [OPTION...]   start members 1 to N (3), each with these options of raftd
       cluster.sh stop [N]                stop member N, or all, in an orderly way
       cluster.sh kill [N]                kill -9
       cluster.sh status                  one line a member
       cluster.sh clean                   stop all and delete their data
environment: RAFTD_CLUSTER_DIR, RAFTD_CLUSTER_PORT (4001), RAFTD_BUILD (build)"

home=${RAFTD_CLUSTER_DIR:-${TMPDIR:-/tmp}/raftd-cluster-$(id -u)}
first_port=${RAFTD_CLUSTER_PORT:-4001}
raftd=$build/raftd
. "$top/scripts/members.sh"

show_one() {
    local pid port rss
    port=$(port_of "$1")
    if pid=$(pid_of "$1"); then
        rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
        say "member $1: port $port, process $pid, $((rss / 1024)) MB, $(curl -s -m 2 "localhost:$port/status" | tr -d '\n')"
    else
        say "member $1: port $port, does not run"
    fi
}

# all_or_one SIGNAL [N]
all_or_one() {
    end_with_signal() {
        end_member "$1" "$signal"
    }
    local signal=$1
    if [ $# -gt 1 ]; then
        end_member "$2" "$signal"
    else
        each_member end_with_signal
    fi
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
start)
    [ -x "$raftd" ] || die "$raftd is not built: make"
    count=${1:-3}
    [ $# -eq 0 ] || shift
    start_members "$count" "$@"
    each_member show_one
    ;;
stop) all_or_one TERM "$@" ;;
kill) all_or_one KILL "$@" ;;
status) each_member show_one ;;
clean)
    all_or_one KILL
    rm -rf "$home"
    ;;
*)
    say "$usage" >&2
    exit 64
    ;;
esac
