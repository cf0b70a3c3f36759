#!/usr/bin/env bash
# What machines can judge of style and danger: make lint. Installs nothing; says which tool is missing and goes on.
#
#   scripts/lint.sh [format] [tidy] [cppcheck] [shell] [man]     all, or only those named
set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

mapfile -t sources < <(find src tests -name '*.c' | sort)
mapfile -t headers < <(find src tests -name '*.h' | sort)
mapfile -t shells < <(grep -rlE '^#!.*(bash|/bin/sh)|^# shellcheck shell=' scripts tests .ci | sort)
flags=(-std=gnu11 -Isrc -Itests -D_GNU_SOURCE '-DPACKAGE_VERSION="lint"')

bad=0 absent=
# has TOOL: notes it if not.
has() {
    command -v "$1" >/dev/null && return 0
    absent="$absent${absent:+ }$1"
    return 1
}

lint_format() {
    has clang-format || return 0
    clang-format --dry-run --Werror "${sources[@]}" "${headers[@]}"
}

lint_tidy() {
    has clang-tidy || return 0
    printf '%s\0' "${sources[@]}" |
        xargs -0 -n 4 -P "$(nproc)" sh -c 'clang-tidy --quiet "$@" -- '"$(printf '%q ' "${flags[@]}")"' 2>/dev/null' clang-tidy
}

# It does not know what does not return or was answered for already, hence the suppressed complaints.
lint_cppcheck() {
    has cppcheck || return 0
    cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=nullPointerRedundantCheck --suppress=arrayIndexOutOfBoundsCond -Isrc -Itests -D_GNU_SOURCE -j "$(nproc)" src
}

lint_shell() {
    has shellcheck || return 0
    shellcheck "${shells[@]}"
}

lint_man() {
    has mandoc || return 0
    scripts/check-man.sh
}

[ $# -gt 0 ] || set -- format tidy cppcheck shell man
for part; do
    say "lint: $part"
    "lint_$part" || bad=1
done
[ -z "$absent" ] || say "not installed, so not asked: $absent (apt-get install $packages_to_lint)"
[ $bad -ne 0 ] || say "lint: no complaint"
exit $bad
