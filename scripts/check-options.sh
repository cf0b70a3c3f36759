#!/usr/bin/env bash
# Compares the options that "raftd -help" prints (they come from the tables in src/options_tables.c) with those that
# man/raftd.8 documents, both ways; and those of the other profiles with man/raftd-profiles.7. Run by make check, from the
# build tree.
set -eu
source=${top_srcdir:-$(dirname "$0")/..}
build=${top_builddir:-.}
raftd=$(find "$build" -maxdepth 2 -name raftd -type f -perm -u+x | head -n 1)

if [ -z "$raftd" ]; then
    echo "raftd is not built in $build"
    exit 1
fi

# An option's line is indented and begins with a dash; its names end where the description begins (two spaces).
options_of() {
    sed -n 's/^ \{1,\}\(-.*\)/\1/p' | sed 's/  .*//' | grep -oE '(^|[ ,])-[a-z][a-z_-]*' | tr -d ' ,' | sort -u
}

# ".It Fl p , Fl port Ar PORT"
in_man() {
    grep '^\.It' "$source/man/$1" | grep -oE 'Fl [a-z][a-z_-]*' | sed 's/^Fl /-/' | sort -u
}

bad=0

# compare WHAT OPTIONS PAGES: both ways.
compare() {
    local option
    [ -n "$2" ] || { echo "$1 -help prints no options" && bad=1; }
    for option in $(comm -23 <(echo "$2") <(echo "$3")); do
        echo "$option is an option of $1 that the man pages do not document"
        bad=1
    done
    for option in $(comm -13 <(echo "$2") <(echo "$3")); do
        echo "$option is documented and no option of $1"
        bad=1
    done
}

raftd_options=$("$raftd" -help | options_of)
compare raftd "$raftd_options" "$(in_man raftd.8)"
links=$(mktemp -d)
trap 'rm -rf "$links"' EXIT
for name in raftexample raft; do
    ln -s "$(realpath "$raftd")" "$links/$name"
done
others=$({
    "$links/raftexample" -help
    "$links/raft" -help
    HTTP_SERVER_PORT=8000 "$raftd" -help
} | options_of)
common=$(comm -12 <(echo "$others") <(echo "$raftd_options"))
own=$(in_man raftd-profiles.7)
compare "the other profiles" "$others" "$(printf '%s\n%s\n' "$own" "$common" | sort -u)"
[ $bad -ne 0 ] || echo "$(printf '%s\n%s\n' "$raftd_options" "$others" | sort -u | wc -l) option names, all documented"
exit $bad
