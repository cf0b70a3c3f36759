#!/usr/bin/env bash
# A disk that gives back other bytes than were written (TESTING A12), and maps that are not the same: found, told, not served,
# repaired by a leader's map; a follower's and the leader's. Equal hashes after each failover (C11) and install (D8).
. "$(dirname "$0")/lib.sh"
begin 15
spoil_map=$build/tests/e2e/spoil_map
[ -x "$spoil_map" ] || skip "$spoil_map is not built"
limits=(-log-max-entries 1000 -log-max-size 4M)

hash_of() {
    http GET "$1" /status
    printf '%s' "$body" | grep -oE '"map_hash":"[0-9a-f]+"' | cut -d'"' -f4
}

# same_hash N...: whether these members have the same hash at the same index, once nobody writes.
same_hash() {
    local n first='' this
    for n; do
        http GET "$n" /status
        this=$(printf '%s' "$body" | grep -oE '"map_hash":"[0-9a-f]+","map_index":[0-9]+')
        [ -n "$this" ] && [ "${first:=$this}" = "$this" ] || return 1
    done
}

trusts() {
    http GET "$1" /status
    [[ $body == *'"map_trusted":true'* ]] && ready "$1"
}

says() {
    grep -q -- "$2" "$dir/node.$1.log"
}

# all_agree N: whether that leader knows that all members have its map.
all_agree() {
    http GET "$1" /cluster
    [[ $body == *'"map_agrees":true'* && $body != *'"map_agrees":false'* ]] &&
        [ "$(grep -o '"map_agrees":true' <<<"$body" | wc -l)" = 3 ]
}

put_some() {
    local n=$1 name=$2 count=$3 i
    for ((i = 1; i <= count; i++)); do
        printf 'url = "http://localhost:%s/db/%s-%d"\nrequest = PUT\nlocation\nsilent\noutput = /dev/null\ndata = "value of %s-%d"\nwrite-out = "%%{http_code}\\n"\nnext\n' "$(port "$n")" "$name" "$i" "$name" "$i"
    done | sed '$d' >"$dir/puts"
    curl -Z --parallel-max 16 -K "$dir/puts" 2>/dev/null | grep -c '^20'
}

# rejoin N: a new member in the place of N, whose name is $name.
rejoin() {
    [ -z "${pids[$1]:-}" ] || kill9 "$1"
    curl -s -m 12 -L -X DELETE -o /dev/null "http://localhost:$(port "$(leader)")/cluster/members/$name"
    rm -rf "$dir/node.$1"
    start "$1" "${limits[@]}" -join "localhost:$(port "$(leader)")"
    eventually "a new member is in its place" 30 has_voters "$(port "$1")" 3
}

a_follower() {
    followers | head -n 1
}

start 1 "${limits[@]}"
eventually "member 1 is ready" 10 ready 1
for n in 2 3; do
    start $n "${limits[@]}" -join "localhost:$(port 1)"
    eventually "member $n is ready" 10 ready $n
done
eventually "all have a vote" 10 has_voters "$(port 1)" 3
equals "writes" 300 "$(put_some 1 key 300)"
eventually "all have the same hash" 10 same_hash 1 2 3
eventually "and the leader knows it" 20 all_agree "$(leader)"
http GET 1 /metrics
matches "the metrics tell the hash" 'raftd_map_hash [0-9]+' "$body"
matches "and that it is trusted" 'raftd_map_trusted 1' "$body"

# One bit of a follower's record.
victim=$(a_follower)
stop "$victim"
check "a bit of a record is flipped" "$spoil_map" bit "$dir/node.$victim/kv" key-7 150
start "$victim" "${limits[@]}"
eventually "it is found" 20 says "$victim" 'ERROR.*a record is damaged'
eventually "and repaired by the leader's map" 30 says "$victim" 'the map is that of the leader again'
eventually "it is ready again" 30 trusts "$victim"
http GET "$victim" '/db/key-7?stale'
equals "it has what was written" "value of key-7" "$body"
eventually "all have the same hash" 10 same_hash 1 2 3

# Another value in a follower's map, consistent in itself: only the comparison can tell. It is stopped before it is repaired, so
# that one sees what it answers meanwhile.
victim=$(a_follower)
stop "$victim"
check "a value is exchanged" "$spoil_map" value "$dir/node.$victim/kv" key-9 evil
start "$victim" "${limits[@]}"
eventually "the leader says so" 20 says "$(leader)" 'ERROR.*a member.s map differs.*index=.*its-hash=.* hash='
eventually "and the member, with both hashes" 20 says "$victim" 'ERROR.*it differs from the others.: index=[0-9]* hash=[0-9a-f]* theirs='
eventually "it is repaired" 30 says "$victim" 'the map is that of the leader again'
eventually "and ready again" 30 trusts "$victim"
http GET "$victim" '/db/key-9?stale'
equals "it has what was written" "value of key-9" "$body"
eventually "all have the same hash" 10 same_hash 1 2 3

# What a member that doubts its map answers, while nobody can repair it: the others are away.
victim=$(a_follower)
others=$(for n in 1 2 3; do [ "$n" = "$victim" ] || echo "$n"; done)
for n in $others; do stop "$n"; done
stop "$victim"
check "a bit of a record is flipped" "$spoil_map" bit "$dir/node.$victim/kv" key-11 70
start "$victim" "${limits[@]}"
eventually "it is found" 20 says "$victim" 'a record is damaged: key=key-11'
answers GET "$victim" '/db/key-12?stale' 503
matches "the answer names the reason" 'not to be trusted .*damaged' "$body"
answers GET "$victim" /db/key-12 503
answers GET "$victim" '/db/?stale' 503
answers GET "$victim" /readyz 503
matches "so does /readyz" 'not to be trusted' "$body"
kill9 "$victim"
start "$victim" "${limits[@]}"
wait_for 10 curl -s -o /dev/null "localhost:$(port "$victim")/livez"
answers GET "$victim" '/db/key-12?stale' 503
for n in $others; do start "$n" "${limits[@]}"; done
eventually "when the others are back it is repaired" 40 trusts "$victim"
answers GET "$victim" '/db/key-11?stale' 200
eventually "there is a leader" 20 has_leader
eventually "all have the same hash" 20 same_hash 1 2 3

# The leader's own map.
victim=$(leader)
for n in $(followers); do stop "$n"; done
stop "$victim"
check "the leader's value is exchanged" "$spoil_map" value "$dir/node.$victim/kv" key-13 evil
start "$victim" "${limits[@]}"
for n in 1 2 3; do [ "$n" = "$victim" ] || start "$n" "${limits[@]}"; done
eventually "there is a leader" 20 has_leader
curl -s -m 6 -X POST -d "$(curl -s "localhost:$(port "$victim")/status" | grep -oE '"name":"[^"]+"' | cut -d'"' -f4)" -L "localhost:$(port "$(leader)")/cluster/leader" >/dev/null
eventually "it finds itself in the minority, or is told" 30 says "$victim" 'ERROR.*the map is not to be trusted.*theirs='
eventually "it is repaired" 40 trusts "$victim"
http GET "$victim" '/db/key-13?stale'
equals "it has what was written" "value of key-13" "$body"
eventually "there is a leader" 20 has_leader
equals "writes go on" 50 "$(put_some "$(leader)" after 50)"
eventually "all have the same hash" 20 same_hash 1 2 3

# C11: equal hashes after each failover.
for round in 1 2 3; do
    victim=$(leader)
    kill9 "$victim"
    eventually "another leads" 20 has_leader
    equals "writes of round $round" 40 "$(put_some "$(leader)" "round-$round" 40)"
    start "$victim" "${limits[@]}"
    eventually "it is back" 20 ready "$victim"
    eventually "all have the same hash after failover $round" 20 same_hash 1 2 3
done

# A12: random bits of all files of one member. Each time it is repaired, or ends with one clear line; the others have all.
rounds=${FLIP_ROUNDS:-6} first_seed=${FLIP_SEED:-0}
[ -z "$sanitized" ] || rounds=1
equals "more writes" 1500 "$(put_some "$(leader)" bulk 1500)"
for ((round = 1; round <= rounds; round++)); do
    eventually "there is a leader" 20 has_leader
    victim=$(a_follower)
    stop "$victim"
    name=$(sed -n 's/^name=//p' "$dir/node.$victim/raftd")
    flipped=0
    for file in "$dir/node.$victim"/kv/data.mdb "$dir/node.$victim"/log/* "$dir/node.$victim"/raftd; do
        if [ ! -f "$file" ] || [[ $file == */lock.mdb ]]; then continue; fi
        one_in=100000
        # Half of the rounds leave the log alone: what is wrong with that ends the member for good.
        [[ $file == */kv/* ]] || [ $((round % 2)) = 0 ] || continue
        flipped=$((flipped + $("$spoil_map" flip "$file" $one_in $((first_seed + round * 7919)))))
    done
    echo "# round $round: member $victim, $flipped bits"
    outcome=
    : >"$dir/node.$victim.log"
    for _ in 1 2 3; do
        start "$victim" "${limits[@]}"
        for ((i = 0; i < 200 * slow; i++)); do
            ended "$victim" && break
            if [ "$i" -ge 60 ] && trusts "$victim" && same_hash 1 2 3; then outcome=well && break; fi
            sleep 0.1
        done
        [ -z "$outcome" ] || break
        if [ -n "${pids[$victim]:-}" ]; then break; fi
        [ "$exit_status" = 1 ] || break
    done
    if [ "$outcome" != well ] && [ -z "${pids[$victim]:-}" ] && [ "$exit_status" = 1 ] &&
        tail -n 3 "$dir/node.$victim.log" | grep -qE 'raftd: |ERROR'; then
        outcome=stopped
        echo "# it stopped: $(tail -n 1 "$dir/node.$victim.log" | cut -c1-200)"
    fi
    [ -n "$outcome" ] || tail -n 12 "$dir/node.$victim.log" | cut -c1-220 | sed 's/^/# /'
    check "round $round: it is well, or ended with a clear line ($outcome)" test -n "$outcome"
    # What is wrong with a log may show at any later start: that member goes, as its line advises.
    if [ "$outcome" != well ] || [ $((round % 2)) = 0 ]; then rejoin "$victim"; fi
    eventually "all are the same again" 40 same_hash 1 2 3
    key=bulk-$((round * 100 % 1500 + 1))
    http GET "$(leader)" "/db/$key"
    equals "the majority has all" "value of $key" "$body"
done
finish
