#!/usr/bin/env bash
# The HTTP interface as raftd-http(7) promises it: statuses, ETag and conditions, keys, listings, limits, the followers'
# answers, and the pages about the cluster.
. "$(dirname "$0")/lib.sh"
begin 4

start 1 -max-value-size 2000
eventually "member 1 is ready" 5 ready 1

# ---- keys and values ----

answers GET 1 /db/none 404
equals "and says why" "raftd: no such key" "${body%$'\n'}"
answers HEAD 1 /db/none 404
answers DELETE 1 /db/none 404
answers POST 1 /db/foo 200 -d bar
equals "POST has an empty body" "" "$body"
matches "POST has an ETag" '^"[0-9]+"$' "$(header ETag)"
answers PUT 1 /db/foo 204 -d baz
equals "PUT has an empty body" "" "$body"
etag=$(header ETag)
matches "PUT has an ETag" '^"[0-9]+"$' "$etag"
answers PUT 1 /db/new 201 -d 1
answers GET 1 /db/foo 200
equals "GET has the value, nothing added" baz "$body"
equals "and the ETag of the write" "$etag" "$(header ETag)"
answers HEAD 1 /db/foo 200
equals "HEAD has the length" 3 "$(header Content-Length)"
equals "and the ETag" "$etag" "$(header ETag)"
answers DELETE 1 /db/new 204
answers GET 1 /db/new 404
answers GET 1 '/db/foo?stale' 200
equals "?stale has the value" baz "$body"

answers PUT 1 /db/empty 201 --data-binary ''
answers GET 1 /db/empty 200
equals "an empty value is a value" "0:" "$(header Content-Length):$body"
head -c 256 /dev/zero | tr '\0' '\377' >"$dir/bytes"
printf '\0\1\r\n\0' >>"$dir/bytes"
answers PUT 1 /db/bytes 201 --data-binary "@$dir/bytes"
curl -sS -o "$dir/bytes.back" "http://localhost:$(port 1)/db/bytes"
check "any bytes are a value" cmp "$dir/bytes" "$dir/bytes.back"

# ---- conditions ----

answers PUT 1 /db/c 201 -H 'If-None-Match: *' -d 1
first=$(header ETag)
answers PUT 1 /db/c 412 -H 'If-None-Match: *' -d 2
equals "412 has the current ETag" "$first" "$(header ETag)"
answers PUT 1 /db/c 412 -H 'If-Match: "1"' -d 2
answers PUT 1 /db/c 204 -H "If-Match: $first" -d 3
second=$(header ETag)
check "each change has an ETag of its own" [ "$first" != "$second" ]
answers PUT 1 /db/c 412 -H "If-Match: $first" -d 4
answers PUT 1 /db/absent 412 -H 'If-Match: *' -d 4
answers DELETE 1 /db/c 412 -H "If-Match: $first"
answers GET 1 /db/c 200
equals "a failed condition changes nothing" 3 "$body"
answers DELETE 1 /db/c 204 -H "If-Match: $second"
answers GET 1 /db/foo 304 -H "If-None-Match: $etag"
answers PUT 1 /db/c 400 -H 'If-Match: nonsense' -d 5

# ---- keys are bytes, decoded once ----

# key_is_exact PATH: what is written there is read there.
key_is_exact() {
    http PUT 1 "$1" -d "value of $1"
    [[ $status == 20? ]] || return 1
    http GET 1 "$1"
    [ "$body" = "value of $1" ]
}
for path in '/db/a//b' '/db/../b' '/db/./c' '/db/a%2Fb%2fc' '/db/%00' '/db/%FF%fe' '/db/trailing/' '/db/dot.' '/db/a%25b' \
    '/db/a+b' '/db/a%5Cb' '/db/%E2%82%AC' '/db//' '/db/%20' '/db/a;b' '/db/a:b@c' "/db/$(printf 'k%.0s' $(seq 480))"; do
    check "the key of ${path:0:40} is kept as it is" key_is_exact "$path"
done
answers GET 1 '/db/a/b' 404
answers GET 1 '/db/b' 404
answers GET 1 '/db/dot' 404
answers GET 1 '/db/a%252Fb' 404
http GET 1 '/db/a/b/c'
equals "%2F is a slash in a key" "value of /db/a%2Fb%2fc" "$body"
answers PUT 1 '/db/%zz' 400 -d x
answers PUT 1 '/db/%4' 400 -d x
answers PUT 1 "/db/$(printf 'k%.0s' $(seq 481))" 414 -d x
matches "414 names the limit" 480 "$body"
answers PUT 1 /db/ 400 -d x

# ---- limits ----

head -c 2000 /dev/zero >"$dir/fits"
head -c 2001 /dev/zero >"$dir/toolong"
answers PUT 1 /db/big 201 --data-binary "@$dir/fits"
answers PUT 1 /db/big2 413 --data-binary "@$dir/toolong"
matches "413 names the option" max-value-size "$body"
answers PUT 1 /db/big2 413 -H 'Transfer-Encoding: chunked' --data-binary "@$dir/toolong"
answers GET 1 /db/big2 404
answers PUT 1 /db/chunked 201 -H 'Transfer-Encoding: chunked' -d chunks
answers GET 1 /db/chunked 200
equals "a chunked body arrives whole" chunks "$body"
began=$(now_ms)
answers PUT 1 /db/big 204 -H 'Expect: 100-continue' --data-binary "@$dir/fits"
took=$(($(now_ms) - began))
check "Expect: 100-continue is answered at once ($took ms)" [ $took -lt $((700 * slow)) ]

answers PATCH 1 /db/foo 405 -d x
matches "405 says what is allowed" 'GET.*PUT|PUT.*GET' "$(header Allow)"
answers PUT 1 /status 405 -d x
matches "and of /status" GET "$(header Allow)"
answers GET 1 /nowhere 404
answers GET 1 / 200

# ---- listings ----

for key in p/1 p/2 p/3 'p/a b' q/1; do
    curl -sS -o /dev/null -X PUT --data-binary "v of $key" "http://localhost:$(port 1)/db/${key// /%20}"
done
answers GET 1 '/db/?prefix=p/' 200
equals "a listing has a key a line, percent-encoded" "p/1 p/2 p/3 p/a%20b" "$(tr '\n' ' ' <"$dir/body" | sed 's/ $//')"
answers GET 1 '/db/?prefix=p/&limit=2' 200
equals "limit" "p/1 p/2" "$(tr '\n' ' ' <"$dir/body" | sed 's/ $//')"
answers GET 1 '/db/?prefix=p/&limit=2&after=p/2' 200
equals "after" "p/3 p/a%20b" "$(tr '\n' ' ' <"$dir/body" | sed 's/ $//')"
answers GET 1 '/db/?prefix=nothing' 200
equals "an empty listing is empty" "" "$body"
answers GET 1 '/db/?prefix=p/' 200 -H 'Accept: application/json'
matches "JSON has items" '"items"' "$body"
matches "and their keys" '"p/a%20b"' "$body"
answers GET 1 '/db/?prefix=p/&limit=2' 200 -H 'Accept: application/json'
matches "and where a limit cut them, where to go on" '"next": ?"p/2"' "$body"
matches "its type is JSON" '^application/json' "$(header Content-Type)"
answers GET 1 '/db/?prefix=p/' 200 -H 'Accept: application/x-ndjson'
equals "NDJSON has a pair a line" 4 "$(wc -l <"$dir/body")"
matches "with its value" '"value": ?"v of p/1"' "$(head -n 1 "$dir/body")"
matches "its type is NDJSON" '^application/x-ndjson' "$(header Content-Type)"
answers GET 1 '/db/?limit=nonsense' 400
answers GET 1 '/db/?prefix=%zz' 400

# ---- every answer says where it comes from; errors as text or JSON ----

answers GET 1 /db/none 404
matches "Raftd-Node" . "$(header Raftd-Node)"
equals "Raftd-Leader is the same here" "$(header Raftd-Node)" "$(header Raftd-Leader)"
matches "Raftd-Term" '^[0-9]+$' "$(header Raftd-Term)"
matches "Raftd-Index" '^[0-9]+$' "$(header Raftd-Index)"
equals "no page of another site may read it" "" "$(header Access-Control-Allow-Origin)"
answers GET 1 /db/none 404 -H 'Accept: application/json'
matches "an error as JSON" '"error": ?"' "$body"
matches "with a message" '"message": ?"' "$body"

# ---- this server and the cluster ----

answers GET 1 /livez 200
answers GET 1 /readyz 200
answers GET 1 /status 200
for field in version role term commit applied durable uptime; do
    matches "/status has $field" "\"$field" "$body"
done
answers GET 1 /cluster 200
for field in id term leader members name role client peer; do
    matches "/cluster has $field" "\"$field\"" "$body"
done
answers GET 1 /metrics 200
matches "/metrics is Prometheus text" '# TYPE raftd_[a-z_]+ (counter|gauge|histogram)' "$body"
matches "of its version" '^text/plain; ?version=0\.0\.4' "$(header Content-Type)"
check "each line of it is well-formed" metrics_are_well_formed "$dir/body"

# ---- through another member ----

start 2 -join "localhost:$(port 1)"
eventually "member 2 is ready" 10 ready 2
eventually "both have a vote" 10 has_voters "$(port 1)" 2
answers PUT 2 '/db/a%2Fb?x=y' 307 -d x
equals "307 has the same path and query at the leader" "http://localhost:$(port 1)/db/a%2Fb?x=y" "$(header Location)"
equals "and says why" "raft.Server: Not current leader" "${body%$'\n'}"
answers POST 2 /db/foo 307 -d x
answers DELETE 2 /db/foo 307
answers GET 2 /db/foo 200
equals "a follower's read is current" baz "$body"
equals "a follower names the leader" "$(curl -sS -D - -o /dev/null "localhost:$(port 1)/db/foo" | tr -d '\r' | sed -n 's/^Raftd-Node: //Ip')" "$(header Raftd-Leader)"
http PUT 2 /db/through -L -d through
equals "-L writes through" through "$(curl -sS "localhost:$(port 1)/db/through")"

# Leadership on request.
http POST 1 /cluster/leader -L -d "$(curl -sS -D - -o /dev/null "localhost:$(port 2)/livez" | tr -d '\r' | sed -n 's/^Raftd-Node: //Ip')"
matches "leadership can be handed over" '^20[04]$' "$status"
eventually "to the one that was named" 5 leads "$(port 2)"

# Without a quorum: no write, no linearizable read, but ?stale; all of it within the deadline.
kill9 2
sleep 2
began=$(now_ms)
http PUT 1 /db/foo -d no-quorum
matches "a write without a quorum is 503 or 504" '^50[34]$' "$status"
http GET 1 /db/foo
equals "a linearizable read is 503" 503 "$status"
matches "and names ?stale" stale "$body"
answers GET 1 '/db/foo?stale' 200
answers GET 1 /readyz 503
answers GET 1 /livez 200
took=$(($(now_ms) - began))
check "nothing hangs ($took ms)" [ $took -lt $((16000 * slow)) ]
finish
