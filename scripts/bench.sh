#!/usr/bin/env bash
# What three members on this machine do with 1, 8, 64 and 256 connections: requests a second, latency, CPU, memory; beside it
# what civetweb alone does here, as the measure of the machine, and if asked for three members of etcd, out of Debian's
# package. Load generator, members and disks share the machine. Each round measures all in turn; the table has medians.
#
#   scripts/bench.sh [-etcd] [-rounds N] [-seconds N] [-connections "N ..."] [-json FILE]
#
# -rounds (1), -seconds of each measurement (10), -connections ("1 8 64 256"), -json: the medians as JSON, too.
set -eu
. "$(dirname "$0")/lib.sh"

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit "$1"
}

seconds=10 rounds=1 connections="1 8 64 256" json='' with_etcd=''
while [ $# -gt 0 ]; do
    case $1 in
    -etcd) with_etcd=1 ;;
    -seconds | -rounds | -connections | -json)
        [ $# -ge 2 ] || usage 64 >&2
        declare "${1#-}=$2"
        shift
        ;;
    -h | -help | --help) usage 0 ;;
    *) usage 64 >&2 ;;
    esac
    shift
done

first_port=${RAFTD_BENCH_PORT:-4101}
keys=${RAFTD_BENCH_KEYS:-1000}
home=$(mktemp -d "${RAFTD_BENCH_DIR:-${TMPDIR:-/tmp}}/raftd-bench.XXXXXX")
raftd=$build/raftd
. "$top/scripts/members.sh"
results=$home/results # system, what, connections, requests/s, p50 and p99 in ms, CPU s for 1000, errors
bare='' etcd_pids=''

clean_up() {
    kill_one() {
        end_member "$1" KILL
    }
    each_member kill_one
    # shellcheck disable=SC2086 # a list of words
    [ -z "$bare$etcd_pids" ] || kill -KILL $bare $etcd_pids 2>/dev/null || true
    rm -rf "$home"
}
trap clean_up EXIT

# shellcheck disable=SC2086 # lists of words
install_packages $packages_to_build $packages_to_run $packages_to_bench ${with_etcd:+etcd-server}
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

# Of its own, and with the pages of files that the kernel happens to have mapped for it.
memory_of() {
    awk '/^RssAnon/ { own = $2 } /^VmRSS/ { all = $2 }
        END { printf "%.1f MB of its own, %.1f MB with mapped files", own / 1024, all / 1024 }' "/proc/$1/status"
}

# measure SYSTEM WHAT SCRIPT CONNECTIONS PORT PID...: a line into $results.
measure() {
    local system=$1 what=$2 script=$3 count=$4 port=$5 threads=2 before after out
    shift 5
    [ "$count" -ge 2 ] || threads=1
    before=$(cpu_ms "$@")
    out=$(wrk -t$threads -c"$count" -d"${seconds}s" --timeout 10s --latency -s "$top/tests/bench/$script.lua" "http://localhost:$port" -- "$keys" "${what,,}")
    after=$(cpu_ms "$@")
    printf '%s\n' "$out" | awk -v name="$system $what $count" -v cpu=$((after - before)) '
        function ms(text) { return text ~ /us$/ ? text / 1000 : text ~ /ms$/ ? text + 0 : text * 1000 }
        / requests in / { requests = $1 }
        /Requests\/sec/ { rate = $2 }
        $1 == "50%" { p50 = ms($2) }
        $1 == "99%" { p99 = ms($2) }
        /Socket errors/ { for (i = 4; i <= NF; i += 2) errors += $i }
        /Non-2xx/ { errors += $NF }
        END { print name, rate, p50, p99, requests ? cpu / requests : 0, errors + 0 }' >>"$results"
}

# medians FORMAT-OF-A-LINE: one line for each system, what and connections.
medians() {
    sort -s -k1,2 -k3,3n "$results" | awk -v format="$1" '
        function median(list, n,    i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
            return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
        }
        function put(    f, m) {
            for (f = 4; f <= 7; f++) {
                for (m = 1; m <= n; m++) one[m] = all[f, m]
                middle[f] = median(one, n)
            }
            printf format "\n", part[1], part[2], part[3], middle[4], middle[5], middle[6], middle[7], errors
        }
        $1 " " $2 " " $3 != name { if (n) put(); n = 0; errors = 0; name = $1 " " $2 " " $3; split(name, part, " ") }
        { n++; errors += $8; for (f = 4; f <= 7; f++) all[f, n] = $f }
        END { if (n) put() }'
}

start_etcd() {
    local n list='' port=$((first_port + 20))
    for n in 1 2 3; do list+=${list:+,}m$n=http://127.0.0.1:$((port + 10 + n)); done
    for n in 1 2 3; do
        etcd --name "m$n" --data-dir "$home/etcd.$n" --log-level error --initial-cluster "$list" \
            --listen-client-urls "http://127.0.0.1:$((port + n))" --advertise-client-urls "http://127.0.0.1:$((port + n))" \
            --listen-peer-urls "http://127.0.0.1:$((port + 10 + n))" \
            --initial-advertise-peer-urls "http://127.0.0.1:$((port + 10 + n))" >"$home/etcd.$n.log" 2>&1 &
        etcd_pids+=" $!"
        disown # nobody need tell that it was killed
    done
    etcd_leads() {
        etcd_port=$(for n in 1 2 3; do
            curl -s -m 2 "http://127.0.0.1:$((port + n))/v3/maintenance/status" -X POST -d '{}' |
                sed -n 's/.*"member_id":"\([0-9]*\)".*"leader":"\1".*/'$((port + n))'/p'
        done)
        [ -n "$etcd_port" ]
    }
    wait_for 20 etcd_leads || die "etcd has no leader: see $home/etcd.1.log"
}

start_members 3
leader_port=$(leader_among "$(port_of 1)" "$(port_of 2)" "$(port_of 3)")
pids="$(pid_of 1) $(pid_of 2) $(pid_of 3)"
leader_pid=$(pid_of $((leader_port - first_port + 1)))
follower_port=$((leader_port == first_port ? first_port + 1 : first_port))
"$build/tests/bench/bare" $((first_port + 10)) 256 &
bare=$!
disown
wait_for 5 port_is_taken $((first_port + 10)) || die "tests/bench/bare does not listen"
[ -z "$with_etcd" ] || start_etcd

say "$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -r), data on $(stat -f -c %T "$home"), $rounds x $seconds s each"
say "resident memory of the leader, idle: $(memory_of "$leader_pid")"
# So that every GET finds its key. Without "next" curl would send all values so far as one.
for ((i = 1; i <= keys; i++)); do
    [ $i -eq 1 ] || echo next
    printf 'url = "http://localhost:%s/db/bench-%s"\nrequest = PUT\ndata = "%0256d"\nsilent\nfail\n' "$leader_port" "$i" 0
done | curl -K -
# shellcheck disable=SC2086 # lists of words
for ((round = 1; round <= rounds; round++)); do
    for count in $connections; do
        measure raftd PUT put "$count" "$leader_port" $pids
        [ -z "$with_etcd" ] || measure etcd PUT etcd "$count" "$etcd_port" $etcd_pids
    done
    for count in $connections; do
        measure raftd GET get "$count" "$leader_port" $pids
        measure raftd GET-at-follower get "$count" "$follower_port" $pids
        [ -z "$with_etcd" ] || measure etcd GET etcd "$count" "$etcd_port" $etcd_pids
    done
    for count in $connections; do
        measure civetweb PUT put "$count" $((first_port + 10)) "$bare"
    done
done
printf '%-10s %-16s %5s %11s %9s %9s %11s %7s\n' "" "" conns requests/s "p50 ms" "p99 ms" "CPU s/1000" errors
medians '%-10s %-16s %5d %11.0f %9.2f %9.2f %11.3f %7d'
say "resident memory of the leader, after the load: $(memory_of "$leader_pid"); its data: $(du -sm "$home/node.$((leader_port - first_port + 1))" | cut -f 1) MB"
for pid in $etcd_pids; do say "resident memory of a member of etcd: $(memory_of "$pid")"; done
[ -z "$json" ] || {
    echo '['
    medians '{"system":"%s","request":"%s","connections":%d,"per_second":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"cpu_s_per_1000":%.4f,"errors":%d},' |
        sed '$s/,$//'
    echo ']'
} >"$json"
