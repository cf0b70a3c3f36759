#!/usr/bin/env bash
# Disks that fill up, of one member after the other: a leader without room hands over to one that has some, reads and deletes
# go on everywhere, and all resumes by itself (TESTING G5). Each member has a small file system of its own, which takes root.
. "$(dirname "$0")/lib.sh"
begin 13

small_disk() {
    mkdir "$dir/node.$1" && mount -t tmpfs -o size=48m tmpfs "$dir/node.$1" 2>/dev/null
}
unmount_all() {
    local n
    for n in "${!pids[@]}"; do kill -KILL "${pids[$n]}" 2>/dev/null; done
    wait 2>/dev/null
    for n in 1 2 3; do umount "$dir/node.$n" 2>/dev/null; done
    cleanup
}
small_disk 1 || skip "full disks: no tmpfs can be mounted here (it takes root)"
trap unmount_all EXIT
small_disk 2
small_disk 3

# fill N KIB: takes all room on the disk of member N but so many KiB. The file's name is one that raftd tolerates.
fill() {
    local left
    left=$(df -k --output=avail "$dir/node.$1" | tail -n 1)
    fallocate -l $(((left - $2) * 1024)) "$dir/node.$1/lost+found"
}
empty() {
    rm -f "$dir/node.$1/lost+found"
}
# put N KEY FILE: the status of the write, through whoever leads.
put() {
    curl -s -L -m 12 -o /dev/null -w '%{http_code}' -X PUT --data-binary "@$3" "localhost:$(port "$1")/db/$2"
}
refused() {
    [ "$(put "$1" refused "$dir/value")" = 507 ]
}
taken() {
    case $(put "$1" "$2" "$dir/value") in 20?) ;; *) return 1 ;; esac
}
leads_now() {
    [ "$(leader)" = "$1" ]
}
leads_no_more() {
    local now
    now=$(leader) && [ "$now" != "$1" ]
}
same_everywhere() {
    local n
    for n in 2 3; do
        [ "$(curl -s "localhost:$(port "$n")/db/?stale" | md5sum)" = "$(curl -s "localhost:$(port 1)/db/?stale" | md5sum)" ] || return 1
    done
}

head -c 100000 /dev/urandom >"$dir/value"
start_cluster 3
for i in $(seq 40); do put 1 "key-$i" "$dir/value" >>"$dir/codes"; done
equals "all writes succeed" 0 "$(grep -vc '^$' <(sed 's/20[0-9]//g' "$dir/codes"))"

# One disk: leadership goes to a member with room, and stays there.
first=$(leader)
fill "$first" 3000
eventually "a leader without room hands over" 15 leads_no_more "$first"
second=$(leader)
matches "it said why" "little room is left" "$(cat "$dir/node.$first.log")"
matches "handed over, not merely given up" "INFO.*(transfer|hand)" "$(grep -iE 'transfer|hand' "$dir/node.$first.log" | tail -n 1)"
check "writes go on" taken "$first" after-first
term=$(term_of "$second")
sleep 3
equals "leadership stays where there is room" "$term" "$(term_of "$second")"

# A second disk: the third leads, and no quorum has room.
fill "$second" 3000
eventually "the next one hands over, too" 15 leads_no_more "$second"
eventually "two of three have no room: writes are refused" 15 refused 1

# All disks, to the last byte.
third=$(leader)
fill "$third" 3000
for n in 1 2 3; do
    eventually "writes are refused through member $n" 10 refused $n
    answers GET $n /db/key-1 200
done
for n in 1 2 3; do
    cat /dev/zero >"$dir/node.$n/lost+found" 2>/dev/null
    equals "not one block is left at member $n" 0 "$(df -k --output=avail "$dir/node.$n" | tail -n 1 | tr -d ' ')"
done
lead=$(leader)
answers PUT "$lead" /db/empty 507 --data-binary ""
answers POST "$lead" /db/empty 507
for i in $(seq 40); do
    code=$(curl -s -L -m 12 -o /dev/null -w '%{http_code}' -X DELETE "localhost:$(port 1)/db/key-$i")
    [ "$code" = 204 ] || not_ok "delete $i on full disks: $code"
done
answers GET "$lead" /db/key-40 404
answers GET "$lead" /db/after-first 200
check "the value is whole" cmp -s "$dir/value" "$dir/body"
for n in 1 2 3; do answers GET $n /livez 200; done

# Room for one, and then for all.
empty "$first"
empty "$second"
eventually "writes resume by themselves where a quorum has room" 15 taken 1 again
eventually "and one of those leads that have some" 15 leads_no_more "$third"
empty "$third"
eventually "all have the same" 20 same_everywhere
for n in 1 2 3; do
    eventually "member $n is ready" 10 ready $n
    check "and takes writes" taken $n "last-$n"
done
for n in 1 2 3; do kill9 $n; done
for n in 1 2 3; do start $n; done
for n in 1 2 3; do eventually "member $n starts again" 15 ready $n; done
answers GET 1 /db/again 200
check "the value is whole" cmp -s "$dir/value" "$dir/body"
finish
