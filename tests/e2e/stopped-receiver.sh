#!/usr/bin/env bash
# A member that is stopped (SIGSTOP) while it is sent the map pins nothing at the sender (TESTING D9, rqlite#2642): clients and
# the other members do not notice, the sender stops within its five seconds, and who is continued catches up.
. "$(dirname "$0")/lib.sh"
begin 22
[ -x "$build/tests/e2e/slow_link" ] || skip "tests/e2e/slow_link is not built: make check-e2e does it"
limits=(-log-max-entries 1000 -log-max-size 1M -election-timeout 1000)

number_of() {
    http GET "$1" /status
    number "$2"
}
has_received() {
    [ "$(stat -c %s "$dir/node.3/incoming" 2>/dev/null || echo 0)" -ge "$1" ]
}
caught_up() {
    [ "$(number_of 3 applied)" -ge "$1" ] 2>/dev/null
}
# map_of N: how large the map's file of member N is, in KiB.
map_of() {
    du -k "$dir/node.$1/kv/data.mdb" | cut -f1
}
# put_all NAME LAST FILE: how many writes of that many keys were taken.
put_all() {
    local i
    for i in $(seq "$2"); do
        [ "$i" = 1 ] || echo next
        printf 'url = "http://localhost:%s/db/%s-%s"\nrequest = PUT\nsilent\noutput = /dev/null\nlocation\n' "$(port 1)" "$1" "$i"
        printf 'data-binary = "@%s"\nwrite-out = "%%{http_code}\\n"\n' "$3"
    done >"$dir/puts"
    curl -Z --parallel-max 32 -K "$dir/puts" 2>/dev/null | grep -c '^20'
}

# Member 3 listens at another address than the one that it tells; between the two is a link of 256 KB a second.
"$build/tests/e2e/slow_link" 127.0.0.1 "$(peer_port 3)" 127.0.0.3 "$(peer_port 3)" 262144 &
links=($!)
"$build/tests/e2e/slow_link" 127.0.0.1 "$(port 3)" 127.0.0.3 "$(port 3)" 1e9 &
links+=($!)
helpers=("${links[@]}")
head -c 1000 /dev/zero | tr '\0' v >"$dir/value"
start 1 "${limits[@]}"
eventually "member 1 is ready" 10 ready 1
start 2 "${limits[@]}" -join "localhost:$(port 1)"
eventually "member 2 is ready" 10 ready 2
start 3 "${limits[@]}" -bind 127.0.0.3 -join "localhost:$(port 1)"
eventually "member 3 is ready" 20 ready 3
eventually "all have a vote" 20 has_voters "$(port 1)" 3

kill9 3
equals "writes that member 3 misses" 4000 "$(put_all missed 4000 "$dir/value")"
start 3 "${limits[@]}" -bind 127.0.0.3
eventually "it receives the map" 30 has_received 500000
kill -STOP "${pids[3]}"
term=$(number_of 1 term)

# A read transaction that stayed open would keep every page that these overwrites free: some 30 MB.
before=$(map_of 1)
for round in 1 2 3 4 5; do
    equals "overwrites of round $round succeed" 4000 "$(put_all missed 4000 "$dir/value")"
done
after=$(map_of 1)
echo "# the map's file at the sender: $before KiB, after 20000 overwrites $after KiB"
check "no page is pinned at the sender" [ "$after" -lt $((before * 2 + 8192)) ]
equals "nor was there an election" "$term" "$(number_of 1 term)"
equals "the other member has all" "$(number_of 1 commit)" "$(number_of 2 commit)"

sender=$(leader)
other=$((3 - sender))
begun=$(now_ms)
stop "$sender"
took=$(($(now_ms) - begun))
equals "the sender stops in an orderly way" 0 "$exit_status"
check "within five seconds ($took ms)" [ $took -lt $((6000 * slow)) ]
start "$sender" "${limits[@]}"
eventually "and starts again" 20 ready "$sender"
check "writes go on" write_until after-that yes 20 "$sender" "$other"

kill -CONT "${pids[3]}"
eventually "who is continued catches up" 90 caught_up "$(number_of "$sender" applied)"
eventually "and has all" 20 test_value 3 after-that yes
finish
