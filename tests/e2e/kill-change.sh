#!/usr/bin/env bash
# kill -9 of the leader, the member that comes, the one that goes, or one that stays, at each step of a change of the members:
# started again, the change is done (asked for again, where its answer was lost), and nothing acknowledged is lost.
. "$(dirname "$0")/lib.sh"
begin 7

# again N: starts member N after a kill -9; the one that comes as it was started, for it may not be a member yet.
again() {
    if [ "$1" = "$coming" ]; then
        # shellcheck disable=SC2086 # numbers
        start "$1" -name "m$1" -join "$(for n in $members; do echo "localhost:$(port "$n")"; done | paste -sd,)" -threads 40
    else
        start "$1" -threads 40
    fi
}

kill_and_restart() {
    if [ -n "${pids[$1]:-}" ] && runs "${pids[$1]}"; then
        kill9 "$1"
        again "$1"
    fi
}

# through_any METHOD PATH CURL-OPTION...: asks the members in turn until one says that it is done.
through_any() {
    local n end=$(($(now_ms) + 20000 * slow)) code
    while [ "$(now_ms)" -lt "$end" ]; do
        for n in $members; do
            code=$(curl -s -L -m 6 -o "$dir/any" -w '%{http_code}' -X "$1" "${@:3}" "http://localhost:$(port "$n")$2")
            case $code in 20?) return 0 ;; esac
        done
        sleep 0.05
    done
    cat "$dir/any"
    return 1
}

voters_are() {
    local n
    for n in $members; do
        has_voters "$(port "$n")" "$1" && return 0
    done
    return 1
}

# victim WHO OLD NEW: the number of the member that is meant.
victim() {
    case $1 in
    leader) leader || echo 0 ;;
    old) echo "$2" ;;
    new) echo "$3" ;;
    stays) for n in $members; do [ "$n" = "$2" ] || { echo "$n" && return; }; done ;;
    esac
}

# change OLD NEW FIRST SECOND PAUSE: NEW comes and OLD goes; FIRST is killed PAUSE after NEW was started, SECOND PAUSE after the
# removal of OLD was asked for.
change() {
    local old=$1 new=$2 first=$3 second=$4 pause=$5 helper coming=$2
    start "$new" -name "m$new" -join "localhost:$(port "${members##* }")" -threads 40
    sleep "$pause"
    kill_and_restart "$(victim "$first" "$old" "$new")"
    eventually "m$new comes, the $first killed after $pause s" 20 voters_are 4
    through_any DELETE "/cluster/members/m$old" >/dev/null &
    helper=$!
    sleep "$pause"
    kill_and_restart "$(victim "$second" "$old" "$new")"
    wait $helper
    members="${members/$old/} $new"
    check "m$old goes, the $second killed after $pause s" through_any DELETE "/cluster/members/m$old"
    eventually "and ends" 20 ended "$old"
    if grep -q '^raftd: .*was removed from its cluster' "$dir/node.$old.log"; then
        equals "as it knew already when it was started again" 1 "$exit_status"
    else
        equals "with status 0" 0 "$exit_status"
    fi
    eventually "three have a vote" 10 voters_are 3
}

start 1 -name m1 -threads 40
eventually "member 1 is ready" 10 ready 1
for n in 2 3; do
    start $n -name m$n -join "localhost:$(port 1)" -threads 40
    eventually "member $n has its vote" 10 has_voters "$(port 1)" $n
done
members="1 2 3"
start_writer a 1 2 3 4 5 6 7 8 9 10
change 1 4 leader leader 0
change 2 5 new old 0.02
change 3 6 stays new 0.01
change 4 7 new leader 0.1
change 5 8 leader stays 0.05
change 6 9 new leader 0.2
change 7 10 leader old 0.3
stop_writers
every_acked_is_found_everywhere
finish
