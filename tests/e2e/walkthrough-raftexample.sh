#!/usr/bin/env bash
# The README of etcd's raftexample, line by line: a single node, the Procfile's cluster, fault tolerance, adding and removing
# members.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/profiles.sh"
begin 14
raftexample=$(program raftexample)
procfile=$(dirname "$0")/../../scripts/walkthrough/Procfile

# ---- Running single node raftexample ----

mkdir "$dir/single"
launch 1 env -C "$dir/single" "$raftexample" --id 1 --cluster "$(peer_url 1)" --port "$(port 1)"
eventually "a single node serves" 10 listens "$(port 1)"
gives "curl -L /my-key -XPUT -d hello" 204 "" -L "$(kv 1)/my-key" -XPUT -d hello
gives "curl -L /my-key" 200 "hello" -L "$(kv 1)/my-key"
check "its data is in raftexample-1 of the working directory" [ -d "$dir/single/raftexample-1" ]
stop 1
equals "it stops" 0 "$exit_status"
launch 1 env -C "$dir/single" "$raftexample" --id 1 --cluster "$(peer_url 1)" --port "$(port 1)" --join=false
eventually "a restarted node has what it had" 10 has_body hello "$(kv 1)/my-key"
logs 1 '\[INFO\] .*replaying WAL of member 1$'
logs 1 '\[INFO\] .*loading WAL at term [0-9]+ and index [0-9]+$'
stop 1

# Its snapshots: one each 10000 entries, so many are kept; here less.
launch 1 env -C "$dir/single" RAFTD_LOG_MAX_ENTRIES=100 "$raftexample" --id 1 --cluster "$(peer_url 1)" --port "$(port 1)"
eventually "it is started with a log that shall stay short" 10 has_body hello "$(kv 1)/my-key"
many_puts "$(kv 1)/often" 300
logs 1 '\[INFO\] .*start snapshot \[applied index: [0-9]+ \| last snapshot index: [0-9]+\]$'
logs 1 '\[INFO\] .*compacted log at index [0-9]+$'
stop 1
launch 1 env -C "$dir/single" "$raftexample" --id 1 --cluster "$(peer_url 1)" --port "$(port 1)"
eventually "what went with the log's beginning is there" 10 has_body hello "$(kv 1)/my-key"
gives "and what came last" 200 "300" "$(kv 1)/often"
stop 1

# ---- Running a local cluster: goreman start ----

# goreman N: what the Procfile says for raftexampleN, on the ports of this test.
goreman() {
    local line
    line=$(sed -n "s/^raftexample$1: raftexample //p" "$procfile" |
        sed -E "s/:([123])2379/:PEER\1/g; s/--port ([123])2380/--port KV\1/")
    for n in 1 2 3; do
        line=${line//PEER$n/$(peer_port $n)}
        line=${line//KV$n/$(port $n)}
    done
    # shellcheck disable=SC2086 # words of a command
    launch "$1" env RAFTD_ADMIN="$(port $((9 + $1)))" "$raftexample" $line
}

for n in 3 2 1; do
    goreman $n
done
for n in 1 2 3; do
    eventually "raftexample$n serves" 20 listens "$(port $n)"
done
settle 3
for n in 1 2 3; do
    gives "write to any member" 204 "" -L "$(kv $n)/any-$n" -XPUT -d "written-at-$n"
    for m in 1 2 3; do
        gives "retrieve it from any member" 200 "written-at-$n" -L "$(kv $m)/any-$n"
    done
done

# ---- Fault Tolerance ----

gives "curl -L /my-key -XPUT -d foo" 204 "" -L "$(kv 1)/my-key" -XPUT -d foo
stop 2
equals "goreman run stop raftexample2" 0 "$exit_status"
eventually "curl -L /my-key -XPUT -d bar" 10 has_status 204 -L "$(kv 1)/my-key" -XPUT -d bar
gives "curl -L 32380/my-key" 200 "bar" -L "$(kv 3)/my-key"
goreman 2
eventually "goreman run start raftexample2: it has bar" 10 has_body bar -L "$(kv 2)/my-key"

# ---- Dynamic cluster reconfiguration: add ----

gives "POST /4 of a member that is not up" 204 "" -L "$(kv 1)/4" -XPOST -d "$(peer_url 4)"
gives "again, which changes nothing" 204 "" -L "$(kv 2)/0x4" -XPOST -d "$(peer_url 4)"
gives "it blocks nobody" 204 "" -L "$(kv 3)/my-key" -XPUT -d bar
launch 4 env RAFTD_ADMIN="$(port 13)" "$raftexample" --id 4 --cluster "$(peer_urls 1 2 3 4)" --port "$(port 4)" --join
eventually "node 4 joins and serves" 20 has_body bar -L "$(kv 4)/my-key"
settle 4
gives "write to node 4" 204 "" -L "$(kv 4)/four" -XPUT -d 4
gives "read it from node 1" 200 "4" -L "$(kv 1)/four"

# ---- and remove ----

gives "curl -L /3 -XDELETE" 204 "" -L "$(kv 1)/3" -XDELETE
shuts_itself_down 3
settle 3
gives "the others go on" 204 "" -L "$(kv 2)/my-key" -XPUT -d after
gives "and read" 200 "after" -L "$(kv 4)/my-key"

# One that was down when it was removed learns it when it comes back, whatever it is started with.
stop 4
eventually "DELETE /4 of a stopped member" 10 has_status 204 -L "$(kv 1)/4" -XDELETE
launch 4 "$raftexample" --id 4 --cluster "$(peer_urls 1 2 3 4)" --port "$(port 4)" --join
shuts_itself_down 4

# Removing the one that leads: the others elect, it goes.
gives "DELETE of the leader" 204 "" -L "$(kv 1)/$(curl -s "http://127.0.0.1:$(port 10)/status" | sed 's/.*"leader":"\([0-9]*\)".*/\1/')" -XDELETE
for n in 1 2; do
    if wait_for 10 ended $n; then
        equals "it ends with status 0" 0 "$exit_status"
        logs $n "I've been removed from the cluster! Shutting down\."
        break
    fi
done
rest=("${!pids[@]}")
equals "one member is left" 1 ${#rest[@]}
eventually "and serves" 10 has_body after -L "$(kv "${rest[0]}")/my-key"
n=${rest[0]}

# ---- what its program does beside that ----

gives "a missing key" 404 "Failed to GET\n" "$(kv "$n")/missing"
gives "a member that is no number" 400 "Failed on POST\n" "$(kv "$n")/x" -XPOST -d "$(peer_url 5)"
gives "and to remove" 400 "Failed on DELETE\n" "$(kv "$n")/x" -XDELETE
curls "$(kv "$n")/5" -XPOST -d 'nonsense'
equals "a URL that is none" 400 "$status"
gives "another method" 405 "Method not allowed\n" "$(kv "$n")/my-key" -XPATCH
curls -I "$(kv "$n")/my-key"
equals "HEAD, too" 405 "$status"
equals "with four Allow headers" 4 "$(curl -s -o /dev/null -D - -X OPTIONS "$(kv "$n")/my-key" | grep -c '^Allow: ')"
gives "the query is no part of the key" 200 "after" "$(kv "$n")/my-key?x"
gives "a key may have slashes and any bytes" 204 "" "$(kv "$n")/a/b%20c" -XPUT --data-binary 'v'
gives "and is found" 200 "v" "$(kv "$n")/a/b%20c"
gives "the store is the one of -admin's member" 200 "alive\n" "http://127.0.0.1:$(port $((9 + n)))/livez"
gives "which has no keys" 404 "raftd: no such path\n" "http://127.0.0.1:$(port $((9 + n)))/my-key"
finish
