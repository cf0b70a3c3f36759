#!/usr/bin/env bash
# Changes of the members by HTTP for a cluster's whole life: tried, refused, forced, repeated; replacing; removing the leader;
# members that return after they were removed, or without their DATADIR.
. "$(dirname "$0")/lib.sh"
begin 8

cluster_has() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -q -- "$2"
}

cluster_has_not() {
    ! cluster_has "$1" "$2"
}

# is_inactive N NAME: the leader, N, has not heard of that member for an election timeout.
is_inactive() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -oE "\"name\":\"$2\"[^}]*" | grep -q '"active":false'
}

log_count() {
    grep -ciE -- "$2" "$dir/node.$1.log"
}

logged() {
    [ "$(log_count "$1" "$2")" -gt 0 ]
}

config_index() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -oE '"config_index":[0-9]+'
}

lead() { # N: makes member mN the leader
    http POST "$1" /cluster/leader -L -d "m$1"
    wait_for $((5 * slow)) leads "$(port "$1")"
}

client() {
    echo "{\"client\":\"localhost:$(port "$1")\"${2:+,$2}}"
}

start 1 -name m1
eventually "member 1 is ready" 5 ready 1
for n in 2 3; do
    start $n -name m$n -join "localhost:$(port 1)"
    eventually "member $n is ready" 10 ready $n
done
eventually "three have a vote" 10 has_voters "$(port 1)" 3
check "member 1 leads" lead 1

# ---- tried without being done ----

before=$(config_index 1)
answers DELETE 1 '/cluster/members/m3?dry-run=1' 200
matches "a removal tried says what it would do" '"message":"after this: 2 voters, can lose 0"' "$body"
matches "and in numbers" '"voters":2,"learners":0,"reachable":2,"quorum":2,"can_lose":0' "$body"
answers PUT 1 '/cluster/members/m3?dry-run=1' 200 -d '{"role":"learner"}'
matches "a demotion" 'after this: 2 voters and 1 learner, can lose 0' "$body"
answers PUT 1 '/cluster/members/m3?dry-run=1' 200 -d '{"role":"voter"}'
matches "what is so already changes nothing" '"changes":false' "$body"
answers POST 1 '/cluster/members?dry-run=1' 200 -d "$(client 4)"
matches "an addition" 'after this: 3 voters and 1 learner, can lose 1; .*4 voters, can lose 1' "$body"
answers POST 1 '/cluster/members?dry-run=1' 200 -d "$(client 4 '"replaces":"m2"')"
matches "a replacement" 'takes the place of m2' "$body"
answers DELETE 2 '/cluster/members/m1?dry-run=1' 200 -L
answers DELETE 1 '/cluster/members/nobody?dry-run=1' 404
answers POST 1 '/cluster/members?dry-run=1' 409 -d "{\"client\":\"elsewhere.example:4001\"}"
matches "loopback and other addresses do not mix" 'localhost.*-host' "$body"
equals "nothing was changed" "$before" "$(config_index 1)"

# ---- a change that would lose the reachable quorum; repeated ones ----

term=$(term_of 1)
kill9 3
eventually "member 3 is seen to be down" 5 is_inactive 1 m3
answers DELETE 1 /cluster/members/m2 409
matches "removing one of two that answer is refused" '2 voters, only 1 of them reachable.*force=1' "$body"
answers DELETE 1 '/cluster/members/m2?dry-run=1' 409
answers PUT 1 /cluster/members/m2 409 -d '{"role":"learner"}'
answers PUT 1 /cluster/members/m2 409 -d "$(client 9 "\"peer\":\"localhost:$(peer_port 9)\"")"
answers DELETE 1 '/cluster/members/m2?dry-run=1&force=1' 200
answers POST 1 /cluster/members 409 -d "$(client 5)"
matches "a server that is not up is not added" "localhost:$(port 5)" "$body"
answers PUT 1 /db/going-on 201 -d yes
ghost="{\"id\":4711,\"name\":\"ghost\",\"client\":\"localhost:$(port 6)\",\"peer\":\"localhost:$(peer_port 6)\"}"
answers POST 1 /cluster/members 201 -d "$ghost"
answers POST 1 /cluster/members 200 -d "$ghost"
answers PUT 1 /cluster/members/ghost 409 -d '{"role":"voter"}'
answers PUT 1 /db/going-on 204 -d still
answers DELETE 1 /cluster/members/4711 204
answers DELETE 1 /cluster/members/ghost 204
answers POST 1 /cluster/members 409 -d "$ghost"
matches "an id that was removed never comes back" 'never used again' "$body"
answers DELETE 1 /cluster/members/m3 204
answers DELETE 1 /cluster/members/m3 204
equals "the second removal appended nothing" "$(config_index 1)" "$(config_index 2)"
start 3
eventually "the removed member learns it on its return" 10 ended 3
equals "and ends with status 0" 0 "$exit_status"
check "and says so" logged 3 "removed from the cluster"
timeout 20 "$raftd" -p "$(port 3)" -peer-port "$(peer_port 3)" "$dir/node.3" >>"$dir/node.3.log" 2>&1
equals "once more: status 1" 1 $?
matches "with one line that says what to do" 'removed.*-join' "$(tail -n 1 "$dir/node.3.log")"
equals "no leader was changed by all this" "$term" "$(term_of 1)"

# ---- removed, with a start script that says -join: it comes anew, as another member ----

id_of() {
    curl -s -m 5 "localhost:$(port 1)/cluster" | grep -oE "\"id\":[0-9]+,\"name\":\"$1\"" | grep -oE '[0-9]+' | head -n 1
}
start 3 -join "localhost:$(port 1)"
eventually "a removed member that is started with -join joins anew" 10 ready 3
eventually "under its name, with a vote" 10 has_voters "$(port 1)" 3
id=$(id_of m3)
stop 3
eventually "member 3 is seen to be down" 5 is_inactive 1 m3
answers DELETE 1 /cluster/members/m3 204
start 3 -join "localhost:$(port 1)"
eventually "one that was down then learns it at its first start, -join or not" 10 ended 3
equals "and ends with status 0" 0 "$exit_status"
start 3 -join "localhost:$(port 1)"
eventually "and joins anew at its next" 10 ready 3
eventually "with a vote" 10 has_voters "$(port 1)" 3
check "under a new id" [ "$id" != "$(id_of m3)" ]
answers PUT 1 /db/rejoined 201 -d yes
equals "with what the cluster has" yes "$(curl -s -m 6 "localhost:$(port 3)/db/rejoined")"
answers DELETE 1 /cluster/members/m3 204
eventually "it goes" 10 ended 3
equals "no leader was changed by all this" "$term" "$(term_of 1)"

# ---- replaced ----

start 4 -name m4
eventually "a server of its own is ready" 5 ready 4
answers POST 1 /cluster/members 201 -d "$(client 4 '"replaces":"m2"')"
eventually "the one that it replaces goes when the new one has its vote" 10 ended 2
equals "with status 0" 0 "$exit_status"
answers POST 1 /cluster/members 200 -d "$(client 4 '"replaces":"m2"')"
check "two have a vote" has_voters "$(port 1)" 2
check "and m2 is none of them" cluster_has_not 1 '"m2"'
equals "no leader was changed" "$term" "$(term_of 1)"
start 5 -name m5
eventually "another one is ready" 5 ready 5
answers POST 4 /cluster/members 201 -L -d "$(client 5 '"replaces":"m1"')"
eventually "the leader, replaced, goes, too" 10 ended 1
equals "with status 0" 0 "$exit_status"
eventually "two have a vote" 10 has_voters "$(port 5)" 2
equals "one leader was changed" $((term + 1)) "$(term_of 5)"

# ---- as a learner; the leader removed without -L ----

start 6 -name m6
eventually "another server is ready" 5 ready 6
answers POST 4 /cluster/members 201 -L -d "$(client 6 '"role":"learner"')"
eventually "it is a member" 10 cluster_has 6 '"m5"'
sleep 0.5
check "an invited learner stays one" has_voters "$(port 4)" 2
answers PUT 5 /cluster/members/m6 204 -L -d '{"role":"voter"}'
answers PUT 5 /cluster/members/m6 204 -L -d '{"role":"voter"}'
check "until it is promoted" has_voters "$(port 4)" 3
check "member 4 leads" lead 4
term=$(term_of 4)
answers DELETE 4 /cluster/members/m4 204
eventually "the leader that was asked to remove itself ends" 10 ended 4
equals "with status 0" 0 "$exit_status"
eventually "and another leads" 5 has_leader
equals "in the next term" $((term + 1)) "$(term_of "$(leader)")"
check "m4 is gone" cluster_has_not 5 '"m4"'
other=$([ "$(leader)" = 5 ] && echo 6 || echo 5)
answers PUT "$(leader)" "/cluster/members/m$(leader)" 204 -d '{"role":"learner"}'
eventually "a leader that is demoted hands over, too" 5 leads "$(port "$other")"
equals "in the next term" $((term + 2)) "$(term_of "$other")"
answers PUT "$other" "/cluster/members/m$((11 - other))" 204 -d '{"role":"learner"}' # again, which changes nothing
check "it is a learner" has_voters "$(port "$other")" 1
answers PUT "$other" "/cluster/members/m$((11 - other))" 204 -d '{"role":"voter"}'

# ---- a DATADIR that is lost ----

start 7 -name m7 -join "localhost:$(port 5)"
eventually "member 7 is ready" 10 ready 7
eventually "and has its vote" 10 has_voters "$(port 5)" 3
check "member 5 leads" lead 5
term=$(term_of 5)
kill9 7
rm -rf "$dir/node.7"
timeout 20 "$raftd" -p "$(port 7)" -peer-port "$(peer_port 7)" -name m7 -join "localhost:$(port 6)" "$dir/node.7" >"$dir/lost.log" 2>&1
equals "without its DATADIR it cannot join under its old name" 1 $?
equals "it says why in one line" 1 "$(grep -c '^raftd: ' "$dir/lost.log")"
matches "and what to do" 'm7.*DELETE.*cluster/members/m7' "$(grep '^raftd: ' "$dir/lost.log")"
rm -rf "$dir/node.7"
timeout 20 "$raftd" -p "$(port 7)" -peer-port "$(peer_port 7)" -name new7 -join "localhost:$(port 6)" "$dir/node.7" >"$dir/lost.log" 2>&1
equals "nor at its old address" 1 $?
matches "and the same is to be done" "localhost:$(port 7).*DELETE.*cluster/members/m7" "$(grep '^raftd: ' "$dir/lost.log")"
rm -rf "$dir/node.7"
start 7 -name m7
eventually "started without -join it is a cluster of its own" 5 ready 7
sleep $((1 * slow))
equals "the others say so once" 1 "$(log_count 5 'another cluster')"
matches "and what to do" 'm7.*DELETE' "$(grep -i 'another cluster' "$dir/node.5.log")"
answers PUT 5 /db/undisturbed 201 -d yes
equals "no leader was changed" "$term" "$(term_of 5)"
stop 7
rm -rf "$dir/node.7"
start 7 -name again7
eventually "a new server at the old address" 5 ready 7
answers POST 5 /cluster/members 201 -d "$(client 7 '"replaces":"m7"')"
eventually "takes the place of what was lost" 10 cluster_has_not 5 '"m7"'
eventually "with a vote" 10 has_voters "$(port 5)" 3
eventually "and reads" 10 test_value 7 undisturbed yes
equals "no leader was changed" "$term" "$(term_of 5)"

# ---- a copy of a DATADIR beside its original ----

# copy_runs N: a copy of member N's DATADIR is started elsewhere, and ends; the others and the original do not mind.
copy_runs() {
    local n=$1 began
    stop "$n"
    cp -r "$dir/node.$n" "$dir/copy.$n"
    start "$n"
    eventually "member $n is back" 10 ready "$n"
    [ "$2" != leads ] || check "member $n leads" lead "$n"
    eventually "there is a leader" 10 has_leader
    term=$(term_of 5)
    began=$SECONDS
    timeout $((30 * slow)) "$raftd" -p "$(port 19)" -peer-port "$(peer_port 19)" "$dir/copy.$n" >"$dir/copy.log" 2>&1
    equals "a copy of the DATADIR of member $n, which $2, ends with status 1" 1 $?
    check "soon" [ $((SECONDS - began)) -lt $((15 * slow)) ]
    matches "and says why" 'speaks from localhost:'"$(peer_port "$n")"'.*copy of a DATADIR' "$(grep '^raftd: ' "$dir/copy.log")"
    matches "and so do the others" 'two processes run as one member' "$(grep -h 'two processes' "$dir"/node.[567].log | tail -n 1)"
    http PUT 5 /db/beside-a-copy -L -d yes
    matches "the cluster writes" '^20[14]$' "$status"
    check "the address is the original's" cluster_has 5 "localhost:$(peer_port "$n")"
    check "and not the copy's" cluster_has_not 5 "localhost:$(peer_port 19)"
    equals "no leader was changed" "$term" "$(term_of 5)"
}
copy_runs 6 follows
copy_runs 6 leads
check "member 5 leads" lead 5

# ---- moved; forced ----

answers PUT 5 /cluster/members/again7 409 -d "$(client 9 "\"peer\":\"localhost:$(peer_port 9)\"")"
matches "a member that is up is moved by itself alone" 'again7 is up.*-host' "$body"
answers PUT 5 '/cluster/members/again7?dry-run=1' 409 -d "$(client 9)"
answers PUT 5 /cluster/members/m5 409 -d "$(client 9)"
answers PUT 5 /cluster/members/again7 204 -d "$(client 7)"

stop 7
eventually "member 7 is seen to be down" 5 is_inactive 5 again7
answers PUT 5 '/cluster/members/again7?dry-run=1' 200 -d "$(client 9 "\"peer\":\"localhost:$(peer_port 9)\"")"
matches "a move tried says what it would do" 'after this: 3 voters, 2 of them reachable now' "$body"
answers PUT 5 /cluster/members/again7 204 -d "$(client 9 "\"peer\":\"localhost:$(peer_port 9)\"")"
answers PUT 5 /cluster/members/again7 204 -d "$(client 9 "\"peer\":\"localhost:$(peer_port 9)\"")"
check "a member that is down is moved" cluster_has 5 "localhost:$(peer_port 9)"
answers PUT 5 /cluster/members/again7 409 -d "$(client 6)"
answers DELETE 5 '/cluster/members/m6?force=1' 504
start 7
check "with a quorum again it goes on, the change done or not" write_until forced yes $((15 * slow)) 5 7
answers DELETE 7 /cluster/members/m6 204 -L
eventually "the one removed ends" 10 ended 6
equals "with status 0" 0 "$exit_status"
eventually "a member says itself where it is" 5 cluster_has 5 "localhost:$(port 7)"
finish
