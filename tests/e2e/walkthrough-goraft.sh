#!/usr/bin/env bash
# The README of goraft/raftd, line by line: its commands and curl lines in its order, each with its documented result, or the
# honest one where the original had a bug.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/profiles.sh"
begin 13

url() {
    echo "http://localhost:$(port "$1")"
}

# -peer-port only because what else runs on this machine may have the default one.
raftd_node() {
    local n=$1
    shift
    launch "$n" "$raftd" "$@" -p "$(port "$n")" -peer-port "$(peer_port "$n")" "$dir/node.$n"
}

# ---- Running ----

said=$("$raftd" 2>&1) && not_ok "raftd without a path fails"
matches "without a path" 'Data path argument required' "$said"

# raftd -p 4001 ~/node.1
raftd_node 1 -v
eventually "raftd -p 4001 ~/node.1 serves" 10 ready 1
logs 1 "\[INFO\].*Verbose logging enabled\."
logs 1 "\[INFO\].*Initializing Raft Server: $dir/node\.1$"
logs 1 "\[INFO\].*Initializing new cluster"
logs 1 "\[INFO\].*Initializing HTTP server"
logs 1 "\[INFO\].*Listening at: http://localhost:$(port 1)$"

# raftd -p 4002 -join localhost:4001 ~/node.2
raftd_node 2 -join "localhost:$(port 1)" -debug
raftd_node 3 -join "localhost:$(port 1)" -trace
for n in 2 3; do
    eventually "node $n joined" 10 ready $n
    logs $n "\[INFO\].*Attempting to join leader: localhost:$(port 1)"
done
logs 2 "Raft debugging enabled\."
logs 3 "Raft trace debugging enabled\."
eventually "all three vote" 10 has_voters "$(port 1)" 3

# ---- the key-value store ----

gives "curl -XPOST /db/my_key -d FOO" 200 "" -X POST "$(url 1)/db/my_key" -d 'FOO'
gives "curl /db/my_key" 200 "FOO" "$(url 1)/db/my_key"
gives "a missing key" 404 "raftd: no such key\n" "$(url 1)/db/none"
gives "no -d stores the empty value" 200 "" -X POST "$(url 1)/db/empty"
gives "which is no missing key" 200 "" "$(url 1)/db/empty"
gives "a write at a follower is denied" 307 "raft.Server: Not current leader\n" -X POST "$(url 2)/db/my_key" -d 'BAR'
gives "and changes nothing" 200 "FOO" "$(url 3)/db/my_key"
gives "curl -L writes through any member" 200 "" -L -X POST "$(url 3)/db/my_key" -d 'BAZ'

# ---- Replication: each has what one was told ----

gives "POST foo" 200 "" -XPOST "$(url 1)/db/foo" -d 'bar'
for n in 1 2 3; do
    gives "GET foo at node $n" 200 "bar" "$(url $n)/db/foo"
done

# ---- Leader election: kill node 1, start it again without -join; it is denied ----

equals "node 1 leads" 1 "$(leader)"
kill9 1
eventually "another one leads" 10 has_leader
eventually "GET foo at node 2" 10 has_body bar "$(url 2)/db/foo"
check "two of three take writes" write_until three two $((10 * slow)) 2 3
raftd_node 1
eventually "node 1 is back" 10 ready 1
logs 1 "Recovered from log: $dir/node\.1$"
gives "the restarted node is not the leader" 307 "raft.Server: Not current leader\n" -XPOST "$(url 1)/db/foo" -d 'bar'
curls "$(url 1)/status"
matches "it follows" '"role": *"follower"' "$body"
gives "curl -L finds the leader" 200 "" -L -XPOST "$(url 1)/db/foo" -d 'bar'

# -join may stay on the command line.
stop 2
equals "node 2 stops" 0 "$exit_status"
raftd_node 2 -join "localhost:$(port 1)"
eventually "node 2 is back, with -join as before" 10 ready 2
gives "GET foo there" 200 "bar" "$(url 2)/db/foo"

# ---- joining through a follower, and goraft's own form of it ----

follower=$(followers | head -n 1)
raftd_node 4 -join "localhost:$(port "$follower")"
eventually "node 4 joined through a follower" 10 ready 4
raftd_node 5
eventually "node 5 is a cluster of its own" 10 ready 5
gives "POST /join" 200 "" -L -X POST "$(url 1)/join" -d "{\"name\":\"\",\"connectionString\":\"$(url 5)\"}"
eventually "five vote" 15 has_voters "$(port 1)" 5
gives "GET foo at node 5" 200 "bar" "$(url 5)/db/foo"

# A join that cannot be is no success.
code=0
timeout 20 "$raftd" -p "$(port 6)" -peer-port "$(peer_port 6)" -join "localhost:$(port 9)" -join-timeout 500 "$dir/node.6" >"$dir/out.6" 2>&1 || code=$?
equals "a join of nobody ends with status 1" 1 $code

# ---- Caveats: 5 tolerate 2, 3 tolerate 1, 2 tolerate none ----

one=$(leader)
two=$(followers | head -n 1)
kill9 "$one"
kill9 "$two"
rest=("${!pids[@]}")
check "three of five take writes" write_until count five 20 "${rest[@]}"
kill9 "${rest[0]}"
eventually "two of five do not, and say so" 15 has_status 503 -L -X POST "$(url "${rest[1]}")/db/count" -d 'lost'

raftd_node 7
eventually "node 7 is a cluster of its own" 10 ready 7
raftd_node 8 -join "localhost:$(port 7)"
eventually "two vote" 15 has_voters "$(port 7)" 2
gives "two of two take writes" 200 "" -L -X POST "$(url 7)/db/two" -d 'yes'
kill9 8
curls -m 12 -X POST "$(url 7)/db/two" -d 'lost'
matches "one of two does not update the system, and does not hang" '^(307|50[34])$' "$status"
gives "but has what was written" 200 "yes" "$(url 7)/db/two?stale"
finish
