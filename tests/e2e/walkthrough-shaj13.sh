#!/usr/bin/env bash
# The article on shaj13/raft and its example's README, line by line: three nodes, keys as JSON, any member, a node that stops
# and comes back, nodes listed and removed.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/profiles.sh"
begin 16
raft=$(program raft)

api() {
    echo "http://127.0.0.1:$(port "$1")"
}

node() {
    local n=$1
    shift
    launch "$n" env RAFTD_ADMIN="$(port $((9 + n)))" "$raft" -raft ":$(peer_port "$n")" -api ":$(port "$n")" "$@"
}

# ---- three nodes ----

# ./raft -state_dir=$TMPDIR/1 -raft :8080 -api :9090
node 1 -state_dir="$dir/1"
eventually "node 1 serves" 10 listens "$(port 1)"
check "its data is in its state_dir" [ -d "$dir/1" ]
# ./raft -state_dir $TMPDIR/2 -raft :8081 -api :9091 -join :8080
node 2 -state_dir "$dir/2" -join ":$(peer_port 1)"
node 3 -state_dir "$dir/3" -join ":$(peer_port 1)"
settle 3

# ---- keys ----

gives "PUT hello" 204 "" -L -X PUT -d '{"Key":"hello", "Value":"medium"}' "$(api 1)/"
gives "GET hello" 200 "medium\n" -L "$(api 1)/hello"
for n in 3 2 1; do
    gives "write on any node" 204 "" -L -X POST -d "{\"key\":\"k$n\", \"VALUE\":\"v$n\", \"other\":[1]}" "$(api $n)/"
    for m in 1 2 3; do
        gives "read from any node" 200 "v$n\n" -L "$(api $m)/k$n"
    done
done
gives "a missing key" 200 "\n" -L "$(api 2)/missing"
gives "a value with escapes" 204 "" -L -X PUT -d '{"Key":"e", "Value":"a\n\u00e9\u0001"}' "$(api 1)/"
gives "is what they mean" 200 "a\n\xc3\xa9\x01\n" "$(api 3)/e"
follower=$([ "$(curl -s -o /dev/null -w '%{http_code}' -X PUT -d '{"Key":"x","Value":"y"}' "$(api 2)/")" = 307 ] && echo 2 || echo 3)
gives "without -L a follower says who leads" 307 "raft.Server: Not current leader\n" -X PUT -d '{"Key":"x", "Value":"y"}' "$(api "$follower")/"

# ---- fault tolerance: PUT foo, stop 9092, overwrite, read, start it again, read from it ----

gives "PUT foo=foo" 204 "" -L -X PUT -d '{"Key":"foo", "Value":"foo"}' "$(api 1)/"
stop 3
equals "node 3 stops" 0 "$exit_status"
eventually "PUT foo=bar" 10 has_status 204 -L -X PUT -d '{"Key":"foo", "Value":"bar"}' "$(api 1)/"
gives "GET foo" 200 "bar\n" -L "$(api 2)/foo"
node 3 -state_dir "$dir/3" -join ":$(peer_port 1)"
eventually "GET foo at node 3, started again with -join" 10 has_body 'bar\n' -L "$(api 3)/foo"

# ---- nodes ----

curls -L "$(api 2)/mgmt/nodes"
equals "GET /mgmt/nodes" 200 "$status"
matches "an array of ids, addresses and times" '^\[(\{"id":[0-9]+,"addr":":[0-9]+","createdAt":\{"seconds":[0-9]+(,"nanos":[0-9]+)?\}\},?){3}\]' "$body"
equals "with a newline" 1 "$(wc -l <"$dir/body")"
nodes=$body
id_of() { # of a voter
    printf '%s' "$nodes" | grep -oE "\"id\":[0-9]+,\"addr\":\":$(peer_port "$1")\",\"createdAt\"" | grep -oE '[0-9]+' | head -n 1
}
check "ids are below 2^53" [ "$(id_of 3)" -lt $((1 << 53)) ]

gives "an id that is none" 400 "strconv.ParseUint: parsing the member's id: invalid syntax\n" -L -X DELETE "$(api 1)/mgmt/nodes/x"
gives "an unknown member" 404 "raft: unknown member 11\n" -L -X DELETE "$(api 1)/mgmt/nodes/17"
lead=$(curl -s "http://127.0.0.1:$(port 10)/status" | sed 's/.*"leader_id":\([0-9]*\).*/\1/')
gives "the leader" 409 "raft: operation not permitted, member $(printf %x "$lead") is the leader, transfer leadership first\n" -L -X DELETE "$(api 1)/mgmt/nodes/$lead"
gone=3
[ "$(id_of 3)" != "$lead" ] || gone=2
gives "DELETE /mgmt/nodes/ID" 200 "" -L -X DELETE "$(api 1)/mgmt/nodes/$(id_of $gone)"
removed=$(id_of $gone)
shuts_itself_down $gone
settle 2
curls -L "$(api 1)/mgmt/nodes"
matches "it stays in the list, as removed" "\{\"id\":$removed,\"addr\":\":$(peer_port $gone)\",\"type\":1,\"createdAt\":\{\"seconds\":[0-9]+" "$body"
equals "with those that are there" 3 "$(grep -o '"id"' "$dir/body" | wc -l)"
gives "removed again" 200 "" -L -X DELETE "$(api 1)/mgmt/nodes/$removed"
# Its id is never used again: started anew with -join it is another member.
node $gone -state_dir "$dir/$gone" -join ":$(peer_port 1)"
eventually "started with -join it comes back" 10 has_body 'bar\n' -L "$(api $gone)/foo"
settle 3
curls -L "$(api 1)/mgmt/nodes"
equals "as a fourth in the list" 4 "$(grep -o '"id"' "$dir/body" | wc -l)"
nodes=$body
gives "and is removed by its new id" 200 "" -L -X DELETE "$(api 1)/mgmt/nodes/$(id_of $gone)"
shuts_itself_down $gone
settle 2

# DELETE /ID means the same. Any member can be joined, also one that does not lead.
for n in 1 2 3; do
    [ -z "${pids[$n]:-}" ] || leads "$(port $((9 + n)))" || follower=$n
done
node 4 -state_dir "$dir/4" -join "127.0.0.1:$(peer_port "$follower")"
eventually "node 4 joins" 10 has_body 'bar\n' -L "$(api 4)/foo"
settle 3
curls "$(api 4)/mgmt/nodes"
nodes=$body
gives "DELETE /ID" 200 "" -L -X DELETE "$(api 1)/$(id_of 4)"
shuts_itself_down 4

# ---- what its program does beside that ----

curls -L -X PUT -d '{"Key":' "$(api 1)/"
equals "bad JSON" 400 "$status"
check "with the parser's text" [ -n "$body" ]
for bad in '[]' '{"Key":1,"Value":"v"}' '{"Value":"v"}' ''; do
    curls -L -X PUT -d "$bad" "$(api 1)/"
    equals "PUT $bad" 400 "$status"
done
curls "$(api 1)/"
equals "GET /" 405 "$status"
curls -X PUT -d v "$(api 1)/hello"
equals "PUT /hello" 405 "$status"

# ---- without a quorum nothing hangs ----

rest=()
for n in 1 2 3; do [ -z "${pids[$n]:-}" ] || rest+=("$n"); done
kill9 "${rest[1]}"
curls -m 20 -L -X PUT -d '{"Key":"foo", "Value":"lost"}' "$(api "${rest[0]}")/"
# 307: it was a follower, and sent us to the leader that has just died.
matches "a write without a quorum ends" '^(307|50[34])$' "$status"
eventually "and then is refused at once" 10 has_status 503 -L -X PUT -d '{"Key":"foo", "Value":"lost"}' "$(api "${rest[0]}")/"
equals "in its words" "raft: no elected cluster leader" "$body"
curls "$(api "${rest[0]}")/foo"
equals "so is a read" 503 "$status"
gives "but ?stale" 200 "bar\n" "$(api "${rest[0]}")/foo?stale"
finish
