#!/bin/sh
# balsa's pump.sh, for raftd: a thousand writes to n1, or to whom n1 sends us. The first that is refused ends it.
port="${HTTP_SERVER_PORT:-8000}"
i=1
while [ $i -le 1000 ]; do
    curl -sS -f -L -X GET "http://localhost:$port/set?key=$i&value=$i" || exit 1
    i=$((i + 1))
done
