# members.sh -- a cluster of members that stay when the script ends: node.N, node.N.log, node.N.pid in one directory.
# Sourced after lib.sh by quickstart, cluster.sh and bench.sh, which set: home, first_port, raftd.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set by who sources it

port_of() {
    echo $((first_port + $1 - 1))
}

# pid_of N: the process of that member, if it runs; a stale file and a pid that now is another process count as none.
pid_of() {
    local pid
    pid=$(cat "$home/node.$1.pid" 2>/dev/null) || return 1
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q -- " $home/node.$1 \$" || return 1
    echo "$pid"
}

# start_member N [OPTION...]: unless it runs already; the first one starts the cluster, the others join it.
start_member() {
    local n=$1 port
    shift
    port=$(port_of "$n")
    pid_of "$n" >/dev/null && return 0
    port_is_taken "$port" && die "port $port is taken by another process: stop that, or choose other ports (see $0 -help)"
    port_is_taken $((port + 10000)) &&
        die "port $((port + 10000)) (for the other members) is taken by another process: stop that, or choose other ports"
    mkdir -p "$home"
    [ "$n" = 1 ] || set -- -join "localhost:$first_port" "$@"
    setsid nohup "$raftd" -p "$port" "$@" "$home/node.$n" </dev/null >>"$home/node.$n.log" 2>&1 &
    echo $! >"$home/node.$n.pid"
    disown # it outlives the script, and bash need not tell when it ends
}

# member_is_ready N: it serves; ends the script with its last words if it is dead.
member_is_ready() {
    if is_gone "$(cat "$home/node.$1.pid")"; then
        tail -n 5 "$home/node.$1.log" >&2
        die "member $1 ended (see above, and $home/node.$1.log)"
    fi
    pid_of "$1" >/dev/null || return 1 # just forked, it is not raftd yet
    is_ready "$(port_of "$1")"
}

# start_members COUNT [OPTION...]: starts them and returns when all of them serve and have a vote.
start_members() {
    local count=$1 n
    shift
    for ((n = 1; n <= count; n++)); do
        local is_new=yes
        [ ! -e "$home/node.$n" ] || is_new=no
        start_member "$n" "$@"
        # A new cluster has to be there before another can join it; an old one needs a majority before it serves.
        [ $is_new = no ] || wait_for 30 member_is_ready "$n" || die "member $n is not ready after 30 s: see $home/node.$n.log"
    done
    for ((n = 1; n <= count; n++)); do
        wait_for 30 member_is_ready "$n" || die "member $n is not ready after 30 s: see $home/node.$n.log"
    done
    wait_for 30 has_voters "$first_port" "$count" || die "the members do not all have a vote after 30 s: see $home"
}

# end_member N SIGNAL: and waits until it is gone.
end_member() {
    local pid
    pid=$(pid_of "$1") || return 0
    kill -"$2" "$pid"
    wait_for 10 is_gone "$pid" || die "member $1 (process $pid) does not stop"
    rm -f "$home/node.$1.pid"
}

# each_member COMMAND: calls it with the number of each member that was ever started here.
each_member() {
    local pidfile n
    for pidfile in "$home"/node.*.pid; do
        [ -e "$pidfile" ] || continue
        n=${pidfile##*/node.}
        "$@" "${n%.pid}"
    done
}
