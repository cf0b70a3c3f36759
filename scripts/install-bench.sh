#!/usr/bin/env bash
# What clients notice of an install: three members with a map of some size; one was away for so long that it has to be sent
# the map, under load. Latency of PUTs in windows of a second, by what the install is at; time; disk and memory at their
# highest. Load generator, members and disks share the machine, so only the ratios say something.
#
#   scripts/install-bench.sh [MEGABYTES [ROUNDS]]     of the map (1024), of installs (3)
set -eu
. "$(dirname "$0")/lib.sh"

megabytes=${1:-1024}
rounds=${2:-3}
connections=${RAFTD_BENCH_CONNECTIONS:-16}
calm=${RAFTD_BENCH_CALM:-8} # windows without an install, before and after each
first_port=${RAFTD_BENCH_PORT:-4121}
home=$(mktemp -d "${RAFTD_BENCH_DIR:-${TMPDIR:-/tmp}}/raftd-install.XXXXXX")
raftd=$build/raftd
patience=1200 # seconds for an install
. "$top/scripts/members.sh"
# A short log, so that who is away for some seconds needs the map.
options=(-log-max-entries 5000 -log-max-size 16M)

clean_up() {
    kill_one() {
        end_member "$1" KILL
    }
    each_member kill_one
    [ -n "${RAFTD_BENCH_KEEP:-}" ] || rm -rf "$home"
}
trap clean_up EXIT

# shellcheck disable=SC2086 # lists of words
install_packages $packages_to_build $packages_to_run $packages_to_bench
build_tree "$build"

# number PORT NAME: of a number in what /status says.
number() {
    curl -s -m 5 "http://localhost:$1/status" | grep -oE "\"$2\": *[0-9]+" | head -n 1 | grep -oE '[0-9]+$'
}

# wrk_puts SECONDS SCRIPT ARGUMENT: to the leader.
wrk_puts() {
    local threads=2
    [ "$connections" -ge 2 ] || threads=1
    wrk -t$threads -c"$connections" -d"$1s" --timeout 10s --latency -s "$top/tests/bench/$2.lua" "http://localhost:$leader_port" -- "$3"
}

# What the install is at, by the files that there are.
phase() {
    if [ "$away" = yes ]; then echo away
    elif [ -e "$home/node.$leader/dump.new" ]; then echo dumping
    elif [ "$installed" = yes ]; then echo calm
    elif [ -e "$home/node.3/incoming" ]; then
        if [ "$(stat -c %s "$home/node.3/incoming" 2>/dev/null || echo 0)" -ge "$(stat -c %s "$home/node.$leader/dump" 2>/dev/null || echo 1)" ]
        then echo loading
        else echo sending
        fi
    else echo other
    fi
}

private_kb() {
    awk '/^Private_Dirty/ { sum += $2 } END { print sum + 0 }' "/proc/$1/smaps_rollup" 2>/dev/null || echo 0
}
most() {
    if [ "$1" -gt "$2" ]; then echo "$1"; else echo "$2"; fi
}
look_at_sizes() {
    sender_kb=$(most "$sender_kb" "$(private_kb "$(pid_of "$leader")")")
    sender_mb=$(most "$sender_mb" "$(du -sm "$home/node.$leader" 2>/dev/null | cut -f 1)")
    if [ "$away" = no ]; then
        receiver_kb=$(most "$receiver_kb" "$(private_kb "$(pid_of 3)")")
        receiver_mb=$(most "$receiver_mb" "$(du -sm "$home/node.3" 2>/dev/null | cut -f 1)")
    fi
}

# window: a second of load; a line "PHASE REQUESTS P50 P99 MAX" (microseconds) for it.
window() {
    local before after
    before=$(phase)
    wrk_puts 1 put 1000 >"$home/wrk"
    after=$(phase)
    # A window in which one phase follows another counts for both.
    for name in $(printf '%s\n' "$before" "$after" | sort -u); do
        awk -v name="$name" '
            function us(text) {
                if (text ~ /us$/) return text + 0
                if (text ~ /ms$/) return text * 1000
                return text * 1000000
            }
            $1 == "Latency" && $2 != "Distribution" { max = us($4) }
            $1 == "50%" { p50 = us($2) }
            $1 == "99%" { p99 = us($2) }
            / requests in / { count = $1 }
            /Non-2xx/ { bad = bad " " $0 }
            /Socket errors/ { bad = bad " " $0 }
            END { print name, count + 0, p50 + 0, p99 + 0, max + 0, bad }' "$home/wrk"
    done >>"$home/windows"
    look_at_sizes
}

report() {
    say "            windows    PUT/s   p50 ms   p99 ms (median, worst)      max ms"
    for name in away calm dumping sending loading other; do
        grep "^$name " "$home/windows" | sort -k4,4n | awk -v name="$name" '
            { rate += $2; p50[NR] = $3; p99[NR] = $4; if ($5 > max) max = $5; if ($6) bad = bad $0 "\n" }
            END {
                if (NR == 0) exit
                n = asort50()
                printf "%-12s %6d %8.0f %8.2f %8.2f %8.2f %12.1f\n", name, NR, rate / NR, sum50 / NR / 1000,
                    p99[int((NR + 1) / 2)] / 1000, p99[NR] / 1000, max / 1000
                printf "%s", bad
            }
            function asort50(i) { for (i = 1; i <= NR; i++) sum50 += p50[i]; return NR }'
    done
    # The claim: p99 of the windows with an install against those without.
    awk '$1 == "calm" || $1 == "away" { print "without", $4 } $1 != "calm" && $1 != "away" { print "with", $4 }' "$home/windows" |
        sort -k1,1 -k2,2n | awk '
            { v[$1, ++n[$1]] = $2 }
            END {
                a = v["without", int((n["without"] + 1) / 2)]; b = v["with", int((n["with"] + 1) / 2)]
                w = v["with", int(n["with"] * 0.95 + 0.5)]
                printf "p99 without %.2f ms, with %.2f ms: %.2f x (the 95th of 100 windows: %.2f x)\n", a / 1000, b / 1000, b / a, w / a
            }'
}

start_members 3 "${options[@]}"
leader_port=$(leader_among "$(port_of 1)" "$(port_of 2)" "$(port_of 3)")
leader=$((leader_port - first_port + 1))
[ "$leader" != 3 ] || die "member 3 leads: try again"
end_member 3 TERM
say "$(nproc) CPUs, data on $(stat -f -c %T "$home"), $connections connections, values of 1 to 4 KB to fill, of 256 bytes to measure"
burst=0
while [ "$(du -sm "$home/node.$leader/kv" | cut -f 1)" -lt "$megabytes" ]; do
    burst=$((burst + 1))
    wrk_puts 3 fill $burst >/dev/null
done
say "the map takes $(du -sm "$home/node.$leader/kv" | cut -f 1) MB"

: >"$home/windows"
sender_kb=0 receiver_kb=0 sender_mb=0 receiver_mb=0
term=$(number "$leader_port" term)
for ((round = 1; round <= rounds; round++)); do
    away=yes installed=no
    end_member 3 TERM
    for ((i = 0; i < calm; i++)); do window; done
    away=no
    begun=$(date +%s%3N)
    start_member 3 "${options[@]}"
    target=$(number "$leader_port" applied)
    end=$((SECONDS + patience))
    while [ "$(number "$(port_of 3)" applied || echo 0)" -lt "$target" ]; do
        [ $SECONDS -lt $end ] || die "not installed after $patience s"
        window
    done
    took=$(($(date +%s%3N) - begun))
    installed=yes
    say "round $round: installed after $took ms; transfers begun: $(grep -c 'receiving the map' "$home/node.3.log")"
    sleep 3
    for ((i = 0; i < calm; i++)); do window; done
done
report
say "term before and after: $term $(number "$leader_port" term) (equal: nobody lost leadership)"
say "at most: sender $sender_kb KB private, $sender_mb MB of disk; receiver $receiver_kb KB private, $receiver_mb MB of disk"
say "after: sender $(du -sm "$home/node.$leader" | cut -f 1) MB, receiver $(du -sm "$home/node.3" | cut -f 1) MB of disk"
