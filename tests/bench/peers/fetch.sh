#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch.sh DIR - the peers' packages of Debian unpacked below DIR, and Mooncake's of PyPI in a virtual environment
# there; nothing is installed, nothing is started
set -eu
dir=$1
packages='redis-server memcached libhiredis-dev'
stamp=$dir/.stamp

mooncake='mooncake-transfer-engine-non-cuda==0.3.13.post1'

fetch_mooncake() {
	[ -f "$dir/mooncake/.stamp" ] && [ "$(cat "$dir/mooncake/.stamp")" = "$mooncake" ] && return
	rm -rf "$dir/mooncake"
	mkdir -p "$dir"
	echo "peers: fetching $mooncake"
	if python3 -m venv "$dir/mooncake" && "$dir/mooncake/bin/python" -m pip install -q --disable-pip-version-check \
		--only-binary=:all: "$mooncake" && "$dir/mooncake/bin/python" -c 'import mooncake.store'; then
		printf '%s' "$mooncake" > "$dir/mooncake/.stamp"
	else
		echo "peers: without Mooncake Store"
		rm -rf "$dir/mooncake"
	fi
}

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ]; then
	fetch_mooncake
	exit 0
fi
command -v apt-get > /dev/null || { echo "peers: no apt-get here" >&2; exit 1; }
rm -rf "$dir"
mkdir -p "$dir/debs/partial" "$dir/root"
echo "peers: fetching $packages into $dir"
# with what they need, and only that; no root is needed to download
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends --download-only --reinstall -o Debug::NoLocking=1 \
	-o Dir::Cache::archives="$(realpath "$dir")/debs" $packages > "$dir/fetch.log" 2>&1 ||
	{ tail -n 3 "$dir/fetch.log" >&2; exit 1; }
for deb in "$dir"/debs/*.deb; do
	dpkg-deb -x "$deb" "$dir/root"
done
rm -rf "$dir/debs"
printf '%s' "$packages" > "$stamp"
fetch_mooncake
