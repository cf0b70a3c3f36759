#!/usr/bin/env bash
# One cluster whose members speak different profiles: one keyspace, redirects only to who speaks the same, joins through any of
# them, -admin in each; the log as JSON.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/profiles.sh"
begin 18
raft=$(program raft)
raftexample=$(program raftexample)

at() {
    echo "http://localhost:$(port "$1")"
}

admin() {
    echo "http://localhost:$(port $((9 + $1)))"
}

# lead N: hands leadership to member N, whose -admin port there is.
lead() {
    local name
    name=$(curl -s "$(admin "$1")/status" | sed 's/.*"name":"\([^"]*\)".*/\1/')
    eventually "member $1 ($name) is given leadership" 10 handed "$name" "$1"
}

handed() {
    local n
    for n in 1 2 3 4; do
        if [ -n "${pids[$n]:-}" ]; then curl -s -o /dev/null -m 6 -X POST "$(admin "$n")/cluster/leader" -d "$1"; fi
    done
    leads "$(port $((9 + $2)))"
}

# ---- a raftd, a shaj13 and a raftexample become one cluster ----

launch 1 "$raftd" -p "$(port 1)" -peer-port "$(peer_port 1)" -admin "$(port 10)" -log-format json "$dir/node.1"
eventually "raftd serves" 10 ready 1
launch 2 env RAFTD_ADMIN="$(port 11)" RAFTD_LOG_FORMAT=json "$raft" -raft ":$(peer_port 2)" -api ":$(port 2)" -state_dir "$dir/2" -join ":$(port 1)"
eventually "a shaj13 joins it by its client port" 15 has_status 200 "$(at 2)/none"
settle 2
lead 2
launch 3 env RAFTD_ADMIN="$(port 12)" "$raftexample" --id 2 --cluster "http://localhost:$(peer_port 1),http://localhost:$(peer_port 3)" --port "$(port 3)" --join
logs 3 'waiting to be added'
gives "no profile but its own adds a raftexample" 405 "raftd: this path does not know that method\n" -X POST "$(at 2)/2" -d x
launch 4 "$raftd" -p "$(port 4)" -peer-port "$(peer_port 4)" -admin "$(port 13)" -join "localhost:$(port 1)" "$dir/node.4"
eventually "a raftd joins by a raftd's client port while a shaj13 leads" 15 is_ready "$(port 13)"
settle 3

# ---- one keyspace ----

gives "PUT at the shaj13" 204 "" -X PUT -d '{"Key":"my-key","Value":"one"}' "$(at 2)/"
gives "GET at a raftd" 200 "one" "$(at 1)/db/my-key"
gives "a write where the leader speaks another profile" 503 "raft.Server: Not current leader\n" -L -X PUT "$(at 1)/db/my-key" -d two
matches "asks to try again" '1' "$(curl -s -o /dev/null -D - -X PUT "$(at 1)/db/my-key" -d two | tr -d '\r' | sed -n 's/^Retry-After: //p')"
gives "changed nothing" 200 "one\n" "$(at 2)/my-key"
lead 4
gives "between two raftds curl -L writes" 204 "" -L -X PUT "$(at 1)/db/my-key" -d two
gives "the shaj13 is refused now" 503 "raft.Server: Not current leader\n" -L -X PUT -d '{"Key":"my-key","Value":"x"}' "$(at 2)/"
gives "and reads" 200 "two\n" "$(at 2)/my-key"
gives "a change of members at a follower's -admin" 307 "raft.Server: Not current leader\n" -X DELETE "$(admin 2)/cluster/members/nobody"
curls -L -X DELETE "$(admin 2)/cluster/members/nobody"
equals "finds a leader that is a raftd" 404 "$status"
lead 2
curls -L -X DELETE "$(admin 1)/cluster/members/nobody"
equals "of one that is none it says where to ask" 503 "$status"
matches "by name, host and option" 'leads, and speaks shaj13 to clients: ask for this at its -admin port \(on localhost\)' "$body"
curls -X DELETE "$(admin 2)/cluster/members/nobody"
equals "and there it is answered" 404 "$status"
lead 4

# ---- -admin ----

for n in 1 2 4; do
    for path in /cluster /status /livez /readyz /metrics; do
        curls "$(admin $n)$path"
        equals "-admin of member $n: $path" 200 "$status"
    done
    curls "$(admin $n)/db/my-key"
    equals "no keys there" 404 "$status"
done
curls "$(admin 2)/cluster"
matches "/cluster names the profiles" '"profile":"raftd".*"profile":"shaj13"' "$body"
curls "$(admin 2)/metrics"
matches "/metrics counts what clients asked for" 'raftd_http_requests_total\{[^}]*method="PUT"[^}]*\} [1-9]' "$body"

# ---- a member is removed by way of -admin ----

gone=$(curl -s "$(admin 2)/status" | sed 's/.*"name":"\([^"]*\)".*/\1/')
gives "DELETE /cluster/members at a follower's -admin" 204 "" -L -X DELETE "$(admin 1)/cluster/members/$gone"
eventually "member 2 ends" 15 ended 2
equals "with status 0" 0 "$exit_status"

# ---- peers over IPv6, which needs no civetweb ----

if grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null; then
    six() {
        echo "http://[::1]:$(peer_port "$1")"
    }
    launch 7 "$raftexample" --id 1 --cluster "$(six 7)" --port "$(port 7)"
    eventually "a raftexample with an IPv6 URL serves" 10 listens "$(port 7)"
    gives "PUT" 204 "" -X PUT "$(at 7)/six" -d 6
    gives "POST /2 with one" 204 "" -X POST "$(at 7)/2" -d "$(six 8)"
    mkdir "$dir/six" # raftexample-2 is another's
    launch 8 env -C "$dir/six" "$raftexample" --id 2 --cluster "$(six 7),$(six 8)" --port "$(port 8)" --join
    eventually "a second joins it and reads" 15 has_body 6 "$(at 8)/six"
    launch 9 "$raft" -raft "[::1]:$(peer_port 9)" -api "127.0.0.1:$(port 9)" -state_dir "$dir/9" -join "[::1]:$(peer_port 7)"
    eventually "a shaj13 too" 15 has_body '6\n' "$(at 9)/six"
    check "they meet there alone" [ "$(grep -c 'address=127' "$dir/node.8.log")" = 0 ]
else
    ok "this machine has no IPv6 loopback"
fi

# ---- the log as JSON ----

logs 1 '^\{"time":"[^"]*","level":"info".*"event":"entering leader state","leader":"Node at localhost:[0-9]+ \[Leader\]","term":[0-9]+'
logs 1 '"event":"updating configuration","command":"AddStaging","server-id":"[^"]*","server-addr":"localhost:[0-9]+","index":[0-9]+,"servers":"\['
logs 1 '"level":"warn".*"event":"appendEntries rejected, sending older logs","peer":"[^"]*","next":[0-9]+'
logs 2 "\"event\":\"I've been removed from the cluster! Shutting down\\.\""
finish
