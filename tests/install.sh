#!/bin/sh
# Reports which programs the tests could use but cannot find, and which tests are skipped for want of them. It installs
# them only when it is asked to (make test INSTALL=1), as root on Debian and Ubuntu, and it never asks a question.
packages=""

look() { # PROGRAM PACKAGE WHAT-IS-SKIPPED
	command -v "$1" >/dev/null 2>&1 && return
	packages="$packages $2"
	missing="${missing:-}  $1 (Debian: $2): without it $3
"
}

look redis-server redis-server "every test of Redis is skipped, which covers the shared cache and the shared limits"
look curl curl "the commands of the documentation and the curl examples are not run"
look sqlite3 sqlite3 "the documentation's queries of the request log are not run"
look openssl openssl "the documentation's commands that make keys and certificates are not run"
[ -z "$packages" ] && exit 0

if [ "${INSTALL:-}" = 1 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq </dev/null >/dev/null 2>&1
		apt-get install -y -qq $packages </dev/null >/dev/null 2>&1 && exit 0
		echo "tests: apt-get could not install:$packages"
	else
		echo "tests: INSTALL=1 installs packages only as root on Debian and Ubuntu"
	fi
fi
printf 'tests: these programs are missing:\n%s' "$missing"
[ "${INSTALL:-}" = 1 ] || echo "tests: \`make test INSTALL=1\` installs them, as root on Debian and Ubuntu"
exit 0
