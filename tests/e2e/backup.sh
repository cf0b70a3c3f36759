#!/usr/bin/env bash
# Backup, restore and verify with real members: what a backup contains, slow clients and killed ones, damaged files, a restore that
# is killed, a restored cluster that others join and that an old member cannot get into.
. "$(dirname "$0")/lib.sh"
begin 12
many=3000
large=40
[ -z "$sanitized" ] || { many=600 large=30; }

# listing N: all pairs of that member, without their ETags.
listing() {
    curl -s -m 60 -H 'Accept: application/x-ndjson' "localhost:$(port "$1")/db/" | sed 's/"etag":[0-9]*,//' | md5sum
}

verify() {
    "$raftd" verify "$@" >"$dir/verify.out" 2>&1
}
restore() {
    "$raftd" restore "$@" >"$dir/restore.out" 2>&1
}
cluster_id() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -oE '"cluster":[0-9]+' | grep -oE '[0-9]+'
}
backup() { # N FILE [CURL-OPTION...]
    status=$(curl -s -m 120 -D "$dir/headers" -o "$2" -w '%{http_code}' "${@:3}" "localhost:$(port "$1")/backup")
}

start_cluster 3
equals "small values" $many "$(put_many 1 small 1 $many)"
head -c 1000000 /dev/urandom >"$dir/large"
equals "large values" $large "$(put_many 1 large 1 $large "$dir/large")"
answers PUT 1 '/db/%00%FF%22%0A/x' 201 -L --data-binary $'\xff\xfe"'
answers PUT 1 /db/empty 201 -L
id=$(cluster_id 1)

# ---- what a backup contains ----

start_writer load 1 2 3
for n in 1 2 3; do
    answers PUT 1 "/db/just-before-$n" 201 -L -d "$n"
    backup "$n" "$dir/$n.dump"
    equals "member $n gives a backup" 200 "$status"
    check "which is whole" verify "$dir/$n.dump"
    check "and has what was acknowledged just before" grep -aq "just-before-$n" "$dir/$n.dump"
    equals "of the cluster" "$id" "$(header Raftd-Cluster)"
    matches "with the index that it says" "$(header Raftd-Index) of term" "$(cat "$dir/verify.out")"
    equals "and in its name" "attachment; filename=\"raftd-$id-$(header Raftd-Index).dump\"" "$(header Content-Disposition)"
done
stop_writers
nothing_is_under_way() { # the writers' last requests, too
    local before
    before=$(applied_of 1)
    sleep 0.5
    [ "$(applied_of 1)" = "$before" ] && [ "$(applied_of 2)" = "$before" ] && [ "$(applied_of 3)" = "$before" ]
}
eventually "nothing is under way" 20 nothing_is_under_way
backup 2 "$dir/all.dump"
backup 3 "$dir/all.ndjson" -H 'Accept: application/x-ndjson'
equals "in lines, too" 200 "$status"
check "which are whole" verify "$dir/all.ndjson"
equals "two members give the same bytes" "$(backup 1 "$dir/one.dump" && md5sum <"$dir/one.dump")" "$(md5sum <"$dir/all.dump")"
expected=$(listing 1)

# ---- slow clients ----

slow_backup() {
    rm -f "$dir/slow"
    curl -s -N -o "$dir/slow" --limit-rate 500k "localhost:$(port 1)/backup" &
    helpers+=($!)
    eventually "a slow client gets its first bytes" 20 test -s "$dir/slow"
}
used() {
    http GET 1 /status
    number store_file
}
too_many() {
    [ "$(curl -s -m 60 -o /dev/null -w '%{http_code}' "localhost:$(port 1)/backup")" = 429 ]
}
slow_backup
slow_backup
check "with two slow clients a third one is to wait" too_many
before=$(used)
for round in 1 2 3 4 5 6; do
    done_now=$(put_many 1 large 1 $large "$dir/large")
    [ "$done_now" = $large ] || not_ok "overwrites of round $round: $done_now of $large"
done
after=$(used)
echo "# the map's file: $before bytes before, $after after overwriting everything six times while two clients were slow"
check "they pin no page of the map" [ "$after" -lt $((before * 2 + 20000000)) ]
check "nothing of it has a name" test -z "$(find "$dir/node.1" -name "scratch*")"
stop_writers # kills the two
not_too_many() {
    ! too_many
}
eventually "a killed client makes room" 20 not_too_many
slow_backup
stop 1
equals "a stop does not wait for a slow client" 0 "$exit_status"
stop_writers
start 1
eventually "and it is back" 10 ready 1

# ---- damaged files ----

size=$(stat -c %s "$dir/all.dump")
faults=0
step=$((size / 60))
for ((at = 0; at < size; at += step)); do
    cp "$dir/all.dump" "$dir/bad"
    byte=$(od -An -tu1 -j $at -N1 "$dir/bad")
    # shellcheck disable=SC2059 # the byte is the format
    printf "\\x$(printf %02x $((byte ^ 32)))" | dd of="$dir/bad" bs=1 seek=$at conv=notrunc status=none
    verify "$dir/bad" && echo "# byte $at of $size was changed, and verify did not see it" && faults=$((faults + 1))
done
equals "each change of a byte is seen" 0 $faults
matches "and where it was" 'bad: at byte [0-9]+, after [0-9]+ records: ' "$(cat "$dir/verify.out")"
restore "$dir/bad" "$dir/node.7"
equals "such a file is not restored" 1 $?
check "and nothing is left" [ ! -e "$dir/node.7" ]
head -c $((size - 1)) "$dir/all.dump" >"$dir/bad"
check "a file cut short is no backup" [ "$(verify "$dir/bad"; echo $?)" = 1 ]
restore - "$dir/node.7" <"$dir/bad"
equals "nor restored from a pipe" 1 $?
sed 's/small-7"/small-8"/' "$dir/all.ndjson" >"$dir/bad"
check "lines that were changed are seen" [ "$(verify "$dir/bad"; echo $?)" = 1 ]
verify "$dir/node.2"
equals "a directory in use is not looked at" 1 $?
matches "but its user is named" 'in use.*process' "$(cat "$dir/verify.out")"

# ---- a restore that is killed ----

for ms in 5 20 50 100 200 400; do
    rm -rf "$dir/node.7"
    "$raftd" restore "$dir/all.dump" "$dir/node.7" >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' $ms)"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ -e "$dir/node.7/raftd" ]; then
        check "after $ms ms it is done" verify "$dir/node.7"
    elif [ -e "$dir/node.7/kv" ] || [ -e "$dir/node.7/log" ]; then
        timeout 10 "$raftd" -p "$(port 7)" -peer-port "$(peer_port 7)" "$dir/node.7" >"$dir/start.out" 2>&1
        equals "what it leaves after $ms ms does not start" 1 $?
    else
        ok "after $ms ms nothing was made yet"
    fi
done
rm -rf "$dir/node.7"

# ---- a restored cluster ----

restore -name hugo "$dir/all.dump" "$dir/node.4"
equals "a backup is restored" 0 $?
check "into a directory that is sound" verify "$dir/node.4"
restore "$dir/all.dump" "$dir/node.4"
equals "but into no directory that holds something" 1 $?
restore - "$dir/node.5" <"$dir/all.ndjson"
equals "lines from a pipe, too" 0 $?
start 5
eventually "which serves" 10 ready 5
equals "the same" "$expected" "$(listing 5)"
stop 5
for n in 1 2 3; do kill9 $n; done
check "a killed member's directory is sound" verify "$dir/node.2"
matches "which it says with its position" 'sound: member .* keys as of entry' "$(cat "$dir/verify.out")"

# It takes the addresses of old member 1; old member 2 still looks for that one there.
mv "$dir/node.1" "$dir/old.1"
mv "$dir/node.4" "$dir/node.1"
start 1
eventually "the restored cluster leads alone" 10 ready 1
equals "with all" "$expected" "$(listing 1)"
check "in a cluster of its own" [ "$(cluster_id 1)" != "$id" ]
start 2
eventually "an old member is told that this is another cluster" 20 grep -qi 'another cluster' "$dir/node.2.log" "$dir/node.1.log"
check "which still has one vote" has_voters "$(port 1)" 1
answers PUT 1 /db/new 201 -d cluster
kill9 2
rm -rf "$dir/node.2"
start 2 -join "localhost:$(port 1)"
rm -rf "$dir/node.3"
start 3 -join "localhost:$(port 1)"
eventually "members with empty directories join" 20 has_voters "$(port 1)" 3
eventually "and have all" 20 test_value 3 new cluster
check "byte for byte" test "$(listing 3)" = "$(listing 1)"
finish
