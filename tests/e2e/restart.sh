#!/usr/bin/env bash
# What was written is there after orderly stops and starts: of a lone member, of one of three, of all three.
. "$(dirname "$0")/lib.sh"
begin 1

start 1
eventually "a lone member is ready" 5 ready 1
equals "DATADIR is for its owner alone" 700 "$(stat -c %a "$dir/node.1")"
for i in $(seq 50); do
    curl -sS -f -X PUT "localhost:$(port 1)/db/key-$i" -d "value $i" || not_ok "write $i"
done
answers GET 1 /db/key-50 200
etag=$(header ETag)
stop 1
equals "SIGTERM ends it with status 0" 0 "$exit_status"
check "its port is free" is_free "$(port 1)"

start 1
eventually "it is ready again" 5 ready 1
answers GET 1 /db/key-50 200
equals "the value is there" "value 50" "$body"
equals "and so is its ETag" "$etag" "$(header ETag)"
equals "all keys are there" 50 "$(curl -sS "localhost:$(port 1)/db/?prefix=key-&limit=1000" | wc -l)"

kill -INT "${pids[1]}"
eventually "SIGINT ends it too" 5 ended 1
equals "with status 0" 0 "$exit_status"
start 1
eventually "ready after SIGINT" 5 ready 1
for n in 2 3; do
    start $n -join "localhost:$(port 1)"
    eventually "member $n joined" 10 ready $n
done
eventually "all three have a vote" 10 has_voters "$(port 1)" 3
equals "a new member has what was written before it joined" "value 7" "$(curl -sS "localhost:$(port 3)/db/key-7")"

# An orderly stop of the leader hands leadership over: the others do not have to wait for an election timeout.
old=$(leader)
# shellcheck disable=SC2046 # numbers
set -- $(followers)
stop "$old"
equals "the leader stops with status 0" 0 "$exit_status"
died=$(now_ms)
check "the others go on at once" write_until after-stop yes $((5 * slow)) "$@"
took=$(($(now_ms) - died))
check "within a second (it took $took ms)" [ $took -lt $((1000 * slow)) ]
term=$(term_of "$1")
start "$old"
eventually "the old leader is back" 10 ready "$old"
has_what_it_missed() {
    [ "$(curl -sS "localhost:$(port "$old")/db/after-stop?stale")" = yes ]
}
eventually "with what it missed" 5 has_what_it_missed
equals "and deposed nobody" "$term" "$(term_of "$1")"

for n in 1 2 3; do
    stop $n
    equals "member $n stops with status 0" 0 "$exit_status"
done
for n in 3 1 2; do
    start $n
done
for n in 1 2 3; do
    eventually "member $n is ready after a stop of all" 10 ready $n
    equals "and has everything" "value 50 yes" "$(curl -sS "localhost:$(port $n)/db/key-50") $(curl -sS "localhost:$(port $n)/db/after-stop")"
done
finish
