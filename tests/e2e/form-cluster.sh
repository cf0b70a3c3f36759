#!/usr/bin/env bash
# -cluster: members that were given the same list form one cluster, whatever the order of their starts, and never a second one.
# Sixteen of them; and the addresses that a start refuses.
. "$(dirname "$0")/lib.sh"
begin 9

small=(-threads 8 -election-timeout 1000 -heartbeat 200)

# list N...: the client ports of these, for -cluster.
list() {
    local n all=
    for n; do all=$all${all:+,}localhost:$(port "$n"); done
    echo "$all"
}

cluster_id() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -oE '"cluster":[0-9]+'
}

# are_one N...: all have a vote in one cluster, say all.
are_one() {
    local n id
    id=$(cluster_id "$1")
    [ -n "$id" ] && [ "$id" != '"cluster":0' ] || return 1
    for n; do
        [ "$(cluster_id "$n")" = "$id" ] && has_voters "$(port "$n")" $# || return 1
    done
}

# refused STATUS REGEX OPTION...: a start with these ends with that status and says that.
refused() {
    local status=$1 text=$2
    shift 2
    timeout 20 "$raftd" -p "$(port 19)" -peer-port "$(peer_port 19)" "$@" "$dir/node.19" >"$dir/refused.log" 2>&1
    equals "a start with $* ends with status $status" "$status" $?
    matches "and says what to do" "$text" "$(grep '^raftd: ' "$dir/refused.log")"
    rm -rf "$dir/node.19"
}

wipe() {
    kill9 "$1"
    rm -rf "$dir/node.$1"
}

# ---- addresses ----

refused 64 '-host 0.0.0.0.*-bind' -host 0.0.0.0
refused 64 'set -host' -host ::
refused 64 'localhost.*elsewhere.example.*set -host' -join elsewhere.example:4001
refused 64 'elsewhere.example.*set -host' -cluster "localhost:$(port 19),elsewhere.example:4001"
refused 64 'does not name this member' -cluster "$(list 1 2)"
refused 64 'twice' -cluster "$(list 1 1)"
refused 64 'exclude each other' -cluster "$(list 1 2)" -join "localhost:$(port 1)"

# ---- in any order, with a founder that comes last ----

start 3 -cluster "$(list 1 2 3)" -name c
start 2 -cluster "$(list 3 2 1)" -name b
sleep 0.5
equals "without the first there is no cluster" '"cluster":0' "$(cluster_id 2)"
start 1 -cluster "$(list 2 1 3)" -name a
eventually "three form one cluster" 10 are_one 1 2 3
answers PUT 2 /db/x 201 -L -d y
stop 1
start 1 -cluster "$(list 1 2 3)"
eventually "the list is ignored by a member" 10 ready 1
check "and it says so" grep -q -- '-cluster ignored' "$dir/node.1.log"

# ---- a wiped founder; a wiped one that never founds ----

id=$(cluster_id 2)
wipe 1
eventually "the others have a leader" 5 has_leader
term=$(term_of "$(leader)")
timeout 20 "$raftd" -p "$(port 1)" -peer-port "$(peer_port 1)" -cluster "$(list 1 2 3)" "$dir/node.1" >"$dir/wiped.log" 2>&1
equals "the founder without its DATADIR founds nothing" 1 $?
matches "and is told what to do" 'DELETE.*cluster/members/a' "$(grep '^raftd: ' "$dir/wiped.log")"
equals "no leader was changed" "$term" "$(term_of "$(leader)")"
kill9 2
kill9 3
rm -rf "$dir/node.1"
timeout 20 "$raftd" -p "$(port 1)" -peer-port "$(peer_port 1)" -cluster "$(list 1 2 3)" -join-timeout 700 "$dir/node.1" >"$dir/wiped.log" 2>&1
equals "nor while the others are out of reach" 1 $?
matches "but says who is missing" "$(port 3)|$(port 2)" "$(grep '^raftd: ' "$dir/wiped.log")"
rm -rf "$dir/node.1"
start 4 -cluster "$(list 1 4)" -name d
start 1 -cluster "$(list 1 2 3 4)" -name a
sleep 0.5
equals "nor with one that was given another list" '"cluster":0' "$(cluster_id 4)"
check "which it says" grep -q 'not started with the same -cluster' "$dir/node.1.log"
kill9 1
kill9 4
start 2 -cluster "$(list 1 2 3)"
start 3 -cluster "$(list 1 2 3)"
eventually "those that kept theirs go on" 10 ready 2
equals "as the same cluster" "$id" "$(cluster_id 2)"
answers DELETE 2 /cluster/members/a 204 -L
rm -rf "$dir/node.1"
start 1 -cluster "$(list 1 2 3)" -name a
eventually "and take the founder back when it was removed" 10 are_one 1 2 3
equals "as the same cluster" "$id" "$(cluster_id 1)"
equals "with what was written" y "$(curl -s -m 6 "localhost:$(port 1)/db/x")"
for n in 1 2 3; do wipe $n; done

# ---- kill -9 while it is being formed ----

for pause in 0.01 0.05 0.1 0.15 0.2 0.3; do
    for n in 3 1 2; do start $n -cluster "$(list 1 2 3)"; done
    sleep $pause
    for n in 1 2 3; do kill9 $n; done
    for n in 2 3 1; do start $n -cluster "$(list 1 2 3)"; done
    eventually "killed after $pause s they form one cluster yet" 20 are_one 1 2 3
    for n in 1 2 3; do wipe $n; done
done

# ---- IPv6, where there is any and civetweb was built with it ----

six="[::1]:$(port 1),[::1]:$(port 2)"
for n in 1 2; do start $n -host ::1 -cluster "$six"; done
sleep 0.3
if grep -q 'IPv4 alone' "$dir/node.2.log"; then
    ok "without IPv6 in civetweb a start says so"
else
    eventually "IPv6 addresses form one" 10 are_one 1 2
fi
wipe 1
wipe 2

# ---- sixteen ----

all=$(list 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1)
for n in 9 10 11 12 13 14 15 16 1 2 3 4 5 6 7 8; do start $n -cluster "$all" "${small[@]}"; done
eventually "sixteen form one cluster" 40 are_one 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
check "and write" write_until sixteen yes 10 16 1
refused 1 '16 members' -join "localhost:$(port 3)" "${small[@]}"
leading=$(leader)
kill9 "$leading"
check "and go on without their leader" write_until sixteen still $((10 * slow)) 5 6 7
finish
