#!/usr/bin/env bash
# kill -9 of the leader, again and again, under load: the next write is acknowledged within a second, what was
# acknowledged is never lost, and the killed member comes back without deposing anybody.
. "$(dirname "$0")/lib.sh"
begin 2
rounds=20
[ -z "$sanitized" ] || rounds=4

start_cluster 3
start_writer a 1 2 3
start_writer b 3 2 1

worst=0 times=
for round in $(seq $rounds); do
    wait_for 10 has_leader || not_ok "round $round: no leader"
    killed=$(leader) || break
    survivors=()
    for n in 1 2 3; do
        [ $n = "$killed" ] || survivors+=("$n")
    done
    kill9 "$killed"
    died=$(now_ms)
    write_until "round-$round" "$round" $((10 * slow)) "${survivors[@]}" || not_ok "round $round: no write in time"
    took=$(($(now_ms) - died))
    times="$times $took"
    [ $took -le $worst ] || worst=$took
    [ $took -lt $((1000 * slow)) ] || not_ok "round $round: the next write took $took ms"
    term=$(term_of "${survivors[0]}")
    start "$killed"
    wait_for $((10 * slow)) ready "$killed" || not_ok "round $round: member $killed is not back"
    [ "$term" = "$(term_of "${survivors[0]}")" ] || not_ok "round $round: the returning member $killed changed the term"
done
ok "$rounds times the next write came in time (worst $worst ms; all:$times)"
stop_writers

for n in 1 2 3; do
    eventually "member $n is ready" 10 ready $n
done
check "the load was a load ($(acked) writes)" [ "$(acked)" -gt $rounds ]
for round in $(seq $rounds); do
    found=$(curl -sS "localhost:$(port 1)/db/round-$round")
    [ "$found" = "$round" ] || not_ok "the write of round $round is lost: '$found'"
done
every_acked_is_found_everywhere
finish
