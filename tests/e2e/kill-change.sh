#!/usr/bin/env bash
# kill -9 of the leader, the member that is changed, the one that comes, the one that goes, or one that stays, at each step of each
# change of the members: add, remove, promote, demote, move (by itself, and by request), replace. Started again, the change
# is done (asked for again, where its answer was lost), and nothing acknowledged is lost.
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
start_writer a 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18
change 1 4 leader leader 0
change 2 5 new old 0.02
change 3 6 stays new 0.01
change 4 7 new leader 0.1
change 5 8 leader stays 0.05
change 6 9 new leader 0.2
change 7 10 leader old 0.3

# ---- demoted and promoted again ----

# asked METHOD PATH WHO OLD PAUSE CURL-OPTION...: the request is made, WHO is killed PAUSE later, and it is made again.
asked() {
    local method=$1 path=$2 who=$3 old=$4 pause=$5 helper
    shift 5
    through_any "$method" "$path" "$@" >/dev/null &
    helper=$!
    sleep "$pause"
    kill_and_restart "$(victim "$who" "$old" "$old")"
    wait $helper
    check "$method $path ${*: -1}, the $who killed after $pause s" through_any "$method" "$path" "$@"
}

coming=
for step in "leader 0" "old 0.01" "stays 0.02" "leader 0.05" "old 0.1"; do
    read -r who pause <<<"$step"
    # shellcheck disable=SC2086 # numbers
    set -- $members
    asked PUT "/cluster/members/m$1" "$who" "$1" "$pause" -d '{"role":"learner"}'
    eventually "m$1 has no vote any more" 10 voters_are 2
    asked PUT "/cluster/members/m$1" "$who" "$1" "$pause" -d '{"role":"voter"}'
    eventually "and has it again" 10 voters_are 3
    members="$2 $3 $1"
done

# ---- moved: a DATADIR goes on under the number of other ports ----

# lives_at N: whether a member says so of the one that has those ports.
lives_at() {
    local n
    for n in $members; do
        curl -s -m 5 "localhost:$(port "$n")/cluster" | grep -q ":$(port "$1")\"" && return 0
    done
    return 1
}

# move OLD NEW: the member, which is down, has the ports of NEW from now on.
move() {
    mv "$dir/node.$1" "$dir/node.$2"
    mv "$dir/node.$1.log" "$dir/node.$2.log"
    members="${members/$1/} $2"
}

number=11
for step in "leader 0" "new 0.02" "stays 0.05" "leader 0.1" "new 0.2"; do
    read -r who pause <<<"$step"
    # shellcheck disable=SC2086 # numbers
    set -- $members
    kill9 "$1"
    move "$1" $number
    start $number -threads 40
    sleep "$pause"
    kill_and_restart "$(victim "$who" 0 $number)"
    eventually "a member that moved is found, the $who killed after $pause s" 20 lives_at $number
    eventually "and follows" 10 ready $number
    number=$((number + 1))
done
for step in "leader 0" "stays 0.02" "leader 0.1"; do
    read -r who pause <<<"$step"
    # shellcheck disable=SC2086 # numbers
    set -- $members
    named=$(curl -s -m 5 "localhost:$(port "$1")/status" | sed 's/.*"name":"\([^"]*\)".*/\1/')
    kill9 "$1"
    members="$2 $3"
    # Asked of both, both are needed: the killed one comes back.
    asked PUT "/cluster/members/$named" "$who" "$1" "$pause" \
        -d "{\"client\":\"localhost:$(port $number)\",\"peer\":\"localhost:$(peer_port $number)\"}"
    check "the cluster says where it will be" lives_at $number
    move "$1" $number
    start $number -threads 40
    eventually "there it is" 20 ready $number
    number=$((number == 18 ? 4 : number + 1)) # 4 to 10 have become free
done

# ---- replaced: a server of its own takes the place of another ----

stop_writers # what is written to a server of its own is that one's

replace() {
    local old=$1 new=$2 who=$3 pause=$4 named helper
    named=$(curl -s -m 5 "localhost:$(port "$old")/status" | sed 's/.*"name":"\([^"]*\)".*/\1/')
    rm -rf "$dir/node.$new" "$dir/node.$new.log" # of one that was removed
    start "$new" -threads 40
    eventually "a server of its own is ready" 10 ready "$new"
    # shellcheck disable=SC2086 # numbers
    start_writer "r$new" $members
    set -- POST /cluster/members -d "{\"client\":\"localhost:$(port "$new")\",\"replaces\":\"$named\"}"
    through_any "$@" >/dev/null &
    helper=$!
    sleep "$pause"
    kill_and_restart "$(victim "$who" "$old" "$new")"
    wait $helper
    check "$named is replaced, the $who killed after $pause s" through_any "$@"
    members="${members/$old/} $new"
    eventually "and ends" 20 ended "$old"
    eventually "three have a vote" 10 voters_are 3
    eventually "the new one among them" 10 lives_at "$new"
    stop_writers
}

for step in "leader 0" "old 0.02" "new 0.05" "stays 0.1" "leader 0.2"; do
    read -r who pause <<<"$step"
    # shellcheck disable=SC2086 # numbers
    set -- $members
    replace "$1" $number "$who" "$pause"
    number=$((number + 1))
done
every_acked_is_found_everywhere
finish
