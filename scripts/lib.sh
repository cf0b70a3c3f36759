# lib.sh -- what the scripts and the end-to-end tests share: installing, building, asking members how they are.
# Sourced by bash, never run. It changes nothing until one of its functions is called.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for those who source it

# The top of the source tree and the build tree that the scripts use.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${RAFTD_BUILD:-$top/build}

# What a Debian package is for: README, "What it needs".
packages_to_build="gcc libc6-dev make autoconf automake pkg-config libcivetweb-dev liblmdb-dev libxxhash-dev libjansson-dev check"
packages_to_run="curl"
packages_to_test="mandoc"
packages_to_lint="clang clang-format clang-tidy cppcheck shellcheck mandoc"
packages_to_bench="wrk"

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing needs root: run as root, or install sudo, or install these yourself: $missing"
    fi
}

package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# install_packages NAME...: those that are not there yet, with apt-get; RAFTD_NO_INSTALL=1 forbids it.
install_packages() {
    local package log
    missing=
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "no apt-get on this machine: taking for granted that it has the counterparts of: $*"
        return 0
    fi
    for package; do
        package_is_installed "$package" || missing="$missing${missing:+ }$package"
    done
    [ -n "$missing" ] || return 0
    [ -z "${RAFTD_NO_INSTALL:-}" ] || die "these packages are missing and RAFTD_NO_INSTALL is set: apt-get install $missing"
    say "installing with apt-get: $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    if ! apt_install $missing >"$log" 2>&1; then
        as_root apt-get update >>"$log" 2>&1 || true
        apt_install $missing >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get install $missing failed (see above)"; }
    fi
    rm -f "$log"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# quietly WHAT COMMAND...: runs it and shows what it printed only if it failed.
quietly() {
    local what=$1 log status=0
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        tail -n 60 "$log" >&2
        rm -f "$log"
        die "$what failed (see above)"
    fi
    grep -E 'warning:' "$log" | sort -u || true
    rm -f "$log"
}

# build_tree DIRECTORY [CONFIGURE-OPTION...]: configures (once) and makes raftd there.
build_tree() {
    local dir=$1
    shift
    if [ ! -x "$top/configure" ] || [ ! -e "$top/build-aux/install-sh" ]; then
        quietly "autoreconf" autoreconf -i "$top"
    fi
    if [ ! -e "$dir/Makefile" ]; then
        mkdir -p "$dir"
        (cd "$dir" && quietly "configure" "$top/configure" -q "$@") || exit 1
    fi
    quietly "make in $dir" make -C "$dir" -j"$(nproc)"
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails when the time is over.
wait_for() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

port_is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

is_free() {
    ! port_is_taken "$1"
}

is_ready() {
    curl -fs -m 2 -o /dev/null "http://localhost:$1/readyz"
}

# leads PORT: whether that member says that it is the leader.
leads() {
    curl -s -m 2 "http://localhost:$1/status" | grep -q '"role": *"leader"'
}

# leader_among PORT...: the port of the member that leads; fails if none does.
leader_among() {
    local port
    for port; do
        if leads "$port"; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

# voters PORT: how many members of the cluster have a vote, says the member at PORT.
voters() {
    curl -s -m 2 "http://localhost:$1/cluster" | grep -oE '"voter": *true' | wc -l
}

has_voters() {
    [ "$(voters "$1")" = "$2" ]
}

# runs PID: whether that process is there.
runs() {
    kill -0 "$1" 2>/dev/null
}

is_gone() {
    ! runs "$1"
}
