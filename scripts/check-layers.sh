#!/usr/bin/env bash
# Holds src/ to its layers: which header may be included where (src/README draws the picture).
# Run by make check; prints each forbidden #include and ends with status 1 if there is one.
set -eu
cd "${top_srcdir:-$(dirname "$0")/..}"

# layer: the headers it may include besides its own. What is not named here is private to its layer.
edges='
raft:
base:
wire:   base/* raft/raft.h
net:    base/* raft/raft.h wire/*
store:  base/* raft/raft.h wire/*
server: base/* raft/raft.h wire/* net/* store/log_store.h store/kv_store.h store/datadir.h store/dump_file.h store/dump_reader.h store/dump_writer.h
http:   base/* server/service.h
main:   base/* wire/members.h store/datadir.h store/guard.h options.h recover.h restore.h verify.h server/node.h server/service.h server/join.h server/form.h http/http.h
recover: base/* raft/raft.h wire/* store/log_store.h store/kv_store.h store/datadir.h recover.h subcommand.h
restore: base/* raft/raft.h wire/* store/log_store.h store/kv_store.h store/datadir.h store/dump_file.h store/dump_reader.h store/dump_writer.h http/pairs.h restore.h subcommand.h
verify: base/* store/datadir.h store/dump_reader.h store/verify.h http/pairs.h verify.h subcommand.h
subcommand: base/* subcommand.h
options: base/* wire/members.h options.h options_tables.h
options_tables: base/* wire/members.h options.h options_tables.h
'

# header outside libc: the files that may include it, and nobody else.
outside='
pthread.h:  src/server/* src/main.c src/base/logger.c src/store/env.c src/store/env_private.h src/store/log_store.c src/http/watch.h
civetweb.h: src/http/*
jansson.h:  src/http/* src/server/form.c src/server/join.c src/server/peer_http.c
lmdb.h:     src/store/*
xxhash.h:   src/base/checksum.c
netdb.h:    src/net/*
'

# The core sees no more of libc than this: no clock, no file, no output.
core_libc=' assert.h limits.h stdbool.h stddef.h stdint.h stdlib.h string.h '

bad=0
refuse() {
    echo "$1"
    bad=1
}

# The line of a table that begins with "$2:", without that name.
row() {
    printf '%s\n' "$1" | sed -n "s|^$2:||p"
}

# Whether $1 matches one of the patterns that follow.
matches() {
    local name=$1 pattern
    shift
    for pattern; do
        # shellcheck disable=SC2254 # the pattern is meant as one
        case $name in $pattern) return 0 ;; esac
    done
    return 1
}

layer_of() {
    local rest=${1#src/}
    case $rest in
    */*) echo "${rest%%/*}" ;;
    *) rest=${rest%.*} && echo "$rest" ;;
    esac
}

check_own() { # file line layer header
    [ "$3" = "${4%%/*}" ] && return
    set -f
    # shellcheck disable=SC2046 # words are patterns
    matches "$4" $(row "$edges" "$3") || refuse "$1:$2: $3 must not include \"$4\" (scripts/check-layers.sh has the table)"
    set +f
}

check_outside() { # file line layer header
    local allowed
    allowed=$(row "$outside" "$4")
    set -f
    # shellcheck disable=SC2086 # words are patterns
    if [ -n "$allowed" ] && ! matches "$1" $allowed; then
        refuse "$1:$2: <$4> belongs to:$allowed"
    fi
    set +f
    if [ "$3" = raft ] && [ "${core_libc#* "$4" }" = "$core_libc" ]; then
        refuse "$1:$2: the core must not include <$4>"
    fi
}

seen=0
for file in src/*.[ch] src/*/*.[ch]; do
    [ -e "$file" ] || continue
    seen=$((seen + 1))
    layer=$(layer_of "$file")
    if ! printf '%s\n' "$edges" | grep -q "^$layer:"; then
        refuse "$file: no such layer as $layer (scripts/check-layers.sh has the table)"
        continue
    fi
    while IFS=: read -r line text; do
        header=$(printf '%s\n' "$text" | sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]\([^>"]*\)[>"].*/\1/p')
        case $text in
        *\"*)
            case $header in
            */* | options.h | options_tables.h | recover.h | restore.h | verify.h | subcommand.h) check_own "$file" "$line" "$layer" "$header" ;;
            *) refuse "$file:$line: include \"$header\" by its path from src/" ;;
            esac
            ;;
        *) check_outside "$file" "$line" "$layer" "$header" ;;
        esac
    done < <(grep -nE '^[[:space:]]*#[[:space:]]*include' "$file" || true)
done

[ "$seen" -gt 0 ] || refuse "no source files under $(pwd)/src"
[ $bad -ne 0 ] || echo "$seen files keep to their layers"
exit $bad
