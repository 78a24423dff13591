#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The shipped units are understood by systemd and expose little.
set -u
units=$TMPDIR/units
. tests/lib/check.sh

command -v systemd-analyze > /dev/null || { echo "no systemd-analyze"; exit 77; }
mkdir -p "$units"
cp utils/dist/systemd/*.socket utils/dist/systemd/*.mount "$units"
# where verify finds the programs
for f in utils/dist/systemd/*.service; do
	sed "s|/usr/sbin/|$(realpath "$KVSHM_BUILD")/|; s|/usr/bin/kvshm |$(realpath "$KVSHM_BUILD")/kvshm |" "$f" > "$units/${f##*/}"
done

for unit in kvshm-events@main.service kvshm-exporter.service kvshm-gpud@main.service kvshmd@main.service kvshmd@main.socket 'run-kvshm\x2dhuge.mount' 'run-kvshm\x2dpins-main.mount'; do
	check "$unit is understood" env SYSTEMD_UNIT_PATH="$units:" systemd-analyze --man=no verify "$unit"
done
for f in "$units"/*.service; do
	check "${f##*/} exposes 2.5 of 10 at most" systemd-analyze security --offline=true --threshold=25 --no-pager "$f"
done
exit $status
