# profiles.sh -- what the walk-throughs of the profiles share: processes under the names that their documents use.
# shellcheck shell=bash
# shellcheck disable=SC2004,SC2034,SC2154 # variables are for the tests, and from lib.sh

# What a document says of who leads must hold on a machine that is busy with other things, too: a member that is not run for
# a moment is no reason to elect another leader.
export RAFTD_ELECTION_TIMEOUT=1000

# launch N COMMAND...: runs it in $dir, in the background, as member N of lib.sh; its log is $dir/node.N.log.
launch() {
    local n=$1
    shift
    (cd "$dir" && exec "$@") >>"$dir/node.$n.log" 2>&1 </dev/null &
    pids[$n]=$!
}

# program NAME: the path of raftd under that name.
program() {
    mkdir -p "$dir/bin"
    [ -e "$dir/bin/$1" ] || ln -s "$(cd "$(dirname "$raftd")" && pwd)/raftd" "$dir/bin/$1"
    echo "$dir/bin/$1"
}

# curls CURL-ARGUMENT...: sets status and body; the body's bytes are in $dir/body.
curls() {
    : >"$dir/body"
    status=$(curl -sS -m 12 -o "$dir/body" -w '%{http_code}' "$@" 2>"$dir/curl.err")
    body=$(tr -d '\0' <"$dir/body")
}

# gives WHAT STATUS BODY CURL-ARGUMENT...: a line of a document and its documented result, byte by byte.
gives() {
    local what=$1 expected=$2
    printf '%b' "$3" >"$dir/expected"
    shift 3
    curls "$@"
    equals "$what: status" "$expected" "$status"
    if ! cmp -s "$dir/expected" "$dir/body"; then
        not_ok "$what: the body is '$body', not '$(cat "$dir/expected")' (newlines count)"
    else
        ok "$what: body"
    fi
}

# has_body BODY CURL-ARGUMENT...: whether the answer is that, for eventually.
has_body() {
    local expected=$1
    shift
    printf '%b' "$expected" >"$dir/expected"
    curls "$@"
    [ "$status" = 200 ] && cmp -s "$dir/expected" "$dir/body"
}

has_status() {
    local expected=$1
    shift
    curls "$@"
    [ "$status" = "$expected" ]
}

# many_puts URL COUNT: 1 to COUNT are put there, one after the other.
many_puts() {
    local i
    for ((i = 1; i <= $2; i++)); do
        printf 'url = "%s"\nrequest = PUT\ndata = %d\nsilent\n' "$1" "$i"
        [ "$i" = "$2" ] || echo next
    done | curl -K -
}

# logged N REGEX: whether member N's log has such a line.
logged() {
    grep -qE -- "$2" "$dir/node.$1.log"
}

logs() {
    eventually "member $1 logs: $2" 10 logged "$1" "$2"
}

# listens PORT: whether somebody answers HTTP there, whatever the answer.
listens() {
    curl -s -m 2 -o /dev/null "http://127.0.0.1:$1/"
}

# settle N: until member 1, asked at its -admin port, says that N vote.
settle() {
    eventually "$1 vote" 20 has_voters "$(port 10)" "$1"
}

# ---- raftexample: member N's KV port is `port N`, its URL that of `peer_port N` ----

kv() {
    echo "http://127.0.0.1:$(port "$1")"
}

peer_url() {
    echo "http://127.0.0.1:$(peer_port "$1")"
}

# peer_urls N...: as --cluster wants them.
peer_urls() {
    local n urls=
    for n; do
        urls+=,$(peer_url "$n")
    done
    echo "${urls#,}"
}

# shuts_itself_down N: its process ends by itself, with status 0, and says why.
shuts_itself_down() {
    eventually "node $1 shuts itself down" 15 ended "$1"
    equals "with status 0" 0 "$exit_status"
    logs "$1" "I've been removed from the cluster! Shutting down\."
}
