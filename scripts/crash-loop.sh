#!/usr/bin/env bash
# kill -9 under load, for as long as you like: three members, writers, and each round another crash (one member, two, all),
# then every write that was ever acknowledged is looked for. Ends at the first that is lost, and keeps the directories.
#
#   scripts/crash-loop.sh [ROUNDS]     (50)
rounds=${1:-50}
. "$(dirname "$0")/../tests/e2e/lib.sh"
begin "${RAFTD_CRASH_SLOT:-20}"

more_acked_than() {
    [ "$(acked)" -gt "$1" ]
}

start_cluster 3
start_writer a 1 2 3
start_writer b 2 3 1
for round in $(seq "$rounds"); do
    before=$(acked)
    wait_for $((20 * slow)) more_acked_than $((before + 20)) || not_ok "round $round: no progress"
    case $((RANDOM % 4)) in
    0) victims=$(leader || echo 1) ;;
    1) victims=$((RANDOM % 3 + 1)) ;;
    2) victims="1 $((RANDOM % 2 + 2))" ;;
    3) victims="1 2 3" ;;
    esac
    for n in $victims; do
        kill -KILL "${pids[$n]}"
    done
    for n in $victims; do
        wait "${pids[$n]}" 2>/dev/null
        start "$n"
    done
    for n in 1 2 3; do
        wait_for $((20 * slow)) ready $n || not_ok "round $round: member $n is not ready"
    done
    every_acked_is_found $((RANDOM % 3 + 1)) || not_ok "round $round (killed: $victims)"
    if [ $not_oks -ne 0 ]; then
        RAFTD_TEST_KEEP=1
        break
    fi
    echo "round $round: killed $victims, $(acked) writes acknowledged so far, all found"
done
stop_writers
every_acked_is_found_everywhere
finish
