#!/usr/bin/env bash
# The tour of the README, line by line, as a newcomer types it: three members with the default options, curl, kill -9.
. "$(dirname "$0")/lib.sh"
begin 0

# As on the command line: no -peer-port.
start_plainly() {
    local n=$1
    shift
    "$raftd" -p "$(port "$n")" "$@" "$dir/node.$n" >>"$dir/node.$n.log" 2>&1 </dev/null &
    pids[$n]=$!
}

start_plainly 1
eventually "a new DATADIR is a cluster of one" 5 ready 1
start_plainly 2 -join "localhost:$(port 1)"
start_plainly 3 -join "localhost:$(port 1)"
for n in 2 3; do
    eventually "member $n joined" 10 ready $n
done
eventually "all three have a vote" 10 has_voters "$(port 1)" 3

equals "POST prints nothing" "" "$(curl -sS -XPOST "localhost:$(port 1)/db/foo" -d bar)"
equals "another member reads it" bar "$(curl -sS "localhost:$(port 2)/db/foo")"
equals "POST is 200" 200 "$(curl -sS -o /dev/null -w '%{http_code}' -XPOST "localhost:$(port 1)/db/foo" -d bar)"
equals "a follower says that it is none" "raft.Server: Not current leader" "$(curl -sS -XPOST "localhost:$(port 2)/db/foo" -d baz)"
equals "and wrote nothing" bar "$(curl -sS "localhost:$(port 3)/db/foo")"
equals "curl -L writes through any member" "" "$(curl -sS -L -XPOST "localhost:$(port 2)/db/foo" -d baz)"
for n in 1 2 3; do
    equals "member $n reads what was written last" baz "$(curl -sS "localhost:$(port $n)/db/foo")"
done

killed=$(leader)
equals "the first member leads" 1 "$killed"
kill9 "$killed"
died=$(now_ms)
check "a write is acknowledged after kill -9 of the leader" write_until foo after-the-kill $((5 * slow)) 2 3
took=$(($(now_ms) - died))
check "within a second (it took $took ms)" [ $took -lt $((1000 * slow)) ]
equals "and a read" after-the-kill "$(curl -sS "localhost:$(port 3)/db/foo")"

term=$(term_of 2)
start_plainly "$killed"
eventually "the killed member is ready again" 10 ready "$killed"
has_everything() {
    [ "$(curl -sS "localhost:$(port "$killed")/db/foo?stale")" = after-the-kill ]
}
eventually "it has everything" 5 has_everything # a stale read may be some milliseconds behind what is applied
sleep 1
equals "it deposed nobody" "$term" "$(term_of 2)"
equals "and has that term itself" "$term" "$(term_of "$killed")"

rss=$(awk '/^VmRSS/ { print $2 }' "/proc/${pids[2]}/status")
if [ -z "$sanitized" ]; then
    check "resident memory is under 12 MB (it is $rss KB)" [ "$rss" -lt 12288 ]
fi
finish
