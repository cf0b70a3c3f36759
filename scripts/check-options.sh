#!/usr/bin/env bash
# Compares the options that "raftd -help" prints (they come from the one table in src/options.c) with those that
# man/raftd.8 documents, both ways. Run by make check, from the build tree.
set -eu
source=${top_srcdir:-$(dirname "$0")/..}
build=${top_builddir:-.}
raftd=$(find "$build" -maxdepth 2 -name raftd -type f -perm -u+x | head -n 1)

if [ -z "$raftd" ]; then
    echo "raftd is not built in $build"
    exit 1
fi

# An option's line is indented and begins with a dash; its names end where the description begins (two spaces).
in_help() {
    "$raftd" -help | sed -n 's/^ \{1,\}\(-.*\)/\1/p' | sed 's/  .*//' | grep -oE '(^|[ ,])-[a-z][a-z-]*' | tr -d ' ,' | sort -u
}

# ".It Fl p , Fl port Ar PORT"
in_man() {
    sed -n 's/^\.It Fl /Fl /p' "$source/man/raftd.8" | grep -oE 'Fl [a-z][a-z-]*' | sed 's/^Fl /-/' | sort -u
}

bad=0
help=$(in_help)
man=$(in_man)
if [ -z "$help" ]; then
    echo "raftd -help prints no options"
    bad=1
fi
for option in $(comm -23 <(echo "$help") <(echo "$man")); do
    echo "$option is an option of raftd that man/raftd.8 does not document"
    bad=1
done
for option in $(comm -13 <(echo "$help") <(echo "$man")); do
    echo "$option is documented in man/raftd.8 and no option of raftd"
    bad=1
done
[ $bad -ne 0 ] || echo "$(echo "$help" | wc -l) option names, all documented"
exit $bad
