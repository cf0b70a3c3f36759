#!/usr/bin/env bash
# Holds the core to itself: what libraft.a wants from outside must be on a short list, so no clock, file, thread,
# output or lock can creep in; and only src/server may call its functions. Run by make check, from the build tree.
set -eu
cd "${top_builddir:-.}"
nm=${NM:-nm}

allowed='memset memcpy memmove memcmp calloc malloc free __assert_fail'
# What the compiler adds on its own: stack protector, fortified calls, sanitizers, coverage.
of_the_compiler='^(__stack_chk_fail|__(memset|memcpy|memmove)_chk|_GLOBAL_OFFSET_TABLE_)$'
of_the_compiler+='|^__(asan|ubsan|tsan|sanitizer|gcov|llvm)_|^__start___|^__stop___|^__sancov_'

archive_of() {
    find . -name "lib$1.a" -not -path './*/_inst/*' | head -n 1
}

# Symbols that an archive uses and does not define itself.
wanted_by() {
    comm -23 <("$nm" -u "$1" | sed -n 's/^ *U //p' | sort -u) <("$nm" --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u)
}

core=$(archive_of raft)
if [ -z "$core" ]; then
    echo "libraft.a is not built in $(pwd)"
    exit 1
fi

bad=0
for symbol in $(wanted_by "$core" | grep -Ev "$of_the_compiler" || true); do
    case " $allowed " in
    *" $symbol "*) ;;
    *)
        echo "$core: the core must not call $symbol"
        bad=1
        ;;
    esac
done

core_functions=$("$nm" --defined-only "$core" | awk '$2 == "T" { print $3 }' | sort -u)
for layer in base wire store net http; do
    archive=$(archive_of "$layer")
    [ -n "$archive" ] || continue
    for symbol in $(comm -12 <(wanted_by "$archive") <(printf '%s\n' "$core_functions")); do
        echo "$archive: only src/server may call $symbol"
        bad=1
    done
done

[ $bad -ne 0 ] || echo "the core is pure: it asks for nothing but$(wanted_by "$core" | tr '\n' ' ' | sed 's/^/ /')"
exit $bad
