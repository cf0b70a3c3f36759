#!/usr/bin/env bash
# raftd recover: what it shows of a stopped member, and a new cluster of the one that is left.
. "$(dirname "$0")/lib.sh"
begin 11

recover() {
    "$raftd" recover "$@" >"$dir/recover.out" 2>"$dir/recover.err"
}

cluster_id() {
    curl -s -m 5 "localhost:$(port "$1")/cluster" | grep -oE '"cluster":[0-9]+'
}

start 1 -name a
eventually "member 1 is ready" 5 ready 1
for n in 2 3; do start $n -name m$n -join "localhost:$(port 1)"; done
eventually "three have a vote" 10 has_voters "$(port 1)" 3
for n in 1 2 3 4 5; do answers PUT 1 "/db/k$n" 201 -L -d "v$n"; done
eventually "member 3 has them" 5 test_value 3 k5 v5
id=$(cluster_id 1)

# ---- looking ----

recover "$dir/node.3"
equals "a directory in use is refused" 1 $?
matches "with the process that has it" 'in use.*process' "$(cat "$dir/recover.err")"
recover "$dir/nowhere"
equals "one that is not there, too" 1 $?
check "and it is not made" [ ! -e "$dir/nowhere" ]
recover
equals "no directory is wrong usage" 64 $?
recover -what "$dir/node.3"
equals "an unknown option, too" 64 $?
recover -help
equals "-help is not" 0 $?
matches "and lists the options" 'force-new-cluster' "$(cat "$dir/recover.out")"
for n in 1 2 3; do kill9 $n; done
recover "$dir/node.3"
equals "a stopped member is shown" 0 $?
shown=$(cat "$dir/recover.out")
matches "who it is" 'member +m3, id [0-9]+' "$shown"
matches "of which cluster" "cluster +${id#*:}, member since entry [0-9]+" "$shown"
matches "its term and vote" 'term +[0-9]+, voted for [a-z]+' "$shown"
matches "its log" 'log +entries 1 to [0-9]+, the last of term [0-9]+' "$shown"
matches "its map" 'map +[0-9] keys, as of entry [0-9]+ of term' "$shown"
matches "its configuration" "m2 +id [0-9]+, voter, clients localhost:$(port 2), members localhost:$(peer_port 2)" "$shown"
matches "what would be lost" 'after entry [0-9]+ of term [0-9]+ is not here and would be lost' "$shown"
before=$(cksum <"$dir/node.3/raftd")
recover "$dir/node.3"
equals "looking changes nothing" "$before" "$(cksum <"$dir/node.3/raftd")"

# ---- a new cluster ----

recover -force-new-cluster "$dir/node.3"
equals "a new cluster is made of it" 0 $?
matches "which it says" 'm3 is the only member of the new cluster [0-9]+' "$(cat "$dir/recover.out")"
check "what was changed is kept" cmp -s <(echo "$before") <(cksum <"$(echo "$dir"/node.3/recover-*)/raftd")
check "the log, too" [ -s "$(echo "$dir"/node.3/recover-*/log)/data.mdb" ]
start 1
start 2
start 3
eventually "it leads alone" 10 ready 3
check "with one vote" has_voters "$(port 3)" 1
for n in 1 2 3 4 5; do check "k$n is there" test_value 3 "k$n" "v$n"; done
check "in another cluster" [ "$(cluster_id 3)" != "$id" ]
answers PUT 3 /db/new 201 -d cluster
eventually "the others go on as the old one" 10 ready 1
equals "with its id" "$id" "$(cluster_id 1)"
eventually "and say once that a member is in another cluster" 5 grep -qi 'another cluster' "$dir/node.1.log" "$dir/node.2.log"
equals "what the new one writes is not theirs" 404 "$(curl -s -o /dev/null -w '%{http_code}' "localhost:$(port 1)/db/new")"
kill9 2
rm -rf "$dir/node.2"
start 2 -join "localhost:$(port 3)"
eventually "a member with an empty directory joins the new one" 10 has_voters "$(port 3)" 2
eventually "and reads" 10 test_value 2 k3 v3
stop 3
start 3
eventually "a restart keeps all that" 10 test_value 3 new cluster

# ---- twice, and of a member with entries that nobody committed ----

stop 2
http PUT 3 /db/uncommitted -d perhaps
kill9 3
recover -force-new-cluster "$dir/node.3"
equals "it can be done again" 0 $?
matches "entries in doubt are told" 'Entries [0-9]+ to [0-9]+ are in the log, but' "$(cat "$dir/recover.out")"
start 3
eventually "and it leads alone again" 10 ready 3
check "with one vote" has_voters "$(port 3)" 1
check "what was in doubt is kept" test_value 3 uncommitted perhaps
finish
