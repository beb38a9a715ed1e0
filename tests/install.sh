#!/bin/sh
# redis-server, for tests and demo, where it can be had: as root on Debian. Elsewhere its tests are skipped, and the
# summary says so; the demo says how to get it.
command -v redis-server >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq >/dev/null 2>&1
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null 2>&1 && exit 0
fi
echo "no redis-server here, and no way to install it: what needs it is left out"
