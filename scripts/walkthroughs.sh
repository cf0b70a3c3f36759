#!/usr/bin/env bash
# All walk-throughs, again and again, each round in another random order: a document's lines must hold whatever ran before.
# Ends at the first that does not, says in which order it happened, and keeps that test's output and directories.
#
#   scripts/walkthroughs.sh [ROUNDS] [SEED]     (10, and a seed that is made up and printed)
set -eu
. "$(dirname "$0")/lib.sh"
rounds=${1:-10}
seed=${2:-$((RANDOM * 32768 + RANDOM))}
log=$(mktemp "${TMPDIR:-/tmp}/raftd-walkthroughs.XXXXXX")

[ -x "$build/raftd" ] || (build_tree "$build")

# in_random_order SEED: the lines of stdin.
in_random_order() {
    awk -v seed="$1" 'BEGIN { srand(seed) } { printf "%.9f\t%s\n", rand(), $0 }' | sort -n | cut -f 2-
}

say "seed $seed, $rounds rounds"
ran=0
for ((round = 1; round <= rounds; round++)); do
    order=$(cd "$top/tests/e2e" && printf '%s\n' walkthrough*.sh | in_random_order $((seed + round)))
    for test in $order; do
        began=$SECONDS status=0
        top_srcdir=$top top_builddir=$build RAFTD_TEST_KEEP=1 bash "$top/tests/e2e/$test" >"$log" 2>&1 || status=$?
        [ $status -ne 77 ] || die "$test was skipped: $(grep '^SKIPPED' "$log")"
        if [ $status -ne 0 ]; then
            cat "$log"
            # shellcheck disable=SC2086 # words
            say "order of this round: "$order
            die "round $round of $rounds, seed $seed: $test failed (see above, and $log)"
        fi
        say "round $round: $test: $(tail -n 2 "$log" | grep ' ok,'), $((SECONDS - began)) s"
        rm -rf "$(sed -n 's/^kept: //p' "$log")"
        ran=$((ran + 1))
    done
done
rm -f "$log"
say "$ran of $ran walk-throughs passed, in $SECONDS s"
