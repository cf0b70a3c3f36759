#!/usr/bin/env bash
# A disk whose writes and syncs do not come back (TESTING B5, hashicorp/raft#503): a leader that has one gives up leadership within five
# election timeouts, a follower that has one disturbs nobody, and all goes on when it comes back.
. "$(dirname "$0")/lib.sh"
begin 19
[ -z "$sanitized" ] || skip "hung disks: a sanitizer's runtime and a preloaded library do not go together"
shim=$build/tests/e2e/iofault.so
[ -e "$shim" ] || skip "$shim is not built"

election=500

start_shimmed() {
    local n=$1
    shift
    : >>"$dir/rules.$n"
    LD_PRELOAD=$shim IOF_PATH=$dir/node.$n IOF_RULES=$dir/rules.$n start "$n" -election-timeout $election "$@"
}
hang() {
    echo 'any:*:delay60000' >"$dir/rules.$1"
}
unhang() {
    : >"$dir/rules.$1"
}
leads_no_more() {
    local now
    now=$(leader) && [ "$now" != "$1" ]
}
follows() {
    http GET "$1" /status && [[ $body =~ \"role\":\ *\"follower\" ]]
}
all_agree() {
    local n first
    first=$(curl -s "localhost:$(port 1)/db/?stale" | md5sum)
    for n in 2 3; do
        [ "$(curl -s "localhost:$(port "$n")/db/?stale" | md5sum)" = "$first" ] || return 1
    done
}

start_shimmed 1
eventually "member 1 is ready" 10 ready 1
for n in 2 3; do
    start_shimmed $n -join "localhost:$(port 1)"
    eventually "member $n is ready" 10 ready $n
done
eventually "all have a vote" 10 has_voters "$(port 1)" 3
start_writer a 1 2 3
sleep 1

# The leader's.
for round in 1 2 3; do
    old=$(leader)
    begun=$(now_ms)
    hang "$old"
    eventually "round $round: another leads" 20 leads_no_more "$old"
    took=$(($(now_ms) - begun))
    check "within five election timeouts ($took ms)" [ $took -lt $((5 * election)) ]
    for i in $(seq 20); do
        write_until "round-$round-$i" "$i" 2 "$(leader)" || not_ok "write $i while the disk of member $old hangs"
    done
    ok "writes go on through the new leader"
    answers GET "$old" /livez 200
    term=$(term_of "$(leader)")
    unhang "$old"
    eventually "its disk is back: it follows" 10 follows "$old"
    sleep 1
    equals "and disturbs nobody" "$term" "$(term_of "$(leader)")"
done

# A follower's.
slow_one=$(followers | head -n 1)
term=$(term_of "$(leader)")
hang "$slow_one"
sleep 6 # what waits at a member that led before gets its answer
before=$(acked)
sleep 4
check "with a follower's disk hung writes go on ($(($(acked) - before)))" [ "$(acked)" -gt $((before + 50)) ]
equals "and the leader stays" "$term" "$(term_of "$(leader)")"
unhang "$slow_one"

# All of them: nothing is acknowledged, nothing is lost.
sleep 2
for n in 1 2 3; do hang $n; done
sleep 3
before=$(acked)
sleep 2
equals "with all disks hung nothing is acknowledged" "$before" "$(acked)"
answers GET 1 "/db/?stale" 200
for n in 1 2 3; do unhang $n; done
eventually "all resumes by itself" 20 write_until resumed yes 1 1 2 3
stop_writers
eventually "all have the same" 20 all_agree
every_acked_is_found_everywhere
finish
