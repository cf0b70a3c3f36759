#!/usr/bin/env bash
# All members of a cluster are replaced, one after the other, while clients write and read: nothing that was acknowledged is
# lost, no read is stale, each removed leader costs one change of leaders, and no pause is longer than two election timeouts.
. "$(dirname "$0")/lib.sh"
begin 10

election_ms=1000
timing=(-election-timeout "$election_ms" -heartbeat 100 -threads 40)

# counter N...: puts 1, 2, 3, ... into the key "count" through these members in turn; $dir/counted is the last number that was
# acknowledged, $dir/times has the moment of each acknowledgement.
counter() {
    local i=0 at=0 code
    while :; do
        i=$((i + 1))
        while :; do
            at=$(((at + 1) % $#))
            code=$(curl -s -L -m 3 -o /dev/null -w '%{http_code}' -X POST --data-binary "$i" "http://localhost:$(port "${@:at+1:1}")/db/count")
            [ "$code" != 200 ] || break
        done
        now_ms >>"$dir/times"
        echo "$i" >"$dir/counted.new" && mv "$dir/counted.new" "$dir/counted"
    done
}

# reader N...: what it reads is never older than what was acknowledged before it asked; else a line in $dir/stale.
reader() {
    local at=0 before value
    while :; do
        at=$(((at + 1) % $#))
        before=$(cat "$dir/counted")
        value=$(curl -s -f -m 3 "http://localhost:$(port "${@:at+1:1}")/db/count") || continue
        echo "$value" >>"$dir/read"
        [ "$value" -ge "$before" ] || echo "member ${*:at+1:1} read $value after $before" >>"$dir/stale"
    done
}

start_load() {
    rm -f "$dir"/times "$dir"/stale "$dir"/read
    echo 0 >"$dir/counted"
    : >"$dir/stale"
    counter "$@" 2>/dev/null &
    helpers+=($!)
    reader "$@" 2>/dev/null &
    helpers+=($!)
    start_writer a "$@"
}

longest_pause() {
    awk 'NR > 1 && $1 - last > longest { longest = $1 - last } { last = $1 } END { print longest + 0 }' "$dir/times"
}

# replace OLD NEW: starts NEW, which joins, and removes OLD, through a member that stays.
replace() {
    local old=$1 new=$2 through=$3 count=$4
    start "$new" -name "m$new" -join "localhost:$(port "$through")" "${timing[@]}"
    eventually "member $new has its vote" 10 has_voters "$(port "$through")" $((count + 1))
    if leads "$(port "$old")"; then leaders_removed=$((leaders_removed + 1)); fi
    answers DELETE "$through" "/cluster/members/m$old" 204 -L
    eventually "member $old ends" 10 ended "$old"
    equals "with status 0" 0 "$exit_status"
}

# roll COUNT: a cluster of COUNT members becomes one of COUNT others.
roll() {
    local count=$1 n all=() term
    for ((n = 1; n <= 2 * count; n++)); do all+=("$n"); done
    rm -rf "$dir"/node.* "$dir"/acked.*
    start 1 -name m1 "${timing[@]}"
    eventually "member 1 is ready" 10 ready 1
    for ((n = 2; n <= count; n++)); do
        start "$n" -name "m$n" -join "localhost:$(port 1)" "${timing[@]}"
        eventually "member $n has its vote" 10 has_voters "$(port 1)" "$n"
    done
    leaders_removed=0
    term=$(term_of 1)
    start_load "${all[@]}"
    sleep 0.3
    for ((n = 1; n <= count; n++)); do
        replace "$n" $((count + n)) $((n == 1 ? 2 : count + n - 1)) "$count"
    done
    sleep 0.3
    stop_writers
    check "each removed leader cost one change of leaders ($leaders_removed)" \
        [ $(($(term_of $((2 * count))) - term)) -le "$leaders_removed" ]
    check "no pause was longer than two election timeouts ($(longest_pause) ms)" [ "$(longest_pause)" -le $((2 * election_ms * slow)) ]
    check "many were written ($(wc -l <"$dir/times"), $(acked)) and read ($(wc -l <"$dir/read"))" [ "$(wc -l <"$dir/times")" -gt 10 ]
    equals "no read was stale" "" "$(cat "$dir/stale")"
    check "the last number that was acknowledged is there" \
        [ "$(curl -s -m 6 "localhost:$(port $((count + 1)))/db/count")" -ge "$(cat "$dir/counted")" ]
    every_acked_is_found_everywhere
    for n in "${!pids[@]}"; do
        stop "$n"
        equals "member $n stops in an orderly way" 0 "$exit_status"
    done
}

roll 3
roll 5
finish
