#!/usr/bin/env bash
# kill -9 of all members at once, under load: every acknowledged write is found again, at every member.
. "$(dirname "$0")/lib.sh"
begin 3
rounds=10
[ -z "$sanitized" ] || rounds=2

start_cluster 3
start_writer a 1 2 3
start_writer b 2 3 1
start_writer c 3 1 2

more_acked_than() {
    [ "$(acked)" -gt "$1" ]
}

for round in $(seq $rounds); do
    before=$(acked)
    eventually "round $round: writes are acknowledged" 10 more_acked_than $((before + 40))
    kill -KILL "${pids[@]}"
    for n in 1 2 3; do
        wait "${pids[$n]}" 2>/dev/null
        unset "pids[$n]"
    done
    for n in 3 2 1; do
        start $n
    done
    for n in 1 2 3; do
        eventually "round $round: member $n is ready again" 15 ready $n
    done
done
stop_writers
every_acked_is_found_everywhere

# One member at a time, each of them once, while the others serve.
for n in 1 2 3; do
    kill9 $n
    start $n
    eventually "member $n is ready after a kill -9 of its own" 10 ready $n
done
every_acked_is_found_everywhere
finish
