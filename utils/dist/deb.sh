#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deb.sh OUT - Debian packages of this tree into OUT, built from a copy of what git tracks
set -eu
out=$1
for p in dpkg-buildpackage:dpkg-dev dh:debhelper fakeroot:fakeroot; do
	command -v "${p%:*}" > /dev/null || { echo "deb: ${p%:*} is missing; as root: apt-get install ${p#*:}" >&2; exit 1; }
done
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d "${TMPDIR:-/tmp}/kvshm-deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/kvshm"
git ls-files -z | xargs -0 cp --parents -t "$work/kvshm"
mv "$work/kvshm/utils/dist/debian" "$work/kvshm/debian"
cd "$work/kvshm"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-parsechangelog -S Timestamp)}
export SOURCE_DATE_EPOCH
# what is built is told; -d: the libraries may be unpacked ones of make setup
dpkg-buildpackage -b -d -us -uc > "$out/build.log" 2>&1 || { tail -n 30 "$out/build.log" >&2; exit 1; }
rm -f "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo
mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$out"
ls "$out"/*.deb
