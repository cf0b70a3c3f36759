#!/usr/bin/env bash
# Wrong options, wrong directories, and bytes that are neither HTTP nor a peer's: a clear end or a clear error, no crash,
# and nobody else is disturbed.
. "$(dirname "$0")/lib.sh"
begin 6

# refuses STATUS TEXT ARGUMENT...: raftd must end with that status, and one line, besides those of the log, says why.
refuses() {
    local expected=$1 text=$2 said code=0
    shift 2
    said=$(timeout -k 5 20 "$raftd" "$@" 2>&1 >/dev/null </dev/null) || code=$?
    equals "raftd ${*//$dir/DIR} ends with status $expected" "$expected" $code
    said=$(grep -v '^20..-..-..T' <<<"$said")
    matches "and says what is wrong" "^raftd: .*($text)" "$said"
    equals "in one line" 1 "$(wc -l <<<"$said")"
}

# ---- the command line ----

refuses 64 'DATADIR'
refuses 64 'nonsense' -nonsense "$dir/x"
refuses 64 'port' -p "$dir/x"
refuses 64 'port' -p 0x10 "$dir/x"
refuses 64 'port' -p 65536 "$dir/x"
refuses 64 'port' -p -1 "$dir/x"
refuses 64 '.' "$dir/x" "$dir/y"
refuses 64 'join' -join localhost "$dir/x"
refuses 64 'join' -join localhost:0 "$dir/x"
refuses 64 'heartbeat|election' -heartbeat 500 -election-timeout 100 "$dir/x"
refuses 64 'log-format' -log-format xml "$dir/x"
refuses 64 'name' -name "$(printf 'n%.0s' $(seq 100))" "$dir/x"
refuses 64 'max-value-size' -max-value-size many "$dir/x"
refuses 64 'learner.*-join' -learner "$dir/x"
check "none of these made a directory" [ ! -e "$dir/x" ]
matches "-version" '^raftd [0-9]+\.[0-9]+' "$("$raftd" -version)"
matches "-help" 'DATADIR' "$("$raftd" -help)"
matches "--help" 'DATADIR' "$("$raftd" --help)"

# ---- the directory ----

echo text >"$dir/file"
refuses 1 'file' -p "$(port 1)" "$dir/file"
mkdir "$dir/other" && echo text >"$dir/other/precious"
refuses 1 'other' -p "$(port 1)" "$dir/other"
equals "what is in it stays" text "$(cat "$dir/other/precious")"

start 1 -max-value-size 65536
eventually "member 1 is ready" 5 ready 1
refuses 1 "in use|another|locked|belongs|process" -p "$(port 2)" -peer-port "$(peer_port 2)" "$dir/node.1"
refuses 1 "$(port 1)" -p "$(port 1)" -peer-port "$(peer_port 2)" "$dir/node.2"
refuses 1 "$(peer_port 1)" -p "$(port 2)" -peer-port "$(peer_port 1)" "$dir/node.2"
answers PUT 1 /db/foo 201 -d bar

# A member that lost its log may not vote or lead with an empty one in its place; one whose map was cut short ends clearly.
mkdir "$dir/lost"
cp -r "$dir/node.1/raftd" "$dir/node.1/kv" "$dir/lost/"
refuses 1 'log/data.mdb is gone' -p "$(port 2)" -peer-port "$(peer_port 2)" "$dir/lost"
rm -r "$dir/lost/kv"
refuses 1 'log/data.mdb is gone' -p "$(port 2)" -peer-port "$(peer_port 2)" "$dir/lost"
mv "$dir/lost/raftd" "$dir/raftd.kept"
mkdir "$dir/lost/log"
refuses 1 'lost its file "raftd"' -p "$(port 2)" -peer-port "$(peer_port 2)" "$dir/lost"

start 3
eventually "member 3 is ready" 5 ready 3
stop 3
truncate -s 12288 "$dir/node.3/kv/data.mdb"
refuses 1 'cut short' -p "$(port 3)" -peer-port "$(peer_port 3)" "$dir/node.3"

# A map that is gone is made anew of the log, where that still has all of it.
RAFTD_PROT=5 start 4 -log-max-entries 100
eventually "member 4 is ready" 5 ready 4
check "a variable that is no option's is named" grep -q '\[WARN\].*RAFTD_PROT' "$dir/node.4.log"
answers PUT 4 /db/foo 201 -d bar
stop 4
rm "$dir/node.4/kv/data.mdb"
start 4 -log-max-entries 100
eventually "member 4 is ready without its map" 5 ready 4
eventually "and has made it anew" 5 test_value 4 foo bar
for i in $(seq 300); do
    echo "url = http://localhost:$(port 4)/db/k"
    echo "data = $i"
    echo next
done | head -n -1 | curl -s -K -
log_is_short() {
    http GET 4 /status
    [ "$(number log_first)" -gt 150 ] 2>/dev/null
}
eventually "the log loses its first half" 5 log_is_short
answers PUT 4 /db/k 204 -d last # on disk, too, by the time of the next write
stop 4
cp -r "$dir/node.4" "$dir/mapless"
rm -r "$dir/mapless/kv"
refuses 1 'the map of this member.* is gone.*DATADIR' -p "$(port 4)" -peer-port "$(peer_port 4)" "$dir/mapless"
refuses 1 'the map of this member.* is gone' -p "$(port 4)" -peer-port "$(peer_port 4)" "$dir/mapless" # and again

# With too few descriptors the start ends, though accept(2) of the peer port then says so even after its shutdown.
code=0
said=$(ulimit -n 20 && exec timeout -k 5 20 "$raftd" -p "$(port 3)" -peer-port "$(peer_port 3)" "$dir/few" 2>&1) || code=$?
equals "20 open files are too few" 1 "$code"
matches "and raftd says so" 'raftd: .*ulimit -n' "$said"

# ---- bytes ----

# send PORT: what comes from stdin, and prints the first line of what comes back (or nothing) within 3 seconds.
send() {
    local line=
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return
    cat >&3 2>/dev/null
    IFS= read -r -t 3 line <&3
    exec 3<&- 3>&-
    printf '%s\n' "${line%$'\r'}"
}

# raw STATUS WHAT TEXT: raw HTTP and its status; "closed" stands for a connection that just ends.
raw() {
    local answer
    answer=$(printf '%b' "$3" | send "$(port 1)" | cut -d ' ' -f 2)
    matches "$2 answers $1" "^($1)\$" "${answer:-closed}"
}

raw '400|closed' "nonsense" 'nonsense\r\n\r\n'
raw '400' "two different lengths" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'
raw '400' "a length and chunks" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
raw '400' "a length that is none" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nContent-Length: 5xyz\r\n\r\nabcde'
raw '400|413' "a negative length" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabcde'
raw '400|413' "a length beyond all bounds" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabcde'
raw '413' "a length that is too long" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\nabcde'
raw '400|413|501' "a coding that is unknown" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabcde'
raw '400' "a chunk size that is none" 'PUT /db/s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n'
raw '400|414|431|closed' "a request line of 100 KB" "GET /db/$(printf 'k%.0s' $(seq 100000)) HTTP/1.1\r\nHost: a\r\n\r\n"
raw '505|400|closed' "HTTP/9.9" 'GET /db/foo HTTP/9.9\r\nHost: a\r\n\r\n'
answers GET 1 /db/s 404

head -c 4096 /dev/urandom | send "$(port 1)" >/dev/null
head -c 4096 /dev/urandom | send "$(peer_port 1)" >/dev/null
printf 'RFD1\1\0\0\0\377\377\377\377' | send "$(peer_port 1)" >/dev/null
location=$(curl -s -m 5 -o /dev/null -w '%{http_code} %{redirect_url}' "http://localhost:$(peer_port 1)/cluster")
equals "HTTP at the peer port is shown the way" "307 http://localhost:$(port 1)/cluster" "$location"

# Connections that say nothing, and one that stops in the middle of a body: the others are served.
idle=()
for _ in $(seq 20); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$(peer_port 1)" && idle+=("$fd")
done
for _ in $(seq 3); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$(port 1)" && idle+=("$fd")
    printf 'PUT /db/half HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf' >&"$fd"
done
began=$(now_ms)
answers GET 1 /db/foo 200
check "idle connections do not hold up others" [ $(($(now_ms) - began)) -lt $((2000 * slow)) ]
start 2 -join "localhost:$(port 1)"
eventually "nor a member that joins" 15 ready 2
eventually "in a DATADIR whose first start failed: it is in no cluster of its own" 10 has_voters "$(port 1)" 2
for fd in "${idle[@]}"; do
    exec {fd}>&-
done
answers GET 1 /db/half 404

# ---- members ----

for text in '' '{' '[]' '{"client":5}' '{"client":"nowhere"}' '{"client":"localhost:1"}' "$(printf '[%.0s' $(seq 5000))"; do
    http POST 1 /cluster/members -L -H 'Content-Type: application/json' --data-binary "$text"
    matches "POST /cluster/members with '${text:0:30}' is refused" '^(400|409|413|502|503|504)$' "$status"
done
http POST 1 /join -L --data-binary '{"name":'
matches "POST /join with half a body is refused" '^400$' "$status"
http POST 1 /cluster/leader -L -d nobody
matches "leadership for nobody is refused" '^(400|404|409)$' "$status"
answers GET 1 /db/foo 200
equals "and all is as it was" bar "$body"
finish
