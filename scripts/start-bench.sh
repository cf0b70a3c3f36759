#!/usr/bin/env bash
# What a start costs with many keys and a log as long as it gets: from exec to the first answered read, and memory.
#
#   scripts/start-bench.sh [KEYS...]     (1000000 10000000)
set -eu
. "$(dirname "$0")/lib.sh"

port=${RAFTD_BENCH_PORT:-4141}
log_seconds=${RAFTD_BENCH_LOG_SECONDS:-15} # of writes before, to fill the log
starts=${RAFTD_BENCH_STARTS:-9}
home=$(mktemp -d "${RAFTD_BENCH_DIR:-${TMPDIR:-/tmp}}/raftd-start.XXXXXX")
raftd=$build/raftd
pid=
[ $# -gt 0 ] || set -- 1000000 10000000

end() {
    [ -n "$pid" ] || return 0
    kill -"$1" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
}
trap 'end KILL; rm -rf "$home"' EXIT

# shellcheck disable=SC2086 # lists of words
install_packages $packages_to_build $packages_to_run $packages_to_bench
build_tree "$build"
quietly "make make_dump" make -C "$build" tests/bench/make_dump

start() {
    "$raftd" -p "$port" "$home/node" >>"$home/log" 2>&1 </dev/null &
    pid=$!
}

# A GET in the shell itself: no process to start, some ten microseconds.
stale_read() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET /db/key/000000007?stale HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
    IFS= read -r line <&3
    exec 3>&-
    [[ $line == "HTTP/1.1 200"* ]]
}

# As after a boot: the files are on the disk alone.
forget_pages() {
    local file
    sync "$home/node"/*/*
    for file in "$home/node"/*/*; do
        dd "if=$file" iflag=nocache count=0 2>/dev/null
    done
}

now_us() {
    echo "${EPOCHREALTIME//[!0-9]/}"
}

# From exec to the first answer, in microseconds.
time_start() {
    local begun
    begun=$(now_us)
    start
    until stale_read 2>/dev/null; do
        [ $(($(now_us) - begun)) -lt 60000000 ] || die "no answer within a minute: see $home/log"
    done
    echo $(($(now_us) - begun))
}

memory() {
    awk '/^Private_Clean/ { clean = $2 } /^Private_Dirty/ { dirty = $2 } /^Anonymous/ { own = $2 }
        END { printf "private %.1f MB (%.1f MB of it LMDB pages that were read), own %.1f MB", (clean + dirty) / 1024, clean / 1024, own / 1024 }' \
        "/proc/$1/smaps_rollup"
}

for keys; do
    rm -rf "$home/node"
    "$build/tests/bench/make_dump" "$keys" 100 | "$raftd" restore - "$home/node" >/dev/null
    start
    wait_for 30 is_ready "$port" || die "not ready: see $home/log"
    wrk -t2 -c64 -d"${log_seconds}s" -s "$top/tests/bench/put.lua" "http://localhost:$port" -- 10000 >/dev/null
    log=$(curl -s "localhost:$port/status" | grep -oE '"log_(first|last)": *[0-9]+' | grep -oE '[0-9]+$' | paste -sd- | sed 's/\([0-9]*\)-\([0-9]*\)/\2 - \1/')
    end KILL
    forget_pages
    : >"$home/times"
    for ((i = 0; i < starts; i++)); do
        time_start >"$home/time"
        cat "$home/time" >>"$home/times"
        [ $i -gt 0 ] || first_memory=$(memory "$pid")
        if [ $((i % 2)) = 0 ]; then end TERM; else end KILL; fi
        forget_pages
    done
    sort -n "$home/times" | awk -v keys="$keys" -v log_size=$((log + 1)) -v mb="$(du -sm "$home/node" | cut -f 1)" '
        { t[NR] = $1 / 1000 }
        END { printf "%d keys, %d entries in the log, %d MB: first stale read after %.1f ms (median of %d; worst %.1f)\n", keys, log_size, mb, t[int((NR + 1) / 2)], NR, t[NR] }'
    say "    memory right after: $first_memory"
done
