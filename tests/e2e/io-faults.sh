#!/usr/bin/env bash
# Each call that changes a file fails, in each way, in a member that runs a script of 200 operations: it goes on, or ends with
# status 1 and one clear line; and after a restart all that it had acknowledged is there (TESTING 4c2, A7, C9, G6).
#
# There are some thousand such calls, so this tries some of them: IOFAULT_RUNS=N tries N (by default 40), spread evenly over
# calls and ways; IOFAULT_RUNS=all tries all, which takes most of an hour. IOFAULT_ONLY="17 EIO" tries that alone.
. "$(dirname "$0")/lib.sh"
begin 20
[ -z "$sanitized" ] || skip "faults of calls: a sanitizer's runtime and a preloaded library do not go together"
shim=$build/tests/e2e/iofault.so
[ -e "$shim" ] || skip "$shim is not built"

ways=(EIO ENOSPC short kill delay300)
operations=200
keys=40

# The script: operation i sets key i mod 40 to a text that only it writes, or deletes it (each seventh). Every 25th is large.
mkdir "$dir/values"
for ((i = 1; i <= operations; i++)); do
    printf 'value %d\n' $i >"$dir/values/$i"
    [ $((i % 25)) -ne 0 ] || head -c 40000 /dev/zero | tr '\0' x >>"$dir/values/$i"
done
for ((i = 1; i <= operations; i++)); do
    [ $i -eq 1 ] || echo next
    echo "url = \"http://localhost:$(port 1)/db/key-$((i % keys))\""
    echo "silent"
    echo "max-time = 8"
    echo "output = /dev/null"
    printf '%s\n' "write-out = \"$i %{http_code}\\n\""
    if [ $((i % 7)) -eq 0 ]; then
        echo "request = DELETE"
    else
        echo "request = PUT"
        echo "data-binary = \"@$dir/values/$i\""
    fi
done >"$dir/script"

# may_be: of each key the outcomes that are possible, one line "KEY OPERATION" each (operation 0: never written): the last
# acknowledged one, and those behind it of which nobody knows.
may_be() {
    awk -v keys=$keys '
        $2 ~ /^20/ || $2 == 404 { last[$1 % keys] = $1; delete more[$1 % keys]; next }
        $2 != 503 && $2 != 507 && $2 != 429 { more[$1 % keys] = more[$1 % keys] " " $1 }
        END {
            for (k = 0; k < keys; k++) {
                print k, last[k] + 0
                n = split(more[k], m, " ")
                for (j = 1; j <= n; j++) print k, m[j]
            }
        }' "$dir/codes"
}
# sums_of DIRECTORY: of each file its name and a checksum.
sums_of() {
    (cd "$dir/$1" && md5sum -- * 2>/dev/null) | awk '{ print $2, $1 }'
}
# is_as_acked: each key of member 1 is one of those.
is_as_acked() {
    local k
    rm -rf "$dir/found"
    mkdir "$dir/found"
    for ((k = 0; k < keys; k++)); do
        [ $k -eq 0 ] || echo next
        printf 'url = "http://localhost:%s/db/key-%d"\nsilent\nfail\nmax-time = 8\noutput = "%s"\n' "$(port 1)" $k "$dir/found/$k"
        printf 'write-out = "%%{http_code}\\n"\n'
    done >"$dir/reads"
    curl -K "$dir/reads" >"$dir/read-codes" 2>/dev/null
    if [ "$(grep -cE '^(200|404)$' "$dir/read-codes")" -ne $keys ]; then
        echo "# it does not answer all reads: $(sort "$dir/read-codes" | uniq -c | tr '\n' ' ')"
        return 1
    fi
    may_be >"$dir/may-be"
    sums_of found >"$dir/found-sums"
    awk '
        FILENAME ~ /value-sums$/ { written[$1] = $2; next }
        FILENAME ~ /found-sums$/ { found[$1] = $2; next }
        { operations[$1] = operations[$1] " " $2 }
        ($2 == 0 || $2 % 7 == 0) && !($1 in found) { good[$1] = 1 }
        $2 > 0 && $2 % 7 != 0 && ($1 in found) && found[$1] == written[$2] { good[$1] = 1 }
        END {
            for (k in operations)
                if (!(k in good)) {
                    print "# key-" k " is of none of the operations" operations[k]
                    bad = 1
                }
            exit bad
        }' "$dir/value-sums" "$dir/found-sums" "$dir/may-be"
}
answers_or_ended() {
    ready 1 || ! runs "${pids[1]}"
}
write_succeeds() {
    case $(curl -s -m 8 -o /dev/null -w '%{http_code}' -X PUT -d after "localhost:$(port 1)/db/after") in 20?) ;; *) return 1 ;; esac
}
writes_or_ended() {
    ! runs "${pids[1]}" || write_succeeds
}
calls_so_far() {
    od -An -tu8 "$dir/count" | tr -d ' '
}
# script_with RULE: a new member, the script, and what became of it: goes-on or ended.
script_with() {
    rm -rf "$dir/node.1" "$dir/node.1.log"
    echo "$1" >"$dir/rules"
    head -c 8 /dev/zero >"$dir/count"
    LD_PRELOAD=$shim IOF_PATH=$dir/node.1/ IOF_RULES=$dir/rules IOF_COUNT=$dir/count start 1
    : >"$dir/codes"
    wait_for 10 answers_or_ended || return 1
    startup=$(calls_so_far)
    runs "${pids[1]}" && curl -K "$dir/script" >"$dir/codes" 2>/dev/null
    return 0
}

# one_run CALL WAY
one_run() {
    local call=$1 way=$2 what="call $1 $2" fate
    script_with "any:#$call:$way" || {
        not_ok "$what: it neither serves nor ends"
        return
    }
    wait_for 8 writes_or_ended
    if runs "${pids[1]}" && wait_for 8 writes_or_ended && runs "${pids[1]}"; then
        fate=goes-on
        kill9 1
    elif ended 1; then
        fate=ended
        case $way:$exit_status:$(grep -c '^raftd: ' "$dir/node.1.log") in
        kill:137:0) ;;
        EIO:1:1 | ENOSPC:1:1 | short:1:1) ;;
        *)
            not_ok "$what: ended with status $exit_status: $(grep '^raftd: ' "$dir/node.1.log")"
            return
            ;;
        esac
    else
        not_ok "$what: it takes no writes and does not end: $(curl -s -m 8 "localhost:$(port 1)/readyz")"
        kill9 1
        return
    fi
    case $way:$fate in
    EIO:goes-on) eio_survived="$eio_survived $call" ;;
    delay300:ended) not_ok "$what: a slow call is no reason to end" ;;
    esac
    fates[$way:$fate]=$((${fates[$way:$fate]:-0} + 1))
    start 1
    if ! wait_for 10 ready 1; then
        not_ok "$what: it does not start again: $(grep '^raftd: ' "$dir/node.1.log")"
    elif ! is_as_acked; then
        not_ok "$what: something acknowledged is lost"
    fi
    kill9 1
}
sums_of values >"$dir/value-sums"
declare -A fates=()
eio_survived=

if ! script_with "" || [ "$(grep -cE ' (20[0-9]|404)$' "$dir/codes")" -ne $operations ]; then
    grep -vE ' (20[0-9]|404)$' "$dir/codes" | sort | uniq -c | head -n 3
    not_ok "without a fault all operations succeed"
    finish
fi
kill9 1
calls=$(calls_so_far)
startup_calls=$startup
echo "# $calls calls in a script of $operations operations, $startup_calls of them at the start"
check "the shim sees calls" [ "$calls" -gt $operations ]

runs=${IOFAULT_RUNS:-40}
if [ -n "${IOFAULT_ONLY:-}" ]; then
    # shellcheck disable=SC2086 # two words
    one_run $IOFAULT_ONLY
elif [ "$runs" = all ]; then
    for ((call = 1; call <= calls; call++)); do
        for way in "${ways[@]}"; do one_run $call "$way"; done
    done
else
    for ((i = 0; i < runs; i++)); do
        # The first calls make the directory; there each is another, so half of the runs are for them.
        if [ $((i % 2)) -eq 0 ]; then call=$((1 + (i / 2) * startup_calls / (runs / 2 + 1))); else call=$((startup_calls + i * (calls - startup_calls) / runs)); fi
        one_run $call "${ways[(i / 2) % ${#ways[@]}]}"
    done
fi
for fate in "${!fates[@]}"; do echo "# $fate: ${fates[$fate]}"; done
[ -z "$eio_survived" ] || echo "# went on after EIO at call$eio_survived"
ok "each fault was survived, or ended it in an orderly way; nothing that it had acknowledged was lost"
finish
