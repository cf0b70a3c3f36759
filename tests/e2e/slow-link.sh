#!/usr/bin/env bash
# A member behind a slow link that needs the map, under load (TESTING D5): it gets it once, though it is killed in the middle,
# and catches up; the leader stays.
. "$(dirname "$0")/lib.sh"
begin 21
[ -x "$build/tests/e2e/slow_link" ] || skip "tests/e2e/slow_link is not built: make check-e2e does it"
speed=${RAFTD_TEST_SPEED:-262144} # bytes a second
limits=(-log-max-entries 1000 -log-max-size 1M -election-timeout 1000) # so long that a busy machine loses no leader

# Member 3 listens at another address than the one that it tells; between the two is the link.
link_to() {
    "$build/tests/e2e/slow_link" 127.0.0.1 "$1" 127.0.0.3 "$1" "$2" &
    helpers+=($!)
}
number_of() {
    http GET "$1" /status
    number "$2"
}
caught_up() {
    [ "$(number_of 3 applied)" -ge "$1" ] 2>/dev/null
}
has_received() {
    [ "$(stat -c %s "$dir/node.3/incoming" 2>/dev/null || echo 0)" -ge "$1" ]
}
times() {
    grep -c "$1" "$dir/node.3.log"
}
# fill LAST: a map of that many KB, through curl's own parallel requests.
fill() {
    head -c 1000 /dev/zero | tr '\0' v >"$dir/value"
    for i in $(seq "$1"); do
        [ "$i" = 1 ] || echo next
        printf 'url = "http://localhost:%s/db/fill-%s"\nrequest = PUT\nsilent\noutput = /dev/null\nlocation\n' "$(port 1)" "$i"
        printf 'data-binary = "@%s"\n' "$dir/value"
    done >"$dir/fill"
    curl -Z --parallel-max 32 -K "$dir/fill" 2>/dev/null
}

link_to "$(peer_port 3)" "$speed"
link_to "$(port 3)" 1e9
start 1 "${limits[@]}"
eventually "member 1 is ready" 10 ready 1
start 2 "${limits[@]}" -join "localhost:$(port 1)"
eventually "member 2 is ready" 10 ready 2
start 3 "${limits[@]}" -bind 127.0.0.3 -join "localhost:$(port 1)"
eventually "member 3 is ready" 20 ready 3
eventually "all have a vote" 20 has_voters "$(port 1)" 3

kill9 3
fill 3000
term=$(number_of 1 term)
link_helpers=("${helpers[@]}")
helpers=()
start_writer load 1
start 3 "${limits[@]}" -bind 127.0.0.3
eventually "it receives the map" 30 has_received 1000000
kill9 3
start 3 "${limits[@]}" -bind 127.0.0.3
eventually "it has caught up with what was there then" 60 caught_up "$(number_of 1 applied)"
stop_writers
eventually "and with all" 20 caught_up "$(number_of 1 applied)"
leaders=$(($(number_of 1 term) - term)) # that came meanwhile, if the machine was very busy
check "it was sent one map" [ "$(times "receiving the map: from")" -le $((1 + leaders)) ]
matches "and went on with it after its restart" "receiving the map goes on: index=[0-9]+ bytes=[1-9][0-9]{5,} of" "$(cat "$dir/node.3.log")"
check "it disturbed nobody: $leaders changes of the leader" [ "$leaders" -le 1 ]
every_acked_is_found_everywhere

# The leader is stopped in the middle: another one's map is of another position, and so a second one is sent, and no third.
kill9 3
for _ in 1 2 3 4; do fill 3000; done # more than the bytes of a map, which the log keeps for who has just got one
start 3 "${limits[@]}" -bind 127.0.0.3
eventually "it receives another map" 30 has_received 500000
kill -STOP "${pids[1]}"
eventually "another leads" 20 leads "$(port 2)"
check "writes go on" write_until after-the-change yes 20 2
eventually "it has caught up with the new leader" 90 test_value 3 after-the-change yes
kill -CONT "${pids[1]}"
eventually "so has the old leader" 30 test_value 1 after-the-change yes
check "so has it all" test_value 3 after-the-change yes
leaders=$(($(number_of 1 term) - term))
received=$(times "receiving the map: from")
check "no more maps than leaders were sent: $received" [ "$received" -le $((2 + leaders)) ]
helpers=("${link_helpers[@]}")
finish
