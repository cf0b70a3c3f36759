#!/usr/bin/env bash
# A bounded log, and the map for members that it no longer reaches: a member that was away, a new one, a sender and a receiver
# that are killed in the middle, one that is stopped. What was acknowledged is found everywhere; files go when they are done.
. "$(dirname "$0")/lib.sh"
begin 9
limits=(-log-max-entries 1000 -log-max-size 4M)
many=20000
[ -z "$sanitized" ] || many=4000

# values_of N NAME STEP LAST: a checksum of the values of NAME-1, NAME-(1 + STEP), ... as member N has them itself.
values_of() {
    local n=$1 name=$2 step=$3 last=$4 i
    for i in $(seq 1 "$step" "$last"); do echo "url = \"http://localhost:$(port "$n")/db/$name-$i?stale\""; done |
        curl -s -K - | md5sum
}

caught_up() {
    [ "$(applied_of "$1")" -ge "$2" ] 2>/dev/null
}
no_dumps() {
    [ ! -e "$dir/node.1/dump" ] && [ ! -e "$dir/node.2/dump" ] && [ ! -e "$dir/node.3/dump" ] &&
        [ ! -e "$dir/node.$1/incoming" ]
}
size_of() {
    du -sk "$dir/node.$1" | cut -f1
}
# receives N: whether it is being sent a map at this moment.
receives() {
    [ -s "$dir/node.$1/incoming" ]
}
start 1 "${limits[@]}"
eventually "member 1 is ready" 10 ready 1
for n in 2 3; do
    start $n "${limits[@]}" -join "localhost:$(port 1)"
    eventually "member $n is ready" 10 ready $n
done
eventually "all have a vote" 10 has_voters "$(port 1)" 3

# A member is away during many writes.
kill9 3
equals "all writes succeed" $many "$(put_many 1 away 1 $many)"
last=$(applied_of "$(leader)")
start 3 "${limits[@]}"
eventually "the member that was away has caught up" 30 caught_up 3 "$last"
matches "by the map" "receiving the map" "$(cat "$dir/node.3.log")"
equals "it has all that the leader has" "$(values_of "$(leader)" away 10 $many)" "$(values_of 3 away 10 $many)"
eventually "no file is left" 10 no_dumps 3

# A new member joins a compacted cluster.
start 4 "${limits[@]}" -join "localhost:$(port 1)"
eventually "a new member is ready" 30 ready 4
eventually "and has its vote" 30 has_voters "$(port 1)" 4
equals "it has all that the leader has" "$(values_of "$(leader)" away 10 $many)" "$(values_of 4 away 10 $many)"

# Large values; the receiver is killed in the middle, then the sender, then the receiver is stopped.
kill9 4
head -c 1040000 /dev/urandom >"$dir/large"
equals "values of up to 1 MiB" 100 "$(put_many 1 large 1 100 "$dir/large")"
equals "and many small ones behind them" 3000 "$(put_many 1 behind 1 3000)"
start 4 "${limits[@]}"
wait_for 10 receives 4 || echo "# the transfer was too fast to be seen"
kill9 4
start 4 "${limits[@]}"
wait_for 10 receives 4 || echo "# the transfer was too fast to be seen"
sender=$(leader)
kill9 "$sender"
eventually "another leads" 10 has_leader
all_are_taken() {
    [ "$(put_many "$(leader)" after 1 100)" = 100 ]
}
eventually "writes go on" 20 all_are_taken
last=$(applied_of "$(leader)")
eventually "the receiver gets the map from another leader" 60 caught_up 4 "$last"
equals "large values are whole" "$(values_of "$(leader)" large 1 100)" "$(values_of 4 large 1 100)"
start "$sender" "${limits[@]}"
eventually "the killed sender is back" 30 ready "$sender"
eventually "and has caught up" 30 caught_up "$sender" "$last"

# A receiver that is stopped in the middle of it (TESTING D9).
kill9 4
equals "more writes" 3000 "$(put_many 1 stopped 1 3000)"
start 4 "${limits[@]}"
wait_for 10 receives 4 || echo "# the transfer was too fast to be seen"
kill -STOP "${pids[4]}"
term=$(term_of "$(leader)")
begun=$(now_ms)
equals "clients do not notice" 2000 "$(put_many 1 unaffected 1 2000)"
took=$(($(now_ms) - begun))
equals "nor does the leader" "$term" "$(term_of "$(leader)")"
check "2000 writes in $took ms" [ $took -lt $((15000 * slow)) ]
kill -CONT "${pids[4]}"
last=$(applied_of "$(leader)")
eventually "it goes on and has caught up" 60 caught_up 4 "$last"
eventually "the files go when it is done" 20 no_dumps 4

# Disk use stays bounded under overwrites.
rounds=50
[ -z "$sanitized" ] || rounds=10
before=$(size_of 1)
for round in $(seq $rounds); do
    done_now=$(put_many 1 over 1 1000)
    [ "$done_now" = 1000 ] || not_ok "overwrites of round $round: $done_now of 1000"
done
after=$(size_of 1)
echo "# DATADIR of member 1: $before KiB before, $after KiB after $rounds x 1000 overwrites"
check "the DATADIR is bounded" [ "$after" -lt $((before + 65536)) ]

# A log that is too long is compacted on a member that gets no writes, and on its disk, too. The others leave its peers alone,
# and it is a follower: what it deletes is nobody's concern.
first_of() {
    http GET "$1" /status
    number log_first
}
begins_behind() {
    [ "$(first_of "$1")" -gt "$2" ] 2>/dev/null
}
idle=$(followers | head -n 1)
last=$(applied_of "$idle")
stop "$idle"
start "$idle" -log-max-entries 100
eventually "an idle log is compacted" 20 begins_behind "$idle" $((last - 150))
sleep 0.3
kill9 "$idle"
start "$idle"
eventually "it is back" 20 ready "$idle"
check "and it was compacted on the disk" begins_behind "$idle" $((last - 150))

for n in 1 2 3 4; do
    equals "member $n has it all" "$(values_of "$(leader)" behind 1 3000)" "$(values_of $n behind 1 3000)"
done
finish
