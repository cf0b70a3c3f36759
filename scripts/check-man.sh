#!/usr/bin/env bash
# Reads the man pages with mandoc -Tlint: no warning is accepted. Run by make check.
set -eu
cd "${top_srcdir:-$(dirname "$0")/..}"

if ! command -v mandoc >/dev/null; then
    echo "SKIPPED: mandoc is not installed (apt-get install mandoc)"
    exit 77
fi
# "referenced manual not found" and an outdated mandoc.db only say which pages this machine has installed.
complaints=$(mandoc -Tlint -Wstyle man/*.[78] 2>&1 | grep -vE 'referenced manual not found|mandoc\.db' || true)
if [ -n "$complaints" ]; then
    echo "$complaints"
    exit 1
fi
echo "$(find man -name '*.[78]' | wc -l) man pages without a complaint"
