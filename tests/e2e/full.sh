#!/usr/bin/env bash
# No room: writes are refused with 507, nothing else fails, and writes resume by themselves once there is room. First the
# map at -max-db-size, then (where we may mount one) a file system that is full.
. "$(dirname "$0")/lib.sh"
begin 7

# write_until_full N NAME: writes 256 KiB values until one is refused; prints how many were taken.
write_until_full() {
    local i code
    for ((i = 1; i <= 500; i++)); do
        code=$(curl -s -m 12 -o "$dir/body" -w '%{http_code}' -X PUT --data-binary "@$dir/value" "localhost:$(port "$1")/db/$2-$i")
        case $code in
        20?) ;;
        507) break ;;
        *) echo "write $i: $code $(cat "$dir/body")" >&2 && break ;;
        esac
    done
    echo $((i - 1))
}

# writes_again N KEY
writes_again() {
    [ "$(curl -s -m 12 -o /dev/null -w '%{http_code}' -X PUT --data-binary "@$dir/value" "localhost:$(port "$1")/db/$2")" -lt 300 ]
}

# no_room_is_no_disaster N NAME: from a member with little room to the end of it, and back.
no_room_is_no_disaster() {
    local n=$1 name=$2 taken i
    taken=$(write_until_full "$n" "$name")
    check "$name: some writes were taken ($taken)" [ "$taken" -gt 4 ]
    answers PUT "$n" "/db/$name-more" 507 --data-binary "@$dir/value"
    answers GET "$n" "/db/$name-1" 200
    check "$name: the value is whole" cmp -s "$dir/value" "$dir/body"
    answers GET "$n" "/db/$name-more" 404
    answers GET "$n" /livez 200
    for ((i = 1; i <= 4; i++)); do
        answers DELETE "$n" "/db/$name-$i" 204
    done
    answers GET "$n" "/db/$name-1" 404
    for ((i = 5; i <= taken; i++)); do
        curl -s -m 12 -o /dev/null -X DELETE "localhost:$(port "$n")/db/$name-$i"
    done
}

head -c 262144 /dev/urandom >"$dir/value"

start 1 -max-db-size 16M
eventually "a member with a small map is ready" 5 ready 1
no_room_is_no_disaster 1 map
eventually "writes resume by themselves" 10 writes_again 1 map-again
kill9 1
start 1 -max-db-size 16M
eventually "it starts again" 10 ready 1
answers GET 1 /db/map-again 200

if mkdir "$dir/node.2" && mount -t tmpfs -o size=40m tmpfs "$dir/node.2" 2>/dev/null; then
    trap 'kill -KILL "${pids[2]:-}" 2>/dev/null; sleep 0.1; umount "$dir/node.2"; cleanup' EXIT
    start 2
    eventually "a member on a small disk is ready" 5 ready 2
    head -c 16000000 /dev/zero >"$dir/node.2/lost+found" # a name that raftd tolerates beside its own
    no_room_is_no_disaster 2 disk
    rm "$dir/node.2/lost+found"
    eventually "writes resume by themselves once there is room" 10 writes_again 2 disk-again
    kill9 2
    start 2
    eventually "it starts again" 10 ready 2
    answers GET 2 /db/disk-again 200
    check "the value is whole" cmp -s "$dir/value" "$dir/body"
    stop 2
    equals "and stops in an orderly way" 0 "$exit_status"
else
    echo "SKIPPED: a full disk, as no tmpfs can be mounted here (it takes root)"
fi
finish
