#!/bin/sh
# Installs nginx and wrk if this is Debian and the user is root. Otherwise the rows that need them are left out, with a message.
missing=""
for program in nginx wrk; do command -v "$program" >/dev/null 2>&1 || missing="$missing $program"; done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq >/dev/null 2>&1
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null 2>&1 && exit 0
fi
echo "bench: not installed:$missing. The rows that need them are left out."
