#!/usr/bin/env bash
# Hunts for HOURS on seeds that nobody has run before, a process for each core, and stops at the first failure with its
# replay line. usage: scripts/sim-hunt.sh HOURS [BUILD-DIRECTORY]
set -eu

if [ $# -lt 1 ]; then
    echo "usage: $0 HOURS [BUILD-DIRECTORY]" >&2
    exit 64
fi
build=${2:-$(dirname "$0")/../build}
sim=$build/tests/sim/raftsim
if [ ! -x "$sim" ]; then
    echo "$sim is not built: make -C $build check TESTS=" >&2
    exit 1
fi

seconds=$(awk -v hours="$1" 'BEGIN { printf "%d", hours * 3600 }')
end=$((SECONDS + seconds))
batch=2000
work=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT

# Random 40-bit places to begin: two hunts do not meet.
hunt() { # number of the process
    local first
    while [ $SECONDS -lt $end ] && [ ! -e "$work/failed" ]; do
        first=$((($(od -An -N5 -tu8 /dev/urandom) << 12) + 1))
        if ! "$sim" --seeds "$first-$((first + batch - 1))" >"$work/$1" 2>&1; then
            mv "$work/$1" "$work/failed"
            return 1
        fi
        cat "$work/$1" >>"$work/done"
    done
}

for core in $(seq "$(nproc)"); do
    hunt "$core" &
    pids+=($!)
done
bad=0
for pid in "${pids[@]}"; do
    wait "$pid" || bad=1
done
pids=()

if [ $bad -ne 0 ]; then
    cat "$work/failed"
    exit 1
fi
awk '{ seeds += $1; events += $3 } END { printf "%d seeds, %d events, no failure\n", seeds, events }' "$work/done"
