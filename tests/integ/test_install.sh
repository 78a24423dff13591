#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install DESTDIR=: what is installed is whole, names no path of the build, and works from there.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(realpath "$KVSHM_BUILD")
to=$TMPDIR/root
prefix=$to/opt/kvshm
. tests/lib/check.sh

grep -q __asan_init "$build/kvshmd" && { echo "a sanitizer's build is not for installing"; exit 77; }

# what is built is installed, nothing is built for it
if ! make --no-print-directory -o all install O="$build" PREFIX=/opt/kvshm DESTDIR="$to" > "$TMPDIR/out" 2>&1; then
	sed 's/^/# /' "$TMPDIR/out" | tail -n 15
	echo 'not ok - make install DESTDIR= ends well'
	exit 1
fi
echo 'ok - make install DESTDIR= ends well'
outside() { find "$to" -type f -o -type l | grep -v "^$prefix/" | grep .; }
check 'nothing lies outside the prefix' eval '! outside'
for f in bin/kvshm bin/kvshmd lib/libkvshm.so lib/libkvshm.a lib/pkgconfig/kvshm.pc include/kvshm/kvshm.h share/man/man8/kvshmd.8 \
	lib/systemd/system/kvshmd@.service lib/systemd/system/kvshm-exporter.service lib/sysusers.d/kvshm.conf \
	share/kvshm/grafana/kvshm.json share/kvshm/prometheus/kvshm.rules.yml share/kvshm/bpftrace/reaps.bt \
	share/bash-completion/completions/kvshm share/doc/kvshm/examples/compose.yaml; do
	[ -s "$prefix/$f" ] || { echo "# $f"; status=1; }
done
[ $status = 0 ] && echo 'ok - programs, library, headers, manuals, units and data are there' || echo 'not ok - all files are there'
check 'a unit starts what is installed' grep -q '^ExecStart=/opt/kvshm/bin/kvshmd ' "$prefix/lib/systemd/system/kvshmd@.service"
check 'the daemon is installed as a program that runs' "$prefix/bin/kvshmd" --version
check 'so is the tool' "$prefix/bin/kvshm" --version
if command -v man > /dev/null; then
	check 'each call of the library has a manual by its name' env MANPATH="$prefix/share/man" MANPAGER=cat man -P cat kvshm_acquire_group
else
	echo 'ok - each call of the library has a manual by its name # SKIP no man here'
fi
if command -v pkg-config > /dev/null; then
	flags() { PKG_CONFIG_SYSROOT_DIR=$to PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs kvshm; }
	check 'a program builds against it' eval '${CC:-gcc} -o "$TMPDIR/first" Documentation/examples/first.c $(flags) || nm -D "$build/libkvshm.so" | grep -q _san_'
else
	echo 'ok - a program builds against it # SKIP no pkg-config here'
fi
exit $status
