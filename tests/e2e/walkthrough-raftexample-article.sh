#!/usr/bin/env bash
# The article "Using etcd raftexample for Go", line by line: one node, a second and a third that join it, and the step where its
# readers stumble: a member joins at its first run, whether it was started before or after it was added.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/profiles.sh"
begin 15
raftexample=$(program raftexample)

node() {
    local n=$1 list
    shift
    # shellcheck disable=SC2046 # numbers
    list=$(peer_urls $(seq "$n"))
    launch "$n" env RAFTD_ADMIN="$(port $((9 + n)))" "$raftexample" --id "$n" --cluster "$list" --port "$(port "$n")" "$@"
}

# ---- one node ----

node 1
eventually "node 1 serves" 10 listens "$(port 1)"
gives "curl -L /key -XPUT -d foo" 204 "" -L "$(kv 1)/key" -XPUT -d foo
gives "curl -L /key" 200 "foo" -L "$(kv 1)/key"

# ---- the second: added, then started ----

gives "curl -L /2 -XPOST -d URL" 204 "" -L "$(kv 1)/2" -XPOST -d "$(peer_url 2)"
gives "node 1 goes on alone" 200 "foo" -L "$(kv 1)/key"
node 2 --join
eventually "node 2 joins at its first run, and has the value" 20 has_body foo -L "$(kv 2)/key"
settle 2

# ---- the third: started, then added ----

node 3 --join
eventually "node 3 is up" 10 listens "$(port 3)"
logs 3 "waiting to be added"
check "it waits" runs "${pids[3]}"
curls -L "$(kv 3)/key"
equals "and says that it is no member yet" 503 "$status"
gives "curl -L /3 -XPOST -d URL" 204 "" -L "$(kv 1)/3" -XPOST -d "$(peer_url 3)"
eventually "node 3 joins at its first run, and has the value" 20 has_body foo -L "$(kv 3)/key"
settle 3
for n in 1 2 3; do
    gives "GET on node $n" 200 "foo" -L "$(kv $n)/key"
    check "no node panics" [ "$(grep -ciE 'panic|no peers given' "$dir/node.$n.log")" = 0 ]
done

# ---- write to any member ----

for n in 3 2 1; do
    gives "write to node $n" 204 "" -L "$(kv $n)/key" -XPUT -d "bar-$n"
    for m in 1 2 3; do
        gives "read it at node $m" 200 "bar-$n" -L "$(kv $m)/key"
    done
done

# ---- stop node 2, overwrite, start it again and read from it; with --join as before, and without ----

for join in --join=true --join=false; do
    stop 2
    equals "node 2 stops" 0 "$exit_status"
    eventually "write without it" 10 has_status 204 -L "$(kv 1)/key" -XPUT -d "without-2 $join"
    gives "read it at node 3" 200 "without-2 $join" -L "$(kv 3)/key"
    node 2 $join
    eventually "node 2 is back and has it" 10 has_body "without-2 $join" -L "$(kv 2)/key"
done

# ---- the same with kill -9, of all of them ----

for n in 1 2 3; do
    kill9 $n
done
for n in 2 3 1; do
    node $n --join
done
for n in 1 2 3; do
    eventually "node $n has it after kill -9 of all" 20 has_body "without-2 --join=false" -L "$(kv $n)/key"
done

# ---- stop node 2, remove it ----

stop 2
eventually "curl -L /2 -XDELETE" 10 has_status 204 -L "$(kv 1)/2" -XDELETE
settle 2
gives "write to node 3" 204 "" -L "$(kv 3)/key" -XPUT -d left
gives "read it at node 1" 200 "left" -L "$(kv 1)/key"
node 2
shuts_itself_down 2

# ---- it may come again: added anew, as another member of that name ----

gives "POST /2 again" 204 "" -L "$(kv 1)/2" -XPOST -d "$(peer_url 2)"
node 2 --join
eventually "it joins with what it missed" 20 has_body left -L "$(kv 2)/key"
settle 3

# ---- without a majority nothing hangs, where the original said 204 once and then nothing ----

kill9 2
kill9 3
curls -m 12 "$(kv 1)/unknown" -XPUT -d perhaps
matches "a write without a majority ends" '^(307|50[34])$' "$status"
eventually "and then is refused at once" 15 has_status 503 "$(kv 1)/unknown" -XPUT -d perhaps
curls "$(kv 1)/key"
equals "so is a read" 503 "$status"
gives "but ?stale" 200 "left" "$(kv 1)/key?stale"
node 3
eventually "with one more all goes on" 20 has_body left "$(kv 1)/key"
eventually "and is written" 10 has_status 204 -L "$(kv 1)/key" -XPUT -d again
finish
