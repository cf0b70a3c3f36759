#!/usr/bin/env bash
# Proves that the simulator notices: each rule of src/raft/mutants.h and src/server/mutants.h is broken in turn, and some seed must object.
# Prints for each how many seeds it took and which check found it. SEEDS: how many seeds a mutant may survive.
set -eu
cd "${top_builddir:-.}"

sim=tests/sim/raftsim_mutant
seeds=${SEEDS:-4000}

# Sanitizers make it ten times slower and prove nothing about rules: there it is enough that most are found.
demand=all
if [ "${CK_FORK:-yes}" = no ]; then
    seeds=${SEEDS:-10}
    demand=ten
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT

survivors=0
found=0
while IFS=$'\t' read -r name text; do
    if "$sim" --mutant "$name" --seeds "1-$seeds" >"$out" 2>&1; then
        printf '%-22s SURVIVES %s seeds: %s\n' "$name" "$seeds" "$text"
        survivors=$((survivors + 1))
        continue
    fi
    line=$(grep -a '^FAILED' "$out" | tail -n 1)
    if [ -z "$line" ]; then
        printf '%-22s ends without a report:\n' "$name"
        tail -n 5 "$out"
        survivors=$((survivors + 1))
        continue
    fi
    seed=${line#*seed=}
    check=${line#*check=\"}
    printf '%-22s %5s seeds, found by: %s\n' "$name" "${seed%% *}" "${check%%\"*}"
    found=$((found + 1))
done < <("$sim" --mutants)

echo "$found mutants found, $survivors not"
[ "$found" -ge 10 ] && { [ "$survivors" -eq 0 ] || [ $demand = ten ]; }
