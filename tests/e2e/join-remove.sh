#!/usr/bin/env bash
# How members come, go, move and come back; and what a join says when it cannot be.
. "$(dirname "$0")/lib.sh"
begin 5

# name_of N: as the member itself says.
name_of() {
    curl -sS -m 5 -D - -o /dev/null "localhost:$(port "$1")/livez" | tr -d '\r' | sed -n 's/^Raftd-Node: //Ip'
}

# knows N TEXT: whether /cluster at member N contains it.
knows() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -q -- "$2"
}

knows_not() {
    ! knows "$1" "$2"
}

log_has() {
    grep -qiE -- "$2" "$dir/node.$1.log"
}

# ---- joining through any member, by either port ----

start 1
eventually "member 1 is ready" 5 ready 1
answers PUT 1 /db/foo 201 -d bar
start 2 -join "localhost:$(port 1)"
eventually "member 2 joined through the leader" 10 ready 2
start 3 -name third -join "localhost:$(port 2)"
eventually "member 3 joined through a follower" 10 ready 3
start 4 -join "localhost:1,localhost:$(peer_port 2)"
eventually "member 4 joined by a list whose second is a peer port" 15 ready 4
eventually "all four have a vote" 10 has_voters "$(port 1)" 4
check "a name that was given is kept" knows 1 '"third"'
equals "a new member reads" bar "$(curl -sS "localhost:$(port 4)/db/foo")"

# ---- joining that cannot be ----

began=$SECONDS
"$raftd" -p "$(port 5)" -peer-port "$(peer_port 5)" -join localhost:1 -join-timeout 2000 "$dir/node.5" >"$dir/node.5.log" 2>&1
equals "a join to nobody ends with status 1" 1 $?
check "after -join-timeout" [ $((SECONDS - began)) -le $((6 * slow)) ]
matches "and names whom it asked" 'localhost:1' "$(tail -n 1 "$dir/node.5.log")"
"$raftd" -p "$(port 5)" -peer-port "$(peer_port 5)" -host me.invalid -bind 127.0.0.1 -join no.such.host.invalid:4001 -join-timeout 1000 "$dir/node.5" >"$dir/node.5.log" 2>&1
equals "a join to a name without an address, too" 1 $?
matches "and names it" 'no\.such\.host\.invalid' "$(cat "$dir/node.5.log")"
"$raftd" -p "$(port 5)" -peer-port "$(peer_port 5)" -join "localhost:$(port 5)" -join-timeout 1000 "$dir/node.5" >"$dir/node.5.log" 2>&1
equals "a join to itself, too" 1 $?
"$raftd" -p "$(port 5)" -peer-port "$(peer_port 5)" -name third -join "localhost:$(port 1)" -join-timeout 2000 "$dir/node.5" >"$dir/node.5.log" 2>&1
equals "a name that another member has is refused" 1 $?
matches "and the reason is given" 'third' "$(cat "$dir/node.5.log")"
check "the cluster has four members as before" [ "$(voters "$(port 1)")" = 4 ]
start 5 -name fifth -join "localhost:$(port 1)"
eventually "the same DATADIR joins later" 10 ready 5
eventually "and has its vote" 10 has_voters "$(port 1)" 5

# ---- restart with -join, and elsewhere ----

stop 2
equals "member 2 stops" 0 "$exit_status"
start 2 -join localhost:1
eventually "restarted with a -join that is of no use: it is a member already" 10 ready 2
check "and says so in its log" log_has 2 'join.*(ignored|already)|already.*member'
stop 3
"$raftd" -p "$(port 9)" -peer-port "$(peer_port 9)" "$dir/node.3" >>"$dir/node.3.log" 2>&1 </dev/null &
pids[9]=$!
eventually "member 3 restarted on another port is ready" 10 ready 9
eventually "and the cluster knows" 10 knows 1 ":$(port 9)\""
check "and no more where it was" knows_not 1 ":$(port 3)\""
check "under its name" knows 1 '"third"'
stop 9
start 3
eventually "and back again" 10 ready 3
eventually "which the cluster knows, too" 10 knows 1 ":$(port 3)\""

# ---- removing ----

gone=$(name_of 5)
http DELETE 1 "/cluster/members/$gone" -L
matches "a member is removed" '^20[04]$' "$status"
eventually "it stops by itself" 10 ended 5
equals "with status 0" 0 "$exit_status"
check "and is a member no more" knows_not 1 "\"$gone\""
timeout 20 "$raftd" -p "$(port 5)" -peer-port "$(peer_port 5)" "$dir/node.5" >>"$dir/node.5.log" 2>&1
equals "it does not start again as that member" 1 $?
matches "and says why" 'removed' "$(tail -n 1 "$dir/node.5.log")"
answers DELETE 1 /cluster/members/nobody 404 -L

# By name, and the leader itself.
leading=$(leader)
http DELETE "$leading" "/cluster/members/$(name_of "$leading")"
matches "the leader can be removed" '^20[04]$' "$status"
eventually "and stops" 10 ended "$leading"
equals "with status 0, too" 0 "$exit_status"
eventually "the others have a leader" 10 has_leader
# shellcheck disable=SC2046 # numbers
set -- $(followers)
check "and write" write_until after-removal yes $((5 * slow)) "$@"
check "without the one that was removed" has_voters "$(port "$1")" 3

# ---- a pristine server is invited; one with data refuses ----

inviting=$(leader)
start 6
eventually "a server of its own is ready" 5 ready 6
http POST "$inviting" /cluster/members -H 'Content-Type: application/json' -d "{\"client\":\"localhost:$(port 6)\"}"
matches "a pristine server is absorbed" '^20[01]$' "$status"
eventually "into the cluster" 10 has_voters "$(port "$inviting")" 4
eventually "and reads what the cluster has" 10 test_value 6 foo bar
start 7
eventually "another server of its own is ready" 5 ready 7
answers PUT 7 /db/mine 201 -d precious
http POST "$inviting" /cluster/members -H 'Content-Type: application/json' -d "{\"client\":\"localhost:$(port 7)\"}"
equals "one that holds data refuses" 409 "$status"
equals "and loses nothing" precious "$(curl -sS "localhost:$(port 7)/db/mine")"
"$raftd" -p "$(port 8)" -peer-port "$(peer_port 8)" -join "localhost:$(port 7)" "$dir/node.8" >"$dir/node.8.log" 2>&1 </dev/null &
pids[8]=$!
eventually "it can be joined, though" 10 ready 8
equals "and shares" precious "$(curl -sS "localhost:$(port 8)/db/mine")"

# ---- the last voter stays ----

start 10
eventually "a lone server is ready" 5 ready 10
http DELETE 10 "/cluster/members/$(name_of 10)"
equals "the last voter cannot be removed" 409 "$status"

# ---- a learner has no vote ----

start 11 -learner -join "localhost:$(port 10)"
eventually "a learner is ready" 10 ready 11
sleep 1
check "and has no vote" has_voters "$(port 10)" 1
answers PUT 10 /db/l 201 -d 1
equals "but reads" 1 "$(curl -sS "localhost:$(port 11)/db/l")"
http PUT 10 "/cluster/members/$(name_of 11)" -H 'Content-Type: application/json' -d '{"role":"voter"}'
matches "it can be promoted" '^20[04]$' "$status"
eventually "and then has one" 10 has_voters "$(port 10)" 2

# ---- goraft's way to join ----

start 12
eventually "one more server is ready" 5 ready 12
http POST 10 /join -L -H 'Content-Type: application/json' -d "{\"name\":\"old-style\",\"connectionString\":\"http://localhost:$(port 12)\"}"
matches "POST /join with goraft's body" '^20[01]$' "$status"
finish
