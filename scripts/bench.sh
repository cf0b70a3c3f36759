#!/usr/bin/env bash
# What three members on this machine do with 1, 8, 64 and 256 connections: requests a second, latency, CPU, memory; and
# what civetweb alone does here, as the measure of the machine. Load generator, members and disks share the machine.
#
#   scripts/bench.sh [SECONDS]     of each measurement (10)
set -eu
. "$(dirname "$0")/lib.sh"

seconds=${1:-10}
first_port=${RAFTD_BENCH_PORT:-4101}
connections=${RAFTD_BENCH_CONNECTIONS:-1 8 64 256}
keys=${RAFTD_BENCH_KEYS:-1000}
home=$(mktemp -d "${RAFTD_BENCH_DIR:-${TMPDIR:-/tmp}}/raftd-bench.XXXXXX")
raftd=$build/raftd
. "$top/scripts/members.sh"
bare=

clean_up() {
    kill_one() {
        end_member "$1" KILL
    }
    each_member kill_one
    [ -z "$bare" ] || kill "$bare" 2>/dev/null || true
    rm -rf "$home"
}
trap clean_up EXIT

# shellcheck disable=SC2086 # lists of words
install_packages $packages_to_build $packages_to_run $packages_to_bench
build_tree "$build"
quietly "make bare" make -C "$build" tests/bench/bare

# cpu_ms PID...: CPU time that these processes have used so far.
cpu_ms() {
    local pid total=0 ticks
    for pid; do
        # The second field is the name in brackets, which may hold blanks; 14 and 15 are user and system time.
        ticks=$(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')
        total=$((total + ticks))
    done
    echo $((total * 1000 / $(getconf CLK_TCK)))
}

# Of its own, and with the pages of LMDB's files that the kernel happens to have mapped for it.
memory_of() {
    awk '/^RssAnon/ { own = $2 } /^VmRSS/ { all = $2 }
        END { printf "%.1f MB of its own, %.1f MB with mapped files", own / 1024, all / 1024 }' "/proc/$1/status"
}

# measure WHAT SCRIPT CONNECTIONS PORT PID...
measure() {
    local what=$1 script=$2 count=$3 port=$4 threads=2 before after out
    shift 4
    [ "$count" -ge 2 ] || threads=1
    before=$(cpu_ms "$@")
    out=$(wrk -t$threads -c"$count" -d"${seconds}s" --timeout 10s --latency -s "$top/tests/bench/$script.lua" "http://localhost:$port" -- "$keys")
    after=$(cpu_ms "$@")
    printf '%s\n' "$out" | awk -v what="$what" -v count="$count" -v cpu=$((after - before)) '
        / requests in / { requests = $1 }
        /Requests\/sec/ { rate = $2 }
        $1 == "50%" { p50 = $2 }
        $1 == "99%" { p99 = $2 }
        /Socket errors/ { errors = errors " " $0 }
        /Non-2xx/ { errors = errors " " $0 }
        END {
            printf "%-12s %5d %10.0f %10s %10s %12.3f %s\n", what, count, rate, p50, p99, requests ? cpu / requests : 0, errors
        }'
}

start_members 3
leader_port=$(leader_among "$(port_of 1)" "$(port_of 2)" "$(port_of 3)")
pids="$(pid_of 1) $(pid_of 2) $(pid_of 3)"
leader_pid=$(pid_of $((leader_port - first_port + 1)))

say "$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -r), data on $(stat -f -c %T "$home"), $seconds s each"
say "resident memory of the leader, idle: $(memory_of "$leader_pid")"
printf '%-12s %5s %10s %10s %10s %12s\n' "" conns "requests/s" p50 p99 "CPU s/1000"
for count in $connections; do
    # shellcheck disable=SC2086 # a list of words
    measure PUT put "$count" "$leader_port" $pids
done
# So that every GET finds its key. Without "next" curl would send all values so far as one.
for ((i = 1; i <= keys; i++)); do
    [ $i -eq 1 ] || echo next
    printf 'url = "http://localhost:%s/db/bench-%s"\nrequest = PUT\ndata = "%0256d"\nsilent\nfail\n' "$leader_port" "$i" 0
done | curl -K -
for count in $connections; do
    # shellcheck disable=SC2086 # a list of words
    measure GET get "$count" "$leader_port" $pids
done
say "resident memory of the leader, after the load: $(memory_of "$leader_pid"); its data: $(du -sm "$home/node.$((leader_port - first_port + 1))" | cut -f 1) MB"

"$build/tests/bench/bare" $((first_port + 10)) 256 &
bare=$!
wait_for 5 port_is_taken $((first_port + 10)) || die "tests/bench/bare does not listen"
for count in $connections; do
    measure "civetweb" put "$count" $((first_port + 10)) "$bare"
done
