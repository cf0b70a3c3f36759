#!/usr/bin/env bash
# The README of balchua/balsa, line by line: three nodes that are each a cluster of their own, joined by GETs, a thousand
# writes, and what it still had to do: get, remove, keeping the data.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/profiles.sh"
begin 17
scripts=$(cd "$(dirname "$0")/../../scripts/walkthrough" && pwd)

balsa() {
    echo "http://localhost:$(port "$1")"
}

# startn N [keep]: ./startnN.sh, on the ports of this test.
startn() {
    local n=$1
    shift
    launch "$n" env RAFTD="$(cd "$(dirname "$raftd")" && pwd)/raftd" HTTP_SERVER_PORT="$(port "$n")" \
        RAFT_SERVER_PORT="$(peer_port "$n")" RAFTD_ADMIN="$(port $((9 + n)))" RAFTD_DEBUG=true "$scripts/startn$n.sh" "$@"
}

# ---- ./startn1.sh, ./startn2.sh, ./startn3.sh ----

for n in 1 2 3; do
    startn $n
    eventually "startn$n.sh starts it" 10 listens "$(port $n)"
    logs $n "^Starting node$n$"
    logs $n '^Cleaning the raft volumes\.$'
    check "its data is in its volume" [ -d "$dir/n${n}a" ]
    logs $n '\[INFO\] .*entering leader state: leader="Node at 127\.0\.0\.1:[0-9]+ \[Leader\]"'
done
logs 1 '\[INFO\] .*initial configuration: index=1 servers="\[\{Voter n1 127\.0\.0\.1:[0-9]+\}\]"'
logs 1 '\[INFO\] .*entering candidate state: node="Node at 127\.0\.0\.1:[0-9]+ \[Candidate\]" term=2'
logs 1 '\[DEBUG\] .*votes: needed=1'
logs 1 '\[INFO\] .*election won: tally=1'
# The kernel's table of sockets: those that listen (0A) at that port.
equals "it listens on 127.0.0.1 alone" 0100007F \
    "$(awk -v port="$(printf %04X "$(port 1)")" '$4 == "0A" && $2 ~ ":" port "$" { sub(/:.*/, "", $2); print $2 }' /proc/net/tcp)"

# ---- curl "http://localhost:8000/join?nodeId=n2&raftPort=9001", then n3 ----

for n in 2 3; do
    gives "join n$n" 200 "" "$(balsa 1)/join?nodeId=n$n&raftPort=$(peer_port $n)"
    logs 1 "\[INFO\] .*node is n$n$"
    logs 1 "\[INFO\] .*Joining node n$n on host 127\.0\.0\.1:$(peer_port $n)$"
    logs 1 "\[INFO\] .*updating configuration: command=AddStaging server-id=n$n server-addr=127\.0\.0\.1:$(peer_port $n) .*servers=\"\[.*\]\""
    logs 1 "\[INFO\] .*added peer, starting replication: peer=n$n"
    logs 1 "\[INFO\] .*pipelining replication: peer=n$n"
    logs 1 "\[WARN\] .*appendEntries rejected, sending older logs: peer=n$n next="
    logs $n '\[WARN\] .*failed to get previous log: previous-index=[0-9]+ last-index=[0-9]+ error="log not found"'
    logs $n '\[INFO\] .*entering follower state: follower="Node at 127\.0\.0\.1:[0-9]+ \[Follower\]"'
done
logs 1 '\[INFO\] .*Join handler called'
settle 3
gives "join again changes nothing" 200 "" -L "$(balsa 2)/join?nodeId=n2&raftPort=$(peer_port 2)"
settle 3

# ---- curl "http://localhost:8000/set?key=1&value=1", ./pump.sh ----

gives "set" 200 "" "$(balsa 1)/set?key=1&value=one"
logs 1 '\[INFO\] .*Set handler called'
logs 1 '\[DEBUG\] .*Create key 1 with value one'
gives "get" 200 "one" "$(balsa 2)/get?key=1"
check "pump.sh writes a thousand" env HTTP_SERVER_PORT="$(port 1)" "$scripts/pump.sh"
gives "the first is there" 200 "1" "$(balsa 3)/get?key=1"
gives "and the last" 200 "1000" "$(balsa 2)/get?key=1000"

# On a follower the original lost the value and said 200.
follower=$(for n in 2 3; do leads "$(port $((9 + n)))" || echo $n; done | head -n 1)
gives "set on a follower" 307 "raft.Server: Not current leader\n" "$(balsa "$follower")/set?key=f&value=v"
logs "$follower" '\[INFO\] .*Set handler called'
logs "$follower" '\[INFO\] .*Not a leader, do nothing'
gives "which sets nothing" 404 "raftd: no such key\n" "$(balsa 1)/get?key=f"
gives "curl -L sets it" 200 "" -L "$(balsa "$follower")/set?key=f&value=a+b%2Bc"
gives "and there it is" 200 "a b+c" "$(balsa 3)/get?key=f"
gives "join on a follower" 307 "raft.Server: Not current leader\n" "$(balsa "$follower")/join?nodeId=n4&raftPort=$(peer_port 4)"
logs "$follower" 'not a leader'
logs "$follower" '\[WARN\] .*Invalid voter'

# ---- its TODOs ----

gives "remove" 200 "" -L "$(balsa 3)/remove?key=f"
gives "then it is gone" 404 "raftd: no such key\n" "$(balsa 1)/get?key=f"
gives "and cannot be removed again" 404 "raftd: no such key\n" -L "$(balsa 1)/remove?key=f"
for n in 1 2 3; do kill9 $n; done
export RAFTD_LOG_MAX_ENTRIES=100 # from now on: the thousand writes are more than a log may hold
for n in 3 1 2; do startn $n keep; done
for n in 1 2 3; do
    eventually "node $n keeps its data through kill -9 of all" 20 has_body 500 "$(balsa $n)/get?key=500"
done
settle 3

# Snapshotting: the log loses its beginning, nothing else is lost, and a node that joins now gets the map instead.
log_is_short() {
    [ "$(curl -s "http://127.0.0.1:$(port $((9 + $1)))/status" | grep -oE '"log_first":[0-9]+' | cut -d: -f2)" -gt 500 ] 2>/dev/null
}
for n in 1 2 3; do
    eventually "the log of node $n begins late" 10 log_is_short $n
    gives "what went with its beginning is in the map" 200 "2" "$(balsa $n)/get?key=2"
done
launch 4 env HTTP_SERVER_PORT="$(port 4)" RAFT_SERVER_PORT="$(peer_port 4)" RAFT_NODE_ID=n4 RAFT_VOLUME_DIR=n4a "$raftd"
eventually "a fourth node starts" 10 listens "$(port 4)"
gives "join n4" 200 "" -L "$(balsa 1)/join?nodeId=n4&raftPort=$(peer_port 4)"
eventually "it has what the log of no node has any more" 20 has_body 2 "$(balsa 4)/get?key=2"
one_sent_the_map() {
    grep -q 'map written to a file for members that fell behind' "$dir"/node.[123].log
}
check "for it was sent the map" one_sent_the_map
settle 4
gives "the last write is there, too" 200 "1000" "$(balsa 4)/get?key=1000"
gives "remove n4" 200 "" -L "$(balsa 2)/remove?nodeId=n4"
shuts_itself_down 4
settle 3
unset RAFTD_LOG_MAX_ENTRIES

# ---- the leader dies: the log's words for it ----

for n in 1 2 3; do : >"$dir/node.$n.log"; done
lead=$(for n in 1 2 3; do leads "$(port $((9 + n)))" && echo $n; done)
kill9 "$lead"
rest=("${!pids[@]}")
eventually "the others go on" 15 has_status 200 -L "$(balsa "${rest[0]}")/set?key=after&value=kill"
one_logs() {
    grep -qE -- "$1" "$dir/node.${rest[0]}.log" "$dir/node.${rest[1]}.log"
}
for line in "\[WARN\] .*heartbeat timeout reached, starting election: .*last-leader=" \
    '\[INFO\] .*entering candidate state: node="Node at .* \[Candidate\]" term=' '\[DEBUG\] .*votes: needed=2' \
    '\[DEBUG\] .*vote granted: from=n[123] term=[0-9]+ tally=2' '\[INFO\] .*election won: tally=2' \
    '\[INFO\] .*entering leader state: leader="Node at .* \[Leader\]"'; do
    eventually "a node logs $line" 5 one_logs "$line"
done
startn "$lead" keep
eventually "it is back" 10 has_body kill "$(balsa "$lead")/get?key=after"

# ---- remove a node ----

leaderless=$(for n in 1 2 3; do leads "$(port $((9 + n)))" || echo $n; done | tail -n 1)
gives "remove?nodeId=" 200 "" -L "$(balsa "$leaderless")/remove?nodeId=n$leaderless"
shuts_itself_down "$leaderless"
n=$(for n in "${!pids[@]}"; do echo "$n" && break; done)
gives "the others go on" 200 "kill" "$(balsa "$n")/get?key=after"
curls -L "$(balsa "$n")/remove?nodeId=n9"
equals "a node that never was" 404 "$status"

# ---- what killed the original, or was 200 ----

for bad in 'join?nodeId=n2&raftPort=x' 'join?nodeId=n2&raftPort=70000' 'join?nodeId=n2' 'join?raftPort=9001' 'set?key=a' \
    'set?value=a' 'get' 'get?key=' 'set?key=%zz&value=1' 'remove'; do
    curls -L "$(balsa "$n")/$bad"
    equals "/$bad" 400 "$status"
done
curls -L "$(balsa "$n")/join?nodeId=n7&raftPort=$(peer_port 7)"
equals "join of nobody" 409 "$status"
for path in 'set?key=x&value=y' 'remove?key=1' 'join?nodeId=n2&raftPort=9001' 'get?key=1'; do
    curls -H 'Sec-Fetch-Site: cross-site' "$(balsa "$n")/$path"
    equals "/$path asked for by a page of another site" 403 "$status"
done
gives "a page of its own may" 200 "1" -H 'Sec-Fetch-Site: same-origin' "$(balsa "$n")/get?key=1"
curls "$(balsa "$n")/other"
equals "another path" 404 "$status"

finish
