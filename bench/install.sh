#!/bin/sh
# nginx and wrk, where they can be had: as root on Debian. Elsewhere their rows are left out, and the report says so.
missing=""
for program in nginx wrk; do command -v "$program" >/dev/null 2>&1 || missing="$missing $program"; done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq >/dev/null 2>&1
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null 2>&1 && exit 0
fi
echo "bench: without$missing some rows will be left out"
