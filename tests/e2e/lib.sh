# lib.sh -- real members for an end-to-end test: their processes, ports and directories, and what curl says of them.
#
# A test sources it, calls `begin SLOT` (its first choice among the sets of ports), then starts members by number
# and states what must hold with `check`, `equals`, `matches`; the last line is `finish`. Each statement prints one "ok" or
# "not ok" line. Whatever happens, the trap ends every process that the test started, and nothing else.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for the tests
set -u
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

build=${top_builddir:-$build}
raftd=$build/raftd
first_port_of_all=${RAFTD_TEST_PORTS:-20000} # and those of all slots that follow it: 1000
ports_per_slot=40
slots=${RAFTD_TEST_SLOTS:-25}

# A build with sanitizers is several times slower: fewer rounds, longer patience, the same demands otherwise.
sanitized=
slow=1
if grep -qE '__(asan|tsan)_init' "$raftd" 2>/dev/null; then
    sanitized=yes
    slow=5
fi

oks=0 not_oks=0
declare -A pids=()
helpers=()
exit_status=

begin() {
    [ -x "$raftd" ] || skip "$raftd is not built"
    command -v curl >/dev/null || skip "curl is not installed"
    take_slot "$1"
    dir=$(mktemp -d "${TMPDIR:-/tmp}/raftd-e2e.XXXXXX")
    trap cleanup EXIT
    trap 'exit 1' INT TERM HUP
}

# take_slot N: the ports of that slot, or of the next that no other test on this machine has. The lock is held by this
# process and by the members that it starts, so it outlasts a test that was killed and left some behind.
take_slot() {
    local slot=$(($1 % slots)) tries
    for ((tries = 0; tries < slots; tries++)); do
        base=$((first_port_of_all + slot * ports_per_slot))
        exec {slot_lock}>"${TMPDIR:-/tmp}/raftd-e2e.ports.$(id -u).$base"
        flock -n "$slot_lock" && return 0
        exec {slot_lock}>&-
        slot=$(((slot + 1) % slots))
    done
    skip "all ports from $first_port_of_all on are taken by other tests"
}

skip() {
    echo "SKIPPED: $*"
    exit 77
}

cleanup() {
    local status=$? n pid
    for pid in "${pids[@]}" "${helpers[@]}"; do
        kill -KILL "$pid" 2>/dev/null
    done
    wait 2>/dev/null
    if [ $status -ne 0 ]; then
        for n in "$dir"/node.*.log; do
            [ ! -e "$n" ] || { echo "--- $(basename "$n")" && tail -n 25 "$n"; }
        done
    fi
    if [ -n "${RAFTD_TEST_KEEP:-}" ]; then
        echo "kept: $dir"
    else
        rm -rf "$dir"
    fi
    exit $status
}

# finish: no sanitizer has complained, and no statement was false.
finish() {
    local n
    for n in "${!pids[@]}"; do
        stop "$n"
        equals "member $n stops in an orderly way" 0 "$exit_status"
    done
    if grep -lE 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|assertion|CHECK failed' "$dir"/*.log 2>/dev/null; then
        grep -hE -A 25 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|assertion|CHECK failed' "$dir"/*.log | head -n 80
        not_ok "no sanitizer or assertion complained"
    fi
    echo "$oks ok, $not_oks not ok"
    [ $not_oks -eq 0 ]
    exit
}

# ---- statements ----

ok() {
    oks=$((oks + 1))
    echo "ok $((oks + not_oks)) - $1"
}

not_ok() {
    not_oks=$((not_oks + 1))
    echo "not ok $((oks + not_oks)) - $1"
}

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    if "$@"; then ok "$what"; else not_ok "$what (failed: $*)"; fi
}

# equals WHAT EXPECTED ACTUAL
equals() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: expected '$2', got '$3'"; fi
}

# matches WHAT EXTENDED-REGEX ACTUAL
matches() {
    if [[ $3 =~ $2 ]]; then ok "$1"; else not_ok "$1: '$3' does not match '$2'"; fi
}

# eventually WHAT SECONDS COMMAND...
eventually() {
    local what=$1 seconds=$(($2 * slow))
    shift 2
    if wait_for "$seconds" "$@"; then ok "$what"; else not_ok "$what, within $seconds s (failed: $*)"; fi
}

# ---- members ----

port() {
    echo $((base + $1))
}

peer_port() {
    echo $((base + 20 + $1))
}

# start N [OPTION...]: member N on its ports, in the background.
start() {
    local n=$1
    shift
    "$raftd" -p "$(port "$n")" -peer-port "$(peer_port "$n")" "$@" "$dir/node.$n" >>"$dir/node.$n.log" 2>&1 </dev/null &
    pids[$n]=$!
}

# start_cluster COUNT: member 1 alone, then the others join it; returns when all have a vote.
start_cluster() {
    local count=$1 n
    start 1
    eventually "member 1 is ready" 10 ready 1
    for ((n = 2; n <= count; n++)); do
        start "$n" -join "localhost:$(port 1)"
        eventually "member $n is ready" 10 ready "$n"
    done
    eventually "all $count have a vote" 10 has_voters "$(port 1)" "$count"
}

ready() {
    is_ready "$(port "$1")"
}

# ended N: whether its process is gone; exit_status is then its status.
ended() {
    runs "${pids[$1]}" && return 1
    wait "${pids[$1]}" 2>/dev/null
    exit_status=$?
    unset "pids[$1]"
}

# stop N: SIGTERM; exit_status is its status, or "still running".
stop() {
    kill -TERM "${pids[$1]}" 2>/dev/null
    if ! wait_for $((10 * slow)) ended "$1"; then
        exit_status="still running"
        kill9 "$1"
    fi
}

kill9() {
    kill -KILL "${pids[$1]}" 2>/dev/null
    wait "${pids[$1]}" 2>/dev/null
    unset "pids[$1]"
}

# test_value N KEY VALUE: whether that member reads it so.
test_value() {
    [ "$(curl -s -m 6 "localhost:$(port "$1")/db/$2")" = "$3" ]
}

# leader: the number of the member that leads; fails if none of those that run does.
leader() {
    local n
    for n in "${!pids[@]}"; do
        if leads "$(port "$n")"; then
            echo "$n"
            return 0
        fi
    done
    return 1
}

has_leader() {
    leader >/dev/null
}

# followers: the numbers of the running members that do not lead.
followers() {
    local n
    for n in "${!pids[@]}"; do
        leads "$(port "$n")" || echo "$n"
    done
}

# ---- requests ----

# http METHOD N PATH [CURL-OPTION...]: sets status, body and, for `header`, the headers of the answer.
http() {
    local method=$1 n=$2 path=$3
    shift 3
    [ "$method" != HEAD ] || set -- --head "$@"
    : >"$dir/body"
    status=$(curl -s -g -m 12 --path-as-is -o "$dir/body" -D "$dir/headers" -w '%{http_code}' -X "$method" "$@" \
        "http://localhost:$(port "$n")$path")
    body=$(tr -d '\0' <"$dir/body")
}

# header NAME: its value in the last answer of `http`, whatever the case of its name.
header() {
    tr -d '\r' <"$dir/headers" | sed -n "s/^$1: *//Ip" | tail -n 1
}

# number NAME: the value of a number in the JSON text of the last body.
number() {
    printf '%s' "$body" | grep -oE "\"$1\": *[0-9]+" | head -n 1 | grep -oE '[0-9]+$'
}

# answers METHOD N PATH STATUS [CURL-OPTION...]: one request and what its status must be.
answers() {
    local method=$1 n=$2 path=$3 expected=$4
    shift 4
    http "$method" "$n" "$path" "$@"
    equals "$method ${path:0:60} answers $expected" "$expected" "$status"
}

term_of() {
    http GET "$1" /status
    number term
}

# metrics_are_well_formed FILE: Prometheus text: TYPE before its samples and once, names and values as they must be.
metrics_are_well_formed() {
    awk '
        /^# TYPE / { if (type[$3]++ || $4 !~ /^(counter|gauge|histogram|summary|untyped)$/) { print "bad: " $0; bad = 1 } next }
        /^# HELP / || /^$/ { next }
        {
            name = $0; sub(/[{ ].*/, "", name)
            value = $0; sub(/^[^{ ]*([{][^}]*[}])? /, "", value)
            family = name; sub(/_(bucket|sum|count)$/, "", family)
            if (name !~ /^[a-zA-Z_:][a-zA-Z0-9_:]*$/ || value !~ /^([-+]?[0-9.]+([eE][-+]?[0-9]+)?|[-+]Inf|NaN)$/ ||
                !(type[name] || type[family]) || seen[substr($0, 1, length($0) - length(value))]++) {
                print "bad: " $0; bad = 1
            }
        }
        END { exit bad || NR == 0 }' "$1"
}

now_ms() {
    echo $((${EPOCHREALTIME//[!0-9]/} / 1000))
}

# write_until KEY VALUE SECONDS N...: tries these members in turn until one acknowledges; fails when the time is over.
write_until() {
    local key=$1 value=$2 n end=$(($(now_ms) + $3 * 1000)) code
    shift 3
    while [ "$(now_ms)" -lt $end ]; do
        for n; do
            code=$(curl -s -L -m 2 -o /dev/null -w '%{http_code}' -X PUT --data-binary "$value" "http://localhost:$(port "$n")/db/$key")
            case $code in 20?) return 0 ;; esac
        done
        sleep 0.01
    done
    return 1
}

# ---- load: writers that remember what was acknowledged ----

# writer NAME N...: writes NAME-1, NAME-2, ... through these members in turn until it is ended; each value is the key and
# a newline, and what was acknowledged is a line of $dir/acked.NAME. Start it with `start_writer`.
writer() {
    local name=$1 i=0 code targets
    shift
    targets=("$@")
    while :; do
        i=$((i + 1))
        code=$(printf '%s\n' "$name-$i" |
            curl -s -L -m 6 -o /dev/null -w '%{http_code}' -X PUT --data-binary @- \
                "http://localhost:$(port "${targets[i % ${#targets[@]}]}")/db/$name-$i")
        case $code in 20?) echo "$name-$i" >>"$dir/acked.$name" ;; esac
    done
}

start_writer() {
    : >>"$dir/acked.$1"
    writer "$@" 2>/dev/null &
    helpers+=($!)
}

stop_writers() {
    local pid
    for pid in "${helpers[@]}"; do
        kill -TERM "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    helpers=()
}

acked() {
    cat "$dir"/acked.* 2>/dev/null | wc -l
}

# every_acked_is_found N: reads each acknowledged key from that member and compares the values.
every_acked_is_found() {
    local urls
    cat "$dir"/acked.* | sort >"$dir/expected"
    urls=$(sed "s|.*|url = \"http://localhost:$(port "$1")/db/&\"|" "$dir/expected")
    curl -s -m $((60 * slow)) -K - <<<"$urls" >"$dir/found"
    if ! cmp -s "$dir/expected" "$dir/found"; then
        echo "lost or wrong at member $1, among $(wc -l <"$dir/expected"):"
        diff "$dir/expected" "$dir/found" | head -n 5
        return 1
    fi
}

every_acked_is_found_everywhere() {
    local n
    for n in "${!pids[@]}"; do
        check "member $n has all $(acked) acknowledged writes" every_acked_is_found "$n"
    done
}

# put_many N NAME FIRST LAST [FILE]: puts keys NAME-FIRST .. NAME-LAST through member N, 16 at a time, and tells how many were
# taken; a value is its key, or the bytes of FILE.
put_many() {
    local n=$1 name=$2 first=$3 last=$4 file=${5:-}
    awk -v url="http://localhost:$(port "$n")/db/$name-" -v name="$name" -v a="$first" -v b="$last" -v file="$file" '
        BEGIN {
            for (i = a; i <= b; i++) {
                if (i > a) print "next"
                printf "url = \"%s%d\"\nrequest = PUT\nlocation\nsilent\noutput = /dev/null\n", url, i
                printf "write-out = \"%%{http_code}\\n\"\n"
                if (file != "") printf "data-binary = \"@%s\"\n", file
                else printf "data-binary = \"%s-%d\"\n", name, i
            }
        }' >"$dir/puts"
    curl -Z --parallel-max 16 -K "$dir/puts" 2>/dev/null | grep -c '^20'
}

# applied_of N: the index of the last entry that member N has applied.
applied_of() {
    http GET "$1" /status
    number applied
}
