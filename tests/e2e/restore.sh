#!/usr/bin/env bash
# PUT /backup: the whole map of a running cluster replaced by a backup, under load. Nobody ever sees a mixture; a leader or a member
# that is killed in the middle, a client that goes away or a file that is damaged leave the old map; a member that was away gets
# there by a dump in the middle of it.
. "$(dirname "$0")/lib.sh"
begin 13
limits=(-log-max-entries 500 -log-max-size 1M -threads 60)
many=20000
rounds=6
[ -z "$sanitized" ] || { many=4000 rounds=3; }

cluster_id() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -oE '"cluster":[0-9]+' | grep -oE '[0-9]+'
}

# lines NAME: a backup in lines, of $many keys k-0000000.. that have the value NAME and some bytes behind it, and one key NAME.
lines() {
    awk -v name="$1" -v n=$many 'BEGIN {
        fill = sprintf("%400s", ""); gsub(/ /, "x", fill)
        print "{\"raftd_backup\":1}"
        for (i = 0; i < n; i++) printf "{\"key\":\"k-%07d\",\"value\":\"%s%s\"}\n", i, name, fill
        printf "{\"key\":\"name\",\"value\":\"%s\"}\n{\"count\":%d}\n", name, n + 1
    }'
}

# put N FILE [CURL-OPTION...]: PUT /backup through member N.
put() {
    status=$(curl -s -m 120 -o "$dir/body" -w '%{http_code}' -T "$2" -H "If-Match: \"$id\"" "${@:3}" "http://localhost:$(port "$1")/backup")
    body=$(cat "$dir/body")
}

# states N QUERY FILE: what a consistent view of member N shows: the different values of its keys k-, and how many of them. Fails if
# it does not come whole.
states() {
    curl -s -m 60 -o "$3" -H 'Accept: application/x-ndjson' "localhost:$(port "$1")/db/?prefix=k-$2" || return 1
    sed -n 's/.*"value":"\([a-z0-9]*[0-9]\)x*"}$/\1/p' "$3" | sort | uniq -c | tr -s ' \n' ' '
}
state_of_leader() {
    states "$(leader)" '' "$dir/listing" | awk '{ print $2 }'
}
is_state() {
    [ "$(states "$1" '' "$dir/listing")" = " $many $2 " ]
}

# watcher N: looks at member N over and over; each state that it sees is a line of $dir/seen.N.
watcher() {
    local seen
    while :; do seen=$(states "$1" '&stale' "$dir/listing.$1") && echo "$seen" >>"$dir/seen.$1"; done
}
start_watcher() {
    : >"$dir/seen.$1"
    watcher "$1" 2>/dev/null &
    helpers+=($!)
}
no_mixtures() {
    ! grep -vE "^( $many [a-z]+[0-9]+ ?)?\$" "$dir/seen.$1"
}

for n in 1 2 3; do lines "state$n" >"$dir/$n.ndjson"; done
start 1 "${limits[@]}"
eventually "member 1 is ready" 10 ready 1
for n in 2 3; do
    start $n "${limits[@]}" -join "localhost:$(port 1)"
    eventually "member $n is ready" 10 ready $n
done
eventually "all have a vote" 10 has_voters "$(port 1)" 3
id=$(cluster_id 1)

# ---- what is refused ----

http PUT 1 /backup --data-binary @"$dir/1.ndjson"
equals "without the cluster's id it is refused" 428 "$status"
http PUT 1 /backup --data-binary @"$dir/1.ndjson" -H 'If-Match: "12345"'
equals "with another cluster's, too" 412 "$status"
matches "which is named" "this is cluster $id, not 12345: nothing was changed" "$body"

# ---- it replaces all ----

answers PUT 1 /db/before 201 -L -d 1
put 1 "$dir/1.ndjson" -L
equals "a backup is restored" 200 "$status"
matches "which says how much" "\"keys\":$((many + 1)),\"index\":[0-9]+" "$body"
check "what was there before is gone" test_value 2 before "raftd: no such key"
for n in 1 2 3; do eventually "member $n has it" 10 is_state $n state1; done
curl -s -o "$dir/state1.dump" "localhost:$(port 2)/backup"
follower=$(followers | head -n 1)
put "$follower" "$dir/2.ndjson"
equals "a follower redirects" 307 "$status"
put "$follower" "$dir/2.ndjson" -L
equals "and curl -L follows" 200 "$status"
check "a linearizable read sees it everywhere at once" is_state "$follower" state2
put 1 "$dir/state1.dump" -L
equals "a dump does as well" 200 "$status"
for n in 1 2 3; do check "at member $n" is_state $n state1; done

# ---- what is no good ----

size=$(stat -c %s "$dir/state1.dump")
for at in 3 40 $((size / 3)) $((size / 2)) $((size - 2)); do
    cp "$dir/state1.dump" "$dir/bad"
    printf '\xa5' | dd of="$dir/bad" bs=1 seek=$at conv=notrunc status=none
    put 1 "$dir/bad" -L
    matches "a byte changed at $at is told" '400 raftd: the backup is no good' "$status $body"
done
head -c $((size / 2)) "$dir/state1.dump" >"$dir/bad"
put 1 "$dir/bad" -L
equals "a file cut short, too" 400 "$status"
lead=$(leader)
curl -s -m 2 --limit-rate 1k -o /dev/null -T "$dir/2.ndjson" -H "If-Match: \"$id\"" "localhost:$(port "$lead")/backup"
taken() {
    put "$lead" "$dir/1.ndjson"
    [ "$status" != 409 ]
}
eventually "a client that went away makes room" 60 taken
equals "for the next" 200 "$status"
for n in 1 2 3; do check "nothing else was changed at member $n" is_state $n state1; done

# ---- under load, and with kill -9 in the middle ----

for n in 1 2 3; do start_watcher $n; done
start_writer load 1 2 3
put 1 "$dir/2.ndjson" -L
equals "a restore under load" 200 "$status"
was=state2
outcomes=
for ((round = 1; round <= rounds; round++)); do
    next=$((round % 3 + 1))
    curl -s -L -m 60 -o "$dir/body" -w '%{http_code}' -T "$dir/$next.ndjson" -H "If-Match: \"$id\"" \
        "http://localhost:$(port 1)/backup" >"$dir/code" 2>/dev/null &
    client=$!
    sleep "$(awk -v r=$round -v slow=$slow 'BEGIN { printf "%.2f", (0.15 + 0.12 * r) * slow }')"
    if [ $((round % 3)) = 0 ]; then victim=$(followers | head -n 1); else victim=$(leader) || victim=1; fi
    kill9 "$victim"
    wait $client
    code=$(cat "$dir/code")
    outcomes+=" $code"
    start "$victim" "${limits[@]}"
    eventually "round $round: all are ready again" 30 ready "$victim"
    eventually "and there is a leader" 20 has_leader
    now=$(state_of_leader)
    case $code in
    200) equals "round $round: it was done" "state$next" "$now" ;;
    503) equals "round $round: surely nothing was changed" "$was" "$now" ;;
    *) matches "round $round: it was done or not ($code)" "^($was|state$next)\$" "$now" ;;
    esac
    was=$now
    for n in 1 2 3; do eventually "member $n, too" 30 is_state $n "$now"; done
done
echo "# answers with a member killed:$outcomes"
stop_writers
for n in 1 2 3; do check "member $n never showed a mixture" no_mixtures $n; done
echo "# looked $(cat "$dir"/seen.* | grep -c state) times"

# What was gathered and not ended is given up by whoever leads then: a stopped member's directory has nothing of it.
put 1 "$dir/1.ndjson" -L
equals "the next restore is done" 200 "$status"

# small COUNT: as many small writes, so that the log loses its first half.
small() {
    awk -v url="http://localhost:$(port "$(leader)")/db/small-" -v n="$1" 'BEGIN {
        for (i = 1; i <= n; i++) {
            if (i > 1) print "next"
            printf "url = \"%s%d\"\nrequest = PUT\nsilent\noutput = /dev/null\n", url, i
            printf "data-binary = \"x\"\nwrite-out = \"%%{http_code}\\n\"\n"
        }
    }' >"$dir/puts"
    curl -Z --parallel-max 16 -K "$dir/puts" 2>/dev/null | grep -c '^20'
}

# ---- a member that was away gets there by a dump ----

kill9 3
eventually "the others have a leader" 20 has_leader
put 1 "$dir/2.ndjson" -L
equals "with one member down it is done" 200 "$status"
equals "small writes fill the log" 1200 "$(small 1200)"
put 1 "$dir/3.ndjson" -L
equals "and again" 200 "$status"
curl -s -L -m 120 -o /dev/null -T "$dir/1.ndjson" -H "If-Match: \"$id\"" "http://localhost:$(port 1)/backup" &
client=$!
start 3 "${limits[@]}" # in the middle of it
wait $client
eventually "a member that came back meanwhile has it" 60 is_state 3 state1
matches "by the map" "receiving the map|installed snapshot" "$(cat "$dir/node.3.log")"
answers PUT 2 /db/after 201 -L -d 1
eventually "and goes on" 10 test_value 3 after 1
for n in 1 2 3; do stop $n; done
for n in 1 2 3; do check "the directory of member $n is sound" "$raftd" verify "$dir/node.$n"; done
hash_of() {
    "$raftd" verify "$dir/node.$1" | grep -oE 'keys as of entry [0-9]+, hash [0-9a-f]+'
}
equals "and the same" "$(hash_of 1)" "$(hash_of 2)"

# ---- limits ----

start 5 -max-db-size 16M
eventually "a small server" 10 ready 5
id=$(cluster_id 5)
lines state9 >"$dir/9.ndjson"
head -c 30000000 /dev/zero >"$dir/bad"
put 5 "$dir/bad"
matches "what is larger than the map may be is refused with the option's name" '413 .*-max-db-size' "$status $body"
answers PUT 5 /db/kept 201 -d 1
if [ "$size" -gt 8000000 ]; then
    put 5 "$dir/state1.dump"
    equals "what finds room is restored" 200 "$status"
    answers PUT 5 /db/kept 201 -d 1
    put 5 "$dir/state1.dump"
    matches "what finds none beside the map is not" '507 .*-max-db-size' "$status $body"
fi
check "nothing was changed" test_value 5 kept 1
finish
